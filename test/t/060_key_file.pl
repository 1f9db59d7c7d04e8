# The life of the root key that biolink makes itself, in biolink.key in the data directory: what becomes of the
# file when a standby takes over, when a server is rewound, upgraded, backed up or restored, and when it dies
# while the key is being made.
#
# Invariants that every part checks in its own way:
#	- No fingerprint without its file: what is recorded was in a whole, synced file before.  A file without a
#	  fingerprint is taken over by the next call.
#	- No second key: nothing replaces a file that is there, good or bad, and where a fingerprint is recorded
#	  nothing is made in the place of a lost one.
#	- Whoever lacks the key says so, with its fingerprint; all that needs no key goes on; and the file put back
#	  heals it, in open sessions too.
#
# Where else root keys may come from, and which files are refused: 010_root_key.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $dir = PostgreSQL::Test::Utils::tempdir;
our $database = 'shop';

my $issue = "SELECT biolink.issue_token(1, 'session', biolink.uuid_v7())";
my $hash = "SELECT biolink.identity_hash_sha256(1, 'email', sha256('x'))";
my $recorded = 'SELECT fingerprint FROM biolink.root_key';
my $found = 'SELECT fingerprint_found FROM biolink.key_status()';
my $made = qr/^NOTICE:  made a biolink root key in file/;
my $missing = qr/^ERROR:  biolink root key is missing/;

# ---- sessions that stay open ------------------------------------------------

# session starts a psql that stays connected.
sub session
{
	my ($node, $in) = @_;
	my %session = (in => '', out => '', err => '');

	$session{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($in // $database) ],
		'<', \$session{in}, '>', \$session{out}, '2>', \$session{err}, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return \%session;
}

# send_sql hands over statements without waiting.
sub send_sql
{
	my ($session, $sql) = @_;
	$session->{out} = $session->{err} = '';
	$session->{in} .= "$sql;\n\\echo __end__\n\\warn __end__\n";
	$session->{run}->pump_nb while $session->{in} ne '';
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
sub ask { send_sql(@_); return answer($_[0]) }

# says asks, checks the messages, and returns the answer.
sub says
{
	my ($session, $sql, $pattern, $name) = @_;
	my $out = ask($session, $sql);
	like($session->{err}, $pattern, $name);
	return $out;
}

# finish ends sessions, whether their server still lives or not.
sub finish { eval { $_->{in} .= "\\q\n"; $_->{run}->finish } for @_; return }

# reload makes the server read its configuration, and waits until a session has.
sub reload
{
	my ($node, $session) = @_;
	my $before = ask($session, 'SELECT pg_conf_load_time()');
	$node->reload;
	sleep 0.01 until ask($session, "SELECT pg_conf_load_time() > '$before'") eq 't';
	return;
}

# ---- files and databases -----------------------------------------------------

# key_file is where the made key is.
sub key_file { return $_[0]->data_dir . '/biolink.key' }

# key_text is what is in it; nothing where there is no file.
sub key_text { return -e key_file($_[0]) ? slurp_file(key_file($_[0])) : '' }

# half_made gives the files of keys that were never finished.
sub half_made { return join ' ', grep { /biolink/ } glob $_[0]->data_dir . '/{,base/pgsql_tmp/}pgsql_tmp*' }

# put_key puts text into a root key file as an administrator would.
sub put_key
{
	my ($path, $text, $mode) = @_;
	unlink $path;
	open my $file, '>', $path or die "$path: $!";
	print $file $text;
	close $file or die "$path: $!";
	return chmod($mode // 0600, $path) || die "$path: $!";
}

# new_shop makes a database with a creator and a link.
sub new_shop
{
	my ($node, $name) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	return $node->safe_psql($name, q{CREATE EXTENSION biolink CASCADE; INSERT INTO biolink.creator (handle) VALUES ('ann');
		INSERT INTO biolink.link (creator_id, slug, url) VALUES (1, 'x', 'https://shop.example/')});
}

# click is the statement that clicks under a key of the caller's.
sub click { return qq{SELECT token FROM biolink.click(1, 'x', '{"key": "$_[0]", "visitor": "v", "user_agent": "Mozilla/5.0 (iPhone)"}')} }

# verdicts judges tokens: 'valid' or the reason.
sub verdicts
{
	my ($node, @tokens) = @_;
	return $node->safe_psql($database, "SELECT string_agg(coalesce(v.reason, 'valid'), ' ' ORDER BY n) FROM unnest('{" . join(',', @tokens)
		. "}'::text[]) WITH ORDINALITY AS t (token, n), biolink.verify_token(t.token) AS v");
}

# refuses checks that each statement fails with 55000, and of what the errors speak.
sub refuses
{
	my ($node, $pattern, $name, @statements) = @_;
	my ($result, $out, $err) = $node->psql($database, join("\n", '\set VERBOSITY verbose', map { "$_;" } @statements), on_error_stop => 0);
	return is(scalar(grep { /$pattern/s } $err =~ /ERROR:  55000: (.*?)(?=LOCATION)/sg), scalar @statements, "$name: refused with 55000, and why") || diag $err;
}

# lacks checks everything about a server that lacks the key of that fingerprint.
sub lacks
{
	my ($node, $fingerprint, $token, $name) = @_;
	my $standby = $node->safe_psql('postgres', 'SELECT pg_is_in_recovery()') eq 't';
	my @needy = ($issue, $hash);

	push @needy, click('lost'), q{SELECT * FROM biolink.open_page(1, '{"key": "lost"}')}, q{SELECT * FROM biolink.park_event(1, 's', 'lost', 'r', '{}')},
		q{SELECT * FROM biolink.track(1, '{"kind": "order", "source": "s", "key": "lost", "order_id": "lost", "amount": 1, "currency": "EUR"}')} if !$standby;
	refuses($node, "^biolink root key is missing.*biolink\\.key.*root key of fingerprint $fingerprint\\..*HINT:  Put the file back, or set", $name, @needy);
	is($node->safe_psql($database, 'SELECT source, state, fingerprint_expected FROM biolink.key_status()'), "made|missing|$fingerprint", "$name: key_status() says what is missing");
	my ($result, $out, $err) = $node->psql($database, "SELECT reason FROM biolink.verify_token('$token')");
	like("$out $err", qr/^unknown_key .*WARNING:  biolink root key is missing.*$fingerprint/s, "$name: verifying goes on, with a warning");
	is($node->safe_psql($database, 'SELECT count(*) FILTER (WHERE NOT ok), count(*) >= 5 FROM biolink.integrity_check()'), '0|t', "$name: integrity_check() finds no fault");
	is($node->safe_psql($database, "SELECT conversions, net_revenue FROM biolink.performance(1, '{}', NULL, NULL) WHERE currency = 'EUR'"), '1.000000|4200', "$name: analysts see all there was");
	is($node->safe_psql($database, q{SELECT status, reason FROM biolink.click(1, 'y', '{}')}), 'refused|unknown_link', "$name: a click that stores nothing gets its answer");
	is($node->safe_psql($database, "CALL biolink.run_job('attribute'); CALL biolink.run_job('maintain'); UPDATE biolink.link SET title = 't'; SELECT 1"), '1', "$name: jobs and configuration work") if !$standby;
	return ok(!-e key_file($node), "$name: no other key was made");
}

# holds checks that a server has its key again: old and new tokens, old and new events.
sub holds
{
	my ($node, $fingerprint, $name, @tokens) = @_;

	is($node->safe_psql($database, "$recorded; $found"), "$fingerprint\n$fingerprint", "$name: the key is the recorded one");
	is(verdicts($node, @tokens, $node->safe_psql($database, $issue)), join(' ', ('valid') x (@tokens + 1)), "$name: old and new tokens verify");
	is($node->safe_psql($database, q{SELECT status FROM biolink.click(1, 'x', '{"key": "first", "visitor": "v", "user_agent": "Mozilla/5.0 (iPhone)"}')}), 'duplicate', "$name: an old click is known");
	$node->safe_psql($database, click('again'));
	return is($node->safe_psql($database, "SELECT count(*) > 1, count(DISTINCT visitor) FROM biolink.event WHERE kind = 'click'"), 't|1', "$name: and its visitor");
}

# ---- a primary, and a standby made before the key ---------------------------------

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1, extra => [ '--no-locale', '--encoding=UTF8', '--allow-group-access' ]);
$primary->append_conf('postgresql.conf', "wal_keep_size = '256MB'");
$primary->start;
new_shop($primary, $database);
$primary->backup('early');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'early', has_streaming => 1);
$standby->start;

my $through = session($standby);
my ($fingerprint, $key, @tokens);

subtest 'a standby that is older than the key' => sub {
	says($through, $issue, qr/^ERROR:  there is no biolink root key yet/, 'a standby makes no key');
	@tokens = ($primary->safe_psql($database, click('first')), $primary->safe_psql($database, $issue));
	$primary->safe_psql($database, qq{SELECT biolink.track(1, '{"kind": "order", "source": "s", "key": "o", "order_id": "o", "amount": 4200, "currency": "EUR", "token": "$tokens[0]"}');
		CALL biolink.run_job('attribute')});
	$fingerprint = $primary->safe_psql($database, $recorded);
	$key = key_text($primary);
	put_key("$dir/saved", $key);
	$primary->wait_for_catchup($standby);

	is(ask($through, $recorded), $fingerprint, 'its fingerprint reaches the standby');
	lacks($standby, $fingerprint, $tokens[0], 'standby');
	$standby->promote;
	lacks($standby, $fingerprint, $tokens[0], 'promoted');
	says($through, $issue, $missing, 'a session of before says the same');
};

subtest 'pg_rewind' => sub {
	# rewind makes the old primary a standby of the new one.
	my $rewind = sub {
		my $conf = slurp_file($primary->data_dir . '/postgresql.conf');

		$primary->safe_psql($database, click('diverged'));
		$primary->stop;
		$standby->safe_psql('postgres', 'CHECKPOINT');
		ok(run_log([ 'pg_rewind', '--no-sync', '--source-server', $standby->connstr('postgres'), '--target-pgdata', $primary->data_dir ]), 'pg_rewind') or die;
		unlike(slurp_file($primary->data_dir . '/postgresql.conf'), qr/root_key_file/, 'it brings the other configuration along');
		put_key($primary->data_dir . '/postgresql.conf', $conf);
		$primary->enable_streaming($standby);
		$primary->start;
		$standby->wait_for_catchup($primary);
	};

	$rewind->();
	ok(!-e key_file($primary), 'a file that the new primary does not have is removed');
	lacks($primary, $fingerprint, $tokens[0], 'rewound');

	# one way back: the key outside the data directory
	my $open = session($primary);
	says($open, $issue, $missing, 'a session there');
	$primary->append_conf('postgresql.conf', "biolink.root_key_file = '$dir/saved'");
	reload($primary, $open);
	is(ask($open, "SELECT valid FROM biolink.verify_token('$tokens[0]')"), 't', 'biolink.root_key_file heals it');
	finish($open);
	$primary->promote;
	holds($primary, $fingerprint, 'primary again', @tokens);

	# the other one: the file put back, without restart or reload
	put_key(key_file($standby), $key);
	push @tokens, ask($through, $issue);
	holds($standby, $fingerprint, 'the file put back, in a session that missed it', @tokens);

	$primary->append_conf('postgresql.conf', "biolink.root_key_file = ''");
	$rewind->();
	is(key_text($primary), $key, 'a file that the new primary has is copied');
	refuses($primary, '^biolink root key is not safe.*mode 0640.*0600', 'in a cluster with group access, whose mode it gets', $issue);
	chmod 0600, key_file($primary) or die $!;
	is(verdicts($primary, @tokens), 'valid valid valid', 'its mode put right, the key is there');

	$primary->backup('late');
	my $copy = $primary->backup_dir . '/late/biolink.key';
	is(slurp_file($copy), $key, 'pg_basebackup copies the file');
	is((stat $copy)[2] & 07777, 0600, 'with its mode');
	$primary->stop;
};

$standby->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", $database ], 'a dump for later');
finish($through);
$standby->stop;

subtest 'pg_upgrade' => sub {
	my $upgraded = PostgreSQL::Test::Cluster->new('upgraded');
	my $bin = $upgraded->config_data('--bindir');
	plan skip_all => "there is no $bin/pg_upgrade" if !-x "$bin/pg_upgrade";

	$upgraded->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
	# it leaves a script where it runs
	command_ok([ 'sh', '-c', 'cd "$0" && exec "$@"', $dir, "$bin/pg_upgrade", '--no-sync', '-b', $bin, '-B', $bin,
		'-d', $standby->data_dir, '-D', $upgraded->data_dir, '-s', $upgraded->host, '-p', $standby->port, '-P', $upgraded->port ], 'pg_upgrade');
	$upgraded->start;
	lacks($upgraded, $fingerprint, $tokens[0], 'upgraded');
	my $open = session($upgraded);
	says($open, $issue, $missing, 'a session misses the key');
	put_key(key_file($upgraded), key_text($standby));
	holds($upgraded, $fingerprint, 'once the file was copied, in that session too', @tokens, ask($open, $issue));
	finish($open);
	$upgraded->stop;
};

# ---- a cluster in which keys are made under all circumstances --------------------

my $life = PostgreSQL::Test::Cluster->new('life');
$life->init(extra => [ '--no-locale', '--encoding=UTF8', '--allow-group-access' ]);
$life->append_conf('postgresql.conf', "restart_after_crash = on\nmax_prepared_transactions = 5\n");
$life->start;
new_shop($life, $_) for $database, 'other';
my $file = key_file($life);

# start_anew makes both databases forget their key, takes the file away, and ends sessions.
sub start_anew
{
	finish(@_);
	$life->safe_psql($_, 'DELETE FROM biolink.root_key') for $database, 'other';
	return unlink $file;
}

# one_key checks that file and databases agree.
sub one_key
{
	my ($name, @others) = @_;
	my @fingerprints = split /\n/, $life->safe_psql($database, "$found; $recorded");

	push @fingerprints, map { $life->safe_psql($_, $recorded) } @others;
	like(key_text($life), qr/^[0-9a-f]{64}\n\z/, "$name: the file is whole");
	is("@fingerprints", join(' ', ($fingerprints[0]) x (2 + @others)), "$name: and what is recorded is its fingerprint");
	is(half_made($life), '', "$name: nothing half-made is left");
	return $fingerprints[0];
}

# no_key checks that there is neither file nor fingerprint.
sub no_key { return is(join('', key_text($life), $life->safe_psql($database, $recorded), half_made($life)), '', "$_[0]: no file, no fingerprint, nothing half-made") }

subtest 'a dump restored where there is no key' => sub {
	local $database = 'restored';

	$life->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
	$life->command_ok([ 'pg_restore', '-e', '-d', 'restored', "$dir/dump" ], 'pg_restore');
	lacks($life, $fingerprint, $tokens[0], 'restored');
	put_key($file, $key);
	holds($life, $fingerprint, 'with the file', @tokens);
	unlink $file;
};

subtest 'what is in the way is not replaced' => sub {
	for my $case (
		[ 'an empty file', sub { put_key($file, '') }, 'is malformed.*There is nothing in' ],
		[ 'a file without its last digit', sub { put_key($file, substr($key, 0, 63)) }, 'is malformed.*has 63 characters' ],
		[ 'the zeroes of a file never synced', sub { put_key($file, "\0" x 65) }, 'is malformed' ],
		[ 'a file nobody may read', sub { put_key($file, $key, 0000) }, 'cannot be read.*Permission denied' ],
		[ 'a link to what is not there', sub { symlink "$dir/not_mounted", $file or die $! }, 'is missing.*Put the file back' ],
		[ 'a directory', sub { mkdir $file or die $! }, 'cannot be read.*not a regular file' ])
	{
		my ($name, $make, $pattern) = @$case;
		$make->();
		my @before = lstat $file;
		refuses($life, "^biolink root key $pattern", $name, $issue, click('refused'));
		is_deeply([ (lstat $file)[ 0 .. 3, 7, 9 ] ], [ @before[ 0 .. 3, 7, 9 ] ], "$name: left alone");
		-d $file ? rmdir $file : unlink $file;
		no_key($name);
	}
	put_key($file, $key);
	like($life->safe_psql($database, $issue), qr/^E/, 'the right one is taken');
	start_anew();
};

subtest 'the making' => sub {
	chmod 0550, $life->data_dir or die $!;
	my ($result, $out, $err) = $life->psql($database, "\\set VERBOSITY verbose\n$issue");
	chmod 0750, $life->data_dir or die $!;
	like($err, qr/ERROR:  42501: could not make a biolink root key.*Could not create file "[^"]*biolink\.key[^"]*": Permission denied.*HINT:  Make a root key yourself/s,
		'a data directory that cannot be written to: the call fails');
	no_key('not writable');

	my $open = session($life);
	says($open, 'BEGIN READ ONLY; ' . click('read only'), qr/ERROR:  there is no biolink root key yet/, 'a transaction that may not write makes none');
	no_key('read only');

	put_key($life->data_dir . '/base/pgsql_tmp/pgsql_tmp_biolink.key.' . ask($open, 'ROLLBACK; SELECT pg_backend_pid()'), $key);
	says($open, $issue, $made, 'what a backend of the same process id has left is in nobody\'s way');
	one_key('made');
	isnt(key_text($life), $key, 'nor is it used');
	is((stat $file)[2] & 07777, 0600, 'the file is for the server only, whatever the mode of the data directory');

	# lost for good
	unlink $file or die $!;
	says($open, 'DELETE FROM biolink.root_key', qr/^$/, 'its fingerprint is deleted');
	reload($life, $open);
	says($open, $issue, $made, 'after a reload an open session starts anew');
	one_key('anew');
	start_anew($open);
};

subtest 'rolled back' => sub {
	my ($first, $second) = (session($life), session($life));
	my $token = says($first, "BEGIN; $issue", $made, 'made');
	ask($first, 'ROLLBACK');
	is($life->safe_psql($database, $recorded), '', 'not recorded');
	my $text = key_text($life);
	says($second, $issue, qr/^$/, 'another session takes it over and makes none');
	is(key_text($life), $text, 'it is the same');
	one_key('taken over');
	is(verdicts($life, $token), 'valid', 'what was signed in the transaction rolled back holds');
	start_anew($first, $second);

	# a key that only memory has is no key
	$first = session($life);
	ask($first, "BEGIN; $issue; ROLLBACK");
	unlink $file;
	$token = says($first, $issue, $made, 'the file gone before anything was recorded, another one is made');
	one_key('made again');
	is(verdicts($life, $token), 'valid', 'and signed with');
	start_anew($first);

	# nor is one whose file was replaced while nothing was recorded
	($first, $second) = (session($life), session($life));
	ask($first, "BEGIN; $issue; ROLLBACK; $hash");
	ask($second, $found);
	put_key($file, $key);
	says($second, $issue, qr/^$/, 'replaced before anything was recorded, the new file counts');
	one_key('replaced');
	is(ask($first, $hash), ask($second, $hash), 'for who has read the old one as well');
	start_anew($first, $second);
};

subtest 'a prepared transaction has made it' => sub {
	my $token = $life->safe_psql($database, "BEGIN; $issue; PREPARE TRANSACTION 'p'");
	my $text = key_text($life);
	$life->stop('immediate');
	$life->start;
	send_sql(my $waiting = session($life), $issue);
	$life->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
	$life->safe_psql($database, "ROLLBACK PREPARED 'p'");
	like(answer($waiting), qr/^E/, 'after a crash and ROLLBACK PREPARED who waited goes on');
	is($waiting->{err} . key_text($life), $text, 'with the key that there is');
	one_key('prepared');
	is(verdicts($life, $token), 'valid', 'what was signed in the prepared transaction holds');
	start_anew($waiting);
};

subtest 'two databases at the same moment' => sub {
	for my $round (1 .. 3)
	{
		my @sessions = map { session($life, $_) } ($database, 'other') x 4;
		ask($_, $recorded) for @sessions;
		my $start = $life->safe_psql('postgres', "SELECT clock_timestamp() + '200 ms'");
		send_sql($_, "DO 'BEGIN PERFORM pg_sleep(extract(epoch FROM timestamptz ''$start'' - clock_timestamp())); END'; $issue") for @sessions;
		my @issued = map { answer($_) } @sessions;
		is(scalar(grep { $_->{err} =~ $made } @sessions), 1, 'one of eight calls makes it');
		one_key('both', 'other');
		is(verdicts($life, @issued), join(' ', ('valid') x 8), 'tokens of both databases verify');
		start_anew(@sessions);
	}
};

subtest 'killed while the key is being made' => sub {
	# as soon as something can be seen, and somewhat later in each of the four turns
	my @moments = (
		[ 'a temporary file', sub { half_made($life) ne '' } ],
		[ 'the file', sub { -e $file } ],
		[ 'the file alone', sub { -e $file && half_made($life) eq '' } ],
		[ 'the call', sub { 1 } ],
		[ 'the answer', sub { 0 } ]);
	my %outcomes;

	for my $round (0 .. 19)
	{
		my ($what, $seen) = @{ $moments[ $round % 5 ] };
		my $delay = int($round / 5) * 0.0003;
		my $name = "round $round, at $what" . ($round % 2 ? ', not committed' : '');
		my $session = session($life);
		my $pid = ask($session, ($round % 2 ? 'BEGIN; ' : '') . 'SELECT pg_backend_pid()');
		my ($log, $end) = (-s $life->logfile, time + 60);

		send_sql($session, $round % 4 < 2 ? $issue : click("round $round"));
		$session->{run}->pump_nb until $session->{out} =~ /__end__/ || $seen->();
		sleep $delay;
		if ($round % 7 == 6)
		{
			$life->stop('immediate');
			$life->start;
		}
		else
		{
			kill 9, $pid;
			$life->wait_for_log(qr/all server processes terminated; reinitializing/, $log);
			sleep 0.02 until system('pg_isready', '-q', '-d', $life->connstr('postgres')) == 0 || time > $end;
		}
		finish($session);

		my ($after, $text) = ($life->safe_psql($database, $recorded), key_text($life));
		$outcomes{ $after ne '' ? 'key and fingerprint' : $text ne '' ? 'key without fingerprint' : 'neither' }++;
		ok($after eq '' || $text ne '', "$name: no fingerprint without its file");
		is(half_made($life), '', "$name: nothing half-made is left");
		my ($result, $out, $err) = $life->psql($database, $issue);
		is($err =~ /NOTICE:  made/ ? 'made' : 'taken over', $text eq '' ? 'made' : 'taken over', "$name: the next call makes a key only where there is none");
		is(key_text($life), $text, "$name: the key is the same") if $text ne '';
		my $now = one_key($name);
		is($now, $after, "$name: the one that was recorded") if $after ne '';
		is(verdicts($life, $1), 'valid', "$name: what was signed before holds") if $session->{out} =~ /^(E\S{50,})$/m;
		start_anew();
	}
	note join ', ', map { "$_: $outcomes{$_}" } sort keys %outcomes;
	cmp_ok($outcomes{'key without fingerprint'} // 0, '>', 0, 'some were killed in between');
	cmp_ok($outcomes{'key and fingerprint'} // 0, '>', 0, 'some afterwards');
};

subtest 'a dump restored where there is another key' => sub {
	$life->safe_psql($_, $issue) for $database, 'other';
	my $own = one_key('two databases share the key', 'other');
	$life->safe_psql('postgres', 'CREATE DATABASE again TEMPLATE template0');
	$life->command_ok([ 'pg_restore', '-e', '-d', 'again', "$dir/dump" ], 'pg_restore');
	{
		local $database = 'again';
		refuses($life, "^biolink root key is not the one this database was used with.*fingerprint $own, recorded is $fingerprint.*Restore the root key", 'restored', $issue, $hash, click('lost'));
		is(verdicts($life, @tokens), 'unknown_key unknown_key unknown_key', 'its tokens cannot be judged');
		is($life->safe_psql($database, 'SELECT state, fingerprint_found, fingerprint_expected FROM biolink.key_status()'), "mismatch|$own|$fingerprint", 'key_status() shows both');
	}
	is(one_key('the other databases', 'other'), $own, 'they and the file are as they were');
	like($life->safe_psql($database, $issue), qr/^E/, 'and they work on');
};

done_testing();
