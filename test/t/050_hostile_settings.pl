# Every regression test once more under settings that somebody, somewhere, has:
# odd ones of the server, the database and the session.  The answers must be
# the ordinary ones, to the byte.
#
# How the odd values get in.  pg_regress forces time zone, date style and
# interval style on its sessions, so it is given a launcher that sets them (and
# everything else) again, right before psql starts: they are in force for the
# whole session, CREATE EXTENSION included, in tests and extension alike, and
# RESET leads back to them.  That they are is not taken on trust: triggers on
# biolink.event and biolink.ledger write down the settings under which the
# extension writes (a "witness"), and each set ends with a check of that list.
#
# What is compared with what.  Results are compared with the one expected
# output, by pg_regress.  Where a setting is about how values are printed, or
# how literals are read, the test's own statements come out otherwise too, and
# rightly so.  Then scripts or expected outputs are rewritten, by rules that
# know nothing about the extension:
#	- times, dates, intervals, bytea and floats of the expected output are read
#	  and printed anew by a server, under the odd style ("printing");
#	- literals of the tests are written so that they mean the same ("edit"); an
#	  edit changes script and expected output alike.
# So nothing is left out of a comparison but widths of columns, the order of rows
# where a locale of the C library sorts them, and what "omit" names with its reason.
#
# One set is the other way round: sessions are ordinary, and each function of
# the extension that can have them gets the odd values by ALTER FUNCTION ... SET.
# So nothing printed changes, and settings under which no session could run the
# tests (row_security = off, quote_all_identifiers) get their turn.
#
# Last, a day's work of two back ends, an administrator and an analyst, directly
# and, where it is installed, through PgBouncer in transaction mode: sessions there
# share server connections, what one of them set, and what the server cached.
#
# HOSTILE_SETS=pattern runs the sets whose names match (and PgBouncer, if that does).

use strict;
use warnings;

use Cwd ();
use IPC::Run;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# a pattern for the names of sets, to run some
my $wanted_sets = $ENV{HOSTILE_SETS} // '';
my $dir = PostgreSQL::Test::Utils::tempdir;
my $database = 'contrib_regression';
my @tests = map { m{/([^/]+)\.sql$} ? $1 : () } sort glob 'test/sql/*.sql';
cmp_ok(scalar @tests, '>=', 9, 'there are regression tests');
my $pg_regress = $ENV{PG_REGRESS} or die 'PG_REGRESS is not set';
my $tree = Cwd::getcwd();
$pg_regress = "$tree/$pg_regress" if $pg_regress !~ m{^/};

# ---- edits: the same test, written so that it means the same ----------------------

# literals_escaped writes literals with backslashes so that they mean the same whatever standard_conforming_strings says.
sub literals_escaped
{
	my ($test, $text) = @_;
	my @lines = split /^/, $text;

	for my $line (@lines)
	{
		# commands of psql have their own rules, comments may have apostrophes
		next if $line =~ /^\\|^--/;
		$line =~ s{(?<![A-Za-z])([Ee]?)'((?:[^']|'')*)'}{
			my ($escape, $body) = ($1, $2);
			$body =~ s/\\/\\\\/g if $escape eq '';
			$escape = 'E' if $body =~ /\\/;
			"$escape'$body'" }ge;
	}
	return join '', @lines;
}

# nulls_spelled_out writes the arrays that the tests have as text with a NULL in it as expressions.
sub nulls_spelled_out
{
	my ($test, $text) = @_;

	$text =~ s/'\{NULL\}'/ARRAY[NULL]::timestamptz[]/g;
	return $text;
}

# lower_in_c lets the tests' own lower() follow the rules of C.
sub lower_in_c
{
	my ($test, $text) = @_;

	$text =~ s/(\blower\('[^']*')\)/$1 COLLATE "C")/g;
	return $text;
}

# plans_as_before gives what looks at plans (EXPLAIN) the planner's usual means.
sub plans_as_before
{
	my ($test, $text) = @_;

	$text =~ s/^(CREATE FUNCTION pg_temp\.leaves_read\(.* LANGUAGE plpgsql) AS \$\$$/$1 SET enable_partition_pruning = on SET search_path = pg_catalog AS \$\$/m;
	$text =~ s/^SET enable_bitmapscan = off;$/SET enable_bitmapscan = off; SET enable_indexscan = on; SET enable_indexonlyscan = on;/mg;
	$text =~ s/^RESET enable_bitmapscan;$/RESET enable_bitmapscan; RESET enable_indexscan; RESET enable_indexonlyscan;/mg;
	return $text;
}

# compiled_less_often leaves compiling out of the statement that runs thousands of others.
sub compiled_less_often
{
	my ($test, $text) = @_;

	$text =~ s/^(SELECT [^;]*\bgenerate_series\(1, 3000\)[^;]*;)$/SET jit = off; $1 RESET jit;/mg;
	return $text;
}

# in_latin1 replaces the characters that LATIN1 lacks by others of it.
sub in_latin1
{
	my ($test, $text) = @_;

	$text =~ s/\xe2\x80\x99/\xc2\xb4/g;
	$text =~ s/\xe2\x82\xac/\xc2\xa4/g;
	$text =~ s/%E2%80%99/%C2%B4/g;
	$text =~ s/%E2%82%AC/%C2%A4/g;
	return $text;
}

# in_order settles what a test leaves open, the order of two rows that arrived together.
sub in_order
{
	my ($test, $text) = @_;

	$text =~ s/ORDER BY k\.received_at LIMIT 3/ORDER BY k.received_at, k.revision DESC LIMIT 3/g;
	return $text;
}

# unstamped: on a subscriber, whose sessions are replicas, a row keeps the time that came with it.
sub unstamped
{
	my ($test, $text) = @_;

	$text =~ s/( AS made_before FROM biolink\.key_epoch;\n.*\n.*\n revoked \| )t/$1f/;
	return $text;
}

# ---- the sets ----------------------------------------------------------------------

# What each may have: settings, in force in the sessions, or (within) in the
# functions; encoding, of the client; locale, of the database; before, SQL that
# runs before the extension is there; printing, edit, outcome (an edit of the
# expected output alone), omit and cost (seconds beyond the usual one).
my %lord_howe = (TimeZone => 'Australia/Lord_Howe');
my %printing = (%lord_howe, DateStyle => 'SQL, DMY', IntervalStyle => 'iso_8601', extra_float_digits => '-15', bytea_output => 'escape');
my %strings = (standard_conforming_strings => 'off', escape_string_warning => 'on', backslash_quote => 'off');
my %compiled = (jit => 'on', jit_above_cost => '0');
my %read_nothing = (standard_conforming_strings => 'off', array_nulls => 'off', transform_null_equals => 'on', quote_all_identifiers => 'on');
my @sets = (
	{ name => 'nothing odd' },
	{ name => 'New York', settings => { TimeZone => 'America/New_York' }, printing => 1 },
	{ name => 'Lord Howe', settings => {%lord_howe}, printing => 1 },
	{ name => 'DateStyle SQL, DMY', settings => { DateStyle => 'SQL, DMY' }, printing => 1 },
	{ name => 'DateStyle German, DMY', settings => { DateStyle => 'German, DMY' }, printing => 1 },
	{ name => 'IntervalStyle iso_8601', settings => { IntervalStyle => 'iso_8601' }, printing => 1 },
	{ name => 'IntervalStyle sql_standard', settings => { IntervalStyle => 'sql_standard' }, printing => 1 },
	{ name => 'few digits', settings => { extra_float_digits => '-15' }, printing => 1 },
	{ name => 'bytea as escapes', settings => { bytea_output => 'escape' }, printing => 1 },
	{ name => 'backslashes escape', settings => {%strings}, edit => [ \&literals_escaped ] },
	{ name => 'arrays without nulls', settings => { array_nulls => 'off' }, edit => [ \&nulls_spelled_out ] },
	{ name => 'look-alikes', settings => { search_path => 'hostile, pg_catalog, public', jit => 'off' }, before => lookalikes(), edit => [ \&plans_as_before ], cost => 4 },
	{ name => 'repeatable read', settings => { default_transaction_isolation => 'repeatable read' } },
	{ name => 'serializable', settings => { default_transaction_isolation => 'serializable' } },
	{ name => 'custom plans', settings => { plan_cache_mode => 'force_custom_plan' } },
	{ name => 'generic plans', settings => { plan_cache_mode => 'force_generic_plan' } },
	# the cost of what is disabled would have everything compiled
	{ name => 'neither nested loops nor indexes', edit => [ \&plans_as_before ], settings => { jit => 'off', enable_nestloop => 'off', enable_hashjoin => 'off',
			enable_indexscan => 'off', enable_indexonlyscan => 'off', enable_hashagg => 'off' } },
	{ name => 'neither sorts nor sequential scans', settings => { jit => 'off', enable_mergejoin => 'off', enable_sort => 'off', enable_seqscan => 'off',
			enable_bitmapscan => 'off', enable_material => 'off', enable_memoize => 'off', enable_partitionwise_join => 'on', enable_partitionwise_aggregate => 'on' } },
	{ name => 'a planner that neither prunes nor reorders', edit => [ \&plans_as_before ], settings => { enable_partition_pruning => 'off', constraint_exclusion => 'off',
			from_collapse_limit => '1', join_collapse_limit => '1', geqo_threshold => '2' } },
	{ name => 'everything compiled', settings => { %compiled, jit_tuple_deforming => 'off' }, edit => [ \&compiled_less_often ], cost => 15,
		omit => { map { $_ => 'minutes of compiling statements on tables' } qw(orders retention touches) } },
	{ name => 'expressions compiled with inlining', settings => { %compiled, jit_inline_above_cost => '0', jit_optimize_above_cost => '0' }, cost => 8,
		omit => { map { $_ => 'minutes of compiling statements on tables' } qw(attribution clicks jobs keys objects orders retention touches track track_batch) } },
	# "regress" is "on" without a line of context in every message
	{ name => 'parallel whatever can be', cost => 4, settings => { force_parallel_mode => 'regress', debug_parallel_query => 'regress', parallel_setup_cost => '0',
			parallel_tuple_cost => '0', min_parallel_table_scan_size => '0', min_parallel_index_scan_size => '0' } },
	{ name => 'little memory', settings => { work_mem => '64kB', hash_mem_multiplier => '1', maintenance_work_mem => '1MB', temp_buffers => '800kB',
			default_statistics_target => '1', default_toast_compression => 'lz4', track_functions => 'all' } },
	{ name => 'replica', settings => { session_replication_role => 'replica' }, outcome => [ \&unstamped ] },
	{ name => 'a strict PL/pgSQL', settings => { check_function_bodies => 'off', 'plpgsql.extra_errors' => 'all', 'plpgsql.variable_conflict' => 'use_variable' } },
	{ name => 'a careless PL/pgSQL', settings => { 'plpgsql.variable_conflict' => 'use_column', 'plpgsql.check_asserts' => 'off', 'plpgsql.print_strict_params' => 'on' } },
	{ name => 'Turkish (ICU)', locale => { icu => 'tr' }, edit => [ \&lower_in_c ] },
	{ name => 'German (ICU)', locale => { icu => 'de' } },
	{ name => 'Turkish', locale => { libc => 'tr_TR.UTF-8' }, edit => [ \&lower_in_c ], sorted => 1 },
	{ name => 'German', locale => { libc => 'de_DE.UTF-8' }, sorted => 1 },
	{ name => 'client of LATIN1', encoding => 'LATIN1', edit => [ \&in_latin1 ], widths => 1 },
	{ name => 'client of WIN1252', encoding => 'WIN1252' },
	{ name => 'within functions', settings => { %printing, %read_nothing, IntervalStyle => 'sql_standard', search_path => 'hostile, pg_catalog', row_security => 'off',
			plan_cache_mode => 'force_generic_plan' },
		within => 1, before => lookalikes(), cost => 2, omit => { objects => 'it reads the very settings of the functions' } },
	{ name => 'nearly everything at once', settings => { %printing, %strings, array_nulls => 'off', default_transaction_isolation => 'serializable',
			plan_cache_mode => 'force_generic_plan', work_mem => '64kB', check_function_bodies => 'off', 'plpgsql.extra_errors' => 'all', enable_hashjoin => 'off' },
		locale => { icu => 'tr' }, encoding => 'WIN1252', printing => 1, edit => [ \&literals_escaped, \&nulls_spelled_out, \&lower_in_c ] });

# lookalikes is SQL for a schema of operators and functions that are called as
# those of pg_catalog are, and work as they do as long as a test calls them.
# Called by anything else (a function, or a statement of C code) they fail.
sub lookalikes
{
	return q{
	CREATE SCHEMA hostile;
	GRANT USAGE ON SCHEMA hostile TO PUBLIC;
	CREATE FUNCTION hostile.judge_caller() RETURNS pg_catalog.void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
	DECLARE
		context text;
		test_starts int;
	BEGIN
		GET DIAGNOSTICS context = PG_CONTEXT;
		-- without this function, how it was called, and the look-alike
		context := regexp_replace(regexp_replace(context, '^.*?\nPL/pgSQL function ', ''), '^[^\n]*\n?', '');
		IF context = '' THEN
			RETURN;
		END IF;
		-- a DO block or temporary function of a test, calling by itself or from one statement of its own
		test_starts := regexp_instr(context, '(^|\n)PL/pgSQL function (inline_code_block|pg_temp)');
		IF test_starts = 0 OR regexp_count(left(context, test_starts), '(^|\n)(SQL statement|SQL expression|PL/pgSQL assignment) "') > 1
			OR left(context, test_starts) ~ '(^|\n)(SQL|PL/pgSQL) function ' THEN
			RAISE EXCEPTION 'a look-alike of the search path was called' USING DETAIL = context;
		END IF;
	END
	$$;
	DO $make$
	DECLARE
		o record;
		body text := 'BEGIN PERFORM hostile.judge_caller(); RETURN %s; END';
		kinds oid[] := '{bool,int4,int8,float8,numeric,text,uuid,jsonb,bytea,timestamptz,timestamp,date,interval,anyarray}'::regtype[];
	BEGIN
		FOR o IN
			SELECT p.oid, p.oprname AS name, p.oprleft AS l, p.oprright AS r, p.oprresult AS result, f.proisstrict AS is_strict
				FROM pg_operator AS p JOIN pg_proc AS f ON f.oid = p.oprcode
				WHERE p.oprnamespace = 'pg_catalog'::regnamespace AND p.oprname = ANY ('{=,<>,<,<=,>,>=,||,+,-,*,/,%,->,->>,#>,#>>,@>,<@,?,~,!~,~~}')
					AND (p.oprleft = 0 OR p.oprleft = ANY (kinds)) AND p.oprright = ANY (kinds) AND p.oprresult = ANY (kinds)
		LOOP
			EXECUTE format('CREATE FUNCTION hostile.operator_%s(%s) RETURNS %s LANGUAGE plpgsql %s AS %L', o.oid,
				CASE WHEN o.l = 0 THEN '' ELSE o.l::regtype || ', ' END || o.r::regtype, o.result::regtype, CASE WHEN o.is_strict THEN 'STRICT' END,
				format(body, CASE WHEN o.l = 0 THEN format('OPERATOR(pg_catalog.%s) $1', o.name) ELSE format('$1 OPERATOR(pg_catalog.%s) $2', o.name) END));
			EXECUTE format('CREATE OPERATOR hostile.%s (FUNCTION = hostile.operator_%s, %s RIGHTARG = %s)', o.name, o.oid,
				CASE WHEN o.l = 0 THEN '' ELSE format('LEFTARG = %s,', o.l::regtype) END, o.r::regtype);
		END LOOP;
		FOR o IN
			SELECT p.proname AS name, p.proisstrict AS is_strict, p.proretset AS is_set, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result,
					(SELECT string_agg('$' || n, ', ' ORDER BY n) FROM generate_series(1, p.pronargs) AS n) AS given
				FROM pg_proc AS p
				WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.provariadic = 0 AND NOT 'internal'::regtype = ANY (p.proargtypes)
					AND p.proname = ANY ('{now,clock_timestamp,statement_timestamp,to_char,to_timestamp,date_trunc,date_part,timezone,isfinite,length,octet_length,lower,
						upper,left,right,replace,regexp_replace,repeat,rpad,substr,split_part,md5,sha256,encode,decode,round,trunc,abs,sign,to_regclass,hashtext,
						jsonb_typeof,jsonb_each,jsonb_each_text,jsonb_array_length,to_jsonb,array_to_string,array_position,cardinality,unnest,generate_series,
						pg_has_role,current_setting,set_config,pg_try_advisory_xact_lock,pg_current_xact_id,pg_current_xact_id_if_assigned,pg_snapshot_xmin,
						pg_current_snapshot,nextval,gen_random_uuid,jsonb_build_object,jsonb_build_array}')
					-- generate_series and unnest of other kinds than those of the tests
					AND NOT EXISTS (SELECT FROM unnest(p.proargtypes::oid[]) AS t WHERE t::regtype::text LIKE '%multirange%' OR t = 'tsvector'::regtype)
		LOOP
			EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s LANGUAGE plpgsql %s AS %L', o.name, o.arguments, o.result, CASE WHEN o.is_strict THEN 'STRICT' END,
				CASE WHEN o.is_set THEN format('BEGIN PERFORM hostile.judge_caller(); RETURN QUERY SELECT * FROM pg_catalog.%I(%s); END', o.name, o.given)
					ELSE format(body, format('pg_catalog.%I(%s)', o.name, o.given)) END);
		END LOOP;
		-- those that take anything, with what tests and extension give them
		FOR o IN
			SELECT f.name, f.result, a.arguments, (SELECT string_agg('$' || n, ', ' ORDER BY n) FROM generate_series(1, cardinality(string_to_array(a.arguments, ','))) AS n) AS given
				FROM (VALUES ('format', 'text'), ('concat', 'text'), ('jsonb_build_object', 'jsonb'), ('jsonb_build_array', 'jsonb')) AS f (name, result),
					unnest('{"text,text","text,int8","text,jsonb","text,uuid","text,timestamptz","text,text,text","text,name,name","text,text,text,text","text,int8,text,int8",
						"text,text,text,int8","text,text,text,text,int8","text,text,text,text,text,text",
						"text,int8,text,int8,text,text,text,int8,text,text,text,text,text,text,text,int4"}'::text[]) AS a (arguments)
				WHERE f.name NOT LIKE 'jsonb_build_object' OR cardinality(string_to_array(a.arguments, ',')) % 2 = 0
		LOOP
			EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', o.name, o.arguments, o.result, format(body, format('pg_catalog.%I(%s)', o.name, o.given)));
		END LOOP;
		-- aggregates: name, argument, state, and the step from $1 with $2
		FOR o IN
			SELECT v.*, 'step_' || v.name || '_' || row_number() OVER () AS step FROM (
				VALUES ('count', '*', 'int8', '$1 OPERATOR(pg_catalog.+) 1', '0', false),
					('sum', 'int8', 'numeric', '$1 OPERATOR(pg_catalog.+) $2', NULL, false), ('sum', 'numeric', 'numeric', '$1 OPERATOR(pg_catalog.+) $2', NULL, true),
					('bool_or', 'bool', 'bool', '$1 OR $2', NULL, true), ('bool_and', 'bool', 'bool', '$1 AND $2', NULL, true),
					('string_agg', 'text, text', 'text', 'CASE WHEN $2 IS NULL THEN $1 WHEN $1 IS NULL THEN $2 ELSE pg_catalog.concat($1, $3, $2) END', NULL, false)
				UNION ALL SELECT 'count', t, 'int8', 'CASE WHEN $2 IS NULL THEN $1 ELSE $1 OPERATOR(pg_catalog.+) 1 END', '0', false FROM unnest('{text,int8,uuid}'::text[]) AS t
				UNION ALL SELECT m, t, t, CASE m WHEN 'min' THEN 'LEAST($1, $2)' ELSE 'GREATEST($1, $2)' END, NULL, true
					FROM unnest('{min,max}'::text[]) AS m, unnest('{timestamptz,text,int8,int4}'::text[]) AS t
				UNION ALL SELECT 'array_agg', t, t || '[]', 'pg_catalog.array_append($1, $2)', NULL, false FROM unnest('{text,int8,uuid,bool,timestamptz}'::text[]) AS t
			) AS v (name, argument, state, next, initial, is_strict)
		LOOP
			o.next := CASE WHEN o.name = 'sum' AND o.argument = 'int8' THEN 'CASE WHEN $2 IS NULL THEN $1 WHEN $1 IS NULL THEN $2 ELSE ' || o.next || ' END' ELSE o.next END;
			EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s LANGUAGE plpgsql %s AS %L', o.step, o.state || CASE o.argument WHEN '*' THEN '' ELSE ', ' || o.argument END,
				o.state, CASE WHEN o.is_strict THEN 'STRICT' END, format(body, o.next));
			EXECUTE format('CREATE AGGREGATE hostile.%I(%s) (SFUNC = hostile.%I, STYPE = %s %s)', o.name, o.argument, o.step, o.state, ', INITCOND = ' || quote_literal(o.initial));
		END LOOP;
	END
	$make$;};
}

# ---- two clusters, so that two sets run at a time --------------------------------------

# What the system does not have of the libc locales may be made for the servers alone.
{
	my %wanted = map { $_->{locale}{libc} => 1 } grep { $_->{locale} && $_->{locale}{libc} } @sets;
	my $have = `locale -a 2>/dev/null`;
	(my $plain = lc $have) =~ s/utf-8/utf8/g;
	my @missing = grep { (my $name = lc $_) =~ s/utf-8/utf8/; $plain !~ /^\Q$name\E$/m } sort keys %wanted;
	my $made = 0;

	mkdir "$dir/locale";
	for my $name (@missing)
	{
		my ($language, $charmap) = split /\./, $name;
		$made++ if system("localedef -i $language -f $charmap $dir/locale/$name >$dir/localedef.log 2>&1") == 0 && -e "$dir/locale/$name/LC_CTYPE";
	}
	# with LOCPATH the system's own are out of reach, so it is all or nothing
	$ENV{LOCPATH} = "$dir/locale" if @missing && @missing == keys %wanted && $made;
}

umask 0077;
append_to_file("$dir/root.key", join('', map { sprintf '%02x', $_ } 0 .. 31) . "\n");
umask 0022;

my @nodes;
for my $number (1, 2)
{
	my $node = PostgreSQL::Test::Cluster->new("node$number");
	$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
	$node->append_conf('postgresql.conf', "timezone = 'UTC'\nautovacuum = off\nmax_prepared_transactions = 10\nmax_worker_processes = 4\nfsync = off\n"
		. "log_min_messages = warning\nlog_min_error_statement = panic\nbiolink.root_key_file = '$dir/root.key'\n");
	$node->start;
	push @nodes, $node;
}
my $first = $nodes[0];

# known tells which settings this server has, with the values that an enum takes.
my %known = map { my ($name, $values) = split /\|/, $_, 2; ($name => $values) }
	split /\n/, $first->safe_psql('postgres', q{LOAD 'plpgsql'; SELECT name, array_to_string(enumvals, ',') FROM pg_settings});
my $has_icu = $first->safe_psql('postgres', q{SELECT count(*) > 0 FROM pg_collation WHERE collprovider = 'i'}) eq 't';
my $has_jit = $first->safe_psql('postgres', 'SELECT pg_jit_available()') eq 't';

# ---- running a set -----------------------------------------------------------------------

# write_file writes a file anew.
sub write_file
{
	my ($path, $text) = @_;

	open my $file, '>', $path or die "$path: $!";
	binmode $file;
	print $file $text;
	close $file or die "$path: $!";
	return;
}

# shell_quoted makes a word for the shell.
sub shell_quoted
{
	my ($word) = @_;

	$word =~ s/'/'\\''/g;
	return "'$word'";
}

# What is evened out, in expected outputs and results alike: widths of columns
# where values are written otherwise, and the order of rows where the database's
# collation decides it.
my $even = <<'END';
sub evened
{
	my ($text, $widths, $sorted) = @_;

	if ($widths)
	{
		$text =~ s/ +/ /g;
		$text =~ s/-{2,}/--/g;
		$text =~ s/ $//mg;
	}
	$text =~ s{(^-[-+]*\n)((?: .*\n)+)(?=\(\d+ rows?\)$)}{$1 . join '', sort { $a cmp $b } split /^/, $2}mge if $sorted;
	return $text;
}
END
eval $even . '1' or die $@;

# The filter stands between pg_regress and psql where text must change on its
# way: into the client's encoding and back, and evened out.
write_file("$dir/filter.pl", <<'END' . $even);
use strict;
use warnings;
use Encode;
my ($encoding, $widths, $sorted, @psql) = @ARGV;
my $script = "filter.$$";
binmode $_ for *STDIN, *STDOUT;
my $text = do { local $/; <STDIN> };
$text = encode($encoding, decode('UTF-8', $text, Encode::FB_CROAK), Encode::FB_CROAK) if $encoding;
open my $in, '>:raw', $script or die $!;
print $in $text;
close $in or die $!;
open my $out, '-|:raw', 'sh', '-c', 'script=$1; shift; exec "$@" < "$script" 2>&1', 'sh', $script, @psql or die $!;
$text = do { local $/; <$out> } // '';
close $out;
my $status = $? >> 8;
unlink $script;
$text = encode('UTF-8', decode($encoding, $text)) if $encoding;
print evened($text, $widths, $sorted);
exit $status;
END

# reprinted has the values of an expected output printed anew, by a server, under the styles of a set.
sub reprinted
{
	my ($settings, %texts) = @_;
	my $day = qr/(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z][a-z] \d\d \d\d:\d\d:\d\d(?:\.\d+)? \d{4,5}/;
	my %form = (timestamptz => qr/$day [A-Z]{3,4}/, timestamp => $day, date => qr/\d\d-\d\d-\d{4}/, interval => qr/\@ [^|\n]*?/, bytea => qr/\\x[0-9a-f]*/);
	my (@values, %number);
	my $place = sub {
		my ($type, $value) = @_;
		$number{"$type $value"} //= push @values, [ $type, $value ];
		return "\x01" . $number{"$type $value"} . "\x02";
	};

	for my $text (values %texts)
	{
		for my $type (sort keys %form)
		{
			# a whole column of a row
			$text =~ s/((?:^|\|) +)($form{$type})(?= *(?:\||$))/$1 . $place->($type, $2)/gme;
		}
		$text =~ s/(?<= cost )([\d.]+(?:e\+\d+)?)\b/$place->('float4', $1)/ge;
	}
	my @types = ('float4', sort keys %form);
	my $sql = "SET TimeZone = 'PST8PDT'; SET DateStyle = 'Postgres, MDY'; SET IntervalStyle = 'postgres_verbose';\n"
		. 'CREATE TEMPORARY TABLE shown (n int, ' . join(', ', map { "\"a $_\" $_" } @types) . ");\n";
	for my $n (1 .. @values)
	{
		my ($type, $value) = @{ $values[$n - 1] };
		$sql .= "INSERT INTO shown (n, \"a $type\") VALUES ($n, '$value');\n";
	}
	for my $name (grep { exists $settings->{$_} } qw(TimeZone DateStyle IntervalStyle bytea_output extra_float_digits))
	{
		$sql .= "SET $name = '$settings->{$name}';\n";
	}
	$sql .= 'SELECT ' . join(' || ', map { "COALESCE(\"a $_\"::text, '')" } @types) . ' FROM shown ORDER BY n';
	my @shown = split /\n/, $first->safe_psql('postgres', $sql);
	die 'values were lost' if @shown != @values;
	s/\x01(\d+)\x02/$shown[$1 - 1]/g for values %texts;
	return %texts;
}

# possible says why a set cannot run here, or nothing; settings that this server does not know leave the set.
sub possible
{
	my ($set) = @_;

	for my $name (keys %{ $set->{settings} })
	{
		delete $set->{settings}{$name} if $name !~ /\./ && (!exists $known{ lc $name } && !exists $known{$name});
	}
	delete $set->{settings}{default_toast_compression} if ($known{default_toast_compression} // '') !~ /lz4/;
	return 'no LLVM in this server' if ($set->{settings}{jit} // '') eq 'on' && !$has_jit;
	return 'no ICU in this server' if $set->{locale} && $set->{locale}{icu} && !$has_icu;
	return '';
}

# write_set writes the directory that pg_regress runs a set in.
sub write_set
{
	my ($set) = @_;
	my $at = $set->{dir};
	my %expected;

	mkdir $_ for $at, "$at/sql", "$at/expected", "$at/results";
	for my $test (@{ $set->{tests} })
	{
		my $script = slurp_file("test/sql/$test.sql");
		my $expected = slurp_file("expected/$test.out");
		for my $edit (\&in_order, @{ $set->{edit} || [] })
		{
			$_ = $edit->($test, $_) for $script, $expected;
		}
		$expected = $_->($test, $expected) for @{ $set->{outcome} || [] };
		write_file("$at/sql/$test.sql", $script);
		$expected{$test} = $expected;
	}
	%expected = reprinted($set->{settings}, %expected) if $set->{printing};
	for my $test (sort keys %expected)
	{
		write_file("$at/expected/$test.out", evened($expected{$test}, $set->{widths}, $set->{sorted}));
	}

	my %session = $set->{within} ? () : %{ $set->{settings} || {} };
	my $launch = "#!/bin/sh\n";
	# these two have variables of their own, which win over PGOPTIONS and which pg_regress sets
	my %variable = (TimeZone => 'PGTZ', DateStyle => 'PGDATESTYLE');
	for my $name (sort keys %session)
	{
		my $value = $session{$name};
		if ($variable{$name})
		{
			$launch .= "export $variable{$name}=" . shell_quoted($value) . "\n";
			next;
		}
		$value =~ s/([\\ ])/\\$1/g;
		$launch .= 'export PGOPTIONS="$PGOPTIONS "' . shell_quoted("-c $name=$value") . "\n";
	}
	$launch .= "export PGCLIENTENCODING=$set->{encoding}\n" if $set->{encoding};
	my %encode = (LATIN1 => 'iso-8859-1', WIN1252 => 'cp1252');
	my @filter = ($^X, "$dir/filter.pl", $set->{encoding} ? $encode{ $set->{encoding} } : '', $set->{widths} || 0, $set->{sorted} || 0);
	@filter = () if !$set->{encoding} && !$set->{widths} && !$set->{sorted};
	$launch .= join(' ', 'exec', map { shell_quoted($_) } @filter) . " \"\$@\"\n";
	write_file("$at/launch", $launch);
	chmod 0755, "$at/launch";
	return;
}

# launched runs SQL in a session of a set, which must succeed, and returns what comes back, messages too.
sub launched
{
	my ($set, $sql) = @_;
	my $out = '';

	local %ENV = (%ENV, PGTZ => 'PST8PDT', PGDATESTYLE => 'Postgres, MDY');
	chdir $set->{dir} or die "$set->{dir}: $!";
	my $done = IPC::Run::run([ './launch', 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $set->{node}->connstr($database) ], '<', \$sql, '>', \$out, '2>&1');
	chdir $tree or die "$tree: $!";
	chomp $out;
	return ($done, $out);
}

# begin makes the database of a set and starts pg_regress on it.
sub begin
{
	my ($set, $node) = @_;
	my $create = "CREATE DATABASE $database TEMPLATE template0";
	my $at = $set->{dir} = "$dir/" . ($set->{name} =~ s/\W+/_/gr);

	$set->{node} = $node;
	$set->{began} = time;
	$set->{widths} ||= $set->{printing};
	$set->{tests} = [ grep { !$set->{omit}{$_} } @tests ];
	write_set($set);

	# a test that failed may have left roles behind
	$node->safe_psql('postgres', "DROP DATABASE IF EXISTS $database");
	$node->safe_psql('postgres', $node->safe_psql('postgres', q{SELECT format('DROP ROLE %I;', rolname) FROM pg_roles WHERE rolname LIKE 'regress\_%'}));
	if (my $locale = $set->{locale})
	{
		$create .= " LOCALE_PROVIDER icu ICU_LOCALE '$locale->{icu}' LOCALE 'C'" if $locale->{icu};
		$create .= " LOCALE '$locale->{libc}'" if $locale->{libc};
		my ($status, $out, $err) = $node->psql('postgres', $create);
		if ($status != 0)
		{
			note $err;
			return 'there is no such locale here';
		}
		$node->safe_psql('postgres', join '', map { "ALTER DATABASE $database SET $_ = '$locale->{libc}';" } qw(lc_monetary lc_numeric lc_time)) if $locale->{libc};
	}
	else
	{
		$node->safe_psql('postgres', $create);
	}

	$node->safe_psql($database, $set->{before}) if $set->{before};
	my ($done, $out) = launched($set, 'CREATE EXTENSION pgcrypto SCHEMA public; CREATE EXTENSION biolink;');
	ok($done && $out eq '', "$set->{name}: the extension is made without a word") or diag $out;
	return 'there is no extension' if !$done;

	my @names = map { "'" . $_ . "'" } sort keys %{ $set->{settings} || {} };
	push @names, q{'client_encoding'} if $set->{encoding};
	my $names = join ', ', @names;
	$node->safe_psql($database, qq{
		CREATE TABLE public.witness (name text, value text, PRIMARY KEY (name, value));
		CREATE FUNCTION public.witness() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS \$\$
		BEGIN
			INSERT INTO public.witness SELECT s, pg_catalog.current_setting(s) FROM pg_catalog.unnest(TG_ARGV) AS s ON CONFLICT DO NOTHING;
			RETURN NULL;
		END
		\$\$;
		CREATE TRIGGER witness AFTER INSERT ON biolink.event FOR EACH STATEMENT EXECUTE FUNCTION public.witness($names);
		CREATE TRIGGER witness AFTER INSERT ON biolink.ledger FOR EACH STATEMENT EXECUTE FUNCTION public.witness($names);
		ALTER TABLE biolink.event ENABLE ALWAYS TRIGGER witness;
		ALTER TABLE biolink.ledger ENABLE ALWAYS TRIGGER witness;});

	if ($set->{within})
	{
		# What a function sets for itself stays.  The caller's row security is
		# for those to decide who read as the caller; C code and SECURITY
		# DEFINER read as the owner.
		for my $name (sort keys %{ $set->{settings} })
		{
			my $value = $set->{settings}{$name};
			$value = "'$value'" unless $name eq 'search_path';
			$node->safe_psql($database, qq{
				DO \$do\$
				DECLARE
					f regprocedure;
				BEGIN
					FOR f IN SELECT p.oid FROM pg_depend AS d JOIN pg_proc AS p ON p.oid = d.objid
						WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'biolink') AND p.prokind = 'f'
							AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS c WHERE lower(c) LIKE lower('$name') || '=%')
							AND ('$name' <> 'row_security' OR p.prosecdef OR p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'c'))
					LOOP
						EXECUTE format('ALTER FUNCTION %s SET $name = %s', f, \$v\$$value\$v\$);
					END LOOP;
				END
				\$do\$});
		}
	}
	if ($set->{before})
	{
		# the look-alikes do catch who is careless
		my %careless = ('=' => q{'a'::text = $1}, '||' => q{'a' || $1 = 'ab'}, '<' => 'clock_timestamp() < clock_timestamp()', '+' => q{1::int8 + 1::int8 IS NULL},
			'->>' => q{'{}'::jsonb ->> $1 IS NULL}, '@>' => q{'{}'::jsonb @> '{}'::jsonb}, 'now()' => 'now() IS NULL', 'format()' => q{format('%s', $1) IS NULL},
			'jsonb_build_object()' => q{jsonb_build_object('a', $1) IS NULL}, 'count(*)' => '(SELECT count(*) IS NULL FROM (VALUES (1)) AS v)',
			'sum()' => '(SELECT sum(v.v) IS NULL FROM (VALUES (1::int8)) AS v (v))', 'lower()' => 'lower($1) IS NULL');
		my @caught;
		for my $what (sort keys %careless)
		{
			my ($status, $out, $err) = $node->psql($database, "SET search_path = hostile, pg_catalog, public;
				SELECT $careless{$what} FROM (VALUES ('b'::text)) AS v (v);" =~ s/\$1/v.v/r);
			my $quiet = $err eq '';
			($status, $out, $err) = $node->psql($database, "SET search_path = hostile, pg_catalog, public;
				CREATE OR REPLACE FUNCTION public.careless(text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN " . ($careless{$what} =~ s/'/''/gr) . "; END';
				SELECT public.careless('b')");
			push @caught, $what if $quiet && $err =~ /a look-alike of the search path was called/;
		}
		is("@caught", join(' ', sort keys %careless), "$set->{name}: look-alikes let tests through and catch who is careless");
	}

	$set->{pid} = fork // die "fork: $!";
	if ($set->{pid} == 0)
	{
		chdir $at or POSIX::_exit(127);
		open STDOUT, '>', 'log' or POSIX::_exit(127);
		open STDERR, '>&', \*STDOUT or POSIX::_exit(127);
		{
			exec $pg_regress, '--inputdir=.', '--outputdir=.', '--bindir=', '--launcher=./launch', '--use-existing', "--dbname=$database",
				'--host=' . $node->host, '--port=' . $node->port, @{ $set->{tests} };
		}
		POSIX::_exit(127);
	}
	return '';
}

# finish reports how a set came out.
sub finish
{
	my ($set) = @_;
	my $node = $set->{node};
	my $log = slurp_file("$set->{dir}/log");
	my $failed = 0;

	for my $test (@{ $set->{tests} })
	{
		# as PostgreSQL 15 writes it, and as later ones do
		ok($log =~ /^(?:test +)?\Q$test\E +\.\.\. ok|^ok +\d+ +[-+] \Q$test\E( |$)/m, "$set->{name}: $test") or $failed++;
	}
	for my $test (sort keys %{ $set->{omit} || {} })
	{
		note "$set->{name}: without $test: $set->{omit}{$test}";
	}
	if ($failed)
	{
		my @lines = -e "$set->{dir}/regression.diffs" ? split /^/, slurp_file("$set->{dir}/regression.diffs") : $log;
		diag @lines > 150 ? (@lines[0 .. 149], "... and more\n") : @lines;
	}

	my %wanted = %{ $set->{settings} || {} };
	$wanted{client_encoding} = $set->{encoding} if $set->{encoding};
	if (%wanted && grep { $_ eq 'track' } @{ $set->{tests} })
	{
		my $scripts = join '', map { slurp_file("$set->{dir}/sql/$_.sql") } @{ $set->{tests} };
		my @seen = split /\n/, $node->safe_psql($database, q{SELECT name || ' = ' || value FROM public.witness ORDER BY name COLLATE "C", value});
		@seen = grep { exists $wanted{ /^(\S+) = / ? $1 : '' } } @seen;
		# but what a function pins, and what a test sets by itself
		@seen = grep { $_ ne 'search_path = pg_catalog, pg_temp' } @seen;
		@seen = grep { my ($name, $value) = /^(\S+) = (.*)/; $value eq $wanted{$name} || $scripts !~ /^SET (?:LOCAL )?\Q$name\E (?:=|TO) '?\Q$value\E'?;/mi } @seen;
		is(join("\n", @seen), join("\n", map { "$_ = $wanted{$_}" } sort keys %wanted), "$set->{name}: the settings are in force where events and money are written");
	}
	note sprintf '%s: %.1f s', $set->{name}, time - $set->{began};
	return;
}

{
	my @waiting = sort { ($b->{cost} || 1) <=> ($a->{cost} || 1) } grep { $_->{name} =~ /(?:$wanted_sets)/ } @sets;
	my @idle = @nodes;
	my %running;

	while (@waiting || %running)
	{
		while (@waiting && @idle)
		{
			my $set = shift @waiting;
			my $reason = possible($set) || begin($set, $idle[0]);
			if ($reason)
			{
			  SKIP: { skip "$set->{name}: $reason", 1; }
				next;
			}
			$running{ $set->{pid} } = $set;
			shift @idle;
		}
		last if !%running;
		my $pid = waitpid -1, 0;
		last if $pid <= 0;
		my $set = delete $running{$pid} or next;
		finish($set);
		push @idle, $set->{node};
	}
	ok(!%running, 'every set came to its end');
}

# ---- through PgBouncer ---------------------------------------------------------------------

# session starts a psql that stays connected.
sub session
{
	my ($connection) = @_;
	my %session = (in => '', out => '');

	$session{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $connection ], '<', \$session{in}, '>', \$session{out}, '2>&1',
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return \%session;
}

# told hands over statements without waiting.
sub told
{
	my ($session, $sql) = @_;

	$session->{out} = '';
	$session->{in} .= "$sql;\n\\echo __end__\n";
	$session->{run}->pump_nb;
	return;
}

# answer waits for what comes back.
sub answer
{
	my ($session) = @_;

	$session->{run}->pump until $session->{out} =~ /^__end__\n/m;
	$session->{out} =~ s/^__end__\n//m;
	chomp(my $out = $session->{out});
	return $out;
}

# asked does both.
sub asked
{
	my ($session, $sql) = @_;

	told($session, $sql);
	return answer($session);
}

# day_of_work takes two application back ends, an administrator and an analyst
# through visits, clicks, orders, jobs and numbers, and returns all answers.
sub day_of_work
{
	my ($connect) = @_;
	my ($shop, $other_shop, $keeper, $reader) = map { session($connect->($_)) } qw(shop shop keeper reader);
	my $agent = '"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"';
	my $click = sub { return "SELECT c.status, replace(c.redirect_url, c.token::text, '<token>') FROM biolink.click(1, 'a', '{$agent, $_[0]}') AS c"; };
	my %pids;
	my @answers;
	my $did = sub { push @answers, asked(@_); return $answers[-1]; };

	# what one leaves behind, the next one finds
	asked($shop, q{SET TimeZone = 'Australia/Lord_Howe'; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'sql_standard'; SET search_path = nowhere; SET plan_cache_mode = force_custom_plan});
	$did->($shop, q{INSERT INTO biolink.creator (handle, hosts, currency, time_zone, settings) VALUES ('mia', '{mia.example}', 'EUR', 'Europe/Berlin', '{"half_life": "2 days"}') RETURNING creator_id});
	$did->($other_shop, q{INSERT INTO biolink.link (creator_id, slug, url) VALUES (1, 'a', 'https://shop.example/a') RETURNING link_id});
	my $token = asked($shop, qq{SELECT v.token FROM biolink.open_page(1, '{$agent, "url": "https://mia.example/?utm_source=ig", "occurred_at": "2026-03-29T01:30:00+01:00", "visitor": "v"}') AS v});

	# each of the two in the way of the other, so that both work on several server connections
	for my $n (1 .. 4)
	{
		my ($busy, $free) = $n % 2 ? ($shop, $other_shop) : ($other_shop, $shop);
		$did->($busy, 'BEGIN; ' . $click->(qq{"key": "busy $n", "visitor": "v", "token": "$token", "occurred_at": "2026-03-29T03:0$n:00+02:00"}));
		$did->($free, $click->(qq{"key": "free $n", "visitor": "v", "occurred_at": "2026-03-29T04:0$n:00+02:00"}));
		$pids{$_}{ asked($_, 'SELECT pg_backend_pid()') } = 1 for $shop, $other_shop;
		asked($busy, $n == 4 ? 'ROLLBACK' : 'COMMIT');
	}
	$did->($shop, $click->(qq{"key": "busy $_", "visitor": "v", "occurred_at": "2026-03-29T05:00:00+02:00"})) for 3, 4;

	# what is cached: a link that never was, that came to be after all, and that was changed
	my $tried = q{SELECT c.status, split_part(c.redirect_url, '?', 1) FROM biolink.click(1, 'b', '{}') AS c};
	$did->($shop, 'BEGIN');
	$did->($shop, q{INSERT INTO biolink.link (creator_id, slug, url) VALUES (1, 'b', 'https://shop.example/never')});
	$did->($shop, $tried);
	$did->($shop, 'ROLLBACK');
	$did->($_, $tried) for $shop, $other_shop, $shop;
	$did->($other_shop, q{INSERT INTO biolink.link (creator_id, slug, url) VALUES (1, 'b', 'https://shop.example/b')});
	$did->($_, $tried) for $shop, $other_shop, $shop;
	$did->($other_shop, q{UPDATE biolink.link SET url = 'https://shop.example/new' WHERE slug = 'b'});
	$did->($shop, 'BEGIN; SELECT 1');
	$did->($_, $tried) for $other_shop, $shop;
	$did->($shop, 'COMMIT');

	# one order, told by both at once; what the settings left behind would make of its times
	my $order = q{SELECT t.status FROM biolink.track(1, '{"kind": "order", "source": "shop", "key": "o", "order_id": "o", "amount": 999, "currency": "EUR", "visitor": "v", "occurred_at": "2026-04-02T10:00:00Z"}') AS t};
	$did->($shop, "BEGIN; $order");
	told($other_shop, $order);
	$did->($shop, 'COMMIT');
	push @answers, answer($other_shop);
	$did->($other_shop, q{SELECT t.status FROM biolink.track(1, '{"kind": "refund", "source": "shop", "key": "r", "order_id": "o", "amount": 100, "currency": "EUR", "occurred_at": "2026-04-03T10:00:00Z"}') AS t});

	$did->($keeper, q{CALL biolink.run_job('attribute')});
	$did->($keeper, q{CALL biolink.run_job('maintain')});
	$did->($keeper, q{INSERT INTO biolink.creator_member (creator_id, role_name) VALUES (1, 'reader')});
	$did->($shop, q{SELECT c.status FROM biolink.click(1, 'a', '{"user_agent": "Mozilla/5.0 (iPhone) Instagram", "visitor": "v", "occurred_at": "2026-04-01T10:00:00Z"}') AS c});
	$did->($keeper, q{CALL biolink.run_job('attribute')});
	$did->($reader, q{SELECT p.dimensions, p.visits, p.clicks, p.visitors, p.revenue, p.refunds, p.net_revenue FROM biolink.performance(1, '{day,channel,link}', '2026-03-01Z', '2026-05-01Z', 'time_decay') AS p});
	$did->($reader, q{SELECT a.model, string_agg(a.credit::text, ' ' ORDER BY a.position) FROM biolink.attribution AS a WHERE a.order_id = 'o' GROUP BY a.model ORDER BY a.model});
	$did->($keeper, 'SELECT rule, ok, failures FROM biolink.integrity_check()');
	$did->($reader, q{SELECT biolink.click(1, 'a', '{}')});

	for my $session ($shop, $other_shop, $keeper, $reader)
	{
		$session->{in} .= "\\q\n";
		$session->{run}->finish;
	}
	return (scalar(keys %{ $pids{$shop} }), @answers);
}

# what all of it comes to
my $answers = <<'END';
1
1
ok|https://shop.example/a?bl=<token>
ok|https://shop.example/a?bl=<token>
ok|https://shop.example/a?bl=<token>
ok|https://shop.example/a?bl=<token>
ok|https://shop.example/a?bl=<token>
ok|https://shop.example/a?bl=<token>
ok|https://shop.example/a?bl=<token>
ok|https://shop.example/a?bl=<token>
duplicate|https://shop.example/a?bl=<token>
ok|https://shop.example/a?bl=<token>


ok|https://shop.example/never

refused|
refused|
refused|

ok|https://shop.example/b
ok|https://shop.example/b
ok|https://shop.example/b

1
ok|https://shop.example/new
ok|https://shop.example/new

inserted

duplicate
inserted



ok

{"day": "2026-03-29", "link": "a", "channel": "direct"}|0|5|1|0|0|0
{"day": "2026-03-29", "link": null, "channel": "instagram"}|1|0|1|0|0|0
{"day": "2026-03-29", "link": "a", "channel": "instagram"}|0|3|1|0|0|0
{"day": "2026-04-01", "link": "a", "channel": "instagram"}|0|1|1|0|0|0
{"day": "2026-04-02", "link": "a", "channel": "direct"}|0|0|0|326|32|294
{"day": "2026-04-02", "link": "a", "channel": "instagram"}|0|0|0|673|68|605
first|899 0 0 0
last|0 0 0 899
last_non_direct|0 0 0 899
linear|225 225 225 224
position|360 90 90 359
time_decay|143 146 148 462
exactly_once|t|0
money_conserved|t|0
causality|t|0
nothing_lost|t|0
privacy|t|0
ERROR:  permission denied for function click
END

SKIP:
{
	skip 'only some sets are asked for', 4 if 'PgBouncer' !~ /(?:$wanted_sets)/;
	$first->safe_psql('postgres', q{CREATE ROLE shop LOGIN; CREATE ROLE keeper LOGIN; CREATE ROLE reader LOGIN});
	for my $name (qw(direct pooled))
	{
		$first->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE template0");
		$first->safe_psql($name, 'CREATE EXTENSION biolink CASCADE; GRANT biolink_app TO shop; GRANT biolink_admin TO keeper; GRANT biolink_analyst TO reader');
	}
	my ($connections, @direct) = day_of_work(sub { $first->connstr('direct') . " user=$_[0]" });
	is($connections, 1, 'without PgBouncer a session has one backend');
	is(join("\n", @direct, ''), $answers, 'without PgBouncer all answers are right');

	my ($program) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), qw(/usr/sbin /usr/local/sbin);
	skip 'there is no pgbouncer here (package pgbouncer)', 2 if !$program;

	my $socket = PostgreSQL::Test::Utils::tempdir_short;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	write_file("$dir/users.txt", join '', map { qq{"$_" ""\n} } qw(shop keeper reader));
	write_file("$dir/pgbouncer.ini", "[databases]\npooled = host=" . $first->host . ' port=' . $first->port . "\n[pgbouncer]\nlisten_addr =\nlisten_port = $port\n"
		. "unix_socket_dir = $socket\nauth_type = trust\nauth_file = $dir/users.txt\npool_mode = transaction\ndefault_pool_size = 2\nlogfile = $dir/pgbouncer.log\n");
	my $bouncer = IPC::Run::start([ $program, '-q', "$dir/pgbouncer.ini" ], '<', \undef, '>', "$dir/pgbouncer.out", '2>&1');
	for (1 .. 200)
	{
		last if -S "$socket/.s.PGSQL.$port";
		select undef, undef, undef, 0.05;
	}
	($connections, my @pooled) = day_of_work(sub { "host=$socket port=$port dbname=pooled user=$_[0]" });
	is($connections, 2, 'through PgBouncer a session works on two backends, each shared with another session');
	is(join("\n", @pooled, ''), $answers, 'through PgBouncer in transaction mode all answers are right') or diag slurp_file("$dir/pgbouncer.log");
	$bouncer->signal('INT');
	$bouncer->finish;
}

for my $node (@nodes)
{
	unlike(slurp_file($node->logfile), qr/PANIC|server process .* was terminated by signal/, $node->name . ': no crash');
}

done_testing();
