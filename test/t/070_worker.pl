# The background worker in ordinary life: it runs the jobs by itself, when there
# is work and not otherwise; settings, schedules and locks govern it; it makes
# way for whoever wants a database, an extension or a table for themselves; what
# fails is told and tried again, ever more rarely, and holds up nothing else.
#
# Crashes, kills and restarts are in 071_worker_trouble.
#
# One server ("still") does a day's work and is then left alone for a minute, in
# which it has to do nothing at all.  Meanwhile another ("busy") has a dozen
# databases, most of them copies of one, with a kind of trouble each; and a standby
# of that is promoted, and then has no room for workers.

use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);
use WorkerTools;

# a script of the extension that is there for a while
my $step;

# ---- by itself -------------------------------------------------------------------

my $still = new_server('still', copied => 1);
$still->safe_psql('postgres', 'CREATE DATABASE shop TEMPLATE template0');
happens($still, 'postgres', q{(SELECT datname IS NULL AND query = 'waiting for work' FROM pg_stat_activity WHERE backend_type = 'biolink launcher')}, 'there is a launcher, connected to no database');
$still->safe_psql('shop', $tools);
# while this one gets going, the other is made
my $busy = new_server('busy', copy_of => $still, configuration => "biolink.max_workers = 8\nwal_level = replica\nmax_wal_senders = 4");
$busy->safe_psql('postgres', 'CREATE DATABASE shop TEMPLATE template0');
$busy->safe_psql('shop', $tools);

happens($still, 'shop', $partitions_there, 'CREATE EXTENSION in a running server: partitions are made, without anybody calling');
happens($still, 'shop', q{EXISTS (SELECT FROM biolink.job_run WHERE job = 'maintain' AND state = 'done')}, 'by a run');
is($still->safe_psql('shop', q{SELECT runner, role_name, slices, rows_done, rows_total, rows_failed, sqlstate IS NULL, started_at <= finished_at FROM biolink.job_run WHERE job = 'maintain'}),
	'worker|biolink_owner|4|3|3|0|t|t', 'which is on record: by the worker, as biolink_owner');
happens($still, 'shop', $quiet, 'then it waits');

my $committed = time;
is($still->safe_psql('shop', q{SELECT click_by('v'), sale('first', 'v')}), 'ok|inserted', 'a click and an order');
happens($still, 'shop', q{touches('first') = 1}, 'are joined in the background');
cmp_ok(time - $committed, '<', 60, 'because they were committed, not because it was time to look');
happens($still, 'shop', $all_done, 'and the run ends');
is($still->safe_psql('shop', q{SELECT runner, role_name, state, rows_done, rows_total, rows_failed, sqlstate IS NULL AND error IS NULL, pid <> pg_backend_pid() FROM public.last}),
	'worker|biolink_owner|done|1|1|0|t|t', 'on record: by the worker, as biolink_owner');
is($still->safe_psql('shop', q{SELECT job, state, last_state, runner, rows_done, failures, sqlstate IS NULL AND waits_for IS NULL, due_at > started_at FROM biolink.job_status ORDER BY job}),
	"attribute|ok|done|worker|1|0|t|t\nmaintain|ok|done|worker|3|0|t|t", 'job_status says so');
is($still->safe_psql('shop', q{SELECT integrity.rule FROM biolink.integrity_check() AS integrity WHERE NOT ok}), '', 'and all rules hold');

# a slow run, to look at
$still->safe_psql('shop', q{SELECT long_run(0.2)});
happens($still, 'shop', $under_way, 'a slow run is under way');
is($still->safe_psql('shop', q{SELECT backend_type, datname, application_name, state, query FROM pg_stat_activity WHERE backend_type = 'biolink worker'}),
	'biolink worker|shop|biolink worker|active|biolink job attribute: fold', 'pg_stat_activity says which job, and where it is');
is($still->safe_psql('shop', q{SELECT w.state, w.job, w.pid = a.pid, w.launcher_pid = l.pid, w.message IS NULL FROM biolink.worker_status AS w, pg_stat_activity AS a, pg_stat_activity AS l
		WHERE w.database = current_database() AND a.backend_type = 'biolink worker' AND l.backend_type = 'biolink launcher'}),
	'running|attribute|t|t|t', 'so does worker_status');
is($still->safe_psql('shop', q{SELECT s.state, s.last_state, s.pid = a.pid, s.slices >= 2, s.failures FROM biolink.job_status AS s, pg_stat_activity AS a WHERE s.job = 'attribute' AND a.backend_type = 'biolink worker'}),
	'running|running|t|t|0', 'and job_status');
like(($still->psql('shop', q{CALL biolink.run_job('attribute')}))[2], qr/NOTICE: .*job "attribute" is running elsewhere/, 'a run by hand gives way to it');
$still->safe_psql('shop', 'SELECT hurry()');
happens($still, 'shop', $all_done, 'it ends');
happens($still, 'shop', $quiet, 'then it waits');
is($still->safe_psql('shop', q{SELECT state, pid IS NULL AND job IS NULL AND message IS NULL, started_at < ended_at AND ended_at < next_at FROM biolink.worker_status WHERE database = 'shop'}),
	'waiting|t|t', 'and says until when');

my $round = $still->safe_psql('shop', q{SELECT started_at FROM biolink.worker_status WHERE database = 'shop'});
$still->safe_psql('shop', q{BEGIN; SELECT click_by('w'), sale('undone', 'w'); ROLLBACK});
$still->psql('shop', q{BEGIN; SELECT click_by('w'), sale('undone', 'w'); SELECT 1 / 0; COMMIT});
is($still->safe_psql('shop', q{SELECT woken FROM biolink.worker_status WHERE database = 'shop'}), 'f', 'a transaction that is rolled back wakes nobody');

# ---- a minute of nothing -----------------------------------------------------------

# A backend that looks around may write too, at first: rows of catalogs are
# marked as seen, and pages are tidied.  What is measured comes after that.
$still->safe_psql($_, 'VACUUM') for qw(postgres shop);
my $state_of_rest = q{SELECT pg_current_wal_insert_lsn(), s.started_at, s.launcher_pid, (SELECT max(run_id) FROM biolink.job_run) FROM biolink.worker_status AS s WHERE s.database = 'shop'};
$still->safe_psql('shop', $state_of_rest);
$still->safe_psql('postgres', 'CHECKPOINT');
my $at_rest = $still->safe_psql('shop', $state_of_rest);
my $rested_since = time;
like($at_rest, qr/\|\Q$round\E\|/, 'nor is a round started for it');

happens($busy, 'shop', $partitions_there, 'the other server: partitions are made there too');
happens($busy, 'shop', $quiet, 'then it waits');

# ---- a standby --------------------------------------------------------------------------

$busy->backup('running');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($busy, 'running', has_streaming => 1);
$standby->start;
is($standby->safe_psql('shop', q{SELECT state, message, pid IS NULL AND launcher_pid IS NULL FROM biolink.worker_status}), 'not running|This is a standby: jobs run on the primary.|t', 'on a standby worker_status says that this is one');
is($standby->safe_psql('shop', q{SELECT biolink.wake_worker(); SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'biolink %'}), "\n0", 'there is no launcher');
like(error_of($standby, 'shop', q{CALL biolink.run_job('attribute')}), qr/^25006: /, 'nor does a call work');
$busy->safe_psql('shop', q{SELECT click_by('p'), sale('on the primary', 'p')});
happens($busy, 'shop', q{touches('on the primary') = 1}, 'the primary works');
ok($standby->poll_query_until('shop', q{SELECT touches('on the primary') = 1}), 'and the standby sees it');
$standby->promote;
ok($standby->poll_query_until('shop', q{SELECT state = 'waiting' AND message IS NULL FROM biolink.worker_status WHERE database = 'shop'}), 'promoted, it has a launcher');
is($standby->safe_psql('shop', q{SELECT sale('on the standby')}), 'inserted', 'it takes orders');
happens($standby, 'shop', q{built('on the standby')}, 'and its worker works');

# from now on it has room for the launcher, and for nobody else; what comes of that is looked at below
my $room = log_size($standby);
$standby->append_conf('postgresql.conf', "max_worker_processes = 1\nmax_logical_replication_workers = 0\n");
$standby->restart;
is($standby->safe_psql('shop', q{SELECT sale('without room')}), 'inserted', 'a server without room for a worker takes orders');
happens($standby, 'shop', q{EXISTS (SELECT FROM biolink.worker_status WHERE database = 'shop' AND message = 'there is no free slot for a background worker: increase max_worker_processes')}, 'worker_status says what is missing');

# ---- many databases -----------------------------------------------------------------

happens($busy, 'shop', $quiet, 'the primary has nothing to do any more');
my @copies = qw(failing poison limits fair prepared rights copied);
works_at_once($busy, 'postgres', "CREATE DATABASE $_ TEMPLATE shop", "while the worker waits a database can be copied: $_") for @copies;
works_at_once($busy, 'postgres', 'ALTER DATABASE copied RENAME TO renamed', 'and renamed');
works_at_once($busy, 'postgres', 'DROP DATABASE renamed', 'and dropped');
pop @copies;
$busy->safe_psql('postgres', $_) for (
	'CREATE DATABASE closed TEMPLATE shop ALLOW_CONNECTIONS false', 'CREATE DATABASE model TEMPLATE shop IS_TEMPLATE true',
	'CREATE DATABASE plain TEMPLATE template0');

# a kind of trouble for each; what comes of it is looked at below

# a job that fails, while another in the same database has something to do
my $log = log_size($busy);
$busy->safe_psql('failing', q{
	CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'sabotage'; END $$;
	CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON biolink.job_checkpoint FOR EACH ROW EXECUTE FUNCTION public.fail();
	SELECT biolink.schedule_job('maintain', '1 second');
	DO $$ BEGIN EXECUTE format('DROP TABLE biolink.%I', 'event_' || to_char(now() AT TIME ZONE 'UTC' + interval '2 months', 'YYYY_MM')); END $$;
	SELECT sale('late');
});
# a conversion that cannot be built, among others that can; and far too many runs on record
$busy->safe_psql('poison', q{
	ALTER TABLE biolink.conversion ADD CONSTRAINT no_poison CHECK (order_id <> 'poison') NOT VALID;
	DELETE FROM biolink.job_run;
	INSERT INTO biolink.job_run (job, runner, role_name, state, started_at, finished_at, error)
		SELECT job, 'worker', 'biolink_owner', CASE WHEN n <= 150 THEN 'failed' ELSE 'done' END, now() - interval '1 minute', now() - interval '1 minute', n
			FROM generate_series(1, 850) AS n, unnest('{attribute,maintain}'::text[]) AS job ORDER BY n;
	SELECT sale(id) FROM unnest('{good,poison,better}'::text[]) AS id;
});
# slices that take their time, and little of it
$busy->safe_psql('limits', q{SELECT biolink.schedule_job('attribute', NULL, '1 second'); SELECT long_run(0.2)});
# one creator with very much to do, others with very little
$busy->safe_psql('fair', q{
	CREATE TABLE public.seen (rows_done int8, rows_total int8, small int8);
	CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
	BEGIN
		INSERT INTO public.seen SELECT NEW.rows_done, NEW.rows_total, count(*) FROM biolink.attribution_queue AS q WHERE q.creator_id > 1;
		RETURN NULL;
	END
	$$;
	CREATE TRIGGER see AFTER UPDATE ON biolink.job_run FOR EACH ROW WHEN (NEW.rows_total > 5 AND NEW.slices > OLD.slices) EXECUTE FUNCTION public.see();
	BEGIN;
	INSERT INTO biolink.attribution_queue (creator_id, conversion_id, reason) SELECT 1, gen_random_uuid(), 'arrived' FROM generate_series(1, 5000);
	SELECT sale('small ' || n, NULL, n) FROM generate_series(2, 6) AS n;
	COMMIT;
});
# a click of a transaction that has yet to commit
$busy->safe_psql('prepared', q{BEGIN; SELECT click_by('v'); PREPARE TRANSACTION 'held'});
$busy->safe_psql('prepared', q{SELECT sale('early', 'v')});
# paused
$busy->safe_psql('rights', q{SELECT biolink.pause_job(); SELECT sale('by hand')});
# a template is nobody's business, even if there is much to do
$busy->safe_psql('model', q{SELECT sale('nobody')});
my $commits = IPC::Run::start([ 'psql', '-X', '-q', '-d', $busy->connstr('model'), '-c', 'DO $$ BEGIN FOR n IN 1..5000 LOOP PERFORM biolink.wake_worker(); COMMIT; PERFORM pg_sleep(0.001); END LOOP; END $$' ],
	'<', \undef, '>', \my $commits_out, '2>', \my $commits_error);

# ---- what fails is told, and tried again ever more rarely ------------------------------

happens($busy, 'failing', q{(SELECT s.failures >= 2 AND s.state = 'failing' FROM biolink.job_status AS s WHERE s.job = 'attribute')}, 'a job fails, and again');
is($busy->safe_psql('failing', q{SELECT s.last_state, s.sqlstate, s.error, s.due_at >= s.finished_at + interval '1 second' * 2 ^ (s.failures - 1) FROM biolink.job_status AS s WHERE s.job = 'attribute'}),
	'failed|P0001|sabotage|t', 'job_status says why, and when it is due again: the wait doubles');
happens($busy, 'failing', $partitions_there, 'the other job of that database does its work meanwhile');
$busy->safe_psql('failing', 'DROP TRIGGER fail ON biolink.job_checkpoint');

happens($busy, 'poison', q{built('good') AND built('better')}, 'a conversion that cannot be built holds up no other');
happens($busy, 'poison', q{EXISTS (SELECT FROM biolink.job_run WHERE state = 'done' AND rows_done = 2 AND rows_total = 3 AND rows_failed = 1 AND sqlstate IS NULL)}, 'the run is done, but for one row');
is($busy->safe_psql('poison', q{SELECT reason, attempts, retry_at > now(), error FROM biolink.attribution_queue}),
	'arrived|1|t|23514: new row for relation "conversion" violates check constraint "no_poison"', 'which stays queued, with the reason and a time to try again');
is($busy->safe_psql('poison', q{SELECT state, count(*), min(error::int) FILTER (WHERE state = 'failed') FROM biolink.job_run WHERE job = 'attribute' GROUP BY state ORDER BY state}),
	"done|500|\nfailed|100|51", 'of the runs on record the last 500 are kept, and the last 100 that failed');
is($busy->safe_psql('poison', q{SELECT state, count(*) FROM biolink.job_run WHERE job = 'maintain' GROUP BY state ORDER BY state}), "done|700\nfailed|150", 'those of a job that has not run since are left alone');

happens($busy, 'limits', q{(SELECT count(*) >= 2 FROM biolink.job_run WHERE state = 'stopped' AND error = 'its time limit was reached')}, 'a run that reaches its time limit stops, the next goes on');
is($busy->safe_psql('limits', q{SELECT DISTINCT slices > 2, finished_at - started_at < interval '3 seconds', sqlstate IS NULL FROM biolink.job_run WHERE state = 'stopped'}), 't|t|t', 'after some slices, in time, without an error');
is($busy->safe_psql('limits', q{SELECT s.failures, s.state <> 'failing' FROM biolink.job_status AS s WHERE s.job = 'attribute'}), '0|t', 'which is no failure');
is($busy->safe_psql('limits', q{SELECT folded_until BETWEEN now() - interval '580 hours' AND now() - interval '1 hour' FROM biolink.job_checkpoint}), 't', 'and what was done is done');
# a slice that would take half a minute
$busy->safe_psql('limits', q{UPDATE public.pace SET seconds = 30});
happens($busy, 'limits', q{EXISTS (SELECT FROM biolink.job_run WHERE state = 'failed' AND sqlstate = '57014')}, 'a slice beyond the limit is cancelled, and that is a failure');
is($busy->safe_psql('limits', q{SELECT DISTINCT error, finished_at - started_at < interval '5 seconds' FROM biolink.job_run WHERE state = 'failed'}), 'canceling statement due to statement timeout|t', 'with its reason, in time');
$busy->safe_psql('limits', q{SELECT hurry(), biolink.schedule_job('attribute', NULL)});

happens($busy, 'fair', q{(SELECT count(*) = 5 FROM biolink.conversion WHERE creator_id > 1)}, 'creators with little to do have it done');
happens($busy, 'fair', $all_done, 'and the one with much as well');
is($busy->safe_psql('fair', q{SELECT max(rows_done), max(rows_total), max(small), min(rows_done) FILTER (WHERE small = 0) FROM public.seen}), '5005|5005|5|2000', 'those with little were done in the second thousand');
is($busy->safe_psql('fair', q{SELECT count(*) FROM public.seen WHERE rows_done > 2000}), '4', 'of six, each in a transaction of its own');

happens($busy, 'prepared', q{touches('early') = 0}, 'what a prepared transaction holds is not seen yet');
happens($busy, 'prepared', q{EXISTS (SELECT FROM biolink.job_status AS s WHERE s.job = 'attribute' AND s.state = 'waiting' AND s.waits_for LIKE 'transaction %, prepared as ''held'' on %' AND s.waits_since < now())}, 'job_status names it as what a fold waits for');
$committed = time;
$busy->safe_psql('prepared', q{COMMIT PREPARED 'held'});
happens($busy, 'prepared', q{touches('early') = 1}, 'once it has committed, its click is credited');
cmp_ok(time - $committed, '<', 30, 'within some naptimes');
happens($busy, 'prepared', q{EXISTS (SELECT FROM biolink.job_status AS s WHERE s.job = 'attribute' AND s.state = 'ok' AND s.waits_for IS NULL)}, 'and nothing waits any more');

happens($busy, 'failing', q{built('late')}, 'the job that failed goes on by itself when it can');
happens($busy, 'failing', q{EXISTS (SELECT FROM biolink.job_status AS s WHERE s.job = 'attribute' AND s.state = 'ok' AND s.failures = 0 AND s.sqlstate IS NULL)}, 'and job_status forgets its failures');
my @told = log_from($busy, $log) =~ /WARNING: .*biolink job "attribute" failed in database "failing": sabotage/g;
is(scalar @told, $busy->safe_psql('failing', q{SELECT count(*) FROM biolink.job_run WHERE state = 'failed'}), 'the log has a line for each of them');
happens($busy, 'poison', q{(SELECT s.next_at BETWEEN q.retry_at - interval '1 second' AND q.retry_at + interval '10 seconds' FROM biolink.worker_status AS s, biolink.attribution_queue AS q WHERE s.database = 'poison' AND s.state = 'waiting')},
	'what could not be built is looked at again when it is time, not before');
# which is in a second instead of a minute
$busy->safe_psql('poison', q{UPDATE biolink.attribution_queue SET retry_at = clock_timestamp() + interval '1 second'; ALTER TABLE biolink.conversion DROP CONSTRAINT no_poison; SELECT biolink.wake_worker()});
happens($busy, 'poison', q{built('poison') AND NOT EXISTS (SELECT FROM biolink.attribution_queue)}, 'the conversion is built when it can be');
happens($busy, 'limits', $all_done, 'the job with a limit gets done, without one');

# a clock that was set back: what was recorded lies a day ahead
$busy->safe_psql('fair', q{
	UPDATE biolink.job_checkpoint SET folded_until = clock_timestamp() + interval '1 day';
	UPDATE biolink.job_run SET started_at = started_at + interval '1 day', finished_at = finished_at + interval '1 day';
	SELECT sale('before', 'w');
});
happens($busy, 'fair', q{touches('before') = 0}, 'a clock set back by a day: jobs run');
$busy->safe_psql('fair', q{SELECT click_by('w')});
happens($busy, 'fair', q{touches('before') = 1}, 'a late click is credited');
happens($busy, 'fair', q{(SELECT folded_until <= clock_timestamp() FROM biolink.job_checkpoint)}, 'and the checkpoint is back');

happens($busy, 'postgres', q{(SELECT d.xact_commit > 0 FROM pg_stat_database AS d WHERE d.datname = 'plain')}, 'a database without the extension was looked into');

# a job that runs less often than the worker may look; what comes of it is looked at below
$busy->safe_psql('shop', q{SELECT biolink.schedule_job('attribute', '3 seconds'), sale('at once', 's')});
happens($busy, 'shop', q{built('at once') AND EXISTS (SELECT FROM biolink.worker_status WHERE database = 'shop' AND state = 'waiting' AND NOT woken)}, 'a job that is due runs at once');
$busy->safe_psql('shop', q{SELECT click_by('s')});

# ---- who may, and who cannot -------------------------------------------------------------

is($busy->safe_psql('rights', q{SELECT string_agg(DISTINCT state, ',') FROM biolink.job_status}), 'paused', 'paused jobs say so');
is($busy->safe_psql('rights', q{SELECT built('by hand')}), 'f', 'and have not run, long after a commit');
$busy->safe_psql('rights', q{CALL biolink.run_job('attribute')});
is($busy->safe_psql('rights', q{SELECT built('by hand'), runner, role_name = current_user FROM public.last}), 't|call|t', 'but for a call');

for my $role (qw(biolink_app biolink_analyst))
{
	for my $statement (q{CALL biolink.run_job('attribute')}, q{SELECT biolink.schedule_job('attribute', '1 hour')}, 'SELECT biolink.pause_job()', 'SELECT biolink.resume_job()',
		q{SELECT biolink.job_begin('attribute')}, q{SELECT biolink.wake_worker()}, 'SELECT * FROM biolink.job_status', 'SELECT * FROM biolink.worker_status')
	{
		like(error_of($busy, 'rights', "SET ROLE $role; $statement"), qr/^42501: permission denied/, "$role may not: $statement");
	}
}
is($busy->safe_psql('rights', q{SET ROLE biolink_admin; SELECT count(*) FROM biolink.job_status; SELECT count(*) > 0 FROM biolink.worker_status WHERE database = 'rights'; SELECT biolink.pause_job('maintain')}),
	"2\nt\n", 'biolink_admin may');
for my $bad (q{'attribute', '999 milliseconds'}, q{'attribute', '-1 hour'}, q{'attribute', '0'}, q{'attribute', '1 hour', '0.5 seconds'}, q{'attribute', '1 hour', '-1 day'}, q{'sing', '1 hour'}, q{NULL, '1 hour'},
	q{'attribute', '100000000 years'}, q{'attribute', NULL, '100000000 years'})
{
	like(error_of($busy, 'rights', "SELECT biolink.schedule_job($bad)"), qr/^22023: /, "no schedule: $bad");
}
like(error_of($busy, 'rights', "SELECT biolink.$_"), qr/^22023: there is no job "sing"/, "no job: $_") for (q{pause_job('sing')}, q{resume_job('sing')}, q{job_begin('sing')}, q{job_pending('sing')});
is($busy->safe_psql('rights', q{SELECT biolink.schedule_job('attribute', '2 hours', '1 minute'); SELECT biolink.schedule_job('attribute', NULL); SELECT every, time_limit, paused FROM biolink.job_status WHERE job = 'attribute'}),
	"\n\n00:00:01|00:10:00|t", 'a schedule can be set, and unset');

# A member of the owner's role, which biolink has none of, attacks: by triggers
# on a table that jobs write, one of them deferred, which tries to defer more.
$busy->safe_psql('rights', q{
	CREATE ROLE mallory LOGIN;
	GRANT biolink_owner TO mallory;
	CREATE SCHEMA mallory AUTHORIZATION mallory;
	SET SESSION AUTHORIZATION mallory;
	CREATE TABLE mallory.loot (trigger_name text, attempt text, outcome text, became text, superuser text);
	CREATE TABLE mallory.bait (n int);
	CREATE FUNCTION mallory.attack() RETURNS trigger LANGUAGE plpgsql AS $$
	DECLARE
		attempt text;
		outcome text;
	BEGIN
		FOREACH attempt IN ARRAY ARRAY['SELECT 1', 'SET ROLE postgres', 'RESET ROLE', 'SET ROLE NONE', 'SET LOCAL ROLE NONE', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION DEFAULT', 'SET SESSION AUTHORIZATION postgres',
			$q$SELECT set_config('role', 'none', false)$q$, $q$SELECT set_config('role', 'postgres', true)$q$, $q$SELECT set_config('session_authorization', 'postgres', false)$q$,
			'RESET ALL', 'ALTER ROLE mallory SUPERUSER', 'DECLARE later CURSOR WITH HOLD FOR SELECT 1', 'CREATE TEMPORARY TABLE later (n int)', 'SET CONSTRAINTS ALL DEFERRED', 'INSERT INTO mallory.bait VALUES (1)']
		LOOP
			BEGIN
				EXECUTE attempt;
				outcome := 'succeeded';
			EXCEPTION WHEN OTHERS THEN
				outcome := SQLSTATE || ': ' || SQLERRM;
			END;
			INSERT INTO mallory.loot VALUES (TG_NAME, attempt, outcome, current_user, current_setting('is_superuser'));
		END LOOP;
		RETURN NULL;
	END
	$$;
	GRANT ALL ON SCHEMA mallory TO PUBLIC;
	GRANT ALL ON mallory.loot, mallory.bait TO PUBLIC;
	CREATE TRIGGER at_once AFTER INSERT ON biolink.conversion FOR EACH ROW EXECUTE FUNCTION mallory.attack();
	CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON biolink.conversion DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION mallory.attack();
	CREATE CONSTRAINT TRIGGER deferred_further AFTER INSERT ON mallory.bait DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION mallory.attack();
});

# An ordinary login takes whatever advisory locks look like those of the jobs.
my $stranger = IPC::Run::start([ 'psql', '-X', '-q', '-d', $busy->connstr('rights'), '-c', q{
	SET SESSION AUTHORIZATION stranger;
	SELECT pg_advisory_lock(part, hashtext(job)), pg_advisory_lock((part::int8 << 32) | (hashtext(job)::int8 & 4294967295)) FROM generate_series(0, 2) AS part, unnest('{attribute,maintain}'::text[]) AS job;
	SELECT pg_sleep(600) }], '<', \undef, '>', \my $stranger_out, '2>', \my $stranger_error) if $busy->safe_psql('rights', 'CREATE ROLE stranger LOGIN; SELECT true');
happens($busy, 'rights', q{(SELECT count(*) = 12 FROM pg_locks WHERE locktype = 'advisory' AND granted)}, 'an ordinary login holds all the advisory locks it can think of');
$busy->safe_psql('rights', q{SELECT biolink.resume_job('attribute'), long_run(0.1), sale('attacked')});
happens($busy, 'rights', q{(SELECT count(*) > 0 FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid AND a.backend_type = 'biolink worker'
	WHERE l.locktype = 'advisory' AND l.objsubid = 25196 AND l.objid = (hashtext('attribute')::int8 & 4294967295)::oid AND l.classid IN (1, 2) AND l.granted)}, 'a job runs all the same, under locks of the same numbers');
$busy->safe_psql('rights', q{SELECT hurry()});
happens($busy, 'rights', q{built('attacked')}, 'and does its work');
$busy->safe_psql('rights', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'stranger' OR query LIKE '%SESSION AUTHORIZATION stranger%' AND pid <> pg_backend_pid()});
$stranger->finish;
like(error_of($busy, 'rights', "SET SESSION AUTHORIZATION stranger; SELECT biolink.job_run_lock('attribute')"), qr/^42501: /, 'the jobs\' own locks are not for logins');

is($busy->safe_psql('rights', q{SELECT trigger_name, count(*) FROM mallory.loot GROUP BY trigger_name ORDER BY trigger_name}), "at_once|17\ndeferred|17", 'triggers of a member of the owner run with the slice');
is($busy->safe_psql('rights', q{SELECT DISTINCT became, superuser FROM mallory.loot}), 'biolink_owner|off', 'as the owner, and nobody becomes superuser by');
is($busy->safe_psql('rights', q{SELECT trigger_name, attempt FROM mallory.loot WHERE outcome = 'succeeded' AND attempt NOT IN ('SELECT 1', 'RESET ALL', 'SET CONSTRAINTS ALL DEFERRED')}), '', 'any of the ways there are');
is($busy->safe_psql('rights', q{SELECT count(*) FROM mallory.bait; SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'}), "0\nf", 'nor by deferring it further');
$busy->safe_psql('rights', q{DROP SCHEMA mallory CASCADE; DROP OWNED BY mallory; DROP ROLE mallory});

# What somebody set for all sessions in the database is not for jobs.
my $before = $busy->safe_psql('rights', q{
	ALTER DATABASE rights SET statement_timeout = '1ms';
	ALTER DATABASE rights SET lock_timeout = '1ms';
	ALTER DATABASE rights SET idle_in_transaction_session_timeout = '1ms';
	ALTER DATABASE rights SET default_transaction_isolation = 'serializable';
	ALTER DATABASE rights SET default_transaction_deferrable = on;
	ALTER DATABASE rights SET search_path = 'nowhere';
	SELECT clock_timestamp() FROM sale('under settings')});
happens($busy, 'shop', qq{EXISTS (SELECT FROM biolink.worker_status AS s WHERE s.database = 'rights' AND s.state = 'waiting' AND s.started_at > '$before')}, 'a database with settings of its own is served');
$busy->safe_psql('postgres', 'ALTER DATABASE rights RESET ALL');
is($busy->safe_psql('rights', qq{SELECT built('under settings'), count(*) FROM biolink.job_run WHERE state = 'failed' AND started_at > '$before'}), 't|0', 'as if it had none');

happens($busy, 'shop', q{touches('at once') = 1}, 'what is committed right after a run is not forgotten');
is($busy->safe_psql('shop', q{SELECT count(*), max(started_at) - min(started_at) BETWEEN '3 seconds' AND '30 seconds' FROM biolink.job_run WHERE rows_done = 1 AND started_at > (SELECT received_at FROM biolink.event WHERE order_id = 'at once')}), '2|t', 'it is worked off when the job is due again');
$busy->safe_psql('shop', q{SELECT biolink.schedule_job('attribute', NULL)});

# ---- settings ------------------------------------------------------------------------------

$busy->safe_psql('limits', q{SELECT long_run(0.1)});
happens($busy, 'limits', $under_way, 'a run is under way');
alter($busy, 'worker', 'off');
happens($busy, 'limits', q{EXISTS (SELECT FROM public.last WHERE state = 'stopped' AND error = 'biolink.worker was switched off' AND sqlstate IS NULL)}, 'biolink.worker off: it stops after its slice, and says why');
happens($busy, 'postgres', q{(SELECT array_agg(query) = '{switched off}' FROM pg_stat_activity WHERE backend_type LIKE 'biolink %')}, 'nobody works any more');
$busy->safe_psql('shop', q{SELECT sale('while off'); SELECT pg_sleep(2.5)});
is($busy->safe_psql('shop', q{SELECT built('while off'); SELECT s.state, s.woken, s.next_at IS NULL, s.message FROM biolink.worker_status AS s WHERE s.database = 'shop'}),
	"f\nswitched off|t|t|biolink.worker is off.", 'and a commit changes nothing for two naptimes');
# a call that has done all it set out to do, and is about to say so
$busy->safe_psql('poison', q{
	CREATE FUNCTION public.linger() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
	BEGIN
		WHILE EXISTS (SELECT FROM public.pace AS p WHERE p.seconds < 0) LOOP
			PERFORM pg_sleep(0.05);
		END LOOP;
		RETURN NULL;
	END
	$$;
	CREATE TRIGGER linger AFTER UPDATE ON biolink.job_run FOR EACH ROW WHEN (NEW.runner = 'call' AND NEW.state = 'done') EXECUTE FUNCTION public.linger();
	UPDATE public.pace SET seconds = -1;
	SELECT sale('by hand', 'h');
});
my $call = IPC::Run::start([ 'psql', '-X', '-q', '-d', $busy->connstr('poison'), '-c', q{CALL biolink.run_job('attribute')} ], '<', \undef, '>', \my $call_out, '2>', \my $call_error);
happens($busy, 'poison', q{built('by hand') AND EXISTS (SELECT FROM public.last WHERE state = 'running' AND runner = 'call')}, 'a call works all the same');
alter($busy, 'worker', 'on');
$before = $busy->safe_psql('poison', q{SELECT clock_timestamp() FROM click_by('h')});
happens($busy, 'poison', qq{EXISTS (SELECT FROM biolink.worker_status WHERE database = 'poison' AND state = 'waiting' AND NOT woken AND started_at > '$before')}, 'on, while a call is under way: the worker gives way to it');
$busy->safe_psql('poison', 'SELECT hurry()');
ok($call->finish && $call_error eq '', 'which ends') or diag $call_error;
happens($busy, 'poison', q{touches('by hand') = 1}, 'what was committed meanwhile is not forgotten');
happens($busy, 'shop', q{built('while off')}, 'what was committed while the worker was off is done');
happens($busy, 'limits', $under_way, 'and the run goes on');

like(error_of($busy, 'postgres', "ALTER SYSTEM SET biolink.$_"), qr/^22023: /, "not a setting: $_")
	for (q{worker_databases = 'shop,,limits'}, q{worker_databases = '"shop'}, q{worker_databases = 'shop limits'}, 'naptime = 0', 'max_workers = 0', 'max_workers = 1025', q{worker = 'maybe'});
alter($busy, 'worker_databases', q{'shop, "Odd, Name"'});
happens($busy, 'limits', q{EXISTS (SELECT FROM public.last WHERE state = 'stopped' AND error = 'biolink.worker_databases leaves this database out')}, 'biolink.worker_databases without this database: the run stops after its slice');
happens($busy, 'limits', q{EXISTS (SELECT FROM biolink.worker_status WHERE database = 'limits' AND state = 'left out' AND next_at IS NULL AND message = 'biolink.worker_databases leaves this database out.')}, 'and worker_status says so');
$busy->safe_psql('limits', q{SELECT sale('left out')});
$busy->safe_psql('shop', q{SELECT sale('not left out')});
happens($busy, 'shop', q{built('not left out')}, 'those on the list are served');
$busy->safe_psql('shop', q{SELECT sale('again')});
happens($busy, 'shop', q{built('again')}, 'again and again');
is($busy->safe_psql('limits', q{SELECT built('left out'), s.state FROM biolink.worker_status AS s WHERE database = 'limits'}), 'f|left out', 'the other is not, whoever commits there');
alter($busy, 'worker_databases', q{''});
$busy->safe_psql('limits', q{SELECT hurry()});
happens($busy, 'limits', q{built('left out')}, 'back on it: it goes on');

my $launcher = $busy->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'biolink launcher'});
$busy->safe_psql('postgres', 'CREATE ROLE night; CREATE ROLE day; GRANT biolink_admin TO night');
alter($busy, 'worker_role', 'night');
$busy->safe_psql('shop', q{SELECT sale('at night')});
happens($busy, 'shop', q{built('at night')}, 'biolink.worker_role: a member of biolink_admin runs jobs');
is($busy->safe_psql('shop', 'SELECT runner, role_name FROM public.last'), 'worker|night', 'and the record says that it did');
my $superuser = $busy->safe_psql('postgres', 'SELECT current_user');
for my $case ([ 'shop', 'nobody_there', 'role "nobody_there" does not exist' ], [ 'fair', $superuser, qq{jobs of biolink do not run as the superuser "$superuser"} ], [ 'failing', 'day', 'permission denied for schema biolink' ])
{
	my ($database, $role, $message) = @$case;

	alter($busy, 'worker_role', qq{"$role"});
	$busy->safe_psql($database, qq{SELECT sale('as $role')});
	happens($busy, $database, qq{EXISTS (SELECT FROM biolink.worker_status WHERE database = '$database' AND state = 'backing off' AND message = '$message' AND next_at > ended_at + interval '900 milliseconds')}, "not with $role: worker_status says why");
}
is($busy->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'biolink launcher'}), $launcher, 'the launcher has no trouble with that');
alter($busy, 'worker_role', q{''});
happens($busy, $_->[0], qq{built('as $_->[1]') AND EXISTS (SELECT FROM public.last WHERE role_name = 'biolink_owner') AND EXISTS (SELECT FROM biolink.worker_status AS s WHERE s.database = '$_->[0]' AND s.state = 'waiting' AND s.message IS NULL)}, "$_->[0] is served when the role is a good one again")
	for ([ 'shop', 'nobody_there' ], [ 'fair', $superuser ], [ 'failing', 'day' ]);

alter($busy, 'max_workers', 1);
my @in_turn = qw(shop fair failing poison);
$busy->safe_psql($_, q{UPDATE public.pace SET seconds = 0.1; SELECT sale('in turn')}) for @in_turn;
happens($busy, $_, q{built('in turn') AND EXISTS (SELECT FROM public.last WHERE state = 'done')}, "biolink.max_workers = 1: $_ gets its turn") for @in_turn;
my @spans = sort map { $busy->safe_psql($_, q{SELECT started_at, finished_at FROM public.last; SELECT hurry()}) } @in_turn;
my @overlaps = grep { (split /[|\n]/, $spans[ $_ - 1 ])[1] gt (split /[|]/, $spans[$_])[0] } 1 .. $#spans;
is(scalar @overlaps, 0, 'one after the other') or diag join "\n", @spans;
alter($busy, 'max_workers', 8);

# ---- an extension of another version, or none ----------------------------------------------------

# a new library over older SQL: it takes a while until that has failed more than once
my $older = $busy->safe_psql('poison', q{SELECT pg_get_functiondef('biolink.worker_schedule()'::regprocedure)});
$log = log_size($busy);
$busy->safe_psql('poison', q{ALTER EXTENSION biolink DROP FUNCTION biolink.worker_schedule(); DROP FUNCTION biolink.worker_schedule(); SELECT sale('newer')});

like(error_of($busy, 'fair', 'DROP EXTENSION biolink'), qr/^2BP01: cannot drop extension biolink because other objects depend on it/, 'DROP EXTENSION without CASCADE is refused once there are partitions');
$busy->safe_psql('fair', q{SELECT long_run(0.1)});
happens($busy, 'fair', $under_way, 'in the middle of a slow run');
works_at_once($busy, 'fair', 'DROP EXTENSION biolink CASCADE', 'the extension can be dropped');
happens($busy, 'postgres', q{NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'fair')}, 'the worker leaves');
my $transactions = q{SELECT d.datname, d.xact_commit + d.xact_rollback FROM pg_stat_database AS d WHERE d.datname IN ('fair', 'plain', 'closed', 'template0', 'template1') ORDER BY d.datname};
my $transactions_before = $busy->safe_psql('postgres', $transactions);

$busy->safe_psql('limits', q{SELECT long_run(0.1)});
happens($busy, 'limits', $under_way, 'in the middle of a slow run');
works_at_once($busy, 'limits', 'BEGIN; DROP EXTENSION biolink CASCADE; CREATE EXTENSION biolink; COMMIT', 'the extension can be dropped and created in one transaction');
happens($busy, 'limits', $partitions_there, 'and the new one is served');

SKIP:
{
	my $version = $busy->safe_psql('postgres', q{SELECT default_version FROM pg_available_extensions WHERE name = 'biolink'});
	my $share = $busy->config_data('--sharedir');

	$step = "$share/extension/biolink--$version--$version.next.sql";
	skip 'the installation is not ours', 4 unless open my $script, '>', $step;
	print $script "ALTER TABLE biolink.job_run ADD COLUMN added int; ALTER FUNCTION biolink.job_step(int8) COST 99999; CREATE OR REPLACE FUNCTION biolink.naptime() RETURNS interval LANGUAGE c STABLE PARALLEL SAFE COST 2 AS 'MODULE_PATHNAME', 'naptime_interval';\n";
	close $script;
	$busy->safe_psql('prepared', q{SELECT long_run(0.1)});
	happens($busy, 'prepared', $under_way, 'in the middle of a slow run');
	works_at_once($busy, 'prepared', "ALTER EXTENSION biolink UPDATE TO '$version.next'", 'the extension can be updated');
	$busy->safe_psql('prepared', 'SELECT hurry()');
	happens($busy, 'prepared', $all_done, 'the run ends');
	is($busy->safe_psql('prepared', q{SELECT string_agg(DISTINCT state, ',') FROM biolink.job_run}), 'done', 'as if nothing had been');
}

my @failed = log_from($busy, $log) =~ /^(\S+ \S+) .*WARNING: .*biolink worker failed in database "poison": function biolink\.worker_schedule\(\) does not exist/mg;
cmp_ok(scalar @failed, '>=', 2, 'a library newer than the SQL: tried again');
my @gaps = map { $busy->safe_psql('postgres', "SELECT extract(epoch FROM '$failed[$_]'::timestamp - '$failed[$_ - 1]'::timestamp)") } 1 .. $#failed;
is(scalar(grep { $gaps[$_] < 2**$_ - 0.1 } 0 .. $#gaps), 0, 'ever more rarely') or diag "@gaps";
happens($busy, 'shop', q{EXISTS (SELECT FROM biolink.worker_status WHERE database = 'poison' AND state = 'backing off' AND message = 'function biolink.worker_schedule() does not exist')}, 'worker_status, seen from anywhere, says why');
$busy->safe_psql('poison', qq{$older; ALTER FUNCTION biolink.worker_schedule() OWNER TO biolink_owner; ALTER EXTENSION biolink ADD FUNCTION biolink.worker_schedule()});

# ---- a database for oneself --------------------------------------------------------------------

$busy->safe_psql('failing', q{SELECT long_run(0.2)});
happens($busy, 'failing', $under_way, 'in the middle of a slow run');
works_at_once($busy, 'postgres', 'CREATE DATABASE copied TEMPLATE failing', 'a database can be copied');
is($busy->safe_psql('failing', q{SELECT state, error FROM biolink.job_run WHERE state <> 'done' ORDER BY run_id DESC LIMIT 1}), 'stopped|somebody wants the database for themselves', 'the run has stopped for it');
happens($busy, 'failing', $under_way, 'it goes on');
works_at_once($busy, 'postgres', 'ALTER DATABASE failing RENAME TO "Odd, Name"', 'in the middle of a slow run a database can be renamed');
alter($busy, 'worker_databases', q{'"Odd, Name"'});
happens($busy, 'Odd, Name', $under_way, 'it goes on there');
works_at_once($busy, 'postgres', 'DROP DATABASE "Odd, Name"', 'in the middle of a slow run a database can be dropped');
happens($busy, 'shop', q{NOT EXISTS (SELECT FROM biolink.worker_state() AS s WHERE s.database_id IS NOT NULL AND s.database_id NOT IN (SELECT d.oid FROM pg_database AS d))}, 'and is forgotten');
alter($busy, 'worker_databases', q{''});
happens($busy, 'copied', $under_way, 'the copy is found without anybody committing in it');
works_at_once($busy, 'postgres', 'DROP DATABASE copied WITH (FORCE)', 'a worker can be forced out');
works_at_once($busy, 'postgres', 'CREATE DATABASE copied TEMPLATE shop', 'another copy');
$busy->safe_psql('copied', q{SELECT sale('copied')});
happens($busy, 'copied', q{built('copied')}, 'is served as soon as something commits in it');

# ---- what has become of the others ------------------------------------------------------------------

happens($busy, 'poison', q{built('newer')}, 'the worker goes on when library and SQL fit');

is($busy->safe_psql('postgres', $transactions), $transactions_before, 'nobody looks into databases that have not, or not any more, the extension, nor into closed ones');
$busy->safe_psql('fair', 'CREATE EXTENSION biolink');
happens($busy, 'fair', $partitions_there, 'once it has the extension again it is served');
ok($commits->finish, 'a template in which there were many commits') or diag $commits_error;
is($busy->safe_psql('model', q{SELECT built('nobody'), count(*) FROM biolink.job_run WHERE started_at > (SELECT min(received_at) FROM biolink.event WHERE order_id = 'nobody')}), 'f|0', 'nobody has worked in a template');
$busy->safe_psql('postgres', 'ALTER DATABASE model IS_TEMPLATE false');
$busy->safe_psql('shop', q{SELECT sale('the last')});
happens($busy, 'model', q{built('nobody')}, 'until it is none');
my @worse = grep { /deadlock|PANIC|FATAL|terminated by signal|exit code [2-9]/ && !/terminating (?:connection|background worker "biolink worker") due to administrator command/ } split /\n/, log_from($busy, 0);
is("@worse", '', 'the log of all this tells of no deadlock and nothing worse');

for my $database (qw(shop poison prepared rights model copied))
{
	is($busy->safe_psql($database, q{SELECT integrity.rule, integrity.detail FROM biolink.integrity_check() AS integrity WHERE NOT ok}), '', "$database: all rules hold");
}
$busy->stop;

# ---- no room for a worker; pg_upgrade --------------------------------------------------------------------

my @refusals = log_from($standby, $room) =~ /^(\S+ \S+) UTC .*WARNING: .*biolink found no free slot for a background worker/mg;
cmp_ok(scalar @refusals, '>=', 3, 'without room: it is tried again');
@gaps = map { $standby->safe_psql('postgres', "SELECT extract(epoch FROM '$refusals[$_]'::timestamp - '$refusals[$_ - 1]'::timestamp)") } 1 .. $#refusals;
is(scalar(grep { $gaps[$_] < 2**$_ - 0.1 } 0 .. $#gaps), 0, 'ever more rarely') or diag "@gaps";
like(log_from($standby, $room), qr/HINT: +Increase max_worker_processes\./, 'with a hint');
is($standby->safe_psql('shop', q{SELECT built('without room'); CALL biolink.run_job('attribute'); SELECT built('without room')}), "f\nt", 'a call works all the same');
is($standby->safe_psql('shop', q{SELECT sale('still without room')}), 'inserted', 'orders are taken all the time');
$standby->append_conf('postgresql.conf', "max_worker_processes = 12\n");
$standby->restart;
happens($standby, 'shop', q{built('still without room') AND EXISTS (SELECT FROM biolink.worker_status WHERE database = 'shop' AND state = 'waiting' AND message IS NULL)}, 'with room it works');

$standby->stop;
is(system_log('pg_ctl', '-w', '-D', $standby->data_dir, '-l', $standby->logfile, '-o', '-b', 'start'), 0, 'a server is started for pg_upgrade');
$standby->_update_pid(1);
is($standby->safe_psql('shop', q{SELECT sale('for pg_upgrade'); SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'biolink %'; SELECT state FROM biolink.worker_status}), "inserted\n0\nnot running", 'it has no launcher');
$standby->stop;
$standby->start;
happens($standby, 'shop', q{built('for pg_upgrade')}, 'started as usual it works');
is($standby->safe_psql('shop', q{SELECT rule, detail FROM biolink.integrity_check() WHERE NOT ok}), '', 'all rules hold there, too');
$standby->safe_psql('shop', q{SELECT long_run(0.1)});
happens($standby, 'shop', $under_way, 'in the middle of a run');
my $stopped = time;
$standby->stop('smart');
cmp_ok(time - $stopped, '<', 20, 'a server that is stopped, smart, does not wait for its end');

# ---- and after the minute -----------------------------------------------------------------------------

sleep 60 - (time - $rested_since) if time - $rested_since < 60;
is($still->safe_psql('shop', $state_of_rest), $at_rest, 'the server that was left alone for a minute wrote nothing into its WAL and started no worker');
unlike(log_from($still, 0), qr/WARNING|FATAL|background worker/, 'nor has its log anything to tell');
$still->safe_psql('shop', q{SELECT sale('after')});
happens($still, 'shop', q{built('after')}, 'it is awake at once');
$still->stop('smart');

done_testing();

END
{
	unlink $step if defined $step;
}
