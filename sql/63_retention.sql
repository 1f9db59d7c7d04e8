-- 63_retention.sql: the job "maintain", second half: dropping what is no longer kept.
--
-- In this order, each step in a transaction of its own, and only while nothing holds it up:
--   horizon  event_retention.dropped_until moves forward: from its commit on older events are refused
--   settle   every transaction that may not have known it yet has to end: from then on nothing is added before it
--   empty    the partitions of the months before it are truncated
--   drop     what is empty is dropped
--   strays   older events in the default partition are deleted
--   keys     keys whose events are gone are deleted, those of money apart
--
-- Money needs none of what goes: the ledger, order_ref and the keys of money stay, and so do conversions, their evidence and their paths.
-- Nor is anything dropped that a path may still need: visits and clicks that the job "attribute" has not taken in, and those that
-- conversions which are still to be built may have come from.
--
-- biolink.repeated_text stays as it is. Its rows are shared by events of all months, and sessions remember which of them there are.

CREATE FUNCTION biolink.retention_held_up(leaf pg_catalog.text, until pg_catalog.timestamptz) RETURNS pg_catalog.text
	LANGUAGE plpgsql STABLE STRICT PARALLEL UNSAFE COST 10000
	SET search_path = pg_catalog, pg_temp
	SET TimeZone = 'UTC'
	AS $$
DECLARE
	found bool;
BEGIN
	-- a conversion is named by its first event, which may be told a little after the earliest
	IF EXISTS (SELECT FROM biolink.attribution_queue AS q WHERE q.conversion_id < biolink.uuid_v7_floor(until + biolink.longest_lookback() + interval '1 day')) THEN
		RETURN 'conversions that its touches may have earned are still to be built by the job "attribute"';
	END IF;
	EXECUTE format('SELECT EXISTS (SELECT FROM ONLY biolink.%I AS e WHERE e.received_at >= $1 AND e.occurred_at < $2 AND e.kind IN (''visit'', ''click''))', leaf)
		INTO found USING COALESCE((SELECT p.folded_until FROM biolink.job_checkpoint AS p WHERE p.job = 'attribute'), '-infinity'), until;
	RETURN CASE WHEN found THEN 'the job "attribute" has not taken in all of its visits and clicks' END;
END
$$;
COMMENT ON FUNCTION biolink.retention_held_up(pg_catalog.text, pg_catalog.timestamptz) IS 'Why the events of a partition from before a time may not be dropped yet; NULL when they may.';

CREATE FUNCTION biolink.retention_settled() RETURNS pg_catalog.bool
	LANGUAGE sql STABLE PARALLEL UNSAFE COST 10
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT EXISTS (SELECT FROM biolink.job_memory AS m WHERE m.job = 'maintain' AND m.task = 'settled' AND m.done_until = biolink.event_horizon())
$$;
COMMENT ON FUNCTION biolink.retention_settled() IS 'Whether every transaction that may not have known of event_retention.dropped_until has ended.';

CREATE FUNCTION biolink.oldest_kept_event() RETURNS pg_catalog.timestamptz
	LANGUAGE sql STABLE PARALLEL UNSAFE COST 1000
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT least(biolink.event_horizon(),
		(SELECT min(l.month) FROM biolink.event_leaves() AS l WHERE l.month < biolink.event_horizon() AND pg_relation_size(l.relation) > 0),
		(SELECT min(e.occurred_at) FROM ONLY biolink.event_default AS e))
$$;
COMMENT ON FUNCTION biolink.oldest_kept_event() IS 'A time before which there are no events, as far as retention has got.';

CREATE FUNCTION biolink.retention_horizon(progress pg_catalog.jsonb) RETURNS biolink.job_slice
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 1000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	slice biolink.job_slice;
	horizon timestamptz;
BEGIN
	UPDATE biolink.event_retention AS r SET dropped_until = biolink.first_kept_month(r.keep)
		WHERE r.dropped_until < biolink.first_kept_month(r.keep)
		RETURNING r.dropped_until INTO horizon;
	IF FOUND THEN
		DELETE FROM biolink.job_candidate AS c WHERE c.job = 'maintain';
		slice.more := true;
		slice.progress := '{"phase": "settle"}';
		slice.doing := format('keeping events from %s on', to_char(horizon AT TIME ZONE 'UTC', 'YYYY-MM'));
	END IF;
	RETURN slice;
END
$$;
COMMENT ON FUNCTION biolink.retention_horizon(pg_catalog.jsonb) IS 'Phase of the job "maintain": moves event_retention.dropped_until forward, in a transaction of its own, so that what is about to be dropped is refused before.';

CREATE FUNCTION biolink.retention_settle(progress pg_catalog.jsonb) RETURNS biolink.job_slice
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 1000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	slice biolink.job_slice;
	noted xid8;
BEGIN
	IF biolink.event_horizon() = '-infinity' OR biolink.retention_settled() THEN
		RETURN slice;
	END IF;
	SELECT c.noted_by INTO noted FROM biolink.job_candidate AS c WHERE c.job = 'maintain';
	IF noted IS NULL THEN
		IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
			RAISE EXCEPTION 'a slice of the job "maintain" must be a transaction of its own' USING ERRCODE = 'invalid_transaction_state';
		END IF;
		INSERT INTO biolink.job_candidate (job, noted_at, noted_by) VALUES ('maintain', clock_timestamp(), pg_current_xact_id());
		slice.more := true;
		slice.progress := '{"phase": "settle"}';
		slice.doing := 'waiting for transactions of before';
		RETURN slice;
	END IF;
	-- most end within a moment
	FOR attempt IN 1 .. 10 LOOP
		EXIT WHEN pg_snapshot_xmin(pg_current_snapshot()) > noted;
		PERFORM pg_sleep(0.1);
	END LOOP;
	IF pg_snapshot_xmin(pg_current_snapshot()) > noted THEN
		DELETE FROM biolink.job_candidate AS c WHERE c.job = 'maintain';
		INSERT INTO biolink.job_memory AS m (job, task, done_until) VALUES ('maintain', 'settled', biolink.event_horizon())
			ON CONFLICT (job, task) DO UPDATE SET done_until = excluded.done_until;
		slice.more := true;
		slice.progress := '{"phase": "empty"}';
		slice.doing := 'nothing is added any more to what is to be dropped';
	END IF;
	RETURN slice;
END
$$;
COMMENT ON FUNCTION biolink.retention_settle(pg_catalog.jsonb) IS 'Phase of the job "maintain": sees to it that nothing is added any more before event_retention.dropped_until; where an older transaction still writes, the next run looks again.';

CREATE FUNCTION biolink.retention_empty(progress pg_catalog.jsonb) RETURNS biolink.job_slice
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 100000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	slice biolink.job_slice;
	next record;
BEGIN
	IF NOT biolink.retention_settled() THEN
		RETURN slice;
	END IF;
	SELECT l.leaf, l.month, l.month_after INTO next FROM biolink.event_leaves() AS l
		WHERE l.month < biolink.event_horizon() AND l.month > COALESCE((progress ->> 'month')::timestamptz, '-infinity') AND pg_relation_size(l.relation) > 0
		ORDER BY l.month LIMIT 1;
	IF NOT FOUND THEN
		RETURN slice;
	END IF;
	slice.more := true;
	slice.progress := jsonb_build_object('phase', 'empty', 'month', next.month);
	slice.doing := format('emptying %s', next.leaf);
	IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
		RAISE EXCEPTION 'a slice of the job "maintain" must run under READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
	END IF;
	-- no slice of "attribute" is to see half of it; what it left to do is visible from here on
	PERFORM biolink.job_lock_wait('attribute');
	slice.error := biolink.retention_held_up(next.leaf, next.month_after);
	IF slice.error IS NOT NULL THEN
		slice.error := format('%s: %s', slice.doing, slice.error);
		slice.rows_failed := 1;
		RETURN slice;
	END IF;
	BEGIN
		PERFORM biolink.empty_event_leaf(next.leaf);
		slice.rows_done := 1;
	EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
		-- Whoever came after us has waited behind us once; with every further try it would once more. The next run tries again.
		slice.progress := '{"phase": "strays"}';
		slice.error := format('%s: %s', slice.doing, SQLERRM);
		slice.rows_failed := 1;
	END;
	RETURN slice;
END
$$;
COMMENT ON FUNCTION biolink.retention_empty(pg_catalog.jsonb) IS 'Phase of the job "maintain": truncates the partition of a month that is no longer kept.';

CREATE FUNCTION biolink.empty_event_leaf(leaf pg_catalog.text) RETURNS pg_catalog.void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 10000
	SET search_path = pg_catalog, pg_temp
	SET lock_timeout = '200ms'
	AS $$
BEGIN
	EXECUTE format('TRUNCATE ONLY biolink.%I', leaf);
END
$$;
COMMENT ON FUNCTION biolink.empty_event_leaf(pg_catalog.text) IS 'Truncates a partition. Errors: 55P03 where somebody reads it for longer than lock_timeout.';

CREATE FUNCTION biolink.retention_drop(progress pg_catalog.jsonb) RETURNS biolink.job_slice
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 100000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	slice biolink.job_slice;
	next record;
BEGIN
	IF NOT biolink.retention_settled() THEN
		RETURN slice;
	END IF;
	SELECT l.leaf, l.month INTO next FROM biolink.event_leaves() AS l
		WHERE l.month < biolink.event_horizon() AND l.month > COALESCE((progress ->> 'month')::timestamptz, '-infinity') AND pg_relation_size(l.relation) = 0
		ORDER BY l.month LIMIT 1;
	IF NOT FOUND THEN
		RETURN slice;
	END IF;
	slice.more := true;
	slice.progress := jsonb_build_object('phase', 'drop', 'month', next.month);
	slice.doing := format('dropping %s', next.leaf);
	BEGIN
		PERFORM biolink.drop_event_leaf(next.leaf);
		slice.rows_done := 1;
	EXCEPTION
		WHEN lock_not_available OR deadlock_detected THEN
			slice.progress := '{"phase": "strays"}';
			slice.error := format('%s: %s', slice.doing, SQLERRM);
			slice.rows_failed := 1;
		WHEN dependent_objects_still_exist THEN
			-- somebody has made a view of it
			slice.sqlstate := SQLSTATE;
			slice.error := format('%s: %s', slice.doing, SQLERRM);
			slice.rows_failed := 1;
	END;
	RETURN slice;
END
$$;
COMMENT ON FUNCTION biolink.retention_drop(pg_catalog.jsonb) IS 'Phase of the job "maintain": drops the empty partition of a month that is no longer kept.';

CREATE FUNCTION biolink.drop_event_leaf(leaf pg_catalog.text) RETURNS pg_catalog.void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 10000
	SET search_path = pg_catalog, pg_temp
	SET lock_timeout = '200ms'
	AS $$
BEGIN
	-- Everybody comes by way of the parent: that is the one lock to wait for. For the others, which DROP TABLE would wait for in its turn
	-- while all clicks stand behind us, we do not.
	LOCK TABLE ONLY biolink.event IN ACCESS EXCLUSIVE MODE;
	EXECUTE format('LOCK TABLE ONLY biolink.%I, ONLY biolink.event_default IN ACCESS EXCLUSIVE MODE NOWAIT', leaf);
	EXECUTE format('DROP TABLE biolink.%I', leaf);
END
$$;
COMMENT ON FUNCTION biolink.drop_event_leaf(pg_catalog.text) IS 'Drops a partition. Errors: 55P03 where somebody has used biolink.event for longer than lock_timeout; 2BP01 where something of somebody''s depends on it.';

CREATE FUNCTION biolink.retention_strays(progress pg_catalog.jsonb) RETURNS biolink.job_slice
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 100000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	slice biolink.job_slice;
	horizon CONSTANT timestamptz := biolink.event_horizon();
BEGIN
	IF progress -> 'held_up' IS NOT NULL OR NOT biolink.retention_settled()
		OR NOT EXISTS (SELECT FROM ONLY biolink.event_default AS e WHERE e.occurred_at < horizon)
	THEN
		RETURN slice;
	END IF;
	slice.more := true;
	slice.progress := '{"phase": "strays"}';
	slice.doing := 'deleting stray events';
	PERFORM biolink.job_lock_wait('attribute');
	slice.error := biolink.retention_held_up('event_default', horizon);
	IF slice.error IS NOT NULL THEN
		slice.progress := '{"phase": "strays", "held_up": true}';
		slice.error := format('%s: %s', slice.doing, slice.error);
		slice.rows_failed := 1;
		RETURN slice;
	END IF;
	DELETE FROM ONLY biolink.event_default AS d
		WHERE d.ctid = ANY (ARRAY(SELECT e.ctid FROM ONLY biolink.event_default AS e WHERE e.occurred_at < horizon LIMIT 10000));
	GET DIAGNOSTICS slice.rows_done = ROW_COUNT;
	RETURN slice;
END
$$;
COMMENT ON FUNCTION biolink.retention_strays(pg_catalog.jsonb) IS 'Phase of the job "maintain": deletes up to 10,000 events of the default partition that are no longer kept.';

CREATE FUNCTION biolink.retention_keys(progress pg_catalog.jsonb) RETURNS biolink.job_slice
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 100000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	slice_size CONSTANT int4 := 10000;
	slice biolink.job_slice;
	pass biolink.job_memory;
	until timestamptz;
	after record;
	upto record;
BEGIN
	IF NOT biolink.retention_settled() THEN
		RETURN slice;
	END IF;
	SELECT m.* INTO pass FROM biolink.job_memory AS m WHERE m.job = 'maintain' AND m.task = 'keys';
	-- a pass that was begun is ended as it was begun
	until := COALESCE((pass.details ->> 'until')::timestamptz, biolink.oldest_kept_event());
	IF until <= COALESCE(pass.done_until, '-infinity') THEN
		RETURN slice;
	END IF;
	slice.more := true;
	slice.progress := '{"phase": "keys"}';
	slice.doing := 'deleting keys of events that are gone';

	SELECT COALESCE((pass.details ->> 'creator_id')::int8, 0) AS creator_id, COALESCE(pass.details ->> 'source', '') AS source, COALESCE(pass.details ->> 'key', '') AS key
		INTO after;
	SELECT k.creator_id, k.source, k.key INTO upto FROM biolink.event_key AS k
		WHERE (k.creator_id, k.source, k.key) > (after.creator_id, after.source, after.key)
		ORDER BY k.creator_id, k.source, k.key OFFSET slice_size - 1 LIMIT 1;
	IF NOT FOUND THEN
		SELECT 9223372036854775807 AS creator_id, '' AS source, '' AS key INTO upto;
		pass.done_until := until;
		pass.details := '{}';
	ELSE
		pass.details := jsonb_build_object('until', until, 'creator_id', upto.creator_id, 'source', upto.source, 'key', upto.key);
	END IF;

	-- Whoever sends one of them again at this very moment waits for the end of the slice; the slice waits for nobody.
	DELETE FROM biolink.event_key AS d
		WHERE d.ctid = ANY (ARRAY(SELECT k.ctid FROM biolink.event_key AS k
			WHERE (k.creator_id, k.source, k.key) > (after.creator_id, after.source, after.key)
				AND (k.creator_id, k.source, k.key) <= (upto.creator_id, upto.source, upto.key)
				AND k.event_id < biolink.uuid_v7_floor(until) AND k.kind NOT IN ('order', 'refund', 'dispute', 'dispute_won')
			FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS slice.rows_done = ROW_COUNT;
	INSERT INTO biolink.job_memory AS m (job, task, done_until, details) VALUES ('maintain', 'keys', pass.done_until, pass.details)
		ON CONFLICT (job, task) DO UPDATE SET done_until = excluded.done_until, details = excluded.details;
	RETURN slice;
END
$$;
COMMENT ON FUNCTION biolink.retention_keys(pg_catalog.jsonb) IS
	'Phase of the job "maintain": looks at the next 10,000 keys and deletes those whose events are gone, those of orders, refunds and disputes apart. One pass over all keys for each month that is dropped, in runs as many as it takes.';

CREATE FUNCTION biolink.retention_pending() RETURNS pg_catalog.bool
	LANGUAGE sql STABLE PARALLEL UNSAFE COST 10000
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT r.dropped_until < biolink.first_kept_month(r.keep)
			OR r.dropped_until > '-infinity'
				AND (NOT biolink.retention_settled()
					OR EXISTS (SELECT FROM biolink.event_leaves() AS l WHERE l.month < r.dropped_until)
					OR EXISTS (SELECT FROM ONLY biolink.event_default AS e WHERE e.occurred_at < r.dropped_until)
					OR EXISTS (SELECT FROM biolink.job_memory AS m WHERE m.job = 'maintain' AND m.task = 'keys' AND m.details <> '{}')
					OR biolink.oldest_kept_event() > COALESCE((SELECT m.done_until FROM biolink.job_memory AS m WHERE m.job = 'maintain' AND m.task = 'keys'), '-infinity'))
		FROM biolink.event_retention AS r
$$;
COMMENT ON FUNCTION biolink.retention_pending() IS 'Whether retention has anything to do. Reads only. NULL where none was ever set.';

DO $$
DECLARE
	name pg_catalog.text;
BEGIN
	FOREACH name IN ARRAY '{"retention_held_up(text,timestamptz)",retention_settled(),oldest_kept_event(),retention_horizon(jsonb),retention_settle(jsonb),retention_empty(jsonb),
			empty_event_leaf(text),retention_drop(jsonb),drop_event_leaf(text),retention_strays(jsonb),retention_keys(jsonb),retention_pending()}'::pg_catalog.text[] LOOP
		EXECUTE pg_catalog.format('ALTER FUNCTION biolink.%s OWNER TO biolink_owner', name);
	END LOOP;
END
$$;
