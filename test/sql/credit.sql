-- credit(): the split of an amount over touches.
CREATE ROLE regress_analyst; GRANT biolink_analyst TO regress_analyst;
SET ROLE regress_analyst;
\pset null '(null)'

CREATE TEMPORARY VIEW model AS SELECT * FROM unnest('{first,last,last_non_direct,linear,position,time_decay}'::text[]) WITH ORDINALITY AS m (model, n);

-- worked examples
SELECT m.model, biolink.credit(m.model, '{2026-03-01Z,2026-03-08Z,2026-03-15Z}', '2026-03-16Z', 1000) AS three,
		biolink.credit(m.model, '{2026-03-01Z,2026-03-08Z}', '2026-03-16Z', 1001) AS two,
		biolink.credit(m.model, '{2026-03-01Z}', '2026-03-16Z', 7) AS one
	FROM model AS m ORDER BY m.n;
SELECT m.model, biolink.credit(m.model, '{2026-03-01Z,2026-03-02Z,2026-03-03Z,2026-03-04Z,2026-03-05Z,2026-03-06Z,2026-03-07Z}', '2026-03-16Z', 100) AS seven FROM model AS m ORDER BY m.n;

-- the order in which touches are given does not matter, results come in it
SELECT m.model, biolink.credit(m.model, '{2026-03-15Z,2026-03-01Z,2026-03-08Z}', '2026-03-16Z', 1000) AS shuffled FROM model AS m ORDER BY m.n;

-- ties of time: the lower index is the earlier
SELECT m.model, biolink.credit(m.model, '{2026-03-01Z,2026-03-01Z,2026-03-01Z}', '2026-03-01Z', 100) AS ties FROM model AS m ORDER BY m.n;

-- causality: a touch at the conversion counts, one after it does not
SELECT m.model, biolink.credit(m.model, '{2026-03-01Z,2026-03-16 00:00:00Z,2026-03-16 00:00:00.000001Z}', '2026-03-16Z', 100) AS late FROM model AS m ORDER BY m.n;
SELECT biolink.credit('linear', '{2026-03-17Z}', '2026-03-16Z', 100) AS none_eligible, biolink.credit('linear', '{}', '2026-03-16Z', 100) AS no_touch;

-- direct touches
SELECT biolink.credit('last_non_direct', '{2026-03-01Z,2026-03-02Z,2026-03-03Z}', '2026-03-16Z', 100, direct => '{f,t,t}') AS skips,
	biolink.credit('last_non_direct', '{2026-03-01Z,2026-03-02Z}', '2026-03-16Z', 100, direct => '{t,t}') AS all_direct;

-- time decay: one half-life apart, half the weight; old paths do not underflow
SELECT biolink.credit('time_decay', '{2026-03-01Z,2026-03-08Z,2026-03-15Z}', '2026-03-16Z', 700) AS seven_days,
	biolink.credit('time_decay', '{2026-03-14Z,2026-03-15Z}', '2026-03-16Z', 300, '1 day') AS one_day,
	biolink.credit('time_decay', '{1990-01-01Z,1990-01-02Z}', '2026-03-16Z', 300, '1 day') AS long_ago,
	biolink.credit('time_decay', '{1990-01-01Z,2026-03-02Z}', '2026-03-16Z', 300, '1 second') AS far_apart;

-- custom weights
SELECT biolink.credit('custom', '{2026-03-01Z,2026-03-02Z,2026-03-03Z}', '2026-03-16Z', 100, weights => '{1,0,3}') AS weights,
	biolink.credit('custom', '{2026-03-01Z,2026-03-02Z}', '2026-03-16Z', 100, weights => '{0,0}') AS all_zero,
	biolink.credit('custom', '{2026-03-01Z,2026-03-02Z}', '2026-03-16Z', 100, weights => '{1e300,1e300}') AS huge;

-- the ends of the range
SELECT biolink.credit('linear', '{2026-03-01Z,2026-03-02Z,2026-03-03Z}', '2026-03-16Z', 9223372036854775807) AS most,
	biolink.credit('linear', '{2026-03-01Z,2026-03-02Z}', '2026-03-16Z', -9223372036854775808) AS least,
	biolink.credit('first', '{2026-03-01Z}', '2026-03-16Z', -9223372036854775808) AS least_one,
	biolink.credit('position', '{2026-03-01Z,2026-03-02Z}', '2026-03-16Z', 0) AS zero;

-- conservation, sign and permutation over many paths
WITH path AS (
	SELECT n, (SELECT array_agg('2026-03-01Z'::timestamptz + ((n * 7919 + i * 104729) % 997) * interval '37 minutes' ORDER BY i) FROM generate_series(1, 1 + n % 9) AS i) AS touched,
		(SELECT array_agg((n * 31 + i * 17) % 3 = 0 ORDER BY i) FROM generate_series(1, 1 + n % 9) AS i) AS direct,
		(n::int8 * 1000003 * 7919) % (CASE n % 4 WHEN 0 THEN 10 WHEN 1 THEN 1000 WHEN 2 THEN 1000000 ELSE 1000000000000000 END)::int8 AS amount
	FROM generate_series(1, 400) AS n
), split AS (
	SELECT p.n, p.amount, m.model, p.touched, p.direct,
		biolink.credit(m.model, p.touched, '2026-04-01Z', p.amount, direct => p.direct) AS credit,
		biolink.credit(m.model, p.touched, '2026-04-01Z', -p.amount, direct => p.direct) AS negative
	FROM path AS p CROSS JOIN model AS m
)
SELECT s.model, count(*) AS paths,
		count(*) FILTER (WHERE (SELECT sum(c) FROM unnest(s.credit) AS c) <> s.amount) AS not_conserved,
		count(*) FILTER (WHERE EXISTS (SELECT FROM unnest(s.credit, s.negative) AS u (c, d) WHERE c <> -d)) AS not_odd,
		count(*) FILTER (WHERE EXISTS (SELECT FROM unnest(s.credit) AS c WHERE c < 0)) AS negative
	FROM split AS s JOIN model AS m USING (model) GROUP BY s.model, m.n ORDER BY m.n;

-- arguments
SELECT biolink.credit(NULL, '{}', now(), 1), biolink.credit('first', NULL, now(), 1), biolink.credit('first', '{}', NULL, 1), biolink.credit('first', '{}', now(), NULL);
SELECT biolink.credit('best', '{}', now(), 1);
SELECT biolink.credit('first', '{NULL}', now(), 1);
SELECT biolink.credit('first', '{infinity}', now(), 1);
SELECT biolink.credit('first', '{2026-01-01Z}', 'infinity', 1);
SELECT biolink.credit('first', '{{2026-01-01Z},{2026-01-02Z}}', now(), 1);
SELECT biolink.credit('custom', '{2026-01-01Z}', now(), 1);
SELECT biolink.credit('custom', '{2026-01-01Z}', now(), 1, weights => '{1,2}');
SELECT biolink.credit('custom', '{2026-01-01Z}', now(), 1, weights => '{-1}');
SELECT biolink.credit('custom', '{2026-01-01Z}', now(), 1, weights => '{NaN}');
SELECT biolink.credit('first', '{2026-01-01Z}', now(), 1, direct => '{}');
SELECT biolink.credit('time_decay', '{2026-01-01Z}', now(), 1, '0');
SELECT biolink.credit('time_decay', '{2026-01-01Z}', now(), 1, '-1 day');
SELECT biolink.credit('time_decay', '{2026-01-01Z}', now(), 1, '1 month');

DROP VIEW model;
RESET ROLE;
DROP ROLE regress_analyst;
