"""Makes random values as SQL expressions.

This file owns what arguments look like: typed values, extreme ones, and JSON that is right, nearly
right or wrong in the shapes that the manual describes.

Invariants:
- Every value is an expression with its type written out, that psql takes as it is; large ones are
  short expressions such as repeat('x', 1000000).
- A value says whether the expression itself may fail; a call with sure values only is judged more
  strictly.
- What the random numbers decide does not depend on answers of the database: the tokens and ids
  that come back go into numbered slots, and a seed chooses slots.
"""

import base64
import glob
import json
import os
import re
import struct

MIB = 1024 * 1024
SLOTS = 24


def quote(text):
    """Write a text as an SQL literal that means the same under every setting."""
    if "\\" in text or any(ord(c) < 32 for c in text):
        text = text.replace("\\", "\\\\").replace("'", "''")
        return "E'%s'" % re.sub("[\x01-\x1f]", lambda m: "\\x%02x" % ord(m.group()), text)
    return "'%s'" % text.replace("'", "''")


class Value:
    """One argument: the expression, whether it is sure to work, and simpler values to try instead."""

    __slots__ = ("has_call", "is_null", "simpler", "sql", "sure")

    def __init__(self, sql, sure=True, simpler=None, has_call=(), is_null=False):
        """Keep the parts; simpler is a function that returns values, has_call the functions within."""
        self.sql, self.sure, self.simpler, self.has_call, self.is_null = sql, sure, simpler, has_call, is_null


class Raw:
    """A piece of JSON written as it is; sure tells whether jsonb takes it."""

    def __init__(self, text, sure=True):
        """Keep the piece."""
        self.text, self.sure = text, sure


class Pairs:
    """A JSON object as a list of pairs, so that a key can stand in it twice."""

    def __init__(self, pairs):
        """Keep the pairs."""
        self.pairs = list(pairs)


def is_sure(data):
    """Tell whether jsonb takes a JSON value."""
    if isinstance(data, Raw):
        return data.sure
    if isinstance(data, str):
        return "\0" not in data
    if isinstance(data, Pairs):
        return all("\0" not in k and is_sure(v) for k, v in data.pairs)
    if isinstance(data, list):
        return all(is_sure(item) for item in data)
    return True


def dump(data, escape=False):
    """Write JSON."""
    if isinstance(data, Raw):
        return data.text
    if isinstance(data, Pairs):
        return "{%s}" % ", ".join("%s: %s" % (json.dumps(k, ensure_ascii=escape), dump(v, escape)) for k, v in data.pairs)
    if isinstance(data, list):
        return "[%s]" % ", ".join(dump(item, escape) for item in data)
    return json.dumps(data, ensure_ascii=escape)


def smaller(data):
    """Yield the same JSON with one part left out or made plain."""
    if isinstance(data, Pairs):
        for i, (key, value) in enumerate(data.pairs):
            yield Pairs(data.pairs[:i] + data.pairs[i + 1:])
        for i, (key, value) in enumerate(data.pairs):
            for less in smaller(value):
                yield Pairs(data.pairs[:i] + [(key, less)] + data.pairs[i + 1:])
    elif isinstance(data, list):
        for i, item in enumerate(data):
            yield data[:i] + data[i + 1:]
        for i, item in enumerate(data):
            for less in smaller(item):
                yield data[:i] + [less] + data[i + 1:]
    elif isinstance(data, str) and len(data) > 8:
        yield data[:len(data) // 2]
        yield data[len(data) // 2:]


STRANGE_TEXTS = [
    "", " ", "\t", "\n", "NULL", "null", "0", "-1", "true", "{}", "[]", "'", "''; DROP TABLE biolink.event; --", '"', "\\", "\\x00", "%", "%s%s%s%n", "%1$s",
    "$1", "$$", "{", "}", "{NULL}", "a,b", "..", "/", "//", "://", "?", "#", "&", "=", "@", "*", "~", "\x01", "\x1f\x7f", "\r\n", "\u0085", "\u00a0", "\u200b\u200d",
    "\u202e", "\ufeff", "\ufffd", "\uffff", "\U0001f600" * 3, "\U0010ffff", "e\u0301", "\u0130\u0131\u00df\u017f", "日本語", "मराठी", "עברית", "x" * 63, "x" * 64, "x" * 65,
    "ä" * 100, "a.b@c.example", "+49 170 1234567", "=?utf-8?q?x?=", "1e999", "NaN", "Infinity", "0x10", "1_000", "٣", "2026-03-01", "25:00", "infinity", "epoch", "now",
]
COUNTRIES = ["DE", "US", "de", "XX", "Germany", "", "\u2603"]
PLATFORMS = ["instagram", "tiktok", "youtube", "X", "", "unknown", "Insta gram"]
CURRENCIES = ["USD", "EUR", "JPY", "KWD", "usd", "EU", "EURO", "", "XTS", "€"]
AGENTS = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 320.0.0.34.109",
    "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/120.0 Safari/537.36 Edg/120.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "facebookexternalhit/1.1", "curl/8.0", "python-requests/2.31", "HeadlessChrome", "()()(((", "",
    "Mozilla/5.0 (" + "x; " * 200, "Mozilla/" + "9" * 300,
]
URLS = [
    "https://shop.example/a", "http://shop.example", "https://bio.example/mia?utm_source=Instagram&utm_medium=social&fbclid=abc", "https://shop.example/?bl=", "https://shop.example/?a=1&a=2&&=&b",
    "HTTPS://SHOP.EXAMPLE:8443/p%20q?x=%ff%00%zz#frag#frag", "https://user:pass@shop.example/", "https://shop.example@evil.example/", "//shop.example/x", "/only/path?utm_source=x", "?utm_source=tiktok",
    "javascript:alert(1)", "ftp://x.example/", "https://", "https:///x", "https://[::1]:443/x", "https://[::1/x", "https://例え.テスト/道?q=値", "https://shop.example:99999/", "https://shop.example:/",
    "https://shop.example./", "https://a..b/", "https://shop.example\\@evil.example/", "https://shop.example/\t\n", "https://shop.example/?" + "utm_x%d=1&" * 3 % (1, 2, 3),
    "https://shop.example/?utm_source=" + "%41" * 400, "https://shop.example/?" + "&" * 500, "https://" + "a." * 120 + "example/", "mailto:a.b@c.example",
    "https://shop.example/?utm_source=a.b%40c.example&gclid=x&ttclid=y&utm_id=+49%20170%201234567",
]
REFERRERS = ["https://www.google.co.uk/search?q=x", "https://www.google.de/", "https://news.google.com/", "https://google.evil.example/", "https://m.facebook.com/", "https://l.instagram.com/?u=x", "https://t.co/abc", "https://out.reddit.com/",
             "https://duckduckgo.com/", "https://mail.yahoo.com/", "android-app://com.google.android.gm/", "https://www.bing.com/search", "https://bio.example/mia", "https://checkout.stripe.com/", "https://yandex.com.tr/", "https://www.amazon.co.jp/"]
ZONES = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns", "CEST", "EST5EDT", "+05:30", "<+13>-13", "posix/UTC", "localtime", "../etc/passwd", "Factory", "", "utc", "UTC\n",
         "/etc/passwd", "x" * 300]
KINDS = (["order", "refund", "dispute", "dispute_won", "lead", "booking", "visit", "click", "claim", "exposure", "impression", "custom", "session", "redirect", "receipt", "email", "phone", "visitor"], ["Order", "order ", ""])
MODELS = (["first", "last", "last_non_direct", "linear", "position", "time_decay", "custom"], ["First", "", "markov"])
DIMENSIONS = (["day", "week", "month", "hour", "weekday", "channel", "medium", "source", "campaign", "platform", "post", "link", "offer", "device", "country", "tier", "goal"], ["code", "year", "", "day; --", "Day"])
BASES = (["conversion", "click"], ["touch", ""])
JOBS = (["attribute", "maintain", "fold", "reconcile", "check_health", "promote", "outbox"], ["Attribute", "", "no such job"])
PURPOSES = (["token", "token-ed25519", "identity", "paseto", "webhook", "seal", "digest", "day"], ["analytics", ""])
SETTINGS_KEYS = ["lookback", "session_token_ttl", "redirect_token_ttl", "repeat_window", "half_life", "max_touches"]
# What a parameter or column of a name usually holds, and what it should not.
BY_NAME = {
    "kind": KINDS, "model": MODELS, "model_name": MODELS, "basis": BASES, "time_basis": BASES, "time_zone": (ZONES[:5], ZONES), "zone": (ZONES[:5], ZONES), "currency": (CURRENCIES[:4], CURRENCIES),
    "only_currency": (CURRENCIES[:4], CURRENCIES), "algorithm": (["hmac", "ed25519"], ["HMAC", "none", ""]), "audience": (["", "shop"], ["shop.example"]), "name": JOBS, "job": JOBS, "job_name": JOBS, "url": (URLS[:4], URLS),
    "base": (URLS[:4], URLS), "location": (URLS[:4], URLS), "user_agent": (AGENTS, AGENTS), "purpose": PURPOSES, "by": DIMENSIONS, "by_dimensions": DIMENSIONS,
    "source": (["shop", "stripe", "import"], ["biolink", "biolink:visit", "biolink:revision", "a.b@c.example", ""]), "reason": (["heartbeat", "no event", "rejected"], ["key_reused", "order_differs", "currency_mismatch", ""]),
    "profile": (["biolink", "uid2", "google", "meta", "tiktok", "pinterest"], ["none"]), "scheme": (["stripe", "shopify", "standard", "github"], ["hmac-sha256", ""]),
    "topic": (["orders/paid", "orders/create", "orders/updated", "orders/cancelled", "orders/edited", "refunds/create", "order_transactions/create", "disputes/create", "disputes/update"], ["", "ORDERS/PAID", "app/uninstalled"]), "format": (["json", "csv", "jsonl"], [""]), "state": (["active", "retiring"], ["revoked", "done"]), "platform": (PLATFORMS[:3], PLATFORMS),
    "secrets": (["whsec_c2VjcmV0", "s3cret"], ["", "x" * 1001]), "label": (["webhook", "parked"], ["", "x" * 400, "x" * 401]), "token_form": (["token", "click_id"], ["none"]), "token_param": (["bl", "", "t"], ["a b"]), "calling_code": (["49", "1", "+49"], ["0", ""]), "handle": (["mia", "new"], [""]),
    "role_name": (["postgres", "biolink_app"], ["biolink_random_analyst", "nobody at all"]),
}
TIMES = ["infinity", "-infinity", "294276-12-31 23:59:59.999999+00", "4713-01-01 00:00:00+00 BC", "1970-01-01 00:00:00+00", "1969-12-31 23:59:59.999999+00", "10889-08-02 05:31:50.655+00", "10889-08-02 05:31:50.656+00",
         "2000-01-01 00:00:00+00", "2026-03-29 01:30:00+01", "2026-10-25 02:30:00+01", "2038-01-19 03:14:08+00", "2106-02-07 06:28:16+00", "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00", "10000-01-01 00:00:00+00"]
INTERVALS = ["0", "1 microsecond", "-1 microsecond", "1 second", "30 minutes", "1 day", "-1 day", "7 days", "30 days", "1 month", "1 year", "-1 month", "1 month -30 days", "100 years", "178000000 years", "-178000000 years",
             "2147483647 days", "-2147483648 days", "2562047788 hours", "-2562047788 hours", "2147483647 months 2147483647 days 2562047788 hours", "-2147483648 months -2147483648 days -2562047788 hours", "0.000001 seconds"]
SPANS = ["30 days", "1 day", "5 minutes", "100 years", "101 years", "-1 day", "0", "1 month", "P1D", "1 microsecond", "infinity", "forever", "", "9999999999 days", "1 day; x", "30 DAYS ago"]
INT8 = [0, 1, -1, 2, 7, 10, 99, 100, 255, 256, 1000, 65535, 65536, 2**31 - 1, 2**31, -2**31, 2**32, 2**40 - 1, 2**40, 2**48 - 1, 2**48, 2**53, 2**62, 2**63 - 1, -2**63, -2**63 + 1, 10**18]
FLOATS = ["0", "-0", "1", "-1", "0.5", "1e-300", "1e300", "5e-324", "1.7976931348623157e308", "NaN", "Infinity", "-Infinity", "0.1", "3", "1e15"]
NUMERICS = ["0", "1", "-1", "0.5", "NaN", "1e100", "-1e100", "1e-100", "123456789012345678901234567890.123456789", "9223372036854775808"]
UUIDS = ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "c232ab00-9414-11ec-b3c8-9e6bdeced846", "919108f7-52d1-4320-9bac-f847db4148a8", "00000000-0000-7000-8000-000000000000",
         "ffffffff-ffff-7fff-bfff-ffffffffffff", "0195-4b2e6c00-7000-8000-000000000001".replace("0195-4b2e6c00", "01954b2e-6c00"), "01954b2e-6c00-7000-0000-000000000001", "01954b2e-6c00-7000-c000-000000000001",
         "f954a000-0000-7000-8000-000000000000", "00000000-0001-7abc-8def-0123456789ab"]
STRANGE_JSON = [
    Raw("null"), Raw("true"), Raw("0"), Raw("-0"), Raw("1e5"), Raw("1.50"), Raw("9223372036854775807"), Raw("9223372036854775808"), Raw("-9223372036854775809"), Raw("1e300"), Raw("0.1e-300"), Raw("1" * 200),
    Raw("1e130000"), Raw("\"\\ud83d\\ude00\""), Raw("{\"a\\u0062\": 1, \"ab\": 2}"), Raw("[]"), Raw("{}"),
    Raw("[[]]"), Raw("[null]"), Raw("\"\""), Raw("{\"\": \"\"}"), Raw("[" * 200 + "]" * 200), Raw("{\"a\":" * 150 + "1" + "}" * 150), Raw("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
]

# The keys of what is passed as JSON.
KEYS = {
    "request": ["user_agent", "method", "url", "referrer", "headers", "ip", "country", "region", "city", "language", "platform", "post", "caption", "visitor", "token", "campaign", "decision_id", "slot", "signals", "consent", "test",
                "key", "occurred_at"],
    "event": ["kind", "source", "key", "occurred_at", "sent_at", "revision", "token", "click_id", "visitor", "url", "identifiers", "codes", "consent", "order_id", "order_refs", "order_type", "subscription_id", "payment", "amount", "tax",
              "shipping", "fee", "currency", "items", "offer_id", "link_id", "goal", "test", "context"],
    "settings": SETTINGS_KEYS, "report": ["report_id", "currency", "period", "lines", "totals"], "consent": ["measurement", "identity", "personalization", "export", "evidence"], "subject": ["token", "click_id", "visitor"],
    "headers": ["Sec-Purpose", "webhook-id", "webhook-timestamp", "webhook-signature"], "params": ["utm_source", "a"],
}
WRONG = (Raw("null"), True, 1, Raw("-1.5"), Raw("1e300"), "", "x", "x" * 300, [], ["x"], Pairs([]), Pairs([("x", Pairs([]))]))
# What jsonb itself refuses.
NO_JSON = [Raw("1e140000", False), Raw("\"\\u0000\"", False), Raw("\"\\ud83d\"", False), Raw("\"\\ude00x\"", False), Raw("[1,]", False), Raw("nul", False), Raw("", False)]


def harvested_words(catalog, top):
    """Return the words that the functions' comments, bodies and C sources write in quotes, sorted."""
    words = set()
    for function in catalog.functions:
        words.update(re.findall(r"[\"']([A-Za-z][A-Za-z0-9_ :.-]{1,24})[\"']", function.comment))
        words.update(re.findall(r"\b[a-z]+_[a-z_]+\b", function.comment))
        if function.language in ("sql", "plpgsql"):
            words.update(re.findall(r"'([A-Za-z][A-Za-z0-9_ :.-]{1,24})'", function.source))
    for path in sorted(glob.glob(os.path.join(top, "src", "*.c"))):
        with open(path, encoding="utf-8") as file:
            words.update(re.findall(r"\"([A-Za-z][A-Za-z0-9_ :./-]{1,24})\"", file.read()))
    return sorted(words)


class World:
    """What the set-up made and what answers brought: creators, links, tokens, ids in numbered slots."""

    def __init__(self):
        """Begin empty; setup.py fills it."""
        self.creators, self.victims, self.slugs, self.ids = [], [], ["a"], [1]
        self.relations = ["pg_catalog.pg_class"]
        self.leaves = ["event_default"]
        self.tokens = [""] * SLOTS
        self.uuids = [UUIDS[4]] * SLOTS
        self.hashes = ["%032x" % i for i in range(SLOTS)]
        self.seen = 0

    def harvest(self, answer):
        """Put tokens, event ids and hashes of an answer into the next slots."""
        for row in answer.rows[:3]:
            for value in row:
                if not value or len(value) > 300:
                    continue
                text = value.decode("utf-8", "replace").strip("()\"")
                for word in text.split(","):
                    self.seen += 1
                    if re.fullmatch(r"[A-Za-z0-9_-]{60,140}", word) and len(word) in (60, 76, 124, 140):
                        self.tokens[self.seen % SLOTS] = word
                    elif re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", word):
                        self.uuids[self.seen % SLOTS] = word
                    elif re.fullmatch(r"[0-9a-f]{32}", word):
                        self.hashes[self.seen % SLOTS] = word


class Values:
    """Makes values of any type."""

    def __init__(self, rng, catalog, world, words):
        """Keep where to look."""
        self.rng, self.catalog, self.world, self.words = rng, catalog, world, words
        self.executable_by = None
        self.tame, self.length, self.about = False, 1, ""
        self.sent = {"request": [], "event": []}
        self.topic = ""
        self.messages = {
            "Stripe": {"event": self.stripe_message, "object": self.stripe_object, "value": self.stripe_object, "refund": self.stripe_refund, "charge": self.stripe_charge, "seen": self.stripe_seen, "pairs": self.hints},
            "Shopify": {"body": self.shopify_body, "object": self.shopify_order, "transaction": self.shopify_transaction},
            "from_stripe": {"object": self.stripe_object, "refund": self.stripe_refund, "charge": self.stripe_charge, "seen": self.stripe_seen},
            "from_shopify": {"body": self.shopify_body, "object": self.shopify_order, "transaction": self.shopify_transaction},
        }
        self.makers = {
            "bigint": self.bigint, "integer": self.integer, "smallint": self.smallint, "boolean": self.boolean, "text": self.text, "name": self.name, "bytea": self.bytea,
            "character varying": self.text, "character": self.text, "uuid": self.uuid, "jsonb": self.jsonb, "json": self.json, "double precision": self.float8, "real": self.float4, "numeric": self.numeric,
            "timestamp with time zone": self.timestamptz, "timestamp without time zone": self.timestamptz, "date": self.date, "interval": self.interval, "regclass": self.regclass, "oid": self.oid,
            "xid8": self.xid8, "cstring": self.cstring, "biolink.token": self.token, "biolink.idhash": self.idhash, "inet": self.inet, "\"char\"": self.char, "internal": self.nothing,
        }

    # -- choices --

    def odds(self, chance):
        """Return true with a probability."""
        return self.rng.random() < chance

    def below(self, low, high=None):
        """Return a whole number below one, or from one to below another, of one random number whatever they are."""
        low, high = (0, low) if high is None else (low, high)
        return low + int(self.rng.random() * (high - low))

    def pick(self, items):
        """Return one of several."""
        return items[self.below(len(items))]

    def begin_call(self, function):
        """Begin the arguments of a call: tame ones are all as they should be, so that the call does its work."""
        self.tame, self.length, self.about = self.odds(0.55), self.pick([0, 1, 2, 3, 3, 7, 60]), function.comment

    def usually(self, usual, odd):
        """Return a usual thing or, in calls that are not tame, once in a while an odd one."""
        return self.pick(odd if self.odds(0.35) and not self.tame else usual)

    # -- any type --

    def value(self, kind, name="", depth=0):
        """Return a value of a type for a parameter of a name; a call of ours where one gives this type."""
        if depth < 2 and self.odds(0.05):
            nested = self.nested(kind, depth)
            if nested:
                return nested
        if self.odds(0.06) and not (self.tame and name):
            return Value("NULL::%s" % kind if kind not in ("internal", "trigger", "any") else "NULL", is_null=True)
        if kind in ("anyelement", "any", "anynonarray", "anycompatible"):
            return self.value(self.pick(["bigint", "text", "jsonb", "biolink.token"]), name, depth)
        if kind in ("anyarray", "anycompatiblearray"):
            return self.value(self.pick(["bigint[]", "text[]", "uuid[]"]), name, depth)
        if kind.endswith("[]"):
            return self.array(kind, name, depth)
        if kind in self.makers:
            return self.makers[kind](name)
        if kind in self.catalog.types:
            return self.own_type(self.catalog.types[kind], name, depth)
        return Value("NULL::%s" % kind, is_null=True)

    def listed(self, kind, name):
        """Return one value for each entry of the lists that hold for a type and a name."""
        if kind.endswith("[]"):
            return [Value("ARRAY[%s]::%s" % (value.sql, kind), value.sure) for value in self.listed(kind[:-2], name)]
        if kind in ("text", "cstring"):
            usual, odd = BY_NAME.get(name, ([], []))
            return [Value("%s::%s" % (quote(text), kind)) for text in dict.fromkeys(usual + odd + STRANGE_TEXTS)]
        if kind == "json":
            # one event for each wrong value, those of a key together
            arrays = [[Pairs([(k, v) for k, v in self.event().pairs if k != key] + [(key, wrong)]) for wrong in WRONG] for key in KEYS["event"]] if name == "events" else []
            return [self.as_value(data, kind) for data in STRANGE_JSON + NO_JSON + [list(STRANGE_JSON), [list(STRANGE_JSON)]] + arrays]
        if kind == "jsonb":
            shape = self.shape(name)
            if not shape:
                return [self.as_value(data) for data in STRANGE_JSON]
            return [self.as_value(data) for data in STRANGE_JSON[:12]] + [
                self.as_value(Pairs([(k, v) for k, v in shape().pairs if k != key] + [(key, wrong)]))
                for key in KEYS.get(name, ()) for wrong in WRONG]
        lists = {"bigint": INT8, "timestamp with time zone": TIMES, "interval": INTERVALS, "double precision": FLOATS, "uuid": UUIDS, "numeric": NUMERICS, "integer": [0, 1, -1, 10, 2**31 - 1, -2**31]}
        return [Value("'%s'::%s" % (item, kind)) for item in lists.get(kind, ())]

    def nested(self, kind, depth):
        """Return a call whose result has the type, or nothing."""
        known = [(f, field) for f, field in self.catalog.producers.get(kind, ())
                 if self.executable_by in f.executable_by or self.executable_by is None]
        if not known:
            return None
        function, field = self.pick(known)
        arguments = [self.value(t, n, depth + 1) for t, n in zip(function.types, function.parameters)]
        sql = function.written(a.sql for a in arguments)
        return Value("(%s).%s" % (sql, field) if field else sql, False,
                     lambda: arguments_of(kind, arguments), (function,) + tuple(c for a in arguments for c in a.has_call))

    def own_type(self, row, name, depth):
        """Return a value of an enumeration, domain or row type of the extension."""
        if row["kind"] == "e":
            return Value("%s::%s" % (quote(self.pick(row["labels"])), row["name"]))
        if row["kind"] == "d":
            inner = self.value(row["base"], name, depth)
            return Value("(%s)::%s" % (inner.sql, row["name"]), False, None, inner.has_call)
        if row["kind"] == "c":
            if self.odds(0.3):
                return Value("pg_catalog.jsonb_populate_record(NULL::%s, %s::jsonb)" % (
                    row["name"], quote(dump(Pairs([(f, self.strange_json()) for f, _ in row["fields"] if self.odds(0.4)])))), False)
            fields = [self.value(kind, field, depth + 1) for field, kind in row["fields"]]
            return Value("ROW(%s)::%s" % (", ".join(f.sql for f in fields), row["name"]), all(f.sure for f in fields),
                         None, tuple(c for f in fields for c in f.has_call))
        return Value("%s::%s" % (quote(self.strange_text()), row["name"]), False)

    def array(self, kind, name, depth):
        """Return an array: empty, short, with NULLs, of several dimensions, with other bounds, or huge."""
        element = kind[:-2]
        if self.tame:
            items = [self.value(element, name, 2) for _ in range(self.length if name not in ("by", "by_dimensions") else self.below(4))]
            return Value("ARRAY[%s]::%s" % (", ".join(i.sql for i in items), kind), all(i.sure for i in items),
                         lambda: [Value("ARRAY[%s]::%s" % (", ".join(i.sql for i in items[:n] + items[n + 1:]), kind)) for n in range(len(items))])
        shape = self.rng.random()
        if shape < 0.08:
            return Value("'{}'::%s" % kind)
        if shape < 0.12:
            item = self.value(element, name, 2)
            return Value("pg_catalog.array_fill(%s, ARRAY[%d])" % (item.sql, self.pick([50, 51, 1000, 20000])), item.sure)
        if shape < 0.18:
            item = self.value(element, name, 2)
            return Value("pg_catalog.array_fill(%s, ARRAY[%s], ARRAY[%s])" % ((item.sql,) + self.pick([
                ("2,3", "1,1"), ("1,1,1,1,1,1", "1,1,1,1,1,1"), ("3", "0"), ("3", "-2147483648"), ("2,2", "-5,7"), ("1", "2147483640")])), item.sure)
        items = [self.value(element, name, depth + 1) for _ in range(self.pick([1, 1, 2, 2, 3, 5, 12]))]
        if shape < 0.24:
            return Value("ARRAY[[%s],[%s]]::%s" % (items[0].sql, items[-1].sql, kind), all(i.sure for i in items))
        calls = tuple(c for i in items for c in i.has_call)
        return Value("ARRAY[%s]::%s" % (", ".join(i.sql for i in items), kind), all(i.sure for i in items),
                     lambda: [Value("ARRAY[%s]::%s" % (", ".join(i.sql for i in items[:n] + items[n + 1:]), kind)) for n in range(len(items))], calls)

    # -- scalar types --

    def nothing(self, _name):
        """Return what a parameter of type internal might be given by mistake."""
        return Value(self.pick(["NULL", "'x'", "''", "0", "NULL::internal", "'x'::internal"]), False)

    def bigint(self, name):
        """Return a bigint; of a known row where the name says so."""
        if name in ("creator_id", "creator", "creators") and (self.tame or self.odds(0.9)):
            # much of it of one, so that orders, keys and visitors meet
            number = self.world.creators[0] if self.odds(0.5) else self.pick(self.world.creators)
        elif name.endswith("_id") and (self.tame or self.odds(0.6)):
            number = self.pick(self.world.ids[:6] if self.tame else self.world.ids)
        elif self.tame:
            number = self.pick([0, 1, 100, 1999, -1999, 5000])
        elif self.odds(0.5):
            number = self.pick(INT8)
        else:
            number = self.below(-5, 20) if self.odds(0.5) else self.below(-2**63, 2**63)
        return Value("%s::bigint" % (number if number >= 0 else "'%d'" % number), simpler=lambda: [Value("0::bigint"), Value("1::bigint")])

    def integer(self, name):
        """Return an integer; a small one where it limits something."""
        number = self.pick([1, 2, 3, 10]) if self.tame else self.pick([0, 1, 2, 3, 10, 100, -1, 1000]) if self.odds(0.6) else self.pick([2**31 - 1, -2**31, 65535, 65536, 12345678, -7])
        return Value("%s::integer" % (number if number >= 0 else "'%d'" % number), simpler=lambda: [Value("0::integer"), Value("1::integer")])

    def smallint(self, _name):
        """Return a smallint."""
        return Value("'%d'::smallint" % self.pick([0, 1, -1, 32767, -32768, 10]))

    def boolean(self, _name):
        """Return a truth value."""
        return Value(self.pick(["true", "false"]))

    def float8(self, _name, kind="double precision"):
        """Return a double."""
        number = repr(self.below(1, 1000) / 8) if self.tame else self.pick(FLOATS) if self.odds(0.6) else repr(self.below(-100, 1000) / 8)
        return Value("'%s'::%s" % (number, kind), simpler=lambda: [Value("'1'::%s" % kind)])

    def float4(self, name):
        """Return a single."""
        return Value("(%s)::real" % self.float8(name).sql, False)

    def numeric(self, _name):
        """Return a numeric."""
        return Value("'%s'::numeric" % self.pick(NUMERICS))

    def bytea(self, _name):
        """Return bytes."""
        choice = self.rng.random()
        if choice < 0.3 or self.tame:
            return Value("E'\\\\x%s'::bytea" % bytes(self.below(256) for _ in range(32)).hex())
        if choice < 0.9:
            return Value("E'\\\\x%s'::bytea" % bytes(self.below(256) for _ in range(self.pick([0, 1, 16, 31, 33, 64, 300]))).hex())
        return Value("pg_catalog.decode(pg_catalog.repeat('00ff', %d), 'hex')" % self.pick([1000, 500000]))

    def uuid(self, _name):
        """Return a UUID: known, strange, or random of version 7 or another."""
        choice = self.rng.random()
        if choice < 0.45 or self.tame:
            text = self.pick(self.world.uuids)
        elif choice < 0.75:
            text = self.pick(UUIDS)
        else:
            text = "%032x" % self.rng.getrandbits(128)
            if self.odds(0.7):
                text = "0195%s7%s8%s" % (text[4:12], text[13:16], text[17:])
        return Value("'%s'::uuid" % text, simpler=lambda: [Value("'%s'::uuid" % UUIDS[6])])

    def timestamptz(self, name):
        """Return a time: near now, at an edge, or far away."""
        choice = self.rng.random() * (0.5 if self.tame else 1)
        if choice < 0.35 and name != "touched_at" and not (name == "converted_at" and self.tame):
            return Value("(pg_catalog.now() - '%d minutes'::interval)" % self.below(-600, 60 * 24 * 45))
        if choice < 0.5:
            return Value("'2026-0%d-%02d %02d:%02d:%02d.%03d+00'::timestamptz" % (
                self.below(1, 7), self.below(1, 29), self.below(24), self.below(60), self.below(60), self.below(1000)))
        return Value("'%s'::timestamptz" % self.pick(TIMES), simpler=lambda: [Value("'2026-03-01 00:00:00+00'::timestamptz")])

    def date(self, _name):
        """Return a date."""
        return Value("'%s'::date" % self.pick(["infinity", "-infinity", "2026-03-29", "4713-01-01 BC", "5874897-12-31", "1970-01-01"]))

    def interval(self, _name):
        """Return an interval; infinite ones exist from PostgreSQL 17 on."""
        if self.tame:
            return Value("'%s'::interval" % self.pick(["1 day", "7 days", "30 minutes", "36 hours"]))
        texts = INTERVALS + (["infinity", "-infinity"] if self.catalog.version >= 17 else [])
        return Value("'%s'::interval" % self.pick(texts), simpler=lambda: [Value("'1 day'::interval")])

    def regclass(self, _name):
        """Return a relation, ours, another's, or none."""
        if self.odds(0.2):
            return Value("'%d'::oid::regclass" % self.pick([0, 1, 1259, 4294967295]))
        return Value("'%s'::regclass" % self.pick(self.world.relations))

    def oid(self, _name):
        """Return an object id."""
        return Value("'%d'::oid" % self.pick([0, 1, 16, 25, 1259, 16384, 4294967295]))

    def xid8(self, _name):
        """Return a transaction id."""
        return Value("'%d'::xid8" % self.pick([0, 1, 3, 1000, 2**32, 2**63 - 1]))

    def inet(self, _name):
        """Return a network address."""
        return Value("'%s'::inet" % self.pick(["203.0.113.7", "::1", "2001:db8::/32", "0.0.0.0/0"]))

    def char(self, _name):
        """Return one byte."""
        return Value("%s::\"char\"" % quote(self.pick(["a", "", "v", "\x01"])))

    # -- texts --

    def strange_text(self):
        """Return a text that something may trip over."""
        choice = self.rng.random()
        if choice < 0.5:
            return self.pick(STRANGE_TEXTS)
        if choice < 0.75 and self.words:
            return self.pick(self.words)
        if choice < 0.9:
            return "".join(chr(self.pick([self.below(32, 127), self.below(32, 127), self.below(1, 32), self.below(160, 0x2000), self.below(0x10000, 0x10ffff)]))
                           for _ in range(self.below(1, 40)))
        return self.pick(STRANGE_TEXTS) * self.below(1, 60)

    def plain_text(self, name):
        """Return a text as one of that name usually is, or a strange one."""
        choice = self.rng.random() * (0.72 if self.tame else 1)
        if choice < 0.72:
            if name in ("token",):
                return self.token_text()
            if name in ("link", "slug"):
                return self.usually(self.world.slugs[:4], self.world.slugs)
            if name == "leaf":
                return self.pick(self.world.leaves)
            if name in ("url", "base", "location"):
                return self.url()
            if name in BY_NAME:
                usual, odd = BY_NAME[name]
                # a function's own comment may say which of them it takes
                said = [word for word in usual if re.search(r"\b%s\b" % re.escape(word), self.about)] if not self.odds(0.1) else ()
                chosen = self.usually(said or usual, usual + odd)
                if name == "topic":
                    self.topic = chosen.lower()
                return chosen
            if name == "key":
                return "k%d" % self.below(40)
        elif choice < 0.8 and self.words:
            return self.pick(self.words)
        return self.strange_text()

    def text(self, name, kind="text"):
        """Return a text, once in a while a huge one."""
        if self.odds(0.012) and not self.tame:
            unit, times = self.pick([("x", MIB), ("ab=%41&", 150000), ("ä", 500000), ("https://a.example/?utm_source=", 30000), ("1234567 ", 120000), ("a@b.example ", 80000), ("\t", 100000), ("%", MIB),
                                     ("(", 300000), ("&utm_x=1", 100000), ("A", 76), ("f", 2**16)])
            whole = "pg_catalog.repeat(%s, %d)" % (quote(unit), times)
            if self.odds(0.4):
                whole = "(%s || %s)" % (quote(self.plain_text(name)), whole)
            return Value("%s::%s" % (whole, kind), True, lambda: [Value("pg_catalog.repeat(%s, %d)::%s" % (quote(unit), n, kind)) for n in (1, 100, 10000, times // 4)])
        text = self.plain_text(name).replace("\0", "")
        return Value("%s::%s" % (quote(text), kind), simpler=lambda: [Value("''::%s" % kind)] + [Value("%s::%s" % (quote(t), kind)) for t in (text[:len(text) // 2], text[len(text) // 2:]) if len(text) > 3])

    def name(self, name):
        """Return a name."""
        return Value("%s::name" % quote(self.plain_text(name)[:20]))

    def cstring(self, name):
        """Return a cstring, for input functions called by name."""
        choice = self.rng.random()
        text = self.token_text() if choice < 0.4 else self.pick(self.world.hashes) if choice < 0.7 else self.strange_text()
        return Value("%s::cstring" % quote(text))

    def url(self):
        """Return a URL, perhaps with a token and with characters changed."""
        text = self.usually(URLS[:4], URLS)
        if self.odds(0.2):
            text += ("&" if "?" in text else "?") + "bl=" + self.token_text()
        if self.odds(0.2) and not self.tame:
            at = self.below(len(text) + 1)
            text = text[:at] + self.pick(["%", "&", "=", "#", "?", "\u00e4", " ", "\\", "\x07", "@", ":", "[", "%E4%B8", "+"]) + text[at:]
        return text

    def token_bytes(self):
        """Return bytes in the layout of a token, of which one field or another is odd."""
        kind, signed = self.pick([0, 0, 1, 1, 2, 3, 15]), self.pick([0, 0, 1])
        creator = self.pick(self.world.creators)
        body = bytes([0x10 * self.pick([1, 1, 1, 1, 0, 2]) + kind, signed << 6 | self.pick([0, 0, 0, 1, 63])])
        body += struct.pack(">H", self.pick([1, 1, 1, 0, 2, 65535])) + bytes.fromhex(self.pick(self.world.uuids + UUIDS).replace("-", ""))
        body += struct.pack(">I", self.pick([0, 1, 2**32 - 1, 1800000000])) + (creator & (2**40 - 1)).to_bytes(5, "big")
        if kind in (1, 2):
            body += self.pick([0, 1, 2**48 - 1]).to_bytes(6, "big") + self.pick([0, 1, 2**48 - 1]).to_bytes(6, "big")
        return body + self.rng.getrandbits(8 * (64 if signed else 16)).to_bytes(64 if signed else 16, "big")

    def token_text(self):
        """Return the text of a token: issued, changed, invented, or in the form for QR codes."""
        choice = 0.5 if self.tame and self.odds(0.9) else self.rng.random()
        if choice < 0.15:
            return base64.urlsafe_b64encode(self.token_bytes()).decode().rstrip("=")
        text = self.pick(self.world.tokens)
        if choice < 0.6 or not text:
            return text
        if choice < 0.7:
            return base64.b32encode(base64.urlsafe_b64decode(text)).decode().rstrip("=")
        at = self.below(len(text))
        if choice < 0.9:
            return text[:at] + self.pick("AZaz09-_=+/ \u00e4") + text[at + 1:]
        return self.pick([text[:at], text + text, text + "\n", " " + text, text.lower(), text + "="])

    def token(self, _name):
        """Return a token that the type takes: issued, or of invented content."""
        choice = self.rng.random()
        if choice < 0.7:
            return Value("%s::biolink.token" % quote(self.pick(self.world.tokens)))
        if choice < 0.9:
            return Value("%s::biolink.token" % quote(base64.urlsafe_b64encode(self.token_bytes()).decode().rstrip("=")), False)
        return Value("%s::biolink.token" % quote(self.token_text()), False)

    def idhash(self, _name):
        """Return an identity hash."""
        if self.odds(0.9):
            return Value("'%s'::biolink.idhash" % self.pick(self.world.hashes))
        return Value("%s::biolink.idhash" % quote(self.strange_text()), False)

    # -- JSON --

    def jsonb(self, name):
        """Return JSON for a parameter of a name: right, nearly right, or wrong."""
        if self.odds(0.015) and not self.tame:
            size = self.pick([1000, 20000, 200000])
            return Value(self.pick([
                "('{\"user_agent\": \"' || pg_catalog.repeat('x', {n}) || '\"}')::jsonb", "('[' || pg_catalog.repeat('1,', {n}) || '1]')::jsonb", "('{' || pg_catalog.repeat('\"k\": 1, ', {n}) || '\"a\": 1}')::jsonb",
                "(pg_catalog.repeat('[', {d}) || pg_catalog.repeat(']', {d}))::jsonb", "(pg_catalog.repeat('{\"a\":', {d}) || '1' || pg_catalog.repeat('}', {d}))::jsonb",
                "pg_catalog.to_jsonb(pg_catalog.repeat('a.b@c.example ', {n} / 14))", "('{\"url\": \"https://a.example/?' || pg_catalog.repeat('utm_a=1&', {n} / 8) || '\"}')::jsonb",
                "('{\"kind\": \"lead\", \"source\": \"s\", \"key\": \"' || pg_catalog.repeat('k', {n}) || '\"}')::jsonb",
                "('{\"kind\": \"lead\", \"source\": \"s\", \"key\": \"k\", \"x\": ' || pg_catalog.repeat('[', {d}) || '\"a@b.example\"' || pg_catalog.repeat(']', {d}) || '}')::jsonb",
            ]).replace("{n}", str(size)).replace("{d}", str(size // 40)), False)
        if self.odds(0.08) and not self.tame:
            data = self.strange_json()
        else:
            shape = self.shape(name)
            if name in self.sent and self.sent[name] and self.odds(0.3):
                return self.as_value(self.again(self.pick(self.sent[name])))
            data = shape() if shape else self.pick([self.event, self.request, self.params, self.any_object])()
            if self.odds(0.5) and not self.tame:
                data = self.broken(data)
            elif name in self.sent:
                self.sent[name] = self.sent[name][-9:] + [data]
        return self.as_value(data)

    def json(self, name):
        """Return JSON of type json, which is looked at only when it is read: an array of events where the name says so, once in a while a large one."""
        if self.odds(0.03) and not self.tame:
            size = self.pick([300, 2000, 10000])
            one = quote(dump(self.event()))
            return Value(self.pick([
                # one event many times; with others between; many of one sale; many that are none
                "('[' || pg_catalog.repeat({e} || ',', {n}) || {e} || ']')::json", "('[' || pg_catalog.repeat({e} || ', 17, ', {n}) || '{}]')::json",
                "(SELECT pg_catalog.json_agg({e}::jsonb || pg_catalog.jsonb_build_object('key', 'many ' || g)) FROM pg_catalog.generate_series(1, {n} / 10) AS g)",
                "(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('kind', 'lead', 'source', 'import', 'key', 'many ' || g % 500, 'visitor', 'v' || g % 7)) FROM pg_catalog.generate_series(1, {n} / 5) AS g)",
                "('[' || pg_catalog.repeat('[', {d}) || pg_catalog.repeat(']', {d}) || ']')::json", "('[{\"kind\": \"lead\", \"source\": \"s\", \"key\": \"' || pg_catalog.repeat('k', {n} * 10) || '\"}]')::json",
                "('[' || pg_catalog.repeat('{},', {n} / 20) || '1]')::json",
            ]).replace("{e}", one).replace("{n}", str(size)).replace("{d}", str(size // 4)), False)
        if name != "events" or self.odds(0.05) and not self.tame:
            return self.as_value(self.strange_json() if self.odds(0.5) else self.any_object(), "json")
        known = self.sent["event"]
        data = []
        for _ in range(self.pick([0, 1, 2, 3, 8, 30])):
            if data and self.odds(0.1):
                data.append(self.pick(data))
            elif known and self.odds(0.3):
                data.append(self.again(self.pick(known)))
            elif not self.tame and self.odds(0.25):
                data.append(self.broken(self.event()))
            else:
                data.append(self.event())
                known.append(data[-1])
        del known[:-10]
        return self.as_value(data, "json")

    def again(self, data):
        """Return what was sent before: the same, revised, or changed in one part."""
        choice = self.rng.random()
        pairs = [pair for pair in data.pairs]
        if choice < 0.4 or not pairs:
            return data
        if choice < 0.75 and any(k == "amount" for k, _ in pairs):
            revision = max([v for k, v in pairs if k == "revision" and isinstance(v, int)], default=0)
            return Pairs([(k, v) for k, v in pairs if k not in ("amount", "revision")] + [("revision", revision + self.pick([1, 1, 5, 0])), ("amount", self.amount())])
        at = self.below(len(pairs))
        pairs[at] = self.pick([(pairs[at][0], self.strange_json()), ("key", "again %d" % self.below(1000)), ("test", True), ("currency", "EUR"), ("payment", "paid")])
        return Pairs([(k, v) for i, (k, v) in enumerate(pairs) if i == at or k != pairs[at][0]])

    def shape(self, name):
        """Return the maker of JSON for a parameter or key of a name, if it is known; what a provider sent where the function's comment speaks of one."""
        for provider, shapes in self.messages.items():
            if provider in self.about and name in shapes:
                return shapes[name]
        return {"request": self.request, "event": self.event, "events": self.events, "settings": self.settings, "headers": self.headers, "params": self.params, "utm": self.params, "report": self.report,
                "consent": self.consent, "subject": self.subject, "identifiers": self.identifiers, "lookback": self.lookback, "period": self.period}.get(name)

    def as_value(self, data, kind="jsonb"):
        """Return JSON as a value."""
        text = dump(data, self.odds(0.2))
        if len(text) > 200000:
            data, text = Raw("{}"), "{}"
        return Value("%s::%s" % (quote(text), kind), is_sure(data),
                     lambda: [Value("%s::%s" % (quote(dump(less)), kind), is_sure(less)) for less in smaller(data)])

    def strange_json(self, depth=0):
        """Return JSON of any kind."""
        choice = self.rng.random()
        if choice < 0.01 and not self.tame:
            return self.pick(NO_JSON)
        if choice < 0.6 or depth > 3:
            return self.pick(STRANGE_JSON)
        if choice < 0.75:
            return self.strange_text()
        if choice < 0.85:
            return [self.strange_json(depth + 1) for _ in range(self.below(4))]
        return self.any_object(depth)

    def any_object(self, depth=0):
        """Return an object of any keys."""
        return Pairs((self.strange_text() if self.odds(0.5) else self.pick(self.words or ["a"]), self.strange_json(depth + 1)) for _ in range(self.below(6)))

    def broken(self, data):
        """Return JSON with one to three parts made wrong."""
        for _ in range(self.pick([1, 1, 1, 2, 3])):
            if not isinstance(data, Pairs):
                return self.strange_json() if self.odds(0.3) else [data, self.strange_json()]
            pairs = list(data.pairs)
            choice = self.rng.random()
            at = self.below(len(pairs)) if pairs else 0
            if choice < 0.45 and pairs:
                pairs[at] = (pairs[at][0], self.strange_json())
            elif choice < 0.6 and pairs:
                del pairs[at]
            elif choice < 0.7 and pairs:
                pairs.append((pairs[at][0], self.strange_json()))
            elif choice < 0.78 and pairs:
                pairs[at] = (self.pick([pairs[at][0].upper(), pairs[at][0] + " ", " " + pairs[at][0], pairs[at][0][:-1]]), pairs[at][1])
            elif choice < 0.86 and pairs:
                pairs[at] = (pairs[at][0], self.pick([[pairs[at][1]], Pairs([(pairs[at][0], pairs[at][1])])]))
            else:
                pairs.append((self.strange_text(), self.strange_json()))
            data = Pairs(pairs)
        return data

    def shaped(self, keys, required=()):
        """Return an object of some of the keys, each with its own maker, and all required ones."""
        pairs = [(key, make()) for key, make in keys.items() if key in required or self.odds(0.3)]
        self.rng.shuffle(pairs)
        return Pairs(pairs)

    def moment(self):
        """Return a time as JSON has it."""
        if self.odds(0.12) and not self.tame:
            return self.pick(["1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z", "10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-03-01T24:00:00Z", "2026-03-01T23:59:60Z",
                              "2026-03-01T00:00:00", "2026-03-01 00:00:00+00", "2026-03-01t00:00:00z", "2026-03-01T00:00:00+23:59", "2026-03-01T00:00:00-24:00", "2026-03-01T00:00:00.1234567890123Z", "infinity", "now", "",
                              "3026-01-01T00:00:00Z", "2106-02-07T06:28:16Z", "0000-01-01T00:00:00Z"])
        return "2026-%02d-%02dT%02d:%02d:00%s" % (self.below(4, 6), self.below(1, 29), self.below(24), self.pick([0, 0, 10, 30]), self.pick(["Z", "+02:00", "-09:30"]))

    def amount(self):
        """Return an amount as JSON has it."""
        return self.usually([1, 100, 1999, 5000, Raw("100.00"), Raw("1e2")], [0, 1, 99, Raw("1e3"), Raw("19.99"), -1, 2**53, 2**62, 2**63 - 1, Raw("9223372036854775808"), Raw("1e30")])

    def visitor_text(self):
        """Return a first-party cookie."""
        return self.pick(["v1", "v2", "v3", "v4", "v5"]) if self.odds(0.7) else self.pick(self.world.uuids)

    def consent(self):
        """Return a consent object."""
        state = lambda: self.pick(["granted", "granted", "denied", "pending"])
        return self.shaped({"measurement": state, "identity": state, "personalization": state, "export": state,
                            "evidence": lambda: Pairs([("source", "cmp"), ("notice_version", "3"), ("tcf", "CPc"), ("gpc", True)])})

    def headers(self):
        """Return HTTP headers."""
        return self.shaped({"Sec-Purpose": lambda: self.pick(["prefetch", "prefetch;prerender", "none"]), "Purpose": lambda: "prefetch", "X-Moz": lambda: "prefetch", "X-Forwarded-For": lambda: "203.0.113.7",
                            "webhook-id": lambda: "msg_1", "webhook-timestamp": lambda: "1774000000", "webhook-signature": lambda: "v1,aaaa", "Stripe-Signature": lambda: "t=1,v1=aa"})

    def request(self):
        """Return a request as open_page() and click() take it."""
        return self.shaped({
            "user_agent": lambda: self.usually(AGENTS[:3], AGENTS), "method": lambda: self.usually(["GET", "POST"], ["HEAD", "get", ""]), "url": self.url, "referrer": lambda: self.pick(REFERRERS) if self.odds(0.7) else self.url(), "headers": self.headers,
            "ip": lambda: self.usually(["203.0.113.7", "2001:db8::1"], ["::1", "999.1.1.1", "", "203.0.113.7, 10.0.0.1"]), "country": lambda: self.usually(COUNTRIES[:2], COUNTRIES), "region": lambda: self.usually(["BE", "CA"], ["", "x" * 300]),
            "city": lambda: self.usually(["Berlin", "São Paulo"], ["", "x" * 300]), "language": lambda: self.pick(["de-DE", "en", "", "*"]), "platform": lambda: self.usually(PLATFORMS[:3], PLATFORMS), "post": lambda: self.usually(["p1", "p2", "p3"], ["", "x" * 201]),
            "caption": lambda: self.pick(["hello", "", "write to a.b@c.example", "x" * 5000]), "visitor": self.visitor_text, "token": self.token_text, "campaign": lambda: self.pick(["spring", "summer", "none", ""]),
            "decision_id": lambda: self.pick(self.world.uuids), "slot": lambda: self.usually([1, 2], [-1, 10**6]), "signals": self.any_object, "consent": self.consent, "test": lambda: self.pick([True, False]),
            "key": lambda: "r%d" % self.below(30), "occurred_at": self.moment})

    def identifiers(self):
        """Return a list of identifiers."""
        return [self.pick([Pairs([("kind", "email"), ("value", "a.b@c.example")]), Pairs([("kind", "phone"), ("value", "+49 170 1234567")]), Pairs([("kind", "email"), ("sha256", "ab" * 32)]),
                           Pairs([("kind", "customer"), ("value", "c%d" % self.below(5))])]) for _ in range(self.below(4))]

    def event(self):
        """Return an event as track() takes it: few orders, keys and visitors, so that they meet."""
        kind = self.pick(["order", "order", "order", "order", "refund", "refund", "dispute", "dispute_won", "lead", "booking", "custom", "visit", "click", "claim", "exposure", "impression"])
        number = self.below(16)
        keys = {
            "kind": lambda: kind, "source": lambda: self.pick(["shop", "shop", "stripe", "import"]), "key": lambda: "%s%d" % (kind[:2], number if self.odds(0.6) else self.below(1000)), "occurred_at": self.moment,
            "sent_at": self.moment, "revision": lambda: self.usually([0, 1, 2, 3], [2**31, 2**62, -1]), "token": self.token_text, "click_id": lambda: self.pick(self.world.uuids).replace("-", self.pick(["", "-"])),
            "visitor": self.visitor_text, "url": self.url, "identifiers": self.identifiers, "codes": lambda: self.pick([["SPRING"], []]), "consent": self.consent, "order_id": lambda: "o%d" % number,
            "order_refs": lambda: ["o%d" % self.below(16)], "order_type": lambda: self.usually(["new", "repeat", "renewal"], ["other"]), "subscription_id": lambda: "s1",
            "payment": lambda: self.usually(["paid", "paid", "paid", "pending", "failed"], ["odd"]), "amount": lambda: [1999, 5000, 100][number % 3] if self.odds(0.75) else self.amount(), "tax": self.amount, "shipping": self.amount,
            "fee": self.amount, "currency": lambda: ["EUR", "USD"][number % 2] if self.odds(0.9) else self.usually(CURRENCIES[:4], CURRENCIES), "items": lambda: [Pairs([("sku", "a"), ("quantity", 2), ("amount", 100)])],
            "offer_id": lambda: self.pick(self.world.ids), "link_id": lambda: self.pick(self.world.ids), "goal": lambda: self.usually(["signup", "lead"], ["", "order"]), "test": lambda: self.odds(0.1), "context": self.any_object}
        required = ["kind", "source", "key"]
        if kind in ("order", "refund", "dispute", "dispute_won"):
            required += ["order_id", "amount", "currency"]
        if self.odds(0.5):
            required += ["visitor", "occurred_at"]
        return self.shaped({k: m for k, m in keys.items() if k in required or k not in ("order_id", "amount", "currency", "goal", "payment", "url") or self.odds(0.4)}, required)

    def events(self):
        """Return an array of events, some of them none."""
        return [self.broken(self.event()) if self.odds(0.2) else self.event() for _ in range(self.pick([0, 1, 3, 10, 60]))]

    # -- what payment providers send: few payments, told by many messages --

    def number_of(self):
        """Return the number of a payment; its amount and currency follow from it."""
        return self.below(12)

    def price(self, number):
        """Return the amount of a payment in a provider's minor units."""
        return [1999, 5000, 100, 0, 12345][number % 5] if self.odds(0.9) else self.amount()

    def hints(self):
        """Return what a shop hands to a provider for us."""
        return self.shaped({"bl": self.token_text, "_click_id": lambda: self.pick(self.world.uuids), "bl_visitor": self.visitor_text, "bl_order_id": lambda: "o%d" % self.below(16),
                            "bl_measurement": lambda: self.pick(["granted", "denied", "maybe"]), "bl_identity": lambda: self.pick(["granted", "denied"]), "other": self.strange_text})

    def unix_time(self):
        """Return a time in Unix seconds."""
        return 1775000000 + self.below(5000000) if self.tame or self.odds(0.9) else self.pick([0, -1, 10**12, 253402300800, Raw("1.5")])

    def stripe_seen(self):
        """Return what all events of one message have."""
        return Pairs([("source", "stripe"), ("at", 1775000000000), ("live", self.pick([True, False, None]))])

    def stripe(self, kind, number, keys, required=()):
        """Return an object of Stripe's: its id, what it is, money, a time, and some other keys."""
        prefix = {"payment_intent": "pi", "checkout.session": "cs", "invoice": "in", "charge": "ch", "refund": "re", "dispute": "dp", "invoice_payment": "inpay", "payout": "po", "balance_transaction": "txn"}[kind]
        pairs = [("id", "%s_%d" % (prefix, number)), ("object", kind), ("currency", ["eur", "usd", "jpy", "kwd", "isk"][number % 5]), ("created", self.unix_time())]
        if self.odds(0.3):
            pairs.append(("metadata", self.hints()))
        if self.odds(0.2):
            pairs.append(("livemode", self.pick([True, True, False])))
        return Pairs(pairs + self.shaped(keys, required).pairs)

    def named_part(self, prefix, number, whole):
        """Return a reference to another object: its id, the object itself, or nothing."""
        return "%s_%d" % (prefix, number) if self.odds(0.8) else whole(number) if self.odds(0.5) else None

    def stripe_charge(self, number=None):
        """Return a charge."""
        n = self.number_of() if number is None else number
        return self.stripe("charge", n, {
            "amount": lambda: self.price(n), "amount_captured": lambda: self.price(n), "amount_refunded": lambda: self.pick([0, 0, 100]), "status": lambda: self.pick(["succeeded", "succeeded", "failed", "pending", "paid"]), "captured": lambda: self.pick([True, True, False]),
            "refunded": lambda: self.pick([False, True]), "payment_intent": lambda: "pi_%d" % n, "invoice": lambda: "in_%d" % n, "customer": lambda: "cus_%d" % n, "receipt_email": lambda: "a.b@c.example",
            "refunds": lambda: Pairs([("data", [self.stripe_refund(n) for _ in range(self.below(3))])]), "billing_details": lambda: Pairs([("email", "a.b@c.example"), ("phone", None)])}, ("amount", "status"))

    def stripe_refund(self, number=None):
        """Return a refund."""
        n = self.number_of() if number is None else number
        return self.stripe("refund", n, {
            "amount": lambda: self.pick([1, 100, self.price(n)]), "status": lambda: self.pick(["succeeded", "succeeded", "failed", "canceled", "pending"]), "payment_intent": lambda: "pi_%d" % n, "charge": lambda: "ch_%d" % n,
            "reason": lambda: self.pick(["requested_by_customer", "expired_uncaptured_charge"]), "balance_transaction": lambda: self.pick([None, "txn_%d" % n])}, ("amount",))

    def stripe_object(self):
        """Return an object of Stripe's API."""
        n = self.number_of()
        lines = lambda: Pairs([("data", [Pairs([("id", "li_%d" % i), ("price", Pairs([("id", "price_%d" % i)])), ("quantity", self.pick([1, 2])), ("amount_total", 100), ("amount", 100)]) for i in range(self.below(3))])])
        discounts = lambda: [self.pick([Pairs([("coupon", Pairs([("id", "SPRING")]))]), Pairs([("promotion_code", Pairs([("id", "promo_1"), ("code", "SPRING")]))]), "di_1"])]
        return self.pick([
            lambda: self.stripe_charge(n), lambda: self.stripe_refund(n),
            lambda: self.stripe("payment_intent", n, {
                "amount": lambda: self.price(n), "amount_received": lambda: self.price(n), "status": lambda: self.pick(["succeeded", "succeeded", "processing", "requires_capture", "canceled", "requires_action"]),
                "latest_charge": lambda: self.named_part("ch", n, self.stripe_charge), "charges": lambda: Pairs([("data", [self.stripe_charge(n)])]), "invoice": lambda: "in_%d" % n, "receipt_email": lambda: "a.b@c.example",
                "payment_details": lambda: Pairs([("order_reference", "cs_%d" % n)]), "last_payment_error": lambda: Pairs([("charge", "ch_%d" % n)])}, ("amount",)),
            lambda: self.stripe("checkout.session", n, {
                "amount_total": lambda: self.price(n), "payment_status": lambda: self.pick(["paid", "paid", "unpaid", "no_payment_required"]), "status": lambda: self.pick(["complete", "open"]), "mode": lambda: self.pick(["payment", "subscription", "setup"]),
                "payment_intent": lambda: "pi_%d" % n, "invoice": lambda: "in_%d" % n, "subscription": lambda: "sub_%d" % n, "client_reference_id": lambda: self.pick([self.token_text(), self.pick(self.world.uuids), "c1"]),
                "total_details": lambda: Pairs([("amount_tax", 100), ("amount_shipping", 0)]), "line_items": lines, "discounts": discounts, "customer_details": lambda: Pairs([("email", "a.b@c.example"), ("phone", "+49 170 1234567")])}, ("amount_total", "payment_status")),
            lambda: self.stripe("invoice", n, {
                "amount_paid": lambda: self.price(n), "amount_due": lambda: self.price(n), "status": lambda: self.pick(["paid", "paid", "open", "draft"]), "payment_intent": lambda: "pi_%d" % n, "charge": lambda: "ch_%d" % n,
                "billing_reason": lambda: self.pick(["subscription_create", "subscription_cycle", "manual"]), "subscription": lambda: "sub_%d" % n, "tax": lambda: 100, "total_taxes": lambda: [Pairs([("amount", 100)])], "shipping_cost": lambda: Pairs([("amount_total", 100)]),
                "lines": lines, "discounts": discounts, "paid_out_of_band": lambda: self.pick([False, True]), "attempt_count": lambda: 2, "status_transitions": lambda: Pairs([("paid_at", self.unix_time())]),
                "payments": lambda: Pairs([("data", [Pairs([("id", "inpay_%d" % n), ("status", "paid"), ("amount_paid", self.price(n)), ("payment", Pairs([("type", "payment_intent"), ("payment_intent", "pi_%d" % n)]))]) for _ in range(self.below(3))])])}, ("amount_paid", "amount_due", "status")),
            lambda: self.stripe("invoice_payment", n, {"amount_paid": lambda: self.price(n), "status": lambda: self.pick(["paid", "open"]), "invoice": lambda: "in_%d" % n, "is_default": lambda: self.pick([True, False]),
                                                       "payment": lambda: Pairs([("type", "payment_intent"), ("payment_intent", "pi_%d" % n)])}, ("amount_paid", "payment")),
            lambda: self.stripe("dispute", n, {"amount": lambda: self.price(n), "status": lambda: self.pick(["needs_response", "under_review", "won", "lost", "warning_needs_response"]), "charge": lambda: "ch_%d" % n, "payment_intent": lambda: "pi_%d" % n,
                                               "reason": lambda: "fraudulent", "balance_transactions": lambda: [Pairs([("amount", -100), ("currency", "eur"), ("fee", 15)])]}, ("amount",)),
            lambda: self.stripe("payout", n, {"amount": lambda: self.price(n), "status": lambda: self.pick(["paid", "failed"]), "arrival_date": self.unix_time}, ("amount",)),
            lambda: self.stripe("balance_transaction", n, {"amount": lambda: self.price(n), "fee": lambda: 10, "net": lambda: 90, "type": lambda: "charge", "source": lambda: "ch_%d" % n}, ("amount",)),
        ])()

    def stripe_message(self):
        """Return a message of Stripe's webhooks, an object of its API, or a list of these."""
        if self.odds(0.2):
            return Pairs([("object", "list"), ("data", [self.stripe_object() for _ in range(self.below(5))])])
        found = self.stripe_object()
        if self.odds(0.4):
            return found
        kind = dict(found.pairs)["object"]
        types = {"charge": ["charge.succeeded", "charge.refunded", "charge.failed", "charge.expired"], "payment_intent": ["payment_intent.succeeded", "payment_intent.payment_failed"], "refund": ["refund.created", "refund.failed", "charge.refund.updated"],
                 "checkout.session": ["checkout.session.completed", "checkout.session.async_payment_failed"], "invoice": ["invoice.paid", "invoice.payment_failed"], "invoice_payment": ["invoice_payment.paid"],
                 "dispute": ["charge.dispute.created", "charge.dispute.closed"], "payout": ["payout.paid"]}.get(kind, ["customer.created"])
        return Pairs([("id", "evt_%d" % self.below(100)), ("object", "event"), ("type", self.pick(types)), ("created", self.unix_time()), ("livemode", self.pick([True, True, False])), ("data", Pairs([("object", found)]))])

    def decimal(self):
        """Return a decimal amount as Shopify writes it."""
        return self.usually(["19.99", "50.00", "1.00", "0.00"], ["1e3", "-5.00", "19.999", "", "9007199254740993.00", "x"])

    def shopify_time(self):
        """Return a time as Shopify writes it."""
        return self.usually(["2026-04-%02dT10:00:00-04:00" % self.below(1, 29), "2026-05-01T10:00:00Z"], ["2026-05-01", "", "2026-13-01T10:00:00Z", None])

    def shopify_transaction(self):
        """Return a transaction of an order."""
        n = self.number_of()
        return self.shaped({"id": lambda: 1000 + n, "order_id": lambda: n, "kind": lambda: self.pick(["refund", "refund", "sale", "capture", "authorization", "void"]), "status": lambda: self.pick(["success", "success", "pending", "failure", "error"]),
                            "amount": self.decimal, "currency": lambda: ["EUR", "USD"][n % 2], "created_at": self.shopify_time, "processed_at": self.shopify_time, "test": lambda: self.odds(0.3), "gateway": lambda: "bogus"},
                           ("id", "order_id", "amount", "currency"))

    def shopify_order(self):
        """Return an order."""
        n = self.number_of()
        money = lambda: Pairs([("shop_money", Pairs([("amount", self.decimal()), ("currency_code", "USD")])), ("presentment_money", Pairs([("amount", self.decimal()), ("currency_code", ["EUR", "USD"][n % 2])]))])
        line = lambda: self.shaped({"id": lambda: 7, "sku": lambda: self.pick(["a", "b", ""]), "variant_id": lambda: 9, "quantity": lambda: self.pick([1, 2, Raw("1.5"), "x"]), "price": self.decimal, "price_set": money, "total_discount": self.decimal,
                                    "discount_allocations": lambda: [Pairs([("amount", "1.00"), ("amount_set", money())])], "properties": lambda: [Pairs([("name", "_bl_offer_id"), ("value", "1")])]})
        return self.shaped({
            "id": lambda: n, "currency": lambda: "USD", "total_price": self.decimal, "total_price_set": money, "total_tax": self.decimal, "total_outstanding": self.decimal, "total_shipping_price_set": money,
            "financial_status": lambda: self.pick(["paid", "paid", "pending", "authorized", "partially_paid", "refunded", "partially_refunded", "voided"]), "created_at": self.shopify_time, "processed_at": self.shopify_time, "updated_at": self.shopify_time,
            "cancelled_at": self.shopify_time, "token": lambda: "t%d" % n, "checkout_token": lambda: "c%d" % n, "landing_site": lambda: "/?utm_source=x&bl=" + self.token_text(), "email": lambda: "a.b@c.example", "source_name": lambda: "web",
            "note_attributes": lambda: self.pick([[Pairs([("name", "bl"), ("value", self.token_text())])], self.hints(), []]), "discount_codes": lambda: [Pairs([("code", "SPRING"), ("amount", "1.00")])], "test": lambda: self.odds(0.2),
            "line_items": lambda: [line() for _ in range(self.below(3))], "shipping_lines": lambda: [Pairs([("price", self.decimal())])], "customer": lambda: Pairs([("id", n), ("email", "a.b@c.example")])}, ("id", "currency", "total_price"))

    def shopify_body(self):
        """Return the body of a message of Shopify's, mostly one that fits the topic."""
        topic = self.topic if self.odds(0.9) else ""
        if topic.startswith("refunds"):
            return Pairs([("id", self.number_of()), ("order_id", self.number_of()), ("transactions", [self.shopify_transaction() for _ in range(self.below(3))])])
        if topic.startswith("order_transactions"):
            return self.shopify_transaction()
        if topic.startswith("disputes"):
            n = self.number_of()
            return self.shaped({"id": lambda: n, "order_id": lambda: n, "type": lambda: self.pick(["chargeback", "inquiry"]), "amount": self.decimal, "currency": lambda: ["EUR", "USD"][n % 2], "reason": lambda: "fraudulent",
                                "status": lambda: self.pick(["needs_response", "won", "lost", "charge_refunded", "prevented"]), "initiated_at": self.shopify_time}, ("id", "amount", "currency"))
        if topic == "orders/edited" and self.odds(0.5):
            return Pairs([("order_edit", Pairs([("id", 1), ("order_id", self.number_of()), ("created_at", self.shopify_time())]))])
        order = self.shopify_order()
        return Pairs([("order", order)]) if self.odds(0.2) else order

    def lookback(self):
        """Return lengths of lookback."""
        return self.shaped({"session": lambda: self.pick(SPANS), "identity": lambda: self.pick(SPANS), "click": lambda: self.pick(SPANS), "code": lambda: self.pick(SPANS)})

    def settings(self):
        """Return a creator's settings."""
        made = {key: lambda: self.usually(SPANS[1:3], SPANS) for key in SETTINGS_KEYS}
        made["lookback"] = self.lookback if self.odds(0.3) else lambda: Pairs([("session", self.pick(SPANS[:4]))])
        made["max_touches"] = lambda: self.usually([1, 2, 50], [1000, 0, 1001, -1, Raw("1.5"), Raw("1e2"), "5"])
        return self.shaped(made)

    def params(self):
        """Return query parameters."""
        return self.shaped({"utm_source": lambda: self.pick(["instagram", "Ins ta", "", "ä"]), "utm_medium": lambda: "social", "a": lambda: self.pick([1, True, None, ["a", "b"], [], [1, [2]], Pairs([]), Raw("1.50")]),
                            "bl": self.token_text, self.strange_text(): lambda: self.strange_json(), "b b": lambda: self.strange_text()})

    def subject(self):
        """Return whom identify() is told of."""
        return self.shaped({"token": self.token_text, "click_id": lambda: self.pick(self.world.uuids), "visitor": self.visitor_text})

    def period(self):
        """Return a period."""
        return self.shaped({"from": self.moment, "to": self.moment}, ("from", "to"))

    def report(self):
        """Return a partner's report."""
        line = lambda: self.shaped({
            "line_id": lambda: "l%d" % self.below(30), "order_id": lambda: "o%d" % self.below(16), "occurred_at": self.moment, "amount": self.amount, "currency": lambda: self.pick(CURRENCIES),
            "status": lambda: self.pick(["approved", "pending", "reversed", "odd"]), "token": self.token_text, "click_id": lambda: self.pick(self.world.uuids), "code": lambda: "SPRING",
            "identifiers": self.identifiers, "raw": self.any_object}, ("line_id", "occurred_at", "amount"))
        return self.shaped({
            "report_id": lambda: "r%d" % self.below(5), "currency": lambda: self.pick(CURRENCIES), "period": self.period, "lines": lambda: [line() for _ in range(self.below(6))],
            "totals": lambda: [self.shaped({"day": lambda: "2026-03-01", "channel": lambda: "instagram", "metric": lambda: self.pick(["clicks", "conversions", "revenue", "odd"]), "value": self.amount,
                                            "currency": lambda: "EUR"})]}, ("report_id",))


def arguments_of(kind, arguments):
    """Return simpler values for a nested call: the plain arguments of its own that have the type."""
    return [a for a in arguments if a.sql.endswith("::" + kind)] + [Value("NULL::%s" % kind, is_null=True)]
