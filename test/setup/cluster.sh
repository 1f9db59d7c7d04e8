#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# cluster.sh
#	  A PostgreSQL of one's own for tests, demonstration and measurements.
#
# To be sourced by a bash script.  The usual order:
#
#	source "$(dirname "$0")/../setup/cluster.sh"	# from test/demo/run.sh, say
#	setup_all					# packages, copy of the tree, build, installation
#	cluster_start "$WORK/cluster"	# PGHOST, PGPORT, PGUSER, PGDATABASE are set
#	psql -c 'CREATE EXTENSION biolink CASCADE'
#	...								# everything is stopped and removed at exit
#
# or, to run one command beside such a cluster:
#
#	test/setup/cluster.sh with [--keep-dir DIR] [--durable] -- command ...
#
# Owns the working directory $WORK, the installation $WORK/installation, the
# ordinary user the server runs as, and the clusters it started.
#
# Invariants:
#	- No existing cluster is touched, nor the installed PostgreSQL that it
#	  runs on: bin, lib and share are copied (PostgreSQL finds its files
#	  relative to its programs), and biolink is installed into the copy.  So
#	  no rights are needed either, once the packages are there.
#	- Servers listen on a Unix-domain socket in a private directory only.
#	- The server never runs as root.  The tree may be out of that user's
#	  reach; what it needs is copied to $WORK/tree, and built there.
#	- A data directory is used only if it is new or made here before.
#	- At exit servers are stopped and $WORK is removed; after a failure the
#	  logs stay and their place is printed.
#
# Variables read: PG_CONFIG (which PostgreSQL), WORK_DIR (a working directory
# to keep and use again), TMPDIR, CLUSTER_PROGRAM (what cluster_start runs in
# place of postgres: one that runs postgres in turn, under valgrind, say).
# Variables set: TOP (the tree), WORK, PG_CONFIG, PATH, CLUSTER_USER, and per
# cluster PGHOST, PGPORT, PGUSER, PGDATABASE.
#
#-------------------------------------------------------------------------

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P) || exit 1

# The root key of test clusters, from the published test vectors: never one of
# a real database.
TEST_ROOT_KEY=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f

WORK=
CLUSTER_USER=
CLUSTER_SOCKETS=
CLUSTERS_STARTED=()
SETUP_ON_EXIT=()

# setup_say writes a line for the reader.
setup_say() { printf '== %s\n' "$*" >&2; }

# setup_die ends with a reason; what was started is stopped.
setup_die() { setup_say "$*"; exit 1; }

# setup_on_exit registers a command for the end (instead of a trap of one's own).
setup_on_exit() { SETUP_ON_EXIT+=("$1"); }

# setup_stop_strays stops servers within $WORK that a test which was cut short
# has left running.
setup_stop_strays()
{
	local file

	if [ -d "$WORK/tree" ]; then
		find "$WORK/tree" -name postmaster.pid 2>/dev/null | while read -r file; do
			cluster_stop "${file%/*}" immediate < /dev/null
		done
	fi
}

# setup_at_exit stops what was started; keeps the logs of a failure.
setup_at_exit()
{
	local status=$? command data

	trap - EXIT INT TERM HUP
	for command in "${SETUP_ON_EXIT[@]+"${SETUP_ON_EXIT[@]}"}"; do
		eval "$command"
	done
	for data in "${CLUSTERS_STARTED[@]+"${CLUSTERS_STARTED[@]}"}"; do
		cluster_stop "$data"
	done
	setup_stop_strays
	if [ -n "$CLUSTER_SOCKETS" ]; then
		rm -rf "$CLUSTER_SOCKETS"
	fi
	if [ -n "$WORK" ] && [ -z "${WORK_DIR:-}" ]; then
		if [ "$status" -eq 0 ]; then
			rm -rf "$WORK"
		else
			for data in "${CLUSTERS_STARTED[@]+"${CLUSTERS_STARTED[@]}"}"; do
				if [[ $data == "$WORK"/* ]]; then
					mv "$data/server.log" "$data.log" 2>/dev/null
					rm -rf "$data"
				fi
			done
			rm -rf "$WORK/installation"
			setup_say "logs are kept in $WORK"
		fi
	fi
	exit "$status"
}

# as_user runs a command as the ordinary user, whoever calls.
as_user()
{
	if [ "$(id -u)" -ne 0 ]; then
		"$@"
	elif command -v runuser >/dev/null 2>&1; then
		runuser -u "$CLUSTER_USER" -- "$@"
	else
		setpriv --reuid="$CLUSTER_USER" --regid="$(id -g "$CLUSTER_USER")" --init-groups -- "$@"
	fi
}

# setup_user chooses the ordinary user: the caller, or for root `postgres`,
# or `nobody` where PostgreSQL came without a user of its own.
setup_user()
{
	local name

	if [ "$(id -u)" -ne 0 ]; then
		CLUSTER_USER=$(id -un)
		return
	fi
	for name in postgres nobody; do
		if id "$name" >/dev/null 2>&1; then
			CLUSTER_USER=$name
			return
		fi
	done
	setup_die "root cannot run a PostgreSQL server, and there is no user postgres or nobody"
}

# setup_make_dir makes a directory that belongs to the ordinary user.
setup_make_dir()
{
	mkdir -p "$1" && chmod "${2:-700}" "$1" || return 1
	if [ "$(id -u)" -eq 0 ]; then
		chown "$CLUSTER_USER:" "$1"
	fi
}

# setup_temporary prints a new directory of the ordinary user, in a place where
# it may run programs.
setup_temporary()
{
	local base dir

	for base in "$@"; do
		dir=$(mktemp -d "$base/biolink.XXXXXX" 2>/dev/null) || continue
		printf '#!/bin/sh\n' > "$dir/probe"
		chmod 755 "$dir/probe"
		setup_make_dir "$dir"
		if as_user "$dir/probe" 2>/dev/null; then
			rm -f "$dir/probe"
			printf '%s\n' "$dir"
			return 0
		fi
		rm -rf "$dir"
	done
	return 1
}

# setup_begin finds or installs the packages (groups as arguments), the
# ordinary user and the working directory, and cleans the environment.
setup_begin()
{
	local name found

	found=$("$TOP/test/setup/packages.sh" "${@:-test}") || exit 1
	for name in ${!PG@}; do
		case $name in
			PG_CONFIG|PG_TEST_*) ;;
			*) unset "$name" ;;
		esac
	done
	# an outer make's variables are not for the inner ones
	unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL LANGUAGE
	PG_CONFIG=$found
	# LANG too: PostgreSQL's Perl modules take LC_ALL away
	for name in ${!LC_@}; do
		unset "$name"
	done
	export LC_ALL=C
	if locale -a 2>/dev/null | grep -qix 'C\.utf-\?8'; then
		LC_ALL=C.UTF-8
	fi
	export LANG=$LC_ALL
	umask 022

	trap setup_at_exit EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM

	setup_user
	if [ -n "${WORK_DIR:-}" ]; then
		if [ -n "$(ls -A "$WORK_DIR" 2>/dev/null)" ] && [ ! -e "$WORK_DIR/.biolink_work" ]; then
			setup_die "$WORK_DIR is not empty and was not made here; it is left alone"
		fi
		if ! setup_make_dir "$WORK_DIR" || ! touch "$WORK_DIR/.biolink_work"; then
			setup_die "cannot use WORK_DIR=$WORK_DIR"
		fi
		WORK=$(cd "$WORK_DIR" && pwd -P)
		as_user test -x "$WORK" ||
			setup_die "user $CLUSTER_USER cannot reach WORK_DIR=$WORK_DIR; choose one in /var/tmp, say"
	else
		WORK=$(setup_temporary "${TMPDIR:-/tmp}" /tmp /var/tmp) ||
			setup_die "no place for a working directory where user $CLUSTER_USER may run programs; set TMPDIR"
	fi
	# apart, because a socket's path may have 107 bytes at most
	CLUSTER_SOCKETS=$(setup_temporary /tmp "$WORK") || setup_die "cannot make a directory for the socket"
	setup_make_dir "$WORK/home" || exit 1
	export HOME=$WORK/home TMPDIR=$CLUSTER_SOCKETS
	export PG_CONFIG
}

# setup_tree copies the tree to $WORK/tree, without what was built there.
# What has not changed keeps its time, so that a kept copy builds on.
setup_tree()
{
	local list=$WORK/tree.list version

	version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" "$TOP/biolink.control")

	mkdir -p "$WORK/tree" || exit 1
	(cd "$TOP" && find . \( -name .git -o -path ./build -o -path ./results -o -path ./output_iso \
		-o -path './tmp_check*' -o -path ./log -o -name __pycache__ \) -prune -o \
		\( -type f -o -type l \) ! -name '*.o' ! -name '*.bc' ! -name '*.so' ! -name '*.d' \
		! -name '.built-for' ! -name 'regression.*' ! -path "./sql/biolink--$version.sql" -print) \
		> "$list" || exit 1
	# files that are gone from the tree must not linger in a kept copy
	if [ -n "${WORK_DIR:-}" ]; then
		(cd "$WORK/tree" && find . -path ./build -prune -o \( -type f -o -type l \) ! -name '*.o' \
			! -name '*.bc' ! -name '*.so' ! -name '*.d' ! -name '.built-for' \
			! -path "./sql/biolink--$version.sql" -print |
			grep -vxFf "$list" | tr '\n' '\0' | xargs -0r rm -f)
	fi
	tar -C "$TOP" --format=posix -cf - --no-recursion -T "$list" |
		tar -C "$WORK/tree" -xf - --no-same-owner --no-same-permissions ||
		setup_die "cannot copy the tree to $WORK/tree"
	rm -f "$list"
	if [ "$(id -u)" -eq 0 ]; then
		chown -hR "$CLUSTER_USER:" "$WORK/tree"
	fi
}

# setup_installation copies the installed PostgreSQL to $WORK/installation and
# makes PG_CONFIG and PATH mean the copy.
setup_installation()
{
	local kind from to=$WORK/installation original=$PG_CONFIG which

	which="$original: $("$original" --version)"
	if [ "$(cat "$to/copy_of" 2>/dev/null)" != "$which" ]; then
		rm -rf "$to"
		for kind in bindir pkglibdir sharedir; do
			from=$("$original" --$kind)
			mkdir -p "$to$from"
			# a dangling link among the dictionaries is no reason to stop
			cp -aL --no-preserve=ownership "$from/." "$to$from/" 2>> "$WORK/copy.log"
		done
		for kind in initdb pg_config pg_ctl pg_dump postgres psql; do
			[ -x "$to$("$original" --bindir)/$kind" ] ||
				setup_die "cannot copy $kind of $original: $(head -n 3 "$WORK/copy.log")"
		done
		# the server's own bitcode is not needed
		rm -rf "$to$("$original" --pkglibdir)/bitcode/postgres"*
		for kind in includedir includedir-server pkgincludedir libdir; do
			from=$("$original" --$kind)
			mkdir -p "$to${from%/*}"
			[ -e "$to$from" ] || ln -s "$from" "$to$from"
		done
		if [ "$(id -u)" -eq 0 ]; then
			chown -hR "$CLUSTER_USER:" "$to"
		fi
		printf '%s\n' "$which" > "$to/copy_of"
	fi
	PG_CONFIG=$to$("$original" --bindir)/pg_config
	for kind in pkglibdir sharedir; do
		[ "$("$PG_CONFIG" --$kind)" -ef "$to$("$original" --$kind)" ] ||
			setup_die "the PostgreSQL of $original cannot be copied: $kind of the copy is $("$PG_CONFIG" --$kind)"
	done
	PATH=$("$PG_CONFIG" --bindir):$PATH
	export PG_CONFIG PATH
}

# setup_build builds $WORK/tree and installs it into the copied PostgreSQL.
setup_build()
{
	local jobs

	jobs=$(nproc 2>/dev/null || echo 2)
	if ! as_user make -C "$WORK/tree" -j "$jobs" PG_CONFIG="$PG_CONFIG" > "$WORK/build.log" 2>&1 ||
		! as_user make -C "$WORK/tree" PG_CONFIG="$PG_CONFIG" install >> "$WORK/build.log" 2>&1; then
		grep -E ': (fatal )?error:|: warning:|\*\*\*' "$WORK/build.log" | head -n 30 >&2
		setup_die "the build failed"
	fi
	grep -E ': warning:' "$WORK/build.log" >&2 || :
}

# setup_all does all of it, with more groups of packages than `test` if the
# arguments say so; cluster_start is what remains.
# shellcheck disable=SC2120 # a caller's arguments are optional
setup_all()
{
	setup_begin test "$@"
	setup_tree
	setup_installation
	setup_say "building for $("$PG_CONFIG" --version) in $WORK"
	setup_build
}

# cluster_start makes, where there is none, and starts the cluster DATA; more
# arguments are lines for its configuration.  Afterwards the PG* variables
# lead there.  Durable or fast is up to those lines ("fsync = off").
cluster_start()
{
	local data locale=C

	data=$(realpath -m "$1")
	shift
	if [ -e "$data/PG_VERSION" ] || [ -n "$(ls -A "$data" 2>/dev/null)" ]; then
		[ -e "$data/biolink_throwaway_cluster" ] ||
			setup_die "$data is not empty and no cluster made here; it is left alone"
		if [ -e "$data/postmaster.pid" ] && as_user pg_ctl -s -D "$data" status >/dev/null 2>&1; then
			setup_die "a server is running on $data already"
		fi
		[ "$(cat "$data/PG_VERSION")" = "$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" ] ||
			setup_die "$data is of PostgreSQL $(cat "$data/PG_VERSION"), not of $("$PG_CONFIG" --version)"
	else
		setup_make_dir "$data" || setup_die "cannot make $data"
		as_user test -w "$data" ||
			setup_die "user $CLUSTER_USER cannot reach $data; choose a directory in /var/tmp, say"
		if [ "$LC_ALL" != C ]; then
			locale=$LC_ALL
		fi
		as_user initdb -D "$data" -U postgres -A trust -E UTF8 --locale="$locale" --no-sync \
			> "$WORK/initdb.log" 2>&1 || { cat "$WORK/initdb.log" >&2; setup_die "initdb failed"; }
		as_user touch "$data/biolink_throwaway_cluster"
		# what the caller wants of this start comes last and wins
		echo "include_if_exists 'throwaway.conf'" | as_user tee -a "$data/postgresql.conf" >/dev/null
	fi

	{
		printf "%s\n" \
			"listen_addresses = ''" \
			"unix_socket_directories = '$CLUSTER_SOCKETS'" \
			"port = 5432" \
			"timezone = 'UTC'" \
			"log_timezone = 'UTC'" \
			"max_prepared_transactions = 10" \
			"log_line_prefix = '%m [%p] %q%u@%d/%a '" \
			"$@"
	} | as_user tee "$data/throwaway.conf" >/dev/null

	export PGHOST=$CLUSTER_SOCKETS PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	CLUSTERS_STARTED+=("$data")
	if ! (cd / && as_user pg_ctl -s -w -t 120 ${CLUSTER_PROGRAM:+-p "$CLUSTER_PROGRAM"} -D "$data" \
		-l "$data/server.log" start); then
		tail -n 40 "$data/server.log" >&2
		setup_die "the server did not start"
	fi
}

# cluster_start_test starts a fast cluster that knows the test root key, which
# lies outside the data directory as it should.
cluster_start_test()
{
	local data=$1 key=$WORK/root_key

	shift
	(umask 077 && printf '%s\n' "$TEST_ROOT_KEY" > "$key.new") || exit 1
	if [ "$(id -u)" -eq 0 ]; then
		chown "$CLUSTER_USER:" "$key.new"
	fi
	mv "$key.new" "$key"
	cluster_start "$data" "fsync = off" "synchronous_commit = on" "full_page_writes = off" \
		"biolink.root_key_file = '$key'" "$@"
}

# cluster_stop stops the server on DATA, if it runs.
cluster_stop()
{
	if [ -e "$1/postmaster.pid" ]; then
		(cd / && as_user pg_ctl -s -w -t 120 -m "${2:-fast}" -D "$1" stop) ||
			setup_say "the server on $1 did not stop"
	fi
}

# cluster_with is the command line: a set-up, a cluster, one command.
cluster_with()
{
	local data='' durable=''

	while [ $# -gt 0 ]; do
		case $1 in
			--keep-dir) data=$2; shift 2 ;;
			--durable) durable=yes; shift ;;
			--) shift; break ;;
			*) break ;;
		esac
	done
	[ $# -gt 0 ] || setup_die "usage: cluster.sh with [--keep-dir DIR] [--durable] -- command ..."
	setup_all
	if [ -n "$durable" ]; then
		cluster_start "${data:-$WORK/cluster}"
	else
		cluster_start_test "${data:-$WORK/cluster}"
	fi
	"$@"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	set -u
	case ${1:-} in
		with) shift; cluster_with "$@" ;;
		*) setup_die "usage: cluster.sh with [--keep-dir DIR] [--durable] -- command ..." ;;
	esac
fi
