-- 32_sources.sql: who tells a creator what happened: payment providers, shops, partners.
--
-- A source need not be configured to be heard: track() takes events of any.  Here is what is known of it beyond its name.

CREATE FUNCTION biolink.valid_product_map(product_map pg_catalog.jsonb) RETURNS pg_catalog.bool
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 100
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	sku text;
	offer jsonb;
BEGIN
	IF jsonb_typeof(product_map) <> 'object' THEN
		RAISE EXCEPTION 'product_map must be a JSON object' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	FOR sku, offer IN SELECT e.key, e.value FROM jsonb_each(product_map) AS e LOOP
		IF jsonb_typeof(offer) <> 'number' OR offer #>> '{}' !~ '^[0-9]{1,15}$' OR offer::numeric NOT BETWEEN 1 AND 281474976710655 THEN
			RAISE EXCEPTION 'product_map: the offer_id of "%" is none', sku
				USING ERRCODE = 'invalid_parameter_value', DETAIL = format('It is %s.', offer), HINT = 'Write {"sku": offer_id, ...}.';
		END IF;
	END LOOP;
	RETURN true;
END
$$;
COMMENT ON FUNCTION biolink.valid_product_map(pg_catalog.jsonb) IS 'Checks a source''s product_map: true, or an error 22023 that names the sku.';
GRANT EXECUTE ON FUNCTION biolink.valid_product_map(pg_catalog.jsonb) TO biolink_app, biolink_admin;

CREATE TABLE biolink.source (
	creator_id pg_catalog.int8 NOT NULL REFERENCES biolink.creator,
	source pg_catalog.text NOT NULL CHECK (pg_catalog.octet_length(source) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(source) OPERATOR(pg_catalog.<=) 200
		AND source OPERATOR(pg_catalog.!~~) 'biolink:%'),
	name pg_catalog.text,
	scheme pg_catalog.text CHECK (scheme OPERATOR(pg_catalog.~) '^[a-z][a-z0-9_-]{0,62}$'),
	trusted pg_catalog.bool NOT NULL DEFAULT false,
	grace_period pg_catalog.interval NOT NULL DEFAULT '7 days' CHECK (grace_period OPERATOR(pg_catalog.>=) '0'::pg_catalog.interval),
	product_map pg_catalog.jsonb NOT NULL DEFAULT '{}' CHECK (biolink.valid_product_map(product_map)),
	created_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (creator_id, source)
);
ALTER TABLE biolink.source OWNER TO biolink_owner;
COMMENT ON TABLE biolink.source IS 'Payment providers, shops and partners of a creator, by the name that their events have as source. One that has no row is heard all the same.';
COMMENT ON COLUMN biolink.source.scheme IS 'How its webhooks are signed, such as stripe or shopify; NULL where it sends none.';
COMMENT ON COLUMN biolink.source.trusted IS 'Whether what it reports counts where nothing else was seen of it.';
COMMENT ON COLUMN biolink.source.grace_period IS 'How late its reports may come before something counts as missing there.';
COMMENT ON COLUMN biolink.source.product_map IS 'Which offer its products are: {"sku": offer_id}. biolink.order_item reads it.';

CREATE TABLE biolink.source_secret (
	creator_id pg_catalog.int8 NOT NULL,
	source pg_catalog.text NOT NULL,
	place pg_catalog.int4 NOT NULL,
	sealed pg_catalog.bytea NOT NULL,
	set_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (creator_id, source, place),
	FOREIGN KEY (creator_id, source) REFERENCES biolink.source ON UPDATE RESTRICT ON DELETE CASCADE
);
ALTER TABLE biolink.source_secret OWNER TO biolink_owner;
COMMENT ON TABLE biolink.source_secret IS 'What a source signs its webhooks with, sealed under a key derived for the creator: biolink.set_source_secrets() writes it, and nobody reads it in the clear. Several while one replaces another.';
COMMENT ON COLUMN biolink.source_secret.place IS 'From 1, in the order in which they were given.';

DO $$
BEGIN
	ALTER TABLE biolink.source ENABLE ROW LEVEL SECURITY;
	CREATE POLICY source_app ON biolink.source TO biolink_app, biolink_admin USING (true) WITH CHECK (true);
	CREATE POLICY source_analyst ON biolink.source FOR SELECT TO biolink_analyst
		USING (creator_id OPERATOR(pg_catalog.=) ANY ((SELECT biolink.my_creators())::pg_catalog.int8[]));
	-- nobody but the owner: no policy and no grant
	ALTER TABLE biolink.source_secret ENABLE ROW LEVEL SECURITY;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON biolink.source TO biolink_app, biolink_admin;
GRANT SELECT ON biolink.source TO biolink_analyst;
SELECT pg_catalog.pg_extension_config_dump('biolink.source', '');
SELECT pg_catalog.pg_extension_config_dump('biolink.source_secret', '');

CREATE FUNCTION biolink.set_source_secrets(creator_id pg_catalog.int8, source pg_catalog.text, secrets pg_catalog.text[]) RETURNS pg_catalog.int4
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 1000
	SET search_path = pg_catalog, pg_temp
	AS $$
#variable_conflict use_column
DECLARE
	number int4;
BEGIN
	IF set_source_secrets.creator_id IS NULL OR set_source_secrets.source IS NULL OR secrets IS NULL THEN
		RAISE EXCEPTION 'arguments of set_source_secrets() must not be null' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'An empty array takes the secrets away.';
	END IF;
	IF cardinality(secrets) > 10 OR EXISTS (SELECT FROM unnest(secrets) AS s WHERE s IS NULL OR octet_length(s) NOT BETWEEN 1 AND 1000) THEN
		-- which one is not said: an error goes to logs
		RAISE EXCEPTION 'argument "secrets" must be up to ten texts of 1 to 1000 bytes' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	PERFORM FROM biolink.source AS s WHERE s.creator_id = set_source_secrets.creator_id AND s.source = set_source_secrets.source FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'creator % has no source "%"', set_source_secrets.creator_id, set_source_secrets.source
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Insert a row into biolink.source first.';
	END IF;
	DELETE FROM biolink.source_secret AS s WHERE s.creator_id = set_source_secrets.creator_id AND s.source = set_source_secrets.source;
	INSERT INTO biolink.source_secret (creator_id, source, place, sealed)
		SELECT set_source_secrets.creator_id, set_source_secrets.source, row_number() OVER (ORDER BY u.place),
				biolink.sealed_text(set_source_secrets.creator_id, 'source_secret:' || set_source_secrets.source, u.secret)
			FROM unnest(secrets) WITH ORDINALITY AS u (secret, place);
	GET DIAGNOSTICS number = ROW_COUNT;
	RETURN number;
END
$$;
COMMENT ON FUNCTION biolink.set_source_secrets(pg_catalog.int8, pg_catalog.text, pg_catalog.text[]) IS
	'Replaces the secrets with which a source signs its webhooks; several while one takes over from another, none for an empty array. They are stored sealed and cannot be read back. Send them as a parameter, so that they are in no log of statements. '
	'Returns how many. Errors: 22023 for an unknown source and for texts that cannot be secrets; 55000 for key trouble.';
ALTER FUNCTION biolink.set_source_secrets(pg_catalog.int8, pg_catalog.text, pg_catalog.text[]) OWNER TO biolink_owner;
GRANT EXECUTE ON FUNCTION biolink.set_source_secrets(pg_catalog.int8, pg_catalog.text, pg_catalog.text[]) TO biolink_app, biolink_admin;
