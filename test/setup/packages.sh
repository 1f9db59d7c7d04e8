#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# packages.sh
#	  What a machine needs before biolink can be built and tested.
#
# Usage: test/setup/packages.sh [group ...]
#
# Owns the list of what is needed, how each thing is recognised, and the
# Debian or Ubuntu package that brings it.  Groups: build (compiler, server
# headers, libsodium), test (build, server with pgcrypto, Perl's IPC::Run,
# Python 3), asan (compiler with sanitizers, libsodium), fuzz (clang with
# libFuzzer, libsodium), valgrind (valgrind that runs), chroot (debootstrap,
# zstd), lint (shellcheck), extra (what some tests use where it is, and skip
# without: PostgreSQL's JIT, PgBouncer; after test).  Default: test.
#
# Invariants:
#	- A thing is missing only when using it fails, so software that came
#	  another way (a PostgreSQL built from source) is accepted as it is.
#	- Nothing missing: nothing is done and no rights are needed.
#	- Server, headers and pgcrypto are of one major and one installation.
#	- An installed server is not upgraded, nothing is removed, and no database
#	  cluster is created or started.
#	- Standard output carries one line, the path of pg_config; all else goes
#	  to standard error.
#
# PG_CONFIG in the environment says which PostgreSQL is meant; else it is the
# newest usable one under /usr/lib/postgresql, else pg_config in PATH, else
# the distribution's own.
#
#-------------------------------------------------------------------------
set -u

OLDEST_MAJOR=15
NEWEST_MAJOR=18

# say writes a line for the reader.
say() { printf 'packages: %s\n' "$*" >&2; }

# die ends with a reason.
die() { say "$*"; exit 1; }

# has succeeds where a command is found.
has() { command -v "$1" >/dev/null 2>&1; }

# server_of succeeds where the installation of a pg_config has its server.
server_of() { [ -x "$("$1" --bindir 2>/dev/null)/postgres" ]; }

# headers_of succeeds where the installation of a pg_config can build extensions.
headers_of()
{
	[ -f "$("$1" --includedir-server 2>/dev/null)/postgres.h" ] &&
		[ -f "$("$1" --pgxs 2>/dev/null)" ]
}

# pgcrypto_of succeeds where the installation of a pg_config has pgcrypto.
pgcrypto_of() { [ -f "$("$1" --sharedir 2>/dev/null)/extension/pgcrypto.control" ]; }

# major_of prints the major version of a pg_config.
major_of() { "$1" --version 2>/dev/null | sed -n 's/^PostgreSQL \([0-9]*\).*/\1/p'; }

# supported succeeds for a major that biolink builds on.
supported()
{
	case $1 in
		''|*[!0-9]*) return 1 ;;
	esac
	[ "$1" -ge "$OLDEST_MAJOR" ] && [ "$1" -le "$NEWEST_MAJOR" ]
}

# debian_config prints where Debian keeps a major's pg_config.
debian_config() { printf '/usr/lib/postgresql/%s/bin/pg_config\n' "$1"; }

# installed_majors prints the supported majors under /usr/lib/postgresql, newest first.
installed_majors()
{
	local dir

	for dir in /usr/lib/postgresql/*/bin; do
		dir=${dir%/bin}
		if supported "${dir##*/}" && [ -d "$dir/bin" ]; then
			printf '%s\n' "${dir##*/}"
		fi
	done | sort -rn
}

# offered_major prints the newest supported major that apt-get can install.
# The distribution's own is preferred over others from added repositories.
offered_major()
{
	local major

	major=$(apt-cache depends postgresql 2>/dev/null |
		sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1)
	if supported "$major"; then
		printf '%s\n' "$major"
		return
	fi
	for ((major = NEWEST_MAJOR; major >= OLDEST_MAJOR; major--)); do
		if apt-cache show "postgresql-server-dev-$major" >/dev/null 2>&1; then
			printf '%s\n' "$major"
			return
		fi
	done
}

# choose_postgresql sets pg_config (empty: none yet) and major (empty: any).
choose_postgresql()
{
	local candidate

	pg_config=
	major=
	if [ -n "${PG_CONFIG:-}" ]; then
		if pg_config=$(command -v "$PG_CONFIG" 2>/dev/null); then
			major=$(major_of "$pg_config")
			supported "$major" ||
				die "$PG_CONFIG is of PostgreSQL ${major:-?}; biolink builds on $OLDEST_MAJOR to $NEWEST_MAJOR"
			return
		fi
		pg_config=
		major=$(printf '%s\n' "$PG_CONFIG" |
			sed -n 's,^/usr/lib/postgresql/\([0-9]*\)/bin/pg_config$,\1,p')
		supported "$major" || die "PG_CONFIG=$PG_CONFIG: no such program"
		return
	fi

	# a complete installation first, then one that only lacks something
	for candidate in $(installed_majors); do
		candidate=$(debian_config "$candidate")
		if [ -x "$candidate" ] && headers_of "$candidate" && server_of "$candidate"; then
			pg_config=$candidate
			major=$(major_of "$candidate")
			return
		fi
	done
	if candidate=$(command -v pg_config 2>/dev/null) &&
		supported "$(major_of "$candidate")" &&
		headers_of "$candidate" && server_of "$candidate"; then
		pg_config=$candidate
		major=$(major_of "$candidate")
		return
	fi
	for candidate in $(installed_majors); do
		major=$candidate
		candidate=$(debian_config "$major")
		if [ -x "$candidate" ]; then
			pg_config=$candidate
		fi
		return
	done
}

# compiles succeeds when a program can be built and run.  Arguments: compiler,
# text of the program, flags.
compiles()
{
	local dir rc compiler=$1 text=$2

	shift 2
	dir=$(mktemp -d) || die "cannot make a temporary directory"
	printf '%s\n' "$text" > "$dir/probe.c"
	"$compiler" -o "$dir/probe" "$dir/probe.c" "$@" >/dev/null 2>&1 &&
		"$dir/probe" -runs=1 >/dev/null 2>&1 </dev/null
	rc=$?
	rm -rf "$dir"
	return $rc
}

# has_libc succeeds where the C library's headers are.
has_libc() { compiles cc '#include <stdio.h>
int main(void) { return puts("") < 0; }'; }

# has_libsodium succeeds where libsodium can be compiled and linked with.
has_libsodium()
{
	local flags

	flags=$(pkg-config --cflags --libs libsodium 2>/dev/null) || flags=-lsodium
	# shellcheck disable=SC2086 # the flags are words
	compiles cc '#include <sodium.h>
int main(void) { return sodium_init() < 0; }' $flags
}

# has_libfuzzer succeeds where clang builds a fuzzer with both sanitizers.
has_libfuzzer()
{
	compiles clang 'int LLVMFuzzerTestOneInput(const char *data, unsigned long size);
int LLVMFuzzerTestOneInput(const char *data, unsigned long size) { return size > 1 && data[0] == data[1] && 0; }' \
		-fsanitize=fuzzer,address,undefined
}

# has_sanitizers succeeds where the C compiler brings both sanitizers.
has_sanitizers() { compiles cc 'int main(void) { return 0; }' -fsanitize=address,undefined; }

# has_valgrind succeeds where valgrind runs a program: it needs the symbols of
# the dynamic loader, which Debian keeps in a package of their own.
has_valgrind() { valgrind -q --error-exitcode=9 true >/dev/null 2>&1; }

# missing_packages sets the array packages to what has to be installed.
missing_packages()
{
	local group

	packages=()
	for group in "$@"; do
		case $group in
			build|test|asan|fuzz)
				has make || packages+=(make)
				has cc || packages+=(gcc)
				has_libc || packages+=(libc6-dev)
				has_libsodium || packages+=(libsodium-dev)
				;;
		esac
		case $group in
			build|test)
				if [ -z "$pg_config" ] || ! headers_of "$pg_config"; then
					packages+=("postgresql-server-dev-${major:-MAJOR}")
				fi
				;;
		esac
		case $group in
			test)
				if [ -z "$pg_config" ] || ! server_of "$pg_config" || ! pgcrypto_of "$pg_config"; then
					packages+=("postgresql-${major:-MAJOR}")
				fi
				has prove && perl -MTest::More -e 1 2>/dev/null || packages+=(perl)
				perl -MIPC::Run -e 1 2>/dev/null || packages+=(libipc-run-perl)
				has python3 || packages+=(python3)
				;;
			asan)
				# they come with gcc
				has_sanitizers || packages+=(gcc libc6-dev)
				;;
			fuzz)
				has_libfuzzer || packages+=(clang libclang-rt-dev llvm)
				;;
			chroot)
				has debootstrap || [ -x /usr/sbin/debootstrap ] || packages+=(debootstrap)
				has zstd || packages+=(zstd)
				;;
			valgrind)
				has_valgrind || packages+=(valgrind libc6-dbg)
				;;
			extra)
				# a package of its own from 18 on
				[ -n "$pg_config" ] && [ -f "$("$pg_config" --pkglibdir)/llvmjit.so" ] ||
					packages+=("postgresql-${major:-MAJOR}-jit")
				has pgbouncer || [ -x /usr/sbin/pgbouncer ] || packages+=(pgbouncer)
				;;
			lint)
				has shellcheck || packages+=(shellcheck)
				;;
			build) ;;
			*)
				die "unknown group \"$group\"" ;;
		esac
	done
	if [ ${#packages[@]} -gt 0 ]; then
		mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
	fi
}

# install_packages brings in the array packages, or says how and ends.
install_packages()
{
	local run=() command plan dropin=/etc/postgresql-common/createcluster.d/biolink-setup.conf

	has apt-get || die "missing: ${packages[*]} (package names of Debian and Ubuntu; there is no apt-get here)"
	command="apt-get install -y --no-install-recommends ${packages[*]}"

	if [ "$(id -u)" -ne 0 ]; then
		if ! { has sudo && sudo -n true 2>/dev/null; }; then
			say "missing, and no rights to install:"
			die "sudo sh -c 'apt-get update && $command'"
		fi
		run=(sudo -n)
	fi
	# "env" because sudo drops the environment
	run+=(env DEBIAN_FRONTEND=noninteractive)

	plan=$(LC_ALL=C apt-get install -s --no-install-recommends "${packages[@]}" 2>&1) ||
		die "apt-get cannot install ${packages[*]}: $(printf '%s\n' "$plan" | tail -n 4)"
	if printf '%s\n' "$plan" | grep -Eq '^Remv |^Inst postgresql-[0-9]+ \['; then
		printf '%s\n' "$plan" | grep -E '^Remv |^Inst [^ ]+ \[' >&2
		say "this would upgrade an installed server or remove packages; decide yourself:"
		die "$command"
	fi

	say "installing ${packages[*]}"
	# A server package creates and starts a cluster "main" unless told not to.
	# The setting lives for this installation only.
	if printf '%s\n' "$plan" | grep -Eq '^Inst postgresql-[0-9]+ '; then
		"${run[@]}" mkdir -p "${dropin%/*}"
		printf 'create_main_cluster = false\n' | "${run[@]}" tee "$dropin" >/dev/null
		# shellcheck disable=SC2064 # expanded now on purpose
		trap "${run[*]} rm -f $dropin" EXIT
	fi
	"${run[@]}" apt-get install -y -q --no-install-recommends \
		-o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \
		"${packages[@]}" >&2 </dev/null ||
		die "apt-get install failed"
}

# update_lists refreshes apt's package lists where there are rights to; old
# lists may still do.
update_lists()
{
	local run=()

	if [ "$(id -u)" -ne 0 ]; then
		has sudo && sudo -n true 2>/dev/null || return 0
		run=(sudo -n)
	fi
	"${run[@]}" apt-get update -q -o DPkg::Lock::Timeout=300 >&2 </dev/null ||
		say "apt-get update failed; trying with the lists there are"
}

main()
{
	local groups=("${@:-test}")

	choose_postgresql
	missing_packages "${groups[@]}"
	if [ ${#packages[@]} -gt 0 ]; then
		if has apt-get; then
			update_lists
		fi
		if [ -z "$major" ]; then
			major=$(offered_major)
			if [ -z "$major" ] && [[ "${packages[*]}" == *MAJOR* ]]; then
				say "no PostgreSQL $OLDEST_MAJOR to $NEWEST_MAJOR is offered here; the project's own repository has it:"
				say "  sudo apt-get install -y postgresql-common ca-certificates"
				die "  sudo /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y"
			fi
			packages=("${packages[@]//MAJOR/$major}")
		fi
		install_packages
		# the same questions again, so that a success is one
		choose_postgresql
		missing_packages "${groups[@]}"
		[ ${#packages[@]} -eq 0 ] || die "still missing after installation: ${packages[*]}"
	fi
	if [ -n "$pg_config" ]; then
		printf '%s\n' "$pg_config"
	fi
}

main "$@"
