#!/usr/bin/env perl
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# harness.pl [-v] TEST... [-- TEST...]... - run TAP tests as prove does, and end with what failed
# and what was said of it, what was skipped with its reason, and one line, "N passed, N failed,
# N skipped". Each "--" begins another list: tests of a list run one after another, the lists
# beside each other, so their tests must not care about those of others. With STRICT=1 in the
# environment, a skip for want of the kernel (its reason starts with "kernel:") is a failure. A
# test is a command: words are split at spaces. No test can hang, or leave processes behind:
# limited.py ends it after TEST_SECONDS (600), which pass more slowly on a busy machine.

use strict;
use warnings;
use FindBin;
use TAP::Harness;

my $verbose = @ARGV && $ARGV[0] eq '-v' && shift @ARGV;
die "usage: harness.pl [-v] TEST... [-- TEST...]...\n" unless @ARGV;
my @lists = ([]);
for (@ARGV) {
	if ($_ eq '--') { push @lists, [] } else { push @{ $lists[-1] }, $_ }
}
my @tests = map { @$_ } @lists;
my $strict = ($ENV{STRICT} // '') eq '1';

my ($passed, @failed, @skipped);
my %said;                        # by each test since its last failure
my ($before, $after) = (10, 40); # lines at most, of what a test said around a failure

sub skip {
	my ($what, $reason) = @_;
	my $list = $strict && $reason =~ /^kernel:/i ? \@failed : \@skipped;
	push @$list, "$what: skipped: $reason";
}

my $harness = TAP::Harness->new({
	verbosity => $verbose ? 1 : 0,
	timer     => 1,
	merge     => 0,
	jobs      => scalar @lists,
	rules     => { par => [ map { { seq => $_ } } @lists ] },
	exec      => sub {
		my ($self, $test) = @_;
		["$FindBin::Bin/limited.py", $ENV{TEST_SECONDS} // 600, split ' ', $test];
	},
});

$harness->callback(made_parser => sub {
	my ($parser, $job) = @_;
	my $name = $job->[0];
	my $said = $said{$name} = [];
	my ($failure, $lines);    # the point before a comment, if it failed
	$parser->callback(test => sub {
		my ($point) = @_;
		my $what = $name . ' ' . $point->number . ' ' . $point->description;
		undef $failure;
		if    ($point->has_skip) { skip($what, $point->explanation) }
		elsif ($point->is_ok)    { $passed++ }
		else {
			push @failed, join "\n  ", $what, splice @$said;
			($failure, $lines) = (\$failed[-1], $after);
		}
	});
	$parser->callback(comment => sub {
		my $text = $_[0]->raw;
		if ($text =~ /^#   (it hung|outlived the test): /) {
			push @failed, "$name: $1" unless $failure && $$failure =~ /: \Q$1\E\n/;
			($failure, $lines) = (\$failed[-1], 400);
		}
		if ($failure && $lines-- > 0) { $$failure .= "\n  $text" }
		else                          { push @$said, $text }
		# The first one may be a seed.
		splice @$said, 1, 1 if @$said > $before;
	});
	$parser->callback(plan => sub {
		my ($plan) = @_;
		skip($name, $plan->explanation || 'no reason given') if $plan->tests_planned == 0;
	});
});

my $results = $harness->runtests(@tests);
for my $parser ($results->parsers(@tests)) {
	my ($name) = grep { ($results->parsers($_))[0] == $parser } @tests;
	# A crash, or an end before the plan, is a failure beside those that were counted.
	my @broken = $parser->parse_errors;
	push @broken, 'exit status ' . ($parser->exit // $parser->wait)
		if ($parser->exit || $parser->wait) && !$parser->failed;
	push @failed, join "\n  ", "$name: $_", splice @{ $said{$name} } for @broken;
}

print "failed: $_\n" for @failed;
print "$_\n" for @skipped;
printf "%d passed, %d failed, %d skipped\n", $passed // 0, scalar @failed, scalar @skipped;
exit(@failed || !$passed ? 1 : 0);
