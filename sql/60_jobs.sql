-- 60_jobs.sql: the jobs and how they fold what arrived.
--
-- A job is a procedure that commits between slices; each slice is one function call in one transaction that holds the job's advisory
-- lock to its end.  So two runners never work on one slice, a killed runner leaves nothing locked, and no request waits for a job.

CREATE TABLE biolink.job_checkpoint (
	job pg_catalog.text PRIMARY KEY,
	folded_until pg_catalog.timestamptz NOT NULL
);
ALTER TABLE biolink.job_checkpoint OWNER TO biolink_owner;
COMMENT ON TABLE biolink.job_checkpoint IS 'How far each job has folded: rows with received_at before folded_until are done. Moves in the transaction of the fold.';

CREATE TABLE biolink.job_candidate (
	job pg_catalog.text PRIMARY KEY,
	noted_at pg_catalog.timestamptz NOT NULL,
	noted_by pg_catalog.xid8 NOT NULL
);
ALTER TABLE biolink.job_candidate OWNER TO biolink_owner;
COMMENT ON TABLE biolink.job_candidate IS 'The next checkpoint of each job: a time, and a transaction id taken after it. Once every id up to that one has finished, all rows that arrived before the time are visible. Not dumped: transaction ids mean nothing in another cluster.';

SELECT pg_catalog.pg_extension_config_dump('biolink.job_checkpoint', '');
GRANT SELECT ON biolink.job_checkpoint, biolink.job_candidate TO biolink_admin;

CREATE FUNCTION biolink.job_lock(job pg_catalog.text) RETURNS pg_catalog.bool
	LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE COST 10
	SET search_path = pg_catalog, pg_temp
	AS $$
	-- 0x626c6a6f is "bljo"; the second number tells the jobs apart within this database
	SELECT pg_try_advisory_xact_lock(1651272303, hashtext($1))
$$;
COMMENT ON FUNCTION biolink.job_lock(pg_catalog.text) IS 'Tries to become the one runner of a job until the end of the transaction.';

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

CREATE FUNCTION biolink.attribute_fold() RETURNS pg_catalog.int8
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 10000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	next record;
	since timestamptz;
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
	since := COALESCE((SELECT p.folded_until FROM biolink.job_checkpoint AS p WHERE p.job = 'attribute'), '-infinity');

	INSERT INTO biolink.attribution_queue (creator_id, conversion_id, reason)
		SELECT v.creator_id, v.conversion_id, 'late_touch'
			FROM biolink.event AS e
			JOIN biolink.conversion_evidence AS v ON v.creator_id = e.creator_id AND v.visitor OPERATOR(biolink.=) e.visitor
			WHERE e.received_at >= since AND e.received_at < next.noted_at AND e.kind IN ('visit', 'click') AND e.occurred_at <= v.converted_at
		UNION
		SELECT v.creator_id, v.conversion_id, 'late_touch'
			FROM biolink.event AS e
			JOIN biolink.conversion_evidence AS v ON v.creator_id = e.creator_id AND v.touch_id = e.event_id
			WHERE e.received_at >= since AND e.received_at < next.noted_at AND e.kind IN ('visit', 'click');
	GET DIAGNOSTICS found_late = ROW_COUNT;

	DELETE FROM biolink.job_candidate AS c WHERE c.job = 'attribute';
	INSERT INTO biolink.job_checkpoint (job, folded_until) VALUES ('attribute', next.noted_at)
		ON CONFLICT (job) DO UPDATE SET folded_until = greatest(job_checkpoint.folded_until, excluded.folded_until);
	RETURN found_late;
END
$$;
COMMENT ON FUNCTION biolink.attribute_fold() IS
	'Second step of a fold: queues the conversions that visits and clicks which arrived since the last checkpoint belong to, and moves the checkpoint. Returns how many; NULL when an older transaction still runs or the job runs elsewhere.';

CREATE FUNCTION biolink.attribute_slice(max_conversions pg_catalog.int4) RETURNS pg_catalog.int8
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER COST 100000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	creators int8[];
	conversions uuid[];
BEGIN
	IF NOT biolink.job_lock('attribute') THEN
		RETURN NULL;
	END IF;
	WITH slice AS (
		SELECT DISTINCT q.creator_id, q.conversion_id
			FROM (SELECT o.creator_id, o.conversion_id FROM biolink.attribution_queue AS o ORDER BY o.queue_id LIMIT max_conversions) AS q
	), taken AS (
		DELETE FROM biolink.attribution_queue AS q USING slice AS s
			WHERE q.creator_id = s.creator_id AND q.conversion_id = s.conversion_id
	)
	SELECT array_agg(s.creator_id), array_agg(s.conversion_id) INTO creators, conversions FROM slice AS s;
	IF creators IS NULL THEN
		RETURN 0;
	END IF;
	PERFORM biolink.rebuild_conversions(creators, conversions);
	RETURN cardinality(creators);
END
$$;
COMMENT ON FUNCTION biolink.attribute_slice(pg_catalog.int4) IS
	'Takes up to so many entries of the queue and builds the conversions they name. Returns how many; 0 when the queue is empty, NULL when the job runs elsewhere.';

CREATE FUNCTION biolink.ensure_event_partition(at pg_catalog.timestamptz) RETURNS pg_catalog.text
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER COST 10000
	SET search_path = pg_catalog, pg_temp
	SET TimeZone = 'UTC'
	SET DateStyle = 'ISO, YMD'
	SET lock_timeout = '1s'
	AS $$
DECLARE
	month timestamptz := date_trunc('month', at);
	month_after timestamptz := date_trunc('month', at) + interval '1 month';
	leaf text := 'event_' || to_char(date_trunc('month', at), 'YYYY_MM');
BEGIN
	IF NOT isfinite(at) THEN
		RAISE EXCEPTION 'there is no partition for infinity' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF NOT biolink.job_lock('maintain') OR to_regclass(format('biolink.%I', leaf)) IS NOT NULL THEN
		RETURN NULL;
	END IF;

	-- A slice of the job "attribute" whose snapshot is older than the move, but whose plan is younger, would look for moved rows where it
	-- cannot see them yet: it has to be over, and the next one waits for its next run.
	PERFORM pg_advisory_xact_lock(1651272303, hashtext('attribute'));

	EXECUTE format('CREATE TABLE biolink.%I (LIKE biolink.event INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', leaf);
	-- What is in the default partition already moves under a lock on that partition, for which we wait no longer than lock_timeout. A row of
	-- this month that waited for the same lock would fail after it, being routed already: where such rows come in now, inserts have to wait
	-- before they are routed, on the parent. Months ahead have none, so making partitions ahead keeps nobody waiting.
	IF month <= now() + interval '1 day'
		OR EXISTS (SELECT FROM ONLY biolink.event_default AS e WHERE e.occurred_at >= month AND e.occurred_at < month_after)
	THEN
		LOCK TABLE ONLY biolink.event IN EXCLUSIVE MODE;
	END IF;
	LOCK TABLE ONLY biolink.event_default IN ACCESS EXCLUSIVE MODE;
	EXECUTE format('WITH stray AS (DELETE FROM ONLY biolink.event_default WHERE occurred_at >= $1 AND occurred_at < $2 RETURNING *)
		INSERT INTO biolink.%I SELECT * FROM stray', leaf) USING month, month_after;
	PERFORM biolink.prepare_event_leaf(format('biolink.%I', leaf)::regclass);
	EXECUTE format('ALTER TABLE biolink.%I ENABLE ROW LEVEL SECURITY', leaf);
	EXECUTE format('ALTER TABLE biolink.event ATTACH PARTITION biolink.%I FOR VALUES FROM (%L) TO (%L)', leaf, month, month_after);
	EXECUTE format('COMMENT ON TABLE biolink.%I IS %L', leaf, 'Events of ' || to_char(month, 'YYYY-MM') || ' (UTC).');

	-- A partition goes with its parent, without asking.  A view of it that is no member of the extension makes DROP EXTENSION ask.
	IF to_regclass('biolink.event_guard') IS NULL THEN
		CREATE VIEW biolink.event_guard WITH (security_invoker = true) AS SELECT FROM biolink.event WHERE false;
		COMMENT ON VIEW biolink.event_guard IS 'Holds nothing. As long as it is there, DROP EXTENSION biolink refuses without CASCADE, which would drop every event.';
	END IF;
	RETURN leaf;
END
$$;
COMMENT ON FUNCTION biolink.ensure_event_partition(pg_catalog.timestamptz) IS
	'Makes the partition of biolink.event for the month (UTC) that holds a time, and moves what the default partition has of it. Returns its name, NULL when it is there already or the job "maintain" runs elsewhere. Errors: 55P03 when a long transaction keeps the default partition locked; the next run tries again.';

CREATE FUNCTION biolink.missing_event_partitions() RETURNS SETOF pg_catalog.timestamptz
	LANGUAGE sql STABLE PARALLEL UNSAFE SECURITY DEFINER COST 1000 ROWS 3
	SET search_path = pg_catalog, pg_temp
	SET TimeZone = 'UTC'
	AS $$
	SELECT m.month FROM (
		SELECT date_trunc('month', now()) + n * interval '1 month' AS month FROM generate_series(0, 2) AS n
		UNION
		-- what claims to be from further ahead stays where it is
		SELECT date_trunc('month', e.occurred_at) FROM ONLY biolink.event_default AS e WHERE e.occurred_at < now() + interval '3 months'
	) AS m
	WHERE to_regclass(format('biolink.%I', 'event_' || to_char(m.month, 'YYYY_MM'))) IS NULL
	ORDER BY m.month
$$;
COMMENT ON FUNCTION biolink.missing_event_partitions() IS
	'Months that should have a partition of biolink.event and do not: this one, the next two, and those up to then that the default partition holds events of.';

CREATE PROCEDURE biolink.run_job(name pg_catalog.text)
	LANGUAGE plpgsql
	AS $$
DECLARE
	-- conversions built per transaction: a fraction of a second
	slice CONSTANT pg_catalog.int4 := 1000;
	noted pg_catalog.text;
	folded pg_catalog.int8;
	built pg_catalog.int8;
	month pg_catalog.timestamptz;
BEGIN
	IF name OPERATOR(pg_catalog.=) 'attribute' THEN
		-- A pair of before is folded first; then one of now, so that whatever had committed when the job was called is in.
		LOOP
			noted := biolink.note_checkpoint('attribute');
			COMMIT;
			IF noted OPERATOR(pg_catalog.=) 'busy' THEN
				RAISE NOTICE 'job "attribute" is running elsewhere';
				RETURN;
			END IF;
			folded := biolink.attribute_fold();
			COMMIT;
			EXIT WHEN folded IS NULL OR noted OPERATOR(pg_catalog.=) 'noted';
		END LOOP;
		LOOP
			built := biolink.attribute_slice(slice);
			COMMIT;
			EXIT WHEN built IS NULL OR built OPERATOR(pg_catalog.=) 0;
		END LOOP;
	ELSIF name OPERATOR(pg_catalog.=) 'maintain' THEN
		FOR month IN SELECT m.m FROM biolink.missing_event_partitions() AS m (m) LOOP
			PERFORM biolink.ensure_event_partition(month);
			COMMIT;
		END LOOP;
	ELSE
		RAISE EXCEPTION 'there is no job "%"', COALESCE(name, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Jobs are attribute and maintain.';
	END IF;
END
$$;
COMMENT ON PROCEDURE biolink.run_job(pg_catalog.text) IS
	'Runs a job now, to its end, committing between slices: attribute (paths of the conversions that new rows affect), maintain (partitions ahead, stray events moved). CALL it outside a transaction block. Running it again, or in two sessions, is harmless. Errors: 22023 for an unknown job.';

ALTER FUNCTION biolink.note_checkpoint(pg_catalog.text) OWNER TO biolink_owner;
ALTER FUNCTION biolink.attribute_fold() OWNER TO biolink_owner;
ALTER FUNCTION biolink.attribute_slice(pg_catalog.int4) OWNER TO biolink_owner;
ALTER FUNCTION biolink.ensure_event_partition(pg_catalog.timestamptz) OWNER TO biolink_owner;
ALTER FUNCTION biolink.missing_event_partitions() OWNER TO biolink_owner;
GRANT EXECUTE ON FUNCTION biolink.note_checkpoint(pg_catalog.text), biolink.attribute_fold(), biolink.attribute_slice(pg_catalog.int4),
	biolink.ensure_event_partition(pg_catalog.timestamptz), biolink.missing_event_partitions() TO biolink_admin;
GRANT EXECUTE ON PROCEDURE biolink.run_job(pg_catalog.text) TO biolink_admin;
