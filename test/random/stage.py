"""Sets the stage: a database of the test's own, login roles, tenants, and a table of ready values.

This file owns the database and the roles of the test; both are gone afterwards.

Invariant: what is made is the same for every seed, but for the ready values, so that a statement
that failed means something in a database set up by hand.
"""

import os

import values as shapes
from statements import ADMIN, ANALYST, APP, GROUPS, STRANGER
from wire import Connection

SUPER = os.environ.get("PGUSER") or "postgres"
MEMBERS_OF_ANALYST = (1, 2)


def administration():
    """Connect to the database that is not dropped."""
    return Connection(os.environ.get("PGDATABASE") or "postgres", SUPER)


def make_roles(connection):
    """Make the login roles where absent; the extension has made the groups."""
    for role, group in GROUPS.items():
        if not connection.must("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = '%s'" % role):
            connection.must("CREATE ROLE %s LOGIN" % role)
        if group:
            connection.must("GRANT %s TO %s" % (group, role))


def drop_roles(connection):
    """Drop the login roles: nobody else in the cluster should meet them; a database that was kept keeps them."""
    for role in GROUPS:
        connection.query("DROP ROLE IF EXISTS %s" % role)


def make_database(connection, name):
    """Make the database with the extension, and who may come in."""
    connection.must("DROP DATABASE IF EXISTS %s WITH (FORCE)" % name)
    connection.must("CREATE DATABASE %s TEMPLATE template0" % name)
    inside = Connection(name, SUPER)
    inside.must("SET client_min_messages = warning")
    inside.must("CREATE EXTENSION biolink CASCADE")
    make_roles(inside)
    inside.must("GRANT USAGE ON SCHEMA biolink TO %s" % STRANGER)
    inside.must("CREATE SCHEMA random_test")
    inside.must("GRANT USAGE ON SCHEMA random_test TO PUBLIC")
    return inside


def make_tenants(inside, world):
    """Make creators with all that belongs to one, as the application would, and a short history of each."""
    inside.must("SET SESSION AUTHORIZATION %s" % APP)
    rows = (("mia", "{bio.example,go.bio.example}", "EUR", "Europe/Berlin", '{"half_life": "2 days"}'), ("max", "{}", "USD", "America/St_Johns", "{}"), (None, "{bio.example}", "JPY", "Australia/Lord_Howe", '{"max_touches": 3}'),
            ("victim", "{}", "USD", "UTC", "{}"), ("other victim", "{}", "EUR", "Asia/Kathmandu", '{"repeat_window": "1 day"}'))
    for handle, hosts, currency, zone, settings in rows:
        creator = int(inside.must("INSERT INTO biolink.creator (handle, hosts, currency, time_zone, settings) VALUES (%s, %s, %s, %s, %s) RETURNING creator_id" % (
            shapes.quote(handle) if handle else "NULL", shapes.quote(hosts), shapes.quote(currency), shapes.quote(zone), shapes.quote(settings)))[0][0])
        world.creators.append(creator)
        campaign = inside.must("INSERT INTO biolink.campaign (creator_id, slug, name) VALUES (%d, 'spring', 'Spring') RETURNING campaign_id" % creator)[0][0]
        inside.must("INSERT INTO biolink.post (creator_id, external_id, platform) VALUES (%d, 'p1', 'instagram')" % creator)
        inside.must("INSERT INTO biolink.source (creator_id, source, scheme) VALUES (%d, 'shop', 'shopify'), (%d, 'stripe', 'stripe'), (%d, 'import', NULL)" % (creator, creator, creator))
        for number in (1, 2, 3):
            offer = inside.must("INSERT INTO biolink.offer (creator_id, name, url, price, currency, sort_order) VALUES (%d, 'offer %d', 'https://shop.example/%d', %d, 'EUR', %d) RETURNING offer_id" % (
                creator, number, number, number * 1000, -number))[0][0]
            inside.must("INSERT INTO biolink.link (creator_id, slug, url, offer_id, campaign_id, token_param, token_form, utm, active) VALUES (%d, '%s', %s, %s, %s, %s, '%s', %s, %s)" % (
                creator, "abc"[number - 1], shapes.quote(("https://shop.example/a", "https://shop.example/b?x=1&bl=old#part", "http://[2001:db8::1]:8080/%E4?utm_source=own")[number - 1]), offer, campaign if number == 1 else "NULL",
                ("'bl'", "'t'", "NULL")[number - 1], ("token", "click_id", "token")[number - 1], shapes.quote(('{"utm_campaign": "spring"}', '{"bl": "x", "ä": "ö"}', "{}")[number - 1]), "true" if number < 3 else "false"))
    world.victims = world.creators[3:]
    world.slugs = ["a", "a", "b", "b", "c", "none", "A", ""]
    world.ids = [1, 2, 3, 4, 5, 6, 7, 15, 16, 2**48 - 1, 2**48, 0, -1]
    for number in range(shapes.SLOTS):
        creator = world.creators[number % 3]
        made = inside.must("SELECT p.visit_id, p.token, p.visitor FROM biolink.open_page(%d, '{\"user_agent\": \"Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Firefox/120.0\", \"visitor\": \"v%d\", \"url\": \"https://bio.example/?utm_source=instagram\", \"occurred_at\": \"2026-04-%02dT12:00:00Z\"}') AS p" % (
            creator, number % 5 + 1, number + 1))[0]
        world.uuids[number], world.tokens[number], world.hashes[number] = made
        if number % 2:
            made = inside.must("SELECT c.click_id, c.token FROM biolink.click(%d, 'a', '{\"user_agent\": \"Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Firefox/120.0\", \"token\": \"%s\", \"occurred_at\": \"2026-04-%02dT12:01:00Z\"}') AS c" % (creator, world.tokens[number], number + 1))[0]
            world.uuids[number], world.tokens[number] = made
        if number % 6 == 5:
            world.tokens[number] = inside.must("SELECT biolink.issue_token(%d, 'receipt', '%s', algorithm => 'ed25519')" % (creator, world.uuids[number]))[0][0]
    inside.must("RESET SESSION AUTHORIZATION")
    inside.must("SELECT biolink.ensure_event_partition(m::timestamptz) FROM pg_catalog.unnest('{2026-01-15,2026-02-15,2026-03-15,2026-04-15,2026-05-15,2026-06-15}'::text[]) AS m")
    world.leaves = [row[0] for row in inside.must("SELECT c.relname FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid"
                                                  " WHERE i.inhparent = 'biolink.event'::pg_catalog.regclass ORDER BY c.relname COLLATE \"C\"")]
    inside.must("SET SESSION AUTHORIZATION %s" % ADMIN)
    for creator in MEMBERS_OF_ANALYST:
        inside.must("INSERT INTO biolink.creator_member (creator_id, role_name) VALUES (%d, '%s')" % (creator, ANALYST))
    for creator in (world.creators[0], world.victims[0]):
        inside.must("INSERT INTO biolink.key_epoch (creator_id, purpose, epoch) VALUES (%d, 'token', 2), (%d, 'token-ed25519', 1)" % (creator, creator))
    inside.must("RESET SESSION AUTHORIZATION")


def rotate_keys(connection, world):
    """Give creators new keys of every purpose, as an administrator would: what was signed and hashed before is still there."""
    for creator in world.creators[:2]:
        connection.must("INSERT INTO biolink.key_epoch (creator_id, purpose, epoch) SELECT %d, p.p, 3 FROM pg_catalog.unnest('{token,token-ed25519,identity,digest,day}'::text[]) AS p (p)" % creator)
    connection.must("UPDATE biolink.key_epoch SET state = 'retiring' WHERE creator_id = %d AND epoch < 3" % world.creators[0])


def make_material(inside, catalog, made):
    """Make the table of ready values, one column for each type of a parameter, and return [(column, type)]."""
    skipped = ("internal", "cstring", "any", "anyelement", "anyarray", "anynonarray", "anycompatible", "anycompatiblearray", "regclass", "trigger", "event_trigger", "record")
    kinds = sorted({t for f in catalog.functions for t in f.types if t not in skipped} | {n for n, row in catalog.types.items() if row["kind"] != "c"})
    columns = [("c%d" % i, kind) for i, kind in enumerate(kinds)]
    inside.must("CREATE TABLE random_test.material (number integer, %s)" % ", ".join("%s %s" % item for item in columns))
    inside.must("GRANT SELECT ON random_test.material TO PUBLIC")
    for number in range(40):
        row = []
        for _, kind in columns:
            value = made.value(kind, "", 2)
            # huge ones would be sent around in every row
            row.append(value.sql if value.sure and "repeat(" not in value.sql and "array_fill(" not in value.sql else "NULL")
        inside.must("INSERT INTO random_test.material VALUES (%d, %s)" % (number, ", ".join(row)))
    inside.must("ANALYZE random_test.material")
    return columns
