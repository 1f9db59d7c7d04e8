-- 62_maintain.sql: the job "maintain": partitions of the events, made ahead, and stray events moved into theirs; statistics and freezing.
--
-- The other half of the job drops what is no longer kept: 63_retention.sql.
--
-- Whatever needs a lock waits for it no longer than 0.2 seconds, since whoever comes after waits behind it.  What did not get its lock is
-- left for the next run, which notes it and has not failed.

CREATE TABLE biolink.job_memory (
	job pg_catalog.text NOT NULL,
	task pg_catalog.text NOT NULL,
	done_until pg_catalog.timestamptz,
	details pg_catalog.jsonb NOT NULL DEFAULT '{}',
	PRIMARY KEY (job, task)
);
ALTER TABLE biolink.job_memory OWNER TO biolink_owner;
COMMENT ON TABLE biolink.job_memory IS 'What a job remembers of its tasks from one run to the next. Not dumped: it tells of this server; without it a task is done once more.';
COMMENT ON COLUMN biolink.job_memory.task IS
	'maintain: settled (every transaction that may not have known of dropped_until has ended), keys (keys of events before done_until are deleted; details: how far a pass got), analyze (when biolink.event was analysed last; details: how many rows there were, and how many had ever been written).';
GRANT SELECT ON biolink.job_memory TO biolink_admin;

CREATE FUNCTION biolink.event_leaves() RETURNS TABLE (leaf pg_catalog.text, month pg_catalog.timestamptz, month_after pg_catalog.timestamptz, relation pg_catalog.oid, reloptions pg_catalog.text[])
	LANGUAGE sql STABLE PARALLEL SAFE COST 100 ROWS 50
	SET search_path = pg_catalog, pg_temp
	SET TimeZone = 'UTC'
	AS $$
	SELECT c.relname, m.month, m.month + interval '1 month', c.oid, c.reloptions
		FROM pg_inherits AS i
		JOIN pg_class AS c ON c.oid = i.inhrelid AND c.relnamespace = (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname = 'biolink')
		CROSS JOIN LATERAL (SELECT regexp_match(c.relname, '^event_([0-9]{4,})_([0-9]{2})$') AS parts) AS r
		CROSS JOIN LATERAL (SELECT make_timestamptz(r.parts[1]::int, r.parts[2]::int, 1, 0, 0, 0) AS month) AS m
		WHERE i.inhparent = 'biolink.event'::regclass AND r.parts IS NOT NULL
$$;
COMMENT ON FUNCTION biolink.event_leaves() IS 'The partitions of biolink.event that hold a month, with the month, the default partition left out.';

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
	IF NOT biolink.job_lock('maintain') OR to_regclass(format('biolink.%I', leaf)) IS NOT NULL OR month < biolink.event_horizon() THEN
		RETURN NULL;
	END IF;

	-- A slice of the job "attribute" whose snapshot is older than the move, but whose plan is younger, would look for moved rows where it
	-- cannot see them yet: it has to be over, and the next one waits for its next run.
	PERFORM biolink.job_lock_wait('attribute');

	EXECUTE format('CREATE TABLE biolink.%I (LIKE biolink.event INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', leaf);
	-- What is in the default partition already moves under a lock on that partition, for which we wait no longer than lock_timeout. A row of
	-- this month that waited for the same lock would fail after it, being routed already, and a look-up would not find what was moved, its
	-- plan having been made without the new partition: where such rows come in now, both have to wait on the parent, before they have locked
	-- the default partition. Months ahead have none, so making partitions ahead keeps nobody waiting.
	IF month <= now() + interval '1 day'
		OR EXISTS (SELECT FROM ONLY biolink.event_default AS e WHERE e.occurred_at >= month AND e.occurred_at < month_after)
	THEN
		LOCK TABLE ONLY biolink.event IN ACCESS EXCLUSIVE MODE;
	END IF;
	LOCK TABLE ONLY biolink.event_default IN ACCESS EXCLUSIVE MODE;
	EXECUTE format('WITH stray AS (DELETE FROM ONLY biolink.event_default WHERE occurred_at >= $1 AND occurred_at < $2 RETURNING *)
		INSERT INTO biolink.%I SELECT * FROM stray', leaf) USING month, month_after;
	PERFORM biolink.prepare_event_leaf(format('biolink.%I', leaf)::regclass);
	EXECUTE format('ALTER TABLE biolink.%I ENABLE ROW LEVEL SECURITY', leaf);
	EXECUTE format('ALTER TABLE biolink.event ATTACH PARTITION biolink.%I FOR VALUES FROM (%L) TO (%L)', leaf, month, month_after);
	EXECUTE format('COMMENT ON TABLE biolink.%I IS %L', leaf, 'Events of ' || to_char(month, 'YYYY-MM') || ' (UTC).');
	IF biolink.is_closed(month_after) THEN
		PERFORM biolink.freeze_event_leaf(leaf);
	END IF;

	-- A partition goes with its parent, without asking.  A view of it that is no member of the extension makes DROP EXTENSION ask.
	IF to_regclass('biolink.event_guard') IS NULL THEN
		CREATE VIEW biolink.event_guard WITH (security_invoker = true) AS SELECT FROM biolink.event WHERE false;
		COMMENT ON VIEW biolink.event_guard IS 'Holds nothing. As long as it is there, DROP EXTENSION biolink refuses without CASCADE, which would drop every event.';
	END IF;
	RETURN leaf;
END
$$;
COMMENT ON FUNCTION biolink.ensure_event_partition(pg_catalog.timestamptz) IS
	'Makes the partition of biolink.event for the month (UTC) that holds a time, and moves what the default partition has of it. Returns its name, NULL when it is there already, the month is no longer kept, or the job "maintain" runs elsewhere. Errors: 22023 for infinity, 22008 for a time too far off to have a month after it, 55P03 when a long transaction keeps the default partition locked; the next run tries again.';

CREATE FUNCTION biolink.missing_event_partitions() RETURNS SETOF pg_catalog.timestamptz
	LANGUAGE sql STABLE PARALLEL UNSAFE SECURITY DEFINER COST 1000 ROWS 3
	SET search_path = pg_catalog, pg_temp
	SET TimeZone = 'UTC'
	AS $$
	SELECT m.month FROM (
		SELECT date_trunc('month', now()) + n * interval '1 month' AS month FROM generate_series(0, 2) AS n
		UNION
		-- what claims to be from further ahead stays where it is
		SELECT date_trunc('month', e.occurred_at) FROM ONLY biolink.event_default AS e
			WHERE e.occurred_at < now() + interval '3 months' AND e.occurred_at >= biolink.event_horizon()
	) AS m
	WHERE to_regclass(format('biolink.%I', 'event_' || to_char(m.month, 'YYYY_MM'))) IS NULL
	ORDER BY m.month
$$;
COMMENT ON FUNCTION biolink.missing_event_partitions() IS
	'Months that should have a partition of biolink.event and do not: this one, the next two, and those up to then that the default partition holds events of and that are kept.';

CREATE FUNCTION biolink.is_closed(month_after pg_catalog.timestamptz) RETURNS pg_catalog.bool
	LANGUAGE sql STABLE STRICT PARALLEL SAFE COST 5
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT $1 < now() - interval '7 days' $$;
COMMENT ON FUNCTION biolink.is_closed(pg_catalog.timestamptz) IS 'Whether a month that ended at a time is closed: little is still to come in a week after.';

CREATE FUNCTION biolink.freeze_event_leaf(leaf pg_catalog.text) RETURNS pg_catalog.void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 1000
	SET search_path = pg_catalog, pg_temp
	SET lock_timeout = '200ms'
	AS $$
BEGIN
	-- VACUUM cannot run in a transaction, so autovacuum is told: once something was added since the last time, freeze all there is. What is
	-- frozen is not looked at again. This waits for no reader or writer, and none waits for it.
	EXECUTE format('ALTER TABLE biolink.%I SET (autovacuum_freeze_min_age = 0, autovacuum_freeze_table_age = 0,
		autovacuum_vacuum_insert_threshold = 0, autovacuum_vacuum_insert_scale_factor = 0)', leaf);
END
$$;
COMMENT ON FUNCTION biolink.freeze_event_leaf(pg_catalog.text) IS 'Has autovacuum freeze the partition of a closed month with its next visit, rather than read all of it again to prevent wraparound.';

CREATE FUNCTION biolink.next_unfrozen_leaf(after_month pg_catalog.timestamptz) RETURNS TABLE (leaf pg_catalog.text, month pg_catalog.timestamptz)
	LANGUAGE sql STABLE STRICT PARALLEL SAFE COST 100 ROWS 1
	SET search_path = pg_catalog, pg_temp
	AS $$
	-- an operator's own settings stay
	SELECT l.leaf, l.month FROM biolink.event_leaves() AS l
		WHERE l.month > $1 AND l.month >= biolink.event_horizon() AND biolink.is_closed(l.month_after)
			AND NOT EXISTS (SELECT FROM unnest(l.reloptions) AS o (setting) WHERE starts_with(o.setting, 'autovacuum_freeze_min_age='))
		ORDER BY l.month LIMIT 1
$$;
COMMENT ON FUNCTION biolink.next_unfrozen_leaf(pg_catalog.timestamptz) IS 'The partition of the first closed month after a time that autovacuum has not been told to freeze.';

CREATE FUNCTION biolink.event_writes() RETURNS TABLE (written pg_catalog.int8, tuples pg_catalog.int8)
	LANGUAGE sql VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT COALESCE(sum(pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_tuples_deleted(c.oid)), 0)::int8,
			COALESCE(sum(greatest(c.reltuples, 0)), 0)::int8
		FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'biolink.event'::regclass
$$;
COMMENT ON FUNCTION biolink.event_writes() IS 'How many rows were ever written to or deleted from the partitions of biolink.event that there are, and about how many they hold.';

CREATE FUNCTION biolink.analyze_due() RETURNS pg_catalog.bool
	LANGUAGE sql VOLATILE PARALLEL UNSAFE COST 1000
	SET search_path = pg_catalog, pg_temp
	SET TimeZone = 'UTC'
	AS $$
	SELECT n.changes > 1000
			AND CASE
				WHEN m.done_until IS NULL OR m.done_until > now() THEN true
				-- an import, or the first days
				WHEN n.changes > (m.details ->> 'tuples')::int8 THEN true
				ELSE m.done_until < now() - interval '1 day'
					AND (m.done_until < date_trunc('month', now()) OR n.changes > (m.details ->> 'tuples')::int8 / 10)
			END
		FROM biolink.event_writes() AS w
		LEFT JOIN biolink.job_memory AS m ON m.job = 'maintain' AND m.task = 'analyze'
		-- counters that went back: a partition is gone with its own, or all were reset
		CROSS JOIN LATERAL (SELECT w.written - CASE WHEN w.written >= (m.details ->> 'written')::int8 THEN (m.details ->> 'written')::int8 ELSE 0 END AS changes) AS n
$$;
COMMENT ON FUNCTION biolink.analyze_due() IS
	'Whether biolink.event as a whole is to be analysed, which autovacuum never does: more than 1000 rows have changed, and as many as there were, or it was more than a day ago and a tenth has changed or a month has begun.';

CREATE FUNCTION biolink.analyze_events() RETURNS pg_catalog.void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE COST 1000000
	SET search_path = pg_catalog, pg_temp
	SET lock_timeout = '200ms'
	AS $$
DECLARE
	written int8 := (SELECT w.written FROM biolink.event_writes() AS w);
BEGIN
	ANALYZE biolink.event;
	INSERT INTO biolink.job_memory AS m (job, task, done_until, details)
		VALUES ('maintain', 'analyze', now(), jsonb_build_object('written', written, 'tuples', (SELECT w.tuples FROM biolink.event_writes() AS w)))
		ON CONFLICT (job, task) DO UPDATE SET done_until = excluded.done_until, details = excluded.details;
END
$$;
COMMENT ON FUNCTION biolink.analyze_events() IS 'Analyses biolink.event and its partitions, and notes when. No reader or writer waits for it.';

CREATE FUNCTION biolink.maintain_partitions(progress pg_catalog.jsonb) RETURNS biolink.job_slice
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 100000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	slice biolink.job_slice;
	month timestamptz;
BEGIN
	SELECT min(m.month) INTO month FROM biolink.missing_event_partitions() AS m (month)
		WHERE m.month > COALESCE((progress ->> 'month')::timestamptz, '-infinity');
	IF month IS NOT NULL THEN
		slice.more := true;
		slice.progress := jsonb_build_object('phase', 'partitions', 'month', month);
		slice.doing := format('partition of %s', to_char(month AT TIME ZONE 'UTC', 'YYYY-MM'));
		BEGIN
			slice.rows_done := (biolink.ensure_event_partition(month) IS NOT NULL)::int4;
		EXCEPTION WHEN OTHERS THEN
			IF biolink.is_system_error(SQLSTATE) THEN
				RAISE;
			END IF;
			-- the other months are made all the same
			slice.rows_failed := 1;
			slice.sqlstate := SQLSTATE;
			slice.error := format('%s: %s', slice.doing, SQLERRM);
		END;
	END IF;
	RETURN slice;
END
$$;
COMMENT ON FUNCTION biolink.maintain_partitions(pg_catalog.jsonb) IS 'Phase of the job "maintain": makes a partition that is missing.';

CREATE FUNCTION biolink.maintain_freeze(progress pg_catalog.jsonb) RETURNS biolink.job_slice
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 10000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	slice biolink.job_slice;
	next record;
BEGIN
	SELECT n.leaf, n.month INTO next FROM biolink.next_unfrozen_leaf(COALESCE((progress ->> 'month')::timestamptz, '-infinity')) AS n;
	IF FOUND THEN
		slice.more := true;
		slice.progress := jsonb_build_object('phase', 'freeze', 'month', next.month);
		slice.doing := format('having %s frozen', next.leaf);
		BEGIN
			PERFORM biolink.freeze_event_leaf(next.leaf);
		EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
			slice.rows_failed := 1;
			slice.error := format('%s: %s', slice.doing, SQLERRM);
		END;
	END IF;
	RETURN slice;
END
$$;
COMMENT ON FUNCTION biolink.maintain_freeze(pg_catalog.jsonb) IS 'Phase of the job "maintain": tells autovacuum to freeze the partition of a month that has been closed.';

CREATE FUNCTION biolink.maintain_analyze(progress pg_catalog.jsonb) RETURNS biolink.job_slice
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 1000000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	slice biolink.job_slice;
BEGIN
	IF progress -> 'tried' IS NULL AND biolink.analyze_due() THEN
		slice.more := true;
		slice.progress := '{"phase": "analyze", "tried": true}';
		slice.doing := 'analysing biolink.event';
		BEGIN
			PERFORM biolink.analyze_events();
		EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
			slice.rows_failed := 1;
			slice.error := format('%s: %s', slice.doing, SQLERRM);
		END;
	END IF;
	RETURN slice;
END
$$;
COMMENT ON FUNCTION biolink.maintain_analyze(pg_catalog.jsonb) IS 'Phase of the job "maintain": analyses biolink.event where enough has changed.';

CREATE FUNCTION biolink.maintain_pending() RETURNS pg_catalog.bool
	LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 10000
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT EXISTS (SELECT FROM biolink.missing_event_partitions())
		OR COALESCE(biolink.retention_pending(), false)
		OR EXISTS (SELECT FROM biolink.next_unfrozen_leaf('-infinity'))
		OR biolink.analyze_due()
$$;
COMMENT ON FUNCTION biolink.maintain_pending() IS 'Whether the job "maintain" has anything to do. Reads only.';

CREATE FUNCTION biolink.maintain_step(progress pg_catalog.jsonb) RETURNS biolink.job_slice
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER COST 100000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	phases CONSTANT text[] := '{partitions,horizon,settle,empty,drop,strays,keys,freeze,analyze}';
	before CONSTANT jsonb := progress;
	place int4 := COALESCE(array_position(phases, progress ->> 'phase'), 1);
	slice biolink.job_slice;
	rows_total int8;
BEGIN
	-- somebody else's slice ends soon
	PERFORM biolink.job_lock_wait('maintain');
	IF progress -> 'phase' IS NULL THEN
		rows_total := CASE WHEN biolink.retention_pending() IS NOT TRUE THEN (SELECT count(*) FROM biolink.missing_event_partitions()) END;
	END IF;
	-- the first phase that has something to do does a slice of it
	WHILE place <= cardinality(phases) LOOP
		CASE phases[place]
			WHEN 'partitions' THEN slice := biolink.maintain_partitions(progress);
			WHEN 'horizon' THEN slice := biolink.retention_horizon(progress);
			WHEN 'settle' THEN slice := biolink.retention_settle(progress);
			WHEN 'empty' THEN slice := biolink.retention_empty(progress);
			WHEN 'drop' THEN slice := biolink.retention_drop(progress);
			WHEN 'strays' THEN slice := biolink.retention_strays(progress);
			WHEN 'keys' THEN slice := biolink.retention_keys(progress);
			WHEN 'freeze' THEN slice := biolink.maintain_freeze(progress);
			WHEN 'analyze' THEN slice := biolink.maintain_analyze(progress);
		END CASE;
		EXIT WHEN slice.more;
		place := place + 1;
		progress := jsonb_build_object('phase', phases[place]);
	END LOOP;
	slice.more := COALESCE(slice.more, false);
	slice.progress := COALESCE(slice.progress, before);
	slice.rows_total := rows_total;
	RETURN slice;
END
$$;
COMMENT ON FUNCTION biolink.maintain_step(pg_catalog.jsonb) IS
	'Does a slice of the job "maintain": a partition made, emptied or dropped, a few thousand rows deleted, biolink.event analysed. See biolink.job_step().';

DO $$
DECLARE
	name pg_catalog.text;
BEGIN
	FOREACH name IN ARRAY '{event_leaves(),ensure_event_partition(timestamptz),missing_event_partitions(),is_closed(timestamptz),freeze_event_leaf(text),next_unfrozen_leaf(timestamptz),
			event_writes(),analyze_due(),analyze_events(),maintain_partitions(jsonb),maintain_freeze(jsonb),maintain_analyze(jsonb),maintain_pending(),maintain_step(jsonb)}'::pg_catalog.text[] LOOP
		EXECUTE pg_catalog.format('ALTER FUNCTION biolink.%s OWNER TO biolink_owner', name);
	END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION biolink.ensure_event_partition(pg_catalog.timestamptz), biolink.missing_event_partitions() TO biolink_admin;
