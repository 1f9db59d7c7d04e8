-- 25_keys.sql: which root keys and which epochs of derived keys there are, and the functions that sign and verify.
--
-- No row here is a secret: root keys are outside the database, all other keys are derived from them when they are needed.

-- Root keys -----------------------------------------------------------------

CREATE TABLE biolink.root_key (
	generation pg_catalog.int4 NOT NULL,
	fingerprint pg_catalog.text COLLATE "C" NOT NULL,
	first_used_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
	CONSTRAINT root_key_pkey PRIMARY KEY (generation),
	CONSTRAINT root_key_fingerprint_key UNIQUE (fingerprint),
	CONSTRAINT root_key_generation_check CHECK (
		generation OPERATOR(pg_catalog.>=) 1 AND generation OPERATOR(pg_catalog.<=) 32),
	CONSTRAINT root_key_fingerprint_check CHECK (
		fingerprint OPERATOR(pg_catalog.~) '^[0-9a-f]{32}$')
);
ALTER TABLE biolink.root_key OWNER TO biolink_owner;
COMMENT ON TABLE biolink.root_key IS
	'fingerprints of the root keys this database has been used with; the keys themselves are outside it';
COMMENT ON COLUMN biolink.root_key.generation IS 'number of the line in the root key file, from 1';
COMMENT ON COLUMN biolink.root_key.fingerprint IS 'tells root keys apart and reveals nothing of them, in hexadecimal';
COMMENT ON COLUMN biolink.root_key.first_used_at IS 'when a call that writes first used this root key';

ALTER TABLE biolink.root_key ENABLE ROW LEVEL SECURITY;
CREATE POLICY root_key_admin ON biolink.root_key FOR SELECT TO biolink_admin USING (true);
COMMENT ON POLICY root_key_admin ON biolink.root_key IS 'administrators read every row';
GRANT SELECT ON TABLE biolink.root_key TO biolink_admin;

SELECT pg_catalog.pg_extension_config_dump('biolink.root_key', '');

-- Epochs of derived keys ----------------------------------------------------

CREATE TABLE biolink.key_epoch (
	creator_id pg_catalog.int8 NOT NULL,
	purpose pg_catalog.text COLLATE "C" NOT NULL,
	epoch pg_catalog.int4 NOT NULL,
	state pg_catalog.text COLLATE "C" NOT NULL DEFAULT 'active',
	root_fingerprint pg_catalog.text COLLATE "C",
	created_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
	state_changed_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
	CONSTRAINT key_epoch_pkey PRIMARY KEY (creator_id, purpose, epoch),
	CONSTRAINT key_epoch_creator_id_check CHECK (
		creator_id OPERATOR(pg_catalog.>=) 1 AND creator_id OPERATOR(pg_catalog.<=) 1099511627775),
	CONSTRAINT key_epoch_purpose_check CHECK (purpose OPERATOR(pg_catalog.=) ANY
		('{token,token-ed25519,identity,paseto,webhook,seal,digest,day}'::pg_catalog.text[])),
	CONSTRAINT key_epoch_epoch_check CHECK (
		epoch OPERATOR(pg_catalog.>=) 1 AND epoch OPERATOR(pg_catalog.<=) 65535),
	CONSTRAINT key_epoch_state_check CHECK (state OPERATOR(pg_catalog.=) ANY
		('{active,retiring,revoked}'::pg_catalog.text[])),
	CONSTRAINT key_epoch_root_fingerprint_check CHECK (
		root_fingerprint OPERATOR(pg_catalog.~) '^[0-9a-f]{32}$')
);
ALTER TABLE biolink.key_epoch OWNER TO biolink_owner;
COMMENT ON TABLE biolink.key_epoch IS
	'states of the epochs of derived keys; without a row, epoch 1 is active and every other one unknown';
COMMENT ON COLUMN biolink.key_epoch.creator_id IS 'creator whose key it is';
COMMENT ON COLUMN biolink.key_epoch.purpose IS
	'what the key is for: token, token-ed25519, identity, paseto, webhook, seal, digest or day';
COMMENT ON COLUMN biolink.key_epoch.epoch IS 'number of the key, from 1; the newest active one signs';
COMMENT ON COLUMN biolink.key_epoch.state IS
	'active: signs and verifies; retiring: verifies only; revoked: neither';
COMMENT ON COLUMN biolink.key_epoch.root_fingerprint IS
	'fingerprint of the root key it is derived from; NULL for that of generation 1';
COMMENT ON COLUMN biolink.key_epoch.created_at IS 'when the row was made';
COMMENT ON COLUMN biolink.key_epoch.state_changed_at IS 'when the state last changed';

ALTER TABLE biolink.key_epoch ENABLE ROW LEVEL SECURITY;
CREATE POLICY key_epoch_app ON biolink.key_epoch TO biolink_app, biolink_admin
	USING (true) WITH CHECK (true);
COMMENT ON POLICY key_epoch_app ON biolink.key_epoch IS 'the application and administrators reach every creator';
GRANT SELECT ON TABLE biolink.key_epoch TO biolink_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE biolink.key_epoch TO biolink_admin;

SELECT pg_catalog.pg_extension_config_dump('biolink.key_epoch', '');

CREATE FUNCTION biolink.key_epoch_stamp() RETURNS trigger
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	NEW.state_changed_at := pg_catalog.now();
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION biolink.key_epoch_stamp() IS 'trigger: notes when the state of an epoch changed';

CREATE TRIGGER key_epoch_stamp BEFORE UPDATE ON biolink.key_epoch
	FOR EACH ROW
	WHEN (NEW.state OPERATOR(pg_catalog.<>) OLD.state)
	EXECUTE FUNCTION biolink.key_epoch_stamp();
COMMENT ON TRIGGER key_epoch_stamp ON biolink.key_epoch IS 'notes when the state changed';

CREATE TRIGGER key_epoch_invalidate
	AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON biolink.key_epoch
	FOR EACH STATEMENT EXECUTE FUNCTION biolink.invalidate_cached();
COMMENT ON TRIGGER key_epoch_invalidate ON biolink.key_epoch IS
	'makes every backend forget the keys it holds';
-- whoever loads rows with session_replication_role = replica must not escape it
ALTER TABLE biolink.key_epoch ENABLE ALWAYS TRIGGER key_epoch_invalidate;

CREATE FUNCTION biolink.key_status(
	OUT generation pg_catalog.int4,
	OUT source pg_catalog.text,
	OUT location pg_catalog.text,
	OUT fingerprint_found pg_catalog.text,
	OUT fingerprint_expected pg_catalog.text,
	OUT state pg_catalog.text,
	OUT advice pg_catalog.text
) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000 ROWS 1;
COMMENT ON FUNCTION biolink.key_status() IS
	'where the root keys come from, whether they are the ones this database was used with, and what to do about it; call as SELECT * FROM biolink.key_status()';

-- Tokens --------------------------------------------------------------------

CREATE FUNCTION biolink.issue_token(
	creator_id pg_catalog.int8,
	kind pg_catalog.text,
	event_id pg_catalog.uuid,
	link_id pg_catalog.int8 DEFAULT NULL,
	campaign_id pg_catalog.int8 DEFAULT NULL,
	ttl pg_catalog.interval DEFAULT NULL,
	audience pg_catalog.text DEFAULT '',
	algorithm pg_catalog.text DEFAULT 'hmac',
	expires_at pg_catalog.timestamptz DEFAULT NULL
) RETURNS biolink.token
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100;
COMMENT ON FUNCTION biolink.issue_token(pg_catalog.int8, pg_catalog.text, pg_catalog.uuid, pg_catalog.int8,
	pg_catalog.int8, pg_catalog.interval, pg_catalog.text, pg_catalog.text, pg_catalog.timestamptz) IS
	'signs a token (session, redirect or receipt) for a click or visit; expires_at wins over ttl, default 24 hours for a session, 30 days for others; algorithm hmac or ed25519';

-- A named row type rather than OUT columns: the executor has its shape at hand
-- and need not build it for every call.
CREATE TYPE biolink.token_verdict AS (
	valid pg_catalog.bool,
	reason pg_catalog.text,
	kind pg_catalog.text,
	creator_id pg_catalog.int8,
	click_id pg_catalog.uuid,
	link_id pg_catalog.int8,
	campaign_id pg_catalog.int8,
	issued_at pg_catalog.timestamptz,
	expires_at pg_catalog.timestamptz,
	epoch pg_catalog.int4
);
COMMENT ON TYPE biolink.token_verdict IS 'what verify_token() answers';

CREATE FUNCTION biolink.verify_token(
	token pg_catalog.text,
	audience pg_catalog.text DEFAULT '',
	at pg_catalog.timestamptz DEFAULT pg_catalog.now()
) RETURNS biolink.token_verdict
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL UNSAFE COST 100;
COMMENT ON FUNCTION biolink.verify_token(pg_catalog.text, pg_catalog.text, pg_catalog.timestamptz) IS
	'judges a token in either text form and never fails; reason malformed, unknown_key, revoked_key, bad_signature or expired, fields filled when the signature holds; call as SELECT * FROM biolink.verify_token(...)';

CREATE FUNCTION biolink.token_qr(token biolink.token) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION biolink.token_qr(biolink.token) IS
	'token in base32, all in the alphanumeric mode of QR codes; verify_token() takes it as well';

-- Identity hashes -----------------------------------------------------------

CREATE FUNCTION biolink.identity_hash_sha256(
	creator_id pg_catalog.int8,
	kind pg_catalog.text,
	sha256 pg_catalog.bytea
) RETURNS biolink.idhash
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL UNSAFE COST 100;
COMMENT ON FUNCTION biolink.identity_hash_sha256(pg_catalog.int8, pg_catalog.text, pg_catalog.bytea) IS
	'identity hash of an identifier of which only the SHA-256 of the normalised form is known';

GRANT EXECUTE ON FUNCTION
	biolink.issue_token(pg_catalog.int8, pg_catalog.text, pg_catalog.uuid, pg_catalog.int8,
		pg_catalog.int8, pg_catalog.interval, pg_catalog.text, pg_catalog.text, pg_catalog.timestamptz),
	biolink.verify_token(pg_catalog.text, pg_catalog.text, pg_catalog.timestamptz),
	biolink.token_qr(biolink.token),
	biolink.identity_hash_sha256(pg_catalog.int8, pg_catalog.text, pg_catalog.bytea)
	TO biolink_app, biolink_admin;
GRANT EXECUTE ON FUNCTION biolink.key_status() TO biolink_admin;

-- Texts that are kept and not shown ------------------------------------------

CREATE FUNCTION biolink.sealed_text(creator_id pg_catalog.int8, label pg_catalog.text, plain pg_catalog.text) RETURNS pg_catalog.bytea
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 50
	AS 'MODULE_PATHNAME', 'sealed_text';
COMMENT ON FUNCTION biolink.sealed_text(pg_catalog.int8, pg_catalog.text, pg_catalog.text) IS
	'Seals a text (XChaCha20-Poly1305) under the creator''s subkey "seal". label says what it is: it opens as that only. Granted to nobody: functions of the owner use it. Errors: 22023 for a creator_id out of range and a label that is too long; 55000 for key trouble.';

CREATE FUNCTION biolink.open_sealed(creator_id pg_catalog.int8, label pg_catalog.text, sealed pg_catalog.bytea) RETURNS pg_catalog.text
	LANGUAGE c STABLE STRICT PARALLEL UNSAFE COST 50
	AS 'MODULE_PATHNAME', 'open_sealed';
COMMENT ON FUNCTION biolink.open_sealed(pg_catalog.int8, pg_catalog.text, pg_catalog.bytea) IS
	'Opens what biolink.sealed_text() sealed; NULL where its key is gone, or it was sealed for another creator or as something else. Granted to nobody. Errors: 22023 for a label that is too long; 55000 for key trouble.';
