#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# run.sh
#	  What `make demo` runs: a real click log through biolink, and a made-up
#	  shop behind it.
#
# Sets everything up (packages, build, a PostgreSQL and a cluster of its own),
# sends every line of the log through biolink.click(), makes leads, orders and
# refunds of some of the clicks and sends them through biolink.track(), runs
# the jobs, and prints what an analyst gets to see.
#
# Variables read, all optional:
#	CLICKS			the log, one JSON object a line: a = user agent, c = country,
#					gr = region, cy = city, al = languages, r = referrer or
#					"direct", u = target, h = link, hh = host, t = Unix time.
#					Default: test/demo/sample.jsonl, an invented one.
#	DEMO_DIR		a directory to keep everything in.  Running again with it
#					sends everything again, and nothing may be counted twice.
#	KEEP_RUNNING	1: leave the server of DEMO_DIR running.
#
# Invariants:
#	- The same log gives the same numbers on every run and every machine; ids
#	  and tokens differ.
#	- Nothing runs with more rights than its part has: demo_app loads and
#	  sends, demo_admin runs the jobs, demo_analyst reads.
#
#-------------------------------------------------------------------------
set -u

HERE=$(cd "$(dirname "$0")" && pwd -P)
CLICKS=$(realpath -m "${CLICKS:-$HERE/sample.jsonl}")
DEMO_DIR=${DEMO_DIR:+$(realpath -m "$DEMO_DIR")}
# a kept demonstration keeps its build and its PostgreSQL too
WORK_DIR=${DEMO_DIR:-${WORK_DIR:-}}

# shellcheck source=test/setup/cluster.sh
source "$HERE/../setup/cluster.sh"

# sql runs psql in the database of the demonstration, as the role given first.
sql()
{
	local role=$1

	shift
	psql -X -q -v ON_ERROR_STOP=1 -U "$role" -d demo "$@"
}

# must runs a command and ends everything when it fails.
must() { "$@" || setup_die "this failed: $*"; }

# make_database makes roles, database and extension, as far as they are not there.
make_database()
{
	local role

	for role in app analyst admin; do
		if [ -z "$(psql -XqAt -c "SELECT 1 FROM pg_roles WHERE rolname = 'demo_$role'")" ]; then
			must psql -Xq -v ON_ERROR_STOP=1 -c "CREATE ROLE demo_$role LOGIN"
		fi
	done
	if [ -z "$(psql -XqAt -c "SELECT 1 FROM pg_database WHERE datname = 'demo'")" ]; then
		must createdb -T template0 demo
	fi
	# said to be there already on a second run: no news
	must env PGOPTIONS='-c client_min_messages=warning' psql -X -q -v ON_ERROR_STOP=1 -d demo <<-'END'
		CREATE EXTENSION IF NOT EXISTS pgcrypto;
		CREATE EXTENSION IF NOT EXISTS biolink;
		GRANT biolink_app TO demo_app;
		GRANT biolink_analyst TO demo_analyst;
		GRANT biolink_admin TO demo_admin;
		CREATE SCHEMA IF NOT EXISTS demo AUTHORIZATION demo_app;
		GRANT USAGE ON SCHEMA demo TO demo_analyst;
	END
	must env PGOPTIONS='-c client_min_messages=warning' \
		psql -X -q -v ON_ERROR_STOP=1 -U demo_app -d demo -f "$HERE/schema.sql"
}

# copy_log copies the log into the database, every byte as two hexadecimal
# digits: whatever it holds (backslashes, NULs, no UTF-8) arrives as it is.
copy_log()
{
	must sql demo_app -c "TRUNCATE demo.line RESTART IDENTITY"
	od -An -v -tx1 -w1 < "$CLICKS" |
		awk '$1 == "0a" { printf "\n"; next } { printf "%s", $1 }' |
		sql demo_app -c "COPY demo.line (hex) FROM STDIN"
	[ "${PIPESTATUS[*]}" = "0 0 0" ] || setup_die "the log could not be copied"
}

# send loads the log and sends the events, as the application.
send()
{
	setup_say "configuring links"
	must sql demo_app -c "INSERT INTO demo.run (rows_before) VALUES (demo.row_counts())"
	must sql demo_app -c "CALL demo.configure()"
	must sql demo_admin -c "INSERT INTO biolink.creator_member (creator_id, role_name)
		SELECT creator_id, 'demo_analyst' FROM biolink.creator ON CONFLICT DO NOTHING"
	setup_say "a bio page, and the clicks of $CLICKS"
	must sql demo_app -c "CALL demo.prologue()"
	must sql demo_app -c "CALL demo.load_log()"
	setup_say "leads, orders and refunds"
	must sql demo_app -c "CALL demo.make_events()"
	must sql demo_app -c "CALL demo.send_events()"
	setup_say "jobs"
	must sql demo_admin -c "CALL biolink.run_job('attribute')" -c "CALL biolink.run_job('maintain')"
}

# farewell stops the server and says how to look around; it is started anew,
# on a socket that stays, only if asked for.
farewell()
{
	cluster_stop "$WORK/cluster"
	if [ -z "$DEMO_DIR" ]; then
		printf '\nAll of it is stopped and removed now. To keep it and look around: make demo DEMO_DIR=/var/tmp/biolink-demo\n'
		return
	fi
	printf '\nAll of it is kept in %s. This starts the server where needed and opens psql as demo_analyst:\n' "$DEMO_DIR"
	printf '  test/demo/connect.sh %s\n' "$DEMO_DIR"
	printf 'With -U demo_app or -U demo_admin for other eyes; --stop stops the server.\n'
	if [ -n "${KEEP_RUNNING:-}" ]; then
		# from here on it is not for this script to stop
		# shellcheck disable=SC2034 # of cluster.sh
		CLUSTERS_STARTED=()
		printf 'The server is running:\n'
		"$HERE/connect.sh" "$DEMO_DIR" --start
	fi
}

main()
{
	[ -r "$CLICKS" ] || setup_die "cannot read CLICKS=$CLICKS"
	if [ -n "${KEEP_RUNNING:-}" ] && [ -z "$DEMO_DIR" ]; then
		setup_die "KEEP_RUNNING needs a DEMO_DIR to keep"
	fi
	if [ -n "$DEMO_DIR" ] && [ -n "$(ls -A "$DEMO_DIR" 2>/dev/null)" ] && [ ! -e "$DEMO_DIR/tree/biolink.control" ]; then
		setup_die "$DEMO_DIR is not empty and holds no demonstration; it is left alone"
	fi
	if [ -n "$DEMO_DIR" ] && [ -e "$DEMO_DIR/cluster/postmaster.pid" ]; then
		"$HERE/connect.sh" "$DEMO_DIR" --stop
	fi
	setup_all
	# what is here can be made again from the log
	cluster_start "$WORK/cluster" "fsync = off" "full_page_writes = off"
	make_database
	copy_log
	send
	must sql demo_analyst -f "$HERE/report.sql"
	farewell
}

main
