#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# chroot.sh
#	  What `make chroot-test` runs: `make test` where nothing is prepared.
#
# A minimal Debian or Ubuntu is made with debootstrap: the base system with
# git, make and gcc, and nothing else.  The repository (what is committed) is
# cloned into root's home there, which no other user can read, and `make test`
# runs in it, installing what it needs.  Then it is the turn of an ordinary
# user, who has no rights and needs none any more.
#
# Other releases:
#	make chroot-test CHROOT_RELEASE=trixie
#	make chroot-test CHROOT_RELEASE=noble CHROOT_MIRROR=http://archive.ubuntu.com/ubuntu
#
# What this proves is the set-up from nothing, so nothing is cached; matrix.sh
# is for the other majors of PostgreSQL.
#
# Invariants:
#	- Those of system.sh.
#	- Packages come from where the host's apt gets the distribution's own,
#	  unless CHROOT_MIRROR says otherwise.
#	- The last line is `N passed, N failed`.  Exit status 77 means that it
#	  cannot be done at all: no root, no namespaces, no such release to get,
#	  or a release other than the host's whose packages do not install today.
#
# Variables read: CHROOT_RELEASE (default: the host's), CHROOT_MIRROR (default:
# the host's), CHROOT_SUITES (suites of `make test`), CHROOT_DIR (a directory
# to make the system in and to leave behind), CHROOT_CACHE (a directory that
# keeps downloaded base packages).
#
#-------------------------------------------------------------------------
set -u

# shellcheck source=test/setup/system.sh
source "$(dirname "$0")/system.sh"
# shellcheck source=test/setup/count.sh
source "$TOP/test/setup/count.sh"

# no_cluster succeeds where the packages' set-up has left no cluster, no
# running server and no setting of ours behind.
no_cluster()
{
	local clusters

	clusters=$(inside root pg_lsclusters -h 2>/dev/null)
	[ -z "$clusters" ] && ! cat "$root"/proc/[0-9]*/comm 2>/dev/null | grep -qx postgres &&
		[ ! -e "$root/etc/postgresql-common/createcluster.d/biolink-setup.conf" ]
}

# as_it_was succeeds where a clone holds what was committed and nothing else.
as_it_was()
{
	local changes

	if ! changes=$(inside "$1" git -C biolink status --porcelain --ignored) || [ -n "$changes" ]; then
		printf '%s\n' "$changes"
		return 1
	fi
}

# nothing_to_install succeeds where packages.sh has nothing to say.
nothing_to_install()
{
	[ "$(inside "$1" biolink/test/setup/packages.sh 2>&1)" = "$(inside "$1" biolink/test/setup/packages.sh 2>/dev/null)" ]
}

# plain_build builds, installs and cleans as any extension.
plain_build()
{
	local config

	config=$(inside root biolink/test/setup/packages.sh) || return 1
	{ inside root make -C biolink PG_CONFIG="$config" &&
		inside root make -C biolink PG_CONFIG="$config" install &&
		inside root make -C biolink PG_CONFIG="$config" uninstall &&
		inside root make -C biolink PG_CONFIG="$config" clean; } > "$logs/plain.log" 2>&1 || {
		tail -n 20 "$logs/plain.log"
		return 1
	}
}

# run_tests is the test proper, within the namespaces.
run_tests()
{
	local release=${CHROOT_RELEASE:-$VERSION_CODENAME} mirror=${CHROOT_MIRROR:-} foreign='' status

	[ "$release" = "$VERSION_CODENAME" ] || foreign=yes
	if [ -z "$mirror" ]; then
		mirror=$(system_mirror "$ID")
		[ -n "$mirror" ] || system_cannot "apt has no source of $ID $VERSION_CODENAME"
	fi
	system_make "$release" "$mirror"
	status=$?
	if [ "$status" -eq 77 ] || { [ "$status" -ne 0 ] && [ -n "$foreign" ]; }; then
		system_cannot "$SYSTEM_WHY"
	fi
	count_check "a minimal system is made" test "$status" -eq 0
	if [ "$FAILED" -gt 0 ]; then
		count_summary
		return
	fi
	system_repository || return 1

	count_check "root clones the repository" clone_for root
	if [ -n "$foreign" ]; then
		inside root biolink/test/setup/packages.sh > /dev/null ||
			system_cannot "the packages of that release do not install"
	fi
	count_totals "make test as root" "$logs/root.log" inside root make -C biolink test SUITES="${CHROOT_SUITES:-}"
	count_check "make test by root leaves the clone as it was" as_it_was root
	count_check "no cluster is made or started" no_cluster
	count_check "nothing is installed twice" nothing_to_install root
	count_check "make, make install, make uninstall, make clean" plain_build
	count_check "make clean leaves the clone as it was" as_it_was root

	system_visitor
	count_check "an ordinary user clones the repository" clone_for visitor
	count_totals "make test as an ordinary user" "$logs/visitor.log" \
		inside visitor make -C biolink test SUITES="unit regress"
	count_check "make test by that user leaves the clone as it was" as_it_was visitor
	count_summary
}

main()
{
	if [ "${1:-}" = within ]; then
		logs=$2 root=$3
		run_tests
		return
	fi
	system_possible
	apt-get update -q > /dev/null 2>&1
	if [ -n "${CHROOT_DIR:-}" ]; then
		system_run --at "$CHROOT_DIR"
	else
		system_run
	fi
}

main "$@"
