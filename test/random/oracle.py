"""Judges answers: what no call may answer, whatever it was asked.

This file owns the rules, and the list of what is expected although a rule speaks against it.

Invariants:
- Every exception is listed with its reason; a fault is (category, text).
- A rule that needs to know what the arguments are speaks only of calls whose arguments are sure.
"""

import re

CATEGORIES = (
    ("crash", "no call ends a server process"),
    ("hang", "no call runs for more than its time"),
    ("internal", "no internal error (XX000 and the like)"),
    ("resources", "no error of resources, of the system, or of what is not supported"),
    ("warning", "no warning, such as of a leaked reference"),
    ("form", "every error has a message and a SQLSTATE of its own"),
    ("statement", "no call runs into a syntax error or a missing object"),
    ("constraint", "no call runs into a constraint of a table"),
    ("never", "what is said never to raise an error never does"),
    ("documented", "errors have a SQLSTATE that the comment names, where it names some"),
    ("rights", "who may execute a function may do what it does, who may not cannot"),
    ("read", "tables and views can be read at any time"),
    ("identity", "after every call the role is the one that was set"),
    ("locks", "what is rolled back leaves no advisory lock behind"),
    ("twice", "IMMUTABLE functions answer the same under other settings"),
    ("null", "STRICT functions answer NULL to NULL"),
    ("pseudo", "functions of internal types cannot be called by hand"),
    ("parallel", "functions do in parallel workers what their marks say"),
    ("memory", "no call makes a server process grow by more than 512 MB"),
    ("leak", "a server process does not keep growing"),
)

INTERNAL_WORDS = re.compile(r"cache lookup failed|unrecognized|could not find|unexpected|should not happen|not expected|invalid memory alloc|out of order|SPI_", re.I)
# (SQLSTATE, words of the message, why).  What PostgreSQL itself says to nonsense.
EXPECTED = (
    ("0A000", r"trigger functions can only be called as triggers", "a direct call of one"),
    ("0A000", r"cannot (accept|display) a value of type", "a literal of a pseudo-type"),
    ("0A000", r"set-valued function called in context that cannot accept a set|set-returning functions are not allowed|a column definition list", "the form of the query"),
    ("0A000", r"cannot open .* query as cursor|cannot PREPARE a transaction", "the circumstances"),
    ("54000", r"total size of|array size exceeds|string too long|row is too big|index row|too many (array )?elements|number of", "a huge value"),
    ("54000", r"too many", "a huge value"),
    ("54001", r"stack depth limit", "JSON nested too deeply for PostgreSQL's own parser"),
    ("54011", r"", "too many columns"),
    ("54023", r"", "too many arguments"),
)
# What may always happen, for reasons outside the call.
CIRCUMSTANCES = {
    "25006": "a transaction that only reads", "25P02": "a transaction that failed before", "25P01": "no transaction", "25001": "within a transaction", "40001": "serialization", "40P01": "deadlock", "55P03": "lock_timeout",
    "2D000": "a committing procedure within a transaction", "3B001": "no such savepoint", "34000": "no such cursor", "26000": "no such prepared statement", "42P05": "a statement of that name", "22P05": "no such character in the client's encoding",
    "55P02": "a setting that cannot change now", "25000": "state of the transaction",
}
# Bytes and literals that are none: said by the types' own input.
BAD_INPUT = ("22P01", "22P02", "22P03", "22P05", "22P06", "22021", "22003", "22007", "22008", "22009", "2200G", "22026", "2202E", "22000", "22032", "08P01", "22015", "22030")
MISTAKES = ("42601", "42P01", "42703", "42883", "42P02", "42704", "42P18", "42725", "42804", "42846", "42P10", "42803", "42P13", "42P20", "42P22", "42702", "42P09", "42710", "42P07")
# (SQLSTATE, words of the message, why).
WARNINGS = (
    ("25P01", r"", "there is no transaction in progress, or SET LOCAL outside one"),
    ("01004", r"", "string data, right truncated"),
    ("01000", r"^job \"\w+\" could not do \d+ of its rows", "others were in its way"),
)
# Functions for which an otherwise wrong answer is right: (name, SQLSTATE, why).
ALLOWED = ()


def circumstances(step, spell, error, in_transaction):
    """Tell whether an error comes from where the call stands rather than from the call."""
    code, message = error["C"], error["M"]
    if code in CIRCUMSTANCES:
        return not (code == "25000" and "parallel" in message)
    if code == "57014":
        return spell.hurried
    if code == "42501" and "row-level security" in message:
        return spell.settings.get("row_security") == "off"
    return any(a[0] in (f.name for f in step.calls) and a[1] == code for a in ALLOWED)


def judge(step, spell, answer, executable_by):
    """Yield the faults of one answer."""
    for notice in answer.notices:
        if notice.get("V", notice.get("S")) == "WARNING" and not any(notice["C"] == c and re.search(words, notice.get("M", "")) for c, words, _ in WARNINGS):
            yield "warning", "%s: %s" % (notice["C"], notice.get("M"))
        if notice.get("M", "").startswith("caught "):
            _, code, message = (notice["M"] + " ").split(" ", 2)
            for category, text in judge_error(step, spell, {"C": code, "M": message.strip()}, executable_by, True):
                yield category, text
    if answer.error:
        for category, text in judge_error(step, spell, answer.error, executable_by, False):
            yield category, text
        return

    unprivileged = [f for f in step.calls if executable_by is not None and executable_by not in f.executable_by]
    if unprivileged and step.plain and not any(v.is_null or v.has_call for v in step.values) and step.kind != "caught":
        yield "rights", "%s may call %s, which nobody granted" % (executable_by, unprivileged[0].signature)
    if step.internal and any(value is not None for row in answer.rows for value in row):
        yield "pseudo", "%s answers %r" % (step.calls[0].signature, answer.rows[0])
    if step.null and answer.rows:
        function = step.calls[0]
        if function.is_set or any(value not in (None, b"") for value in answer.rows[0]):
            yield "null", "%s answers %r" % (function.signature, answer.rows[0])


def judge_error(step, spell, error, executable_by, was_caught):
    """Yield the faults of one error."""
    code, message = error["C"], error["M"]
    at = " (%s:%s)" % (error["F"], error["R"]) if "F" in error else ""
    text = "%s: %s%s" % (code, message[:300], at)
    if not message.strip() or len(code) != 5:
        yield "form", text
    if code.startswith("XX") or INTERNAL_WORDS.search(message) and code not in ("22P02", "22P03", "22023", "22P04", "42704", "22026", "08P01"):
        yield "internal", text
        return
    if code in ("P0001", "P0000", "P0002", "P0003", "P0004", "38000", "39000"):
        yield "form", "%s says nothing of what it is" % text
        return
    if code == "25000" and "parallel" in message or code == "0A000" and "parallel" in message:
        yield "parallel", text
        return
    if circumstances(step, spell, error, was_caught):
        return
    if code == "57014":
        yield "hang", text
        return
    if any(code == c and re.search(words, message) for c, words, _ in EXPECTED):
        return
    # the owner's own functions are not for everybody's arguments
    if code[:2] in ("0A", "23", "42", "55") and any(not f.granted for f in step.calls):
        return
    if code[:2] in ("0A", "53", "58", "F0", "57", "55", "72") and not any(code in f.documented for f in step.calls) and not (code == "55000" and step.kind in ("fetch", "two-phase", "savepoint", "setup", "trigger")):
        yield "resources", text
        return
    if step.kind in ("setup", "two-phase", "savepoint", "fetch", "copy", "trigger", "cast"):
        return
    if step.kind == "write":
        return
    missing = [f for f in step.calls if executable_by is not None and executable_by not in f.executable_by]
    if code == "42501":
        # nobody works as the owner
        if executable_by == "biolink_owner":
            return
        if not missing and not (step.reads and "SELECT" not in step.reads["rights"].get(executable_by, ["SELECT"])) and not (executable_by and not step.calls and not step.reads):
            yield "rights", "%s, although %s may call it" % (text, spell)
        return
    if code in MISTAKES:
        if step.internal or any(f.uncallable or "cstring" in f.types for f in step.calls) or missing:
            return
        yield "statement", text
        return
    if step.reads is not None and step.sure:
        yield "read", text
        return
    if code.startswith("23"):
        yield "constraint", text
        return
    if not step.plain or len(step.calls) != 1 or not step.sure or step.bound is not None and code in BAD_INPUT:
        return
    function = step.calls[0]
    if function.never_raises:
        yield "never", "%s: %s" % (function.name, text)
    elif function.documented and code not in function.documented:
        yield "documented", "%s: %s; its comment names %s" % (function.name, text, ", ".join(sorted(function.documented)))
