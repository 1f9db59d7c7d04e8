-- 10_types.sql: identity hashes, tokens, and UUIDs of version 7.
--
-- Both types are bytes, compared as bytes, and written in one way only.

-- idhash --------------------------------------------------------------------

CREATE TYPE biolink.idhash;

CREATE FUNCTION biolink.idhash_in(pg_catalog.cstring) RETURNS biolink.idhash
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.idhash_out(biolink.idhash) RETURNS pg_catalog.cstring
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.idhash_recv(pg_catalog.internal) RETURNS biolink.idhash
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.idhash_send(biolink.idhash) RETURNS pg_catalog.bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION biolink.idhash_in(pg_catalog.cstring) IS 'I/O';
COMMENT ON FUNCTION biolink.idhash_out(biolink.idhash) IS 'I/O';
COMMENT ON FUNCTION biolink.idhash_recv(pg_catalog.internal) IS 'I/O';
COMMENT ON FUNCTION biolink.idhash_send(biolink.idhash) IS 'I/O';

CREATE TYPE biolink.idhash (
	INPUT = biolink.idhash_in,
	OUTPUT = biolink.idhash_out,
	RECEIVE = biolink.idhash_recv,
	SEND = biolink.idhash_send,
	INTERNALLENGTH = 16,
	ALIGNMENT = char,
	STORAGE = plain
);
COMMENT ON TYPE biolink.idhash IS
	'keyed hash of an identifier (email, phone, cookie ...) of one creator, written as 32 hexadecimal digits';

CREATE FUNCTION biolink.idhash_eq(biolink.idhash, biolink.idhash) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.idhash_ne(biolink.idhash, biolink.idhash) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.idhash_lt(biolink.idhash, biolink.idhash) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.idhash_le(biolink.idhash, biolink.idhash) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.idhash_gt(biolink.idhash, biolink.idhash) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.idhash_ge(biolink.idhash, biolink.idhash) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.idhash_cmp(biolink.idhash, biolink.idhash) RETURNS pg_catalog.int4
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.idhash_hash(biolink.idhash) RETURNS pg_catalog.int4
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.idhash_hash_extended(biolink.idhash, pg_catalog.int8) RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION biolink.idhash_eq(biolink.idhash, biolink.idhash) IS 'implementation of = operator';
COMMENT ON FUNCTION biolink.idhash_ne(biolink.idhash, biolink.idhash) IS 'implementation of <> operator';
COMMENT ON FUNCTION biolink.idhash_lt(biolink.idhash, biolink.idhash) IS 'implementation of < operator';
COMMENT ON FUNCTION biolink.idhash_le(biolink.idhash, biolink.idhash) IS 'implementation of <= operator';
COMMENT ON FUNCTION biolink.idhash_gt(biolink.idhash, biolink.idhash) IS 'implementation of > operator';
COMMENT ON FUNCTION biolink.idhash_ge(biolink.idhash, biolink.idhash) IS 'implementation of >= operator';
COMMENT ON FUNCTION biolink.idhash_cmp(biolink.idhash, biolink.idhash) IS 'less-equal-greater, for btree indexes';
COMMENT ON FUNCTION biolink.idhash_hash(biolink.idhash) IS 'hash, for hash indexes and joins';
COMMENT ON FUNCTION biolink.idhash_hash_extended(biolink.idhash, pg_catalog.int8) IS 'seeded hash, for hash partitioning';

CREATE OPERATOR biolink.= (
	LEFTARG = biolink.idhash, RIGHTARG = biolink.idhash, FUNCTION = biolink.idhash_eq,
	COMMUTATOR = OPERATOR(biolink.=), NEGATOR = OPERATOR(biolink.<>),
	RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR biolink.<> (
	LEFTARG = biolink.idhash, RIGHTARG = biolink.idhash, FUNCTION = biolink.idhash_ne,
	COMMUTATOR = OPERATOR(biolink.<>), NEGATOR = OPERATOR(biolink.=),
	RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);
CREATE OPERATOR biolink.< (
	LEFTARG = biolink.idhash, RIGHTARG = biolink.idhash, FUNCTION = biolink.idhash_lt,
	COMMUTATOR = OPERATOR(biolink.>), NEGATOR = OPERATOR(biolink.>=),
	RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel
);
CREATE OPERATOR biolink.<= (
	LEFTARG = biolink.idhash, RIGHTARG = biolink.idhash, FUNCTION = biolink.idhash_le,
	COMMUTATOR = OPERATOR(biolink.>=), NEGATOR = OPERATOR(biolink.>),
	RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel
);
CREATE OPERATOR biolink.> (
	LEFTARG = biolink.idhash, RIGHTARG = biolink.idhash, FUNCTION = biolink.idhash_gt,
	COMMUTATOR = OPERATOR(biolink.<), NEGATOR = OPERATOR(biolink.<=),
	RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel
);
CREATE OPERATOR biolink.>= (
	LEFTARG = biolink.idhash, RIGHTARG = biolink.idhash, FUNCTION = biolink.idhash_ge,
	COMMUTATOR = OPERATOR(biolink.<=), NEGATOR = OPERATOR(biolink.<),
	RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel
);

COMMENT ON OPERATOR biolink.= (biolink.idhash, biolink.idhash) IS 'equal';
COMMENT ON OPERATOR biolink.<> (biolink.idhash, biolink.idhash) IS 'not equal';
COMMENT ON OPERATOR biolink.< (biolink.idhash, biolink.idhash) IS 'less than, as bytes';
COMMENT ON OPERATOR biolink.<= (biolink.idhash, biolink.idhash) IS 'less than or equal, as bytes';
COMMENT ON OPERATOR biolink.> (biolink.idhash, biolink.idhash) IS 'greater than, as bytes';
COMMENT ON OPERATOR biolink.>= (biolink.idhash, biolink.idhash) IS 'greater than or equal, as bytes';

-- equal values have equal bytes, so index entries may be deduplicated
CREATE OPERATOR CLASS biolink.idhash_ops DEFAULT FOR TYPE biolink.idhash USING btree AS
	OPERATOR 1 biolink.<,
	OPERATOR 2 biolink.<=,
	OPERATOR 3 biolink.=,
	OPERATOR 4 biolink.>=,
	OPERATOR 5 biolink.>,
	FUNCTION 1 biolink.idhash_cmp(biolink.idhash, biolink.idhash),
	FUNCTION 4 pg_catalog.btequalimage(pg_catalog.oid);
CREATE OPERATOR CLASS biolink.idhash_ops DEFAULT FOR TYPE biolink.idhash USING hash AS
	OPERATOR 1 biolink.=,
	FUNCTION 1 biolink.idhash_hash(biolink.idhash),
	FUNCTION 2 biolink.idhash_hash_extended(biolink.idhash, pg_catalog.int8);

COMMENT ON OPERATOR CLASS biolink.idhash_ops USING btree IS 'order of idhash values, as bytes';
COMMENT ON OPERATOR CLASS biolink.idhash_ops USING hash IS 'equality of idhash values';
COMMENT ON OPERATOR FAMILY biolink.idhash_ops USING btree IS 'order of idhash values, as bytes';
COMMENT ON OPERATOR FAMILY biolink.idhash_ops USING hash IS 'equality of idhash values';

GRANT EXECUTE ON FUNCTION
	biolink.idhash_in(pg_catalog.cstring),
	biolink.idhash_out(biolink.idhash),
	biolink.idhash_recv(pg_catalog.internal),
	biolink.idhash_send(biolink.idhash),
	biolink.idhash_eq(biolink.idhash, biolink.idhash),
	biolink.idhash_ne(biolink.idhash, biolink.idhash),
	biolink.idhash_lt(biolink.idhash, biolink.idhash),
	biolink.idhash_le(biolink.idhash, biolink.idhash),
	biolink.idhash_gt(biolink.idhash, biolink.idhash),
	biolink.idhash_ge(biolink.idhash, biolink.idhash),
	biolink.idhash_cmp(biolink.idhash, biolink.idhash),
	biolink.idhash_hash(biolink.idhash),
	biolink.idhash_hash_extended(biolink.idhash, pg_catalog.int8)
	TO biolink_app, biolink_analyst, biolink_admin;

-- token ---------------------------------------------------------------------

CREATE TYPE biolink.token;

CREATE FUNCTION biolink.token_in(pg_catalog.cstring) RETURNS biolink.token
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.token_out(biolink.token) RETURNS pg_catalog.cstring
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.token_recv(pg_catalog.internal) RETURNS biolink.token
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.token_send(biolink.token) RETURNS pg_catalog.bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION biolink.token_in(pg_catalog.cstring) IS 'I/O';
COMMENT ON FUNCTION biolink.token_out(biolink.token) IS 'I/O';
COMMENT ON FUNCTION biolink.token_recv(pg_catalog.internal) IS 'I/O';
COMMENT ON FUNCTION biolink.token_send(biolink.token) IS 'I/O';

CREATE TYPE biolink.token (
	INPUT = biolink.token_in,
	OUTPUT = biolink.token_out,
	RECEIVE = biolink.token_recv,
	SEND = biolink.token_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = main
);
COMMENT ON TYPE biolink.token IS
	'signed token that names the click or visit it was made for, written as unpadded base64url; its form is checked, its signature only by verify_token()';

CREATE FUNCTION biolink.token_eq(biolink.token, biolink.token) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.token_ne(biolink.token, biolink.token) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.token_lt(biolink.token, biolink.token) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.token_le(biolink.token, biolink.token) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.token_gt(biolink.token, biolink.token) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.token_ge(biolink.token, biolink.token) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.token_cmp(biolink.token, biolink.token) RETURNS pg_catalog.int4
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.token_hash(biolink.token) RETURNS pg_catalog.int4
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION biolink.token_hash_extended(biolink.token, pg_catalog.int8) RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION biolink.token_eq(biolink.token, biolink.token) IS 'implementation of = operator';
COMMENT ON FUNCTION biolink.token_ne(biolink.token, biolink.token) IS 'implementation of <> operator';
COMMENT ON FUNCTION biolink.token_lt(biolink.token, biolink.token) IS 'implementation of < operator';
COMMENT ON FUNCTION biolink.token_le(biolink.token, biolink.token) IS 'implementation of <= operator';
COMMENT ON FUNCTION biolink.token_gt(biolink.token, biolink.token) IS 'implementation of > operator';
COMMENT ON FUNCTION biolink.token_ge(biolink.token, biolink.token) IS 'implementation of >= operator';
COMMENT ON FUNCTION biolink.token_cmp(biolink.token, biolink.token) IS 'less-equal-greater, for btree indexes';
COMMENT ON FUNCTION biolink.token_hash(biolink.token) IS 'hash, for hash indexes and joins';
COMMENT ON FUNCTION biolink.token_hash_extended(biolink.token, pg_catalog.int8) IS 'seeded hash, for hash partitioning';

CREATE OPERATOR biolink.= (
	LEFTARG = biolink.token, RIGHTARG = biolink.token, FUNCTION = biolink.token_eq,
	COMMUTATOR = OPERATOR(biolink.=), NEGATOR = OPERATOR(biolink.<>),
	RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR biolink.<> (
	LEFTARG = biolink.token, RIGHTARG = biolink.token, FUNCTION = biolink.token_ne,
	COMMUTATOR = OPERATOR(biolink.<>), NEGATOR = OPERATOR(biolink.=),
	RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);
CREATE OPERATOR biolink.< (
	LEFTARG = biolink.token, RIGHTARG = biolink.token, FUNCTION = biolink.token_lt,
	COMMUTATOR = OPERATOR(biolink.>), NEGATOR = OPERATOR(biolink.>=),
	RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel
);
CREATE OPERATOR biolink.<= (
	LEFTARG = biolink.token, RIGHTARG = biolink.token, FUNCTION = biolink.token_le,
	COMMUTATOR = OPERATOR(biolink.>=), NEGATOR = OPERATOR(biolink.>),
	RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel
);
CREATE OPERATOR biolink.> (
	LEFTARG = biolink.token, RIGHTARG = biolink.token, FUNCTION = biolink.token_gt,
	COMMUTATOR = OPERATOR(biolink.<), NEGATOR = OPERATOR(biolink.<=),
	RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel
);
CREATE OPERATOR biolink.>= (
	LEFTARG = biolink.token, RIGHTARG = biolink.token, FUNCTION = biolink.token_ge,
	COMMUTATOR = OPERATOR(biolink.<=), NEGATOR = OPERATOR(biolink.<),
	RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel
);

COMMENT ON OPERATOR biolink.= (biolink.token, biolink.token) IS 'equal';
COMMENT ON OPERATOR biolink.<> (biolink.token, biolink.token) IS 'not equal';
COMMENT ON OPERATOR biolink.< (biolink.token, biolink.token) IS 'less than, as bytes';
COMMENT ON OPERATOR biolink.<= (biolink.token, biolink.token) IS 'less than or equal, as bytes';
COMMENT ON OPERATOR biolink.> (biolink.token, biolink.token) IS 'greater than, as bytes';
COMMENT ON OPERATOR biolink.>= (biolink.token, biolink.token) IS 'greater than or equal, as bytes';

-- equal values have equal bytes, so index entries may be deduplicated
CREATE OPERATOR CLASS biolink.token_ops DEFAULT FOR TYPE biolink.token USING btree AS
	OPERATOR 1 biolink.<,
	OPERATOR 2 biolink.<=,
	OPERATOR 3 biolink.=,
	OPERATOR 4 biolink.>=,
	OPERATOR 5 biolink.>,
	FUNCTION 1 biolink.token_cmp(biolink.token, biolink.token),
	FUNCTION 4 pg_catalog.btequalimage(pg_catalog.oid);
CREATE OPERATOR CLASS biolink.token_ops DEFAULT FOR TYPE biolink.token USING hash AS
	OPERATOR 1 biolink.=,
	FUNCTION 1 biolink.token_hash(biolink.token),
	FUNCTION 2 biolink.token_hash_extended(biolink.token, pg_catalog.int8);

COMMENT ON OPERATOR CLASS biolink.token_ops USING btree IS 'order of token values, as bytes';
COMMENT ON OPERATOR CLASS biolink.token_ops USING hash IS 'equality of token values';
COMMENT ON OPERATOR FAMILY biolink.token_ops USING btree IS 'order of token values, as bytes';
COMMENT ON OPERATOR FAMILY biolink.token_ops USING hash IS 'equality of token values';

GRANT EXECUTE ON FUNCTION
	biolink.token_in(pg_catalog.cstring),
	biolink.token_out(biolink.token),
	biolink.token_recv(pg_catalog.internal),
	biolink.token_send(biolink.token),
	biolink.token_eq(biolink.token, biolink.token),
	biolink.token_ne(biolink.token, biolink.token),
	biolink.token_lt(biolink.token, biolink.token),
	biolink.token_le(biolink.token, biolink.token),
	biolink.token_gt(biolink.token, biolink.token),
	biolink.token_ge(biolink.token, biolink.token),
	biolink.token_cmp(biolink.token, biolink.token),
	biolink.token_hash(biolink.token),
	biolink.token_hash_extended(biolink.token, pg_catalog.int8)
	TO biolink_app, biolink_analyst, biolink_admin;

-- loses nothing, and lets verify_token() be given a token as it is
CREATE CAST (biolink.token AS pg_catalog.text) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (biolink.token AS pg_catalog.text) IS 'unpadded base64url of the token';

-- UUIDs of version 7 --------------------------------------------------------

CREATE FUNCTION biolink.uuid_v7(at pg_catalog.timestamptz DEFAULT pg_catalog.clock_timestamp())
	RETURNS pg_catalog.uuid
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION biolink.uuid_v7(pg_catalog.timestamptz) IS
	'new UUID of version 7 for something that happened at that time';

CREATE FUNCTION biolink.uuid_v7_time(pg_catalog.uuid) RETURNS pg_catalog.timestamptz
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION biolink.uuid_v7_time(pg_catalog.uuid) IS
	'time in a UUID of version 7, to the millisecond; NULL for other UUIDs';

CREATE FUNCTION biolink.uuid_v7_floor(at pg_catalog.timestamptz) RETURNS pg_catalog.uuid
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION biolink.uuid_v7_floor(pg_catalog.timestamptz) IS
	'least UUID of version 7 of that millisecond, for range scans by id; the least UUID of all before 1970, the greatest of all from 10889 on';

GRANT EXECUTE ON FUNCTION
	biolink.uuid_v7(pg_catalog.timestamptz),
	biolink.uuid_v7_time(pg_catalog.uuid),
	biolink.uuid_v7_floor(pg_catalog.timestamptz)
	TO biolink_app, biolink_analyst, biolink_admin;
