# Where root keys come from, what goes wrong with them, and what other
# backends, other transactions and standbys notice of a change.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $test_key = join '', map { sprintf '%02x', $_ } 0 .. 31;
my $test_fingerprint = '4d018cc06b7c43de742c4b717852081f';
my $other_key = 'f0' x 32;
my $golden = 'EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb';
my $event = '019b76da-a800-7abc-8def-0123456789ab';

my $issue = "SELECT biolink.issue_token(1234567, 'session', '$event', ttl => '1 day')";
my $verify = "SELECT coalesce(reason, 'valid') FROM biolink.verify_token('$golden', '', '2026-01-01')";

# ---- sessions that stay open ------------------------------------------------

# session starts a psql that stays connected.
sub session
{
	my ($node, %options) = @_;
	my %session = (in => '', out => '', err => '');

	local %ENV = (%ENV, %{ $options{env} || {} });
	$session{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr($options{database} || 'postgres') . ($options{user} ? " user=$options{user}" : '') ],
		'<', \$session{in}, '>', \$session{out}, '2>', \$session{err},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return \%session;
}

# send hands over a statement without waiting.
sub send_sql
{
	my ($session, $sql) = @_;

	$session->{out} = $session->{err} = '';
	$session->{in} .= "$sql;\n\\echo __end__\n\\warn __end__\n";
	$session->{run}->pump_nb;
	return;
}

# answer waits for what was sent last; messages are left in {err}.
sub answer
{
	my ($session) = @_;

	$session->{run}->pump until $session->{out} =~ /__end__\n/ && $session->{err} =~ /__end__\n/;
	s/__end__\n// for $session->{out}, $session->{err};
	chomp(my $out = $session->{out});
	return $out;
}

# ask does both.
sub ask
{
	my ($session, $sql) = @_;

	send_sql($session, $sql);
	return answer($session);
}

# finish ends a session.
sub finish
{
	my ($session) = @_;

	$session->{in} .= "\\q\n";
	$session->{run}->finish;
	return;
}

# reload makes the server read its configuration, and waits until new and old
# backends alike have.
sub reload
{
	my ($node, @sessions) = @_;
	my $before = $node->safe_psql('postgres', 'SELECT pg_conf_load_time()');

	$node->reload;
	$node->poll_query_until('postgres', "SELECT pg_conf_load_time() > '$before'") or die 'the configuration was not read';
	for my $session (@sessions)
	{
		for (1 .. 1000)
		{
			last if ask($session, "SELECT pg_conf_load_time() > '$before'") eq 't';
			select undef, undef, undef, 0.01;
		}
	}
	return;
}

# ---- files -------------------------------------------------------------------

my $dir = PostgreSQL::Test::Utils::tempdir;

# write_key puts text into a file that only its owner may read, or another mode.
sub write_key
{
	my ($path, $text, $mode) = @_;

	unlink $path;
	open my $file, '>', $path or die "$path: $!";
	binmode $file;
	print $file $text;
	close $file;
	chmod defined $mode ? $mode : 0600, $path or die "$path: $!";
	return;
}

# fails checks the error of a statement in a new session: its code, and a pattern.
sub fails
{
	my ($node, $sql, $pattern, $name, $database) = @_;
	my ($result, $out, $err) = $node->psql($database || 'postgres', "\\set VERBOSITY verbose\n$sql");

	like($err, qr/ERROR:  55000: .*$pattern/s, $name);
	unlike($err, qr/\Q$test_key\E|\Q$other_key\E/i, "$name: without the key");
	return;
}

# warns_once checks that verifying goes on, with one warning for two calls.
sub warns_once
{
	my ($node, $pattern, $name) = @_;
	my ($result, $out, $err) = $node->psql('postgres', "$verify;\n$verify;");

	is($out, "unknown_key\nunknown_key", "$name: verifying says unknown_key");
	my @warnings = $err =~ /^.*WARNING:  /mg;
	is(scalar @warnings, 1, "$name: with one warning");
	like($err, qr/$pattern/s, "$name: which says why");
	return;
}

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "max_connections = 40\nmax_prepared_transactions = 5\nlog_statement = 'all'\nlog_min_messages = debug1\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION biolink CASCADE');
my $made = $node->data_dir . '/biolink.key';

# ---- the first key -------------------------------------------------------------

is($node->safe_psql('postgres', 'SELECT source, state FROM biolink.key_status()'), 'made|none', 'there is no key to begin with');
{
	my ($result, $out, $err) = $node->psql('postgres', $verify);
	is($out, 'unknown_key', 'no key at all: unknown_key');
	is($err, '', 'and no warning: nothing is wrong');
}
fails($node, "SELECT biolink.identity_hash_sha256(1, 'email', sha256('x'))", 'there is no biolink root key yet', 'a call that only reads makes no key');
fails($node, "BEGIN READ ONLY; $issue", 'there is no biolink root key yet', 'nor one in a transaction that may not write');
ok(!-e $made, 'no file was made by them');

# many first calls at the same moment
{
	my $gate = session($node);
	my @sessions = map { session($node) } 1 .. 8;
	ask($gate, 'SELECT pg_advisory_lock(1)');
	send_sql($_, "SELECT pg_advisory_lock_shared(1);\n$issue") for @sessions;
	$node->poll_query_until('postgres', "SELECT count(*) = 8 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
	ask($gate, 'SELECT pg_advisory_unlock(1)');
	my @tokens = map { my $out = answer($_); $out =~ s/^\n//; $out } @sessions;
	my @notices = grep { $_->{err} =~ /NOTICE:  made a biolink root key/ } @sessions;
	is(scalar @notices, 1, 'one of eight first calls makes the key and says so');
	like($notices[0]->{err}, qr/HINT:  Move it to a safe place outside the data directory/, 'with the advice to move it');
	my @valid = grep { $node->safe_psql('postgres', "SELECT valid FROM biolink.verify_token('$_')") eq 't' } @tokens;
	is(scalar @valid, 8, 'all eight tokens verify');
	finish($_) for $gate, @sessions;
}
my $made_text = slurp_file($made);
like($made_text, qr/^[0-9a-f]{64}\n\z/, 'the file has one line of 64 hexadecimal digits');
is(sprintf('%04o', (stat $made)[2] & 07777), '0600', 'which only the server may read');
is_deeply([ grep { /pgsql_tmp/ } slurp_dir($node->data_dir) ], [], 'no temporary file is left');
is($node->safe_psql('postgres', 'SELECT count(*), min(generation) FROM biolink.root_key'), '1|1', 'its fingerprint is recorded once');
like($node->safe_psql('postgres', 'SELECT source, state, advice FROM biolink.key_status()'), qr/^made\|ok\|Move the file/, 'key_status() goes on advising to move it');

# the fingerprint is recorded with the transaction that uses the key
for my $end ('ROLLBACK', "PREPARE TRANSACTION 'x'; ROLLBACK PREPARED 'x'")
{
	$node->safe_psql('postgres', 'DELETE FROM biolink.root_key');
	my $session = session($node);
	ask($session, "BEGIN; $issue; $end");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM biolink.root_key'), '0', "$end: not recorded");
	ask($session, $issue);
	is($session->{err}, '', 'the next call finds the key');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM biolink.root_key'), '1', 'and records it');
	finish($session);
}
{
	$node->safe_psql('postgres', 'DELETE FROM biolink.root_key');
	my ($first, $second) = (session($node), session($node));
	ask($first, "BEGIN; $issue");
	send_sql($second, $issue);
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
	ask($first, 'ROLLBACK');
	like(answer($second), qr/^E/, 'who waited for a transaction that was rolled back goes on');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM biolink.root_key'), '1', 'and records the key itself');
	finish($_) for $first, $second;
}
is(slurp_file($made), $made_text, 'the key is still the first one');

# a second database of the cluster has the same key and its own record
$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql('second', 'CREATE EXTENSION biolink CASCADE');
$node->safe_psql('second', $issue);
is( $node->safe_psql('second', 'SELECT fingerprint FROM biolink.root_key'),
	$node->safe_psql('postgres', 'SELECT fingerprint FROM biolink.root_key'),
	'another database uses the same key');

# lost: nothing is made in its place
{
	my $recorded = $node->safe_psql('postgres', 'SELECT fingerprint FROM biolink.root_key');
	my $open = session($node);
	like(ask($open, $issue), qr/^E/, 'a session uses the key');
	rename $made, "$dir/moved" or die $!;
	fails($node, $issue, "biolink root key is missing.*$recorded", 'a key that is gone is missed, by its fingerprint');
	warns_once($node, 'biolink root key is missing', 'gone');
	ok(!-e $made, 'and no other one is made');
	like(ask($open, $issue), qr/^E/, 'who has read it can still sign');
	my $token = ask($open, $issue);

	# moved to where it belongs
	$node->append_conf('postgresql.conf', "biolink.root_key_file = '$dir/moved'");
	reload($node, $open);
	like(ask($open, $issue), qr/^E/, 'moved and named in biolink.root_key_file, it is found');
	is($node->safe_psql('postgres', "SELECT valid FROM biolink.verify_token('$token')"), 't', 'and earlier tokens verify');
	is($node->safe_psql('postgres', 'SELECT source, location, state, advice FROM biolink.key_status()'), "file|$dir/moved|ok|", 'no advice is left');
	finish($open);
}

# ---- another database from here on: the key of the test vectors ----------------

$node->safe_psql('postgres', 'DELETE FROM biolink.root_key');
write_key("$dir/key", "$test_key\n");
$node->append_conf('postgresql.conf', "biolink.root_key_file = '$dir/key'");
reload($node);
$node->safe_psql('postgres', $issue);
is($node->safe_psql('postgres', $verify), 'valid', 'the golden token verifies');
is($node->safe_psql('postgres', 'SELECT fingerprint FROM biolink.root_key'), $test_fingerprint, 'the fingerprint is the golden one');

# files that are refused
my @refused = (
	[ 'empty', '', 0600, 'is malformed.*There is nothing in' ],
	[ 'short', substr($test_key, 1) . "\n", 0600, 'is malformed.*Line 1 .* has 63 characters instead of 64' ],
	[ 'long', "${test_key}0\n", 0600, 'is malformed.*Line 1 .* has 65 characters instead of 64' ],
	[ 'not hexadecimal', substr($test_key, 1) . "g\n", 0600, 'is malformed.*Line 1 .* other than hexadecimal digits' ],
	[ 'binary', "\xff\x00" x 32 . "\n", 0600, 'is malformed.*Line 1 .* other than hexadecimal digits' ],
	[ 'with an empty line', "$test_key\n\n", 0600, 'is malformed.*Line 2 .* has 0 characters' ],
	[ 'with spaces', " $test_key\n", 0600, 'is malformed.*Line 1 .* has 65 characters' ],
	[ 'with a line twice', "$test_key\n$other_key\n$test_key\n", 0600, 'is malformed.*Line 3 .* repeats line 1' ],
	[ 'far too long', join('', map { sprintf "%064x\n", $_ } 1 .. 33), 0600, 'is malformed.*more than 32 lines' ],
	[ 'endless', 'a' x 100000, 0600, 'is malformed' ],
	[ 'readable by the group', "$test_key\n", 0640, 'is not safe.*group or world access \(mode 0640\).*0600' ],
	[ 'readable by others', "$test_key\n", 0604, 'is not safe.*group or world access \(mode 0604\)' ],
	[ 'writable by others', "$test_key\n", 0602, 'is not safe.*group or world access \(mode 0602\)' ]);
for my $case (@refused)
{
	my ($name, $text, $mode, $pattern) = @$case;
	write_key("$dir/key", $text, $mode);
	fails($node, $issue, "biolink root key $pattern", "a file $name");
	warns_once($node, "biolink root key $pattern", $name);
}
unlink "$dir/key";
fails($node, $issue, 'biolink root key is missing.*No such file', 'no file');
warns_once($node, 'biolink root key is missing', 'no file');
mkdir "$dir/key";
fails($node, $issue, 'biolink root key cannot be read.*not a regular file', 'a directory');
rmdir "$dir/key";
system('mkfifo', '-m', '600', "$dir/key") == 0 or die;
fails($node, $issue, 'biolink root key cannot be read.*not a regular file', 'a pipe is refused, not waited for');

# forms that are taken
for my $case ([ 'upper case', uc($test_key) . "\n" ], [ 'no newline at the end', $test_key ], [ 'CR and LF', "$test_key\r\n" ])
{
	write_key("$dir/key", $case->[1]);
	is($node->safe_psql('postgres', $verify), 'valid', "$case->[0] is taken");
}
unlink "$dir/key";
write_key("$dir/real", "$test_key\n");
symlink "$dir/real", "$dir/key" or die;
is($node->safe_psql('postgres', $verify), 'valid', 'a symbolic link is followed');

# a file in the data directory: it works, but
write_key($node->data_dir . '/own.key', "$test_key\n");
$node->append_conf('postgresql.conf', "biolink.root_key_file = 'own.key'");
reload($node);
like( $node->safe_psql('postgres', 'SELECT source, location, state, advice FROM biolink.key_status()'),
	qr{^file\|.*/own\.key\|ok\|Keep the file outside the data directory},
	'a relative path starts from the data directory, and key_status() advises against it');
unlink $node->data_dir . '/own.key', "$dir/key";

# ---- another key, other generations ---------------------------------------------

write_key("$dir/key", "$test_key\n");
write_key("$dir/other", "$other_key\n");
$node->append_conf('postgresql.conf', "biolink.root_key_file = '$dir/key'");
reload($node);
{
	my $open = session($node);
	is(ask($open, $verify), 'valid', 'an open session verifies');
	$node->append_conf('postgresql.conf', "biolink.root_key_file = '$dir/other'");
	reload($node, $open);
	is(ask($open, $verify), 'unknown_key', 'after a reload it has forgotten the old key');
	like($open->{err}, qr/WARNING:  biolink root key is not the one/, 'and warns');
	ask($open, $issue);
	like($open->{err}, qr/ERROR:  biolink root key is not the one.*fingerprint [0-9a-f]{32}, recorded is $test_fingerprint/s, 'it does not sign, and names both fingerprints');
	fails($node, "SELECT biolink.identity_hash_sha256(1, 'email', sha256('x'))", "recorded is $test_fingerprint", 'identity hashes are refused as well');
	like($node->safe_psql('postgres', 'SELECT state, fingerprint_expected FROM biolink.key_status()'), qr/^mismatch\|$test_fingerprint$/, 'key_status() says so');

	# the right file under the same name counts at once, without a reload
	write_key("$dir/other", "$test_key\n");
	is(ask($open, $verify), 'valid', 'the right key is found again');

	# a second generation, appended
	write_key("$dir/other", "$test_key\n$other_key\n");
	reload($node, $open);
	is(ask($open, $verify), 'valid', 'a new generation leaves the old tokens valid');
	is($node->safe_psql('postgres', 'SELECT generation, state FROM biolink.key_status()'), "1|ok\n2|unrecorded", 'it is found');
	ask($open, $issue);
	is($node->safe_psql('postgres', 'SELECT generation, state FROM biolink.key_status()'), "1|ok\n2|ok", 'and recorded by the next call that writes');
	$node->safe_psql('postgres', "INSERT INTO biolink.key_epoch (creator_id, purpose, epoch, state, root_fingerprint)"
		. " SELECT 1234567, 'token', 2, 'active', fingerprint FROM biolink.root_key WHERE generation = 2");
	my $token = ask($open, $issue);
	is($node->safe_psql('postgres', "SELECT valid, epoch FROM biolink.verify_token('$token')"), 't|2', 'an epoch of the new generation signs');
	is(ask($open, $verify), 'valid', 'one of the old still verifies');

	# lines in another order, and the new one gone
	write_key("$dir/other", "$other_key\n$test_key\n");
	fails($node, $issue, "Generation 1 has fingerprint [0-9a-f]{32}, recorded is $test_fingerprint", 'generations in another order');
	write_key("$dir/other", "$test_key\n");
	fails($node, $issue, 'Generation 2 with the recorded fingerprint [0-9a-f]{32} is lacking', 'a generation that is lacking');
	is($node->safe_psql('postgres', 'SELECT generation, state FROM biolink.key_status()'), "1|ok\n2|missing", 'key_status() tells which');
	$node->safe_psql('postgres', 'DELETE FROM biolink.root_key WHERE generation = 2; DELETE FROM biolink.key_epoch');
	finish($open);
}

# ---- the key from a command ------------------------------------------------------

{
	my $command = sub {
		my ($text) = @_;
		$text =~ s/'/''/g;
		$node->append_conf('postgresql.conf', "biolink.root_key_command = '$text'");
		reload($node);
		return;
	};
	write_key("$dir/key", "$test_key\n");
	$command->("echo run >> $dir/runs; cat $dir/key");
	is($node->safe_psql('postgres', "$issue \\g /dev/null\n$verify"), 'valid', 'a command gives the key');
	is($node->safe_psql('postgres', 'SELECT source, location IS NULL, state, advice FROM biolink.key_status()'), 'command|t|ok|', 'key_status() says so');
	unlink "$dir/runs";
	is($node->safe_psql('postgres', "SELECT count(*) FROM generate_series(1, 100) g, biolink.verify_token('$golden', left('', g), '2026-01-01') WHERE valid"), '100', 'a hundred calls');
	is(slurp_file("$dir/runs"), "run\n", 'run it once');

	$command->("echo run >> $dir/runs; cat $dir/key; exit 3");
	fails($node, $issue, 'biolink root key cannot be read.*biolink\.root_key_command failed: child process exited with exit code 3', 'a command that fails');
	warns_once($node, 'biolink\.root_key_command failed', 'a command that fails');
	unlink "$dir/runs";
	$node->safe_psql('postgres', "SELECT count(*) FROM generate_series(1, 100) g, biolink.verify_token('$golden', left('', g), '2026-01-01') WHERE valid");
	cmp_ok(length(slurp_file("$dir/runs")), '<=', length("run\n") * 2, 'is not run for every token');
	$command->('kill -9 $$');
	fails($node, $issue, 'terminated by signal 9', 'a command that is killed');
	$command->('true');
	fails($node, $issue, 'There is nothing in the output of biolink\.root_key_command', 'a command that prints nothing');
	$command->('yes');
	fails($node, $issue, 'biolink root key is malformed', 'a command that never ends printing');
	$command->("cat $dir/no_such_file");
	fails($node, $issue, 'failed: child process exited with exit code 1', 'a command that finds nothing');

	# failing to find the key must not keep the server from starting
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'biolink'");
	$node->restart;
	is($node->safe_psql('postgres', "SELECT reason FROM biolink.verify_token('x')"), 'malformed', 'preloaded, without a key, the server starts and judges what it can');
	$command->('');
	is($node->safe_psql('postgres', "$issue \\g /dev/null\n$verify"), 'valid', 'preloaded, with a key, it does everything');
	$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
	$node->restart;
}

# ---- settings made by an ordinary user before the library is loaded ---------------

$node->safe_psql('postgres', 'CREATE ROLE ordinary LOGIN; GRANT biolink_app TO ordinary');
for my $way (
	[ 'SET', {}, "SET biolink.root_key_command = 'touch $dir/owned'; SET biolink.root_key_file = '$dir/no_such_file';" ],
	[ 'PGOPTIONS', { PGOPTIONS => "-c biolink.root_key_command=touch\\ $dir/owned -c biolink.root_key_file=$dir/no_such_file" }, '' ],
	[ 'empty PGOPTIONS', { PGOPTIONS => '-c biolink.root_key_command= -c biolink.root_key_file=' }, '' ])
{
	my ($name, $env, $before) = @$way;
	my $session = session($node, user => 'ordinary', env => $env);
	is(ask($session, "$before $verify"), 'valid', "$name: the server's setting stays in force");
	like($session->{err}, qr/biolink\.root_key_command.* cannot be changed now/, "$name: the user is told so");
	like(ask($session, $issue), qr/^E/, "$name: signing as well");
	ok(!-e "$dir/owned", "$name: the command was not run");
	ask($session, "SET biolink.root_key_command = 'touch $dir/owned'");
	like($session->{err}, qr/cannot be changed now/, "$name: nor can it be set later");
	finish($session);
}

# what a superuser gives a role is refused likewise, and the configuration holds
$node->safe_psql('postgres', "ALTER ROLE ordinary SET biolink.root_key_file = '$dir/no_such_file'");
{
	my $session = session($node, user => 'ordinary');
	is(ask($session, $verify), 'valid', 'ALTER ROLE: the configuration holds');
	finish($session);
}
$node->safe_psql('postgres', 'ALTER ROLE ordinary RESET ALL');

# ---- a revocation counts from the next statement, everywhere -----------------------

my $revoke = "INSERT INTO biolink.key_epoch (creator_id, purpose, epoch, state) VALUES (1234567, 'token', 1, 'revoked')";
for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	my ($warm, $cold) = (session($node), session($node));
	ask($warm, "BEGIN ISOLATION LEVEL $level");
	is(ask($warm, $verify), 'valid', "$level: a key is used and kept");
	like(ask($warm, $issue), qr/^E/, "$level: to sign as well");
	ask($cold, "BEGIN ISOLATION LEVEL $level");
	ask($cold, 'SELECT count(*) FROM pg_class');
	$node->safe_psql('postgres', $revoke);
	is(ask($warm, $verify), 'revoked_key', "$level: revoked elsewhere, it does not verify in the same transaction");
	is(ask($cold, $verify), 'revoked_key', "$level: nor where it is first used under an older snapshot");
	is(ask($cold, $verify), 'revoked_key', "$level: nor the second time");
	ask($warm, "SAVEPOINT a; $issue");
	like($warm->{err}, qr/has no active key for purpose "token"/, "$level: nor sign");
	ask($warm, 'ROLLBACK TO a');
	$node->safe_psql('postgres', "UPDATE biolink.key_epoch SET state = 'retiring'");
	is(ask($warm, $verify), 'valid', "$level: retiring, it verifies again");
	$node->safe_psql('postgres', 'DELETE FROM biolink.key_epoch');
	like(ask($warm, $issue), qr/^E/, "$level: the row gone, it signs again");
	ask($_, 'COMMIT') for $warm, $cold;
	is(ask($cold, $verify), 'valid', "$level: and so everywhere");
	finish($_) for $warm, $cold;
}
{
	# TRUNCATE is noticed like any other change
	my $idle = session($node);
	$node->safe_psql('postgres', $revoke);
	is(ask($idle, $verify), 'revoked_key', 'revoked');
	$node->safe_psql('postgres', 'TRUNCATE biolink.key_epoch');
	is(ask($idle, $verify), 'valid', 'truncated, the row counts no more');
	finish($idle);

	# rolled back, a revocation never was
	my ($revoker, $other) = (session($node), session($node));
	is(ask($other, $verify), 'valid', 'before');
	ask($revoker, "BEGIN; $revoke");
	is(ask($revoker, $verify), 'revoked_key', 'not committed, it counts for its own transaction');
	is(ask($other, $verify), 'valid', 'and for no other');
	ask($revoker, 'ROLLBACK');
	is(ask($revoker, $verify), 'valid', 'rolled back, for none');

	# and one made where triggers are for replicas only is not missed
	ask($revoker, "SET session_replication_role = replica; $revoke");
	is(ask($other, $verify), 'revoked_key', 'session_replication_role does not hide it');
	$node->safe_psql('postgres', 'DELETE FROM biolink.key_epoch');
	finish($_) for $revoker, $other;
}

# ---- standby -------------------------------------------------------------------------

{
	$node->backup('base');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'base', has_streaming => 1);
	$standby->append_conf('postgresql.conf', "hot_standby = on\n");
	$standby->start;
	$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));

	my $open = session($standby);
	is(ask($open, $verify), 'valid', 'a standby with the key verifies');
	like(ask($open, $issue), qr/^E/, 'and signs, since there is nothing to record');
	$node->safe_psql('postgres', $revoke);
	$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
	is(ask($open, $verify), 'revoked_key', 'a revocation reaches its open sessions');
	$node->safe_psql('postgres', 'DELETE FROM biolink.key_epoch');
	$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
	is(ask($open, $verify), 'valid', 'and so does its end');
	finish($open);

	# without the key, and in a database that has none recorded, it makes none
	$node->safe_psql('postgres', 'CREATE DATABASE third');
	$node->safe_psql('third', 'CREATE EXTENSION biolink CASCADE');
	$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
	$standby->append_conf('postgresql.conf', "biolink.root_key_file = ''\n");
	reload($standby);
	fails($standby, $issue, "biolink root key is missing.*$test_fingerprint", 'without the key a standby says what is missing');
	warns_once($standby, 'biolink root key is missing', 'standby');
	fails($standby, $issue, 'there is no biolink root key yet', 'a standby makes no key', 'third');
	ok(!-e $standby->data_dir . '/biolink.key', 'no file was made');
	$standby->stop;
}

# ---- nothing of any key in the log ----------------------------------------------------

$node->stop;
my $log = slurp_file($node->logfile);
chomp $made_text;
unlike($log, qr/\Q$test_key\E|\Q$other_key\E|\Q$made_text\E/i, 'no key is in the log');

done_testing();
