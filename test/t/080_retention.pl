# Retention beside traffic: clicks go on while partitions cannot be emptied or
# dropped because somebody reads them, and when nobody does any more they go.
# Closed months end up frozen.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('retention');
my $key_file = PostgreSQL::Test::Utils::tempdir . '/root.key';

open my $file, '>', $key_file or die "$key_file: $!";
print $file join('', map { sprintf '%02x', $_ } 0 .. 31), "\n";
close $file or die "$key_file: $!";
chmod 0600, $key_file or die "$key_file: $!";
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', "timezone = 'UTC'\nbiolink.root_key_file = '$key_file'\nautovacuum_naptime = 1s\nclient_min_messages = error\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION biolink CASCADE;
	CREATE ROLE shop LOGIN IN ROLE biolink_app;
	CREATE ROLE operator LOGIN IN ROLE biolink_admin;
	INSERT INTO biolink.creator (creator_id, handle) VALUES (1, 'ana');
	INSERT INTO biolink.link (creator_id, link_id, slug, url) VALUES (1, 1, 'a', 'https://a.example/');
	CREATE FUNCTION public.month(ago int) RETURNS timestamptz LANGUAGE sql AS $$ SELECT date_trunc('month', now()) - ago * interval '1 month' $$;
	CREATE FUNCTION public.leaf(ago int) RETURNS text LANGUAGE sql AS $$ SELECT 'event_' || to_char(public.month(ago), 'YYYY_MM') $$;
	CREATE FUNCTION public.is_there(ago int) RETURNS boolean LANGUAGE sql AS $$ SELECT to_regclass('biolink.' || public.leaf(ago)) IS NOT NULL $$;
});

# ask is safe_psql as a role.
sub ask
{
	my ($role, $query) = @_;

	return $node->safe_psql('postgres', "SET SESSION AUTHORIZATION $role; $query");
}

# run_job runs a job until it waits for no other transaction.
sub run_job
{
	my ($job) = @_;

	for my $attempt (1 .. 50)
	{
		ask('operator', "CALL biolink.run_job('$job')");
		last if ask('operator', "SELECT count(*) FROM biolink.job_candidate WHERE job = '$job'") eq '0';
	}
	return;
}

# reader holds a transaction open that has read something.
sub reader
{
	my ($query) = @_;
	my %reader = (in => '', out => '');

	$reader{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$reader{in}, '>', \$reader{out},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	$reader{in} .= "BEGIN; $query;\n\\echo reading\n";
	$reader{run}->pump until $reader{out} =~ /reading/;
	return \%reader;
}

# finish ends it.
sub finish
{
	my ($reader) = @_;

	$reader->{in} .= "COMMIT;\n\\q\n";
	$reader->{run}->finish;
	return;
}

# Clicks of every kind: with a token, which looks its visit up, and without. None may wait for long.
my $script = PostgreSQL::Test::Utils::tempdir . '/clicks.sql';
open $file, '>', $script or die "$script: $!";
print $file q{
	SELECT c.status FROM biolink.open_page(1, '{"visitor": "v", "user_agent": "Mozilla/5.0 (iPhone) Instagram"}') AS p,
		LATERAL biolink.click(1, 'a', jsonb_build_object('visitor', 'v', 'token', p.token, 'user_agent', 'Mozilla/5.0 (iPhone) Instagram')) AS c;
	SELECT status FROM biolink.track(1, jsonb_build_object('kind', 'survey', 'source', 's', 'key', gen_random_uuid()));
};
close $file or die "$script: $!";

# beside_clicks does something again and again while clicks come in.
sub beside_clicks
{
	my ($name, $work) = @_;
	my ($out, $err) = ('', '');
	local $ENV{PGOPTIONS} = '-c statement_timeout=20s';
	my $clicks = IPC::Run::start([ 'pgbench', '-n', '-c', '2', '-T', '4', '-f', $script, '-U', 'shop', '-h', $node->host, '-p', $node->port, 'postgres' ],
		'>', \$out, '2>', \$err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	my $times = 0;

	while ($clicks->pumpable && $times < 200)
	{
		$work->();
		$times++;
		$clicks->pump_nb;
	}
	ok($clicks->finish, "$name: every click was taken") or diag $err;
	my ($number) = $out =~ /number of transactions actually processed: (\d+)/;
	cmp_ok($number // 0, '>', 0, "$name: there were some");
	return;
}

# ---- events of half a year ------------------------------------------------------

ask('shop', q{
	SELECT count(*) FROM generate_series(1, 6) AS m, generate_series(1, 300) AS n,
		LATERAL biolink.click(1, 'a', jsonb_build_object('occurred_at', public.month(m) + n * interval '1 hour', 'visitor', 'v' || n, 'key', m || '-' || n,
			'user_agent', 'Mozilla/5.0 (iPhone) Instagram'));
	SELECT status FROM biolink.track(1, jsonb_build_object('kind', 'order', 'source', 's', 'key', 'o', 'order_id', 'o', 'amount', 100, 'currency', 'EUR', 'visitor', 'v1',
		'occurred_at', public.month(5) + interval '1 day'));
});
run_job($_) for qw(attribute maintain);
is($node->safe_psql('postgres', 'SELECT count(*) FROM generate_series(1, 6) AS m WHERE public.is_there(m)'), '6', 'partitions of six months');
my $money = $node->safe_psql('postgres', 'SELECT * FROM biolink.attribution ORDER BY model, position');
isnt($money, '', 'somebody earned something');

# ---- somebody reads everything --------------------------------------------------

my $reader = reader('SELECT count(*) FROM biolink.event');
ask('operator', q{SELECT biolink.set_event_retention(now() - public.month(4) - interval '1 hour')});
beside_clicks('partitions that are read cannot be emptied', sub {
	ask('operator', "CALL biolink.run_job('attribute')");
	ask('operator', "CALL biolink.run_job('maintain')");
});
run_job($_) for qw(attribute maintain);
is(ask('operator', "SELECT biolink.event_horizon() = public.month(4)"), 't', 'what is no longer kept is refused');
is($node->safe_psql('postgres', 'SELECT public.is_there(6) AND public.is_there(5)'), 't', 'the partitions are still there');
is(ask('operator', "SELECT last_state, sqlstate IS NULL, rows_failed > 0, error ~ 'emptying event_.*: canceling statement due to lock timeout', failures FROM biolink.job_status WHERE job = 'maintain'"),
	'done|t|t|t|0', 'which is noted, and no failure');
is(ask('shop', q{SELECT status FROM biolink.track(1, '{"kind": "survey", "source": "s", "key": "now"}')}), 'inserted', 'life goes on');

# ---- somebody reads what stays ---------------------------------------------------

finish($reader);
$reader = reader("SELECT count(*) FROM biolink.event WHERE occurred_at >= '" . $node->safe_psql('postgres', 'SELECT public.month(1)') . "'");
beside_clicks('partitions cannot be dropped beside a reader of others', sub { run_job($_) for qw(attribute maintain) });
is($node->safe_psql('postgres', 'SELECT public.is_there(6) AND public.is_there(5), (SELECT count(*) FROM biolink.event WHERE occurred_at < public.month(4))'), 't|0', 'but emptied');
like(ask('operator', "SELECT error FROM biolink.job_status WHERE job = 'maintain'"), qr/dropping event_.*: canceling statement due to lock timeout/, 'that is noted as well');
is(ask('operator', "SELECT biolink.job_pending('maintain')"), 't', 'and will be tried again');

# ---- nobody does -------------------------------------------------------------------

finish($reader);
beside_clicks('partitions go', sub { run_job('maintain') });
is($node->safe_psql('postgres', 'SELECT public.is_there(6) OR public.is_there(5), public.is_there(4)'), 'f|t', 'and are gone');
is($node->safe_psql('postgres', 'SELECT * FROM biolink.attribution ORDER BY model, position'), $money, 'who earned something still has');
is($node->safe_psql('postgres', 'SELECT string_agg(rule, $$,$$) FROM biolink.integrity_check() WHERE NOT ok'), '', 'all rules hold');
run_job($_) for qw(attribute maintain);
is($node->safe_psql('postgres', 'SELECT biolink.retention_pending()'), 'f', 'nothing is left to do');

# ---- closed months are frozen -------------------------------------------------------

# frozen_past tells whether a partition is frozen past all that wrote to it.
sub frozen_past
{
	my ($ago) = @_;
	my $leaf = $node->safe_psql('postgres', "SELECT public.leaf($ago)");

	return "SELECT age(c.relfrozenxid) < (SELECT min(age(e.xmin)) FROM biolink.$leaf AS e) FROM pg_class AS c WHERE c.oid = 'biolink.$leaf'::regclass";
}

ok($node->poll_query_until('postgres', frozen_past(3)), 'the partition of a closed month is frozen by autovacuum');
is($node->safe_psql('postgres', frozen_past(0)), 'f', 'that of this month is not');

# ---- in the background --------------------------------------------------------------

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'biolink'\nbiolink.naptime = 1s\n");
$node->restart;
ask('operator', q{SELECT biolink.set_event_retention(now() - public.month(3) - interval '1 hour'), biolink.schedule_job('maintain', '1 second')});
ok($node->poll_query_until('postgres', 'SELECT NOT public.is_there(4) AND public.is_there(3)'), 'the worker drops partitions, too');
is(ask('operator', "SELECT count(*) FROM biolink.job_run WHERE state = 'failed'"), '0', 'and no run failed');

done_testing();
