"""Talks with the database through psql, as each of the kinds of users.

This file owns the sessions and the login roles of the test.

Invariants:
- One psql process per session, one statement at a time, so that its result can go into
  the next; no driver is needed.
- An error of the database is a SqlError with its SQLSTATE; a lost connection is 08006.
"""

import json
import subprocess

APP, ADMIN, ANALYST = "biolink_model_app", "biolink_model_admin", "biolink_model_analyst"
ROLES = {APP: "biolink_app", ADMIN: "biolink_admin", ANALYST: "biolink_analyst"}


class SqlError(Exception):
    """An error that the database raised."""

    def __init__(self, code, message, statement):
        """Keep the SQLSTATE, the message and the statement."""
        Exception.__init__(self, "%s: %s" % (code, message))
        self.code = code
        self.statement = statement


class Session:
    """One psql process that runs statements one by one and answers with their lines."""

    def __init__(self, role=None):
        """Start psql, as a role if one is given."""
        self.process = subprocess.Popen(
            ["psql", "-XqAt"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, encoding="utf-8")
        self.run("SET client_min_messages = error")
        self.run("SET TimeZone = 'UTC'")
        if role:
            self.run("SET SESSION AUTHORIZATION %s" % role)

    def run(self, statement):
        """Run one statement and return its lines; raise SqlError where it failed."""
        try:
            self.process.stdin.write(statement + ";\n\\echo @@@ :ERROR :SQLSTATE :LAST_ERROR_MESSAGE\n\\echo @@@\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            self.drop()
            raise SqlError("08006", "psql is gone", statement) from None
        lines, state = [], []
        while True:
            line = self.process.stdout.readline()
            if line == "":
                self.drop()
                raise SqlError("08006", "the server closed the connection", statement)
            if line == "@@@\n":
                break
            # what an error says may be several lines: it ends with the second mark
            if state or line.startswith("@@@ "):
                state.append(line)
            else:
                lines.append(line[:-1])
        _, failed, code, message = ("".join(state).rstrip("\n") + " ").split(" ", 3)
        if failed == "true":
            raise SqlError(code, message.strip(), statement)
        return lines

    def rows(self, query):
        """Run a query and return its rows as dictionaries."""
        return [json.loads(line) for line in self.run("SELECT pg_catalog.to_json(r) FROM (%s) r" % query)]

    def drop(self):
        """Let go of a psql that has ended, and of what it cannot be told any more."""
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
        self.process.wait()

    def close(self):
        """End psql."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def literal(value):
    """Write a value as an SQL literal; dictionaries and lists as JSON."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        value = json.dumps(value)
    return "'" + value.replace("'", "''") + "'"


class Database:
    """The sessions of the four kinds of users."""

    def __init__(self):
        """Make the roles where absent and open the sessions."""
        self.dba = Session()
        for role, group in ROLES.items():
            if not self.dba.run("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s" % literal(role)):
                self.dba.run("CREATE ROLE %s LOGIN" % role)
            self.dba.run("GRANT %s TO %s" % (group, role))
        self.app, self.admin, self.analyst = Session(APP), Session(ADMIN), Session(ANALYST)

    def drop_roles(self):
        """Take the login roles away again: nobody else in the cluster should meet them."""
        for session in (self.app, self.admin, self.analyst):
            session.run("RESET SESSION AUTHORIZATION")
        for role in ROLES:
            self.dba.run("DROP ROLE %s" % role)

    def close(self):
        """Close all sessions."""
        for session in (self.dba, self.app, self.admin, self.analyst):
            session.close()
