#!/usr/bin/perl

# REQ-22: a 2xx is an answer only if its body shows one, whatever its headers
# say.  Anything else moves on, is logged as bad_answer, costs nothing and is
# not cached; behind proxy_pass it passes, and costs nothing.  A stream is held
# until its first output, and ends with its last event.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use JSON::PP ();

my %PATH = (
    chat => '/v1/chat/completions', completions => '/v1/completions',
    embeddings => '/v1/embeddings', responses => '/v1/responses',
    moderations => '/v1/moderations', images => '/v1/images/generations',
    speech => '/v1/audio/speech', transcriptions => '/v1/audio/transcriptions',
    translations => '/v1/audio/translations',
);

my $usage = { usage => { prompt_tokens => 3, completion_tokens => 4,
                         total_tokens => 7 } };
my $role = { choices => [ { index => 0, delta => { role => 'assistant',
                                                   content => '' } } ] };
my $token = { choices => [ { index => 0, delta => { content => 'tok' } } ] };
my $stop = { choices => [ { index => 0, delta => {},
                            finish_reason => 'stop' } ] };
my $last = { choices => [], %$usage };
my $error = { error => { message => 'oops', code => 503 } };
my $chat = { choices => [ { index => 0, message => { content => 'tok' },
                            finish_reason => 'stop' } ], %$usage };

sub typed { my ($type, %more) = @_; return { type => $type, %more } }
sub named { my ($type, %more) = @_;
            return "event: $type\ndata: " . canon(typed($type, %more))
                   . "\n\n" }
sub text { my ($type, $text) = @_;
           return (header('Content-Type', $type), body($text)) }
sub lines { my ($type, @docs) = @_;
            return (header('Content-Type', $type), head,
                    map { chunk(canon($_) . "\n") } @docs) }

# What a case sends.  Its first word is the api.
my %case = (
    'chat html'           => sub { text('text/html', '<html>busy</html>') },
    'chat html as JSON'   => sub { text('application/json', '<!doctype html>') },
    'chat html as SSE'    => sub { text('text/event-stream', "<html>\n\n") },
    'chat text'           => sub { text('text/plain', 'upstream is busy') },
    'chat null'           => sub { json('null') },
    'chat list'           => sub { json('[]') },
    'chat string'         => sub { json('"ok"') },
    'chat number'         => sub { json('1') },
    'chat empty object'   => sub { json('{}') },
    'chat cut short'      => sub { json('{"choices":[{"message":{') },
    'chat detail'         => sub { json({ detail => 'busy' }) },
    'chat code and msg'   => sub { json({ code => 5, msg => 'busy' }) },
    'chat flat error'     => sub { json({ object => 'error',
                                          message => 'busy' }) },
    'chat base_resp'      => sub { json({ choices => undef, base_resp => {
                                          status_code => 1002 } }) },
    'chat no choices'     => sub { json({ choices => [], %$usage }) },
    'chat no choices and an error' => sub { json({ choices => [], %$error }) },
    'chat data'           => sub { json({ data => [ {} ] }) },
    'chat failed choice'  => sub { json({ choices => [ {
                                          finish_reason => 'error' } ] }) },
    'chat error in choice' => sub { json({ choices => [ { error => {
                                          message => 'x' } } ] }) },
    'chat audio'          => sub { text('audio/mpeg', 'xxxx') },
    'completions no choices' => sub { json({ choices => [] }) },
    'embeddings no data'  => sub { json({ object => 'list', data => [] }) },
    'embeddings choices'  => sub { json($chat) },
    'responses failed'    => sub { json({ status => 'failed', output => [],
                                          error => { code => 'x' } }) },
    'responses no output' => sub { json({ status => 'completed' }) },
    'responses chat'      => sub { json($chat) },
    'moderations no results' => sub { json({ results => [] }) },
    'images no data'      => sub { json({ created => 1 }) },
    'speech text'         => sub { text('text/plain', 'busy') },
    'speech html'         => sub { text('text/html', '<html>busy</html>') },
    'speech error'        => sub { json($error) },
    'transcriptions html' => sub { text('text/html', '<html>busy</html>') },
    'transcriptions no text' => sub { json({ x => 1 }) },

    'chat ~[DONE]'        => sub { sse('[DONE]') },
    'chat ~nothing'       => sub { sse(": a\n\n") },
    'chat ~empty data'    => sub { sse("data:\n\n", "data: \n\n") },
    'chat ~null'          => sub { sse('null', '[DONE]') },
    'chat ~role and [DONE]' => sub { sse($role, '[DONE]') },
    'chat ~role and error' => sub { sse($role, $error) },
    'chat ~filter and error' => sub {
        sse({ choices => [], prompt_filter_results => [ {} ] }, $error) },
    'chat ~ping and error' => sub { sse(typed('ping'), $error) },
    'chat ~keepalive and cut' => sub { (sse(typed('keepalive')), fin) },
    'chat ~flat error'    => sub { sse({ object => 'error', message => 'x',
                                         code => 500 }) },
    'chat ~error in choice' => sub { sse({ choices => [ {
        index => 0, finish_reason => 'error' } ] }) },
    'chat ~half a chunk'  => sub { sse("data: {\"choices\":[{\"index\"") },
    'chat ~half of [DONE]' => sub { sse("data: [DO") },
    'chat ~name alone'    => sub { sse("event: x\n") },
    'chat ~html'          => sub { text('text/event-stream', '<html>x') },
    'chat ~NDJSON of roles' => sub { lines('application/x-ndjson', $role) },
    'responses ~failed'   => sub { sse(named('response.created'),
                                       named('response.in_progress'),
                                       named('response.failed')) },
    'responses ~queued and cut' => sub { (sse(named('response.queued')), fin) },
    'responses ~cancelled' => sub { sse(named('response.cancelled')) },
    'responses ~error'    => sub { sse(named('error', message => 'x')) },
    'images ~error'       => sub { sse(named('error', message => 'x')) },
    'speech ~done alone'  => sub { sse(named('speech.audio.done')) },
);

# What passes, and how it ends.
my %good = (
    'chat document'       => [ 'complete', sub { json($chat) } ],
    'chat document as text' => [ 'complete', sub {
        text('text/plain', "\n  " . canon($chat)) } ],
    'chat an error beside choices' => [ 'complete', sub {
        json({ %$chat, %$error }) } ],
    'chat no tokens'      => [ 'complete', sub { json({ choices => [ {} ],
                                                        %$usage }) } ],
    'chat SSE that was not requested' => [ 'complete', sub {
        sse($role, $token, $stop, $last, '[DONE]') } ],
    'chat ~document'      => [ 'complete', sub { json($chat) } ],
    'chat ~SSE as JSON'   => [ 'complete', sub {
        (header('Content-Type', 'application/json'),
         sse($role, $token, $stop, $last, '[DONE]')) } ],
    'chat ~SSE as text'   => [ 'complete', sub {
        (header('Content-Type', 'text/plain'),
         sse(": hello\n\n", $token, $stop, $last, '[DONE]')) } ],
    'chat ~NDJSON'        => [ 'complete', sub {
        lines('application/x-ndjson', $role, $token, $stop, $last) } ],
    'chat ~NDJSON as JSON' => [ 'complete', sub {
        lines('application/json', $token, $stop, $last) } ],
    'chat ~empty error objects' => [ 'complete', sub {
        sse(map({ { %$_, error => { message => '', code => undef } } }
                $token, $stop, $last), '[DONE]') } ],
    'chat ~odd events'    => [ 'complete', sub {
        sse("data:\n\n", 'null', typed('ping'), "data: {\"choices\":[\n\n",
            $token, 'null', $stop, $last, '[DONE]') } ],
    'chat ~nothing but a finish reason' => [ 'complete', sub {
        sse($role, $stop, $last, '[DONE]') } ],
    'chat ~error after output' => [ 'error', sub { sse($token, $error) } ],
    'chat ~flat error after output' => [ 'error', sub {
        sse($token, { object => 'error', message => 'x' }, '[DONE]') } ],
    'responses queued'    => [ 'complete', sub {
        json({ status => 'queued', output => [], %$usage }) } ],
    'responses ~completed' => [ 'complete', sub {
        sse(named('response.created'), named('response.output_text.delta'),
            named('response.completed', response => $usage)) } ],
    'responses ~failed after output' => [ 'error', sub {
        sse(named('response.output_text.delta'), named('response.failed')) } ],
    'moderations results' => [ 'complete', sub {
        json({ results => [ {} ], %$usage }) } ],
    'images ~completed'   => [ 'complete', sub {
        sse(named('image_generation.completed', %$usage)) } ],
    'images ~partial'     => [ 'truncated', sub {
        sse(named('image_generation.partial_image', %$usage)) } ],
    'speech audio'        => [ 'complete', sub { text('audio/mpeg', '{xx') } ],
    'speech ~done'        => [ 'complete', sub {
        sse(named('speech.audio.delta'), named('speech.audio.done',
                                               %$usage)) } ],
    'transcriptions text' => [ 'complete', sub { text('text/plain', 'hi') } ],
    'transcriptions JSON' => [ 'complete', sub {
        json({ text => '', %$usage }) } ],
    'transcriptions ~done' => [ 'complete', sub {
        sse(named('transcript.text.delta'),
            named('transcript.text.done', %$usage)) } ],
    'transcriptions ~cut' => [ 'truncated', sub {
        sse(named('transcript.text.delta', %$usage)) } ],
);

my %gate = (
    # what a provider sends behind the end of its answer, and never ends
    done     => sub { (sse($token, $stop, $last, '[DONE]'),
                       repeat_steps(0, delay(0.05), sse(": beat\n\n"))) },
    finish   => sub { (sse($token, $stop, $last),
                       repeat_steps(0, delay(0.05), sse(": beat\n\n"))) },
    terminal => sub { (sse(named('response.output_text.delta'),
                           named('response.completed', response => $usage)),
                       repeat_steps(0, delay(0.05), sse(": beat\n\n"))) },
    more     => sub { sse($token, $stop, $last, '[DONE]', $token) },
    late     => sub { (sse($token, $stop, $last, '[DONE]'), gate('late')) },
    late_close => sub { (sse($token, $stop, $last, '[DONE]'),
                         gate('late_close')) },
    held     => sub { (sse(": a\n\n", $role), gate('held'),
                       sse($token, $stop, '[DONE]')) },
    held_half => sub { (sse(": a\n\n"), chunk('data: {"choices":[{"index":0,'),
                        gate('held_half'), chunk("\"delta\":{}}]}\n\n"),
                        sse($token, $stop, '[DONE]')) },
    held_error => sub { (sse(": a\n\n", $role), gate('held_error'), sse($error)) },
);

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $name = $req->{headers}{'x-case'};
    return $case{$name}->() if $case{$name};
    return $good{$name}[1]->() if $good{$name};
    return $gate{$name}->();
});
my $q = LLM::Fake->openai;

my $gw = LLM::Nginx->new(
    forget => 1, vars => { P => $p, Q => $q },
    access_format => '$http_x_tag|$status|$llm_attempts|$llm_stream_end'
        . '|$llm_usage_source|$llm_cache_status|$llm_total_tokens',
    http => <<'CONF');
    upstream pool { server 127.0.0.1:%%P%%; keepalive 8; }
    llm_provider p { endpoint http://pool/v1; header x-case $http_x_case; }
    llm_provider one { endpoint http://127.0.0.1:%%P%%/v1; max_concurrency 1;
                       header x-case $http_x_case; }
    llm_provider q { endpoint http://127.0.0.1:%%Q%%/v1; }
    llm_model alone { target p; }
    llm_model one { target one; }
    llm_model both  { target p; target q backup; }

    llm_quota_zone z key=$http_x_tag tokens=10000/1h;

    server {
        listen 127.0.0.1:%%PORT%%;
        client_max_body_size 1m;
        llm_cache_scope shared;
        location /v1/ { llm_pass; llm_cache on; llm_quota z; }
        location /hold/v1/ { llm_pass; llm_hold_timeout 100ms; }
        location /meter/v1/ {
            llm_meter on;
            llm_cache on;
            llm_quota z;
            proxy_set_header x-case $http_x_case;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://pool/v1/;
        }
        location = /health { return 204; }
    }
CONF

$gw->expect_error(qr/cut its answer short/,
                  qr/upstream prematurely closed connection/);

my $tags = 0;

# A form where the operation takes nothing else.

sub question {
    my ($model, $case, $where) = @_;
    my ($api, $stream) = $case =~ /^(\w+) (~?)/ ? ($1, $2 ? 1 : 0)
                       : ($case eq 'terminal' ? 'responses' : 'chat', 1);
    my ($type, $body);

    if ($api =~ /^trans/) {
        $type = 'multipart/form-data; boundary=X';
        $body = join '', map {
            "--X\r\nContent-Disposition: form-data; name=\"$_->[0]\"\r\n\r\n"
            . "$_->[1]\r\n" } [ model => $model ],
            $stream ? [ stream => 'true' ] : (), [ user => ++$tags ];
        $body .= "--X--\r\n";

    } else {
        $type = 'application/json';
        $body = canon({ model => $model, temperature => 0, metadata => $case,
                        store => JSON::PP::false, seed => ++$tags,
                        ($stream ? (stream => JSON::PP::true) : ()),
                        ($stream && $api eq 'chat' ? (stream_options => {
                            include_usage => JSON::PP::true }) : ()) });
    }

    return (method => 'POST', path => ($where // '') . $PATH{$api},
            headers => [ [ 'Content-Type', $type ], [ 'X-Case', $case ],
                         [ 'X-Tag', "tag-$tags" ] ], body => $body);
}

sub logged {
    my ($line) = $gw->wait_log(qr/^tag-$tags\|/) =~ /\|(.*)/;
    return $line;
}

sub left { return $_[0]->header('x-ratelimit-remaining-tokens') }


# no answers

for my $case (sort keys %case) {
    my $other = $q->count;
    my $r = request($gw, question('both', $case));
    like(logged(), qr/^\d+\|p:bad_answer:\d+ms,q:\d+:\d+ms\|/,
         "REQ-22: $case: another provider is asked");
    is($q->count, $other + 1, '  once');

    $r = request($gw, question('alone', $case));
    ok($r->status >= 400 && $r->header('Content-Type') eq 'application/json'
       && ref $r->json->{error} eq 'HASH', '  with none left it is an error')
        or diag($r->raw);
    is(left($r), 10_000, '  and costs nothing');
    my ($provider) = $r->header('x-llm-provider');
    is($provider, 'p', '  of that provider');
    like(logged(), qr/^\d+\|p:bad_answer:\d+ms\|(?:-|error)\|none\|/,
         '  as the log says');

    next if $case =~ /cut/;             # nginx breaks off, as the provider

    $r = request($gw, question('alone', $case, '/meter'));
    is($r->status, 200, '  behind proxy_pass it passes');
    like(logged(), qr/\|(?:none|unknown)\|/, '  without usage');
    unlike($r->header('Cache-Status') // '', qr/stored|hit/, '  and uncached');
}


# answers

for my $case (sort keys %good) {
    my ($end) = @{ $good{$case} };
    my $other = $q->count;
    my $source = ($case =~ /audio$|transcriptions text/) ? qr/unknown/
               : ($end eq 'error') ? qr/estimated/ : qr/provider/;

    my $r = request($gw, question('both', $case));
    is($r->status, 200, "REQ-22: $case: it passes");
    is($r->header('x-llm-provider'), 'p', '  of the first provider');
    is($q->count, $other, '  the other one is not asked');
    like(logged(), qr/^200\|p:200:\d+ms\|$end\|$source\|/, '  its end is seen');

    my $plain = request($gw, question('alone', $case, '/meter'));
    like(logged(), qr/^200\|-\|$end\|$source\|/, '  behind proxy_pass, too');

    if ($end ne 'truncated') {
        is($r->body, $plain->body, '  and every byte is the same');
    }
}


# the hold

for my $case ('held', 'held_half') {
    my $c = LLM::Client->connect($gw);
    $c->send_request(question('both', $case, '/hold'));
    my $other = $q->count;
    $c->read_until(qr/: a\n\n/);
    my $r = $c->{response};
    is($r->status, 200, "llm_hold_timeout: $case: it is sent without output");
    unlike($r->body, qr/index/, '  but no part of an event')
        if $case eq 'held_half';
    $p->open_gate($case);
    is(($c->read_response->sse_data)[-1], '[DONE]', '  and goes on');
    $c->close;
    is($q->count, $other, '  without another provider');
    like(logged(), qr/^200\|p:200:\d+ms\|complete\|/, '  to its end');
}

{
    my $c = LLM::Client->connect($gw);
    $c->send_request(question('both', 'held_error', '/hold'));
    $c->read_until(qr/: a\n\n/);
    $p->open_gate('held_error');
    my $r = $c->read_response;
    $c->close;
    is(($r->sse_data)[-1], canon($error),
       'llm_hold_timeout: an error behind it passes');
    like(logged(), qr/^200\|p:200:\d+ms\|error\|none\|/, '  and costs nothing');
}


# the end

for my $case ('done', 'finish', 'terminal') {
    my $c = LLM::Client->connect($gw);
    my $before = $p->count;
    $c->send_request(question("one", $case), keepalive => 1);
    my $r = $c->read_response;
    is($r->clean_end, 1, "the end: $case: the response ends");
    like($r->body, $case eq 'done' ? qr/\[DONE\]\n\n\z/
                 : $case eq 'finish' ? qr/"total_tokens":7\}\}\n\n/
                                     : qr/completed[^\n]*\n\n\z/,
         '  with that event');

    my $again = request($gw, question('one', $case));
    is($again->status, 200, '  its slot is free');

    $c->send_request(method => 'GET', path => '/health', headers => []);
    is($c->read_response->status, 204, '  its connection takes a request');
    $c->close;

    my ($n) = map { $_->{conn} } ($p->requests)[$before];
    ok($p->closed_at($n), '  the provider\'s connection is closed');
}

{
    my $r = request($gw, question('alone', 'more'));
    is(($r->sse_data)[-1], '[DONE]', 'the end: an event behind it is dropped');
    like(logged(), qr/\|complete\|provider\|/, '  and changes nothing');

    my $c = LLM::Client->connect($gw);
    my $count = $p->connections;
    $c->send_request(question("alone", "late"), keepalive => 1);
    is($c->read_response->clean_end, 1,
       'the end: the last chunk is not waited for');
    is(left($c->{response}) > 0, 1, '  its quota is known');
    $p->open_gate('late');
    like(logged(), qr/\|complete\|provider\|/, '  the answer is complete');
    $c->close;

    request($gw, question('alone', 'chat document'));
    is($p->connections - $count <= 1, 1, '  its connection is kept');
}

{
    # the client's close does not end the wait for the last chunk

    my $c = LLM::Client->connect($gw);
    $c->send_request(question('alone', 'late_close'));
    $c->read_response;
    $c->close;
    get($gw, '/health') for 1 .. 3;
    my ($conn) = map { $_->{conn} } ($p->requests)[-1];
    $p->open_gate('late_close');
    like(logged(), qr/\|complete\|provider\|/,
         'the end: the client closes before the last chunk comes');
    request($gw, question('alone', 'chat document'));
    is(($p->requests)[-1]{conn}, $conn, '  the connection is used again');
}

{
    # the next request on the same connection does not wait for it

    my $c = LLM::Client->connect($gw);
    $c->send_request(question('alone', 'done'), keepalive => 1);
    $c->read_response;
    $c->send_request(method => 'GET', path => '/health', headers => []);
    my $r = $c->read_response;
    is($r->status, 204, 'the end: the next request is served');
    between($r->time_head - $r->time_sent, 0, 0.9, '  at once');
    $c->close;
}

$gw->done;
done_testing;
