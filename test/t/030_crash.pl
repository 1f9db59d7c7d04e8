# What was answered is there, exactly once, whatever dies.
#
# Owns the ways to die and to be stopped: kill -9 of backends and of the
# postmaster, immediate stop, pg_terminate_backend, pg_cancel_backend,
# statement_timeout, failover; and what transactions do to calls and jobs:
# savepoints, prepared transactions, strict isolation levels.
#
# Invariants that hold each time:
#	- an acknowledged call is stored, once; one without an answer is sent again, word by word, and is stored once, too;
#	- sent again after that, every call has its first answer;
#	- integrity_check() finds nothing, and no job holds a lock or leaves anything behind;
#	- under load, all books are those that the independent model (test/model) works out from the answers.
#
# First calls and jobs are stopped at known places, where they wait for a lock;
# then at random ones, under load: CRASH_SEED=n chooses histories, victims and
# moments, as far as anybody can choose what a clock decides.

use strict;
use warnings;

use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

my $seed = $ENV{CRASH_SEED} // 20260301;
srand $seed;
note "CRASH_SEED=$seed";

my $dir = PostgreSQL::Test::Utils::tempdir;
my $deadline = $PostgreSQL::Test::Utils::timeout_default;
my $json = JSON::PP->new->canonical;
my $started = time;

# The node that everything goes to: the primary, in the end the promoted standby.
my $node = PostgreSQL::Test::Cluster->new('primary');
my @logs = ($node->logfile);

# ---- talking with the server ------------------------------------------------------

# session starts a psql that stays connected; its backend's pid is in {pid}.
sub session
{
	my ($user) = @_;
	my %session = (in => '', out => '', err => '');

	$session{run} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'VERBOSITY=sqlstate', '-d', $node->connstr('books') . (defined $user ? " user=$user" : '') ],
		'<', \$session{in}, '>', \$session{out}, '2>', \$session{err}, IPC::Run::timeout(2 * $deadline));
	$session{pid} = ask(\%session, 'SELECT pg_backend_pid()');
	return \%session;
}

# send_sql hands over statements without waiting.
sub send_sql
{
	my ($session, $sql) = @_;

	$session->{out} = $session->{err} = '';
	$session->{in} .= "$sql;\n\\echo __end__\n\\warn __end__\n";
	$session->{run}->pump_nb;
	return;
}

# answered tells whether what was sent last has been answered.
sub answered
{
	my ($session) = @_;

	return $session->{out} =~ /__end__\n/ && $session->{err} =~ /__end__\n/;
}

# answer waits for what was sent last, and dies where the server does; errors are left in {err}.
sub answer
{
	my ($session) = @_;

	$session->{run}->pump until answered($session);
	s/__end__\n// for $session->{out}, $session->{err};
	chomp(my $out = $session->{out});
	return $out;
}

# ask does both.
sub ask
{
	my ($session, $sql) = @_;

	send_sql($session, $sql);
	return answer($session);
}

# finish ends sessions, those that have lost their server too.
sub finish
{
	for my $session (@_)
	{
		eval { $session->{in} .= "\\q\n"; $session->{run}->finish };
	}
	return;
}

# one runs SQL in a connection of its own and returns what comes out, errors by their code.
sub one
{
	my ($user, $sql) = @_;
	my ($status, $out, $err) = $node->psql('books', $sql, extra_params => [ '-v', 'VERBOSITY=sqlstate', '-U', $user ]);

	return join "\n", grep { $_ ne '' } $out, $err =~ s/^psql:<stdin>:\d+: //mgr;
}

# rows runs SQL as a superuser, which must work.
sub rows
{
	return $node->safe_psql('books', @_);
}

# until_true polls a condition.
sub until_true
{
	my ($what, $condition) = @_;
	my $end = time + $deadline;

	until ($condition->())
	{
		die "timed out: $what" if time > $end;
		usleep(3000);
	}
	return;
}

# waits tells whether a session's backend waits for a lock.
sub waits
{
	my ($control, $session) = @_;

	return ask($control, "SELECT count(*) FROM pg_stat_activity WHERE pid = $session->{pid} AND wait_event_type = 'Lock'") eq '1';
}

# ---- ways to die --------------------------------------------------------------------

# up waits until the server takes connections.
sub up
{
	until_true('the server is up', sub { $node->psql('postgres', '', timeout => $deadline, stderr => \my $err) == 0 });
	return;
}

# kill_backend kills a backend with signal 9, and waits until the postmaster has started all anew.
sub kill_backend
{
	my ($pid) = @_;
	my $witness = session();

	# 0 would be this test's own process group
	die "no backend: $pid" if $pid !~ /^\d+$/ || $pid < 2;
	kill 9, $pid or return finish($witness);
	# it is ended with all others
	my $end = time + 5;
	until_true('the postmaster has seen it', sub { !eval { ask($witness, 'SELECT 1'); 1 } || !kill(0, $pid) && time > $end });
	finish($witness);
	up();
	return;
}

# kill_postmaster leaves the backends without a parent, and starts a new one.
sub kill_postmaster
{
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;

	$node->kill9;
	until_true('the postmaster is gone', sub { !kill 0, $postmaster });
	# once the last backend has gone, too
	until_true('the server starts', sub { $node->start(fail_ok => 1) });
	return;
}

# stop_at_once is pg_ctl stop -m immediate, and start.
sub stop_at_once
{
	$node->stop('immediate');
	$node->start;
	return;
}

# one_of gives a random member of a list.
sub one_of
{
	return $_[ int rand @_ ];
}

# ---- calls, and what they leave -------------------------------------------------------

my $agent = 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Instagram 300';

# literal quotes a JSON value for SQL.
sub literal
{
	return "'" . $json->encode({@_}) =~ s/'/''/gr . "'";
}

# tap is a click of creator 3.
sub tap
{
	my ($key, %more) = @_;

	return "SELECT status || ' ' || click_id FROM biolink.click(3, 'link', " . literal(key => $key, user_agent => $agent, %more) . ')';
}

# sale is an order of creator 3.
sub sale
{
	my ($key, $order, %more) = @_;

	return "SELECT status || ' ' || event_id FROM biolink.track(3, " . literal(kind => 'order', source => 'shop', key => $key, order_id => $order, amount => 100, currency => 'EUR', %more) . ')';
}

# id_of is the id in an answer of tap() or sale().
sub id_of
{
	return $_[0] =~ s/^\S+ //r;
}

# paths gives orders that begin so, with the clicks of their paths or why there are none.
sub paths
{
	return rows("SELECT concat_ws(' ', c.order_id, c.reason, string_agg(p.click_id::text, ',' ORDER BY p.position)) FROM biolink.conversion AS c
		LEFT JOIN biolink.touch_path AS p USING (creator_id, conversion_id) WHERE c.creator_id = 3 AND c.order_id LIKE '$_[0]%' GROUP BY c.order_id, c.reason ORDER BY c.order_id");
}

# job_to_end runs the jobs until nothing is left to them.
sub job_to_end
{
	# a transaction of the server's own may be under way at the first try
	until_true('the jobs are done', sub
	{
		my $err = one('operator', "CALL biolink.run_job('attribute');\nCALL biolink.run_job('maintain')");
		die $err if $err ne '';
		return rows('SELECT (SELECT count(*) FROM biolink.attribution_queue) + (SELECT count(*) FROM biolink.job_candidate)') eq '0';
	});
	return;
}

# rules_hold checks what must be so whenever the jobs have run to their end.
sub rules_hold
{
	my ($name) = @_;

	job_to_end();
	is(rows('SELECT rule, failures, detail FROM biolink.integrity_check() WHERE NOT ok'), '', "$name: integrity_check()");
	is(rows(q{
		SELECT 'not in a partition of its own', count(*) FROM biolink.event_default HAVING count(*) > 0
		UNION ALL SELECT 'lacks its text', count(*) FROM biolink.event AS e, unnest(ARRAY[e.agent_id, e.referrer_id]) AS t (text_id)
			WHERE t.text_id IS NOT NULL AND NOT EXISTS (SELECT FROM biolink.repeated_text AS r WHERE r.creator_id = e.creator_id AND r.text_id = t.text_id) HAVING count(*) > 0
		UNION ALL SELECT 'lacks its visit', count(*) FROM biolink.event AS e
			WHERE e.visit_id IS NOT NULL AND NOT EXISTS (SELECT FROM biolink.event AS v WHERE v.creator_id = e.creator_id AND v.event_id = e.visit_id) HAVING count(*) > 0
		UNION ALL SELECT 'locked by a job', count(*) FROM pg_locks WHERE locktype = 'advisory' HAVING count(*) > 0
		UNION ALL SELECT 'run that never ended', count(*) FROM biolink.job_run WHERE state = 'running' HAVING count(*) > 0}),
		'', "$name: nothing is left over, nothing leads nowhere");
	return;
}

# ---- clients that lose their server -----------------------------------------------------
#
# Plays histories of the model test, each with a creator of its own: some in any
# order and by several clients at once, some (where the order decides) call by
# call.  Writes "P part" for what has been answered, and goes no further than
# the part it is told, so that every fault meets clients at work on any machine.
# Told that this is the end it compares, and writes a line of TAP for each history.

append_to_file("$dir/load.py", <<'PYTHON');
"""Plays histories through crashes: load.py seed port_file months_without_partition statement_timeouts."""
import os
import random
import sys
import threading
import time

import histories
import run
from database import ADMIN, APP, Database, Session, SqlError

SEED, PORT_FILE, MONTHS, TIMEOUTS = int(sys.argv[1]), sys.argv[2], sys.argv[3].split(","), sys.argv[4].split(",")
# where the order of calls decides; in "shuffle" it does not
IN_ORDER = ("conflicts", "refunds", "imports", "ties", "edges")
PATIENCE = time.time() + 240


def connect(role, name):
    """Open a session as soon as there is a server."""
    while True:
        try:
            with open(PORT_FILE, encoding="ascii") as file:
                os.environ["PGPORT"] = file.read().strip()
            session = Session(role)
            session.run("SET application_name = '%s'" % name)
            return session
        except SqlError:
            if time.time() > PATIENCE:
                raise
            time.sleep(0.02)


def revived(session, role, name):
    """End what failed, with another session where this one is lost."""
    try:
        session.run("ROLLBACK")
        return session
    except SqlError:
        return connect(role, name)


def strays(number):
    """Make up a history of months without a partition: the job "maintain" has to move what is in the default one."""
    calls = []
    for at, visitor in [("%s-%02dT" % (month, day), "stray-%d" % (day % 4)) for month in MONTHS for day in range(1, 9)]:
        calls.append({"op": "click", "link": "l0", "request": {
            "user_agent": run.model.HUMAN_AGENTS[0], "visitor": visitor, "key": "c" + at, "occurred_at": at + "10:00:00Z"}})
        calls.append({"op": "track", "event": {"kind": "order", "source": "shop", "key": "k" + at, "order_id": "o" + at, "amount": 105,
                                               "currency": "EUR", "visitor": visitor, "occurred_at": at + "11:00:00Z"}})
    link = {"slug": "l0", "url": "https://shop.example/", "offer": False, "token_param": "bl", "token_form": "token", "active": True}
    creator = {"index": 0, "currency": "EUR", "currencies": ["EUR"], "settings": {}, "time_zone": "UTC", "links": [link]}
    return {"seed": number, "profile": "strays", "zone": "UTC", "creators": [creator],
            "calls": [dict(c, n=n + 1, creator=0) for n, c in enumerate(calls)]}


class Story:
    """A history on its way: what is still to be sent, what was answered, and what may have been stored without an answer."""

    def __init__(self, database, history):
        """Make the history's creator."""
        self.play = run.Play(database, history)
        self.name = "history %s (%s)" % (history["seed"], history["profile"])
        self.in_order = history["profile"] in IN_ORDER
        self.waiting = [c for c in histories.flat(history["calls"]) if c["op"] != "job"]
        self.numbers = {c["n"] for c in self.waiting}
        self.done, self.answers, self.doubts = set(), [], {}
        self.busy = 0

    def take(self, most):
        """Take some calls that refer to committed ones only, as they will be sent however often."""
        taken = []
        if self.in_order and self.busy:
            return taken
        for call in list(self.waiting):
            ready = histories.references(call) & self.numbers <= self.done
            if len(taken) == most or (self.in_order and not ready):
                break
            if ready:
                self.waiting.remove(call)
                body = "event" if "event" in call else "request"
                fixed = histories.resolve(call[body], self.play.results)
                taken.append(dict(call, **{body: dict(fixed, tag="t%d" % call.get("again", call["n"]))}))
        self.busy += bool(taken)
        return taken

    def tell(self):
        """Tell the model what was answered, and of calls whose answer was lost that they are stored."""
        rows = self.play.db.dba.rows("SELECT context ->> 'tag' AS tag, event_id, merged FROM biolink.event WHERE creator_id = %d"
                                     " AND context ->> 'tag' LIKE 't%%'" % self.play.creators[0])
        said = {row["event_id"] for _, _, row, _ in self.answers if row.get("status") in ("ok", "inserted", "merged", "updated")}
        unsaid = {}
        for row in rows:
            if row["event_id"] not in said:
                unsaid.setdefault(row["tag"], []).append(row)
        answers = []
        for call, body, row, error in self.answers:
            doubts, status = self.doubts.get(call["n"], 0), row.get("status")
            lost = unsaid.get(body["tag"], []) if doubts else []
            if call["op"] != "track" and "key" not in body:
                # without a key each sending counts, heard of or not
                run.require("unanswered", len(lost) <= doubts, "call %s: stored %d times too often", call["n"], len(lost) - doubts)
                answers += [(call, body, r, None, "ok", False) for r in lost]
            elif lost and status == "duplicate":
                lost = unsaid.pop(body["tag"])[0]
                answers.append((call, body, lost, None, "merged" if lost["merged"] else "inserted", False))
                continue
            answers.append((call, body, row, error, status, True))
        if not self.in_order:
            # pages before clicks before what names them; in each, new ones first
            order = {"ok": 0, "refused": 0, "inserted": 1, "merged": 2}
            answers.sort(key=lambda a: (("open_page", "click", "track").index(a[0]["op"]), order.get(a[4], 3), a[0]["n"]))
        for call, body, row, error, _, heard in answers:
            if heard:
                self.play.feed(call, body, row, error)
                continue
            more = (call["link"],) if call["op"] == "click" else ()
            answer = getattr(self.play.books[0], call["op"])(*more, body, row["event_id"])
            run.require("unanswered", answer.made, "call %s was stored, but the model says %s", call["n"], answer.status)
            self.play.labels[row["event_id"]] = "call %s" % call.get("again", call["n"])
        return sum(not a[5] for a in answers)

    def check(self, database):
        """Compare all books with the model's, after sending everything that has a key once more."""
        self.play.db = database
        unheard = self.tell()
        for call, body, _, _ in self.answers:
            if "key" in body:
                self.play.feed(call, *self.play.execute(call, database.app))
        self.play.attribute()
        self.play.compare()
        return unheard


class Load:
    """The clients and the jobs beside them."""

    def __init__(self, stories):
        """Take over the stories."""
        self.stories, self.lock, self.stop = stories, threading.Condition(), False
        self.total, self.answered, self.allowed = sum(len(s.waiting) for s in stories), 0, 0.0

    def listen(self):
        """Let the clients go on as far as each line of the input says."""
        # a server that was started meanwhile may hold the other end, so the end is said
        for line in iter(sys.stdin.readline, "end\n"):
            with self.lock:
                self.allowed = float(line)
                self.lock.notify_all()

    def take(self, dice):
        """Take calls of one story; None when there are no more."""
        with self.lock:
            while any(s.waiting for s in self.stories):
                for story in sorted(self.stories if self.answered < self.allowed * self.total else (), key=lambda s: dice.random()):
                    calls = story.take(dice.choice((1, 1, 2, 3, 5)))
                    if calls:
                        return story, calls
                self.lock.wait(0.2)
            return None

    def client(self, number):
        """Send calls until none is left, again and again what got no answer."""
        dice = random.Random("%d %d" % (SEED, number))
        session = connect(APP, "client")
        taken = self.take(dice)
        while taken:
            story, calls = taken
            # together first; what fails is sent again call by call
            units = [calls] if len(calls) > 1 or dice.random() < 0.2 else [[c] for c in calls]
            together = units[0] is calls
            while units:
                if time.time() > PATIENCE:
                    raise RuntimeError("there is no end to it")
                try:
                    answers = self.send(story, session, units[0], together, dice)
                except SqlError as error:
                    if error.code[:2] not in ("08", "40", "57") and not together:
                        raise
                    for call in units[0] if error.code == "08006" else ():
                        story.doubts[call["n"]] = story.doubts.get(call["n"], 0) + 1
                    session = revived(session, APP, "client")
                    units, together = [[c] for unit in units for c in unit], False
                    continue
                units.pop(0)
                with self.lock:
                    story.answers += answers
                    self.answered += len(answers)
                    print("P %r" % (self.answered / self.total), flush=True)
            with self.lock:
                story.busy -= 1
                story.done.update(c["n"] for c in calls)
                self.lock.notify_all()
            taken = self.take(dice)

    def send(self, story, session, calls, together, dice):
        """Send calls, each by itself or in one transaction, with savepoints; lose an answer now and then."""
        answers = []
        session.run("SET statement_timeout = " + dice.choice(TIMEOUTS))
        if together:
            session.run("BEGIN ISOLATION LEVEL " + dice.choice(("READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")))
        for call in calls:
            if together and dice.random() < 0.25:
                session.run("SAVEPOINT a")
                story.play.execute(call, session)
                session.run(dice.choice(("ROLLBACK TO a", "ROLLBACK TO a; RELEASE a")))
            answers.append((call,) + story.play.execute(call, session))
            if answers[-1][3] is not None and together:
                raise answers[-1][3]
        if together:
            time.sleep(dice.choice((0, 0, 0.01)))
            session.run("COMMIT")
        if dice.random() < 0.05:
            session.process.kill()
            raise SqlError("08006", "the answer is lost on its way", "")
        return answers

    def job(self, names):
        """Run jobs until the end."""
        session = connect(ADMIN, "job")
        while not self.stop:
            for name in names:
                try:
                    session.run("CALL biolink.run_job('%s')" % name)
                except SqlError as error:
                    if error.code[:2] not in ("08", "40", "57") and error.code != "55P03":
                        raise
                    session = revived(session, ADMIN, "job")
            time.sleep(0.002)

    def guarded(self, work, argument):
        """Run the work of a thread; what stops it fails the whole load."""
        try:
            work(argument)
        except Exception as failure:
            print("not ok - %s: %s" % (work.__name__, " ".join(repr(failure).split())), flush=True)
            os._exit(1)


def main():
    """Play the load, wait to be told that the server is well, and compare."""
    database = Database()
    chosen = [histories.generate(SEED * 100 + i, "shuffle" if i < 4 else IN_ORDER[(SEED + i) % 5]) for i in range(8)]
    for history in chosen:
        for call in histories.flat(history["calls"]):
            # of two attempts the first may be the one that counted: what a clock says then is not known here
            call.get("event", {}).pop("sent_at", None)
    load = Load([Story(database, history) for history in chosen + [strays(SEED)]])
    database.close()
    clients = [threading.Thread(target=load.guarded, args=(load.client, i)) for i in range(4)]
    jobs = [threading.Thread(target=load.guarded, args=(load.job, names)) for names in (("attribute",), ("maintain", "attribute"))]
    for thread in clients + jobs:
        thread.start()
    load.listen()
    for thread in clients:
        thread.join()
    load.stop = True
    for thread in jobs:
        thread.join()
    database, unheard = Database(), 0
    for story in load.stories:
        try:
            unheard += story.check(database)
            print("ok - %s" % story.name)
        except (run.Mismatch, SqlError) as failure:
            print("not ok - %s: %s" % (story.name, " ".join(str(failure).split())))
    print("# %d calls, %d sent without an answer, %d of them stored" % (
        load.total, sum(sum(s.doubts.values()) for s in load.stories), unheard))


main()
PYTHON

my ($loads, $months) = (0, 0);

# point_clients tells the clients which server to go to.
sub point_clients
{
	append_to_file("$dir/port.new", $node->port);
	rename "$dir/port.new", "$dir/port" or die "$dir/port: $!";
	return;
}

# load plays histories while faults happen: [part of the calls that are answered by then, what to do].
sub load
{
	my ($name, $faults, $timeouts) = @_;
	my ($in, $out, $err, $part) = ('', '', '', 0);
	# two months a time that have no partition
	my $fresh = join ',', map { $months++; sprintf '%d-%02d', 2000 + int($months / 12), 1 + $months % 12 } 1 .. 2;

	point_clients();
	local $ENV{PYTHONPATH} = 'test/model';
	local $ENV{PGDATABASE} = 'books';
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	my $run = IPC::Run::start([ 'python3', '-B', "$dir/load.py", $seed + $loads, "$dir/port", $fresh, $timeouts // '0' ],
		'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(2 * $deadline));
	for my $n (0 .. $#$faults)
	{
		# up to the next one, which comes when this one has been got over
		$in .= ($n < $#$faults ? $faults->[ $n + 1 ][0] : 2) . "\n";
		until_true("$name: the load goes on", sub { $run->pump_nb if $run->pumpable; ($part) = $out =~ /.*^P (\S+)\n/ms if $out =~ /^P .*\n/m; $part >= $faults->[$n][0] || !$run->pumpable });
		$faults->[$n][1]->() if $run->pumpable;
	}
	up();
	$in .= "end\n";
	$run->finish;
	is($err, '', "$name: no complaint");
	ok($_->[0] eq '', "$name: $_->[1]") for my @verdicts = map { [/^(not |)ok - (.*)/] } $out =~ /^(?:not )?ok - .*$/mg;
	is(scalar @verdicts, 9, "$name: all histories were played");
	cmp_ok($out =~ /, (\d+) of them stored$/m ? $1 : 0, '>', 0, "$name: some were stored although no answer came");
	note sprintf "$name (CRASH_SEED=%d): %s; %.1f s", $seed + $loads++, $out =~ /^# (.*)$/m ? $1 : 'no end', time - $started;
	rules_hold($name);
	return;
}

# fault makes a fault for load(): after that part of the answers a client or job that is busy with something is killed, cancelled or terminated.
sub fault
{
	my ($part, $how, $who, $what) = @_;

	return [ $part, sub
	{
		my ($control, $end, @pids) = (session(), time + 0.5);

		# whoever is there when nobody comes by
		until (@pids)
		{
			my $which = time < $end ? "state = 'active' AND query ~ '$what'" : 'true';
			@pids = split /\n/, ask($control, "SELECT pid FROM pg_stat_activity WHERE application_name = '$who' AND $which");
			die "there is no $who" if time > $end + $deadline;
		}
		my $pid = one_of(@pids);
		ask($control, "SELECT pg_${how}_backend($pid)") if $how ne 'kill';
		finish($control);
		kill_backend($pid) if $how eq 'kill';
	} ];
}

# ---- the cluster ----------------------------------------------------------------------------

$node->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', q{
restart_after_crash = on
max_connections = 40
max_prepared_transactions = 20
deadlock_timeout = 50ms
log_statement = none
log_line_prefix = '%m [%p] %e %q%a '
timezone = 'UTC'
});
append_to_file("$dir/root_key", "00" x 31 . "01\n");
chmod 0600, "$dir/root_key";
$node->append_conf('postgresql.conf', "biolink.root_key_file = '$dir/root_key'");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE books TEMPLATE template0');
rows(q{
	CREATE EXTENSION biolink CASCADE;
	CREATE ROLE shop LOGIN;
	GRANT biolink_app TO shop;
	CREATE ROLE operator LOGIN;
	GRANT biolink_admin TO operator;
	INSERT INTO biolink.creator (handle) VALUES ('ana'), ('ben'), ('eva');
	INSERT INTO biolink.link (creator_id, slug, url) VALUES (3, 'link', 'https://shop.example/');
});

# ---- calls and jobs are stopped in the middle of each of their steps ----------------------

# Orders that have their path, clicks that come late for them, more orders, and a month without a partition.
my %touched;
for my $n (1 .. 4)
{
	one('shop', sale("built-$n", "built-$n", visitor => "v-$n", occurred_at => "2024-05-0${n}T12:00:00Z"));
}
job_to_end();
for my $n (1 .. 4)
{
	my $click = one('shop', tap("late-$n", visitor => "v-$n", occurred_at => "2024-05-0${n}T11:00:00Z"));
	one('shop', sale("new-$n", "new-$n", visitor => "v-$n", occurred_at => "2024-05-0${n}T13:00:00Z"));
	$touched{$_} = "$_ " . id_of($click) for "built-$n", "new-$n";
}
one('shop', tap('stray', occurred_at => '2024-06-01T00:00:00Z'));

# All that calls and jobs may have committed.
my $committed = 'SELECT md5(string_agg(q::text, chr(10) ORDER BY q::text COLLATE "C")) FROM ('
	. join(' UNION ALL ', map { "SELECT '$_', t::text FROM biolink.$_ AS t" }
		qw(event_default event_key event_parked order_ref ledger repeated_text post attribution_queue conversion conversion_evidence touch_path job_checkpoint job_candidate))
	. " UNION ALL SELECT 'event', e.tableoid::regclass || e::text FROM biolink.event AS e UNION ALL SELECT 'leaf', inhrelid::regclass::text FROM pg_inherits) AS q";

my $paid = { occurred_at => '2024-05-05T00:00:00Z', user_agent => "$agent of nobody else" };
for my $case (
	[ 'click, its key', 'shop', tap('g-0'), tap('g-0') ],
	[ 'order, its key', 'shop', sale('g-5', 'g-5'), sale('g-5', 'g-6') ],
	[ 'order, under another key', 'shop', sale('g-7', 'g-7'), sale('g-8', 'g-7') ],
	[ 'click, its event', 'shop', tap('g-1', %$paid, referrer => 'https://new.example/'), 'TABLE biolink.event' ],
	[ 'order, its event', 'shop', sale('g-2', 'g-2', %$paid), 'TABLE biolink.event' ],
	[ 'order, its money', 'shop', sale('g-3', 'g-3', %$paid), 'TABLE biolink.ledger' ],
	[ 'order, its place in the queue', 'shop', sale('g-4', 'g-4', %$paid), 'TABLE biolink.attribution_queue' ],
	[ 'attribute, noting its checkpoint', 'operator', "CALL biolink.run_job('attribute')", 'TABLE biolink.job_candidate' ],
	[ 'attribute, folding what arrived', 'operator', "CALL biolink.run_job('attribute')", 'TABLE biolink.job_checkpoint' ],
	[ 'attribute, taking from its queue', 'operator', "CALL biolink.run_job('attribute')", 'TABLE biolink.attribution_queue' ],
	[ 'attribute, building paths', 'operator', "CALL biolink.run_job('attribute')", 'TABLE biolink.touch_path' ],
	[ 'attribute, writing conversions', 'operator', "CALL biolink.run_job('attribute')", 'TABLE biolink.conversion' ],
	[ 'maintain, making a partition', 'operator', "CALL biolink.run_job('maintain')", 'TABLE ONLY biolink.event' ])
{
	my ($doing, $user, $sql, $held) = @$case;

	# a table that is locked, or a call of somebody else's that may still be rolled back
	$held = "LOCK $held IN " . ($held =~ /ONLY/ ? 'SHARE UPDATE EXCLUSIVE' : 'SHARE') . ' MODE' if $held =~ /^TABLE/;

	for my $way (one_of('cancel', 'statement_timeout'), 'terminate', one_of('backend', 'backend', 'postmaster', 'immediate'))
	{
		my $name = "$doing: $way";
		my ($control, $holder, $runner) = (session(), session(), session($user));

		ask($holder, "BEGIN;\n$held");
		ask($runner, "SET statement_timeout = '250ms'") if $way eq 'statement_timeout';
		send_sql($runner, $sql);
		# on a slow machine it may have given up before it was seen
		until_true("$name: waits", sub { $runner->{run}->pump_nb; send_sql($runner, $sql) if answered($runner); waits($control, $runner) });
		my $before = ask($control, $committed);
		if ($way eq 'cancel' || $way eq 'statement_timeout')
		{
			ask($control, "SELECT pg_cancel_backend($runner->{pid})") if $way eq 'cancel';
			answer($runner);
			# for a partition's lock the job itself does not wait long
			like($runner->{err}, $doing =~ /^maintain/ ? qr/^ERROR:  (?:57014|55P03)$/m : qr/^ERROR:  57014$/m, "$name: it says so");
			is(ask($runner, 'SELECT current_user'), $user, "$name: and leaves nobody with another role");
		}
		elsif ($way eq 'terminate')
		{
			ask($control, "SELECT pg_terminate_backend($runner->{pid})");
			until_true('it is gone', sub { ask($control, "SELECT count(*) FROM pg_stat_activity WHERE pid = $runner->{pid}") eq '0' });
		}
		else
		{
			$way eq 'backend' ? kill_backend($runner->{pid}) : $way eq 'postmaster' ? kill_postmaster() : stop_at_once();
			finish($control);
			$control = session();
		}
		is(ask($control, $committed), $before, "$name: what it had not committed never was");
		is(ask($control, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid <> $holder->{pid}"), '0', "$name: it holds no lock");
		finish($control, $holder, $runner);
	}
	# once more, undisturbed; the job's work goes on to its next step
	like(one($user, $sql), qr/^(?:ok|inserted) \S+$/, "$doing: then it works") if $user eq 'shop';
}
rules_hold('stopped in the middle');
is(paths('%-_'), join("\n", sort((map { "g-$_ no_touch" } 2 .. 5, 7), values %touched)), 'stopped in the middle: every path is built, with its late click');
is(rows("SELECT count(*) FROM biolink.event WHERE creator_id = 3"), 4 + 4 + 4 + 1 + 7, 'stopped in the middle: every event is stored once');

# ---- savepoints -----------------------------------------------------------------------------

{
	my ($s, $other, $control) = (session('shop'), session('shop'), session());
	my %same = (user_agent => "$agent savepoint", visitor => 'saved', post => 'post-savepoint', platform => 'tiktok', referrer => 'https://savepoint.example/');

	ask($s, 'BEGIN');
	my $kept = ask($s, tap('s-1', visitor => 'saved', occurred_at => '2025-01-02T10:00:00Z'));
	ask($s, 'SAVEPOINT a');
	my $first = ask($s, tap('s-2', %same, occurred_at => '2025-01-02T11:00:00Z'));
	my $first_sale = ask($s, sale('s-3', 'S-3', visitor => 'saved'));
	like("$kept $first $first_sale " . ask($s, sale('s-4', 'S-3')), qr/^ok \S+ ok \S+ inserted \S+ merged \S+$/, 'a click, a savepoint, another click and an order');
	send_sql($other, tap('s-2'));
	until_true('the same key waits', sub { waits($control, $other) });
	ask($s, 'ROLLBACK TO a');
	my $others = answer($other);
	like($others, qr/^ok /, 'rolled back to the savepoint, the key is free for another session at once');
	is(ask($s, tap('s-2', %same)), 'duplicate ' . id_of($others), 'whose click it then is');
	my $second = ask($s, tap('s-5', %same, occurred_at => '2025-01-02T12:00:00Z'));
	my $second_sale = ask($s, sale('s-3', 'S-3', visitor => 'saved', amount => 777, occurred_at => '2025-01-03T00:00:00Z'));
	like("$second $second_sale", qr/^ok \S+ inserted \S+$/, 'what was rolled back never was: the same key and order with other money are new');
	# more subtransactions than a backend's array in shared memory has room for, half of them rolled back
	ask($s, join ";\n", map { ('SAVEPOINT c', tap("many-$_"), $_ % 2 ? 'ROLLBACK TO c' : 'RELEASE c') } 1 .. 150);
	is(one('operator', "CALL biolink.run_job('attribute')") . rows('SELECT count(*) FROM biolink.job_candidate'), '1', 'a job beside it waits with its checkpoint');
	ask($s, 'COMMIT');
	rules_hold('savepoints');
	is(rows(q{SELECT string_agg(k.key || ' ' || k.event_id, ',' ORDER BY k.key) FROM biolink.event_key AS k JOIN biolink.event AS e USING (creator_id, event_id) WHERE k.key LIKE 's-%'}),
		join(',', "s-1 $kept", "s-2 $others", "s-3 $second_sale", "s-5 $second") =~ s/ (?:ok|inserted) / /gr, 'savepoints: what is stored is what was not rolled back');
	is(rows("SELECT count(*) FROM biolink.event_key WHERE creator_id = 3 AND key LIKE 'many-%'"), '75', 'savepoints: of 150 too');
	is(rows(q{SELECT sum(amount), count(*) FROM biolink.ledger WHERE creator_id = 3 AND order_id = 'S-3'}), '777|1', 'savepoints: the money once');
	is(paths('S-3'), 'S-3 ' . join(',', map { id_of($_) } $kept, $second), 'savepoints: the path is that of the clicks that stayed');
	finish($s, $other, $control);
}

# ---- prepared transactions ---------------------------------------------------------------------

{
	my $s = session('shop');
	my @known = (user_agent => "$agent prepared", referrer => 'https://prepared.example/');

	ask($s, 'BEGIN');
	my $to_come = ask($s, tap('p-1', visitor => 'prepared', occurred_at => '2025-02-01T10:00:00Z'));
	my $sale_to_come = ask($s, sale('p-2', 'P-2', visitor => 'prepared', occurred_at => '2025-02-02T00:00:00Z'));
	ask($s, "PREPARE TRANSACTION 'to come';\nBEGIN");
	my $not_to_come = ask($s, tap('p-3', @known, visitor => 'prepared', occurred_at => '2025-02-01T11:00:00Z'));
	ask($s, "PREPARE TRANSACTION 'not to come'");
	is($s->{err}, '', 'two transactions are prepared');
	# the same backend must not believe that what it prepared is there
	my $same_texts = ask($s, tap('p-4', @known));
	my $beside = ask($s, sale('p-5', 'P-5', visitor => 'prepared', occurred_at => '2025-02-03T00:00:00Z'));
	like("$to_come $sale_to_come $not_to_come $same_texts $beside", qr/^ok \S+ inserted \S+ ok \S+ ok \S+ inserted \S+$/, 'clicks and orders within and beside them');
	finish($s);

	my $checkpoint = rows("SELECT folded_until FROM biolink.job_checkpoint WHERE job = 'attribute'");
	for my $after ('prepared', 'after the postmaster was killed', 'after an immediate stop')
	{
		kill_postmaster() if $after =~ /killed/;
		stop_at_once() if $after =~ /stop/;
		is(one('operator', "CALL biolink.run_job('attribute')") . paths('P'), 'P-5 no_touch', "$after: the job does not see what is prepared");
		is(rows("SELECT folded_until = '$checkpoint' FROM biolink.job_checkpoint WHERE job = 'attribute'"), 't', "$after: and its checkpoint does not pass it by");
		is(one('shop', "SET lock_timeout = '100ms';\n" . tap('p-1')), 'ERROR:  55P03', "$after: nobody can tell yet what became of its key");
	}
	is(one('shop', "COMMIT PREPARED 'to come'"), '', 'COMMIT PREPARED after crashes');
	stop_at_once();
	is(one('operator', "CALL biolink.run_job('attribute')") . paths('P'), 'P-2 ' . id_of($to_come) . "\nP-5 no_touch",
		'the job builds the order that came, but waits for the other transaction with the late click');
	is(one('shop', "ROLLBACK PREPARED 'not to come'"), '', 'ROLLBACK PREPARED after crashes');
	rules_hold('prepared transactions');
	is(paths('P'), join("\n", map { "$_ " . id_of($to_come) } 'P-2', 'P-5'), 'prepared transactions: then the late click is folded in');
	is(one('shop', tap('p-1', visitor => 'prepared', occurred_at => '2025-02-01T10:00:00Z')), 'duplicate ' . id_of($to_come), 'what was prepared and committed is known');
	is(one('shop', sale('p-2', 'P-2', visitor => 'prepared', occurred_at => '2025-02-02T00:00:00Z')), 'duplicate ' . id_of($sale_to_come), 'the order too');
	like(one('shop', tap('p-3')), qr/^ok /, 'what was rolled back is new');
}

# ---- strict isolation levels ----------------------------------------------------------------------

for my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	my $s = session('shop');
	my $key = substr $level, 0, 2;
	my $begin = "ROLLBACK;\nBEGIN ISOLATION LEVEL $level;\nSELECT 1";

	# sends a call in a transaction whose snapshot is older than what the other one did, and once more, as callers do
	my $second_try = sub
	{
		my ($sql, $elsewhere) = @_;

		ask($s, $begin);
		my $first = one('shop', $elsewhere);
		my $got = ask($s, $sql);
		like("$got$s->{err}", qr/^ERROR:  40001$/m, "$level: what came meanwhile makes a call fail with 40001");
		ask($s, $begin);
		return (id_of($first), ask($s, $sql));
	};
	my ($id, $again) = $second_try->((tap("$key-1")) x 2);
	is($again, "duplicate $id", "$level: at the second try a click is a duplicate");
	($id, $again) = $second_try->((sale("$key-2", "$key-2")) x 2);
	is($again, "duplicate $id", "$level: an order too");
	($id, $again) = $second_try->(sale("$key-4", "$key-3"), sale("$key-3", "$key-3"));
	like($again, qr/^merged /, "$level: the same order under another key is merged");
	is(ask($s, sale("$key-4", "$key-3")), 'duplicate ' . id_of($again), "$level: and known within the transaction");
	ask($s, 'COMMIT');
	is(rows("SELECT string_agg(order_id || ' ' || amount, ',' ORDER BY order_id) FROM biolink.ledger WHERE creator_id = 3 AND order_id LIKE '$key-%'"), "$key-2 100,$key-3 100", "$level: booked once");
	finish($s);

	# a runner of jobs with an old snapshot must not take for folded what it could not see; it may refuse to run
	job_to_end();
	one('shop', sale("$key-5", "$key-5", visitor => $key, occurred_at => '2025-03-03T00:00:00Z'));
	my ($builder, $folder) = (session('operator'), session('operator'));
	ask($builder, "BEGIN ISOLATION LEVEL $level;\nSELECT 1");
	my $late = one('shop', tap("$key-6", visitor => $key, occurred_at => '2025-03-02T00:00:00Z'));
	one('operator', "SELECT biolink.note_checkpoint('attribute')");
	ask($folder, "BEGIN ISOLATION LEVEL $level;\nSELECT 1");
	ask($builder, "SELECT biolink.attribute_slice(0, 9223372036854775807, 1000);\nCOMMIT");
	ask($folder, "SELECT biolink.attribute_fold();\nCOMMIT");
	finish($builder, $folder);
	job_to_end();
	is(paths("$key-5"), "$key-5 " . id_of($late), "$level: two runners with old snapshots lose no late touch");
}
rules_hold('strict isolation levels');

# ---- while a partition is being made ------------------------------------------------------------------

# Events of its month move from one table to another.  Whoever waits for that must find them afterwards.
{
	my %at = map { $_ => "2024-07-10T10:00:${_}Z" } '00', 10, 30;
	my @levels = ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE');
	my ($visit, $token) = split /\|/, one('shop', 'SELECT visit_id, token FROM biolink.open_page(3, ' . literal(user_agent => $agent, occurred_at => $at{'00'}) . ')');
	my ($maintain, $control) = (session('operator'), session());
	my @waiting;

	one('shop', sale("w-$_", "w-$_", occurred_at => $at{30})) for @levels;
	ask($maintain, "BEGIN;\nSELECT biolink.ensure_event_partition('2024-07-01Z')");
	for my $level (@levels)
	{
		for my $case ([ "a click continues its visit ($level)", tap("c-$level", token => $token, occurred_at => $at{10}), qr/^ok \S+$/ ],
			[ "a revision finds its order ($level)", sale("w-$level", "w-$level", amount => 150, revision => 1, occurred_at => '2025-01-05T10:00:00Z'), qr/^updated \S+$/ ])
		{
			my $s = session('shop');
			ask($s, "SET default_transaction_isolation = '\L$level\E'");
			send_sql($s, $case->[1]);
			until_true('it waits or is done', sub { $s->{run}->pump_nb; answered($s) || waits($control, $s) });
			push @waiting, [ @$case, $s ];
		}
	}
	ask($maintain, 'COMMIT');
	for my $case (@waiting)
	{
		my ($name, $sql, $expected, $s) = @$case;
		my $answer = answer($s) . $s->{err};
		# whose snapshot is of before may be told to try again
		$answer = ask($s, $sql) if $name !~ /READ COMMITTED/ && $answer =~ /40001/;
		like($answer, $expected, "while a partition is being made: $name");
		finish($s);
	}
	finish($maintain, $control);
	is(rows("SELECT count(*) FROM biolink.event WHERE visit_id = '$visit'"), 3, 'while a partition is being made: every click has its visit');
	is(rows("SELECT sum(amount) FROM biolink.ledger WHERE order_id LIKE 'w-%'"), 450, 'while a partition is being made: every revision is booked');
	rules_hold('a partition was made');
}

# ---- death under load -----------------------------------------------------------------------------------

# The histories' own months have their partitions: only strays are moved meanwhile.
rows(q{SELECT biolink.ensure_event_partition(m) FROM generate_series('2023-12-01Z'::timestamptz, '2025-12-01Z', '1 month') AS m});
my @calls = ('biolink.click', 'biolink.track');

load('backends are killed', [ map { fault($_->[0] * (0.9 + rand 0.2), 'kill', $_->[1], $_->[2]) }
	[ 0.15, 'client', 'biolink.click' ], [ 0.3, 'job', 'attribute' ], [ 0.45, 'client', 'biolink.track' ], [ 0.6, 'job', 'maintain' ], [ 0.75, 'client', one_of(@calls) ] ]);
load('the server is killed and stopped', [ map { [ $_ + rand 0.1, one_of(\&kill_postmaster, \&stop_at_once) ] } 0.2, 0.5 ]);
load('cancelled, terminated and timed out', [ map { my $who = one_of('client', 'client', 'job'); fault($_ / 14, one_of('cancel', 'cancel', 'terminate'), $who, $who eq 'job' ? 'run_job' : one_of(@calls)) } 1 .. 12 ],
	'2,5,20,0');

# ---- a standby takes over from a primary that is killed under load -----------------------------------------

{
	my $token = one('shop', "SELECT token FROM biolink.click(3, 'link', '{\"key\": \"f-0\", \"user_agent\": \"$agent\"}')");
	my ($primary, $standby) = ($node, PostgreSQL::Test::Cluster->new('standby'));

	push @logs, $standby->logfile;
	$primary->backup('base');
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->start;
	$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'");
	$primary->reload;
	$primary->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'") or die 'the standby does not follow';
	one('shop', sale('f-3', 'F-3', visitor => 'failover', occurred_at => '2025-04-03T00:00:00Z'));
	job_to_end();
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

	# what is read on a standby is what the primary would say, and nothing is written
	my $reads = q{SELECT * FROM biolink.performance(3, '{channel,month}', NULL, NULL) ORDER BY 1::text;
		SELECT count(*), sum(credit) FROM biolink.attribution; SELECT count(*), sum(amount) FROM biolink.unattributed; SELECT count(*) FROM biolink.channel_performance;
		SELECT biolink.credit('linear', '{2025-01-01Z,2025-01-02Z}', '2025-01-03Z', 101); SELECT state FROM biolink.key_status(); SELECT rule, ok FROM biolink.integrity_check();
		SELECT (SELECT count(*) FROM biolink.event), (SELECT count(*) FROM biolink.event_key), (SELECT count(*) FROM biolink.ledger), (SELECT count(*) FROM biolink.repeated_text)};
	my $there = rows($reads);
	$node = $standby;
	my $s = session('shop');
	for my $sql (tap('f-4'), tap('f-0'), "SELECT visit_id FROM biolink.open_page(3, '{\"key\": \"f-5\"}')", sale('f-6', 'F-6'), sale('f-3', 'F-3'), q{SELECT status FROM biolink.park_event(3, 's', 'k', 'r', '{}')})
	{
		ask($s, $sql);
		like($s->{err}, qr/^ERROR:  25006$/m, 'on a standby this is refused: ' . substr $sql, 0, 60);
		is(ask($s, "SELECT valid, reason, creator_id FROM biolink.verify_token('$token')"), 't||3', 'and the session goes on: a token verifies');
	}
	like(one('operator', "CALL biolink.run_job('$_')"), qr/^(?:ERROR:  25006)?$/, "on a standby job $_ has nothing to do, or fails as read-only") for 'attribute', 'maintain';
	is(rows($reads), $there, 'a standby answers as its primary');
	ok(!-e $standby->data_dir . '/biolink.key', 'and makes no key');

	# acknowledged means that the standby has it
	$node = $primary;
	load('failover', [ [ 0.3 + rand 0.4, sub
	{
		is(one('shop', "BEGIN;\n" . tap('f-1', visitor => 'failover', occurred_at => '2025-04-01T10:00:00Z') . ";\nPREPARE TRANSACTION 'over'") =~ s/ .*//r, 'ok', 'a click is prepared');
		$primary->kill9;
		$standby->promote;
		$node = $standby;
		point_clients();
		is(one('shop', "COMMIT PREPARED 'over'"), '', 'what was prepared on the old primary is committed on the new one');
	} ] ]);
	is(ask($s, "SELECT click_id = (SELECT v.click_id FROM biolink.verify_token('$token') AS v), status FROM biolink.click(3, 'link', '{\"key\": \"f-0\"}')"), 't|duplicate',
		'promoted: a session from before can write, and knows the keys of before');
	is(rows('SELECT count(*), min(state) FROM biolink.key_status()'), '1|ok', 'promoted: the root key is the same');
	finish($s);
	rules_hold('promoted');
	is(rows(q{SELECT touches FROM biolink.conversion WHERE creator_id = 3 AND order_id = 'F-3'}), '1', 'promoted: what had been prepared is folded in');
	$node->stop;
}

# ---- what the servers said ------------------------------------------------------------------------------------

for my $log (@logs)
{
	my @bad = grep { /\] XX\w{3} |PANIC|TRAP|terminated by signal (?!9)/ && !/STATEMENT/ } split /\n/, slurp_file($log);
	is(join("\n", @bad[ 0 .. ($#bad > 4 ? 4 : $#bad) ]), '', 'no internal error, no crash of its own: ' . $log =~ s{.*/}{}r);
}
note sprintf '%.1f s', time - $started;
done_testing();
