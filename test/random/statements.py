"""Makes the statements of the calls, and the circumstances in which they run.

This file owns the kinds of statements, the roles, the settings, and which functions are left out.

Invariants:
- A spell is a role with settings; a block is what has to run together (a transaction, a prepared
  statement with its executions, a cursor); a step is one statement.
- Each step can be written again from simpler values, so that a failure can be reduced.
"""

import struct

from values import Value, quote

# Functions that are not called at random: name -> why.
SKIPPED = {}

APP, ANALYST, ADMIN, STRANGER = "biolink_random_app", "biolink_random_analyst", "biolink_random_admin", "biolink_random_stranger"
GROUPS = {APP: "biolink_app", ANALYST: "biolink_analyst", ADMIN: "biolink_admin", STRANGER: None}
SUPERUSER = None

COMPARABLE = ("text", "bigint", "integer", "uuid", "boolean", "interval", "timestamp with time zone", "numeric", "bytea", "biolink.token", "biolink.idhash")
NO_FROM = ("cstring", "trigger", "event_trigger", "internal")

SETTINGS = [
    ("TimeZone", ["'Europe/Berlin'", "'Australia/Lord_Howe'", "'Asia/Kathmandu'", "'America/St_Johns'", "UTC"]), ("DateStyle", ["'SQL, DMY'", "'German'", "'Postgres, MDY'"]),
    ("IntervalStyle", ["postgres_verbose", "iso_8601"]), ("search_path", ["''", "pg_temp", "biolink, pg_catalog", "random_test, public"]), ("plan_cache_mode", ["force_generic_plan", "force_custom_plan"]),
    ("row_security", ["off"]), ("work_mem", ["'64kB'"]), ("enable_hashagg", ["off"]), ("enable_hashjoin", ["off"]), ("enable_nestloop", ["off"]), ("enable_mergejoin", ["off"]), ("enable_sort", ["off"]),
    ("enable_seqscan", ["off"]), ("enable_indexscan", ["off"]), ("enable_partition_pruning", ["off"]), ("extra_float_digits", ["0", "-15"]), ("bytea_output", ["escape"]), ("array_nulls", ["off"]),
    ("transform_null_equals", ["on"]), ("quote_all_identifiers", ["on"]), ("standard_conforming_strings", ["off"]), ("xmlbinary", ["hex"]), ("check_function_bodies", ["off"]), ("from_collapse_limit", ["1"]),
    ("join_collapse_limit", ["1"]), ("geqo_threshold", ["2"]), ("constraint_exclusion", ["on"]), ("cursor_tuple_fraction", ["1"]), ("default_transaction_deferrable", ["on"]), ("stats_fetch_consistency", ["none"]),
    ("client_min_messages", ["debug1"]), ("debug_print_plan", ["off"]), ("backslash_quote", ["on"]), ("lc_numeric", ["'C'"]), ("gin_fuzzy_search_limit", ["1"]), ("jit", ["off"]),
]
PARALLEL = [("parallel_setup_cost", "0"), ("parallel_tuple_cost", "0"), ("min_parallel_table_scan_size", "0"), ("max_parallel_workers_per_gather", "2")]
BINARY_HEADER = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"


class Step:
    """One statement: how to write it from values, and what it may answer.

    calls are the functions within.  plain means: nothing but one call, so that an error is the
    function's own.  twice: run it again under other settings, with the same answer.  null: must
    answer NULL or nothing.  reads: the relation whose reading may not fail.
    """

    def __init__(self, kind, write, values=(), calls=(), **marks):
        """Keep the parts."""
        self.kind, self.write, self.values = kind, write, list(values)
        self.calls = list(calls) + [c for v in self.values for c in v.has_call]
        self.sure = all(v.sure for v in self.values)
        self.plain = marks.get("plain", False)
        self.twice = marks.get("twice", False)
        self.null = marks.get("null", False)
        self.reads = marks.get("reads")
        self.control = marks.get("control", False)
        self.writes = marks.get("writes", False)
        self.copy = marks.get("copy")
        self.bound = marks.get("bound")
        self.internal = marks.get("internal", False)

    def sql(self):
        """Write the statement."""
        return self.write([v.sql for v in self.values])


def fixed(sql, kind="control", **marks):
    """Return a step without values."""
    marks.setdefault("control", kind == "control")
    return Step(kind, lambda _values: sql, **marks)


class Block:
    """Steps that run together."""

    def __init__(self, kind, steps):
        """Keep the steps."""
        self.kind, self.steps = kind, steps


class Spell:
    """A role and settings, and the blocks that run under them."""

    def __init__(self, role, group, settings):
        """Keep role (login, or None for the superuser), the role SET ROLE chooses, settings."""
        self.role, self.group, self.settings = role, group, dict(settings)
        self.parallel = "parallel_setup_cost" in self.settings
        self.hurried = "statement_timeout" in self.settings

    def prelude(self):
        """Return the statements that begin the spell, to be given as superuser."""
        lines = ["SET statement_timeout = '20s'", "RESET SESSION AUTHORIZATION", "DISCARD ALL", "SET statement_timeout = '20s'", "SET track_functions = 'all'", "SET jit = off"]
        if self.role:
            lines.append("SET SESSION AUTHORIZATION %s" % self.role)
        if self.group:
            lines.append("SET ROLE %s" % self.group)
        # what cuts statements short comes last
        return lines + ["SET %s = %s" % item for item in sorted(self.settings.items(), key=lambda item: item[0] == "statement_timeout")]

    def current(self):
        """Return what current_user must be."""
        return self.group or self.role

    def __str__(self):
        """Name it."""
        return "%s%s" % (self.role or "superuser", " as " + self.group if self.group else "")


class Maker:
    """Makes spells and blocks."""

    def __init__(self, values, catalog, world, material, worker=0):
        """Keep what to make them from; material is [(column, type)] of the table of ready values."""
        self.worker = worker
        self.values, self.catalog, self.world, self.material = values, catalog, world, material
        self.odds, self.pick, self.below = values.odds, values.pick, values.below
        self.functions = [f for f in catalog.functions if f.name not in SKIPPED]
        self.settings = [item for item in SETTINGS if item[0].lower() in catalog.user_settings]
        self.spell = None

    # -- spells --

    def begin(self, roles, parallel=False):
        """Begin a spell of one of the roles."""
        role = self.pick(roles)
        settings = {}
        for _ in range(self.pick([0, 0, 1, 1, 2, 4])):
            name, choices = self.pick(self.settings)
            settings[name] = self.pick(choices)
        if self.odds(0.06):
            settings["statement_timeout"] = self.pick(["'1ms'", "'3ms'", "'15ms'"])
        if self.odds(0.05):
            settings["lock_timeout"] = "'20ms'"
        if self.odds(0.05):
            settings["default_transaction_isolation"] = self.pick(["'repeatable read'", "serializable"])
        if self.odds(0.03):
            settings["default_transaction_read_only"] = "on"
        if self.odds(0.04):
            settings["client_encoding"] = self.pick(["LATIN1", "SQL_ASCII", "WIN1252"])
        if self.odds(0.04) or parallel:
            settings.update(PARALLEL)
            settings["debug_parallel_query" if self.catalog.version >= 16 else "force_parallel_mode"] = self.pick(["on", "regress"])
        group = GROUPS.get(role)
        if role is SUPERUSER:
            group = self.pick([None, None, "biolink_app", "biolink_admin", "biolink_owner"])
        elif not self.odds(0.5):
            group = None
        if role is SUPERUSER and group is None and self.odds(0.07):
            settings["session_replication_role"] = "replica"
        self.spell = Spell(role, group, settings)
        self.values.executable_by = None if role is SUPERUSER and not group else role if role else group
        return self.spell

    def rights(self):
        """Return the name under which the catalog noted the rights of the spell's role; None for all."""
        return self.values.executable_by

    def may(self, function):
        """Tell whether the spell's role may execute a function."""
        return self.rights() is None or self.rights() in function.executable_by

    def choose(self, condition=lambda f: True):
        """Return a function, mostly one that the role may execute."""
        strict = self.rights() != STRANGER and self.odds(0.93)
        known = [f for f in self.functions if condition(f) and (not strict or self.may(f))]
        if not known:
            return None
        at = self.values.rng.random() * sum(f.weight() for f in known)
        for function in known:
            at -= function.weight()
            if at < 0:
                return function
        return known[-1]

    # -- calls --

    def arguments(self, function, rows=False, tame=False):
        """Return values for a function's parameters; rows: columns of the table of ready values where types match; tame: one as it should be, arrays of one element."""
        found = []
        self.values.begin_call(function)
        if tame:
            self.values.tame, self.values.length = True, 1
        for kind, name in zip(function.types, function.parameters):
            columns = [c for c, k in self.material if k == kind] if rows else ()
            found.append(Value("r." + self.pick(columns)) if columns and self.odds(0.7) else self.values.value(kind, name))
        return found

    def call(self, function, arguments):
        """Return (write, values) of a call: trailing defaults left out at random, names at random."""
        drop = self.below(function.defaults + 1) if function.defaults and self.odds(0.5) else 0
        if drop:
            arguments = arguments[:-drop]
        names = function.parameters[:len(arguments)]
        named = not function.variadic and all(names) and len(set(names)) == len(names) and self.odds(0.15)
        last = len(arguments) - 1

        def write(texts):
            """Write the call from the texts of its arguments."""
            parts = ["%s => %s" % (n, t) for n, t in zip(names, texts)] if named else list(texts)
            if function.variadic and parts and len(texts) == last + 1:
                parts[-1] = "VARIADIC " + parts[-1]
            return "%s(%s)" % (function.name, ", ".join(parts))
        return write, arguments

    def query(self, function, plain=False, arguments=None):
        """Return a step that calls a function, in one of many forms."""
        over_rows = not plain and arguments is None and function.kind != "p" and self.odds(0.08)
        write, values = self.call(function, self.arguments(function, over_rows) if arguments is None else arguments)
        if function.kind == "p":
            return Step("call", lambda t: "CALL %s" % write(t), values, [function], plain=True)
        if function.kind == "a":
            form = self.pick(["SELECT {c} FROM random_test.material AS r", "SELECT {c} FILTER (WHERE r.number > 90000) FROM random_test.material AS r", "SELECT {c} OVER (ORDER BY r.number ROWS 3 PRECEDING) FROM random_test.material AS r",
                              "SELECT r.number % 3, {c} FROM random_test.material AS r GROUP BY 1", "SELECT {c}", "SELECT {c} FROM random_test.material AS r WHERE false"])
            return Step("aggregate", lambda t: form.replace("{c}", write(t)), values, [function])
        if function.kind == "w":
            return Step("window", lambda t: "SELECT %s OVER (ORDER BY r.number) FROM random_test.material AS r" % write(t), values, [function])
        if over_rows:
            form = self.pick(["SELECT {c} FROM random_test.material AS r", "SELECT r.number FROM random_test.material AS r WHERE {c} IS NOT NULL", "SELECT x.* FROM random_test.material AS r CROSS JOIN LATERAL {c} AS x"])
            if function.result in NO_FROM:
                form = "SELECT {c} FROM random_test.material AS r"
            if function.is_set and "WHERE" in form:
                form = "SELECT {c} FROM random_test.material AS r"
            # a hundred times what costs much is too much
            if function.cost >= 5000:
                form += " LIMIT 2"
            return Step("rows", lambda t: form.replace("{c}", write(t)), values, [function])
        forms = ["SELECT {c}"]
        if function.result not in NO_FROM:
            forms += ["SELECT * FROM {c}", "SELECT x.* FROM {c} AS x"]
        if not plain and function.result not in NO_FROM:
            forms += ["SELECT * FROM {c} LIMIT 1", "SELECT {c} LIMIT 1", "SELECT ({c}) IS NULL", "SELECT (SELECT {c} LIMIT 1)", "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT * FROM {c}", "EXPLAIN (VERBOSE) SELECT {c}",
                      "WITH w AS MATERIALIZED (SELECT {c}) SELECT * FROM w, w AS v", "SELECT * FROM ROWS FROM ({c}, pg_catalog.generate_series(1, 3)) WITH ORDINALITY", "SELECT EXISTS (SELECT FROM {c})",
                      "SELECT * FROM pg_catalog.generate_series(1, 2) AS g CROSS JOIN LATERAL {c} AS x", "SELECT pg_catalog.to_json(x) FROM {c} AS x", "SELECT pg_catalog.count(*) FROM {c} AS x", "SELECT {c} UNION ALL SELECT {c}"]
            if function.is_set:
                forms = [f for f in forms if "IS NULL" not in f]
                forms += ["SELECT {c}, pg_catalog.generate_series(1, 2)"]
            else:
                forms += ["SELECT CASE WHEN pg_catalog.now() > '2020-01-01'::timestamptz THEN {c} END", "SELECT {c} FROM pg_catalog.generate_series(1, 3)", "VALUES (1, {c}), (2, NULL)"]
            if function.result in COMPARABLE and not function.is_set:
                forms += ["SELECT DISTINCT {c} FROM pg_catalog.generate_series(1, 2)", "SELECT pg_catalog.max(({c})::text)", "SELECT 1 FROM pg_catalog.generate_series(1, 3) ORDER BY {c}", "SELECT pg_catalog.array_agg({c})"]
            if function.result == "void":
                forms = ["SELECT {c}", "SELECT * FROM {c}", "SELECT {c} FROM pg_catalog.generate_series(1, 2)"]
        form = forms[0] if self.odds(0.4) else self.pick(forms)
        return Step("call", lambda t: form.replace("{c}", write(t)), values, [function], plain=plain or form in ("SELECT {c}", "SELECT * FROM {c}", "SELECT x.* FROM {c} AS x"), internal=function.uncallable)

    # -- blocks --

    def block(self):
        """Return a block of any kind that suits the role."""
        kinds = [(50, self.single), (14, self.transaction), (6, self.prepared), (4, self.cursor), (6, self.caught), (5, self.binary), (2, self.copy), (4, self.twice), (3, self.null), (5, self.read), (4, self.write), (6, self.operator), (4, self.handed_on)]
        if self.rights() is None:
            kinds += [(2, self.trigger)]
        at = self.below(sum(weight for weight, _ in kinds))
        for weight, maker in kinds:
            at -= weight
            if at < 0:
                break
        return maker() or self.single()

    def single(self):
        """Return one call by itself."""
        return self.alone(self.query(self.choose()))

    @staticmethod
    def alone(step):
        """Return a block of one step; what nobody may call but the owner has to be taken back."""
        if step.calls and any(not f.granted for f in step.calls):
            return Block("single", [fixed("BEGIN"), step, fixed("ROLLBACK")])
        return Block("single", [step])

    def step_within(self):
        """Return a statement for within a transaction."""
        choice = self.below(100)
        if choice < 75:
            return self.query(self.choose(lambda f: f.kind != "p" or self.odds(0.3)))
        if choice < 82:
            return self.reading()
        if choice < 90:
            return self.writing(rolled_back=False)
        return self.operation()

    def handed_on(self):
        """Return a call whose rows, all JSON, are what another one takes: one by one, or together as an array."""
        function = self.choose(lambda f: f.kind == "f" and f.is_set and f.result == "jsonb" and f.granted)
        taker = self.choose(lambda f: f.kind == "f" and f.granted and f.volatility == "v" and f.types in (["bigint", "jsonb"], ["bigint", "json"]) and f.parameters[1] in ("event", "events"))
        if function is None or taker is None:
            return None
        write, values = self.call(function, self.arguments(function))
        creator = self.values.value("bigint", "creator_id")
        form = "SELECT t.* FROM {f} AS e CROSS JOIN LATERAL {t}({c}, e) AS t"
        if taker.types[1] == "json":
            form = "SELECT * FROM {t}({c}, (SELECT pg_catalog.json_agg(e) FROM {f} AS e))"
        return self.alone(Step("handed on", lambda t: form.replace("{t}", taker.name).replace("{c}", t[-1]).replace("{f}", write(t[:-1])), values + [creator], [function, taker]))

    def transaction(self):
        """Return calls within a transaction, with savepoints, to be committed or not."""
        begin = "BEGIN" + self.pick(["", "", "", " ISOLATION LEVEL REPEATABLE READ", " ISOLATION LEVEL SERIALIZABLE", " READ ONLY"] * 3 + [" ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE"])
        steps = [fixed(begin)]
        for _ in range(self.pick([1, 2, 3, 5, 8])):
            choice = self.below(10)
            if choice < 3:
                steps.append(fixed("SAVEPOINT s"))
            elif choice < 4:
                steps.append(fixed("ROLLBACK TO SAVEPOINT s", "savepoint"))
            elif choice < 5:
                steps.append(fixed("RELEASE SAVEPOINT s", "savepoint"))
            elif choice < 6:
                steps.append(fixed(self.pick(["SET LOCAL TimeZone = 'Asia/Tokyo'", "SET LOCAL enable_seqscan = off", "SET CONSTRAINTS ALL IMMEDIATE", "SET LOCAL lock_timeout = '30ms'"])))
            steps.append(self.step_within())
        if any(not f.granted for s in steps for f in s.calls):
            steps.append(fixed("ROLLBACK"))
        elif self.rights() is None and self.odds(0.1):
            steps += [fixed("PREPARE TRANSACTION 'random %d'" % self.worker, "two-phase"), fixed(self.pick(["COMMIT PREPARED 'random %d'", "ROLLBACK PREPARED 'random %d'"]) % self.worker, "two-phase"), fixed("ROLLBACK")]
        else:
            steps.append(fixed(self.pick(["COMMIT", "COMMIT", "ROLLBACK", "COMMIT AND CHAIN"])))
            if steps[-1].sql() == "COMMIT AND CHAIN":
                steps += [self.query(self.choose()), fixed("ROLLBACK")]
        return Block("transaction", steps)

    def prepared(self):
        """Return a prepared statement and its executions with different arguments."""
        function = self.choose(lambda f: f.kind == "f" and f.types and not f.is_trigger and not {"cstring", "internal", "any", "anyelement", "anyarray"} & set(f.types))
        if function is None:
            return None
        form = self.pick(["SELECT %s", "SELECT * FROM %s", "SELECT * FROM %s LIMIT 1", "SELECT pg_catalog.count(*) FROM %s"]) if function.result not in NO_FROM else "SELECT %s"
        body = form % function.written("$%d" % (i + 1) for i in range(len(function.types)))
        steps = [fixed("BEGIN")] if not function.granted else []
        steps += [fixed("PREPARE p (%s) AS %s" % (", ".join(function.types), body), "prepare")]
        for number in range(self.pick([1, 2, 3, 7] if function.cost < 5000 else [1, 2])):
            steps.append(Step("execute", lambda t: "EXECUTE p(%s)" % ", ".join(t), self.arguments(function), [function], plain="LIMIT" not in form))
            if number == 1 and self.odds(0.2):
                steps.append(fixed("DISCARD PLANS"))
        return Block("prepared", steps + [fixed("ROLLBACK")] * (not function.granted) + [fixed("DEALLOCATE ALL")])

    def cursor(self):
        """Return a cursor on a call, with another call between the fetches."""
        function = self.choose(lambda f: f.kind == "f" and f.result not in NO_FROM and not f.uncallable and f.granted)
        if function is None:
            return None
        write, values = self.call(function, self.arguments(function))
        hold = self.odds(0.25)
        declare = "DECLARE c %sCURSOR %sFOR SELECT * FROM {c}" % (self.pick(["", "NO SCROLL ", "SCROLL "]), "WITH HOLD " if hold else "")
        steps = [fixed("BEGIN"), Step("cursor", lambda t: declare.replace("{c}", write(t)), values, [function]), fixed("FETCH 1 FROM c", "fetch")]
        if self.odds(0.5):
            steps += [fixed("SAVEPOINT s"), self.query(self.choose(lambda f: f.kind == "f" and f.granted))]
            if self.odds(0.5):
                steps.append(fixed("ROLLBACK TO SAVEPOINT s", "savepoint"))
        steps.append(fixed(self.pick(["FETCH ALL FROM c", "MOVE ALL FROM c", "FETCH 0 FROM c"]), "fetch"))
        if hold and self.odds(0.5):
            return Block("cursor", steps + [fixed("COMMIT"), fixed("FETCH ALL FROM c", "fetch"), fixed("CLOSE ALL")])
        return Block("cursor", steps + [fixed(self.pick(["COMMIT", "ROLLBACK"])), fixed("CLOSE ALL")])

    def caught(self):
        """Return calls within PL/pgSQL that catches what they raise, once or in a loop."""
        function = self.choose(lambda f: f.kind == "f" and not f.uncallable)
        write, values = self.call(function, self.arguments(function))
        other_write, other_values = None, []
        if self.odds(0.4):
            other = self.choose(lambda f: f.kind == "f" and not f.uncallable)
            other_write, other_values = self.call(other, self.arguments(other))
        times, raising = self.pick([1, 1, 3]) if function.cost < 5000 else 1, self.odds(0.2)
        split = len(values)
        calls = [function] + ([other] if other_write else [])

        def text(t):
            """Write the block."""
            inner = "PERFORM %s;" % write(t[:split])
            if other_write:
                inner += " PERFORM %s;" % other_write(t[split:])
            if raising:
                inner += " RAISE division_by_zero;"
            return ("DO $random$ BEGIN FOR i IN 1..%d LOOP BEGIN %s EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'caught %% %%', SQLSTATE, SQLERRM; END; END LOOP; END $random$" % (times, inner))
        return self.alone(Step("caught", text, values + other_values, calls))

    def twice(self):
        """Return a call of an IMMUTABLE function, to be made again under other settings."""
        function = self.choose(lambda f: f.kind == "f" and f.volatility == "i" and f.types and f.result not in NO_FROM and not f.uncallable)
        if function is None:
            return None
        arguments = [self.values.value(t, n, 2) for t, n in zip(function.types, function.parameters)]
        if any("now()" in a.sql for a in arguments):
            return None
        return Block("twice", [Step("twice", lambda t: "SELECT * FROM %s" % function.written(t), arguments, [function], plain=True, twice=True)])

    def null(self):
        """Return a call of a STRICT function with at least one NULL."""
        function = self.choose(lambda f: f.kind == "f" and f.strict and f.types and not f.uncallable and f.result not in NO_FROM)
        if function is None:
            return None
        arguments = [self.values.value(t, n, 2) for t, n in zip(function.types, function.parameters)]
        if not all(a.sure for a in arguments):
            return None
        at = self.below(len(arguments))
        arguments[at] = Value("NULL::%s" % function.types[at], is_null=True)
        return Block("null", [Step("null", lambda t: "SELECT %s" % function.written(t), arguments, [function], null=True)])

    def binary(self):
        """Return a call whose parameters come in binary form, of random or of real bytes."""
        function = self.choose(lambda f: f.kind == "f" and f.types and not f.is_trigger and not {"cstring", "internal", "any", "anyelement", "anyarray"} & set(f.types))
        if function is None:
            return None
        form = "SELECT %s" if function.result in NO_FROM or self.odds(0.3) else "SELECT * FROM %s"
        statement = form % function.written("$%d::%s" % (i + 1, t) for i, t in enumerate(function.types))
        data = [self.bytes_for(kind, name) for kind, name in zip(function.types, function.parameters)]
        return self.alone(Step("binary", lambda _t: statement, [], [function], bound=data))

    def bytes_for(self, kind, name):
        """Return bytes for a parameter in binary form, or NULL."""
        value = self.values
        if self.odds(0.05):
            return None
        if self.odds(0.12):
            # jsonb_recv() itself calls another version an internal error
            return (b"\1" if kind == "jsonb" else b"") + bytes(self.below(256) for _ in range(self.pick([0, 1, 2, 4, 8, 12, 16, 20, 45, 57, 93, 300])))
        if kind == "bigint":
            number = self.pick(self.world.creators) if name == "creator_id" else self.pick([0, 1, -1, 2**63 - 1, -2**63])
            return struct.pack(">q", number)
        if kind == "integer":
            return struct.pack(">i", self.pick([0, 1, 10, 2**31 - 1, -2**31]))
        if kind == "double precision":
            return struct.pack(">Q", self.pick([0, 1, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000001, 0x7ff0000000000001, 0x8000000000000000, 0x000fffffffffffff]))
        if kind == "boolean":
            return bytes([self.pick([0, 1, 2, 255])])
        if kind in ("text", "name", "character varying"):
            return value.plain_text(name).replace("\0", "").encode("utf-8", "replace")
        if kind == "jsonb":
            return b"\1" + self.pick(['{"a": 1}', "{}", "null", '{"url": "https://a.example/", "visitor": "v1"}', "", "[" * 50]).encode()
        if kind == "json":
            return self.pick(['{"a": 1}', "[]", "", "[", '[{"kind": "lead", "source": "shop", "key": "b1"}, 1, null]', '[{"kind": "lead", "source": "shop", "key": "\\u0000"}]', "[" * 50]).encode()
        if kind == "uuid":
            return bytes.fromhex(self.pick(self.world.uuids).replace("-", ""))
        if kind == "timestamp with time zone":
            return struct.pack(">q", self.pick([0, -2**63, 2**63 - 1, 9223371331200000000 - 1, -211813488000000000, -211813488000000001, 9223371331200000000, 820454400000000 + self.below(10**12)]))
        if kind == "interval":
            return struct.pack(">qii", self.pick([0, -2**63, 2**63 - 1, 10**6, 1]), self.pick([0, 1, 2**31 - 1, -2**31]), self.pick([0, 0, 1, 2**31 - 1, -2**31]))
        if kind == "biolink.token":
            data = value.token_bytes()
            return data if self.odds(0.8) else data[:self.below(len(data))] + b"\0" * self.below(4)
        if kind == "biolink.idhash":
            return value.rng.getrandbits(128).to_bytes(16, "big")
        if kind.endswith("[]"):
            element = {"bigint": (20, 8), "text": (25, 3), "timestamp with time zone": (1184, 8), "double precision": (701, 8), "boolean": (16, 1), "uuid": (2950, 16)}.get(kind[:-2], (25, 3))
            count = self.pick([0, 1, 2, 5])
            body = struct.pack(">iii", self.pick([1, 1, 1, 0, 2, 7, -1]), self.pick([0, 1]), element[0]) + struct.pack(">ii", count, self.pick([1, 0, -5, 2**31 - 1]))
            for _ in range(count):
                body += struct.pack(">i", -1) if self.odds(0.1) else struct.pack(">i", element[1]) + bytes(self.below(128) for _ in range(element[1]))
            return body
        return bytes(self.below(256) for _ in range(self.pick([0, 1, 4, 8, 16, 57])))

    def copy(self):
        """Return COPY into and out of a table of our types, in text or in binary form, of bytes that may be wrong."""
        kinds = sorted(name for name, row in self.catalog.types.items() if row["kind"] in ("b", "c", "e", "d"))
        chosen = [self.pick(kinds) for _ in range(self.pick([1, 2]))]
        steps = [fixed("BEGIN"), fixed("CREATE TEMPORARY TABLE copied (%s) ON COMMIT DROP" % ", ".join("c%d %s" % (i, k) for i, k in enumerate(chosen)), "setup")]
        if self.odds(0.7):
            data = BINARY_HEADER
            for _ in range(self.pick([0, 1, 1, 3])):
                data += struct.pack(">h", self.pick([len(chosen)] * 8 + [-1, 0, 3]))
                for kind in chosen:
                    field = self.bytes_for(kind, "") if self.catalog.types[kind]["kind"] != "c" else self.row_bytes(kind)
                    data += struct.pack(">i", -1) if field is None else struct.pack(">i", len(field) if self.odds(0.96) else self.pick([-2, 0, len(field) + 1, 2**31 - 1])) + field
            steps += [fixed("SAVEPOINT s"), fixed("COPY copied FROM STDIN WITH (FORMAT binary)", "copy", copy=data + b"\xff\xff")]
        else:
            text = "".join("\t".join(self.pick([self.values.token_text(), self.pick(self.world.hashes), "\\N", "(,,)", "\\\\x", "{}", self.values.strange_text()]).replace("\t", " ") for _ in chosen) + "\n" for _ in range(self.pick([1, 1, 4])))
            steps += [fixed("SAVEPOINT s"), fixed("COPY copied FROM STDIN", "copy", copy=text.encode("utf-8", "replace"))]
        steps += [fixed("SAVEPOINT s"), Step("setup", lambda t: "INSERT INTO copied VALUES (%s)" % ", ".join(t), [self.values.value(k, "", 2) for k in chosen]), fixed("COPY copied TO STDOUT WITH (FORMAT binary)", "copy"), fixed("COPY copied TO STDOUT", "copy"),
                  fixed("SELECT * FROM copied AS a WHERE a.c0 IS NOT NULL", "setup"), fixed("ROLLBACK")]
        return Block("copy", steps)

    def row_bytes(self, kind):
        """Return bytes for a row type in binary form."""
        oids = {"boolean": 16, "text": 25, "bigint": 20, "uuid": 2950, "timestamp with time zone": 1184, "integer": 23, "jsonb": 3802}
        fields = self.catalog.types[kind]["fields"]
        data = struct.pack(">i", len(fields) if self.odds(0.9) else self.pick([0, -1, 100]))
        for name, field_kind in fields:
            field = self.bytes_for(field_kind, name)
            data += struct.pack(">I", oids.get(field_kind, self.pick([0, 25, 16384])))
            data += struct.pack(">i", -1) if field is None else struct.pack(">i", len(field)) + field
        return data

    # -- relations, operators, triggers --

    def reading(self):
        """Return a reading of a table or view of ours."""
        self.values.tame = False
        # views cost more than tables
        tables, views = ([r for r in self.catalog.relations if r["kind"] in kinds] for kinds in ("rp", "vmf"))
        relation = self.pick(views if views and self.odds(0.15) else tables)
        columns = relation["columns"]
        column, kind = self.pick(columns)[:2]
        value = self.values.value(kind, column, 2)
        comparison = self.pick(["=", "<>", "<", ">="]) if kind in COMPARABLE else "IS NOT DISTINCT FROM"
        if comparison != "IS NOT DISTINCT FROM" and kind.startswith("biolink."):
            comparison = "OPERATOR(biolink.%s)" % comparison
        elif comparison == "IS NOT DISTINCT FROM":
            return fixed("SELECT * FROM %s AS t LIMIT 50" % relation["name"], "read", reads=relation, control=False)
        form = self.pick(["SELECT * FROM {r} AS t WHERE t.{c} {o} {v} LIMIT 20", "SELECT pg_catalog.count(*) FROM {r} AS t WHERE t.{c} {o} {v}", "SELECT t.{c} FROM {r} AS t ORDER BY t.{c} DESC LIMIT 5",
                          "SELECT pg_catalog.count(*) FROM {r} AS t", "SELECT t.{c}, pg_catalog.count(*) FROM {r} AS t GROUP BY t.{c} LIMIT 5", "SELECT * FROM {r} AS t WHERE t.{c} {o} ANY (ARRAY[{v}])",
                          "SELECT a.{c} FROM {r} AS a JOIN {r} AS b ON a.{c} {o} b.{c} LIMIT 3"])
        # joins of views with themselves are nobody's honest call
        if relation["kind"] == "v" and "JOIN" in form:
            form = "SELECT pg_catalog.count(*) FROM {r} AS t"
        if "JOIN" in form and comparison not in ("=", "OPERATOR(biolink.=)"):
            form = form.replace(" {o} ", " = ") if not kind.startswith("biolink.") else form.replace("{o}", "OPERATOR(biolink.=)")
        form = form.replace("{r}", relation["name"]).replace("{c}", '"%s"' % column).replace("{o}", comparison)
        return Step("read", lambda t: form.replace("{v}", t[0]), [value], reads=relation)

    @staticmethod
    def whole(relation):
        """Return a reading of all of a relation."""
        return Block("read", [fixed("SELECT * FROM %s" % relation["name"], "read", reads=relation)])

    def read(self):
        """Return a reading by itself."""
        return Block("read", [self.reading()])

    def writing(self, rolled_back):
        """Return a change of a table that the role may change; only of the creators meant for it unless it is taken back."""
        rights = self.rights()
        self.values.tame = self.odds(0.5)
        known = []
        for relation in self.catalog.relations:
            if relation["kind"] == "r" and rights is not None:
                known += [(relation, right) for right in relation["rights"].get(rights, ()) if right != "SELECT"]
        if not known:
            return self.query(self.choose(lambda f: f.kind == "f"))
        relation, right = self.pick(known)
        tenant = str(self.pick(self.world.creators if rolled_back else self.world.victims))
        columns = [c for c in relation["columns"] if c[0] != "creator_id"]
        chosen = [c for c in columns if self.odds(0.5)] or columns[:1]
        values = [self.values.value(c[1], c[0], 1) for c in chosen]
        names = ['"%s"' % c[0] for c in chosen]
        has_tenant = any(c[0] == "creator_id" for c in relation["columns"])
        where = " WHERE creator_id = %s" % tenant if has_tenant else " WHERE false"
        if right == "INSERT":
            first = ["creator_id"] if has_tenant and relation["name"] != "biolink.creator" else []
            return Step("write", lambda t: "INSERT INTO %s (%s) VALUES (%s)" % (relation["name"], ", ".join(first + names), ", ".join([tenant] * len(first) + t)), values, writes=True)
        if right == "UPDATE":
            return Step("write", lambda t: "UPDATE %s SET %s%s" % (relation["name"], ", ".join("%s = %s" % pair for pair in zip(names, t)), where), values, writes=True)
        return fixed("DELETE FROM %s%s" % (relation["name"], where), "write", writes=True)

    def write(self):
        """Return changes of configuration with calls between, mostly taken back."""
        if self.odds(0.2):
            return Block("write", [self.writing(False), self.query(self.choose(lambda f: f.kind == "f" and f.granted))])
        steps = [fixed("BEGIN")]
        for _ in range(self.pick([1, 2, 3])):
            steps += [fixed("SAVEPOINT s"), self.writing(True), fixed("SAVEPOINT s"), self.query(self.choose(lambda f: f.kind == "f"))]
        return Block("write", steps + [fixed("ROLLBACK"), self.query(self.choose(lambda f: f.kind == "f" and f.granted))])

    def operation(self):
        """Return a statement with operators, casts or types of the extension."""
        self.values.tame = False
        if self.catalog.casts and self.odds(0.15):
            cast = self.pick(self.catalog.casts)
            return Step("cast", lambda t: "SELECT CAST(%s AS %s)" % (t[0], cast["target"]), [self.values.value(cast["source"], "", 1)])
        if self.odds(0.2):
            name = self.pick(sorted(self.catalog.types))
            return Step("cast", lambda t: "SELECT CAST(%s AS %s)" % (t[0], name), [Value(quote(self.values.token_text() if self.odds(0.3) else self.values.strange_text()) + "::text", False)])
        if not self.catalog.operators:
            return self.query(self.choose())
        operator = self.pick(self.catalog.operators)
        function = self.catalog.by_signature.get(operator["function"])
        columns = [c for c, k in self.material if k == operator["right_type"]]
        values = [self.values.value(k, "", 1) for k in (operator["left_type"], operator["right_type"]) if k]
        if columns and operator["left_type"] == operator["right_type"] and operator["result"] == "boolean" and self.odds(0.5):
            form = self.pick(["SELECT pg_catalog.count(*) FROM random_test.material AS a JOIN random_test.material AS b ON a.{c} {o} b.{c}", "SELECT a.{c} FROM random_test.material AS a WHERE a.{c} {o} {v} ORDER BY a.{c}",
                              "SELECT DISTINCT a.{c} FROM random_test.material AS a", "SELECT pg_catalog.count(DISTINCT a.{c}) FROM random_test.material AS a WHERE a.{c} {o} ANY (ARRAY[{v}, {v}])",
                              "SELECT a.{c} FROM random_test.material AS a WHERE a.{c} {o} ANY (SELECT b.{c} FROM random_test.material AS b) GROUP BY 1", "SELECT pg_catalog.rank() OVER (ORDER BY a.{c}) FROM random_test.material AS a",
                              "SELECT a.{c} FROM random_test.material AS a EXCEPT SELECT {v}"])
            form = form.replace("{c}", self.pick(columns)).replace("{o}", operator["name"])
            return Step("operator", lambda t: form.replace("{v}", t[-1]), values, [function] if function and "{o}" in form else [])
        return Step("operator", lambda t: "SELECT " + (" %s " % operator["name"]).join(t) if len(t) == 2 else "SELECT %s %s" % (operator["name"], t[0]), values, [function] if function else [])

    def operator(self):
        """Return a statement with an operator by itself."""
        return Block("operator", [self.operation()])

    def trigger(self, function=None):
        """Return a trigger function at work where nobody means it to be."""
        function = function or self.choose(lambda f: f.result == "trigger")
        if function is None:
            return None
        level, timing = self.pick(["ROW", "STATEMENT"]), self.pick(["BEFORE", "AFTER"])
        events = self.pick(["INSERT", "UPDATE", "DELETE", "INSERT OR UPDATE OR DELETE"]) + (" OR TRUNCATE" if level == "STATEMENT" and self.odds(0.4) else "")
        words = [self.pick(["link", "offer", "event", "no_such_table", "", "pg_class", "a b", self.values.strange_text()]) for _ in range(self.below(3))]
        table = "watched" if self.odds(0.7) else self.pick([r["name"] for r in self.catalog.relations if r["kind"] == "r"])
        steps = [fixed("BEGIN"), fixed("CREATE TEMPORARY TABLE watched (creator_id bigint, state text, state_changed_at timestamptz)", "setup"),
                 fixed("CREATE TRIGGER random %s %s ON %s FOR EACH %s EXECUTE FUNCTION %s(%s)" % (timing, events, table, level, function.name, ", ".join(quote(w) for w in words)), "setup")]
        for action in ("INSERT INTO watched VALUES (1, 'a', NULL), (2, 'b', NULL)", "UPDATE watched SET state = 'c'", "DELETE FROM watched", "TRUNCATE watched",
                       "UPDATE biolink.link SET title = title", "UPDATE biolink.key_epoch SET state = 'retiring'"):
            steps += [fixed("SAVEPOINT s"), Step("trigger", lambda _t, a=action: a, [], [function])]
        return Block("trigger", steps + [fixed("ROLLBACK")])
