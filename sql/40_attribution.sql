-- 40_attribution.sql: which touches earned a conversion, and how its money is split over them.
--
-- conversion, conversion_evidence and touch_path are derived: the job "attribute" builds them from events, and building them again gives
-- the same.  Credit is never stored: the views work it out from the path and the ledger as it is now, so a refund counts at once.

CREATE FUNCTION biolink.credit(model pg_catalog.text, touched_at pg_catalog.timestamptz[], converted_at pg_catalog.timestamptz, amount pg_catalog.int8,
		half_life pg_catalog.interval DEFAULT '7 days', weights pg_catalog.float8[] DEFAULT NULL, direct pg_catalog.bool[] DEFAULT NULL)
	RETURNS pg_catalog.int8[]
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 20
	AS 'MODULE_PATHNAME', 'credit';
COMMENT ON FUNCTION biolink.credit(pg_catalog.text, pg_catalog.timestamptz[], pg_catalog.timestamptz, pg_catalog.int8, pg_catalog.interval, pg_catalog.float8[], pg_catalog.bool[]) IS
	'Splits amount (minor units) over touches; the result is in the order of touched_at and adds up to amount. '
	'Models: first, last, last_non_direct (direct[i] marks direct touches; the last when all are), linear, position (40/20/40; two touches half each), time_decay (2^(-age/half_life)), custom (weights). '
	'A touch at converted_at counts, a later one gets 0; without an eligible touch all are 0. Units left over go by largest remainder, ties to the earlier touch, then the lower index; credit(-x) = -credit(x). '
	'NULL if one of the first four arguments is. Errors: 22023 for an unknown model, arrays of other lengths, NULLs in arrays, infinite times, negative weights, a half-life that is not positive or given in months.';
GRANT EXECUTE ON FUNCTION biolink.credit(pg_catalog.text, pg_catalog.timestamptz[], pg_catalog.timestamptz, pg_catalog.int8, pg_catalog.interval, pg_catalog.float8[], pg_catalog.bool[])
	TO biolink_app, biolink_analyst, biolink_admin;

CREATE TABLE biolink.conversion (
	creator_id pg_catalog.int8 NOT NULL,
	conversion_id pg_catalog.uuid NOT NULL,
	order_id pg_catalog.text,
	kind pg_catalog.text NOT NULL,
	goal pg_catalog.text NOT NULL,
	order_type pg_catalog.text,
	currency pg_catalog.text,
	converted_at pg_catalog.timestamptz NOT NULL,
	source pg_catalog.text NOT NULL,
	offer_id pg_catalog.int8,
	is_test pg_catalog.bool NOT NULL,
	touches pg_catalog.int4 NOT NULL,
	reason pg_catalog.text,
	subscription_id pg_catalog.text,
	codes pg_catalog.text[],
	items pg_catalog.jsonb,
	PRIMARY KEY (creator_id, conversion_id),
	UNIQUE (creator_id, order_id),
	CHECK ((touches OPERATOR(pg_catalog.=) 0) OPERATOR(pg_catalog.=) (reason IS NOT NULL)),
	CHECK ((order_id IS NULL) OPERATOR(pg_catalog.=) (currency IS NULL))
);
ALTER TABLE biolink.conversion OWNER TO biolink_owner;
CREATE INDEX conversion_converted_at_idx ON biolink.conversion (creator_id, converted_at);
COMMENT ON TABLE biolink.conversion IS 'One row for each order and each goal reached. Derived by the job "attribute".';
COMMENT ON COLUMN biolink.conversion.subscription_id IS 'The subscription that a renewal, or the order that began it, is of.';
COMMENT ON COLUMN biolink.conversion.codes IS 'Discount codes that any of its events names.';
COMMENT ON COLUMN biolink.conversion.items IS 'What was bought, as the order that booked it says, or its latest revision; else as another that was merged into it says. To be read through biolink.order_item.';
COMMENT ON COLUMN biolink.conversion.conversion_id IS 'The event_id of its first event.';
COMMENT ON COLUMN biolink.conversion.goal IS '"order", or the goal of a lead, booking or other event without money.';
COMMENT ON COLUMN biolink.conversion.currency IS 'Currency of the order; NULL for goals, whose credit is in millionths of one conversion.';
COMMENT ON COLUMN biolink.conversion.converted_at IS 'Earliest occurred_at among the events of the conversion.';
COMMENT ON COLUMN biolink.conversion.touches IS 'Length of its path; 0 when nothing earned it, for which reason says why.';
COMMENT ON COLUMN biolink.conversion.reason IS 'Why it has no touch: bots_only, outside_lookback, bad_token, consent or no_touch.';

CREATE TABLE biolink.conversion_evidence (
	creator_id pg_catalog.int8 NOT NULL,
	conversion_id pg_catalog.uuid NOT NULL,
	ordinal pg_catalog.int4 NOT NULL,
	evidence pg_catalog.text NOT NULL,
	touch_id pg_catalog.uuid,
	visitor biolink.idhash,
	converted_at pg_catalog.timestamptz NOT NULL,
	said_at pg_catalog.timestamptz NOT NULL,
	PRIMARY KEY (creator_id, conversion_id, ordinal)
);
ALTER TABLE biolink.conversion_evidence OWNER TO biolink_owner;
CREATE INDEX conversion_evidence_touch_idx ON biolink.conversion_evidence (creator_id, touch_id) WHERE touch_id IS NOT NULL;
CREATE INDEX conversion_evidence_visitor_idx ON biolink.conversion_evidence (creator_id, visitor) WHERE visitor IS NOT NULL;
COMMENT ON TABLE biolink.conversion_evidence IS 'What ties a conversion to touches, so that a touch that arrives late finds the conversions it affects. Derived by the job "attribute".';
COMMENT ON COLUMN biolink.conversion_evidence.evidence IS 'token or click_id (touch_id names the click or visit), or visitor.';
COMMENT ON COLUMN biolink.conversion_evidence.said_at IS 'When the event happened that says so, the latest if several do; of two that are needed together, the earlier. What is said only by events that are no longer kept stays.';

CREATE TABLE biolink.touch_path (
	creator_id pg_catalog.int8 NOT NULL,
	conversion_id pg_catalog.uuid NOT NULL,
	position pg_catalog.int4 NOT NULL,
	click_id pg_catalog.uuid NOT NULL,
	kind pg_catalog.text NOT NULL,
	touched_at pg_catalog.timestamptz NOT NULL,
	tier pg_catalog.text NOT NULL,
	evidence pg_catalog.text NOT NULL,
	channel pg_catalog.text NOT NULL,
	medium pg_catalog.text,
	platform pg_catalog.text,
	referrer_host pg_catalog.text,
	utm pg_catalog.jsonb,
	link_id pg_catalog.int8,
	offer_id pg_catalog.int8,
	post_id pg_catalog.int8,
	campaign_id pg_catalog.int8,
	device pg_catalog.text,
	country pg_catalog.text,
	is_direct pg_catalog.bool NOT NULL,
	visitor biolink.idhash NOT NULL,
	visit_id pg_catalog.uuid,
	PRIMARY KEY (creator_id, conversion_id, position)
);
ALTER TABLE biolink.touch_path OWNER TO biolink_owner;
COMMENT ON TABLE biolink.touch_path IS 'The touches that earned a conversion, in order of time from position 1. It copies what views need, and what building it again does, since clicks are dropped by retention and conversions are not. Derived by the job "attribute".';
COMMENT ON COLUMN biolink.touch_path.click_id IS 'Event id of the click, or of the visit where nothing was clicked.';
COMMENT ON COLUMN biolink.touch_path.tier IS 'How strongly it is tied to the conversion: session.';
COMMENT ON COLUMN biolink.touch_path.evidence IS 'What ties it: token, click_id or visitor.';

DO $$
DECLARE
	name pg_catalog.text;
BEGIN
	FOREACH name IN ARRAY '{conversion,conversion_evidence,touch_path}'::pg_catalog.text[] LOOP
		EXECUTE pg_catalog.format('ALTER TABLE biolink.%I ENABLE ROW LEVEL SECURITY', name);
		EXECUTE pg_catalog.format('CREATE POLICY %I ON biolink.%I FOR SELECT TO biolink_app, biolink_admin USING (true)', name || '_app', name);
		EXECUTE pg_catalog.format('CREATE POLICY %I ON biolink.%I FOR SELECT TO biolink_analyst
			USING (creator_id OPERATOR(pg_catalog.=) ANY ((SELECT biolink.my_creators())::pg_catalog.int8[]))', name || '_analyst', name);
		EXECUTE pg_catalog.format('GRANT SELECT ON biolink.%I TO biolink_app, biolink_analyst, biolink_admin', name);
	END LOOP;
END
$$;

SELECT pg_catalog.pg_extension_config_dump('biolink.conversion', '');
SELECT pg_catalog.pg_extension_config_dump('biolink.conversion_evidence', '');
SELECT pg_catalog.pg_extension_config_dump('biolink.touch_path', '');

CREATE FUNCTION biolink.rebuild_conversions(creator pg_catalog.int8, conversions pg_catalog.uuid[]) RETURNS pg_catalog.void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 100000
	SET search_path = pg_catalog, pg_temp
	-- Planned anew for every slice: a plan of when the tables were small is none for when they are large.  What is looked up for each row stands
	-- in a sub-query that cannot be pulled up, so that it goes by the index, however little is known of the tables.
	SET plan_cache_mode = force_custom_plan
	-- compiling what runs once per slice takes longer than running it
	SET jit = off
	-- a lookback of 30 days is 720 hours, whatever the caller's time zone does with its clocks
	SET TimeZone = 'UTC'
	AS $$
DECLARE
	lookback interval;
	repeat_window interval;
	max_touches int;
	gone_over uuid[];
	gone_to uuid[];
	facts biolink.conversion[];
	candidate record;
	touch biolink.touch_path;
	path biolink.touch_path[] := '{}';
	run_visitor biolink.idhash;
	run_started timestamptz;
	-- What is from before is built from events no more, for they are gone or going: it is taken over from what was built before.
	horizon CONSTANT timestamptz := biolink.event_horizon();
	horizon_id CONSTANT uuid := biolink.uuid_v7_floor(horizon);
	has_horizon CONSTANT bool := horizon > '-infinity';
BEGIN
	SELECT COALESCE((c.settings #>> '{lookback,session}')::interval, '30 days'), COALESCE((c.settings ->> 'repeat_window')::interval, '30 minutes'),
			COALESCE((c.settings ->> 'max_touches')::numeric::int, 50)
		INTO lookback, repeat_window, max_touches
		FROM biolink.creator AS c WHERE c.creator_id = creator;

	-- What is asked for may be any event of a sale: that of the first paid order is its conversion.  A conversion whose sale turned out to be
	-- another one's is no more; what it has from before the horizon goes over to that one, since its events may be gone.
	SELECT array_agg(DISTINCT a.conversion_id), array_agg(a.event_id) FILTER (WHERE a.event_id <> a.conversion_id),
			array_agg(a.conversion_id) FILTER (WHERE a.event_id <> a.conversion_id)
		INTO conversions, gone_over, gone_to
		FROM (
			SELECT DISTINCT w.event_id, COALESCE(s.event_id, w.event_id) AS conversion_id
				FROM unnest(conversions) AS w (event_id)
				LEFT JOIN LATERAL (SELECT v.kind, v.order_id FROM biolink.event AS v
					WHERE v.creator_id = creator AND v.event_id = w.event_id
						AND v.occurred_at >= biolink.uuid_v7_time(w.event_id) AND v.occurred_at < biolink.uuid_v7_time(w.event_id) + '1 millisecond'::interval
					OFFSET 0) AS e ON true
				LEFT JOIN LATERAL (SELECT o.kind, o.order_id FROM biolink.conversion AS o
					WHERE o.creator_id = creator AND o.conversion_id = w.event_id AND w.event_id < horizon_id OFFSET 0) AS c ON true
				LEFT JOIN LATERAL (SELECT n.order_id FROM biolink.order_ref AS n
					WHERE n.creator_id = creator AND n.ref = COALESCE(e.order_id, c.order_id) AND COALESCE(e.kind, c.kind) = 'order' OFFSET 0) AS r ON true
				LEFT JOIN LATERAL (SELECT n.event_id FROM biolink.order_ref AS n WHERE n.creator_id = creator AND n.ref = r.order_id OFFSET 0) AS s ON true
				WHERE e.kind IS NOT NULL OR c.kind IS NOT NULL
		) AS a;
	IF conversions IS NULL THEN
		RETURN;
	END IF;
	DELETE FROM biolink.conversion_evidence AS v
		WHERE v.creator_id = creator AND v.conversion_id = ANY (conversions || gone_over) AND v.said_at >= horizon;
	IF gone_over IS NOT NULL THEN
		IF has_horizon THEN
			UPDATE biolink.conversion_evidence AS v SET conversion_id = m.conversion_id, ordinal = m.new_ordinal
				FROM (SELECT a.event_id, a.conversion_id, o.ordinal,
						COALESCE((SELECT max(k.ordinal) FROM biolink.conversion_evidence AS k WHERE k.creator_id = creator AND k.conversion_id = a.conversion_id), 0)
							+ row_number() OVER (PARTITION BY a.conversion_id ORDER BY a.event_id, o.ordinal) AS new_ordinal
					FROM unnest(gone_over, gone_to) AS a (event_id, conversion_id)
					JOIN biolink.conversion_evidence AS o ON o.creator_id = creator AND o.conversion_id = a.event_id) AS m
				WHERE v.creator_id = creator AND v.conversion_id = m.event_id AND v.ordinal = m.ordinal;
			UPDATE biolink.touch_path AS t SET conversion_id = m.conversion_id, position = m.new_position
				FROM (SELECT a.event_id, a.conversion_id, o.position,
						COALESCE((SELECT max(k.position) FROM biolink.touch_path AS k WHERE k.creator_id = creator AND k.conversion_id = a.conversion_id), 0)
							+ row_number() OVER (PARTITION BY a.conversion_id ORDER BY a.event_id, o.position) AS new_position
					FROM unnest(gone_over, gone_to) AS a (event_id, conversion_id)
					JOIN biolink.touch_path AS o ON o.creator_id = creator AND o.conversion_id = a.event_id
					WHERE o.touched_at < horizon) AS m
				WHERE t.creator_id = creator AND t.conversion_id = m.event_id AND t.position = m.position;
			UPDATE biolink.conversion AS c SET converted_at = m.converted_at
				FROM (SELECT a.conversion_id, min(o.converted_at) AS converted_at
					FROM unnest(gone_over, gone_to) AS a (event_id, conversion_id)
					JOIN biolink.conversion AS o ON o.creator_id = creator AND o.conversion_id = a.event_id
					WHERE o.converted_at < horizon
					GROUP BY a.conversion_id) AS m
				WHERE c.creator_id = creator AND c.conversion_id = m.conversion_id AND c.converted_at > m.converted_at;
		END IF;
		DELETE FROM biolink.touch_path AS t WHERE t.creator_id = creator AND t.conversion_id = ANY (gone_over);
		DELETE FROM biolink.conversion AS c WHERE c.creator_id = creator AND c.conversion_id = ANY (gone_over);
	END IF;

	-- The events of each conversion: that of a goal, or all that name the sale.  The time of a sale is that of its first paid order, whichever
	-- of them booked it.  What is known of a conversion whose first event is gone is in its own row.
	WITH first AS MATERIALIZED (
		SELECT e.*
			FROM unnest(conversions) AS w (conversion_id)
			CROSS JOIN LATERAL (SELECT v.event_id, v.kind, v.order_id, v.goal, v.order_type, v.currency, v.source, v.offer_id, v.is_test,
					v.occurred_at, v.visitor, v.click_id, v.evidence, v.token_reason, v.measurement_denied, v.received_at, v.subscription_id, v.codes, v.items
				FROM biolink.event AS v
				WHERE v.creator_id = creator AND v.event_id = w.conversion_id
					AND v.occurred_at >= biolink.uuid_v7_time(w.conversion_id) AND v.occurred_at < biolink.uuid_v7_time(w.conversion_id) + '1 millisecond'::interval
				OFFSET 0) AS e
		UNION ALL
		SELECT c.conversion_id, c.kind, c.order_id, c.goal, c.order_type, c.currency, c.source, c.offer_id, c.is_test, c.converted_at, NULL, NULL, NULL, NULL, false,
				c.converted_at, c.subscription_id, c.codes, c.items
			FROM unnest(conversions) AS w (conversion_id)
			CROSS JOIN LATERAL (SELECT o.* FROM biolink.conversion AS o WHERE o.creator_id = creator AND o.conversion_id = w.conversion_id OFFSET 0) AS c
			LEFT JOIN LATERAL (SELECT true AS found FROM biolink.event AS v
				WHERE v.creator_id = creator AND v.event_id = w.conversion_id
					AND v.occurred_at >= biolink.uuid_v7_time(w.conversion_id) AND v.occurred_at < biolink.uuid_v7_time(w.conversion_id) + '1 millisecond'::interval
				OFFSET 0) AS e ON true
			WHERE has_horizon AND w.conversion_id < horizon_id AND e.found IS NULL
	), accepted AS MATERIALIZED (
		SELECT f.event_id AS conversion_id, e.occurred_at, e.visitor, e.click_id, e.evidence, e.token_reason, e.measurement_denied,
				e.kind = 'order' AND COALESCE(e.payment, 'paid') = 'paid' AS is_paid, e.merged, e.received_at, e.subscription_id, e.codes, e.items
			FROM first AS f
			CROSS JOIN LATERAL (SELECT n.ref FROM biolink.order_ref AS n WHERE n.creator_id = creator AND n.order_id = f.order_id OFFSET 0) AS r
			CROSS JOIN LATERAL (SELECT v.* FROM biolink.event AS v WHERE v.creator_id = creator AND v.order_id = r.ref OFFSET 0) AS e
			WHERE f.kind = 'order' AND e.kind NOT IN ('refund', 'dispute', 'dispute_won', 'visit', 'click')
		UNION ALL
		SELECT f.event_id, f.occurred_at, f.visitor, f.click_id, f.evidence, f.token_reason, f.measurement_denied, true, false, f.received_at, f.subscription_id, f.codes, f.items
			FROM first AS f WHERE f.kind <> 'order'
	), fact AS MATERIALIZED (
		SELECT f.event_id AS conversion_id,
				least(min(a.occurred_at) FILTER (WHERE a.is_paid), min(o.converted_at) FILTER (WHERE o.converted_at < horizon)) AS converted_at,
				CASE WHEN min(o.reason) IN ('bots_only', 'outside_lookback') THEN min(o.reason)
					WHEN bool_or(a.token_reason IS NOT NULL) OR min(o.reason) = 'bad_token' THEN 'bad_token'
					WHEN bool_or(a.measurement_denied) OR min(o.reason) = 'consent' THEN 'consent' ELSE 'no_touch' END AS reason,
				COALESCE(min(a.subscription_id COLLATE "C"), min(f.subscription_id COLLATE "C")) AS subscription_id,
				COALESCE((array_agg(a.items ORDER BY a.merged, a.received_at DESC) FILTER (WHERE a.is_paid AND a.items IS NOT NULL))[1], f.items) AS items
			FROM first AS f
			LEFT JOIN accepted AS a ON a.conversion_id = f.event_id
			-- time and reason of before, where what they were worked out from may be gone
			LEFT JOIN LATERAL (SELECT b.converted_at, b.reason FROM biolink.conversion AS b
				WHERE has_horizon AND b.creator_id = creator AND b.conversion_id = f.event_id OFFSET 0) AS o ON true
			GROUP BY f.event_id, f.items
	), coded AS (
		SELECT n.conversion_id, array_agg(DISTINCT c.code COLLATE "C" ORDER BY c.code COLLATE "C") AS codes
			FROM (SELECT a.conversion_id, a.codes FROM accepted AS a UNION ALL SELECT f.event_id, f.codes FROM first AS f) AS n
			CROSS JOIN LATERAL unnest(n.codes) AS c (code)
			GROUP BY n.conversion_id
	), said AS (
		SELECT a.conversion_id, a.evidence, a.click_id AS touch_id, NULL::biolink.idhash AS visitor, a.occurred_at AS said_at
			FROM accepted AS a WHERE a.click_id IS NOT NULL
		UNION ALL
		SELECT a.conversion_id, 'visitor', NULL::uuid, a.visitor, a.occurred_at FROM accepted AS a WHERE a.visitor IS NOT NULL
		UNION ALL
		SELECT a.conversion_id, 'visitor', NULL::uuid, e.visitor, least(a.occurred_at, e.occurred_at)
			FROM accepted AS a
			CROSS JOIN LATERAL (SELECT v.kind, v.visitor, v.occurred_at FROM biolink.event AS v
				WHERE v.creator_id = creator AND v.event_id = a.click_id
					AND v.occurred_at >= biolink.uuid_v7_time(a.click_id) AND v.occurred_at < biolink.uuid_v7_time(a.click_id) + '1 millisecond'::interval
				OFFSET 0) AS e
			WHERE a.click_id IS NOT NULL AND e.kind IN ('visit', 'click') AND e.visitor IS NOT NULL
	), found AS (
		SELECT s.conversion_id, s.evidence, s.touch_id, s.visitor, max(s.said_at) AS said_at
			FROM said AS s GROUP BY s.conversion_id, s.evidence, s.touch_id, s.visitor
	), noted AS (
		INSERT INTO biolink.conversion_evidence (creator_id, conversion_id, ordinal, evidence, touch_id, visitor, converted_at, said_at)
			SELECT creator, v.conversion_id,
					CASE WHEN has_horizon THEN COALESCE((SELECT max(k.ordinal) FROM biolink.conversion_evidence AS k
						WHERE k.creator_id = creator AND k.conversion_id = v.conversion_id AND k.said_at < horizon), 0) ELSE 0 END
						+ row_number() OVER (PARTITION BY v.conversion_id ORDER BY v.evidence, v.touch_id, v.visitor),
					v.evidence, v.touch_id, v.visitor, c.converted_at, v.said_at
				FROM found AS v JOIN fact AS c ON c.conversion_id = v.conversion_id
				WHERE NOT has_horizon OR NOT EXISTS (SELECT FROM biolink.conversion_evidence AS k
					WHERE k.creator_id = creator AND k.conversion_id = v.conversion_id AND k.said_at < horizon AND k.evidence = v.evidence
						AND k.touch_id IS NOT DISTINCT FROM v.touch_id AND (k.visitor OPERATOR(biolink.=) v.visitor OR (k.visitor IS NULL AND v.visitor IS NULL)) OFFSET 0)
	)
	SELECT array_agg(ROW(creator, f.event_id, CASE f.kind WHEN 'order' THEN f.order_id END, f.kind, COALESCE(f.goal, f.kind), f.order_type,
			CASE f.kind WHEN 'order' THEN f.currency END, c.converted_at, f.source, f.offer_id, f.is_test, 0, c.reason,
			c.subscription_id, d.codes, c.items)::biolink.conversion)
		INTO facts
		FROM first AS f JOIN fact AS c ON c.conversion_id = f.event_id LEFT JOIN coded AS d ON d.conversion_id = f.event_id;
	IF facts IS NULL THEN
		RETURN;
	END IF;

	-- One row for each visit with its clicks, represented by its best event; then repeats of a visitor on a link, which need the start of
	-- the current run and so an ordered loop.
	FOR candidate IN
		WITH event AS (
			SELECT f.conversion_id, e.event_id, e.kind, e.occurred_at, e.visitor, e.channel, e.medium, e.platform, e.referrer_host, e.utm,
				e.link_id, e.offer_id, e.post_id, e.campaign_id, e.device, e.country, COALESCE(e.visit_id, e.event_id) AS visit_or_click, n.by_token, n.by_click_id,
				-- a visit that is gone may have been named where its click is not
				CASE WHEN e.visit_id < horizon_id THEN (SELECT o.evidence FROM biolink.touch_path AS o
					WHERE o.creator_id = creator AND o.conversion_id = f.conversion_id AND o.click_id = e.event_id) END AS known_evidence
			FROM unnest(facts) AS f
			CROSS JOIN LATERAL (SELECT k.visitor FROM biolink.conversion_evidence AS k
				WHERE k.creator_id = creator AND k.conversion_id = f.conversion_id OFFSET 0) AS v
			CROSS JOIN LATERAL (SELECT g.event_id, g.kind, g.occurred_at, g.visitor, g.channel, g.medium, g.platform, g.referrer_host, g.utm,
					g.link_id, g.offer_id, g.post_id, g.campaign_id, g.device, g.country, g.visit_id, g.is_bot, g.is_test
				FROM biolink.event AS g
				WHERE g.creator_id = creator AND g.visitor OPERATOR(biolink.=) v.visitor
					AND g.occurred_at <= f.converted_at AND g.occurred_at >= f.converted_at - lookback
				OFFSET 0) AS e
			CROSS JOIN LATERAL (
				SELECT COALESCE(bool_or(t.evidence = 'token'), false) AS by_token, COALESCE(bool_or(t.evidence = 'click_id'), false) AS by_click_id
					FROM biolink.conversion_evidence AS t
					WHERE t.creator_id = creator AND t.conversion_id = f.conversion_id AND t.touch_id = e.event_id
			) AS n
			WHERE v.visitor IS NOT NULL AND e.kind IN ('visit', 'click') AND NOT e.is_bot AND (f.is_test OR NOT e.is_test)
			UNION ALL
			-- touches of before whose clicks are gone count as their clicks did
			SELECT f.conversion_id, p.click_id, p.kind, p.touched_at, p.visitor, p.channel, p.medium, p.platform, p.referrer_host, p.utm,
				p.link_id, p.offer_id, p.post_id, p.campaign_id, p.device, p.country, COALESCE(p.visit_id, p.click_id), n.by_token, n.by_click_id, p.evidence
			FROM unnest(facts) AS f
			CROSS JOIN LATERAL (SELECT o.* FROM biolink.touch_path AS o WHERE o.creator_id = creator AND o.conversion_id = f.conversion_id OFFSET 0) AS p
			CROSS JOIN LATERAL (SELECT k.visitor FROM biolink.conversion_evidence AS k
				WHERE k.creator_id = creator AND k.conversion_id = f.conversion_id OFFSET 0) AS v
			CROSS JOIN LATERAL (
				SELECT COALESCE(bool_or(t.evidence = 'token'), false) AS by_token, COALESCE(bool_or(t.evidence = 'click_id'), false) AS by_click_id
					FROM biolink.conversion_evidence AS t
					WHERE t.creator_id = creator AND t.conversion_id = f.conversion_id AND t.touch_id = p.click_id
			) AS n
			WHERE has_horizon AND p.touched_at < horizon AND p.touched_at <= f.converted_at AND p.touched_at >= f.converted_at - lookback
				AND v.visitor OPERATOR(biolink.=) p.visitor
				AND NOT EXISTS (SELECT FROM biolink.event AS g WHERE g.creator_id = creator AND g.event_id = p.click_id
					AND g.occurred_at >= biolink.uuid_v7_time(p.click_id) AND g.occurred_at < biolink.uuid_v7_time(p.click_id) + '1 millisecond'::interval OFFSET 0)
		)
		SELECT e.*,
			CASE WHEN bool_or(e.by_token OR e.known_evidence = 'token') OVER visit THEN 'token'
				WHEN bool_or(e.by_click_id OR e.known_evidence = 'click_id') OVER visit THEN 'click_id' ELSE 'visitor' END AS best_evidence,
			row_number() OVER (PARTITION BY e.conversion_id, e.visit_or_click
				ORDER BY e.kind = 'click' AND (e.by_token OR e.by_click_id) DESC, e.kind = 'click' DESC, e.occurred_at DESC, e.event_id DESC) AS place
		FROM event AS e
		WINDOW visit AS (PARTITION BY e.conversion_id, e.visit_or_click)
		ORDER BY e.conversion_id, e.visitor, e.link_id, e.occurred_at, e.event_id
	LOOP
		CONTINUE WHEN candidate.place > 1;
		IF candidate.conversion_id = touch.conversion_id AND candidate.link_id = touch.link_id AND candidate.visitor OPERATOR(biolink.=) run_visitor
			AND candidate.occurred_at < run_started + repeat_window
		THEN
			IF candidate.best_evidence = 'token' OR touch.evidence = 'visitor' THEN
				touch.evidence := candidate.best_evidence;
			END IF;
			CONTINUE;
		END IF;
		IF touch.conversion_id IS NOT NULL THEN
			path := path || touch;
		END IF;
		run_visitor := candidate.visitor;
		run_started := candidate.occurred_at;

		touch.creator_id := creator;
		touch.conversion_id := candidate.conversion_id;
		touch.click_id := candidate.event_id;
		touch.kind := candidate.kind;
		touch.touched_at := candidate.occurred_at;
		touch.tier := 'session';
		touch.evidence := candidate.best_evidence;
		touch.channel := COALESCE(candidate.channel, 'direct');
		touch.medium := candidate.medium;
		touch.platform := candidate.platform;
		touch.referrer_host := candidate.referrer_host;
		touch.utm := candidate.utm;
		touch.link_id := candidate.link_id;
		touch.offer_id := candidate.offer_id;
		touch.post_id := candidate.post_id;
		touch.campaign_id := candidate.campaign_id;
		touch.device := candidate.device;
		touch.country := candidate.country;
		touch.is_direct := touch.channel = 'direct';
		touch.visitor := candidate.visitor;
		touch.visit_id := NULLIF(candidate.visit_or_click, candidate.event_id);
	END LOOP;
	IF touch.conversion_id IS NOT NULL THEN
		path := path || touch;
	END IF;

	DELETE FROM biolink.touch_path AS t WHERE t.creator_id = creator AND t.conversion_id = ANY (conversions);
	INSERT INTO biolink.touch_path
		SELECT t.creator_id, t.conversion_id, row_number() OVER (PARTITION BY t.conversion_id ORDER BY t.touched_at, t.click_id),
			t.click_id, t.kind, t.touched_at, t.tier, t.evidence, t.channel, t.medium, t.platform, t.referrer_host, t.utm,
			t.link_id, t.offer_id, t.post_id, t.campaign_id, t.device, t.country, t.is_direct, t.visitor, t.visit_id
		FROM (SELECT p.*, row_number() OVER (PARTITION BY p.conversion_id ORDER BY p.touched_at DESC, p.click_id DESC) AS from_end
			FROM unnest(path) AS p) AS t
		WHERE t.from_end <= max_touches;

	INSERT INTO biolink.conversion
		SELECT f.creator_id, f.conversion_id, f.order_id, f.kind, f.goal, f.order_type, f.currency, f.converted_at, f.source, f.offer_id, f.is_test, t.touches,
			CASE WHEN t.touches = 0 THEN COALESCE((
				-- what there was, but for being a bot's or too old
				SELECT CASE
						WHEN bool_or(e.is_bot AND e.occurred_at >= f.converted_at - lookback) THEN 'bots_only'
						WHEN bool_or(e.occurred_at < f.converted_at - lookback) THEN 'outside_lookback'
					END
					FROM (SELECT k.visitor FROM biolink.conversion_evidence AS k
						WHERE k.creator_id = creator AND k.conversion_id = f.conversion_id OFFSET 0) AS v
					CROSS JOIN LATERAL (SELECT g.kind, g.is_bot, g.is_test, g.occurred_at FROM biolink.event AS g
						WHERE g.creator_id = creator AND g.visitor OPERATOR(biolink.=) v.visitor AND g.occurred_at <= f.converted_at OFFSET 0) AS e
					WHERE v.visitor IS NOT NULL AND e.kind IN ('visit', 'click') AND (f.is_test OR NOT e.is_test)
				), f.reason) END, f.subscription_id, f.codes, f.items
		FROM unnest(facts) AS f
		CROSS JOIN LATERAL (SELECT count(*)::int AS touches FROM biolink.touch_path AS p
			WHERE p.creator_id = creator AND p.conversion_id = f.conversion_id) AS t
		ON CONFLICT ON CONSTRAINT conversion_pkey DO UPDATE
			SET converted_at = excluded.converted_at, touches = excluded.touches, reason = excluded.reason,
				subscription_id = excluded.subscription_id, codes = excluded.codes, items = excluded.items
			WHERE (conversion.converted_at, conversion.touches, conversion.reason, conversion.subscription_id, conversion.codes, conversion.items)
				IS DISTINCT FROM (excluded.converted_at, excluded.touches, excluded.reason, excluded.subscription_id, excluded.codes, excluded.items);
END
$$;
COMMENT ON FUNCTION biolink.rebuild_conversions(pg_catalog.int8, pg_catalog.uuid[]) IS
	'Builds conversions of one creator, their evidence and their paths from their events, many at a time; doing it again gives the same. An id may be that of any event of a sale. Called by the job "attribute".';

CREATE FUNCTION biolink.sale_refunds(booked pg_catalog.int8, gross pg_catalog.int8, taken_back pg_catalog.int8) RETURNS pg_catalog.int8
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1
	AS 'MODULE_PATHNAME', 'sale_refunds';
COMMENT ON FUNCTION biolink.sale_refunds(pg_catalog.int8, pg_catalog.int8, pg_catalog.int8) IS
	'What refunds take from the revenue of a sale (gross) of which more was paid (booked, >= gross), in minor units: the same part of gross as taken_back is of booked, rounded half up, until all of it is gone; what goes beyond booked in full.';
GRANT EXECUTE ON FUNCTION biolink.sale_refunds(pg_catalog.int8, pg_catalog.int8, pg_catalog.int8) TO biolink_app, biolink_analyst, biolink_admin;

CREATE VIEW biolink.conversion_money WITH (security_invoker = true) AS
	SELECT u.creator_id, u.conversion_id, u.order_id, u.goal, u.kind, u.currency, u.converted_at, u.is_test, u.touches,
		CASE WHEN u.touches OPERATOR(pg_catalog.=) 0 AND u.reason IS NULL
			THEN CASE WHEN g.gross OPERATOR(pg_catalog.<) s.refunds THEN 'over_refunded' ELSE 'no_touch' END
			ELSE u.reason END AS reason,
		g.gross, s.refunds, g.gross OPERATOR(pg_catalog.-) s.refunds AS net
	FROM (
		SELECT c.creator_id, c.conversion_id, c.order_id, c.goal, c.kind, c.currency, c.converted_at, c.is_test, c.touches, c.reason,
			CASE WHEN c.order_id IS NULL THEN 1000000 ELSE COALESCE(m.booked, 0) END::pg_catalog.int8 AS booked,
			COALESCE(m.taken_back, 0)::pg_catalog.int8 AS taken_back, m.tax, m.shipping, m.fee
		FROM biolink.conversion AS c
		LEFT JOIN LATERAL (
			SELECT pg_catalog.sum(l.amount) FILTER (WHERE l.kind OPERATOR(pg_catalog.<>) ALL ('{refund,dispute,dispute_won}'::pg_catalog.text[])) AS booked,
				pg_catalog.sum(OPERATOR(pg_catalog.-) l.amount) FILTER (WHERE l.kind OPERATOR(pg_catalog.=) ANY ('{refund,dispute,dispute_won}'::pg_catalog.text[])) AS taken_back,
				pg_catalog.sum(l.tax) AS tax, pg_catalog.sum(l.shipping) AS shipping, pg_catalog.sum(l.fee) AS fee
			-- by index for each conversion, whatever else is asked for
			FROM (SELECT n.ref FROM biolink.order_ref AS n
				WHERE n.creator_id OPERATOR(pg_catalog.=) c.creator_id AND n.order_id OPERATOR(pg_catalog.=) c.order_id OFFSET 0) AS r
			CROSS JOIN LATERAL (SELECT b.kind, b.amount, b.tax, b.shipping, b.fee, b.currency, b.is_test FROM biolink.ledger AS b
				WHERE b.creator_id OPERATOR(pg_catalog.=) c.creator_id AND b.order_id OPERATOR(pg_catalog.=) r.ref OFFSET 0) AS l
			WHERE l.currency OPERATOR(pg_catalog.=) c.currency AND l.is_test OPERATOR(pg_catalog.=) c.is_test
		) AS m ON true
		UNION ALL
		-- Money of the ledger that is of no conversion: of a sale that the job has not come to yet, a refund whose order has not come or is
		-- in another currency. Without it the numbers would not add up to the ledger.
		SELECT l.creator_id, CASE WHEN b.currency OPERATOR(pg_catalog.=) l.currency AND b.is_test OPERATOR(pg_catalog.=) l.is_test THEN s.event_id END,
			r.order_id, 'order', 'order', l.currency, pg_catalog.min(l.occurred_at), l.is_test, 0, NULL,
			COALESCE(pg_catalog.sum(l.amount) FILTER (WHERE l.kind OPERATOR(pg_catalog.<>) ALL ('{refund,dispute,dispute_won}'::pg_catalog.text[])), 0)::pg_catalog.int8,
			COALESCE(pg_catalog.sum(OPERATOR(pg_catalog.-) l.amount) FILTER (WHERE l.kind OPERATOR(pg_catalog.=) ANY ('{refund,dispute,dispute_won}'::pg_catalog.text[])), 0)::pg_catalog.int8,
			pg_catalog.sum(l.tax), pg_catalog.sum(l.shipping), pg_catalog.sum(l.fee)
		FROM biolink.ledger AS l
		JOIN biolink.order_ref AS r ON r.creator_id OPERATOR(pg_catalog.=) l.creator_id AND r.ref OPERATOR(pg_catalog.=) l.order_id
		JOIN biolink.order_ref AS s ON s.creator_id OPERATOR(pg_catalog.=) r.creator_id AND s.ref OPERATOR(pg_catalog.=) r.order_id
		LEFT JOIN biolink.ledger AS b ON b.creator_id OPERATOR(pg_catalog.=) s.creator_id AND b.entry_id OPERATOR(pg_catalog.=) s.event_id
			AND b.kind OPERATOR(pg_catalog.=) 'order'
		WHERE NOT EXISTS (SELECT FROM biolink.conversion AS c
			WHERE c.creator_id OPERATOR(pg_catalog.=) r.creator_id AND c.order_id OPERATOR(pg_catalog.=) r.order_id
				AND c.currency OPERATOR(pg_catalog.=) l.currency AND c.is_test OPERATOR(pg_catalog.=) l.is_test)
		GROUP BY l.creator_id, r.order_id, l.currency, l.is_test, s.event_id, b.currency, b.is_test
	) AS u
	LEFT JOIN biolink.creator AS o ON o.creator_id OPERATOR(pg_catalog.=) u.creator_id
	CROSS JOIN LATERAL (SELECT CASE WHEN o.settings OPERATOR(pg_catalog.->) 'revenue_excludes' IS NULL THEN u.booked ELSE GREATEST(0, u.booked
			OPERATOR(pg_catalog.-) CASE WHEN o.settings OPERATOR(pg_catalog.->) 'revenue_excludes' OPERATOR(pg_catalog.?) 'tax' THEN COALESCE(u.tax, 0) ELSE 0 END
			OPERATOR(pg_catalog.-) CASE WHEN o.settings OPERATOR(pg_catalog.->) 'revenue_excludes' OPERATOR(pg_catalog.?) 'shipping' THEN COALESCE(u.shipping, 0) ELSE 0 END
			OPERATOR(pg_catalog.-) CASE WHEN o.settings OPERATOR(pg_catalog.->) 'revenue_excludes' OPERATOR(pg_catalog.?) 'fee' THEN COALESCE(u.fee, 0) ELSE 0 END)
		END::pg_catalog.int8 AS gross OFFSET 0) AS g
	CROSS JOIN LATERAL (SELECT biolink.sale_refunds(u.booked, g.gross, u.taken_back) AS refunds OFFSET 0) AS s;
COMMENT ON VIEW biolink.conversion_money IS
	'Each conversion with its money from the ledger, tests included: gross (what was booked, less the parts that the creator''s setting revenue_excludes names), refunds (refunds and disputes less disputes won, in the same proportion: see biolink.sale_refunds()), net = gross - refunds, in minor units of currency; goals without money have 1000000 millionths of one conversion and no currency. Money of the ledger that is of no conversion yet has a row too, without touches; conversion_id is NULL where its order has not come.';

CREATE VIEW biolink.order_item WITH (security_invoker = true) AS
	SELECT c.creator_id, c.conversion_id, c.order_id, i.position::pg_catalog.int4 AS position,
		COALESCE((i.item OPERATOR(pg_catalog.->>) 'offer_id')::pg_catalog.int8,
			(s.product_map OPERATOR(pg_catalog.->>) (i.item OPERATOR(pg_catalog.->>) 'sku'))::pg_catalog.int8) AS offer_id,
		i.item OPERATOR(pg_catalog.->>) 'sku' AS sku, COALESCE((i.item OPERATOR(pg_catalog.->>) 'quantity')::pg_catalog.int8, 1) AS quantity,
		(i.item OPERATOR(pg_catalog.->>) 'amount')::pg_catalog.int8 AS amount, c.currency, c.converted_at, c.is_test
	FROM biolink.conversion AS c
	CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(c.items) WITH ORDINALITY AS i (item, position)
	LEFT JOIN biolink.source AS s ON s.creator_id OPERATOR(pg_catalog.=) c.creator_id AND s.source OPERATOR(pg_catalog.=) c.source;
COMMENT ON VIEW biolink.order_item IS
	'What was bought, an item a row, tests included. offer_id: as sent, else what the product_map of the conversion''s source says of sku, else NULL. quantity: 1 where it was not sent. amount: minor units of currency, as sent; the amounts of a conversion''s items need not add up to its money. Built by the job "attribute".';
GRANT SELECT ON biolink.order_item TO biolink_app, biolink_analyst, biolink_admin;

CREATE VIEW biolink.attribution WITH (security_invoker = true) AS
	SELECT c.creator_id, c.conversion_id, c.order_id, c.goal, m.model, p.tier, p.evidence, p.channel, p.medium, p.click_id,
		p.link_id, p.offer_id, p.platform, p.post_id, p.campaign_id, p.position, c.touches, p.touched_at, c.converted_at, c.currency,
		(s.weight OPERATOR(pg_catalog./) 1000000.0)::pg_catalog.numeric(7, 6) AS weight, s.credit, s.gross_credit,
		p.device, p.country, p.referrer_host, p.utm
	FROM biolink.conversion_money AS c
	JOIN biolink.creator AS r ON r.creator_id OPERATOR(pg_catalog.=) c.creator_id
	CROSS JOIN (VALUES ('first'), ('last'), ('last_non_direct'), ('linear'), ('position'), ('time_decay')) AS m (model)
	CROSS JOIN LATERAL (
		SELECT pg_catalog.array_agg(t.touched_at ORDER BY t.position) AS touched_at, pg_catalog.array_agg(t.is_direct ORDER BY t.position) AS direct,
			COALESCE((r.settings OPERATOR(pg_catalog.->>) 'half_life')::pg_catalog.interval, '7 days'::pg_catalog.interval) AS half_life
		FROM biolink.touch_path AS t
		WHERE t.creator_id OPERATOR(pg_catalog.=) c.creator_id AND t.conversion_id OPERATOR(pg_catalog.=) c.conversion_id
	) AS a
	CROSS JOIN LATERAL ROWS FROM (
		pg_catalog.unnest(biolink.credit(m.model, a.touched_at, c.converted_at, 1000000, a.half_life, NULL, a.direct)),
		pg_catalog.unnest(biolink.credit(m.model, a.touched_at, c.converted_at, GREATEST(c.net, 0), a.half_life, NULL, a.direct)),
		pg_catalog.unnest(biolink.credit(m.model, a.touched_at, c.converted_at, c.gross, a.half_life, NULL, a.direct))
	) WITH ORDINALITY AS s (weight, credit, gross_credit, position)
	JOIN biolink.touch_path AS p ON p.creator_id OPERATOR(pg_catalog.=) c.creator_id AND p.conversion_id OPERATOR(pg_catalog.=) c.conversion_id
		AND p.position OPERATOR(pg_catalog.=) s.position
	WHERE c.touches OPERATOR(pg_catalog.>) 0 AND NOT c.is_test;
COMMENT ON VIEW biolink.attribution IS
	'Credit of every touch under every model (first, last, last_non_direct, linear, position, time_decay), tests left out. Per conversion and model, credit adds up to the net revenue and gross_credit to the gross, in minor units of currency; what refunds took is gross_credit - credit. '
	'For goals without money currency is NULL and credit is in millionths of one conversion. weight is the touch''s part of one conversion. Filter by model: each row of another model is other credit for the same money.';

CREATE VIEW biolink.unattributed WITH (security_invoker = true) AS
	SELECT c.creator_id, c.conversion_id, c.order_id, c.currency, c.net AS amount,
		CASE WHEN c.net OPERATOR(pg_catalog.<) 0 THEN 'over_refunded' ELSE c.reason END AS reason
	FROM biolink.conversion_money AS c
	WHERE (c.touches OPERATOR(pg_catalog.=) 0 OR c.net OPERATOR(pg_catalog.<) 0) AND NOT c.is_test;
COMMENT ON VIEW biolink.unattributed IS
	'Money (minor units of currency; for goals, millionths of one conversion) that no touch earned, with the reason: no_touch, outside_lookback, consent, bad_token, bots_only, or over_refunded (negative: refunds beyond the gross). Under every model, credit of attribution + amount of unattributed = net revenue.';

GRANT SELECT ON biolink.conversion_money, biolink.attribution, biolink.unattributed TO biolink_app, biolink_analyst, biolink_admin;
