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
# Other releases bring other majors of PostgreSQL:
#	make chroot-test CHROOT_RELEASE=trixie
#	make chroot-test CHROOT_RELEASE=noble CHROOT_MIRROR=http://archive.ubuntu.com/ubuntu
#
# Invariants:
#	- Needs root.  Everything happens in mount and process namespaces of its
#	  own: no mount and no process outlives this script.
#	- Packages come from where the host's apt gets the distribution's own,
#	  unless CHROOT_MIRROR says otherwise.
#	- The last line is `N passed, N failed`.  Exit status 77 means that it
#	  cannot be done at all: no root, no namespaces, no such release to get,
#	  or a release other than the host's whose packages do not install today.
#
# Variables read: CHROOT_RELEASE (default: the host's), CHROOT_MIRROR (default:
# the host's), CHROOT_SUITES (suites of `make test`), CHROOT_DIR (a directory to make the system in and to leave
# behind), CHROOT_CACHE (a directory that keeps downloaded base packages).
#
#-------------------------------------------------------------------------
set -u

TOP=$(cd "$(dirname "$0")/../.." && pwd -P) || exit 1
# shellcheck source=test/setup/count.sh
source "$TOP/test/setup/count.sh"

# say writes a line for the reader.
say() { printf '== %s\n' "$*" >&2; }

# cannot ends where the machine does not allow such a test.
cannot() { say "chroot test impossible: $*"; exit 77; }

# host_sources prints the distribution's own package sources as apt on this
# machine knows them, one `URI release component` per line.
host_sources()
{
	# shellcheck disable=SC2016 # these are apt's variables
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)' \
		'Created-By: Packages' 2>/dev/null |
		awk -v id="$ID" 'tolower($NF) == id { print $1, $2, $3 }' | sort -u
}

# make_system makes the minimal system in $root.
make_system()
{
	local release=${CHROOT_RELEASE:-$VERSION_CODENAME} mirror=${CHROOT_MIRROR:-} options=() script=()

	if [ -z "$mirror" ]; then
		mirror=$(host_sources | awk -v release="$VERSION_CODENAME" '$2 == release { print $1; exit }')
		[ -n "$mirror" ] || cannot "apt has no source of $ID $VERSION_CODENAME"
	fi
	mirror=${mirror%/}
	/usr/lib/apt/apt-helper download-file "$mirror/dists/$release/Release" "$logs/Release" > /dev/null 2>&1 ||
		cannot "$release cannot be got from $mirror"
	if [ -n "${CHROOT_CACHE:-}" ]; then
		mkdir -p "$CHROOT_CACHE"
		options=(--cache-dir="$(realpath "$CHROOT_CACHE")")
	fi
	# a release newer than this debootstrap is made like the ones before it
	if [ ! -e "/usr/share/debootstrap/scripts/$release" ]; then
		script=(/usr/share/debootstrap/scripts/sid)
		if [[ $mirror == *ubuntu* ]]; then
			script=(/usr/share/debootstrap/scripts/gutsy)
		fi
	fi
	say "making a minimal $release from $mirror"
	debootstrap --variant=minbase --include=git,make,gcc "${options[@]+"${options[@]}"}" \
		"$release" "$root" "$mirror" "${script[@]+"${script[@]}"}" > "$logs/debootstrap.log" 2>&1 || {
		tail -n 20 "$logs/debootstrap.log"
		return 1
	}
	if [ "$release" = "$VERSION_CODENAME" ]; then
		host_sources | sed 's/^/deb /' > "$root/etc/apt/sources.list"
	elif [[ $mirror == *ubuntu* ]]; then
		echo "deb $mirror $release main universe" > "$root/etc/apt/sources.list"
	fi
	# how this machine reaches the network
	cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null
	cp -L /etc/hosts "$root/etc/hosts" 2>/dev/null
	apt-config dump 2>/dev/null | grep -i '^Acquire::.*proxy' > "$root/etc/apt/apt.conf.d/90proxy"
	mount -t proc proc "$root/proc" && mount -t tmpfs tmpfs "$root/dev/shm"
}

# inside runs a command in the new system as one of its users, with a login's
# clean environment.
inside()
{
	local user=$1 home

	shift
	home=$(chroot "$root" getent passwd "$user" | cut -d: -f6)
	# shellcheck disable=SC2016 # for the shell inside
	chroot "$root" setpriv --reuid="$user" --regid="$user" --init-groups \
		env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		HOME="$home" USER="$user" TERM=dumb \
		sh -c 'cd "$HOME" && exec "$@"' sh "$@"
}

# clone_for clones the repository into a user's home.
clone_for() { inside "$1" git clone -q /srv/biolink.git biolink; }

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
	local foreign=''

	[ "${CHROOT_RELEASE:-$VERSION_CODENAME}" = "$VERSION_CODENAME" ] || foreign=yes
	count_check "a minimal system is made" make_system
	if [ "$FAILED" -gt 0 ]; then
		[ -z "$foreign" ] || cannot "debootstrap of this machine does not make that release"
		count_summary
		return
	fi
	# whoever owns the repository, it may be read
	printf '[safe]\n\tdirectory = *\n' > "$root/etc/gitconfig"
	GIT_CONFIG_GLOBAL=$root/etc/gitconfig git clone -q --bare "$TOP" "$root/srv/biolink.git" || return 1
	chmod -R a+rX "$root/srv"

	count_check "root clones the repository" clone_for root
	if [ -n "$foreign" ]; then
		inside root biolink/test/setup/packages.sh > /dev/null || cannot "the packages of that release do not install"
	fi
	count_totals "make test as root" "$logs/root.log" inside root make -C biolink test SUITES="${CHROOT_SUITES:-}"
	count_check "make test by root leaves the clone as it was" as_it_was root
	count_check "no cluster is made or started" no_cluster
	count_check "nothing is installed twice" nothing_to_install root
	count_check "make, make install, make uninstall, make clean" plain_build
	count_check "make clean leaves the clone as it was" as_it_was root

	inside root useradd -m -U -s /bin/bash visitor
	count_check "an ordinary user clones the repository" clone_for visitor
	count_totals "make test as an ordinary user" "$logs/visitor.log" \
		inside visitor make -C biolink test SUITES="unit regress"
	count_check "make test by that user leaves the clone as it was" as_it_was visitor
	count_summary
}

main()
{
	local work root logs status

	# shellcheck source=/dev/null
	source /etc/os-release
	[ "$(id -u)" -eq 0 ] || cannot "it needs root"
	command -v apt-get > /dev/null || cannot "it needs apt-get"
	[ -n "${VERSION_CODENAME:-}" ] || cannot "the release of this system has no code name"
	PATH=$PATH:/usr/sbin:/sbin

	if [ "${1:-}" != within ]; then
		"$TOP/test/setup/packages.sh" chroot > /dev/null || cannot "debootstrap cannot be installed"
		unshare --mount --pid --fork true 2> /dev/null || cannot "no right to make namespaces"
		git -C "$TOP" rev-parse -q --verify HEAD > /dev/null || cannot "nothing is committed here"
		[ -z "$(git -C "$TOP" status --porcelain)" ] || say "note: what is not committed is not tested"
		apt-get update -q > /dev/null 2>&1

		work=$(mktemp -d /var/tmp/biolink-chroot.XXXXXX) || exit 1
		unshare --mount --propagation private --pid --fork --kill-child "$0" within \
			"$work" "${CHROOT_DIR:-$work/system}"
		status=$?
		if [ "$status" -eq 0 ] || [ "$status" -eq 77 ]; then
			rm -rf --one-file-system "$work"
		else
			rm -rf --one-file-system "$work/system"
			say "logs are kept in $work"
		fi
		exit "$status"
	fi

	logs=$2 root=$3
	mkdir -p "$root" || exit 1
	chmod 755 "$logs" "$root"
	run_tests
}

main "$@"
