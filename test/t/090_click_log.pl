# A click log told through track_batch() equals the same log through click():
# no derived column differs, and whoever is one visitor here is one there.
#
# The real log is read where the public test data of others lies beside the
# tree ($BIOLINK_SHARED, by default ../shared); the invented sample always.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $shared = $ENV{BIOLINK_SHARED} // '../shared';
my $sample = 'test/demo/sample.jsonl';
my $real = "$shared/data/bitly/clicks.jsonl";

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', "timezone = 'UTC'\nfsync = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION biolink CASCADE; CREATE ROLE demo_analyst; CREATE SCHEMA demo');
$node->safe_psql('postgres', slurp_file('test/demo/schema.sql'));
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE demo.linked (slug text PRIMARY KEY);

-- What a line becomes: a request, and what goes beside it.  As it stands, every line is a click of a visitor with a cookie.  Made up on
-- top: every fourth line is a page view, some clicks come from the creator's own page, and every third visitor has no cookie but an address.
CREATE FUNCTION public.requests(made_up boolean) RETURNS TABLE (number bigint, kind text, slug text, key text, request jsonb) LANGUAGE sql AS $$
	SELECT l.number, CASE WHEN made_up AND l.number % 4 = 0 THEN 'visit' ELSE 'click' END, l.slug, 'line ' || l.number,
		jsonb_strip_nulls(jsonb_build_object(
			'occurred_at', to_char(l.clicked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
			'url', 'http://' || l.host || '/' || l.slug,
			'user_agent', l.json ->> 'a',
			'method', CASE WHEN l.number % 97 = 0 THEN 'HEAD' ELSE 'GET' END,
			'headers', jsonb_build_object('User-Agent', l.json ->> 'a', 'Accept-Language', l.json ->> 'al'),
			'referrer', CASE WHEN made_up AND l.number % 4 = 1 THEN 'http://' || l.host || '/' ELSE NULLIF(l.json ->> 'r', 'direct') END,
			'country', l.json ->> 'c',
			'region', l.json ->> 'gr',
			'city', l.json ->> 'cy',
			'language', split_part(l.json ->> 'al', ',', 1),
			'post', CASE WHEN made_up AND l.number % 5 = 0 THEN 'post-' || l.number % 50 END,
			'tz', l.json ->> 'tz'))
		|| CASE WHEN made_up AND ('x' || substr(md5(l.visitor), 1, 4))::bit(16)::int % 3 = 0
			THEN jsonb_build_object('ip', '203.0.113.' || ('x' || substr(md5(l.visitor), 5, 4))::bit(16)::int % 256)
			ELSE jsonb_build_object('visitor', l.visitor) END
	FROM demo.log AS l WHERE l.slug IS NOT NULL AND EXISTS (SELECT FROM demo.linked AS k WHERE k.slug = l.slug)
$$;

-- a creator with a link for every short link of the log
CREATE FUNCTION public.new_creator(handle text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
BEGIN
	INSERT INTO biolink.creator (handle, hosts, time_zone)
		SELECT new_creator.handle, COALESCE(array_agg(DISTINCT l.host) FILTER (WHERE l.host IS NOT NULL), '{}'), 'America/New_York' FROM demo.log AS l RETURNING creator_id INTO id;
	INSERT INTO biolink.offer (creator_id, offer_id, name) SELECT id, n, 'Offer ' || n FROM generate_series(1, 7) AS n;
	INSERT INTO biolink.campaign (creator_id, campaign_id, slug) SELECT id, n, 'c' || n FROM generate_series(1, 3) AS n;
	INSERT INTO biolink.link (creator_id, link_id, slug, url, offer_id, campaign_id)
		SELECT id, row_number() OVER (ORDER BY k.slug COLLATE "C"), k.slug, 'https://shop.example/', NULLIF(length(k.slug) % 8, 0), NULLIF(length(k.slug) % 4, 0) FROM demo.linked AS k;
	RETURN id;
END
$$;

CREATE FUNCTION public.take_log(creator bigint, made_up boolean) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	r record;
	taken bigint := 0;
BEGIN
	FOR r IN SELECT * FROM public.requests(made_up) AS q ORDER BY q.number LOOP
		IF r.kind = 'visit' THEN
			taken := taken + (SELECT count(v.visit_id) FROM biolink.open_page(creator, r.request || jsonb_build_object('key', r.key), 0) AS v);
		ELSE
			taken := taken + (SELECT count(*) FILTER (WHERE c.status = 'ok') FROM biolink.click(creator, r.slug, r.request || jsonb_build_object('key', r.key)) AS c);
		END IF;
	END LOOP;
	RETURN taken;
END
$$;

CREATE FUNCTION public.tell_log(creator bigint, made_up boolean, at_once int) RETURNS TABLE (status text, events bigint) LANGUAGE sql AS $$
	SELECT b.status, count(*) FROM (
		SELECT json_agg(p.event ORDER BY p.number) AS events FROM (
			SELECT r.number, (row_number() OVER (ORDER BY r.number) - 1) / at_once AS batch,
				r.request || jsonb_build_object('kind', r.kind, 'source', 'log', 'key', r.key)
					|| CASE WHEN r.kind = 'click' THEN jsonb_build_object('link', r.slug) ELSE '{}' END AS event
			FROM public.requests(made_up) AS r) AS p
		GROUP BY p.batch ORDER BY p.batch) AS o
	CROSS JOIN LATERAL biolink.track_batch(creator, o.events) AS b GROUP BY 1
$$;

-- Every column that both can know.  Ids are those of other rows, and hashes those of other creators: see partition() for what they lead to.
CREATE FUNCTION public.derived(creator bigint) RETURNS TABLE (key text, columns jsonb) LANGUAGE sql AS $$
	SELECT k.key, to_jsonb(e) - '{creator_id,event_id,received_at,source,visitor,day_visitor,visit_id,post_id}'::text[]
			|| jsonb_build_object('visit', v.key, 'post', p.external_id, 'platform of the post', p.platform, 'has a day visitor', e.day_visitor IS NOT NULL)
	FROM biolink.event AS e
	JOIN biolink.event_key AS k ON k.creator_id = e.creator_id AND k.event_id = e.event_id
	LEFT JOIN biolink.event_key AS v ON v.creator_id = e.creator_id AND v.event_id = e.visit_id
	LEFT JOIN biolink.post AS p ON p.creator_id = e.creator_id AND p.post_id = e.post_id
	WHERE e.creator_id = creator
$$;
CREATE FUNCTION public.differences(a bigint, b bigint) RETURNS bigint LANGUAGE sql AS $$
	SELECT (SELECT count(*) FROM (SELECT * FROM public.derived(a) EXCEPT ALL SELECT * FROM public.derived(b)) AS d)
		+ (SELECT count(*) FROM (SELECT * FROM public.derived(b) EXCEPT ALL SELECT * FROM public.derived(a)) AS d)
$$;

-- visitors of one, of the other and pairs of both: equal where they part the events alike
CREATE FUNCTION public.partition(a bigint, b bigint) RETURNS TABLE (what text, here bigint, there bigint, pairs bigint) LANGUAGE sql AS $$
	WITH pair AS (
		SELECT x.visitor::text AS va, y.visitor::text AS vb, x.day_visitor::text AS da, y.day_visitor::text AS db
		FROM biolink.event AS x JOIN biolink.event_key AS k ON k.creator_id = x.creator_id AND k.event_id = x.event_id
		JOIN biolink.event_key AS l ON l.creator_id = b AND l.key = k.key
		JOIN biolink.event AS y ON y.creator_id = b AND y.event_id = l.event_id WHERE x.creator_id = a
	)
	SELECT 'visitor', count(DISTINCT va), count(DISTINCT vb), count(DISTINCT (va, vb)) FROM pair
	UNION ALL SELECT 'day_visitor', count(DISTINCT da), count(DISTINCT db), count(DISTINCT (da, db)) FILTER (WHERE da IS NOT NULL OR db IS NOT NULL) FROM pair
$$;
SQL

# copy_log reads a log into the database, every byte as two hexadecimal digits.
sub copy_log
{
	my ($file) = @_;
	my $hex = join "\n", map { unpack 'H*', $_ } split /\n/, slurp_file($file);

	$node->safe_psql('postgres', "TRUNCATE demo.line, demo.linked RESTART IDENTITY;\nCOPY demo.line (hex) FROM STDIN;\n$hex\n\\.\n");
	$node->safe_psql('postgres', q{INSERT INTO demo.linked SELECT DISTINCT l.slug FROM demo.log AS l
		WHERE octet_length(l.slug) BETWEEN 1 AND 100 AND biolink.is_redirectable(l.url)});
	return;
}

# compare sends a log both ways and looks for what differs.
sub compare
{
	my ($name, $made_up, $at_once) = @_;
	my $here = $node->safe_psql('postgres', "SELECT public.new_creator('$name, taken')");
	my $there = $node->safe_psql('postgres', "SELECT public.new_creator('$name, told')");
	my $lines = $node->safe_psql('postgres', "SELECT count(*) FROM public.requests($made_up)");

	cmp_ok($lines, '>', 40, "$name: $lines lines");
	is($node->safe_psql('postgres', "SELECT public.take_log($here, $made_up)"), $lines, "$name: all of them are taken");
	is($node->safe_psql('postgres', "SELECT * FROM public.tell_log($there, $made_up, $at_once)"), "inserted|$lines", "$name: all of them are told");
	is($node->safe_psql('postgres', "SELECT public.differences($here, $there)"), 0, "$name: no derived column differs")
	  or diag($node->safe_psql('postgres', "SELECT d.key, d.columns FROM (SELECT * FROM public.derived($there) EXCEPT ALL SELECT * FROM public.derived($here)) AS d LIMIT 5"));
	for my $row (split /\n/, $node->safe_psql('postgres', "SELECT * FROM public.partition($here, $there)"))
	{
		my ($what, $taken, $told, $pairs) = split /\|/, $row;

		ok($taken == $told && $told == $pairs, "$name: $what parts the events alike") or diag($row);
	}
	is($node->safe_psql('postgres', "SELECT * FROM public.tell_log($there, $made_up, 500)"), "duplicate|$lines", "$name: told again, nothing is added");
	is($node->safe_psql('postgres', "SELECT count(*) FROM biolink.event WHERE creator_id = $there"), $lines, "$name: as many events as lines");
	return ($here, $there);
}

# exercised tells whether a creator's events show what a log is meant to show.
sub exercised
{
	my ($creator, $what) = @_;

	is($node->safe_psql('postgres', "SELECT count(*) > 0 FROM biolink.event AS e WHERE e.creator_id = $creator AND $what"), 't', "there are events with $what");
	return;
}

copy_log($sample);
compare('sample', 'false', 1000);
my ($taken) = compare('sample, pages', 'true', 7);
exercised($taken, $_) for ('e.is_bot', 'e.day_visitor IS NOT NULL', 'e.post_id IS NOT NULL');

SKIP:
{
	skip "no data/bitly/clicks.jsonl in \$BIOLINK_SHARED", 1 unless -r $real;
	copy_log($real);
	compare('real', 'false', 1000);
	($taken) = compare('real, pages', 'true', 1000);
	exercised($taken, $_) for ('e.is_bot', 'e.day_visitor IS NOT NULL', 'e.post_id IS NOT NULL', 'e.visit_id IS NOT NULL', "e.evidence = 'visitor'", 'e.offer_id IS NOT NULL');
}

$node->stop;
done_testing();
