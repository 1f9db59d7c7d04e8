-- schema.sql: what the demonstration has beside biolink: a schema "demo" that plays the application and its shop.
--
-- It holds the lines of the log as they came, the tokens that the shop keeps with its customers, and the events that the shop sends.
-- An event is made once and kept, so that every later run sends exactly the same ones; which clicks lead to what is decided by their
-- key alone, so that every run on every machine makes the same ones of the same log.
--
-- Run by its owner demo_app, who is a member of biolink_app and nothing more.

CREATE UNLOGGED TABLE IF NOT EXISTS demo.line (
	number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	hex text NOT NULL
);
COMMENT ON TABLE demo.line IS 'The log, line by line, each as the hexadecimal digits of its bytes: nothing in it can be taken for something else.';

CREATE TABLE IF NOT EXISTS demo.taken_click (
	key text PRIMARY KEY,
	click_id uuid NOT NULL,
	token text,
	visitor text NOT NULL,
	occurred_at timestamptz NOT NULL,
	is_bot boolean NOT NULL
);
COMMENT ON TABLE demo.taken_click IS 'What a shop keeps of the visitors it is sent: the token they came with.';

CREATE TABLE IF NOT EXISTS demo.event (
	ordinal bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	creator_id bigint NOT NULL,
	source text NOT NULL,
	key text NOT NULL,
	event jsonb NOT NULL,
	status text,
	UNIQUE (creator_id, source, key)
);
COMMENT ON TABLE demo.event IS 'What the shop and its payment provider report, in the order they do, and the answer to the latest sending.';

CREATE TABLE IF NOT EXISTS demo.run (
	run bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	rows_before jsonb NOT NULL,
	lines bigint NOT NULL DEFAULT 0,
	clicks bigint NOT NULL DEFAULT 0,
	duplicates bigint NOT NULL DEFAULT 0,
	parked bigint NOT NULL DEFAULT 0,
	parked_before bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE demo.run IS 'One row for each run of the demonstration: what click() and park_event() answered.';

-- the analyst sees how the run went, not the log and no token
GRANT SELECT ON demo.run TO demo_analyst;
GRANT SELECT (status) ON demo.event TO demo_analyst;

CREATE OR REPLACE FUNCTION demo.row_counts() RETURNS jsonb
	LANGUAGE sql STABLE
	AS $$
	SELECT jsonb_build_object(
		'event', (SELECT count(*) FROM biolink.event),
		'event_key', (SELECT count(*) FROM biolink.event_key),
		'event_parked', (SELECT count(*) FROM biolink.event_parked),
		'ledger', (SELECT count(*) FROM biolink.ledger),
		'conversion', (SELECT count(*) FROM biolink.conversion))
$$;
COMMENT ON FUNCTION demo.row_counts() IS 'How many rows there are of everything that a second run must not add to.';

CREATE OR REPLACE FUNCTION demo.line_json(bytes bytea) RETURNS jsonb
	LANGUAGE plpgsql IMMUTABLE
	AS $$
BEGIN
	RETURN convert_from(bytes, 'UTF8')::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION demo.line_json(bytea) IS 'A line as JSON; NULL where it is none, or no UTF-8.';

CREATE OR REPLACE VIEW demo.log AS
	SELECT p.number, p.bytes, p.json, encode(sha256(p.bytes), 'hex') AS key,
		CASE WHEN p.is_click THEN p.json ->> 'h' END AS slug,
		CASE WHEN p.is_click THEN lower(p.json ->> 'hh') END AS host,
		CASE WHEN p.is_click THEN p.json ->> 'u' END AS url,
		CASE WHEN p.is_click THEN to_timestamp((p.json ->> 't')::float8) END AS clicked_at,
		-- The log has no cookie.  This one is made up from the browser and the place: whoever has the same browser in the same town is
		-- one visitor here, which is too coarse for real use and good enough to show how several clicks lead to one order.
		CASE WHEN p.is_click THEN
			'cookie-' || md5(concat_ws('|', p.json ->> 'a', p.json ->> 'c', p.json ->> 'gr', p.json ->> 'cy')) END AS visitor
	FROM (
		SELECT j.*,
			CASE WHEN jsonb_typeof(j.json) = 'object' AND NOT j.json ? '_heartbeat_'
				AND jsonb_typeof(j.json -> 'h') = 'string' AND jsonb_typeof(j.json -> 'hh') = 'string'
				AND jsonb_typeof(j.json -> 'u') = 'string' AND jsonb_typeof(j.json -> 't') = 'number'
				-- up to the year 9999
				THEN (j.json ->> 't')::numeric BETWEEN 0 AND 253402300799
				ELSE false END AS is_click
		FROM (
			SELECT b.number, b.bytes, demo.line_json(b.bytes) AS json
			FROM (SELECT l.number, decode(l.hex, 'hex') AS bytes FROM demo.line AS l OFFSET 0) AS b
			OFFSET 0
		) AS j
	) AS p;
COMMENT ON VIEW demo.log IS 'The lines of the log, read; slug, host, url, clicked_at and visitor are NULL where a line is no click.';

CREATE OR REPLACE PROCEDURE demo.configure()
	LANGUAGE plpgsql
	AS $$
DECLARE
	demo_id bigint;
	page_id bigint;
BEGIN
	-- one creator for the log, with every short-link host in it
	INSERT INTO biolink.creator (handle, currency, time_zone) VALUES ('demo', 'USD', 'America/New_York')
		ON CONFLICT (handle) DO NOTHING;
	SELECT c.creator_id INTO demo_id FROM biolink.creator AS c WHERE c.handle = 'demo';
	WITH host AS (
		SELECT array_agg(h.host ORDER BY h.host COLLATE "C") AS all_of_them
		FROM (SELECT l.host FROM demo.log AS l WHERE l.host IS NOT NULL
			UNION SELECT unnest(c.hosts) FROM biolink.creator AS c WHERE c.creator_id = demo_id) AS h
	)
	UPDATE biolink.creator AS c SET hosts = h.all_of_them FROM host AS h
		WHERE c.creator_id = demo_id AND h.all_of_them IS NOT NULL AND c.hosts <> h.all_of_them;

	-- a link for each short link, and an offer for one link in six
	CREATE TEMPORARY TABLE wanted ON COMMIT DROP AS
		SELECT DISTINCT ON (l.slug COLLATE "C") l.slug, l.url, ('x' || md5(l.slug))::bit(32)::bigint % 6 = 0 AS sells
		FROM demo.log AS l
		WHERE octet_length(l.slug) BETWEEN 1 AND 100 AND biolink.is_redirectable(l.url)
			AND NOT EXISTS (SELECT FROM biolink.link AS k WHERE k.creator_id = demo_id AND k.slug = l.slug)
		ORDER BY l.slug COLLATE "C", l.number;
	INSERT INTO biolink.offer (creator_id, name, url, price, currency)
		SELECT demo_id, 'Offer behind ' || w.slug, w.url, 1900 + 100 * (length(w.url) % 30), 'USD'
		FROM wanted AS w WHERE w.sells ORDER BY w.slug COLLATE "C";
	INSERT INTO biolink.link (creator_id, slug, url, offer_id)
		SELECT demo_id, w.slug, w.url, o.offer_id
		FROM wanted AS w
		LEFT JOIN biolink.offer AS o ON o.creator_id = demo_id AND o.name = 'Offer behind ' || w.slug
		ORDER BY w.slug COLLATE "C";
	DROP TABLE wanted;

	-- and another creator with a bio page
	INSERT INTO biolink.creator (handle, hosts) VALUES ('sample_page', '{sample.example}') ON CONFLICT (handle) DO NOTHING;
	SELECT c.creator_id INTO page_id FROM biolink.creator AS c WHERE c.handle = 'sample_page';
	IF NOT EXISTS (SELECT FROM biolink.offer AS o WHERE o.creator_id = page_id) THEN
		WITH o AS (
			INSERT INTO biolink.offer (creator_id, name, url, price, currency, sort_order) VALUES
				(page_id, 'Walking tour', 'https://tours.example/walk', 4900, 'USD', 1),
				(page_id, 'City map', 'https://tours.example/map', 900, 'USD', 2)
				RETURNING offer_id, name, url
		)
		INSERT INTO biolink.link (creator_id, slug, url, offer_id, utm)
			SELECT page_id, CASE o.name WHEN 'Walking tour' THEN 'tour' ELSE 'map' END, o.url, o.offer_id, '{"utm_medium": "bio"}'
			FROM o ORDER BY o.name;
	END IF;
END
$$;
COMMENT ON PROCEDURE demo.configure() IS 'Creators, links and offers, as far as they are not there.';

CREATE OR REPLACE PROCEDURE demo.prologue()
	LANGUAGE plpgsql
	AS $$
DECLARE
	page_id bigint := (SELECT c.creator_id FROM biolink.creator AS c WHERE c.handle = 'sample_page');
	browser text := 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 334.0.4.32.98';
	page record;
	taken record;
BEGIN
	-- 1. the page is opened: the visit is stored, the offers come back with a token for the page's own links
	SELECT * INTO STRICT page FROM biolink.open_page(page_id, jsonb_build_object(
		'key', 'page-view-1', 'occurred_at', '2025-09-01T08:59:30Z', 'url', 'https://sample.example/?utm_source=instagram&utm_medium=social',
		'user_agent', browser, 'country', 'PT', 'language', 'pt-PT', 'visitor', 'cookie-of-the-page'));
	-- 2. an offer is clicked: the click carries the page's token, so visit and click are one touch
	SELECT * INTO STRICT taken FROM biolink.click(page_id, page.offers -> 0 ->> 'link', jsonb_build_object(
		'key', 'page-click-1', 'occurred_at', '2025-09-01T09:00:00Z', 'url', 'https://sample.example/' || (page.offers -> 0 ->> 'link'),
		'referrer', 'https://sample.example/', 'user_agent', browser, 'country', 'PT', 'visitor', 'cookie-of-the-page', 'token', page.token));
	-- 3. the shop found a token in the address it was called by, and sends it with the order
	INSERT INTO demo.event (creator_id, source, key, event)
		VALUES (page_id, 'shop', 'tour-order-1', jsonb_build_object('kind', 'order', 'source', 'shop', 'key', 'tour-order-1',
			'occurred_at', '2025-09-01T09:12:00Z', 'order_id', 'TOUR-1', 'amount', 4900, 'currency', 'USD', 'order_type', 'new',
			'token', taken.token))
		ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON PROCEDURE demo.prologue() IS 'One bio page view, one click on what it offered, one order.';

CREATE OR REPLACE PROCEDURE demo.load_log()
	LANGUAGE plpgsql
	AS $$
DECLARE
	demo_id bigint := (SELECT c.creator_id FROM biolink.creator AS c WHERE c.handle = 'demo');
	total bigint := (SELECT count(*) FROM demo.line);
	progress bigint := greatest(500, total / 10);
	started timestamptz := clock_timestamp();
	this demo.run;
	line record;
	taken record;
	parked record;
	refused text;
BEGIN
	SELECT r.* INTO STRICT this FROM demo.run AS r ORDER BY r.run DESC LIMIT 1;
	FOR line IN
		-- The log knows whole seconds.  Where one visitor has several lines in one, their order in the log goes into the milliseconds,
		-- so that the order of touches does not depend on the random part of their ids.
		SELECT l.*, l.clicked_at + '1 millisecond'::interval * (row_number() OVER (PARTITION BY l.visitor, l.clicked_at ORDER BY l.number) - 1) AS at
			FROM demo.log AS l ORDER BY l.number
	LOOP
		refused := NULL;
		IF line.slug IS NULL THEN
			refused := 'not_a_click';
		ELSE
			BEGIN
				SELECT * INTO STRICT taken FROM biolink.click(demo_id, line.slug, jsonb_strip_nulls(jsonb_build_object(
					'key', line.key,
					'occurred_at', to_char(line.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
					'url', 'http://' || line.host || '/' || line.slug,
					'user_agent', line.json ->> 'a',
					'headers', jsonb_build_object('User-Agent', line.json ->> 'a', 'Accept-Language', line.json ->> 'al'),
					'referrer', NULLIF(line.json ->> 'r', 'direct'),
					'country', line.json ->> 'c',
					'region', line.json ->> 'gr',
					'city', line.json ->> 'cy',
					'language', split_part(line.json ->> 'al', ',', 1),
					'visitor', line.visitor)));
				IF taken.status = 'refused' THEN
					refused := taken.reason;
				ELSE
					IF taken.status = 'ok' THEN
						this.clicks := this.clicks + 1;
					ELSE
						this.duplicates := this.duplicates + 1;
					END IF;
					INSERT INTO demo.taken_click (key, click_id, token, visitor, occurred_at, is_bot)
						VALUES (line.key, taken.click_id, taken.token, line.visitor, line.at, taken.is_bot)
						ON CONFLICT DO NOTHING;
				END IF;
			EXCEPTION WHEN data_exception THEN
				-- a value that click() cannot take, with its words
				refused := left(SQLERRM, 200);
			END;
		END IF;

		IF refused IS NOT NULL THEN
			SELECT * INTO STRICT parked FROM biolink.park_event(demo_id, 'click_log', line.key, refused,
				COALESCE(line.json, jsonb_build_object('bytes', encode(line.bytes, 'escape'))));
			this.parked := this.parked + 1;
			IF parked.status <> 'parked' THEN
				this.parked_before := this.parked_before + 1;
			END IF;
		END IF;

		this.lines := this.lines + 1;
		IF this.lines % 500 = 0 THEN
			COMMIT;
		END IF;
		IF this.lines % progress = 0 THEN
			RAISE NOTICE '% of % lines, % s', this.lines, total, round(extract(epoch FROM clock_timestamp() - started)::numeric, 1);
		END IF;
	END LOOP;
	UPDATE demo.run AS r SET lines = this.lines, clicks = this.clicks, duplicates = this.duplicates, parked = this.parked, parked_before = this.parked_before
		WHERE r.run = this.run;
	COMMIT;
	RAISE NOTICE '% lines in % s', this.lines, round(extract(epoch FROM clock_timestamp() - started)::numeric, 1);
END
$$;
COMMENT ON PROCEDURE demo.load_log() IS 'Sends every line through biolink.click(), and what is no click through biolink.park_event().';

CREATE OR REPLACE PROCEDURE demo.make_events()
	LANGUAGE plpgsql
	AS $$
DECLARE
	demo_id bigint := (SELECT c.creator_id FROM biolink.creator AS c WHERE c.handle = 'demo');
BEGIN
	INSERT INTO demo.event (creator_id, source, key, event)
	WITH click AS (
		-- six independent numbers of each click, from its key
		SELECT t.*,
			('x' || substr(t.key, 1, 8))::bit(32)::bigint AS n1, ('x' || substr(t.key, 9, 8))::bit(32)::bigint AS n2,
			('x' || substr(t.key, 17, 8))::bit(32)::bigint AS n3, ('x' || substr(t.key, 25, 8))::bit(32)::bigint AS n4,
			('x' || substr(t.key, 33, 8))::bit(32)::bigint AS n5, ('x' || substr(t.key, 41, 8))::bit(32)::bigint AS n6,
			-- about one click in nine of a real log leads to something; in a small sample nearly all do
			CASE WHEN count(*) OVER () < 500 THEN 130 ELSE 1000 END AS out_of
		FROM demo.taken_click AS t
	), story AS (
		SELECT c.*,
			CASE
				WHEN c.is_bot AND c.n1 % (c.out_of / 10) < 3 THEN 'bot'
				WHEN c.is_bot THEN NULL
				WHEN c.n1 % c.out_of < 30 THEN 'lead'
				WHEN c.n1 % c.out_of < 40 THEN 'booking'
				WHEN c.n1 % c.out_of < 80 THEN 'token'
				WHEN c.n1 % c.out_of < 90 THEN 'click_id'
				WHEN c.n1 % c.out_of < 100 THEN 'visitor'
				WHEN c.n1 % c.out_of < 104 THEN 'damaged'
				WHEN c.n1 % c.out_of < 107 THEN 'nothing'
				WHEN c.n1 % c.out_of < 109 THEN 'late'
				WHEN c.n1 % c.out_of < 112 THEN 'denied'
			END AS story,
			'S-' || upper(left(c.key, 12)) AS order_id,
			(ARRAY[990, 1900, 2900, 4999, 7900, 12900, 24901])[1 + c.n2 % 7] AS amount,
			CASE WHEN c.n3 % 6 = 0 THEN 'EUR' ELSE 'USD' END AS currency
		FROM click AS c
	), sale AS (
		SELECT s.*,
			s.occurred_at + '2 minutes'::interval + '1 second'::interval * (s.n4 % 259200)
				+ CASE s.story WHEN 'late' THEN '40 days'::interval ELSE '0'::interval END AS paid_at,
			CASE WHEN s.story = 'token' AND s.n6 % 12 > 2 THEN
				row_number() OVER (PARTITION BY s.story = 'token' AND s.n6 % 12 > 2 ORDER BY s.key COLLATE "C") END AS place
		FROM story AS s
		WHERE s.story NOT IN ('lead', 'booking')
	), event AS (
		-- goals
		SELECT 1 AS phase, s.occurred_at + '1 second'::interval * (20 + s.n4 % 1800) AS at, 'shop' AS source, s.story || '-' || left(s.key, 16) AS key,
			jsonb_build_object('kind', s.story, CASE WHEN s.n2 % 3 = 0 THEN 'visitor' ELSE 'token' END,
				CASE WHEN s.n2 % 3 = 0 THEN s.visitor ELSE s.token END) AS event
		FROM story AS s WHERE s.story IN ('lead', 'booking')
		UNION ALL
		-- orders, each with what the shop has: the token, a click id, its own cookie, a token that was cut or changed on its way, nothing
		SELECT 1, s.paid_at, 'shop', 'order-' || left(s.key, 16),
			jsonb_build_object('kind', 'order', 'order_id', s.order_id, 'amount', s.amount, 'currency', s.currency,
				'order_type', CASE WHEN s.n3 % 5 = 0 THEN 'repeat' ELSE 'new' END)
			|| CASE s.story
				WHEN 'token' THEN jsonb_build_object('token', s.token)
				WHEN 'late' THEN jsonb_build_object('token', s.token)
				WHEN 'click_id' THEN jsonb_build_object('click_id', s.click_id)
				WHEN 'bot' THEN jsonb_build_object('click_id', s.click_id)
				WHEN 'visitor' THEN jsonb_build_object('visitor', s.visitor)
				WHEN 'damaged' THEN jsonb_build_object('token', CASE WHEN s.n5 % 3 = 0 THEN left(s.token, 50)
					ELSE overlay(s.token PLACING CASE substr(s.token, 70, 1) WHEN 'A' THEN 'B' ELSE 'A' END FROM 70 FOR 1) END)
				WHEN 'denied' THEN jsonb_build_object('visitor', s.visitor, 'consent', jsonb_build_object('measurement', 'denied'))
				ELSE '{}' END
		FROM sale AS s
		UNION ALL
		-- the same orders once more, from the payment provider under its own key; it sometimes knows the cookie
		SELECT 2, s.paid_at + '5 seconds'::interval, 'payments', 'payment-' || left(s.key, 16),
			jsonb_build_object('kind', 'order', 'order_id', s.order_id, 'amount', s.amount, 'currency', s.currency, 'payment', 'paid')
			|| CASE WHEN s.n5 % 12 = 0 THEN jsonb_build_object('visitor', s.visitor) ELSE '{}' END
		FROM sale AS s WHERE s.n5 % 6 = 0
		UNION ALL
		-- refunds: whole, of a third, one that is reported before its order, one of more than the order
		SELECT CASE WHEN s.place = 1 THEN 0 ELSE 3 END, s.paid_at + '1 day'::interval * (1 + s.n5 % 5), 'payments', 'refund-' || left(s.key, 16),
			jsonb_build_object('kind', 'refund', 'order_id', s.order_id, 'currency', s.currency, 'amount',
				CASE WHEN s.place = 2 THEN s.amount + 500 WHEN s.n6 % 12 = 0 THEN s.amount ELSE s.amount / 3 END)
		FROM sale AS s WHERE s.n6 % 12 <= 2 OR s.place <= 2
	)
	SELECT demo_id, e.source, e.key, e.event || jsonb_build_object('source', e.source, 'key', e.key,
			'occurred_at', to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
		FROM event AS e
		WHERE NOT EXISTS (SELECT FROM demo.event AS d WHERE d.creator_id = demo_id AND d.source = e.source AND d.key = e.key)
		ORDER BY e.phase, e.at, e.source COLLATE "C", e.key COLLATE "C";
END
$$;
COMMENT ON PROCEDURE demo.make_events() IS 'Makes up what some clicks lead to. Decided by the keys of the clicks; what is there already stays as it is.';

CREATE OR REPLACE PROCEDURE demo.send_events()
	LANGUAGE plpgsql
	AS $$
DECLARE
	sent bigint := 0;
	one record;
	answer record;
BEGIN
	FOR one IN SELECT e.* FROM demo.event AS e ORDER BY e.ordinal LOOP
		SELECT * INTO STRICT answer FROM biolink.track(one.creator_id, one.event);
		UPDATE demo.event AS e SET status = answer.status WHERE e.ordinal = one.ordinal;
		sent := sent + 1;
		IF sent % 500 = 0 THEN
			COMMIT;
		END IF;
	END LOOP;
	COMMIT;
	RAISE NOTICE '% events sent', sent;
END
$$;
COMMENT ON PROCEDURE demo.send_events() IS 'Sends every event of the shop and its payment provider through biolink.track().';
