#!/usr/bin/perl

# Bodies of any size, sent and kept in any way (REQ-36): the provider gets the
# same bytes with a Content-Length, a second provider too; what is refused is
# refused in JSON, costs no request, and leaves the connection usable.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use Digest::SHA qw(sha1_hex);
use LLM::H2;

my $seen = sub {
    my ($req) = @_;
    return json({ fine(), sha => sha1_hex($req->{body}), by => $req->{path},
                  length => length $req->{body}, headers => $req->{headers} });
};

my $p = LLM::Fake->new(answer => $seen);

# these fail at each stage of a request
my $dead = LLM::Fake->refused;
my $busy = LLM::Fake->new(answer => sub { (status(503), json({})) });
my $early = LLM::Fake->new(
    early => sub { (status(503), json({ error => {} }), close_after) });
my $rude = LLM::Fake->new(answer => sub { rst });

my $gw = LLM::Nginx->new(
    vars => { P => $p, DEAD => $dead, BUSY => $busy, EARLY => $early,
              RUDE => $rude },
    access_format => '$status $llm_attempts $http_x_tag', http => <<'CONF');
    llm_provider p { endpoint http://127.0.0.1:%%P%%/p; }
    llm_provider dead { endpoint http://127.0.0.1:%%DEAD%%; }
    llm_provider busy { endpoint http://127.0.0.1:%%BUSY%%; }
    llm_provider early { endpoint http://127.0.0.1:%%EARLY%%; }
    llm_provider rude { endpoint http://127.0.0.1:%%RUDE%%; }

    llm_model m { target p another-name; }
    llm_model after-dead { target dead one; target p three; }
    llm_model after-busy { target busy one; target p three; }
    llm_model after-early { target early one; target p three; }
    llm_model after-rude { target rude one; target p three; }

    client_max_body_size 40m;

    server {
        listen 127.0.0.1:%%PORT%%;
        listen 127.0.0.1:%%PORT_1%% http2;
        location /v1/ { llm_pass; }
        location /memory/ { client_body_buffer_size 40m; llm_pass; }
        location /file/ { client_body_in_file_only on; llm_pass; }
        location /clean/ { client_body_in_file_only clean; llm_pass; }
        location /single/ { client_body_in_single_buffer on; llm_pass; }
        location /small/ { client_max_body_size 1k; llm_pass; }
        location /none/ { client_max_body_size 0; llm_pass; }
        location /stream/ { proxy_request_buffering off; llm_pass; }
    }
CONF

my $text = join '', map { sprintf '%07x,', $_ } 0 .. 131_072;

my @places = qw(v1 memory file clean single none stream);

my $h2 = LLM::H2->missing;
diag("HTTP/2 is not tested: $h2") if $h2;

my %ways = (
    'with a length' => sub { http(@_, body => $_[1]) },
    'in chunks' => sub {
        my $size = length $_[1] > 100_000 ? 65_521 : 509;
        http(@_, chunked => [ unpack "(a$size)*", $_[1] ]);
    },
    'after 100 Continue' => sub { http(@_, body => $_[1], expect100 => 1) },
    'in chunks after 100 Continue' => sub {
        http(@_, chunked => [ unpack '(a30000)*', $_[1] ], expect100 => 1);
    },
    'head and body apart' => sub {
        http(@_, body => $_[1], pace => { bytes => 150, every => 0.0001 })
    },
    'in single bytes' => sub {
        http(@_, body => $_[1], pace => { bytes => 1 });
    },
    'in chunks in single bytes' => sub {
        http(@_, chunked => [ unpack '(a100)*', $_[1] ],
             pace => { bytes => 1 });
    },
    'by HTTP/2' => sub { http2(@_) },
    'by HTTP/2 without length' => sub {
        http2(@_, headers => [ [ 'Transfer-Encoding', 'chunked' ] ]);
    },
);
delete @ways{ grep { /HTTP/ } keys %ways } if $h2;

my @quick = ('with a length', 'in chunks', 'after 100 Continue',
             'in chunks after 100 Continue');
my @other = $h2 ? () : ('by HTTP/2', 'by HTTP/2 without length');


# the sizes

for my $size (20, 1000, 16_383, 16_384, 16_385, 1_048_576) {
    for my $place (@places) {
        passes($place, $_, $size) for @quick;
    }
    passes($_, 'by HTTP/2', $size)
        for $h2 ? () : $size == 16_385 ? @places : qw(v1 file);
}

passes('v1', 'by HTTP/2 without length', $_)
    for $h2 ? () : (20, 16_383, 16_385, 1_048_576);

for my $size (300, 16_383, 16_384, 16_385) {
    passes('v1', 'in single bytes', $size);
}
passes('v1', 'in chunks in single bytes', 5000);
passes('memory', 'head and body apart', 20_000);
passes('file', 'head and body apart', 20_000);

my $large = 32 * 1_048_576;
passes('v1', $_, $large)
    for 'with a length', 'in chunks', 'after 100 Continue',
        $h2 ? () : 'by HTTP/2';
passes('memory', 'with a length', $large);
passes('file', 'in chunks', $large);


# a second provider gets the same

for my $failed (qw(dead busy early rude)) {
    my $before = $p->count;
    for ([ v1 => 'with a length', 100 ], [ v1 => 'in chunks', 16_385 ],
         [ memory => 'with a length', 1_048_576 ],
         [ file => 'in chunks', 1_048_576 ],
         [ v1 => 'after 100 Continue', 16_384 ],
         ($h2 ? () : [ v1 => 'by HTTP/2', 1_048_576 ]),
         ($failed ne 'early' ? () : [ v1 => 'with a length', $large ]))
    {
        passes(@$_, "after-$failed", 'three');
    }
    my $line = $gw->wait_log(qr/$failed/);
    like($line, qr/^200 $failed:\w+:\d+ms,p:200:\d+ms/,
         "REQ-36 both attempts, $failed first, are in the log");
    is($p->count - $before, 5 + !$h2 + ($failed eq 'early'),
       '  and the second provider was asked once for each');
}


# one byte, or none

for my $place (@places) {
    for my $body ('x', '{', '0') {
        for my $how (@quick, $place =~ /v1|file/ ? @other : ()) {
            refused($ways{$how}->($place, $body), 400, 'invalid_json',
                    "REQ-36 $place: the body $body $how");
        }
    }

    refused(http($place, '', body => ''), 400, 'invalid_json',
            "REQ-36 $place: a body of length 0");
    refused(http($place, '', chunked => []), 400, 'invalid_json',
            "REQ-36 $place: a last chunk and no other");
    refused(http($place, '', method => 'POST'), 400, 'invalid_json',
            "REQ-36 $place: no body");
    refused(http2($place, ''), 400, 'invalid_json',
            "REQ-36 $place: an empty stream by HTTP/2") unless $h2;
}


# too large

my $before = $p->count;
$gw->expect_error(qr/client intended to send too large/,
                  qr/client sent invalid chunked body/);

for ([ 'by its length', body => object(1025) ],
     [ 'by its length, a large one', body => object(200_000) ],
     [ 'found while it is read',
       chunked => [ unpack '(a100)*', object(1025) ] ],
     [ 'found while it is read, a large one',
       chunked => [ unpack '(a100)*', object(200_000) ] ],
     [ 'in one chunk', chunked => [ object(5000) ] ],
     [ 'before 100 Continue', body => object(5000), expect100 => 1 ])
{
    my ($what, @opt) = @$_;
    refused(http('small', '', @opt), 413, 'request_too_large',
            "REQ-36 too large a body, $what");
}

# curl may take the RST_STREAM with NO_ERROR that follows for a failure
for my $headers ($h2 ? () : ([], [ [ 'Transfer-Encoding', 'chunked' ] ])) {
    my $r;
    for (1 .. 50) {
        $r = http2('small', object(1025), headers => $headers);
        last if $r->status;
    }
    refused($r, 413, 'request_too_large', 'REQ-36 too large a body, by HTTP/2'
            . (@$headers ? ' without length' : ''));
}

refused(http('small', '', body => object(1025), path => '/small/nonsense'), 413,
        'request_too_large', 'the length comes before the operation');
refused(http('small', '', chunked => [ object(1025) ],
             path => '/small/nonsense'), 404,
        'unknown_operation', 'the operation before what is found in reading');
is($p->count, $before, 'REQ-36 no provider was asked');
passes('small', 'with a length', 1024);
passes('small', 'in chunks', 1024);


# coded

$before = $p->count;
for my $coding ('gzip', 'GZIP', 'br', 'deflate', 'zstd', 'x-gzip',
                'gzip, identity', 'identity, gzip', 'unheard-of')
{
    refused(http('v1', '', body => object(100),
                 headers => [ [ 'Content-Encoding', $coding ] ]),
            415, 'unsupported_content_encoding', "the coding $coding");
}
refused(http('v1', '', body => object(100),
             headers => [ [ 'Content-Encoding', 'identity' ],
                          [ 'content-encoding', 'gzip' ] ]),
        415, 'unsupported_content_encoding', 'the second of two codings');
refused(http('small', '', chunked => [ object(2000) ],
             headers => [ [ 'Content-Encoding', 'gzip' ] ]),
        415, 'unsupported_content_encoding', 'a coded one that is too large');
is($p->count, $before, 'no provider was asked');

for my $coding (qw(identity Identity)) {
    is(http('v1', '', body => object(100),
            headers => [ [ 'Content-Encoding', $coding ] ])->status, 200,
       "$coding is no coding");
}


# a body that nginx itself refuses

for ([ 'a chunk size of nonsense', "zz\r\nabc\r\n0\r\n\r\n" ],
     [ 'a chunk longer than its size', "2\r\nabcdefgh\r\n0\r\n\r\n" ])
{
    my ($what, $bytes) = @$_;
    my $r = request($gw, raw => "POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n$bytes");
    refused($r, 400, undef, $what);
    is($r->header('Connection'), 'close', '  ends the connection');
}
is($p->count, $before + 2, '  and no provider sees it');


# the connection lives on

my $good = post('/v1/completions', object(1000));
my $file = post('/file/completions', object(50_000));

for ([ 'a good one', $good, 200 ],
     [ 'one from a file', $file, 200 ],
     [ 'one that is not JSON', post('/v1/completions', '{"model":'), 400 ],
     [ 'a large one that is not JSON',
       post('/v1/completions', 'x' x 100_000), 400 ],
     [ 'one without model', post('/v1/completions', '{}'), 400 ],
     [ 'an empty one', post('/v1/completions', ''), 400 ],
     [ 'an unknown model', post('/v1/completions', '{"model":"no"}'), 404 ],
     [ 'an unknown operation', post('/v1/nonsense', object(1000)), 404 ],
     [ 'a wrong method', post('/v1/models', object(1000)), 405 ],
     [ 'a coded one', post('/v1/completions', object(1000),
                           'Content-Encoding: gzip'), 415 ])
{
    my ($what, $bytes, $status) = @$_;

    for my $second ($good, $file) {
        my $c = LLM::Client->connect($gw);
        my $r = $c->send_request(raw => $bytes . $second);
        $c->read_response;
        is($r->status, $status, "$what with another behind it");
        is($r->clean_end, 1, '  is answered');

        if ($status == 400) {
            ok($c->wait_close, '  nginx closes the connection after a 400');
            $c->close;
            next;
        }

        $r = $c->send_request(raw => "\r\n");
        is($c->read_response->status, 200, '  and so is the other');
        is($r->clean_end && $r->json->{sha},
           sha1_hex(renamed(object($second eq $good ? 1000 : 50_000))),
           '  whose body is its own');
        $c->close;
    }

    next if $status == 400;

    my $c = LLM::Client->connect($gw);
    for (1 .. 3) {
        $c->send_request(raw => $bytes);
        $c->read_response;
        $c->send_request(raw => $good);
        is($c->read_response->status, 200, "$what, and then a good one");
    }
    ok($c->idle, '  on one connection');
    $c->close;
}

{
    my $r = http('v1', '', body => '{');
    is($r->header('Connection'), 'close',
       'a client that wants the connection closed has it closed by a 400');
}


# the client leaves

$before = $p->count;
for ([ 'within a body of known length', body => object(200_000) ],
     [ 'within a small one', body => object(1000) ],
     [ 'within a chunk', chunked => [ object(200_000) ] ],
     [ 'between two chunks', chunked => [ (object(509)) x 300 ] ])
{
    my ($what, @opt) = @$_;
    for my $place (qw(v1 memory file)) {
        for my $how (qw(close reset shutdown_write)) {
            my $c = LLM::Client->connect($gw);
            my ($head, $body) = $c->_compose('POST', @opt,
                path => "/$place/completions",
                headers => [ [ 'X-Tag', "$place-$how" ] ]);
            my $mark = $gw->mark;
            $c->send_bytes($head . substr $body, 0, length($body) / 2);
            $c->flush;
            $c->$how;
            like($gw->wait_log(qr/$place-$how/, since => $mark),
                 qr/^(?:400|499) - /, "$place: the client leaves $what, $how");
            $c->close if $how eq 'shutdown_write';
        }
    }
}
is($p->count, $before, '  and no provider was asked');
is(http('v1', '', body => object(100))->status, 200,
   '  and the next one is served');


# the cost

{
    my ($worker) = $gw->worker_pids;
    my $run = sub { $ways{'with a length'}->('v1', object(1_048_576)) };
    $run->() for 1 .. 3;
    my ($rss, $files) = (rss_kb($worker), fd_count($worker));
    $run->() for 1 .. 20;
    between(rss_kb($worker) - $rss, -1e9, 1024,
            'twenty bodies of a mebibyte leave no memory behind');
    ok(eval { wait_for(sub { fd_count($worker) <= $files }, 5) },
       '  and no open file');
}

$gw->done;
done_testing;


# a JSON object of exactly that many bytes; no two places of it look alike

sub object {
    my ($size, $model) = @_;

    my $head = '{"model":"' . ($model // 'm') . '"';
    my $left = $size - length($head) - length ',"i":""}';
    return $head . ' ' x ($size - 1 - length $head) . '}' if $left < 0;

    my $all = join '', map { "part $_ $text" } 0 .. $left / length $text;
    return "$head,\"i\":\"" . substr($all, 0, $left) . '"}';
}

sub renamed {
    my ($body, $name) = @_;
    $name //= 'another-name';
    return $body =~ s/^\{"model":"\K[^"]+/$name/r;
}

sub http {
    my ($place, $body, @opt) = @_;
    return request($gw, method => 'POST', path => "/$place/completions",
                   timeout => 20, @opt);
}

sub http2 {
    my ($place, $body, %opt) = @_;
    return LLM::H2::request($gw->port(1), path => "/$place/completions",
                            method => 'POST', body => $body, %opt);
}

sub post {
    my ($path, $body, @headers) = @_;
    return join "\r\n", "POST $path HTTP/1.1", 'Host: x', @headers,
                'Content-Length: ' . length $body, '', $body;
}


sub passes {
    my ($place, $how, $size, $model, $name) = @_;

    my $body = object($size, $model);
    my $r = $ways{$how}->($place, $body);
    my $got = $r->status == 200 ? $r->json : {};
    my $with = $got->{headers} || {};
    my $expected = renamed($body, $name);

    my $ok = $r->status == 200 && $got->{sha} eq sha1_hex($expected)
             && $with->{'content-length'} == length $expected
             && !exists $with->{'transfer-encoding'}
             && !exists $with->{expect};

    ok($ok, "REQ-36 $size bytes $how, $place" . ($model ? ", $model" : ''))
        or diag($r->status, ' ', $r->error // '', ' ', $got->{length} // '',
                ' of ', length $expected, ' ', substr $r->body, 0, 300);

    # expected: the error of a provider that fails
    $gw->expect_error(qr/connect\(\) failed|prematurely closed connection/,
                      qr/Connection reset by peer/) if $model;
}


sub refused {
    my ($r, $status, $code, $what) = @_;

    my $error = eval { $r->json->{error} } || {};
    my $ok = $r->status == $status
             && ($r->header('Content-Type') // '') eq 'application/json'
             && ($error->{code} // 'null') eq ($code // 'null')
             && ($error->{type} // '') eq 'invalid_request_error'
             && exists $error->{param} && !defined $error->{param};

    ok($ok, "$what: $status " . ($code // ''))
        or diag($r->status, ' ', $r->error // '', ' ', substr $r->raw, 0, 600);
}
