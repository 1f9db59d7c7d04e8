"""Calls everything the extension has with random arguments, and judges only what no call may do.

This file owns the rounds, the workers and the report.  Output is TAP.
Environment: PGHOST, PGPORT, PGUSER (a superuser), PGDATABASE (a database to connect to; nothing is
done in it), and
  CALLS=300000     how many calls (default 10000); each 10000 are a round with a database of its own
  SEED=7           the seed of the first round (default 1); the next round has the next
  WORKERS=4        how many sessions at once (default 2); another number means other calls
  KEEP=1           keep the database of each round, and the roles
  LOG=directory    write every statement of every worker there

Invariant: the same SEED, CALLS of a round, WORKERS and catalog give the same calls.
"""

import collections
import multiprocessing
import os
import random
import sys
import time
import traceback

import catalog as catalogs
import oracle
import stage
from runner import Runner, exhaustive, systematic
from statements import ADMIN, ANALYST, APP, GROUPS, SKIPPED, STRANGER, SUPERUSER, Maker
from values import Values, World, harvested_words
from wire import Connection, Lost

ROUND = 10000
LEAST = 10
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# (name, part of the calls, roles, does the books' check hold afterwards)
PHASES = (
    ("application", 0.35, [APP], True),
    ("people", 0.35, [APP, ADMIN, ADMIN, ANALYST, STRANGER], True),
    ("superuser", 0.30, [SUPERUSER, SUPERUSER, APP, ADMIN], False),
)


class Round:
    """One database, filled with the calls of one seed."""

    def __init__(self, seed, calls, workers, first):
        """Set the stage; the first round also goes through the lists of values."""
        self.seed, self.calls, self.workers, self.first = seed, calls, workers, first
        self.name = "biolink_random_%d" % os.getpid()
        self.problems = []
        administration = stage.administration()
        self.inside = stage.make_database(administration, self.name)
        administration.close()
        self.catalog = catalogs.Catalog(self.inside)
        self.catalog.read_rights(self.inside, list(GROUPS) + ["biolink_app", "biolink_analyst", "biolink_admin", "biolink_owner"])
        self.words = harvested_words(self.catalog, TOP)
        self.world = World()
        self.world.relations = [r["name"] for r in self.catalog.relations] + ["pg_catalog.pg_class", "random_test.material", "pg_catalog.pg_stat_activity"]
        stage.make_tenants(self.inside, self.world)
        values = Values(random.Random("%d material" % seed), self.catalog, self.world, self.words)
        self.material = stage.make_material(self.inside, self.catalog, values)
        self.inside.close()

    def work(self, phase, part, roles, worker, pipe):
        """Be one worker of one phase, in a process of its own."""
        try:
            rng = random.Random("%d %s %d" % (self.seed, phase, worker))
            values = Values(rng, self.catalog, self.world, self.words)
            maker = Maker(values, self.catalog, self.world, self.material, worker)
            budget = int(self.calls * part / self.workers)
            log = None
            if os.environ.get("LOG"):
                log = open(os.path.join(os.environ["LOG"], "%d-%s-%d.sql" % (self.seed, phase, worker)), "w", encoding="utf-8", errors="replace")
            runner = Runner(self.catalog, self.name, "SEED=%d, %s, worker %d" % (self.seed, phase, worker), budget, log)
            runner.harvest = self.world.harvest
            going = True
            if SUPERUSER in roles:
                blocks = self.thorough(maker, worker)
                runner.begin(maker.spell)
                for block in blocks:
                    going = going and runner.run(block)
                # these come on top
                budget += runner.calls
                runner.budget = budget
            while going and runner.calls < budget:
                runner.begin(maker.begin(roles))
                for _ in range(25):
                    if going and runner.calls < budget:
                        going = runner.run(maker.block())
            runner.finish()
            pipe.send({name: getattr(runner, name) for name in ("counts", "answered", "kinds", "read", "codes", "failures", "slow", "spent", "calls", "crashes", "peak", "grown")})
        except Exception:  # whatever it is, it must come to the report
            pipe.send({"problem": traceback.format_exc()})
        pipe.close()

    def thorough(self, maker, worker):
        """Return the blocks that go through functions, values and tables one after the other, those of one worker."""
        maker.begin([SUPERUSER])
        maker.spell.settings.clear()
        maker.spell.group = maker.values.executable_by = None
        blocks = []
        for number, function in enumerate(maker.functions):
            if number % self.workers == worker:
                # of values of our own types many are none
                own = any(t.startswith("biolink.") for t in function.types)
                blocks += systematic(maker, function, LEAST * (3 if own else 1) if function.types else 2)
                if self.first:
                    blocks += exhaustive(maker, function)
                if function.result == "trigger":
                    blocks += [maker.trigger(function) for _ in range(2)]
        for number, relation in enumerate(self.catalog.relations):
            if number % self.workers == worker and relation["kind"] != "S":
                blocks.append(maker.whole(relation))
        return blocks

    def phase(self, phase, part, roles):
        """Run one phase and return what its workers saw."""
        context = multiprocessing.get_context("fork")
        started = []
        for worker in range(self.workers):
            mine, theirs = context.Pipe(False)
            process = context.Process(target=self.work, args=(phase, part, roles, worker, theirs))
            process.start()
            theirs.close()
            started.append((process, mine))
        seen = []
        for process, pipe in started:
            try:
                seen.append(pipe.recv())
            except EOFError:
                seen.append({"problem": "a worker ended without a word"})
            process.join()
        return seen

    def books(self, phase):
        """Run the jobs, then the check of the books; return what is wrong."""
        connection = Connection(self.name, stage.SUPER, 300)
        wrong = []
        connection.must("SET SESSION AUTHORIZATION %s" % ADMIN)
        for job in ("attribute", "maintain", "attribute"):
            answer = connection.query("CALL biolink.run_job('%s')" % job)
            if answer.error:
                wrong.append("SEED=%d, after %s: job %s: %s: %s" % (self.seed, phase, job, answer.error["C"], answer.error["M"]))
        if phase == PHASES[0][0]:
            stage.rotate_keys(connection, self.world)
        answer = connection.query("SELECT rule, failures, detail FROM biolink.integrity_check() WHERE ok IS NOT TRUE")
        if answer.error:
            wrong.append("SEED=%d, after %s: integrity_check(): %s: %s" % (self.seed, phase, answer.error["C"], answer.error["M"]))
        wrong += ["SEED=%d, after %s: %s" % (self.seed, phase, " ".join(v.decode() for v in row)) for row in answer.rows]
        connection.close()
        return wrong

    def strangers_rows(self):
        """Return the tables and views in which the analyst sees rows of a creator that is not his."""
        connection = Connection(self.name, stage.SUPER, 300)
        found = []
        connection.must("SET SESSION AUTHORIZATION %s" % ANALYST)
        for relation in self.catalog.relations:
            if any(c[0] == "creator_id" for c in relation["columns"]) and "SELECT" in relation["rights"][ANALYST]:
                answer = connection.query("SELECT pg_catalog.count(*) FROM %s WHERE creator_id <> ALL ('{%s}')" % (
                    relation["name"], ",".join(str(c) for c in stage.MEMBERS_OF_ANALYST)))
                if answer.error or answer.rows[0][0] != b"0":
                    found.append("SEED=%d: %s: %s" % (self.seed, relation["name"], answer.error["M"] if answer.error else answer.rows[0][0].decode()))
        connection.close()
        return found

    def unreached(self):
        """Return the functions that the server itself never saw called; statistics come late."""
        connection = Connection(self.name, stage.SUPER)
        wanted = {f.oid: f.signature for f in self.catalog.functions if f.kind in ("f", "p") and not f.uncallable and not f.language == "sql" and f.name not in SKIPPED}
        for _ in range(50):
            connection.must("SELECT pg_catalog.pg_stat_clear_snapshot()")
            text = connection.must("SELECT pg_catalog.string_agg(funcid::text, ' ') FROM pg_catalog.pg_stat_user_functions WHERE calls > 0")[0][0]
            missing = [name for oid, name in sorted(wanted.items()) if str(oid) not in (text or "").split()]
            if not missing:
                break
            time.sleep(0.1)
        connection.close()
        return missing

    def end(self):
        """Drop the database and the roles."""
        administration = stage.administration()
        answer = administration.query("DROP DATABASE IF EXISTS %s WITH (FORCE)" % self.name)
        if answer.error:
            print("# %s stays: %s" % (self.name, answer.error["M"]))
        stage.drop_roles(administration)
        administration.close()


class Report:
    """What all rounds saw, and how it is told."""

    def __init__(self):
        """Begin empty."""
        self.number = self.failed = 0
        self.failures = {}
        self.seen = []
        self.counts, self.answered, self.kinds, self.codes, self.spent = (collections.Counter() for _ in range(5))
        self.read = set()
        self.wrong = collections.defaultdict(list)
        self.calls = self.peak = self.grown = 0
        self.slow = []

    def add(self, seen):
        """Add what one worker saw."""
        if "problem" in seen:
            self.wrong["worker"] += seen["problem"].splitlines()
            return
        for name in ("counts", "answered", "kinds", "codes", "spent"):
            getattr(self, name).update(seen[name])
        self.read |= seen["read"]
        self.calls += seen["calls"]
        self.peak, self.grown = max(self.peak, seen["peak"]), max(self.grown, seen["grown"])
        self.slow = sorted(self.slow + seen["slow"], reverse=True)[:5]
        for key, failure in seen["failures"].items():
            if key in self.failures:
                self.failures[key]["times"] += failure["times"]
            else:
                self.failures[key] = failure
                self.show(failure)

    def show(self, failure):
        """Print a failure as soon as it is known."""
        print("# %s: %s" % (failure["category"], failure["text"]))
        print("#   %s" % failure["where"])
        for line in failure["statements"]:
            for part in line.split("\n"):
                print("#   %s" % part)
        sys.stdout.flush()

    def test(self, ok, name, lines=()):
        """Print one test."""
        self.number += 1
        if not ok:
            self.failed += 1
            for line in lines:
                print("#   %s" % line)
        print("%s %d - %s" % ("ok" if ok else "not ok", self.number, name))
        sys.stdout.flush()

    def tell(self, catalog):
        """Print the tests of all rounds."""
        self.test(not self.wrong["worker"], "every worker came to its end", self.wrong["worker"])
        callable_ = [f for f in catalog.functions if f.name not in SKIPPED and not f.uncallable]
        few = ["%s: %d" % (f.signature, self.counts[f.signature]) for f in callable_ if self.counts[f.signature] < (LEAST if f.types else 2)]
        self.test(not few, "each of %d functions was called with %d sets of arguments or more" % (len(callable_), LEAST), few)
        silent = [f.signature for f in callable_ if not self.answered[f.signature] and not f.is_trigger]
        self.test(not silent, "each of them answered without an error at least once", silent)
        self.test(not self.wrong["unreached"], "the server's statistics saw each of them called", self.wrong["unreached"])
        unread = [r["name"] for r in catalog.relations if r["kind"] != "S" and r["name"] not in self.read]
        self.test(not unread, "each of %d tables and views was read" % len([r for r in catalog.relations if r["kind"] != "S"]), unread)
        for category, name in oracle.CATEGORIES:
            found = [f for f in self.failures.values() if f["category"] == category]
            self.test(not found, "%s, in %d calls" % (name, self.calls), ["%d times: %s" % (f["times"], f["text"]) for f in found])
        for phase, _, _, checked in PHASES:
            if checked:
                self.test(not self.wrong[phase], "after the calls of the %s phase the jobs run and the books are right" % phase, self.wrong[phase])
        self.test(not self.wrong["strangers"], "an analyst sees rows of no other creator", self.wrong["strangers"])
        self.test(not self.wrong["alive"], "the server still answers", self.wrong["alive"])
        print("# %d calls: %s" % (self.calls, ", ".join("%s %d" % item for item in self.kinds.most_common())))
        print("# answers: %s" % ", ".join("%s %d" % item for item in self.codes.most_common(30)))
        print("# largest growth of a server process %d MB, growth that stayed %d MB" % (self.peak // 1024, self.grown // 1024))
        print("# time: %s" % ", ".join("%s %.1f s" % (name.split("(")[0], seconds) for name, seconds in self.spent.most_common(12)))
        for seconds, sql in self.slow:
            print("# %.2f s: %s" % (seconds, sql.replace("\n", " ")))


def main():
    """Run the rounds and report."""
    calls, seed, workers = (int(os.environ.get(name) or default) for name, default in (("CALLS", ROUND), ("SEED", 1), ("WORKERS", 2)))
    print("# SEED=%d CALLS=%d WORKERS=%d" % (seed, calls, workers))
    sys.stdout.flush()
    report = Report()
    catalog = None
    for number in range((calls + ROUND - 1) // ROUND):
        began = time.monotonic()
        this = Round(seed + number, min(ROUND, calls - number * ROUND), workers, number == 0)
        catalog = this.catalog
        if number == 0:
            connection = Connection(this.name, stage.SUPER)
            for name, faults in catalogs.judge_marks(connection, catalog):
                report.test(not faults, name, faults)
            connection.close()
        try:
            for phase, part, roles, checked in PHASES:
                for seen in this.phase(phase, part, roles):
                    report.add(seen)
                if checked:
                    report.wrong[phase] += this.books(phase)
                if phase == "people":
                    report.wrong["strangers"] += this.strangers_rows()
            report.wrong["unreached"] += ["SEED=%d: %s" % (this.seed, name) for name in this.unreached()]
            if not os.environ.get("KEEP"):
                this.end()
        except Lost as lost:
            report.wrong["alive"].append("SEED=%d: %s" % (this.seed, lost))
            break
        if calls > ROUND:
            print("# SEED=%d: %d calls so far, %d kinds of failures, %.0f s" % (this.seed, report.calls, len(report.failures), time.monotonic() - began))
            sys.stdout.flush()
    report.tell(catalog)
    print("1..%d" % report.number)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
