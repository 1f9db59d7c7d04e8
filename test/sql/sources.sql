-- Sources: what is known of who tells what happened, and what they sign with.
\set SHOW_CONTEXT never
CREATE ROLE regress_app; GRANT biolink_app TO regress_app;
CREATE ROLE regress_analyst; GRANT biolink_analyst TO regress_analyst;
SET ROLE regress_app;
INSERT INTO biolink.creator (creator_id, handle) VALUES (7901, 'sources'), (7902, 'sources_2');
INSERT INTO biolink.source (creator_id, source, scheme, product_map) VALUES (7901, 'stripe', 'stripe', '{"price_1": 7, "price_2": 281474976710655}'), (7902, 'stripe', 'stripe', '{}'), (7901, 'acme', NULL, '{}');
INSERT INTO biolink.source (creator_id, source) VALUES (7901, 'biolink:click');
INSERT INTO biolink.source (creator_id, source) VALUES (7901, '');
INSERT INTO biolink.source (creator_id, source, product_map) VALUES (7901, 'x', '{"a": "7"}');
INSERT INTO biolink.source (creator_id, source, product_map) VALUES (7901, 'x', '{"a": 1.5}');
INSERT INTO biolink.source (creator_id, source, product_map) VALUES (7901, 'x', '{"a": 7.0}');
INSERT INTO biolink.source (creator_id, source, product_map) VALUES (7901, 'x', '[]');
INSERT INTO biolink.source (creator_id, source, grace_period) VALUES (7901, 'x', '-1 day');
INSERT INTO biolink.source (creator_id, source, scheme) VALUES (7901, 'x', 'Stripe!');

-- secrets go in and do not come out
SELECT biolink.set_source_secrets(7901, 'stripe', '{whsec_old,whsec_new}');
SELECT biolink.set_source_secrets(7902, 'stripe', '{whsec_old}');
SELECT biolink.set_source_secrets(7901, 'nobody', '{whsec_old}');
SELECT biolink.set_source_secrets(7901, 'stripe', NULL);
SELECT biolink.set_source_secrets(7901, 'stripe', ARRAY['a', NULL]);
SELECT biolink.set_source_secrets(7901, 'stripe', '{""}');
SELECT * FROM biolink.source_secret;
SELECT biolink.open_sealed(7901, 'source_secret:stripe', '');
SELECT biolink.sealed_text(7901, 'source_secret:stripe', 'x');
SET ROLE regress_analyst;
SELECT source FROM biolink.source;
SELECT * FROM biolink.source_secret;
SELECT biolink.set_source_secrets(7901, 'stripe', '{}');
RESET ROLE;
SELECT s.creator_id, s.source, s.place, biolink.open_sealed(s.creator_id, 'source_secret:' || s.source, s.sealed) AS opened, position('whsec'::bytea IN s.sealed) AS in_the_clear,
		biolink.open_sealed(s.creator_id, 'source_secret:acme', s.sealed) AS as_another, biolink.open_sealed(7903, 'source_secret:stripe', s.sealed) AS of_another
	FROM biolink.source_secret AS s ORDER BY 1, 2, 3;
SELECT count(DISTINCT s.sealed) FROM biolink.source_secret AS s;
SET ROLE regress_app;
SELECT biolink.set_source_secrets(7901, 'stripe', '{}');
RESET ROLE;
SELECT count(*) FROM biolink.source_secret AS s WHERE s.creator_id = 7901;
DROP ROLE regress_app, regress_analyst;
