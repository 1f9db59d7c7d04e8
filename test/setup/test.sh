#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# test.sh
#	  What `make test` runs: the set-up, every suite, one summary line.
#
# Variables read, all optional: SUITES (which of: unit regress isolation tap
# model random clients), REGRESS, ISOLATION, TAP (names of single tests; with one of
# them and no SUITES only those suites run), WORK_DIR (see cluster.sh),
# TEST_TIMEOUT (seconds for one program, 1200), BIOLINK_SHARED (public test data
# of others that some unit tests read: ../shared).
#
# Invariants: every suite runs, whatever failed before; a test that was listed
# and did not run counts as failed; output ends with `N passed, N failed`.
#
#-------------------------------------------------------------------------
set -u

# shellcheck source=test/setup/cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"
# shellcheck source=test/setup/count.sh
source "$TOP/test/setup/count.sh"

# named prints the names of files, without directory and ending.
named()
{
	local ending=$1 file

	shift
	for file in "$@"; do
		if [ -e "$file" ]; then
			file=${file##*/}
			printf '%s\n' "${file%"$ending"}"
		fi
	done
}

# in_tree runs a command as the ordinary user in the copied tree, for at most
# TEST_TIMEOUT seconds.
in_tree() { (cd "$WORK/tree" && as_user timeout --kill-after=30 "${TEST_TIMEOUT:-1200}" "$@"); }

# run_unit runs the unit tests and feeds the fuzzers their corpora.
run_unit()
{
	local name log

	in_tree make -k unit-build > "$WORK/logs/unit-build.log" 2>&1 ||
		grep -E 'error|warning|\*\*\*' "$WORK/logs/unit-build.log"
	for name in $(named .c "$WORK"/tree/test/unit/*_test.c); do
		count_tap "$name" "$WORK/logs/$name.log" in_tree "build/unit/$name"
	done
	for name in $(named .c "$WORK"/tree/test/fuzz/fuzz_*.c); do
		count_tap "$name" "$WORK/logs/$name.log" in_tree "build/replay/$name" "test/fuzz/corpus/${name#fuzz_}"
	done
}

# run_regress runs pg_regress on the throwaway cluster.
run_regress()
{
	local tests

	mapfile -t tests < <(if [ -n "${REGRESS:-}" ]; then
		tr ' ' '\n' <<< "$REGRESS"
	else
		named .sql "$WORK"/tree/test/sql/*.sql
	fi)
	[ ${#tests[@]} -gt 0 ] || return 0
	in_tree make PG_CONFIG="$PG_CONFIG" installcheck REGRESS="${tests[*]}" ISOLATION= TAP_TESTS= \
		> "$WORK/logs/regress.log" 2>&1 || tail -n 15 "$WORK/logs/regress.log"
	count_regress "$WORK/logs/regress.log" "${tests[@]}"
	show_differences "$WORK/tree/regression.diffs"
}

# run_isolation runs pg_isolation_regress on the throwaway cluster.
run_isolation()
{
	local tests

	mapfile -t tests < <(if [ -n "${ISOLATION:-}" ]; then
		tr ' ' '\n' <<< "$ISOLATION"
	else
		named .spec "$WORK"/tree/test/specs/*.spec
	fi)
	[ ${#tests[@]} -gt 0 ] || return 0
	in_tree make PG_CONFIG="$PG_CONFIG" installcheck REGRESS= ISOLATION="${tests[*]}" TAP_TESTS= \
		> "$WORK/logs/isolation.log" 2>&1 || tail -n 15 "$WORK/logs/isolation.log"
	count_regress "$WORK/logs/isolation.log" "${tests[@]}"
	show_differences "$WORK/tree/output_iso/regression.diffs"
}

# show_differences prints where outputs differ from the expected ones.
show_differences()
{
	if [ -s "$1" ]; then
		head -n 200 "$1"
	fi
}

# run_tap runs the TAP tests, each of which starts servers of its own, in the
# environment that PGXS's installcheck gives them.
run_tap()
{
	local tests name before pgxs_src

	mapfile -t tests < <(if [ -n "${TAP:-}" ]; then
		tr ' ' '\n' <<< "$TAP"
	else
		named .pl "$WORK"/tree/test/t/*.pl
	fi)
	pgxs_src=$(cd "$(dirname "$("$PG_CONFIG" --pgxs)")/.." && pwd -P)
	rm -rf "$WORK/tree/tmp_check"
	as_user mkdir -p "$WORK/tree/tmp_check/log"
	for name in "${tests[@]}"; do
		before=$FAILED
		count_tap "$name" "$WORK/logs/$name.log" in_tree env \
			TESTDIR="$WORK/tree" TESTLOGDIR="$WORK/tree/tmp_check/log" TESTDATADIR="$WORK/tree/tmp_check" \
			PGPORT=65432 PG_REGRESS="$pgxs_src/test/regress/pg_regress" top_builddir="$pgxs_src/.." \
			perl -I "$pgxs_src/test/perl" -I . "test/t/$name.pl"
		setup_stop_strays
		if [ "$FAILED" -gt "$before" ] && [ -e "$WORK/tree/tmp_check/log/regress_log_$name" ]; then
			tail -n 60 "$WORK/tree/tmp_check/log/regress_log_$name"
		fi
	done
}

# run_script runs another suite that has a run.sh, if it is there, in a
# database of its own.
run_script()
{
	local name=$1

	[ -e "$WORK/tree/test/$name/run.sh" ] || return 0
	if createdb -T template0 "$name" && psql -X -q -d "$name" -c 'CREATE EXTENSION biolink CASCADE' 2>&1; then
		count_tap "$name" "$WORK/logs/$name.log" in_tree env PGDATABASE="$name" "test/$name/run.sh"
	else
		count_not_ok "$name: no database with the extension"
	fi
}

# choose_suites sets SUITES where nobody did: to those of the single tests that
# were named, else to the arguments.
choose_suites()
{
	local single="${REGRESS:+regress} ${ISOLATION:+isolation} ${TAP:+tap}"

	if [ -z "${SUITES:-}" ]; then
		SUITES=$([ -n "${single// /}" ] && echo "$single" || echo "$*")
	fi
}

# no_crash succeeds where no process of the server came to a bad end.
no_crash() { ! grep -E 'PANIC|\(PID [0-9]+\) was terminated by signal' "$WORK/cluster/server.log"; }

main()
{
	local suite

	choose_suites unit regress isolation tap model random clients

	# public lists of others, kept beside the tree: the tests run in a copy of it
	export BIOLINK_SHARED=${BIOLINK_SHARED:-$(dirname "$TOP")/shared}
	setup_all
	mkdir -p "$WORK/logs"
	# in a kept working directory there may be one of before
	cluster_stop "$WORK/cluster" immediate
	rm -rf "$WORK/cluster"
	cluster_start_test "$WORK/cluster"
	for suite in $SUITES; do
		setup_say "$suite"
		case $suite in
			unit) run_unit ;;
			regress) run_regress ;;
			isolation) run_isolation ;;
			tap) run_tap ;;
			*) run_script "$suite" ;;
		esac
	done
	count_check "no crash of the server" no_crash
	cluster_stop "$WORK/cluster"
	count_summary
}

# valgrind.sh uses the suites for a server of its own
if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	main
fi
