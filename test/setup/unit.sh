#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# unit.sh
#	  What `make unit` and `make asan` run after building: unit tests and
#	  fuzzers' corpora, without a server and without any set-up.
#
# Usage: test/setup/unit.sh [sanitized]
#
# With `sanitized` the tests count only if what they were built with does
# notice wrong memory accesses, leaks and undefined behaviour; without it they
# run as they were built.
#
#-------------------------------------------------------------------------
set -u
cd "$(dirname "$0")/../.." || exit 1

# shellcheck source=test/setup/count.sh
source test/setup/count.sh

# noticed succeeds where a wrong program (second argument), built as the unit
# tests are, does not end well, and a report (first argument) says why.
noticed()
{
	local flags

	read -ra flags < build/sanitize
	printf '#include <stdlib.h>\nint main(int argc, char **argv) { (void) argv; %s }\n' "$2" > build/probe.c
	"${UNIT_CC:-cc}" -g "${flags[@]+"${flags[@]}"}" -o build/probe build/probe.c || return 1
	! build/probe > build/probe.log 2>&1 && grep -q "$1" build/probe.log
}

if [ "${1:-}" = sanitized ]; then
	export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1
	export UBSAN_OPTIONS=print_stacktrace=1
	count_check "a read past the end is noticed" noticed heap-buffer-overflow \
		'char *p = malloc(argc); return p[argc];'
	count_check "a leak is noticed" noticed 'LeakSanitizer: detected memory leaks' \
		'volatile char *p = malloc(argc); p = NULL; return p != NULL;'
	count_check "an overflow is noticed" noticed 'runtime error: signed integer overflow' \
		'int i = 2147483647; return (i + argc) > 0;'
	for program in build/unit/*_test build/replay/fuzz_*; do
		if [ -x "$program" ]; then
			count_check "${program##*/} is built with the sanitizers" grep -q __asan_init "$program"
		fi
	done
fi

for program in build/unit/*_test; do
	if [ -x "$program" ]; then
		count_tap "${program##*/}" "$program.log" "$program"
	fi
done
for program in build/replay/fuzz_*; do
	if [ -x "$program" ]; then
		name=${program##*/}
		count_tap "$name" "build/$name.log" "$program" "test/fuzz/corpus/${name#fuzz_}"
	fi
done
count_summary
