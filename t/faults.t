#!/usr/bin/perl

# Whatever a provider sends, the client gets a defined answer: the provider's
# own, as far as it is one, or a JSON error; nothing crashes, and the next
# request works.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $OK = '{"choices":[{}],"me":"p"}';
my $LENGTH = 'Content-Length: ' . length($OK);
my $JSON = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
my $SSE = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
my $CHUNKED = "Transfer-Encoding: chunked\r\n\r\n";
my $OK_CHUNKED = sprintf "%x\r\n%s\r\n0\r\n\r\n", length $OK, $OK;

my $EVENT = 'data: {"choices":[{"delta":{"content":"a"}}]}' . "\n\n";
my $EVENT_CHUNK = sprintf "%x\r\n%s\r\n", length $EVENT, $EVENT;
my $LARGE = '{"choices":["' . 'x' x 100_000;
my $LARGE_CHUNK = sprintf "%x\r\n%s\r\n", length $LARGE, $LARGE;


# name => [ what it is, what comes of it, steps ].  What comes of it:
#
#   bad      no answer: 502 bad_answer, or the next provider
#   broken   no answer: 502, or the next provider
#   pass     200 and $OK
#   defined  one of these two
#   STATUS   that, as it is
#   event    one event, then an error event or a cut
#   cut      a cut

my %FAULTS = (

    # no HTTP
    garbage => [ 'bytes that are no HTTP', 'bad',
                 raw("\x00\xff\x01no HTTP\r\n\r\n"), fin ],
    word => [ 'a word and FIN', 'bad', raw('oops'), fin ],
    html => [ 'HTTP/0.9', 'bad', raw("<html>hello</html>\n"), fin ],
    smtp => [ 'another protocol', 'bad', raw("220 mail.test ESMTP\r\n") ],
    version_09 => [ 'version 0.9 in a status line', 'bad',
                    raw("HTTP/0.9 200 OK\r\n$LENGTH\r\n\r\n$OK"), fin ],
    version_2 => [ 'version 2.0 in a status line', 'defined',
                   raw("HTTP/2.0 200 OK\r\n$LENGTH\r\n\r\n$OK"), fin ],
    endless_line => [ 'a status line without an end', 'bad',
                      raw('HTTP/1.1 200 ' . 'x' x 200_000) ],

    # the header
    header_100k => [ 'a header of 100 KB', 'bad',
                     header('X-Big', 'a' x 100_000), body($OK) ],
    header_60k => [ 'a header of 60 KB', 'pass',
                    header('X-Big', 'a' x 60_000), body($OK) ],
    header_many => [ 'a thousand headers', 'pass',
                     map({ header("X-H$_", 'value') } 1 .. 1000),
                     body($OK) ],
    header_endless => [ 'headers without an end', 'bad',
                        raw("HTTP/1.1 200 OK\r\n"),
                        repeat_steps(0, raw("X-Again: and again\r\n")) ],
    header_bytes => [ 'a header in single bytes', 'pass',
                      split_every(1), json($OK) ],
    header_60k_parts => [ 'a header of 60 KB in parts', 'pass',
                          split_every(999), header('X-Big', 'a' x 60_000),
                          body($OK) ],
    header_cut => [ 'an end within the header', 'broken',
                    raw("HTTP/1.1 200 OK\r\nContent-Ty"), fin ],
    header_rst => [ 'RST within the header', 'broken',
                    raw("HTTP/1.1 200 OK\r\nContent-Ty"), delay(0.02), rst ],
    header_nul => [ 'NUL in a header', 'bad',
                    raw("${JSON}X-Nul: a\0b\r\n$LENGTH\r\n\r\n$OK") ],
    name_nul => [ 'NUL in the name of a header', 'bad',
                  raw("${JSON}X-N\0ul: a\r\n$LENGTH\r\n\r\n$OK") ],
    no_colon => [ 'a header without a colon', 'defined',
                  raw("${JSON}Whatever\r\n$LENGTH\r\n\r\n$OK") ],
    folded => [ 'a folded header', 'defined',
                raw("${JSON}X-A: a\r\n b\r\n$LENGTH\r\n\r\n$OK") ],
    bare_lf => [ 'header lines that end in LF', 'pass',
                 raw("HTTP/1.1 200 OK\nContent-Type: application/json\n"
                     . "$LENGTH\n\n$OK") ],
    no_type => [ 'no Content-Type', 'pass', body($OK) ],
    two_types => [ 'two Content-Types', 'pass',
                   header('Content-Type', 'text/plain'),
                   header('Content-Type', 'application/json'), body($OK) ],
    two_headers => [ 'a header twice', 'pass', header('X-Dup', 1),
                     header('X-Dup', 2), json($OK) ],

    # statuses
    status_999 => [ 'status 999', 'defined',
                    raw("HTTP/1.1 999 Odd\r\n$LENGTH\r\n\r\n$OK"), fin ],
    status_000 => [ 'status 000', 'bad',
                    raw("HTTP/1.1 000 Odd\r\n$LENGTH\r\n\r\n$OK"), fin ],
    status_short => [ 'a status of two digits', 'bad',
                      raw("HTTP/1.1 20 Odd\r\n$LENGTH\r\n\r\n$OK"), fin ],
    no_reason => [ 'a status without a reason', 'pass',
                   raw("HTTP/1.1 200\r\n$LENGTH\r\n\r\n$OK") ],
    status_204 => [ 'status 204, which has no body', 'bad', status(204) ],
    status_000 => [ 'status 000', 'bad',
                    raw("HTTP/1.1 000 Nothing\r\n$LENGTH\r\n\r\n$OK") ],
    status_099 => [ 'status 099', 'bad',
                    raw("HTTP/1.1 099 Nothing\r\n$LENGTH\r\n\r\n$OK") ],
    status_304 => [ 'status 304', 'bad', status(304) ],

    # 1xx
    interim_100 => [ '100 before the answer', 'pass', interim(100),
                     json($OK) ],
    interim_103 => [ '103 with headers', 'pass',
                     interim(103, [ 'Link', '</x>' ], [ 'X-Hint', 1 ],
                             [ 'Content-Length', 3 ]), json($OK) ],
    interim_slow => [ '100, and the answer later', 'pass', interim(100),
                      delay(0.05), json($OK) ],
    interim_3 => [ 'three interim answers', 'pass', interim(100),
                   interim(102), interim(103), json($OK) ],
    interim_100s => [ 'a hundred interim answers', 'bad',
                      map({ interim(100) } 1 .. 100), json($OK) ],
    interim_101 => [ 'status 101', 'bad', interim(101), json($OK) ],
    interim_cut => [ '100 and FIN', 'broken', raw("HTTP/1.1 100 C\r\n\r\n"),
                     fin ],
    interim_error => [ '100 before a 422', 422, interim(100), status(422),
                       json($OK) ],

    # lengths
    short => [ 'a Content-Length too large', 'broken',
               raw("${JSON}Content-Length: 99\r\n\r\n$OK"), fin ],
    long => [ 'a Content-Length too small', 'pass',
              raw("$JSON$LENGTH\r\n\r\n$OK and more") ],
    negative => [ 'a negative Content-Length', 'bad',
                  raw("${JSON}Content-Length: -5\r\n\r\n$OK"), fin ],
    huge => [ 'a Content-Length of 9e18', 'broken',
              raw("${JSON}Content-Length: 9000000000000000000\r\n\r\n$OK"),
              fin ],
    overflow => [ 'a Content-Length of 1e30', 'bad',
                  raw("${JSON}Content-Length: 1" . '0' x 30
                      . "\r\n\r\n$OK"), fin ],
    word_length => [ 'a Content-Length that is no number', 'bad',
                     raw("${JSON}Content-Length: many\r\n\r\n$OK"), fin ],
    both => [ 'Content-Length and chunked', 'bad',
              raw("${JSON}Content-Length: 3\r\n$CHUNKED$OK_CHUNKED") ],
    two_lengths => [ 'two Content-Lengths', 'bad',
                     raw("$JSON$LENGTH\r\nContent-Length: 999\r\n\r\n$OK"),
                     fin ],
    same_lengths => [ 'the same Content-Length twice', 'bad',
                      raw("$JSON$LENGTH\r\n$LENGTH\r\n\r\n$OK") ],
    list_length => [ 'a list of Content-Lengths', 'bad',
                     raw("$JSON$LENGTH, 23\r\n\r\n$OK") ],
    plus_length => [ 'a Content-Length with a sign', 'bad',
                     raw("${JSON}Content-Length: +5\r\n\r\n$OK"), fin ],
    hex_length => [ 'a hexadecimal Content-Length', 'bad',
                    raw("${JSON}Content-Length: 0x17\r\n\r\n$OK"), fin ],
    no_length => [ 'an empty Content-Length', 'bad',
                   raw("${JSON}Content-Length:\r\n\r\n$OK"), fin ],
    both_stream => [ 'a stream with Content-Length and chunked', 'bad',
                     raw("$SSE$LENGTH\r\n$CHUNKED$EVENT_CHUNK"), fin ],
    both_last => [ 'chunked, then a Content-Length', 'bad',
                   raw("${JSON}Transfer-Encoding: chunked\r\n$LENGTH\r\n"
                       . "\r\n$OK_CHUNKED") ],
    both_429 => [ 'a 429 with Content-Length and chunked', 'bad',
                  raw("HTTP/1.1 429 No\r\n$LENGTH\r\n$CHUNKED$OK_CHUNKED") ],
    word_length_400 => [ 'a 400 whose Content-Length is no number', 'bad',
                         raw("HTTP/1.1 400 No\r\nContent-Length: x\r\n\r\n"
                             . $OK), fin ],
    two_codings => [ 'two Transfer-Encodings', 'bad',
                     raw("${JSON}Transfer-Encoding: chunked\r\n$CHUNKED"
                         . $OK_CHUNKED) ],
    unknown_coding => [ 'a Transfer-Encoding of gzip and chunked', 'bad',
                        raw("${JSON}Transfer-Encoding: gzip, chunked\r\n\r\n"
                            . $OK_CHUNKED) ],
    coding_case => [ 'a Transfer-Encoding in capitals', 'pass',
                     raw("${JSON}Transfer-Encoding: CHUNKED\r\n\r\n"
                         . $OK_CHUNKED) ],
    old => [ 'HTTP/1.0, which ends by closing', 'pass',
             raw("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n"
                 . "\r\n$OK"), fin ],
    body_rst => [ 'RST within the body', 'broken',
                  raw("${JSON}Content-Length: 99\r\n\r\n$OK"), delay(0.02),
                  rst ],

    # nothing
    empty => [ 'a 200 with nothing', 'bad', raw("$JSON\r\n"), fin ],
    empty_length => [ 'a 200 of length 0', 'bad', json('') ],
    empty_chunked => [ 'a 200 of no chunk', 'bad',
                       raw("$JSON${CHUNKED}0\r\n\r\n") ],
    empty_stream => [ 'a stream with nothing', 'bad', raw("$SSE\r\n"),
                      fin ],
    empty_no_type => [ 'a 200 of no type with nothing', 'bad',
                       raw("HTTP/1.1 200 OK\r\n\r\n"), fin ],
    comment_stream => [ 'a stream with but a comment', 'bad',
                        raw("$SSE\r\n: hello\n\n"), fin ],

    # chunks
    chunk_size => [ 'a chunk size that is none', 'bad',
                    raw("$JSON${CHUNKED}zz\r\n$OK\r\n0\r\n\r\n") ],
    chunk_minus => [ 'a negative chunk size', 'bad',
                     raw("$JSON${CHUNKED}-5\r\n$OK\r\n0\r\n\r\n") ],
    chunk_huge => [ 'a chunk size of 2^70', 'bad',
                    raw("$JSON${CHUNKED}400000000000000000\r\n$OK\r\n") ],
    chunk_no_end => [ 'a chunk without CRLF at its end', 'bad',
                      raw("$JSON${CHUNKED}5\r\n{\"a\":1}\r\n0\r\n\r\n") ],
    chunk_cut => [ 'an end within a chunk', 'broken',
                   raw("$JSON${CHUNKED}ff\r\n$OK"), fin ],
    chunk_no_last => [ 'no last chunk', 'broken',
                       raw($JSON . $CHUNKED
                           . ($OK_CHUNKED =~ s/0\r\n\r\n\z//r)), fin ],
    chunk_bytes => [ 'chunks in single bytes', 'pass', split_every(1),
                     raw("$JSON$CHUNKED$OK_CHUNKED") ],
    trailers => [ 'trailers', 'pass', trailer('X-Sum', 42),
                  chunk(substr $OK, 0, 9), chunk(substr $OK, 9) ],
    extension => [ 'a chunk extension', 'pass',
                   raw("$JSON$CHUNKED" . ($OK_CHUNKED =~ s/\r/;a=b\r/r)) ],

    # after the answer has begun
    late_chunk => [ 'an invalid chunk in a stream', 'event',
                    raw("$SSE$CHUNKED$EVENT_CHUNK"), delay(0.05),
                    raw("zz\r\nnonsense") ],
    late_cut => [ 'FIN in a stream', 'event',
                  raw("$SSE$CHUNKED$EVENT_CHUNK"), delay(0.05), fin ],
    late_rst => [ 'RST in a stream', 'event',
                  raw("$SSE$CHUNKED$EVENT_CHUNK"), delay(0.05), rst ],
    large_chunk => [ 'an invalid chunk late in a large JSON', 'cut',
                     raw("$JSON$CHUNKED$LARGE_CHUNK"), delay(0.05),
                     raw("zz\r\n") ],
    large_cut => [ 'FIN late in a large JSON', 'cut',
                   raw("$JSON$CHUNKED$LARGE_CHUNK"), delay(0.05), fin ],
    large_short => [ 'a large JSON shorter than its Content-Length', 'cut',
                     raw("${JSON}Content-Length: 200000\r\n\r\n$LARGE"),
                     delay(0.05), fin ],

    # bytes after the answer
    more_length => [ 'bytes after the body', 'pass',
                     raw("$JSON$LENGTH\r\n\r\n${OK}HTTP/1.1 500 No\r\n") ],
    more_chunk => [ 'bytes after the last chunk', 'pass',
                    raw("$JSON$CHUNKED${OK_CHUNKED}HTTP/1.1 500 No\r\n") ],
    more_later => [ 'bytes after the body, later', 'pass',
                    raw("$JSON$LENGTH\r\n\r\n$OK"), delay(0.03),
                    raw("HTTP/1.1 500 No\r\n\r\n") ],
);

# these connections must not be used again, and these may be
my %DIRTY = map { $_ => 1 } qw(long more_length more_chunk more_later);
my %WHOLE = map { $_ => 1 } qw(status_204 empty_length empty_chunked status_304);


my $p = LLM::Fake->new(
    early => sub {
        my ($req) = @_;
        my %early = (
            quiet => sub { () },
            fin   => sub { fin },
            rst   => sub { rst },
            stop  => sub { (stop_reading, hang) },
        );
        my $way = $early{ $req->{mode} || '' } or return;
        return (status(413), header('X-Early', 1), json('{"error":{}}'),
                $way->());
    },
    answer => sub {
        my ($req) = @_;
        my $fault = $FAULTS{ $req->{json}{user} // '' };
        return $fault ? @$fault[ 2 .. $#$fault ] : json($OK);
    });
my $f = LLM::Fake->new(answer => sub { json('{"choices":[{}],"me":"f"}') });

my $gw = LLM::Nginx->new(
    forget => 1, vars => { P => $p, F => $f }, access_format => '$llm_attempts',
    http => <<'CONF');
client_max_body_size 64m;
llm_header_timeout 3s;
llm_first_token_timeout 3s;
llm_idle_timeout 3s;
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
llm_provider f { endpoint http://127.0.0.1:%%F%%/v1; }
llm_model solo { target p; }
llm_model two { target p; target f backup; }
server { listen 127.0.0.1:%%PORT%%; location / { llm_pass; } }
CONF

$gw->expect_error(qr/llm_provider "p" (?:sent|cut)/,
                  qr/prematurely closed connection/,
                  qr/Connection reset by peer/, qr/Broken pipe/,
                  qr/upstream sent/);

my ($worker) = $gw->worker_pids;
my $PATH = '/v1/chat/completions';

sub ask {
    my ($model, $user) = @_;
    return post_json($gw, $PATH, { model => $model, user => $user },
                     timeout => 8);
}


# What is wrong with an answer of that kind; undef: nothing.

sub wrong {
    my ($r, $kind) = @_;

    return 'no end of it: ' . $r->error if ($r->error // '') eq 'timeout';

    if ($kind eq 'event') {
        my @data = $r->sse_data;
        return 'status ' . $r->status unless $r->status == 200;
        return "events: @data" unless @data && $data[0] =~ /"content":"a"/;
        return '[DONE]' if grep { $_ eq '[DONE]' } @data;
        return undef if !$r->clean_end;
        my $last = eval { JSON::PP::decode_json($data[-1]) };
        return $last && $last->{error}{code} ? undef : 'a clean end';
    }
    if ($kind eq 'cut') {
        return 'status ' . $r->status unless $r->status == 200;
        return $r->clean_end ? 'a clean end' : undef;
    }

    return 'no clean end, ' . ($r->error // '') unless $r->clean_end;
    if ($kind =~ /^\d+$/) {
        return $r->status == $kind ? undef : 'status ' . $r->status;
    }

    my $passed = $r->status == 200 && $r->body eq $OK
                 || $r->status == 999;
    return undef if $passed && $kind =~ /pass|defined/;

    my $error = (eval { $r->json } || {})->{error} || {};
    my $refused = $r->status == 502
                  && ($error->{type} // '') eq 'upstream_error'
                  && ($r->header('Content-Type') // '') eq 'application/json'
                  && ($kind ne 'bad' || $error->{code} eq 'bad_answer');
    return undef if $refused && $kind ne 'pass';

    return $r->status . ' ' . substr $r->body, 0, 200;
}


for my $name (sort keys %FAULTS) {
    my ($what, $kind) = @{ $FAULTS{$name} };

    my $wrong = wrong(ask('solo', $name), $kind);
    ok(!defined $wrong, "$what: $kind") or diag($wrong);
    my $conn = ($p->requests)[-1]{conn};
    # or what comes late would be the answer to the next request
    my $late = $name eq 'more_later';
    ok($p->closed_at($conn), '  its connection is closed') if $late;

    my $r = ask('solo', 'fine');
    ok($r->status == 200 && $r->body eq $OK, '  the next request is served')
        or diag($r->status . ' ' . $r->body);
    isnt(($p->requests)[-1]{conn}, $conn, '  on another connection')
        if $DIRTY{$name} || $kind =~ /bad|broken|event|cut/ && !$WHOLE{$name};

    my $before = $f->count;
    $r = ask('two', $name);
    $p->closed_at(($p->requests)[-1]{conn}) if $late;
    if ($kind =~ /bad|broken/) {
        is($r->status, 200, '  with another provider: no error');
        is((eval { $r->json } || {})->{me}, 'f', '  but that one\'s answer');
    } elsif ($kind ne 'defined') {
        is($f->count, $before, '  no other provider is asked');
    }
}

{
    my $r = ask('solo', 'header_60k');
    is($r->header('X-Big'), 'a' x 60_000, 'a large header passes whole');
    is_deeply([ ask('solo', 'two_headers')->header('X-Dup') ], [ 1, 2 ],
              'a header that is there twice passes twice');
    $r = ask('solo', 'interim_103');
    is_deeply([ $r->interim ], [], 'interim answers do not pass');
    is($r->header('X-Hint'), undef, '  nor do their headers');
    is($r->header('Content-Length') // length $OK, length $OK,
       '  nor does their length');
    $r = ask('solo', 'negative');
    is($r->header('Content-Length'), length $r->body,
       'a negative Content-Length does not reach the client');
    is(ask('solo', 'no_type')->header('Content-Type'), undef,
       'no Content-Type is made up');
}


# An answer before the body was sent

for (
    [ quiet => 'and P reads on', 1 ],
    [ fin   => 'and P closes its side', 1 ],
    [ stop  => 'and P reads no more', 1 ],
    [ rst   => 'and P resets', 0 ],
) {
    my ($mode, $what, $sure) = @$_;

    for my $model (qw(solo two)) {
        $p->mode($mode);
        my $others = $f->count;
        my $r = post_json($gw, $PATH, { model => $model,
                                        pad => 'x' x 8_000_000 },
                          timeout => 8);
        my $name = "an early 413, $what ($model)";
        if ($sure) {
            is($r->status, 413, $name);
            is($r->body, '{"error":{}}', '  passes as it is');
            is($r->header('X-Early'), 1, '  with its headers');
            is($f->count, $others, '  and no other provider is asked');
        } else {
            like($r->status, qr/^(?:413|502|200)$/, $name);
        }
        is($r->clean_end, 1, '  whole');

        $p->mode('none');
        is(ask('solo', 'fine')->status, 200, '  the next request is served');
    }
}

is(($gw->worker_pids)[0], $worker, 'the worker is still the first one');
$gw->done;
done_testing;
