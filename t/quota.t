#!/usr/bin/perl

# Quotas as a client sees them, kept in shared memory: a request is charged
# before it is sent, settled when it has ended, and what a quota has said is in
# the headers of its answer.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;

sub answer {
    my ($tokens) = @_;
    return { choices => [ { index => 0, finish_reason => 'stop',
                            message => { content => 'x' } } ],
             $tokens ? (usage => { prompt_tokens => $tokens - 1,
                                   completion_tokens => 1,
                                   total_tokens => $tokens }) : () };
}

# by the model's name: tNNN uses so many tokens
my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $json = $req->{json};
    my $model = $json ? $json->{model} // '' : '';

    return (status(500), json({ error => { message => 'no' } }))
        if $model eq 'fails';
    return (gate($json->{gate}), json(answer(5))) if $model eq 'waits';
    return (header('x-ratelimit-limit-requests', 77),
            header('x-ratelimit-limit-images', 5),
            json(answer($model =~ /^t(\d+)/ ? $1 : 0)));
});

my $dead = LLM::Fake->refused;

my $gw = LLM::Nginx->new(
    vars => { P => $p, DEAD => $dead }, workers => 2, forget => 1,
    access_format => '$status|$llm_quota_status|$llm_quota_zone|'
                     . '$http_x_claim',
    http => <<'CONF');
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_provider dead { endpoint http://127.0.0.1:%%DEAD%%/v1; }
    llm_model default { target p; }
    llm_model dead { target dead; }

    llm_quota_zone requests key=$http_x_who requests=3/1h;
    llm_quota_zone tokens key=$http_x_who tokens=1k/1h;
    llm_quota_zone slots key=$http_x_who concurrency=2;
    llm_quota_zone day key=$http_x_who tokens=2k/day;
    llm_quota_zone soon key=$http_x_who requests=2/1s;
    llm_quota_zone soonest key=$http_x_who requests=2/10s tokens=1k/1h;
    llm_quota_zone all key=all requests=1000/1h;
    llm_quota_zone var key=$http_x_who tokens=$http_x_tokens/1h
                       requests=$http_x_requests/1h;

    server {
        listen 127.0.0.1:%%PORT%%;
        location /requests/ { llm_quota requests; llm_pass; }
        location /tokens/ { llm_quota tokens; llm_pass; }
        location /declared/ {
            llm_quota tokens;
            llm_quota_output declared;
            llm_pass;
        }
        location /slots/ { llm_quota slots; llm_pass; }
        location /day/ { llm_quota day; llm_pass; }
        location /soon/ { llm_quota soon; llm_pass; }
        location /soonest/ {
            llm_quota soonest;
            llm_quota_output declared;
            llm_pass;
        }
        location /both/ { llm_quota tokens requests; llm_pass; }
        location /shadow/ { llm_quota requests shadow; llm_pass; }
        location /var/ { llm_quota var; llm_pass; }
        location /varshadow/ { llm_quota var shadow; llm_pass; }
        location /cheap/ {
            llm_quota tokens;
            llm_intercept_errors on;
            error_page 500 = @cheap;
            llm_pass;
        }
        location @cheap { llm_quota tokens; llm_pass t7; }
        location = /metrics { llm_metrics; }
    }
    server {
        listen 127.0.0.1:%%PORT_1%%;
        llm_quota tokens requests all;
        location / { proxy_pass http://127.0.0.1:%%P%%; }
        location /off/ { llm_quota off; proxy_pass http://127.0.0.1:%%P%%; }
        location /dead/ { proxy_pass http://127.0.0.1:%%DEAD%%; }
    }
CONF
$gw->expect_error(qr/connect\(\) failed \(111/, qr/quota_zone "\w+" is empty/,
                  qr/invalid (tokens|requests) ".*" of llm_quota_zone/);

my $n = 0;

# answer and log line of one request; who is charged is the test's own
sub logged {
    my ($where, $who, $model, %opt) = @_;
    my $claim = 'c' . ++$n;
    my $r = post_json($gw, "$where/v1/chat/completions",
        { model => $model, messages => [ { role => 'user', content => 'Hi' } ],
          %{ $opt{body} || {} } },
        headers => [ $who ? [ 'X-Who', $who ] : (), [ 'X-Claim', $claim ],
                     @{ $opt{headers} || [] } ]);
    my $line = $gw->wait_log(qr/\|\Q$claim\E$/m);
    return ($r, $line);
}

sub ask { return (logged(@_))[0] }

sub left { return $_[0]->header("x-ratelimit-remaining-$_[1]") }
sub code { return $_[0]->json->{error}{code} }


# Requests

my ($r, $log);

for my $i (1 .. 3) {
    ($r, $log) = logged('/requests', 'joe', 't5');
    is($r->status, 200, "request $i of 3 is admitted");
    is(left($r, 'requests'), 3 - $i, '  and told what is left');
    like($log, qr/^200\|ok\|-\|/, '  $llm_quota_status is ok');
}
is($r->header('x-ratelimit-limit-requests'), 3,
   'REQ-44: an answer has our limit, not the provider\'s');
like($r->header('x-ratelimit-reset-requests'), qr/^(1h0m0s|59m59\.\d+s)$/,
     '  the time until all is back, as OpenAI writes it');
is($r->header('x-ratelimit-limit-images'), 5,
   '  and headers of the provider that ours do not replace');
is($r->header('x-ratelimit-limit-tokens'), undef,
   '  but none of a limit there is not');

($r, $log) = logged('/requests', 'joe', 't5');
is($r->status, 429, 'the fourth request is refused');
is_deeply($r->json->{error}, { message => 'The rate limit is reached. '
    . 'Try again after the time in Retry-After.',
    type => 'rate_limit_error', param => undef,
    code => 'rate_limit_exceeded' }, '  as OpenAI would');
like($log, qr/^429\|limited\|requests\|/, '  the log says by whom');
is(left($r, 'requests'), 0, 'REQ-44: the 429 has the headers as well');
ok($r->header('retry-after') >= 1199 && $r->header('retry-after') <= 1200,
   '  and Retry-After, until there is room for one');
is($r->header('x-should-retry'), 'false', '  too long to wait for');
is($p->count, 3, '  and nothing was sent');
is(ask('/requests', 'ann', 't5')->status, 200, 'REQ-17: others are not touched');

ask('/soon', 'joe', 't5') for 1 .. 2;
$r = ask('/soon', 'joe', 't5');
is($r->status, 429, 'a short window refuses, too');
is($r->header('retry-after'), 1, '  Retry-After is a second at least');
my $ms = $r->header('retry-after-ms');
ok($ms > 0 && $ms <= 500, '  retry-after-ms is exact');
is($r->header('x-should-retry'), undef, '  and it is worth waiting for');
select undef, undef, undef, $ms / 1000;
is(ask('/soon', 'joe', 't5')->status, 200,
   'REQ-44: who has waited so long is admitted');


ask('/soonest', 'two', 't900', body => { max_tokens => 900 });
ask('/soonest', 'two', 't5', body => { max_tokens => 1 });
$r = ask('/soonest', 'two', 't0', body => { max_tokens => 900 });
ok($r->header('retry-after') > 1000, 'REQ-44: of two limits that refuse the '
   . 'longer wait is told');


# Tokens

$r = ask('/tokens', 'joe', 't10');
is($r->status, 200, 'REQ-16: a request without max_tokens is admitted where '
                    . 'less than the usual is left');
is(left($r, 'tokens'), 0, '  by all there is');
$r = ask('/tokens', 'joe', 't10', body => { max_tokens => 20 });
is($r->status, 200, 'and what it did not use is back');
cmp_ok(left($r, 'tokens'), '>', 900, '  as its successor sees');
cmp_ok(left($r, 'tokens'), '<=', 1000 - 10 - 20, '  less what both needed');

ask('/tokens', 'joe', 't1500', body => { max_tokens => 20 });
$r = ask('/tokens', 'joe', 't10', body => { max_tokens => 20 });
is($r->status, 429, 'more than was reserved is a debt');
ok($r->header('retry-after') > 1800, '  that has to decay');

$r = ask('/tokens', 'big', 't10', body => { messages => [
    { role => 'user', content => 'word ' x 4000 } ] });
is($r->status, 400, 'REQ-16: a prompt that never fits is refused for good');
is(code($r), 'request_too_large_for_quota', '  with its own code');
is($r->header('retry-after'), undef, '  not to be retried');
is(left($r, 'tokens'), undef, '  and nothing is known of what is left');

$r = ask('/declared', 'big', 't10', body => { max_tokens => 5000 });
is(code($r), 'request_too_large_for_quota',
   'declared: what the client asks for has to fit');
is(ask('/declared', 'big', 't10', body => { max_tokens => 500 })->status, 200,
   '  and is reserved whole');
is(ask('/declared', 'big', 't10', body => { max_tokens => 500, n => 2 })->status,
   400, '  for each of n choices');
for my $bad ([ n => '5' ], [ n => -1 ], [ max_tokens => 1e99 ]) {
    is(ask('/declared', 'bad', 't10', body => { @$bad })->status, 400,
       "REQ-16: $bad->[0] of $bad->[1] is refused");
}
cmp_ok(left(ask('/declared', 'bad', 't10', body => { max_tokens => 10 }),
            'tokens'), '>', 950, '  without a reservation');


# How it ends

sub balance {
    my ($who) = @_;
    return 1000 - left(ask('/tokens', $who, 't0', body => { max_tokens => 0 }),
                       'tokens');
}
my $probe = balance('probe');

ask('/tokens', 'fails', 'fails');
is(balance('fails'), $probe, 'a provider\'s error costs no tokens');
ask('/tokens', 'dead', 'dead');
is(balance('dead'), $probe, 'nor does one that cannot be reached');
ask('/tokens', 'unknown', 't0', body => { max_tokens => 77 });
cmp_ok(balance('unknown') - 2 * $probe, '<=', 10,
       'an answer without usage costs the prompt and the output seen');
($r, $log) = logged('/cheap', 'cheap', 'fails');
is($r->status, 200, 'an internal redirect goes on with the reservation');
is(balance('cheap'), 7 + $probe, '  and charges what was used at last, once');

my $c = LLM::Client->connect($gw);
$c->send_request(method => 'POST', path => '/tokens/v1/chat/completions',
    headers => [ [ 'X-Who', 'gone' ], [ 'Content-Type', 'application/json' ] ],
    body => JSON::PP::encode_json({ model => 'waits', gate => 'never',
                                    max_tokens => 50, messages => [] }));
wait_for(sub { grep { ($_->{json}{gate} // '') eq 'never' } $p->requests }, 5,
         'request');
$c->close;
wait_for(sub { $gw->access_log =~ /^499\|ok/m }, 5, 'abort');
my $gone = balance('gone');
ok($gone >= 50 + $probe && $gone <= 50 + 2 * $probe + 10,
   'REQ-8: a client that goes while the answer is made pays what was reserved');


# Several zones, budgets, slots

for (1 .. 3) { ask('/both', 'two', 't1', body => { max_tokens => 1 }) }
my $before = left(ask('/tokens', 'two', 't1', body => { max_tokens => 1 }),
                  'tokens');
($r, $log) = logged('/both', 'two', 't1', body => { max_tokens => 1 });
is($r->status, 429, 'one zone of two refuses');
like($log, qr/\|limited\|requests\|/, '  the log names it');
is(left($r, 'requests') . ' ' . ($r->header('x-ratelimit-limit-tokens') // ''),
   '0 1000', '  the answer tells of both');
cmp_ok(left(ask('/tokens', 'two', 't1', body => { max_tokens => 1 }),
            'tokens'), '>=', $before - 20,
       'REQ-13: a refused request changes no counter');

ask('/day', 'joe', 't1990');
($r, $log) = logged('/day', 'joe', 't5', body => { max_tokens => 50 });
is($r->status, 429, 'a budget that is spent refuses');
is_deeply([ $r->json->{error}{type}, code($r) ],
          [ 'insufficient_quota', 'insufficient_quota' ], '  with its own code');
ok($r->header('retry-after') <= 86400, '  until the day is over');
$gw->wait_error_log(qr/llm quota zone "day": 50% of the tokens of this day/);
$gw->wait_error_log(qr/llm quota zone "day": 80% of the tokens of this day/);
unlike($gw->error_log, qr/"day": 100%/, 'alerts: at 50 and 80, not at 100');
is(() = $gw->error_log =~ /"day": 50%/g, 1, '  each once');

my @c;
for my $i (1 .. 3) {
    my $c = LLM::Client->connect($gw);
    $c->send_request(method => 'POST', path => '/slots/v1/chat/completions',
        headers => [ [ 'X-Who', 'joe' ],
                     [ 'Content-Type', 'application/json' ] ],
        body => JSON::PP::encode_json({ model => 'waits', gate => 'slots',
                                        messages => [] }));
    push @c, $c;
    last if $i == 3;
    wait_for(sub { $i == grep { ($_->{json}{gate} // '') eq 'slots' }
                   $p->requests }, 5, 'request');
}
$r = $c[2]->read_response;
is($r->status, 429, 'concurrency: the third at a time is refused');
is($r->header('retry-after'), 1, '  for a second');
is(ask('/slots', 'ann', 't1')->status, 200, '  and nobody else');
$p->open_gate('slots');
is($c[$_]->read_response->status, 200, '  the others are answered') for 0, 1;
is(ask('/slots', 'joe', 't1')->status, 200, '  and leave their slots');


# Variables

sub var { return ask('/var', $_[0], 't5', headers => $_[1]) }

is(var('v', [ [ 'X-Requests', 1 ] ])->status, 200, 'a limit is a variable');
is(var('v', [ [ 'X-Requests', 1 ] ])->status, 429, '  and applies');
is(var('v', [ [ 'X-Requests', '2' ] ])->status, 200,
   '  a plan that was raised counts against the same usage');
is(var('v', [])->status, 200, 'without a value there is no limit');
is(var('v', [ [ 'X-Requests', 0 ] ])->status, 429, '0 admits nothing');
$r = var('v', [ [ 'X-Requests', 'many' ] ]);
is($r->status . ' ' . code($r), '503 quota_unavailable',
   'what is no number refuses everybody');
is($r->header('retry-after'), 1, '  for now');
is(code(var('v', [ [ 'X-Tokens', '99999999999999999999' ] ])),
   'quota_unavailable', 'nor is what is too large one');
$r = var('', []);
is($r->status . ' ' . code($r), '403 no_quota_identity',
   'REQ-17: an empty key is refused');

for (1 .. 3) { ask('/shadow', 'sh', 't5') }
($r, $log) = logged('/shadow', 'sh', 't5');
is($r->status, 200, 'shadow refuses nothing');
like($log, qr/^200\|shadow\|requests\|/, '  but says what it would have done');
is(left($r, 'requests'), 0, '  with the headers as usual');
is(ask('/varshadow', 'sh', 't5', headers => [ [ 'X-Tokens', 'x' ] ])->status,
   200, '  whatever it lacks');
is(ask('/varshadow', '', 't5')->status, 200, '  or does not know');


# Plain proxy_pass

my $at = $gw->port(1);

sub plain {
    my ($path, $who, %opt) = @_;
    return request($at, method => $opt{method} // 'POST',
        path => $path, headers => [ [ 'X-Who', $who ], @{ $opt{headers} || [
        [ 'Content-Type', 'application/json' ] ] } ],
        defined $opt{body} ? (body => $opt{body}) : ());
}
my $chat = JSON::PP::encode_json({ model => 't30', max_tokens => 40,
                                   messages => [] });

$r = plain('/v1/chat/completions', 'pp', body => $chat);
is($r->status, 200, 'proxy_pass under llm_quota answers');
is(left($r, 'requests'), 2, '  with the headers');
my $was = left($r, 'tokens');
$r = plain('/v1/chat/completions', 'pp', body => $chat);
is(left($r, 'tokens'), $was - 30, '  and is settled by the usage it has seen');
$r = plain('/v1/chat/completions', 'pp2', body => '{"model":');
is($r->status . ' ' . code($r), '400 invalid_json',
   'a known operation has to be JSON');
is(plain('/v1/chat/completions', 'pp2', body => '{}')->status, 200,
   '  but needs no model');
is(plain('/dead/v1/chat/completions', 'pp3', body => $chat)->status, 502,
   'an upstream that is not there');
$r = plain('/v1/chat/completions', 'pp3', body => $chat);
is(left($r, 'tokens'), $was, '  costs no tokens');
is(left($r, 'requests'), 1, '  but is a request');

for my $op (qw(chat/completions completions embeddings responses messages
               images/generations audio/speech audio/transcriptions other)) {
    my $who = "op-$op";
    my @body = $op =~ /transcriptions/
        ? (headers => [ [ 'Content-Type', 'multipart/form-data; boundary=b' ] ],
           body => "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n"
                   . "\r\nw\r\n--b--\r\n")
        : (body => '{"model":"m","input":"x","max_tokens":9}');
    my @status = map { plain("/v1/$op", $who, @body)->status } 1 .. 4;
    is("@status", '200 200 200 429', "REQ-18: $op is refused when it is due");
}
is(plain('/x', 'get', method => 'GET')->status, 200, 'a GET elsewhere counts');
is(left(plain('/x', 'get', method => 'GET'), 'requests'), 1, '  as any other');
is(plain('/v1/models', 'models', method => 'GET')->header(
   'x-ratelimit-limit-requests'), 77, 'a list of models does not count');
is(plain('/v1/models/m', 'models', method => 'HEAD')->header(
   'x-ratelimit-limit-requests'), 77, '  nor HEAD of a model');
for my $method (qw(POST PUT PATCH DELETE)) {
    my @status = map { plain('/v1beta/models/m:generateContent',
                             "models-$method", method => $method,
                             body => '{"contents":[]}')->status } 1 .. 4;
    is("@status", '200 200 200 429',
       "$method of a path with /models/ is charged as any request");
}
is(plain('/off/x', 'op-other')->header('x-ratelimit-limit-tokens'), undef,
   'llm_quota off is off');


# Metrics

my $m = read_metrics($gw);
is($m->{'quota_total slots limited'}, 1, 'metrics: refused by zone');
is($m->{'quota_refused_total slots concurrency'}, 1, '  and by limit');
is($m->{'quota_total requests shadow'}, 1, '  would have been');
cmp_ok($m->{'quota_total requests admitted'}, '>', 3, '  admitted');
is($m->{'quota_alerts_total day 50'}, 1, '  alerts');
cmp_ok($m->{'quota_reserved_total day tokens'}, '>=',
       $m->{'quota_settled_total day tokens'} - 1990, '  amounts reserved');
is($m->{'quota_settled_total day tokens'}, 1990, '  and settled');

$gw->done;
done_testing;
