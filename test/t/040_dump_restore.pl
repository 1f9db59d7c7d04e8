# A database full of everything, dumped and restored: into the same cluster and
# into another one.  Nothing is said, nothing differs, and work goes on there.
# Then: dropping the extension and creating it again, under backends that hold
# cached plans and rows of the old one.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root_key = join '', map { sprintf '%02x', $_ } 0 .. 31;
my $other_key = 'f0' x 32;
my $dir = PostgreSQL::Test::Utils::tempdir;

# ---- helpers ------------------------------------------------------------------

# key_file writes a root key to a file of that name and returns its path.
sub key_file
{
	my ($name, $key) = @_;
	my $path = "$dir/$name";

	umask 0077;
	open my $file, '>', $path or die "$path: $!";
	print $file "$key\n";
	close $file or die "$path: $!";
	return $path;
}

# new_cluster makes and starts a cluster, with a root key file or without.
sub new_cluster
{
	my ($name, $key_file) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
	$node->append_conf('postgresql.conf', "timezone = 'UTC'\nautovacuum = off\n");
	$node->append_conf('postgresql.conf', "biolink.root_key_file = '$key_file'\n") if defined $key_file;
	$node->start;
	return $node;
}

# silent runs a command that must succeed and say nothing at all.
sub silent
{
	my ($node, $command, $name) = @_;

	$node->command_checks_all($command, 0, [qr/^$/], [qr/^$/], $name);
	return;
}

# same is is() for long texts: of a difference only its first line is shown.
sub same
{
	my ($got, $expected, $name) = @_;
	my @got = split /\n/, $got;
	my @expected = split /\n/, $expected;
	my $i = 0;

	return if ok($got eq $expected, $name);
	$i++ while defined $got[$i] && defined $expected[$i] && $got[$i] eq $expected[$i];
	diag 'lines: ' . @got . ', expected: ' . @expected . "\nthe first that differs: " . ($got[$i] // '(none)') . "\nexpected: " . ($expected[$i] // '(none)');
	return;
}

# rows returns what a query gives, one line a row, in the order of the text.
sub rows
{
	my ($node, $database, $query) = @_;

	return $node->safe_psql($database, "SELECT q::text FROM ($query) AS q ORDER BY q::text COLLATE \"C\"");
}

# relations lists what holds or shows data.
my $relations = q{SELECT c.relname, c.relkind FROM pg_class AS c
	WHERE c.relnamespace = 'biolink'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')};

# is_copy compares everything that two databases hold, show and allow.
sub is_copy
{
	my ($node_a, $database_a, $node_b, $database_b, $name) = @_;
	my $list = rows($node_a, $database_a, $relations);

	same(rows($node_b, $database_b, $relations), $list, "$name: the same tables, views and sequences");
	for my $line (split /\n/, $list)
	{
		my ($relation, $kind) = $line =~ /^\((\w+),(\w)\)$/ or die $line;
		# transaction ids and runs of jobs mean nothing elsewhere, so these rows stay behind
		next if $relation =~ /^(?:job_candidate|job_memory|job_run|job_run_run_id_seq|job_status|worker_status)$/;
		my $query = "SELECT * FROM biolink.$relation";
		$query = "SELECT last_value, is_called FROM biolink.$relation" if $kind eq 'S';
		my $rows = rows($node_a, $database_a, $query);
		same(rows($node_b, $database_b, $query), $rows, "$name: $relation is equal (" . ($rows =~ tr/\n// + ($rows ne '')) . " rows)");
	}

	for my $question (
		[ 'performance()', q{SELECT c.creator_id, m, p.* FROM biolink.creator AS c, unnest('{first,linear,time_decay}'::text[]) AS m,
			biolink.performance(c.creator_id, '{month,channel,link,device}', NULL, NULL, m) AS p} ],
		[ 'integrity_check()', 'SELECT * FROM biolink.integrity_check()' ],
		[ 'key_status()', 'SELECT s.generation, s.fingerprint_found, s.fingerprint_expected, s.state FROM biolink.key_status() AS s' ],
		[ 'rights on everything', q{
			SELECT 'schema', nspname::text AS object, nspowner::regrole::text AS owner, a.grantor::regrole::text, a.grantee::regrole::text, a.privilege_type, a.is_grantable
				FROM pg_namespace LEFT JOIN LATERAL aclexplode(nspacl) AS a ON true WHERE nspname = 'biolink'
			UNION ALL SELECT 'relation', relname, relowner::regrole::text, a.grantor::regrole::text, a.grantee::regrole::text, a.privilege_type, a.is_grantable
				FROM pg_class LEFT JOIN LATERAL aclexplode(relacl) AS a ON true WHERE relnamespace = 'biolink'::regnamespace
			UNION ALL SELECT 'function', oid::regprocedure::text, proowner::regrole::text, a.grantor::regrole::text, a.grantee::regrole::text, a.privilege_type, a.is_grantable
				FROM pg_proc LEFT JOIN LATERAL aclexplode(proacl) AS a ON true WHERE pronamespace = 'biolink'::regnamespace
			UNION ALL SELECT 'type', typname, typowner::regrole::text, a.grantor::regrole::text, a.grantee::regrole::text, a.privilege_type, a.is_grantable
				FROM pg_type LEFT JOIN LATERAL aclexplode(typacl) AS a ON true WHERE typnamespace = 'biolink'::regnamespace} ],
		[ 'what belongs to the extension', q{SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend AS d
			WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'biolink')} ],
		[ 'what a dump takes along', q{SELECT t::regclass::text FROM pg_extension, unnest(extconfig) AS t WHERE extname = 'biolink'} ],
		[ 'indexes', q{SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'biolink'} ],
		[ 'constraints', q{SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'biolink'::regnamespace} ],
		[ 'triggers', q{SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal} ],
		[ 'partitions', q{SELECT relname, pg_get_expr(relpartbound, oid), relrowsecurity, reloptions, obj_description(oid, 'pg_class') FROM pg_class
			WHERE relnamespace = 'biolink'::regnamespace AND relkind IN ('r', 'p')} ],
		[ 'column defaults and identities', q{SELECT attrelid::regclass::text, attname, attidentity, pg_get_expr(adbin, adrelid)
			FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
			WHERE c.relnamespace = 'biolink'::regnamespace AND c.relkind IN ('r', 'p') AND attnum > 0} ])
	{
		my ($what, $query) = @$question;
		same(rows($node_b, $database_b, $query), rows($node_a, $database_a, $query), "$name: $what");
	}
	return;
}

# schema_dump returns the definitions of a database as pg_dump writes them.
sub schema_dump
{
	my ($node, $database) = @_;
	my ($out, $err) = run_command([ 'pg_dump', '--schema-only', '-d', $node->connstr($database) ]);

	is($err, '', "pg_dump --schema-only of $database says nothing");
	# newer releases write a random word around the commands
	$out =~ s/^\\(un)?restrict .*$//mg;
	return $out;
}

# ---- a database full of everything ----------------------------------------------

my $key_file = key_file('root.key', $root_key);
my $origin = new_cluster('origin', $key_file);
$origin->safe_psql('postgres', 'CREATE DATABASE origin TEMPLATE template0');
$origin->safe_psql('origin', q{
	CREATE EXTENSION biolink CASCADE;
	CREATE ROLE shop LOGIN;
	CREATE ROLE reader LOGIN;
	CREATE ROLE operator LOGIN;
	GRANT biolink_app TO shop;
	GRANT biolink_analyst TO reader;
	GRANT biolink_admin TO operator;
});

# an ordinary schema beside it: the application keeps its tokens, and the answers it got
$origin->safe_psql('origin', q{
	CREATE SCHEMA shop AUTHORIZATION shop;
	SET SESSION AUTHORIZATION shop;
	CREATE TABLE shop.click (key text PRIMARY KEY, creator_id bigint, slug text, request jsonb, click_id uuid, token text, is_bot boolean, occurred_at timestamptz);
	CREATE TABLE shop.event (ordinal bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, creator_id bigint, event jsonb, status text, event_id uuid);

	INSERT INTO biolink.creator (handle, hosts, currency, time_zone, settings) VALUES
		('ana', '{ana.example,go.ana.example}', 'EUR', 'Europe/Lisbon', '{"lookback": {"session": "20 days"}, "half_life": "3 days"}'),
		('ben', '{ben.example}', 'USD', 'America/New_York', '{}');
	INSERT INTO biolink.campaign (creator_id, slug, name) SELECT c.creator_id, 'spring', 'Spring' FROM biolink.creator AS c;
	INSERT INTO biolink.offer (creator_id, name, price, currency, sort_order)
		SELECT c.creator_id, 'Offer ' || n, 1000 * n, c.currency, 10 - n FROM biolink.creator AS c, generate_series(1, 4) AS n;
	INSERT INTO biolink.link (creator_id, slug, url, offer_id, campaign_id, token_form, utm)
		SELECT o.creator_id, 'link-' || right(o.name, 1), 'https://shop.example/' || o.offer_id || '?q=ä%20b', o.offer_id, g.campaign_id,
			CASE WHEN o.offer_id % 2 = 0 THEN 'click_id' ELSE 'token' END, '{"utm_medium": "bio"}'
		FROM biolink.offer AS o JOIN biolink.campaign AS g USING (creator_id);
});
$origin->safe_psql('origin', q{
	SET SESSION AUTHORIZATION operator;
	INSERT INTO biolink.creator_member (creator_id, role_name) SELECT c.creator_id, 'reader' FROM biolink.creator AS c;
	-- a second key for tokens, so that both epochs are in use
	INSERT INTO biolink.key_epoch (creator_id, purpose, epoch, state) VALUES (1, 'token', 2, 'active');
});

# clicks of several months, every tenth of a bot; some continue a visit of the page
my $clicks = q{
	SET SESSION AUTHORIZATION shop;
	INSERT INTO shop.click (key, creator_id, slug, request, click_id, token, is_bot, occurred_at)
	SELECT r.key, r.creator_id, r.slug, r.request, c.click_id, c.token::text, c.is_bot, r.at
	FROM (
		SELECT 'click-' || n AS key, 1 + n % 2 AS creator_id, 'link-' || 1 + n / 3 % 4 AS slug, m.at,
			jsonb_build_object('key', 'click-' || n, 'occurred_at', to_char(m.at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
				'url', 'https://ana.example/link?utm_source=Instagram&fbclid=Iw' || n, 'visitor', 'cookie ' || n % 23,
				'referrer', CASE n % 3 WHEN 0 THEN 'https://www.tiktok.com/@ana' END, 'post', 'post-' || n % 4, 'caption', 'Ünïcödé',
				'ip', '198.51.100.' || n % 50, 'country', 'PT', 'campaign', CASE n % 5 WHEN 0 THEN 'spring' END, 'colour', 'blue',
				'user_agent', CASE n % 10 WHEN 9 THEN 'curl/8.5.0' ELSE 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Instagram ' || n % 7 END)
				|| CASE n % 4 WHEN 0 THEN jsonb_build_object('token', p.token) ELSE '{}' END AS request
		FROM generate_series(%d, %d) AS n
		CROSS JOIN LATERAL (SELECT '2025-10-28 12:00Z'::timestamptz + n * '15 hours'::interval AS at) AS m
		CROSS JOIN LATERAL biolink.open_page(1 + n % 2, jsonb_build_object('key', 'page-' || n, 'url', 'https://ana.example/',
			'occurred_at', to_char(m.at - '1 minute'::interval, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'user_agent', 'Mozilla/5.0 (iPhone) Instagram', 'post', 'post-1')) AS p
		OFFSET 0
	) AS r
	CROSS JOIN LATERAL biolink.click(r.creator_id, r.slug, r.request) AS c;
};

# what they lead to
my $events = q{
	SET SESSION AUTHORIZATION shop;
	CREATE TEMPORARY TABLE made AS
	SELECT row_number() OVER (ORDER BY v.phase, c.occurred_at, c.key) AS n, c.creator_id,
		jsonb_build_object('source', v.source, 'occurred_at', to_char(c.occurred_at + v.delay, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) || v.event AS event
	FROM (SELECT k.*, substr(k.key, 7)::int AS number, 'O-' || k.key AS order_id, 1000 + 7 * substr(k.key, 7)::int AS amount,
			(ARRAY['EUR', 'USD', 'JPY'])[1 + substr(k.key, 7)::int % 3] AS currency
		FROM shop.click AS k WHERE substr(k.key, 7)::int BETWEEN %d AND %d) AS c
	CROSS JOIN LATERAL (
		SELECT 1 AS phase, 'shop' AS source, '2 days'::interval AS delay,
			jsonb_build_object('kind', 'order', 'key', 'order-' || c.key, 'order_id', c.order_id, 'amount', c.amount, 'currency', c.currency, 'note', 'call +1 212 555 0100')
			|| CASE c.number % 7
				WHEN 0 THEN jsonb_build_object('token', c.token) WHEN 1 THEN jsonb_build_object('click_id', c.click_id)
				WHEN 2 THEN jsonb_build_object('visitor', 'cookie ' || c.number % 23) WHEN 3 THEN jsonb_build_object('token', reverse(c.token))
				WHEN 4 THEN jsonb_build_object('token', c.token, 'test', true) WHEN 5 THEN jsonb_build_object('consent', jsonb_build_object('measurement', 'denied'))
				ELSE '{}' END AS event
		WHERE c.number % 2 = 0
		UNION ALL SELECT 2, 'payments', '2 days 5 seconds', jsonb_build_object('kind', 'order', 'key', 'pay-' || c.key, 'order_id', c.order_id,
				'amount', c.amount + CASE c.number % 12 WHEN 0 THEN 1 ELSE 0 END, 'currency', c.currency, 'visitor', 'cookie ' || c.number % 23)
			|| CASE WHEN c.number % 7 = 4 THEN '{"test": true}' ELSE '{}' END::jsonb
			WHERE c.number % 6 = 0
		UNION ALL SELECT CASE c.number % 20 WHEN 0 THEN 0 ELSE 3 END, 'payments', '9 days', jsonb_build_object('kind', (ARRAY['refund', 'dispute', 'refund'])[1 + c.number % 3],
			'key', 'back-' || c.key, 'order_id', c.order_id, 'amount', c.amount / (1 + c.number % 3) + CASE c.number % 16 WHEN 0 THEN 5000 ELSE 0 END, 'currency', c.currency)
			WHERE c.number % 4 = 0
		UNION ALL SELECT 4, 'shop', '2 days', jsonb_build_object('kind', 'order', 'key', 'order-' || c.key, 'order_id', c.order_id, 'amount', c.amount + 250,
			'currency', c.currency, 'revision', 1) || CASE WHEN c.number % 7 = 4 THEN '{"test": true}' ELSE '{}' END::jsonb
			WHERE c.number % 10 = 0
		UNION ALL SELECT 1, 'forms', '1 hour', jsonb_build_object('kind', 'lead', 'key', 'lead-' || c.key, 'token', c.token) WHERE c.number % 5 = 1
		UNION ALL SELECT 1, 'forms', '1 hour', jsonb_build_object('kind', 'survey', 'key', 'survey-' || c.key, 'context', '{"score": 7, "mail": "ana@example.com"}'::jsonb) WHERE c.number % 15 = 2
	) AS v;
	INSERT INTO shop.event (creator_id, event, status, event_id)
		SELECT m.creator_id, m.event, t.status, t.event_id
		FROM (SELECT * FROM made ORDER BY n OFFSET 0) AS m CROSS JOIN LATERAL biolink.track(m.creator_id, m.event) AS t;
	SELECT status, count(*) FROM biolink.park_event(1, 'click_log', 'heartbeat-%d', 'not_a_click', '{"_heartbeat_": 1331923261, "mail": "ana@example.com"}') GROUP BY status;
};
my $jobs = q{
	SET SESSION AUTHORIZATION operator;
	CALL biolink.run_job('attribute');
	CALL biolink.run_job('maintain');
};

$origin->safe_psql('origin', sprintf($clicks, 1, 150));
$origin->safe_psql('origin', sprintf($events, 1, 150, 1));
$origin->safe_psql('origin', $jobs);

# Months before those, one of which is no longer kept and one that is still there.
my $settle = q{DO $$ BEGIN COMMIT; WHILE EXISTS (SELECT FROM biolink.job_candidate) LOOP PERFORM pg_sleep(0.1); CALL biolink.run_job('attribute'); CALL biolink.run_job('maintain'); END LOOP; END $$;};
$origin->safe_psql('origin', q{
	SET SESSION AUTHORIZATION shop;
	SELECT c.status FROM unnest('{2024-05-10,2025-02-10}'::date[]) AS d, biolink.click(1, 'link-1', jsonb_build_object('key', 'before-' || d, 'occurred_at', d || 'T10:00:00Z')) AS c;
});
$origin->safe_psql('origin', "$jobs; RESET SESSION AUTHORIZATION; $settle");
$origin->safe_psql('origin', "SET SESSION AUTHORIZATION operator; SELECT biolink.set_event_retention(now() - '2025-01-15'); $jobs; RESET SESSION AUTHORIZATION; $settle");
is($origin->safe_psql('origin', q{SELECT biolink.event_horizon() = '2025-01-01Z', to_regclass('biolink.event_2024_05'), to_regclass('biolink.event_2025_02')}),
	't||biolink.event_2025_02', 'a month is no longer kept');

# More after the jobs: rows in months without a partition, a queue that is not
# empty, touches that arrive late, and checkpoints that have them still to come.
$origin->safe_psql('origin', sprintf($clicks, 151, 200));
$origin->safe_psql('origin', sprintf($events, 151, 200, 2));
$origin->safe_psql('origin', q{
	SET SESSION AUTHORIZATION shop;
	SELECT c.status FROM shop.click AS k, biolink.click(k.creator_id, 'link-1', jsonb_build_object('key', 'late-' || k.key, 'visitor', k.request -> 'visitor',
			'occurred_at', to_char(k.occurred_at + '1 day'::interval, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'user_agent', 'Mozilla/5.0 (iPhone) TikTok')) AS c
		WHERE k.key IN ('click-14', 'click-28', 'click-50');
});

my %expected = (
	event_default => 'rows', attribution_queue => 'rows', event_parked => 'rows', ledger => 'rows', touch_path => 'rows', conversion => 'rows',
	event_retention => 'rows', order_ref => 'rows', post => 'rows', key_epoch => 'rows', job_checkpoint => 'rows', unattributed => 'rows', attribution => 'rows');
for my $relation (sort keys %expected)
{
	isnt($origin->safe_psql('origin', "SELECT count(*) FROM biolink.$relation"), '0', "there are rows in $relation to lose");
}
is($origin->safe_psql('origin', q{SELECT string_agg(DISTINCT e.status, ',' ORDER BY e.status) FROM shop.event AS e}),
	'conflict,inserted,merged,updated', 'events of every fate are among them');
is($origin->safe_psql('origin', q{SELECT count(*) > 3 FROM pg_inherits WHERE inhparent = 'biolink.event'::regclass}), 't', 'partitions were made at run time');
is($origin->safe_psql('origin', 'SELECT string_agg(rule, $$,$$) FROM biolink.integrity_check() WHERE NOT ok'), '', 'and all rules hold');

# ---- restored into the same cluster and into another one -------------------------

my $dump = "$dir/origin.dump";
silent($origin, [ 'pg_dump', '-Fc', '-f', $dump, '-d', 'origin' ], 'pg_dump says nothing');
$origin->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
silent($origin, [ 'pg_restore', '-e', '-d', 'restored', $dump ], 'pg_restore into the same cluster says nothing');

my ($roles, $roles_err) = run_command([ 'pg_dumpall', '--roles-only', '-d', $origin->connstr('postgres') ]);
is($roles_err, '', 'pg_dumpall --roles-only says nothing');
my $superuser = $origin->safe_psql('postgres', 'SELECT current_user');
# the one role that is there in every cluster
$roles =~ s/^CREATE ROLE "?\Q$superuser\E"?;$//m;

my $elsewhere = new_cluster('elsewhere');
my ($status, $out, $err) = $elsewhere->psql('postgres', $roles, on_error_stop => 1);
is("$status $err", '0 ', 'roles can be made in another cluster');
$elsewhere->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
silent($elsewhere, [ 'pg_restore', '-e', '-d', 'restored', $dump ], 'pg_restore into another cluster says nothing');

# ---- under no key and under another key -------------------------------------------

my $click = q{SELECT c.status FROM biolink.click(1, 'link-1', '{"visitor": "cookie 1", "user_agent": "Mozilla/5.0 (iPhone) Instagram"}') AS c};
my $order = q{SELECT t.status FROM biolink.track(1, '{"kind": "order", "source": "shop", "key": "under-no-key", "order_id": "U", "amount": 1, "currency": "EUR"}') AS t};
my $fingerprint = $origin->safe_psql('origin', 'SELECT fingerprint FROM biolink.root_key');

for my $case ([ 'no key', undef ], [ 'another key', key_file('other.key', $other_key) ])
{
	my ($name, $file) = @$case;

	if (defined $file)
	{
		$elsewhere->append_conf('postgresql.conf', "biolink.root_key_file = '$file'\n");
		$elsewhere->reload;
	}
	for my $statement ($click, $order, q{SELECT biolink.issue_token(1, 'session', biolink.uuid_v7())})
	{
		# a backend started before the reload may not have seen it yet
		($status, $out, $err) = $elsewhere->psql('restored', $statement);
		like($err, qr/ERROR: .*root key/, "under $name this is refused: " . substr($statement, 0, 40));
		if (defined $file)
		{
			like($err, qr/\Q$fingerprint\E/, 'with the fingerprint of the right key');
			my @both = $err =~ /\b([0-9a-f]{32})\b/g;
			is(scalar(@both), 2, 'and that of the wrong one') or diag $err;
		}
	}
	is($elsewhere->safe_psql('restored', "SELECT count(*) FROM biolink.performance(1, '{month}', NULL, NULL)"),
		$origin->safe_psql('origin', "SELECT count(*) FROM biolink.performance(1, '{month}', NULL, NULL)"), "under $name performance() works");
	ok(!-e $elsewhere->data_dir . '/biolink.key', "under $name none is made up");
}
$elsewhere->append_conf('postgresql.conf', "biolink.root_key_file = '$key_file'\n");
$elsewhere->restart;

# ---- nothing differs ---------------------------------------------------------------

is_copy($origin, 'origin', $origin, 'restored', 'in the same cluster');
is_copy($origin, 'origin', $elsewhere, 'restored', 'in another cluster');
my $definitions = schema_dump($origin, 'origin');
same(schema_dump($origin, 'restored'), $definitions, 'in the same cluster a dump has the same definitions');
same(schema_dump($elsewhere, 'restored'), $definitions, 'in another cluster a dump has the same definitions');

# the analyst's rights came along, with the creators given
for my $node ($origin, $elsewhere)
{
	is($node->safe_psql('restored', 'SET SESSION AUTHORIZATION reader; SELECT count(*) FROM biolink.conversion'),
		$origin->safe_psql('origin', 'SELECT count(*) FROM biolink.conversion'), $node->name . ': the analyst reads on');
	($status, $out, $err) = $node->psql('restored', 'SET SESSION AUTHORIZATION reader; SELECT biolink.click(1, $$link-1$$, $${}$$)');
	like($err, qr/permission denied/, $node->name . ': and still cannot click');
}

# ---- work goes on --------------------------------------------------------------------

# go_on does everything that was done before, once more, and returns what it came to.
sub go_on
{
	my ($node, $database) = @_;
	my @answers;

	# what is known is known
	push @answers, 'clicks sent again: ' . $node->safe_psql($database, q{SET SESSION AUTHORIZATION shop;
		SELECT string_agg(DISTINCT c.status || ' ' || (c.click_id = k.click_id)::text, ',') FROM shop.click AS k, biolink.click(k.creator_id, k.slug, k.request) AS c});
	push @answers, 'events sent again: ' . $node->safe_psql($database, q{SET SESSION AUTHORIZATION shop;
		SELECT string_agg(DISTINCT k.status || ' ' || t.status || ' ' || COALESCE((t.event_id = k.event_id)::text, ''), ',' ORDER BY k.status || ' ' || t.status || ' ' || COALESCE((t.event_id = k.event_id)::text, ''))
			FROM shop.event AS k, biolink.track(k.creator_id, k.event) AS t});
	push @answers, 'tokens of before: ' . $node->safe_psql($database, q{SET SESSION AUTHORIZATION shop;
		SELECT string_agg(DISTINCT v.valid::text || ' ' || v.epoch || ' ' || (v.click_id = k.click_id)::text, ',') FROM shop.click AS k, biolink.verify_token(k.token, '', k.occurred_at) AS v WHERE NOT k.is_bot});
	# the queue and the late touches of before
	push @answers, 'jobs: ' . $node->safe_psql($database, "$jobs; RESET SESSION AUTHORIZATION; SELECT count(*) FROM biolink.attribution_queue");
	# what is no longer kept is refused, and more goes
	push @answers, 'of before: ' . $node->safe_psql($database, q{SET SESSION AUTHORIZATION shop; SELECT status, reason FROM biolink.click(1, 'link-1', '{"occurred_at": "2024-12-31T23:59:59Z"}')});
	$node->safe_psql($database, "SET SESSION AUTHORIZATION operator; SELECT biolink.set_event_retention(now() - '2025-06-15'); $jobs; RESET SESSION AUTHORIZATION; $settle");
	push @answers, 'dropped: ' . $node->safe_psql($database, q{SELECT biolink.event_horizon() = '2025-06-01Z', to_regclass('biolink.event_2025_02') IS NULL, to_regclass('biolink.event_2025_11') IS NULL});
	push @answers, 'paths: ' . rows($node, $database, 'SELECT * FROM biolink.touch_path');
	push @answers, 'unattributed: ' . rows($node, $database, 'SELECT * FROM biolink.unattributed');
	push @answers, 'stray events: ' . $node->safe_psql($database, 'SELECT count(*) FROM biolink.event_default');
	# and new ones
	push @answers, 'a new creator: ' . $node->safe_psql($database, q{SET SESSION AUTHORIZATION shop;
		INSERT INTO biolink.creator (handle) VALUES ('eva') RETURNING creator_id;
		INSERT INTO biolink.offer (creator_id, name) VALUES (3, 'Offer') RETURNING offer_id;
		INSERT INTO biolink.link (creator_id, slug, url) VALUES (3, 'x', 'https://shop.example/x') RETURNING link_id;
		INSERT INTO biolink.campaign (creator_id, slug) VALUES (3, 'x') RETURNING campaign_id;
		CREATE TEMPORARY TABLE taken AS SELECT c.*, k.visitor OPERATOR(biolink.=) c.visitor AS same FROM biolink.click(3, 'x', '{"visitor": "v", "post": "first", "user_agent": "Mozilla/5.0 (iPhone) Instagram"}') AS c,
			LATERAL biolink.click(3, 'x', '{"visitor": "v", "user_agent": "Mozilla/5.0 (iPhone) Instagram"}') AS k;
		SELECT status, same FROM taken;
		SELECT post_id FROM biolink.post WHERE creator_id = 3;
		SELECT t.status FROM taken AS k, biolink.track(3, jsonb_build_object('kind', 'order', 'source', 'shop', 'key', 'new', 'order_id', 'NEW', 'amount', 999, 'currency', 'EUR', 'token', k.token)) AS t;
		SELECT t.status FROM shop.click AS k, biolink.track(k.creator_id, jsonb_build_object('kind', 'order', 'source', 'shop', 'key', 'new-by-old', 'order_id', 'NEW-BY-OLD',
			'amount', 10000, 'currency', 'EUR', 'token', k.token, 'occurred_at', to_char(k.occurred_at + '1 hour'::interval, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))) AS t WHERE k.key = 'click-100';
	});
	$node->safe_psql($database, $jobs);
	push @answers, 'what they earned: ' . rows($node, $database, q{SELECT a.order_id, a.model, a.position, a.touches, a.channel, a.evidence, a.credit FROM biolink.attribution AS a WHERE a.order_id LIKE 'NEW%'});
	push @answers, 'rules: ' . rows($node, $database, 'SELECT rule, ok, failures FROM biolink.integrity_check()');
	return @answers;
}

my @here = go_on($origin, 'origin');
like($here[0], qr/: duplicate true$/, 'a click sent again is a duplicate and has its first id');
like($here[2], qr/: true 1 true,true 2 true$/, 'tokens of both keys hold');
like($here[3], qr/: 0$/, 'the queue is worked off');
like($here[4], qr/: refused\|too_old$/, 'what was no longer kept is refused');
like($here[5], qr/: t\|t\|f$/, 'a partition made at run time is dropped in its turn');
like($here[8], qr/: 0$/, 'stray events are in partitions of their own');
unlike($here[-1], qr/,f,/, 'all rules hold');
my @restored = go_on($origin, 'restored');
my @other_cluster = go_on($elsewhere, 'restored');
for my $i (0 .. $#here)
{
	my ($what) = $here[$i] =~ /^([^:]+):/;
	same($restored[$i], $here[$i], "in the same cluster: $what");
	same($other_cluster[$i], $here[$i], "in another cluster: $what");
}

# what was made there can be dumped in its turn
silent($elsewhere, [ 'pg_dump', '-Fc', '-f', "$dump.2", '-d', 'restored' ], 'the restored database can be dumped');
$elsewhere->safe_psql('postgres', 'CREATE DATABASE again TEMPLATE template0');
{
	# Workers load tables in any order, and the foreign keys of an extension's
	# tables are there from the start: they must not be checked row by row.
	local $ENV{PGOPTIONS} = '-c session_replication_role=replica';
	silent($elsewhere, [ 'pg_restore', '-e', '-j', '2', '-d', 'again', "$dump.2" ], 'and restored again, by two workers');
}
is_copy($elsewhere, 'restored', $elsewhere, 'again', 'restored twice');

# ---- dropped and created again ---------------------------------------------------------

for my $case ([ $origin, 'origin' ], [ $origin, 'restored' ], [ $elsewhere, 'again' ])
{
	my ($node, $database) = @$case;

	($status, $out, $err) = $node->psql($database, 'BEGIN; DROP EXTENSION biolink; ROLLBACK', on_error_stop => 1);
	like($err, qr/cannot drop extension biolink because other objects depend on it/,
		$node->name . " $database: DROP EXTENSION without CASCADE refuses while there are partitions made at run time");
	is($node->safe_psql($database, $click), 'ok', 'and nothing happened');
}

# one session through all of it, with plans, rows and keys cached; another one drops
my %session = (in => '', out => '', err => '');
my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $origin->connstr('restored') ], '<', \$session{in}, '>', \$session{out}, '2>', \$session{err},
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

# ask sends a statement to that session and returns all that comes back.
sub ask
{
	my ($sql) = @_;

	$session{out} = $session{err} = '';
	$session{in} .= "$sql;\n\\echo __end__\n\\warn __end__\n";
	$run->pump until $session{out} =~ /__end__\n/ && $session{err} =~ /__end__\n/;
	s/__end__\n// for $session{out}, $session{err};
	chomp(my $answer = $session{out} . $session{err});
	return $answer;
}

my $drop = 'SET client_min_messages = warning; DROP EXTENSION biolink CASCADE';
my $create = 'CREATE EXTENSION biolink';
my $tenant = q{INSERT INTO biolink.creator (handle) VALUES ('new'); INSERT INTO biolink.link (creator_id, slug, url) VALUES (1, 'link-1', 'https://new.example/')};
my $use = q{SELECT (SELECT c.status || ' ' || split_part(c.redirect_url, '?', 1) FROM biolink.click(1, 'link-1', '{"key": "k", "visitor": "v", "user_agent": "Mozilla/5.0 (iPhone) Instagram"}') AS c)
	|| (SELECT ' ' || (p.visit_id IS NOT NULL) FROM biolink.open_page(1, '{"key": "p"}') AS p)
	|| (SELECT ' ' || t.status FROM biolink.track(1, '{"kind": "order", "source": "s", "key": "k", "order_id": "1", "amount": 5, "currency": "EUR", "visitor": "v"}') AS t)
	|| (SELECT ' ' || p.status FROM biolink.park_event(1, 's', 'k', 'r', '{}') AS p)
	|| (SELECT ' ' || v.valid FROM biolink.verify_token(biolink.issue_token(1, 'session', biolink.uuid_v7())::text) AS v);
	SELECT count(*) FROM biolink.performance(1, '{link}', NULL, NULL) AS p WHERE p.clicks > 0};

is(ask($use), "ok https://shop.example/1 true inserted parked true\n4", 'a session uses everything');
is(ask($use), "duplicate https://shop.example/1 true duplicate duplicate true\n4", 'and again');

is(ask("BEGIN; $drop; $create; $tenant; $use; ROLLBACK; $use"),
	"ok https://new.example/ true inserted parked true\n1\nduplicate https://shop.example/1 true duplicate duplicate true\n4",
	'dropped, created and used in a transaction that is rolled back: the old one works on');

is(ask("$drop; $create; $tenant"), '', 'DROP EXTENSION CASCADE and CREATE EXTENSION in one session');
is(ask($use), "ok https://new.example/ true inserted parked true\n1", 'which uses the new one at once');
is(ask("CALL biolink.run_job('attribute'); CALL biolink.run_job('maintain'); SELECT touches FROM biolink.conversion"), '1', 'jobs work');
is(ask($use), "duplicate https://new.example/ true duplicate duplicate true\n1", 'and again');

$origin->safe_psql('restored', "$drop; $create; $tenant;");
is(ask($use), "ok https://new.example/ true inserted parked true\n1", 'another session drops and creates: this one uses the new one');
$origin->safe_psql('restored', $drop);
like(ask($use), qr/ERROR: .*biolink/, 'dropped by another session: an error and no more');
$origin->safe_psql('restored', "$create; $tenant;");
is(ask($use), "ok https://new.example/ true inserted parked true\n1", 'and there again');
$session{in} .= "\\q\n";
$run->finish;

is($origin->safe_psql('restored', "SET client_min_messages = warning; DROP EXTENSION biolink CASCADE; SELECT count(*) FROM pg_namespace WHERE nspname = 'biolink'"), '0',
	'dropped with everything that was in it');
is($origin->safe_psql('restored', 'SELECT count(*) FROM shop.click'), '200', 'and nothing else');

done_testing();
