-- From clicks and orders to credit: paths, reasons, models, and the numbers an analyst reads.
\set SHOW_CONTEXT never
CREATE ROLE regress_app; GRANT biolink_app TO regress_app;
CREATE ROLE regress_admin; GRANT biolink_admin TO regress_admin;
CREATE ROLE regress_analyst; GRANT biolink_analyst TO regress_analyst;
CREATE ROLE regress_other; GRANT biolink_analyst TO regress_other;
SET ROLE regress_app;
\set ff 'Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0'

INSERT INTO biolink.creator (creator_id, handle, hosts, currency, time_zone) VALUES (7201, 'attribution_test', '{bio.example}', 'EUR', 'America/New_York'), (7202, 'attribution_other', '{}', 'EUR', 'UTC');
INSERT INTO biolink.link (creator_id, link_id, slug, url) VALUES (7201, 41, 'a', 'https://a.example/'), (7201, 42, 'b', 'https://b.example/'), (7202, 43, 'c', 'https://c.example/');

-- A small history, told as rows: visits and clicks of visitors, then orders.  Times are days and hours of March 2026 (UTC).
CREATE TEMPORARY TABLE touch (n int, what text, visitor text, at timestamptz, link text, request jsonb, id uuid, token text);
INSERT INTO touch (n, what, visitor, at, link, request) VALUES
	(1, 'click', 'ann', '2026-03-01 10:00Z', 'a', '{"url": "https://x.example/?utm_source=instagram&utm_medium=social"}'),
	(2, 'click', 'ann', '2026-03-01 10:10Z', 'a', '{"url": "https://x.example/?utm_source=instagram&utm_medium=social"}'),
	(3, 'click', 'ann', '2026-03-01 10:31Z', 'a', '{"url": "https://x.example/?utm_source=instagram&utm_medium=social"}'),
	(4, 'click', 'ann', '2026-03-05 10:00Z', 'b', '{"referrer": "https://t.co/x"}'),
	(5, 'click', 'ann', '2026-03-06 10:00Z', 'b', '{}'),
	(6, 'visit', 'bob', '2026-03-02 08:00Z', NULL, '{"referrer": "https://www.youtube.com/"}'),
	(7, 'click', 'bob', '2026-03-02 08:01Z', 'a', '{}'),
	(8, 'click', 'bob', '2026-03-02 08:05Z', 'b', '{}'),
	(9, 'click', 'bot', '2026-03-02 09:00Z', 'a', '{"user_agent": "curl/8.0"}'),
	(10, 'click', 'old', '2026-01-01 09:00Z', 'a', '{}'),
	(11, 'visit', 'eve', '2026-03-08 09:00Z', NULL, '{"url": "https://bio.example/?utm_source=tiktok"}'),
	(12, 'click', 'cat', '2026-03-09 12:00Z', 'a', '{}'),
	(13, 'click', 'tst', '2026-03-09 12:00Z', 'a', '{"test": true}'),
	(14, 'click', 'ann', '2026-03-11 00:00Z', 'a', '{}');
DO $$
DECLARE
	t record;
	visit text;
BEGIN
	FOR t IN SELECT * FROM touch ORDER BY n LOOP
		t.request := jsonb_build_object('visitor', t.visitor, 'occurred_at', t.at, 'user_agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0') || t.request;
		IF t.what = 'visit' THEN
			UPDATE touch SET id = v.visit_id, token = v.token FROM biolink.open_page(7201, t.request) AS v WHERE n = t.n RETURNING touch.token INTO visit;
		ELSE
			IF t.visitor = 'bob' THEN
				t.request := t.request || jsonb_build_object('token', biolink.issue_token(7201, 'session', (SELECT id FROM touch WHERE n = 6), expires_at => '2026-03-03Z'));
			END IF;
			UPDATE touch SET id = c.click_id, token = c.token FROM biolink.click(7201, t.link, t.request) AS c WHERE n = t.n;
		END IF;
	END LOOP;
END
$$;

CREATE TEMPORARY TABLE sale (name text, event jsonb);
INSERT INTO sale VALUES
	('ann', '{"visitor": "ann", "amount": 1000, "occurred_at": "2026-03-10T10:00:00Z"}'),
	('bob', jsonb_build_object('token', (SELECT token FROM touch WHERE n = 7), 'amount', 999, 'occurred_at', '2026-03-02T09:00:00Z')),
	('bob again', jsonb_build_object('visitor', 'bob', 'amount', 500, 'occurred_at', '2026-03-03T09:00:00Z')),
	('bot', '{"visitor": "bot", "amount": 100, "occurred_at": "2026-03-03T09:00:00Z"}'),
	('old', '{"visitor": "old", "amount": 101, "occurred_at": "2026-03-03T09:00:00Z"}'),
	('bad token', '{"token": "garbage", "amount": 102, "occurred_at": "2026-03-03T09:00:00Z"}'),
	('denied', '{"visitor": "ann", "consent": {"measurement": "denied"}, "amount": 103, "occurred_at": "2026-03-03T09:00:00Z"}'),
	('nothing', '{"amount": 104, "occurred_at": "2026-03-03T09:00:00Z"}'),
	('eve', '{"visitor": "eve", "amount": 105, "currency": "USD", "occurred_at": "2026-03-09T03:30:00Z"}'),
	('at its click', '{"visitor": "cat", "amount": 106, "occurred_at": "2026-03-09T12:00:00Z"}'),
	('before its click', '{"visitor": "cat", "amount": 107, "occurred_at": "2026-03-09T11:59:59.999999Z"}'),
	('test', '{"visitor": "tst", "amount": 108, "test": true, "occurred_at": "2026-03-09T13:00:00Z"}'),
	('of a test click', '{"visitor": "tst", "amount": 109, "occurred_at": "2026-03-09T13:00:00Z"}');
SELECT s.name, t.status FROM sale AS s CROSS JOIN LATERAL biolink.track(7201, '{"kind": "order", "source": "shop", "currency": "EUR"}' || jsonb_build_object('key', s.name, 'order_id', s.name) || s.event) AS t;
SELECT t.status FROM biolink.track(7201, '{"kind": "refund", "source": "shop", "key": "refund ann", "order_id": "ann", "amount": 250, "currency": "EUR", "occurred_at": "2026-03-12T10:00:00Z"}') AS t;
SELECT t.status FROM biolink.track(7201, '{"kind": "refund", "source": "shop", "key": "refund bob", "order_id": "bob", "amount": 1100, "currency": "EUR", "occurred_at": "2026-03-12T10:00:00Z"}') AS t;
SELECT t.status FROM biolink.track(7201, '{"kind": "lead", "source": "form", "key": "lead", "goal": "newsletter", "visitor": "bob", "occurred_at": "2026-03-02T08:30:00Z"}') AS t;
SELECT t.status FROM biolink.track(7202, '{"kind": "order", "source": "shop", "key": "o", "order_id": "o", "amount": 55, "currency": "EUR", "occurred_at": "2026-03-02T08:30:00Z"}') AS t;

-- the job is not the application's to run
CALL biolink.run_job('attribute');
RESET ROLE;
SET ROLE regress_admin;
CALL biolink.run_job('attribute');
INSERT INTO biolink.creator_member (creator_id, role_name) VALUES (7201, 'regress_analyst'), (7202, 'regress_other'), (7202, 'regress_role_that_is_gone');
RESET ROLE;
GRANT SELECT ON touch TO regress_analyst;
SET ROLE regress_analyst;

-- paths
SELECT c.order_id, c.goal, c.touches, c.reason, p.position, t.n AS touch, p.kind, p.evidence, p.channel, p.is_direct
	FROM biolink.conversion AS c LEFT JOIN biolink.touch_path AS p USING (creator_id, conversion_id) LEFT JOIN touch AS t ON t.id = p.click_id
	WHERE c.creator_id = 7201 ORDER BY c.order_id, p.position;

-- credit, for an order with a refund
SELECT a.model, string_agg(a.credit || '/' || a.gross_credit, ' ' ORDER BY a.position) AS credits, sum(a.credit) AS credit, sum(a.gross_credit) AS gross, sum(a.weight) AS weight
	FROM biolink.attribution AS a WHERE a.creator_id = 7201 AND a.order_id = 'ann' GROUP BY a.model ORDER BY a.model;
SELECT u.order_id, u.currency, u.amount, u.reason FROM biolink.unattributed AS u WHERE u.creator_id = 7201 ORDER BY u.order_id;
SELECT a.goal, a.model, a.channel, a.currency, a.credit FROM biolink.attribution AS a WHERE a.creator_id = 7201 AND a.order_id IS NULL AND a.model = 'linear';

-- the proof: per model and currency, credits + unattributed = net revenue
SELECT m.model, n.currency, COALESCE(c.credit, 0) AS credit, COALESCE(u.amount, 0) AS unattributed, n.net
	FROM unnest('{first,last,last_non_direct,linear,position,time_decay}'::text[]) AS m (model)
	CROSS JOIN (SELECT currency, sum(amount) AS net FROM biolink.ledger WHERE creator_id = 7201 AND NOT is_test GROUP BY currency) AS n
	LEFT JOIN (SELECT model, currency, sum(credit) AS credit FROM biolink.attribution WHERE creator_id = 7201 GROUP BY 1, 2) AS c ON c.model = m.model AND c.currency = n.currency
	LEFT JOIN (SELECT currency, sum(amount) AS amount FROM biolink.unattributed WHERE creator_id = 7201 GROUP BY 1) AS u ON u.currency = n.currency
	ORDER BY m.model, n.currency;

-- what analysts read
\pset null '-'
SELECT p.dimensions ->> 'channel' AS channel, p.visits, p.clicks, p.bot_clicks, p.visitors, round(p.leads, 2) AS leads, round(p.conversions, 2) AS conversions, p.revenue, p.refunds, p.net_revenue, p.currency, p.conversion_rate, p.revenue_per_click
	FROM biolink.performance(7201, '{channel}', NULL, NULL) AS p;
SELECT p.dimensions, p.clicks, p.revenue, p.refunds, p.net_revenue, p.currency FROM biolink.performance(7201, '{}', NULL, NULL) AS p;
SELECT p.dimensions, p.clicks, p.revenue, p.refunds, p.net_revenue, p.currency FROM biolink.performance(7201, '{}', NULL, NULL, currency => 'USD') AS p;
SELECT p.dimensions, p.revenue FROM biolink.performance(7201, '{channel,link}', '2026-03-10Z', '2026-03-11Z', 'linear') AS p;
SELECT p.dimensions, p.revenue FROM biolink.performance(7201, '{channel,link}', '2026-03-05Z', '2026-03-07Z', 'linear', 'click') AS p;
-- 03:30 UTC of 9 March is still 8 March in New York
SELECT p.dimensions ->> 'day' AS day, p.revenue FROM biolink.performance(7201, '{day}', NULL, NULL, currency => 'USD') AS p WHERE p.revenue > 0;
SELECT p.dimensions ->> 'day' AS day, p.revenue FROM biolink.performance(7201, '{day}', NULL, NULL, currency => 'USD', time_zone => 'UTC') AS p WHERE p.revenue > 0;
SELECT d.dimension, (SELECT sum(p.net_revenue) FROM biolink.performance(7201, ARRAY[d.dimension], NULL, NULL, 'linear') AS p WHERE p.currency = 'EUR') AS net,
		(SELECT sum(p.clicks) FROM biolink.performance(7201, ARRAY[d.dimension], NULL, NULL, 'linear') AS p) AS clicks
	FROM biolink.performance_dimensions() AS d;
SELECT v.day, v.channel, v.clicks, v.net_revenue, v.currency FROM biolink.channel_performance AS v WHERE v.creator_id = 7201 AND v.net_revenue <> 0 ORDER BY v.day, v.channel, v.currency;
SELECT v.link, sum(v.clicks) AS clicks, sum(v.net_revenue) AS net FROM biolink.link_performance AS v WHERE v.creator_id = 7201 AND v.currency = 'EUR' GROUP BY v.link ORDER BY v.link;
SELECT * FROM biolink.performance(7201, '{channel,colour}', NULL, NULL);
SELECT * FROM biolink.performance(7201, '{channel}', NULL, NULL, 'best');
SELECT * FROM biolink.performance(7201, '{channel}', NULL, NULL, basis => 'wish');
SELECT * FROM biolink.performance(7201, '{channel}', NULL, NULL, time_zone => 'Mars/Olympus');

-- each analyst sees the creators given to it, and no other
SELECT array_agg(DISTINCT creator_id) FROM biolink.event;
SELECT biolink.my_creators();
SELECT count(*) FROM biolink.performance(7202, '{}', NULL, NULL);
RESET ROLE;
SET ROLE regress_other;
SELECT array_agg(DISTINCT creator_id) FROM biolink.ledger;
SELECT creator_id, amount, reason FROM biolink.unattributed;
SELECT rule, ok, failures FROM biolink.integrity_check();
RESET ROLE;
SET ROLE regress_app;

-- A touch that arrives after its conversion was built is credited by the next run; running again changes nothing.
SELECT c.status FROM biolink.click(7201, 'b', jsonb_build_object('user_agent', :'ff', 'visitor', 'ann', 'occurred_at', '2026-03-09T00:00:00Z', 'url', 'https://x.example/?utm_source=newsletter')) AS c;
RESET ROLE;
SET ROLE regress_admin;
CALL biolink.run_job('attribute');
SELECT p.position, p.channel, p.touched_at AT TIME ZONE 'UTC' AS touched_at FROM biolink.touch_path AS p JOIN biolink.conversion AS c USING (creator_id, conversion_id) WHERE c.creator_id = 7201 AND c.order_id = 'ann' ORDER BY p.position;
SELECT md5(string_agg(p::text, '' ORDER BY p.conversion_id, p.position)) AS before FROM biolink.touch_path AS p WHERE p.creator_id = 7201 \gset
CALL biolink.run_job('attribute');
SELECT md5(string_agg(p::text, '' ORDER BY p.conversion_id, p.position)) = :'before' AS unchanged FROM biolink.touch_path AS p WHERE p.creator_id = 7201;
SELECT count(*) FROM biolink.attribution_queue WHERE creator_id = 7201;

-- the lookback is 720 hours whatever the caller's time zone does with its clocks: 2026-03-08 has 23 hours in New York
RESET ROLE;
SET ROLE regress_app;
SELECT c.status FROM biolink.click(7201, 'a', jsonb_build_object('user_agent', :'ff', 'visitor', 'clock', 'occurred_at', '2026-02-20T12:00:00Z')) AS c;
SELECT t.status FROM biolink.track(7201, '{"kind": "order", "source": "shop", "key": "clock", "order_id": "clock", "amount": 5, "currency": "EUR", "visitor": "clock", "occurred_at": "2026-03-22T11:30:00Z"}') AS t;
SELECT t.status FROM biolink.track(7201, '{"kind": "order", "source": "shop", "key": "clock2", "order_id": "clock2", "amount": 5, "currency": "EUR", "visitor": "clock", "occurred_at": "2026-03-22T12:00:00.000001Z"}') AS t;
RESET ROLE;
SET ROLE regress_admin;
SET TimeZone = 'America/New_York';
CALL biolink.run_job('attribute');
RESET TimeZone;
SELECT c.order_id, c.touches, c.reason FROM biolink.conversion AS c WHERE c.creator_id = 7201 AND c.order_id LIKE 'clock%' ORDER BY c.order_id;

-- a visit or click that was seen elsewhere and is told by track() is a touch like any other
RESET ROLE;
SET ROLE regress_app;
SELECT t.status FROM biolink.track(7201, '{"kind": "click", "source": "edge", "key": "e1", "visitor": "edge", "link_id": 42, "url": "https://x.example/?utm_source=Pinterest", "occurred_at": "2026-03-20T10:00:00Z"}') AS t;
SELECT t.event_id AS told FROM biolink.track(7201, '{"kind": "visit", "source": "edge", "key": "e2", "occurred_at": "2026-03-20T11:00:00Z"}') AS t \gset
SELECT t.status FROM biolink.track(7201, '{"kind": "order", "source": "shop", "key": "edge", "order_id": "edge", "amount": 5, "currency": "EUR", "visitor": "edge", "occurred_at": "2026-03-21T10:00:00Z"}') AS t;
SELECT t.status FROM biolink.track(7201, jsonb_build_object('kind', 'order', 'source', 'shop', 'key', 'edge2', 'order_id', 'edge2', 'amount', 5, 'currency', 'EUR', 'click_id', :'told', 'occurred_at', '2026-03-21T10:00:00Z')) AS t;
RESET ROLE;
SET ROLE regress_admin;
CALL biolink.run_job('attribute');
SELECT c.order_id, p.kind, p.channel, p.evidence, p.link_id FROM biolink.conversion AS c JOIN biolink.touch_path AS p USING (creator_id, conversion_id) WHERE c.creator_id = 7201 AND c.order_id LIKE 'edge%' ORDER BY c.order_id;

-- jobs
CALL biolink.run_job('dance');
CALL biolink.run_job(NULL);
BEGIN;
CALL biolink.run_job('attribute');
ROLLBACK;
CALL biolink.run_job('maintain');
CALL biolink.run_job('maintain');
SELECT count(*) FROM biolink.missing_event_partitions();
RESET ROLE;
SELECT count(*) AS strays FROM biolink.event_default;
SELECT count(*) > 0 AS moved FROM biolink.event_2026_03;
SELECT i.indexdef FROM pg_indexes AS i WHERE i.tablename = 'event_2026_03' ORDER BY i.indexname;
SELECT count(*) AS grants FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a WHERE c.oid = 'biolink.event_2026_03'::regclass AND a.grantee <> c.relowner;
-- a look-up by id reads one partition, and so does a range of time
SET ROLE regress_analyst;
CREATE FUNCTION pg_temp.leaves_read(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	leaves text[] := '{}';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		leaves := leaves || regexp_replace(line, '^.* on (event_[0-9a-z_]+) .*$', '\1');
	END LOOP;
	RETURN (SELECT string_agg(DISTINCT l, ' ') FROM unnest(leaves) AS l WHERE l ~ '^event_([0-9]{4}_[0-9]{2}|default)$');
END
$$;
SELECT pg_temp.leaves_read('SELECT * FROM biolink.event AS e WHERE e.creator_id = 7201 AND e.occurred_at >= ''2026-03-02Z'' AND e.occurred_at < ''2026-03-03Z''');
DROP FUNCTION pg_temp.leaves_read;
RESET ROLE;
SELECT rule, ok, failures FROM biolink.integrity_check(7201);
DROP TABLE touch, sale;
DROP ROLE regress_app, regress_admin, regress_analyst, regress_other;
