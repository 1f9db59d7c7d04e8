"""Plays random histories against a database with biolink and compares its books with the model's.

This file owns the comparison, and the shrinking of a history that fails.  Output is TAP.
Environment: PGHOST, PGPORT, PGDATABASE, PGUSER (a superuser, see database.py), and
  SEEDS=1-500 or SEEDS=7,9      which histories (default: a fixed set for less than a minute)
  HISTORIES=edges               one profile for all seeds
  SHRINK=0, SHRINK_SECONDS=60   no shrinking, or how long

Invariants:
- Calls run as a member of biolink_app, jobs as a member of biolink_admin, views and
  performance() as a member of biolink_analyst; only raw tables are read as superuser.
- Every run makes new creators, so histories do not see each other and can be run again.
- The model hears from the database only ids, tokens, and the times that the clock gave.
"""

import collections
import datetime
import json
import os
import sys
import time
import zoneinfo

import histories
import model
import race
from database import ANALYST, Database, SqlError, literal

DERIVED = ("conversion", "touch_path", "attribution", "unattributed", "performance", "conserved")
DEFAULT_SEEDS = range(1, 49)
MICROSECONDS = "(extract(epoch from %s) * 1000000)::bigint"


class Mismatch(Exception):
    """A difference between the database and the model: the check that found it, and what it is."""

    def __init__(self, check, text):
        """Keep the name of the check, by which a shrunk history must fail too."""
        Exception.__init__(self, text)
        self.check = check


def difference(check, expected, found, name=str):
    """Raise a Mismatch that shows the first few items in which two dictionaries differ."""
    keys = [k for k in expected if expected[k] != found.get(k)] + [k for k in found if k not in expected]
    if not keys:
        return
    lines = ["%d of %d items differ" % (len(keys), len(set(expected) | set(found)))]
    for key in keys[:4]:
        lines.append("%s:" % name(key))
        lines.append("  model    %s" % name(expected.get(key, "nothing")))
        lines.append("  database %s" % name(found.get(key, "nothing")))
    raise Mismatch(check, "\n".join(lines))


def require(check, condition, text, *args):
    """Raise a Mismatch where a condition does not hold."""
    if not condition:
        raise Mismatch(check, text % args)


class Play:
    """One run of one history: the calls, the model beside them, and the comparisons."""

    def __init__(self, database, history):
        """Make the creators of the history in the database and in the model."""
        self.db = database
        self.creators = []
        self.books = []
        self.links = {}
        self.tokens = model.Tokens()
        self.results = {}
        self.labels = {}
        self.visitors = {}
        self.extra_jobs = 0
        self.canonical = None
        # times are written so that they compare as texts, years apart
        self.begun = histories.format_time(int(time.time() - 86400) * model.SECOND)
        for config in history["creators"]:
            self._make_creator(config)

    def _make_creator(self, config):
        """Insert a creator with its offers, links and membership as the application would."""
        app = self.db.app
        creator = int(app.run(
            "INSERT INTO biolink.creator (hosts, currency, time_zone, settings) VALUES (%s, %s, %s, %s)"
            " RETURNING creator_id" % (literal("{bio.example}"), literal(config["currency"]),
                                       literal(config["time_zone"]), literal(config["settings"])))[0])
        self.creators.append(creator)
        book = model.Book(creator, self.tokens, config["settings"])
        self.books.append(book)
        for link in config["links"]:
            offer = "NULL"
            if link["offer"]:
                offer = app.run("INSERT INTO biolink.offer (creator_id, name, url) VALUES (%d, %s, %s)"
                                " RETURNING offer_id" % (creator, literal(link["slug"]), literal(link["url"])))[0]
            link_id = app.run(
                "INSERT INTO biolink.link (creator_id, slug, url, offer_id, token_param, token_form, active)"
                " VALUES (%d, %s, %s, %s, %s, %s, %s) RETURNING link_id" % (
                    creator, literal(link["slug"]), literal(link["url"]), offer, literal(link["token_param"]),
                    literal(link["token_form"]), literal(link["active"])))[0]
            book.add_link(link["slug"], int(link_id), link["active"])
        self.links[config["index"]] = {link["slug"]: link for link in config["links"]}

    # -- calls --

    def _times(self, body, event_id):
        """Return what the model must be told of the clock: when a new event happened that states no time, and when it arrived."""
        if event_id is None or "occurred_at" in body and "sent_at" not in body and body.get("kind") != "order" \
                and body["occurred_at"] < self.begun:
            return None, None
        found = self.db.dba.run("SELECT %s, %s FROM biolink.event WHERE event_id = %s" % (
            MICROSECONDS % "occurred_at", MICROSECONDS % "received_at", literal(event_id)))
        require("event", found, "event %s is not there", event_id)
        occurred, arrived = map(int, found[0].split("|"))
        return None if "occurred_at" in body else occurred, arrived

    def call(self, call):
        """Play one call and compare its answer."""
        if call["op"] in ("open_page", "click", "track"):
            self.feed(call, *self.execute(call, self.db.app))
        else:
            getattr(self, "_" + call["op"])(call)

    def execute(self, call, session):
        """Send a call to the database; return what was sent, the answer, and the error."""
        body = histories.resolve(call.get("request") or call.get("event"), self.results)
        creator = self.creators[call["creator"]]
        if call["op"] == "click":
            function = "biolink.click(%d, %s, %s)" % (creator, literal(call["link"]), literal(body))
        else:
            function = "biolink.%s(%d, %s)" % (call["op"], creator, literal(body))
        try:
            # when it was done: of two calls that wait for each other, the order in which they took effect
            rows = session.rows("SELECT *, %s AS done FROM %s" % (MICROSECONDS % "clock_timestamp()", function))
        except SqlError as error:
            if error.code.startswith(("08", "40", "57", "XX")):
                raise
            return body, {}, error
        require("rows", len(rows) == 1, "%s: %d rows", function, len(rows))
        row = rows[0]
        if call["op"] == "open_page":
            row.update(status=row["reason"] if row["reason"] == "duplicate" else "ok", event_id=row["visit_id"])
        elif call["op"] == "click":
            row["event_id"] = row["click_id"]
        self.results[call["n"]] = {"id": row["event_id"], "token": row.get("token")}
        if row.get("token"):
            self.tokens.add(row["token"], creator, row["event_id"], model.token_epoch(row["token"]))
        return body, row, None

    def feed(self, call, body, row, error):
        """Tell the model of a call that was sent, and compare the answers."""
        require("error", error is None or call["op"] == "track", "call %s: %s: %s", call["n"], call["op"], error)
        book = self.books[call["creator"]]
        event_id = row.get("event_id")
        new = event_id if row.get("status") in ("ok", "inserted", "merged", "updated") else None
        require("event_id", new not in book.events, "call %s: status %s names an event that was there before, %s",
                call["n"], row.get("status"), self._name(new))
        now, arrived = self._times(body, new)
        if call["op"] == "click":
            answer = book.click(call["link"], body, new, now, arrived)
        else:
            answer = getattr(book, call["op"])(body, new, now, arrived)
        self._answer(call, row, answer, event_id, error.code if error else None)
        if row.get("token"):
            named, epoch = model.token_event_id(row["token"]), model.token_epoch(row["token"])
            wanted = self.tokens.epochs.get(book.creator, 1)
            require("epoch", epoch == wanted, "call %s: a token of epoch %d, not %d", call["n"], epoch, wanted)
            require("token", named == event_id, "call %s: the token names %s, not %s", call["n"], named, event_id)
        if call["op"] == "click" and row["status"] != "refused":
            self._redirect(call, row, model.request_is_bot(body))

    def _answer(self, call, row, answer, event_id, error):
        """Compare the answer of one call: error, status, event id and what hangs on it."""
        where = "call %s" % call["n"]
        wanted = "error %s" % answer.error if answer.error else answer.status
        got = "error %s" % error if error else row.get("status", "ok")
        detail = row.get("detail") or row.get("reason") if row else None
        require("status", wanted == got, "%s: status: model %s, database %s (%s)", where, wanted, got, detail)
        if answer.error:
            return
        if answer.event_ids:
            require("event_id", event_id in answer.event_ids, "%s: event id: model %s, database %s", where,
                    self._name(tuple(answer.event_ids)), self._name(event_id))
        if answer.is_bot is not None:
            require("is_bot", bool(row["is_bot"]) == answer.is_bot, "%s: is_bot: model %s, database %s (%s)",
                    where, answer.is_bot, row["is_bot"], row.get("reason"))
        if answer.reason is not None:
            require("reason", row["reason"] == answer.reason, "%s: reason: model %s, database %s", where,
                    answer.reason, row["reason"])
        if event_id is not None:
            self.labels.setdefault(event_id, "call %s" % call.get("again", call["n"]))
        if answer.made:
            event = self.books[call["creator"]].events[event_id]
            stamp = int(event_id.replace("-", "")[:12], 16)
            require("uuidv7", stamp == event.occurred // 1000 and event_id[14] == "7",
                    "%s: id %s is no UUIDv7 of %s", where, event_id, histories.format_time(event.occurred))

    def _redirect(self, call, row, is_bot):
        """Compare the redirect URL of a click: the link's own, with the token where one belongs."""
        link = self.links[call["creator"]][call["link"]]
        url = row["redirect_url"] or ""
        require("redirect", url.startswith(link["url"]), "call %s: redirect to %s, not %s", call["n"], url, link["url"])
        name = link["token_param"]
        found = model.url_parameter(url, name or "bl")
        wanted = None
        if name and not is_bot:
            wanted = row["click_id"].replace("-", "") if link["token_form"] == "click_id" else row["token"]
        require("redirect", found == wanted, "call %s: %s in the redirect URL %s: model %s, database %s",
                call["n"], name, url, wanted, found)

    def _batch(self, call):
        """Play a batch of tracked events."""
        events = [histories.resolve(c["event"], self.results) for c in call["calls"]]
        try:
            rows = self.db.app.rows("SELECT * FROM biolink.track_batch(%d, %s)" % (
                self.creators[call["creator"]], literal(events)))
        except SqlError as error:
            raise Mismatch("error", "call %s: track_batch: %s" % (call["n"], error)) from None
        require("batch", [r["ordinal"] for r in rows] == list(range(1, len(events) + 1)),
                "call %s: a batch of %d events answered with the ordinals %s", call["n"], len(events),
                [r["ordinal"] for r in rows])
        for one, event, row in zip(call["calls"], events, rows):
            if row["status"] == "rejected":
                answer = self.books[call["creator"]].track(event, row["event_id"], 0)
                require("status", answer.error, "call %s: status: model %s, database rejected (%s)", one["n"],
                        answer.status, row["detail"])
                self.books[call["creator"]].reject(event)
            else:
                self.results[one["n"]] = {"id": row["event_id"]}
                self.feed(one, event, row, None)

    def _link_active(self, call):
        """Switch a link on or off by plain SQL; the very next click must know."""
        creator = self.creators[call["creator"]]
        self.db.app.run("UPDATE biolink.link SET active = %s WHERE creator_id = %d AND slug = %s" % (
            literal(call["active"]), creator, literal(call["link"])))
        book = self.books[call["creator"]]
        book.add_link(call["link"], book.links[call["link"]][0], call["active"])

    def _set_epoch(self, creator, epoch, state):
        """Write the state of a creator's token key by plain SQL."""
        self.db.admin.run(
            "INSERT INTO biolink.key_epoch (creator_id, purpose, epoch, state, root_fingerprint)"
            " SELECT %d, 'token', %d, '%s', (SELECT fingerprint_found FROM biolink.key_status() LIMIT 1)"
            " ON CONFLICT (creator_id, purpose, epoch) DO UPDATE SET state = excluded.state" % (creator, epoch, state))

    def _rotate(self, call):
        """Start the next epoch of a creator's token key; the very next token must be of it."""
        creator = self.creators[call["creator"]]
        epoch = self.tokens.rotate(creator)
        self._set_epoch(creator, epoch - 1, "retiring")
        self._set_epoch(creator, epoch, "active")

    def _revoke(self, call):
        """Revoke the epoch before the last; the very next call must know."""
        creator = self.creators[call["creator"]]
        epoch = self.tokens.epochs.get(creator, 1) - 1
        if epoch >= 1:
            self._set_epoch(creator, epoch, "revoked")
            self.tokens.revoke(creator, epoch)

    def _job(self, call):
        """Run the attribution job in some time zone, and look at the books where the history says so."""
        self.attribute(call.get("zone", "UTC"))
        if call.get("check"):
            self.compare()

    def attribute(self, zone="UTC"):
        """Run the attribution job."""
        self.db.admin.run("SET TimeZone = %s" % literal(zone))
        self.db.admin.run("CALL biolink.run_job('attribute')")

    # -- comparison --

    def _name(self, value):
        """Write a value with event ids as the calls that made them."""
        if isinstance(value, (tuple, list)):
            return "(" + ", ".join(self._name(v) for v in value) + ")"
        if isinstance(value, dict):
            return "{" + ", ".join("%s: %s" % (k, self._name(v)) for k, v in value.items()) + "}"
        if isinstance(value, str) and value in self.labels:
            return self.labels[value]
        if isinstance(value, int) and abs(value) > 10 ** 15 and not isinstance(value, bool):
            return histories.format_time(value)
        return str(value)

    def compare(self):
        """Compare all books; what follows from the job gets two more runs of it, which are reported.

        A job leaves to its next run what a transaction of somebody else may still be writing
        before, so on a busy cluster one run need not be enough.
        """
        for chance in (2, 1, 0):
            try:
                self.canonical = [self._compare_creator(i) for i in range(len(self.creators))]
                break
            except Mismatch as failure:
                if chance == 0 or failure.check not in DERIVED:
                    raise
                time.sleep(0.05)
                self.attribute()
                self.extra_jobs += 1
        self._compare_tenants()

    def _compare_tenants(self):
        """See that an analyst without membership sees nothing of a creator."""
        self.db.admin.run("DELETE FROM biolink.creator_member WHERE creator_id = %d" % self.creators[0])
        for view in ("attribution", "unattributed"):
            rows = self.db.analyst.run("SELECT 1 FROM biolink.%s WHERE creator_id = %d LIMIT 1" % (
                view, self.creators[0]))
            require("tenants", not rows, "an analyst who is no member sees %s of creator 0", view)

    def _compare_creator(self, index):
        """Compare the books of one creator and return them with calls in the place of ids."""
        creator, book = self.creators[index], self.books[index]
        self.db.admin.run("INSERT INTO biolink.creator_member (creator_id, role_name) VALUES (%d, %s)"
                          " ON CONFLICT DO NOTHING" % (creator, literal(ANALYST)))
        self._events(creator, book)
        self._keys(creator, book)
        self._parked(creator, book)
        self._ledger(creator, book)
        self._refs(creator, book)
        conversions = book.conversions()
        self._conversions(creator, conversions)
        paths = self._paths(creator, conversions)
        credits = self._attribution(creator, book, conversions)
        loose = self._unattributed(creator, book, conversions)
        self._conserved(creator, book)
        self._performance(creator, book)
        self._integrity(creator)
        return {"paths": paths, "credits": credits, "unattributed": loose}

    def _events(self, creator, book):
        """Compare the event rows, and that equal visitors have equal hashes."""
        kinds = {e.kind for e in book.events.values()} | {"visit", "click", "order", "refund", "lead"}
        expected, found = {}, {}
        for event in book.events.values():
            expected[event.event_id] = self._event_facts(event)
        rows = self.db.dba.rows(
            "SELECT event_id, kind, source, %s AS occurred, is_test, is_bot, visitor::text, visit_id, link_id,"
            " channel, order_id, amount, currency, merged, token_reason, flags FROM biolink.event"
            " WHERE creator_id = %d AND kind = ANY (%s)" % (
                MICROSECONDS % "occurred_at", creator, literal("{%s}" % ",".join(sorted(kinds)))))
        for row in rows:
            facts = {"kind": row["kind"], "source": row["source"], "occurred": row["occurred"],
                     "is_test": bool(row["is_test"])}
            event = book.events.get(row["event_id"])
            if row["kind"] in ("visit", "click"):
                facts.update(is_bot=bool(row["is_bot"]), channel=row["channel"], link=row["link_id"])
                if row["kind"] == "click":
                    facts["visit_id"] = row["visit_id"]
            else:
                facts.update(order_id=row["order_id"], amount=row["amount"], currency=row["currency"],
                             merged=bool(row["merged"]),
                             flags=sorted({"malformed_refs", "refs_differ"} & set(row["flags"] or ())))
            if event is None or self._settled(event):
                facts["bad_token"] = row["token_reason"] is not None
            found[row["event_id"]] = facts
        difference("event", expected, found, self._name)
        for row in rows:
            event = book.events[row["event_id"]]
            if event.visitor is None:
                continue
            person = (creator, event.visitor)
            for known, other in ((person, row["visitor"]), (row["visitor"], person)):
                require("visitor", self.visitors.setdefault(known, other) == other,
                        "%s: the visitor is %s in the model, %s in the database; before it was %s",
                        self._name(row["event_id"]), event.visitor, row["visitor"], self.visitors[known])

    @staticmethod
    def _settled(event):
        """Return whether the manual settles if token_reason is set: not for a token that has expired."""
        return event.bad_token or not (event.named_token or event.visit_id)

    @staticmethod
    def _event_facts(event):
        """Return what the row of an event must say."""
        facts = {"kind": event.kind, "source": event.source, "occurred": event.occurred, "is_test": event.is_test}
        if event.kind in ("visit", "click"):
            facts.update(is_bot=event.is_bot, channel=event.channel, link=event.link)
            if event.kind == "click":
                facts["visit_id"] = event.visit_id
        else:
            facts.update(order_id=event.order_id, amount=event.amount, currency=event.currency, merged=event.merged,
                         flags=sorted(event.flags))
        if Play._settled(event):
            facts["bad_token"] = event.bad_token
        return facts

    def _keys(self, creator, book):
        """Compare the keys that are taken."""
        expected = {name: True for name in book.keys}
        # what a key held before a revision stands under a source of its own
        rows = self.db.dba.rows("SELECT source, key FROM biolink.event_key WHERE creator_id = %d"
                                " AND source <> 'biolink:revision'" % creator)
        difference("event_key", expected, {(r["source"], r["key"]): True for r in rows}, self._name)

    def _parked(self, creator, book):
        """Compare the parked rows."""
        rows = self.db.dba.rows("SELECT source, key, reason FROM biolink.event_parked WHERE creator_id = %d" % creator)
        left = [(r["source"], r["key"], r["reason"]) for r in rows]
        for source, key, reason in sorted(book.parked, key=lambda p: not isinstance(p[2], str)):
            fits = [p for p in left if p[:2] == (source, key) and (
                p[2] == reason or isinstance(reason, tuple) and p[2] in reason)]
            require("event_parked", fits, "parked: model %s, not in the database; left there: %s",
                    (source, key, reason), left)
            left.remove(fits[0])
        require("event_parked", not left, "parked in the database, not in the model: %s", left)

    def _ledger(self, creator, book):
        """Compare the ledger rows, and what they add up to of tax, shipping and fee for each sale."""
        def line(order_id, kind, amount, currency, is_test):
            """Return a row; a change of a sale is one under any of its names."""
            return order_id if kind not in ("revision", "detail") else self._sale(book, order_id), kind, amount, currency, is_test

        expected, found = collections.Counter(), collections.Counter()
        for entry in book.ledger:
            if entry.amount:
                expected[line(entry.order_id, entry.kind, entry.amount, entry.currency, entry.is_test)] += 1
            for part, amount in entry.parts.items():
                expected[self._sale(book, entry.order_id), part] += amount
        for r in self.db.dba.rows("SELECT order_id, kind, amount, currency, is_test, tax, shipping, fee FROM biolink.ledger"
                                  " WHERE creator_id = %d" % creator):
            if r["amount"]:
                found[line(r["order_id"], r["kind"], r["amount"], r["currency"], bool(r["is_test"]))] += 1
            for part in model.PARTS:
                found[self._sale(book, r["order_id"]), part] += r[part] or 0
        difference("ledger", {k: v for k, v in expected.items() if v}, {k: v for k, v in found.items() if v})

    @staticmethod
    def _sale(book, order_id):
        """Return all names of what an order_id stands for."""
        whole = book.refs.get(order_id)
        return " ".join(sorted(whole.refs)) if whole else "unknown %s" % order_id

    def _refs(self, creator, book):
        """Compare which references mean the same, and the order_id and conversion_id of those that mean a sale."""
        expected = {}
        for whole in book.components():
            for ref in whole.refs:
                sale = whole.sale
                expected[ref] = (self._sale(book, ref), sale and whole.order_id,
                                 sale and sale.event.event_id if ref == whole.order_id else None)
        rows = self.db.dba.rows("SELECT ref, order_id, event_id FROM biolink.order_ref WHERE creator_id = %d" % creator)
        parts = collections.defaultdict(set)
        for r in rows:
            parts[r["order_id"]].add(r["ref"])
        sales = {r["order_id"] for r in rows if r["event_id"]}
        found = {r["ref"]: (" ".join(sorted(parts[r["order_id"]])), r["order_id"] if r["order_id"] in sales else None,
                            r["event_id"]) for r in rows}
        difference("order_ref", expected, found, self._name)
        for order_id, refs in parts.items():
            require("order_ref", order_id in refs, "order_ref: %s is no reference of its own", order_id)

    def _conversions(self, creator, conversions):
        """Compare the conversions."""
        expected = {c.conversion_id: {
            "order_id": c.order_id, "goal": c.goal, "source": c.source, "currency": c.currency, "converted": c.converted,
            "is_test": c.is_test, "reason": c.reason, "touches": len(c.touches)} for c in conversions}
        rows = self.db.dba.rows(
            "SELECT conversion_id, order_id, goal, source, currency, %s AS converted, is_test, reason, touches"
            " FROM biolink.conversion WHERE creator_id = %d" % (MICROSECONDS % "converted_at", creator))
        found = {r.pop("conversion_id"): dict(r, is_test=bool(r["is_test"])) for r in rows}
        difference("conversion", expected, found, self._name)

    def _paths(self, creator, conversions):
        """Compare the touch paths and return them by order or goal."""
        expected, canonical = {}, {}
        for c in conversions:
            lines = []
            for i, touch in enumerate(c.touches):
                event = touch.event
                line = {"click_id": event.event_id, "kind": event.kind, "touched": event.occurred,
                        "tier": "session", "evidence": touch.evidence, "channel": event.channel,
                        "link_id": event.link, "is_direct": event.channel == "direct"}
                expected[c.conversion_id, i + 1] = line
                lines.append((self.labels[event.event_id], event.occurred, touch.evidence))
            canonical[self._label(c)] = (lines, c.reason, c.converted)
        rows = self.db.dba.rows(
            "SELECT conversion_id, position, click_id, kind, %s AS touched, tier, evidence, channel, link_id,"
            " is_direct FROM biolink.touch_path WHERE creator_id = %d" % (MICROSECONDS % "touched_at", creator))
        found = {(r.pop("conversion_id"), r.pop("position")): r for r in rows}
        difference("touch_path", expected, found, self._name)
        return canonical

    def _label(self, conversion):
        """Return the names of a conversion's sale, or the call that made it where it is a goal."""
        return " ".join(sorted(conversion.refs)) or self.labels[conversion.conversion_id]

    def _attribution(self, creator, book, conversions):
        """Compare the view of credits, cent by cent, and return them by order or goal."""
        expected, weights, canonical = {}, {}, {}
        for c in conversions:
            if c.is_test:
                continue
            for name in model.MODELS:
                for touch, position, share, net, gross in book.attribution(c, name):
                    key = (name, c.conversion_id, position)
                    expected[key] = {
                        "order_id": c.order_id, "goal": c.goal, "tier": "session", "evidence": touch.evidence,
                        "channel": touch.event.channel, "click_id": touch.event.event_id,
                        "link_id": touch.event.link, "touches": len(c.touches),
                        "touched": touch.event.occurred, "converted": c.converted, "currency": c.currency,
                        "credit": net, "gross_credit": gross}
                    weights[key] = share
                    canonical[name, self._label(c), position] = (net, gross)
        rows = self.db.analyst.rows(
            "SELECT model, conversion_id, position, order_id, goal, tier, evidence, channel, click_id, link_id,"
            " touches, %s AS touched, %s AS converted, currency, weight, credit, gross_credit"
            " FROM biolink.attribution WHERE creator_id = %d" % (
                MICROSECONDS % "touched_at", MICROSECONDS % "converted_at", creator))
        rows = [r for r in rows if r["model"] in model.MODELS]
        found_weights = {}
        found = {}
        for r in rows:
            key = (r.pop("model"), r.pop("conversion_id"), r.pop("position"))
            found_weights[key] = r.pop("weight")
            found[key] = r
        difference("attribution", expected, found, self._name)
        for key, share in weights.items():
            require("weight", abs(float(share) - float(found_weights[key] or 0)) < 2e-6,
                    "%s: weight: model %s, database %s", self._name(key), float(share), found_weights[key])
        return canonical

    def _unattributed(self, creator, book, conversions):
        """Compare the view of money that no touch gets; rows of nothing do not count."""
        expected, canonical = {}, {}
        for c in conversions:
            rest = book.unattributed(c)
            if rest is not None and rest[0] != 0 and not c.is_test:
                expected[c.conversion_id, rest[1]] = (c.order_id, c.currency, rest[0])
                canonical[self._label(c)] = rest
        for c in book.loose_money():
            if c.net != 0 and not c.is_test:
                # which of its names it goes by nobody says
                expected[(self._label(c), c.currency), c.reason] = (None, c.currency, c.net)
                canonical["loose", self._label(c), c.currency] = (c.net, c.reason)
        rows = self.db.analyst.rows("SELECT conversion_id, order_id, currency, amount, reason"
                                    " FROM biolink.unattributed WHERE creator_id = %d AND amount <> 0" % creator)
        found = {}
        for r in rows:
            name = r["conversion_id"] or (self._sale(book, r["order_id"]), r["currency"])
            found[name, r["reason"]] = (r["conversion_id"] and r["order_id"], r["currency"], r["amount"])
        require("unattributed", len(found) == len(rows), "two rows of unattributed for one conversion and reason")
        difference("unattributed", expected, found, self._name)
        return canonical

    def _conserved(self, creator, book):
        """See that credits and unattributed money add up to the ledger, by what the database says alone."""
        net = self.db.dba.rows(
            "SELECT currency, sum(amount) AS amount FROM biolink.ledger WHERE creator_id = %d AND NOT is_test"
            " GROUP BY 1" % creator)
        if book.excludes:
            # not all that was paid counts
            net = collections.Counter()
            for c in book.conversions() + book.loose_money():
                if c.order_id is not None and not c.is_test:
                    net[c.currency] += c.net
            net = [{"currency": c, "amount": a} for c, a in net.items()]
        net = {r["currency"]: r["amount"] for r in net if r["amount"]}
        loose = {r["currency"]: r["amount"] for r in self.db.analyst.rows(
            "SELECT currency, sum(amount) AS amount FROM biolink.unattributed WHERE creator_id = %d"
            " AND order_id IS NOT NULL GROUP BY 1" % creator)}
        credited = collections.defaultdict(dict)
        for r in self.db.analyst.rows("SELECT model, currency, sum(credit) AS amount FROM biolink.attribution"
                                      " WHERE creator_id = %d AND order_id IS NOT NULL GROUP BY 1, 2" % creator):
            credited[r["model"]][r["currency"]] = r["amount"]
        for name in model.MODELS:
            total = {k: loose.get(k, 0) + credited[name].get(k, 0) for k in set(loose) | set(credited[name])}
            total = {k: v for k, v in total.items() if v}
            require("conserved", total == net, "%s: credits and unattributed money are %s, the ledger is %s",
                    name, total, net)

    def _performance(self, creator, book):
        """Compare the totals per channel: of all time, of a range, and per day of the creator's time zone."""
        for name in model.MODELS:
            self._totals(creator, name, "array['channel']", "NULL, NULL",
                         book.performance(name), lambda d: d["channel"])
        times = sorted(c.converted for c in book.conversions()) or [0]
        begins, ends = times[len(times) // 3], times[len(times) * 2 // 3] + 1
        self._totals(creator, "linear", "array['channel']", "%s, %s" % (
            literal(histories.format_time(begins)), literal(histories.format_time(ends))),
            book.performance("linear", None, begins, ends), lambda d: d["channel"])
        zone = zoneinfo.ZoneInfo(self.db.dba.run(
            "SELECT time_zone FROM biolink.creator WHERE creator_id = %d" % creator)[0])

        def day(channel, at):
            """Return the row of a channel on a day."""
            moment = model.EPOCH + datetime.timedelta(microseconds=at)
            return channel, moment.astimezone(zone).date().isoformat()

        self._totals(creator, "position", "array['channel', 'day']", "NULL, NULL",
                     book.performance("position", day), lambda d: (d["channel"], d["day"][:10]))

    def _totals(self, creator, name, by, span, expected, key):
        """Compare one result of performance()."""
        rows = self.db.analyst.rows("SELECT * FROM biolink.performance(%d, %s, %s, %s)" % (
            creator, by, span, literal(name)))
        money, counts = {}, collections.defaultdict(lambda: [0] * 5)
        columns = ("conversions", "leads", "visits", "clicks", "bot_clicks")
        for r in rows:
            place = key(r["dimensions"])
            counts[place] = [a + float(r[c] or 0) for a, c in zip(counts[place], columns)]
            sums = (r["revenue"] or 0, r["refunds"] or 0, r["net_revenue"] or 0)
            if any(sums):
                money[place, r["currency"]] = sums
        wanted_money, wanted_counts = {}, {}
        for place, row in expected.items():
            wanted_counts[place] = [float(row[c]) for c in columns]
            for currency, (gross, net) in row["money"].items():
                if gross or net:
                    wanted_money[place, currency] = (gross, gross - net, net)
        title = "performance(%s, %s, %s)" % (by, span, name)
        difference("performance", wanted_money, money, lambda v: "%s %s" % (title, v))
        for place in sorted(set(counts) | set(wanted_counts), key=str):
            wanted, got = wanted_counts.get(place, [0] * 5), counts[place]
            require("performance", all(abs(a - b) < 1e-4 for a, b in zip(wanted, got)),
                    "%s %s: %s: model %s, database %s", title, place, ", ".join(columns), wanted, got)

    def _integrity(self, creator):
        """See that the database finds no fault with itself."""
        bad = self.db.admin.rows("SELECT * FROM biolink.integrity_check(%d) WHERE ok IS NOT TRUE" % creator)
        require("integrity_check", not bad, "integrity_check: %s", bad)


# --- running, shrinking, reporting ---------------------------------------------------


class Outcome:
    """How a run ended: the Mismatch or SqlError, if any, and the books."""

    def __init__(self, failure=None, play=None):
        """Keep what a run gave."""
        self.failure = failure
        self.check = getattr(failure, "check", None) or getattr(failure, "code", None)
        self.play = play

    def compare(self, other):
        """Fail where the books of another run of the same calls differ."""
        if self.failure:
            return
        for mine, yours in zip(self.play.canonical, other.play.canonical):
            for part in mine:
                try:
                    difference("order of arrival", yours[part], mine[part])
                except Mismatch as failure:
                    self.failure, self.check = failure, failure.check


class Runner:
    """Runs histories, with new sessions after a crash."""

    def __init__(self):
        """Connect."""
        self.database = Database()

    def play(self, history, calls=None, at_once=False):
        """Run a history, or some of its calls, one by one or as a race, and return the outcome."""
        play = None
        calls = history["calls"] if calls is None else calls
        try:
            play = Play(self.database, history)
            if at_once:
                race.Race(play, calls, history["seed"]).start()
            else:
                for call in calls:
                    play.call(call)
            play.attribute(history["zone"])
            play.compare()
            return Outcome(None, play)
        except Mismatch as failure:
            return Outcome(failure, play)
        except SqlError as failure:
            if failure.code == "08006":
                self._reconnect()
            return Outcome(failure, play)

    def _reconnect(self):
        """Open new sessions after the server went away, waiting for it to come back."""
        for _ in range(30):
            try:
                self.database = Database()
                return
            except SqlError:
                time.sleep(1)
        raise SystemExit("Bail out! the server does not come back")

    def shrink(self, history, calls, check, seconds):
        """Return the fewest calls that still fail the same check, as delta debugging finds them."""
        deadline = time.time() + seconds

        def fails(some):
            """Return whether some of the calls still fail so."""
            return self.play(history, some).check == check

        if fails(histories.flat(calls)):
            calls = histories.flat(calls)
        pieces = 2
        while len(calls) > 1 and time.time() < deadline:
            size = -(-len(calls) // pieces)
            for start in range(0, len(calls), size):
                rest = calls[:start] + calls[start + size:]
                if time.time() < deadline and fails(rest):
                    calls = rest
                    pieces = max(pieces - 1, 2)
                    break
            else:
                if size == 1:
                    break
                pieces = min(pieces * 2, len(calls))
        return calls


def seeds_of(text):
    """Read a list such as 1-500 or 3,7-9."""
    result = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        result.extend(range(int(low), int(high or low) + 1))
    return result


def report(runner, history, calls, outcome, title, shrinkable=True):
    """Print what failed and, where it fails each time, the shrunk history."""
    print("# %s: %s: %s" % (title, outcome.check, str(outcome.failure).replace("\n", "\n#   ")))
    statement = getattr(outcome.failure, "statement", None)
    if statement:
        print("#   in: %s" % statement[:500])
    if os.environ.get("SHRINK", "1") == "0" or not shrinkable:
        return
    small = runner.shrink(history, calls, outcome.check, float(os.environ.get("SHRINK_SECONDS", "60")))
    again = runner.play(history, small)
    if again.check == outcome.check:
        print("# shrunk to %d calls: %s" % (len(small), str(again.failure).replace("\n", "\n#   ")))
    else:
        print("# the shrunk history of %d calls does not fail every time" % len(small))
    for config in history["creators"]:
        print("#   creator %s" % json.dumps(config))
    for call in small:
        print("#   %s" % json.dumps(call))


def test_history(runner, seed, profile):
    """Run the history of a seed, and shuffled orders of one that may be shuffled; return whether it passed."""
    history = histories.generate(seed, profile)
    outcome = runner.play(history)
    if outcome.failure:
        report(runner, history, history["calls"], outcome, "seed %d (%s)" % (seed, history["profile"]))
        return False, history, outcome
    if history["profile"] in histories.ANY_ORDER:
        for turn in range(2):
            calls = histories.shuffled(history["calls"], "%d %d" % (seed, turn))
            other = runner.play(history, calls)
            other.compare(outcome)
            if other.failure:
                report(runner, history, calls, other, "seed %d, another order of arrival" % seed)
                return False, history, other
        other = runner.play(history, at_once=True)
        other.compare(outcome)
        if other.failure:
            report(runner, history, history["calls"], other, "seed %d, several sessions at once" % seed, False)
            return False, history, other
    return True, history, outcome


def credit_cases(dice):
    """Make up arguments of credit(): any model, ties, later touches, amounts of any size and sign."""
    cases = []
    for _ in range(150):
        count = dice.pick((0, 1, 1, 2, 2, 3, 4, 7, 20))
        base = model.parse_time("2025-03-20T00:00:00Z")
        step = dice.pick((1, 1000, model.MINUTE, model.HOUR, 5 * model.DAY))
        touched = [base + dice.number(-6, 4) * step + dice.number(0, 1) * dice.number(0, 999) for _ in range(count)]
        name = dice.pick(model.MODELS + ("custom",))
        amount = dice.pick((0, 1, 2, 3, 100, dice.number(0, 100000), dice.number(0, 9 * 10 ** 18)))
        weights = [dice.pick((1, 2, 3, 0.5, 0.25, dice.number(1, 1000) / 7)) for _ in range(count)]
        cases.append((name, touched, base, amount * dice.pick((1, 1, -1)),
                      dice.pick((model.HOUR, model.DAY, 7 * model.DAY)), weights if name == "custom" else None,
                      [dice.chance(0.4) for _ in range(count)] if dice.chance(0.8) else None))
    return cases


def test_credit(runner, seed):
    """Compare the SQL function credit() with the model's on made-up arguments."""
    passed = True
    cases = credit_cases(histories.Dice("credit %s" % seed))
    for name, touched, converted, amount, half_life, weights, direct in cases:
        def array(items, kind, write):
            """Write an SQL array, or NULL."""
            return "NULL" if items is None else "ARRAY[%s]::%s[]" % (", ".join(map(write, items)), kind)
        statement = "SELECT pg_catalog.to_json(biolink.credit(%s, %s, %s, %d, %s, %s, %s))" % (
            literal(name), array(touched, "timestamptz", lambda t: literal(histories.format_time(t))),
            literal(histories.format_time(converted)), amount, literal("%d seconds" % (half_life // model.SECOND)),
            array(weights, "float8", repr), array(direct, "boolean", literal))
        wanted = model.credit(name, touched, converted, amount, half_life, weights, direct)
        try:
            found = json.loads(runner.database.analyst.run(statement)[0])
        except SqlError as error:
            found = str(error)
        if found != wanted:
            print("# %s\n#   model    %s\n#   database %s" % (statement, wanted, found))
            passed = False
            break
    return passed


def main():
    """Run the seeds and print TAP."""
    sys.stdout.reconfigure(line_buffering=True)
    seeds = seeds_of(os.environ["SEEDS"]) if os.environ.get("SEEDS") else list(DEFAULT_SEEDS)
    profile = os.environ.get("HISTORIES") or None
    runner = Runner()
    credits = seeds[:4]
    print("1..%d" % (len(seeds) + len(credits)))
    failed = 0
    begun = time.time()
    for number, seed in enumerate(credits, 1):
        passed = test_credit(runner, seed)
        failed += not passed
        print("%s %d - credit seed %d" % ("ok" if passed else "not ok", number, seed))
    for number, seed in enumerate(seeds, len(credits) + 1):
        passed, history, outcome = test_history(runner, seed, profile)
        failed += not passed
        print("%s %d - history seed %d (%s, %d calls)" % (
            "ok" if passed else "not ok", number, seed, history["profile"], len(histories.flat(history["calls"]))))
        if outcome.play is not None and outcome.play.extra_jobs:
            print("# the job had to run again %d times" % outcome.play.extra_jobs)
    print("# %d seeds in %.1f s" % (len(seeds), time.time() - begun))
    runner.database.drop_roles()
    runner.database.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
