#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# run.sh
#	  What `make bench` runs: what the calls of the request path cost on this
#	  machine, beside the least that they could cost.
#
#	- biolink.click() beside plain INSERTs of the very rows that it stores;
#	- biolink.verify_token() beside pgcrypto's hmac() of as many bytes as the
#	  tag of a redirect token is made over;
#	- biolink.open_page() and biolink.track() by themselves.
#
# All loops run in one backend, so that neither the network nor the parsing of
# statements is measured, in rounds that take turns, so that a slow moment of
# the machine hits both sides; the figures are medians.
#
# Loops call a function as applications do, with SELECT * FROM function(...);
# "one statement" calls it as one expression of a query over all tokens, which
# leaves out what each execution of a statement costs.
#
# - biolink.track_batch() beside set-based INSERTs of the rows that it stores,
#   already typed, and beside itself with the same events again; the buffers it
#   touches in small and large tables; what an event of each kind takes on disk.
#
# Variables read, all optional: ROUNDS (7), CALLS (30000 of a loop), BATCHES (30
# of 1,000 events in a loop), EVENTS (1000000 in the large tables), PARTS ("calls
# batches growth").
#
# Invariant: nothing passes or fails here by time.
#
#-------------------------------------------------------------------------
set -u

HERE=$(cd "$(dirname "$0")" && pwd -P)

# shellcheck source=test/setup/cluster.sh
source "$HERE/../setup/cluster.sh"

ROUNDS=${ROUNDS:-7}
CALLS=${CALLS:-30000}
BATCHES=${BATCHES:-30}
EVENTS=${EVENTS:-1000000}
PARTS=${PARTS:-calls batches growth}

# sql runs psql in the database of the measurements.
sql() { psql -X -q -v ON_ERROR_STOP=1 -d bench "$@"; }

main()
{
	local part

	setup_all
	cluster_start_test "$WORK/cluster" "synchronous_commit = off" "shared_buffers = 256MB" "max_wal_size = 8GB" \
		"checkpoint_timeout = 1d" "autovacuum = off" "jit = off" "bgwriter_lru_maxpages = 0"
	createdb -T template0 bench || exit 1
	sql -c "CREATE EXTENSION pgcrypto" -c "CREATE EXTENSION biolink" -f "$HERE/bench.sql" || exit 1

	printf '%s\nbiolink %s, %s, %s cores (%s)\n\n' \
		"$(sql -At -c 'SELECT version()')" \
		"$(sql -At -c "SELECT extversion FROM pg_extension WHERE extname = 'biolink'")" \
		"$(pkg-config --modversion libsodium 2>/dev/null | sed 's/^/libsodium /')" \
		"$(nproc)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
	sql -c "CALL bench.prepare($CALLS)" || exit 1
	for part in $PARTS; do
		case $part in
			calls) sql -c "CALL bench.run($ROUNDS, $CALLS)" || exit 1 ;;
			batches)
				sql -f "$HERE/batch.sql" -c "CALL bench.prepare_batches($BATCHES)" -c "CALL bench.stage_batches($BATCHES)" || exit 1
				sql -c "CALL bench.run_batches($ROUNDS, $BATCHES)" || exit 1 ;;
			growth) sql -v events="$EVENTS" -f "$HERE/growth.sql" || exit 1 ;;
			*) setup_die "there is no part \"$part\" to measure" ;;
		esac
	done
	sql -f "$HERE/report.sql" || exit 1
	cluster_stop "$WORK/cluster"
}

main
