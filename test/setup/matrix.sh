#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# matrix.sh
#	  What `make test-matrix` runs: no warnings and all tests on the other
#	  majors of PostgreSQL, each in a system of a release that has it.
#
#	make test-matrix MATRIX="17 18"		some majors
#	make test-matrix MATRIX="18=sid"	a major in a release of one's choice; for one that is
#										not Debian's, MATRIX="16=jammy@http://mirror/ubuntu"
#
# Invariants:
#	- Those of system.sh.  Made systems are cached, so that the second run
#	  takes seconds instead of minutes before its tests; a cached one is made
#	  anew after a week, when it is broken, and for another packages.sh.
#	- The tests are run by an ordinary user, who could not install anything;
#	  a warning of the compiler fails them (WERROR).
#	- A release that cannot be got, or not with that PostgreSQL, is skipped
#	  and says why; a test that fails has failed.
#	- The last line is `N passed, N failed`.  Exit status 77 means that
#	  nothing could be done at all.
#
# Variables read: MATRIX (default: every major but that of the host's own
# release), MATRIX_SUITES (suites of `make test`), MATRIX_CACHE (a directory
# that keeps made systems: /var/cache/biolink-matrix), CHROOT_CACHE (see system.sh).
#
#-------------------------------------------------------------------------
set -u

# shellcheck source=test/setup/system.sh
source "$(dirname "$0")/system.sh"
# shellcheck source=test/setup/count.sh
source "$TOP/test/setup/count.sh"

# Where each major is at home: `major distribution release ...`, the release
# that is tried first in front.
HOMES='
15 debian bookworm
16 ubuntu noble
17 debian trixie
18 debian forky sid
'

# home_of prints a major's distribution and releases.
home_of() { awk -v major="$1" '$1 == major { $1 = ""; print }' <<< "$HOMES"; }

# other_majors prints the majors whose home is not the host's release.
other_majors()
{
	awk -v host="$VERSION_CODENAME" 'NF { for (i = 3; i <= NF; i++) if ($i == host) next; print $1 }' <<< "$HOMES"
}

# take takes the first release that is to be had for a major, and sets release.
take()
{
	local major=$1 chosen=$2 mirror why='' distribution releases

	read -r distribution releases <<< "$(home_of "$major")"
	if [ -z "$distribution" ]; then
		system_say "no release is known for PostgreSQL $major"
		exit 1
	fi
	mirror=$(system_mirror "$distribution")
	case $chosen in
		'') ;;
		*@*) releases=${chosen%%@*} mirror=${chosen#*@} ;;
		*) releases=$chosen ;;
	esac
	[ -n "$mirror" ] || system_cannot "apt has no source of $distribution"
	for release in $releases; do
		if system_take "$release" "$mirror" "$major" "$MATRIX_CACHE"; then
			return
		fi
		why="$why${why:+; }$SYSTEM_WHY"
	done
	system_cannot "PostgreSQL $major: $why"
}

# run_tests is one major, within the namespaces.
run_tests()
{
	local major=$1 release began

	began=$(date +%s)
	take "$major" "$2"
	system_repository || return 1
	system_visitor
	count_check "the repository is cloned in $release" clone_for visitor
	system_say "$(inside root "$(system_pg_config "$major")" --version) of $release, after $(($(date +%s) - began)) s"
	count_totals "make test on PostgreSQL $major in $release" "$logs/test.log" \
		inside visitor make -C biolink test WERROR=1 PG_CONFIG="$(system_pg_config "$major")" SUITES="$MATRIX_SUITES"
	count_summary
}

# run_majors is one major after the other.
run_majors()
{
	local i logs majors=()

	system_possible
	read -ra majors <<< "${MATRIX:-$(other_majors | tr '\n' ' ')}"
	logs=$(mktemp -d) || exit 1
	for i in "${!majors[@]}"; do
		system_say "PostgreSQL ${majors[i]}"
		count_totals "PostgreSQL ${majors[i]}" "$logs/$i" "$0" one "${majors[i]}"
	done
	for i in "${!majors[@]}"; do
		printf 'PostgreSQL %s: %s\n' "${majors[i]}" \
			"$(grep -E '^[0-9]+ passed, |^== impossible: ' "$logs/$i" | tail -n 1 | sed 's/^== //')"
	done
	rm -rf "$logs"
	if [ $((PASSED + FAILED)) -eq 0 ]; then
		exit 77
	fi
	count_summary
}

main()
{
	local major chosen=''

	export MATRIX_CACHE=${MATRIX_CACHE:-/var/cache/biolink-matrix}
	export MATRIX_SUITES=${MATRIX_SUITES:-unit regress isolation tap}
	case ${1:-} in
		'')
			run_majors
			;;
		one)
			major=${2%%=*}
			if [ "$major" != "$2" ]; then
				chosen=${2#*=}
			fi
			system_run "$major" "$chosen"
			;;
		within)
			logs=$2 root=$3
			run_tests "$4" "$5"
			;;
	esac
}

main "$@"
