"""An independent model of biolink's books.

This file owns the answer to "what should the database say": it takes the calls an
application makes (open_page, click, track, track_batch) and works out, in plain Python
and exact integers, the status of every call, the events, keys, ledger rows and parked
rows that must exist, the conversions with their touches, and the credit of every touch
under every model.

Invariants:
- Nothing here is derived from the extension's sources; it follows the manual only.
- Money is int, shares are Fraction; a float is never added up.
- Conversions, credit and totals are always worked out from scratch from the calls taken so
  far, so the order in which calls arrived shows only where the manual says that it does
  (statuses, the conversion_id and order_id of a sale, the first of two contents under one
  key, and which of two statements that contradict each other is parked).
- Event ids come from the database (their last bits are random): every call that makes an
  event is told the id it was given.  Times are whole microseconds since 1970 in UTC.
"""

import base64
import datetime
import json
import urllib.parse
from decimal import Decimal, localcontext
from fractions import Fraction

MODELS = ("first", "last", "last_non_direct", "linear", "position", "time_decay")
GOAL_UNITS = 1000000
PARTS = ("tax", "shipping", "fee")
ADJUSTMENTS = ("refund", "dispute", "dispute_won")
SECOND = 1000000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
UNATTRIBUTED = "(unattributed)"

HUMAN_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
)
BOT_AGENTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
)


def parse_time(text):
    """Return the microseconds since 1970 of an RFC 3339 time with offset."""
    if text.endswith("Z"):
        text = text[:-1] + "+00:00"
    delta = datetime.datetime.fromisoformat(text) - EPOCH
    return (delta.days * 86400 + delta.seconds) * SECOND + delta.microseconds


def parse_interval(text):
    """Return the microseconds of an interval such as '30 days' or '10 minutes'."""
    number, unit = text.split()
    size = {"second": SECOND, "minute": MINUTE, "hour": HOUR, "day": DAY}[unit.rstrip("s")]
    return int(number) * size


def id_bytes(event_id):
    """Return the sixteen bytes of a UUID in text, by which ties are broken."""
    return bytes.fromhex(event_id.replace("-", ""))


def canonical_uuid(text):
    """Return the canonical text of a UUID written with or without dashes, or None."""
    digits = text.replace("-", "").lower()
    if len(digits) != 32 or any(c not in "0123456789abcdef" for c in digits):
        return None
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


# --- credit ------------------------------------------------------------------------


def decay_weight(age, half_life):
    """Return floor(2^40 * 2^(-age/half_life) + 1/2), worked out to 60 digits."""
    with localcontext() as context:
        context.prec = 60
        halvings = Decimal(age) / Decimal(half_life)
        if halvings > 45:
            return 0
        value = (Decimal(2).ln() * -halvings).exp() * Decimal(1 << 40) + Decimal("0.5")
        return int(value.to_integral_value(rounding="ROUND_FLOOR"))


def weights_of(model, touched, converted, half_life=7 * DAY, weights=None, direct=None):
    """Return the integer weight of each touch under a model, 0 for one after the conversion."""
    order = sorted((at, i) for i, at in enumerate(touched) if at <= converted)
    result = [0] * len(touched)
    if not order:
        return result
    indexes = [i for _, i in order]
    if model == "first":
        result[indexes[0]] = 1
    elif model == "last":
        result[indexes[-1]] = 1
    elif model == "last_non_direct":
        seen = [i for i in indexes if not (direct and direct[i])]
        result[(seen or indexes)[-1]] = 1
    elif model == "linear":
        for i in indexes:
            result[i] = 1
    elif model == "position":
        n = len(indexes)
        for place, i in enumerate(indexes):
            at_end = place in (0, n - 1)
            result[i] = 2 * (n - 2) if n >= 3 and at_end else 1
    elif model == "time_decay":
        latest = order[-1][0]
        for at, i in order:
            result[i] = decay_weight(latest - at, half_life)
    elif model == "custom":
        top = max(Fraction(weights[i]) for i in indexes)
        for i in indexes:
            result[i] = (Fraction(weights[i]) / top * (1 << 40) + Fraction(1, 2)).__floor__()
    else:
        raise ValueError("no such model: %s" % model)
    return result


def split(amount, weights, touched):
    """Split an amount by integer weights with largest remainders, ties to the earlier touch."""
    total = sum(weights)
    if total == 0:
        return [0] * len(weights)
    size = abs(amount)
    shares = [size * w // total for w in weights]
    rest = size - sum(shares)
    claims = sorted(range(len(weights)), key=lambda i: (-(size * weights[i] % total), touched[i], i))
    for i in claims[:rest]:
        shares[i] += 1
    return [-s for s in shares] if amount < 0 else shares


def credit(model, touched, converted, amount, half_life=7 * DAY, weights=None, direct=None):
    """Return the credit of each touch in minor units, as biolink.credit() promises it."""
    return split(amount, weights_of(model, touched, converted, half_life, weights, direct), touched)


# --- what a request says ------------------------------------------------------------


def url_parameter(url, name):
    """Return the first value of a parameter in a URL's query, or None."""
    if not url:
        return None
    for key, value in urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query):
        if key == name:
            return value
    return None


def request_is_bot(request):
    """Return whether a request came from a bot, a HEAD or a prefetch."""
    headers = {k.lower(): str(v).lower() for k, v in (request.get("headers") or {}).items()}
    return (
        request.get("user_agent") in BOT_AGENTS
        or request.get("method", "GET") == "HEAD"
        or headers.get("sec-purpose", "").startswith("prefetch")
        or headers.get("x-moz", "") == "prefetch"
    )


def request_channel(request):
    """Return the channel that a request itself states: UTM source, else platform, else direct."""
    source = (url_parameter(request.get("url"), "utm_source") or "").strip().lower()
    return source or request.get("platform") or "direct"


def measurement_denied(body):
    """Return whether a request or event says that measurement is denied."""
    return (body.get("consent") or {}).get("measurement") == "denied"


def content_of(event):
    """Return the text under which two sendings of one event are the same: all but sent_at."""
    return json.dumps({k: v for k, v in event.items() if k != "sent_at"}, sort_keys=True)


class Event:
    """One event row: what happened, when, and what it says about who and where from."""

    def __init__(self, event_id, kind, occurred, source, key=None):
        """Make an event of a kind at a time; the caller fills in what else is known."""
        self.event_id = event_id
        self.kind = kind
        self.occurred = occurred
        self.source = source
        self.key = key
        self.visitor = None
        self.visit_id = None
        self.link = None
        self.channel = None
        self.is_bot = False
        self.is_test = False
        self.order_id = None
        self.goal = None
        self.amount = None
        self.currency = None
        self.merged = False
        self.paid = False
        self.flags = set()
        self.named_token = None
        self.named_click = None
        self.cookie = None
        self.denied = False
        self.bad_token = False

    def rank(self):
        """Return the order of events in time: occurred_at, then the bytes of the id."""
        return (self.occurred, id_bytes(self.event_id))


class Answer:
    """What a call must answer: a status, and the ids that it may name."""

    def __init__(self, status, event_ids=(), reason=None, is_bot=None, error=None, made=False):
        """Make an answer; made says that the call created an event with the id it returned."""
        self.status = status
        self.event_ids = tuple(event_ids)
        self.reason = reason
        self.is_bot = is_bot
        self.error = error
        self.made = made


class Sale:
    """A paid order that was booked: its money as it is now, all amounts it ever had, and what was stated of its parts."""

    def __init__(self, event, arrived, parts):
        """Open a sale with the first accepted event."""
        self.event = event
        self.order_id = event.order_id
        self.amount = event.amount
        self.amounts = {event.amount}
        self.currency = event.currency
        self.is_test = event.is_test
        self.parts = dict(parts)
        self.booked = (arrived, event.order_id)


class Component:
    """References that mean one and the same: the names of a sale, or of what may become one."""

    def __init__(self, order_id):
        """Begin with the order_id of whoever named one first."""
        self.order_id = order_id
        self.refs = set()
        self.sale = None


class Entry:
    """A row of the ledger."""

    def __init__(self, order_id, kind, amount, event, sale=None, parts=()):
        """Write an amount, of the currency and test of a sale or of the event itself."""
        self.order_id = order_id
        self.kind = kind
        self.amount = amount
        self.currency = (sale or event).currency
        self.is_test = (sale or event).is_test
        self.occurred = event.occurred
        self.parts = dict(parts)


class Key:
    """A (source, key) that was taken: every content accepted under it, with its event id."""

    def __init__(self, event, content, revision, paid=False):
        """Take a key for an event; paid says that its order is part of a sale."""
        self.event = event
        self.contents = {content: event.event_id}
        self.revision = revision
        self.revisions = {revision}
        self.paid = paid


class Touch:
    """One touch of a conversion: an event that stands for a visit with its clicks, or a run of repeats."""

    def __init__(self, event, evidence):
        """Make a touch from its representative event and its evidence."""
        self.event = event
        self.evidence = evidence


class Conversion:
    """An order or goal with its touches, reason and money."""

    def __init__(self):
        """Make an empty conversion; Book.conversions fills it."""
        self.conversion_id = None
        self.order_id = None
        self.refs = ()
        self.source = None
        self.goal = None
        self.kind = None
        self.currency = None
        self.converted = None
        self.is_test = False
        self.reason = None
        self.touches = []
        self.gross = 0
        self.net = 0


class Tokens:
    """The tokens that the database has given out: text to (creator, event id, key epoch)."""

    def __init__(self):
        """Start with none."""
        self.given = {}
        self.epochs = {}
        self.revoked = set()

    def add(self, token, creator, event_id, epoch=1):
        """Remember a token as given out for an event, signed in an epoch."""
        if token:
            self.given[token] = (creator, event_id, epoch)

    def event_of(self, token, creator):
        """Return the event id that a genuine token of this creator names, else None."""
        owner, event_id, epoch = self.given.get(token, (None, None, None))
        return event_id if owner == creator and (creator, epoch) not in self.revoked else None

    def rotate(self, creator):
        """Start a creator's next epoch and return it; tokens of the one before stay genuine."""
        self.epochs[creator] = self.epochs.get(creator, 1) + 1
        return self.epochs[creator]

    def revoke(self, creator, epoch):
        """Revoke an epoch: its tokens name nothing from now on."""
        self.revoked.add((creator, epoch))


class Book:
    """The books of one creator."""

    def __init__(self, creator, tokens, settings=None):
        """Open the books of a creator with its settings, sharing the register of tokens."""
        settings = settings or {}
        self.creator = creator
        self.tokens = tokens
        self.lookback = parse_interval((settings.get("lookback") or {}).get("session", "30 days"))
        self.repeat_window = parse_interval(settings.get("repeat_window", "30 minutes"))
        self.half_life = parse_interval(settings.get("half_life", "7 days"))
        self.max_touches = settings.get("max_touches", 50)
        self.clock_skew = parse_interval(settings.get("clock_skew", "5 minutes"))
        self.links = {}
        self.events = {}
        self.keys = {}
        self.excludes = set(settings.get("revenue_excludes", ()))
        self.refs = {}
        self.goals = []
        self.ledger = []
        self.parked = []
        self.parked_once = set()

    def add_link(self, slug, link_id, active=True):
        """Tell the books of a link, or of a change to it."""
        self.links[slug] = (link_id, active)

    # -- calls --

    def _occurred(self, body, now, arrived=None):
        """Return the time of a call: the one that it states, put right by when it arrived, else the one the clock gave."""
        if "occurred_at" not in body:
            return now
        at = parse_time(body["occurred_at"])
        if arrived is not None:
            ahead = parse_time(body["sent_at"]) - arrived if "sent_at" in body else 0
            if abs(ahead) > self.clock_skew:
                at -= ahead
            if at > arrived + self.clock_skew:
                at = arrived
        return at

    def _request_token(self, request):
        """Return the token of a request: its own field, else the bl parameter of its URL."""
        return request.get("token") or url_parameter(request.get("url"), "bl")

    def _store(self, event):
        """Add an event to the books."""
        assert event.event_id not in self.events, "an event id was given twice"
        self.events[event.event_id] = event

    def _known(self, name):
        """Return the answer for a request whose key is known, whatever else it says."""
        return Answer("duplicate", [self.keys[name].event.event_id]) if name in self.keys else None

    def open_page(self, request, new_id, now=None, arrived=None):
        """Take a page view: a new visit, or by its key one that is known."""
        key = request.get("key")
        name = ("biolink:visit", key)
        if name in self.keys:
            return self._known(name)
        event = Event(new_id, "visit", self._occurred(request, now, arrived), *name)
        event.is_bot = request_is_bot(request)
        event.is_test = bool(request.get("test"))
        event.channel = request_channel(request)
        event.denied = measurement_denied(request)
        event.visitor = new_id
        if request.get("visitor") and not event.denied:
            event.visitor = request["visitor"]
        self._store(event)
        if key is not None:
            self.keys[name] = Key(event, None, 0)
        return Answer("ok", [new_id], is_bot=event.is_bot, made=True)

    def click(self, slug, request, new_id, now=None, arrived=None):
        """Take a click on a link: refused, duplicate by key, or a new click."""
        if slug not in self.links:
            return Answer("refused", reason="unknown_link")
        link_id, active = self.links[slug]
        if not active:
            return Answer("refused", reason="inactive_link")
        key = request.get("key")
        name = ("biolink:click", key)
        if name in self.keys:
            return self._known(name)
        event = Event(new_id, "click", self._occurred(request, now, arrived), *name)
        event.link = link_id
        event.is_bot = request_is_bot(request)
        event.is_test = bool(request.get("test"))
        event.channel = request_channel(request)
        event.denied = measurement_denied(request)
        token = self._request_token(request)
        page = self.events.get(self.tokens.event_of(token, self.creator)) if token else None
        event.bad_token = bool(token) and page is None
        on_page = page is not None and page.kind == "visit"
        event.visitor = new_id
        if event.denied:
            # no cookie may link her, not even the one that her page view still had
            event.visitor = page.visitor if on_page and page.denied else new_id
        elif request.get("visitor"):
            event.visitor = request["visitor"]
        elif on_page:
            event.visitor = page.visitor
        if on_page:
            event.visit_id = page.event_id
            event.channel = page.channel
        self._store(event)
        if key is not None:
            self.keys[name] = Key(event, None, 0)
        return Answer("ok", [new_id], is_bot=event.is_bot, made=True)

    @staticmethod
    def _refusal(event):
        """Return whether an event cannot be taken at all (22023)."""
        for name in ("kind", "source", "key"):
            if not isinstance(event.get(name), str) or event[name] == "":
                return True
        if "order_id" in event and not isinstance(event["order_id"], str):
            return True
        amount = event.get("amount")
        if amount is not None and (isinstance(amount, bool) or not isinstance(amount, int)):
            return True
        currency = event.get("currency")
        if currency is not None:
            if len(currency) != 3 or not all("A" <= c <= "Z" for c in currency):
                return True
        if event["kind"] == "order":
            for part in PARTS:
                value = event.get(part)
                if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                    return True
            return "order_id" not in event or amount is None or amount < 0 or currency is None
        if event["kind"] in ADJUSTMENTS:
            return "order_id" not in event or amount is None or amount <= 0
        return False

    def _park(self, body, reason):
        """Park an event that conflicts with what is known, for a reason or one of several; the same one sent again is parked once."""
        if isinstance(reason, tuple) and len(set(reason)) == 1:
            reason = reason[0]
        name = (body.get("source", ""), body.get("key", ""))
        if name + (content_of(body),) not in self.parked_once:
            self.parked_once.add(name + (content_of(body),))
            self.parked.append(name + (reason,))
        return Answer("conflict")

    def _event(self, body, new_id, now, arrived):
        """Make the event row of a tracked event, with its evidence."""
        event = Event(new_id, body["kind"], self._occurred(body, now, arrived), body["source"], body["key"])
        event.is_test = bool(body.get("test"))
        event.order_id = body.get("order_id")
        event.amount = body.get("amount")
        event.currency = body.get("currency")
        event.paid = event.kind == "order" and body.get("payment", "paid") == "paid"
        event.denied = measurement_denied(body)
        refs = body.get("order_refs")
        if refs is not None and not (isinstance(refs, list) and all(isinstance(r, str) and r for r in refs)):
            event.flags.add("malformed_refs")
        if body.get("visitor") and not event.denied:
            event.cookie = body["visitor"]
        token = self._request_token(body)
        if token:
            event.named_token = self.tokens.event_of(token, self.creator)
            event.bad_token = event.named_token is None
        if body.get("click_id"):
            event.named_click = canonical_uuid(body["click_id"])
            disagrees = event.named_token not in (None, event.named_click)
            event.bad_token = event.bad_token or event.named_click is None or disagrees
            if event.named_token:
                event.named_click = None
        if event.kind in ("visit", "click"):
            event.visitor = event.cookie or new_id
            event.channel = request_channel(body)
        return event

    def track(self, body, new_id, now=None, arrived=None):
        """Take an event: inserted, duplicate, merged, updated, conflict, or an error.

        now is the time that an event has which states none, arrived that of its arrival, which
        the model has to know where it may put the stated time right.
        """
        if self._refusal(body):
            return Answer(None, error="22023")
        name = (body["source"], body["key"])
        content = content_of(body)
        known = self.keys.get(name)
        if known is not None:
            if content in known.contents:
                return Answer("duplicate", {known.event.event_id, known.contents[content]})
            return self._revise(known, body, content, new_id, now, arrived)
        event = self._event(body, new_id, now, arrived)
        status = "inserted"
        if event.paid:
            status = self._sell(event, body, arrived)
        elif event.kind == "order":
            self._join(event, self._components(event, body))
        elif event.kind in ADJUSTMENTS:
            status = self._adjust(event, body)
        elif event.order_id is None and (event.kind in ("lead", "booking") or "goal" in body):
            event.goal = body.get("goal", event.kind)
            self.goals.append(event)
        if isinstance(status, Answer):
            return status
        self._store(event)
        self.keys[name] = Key(event, content, body.get("revision", 0), event.paid)
        return Answer(status, [new_id], made=True)

    # -- sales and their references --

    def _names(self, event, body):
        """Return the references that an event names; of a list that is none, only the order_id."""
        return {event.order_id} | set(() if "malformed_refs" in event.flags else body.get("order_refs") or ())

    def _components(self, event, body):
        """Return the components that an event's references are of; of new references a new one."""
        names = self._names(event, body)
        found = {id(self.refs[n]): self.refs[n] for n in names if n in self.refs}
        fresh = Component(event.order_id)
        fresh.refs = {n for n in names if n not in self.refs}
        return list(found.values()) + [fresh]

    @staticmethod
    def _sales(components):
        """Return the sales among components, the first booked first."""
        return sorted((c.sale for c in components if c.sale), key=lambda s: s.booked)

    @staticmethod
    def _latest(sales):
        """Return the sale that stays where several turn out to be one: the first booked that costs, or did once, what each of them does."""
        return next((s for s in sales if all(o.amount in s.amounts for o in sales)), None)

    @classmethod
    def _differ(cls, sales):
        """Return why sales cannot be one, as the reasons for parking what says so."""
        reasons = []
        if len({s.is_test for s in sales}) > 1:
            reasons.append("test_differs")
        if len({s.currency for s in sales}) > 1 or sales and cls._latest(sales) is None:
            reasons.append("order_differs")
        return tuple(reasons)

    def _join(self, event, components, looked_at=False, own=None):
        """Make one of components: of several sales the latest, or the own, stays, the money of the others is taken out.

        Sales that differ are not made one, unless somebody looked at them who knows better.
        """
        sales = self._sales(components)
        if own is None and self._differ(sales) and not looked_at:
            event.flags.add("refs_differ")
            return
        stays = own or self._latest(sales)
        sales.sort(key=lambda s: s is not stays)
        whole = next((c for c in components if c.sale and c.sale is sales[0]), None) if sales else components[0]
        for other in components:
            if other is not whole:
                whole.refs |= other.refs
        for name in whole.refs:
            self.refs[name] = whole
        for sale in sales[1:]:
            self.ledger.append(Entry(sale.order_id, "merged", -sale.amount, event, sale,
                                     {p: -v for p, v in sale.parts.items()}))
            sales[0].amounts |= sale.amounts
        for sale in sales[1:]:
            self._state(sales[0], sale.parts, event)

    def _state(self, sale, parts, event):
        """Add to a sale what was not stated of it before."""
        new = {p: v for p, v in parts.items() if p not in sale.parts}
        if new:
            sale.parts.update(new)
            self.ledger.append(Entry(event.order_id, "detail", 0, event, sale, new))

    @staticmethod
    def _parts(body):
        """Return what an order states of its parts."""
        return {p: body[p] for p in PARTS if body.get(p) is not None}

    def _sell(self, event, body, arrived):
        """Take a paid order under a new key: book it, or find it booked; return the status, or the answer where it conflicts."""
        components = self._components(event, body)
        sales = self._sales(components)
        reasons = []
        if any(s.is_test != event.is_test for s in sales):
            reasons.append("test_differs")
        if any(s.currency != event.currency or event.amount not in s.amounts for s in sales):
            reasons.append("order_differs")
        reasons += self._differ(sales)
        if reasons:
            return self._park(body, tuple(reasons))
        self._join(event, components, True)
        whole = self.refs[event.order_id]
        if not sales:
            whole.sale = Sale(event, arrived, self._parts(body))
            whole.order_id = event.order_id
            self.ledger.append(Entry(event.order_id, "order", event.amount, event, None, whole.sale.parts))
            return "inserted"
        self._state(whole.sale, self._parts(body), event)
        event.merged = True
        return "merged"

    def _adjust(self, event, body):
        """Take a refund, dispute or dispute won; return the status, or the answer where it cannot be taken."""
        components = self._components(event, body)
        sales = self._sales(components)
        if not sales and event.currency is None:
            return Answer(None, error="22023")
        reasons = self._differ(sales)
        if not reasons and sales:
            event.currency = event.currency or sales[0].currency
            if event.currency != sales[0].currency:
                reasons += ("currency_mismatch",)
            if event.is_test != sales[0].is_test:
                reasons += ("test_differs",)
        if reasons:
            return self._park(body, reasons)
        self._join(event, components)
        amount = event.amount if event.kind == "dispute_won" else -event.amount
        self.ledger.append(Entry(event.order_id, event.kind, amount, event))
        return "inserted"

    def _revise(self, known, body, content, new_id, now, arrived):
        """Take other content under a known key: another revision of an order, or a conflict."""
        revision = body.get("revision", 0)
        if known.event.kind != "order" or body["kind"] != "order" or revision in known.revisions:
            return self._park(body, "key_reused")
        event = self._event(body, new_id, now, arrived)
        mine = self.refs.get(known.event.order_id)
        if event.order_id != known.event.order_id and (mine is None or event.order_id not in mine.refs):
            return self._park(body, ("key_reused", "order_differs"))
        components = self._components(event, body)
        status = "updated"
        if revision < known.revision and (known.paid or not event.paid or self._sales(components)):
            event.merged = event.paid
            self._join(event, components)
            whole = self.refs.get(event.order_id)
            if event.paid and whole.sale and event.currency == whole.sale.currency:
                whole.sale.amounts.add(event.amount)
        elif known.paid:
            reasons = self._revision_differs(event, mine.sale, components)
            if reasons:
                return self._park(body, reasons)
            sale = mine.sale
            sale.amounts.add(event.amount)
            self._join(event, components, True, sale)
            changed = {p: v - sale.parts.get(p, 0) for p, v in self._parts(body).items()}
            self.ledger.append(Entry(event.order_id, "revision", event.amount - sale.amount, event, None, changed))
            sale.amount = event.amount
            sale.parts.update(self._parts(body))
        elif event.paid:
            status = self._sell(event, body, arrived)
            if isinstance(status, Answer):
                return status
            status = "updated" if status == "inserted" else status
            known.paid = True
            # what the key stands for from now on
            known.event = event
        else:
            self._join(event, components)
        self._store(event)
        known.contents[content] = new_id
        known.revision = max(revision, known.revision)
        known.revisions.add(revision)
        return Answer(status, {new_id} if event.merged else {new_id, known.event.event_id}, made=True)

    @staticmethod
    def _revision_differs(event, sale, components):
        """Return why a higher revision of a sale cannot be taken, as the reasons for parking."""
        if not event.paid:
            return ("key_reused", "currency_mismatch")[:1 + (event.currency != sale.currency)]
        reasons = []
        if event.currency != sale.currency:
            reasons.append("currency_mismatch")
        if event.is_test != sale.is_test:
            reasons.append("test_differs")
        for other in components:
            if other.sale and other.sale is not sale:
                if other.sale.is_test != event.is_test:
                    reasons.append("test_differs")
                if other.sale.currency != event.currency or other.sale.amount not in (sale.amount, event.amount):
                    reasons.append("order_differs")
        return tuple(reasons)

    def reject(self, body):
        """Note an event of a batch that cannot be taken at all: it is parked, the same one once."""
        self._park(body, "rejected")

    # -- what follows from the calls --

    def _path(self, conversion, events):
        """Find the touches of a conversion, or the reason why it has none."""
        by_token = {e.named_token for e in events if e.named_token}
        by_click = {e.named_click for e in events if e.named_click}
        named = by_token | by_click
        visitors = {e.cookie for e in events if e.cookie}
        contacts = [e for e in self.events.values() if e.kind in ("visit", "click")]
        visitors |= {e.visitor for e in contacts if e.event_id in named}
        pool = [
            e for e in contacts
            if (e.event_id in named or e.visitor in visitors) and e.occurred <= conversion.converted
            and (conversion.is_test or not e.is_test)
        ]
        opens = conversion.converted - self.lookback
        near = [e for e in pool if e.occurred >= opens]
        candidates = [e for e in near if not e.is_bot]
        if not candidates:
            if near:
                return [], "bots_only"
            if pool:
                return [], "outside_lookback"
            if any(e.bad_token for e in events):
                return [], "bad_token"
            if any(e.denied for e in events):
                return [], "consent"
            return [], "no_touch"

        groups = {}
        for event in candidates:
            groups.setdefault(event.visit_id or event.event_id, []).append(event)
        heads = []
        for members in groups.values():
            clicks = [e for e in members if e.kind == "click"]
            pointed = [e for e in clicks if e.event_id in named]
            heads.append((max(pointed or clicks or members, key=Event.rank), members))
        heads.sort(key=lambda head: head[0].rank())

        runs = []
        current = {}
        for event, members in heads:
            if event.link is not None:
                run = current.get((event.visitor, event.link))
                if run is not None and event.occurred - run[0].occurred < self.repeat_window:
                    run[1].extend(members)
                    continue
            run = (event, list(members))
            runs.append(run)
            if event.link is not None:
                current[event.visitor, event.link] = run

        touches = []
        for event, members in runs:
            ids = {e.event_id for e in members}
            evidence = "token" if ids & by_token else "click_id" if ids & by_click else "visitor"
            touches.append(Touch(event, evidence))
        touches.sort(key=lambda touch: touch.event.rank())
        return touches[-self.max_touches:], None

    def component_of(self, order_id):
        """Return the component that a reference is of, or None."""
        return self.refs.get(order_id)

    def components(self):
        """Return all components, in the order in which their first reference came."""
        return list({id(c): c for c in self.refs.values()}.values())

    def basis(self, paid, refunded, parts):
        """Return (gross, net) as the creator counts revenue, of what was paid, refunded and stated of the parts."""
        gross = max(paid - sum(parts.get(p, 0) for p in self.excludes), 0)
        if refunded < 0 or paid == 0:
            refunds = refunded
        elif refunded >= paid:
            refunds = gross + refunded - paid
        else:
            refunds = (2 * refunded * gross + paid) // (2 * paid)
        return gross, gross - refunds

    def _money(self, conversion, whole):
        """Set the gross and net of a sale's conversion from the ledger."""
        paid = refunded = 0
        parts = {}
        for entry in self.ledger:
            sale = whole.sale
            if entry.order_id not in whole.refs or (entry.currency, entry.is_test) != (sale.currency, sale.is_test):
                continue
            if entry.kind in ADJUSTMENTS:
                refunded -= entry.amount
            else:
                paid += entry.amount
            for part, value in entry.parts.items():
                parts[part] = parts.get(part, 0) + value
        assert paid == whole.sale.amount, "the ledger has another amount than the sale"
        assert all(whole.sale.parts.get(p, 0) == v for p, v in parts.items()), "the ledger has other parts than the sale"
        conversion.gross, conversion.net = self.basis(paid, refunded, parts)

    def conversions(self):
        """Work out every conversion, tests included, with touches and money."""
        result = []
        named = {}
        for event in self.events.values():
            if event.order_id is not None and event.kind not in ("visit", "click") + ADJUSTMENTS:
                named.setdefault(id(self.refs.get(event.order_id)), []).append(event)
        for whole in self.components():
            if whole.sale is None:
                continue
            events = named[id(whole)]
            conversion = Conversion()
            conversion.conversion_id = whole.sale.event.event_id
            conversion.order_id = whole.order_id
            conversion.refs = whole.refs
            conversion.source = whole.sale.event.source
            conversion.goal = conversion.kind = "order"
            conversion.currency = whole.sale.currency
            conversion.converted = min(e.occurred for e in events if e.paid)
            conversion.is_test = whole.sale.is_test
            self._money(conversion, whole)
            conversion.touches, conversion.reason = self._path(conversion, events)
            result.append(conversion)
        for event in self.goals:
            conversion = Conversion()
            conversion.conversion_id = event.event_id
            conversion.source = event.source
            conversion.goal = event.goal
            conversion.kind = event.kind
            conversion.converted = event.occurred
            conversion.is_test = event.is_test
            conversion.gross = conversion.net = GOAL_UNITS
            conversion.touches, conversion.reason = self._path(conversion, [event])
            result.append(conversion)
        return result

    def loose_money(self):
        """Return the ledger's money that is of no conversion, by sale to be, currency and test, as conversions without id."""
        groups = {}
        for entry in self.ledger:
            whole = self.refs[entry.order_id]
            if whole.sale and (whole.sale.currency, whole.sale.is_test) == (entry.currency, entry.is_test):
                continue
            loose = groups.get((id(whole), entry.currency, entry.is_test))
            if loose is None:
                loose = groups[id(whole), entry.currency, entry.is_test] = Conversion()
                loose.conversion_id, loose.order_id, loose.currency = None, whole.order_id, entry.currency
                loose.is_test, loose.converted, loose.refs = entry.is_test, entry.occurred, whole.refs
                loose.gross = loose.net = 0
            loose.converted = min(loose.converted, entry.occurred)
            loose.net += entry.amount
        for loose in groups.values():
            loose.reason = "over_refunded" if loose.net < 0 else "no_touch"
        return list(groups.values())

    def attribution(self, conversion, model):
        """Return (touch, position, share, credit, gross credit) for each touch under a model."""
        touched = [t.event.occurred for t in conversion.touches]
        direct = [t.event.channel == "direct" for t in conversion.touches]
        weights = weights_of(model, touched, conversion.converted, self.half_life, direct=direct)
        total = sum(weights)
        net = split(max(conversion.net, 0), weights, touched)
        gross = split(conversion.gross, weights, touched)
        return [
            (touch, i + 1, Fraction(weights[i], total), net[i], gross[i])
            for i, touch in enumerate(conversion.touches)
        ]

    @staticmethod
    def unattributed(conversion):
        """Return (amount, reason) of the money that no touch gets, or None."""
        if conversion.net < 0:
            return (conversion.net, "over_refunded")
        if not conversion.touches:
            return (conversion.net, conversion.reason)
        return None

    def performance(self, model, place=None, begins=None, ends=None):
        """Return {channel: row} of money per currency, shares of orders and of goals, and traffic.

        place(channel, time) names another row than the channel; the range is half-open.
        """
        rows = {}
        place = place or (lambda channel, at: channel)

        def inside(at):
            """Return whether a time is in the range."""
            return (begins is None or at >= begins) and (ends is None or at < ends)

        def row(channel):
            """Return the row of a channel, made on first use."""
            return rows.setdefault(channel, {"money": {}, "conversions": Fraction(0), "leads": Fraction(0),
                                             "visits": 0, "clicks": 0, "bot_clicks": 0})

        def add(channel, conversion, share, gross, net):
            """Add a share of a conversion to a channel."""
            line = row(place(channel, conversion.converted))
            if conversion.order_id is None:
                line["leads"] += share
                return
            line["conversions"] += share
            money = line["money"].setdefault(conversion.currency, [0, 0])
            money[0] += gross
            money[1] += net

        for event in self.events.values():
            if event.kind in ("visit", "click") and not event.is_test and inside(event.occurred):
                line = row(place(event.channel, event.occurred))
                if event.kind == "click" and event.is_bot:
                    line["bot_clicks"] += 1
                elif not event.is_bot:
                    line[event.kind + "s"] += 1
        for conversion in self.conversions():
            if conversion.is_test or not inside(conversion.converted):
                continue
            for touch, _, share, net, gross in self.attribution(conversion, model):
                add(touch.event.channel, conversion, share, gross, net)
            rest = min(conversion.net, 0)
            if not conversion.touches:
                add(UNATTRIBUTED, conversion, Fraction(1), conversion.gross, conversion.net)
            elif rest:
                add(UNATTRIBUTED, conversion, Fraction(0), 0, rest)
        for loose in self.loose_money():
            if not loose.is_test and inside(loose.converted):
                add(UNATTRIBUTED, loose, Fraction(0), loose.gross, loose.net)
        return rows


def token_epoch(token):
    """Return the key epoch inside a token's text."""
    return int.from_bytes(base64.urlsafe_b64decode(token[:8])[2:4], "big")


def token_event_id(token):
    """Return the event id inside a token's text, whatever its tag."""
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    return canonical_uuid(raw[4:20].hex())
