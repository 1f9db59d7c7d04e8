-- batch.sql: the measurements of track_batch(): beside the least that it could cost, sent again, in small and large tables.

\set ON_ERROR_STOP on
CREATE TABLE bench.batch (
	number int PRIMARY KEY,
	events json NOT NULL
);
COMMENT ON TABLE bench.batch IS 'Batches of 1,000 events as applications send them: five orders in ten, half of them with a token, three leads, one refund of an order of the batch before, one event of a kind of its own.';

CREATE PROCEDURE bench.prepare_batches(batches int)
	LANGUAGE plpgsql
	AS $$
BEGIN
	INSERT INTO bench.batch (number, events)
		SELECT b.number, json_agg(jsonb_strip_nulls(jsonb_build_object(
				'source', 'shop', 'key', md5(concat('key ', b.number, ' ', e.n)), 'occurred_at', now(),
				'kind', (ARRAY['order', 'lead', 'order', 'refund', 'order', 'lead', 'order', 'survey', 'order', 'lead'])[1 + e.n % 10],
				'order_id', CASE WHEN e.n % 2 = 0 THEN concat('O-', b.number, '-', e.n) WHEN e.n % 10 = 3 THEN concat('O-', b.number - 1, '-', e.n - 1) END,
				'amount', CASE WHEN e.n % 2 = 0 THEN 1000 + e.n WHEN e.n % 10 = 3 THEN 100 END,
				'currency', CASE WHEN e.n % 2 = 0 OR e.n % 10 = 3 THEN 'USD' END,
				'token', CASE WHEN e.n % 4 IN (0, 1) THEN t.token END,
				'visitor', CASE WHEN e.n % 4 = 2 THEN md5(concat('visitor ', b.number, ' ', e.n)) END,
				'plan', CASE WHEN e.n % 10 = 7 THEN 'annual' END)) ORDER BY e.n)
		FROM generate_series(1, batches) AS b (number)
		CROSS JOIN generate_series(0, 999) AS e (n)
		LEFT JOIN bench.token AS t ON t.number = 1 + (b.number * 1000 + e.n) % (SELECT count(*) FROM bench.token)
		GROUP BY b.number;
END
$$;
COMMENT ON PROCEDURE bench.prepare_batches(int) IS 'Makes the batches.';

CREATE PROCEDURE bench.stage_batches(batches int)
	LANGUAGE plpgsql
	AS $$
DECLARE
	creator bigint := (SELECT c.creator_id FROM biolink.creator AS c WHERE c.handle = 'ana');
	began timestamptz;
BEGIN
	CALL bench.empty_tables();
	CREATE TABLE bench.staged_event AS SELECT 0 AS number, e.* FROM biolink.event AS e LIMIT 0;
	CREATE TABLE bench.staged_key AS SELECT 0 AS number, k.* FROM biolink.event_key AS k LIMIT 0;
	CREATE TABLE bench.staged_ledger AS SELECT 0 AS number, l.* FROM biolink.ledger AS l LIMIT 0;
	CREATE TABLE bench.staged_ref AS SELECT 0 AS number, r.* FROM biolink.order_ref AS r LIMIT 0;
	CREATE TABLE bench.staged_queue AS SELECT 0 AS number, q.creator_id, q.conversion_id, q.reason FROM biolink.attribution_queue AS q LIMIT 0;
	FOR batch IN 1 .. batches LOOP
		began := clock_timestamp();
		PERFORM count(*) FROM biolink.track_batch(creator, (SELECT b.events FROM bench.batch AS b WHERE b.number = batch));
		INSERT INTO bench.staged_event SELECT batch, e.* FROM biolink.event AS e WHERE e.received_at >= began;
		INSERT INTO bench.staged_key SELECT batch, k.* FROM biolink.event_key AS k WHERE k.received_at >= began;
		INSERT INTO bench.staged_ledger SELECT batch, l.* FROM biolink.ledger AS l WHERE l.received_at >= began;
		INSERT INTO bench.staged_ref SELECT batch, r.* FROM biolink.order_ref AS r WHERE r.received_at >= began;
		INSERT INTO bench.staged_queue SELECT batch, q.creator_id, q.conversion_id, q.reason FROM biolink.attribution_queue AS q;
		DELETE FROM biolink.attribution_queue;
		COMMIT;
	END LOOP;
	CREATE INDEX ON bench.staged_event (number);
	CREATE INDEX ON bench.staged_key (number);
	CREATE INDEX ON bench.staged_ledger (number);
	CREATE INDEX ON bench.staged_ref (number);
	CREATE INDEX ON bench.staged_queue (number);
	ANALYZE bench.staged_event, bench.staged_key, bench.staged_ledger, bench.staged_ref, bench.staged_queue;
END
$$;
COMMENT ON PROCEDURE bench.stage_batches(int) IS 'Keeps the typed rows that each batch becomes.';

CREATE PROCEDURE bench.batch_loop(what text, round int, batches int)
	LANGUAGE plpgsql
	AS $$
DECLARE
	creator bigint := (SELECT c.creator_id FROM biolink.creator AS c WHERE c.handle = 'ana');
	started timestamptz;
	cpu float8;
BEGIN
	IF what <> 'track_batch, sent again' THEN
		CALL bench.empty_tables();
	END IF;
	PERFORM count(*) FROM biolink.track_batch(creator, '[{"kind": "lead", "source": "warm", "key": "up", "test": true}]');
	COMMIT;
	cpu := bench.cpu_microseconds();
	started := clock_timestamp();
	FOR batch IN 1 .. batches LOOP
		IF what = 'insert of typed rows' THEN
			INSERT INTO biolink.event_key SELECT k.creator_id, k.source, k.key, k.event_id, k.kind, k.revision, k.digest, k.received_at
				FROM bench.staged_key AS k WHERE k.number = batch ON CONFLICT DO NOTHING;
			INSERT INTO biolink.order_ref SELECT r.creator_id, r.ref, r.order_id, r.event_id, r.received_at
				FROM bench.staged_ref AS r WHERE r.number = batch ON CONFLICT DO NOTHING;
			EXECUTE format('INSERT INTO biolink.event (%1$s) SELECT %1$s FROM bench.staged_event WHERE number = $1 ON CONFLICT DO NOTHING',
				(SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = 'biolink.event'::regclass AND a.attnum > 0 AND NOT a.attisdropped)) USING batch;
			INSERT INTO biolink.ledger (creator_id, entry_id, event_id, order_id, kind, amount, tax, shipping, fee, currency, occurred_at, received_at, is_test)
				SELECT l.creator_id, l.entry_id, l.event_id, l.order_id, l.kind, l.amount, l.tax, l.shipping, l.fee, l.currency, l.occurred_at, l.received_at, l.is_test
				FROM bench.staged_ledger AS l WHERE l.number = batch ON CONFLICT DO NOTHING;
			INSERT INTO biolink.attribution_queue (creator_id, conversion_id, reason)
				SELECT q.creator_id, q.conversion_id, q.reason FROM bench.staged_queue AS q WHERE q.number = batch;
		ELSE
			PERFORM count(*) FROM biolink.track_batch(creator, (SELECT b.events FROM bench.batch AS b WHERE b.number = batch));
		END IF;
		COMMIT;
	END LOOP;
	INSERT INTO bench.result (what, round, calls, wall_microseconds, cpu_microseconds)
		VALUES (what, round, 1000 * batches, 1e6 * extract(epoch FROM clock_timestamp() - started), bench.cpu_microseconds() - cpu);
	COMMIT;
END
$$;
COMMENT ON PROCEDURE bench.batch_loop(text, int, int) IS 'So many batches of 1,000, timed; what it costs is given per event.';

CREATE PROCEDURE bench.run_batches(rounds int, batches int)
	LANGUAGE plpgsql
	AS $$
DECLARE
	what text;
BEGIN
	FOR round IN 0 .. rounds LOOP
		FOREACH what IN ARRAY ARRAY['insert of typed rows', 'track_batch', 'track_batch, sent again'] LOOP
			CALL bench.batch_loop(what, round, batches);
		END LOOP;
		RAISE NOTICE 'batches: round % of %', round, rounds;
	END LOOP;
	DELETE FROM bench.result AS r WHERE r.round = 0;
END
$$;
COMMENT ON PROCEDURE bench.run_batches(int, int) IS 'All loops of batches, taking turns.';
