--
-- Keys: fingerprints of root keys, epochs of derived keys, and who may see them
--

CREATE ROLE regress_keys_app;
GRANT biolink_app TO regress_keys_app;
CREATE ROLE regress_keys_analyst;
GRANT biolink_analyst TO regress_keys_analyst;
CREATE ROLE regress_keys_admin;
GRANT biolink_admin TO regress_keys_admin;
\set session '\'EAAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1odL1spIgDyfT-w87ShiqUlb\''
\set ed25519 '\'EEAAAQGbdtqoAHq8je8BI0VniatpVwqAAAAS1oe14ZfPJei94u311kPCZmdt-jDbn3g0p2t__V0bnhiJ27_qTOs58AKr4-bz0VJfCr9zj_A-Fqv_83paY72TSxAC\''
\set event '\'019b76da-a800-7abc-8def-0123456789ab\''

-- the settings belong to the administrator of the server
LOAD 'biolink';
SET ROLE regress_keys_app;
\set VERBOSITY sqlstate
SHOW biolink.root_key_file;
SHOW biolink.root_key_command;
\set VERBOSITY default
SET biolink.root_key_command = 'echo nobody runs this';
SET biolink.root_key_fiel = 'x';
RESET ROLE;
SET biolink.root_key_file = 'x';
SELECT name, context, setting = '' AS empty FROM pg_settings WHERE name LIKE 'biolink.root%' ORDER BY name;

-- a call that writes records the fingerprint of the root key; one that reads does not
DELETE FROM biolink.root_key;
\c -
SET ROLE regress_keys_admin;
SELECT generation, source, location IS NOT NULL AS located, fingerprint_found, fingerprint_expected, state, advice FROM biolink.key_status();
SET ROLE regress_keys_app;
SELECT valid, reason FROM biolink.verify_token(:session, '', '2026-01-01');
SELECT biolink.identity_hash_sha256(1, 'email', sha256('x'));
BEGIN READ ONLY;
SELECT biolink.issue_token(1, 'session', :event) IS NOT NULL AS issued;
COMMIT;
RESET ROLE;
SELECT count(*) FROM biolink.root_key;
SET ROLE regress_keys_app;
BEGIN;
SELECT biolink.issue_token(1, 'session', :event) IS NOT NULL AS issued;
ROLLBACK;
BEGIN;
SAVEPOINT a;
SELECT biolink.issue_token(1, 'session', :event) IS NOT NULL AS issued;
ROLLBACK TO a;
COMMIT;
RESET ROLE;
SELECT count(*) FROM biolink.root_key;
SET ROLE regress_keys_app;
SELECT biolink.issue_token(1, 'session', :event) IS NOT NULL AS issued;
SELECT biolink.issue_token(1, 'session', :event) IS NOT NULL AS issued;
RESET ROLE;
SELECT generation, fingerprint, first_used_at <= now() AS past FROM biolink.root_key;
SET ROLE regress_keys_admin;
SELECT generation, source, fingerprint_found = fingerprint_expected AS same, state, advice FROM biolink.key_status();

-- under another root key nothing is signed or hashed, and nothing verifies
RESET ROLE;
UPDATE biolink.root_key SET fingerprint = '00000000000000000000000000000000';
\c -
SET ROLE regress_keys_app;
SELECT biolink.issue_token(1, 'session', :event);
SELECT biolink.issue_token(1, 'session', :event, algorithm => 'ed25519');
SELECT biolink.identity_hash_sha256(1, 'email', sha256('x'));
SELECT valid, reason FROM biolink.verify_token(:session, '', '2026-01-01');
SELECT valid, reason FROM biolink.verify_token(:ed25519, '', '2026-01-01');
SELECT valid, reason FROM biolink.verify_token('x', '', '2026-01-01');
SET ROLE regress_keys_admin;
SELECT generation, fingerprint_found, fingerprint_expected, state, advice FROM biolink.key_status();
-- a generation that is lacking
RESET ROLE;
UPDATE biolink.root_key SET fingerprint = '4d018cc06b7c43de742c4b717852081f';
INSERT INTO biolink.root_key (generation, fingerprint) VALUES (2, '00000000000000000000000000000000');
\c -
SET ROLE regress_keys_app;
SELECT biolink.issue_token(1, 'session', :event);
SET ROLE regress_keys_admin;
SELECT generation, fingerprint_found, fingerprint_expected, state, advice FROM biolink.key_status();
-- put right, it works again at once
RESET ROLE;
DELETE FROM biolink.root_key WHERE generation = 2;
SET ROLE regress_keys_app;
SELECT biolink.issue_token(1, 'session', :event) IS NOT NULL AS issued;
SELECT valid, reason FROM biolink.verify_token(:session, '', '2026-01-01');

-- revoked: neither verifies nor signs, from the next statement on; each algorithm has a key of its own
SET ROLE regress_keys_admin;
INSERT INTO biolink.key_epoch (creator_id, purpose, epoch, state) VALUES (1234567, 'token', 1, 'revoked');
SET ROLE regress_keys_app;
SELECT * FROM biolink.verify_token(:session, '', '2026-01-01');
SELECT valid, reason FROM biolink.verify_token(:ed25519, '', '2026-01-01');
SELECT biolink.issue_token(1234567, 'session', :event);
SELECT biolink.issue_token(1234568, 'session', :event) IS NOT NULL AS other_creator;

-- retiring: verifies, does not sign
SET ROLE regress_keys_admin;
UPDATE biolink.key_epoch SET state = 'retiring';
SET ROLE regress_keys_app;
SELECT valid, reason FROM biolink.verify_token(:session, '', '2026-01-01');
SELECT biolink.issue_token(1234567, 'session', :event);

-- the newest active epoch signs, and older ones go on verifying
SET ROLE regress_keys_admin;
INSERT INTO biolink.key_epoch (creator_id, purpose, epoch, state) VALUES (1234567, 'token', 2, 'active'), (1234567, 'token', 3, 'active'),
    (1234567, 'token', 4, 'retiring'), (1234567, 'token', 5, 'revoked');
SET ROLE regress_keys_app;
SELECT v.valid, v.reason, v.epoch FROM biolink.verify_token(biolink.issue_token(1234567, 'session', :event), '', '2026-01-01') AS v;
SELECT valid, reason, epoch FROM biolink.verify_token(:session, '', '2026-01-01');
SET ROLE regress_keys_admin;
DELETE FROM biolink.key_epoch WHERE epoch = 3;
SET ROLE regress_keys_app;
SELECT v.valid, v.reason, v.epoch FROM biolink.verify_token(biolink.issue_token(1234567, 'session', :event), '', '2026-01-01') AS v;
-- an active epoch 1 without a row signs when no newer one is active
SET ROLE regress_keys_admin;
DELETE FROM biolink.key_epoch WHERE epoch IN (1, 2);
SET ROLE regress_keys_app;
SELECT v.valid, v.reason, v.epoch FROM biolink.verify_token(biolink.issue_token(1234567, 'session', :event), '', '2026-01-01') AS v;
-- the greatest epoch there can be, made of a root key that is named
SET ROLE regress_keys_admin;
INSERT INTO biolink.key_epoch (creator_id, purpose, epoch, state, root_fingerprint) VALUES (1234567, 'token', 65535, 'active', '4d018cc06b7c43de742c4b717852081f');
SET ROLE regress_keys_app;
SELECT v.valid, v.reason, v.epoch FROM biolink.verify_token(biolink.issue_token(1234567, 'session', :event), '', '2026-01-01') AS v;
-- of a root key that is not in hand nothing can be made
SELECT biolink.issue_token(1234567, 'session', :event) AS newest \gset
SET ROLE regress_keys_admin;
UPDATE biolink.key_epoch SET root_fingerprint = '00000000000000000000000000000000' WHERE epoch = 65535;
SET ROLE regress_keys_app;
SELECT valid, reason FROM biolink.verify_token(:'newest', '', '2026-01-01');
SELECT biolink.issue_token(1234567, 'session', :event);

-- the same within one transaction, also when it is rolled back
RESET ROLE;
TRUNCATE biolink.key_epoch;
SELECT valid, reason FROM biolink.verify_token(:session, '', '2026-01-01');
BEGIN;
INSERT INTO biolink.key_epoch (creator_id, purpose, epoch, state) VALUES (1234567, 'token', 1, 'revoked');
SELECT valid, reason FROM biolink.verify_token(:session, '', '2026-01-01');
ROLLBACK;
SELECT valid, reason FROM biolink.verify_token(:session, '', '2026-01-01');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT valid, reason FROM biolink.verify_token(:session, '', '2026-01-01');
SAVEPOINT a;
INSERT INTO biolink.key_epoch (creator_id, purpose, epoch, state) VALUES (1234567, 'token', 1, 'revoked');
SELECT valid, reason FROM biolink.verify_token(:session, '', '2026-01-01');
ROLLBACK TO a;
SELECT valid, reason FROM biolink.verify_token(:session, '', '2026-01-01');
INSERT INTO biolink.key_epoch (creator_id, purpose, epoch, state) VALUES (1234567, 'token', 1, 'revoked');
SELECT valid, reason FROM biolink.verify_token(:session, '', '2026-01-01');
TRUNCATE biolink.key_epoch;
SELECT valid, reason FROM biolink.verify_token(:session, '', '2026-01-01');
COMMIT;

-- many keys at once: more than a backend keeps
SELECT count(*) FILTER (WHERE v.valid) AS valid, count(*) FILTER (WHERE v.creator_id = c) AS own
FROM generate_series(1, 3000) AS c, biolink.verify_token(biolink.issue_token(c, 'session', :event), '', '2026-01-01') AS v;

-- when a state changes, its time is noted
BEGIN;
INSERT INTO biolink.key_epoch (creator_id, purpose, epoch, created_at, state_changed_at) VALUES (1, 'token', 1, '2020-01-01', '2020-01-01');
UPDATE biolink.key_epoch SET root_fingerprint = '00000000000000000000000000000000';
SELECT state, state_changed_at = now() AS noted FROM biolink.key_epoch;
UPDATE biolink.key_epoch SET state = 'revoked';
SELECT state, state_changed_at = now() AS noted, created_at = '2020-01-01' AS made_before FROM biolink.key_epoch;
ROLLBACK;

-- what may stand in the tables
\set VERBOSITY terse
INSERT INTO biolink.key_epoch (creator_id, purpose, epoch) VALUES (0, 'token', 1);
INSERT INTO biolink.key_epoch (creator_id, purpose, epoch) VALUES (1099511627776, 'token', 1);
INSERT INTO biolink.key_epoch (creator_id, purpose, epoch) VALUES (1, 'Token', 1);
INSERT INTO biolink.key_epoch (creator_id, purpose, epoch) VALUES (1, 'token', 0);
INSERT INTO biolink.key_epoch (creator_id, purpose, epoch) VALUES (1, 'token', 65536);
INSERT INTO biolink.key_epoch (creator_id, purpose, epoch, state) VALUES (1, 'token', 1, 'lost');
INSERT INTO biolink.key_epoch (creator_id, purpose, epoch, root_fingerprint) VALUES (1, 'token', 1, 'ABCDEF00000000000000000000000000');
INSERT INTO biolink.root_key (generation, fingerprint) VALUES (0, '00000000000000000000000000000000');
INSERT INTO biolink.root_key (generation, fingerprint) VALUES (33, '00000000000000000000000000000000');
INSERT INTO biolink.root_key (generation, fingerprint) VALUES (2, '');
INSERT INTO biolink.root_key (generation, fingerprint) VALUES (2, '4d018cc06b7c43de742c4b717852081f');

-- who may reach them
SET ROLE regress_keys_analyst;
SELECT count(*) FROM biolink.key_epoch;
SELECT count(*) FROM biolink.root_key;
SET ROLE regress_keys_app;
SELECT count(*) FROM biolink.key_epoch;
SELECT count(*) FROM biolink.root_key;
INSERT INTO biolink.key_epoch (creator_id, purpose, epoch) VALUES (1, 'token', 1);
SELECT * FROM biolink.key_status();
SET ROLE regress_keys_admin;
SELECT count(*) FROM biolink.key_epoch;
SELECT count(*) FROM biolink.root_key;
DELETE FROM biolink.root_key;
TRUNCATE biolink.key_epoch;
RESET ROLE;
SELECT relname, relrowsecurity FROM pg_class WHERE oid IN ('biolink.key_epoch'::regclass, 'biolink.root_key'::regclass) ORDER BY 1;

DROP ROLE regress_keys_app, regress_keys_analyst, regress_keys_admin;
