"""Random histories of calls, the same for the same seed.

This file owns what the model test plays: creators with their links, and lists of calls.
A history is plain JSON, so that a failing one can be printed and read.

Invariants:
- A call refers to the result of an earlier one by a reference: {"$token": n} is the token
  that call n returned, {"$id": n} its event id, {"$hex": n} the same without dashes,
  {"$url": n} a landing URL that carries the token.  "damage" in a reference spoils the
  text.  Where call n returned none (or is no longer there), the member is left out.
  {"$now": s} is the time of sending, s seconds later.
- Every call but the first sends of "now" states its time, in whole microseconds.
- Only random() is drawn from the generator, so a seed means the same on every Python.
- A history that may be shuffled holds no two calls whose order decides what is true: no
  conflicts, no revisions, no two touches at one time, no clock.  shuffled() keeps only
  the order that references need.
"""

import datetime
import random
import time

import model
from model import DAY, HOUR, MINUTE, SECOND

PROFILES = ("mixed", "shuffle", "long", "ties", "messengers", "refunds", "tenants", "references", "conflicts", "edges", "imports",
            "permutations")
# Histories whose order of arrival decides nothing.
ANY_ORDER = ("shuffle", "messengers")
MOST = 2 ** 53 - 1
CURRENCIES = ("USD", "EUR", "JPY", "KWD")
SOURCES = ("shop", "stripe", "import")
UTM = ("alpha_mail", "beta_ads", "gamma_post")
PLATFORMS = ("instagram", "tiktok", "youtube")
STARTS = ("2024-02-20", "2024-03-01", "2024-10-05", "2025-01-10", "2025-03-02", "2025-06-20")
GOALS = (("lead", None), ("booking", None), ("lead", "newsletter"), ("signup", "trial"))
COOKIES = ("visitor-%d", "visitor-%d", "GA1.2.%d.\u00fc'\"\\", "00000000-0000-4000-8000-00000000000%d")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")


def format_time(at, offset=0):
    """Write microseconds since 1970 as RFC 3339 with an offset of whole hours."""
    zone = datetime.timezone(datetime.timedelta(hours=offset))
    moment = (model.EPOCH + datetime.timedelta(microseconds=at)).astimezone(zone)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    if moment.microsecond:
        text += ".%06d" % moment.microsecond
    return text + ("Z" if offset == 0 else moment.strftime("%z")[:3] + ":00")


class Dice:
    """A seeded source of choices that draws nothing but random()."""

    def __init__(self, seed):
        """Seed the dice."""
        self._random = random.Random(seed)

    def number(self, low, high):
        """Return an integer from low to high, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def chance(self, probability):
        """Return true with a probability."""
        return self._random.random() < probability

    def pick(self, items):
        """Return one of the items."""
        return items[int(self._random.random() * len(items))]

    def shuffle(self, items):
        """Put a list in random order."""
        for i in range(len(items) - 1, 0, -1):
            j = self.number(0, i)
            items[i], items[j] = items[j], items[i]


def references(value):
    """Return the numbers of the calls that a value refers to."""
    if isinstance(value, dict):
        found = set()
        for key, item in value.items():
            if key in ("$token", "$id", "$hex", "$url"):
                found.add(item)
            else:
                found |= references(item)
        return found
    if isinstance(value, list):
        return set().union(*map(references, value)) if value else set()
    return set()


def damaged(token, how):
    """Spoil a token."""
    if how == "flip":
        place = len(token) // 2
        return token[:place] + ("B" if token[place] == "A" else "A") + token[place + 1:]
    return token[:-5] if how == "cut" else token + "!!"


ABSENT = object()


def resolve(value, results, now=None):
    """Put the results of earlier calls in the place of references; drop what is not there."""
    if isinstance(value, list):
        return [item for item in (resolve(v, results, now) for v in value) if item is not ABSENT]
    if not isinstance(value, dict):
        return value
    if "$now" in value:
        return format_time((int(time.time() * SECOND) if now is None else now) + value["$now"] * SECOND)
    for name in ("$token", "$id", "$hex", "$url"):
        if name in value:
            known = results.get(value[name], {})
            text = known.get("id" if name in ("$id", "$hex") else "token")
            if not text:
                return ABSENT
            if name == "$hex":
                text = text.replace("-", "")
            if "damage" in value:
                text = damaged(text, value["damage"])
            return value["base"] + "?bl=" + text if name == "$url" else text
    found = {k: resolve(v, results, now) for k, v in value.items()}
    return {k: v for k, v in found.items() if v is not ABSENT}


class Writer:
    """Writes one history: the state of the generator while it makes up calls."""

    def __init__(self, seed, profile):
        """Choose the creators, links, people and the time that the history spans."""
        self.dice = Dice("biolink %s %s" % (profile, seed))
        self.profile = profile
        self.calls = []
        self.orders = 0
        self.keys = 0
        start = self.dice.pick(STARTS)
        self.start = model.parse_time(start + "T00:00:00Z")
        self.span = 45 * DAY
        self.used_times = set()
        self.money_keys = []
        self.sales = 0
        count = self.dice.number(2, 3) if profile == "tenants" else 1
        self.creators = [self._creator(i) for i in range(count)]
        self.people = [self._person(i) for i in range(self.dice.number(3, 6))]

    # -- what there is --

    def _creator(self, index):
        """Make up a creator with settings and links."""
        dice = self.dice
        settings = {}
        if self.profile == "long":
            if dice.chance(0.6):
                settings["max_touches"] = dice.pick((2, 5, 12))
        elif dice.chance(0.4):
            if dice.chance(0.5):
                settings["lookback"] = {"session": dice.pick(("2 days", "10 days", "60 days"))}
            if dice.chance(0.5):
                settings["repeat_window"] = dice.pick(("10 minutes", "2 hours"))
            if dice.chance(0.5):
                settings["half_life"] = dice.pick(("6 hours", "1 days", "30 days"))
            if dice.chance(0.3):
                settings["max_touches"] = dice.pick((1, 2, 3, 7))
        if self.profile in ("messengers", "references", "permutations") and dice.chance(0.6):
            settings["revenue_excludes"] = [p for p in model.PARTS if dice.chance(0.6)]
        links = [
            {
                "slug": "l%d" % i,
                "url": "https://shop.example/p/%d" % i,
                "offer": dice.chance(0.5),
                "token_param": dice.pick(("bl", "bl", "ref", None)),
                "token_form": dice.pick(("token", "token", "click_id")),
                "active": True,
            }
            for i in range(dice.number(2, 4))
        ]
        if dice.chance(0.5):
            links.append({"slug": "off", "url": "https://shop.example/off", "offer": False,
                          "token_param": "bl", "token_form": "token", "active": False})
        money = [dice.pick(CURRENCIES)]
        if dice.chance(0.4):
            money.append(dice.pick(CURRENCIES))
        return {"index": index, "currency": money[0], "currencies": money, "settings": settings,
                "time_zone": dice.pick(ZONES), "links": links}

    def _person(self, index):
        """Make up a visitor: a cookie or none, an agent, and where she comes from."""
        dice = self.dice
        kind = dice.pick(("cookie", "cookie", "cookie", "none", "adopt", "denied"))
        person = {
            "cookie": dice.pick(COOKIES) % index if kind in ("cookie", "denied") else None,
            "kind": kind,
            "agent": dice.pick(model.HUMAN_AGENTS),
            "bot": False,
            "test": dice.chance(0.06),
            "touches": [],
        }
        if dice.chance(0.12):
            person["bot"] = True
            person["agent"] = dice.pick(model.BOT_AGENTS)
        return person

    # -- calls --

    def add(self, op, at, **members):
        """Add a call and return it."""
        call = dict({"n": len(self.calls) + 1, "op": op}, **members)
        call["at"] = at
        self.calls.append(call)
        return call

    def moment(self, at):
        """Return a time near at that suits the profile: unique, or on a coarse grid so that ties occur."""
        dice = self.dice
        if self.profile == "ties":
            step = dice.pick((SECOND, 1000, 1000, 10 * MINUTE))
            return at // step * step + dice.pick((0, 0, 0, 1, 999))
        if dice.chance(0.5):
            at = at // 1000 * 1000
        while self.profile in ANY_ORDER and at in self.used_times:
            at += 1
        self.used_times.add(at)
        return at

    def stamp(self, at):
        """Return a time as text, in some offset."""
        return format_time(at, self.dice.pick((0, 0, 0, 2, -5)))

    def _new_key(self, prefix):
        """Return a key not used before."""
        self.keys += 1
        return "%s%d" % (prefix, self.keys)

    def _request(self, person, at, source=True):
        """Make the request of a visit or click by a person."""
        dice = self.dice
        request = {"user_agent": person["agent"], "occurred_at": self.stamp(at)}
        if person["cookie"]:
            request["visitor"] = person["cookie"]
        elif person["kind"] == "adopt" and person["touches"] and dice.chance(0.8):
            request["visitor"] = {"$id": person["touches"][0]["n"]}
        if person["kind"] == "denied" or dice.chance(0.03):
            request["consent"] = {"measurement": "denied"}
        elif dice.chance(0.1):
            request["consent"] = {"measurement": "granted"}
        if person["test"]:
            request["test"] = True
        if not person["bot"] and dice.chance(0.05):
            dice.pick((
                lambda: request.update(method="HEAD"),
                lambda: request.update(headers={"Sec-Purpose": "prefetch;prerender"}),
                lambda: request.update(user_agent=dice.pick(model.BOT_AGENTS)),
            ))()
        if source:
            draw = dice.number(1, 10)
            if draw <= 4:
                request["url"] = "https://bio.example/me?utm_source=" + dice.pick(UTM)
                if dice.chance(0.2):
                    request["url"] = request["url"].replace("source=", "source=%20").upper().replace(
                        "HTTPS://BIO.EXAMPLE/ME?UTM_SOURCE", "https://bio.example/me?utm_source")
            elif draw <= 7:
                request["platform"] = dice.pick(PLATFORMS)
        return request

    def visit(self, creator, person, at):
        """Open a page."""
        at = self.moment(at)
        request = self._request(person, at)
        if self.dice.chance(0.3):
            request["key"] = self._new_key("c")
        call = self.add("open_page", at, creator=creator, request=request)
        person["touches"].append(call)
        return call

    def click(self, creator, person, at, page=None, link=None):
        """Click a link, perhaps with the token of a page."""
        dice = self.dice
        at = self.moment(at)
        request = self._request(person, at, source=page is None)
        if page is not None:
            reference = {"$token": page["n"]}
            if dice.chance(0.05):
                reference["damage"] = dice.pick(("flip", "cut", "junk"))
                request["token"] = reference
            elif dice.chance(0.2):
                request["url"] = {"$url": page["n"], "base": "https://bio.example/go"}
            else:
                request["token"] = reference
        if dice.chance(0.4):
            request["key"] = self._new_key("c")
        slug = link or dice.pick(self.creators[creator]["links"])["slug"]
        if link is None and dice.chance(0.02):
            slug = "nowhere"
        call = self.add("click", at, creator=creator, link=slug, request=request)
        person["touches"].append(call)
        return call

    def imported(self, creator, person, at):
        """Track a visit or click that another system saw."""
        at = self.moment(at)
        event = {"kind": self.dice.pick(("visit", "click")), "source": "import", "key": self._new_key("i"),
                 "occurred_at": self.stamp(at)}
        if person["cookie"]:
            event["visitor"] = person["cookie"]
        if person["kind"] == "denied":
            event["consent"] = {"measurement": "denied"}
        if person["test"]:
            event["test"] = True
        if self.dice.chance(0.4):
            event["url"] = "https://bio.example/me?utm_source=" + self.dice.pick(UTM)
        call = self.add("track", at, creator=creator, event=event)
        person["touches"].append(call)
        return at

    def session(self, creator, person, at):
        """Play one session of a person: a visit with clicks, or clicks alone."""
        dice = self.dice
        if self.profile == "imports" and dice.chance(0.4):
            return self.imported(creator, person, at)
        page = self.visit(creator, person, at) if dice.chance(0.75) else None
        last_link = None
        for _ in range(dice.pick((0, 1, 1, 2, 2, 3))):
            at += dice.pick((5 * SECOND, MINUTE, 4 * MINUTE, 29 * MINUTE, 31 * MINUTE)) + dice.number(0, 999999)
            again = last_link is not None and dice.chance(0.5)
            with_page = page if dice.chance(0.75) else None
            call = self.click(creator, person, at, with_page, last_link if again else None)
            last_link = call["link"]
        return at

    def evidence(self, creator, person, touches):
        """Make the members by which an order or goal names its touches."""
        dice = self.dice
        members = {}
        clicks = [t for t in touches if t["op"] == "click"] or touches
        draw = dice.number(1, 22)
        if not touches:
            draw = dice.pick((14, 18, 19, 21))
        touch = dice.pick(clicks if dice.chance(0.8) else touches) if touches else None
        if draw <= 5:
            members["token"] = {"$token": touch["n"]}
        elif draw <= 7:
            members["click_id"] = {dice.pick(("$id", "$id", "$hex")): touch["n"]}
        elif draw <= 8:
            members["url"] = {"$url": touch["n"], "base": "https://shop.example/thanks"}
        elif draw <= 11:
            members.update(self._cookie(person))
        elif draw <= 13:
            members["token"] = {"$token": touch["n"]}
            members.update(self._cookie(dice.pick(self.people)))
        elif draw == 14:
            members["token"] = dice.pick(("not a token", "AAAA", "x" * 76))
            if dice.chance(0.3):
                members.update(self._cookie(person))
        elif draw == 15:
            members["token"] = {"$token": touch["n"], "damage": dice.pick(("flip", "cut", "junk"))}
        elif draw == 16:
            members["token"] = {"$token": touch["n"], "damage": "flip"}
            members["click_id"] = {"$id": dice.pick(touches)["n"]}
        elif draw == 17:
            members.update(self._cookie(person))
            members["consent"] = {"measurement": "denied"}
        elif draw == 20:
            # the token is stronger, whether or not the click id says the same
            members["token"] = {"$token": touch["n"]}
            members["click_id"] = {"$id": dice.pick(clicks)["n"]}
        elif draw == 21:
            members["click_id"] = dice.pick(("zzz", "0192226c-0000", "{}"))
        elif draw == 18:
            members["click_id"] = "019%05x-0000-7%03x-8000-%012x" % (
                dice.number(0, 0xFFFFF), dice.number(0, 0xFFF), dice.number(0, 0xFFFFFF))
        return members

    def _cookie(self, person):
        """Return the visitor member that a person's cookie gives, if any."""
        if person["cookie"]:
            return {"visitor": person["cookie"]}
        if person["touches"]:
            return {"visitor": {"$id": person["touches"][0]["n"]}}
        return {}

    def amount(self):
        """Return an amount in minor units."""
        dice = self.dice
        return dice.pick((1, 2, 3, 100, 1000, 9999, dice.number(1, 50000), dice.number(1, 50000),
                          dice.number(1, 10 ** 15), 0 if dice.chance(0.3) else 7))

    def money_event(self, creator, kind, at, **members):
        """Track a money event with a fresh key."""
        event = {"kind": kind, "source": self.dice.pick(SOURCES), "key": self._new_key("k"),
                 "occurred_at": self.stamp(at)}
        event.update(members)
        call = self.add("track", at, creator=creator, event=event)
        self.money_keys.append(call)
        return call

    def order(self, creator, person, at, touches):
        """Track an order and what follows from it: second reports, refunds, disputes, revisions."""
        dice = self.dice
        if self.profile == "messengers" and dice.chance(0.8):
            self.sales += 1
            for event, when in self.sale(creator, person, touches, "s%d-" % self.sales, at):
                self.add("track", when, creator=creator, event=event)
            return
        self.orders += 1
        order_id = "o%d" % self.orders
        if self.profile == "tenants" and dice.chance(0.5):
            order_id = "o%d" % dice.number(1, max(1, self.orders // 2))
        currency = dice.pick(self.creators[creator]["currencies"])
        amount = self.amount()
        body = {"order_id": order_id, "amount": amount, "currency": currency}
        if person["test"] or dice.chance(0.04):
            body["test"] = True
        if dice.chance(0.15):
            body["payment"] = "paid"
        if dice.chance(0.3):
            body["context"] = {"basket": dice.number(1, 9)}
        conflicts = self.profile == "conflicts" or (self.profile in ("mixed", "tenants") and dice.chance(0.1))
        if dice.chance(0.1):
            early = dict(body, payment=dice.pick(("pending", "failed")))
            self.money_event(creator, "order", at - dice.number(0, 3600) * SECOND, **early)
        if conflicts and dice.chance(0.15):
            self._pay_later(creator, at, body)
            return
        revise = conflicts and dice.chance(0.4)
        if revise and dice.chance(0.7):
            body["revision"] = 1
        first = self.money_event(creator, "order", at, **dict(body, **self.evidence(creator, person, touches)))
        if revise:
            revision = body.get("revision", 0)
            value = amount
            for _ in range(dice.number(1, 3)):
                at += dice.number(1, 3 * 86400) * SECOND
                revision += dice.pick((1, 1, 1, 2, 0, -1))
                value = dice.pick((value, self.amount(), amount + 1, amount // 2))
                event = dict(first["event"], revision=max(revision, 0), amount=value)
                event["occurred_at"] = self.stamp(at - dice.pick((0, 0, 5 * DAY)))
                if dice.chance(0.1):
                    event["currency"] = "CHF"
                if dice.chance(0.3):
                    for name in ("token", "click_id", "visitor", "url"):
                        event.pop(name, None)
                    event.update(self.evidence(creator, person, touches))
                self.add("track", at, creator=creator, event=event)
        elif dice.chance(0.3):
            for _ in range(dice.number(1, 2)):
                later = at + dice.pick((-HOUR, SECOND, MINUTE, DAY, 8 * DAY)) + dice.number(0, 999)
                second = {k: v for k, v in body.items() if k != "context"}
                second.update(self.evidence(creator, person, touches))
                if conflicts and dice.chance(0.5):
                    if dice.chance(0.7):
                        second["amount"] = amount + dice.pick((1, 100))
                    elif dice.chance(0.5):
                        second["currency"] = "CHF"
                    else:
                        second["test"] = not second.get("test", False)
                call = self.money_event(creator, "order", later, **second)
                if "amount" in second and second["amount"] != amount and dice.chance(0.7):
                    corrected = dict(call["event"], amount=amount)
                    self.add("track", later + MINUTE, creator=creator, event=corrected)
        if conflicts and dice.chance(0.3):
            other = dict(first["event"], amount=amount + 5)
            if dice.chance(0.3):
                other["kind"] = "refund"
            self.add("track", at + HOUR, creator=creator, event=other)
        self._afterwards(creator, body, amount, at, conflicts)

    def sale(self, creator, person, touches, prefix, at, most=6):
        """Return [(event, time)]: one sale as several messengers tell it, none of which contradicts another.

        Each has a name of its own for the sale, and the names hang together over references that
        one or the other knows.  Instead, one messenger may tell it in revisions.
        """
        dice = self.dice
        currency = dice.pick(self.creators[creator]["currencies"])
        amount = dice.pick((self.amount(), dice.number(1, 50000), 0, MOST))
        parts = {p: dice.pick((0, 1, dice.number(0, 20000), amount)) for p in model.PARTS if dice.chance(0.5)}
        common = {"test": True} if person["test"] or dice.chance(0.05) else {}
        told, names = [], []

        def name():
            """Return a name of the sale that hangs together with those before: which to use, and which to refer to."""
            new = prefix + dice.pick(("pi", "cs", "in", "ch", "no", "gid://shop/")) + str(len(names))
            known = [n for n in names if dice.chance(0.3)] or names[-1:]
            names.append(new)
            refs = known + [new] if dice.chance(0.2) else list(known)
            if known and dice.chance(0.3):
                # the other way round: an old name, which refers to the new one
                return known[0], [new]
            return new, refs

        def tell(kind, when, **members):
            """Add an event of one messenger."""
            order_id, refs = name()
            event = {"kind": kind, "source": dice.pick(SOURCES), "key": prefix + "k%d" % len(told), "occurred_at": self.stamp(when)}
            event.update(common, order_id=order_id, **members)
            if refs:
                event["order_refs"] = refs
            told.append((event, when))
            return event

        def stated(whole=False):
            """Return some of the parts, or all of them."""
            return {p: v for p, v in parts.items() if whole or dice.chance(0.6)}

        if dice.chance(0.25):
            value = amount
            for revision in range(1, dice.number(3, 4)):
                event = tell("order", at + revision * HOUR, amount=value, currency=currency, revision=revision, **stated(True))
                event.update(self.evidence(creator, person, touches), key=prefix + "k", source="shop", order_id=names[0])
                if revision == 1 and dice.chance(0.3):
                    event["payment"] = "pending"
                value = dice.pick((value, self.amount(), value // 2))
                parts = {p: dice.number(0, 20000) for p in parts}
        else:
            for _ in range(dice.number(1, 4)):
                tell("order", at + dice.number(-3600, 3600) * SECOND, amount=amount, currency=currency,
                     **stated(), **self.evidence(creator, person, touches))
        while len(told) < most and dice.chance(0.5):
            draw = dice.number(1, 6)
            when = at + dice.pick((-DAY, HOUR, 9 * DAY)) + dice.number(0, 999)
            if draw <= 3:
                size = dice.pick((max(amount, 1), amount // 2 + 1, amount // 3 + 1, min(amount + 1, MOST)))
                tell(dice.pick(("refund", "refund", "dispute", "dispute_won")), when, amount=size, currency=currency)
            elif draw == 4:
                tell("order", when, amount=dice.pick((amount, 3)), currency=dice.pick((currency, "CHF")), payment=dice.pick(("pending", "failed")),
                     **self.evidence(creator, person, touches))
            else:
                event = {"kind": dice.pick(("checkout", "invoice", "lead")), "source": dice.pick(SOURCES), "key": prefix + "k%d" % len(told),
                         "occurred_at": self.stamp(when), "order_id": dice.pick(names), "order_refs": [prefix + "nothing"]}
                event.update(common, **self.evidence(creator, person, touches))
                told.append((event, when))
        return told

    def _soup(self, creator):
        """Tell of orders with a few names, amounts and keys, whatever they then say of each other."""
        dice = self.dice
        money = self.creators[creator]["currencies"]
        names = ["n%d" % i for i in range(dice.number(3, 9))]
        keys = {}
        for _ in range(dice.number(15, 45)):
            person = dice.pick(self.people)
            at = self.moment(self.start + dice.number(5, 40) * DAY + dice.number(0, 86400) * SECOND)
            kind = dice.pick(("order",) * 6 + ("refund", "refund", "dispute", "dispute_won", "checkout"))
            event = {"order_id": dice.pick(names), "amount": dice.pick((100, 100, 100, 120, 7)), "currency": money[0] if dice.chance(0.93) else dice.pick(CURRENCIES)}
            if dice.chance(0.45):
                event["order_refs"] = [dice.pick(names) for _ in range(dice.pick((0, 1, 1, 1, 2, 3)))]
            if dice.chance(0.04):
                event["order_refs"] = dice.pick(("n1", [""], [1], {}, ["n1", None], 5, False))
            if dice.chance(0.03):
                event["test"] = True
            if kind == "order":
                if dice.chance(0.2):
                    event["payment"] = dice.pick(("pending", "failed", "paid"))
                for part in model.PARTS:
                    if dice.chance(0.2):
                        event[part] = dice.pick((0, 1, 19, 33, None))
                        if dice.chance(0.04):
                            event[part] = dice.pick((-1, "1", 1.5, True))
                if dice.chance(0.4):
                    # a key with revisions: mostly of the same order
                    key = dice.pick(("r1", "r2", "r3"))
                    if key in keys and dice.chance(0.8):
                        event["order_id"] = keys[key]
                    keys.setdefault(key, event["order_id"])
                    event.update(key=key, source="shop", revision=dice.number(1, 6))
            elif kind in ("refund", "dispute_won"):
                event["amount"] = dice.pick((1, 30, 100, 130))
                if dice.chance(0.2):
                    event.pop("currency")
            if kind in ("order", "checkout"):
                event.update(self.evidence(creator, person, person["touches"]))
            self.money_event(creator, kind, at, **event)

    def _permutations(self, creator):
        """Tell of a few sales again and again, each time in another order and cut into other batches; return the calls."""
        dice = self.dice
        for person in self.people[:2]:
            self.session(creator, person, self.start + dice.number(0, 5) * DAY)
        calls, rest = list(self.calls), []
        for number in range(2):
            person = dice.pick(self.people[:2])
            prefix = "S%d-" % number
            events = [e for e, _ in self.sale(creator, person, person["touches"], prefix, self.start + 6 * DAY, 5)]
            for turn in range(16 if len(events) >= 4 else 6):
                order = list(events)
                dice.shuffle(order)
                copies = [renamed(e, prefix, "%sp%d-" % (prefix, turn)) for e in order]
                rest.append([{"op": "track", "creator": creator, "event": e} for e in copies])
        # the sales run side by side
        mode = {}
        while rest:
            mine = dice.pick(rest)
            at_once = mode.setdefault(id(mine), dice.pick((1, 1, 2, 9)))
            calls += mine[:at_once]
            del mine[:at_once]
            if not mine:
                rest = [r for r in rest if r]
        for number, call in enumerate(calls, 1):
            assert call.setdefault("n", number) == number
            call.pop("at", None)
        self.calls = calls

    def _pay_later(self, creator, at, body):
        """Track an order as pending and then, by a higher revision of the same key, as paid."""
        pending = self.money_event(creator, "order", at, **dict(body, payment="pending", revision=1))
        paid = dict(pending["event"], payment="paid", revision=2, occurred_at=self.stamp(at + MINUTE))
        self.add("track", at + MINUTE, creator=creator, event=paid)

    def _afterwards(self, creator, body, amount, at, conflicts):
        """Track refunds and disputes of an order: partial, excessive, early, in a wrong currency."""
        dice = self.dice
        often = 0.8 if self.profile == "refunds" else 0.3
        while dice.chance(often):
            often /= 1.6
            size = dice.pick((amount, amount // 2, amount // 3, amount + 7, dice.number(1, 3)))
            if size <= 0:
                size = 1
            when = at + dice.pick((-2 * DAY, -MINUTE, HOUR, DAY, 20 * DAY))
            members = {"order_id": body["order_id"], "amount": size, "currency": body["currency"]}
            if body.get("test"):
                members["test"] = True
            if conflicts and dice.chance(0.2):
                members["currency"] = "CHF"
            kind = dice.pick(("refund", "refund", "dispute"))
            self.money_event(creator, kind, when, **members)
            if kind == "dispute" and dice.chance(0.5):
                self.money_event(creator, "dispute_won", when + 5 * DAY, **members)

    def goal(self, creator, person, at, touches):
        """Track a lead, a booking or another goal."""
        kind, goal = self.dice.pick(GOALS)
        members = {"goal": goal} if goal else {}
        if person["test"]:
            members["test"] = True
        members.update(self.evidence(creator, person, touches))
        self.money_event(creator, kind, at, **members)

    def other(self, creator, person, at):
        """Track an event that is only recorded, or one that cannot be taken."""
        dice = self.dice
        draw = dice.number(1, 8)
        if draw <= 3 or self.profile in ANY_ORDER:
            self.money_event(creator, dice.pick(("scroll", "claim", "exposure")), at, context={"x": 1})
            return
        order = {"order_id": "bad%d" % dice.number(1, 3), "amount": 5, "currency": "USD"}
        if draw == 4:
            order.pop(dice.pick(("order_id", "amount", "currency")))
            self.money_event(creator, "order", at, **order)
        elif draw == 5:
            order["amount"] = dice.pick(("5", 5.5, True))
            self.money_event(creator, "order", at, **order)
        elif draw == 6:
            order["amount"] = dice.pick((0, -5))
            self.money_event(creator, "refund", at, **order)
        elif draw == 7:
            order["currency"] = dice.pick(("usd", "US", "DOLLARS"))
            self.money_event(creator, "order", at, **order)
        else:
            call = self.money_event(creator, "scroll", at)
            call["event"].pop(dice.pick(("kind", "source", "key")))

    # -- whole histories --

    def write(self):
        """Make up all the calls of the history."""
        dice = self.dice
        for index in range(len(self.creators)):
            for person in self.people:
                person["touches"] = []
            if self.profile == "long":
                self._long(index)
            if self.profile == "edges":
                self._edges(index)
            if self.profile == "permutations":
                self._permutations(index)
                continue
            for person in self.people:
                self._story(index, person)
            if self.profile == "references":
                self._soup(index)
            for _ in range(dice.number(0, 3)):
                self.other(index, dice.pick(self.people), self.start + dice.number(0, 40) * DAY)
        if self.profile == "tenants":
            self._cross()
        return self

    def _story(self, creator, person):
        """Play the sessions, orders and goals of one person with a creator."""
        dice = self.dice
        at = self.start + dice.number(0, 10 * 86400) * SECOND + dice.number(0, 999999)
        for _ in range(dice.number(1, 2 if self.profile == "long" else 4)):
            at = self.session(creator, person, at)
            touches = list(person["touches"])
            if dice.chance(0.6):
                gap = dice.pick((0, 5 * SECOND, 10 * MINUTE, 10 * MINUTE, 2 * HOUR, DAY, 6 * DAY, 25 * DAY,
                                 40 * DAY, -MINUTE))
                self.order(creator, person, self.moment(at + gap), touches)
            if dice.chance(0.3):
                self.goal(creator, person, self.moment(at + dice.pick((MINUTE, DAY))), touches)
            at += dice.pick((HOUR, 5 * HOUR, DAY, 3 * DAY, 9 * DAY)) + dice.number(0, 999999)

    def _long(self, creator):
        """Play one person with more touches than a path holds."""
        dice = self.dice
        person = self.people[0]
        person.update(kind="cookie", cookie="visitor-0", bot=False, agent=model.HUMAN_AGENTS[0], test=False)
        at = self.start + dice.number(0, 86400) * SECOND
        links = [link["slug"] for link in self.creators[creator]["links"] if link["active"]]
        for i in range(dice.number(52, 64)):
            at += dice.pick((31 * MINUTE, 40 * MINUTE, 5 * HOUR, 12 * MINUTE))
            if dice.chance(0.3):
                self.visit(creator, person, at)
            else:
                self.click(creator, person, at, None, links[i % len(links)])
        touches = list(person["touches"])
        self.order(creator, person, at + HOUR, touches)
        self.money_event(creator, "order", at + 2 * HOUR, order_id="long", amount=self.amount(),
                         currency=self.creators[creator]["currencies"][0], visitor="visitor-0",
                         token={"$token": touches[0]["n"]})

    def _edges(self, creator):
        """Play touches on the very edges of the lookback, of the repeat window and of the conversion."""
        dice = self.dice
        settings = self.creators[creator]["settings"]
        lookback = model.parse_interval((settings.get("lookback") or {}).get("session", "30 days"))
        window = model.parse_interval(settings.get("repeat_window", "30 minutes"))
        person = self.people[0]
        person.update(kind="cookie", cookie="edge-%d" % creator, bot=False, agent=model.HUMAN_AGENTS[0], test=False)
        slug = self.creators[creator]["links"][0]["slug"]
        sale = self.start + lookback + dice.number(3, 36) * HOUR
        for offset in (-lookback - 1, -lookback, -lookback + 1, -lookback + window - 1, -lookback + window,
                       -lookback + 2 * window, -window, -1, 0, 1):
            if dice.chance(0.75):
                self.click(creator, person, sale + offset, None, slug)
        touches = list(person["touches"])
        currency = self.creators[creator]["currencies"][0]
        self.money_event(creator, "order", sale, order_id="edge", amount=self.amount(), currency=currency,
                         visitor=person["cookie"])
        if touches:
            touch = dice.pick(touches)
            self.money_event(creator, "order", touch["at"] + lookback + dice.pick((0, 1)), order_id="edge2",
                             amount=self.amount(), currency=currency, click_id={"$id": touch["n"]})

    def _cross(self):
        """Name the tokens and clicks of one creator in orders of another: they must not count there."""
        dice = self.dice
        for call in [c for c in self.calls if c["op"] in ("open_page", "click")]:
            if not dice.chance(0.1):
                continue
            creator = (call["creator"] + 1) % len(self.creators)
            members = {"token": {"$token": call["n"]}} if dice.chance(0.6) else {"click_id": {"$id": call["n"]}}
            self.orders += 1
            self.money_event(creator, "order", call["at"] + HOUR, order_id="x%d" % self.orders,
                             amount=self.amount(), currency=self.creators[creator]["currencies"][0], **members)

    # -- arrival --

    def arrange(self):
        """Put the calls in the order of arrival: some late, some sent again, jobs and changes between."""
        dice = self.dice
        if self.profile == "permutations":
            return self._jobs(self._batches(self.calls))
        for call in self.calls:
            late = dice.chance(0.5 if self.profile == "edges" else 0.15)
            call["arrival"] = call["at"] + (dice.pick((HOUR, 2 * DAY, 20 * DAY, 60 * DAY)) if late else 0)
        calls = topological(sorted(self.calls, key=lambda c: c["arrival"]))
        if self.profile in ("mixed", "tenants") and dice.chance(0.5):
            for call in calls[-dice.number(2, 8):]:
                body = call.get("request") or call.get("event")
                if "occurred_at" in body and call.get("op") != "track" and dice.chance(0.7):
                    del body["occurred_at"]
                elif dice.chance(0.4):
                    # a little, and too far, in the future
                    body["occurred_at"] = {"$now": dice.pick((120, 3600, 86400 * 900))}
        if self.profile not in ANY_ORDER:
            for call in calls:
                if call["op"] == "track" and dice.chance(0.05):
                    call["event"]["sent_at"] = self._sent_at()
        for call in calls:
            call.pop("at")
            call.pop("arrival")
        calls = self._again(calls)
        calls = self._link_changes(calls)
        calls = self._key_changes(calls)
        calls = self._batches(calls)
        return self._jobs(calls)

    def _again(self, calls):
        """Send some calls that have a key again, later, exactly as they were."""
        dice = self.dice
        result = []
        waiting = []
        number = len(calls)
        whole = dice.chance(0.15)
        for call in calls:
            result.append(call)
            body = call.get("event") or call.get("request")
            keyed = call["op"] == "track" or "key" in body
            if keyed and (whole or dice.chance(0.15)):
                number += 1
                copy = dict(call, n=number, again=call["n"])
                if call["op"] == "track" and dice.chance(0.3):
                    copy["event"] = dict(call["event"], sent_at=self._sent_at())
                waiting.append(copy)
            if waiting and not whole and dice.chance(0.3):
                result.append(waiting.pop(dice.number(0, len(waiting) - 1)))
        dice.shuffle(waiting)
        return result + waiting

    def _sent_at(self):
        """Return a time of sending: by a clock that is right or, where the order of arrival may show, by one that is wrong."""
        if self.profile in ANY_ORDER:
            return {"$now": self.dice.number(-200, 200)}
        return {"$now": self.dice.pick((0, -295, 295, -310, 310, -2 * 3600, 3600, -400 * 86400))}

    def _link_changes(self, calls):
        """Switch a link off and on again somewhere."""
        dice = self.dice
        if self.profile != "mixed" or not dice.chance(0.3):
            return calls
        for active in (False, True):
            calls.insert(dice.number(0, len(calls)), {
                "n": len(calls) + 1, "op": "link_active", "creator": 0,
                "link": self.creators[0]["links"][0]["slug"], "active": active})
        return calls

    def _key_changes(self, calls):
        """Rotate the signing key of a creator somewhere, and perhaps revoke the old one later."""
        dice = self.dice
        if self.profile not in ("mixed", "tenants") or not dice.chance(0.4):
            return calls
        place = dice.number(0, len(calls))
        calls.insert(place, {"n": len(calls) + 1, "op": "rotate", "creator": 0})
        if dice.chance(0.7):
            calls.insert(dice.number(place + 1, len(calls)), {"n": len(calls) + 1, "op": "revoke", "creator": 0})
        return calls

    def _batches(self, calls):
        """Send some runs of events as one batch."""
        dice = self.dice
        result = []
        for call in calls:
            last = result[-1] if result else None
            if call["op"] == "track" and last is not None and last["creator"] == call["creator"] and (
                    dice.chance(0.4)):
                if last["op"] == "batch":
                    last["calls"].append(call)
                    continue
                if last["op"] == "track":
                    result[-1] = {"n": last["n"], "op": "batch", "creator": call["creator"], "calls": [last, call]}
                    continue
            result.append(call)
        return result

    def _jobs(self, calls):
        """Run the attribution job here and there, sometimes looking at the books."""
        dice = self.dice
        result = []
        for call in calls:
            result.append(call)
            if dice.chance(0.06):
                check = dice.chance(0.1 if self.profile == "permutations" else 0.4)
                result.append({"n": 0, "op": "job", "zone": dice.pick(ZONES), "check": check})
        return result


def renamed(value, old, new):
    """Return a value with another beginning of the names in it."""
    if isinstance(value, dict):
        return {k: renamed(v, old, new) for k, v in value.items()}
    if isinstance(value, list):
        return [renamed(v, old, new) for v in value]
    return new + value[len(old):] if isinstance(value, str) and value.startswith(old) else value


def topological(calls):
    """Return the calls in the same order but each after those that it refers to."""
    by_number = {c["n"]: c for c in calls}
    done = set()
    result = []

    def place(call):
        """Place a call, those it refers to first."""
        if call["n"] in done:
            return
        done.add(call["n"])
        for number in sorted(references(call)):
            if number in by_number:
                place(by_number[number])
        result.append(call)

    for call in calls:
        place(call)
    return result


def flat(calls):
    """Return the calls with every batch taken apart."""
    result = []
    for call in calls:
        result.extend(call["calls"] if call["op"] == "batch" else [call])
    return result


def shuffled(calls, seed):
    """Return another order of arrival of the same calls, jobs and batches placed anew."""
    writer = Writer.__new__(Writer)
    writer.profile = "shuffle"
    writer.dice = Dice("shuffle %s" % seed)
    plain = [c for c in flat(calls) if c["op"] != "job"]
    writer.dice.shuffle(plain)
    return writer._jobs(writer._batches(topological(plain)))


def generate(seed, profile=None):
    """Return the history of a seed: its profile, creators and calls."""
    profile = profile or PROFILES[seed % len(PROFILES)]
    writer = Writer(seed, profile).write()
    creators, calls = writer.creators, writer.arrange()
    return {"seed": seed, "profile": profile, "zone": writer.dice.pick(ZONES), "creators": creators, "calls": calls}
