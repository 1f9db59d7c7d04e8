-- 62_maintain.sql: the job "maintain": partitions of the events, made ahead, and stray events moved into theirs.

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

	-- A partition goes with its parent, without asking.  A view of it that is no member of the extension makes DROP EXTENSION ask.
	IF to_regclass('biolink.event_guard') IS NULL THEN
		CREATE VIEW biolink.event_guard WITH (security_invoker = true) AS SELECT FROM biolink.event WHERE false;
		COMMENT ON VIEW biolink.event_guard IS 'Holds nothing. As long as it is there, DROP EXTENSION biolink refuses without CASCADE, which would drop every event.';
	END IF;
	RETURN leaf;
END
$$;
COMMENT ON FUNCTION biolink.ensure_event_partition(pg_catalog.timestamptz) IS
	'Makes the partition of biolink.event for the month (UTC) that holds a time, and moves what the default partition has of it. Returns its name, NULL when it is there already or the job "maintain" runs elsewhere. Errors: 22023 for infinity, 22008 for a time too far off to have a month after it, 55P03 when a long transaction keeps the default partition locked; the next run tries again.';

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

CREATE FUNCTION biolink.maintain_step(progress pg_catalog.jsonb) RETURNS biolink.job_slice
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER COST 100000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	slice biolink.job_slice;
	month timestamptz;
BEGIN
	IF progress -> 'month' IS NULL THEN
		slice.rows_total := (SELECT count(*) FROM biolink.missing_event_partitions());
	END IF;
	SELECT min(m.month) INTO month FROM biolink.missing_event_partitions() AS m (month)
		WHERE m.month > COALESCE((progress ->> 'month')::timestamptz, '-infinity');
	slice.more := month IS NOT NULL;
	slice.progress := progress;
	IF month IS NOT NULL THEN
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
COMMENT ON FUNCTION biolink.maintain_step(pg_catalog.jsonb) IS 'Does a slice of the job "maintain", one partition: see biolink.job_step().';

ALTER FUNCTION biolink.ensure_event_partition(pg_catalog.timestamptz) OWNER TO biolink_owner;
ALTER FUNCTION biolink.missing_event_partitions() OWNER TO biolink_owner;
ALTER FUNCTION biolink.maintain_step(pg_catalog.jsonb) OWNER TO biolink_owner;
GRANT EXECUTE ON FUNCTION biolink.ensure_event_partition(pg_catalog.timestamptz), biolink.missing_event_partitions() TO biolink_admin;
