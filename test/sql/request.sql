-- URLs, their parameters and user agents: the functions of sql/15_request.sql, as an analyst calls them.
CREATE ROLE regress_request_reader;
GRANT biolink_analyst TO regress_request_reader;
SET ROLE regress_request_reader;
\pset null '(null)'

-- url_parts: scheme and host in lower case, the rest as written; all NULL where it is no absolute URL
SELECT u.n, p.* FROM (VALUES
	(1, 'https://shop.example/mug?size=l#reviews'),
	(2, 'HTTPS://User:secret@Shop.Example.:8443/A%20b;c=1?X=1&&y#F?#'),
	(3, 'http://[2001:DB8::1]:80'),
	(4, 'https://müller.example/ä?ö#ü'),
	(5, 'https://shop.example?'),
	(6, 'android-app://com.google.android.gm/'),
	(7, 'https://shop.example:/x#'),
	(10, '/mug?size=l'),
	(11, 'shop.example/mug'),
	(12, '//shop.example/mug'),
	(13, 'mailto:someone@shop.example'),
	(14, 'https://'),
	(15, 'https://shop.example:65536/'),
	(16, E'https://shop.example/\r\nSet-Cookie: a=b'),
	(17, 'https://shop.example\@evil.example/'),
	(18, ''),
	(19, NULL)) AS u (n, url), biolink.url_parts(u.url) AS p ORDER BY u.n;

-- utm: decoded, trimmed, in lower case; click ids as they are; the first of a name; bytes that are no text left out
SELECT u.n, biolink.utm(u.url) FROM (VALUES
	(1, 'https://bio.example/ada?utm_source=Instagram&utm_medium=+Social%20&utm_campaign=Summer+Sale%26more&x=1'),
	(2, '/ada?UTM_Source=IG&gclid=AbC-_&ScCid=Q1&fbclid=IwAR0'),
	(3, '?utm_source=one&utm_source=two&utm%5Fmedium=bio'),
	(4, '?utm_term=caf%C3%A9%20%E2%82%AC&utm_content=%ff%feok%c3&utm_id=a%00b%0d%0ac&utm_x=%ed%a0%80'),
	(5, '?utm_source=&utm_medium=+++&utm_=x&utm_term'),
	(6, 'https://bio.example/ada#utm_source=fragment'),
	(7, E'?utm_source=a\r\n'),
	(8, ''),
	(9, NULL)) AS u (n, url) ORDER BY u.n;
SELECT k.key, length(k.value) FROM jsonb_each_text(biolink.utm('?utm_source=' || repeat('a', 1000) || '&utm_medium=' || repeat('b', 1001))) AS k;

-- build_url: replaces, repeats, removes; the rest keeps its bytes
SELECT b.n, biolink.build_url(b.base, b.params::jsonb) FROM (VALUES
	(1, 'https://shop.example/mug', '{"utm_source": "instagram", "utm_campaign": "Summer Sale & more"}'),
	(2, 'https://shop.example/mug?a=1&b=%2f&&c#reviews', '{}'),
	(3, 'https://shop.example/mug?a=1&b=%2f&&c&%61=2#reviews', '{"a": "ä/+%", "size": 2, "rate": 1.50, "gift": true}'),
	(4, 'https://shop.example/mug?tag=x&a=1&tag=y', '{"tag": ["b", "a", 3, false], "none": []}'),
	(5, 'https://shop.example/mug?a=1&b=2', '{"a": null, "z": null}'),
	(6, 'https://shop.example/mug?a=1#top', '{"a": null}'),
	(7, 'https://shop.example#!/route?x=1', '{"a": ""}'),
	(8, 'https://müller.example/a b"?ü=|', '{"k y": "1=2"}'),
	(9, 'myapp://open/item;1', '{"a": 1}'),
	(10, NULL, '{}'),
	(11, 'https://shop.example/', NULL)) AS b (n, base, params) ORDER BY b.n;
SELECT length(biolink.build_url('https://shop.example/', jsonb_build_object('a', jsonb_agg(n)))) FROM generate_series(1, 1000) AS n;
-- what it cannot take
SELECT biolink.build_url('/mug', '{}');
SELECT biolink.build_url(E'https://shop.example/\n', '{}');
SELECT biolink.build_url('https://shop.example/', '[]');
SELECT biolink.build_url('https://shop.example/', '"a"');
SELECT biolink.build_url('https://shop.example/', '{"ok": 1, "a": {"b": 1}}');
SELECT biolink.build_url('https://shop.example/', '{"a": [1, [2]]}');
SELECT biolink.build_url('https://shop.example/', '{"a": [null]}');
SELECT biolink.build_url('https://shop.example/', '{"": 1}');
SELECT biolink.build_url('https://shop.example/', jsonb_build_object('a', jsonb_agg(n))) FROM generate_series(1, 1001) AS n;

-- what build_url sets, utm reads
SELECT biolink.utm(biolink.build_url('https://shop.example/?utm_source=old', '{"utm_source": "café €", "utm_medium": "50% off+more", "gclid": "A b"}'));

-- classify_agent
SELECT a.n, c.* FROM (VALUES
	(1, 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21F90 Instagram 332.0.1.29.87 (iPhone15,3; iOS 17_5_1; en_US; en; scale=3.00; 1290x2796)', '{}'),
	(2, 'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36', '{"Accept": "text/html", "x-forwarded-for": ["192.0.2.1"]}'),
	(3, 'Mozilla/5.0 (Linux; Android 8.0.0; CUBOT_P20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/70.0.3538.110 Mobile Safari/537.36', '{}'),
	(4, 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 Edg/124.0.0.0', '{"SEC-PURPOSE": "prefetch;prerender"}'),
	(5, 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4.1 Safari/605.1.15', '{"X-Purpose": "preview"}'),
	(6, 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)', '{"Purpose": "prefetch"}'),
	(7, 'facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)', NULL),
	(8, 'curl/8.5.0', '{}'),
	(9, 'Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)', '{}'),
	(10, 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.6099.28 Safari/537.36', '{}'),
	(11, '', '{}'),
	(12, NULL, '{}')) AS a (n, agent, headers), biolink.classify_agent(a.agent, a.headers::jsonb) AS c ORDER BY a.n;
SELECT is_bot, reason FROM biolink.classify_agent('okhttp/4.9.3');
SELECT is_bot, reason FROM biolink.classify_agent('curl', '[]');

-- is_redirectable
SELECT u.url, biolink.is_redirectable(u.url) FROM (VALUES
	('https://shop.example/mug'), ('http://shop.example'), ('HTTPS://SHOP.EXAMPLE/'), ('https://shop.example/@user'), ('https://shop.example/a b'),
	('ftp://shop.example/'), ('javascript:alert(1)'), ('javascript://shop.example/%0aalert(1)'), ('//shop.example/'), ('/mug'), (''),
	('https://user@shop.example/'), ('https://@shop.example/'), ('https://shop.example\@evil.example/'), (E'https://shop.example/\r\n'), (NULL)) AS u (url);

-- all of them may stand in an index or CHECK constraint, and run in parallel
RESET ROLE;
SELECT p.proname, p.provolatile, p.proparallel, p.proisstrict, p.proleakproof,
		pg_catalog.has_function_privilege('biolink_app', p.oid, 'EXECUTE') AS app,
		pg_catalog.has_function_privilege('biolink_admin', p.oid, 'EXECUTE') AS admin
	FROM pg_catalog.pg_proc AS p
	WHERE p.pronamespace = 'biolink'::pg_catalog.regnamespace
		AND p.proname IN ('url_parts', 'utm', 'build_url', 'classify_agent', 'is_redirectable') ORDER BY p.proname;
DROP ROLE regress_request_reader;
