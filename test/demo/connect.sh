#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# connect.sh
#	  Look around in a demonstration that was kept with `make demo DEMO_DIR=...`.
#
#	connect.sh DEMO_DIR [psql arguments]	start the server if needed, open psql
#	connect.sh DEMO_DIR --start				only start it, and say how to connect
#	connect.sh DEMO_DIR --stop				stop it
#
# To be called by the user who ran the demonstration.  The server keeps running
# until it is stopped.
#
# Invariant: only a cluster that the demonstration made is started or stopped.
#
#-------------------------------------------------------------------------
set -u

# shellcheck source=test/setup/cluster.sh
source "$(dirname "$0")/../setup/cluster.sh"

# find_demonstration sets DATA and BIN from the directory given.
find_demonstration()
{
	DEMO_DIR=$(realpath -m "$1")
	DATA=$DEMO_DIR/cluster
	[ -e "$DATA/biolink_throwaway_cluster" ] || setup_die "there is no demonstration in $DEMO_DIR that you can read"
	BIN=$(find "$DEMO_DIR/installation" -path '*/bin/pg_ctl' | head -n 1)
	BIN=${BIN%/pg_ctl}
	[ -n "$BIN" ] || setup_die "the PostgreSQL in $DEMO_DIR/installation is gone"
}

# running succeeds while the server runs.
running() { (cd / && as_user "$BIN/pg_ctl" -s -D "$DATA" status) > /dev/null 2>&1; }

# start starts the server, with its socket beside the data where a socket's
# path is not too long for that.
start()
{
	local sockets=$DEMO_DIR/sockets

	if [ ${#sockets} -gt 80 ]; then
		sockets=$(setup_temporary /tmp) || setup_die "cannot make a directory for the socket"
	else
		setup_make_dir "$sockets" || setup_die "cannot make $sockets"
	fi
	if ! (cd / && as_user "$BIN/pg_ctl" -s -w -D "$DATA" -l "$DATA/server.log" -o "-k '$sockets'" start); then
		tail -n 20 "$DATA/server.log" >&2
		setup_die "the server did not start"
	fi
}

main()
{
	local name

	[ $# -ge 1 ] || setup_die "usage: connect.sh DEMO_DIR [--start | --stop | psql arguments]"
	setup_user
	find_demonstration "$1"
	shift
	if [ "${1:-}" = --stop ]; then
		if running; then
			cd / && as_user "$BIN/pg_ctl" -s -w -m fast -D "$DATA" stop
		fi
		return
	fi
	running || start

	for name in ${!PG@}; do
		unset "$name"
	done
	# what the server itself wrote down: port and socket directory
	PGPORT=$(sed -n 4p "$DATA/postmaster.pid")
	PGHOST=$(sed -n 5p "$DATA/postmaster.pid")
	if [ "${1:-}" = --start ]; then
		printf '  %s/psql -h %s -p %s -U demo_analyst -d demo\n' "$BIN" "$PGHOST" "$PGPORT"
		return
	fi
	export PGHOST PGPORT PGUSER=demo_analyst PGDATABASE=demo
	exec "$BIN/psql" "$@"
}

main "$@"
