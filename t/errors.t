#!/usr/bin/perl

# Every error is the client's SDK's to read (REQ-43): whoever has made it -
# we, nginx or another of its modules - the answer is OpenAI's error object
# under a real status with our x-request-id; a provider's own error passes as
# it is, but for those about our credential; pages of the user's stay theirs.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use JSON::PP ();
use LLM::H2;
use MIME::Base64 qw(encode_base64);

my $odd_body = " {\"error\":{\"message\":\"n\xc3\xb6\",\"code\":1e400}}\n\n";

# what the provider does is in the body's "do"
my $script = sub {
    my ($req) = @_;
    my ($do, @args) = @{ $req->{json}{do} || [ '' ] };

    return json({ fine(), answer => 'fine' }) if $do eq '';
    return (status($args[0]), header('Content-Type', 'application/odd+json'),
            header('X-Custom', 'theirs'), header('Retry-After', 17),
            header('WWW-Authenticate', 'Bearer realm="theirs"'),
            header('Location', 'http://other.test/'),
            header('X-Request-Id', 'theirs-1'), body($odd_body))
        if $do eq 'status';
    return (status($args[0]), header('Content-Length', 0)) if $do eq 'empty';
    return (status($args[0]), header('Content-Type', 'text/html'),
            body('<html>theirs</html>')) if $do eq 'html';
    return raw("\x00\xff garbage\r\n\r\n"), fin if $do eq 'garbage';
    return hang if $do eq 'hang';
    return (head, hang) if $do eq 'head';
    return (header('Content-Type', 'text/event-stream'), head, hang)
        if $do eq 'stream head';
    return rst if $do eq 'rst';
    return sse({ error => $args[0] }) if $do eq 'event';
    return json({ error => $args[0] });
};

my $p = LLM::Fake->new(answer => $script);
my $cheap = LLM::Fake->new(answer => sub { json({ fine(), answer => 'cheap' }) });
my $dead = LLM::Fake->refused;

my $tag = 0;
my $site = tempdir();
spew("$site/custom.html", "<p>the user's own</p>\n");
spew("$site/empty.html", '');
spew("$site/users", "joe:{PLAIN}secret\n");

my $gw = LLM::Nginx->new(
    vars => { P => $p, DEAD => $dead, CHEAP => $cheap, SITE => $site },
    access_format => '$request_id $status [$llm_attempts] $http_x_tag',
    http => <<'CONF');
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; key sk-p; }
    llm_provider cheap { endpoint http://127.0.0.1:%%CHEAP%%/v1; }
    llm_provider dead { endpoint http://127.0.0.1:%%DEAD%%/v1; }
    llm_provider broken {
        endpoint http://127.0.0.1:%%P%%/v1;
        header X-Broken $broken;
    }
    llm_model m { target p; }
    llm_model cheap { target cheap; }
    llm_model dead { target dead; }
    llm_model broken { target broken; }
    llm_model both { target p; target cheap; }

    map $http_x_break $broken { cr "a\rb"; lf "a\nb"; crlf "a\r\nX-In: 1"; }

    limit_req_zone $server_addr zone=slow:1m rate=1r/m;
    client_body_timeout 200ms;
    llm_header_timeout 300ms;
    llm_first_token_timeout 300ms;

    server {
        listen 127.0.0.1:%%PORT%%;
        client_max_body_size 10k;

        location /v1/ { llm_pass; }
        location /deny/ { deny all; llm_pass; }
        location /basic/ {
            auth_basic "here";
            auth_basic_user_file %%SITE%%/users;
            llm_pass;
        }
        location /limit/ {
            limit_req zone=slow;
            limit_req_status 429;
            llm_pass;
        }
        location /limit-503/ { limit_req zone=slow; llm_pass; }
        location /return-503/ { llm_pass; return 503; }
        location /return-403/ { llm_pass; return 403; }
        location /return-404/ { llm_pass; return 404; }
        location /return-410/ { llm_pass; return 410; }
        location /return-418/ { llm_pass; return 418; }
        location /return-429/ { llm_pass; return 429; }
        location /return-500/ { llm_pass; return 500; }
        location /return-502/ { llm_pass; return 502; }
        location /return-599/ { llm_pass; return 599; }
        location /return-504/ { llm_pass; return 504; }
        location /text-403/ { llm_pass; return 403 "the user's text"; }
        location /text-503/ { llm_pass; return 503 "the user's text"; }
        location /json-429/ {
            default_type application/json;
            llm_pass;
            return 429 '{"error":"mine"}';
        }
        location /close/ { llm_pass; return 444; }
        location /except/ {
            limit_except POST { deny all; }
            llm_pass;
        }

        location /custom/ {
            error_page 404 400 502 /custom.html;
            llm_pass;
        }
        location = /custom.html { internal; root %%SITE%%; }

        location /other/ { error_page 502 504 = @other; llm_pass; }
        location @other { return 200 "other"; }

        location /cheap/ {
            error_page 502 429 = @cheap;
            llm_intercept_errors on;
            llm_pass;
        }
        location /not-cheap/ { error_page 502 429 = @cheap; llm_pass; }
        location @cheap { llm_pass cheap; }

        location /again/ { error_page 502 = @dead; llm_pass; }
        location @dead { llm_pass dead; }

        location /intercept/ { llm_intercept_errors on; llm_pass; }

        location /meter/ {
            llm_meter on;
            proxy_pass http://127.0.0.1:%%DEAD%%;
        }
        location /metered/ { llm_meter on; deny all; }
        location / { deny all; }
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;
        llm_meter on;
        large_client_header_buffers 2 1k;
        location / { return 204; }

        error_page 404 @text;
        error_page 410 /empty.html;
        error_page 403 @again;
        error_page 502 /custom.html;
        root %%SITE%%;
        location = /empty.html { }
        location = /custom.html { }
        location /none { return 404; }
        location /gone { return 410; }
        location /deny { deny all; }
        location /dead { proxy_pass http://127.0.0.1:%%DEAD%%; }
        location @text { default_type text/html; return 404 "<p>mine</p>"; }
        location @again { return 403; }
    }

    server {
        listen 127.0.0.1:%%PORT_2%% http2;
        location /v1/ { llm_pass; }
    }

    server {
        listen 127.0.0.1:%%PORT_3%%;
        llm_meter on;
        root %%SITE%%;
        location /checked/ { auth_request /check; try_files /custom.html =404; }
        location /login/ { auth_request /login; try_files /custom.html =404; }
        location = /check { return 403; }
        location = /login {
            add_header WWW-Authenticate 'Bearer realm="mine"' always;
            return 401;
        }
        location /zip {
            gzip on;
            gzip_types *;
            gzip_min_length 1;
            return 404;
        }
    }
CONF

$gw->expect_error(qr/client sent invalid chunked body/,
                  qr/access forbidden by rule/, qr/limiting requests/,
                  qr/connect\(\) failed/, qr/no user\/password/,
                  qr/header "X-Broken"/, qr/client intended to send too large/,
                  qr/user "joe"/,
                  qr/Connection reset by peer/, qr/upstream timed out/,
                  qr/upstream sent invalid header/,
                  qr/llm_provider "\w+"/);


# those we make

error(chat({ model => 'm', n => 0 }), 400, 'invalid_request_error',
      'invalid_type', 'n', 'a wrong type');
error(chat('{'), 400, 'invalid_request_error', 'invalid_json', undef,
      'not JSON');
error(chat('{"model":"m","n":1,"n":1}'), 400, 'invalid_request_error',
      'duplicate_key', 'n', 'a member twice');
error(chat({}), 400, 'invalid_request_error', 'missing_model', 'model',
      'no model');
error(chat({ model => 'a b ' }), 400, 'invalid_request_error',
      'invalid_model', 'model', 'a model that is none');
error(chat({ model => 'no/such:thing' }), 404, 'invalid_request_error',
      'model_not_found', 'model', 'an unknown model');
error(ask(POST => '/v1/nonsense'), 404, 'invalid_request_error',
      'unknown_operation', undef, 'an unknown operation');
error(ask(POST => '/v1/xchat/completion'), 404, 'invalid_request_error',
      'unknown_operation', undef, 'another one');
error(ask(GET => '/v1/models/unknown'), 404, 'invalid_request_error',
      'model_not_found', 'model', 'a model asked for');

for ([ GET => '/v1/chat/completions', 'POST' ],
     [ DELETE => '/v1/embeddings', 'POST' ],
     [ PUT => '/v1/responses', 'POST' ],
     [ OPTIONS => '/v1/completions', 'POST' ],
     [ POST => '/v1/models', 'GET, HEAD' ],
     [ DELETE => '/v1/models/m', 'GET, HEAD' ])
{
    my ($method, $path, $allow) = @$_;
    my $r = ask($method => $path);
    error($r, 405, 'invalid_request_error', 'method_not_allowed', undef,
          "$method $path");
    is_deeply([ $r->header('Allow') ], [ $allow ], "  allowed is $allow");
}

error(chat('x' x 20_000), 413, 'invalid_request_error', 'request_too_large',
      undef, 'a body too large');
error(chat('x' x 20_000, chunked => 1000), 413, 'invalid_request_error',
      'request_too_large', undef, 'a body that turns out too large');
error(chat({ model => 'm' }, headers => [ [ 'Content-Encoding', 'gzip' ] ]),
      415, 'invalid_request_error', 'unsupported_content_encoding', undef,
      'a coded body');

{
    my $before = $p->count;
    for my $break (qw(cr lf crlf)) {
        error(chat({ model => 'broken' }, headers => [ [ 'X-Break', $break ] ]),
              500, 'server_error', 'internal_error', undef,
              "a header value with $break");
    }
    is($p->count, $before, '  which is not sent');
    is(chat({ model => 'broken' })->status, 200, '  without it all is well');
}


# attempts that fail; with nothing sent yet a stream's error is no other

for my $stream (0, 1) {
    my $with = $stream ? ', for a stream' : '';
    my $try = sub {
        my ($model, @do) = @_;
        return chat({ model => $model, @do ? (do => \@do) : (),
                      $stream ? (stream => JSON::PP::true()) : () });
    };

    spent(error($try->('dead'), 502, 'upstream_error', 'upstream_error',
                undef, "nobody listens$with"), 'dead');
    spent(error($try->('m', 'rst'), 502, 'upstream_error', 'upstream_error',
                undef, "a reset$with"));
    spent(error($try->('m', 'garbage'), 502, 'upstream_error', 'bad_answer',
                undef, "garbage$with"));
    spent(error($try->('m', 'hang'), 504, 'upstream_error',
                'upstream_timeout', undef, "no answer$with"));
    spent(error($try->('m', $stream ? 'stream head' : 'head'), 504,
                'upstream_error', 'upstream_timeout', undef,
                "no answer behind the header$with"));

    for my $status (301, 302, 304, 307) {
        my $r = $try->('m', 'status', $status);
        spent(error($r, 502, 'upstream_error', 'bad_answer', undef,
                    "status $status$with"));
        is($r->header('Location'), undef, '  without Location');
    }

    for my $status (401, 402, 403) {
        my $r = $try->('m', 'status', $status);
        spent(error($r, 502, 'upstream_error', 'upstream_auth', undef,
                    "status $status$with"));
        unlike($r->raw, qr/1e400|theirs(?!-1)|odd|n\xc3\xb6/,
               '  and nothing of the provider');

        $r = $try->('both', 'status', $status);
        is($r->status, 200, "  another provider may know better$with");
    }

    error($try->('unknown'), 404, 'invalid_request_error', 'model_not_found',
          'model', "an unknown model$with");

    for my $status (400, 404, 405, 408, 409, 413, 422, 429, 451, 500, 501,
                    502, 503, 504, 529)
    {
        my $r = $try->('m', 'status', $status);
        is($r->status, $status, "REQ-43 the provider's $status passes$with");
        is($r->body, $odd_body, '  byte by byte');
        is_deeply([ $r->header('Content-Type') ], [ 'application/odd+json' ],
                  '  with its type');
        is_deeply([ $r->header('Retry-After') ], [ 17 ],
                  '  and its Retry-After');
        is_deeply([ $r->header('x-should-retry') ],
                  $status =~ /^(?:408|409|429|5..)$/ ? [ 'false' ] : [],
                  '  trying again: we know');
        like($r->header('x-request-id'), qr/^[0-9a-f]{32}$/, '  our id');
        is($r->header('x-llm-upstream-request-id'), 'theirs-1', '  their id');
        is($r->header('x-llm-provider'), 'p', '  their name');
    }

    for my $status (400, 404, 429, 500, 503) {
        my $r = $try->('m', 'empty', $status);
        is($r->status . '/' . $r->body . '/' . $r->clean_end, "$status//1",
           "a provider's $status without a body has none$with");
        $r = $try->('m', 'html', $status);
        is($r->status . $r->body . $r->header('Content-Type'),
           "$status<html>theirs</html>text/html",
           "a provider's $status in HTML stays it$with");
    }
}

{
    my $r = chat({ model => 'm', stream => JSON::PP::true(),
                   do => [ 'event', { message => 'full', code => 503 } ] });
    is($r->status, 503, 'an error as a first event has its own status');
    json_is($r->body, { error => { message => 'full', code => 503 } },
            '  and is JSON');
    is($r->header('Content-Type'), 'application/json', '  by its type, too');
}


# those of nginx and its modules

error(ask(POST => '/deny/completions'), 403, 'permission_error', undef, undef,
      'deny');
error(ask(GET => '/except/completions'), 403, 'permission_error', undef,
      undef, 'limit_except');

{
    my $r = ask(POST => '/basic/completions');
    error($r, 401, 'invalid_request_error', undef, undef, 'auth_basic');
    is_deeply([ $r->header('WWW-Authenticate') ], [ 'Basic realm="here"' ],
              '  WWW-Authenticate stays');

    $r = ask(POST => '/basic/completions',
             headers => [ [ 'Authorization', 'Basic '
                            . encode_base64('joe:wrong', '') ] ]);
    error($r, 401, 'invalid_request_error', undef, undef, 'a wrong password');

    $r = chat({ model => 'm' }, path => '/basic/completions',
              headers => [ [ 'Authorization', 'Basic '
                             . encode_base64('joe:secret', '') ] ]);
    is($r->status, 200, '  and the right one');
}

is(chat({ model => 'm' }, path => '/limit/completions')->status, 200,
   'limit_req: the first');
{
    my $r = chat({ model => 'm' }, path => '/limit/completions');
    error($r, 429, 'rate_limit_error', 'rate_limit_exceeded', undef,
          'limit_req: the second');
    later($r);

    $r = chat({ model => 'm' }, path => '/limit-503/completions');
    error($r, 503, 'service_unavailable_error', undef, undef,
          'limit_req with its own status');
    later($r);
}

for ([ 403, 'permission_error' ], [ 404, 'invalid_request_error' ],
     [ 410, 'invalid_request_error' ], [ 418, 'invalid_request_error' ],
     [ 429, 'rate_limit_error', 'rate_limit_exceeded' ],
     [ 500, 'server_error', 'internal_error' ],
     [ 502, 'upstream_error', 'upstream_error' ],
     [ 503, 'service_unavailable_error' ],
     [ 504, 'upstream_error', 'upstream_timeout' ], [ 599, 'server_error' ])
{
    my ($status, $type, $code) = @$_;
    my $r = ask(POST => "/return-$status/completions");
    error($r, $status, $type, $code, undef, "return $status;");
    later($r) if $status =~ /429|503/;
    is($r->header('x-should-retry'), undef, '  nothing was tried')
        if $status > 499;
}

error(ask(POST => '/metered/completions'), 403, 'permission_error', undef,
      undef, 'llm_meter: deny');
error(ask(POST => '/meter/completions'), 502, 'upstream_error',
      'upstream_error', undef, 'llm_meter: proxy_pass');

{
    my $r = ask(GET => '/elsewhere');
    is($r->status, 403, 'elsewhere');
    is($r->header('Content-Type'), 'text/html', '  nginx answers as ever');
}


# before a location is known

for ([ 'a request line of garbage', "NONSENSE\r\n\r\n", 400 ],
     [ 'no Host', "GET / HTTP/1.1\r\n\r\n", 400 ],
     [ 'two Hosts', "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 ],
     [ 'a path too long', 'GET /' . 'x' x 3000 . " HTTP/1.1\r\n\r\n", 414 ],
     [ 'a header too long', "GET / HTTP/1.1\r\nHost: a\r\nX: "
                            . 'x' x 3000 . "\r\n\r\n", 400 ],
     [ 'two lengths', "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                      . "Transfer-Encoding: chunked\r\n\r\n", 400 ],
     [ 'HTTP of the future', "GET / HTTP/7.0\r\nHost: a\r\n\r\n", 505 ])
{
    my ($what, $bytes, $status) = @$_;
    my $r = request($gw->port(1), raw => $bytes);
    error($r, $status, $status > 499 ? 'server_error'
                                     : 'invalid_request_error',
          undef, undef, $what, 0);
}


# pages of the user's where all of a server is ours

for ([ '/none', '404<p>mine</p>', 'a named location with a text' ],
     [ '/gone', '410', 'an empty file' ],
     [ '/dead', "502<p>the user's own</p>\n", 'a file' ])
{
    my ($path, $expected, $what) = @$_;
    my $r = get($gw->port(1), $path);
    is($r->status . $r->body, $expected, "error_page: $what is the user's");
    is($r->header('Content-Type'), 'text/html', '  as it is')
        if $path ne '/gone';
    ok($r->clean_end, '  whole');
    like($r->header('x-request-id'), qr/^[0-9a-f]{32}$/, '  with our id');
}

error(get($gw->port(1), '/deny'), 403, 'permission_error', undef, undef,
      'error_page to a location without a text', 0);
error(get($gw->port(3), '/checked/'), 403, 'permission_error', undef, undef,
      'auth_request refuses with 403', 0);

{
    my $r = get($gw->port(3), '/login/');
    error($r, 401, 'invalid_request_error', undef, undef,
          'auth_request refuses with 401', 0);

    $r = get($gw->port(3), '/zip',
             headers => [ [ 'Accept-Encoding', 'gzip' ] ]);
    is($r->status . $r->header('Content-Encoding'), '404gzip',
       'an error may be coded');
    require IO::Uncompress::Gunzip;
    IO::Uncompress::Gunzip::gunzip(\$r->body, \my $plain);
    like($plain, qr/^\{"error":\{"message":".+\}\}$/, '  as any answer');

    for my $agent ('Mozilla/4.0 (compatible; MSIE 6.0)',
                   'Mozilla/5.0 Chrome/99.0')
    {
        $r = get($gw->port(3), '/checked/',
                 headers => [ [ 'User-Agent', $agent ] ]);
        error($r, 403, 'permission_error', undef, undef,
              "no padding for $agent", 0);
    }
}

if (!LLM::H2->missing) {
    for ([ '{', 400, 'invalid_json' ],
         [ '{"model":"unknown"}', 404, 'model_not_found' ],
         [ '{"model":"dead"}', 502, 'upstream_error' ],
         [ '{"model":"m","do":["status",402]}', 502, 'upstream_auth' ])
    {
        my ($body, $status, $code) = @$_;
        my $r = LLM::H2::request($gw->port(2), path => '/v1/completions',
                                 method => 'POST', body => $body);
        is($r->status . ($r->json->{error}{code} // ''), $status . $code,
           "REQ-43 HTTP/2: $status $code");
        like($r->header('x-request-id'), qr/^[0-9a-f]{32}$/, '  our id');
        is($r->header('Content-Type'), 'application/json', '  JSON');
    }
}


# what stays closed

is(ask(POST => '/close/completions')->raw, '', 'return 444; says nothing');

{
    my $c = LLM::Client->connect($gw);
    $c->send_bytes("POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
                   . "Content-Length: 100\r\nX-Tag: late\r\n\r\n{");
    is($c->wait_close(5), 'fin', 'a body that does not come is a close');
    is($c->{response}->raw, '', '  without a word');
    like($gw->wait_log(qr/ late$/), qr/ 408 /, '  408 in the log');
    $c->close;
}


# what is the user's

for ([ '/text-403/', 403, "the user's text" ],
     [ '/text-503/', 503, "the user's text" ],
     [ '/json-429/', 429, '{"error":"mine"}' ])
{
    my ($path, $status, $text) = @$_;
    my $r = ask(POST => "${path}completions");
    is($r->status . ' ' . $r->body, "$status $text",
       "return $status with a text is the user's");
    like($r->header('x-request-id'), qr/^[0-9a-f]{32}$/, '  with our id');
}

for ([ 'an unknown model', { model => 'unknown' }, 404 ],
     [ 'no JSON', '{', 400 ], [ 'no provider', { model => 'dead' }, 502 ])
{
    my ($what, $data, $status) = @$_;
    my $r = chat($data, path => '/custom/completions');
    is($r->status . $r->body, "$status<p>the user's own</p>\n",
       "error_page $status: the user's file, $what");
    is($r->header('Content-Type'), 'text/html', '  as it is');
}

{
    my $r = chat({ model => 'dead' }, path => '/other/completions');
    is($r->status . $r->body, '200other', 'error_page 502 = \@other');
    $r = chat({ model => 'm', do => [ 'hang' ] }, path => '/other/completions');
    is($r->status . $r->body, '200other', 'error_page 504 = \@other');
    $r = chat({ model => 'm', do => [ 'status', 403 ] },
              path => '/other/completions');
    is($r->status . $r->body, '200other', 'a refused credential, too');
}


# a second pass, by error_page

for ([ 'dead', [] => 'dead:connect' ],
     [ 'm', [ do => [ 'rst' ] ] => 'p:reset' ],
     [ 'm', [ do => [ 'status', 401 ] ] => 'p:401' ],
     [ 'm', [ do => [ 'status', 301 ] ] => 'p:bad_answer' ],
     [ 'm', [ do => [ 'status', 429 ] ] => 'p:429' ])
{
    my ($model, $do, $attempt) = @$_;
    my $r = chat({ model => $model, @$do, a => [] },
                 path => '/cheap/chat/completions');
    is($r->status, 200, "error_page to llm_pass cheap, $attempt");
    is($r->json->{answer}, 'cheap', '  has its answer');
    is(($cheap->requests)[-1]{json}{model}, 'cheap', '  for its model');
    is($r->header('x-llm-provider'), 'cheap', '  and its name');
    is($r->header('x-should-retry'), undef, '  nothing of the error');
    is($r->header('Retry-After'), undef, '  nothing of the first answer');
    like($gw->wait_log(qr/ tag-$tag$/),
         qr/ 200 \[$attempt:\d+ms : cheap:200:\d+ms\]/, '  both in the log');
}

{
    my $r = chat({ model => 'm', do => [ 'status', 429 ] },
                 path => '/not-cheap/completions');
    is($r->status . $r->body, "429$odd_body",
       'without llm_intercept_errors a provider\'s 429 passes');
    is_deeply([ $r->header('Retry-After') ], [ 17 ],
              '  with its Retry-After');

    $r = chat({ model => 'm', do => [ 'status', 503 ] },
              path => '/cheap/completions');
    is($r->status . $r->body, "503$odd_body",
       'with it, too, where no error_page is for the status');

    $r = chat({ model => 'm', do => [ 'status', 429 ] },
              path => '/intercept/completions');
    is($r->status . $r->body, "429$odd_body", '  or none is there at all');

    $r = chat({ model => 'm' }, path => '/again/completions');
    is($r->status, 200, 'an answer needs no second pass');
    $r = chat({ model => 'm', do => [ 'rst' ] }, path => '/again/completions');
    error($r, 502, 'upstream_error', 'upstream_error', undef,
          'a second pass that fails, too');
    like($gw->wait_log(qr/ tag-$tag$/),
         qr/\[p:reset:\d+ms : dead:connect:\d+ms\]/, '  both in the log');
}


# HEAD

for ([ '/v1/models/unknown', 404 ], [ '/v1/chat/completions', 405 ],
     [ '/v1/nonsense', 404 ], [ '/deny/models', 403 ],
     [ '/return-503/models', 503 ])
{
    my ($path, $status) = @$_;
    my $c = LLM::Client->connect($gw);
    my $r = $c->send_request(method => 'HEAD', path => $path, keepalive => 1);
    $c->read_response;
    is($r->status, $status, "HEAD $path");
    is($r->header('Content-Type'), 'application/json', '  has the type');
    is($r->header('Content-Length'),
       length ask(GET => $path)->body, '  and the length of GET');
    like($r->header('x-request-id'), qr/^[0-9a-f]{32}$/, '  our id');
    ok($c->idle, '  and no byte more');

    $r = $c->send_request(method => 'GET', path => '/v1/models/m',
                          keepalive => 1);
    is($c->read_response->status, 200, '  the connection lives on');
    $c->close;
}


# the client's id is not ours

{
    my $r = chat('{', headers => [ [ 'X-Request-Id', 'f' x 32 ] ]);
    isnt($r->header('x-request-id'), 'f' x 32, 'x-request-id is ours');
    is(scalar(my @all = $r->header('x-request-id')), 1, '  and alone');
}

{
    my $c = LLM::Client->connect($gw);
    for my $body ('{"model":"unknown"}', '{"model":"dead"}',
                  '{"model":"m","do":["status",401]}',
                  '{"model":"m","do":["status",500]}', '{"model":"m"}')
    {
        $c->send_request(method => 'POST', path => '/v1/completions',
                         body => $body, keepalive => 1);
        my $r = $c->read_response;
        ok($r->clean_end && $c->idle, $r->status . ' keeps the connection');
    }
    $c->close;
}


# nginx closes the connection after a 400, and after a request whose body it
# could not read to its end: such a body may hide a second request

for (
    [ 'a 400', "POST /v1/completions HTTP/1.1\r\nHost: a\r\n"
        . "Content-Length: 1\r\n\r\n{", 400 ],
    map({ [ "a broken chunk before a $_->[0]", "$_->[1] HTTP/1.1\r\nHost: a\r\n"
        . "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", $_->[0] ] }
        [ 404, 'POST /v1/nonsense' ], [ 405, 'PUT /v1/chat/completions' ])
)
{
    my ($what, $bytes, $status) = @$_;
    my $c = LLM::Client->connect($gw);
    $c->send_bytes($bytes . "GET /v1/models/m HTTP/1.1\r\nHost: a\r\n\r\n");
    is($c->read_response->status, $status, "$what: the status");
    ok($c->wait_close, '  the connection is closed, no second response');
    $c->close;
}

$gw->done;
done_testing;


sub ask {
    my ($method, $path, %opt) = @_;
    my @headers = @{ delete $opt{headers} || [] };
    $tag++;
    return request($gw, method => $method, path => $path, %opt,
                   headers => [ @headers, [ 'X-Tag', "tag-$tag" ] ]);
}

sub chat {
    my ($data, %opt) = @_;
    $tag++;
    push @{ $opt{headers} }, [ 'X-Tag', "tag-$tag" ];
    return post_json($gw, delete $opt{path} || '/v1/chat/completions', $data,
                     %opt);
}


# the answer is exactly an error object as it has to be

sub error {
    my ($r, $status, $type, $code, $param, $what, $logged) = @_;

    my $data = eval { $r->json } || {};
    my $error = ref $data->{error} eq 'HASH' ? $data->{error} : {};
    my @ids = $r->header('x-request-id');
    my @types = $r->header('Content-Type');

    my @wrong;
    push @wrong, 'status ' . $r->status if $r->status != $status;
    push @wrong, "type @types" if "@types" ne 'application/json';
    push @wrong, 'members' if "@{[ sort keys %$data ]}" ne 'error'
        || "@{[ sort keys %$error ]}" ne 'code message param type';
    push @wrong, 'not strings'
        if $r->body =~ s/"(?:[^"\\]|\\.)*"/S/gr
           !~ /^\{S:\{S:S,S:S,S:(?:S|null),S:(?:S|null)\}\}$/;
    push @wrong, 'message' unless length($error->{message} // '') > 9;
    push @wrong, "type $error->{type}" if ($error->{type} // '') ne $type;
    push @wrong, 'code ' . ($error->{code} // 'null')
        if ($error->{code} // 'null') ne ($code // 'null');
    push @wrong, 'param ' . ($error->{param} // 'null')
        if ($error->{param} // 'null') ne ($param // 'null');
    push @wrong, "id @ids" if "@ids" !~ /^[0-9a-f]{32}$/;
    push @wrong, 'length' if !$r->clean_end
        || ($r->header('Content-Length') // '') ne length $r->body;

    if ($logged // 1) {
        my ($id) = split / /, $gw->wait_log(qr/ tag-$tag$/);
        push @wrong, "id $ids[0], in the log $id" if $id ne $ids[0];
    }

    ok(!@wrong, "REQ-43 $what: $status $type " . ($code // 'null'))
        or diag(join('; ', @wrong), "\n", substr $r->raw, 0, 800);
    return $r;
}

sub spent {
    my ($r, $name) = @_;
    is_deeply([ $r->header('x-should-retry') ], [ 'false' ],
              '  our attempts are spent');
    is_deeply([ $r->header('x-llm-provider') ], [ $name || 'p' ],
              '  the provider is named');
}

sub later {
    my ($r) = @_;
    is_deeply([ $r->header('Retry-After') ], [ 1 ], '  Retry-After: 1');
    is_deeply([ $r->header('retry-after-ms') ], [ 1000 ], '  in ms, too');
}
