#!/usr/bin/perl

# A provider that quotes the credential of its request: no status, body, event
# or header brings it to the client or to a log.  Control bytes do not get into
# headers, neither of a request nor of a response.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $KEY = 'sk-quoted-7Qx2Lw9ZkP4m0aVbN3';
my $OWN = 'hdr-quoted-1Bt5Vb3NcY6j8Kd2';
my $TRUE = JSON::PP::true;

sub chat {
    my ($text) = @_;
    return { id => 'c', object => 'chat.completion', created => 1,
             model => 'up', choices => [ { index => 0,
             finish_reason => 'stop',
             message => { role => 'assistant', content => $text } } ] };
}

sub delta {
    my ($text) = @_;
    return { id => 'c', object => 'chat.completion.chunk', created => 1,
             model => 'up',
             choices => [ { index => 0, delta => { content => $text } } ] };
}

my $script = sub {
    my ($req) = @_;
    my ($do, $arg) = split / /, $req->{json}{user} || 'fine';
    my ($key) = ($req->{headers}{authorization} // '') =~ /^Bearer (.*)/;
    $key //= $req->{headers}{'x-own-token'} // 'none';
    my $long = 'y' x 70_000;

    return (status($arg), json({ error => { message => "bad $key." } }))
        if $do eq 'status';
    return json(chat("my key is $key")) if $do eq 'document';
    return json(chat("$long$key")) if $do eq 'long';
    return (split_every(1000), json(chat("$long$key"))) if $do eq 'pieces';
    return sse(delta("it is $key"), '[DONE]') if $do eq 'first';
    return sse(delta('it is '), delta($key), '[DONE]') if $do eq 'second';
    return (split_every(7), sse(delta('it is '), delta($key), '[DONE]'))
        if $do eq 'torn';
    return (sse(delta('it is ')), chunk('data: {"choices":[{"delta":{"content":'
            . "\"$key\""), fin) if $do eq 'half';
    return json({ error => { message => "bad $key.", code => 500 } })
        if $do eq 'inside';
    return (header('X-Echo', "a $key b"), header("X-$key", 1),
            header('X-Request-Id', $key), header('X-Fine', 'fine'),
            header('Content-Type', "application/json; k=$key"),
            json(chat('fine'))) if $do eq 'header';
    return (status(200, "OK $key"), json(chat('fine'))) if $do eq 'reason';
    return (status(429, "No $key"), header('X-Echo', $key),
            json({ error => { message => 'full' } })) if $do eq 'kept';
    return (header('X-Bytes', "a\x01b\x7fc\td"), header('X-Fine', 'fine'),
            header('X-Request-Id', "r\x02q"), json(chat('fine')))
        if $do eq 'control';
    return json(chat('fine'));
};

my $p = LLM::Fake->new(answer => $script);

my $gw = LLM::Nginx->new(
    error_log => 'debug',
    vars => { P => $p, KEY => $KEY, OWN => $OWN,
              DEAD => LLM::Fake->refused },
    access_format => '$status|$llm_upstream_request_id|$llm_attempts',
    http => <<'CONF');
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; key %%KEY%%; }
    llm_provider own {
        endpoint http://127.0.0.1:%%P%%/v1;
        header X-Own-Token $own;
    }
    llm_provider word { endpoint http://127.0.0.1:%%P%%/v1; key placeholder; }
    llm_provider dead { endpoint http://127.0.0.1:%%DEAD%%/v1; }
    llm_provider variable {
        endpoint http://127.0.0.1:%%P%%/v1;
        header X-Fine fine;
        header X-Value $value;
    }
    llm_model p { target p; }
    llm_model own { target own; }
    llm_model word { target word; }
    llm_model kept { target p; target dead backup; }
    llm_model variable { target variable; }

    map $uri $own { default %%OWN%%; }
    map $http_x_value $value {
        default "fine";
        lf "a\nb";
        cr "a\rb";
    }
    llm_quota_zone q key=$http_authorization requests=100000/1m;
    llm_cache_zone 1m;

    server {
        listen 127.0.0.1:%%PORT%%;
        location / { llm_pass; }
        location /values/ {
            llm_quota q;
            llm_cache on;
            llm_cache_scope $http_authorization;
            llm_pass p;
        }
        location /proxy/ {
            llm_meter on;
            proxy_pass http://127.0.0.1:%%P%%/;
        }
    }
CONF
$gw->expect_error(qr/quotes its credential/, qr/overwritten/,
                  qr/connect\(\) failed \(111/, qr/failed: /,
                  qr/cut its answer/, qr/control byte/, qr/sent (?:an error inside|JSON)/);

my $answers = '';

for my $model (qw(p own)) {
    my $key = $model eq 'p' ? $KEY : $OWN;

    for my $status (400, 404, 409, 422, 429, 500, 503) {
        my $r = ask($model, "status $status");
        is($r->status, 502, "$model: an error $status that quotes the"
           . ' credential is replaced');
        is($r->json->{error}{code}, 'bad_answer', '  by the gateway\'s own');
    }

    for my $status (401, 402, 403) {
        is(ask($model, "status $status")->json->{error}{code}, 'upstream_auth',
           "$model: an error $status is upstream_auth");
    }

    for (
        [ 'document', 502, 'a document' ],
        [ 'inside', 502, 'an error inside a 200' ],
        [ 'first', 502, 'the first event of a stream', stream => $TRUE ],
    ) {
        my ($do, $status, $what, @data) = @$_;
        my $r = ask($model, $do, @data);
        is($r->status, $status, "$model: $what is replaced");
        is($r->json->{error}{type}, 'upstream_error', '  by an error object');
    }

    for (
        [ 'long', 'a long document' ],
        [ 'pieces', 'a long document in pieces' ],
    ) {
        my ($do, $what) = @$_;
        my $r = ask($model, $do);
        ok(!$r->clean_end, "$model: $what is cut");
    }

    for (
        [ 'second', 'a later event', qr/^/ ],
        [ 'torn', 'an event in pieces', qr/it is / ],
        [ 'half', 'half an event at the end', qr/^/ ],
    ) {
        my ($do, $what, $before) = @$_;
        my $r = ask($model, $do, stream => $TRUE);
        like($r->body, $before, "$model: $what: events before it are sent");
        like($r->body, qr/"type":"upstream_error"/, '  and an error ends it');
    }

    my $r = ask($model, 'header');
    is($r->status, 200, "$model: headers that quote the credential");
    is($r->header('X-Echo'), 'a ' . '*' x length($key) . ' b',
       '  have it overwritten');
    is($r->header('X-Fine'), 'fine', '  others pass');
    is($r->json->{choices}[0]{message}{content}, 'fine', '  the body, too');

    is(ask($model, 'reason')->status, 200, "$model: a reason phrase");
}

{
    my $r = ask('kept', 'kept');
    is($r->status, 429, 'a kept response whose header quotes the credential');
    is($r->json->{error}{message}, 'full', '  is sent');
    like($r->header('X-Echo'), qr/^\*+$/, '  the header is overwritten');

    $r = ask('kept', 'status 429');
    is($r->status, 502, 'a kept response whose body quotes the credential');
    unlike($r->body, qr/bad /, '  is not sent');

    $r = ask('word', 'document');
    is($r->json->{choices}[0]{message}{content}, 'my key is placeholder',
       'a key that is a common word does not forbid the word');

    $r = post_json($gw, '/values/v1/chat/completions',
                   { model => 'p', temperature => 0, messages => [] },
                   headers => [ [ 'Authorization', "Bearer $OWN" ] ]);
    is($r->status, 200, 'a credential as quota key and cache scope');
}


# control bytes

for my $value (qw(lf cr)) {
    my $before = $p->count;
    my $r = post_json($gw, '/v1/chat/completions',
                      { model => 'variable', messages => [] },
                      headers => [ [ 'X-Value', $value ] ]);
    is($r->status, 500, "a header value with $value is rejected");
    is($p->count, $before, '  the provider gets no request');
    $gw->wait_error_log(qr/\[error\] .* control \s byte \s 0x0[ad] \s in \s the
        \s value \s of \s "header \s X-Value" \s of \s llm_provider
        \s "variable"/x);
}

{
    my $r = ask('p', 'control');
    is($r->header('X-Bytes'), "a b c\td",
       'control bytes of a provider\'s header become spaces, a tab stays');
    is($r->header('x-llm-upstream-request-id'), 'r q',
       '  in a request id, too');
    is($r->header('X-Fine'), 'fine', '  other headers pass');

    $r = post_json($gw, '/proxy/v1/chat/completions',
                   { model => 'm', messages => [], user => 'control' });
    is($r->status, 200, 'proxy_pass: a request id with a control byte');
    is($r->header('x-llm-upstream-request-id'), undef, '  is not sent');
}

{
    my ($status, $said) = LLM::Nginx->check(
        server => 'location / { llm_pass; }',
        http => 'llm_provider p { endpoint http://127.0.0.1:1;'
                . " header X-Value \"a\\nb\"; }\n llm_model m { target p; }");
    isnt($status, 0, 'nginx -t rejects a constant value with a control byte');
    like($said, qr/control byte in the value of header "X-Value"/,
         '  and names the header');
}


$gw->stop;

for my $key ($KEY, $OWN) {
    is(index($answers, $key), -1, 'no response has the credential');
    is(index($gw->access_log, $key), -1, 'the access log has it not');
    is((join '', grep { !/ http header: / && index($_, $key) >= 0 }
        split /^/, $gw->error_log), '', 'the debug log has it not');
}

$gw->done;
done_testing;


sub ask {
    my ($model, $do, %data) = @_;
    my $r = post_json($gw, '/v1/chat/completions',
        { model => $model, user => $do, messages => [], %data });
    $answers .= $r->raw;
    return $r;
}
