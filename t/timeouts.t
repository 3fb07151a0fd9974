#!/usr/bin/perl

# REQ-20: the five timeouts, each on its own phase: another provider gets the
# request where there is one, a sole one ends in 504, and what has begun is
# cut.  Counts and order are asserted; of times only that they are neither at
# once nor as long as the other limits.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $EVENT = { choices => [ { delta => { content => 'a' } } ] };
my $END = { choices => [ { delta => {}, finish_reason => 'stop' } ] };
my $LARGE = '{"choices":["' . 'x' x 100_000;

# What a provider does, by { user => ... }.

my %act = (
    hang     => sub { hang },
    late     => sub { (delay(0.5), json({ fine() })) },
    trickle  => sub { (split_every(1, gap => 0.05), header('X-Pad', 'x' x 99),
                       json({ fine() })) },
    interims => sub { (map({ (interim(100), delay(0.1)) } 1 .. 7), hang) },
    half     => sub { (header('Content-Type', 'application/json'),
                       chunk('{"choices":'), hang) },
    drip     => sub { (header('Content-Type', 'application/json'),
                       repeat_steps(0, chunk(' '), delay(0.05))) },
    large    => sub { (header('Content-Type', 'application/json'),
                       chunk($LARGE), hang) },
    large_drip => sub { (header('Content-Type', 'application/json'),
                         chunk($LARGE),
                         repeat_steps(0, chunk(' '), delay(0.05))) },

    # streams
    head     => sub { (header('Content-Type', 'text/event-stream'), head,
                       hang) },
    comment  => sub { (sse(": wait\n\n"), hang) },
    comments => sub { (map({ (sse(": wait\n\n"), delay(0.05)) } 1 .. 10),
                       sse($EVENT, $END, '[DONE]')) },
    roles    => sub { (sse({ choices => [ { index => 0, delta => {
                           role => 'assistant' } } ] }), delay(0.15),
                       sse(": wait\n\n"), delay(0.15),
                       sse($EVENT, $END, '[DONE]')) },
    late_sse => sub { (header('Content-Type', 'text/event-stream'), head,
                       delay(0.5), sse($EVENT, $END, '[DONE]')) },
    too_late => sub { (header('Content-Type', 'text/event-stream'), head,
                       delay(9), sse($EVENT, $END, '[DONE]')) },
    one      => sub { (sse($EVENT), hang) },
    half_event => sub { (sse($EVENT), chunk('data: {"choices"'), hang) },
    slow     => sub { (map({ (sse($EVENT), delay(0.1)) } 1 .. 8),
                       sse($END, '[DONE]')) },
    endless  => sub { repeat_steps(0, sse($EVENT), delay(0.05)) },
    big      => sub { (map({ sse({ %$EVENT, pad => 'x' x 50_000 }) } 1 .. 80),
                       sse($END, '[DONE]')) },
    fine     => sub { sse($EVENT, $END, '[DONE]') },
);

sub provider {
    my ($member) = @_;
    return LLM::Fake->new(
        early => sub {
            my ($req) = @_;
            return ($req->{mode} // '') eq 'deaf' ? (stop_reading, hang) : ();
        },
        answer => sub {
            my ($req) = @_;
            my $json = $req->{json};
            my $how = $json->{$member} // '';
            return $act{$how} ? $act{$how}->()
                 : $json->{stream} ? $act{fine}->() : json({ fine() });
        });
}

my $p = provider('user');
my $f = provider('second');
my $hole = LLM::Fake->blackhole;
my $mute = LLM::Fake->silent;

my $gw = LLM::Nginx->new(
    forget => 1, vars => { P => $p, F => $f, HOLE => $hole, MUTE => $mute },
    access_format => '$http_x_tag|$status $llm_stream_end $llm_attempts',
    http => <<'CONF');
client_max_body_size 16m;

llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
llm_provider f { endpoint http://127.0.0.1:%%F%%/v1; }
llm_provider hole { endpoint http://127.0.0.1:%%HOLE%%/v1; }
llm_provider mute { endpoint https://127.0.0.1:%%MUTE%%/v1; ssl_verify off; }
llm_provider patient {
    endpoint http://127.0.0.1:%%P%%/v1;
    header_timeout 20s; first_token_timeout 20s; idle_timeout 20s;
}
llm_provider hasty {
    endpoint http://127.0.0.1:%%P%%/v1;
    header_timeout 150ms; first_token_timeout 150ms; idle_timeout 150ms;
}
llm_provider hasty_hole {
    endpoint http://127.0.0.1:%%HOLE%%/v1; connect_timeout 150ms;
}
llm_provider brief { endpoint http://127.0.0.1:%%P%%/v1; timeout 200ms; }

llm_model p { target p; }
llm_model p_f { target p; target f backup; }
llm_model hole { target hole; }
llm_model hole_f { target hole; target f backup; }
llm_model mute { target mute; }
llm_model mute_f { target mute; target f backup; }
llm_model patient { target patient; }
llm_model hasty { target hasty; }
llm_model hasty_f { target hasty; target f backup; }
llm_model hasty_hole { target hasty_hole; }
llm_model brief { target brief; }
llm_model brief_f { target brief; target f backup; }

# one limit is small, the others are not
llm_connect_timeout 20s;
llm_header_timeout 20s;
llm_first_token_timeout 20s;
llm_idle_timeout 20s;

server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_pass; }
    location /connect/ { llm_pass; llm_connect_timeout 200ms; }
    location /header/ { llm_pass; llm_header_timeout 200ms; }
    location /first/ { llm_pass; llm_first_token_timeout 200ms; }
    location /idle/ { llm_pass; llm_idle_timeout 500ms; }
    location /total/ { llm_pass; llm_timeout 350ms; }
    location /both/ {
        llm_pass;
        llm_header_timeout 150ms;
        llm_first_token_timeout 150ms;
        llm_timeout 450ms;
    }
    location /relaxed/ {
        llm_pass;
        llm_header_timeout 200ms;
        llm_first_token_timeout 200ms;
    }
    location /tight/ {
        llm_pass;
        llm_header_timeout 400ms;
        llm_first_token_timeout 400ms;
        llm_idle_timeout 400ms;
    }
}
CONF

$gw->expect_error(qr/upstream timed out/, qr/llm_provider "\w+" cut/);

my $TRUE = JSON::PP::true();

# (answer, log line, requests of P, of F, seconds)

my $tag = 0;

sub ask {
    my ($dir, $model, $how, %opt) = @_;

    $tag++;
    my @before = map { $_->count } $p, $f;
    my $started = now();
    my $r = post_json($gw, "/$dir/chat/completions",
                      { model => $model, user => $how, %opt }, timeout => 8,
                      headers => [ [ 'X-Tag' => $tag ] ]);
    my $took = now() - $started;
    my $line = $gw->wait_log(qr/^$tag\|/) =~ s/^\d+\|//r;
    return ($r, $line, $p->count - $before[0], $f->count - $before[1], $took);
}

sub timed_out {
    my ($r, $name) = @_;
    is($r->status, 504, "$name: 504");
    is((eval { $r->json } || { error => {} })->{error}{code},
       'upstream_timeout', '  upstream_timeout');
    is($r->header('x-should-retry'), 'false', '  x-should-retry: false');
}


# Each byte of a stream starts the wait for its first output anew

for my $how ('comments', 'roles') {
    my ($r, $line, $n, $m, $took) = ask('first', 'p_f', $how, stream => $TRUE);
    is(($r->sse_data)[-1], '[DONE]', "a stream with $how before its output");
    is($m, 0, '  no other provider is asked');
    ok($took > 0.22, '  although it took longer than the limit');
    like($line, qr/^200 complete p:200:/, '  it is complete');
}


# Before the first byte

for (
    [ 'a SYN without an answer' => 'connect', 'hole', 'none' ],
    [ 'TLS without an answer' => 'connect', 'mute', 'none' ],
    [ 'silence' => 'header', 'p', 'hang' ],
    [ 'a header in drops' => 'header', 'p', 'trickle' ],
    [ 'interim answers only' => 'header', 'p', 'interims' ],
    [ 'half a JSON body' => 'header', 'p', 'half' ],
    [ 'a JSON body in drops' => 'header', 'p', 'drip' ],
    [ 'silence instead of a stream' => 'first', 'p', 'hang', 1 ],
    [ 'a stream\'s header and then silence' => 'first', 'p', 'head', 1 ],
    [ 'a comment and then silence' => 'first', 'p', 'comment', 1 ],
    [ 'a stream\'s first event too late' => 'first', 'p', 'too_late', 1 ],
) {
    my ($what, $dir, $model, $how, $stream) = @$_;
    my @stream = $stream ? (stream => $TRUE) : ();
    my $asked = $model eq 'p' ? 1 : 0;

    my ($r, $line, $n, $m, $took) = ask($dir, $model, $how, @stream);
    timed_out($r, "$what, no other provider");
    is($n, $asked, '  P was asked once') if $asked;
    between($took, 0.15, 4, '  at that limit and no other');
    like($line, qr/^504 - $model:timeout:\d{3,}ms$/,
         '  $llm_attempts has it');
    ok($p->closed_at, '  the connection is closed') if $asked;

    ($r, $line, $n, $m) = ask($dir, "${model}_f", $how, @stream);
    is($r->status, 200, '  with another provider: served');
    is("$n $m", "$asked 1", '  each was asked once (REQ-27)');
    like($line, qr/^200 \S+ $model:timeout:\d+ms,f:200:\d+ms$/,
         '  in this order');
}

{
    $p->mode('deaf');
    my $pad = 'x' x 12_000_000;
    my ($r, $line, $n, $m) = ask('header', 'p_f', 'none', pad => $pad);
    is($r->status, 200, 'P does not read the body: the next provider');
    is($m, 1, '  which gets it');
    ok(index(($f->requests)[-1]{body}, qq("$pad")) > 0, '  whole');
    ($r) = ask('header', 'p', 'none', pad => $pad);
    timed_out($r, '  no other provider');
    $p->mode('');
}


# A limit is for its phase only

for (
    [ 'llm_connect_timeout' => 'connect', 'late', 0 ],
    [ 'llm_header_timeout' => 'header', 'late_sse', 1 ],
    [ 'llm_first_token_timeout' => 'first', 'late', 0 ],
    [ 'llm_idle_timeout' => 'idle', 'late', 0 ],
    [ 'llm_idle_timeout' => 'idle', 'late_sse', 1 ],
    [ 'llm_header_timeout' => 'header', 'slow', 1 ],
    [ 'llm_first_token_timeout' => 'first', 'slow', 1 ],
    [ 'llm_idle_timeout' => 'idle', 'slow', 1 ],
) {
    my ($limit, $dir, $how, $stream) = @$_;
    my ($r) = ask($dir, 'p', $how, $stream ? (stream => $TRUE) : ());
    is($r->status, 200, "$limit does not count for \"$how\"");
    is($r->clean_end, 1, '  which ends well');
    is(($r->sse_data)[-1], '[DONE]', '  whole') if $stream;
}


# After the first byte

for my $how (qw(one half_event)) {
    my ($r, $line, $n, $m, $took) = ask('idle', 'p_f', $how, stream => $TRUE);
    is($r->status, 200, "a stream that stops ($how)");
    my @data = $r->sse_data;
    like($data[0], qr/"content":"a"/, '  its event arrives');
    is(JSON::PP::decode_json($data[-1])->{error}{code}, 'upstream_timeout',
       '  and an error event at llm_idle_timeout (REQ-3)');
    is((grep { $_ eq '[DONE]' } @data), 0, '  without [DONE]');
    is("$n $m", '1 0', '  nobody else is asked (REQ-4)');
    between($took, 0.15, 4, '  at that limit');
    like($line, qr/^200 truncated p:/, '  truncated');
    ok($p->closed_at, '  the connection is closed');
}

{
    my ($r, $line, $n, $m) = ask('idle', 'p_f', 'large');
    is($r->status, 200, 'a large JSON that stops');
    is($r->clean_end, 0, '  is cut');
    is("$n $m", '1 0', '  nobody else is asked');
}

{
    my $c = LLM::Client->connect($gw, rcvbuf => 4096);
    $c->send_request(LLM::Client::json_request('/tight/chat/completions',
        { model => 'p', user => 'big', stream => $TRUE }));
    ok($c->read_header, 'a client that does not read for a while');
    select undef, undef, undef, 0.9;
    my $r = $c->read_response;
    is($r->clean_end, 1, '  is no idle provider: a clean end');
    is(($r->sse_data)[-1], '[DONE]', '  of the whole stream');
    is(scalar($r->events), 82, '  with every event');
}


# All of it

{
    my ($r, $line, $n, $m, $took) = ask('total', 'p', 'hang');
    timed_out($r, 'llm_timeout');
    between($took, 0.25, 4, '  when it is over');

    ($r, $line, $n, $m) = ask('total', 'p_f', 'hang');
    timed_out($r, 'llm_timeout leaves no time for another provider');
    is("$n $m", '1 0', '  which is not asked');

    ($r) = ask('total', 'p', 'drip');
    timed_out($r, 'llm_timeout counts for a JSON body in drops');

    ($r) = ask('total', 'p', 'large_drip');
    is($r->status, 200, 'a large JSON body in drops');
    is($r->clean_end, 0, '  is cut');

    ($r, $line, $n, $m, $took) = ask('total', 'p_f', 'endless',
                                     stream => $TRUE);
    is($r->status, 200, 'llm_timeout counts for a stream where it is set');
    my @data = $r->sse_data;
    cmp_ok(scalar(@data), '>', 3, '  events arrive');
    is((eval { JSON::PP::decode_json($data[-1]) } || {})->{error}{code},
       'upstream_timeout', '  until it is over');
    is((grep { $_ eq '[DONE]' } @data), 0, '  without [DONE]');
    between($took, 0.25, 4, '  at that limit');
    is("$n $m", '1 0', '  nobody else is asked');
    ok($p->closed_at, '  the connection is closed');

    ($r) = ask('total', 'p', 'one', stream => $TRUE);
    is((eval { JSON::PP::decode_json(($r->sse_data)[-1]) } || {})
       ->{error}{code}, 'upstream_timeout', 'and for one that stops');
}


# The last candidate

for (
    [ 'a JSON answer' => 'hang', 'late' ],
    [ 'a stream' => 'hang', 'late_sse', stream => $TRUE ],
) {
    my ($what, $first, $second, @stream) = @$_;
    my ($r, $line, $n, $m) = ask('relaxed', 'p_f', $first, second => $second,
                                 @stream);
    is($r->status, 200, "$what of the last one may take longer");
    is("$n $m", '1 1', '  than that of the first one');
    is($r->clean_end, 1, '  it ends well');

    ($r) = ask('relaxed', 'p', 'hang', @stream);
    timed_out($r, '  a sole one may not');

    ($r, $line, $n, $m, my $took) = ask('both', 'p_f', $first,
                                        second => 'hang', @stream);
    timed_out($r, '  llm_timeout holds for the last one, too');
    is("$n $m", '1 1', '  each was asked once');
    between($took, 0.35, 4, '  in the end');
    like($line, qr/^504 - p:timeout:\d+ms,f:timeout:\d+ms$/, '  both failed');
}


# A provider's own limits

{
    my ($r) = ask('tight', 'patient', 'late');
    is($r->status, 200, 'a provider\'s longer header_timeout wins');
    ($r) = ask('tight', 'patient', 'late_sse', stream => $TRUE);
    is($r->status, 200, '  and first_token_timeout');

    ($r) = ask('v1', 'hasty', 'hang');
    timed_out($r, 'a provider\'s shorter header_timeout wins');
    ($r) = ask('v1', 'hasty', 'head', stream => $TRUE);
    timed_out($r, '  and first_token_timeout');
    ($r) = ask('v1', 'hasty', 'one', stream => $TRUE);
    is((eval { JSON::PP::decode_json(($r->sse_data)[-1]) } || {})
       ->{error}{code}, 'upstream_timeout', '  and idle_timeout');
    ($r) = ask('v1', 'hasty_hole');
    timed_out($r, '  and connect_timeout');

    ($r, my $line, my $n, my $m) = ask('v1', 'brief_f', 'hang');
    is($r->status, 200, 'a provider\'s timeout limits one attempt:'
                        . ' the next one follows');
    is("$n $m", '1 1', '  each was asked once');
    ($r) = ask('v1', 'brief', 'hang');
    timed_out($r, '  a sole one');
    ($r) = ask('v1', 'brief', 'endless', stream => $TRUE);
    is((eval { JSON::PP::decode_json(($r->sse_data)[-1]) } || {})
       ->{error}{code}, 'upstream_timeout', '  and cuts a stream');
}

$gw->done;
done_testing;
