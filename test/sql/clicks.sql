\set SHOW_CONTEXT never
-- Pages and clicks, as the application role calls them.
CREATE ROLE regress_app; GRANT biolink_app TO regress_app;
CREATE ROLE regress_admin; GRANT biolink_admin TO regress_admin;
SET ROLE regress_app;

INSERT INTO biolink.creator (creator_id, handle, hosts, time_zone) VALUES (7001, 'clicks_test', '{bio.example,go.example}', 'Europe/Berlin');
INSERT INTO biolink.campaign (creator_id, campaign_id, slug) VALUES (7001, 31, 'spring'), (7001, 32, 'autumn');
INSERT INTO biolink.offer (creator_id, offer_id, name, price, currency, sort_order, active) VALUES
	(7001, 1, 'Mug', 1299, 'USD', 2, true), (7001, 2, 'Call', NULL, NULL, 1, true), (7001, 3, 'Gone', 5, 'USD', 0, false);
INSERT INTO biolink.link (creator_id, link_id, slug, url, offer_id, campaign_id, utm) VALUES
	(7001, 11, 'mug', 'https://shop.example/mug?size=l&keep=%C3%A4+b#reviews', 1, 31, '{"utm_campaign": "bio spring", "utm_source": "bio"}');
INSERT INTO biolink.link (creator_id, link_id, slug, url, token_form, active) VALUES
	(7001, 12, 'hex', 'http://shop.example/cut', 'click_id', true), (7001, 13, 'off', 'http://shop.example/', 'token', false);
INSERT INTO biolink.link (creator_id, link_id, slug, url, token_param) VALUES
	(7001, 14, 'plain', 'http://shop.example/p', NULL), (7001, 15, 'own', 'http://shop.example/q?ref=1', 'ref'),
	(7001, 16, 'weird', 'http://www.example.gov/Marine’s plan.aspx;s=1?x=%zz&&y=1;2#.T2', 'bl');

-- what configuration refuses
INSERT INTO biolink.link (creator_id, slug, url) VALUES (7001, 'js', 'javascript:alert(1)');
INSERT INTO biolink.link (creator_id, slug, url) VALUES (7001, 'crlf', E'http://a.example/\r\nSet-Cookie: x=1');
INSERT INTO biolink.link (creator_id, slug, url, utm) VALUES (7001, 'utm', 'http://a.example/', '{"utm_source": 5}');
INSERT INTO biolink.creator (handle, currency) VALUES ('bad', 'usd');
INSERT INTO biolink.creator (handle, time_zone) VALUES ('bad', 'Mars/Olympus');
INSERT INTO biolink.creator (handle, settings) VALUES ('bad', '{"lookback": {"session": "soon"}}');
INSERT INTO biolink.creator (handle, settings) VALUES ('bad', '{"colour": "red"}');
INSERT INTO biolink.creator (handle, settings) VALUES ('bad', '{"half_life": "1 month"}');
INSERT INTO biolink.creator (handle, settings) VALUES ('bad', '{"max_touches": 10.5}');
INSERT INTO biolink.creator (handle, time_zone) VALUES ('bad', 'CEST');
DELETE FROM biolink.creator WHERE creator_id = 7001;
INSERT INTO biolink.creator (creator_id) VALUES (1099511627776);
INSERT INTO biolink.offer (creator_id, name, price) VALUES (7001, 'no currency', 5);

-- a visit: the offers in plain order, a session token over the visit
SELECT v.*, v.visit_id IS NOT NULL AS stored FROM biolink.open_page(7001, '{"user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Version/17.0 Mobile/15E148 Safari/604.1",
	"url": "https://bio.example/me?utm_source=IG&utm_medium=Social&fbclid=abc", "referrer": "https://l.instagram.com/", "ip": "203.0.113.9", "post": "post-1", "caption": "write me: a@b.example",
	"campaign": "autumn", "occurred_at": "2026-03-29T02:30:00+02:00", "favourite": "call +49 170 1234567"}') AS v \gset visit_
SELECT :'visit_offers' AS offers, :'visit_is_bot' AS is_bot;
SELECT t.valid, t.kind, t.creator_id, t.click_id = :'visit_visit_id' AS names_visit, t.link_id, t.issued_at = '2026-03-29T00:30:00Z' AS at_its_time
	FROM biolink.verify_token(:'visit_token') AS t;
SELECT jsonb_array_length(offers) FROM biolink.open_page(7001, '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"}', 1);

-- a click from the page: it continues the visit
SELECT c.* FROM biolink.click(7001, 'mug', jsonb_build_object('user_agent', 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Version/17.0 Mobile/15E148 Safari/604.1',
	'url', 'https://go.example/mug?size=xl&q=a%20b&q=c&empty=&flag&utm_source=tiktok&bl=' || :'visit_token' || '#top',
	'referrer', 'https://bio.example/me', 'occurred_at', '2026-03-29T02:31:00+02:00', 'key', 'click-1')) AS c \gset click_
SELECT :'click_status' AS status, replace(:'click_redirect_url', :'click_token', '<token>') AS redirect_url, :'click_offer_id' AS offer_id, :'click_route' AS route, :'click_is_bot' AS is_bot;
SELECT :'click_visitor' = :'visit_visitor' AS same_visitor;
SELECT t.valid, t.kind, t.click_id = :'click_click_id' AS names_click, t.link_id, t.campaign_id FROM biolink.verify_token(:'click_token') AS t;
SELECT e.kind, e.occurred_at AT TIME ZONE 'UTC' AS at, e.visit_id = :'visit_visit_id' AS continues, e.evidence, e.channel, e.channel_evidence, e.medium, e.platform, e.utm, e.link_id, e.offer_id,
		p.external_id AS post, c.slug AS campaign, e.device, e.os, e.referrer_host, e.context, e.day_visitor IS NOT NULL AS day_visitor
	FROM biolink.event AS e LEFT JOIN biolink.post AS p USING (creator_id, post_id) LEFT JOIN biolink.campaign AS c USING (creator_id, campaign_id)
	WHERE e.creator_id = 7001 AND e.event_id IN (:'visit_visit_id', :'click_click_id') ORDER BY e.occurred_at;
SELECT p.caption, p.platform FROM biolink.post AS p WHERE p.creator_id = 7001;

-- the same key again, and on another link: the first click id, a fresh token, nothing stored
SELECT c.status, c.click_id = :'click_click_id' AS first_id, (biolink.verify_token(c.token::text)).valid, replace(c.redirect_url, c.token::text, '<token>') AS redirect_url
	FROM biolink.click(7001, 'mug', '{"key": "click-1", "url": "https://go.example/mug", "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"}') AS c;
SELECT c.status, c.click_id = :'click_click_id' AS first_id, replace(c.redirect_url, c.token::text, '<token>') AS redirect_url
	FROM biolink.click(7001, 'plain', '{"key": "click-1", "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"}') AS c;
SELECT count(*) FROM biolink.event WHERE creator_id = 7001 AND kind = 'click';
-- a key of clicks is none of visits
SELECT v.reason FROM biolink.open_page(7001, '{"key": "click-1", "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"}') AS v;
SELECT v.reason FROM biolink.open_page(7001, '{"key": "click-1", "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"}') AS v;

-- the forms of the token parameter, and URLs as they are in the wild
SELECT l.slug, replace(replace(c.redirect_url, c.token::text, '<token>'), replace(c.click_id::text, '-', ''), '<click id in hex>') AS redirect_url
	FROM unnest('{hex,plain,own,weird}'::text[]) WITH ORDINALITY AS l (slug, n)
	CROSS JOIN LATERAL biolink.click(7001, l.slug, '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "url": "http://go.example/x?ref=5&z=ü#frag"}') AS c ORDER BY l.n;

-- who gets no token
SELECT r.name, c.status, c.is_bot, c.reason, c.token IS NULL AS no_token, c.redirect_url
	FROM (VALUES ('crawler', '{"user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}'::jsonb),
		('empty', '{}'), ('head', '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "method": "HEAD"}'),
		('prefetch', '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "headers": {"Sec-Purpose": "prefetch;prerender"}}'),
		('person', '{"headers": {"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"}}')) AS r (name, request)
	CROSS JOIN LATERAL biolink.click(7001, 'plain', r.request) AS c;

-- refusals store nothing
SELECT count(*) AS before FROM biolink.event WHERE creator_id = 7001 \gset
SELECT c.status, c.reason, c.redirect_url FROM biolink.click(7001, 'nowhere', '{}') AS c;
SELECT c.status, c.reason, c.redirect_url FROM biolink.click(7001, 'off', '{}') AS c;
SELECT c.status, c.reason, c.redirect_url FROM biolink.click(7999, 'mug', '{}') AS c;
SELECT v.reason, v.visit_id, v.token, v.offers FROM biolink.open_page(7999, '{}') AS v;
SELECT count(*) - :before AS added FROM biolink.event WHERE creator_id = 7001;

-- wrong types and values name the key
SELECT * FROM biolink.click(7001, 'mug', '[]');
SELECT * FROM biolink.click(7001, 'mug', '{"url": 5}');
SELECT * FROM biolink.click(7001, 'mug', '{"test": "yes"}');
SELECT * FROM biolink.click(7001, 'mug', '{"occurred_at": "yesterday"}');
SELECT * FROM biolink.click(7001, 'mug', '{"occurred_at": "2026-02-30T00:00:00Z"}');
SELECT * FROM biolink.click(7001, 'mug', '{"occurred_at": "2026-02-03T00:00:00"}');
SELECT * FROM biolink.click(7001, 'mug', jsonb_build_object('post', repeat('x', 201)));
SELECT * FROM biolink.click(7001, NULL, '{}');
SELECT * FROM biolink.open_page(7001, NULL);
SELECT * FROM biolink.open_page(7001, '{}', -1);

-- but what strangers write is cut or judged, never refused
SELECT c.status, c.is_bot, length(c.redirect_url) FROM biolink.click(7001, 'plain', jsonb_build_object('user_agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0' || repeat(' é', 5000),
	'referrer', 'https://t.co/' || repeat('ü', 50000), 'visitor', repeat('v', 100000), 'token', repeat('A', 100000), 'language', repeat('ß', 1000), 'key', repeat('k', 100000),
	'url', 'https://go.example/plain?a=' || repeat('b', 40000))) AS c;
SELECT length(t.value) AS agent, length(r.value) AS referrer, e.channel, length(e.language) AS language, e.token_reason, k.key ~ '^hash:[0-9a-f]{32}$' AS key_hashed
	FROM biolink.event AS e JOIN biolink.repeated_text AS t ON t.creator_id = e.creator_id AND t.text_id = e.agent_id JOIN biolink.repeated_text AS r ON r.creator_id = e.creator_id AND r.text_id = e.referrer_id
	JOIN biolink.event_key AS k ON k.creator_id = e.creator_id AND k.event_id = e.event_id WHERE e.creator_id = 7001 AND e.language LIKE 'ß%';

-- visitors: a cookie, none, measurement denied
SELECT a.visitor OPERATOR(biolink.=) b.visitor AS cookie_is_kept, a.visitor OPERATOR(biolink.=) p.visitor AS pending_is, a.visitor OPERATOR(biolink.=) c.visitor AS denied_is, d.visitor OPERATOR(biolink.=) e.visitor AS id_as_cookie
	FROM biolink.click(7001, 'plain', '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "visitor": "cookie-1"}') AS a,
		biolink.click(7001, 'plain', '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "visitor": "cookie-1"}') AS b,
		biolink.click(7001, 'plain', '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "visitor": "cookie-1", "consent": {"measurement": "denied"}}') AS c,
		biolink.click(7001, 'plain', '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "visitor": "cookie-1", "consent": {"measurement": "pending"}}') AS p,
		biolink.click(7001, 'plain', '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"}') AS d
		CROSS JOIN LATERAL biolink.click(7001, 'plain', jsonb_build_object('user_agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0', 'visitor', d.click_id)) AS e;
SELECT count(DISTINCT e.day_visitor) FROM biolink.event AS e WHERE e.creator_id = 7001 AND e.day_visitor IS NOT NULL;

-- without a token, a click from an own page continues the visitor's latest visit; an own host is no channel
SELECT v.visit_id FROM biolink.open_page(7001, '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "visitor": "cookie-2", "referrer": "https://www.tiktok.com/@x", "occurred_at": "2026-03-30T10:00:00Z"}') AS v \gset
SELECT c.click_id FROM biolink.click(7001, 'plain', '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "visitor": "cookie-2", "referrer": "https://BIO.example./me", "occurred_at": "2026-03-30T10:10:00Z"}') AS c \gset
SELECT e.channel, e.channel_evidence, e.evidence, e.visit_id = :'visit_id' AS continues
	FROM biolink.event AS e WHERE e.event_id = :'click_id';
SELECT c.click_id FROM biolink.click(7001, 'plain', '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "visitor": "cookie-3", "referrer": "https://bio.example/me", "occurred_at": "2026-03-30T10:10:00Z"}') AS c \gset
SELECT e.channel, e.channel_evidence, e.evidence, e.visit_id FROM biolink.event AS e WHERE e.event_id = :'click_id';

-- a token that does not hold is noted, and the click taken
CREATE TEMPORARY TABLE taken AS SELECT r.name, c.status, c.click_id
	FROM (VALUES ('garbage', jsonb_build_object('token', 'garbage')),
		('expired', jsonb_build_object('token', biolink.issue_token(7001, 'session', :'visit_visit_id', expires_at => '2026-01-01Z'))),
		('other creator', jsonb_build_object('token', biolink.issue_token(7002, 'session', :'visit_visit_id'))),
		('other audience', jsonb_build_object('token', biolink.issue_token(7001, 'session', :'visit_visit_id', audience => 'shop')))) AS r (name, request)
	CROSS JOIN LATERAL biolink.click(7001, 'plain', r.request || '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"}') AS c;
SELECT t.name, t.status, e.token_reason, e.visit_id IS NULL AS no_visit FROM taken AS t JOIN biolink.event AS e ON e.event_id = t.click_id ORDER BY t.name;

-- robots name who runs them: not in here
SELECT c.reason FROM biolink.click(7001, 'plain', '{"user_agent": "Mozilla/5.0 (compatible; ExampleBot/1.2; +https://example.com/bot; jane.doe@example.com)", "referrer": "https://example.com/?u=jane%40example.com"}') AS c;
SELECT t.value FROM biolink.repeated_text AS t WHERE t.creator_id = 7001 AND t.value ~ 'ExampleBot|example.com.*u=' ORDER BY t.value;

-- a change of a link counts at once, also when it is taken back
SELECT c.redirect_url FROM biolink.click(7001, 'plain', '{}') AS c;
UPDATE biolink.link SET url = 'http://new.example/' WHERE creator_id = 7001 AND slug = 'plain';
SELECT c.redirect_url FROM biolink.click(7001, 'plain', '{}') AS c;
BEGIN;
UPDATE biolink.link SET url = 'http://newer.example/' WHERE creator_id = 7001 AND slug = 'plain';
SELECT c.redirect_url FROM biolink.click(7001, 'plain', '{}') AS c;
ROLLBACK;
SELECT c.redirect_url FROM biolink.click(7001, 'plain', '{}') AS c;

-- a link or creator that was never committed is none
BEGIN;
INSERT INTO biolink.link (creator_id, link_id, slug, url) VALUES (7001, 18, 'undone', 'https://wrong.example/');
SELECT c.status, c.redirect_url FROM biolink.click(7001, 'undone', '{}') AS c;
ROLLBACK;
SELECT c.status, c.reason FROM biolink.click(7001, 'undone', '{}') AS c;
BEGIN;
SAVEPOINT a;
INSERT INTO biolink.creator (creator_id, handle) VALUES (7003, 'undone');
INSERT INTO biolink.link (creator_id, link_id, slug, url) VALUES (7003, 19, 'undone', 'https://wrong.example/');
SELECT c.status, c.redirect_url FROM biolink.click(7003, 'undone', '{}') AS c;
ROLLBACK TO a;
SELECT c.status, c.reason FROM biolink.click(7003, 'undone', '{}') AS c;
COMMIT;
INSERT INTO biolink.link (creator_id, link_id, slug, url) VALUES (7001, 20, 'undone', 'https://right.example/');
SELECT c.status, c.redirect_url FROM biolink.click(7001, 'undone', '{}') AS c;

-- likewise offers, their links included
SELECT jsonb_path_query_array(v.offers, '$[*].name') AS offers, jsonb_path_query_array(v.offers, '$[*].link') AS links FROM biolink.open_page(7001, '{}') AS v;
INSERT INTO biolink.link (creator_id, link_id, slug, url, offer_id) VALUES (7001, 17, 'call', 'http://shop.example/call', 2);
UPDATE biolink.offer SET sort_order = 5 WHERE creator_id = 7001 AND offer_id = 2;
SELECT jsonb_path_query_array(v.offers, '$[*].name') AS offers, jsonb_path_query_array(v.offers, '$[*].link') AS links FROM biolink.open_page(7001, '{}') AS v;
UPDATE biolink.link SET active = false WHERE creator_id = 7001 AND slug = 'mug';
INSERT INTO biolink.offer (creator_id, offer_id, name, sort_order) VALUES (7001, 4, 'New', -1);
SELECT jsonb_path_query_array(v.offers, '$[*].name') AS offers, jsonb_path_query_array(v.offers, '$[*].link') AS links FROM biolink.open_page(7001, '{}') AS v;

-- repeated texts are stored once, also across rolled back savepoints
BEGIN;
SAVEPOINT a;
SELECT c.status FROM biolink.click(7001, 'plain', '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0"}') AS c;
ROLLBACK TO a;
SELECT c.status FROM biolink.click(7001, 'plain', '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0"}') AS c;
COMMIT;
SELECT c.status FROM biolink.click(7001, 'plain', '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0"}') AS c;
SELECT count(*) FROM biolink.event AS e JOIN biolink.repeated_text AS t ON t.creator_id = e.creator_id AND t.text_id = e.agent_id WHERE t.value = 'Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0';

-- look-alike operators and functions of a caller's search_path change nothing
RESET ROLE;
CREATE SCHEMA lookalike;
CREATE FUNCTION lookalike.never(int8, int8) RETURNS bool LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR lookalike.= (LEFTARG = int8, RIGHTARG = int8, FUNCTION = lookalike.never);
GRANT USAGE ON SCHEMA lookalike TO regress_app;
DROP TABLE taken;
\c -
SET search_path = lookalike, pg_catalog;
SET ROLE regress_app;
SELECT c.status FROM biolink.click(7001, 'plain', '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"}') AS c;
SELECT v.reason FROM biolink.open_page(7001, '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"}') AS v;
RESET search_path;

-- who may not call
RESET ROLE;
CREATE ROLE regress_nobody;
SET ROLE regress_nobody;
SELECT * FROM biolink.click(7001, 'plain', '{}');
RESET ROLE;
SET ROLE regress_admin;
SELECT * FROM biolink.click(7001, 'plain', '{}');
INSERT INTO biolink.event (creator_id, event_id, occurred_at, kind, source) VALUES (7001, biolink.uuid_v7(), now(), 'click', 'x');
RESET ROLE;
SELECT rule, ok, failures FROM biolink.integrity_check(7001);

SET client_min_messages = warning;
DROP SCHEMA lookalike CASCADE;
DROP ROLE regress_nobody, regress_app, regress_admin;
