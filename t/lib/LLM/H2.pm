package LLM::H2;

# HTTP/2 without TLS (prior knowledge), through Debian's curl: an nginx server
# with "listen ... http2" is asked one thing, and the answer is an
# LLM::Response with arrival times.
#
#   plan skip_all => LLM::H2->missing if LLM::H2->missing;
#   my $r = LLM::H2::request($gw->port(1), method => 'POST', path => '/',
#                            headers => [[k, v]], body => $bytes);
#
# Without curl, for a client that breaks the protocol or leaves at a given
# byte: the bytes of a connection with one request, and the response in bytes
# that were received.
#
#   my $bytes = LLM::H2::PREFACE . LLM::H2::frames(method => 'POST', ...);
#   my $r = LLM::H2::parse($received);          # { status, body, done }

use strict;
use warnings;

use Carp qw(croak);
use Time::HiRes qw(time);

use LLM::Response;
use LLM::Util qw(slow tempdir spew forked reap);
use constant PREFACE => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

my %FRAME = (data => 0, headers => 1, rst => 3, settings => 4, goaway => 7,
             window => 8);
my ($END_STREAM, $END_HEADERS) = (1, 4);
my $WINDOW = 0x7fffffff;

# statuses in HPACK's static table
my %STATUS = (0x88, 200, 0x89, 204, 0x8a, 206, 0x8b, 304, 0x8c, 400,
              0x8d, 404, 0x8e, 500);


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


# SETTINGS, a HEADERS frame and the body in DATA frames, of stream 1.  Options:
# method, path, headers, body; window => N is the initial window for responses
# (the largest one), piece => N the length of a DATA frame (16384).

sub frames {
    my (%opt) = @_;

    my $body = $opt{body} // '';
    my $window = $opt{window} // $WINDOW;
    my $block = join '', map { _field(lc $_->[0], $_->[1]) }
        [ ':method', $opt{method} ], [ ':path', $opt{path} ],
        [ ':scheme', 'http' ], [ ':authority', 'localhost' ],
        @{ $opt{headers} || [] };
    my @data = unpack '(a' . ($opt{piece} || 16384) . ')*', $body;

    return join '', frame('settings', 0, 0, pack 'nN', 4, $window),
        frame('window', 0, 0, pack 'N', $WINDOW - 65535),
        frame('headers', @data ? $END_HEADERS : $END_HEADERS | $END_STREAM, 1,
              $block),
        map { frame('data', $_ == $#data ? $END_STREAM : 0, 1, $data[$_]) }
            0 .. $#data;
}

sub frame {
    my ($type, $flags, $stream, $payload) = @_;
    return substr(pack('N', length $payload), 1)
           . pack('CCN', $FRAME{$type}, $flags, $stream) . $payload;
}

# A literal that is neither indexed nor coded by Huffman.
sub _field { return "\0" . join '', map { _integer(length) . $_ } @_ }

sub _integer {
    my ($n) = @_;

    return chr $n if $n < 127;
    my $bytes = chr 127;
    for ($n -= 127; $n >= 128; $n >>= 7) {
        $bytes .= chr($n & 127 | 128);
    }
    return $bytes . chr $n;
}

sub parse {
    my ($bytes) = @_;

    my %r = (status => 0, body => '', done => 0);
    my $at = 0;

    while ($at + 9 <= length $bytes) {
        my ($high, $low, $type, $flags, $stream) =
            unpack 'CnCCN', substr $bytes, $at, 9;
        my $length = $high << 16 | $low;
        last if $at + 9 + $length > length $bytes;
        my $payload = substr $bytes, $at + 9, $length;
        $at += 9 + $length;

        $r{status} = _status($payload)
            if $type == $FRAME{headers} && !$r{status};
        $r{body} .= $payload if $type == $FRAME{data};
        $r{done} = 1 if $type == $FRAME{rst} || $type == $FRAME{goaway}
            || $type <= $FRAME{headers} && $flags & $END_STREAM;
    }
    return \%r;
}

# nginx writes :status first, behind a change of the size of the table.
sub _status {
    my ($block) = @_;

    $block =~ s/^[\x20-\x3f]+//;
    return $1 if $block =~ /^\x48\x03(\d{3})/;
    return $STATUS{ ord $block } // 0;
}

1;
