-- 50_performance.sql: the numbers that analysts read.

CREATE FUNCTION biolink.performance_dimensions() RETURNS TABLE (dimension pg_catalog.text, of_event pg_catalog.text, of_credit pg_catalog.text)
	LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 10 ROWS 20
	SET search_path = pg_catalog, pg_temp
	AS $$
	VALUES
		('day',      $x$to_char(t.local_time, 'YYYY-MM-DD')$x$,      $x$to_char(t.local_time, 'YYYY-MM-DD')$x$),
		('week',     $x$to_char(t.local_time, 'IYYY-"W"IW')$x$,      $x$to_char(t.local_time, 'IYYY-"W"IW')$x$),
		('month',    $x$to_char(t.local_time, 'YYYY-MM')$x$,         $x$to_char(t.local_time, 'YYYY-MM')$x$),
		('hour',     $x$extract(hour FROM t.local_time)::int$x$,     $x$extract(hour FROM t.local_time)::int$x$),
		('weekday',  $x$extract(isodow FROM t.local_time)::int$x$,   $x$extract(isodow FROM t.local_time)::int$x$),
		('channel',  $x$t.channel$x$,                                $x$COALESCE(t.channel, '(unattributed)')$x$),
		('medium',   $x$t.medium$x$,                                 $x$t.medium$x$),
		('source',   $x$COALESCE(t.utm ->> 'utm_source', t.referrer_host)$x$,
		             $x$COALESCE(t.utm ->> 'utm_source', t.referrer_host)$x$),
		('campaign', $x$COALESCE((SELECT c.slug FROM biolink.campaign AS c WHERE c.creator_id = t.creator_id AND c.campaign_id = t.campaign_id), t.utm ->> 'utm_campaign')$x$,
		             $x$COALESCE((SELECT c.slug FROM biolink.campaign AS c WHERE c.creator_id = t.creator_id AND c.campaign_id = t.campaign_id), t.utm ->> 'utm_campaign')$x$),
		('platform', $x$t.platform$x$,                               $x$t.platform$x$),
		('post',     $x$t.post_id$x$,                                $x$t.post_id$x$),
		('link',     $x$(SELECT l.slug FROM biolink.link AS l WHERE l.creator_id = t.creator_id AND l.link_id = t.link_id)$x$,
		             $x$(SELECT l.slug FROM biolink.link AS l WHERE l.creator_id = t.creator_id AND l.link_id = t.link_id)$x$),
		('offer',    $x$t.offer_id$x$,                               $x$t.offer_id$x$),
		('device',   $x$t.device$x$,                                 $x$t.device$x$),
		('country',  $x$t.country$x$,                                $x$t.country$x$),
		('tier',     $x$NULL::text$x$,                               $x$t.tier$x$),
		('goal',     $x$NULL::text$x$,                               $x$t.goal$x$)
$$;
COMMENT ON FUNCTION biolink.performance_dimensions() IS
	'What performance() can group by, one line each: the expression for a visit or click (of_event) and for a credited touch or unattributed conversion (of_credit). local_time is the time in the asked time zone.';

CREATE FUNCTION biolink.performance_rows(creator pg_catalog.int8, by_dimensions pg_catalog.text[], from_time pg_catalog.timestamptz, to_time pg_catalog.timestamptz,
		model_name pg_catalog.text, time_basis pg_catalog.text, zone pg_catalog.text, only_currency pg_catalog.text)
	RETURNS TABLE (dimensions pg_catalog.jsonb, visits pg_catalog.int8, clicks pg_catalog.int8, bot_clicks pg_catalog.int8, visitors pg_catalog.int8,
		leads pg_catalog.numeric, conversions pg_catalog.numeric, revenue pg_catalog.int8, refunds pg_catalog.int8, net_revenue pg_catalog.int8,
		currency pg_catalog.text, spend pg_catalog.int8, conversion_rate pg_catalog.numeric, revenue_per_click pg_catalog.numeric)
	LANGUAGE plpgsql STABLE PARALLEL SAFE COST 100000 ROWS 100
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	-- of one dimension, whatever its shape
	wanted text[] := ARRAY(SELECT w.name FROM unnest(by_dimensions) WITH ORDINALITY AS w (name, place) ORDER BY w.place);
	models constant text[] := '{first,last,last_non_direct,linear,position,time_decay}';
	unknown text;
	of_event text;
	of_credit text;
	tenant record;
BEGIN
	SELECT string_agg(w.name, ', ' ORDER BY w.place) FILTER (WHERE d.dimension IS NULL),
			COALESCE(string_agg(d.of_event, ', ' ORDER BY w.place), ''), COALESCE(string_agg(d.of_credit, ', ' ORDER BY w.place), '')
		INTO unknown, of_event, of_credit
		FROM unnest(wanted) WITH ORDINALITY AS w (name, place)
		LEFT JOIN biolink.performance_dimensions() AS d ON d.dimension = w.name;
	IF unknown IS NOT NULL OR array_position(wanted, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'there is no dimension "%"', COALESCE(unknown, 'NULL')
			USING ERRCODE = 'invalid_parameter_value',
				HINT = format('Dimensions are %s.', (SELECT string_agg(d.dimension, ', ') FROM biolink.performance_dimensions() AS d));
	END IF;
	IF model_name IS NULL OR model_name <> ALL (models) THEN
		RAISE EXCEPTION 'there is no attribution model "%"', COALESCE(model_name, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = format('Models are %s.', array_to_string(models, ', '));
	END IF;
	IF time_basis IS NULL OR time_basis NOT IN ('conversion', 'click') THEN
		RAISE EXCEPTION 'there is no basis "%"', COALESCE(time_basis, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'A basis is conversion or click.';
	END IF;

	SELECT c.time_zone, c.currency INTO tenant FROM biolink.creator AS c WHERE c.creator_id = creator;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	-- a zone that is none is to fail here, not within the query below
	PERFORM timezone(COALESCE(zone, tenant.time_zone), now());

	RETURN QUERY EXECUTE format($query$
		WITH traffic AS (
			SELECT jsonb_build_array(%1$s) AS place,
				count(*) FILTER (WHERE t.kind = 'visit' AND NOT t.is_bot) AS visits,
				count(*) FILTER (WHERE t.kind = 'click' AND NOT t.is_bot) AS clicks,
				count(*) FILTER (WHERE t.kind = 'click' AND t.is_bot) AS bot_clicks,
				count(DISTINCT COALESCE(t.day_visitor, t.visitor)) FILTER (WHERE NOT t.is_bot) AS visitors
			FROM (
				SELECT e.*, timezone($4, e.occurred_at) AS local_time
				FROM biolink.event AS e
				WHERE e.creator_id = $1 AND e.occurred_at >= $2 AND e.occurred_at < $3 AND e.kind IN ('visit', 'click') AND NOT e.is_test
			) AS t
			GROUP BY 1
		), credited AS (
			SELECT jsonb_build_array(%2$s) AS place, COALESCE(t.currency, $5) AS currency,
				sum(t.weight) FILTER (WHERE t.currency IS NULL) AS leads,
				sum(t.weight) FILTER (WHERE t.currency IS NOT NULL) AS conversions,
				sum(t.gross) FILTER (WHERE t.currency IS NOT NULL) AS gross,
				sum(t.net) FILTER (WHERE t.currency IS NOT NULL) AS net
			FROM (
				SELECT a.creator_id, a.channel, a.medium, a.platform, a.referrer_host, a.utm, a.link_id, a.offer_id, a.post_id, a.campaign_id, a.device, a.country,
					a.tier, a.goal, a.currency, a.weight, a.gross_credit AS gross, a.credit AS net, timezone($4, a.%3$I) AS local_time
				FROM biolink.attribution AS a
				WHERE a.creator_id = $1 AND a.model = $6 AND a.%3$I >= $2 AND a.%3$I < $3
				UNION ALL
				SELECT m.creator_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
					NULL, m.goal, m.currency, CASE WHEN m.touches = 0 AND m.conversion_id IS NOT NULL THEN 1 ELSE 0 END, CASE m.touches WHEN 0 THEN m.gross ELSE 0 END, m.net, timezone($4, m.converted_at)
				FROM biolink.conversion_money AS m
				WHERE m.creator_id = $1 AND m.converted_at >= $2 AND m.converted_at < $3 AND NOT m.is_test AND (m.touches = 0 OR m.net < 0)
			) AS t
			WHERE t.currency IS NULL OR $7 IS NULL OR t.currency = $7
			GROUP BY 1, 2
		), totals AS (
			SELECT u.place, u.currency, sum(u.visits)::int8 AS visits, sum(u.clicks)::int8 AS clicks, sum(u.bot_clicks)::int8 AS bot_clicks,
				sum(u.visitors)::int8 AS visitors, COALESCE(sum(u.leads), 0) AS leads, COALESCE(sum(u.conversions), 0) AS conversions,
				COALESCE(sum(u.gross), 0)::int8 AS gross, COALESCE(sum(u.net), 0)::int8 AS net
			FROM (
				SELECT r.place, $5 AS currency, r.visits, r.clicks, r.bot_clicks, r.visitors, 0 AS leads, 0 AS conversions, 0 AS gross, 0 AS net FROM traffic AS r
				UNION ALL
				SELECT c.place, c.currency, 0, 0, 0, 0, c.leads, c.conversions, c.gross, c.net FROM credited AS c
			) AS u
			GROUP BY u.place, u.currency
		)
		SELECT (SELECT COALESCE(jsonb_object_agg(n.name, t.place -> (n.place - 1)::int), '{}') FROM unnest($8) WITH ORDINALITY AS n (name, place)),
			t.visits, t.clicks, t.bot_clicks, t.visitors, t.leads, t.conversions, t.gross, t.gross - t.net, t.net, t.currency, NULL::int8,
			CASE WHEN t.clicks > 0 THEN round(t.conversions / t.clicks, 6) END, CASE WHEN t.clicks > 0 THEN round(t.net::numeric / t.clicks, 4) END
		FROM totals AS t
		ORDER BY t.place, t.currency
		$query$, of_event, of_credit, CASE time_basis WHEN 'click' THEN 'touched_at' ELSE 'converted_at' END)
		USING creator, COALESCE(from_time, '-infinity'), COALESCE(to_time, 'infinity'), COALESCE(zone, tenant.time_zone),
			COALESCE(only_currency, tenant.currency), model_name, only_currency, wanted;
END
$$;
COMMENT ON FUNCTION biolink.performance_rows(pg_catalog.int8, pg_catalog.text[], pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text) IS
	'The work of biolink.performance(), whose input and output names PL/pgSQL would not tell apart.';

CREATE FUNCTION biolink.performance(creator_id pg_catalog.int8, by pg_catalog.text[], from_time pg_catalog.timestamptz, to_time pg_catalog.timestamptz,
		model pg_catalog.text DEFAULT 'last_non_direct', basis pg_catalog.text DEFAULT 'conversion', time_zone pg_catalog.text DEFAULT NULL, currency pg_catalog.text DEFAULT NULL)
	RETURNS TABLE (dimensions pg_catalog.jsonb, visits pg_catalog.int8, clicks pg_catalog.int8, bot_clicks pg_catalog.int8, visitors pg_catalog.int8,
		leads pg_catalog.numeric, conversions pg_catalog.numeric, revenue pg_catalog.int8, refunds pg_catalog.int8, net_revenue pg_catalog.int8,
		currency pg_catalog.text, spend pg_catalog.int8, conversion_rate pg_catalog.numeric, revenue_per_click pg_catalog.numeric)
	LANGUAGE sql STABLE PARALLEL SAFE COST 100000 ROWS 100
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT r.* FROM biolink.performance_rows($1, $2, $3, $4, $5, $6, $7, $8) AS r
$$;
COMMENT ON FUNCTION biolink.performance(pg_catalog.int8, pg_catalog.text[], pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text) IS
	'Traffic and money of one creator over [from_time, to_time) (NULL: no bound), grouped by any of biolink.performance_dimensions(); tests are left out. '
	'dimensions: JSON object of the values asked for. visits, clicks (people only), bot_clicks, visitors (distinct within the row); leads and conversions (credited parts); revenue (gross), refunds, net_revenue in minor units of currency. '
	'Money that no touch earned stands under channel "(unattributed)" and null for other properties of a touch, so that rows add up to the ledger. One row per currency: traffic and leads stand in the row of the creator''s currency, or of currency where given. '
	'basis conversion counts money at the time of the conversion, click at the time of the touch. time_zone: that of the creator unless given. spend: NULL where none is known. conversion_rate = conversions / clicks; revenue_per_click = net revenue in minor units / clicks. '
	'Days are texts YYYY-MM-DD, weeks ISO (2026-W07), weekdays 1 (Monday) to 7. Errors: 22023 for an unknown dimension, model, basis or time zone.';
GRANT EXECUTE ON FUNCTION biolink.performance_dimensions(),
	biolink.performance_rows(pg_catalog.int8, pg_catalog.text[], pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text),
	biolink.performance(pg_catalog.int8, pg_catalog.text[], pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text)
	TO biolink_app, biolink_analyst, biolink_admin;

CREATE VIEW biolink.channel_performance WITH (security_invoker = true) AS
	SELECT c.creator_id, (p.dimensions OPERATOR(pg_catalog.->>) 'day')::pg_catalog.date AS day, p.dimensions OPERATOR(pg_catalog.->>) 'channel' AS channel,
		p.visits, p.clicks, p.bot_clicks, p.visitors, p.leads, p.conversions, p.revenue, p.refunds, p.net_revenue, p.currency, p.conversion_rate, p.revenue_per_click
	FROM biolink.creator AS c
	CROSS JOIN LATERAL biolink.performance(c.creator_id, '{day,channel}', NULL, NULL) AS p;
COMMENT ON VIEW biolink.channel_performance IS
	'performance() by day and channel under last_non_direct, in the creator''s time zone. Filter by creator_id; for a range of time call performance().';

CREATE VIEW biolink.link_performance WITH (security_invoker = true) AS
	SELECT c.creator_id, (p.dimensions OPERATOR(pg_catalog.->>) 'day')::pg_catalog.date AS day, p.dimensions OPERATOR(pg_catalog.->>) 'link' AS link,
		p.visits, p.clicks, p.bot_clicks, p.visitors, p.leads, p.conversions, p.revenue, p.refunds, p.net_revenue, p.currency, p.conversion_rate, p.revenue_per_click
	FROM biolink.creator AS c
	CROSS JOIN LATERAL biolink.performance(c.creator_id, '{day,link}', NULL, NULL) AS p;
COMMENT ON VIEW biolink.link_performance IS
	'performance() by day and link (slug; NULL for visits and for money without a link) under last_non_direct, in the creator''s time zone. Filter by creator_id; for a range of time call performance().';

GRANT SELECT ON biolink.channel_performance, biolink.link_performance TO biolink_app, biolink_analyst, biolink_admin;
