-- 60_jobs.sql: what jobs have in common: which there are, when they are due, their runs, and who may run them.
--
-- A run is job_begin(), then job_step() until there is no more, then job_end(), each in a transaction of its own.  CALL biolink.run_job()
-- and the background worker both do just that.  The run's row is committed before its work begins, so a crash shows.  Each step holds the
-- job's slice lock to its end, so that two runners never work on one slice; a killed runner leaves nothing locked, and no request waits
-- for a job.

CREATE TABLE biolink.job (
	job pg_catalog.text PRIMARY KEY,
	every pg_catalog.interval CHECK (every OPERATOR(pg_catalog.>=) '1 second'),
	time_limit pg_catalog.interval CHECK (time_limit OPERATOR(pg_catalog.>=) '1 second'),
	paused pg_catalog.bool NOT NULL DEFAULT false
);
ALTER TABLE biolink.job OWNER TO biolink_owner;
COMMENT ON TABLE biolink.job IS 'What schedule_job(), pause_job() and resume_job() changed of the built-in schedule; biolink.job_status shows the whole of it.';
COMMENT ON COLUMN biolink.job.every IS 'Shortest time from the start of one run to the start of the next; NULL for the built-in one.';
COMMENT ON COLUMN biolink.job.time_limit IS 'How long a run in the background may take; NULL for the built-in one. What is left is for the next run.';
COMMENT ON COLUMN biolink.job.paused IS 'The background worker leaves it alone; CALL biolink.run_job() runs it all the same.';

CREATE TABLE biolink.job_run (
	run_id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	job pg_catalog.text NOT NULL,
	runner pg_catalog.text NOT NULL CHECK (runner OPERATOR(pg_catalog.=) ANY ('{worker,call}'::pg_catalog.text[])),
	role_name pg_catalog.text NOT NULL,
	pid pg_catalog.int4 NOT NULL DEFAULT pg_catalog.pg_backend_pid(),
	started_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	finished_at pg_catalog.timestamptz,
	state pg_catalog.text NOT NULL DEFAULT 'running' CHECK (state OPERATOR(pg_catalog.=) ANY ('{running,done,stopped,failed,aborted}'::pg_catalog.text[])),
	progress pg_catalog.jsonb NOT NULL DEFAULT '{}',
	slices pg_catalog.int8 NOT NULL DEFAULT 0,
	rows_done pg_catalog.int8 NOT NULL DEFAULT 0,
	rows_total pg_catalog.int8,
	rows_failed pg_catalog.int8 NOT NULL DEFAULT 0,
	sqlstate pg_catalog.text,
	error pg_catalog.text
);
ALTER TABLE biolink.job_run OWNER TO biolink_owner;
CREATE INDEX job_run_job_idx ON biolink.job_run (job, run_id);
COMMENT ON TABLE biolink.job_run IS 'Runs of jobs: a row is committed before the work begins and brought up to date with every slice. Of each job the last 500 are kept, and the last 100 that failed. Not dumped: they tell of this server.';
COMMENT ON SEQUENCE biolink.job_run_run_id_seq IS 'Numbers of runs. Not dumped: neither are the runs.';
COMMENT ON COLUMN biolink.job_run.runner IS 'worker (in the background) or call (CALL biolink.run_job()).';
COMMENT ON COLUMN biolink.job_run.state IS
	'running; done; stopped (by its time limit, a switch, or somebody who wants the database: the next run goes on); failed (error says why); aborted (its process ended without saying how: killed, cancelled, crashed).';
COMMENT ON COLUMN biolink.job_run.progress IS 'Where it is: phase, and what the phase needs to go on from.';
COMMENT ON COLUMN biolink.job_run.rows_total IS 'How many rows it found to do, where that is known.';
COMMENT ON COLUMN biolink.job_run.rows_failed IS 'Rows that could not be done: they are left for later, the others are not held up.';
COMMENT ON COLUMN biolink.job_run.error IS 'What went wrong first. In a run that is done, without sqlstate: why something was left for the next run.';

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

SELECT pg_catalog.pg_extension_config_dump('biolink.job', '');
SELECT pg_catalog.pg_extension_config_dump('biolink.job_checkpoint', '');
GRANT SELECT ON biolink.job, biolink.job_run, biolink.job_checkpoint, biolink.job_candidate TO biolink_admin;
-- integrity_check() reads it for everybody
GRANT SELECT ON biolink.job_checkpoint TO biolink_app, biolink_analyst;

CREATE TYPE biolink.job_slice AS (progress pg_catalog.jsonb, more pg_catalog.bool, rows_done pg_catalog.int8, rows_total pg_catalog.int8, rows_failed pg_catalog.int8,
	doing pg_catalog.text, sqlstate pg_catalog.text, error pg_catalog.text);
COMMENT ON TYPE biolink.job_slice IS 'What a slice of a job did: where to go on from and whether there is more, rows done and failed in it, and an error that the run goes on after but ends with.';

CREATE FUNCTION biolink.wake_worker() RETURNS pg_catalog.void
	LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1
	AS 'MODULE_PATHNAME', 'wake_worker';
COMMENT ON FUNCTION biolink.wake_worker() IS 'Has the background worker look at this database when the transaction commits. Does nothing where biolink is not preloaded.';

CREATE FUNCTION biolink.naptime() RETURNS pg_catalog.interval
	LANGUAGE c STABLE PARALLEL SAFE COST 1
	AS 'MODULE_PATHNAME', 'naptime_interval';
COMMENT ON FUNCTION biolink.naptime() IS 'The setting biolink.naptime.';

CREATE FUNCTION biolink.job_lock(job pg_catalog.text) RETURNS pg_catalog.bool
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 10
	AS 'MODULE_PATHNAME', 'job_lock';
COMMENT ON FUNCTION biolink.job_lock(pg_catalog.text) IS 'Tries to become the one that does a slice of a job, until the end of the transaction.';

CREATE FUNCTION biolink.job_lock_wait(job pg_catalog.text) RETURNS pg_catalog.void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 10
	AS 'MODULE_PATHNAME', 'job_lock_wait';
COMMENT ON FUNCTION biolink.job_lock_wait(pg_catalog.text) IS 'Waits until nobody does a slice of a job, and keeps it so until the end of the transaction.';

CREATE FUNCTION biolink.job_run_lock(job pg_catalog.text) RETURNS pg_catalog.bool
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 10
	AS 'MODULE_PATHNAME', 'job_run_lock';
COMMENT ON FUNCTION biolink.job_run_lock(pg_catalog.text) IS 'Tries to become the one runner of a job, until job_run_unlock(), the failure of a transaction, or the end of the session. False also when this session is in a run already.';

CREATE FUNCTION biolink.job_run_unlock() RETURNS pg_catalog.void
	LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10
	AS 'MODULE_PATHNAME', 'job_run_unlock';
COMMENT ON FUNCTION biolink.job_run_unlock() IS 'Ends the run of this session when the transaction commits.';

CREATE FUNCTION biolink.job_run_held(job pg_catalog.text) RETURNS pg_catalog.bool
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 1
	AS 'MODULE_PATHNAME', 'job_run_held';
COMMENT ON FUNCTION biolink.job_run_held(pg_catalog.text) IS 'Whether this session is in a run of a job.';

CREATE FUNCTION biolink.is_system_error(sqlstate pg_catalog.text) RETURNS pg_catalog.bool
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 1
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT substr($1, 1, 2) IN ('25', '40', '53', '57', '58') $$;
COMMENT ON FUNCTION biolink.is_system_error(pg_catalog.text) IS
	'Whether a SQLSTATE tells of the system''s troubles (transaction state, serialization, resources, intervention, files) and not of the rows: a slice fails with it as a whole, rather than leave rows for later.';

CREATE FUNCTION biolink.built_in_jobs() RETURNS TABLE (job pg_catalog.text, every pg_catalog.interval, time_limit pg_catalog.interval, by_commit pg_catalog.bool, purpose pg_catalog.text)
	LANGUAGE sql STABLE PARALLEL SAFE COST 10 ROWS 2
	SET search_path = pg_catalog, pg_temp
	AS $$
	VALUES ('attribute', biolink.naptime(), interval '10 minutes', true, 'paths of the conversions that new events affect'),
		('maintain', interval '1 hour', interval '10 minutes', false, 'partitions of the events, and what is no longer kept')
$$;
COMMENT ON FUNCTION biolink.built_in_jobs() IS 'The jobs there are, and how they run unless biolink.job says otherwise. by_commit: commits bring it work, so the worker is woken for it; the others are looked at every so often.';

CREATE FUNCTION biolink.require_job(name pg_catalog.text) RETURNS pg_catalog.text
	LANGUAGE plpgsql STABLE PARALLEL SAFE COST 50
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM biolink.built_in_jobs() AS j WHERE j.job = name) THEN
		RAISE EXCEPTION 'there is no job "%"', COALESCE(name, 'NULL')
			USING ERRCODE = 'invalid_parameter_value',
				HINT = (SELECT format('Jobs are %s.', string_agg(j.job, ' and ' ORDER BY j.job)) FROM biolink.built_in_jobs() AS j);
	END IF;
	RETURN name;
END
$$;
COMMENT ON FUNCTION biolink.require_job(pg_catalog.text) IS 'Returns the name of a job, or fails with 22023 where there is none of that name.';

CREATE FUNCTION biolink.job_pending(job pg_catalog.text) RETURNS pg_catalog.bool
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 1000
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	CASE biolink.require_job(job)
		WHEN 'attribute' THEN RETURN biolink.attribute_pending();
		WHEN 'maintain' THEN RETURN biolink.maintain_pending();
	END CASE;
END
$$;
COMMENT ON FUNCTION biolink.job_pending(pg_catalog.text) IS 'Whether a run of the job would find something to do. Reads only. Errors: 22023 for an unknown job.';

CREATE FUNCTION biolink.job_begin(job pg_catalog.text, runner pg_catalog.text DEFAULT 'call') RETURNS pg_catalog.int8
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 1000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	name CONSTANT text := biolink.require_job(job);
	run int8;
BEGIN
	IF runner NOT IN ('call', 'worker') THEN
		RAISE EXCEPTION 'the runner of a job is call or worker, not "%"', runner USING ERRCODE = 'invalid_parameter_value';
	ELSIF NOT biolink.job_run_lock(name) THEN
		RETURN NULL;
	END IF;
	-- whoever ran it held the lock that we have now
	UPDATE biolink.job_run AS r SET state = 'aborted', finished_at = clock_timestamp(), error = 'the runner ended without saying how'
		WHERE r.job = name AND r.state = 'running';
	DELETE FROM biolink.job_run AS r
		WHERE r.job = name
			AND r.run_id < (SELECT o.run_id FROM biolink.job_run AS o WHERE o.job = name ORDER BY o.run_id DESC OFFSET 498 LIMIT 1)
			AND (r.state IN ('done', 'stopped')
				OR r.run_id < (SELECT o.run_id FROM biolink.job_run AS o WHERE o.job = name AND o.state IN ('failed', 'aborted') ORDER BY o.run_id DESC OFFSET 99 LIMIT 1));
	INSERT INTO biolink.job_run (job, runner, role_name)
		VALUES (name, COALESCE(runner, 'call'), COALESCE(NULLIF(current_setting('role'), 'none'), session_user::text))
		RETURNING run_id INTO run;
	RETURN run;
END
$$;
COMMENT ON FUNCTION biolink.job_begin(pg_catalog.text, pg_catalog.text) IS
	'Begins a run of a job in this session and returns its number; NULL when the job runs elsewhere, or this session is in a run. Commit before the first job_step(). Use CALL biolink.run_job() instead, unless you write a runner. Errors: 22023 for an unknown job.';

CREATE FUNCTION biolink.job_step(run_id pg_catalog.int8, OUT more pg_catalog.bool, OUT doing pg_catalog.text)
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER COST 100000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	run biolink.job_run;
	slice biolink.job_slice;
BEGIN
	-- no FOR UPDATE: a checkpoint is noted before the transaction has an id
	SELECT r.* INTO run FROM biolink.job_run AS r WHERE r.run_id = job_step.run_id AND r.state = 'running';
	IF NOT FOUND OR NOT biolink.job_run_held(run.job) THEN
		RAISE EXCEPTION 'run % is not one that this session has begun', job_step.run_id
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'CALL biolink.run_job(name) does a whole run.';
	END IF;
	CASE run.job
		WHEN 'attribute' THEN slice := biolink.attribute_step(run.progress);
		WHEN 'maintain' THEN slice := biolink.maintain_step(run.progress);
	END CASE;
	UPDATE biolink.job_run AS r
		SET progress = slice.progress,
			slices = r.slices + 1,
			rows_done = r.rows_done + COALESCE(slice.rows_done, 0),
			rows_total = COALESCE(slice.rows_total, r.rows_total),
			rows_failed = r.rows_failed + COALESCE(slice.rows_failed, 0),
			sqlstate = COALESCE(r.sqlstate, slice.sqlstate),
			error = COALESCE(r.error, slice.error)
		WHERE r.run_id = run.run_id;
	more := slice.more;
	doing := slice.doing;
END
$$;
COMMENT ON FUNCTION biolink.job_step(pg_catalog.int8) IS
	'Does the next slice of a run that this session has begun, in this transaction: a fraction of a second as a rule. more: call it again, after a commit; doing: where the run is, in words. Errors: 55000 for a run of another session.';

CREATE FUNCTION biolink.job_end(run_id pg_catalog.int8, stopped_because pg_catalog.text DEFAULT NULL, failed_with pg_catalog.text DEFAULT NULL, error pg_catalog.text DEFAULT NULL)
	RETURNS biolink.job_run
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 1000
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	run biolink.job_run;
BEGIN
	-- where its last transaction failed the lock is gone, and the next runner may have found it aborted
	UPDATE biolink.job_run AS r
		SET finished_at = clock_timestamp(),
			sqlstate = COALESCE(r.sqlstate, failed_with),
			error = COALESCE(CASE WHEN r.sqlstate IS NOT NULL OR r.state = 'running' THEN r.error END, job_end.error, stopped_because),
			state = CASE WHEN COALESCE(r.sqlstate, failed_with) IS NOT NULL THEN 'failed' WHEN stopped_because IS NOT NULL THEN 'stopped' ELSE 'done' END
		WHERE r.run_id = job_end.run_id AND r.pid = pg_backend_pid() AND r.state IN ('running', 'aborted')
		RETURNING r.* INTO run;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'run % is not one that this session has begun', job_end.run_id USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	PERFORM biolink.job_run_unlock();
	RETURN run;
END
$$;
COMMENT ON FUNCTION biolink.job_end(pg_catalog.int8, pg_catalog.text, pg_catalog.text, pg_catalog.text) IS
	'Ends a run of this session: done, stopped for a reason, or failed with a SQLSTATE and a message, or with the first error of its slices. Returns its row. At commit the job is free for others. Errors: 55000 for a run of another session, or one that has ended.';

CREATE PROCEDURE biolink.run_job(name pg_catalog.text)
	LANGUAGE plpgsql
	AS $$
DECLARE
	run CONSTANT pg_catalog.int8 := biolink.job_begin(name, 'call');
	more pg_catalog.bool := true;
	ended biolink.job_run;
BEGIN
	-- Each statement is to see what committed before it, whatever the caller's default. This comes first in a transaction, before any expression.
	COMMIT;
	SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
	IF run IS NULL THEN
		RAISE NOTICE 'job "%" is running elsewhere', name;
		RETURN;
	END IF;
	WHILE more LOOP
		SELECT s.more INTO more FROM biolink.job_step(run) AS s;
		COMMIT;
		SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
	END LOOP;
	ended := biolink.job_end(run);
	COMMIT;
	IF ended.sqlstate IS NOT NULL THEN
		RAISE EXCEPTION 'job "%" failed: %', name, ended.error
			USING ERRCODE = ended.sqlstate, DETAIL = pg_catalog.format('Run %s is in biolink.job_run. What it did before stays done.', run);
	ELSIF ended.rows_failed OPERATOR(pg_catalog.>) 0 THEN
		RAISE WARNING 'job "%" could not do % of its rows', name, ended.rows_failed
			USING DETAIL = 'They are tried again later; the others are done.', HINT = 'biolink.job_status says where to look.';
	END IF;
END
$$;
COMMENT ON PROCEDURE biolink.run_job(pg_catalog.text) IS
	'Runs a job now, to its end, committing between slices: attribute (paths of the conversions that new rows affect), maintain (partitions ahead, stray events moved, what is no longer kept dropped). CALL it outside a transaction block. Running it again, or in two sessions, is harmless. Errors: 22023 for an unknown job, 2D000 within a transaction block, else what the run failed with.';

CREATE FUNCTION biolink.job_runners() RETURNS TABLE (job pg_catalog.text, run_id pg_catalog.int8)
	LANGUAGE sql STABLE PARALLEL UNSAFE SECURITY DEFINER COST 1000 ROWS 1
	SET search_path = pg_catalog, pg_temp
	AS $$
	-- the pid alone might have been given to another process since: it must hold the lock of a run (see src/job_lock.c)
	SELECT r.job, r.run_id FROM biolink.job_run AS r
		WHERE r.state = 'running'
			AND EXISTS (SELECT FROM pg_locks AS l
				WHERE l.locktype = 'advisory' AND l.objsubid = 25196 AND l.classid = 1 AND l.granted AND l.pid = r.pid
					AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
$$;
COMMENT ON FUNCTION biolink.job_runners() IS 'The runs whose runner is alive.';

CREATE FUNCTION biolink.job_schedule() RETURNS TABLE (job pg_catalog.text, every pg_catalog.interval, time_limit pg_catalog.interval, paused pg_catalog.bool, by_commit pg_catalog.bool,
		failures pg_catalog.int8, unfinished pg_catalog.bool, last_run_id pg_catalog.int8, due_at pg_catalog.timestamptz)
	LANGUAGE sql STABLE PARALLEL UNSAFE SECURITY DEFINER COST 1000 ROWS 2
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT b.job, s.every, COALESCE(j.time_limit, b.time_limit), COALESCE(j.paused, false), b.by_commit, f.failures,
			f.failures > 0 OR biolink.job_unfinished(b.job), last.run_id,
			CASE
				WHEN last.run_id IS NULL THEN '-infinity'
				-- the wall clock was set back since
				WHEN last.started_at > now() THEN now()
				WHEN f.failures > 0 THEN COALESCE(last.finished_at, last.started_at) + least(biolink.naptime() * power(2::float8, least(f.failures, 12) - 1), greatest(interval '1 hour', s.every)) * jitter.factor
				ELSE last.started_at + s.every * jitter.factor
			END
		FROM biolink.built_in_jobs() AS b
		LEFT JOIN biolink.job AS j ON j.job = b.job
		CROSS JOIN LATERAL (SELECT COALESCE(j.every, b.every) AS every) AS s
		LEFT JOIN LATERAL (SELECT r.* FROM biolink.job_run AS r WHERE r.job = b.job ORDER BY r.run_id DESC LIMIT 1) AS last ON true
		CROSS JOIN LATERAL (
			-- a run of which the runner is gone, though it never said how it ended, has failed
			SELECT count(*) AS failures FROM biolink.job_run AS r
				WHERE r.job = b.job AND r.state NOT IN ('done', 'stopped') AND (r.state <> 'running' OR NOT EXISTS (SELECT FROM biolink.job_runners() AS a WHERE a.run_id = r.run_id))
					AND r.run_id > COALESCE((SELECT max(d.run_id) FROM biolink.job_run AS d WHERE d.job = b.job AND d.state IN ('done', 'stopped')), 0)
		) AS f
		-- up to a tenth more, another each time: jobs of many databases do not come at once
		CROSS JOIN LATERAL (SELECT 1 + abs(hashint8(COALESCE(last.run_id, 0)) % 100) / 1000::float8 AS factor) AS jitter
$$;
COMMENT ON FUNCTION biolink.job_schedule() IS
	'Each job with its settings, the failures since its last good run, and when its next run is due: every (and up to a tenth more) after the start of the last; after failures naptime * 2^(failures - 1), at most an hour or every, after its end. unfinished: it has work left that no commit will announce.';

CREATE FUNCTION biolink.job_unfinished(job pg_catalog.text) RETURNS pg_catalog.bool
	LANGUAGE sql STABLE STRICT PARALLEL UNSAFE SECURITY DEFINER COST 100
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT CASE job WHEN 'attribute' THEN EXISTS (SELECT FROM biolink.attribution_queue) OR EXISTS (SELECT FROM biolink.job_candidate AS c WHERE c.job = 'attribute')
		WHEN 'maintain' THEN EXISTS (SELECT FROM biolink.job_candidate AS c WHERE c.job = 'maintain') ELSE false END
$$;
COMMENT ON FUNCTION biolink.job_unfinished(pg_catalog.text) IS 'Whether a job has left something for later: rows that failed, or a fold that waits for an older transaction.';

CREATE FUNCTION biolink.worker_schedule() RETURNS TABLE (job pg_catalog.text, due_ms pg_catalog.int8, every_ms pg_catalog.int8, limit_ms pg_catalog.int8, by_commit pg_catalog.bool, unfinished pg_catalog.bool, again_ms pg_catalog.int8)
	LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 1000 ROWS 2
	SET search_path = pg_catalog, pg_temp
	AS $$
	-- a run that was cut short ended, for all that is known, when that was noticed: the next one waits from then on
	UPDATE biolink.job_run AS r SET state = 'aborted', finished_at = clock_timestamp(), error = 'the runner ended without saying how'
		WHERE r.state = 'running' AND NOT EXISTS (SELECT FROM biolink.job_runners() AS a WHERE a.run_id = r.run_id);
	SELECT s.job, d.due_ms, (extract(epoch FROM s.every) * 1000)::int8, (extract(epoch FROM s.time_limit) * 1000)::int8, s.by_commit, s.unfinished,
			CASE
				WHEN NOT s.unfinished THEN -1
				WHEN s.failures > 0 OR EXISTS (SELECT FROM biolink.job_candidate AS c WHERE c.job = s.job) THEN greatest(d.due_ms, 0)
				ELSE COALESCE((SELECT ceil(extract(epoch FROM greatest(min(COALESCE(q.retry_at, clock_timestamp())), clock_timestamp()) - clock_timestamp()) * 1000) FROM biolink.attribution_queue AS q), -1)::int8
			END
		FROM biolink.job_schedule() AS s
		CROSS JOIN LATERAL (SELECT least(1e15, ceil(extract(epoch FROM greatest(s.due_at, clock_timestamp() - interval '1 year') - clock_timestamp()) * 1000))::int8 AS due_ms) AS d
		WHERE NOT s.paused ORDER BY s.due_at, s.job
$$;
COMMENT ON FUNCTION biolink.worker_schedule() IS
	'The schedule as the background worker reads it: jobs that are not paused, the most overdue first, times in milliseconds from now; again_ms: when there is work that no commit announces, -1 for none. Notes runs that were cut short, from when on the next one waits.';

CREATE FUNCTION biolink.schedule_job(name pg_catalog.text, every pg_catalog.interval, time_limit pg_catalog.interval DEFAULT NULL) RETURNS pg_catalog.void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 100
	SET search_path = pg_catalog, pg_temp
	-- errors name intervals
	SET IntervalStyle = 'postgres'
	AS $$
BEGIN
	PERFORM biolink.require_job(name);
	IF every NOT BETWEEN '1 second' AND '1 year' OR time_limit NOT BETWEEN '1 second' AND '1 year' THEN
		RAISE EXCEPTION 'a job cannot be scheduled every % with a time limit of %', COALESCE(every::text, 'built-in interval'), COALESCE(time_limit::text, 'the built-in length')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Both are from one second to one year; NULL stands for what is built in. To stop a job, pause_job() it.';
	END IF;
	INSERT INTO biolink.job AS j (job, every, time_limit) VALUES (name, schedule_job.every, schedule_job.time_limit)
		ON CONFLICT (job) DO UPDATE SET every = excluded.every, time_limit = excluded.time_limit;
	PERFORM biolink.wake_worker();
END
$$;
COMMENT ON FUNCTION biolink.schedule_job(pg_catalog.text, pg_catalog.interval, pg_catalog.interval) IS
	'Sets how often a job runs in the background in this database, and how long a run may take. A job that commits bring work runs when there is some, at most this often; the others are looked at this often. NULL: as built in. Errors: 22023 for an unknown job, or an interval under a second or over a year.';

CREATE FUNCTION biolink.pause_job(name pg_catalog.text DEFAULT NULL) RETURNS pg_catalog.void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 100
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF name IS NOT NULL THEN
		PERFORM biolink.require_job(name);
	END IF;
	INSERT INTO biolink.job AS j (job, paused)
		SELECT b.job, true FROM biolink.built_in_jobs() AS b WHERE name IS NULL OR b.job = name
		ON CONFLICT (job) DO UPDATE SET paused = true;
END
$$;
COMMENT ON FUNCTION biolink.pause_job(pg_catalog.text) IS 'Keeps the background worker from a job of this database, or from all of them; a run that is under way ends first. CALL biolink.run_job() works all the same. Errors: 22023 for an unknown job.';

CREATE FUNCTION biolink.resume_job(name pg_catalog.text DEFAULT NULL) RETURNS pg_catalog.void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 100
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF name IS NOT NULL THEN
		PERFORM biolink.require_job(name);
	END IF;
	UPDATE biolink.job AS j SET paused = false WHERE j.paused AND (name IS NULL OR j.job = name);
	PERFORM biolink.wake_worker();
END
$$;
COMMENT ON FUNCTION biolink.resume_job(pg_catalog.text) IS 'Undoes pause_job() for a job of this database, or for all of them. Errors: 22023 for an unknown job.';

CREATE FUNCTION biolink.job_waits() RETURNS TABLE (job pg_catalog.text, since pg_catalog.timestamptz, waits_for pg_catalog.text)
	LANGUAGE sql STABLE PARALLEL UNSAFE SECURITY DEFINER COST 1000 ROWS 1
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT c.job, c.noted_at,
			COALESCE(
				(SELECT format('transaction %s, prepared as %L on %s', p.transaction, p.gid, p.prepared) FROM pg_prepared_xacts AS p
					WHERE p.transaction = pg_snapshot_xmin(pg_current_snapshot())::xid),
				(SELECT format('transaction %s of process %s', l.transactionid, l.pid) FROM pg_locks AS l
					WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.transactionid = pg_snapshot_xmin(pg_current_snapshot())::xid LIMIT 1),
				format('transaction %s', pg_snapshot_xmin(pg_current_snapshot())))
		FROM biolink.job_candidate AS c WHERE pg_snapshot_xmin(pg_current_snapshot()) <= c.noted_by
$$;
COMMENT ON FUNCTION biolink.job_waits() IS 'The jobs that wait for an older transaction to end, since when, and for which: a fold, or the dropping of what is no longer kept.';

CREATE VIEW biolink.job_status WITH (security_invoker = true) AS
	SELECT s.job, b.purpose, s.every, s.time_limit, s.paused,
			CASE
				WHEN alive.run_id IS NOT NULL THEN 'running'
				WHEN s.paused THEN 'paused'
				WHEN s.failures OPERATOR(pg_catalog.>) 0 THEN 'failing'
				WHEN w.job IS NOT NULL THEN 'waiting'
				WHEN last.run_id IS NULL THEN 'never run'
				ELSE 'ok'
			END AS state,
			CASE WHEN last.state OPERATOR(pg_catalog.=) 'running' AND alive.run_id IS NULL THEN 'aborted' ELSE last.state END AS last_state,
			last.run_id, last.runner, last.pid, last.started_at, last.finished_at, last.progress, last.slices, last.rows_done, last.rows_total, last.rows_failed,
			s.failures, last.sqlstate, last.error, s.due_at,
			w.since AS waits_since, w.waits_for,
			(SELECT c.folded_until FROM biolink.job_checkpoint AS c WHERE c.job OPERATOR(pg_catalog.=) s.job) AS folded_until
		FROM biolink.job_schedule() AS s
		JOIN biolink.built_in_jobs() AS b ON b.job OPERATOR(pg_catalog.=) s.job
		LEFT JOIN biolink.job_run AS last ON last.run_id OPERATOR(pg_catalog.=) s.last_run_id
		LEFT JOIN biolink.job_runners() AS alive ON alive.run_id OPERATOR(pg_catalog.=) s.last_run_id
		LEFT JOIN biolink.job_waits() AS w ON w.job OPERATOR(pg_catalog.=) s.job;
ALTER VIEW biolink.job_status OWNER TO biolink_owner;
COMMENT ON VIEW biolink.job_status IS
	'One row per job of this database: how it is scheduled, what its last run did, whether one is running and how far it is (rows_done of rows_total), failures since the last good run, when the next is due, and which transaction a fold waits for. state: running, paused, failing, waiting (for that transaction), never run, ok.';
COMMENT ON COLUMN biolink.job_status.due_at IS 'When the next run may start. One that commits bring work starts then if there is some.';
COMMENT ON COLUMN biolink.job_status.folded_until IS 'What arrived before has been taken in.';

CREATE FUNCTION biolink.worker_state() RETURNS TABLE (database_id pg_catalog.oid, state pg_catalog.text, pid pg_catalog.int4, job pg_catalog.text, started_at pg_catalog.timestamptz,
		ended_at pg_catalog.timestamptz, next_at pg_catalog.timestamptz, woken pg_catalog.bool, error pg_catalog.text)
	LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100 ROWS 4
	AS 'MODULE_PATHNAME', 'worker_state';
COMMENT ON FUNCTION biolink.worker_state() IS 'What shared memory says of the launcher (database_id NULL) and of the worker''s rounds in each database; no row where biolink is not preloaded.';

CREATE VIEW biolink.worker_status WITH (security_invoker = true) AS
	SELECT d.datname AS database,
			CASE WHEN launcher.state IS NULL THEN 'not preloaded' WHEN launcher.state OPERATOR(pg_catalog.<>) 'running' THEN launcher.state ELSE COALESCE(w.state, 'unknown') END AS state,
			w.pid, w.job, w.started_at, w.ended_at, w.next_at, COALESCE(w.woken, false) AS woken, launcher.pid AS launcher_pid, launcher.started_at AS launcher_started_at,
			CASE
				WHEN launcher.state IS NULL THEN 'biolink is not in shared_preload_libraries: jobs run by CALL biolink.run_job() only.'
				WHEN pg_catalog.pg_is_in_recovery() THEN 'This is a standby: jobs run on the primary.'
				WHEN launcher.state OPERATOR(pg_catalog.=) 'not running' THEN 'The launcher is not running; the postmaster starts it again within seconds.'
				WHEN launcher.state OPERATOR(pg_catalog.=) 'switched off' THEN 'biolink.worker is off.'
				WHEN w.state OPERATOR(pg_catalog.=) 'left out' THEN 'biolink.worker_databases leaves this database out.'
				ELSE COALESCE(w.error, launcher.error)
			END AS message
		FROM pg_catalog.pg_database AS d
		LEFT JOIN biolink.worker_state() AS launcher ON launcher.database_id IS NULL
		LEFT JOIN biolink.worker_state() AS w ON w.database_id OPERATOR(pg_catalog.=) d.oid
		WHERE w.database_id IS NOT NULL OR d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database();
ALTER VIEW biolink.worker_status OWNER TO biolink_owner;
COMMENT ON VIEW biolink.worker_status IS
	'The background worker in this database and every other that it serves: state (not preloaded, not running, switched off, left out, waiting, starting, running, backing off, unknown), what it is at, when it last worked and will look again, whether commits have woken it since, and in message what hinders it, if anything does.';

DO $$
DECLARE
	name pg_catalog.text;
BEGIN
	FOREACH name IN ARRAY '{job_pending(text),"job_begin(text,text)",job_step(int8),"job_end(int8,text,text,text)",job_schedule(),job_unfinished(text),worker_schedule(),
			"schedule_job(text,interval,interval)",pause_job(text),resume_job(text),job_runners(),job_waits()}'::pg_catalog.text[] LOOP
		EXECUTE pg_catalog.format('ALTER FUNCTION biolink.%s OWNER TO biolink_owner', name);
		EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION biolink.%s TO biolink_admin', name);
	END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION biolink.naptime(), biolink.wake_worker(), biolink.built_in_jobs(), biolink.require_job(pg_catalog.text), biolink.worker_state() TO biolink_admin;
GRANT EXECUTE ON PROCEDURE biolink.run_job(pg_catalog.text) TO biolink_admin;
GRANT SELECT ON biolink.job_status, biolink.worker_status TO biolink_admin;
