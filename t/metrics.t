#!/usr/bin/perl

# llm_metrics: each client request moves its counters by one, however it ends
# and whatever way it takes; all workers count together, a reload forgets
# nothing, and what clients make up makes no series (REQ-41).

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;

my $KEY = 'sk-canary-metrics';
my $CLIENT = 'sk-canary-client';
my $CHAT = '/v1/chat/completions';

my %usage = (usage => {
    prompt_tokens => 10, completion_tokens => 5, total_tokens => 15,
    prompt_tokens_details => { cached_tokens => 4 },
    completion_tokens_details => { reasoning_tokens => 2 } });

my $token = { choices => [ { index => 0, delta => { content => 'x' } } ] };
my $finish = { choices => [ { index => 0, delta => {},
                              finish_reason => 'stop' } ] };

my %act = (
    ok      => sub { json({ fine(), %usage }) },
    bare    => sub { json({ fine() }) },
    stream  => sub { sse($token, $finish, { choices => [], %usage },
                         '[DONE]') },
    cut     => sub { (sse($token), fin) },
    open    => sub { (sse($token), hang) },
    silent  => sub { hang },
    rst     => sub { rst },
    coded   => sub { (header('Content-Type', 'application/json'),
                      gzip('{"choices":[{}]}')) },
    junk    => sub { (header('Content-Type', 'application/json'),
                      body('{"choices":[')) },
    text    => sub { (header('Content-Type', 'text/plain'), body('hi')) },
);

sub answer {
    my ($how) = @_;
    return $how =~ /^\d+$/ ? (status($how), json({ error => { code => 1 } }))
                           : $act{$how}->();
}

my $p = LLM::Fake->new(answer => sub {
    return (close_after, answer($_[0]{json}{user} || 'ok'));
});
my $f = LLM::Fake->new(answer => sub { answer('ok') });

my $HTTP = <<'CONF';
llm_zone 1m;
llm_header_timeout 300ms;
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; key %%KEY%%; }
llm_provider f { endpoint http://127.0.0.1:%%F%%/v1; }
llm_provider refused { endpoint http://127.0.0.1:%%REFUSED%%/v1; }
llm_model m { target p; alias other-name; }
llm_model two { target p; target f; }
llm_model gone { target refused; }
llm_model local/* { target f *; }
limit_req_zone $server_port zone=one:64k rate=1r/m;
server {
    listen 127.0.0.1:%%PORT%%;
    location /v1/ { llm_pass; }
    location /again/ {
        llm_pass;
        llm_intercept_errors on;
        error_page 429 = @cheap;
        error_page 503 = /elsewhere;
        error_page 500 = /plain/chat/completions;
    }
    location @cheap { llm_pass local/cheap; }
    location /elsewhere { return 200 "sorry"; }
    location /denied/ { llm_pass; deny all; }
    location /limited/ { llm_pass; limit_req zone=one; }
    location /plain/ { llm_meter on; proxy_pass http://127.0.0.1:%%P%%; }
    location /none/ { proxy_pass http://127.0.0.1:%%P%%; }
    location = /metrics { llm_metrics; }
    location = /if-metrics { if ($arg_x) { llm_metrics; } }
    location = /if-inside { llm_metrics; if ($arg_x) { set $a b; } }
    location = /except-metrics { limit_except HEAD { allow all; }
                                 llm_metrics; }
    location /metrics/below {
        llm_metrics;
        location /metrics/below/x { return 404; }
    }
}
CONF

my %vars = (P => $p, F => $f, REFUSED => LLM::Fake->refused, KEY => $KEY);

my $gw = LLM::Nginx->new(
    vars => \%vars, http => $HTTP,
    access_format => '$http_x_tag|$status|$llm_operation');

$gw->expect_error(qr/connect\(\) failed \(111/, qr/upstream timed out/,
                  qr/prematurely closed/, qr/Connection reset by peer/,
                  qr/access forbidden by rule/, qr/limiting requests/,
                  qr/no live upstreams/, qr/cut its answer short/);

my $tag = 0;

# the access log is written after the charge is settled
sub ask {
    my ($model, $how, %opt) = @_;
    my $path = delete $opt{path} // $CHAT;
    my $r = post_json($gw, $path, { model => $model, user => $how, %opt },
        headers => [ [ 'X-Tag', ++$tag ],
                     [ Authorization => "Bearer $CLIENT" ] ]);
    $gw->wait_log(qr/^$tag\|/);
    return $r;
}

sub counts {
    my ($name, $what, $expected) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $moved = moved($gw, $what);
    is_deeply($moved, $expected, $name) or diag(explain($moved));
}

sub timed { return map { ("$_ @_" => 1) } 'duration_seconds_count' }

sub first {
    return map { ("$_ @_" => 1) } 'duration_seconds_count',
                                  'ttft_seconds_count';
}

sub tokens {
    my ($pair) = @_;
    return ("tokens_total $pair prompt" => 10, "tokens_total $pair cached" => 4,
            "tokens_total $pair completion" => 5,
            "tokens_total $pair reasoning" => 2);
}


# The page

{
    my $r = get($gw, '/metrics');
    is($r->status, 200, 'a page before any request');
    is($r->header('Content-Type'), 'text/plain; version=0.0.4', '  its type');
    my $m = parse_metrics($r->body);
    is_deeply(counted($m), { metrics_dropped_total => 0 },
              '  nothing is counted on it');
    is($m->{'provider_state p'}, 1, '  every provider is up');
    is($m->{'provider_inflight f'}, 0, '  and nothing runs there');
    is(scalar(() = $r->body =~ /^# TYPE /mg), 21, '  every family is there');

    is_deeply(moved($gw, sub { get($gw, '/metrics') }), {},
              '  reading it counts nothing');

    my $head = LLM::Client::request($gw, method => 'HEAD',
                                    path => '/metrics');
    is($head->status, 200, 'HEAD');
    is($head->header('Content-Length'), length $r->body, '  with its length');
    is($head->body, '', '  and no body');
    is(LLM::Client::request($gw, method => 'POST', path => '/metrics',
                            body => 'x')->status, 405, 'POST is refused');
    is(get($gw, '/if-metrics?x=1')->status, 200, 'llm_metrics in an if');
    is(get($gw, '/if-inside?x=1')->status, 200, '  an if beside it');
    is(get($gw, '/except-metrics')->status, 200, '  limit_except beside it');
    is(get($gw, '/metrics/below/x')->status, 404, '  it is not inherited');
}


# Each request once

counts('an answer', sub { ask('m', 'ok') }, {
    'requests_total chat m p 2xx' => 1, 'attempts_total p 200' => 1,
    first('m p'), tokens('m p') });

counts('an answer without usage', sub { ask('m', 'bare') }, {
    'requests_total chat m p 2xx' => 1, 'attempts_total p 200' => 1,
    first('m p') });

counts('an alias counts as its model', sub { ask('other-name', 'bare') }, {
    'requests_total chat m p 2xx' => 1, 'attempts_total p 200' => 1,
    first('m p') });

counts('a pattern counts as it is written',
       sub { ask('local/llama', 'ok', path => '/v1/embeddings') }, {
    'requests_total embeddings local/* f 2xx' => 1, first('local/* f'),
    'attempts_total f 200' => 1, tokens('local/* f') });

counts('a stream', sub { ask('m', 'stream', stream => JSON::PP::true()) }, {
    'requests_total chat m p 2xx' => 1, 'attempts_total p 200' => 1,
    first('m p'), tokens('m p') });

counts('a stream that is cut',
       sub { ask('m', 'cut', stream => JSON::PP::true()) }, {
    'requests_total chat m p 2xx' => 1, 'attempts_total p 200' => 1,
    first('m p') });

counts('a provider\'s 400', sub { ask('m', 400) }, {
    'requests_total chat m p 4xx' => 1, 'attempts_total p 400' => 1,
    first('m p') });

counts('a rare status is its class', sub { ask('m', 418) }, {
    'requests_total chat m p 4xx' => 1, 'attempts_total p 4xx' => 1,
    first('m p') });

counts('a provider\'s 503', sub { ask('m', 503) }, {
    'requests_total chat m p 5xx' => 1, 'attempts_total p 503' => 1,
    first('m p') });

counts('a failover counts both attempts, and one request',
       sub { ask('two', 503) }, {
    'requests_total chat two f 2xx' => 1, 'attempts_total p 503' => 1,
    'attempts_total f 200' => 1, first('two f'), tokens('two f') });

counts('no connection', sub { ask('gone', '') }, {
    'requests_total chat gone refused 5xx' => 1, timed('gone refused'),
    'attempts_total refused connect' => 1 });

counts('a timeout', sub { ask('m', 'silent') }, {
    'requests_total chat m p 5xx' => 1, 'attempts_total p timeout' => 1,
    timed('m p') });

counts('a reset', sub { ask('m', 'rst') }, {
    'requests_total chat m p 5xx' => 1, 'attempts_total p reset' => 1,
    timed('m p') });

counts('a coded answer cannot be read', sub { ask('m', 'coded') }, {
    'requests_total chat m p 2xx' => 1, 'attempts_total p 200' => 1,
    'usage_unknown_total p' => 1, first('m p') });

counts('no such model', sub { ask('made-up', '') }, {
    'requests_total chat other none 4xx' => 1, timed('other none') });

counts('no JSON', sub {
    post_json($gw, $CHAT, '{', headers => [ [ 'X-Tag', ++$tag ] ]);
    $gw->wait_log(qr/^$tag\|/);
}, { 'requests_total chat other none 4xx' => 1, timed('other none') });

counts('no such operation', sub { ask('m', '', path => '/v1/nothing') }, {
    'requests_total other other none 4xx' => 1, timed('other none') });

counts('GET models', sub { get($gw, '/v1/models') }, {
    'requests_total models other none 2xx' => 1, timed('other none') });

counts('no location of ours', sub { ask('m', 'ok', path => '/none/' ) }, {});


# Refused before admission

counts('denied', sub { ask('m', '', path => "/denied$CHAT") }, {
    'requests_total chat other none 4xx' => 1, timed('other none') });
like($gw->access_log, qr/^$tag\|403\|chat$/m, '  with its operation logged');

ask('local/x', '', path => "/limited$CHAT");
counts('limited', sub { ask('m', '', path => "/limited$CHAT") }, {
    'requests_total chat other none 5xx' => 1, timed('other none') });


# Internal redirects: one client request

counts('error_page 429 = @cheap counts once',
       sub { ask('m', 429, path => "/again$CHAT") }, {
    'requests_total chat local/* f 2xx' => 1, 'attempts_total p 429' => 1,
    'attempts_total f 200' => 1, first('local/* f'), tokens('local/* f') });

counts('error_page to a location of nobody\'s too',
       sub { is(ask('m', 503, path => "/again$CHAT")->body, 'sorry',
                '  (it answers)') }, {
    'requests_total chat m p 2xx' => 1, 'attempts_total p 503' => 1,
    timed('m p') });

counts('error_page to a metered one', sub { ask('m', 500,
                                                path => "/again$CHAT") }, {
    'requests_total chat m p 5xx' => 1, 'attempts_total p 500' => 1,
    timed('m p') });


# llm_meter

counts('a metered proxy_pass', sub { ask('m', 'ok',
                                         path => '/plain/chat/completions') },
    { 'requests_total chat other none 2xx' => 1, first('other none'),
      tokens('other none') });

counts('  a metered answer that is no JSON',
       sub { ask('m', 'text', path => '/plain/chat/completions') }, {
    'requests_total chat other none 2xx' => 1, first('other none'),
    'usage_unknown_total none' => 1 });

counts('  a metered stream', sub { ask('m', 'stream',
                                       path => '/plain/chat/completions') },
    { 'requests_total chat other none 2xx' => 1, first('other none'),
      tokens('other none') });


# Clients that go, and what is in flight

sub start {
    my ($how, $stream) = @_;
    my $before = $p->count;
    my $c = LLM::Client->connect($gw);
    $c->send_request(LLM::Client::json_request($CHAT, {
        model => 'm', user => $how,
        $stream ? (stream => JSON::PP::true()) : () },
        headers => [ [ 'X-Tag', ++$tag ] ]));
    $p->wait_requests($before + 1);
    return $c;
}

counts('a client that goes before the answer', sub {
    start('silent')->close;
    $gw->wait_log(qr/^$tag\|499/);
}, { 'requests_total chat m p 4xx' => 1, 'attempts_total p none' => 1,
     timed('m p') });

{
    my @streams = map { start('open', 1) } 1 .. 3;
    $_->read_event for @streams;

    my $m = read_metrics($gw);
    is($m->{'provider_inflight p'}, 3, 'three streams are in flight');

    counts('a client that goes in the middle', sub {
        (pop @streams)->close;
        $gw->wait_log(qr/^$tag\|200/);
    }, { 'requests_total chat m p 2xx' => 1, 'attempts_total p 200' => 1,
         first('m p'), 'provider_inflight p' => -1 });

    ok($gw->reload, 'a reload over two of them');
    is(read_metrics($gw)->{'provider_inflight p'}, 2,
       '  they are still in flight');
    $_->close for @streams;
    ok(wait_for(sub { !read_metrics($gw)->{'provider_inflight p'} }, 3,
                'no attempt in flight'), '  none is left when they end');
}

is((grep { $_ } map { read_metrics($gw)->{"provider_inflight $_"} }
    qw(p f refused)), 0, 'nothing is in flight anywhere');


# Times

{
    my $before = read_metrics($gw);
    ask('m', 'silent');                               # 300 ms
    my $m = read_metrics($gw);
    my $at = sub { $m->{"duration_seconds_bucket m p $_[0]"}
                   - $before->{"duration_seconds_bucket m p $_[0]"} };
    is($at->('0.25'), 0, '300 ms are more than 0.25 s');
    is($at->('30'), 1, '  and less than 30');
    between($m->{'duration_seconds_sum m p'}
            - $before->{'duration_seconds_sum m p'}, 0.25, slow(5),
            '  in the sum they are what they are');
}


# Reload, and the size of the zone

{
    my $before = read_metrics($gw);
    delete @$before{grep { /inflight|_state/ } keys %$before};
    ok($gw->reload, 'a reload');
    my $m = read_metrics($gw);
    is_deeply({ map { $_ => $m->{$_} } keys %$before }, $before,
              '  keeps every counter');

    ok($gw->reload(http => $HTTP =~ s/llm_zone 1m/llm_zone 2m/r),
       'a reload with another size');
    is_deeply(counted(read_metrics($gw)), { metrics_dropped_total => 0 },
              '  starts empty');
    counts('  and counts', sub { ask('m', 'bare') }, {
        'requests_total chat m p 2xx' => 1, 'attempts_total p 200' => 1,
        first('m p') });
}

no_canary(get($gw, '/metrics')->body, $KEY, $CLIENT);
$gw->done;


# Two workers, notices

{
    my $two = LLM::Nginx->new(vars => \%vars, http => $HTTP, workers => 2,
                              error_log => 'notice',
                              events => 'accept_mutex off;',
                              access_format => '$pid $llm_operation');
    my (%by, $sent);
    for (1 .. 200) {
        $sent += 4;
        my @c = map { LLM::Client->connect($two) } 1 .. 4;
        $_->send_request(LLM::Client::json_request($CHAT,
            { model => 'local/x' })) for @c;
        $_->read_response for @c;
        $by{$_}++ for $two->access_log =~ /^(\d+) chat$/mg;
        last if keys %by == 2;
    }
    is(scalar(keys %by), 2, 'both of two workers have served');
    my $served;
    wait_for(sub {
        $served = () = $two->access_log =~ /^\d+ chat$/mg;
        return $served == $sent
               && read_metrics($two)->{'requests_total chat local/* f 2xx'}
                  == $sent;
    }, 3, 'the sum');
    is(read_metrics($two)->{'requests_total chat local/* f 2xx'}, $served,
       "  the page has the sum of both, $served");

    ok($two->reload(http => $HTTP =~ s/llm_zone 1m/llm_zone 512k/r),
       '  a reload with another size');
    like($two->error_log, qr/\[notice\].*zone "llm_zone" starts empty: its size was 1048576, now it is 524288/,
         '  is a notice');
    ok($two->reload, '  one with the same');
    is(scalar(() = $two->error_log =~ /starts empty/g), 1, '  is not');
    $two->done;
}


# REQ-41: what clients make up makes no series

{
    my $many = LLM::Nginx->new(vars => \%vars, http => <<'CONF',
llm_provider f { endpoint http://127.0.0.1:%%F%%/v1; }
llm_model m { target f; }
llm_model open/* { target f; }
server {
    listen 127.0.0.1:%%PORT%%;
    keepalive_requests 100000;
    location / { llm_pass; }
    location /plain/ { llm_meter on; return 204; }
    location = /metrics { llm_metrics; }
}
CONF
        access_format => '$status');

    my @methods = qw(GET POST PUT PATCH);
    my $burst = sub {
        my ($n, $c, $sent) = (shift, LLM::Client->connect($many), 0);
        while ($sent < $n) {
            my $x = join '', map { chr 97 + rand 26 } 1 .. 12;
            my $path = ($CHAT, "/$x/chat/completions", "/$x",
                        "/v1/models/$x", "/plain/$x")[ $sent % 5 ];
            my $model = ($x, "open/$x", 'm', "m$x")[ $sent / 5 % 4 ];
            $model = "no$x" unless $sent % 50 == 0;
            $c->send_request(LLM::Client::json_request($path,
                { model => $model, user => $x },
                headers => [ [ 'X-User', $x ] ], keepalive => 1,
                $sent % 5 > 2 ? (method => $methods[ rand 4 ]) : ()));
            my $r = $c->read_response;
            $sent++;
            $c = LLM::Client->connect($many)
                if ($r->header('Connection') // '') ne 'keep-alive';
        }
    };

    $burst->(500);
    my $before = read_metrics($many);
    $burst->(5_000);
    my $after = read_metrics($many);
    is_deeply([ sort keys %$after ], [ sort keys %$before ],
              '5,000 random models, users and paths make no series (REQ-41)');
    my $sum = 0;
    $sum += $after->{$_} for grep { /^requests_total/ } keys %$after;
    is($sum, 5_500, '  and each has counted');
    is($after->{metrics_dropped_total}, 0, '  nothing is dropped');
    between(length get($many, '/metrics')->body, 1000, 200 * 1024,
            '  the page is small');
    $many->done;
}


# The smallest zone, and more models than it holds

{
    my $models = join '', map { "llm_model model-$_ { target f; }\n" }
                          1 .. 300;
    my $small = LLM::Nginx->new(vars => \%vars, http => <<"CONF",
llm_zone 256k;
llm_provider f { endpoint http://127.0.0.1:%%F%%/v1; }
$models
server {
    listen 127.0.0.1:%%PORT%%;
    location /v1/ { llm_pass; }
    location = /metrics { llm_metrics; }
}
CONF
        access_format => '$status');

    my @failed = grep { $_ != 200 }
                 map { post_json($small, $CHAT, { model => "model-$_" })
                       ->status } 1 .. 300;
    is(scalar(@failed), 0, 'a zone that is full fails no request');
    my $m = read_metrics($small);
    cmp_ok($m->{metrics_dropped_total}, '>', 0, '  drops samples');
    is($m->{'requests_total chat model-1 f 2xx'}, 1, '  keeps what it has');
    is($m->{'attempts_total f 200'}, 300, '  and goes on counting there');

    my $requests = 0;
    $requests += $m->{$_} for grep { /^requests_total/ } keys %$m;
    my $answers = 0;
    $answers += $m->{$_} for grep { /^duration_seconds_count/ } keys %$m;
    is($m->{metrics_dropped_total}, 600 - $requests - $answers,
       '  every dropped sample is counted');
    is(scalar(() = $small->error_log =~ /llm_zone is full/g), 1,
       '  one line of the error log says so');
    is(scalar(() = $small->error_log =~ /no memory/g), 0, '  and none more');
    $small->done;
}


# What nginx -t says

for (
    [ 'too small' => 'llm_zone 16k;', qr/"llm_zone" .*is too small/ ],
    [ 'no size' => 'llm_zone much;', qr/"llm_zone" .*invalid value/ ],
    [ 'twice' => 'llm_zone 1m; llm_zone 1m;', qr/"llm_zone" .*is duplicate/ ],
    [ 'twice in a location' => 'server { location / { llm_metrics;
       llm_metrics; } }', qr/"llm_metrics" .*is duplicate/ ],
    [ 'with a parameter' => 'server { location / { llm_metrics x; } }',
      qr/invalid number of arguments in "llm_metrics"/ ],
    [ 'in a server' => 'server { llm_metrics; }', qr/is not allowed here/ ],
    [ 'beside llm_status' => 'server { location / { llm_metrics;
       llm_status; } }', qr/"llm_status" .*location of its own/ ],
    [ 'beside llm_pass' => 'llm_provider p { } llm_model m { target p; }
       server { location / { llm_metrics; llm_pass; } }',
      qr/"llm_pass" .*location of its own/ ],
) {
    my ($what, $http, $said) = @$_;
    my ($status, $text) = LLM::Nginx->check(http => $http);
    isnt($status, 0, "$what: nginx -t fails");
    like($text, $said, '  and says why');
}

# Shared memory only where it is used

sub shared {
    my ($nginx) = @_;
    no warnings 'portable';           # addresses have 64 bits
    return map { /^(\w+)-(\w+) \S+s .*zero/ ? hex($2) - hex($1) : () }
           split /\n/, slurp('/proc/' . ($nginx->worker_pids)[0] . '/maps');
}

for ([ 'llm_metrics;', 1 ], [ 'llm_status;', 1 ], [ 'return 204;', 0 ]) {
    my ($page, $zones) = @$_;
    my $nginx = LLM::Nginx->new(http => <<"CONF");
llm_zone 3m;
server { listen 127.0.0.1:%%PORT%%; location / { $page } }
CONF
    is(scalar(grep { $_ == 3 * 1024 * 1024 } shared($nginx)), $zones,
       "$page makes $zones zone");
    $nginx->done;
}

done_testing;


# without what is read from the records of the providers
sub counted {
    my ($m) = @_;
    return { map { $_ => $m->{$_} } grep { !/^provider_/ } keys %$m };
}
