-- Retention: what is no longer kept is refused and goes; money, paths and what they need stay.  Months are named by how long ago they are.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET TimeZone = 'UTC';
CREATE ROLE regress_keep_app; GRANT biolink_app TO regress_keep_app;
CREATE ROLE regress_keep_admin; GRANT biolink_admin TO regress_keep_admin;
INSERT INTO biolink.creator (creator_id, handle) VALUES (7861, 'kept'), (7862, 'kept_too');
INSERT INTO biolink.link (creator_id, link_id, slug, url) VALUES (7861, 81, 'a', 'https://a.example/'), (7861, 82, 'b', 'https://b.example/'), (7861, 83, 'c', 'https://c.example/');
-- so long after the start of the month that many months ago
CREATE FUNCTION pg_temp.ago(months int, after interval DEFAULT '10 days') RETURNS timestamptz LANGUAGE sql SET search_path = pg_catalog AS $$
	SELECT date_trunc('month', now()) - months * interval '1 month' + after
$$;
CREATE FUNCTION pg_temp.tap(at timestamptz, visitor text, slug text DEFAULT 'a', key text DEFAULT NULL, more jsonb DEFAULT '{}', OUT status text, OUT reason text, OUT click_id uuid, OUT redirect text) LANGUAGE sql AS $$
	SELECT c.status, c.reason, c.click_id, c.redirect_url FROM biolink.click(7861, slug, jsonb_strip_nulls(jsonb_build_object('occurred_at', at, 'visitor', visitor, 'key', key, 'user_agent', 'Mozilla/5.0 (iPhone) Instagram')) OPERATOR(pg_catalog.||) more) AS c
$$;
CREATE FUNCTION pg_temp.say(kind text, key text, at timestamptz, more jsonb DEFAULT '{}', creator bigint DEFAULT 7861, OUT status text, OUT detail text) LANGUAGE sql AS $$
	SELECT t.status, t.detail FROM biolink.track(creator, jsonb_build_object('kind', kind, 'source', 'shop', 'key', key, 'occurred_at', at) OPERATOR(pg_catalog.||) more) AS t
$$;
CREATE FUNCTION pg_temp.sale(order_id text, amount int DEFAULT 1000) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('order_id', order_id, 'amount', amount, 'currency', 'EUR')
$$;
CREATE FUNCTION pg_temp.rows_in(leaf text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	n int;
BEGIN
	EXECUTE format('SELECT count(*) FROM biolink.%I WHERE creator_id IN (7861, 7862)', leaf) INTO n;
	RETURN n;
END
$$;
CREATE FUNCTION pg_temp.months_ago(at timestamptz) RETURNS int LANGUAGE sql SET search_path = pg_catalog AS $$
	SELECT (extract(year FROM a.age) * 12 + extract(month FROM a.age))::int FROM age(date_trunc('month', now()), date_trunc('month', at)) AS a (age)
$$;
-- which months have a partition, by how long ago they are; how many rows
CREATE VIEW pg_temp.months AS
	SELECT pg_temp.months_ago(l.month) AS ago, pg_temp.rows_in(l.leaf) AS events
	FROM biolink.event_leaves() AS l WHERE l.month < date_trunc('month', now()) AND l.month >= date_trunc('month', now()) - interval '7 months' ORDER BY l.month;
CREATE VIEW pg_temp.latest AS SELECT r.job, r.state, r.rows_failed, r.sqlstate,
		regexp_replace(r.error, 'event_[0-9]{4}_[0-9]{2}', 'event_YYYY_MM', 'g') AS error
	FROM biolink.job_run AS r WHERE r.job = 'maintain' ORDER BY r.run_id DESC LIMIT 1;
CREATE VIEW pg_temp.paths AS SELECT c.order_id, c.goal, c.touches, c.reason, p.position, p.evidence, l.slug, pg_temp.months_ago(p.touched_at) AS ago
	FROM biolink.conversion AS c LEFT JOIN biolink.touch_path AS p USING (creator_id, conversion_id) LEFT JOIN biolink.link AS l ON l.creator_id = p.creator_id AND l.link_id = p.link_id
	WHERE c.creator_id = 7861 ORDER BY c.order_id, c.goal, p.position;
CREATE VIEW pg_temp.everything AS
	SELECT md5(string_agg(t.line, '|' ORDER BY t.line)) FROM (
		SELECT p::text AS line FROM biolink.touch_path AS p WHERE p.creator_id IN (7861, 7862)
		UNION ALL SELECT c::text FROM biolink.conversion AS c WHERE c.creator_id IN (7861, 7862)
		UNION ALL SELECT (v.conversion_id, v.evidence, v.touch_id, v.visitor)::text FROM biolink.conversion_evidence AS v WHERE v.creator_id IN (7861, 7862)
		UNION ALL SELECT l::text FROM biolink.ledger AS l WHERE l.creator_id IN (7861, 7862)
		UNION ALL SELECT a::text FROM biolink.attribution AS a WHERE a.creator_id IN (7861, 7862)
		UNION ALL SELECT u::text FROM biolink.unattributed AS u WHERE u.creator_id IN (7861, 7862)
		UNION ALL SELECT (f.dimensions, f.conversions, f.revenue, f.refunds, f.net_revenue, b)::text FROM unnest('{click,conversion}'::text[]) AS b, biolink.performance(7861, '{month,channel,link}', NULL, NULL, 'linear', b) AS f WHERE f.conversions > 0 OR f.revenue > 0
	) AS t;
-- other transactions of the cluster may keep jobs waiting for a moment
CREATE PROCEDURE pg_temp.run(name text) LANGUAGE plpgsql AS $$
BEGIN
	CALL biolink.run_job(name);
	FOR attempt IN 1 .. 100 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM biolink.job_candidate AS c WHERE c.job = name);
		PERFORM pg_sleep(0.05);
		CALL biolink.run_job(name);
	END LOOP;
END
$$;
CREATE PROCEDURE pg_temp.rebuild() LANGUAGE plpgsql AS $$
BEGIN
	PERFORM biolink.rebuild_conversions(c.creator_id, array_agg(c.conversion_id)) FROM biolink.conversion AS c WHERE c.creator_id IN (7861, 7862) GROUP BY c.creator_id;
END
$$;
SELECT set_config('client_min_messages', 'warning', false) \gset ignored_
CALL pg_temp.run('attribute');
CALL pg_temp.run('maintain');

\echo == setting it
SET ROLE regress_keep_app;
SELECT biolink.set_event_retention('1 year');
RESET ROLE;
SET ROLE regress_keep_admin;
INSERT INTO biolink.event_retention (keep) VALUES ('1 year');
SELECT biolink.set_event_retention('29 days');
SELECT biolink.set_event_retention('-1 month');
SELECT biolink.set_event_retention('1001 years');
SELECT biolink.set_event_retention('1 year') = date_trunc('month', now() - interval '1 year') AS from_month_of_a_year_ago;
SELECT keep, dropped_until FROM biolink.event_retention;
SELECT biolink.event_horizon();
SELECT biolink.set_event_retention('1000 years') < '1100-01-01' AS far_back;
SELECT biolink.set_event_retention(NULL);
SELECT keep, dropped_until FROM biolink.event_retention;
RESET ROLE;
INSERT INTO biolink.event_retention (one_row) VALUES (false);
-- a path may need more
BEGIN;
UPDATE biolink.creator SET settings = '{"lookback": {"session": "90 days"}}' WHERE creator_id = 7862;
SELECT biolink.set_event_retention('2 months') IS NOT NULL AS is_set;
ROLLBACK;
DELETE FROM biolink.event_retention;

\echo == nothing is refused as long as nothing is dropped
SET ROLE regress_keep_app;
SELECT status, reason FROM pg_temp.tap(pg_temp.ago(7), 'old');
SELECT status, reason FROM pg_temp.tap(pg_temp.ago(6), 'old', key => 'k6');
SELECT * FROM pg_temp.say('order', 'o6', pg_temp.ago(6, '11 days'), pg_temp.sale('o6') || '{"visitor": "old"}');
SELECT * FROM pg_temp.say('order', 'o6b', pg_temp.ago(6, '11 days'), pg_temp.sale('o6', 1000));
SELECT * FROM pg_temp.say('lead', 'l6', pg_temp.ago(6, '12 days'), '{"visitor": "old"}');
SELECT * FROM pg_temp.say('survey', 's6', pg_temp.ago(6));
SELECT * FROM pg_temp.say('refund', 'r6', pg_temp.ago(6, '13 days'), '{"order_id": "o6", "amount": 100}');
SELECT * FROM pg_temp.say('survey', 's6', pg_temp.ago(6), creator => 7862);
SELECT visit_id IS NOT NULL AS seen FROM biolink.open_page(7861, jsonb_build_object('occurred_at', pg_temp.ago(6), 'key', 'v6', 'visitor', 'page'));
-- a path over the end of a month: touches before and after it, named in every way, and a repeat across it
SELECT status, click_id AS named FROM pg_temp.tap(pg_temp.ago(5, '20 days'), 'x', 'b') \gset
SELECT status, click_id AS across FROM pg_temp.tap(pg_temp.ago(4, '-10 minutes'), 'y', 'a') \gset
SELECT status FROM pg_temp.tap(pg_temp.ago(4, '-9 minutes'), 'y', 'c');
SELECT status FROM pg_temp.tap(pg_temp.ago(4, '10 minutes'), 'y', 'a');
SELECT status FROM pg_temp.tap(pg_temp.ago(4, '3 days'), 'z', 'b');
SELECT visit_id AS visit, token AS visit_token FROM biolink.open_page(7861, jsonb_build_object('occurred_at', pg_temp.ago(4, '-5 minutes'), 'visitor', 'w', 'user_agent', 'Mozilla/5.0 (iPhone) Instagram')) \gset
SELECT status FROM pg_temp.tap(pg_temp.ago(4, '5 minutes'), 'w', 'c', more => jsonb_build_object('token', :'visit_token'));
SELECT * FROM pg_temp.say('order', 'o4', pg_temp.ago(4, '8 days'), pg_temp.sale('o4') || jsonb_build_object('click_id', :'named', 'visitor', 'z'));
SELECT * FROM pg_temp.say('order', 'o4 paid', pg_temp.ago(4, '8 days 1 second'), pg_temp.sale('o4') || jsonb_build_object('click_id', :'across'));
SELECT * FROM pg_temp.say('order', 'o4w', pg_temp.ago(4, '8 days'), pg_temp.sale('o4w') || jsonb_build_object('click_id', :'visit'));
-- orders of either side of it, the first event of one before it; a conversion that nothing earned but bots
SELECT * FROM pg_temp.say('order', 'early', pg_temp.ago(4, '1 hour'), pg_temp.sale('early'));
SELECT * FROM pg_temp.say('order', 'early paid', pg_temp.ago(4, '-1 hour'), pg_temp.sale('early') || '{"visitor": "x"}');
SELECT status FROM pg_temp.tap(pg_temp.ago(5, '25 days'), 'robot', more => '{"user_agent": "curl/8.5.0"}');
SELECT * FROM pg_temp.say('order', 'robot', pg_temp.ago(4, '1 day'), pg_temp.sale('robot') || '{"visitor": "robot"}');
-- an order whose first event is before it, and a revision after; one whose revision is from before its order
SELECT * FROM pg_temp.say('order', 'revised', pg_temp.ago(5), pg_temp.sale('revised') || '{"visitor": "x"}');
SELECT * FROM pg_temp.say('order', 'revised', pg_temp.ago(4), pg_temp.sale('revised', 1500) || '{"visitor": "x", "revision": 1}');
SELECT * FROM pg_temp.say('order', 'back', pg_temp.ago(4), pg_temp.sale('back'));
SELECT * FROM pg_temp.say('order', 'back', pg_temp.ago(5), pg_temp.sale('back', 1700) || '{"revision": 1}');
SELECT * FROM pg_temp.say('survey', 's4', pg_temp.ago(4));
-- sales that will turn out to be one: the older one booked first, the younger one booked first, both gone
SELECT * FROM pg_temp.say('order', 'p1', pg_temp.ago(5, '21 days'), pg_temp.sale('p1', 300) || '{"visitor": "x"}');
SELECT * FROM pg_temp.say('order', 'p2', pg_temp.ago(4, '1 day'), pg_temp.sale('p2', 300) || '{"visitor": "w"}');
SELECT * FROM pg_temp.say('order', 'q2', pg_temp.ago(4, '1 day'), pg_temp.sale('q2', 400) || '{"visitor": "w"}');
SELECT * FROM pg_temp.say('order', 'q1', pg_temp.ago(5, '21 days'), pg_temp.sale('q1', 400) || '{"visitor": "x"}');
SELECT * FROM pg_temp.say('order', 't1', pg_temp.ago(5, '20 days 1 hour'), pg_temp.sale('t1', 500));
SELECT * FROM pg_temp.say('order', 't2', pg_temp.ago(5, '20 days 2 hours'), pg_temp.sale('t2', 500) || '{"visitor": "x"}');
RESET ROLE;
CALL pg_temp.run('maintain');
SELECT * FROM pg_temp.months;

\echo == nothing goes that a path may still need
SELECT biolink.set_event_retention(now() - pg_temp.ago(4, '1 day')) = pg_temp.ago(4, '0') AS four_months;
SELECT biolink.job_pending('maintain'), biolink.retention_pending();
CALL pg_temp.run('maintain');
SELECT * FROM pg_temp.latest;
SELECT biolink.event_horizon() = pg_temp.ago(4, '0') AS moved;
SELECT * FROM pg_temp.months;
SELECT rule, failures FROM biolink.integrity_check() WHERE NOT ok;
DELETE FROM biolink.attribution_queue WHERE creator_id = 7861 RETURNING reason;
CALL pg_temp.run('maintain');
SELECT * FROM pg_temp.latest;
SELECT * FROM pg_temp.months;
INSERT INTO biolink.attribution_queue (creator_id, conversion_id, reason) SELECT r.creator_id, r.event_id, 'arrived' FROM biolink.order_ref AS r WHERE r.creator_id = 7861
	UNION ALL SELECT k.creator_id, k.event_id, 'arrived' FROM biolink.event_key AS k WHERE k.creator_id = 7861 AND k.kind = 'lead';
CALL pg_temp.run('attribute');
SELECT * FROM pg_temp.paths;
SELECT md5 AS before FROM pg_temp.everything \gset

\echo == it goes, and money and paths stay
SELECT count(*) AS of_before FROM biolink.event_key AS k WHERE k.creator_id IN (7861, 7862) AND biolink.uuid_v7_time(k.event_id) < biolink.event_horizon();
CALL pg_temp.run('maintain');
SELECT * FROM pg_temp.latest;
SELECT * FROM pg_temp.months;
SELECT count(*) FROM biolink.event WHERE occurred_at < biolink.event_horizon();
SELECT k.creator_id, k.source, k.key, k.kind, (biolink.uuid_v7_time(k.event_id) >= biolink.event_horizon()) AS kept FROM biolink.event_key AS k WHERE k.creator_id IN (7861, 7862) ORDER BY 1, 2, 3;
SELECT md5 = :'before' AS unchanged FROM pg_temp.everything;
SELECT rule, ok, failures FROM biolink.integrity_check();
SELECT biolink.retention_pending();
CALL pg_temp.run('maintain');
SELECT job, state FROM pg_temp.latest;

\echo == building it again changes nothing
CALL pg_temp.rebuild();
SELECT md5 = :'before' AS unchanged FROM pg_temp.everything;
CALL pg_temp.rebuild();
SELECT md5 = :'before' AS unchanged FROM pg_temp.everything;

\echo == what comes from before is refused, and what is known is known
SET ROLE regress_keep_app;
SELECT status, reason, click_id, redirect FROM pg_temp.tap(pg_temp.ago(6), 'old', key => 'k6');
SELECT status, reason FROM pg_temp.tap(pg_temp.ago(4, '-1 millisecond'), 'old');
SELECT status, reason FROM pg_temp.tap(pg_temp.ago(4, '0'), 'old');
SELECT status, reason FROM biolink.click(7861, 'a', '{"visitor": "now"}');
SELECT visit_id, token, offers, reason FROM biolink.open_page(7861, jsonb_build_object('occurred_at', pg_temp.ago(6)));
SELECT visit_id IS NOT NULL AS seen, reason FROM biolink.open_page(7861, jsonb_build_object('occurred_at', pg_temp.ago(4)));
SELECT * FROM pg_temp.say('order', 'o6', pg_temp.ago(6, '11 days'), pg_temp.sale('o6') || '{"visitor": "old"}');
SELECT * FROM pg_temp.say('order', 'o6', pg_temp.ago(6, '11 days'), pg_temp.sale('o6', 2000));
SELECT * FROM pg_temp.say('order', 'o6', pg_temp.ago(6, '11 days'), pg_temp.sale('o6', 2000) || '{"revision": 1}');
SELECT * FROM pg_temp.say('order', 'o6', pg_temp.ago(4), pg_temp.sale('o6', 2000) || '{"revision": 1}');
SELECT * FROM pg_temp.say('order', 'new6', pg_temp.ago(6, '11 days'), pg_temp.sale('new6'));
SELECT * FROM pg_temp.say('order', 'new6', pg_temp.ago(6, '11 days'), pg_temp.sale('new6'));
SELECT * FROM pg_temp.say('order', 'new6', pg_temp.ago(4, '9 days'), pg_temp.sale('new6'));
SELECT * FROM pg_temp.say('survey', 's6', pg_temp.ago(6));
SELECT * FROM pg_temp.say('survey', 's4', pg_temp.ago(4));
SELECT ordinal, status, detail FROM biolink.track_batch(7861, (SELECT json_agg(e ORDER BY n) FROM (VALUES
	(1, jsonb_build_object('kind', 'survey', 'source', 'batch', 'key', 'b1', 'occurred_at', pg_temp.ago(6))),
	(2, jsonb_build_object('kind', 'survey', 'source', 'batch', 'key', 'b1', 'occurred_at', pg_temp.ago(6))),
	(3, jsonb_build_object('kind', 'survey', 'source', 'batch', 'key', 'b1', 'occurred_at', pg_temp.ago(4))),
	(4, jsonb_build_object('kind', 'survey', 'source', 'batch', 'key', 'b2', 'occurred_at', pg_temp.ago(4))),
	-- a clock that is years behind, as sent_at shows
	(5, jsonb_build_object('kind', 'survey', 'source', 'batch', 'key', 'b3', 'occurred_at', now() - interval '3 years', 'sent_at', now() - interval '3 years'))) AS v (n, e)));
SELECT source, key, reason FROM biolink.event_parked WHERE creator_id = 7861 ORDER BY 1, 2, 3;
SELECT p.key, r.status, r.detail FROM biolink.replay_parked(7861, 'too_old') AS r JOIN biolink.event_parked AS p ON p.creator_id = 7861 AND p.parked_id = r.replayed_id ORDER BY p.key;
SELECT count(*) FROM biolink.event WHERE occurred_at < biolink.event_horizon();
-- its money can still come back
SELECT * FROM pg_temp.say('refund', 'late', now(), '{"order_id": "o6", "amount": 200}');
SELECT * FROM pg_temp.say('order', 'o6 again', pg_temp.ago(4), pg_temp.sale('o6') || '{"visitor": "z"}');
-- a late merge, which is earlier than what is kept knows, and a late click
SELECT * FROM pg_temp.say('order', 'o4 late', pg_temp.ago(4, '8 days'), pg_temp.sale('o4') || '{"visitor": "q"}');
SELECT * FROM pg_temp.say('order', 'early late', pg_temp.ago(4, '2 hours'), pg_temp.sale('early') || '{"visitor": "q"}');
SELECT status FROM pg_temp.tap(pg_temp.ago(4, '4 days'), 'z', 'c');
SELECT status FROM pg_temp.tap(pg_temp.ago(4, '19 minutes'), 'y', 'c');
SELECT status FROM pg_temp.tap(pg_temp.ago(4, '5 days'), 'q', 'a');
RESET ROLE;
CALL pg_temp.run('attribute');
SELECT * FROM pg_temp.paths;
-- sales turn out to be one: what each came from goes over to the one that stays
SELECT * FROM pg_temp.say('order', 'p late', pg_temp.ago(4, '9 days'), pg_temp.sale('p2', 300) || '{"order_refs": ["p1"]}');
SELECT * FROM pg_temp.say('order', 'q late', pg_temp.ago(4, '9 days'), pg_temp.sale('q1', 400) || '{"order_refs": ["q2"]}');
SELECT * FROM pg_temp.say('refund', 't late', now(), '{"order_id": "t1", "order_refs": ["t2"], "amount": 1}');
CALL pg_temp.run('attribute');
SELECT * FROM pg_temp.paths WHERE order_id ~ '^[pqt][12]';
SELECT c.order_id, c.converted_at - pg_temp.ago(5, '0') AS at, c.touches FROM biolink.conversion AS c WHERE c.creator_id = 7861 AND c.order_id ~ '^[pqt][12]' ORDER BY 1;
SELECT md5 AS before FROM pg_temp.everything \gset
CALL pg_temp.rebuild();
SELECT md5 = :'before' AS unchanged FROM pg_temp.everything;
SELECT (SELECT sum(l.amount) FROM biolink.ledger AS l WHERE l.creator_id = 7861) = (SELECT sum(f.net_revenue) FROM biolink.performance(7861, '{channel}', NULL, NULL) AS f) AS adds_up;
SELECT rule, ok, failures FROM biolink.integrity_check();
-- and what is of the books but not of an event is still found
BEGIN;
UPDATE biolink.ledger SET order_id = 'stray' WHERE creator_id = 7861 AND order_id = 'o4';
UPDATE biolink.event_key SET event_id = biolink.uuid_v7(now()) WHERE creator_id = 7861 AND key = 'o6';
SELECT d ->> 'what' AS what FROM biolink.integrity_check(7861) AS i, jsonb_array_elements(i.detail) AS d WHERE i.rule = 'exactly_once' ORDER BY 1;
ROLLBACK;

\echo == a path keeps to its limits
UPDATE biolink.creator SET settings = '{"max_touches": 3}' WHERE creator_id = 7861;
CALL pg_temp.rebuild();
SELECT * FROM pg_temp.paths WHERE order_id = 'o4';
UPDATE biolink.creator SET settings = '{"lookback": {"session": "6 days"}}' WHERE creator_id = 7861;
CALL pg_temp.rebuild();
SELECT * FROM pg_temp.paths WHERE order_id = 'o4';
UPDATE biolink.creator SET settings = '{}' WHERE creator_id = 7861;

\echo == partitions: none is made for what is not kept
SELECT biolink.ensure_event_partition(pg_temp.ago(6));
INSERT INTO biolink.event_default (creator_id, event_id, occurred_at, received_at, kind, source) SELECT 7861, biolink.uuid_v7(t.at), t.at, '2000-01-01', 'survey', 'direct'
	FROM (SELECT pg_temp.ago(6, n * interval '1 second') AS at FROM generate_series(1, 10500) AS n) AS t;
SELECT count(*) FROM biolink.missing_event_partitions() AS m (month) WHERE m.month < now();
SELECT biolink.retention_pending();
CALL pg_temp.run('maintain');
SELECT count(*) FROM biolink.event WHERE occurred_at < biolink.event_horizon();
SELECT biolink.retention_pending();

\echo == keys go in slices, and a pass that was interrupted goes on
SELECT biolink.set_event_retention(now() - pg_temp.ago(3, '1 day')) = pg_temp.ago(3, '0') AS three_months;
INSERT INTO biolink.event_key (creator_id, source, key, event_id, kind, digest) SELECT 7862, 'bulk', n::text, biolink.uuid_v7(pg_temp.ago(4, n * interval '1 second')), CASE n % 100 WHEN 0 THEN 'order' ELSE 'survey' END, ''
	FROM generate_series(1, 25000) AS n;
SELECT biolink.job_begin('maintain') AS run \gset
DO $$
BEGIN
	COMMIT;
	SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
	WHILE NOT EXISTS (SELECT FROM biolink.job_memory AS m WHERE m.job = 'maintain' AND m.task = 'keys' AND m.details <> '{}') LOOP
		PERFORM biolink.job_step((SELECT max(r.run_id) FROM biolink.job_run AS r));
		COMMIT;
		SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
		EXIT WHEN (SELECT r.slices > 100 FROM biolink.job_run AS r ORDER BY r.run_id DESC LIMIT 1);
	END LOOP;
END
$$;
SELECT state FROM biolink.job_end(:run, 'enough');
SELECT count(*) BETWEEN 10000 AND 20000 AS some FROM biolink.event_key WHERE creator_id = 7862 AND source = 'bulk';
SELECT biolink.retention_pending();
CALL pg_temp.run('maintain');
SELECT kind, count(*) FROM biolink.event_key WHERE creator_id = 7862 AND source = 'bulk' GROUP BY 1;
SELECT details FROM biolink.job_memory WHERE job = 'maintain' AND task = 'keys';
DELETE FROM biolink.event_key WHERE creator_id = 7862 AND source = 'bulk';
SELECT * FROM pg_temp.months WHERE ago > 3;
CALL pg_temp.rebuild();
SELECT order_id, goal, touches FROM biolink.conversion WHERE creator_id = 7861 ORDER BY 1, 2;
SELECT rule, failures FROM biolink.integrity_check() WHERE NOT ok;

\echo == what depends on a partition keeps it, emptied, and fails the run; for ever means from here on
SELECT status FROM pg_temp.tap(pg_temp.ago(3), 'dep');
CALL pg_temp.run('maintain');
CALL pg_temp.run('attribute');
SELECT leaf AS dependent FROM biolink.event_leaves() WHERE month = pg_temp.ago(3, '0') \gset
CREATE VIEW public.of_a_leaf AS SELECT event_id FROM biolink.:dependent;
SELECT biolink.set_event_retention(now() - pg_temp.ago(2, '1 day')) = pg_temp.ago(2, '0') AS two_months;
\set VERBOSITY sqlstate
CALL biolink.run_job('maintain');
\set VERBOSITY terse
SELECT state, sqlstate, rows_failed FROM pg_temp.latest;
SELECT count(*) FROM public.of_a_leaf;
DROP VIEW public.of_a_leaf;
CALL pg_temp.run('maintain');
SELECT to_regclass('biolink.' || :'dependent');
SELECT biolink.set_event_retention(NULL);
SELECT biolink.event_horizon() = pg_temp.ago(2, '0') AS stays;
SELECT status, reason FROM pg_temp.tap(pg_temp.ago(3), 'dep');
SELECT biolink.set_event_retention('10 years') < biolink.event_horizon() AS longer;
CALL pg_temp.run('maintain');
SELECT biolink.event_horizon() = pg_temp.ago(2, '0') AS stays;

\echo == the horizon counts at once, in every session and transaction
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT status, reason FROM pg_temp.tap(pg_temp.ago(2), 'h');
UPDATE biolink.event_retention SET dropped_until = pg_temp.ago(1, '0');
SELECT status, reason FROM pg_temp.tap(pg_temp.ago(2), 'h');
SAVEPOINT a;
TRUNCATE biolink.event_retention;
SELECT status, reason FROM pg_temp.tap(pg_temp.ago(6), 'h');
ROLLBACK TO a;
SELECT status, reason FROM pg_temp.tap(pg_temp.ago(2), 'h');
ROLLBACK;
SELECT status, reason FROM pg_temp.tap(pg_temp.ago(2), 'h');

\echo == closed months: frozen by autovacuum, unless somebody said otherwise
CALL pg_temp.run('attribute');
CALL pg_temp.run('maintain');
SELECT leaf AS closed FROM biolink.event_leaves() WHERE month = pg_temp.ago(2, '0') \gset
SELECT c.reloptions FROM pg_class AS c WHERE c.oid = ('biolink.' || :'closed')::regclass;
SELECT count(*) FROM biolink.event_leaves() AS l WHERE l.month >= date_trunc('month', now()) AND l.reloptions IS NOT NULL;
ALTER TABLE biolink.:closed RESET (autovacuum_freeze_min_age, autovacuum_freeze_table_age, autovacuum_vacuum_insert_threshold, autovacuum_vacuum_insert_scale_factor);
SELECT EXISTS (SELECT FROM biolink.next_unfrozen_leaf('-infinity')) AS pending;
CALL pg_temp.run('maintain');
SELECT c.reloptions FROM pg_class AS c WHERE c.oid = ('biolink.' || :'closed')::regclass;
ALTER TABLE biolink.:closed SET (autovacuum_freeze_min_age = 7);
SELECT EXISTS (SELECT FROM biolink.next_unfrozen_leaf('-infinity')) AS pending;
CALL pg_temp.run('maintain');
SELECT 'autovacuum_freeze_min_age=7' = ANY (c.reloptions) AS kept FROM pg_class AS c WHERE c.oid = ('biolink.' || :'closed')::regclass;

\echo == the parent is analysed when enough has changed
DELETE FROM biolink.job_memory WHERE task = 'analyze';
CREATE FUNCTION pg_temp.analysed() RETURNS bool LANGUAGE sql SET search_path = pg_catalog AS $$ SELECT EXISTS (SELECT FROM pg_stats AS s WHERE s.schemaname = 'biolink' AND s.tablename = 'event' AND s.inherited) $$;
SELECT status, count(*) FROM biolink.track_batch(7861, (SELECT json_agg(jsonb_build_object('kind', 'survey', 'source', 'many', 'key', n::text, 'occurred_at', pg_temp.ago(1, n * interval '1 second'))) FROM generate_series(1, 2000) AS n)) GROUP BY 1;
SELECT pg_stat_force_next_flush() \gset ignored_
CALL pg_temp.run('maintain');
SELECT pg_temp.analysed();
SELECT done_until > now() - interval '10 minutes' AS just_now, (details ->> 'tuples')::int >= 2000 AS counted FROM biolink.job_memory WHERE task = 'analyze';
-- a little is not enough, a tenth is after a day, and so is anything after a month has begun
CREATE FUNCTION pg_temp.due(ago interval, written int, tuples int) RETURNS bool LANGUAGE sql SET search_path = pg_catalog AS $$
	UPDATE biolink.job_memory SET done_until = now() - ago, details = jsonb_build_object('written', (SELECT w.written FROM biolink.event_writes() AS w) - written, 'tuples', tuples) WHERE task = 'analyze';
	SELECT biolink.analyze_due()
$$;
SELECT pg_temp.due('1 hour', 2000, 15000) AS hour_ago, pg_temp.due('1 hour', 2000, 1500) AS as_many_as_there_were, pg_temp.due('40 days', 2000, 100000) AS month_began, pg_temp.due('40 days', 900, 100000) AS month_began_little;
SELECT pg_temp.due('25 hours', 2000, 15000) AS day_ago, pg_temp.due('-1 day', 2000, 100000) AS clock_set_back;
SELECT pg_temp.due('25 hours', -1000000, 15000) AS counters_reset;

-- as it was
DELETE FROM biolink.job_memory;
DELETE FROM biolink.event_retention;
DELETE FROM biolink.event WHERE creator_id IN (7861, 7862);
DELETE FROM biolink.event_key WHERE creator_id IN (7861, 7862);
DELETE FROM biolink.event_parked WHERE creator_id IN (7861, 7862);
DELETE FROM biolink.ledger WHERE creator_id IN (7861, 7862);
DELETE FROM biolink.order_ref WHERE creator_id IN (7861, 7862);
DELETE FROM biolink.conversion WHERE creator_id IN (7861, 7862);
DELETE FROM biolink.conversion_evidence WHERE creator_id IN (7861, 7862);
DELETE FROM biolink.touch_path WHERE creator_id IN (7861, 7862);
DROP ROLE regress_keep_app, regress_keep_admin;
