"""Plays a history in several sessions at once, with jobs between.

This file owns the test that nothing depends on who comes first: calls of one history go
out from several sessions, some in long transactions, some rolled back and sent again,
while two sessions run the attribution job all the time.  Then the model is told what was
answered, and all books must be equal.

Invariants:
- A call goes out only when the calls that it refers to are committed.
- An error of serialization or a deadlock is no failure: the transaction is sent again, as
  any client would.
- The model hears of the calls in the order in which they were done: of two that concern the
  same key or sale, the second waits for the first to be committed.
"""

import threading
import time

import histories
from database import ADMIN, APP, Session, SqlError

WORKERS = 3


class Race:
    """The state that the sessions of one race share."""

    def __init__(self, play, calls, seed):
        """Lay out the calls of a history that may be shuffled."""
        self.play = play
        self.lock = threading.Condition()
        self.waiting = [c for c in histories.flat(calls) if c["op"] != "job"]
        self.numbers = {c["n"] for c in self.waiting}
        self.done = set()
        self.answers = []
        self.failures = []
        self.workers = WORKERS
        self.again = 0
        self.seed = seed

    def take(self, most):
        """Take up to a number of calls whose references are committed; none when all are taken."""
        with self.lock:
            while self.waiting and not self.failures:
                ready = [c for c in self.waiting if (histories.references(c) & self.numbers) <= self.done][:most]
                if ready:
                    for call in ready:
                        self.waiting.remove(call)
                    return ready
                self.lock.wait(1)
            return []

    def give(self, answers):
        """Hand in the answers of committed calls."""
        with self.lock:
            self.answers.extend(answers)
            self.done.update(call["n"] for call, _, _, _ in answers)
            self.lock.notify_all()

    def work(self, number):
        """Send calls until none is left, some in transactions, some of these rolled back first."""
        dice = histories.Dice("race %s %d" % (self.seed, number))
        session = Session(APP)
        try:
            while True:
                calls = self.take(dice.pick((1, 1, 1, 2, 3, 5)))
                if not calls:
                    return
                together = len(calls) > 1 or dice.chance(0.1)
                undo = together and dice.chance(0.2)
                level = dice.pick(("READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"))
                pause = dice.pick((0, 0, 0.005, 0.03))
                while not self._send(session, calls, together, level, undo, pause):
                    undo = False
                    with self.lock:
                        self.again += 1
        except Exception as failure:  # whatever stops a worker fails the race
            with self.lock:
                self.failures.append(failure)
                self.lock.notify_all()
        finally:
            with self.lock:
                self.workers -= 1
            session.close()

    def _send(self, session, calls, together, level, undo, pause):
        """Send some calls, in one transaction or each by itself; return whether they are committed."""
        answers = []
        try:
            if together:
                session.run("BEGIN ISOLATION LEVEL " + level)
            for call in calls:
                body, row, error = self.play.execute(call, session)
                if error is not None:
                    raise error
                answers.append((call, body, row, error))
            if together:
                time.sleep(pause)
                session.run("ROLLBACK" if undo else "COMMIT")
        except SqlError as error:
            if error.code not in ("40001", "40P01"):
                raise
            if together:
                session.run("ROLLBACK")
            elif answers:
                raise
            return False
        if not undo:
            self.give(answers)
        return not undo

    def job(self):
        """Run the attribution job until the workers are done."""
        session = Session(ADMIN)
        try:
            while self.workers:
                try:
                    session.run("CALL biolink.run_job('attribute')")
                except SqlError as error:
                    if error.code not in ("40001", "40P01"):
                        raise
                time.sleep(0.002)
        except SqlError as failure:
            with self.lock:
                self.failures.append(failure)
                self.lock.notify_all()
        finally:
            session.close()

    def start(self):
        """Run the race to its end and tell the model what was answered."""
        threads = [threading.Thread(target=self.work, args=(i,)) for i in range(WORKERS)]
        threads += [threading.Thread(target=self.job) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]
        self.answers.sort(key=lambda a: (a[2]["done"], a[0]["n"]))
        for call, body, row, error in self.answers:
            self.play.feed(call, body, row, error)
