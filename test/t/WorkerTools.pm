# What the tests of the background worker share: servers with it, a database with
# the means to give it work and to slow it down, and ways to look at it.
package WorkerTools;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

our @EXPORT = qw(new_server happens alter error_of log_size log_from works_at_once $tools $partitions_there $under_way $all_done $quiet);

# where the root key of the servers is
my $dir;
# how long something may take that has to happen at some time, in seconds
my $patience = $PostgreSQL::Test::Utils::timeout_default;

# new_server makes and starts a server with the worker; configuration has more lines for it.
# As a copy of another that is to be copied, from before its start, it saves an initdb.
sub new_server
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	if (!defined $dir)
	{
		$dir = PostgreSQL::Test::Utils::tempdir;
		append_to_file("$dir/root.key", join('', map { sprintf '%02x', $_ } 0 .. 31) . "\n");
		chmod 0600, "$dir/root.key";
	}
	if (defined $options{copy_of})
	{
		$node->init_from_backup($options{copy_of}, 'new');
	}
	else
	{
		$node->init(extra => [ '--encoding=UTF8', '--no-locale' ], allows_streaming => $options{allows_streaming});
		$node->backup_fs_cold('new') if $options{copied};
	}
	$node->append_conf('postgresql.conf', join "\n", "shared_preload_libraries = 'biolink'", "biolink.naptime = '1s'", "biolink.root_key_file = '$dir/root.key'",
		"timezone = 'UTC'", 'autovacuum = off', 'restart_after_crash = on', 'max_connections = 20', 'max_worker_processes = 12', 'max_prepared_transactions = 4',
		$options{configuration} // ());
	$node->start;
	return $node;
}

# happens waits until a condition holds, asked by one session over and over, and is a test that it does.
sub happens
{
	my ($node, $database, $condition, $name) = @_;
	my ($status, undef, $error) = $node->psql($database, qq{
		DO \$wait\$
		DECLARE
			give_up CONSTANT timestamptz := clock_timestamp() + interval '$patience seconds';
			holds bool;
		BEGIN
			LOOP
				EXECUTE \$condition\$SELECT $condition\$condition\$ INTO holds;
				EXIT WHEN holds;
				IF clock_timestamp() > give_up THEN
					RAISE EXCEPTION 'not within $patience seconds';
				END IF;
				COMMIT;
				PERFORM pg_sleep(0.05);
			END LOOP;
		END
		\$wait\$});

	return 1 if ok($status == 0, $name);
	diag $error;
	diag "$_:\n" . ($node->psql($database, "SELECT t FROM biolink.$_ AS t ORDER BY 1 DESC LIMIT 12"))[1]
		for qw(worker_status job_status job_run attribution_queue);
	return 0;
}

# alter sets a setting of the worker for the whole server.
sub alter
{
	my ($node, $setting, $value) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET biolink.$setting = $value");
	$node->reload;
	return;
}

# error_of runs a statement that has to fail, and returns its SQLSTATE and message.
sub error_of
{
	my ($node, $database, $statement) = @_;
	my (undef, undef, $error) = $node->psql($database, "\\set VERBOSITY verbose\n$statement", on_error_stop => 1);

	return $error =~ /(?:ERROR|FATAL):  (.*)/ ? $1 : "no error: $error";
}

# log_from returns what the server wrote into its log since it had that size, without the statements.
sub log_from
{
	my ($node, $offset) = @_;

	return join '', grep { !/LOG:  (?:statement|checkpoint)/ } map { "$_\n" } split /\n/, slurp_file($node->logfile, $offset);
}

# log_size returns how long a server's log is.
sub log_size { return -s $_[0]->logfile }

# works_at_once is a test of a statement that has to succeed within the five seconds that the server waits for others to leave a database.
sub works_at_once
{
	my ($node, $database, $statement, $name) = @_;
	my $began = time;
	my ($status, undef, $error) = $node->psql($database, $statement);
	my $took = time - $began;

	ok($status == 0 && $took < 5, $name) or diag sprintf('%.1f s, %s', $took, $error);
	return;
}

# what the tests call in each database
our $tools = q{
	CREATE EXTENSION biolink CASCADE;
	INSERT INTO biolink.creator (handle) SELECT 'creator ' || n FROM generate_series(1, 6) AS n;
	INSERT INTO biolink.link (creator_id, slug, url) VALUES (1, 'link', 'https://shop.example/');

	CREATE FUNCTION public.sale(id text, visitor text DEFAULT NULL, creator int8 DEFAULT 1) RETURNS text LANGUAGE sql AS $$
		SELECT t.status FROM biolink.track(creator, jsonb_build_object('kind', 'order', 'source', 'shop', 'key', id, 'order_id', id, 'amount', 100, 'currency', 'EUR', 'visitor', visitor)) AS t
	$$;
	-- an hour ago, which makes it a late one if the sale is there already, but in this month
	CREATE FUNCTION public.click_by(visitor text) RETURNS text LANGUAGE sql AS $$
		SELECT k.status FROM (VALUES (clock_timestamp() AT TIME ZONE 'UTC')) AS c (at),
			biolink.click(1, 'link', jsonb_build_object('visitor', visitor, 'user_agent', 'Mozilla/5.0 (iPhone) Instagram', 'occurred_at', to_char(greatest(c.at - interval '1 hour', date_trunc('month', c.at)), 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))) AS k
	$$;
	CREATE FUNCTION public.touches(id text) RETURNS int LANGUAGE sql AS $$ SELECT c.touches FROM biolink.conversion AS c WHERE c.order_id = id $$;
	CREATE FUNCTION public.built(id text) RETURNS bool LANGUAGE sql AS $$ SELECT EXISTS (SELECT FROM biolink.conversion AS c WHERE c.order_id = id) $$;

	-- how long a slice takes, beyond what it takes
	CREATE TABLE public.pace (seconds float8 NOT NULL);
	INSERT INTO public.pace VALUES (0);
	CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
	BEGIN
		PERFORM pg_sleep(p.seconds) FROM public.pace AS p;
		RETURN NULL;
	END
	$$;
	CREATE TRIGGER slow AFTER UPDATE ON biolink.job_run FOR EACH ROW WHEN (NEW.slices > OLD.slices) EXECUTE FUNCTION public.slow();
	-- a run of many slices that take so long each: a fold of what arrived in 600 hours
	CREATE FUNCTION public.long_run(seconds float8) RETURNS void LANGUAGE sql AS $$
		UPDATE public.pace SET seconds = long_run.seconds;
		INSERT INTO biolink.job_checkpoint VALUES ('attribute', now() - interval '600 hours')
			ON CONFLICT (job) DO UPDATE SET folded_until = excluded.folded_until;
		SELECT biolink.wake_worker();
	$$;
	CREATE FUNCTION public.hurry() RETURNS void LANGUAGE sql AS $$ UPDATE public.pace SET seconds = 0 $$;
	-- the first use of a key is on record
	SELECT click_by('somebody');
	-- the last run of the job "attribute"
	CREATE VIEW public.last AS SELECT r.* FROM biolink.job_run AS r WHERE r.job = 'attribute' ORDER BY r.run_id DESC LIMIT 1;
};
# conditions for happens(): this month and the next two have partitions
our $partitions_there = q{(SELECT count(*) = 3 FROM generate_series(0, 2) AS n
	WHERE to_regclass('biolink.event_' || to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month', 'YYYY_MM')) IS NOT NULL)};
# a long run is in its midst
our $under_way = q{EXISTS (SELECT FROM public.last AS l WHERE l.state = 'running' AND l.runner = 'worker' AND l.slices >= 2)};
# it is over, and has left nothing
our $all_done = q{EXISTS (SELECT FROM public.last AS l WHERE l.state = 'done') AND NOT EXISTS (SELECT FROM biolink.attribution_queue) AND NOT biolink.attribute_pending()};
# nothing is at work, nor will be for minutes
our $quiet = q{(SELECT s.state = 'waiting' AND NOT s.woken AND s.next_at > clock_timestamp() + interval '2 minutes' FROM biolink.worker_status AS s WHERE s.database = current_database())};

1;
