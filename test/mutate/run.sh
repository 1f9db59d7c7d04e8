#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# run.sh
#	  Do the tests notice when the code is wrong?  Breaks one thing at a time
#	  in a copy of the tree and runs the tests that have to fail.
#
# Each mutation of mutations.txt is a block of lines:
#
#	  = name: which rule it breaks, and how
#	  file <path>
#	  perl <an expression for perl -0pi>
#	  run <variables of `make test`: REGRESS=..., ISOLATION=..., SUITES=...>
#
# A mutation counts as passed when a test failed; it counts as failed when all
# tests passed, when the expression no longer changes the file, or when the
# mutated tree does not build (which would prove nothing).
#
# ONLY="text" runs the mutations whose name contains it.  JOBS (as many as there
# are processors) take turns, each in a copy of its own.
#
#-------------------------------------------------------------------------
set -u

TOP=$(cd "$(dirname "$0")/../.." && pwd -P)
SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/biolink_mutate.XXXXXX")
chmod 755 "$SCRATCH"
ALL=$SCRATCH
JOBS=${JOBS:-$(nproc)}
trap 'rm -rf "$ALL"' EXIT

# result says how one mutation came out.
result() { printf '%s - %s\n' "$1" "$2" | tee -a "$ALL/results"; }

# total counts what result() said, and ends everything.
total()
{
	local failed

	failed=$(grep -c '^not ok' "$ALL/results")
	printf '%d passed, %d failed\n' "$(grep -c '^ok' "$ALL/results")" "$failed"
	[ "$failed" -eq 0 ]
	exit
}

# tests runs the tests of the scratch tree with the given variables.
tests()
{
	make -C "$SCRATCH/tree" test WORK_DIR="$SCRATCH/work" "$@" > "$SCRATCH/log" 2>&1
}

# try applies one mutation, runs its tests and takes it back.
try()
{
	local name=$1 file=$2 expression=$3
	shift 3

	cp -p "$SCRATCH/tree/$file" "$SCRATCH/original"
	perl -0pi -e "$expression" "$SCRATCH/tree/$file"
	if cmp -s "$SCRATCH/original" "$SCRATCH/tree/$file"; then
		result 'not ok' "$name (the expression changes nothing)"
		return
	fi
	if tests "$@"; then
		result 'not ok' "$name (no test noticed)"
	elif grep -qE '^not ok ' "$SCRATCH/log" && ! grep -qE ' error: |^make.*\*\*\* \[[^]]*\.(o|so|bc)\]' "$SCRATCH/log"; then
		result ok "$name"
	else
		result 'not ok' "$name (the mutated tree did not get as far as its tests)"
		tail -n 20 "$SCRATCH/log"
	fi
	cp "$SCRATCH/original" "$SCRATCH/tree/$file"
}

mkdir "$SCRATCH/tree"
(cd "$TOP" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp -a --parents -t "$SCRATCH/tree") || exit 1

# What the mutations are measured against has to pass.
if ! tests SUITES="unit regress isolation"; then
	tail -n 30 "$SCRATCH/log"
	result 'not ok' 'the tests pass without a mutation'
	total
fi

# work tries every JOBS-th mutation, from the one of this number on.
work()
{
	local job=$1 number=0 line name='' file='' expression='' variables

	SCRATCH=$ALL/$job
	mkdir "$SCRATCH"
	cp -a "$ALL/tree" "$SCRATCH/tree"
	chmod 755 "$SCRATCH"
	while IFS= read -r line; do
		case $line in
			'= '*) name=${line#= } ;;
			'file '*) file=${line#file } ;;
			'perl '*) expression=${line#perl } ;;
			'run '*)
				if [[ $name == *"${ONLY:-}"* ]]; then
					if [ $((number % JOBS)) -eq "$job" ]; then
						IFS=, read -ra variables <<< "${line#run }"
						try "$name" "$file" "$expression" "${variables[@]}"
					fi
					number=$((number + 1))
				fi
				;;
		esac
	done < "$TOP/test/mutate/mutations.txt"
}

for ((job = 0; job < JOBS; job++)); do
	work "$job" &
done
wait
total
