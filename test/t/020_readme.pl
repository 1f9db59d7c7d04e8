# What the README shows is what happens: its SQL runs as it stands, and its
# tables come out as printed (tokens and ids apart).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

open my $readme, '<', 'README.md' or die "README.md: $!";
my $text = do { local $/; <$readme> };
close $readme;

my (@sql, @shown);
while ($text =~ /^```(sql)?\n(.*?)^```$/msg)
{
	my ($is_sql, $block) = ($1, $2);
	next if $block =~ /^make /;
	push @{ $is_sql ? \@sql : \@shown }, $block;
}
cmp_ok(scalar @sql, '>=', 5, 'the README has its blocks of SQL');
cmp_ok(scalar @shown, '>=', 4, 'and of output');

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => ['--encoding=UTF8', '--locale=C']);
$node->start;

my ($stdout, $stderr);
my $ok = run_log(
	[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', '-' ],
	'<', \join('', @sql), '>', \$stdout, '2>', \$stderr);
ok($ok, 'the SQL of the README runs') or diag($stderr);
like($stderr, qr/NOTICE:.*root key/, 'the key that was made is spoken of');

# the tokens of this run are not those of the README
s/bl=[A-Za-z0-9_-]{76}/bl=<token>/g for $stdout, @shown;
for my $i (0 .. $#shown)
{
	ok(index($stdout, $shown[$i]) >= 0, 'output block ' . ($i + 1) . ' is as shown')
	  or diag("shown:\n$shown[$i]\nall output:\n$stdout");
}

$node->stop;
done_testing();
