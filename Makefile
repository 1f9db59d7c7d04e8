# biolink: build, installation and tests.
#
# make, make install, make installcheck, make clean are plain PGXS; set
# PG_CONFIG to choose the PostgreSQL they work on.  The other targets do their
# own set-up (see test/setup/) and work without any PostgreSQL to begin with:
#
#	make test			all tests on a throwaway cluster; SUITES="unit regress isolation tap ..."
#						for some suites, REGRESS=, ISOLATION= or TAP="name ..." for single tests,
#						WORK_DIR=dir to keep the working directory and build on it next time
#	make demo			the demonstration; CLICKS=file, DEMO_DIR=dir
#	make bench			the measurements of doc/ on this machine
#	make unit			the unit tests and the fuzzers' corpora alone
#	make fuzz			every fuzzer for SECONDS=60 seconds
#	make mutate			do the tests notice when the code is wrong?
#	make lint			warnings as errors, and the rules of the house
#	make chroot-test	make test in a minimal system of its own (root only); CHROOT_RELEASE=trixie,
#						say, for another release
#	make test-matrix	no warnings and all tests on the other majors of PostgreSQL, each in a system
#						of its own (root only); MATRIX="17 18" for some majors, MATRIX_SUITES= for
#						some suites, MATRIX_CACHE=dir for the systems that were made before
#	make asan			make unit where AddressSanitizer and UBSan have to be there and to bite
#	make valgrind		regression and isolation suites and the background worker in a server under
#						valgrind's memcheck; SUITES="regress isolation worker", REGRESS=, ISOLATION=

EXTENSION = biolink
MODULE_big = biolink
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" biolink.control)

.DEFAULT_GOAL := all

# ---- targets of our own ---------------------------------------------------

OWN_TARGETS = test demo bench unit asan fuzz valgrind mutate lint chroot-test test-matrix

# PG_CONFIG goes on only when somebody chose it; otherwise
# test/setup/packages.sh looks for the best there is.
ifneq ($(filter environment% command%,$(origin PG_CONFIG)),)
CHOSEN_PG_CONFIG = PG_CONFIG='$(PG_CONFIG)'
endif

# How long each fuzzer runs.  A shell that exports its own SECONDS is not meant.
ifneq ($(origin SECONDS),command line)
override SECONDS = 60
endif

.PHONY: $(OWN_TARGETS)

test:
	@$(CHOSEN_PG_CONFIG) SUITES='$(SUITES)' REGRESS='$(REGRESS)' ISOLATION='$(ISOLATION)' TAP='$(TAP)' \
		WORK_DIR='$(WORK_DIR)' test/setup/test.sh

demo:
	@$(CHOSEN_PG_CONFIG) CLICKS='$(CLICKS)' DEMO_DIR='$(DEMO_DIR)' test/demo/run.sh

bench:
	@$(CHOSEN_PG_CONFIG) test/bench/run.sh

mutate:
	@$(CHOSEN_PG_CONFIG) test/mutate/run.sh

lint:
	@$(CHOSEN_PG_CONFIG) test/setup/lint.sh

chroot-test:
	@CHROOT_RELEASE='$(CHROOT_RELEASE)' CHROOT_MIRROR='$(CHROOT_MIRROR)' CHROOT_DIR='$(CHROOT_DIR)' \
		CHROOT_CACHE='$(CHROOT_CACHE)' CHROOT_SUITES='$(CHROOT_SUITES)' test/setup/chroot.sh

test-matrix:
	@MATRIX='$(MATRIX)' MATRIX_SUITES='$(MATRIX_SUITES)' MATRIX_CACHE='$(MATRIX_CACHE)' \
		CHROOT_CACHE='$(CHROOT_CACHE)' test/setup/matrix.sh

valgrind:
	@$(CHOSEN_PG_CONFIG) SUITES='$(SUITES)' REGRESS='$(REGRESS)' ISOLATION='$(ISOLATION)' \
		WORK_DIR='$(WORK_DIR)' test/setup/valgrind.sh

unit: unit-build
	@test/setup/unit.sh

# A compiler that had no sanitizers the last time is asked again.
asan:
	@test/setup/packages.sh asan > /dev/null
	@[ -s build/sanitize ] || rm -f build/sanitize
	@$(MAKE) --no-print-directory unit-build
	@UNIT_CC='$(UNIT_CC)' test/setup/unit.sh sanitized

fuzz: fuzz-build
	@test/fuzz/run.sh '$(SECONDS)'

# ---- unit tests and fuzzers: the pure cores without PostgreSQL ---------------

# What has neither fmgr nor palloc, so that it links into any program.
CORES = $(wildcard src/derive.c src/*_core.c)
CORE_HEADERS = $(wildcard src/*.h test/unit/*.h)
CORE_LIBS := $(or $(shell pkg-config --libs libsodium 2>/dev/null),-lsodium) -lm
CORE_CFLAGS := $(shell pkg-config --cflags libsodium 2>/dev/null) -std=gnu99 -g -O1 -Wall -Wextra $(if $(WERROR),-Werror) -Isrc -fno-omit-frame-pointer

UNIT_CC = cc
FUZZ_CC = clang
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all

UNIT_TESTS = $(patsubst test/unit/%.c,build/unit/%,$(wildcard test/unit/*_test.c))
FUZZERS = $(patsubst test/fuzz/%.c,%,$(wildcard test/fuzz/fuzz_*.c))
REPLAYS = $(addprefix build/replay/,$(FUZZERS))

.PHONY: unit-build fuzz-build
unit-build: $(UNIT_TESTS) $(REPLAYS)
fuzz-build: $(addprefix build/fuzz/,$(FUZZERS))

# The sanitizers' flags, or nothing where the compiler lacks their libraries.
build/sanitize:
	@mkdir -p build
	@echo 'int main(void) { return 0; }' > build/probe.c
	@if $(UNIT_CC) $(SANITIZE) -o build/probe build/probe.c >build/probe.log 2>&1 && build/probe; \
	 then echo '$(SANITIZE)' > $@; \
	 else echo 'note: $(UNIT_CC) has no sanitizers here; unit tests run without' >&2; : > $@; fi

build/unit/%_test: test/unit/%_test.c $(CORES) $(CORE_HEADERS) build/sanitize
	@mkdir -p $(@D)
	$(UNIT_CC) $(CORE_CFLAGS) $$(cat build/sanitize) -o $@ $< $(CORES) $(CORE_LIBS)

build/replay/%: test/fuzz/%.c test/fuzz/replay.c $(CORES) $(CORE_HEADERS) build/sanitize
	@mkdir -p $(@D)
	$(UNIT_CC) $(CORE_CFLAGS) $$(cat build/sanitize) -o $@ $< test/fuzz/replay.c $(CORES) $(CORE_LIBS)

build/fuzz/%: test/fuzz/%.c $(CORES) $(CORE_HEADERS)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(CORE_CFLAGS) -fsanitize=fuzzer $(SANITIZE) -o $@ $< $(CORES) $(CORE_LIBS)

# ---- the extension: PGXS ---------------------------------------------------

# "make test" and its like must work before there is a PostgreSQL.
ifneq ($(filter-out $(OWN_TARGETS) unit-build fuzz-build build/%,$(or $(MAKECMDGOALS),all)),)

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))

# The full script of this version is put together from the parts, in the order
# of their numbers.  Scripts of releases, full ones and steps, are files.
INSTALL_SQL = sql/$(EXTENSION)--$(EXTVERSION).sql
SQL_PARTS = $(sort $(wildcard sql/[0-9][0-9]_*.sql))
DATA = $(filter-out $(INSTALL_SQL),$(sort $(wildcard sql/$(EXTENSION)--*.sql)))
DATA_built = $(INSTALL_SQL)

PG_CPPFLAGS = -DBIOLINK_VERSION='"$(EXTVERSION)"' $(shell pkg-config --cflags libsodium 2>/dev/null)
# PostgreSQL's calling convention leaves parameters unused, its tables of
# options fields; -MMD -MP writes down which headers an object was made from.
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -MMD -MP $(if $(WERROR),-Werror)
SHLIB_LINK = $(CORE_LIBS)

# One encoding and one collation, whatever the cluster's: outputs are compared.
ENCODING = UTF8
NOLOCALE = --no-locale
REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --load-extension=pgcrypto --load-extension=$(EXTENSION)
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --load-extension=pgcrypto --load-extension=$(EXTENSION)
TAP_TESTS = $(if $(wildcard test/t/*.pl),1)
PROVE_TESTS = test/t/*.pl

EXTRA_CLEAN = build src/*.d .built-for

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq ($(wildcard $(PGXS)),)
$(error $(PG_CONFIG) does not lead to a PostgreSQL with server headers: install postgresql-server-dev-NN or set PG_CONFIG (or let "make test" do all the set-up))
endif

# Bitcode for inlining needs the very clang and llvm-lto PostgreSQL was
# configured with.  Without them the extension is complete all the same.
PGXS_GLOBAL := $(dir $(PGXS))../Makefile.global
PGXS_CLANG := $(shell sed -n 's/^CLANG *= *//p' $(PGXS_GLOBAL))
PGXS_LLVM_LTO := $(shell sed -n 's/^LLVM_BINPATH *= *//p' $(PGXS_GLOBAL))/llvm-lto
ifeq ($(shell command -v '$(PGXS_CLANG)' >/dev/null 2>&1 && command -v '$(PGXS_LLVM_LTO)' >/dev/null 2>&1 && echo yes),)
override with_llvm := no
endif

include $(PGXS)

$(INSTALL_SQL): $(SQL_PARTS) biolink.control Makefile
	@{ printf '%s\n' '\echo Use "CREATE EXTENSION $(EXTENSION)" to load this file. \quit'; \
	   for part in $(SQL_PARTS); do \
	     printf '\n-- %s\n\n' $$part; grep -v '^\\echo Use "CREATE EXTENSION' $$part; \
	   done; } > $@.new && mv $@.new $@
	@echo 'built $@ from $(words $(SQL_PARTS)) parts'

# Objects are made anew for another PostgreSQL, version or set of flags.
BUILT_FOR := $(shell $(PG_CONFIG) --version --includedir-server) $(EXTVERSION) $(if $(WERROR),-Werror)
.PHONY: FORCE
.built-for: FORCE
	@echo '$(BUILT_FOR)' | cmp -s - $@ || echo '$(BUILT_FOR)' > $@
$(OBJS): .built-for
$(OBJS:.o=.bc): .built-for $(wildcard src/*.h)
-include $(OBJS:.o=.d)

endif
