-- Sales: one of them is one conversion, by whatever references, under whatever keys and from whatever sources it is told.
\set SHOW_CONTEXT never
CREATE ROLE regress_app;
GRANT biolink_app, biolink_admin TO regress_app;
SET ROLE regress_app;
INSERT INTO biolink.creator (creator_id, handle) VALUES (7801, 'orders');
INSERT INTO biolink.link (creator_id, slug, url) VALUES (7801, 'shop', 'https://shop.example/');
CREATE TEMPORARY TABLE sent (part text, n int, event jsonb);
CREATE FUNCTION pg_temp.send(wanted text) RETURNS TABLE (n int, status text, detail text) LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	SELECT s.n, t.status, t.detail FROM (SELECT * FROM sent WHERE part = wanted ORDER BY n) AS s
		CROSS JOIN LATERAL biolink.track(7801, '{"source": "stripe", "occurred_at": "2026-03-02T10:00:00Z", "currency": "EUR"}' || s.event) AS t
$$;
CREATE FUNCTION pg_temp.books(wanted text) RETURNS TABLE (order_id text, kind text, amount int8, tax int8, shipping int8, fee int8) LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.order_id, l.kind, l.amount, l.tax, l.shipping, l.fee FROM biolink.ledger AS l WHERE l.creator_id = 7801 AND l.order_id ~ wanted ORDER BY l.received_at, l.order_id, l.kind
$$;

-- checkout session, payment intent, invoice, the shop's own number -------------
INSERT INTO sent VALUES
	('messengers', 1, '{"kind": "order", "key": "a", "order_id": "cs_1", "order_refs": ["pi_1"], "amount": 5000, "payment": "pending"}'),
	('messengers', 2, '{"kind": "order", "key": "b", "order_id": "pi_1", "order_refs": ["ch_1", "pi_1", "ch_1"], "amount": 5000}'),
	('messengers', 3, '{"kind": "order", "key": "c", "order_id": "cs_1", "amount": 5000, "source": "pixel", "visitor": "jane"}'),
	('messengers', 4, '{"kind": "order", "key": "d", "order_id": "1001", "order_refs": ["cs_1"], "amount": 5000, "source": "shop", "occurred_at": "2026-03-02T09:59:00Z"}'),
	('messengers', 5, '{"kind": "order", "key": "e", "order_id": "ch_1", "amount": 4999}'),
	('messengers', 6, '{"kind": "order", "key": "f", "order_id": "ch_1", "amount": 5000, "test": true}'),
	('messengers', 7, '{"kind": "refund", "key": "g", "order_id": "1001", "amount": 1000, "source": "shop"}'),
	('messengers', 8, '{"kind": "dispute", "key": "h", "order_id": "ch_1", "amount": 500}'),
	('messengers', 9, '{"kind": "refund", "key": "i", "order_id": "pi_1", "amount": 1, "currency": "USD"}');
SELECT * FROM pg_temp.send('messengers');
SELECT r.ref, r.order_id, r.event_id IS NOT NULL AS booked FROM biolink.order_ref AS r WHERE r.creator_id = 7801 ORDER BY r.ref COLLATE "C";
SELECT * FROM pg_temp.books('');
CALL biolink.run_job('attribute');
SELECT m.order_id, to_char(m.converted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS converted_at, m.gross, m.refunds, m.net FROM biolink.conversion_money AS m WHERE m.creator_id = 7801;

-- two sales that turn out to be one: the younger is taken out, its refund belongs to the one that stays
INSERT INTO sent VALUES
	('bridge', 1, '{"kind": "order", "key": "j", "order_id": "A", "amount": 700, "tax": 100, "visitor": "v1"}'),
	('bridge', 2, '{"kind": "order", "key": "k", "order_id": "B", "amount": 700, "fee": 20, "source": "shop", "visitor": "v2"}'),
	('bridge', 3, '{"kind": "order", "key": "l", "order_id": "C", "amount": 800, "source": "shop"}'),
	('bridge', 4, '{"kind": "refund", "key": "m", "order_id": "B", "amount": 300, "source": "shop"}'),
	('bridge', 5, '{"kind": "refund", "key": "n", "order_id": "A2", "amount": 50}'),
	-- they differ
	('bridge', 6, '{"kind": "order", "key": "o", "order_id": "X", "order_refs": ["A", "C"], "amount": 700}'),
	('bridge', 7, '{"kind": "refund", "key": "p", "order_id": "A", "order_refs": ["C"], "amount": 1}'),
	('bridge', 8, '{"kind": "order", "key": "q", "order_id": "Y", "order_refs": ["A", "C"], "amount": 700, "payment": "failed"}');
SELECT * FROM pg_temp.send('bridge');
CALL biolink.run_job('attribute');
SELECT m.order_id, m.gross, m.refunds, m.net, m.reason FROM biolink.conversion_money AS m WHERE m.creator_id = 7801 ORDER BY m.order_id;
-- they are one
INSERT INTO sent VALUES
	('bridged', 1, '{"kind": "order", "key": "r", "order_id": "A3", "order_refs": ["A", "B", "A2"], "amount": 700, "shipping": 30, "tax": 90}'),
	('bridged', 2, '{"kind": "order", "key": "r", "order_id": "A3", "order_refs": ["A", "B", "A2"], "amount": 700, "shipping": 30, "tax": 90}');
SELECT * FROM pg_temp.send('bridged');
SELECT r.ref, r.order_id, r.event_id IS NOT NULL AS booked FROM biolink.order_ref AS r WHERE r.creator_id = 7801 AND r.ref ~ '^[A-Z]' ORDER BY r.ref COLLATE "C";
SELECT * FROM pg_temp.books('^[AB]');
-- before the job comes to it, and after
SELECT m.order_id, m.gross, m.refunds, m.net FROM biolink.conversion_money AS m WHERE m.creator_id = 7801 AND m.order_id ~ '^[AB]' ORDER BY m.order_id;
CALL biolink.run_job('attribute');
SELECT m.order_id, m.gross, m.refunds, m.net FROM biolink.conversion_money AS m WHERE m.creator_id = 7801 AND m.order_id ~ '^[AB]' ORDER BY m.order_id;
-- both visitors are evidence of it
SELECT count(*) FROM biolink.conversion_evidence AS v JOIN biolink.conversion AS c USING (creator_id, conversion_id) WHERE c.creator_id = 7801 AND c.order_id = 'A' AND v.visitor IS NOT NULL;
-- what was taken out cannot be had back under its own name
INSERT INTO sent VALUES
	('after', 1, '{"kind": "order", "key": "s", "order_id": "B", "amount": 700}'),
	('after', 2, '{"kind": "order", "key": "k", "order_id": "B", "amount": 650, "revision": 1, "source": "shop", "visitor": "v2"}'),
	('after', 3, '{"kind": "refund", "key": "t", "order_id": "B", "amount": 300}');
SELECT * FROM pg_temp.send('after');
CALL biolink.run_job('attribute');
SELECT m.order_id, m.gross, m.refunds, m.net FROM biolink.conversion_money AS m WHERE m.creator_id = 7801 AND m.order_id ~ '^[AB]' ORDER BY m.order_id;

-- a sale that was revised is not taken back by one that was not, and revisions that differ are no sale
INSERT INTO sent VALUES
	('late', 1, '{"kind": "order", "key": "la", "order_id": "LA", "amount": 100}'),
	('late', 2, '{"kind": "order", "key": "lb", "order_id": "LB", "amount": 100, "source": "shop"}'),
	('late', 3, '{"kind": "order", "key": "lb", "order_id": "LB", "amount": 90, "source": "shop", "revision": 1}'),
	('late', 4, '{"kind": "refund", "key": "lc", "order_id": "LA", "order_refs": ["LB"], "amount": 10}'),
	('late', 5, '{"kind": "order", "key": "md", "order_id": "MA", "amount": 100}'),
	('late', 6, '{"kind": "order", "key": "md", "order_id": "MA", "amount": 80, "revision": 1}'),
	('late', 7, '{"kind": "order", "key": "me", "order_id": "MB", "amount": 100, "source": "shop"}'),
	('late', 8, '{"kind": "order", "key": "me", "order_id": "MB", "amount": 90, "source": "shop", "revision": 1}'),
	('late', 9, '{"kind": "order", "key": "mf", "order_id": "MC", "order_refs": ["MA", "MB"], "amount": 100, "source": "psp"}');
SELECT * FROM pg_temp.send('late');
SELECT * FROM pg_temp.books('^[LM]');
CALL biolink.run_job('attribute');
SELECT m.order_id, m.gross, m.refunds, m.net FROM biolink.conversion_money AS m WHERE m.creator_id = 7801 AND m.order_id ~ '^[LM]' ORDER BY m.order_id;

-- tax, shipping, fee and the creator's revenue ----------------------------------
INSERT INTO sent VALUES
	('parts', 1, '{"kind": "order", "key": "u", "order_id": "P1", "amount": 1190, "tax": 190, "fee": 40}'),
	('parts', 2, '{"kind": "refund", "key": "u1", "order_id": "P1", "amount": 397}'),
	('parts', 3, '{"kind": "order", "key": "v", "order_id": "P2", "amount": 1000}'),
	('parts', 4, '{"kind": "order", "key": "w", "order_id": "P2", "amount": 1000, "source": "pixel", "tax": 200, "shipping": null}'),
	('parts', 5, '{"kind": "order", "key": "v", "order_id": "P2", "amount": 1200, "tax": 240, "shipping": 60, "revision": 1}'),
	('parts', 6, '{"kind": "refund", "key": "w1", "order_id": "P2", "amount": 1300}'),
	('parts', 7, '{"kind": "order", "key": "x", "order_id": "P3", "amount": 100, "tax": 300}'),
	('parts', 8, '{"kind": "refund", "key": "x1", "order_id": "P3", "amount": 40}');
SELECT * FROM pg_temp.send('parts');
SELECT biolink.track(7801, '{"kind": "order", "source": "s", "key": "bad", "order_id": "P4", "amount": 100, "currency": "EUR", "tax": -1}');
SELECT * FROM pg_temp.books('^P');
SELECT e.order_id, e.flags FROM biolink.event AS e WHERE e.creator_id = 7801 AND e.flags IS NOT NULL ORDER BY 1;
CREATE TEMPORARY VIEW revenue AS SELECT m.order_id, m.gross, m.refunds, m.net FROM biolink.conversion_money AS m WHERE m.creator_id = 7801 AND m.order_id ~ '^P';
CALL biolink.run_job('attribute');
SELECT * FROM revenue ORDER BY 1;
UPDATE biolink.creator SET settings = '{"revenue_excludes": ["tax"]}' WHERE creator_id = 7801;
SELECT * FROM revenue ORDER BY 1;
SELECT rule, ok, detail FROM biolink.integrity_check(7801);
UPDATE biolink.creator SET settings = '{"revenue_excludes": ["tax", "shipping", "fee"]}' WHERE creator_id = 7801;
SELECT * FROM revenue ORDER BY 1;
-- in two parts, rounded each time, nothing is left
SELECT * FROM biolink.track(7801, '{"kind": "refund", "source": "stripe", "key": "u2", "order_id": "P1", "amount": 793, "currency": "EUR"}') \gset
SELECT * FROM revenue WHERE order_id = 'P1';
SELECT rule, ok, detail FROM biolink.integrity_check(7801);
UPDATE biolink.creator SET settings = '{"revenue_excludes": ["discount"]}' WHERE creator_id = 7801;
UPDATE biolink.creator SET settings = '{"revenue_excludes": "tax"}' WHERE creator_id = 7801;
UPDATE biolink.creator SET settings = '{"revenue_excludes": [["tax"]]}' WHERE creator_id = 7801;
SELECT n, biolink.sale_refunds(300, 100, n) FROM unnest('{-5,0,1,2,149,150,299,300,301}'::int8[]) AS n;
SELECT biolink.sale_refunds(9007199254740991, 9007199254740990, 9007199254740989), biolink.sale_refunds(0, 0, 7);

-- items, codes, identifiers, subscriptions: what of them does not hold costs no order --
INSERT INTO sent VALUES
	('items', 1, '{"kind": "order", "key": "i1", "order_id": "I1", "amount": 1000, "subscription_id": "sub_1", "order_type": "renewal", "codes": ["SPRING10", "mail me at jane@shop.example"], "items": [{"offer_id": 7, "quantity": 2, "amount": 1200}, {"sku": "t-shirt", "amount": -200}, {"sku": "call +49 30 901820"}]}'),
	('items', 2, '{"kind": "order", "key": "i2", "order_id": "I2", "amount": 1, "codes": "X", "order_refs": ["a", 1], "items": [1, {}, {"sku": ""}, {"offer_id": 0, "sku": "a"}, {"sku": "b", "quantity": -1}, {"sku": "b", "quantity": 1.5}, {"sku": "c", "amount": "7"}, {"sku": "d", "quantity": 1}], "identifiers": [{"kind": "email"}]}'),
	('items', 3, '{"kind": "order", "key": "i3", "order_id": "I3", "amount": 1, "codes": [""], "order_refs": "I2", "items": {"sku": "a"}, "identifiers": [{"kind": "email", "sha256": "abc"}]}'),
	('items', 4, '{"kind": "order", "key": "i4", "order_id": "I4", "amount": 1, "codes": [], "order_refs": [], "items": [], "identifiers": [{"kind": "email", "value": "jane@shop.example"}, {"kind": "email", "sha256": "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"}]}'),
	('items', 5, '{"kind": "order", "key": "i5", "order_id": "I5", "amount": 1, "codes": null, "order_refs": null, "items": null, "identifiers": null}');
SELECT * FROM pg_temp.send('items');
SELECT e.order_id, e.subscription_id, e.codes, e.items, e.flags, e.context FROM biolink.event AS e WHERE e.creator_id = 7801 AND e.order_id ~ '^I' ORDER BY 1;
SELECT r.ref FROM biolink.order_ref AS r WHERE r.creator_id = 7801 AND r.ref ~ '^(I|a$)' ORDER BY 1;
-- items of the sale: of what booked it, or its latest revision; else of what was merged into it
INSERT INTO biolink.source (creator_id, source, product_map) VALUES (7801, 'stripe', '{"t-shirt": 9}');
INSERT INTO sent VALUES
	('bought', 1, '{"kind": "order", "key": "i6", "order_id": "I6", "amount": 10}'),
	('bought', 2, '{"kind": "order", "key": "i7", "order_id": "I6", "amount": 10, "source": "shop", "subscription_id": "sub_6", "codes": ["B", "A"], "items": [{"sku": "merged"}]}'),
	('bought', 3, '{"kind": "order", "key": "i8", "order_id": "I8", "amount": 10, "codes": ["B"], "items": [{"sku": "first"}]}'),
	('bought', 4, '{"kind": "order", "key": "i9", "order_id": "I8", "amount": 10, "source": "shop", "codes": ["C", "B"], "items": [{"sku": "merged"}]}'),
	('bought', 5, '{"kind": "order", "key": "i8", "order_id": "I8", "amount": 10, "revision": 1, "items": [{"sku": "t-shirt", "quantity": 3}, {"sku": "second"}]}'),
	('bought', 6, '{"kind": "lead", "key": "i10", "codes": ["LEAD"], "items": [{"offer_id": 4}]}');
SELECT * FROM pg_temp.send('bought');
CALL biolink.run_job('attribute');
SELECT i.order_id, i.position, i.offer_id, i.sku, i.quantity, i.amount, i.currency FROM biolink.order_item AS i WHERE i.creator_id = 7801 ORDER BY i.order_id, i.position;
SELECT c.order_id, c.goal, c.codes, c.subscription_id FROM biolink.conversion AS c WHERE c.creator_id = 7801 AND c.codes IS NOT NULL ORDER BY 1;

-- what is recorded only names no sale, but says something of it ------------------
SELECT status, click_id AS click FROM biolink.click(7801, 'shop', '{"occurred_at": "2026-03-01T10:00:00Z", "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"}') \gset
INSERT INTO sent VALUES
	('recorded', 1, '{"kind": "order", "key": "e1", "order_id": "pi_e", "order_refs": ["in_e"], "amount": 100}'),
	('recorded', 2, ('{"kind": "checkout", "key": "e2", "order_id": "in_f", "click_id": "' || :'click' || '"}')::jsonb),
	('recorded', 3, '{"kind": "payout", "key": "e3", "order_id": "in_e", "order_refs": ["pi_e", "pi_f"], "amount": 1}'),
	('recorded', 4, '{"kind": "order", "key": "e4", "order_id": "pi_f", "order_refs": ["in_f"], "amount": 200}');
SELECT * FROM pg_temp.send('recorded');
CALL biolink.run_job('attribute');
SELECT c.order_id, c.touches, c.reason FROM biolink.conversion AS c WHERE c.creator_id = 7801 AND c.order_id ~ '^pi_[ef]' ORDER BY 1;
-- later, too
INSERT INTO sent VALUES
	('later', 1, ('{"kind": "checkout", "key": "e5", "order_id": "in_e", "click_id": "' || :'click' || '"}')::jsonb);
SELECT * FROM pg_temp.send('later');
CALL biolink.run_job('attribute');
SELECT c.order_id, c.touches, c.reason, p.evidence FROM biolink.conversion AS c LEFT JOIN biolink.touch_path AS p USING (creator_id, conversion_id) WHERE c.creator_id = 7801 AND c.order_id ~ '^pi_[ef]' ORDER BY 1;

-- revisions in any order ---------------------------------------------------------
INSERT INTO sent VALUES
	('revisions', 1, '{"kind": "order", "key": "z1", "order_id": "Z", "amount": 300, "revision": 3, "occurred_at": "2026-03-03T10:00:00Z"}'),
	('revisions', 2, '{"kind": "order", "key": "z1", "order_id": "Z", "amount": 100, "revision": 1}'),
	('revisions', 3, '{"kind": "order", "key": "z1", "order_id": "Z", "amount": 100, "revision": 1}'),
	('revisions', 4, '{"kind": "order", "key": "z1", "order_id": "Z", "amount": 101, "revision": 1}'),
	('revisions', 5, '{"kind": "order", "key": "z1", "order_id": "Z", "amount": 200, "revision": 2, "order_refs": ["Z2"]}'),
	-- the money of before is known
	('revisions', 6, '{"kind": "order", "key": "z2", "order_id": "Z2", "amount": 200, "source": "pixel"}'),
	('revisions', 7, '{"kind": "order", "key": "z2", "order_id": "Z2", "amount": 310, "source": "pixel", "revision": 1}'),
	('revisions', 8, '{"kind": "order", "key": "z1", "order_id": "Z2", "amount": 320, "revision": 4}'),
	('revisions', 9, '{"kind": "order", "key": "z1", "order_id": "other", "amount": 320, "revision": 5}'),
	('revisions', 10, '{"kind": "order", "key": "z3", "order_id": "U", "amount": 10, "revision": 2, "payment": "pending"}'),
	('revisions', 11, '{"kind": "order", "key": "z3", "order_id": "U", "amount": 10, "revision": 1}');
SELECT * FROM pg_temp.send('revisions');
SELECT * FROM pg_temp.books('^[ZU]');
CALL biolink.run_job('attribute');
SELECT m.order_id, to_char(m.converted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS converted_at, m.gross FROM biolink.conversion_money AS m WHERE m.creator_id = 7801 AND m.order_id ~ '^[ZU]' ORDER BY 1;
SELECT rule, ok, detail FROM biolink.integrity_check(7801);

-- every order of arrival, alone and in batches, ends in the same books ------------
CREATE TEMPORARY TABLE history (n int, event jsonb);
INSERT INTO history VALUES
	(1, '{"kind": "order", "key": "1", "order_id": "cs", "order_refs": ["pi"], "amount": 5000, "tax": 800}'),
	(2, '{"kind": "order", "key": "2", "order_id": "pi", "amount": 5000, "source": "hook", "fee": 175}'),
	(3, '{"kind": "order", "key": "3", "order_id": "1001", "amount": 5000, "source": "shop", "visitor": "jane"}'),
	(4, '{"kind": "order", "key": "4", "order_id": "1001", "order_refs": ["cs"], "amount": 5000, "source": "pixel", "visitor": "john"}'),
	(5, '{"kind": "refund", "key": "5", "order_id": "pi", "order_refs": ["ch"], "amount": 1500, "source": "hook"}'),
	(6, '{"kind": "dispute", "key": "6", "order_id": "ch", "amount": 500, "source": "hook"}'),
	(7, '{"kind": "click", "key": "7", "visitor": "jane", "source": "edge", "occurred_at": "2026-03-01T10:00:00Z"}');
CREATE TEMPORARY TABLE ends (creator_id int8, arrival text, how text);
SET search_path = pg_catalog, pg_temp;
DO $$
DECLARE
	arrival int[];
	creator int8 := 780100;
	how text;
	event jsonb;
BEGIN
	FOR arrival IN
		WITH RECURSIVE permutation (list) AS (
			SELECT ARRAY[h.n] FROM history AS h
			UNION ALL
			SELECT p.list || h.n FROM permutation AS p JOIN history AS h ON h.n <> ALL (p.list)
		)
		SELECT p.list FROM permutation AS p WHERE cardinality(p.list) = (SELECT count(*) FROM history)
			ORDER BY md5(p.list::text) LIMIT 60
	LOOP
		creator := creator + 1;
		how := (ARRAY['alone', 'batch', 'halves'])[1 + creator % 3];
		INSERT INTO biolink.creator (creator_id, settings) VALUES (creator, '{"revenue_excludes": ["tax", "fee"]}');
		INSERT INTO ends VALUES (creator, arrival::text, how);
		FOR i IN 1 .. CASE how WHEN 'alone' THEN 7 WHEN 'halves' THEN 2 ELSE 1 END LOOP
			PERFORM t.status FROM biolink.track_batch(creator, (
				SELECT json_agg('{"source": "stripe", "occurred_at": "2026-03-02T10:00:00Z", "currency": "EUR"}' || h.event ORDER BY p.place)
					FROM unnest(arrival) WITH ORDINALITY AS p (n, place) JOIN history AS h ON h.n = p.n
					WHERE how = 'batch' OR (how = 'alone' AND p.place = i) OR (how = 'halves' AND (p.place - 1) / 4 = i - 1))) AS t;
			IF creator % 2 = 0 THEN
				PERFORM biolink.attribute_slice(0, 9223372036854775807, 1000);
			END IF;
		END LOOP;
	END LOOP;
END
$$;
RESET search_path;
CALL biolink.run_job('attribute');
SELECT count(DISTINCT e.creator_id) AS histories, count(DISTINCT m.conversion_id) AS conversions, m.gross, m.refunds, m.net, m.touches, m.reason, to_char(m.converted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS converted_at,
		(SELECT count(*) FROM biolink.event_parked AS p WHERE p.creator_id > 780100) AS parked,
		(SELECT count(*) FROM biolink.conversion AS c WHERE c.creator_id > 780100) AS of_all
	FROM ends AS e LEFT JOIN biolink.conversion_money AS m USING (creator_id)
	GROUP BY m.gross, m.refunds, m.net, m.touches, m.reason, m.converted_at;
SELECT DISTINCT array_agg(r.ref ORDER BY r.ref COLLATE "C") AS refs FROM biolink.order_ref AS r WHERE r.creator_id > 780100 GROUP BY r.creator_id, r.order_id;
SELECT v.n, count(*) FROM (SELECT c.creator_id, (SELECT count(*) FROM biolink.conversion_evidence AS v WHERE v.creator_id = c.creator_id) AS n FROM ends AS c) AS v GROUP BY 1;
-- more was won back than a number holds: the sale is told of all the same
BEGIN;
SELECT t.status FROM biolink.track(7801, '{"kind": "order", "source": "s", "key": "won", "order_id": "won", "amount": 5, "currency": "EUR"}') AS t;
SELECT t.status, count(*) FROM generate_series(1, 1026) AS n CROSS JOIN LATERAL biolink.track(7801, jsonb_build_object(
	'kind', 'dispute_won', 'source', 's', 'key', 'won ' || n, 'order_id', 'won', 'amount', 9007199254740991)) AS t GROUP BY 1;
SELECT t.status FROM biolink.track(7801, '{"kind": "order", "source": "s", "key": "won again", "order_id": "won", "amount": 5, "currency": "EUR"}') AS t;
ROLLBACK;
RESET ROLE;
SELECT rule, ok, detail FROM biolink.integrity_check();
DROP OWNED BY regress_app;
DROP ROLE regress_app;
