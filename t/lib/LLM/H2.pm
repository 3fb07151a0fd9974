package LLM::H2;

# HTTP/2 without TLS (prior knowledge), through Debian's curl: an nginx server
# with "listen ... http2" is asked one thing, and the answer is an
# LLM::Response with arrival times.
#
#   plan skip_all => LLM::H2->missing if LLM::H2->missing;
#   my $r = LLM::H2::request($gw->port(1), method => 'POST', path => '/',
#                            headers => [[k, v]], body => $bytes);

use strict;
use warnings;

use Carp qw(croak);
use Time::HiRes qw(time);

use LLM::Response;
use LLM::Util qw(slow tempdir spew forked reap);

sub missing {
    my $version = `curl -V 2>/dev/null` // '';
    return $version =~ /\bHTTP2\b/ ? '' : 'curl with HTTP2 is not installed';
}

# Options as in LLM::Client::request: method, path, headers, body, timeout;
# abort_after => S kills curl (the stream is reset, the connection closed).
# clean_end is 1 when the stream ended with END_STREAM.

sub request {
    my ($to, %opt) = @_;

    my $port = ref $to ? $to->port : $to;
    my $timeout = ($opt{timeout} || 10) * slow();
    my $path = $opt{path} // '/';
    my $method = $opt{method} || (defined $opt{body} ? 'POST' : 'GET');

    my @argv = ('curl', '-sS', '-N', '-i', '--http2-prior-knowledge',
                '--path-as-is', '--max-time', $timeout, '-X', $method);
    push @argv, '-H', 'Content-Type: application/json'
        unless grep { lc $_->[0] eq 'content-type' } @{ $opt{headers} || [] };
    push @argv, '-H', "$_->[0]: $_->[1]" for @{ $opt{headers} || [] };
    if (defined $opt{body}) {
        push @argv, '--data-binary',
                    '@' . spew(tempdir() . '/body', $opt{body});
    }

    pipe my $read, my $write or croak "pipe: $!";
    my $pid = forked(sub {
        open STDOUT, '>&', $write;
        open STDERR, '>', '/dev/null' unless $ENV{LLM_KEEP};
        exec @argv, "http://127.0.0.1:$port$path";
    });
    close $write;

    my $r = LLM::Response->new(method => $method);
    my $deadline = $opt{abort_after} ? time + $opt{abort_after} : undef;
    my $aborted = 0;

    while (1) {
        my $mask = '';
        vec($mask, fileno $read, 1) = 1;
        my $left = $deadline ? $deadline - time : undef;
        if (defined $left && $left <= 0) {
            kill 'KILL', $pid;
            $aborted = 1;
            last;
        }
        next unless select $mask, undef, undef, $left;
        sysread $read, my $bytes, 65536 or last;

        # HTTP/2 has no framing of its own that curl would show: the end is
        # what curl's exit status says.
        $r->push_bytes($bytes, time);
    }

    my $status = reap($pid, 5) // -1;
    $r->end_by_status($status == 0, $aborted ? 'aborted'
                                             : 'curl ' . ($status >> 8), time);
    return $r;
}

1;
