#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# unit.sh
#	  What `make unit` runs after building: unit tests and fuzzers' corpora,
#	  without a server and without any set-up.
#
#-------------------------------------------------------------------------
set -u
cd "$(dirname "$0")/../.." || exit 1

# shellcheck source=test/setup/count.sh
source test/setup/count.sh

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
