--
-- Types idhash and token, and UUIDs of version 7
--

CREATE ROLE regress_types_analyst;
GRANT biolink_analyst TO regress_types_analyst;
GRANT CREATE ON SCHEMA public TO regress_types_analyst;
SET ROLE regress_types_analyst;
SET search_path = public, biolink;

-- idhash: text form
SELECT '0123456789abcdef0123456789ABCDEF'::idhash;
SELECT ''::idhash;
SELECT '0123456789abcdef0123456789abcde'::idhash;
SELECT '0123456789abcdef0123456789abcdef0'::idhash;
SELECT '0123456789abcdef0123456789abcdeg'::idhash;
SELECT ' 123456789abcdef0123456789abcdef'::idhash;
SELECT '\x23456789abcdef0123456789abcdef'::idhash;
-- what is no idhash may be an address and is not repeated in the message
SELECT 'jane@example.com'::idhash;

-- idhash: binary form
SELECT idhash_send('0123456789abcdef0123456789abcdef');
SELECT octet_length(idhash_send('0123456789abcdef0123456789abcdef'));
SELECT typlen, typalign, typstorage, typbyval FROM pg_type WHERE oid = 'biolink.idhash'::regtype;

-- idhash: every operator against every order of two values
SELECT a, b, a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt, idhash_cmp(a, b) < 0 AS less
FROM (VALUES
    ('00000000000000000000000000000000'::idhash, '00000000000000000000000000000001'::idhash),
    ('00000000000000000000000000000001', '00000000000000000000000000000000'),
    ('7fffffffffffffffffffffffffffffff', '80000000000000000000000000000000'),
    ('ffffffffffffffffffffffffffffffff', 'ffffffffffffffffffffffffffffffff')) AS v(a, b);

-- idhash: sorting, grouping, hashing, indexes
CREATE TABLE regress_idhash AS
    SELECT md5((i % 1000)::text)::idhash AS h, i FROM generate_series(1, 3000) AS i;
SELECT count(*), count(DISTINCT h), min(h::text) = (array_agg(h ORDER BY h))[1]::text AS sorted FROM regress_idhash;
SELECT bool_and(a.h::text <= b.h::text) AS same_order_as_text
FROM (SELECT h, row_number() OVER (ORDER BY h) AS n FROM regress_idhash) AS a
JOIN (SELECT h, row_number() OVER (ORDER BY h) AS n FROM regress_idhash) AS b ON b.n = a.n + 1;
CREATE INDEX regress_idhash_btree ON regress_idhash (h);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM regress_idhash WHERE h = md5('7')::idhash;
SELECT count(*) FROM regress_idhash WHERE h = md5('7')::idhash;
SELECT count(*) FROM regress_idhash WHERE h >= '80000000000000000000000000000000';
DROP INDEX regress_idhash_btree;
CREATE INDEX regress_idhash_hash ON regress_idhash USING hash (h);
EXPLAIN (COSTS OFF) SELECT count(*) FROM regress_idhash WHERE h = md5('7')::idhash;
SELECT count(*) FROM regress_idhash WHERE h = md5('7')::idhash;
RESET enable_seqscan;
RESET enable_bitmapscan;
SET enable_mergejoin = off;
SET enable_nestloop = off;
SELECT count(*) FROM regress_idhash AS a JOIN regress_idhash AS b USING (h);
RESET enable_mergejoin;
SET enable_hashjoin = off;
SELECT count(*) FROM regress_idhash AS a JOIN regress_idhash AS b USING (h);
RESET enable_hashjoin;
RESET enable_nestloop;
SELECT idhash_hash_extended(h, 0)::bit(32) = idhash_hash(h)::bit(32) AS same_low_bits,
    idhash_hash_extended(h, 1) <> idhash_hash_extended(h, 0) AS seeded
FROM (SELECT md5('x')::idhash AS h) AS x;
DROP TABLE regress_idhash;

-- hash partitions by idhash
CREATE TABLE regress_parts (h idhash) PARTITION BY HASH (h);
CREATE TABLE regress_parts_0 PARTITION OF regress_parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE regress_parts_1 PARTITION OF regress_parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO regress_parts SELECT md5(i::text)::idhash FROM generate_series(1, 100) AS i;
SELECT (SELECT count(*) FROM regress_parts_0) BETWEEN 30 AND 70 AS spread, count(*) FROM regress_parts;
DROP TABLE regress_parts;

-- token: text form; whatever is not exactly right is refused
SELECT 'EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'::token;
SELECT ''::token;
SELECT 'EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUl'::token;
SELECT 'EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUl='::token;
SELECT 'EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT+w87ShiqUlb'::token;
SELECT ' AAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'::token;
-- version 2, kind 3, algorithm 2, a flag, the length of another kind
SELECT 'IAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'::token;
SELECT 'EwAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'::token;
SELECT 'EIAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'::token;
SELECT 'EAEAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'::token;
SELECT 'EQAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'::token;
-- the form for QR codes is not the text form of the type
SELECT 'CAAAAAIBTN3NVKAAPK6I33YBENCWPCNLNFLQVAAAAAJNNB2L23FERAB4T5H6YPHNFBRKSSK3'::token;

-- token: binary form, storage, cast to text
SELECT token_send('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb');
SELECT typlen, typalign, typstorage FROM pg_type WHERE oid = 'biolink.token'::regtype;
SELECT length('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'::token),
    pg_column_size(ROW('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'::token)) < 80 AS compact;

-- token: operators; the shorter of two with the same start comes first
SELECT a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt, sign(token_cmp(a, b))
FROM (VALUES
    ('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'::token, 'EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1oco5lfjroScoHF5cri1T348'::token),
    ('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb', 'EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'),
    ('EQAAAQGbdtqoAHq8je8BI0VniatpfUYAAAAS1ocAADreaLEAAAAAEJKvV8GUPMhH-FCOTb2BhUay', 'EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb')) AS v(a, b);
CREATE TABLE regress_token (t token);
INSERT INTO regress_token
    SELECT rpad('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL', 60, md5((i % 500)::text))::token FROM generate_series(1, 1000) AS i;
\set VERBOSITY sqlstate
CREATE UNIQUE INDEX ON regress_token (t);
\set VERBOSITY default
DELETE FROM regress_token AS a USING regress_token AS b WHERE a.t = b.t AND a.ctid > b.ctid;
CREATE UNIQUE INDEX regress_token_unique ON regress_token (t);
SELECT count(*), count(DISTINCT t) FROM regress_token;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(*) FROM regress_token WHERE t = rpad('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL', 60, md5('7'))::token;
CREATE INDEX regress_token_hash ON regress_token USING hash (t);
DROP INDEX regress_token_unique;
EXPLAIN (COSTS OFF) SELECT count(*) FROM regress_token WHERE t = 'EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb';
SELECT count(*) FROM regress_token WHERE t = rpad('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL', 60, md5('7'))::token;
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT token_hash_extended(t, 0)::bit(32) = token_hash(t)::bit(32) AS same_low_bits,
    token_hash_extended(t, 1) <> token_hash_extended(t, 0) AS seeded
FROM regress_token LIMIT 1;

-- both types through COPY BINARY and back
RESET ROLE;
CREATE TABLE public.regress_copy (h biolink.idhash, t biolink.token);
INSERT INTO public.regress_copy VALUES
    ('00112233445566778899aabbccddeeff', 'EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'),
    (NULL, 'EQAAAQGbdtqoAHq8je8BI0VniatpfUYAAAAS1ocAADreaLEAAAAAEJKvV8GUPMhH-FCOTb2BhUay');
\copy public.regress_copy TO 'results/types_copy.bin' (FORMAT binary)
CREATE TABLE public.regress_copied (h biolink.idhash, t biolink.token);
\copy public.regress_copied FROM 'results/types_copy.bin' (FORMAT binary)
SELECT count(*) AS the_same FROM (TABLE public.regress_copy INTERSECT TABLE public.regress_copied) AS x;
-- other bytes than those of a token, and a length other than 16
CREATE TABLE public.regress_bytes (h bytea, t bytea);
INSERT INTO public.regress_bytes VALUES (NULL, '\x1000');
\copy public.regress_bytes TO 'results/types_copy.bin' (FORMAT binary)
\set VERBOSITY sqlstate
\copy public.regress_copied FROM 'results/types_copy.bin' (FORMAT binary)
UPDATE public.regress_bytes SET h = '\x00', t = NULL;
\copy public.regress_bytes TO 'results/types_copy.bin' (FORMAT binary)
\copy public.regress_copied FROM 'results/types_copy.bin' (FORMAT binary)
UPDATE public.regress_bytes SET h = NULL, t = decode('20000001019b76daa8007abc8def0123456789ab69570a8000000012d6874bd6ca48803c9f4fec3ced2862a9495b', 'hex');
\copy public.regress_bytes TO 'results/types_copy.bin' (FORMAT binary)
\copy public.regress_copied FROM 'results/types_copy.bin' (FORMAT binary)
\set VERBOSITY default
DROP TABLE public.regress_copy, public.regress_copied, public.regress_bytes;
SET ROLE regress_types_analyst;

-- UUIDs of version 7: the example of RFC 9562
SELECT uuid_v7_time('017F22E2-79B0-7CC3-98C4-DC0C0C07398F') = to_timestamp(1645557742) AS rfc_example;
SELECT uuid_v7_time('017F22E2-79B0-4CC3-98C4-DC0C0C07398F') AS version_4, uuid_v7_time('017F22E2-79B0-7CC3-18C4-DC0C0C07398F') AS other_variant,
    uuid_v7_time('00000000-0000-0000-0000-000000000000') AS nothing, uuid_v7_time(NULL) AS unknown;
SELECT uuid_v7_time('00000000-0000-7000-8000-000000000000') = to_timestamp(0) AS first,
    uuid_v7_time('ffffffff-ffff-7fff-bfff-ffffffffffff') AT TIME ZONE 'UTC' AS last;
SELECT at, uuid_v7_time(uuid_v7(at)) = date_trunc('milliseconds', at) AS to_the_millisecond,
    uuid_v7(at)::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' AS version_and_variant
FROM (VALUES ('1970-01-01 00:00:00+00'::timestamptz), ('1999-12-31 23:59:59.999999+00'), ('2000-01-01 00:00:00+00'),
    ('2026-01-01 00:00:00.000999+00'), ('9999-12-31 23:59:59.9999+00')) AS v(at);
SELECT count(DISTINCT uuid_v7('2026-01-01 00:00:00+00')) FROM generate_series(1, 1000);
-- among 1000 random ids every free bit is set at least once, every fixed one always
SELECT bit_or(('x' || replace(u::text, '-', ''))::bit(128)) = ('x' || '019b7740bf00' || '7fff' || 'bfff' || 'ffffffffffff')::bit(128) AS all_bits,
    bit_and(('x' || replace(u::text, '-', ''))::bit(128)) = ('x' || '019b7740bf00' || '7000' || '8000' || '000000000000')::bit(128) AS no_bit
FROM (SELECT uuid_v7('2026-01-01 01:51:30.560+00') AS u FROM generate_series(1, 1000)) AS ids;
SELECT abs(extract(epoch FROM clock_timestamp() - uuid_v7_time(uuid_v7()))) < 60 AS now_by_default;
SELECT uuid_v7(NULL);
SELECT uuid_v7('1969-12-31 23:59:59.999999+00');
SELECT uuid_v7('infinity');
SELECT uuid_v7('-infinity');
SELECT uuid_v7('20000-01-01 00:00:00+00');

-- the floor of a millisecond separates the ids before it from those of it
SELECT uuid_v7_floor('2022-02-22 19:22:22+00'), uuid_v7_floor('2022-02-22 19:22:22.000999+00'), uuid_v7_floor('2022-02-22 19:22:22.001+00');
SELECT uuid_v7_floor('1970-01-01 00:00:00+00'), uuid_v7_floor('1969-12-31 23:59:59.999999+00'), uuid_v7_floor('-infinity');
SELECT uuid_v7_floor('infinity'), uuid_v7_floor('20000-01-01 00:00:00+00'), uuid_v7_floor(NULL);
SELECT bool_and(uuid_v7(at) >= uuid_v7_floor(at)) AS not_less, bool_and(uuid_v7(at) < uuid_v7_floor(at + interval '1 millisecond')) AS less_than_next,
    bool_and(uuid_v7_time(uuid_v7_floor(at)) = date_trunc('milliseconds', at)) AS same_time
FROM (SELECT timestamptz '2026-01-01 00:00:00+00' + i * interval '0.000137' AS at FROM generate_series(1, 1000) AS i) AS times;

-- nothing is left open to everybody
RESET ROLE;
CREATE ROLE regress_types_nobody;
SET ROLE regress_types_nobody;
SELECT biolink.uuid_v7();
RESET ROLE;
DROP ROLE regress_types_nobody;
SET ROLE regress_types_analyst;
DROP TABLE regress_token;
RESET ROLE;
RESET search_path;
REVOKE CREATE ON SCHEMA public FROM regress_types_analyst;
DROP ROLE regress_types_analyst;
