#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# system.sh
#	  A Debian or Ubuntu of one's own, made with debootstrap, for tests that
#	  need another machine.
#
# To be sourced by a bash script that runs itself again within namespaces:
#
#	if [ "${1:-}" != within ]; then
#		system_possible						# exit status 77 where it is not
#		system_run [--at DIR] [argument ...]	# this script, as: within LOGS ROOT argument ...
#		exit
#	fi
#	logs=$2 root=$3
#	system_make noble http://archive.ubuntu.com/ubuntu && system_repository
#	inside root git clone -q /srv/biolink.git biolink
#
# Owns the system in $root, how it is entered, and the cache of made systems.
#
# Invariants:
#	- Needs root.  Everything happens in mount and process namespaces of its
#	  own: no mount and no process outlives system_run.
#	- The system is the base system with git, make and gcc, and nothing else;
#	  a furnished one has what packages.sh says that the tests need or can use.
#	- What is tested is what is committed.
#	- A cached system is one file, complete or not there at all; it is used
#	  for SYSTEM_DAYS (longer where no other is to be had), and only for the
#	  packages.sh, the mirror and the way of making it that it is of.
#
# Variables read: CHROOT_CACHE (a directory that keeps downloaded base packages).
# Variables set: TOP (the tree), ID and VERSION_CODENAME (of the host).
#
#-------------------------------------------------------------------------

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P) || exit 1
# shellcheck source=/dev/null
source /etc/os-release
PATH=$PATH:/usr/sbin:/sbin

# What every system has from the start.
SYSTEM_INCLUDE=git,make,gcc
# How old a cached system may get.
SYSTEM_DAYS=7
# Why the last system could not be had.
SYSTEM_WHY=
# The system and where logs go, within the namespaces.
root=
logs=

# system_say writes a line for the reader.
system_say() { printf '== %s\n' "$*" >&2; }

# system_cannot ends where the machine does not allow such a test.
system_cannot() { system_say "impossible: $*"; exit 77; }

# system_possible ends where the host does not allow such tests at all.
system_possible()
{
	[ "$(id -u)" -eq 0 ] || system_cannot "it needs root"
	command -v apt-get > /dev/null || system_cannot "it needs apt-get"
	[ -n "${VERSION_CODENAME:-}" ] || system_cannot "the release of this system has no code name"
	"$TOP/test/setup/packages.sh" chroot > /dev/null || system_cannot "debootstrap cannot be installed"
	unshare --mount --pid --fork true 2> /dev/null || system_cannot "no right to make namespaces"
	git -C "$TOP" rev-parse -q --verify HEAD > /dev/null || system_cannot "nothing is committed here"
	[ -z "$(git -C "$TOP" status --porcelain)" ] || system_say "note: what is not committed is not tested"
}

# system_run runs this very script again within namespaces, with a directory
# for logs, one for the system (--at names it and keeps it) and the arguments.
# Logs stay when that fails.
system_run()
{
	local work status at=''

	if [ "${1:-}" = --at ]; then
		at=$2
		shift 2
	fi
	work=$(mktemp -d /var/tmp/biolink-chroot.XXXXXX) || exit 1
	mkdir -p "${at:-$work/system}" && chmod 755 "$work" "${at:-$work/system}" || exit 1
	# unshare itself minds no signal but this one, which takes all with it
	unshare --mount --propagation private --pid --fork --kill-child "$0" within \
		"$work" "${at:-$work/system}" "$@" &
	# shellcheck disable=SC2064 # expanded now on purpose
	trap "kill -KILL $!" TERM INT HUP
	wait $!
	status=$?
	# once is enough: what was made is removed in any case
	trap '' TERM INT HUP
	wait $! 2> /dev/null
	rm -rf --one-file-system "$work/system"
	trap - TERM INT HUP
	if [ "$status" -eq 0 ] || [ "$status" -eq 77 ]; then
		rm -rf --one-file-system "$work"
	else
		system_say "logs are kept in $work"
	fi
	return "$status"
}

# system_sources prints the distribution's own package sources as apt on this
# machine knows them, one `URI release component` per line.
system_sources()
{
	# shellcheck disable=SC2016 # these are apt's variables
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)' \
		'Created-By: Packages' 2>/dev/null |
		awk -v id="$ID" 'tolower($NF) == id { print $1, $2, $3 }' | sort -u
}

# system_mirror prints where the packages of a distribution (debian, ubuntu)
# come from: for the host's own, from where the host's apt gets them.
system_mirror()
{
	local mirror=''

	if [ "$1" = "$ID" ]; then
		mirror=$(system_sources | awk -v release="$VERSION_CODENAME" '$2 == release { print $1; exit }')
		if [ -z "$mirror" ] && apt-get update -q > /dev/null 2>&1; then
			mirror=$(system_sources | awk -v release="$VERSION_CODENAME" '$2 == release { print $1; exit }')
		fi
	elif [ "$1" = debian ]; then
		mirror=http://deb.debian.org/debian
	elif [ "$1" = ubuntu ]; then
		mirror=http://archive.ubuntu.com/ubuntu
	fi
	printf '%s\n' "${mirror%/}"
}

# system_connect gives the system the host's way to the network, and what
# programs expect of a kernel.
system_connect()
{
	cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null
	cp -L /etc/hosts "$root/etc/hosts" 2>/dev/null
	apt-config dump 2>/dev/null | grep -i '^Acquire::.*proxy' > "$root/etc/apt/apt.conf.d/90proxy"
	mount -t proc proc "$root/proc" && mount -t tmpfs tmpfs "$root/dev/shm"
}

# system_disconnect takes back the mounts of system_connect.
system_disconnect() { umount "$root/dev/shm" "$root/proc"; }

# system_make makes the minimal system of a release (first argument) from a
# mirror (second) in $root.  Status 77: that release is not to be had there.
system_make()
{
	local release=$1 mirror=${2%/} options=() script=()

	SYSTEM_WHY=
	/usr/lib/apt/apt-helper download-file "$mirror/dists/$release/Release" "$logs/Release" > /dev/null 2>&1 || {
		SYSTEM_WHY="$release cannot be got from $mirror"
		return 77
	}
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
	system_say "making a minimal $release from $mirror"
	debootstrap --variant=minbase --include="$SYSTEM_INCLUDE" "${options[@]+"${options[@]}"}" \
		"$release" "$root" "$mirror" "${script[@]+"${script[@]}"}" > "$logs/debootstrap.log" 2>&1 || {
		tail -n 20 "$logs/debootstrap.log"
		SYSTEM_WHY="debootstrap of this machine does not make $release"
		return 1
	}
	if [ "$release" = "$VERSION_CODENAME" ]; then
		system_sources | sed 's/^/deb /' > "$root/etc/apt/sources.list"
	elif [[ $mirror == *ubuntu* ]]; then
		printf 'deb %s %s main universe\n' "$mirror" "$release" "$mirror" "$release-updates" > "$root/etc/apt/sources.list"
	fi
	system_connect
}

# system_furnish adds to a new system of a release (first argument) all that
# the tests of a PostgreSQL major (second) need.
system_furnish()
{
	system_say "adding what the tests of PostgreSQL $2 need"
	# a package that brings a service does not start it
	printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	# nothing here has to outlive a crash of the host
	echo force-unsafe-io > "$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
	git -C "$TOP" show HEAD:test/setup/packages.sh > "$root/root/packages.sh"
	if ! system_install "$2" test || ! system_has "$2"; then
		tail -n 5 "$logs/packages.log"
		SYSTEM_WHY="the packages of PostgreSQL $2 do not install in $1"
		return 1
	fi
	system_install "$2" extra || system_say "note: not all that is extra installs in $1"
	rm -f "$root/root/packages.sh"
	inside root apt-get clean
}

# system_take makes or takes from the cache (fourth argument: its directory)
# the furnished system of a release (first) from a mirror (second) for a
# PostgreSQL major (third).  Status 77: it is not to be had.
system_take()
{
	local release=$1 mirror=$2 major=$3 cache=$4 file

	SYSTEM_WHY=
	file=$cache/$release-$major-$({ git -C "$TOP" show HEAD:test/setup/packages.sh
		echo "$mirror $SYSTEM_INCLUDE"; declare -f system_make system_furnish; } | sha256sum | cut -c 1-16).tar.zst
	if [ -n "$(find "$file" -mmin "-$((SYSTEM_DAYS * 24 * 60))" 2>/dev/null)" ]; then
		system_unpack "$file" "$major" && return
		system_say "the cached $release is broken and made anew"
		rm -f "$file"
	fi
	if ! system_make "$release" "$mirror"; then
		# better an old one than none
		system_empty
		if [ -e "$file" ] && system_unpack "$file" "$major"; then
			system_say "note: $SYSTEM_WHY; the cached one is of $(date -r "$file" +%F)"
			return
		fi
		return 77
	fi
	if ! system_furnish "$release" "$major"; then
		system_disconnect
		system_empty
		return 77
	fi
	system_pack "$file" "$cache/$release-$major-"
}

# system_install installs a group of packages.sh for a PostgreSQL major.
system_install()
{
	inside root env PG_CONFIG="$(system_pg_config "$1")" bash packages.sh "$2" >> "$logs/packages.log" 2>&1
}

# system_pg_config prints where Debian keeps a major's pg_config.
system_pg_config() { printf '/usr/lib/postgresql/%s/bin/pg_config\n' "$1"; }

# system_has succeeds where the system has a PostgreSQL of that major.
system_has() { inside root "$(system_pg_config "$1")" --version 2>/dev/null | grep -q "^PostgreSQL $1\."; }

# system_pack puts the system into a file of the cache, in place of others
# whose names begin like the second argument.  Without a cache all goes on.
system_pack()
{
	local new=$1.$$

	if mkdir -p "${1%/*}" && tar -C "$root" --one-file-system --numeric-owner -I 'zstd -q -1 -T0' -cf "$new" . 2> "$logs/pack.log"; then
		rm -f "$2"*.tar.zst
		mv "$new" "$1"
	else
		tail -n 3 "$logs/pack.log" >&2
		rm -f "$new"
		system_say "note: the system is not cached in ${1%/*}"
	fi
}

# system_unpack makes $root from a file of the cache; the second argument is
# the PostgreSQL that has to be in it.
system_unpack()
{
	system_say "unpacking ${1##*/}"
	if tar -C "$root" --numeric-owner -I zstd -xpf "$1" 2> "$logs/unpack.log" && system_connect; then
		system_has "$2" && return
		system_disconnect
	fi
	system_empty
	return 1
}

# system_empty removes what a failed attempt left in $root.
system_empty() { find "$root" -mindepth 1 -maxdepth 1 -exec rm -rf --one-file-system {} +; }

# inside runs a command in the system as one of its users, with a login's
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

# system_repository puts what is committed into the system, for clone_for.
system_repository()
{
	# whoever owns the repository, it may be read
	printf '[safe]\n\tdirectory = *\n' > "$root/etc/gitconfig"
	GIT_CONFIG_GLOBAL=$root/etc/gitconfig git clone -q --bare "$TOP" "$root/srv/biolink.git" || return 1
	chmod -R a+rX "$root/srv"
}

# system_visitor makes an ordinary user, without any rights.
system_visitor() { inside root useradd -m -U -s /bin/bash visitor; }

# clone_for clones the repository into a user's home.
clone_for() { inside "$1" git clone -q /srv/biolink.git biolink; }
