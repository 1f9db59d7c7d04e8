-- 70_integrity.sql: the rules that always hold, checked on live data.

CREATE FUNCTION biolink.integrity_check(creator_id pg_catalog.int8 DEFAULT NULL)
	RETURNS TABLE (rule pg_catalog.text, ok pg_catalog.bool, failures pg_catalog.int8, detail pg_catalog.jsonb)
	LANGUAGE plpgsql STABLE PARALLEL UNSAFE COST 1000000 ROWS 5
	SET search_path = pg_catalog, pg_temp
	-- How many rows the parts of this have nobody knows beforehand: what is joined row by row for a few takes hours for many.  Compiling it
	-- takes seconds and gains nothing.
	SET enable_nestloop = off
	SET jit = off
	AS $$
#variable_conflict use_column
DECLARE
	only_creator CONSTANT int8 := creator_id;
	-- events of before are gone, or going: what is said of them holds for those that are still there
	horizon CONSTANT timestamptz := biolink.event_horizon();
BEGIN
	RETURN QUERY
	WITH
	events AS MATERIALIZED (
		SELECT e.creator_id, e.event_id, e.kind, e.order_id, e.payment, e.merged, e.amount, e.occurred_at, e.received_at, e.context
			FROM biolink.event AS e WHERE only_creator IS NULL OR e.creator_id = only_creator
	),
	refs AS MATERIALIZED (
		SELECT r.* FROM biolink.order_ref AS r WHERE only_creator IS NULL OR r.creator_id = only_creator
	),
	booked AS MATERIALIZED (
		SELECT r.creator_id, r.ref FROM refs AS r JOIN refs AS s ON s.creator_id = r.creator_id AND s.ref = r.order_id AND s.event_id IS NOT NULL
	),
	entries AS MATERIALIZED (
		-- with the order_id by which the sale goes
		SELECT l.*, r.order_id AS sale FROM biolink.ledger AS l
			LEFT JOIN refs AS r ON r.creator_id = l.creator_id AND r.ref = l.order_id
			WHERE only_creator IS NULL OR l.creator_id = only_creator
	),
	money AS MATERIALIZED (
		SELECT m.* FROM biolink.conversion_money AS m WHERE only_creator IS NULL OR m.creator_id = only_creator
	),
	failure (rule, what, example) AS (
		SELECT 'exactly_once', 'event id stored twice', jsonb_build_object('creator_id', e.creator_id, 'event_id', e.event_id)
			FROM events AS e GROUP BY e.creator_id, e.event_id HAVING count(*) > 1
		UNION ALL
		SELECT 'exactly_once', 'event id does not carry its time', jsonb_build_object('creator_id', e.creator_id, 'event_id', e.event_id)
			FROM events AS e
			WHERE biolink.uuid_v7_time(e.event_id) IS DISTINCT FROM date_trunc('milliseconds', e.occurred_at)
		UNION ALL
		SELECT 'exactly_once', 'key without its event', jsonb_build_object('creator_id', k.creator_id, 'source', k.source, 'key', k.key)
			FROM biolink.event_key AS k
			WHERE (only_creator IS NULL OR k.creator_id = only_creator)
				AND (biolink.uuid_v7_time(k.event_id) < horizon) IS NOT TRUE
				AND NOT EXISTS (SELECT FROM events AS e WHERE e.creator_id = k.creator_id AND e.event_id = k.event_id)
		UNION ALL
		SELECT 'exactly_once', 'ledger row that does not match an event', jsonb_build_object('creator_id', l.creator_id, 'entry_id', l.entry_id)
			FROM entries AS l
			WHERE NOT EXISTS (SELECT FROM events AS e WHERE e.creator_id = l.creator_id AND e.event_id = l.event_id
				AND (l.kind IN ('merged', 'detail') OR (e.order_id = l.order_id AND NOT e.merged)))
				AND ((biolink.uuid_v7_time(l.event_id) < horizon) IS NOT TRUE OR EXISTS (SELECT FROM events AS e WHERE e.creator_id = l.creator_id AND e.event_id = l.event_id))
		UNION ALL
		SELECT 'exactly_once', 'ledger row whose order_id names no sale', jsonb_build_object('creator_id', l.creator_id, 'entry_id', l.entry_id)
			FROM entries AS l WHERE l.sale IS NULL
		UNION ALL
		SELECT 'exactly_once', 'reference that leads to no order_id', jsonb_build_object('creator_id', r.creator_id, 'ref', r.ref)
			FROM refs AS r
			WHERE NOT EXISTS (SELECT FROM refs AS s WHERE s.creator_id = r.creator_id AND s.ref = r.order_id AND s.order_id = s.ref)
		UNION ALL
		SELECT 'exactly_once', 'sale booked more or less than once', jsonb_build_object('creator_id', l.creator_id, 'order_id', l.sale, 'times', count(*) FILTER (WHERE l.kind = 'order') - count(*) FILTER (WHERE l.kind = 'merged'))
			FROM entries AS l WHERE l.kind IN ('order', 'merged') GROUP BY l.creator_id, l.sale
			HAVING count(*) FILTER (WHERE l.kind = 'order') - count(*) FILTER (WHERE l.kind = 'merged') <> 1
		UNION ALL
		SELECT 'exactly_once', 'sale taken out that is not another''s, or not in full', jsonb_build_object('creator_id', o.creator_id, 'entry_id', o.entry_id)
			FROM entries AS o
			WHERE o.kind = 'merged'
				AND (EXISTS (SELECT FROM refs AS r WHERE r.creator_id = o.creator_id AND r.ref = o.order_id AND r.event_id IS NOT NULL)
					OR NOT EXISTS (SELECT FROM entries AS l WHERE l.creator_id = o.creator_id AND l.event_id <> o.event_id AND l.kind = 'order' AND l.sale = o.sale
						AND l.currency = o.currency AND l.is_test = o.is_test))
		UNION ALL
		SELECT 'exactly_once', 'order of which nothing is booked', jsonb_build_object('creator_id', r.creator_id, 'order_id', r.order_id)
			FROM refs AS r
			WHERE r.event_id IS NOT NULL
				AND NOT EXISTS (SELECT FROM entries AS l WHERE l.creator_id = r.creator_id AND l.event_id = r.event_id AND l.kind = 'order')
		UNION ALL
		SELECT 'money_conserved', 'credits and unattributed differ from net revenue',
				jsonb_build_object('creator_id', m.creator_id, 'conversion_id', m.conversion_id, 'model', v.model,
					'credit', COALESCE(a.credit, 0), 'unattributed', COALESCE(u.amount, 0), 'net', m.net)
			FROM money AS m
			CROSS JOIN (VALUES ('first'), ('last'), ('last_non_direct'), ('linear'), ('position'), ('time_decay')) AS v (model)
			LEFT JOIN (SELECT a.creator_id, a.conversion_id, a.model, sum(a.credit) AS credit, sum(a.gross_credit) AS gross, sum(a.weight) AS weight
				FROM biolink.attribution AS a WHERE only_creator IS NULL OR a.creator_id = only_creator
				GROUP BY a.creator_id, a.conversion_id, a.model) AS a
				ON a.creator_id = m.creator_id AND a.conversion_id = m.conversion_id AND a.model = v.model
			LEFT JOIN biolink.unattributed AS u ON u.creator_id = m.creator_id AND u.conversion_id = m.conversion_id AND u.currency IS NOT DISTINCT FROM m.currency
			WHERE NOT m.is_test AND m.conversion_id IS NOT NULL
				AND (COALESCE(a.credit, 0) + COALESCE(u.amount, 0) <> m.net
					OR (m.touches > 0 AND (a.gross IS DISTINCT FROM m.gross OR a.weight IS DISTINCT FROM 1)))
		UNION ALL
		SELECT 'money_conserved', 'conversions'' net differs from the ledger''s', jsonb_build_object('creator_id', t.creator_id, 'currency', t.currency, 'ledger', t.net, 'conversions', t.conversions)
			FROM (
				SELECT v.creator_id, v.currency, sum(v.net) AS net,
					COALESCE((SELECT sum(m.net) FROM money AS m WHERE m.creator_id = v.creator_id AND m.currency = v.currency), 0) AS conversions
				FROM (
					-- what is not excluded of what was booked, less the same part of what was taken back
					SELECT p.creator_id, p.currency, p.gross - CASE
							WHEN p.taken_back <= 0 OR p.gross = p.booked THEN p.taken_back
							WHEN p.taken_back >= p.booked THEN p.taken_back - (p.booked - p.gross)
							ELSE round(p.taken_back * p.gross / p.booked) END AS net
					FROM (
						SELECT l.creator_id, l.currency, COALESCE(sum(l.amount) FILTER (WHERE l.kind IN ('order', 'revision', 'merged')), 0) AS booked,
							CASE WHEN c.settings ? 'revenue_excludes' THEN greatest(0, COALESCE(sum(l.amount) FILTER (WHERE l.kind IN ('order', 'revision', 'merged')), 0)
								- COALESCE(sum(l.tax) FILTER (WHERE c.settings -> 'revenue_excludes' ? 'tax'), 0)
								- COALESCE(sum(l.shipping) FILTER (WHERE c.settings -> 'revenue_excludes' ? 'shipping'), 0)
								- COALESCE(sum(l.fee) FILTER (WHERE c.settings -> 'revenue_excludes' ? 'fee'), 0))
								ELSE COALESCE(sum(l.amount) FILTER (WHERE l.kind IN ('order', 'revision', 'merged')), 0) END AS gross,
							COALESCE(-sum(l.amount) FILTER (WHERE l.kind IN ('refund', 'dispute', 'dispute_won')), 0) AS taken_back
						FROM entries AS l
						LEFT JOIN biolink.creator AS c ON c.creator_id = l.creator_id
						GROUP BY l.creator_id, l.sale, l.currency, l.is_test, c.settings
					) AS p
				) AS v
				GROUP BY v.creator_id, v.currency
			) AS t
			WHERE t.net <> t.conversions
		UNION ALL
		SELECT 'exactly_once', 'sale whose amount is not that of its latest revision', jsonb_build_object('creator_id', t.creator_id, 'order_id', t.sale)
			FROM (
				SELECT r.creator_id, r.order_id AS sale, bool_or(v.event_id IS NOT NULL) AS is_revised, array_agg(e.amount) AS amounts,
						(array_agg(e.amount ORDER BY e.received_at DESC) FILTER (WHERE NOT e.merged))[1] AS latest
					FROM events AS e
					JOIN refs AS r ON r.creator_id = e.creator_id AND r.ref = e.order_id
					LEFT JOIN (SELECT DISTINCT k.creator_id, k.event_id FROM biolink.event_key AS k WHERE k.revision > 0 AND k.source <> 'biolink:revision') AS v
						ON v.creator_id = e.creator_id AND v.event_id = e.event_id
					WHERE e.kind = 'order' AND COALESCE(e.payment, 'paid') = 'paid'
					GROUP BY r.creator_id, r.order_id
			) AS t
			JOIN (
				SELECT l.creator_id, l.sale, sum(l.amount) FILTER (WHERE l.kind IN ('order', 'revision', 'merged')) AS amount, bool_or(l.kind = 'merged') AS has_merged,
						-- a revision of before may have been the latest
						bool_or(biolink.uuid_v7_time(l.event_id) < horizon AND g.event_id IS NULL AND l.kind IN ('order', 'revision', 'merged')) AS has_gone
					FROM entries AS l LEFT JOIN events AS g ON g.creator_id = l.creator_id AND g.event_id = l.event_id
					GROUP BY l.creator_id, l.sale
			) AS b ON b.creator_id = t.creator_id AND b.sale = t.sale
			-- which one was the latest of a sale that others turned out to be is not on record
			WHERE t.is_revised AND b.has_gone IS NOT TRUE AND CASE WHEN b.has_merged THEN b.amount <> ALL (t.amounts) ELSE b.amount <> t.latest END
		UNION ALL
		SELECT 'causality', 'touch after its conversion', jsonb_build_object('creator_id', p.creator_id, 'conversion_id', p.conversion_id, 'position', p.position)
			FROM biolink.touch_path AS p
			JOIN money AS m ON m.creator_id = p.creator_id AND m.conversion_id = p.conversion_id
			WHERE p.touched_at > m.converted_at
		UNION ALL
		SELECT 'causality', 'path is not as long as its conversion says', jsonb_build_object('creator_id', m.creator_id, 'conversion_id', m.conversion_id)
			FROM money AS m
			LEFT JOIN (SELECT p.creator_id, p.conversion_id, count(*) AS touches, max(p.position) AS last_position
				FROM biolink.touch_path AS p GROUP BY p.creator_id, p.conversion_id) AS p
				ON p.creator_id = m.creator_id AND p.conversion_id = m.conversion_id
			WHERE COALESCE(p.touches, 0) <> m.touches OR COALESCE(p.last_position, 0) <> m.touches
		UNION ALL
		SELECT 'nothing_lost', 'paid order without a ledger row or a sale it is merged into', jsonb_build_object('creator_id', e.creator_id, 'event_id', e.event_id)
			FROM events AS e
			WHERE e.kind = 'order' AND COALESCE(e.payment, 'paid') = 'paid'
				AND NOT EXISTS (SELECT FROM booked AS r WHERE r.creator_id = e.creator_id AND r.ref = e.order_id)
		UNION ALL
		SELECT 'nothing_lost', 'refund or dispute without a ledger row', jsonb_build_object('creator_id', e.creator_id, 'event_id', e.event_id)
			FROM events AS e
			WHERE e.kind IN ('refund', 'dispute', 'dispute_won')
				AND NOT EXISTS (SELECT FROM entries AS l WHERE l.creator_id = e.creator_id AND l.event_id = e.event_id)
		UNION ALL
		SELECT 'nothing_lost', 'sale that is neither a conversion nor queued', jsonb_build_object('creator_id', r.creator_id, 'order_id', r.order_id)
			FROM refs AS r
			WHERE r.event_id IS NOT NULL
				AND NOT EXISTS (SELECT FROM biolink.conversion AS c WHERE c.creator_id = r.creator_id AND c.conversion_id = r.event_id)
				AND NOT EXISTS (SELECT FROM biolink.attribution_queue AS q WHERE q.creator_id = r.creator_id AND q.conversion_id = r.event_id)
		UNION ALL
		SELECT 'nothing_lost', 'sale without a touch, though one arrived and was folded', jsonb_build_object('creator_id', c.creator_id, 'conversion_id', c.conversion_id)
			FROM biolink.conversion AS c
			WHERE (only_creator IS NULL OR c.creator_id = only_creator) AND c.reason = 'no_touch'
				AND NOT EXISTS (SELECT FROM biolink.attribution_queue AS q WHERE q.creator_id = c.creator_id AND q.conversion_id = c.conversion_id)
				AND EXISTS (SELECT FROM biolink.conversion_evidence AS v
					JOIN biolink.event AS e ON e.creator_id = v.creator_id AND (e.event_id = v.touch_id OR e.visitor OPERATOR(biolink.=) v.visitor)
					WHERE v.creator_id = c.creator_id AND v.conversion_id = c.conversion_id
						AND e.kind IN ('visit', 'click') AND e.occurred_at <= c.converted_at AND (c.is_test OR NOT e.is_test)
						AND e.received_at < (SELECT p.folded_until FROM biolink.job_checkpoint AS p WHERE p.job = 'attribute'))
		UNION ALL
		SELECT 'privacy', 'raw email address or phone number in a context', jsonb_build_object('creator_id', e.creator_id, 'event_id', e.event_id)
			FROM events AS e
			WHERE e.context IS NOT NULL AND biolink.mask_identifiers(e.context) <> e.context
		UNION ALL
		SELECT 'privacy', 'raw email address or phone number in a user agent or referrer', jsonb_build_object('creator_id', t.creator_id, 'text_id', t.text_id)
			FROM biolink.repeated_text AS t
			WHERE (only_creator IS NULL OR t.creator_id = only_creator) AND biolink.mask_identifiers(to_jsonb(t.value)) <> to_jsonb(t.value)
		UNION ALL
		SELECT 'privacy', 'raw email address or phone number in a parked event', jsonb_build_object('creator_id', p.creator_id, 'parked_id', p.parked_id)
			FROM biolink.event_parked AS p
			WHERE (only_creator IS NULL OR p.creator_id = only_creator) AND biolink.mask_identifiers(p.event) <> p.event
	)
	SELECT r.rule, count(f.what) = 0, count(f.what),
			COALESCE(jsonb_agg(f.example || jsonb_build_object('what', f.what) ORDER BY f.what, f.example) FILTER (WHERE f.number <= 10), '[]')
		FROM unnest('{exactly_once,money_conserved,causality,nothing_lost,privacy}'::text[]) WITH ORDINALITY AS r (rule, place)
		LEFT JOIN (SELECT f.*, row_number() OVER (PARTITION BY f.rule) AS number FROM failure AS f) AS f ON f.rule = r.rule
		GROUP BY r.rule, r.place
		ORDER BY r.place;
END
$$;
COMMENT ON FUNCTION biolink.integrity_check(pg_catalog.int8) IS
	'Checks the rules on live data, of one creator or of all that the caller may see: exactly_once, money_conserved, causality, nothing_lost, privacy. ok is false where failures > 0; detail is an array of up to ten of them, each with what is wrong and where. Reads everything: for a quiet hour.';
GRANT EXECUTE ON FUNCTION biolink.integrity_check(pg_catalog.int8) TO biolink_app, biolink_analyst, biolink_admin;
