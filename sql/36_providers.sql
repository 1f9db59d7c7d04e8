-- 36_providers.sql: what payment providers send, as events for track().
--
-- Pure functions; they read no table.  Invariants:
--   A fact has one key, whichever message tells it, and an event under a key is built from what does not change between these messages:
--   sent again, or told by another message, it is a duplicate.
--   One payment has one order_id, which every message that carries its money knows: a message that does not know it carries no money.
--   Money that was taken and came back (a refund that failed, a dispute won) is told by two events, so that the order of arrival is of no
--   account.
--   Letters are those of ASCII, whatever the database's locale makes of them: upper() and lower() go by "C".
--   No backslash stands in a body: what it means in a string depends on the caller's standard_conforming_strings.

-- ---- money and time ---------------------------------------------------------

CREATE FUNCTION biolink.currency_digits(currency pg_catalog.text) RETURNS pg_catalog.int4
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 10
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	code CONSTANT text := upper(currency COLLATE "C");
BEGIN
	RETURN CASE
		WHEN code IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0
		WHEN code IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
		WHEN code IN ('CLF', 'UYW') THEN 4
		WHEN code ~ '^X' AND code NOT IN ('XAD', 'XCD', 'XCG') THEN NULL
		WHEN currency ~ '^[A-Za-z]{3}$' THEN 2 END;
END
$$;
COMMENT ON FUNCTION biolink.currency_digits(pg_catalog.text) IS
	'Decimal digits of a currency''s minor unit by ISO 4217: 2 (EUR), 0 (JPY, KRW, ISK, UGX ...), 3 (KWD, BHD, TND ...) or 4 (CLF, UYW); letters in any case. '
	'NULL for what is no code of three letters and for codes without a minor unit (gold, test codes). Payment providers count some differently: from_stripe() knows those. Raises no error.';

CREATE FUNCTION biolink.try_minor_units(amount pg_catalog.text, currency pg_catalog.text) RETURNS pg_catalog.int8
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 50
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	value numeric;
BEGIN
	IF amount ~ '^-?[0-9]{1,20}([.][0-9]{1,20})?$' THEN
		value := amount::numeric * 10::numeric ^ biolink.currency_digits(currency);
		IF value = trunc(value) AND abs(value) <= 9007199254740991 THEN
			RETURN value::int8;
		END IF;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION biolink.try_minor_units(pg_catalog.text, pg_catalog.text) IS
	'As minor_units(), but NULL where that raises an error.';

CREATE FUNCTION biolink.minor_units(amount pg_catalog.text, currency pg_catalog.text) RETURNS pg_catalog.int8
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 60
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	units CONSTANT int8 := biolink.try_minor_units(amount, currency);
BEGIN
	IF units IS NULL THEN
		RAISE EXCEPTION 'amount is no exact amount of its currency'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('It is "%s" in currency "%s", which has %s decimal digits.', left(amount, 40), left(currency, 20), COALESCE(biolink.currency_digits(currency)::text, 'no')),
				HINT = 'An amount is a decimal number below 2^53 minor units, a currency an ISO 4217 code.';
	END IF;
	RETURN units;
END
$$;
COMMENT ON FUNCTION biolink.minor_units(pg_catalog.text, pg_catalog.text) IS
	'A decimal amount in minor units of its currency, exactly: (''409.94'', ''USD'') is 40994, (''5000'', ''JPY'') and (''5000.00'', ''JPY'') are 5000, (''1.234'', ''KWD'') is 1234. '
	'Errors: 22023 where amount is no decimal number, has more digits than the currency or is beyond 2^53-1, and for a currency that currency_digits() does not know.';

CREATE FUNCTION biolink.utc_time(milliseconds pg_catalog.int8) RETURNS pg_catalog.text
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 10
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	-- to_char() is declared stable for the names of months and days, of which these patterns have none
	RETURN CASE WHEN milliseconds BETWEEN 0 AND 253402300799999 THEN
		to_char('1970-01-01'::timestamp + milliseconds * '1 millisecond'::interval,
			CASE milliseconds % 1000 WHEN 0 THEN 'YYYY-MM-DD"T"HH24:MI:SS"Z"' ELSE 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"' END) END;
END
$$;
COMMENT ON FUNCTION biolink.utc_time(pg_catalog.int8) IS
	'RFC 3339 text, in UTC, of a time in Unix milliseconds: 1700000000000 is 2023-11-14T22:13:20Z. NULL before 1970 and beyond the year 9999. Raises no error.';

CREATE FUNCTION biolink.unix_milliseconds(value pg_catalog.text) RETURNS pg_catalog.int8
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 50
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	-- a cast to timestamptz would depend on settings and raise errors of other classes
	part CONSTANT text[] := regexp_match(value,
		'^([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.]([0-9]{1,9}))?(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2}))$');
	first_of_month date;
BEGIN
	IF part IS NULL OR part[1] = '0000' OR part[2]::int4 NOT BETWEEN 1 AND 12
		OR part[4]::int4 > 23 OR part[5]::int4 > 59 OR part[6]::int4 > 60 OR part[9]::int4 > 15 OR part[10]::int4 > 59
	THEN
		RETURN NULL;
	END IF;
	first_of_month := make_date(part[1]::int4, part[2]::int4, 1);
	IF part[3]::int4 NOT BETWEEN 1 AND (first_of_month + '1 month'::interval)::date - first_of_month THEN
		RETURN NULL;
	END IF;
	RETURN ((first_of_month - '1970-01-01'::date + part[3]::int4 - 1)::int8 * 86400
			+ part[4]::int4 * 3600 + part[5]::int4 * 60 + part[6]::int4
			- COALESCE((part[8] || '1')::int4 * (part[9]::int4 * 3600 + part[10]::int4 * 60), 0)) * 1000
		+ left(rpad(COALESCE(part[7], ''), 3, '0'), 3)::int4;
END
$$;
COMMENT ON FUNCTION biolink.unix_milliseconds(pg_catalog.text) IS
	'Unix milliseconds of an RFC 3339 time with Z or an offset, cut after the millisecond; the inverse of utc_time(). NULL for any other text, one without an offset included. Raises no error.';

-- ---- lists and evidence -----------------------------------------------------

CREATE FUNCTION biolink.json_elements(value pg_catalog.jsonb) RETURNS pg_catalog.jsonb
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 5
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	RETURN CASE jsonb_typeof(value) WHEN 'array' THEN value ELSE '[]' END;
END
$$;
COMMENT ON FUNCTION biolink.json_elements(pg_catalog.jsonb) IS 'The value where it is a JSON array, else an empty one: what a sender calls a list need not be there. Raises no error.';

CREATE FUNCTION biolink.text_list(VARIADIC items pg_catalog.text[]) RETURNS pg_catalog.jsonb
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 20
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	item text;
	found jsonb := '[]';
BEGIN
	FOREACH item IN ARRAY COALESCE(items, '{}') LOOP
		IF item <> '' AND NOT found ? item THEN
			found := found || to_jsonb(item);
		END IF;
	END LOOP;
	RETURN NULLIF(found, '[]');
END
$$;
COMMENT ON FUNCTION biolink.text_list(pg_catalog.text[]) IS
	'JSON array of the texts given, each once and in their order, without NULL and empty ones; NULL where none is left. Raises no error.';

CREATE FUNCTION biolink.identifier_list(VARIADIC pairs pg_catalog.text[]) RETURNS pg_catalog.jsonb
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 20
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	identifier jsonb;
	found jsonb := '[]';
BEGIN
	FOR place IN 1 .. COALESCE(cardinality(pairs), 0) - 1 BY 2 LOOP
		IF pairs[place + 1] <> '' THEN
			identifier := jsonb_build_array(jsonb_build_object('kind', pairs[place], 'value', pairs[place + 1]));
			IF NOT found @> identifier THEN
				found := found || identifier;
			END IF;
		END IF;
	END LOOP;
	RETURN NULLIF(found, '[]');
END
$$;
COMMENT ON FUNCTION biolink.identifier_list(pg_catalog.text[]) IS
	'The key "identifiers" of an event, of kinds and values in turn: (''email'', ''a@b.example'', ''phone'', NULL) is [{"kind": "email", "value": "a@b.example"}]. '
	'Each once and in their order, without NULL and empty values; NULL where none is left. Raises no error.';

CREATE FUNCTION biolink.provider_hints(pairs pg_catalog.jsonb, reference pg_catalog.text DEFAULT NULL) RETURNS pg_catalog.jsonb
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 50
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	our_id CONSTANT text := '^[0-9a-f]{8}-?[0-9a-f]{4}-?7[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$';
	named CONSTANT text := NULLIF(COALESCE(pairs ->> 'bl', pairs ->> '_bl', pairs ->> 'biolink', pairs ->> '_biolink'), '');
	click text := COALESCE(pairs ->> 'click_id', pairs ->> '_click_id', pairs ->> 'bl_click_id');
	token text;
	purpose text;
	consent jsonb := '{}';
BEGIN
	IF named ~* '^[0-9a-f-]{32,36}$' THEN
		click := named;
	ELSE
		token := named;
	END IF;
	-- others use that name too: only what has the form of ours is taken, unless it was called by ours
	IF click <> COALESCE(named, '') AND click !~* our_id THEN
		click := NULL;
	END IF;
	IF click IS NULL AND reference ~* our_id THEN
		click := reference;
	ELSIF token IS NULL
		AND reference ~ '^(E([0-9A-Za-z_-]{59}|[0-9A-Za-z_-]{75}|[0-9A-Za-z_-]{123}|[0-9A-Za-z_-]{139})|C([A-Z2-7]{71}|[A-Z2-7]{91}|[A-Z2-7]{148}|[A-Z2-7]{167}))$'
	THEN
		token := reference;
	END IF;
	FOREACH purpose IN ARRAY '{measurement,identity,personalization,export}'::text[] LOOP
		IF pairs ->> ('bl_' || purpose) IN ('granted', 'denied', 'pending') THEN
			consent := consent || jsonb_build_object(purpose, pairs ->> ('bl_' || purpose));
		END IF;
	END LOOP;
	RETURN jsonb_strip_nulls(jsonb_build_object('token', token, 'click_id', click, 'visitor', pairs ->> 'bl_visitor', 'consent', NULLIF(consent, '{}')));
END
$$;
COMMENT ON FUNCTION biolink.provider_hints(pg_catalog.jsonb, pg_catalog.text) IS
	'What a shop handed to its payment provider for biolink, as keys of an event: {"token", "click_id", "visitor", "consent"}, those that are there. '
	'pairs: names and values as in Stripe''s metadata: bl or biolink (the token or click id of the redirect), click_id (taken where it has the form of ours), bl_visitor (the first-party cookie), '
	'bl_measurement, bl_identity, bl_personalization, bl_export (granted, denied or pending); bl, biolink and click_id also with "_" before them. '
	'reference: a free text such as client_reference_id, taken where it has the form of a token or click id. Raises no error.';

-- ---- Stripe -----------------------------------------------------------------

CREATE FUNCTION biolink.stripe_id(value pg_catalog.jsonb) RETURNS pg_catalog.text
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 5
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	RETURN NULLIF(CASE jsonb_typeof(value) WHEN 'string' THEN value #>> '{}' WHEN 'object' THEN value ->> 'id' END, '');
END
$$;
COMMENT ON FUNCTION biolink.stripe_id(pg_catalog.jsonb) IS
	'The id that a field of a Stripe object names, expanded or not: "pi_1" and {"id": "pi_1", ...} are pi_1. NULL for anything else. Raises no error.';

CREATE FUNCTION biolink.stripe_milliseconds(value pg_catalog.jsonb) RETURNS pg_catalog.int8
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 5
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF jsonb_typeof(value) = 'number' THEN
		RETURN CASE WHEN value::numeric BETWEEN 1 AND 253402300799 THEN (value::numeric * 1000)::int8 END;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION biolink.stripe_milliseconds(pg_catalog.jsonb) IS
	'Unix milliseconds of a time in a Stripe object, which is in Unix seconds. NULL for anything else. Raises no error.';

CREATE FUNCTION biolink.stripe_amount(object pg_catalog.jsonb, key pg_catalog.text, required pg_catalog.bool DEFAULT false) RETURNS pg_catalog.int8
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 50
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	value CONSTANT jsonb := object -> key;
	currency CONSTANT text := upper((object ->> 'currency') COLLATE "C");
	amount numeric;
	wrong text;
BEGIN
	IF value IS NULL OR value = 'null' THEN
		wrong := 'key "%1$s" of the Stripe %2$s is missing';
	ELSIF jsonb_typeof(value) <> 'number' THEN
		wrong := 'key "%1$s" of the Stripe %2$s must be a whole number';
	ELSE
		amount := value::numeric;
		IF amount <> trunc(amount) OR abs(amount) > 9007199254740991 THEN
			wrong := 'key "%1$s" of the Stripe %2$s must be a whole number';
		ELSIF biolink.currency_digits(currency) IS NULL THEN
			wrong := 'key "currency" of the Stripe %2$s must be an ISO 4217 code';
		ELSIF currency IN ('ISK', 'UGX') THEN
			-- where Stripe's unit is not that of ISO 4217
			amount := amount / 100;
			IF amount <> trunc(amount) THEN
				wrong := 'key "%1$s" of the Stripe %2$s must be in hundredths of ' || currency;
			END IF;
		ELSIF currency = 'MGA' THEN
			amount := amount * 100;
		END IF;
	END IF;
	IF wrong IS NULL THEN
		RETURN amount::int8;
	ELSIF NOT required THEN
		RETURN NULL;
	END IF;
	RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format(wrong, key, COALESCE(object ->> 'object', 'object')),
		DETAIL = format('Object "%s" has %s in currency %s.', left(object ->> 'id', 100), COALESCE(left(value::text, 40), 'none'), COALESCE(left((object -> 'currency')::text, 40), 'none'));
END
$$;
COMMENT ON FUNCTION biolink.stripe_amount(pg_catalog.jsonb, pg_catalog.text, pg_catalog.bool) IS
	'The amount under a key of a Stripe object, in minor units by ISO 4217 of its "currency". Stripe''s unit is the same but for ISK and UGX, which have none and are sent in hundredths, and MGA, which has one and is sent whole. '
	'Amounts of three decimals (KWD) end in 0; HUF and TWD differ only in what may be paid out. NULL for what is missing or unusable and not required. '
	'Errors: 22023, naming key and object, for a required amount that is missing or no whole number, and a currency that is no ISO 4217 code.';

CREATE FUNCTION biolink.stripe_codes(object pg_catalog.jsonb) RETURNS pg_catalog.jsonb
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 20
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	discount jsonb;
	codes text[];
BEGIN
	FOR discount IN SELECT d.discount FROM jsonb_array_elements(biolink.json_elements(object -> 'discounts') || jsonb_build_array(object -> 'discount')) AS d (discount) LOOP
		codes := codes || COALESCE(discount #>> '{promotion_code,code}', biolink.stripe_id(discount -> 'promotion_code'),
			biolink.stripe_id(discount -> 'coupon'), biolink.stripe_id(discount #> '{source,coupon}'));
	END LOOP;
	RETURN biolink.text_list(VARIADIC codes);
END
$$;
COMMENT ON FUNCTION biolink.stripe_codes(pg_catalog.jsonb) IS
	'Part of from_stripe(): the key "codes" of an event, of the discounts of a checkout session or invoice: the promotion code as the customer typed it where it is expanded, else its id, else the coupon''s. NULL where there is none. Raises no error.';

CREATE FUNCTION biolink.stripe_refund(refund pg_catalog.jsonb, seen pg_catalog.jsonb, charge pg_catalog.jsonb DEFAULT NULL) RETURNS SETOF pg_catalog.jsonb
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 200 ROWS 1
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	id CONSTANT text := biolink.stripe_id(refund);
	charge_id CONSTANT text := COALESCE(biolink.stripe_id(refund -> 'charge'), biolink.stripe_id(charge));
	order_id CONSTANT text := COALESCE(biolink.stripe_id(refund -> 'payment_intent'), biolink.stripe_id(charge -> 'payment_intent'), charge_id);
	status CONSTANT text := COALESCE(refund ->> 'status', 'succeeded');
	money CONSTANT int8 := biolink.stripe_amount(refund, 'amount', true);
	of_charge CONSTANT jsonb := COALESCE(charge, refund -> 'charge');
	unmoved CONSTANT bool := status = 'succeeded' AND refund -> 'balance_transaction' = 'null';
	told jsonb;
BEGIN
	IF id IS NULL THEN
		RAISE EXCEPTION 'key "id" of the Stripe refund is missing' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	told := (seen - '{at,live}'::text[]) || jsonb_strip_nulls(jsonb_build_object(
		'kind', 'refund', 'key', id, 'order_id', order_id, 'order_refs', biolink.text_list(NULLIF(charge_id, order_id)),
		'occurred_at', biolink.utc_time(COALESCE(biolink.stripe_milliseconds(refund -> 'created'), CASE WHEN jsonb_typeof(seen -> 'at') = 'number' AND (seen -> 'at')::numeric BETWEEN 0 AND 253402300799999 THEN trunc((seen -> 'at')::numeric)::int8 END)),
		'amount', money, 'currency', upper((refund ->> 'currency') COLLATE "C")));

	-- What is left of an authorization when it lapses, is cancelled or is captured in part comes as a refund too.  It never was revenue.
	-- A charge tells; without it, that the balance did not move does.  Hand-made samples leave that null, so it counts in live mode only.
	IF refund ->> 'reason' = 'expired_uncaptured_charge'
		OR of_charge -> 'captured' = 'false'
		OR unmoved AND COALESCE(biolink.stripe_amount(of_charge, 'amount_captured') < biolink.stripe_amount(of_charge, 'amount'), seen -> 'live' = 'true')
	THEN
		RETURN NEXT told || '{"kind": "release"}';
	ELSIF order_id IS NULL THEN
		RETURN NEXT told || '{"kind": "unmatched_refund"}';
	ELSIF money > 0 THEN
		RETURN NEXT told;
		IF status IN ('failed', 'canceled') THEN
			RETURN NEXT told || jsonb_build_object('kind', 'dispute_won', 'key', id || ':failed', 'context', jsonb_build_object('reason', 'refund_failed'));
		END IF;
	END IF;
END
$$;
COMMENT ON FUNCTION biolink.stripe_refund(pg_catalog.jsonb, pg_catalog.jsonb, pg_catalog.jsonb) IS
	'Part of from_stripe(): the events of one Stripe refund. seen: what every event of the message has, and its time in Unix milliseconds as "at" and live mode as "live"; charge: the charge it was found in. Errors: 22023 as from_stripe().';

CREATE FUNCTION biolink.from_stripe(event pg_catalog.jsonb) RETURNS SETOF pg_catalog.jsonb
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000 ROWS 2
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	-- the message
	type text;
	name text;
	object jsonb;
	id text;
	at int8;			-- when Stripe made it, in Unix milliseconds
	seen jsonb;			-- what every event of it has
	-- what is told of a payment
	root text;			-- its payment intent, else its charge
	status text;
	money int8;
	refs jsonb;
	hints jsonb;
	told jsonb;
	part jsonb;
	priced jsonb;		-- the currency, for parts that do not name it
BEGIN
	IF event IS NULL OR jsonb_typeof(event) <> 'object' THEN
		RAISE EXCEPTION 'what Stripe sent must be a JSON object'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('It is %s.', COALESCE(jsonb_typeof(event), 'NULL'));
	END IF;

	IF event -> 'object' = '"list"' AND jsonb_typeof(event -> 'data') = 'array' THEN
		RETURN QUERY SELECT m.* FROM jsonb_array_elements(event -> 'data') AS l (element) CROSS JOIN LATERAL biolink.from_stripe(l.element) AS m;
		RETURN;
	ELSIF event -> 'object' = '"event"' OR NOT event ? 'object' THEN
		type := event ->> 'type';
		IF type IS NULL THEN
			RAISE EXCEPTION 'key "%" of what Stripe sent is missing', CASE WHEN event ? 'object' THEN 'type' ELSE 'object' END
				USING ERRCODE = 'invalid_parameter_value', DETAIL = 'An event has a type, an object of the API says in "object" what it is.';
		END IF;
		name := CASE
			WHEN type IN ('charge.succeeded', 'charge.captured', 'charge.pending', 'charge.failed', 'charge.expired', 'charge.refunded') THEN 'charge'
			WHEN type IN ('charge.dispute.created', 'charge.dispute.updated', 'charge.dispute.closed',
				'charge.dispute.funds_withdrawn', 'charge.dispute.funds_reinstated') THEN 'dispute'
			WHEN type IN ('refund.created', 'refund.updated', 'refund.failed', 'charge.refund.updated') THEN 'refund'
			WHEN type IN ('payment_intent.succeeded', 'payment_intent.processing', 'payment_intent.amount_capturable_updated',
				'payment_intent.payment_failed', 'payment_intent.canceled') THEN 'payment_intent'
			WHEN type IN ('checkout.session.completed', 'checkout.session.async_payment_succeeded', 'checkout.session.async_payment_failed') THEN 'checkout.session'
			WHEN type IN ('invoice.paid', 'invoice.payment_succeeded', 'invoice.payment_failed') THEN 'invoice'
			WHEN type = 'invoice_payment.paid' THEN 'invoice_payment'
			WHEN type IN ('payout.paid', 'payout.failed') THEN 'payout' END;
		IF name IS NULL THEN
			RETURN;
		END IF;
		object := event #> '{data,object}';
		IF object IS NULL OR jsonb_typeof(object) <> 'object' THEN
			RAISE EXCEPTION 'key "data.object" of the Stripe event must be an object'
				USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Its type is %s.', type);
		END IF;
		IF object ->> 'object' IS NULL THEN
			object := object || jsonb_build_object('object', name);
		END IF;
		at := biolink.stripe_milliseconds(event -> 'created');
	ELSE
		object := event;
	END IF;
	name := object ->> 'object';
	IF name NOT IN ('charge', 'payment_intent', 'checkout.session', 'invoice', 'invoice_payment', 'refund', 'dispute', 'payout', 'balance_transaction') THEN
		RETURN;
	END IF;
	id := biolink.stripe_id(object);
	IF id IS NULL THEN
		RAISE EXCEPTION 'key "id" of the Stripe % is missing', name USING ERRCODE = 'invalid_parameter_value';
	END IF;
	-- no sent_at: a message is sent again for days as it was made, and may be imported after years
	seen := jsonb_strip_nulls(jsonb_build_object('source', 'stripe',
		'test', CASE WHEN COALESCE(event -> 'livemode', object -> 'livemode') = 'false' THEN true END));

	priced := jsonb_build_object('currency', object -> 'currency');

	IF name = 'refund' THEN
		RETURN QUERY SELECT r.* FROM biolink.stripe_refund(object, seen || jsonb_build_object('at', at, 'live', COALESCE(event -> 'livemode', 'null'))) AS r;

	ELSIF name = 'dispute' THEN
		root := COALESCE(biolink.stripe_id(object -> 'payment_intent'), biolink.stripe_id(object -> 'charge'));
		status := COALESCE(object ->> 'status', CASE type WHEN 'charge.dispute.funds_reinstated' THEN 'won' ELSE 'needs_response' END);
		money := biolink.stripe_amount(object, 'amount', true);
		-- the opening is the one time that every message about the dispute knows
		told := seen || jsonb_strip_nulls(jsonb_build_object('kind', 'dispute', 'key', id, 'order_id', root,
			'order_refs', biolink.text_list(NULLIF(biolink.stripe_id(object -> 'charge'), root)),
			'occurred_at', biolink.utc_time(COALESCE(biolink.stripe_milliseconds(object -> 'created'), at)),
			'amount', money, 'currency', upper((object ->> 'currency') COLLATE "C"),
			'context', NULLIF(jsonb_strip_nulls(jsonb_build_object('reason', object -> 'reason')), '{}')));
		IF root IS NULL THEN
			RETURN NEXT told || '{"kind": "unmatched_dispute"}';
		ELSIF status NOT IN ('needs_response', 'under_review', 'won', 'lost') THEN
			-- an inquiry, or a dispute that was prevented: no money has moved
			RETURN NEXT told || jsonb_build_object('kind', 'inquiry', 'key', id || ':inquiry');
		ELSIF money > 0 THEN
			RETURN NEXT told;
			IF status = 'won' THEN
				RETURN NEXT told || jsonb_build_object('kind', 'dispute_won', 'key', id || ':won');
			ELSIF status = 'lost' THEN
				-- what of it had been refunded before comes back even so
				SELECT sum(biolink.stripe_amount(b.entry, 'amount')) INTO money
					FROM jsonb_array_elements(biolink.json_elements(object -> 'balance_transactions')) AS b (entry)
					WHERE b.entry ->> 'currency' = object ->> 'currency' AND biolink.stripe_amount(b.entry, 'amount') > 0;
				IF money > 0 THEN
					RETURN NEXT told || jsonb_build_object('kind', 'dispute_won', 'key', id || ':reinstated', 'amount', money);
				END IF;
			END IF;
		END IF;

	ELSIF name = 'charge' THEN
		IF biolink.stripe_id(object -> 'source_transfer') IS NOT NULL THEN
			-- the platform's own charge carries the money; this is its transfer to a connected account
			RETURN;
		END IF;
		root := COALESCE(biolink.stripe_id(object -> 'payment_intent'), id);
		status := CASE
			WHEN type = 'charge.expired' THEN 'expired'
			WHEN object ->> 'status' = 'paid' THEN 'succeeded'
			ELSE COALESCE(object ->> 'status', CASE type WHEN 'charge.failed' THEN 'failed' WHEN 'charge.pending' THEN 'pending' ELSE 'succeeded' END) END;
		IF status = 'succeeded' AND object -> 'captured' = 'false' THEN
			status := CASE WHEN object -> 'refunded' = 'true' THEN 'expired' ELSE 'authorized' END;
		END IF;
		IF type IS DISTINCT FROM 'charge.refunded' THEN
			money := CASE status WHEN 'succeeded' THEN NULLIF(biolink.stripe_amount(object, 'amount_captured'), 0) END;
			money := COALESCE(money, biolink.stripe_amount(object, 'amount', true));
			RETURN NEXT seen || biolink.provider_hints(object -> 'metadata') || jsonb_strip_nulls(jsonb_build_object('kind', 'order',
				'key', id || CASE status WHEN 'succeeded' THEN '' ELSE ':' || status END,
				-- grows with every capture
				'revision', CASE status WHEN 'succeeded' THEN money END,
				'order_id', root,
				'order_refs', biolink.text_list(NULLIF(id, root), biolink.stripe_id(object -> 'invoice'), object #>> '{metadata,bl_order_id}'),
				'payment', CASE status WHEN 'succeeded' THEN 'paid' WHEN 'failed' THEN 'failed' WHEN 'expired' THEN 'failed' ELSE 'pending' END,
				'occurred_at', biolink.utc_time(COALESCE(biolink.stripe_milliseconds(object -> 'created'), at)),
				'amount', money, 'currency', upper((object ->> 'currency') COLLATE "C"),
				'identifiers', biolink.identifier_list('email', object #>> '{billing_details,email}', 'email', object ->> 'receipt_email',
					'phone', object #>> '{billing_details,phone}', 'stripe_customer', biolink.stripe_id(object -> 'customer'))));
		END IF;
		IF jsonb_array_length(biolink.json_elements(object #> '{refunds,data}')) > 0 THEN
			RETURN QUERY SELECT r.* FROM jsonb_array_elements(object #> '{refunds,data}') AS l (element)
				CROSS JOIN LATERAL biolink.stripe_refund(l.element, seen || jsonb_build_object('at', at), object) AS r;
		ELSIF status = 'succeeded' AND (type IS NULL OR type = 'charge.refunded') THEN
			-- how much in all, not which refunds: the refunds' own messages carry the money
			money := biolink.stripe_amount(object, 'amount_refunded', type IS NOT NULL);
			IF money > 0 THEN
				RETURN NEXT seen || jsonb_strip_nulls(jsonb_build_object('kind', 'refund_total', 'key', id || ':refunded:' || money, 'order_id', root,
					'order_refs', biolink.text_list(NULLIF(id, root)),
					'occurred_at', biolink.utc_time(COALESCE(at, biolink.stripe_milliseconds(object -> 'created'))),
					'amount', money, 'currency', upper((object ->> 'currency') COLLATE "C")));
			END IF;
		END IF;

	ELSIF name = 'payment_intent' THEN
		status := CASE type WHEN 'payment_intent.payment_failed' THEN 'failed'
			ELSE COALESCE(object ->> 'status', CASE type WHEN 'payment_intent.succeeded' THEN 'succeeded' WHEN 'payment_intent.canceled' THEN 'canceled' ELSE 'processing' END) END;
		IF status NOT IN ('succeeded', 'processing', 'requires_capture', 'failed', 'canceled') THEN
			-- nobody has paid yet
			RETURN;
		END IF;
		-- older versions of the API have the charges in it
		part := COALESCE(object -> 'latest_charge', object #> '{charges,data,0}');
		money := CASE status WHEN 'succeeded' THEN NULLIF(biolink.stripe_amount(object, 'amount_received'), 0) END;
		money := COALESCE(money, biolink.stripe_amount(object, 'amount', true));
		RETURN NEXT seen || biolink.provider_hints(object -> 'metadata') || jsonb_strip_nulls(jsonb_build_object('kind', 'order',
			'key', concat_ws(':', id, CASE status WHEN 'succeeded' THEN NULL WHEN 'processing' THEN 'pending' WHEN 'requires_capture' THEN 'authorized' ELSE status END,
				CASE status WHEN 'failed' THEN COALESCE(object #>> '{last_payment_error,charge}', biolink.stripe_id(part)) END),
			'order_id', id,
			'order_refs', biolink.text_list(biolink.stripe_id(part), biolink.stripe_id(object -> 'invoice'),
				-- an invoice that is paid in parts has several of these: its id is no name of one sale
				substring(object #>> '{payment_details,order_reference}' FROM '^cs_.+'), object #>> '{metadata,bl_order_id}'),
			'payment', CASE status WHEN 'succeeded' THEN 'paid' WHEN 'failed' THEN 'failed' WHEN 'canceled' THEN 'failed' ELSE 'pending' END,
			'occurred_at', biolink.utc_time(COALESCE(biolink.stripe_milliseconds(part -> 'created'),
				CASE WHEN type = 'payment_intent.succeeded' THEN at END, biolink.stripe_milliseconds(object -> 'created'), at)),
			'amount', money, 'currency', upper((object ->> 'currency') COLLATE "C"),
			'identifiers', biolink.identifier_list('email', object ->> 'receipt_email', 'stripe_customer', biolink.stripe_id(object -> 'customer'))));

	ELSIF name = 'checkout.session' THEN
		status := CASE
			WHEN type = 'checkout.session.async_payment_failed' THEN 'failed'
			WHEN object ->> 'payment_status' IN ('paid', 'no_payment_required') THEN 'paid'
			WHEN object ->> 'payment_status' = 'unpaid' AND (type IS NOT NULL OR object ->> 'status' = 'complete') THEN 'pending'
			WHEN object ->> 'payment_status' IS NULL AND type IS NOT NULL THEN 'paid' END;
		IF status IS NULL OR object ->> 'mode' = 'setup' THEN
			RETURN;
		END IF;
		-- an invoice that was expanded may tell what paid it
		part := object -> 'invoice';
		root := COALESCE(biolink.stripe_id(object -> 'payment_intent'), biolink.stripe_id(part -> 'payment_intent'), biolink.stripe_id(part -> 'charge'));
		money := COALESCE(CASE status WHEN 'paid' THEN NULLIF(biolink.stripe_amount(object -> 'payment_intent', 'amount_received'), 0) END,
			biolink.stripe_amount(object, 'amount_total', true));
		RETURN NEXT seen
			|| biolink.provider_hints(object -> 'metadata', object ->> 'client_reference_id')
			|| jsonb_strip_nulls(jsonb_build_object(
				-- what an invoice collects may differ from the session's total: there the session is evidence
				'kind', CASE WHEN money > 0 AND biolink.stripe_id(object -> 'payment_intent') IS NULL THEN 'checkout' ELSE 'order' END,
				'key', concat_ws(':', id, CASE WHEN money > 0 AND biolink.stripe_id(object -> 'payment_intent') IS NULL THEN 'checkout' END, NULLIF(status, 'paid')),
				'order_id', COALESCE(root, biolink.stripe_id(part), id),
				'order_refs', biolink.text_list(NULLIF(biolink.stripe_id(part), COALESCE(root, biolink.stripe_id(part))),
					NULLIF(id, COALESCE(root, biolink.stripe_id(part), id)), object #>> '{metadata,bl_order_id}'),
				'order_type', CASE object ->> 'mode' WHEN 'subscription' THEN 'new' END,
				'subscription_id', biolink.stripe_id(object -> 'subscription'),
				'payment', status,
				'occurred_at', biolink.utc_time(COALESCE(CASE WHEN type = 'checkout.session.completed' THEN at END, biolink.stripe_milliseconds(object -> 'created'), at)),
				'amount', money, 'currency', upper((object ->> 'currency') COLLATE "C"),
				'tax', biolink.stripe_amount(priced || (object -> 'total_details'), 'amount_tax'),
				'shipping', biolink.stripe_amount(priced || (object -> 'total_details'), 'amount_shipping'),
				'items', (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('sku', COALESCE(biolink.stripe_id(l.line -> 'price'), l.line ->> 'id'),
						'quantity', l.line -> 'quantity', 'amount', biolink.stripe_amount(priced || l.line, 'amount_total'))) ORDER BY l.place)
					FROM jsonb_array_elements(biolink.json_elements(object #> '{line_items,data}')) WITH ORDINALITY AS l (line, place)
					WHERE l.line ? 'id'),
				'codes', biolink.stripe_codes(object),
				'identifiers', biolink.identifier_list('email', object #>> '{customer_details,email}', 'email', object ->> 'customer_email',
					'phone', object #>> '{customer_details,phone}', 'stripe_customer', biolink.stripe_id(object -> 'customer'))));

	ELSIF name = 'invoice_payment' THEN
		root := COALESCE(biolink.stripe_id(object #> '{payment,payment_intent}'), biolink.stripe_id(object #> '{payment,charge}'));
		IF root IS NULL OR COALESCE(object ->> 'status', 'paid') <> 'paid' THEN
			RETURN;
		END IF;
		RETURN NEXT seen || jsonb_strip_nulls(jsonb_build_object('kind', 'order', 'key', id, 'order_id', root,
			-- an invoice may be paid in parts; then its id names the payment it asked for itself
			'order_refs', CASE WHEN object -> 'is_default' IS DISTINCT FROM 'false' THEN biolink.text_list(biolink.stripe_id(object -> 'invoice')) END, 'payment', 'paid',
			'occurred_at', biolink.utc_time(COALESCE(biolink.stripe_milliseconds(object #> '{status_transitions,paid_at}'), at, biolink.stripe_milliseconds(object -> 'created'))),
			'amount', biolink.stripe_amount(object, 'amount_paid', true), 'currency', upper((object ->> 'currency') COLLATE "C")));

	ELSIF name = 'invoice' THEN
		status := CASE
			WHEN type = 'invoice.payment_failed' THEN 'failed'
			WHEN COALESCE(object ->> 'status', CASE WHEN type IS NOT NULL THEN 'paid' END) = 'paid' THEN 'paid' END;
		IF status IS NULL THEN
			RETURN;
		END IF;
		root := COALESCE(biolink.stripe_id(object -> 'payment_intent'), biolink.stripe_id(object -> 'charge'));
		hints := biolink.provider_hints(object #> '{subscription_details,metadata}') || biolink.provider_hints(object #> '{parent,subscription_details,metadata}')
			|| biolink.provider_hints(object -> 'metadata');
		told := seen || hints || jsonb_strip_nulls(jsonb_build_object(
			'order_type', CASE WHEN object ->> 'billing_reason' = 'subscription_create' THEN 'new'
				WHEN object ->> 'billing_reason' IN ('subscription_cycle', 'subscription_update', 'subscription_threshold') THEN 'renewal' END,
			'subscription_id', COALESCE(biolink.stripe_id(object -> 'subscription'), biolink.stripe_id(object #> '{parent,subscription_details,subscription}')),
			'occurred_at', biolink.utc_time(COALESCE(biolink.stripe_milliseconds(object #> '{status_transitions,paid_at}'), at, biolink.stripe_milliseconds(object -> 'created'))),
			'payment', status, 'currency', upper((object ->> 'currency') COLLATE "C"),
			'tax', COALESCE(biolink.stripe_amount(object, 'tax'),
				(SELECT sum(biolink.stripe_amount(priced || t.tax, 'amount'))
					FROM jsonb_array_elements(biolink.json_elements(object -> 'total_taxes')) AS t (tax))),
			'shipping', biolink.stripe_amount(priced || (object -> 'shipping_cost'), 'amount_total'),
			'items', (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
					'sku', COALESCE(biolink.stripe_id(l.line #> '{pricing,price_details,price}'), biolink.stripe_id(l.line -> 'price'), biolink.stripe_id(l.line -> 'plan'), l.line ->> 'id'),
					'quantity', l.line -> 'quantity', 'amount', biolink.stripe_amount(priced || l.line, 'amount'))) ORDER BY l.place)
				FROM jsonb_array_elements(biolink.json_elements(object #> '{lines,data}')) WITH ORDINALITY AS l (line, place)
				WHERE l.line ? 'id'),
			'codes', biolink.stripe_codes(object),
			'identifiers', biolink.identifier_list('email', object ->> 'customer_email', 'phone', object ->> 'customer_phone',
				'stripe_customer', biolink.stripe_id(object -> 'customer'))));
		refs := biolink.text_list(id, biolink.stripe_id(object -> 'charge'), object #>> '{metadata,bl_order_id}');
		IF status = 'failed' THEN
			RETURN NEXT told || jsonb_strip_nulls(jsonb_build_object('kind', 'invoice', 'key', concat_ws(':', id, 'invoice', 'failed', object ->> 'attempt_count'),
				'order_id', COALESCE(root, id), 'order_refs', NULLIF(refs - COALESCE(root, id), '[]'), 'amount', biolink.stripe_amount(object, 'amount_due', true)));
			RETURN;
		END IF;
		money := biolink.stripe_amount(object, 'amount_paid', true);
		IF object -> 'paid_out_of_band' = 'true' THEN
			-- paid past Stripe: there is no payment but the invoice itself
			RETURN NEXT told || jsonb_strip_nulls(jsonb_build_object('kind', 'order', 'key', id, 'order_id', id, 'order_refs', NULLIF(refs - id, '[]'),
				'amount', COALESCE(NULLIF(money, 0), biolink.stripe_amount(object, 'amount_due', true))));
		ELSIF money = 0 THEN
			-- a trial, a full discount or a customer's credit: a sale of nothing, which a later renewal follows
			RETURN NEXT told || jsonb_strip_nulls(jsonb_build_object('kind', 'order', 'key', id, 'order_id', id, 'order_refs', NULLIF(refs - id, '[]'), 'amount', 0));
		ELSIF root IS NOT NULL THEN
			RETURN NEXT told || jsonb_strip_nulls(jsonb_build_object('kind', 'order', 'key', id, 'order_id', root, 'order_refs', NULLIF(refs - root, '[]'), 'amount', money));
		ELSE
			-- Since 2025-03-31 an invoice names its payments only where they are expanded.  Where they are not, they carry the money.
			part := (SELECT jsonb_agg(p.payment ORDER BY p.place)
				FROM jsonb_array_elements(biolink.json_elements(object #> '{payments,data}')) WITH ORDINALITY AS p (payment, place)
				WHERE COALESCE(p.payment ->> 'status', 'paid') = 'paid');
			FOR object IN SELECT priced || p.payment FROM jsonb_array_elements(part) AS p (payment) LOOP
				root := COALESCE(biolink.stripe_id(object #> '{payment,payment_intent}'), biolink.stripe_id(object #> '{payment,charge}'), biolink.stripe_id(object #> '{payment,payment_record}'));
				IF root IS NOT NULL THEN
					-- of an invoice paid in parts each payment is a sale of its own, and the invoice's id names none of them
					RETURN NEXT told || jsonb_strip_nulls(jsonb_build_object('kind', 'order', 'order_id', root, 'order_refs', CASE jsonb_array_length(part) WHEN 1 THEN refs END,
						'key', CASE jsonb_array_length(part) WHEN 1 THEN id ELSE concat_ws(':', id, COALESCE(biolink.stripe_id(object), root)) END,
						'amount', CASE WHEN jsonb_array_length(part) = 1 AND NOT object ? 'amount_paid' THEN money
							ELSE biolink.stripe_amount(object, 'amount_paid', true) END));
				END IF;
			END LOOP;
			IF part IS NULL THEN
				RETURN NEXT told || jsonb_strip_nulls(jsonb_build_object('kind', 'invoice', 'key', id || ':invoice', 'order_id', id, 'order_refs', NULLIF(refs - id, '[]'), 'amount', money));
			END IF;
		END IF;

	ELSIF name = 'payout' THEN
		money := biolink.stripe_amount(object, 'amount', true);
		RETURN NEXT seen || jsonb_strip_nulls(jsonb_build_object('kind', 'payout', 'key', concat_ws(':', id, object ->> 'status'),
			'occurred_at', biolink.utc_time(COALESCE(biolink.stripe_milliseconds(object -> 'created'), at)),
			'amount', abs(money), 'currency', upper((object ->> 'currency') COLLATE "C"),
			'context', jsonb_build_object('type', 'payout', 'net', -money, 'status', object -> 'status',
				'arrives_at', biolink.utc_time(biolink.stripe_milliseconds(object -> 'arrival_date')))));

	ELSE
		money := biolink.stripe_amount(object, 'amount', true);
		RETURN NEXT seen || jsonb_strip_nulls(jsonb_build_object('kind', 'payout', 'key', id,
			'order_refs', biolink.text_list(biolink.stripe_id(object #> '{source,payment_intent}'),
				substring(biolink.stripe_id(object -> 'source') FROM '^(?:ch|py)_.+'), biolink.stripe_id(object #> '{source,charge}')),
			'occurred_at', biolink.utc_time(COALESCE(biolink.stripe_milliseconds(object -> 'created'), at)),
			'amount', abs(money), 'currency', upper((object ->> 'currency') COLLATE "C"),
			'fee', CASE WHEN object -> 'fee' >= '0' THEN biolink.stripe_amount(object, 'fee') END,
			'context', jsonb_build_object('type', COALESCE(object -> 'reporting_category', object -> 'type'), 'net', biolink.stripe_amount(object, 'net'),
				'source', biolink.stripe_id(object -> 'source'))));
	END IF;
END
$$;
COMMENT ON FUNCTION biolink.from_stripe(pg_catalog.jsonb) IS
	'The events to hand to track() for what Stripe sent: an Event of its webhooks, or an object of its API or exports (charge, payment_intent, checkout.session, invoice, invoice_payment, refund, dispute, payout, balance_transaction), or a list of these. '
	'Other types and objects give no row. Amounts are minor units by ISO 4217 (see stripe_amount()). '
	'order: a payment, with order_id = its payment intent, else its charge; the invoice or session itself where nothing was to be paid; payment says paid, pending or failed, and all other ids it knows are in order_refs. '
	'refund, dispute, dispute_won (also a refund that failed, with context.reason refund_failed): keys are the ids of Stripe''s objects, the same in every message about the same fact. '
	'Recorded without money: checkout and invoice (their payment is not named, and its own message carries the money), refund_total (charge.refunded says how much in all), release (an authorization given up), inquiry, unmatched_refund and unmatched_dispute (no payment named), payout. '
	'Call it as SELECT t.* FROM biolink.from_stripe(event) AS e CROSS JOIN LATERAL biolink.track(creator_id, e) AS t. '
	'Errors: 22023 for what is no such object, and naming key and object for money that is missing, no whole number or of an unknown currency.';

-- ---- Shopify ----------------------------------------------------------------

CREATE FUNCTION biolink.shopify_amount(object pg_catalog.jsonb, key pg_catalog.text, currency pg_catalog.text, shop_currency pg_catalog.text, required_of pg_catalog.text DEFAULT NULL)
	RETURNS pg_catalog.int8
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 100
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	bag CONSTANT jsonb := object -> (key || '_set');
	value CONSTANT text := COALESCE(
		CASE bag #>> '{presentment_money,currency_code}' WHEN currency THEN bag #>> '{presentment_money,amount}' END,
		CASE bag #>> '{shop_money,currency_code}' WHEN currency THEN bag #>> '{shop_money,amount}' END,
		CASE shop_currency WHEN currency THEN object ->> key END);
	units CONSTANT int8 := biolink.try_minor_units(value, currency);
BEGIN
	IF units IS NULL AND required_of IS NOT NULL THEN
		RAISE EXCEPTION 'key "%" of the Shopify % %', CASE WHEN biolink.currency_digits(currency) IS NULL THEN 'currency' ELSE key END, required_of,
			CASE WHEN biolink.currency_digits(currency) IS NULL THEN 'must be an ISO 4217 code' WHEN value IS NULL THEN 'is missing' ELSE 'is no exact amount of its currency' END
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('Object "%s" has %s in currency %s.', left(object ->> 'id', 100), COALESCE('"' || left(value, 40) || '"', 'none'), COALESCE('"' || left(currency, 20) || '"', 'none'));
	END IF;
	RETURN units;
END
$$;
COMMENT ON FUNCTION biolink.shopify_amount(pg_catalog.jsonb, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text) IS
	'Part of from_shopify(): minor units of a decimal amount in one currency: from the "<key>_set" of the object, else from the key itself where the shop''s currency is the one asked for. NULL for what is missing or unusable, unless required_of names the object it is required of. '
	'Error: 22023, naming key and object.';

CREATE FUNCTION biolink.shopify_time(object pg_catalog.jsonb, what pg_catalog.text, VARIADIC keys pg_catalog.text[]) RETURNS pg_catalog.int8
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 60
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	key text;
BEGIN
	FOREACH key IN ARRAY COALESCE(keys, '{}') LOOP
		IF object ->> key IS NOT NULL THEN
			IF biolink.unix_milliseconds(object ->> key) IS NULL THEN
				RAISE EXCEPTION 'key "%" of the Shopify % must be a time with offset', key, what
					USING ERRCODE = 'invalid_parameter_value', DETAIL = format('It is %s.', left((object -> key)::text, 60)), HINT = 'Times are in RFC 3339: 2026-03-01T10:00:00-05:00.';
			END IF;
			RETURN biolink.unix_milliseconds(object ->> key);
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION biolink.shopify_time(pg_catalog.jsonb, pg_catalog.text, pg_catalog.text[]) IS
	'Part of from_shopify(): Unix milliseconds of the first of some keys that the object has; NULL where it has none. Error: 22023, naming key and object, where that is no time with offset.';

CREATE FUNCTION biolink.shopify_transaction(transaction pg_catalog.jsonb, order_id pg_catalog.text) RETURNS SETOF pg_catalog.jsonb
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 200 ROWS 1
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	id CONSTANT text := NULLIF(transaction ->> 'id', '');
	named_order CONSTANT text := COALESCE(NULLIF(transaction ->> 'order_id', ''), order_id);
	currency CONSTANT text := upper((transaction ->> 'currency') COLLATE "C");
	status CONSTANT text := COALESCE(transaction ->> 'status', 'success');
	money CONSTANT int8 := biolink.shopify_amount(transaction, 'amount', currency, currency, 'transaction');
	told jsonb;
BEGIN
	IF id IS NULL OR named_order IS NULL THEN
		RAISE EXCEPTION 'key "%" of the Shopify transaction is missing', CASE WHEN id IS NULL THEN 'id' ELSE 'order_id' END USING ERRCODE = 'invalid_parameter_value';
	END IF;
	-- nothing of it may differ between the messages that bring it: a refund's own, its order's and that of the transaction
	told := jsonb_strip_nulls(jsonb_build_object('kind', 'refund', 'source', 'shopify', 'key', 'transaction:' || id, 'order_id', named_order,
		'occurred_at', biolink.utc_time(biolink.shopify_time(transaction, 'transaction', 'created_at', 'processed_at')),
		'amount', money, 'currency', currency, 'test', CASE WHEN transaction -> 'test' = 'true' THEN true END));
	IF transaction ->> 'kind' = 'refund' AND money > 0 THEN
		-- Shopify Payments says "pending" when it takes the money, and nothing more unless it fails
		RETURN NEXT told;
		IF status IN ('failure', 'error') THEN
			RETURN NEXT told || jsonb_build_object('kind', 'dispute_won', 'key', 'transaction:' || id || ':failed', 'context', jsonb_build_object('reason', 'refund_failed'));
		END IF;
	ELSIF transaction ->> 'kind' IS DISTINCT FROM 'refund' THEN
		RETURN NEXT told || jsonb_strip_nulls(jsonb_build_object('kind', 'transaction', 'key', 'transaction:' || id || ':' || status,
			'payment', CASE
				WHEN status IN ('failure', 'error') OR transaction ->> 'kind' = 'void' THEN 'failed'
				WHEN status = 'success' AND transaction ->> 'kind' IN ('sale', 'capture') THEN 'paid'
				ELSE 'pending' END,
			'context', jsonb_build_object('transaction', transaction -> 'kind', 'gateway', transaction -> 'gateway')));
	END IF;
END
$$;
COMMENT ON FUNCTION biolink.shopify_transaction(pg_catalog.jsonb, pg_catalog.text) IS
	'Part of from_shopify(): the events of one transaction of an order; order_id is used where the transaction does not name its order. Errors: 22023 as from_shopify().';

CREATE FUNCTION biolink.from_shopify(topic pg_catalog.text, body pg_catalog.jsonb) RETURNS SETOF pg_catalog.jsonb
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000 ROWS 2
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	what CONSTANT text := CASE
		WHEN lower(topic COLLATE "C") IN ('orders/create', 'orders/paid', 'orders/updated', 'orders/cancelled') THEN 'order'
		WHEN lower(topic COLLATE "C") = 'orders/edited' THEN 'order_edit'
		WHEN lower(topic COLLATE "C") = 'refunds/create' THEN 'refund'
		WHEN lower(topic COLLATE "C") = 'order_transactions/create' THEN 'transaction'
		WHEN lower(topic COLLATE "C") IN ('disputes/create', 'disputes/update') THEN 'dispute' END;
	object jsonb := body;
	id text;
	status text;
	payment text;
	currency text;
	shop_currency text;
	money int8;
	outstanding int8;
	occurred int8;
	updated int8;
	attributes jsonb;
	told jsonb;
BEGIN
	IF topic IS NULL THEN
		RAISE EXCEPTION 'argument "topic" must not be null' USING ERRCODE = 'invalid_parameter_value';
	ELSIF what IS NULL THEN
		RETURN;
	END IF;
	-- answers of the API have the object under its name
	IF jsonb_typeof(object -> what) = 'object' THEN
		object := object -> what;
	END IF;
	IF object IS NULL OR jsonb_typeof(object) <> 'object' THEN
		RAISE EXCEPTION 'the body of Shopify''s % must be a JSON object', lower(topic COLLATE "C")
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('It is %s.', COALESCE(jsonb_typeof(object), 'NULL'));
	END IF;
	id := NULLIF(object ->> 'id', '');
	IF id IS NULL THEN
		RAISE EXCEPTION 'key "id" of the Shopify % is missing', what USING ERRCODE = 'invalid_parameter_value', DETAIL = format('The topic is %s.', lower(topic COLLATE "C"));
	END IF;

	IF what = 'transaction' THEN
		RETURN QUERY SELECT t.* FROM biolink.shopify_transaction(object, NULL) AS t;

	ELSIF what = 'refund' THEN
		-- The transactions are the money.  Lines, shipping and adjustments say what for; without a transaction goods are restocked and no more.
		RETURN QUERY SELECT t.* FROM jsonb_array_elements(biolink.json_elements(object -> 'transactions')) AS l (element)
			CROSS JOIN LATERAL biolink.shopify_transaction(l.element, object ->> 'order_id') AS t WHERE l.element ->> 'kind' = 'refund';

	ELSIF what = 'dispute' THEN
		currency := upper((object ->> 'currency') COLLATE "C");
		status := COALESCE(object ->> 'status', 'needs_response');
		money := biolink.shopify_amount(object, 'amount', currency, currency, 'dispute');
		told := jsonb_strip_nulls(jsonb_build_object('kind', 'dispute', 'source', 'shopify', 'key', 'dispute:' || id, 'order_id', NULLIF(object ->> 'order_id', ''),
			'occurred_at', biolink.utc_time(biolink.shopify_time(object, 'dispute', 'initiated_at')), 'amount', money, 'currency', currency,
			'context', NULLIF(jsonb_strip_nulls(jsonb_build_object('reason', object -> 'reason')), '{}')));
		IF NOT told ? 'order_id' THEN
			RETURN NEXT told || '{"kind": "unmatched_dispute"}';
		ELSIF object ->> 'type' = 'inquiry' OR status = 'prevented' THEN
			RETURN NEXT told || jsonb_build_object('kind', 'inquiry', 'key', 'dispute:' || id || ':inquiry');
		ELSIF money > 0 THEN
			RETURN NEXT told;
			IF status IN ('won', 'charge_refunded') THEN
				-- of a charge that was refunded instead, the refund has its own message
				RETURN NEXT told || jsonb_build_object('kind', 'dispute_won', 'key', 'dispute:' || id || ':won');
			END IF;
		END IF;

	ELSIF what = 'order_edit' AND NOT object ? 'total_price' THEN
		RETURN NEXT jsonb_strip_nulls(jsonb_build_object('kind', 'order_edited', 'source', 'shopify', 'key', 'order_edit:' || id, 'order_id', object ->> 'order_id',
			'occurred_at', biolink.utc_time(biolink.shopify_time(object, 'order_edit', 'committed_at', 'created_at'))));

	ELSE
		-- What the customer paid, in the customer's currency: refunds are in it too, so that a full one leaves nothing.
		shop_currency := upper((object ->> 'currency') COLLATE "C");
		currency := upper(COALESCE(object #>> '{total_price_set,presentment_money,currency_code}', shop_currency) COLLATE "C");
		money := biolink.shopify_amount(object, 'total_price', currency, shop_currency, 'order');
		status := COALESCE(object ->> 'financial_status', 'pending');
		IF lower(topic COLLATE "C") = 'orders/paid' AND status IN ('pending', 'authorized', 'partially_paid') THEN
			status := 'paid';
		END IF;
		payment := CASE
			WHEN status IN ('paid', 'partially_refunded', 'refunded') THEN 'paid'
			WHEN status IN ('voided', 'expired') OR object ->> 'cancelled_at' IS NOT NULL THEN 'failed'
			ELSE 'pending' END;
		IF status = 'partially_paid' THEN
			outstanding := biolink.shopify_amount(object, 'total_outstanding', currency, shop_currency);
			IF outstanding < money THEN
				payment := 'paid';
				money := money - outstanding;
			END IF;
		END IF;
		attributes := CASE jsonb_typeof(object -> 'note_attributes')
			WHEN 'array' THEN (SELECT jsonb_object_agg(a.attribute ->> 'name', a.attribute -> 'value') FROM jsonb_array_elements(object -> 'note_attributes') AS a (attribute)
				WHERE a.attribute ->> 'name' IS NOT NULL)
			ELSE object -> 'note_attributes' END;
		occurred := biolink.shopify_time(object, 'order', 'processed_at', 'created_at');
		updated := biolink.shopify_time(object, 'order', 'updated_at');
		RETURN NEXT biolink.provider_hints(attributes) || jsonb_strip_nulls(jsonb_build_object('kind', 'order', 'source', 'shopify',
			'key', 'order:' || id || CASE payment WHEN 'paid' THEN '' ELSE ':' || payment END,
			-- the later state wins; of two in one second the one that comes later in an order's life
			'revision', updated * 10 + COALESCE(array_position('{authorized,partially_paid,paid,partially_refunded,refunded,voided}'::text[], status), 0),
			'order_id', id,
			'order_refs', biolink.text_list('gid://shopify/Order/' || id, object ->> 'checkout_token', object ->> 'token', attributes ->> 'bl_order_id'),
			'order_type', CASE object ->> 'source_name' WHEN 'subscription_contract' THEN 'renewal' END,
			'payment', payment,
			'occurred_at', biolink.utc_time(occurred), 'amount', money, 'currency', currency,
			'tax', biolink.shopify_amount(object, 'total_tax', currency, shop_currency),
			'shipping', COALESCE(biolink.shopify_amount(object, 'total_shipping_price', currency, shop_currency),
				(SELECT sum(biolink.shopify_amount(l.line, 'price', currency, shop_currency))
					FROM jsonb_array_elements(biolink.json_elements(object -> 'shipping_lines')) AS l (line))),
			'items', (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
					'offer_id', (SELECT (a.property ->> 'value')::int8 FROM jsonb_array_elements(biolink.json_elements(l.line -> 'properties')) AS a (property)
						WHERE a.property ->> 'name' IN ('bl_offer_id', '_bl_offer_id') AND a.property ->> 'value' ~ '^[1-9][0-9]{0,14}$' LIMIT 1),
					'sku', COALESCE(NULLIF(l.line ->> 'sku', ''), l.line ->> 'variant_id', l.line ->> 'id'),
					'quantity', CASE jsonb_typeof(l.line -> 'quantity') WHEN 'number' THEN l.line -> 'quantity' END,
					'amount', biolink.shopify_amount(l.line, 'price', currency, shop_currency) * CASE jsonb_typeof(l.line -> 'quantity') WHEN 'number' THEN (l.line -> 'quantity')::numeric END
						- COALESCE((SELECT sum(biolink.shopify_amount(a.allocation, 'amount', currency, shop_currency))
								FROM jsonb_array_elements(biolink.json_elements(l.line -> 'discount_allocations')) AS a (allocation)),
							biolink.shopify_amount(l.line, 'total_discount', currency, shop_currency), 0))) ORDER BY l.place)
				FROM jsonb_array_elements(biolink.json_elements(object -> 'line_items')) WITH ORDINALITY AS l (line, place)
				WHERE COALESCE(NULLIF(l.line ->> 'sku', ''), l.line ->> 'variant_id', l.line ->> 'id') IS NOT NULL),
			'codes', (SELECT biolink.text_list(VARIADIC array_agg(c.code ->> 'code' ORDER BY c.place))
				FROM jsonb_array_elements(biolink.json_elements(object -> 'discount_codes')) WITH ORDINALITY AS c (code, place)),
			'url', NULLIF(object ->> 'landing_site', ''),
			'identifiers', biolink.identifier_list('email', object ->> 'email', 'email', object ->> 'contact_email', 'email', object #>> '{customer,email}',
				'phone', object ->> 'phone', 'phone', object #>> '{customer,phone}', 'shopify_customer', object #>> '{customer,id}'),
			'test', CASE WHEN object -> 'test' = 'true' THEN true END,
			'context', NULLIF(jsonb_strip_nulls(jsonb_build_object('order_name', object -> 'name', 'financial_status', object -> 'financial_status', 'source_name', object -> 'source_name',
				'cancelled_at', object -> 'cancelled_at', 'cancel_reason', object -> 'cancel_reason',
				'shop_amount', CASE WHEN shop_currency <> currency THEN biolink.shopify_amount(object, 'total_price', shop_currency, shop_currency) END,
				'shop_currency', CASE WHEN shop_currency <> currency THEN shop_currency END)), '{}')));
		RETURN QUERY SELECT t.* FROM jsonb_array_elements(biolink.json_elements(object -> 'refunds')) AS r (refund)
			CROSS JOIN LATERAL jsonb_array_elements(biolink.json_elements(r.refund -> 'transactions')) AS l (element)
			CROSS JOIN LATERAL biolink.shopify_transaction(l.element, id) AS t WHERE l.element ->> 'kind' = 'refund';
	END IF;
END
$$;
COMMENT ON FUNCTION biolink.from_shopify(pg_catalog.text, pg_catalog.jsonb) IS
	'The events to hand to track() for a webhook of Shopify: its topic (orders/create, paid, updated, edited, cancelled; refunds/create; order_transactions/create; disputes/create, update) and body; other topics give no row. An answer of the REST API ({"order": {...}}) may stand for the body. '
	'order: order_id is Shopify''s id; amount is total_price in the customer''s currency (the shop''s is in context), in minor units by ISO 4217; revision grows with updated_at; payment follows financial_status, of a partial payment the amount is what is no longer outstanding. '
	'refund: one for each refund transaction, also those inside an order, under one key; one that failed is followed by dispute_won with context.reason refund_failed. dispute and dispute_won: chargebacks. '
	'Recorded without money: transaction (sales, captures, authorizations, voids), order_edited, inquiry, unmatched_dispute (no order named). '
	'Call it as SELECT t.* FROM biolink.from_shopify(topic, body) AS e CROSS JOIN LATERAL biolink.track(creator_id, e) AS t. '
	'Errors: 22023 for a body that is no object, and naming key and object for an id, amount, currency or time that is missing or malformed.';

GRANT EXECUTE ON FUNCTION
	biolink.currency_digits(pg_catalog.text),
	biolink.try_minor_units(pg_catalog.text, pg_catalog.text),
	biolink.minor_units(pg_catalog.text, pg_catalog.text),
	biolink.utc_time(pg_catalog.int8),
	biolink.unix_milliseconds(pg_catalog.text),
	biolink.json_elements(pg_catalog.jsonb),
	biolink.text_list(pg_catalog.text[]),
	biolink.identifier_list(pg_catalog.text[]),
	biolink.provider_hints(pg_catalog.jsonb, pg_catalog.text),
	biolink.stripe_id(pg_catalog.jsonb),
	biolink.stripe_milliseconds(pg_catalog.jsonb),
	biolink.stripe_amount(pg_catalog.jsonb, pg_catalog.text, pg_catalog.bool),
	biolink.stripe_codes(pg_catalog.jsonb),
	biolink.stripe_refund(pg_catalog.jsonb, pg_catalog.jsonb, pg_catalog.jsonb),
	biolink.from_stripe(pg_catalog.jsonb),
	biolink.shopify_amount(pg_catalog.jsonb, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text),
	biolink.shopify_time(pg_catalog.jsonb, pg_catalog.text, pg_catalog.text[]),
	biolink.shopify_transaction(pg_catalog.jsonb, pg_catalog.text),
	biolink.from_shopify(pg_catalog.text, pg_catalog.jsonb)
	TO biolink_app, biolink_analyst, biolink_admin;
