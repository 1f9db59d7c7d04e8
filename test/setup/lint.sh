#!/usr/bin/env bash
#-------------------------------------------------------------------------
#
# lint.sh
#	  What `make lint` runs: warnings as errors, and the rules of the house.
#
# Each rule is one function below and one line of output; the last line is
# `N passed, N failed`.  Rules about SQL objects ask the catalogs of a database
# with the extension rather than the text of the scripts.
#
# Invariant: the tree is only read; everything is built in a copy.
#
#-------------------------------------------------------------------------
set -u

# shellcheck source=test/setup/cluster.sh
source "$(dirname "$0")/cluster.sh"
# shellcheck source=test/setup/count.sh
source "$TOP/test/setup/count.sh"

# nothing succeeds when its standard input is empty, and shows it otherwise.
nothing()
{
	local found

	found=$(head -n 40)
	[ -z "$found" ] || { printf '%s\n' "$found"; return 1; }
}

# quiet_make runs make in the copy; only a failure shows what it said.
quiet_make()
{
	(cd "$WORK/tree" && as_user make PG_CONFIG="$PG_CONFIG" "$@") > "$WORK/make.log" 2>&1 || {
		grep -E 'warning|error|\*\*\*' "$WORK/make.log" | head -n 40
		return 1
	}
}

# version_tests_in_one_place: what differs between majors is in compat.h.
version_tests_in_one_place()
{
	(cd "$WORK/tree" && grep -rn 'PG_VERSION_NUM' src test --include='*.[ch]' | grep -v '^src/compat\.h:') | nothing
}

# no_trailing_space: in what people write (outputs have it, also those shown in
# the manual).
no_trailing_space()
{
	(cd "$WORK/tree" && grep -rnI '[[:blank:]]$' . --exclude-dir=expected --exclude-dir=corpus --exclude-dir=vectors \
		--exclude='*.md') | nothing
}

# no_carriage_return: nor lines that end as on other systems.
no_carriage_return()
{
	(cd "$WORK/tree" && grep -rlI "$(printf '\r')\$" src sql test/setup test/t test/unit Makefile) | nothing
}

# c_indented_by_tabs: as PostgreSQL's own source is.
c_indented_by_tabs()
{
	(cd "$WORK/tree" && grep -nE '^    +[^ *]' src/*.[ch]) | nothing
}

# no_unfinished_marks: finished, or not there.
no_unfinished_marks()
{
	(cd "$WORK/tree" && grep -rnwE 'TODO|FIXME|XXX|HACK' src sql test Makefile doc README.md \
		--exclude-dir=vectors --exclude-dir=corpus --exclude=lint.sh 2>/dev/null) | nothing
}

# pure_cores: what is fuzzed alone may not lean on PostgreSQL.
pure_cores()
{
	(cd "$WORK/tree" && grep -nE 'palloc|ereport|elog\(|fmgr\.h|"postgres\.h"|compat\.h' src/derive.[ch] src/*_core.[ch]) | nothing
}

# one_version: control file, META.json and .gitignore name the same one.
one_version()
{
	local version

	version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" "$WORK/tree/biolink.control")
	python3 - "$WORK/tree/META.json" "$version" <<-'END' || return 1
		import json, sys
		meta = json.load(open(sys.argv[1]))
		sys.exit(not (meta["version"] == meta["provides"]["biolink"]["version"] == sys.argv[2]))
	END
	grep -qxF "/sql/biolink--$version.sql" "$WORK/tree/.gitignore"
}

# different_names: isolation and regression tests share their expected outputs' directory.
different_names()
{
	(cd "$WORK/tree" && for file in test/specs/*.spec; do
		name=${file##*/}
		[ ! -e "test/sql/${name%.spec}.sql" ] || echo "$file"
	done) | nothing
}

# outputs_and_tests_match: no expected output without a test, none missing.
outputs_and_tests_match()
{
	(cd "$WORK/tree" && for file in expected/*.out; do
		name=$(basename "$file" .out)
		[ -e "test/sql/$name.sql" ] || [ -e "test/specs/$name.spec" ] ||
			[ -e "test/sql/${name%_[0-9]}.sql" ] || [ -e "test/specs/${name%_[0-9]}.spec" ] || echo "$file"
	done
	for file in test/sql/*.sql test/specs/*.spec; do
		name=${file##*/}
		[ ! -e "$file" ] || [ -e "expected/${name%.*}.out" ] || echo "$file"
	done) | nothing
}

# shell_scripts: shellcheck has nothing to say.
shell_scripts()
{
	local files

	mapfile -t files < <(cd "$WORK/tree" && grep -rlE '^#!.*\b(ba)?sh$' . --exclude-dir=vectors)
	(cd "$WORK/tree" && shellcheck -x "${files[@]}") | nothing
}

# python_compiles: with the oldest syntax at hand.
python_compiles()
{
	(cd "$WORK/tree" && find . -name '*.py' -print0 | xargs -0r python3 -m py_compile) 2>&1 | nothing
}

# perl_compiles: the TAP tests.
perl_compiles()
{
	local pgxs_src file

	pgxs_src=$(cd "$(dirname "$("$PG_CONFIG" --pgxs)")/.." && pwd -P)
	for file in "$WORK"/tree/test/t/*.pl; do
		if [ -e "$file" ]; then
			perl -I "$pgxs_src/test/perl" -cw "$file" 2>&1 | grep -v 'syntax OK$'
		fi
	done | nothing
}

# clean_removes_all: make clean leaves what was there before make.
clean_removes_all()
{
	quiet_make clean || return 1
	(cd "$WORK/tree" && find . \( -type f -o -type l \) | sort) | diff "$WORK/files.before" - | nothing
}

# query asks the database; an answer is a fault.
query()
{
	local answer

	answer=$(psql -XqAt -v ON_ERROR_STOP=1 -d lint -c "$1" 2>&1) || { printf '%s\n' "$answer"; return 1; }
	printf '%s' "$answer" | nothing
}

# Every object of the extension, for the queries below.
MEMBERS="WITH member AS (
	SELECT classid, objid FROM pg_catalog.pg_depend
	WHERE deptype = 'e' AND refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
	AND refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'biolink'))"

# sql_rules checks what the script made, one rule a line.
sql_rules()
{
	count_check "functions pin search_path = pg_catalog, pg_temp, C ones and procedures apart" query "$MEMBERS
		SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang, member m
		WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid AND p.prokind IN ('f', 'w') AND l.lanname NOT IN ('c', 'internal')
		AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false) ORDER BY 1"
	count_check "C functions and committing procedures carry neither SET nor SECURITY DEFINER" query "$MEMBERS
		SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang, member m
		WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid AND (l.lanname = 'c' OR p.prokind = 'p' AND p.prosrc ~* '\mcommit\M')
		AND (p.prosecdef OR p.proconfig IS NOT NULL) ORDER BY 1"
	count_check "every object has a comment" query "$MEMBERS
		SELECT pg_describe_object(m.classid, m.objid, 0) FROM member m
		WHERE m.classid IN ('pg_proc'::regclass, 'pg_type'::regclass, 'pg_namespace'::regclass, 'pg_operator'::regclass, 'pg_class'::regclass)
		AND obj_description(m.objid, m.classid::regclass::name) IS NULL
		AND NOT EXISTS (SELECT FROM pg_class c WHERE m.classid = 'pg_class'::regclass AND c.oid = m.objid
			AND (c.relispartition OR c.relkind IN ('i', 'I', 'S')))
		AND NOT EXISTS (SELECT FROM pg_type t WHERE m.classid = 'pg_type'::regclass AND t.oid = m.objid
			AND (t.typrelid <> 0 OR t.typelem <> 0 AND t.typsubscript = 'array_subscript_handler'::regproc)) ORDER BY 1"
	count_check "every view works with its reader's rights" query "$MEMBERS
		SELECT c.oid::regclass FROM pg_class c, member m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid
		AND c.relkind = 'v' AND NOT coalesce(c.reloptions && ARRAY['security_invoker=true', 'security_invoker=on'], false) ORDER BY 1"
	count_check "every table with a creator_id has row security" query "$MEMBERS
		SELECT c.oid::regclass FROM pg_class c, member m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid
		AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT c.relrowsecurity
		AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'creator_id') ORDER BY 1"
	count_check "every table and sequence is dumped, or says why not" query "$MEMBERS
		SELECT c.oid::regclass FROM pg_class c, member m, pg_extension e WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid
		AND e.extname = 'biolink' AND c.relkind IN ('r', 'S') AND c.relpersistence = 'p'
		AND NOT coalesce(c.oid = ANY (e.extconfig), false)
		AND coalesce(obj_description(c.oid, 'pg_class'), '') !~ 'Not dumped: ' ORDER BY 1"
	count_check "nothing of the extension is outside its schema" query "$MEMBERS
		SELECT pg_describe_object(m.classid, m.objid, 0) FROM member m
		WHERE m.classid = 'pg_proc'::regclass AND (SELECT pronamespace FROM pg_proc WHERE oid = m.objid) <> 'biolink'::regnamespace
		OR m.classid = 'pg_class'::regclass AND (SELECT relnamespace FROM pg_class WHERE oid = m.objid) <> 'biolink'::regnamespace
		OR m.classid = 'pg_type'::regclass AND (SELECT typnamespace FROM pg_type WHERE oid = m.objid) <> 'biolink'::regnamespace ORDER BY 1"
	count_check "no table or view of the extension is open to everybody" query "$MEMBERS
		SELECT c.oid::regclass FROM pg_class c, member m, aclexplode(c.relacl) a
		WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid AND a.grantee = 0 ORDER BY 1"
}

main()
{
	setup_begin build test lint
	setup_tree
	setup_installation
	cluster_start_test "$WORK/cluster"
	(cd "$WORK/tree" && find . \( -type f -o -type l \) | sort) > "$WORK/files.before"

	count_check "the extension compiles without a warning" quiet_make WERROR=1 all
	count_check "unit tests and fuzzers compile without a warning" quiet_make WERROR=1 unit-build
	count_check "PG_VERSION_NUM is tested in compat.h only" version_tests_in_one_place
	count_check "no trailing white space" no_trailing_space
	count_check "no carriage returns" no_carriage_return
	count_check "C is indented by tabs" c_indented_by_tabs
	count_check "no marks of unfinished work" no_unfinished_marks
	count_check "the pure cores use nothing of PostgreSQL" pure_cores
	count_check "one version everywhere" one_version
	count_check "isolation and regression tests have different names" different_names
	count_check "every test has an expected output and the reverse" outputs_and_tests_match
	count_check "shellcheck" shell_scripts
	count_check "Python files compile" python_compiles
	count_check "Perl files compile" perl_compiles

	if quiet_make install && createdb lint &&
		psql -Xq -d lint -c 'CREATE EXTENSION biolink CASCADE' > "$WORK/create.log" 2>&1; then
		sql_rules
	else
		cat "$WORK/create.log" 2>/dev/null
		count_not_ok "the extension can be created"
	fi
	find "$WORK/tree" -name __pycache__ -prune -exec rm -rf {} +
	count_check "make clean removes everything that was built" clean_removes_all
	cluster_stop "$WORK/cluster"
	count_summary
}

main
