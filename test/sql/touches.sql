-- A visit or click that was seen elsewhere and is told later is judged as open_page() and click() judge their requests: the same
-- requests both ways, one by one and in a batch, compared in every column.
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE ROLE regress_touches_app; GRANT biolink_app TO regress_touches_app;
SET ROLE regress_touches_app;

-- three creators alike: 7651 takes the requests itself, 7652 is told of them one by one, 7653 many at once
INSERT INTO biolink.creator (creator_id, handle, hosts, time_zone)
	SELECT c, 'touches_' || c, '{bio.example,go.example}', 'Europe/Berlin' FROM generate_series(7651, 7653) AS c;
INSERT INTO biolink.campaign (creator_id, campaign_id, slug) SELECT c, 31, 'spring' FROM generate_series(7651, 7653) AS c;
INSERT INTO biolink.campaign (creator_id, campaign_id, slug) SELECT c, 32, 'autumn' FROM generate_series(7651, 7653) AS c;
INSERT INTO biolink.offer (creator_id, offer_id, name) SELECT c, o, 'Offer ' || o FROM generate_series(7651, 7653) AS c, generate_series(1, 2) AS o;
INSERT INTO biolink.link (creator_id, link_id, slug, url, offer_id, campaign_id) SELECT c, 11, 'mug', 'https://shop.example/mug', 1, 31 FROM generate_series(7651, 7653) AS c;
INSERT INTO biolink.link (creator_id, link_id, slug, url) SELECT c, 12, 'plain', 'https://shop.example/p' FROM generate_series(7651, 7653) AS c;
INSERT INTO biolink.link (creator_id, link_id, slug, url, active) SELECT c, 13, 'off', 'https://shop.example/off', false FROM generate_series(7651, 7653) AS c;

CREATE TEMPORARY TABLE pair (
	n int GENERATED ALWAYS AS IDENTITY,
	round int NOT NULL DEFAULT 1,
	name text NOT NULL,
	kind text NOT NULL,
	slug text,
	request jsonb NOT NULL,
	page text				-- the request carries a token of what that pair made, under "token", or in its url for %
);
-- what most requests have
CREATE FUNCTION pg_temp.request(more jsonb, at text DEFAULT '10:00:00') RETURNS jsonb LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('user_agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0', 'occurred_at', '2026-03-30T' || at || '+02:00') || more
$$;
\set instagram '''Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 334.0.4.32.98'''
\set tiktok '''Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/124.0.6367.82 Mobile Safari/537.36 musical_ly_2023400040 BytedanceWebview'''

INSERT INTO pair (name, kind, request) VALUES
	('page', 'visit', pg_temp.request('{"url": "https://bio.example/me?utm_source=IG&utm_medium=Social&fbclid=abc", "referrer": "https://l.instagram.com/", "ip": "203.0.113.9", "post": "post-1", "caption": "write me: a@b.example", "campaign": "autumn", "favourite": "call +49 170 1234567"}')),
	('page of c1', 'visit', pg_temp.request('{"visitor": "c1", "referrer": "https://www.tiktok.com/@x", "country": "DE", "region": "BE", "city": "Berlin", "language": "de-DE"}')),
	('page of a robot', 'visit', pg_temp.request('{"visitor": "c8", "user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}', '10:01:00')),
	('page of c2', 'visit', pg_temp.request('{"visitor": "c2", "platform": "YouTube", "post": "v1"}')),
	('page, denied', 'visit', pg_temp.request('{"visitor": "c3", "ip": "203.0.113.9", "consent": {"measurement": "denied"}, "referrer": "https://t.co/x"}')),
	('page of a day', 'visit', pg_temp.request('{"ip": "203.0.113.9"}', '11:00:00')),
	('page of another day', 'visit', pg_temp.request('{"ip": "203.0.113.9", "occurred_at": "2026-03-30T22:00:00Z"}')),
	('page of another address', 'visit', pg_temp.request('{"ip": "203.0.113.10"}'));
INSERT INTO pair (name, kind, slug, request) VALUES
	('plain', 'click', 'plain', pg_temp.request('{}')),
	('link with offer and campaign', 'click', 'mug', pg_temp.request('{"visitor": "c4"}')),
	('another campaign', 'click', 'mug', pg_temp.request('{"campaign": "autumn"}')),
	('unknown campaign', 'click', 'mug', pg_temp.request('{"campaign": "winter"}')),
	('own page', 'click', 'mug', pg_temp.request('{"visitor": "c1", "referrer": "https://BIO.example./me"}', '10:10:00')),
	('own page, post and campaign', 'click', 'mug', pg_temp.request('{"visitor": "c2", "referrer": "https://bio.example/", "post": "v2", "campaign": "autumn"}', '10:10:00')),
	('own page, too late', 'click', 'mug', pg_temp.request('{"visitor": "c1", "referrer": "https://bio.example/me"}', '10:40:00')),
	('own page, before', 'click', 'mug', pg_temp.request('{"visitor": "c1", "referrer": "https://bio.example/me"}', '09:59:59')),
	('own page, unknown cookie', 'click', 'mug', pg_temp.request('{"visitor": "c9", "referrer": "https://go.example/me"}', '10:10:00')),
	('own page, no cookie', 'click', 'mug', pg_temp.request('{"referrer": "https://bio.example/me", "ip": "203.0.113.9"}', '10:10:00')),
	('own page, denied', 'click', 'mug', pg_temp.request('{"visitor": "c1", "referrer": "https://bio.example/me", "ip": "203.0.113.9", "consent": {"measurement": "denied"}}', '10:10:00')),
	('robot', 'click', 'mug', pg_temp.request('{"user_agent": "Mozilla/5.0 (compatible; ExampleBot/1.2; +https://example.com/bot; jane.doe@example.com)"}')),
	('HEAD', 'click', 'mug', pg_temp.request('{"method": "HEAD"}')),
	('head', 'click', 'mug', pg_temp.request('{"method": "head"}')),
	('GET', 'click', 'mug', pg_temp.request('{"method": "GET"}')),
	('prefetch', 'click', 'mug', pg_temp.request('{"headers": {"Sec-Purpose": "prefetch;prerender", "X-Secret": "s3cret"}}')),
	('prefetch of a page', 'visit', NULL, pg_temp.request('{"headers": {"purpose": "preview"}}')),
	('headers', 'click', 'mug', pg_temp.request('{"headers": {"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36", "REFERER": "https://www.reddit.com/r/x", "Cookie": "a=b"}}') - 'user_agent'),
	('headers, and keys', 'click', 'mug', pg_temp.request('{"headers": {"User-Agent": "curl/8", "Referer": "https://www.reddit.com/r/x"}, "referrer": "https://t.co/x"}')),
	('no agent', 'click', 'mug', pg_temp.request('{"ip": "203.0.113.9"}') - 'user_agent'),
	('empty agent', 'click', 'mug', pg_temp.request('{"user_agent": ""}')),
	('no agent, GET', 'visit', NULL, pg_temp.request('{"method": "GET"}') - 'user_agent'),
	('no agent, a referrer', 'click', 'mug', pg_temp.request('{"referrer": "https://t.co/x"}') - 'user_agent'),
	('no agent, headers', 'click', 'mug', pg_temp.request('{"headers": {}}') - 'user_agent'),
	('in an app', 'click', 'mug', pg_temp.request(jsonb_build_object('user_agent', :instagram))),
	('in an app, UTM', 'click', 'mug', pg_temp.request(jsonb_build_object('user_agent', :tiktok, 'url', 'https://go.example/mug?utm_source=Newsletter&utm_medium=%20Email&utm_term=jane%40example.com'))),
	('in an app, referrer', 'visit', NULL, pg_temp.request(jsonb_build_object('user_agent', :tiktok, 'referrer', 'https://www.youtube.com/redirect'))),
	('click ids of platforms', 'click', 'mug', pg_temp.request('{"url": "https://go.example/mug?gclid=Cj0K&ttclid=x"}')),
	('stated platform', 'click', 'mug', pg_temp.request('{"platform": "Pinterest", "referrer": "https://t.co/x"}')),
	('relative url', 'click', 'mug', pg_temp.request('{"url": "/mug?utm_source=x#frag"}')),
	('no url', 'click', 'mug', pg_temp.request('{"url": "http://[::"}')),
	('long texts', 'click', 'mug', pg_temp.request(jsonb_build_object('user_agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0' || repeat(' é', 5000), 'referrer', 'https://t.co/' || repeat('ü', 50000),
		'visitor', repeat('v', 100000), 'language', repeat('ß', 1000), 'url', 'https://go.example/plain?a=' || repeat('b', 32730) || '&utm_source=cut'))),
	('an address in the referrer', 'click', 'mug', pg_temp.request('{"referrer": "https://example.com/?u=jane%40example.com"}')),
	('a post', 'click', 'mug', pg_temp.request('{"post": "post-2", "caption": "first", "referrer": "https://t.co/x"}')),
	('a post again', 'click', 'mug', pg_temp.request('{"post": "post-2", "caption": "second", "referrer": "https://t.co/y"}')),
	('a post of another platform', 'click', 'mug', pg_temp.request('{"post": "post-2", "platform": "tiktok"}')),
	('pending', 'click', 'mug', pg_temp.request('{"visitor": "c1", "ip": "203.0.113.9", "consent": {"measurement": "pending"}}')),
	('granted', 'click', 'mug', pg_temp.request('{"visitor": "c1", "ip": "203.0.113.9", "consent": {"measurement": "granted"}}')),
	('consent is no object', 'click', 'mug', pg_temp.request('{"visitor": "c1", "consent": "granted"}')),
	('test', 'click', 'mug', pg_temp.request('{"test": true}')),
	('unknown keys', 'click', 'mug', pg_temp.request('{"slot": 3, "signals": {"from": "a@b.example"}, "decision_id": "x", "headers": {"X-Secret": "s3cret"}, "ip": "203.0.113.9", "method": "GET", "visitor": "c6"}')),
	('nulls', 'click', 'mug', pg_temp.request('{"ip": null, "method": null, "headers": null, "post": null, "url": null, "token": null}')),
	('at the beginning of time', 'click', 'mug', pg_temp.request('{"occurred_at": "1970-01-01T00:00:00Z", "ip": "203.0.113.9"}')),
	('from the future', 'click', 'mug', pg_temp.request('{"occurred_at": "2999-01-01T00:00:00Z"}'));
INSERT INTO pair (round, page, name, kind, slug, request) VALUES
	(2, 'page', 'token', 'click', 'mug', pg_temp.request('{"referrer": "https://bio.example/me"}', '10:02:00')),
	(2, 'page', 'token in the url', 'click', 'mug', pg_temp.request('{"url": "https://go.example/mug?utm_source=x&bl=%&y=1"}', '10:02:00')),
	(2, 'page', 'token and cookie', 'click', 'mug', pg_temp.request('{"visitor": "c5"}', '10:02:00')),
	(2, 'page', 'token, the address once more', 'click', 'mug', pg_temp.request('{"ip": "203.0.113.77"}', '10:02:00')),
	(2, 'page', 'token, post and campaign', 'click', 'mug', pg_temp.request('{"post": "post-3", "campaign": "spring"}', '10:02:00')),
	(2, 'page', 'token, denied', 'click', 'mug', pg_temp.request('{"consent": {"measurement": "denied"}}', '10:02:00')),
	(2, 'page of c1', 'token of a cookie''s page', 'click', 'mug', pg_temp.request('{}', '10:02:00')),
	(2, 'page, denied', 'token of a denied page', 'click', 'mug', pg_temp.request('{}', '10:02:00')),
	(2, 'page, denied', 'token of a denied page, denied', 'click', 'mug', pg_temp.request('{"consent": {"measurement": "denied"}}', '10:02:00')),
	(2, 'own page', 'token of a click', 'click', 'mug', pg_temp.request('{}', '10:12:00')),
	(2, 'nothing', 'token of nothing', 'click', 'mug', pg_temp.request('{}', '10:12:00')),
	(2, 'page', 'token of a robot', 'click', 'mug', pg_temp.request('{"user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}', '10:02:00')),
	(2, 'page', 'page with a token', 'visit', NULL, pg_temp.request('{}', '10:02:00')),
	(2, 'page', 'expired token', 'click', 'mug', pg_temp.request('{"occurred_at": "2026-03-31T10:00:00Z"}')),
	(2, NULL, 'expired token, and cookie', 'click', 'mug', pg_temp.request('{"token": "garbage", "visitor": "c1", "referrer": "https://bio.example/me"}', '10:12:00')),
	(2, NULL, 'garbage', 'click', 'mug', pg_temp.request('{"token": "garbage"}')),
	(2, NULL, 'garbage in the url', 'click', 'mug', pg_temp.request('{"url": "https://go.example/mug?bl=garbage"}')),
	(2, NULL, 'a long token', 'click', 'mug', pg_temp.request(jsonb_build_object('token', repeat('A', 100000)))),
	(2, NULL, 'token of another creator', 'click', 'mug', pg_temp.request(jsonb_build_object('token', biolink.issue_token(7659, 'session', '019d3d8a-2000-7000-8000-000000000000', expires_at => '2100-01-01Z'))));

-- the request of a pair, with the token of its page for this creator
CREATE FUNCTION pg_temp.request_of(creator bigint, p pair) RETURNS jsonb LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN p.page IS NULL THEN p.request
		WHEN p.request ? 'url' THEN jsonb_set(p.request, '{url}', to_jsonb(replace(p.request ->> 'url', '%', t.token)))
		ELSE p.request || jsonb_build_object('token', t.token) END
	FROM (SELECT biolink.issue_token(creator, 'session', COALESCE((SELECT k.event_id FROM biolink.event_key AS k WHERE k.creator_id = creator AND k.key = p.page),
		'019d3d8a-2000-7000-8000-000000000000'), expires_at => '2026-03-31T08:00:00Z')::text AS token) AS t
$$;
CREATE FUNCTION pg_temp.event_of(creator bigint, p pair) RETURNS jsonb LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('kind', p.kind, 'source', 'log', 'key', p.name, 'link', p.slug)) || pg_temp.request_of(creator, p)
$$;
CREATE FUNCTION pg_temp.take(p pair) RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	request jsonb := pg_temp.request_of(7651, p) || jsonb_build_object('key', p.name);
BEGIN
	IF p.kind = 'visit' THEN
		RETURN (SELECT 'visit' FROM biolink.open_page(7651, request) AS v WHERE v.visit_id IS NOT NULL);
	END IF;
	RETURN (SELECT c.status FROM biolink.click(7651, p.slug, request) AS c);
END
$$;

\echo == taken, told one by one, told many at once
SELECT pg_temp.take(p), count(*) FROM (SELECT p FROM pair AS p WHERE round = 1 ORDER BY n) AS o GROUP BY 1 ORDER BY 1;
SELECT pg_temp.take(p), count(*) FROM (SELECT p FROM pair AS p WHERE round = 2 ORDER BY n) AS o GROUP BY 1 ORDER BY 1;
SELECT t.status, t.detail, count(*) FROM (SELECT p FROM pair AS p WHERE round = 1 ORDER BY n) AS o, LATERAL biolink.track(7652, pg_temp.event_of(7652, o.p)) AS t GROUP BY 1, 2 ORDER BY 1, 2;
SELECT t.status, t.detail, count(*) FROM (SELECT p FROM pair AS p WHERE round = 2 ORDER BY n) AS o, LATERAL biolink.track(7652, pg_temp.event_of(7652, o.p)) AS t GROUP BY 1, 2 ORDER BY 1, 2;
SELECT b.status, b.detail, count(*) FROM biolink.track_batch(7653, (SELECT json_agg(pg_temp.event_of(7653, p) ORDER BY p.n) FROM pair AS p WHERE round = 1)) AS b GROUP BY 1, 2 ORDER BY 1, 2;
SELECT b.status, b.detail, count(*) FROM biolink.track_batch(7653, (SELECT json_agg(pg_temp.event_of(7653, p) ORDER BY p.n) FROM pair AS p WHERE round = 2)) AS b GROUP BY 1, 2 ORDER BY 1, 2;
-- once more
SELECT t.status, t.detail, count(*) FROM pair AS p, LATERAL biolink.track(7652, pg_temp.event_of(7652, p)) AS t GROUP BY 1, 2 ORDER BY 1, 2;
SELECT b.status, b.detail, count(*) FROM biolink.track_batch(7653, (SELECT json_agg(pg_temp.event_of(7653, p) ORDER BY p.n) FROM pair AS p)) AS b GROUP BY 1, 2 ORDER BY 1, 2;

\echo == what became of them: every column of the event, ids by what they lead to
CREATE TEMPORARY VIEW judged AS
	SELECT e.creator_id, k.key AS name, to_jsonb(e) - '{creator_id,event_id,received_at,source,visitor,day_visitor,visit_id,post_id}'::text[]
		- CASE WHEN 'clamped' = ANY (e.flags) THEN 'occurred_at' ELSE '' END
		|| jsonb_build_object('visit', v.key, 'post', p.external_id, 'post_platform', p.platform, 'caption', p.caption,
			'visitor', min(k.key COLLATE "C") OVER (PARTITION BY e.creator_id, e.visitor::text),
			'day_visitor', CASE WHEN e.day_visitor IS NOT NULL THEN min(k.key COLLATE "C") OVER (PARTITION BY e.creator_id, e.day_visitor::text) END,
			'id_of_its_time', biolink.uuid_v7_time(e.event_id) = date_trunc('milliseconds', e.occurred_at)) AS columns
	FROM biolink.event AS e
	JOIN biolink.event_key AS k ON k.creator_id = e.creator_id AND k.event_id = e.event_id
	LEFT JOIN biolink.event_key AS v ON v.creator_id = e.creator_id AND v.event_id = e.visit_id
	LEFT JOIN biolink.post AS p ON p.creator_id = e.creator_id AND p.post_id = e.post_id
	WHERE e.creator_id IN (7651, 7652, 7653);
SELECT creator_id, count(*) FROM judged GROUP BY 1 ORDER BY 1;
SELECT a.name, c.creator_id, d.key, d.value AS told, a.columns -> d.key AS taken
	FROM judged AS a CROSS JOIN (VALUES (7652), (7653)) AS c (creator_id) LEFT JOIN judged AS b ON b.creator_id = c.creator_id AND b.name = a.name
	CROSS JOIN LATERAL jsonb_each(COALESCE(b.columns, '{"nothing": true}')) AS d
	WHERE a.creator_id = 7651 AND a.columns -> d.key IS DISTINCT FROM d.value ORDER BY 2, 1, 3;
SELECT p.name, columns ->> 'bot_reason' AS bot, columns ->> 'device' AS device, concat_ws('/', columns ->> 'channel', columns ->> 'medium', columns ->> 'platform', columns ->> 'channel_evidence') AS channel,
		columns ->> 'visit' AS visit, columns ->> 'evidence' AS evidence, columns ->> 'token_reason' AS token_reason, columns ->> 'visitor' AS visitor, columns ->> 'day_visitor' AS day_visitor,
		concat_ws('/', columns ->> 'post', columns ->> 'post_platform', columns ->> 'caption') AS post, concat_ws('/', columns ->> 'link_id', columns ->> 'offer_id', columns ->> 'campaign_id') AS link,
		left(columns ->> 'utm', 40) AS utm, columns -> 'context' AS context, columns ->> 'flags' AS flags
	FROM pair AS p LEFT JOIN judged AS j ON j.creator_id = 7653 AND j.name = p.name ORDER BY p.n;
RESET ROLE;
-- addresses, headers and methods are nowhere
SELECT count(*) FROM biolink.event AS e WHERE e.creator_id IN (7652, 7653) AND e::text ~ '203\.0\.113|s3cret|a=b|HEAD';
SELECT c.creator_id, count(*) FILTER (WHERE k.source LIKE 'biolink:%') AS of_biolink, count(*) FILTER (WHERE k.source = 'log') AS of_the_sender
	FROM generate_series(7651, 7653) AS c (creator_id) JOIN biolink.event_key AS k USING (creator_id) GROUP BY 1 ORDER BY 1;
SET ROLE regress_touches_app;

\echo == keys of a wrong type or value: where click() refuses, track() does, but for what ties to touches
CREATE FUNCTION pg_temp.attempt(statement text) RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE statement INTO answer;
	RETURN answer;
EXCEPTION WHEN data_exception THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
SELECT w.key, left(w.value::text, 12) AS value, pg_temp.attempt(format('SELECT status FROM biolink.click(7651, ''mug'', %L)', jsonb_build_object(w.key, w.value))) AS click,
		pg_temp.attempt(format('SELECT status FROM biolink.track(7652, %L)', e.event)) AS track,
		(SELECT b.status || COALESCE(' ' || b.detail, '') FROM biolink.track_batch(7653, json_build_array(e.event)) AS b) AS batch
	FROM (VALUES ('user_agent', '5'::jsonb), ('method', '{}'), ('method', to_jsonb(repeat('m', 201))), ('referrer', '[]'), ('headers', '"x"'), ('ip', '1'), ('ip', to_jsonb(repeat('1', 201))), ('country', '5'), ('region', 'true'),
		('city', '5'), ('language', '{}'), ('platform', '5'), ('post', '5'), ('caption', '5'), ('campaign', '[]'), ('test', '"yes"'), ('occurred_at', '"yesterday"'), ('consent', '5'),
		('token', '5'), ('visitor', '{}'), ('url', '[]')) AS w (key, value)
	CROSS JOIN LATERAL (SELECT jsonb_build_object('kind', 'click', 'source', 'wrong', 'key', w.key || ' ' || left(w.value::text, 5), w.key, w.value) AS event) AS e ORDER BY 1, 2;
SELECT k.key, e.token_reason, e.utm, e.context FROM biolink.event AS e JOIN biolink.event_key AS k USING (creator_id, event_id) WHERE e.creator_id = 7653 AND k.source = 'wrong' ORDER BY 1;
SELECT b.status, b.detail FROM biolink.track_batch(7653, '[{"kind": "click", "source": "wrong", "key": "secret", "headers": {"Cookie": "a=b"}, "ip": "203.0.113.9", "city": 5, "visitor": "c"}]') AS b;
SELECT p.event FROM biolink.event_parked AS p WHERE p.creator_id = 7653 AND p.key = 'secret';

\echo == links: by slug or id; offer and campaign of the link unless the event says
CREATE TEMPORARY TABLE named AS SELECT t.event_id, n.key
	FROM (VALUES ('slug', '{"link": "mug"}'::jsonb), ('id', '{"link_id": 11}'), ('both', '{"link": "mug", "link_id": 11}'), ('both, differing', '{"link": "mug", "link_id": 12}'),
		('unknown slug', '{"link": "nowhere"}'), ('a slug that is an address', '{"link": "me@b.example"}'), ('a long slug', jsonb_build_object('link', repeat('ö', 1000))), ('unknown id', '{"link_id": 99}'), ('unknown id, slug', '{"link_id": 99, "link": "mug"}'),
		('known id, unknown slug', '{"link_id": 11, "link": "nowhere"}'), ('no slug', '{"link": 5}'), ('empty slug', '{"link": ""}'), ('switched off', '{"link": "off"}'),
		('another offer', '{"link": "mug", "offer_id": 2}'), ('unknown offer', '{"link_id": 11, "offer_id": 77}'), ('offer alone', '{"offer_id": 2}'), ('campaign', '{"link_id": 11, "campaign": "autumn"}'),
		('a visit', '{"kind": "visit", "link": "mug"}'), ('a lead', '{"kind": "lead", "link": "mug"}'), ('a lead, id', '{"kind": "lead", "link_id": 11}'), ('and its context', '{"link": "nowhere", "context": {"a": 1}, "b": 2}')) AS n (key, event)
	CROSS JOIN LATERAL biolink.track(7652, jsonb_build_object('kind', 'click', 'source', 'links', 'key', n.key) || n.event) AS t;
SELECT n.key, e.link_id, e.offer_id, e.campaign_id, e.flags, e.token_reason, CASE WHEN length(e.context::text) > 100 THEN to_jsonb(length(e.context ->> 'link')) ELSE e.context END AS context
	FROM named AS n JOIN biolink.event AS e ON e.creator_id = 7652 AND e.event_id = n.event_id ORDER BY n.key COLLATE "C";

\echo == what says nothing of its request is not a robot
CREATE TEMPORARY TABLE silent AS SELECT t.event_id, n.key
	FROM (VALUES ('nothing', '{}'::jsonb), ('visitor', '{"visitor": "v"}'), ('url', '{"url": "https://bio.example/?utm_source=tiktok"}'), ('marketing', '{"platform": "tiktok", "post": "1", "campaign": "spring", "country": "DE"}'),
		('null', '{"user_agent": null}'), ('empty', '{"user_agent": ""}'), ('address', '{"ip": "203.0.113.9"}')) AS n (key, event)
	CROSS JOIN LATERAL biolink.track(7652, jsonb_build_object('kind', 'click', 'source', 'silent', 'key', n.key) || n.event) AS t;
SELECT n.key, e.is_bot, e.bot_reason, e.device, e.channel, e.platform
	FROM silent AS n JOIN biolink.event AS e ON e.creator_id = 7652 AND e.event_id = n.event_id ORDER BY n.key COLLATE "C";

\echo == a click id beside
SELECT k.event_id AS page_id FROM biolink.event_key AS k WHERE k.creator_id = 7652 AND k.key = 'page' \gset
CREATE TEMPORARY TABLE ids AS SELECT t.event_id, n.key
	FROM (VALUES ('click id', jsonb_build_object('click_id', :'page_id')), ('malformed', '{"click_id": "x"}'), ('no text', '{"click_id": 5}'),
		('token too', jsonb_build_object('click_id', :'page_id', 'token', biolink.issue_token(7652, 'session', :'page_id'))),
		('another token', jsonb_build_object('click_id', '019d3d8a-2000-7000-8000-000000000001', 'token', biolink.issue_token(7652, 'session', :'page_id'))),
		('a visit', jsonb_build_object('kind', 'visit', 'click_id', :'page_id', 'token', biolink.issue_token(7652, 'session', :'page_id'))),
		('visit id', '{"visit_id": "x"}')) AS n (key, event)
	CROSS JOIN LATERAL biolink.track(7652, jsonb_build_object('kind', 'click', 'source', 'ids', 'key', n.key) || n.event) AS t;
SELECT n.key, e.click_id = :'page_id' AS kept, e.visit_id = :'page_id' AS continues, e.evidence, e.token_reason, e.context
	FROM ids AS n JOIN biolink.event AS e ON e.creator_id = 7652 AND e.event_id = n.event_id ORDER BY n.key COLLATE "C";

\echo == a batch judges in the order of its array, across what fails
INSERT INTO biolink.creator (creator_id, handle, hosts) VALUES (7654, 'touches_many', '{bio.example}');
CREATE TEMPORARY TABLE many AS SELECT json_agg(CASE
		WHEN n % 701 = 0 THEN json_build_object('kind', 'click', 'source', 's', 'key', 'k' || n, 'test', 'yes')
		WHEN n % 3 = 0 THEN json_build_object('kind', 'visit', 'source', 's', 'key', 'k' || n, 'visitor', 'v' || n % 13, 'occurred_at', at, 'post', 'p' || n % 5, 'platform', 'tiktok')
		ELSE json_build_object('kind', 'click', 'source', 's', 'key', 'k' || n, 'visitor', 'v' || n % 13, 'occurred_at', at, 'referrer', 'https://bio.example/', 'user_agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0') END ORDER BY n) AS events
	FROM generate_series(1, 1500) AS n, LATERAL (SELECT to_char('2026-03-01T00:00:00Z'::timestamptz + n * '47 seconds'::interval, 'YYYY-MM-DD"T"HH24:MI:SSOF":00"') AS at) AS a;
SELECT status, count(*) FROM many, biolink.track_batch(7654, events) GROUP BY 1 ORDER BY 1;
-- the latest visit of the visitor within the half hour, unless it comes later in the array
WITH e AS (SELECT e.*, substr(k.key, 2)::int AS n FROM biolink.event AS e JOIN biolink.event_key AS k USING (creator_id, event_id) WHERE e.creator_id = 7654)
SELECT count(*) AS clicks, count(c.visit_id) AS continue, count(*) FILTER (WHERE c.visit_id IS DISTINCT FROM v.event_id) AS wrong, count(DISTINCT c.post_id) AS posts
	FROM e AS c LEFT JOIN LATERAL (SELECT v.event_id FROM e AS v WHERE v.kind = 'visit' AND v.visitor OPERATOR(biolink.=) c.visitor AND v.n < c.n AND v.occurred_at >= c.occurred_at - '30 minutes'::interval
		ORDER BY v.n DESC LIMIT 1) AS v ON true WHERE c.kind = 'click';
-- an address where a place should be
SELECT t.status FROM biolink.track(7654, '{"kind": "click", "source": "s", "key": "places", "country": "ann@example.com", "region": "ann@example.com", "city": "Bonn, +49 151 12345678", "language": "ann@example.com", "platform": "ann@example.com"}') AS t;
SELECT v.is_bot FROM biolink.open_page(7652, '{"key": "places", "country": "ann@example.com", "region": "Hesse", "city": "ann@example.com", "language": "de-DE", "platform": "ann@example.com"}') AS v;
SELECT e.country, e.region, e.city, e.language, e.platform, e.channel FROM biolink.event AS e JOIN biolink.event_key AS k USING (creator_id, event_id) WHERE k.key = 'places' ORDER BY e.creator_id;
RESET ROLE;
SELECT rule, ok FROM biolink.integrity_check(7652) WHERE NOT ok;
SELECT rule, ok FROM biolink.integrity_check(7654) WHERE NOT ok;
DISCARD TEMP;
DROP ROLE regress_touches_app;
