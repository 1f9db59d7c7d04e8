-- report.sql: what an analyst sees, with the rights of demo_analyst: the numbers of the creators that biolink.creator_member gives it,
-- and how this run of the demonstration went.

\set ON_ERROR_STOP on
\pset footer off
\pset null ''
SELECT c.creator_id AS demo FROM biolink.creator AS c WHERE c.handle = 'demo' \gset
SELECT c.creator_id AS page FROM biolink.creator AS c WHERE c.handle = 'sample_page' \gset

-- minor units as people write them; both currencies here have two decimals
CREATE FUNCTION pg_temp.money(amount numeric) RETURNS text
	LANGUAGE sql IMMUTABLE
	AS $$ SELECT to_char(amount / 100, 'FM999,999,990.00') $$;

\pset tuples_only on
\pset format unaligned
\echo
SELECT format('lines %s clicks %s duplicates %s parked %s', r.lines, r.clicks, r.duplicates, r.parked)
		|| CASE WHEN r.parked_before > 0 THEN format(' (%s of them parked before)', r.parked_before) ELSE '' END
	FROM demo.run AS r ORDER BY r.run DESC LIMIT 1;
SELECT 'events ' || sum(s.events) || ' (' || string_agg(s.status || ' ' || s.events, ', ' ORDER BY s.status) || ')'
	FROM (SELECT e.status, count(*) AS events FROM demo.event AS e GROUP BY e.status) AS s;
SELECT 'rows' || string_agg(format(', %s %s -> %s', n.key, r.rows_before ->> n.key, n.value), '' ORDER BY n.key)
		|| E'\nadded ' || sum(n.value::bigint - (r.rows_before ->> n.key)::bigint)
	FROM (SELECT l.* FROM demo.run AS l ORDER BY l.run DESC LIMIT 1) AS r, jsonb_each_text(demo.row_counts()) AS n;
\pset tuples_only off
\pset format aligned

\echo
\echo '--- A bio page: one view, one click on what it offered, one order'
SELECT e.kind, to_char(e.occurred_at AT TIME ZONE 'UTC', 'HH24:MI') AS at, COALESCE(l.slug, e.order_id) AS what, e.channel, e.channel_evidence AS "read from",
		e.evidence AS "tied by", CASE e.kind WHEN 'order' THEN a.touches END AS touches, CASE e.kind WHEN 'order' THEN pg_temp.money(a.credit) END AS credit
	FROM biolink.event AS e
	LEFT JOIN biolink.link AS l ON l.creator_id = e.creator_id AND l.link_id = e.link_id
	LEFT JOIN biolink.attribution AS a ON a.creator_id = e.creator_id AND a.conversion_id = e.event_id AND a.model = 'last'
	WHERE e.creator_id = :page ORDER BY e.occurred_at;

\echo '--- Bots, flagged and not deleted'
SELECT e.bot_reason AS reason, count(*) AS clicks FROM biolink.event AS e
	WHERE e.creator_id = :demo AND e.kind = 'click' AND e.is_bot
	GROUP BY e.bot_reason ORDER BY count(*) DESC, e.bot_reason;

\echo '--- Repeats: the same visitor on the same link again within 30 minutes'
SELECT count(*) AS clicks, count(DISTINCT c.visitor) AS visitors, count(*) FILTER (WHERE c.occurred_at < c.previous + '30 minutes'::interval) AS repeats
	FROM (SELECT e.visitor, e.occurred_at, lag(e.occurred_at) OVER (PARTITION BY e.visitor, e.link_id ORDER BY e.occurred_at, e.event_id) AS previous
		FROM biolink.event AS e WHERE e.creator_id = :demo AND e.kind = 'click' AND NOT e.is_bot) AS c;

\echo '--- Revenue by channel: performance(), last touch that was not direct'
SELECT p.dimensions ->> 'channel' AS channel, p.clicks, p.bot_clicks AS bots, p.visitors, round(p.leads, 2) AS leads, round(p.conversions, 2) AS orders,
		p.currency, pg_temp.money(p.revenue) AS revenue, pg_temp.money(p.refunds) AS refunds, pg_temp.money(p.net_revenue) AS net
	FROM biolink.performance(:demo, '{channel}', NULL, NULL) AS p
	ORDER BY p.net_revenue DESC, p.clicks DESC, p.currency, p.dimensions ->> 'channel' COLLATE "C" LIMIT 15;

\echo '--- Top links'
SELECT p.dimensions ->> 'link' AS link, p.clicks, p.bot_clicks AS bots, round(p.conversions, 2) AS orders, pg_temp.money(p.net_revenue) AS net, p.currency,
		left(l.url, 60) AS url
	FROM biolink.performance(:demo, '{link}', NULL, NULL, currency => 'USD') AS p
	JOIN biolink.link AS l ON l.creator_id = :demo AND l.slug = p.dimensions ->> 'link'
	ORDER BY p.clicks DESC, p.dimensions ->> 'link' COLLATE "C" LIMIT 8;

\echo '--- What no touch earned, and why'
SELECT u.reason, u.currency, count(*) AS orders, pg_temp.money(sum(u.amount)) AS net FROM biolink.unattributed AS u
	WHERE u.creator_id = :demo GROUP BY u.reason, u.currency ORDER BY u.reason COLLATE "C", u.currency;

\echo '--- Proof: credits + unattributed = net revenue of the ledger, under every model'
SELECT m.model, m.currency, pg_temp.money(m.credit) AS credits, pg_temp.money(u.amount) AS unattributed, pg_temp.money(g.amount) AS ledger,
		m.credit + u.amount = g.amount AS holds
	FROM (SELECT a.model, a.currency, sum(a.credit) AS credit FROM biolink.attribution AS a WHERE a.creator_id = :demo GROUP BY a.model, a.currency) AS m
	JOIN (SELECT l.currency, sum(l.amount) AS amount FROM biolink.ledger AS l WHERE l.creator_id = :demo GROUP BY l.currency) AS g USING (currency)
	CROSS JOIN LATERAL (SELECT COALESCE(sum(n.amount), 0) AS amount FROM biolink.unattributed AS n WHERE n.creator_id = :demo AND n.currency = m.currency) AS u
	ORDER BY m.currency, m.model COLLATE "C";

\echo '--- integrity_check()'
SELECT i.rule, i.ok, i.failures, NULLIF(i.detail, '[]') AS detail FROM biolink.integrity_check() AS i;
