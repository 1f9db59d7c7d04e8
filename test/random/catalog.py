"""Reads from the catalogs what there is to call.

This file owns the list of members of the extension, and the marks of functions that can be
judged without a call.  Nothing here names a single function: what a later version adds is found.
What test/sql/objects.sql prints or lists as a fault is not looked at again.

Invariant: everything is sorted by name, so that a seed means the same in every database.
"""

import json
import re

SQLSTATE = re.compile(r"\b[0-9][0-9A-Z](?:[0-9][0-9A-Z]{2}|P[0-9]{2})\b")
NEVER_RAISES = re.compile(r"raises no error|never fails|never raises", re.I)

MEMBER = """WITH member AS (
    SELECT d.classid, d.objid FROM pg_catalog.pg_depend AS d
    WHERE d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
    AND d.refobjid = (SELECT e.oid FROM pg_catalog.pg_extension AS e WHERE e.extname = 'biolink'))"""

FUNCTIONS = MEMBER + """
    SELECT p.oid::pg_catalog.int8 AS oid, pg_catalog.format('%I.%I', n.nspname, p.proname) AS name,
        p.oid::pg_catalog.regprocedure::text AS signature, p.prokind AS kind, p.provolatile AS volatility,
        p.proparallel AS parallel, p.proisstrict AS strict, p.proretset AS is_set, p.procost AS cost, p.prorows AS rows,
        p.pronargdefaults AS defaults, l.lanname AS language, p.prosrc AS source, p.prosecdef AS definer,
        pg_catalog.format_type(p.prorettype, NULL) AS result, rt.typtype AS result_kind, p.provariadic <> 0 AS variadic,
        COALESCE(pg_catalog.obj_description(p.oid, 'pg_proc'), '') AS comment,
        ARRAY(SELECT pg_catalog.format_type(t.oid, NULL) FROM pg_catalog.unnest(p.proargtypes::pg_catalog.oid[])
            WITH ORDINALITY AS t (oid, place) ORDER BY t.place) AS types,
        pg_catalog.to_json(p.proargnames) AS names, pg_catalog.to_json(p.proargmodes) AS modes,
        pg_catalog.pg_get_function_arguments(p.oid) AS declared
    FROM member AS m JOIN pg_catalog.pg_proc AS p ON m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = m.objid
    JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_type AS rt ON rt.oid = p.prorettype
    ORDER BY p.oid::pg_catalog.regprocedure::text COLLATE "C" """

OPERATORS = MEMBER + """
    SELECT pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname) AS name, o.oprcode::pg_catalog.regprocedure::text AS function,
        CASE WHEN o.oprleft <> 0 THEN pg_catalog.format_type(o.oprleft, NULL) END AS left_type,
        pg_catalog.format_type(o.oprright, NULL) AS right_type, pg_catalog.format_type(o.oprresult, NULL) AS result
    FROM member AS m JOIN pg_catalog.pg_operator AS o ON m.classid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oid = m.objid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = o.oprnamespace
    ORDER BY o.oid::pg_catalog.regoperator::text COLLATE "C" """

CASTS = MEMBER + """
    SELECT pg_catalog.format_type(c.castsource, NULL) AS source, pg_catalog.format_type(c.casttarget, NULL) AS target
    FROM member AS m JOIN pg_catalog.pg_cast AS c ON m.classid = 'pg_catalog.pg_cast'::pg_catalog.regclass AND c.oid = m.objid
    ORDER BY 1, 2"""

TYPES = MEMBER + """
    SELECT pg_catalog.format_type(t.oid, NULL) AS name, t.typtype AS kind, pg_catalog.format_type(t.typbasetype, NULL) AS base,
        t.typinput::pg_catalog.regproc::text AS input, (t.typreceive <> 0 AND t.typsend <> 0) AS has_binary,
        ARRAY(SELECT e.enumlabel FROM pg_catalog.pg_enum AS e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) AS labels,
        ARRAY(SELECT pg_catalog.json_build_array(a.attname, pg_catalog.format_type(a.atttypid, NULL)) FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = t.typrelid AND t.typrelid <> 0 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS fields
    FROM member AS m JOIN pg_catalog.pg_type AS t ON m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = m.objid
    WHERE t.typtype IN ('b', 'c', 'd', 'e', 'r') AND t.typelem = 0
    ORDER BY 1"""

RELATIONS = MEMBER + """
    SELECT c.oid::pg_catalog.regclass::text AS name, c.relkind AS kind,
        ARRAY(SELECT pg_catalog.json_build_array(a.attname, pg_catalog.format_type(a.atttypid, NULL), a.attidentity)
            FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS columns
    FROM member AS m JOIN pg_catalog.pg_class AS c ON m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = m.objid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    ORDER BY c.oid::pg_catalog.regclass::text COLLATE "C" """

# Each lists faults: (what is wrong, query).
MARKS = (
    ("a set-returning function says how many rows to expect", MEMBER + """
        SELECT p.oid::pg_catalog.regprocedure FROM member AS m JOIN pg_catalog.pg_proc AS p
            ON m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = m.objid
        WHERE p.proretset AND p.prorows = 1000"""),
    ("a STRICT function has no parameter that is NULL by default", MEMBER + """
        SELECT p.oid::pg_catalog.regprocedure FROM member AS m JOIN pg_catalog.pg_proc AS p
            ON m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = m.objid
        WHERE p.proisstrict AND pg_catalog.pg_get_function_arguments(p.oid) ~ 'DEFAULT NULL'"""),
    ("a function that signs, writes, locks or runs a VOLATILE one is VOLATILE", MEMBER + """
        SELECT p.oid::pg_catalog.regprocedure FROM member AS m JOIN pg_catalog.pg_proc AS p
            ON m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = m.objid
        JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
        WHERE p.provolatile <> 'v' AND l.lanname IN ('sql', 'plpgsql')
            AND (pg_catalog.regexp_replace(p.prosrc, '--[^\n]*', '', 'g') ~* '\\m(INSERT INTO|UPDATE [a-z_.]+ (AS [a-z]+ )?SET|DELETE FROM|(CREATE|ALTER|DROP|LOCK) +[a-z]+|nextval|setval|random)\\M'
                OR EXISTS (SELECT FROM member AS o JOIN pg_catalog.pg_proc AS q ON o.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND q.oid = o.objid
                    WHERE q.provolatile = 'v' AND p.prosrc ~ ('biolink\\.' || q.proname || '\\(')))"""),
    ("an IMMUTABLE function in SQL or PL/pgSQL reads no table and calls only IMMUTABLE ones of ours", MEMBER + """
        SELECT p.oid::pg_catalog.regprocedure FROM member AS m JOIN pg_catalog.pg_proc AS p
            ON m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = m.objid
        JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
        WHERE p.provolatile = 'i' AND l.lanname = 'plpgsql'
            AND (p.prosrc ~* '\\m(FROM|JOIN)\\s+(ONLY\\s+)?biolink\\.[a-z_]+\\M(?!\\()' OR p.prosrc ~* '\\m(now|current_setting|transaction_timestamp)\\('
                OR EXISTS (SELECT FROM member AS o JOIN pg_catalog.pg_proc AS q ON o.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND q.oid = o.objid
                    WHERE q.provolatile <> 'i' AND p.prosrc ~ ('biolink\\.' || q.proname || '\\(')))"""),
    ("a PARALLEL SAFE function runs no PARALLEL UNSAFE one", MEMBER + """
        SELECT p.oid::pg_catalog.regprocedure, q.oid::pg_catalog.regprocedure FROM member AS m JOIN pg_catalog.pg_proc AS p
            ON m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = m.objid
        JOIN member AS o ON o.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        JOIN pg_catalog.pg_proc AS q ON q.oid = o.objid AND q.proparallel = 'u'
        WHERE p.proparallel = 's' AND (p.prosrc ~ ('biolink\\.' || q.proname || '\\(')
            OR pg_catalog.pg_get_function_sqlbody(p.oid) ~ ('\\m' || q.proname || '\\('))"""),
    ("a PARALLEL SAFE function begins no subtransaction", MEMBER + """
        SELECT p.oid::pg_catalog.regprocedure FROM member AS m JOIN pg_catalog.pg_proc AS p
            ON m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = m.objid
        JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
        WHERE p.proparallel = 's' AND l.lanname = 'plpgsql' AND p.prosrc ~* '\\mEXCEPTION\\s+WHEN\\M'"""),
    ("a body in SQL or PL/pgSQL means the same whatever standard_conforming_strings is", MEMBER + """
        SELECT p.oid::pg_catalog.regprocedure FROM member AS m JOIN pg_catalog.pg_proc AS p
            ON m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = m.objid
        JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
        WHERE l.lanname IN ('sql', 'plpgsql') AND pg_catalog.strpos(p.prosrc, pg_catalog.chr(92)) > 0"""),
    ("only input and receive functions take cstring or internal", MEMBER + """
        SELECT p.oid::pg_catalog.regprocedure FROM member AS m JOIN pg_catalog.pg_proc AS p
            ON m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = m.objid
        WHERE p.prokind = 'f' AND ('pg_catalog.cstring'::pg_catalog.regtype = ANY (p.proargtypes) OR 'pg_catalog.internal'::pg_catalog.regtype = ANY (p.proargtypes))
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_type AS t WHERE p.oid IN (t.typinput::pg_catalog.oid, t.typreceive::pg_catalog.oid, t.typmodin::pg_catalog.oid, t.typanalyze::pg_catalog.oid))
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_aggregate AS a WHERE p.oid IN (a.aggtransfn::pg_catalog.oid, a.aggfinalfn::pg_catalog.oid, a.aggcombinefn::pg_catalog.oid,
                a.aggserialfn::pg_catalog.oid, a.aggdeserialfn::pg_catalog.oid, a.aggmtransfn::pg_catalog.oid, a.aggminvtransfn::pg_catalog.oid, a.aggmfinalfn::pg_catalog.oid))
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc AS s WHERE s.prosupport::pg_catalog.oid = p.oid)"""),
    ("operator classes are complete for their access method", MEMBER + """
        SELECT c.opcname, a.amname FROM member AS m JOIN pg_catalog.pg_opclass AS c
            ON m.classid = 'pg_catalog.pg_opclass'::pg_catalog.regclass AND c.oid = m.objid
        JOIN pg_catalog.pg_am AS a ON a.oid = c.opcmethod WHERE NOT pg_catalog.amvalidate(c.oid)"""),
    ("operators agree with their commutators, negators and classes", MEMBER + """
        SELECT o.oid::pg_catalog.regoperator FROM member AS m JOIN pg_catalog.pg_operator AS o
            ON m.classid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oid = m.objid
        LEFT JOIN pg_catalog.pg_operator AS c ON c.oid = o.oprcom
        LEFT JOIN pg_catalog.pg_operator AS n ON n.oid = o.oprnegate
        LEFT JOIN pg_catalog.pg_proc AS p ON p.oid = o.oprcode
        WHERE o.oprcode = 0 OR c.oprcom <> o.oid OR n.oprnegate <> o.oid
            OR c.oprleft <> o.oprright OR c.oprright <> o.oprleft OR n.oprleft <> o.oprleft OR n.oprright <> o.oprright
            OR p.prorettype <> o.oprresult
            OR o.oprresult = 'pg_catalog.bool'::pg_catalog.regtype AND (p.provolatile <> 'i' OR NOT p.proisstrict OR p.proparallel <> 's')
            OR o.oprcanhash AND NOT EXISTS (SELECT FROM pg_catalog.pg_amop AS a JOIN pg_catalog.pg_am AS h ON h.oid = a.amopmethod
                WHERE a.amopopr = o.oid AND h.amname = 'hash')
            OR o.oprcanmerge AND NOT EXISTS (SELECT FROM pg_catalog.pg_amop AS a JOIN pg_catalog.pg_am AS h ON h.oid = a.amopmethod
                WHERE a.amopopr = o.oid AND h.amname = 'btree' AND a.amopstrategy = 3)"""),
    ("base types can be sent and received in binary form, and have arrays", MEMBER + """
        SELECT t.typname FROM member AS m JOIN pg_catalog.pg_type AS t ON m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = m.objid
        WHERE t.typtype IN ('b', 'd', 'e', 'r') AND t.typelem = 0 AND (t.typsend = 0 OR t.typreceive = 0 OR t.typarray = 0)"""),
    ("every check constraint holds for NULL and is made of IMMUTABLE functions", MEMBER + """
        SELECT c.conrelid::pg_catalog.regclass, c.conname FROM member AS m JOIN pg_catalog.pg_constraint AS c
            ON m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.conrelid = m.objid AND c.contype = 'c'
        JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = c.oid
            AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        JOIN pg_catalog.pg_proc AS p ON p.oid = d.refobjid WHERE p.provolatile <> 'i' OR NOT p.proisstrict"""),
)


class Function:
    """One function, procedure, aggregate or window function."""

    def __init__(self, row):
        """Keep the catalog's row and what follows from it."""
        self.__dict__.update(row)
        modes = row["modes"] or ["i"] * len(self.types)
        names = row["names"] or [""] * len(modes)
        self.parameters = [n for n, m in zip(names, modes) if m in "ibv"]
        self.outputs = [n for n, m in zip(names, modes) if m in "obt"]
        self.returns_record = self.result_kind == "c" or bool(self.outputs) and self.result == "record"
        self.uncallable = "internal" in self.types
        self.is_trigger = self.result in ("trigger", "event_trigger")
        self.never_raises = bool(NEVER_RAISES.search(self.comment))
        after = re.split(r"[Ee]rrors?\b", self.comment, maxsplit=1)
        self.documented = set(SQLSTATE.findall(after[1])) if len(after) > 1 else set()
        self.executable_by = set()
        self.granted = False

    def written(self, texts):
        """Write a call of all its parameters from the texts of its arguments."""
        texts = list(texts)
        if self.variadic:
            texts[-1] = "VARIADIC " + texts[-1]
        return "%s(%s)" % (self.name, ", ".join(texts))

    def weight(self):
        """Return how often to call it: often what takes JSON or writes, seldom what costs much or merely compares."""
        if not self.types:
            return 0.3
        weight = 1.0 if self.cost < 5000 else 0.5 if self.cost < 50000 else 0.2
        if "jsonb" in self.types or "json" in self.types or self.volatility == "v":
            return weight * (10 if self.volatility == "v" else 2)
        return weight * (0.3 if self.cost <= 1 else 1.0)


class Catalog:
    """All members of the extension in one database."""

    def __init__(self, connection):
        """Read them."""
        def listed(query):
            """Return the rows of a query as dictionaries."""
            text = connection.must("SELECT pg_catalog.json_agg(r) FROM (%s) AS r" % query)[0][0]
            return json.loads(text) if text else []

        connection.must("SET search_path = ''")
        self.version = int(connection.must("SHOW server_version_num")[0][0]) // 10000
        self.functions = [Function(row) for row in listed(FUNCTIONS)]
        self.operators = listed(OPERATORS)
        self.casts = listed(CASTS)
        self.types = {row["name"]: row for row in listed(TYPES)}
        self.relations = listed(RELATIONS)
        self.by_signature = {f.signature: f for f in self.functions}
        self.user_settings = {row["name"] for row in listed(
            "SELECT pg_catalog.lower(s.name) AS name FROM pg_catalog.pg_settings AS s WHERE s.context = 'user'")}
        connection.must("RESET search_path")
        self.producers = {}
        for function in self.functions:
            if function.kind != "f" or function.is_set or function.uncallable:
                continue
            self.producers.setdefault(function.result, []).append((function, None))
            for field, kind in self.types.get(function.result, {}).get("fields", []):
                self.producers.setdefault(kind, []).append((function, field))

    def read_rights(self, connection, roles):
        """Note which of the roles may execute, read and write what."""
        for role in roles:
            found = connection.must(
                "SELECT pg_catalog.array_to_json(pg_catalog.array_agg(o.oid::pg_catalog.int8)) FROM pg_catalog.unnest('{%s}'::pg_catalog.oid[]) AS o (oid)"
                " WHERE pg_catalog.has_function_privilege('%s', o.oid, 'EXECUTE')" % (",".join(str(f.oid) for f in self.functions), role))
            allowed = set(json.loads(found[0][0] or "[]"))
            for function in self.functions:
                if function.oid in allowed:
                    function.executable_by.add(role)
                    # its owner's own functions are granted to nobody
                    function.granted = function.granted or role != "biolink_owner"
        for relation in self.relations:
            relation["rights"] = {}
            for role in roles:
                found = connection.must(
                    "SELECT pg_catalog.string_agg(p.p, ' ') FROM pg_catalog.unnest('{SELECT,%s}'::text[]) AS p (p)"
                    " WHERE pg_catalog.has_%s_privilege('%s', '%s', p.p)" % (
                        ("UPDATE", "sequence", role, relation["name"]) if relation["kind"] == "S"
                        else ("INSERT,UPDATE,DELETE", "table", role, relation["name"])))
                relation["rights"][role] = (found[0][0] or "").split()


def judge_marks(connection, catalog):
    """Yield (name, faults) for every rule about marks."""
    for name, query in MARKS:
        yield name, [" ".join(row) for row in connection.must(query)]
