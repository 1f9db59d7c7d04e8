#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# count.sh
#	  Counting tests, one way for every kind of them.
#
# To be sourced by a bash script.
#
# Owns PASSED and FAILED, the totals of the script that sources it.
#
# Invariants:
#	- What was expected to run and did not, counts as failed.
#	- A program that fails without having said which test failed counts as
#	  one failed test; so does one that breaks its own TAP plan.
#	- Skipped tests count as neither.
#
#-------------------------------------------------------------------------

PASSED=0
FAILED=0

# count_ok counts a passed test and prints its name.
count_ok() { PASSED=$((PASSED + 1)); printf 'ok - %s\n' "$*"; }

# count_not_ok counts a failed test and prints its name.
count_not_ok() { FAILED=$((FAILED + 1)); printf 'not ok - %s\n' "$*"; }

# count_check runs a command (arguments from the second on) as one test, named
# by the first argument.
count_check()
{
	local name=$1

	shift
	if "$@"; then
		count_ok "$name"
	else
		count_not_ok "$name"
	fi
}

# count_tap runs a command (from the third argument on) that prints TAP, shows
# and keeps its output in the file named by the second argument, and counts
# its lines `ok` and `not ok`.  A program without any is one test.
count_tap()
{
	local name=$1 log=$2 status counts passed failed skipped planned bailed

	shift 2
	"$@" 2>&1 | tee "$log"
	status=${PIPESTATUS[0]}
	counts=$(awk '
		BEGIN { passed = failed = skipped = bailed = 0; planned = -1 }
		/^ok( |$)/ { if (tolower($0) ~ /# *skip/) skipped++; else passed++ }
		/^not ok( |$)/ { if (tolower($0) ~ /# *todo/) skipped++; else failed++ }
		/^1\.\.[0-9]+/ { planned = substr($1, 4) + 0 }
		/^Bail out!/ { bailed = 1 }
		END { print passed, failed, skipped, planned, bailed }' "$log")
	read -r passed failed skipped planned bailed <<< "$counts"

	if [ "$planned" -gt $((passed + failed + skipped)) ]; then
		printf 'not ok - %s: planned %d tests, ran %d\n' "$name" "$planned" $((passed + failed + skipped))
		failed=$((planned - passed - skipped))
	elif [ "$planned" -ge 0 ] && [ "$planned" -lt $((passed + failed + skipped)) ]; then
		count_not_ok "$name: planned $planned tests, ran $((passed + failed + skipped))"
	elif [ "$failed" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$bailed" -ne 0 ]; }; then
		count_not_ok "$name: exit status $status"
	elif [ $((passed + failed + skipped)) -eq 0 ] && [ "$planned" -ne 0 ]; then
		count_ok "$name"
	fi
	PASSED=$((PASSED + passed))
	FAILED=$((FAILED + failed))
}

# count_totals runs a command (from the third argument on) that ends with a
# line `N passed, N failed`, shows and keeps its output, and adds that line.
# Exit status 77 says that the command cannot run here, and counts as nothing.
count_totals()
{
	local name=$1 log=$2 status line passed failed

	shift 2
	"$@" 2>&1 | tee "$log"
	status=${PIPESTATUS[0]}
	if [ "$status" -eq 77 ]; then
		printf 'skipped - %s\n' "$name"
		return
	fi
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
	if [ -z "$line" ]; then
		if [ "$status" -eq 0 ]; then
			count_ok "$name"
		else
			count_not_ok "$name: exit status $status"
		fi
		return
	fi
	read -r passed _ failed _ <<< "$line"
	PASSED=$((PASSED + passed))
	FAILED=$((FAILED + failed))
	if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
		count_not_ok "$name: exit status $status"
	fi
}

# count_regress reads what pg_regress or pg_isolation_regress printed (first
# argument: file) about the tests named by the other arguments, in the form of
# PostgreSQL 15 and in that of later ones.
count_regress()
{
	local log=$1 name

	shift
	for name in "$@"; do
		count_check "$name" grep -Eq "^(test +)?$name +\.\.\. ok|^ok +[0-9]+ +[-+] $name( |\$)" "$log"
	done
}

# count_summary prints the last line of a test run and fails if a test did, or
# if there was none.
count_summary()
{
	printf '%d passed, %d failed\n' "$PASSED" "$FAILED"
	[ "$FAILED" -eq 0 ] && [ "$PASSED" -gt 0 ]
}
