-- 61_attribute.sql: the job "attribute": which conversions new rows affect, and the building of their paths.
--
-- Orders and their like are queued as they come.  Visits and clicks are not, as the request path appends and nothing more: the job folds
-- what arrived since its checkpoint and queues the conversions that it belongs to.  Then the queue is built, one creator at a time in
-- turn, so that none waits for all the work of another, and so that what cannot be built holds up nothing else.

CREATE FUNCTION biolink.note_checkpoint(job_name pg_catalog.text) RETURNS pg_catalog.text
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER COST 100
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	noted timestamptz;
BEGIN
	IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
		RAISE EXCEPTION 'a checkpoint must be noted in a transaction that has written nothing'
			USING ERRCODE = 'invalid_transaction_state';
	END IF;
	IF NOT biolink.job_lock(job_name) THEN
		RETURN 'busy';
	END IF;
	-- the clock before the transaction id: see biolink.arrival()
	noted := clock_timestamp();
	INSERT INTO biolink.job_candidate (job, noted_at, noted_by) VALUES (job_name, noted, pg_current_xact_id())
		ON CONFLICT (job) DO NOTHING;
	RETURN CASE WHEN FOUND THEN 'noted' ELSE 'waiting' END;
END
$$;
COMMENT ON FUNCTION biolink.note_checkpoint(pg_catalog.text) IS 'First step of a fold: notes a time and takes a transaction id (noted), unless an earlier pair is still there (waiting) or the job is running elsewhere (busy).';

CREATE FUNCTION biolink.attribute_pending() RETURNS pg_catalog.bool
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 1000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	since timestamptz;
BEGIN
	IF EXISTS (SELECT FROM biolink.attribution_queue AS q WHERE q.retry_at IS NULL OR q.retry_at <= now()) THEN
		RETURN true;
	END IF;
	IF EXISTS (SELECT FROM biolink.job_candidate AS c WHERE c.job = 'attribute') THEN
		RETURN EXISTS (SELECT FROM biolink.job_candidate AS c WHERE c.job = 'attribute' AND pg_snapshot_xmin(pg_current_snapshot()) > c.noted_by);
	END IF;
	since := (SELECT p.folded_until FROM biolink.job_checkpoint AS p WHERE p.job = 'attribute');
	-- a checkpoint ahead of the clock: it was set back, and what arrived since then may lie before the checkpoint
	RETURN since > clock_timestamp()
		OR EXISTS (SELECT FROM biolink.event AS e WHERE e.received_at >= COALESCE(since, '-infinity') AND e.received_at <= clock_timestamp());
END
$$;
COMMENT ON FUNCTION biolink.attribute_pending() IS 'Whether the job "attribute" has anything to do: something queued that is not to be tried later, something that arrived since the checkpoint, or a fold that waits no longer. Reads only.';

CREATE FUNCTION biolink.attribute_fold() RETURNS pg_catalog.int8
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 10000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	next record;
	since timestamptz;
	upto timestamptz;
	found_late int8;
BEGIN
	IF NOT biolink.job_lock('attribute') THEN
		RETURN NULL;
	END IF;
	SELECT c.noted_at, c.noted_by INTO next FROM biolink.job_candidate AS c WHERE c.job = 'attribute';
	IF NOT FOUND OR pg_snapshot_xmin(pg_current_snapshot()) <= next.noted_by THEN
		-- a transaction that may hold rows of before is still running: the next run looks again
		RETURN NULL;
	END IF;
	since := COALESCE((SELECT NULLIF(p.folded_until, '-infinity') FROM biolink.job_checkpoint AS p WHERE p.job = 'attribute'),
		least((SELECT min(e.received_at) FROM biolink.event AS e), next.noted_at));
	IF since > next.noted_at THEN
		-- The clock was set back. What arrived after that and before this pair was noted has times that lie before the checkpoint, by no more
		-- than the time since the last fold. Folding twice queues twice and changes nothing: take in the last week as the clock has it now.
		since := next.noted_at - interval '7 days';
	END IF;
	-- a few hours in one slice, or a fiftieth of what there is to catch up with
	upto := least(next.noted_at, since + greatest(interval '6 hours', (next.noted_at - since) / 50));

	INSERT INTO biolink.attribution_queue (creator_id, conversion_id, reason)
		SELECT v.creator_id, v.conversion_id, 'late_touch'
			FROM biolink.event AS e
			JOIN biolink.conversion_evidence AS v ON v.creator_id = e.creator_id AND v.visitor OPERATOR(biolink.=) e.visitor
			WHERE e.received_at >= since AND e.received_at < upto AND e.kind IN ('visit', 'click') AND e.occurred_at <= v.converted_at
		UNION
		SELECT v.creator_id, v.conversion_id, 'late_touch'
			FROM biolink.event AS e
			JOIN biolink.conversion_evidence AS v ON v.creator_id = e.creator_id AND v.touch_id = e.event_id
			WHERE e.received_at >= since AND e.received_at < upto AND e.kind IN ('visit', 'click');
	GET DIAGNOSTICS found_late = ROW_COUNT;

	IF upto >= next.noted_at THEN
		DELETE FROM biolink.job_candidate AS c WHERE c.job = 'attribute';
	END IF;
	INSERT INTO biolink.job_checkpoint (job, folded_until) VALUES ('attribute', upto)
		ON CONFLICT (job) DO UPDATE SET folded_until = excluded.folded_until;
	RETURN found_late;
END
$$;
COMMENT ON FUNCTION biolink.attribute_fold() IS
	'Second step of a fold: queues the conversions that visits and clicks which arrived since the last checkpoint belong to, and moves the checkpoint, by six hours or more at a time: the noted pair is gone when the fold is complete. Returns how many; NULL when an older transaction still runs or the job runs elsewhere.';

CREATE FUNCTION biolink.attribute_build(creator_id pg_catalog.int8, conversions pg_catalog.uuid[]) RETURNS pg_catalog.int8
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER COST 100000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	size CONSTANT int4 := cardinality(conversions);
BEGIN
	DELETE FROM biolink.attribution_queue AS q WHERE q.creator_id = attribute_build.creator_id AND q.conversion_id = ANY (conversions);
	PERFORM biolink.rebuild_conversions(creator_id, conversions);
	RETURN 0;
EXCEPTION WHEN OTHERS THEN
	IF biolink.is_system_error(SQLSTATE) THEN
		RAISE;
	ELSIF size > 1 THEN
		RETURN biolink.attribute_build(creator_id, conversions[:size / 2]) + biolink.attribute_build(creator_id, conversions[size / 2 + 1:]);
	END IF;
	UPDATE biolink.attribution_queue AS q
		SET attempts = q.attempts + 1, retry_at = now() + least(interval '1 minute' * power(2::float8, least(q.attempts, 11)), interval '1 day'), error = SQLSTATE || ': ' || SQLERRM
		WHERE q.creator_id = attribute_build.creator_id AND q.conversion_id = conversions[1];
	RETURN 1;
END
$$;
COMMENT ON FUNCTION biolink.attribute_build(pg_catalog.int8, pg_catalog.uuid[]) IS
	'Builds conversions of one creator and takes them off the queue. Those that fail are found by halving, stay queued with the error, and are tried again after a minute, then two, four, up to a day. Returns how many failed.';

CREATE FUNCTION biolink.attribute_slice(after_creator pg_catalog.int8, until_queue_id pg_catalog.int8, max_conversions pg_catalog.int4,
		OUT creator_id pg_catalog.int8, OUT taken pg_catalog.int8, OUT failed pg_catalog.int8, OUT more pg_catalog.bool)
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER COST 100000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	next int8;
	slice uuid[];
	wrapped bool := after_creator <= 0;
BEGIN
	IF NOT biolink.job_lock('attribute') THEN
		RETURN;
	END IF;
	-- A snapshot older than the lock would not see what the slice or fold before did, nor would that see what this one does: under REPEATABLE
	-- READ and SERIALIZABLE this fails then, to be tried again. A fold moves the same row.
	INSERT INTO biolink.job_checkpoint (job, folded_until) VALUES ('attribute', '-infinity')
		ON CONFLICT (job) DO UPDATE SET folded_until = job_checkpoint.folded_until;
	creator_id := after_creator;
	taken := 0;
	failed := 0;
	more := true;
	WHILE taken < max_conversions LOOP
		SELECT min(q.creator_id) INTO next FROM biolink.attribution_queue AS q
			WHERE q.creator_id > attribute_slice.creator_id AND q.queue_id <= until_queue_id AND (q.retry_at IS NULL OR q.retry_at <= now());
		IF next IS NULL THEN
			IF wrapped THEN
				more := false;
				EXIT;
			END IF;
			wrapped := true;
			creator_id := 0;
			CONTINUE;
		END IF;
		creator_id := next;
		SELECT array_agg(DISTINCT o.conversion_id) INTO slice FROM (
			SELECT q.conversion_id FROM biolink.attribution_queue AS q
				WHERE q.creator_id = next AND q.queue_id <= until_queue_id AND (q.retry_at IS NULL OR q.retry_at <= now())
				ORDER BY q.queue_id LIMIT max_conversions - taken
		) AS o;
		failed := failed + biolink.attribute_build(next, slice);
		taken := taken + cardinality(slice);
	END LOOP;
END
$$;
COMMENT ON FUNCTION biolink.attribute_slice(pg_catalog.int8, pg_catalog.int8, pg_catalog.int4) IS
	'Builds up to so many of the conversions queued up to an entry: of the creator that comes after the given one, and, as long as there is room, of the next, round and round. Returns the creator to go on after, how many it took off the queue or tried, how many of them failed, and whether there are more; all NULL when the job runs elsewhere.';

CREATE FUNCTION biolink.attribute_step(progress pg_catalog.jsonb) RETURNS biolink.job_slice
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER COST 100000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	-- conversions built per transaction: a fraction of a second
	slice_size CONSTANT int4 := 1000;
	phase CONSTANT text := COALESCE(progress ->> 'phase', 'note');
	slice biolink.job_slice;
	noted text;
	built record;
BEGIN
	slice.more := true;
	slice.doing := phase;
	slice.progress := progress;
	-- a slice of somebody else's, or a partition that is being made, ends soon
	PERFORM biolink.job_lock_wait('attribute');
	CASE phase
		WHEN 'note' THEN
			noted := biolink.note_checkpoint('attribute');
			slice.progress := jsonb_build_object('phase', 'fold', 'noted', noted);
		WHEN 'fold' THEN
			-- A pair of before is folded first; then one of now, so that whatever had committed when the run began is in.
			IF biolink.attribute_fold() IS NULL THEN
				slice.progress := jsonb_build_object('phase', 'build');
			ELSIF NOT EXISTS (SELECT FROM biolink.job_candidate AS c WHERE c.job = 'attribute') THEN
				slice.progress := jsonb_build_object('phase', CASE progress ->> 'noted' WHEN 'waiting' THEN 'note' ELSE 'build' END);
			END IF;
		WHEN 'build' THEN
			IF progress -> 'until' IS NULL THEN
				-- what is queued from here on is for the next run
				SELECT jsonb_build_object('phase', 'build', 'until', max(q.queue_id), 'creator', 0), count(DISTINCT q.conversion_id)
					INTO slice.progress, slice.rows_total FROM biolink.attribution_queue AS q WHERE q.retry_at IS NULL OR q.retry_at <= now();
				slice.more := slice.rows_total > 0;
			ELSE
				built := biolink.attribute_slice((progress ->> 'creator')::int8, (progress ->> 'until')::int8, slice_size);
				slice.progress := progress || jsonb_build_object('creator', built.creator_id);
				slice.rows_done := built.taken - built.failed;
				slice.rows_failed := built.failed;
				slice.more := built.more;
				slice.doing := format('building paths, last of creator %s', built.creator_id);
			END IF;
	END CASE;
	RETURN slice;
END
$$;
COMMENT ON FUNCTION biolink.attribute_step(pg_catalog.jsonb) IS 'Does a slice of the job "attribute", from where the one before got to: see biolink.job_step().';

ALTER FUNCTION biolink.note_checkpoint(pg_catalog.text) OWNER TO biolink_owner;
ALTER FUNCTION biolink.attribute_pending() OWNER TO biolink_owner;
ALTER FUNCTION biolink.attribute_fold() OWNER TO biolink_owner;
ALTER FUNCTION biolink.attribute_build(pg_catalog.int8, pg_catalog.uuid[]) OWNER TO biolink_owner;
ALTER FUNCTION biolink.attribute_slice(pg_catalog.int8, pg_catalog.int8, pg_catalog.int4) OWNER TO biolink_owner;
ALTER FUNCTION biolink.attribute_step(pg_catalog.jsonb) OWNER TO biolink_owner;
GRANT EXECUTE ON FUNCTION biolink.note_checkpoint(pg_catalog.text), biolink.attribute_fold(), biolink.attribute_slice(pg_catalog.int8, pg_catalog.int8, pg_catalog.int4) TO biolink_admin;
