"""Runs blocks against the database, looks at every answer, and reduces what fails.

This file owns the connection of one worker, what it saw, and the statements that a failure prints.

Invariants:
- The answers of the database change no random number: a seed means the same calls again.
- A failure is reported once for each kind, with statements that can be pasted into psql.
"""

import re
import time

from oracle import judge
from stage import SUPER
from values import Value
from wire import Connection, Lost

MIB = 1024  # kB, as /proc has it
MEMORY_LIMIT = 512 * MIB
LEAK_LIMIT = 96 * MIB
SECONDS = 20
MOST_CRASHES = 5
HISTORY = 300
MOST_REDUCED = 12
OTHER_SETTINGS = ("SET TimeZone = 'Asia/Kathmandu'", "SET DateStyle = 'SQL, DMY'", "SET search_path = pg_temp", "SET extra_float_digits = 0")
LOCKS = ("SELECT l.classid, l.objid, l.objsubid, l.mode FROM pg_catalog.pg_locks AS l WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'advisory'"
         " ORDER BY 1, 2, 3, 4")
ENCODINGS = {"LATIN1": "latin-1", "WIN1252": "cp1252"}


def memory(pid, name):
    """Return a number of kB from /proc, 0 where there is none."""
    try:
        with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(name + ":"):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0


def shown(text, limit=6000):
    """Return a statement as it is printed."""
    return text if len(text) <= limit else text[:limit] + " ... (%d characters)" % len(text)


def written(step, sql):
    """Return a step as text: the statement, and as a comment what psql cannot be given."""
    text = sql + ";"
    if step is not None and step.bound is not None:
        text += " -- with parameters in binary form: " + ", ".join("NULL" if b is None else "\\x" + b.hex() for b in step.bound)
    if step is not None and step.copy is not None:
        text += " -- from: \\x" + step.copy.hex()
    return text


def worth_printing(prelude):
    """Return the statements that begin a spell, without those that every spell begins with."""
    return [line + ";" for line in prelude if not line.startswith(("RESET", "DISCARD", "SET track_functions", "SET jit", "SET statement_timeout = '20s'"))]


class Runner:
    """One worker: a connection and what happened on it."""

    def __init__(self, catalog, database, label, budget, log=None):
        """Connect."""
        self.catalog, self.database, self.label, self.budget, self.log = catalog, database, label, budget, log
        self.counts, self.answered, self.kinds, self.read, self.used = {}, {}, {}, set(), set()
        self.codes, self.failures, self.slow = {}, {}, []
        self.calls = self.crashes = self.reduced = 0
        self.peak = self.grown = 0
        self.spell, self.trace, self.status, self.savepoint = None, [], "I", False
        self.history, self.spent = [], {}
        self.locks = {}
        self.early = None
        self.harvest = lambda answer: None
        self.connect()

    def connect(self):
        """Connect, waiting for a server that recovers."""
        end = time.monotonic() + 90
        while True:
            try:
                self.connection = Connection(self.database, SUPER, SECONDS + 30)
                break
            except Lost:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
        self.connection.encoding = "utf-8"
        self.history = []
        self.base = memory(self.connection.pid, "VmHWM")
        self.shared = int(self.connection.must("SELECT setting::bigint * 8 FROM pg_catalog.pg_settings WHERE name = 'shared_buffers'")[0][0])
        self.early = None

    # -- spells and blocks --

    def begin(self, spell, again=True):
        """Begin a spell; a short statement_timeout of the one before may still be in force."""
        self.spell, self.trace, self.status = spell, [], "I"
        self.connection.encoding = "utf-8"
        for line in spell.prelude():
            self.remember(None, line)
            for _ in range(30):
                answer = self.connection.query(line)
                if answer.error is None or answer.error["C"] != "57014":
                    break
            if answer.error:
                self.fail("identity", "%s: %s: %s" % (line, answer.error["C"], answer.error["M"]), None)
                self.connection.close()
                self.connect()
                return self.begin(spell, False) if again else None
        self.connection.encoding = ENCODINGS.get(spell.settings.get("client_encoding"), "utf-8")
        return None

    def run(self, block):
        """Run a block; false when the worker had better stop."""
        self.trace, self.savepoint = [], False
        self.locks.clear()
        try:
            for step in block.steps:
                self.step(step)
            if self.status != "I":
                self.plainly("ROLLBACK")
        except Lost as lost:
            return self.lost(step, lost)
        return True

    def remember(self, step, sql):
        """Keep what this session did last, for what only shows later."""
        self.history.append((step, sql))
        if len(self.history) > 2 * HISTORY:
            del self.history[:HISTORY]

    def plainly(self, sql):
        """Run a statement that only keeps the transaction going."""
        self.trace.append((None, sql))
        self.remember(None, sql)
        answer = self.connection.query(sql)
        self.status = answer.status
        self.look_at_transaction(sql, answer)
        return answer

    def step(self, step):
        """Run one step and judge its answer."""
        if self.status == "E" and not step.control and step.kind != "savepoint":
            # what comes after an error would not be tried at all
            if not self.savepoint or self.plainly("ROLLBACK TO SAVEPOINT s").error:
                self.plainly("ROLLBACK")
                self.plainly("BEGIN")
        sql = step.sql()
        self.trace.append((step, sql))
        self.remember(step, sql)
        if self.log:
            self.log.write("%s: %s\n" % (self.spell, shown(written(step, sql), 100000)))
            self.log.flush()
        answer = self.ask(step, sql)
        self.status = answer.status
        self.note(step, sql, answer)
        if step.control or step.kind == "savepoint":
            self.look_at_transaction(sql, answer)
        if step.twice and not answer.error and self.status == "I":
            self.again(step, sql)
        if not step.control:
            self.look_at_role(step, answer)

    def look_at_transaction(self, sql, answer):
        """Follow savepoints, and compare the locks before what is rolled back with those after it."""
        word = sql.split()[0]
        if answer.error or self.spell.hurried:
            self.savepoint = self.savepoint and word != "SAVEPOINT"
            return
        if word in ("SAVEPOINT", "BEGIN"):
            self.savepoint = word == "SAVEPOINT"
            self.locks[word] = self.connection.query(LOCKS).rows
        elif word == "ROLLBACK":
            begun = "SAVEPOINT" if " TO " in sql else "BEGIN"
            self.savepoint = self.savepoint and begun == "SAVEPOINT"
            now = self.connection.query(LOCKS).rows
            if self.locks.get(begun) not in (None, now) and len(now) > len(self.locks[begun]):
                self.fail("locks", "%s leaves locks %s" % (sql, [b" ".join(row).decode() for row in now]), self.trace[-1][0])
        elif word in ("COMMIT", "RELEASE"):
            self.savepoint = False
            self.locks.clear()

    def ask(self, step, sql):
        """Send a step."""
        if step.bound is not None:
            return self.connection.bound(sql, step.bound, [1])
        return self.connection.query(sql, step.copy)

    def again(self, step, sql):
        """Ask an IMMUTABLE function twice, with other settings between, and compare the bytes."""
        first = self.connection.bound(sql, binary_result=True)
        for line in OTHER_SETTINGS:
            self.connection.query(line)
        second = self.connection.bound(sql, binary_result=True)
        for line in OTHER_SETTINGS:
            self.connection.query("RESET %s" % line.split()[1])
        for name, value in self.spell.settings.items():
            if name in ("TimeZone", "DateStyle", "search_path", "extra_float_digits"):
                self.connection.query("SET %s = %s" % (name, value))
        if first.outcome() != second.outcome() and not self.spell.hurried:
            self.fail("twice", "%s answers %s, then %s" % (step.calls[0].signature, str(first.outcome())[:300], str(second.outcome())[:300]), step)

    def look_at_role(self, step, answer):
        """Compare the role with the one that was set; after errors and what may write always, else once in a while."""
        if self.status == "E" or (answer.error is None and self.calls % 20 and not any(f.volatility == "v" for f in step.calls)):
            return
        found = self.connection.query("SELECT current_user, pg_catalog.current_setting('is_superuser')")
        if found.error:
            return
        name, is_super = (v.decode() for v in found.rows[0])
        wanted = self.spell.current() or SUPER
        if name != wanted or is_super != ("on" if wanted == SUPER else "off"):
            self.fail("identity", "current_user is %s rather than %s" % (name, wanted), step)
            self.connection.close()
            self.connect()
            self.begin(self.spell)

    # -- what was seen --

    def note(self, step, sql, answer):
        """Count a step, judge it, and look at the memory."""
        if step.calls or step.reads or step.kind in ("operator", "cast", "write", "copy"):
            self.calls += 1
            self.kinds[step.kind] = self.kinds.get(step.kind, 0) + 1
        code = answer.error["C"] if answer.error else "00000"
        self.codes[code] = self.codes.get(code, 0) + 1
        never_came_to_it = answer.error and code in ("42501", "25P02") or answer.error and not step.sure and code[:2] == "22"
        for function in step.calls:
            self.counts[function.signature] = self.counts.get(function.signature, 0) + (0 if never_came_to_it else 1)
            if not answer.error:
                self.answered[function.signature] = self.answered.get(function.signature, 0) + 1
        if step.calls and not answer.error:
            self.harvest(answer)
        if step.reads and not answer.error:
            self.read.add(step.reads["name"])
        for category, text in judge(step, self.spell, answer, self.rights()):
            self.fail(category, text, step)
        for name in [f.signature for f in step.calls] or [step.kind]:
            self.spent[name] = self.spent.get(name, 0) + answer.seconds
        if answer.seconds > 0.2:
            self.slow = sorted(self.slow + [(round(answer.seconds, 2), shown(sql, 300))], reverse=True)[:5]
        if answer.seconds > 0.01 or self.calls % 100 == 0:
            self.look_at_memory(step)

    def rights(self):
        """Return the role whose rights count; None for a superuser."""
        spell = self.spell
        return spell.role or spell.group

    def look_at_memory(self, step):
        """Fail when the process was ever larger than it may be."""
        peak = memory(self.connection.pid, "VmHWM")
        self.peak = max(self.peak, peak - self.base)
        if peak > self.base + self.shared + MEMORY_LIMIT:
            self.fail("memory", "the server process grew to %d MB" % (peak // 1024), step)
            self.connection.close()
            self.connect()
            self.begin(self.spell)
        if self.early is None and self.calls > self.budget * 0.3:
            self.early = memory(self.connection.pid, "RssAnon")

    def finish(self):
        """Look whether the process kept growing, and hang up."""
        last = memory(self.connection.pid, "RssAnon")
        if self.early:
            self.grown = last - self.early
            if self.grown > LEAK_LIMIT:
                contexts = self.connection.query("RESET SESSION AUTHORIZATION") and self.connection.query(
                    "SELECT pg_catalog.string_agg(m.line, ', ') FROM (SELECT c.name || ' ' || c.ident || ' ' || c.total_bytes / 1024 || ' kB' AS line FROM pg_catalog.pg_backend_memory_contexts AS c"
                    " ORDER BY c.total_bytes DESC LIMIT 8) AS m")
                self.fail("leak", "from %d to %d MB of its own: %s" % (self.early // 1024, last // 1024, contexts.rows), None)
        self.connection.close()

    # -- failures --

    def statements(self):
        """Return the statements of the spell and block so far, as text."""
        return worth_printing(self.spell.prelude()) + [shown(written(step, sql)) for step, sql in self.trace]

    def fail(self, category, text, step):
        """Keep a failure, reduced if it is the first of its kind."""
        names = sorted({f.signature for f in step.calls}) if step else []
        key = (category, re.sub(r' \(\w+\.c:\w+\)|"[^"]*"|\b[0-9a-f-]{8,}\b|[0-9]+', "?", text)[:120].rstrip("?"))
        if key in self.failures:
            self.failures[key]["times"] += 1
            return
        failure = {"category": category, "text": text, "times": 1, "where": "%s, %s" % (self.label, self.spell), "functions": names, "statements": self.statements()}
        self.failures[key] = failure
        if step and self.reduced < MOST_REDUCED and category not in ("leak", "identity", "twice"):
            self.reduced += 1
            try:
                found = Reduction(self, category, step).reduced()
            except (Lost, RuntimeError) as problem:
                found = ["-- not reduced: %s" % problem]
            if found:
                failure["statements"] = found

    def lost(self, step, lost):
        """Tell what became of the connection, and connect again; false after too many crashes."""
        code = lost.fields.get("C")
        if "no answer" in str(lost):
            self.fail("hang", str(lost), step)
        elif code == "57P02":
            # another worker's crash
            pass
        elif code == "57P01" and "terminating connection due to administrator command" in lost.fields.get("M", ""):
            pass
        else:
            self.crashes += 1
            self.fail("crash", "%s %s %s" % (lost, code or "", lost.fields.get("M", "")), step)
        self.connect()
        self.begin(self.spell)
        return self.crashes < MOST_CRASHES


class Reduction:
    """Finds fewer and simpler statements that fail in the same way."""

    def __init__(self, runner, category, step):
        """Keep what fails."""
        self.runner, self.category, self.step = runner, category, step
        self.end = time.monotonic() + 20
        self.crashes = 0

    def fails(self, prelude, before, step, sql):
        """Tell whether statements fail in the same way on a connection of their own."""
        if time.monotonic() > self.end or self.crashes > 12:
            return False
        spell = self.runner.spell
        end = time.monotonic() + 60
        while True:
            try:
                connection = Connection(self.runner.database, SUPER, SECONDS + 30)
                break
            except Lost:
                if time.monotonic() > end:
                    return False
                time.sleep(0.2)
        connection.encoding = ENCODINGS.get(spell.settings.get("client_encoding"), "utf-8")
        try:
            for line in prelude:
                connection.query(line)
            for earlier, text in before:
                if earlier is not None and earlier.bound is not None:
                    connection.bound(text, earlier.bound, [1])
                else:
                    connection.query(text, earlier.copy if earlier else None)
            answer = connection.bound(sql, step.bound, [1]) if step.bound is not None else connection.query(sql, step.copy)
            found = [c for c, _ in judge(step, spell, answer, self.runner.rights())]
            if self.category == "locks" and answer.error is None and connection.query(LOCKS).count:
                found.append("locks")
            if memory(connection.pid, "VmHWM") > self.runner.base + self.runner.shared + MEMORY_LIMIT:
                found.append("memory")
            connection.query("ROLLBACK")
            connection.close()
            return self.category in found
        except Lost as lost:
            self.crashes += 1
            return self.category == ("hang" if "no answer" in str(lost) else "crash")

    def reduced(self):
        """Return the statements to print, or nothing when it cannot be made to fail again."""
        runner, step = self.runner, self.step
        sql = step.sql()
        role = [line for line in runner.spell.prelude() if line.startswith(("SET SESSION", "SET ROLE"))]
        whole = runner.spell.prelude()[3:]
        before, session = ([item for item in items] for items in (runner.trace, runner.history))
        for items in (before, session):
            while items and items[-1][0] is not step:
                items.pop()
            del items[-1:]
        for prelude, first in ((role, []), (whole, []), (role, before), (whole, before), ([], session)):
            if self.fails(prelude, first, step, sql):
                break
        else:
            return None
        # leave out earlier statements, from the last to the first, in ever smaller pieces
        size = max(1, len(first) // 2)
        while size:
            for at in range(len(first) - size, -1, -size):
                fewer = first[:at] + first[at + size:]
                if self.fails(prelude, fewer, step, sql):
                    first = fewer
            size //= 2
        values = list(step.values)
        better = bool(values)
        while better and time.monotonic() < self.end:
            better = False
            for at, value in enumerate(values):
                for simpler in (value.simpler() if value.simpler else []):
                    tried = values[:at] + [simpler] + values[at + 1:]
                    if len(simpler.sql) < len(value.sql) and self.fails(prelude, first, step, step.write([v.sql for v in tried])):
                        values, better = tried, True
                        break
        return worth_printing(prelude) + [shown(written(s, t)) for s, t in first] + [shown(written(step, step.write([v.sql for v in values]) if values else sql))]


def systematic(maker, function, times):
    """Return blocks that call one function with NULLs in every place, and with random arguments."""
    made = []
    if function.kind in ("f", "p") and function.types:
        plain = [Value("NULL::%s" % t if t not in ("internal", "any") else "NULL", is_null=True) for t in function.types]
        made.append(plain)
        for at in range(len(plain)):
            arguments = maker.arguments(function)
            arguments[at] = plain[at]
            made.append(arguments)
    return [maker.alone(maker.query(function, True, arguments)) for arguments in made + [None] * times]


def exhaustive(maker, function):
    """Return blocks that call one function with every listed value in every place, the other arguments being as they should be."""
    blocks = []
    for at, (kind, name) in enumerate(zip(function.types, function.parameters)):
        # where a call costs much, a part of them
        for value in maker.values.listed(kind, name)[::1 if function.cost < 5000 else 10]:
            arguments = maker.arguments(function, tame=True)
            arguments[at] = value
            blocks.append(maker.alone(maker.query(function, True, arguments)))
    return blocks
