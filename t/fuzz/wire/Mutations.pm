package Mutations;

# Tables of mutations: [ name, sub ].  The subs of @BYTES, @JSON, @EVENTS and
# @FORM return a changed text; those of @HEADERS, @REQUEST, @RESPONSE and
# @CHUNKS change a message of Corpus in its place.  All of them draw from
# rand, so that srand replays them.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT = qw(@BYTES @JSON @EVENTS @FORM @HEADERS @REQUEST @RESPONSE
                 @CHUNKS @REDIS pick below chance);

sub pick   { return $_[ int rand @_ ] }
sub below  { return int rand $_[0] }
sub chance { return rand() < $_[0] }

# Puts $new at a place of the text, over $length bytes of it.
sub put {
    my ($text, $at, $length, $new) = @_;
    substr($text, $at, $length) = $new;
    return $text;
}

# The offset and length of a span of at most 200 bytes.
sub span {
    my ($text) = @_;
    my $at = below(1 + length $text);
    my $length = below(1 + (chance(0.5) ? 8 : 200));
    $length = length($text) - $at if $length > length($text) - $at;
    return ($at, $length);
}

# Replaces one of the places where the expression matches by what the sub
# returns for it.
sub at_match {
    my ($text, $re, $sub) = @_;

    my @places;
    while ($text =~ /$re/g) {
        push @places, [ $-[0], $+[0] - $-[0] ];
        pos($text) = $-[0] + 1 if $+[0] == $-[0];
    }
    return $text unless @places;

    my ($at, $length) = @{ pick(@places) };
    return put($text, $at, $length, $sub->(substr $text, $at, $length));
}

my @INVALID = ("\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
               "\xf5\x80\x80\x80", "\x80", "\xe2\x82", "\xf0\x9f\x98", "\xff",
               "\xfe", "\xef\xbb\xbf", "\xe2\x80\xa8");

our @BYTES = (
    [ 'bit flipped', sub {
        my ($t) = @_;
        return $t if $t eq '';
        my $at = below(length $t);
        return put($t, $at, 1, chr(ord(substr $t, $at, 1) ^ 1 << below(8)));
    } ],
    [ 'bits flipped', sub {
        my ($t) = @_;
        return $t if $t eq '';
        vec($t, below(8 * length $t), 1) ^= 1 for 1 .. 8;
        return $t;
    } ],
    [ 'byte replaced', sub {
        my ($t) = @_;
        return $t eq '' ? $t
            : put($t, below(length $t), 1,
                  pick("\0", "\xff", "\x7f", "\r", "\n", ' ', '"', '\\', ':',
                       '{', '0', ',', '-'));
    } ],
    [ 'truncated', sub { substr $_[0], 0, below(1 + length $_[0]) } ],
    [ 'cut near its end', sub {
        my ($t) = @_;
        my $less = 1 + below(8);
        return $less < length $t ? substr $t, 0, -$less : '';
    } ],
    [ 'span duplicated', sub {
        my ($at, $n) = span($_[0]);
        return put($_[0], $at, 0, substr $_[0], $at, $n);
    } ],
    [ 'span repeated', sub {
        my ($at, $n) = span($_[0]);
        return put($_[0], $at, 0, substr($_[0], $at, $n) x below(300));
    } ],
    [ 'span removed', sub { put($_[0], span($_[0]), '') } ],
    [ 'span moved', sub {
        my ($at, $n) = span($_[0]);
        my $span = substr $_[0], $at, $n;
        my $rest = put($_[0], $at, $n, '');
        return put($rest, below(1 + length $rest), 0, $span);
    } ],
    [ 'NULs inserted', sub {
        put($_[0], below(1 + length $_[0]), 0, "\0" x (1 + below(4)));
    } ],
    [ 'invalid UTF-8 inserted', sub {
        put($_[0], below(1 + length $_[0]), 0, pick(@INVALID));
    } ],
    [ 'random bytes inserted', sub {
        put($_[0], below(1 + length $_[0]), 0,
            join '', map { chr below(256) } 0 .. below(40));
    } ],
    [ 'line ends changed', sub {
        my ($old, $new) = @{ pick([ "\r\n", "\n" ], [ "\n", "\r\n" ],
                                  [ "\n", "\r" ], [ "\r\n", "\r" ]) };
        return at_match($_[0], qr/$old/, sub { $new });
    } ],
);


my @NUMBERS = (qw(0 -0 -1 1 1e308 1e309 -1e309 1e-400 1e999999999 0.1 00 01 1.
                 .5 +1 0x10 NaN Infinity 2147483647 2147483648 4294967296
                 9223372036854775807 9223372036854775808 -9223372036854775808
                 18446744073709551615 18446744073709551616 1e18 1e19),
              '9' x 400, '0.' . '0' x 400 . '1', '1E+2');

my @VALUES = (qw(null true false {} [] "" 0 "\u0000" "\ud800" "\udc00\ud800"
                 [[]] {"a":1} tru nul), '" "', "\"\t\"", "'x'",
              '"' . 'v' x 300 . '"', '"' . 'v' x 70_000 . '"');

my @MEMBERS = (qw("model":null "model":"gpt-4o" "model":"" "model":7
    "model":"a/../b" "stream":true "stream":false "stream":null "stream":"yes"
    "stream_options":null "stream_options":{} "stream_options":[]
    "stream_options":{"include_usage":false} "n":0 "n":1000000000 "n":null
    "max_tokens":9223372036854775807 "max_tokens":-5 "max_tokens":1e3
    "max_completion_tokens":18446744073709551616 "max_output_tokens":1
    "previous_response_id":"r" "conversation":{} "store":true "tools":[]
    "temperature":0.0 "seed":1e2 "usage":null "choices":[]
    "error":null "error":{"code":429} "finish_reason":"length"
    "mod\u0065l":"gpt-4o" "":0),
    '"usage":{"prompt_tokens":9223372036854775807,"completion_tokens":1e18}');

my $STRING = qr/"(?:[^"\\]++|\\.)*+"/;
my $NUMBER = qr/-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/;
my $SCALAR = qr/$STRING|$NUMBER|true|false|null/;

our @JSON = (
    [ 'number replaced', sub {
        at_match($_[0], qr/(?<=:)$NUMBER/, sub { pick(@NUMBERS) });
    } ],
    [ 'value replaced', sub {
        at_match($_[0], qr/(?<=:)$SCALAR/, sub { pick(@VALUES, @NUMBERS) });
    } ],
    [ 'member duplicated', sub {
        at_match($_[0], qr/$STRING:$SCALAR/, sub { "$_[0],$_[0]" });
    } ],
    [ 'member removed', sub {
        at_match($_[0], qr/$STRING:$SCALAR,?/, sub { '' });
    } ],
    [ 'member added', sub {
        at_match($_[0], qr/\{/, sub { '{' . pick(@MEMBERS) . ',' });
    } ],
    [ 'member added at the end', sub {
        at_match($_[0], qr/\}/, sub { ',' . pick(@MEMBERS) . '}' });
    } ],
    [ 'value nested', sub {
        my ($open, $close) = @{ pick([ '[', ']' ], [ '{"a":', '}' ]) };
        my $deep = pick(1, 2, 63, 65, 250, 256, 5000);
        return at_match($_[0], $SCALAR,
                        sub { $open x $deep . $_[0] . $close x $deep });
    } ],
    [ 'structure broken', sub {
        at_match($_[0], qr/[{}\[\]:,"]/,
                 sub { pick('', '{', '}', '[', ']', ':', ',', '"', $_[0] x 2) });
    } ],
    [ 'character escaped', sub {
        at_match($_[0], qr/(?<=[\w ])[a-z]/, sub { sprintf '\u%04x', ord $_[0] });
    } ],
    [ 'escape inserted', sub {
        at_match($_[0], qr/(?<=[a-z])(?=[a-z])/,
                 sub { pick('\n', '\u0000', '\ud83d\ude00', '\ud800', '\u12',
                            '\x', '\\', '\"', '\/', "\n", "\x1f") });
    } ],
    [ 'white space inserted', sub {
        at_match($_[0], qr/[{}\[\]:,]/,
                 sub { $_[0] . pick(' ', "\t", "\r\n", ' ' x 5000, "\x0b") });
    } ],
    [ 'text behind it', sub {
        $_[0] . pick(' ', "\n", '{}', 'x', "\0", ' ' x 70_000);
    } ],
);


our @EVENTS = (
    map({
        my ($name, $change) = @$_;
        [ $name, sub { at_match($_[0], qr/(?:[^\n]+\n)+\n/, $change) } ];
    }
        [ 'event removed', sub { '' } ],
        [ 'event duplicated', sub { $_[0] x 2 } ],
        [ 'event repeated', sub { $_[0] x below(200) } ],
        [ 'comment inserted', sub { pick(": ping\n\n", ":\n", ':' x 9000
                                         . "\n\n") . $_[0] } ],
        [ 'blank lines inserted', sub { $_[0] . "\n" x below(9) } ],
        [ 'lines end in CRLF', sub { $_[0] =~ s/\n/\r\n/gr } ],
        [ 'lines end in CR', sub { $_[0] =~ s/\n/\r/gr } ],
        [ 'no blank line', sub { $_[0] =~ s/\n\n\z/\n/r } ],
        [ 'data in several lines', sub { $_[0] =~ s/,/,\ndata: /r } ],
        [ 'data without a space', sub { $_[0] =~ s/^data: /data:/mr } ],
        [ 'other field', sub { pick('event: error', 'id: 1', 'retry: 1e9',
                                    'event', 'data', 'data:', 'DATA: {}',
                                    "event: \xff", 'x' x 9000)
                               . "\n$_[0]" } ],
        [ 'end too early', sub { pick("data: [DONE]\n\n", "data:[DONE] \n\n",
                                      "event: done\ndata: [DONE]\n\n")
                                 . $_[0] } ],
        [ 'huge event', sub { $_[0] =~ s/token/'token' x 30_000/er } ],
        [ 'error event', sub { $_[0] . 'data: {"error":{"code":'
                               . pick(429, '"x"', 'null', '{}') . "}}\n\n" } ],
    ),
    [ 'byte order mark', sub { "\xef\xbb\xbf$_[0]" } ],
);


our @FORM = (
    [ 'last boundary removed', sub { $_[0] =~ s/--\r\n\z//r } ],
    [ 'part duplicated', sub {
        at_match($_[0], qr/--fuzz-boundary\r\n.*?(?=\r\n--fuzz)/s,
                 sub { "$_[0]\r\n$_[0]" });
    } ],
    [ 'many parts', sub {
        at_match($_[0], qr/--fuzz-boundary\r\n.*?(?=\r\n--fuzz)/s,
                 sub { join "\r\n", ($_[0]) x pick(60, 1030) });
    } ],
    [ 'bare LF', sub { at_match($_[0], qr/\r\n/, sub { "\n" }) } ],
    [ 'name changed', sub {
        at_match($_[0], qr/name="\w+"/,
                 sub { pick('name=model', 'name="model"', 'name=""',
                            'name="mo\"del"', 'name*=utf-8\'\'model',
                            'name="model"; name="x"', 'name="stream"',
                            'filename="model"', 'name="model[]"') });
    } ],
    [ 'header of a part added', sub {
        at_match($_[0], qr/(?<=\r\n)Content-Disposition/,
                 sub { pick("Content-Type: text/plain\r\n",
                            "Content-Transfer-Encoding: base64\r\n",
                            'X: ' . 'x' x 9000 . "\r\n", "broken\r\n",
                            " folded\r\n") . $_[0] });
    } ],
    [ 'value changed', sub {
        at_match($_[0], qr/(?<=\r\n\r\n)[\w-]+(?=\r\n)/,
                 sub { pick('', 'true', 'TRUE', '1', 'm' x 300, "a\0b",
                            "a\r\n--fuzz-boundary", 'gpt"4', "\xc0\xaf") });
    } ],
    [ 'bytes before it', sub { pick("\r\n", 'preamble', "--\r\n") . $_[0] } ],
    [ 'bytes behind it', sub { $_[0] . pick("\r\n", 'x', "--fuzz-boundary--") } ],
);


sub add_header {
    my ($m, @headers) = @_;
    splice @{ $m->{headers} }, below(1 + @{ $m->{headers} }), 0, @headers;
}

sub some_header { return pick(@{ $_[0]{headers} }) }

my @LENGTHS = (0, 1, 5, -1, '+5', '5, 5', '5 5', '0x10', '', ' ', '1e3', '007',
               '4294967296', '9223372036854775807', '9223372036854775808',
               '18446744073709551617', '9' x 50);
my @CODINGS = ('chunked', 'Chunked', 'chunked, chunked', 'gzip, chunked',
               'chunked, gzip', 'identity', 'xchunked', ' chunked', "\tchunked",
               'chunked;q=1', '"chunked"', '', ',chunked');

our @HEADERS = (
    [ 'another length', sub {
        add_header($_[0], [ pick('Content-Length', 'content-length'),
                            pick(@LENGTHS) ]);
    } ],
    [ 'its length replaced', sub {
        my ($m) = @_;
        $m->{framing} = 'none' if $m->{framing} eq 'length';
        add_header($m, [ 'Content-Length', pick(@LENGTHS) ]);
    } ],
    [ 'length off by a few', sub {
        my ($m) = @_;
        $m->{framing} = 'none' if $m->{framing} eq 'length';
        add_header($m, [ 'Content-Length', length($m->{body}) - 3 + below(7) ]);
    } ],
    [ 'another coding', sub {
        add_header($_[0], [ 'Transfer-Encoding', pick(@CODINGS) ]);
    } ],
    [ 'length and chunks', sub {
        my ($m) = @_;
        $m->{framing} = 'chunked';
        add_header($m, [ 'Content-Length', pick(length $m->{body},
                                                @LENGTHS) ]);
    } ],
    [ 'no framing', sub { $_[0]{framing} = 'close' } ],
    [ 'header removed', sub {
        my ($m) = @_;
        splice @{ $m->{headers} }, below(scalar @{ $m->{headers} }), 1
            if @{ $m->{headers} };
    } ],
    [ 'header duplicated', sub {
        my ($m) = @_;
        add_header($m, [ @{ some_header($m) } ]) if @{ $m->{headers} };
    } ],
    [ 'header spelt otherwise', sub {
        my ($m) = @_;
        my $h = some_header($m) or return;
        $h->[0] = pick(uc $h->[0], lc $h->[0], "$h->[0] ", " $h->[0]",
                       $h->[0] =~ tr/-/_/r, "$h->[0]\0", '');
    } ],
    [ 'header without its colon', sub {
        my $h = some_header($_[0]) or return;
        $h->[2] = pick('', ' ', ':', ' : ', ":\t", ":\0", ': ' x 100);
    } ],
    [ 'value changed', sub {
        my $h = some_header($_[0]) or return;
        $h->[1] = pick('', 'x' x 5000, "a\0b", "a\xffb", "a\r\n b", "a\rb",
                       "$h->[1], $h->[1]", "\"$h->[1]", '0', "$h->[1];",
                       uc $h->[1]);
    } ],
    [ 'many headers', sub {
        add_header($_[0], map { [ "X-Many-$_", 'v' x 30 ] } 1 .. pick(20, 300));
    } ],
    [ 'long header', sub { add_header($_[0], [ 'X-Long', 'v' x 40_000 ]) } ],
    [ 'connection', sub {
        add_header($_[0], [ 'Connection', pick('close', 'keep-alive',
            'Upgrade', 'close, keep-alive', 'Content-Length',
            'Transfer-Encoding', 'X-Gateway', '') ]);
    } ],
    [ 'type', sub {
        my ($m) = @_;
        @{ $m->{headers} } = grep { lc $_->[0] ne 'content-type' }
                             @{ $m->{headers} };
        add_header($m, [ 'Content-Type', pick('application/json',
            'application/json; charset=utf-16', 'text/event-stream',
            'TEXT/EVENT-STREAM;x', 'text/plain', 'application/x-ndjson',
            'multipart/form-data', 'multipart/form-data; boundary=""',
            'multipart/form-data; boundary="fuzz-boundary"; boundary=x',
            'multipart/form-data; boundary=' . 'b' x 71, '', 'x', ';') ]);
    } ],
    [ 'encoding', sub {
        add_header($_[0], [ 'Content-Encoding', pick('gzip', 'br', 'identity',
                                                     'gzip, gzip', '') ]);
    } ],
);

our @REQUEST = (
    @HEADERS,
    [ 'method', sub {
        my $method = pick(qw(GET HEAD PUT DELETE OPTIONS TRACE CONNECT PATCH
                             post P), '');
        $_[0]{line} =~ s/^\w+/$method/;
    } ],
    [ 'path', sub {
        my $new = pick('/', '//', '/./', '/../', '%2f', '%00', '%', '?x=%0d%0a',
                       '#', '\\', "\xff", 'x' x 5000, ';', ' ');
        $_[0]{line} = put($_[0]{line}, 5 + below(12), 0, $new);
    } ],
    [ 'version', sub {
        my $new = pick('1.0', '0.9', '1.2', '2.0', '11.1', '1', '');
        $_[0]{line} =~ s/1\.1$/$new/;
    } ],
    [ 'credential', sub {
        add_header($_[0], [ pick('Authorization', 'x-api-key', 'api-key'),
                            pick('Bearer ', 'Bearer x', 'sk-fuzz-wire',
                                 'Basic x', 'Bearer sk-fuzz-wire',
                                 'bearer  sk-fuzz-wire', 'B' x 9000) ]);
    } ],
    [ 'cache control', sub {
        add_header($_[0], [ 'Cache-Control', pick('no-cache', 'no-store',
            'only-if-cached', 'max-age=0', 'max-age=99999999999999999999',
            'max-age=-1', 'max-age="1"', ', , no-cache,', 'no-cache' x 99) ]);
    } ],
    [ 'expectation', sub {
        add_header($_[0], [ 'Expect', pick('100-continue', 'x') ]);
    } ],
    [ 'headers that travel', sub {
        add_header($_[0], [ pick('traceparent', 'idempotency-key', 'openai-beta',
                                 'x-stainless-lang', 'Accept', 'Accept-Encoding',
                                 'If-None-Match', 'Range', 'Upgrade'),
                            pick('gzip', '*', 'bytes=0-1', "a\xffb", 'h2c',
                                 'v' x 3000, '') ]);
    } ],
    [ 'chunked', sub {
        my ($m) = @_;
        $m->{framing} = 'chunked';
        $m->{chunks} = pick(1, 7, 1000, 70_000);
    } ],
    [ 'followed by another request', sub {
        $_[0]{tail} = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
            . "Content-Length: 2\r\n\r\n{}";
    } ],
);

our @RESPONSE = (
    @HEADERS,
    [ 'status line', sub {
        my ($m) = @_;
        $m->{line} = pick('HTTP/1.0 200 OK', 'HTTP/1.1 200', 'HTTP/1.1 200 ',
                          'HTTP/2 200 OK', 'HTTP/1.1 20 OK', 'HTTP/1.1 999 x',
                          'HTTP/1.1 000 x', 'HTTP/1.1  200 OK', 'ICY 200 OK',
                          'HTTP/1.1 1000 x', 'HTTP/9.9 200 OK', '', "\0",
                          'HTTP/1.1 200 ' . 'O' x 9000, "http/1.1 200 ok");
    } ],
    [ 'status', sub {
        my $status = pick(100, 101, 103, 199, 200, 201, 204, 205, 206, 301, 304,
                          307, 400, 401, 402, 403, 404, 408, 409, 413, 422,
                          424, 429, 498, 499, 500, 502, 504, 529, 599);
        $_[0]{line} =~ s/ \d+ / $status /;
    } ],
    [ 'interim response', sub {
        $_[0]{line} = pick("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
                           "HTTP/1.1 100 Continue\r\n\r\n",
                           "HTTP/1.1 102 x\r\n\r\n" x 50) . $_[0]{line};
    } ],
    [ 'waits', sub {
        add_header($_[0], [ pick('Retry-After', 'retry-after-ms'),
                            pick(@NUMBERS, 'Fri, 31 Dec 1999 23:59:59 GMT',
                                 'x', '') ]);
    } ],
    [ 'headers for nginx', sub {
        add_header($_[0], [ pick('X-Accel-Redirect', 'X-Accel-Buffering',
                                 'X-Accel-Expires', 'X-Accel-Charset',
                                 'Set-Cookie', 'Location', 'Refresh', 'Server',
                                 'Cache-Control', 'Vary', 'ETag', 'Trailer',
                                 'x-request-id', 'Upgrade', 'Date',
                                 'x-ratelimit-limit-tokens'),
                            pick('/v1/models', 'no', '0', '*', "a\xff", 'x',
                                 'no-store', '') ]);
    } ],
    [ 'chunk sizes', sub {
        my ($m) = @_;
        $m->{framing} = 'chunked';
        $m->{chunks} = pick(1, 3, 17, 4095, 70_000);
    } ],
    [ 'followed by another response', sub {
        $_[0]{tail} = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    } ],
);

# of messages in chunks
our @CHUNKS = map {
    my ($name, $change) = @$_;
    [ $name, sub { $_[0]{spoil_chunks} = $change } ];
} (
    map({
        my ($name, @sizes) = @$_;
        [ $name, sub {
            at_match($_[0], qr/(?<=\n)[0-9a-f]+(?=\r\n)|^[0-9a-f]+(?=\r\n)/,
                     sub { no warnings qw(redundant portable overflow);
                           sprintf pick(@sizes), hex $_[0] });
        } ];
    }
        [ 'chunk size', qw(%X 0000000000000000000%x ffffffffffffffff
                           7fffffffffffffff 8000000000000000 -%x 0x%x +%x g),
                        '10000000000000000', '', ' %x', '%x ', "%x\t" ],
        [ 'chunk extension', '%x;a=b', '%x; a="\r\n"', '%x;' . 'e' x 9000,
                             '%x ;x', '%x;' ],
        [ 'chunk longer', '1%x' ],
    ),
    [ 'no last chunk', sub { $_[0] =~ s/0\r\n\r\n\z//r } ],
    [ 'last chunk too early', sub {
        at_match($_[0], qr/(?<=\r\n)(?=[0-9a-f]+\r\n)/, sub { "0\r\n\r\n" });
    } ],
    [ 'last chunk cut', sub { substr $_[0], 0, -1 - below(4) } ],
    [ 'trailers', sub {
        my $trailers = pick("X: y\r\n", "X: y\r\n" x 999, "broken\r\n",
                            'X: ' . 'y' x 70_000 . "\r\n",
                            "Content-Length: 0\r\n", " \r\n");
        return $_[0] =~ s/0\r\n\r\n\z/0\r\n$trailers\r\n/r;
    } ],
    [ 'lines end in LF', sub { at_match($_[0], qr/\r\n/, sub { "\n" }) } ],
    [ 'no line end', sub { at_match($_[0], qr/\r\n/, sub { '' }) } ],
    [ 'bytes behind it', sub { $_[0] . pick("\r\n", "\0", 'x' x 9000,
                                            "0\r\n\r\n") } ],
);


# Replies of Redis
our @REDIS = (
    @BYTES,
    [ 'error', sub {
        pick('-ERR x', '-OOM command not allowed', '-READONLY x', '-LOADING x',
             '-NOSCRIPT x', '-BUSY x', '-NOAUTH x', '-WRONGTYPE x', '-', '-\0',
             '-MOVED 1 127.0.0.1:1', '-' . 'E' x 9000) . "\r\n";
    } ],
    [ 'other type', sub {
        pick("+OK\r\n", ":0\r\n", ":9223372036854775808\r\n", ":\r\n",
             "\$-1\r\n", "\$0\r\n\r\n", "*0\r\n", "*-1\r\n", "*1\r\n:1\r\n",
             "*2\r\n*2\r\n:1\r\n:1\r\n+a\r\n", "_\r\n", "#t\r\n", ",1.5\r\n",
             "%1\r\n+a\r\n:1\r\n", ">1\r\n+a\r\n", "(9\r\n", "=5\r\ntxt:a\r\n",
             "*1\r\n" x 50 . ":1\r\n", "\$5\r\n\0\0\0\0\0\r\n");
    } ],
    [ 'length', sub {
        my $length = pick(-2, -1, 0, 1, 999_999_999, '9' x 30, '', 'x');
        return at_match($_[0], qr/(?<=[*\$])-?\d+(?=\r\n)/, sub { $length });
    } ],
    [ 'number', sub {
        my $number = pick(@NUMBERS);
        return at_match($_[0], qr/-?\d+(?:\.\d+)?(?=\r\n)/, sub { $number });
    } ],
    [ 'twice', sub { $_[0] x 2 } ],
);

1;
