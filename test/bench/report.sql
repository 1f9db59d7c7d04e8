-- report.sql: the medians, and what they say of each other.

\set ON_ERROR_STOP on
\pset footer off

CREATE TEMPORARY TABLE median AS
	SELECT r.what, count(*) AS loops, sum(r.calls) AS calls,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY r.wall_microseconds / r.calls) AS wall,
		min(r.wall_microseconds / r.calls) AS least,
		max(r.wall_microseconds / r.calls) AS most,
		sum(r.cpu_microseconds) / sum(r.calls) AS cpu
	FROM bench.result AS r GROUP BY r.what;

\echo 'microseconds per call: median, least and greatest of the rounds by the clock, and mean processor time of the backend'
SELECT m.what, m.loops, m.calls, round(m.wall::numeric, 2) AS median, round(m.least::numeric, 2) AS least, round(m.most::numeric, 2) AS greatest,
		round(m.cpu::numeric, 2) AS cpu
	FROM median AS m
	JOIN unnest(ARRAY['click', 'insert', 'no call, requests', 'no call, rows', 'click with a key', 'click, a transaction each', 'insert, a transaction each',
		'verify_token', 'hmac', 'no call, tokens', 'verify_token, one statement', 'hmac, one statement', 'open_page', 'track a lead', 'track an order',
		'track_batch', 'insert of typed rows', 'track_batch, sent again']) WITH ORDINALITY AS o (what, place) USING (what)
	ORDER BY o.place;

\echo 'ratios of medians; "less the loop": with what a loop without a call takes taken off both'
SELECT p.question, round((b.wall / NULLIF(a.wall, 0))::numeric, 3) AS ratio, round((b.cpu / NULLIF(a.cpu, 0))::numeric, 3) AS "ratio of cpu",
		round(((b.wall - y.wall) / NULLIF(a.wall - x.wall, 0))::numeric, 3) AS "less the loop"
	FROM (VALUES
		(1, 'insert / click', 'click', 'insert', 'no call, requests', 'no call, rows'),
		(2, 'insert / click with a key', 'click with a key', 'insert', 'no call, requests', 'no call, rows'),
		(3, 'insert / click, a transaction each', 'click, a transaction each', 'insert, a transaction each', 'no call, requests', 'no call, rows'),
		(4, 'hmac / verify_token', 'verify_token', 'hmac', 'no call, tokens', 'no call, tokens'),
		(5, 'hmac / verify_token, one statement', 'verify_token, one statement', 'hmac, one statement', 'no call, tokens', 'no call, tokens'),
		(6, 'insert of typed rows / track_batch', 'track_batch', 'insert of typed rows', NULL, NULL),
		(7, 'track_batch / track_batch, sent again', 'track_batch, sent again', 'track_batch', NULL, NULL)
	) AS p (place, question, a, b, loop_a, loop_b)
	JOIN median AS a ON a.what = p.a
	JOIN median AS b ON b.what = p.b
	LEFT JOIN median AS x ON x.what = p.loop_a
	LEFT JOIN median AS y ON y.what = p.loop_b
	ORDER BY p.place;
