#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# valgrind.sh
#	  What `make valgrind` runs: the regression and isolation suites, and then
#	  the background worker, in a server under valgrind's memcheck.
#
# What is found: values used before they are set, in branches, addresses and
# system calls; accesses outside the blocks of malloc, of a freed one, of the
# stack's end; freeing what is not allocated; memory of malloc that is lost.
# What is not: PostgreSQL as it is packaged is not built for valgrind, so
# what palloc hands out is not known piece by piece.  A step past the end of
# a palloc'd chunk is noticed only where it leaves the block that the chunk is
# in, the use of one that was freed only when its whole block was, and bytes of
# a block used before are taken as set.  AddressSanitizer on the pure cores
# (`make asan`) is finer in what it sees.
#
# A finding is ours when biolink.so is among its callers, or among those of
# the allocation or stack frame that an unset value comes from.  A leak counts
# only when it is ours.  What is wrong elsewhere counts as well, as PostgreSQL's:
# what we handed over may be the cause.  Unset values elsewhere of which memcheck
# knows no origin are shown and do not count: of memory that is shared, each
# process knows only what it wrote itself, not what others have written since.
# What PostgreSQL does all by itself is in valgrind.supp.  --error-exitcode is
# not used: the postmaster would take a process with a finding for one that
# crashed, and stop all the others.
#
# Variables read: SUITES (of regress, isolation and worker), REGRESS, ISOLATION,
# WORK_DIR (see cluster.sh), TEST_TIMEOUT (seconds for one suite, 3000).
#
# Invariants: every process of the server has a log, and a log without an end
# is a failure; output ends with `N passed, N failed`.
#
#-------------------------------------------------------------------------
set -u

# shellcheck source=test/setup/test.sh
source "$(dirname "$0")/test.sh"

# write_server writes the program that is started in place of postgres.
write_server()
{
	cat > "$CLUSTER_PROGRAM" <<-END
		#!/bin/sh
		exec valgrind --tool=memcheck --trace-children=yes --log-file='$VALGRIND_LOGS/%p' \\
			--suppressions='$WORK/tree/test/setup/valgrind.supp' --error-limit=no \\
			--track-origins=yes --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=none \\
			--num-callers=100 --fullpath-after= '$("$PG_CONFIG" --bindir)/postgres' "\$@"
	END
	chmod 755 "$CLUSTER_PROGRAM"
}

# server_start starts the server under valgrind; arguments as of cluster_start.
server_start()
{
	cluster_start_test "$@" "log_line_prefix = '%m [%p] <%b> %q%u@%d/%a '" "log_connections = on" \
		"log_autovacuum_min_duration = 0" "jit = off"
}

# server_stop stops it; who is who has to be asked before.
server_stop()
{
	known_processes >> "$WORK/processes"
	cluster_stop "$1"
}

# known_processes prints `pid kind` of the processes that the server tells of.
known_processes()
{
	printf '%s postmaster\n' "$(head -n 1 "$WORK/cluster/postmaster.pid")"
	psql -XqAt -F ' ' -c "SELECT pid, backend_type FROM pg_stat_activity"
	# a message of a process begins with its pid and its kind
	sed -nE 's/^.* \[([0-9]+)\] <([a-z ]+)>.*/\1 \2/p' "$WORK/cluster/server.log"
}

# findings prints the reports in a log (second argument) of one class (first
# argument): ours, elsewhere, or untold (unset values of unknown origin
# elsewhere).  A report is a paragraph with a stack.
findings()
{
	sed -E 's/^(==|--)[0-9]+(==|--) ?//' "$2" |
		awk -v RS= -v ORS='\n\n' -v wanted="$1" -v ours="$WORK/tree/src/|/biolink\\.so\\)" '
			/\n +at 0x/ {
				if ($0 ~ ours)
					class = "ours"
				else if (/^[0-9,]+ (\([^)]*\) )?bytes in [0-9,]+ blocks? /)
					class = "leak"
				else if (/uninitialised/ && !/was created by/)
					class = "untold"
				else
					class = "elsewhere"
				if (class == wanted)
					print
			}'
}

# ended succeeds where valgrind saw the process of a log to its end.
ended() { grep -q 'ERROR SUMMARY: ' "$1"; }

# logs_without succeeds where none of the logs (arguments from the second on)
# has findings of the kind that is named by the first.
logs_without()
{
	local which=$1 log clean=0

	shift
	for log in "$@"; do
		findings "$which" "$log" > "$WORK/findings"
		if [ -s "$WORK/findings" ]; then
			printf '%s:\n' "${log##*/}"
			head -n 120 "$WORK/findings"
			clean=1
		elif ! ended "$log"; then
			printf '%s has no end:\n' "${log##*/}"
			tail -n 5 "$log"
			clean=1
		fi
	done
	return $clean
}

# judge_processes counts one check per kind of process, and one for what is
# wrong elsewhere.
judge_processes()
{
	local log pid kind logs
	declare -A kind_of=() logs_of=()

	while read -r pid kind; do
		kind_of[$pid]=$kind
	done < "$WORK/processes"
	for log in "$VALGRIND_LOGS"/*; do
		pid=${log##*/}
		kind=${kind_of[$pid]:-worker of a moment}
		if ! grep -q '^==[0-9]*== Command: .*/bin/postgres ' "$log"; then
			kind="program that the server ran"
		fi
		logs_of[$kind]+=" $log"
	done
	while IFS= read -r kind; do
		read -ra logs <<< "${logs_of[$kind]}"
		count_check "$kind (${#logs[@]}): nothing of ours is wrong" logs_without ours "${logs[@]}"
	done < <(printf '%s\n' "${!logs_of[@]}" | sort)
	count_check "PostgreSQL: nothing else is wrong" logs_without elsewhere "$VALGRIND_LOGS"/*
	logs_without untold "$VALGRIND_LOGS"/* || setup_say "these do not count: see $0"
}

# worker_attributes succeeds when the background worker, whom nobody calls,
# has found the click that an order came from.
worker_attributes()
{
	local end=$((SECONDS + 300)) paths

	createdb worker && psql -XqAt -v ON_ERROR_STOP=1 -d worker > "$WORK/logs/worker.log" 2>&1 <<-'END' || return 1
		CREATE EXTENSION biolink CASCADE;
		INSERT INTO biolink.creator (handle, hosts) VALUES ('mia', '{mia.example}');
		INSERT INTO biolink.link (creator_id, slug, url) VALUES (1, 'print', 'https://shop.example/');
		SELECT token AS bl FROM biolink.click(1, 'print', '{"url": "https://mia.example/print", "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"}') \gset
		SELECT status FROM biolink.track(1, jsonb_build_object('kind', 'order', 'source', 'shop', 'key', '1', 'order_id', '1',
			'amount', 2500, 'currency', 'USD', 'token', :'bl'));
	END
	while [ "$SECONDS" -lt "$end" ]; do
		known_processes >> "$WORK/processes"
		paths=$(psql -XqAt -d worker -c "SELECT count(*) FROM biolink.touch_path") || return 1
		[ "$paths" -eq 0 ] || return 0
		sleep 0.2
	done
	psql -Xq -d worker -c 'TABLE biolink.job_run' -c 'TABLE biolink.worker_status'
	return 1
}

# run_worker starts the server again with biolink preloaded.
run_worker()
{
	server_stop "$WORK/cluster"
	server_start "$WORK/cluster" "shared_preload_libraries = 'biolink'" "biolink.naptime = 1"
	count_check "the background worker attributes an order" worker_attributes
}

main()
{
	local suite data

	choose_suites regress isolation worker
	export TEST_TIMEOUT=${TEST_TIMEOUT:-3000}
	setup_all valgrind
	data=$WORK/cluster
	VALGRIND_LOGS=$WORK/valgrind
	CLUSTER_PROGRAM=$WORK/postgres_under_valgrind
	mkdir -p "$WORK/logs"
	cluster_stop "$data" immediate
	rm -rf "$data" "$VALGRIND_LOGS" "$WORK/processes"
	setup_make_dir "$VALGRIND_LOGS"
	write_server
	server_start "$data"
	for suite in $SUITES; do
		setup_say "$suite"
		case $suite in
			regress) run_regress ;;
			isolation) run_isolation ;;
			worker) run_worker ;;
			*) setup_die "no such suite for valgrind: $suite" ;;
		esac
	done
	server_stop "$data"
	count_check "no crash of the server" no_crash
	judge_processes
	count_summary
}

main
