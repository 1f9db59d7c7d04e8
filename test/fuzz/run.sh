#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# run.sh
#	  What `make fuzz` runs after building: every fuzzer for a while.
#
# Usage: test/fuzz/run.sh SECONDS
#
# Starts from test/fuzz/corpus/<name>, which is not changed; what is found
# stays in build/fuzz/found/<name>, an input that crashes in build/fuzz/crash-*.
# To keep such an input for ever, copy it into the corpus: `make test` feeds
# the corpus to every fuzzer.
#
#-------------------------------------------------------------------------
set -u
cd "$(dirname "$0")/../.." || exit 1

# shellcheck source=test/setup/count.sh
source test/setup/count.sh

seconds=${1:-60}

# fuzz runs one fuzzer.
fuzz()
{
	local name=$1 found=build/fuzz/found/${1#fuzz_} corpus=test/fuzz/corpus/${1#fuzz_} dirs

	mkdir -p "$found"
	dirs=("$found")
	if [ -d "$corpus" ]; then
		dirs+=("$corpus")
	fi
	"build/fuzz/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix=build/fuzz/crash-"${name#fuzz_}"- "${dirs[@]}" > "build/fuzz/$name.log" 2>&1 || {
		grep -E 'ERROR|SUMMARY|runtime error|Test unit written|#[0-9]+ 0x' "build/fuzz/$name.log" | head -n 40
		return 1
	}
	grep -E 'number_of_executed_units|new_units_added' "build/fuzz/$name.log"
}

for file in test/fuzz/fuzz_*.c; do
	[ -e "$file" ] || continue
	name=${file##*/}
	count_check "${name%.c} for $seconds s" fuzz "${name%.c}"
done
count_summary
