-- Leads, orders and refunds, as the application role sends them.
CREATE ROLE regress_app; GRANT biolink_app TO regress_app;
SET ROLE regress_app;
INSERT INTO biolink.creator (creator_id, handle) VALUES (7101, 'track_test'), (7102, 'track_other');
INSERT INTO biolink.link (creator_id, link_id, slug, url) VALUES (7101, 21, 'a', 'https://shop.example/');
SELECT c.click_id, c.token FROM biolink.click(7101, 'a', '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "occurred_at": "2026-03-01T10:00:00Z"}') AS c \gset

-- what each call answers, and what it did to the books
CREATE TEMPORARY TABLE sent (n int, event jsonb);
INSERT INTO sent VALUES
	(1, '{"kind": "order", "source": "shop", "key": "o1", "order_id": "A", "amount": 1000, "currency": "EUR", "occurred_at": "2026-03-02T10:00:00Z", "note": "for x@y.example"}'),
	(2, '{"kind": "order", "source": "shop", "key": "o1", "order_id": "A", "amount": 1000, "currency": "EUR", "occurred_at": "2026-03-02T10:00:00Z", "note": "for x@y.example", "sent_at": "2026-03-02T10:00:05Z"}'),
	(3, '{"kind": "order", "source": "shop", "key": "o1", "order_id": "A", "amount": 1001, "currency": "EUR", "occurred_at": "2026-03-02T10:00:00Z"}'),
	(4, '{"kind": "order", "source": "psp", "key": "o1", "order_id": "A", "amount": 1000, "currency": "EUR", "occurred_at": "2026-03-02T09:59:00Z"}'),
	(5, '{"kind": "order", "source": "psp", "key": "o2", "order_id": "A", "amount": 999, "currency": "EUR"}'),
	(6, '{"kind": "order", "source": "psp", "key": "o2", "order_id": "A", "amount": 999, "currency": "EUR"}'),
	(7, '{"kind": "order", "source": "psp", "key": "o2", "order_id": "A", "amount": 1000, "currency": "EUR", "occurred_at": "2026-03-02T10:00:00Z"}'),
	(8, '{"kind": "order", "source": "psp", "key": "o3", "order_id": "A", "amount": 1000, "currency": "USD"}'),
	(9, '{"kind": "order", "source": "psp", "key": "o4", "order_id": "A", "amount": 1000, "currency": "EUR", "test": true}'),
	(10, '{"kind": "order", "source": "shop", "key": "o1", "order_id": "A", "amount": 900, "currency": "EUR", "revision": 2, "occurred_at": "2026-03-02T11:00:00Z"}'),
	(11, '{"kind": "order", "source": "shop", "key": "o1", "order_id": "A", "amount": 950, "currency": "EUR", "revision": 1, "occurred_at": "2026-03-02T10:30:00Z"}'),
	(12, '{"kind": "order", "source": "shop", "key": "o1", "order_id": "A", "amount": 900, "currency": "USD", "revision": 3}'),
	(13, '{"kind": "refund", "source": "shop", "key": "r1", "order_id": "A", "amount": 100, "currency": "EUR", "occurred_at": "2026-03-03T10:00:00Z"}'),
	(14, '{"kind": "refund", "source": "shop", "key": "r1", "order_id": "A", "amount": 100, "currency": "EUR", "occurred_at": "2026-03-03T10:00:00Z"}'),
	(15, '{"kind": "refund", "source": "shop", "key": "r2", "order_id": "A", "amount": 5, "currency": "USD"}'),
	(16, '{"kind": "refund", "source": "shop", "key": "r3", "order_id": "B", "amount": 70, "currency": "JPY", "occurred_at": "2026-03-03T10:00:00Z"}'),
	(17, '{"kind": "order", "source": "shop", "key": "o5", "order_id": "B", "amount": 500, "currency": "JPY", "occurred_at": "2026-03-02T10:00:00Z"}'),
	(18, '{"kind": "dispute", "source": "psp", "key": "d1", "order_id": "B", "amount": 430, "currency": "JPY", "occurred_at": "2026-03-04T10:00:00Z"}'),
	(19, '{"kind": "dispute_won", "source": "psp", "key": "d2", "order_id": "B", "amount": 430, "currency": "JPY", "occurred_at": "2026-03-05T10:00:00Z"}'),
	(20, '{"kind": "order", "source": "shop", "key": "o6", "order_id": "C", "amount": 300, "currency": "EUR", "payment": "pending"}'),
	(21, '{"kind": "order", "source": "shop", "key": "o7", "order_id": "C", "amount": 300, "currency": "EUR", "payment": "paid"}'),
	(22, '{"kind": "order", "source": "shop", "key": "o8", "order_id": "D", "amount": 0, "currency": "EUR"}'),
	(23, '{"kind": "order", "source": "shop", "key": "o9", "order_id": "E", "amount": 1234, "currency": "KWD", "test": true}'),
	(24, '{"kind": "lead", "source": "form", "key": "l1"}'),
	(25, '{"kind": "newsletter", "source": "form", "key": "l2", "goal": "signup"}'),
	(26, '{"kind": "impression", "source": "page", "key": "i1", "visitor": "cookie"}'),
	(27, '{"kind": "order", "source": "shop", "key": "mail to jane@shop.example", "order_id": "F", "amount": 1, "currency": "EUR"}'),
	(28, '{"kind": "order", "source": "shop", "key": "mail to jane@shop.example", "order_id": "F", "amount": 1, "currency": "EUR"}');
SELECT s.n, t.status, t.detail FROM sent AS s CROSS JOIN LATERAL biolink.track(7101, s.event) AS t ORDER BY s.n;
SELECT l.order_id, l.kind, l.amount, l.currency, l.is_test FROM biolink.ledger AS l WHERE l.creator_id = 7101 ORDER BY l.order_id, l.received_at;
SELECT p.source, p.key, p.kind, p.reason, p.event - 'occurred_at' AS event FROM biolink.event_parked AS p WHERE p.creator_id = 7101 ORDER BY p.received_at;
SELECT e.order_id, e.kind, e.goal, e.payment, e.merged, e.context FROM biolink.event AS e WHERE e.creator_id = 7101 AND e.source NOT LIKE 'biolink:%' ORDER BY e.received_at;
SELECT k.source, regexp_replace(k.key, '[0-9a-f]{32}', '<hash>') AS key, k.kind, k.revision, length(k.digest) FROM biolink.event_key AS k WHERE k.creator_id = 7101 ORDER BY k.received_at, k.revision DESC LIMIT 3;
SELECT regexp_replace(k.key, '[0-9a-f]{32}', '<hash>') AS key FROM biolink.event_key AS k WHERE k.creator_id = 7101 AND k.key LIKE 'hash:%';

-- revisions: what a key held before is known again, a refund under an order's key is none, an unpaid order becomes a sale
CREATE TEMPORARY TABLE revised (n int, event jsonb);
INSERT INTO revised VALUES
	(1, '{"kind": "order", "key": "v1", "order_id": "R", "amount": 100, "currency": "EUR"}'),
	(2, '{"kind": "order", "key": "v1", "order_id": "R", "amount": 120, "currency": "EUR", "revision": 5}'),
	(3, '{"kind": "order", "key": "v1", "order_id": "R", "amount": 100, "currency": "EUR"}'),
	(4, '{"kind": "order", "key": "v1", "order_id": "R", "amount": 110, "currency": "EUR", "revision": 3}'),
	(5, '{"kind": "refund", "key": "v1", "order_id": "R", "amount": 10, "currency": "EUR"}'),
	(6, '{"kind": "order", "key": "v1", "order_id": "S", "amount": 120, "currency": "EUR", "revision": 6}'),
	(7, '{"kind": "order", "key": "v1", "order_id": "R", "amount": 120, "currency": "EUR", "revision": 6, "payment": "failed"}'),
	(8, '{"kind": "order", "key": "v2", "order_id": "P", "amount": 50, "currency": "EUR", "payment": "pending"}'),
	(9, '{"kind": "order", "key": "v2", "order_id": "P", "amount": 60, "currency": "EUR", "payment": "pending", "revision": 1}'),
	(10, '{"kind": "order", "key": "v2", "order_id": "P", "amount": 60, "currency": "EUR", "payment": "paid", "revision": 2}'),
	(11, '{"kind": "order", "key": "v2", "order_id": "P", "amount": 55, "currency": "EUR", "payment": "paid", "revision": 3}'),
	(12, '{"kind": "order", "key": "v2", "order_id": "P", "amount": 50, "currency": "EUR", "payment": "pending"}'),
	(13, '{"kind": "order", "key": "v3", "order_id": "Q", "amount": 50, "currency": "EUR", "payment": "pending"}'),
	(14, '{"kind": "order", "key": "v4", "order_id": "Q", "amount": 50, "currency": "EUR"}'),
	(15, '{"kind": "order", "key": "v3", "order_id": "Q", "amount": 50, "currency": "EUR", "revision": 1}'),
	(16, '{"kind": "order", "key": "v3", "order_id": "Q", "amount": 40, "currency": "EUR", "revision": 2}'),
	(17, '{"kind": "refund", "key": "v5", "order_id": "Q", "amount": 20}'),
	(18, '{"kind": "order", "key": "v6", "order_id": "T", "amount": 7, "currency": "EUR", "token": 5, "click_id": {}, "visitor": [1], "url": true, "link_id": "abc", "offer_id": 0.5, "consent": "denied", "ip": "203.0.113.9", "subscription_id": "sub_1"}'),
	(19, '{"kind": "refund", "key": "v8", "order_id": "W", "amount": 70, "currency": "USD"}'),
	(20, '{"kind": "order", "key": "v9", "order_id": "W", "amount": 90, "currency": "EUR"}'),
	(21, '{"kind": "order", "key": "v10", "order_id": "buyer@shop.example", "goal": "mail a@b.example", "amount": 3, "currency": "EUR", "visitor": "v"}'),
	(22, '{"kind": "order", "key": "v11", "order_id": "buyer@shop.example", "amount": 3, "currency": "EUR", "visitor": "v"}'),
	(23, '{"kind": "order", "key": "v12", "order_id": "buyer@shop.example", "amount": 4, "currency": "EUR", "visitor": "v", "ip": "203.0.113.9"}');
SELECT s.n, t.status, t.detail FROM revised AS s CROSS JOIN LATERAL biolink.track(7101, '{"source": "revised", "occurred_at": "2026-03-02T10:00:00Z"}' || s.event) AS t ORDER BY s.n;
SELECT l.order_id, l.kind, l.amount, l.currency FROM biolink.ledger AS l WHERE l.creator_id = 7101 AND l.order_id IN ('P', 'Q', 'R', 'S', 'T') ORDER BY l.order_id, l.received_at;
SELECT e.token_reason, e.click_id, e.visitor, e.measurement_denied, e.context FROM biolink.event AS e WHERE e.creator_id = 7101 AND e.order_id = 'T';
-- money that is of no conversion is unattributed: of an order in another currency, of one the job has not come to
SELECT u.order_id, u.currency, u.amount, u.reason FROM biolink.unattributed AS u WHERE u.creator_id = 7101 AND u.order_id IN ('P', 'W') ORDER BY u.order_id, u.currency;
SELECT regexp_replace(e.order_id, '[0-9a-f]{32}', '<hash>') AS order_id, e.goal, e.merged FROM biolink.event AS e WHERE e.creator_id = 7101 AND e.order_id LIKE 'hash:%' ORDER BY e.received_at;
SELECT p.reason, p.event - 'occurred_at' AS event FROM biolink.event_parked AS p WHERE p.creator_id = 7101 AND p.key = 'v12';
SELECT * FROM biolink.track(7101, '{"kind": "refund", "source": "revised", "key": "v7", "order_id": "unknown", "amount": 20}');

-- the first answer comes back
SELECT a.event_id = b.event_id AS same FROM biolink.track(7101, (SELECT event FROM sent WHERE n = 24)) AS a, biolink.track(7101, (SELECT event FROM sent WHERE n = 24)) AS b;

-- the keys of one creator are not those of another, nor those of one source
SELECT t.status FROM biolink.track(7102, (SELECT event FROM sent WHERE n = 1)) AS t;
SELECT t.status FROM biolink.track(7101, '{"kind": "lead", "source": "other form", "key": "l1"}') AS t;

-- how the touch is named; trouble with it is noted and never costs the order
CREATE TEMPORARY TABLE named (name text, event jsonb);
INSERT INTO named VALUES
	('token', jsonb_build_object('token', :'token')),
	('token as QR text', jsonb_build_object('token', biolink.token_qr(:'token'::biolink.token))),
	('click id', jsonb_build_object('click_id', :'click_id')),
	('click id in hex', jsonb_build_object('click_id', replace(:'click_id', '-', ''))),
	('expired token', jsonb_build_object('token', biolink.issue_token(7101, 'redirect', :'click_id', expires_at => '2026-03-01T11:00:00Z'))),
	('garbage', jsonb_build_object('token', 'garbage')),
	('damaged', jsonb_build_object('token', overlay(:'token' placing 'AAAA' from 70))),
	('of another creator', jsonb_build_object('token', biolink.issue_token(7102, 'redirect', :'click_id'))),
	('garbage and click id', jsonb_build_object('token', 'garbage', 'click_id', :'click_id')),
	('token and another click id', jsonb_build_object('token', :'token', 'click_id', '017f22e2-79b0-7cc3-98c4-dc0c0c07398f')),
	('malformed click id', jsonb_build_object('click_id', 'xyz')),
	('click id of version 4', jsonb_build_object('click_id', '5f0c1f5a-3b0e-4c9e-9a53-7f0a5c7b2a11')),
	('visitor', jsonb_build_object('visitor', 'cookie')),
	('visitor, measurement denied', jsonb_build_object('visitor', 'cookie', 'consent', '{"measurement": "denied"}'::jsonb)),
	('identifiers are not kept', jsonb_build_object('identifiers', '[{"kind": "email", "value": "jane@shop.example"}]'::jsonb)),
	('huge token, click id and visitor', jsonb_build_object('token', repeat('A', 100000), 'click_id', repeat('a', 100000), 'visitor', repeat('v', 100000))),
	('url with the token', jsonb_build_object('url', 'https://shop.example/thanks?a=1&utm_source=ig&bl=' || :'token')),
	('url with a parameter of that name', jsonb_build_object('url', 'https://shop.example/thanks?bl=blue')),
	('url with a damaged token', jsonb_build_object('url', 'https://shop.example/thanks?bl=' || overlay(:'token' placing 'AAAA' from 70))),
	('nothing', '{}');
SELECT n.name, t.status FROM named AS n
	CROSS JOIN LATERAL biolink.track(7101, n.event || jsonb_build_object('kind', 'order', 'source', 'named', 'key', n.name, 'order_id', n.name, 'amount', 5, 'currency', 'EUR', 'occurred_at', '2026-03-02T00:00:00Z')) AS t;
SELECT e.order_id, e.click_id = :'click_id' AS names_it, e.evidence, e.token_reason, e.visitor IS NOT NULL AS visitor, e.measurement_denied, e.context
	FROM biolink.event AS e WHERE e.creator_id = 7101 AND e.source = 'named' ORDER BY e.received_at;
SELECT l.order_id, l.amount FROM biolink.ledger AS l JOIN named AS n ON n.name = l.order_id WHERE l.creator_id = 7101 ORDER BY l.received_at;

-- what cannot be taken at all
SELECT * FROM biolink.track(7101, '[]');
SELECT * FROM biolink.track(7101, '{"source": "s", "key": "k"}');
SELECT * FROM biolink.track(7101, '{"kind": "lead", "key": "k"}');
SELECT * FROM biolink.track(7101, '{"kind": "lead", "source": "s"}');
SELECT * FROM biolink.track(7101, '{"kind": "Lead!", "source": "s", "key": "k"}');
SELECT * FROM biolink.track(7101, '{"kind": "order", "source": "s", "key": "k", "amount": 5, "currency": "EUR"}');
SELECT * FROM biolink.track(7101, '{"kind": "order", "source": "s", "key": "k", "order_id": "x", "currency": "EUR"}');
SELECT * FROM biolink.track(7101, '{"kind": "order", "source": "s", "key": "k", "order_id": "x", "amount": 5}');
SELECT * FROM biolink.track(7101, '{"kind": "order", "source": "s", "key": "k", "order_id": "x", "amount": 12.5, "currency": "EUR"}');
SELECT * FROM biolink.track(7101, '{"kind": "order", "source": "s", "key": "k", "order_id": "x", "amount": "5", "currency": "EUR"}');
SELECT * FROM biolink.track(7101, '{"kind": "order", "source": "s", "key": "k", "order_id": "x", "amount": -5, "currency": "EUR"}');
SELECT * FROM biolink.track(7101, '{"kind": "order", "source": "s", "key": "k", "order_id": "x", "amount": 9223372036854775808, "currency": "EUR"}');
SELECT * FROM biolink.track(7101, '{"kind": "order", "source": "s", "key": "k", "order_id": "x", "amount": 5, "currency": "eur"}');
SELECT * FROM biolink.track(7101, '{"kind": "refund", "source": "s", "key": "k", "order_id": "x", "amount": 0, "currency": "EUR"}');
SELECT * FROM biolink.track(7101, '{"kind": "order", "source": "s", "key": "k", "order_id": "x", "amount": 5, "currency": "EUR", "payment": "maybe"}');
SELECT * FROM biolink.track(7101, '{"kind": "lead", "source": "s", "key": "k", "occurred_at": "infinity"}');
SELECT * FROM biolink.track(7101, '{"kind": "lead", "source": "s", "key": "k", "occurred_at": "1969-12-31T23:59:59Z"}');
SELECT * FROM biolink.track(7101, '{"kind": "lead", "source": "biolink:click", "key": "k"}');
SELECT * FROM biolink.park_event(7101, 'biolink:click', 'k', 'x', '{}');
SELECT * FROM biolink.track(7199, '{"kind": "lead", "source": "s", "key": "k"}');
SELECT * FROM biolink.track(NULL, '{}');
SELECT t.status FROM biolink.track(7101, '{"kind": "order", "source": "s", "key": "1e3", "order_id": "1e3", "amount": 1e3, "currency": "EUR"}') AS t;

-- a rolled back event leaves nothing, and its key is free
BEGIN;
SELECT t.status FROM biolink.track(7101, '{"kind": "order", "source": "s", "key": "undone", "order_id": "undone", "amount": 7, "currency": "EUR"}') AS t;
ROLLBACK;
SELECT count(*) FROM biolink.ledger WHERE creator_id = 7101 AND order_id = 'undone';
SELECT t.status FROM biolink.track(7101, '{"kind": "order", "source": "s", "key": "undone", "order_id": "undone", "amount": 8, "currency": "EUR"}') AS t;

-- parking what is no event
SELECT p.status FROM biolink.park_event(7101, 'log', 'line 1', 'not_a_click', '{"_heartbeat_": 1, "from": "a@b.example"}') AS p;
SELECT p.status FROM biolink.park_event(7101, 'log', 'line 1', 'not_a_click', '{"_heartbeat_": 1, "from": "a@b.example"}') AS p;
SELECT * FROM biolink.park_event(7101, '', 'line 1', 'not_a_click', '{}');
SELECT * FROM biolink.park_event(7101, 'log', 'line 1', NULL, '{}');
SELECT p.reason, p.event FROM biolink.event_parked AS p WHERE p.creator_id = 7101 AND p.source = 'log';

-- masking
SELECT biolink.mask_identifiers(j) FROM (VALUES ('"mail jane.doe+x@shop.example."'::jsonb), ('{"jane@shop.example": ["+49 (170) 123-4567", "0049 170 1234567", "(650) 555-1212", "order 20260301123456", "2026-03-01 12:34:56+00", "a@b", "@handle", "jane%40shop.example", 5, null, true]}'), ('[]'), ('"1.2.3.4"'), ('"192.168.100.200"'), ('"Chrome/120.0.6099.109 Safari/537.36"'),
	('"650.555.1212, 650-555-1212, 089/123 45 67-89, 1234-5678-9012, 12 34 56 78 90"'), ('"+1-650-555-1212x3 and 3.14159265358979"'), ('"550e8400-e29b-41d4-a716-446655440000"')) AS v (j);

-- nobody writes to the books but through the calls
INSERT INTO biolink.ledger (creator_id, entry_id, event_id, order_id, kind, amount, currency, occurred_at) VALUES (7101, biolink.uuid_v7(), biolink.uuid_v7(), 'x', 'order', 5, 'EUR', now());
DELETE FROM biolink.event WHERE creator_id = 7101;
UPDATE biolink.event_key SET digest = '' WHERE creator_id = 7101;
SELECT count(*) FROM biolink.event_default;
RESET ROLE;
SELECT rule, ok, failures FROM biolink.integrity_check(7101);
DROP TABLE sent, named, revised;
DROP ROLE regress_app;
