"""Speaks PostgreSQL's protocol over a socket.

This file owns the bytes on the wire.  psql would do for the statements, but not for parameters
in binary form, for COPY of invented bytes, or for seeing every field of every message; and a
process and a pipe between would take longer than most of the calls.

Invariants:
- Whatever the server sends until it is ready again goes into one Answer; nothing is dropped.
- A connection that ended, or that gave no answer even to a cancel request, raises Lost.
"""

import os
import socket
import struct
import time

KEPT_ROWS = 40
INT4 = struct.Struct("!i")
INT2 = struct.Struct("!h")


class Lost(Exception):
    """The connection is gone; fields is the last message of the server, if there was one."""

    def __init__(self, what, fields=None):
        """Keep what happened and what the server last said."""
        Exception.__init__(self, what)
        self.fields = fields or {}


class Answer:
    """What came back: rows (the first ones), count of rows, error, notices, copied bytes, status."""

    __slots__ = ("columns", "copied", "count", "error", "notices", "rows", "seconds", "status")

    def __init__(self):
        """Begin with nothing."""
        self.columns, self.rows, self.count, self.copied = [], [], 0, []
        self.error, self.notices, self.status, self.seconds = None, [], "I", 0.0

    def outcome(self):
        """Return what can be compared: the error's SQLSTATE, or the rows."""
        return self.error["C"] if self.error else (self.count, self.rows)


def fields_of(body):
    """Return the fields of an error or notice by their letters."""
    return {part[:1].decode(): part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}


class Connection:
    """One connection to the server, as one user in one database."""

    def __init__(self, database, user, patience=60):
        """Connect; patience is how many seconds an answer may take."""
        self.patience = patience
        self.encoding = "utf-8"
        self.address = self._address()
        self.buffer, self.at = b"", 0
        self.socket = self._socket()
        parameters = {"user": user, "database": database, "client_encoding": "UTF8", "application_name": "random"}
        body = b"".join(k.encode() + b"\0" + v.encode() + b"\0" for k, v in parameters.items()) + b"\0"
        self.socket.sendall(INT4.pack(len(body) + 8) + INT4.pack(196608) + body)
        self.pid = self.secret = 0
        while True:
            kind, body = self._message()
            if kind == b"E":
                raise Lost("no connection", fields_of(body))
            if kind == b"R" and INT4.unpack_from(body)[0] != 0:
                raise Lost("the server wants a password; this client knows none")
            if kind == b"K":
                self.pid, self.secret = struct.unpack("!ii", body)
            if kind == b"Z":
                break

    @staticmethod
    def _address():
        """Return where the server listens."""
        host, port = os.environ.get("PGHOST") or "/var/run/postgresql", os.environ.get("PGPORT") or "5432"
        return "%s/.s.PGSQL.%s" % (host, port) if host.startswith("/") else (host, int(port))

    def _socket(self):
        """Open a socket."""
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        found = socket.socket(family, socket.SOCK_STREAM)
        found.settimeout(self.patience)
        try:
            found.connect(self.address)
        except OSError as error:
            raise Lost("no connection: %s" % error) from None
        return found

    def _more(self):
        """Read what the socket has."""
        try:
            data = self.socket.recv(1 << 18)
        except (TimeoutError, socket.timeout):
            self._cancel()
            raise Lost("no answer within %d seconds, nor to a cancel request" % self.patience) from None
        except OSError as error:
            raise Lost("connection broken: %s" % error) from None
        if not data:
            raise Lost("the server closed the connection")
        self.buffer, self.at = self.buffer[self.at:] + data, 0

    def _cancel(self):
        """Ask the server to give up; if it does so soon, the statement merely had no end."""
        with self._socket() as other:
            other.sendall(struct.pack("!iiii", 16, 80877102, self.pid, self.secret))
        self.socket.settimeout(10)
        try:
            if self.socket.recv(1):
                raise Lost("no answer within %d seconds; a cancel request ended it" % self.patience)
        except (TimeoutError, OSError):
            pass

    def _message(self):
        """Return the kind and the body of the next message."""
        while len(self.buffer) - self.at < 5:
            self._more()
        length = INT4.unpack_from(self.buffer, self.at + 1)[0]
        if len(self.buffer) - self.at < length + 1:
            parts, wanted = [self.buffer[self.at:]], length + 1
            have = len(parts[0])
            while have < wanted:
                self.buffer, self.at = b"", 0
                self._more()
                parts.append(self.buffer)
                have += len(self.buffer)
            self.buffer, self.at = b"".join(parts), 0
        kind = self.buffer[self.at:self.at + 1]
        body = self.buffer[self.at + 5:self.at + 1 + length]
        self.at += length + 1
        return kind, body

    def _send(self, data):
        """Send; that the server is gone will be seen by who reads."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def _answer(self, copy=None):
        """Read until the server is ready again."""
        answer, began, last = Answer(), time.monotonic(), {}
        try:
            while True:
                kind, body = self._message()
                if kind == b"D":
                    answer.count += 1
                    if answer.count <= KEPT_ROWS:
                        answer.rows.append(self._row(body))
                elif kind == b"E":
                    last = fields_of(body)
                    if last.get("V", last.get("S")) in ("FATAL", "PANIC"):
                        # the connection ends now
                        continue
                    if answer.error is None:
                        answer.error = last
                elif kind == b"N":
                    last = fields_of(body)
                    answer.notices.append(last)
                elif kind == b"T":
                    answer.columns = self._columns(body)
                elif kind == b"d":
                    answer.copied.append(body)
                elif kind == b"G":
                    if copy is None:
                        self._send(b"f\0\0\0\x0cno data\0")
                    else:
                        for start in range(0, len(copy), 60000):
                            part = copy[start:start + 60000]
                            self._send(b"d" + INT4.pack(len(part) + 4) + part)
                        self._send(b"c\0\0\0\4")
                elif kind == b"Z":
                    answer.status = body.decode()
                    break
        except Lost as lost:
            lost.fields = lost.fields or last
            raise
        answer.seconds = time.monotonic() - began
        return answer

    @staticmethod
    def _row(body):
        """Return the values of a row as bytes."""
        row, at = [], 2
        for _ in range(INT2.unpack_from(body)[0]):
            length = INT4.unpack_from(body, at)[0]
            at += 4
            if length < 0:
                row.append(None)
            else:
                row.append(body[at:at + length])
                at += length
        return row

    @staticmethod
    def _columns(body):
        """Return the names of the columns."""
        names, at = [], 2
        for _ in range(INT2.unpack_from(body)[0]):
            end = body.index(b"\0", at)
            names.append(body[at:end].decode("utf-8", "replace"))
            at = end + 19
        return names

    def query(self, statement, copy=None):
        """Run one statement; copy is what COPY FROM STDIN is given."""
        body = statement.encode(self.encoding, "replace") + b"\0"
        self._send(b"Q" + INT4.pack(len(body) + 4) + body)
        return self._answer(copy)

    def bound(self, statement, values=(), formats=(), binary_result=False):
        """Run one statement with parameters given as bytes or None, each in format 0 (text) or 1 (binary)."""
        parse = b"\0" + statement.encode(self.encoding, "replace") + b"\0\0\0"
        bind = [b"\0\0", INT2.pack(len(formats))] + [INT2.pack(f) for f in formats] + [INT2.pack(len(values))]
        for value in values:
            bind.append(INT4.pack(-1) if value is None else INT4.pack(len(value)) + value)
        bind.append(INT2.pack(1) + INT2.pack(1 if binary_result else 0))
        bind = b"".join(bind)
        self._send(b"P" + INT4.pack(len(parse) + 4) + parse + b"B" + INT4.pack(len(bind) + 4) + bind
                   + b"E\0\0\0\x09\0\0\0\0\0" + b"S\0\0\0\4")
        return self._answer()

    def must(self, statement):
        """Run a statement of the test's own and return its rows as texts; any error is raised."""
        answer = self.query(statement)
        if answer.error:
            raise RuntimeError("%s: %s\n%s" % (answer.error["C"], answer.error["M"], statement[:2000]))
        return [[None if v is None else v.decode() for v in row] for row in answer.rows]

    def close(self):
        """Say good-bye and hang up."""
        self._send(b"X\0\0\0\4")
        self.socket.close()
