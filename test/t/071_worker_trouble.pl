# The background worker in trouble: what becomes of a run, and of what it was at,
# when processes are told to end, or are killed, or when the server stops or crashes
# in the middle of it.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);
use WorkerTools;

# ---- helpers -------------------------------------------------------------------

# pid_of returns the process id of the launcher, or of the worker.
sub pid_of
{
	my ($node, $which) = @_;

	return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'biolink $which'");
}

# is_gone says whether a process has ended, though nobody may have asked how.
sub is_gone
{
	my ($pid) = @_;

	return 1 if !kill 0, $pid;
	return -r "/proc/$pid/stat" && slurp_file("/proc/$pid/stat") =~ /\) Z /;
}

# interrupted makes trouble in the middle of a run: the run has to be on record as it says, the
# next one has to wait a while and then to finish, and nothing may be lost.
sub interrupted
{
	my ($node, $name, $recorded, $trouble) = @_;
	my $log = log_size($node);

	$node->safe_psql('shop', 'SELECT long_run(0.1)');
	happens($node, 'shop', $under_way, "$name: in the middle of a run");
	my ($run, $folded, $since) = split /[|\n]/, $node->safe_psql('shop', q{SELECT run_id, folded_until, clock_timestamp() FROM public.last, biolink.job_checkpoint});
	$node->safe_psql('shop', "SELECT sale('$name')");
	$trouble->($node);
	ok($node->poll_query_until('shop', 'SELECT true'), "$name: the server is there");
	$node->safe_psql('shop', 'SELECT hurry()');
	happens($node, 'shop', "built('$name')", "$name: what was committed is worked off");
	happens($node, 'shop', $all_done, "$name: and all of it");

	# the wait is that of a server that is there
	$since = $_ for log_from($node, $log) =~ /^(\S+ \S+ UTC) .*database system is ready to accept connections/mg;
	is($node->safe_psql('shop', "SELECT state, sqlstate, finished_at > started_at FROM biolink.job_run WHERE run_id = $run"), "$recorded|t", "$name: the run is on record");
	is($node->safe_psql('shop', "SELECT state, runner FROM biolink.job_run WHERE run_id > $run AND job = 'attribute' ORDER BY run_id LIMIT 1"), 'done|worker', "$name: and so is the next one");
	cmp_ok($node->safe_psql('shop', "SELECT extract(epoch FROM started_at - '$since') FROM biolink.job_run WHERE run_id > $run AND job = 'attribute' ORDER BY run_id LIMIT 1"), '>=', 0.9, "$name: which waited for a naptime");
	is($node->safe_psql('shop', q{SELECT rule, detail FROM biolink.integrity_check() WHERE NOT ok}), '', "$name: all rules hold");
	return;
}

# ---- a launcher that is told to end ------------------------------------------------------------

my $node = new_server('main');
$node->safe_psql('postgres', 'CREATE DATABASE shop TEMPLATE template0');
$node->safe_psql('shop', $tools);
happens($node, 'shop', $partitions_there, 'the worker works');
happens($node, 'shop', $quiet, 'then it waits');

# it takes some seconds to come back, and what is under way goes on meanwhile
$node->safe_psql('shop', q{SELECT long_run(0.1)});
happens($node, 'shop', $under_way, 'in the middle of a run');
my $launcher = pid_of($node, 'launcher');
my $terminated = time;
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
happens($node, 'postgres', qq{NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $launcher)}, 'a launcher is terminated');
is($node->safe_psql('shop', q{SELECT state, message FROM biolink.worker_status}), 'not running|The launcher is not running; the postmaster starts it again within seconds.', 'worker_status says so');
happens($node, 'postgres', qq{EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'biolink launcher')}, 'it comes back');
cmp_ok(time - $terminated, '<', 30, 'within seconds');
$node->safe_psql('shop', 'SELECT hurry()');
happens($node, 'shop', $all_done, 'the run that was under way ends');
is($node->safe_psql('shop', q{SELECT string_agg(DISTINCT state, ',') FROM biolink.job_run}), 'done', 'as if nothing had been');
$node->safe_psql('shop', q{SELECT sale('after the launcher')});
happens($node, 'shop', q{built('after the launcher')}, 'and the next one comes');

# ---- runs that are cut short -------------------------------------------------------------------------

interrupted($node, 'a worker is terminated', 'aborted|', sub {
	my ($node) = @_;
	$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . pid_of($node, 'worker') . ')');
});
interrupted($node, 'a worker is cancelled', 'failed|57014', sub {
	my ($node) = @_;
	# in a slice, and not between two
	$node->safe_psql('shop', 'UPDATE public.pace SET seconds = 60');
	happens($node, 'postgres', q{EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'biolink worker' AND wait_event = 'PgSleep' AND xact_start < clock_timestamp() - interval '500 milliseconds')}, 'a long slice');
	$node->safe_psql('postgres', 'SELECT pg_cancel_backend(' . pid_of($node, 'worker') . ')');
});

for my $mode (qw(fast immediate))
{
	interrupted($node, "a server is stopped, $mode", 'aborted|', sub {
		my ($node) = @_;
		$node->stop($mode);
		$node->start;
	});
}
for my $which (qw(worker launcher))
{
	interrupted($node, "a $which is killed", 'aborted|', sub {
		my ($node) = @_;
		my $pid = pid_of($node, $which);
		kill 'KILL', $pid;
		ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'biolink launcher' AND pid <> $pid"), "a $which is killed: there is a launcher again");
	});
}
interrupted($node, 'the postmaster is killed', 'aborted|', sub {
	my ($node) = @_;
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my @pids = (pid_of($node, 'launcher'), pid_of($node, 'worker'), split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()'));
	my $began = time;
	$node->kill9;
	sleep 0.05 while time < $began + 10 && grep { !is_gone($_) } @pids;
	is(scalar(grep { !is_gone($_) } @pids[ 0, 1 ]), 0, 'the postmaster is killed: launcher and worker end by themselves');
	cmp_ok(time - $began, '<', 5, 'at once');
	# where nobody asks how it ended, its number remains, and with it the lock file
	sleep 0.05 while time < $began + 10 && kill 0, $postmaster;
	unlink $node->data_dir . '/postmaster.pid' if is_gone($postmaster);
	$node->start;
});

# ---- a launcher that is cancelled, which is not the way to stop it -----------------------------------

$node->safe_psql('postgres', 'SELECT pg_cancel_backend(' . pid_of($node, 'launcher') . ')');
$node->safe_psql('shop', q{SELECT sale('after all')});
happens($node, 'shop', q{built('after all')}, 'a launcher that is cancelled is still there, or again');

my @worse = grep { /deadlock|PANIC|(?:TRAP|ERROR):/ && !/canceling statement due to user request/ } split /\n/, log_from($node, 0);
is("@worse", '', 'the log has nothing worse to tell');
$node->stop;

done_testing();
