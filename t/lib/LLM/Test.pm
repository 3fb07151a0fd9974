package LLM::Test;

# What a test file usually wants, in one line:
#
#   use LLM::Test;
#
# = strict, warnings, Test::More, LLM::Nginx, LLM::Client, LLM::Fake with
# their words, wait_for, tempdir, reserve_port, slow, and the helpers below.

use strict;
use warnings;

use Exporter ();
use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use Test::More ();
use Time::HiRes ();

use LLM::Client;
use LLM::Fake;
use LLM::Nginx;
use LLM::Util qw(slow wait_for tempdir slurp spew root_dir reserve_port);

our @ISA = qw(Exporter);
our @EXPORT = qw(slow wait_for tempdir slurp spew root_dir reserve_port
                 no_canary has_bytes canon json_is between now events_ok
                 cpu_seconds rss_kb fd_count);

sub import {
    my ($class) = @_;

    strict->import;
    warnings->import;

    for my $package (qw(Test::More LLM::Client LLM::Fake)) {
        my $caller = caller;
        eval "package $caller; $package->import; 1" or die $@;
    }
    $class->export_to_level(1, $class);
}


sub now { return Time::HiRes::time() }


# None of the secrets occurs in the text, neither as it is nor in one of the
# disguises a log could give it: base64, hex, percent encoding.

sub no_canary {
    my ($text, @secrets) = @_;

    my %found;
    for my $secret (@secrets) {
        my %forms = _disguises($secret);
        for my $form (keys %forms) {
            my $at = index lc $text, lc $forms{$form};
            next if $at < 0;
            my $from = $at < 60 ? 0 : $at - 60;
            $found{"$secret ($form)"} = substr $text, $from, 200;
        }
    }

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::ok(!%found, 'no secret in ' . length($text) . ' bytes')
        or Test::More::diag(map { "$_ in: $found{$_}\n" } sort keys %found);
    return !%found;
}


sub _disguises {
    my ($secret) = @_;

    my %forms = (plain => $secret, hex => unpack('H*', $secret),
                 percent => join '', map { sprintf '%%%02X', ord }
                                     split //, $secret);

    # Base64 depends on how many bytes stand before; whole groups of the
    # secret are the same, whatever does.
    for my $shift (0 .. 2) {
        my $bytes = substr $secret, (3 - $shift) % 3;
        $bytes = substr $bytes, 0, int(length($bytes) / 3) * 3;
        $forms{"base64, $shift before"} = encode_base64($bytes, '')
            if length $bytes >= 6;
    }
    return %forms;
}


# The contrary, for proving that a search would find something.

sub has_bytes {
    my ($text, $bytes, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::ok(index($text, $bytes) >= 0, $name || "has \"$bytes\"")
        or Test::More::diag(substr $text, 0, 2000);
}


# JSON in one form: keys sorted, no spaces.  Takes data or text.

sub canon {
    my ($data) = @_;
    my $json = JSON::PP->new->utf8->canonical->allow_nonref;
    return $json->encode(ref $data ? $data : $json->decode($data));
}

sub json_is {
    my ($got, $expected, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $text = eval { canon($got) } // "no JSON: " . ($got // 'undef');
    Test::More::is($text, canon($expected), $name);
}


# A duration or number in a range; the upper end is stretched by LLM_SLOW.

sub between {
    my ($value, $low, $high, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $ok = defined $value && $value >= $low && $value <= $high * slow();
    Test::More::ok($ok, $name)
        or Test::More::diag(sprintf '%s is not in %s .. %s',
                            $value // 'undef', $low, $high * slow());
}


# Every event of the answer reached the client at most S seconds after the
# fake wrote it.

sub events_ok {
    my ($response, $fake, $n, $seconds, $name) = @_;

    my @written = $fake->event_times($n);
    my @arrived = map { $_->{time} } $response->events;
    my ($count, $events) = (scalar @written, scalar @arrived);

    my @late = grep { $arrived[$_] - $written[$_] > $seconds * slow() }
               0 .. ($count < $events ? $count : $events) - 1;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $ok = $count && $count == $events && !@late;
    Test::More::ok($ok, $name || "each event within $seconds s")
        or Test::More::diag("$count written, $events arrived, late: "
            . join ', ', map { sprintf 'event %d by %.3f s', $_ + 1,
                               $arrived[$_] - $written[$_] } @late);
    return $ok;
}


# What a worker costs: CPU seconds so far, resident kilobytes, open files.

sub cpu_seconds {
    my ($pid) = @_;
    my ($fields) = slurp("/proc/$pid/stat") =~ /\) (.*)/;
    my @stat = split / /, $fields // '';
    return (($stat[11] // 0) + ($stat[12] // 0)) / 100;
}

sub rss_kb {
    my ($pid) = @_;
    return slurp("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m ? $1 : undef;
}

sub fd_count {
    my ($pid) = @_;
    return scalar(() = glob "/proc/$pid/fd/*");
}

1;
