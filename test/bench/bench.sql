-- bench.sql: the measurements, as procedures that run in one backend.

\set ON_ERROR_STOP on
CREATE SCHEMA bench;

CREATE TABLE bench.call (
	number bigint PRIMARY KEY,
	slug text NOT NULL,
	request jsonb NOT NULL,
	keyed_request jsonb NOT NULL
);
COMMENT ON TABLE bench.call IS 'Requests as an application sends them: 2,000 different ones, repeated; keyed_request has a key of its own as well.';

CREATE TABLE bench.result (
	what text NOT NULL,
	round int NOT NULL,
	calls int NOT NULL,
	wall_microseconds float8 NOT NULL,
	cpu_microseconds float8 NOT NULL
);
COMMENT ON TABLE bench.result IS 'One row for each loop that ran.';

CREATE FUNCTION bench.cpu_microseconds() RETURNS float8
	LANGUAGE sql VOLATILE
	AS $$
	-- user and system time of this backend, in ticks of 10 ms
	SELECT 10000.0 * (split_part(s.stat, ' ', 12)::bigint + split_part(s.stat, ' ', 13)::bigint)
		FROM (SELECT regexp_replace(pg_read_file('/proc/self/stat'), '^.*\) ', '') AS stat) AS s
$$;
COMMENT ON FUNCTION bench.cpu_microseconds() IS 'Processor time that this backend has used.';

CREATE PROCEDURE bench.prepare(calls int)
	LANGUAGE plpgsql
	AS $$
DECLARE
	agents text[] := ARRAY[
		'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 334.0.4.32.98 (iPhone15,2; iOS 17_5; pt_PT; pt; scale=3.00; 1179x2556; 604247854)',
		'Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/AP1A.240505.004; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/124.0.6367.82 Mobile Safari/537.36 musical_ly_2023400040 BytedanceWebview/d8a21c6',
		'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36',
		'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4.1 Safari/605.1.15',
		'Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4.1 Mobile/15E148 Safari/604.1',
		'Mozilla/5.0 (Linux; Android 13; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/24.0 Chrome/117.0.0.0 Mobile Safari/537.36',
		'Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0',
		'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/463.0.0.36.108;FBBV/599612345;FBDV/iPhone14,5;FBMD/iPhone;FBSN/iOS;FBSV/17.5;FBSS/3;FBLC/de_DE]',
		'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 Edg/124.0.2478.80',
		'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)'];
	referrers text[] := ARRAY['https://l.instagram.com/', 'https://www.tiktok.com/', 'https://www.youtube.com/redirect?q=https%3A%2F%2Fana.example', NULL,
		'https://t.co/9zQ2aB7cD1', 'https://www.google.com/', 'https://l.facebook.com/l.php?u=https%3A%2F%2Fana.example%2F', NULL, 'https://ana.example/', 'https://out.reddit.com/'];
	creator bigint;
BEGIN
	INSERT INTO biolink.creator (handle, hosts) VALUES ('ana', '{ana.example}') RETURNING creator_id INTO creator;
	INSERT INTO biolink.offer (creator_id, name, price, currency)
		SELECT creator, 'Offer ' || n, 1000 + n, 'USD' FROM generate_series(1, 10) AS n;
	INSERT INTO biolink.link (creator_id, slug, url, offer_id, utm)
		SELECT creator, 'link-' || n, 'https://shop.example/products/' || n || '?variant=' || n * 37, CASE WHEN n <= 10 THEN n END,
			CASE WHEN n % 3 = 0 THEN '{"utm_source": "ana", "utm_medium": "bio"}' ELSE '{}' END::jsonb
		FROM generate_series(1, 100) AS n;

	INSERT INTO bench.call (number, slug, request, keyed_request)
	SELECT n.number, r.slug, r.request, r.request || jsonb_build_object('key', 'request-' || md5(n.number::text))
	FROM generate_series(1, calls) AS n (number)
	JOIN (
		SELECT m.n, 'link-' || (1 + m.n * 7 % 100) AS slug, jsonb_strip_nulls(jsonb_build_object(
			'user_agent', agents[1 + m.n % 10],
			'method', 'GET',
			'url', 'https://ana.example/link-' || (1 + m.n * 7 % 100) || CASE m.n % 4
				WHEN 0 THEN '?utm_source=instagram&utm_medium=social&utm_campaign=spring-' || m.n % 12
				WHEN 1 THEN '?fbclid=IwAR' || md5('f' || m.n) || md5('g' || m.n) ELSE '' END,
			'referrer', referrers[1 + m.n / 3 % 10],
			'headers', jsonb_build_object('Accept', 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
				'Accept-Language', 'de-DE,de;q=0.9,en;q=0.8', 'Sec-Fetch-Site', 'cross-site', 'Sec-Fetch-Mode', 'navigate'),
			'ip', '203.0.113.' || m.n % 256,
			'country', (ARRAY['US', 'DE', 'PT', 'BR', 'JP'])[1 + m.n % 5],
			'region', 'R' || m.n % 50,
			'city', 'City ' || m.n % 300,
			'language', 'de-DE',
			'visitor', md5('visitor ' || m.n % 1500))) AS request
		FROM generate_series(0, 1999) AS m (n)
	) AS r ON r.n = n.number % 2000;
	ANALYZE bench.call;
	COMMIT;
	CALL biolink.run_job('maintain');

	-- the rows that click() makes of them, and a token of each person's click
	CREATE TABLE bench.token (number bigint PRIMARY KEY, token text NOT NULL, message bytea NOT NULL);
	INSERT INTO bench.token
		-- PAE("bl1", body, ''): a count and three lengths of 8 bytes each, and 3 + 41 + 0 bytes
		SELECT row_number() OVER (), c.token::text, decode(repeat('5a', 4 * 8 + 3 + 41), 'hex')
		FROM bench.call AS b, biolink.click(creator, b.slug, b.request) AS c
		WHERE c.token IS NOT NULL;
	CREATE TABLE bench.staged AS SELECT row_number() OVER (ORDER BY e.received_at) AS number, e.* FROM biolink.event AS e WHERE e.kind = 'click';
	ALTER TABLE bench.staged ADD PRIMARY KEY (number);
	ANALYZE bench.staged, bench.token;
END
$$;
COMMENT ON PROCEDURE bench.prepare(int) IS 'Makes the requests, the rows that they become, and tokens.';

CREATE PROCEDURE bench.empty_tables()
	LANGUAGE plpgsql
	AS $$
BEGIN
	TRUNCATE biolink.event, biolink.event_key, biolink.ledger, biolink.order_ref, biolink.attribution_queue;
	COMMIT;
	CHECKPOINT;
END
$$;
COMMENT ON PROCEDURE bench.empty_tables() IS 'Every loop that stores begins with empty tables.';

CREATE PROCEDURE bench.loop(what text, round int, calls int)
	LANGUAGE plpgsql
	AS $$
DECLARE
	creator bigint := (SELECT c.creator_id FROM biolink.creator AS c WHERE c.handle = 'ana');
	one record;
	answer record;
	secret bytea := decode(repeat('0b', 32), 'hex');
	started timestamptz;
	cpu float8;
BEGIN
	IF what NOT LIKE 'no call%' AND what NOT LIKE 'verify_token%' AND what NOT LIKE 'hmac%' THEN
		CALL bench.empty_tables();
	END IF;
	-- what is prepared, cached or looked up once is not what a call costs
	PERFORM biolink.verify_token((SELECT t.token FROM bench.token AS t LIMIT 1));
	PERFORM c.status FROM biolink.click(creator, 'link-1', '{"test": true}') AS c;
	COMMIT;
	cpu := bench.cpu_microseconds();
	started := clock_timestamp();

	CASE what
		WHEN 'click' THEN
			FOR one IN SELECT c.slug, c.request FROM bench.call AS c ORDER BY c.number LIMIT calls LOOP
				SELECT * INTO answer FROM biolink.click(creator, one.slug, one.request);
			END LOOP;
		WHEN 'click with a key' THEN
			FOR one IN SELECT c.slug, c.keyed_request FROM bench.call AS c ORDER BY c.number LIMIT calls LOOP
				SELECT * INTO answer FROM biolink.click(creator, one.slug, one.keyed_request);
			END LOOP;
		WHEN 'click, a transaction each' THEN
			FOR one IN SELECT c.slug, c.request FROM bench.call AS c ORDER BY c.number LIMIT calls LOOP
				SELECT * INTO answer FROM biolink.click(creator, one.slug, one.request);
				COMMIT;
			END LOOP;
		WHEN 'insert' THEN
			FOR one IN SELECT * FROM bench.staged AS s ORDER BY s.number LIMIT calls LOOP
				INSERT INTO biolink.event (creator_id, event_id, occurred_at, visitor, day_visitor, visit_id, click_id,
					link_id, campaign_id, offer_id, post_id, agent_id, referrer_id, amount, is_bot, is_test, merged, measurement_denied,
					kind, source, bot_reason, evidence, token_reason, channel, channel_evidence, medium, platform, device, os, browser, app,
					country, region, city, language, referrer_host, order_id, order_type, payment, goal, currency, utm, context)
				VALUES (one.creator_id, one.event_id, one.occurred_at, one.visitor, one.day_visitor, one.visit_id, one.click_id,
					one.link_id, one.campaign_id, one.offer_id, one.post_id, one.agent_id, one.referrer_id, one.amount, one.is_bot, one.is_test, one.merged, one.measurement_denied,
					one.kind, one.source, one.bot_reason, one.evidence, one.token_reason, one.channel, one.channel_evidence, one.medium, one.platform, one.device, one.os, one.browser, one.app,
					one.country, one.region, one.city, one.language, one.referrer_host, one.order_id, one.order_type, one.payment, one.goal, one.currency, one.utm, one.context);
			END LOOP;
		WHEN 'insert, a transaction each' THEN
			FOR one IN SELECT * FROM bench.staged AS s ORDER BY s.number LIMIT calls LOOP
				INSERT INTO biolink.event (creator_id, event_id, occurred_at, visitor, day_visitor, visit_id, click_id,
					link_id, campaign_id, offer_id, post_id, agent_id, referrer_id, amount, is_bot, is_test, merged, measurement_denied,
					kind, source, bot_reason, evidence, token_reason, channel, channel_evidence, medium, platform, device, os, browser, app,
					country, region, city, language, referrer_host, order_id, order_type, payment, goal, currency, utm, context)
				VALUES (one.creator_id, one.event_id, one.occurred_at, one.visitor, one.day_visitor, one.visit_id, one.click_id,
					one.link_id, one.campaign_id, one.offer_id, one.post_id, one.agent_id, one.referrer_id, one.amount, one.is_bot, one.is_test, one.merged, one.measurement_denied,
					one.kind, one.source, one.bot_reason, one.evidence, one.token_reason, one.channel, one.channel_evidence, one.medium, one.platform, one.device, one.os, one.browser, one.app,
					one.country, one.region, one.city, one.language, one.referrer_host, one.order_id, one.order_type, one.payment, one.goal, one.currency, one.utm, one.context);
				COMMIT;
			END LOOP;
		WHEN 'no call, requests' THEN
			FOR one IN SELECT c.slug, c.request FROM bench.call AS c ORDER BY c.number LIMIT calls LOOP
			END LOOP;
		WHEN 'no call, rows' THEN
			FOR one IN SELECT * FROM bench.staged AS s ORDER BY s.number LIMIT calls LOOP
			END LOOP;
		WHEN 'verify_token' THEN
			FOR one IN SELECT t.token FROM bench.token AS t ORDER BY t.number LIMIT calls LOOP
				SELECT * INTO answer FROM biolink.verify_token(one.token);
			END LOOP;
		WHEN 'hmac' THEN
			FOR one IN SELECT t.message FROM bench.token AS t ORDER BY t.number LIMIT calls LOOP
				SELECT * INTO answer FROM public.hmac(one.message, secret, 'sha256');
			END LOOP;
		WHEN 'verify_token, one statement' THEN
			PERFORM count(v.answer IS NULL) FROM (SELECT biolink.verify_token(t.token) AS answer FROM bench.token AS t LIMIT calls) AS v;
		WHEN 'hmac, one statement' THEN
			PERFORM count(h.answer IS NULL) FROM (SELECT public.hmac(t.message, secret, 'sha256') AS answer FROM bench.token AS t LIMIT calls) AS h;
		WHEN 'no call, tokens' THEN
			FOR one IN SELECT t.token FROM bench.token AS t ORDER BY t.number LIMIT calls LOOP
			END LOOP;
		WHEN 'open_page' THEN
			FOR one IN SELECT c.request FROM bench.call AS c ORDER BY c.number LIMIT calls LOOP
				SELECT * INTO answer FROM biolink.open_page(creator, one.request);
			END LOOP;
		WHEN 'track a lead' THEN
			FOR one IN SELECT jsonb_build_object('kind', 'lead', 'source', 'shop', 'key', 'lead-' || t.number, 'token', t.token) AS event
				FROM bench.token AS t ORDER BY t.number LIMIT calls LOOP
				SELECT * INTO answer FROM biolink.track(creator, one.event);
			END LOOP;
		WHEN 'track an order' THEN
			FOR one IN SELECT jsonb_build_object('kind', 'order', 'source', 'shop', 'key', 'order-' || t.number, 'token', t.token,
					'order_id', 'O-' || t.number, 'amount', 4900, 'currency', 'USD') AS event
				FROM bench.token AS t ORDER BY t.number LIMIT calls LOOP
				SELECT * INTO answer FROM biolink.track(creator, one.event);
			END LOOP;
	END CASE;

	INSERT INTO bench.result (what, round, calls, wall_microseconds, cpu_microseconds)
		VALUES (what, round, calls, 1e6 * extract(epoch FROM clock_timestamp() - started), bench.cpu_microseconds() - cpu);
	COMMIT;
END
$$;
COMMENT ON PROCEDURE bench.loop(text, int, int) IS 'One loop of so many calls, timed.';

CREATE PROCEDURE bench.run(rounds int, calls int)
	LANGUAGE plpgsql
	AS $$
DECLARE
	-- each so many times as fast as a click
	tokens int := (SELECT least(calls, count(*)) FROM bench.token);
	round int;
	what text;
BEGIN
	-- a round 0 warms everything up
	FOR round IN 0 .. rounds LOOP
		FOREACH what IN ARRAY ARRAY['click', 'insert', 'click with a key', 'insert', 'click, a transaction each', 'insert, a transaction each',
			'no call, requests', 'no call, rows'] LOOP
			CALL bench.loop(what, round, calls);
		END LOOP;
		FOREACH what IN ARRAY ARRAY['verify_token', 'hmac', 'verify_token, one statement', 'hmac, one statement',
			'verify_token', 'hmac', 'verify_token, one statement', 'hmac, one statement', 'no call, tokens'] LOOP
			CALL bench.loop(what, round, tokens);
		END LOOP;
		FOREACH what IN ARRAY ARRAY['open_page', 'track a lead', 'track an order'] LOOP
			CALL bench.loop(what, round, tokens / 3);
		END LOOP;
		RAISE NOTICE 'round % of %', round, rounds;
	END LOOP;
	DELETE FROM bench.result AS r WHERE r.round = 0;
END
$$;
COMMENT ON PROCEDURE bench.run(int, int) IS 'All loops, taking turns.';
