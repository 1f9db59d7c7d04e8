-- 33_retention.sql: how long events are kept.
--
-- What happened before dropped_until is gone, or going, and is refused when it comes: so no key expires before its event, and what is gone
-- stays gone.  The time only ever moves forward, by the job "maintain": see 63_retention.sql.

CREATE TABLE biolink.event_retention (
	one_row pg_catalog.bool PRIMARY KEY DEFAULT true CHECK (one_row),
	keep pg_catalog.interval CHECK (keep OPERATOR(pg_catalog.>=) '1 month' AND keep OPERATOR(pg_catalog.<=) '1000 years'),
	dropped_until pg_catalog.timestamptz NOT NULL DEFAULT '-infinity'
);
ALTER TABLE biolink.event_retention OWNER TO biolink_owner;
COMMENT ON TABLE biolink.event_retention IS 'How long events are kept, one row at most: written by set_event_retention() and the job "maintain" only. Without a row they are kept for ever.';
COMMENT ON COLUMN biolink.event_retention.keep IS 'A month (UTC) is dropped when all of it is older; NULL: none is dropped from here on.';
COMMENT ON COLUMN biolink.event_retention.dropped_until IS 'Start of the first month that is kept. Events of before are gone, or going, and are refused as too_old. Never goes back.';

-- INSERT too: that there is no row is remembered.
CREATE TRIGGER invalidate_cached AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON biolink.event_retention
	FOR EACH STATEMENT EXECUTE FUNCTION biolink.invalidate_cached();
ALTER TABLE biolink.event_retention ENABLE ALWAYS TRIGGER invalidate_cached;
COMMENT ON TRIGGER invalidate_cached ON biolink.event_retention IS 'Backends drop the time they hold before which events are refused.';

-- integrity_check() reads it for everybody
GRANT SELECT ON biolink.event_retention TO biolink_app, biolink_analyst, biolink_admin;
SELECT pg_catalog.pg_extension_config_dump('biolink.event_retention', '');

CREATE FUNCTION biolink.event_horizon() RETURNS pg_catalog.timestamptz
	LANGUAGE sql STABLE PARALLEL SAFE COST 10
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT COALESCE((SELECT r.dropped_until FROM biolink.event_retention AS r), '-infinity') $$;
COMMENT ON FUNCTION biolink.event_horizon() IS 'The time before which events are gone, or going, and are refused; -infinity as long as none was dropped.';
GRANT EXECUTE ON FUNCTION biolink.event_horizon() TO biolink_app, biolink_analyst, biolink_admin;

CREATE FUNCTION biolink.first_kept_month(keep pg_catalog.interval) RETURNS pg_catalog.timestamptz
	LANGUAGE sql STABLE PARALLEL SAFE COST 10
	SET search_path = pg_catalog, pg_temp
	SET TimeZone = 'UTC'
	AS $$ SELECT date_trunc('month', now() - $1) $$;
COMMENT ON FUNCTION biolink.first_kept_month(pg_catalog.interval) IS 'Start of the month (UTC) that an interval ago from now is in: the first that is not all older. NULL for NULL.';

CREATE FUNCTION biolink.longest_lookback() RETURNS pg_catalog.interval
	LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER COST 1000
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT greatest('30 days', (SELECT max((c.settings #>> '{lookback,session}')::interval) FROM biolink.creator AS c))
$$;
COMMENT ON FUNCTION biolink.longest_lookback() IS 'The longest time that any creator looks back from a conversion for touches.';

CREATE FUNCTION biolink.set_event_retention(keep pg_catalog.interval) RETURNS pg_catalog.timestamptz
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 1000
	SET search_path = pg_catalog, pg_temp
	-- messages name intervals
	SET IntervalStyle = 'postgres'
	AS $$
DECLARE
	lookback CONSTANT interval := biolink.longest_lookback();
BEGIN
	IF keep NOT BETWEEN '1 month' AND '1000 years' THEN
		RAISE EXCEPTION 'events cannot be kept for %', keep
			USING ERRCODE = 'invalid_parameter_value', HINT = 'From one month to a thousand years; NULL stands for ever.';
	END IF;
	IF keep < lookback THEN
		RAISE WARNING 'events are to be kept for %, and a creator looks back for touches for %', keep, lookback
			USING HINT = 'Of a conversion that is told late some touches may be gone.';
	END IF;
	INSERT INTO biolink.event_retention AS r (keep) VALUES (set_event_retention.keep)
		ON CONFLICT (one_row) DO UPDATE SET keep = excluded.keep;
	RETURN biolink.first_kept_month(keep);
END
$$;
COMMENT ON FUNCTION biolink.set_event_retention(pg_catalog.interval) IS
	'Sets how long events are kept, of all creators; NULL: for ever. Returns the start of the first month (UTC) that would be kept as of now: the next run of the job "maintain" drops what is before it, for good. What was dropped already does not come back when a longer time is set. '
	'Errors: 22023 for less than a month or more than a thousand years.';
ALTER FUNCTION biolink.event_horizon() OWNER TO biolink_owner;
ALTER FUNCTION biolink.first_kept_month(pg_catalog.interval) OWNER TO biolink_owner;
ALTER FUNCTION biolink.longest_lookback() OWNER TO biolink_owner;
ALTER FUNCTION biolink.set_event_retention(pg_catalog.interval) OWNER TO biolink_owner;
GRANT EXECUTE ON FUNCTION biolink.set_event_retention(pg_catalog.interval) TO biolink_admin;
