-- Many events in one call: the same answers and the same books as one by one, trouble parked, nothing of it lost.
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE ROLE regress_batch_app; GRANT biolink_app TO regress_batch_app;
INSERT INTO biolink.creator (creator_id, handle) VALUES (7501, 'batch'), (7502, 'one_by_one'), (7503, 'batch_more');
SET ROLE regress_batch_app;

\echo == every status, in order
CREATE TEMPORARY TABLE sent (n int GENERATED ALWAYS AS IDENTITY, event json);
INSERT INTO sent (event) VALUES
	('{"kind": "lead", "source": "s", "key": "l1", "visitor": "v"}'),
	('{"kind": "order", "source": "shop", "key": "o1", "order_id": "A", "amount": 100, "currency": "EUR"}'),
	('{"kind": "order", "source": "shop", "key": "o1", "order_id": "A", "amount": 100, "currency": "EUR", "sent_at": "2026-01-01T00:00:00Z"}'),
	('{"kind": "order", "source": "psp", "key": "p1", "order_id": "A", "amount": 100, "currency": "EUR"}'),
	('{"kind": "order", "source": "psp", "key": "p2", "order_id": "A", "amount": 101, "currency": "EUR"}'),
	('{"kind": "order", "source": "psp", "key": "p2", "order_id": "A", "amount": 101, "currency": "EUR"}'),
	('{"kind": "refund", "source": "shop", "key": "r1", "order_id": "A", "amount": 10, "currency": "EUR"}'),
	('{"kind": "refund", "source": "shop", "key": "r2", "order_id": "A", "amount": 10, "currency": "USD"}'),
	('{"kind": "refund", "source": "shop", "key": "r3", "order_id": "Z", "amount": 10, "currency": "EUR"}'),
	('{"kind": "order", "source": "shop", "key": "z", "order_id": "Z", "amount": 50, "currency": "EUR", "token": "junk"}'),
	('{"kind": "order", "source": "shop", "key": "b1", "order_id": "B", "amount": "x", "currency": "EUR"}'),
	('{"kind": "order", "source": "shop", "key": "b1", "order_id": "B", "amount": 7, "currency": "EUR"}'),
	('{"kind": "order", "source": "shop", "key": "o1", "order_id": "A", "amount": 120, "currency": "EUR", "revision": 1}'),
	('{"kind": "order", "source": "shop", "key": "pend", "order_id": "P", "amount": 5, "currency": "EUR", "payment": "pending"}'),
	('{"kind": "order", "source": "shop", "key": "pend", "order_id": "P", "amount": 5, "currency": "EUR", "payment": "paid", "revision": 1}'),
	('"junk"'), ('7'), ('null'), ('[]'), ('{"a": 1e400000}'), ('{}'),
	('{"kind": "Bad", "source": "s", "key": "ann@example.com", "note": "ann@example.com"}'),
	('{"kind": "lead", "source": "s", "key": "l1", "visitor": "w"}');
SELECT b.ordinal, b.status, b.detail, first_value(b.ordinal) OVER (PARTITION BY b.event_id ORDER BY b.ordinal) AS first_with_this_id
	FROM biolink.track_batch(7501, (SELECT json_agg(event ORDER BY n) FROM sent)) AS b ORDER BY b.ordinal;
RESET ROLE;
SELECT source, key ~ '^hash:' AS hashed, CASE WHEN key !~ '^hash:' THEN key END AS key, kind, reason, detail, event, replayed_at FROM biolink.event_parked WHERE creator_id = 7501 ORDER BY source, reason, detail, event::text COLLATE "C";
SELECT kind, order_id, amount, currency FROM biolink.ledger WHERE creator_id = 7501 ORDER BY order_id, amount;

\echo == one by one gives the same
SET ROLE regress_batch_app;
CREATE FUNCTION pg_temp.one(creator bigint, event json) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT t.status FROM biolink.track(creator, event::jsonb) AS t);
EXCEPTION WHEN data_exception THEN
	RETURN 'rejected';
END
$$;
SELECT string_agg(pg_temp.one(7502, event), ' ' ORDER BY n) FROM sent;
RESET ROLE;
SELECT count(*) AS differences FROM (
	SELECT kind, order_id, amount, currency FROM biolink.ledger WHERE creator_id = 7501 EXCEPT ALL SELECT kind, order_id, amount, currency FROM biolink.ledger WHERE creator_id = 7502) AS d;
SELECT count(*) AS differences FROM (
	(SELECT kind, source, order_id, amount, currency, merged, token_reason, evidence, visitor IS NULL, context FROM biolink.event WHERE creator_id = 7501)
	EXCEPT ALL (SELECT kind, source, order_id, amount, currency, merged, token_reason, evidence, visitor IS NULL, context FROM biolink.event WHERE creator_id = 7502)) AS d;
SELECT creator_id, count(*), count(*) FILTER (WHERE merged) AS merged FROM biolink.event WHERE creator_id IN (7501, 7502) GROUP BY 1 ORDER BY 1;

\echo == sent again, nothing happens
SET ROLE regress_batch_app;
SELECT status, count(*) FROM biolink.track_batch(7501, (SELECT json_agg(event ORDER BY n) FROM sent)) GROUP BY 1 ORDER BY 1;
RESET ROLE;
SELECT (SELECT count(*) FROM biolink.event WHERE creator_id = 7501) AS events, (SELECT count(*) FROM biolink.event_parked WHERE creator_id = 7501) AS parked, (SELECT sum(amount) FROM biolink.ledger WHERE creator_id = 7501) AS money;

\echo == parked events are replayed when they can be taken
SET ROLE regress_batch_app;
SELECT status, detail FROM biolink.replay_parked(7501, 'currency_mismatch');
SELECT status, detail FROM biolink.replay_parked(7501, 'rejected') ORDER BY 1, 2;
RESET ROLE;
-- what was wrong with it is mended: the sale it conflicts with is gone
DELETE FROM biolink.ledger WHERE creator_id = 7501 AND order_id = 'A';
DELETE FROM biolink.order_ref WHERE creator_id = 7501 AND ref = 'A';
SET ROLE regress_batch_app;
SELECT status, detail FROM biolink.replay_parked(7501, 'order_differs');
SELECT status, detail FROM biolink.replay_parked(7501, 'order_differs');
SELECT kind, amount, currency FROM biolink.ledger WHERE creator_id = 7501 AND order_id = 'A';
SELECT reason, replayed_at IS NOT NULL AS replayed, replayed_as IS NOT NULL AS has_event FROM biolink.event_parked WHERE creator_id = 7501 AND reason = 'order_differs';
SELECT * FROM biolink.replay_parked(NULL);
SELECT biolink.open_sealed(7501, 'event_parked', ''::bytea);
RESET ROLE;
SELECT biolink.open_sealed(7501, 'event_parked', sealed)::jsonb = event AS same FROM biolink.event_parked WHERE creator_id = 7501 AND reason = 'order_differs';
-- of another creator, or damaged, it does not open
SELECT biolink.open_sealed(7502, 'event_parked', sealed) IS NULL AS shut FROM biolink.event_parked WHERE creator_id = 7501 AND reason = 'order_differs';
SELECT biolink.open_sealed(7501, 'event_parked', set_byte(sealed, length(sealed) / 2, get_byte(sealed, length(sealed) / 2) # 1)) IS NULL AS shut FROM biolink.event_parked WHERE creator_id = 7501 AND reason = 'order_differs';
SELECT biolink.open_sealed(7501, 'event_parked', substr(sealed, 1, n)) IS NULL AS shut FROM biolink.event_parked, unnest('{0,1,2,25,26,41,42}'::int[]) AS n WHERE creator_id = 7501 AND reason = 'order_differs';

\echo == escapes that stand for no character cost nothing; what is no JSON that can be stored shows nothing
SET ROLE regress_batch_app;
SELECT ordinal, status, detail FROM biolink.track_batch(7503, $json$[
	{"kind": "order", "source": "s", "key": "cut", "order_id": "cut", "amount": 1, "currency": "EUR", "context": {"a": "\ud83d", "b": "\ude00\ud83d\ude00", "c": "\u0000", "d": "\\u0000\u00e9"}},
	{"kind": "order", "source": "s", "key": "cut", "order_id": "cut", "amount": 1, "currency": "EUR", "context": {"a": "\ud83d", "b": "\ude00\ud83d\ude00", "c": "\u0000", "d": "\\u0000\u00e9"}},
	{"kind": "order", "source": "s", "key": "end", "order_id": "end", "amount": 1e400000, "currency": "EUR", "ip": "203.0.113.9", "visitor": "cookie", "mail": "ann\u0040example.com"}]$json$);
RESET ROLE;
SELECT context = $json${"a": "\ufffd", "b": "\ufffd\ud83d\ude00", "c": "\ufffd", "d": "\\u0000\u00e9"}$json$ AS mended FROM biolink.event WHERE creator_id = 7503 AND order_id = 'cut';
SELECT event, biolink.open_sealed(7503, 'event_parked', sealed) ~ '203.0.113.9' AS sealed FROM biolink.event_parked WHERE creator_id = 7503;

\echo == nor do events in another array
SET ROLE regress_batch_app;
SELECT status FROM biolink.track_batch(7503, '[[{"kind": "lead", "ip": "203.0.113.9", "a": {"visitor": "cookie", "b": [1, {"headers": {"x": "y"}, "c": null}]}, "identifiers": [{"kind": "name", "value": "Ann"}]}, "ip", []]]');
RESET ROLE;
SELECT event FROM biolink.event_parked WHERE creator_id = 7503 AND event <> 'null';

\echo == what cannot be taken holds up nothing that was parked later
SET ROLE regress_batch_app;
SELECT count(*) FROM generate_series(1, 1000) AS n CROSS JOIN LATERAL biolink.park_event(7503, 'log', 'beat ' || n, 'heartbeat', '{}');
SELECT status FROM biolink.track_batch(7503, '[{"kind": "refund", "source": "s", "key": "early", "order_id": "late", "amount": 1},
	{"kind": "order", "source": "s", "key": "late", "order_id": "late", "amount": 1, "currency": "EUR"}]');
CREATE TEMPORARY TABLE replayed AS SELECT * FROM biolink.replay_parked(7503);
SELECT status, count(*) FROM replayed GROUP BY 1;
SELECT r.status FROM biolink.replay_parked(7503, after_id => (SELECT replayed_id FROM replayed OFFSET 999)) AS r ORDER BY 1;
SELECT count(*) FROM biolink.replay_parked(7503, max_events => NULL);
SELECT count(*) FROM biolink.replay_parked(7503, after_id => '00000000-0000-7000-8000-000000000000');
DROP TABLE replayed;
RESET ROLE;
DELETE FROM biolink.event_parked WHERE creator_id = 7503;

\echo == thousands, some of them bad, in one transaction
SET ROLE regress_batch_app;
CREATE TEMPORARY TABLE many AS SELECT json_agg(CASE
		WHEN n % 500 = 0 THEN json_build_object('kind', 'order', 'source', 's', 'key', 'k' || n, 'order_id', 'o' || n, 'amount', -1, 'currency', 'EUR')
		WHEN n % 3 = 0 THEN json_build_object('kind', 'order', 'source', 's', 'key', 'k' || n, 'order_id', 'o' || n, 'amount', n, 'currency', 'EUR')
		WHEN n % 3 = 1 THEN json_build_object('kind', 'lead', 'source', 's', 'key', 'k' || n, 'visitor', 'v' || n % 10)
		ELSE json_build_object('kind', 'refund', 'source', 's', 'key', 'k' || n, 'order_id', 'o' || (n + 1), 'amount', 1, 'currency', 'EUR') END ORDER BY n) AS events
	FROM generate_series(1, 3500) AS n;
SELECT status, count(*) FROM many, biolink.track_batch(7503, events) GROUP BY 1 ORDER BY 1;
SELECT kind, count(*), sum(amount) FROM biolink.ledger WHERE creator_id = 7503 GROUP BY 1 ORDER BY 1;
SELECT status, count(*) FROM many, biolink.track_batch(7503, events) GROUP BY 1 ORDER BY 1;
SELECT rule, ok FROM biolink.integrity_check(7503);
-- all of it or nothing
BEGIN;
SELECT count(*) FROM biolink.track_batch(7503, '[{"kind": "lead", "source": "s", "key": "undone"}]');
ROLLBACK;
SELECT status FROM biolink.track_batch(7503, '[{"kind": "lead", "source": "s", "key": "undone"}]');

\echo == an error of the rows below: that event is rejected, its key is free, the others are taken
RESET ROLE;
ALTER TABLE biolink.ledger ADD CONSTRAINT regress_poison CHECK (order_id NOT LIKE 'poison%') NOT VALID;
SET ROLE regress_batch_app;
SELECT ordinal, status, detail FROM biolink.track_batch(7503, '[
	{"kind": "order", "source": "s", "key": "x1", "order_id": "fine1", "amount": 1, "currency": "EUR"},
	{"kind": "order", "source": "s", "key": "x2", "order_id": "poison", "amount": 1, "currency": "EUR"},
	{"kind": "order", "source": "s", "key": "x2", "order_id": "poison", "amount": 1, "currency": "EUR"},
	{"kind": "order", "source": "s", "key": "x3", "order_id": "fine2", "amount": 1, "currency": "EUR"}]');
SELECT key FROM biolink.event_key WHERE creator_id = 7503 AND key LIKE 'x%' ORDER BY key;
RESET ROLE;
ALTER TABLE biolink.ledger DROP CONSTRAINT regress_poison;
SET ROLE regress_batch_app;
SELECT status FROM biolink.replay_parked(7503, 'rejected') WHERE status <> 'rejected';

\echo == rows are found by index, though the plans were made when the tables were all but empty
RESET ROLE;
BEGIN;
TRUNCATE biolink.order_ref, biolink.ledger, biolink.event_key;
SELECT status FROM biolink.track_batch(7503, '[{"kind": "order", "source": "s", "key": "few", "order_id": "few", "amount": 1, "currency": "EUR"}]');
ANALYZE biolink.order_ref, biolink.ledger, biolink.event_key;
SET LOCAL plan_cache_mode = auto;
CREATE FUNCTION pg_temp.scans() RETURNS int8 LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	SELECT sum(s.seq_scan) FROM pg_stat_xact_user_tables AS s WHERE s.schemaname = 'biolink' AND s.relname IN ('order_ref', 'ledger', 'event_key') $$;
CREATE TEMPORARY TABLE before AS SELECT pg_temp.scans() AS scans;
SELECT status FROM biolink.track_batch(7503, '[
	{"kind": "order", "source": "s", "key": "few", "order_id": "few", "amount": 1, "currency": "EUR"},
	{"kind": "order", "source": "s", "key": "few", "order_id": "few", "amount": 2, "currency": "EUR", "revision": 1},
	{"kind": "order", "source": "s", "key": "few2", "order_id": "few2", "order_refs": ["few"], "amount": 2, "currency": "EUR"}]');
SELECT status FROM biolink.track(7503, '{"kind": "refund", "source": "s", "key": "few3", "order_id": "few2", "amount": 2, "currency": "EUR"}');
SELECT pg_temp.scans() - scans AS scans FROM before;
ROLLBACK;
SET ROLE regress_batch_app;

\echo == refused as a whole
SELECT * FROM biolink.track_batch(7503, '{}');
SELECT * FROM biolink.track_batch(7503, '7');
SELECT * FROM biolink.track_batch(99, '[]');
SELECT * FROM biolink.track_batch(NULL, '[]');
SELECT * FROM biolink.track_batch(7503, NULL);
SELECT * FROM biolink.track_batch(7503, '[]');
SELECT * FROM biolink.track_batch(7503, ' [ ] ');
SELECT ordinal, status FROM biolink.track_batch(7503, ' [ {"kind" :"lead","source":"s","key":"sp,]}\\\"[1"} , {"kind":"lead","source":"s","key":"sp2","a":[[{"b":"]"}],{}]} ] ');
SELECT context FROM biolink.event WHERE creator_id = 7503 AND context IS NOT NULL AND kind = 'lead';
RESET ROLE;
DROP TABLE sent, many;
DROP FUNCTION pg_temp.one;
DROP ROLE regress_batch_app;
