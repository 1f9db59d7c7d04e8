-- 30_events.sql: what happened: events, their keys, the ledger, what was parked; and the calls that write them.
--
-- All of this is append-only truth.  Money exists only as signed rows of the ledger; what an event's key did is decided once, in the
-- transaction that stores the event.

CREATE FUNCTION biolink.arrival() RETURNS pg_catalog.timestamptz
	LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1
	AS 'MODULE_PATHNAME', 'arrival';
COMMENT ON FUNCTION biolink.arrival() IS
	'Time of arrival of a row: the clock, read after the top transaction has its id. A reader that noted a time t and then took an id of its own has every row with an arrival before t, once pg_snapshot_xmin() has passed that id.';
GRANT EXECUTE ON FUNCTION biolink.arrival() TO biolink_app, biolink_admin;

CREATE TABLE biolink.event (
	creator_id pg_catalog.int8 NOT NULL,
	event_id pg_catalog.uuid NOT NULL,
	occurred_at pg_catalog.timestamptz NOT NULL,
	received_at pg_catalog.timestamptz NOT NULL DEFAULT biolink.arrival(),
	visitor biolink.idhash,
	day_visitor biolink.idhash,
	visit_id pg_catalog.uuid,
	click_id pg_catalog.uuid,
	link_id pg_catalog.int8,
	campaign_id pg_catalog.int8,
	offer_id pg_catalog.int8,
	post_id pg_catalog.int8,
	agent_id pg_catalog.int8,
	referrer_id pg_catalog.int8,
	amount pg_catalog.int8,
	is_bot pg_catalog.bool NOT NULL DEFAULT false,
	is_test pg_catalog.bool NOT NULL DEFAULT false,
	merged pg_catalog.bool NOT NULL DEFAULT false,
	measurement_denied pg_catalog.bool NOT NULL DEFAULT false,
	kind pg_catalog.text NOT NULL,
	source pg_catalog.text NOT NULL,
	bot_reason pg_catalog.text,
	evidence pg_catalog.text,
	token_reason pg_catalog.text,
	channel pg_catalog.text,
	channel_evidence pg_catalog.text,
	medium pg_catalog.text,
	platform pg_catalog.text,
	device pg_catalog.text,
	os pg_catalog.text,
	browser pg_catalog.text,
	app pg_catalog.text,
	country pg_catalog.text,
	region pg_catalog.text,
	city pg_catalog.text,
	language pg_catalog.text,
	referrer_host pg_catalog.text,
	order_id pg_catalog.text,
	order_type pg_catalog.text,
	payment pg_catalog.text,
	goal pg_catalog.text,
	currency pg_catalog.text,
	utm pg_catalog.jsonb,
	context pg_catalog.jsonb,
	flags pg_catalog.text[],
	tax pg_catalog.int8,
	shipping pg_catalog.int8,
	fee pg_catalog.int8,
	subscription_id pg_catalog.text,
	codes pg_catalog.text[],
	items pg_catalog.jsonb
) PARTITION BY RANGE (occurred_at);
ALTER TABLE biolink.event OWNER TO biolink_owner;
COMMENT ON TABLE biolink.event IS 'Everything that happened, one row each, by month of occurred_at (UTC). Append-only. Analysts read performance() and the views rather than this.';
COMMENT ON COLUMN biolink.event.event_id IS 'UUIDv7 whose time is occurred_at, to the millisecond; the click_id of a click, the visit_id of a visit.';
COMMENT ON COLUMN biolink.event.occurred_at IS 'When it happened, as the sender says, by a clock that is right: see flags.';
COMMENT ON COLUMN biolink.event.received_at IS 'When it arrived here: biolink.arrival().';
COMMENT ON COLUMN biolink.event.visitor IS 'Hash of the first-party cookie when measurement is allowed, else of the event''s own id (that session alone).';
COMMENT ON COLUMN biolink.event.day_visitor IS 'Per-day hash of address and agent, to count visitors without a cookie; NULL where there is a cookie, where measurement is denied and where no address was sent. The address itself is not stored.';
COMMENT ON COLUMN biolink.event.visit_id IS 'Click: the visit of the bio page that it continues.';
COMMENT ON COLUMN biolink.event.click_id IS 'Order, refund or goal: the click or visit that a genuine token or a click id names.';
COMMENT ON COLUMN biolink.event.agent_id IS 'User agent: text_id of biolink.repeated_text.';
COMMENT ON COLUMN biolink.event.referrer_id IS 'Referrer: text_id of biolink.repeated_text.';
COMMENT ON COLUMN biolink.event.amount IS 'Minor units of currency, never negative; what it does to the books is in biolink.ledger.';
COMMENT ON COLUMN biolink.event.merged IS 'An order that was known already under another key, or a revision that came after a higher one: its evidence counts, its money does not.';
COMMENT ON COLUMN biolink.event.order_id IS 'As sent; by which order_id its sale goes is in biolink.order_ref.';
COMMENT ON COLUMN biolink.event.tax IS 'Part of amount, as sent, as are shipping and fee (what the provider keeps): see the setting revenue_excludes of creator.';
COMMENT ON COLUMN biolink.event.items IS 'What was bought: array of {offer_id | sku, quantity, amount}; to be read through biolink.order_item.';
COMMENT ON COLUMN biolink.event.codes IS 'Discount codes that were used, as sent.';
COMMENT ON COLUMN biolink.event.source IS 'Who says so: as sent to track(); biolink:visit and biolink:click for open_page() and click().';
COMMENT ON COLUMN biolink.event.evidence IS 'How click_id was found: token or click_id; for a click how its visit was found: token or visitor.';
COMMENT ON COLUMN biolink.event.token_reason IS 'Why a token that came with it did not hold or was not used: malformed, unknown_key, revoked_key, bad_signature, expired, other_creator, malformed_click_id, disagreement.';
COMMENT ON COLUMN biolink.event.channel_evidence IS 'What the channel was read from: utm_source, platform, click_id, app, referrer, visit or direct.';
COMMENT ON COLUMN biolink.event.utm IS 'UTM parameters and platforms'' click ids of the URL as requested.';
COMMENT ON COLUMN biolink.event.context IS 'Keys of the request or event that biolink has no column for; texts that look like an email address or phone number are masked.';
COMMENT ON COLUMN biolink.event.flags IS 'What is to be known of it: skew_corrected (sent_at showed that the sender''s clock was wrong by more than the creator''s clock_skew: occurred_at was moved by as much), clamped (it claimed to be from the future: it happened when it arrived), the time it claimed is context.claimed_at; unknown_link, unknown_offer (the creator has none of that id); refs_differ (an unpaid order whose references name sales of different money: they were not joined), parts_differ (an order that states another tax, shipping or fee than its sale: the first statement holds); '
	'malformed_refs, malformed_codes, malformed_identifiers (none of them was used), malformed_items (those that are none were left out).';
ALTER TABLE biolink.event ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION biolink.prepare_event_leaf(leaf pg_catalog.regclass) RETURNS pg_catalog.void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	name text := (SELECT c.relname FROM pg_class AS c WHERE c.oid = leaf);
BEGIN
	EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I PRIMARY KEY (creator_id, event_id)', leaf, name || '_pkey');
	EXECUTE format('CREATE INDEX %I ON %s (creator_id, visitor, occurred_at) WHERE visitor IS NOT NULL', name || '_visitor_idx', leaf);
	EXECUTE format('CREATE INDEX %I ON %s (creator_id, order_id) WHERE order_id IS NOT NULL', name || '_order_idx', leaf);
	EXECUTE format('CREATE INDEX %I ON %s USING brin (received_at) WITH (autosummarize = on)', name || '_received_idx', leaf);
END
$$;
COMMENT ON FUNCTION biolink.prepare_event_leaf(pg_catalog.regclass) IS 'Gives a partition of biolink.event its key and indexes: the one place where they are defined.';

CREATE TABLE biolink.event_default PARTITION OF biolink.event DEFAULT;
ALTER TABLE biolink.event_default OWNER TO biolink_owner;
COMMENT ON TABLE biolink.event_default IS 'Events of months that have no partition; the job "maintain" moves them into one.';
SELECT biolink.prepare_event_leaf('biolink.event_default');
-- a partition is reached through its parent; should anything ever be granted on one, it shows no row
ALTER TABLE biolink.event_default ENABLE ROW LEVEL SECURITY;

CREATE TABLE biolink.repeated_text (
	creator_id pg_catalog.int8 NOT NULL,
	text_id pg_catalog.int8 NOT NULL,
	event_id pg_catalog.uuid NOT NULL,
	value pg_catalog.text NOT NULL,
	PRIMARY KEY (creator_id, text_id, event_id)
);
ALTER TABLE biolink.repeated_text OWNER TO biolink_owner;
COMMENT ON TABLE biolink.repeated_text IS 'Texts that many events share (user agents, referrers), stored by the event that first brought them. Two sessions may both be first: such rows say the same, and nobody had to wait.';
COMMENT ON COLUMN biolink.repeated_text.text_id IS 'First 8 bytes of the BLAKE2b-256 hash of value, as a signed big-endian number.';

CREATE TABLE biolink.event_key (
	creator_id pg_catalog.int8 NOT NULL,
	source pg_catalog.text NOT NULL,
	key pg_catalog.text NOT NULL,
	event_id pg_catalog.uuid NOT NULL,
	kind pg_catalog.text NOT NULL,
	revision pg_catalog.int8 NOT NULL DEFAULT 0,
	digest pg_catalog.bytea NOT NULL,
	received_at pg_catalog.timestamptz NOT NULL DEFAULT biolink.arrival(),
	PRIMARY KEY (creator_id, source, key)
);
ALTER TABLE biolink.event_key OWNER TO biolink_owner;
COMMENT ON TABLE biolink.event_key IS 'Idempotency keys: what each (creator, source, key) did. Written in the transaction of its effect; no time-to-live decides. Those of orders, refunds and disputes stay for ever, others as long as their events: see event_retention.';
COMMENT ON COLUMN biolink.event_key.key IS 'As sent, but for a key of more than 500 bytes or one that looks like an email address or phone number: of that only a keyed hash is stored, as "hash:" and 32 hexadecimal digits.';
COMMENT ON COLUMN biolink.event_key.digest IS 'Keyed digest of the event''s canonical text without sent_at; of a request, of the link it asked for.';
COMMENT ON COLUMN biolink.event_key.event_id IS 'The event it made; after a higher revision, still the first.';

CREATE TABLE biolink.event_parked (
	creator_id pg_catalog.int8 NOT NULL,
	parked_id pg_catalog.uuid NOT NULL,
	source pg_catalog.text NOT NULL,
	key pg_catalog.text NOT NULL,
	kind pg_catalog.text,
	reason pg_catalog.text NOT NULL,
	detail pg_catalog.text,
	event pg_catalog.jsonb NOT NULL,
	digest pg_catalog.bytea NOT NULL,
	sealed pg_catalog.bytea NOT NULL,
	replayed_at pg_catalog.timestamptz,
	replayed_as pg_catalog.uuid,
	received_at pg_catalog.timestamptz NOT NULL DEFAULT biolink.arrival(),
	PRIMARY KEY (creator_id, parked_id),
	UNIQUE (creator_id, source, key, digest)
);
ALTER TABLE biolink.event_parked OWNER TO biolink_owner;
COMMENT ON TABLE biolink.event_parked IS 'What could not be taken as it came, with the reason: nothing is lost. The same content is parked once.';
COMMENT ON COLUMN biolink.event_parked.reason IS 'key_reused, order_differs, test_differs, currency_mismatch, too_old (it happened before event_retention.dropped_until); rejected (track_batch() could not take it at all: detail says why); or what the caller of park_event() said.';
COMMENT ON COLUMN biolink.event_parked.event IS 'The event as it came, to be read: identifiers, visitor, ip and headers left out, however deep, texts that look like an email address or phone number masked. JSON null for what is no JSON that can be stored: it is only in sealed.';
COMMENT ON COLUMN biolink.event_parked.sealed IS 'The event as it came, to be replayed: sealed under a key derived for this creator.';
COMMENT ON COLUMN biolink.event_parked.replayed_at IS 'When replay_parked() had it taken; replayed_as: as which event.';

CREATE TABLE biolink.order_ref (
	creator_id pg_catalog.int8 NOT NULL,
	ref pg_catalog.text NOT NULL,
	order_id pg_catalog.text NOT NULL,
	event_id pg_catalog.uuid,
	received_at pg_catalog.timestamptz NOT NULL DEFAULT biolink.arrival(),
	PRIMARY KEY (creator_id, ref),
	CHECK (event_id IS NULL OR ref OPERATOR(pg_catalog.=) order_id)
);
ALTER TABLE biolink.order_ref OWNER TO biolink_owner;
CREATE INDEX order_ref_order_id_idx ON biolink.order_ref (creator_id, order_id);
COMMENT ON TABLE biolink.order_ref IS 'Which sale a reference means: what makes one conversion of one sale, under whatever keys, by whatever references and from whatever sources it comes.';
COMMENT ON COLUMN biolink.order_ref.ref IS 'An order_id or one of order_refs of an order, refund or dispute.';
COMMENT ON COLUMN biolink.order_ref.order_id IS 'By which order_id the sale goes: that of its first paid order. References that turn out to name one sale are joined, and never parted.';
COMMENT ON COLUMN biolink.order_ref.event_id IS 'The first paid order event of the sale: the conversion_id. Only where ref is order_id; NULL as long as nothing was paid.';

CREATE TABLE biolink.ledger (
	creator_id pg_catalog.int8 NOT NULL,
	entry_id pg_catalog.uuid NOT NULL,
	event_id pg_catalog.uuid NOT NULL,
	order_id pg_catalog.text NOT NULL,
	kind pg_catalog.text NOT NULL CHECK (kind OPERATOR(pg_catalog.=) ANY ('{order,revision,detail,merged,refund,dispute,dispute_won}'::pg_catalog.text[])),
	amount pg_catalog.int8 NOT NULL,
	tax pg_catalog.int8,
	shipping pg_catalog.int8,
	fee pg_catalog.int8,
	currency pg_catalog.text NOT NULL CHECK (currency OPERATOR(pg_catalog.~) '^[A-Z]{3}$'),
	occurred_at pg_catalog.timestamptz NOT NULL,
	received_at pg_catalog.timestamptz NOT NULL DEFAULT biolink.arrival(),
	is_test pg_catalog.bool NOT NULL DEFAULT false,
	PRIMARY KEY (creator_id, entry_id),
	CHECK ((entry_id OPERATOR(pg_catalog.=) event_id) OPERATOR(pg_catalog.=) (kind OPERATOR(pg_catalog.<>) ALL ('{detail,merged}'::pg_catalog.text[]))),
	CHECK (CASE kind
		WHEN 'order' THEN amount OPERATOR(pg_catalog.>=) 0
		WHEN 'detail' THEN amount OPERATOR(pg_catalog.=) 0
		WHEN 'merged' THEN amount OPERATOR(pg_catalog.<=) 0
		WHEN 'refund' THEN amount OPERATOR(pg_catalog.<) 0
		WHEN 'dispute' THEN amount OPERATOR(pg_catalog.<) 0
		WHEN 'dispute_won' THEN amount OPERATOR(pg_catalog.>) 0
		ELSE true END)
);
ALTER TABLE biolink.ledger OWNER TO biolink_owner;
CREATE INDEX ledger_order_id_idx ON biolink.ledger (creator_id, order_id);
COMMENT ON TABLE biolink.ledger IS 'Money: signed minor units, one row for each event that moved some. Nothing else is money.';
COMMENT ON COLUMN biolink.ledger.entry_id IS 'That of the event, so that an event moves money once; one of its own for what an event says of other sales (kinds detail and merged).';
COMMENT ON COLUMN biolink.ledger.order_id IS 'As the event has it; by which order_id its sale goes is in biolink.order_ref.';
COMMENT ON COLUMN biolink.ledger.kind IS 'order (+), revision (new less old amount), refund (-), dispute (-), dispute_won (+); merged: what was booked under order_id, taken out (-), since event_id showed that it is the same sale as another; detail (0): tax, shipping or fee that another order of the same sale stated.';
COMMENT ON COLUMN biolink.ledger.tax IS 'What amount is made of, as are shipping and fee; NULL where nothing was stated. Their sums over the rows of a sale are what was stated of it.';

CREATE TABLE biolink.attribution_queue (
	creator_id pg_catalog.int8 NOT NULL,
	queue_id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY,
	conversion_id pg_catalog.uuid NOT NULL,
	reason pg_catalog.text NOT NULL,
	attempts pg_catalog.int4 NOT NULL DEFAULT 0,
	retry_at pg_catalog.timestamptz,
	error pg_catalog.text,
	PRIMARY KEY (creator_id, queue_id)
);
ALTER TABLE biolink.attribution_queue OWNER TO biolink_owner;
COMMENT ON TABLE biolink.attribution_queue IS 'Conversions whose path has to be built: appended to by track() and by the fold of late touches, emptied by the job "attribute".';
COMMENT ON COLUMN biolink.attribution_queue.reason IS 'arrived, merged, updated, evidence (another event that names the sale) or late_touch.';
COMMENT ON COLUMN biolink.attribution_queue.attempts IS 'How often building it failed; retry_at: not before this time again; error: SQLSTATE and message of the last time.';

DO $$
DECLARE
	name pg_catalog.text;
BEGIN
	FOREACH name IN ARRAY '{event,repeated_text,event_key,event_parked,order_ref,ledger,attribution_queue}'::pg_catalog.text[] LOOP
		EXECUTE pg_catalog.format('ALTER TABLE biolink.%I ENABLE ROW LEVEL SECURITY', name);
		EXECUTE pg_catalog.format('CREATE POLICY %I ON biolink.%I FOR SELECT TO biolink_app, biolink_admin USING (true)', name || '_app', name);
		EXECUTE pg_catalog.format('CREATE POLICY %I ON biolink.%I FOR SELECT TO biolink_analyst
			USING (creator_id OPERATOR(pg_catalog.=) ANY ((SELECT biolink.my_creators())::pg_catalog.int8[]))', name || '_analyst', name);
		EXECUTE pg_catalog.format('GRANT SELECT ON biolink.%I TO biolink_app, biolink_analyst, biolink_admin', name);
	END LOOP;
END
$$;

SELECT pg_catalog.pg_extension_config_dump('biolink.event_default', '');
SELECT pg_catalog.pg_extension_config_dump('biolink.repeated_text', '');
SELECT pg_catalog.pg_extension_config_dump('biolink.event_key', '');
SELECT pg_catalog.pg_extension_config_dump('biolink.event_parked', '');
SELECT pg_catalog.pg_extension_config_dump('biolink.order_ref', '');
SELECT pg_catalog.pg_extension_config_dump('biolink.ledger', '');
SELECT pg_catalog.pg_extension_config_dump('biolink.attribution_queue', '');
SELECT pg_catalog.pg_extension_config_dump('biolink.attribution_queue_queue_id_seq', '');

-- Named row types rather than OUT columns: the executor has their shape at hand and need not build it for every call.
CREATE TYPE biolink.page_answer AS (visit_id pg_catalog.uuid, token biolink.token, visitor biolink.idhash, decision_id pg_catalog.uuid,
	offers pg_catalog.jsonb, is_bot pg_catalog.bool, reason pg_catalog.text);
COMMENT ON TYPE biolink.page_answer IS 'What biolink.open_page() answers.';
CREATE TYPE biolink.click_answer AS (status pg_catalog.text, click_id pg_catalog.uuid, visitor biolink.idhash, token biolink.token,
	redirect_url pg_catalog.text, offer_id pg_catalog.int8, route pg_catalog.text, is_bot pg_catalog.bool, reason pg_catalog.text);
COMMENT ON TYPE biolink.click_answer IS 'What biolink.click() answers.';
CREATE TYPE biolink.track_answer AS (status pg_catalog.text, event_id pg_catalog.uuid, detail pg_catalog.text);
COMMENT ON TYPE biolink.track_answer IS 'What biolink.track() answers.';

CREATE FUNCTION biolink.open_page(creator_id pg_catalog.int8, request pg_catalog.jsonb, max_offers pg_catalog.int4 DEFAULT 10) RETURNS biolink.page_answer
	LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
	AS 'MODULE_PATHNAME', 'open_page';
COMMENT ON FUNCTION biolink.open_page(pg_catalog.int8, pg_catalog.jsonb, pg_catalog.int4) IS
	'One view of a bio page: stores the visit, gives a session token and the offers to show. Call as SELECT * FROM biolink.open_page(...): (biolink.open_page(...)).* would store one visit per column. '
	'request: JSON object {user_agent, url, referrer, headers {}, ip, country, language, platform, post, visitor, campaign, consent {measurement}, test, key, occurred_at ...}; unknown keys go to event.context. '
	'offers: array of {rank, offer_id, name, price, currency, link, url, propensity}, in sort_order. A key seen before gives the first visit_id and stores nothing. '
	'reason: NULL, duplicate, unknown_creator or too_old (from before what is kept; nothing is stored), or why is_bot is true. To keep a visitor without a cookie, set the first-party cookie to visit_id. '
	'Errors: 22023 for a wrong type or value, naming the key; 55000 for key trouble.';

CREATE FUNCTION biolink.click(creator_id pg_catalog.int8, link pg_catalog.text, request pg_catalog.jsonb) RETURNS biolink.click_answer
	LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
	AS 'MODULE_PATHNAME', 'click';
COMMENT ON FUNCTION biolink.click(pg_catalog.int8, pg_catalog.text, pg_catalog.jsonb) IS
	'One click on a link, found by slug: stores the event, gives a redirect token and the URL to send the visitor to. Call as SELECT * FROM biolink.click(...): (biolink.click(...)).* would click once per column. '
	'status: ok; duplicate (the request''s key was seen before: first click_id, a fresh token, nothing stored); refused (reason unknown_creator, unknown_link, inactive_link, or too_old: an import from before what is kept; nothing stored, redirect_url NULL). '
	'redirect_url: the link''s URL, plus the request''s parameters that it lacks, plus the link''s UTM, plus the token; the link''s fragment, else the request''s. '
	'Bots, HEAD requests and prefetches (is_bot, reason says why) get a URL without a token. request: as for open_page, plus token and method. '
	'route: which rule of the link chose the URL; "default" is the link''s own URL. '
	'Errors: 22023 for a wrong type or value, naming the key; 55000 for key trouble.';

CREATE FUNCTION biolink.track(creator_id pg_catalog.int8, event pg_catalog.jsonb) RETURNS biolink.track_answer
	LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
	AS 'MODULE_PATHNAME', 'track';
COMMENT ON FUNCTION biolink.track(pg_catalog.int8, pg_catalog.jsonb) IS
	'Takes a lead, order, refund, dispute, custom event, or a visit or click that was seen elsewhere, exactly once by (creator, source, key). Call as SELECT * FROM biolink.track(...). '
	'status: inserted; duplicate (same key, same content: the first event_id); merged (an order known under another key or reference, same money: evidence added, money not); '
	'updated (an order''s key with a higher revision: the ledger gets the difference; with a lower one that was not seen before: it is recorded, nothing else); conflict (same key, other content, or same sale, other money, or another currency, or from before what is kept, too_old: parked, detail says why, event_id is the parked_id). '
	'event: JSON object {kind*, source*, key*, occurred_at, sent_at, revision, token, click_id, visitor, url, order_id, order_refs [], order_type, subscription_id, payment, amount, tax, shipping, fee, currency, items [], codes [], identifiers [], offer_id, link_id, goal, test, consent {}, context {}}; amounts are whole minor units. '
	'An order needs order_id, amount, currency; a refund, dispute and dispute_won need order_id and a positive amount, and a currency where the order is not known yet. order_refs are other names of the same sale, never what several sales share. '
	'A visit or click that was seen elsewhere is judged as open_page() and click() judge requests: the event has the keys of a request too (user_agent, method, referrer, headers, ip, country, region, city, language, platform, post, caption, campaign) and link, the slug. '
	'A bad token, malformed references, items, codes or identifiers never cost the order: they are recorded with their reason. '
	'Errors: 22023 for what cannot be taken at all, naming the key; 55000 for key trouble.';

CREATE FUNCTION biolink.track_batch(creator_id pg_catalog.int8, events pg_catalog.json)
	RETURNS TABLE (ordinal pg_catalog.int4, status pg_catalog.text, event_id pg_catalog.uuid, detail pg_catalog.text)
	LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 100
	AS 'MODULE_PATHNAME', 'track_batch';
COMMENT ON FUNCTION biolink.track_batch(pg_catalog.int8, pg_catalog.json) IS
	'Takes an array of events as biolink.track() takes each of them, in one transaction: one row per event, ordinal from 1, in order. Of events with one key the first wins. '
	'status as of track(), and rejected: an event that cannot be taken is parked, detail says why, event_id is its parked_id; the others are taken all the same. '
	'Errors: 22023 for an unknown creator or what is no array; 55000 for key trouble; 40001 and 40P01 to be tried again.';

CREATE FUNCTION biolink.park_event(creator_id pg_catalog.int8, source pg_catalog.text, key pg_catalog.text, reason pg_catalog.text, event pg_catalog.jsonb,
		OUT status pg_catalog.text, OUT parked_id pg_catalog.uuid)
	LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
	AS 'MODULE_PATHNAME', 'park_event';
COMMENT ON FUNCTION biolink.park_event(pg_catalog.int8, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb) IS
	'Keeps something that is no event, such as a heartbeat line of a click log, with the reason, so that nothing that came in is lost. status parked, or duplicate when the same content under the same key is parked already (then its parked_id). '
	'Errors: 22023 for an empty source, key or reason; 55000 for key trouble.';

CREATE FUNCTION biolink.track_again(creator_id pg_catalog.int8, event pg_catalog.jsonb, arrived_at pg_catalog.timestamptz) RETURNS biolink.track_answer
	LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
	AS 'MODULE_PATHNAME', 'track_again';
COMMENT ON FUNCTION biolink.track_again(pg_catalog.int8, pg_catalog.jsonb, pg_catalog.timestamptz) IS
	'Part of replay_parked(): biolink.track() of an event that arrived before. When it happened, and what sent_at says of the sender''s clock, is judged as of then. Errors: as track().';

CREATE FUNCTION biolink.replay_parked(creator_id pg_catalog.int8, reason pg_catalog.text DEFAULT NULL, parked_id pg_catalog.uuid DEFAULT NULL, max_events pg_catalog.int4 DEFAULT 1000, after_id pg_catalog.uuid DEFAULT NULL)
	RETURNS TABLE (replayed_id pg_catalog.uuid, status pg_catalog.text, event_id pg_catalog.uuid, detail pg_catalog.text)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 100000 ROWS 100
	SET search_path = pg_catalog, pg_temp
	AS $$
#variable_conflict use_column
DECLARE
	parked record;
	answer record;
	original text;
BEGIN
	IF replay_parked.creator_id IS NULL THEN
		RAISE EXCEPTION 'argument "creator_id" must not be null' USING ERRCODE = 'invalid_parameter_value';
	ELSIF max_events < 0 THEN
		RAISE EXCEPTION 'argument "max_events" must not be negative' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	FOR parked IN
		SELECT p.parked_id, p.sealed, p.received_at FROM biolink.event_parked AS p
			WHERE p.creator_id = replay_parked.creator_id AND p.replayed_at IS NULL
				AND (replay_parked.reason IS NULL OR p.reason = replay_parked.reason)
				AND (replay_parked.parked_id IS NULL OR p.parked_id = replay_parked.parked_id)
				AND (after_id IS NULL OR (p.received_at, p.parked_id) > (SELECT a.received_at, a.parked_id FROM biolink.event_parked AS a
					WHERE a.creator_id = replay_parked.creator_id AND a.parked_id = after_id))
			ORDER BY p.received_at, p.parked_id
			LIMIT max_events
			FOR UPDATE SKIP LOCKED
	LOOP
		original := biolink.open_sealed(replay_parked.creator_id, 'event_parked', parked.sealed);
		replayed_id := parked.parked_id;
		event_id := NULL;
		IF original IS NULL THEN
			status := 'rejected';
			detail := 'the key it is sealed under is gone';
		ELSE
			BEGIN
				SELECT t.status, t.event_id, t.detail INTO answer FROM biolink.track_again(replay_parked.creator_id, original::jsonb, parked.received_at) AS t;
				status := answer.status;
				event_id := answer.event_id;
				detail := answer.detail;
				IF status <> 'conflict' THEN
					UPDATE biolink.event_parked AS p SET replayed_at = clock_timestamp(), replayed_as = answer.event_id
						WHERE p.creator_id = replay_parked.creator_id AND p.parked_id = parked.parked_id;
				END IF;
			EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
				status := 'rejected';
				detail := SQLERRM;
			END;
		END IF;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION biolink.replay_parked(pg_catalog.int8, pg_catalog.text, pg_catalog.uuid, pg_catalog.int4, pg_catalog.uuid) IS
	'Hands parked events to track() again, as they came, oldest first: all that were not replayed yet, or those parked for a reason, or one; max_events at a time (NULL: all). What cannot be taken stays, so go on after the last replayed_id: after_id. All orders of a call wait for each other until its transaction ends. They happened when they would have happened had they been taken at once, whatever the time is by now. One row each: the answer of track(), or rejected with the reason. What is taken is marked (replayed_at, replayed_as) and not replayed again; what conflicts or is rejected stays. '
	'Errors: 22023 for a creator that is NULL and a negative max_events; 55000 for key trouble.';
ALTER FUNCTION biolink.replay_parked(pg_catalog.int8, pg_catalog.text, pg_catalog.uuid, pg_catalog.int4, pg_catalog.uuid) OWNER TO biolink_owner;
GRANT EXECUTE ON FUNCTION biolink.replay_parked(pg_catalog.int8, pg_catalog.text, pg_catalog.uuid, pg_catalog.int4, pg_catalog.uuid) TO biolink_app, biolink_admin;

CREATE FUNCTION biolink.mask_identifiers(value pg_catalog.jsonb) RETURNS pg_catalog.jsonb
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 50
	AS 'MODULE_PATHNAME', 'mask_identifiers';
COMMENT ON FUNCTION biolink.mask_identifiers(pg_catalog.jsonb) IS
	'The same JSON with every text, and every key of an object, that holds something like an email address or a phone number masked as "[email]" or "[phone]".';

GRANT EXECUTE ON FUNCTION biolink.open_page(pg_catalog.int8, pg_catalog.jsonb, pg_catalog.int4),
	biolink.click(pg_catalog.int8, pg_catalog.text, pg_catalog.jsonb),
	biolink.track_batch(pg_catalog.int8, pg_catalog.json), biolink.track(pg_catalog.int8, pg_catalog.jsonb),
	biolink.park_event(pg_catalog.int8, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb) TO biolink_app;
GRANT EXECUTE ON FUNCTION biolink.mask_identifiers(pg_catalog.jsonb) TO biolink_app, biolink_analyst, biolink_admin;
