--
-- Tokens: made and judged with the root key of test/vectors/biolink_v1.tsv
--

CREATE ROLE regress_tokens_app;
GRANT biolink_app TO regress_tokens_app;
CREATE ROLE regress_tokens_analyst;
GRANT biolink_analyst TO regress_tokens_analyst;
SET TIME ZONE 'UTC';
SET datestyle = 'ISO';

-- the key these tests are for
SELECT fingerprint_found = '4d018cc06b7c43de742c4b717852081f' AS test_key FROM biolink.key_status();

CREATE TEMPORARY TABLE golden (name text, kind text, algorithm text, link_id bigint, campaign_id bigint, expires bigint, audience text,
    base64url text, base32 text);
INSERT INTO golden VALUES
    ('session', 'session', 'hmac', NULL, NULL, 1767312000, '',
     'EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb',
     'CAAAAAIBTN3NVKAAPK6I33YBENCWPCNLNFLQVAAAAAJNNB2L23FERAB4T5H6YPHNFBRKSSK3'),
    ('session with audience', 'session', 'hmac', NULL, NULL, 1767312000, 'shop.example',
     'EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1oco5lfjroScoHF5cri1T348',
     'CAAAAAIBTN3NVKAAPK6I33YBENCWPCNLNFLQVAAAAAJNNBZI4ZL6HLUETSQHC6LSXC2U67R4'),
    ('redirect', 'redirect', 'hmac', 987654321, 4242, 1769817600, 'shop.example',
     'EQAAAQGbdtqoAHq8je8BI0VniatpfUYAAAAS1ocAADreaLEAAAAAEJKvV8GUPMhH-FCOTb2BhUay',
     'CEAAAAIBTN3NVKAAPK6I33YBENCWPCNLNF6UMAAAAAJNNBYAAA5N42FRAAAAAAAQSKXVPQMUHTEEP6CQRZG33AMFI2ZA'),
    ('receipt', 'receipt', 'hmac', 987654321, 4242, 1769817600, '',
     'EgAAAQGbdtqoAHq8je8BI0VniatpfUYAAAAS1ocAADreaLEAAAAAEJKmTGMAz8v_DcpMTI_y52PH',
     'CIAAAAIBTN3NVKAAPK6I33YBENCWPCNLNF6UMAAAAAJNNBYAAA5N42FRAAAAAAAQSKTEYYYAZ7F76DOKJRGI74XHMPDQ'),
    ('session ed25519', 'session', 'ed25519', NULL, NULL, 1767312000, '',
     'EEAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1oe14ZfPJei94u311kPCZmdt-jDbn3g0p2t__V0bnhiJ27_qTOs58AKr4-bz0VJfCr9zj_A-Fqv_83paY72TSxAC',
     'CBAAAAIBTN3NVKAAPK6I33YBENCWPCNLNFLQVAAAAAJNNB5V4GL46JPIXXRO35OWIPBGMZ3N7IYNXH3YGSTWW775LUNZ4GEJ3O76UTHLHHYAFK7D43Z5CUS7BK7XHD7QHYLKX77TPJNGHPMTJMIAE'),
    ('redirect ed25519', 'redirect', 'ed25519', 987654321, 4242, 1769817600, 'shop.example',
     'EUAAAQGbdtqoAHq8je8BI0VniatpfUYAAAAS1ocAADreaLEAAAAAEJLQd5oz5yVaZEtb6lVZ7w1BsxgVpiW0vW6SfW24KQ8SsdjKPEAd2llu992ozqbtSk9jVEr0OXZTB_l8a5_6J-YL',
     'CFAAAAIBTN3NVKAAPK6I33YBENCWPCNLNF6UMAAAAAJNNBYAAA5N42FRAAAAAAAQSLIHPGRT44SVUZCLLPVFKWPPBVA3GGAVUYS3JPLOSJ6W3OBJB4JLDWGKHRAB3WSZN3353KGOU3WUUT3DKRFPIOLWKMD7S7DLT75CPZQL');
GRANT SELECT ON golden TO regress_tokens_app;

SET ROLE regress_tokens_app;

-- the golden values, made
SELECT name, token::text = base64url AS base64url, biolink.token_qr(token) = base32 AS base32, pg_column_size(token) - 4 AS bytes
FROM golden AS g, LATERAL (SELECT biolink.issue_token(1234567, g.kind, '019b76da-a800-7abc-8def-0123456789ab', g.link_id, g.campaign_id,
    audience => g.audience, algorithm => g.algorithm, expires_at => to_timestamp(g.expires)) AS token OFFSET 0) AS t;

-- and judged, in both text forms
SELECT g.name, v.* FROM golden AS g, biolink.verify_token(g.base64url, g.audience, '2026-01-01 12:00:00+00') AS v;
SELECT g.name, v.valid, v.reason, v.kind, v.creator_id, v.link_id, v.campaign_id
FROM golden AS g, biolink.verify_token(g.base32, g.audience, '2026-01-01 12:00:00+00') AS v;

-- a token expires at the very second it names; its fields can still be trusted then
SELECT at, v.valid, v.reason, v.click_id, v.expires_at
FROM (VALUES ('2026-01-01 23:59:59.999999+00'::timestamptz), ('2026-01-02 00:00:00+00'), ('infinity'), ('-infinity'), ('epoch')) AS t(at),
    biolink.verify_token('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb', '', t.at) AS v;

-- the audience is part of what is signed
SELECT audience, v.* FROM (VALUES ('shop.example'), ('Shop.example'), ('shop.example '), (''), (NULL)) AS t(audience),
    biolink.verify_token('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1oco5lfjroScoHF5cri1T348', t.audience, '2026-01-01') AS v;

-- NULL arguments mean the defaults; a NULL token is malformed
SELECT * FROM biolink.verify_token(NULL);
SELECT * FROM biolink.verify_token(NULL, NULL, NULL);
SELECT valid, reason FROM biolink.verify_token('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb', NULL, '2026-01-01');
SELECT valid, reason FROM biolink.verify_token(biolink.issue_token(1, 'session', biolink.uuid_v7()), '', NULL);

-- no text makes it fail
SELECT left(t.text, 20) AS text, v.valid, v.reason, v.creator_id IS NULL AS nothing_said FROM (VALUES
    (''), (' '), ('=' ), ('A'), (repeat('A', 60)), (repeat('A', 72)), (repeat('E', 60)), (repeat('-', 140)), (repeat('7', 168)), (repeat('=', 92)),
    (repeat('x', 10000000)), (repeat('é', 30)), (repeat('é', 60)), (repeat('€', 20)), (E'EAAA\n'), ('null'), ('{"token": 1}'), ('%00%0a'), (E'\x01\x02'),
    -- padded, in the standard alphabet, with white space, in lower case, cut
    ('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb===='),
    ('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT+w87ShiqUlb'),
    (E'EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb\n'),
    (' EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'),
    (lower('CAAAAAIBTN3NVKAAPK6I33YBENCWPCNLNFLQVAAAAAJNNB2L23FERAB4T5H6YPHNFBRKSSK3')),
    ('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUl'),
    -- version 2, kind 3, algorithm 2, a flag, the length of another kind
    ('IAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'),
    ('EwAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'),
    ('EIAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'),
    ('EAEAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'),
    ('EQAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'),
    -- epochs 0, 2 and 65535; creator 0; another creator; another event
    ('EAAAAAGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'),
    ('EAAAAgGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'),
    ('EAD__wGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'),
    ('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAAAABL1spIgDyfT-w87ShiqUlb'),
    ('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1ohL1spIgDyfT-w87ShiqUlb'),
    ('EAAAAQGbdtqoAHq8je8BI0VniaxpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb')) AS t(text),
    biolink.verify_token(t.text, '', '2026-01-01') AS v;

-- not one character can be another
SELECT g.name, v.valid, count(*) > 0 AS some, array_agg(DISTINCT v.reason) AS reasons
FROM golden AS g, generate_series(1, length(g.base64url)) AS i,
    biolink.verify_token(overlay(g.base64url PLACING CASE substr(g.base64url, i, 1) WHEN 'B' THEN 'C' ELSE 'B' END FROM i), g.audience, '2026-01-01') AS v
GROUP BY 1, 2 ORDER BY 1, 2;
SELECT g.name, v.valid, count(*) > 0 AS some, array_agg(DISTINCT v.reason) AS reasons
FROM golden AS g, generate_series(1, length(g.base32)) AS i,
    biolink.verify_token(overlay(g.base32 PLACING CASE substr(g.base32, i, 1) WHEN 'B' THEN 'C' ELSE 'B' END FROM i), g.audience, '2026-01-01') AS v
GROUP BY 1, 2 ORDER BY 1, 2;

-- how long tokens live
SELECT k.kind, v.expires_at - date_trunc('second', now()) AS ttl, v.issued_at = date_trunc('milliseconds', now()) AS issued_at_event
FROM (VALUES ('session'), ('redirect'), ('receipt')) AS k(kind),
    biolink.verify_token(biolink.issue_token(1, k.kind, biolink.uuid_v7(now()))) AS v;
SELECT ttl, v.valid, v.reason, v.expires_at - date_trunc('second', now()) AS lives
FROM (VALUES ('1 hour'::interval), ('90 days'), ('-1 hour'), ('0'), ('1 day -1 second')) AS t(ttl),
    biolink.verify_token(biolink.issue_token(1, 'session', biolink.uuid_v7(), ttl => t.ttl)) AS v;
SELECT v.expires_at = date_trunc('second', now() + interval '2 months') AS calendar_month
FROM biolink.verify_token(biolink.issue_token(1, 'session', biolink.uuid_v7(), ttl => '2 months')) AS v;
SELECT t.expires_at, v.expires_at AS stated FROM (VALUES ('1970-01-01 00:00:00+00'::timestamptz), ('2026-06-01 12:00:00.999999+00'), ('2106-02-07 06:28:15.999999+00')) AS t(expires_at),
    biolink.verify_token(biolink.issue_token(1, 'session', biolink.uuid_v7(), ttl => '1 second', expires_at => t.expires_at)) AS v;

-- the ends of the ranges, and audiences of any length and alphabet
SELECT v.creator_id, v.link_id, v.campaign_id, v.valid FROM (VALUES (1::bigint, 1::bigint, 1::bigint), (1099511627775, 281474976710655, 281474976710655)) AS t(c, l, m),
    biolink.verify_token(biolink.issue_token(c, 'redirect', biolink.uuid_v7(), l, m)) AS v;
SELECT algorithm, length(audience), v.valid, w.reason
FROM (VALUES ('hmac'), ('ed25519')) AS a(algorithm), (VALUES ('käse.example'), (repeat('https://shop.example/', 20000))) AS t(audience),
    LATERAL (SELECT biolink.issue_token(1, 'receipt', biolink.uuid_v7(), audience => audience, algorithm => algorithm) AS token OFFSET 0) AS i,
    biolink.verify_token(i.token, audience) AS v, biolink.verify_token(i.token, audience || ' ') AS w
ORDER BY length(audience), algorithm DESC;

-- one call for one field, and one call for all of them
SELECT (biolink.verify_token('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb', '', '2026-01-01')).click_id;
SELECT biolink.verify_token('x');

-- arguments that are refused
SELECT biolink.issue_token(NULL, 'session', '019b76da-a800-7abc-8def-0123456789ab');
SELECT biolink.issue_token(0, 'session', '019b76da-a800-7abc-8def-0123456789ab');
SELECT biolink.issue_token(-1, 'session', '019b76da-a800-7abc-8def-0123456789ab');
SELECT biolink.issue_token(1099511627776, 'session', '019b76da-a800-7abc-8def-0123456789ab');
SELECT biolink.issue_token(1, NULL, '019b76da-a800-7abc-8def-0123456789ab');
SELECT biolink.issue_token(1, 'Session', '019b76da-a800-7abc-8def-0123456789ab');
SELECT biolink.issue_token(1, 'session', NULL);
SELECT biolink.issue_token(1, 'session', '9b3c1c1e-7d0f-4c1a-9a55-3b6f0d5c8f11');
SELECT biolink.issue_token(1, 'session', '019b76da-a800-7abc-8def-0123456789ab', 5);
SELECT biolink.issue_token(1, 'session', '019b76da-a800-7abc-8def-0123456789ab', NULL, 5);
SELECT biolink.issue_token(1, 'redirect', '019b76da-a800-7abc-8def-0123456789ab', 0);
SELECT biolink.issue_token(1, 'redirect', '019b76da-a800-7abc-8def-0123456789ab', 281474976710656);
SELECT biolink.issue_token(1, 'receipt', '019b76da-a800-7abc-8def-0123456789ab', 1, -1);
SELECT biolink.issue_token(1, 'session', '019b76da-a800-7abc-8def-0123456789ab', algorithm => 'none');
SELECT biolink.issue_token(1, 'session', '019b76da-a800-7abc-8def-0123456789ab', expires_at => 'infinity');
SELECT biolink.issue_token(1, 'session', '019b76da-a800-7abc-8def-0123456789ab', expires_at => '-infinity');
SELECT biolink.issue_token(1, 'session', '019b76da-a800-7abc-8def-0123456789ab', expires_at => '1969-12-31 23:59:59.999999+00');
SELECT biolink.issue_token(1, 'session', '019b76da-a800-7abc-8def-0123456789ab', expires_at => '2106-02-07 06:28:16+00');
SELECT biolink.issue_token(1, 'session', '019b76da-a800-7abc-8def-0123456789ab', ttl => '100 years');
\set VERBOSITY sqlstate
SELECT biolink.issue_token(1, 'session', '019b76da-a800-7abc-8def-0123456789ab', ttl => '-100 years');
SELECT biolink.issue_token(1, 'session', '019b76da-a800-7abc-8def-0123456789ab', ttl => '-5999 years');
SELECT biolink.issue_token(1, 'session', '019b76da-a800-7abc-8def-0123456789ab', ttl => '178000000 years');
SELECT biolink.issue_token(1, 'session', '019b76da-a800-7abc-8def-0123456789ab', ttl => '-178000000 years -2147483648 days');
SELECT biolink.issue_token(1, 'session', '019b76da-a800-7abc-8def-0123456789ab', ttl => '2147483647 days 2562047788 hours');
\set VERBOSITY default
-- NULL means the default where there is one
SELECT v.valid FROM biolink.verify_token(biolink.issue_token(1, 'session', biolink.uuid_v7(), NULL, NULL, NULL, NULL, NULL, NULL)) AS v;

-- identity hashes of known SHA-256 values
SELECT kind, biolink.identity_hash_sha256(1234567, kind, decode(sha256, 'hex'))::text = idhash AS golden, encode(public.digest(value, 'sha256'), 'hex') = sha256 AS sha256
FROM (VALUES
    ('email', 'test.test@test.com', '76f1028cf2991f26b4fd2221486c0fd26f12813bf5bf32f13d42d43ac9bcf343', 'b41a5c03bf849272e1ec720bdb7d5f4b'),
    ('email', 'jane@example.com', '8c87b489ce35cf2e2f39f80e282cb2e804932a56a213983eeeb428407d43b52d', '3ce2b45f36cfc321616bff25ca1eb258'),
    ('phone', '+12345678901', '10e6f0b47054a83359477dcb35231db6de5c69fb1816e1a6b98e192de9e5b9ee', '7135d64c66ed718cb5f1f395f7f5bdaf'),
    ('external', 'stripe:cus_123', '5f5bf31e525e4b47979d3f63b62467c6548956ae0817ddf31e3e292eb716f0cb', 'bfb9558a0503c15f76d9c14e4ef59d51'),
    ('visitor', 'abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad', '18dcbb044c31032a4bea444ab003b3d0')) AS v(kind, value, sha256, idhash);
-- each creator and each kind has hashes of its own
SELECT count(DISTINCT biolink.identity_hash_sha256(c, k, public.digest('abc', 'sha256')))
FROM generate_series(1, 10) AS c, unnest(ARRAY['email', 'phone', 'visitor']) AS k;
SELECT biolink.identity_hash_sha256(1, 'email', NULL);
SELECT biolink.identity_hash_sha256(0, 'email', public.digest('abc', 'sha256'));
SELECT biolink.identity_hash_sha256(1, 'Email', public.digest('abc', 'sha256'));
SELECT biolink.identity_hash_sha256(1, '', public.digest('abc', 'sha256'));
SELECT biolink.identity_hash_sha256(1, repeat('a', 64), public.digest('abc', 'sha256'));
SELECT biolink.identity_hash_sha256(1, 'email', public.digest('abc', 'sha1'));

-- an independent computation of tag and hash agrees
WITH pae AS (
    SELECT '\x03000000000000000300000000000000'::bytea || 'bl1' || '\x1d00000000000000'
        || substr(biolink.token_send('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'), 1, 29) || '\x0000000000000000' AS message)
SELECT substr(public.hmac(message, '\xcb8a5fe98edc2332d7fc69de0e00cd927edcfedbdaa5208a9b7a1dee14f82e92', 'sha256'), 1, 16)
    = substr(biolink.token_send('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb'), 30) AS tag
FROM pae;

-- analysts have no business here
SET ROLE regress_tokens_analyst;
SELECT biolink.issue_token(1, 'session', biolink.uuid_v7());
SELECT biolink.verify_token('x');
SELECT biolink.identity_hash_sha256(1, 'email', '\x00');
SELECT biolink.token_qr('EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb');
SELECT * FROM biolink.key_status();
RESET ROLE;

DROP TABLE golden;
DROP ROLE regress_tokens_app, regress_tokens_analyst;
