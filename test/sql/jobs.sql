-- Jobs: their schedule, their runs, what they do about rows that cannot be done, and who may do what.
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE ROLE regress_jobs_admin; GRANT biolink_admin TO regress_jobs_admin;
CREATE ROLE regress_jobs_app; GRANT biolink_app TO regress_jobs_app;
CREATE ROLE regress_jobs_analyst; GRANT biolink_analyst TO regress_jobs_analyst;
INSERT INTO biolink.creator (creator_id, handle) VALUES (7401, 'jobs_a'), (7402, 'jobs_b'), (7403, 'jobs_c');
CREATE FUNCTION pg_temp.sell(creator bigint, key text, visitor text DEFAULT NULL, at timestamptz DEFAULT '2026-03-03T10:00:00Z') RETURNS text LANGUAGE sql AS $$
	SELECT status FROM biolink.track(creator, jsonb_strip_nulls(jsonb_build_object('kind', 'order', 'source', 'shop', 'key', key, 'order_id', key,
		'amount', 100, 'currency', 'EUR', 'visitor', visitor, 'occurred_at', at)))
$$;
CREATE VIEW pg_temp.latest AS SELECT r.job, r.runner, r.state, r.slices, r.rows_done, r.rows_total, r.rows_failed, r.sqlstate, r.error
	FROM biolink.job_run AS r ORDER BY r.run_id DESC LIMIT 1;
CREATE VIEW pg_temp.queued AS SELECT creator_id, reason, attempts, (retry_at - now()) BETWEEN '0' AND '3 minutes' AS soon, error FROM biolink.attribution_queue ORDER BY creator_id, queue_id;
GRANT SELECT ON pg_temp.latest TO PUBLIC;
-- a fold waits for whoever is writing anywhere in the cluster
CREATE PROCEDURE pg_temp.settle() LANGUAGE plpgsql AS $$
BEGIN
	WHILE EXISTS (SELECT FROM biolink.job_candidate) LOOP
		PERFORM pg_sleep(0.05);
		CALL biolink.run_job('attribute');
	END LOOP;
END
$$;
-- what other tests left
CALL biolink.run_job('attribute');
CALL biolink.run_job('maintain');

\echo == the schedule
SET ROLE regress_jobs_admin;
SELECT job, every, time_limit, paused, by_commit, failures, unfinished, due_at BETWEEN now() AND now() + every * 1.1 AS due FROM biolink.job_schedule() ORDER BY job;
SELECT biolink.schedule_job('attribute', '5 minutes', '30 seconds');
SELECT biolink.schedule_job('maintain', '1 day');
SELECT job, every, time_limit, due_at BETWEEN now() + every * 0.9 AND now() + every * 1.1 AS due FROM biolink.job_status ORDER BY job;
SELECT biolink.schedule_job('maintain', NULL);
SELECT biolink.pause_job('attribute');
SELECT job, every, time_limit, paused, state FROM biolink.job_status ORDER BY job;
-- paused is for the background; whoever calls it, means it
CALL biolink.run_job('attribute');
SELECT * FROM pg_temp.latest;
SELECT biolink.resume_job('attribute'), biolink.pause_job();
SELECT job, paused, job IN (SELECT w.job FROM biolink.worker_schedule() AS w) AS for_the_worker FROM biolink.job_status ORDER BY job;
SELECT biolink.resume_job(), biolink.schedule_job('attribute', NULL);
SELECT * FROM biolink.job ORDER BY job;
SELECT job, due_ms BETWEEN -31622400000 AND every_ms * 1.1 AS due, every_ms, limit_ms, by_commit, unfinished FROM biolink.worker_schedule() ORDER BY job;

\echo == refused
SELECT biolink.schedule_job('dance', '1 hour');
SELECT biolink.schedule_job(NULL, '1 hour');
SELECT biolink.schedule_job('maintain', '0.5 seconds');
SELECT biolink.schedule_job('maintain', '-1 hour');
SELECT biolink.schedule_job('maintain', '1 hour', '0');
SELECT biolink.schedule_job('maintain', '200000 years');
SELECT biolink.pause_job('dance');
SELECT biolink.resume_job('dance');
SELECT biolink.job_begin('dance');
SELECT biolink.job_begin(NULL);
SELECT biolink.job_begin('maintain', 'nobody');
SELECT biolink.job_pending('dance');
SELECT biolink.job_step(-1);
SELECT biolink.job_step(NULL);
SELECT biolink.job_end(-1);
BEGIN;
CALL biolink.run_job('maintain');
ROLLBACK;
-- nothing of it is left
SELECT job, state FROM biolink.job_status ORDER BY job;

\echo == rights
SET ROLE regress_jobs_app;
SELECT biolink.schedule_job('maintain', '1 hour');
SELECT biolink.pause_job();
SELECT biolink.job_begin('maintain');
SELECT biolink.wake_worker();
SELECT * FROM biolink.worker_state();
SELECT count(*) FROM biolink.job_status;
SELECT count(*) FROM biolink.job_run;
CALL biolink.run_job('maintain');
SET ROLE regress_jobs_analyst;
SELECT biolink.resume_job();
SELECT count(*) FROM biolink.worker_status;
-- the locks of a job are none that a login could take
SELECT pg_advisory_lock_shared(1, hashtext('maintain')), pg_advisory_lock(1651272303, hashtext('maintain')), pg_advisory_lock(hashtext('maintain'));
SELECT biolink.job_run_lock('maintain');
SET ROLE regress_jobs_admin;
CALL biolink.run_job('maintain');
SELECT job, state FROM pg_temp.latest;
SELECT pg_advisory_unlock_all();
INSERT INTO biolink.job_run (job, runner, role_name) VALUES ('maintain', 'call', 'x');
UPDATE biolink.job SET paused = true;

\echo == the worker, where biolink is not preloaded
SELECT state, pid, launcher_pid, next_at, message FROM biolink.worker_status WHERE database = current_database();
SELECT * FROM biolink.worker_state();
SELECT biolink.wake_worker(), biolink.naptime();

\echo == a run in pieces
RESET ROLE;
SELECT pg_temp.sell(7401, 'o1'), pg_temp.sell(7402, 'o2');
SET ROLE regress_jobs_admin;
SELECT biolink.job_pending('attribute');
SELECT biolink.job_begin('attribute') AS run \gset
SELECT job, state, run_id = :run AS this, pid = pg_backend_pid() AS mine, runner, last_state FROM biolink.job_status WHERE job = 'attribute';
SELECT biolink.job_begin('attribute');
SELECT biolink.job_begin('maintain');
SELECT * FROM biolink.job_step(:run);
SELECT * FROM biolink.job_step(:run);
SELECT * FROM biolink.job_step(:run);
SELECT progress - 'until' AS progress, rows_total FROM biolink.job_run WHERE run_id = :run;
SELECT more FROM biolink.job_step(:run);
SELECT * FROM pg_temp.latest;
SELECT state, sqlstate, error, finished_at >= started_at AS ended FROM biolink.job_end(:run);
\set VERBOSITY sqlstate
SELECT biolink.job_step(:run);
SELECT biolink.job_end(:run);
\set VERBOSITY terse
SELECT biolink.job_pending('attribute');

\echo == a run whose session fails is found aborted
SELECT biolink.job_begin('maintain') AS run \gset
SELECT 1 / 0;
SELECT state, last_state FROM biolink.job_status WHERE job = 'maintain';
CALL biolink.run_job('maintain');
SELECT state, error FROM biolink.job_run WHERE run_id = :run;
SELECT state, last_state FROM biolink.job_status WHERE job = 'maintain';

\echo == a savepoint that is rolled back takes the run with it, and pg_advisory_unlock_all(), as in DISCARD ALL, the lock
BEGIN;
SAVEPOINT s;
SELECT biolink.job_begin('attribute') IS NOT NULL AS begun;
ROLLBACK TO s;
SELECT biolink.job_begin('attribute') IS NOT NULL AS begun;
SAVEPOINT t;
SELECT state FROM biolink.job_end((SELECT max(run_id) FROM biolink.job_run));
ROLLBACK TO t;
COMMIT;
-- still in that run
SELECT biolink.job_begin('maintain');
SELECT state FROM biolink.job_end((SELECT max(run_id) FROM biolink.job_run));
BEGIN;
SAVEPOINT s;
SELECT biolink.job_begin('attribute') IS NOT NULL AS begun;
RELEASE s;
COMMIT;
SELECT pg_advisory_unlock_all();
SELECT biolink.job_begin('maintain') IS NOT NULL AS begun;
SELECT state FROM biolink.job_end((SELECT max(run_id) FROM biolink.job_run));
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 25196;
CALL biolink.run_job('attribute');

\echo == what cannot be built holds up nothing else, and is tried again
RESET ROLE;
ALTER TABLE biolink.conversion ADD CONSTRAINT regress_poison CHECK (order_id NOT LIKE 'poison%') NOT VALID;
SELECT count(pg_temp.sell(7401, 'a' || n)) FROM generate_series(1, 20) AS n;
SELECT pg_temp.sell(7401, 'poison1'), pg_temp.sell(7401, 'poison2'), pg_temp.sell(7402, 'b1'), pg_temp.sell(7402, 'poison3');
CALL biolink.run_job('attribute');
SELECT * FROM pg_temp.latest;
SELECT creator_id, count(*), count(*) FILTER (WHERE order_id LIKE 'poison%') AS poison FROM biolink.conversion WHERE creator_id IN (7401, 7402) GROUP BY 1 ORDER BY 1;
SELECT * FROM pg_temp.queued;
SELECT state, rows_failed, failures FROM biolink.job_status WHERE job = 'attribute';
SELECT unfinished FROM biolink.job_schedule() WHERE job = 'attribute';
-- not before its time
CALL pg_temp.settle();
SELECT biolink.job_pending('attribute');
CALL biolink.run_job('attribute');
SELECT count(*), sum(attempts) FROM biolink.attribution_queue;
UPDATE biolink.attribution_queue SET retry_at = now();
SELECT biolink.job_pending('attribute');
CALL biolink.run_job('attribute');
SELECT count(*), sum(attempts), min(retry_at) > now() + interval '1 minute' AS later FROM biolink.attribution_queue;
SELECT rule, ok FROM biolink.integrity_check(7401);
ALTER TABLE biolink.conversion DROP CONSTRAINT regress_poison;
UPDATE biolink.attribution_queue SET retry_at = now();
CALL biolink.run_job('attribute');
SELECT count(*) FROM biolink.attribution_queue;
SELECT creator_id, count(*), count(*) FILTER (WHERE order_id LIKE 'poison%') AS poison FROM biolink.conversion WHERE creator_id IN (7401, 7402) GROUP BY 1 ORDER BY 1;

\echo == a new event of a conversion that failed is not held back by it
ALTER TABLE biolink.conversion ADD CONSTRAINT regress_poison CHECK (order_id NOT LIKE 'toxic%') NOT VALID;
SELECT pg_temp.sell(7401, 'toxic');
CALL biolink.run_job('attribute');
ALTER TABLE biolink.conversion DROP CONSTRAINT regress_poison;
SELECT status FROM biolink.track(7401, '{"kind": "order", "source": "other", "key": "t2", "order_id": "toxic", "amount": 100, "currency": "EUR"}');
CALL biolink.run_job('attribute');
SELECT count(*) FROM biolink.attribution_queue;
SELECT count(*) FROM biolink.conversion WHERE order_id = 'toxic';

\echo == one creator in turn with the others
SELECT count(pg_temp.sell(7401, 'many' || n)) FROM generate_series(1, 12) AS n;
SELECT pg_temp.sell(7402, 'few'), pg_temp.sell(7403, 'few');
SELECT max(queue_id) AS until FROM biolink.attribution_queue \gset
-- slices of five: the first creator has its turn, then the others have theirs
SELECT * FROM biolink.attribute_slice(0, :until, 5);
SELECT creator_id, count(*) FROM biolink.attribution_queue GROUP BY 1 ORDER BY 1;
SELECT * FROM biolink.attribute_slice(7401, :until, 5);
SELECT creator_id, count(*) FROM biolink.attribution_queue GROUP BY 1 ORDER BY 1;
-- what came later is for the next run
SELECT pg_temp.sell(7402, 'later');
SELECT * FROM biolink.attribute_slice(7401, :until, 5);
SELECT creator_id, count(*) FROM biolink.attribution_queue GROUP BY 1 ORDER BY 1;
CALL biolink.run_job('attribute');
SELECT count(*) FROM biolink.attribution_queue;

\echo == a partition that cannot be made fails the run, and the others are made
SELECT status FROM biolink.click(7401, 'none', '{}');
INSERT INTO biolink.link (creator_id, link_id, slug, url) VALUES (7401, 71, 'a', 'https://a.example/');
SELECT status FROM biolink.click(7401, 'a', '{"occurred_at": "2024-02-10T10:00:00Z"}');
SELECT status FROM biolink.click(7401, 'a', '{"occurred_at": "2024-03-10T10:00:00Z"}');
CREATE INDEX event_2024_02_pkey ON biolink.creator (handle);
CALL biolink.run_job('maintain');
SELECT * FROM pg_temp.latest;
SELECT state, failures, sqlstate, due_at > now() AS later FROM biolink.job_status WHERE job = 'maintain';
SELECT tableoid::regclass, count(*) FROM biolink.event WHERE creator_id = 7401 AND occurred_at < '2025-01-01' GROUP BY 1 ORDER BY 1;
CALL biolink.run_job('maintain');
SELECT failures FROM biolink.job_status WHERE job = 'maintain';
DROP INDEX biolink.event_2024_02_pkey;
CALL biolink.run_job('maintain');
SELECT state, failures, last_state FROM biolink.job_status WHERE job = 'maintain';
SELECT tableoid::regclass, count(*) FROM biolink.event WHERE creator_id = 7401 AND occurred_at < '2025-01-01' GROUP BY 1 ORDER BY 1;

\echo == failures in a row wait longer and longer
INSERT INTO biolink.job_run (job, runner, role_name, started_at, finished_at, state, error)
	SELECT 'maintain', 'worker', 'x', now() - interval '1 second', now(), 'failed', 'made up' FROM generate_series(1, 4);
SELECT failures, round(extract(epoch FROM due_at - now()) / 80, 1) BETWEEN 0.9 AND 1.1 AS doubled FROM biolink.job_schedule() WHERE job = 'maintain';
INSERT INTO biolink.job_run (job, runner, role_name, started_at, finished_at, state, error)
	SELECT 'maintain', 'worker', 'x', now() - interval '1 second', now(), 'failed', 'made up' FROM generate_series(1, 30);
SELECT failures, round(extract(epoch FROM due_at - now()) / 3600, 1) BETWEEN 0.9 AND 1.1 AS an_hour FROM biolink.job_schedule() WHERE job = 'maintain';
CALL biolink.run_job('maintain');
SELECT failures FROM biolink.job_schedule() WHERE job = 'maintain';
-- a clock that was set back delays nothing
UPDATE biolink.job_run SET started_at = now() + interval '1 day', finished_at = now() + interval '1 day' WHERE run_id = (SELECT max(run_id) FROM biolink.job_run);
SELECT due_at = now() AS now FROM biolink.job_schedule() WHERE job = 'maintain';

\echo == runs are trimmed
INSERT INTO biolink.job_run (job, runner, role_name, finished_at, state) SELECT 'maintain', 'call', 'x', now(), CASE WHEN n <= 300 THEN 'failed' ELSE 'done' END FROM generate_series(1, 1200) AS n;
CALL biolink.run_job('maintain');
SELECT state, count(*) FROM biolink.job_run WHERE job = 'maintain' GROUP BY 1 ORDER BY 1;

\echo == a touch that arrived while the clock was set back
SELECT pg_temp.sell(7403, 'clock', 'v9');
CALL biolink.run_job('attribute');
CALL pg_temp.settle();
SELECT touches, reason FROM biolink.conversion WHERE creator_id = 7403 AND order_id = 'clock';
UPDATE biolink.job_checkpoint SET folded_until = now() + interval '2 days' WHERE job = 'attribute';
INSERT INTO biolink.link (creator_id, link_id, slug, url) VALUES (7403, 73, 'a', 'https://a.example/');
SELECT status FROM biolink.click(7403, 'a', '{"visitor": "v9", "occurred_at": "2026-03-01T10:00:00Z", "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"}');
SELECT rule, failures, detail #>> '{0,what}' AS what FROM biolink.integrity_check(7403) WHERE NOT ok;
SELECT biolink.job_pending('attribute');
CALL biolink.run_job('attribute');
CALL pg_temp.settle();
SELECT touches, reason FROM biolink.conversion WHERE creator_id = 7403 AND order_id = 'clock';
SELECT folded_until BETWEEN now() - interval '1 minute' AND now() AS now FROM biolink.job_checkpoint WHERE job = 'attribute';
SELECT biolink.job_pending('attribute');
SELECT rule, failures FROM biolink.integrity_check(7403) WHERE NOT ok;

\echo == long ago: caught up with in pieces
UPDATE biolink.job_checkpoint SET folded_until = now() - interval '1 day' WHERE job = 'attribute';
CALL biolink.run_job('attribute');
CALL pg_temp.settle();
SELECT state, slices BETWEEN 6 AND 8 AS in_pieces, sqlstate FROM biolink.job_run ORDER BY run_id DESC LIMIT 1;
SELECT folded_until BETWEEN now() - interval '1 minute' AND now() AS now FROM biolink.job_checkpoint WHERE job = 'attribute';
-- and where there never was a checkpoint
DELETE FROM biolink.job_checkpoint WHERE job = 'attribute';
CALL biolink.run_job('attribute');
SELECT state, sqlstate FROM biolink.job_run ORDER BY run_id DESC LIMIT 1;
SELECT folded_until BETWEEN now() - interval '1 minute' AND now() AS now FROM biolink.job_checkpoint WHERE job = 'attribute';

RESET ROLE;
DELETE FROM biolink.job;
DROP ROLE regress_jobs_admin, regress_jobs_app, regress_jobs_analyst;
