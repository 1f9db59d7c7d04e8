-- growth.sql: does an event cost more in large tables than in small ones, and what does it take on disk?

\set ON_ERROR_STOP on
\pset footer off

CREATE FUNCTION bench.one_batch(number int) RETURNS json
	LANGUAGE sql STABLE
	AS $$
	SELECT json_agg(jsonb_strip_nulls(jsonb_build_object(
			'source', 'shop', 'key', md5(concat('key ', one_batch.number, ' ', e.n)), 'occurred_at', now(),
			'kind', (ARRAY['order', 'lead', 'order', 'refund', 'order', 'lead', 'order', 'survey', 'order', 'lead'])[1 + e.n % 10],
			'order_id', CASE WHEN e.n % 2 = 0 THEN concat('O-', one_batch.number, '-', e.n) WHEN e.n % 10 = 3 THEN concat('O-', one_batch.number - 1, '-', e.n - 1) END,
			'amount', CASE WHEN e.n % 2 = 0 THEN 1000 + e.n WHEN e.n % 10 = 3 THEN 100 END,
			'currency', CASE WHEN e.n % 2 = 0 OR e.n % 10 = 3 THEN 'USD' END,
			'visitor', CASE WHEN e.n % 4 = 2 THEN md5(concat('visitor ', one_batch.number, ' ', e.n)) END)) ORDER BY e.n)
		FROM generate_series(0, 999) AS e (n)
$$;
COMMENT ON FUNCTION bench.one_batch(int) IS '1,000 events that no other batch has.';

CREATE TABLE bench.touched (
	events int NOT NULL,
	call text NOT NULL,
	buffers float8 NOT NULL,
	rows float8 NOT NULL
);
COMMENT ON TABLE bench.touched IS 'Buffers (hits and reads) and rows (read by scans, written) per event, with so many events in the tables.';

CREATE FUNCTION bench.rows_touched() RETURNS int8
	LANGUAGE sql VOLATILE
	AS $$
	SELECT sum(s.seq_tup_read + COALESCE(s.idx_tup_fetch, 0) + s.n_tup_ins + s.n_tup_upd + s.n_tup_del)::int8
		FROM pg_stat_xact_all_tables AS s WHERE s.schemaname = 'biolink'
$$;
COMMENT ON FUNCTION bench.rows_touched() IS 'Rows that this transaction has touched so far.';

CREATE PROCEDURE bench.touch(events int, first_batch int)
	LANGUAGE plpgsql
	AS $$
DECLARE
	creator bigint := (SELECT c.creator_id FROM biolink.creator AS c WHERE c.handle = 'ana');
	call text;
	plan json;
	before int8;
	calls int;
BEGIN
	-- what is planned and cached once is not what an event costs
	PERFORM count(*) FROM biolink.track_batch(creator, bench.one_batch(first_batch));
	PERFORM biolink.track(creator, (bench.one_batch(first_batch + 1) -> n)::jsonb) FROM generate_series(0, 19) AS n;
	PERFORM biolink.click(creator, c.slug, c.keyed_request) FROM bench.call AS c WHERE c.number <= 20;
	COMMIT;
	FOREACH call IN ARRAY ARRAY[
		format('SELECT count(*) FROM biolink.track_batch(%s, bench.one_batch(%s))', creator, first_batch + 2),
		format('SELECT count(t.status) FROM json_array_elements(bench.one_batch(%s)) AS e CROSS JOIN LATERAL biolink.track(%s, e.value::jsonb) AS t', first_batch + 3, creator),
		format('SELECT count(k.status) FROM bench.call AS c CROSS JOIN LATERAL biolink.click(%s, c.slug, c.request || jsonb_build_object(''key'', ''%s-'' || c.number)) AS k WHERE c.number <= 1000', creator, first_batch)] LOOP
		before := bench.rows_touched();
		EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) ' || call INTO plan;
		INSERT INTO bench.touched VALUES (events, substring(call FROM 'biolink\.(\w+)'),
			((plan #>> '{0,Plan,Shared Hit Blocks}')::float8 + (plan #>> '{0,Plan,Shared Read Blocks}')::float8) / 1000,
			(bench.rows_touched() - before) / 1000.0);
		COMMIT;
	END LOOP;
END
$$;
COMMENT ON PROCEDURE bench.touch(int, int) IS 'What 1,000 events of each call touch in the tables as they are.';

CREATE PROCEDURE bench.grow(events int)
	LANGUAGE plpgsql
	AS $$
DECLARE
	creator bigint := (SELECT c.creator_id FROM biolink.creator AS c WHERE c.handle = 'ana');
	batch int := 0;
	goal int;
BEGIN
	CALL bench.empty_tables();
	FOREACH goal IN ARRAY ARRAY[10000, events] LOOP
		WHILE batch < goal / 1000 LOOP
			batch := batch + 1;
			PERFORM count(*) FROM biolink.track_batch(creator, bench.one_batch(batch));
			COMMIT;
		END LOOP;
		ANALYZE biolink.event, biolink.event_key, biolink.ledger, biolink.order_ref, biolink.attribution_queue;
		COMMIT;
		CALL bench.touch(goal, batch + 1);
		batch := batch + 4;
	END LOOP;
END
$$;
COMMENT ON PROCEDURE bench.grow(int) IS 'Measures with 10,000 events in the tables and with so many.';

CREATE TABLE bench.size (
	kind text NOT NULL,
	relation text NOT NULL,
	bytes float8 NOT NULL
);
COMMENT ON TABLE bench.size IS 'Bytes on disk per event of a kind, indexes included.';

CREATE PROCEDURE bench.weigh(events int)
	LANGUAGE plpgsql
	AS $$
DECLARE
	creator bigint := (SELECT c.creator_id FROM biolink.creator AS c WHERE c.handle = 'ana');
	what text;
BEGIN
	FOREACH what IN ARRAY ARRAY['visit', 'click', 'lead', 'order', 'refund', 'survey'] LOOP
		CALL bench.empty_tables();
		IF what = 'visit' THEN
			PERFORM v.visit_id FROM bench.call AS c CROSS JOIN LATERAL biolink.open_page(creator, c.request) AS v WHERE c.number <= events;
		ELSIF what = 'click' THEN
			PERFORM v.status FROM bench.call AS c CROSS JOIN LATERAL biolink.click(creator, c.slug, c.request) AS v WHERE c.number <= events;
		ELSE
			IF what = 'refund' THEN
				PERFORM count(*) FROM generate_series(0, events / 1000 - 1) AS b CROSS JOIN LATERAL biolink.track_batch(creator, (
					SELECT json_agg(json_build_object('kind', 'order', 'source', 'shop', 'key', md5(concat(b, ' ', n)), 'order_id', concat('O-', b, '-', n), 'amount', 1000, 'currency', 'USD'))
						FROM generate_series(1, 1000) AS n));
				COMMIT;
				-- what the orders take is not what the refunds do
				TRUNCATE biolink.event, biolink.event_key, biolink.attribution_queue;
				COMMIT;
			END IF;
			CREATE TEMPORARY TABLE size_before ON COMMIT DROP AS SELECT c.oid, pg_total_relation_size(c.oid) AS bytes FROM pg_class AS c WHERE c.relnamespace = 'biolink'::regnamespace AND c.relkind = 'r';
			PERFORM count(*) FROM generate_series(0, events / 1000 - 1) AS b CROSS JOIN LATERAL biolink.track_batch(creator, (
				SELECT json_agg(jsonb_strip_nulls(jsonb_build_object('kind', what, 'source', 'shop', 'key', md5(concat(what, b, ' ', n)), 'token', t.token,
						'order_id', CASE WHEN what IN ('order', 'refund') THEN concat('O-', b, '-', n) END,
						'amount', CASE WHEN what IN ('order', 'refund') THEN 100 END, 'currency', CASE WHEN what IN ('order', 'refund') THEN 'USD' END)))
					FROM generate_series(1, 1000) AS n LEFT JOIN bench.token AS t ON t.number = n AND what <> 'refund'));
		END IF;
		IF to_regclass('pg_temp.size_before') IS NULL THEN
			CREATE TEMPORARY TABLE size_before ON COMMIT DROP AS SELECT c.oid, 0::int8 AS bytes FROM pg_class AS c WHERE false;
		END IF;
		INSERT INTO bench.size (kind, relation, bytes)
			SELECT what, regexp_replace(c.relname, '^event_(\d+_\d+|default)$', 'event'), (pg_total_relation_size(c.oid) - COALESCE(b.bytes, 0)) / events::float8
				FROM pg_class AS c LEFT JOIN size_before AS b USING (oid)
				WHERE c.relnamespace = 'biolink'::regnamespace AND c.relkind = 'r'
					AND c.relname ~ '^(event_\d+_\d+|event_default|event_key|ledger|order_ref|attribution_queue)$';
		COMMIT;
	END LOOP;
END
$$;
COMMENT ON PROCEDURE bench.weigh(int) IS 'What events of each kind take on disk.';

CALL bench.grow(:events);
\echo 'buffers and rows touched per event, and how many times as many with more events in the tables'
SELECT t.call, t.events, round(t.buffers::numeric, 2) AS buffers, round(t.rows::numeric, 2) AS rows,
		round((t.buffers / first_value(t.buffers) OVER w)::numeric, 3) AS "times buffers", round((t.rows / first_value(t.rows) OVER w)::numeric, 3) AS "times rows"
	FROM bench.touched AS t WINDOW w AS (PARTITION BY t.call ORDER BY t.events) ORDER BY 1, 2;
CALL bench.weigh(20000);
\echo 'bytes on disk per event, indexes included'
SELECT s.kind, round(sum(s.bytes)) AS bytes, round(sum(s.bytes) FILTER (WHERE s.relation = 'event')) AS event, round(sum(s.bytes) FILTER (WHERE s.relation = 'event_key')) AS event_key,
		round(sum(s.bytes) FILTER (WHERE s.relation = 'ledger')) AS ledger, round(sum(s.bytes) FILTER (WHERE s.relation = 'order_ref')) AS order_ref
	FROM bench.size AS s WHERE s.relation <> 'attribution_queue' GROUP BY s.kind ORDER BY 2;
