-- When it happened: clocks that are wrong, times from the future, and what is flagged rather than refused.
\set VERBOSITY terse
\set SHOW_CONTEXT never
INSERT INTO biolink.creator (creator_id, handle, settings) VALUES (7601, 'time', '{}'), (7602, 'time_wide', '{"clock_skew": "2 hours"}');
INSERT INTO biolink.link (creator_id, link_id, slug, url) VALUES (7601, 76, 'a', 'https://a.example/'), (7602, 77, 'a', 'https://a.example/');
INSERT INTO biolink.offer (creator_id, offer_id, name, url) VALUES (7601, 78, 'o', 'https://o.example/');
CREATE FUNCTION pg_temp.send(creator bigint, key text, more jsonb, occurred interval DEFAULT NULL, sent interval DEFAULT NULL) RETURNS text LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	SELECT t.status FROM biolink.track(creator, jsonb_strip_nulls(jsonb_build_object('kind', 'lead', 'source', 's', 'key', key,
		'occurred_at', to_char((now() + occurred) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
		'sent_at', to_char((now() + sent) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) || more)) AS t
$$;
-- minutes from now at which it is said to have happened, and claims to have
CREATE FUNCTION pg_temp.stored(creator bigint) RETURNS TABLE (key text, at numeric, claimed numeric, flags text[], id_fits bool) LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	SELECT k.key, round(extract(epoch FROM e.occurred_at - now()) / 60), round(extract(epoch FROM (e.context ->> 'claimed_at')::timestamptz - now()) / 60), e.flags,
			biolink.uuid_v7_time(e.event_id) = date_trunc('milliseconds', e.occurred_at)
		FROM biolink.event AS e JOIN biolink.event_key AS k ON k.creator_id = e.creator_id AND k.event_id = e.event_id
		WHERE e.creator_id = creator ORDER BY k.key COLLATE "C"
$$;

\echo == told by the sender's clock
SELECT pg_temp.send(7601, '01 now', '{}'), pg_temp.send(7601, '02 an hour ago', '{}', '-1 hour'), pg_temp.send(7601, '03 a little ahead', '{}', '4 minutes'),
	pg_temp.send(7601, '04 far ahead', '{}', '3 days'), pg_temp.send(7601, '05 ten years ago', '{}', '-3650 days');
\echo == sent_at shows that the clock is wrong
SELECT pg_temp.send(7601, '11 right', '{}', '-1 hour', '0'), pg_temp.send(7601, '12 nearly right', '{}', '-1 hour', '-4 minutes'),
	pg_temp.send(7601, '13 behind by a day', '{}', '-25 hours', '-1 day'), pg_temp.send(7601, '14 ahead by a day', '{}', '23 hours', '1 day'),
	pg_temp.send(7601, '15 ahead, and from the future by its own clock', '{}', '2 days', '1 day'), pg_temp.send(7601, '16 no time of its own', '{}', NULL, '-1 day');
SELECT * FROM pg_temp.stored(7601);
\echo == sent again with another sent_at: the same event
SELECT t.status FROM biolink.track(7601, '{"kind": "lead", "source": "s", "key": "again", "occurred_at": "2026-03-01T10:00:00Z", "sent_at": "2026-03-01T10:00:00Z"}') AS t;
SELECT u.status FROM biolink.track(7601, '{"kind": "lead", "source": "s", "key": "again", "occurred_at": "2026-03-01T10:00:00Z", "sent_at": "2026-03-01T11:00:00Z"}') AS u;
\echo == a creator whose senders may differ more
SELECT pg_temp.send(7602, '1 ahead', '{}', '90 minutes'), pg_temp.send(7602, '2 behind', '{}', '-2 hours', '-1 hour'), pg_temp.send(7602, '3 too far', '{}', '3 hours');
SELECT * FROM pg_temp.stored(7602);
\echo == clicks and batches likewise
SELECT status FROM biolink.click(7602, 'a', jsonb_build_object('key', '4 click', 'occurred_at', to_char((now() + interval '365 days') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')));
SELECT status FROM biolink.track_batch(7602, json_build_array(
	json_build_object('kind', 'lead', 'source', 's', 'key', '5 batch', 'occurred_at', to_char((now() + interval '365 days') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'context', json_build_object('a', 1)),
	json_build_object('kind', 'lead', 'source', 's', 'key', '6 batch', 'occurred_at', to_char((now() - interval '26 hours') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'sent_at', to_char((now() - interval '1 day') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))));
SELECT * FROM pg_temp.stored(7602) WHERE key >= '4';
SELECT context - 'claimed_at' AS context FROM biolink.event WHERE creator_id = 7602 AND context ? 'a';
\echo == replayed after two days: it happened when it would have, had it been taken at once
INSERT INTO biolink.creator (creator_id) VALUES (7604);
SELECT status FROM biolink.track_batch(7604, json_build_array(
	json_build_object('kind', 'refund', 'source', 's', 'key', '1 no time', 'order_id', 'A', 'amount', 1),
	json_build_object('kind', 'refund', 'source', 's', 'key', '2 right', 'order_id', 'A', 'amount', 1, 'occurred_at', now() - interval '49 hours', 'sent_at', now() - interval '48 hours'),
	json_build_object('kind', 'refund', 'source', 's', 'key', '3 ahead by a day', 'order_id', 'A', 'amount', 1, 'occurred_at', now() - interval '25 hours', 'sent_at', now() - interval '24 hours')));
UPDATE biolink.event_parked SET received_at = now() - interval '2 days' WHERE creator_id = 7604;
SELECT status FROM biolink.track(7604, '{"kind": "order", "source": "s", "key": "4", "order_id": "A", "amount": 5, "currency": "EUR"}');
SELECT status FROM biolink.replay_parked(7604);
SELECT * FROM pg_temp.stored(7604) WHERE key <> '4';
SELECT count(*) FROM biolink.event AS e WHERE e.creator_id = 7604 AND e.received_at < now() - interval '1 hour';
\echo == no time at all
SELECT biolink.track(7601, '{"kind": "lead", "source": "s", "key": "k", "occurred_at": "infinity"}');
SELECT biolink.track(7601, '{"kind": "lead", "source": "s", "key": "k", "occurred_at": "-infinity"}');
SELECT biolink.track(7601, '{"kind": "lead", "source": "s", "key": "k", "occurred_at": "1969-12-31T23:59:59Z"}');
SELECT biolink.track(7601, '{"kind": "lead", "source": "s", "key": "k", "sent_at": "yesterday"}');
-- a clock of 1970, one of 2090
SELECT t.status FROM biolink.track(7601, '{"kind": "lead", "source": "s", "key": "21", "occurred_at": "1970-01-01T00:00:01Z", "sent_at": "1970-01-01T00:00:11Z"}') AS t;
SELECT t.status FROM biolink.track(7601, '{"kind": "lead", "source": "s", "key": "22", "occurred_at": "1980-01-01T00:00:00Z", "sent_at": "2090-01-01T00:00:00Z"}') AS t;
SELECT t.status FROM biolink.track(7601, '{"kind": "lead", "source": "s", "key": "23", "occurred_at": "9999-12-31T23:59:59Z", "sent_at": "9999-12-31T23:59:59Z"}') AS t;
SELECT key, CASE WHEN at > -10 THEN at END AS at, flags, id_fits FROM pg_temp.stored(7601) WHERE key IN ('21', '22', '23');
INSERT INTO biolink.creator (creator_id, settings) VALUES (7603, '{"clock_skew": "-1 s"}');
\echo == a link or an offer that the creator does not have: flagged, and the order is kept
SELECT pg_temp.send(7601, '31', '{"kind": "order", "order_id": "A", "amount": 1, "currency": "EUR", "link_id": 76, "offer_id": 78}'),
	pg_temp.send(7601, '32', '{"kind": "order", "order_id": "B", "amount": 1, "currency": "EUR", "link_id": 77, "offer_id": 78}'),
	pg_temp.send(7601, '33', '{"kind": "order", "order_id": "C", "amount": 1, "currency": "EUR", "link_id": 999, "offer_id": 999}');
SELECT e.order_id, e.link_id, e.offer_id, e.flags FROM biolink.event AS e WHERE e.creator_id = 7601 AND e.order_id IS NOT NULL ORDER BY 1;
SELECT rule, ok FROM biolink.integrity_check(7601);
