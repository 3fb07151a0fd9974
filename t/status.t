#!/usr/bin/perl

# llm_status: status.json below the location's prefix says what is true now,
# in JSON, also about its own errors, and names no endpoint and no key.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;

my $KEY = 'sk-canary-status';
my $HEADER = 'canary-header-status';
my $CHAT = '/v1/chat/completions';

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $how = $req->{json}{user} // '';
    return status($how) if $how =~ /^\d+$/;
    return hang if $how eq 'hang';
    return json({ fine() });
});

my $HTTP = <<'CONF';
llm_provider p { endpoint http://127.0.0.1:%%P%%/secret-path;
                 key %%KEY%%; header X-Own %%HEADER%%; }
llm_provider pp { endpoint http://127.0.0.1:%%REFUSED%%/v1; }
llm_model m { target pp never; target p x backup; alias one two; }
llm_model local/* { target p *; }
llm_model default { target p; }
server {
    listen 127.0.0.1:%%PORT%%;
    location /v1/ { llm_pass; }
    location /llm/ { llm_status; }
    location /bare { llm_status; }
    location = /exact/status.json { llm_status; }
    location ~ ^/regex/ { llm_status; }
    location /if/ { llm_status; if ($arg_x) { set $a b; } }
    location /except/ { llm_status; limit_except GET { allow all; } }
    location /denied/ { llm_status; deny all; }
    location /page/ { llm_status; error_page 404 405 = /page; }
    location = /page { return 200 "mine"; }
}
CONF

my $gw = LLM::Nginx->new(
    http => $HTTP, access_format => '$status $uri',
    vars => { P => $p, REFUSED => LLM::Fake->refused, KEY => $KEY,
              HEADER => $HEADER });
$gw->expect_error(qr/connect\(\) failed \(111/, qr/access forbidden/);

sub now_is { return get($gw, '/llm/status.json')->json }

sub ask { return post_json($gw, $CHAT, { model => $_[0], user => $_[1] // '' }) }


# The document

{
    my $r = get($gw, '/llm/status.json');
    is($r->status, 200, 'status.json below the prefix');
    is($r->header('Content-Type'), 'application/json', '  is JSON');
    my $doc = $r->json;
    my ($version) = slurp(root_dir() . '/include/ngx_http_llm.h')
        =~ /NGX_HTTP_LLM_VERSION\s+"(.*)"/;
    is($doc->{version}, $version, '  with our version');
    like($doc->{nginx}, qr/^1\.\d+\.\d+$/, '  and nginx\'s');
    my %well = (state => 'up', inflight => 0, ttft_ms => undef,
                cooldown_ms => 0, attempts => {},
                keys => [ { index => 0, state => 'up' } ]);
    is_deeply($doc->{providers}, [
        { %well, name => 'p', targets => [
            map { { model => $_, state => 'up' } } 'x', 'local/*',
                                                   'default' ] },
        { %well, name => 'pp', targets => [
            { model => 'never', state => 'up' } ] } ],
        '  every provider, in the order of the file');
    is_deeply($doc->{models}, [
        { model => 'm', aliases => [ 'one', 'two' ], targets => [
            { provider => 'pp', model => 'never' },
            { provider => 'p', model => 'x' } ] },
        { model => 'local/*', aliases => [], targets => [
            { provider => 'p', model => '*' } ] },
        { model => 'default', aliases => [], targets => [
            { provider => 'p' } ] } ], '  every model with its targets');
    is_deeply([ sort keys %$doc ], [ qw(models nginx providers version) ],
              '  and nothing else');

    my $head = LLM::Client::request($gw, method => 'HEAD',
                                    path => '/llm/status.json');
    is($head->status, 200, 'HEAD');
    is($head->header('Content-Length'), length $r->body, '  with its length');
    is($head->body, '', '  and no body');
}


# What it counts

{
    ask('m') for 1 .. 2;
    ask('x', 418);
    wait_for(sub { now_is()->{providers}[0]{attempts}{'4xx'} }, 3,
             'attempts');
    is_deeply([ map { [ @$_{qw(name inflight attempts)} ] }
                @{ now_is()->{providers} } ], [
        [ 'p', 0, { 200 => 2, '4xx' => 1 } ], [ 'pp', 0, { connect => 2 } ] ],
        'attempts by outcome, of each provider its own');

    my $n = $p->count;
    my $c = LLM::Client->connect($gw);
    $c->send_request(LLM::Client::json_request($CHAT,
        { model => 'x', user => 'hang' }));
    $p->wait_requests($n + 1);
    is(now_is()->{providers}[0]{inflight}, 1, 'one is in flight');
    $c->close;
    ok(wait_for(sub { now_is()->{providers}[0]{inflight} == 0 }, 3, 'none'),
       '  and none when its client has gone');
    is(now_is()->{providers}[0]{attempts}{none}, 1,
       '  an attempt without an outcome');

    ok($gw->reload, 'a reload');
    is(now_is()->{providers}[0]{attempts}{200}, 2, '  keeps the counts');
}


# Where it is

for my $path ('/bare/status.json', '/exact/status.json', '/regex/status.json',
              '/regex/deep/status.json', '/if/status.json?x=1',
              '/except/status.json', '/llm//status.json')
{
    is(get($gw, $path)->status, 200, "GET $path");
}

for my $path ('/llm/', '/llm/status', '/llm/status.json/', '/llm/x',
              '/llm/deep/status.json', '/llm/xstatus.json', '/bare',
              '/barestatus.json', '/regex/x', '/page/x')
{
    my $r = get($gw, $path);
    is($r->status, 404, "GET $path: 404");
    is($r->header('Content-Type'), 'application/json', '  in JSON');
    is($r->json->{error}{code}, 'unknown_operation', '  in OpenAI\'s shape');
}

for my $method (qw(POST PUT DELETE OPTIONS)) {
    my $r = LLM::Client::request($gw, method => $method, body => '{}',
                                 path => '/llm/status.json', keepalive => 1);
    is($r->status, 405, "$method: 405");
    is($r->header('Allow'), 'GET, HEAD', '  says what is allowed');
    is($r->json->{error}{code}, 'method_not_allowed', '  in JSON');
    is($r->clean_end, 1, '  whole');
}
is(LLM::Client::request($gw, method => 'POST', path => '/except/status.json',
                        body => 'x')->status, 405,
   'limit_except leads to it as well');
is(get($gw, '/denied/status.json')->status, 403, 'deny is heard');
is(post_json($gw, '/llm/x', {})->status, 404, 'no page: no method either');


# What it does not say

{
    my $text = get($gw, '/llm/status.json')->body;
    no_canary($text, $KEY, $HEADER, 'secret-path', '127.0.0.1');
    $gw->done;
}


# Without models, and many of them

{
    my $bare = LLM::Nginx->new(server => 'location / { llm_status; }');
    is_deeply(get($bare, '/status.json')->json->{providers}, [],
              'no provider: an empty list');
    $bare->done;

    my $many = join '', map {
        "llm_provider p$_ { endpoint http://127.0.0.1:1/; }\n"
        . "llm_model m$_" . 'x' x 200 . " { target p$_ " . 'y' x 250 . "; }\n"
    } 1 .. 300;
    my $big = LLM::Nginx->new(http => <<"CONF");
$many
server { listen 127.0.0.1:%%PORT%%; location / { llm_status; } }
CONF
    my $doc = get($big, '/status.json')->json;
    is(scalar(@{ $doc->{providers} }), 300, '300 providers');
    is($doc->{models}[299]{targets}[0]{model}, 'y' x 250, '  and models');
    $big->done;
}

for (
    [ 'with a parameter' => 'server { location / { llm_status x; } }',
      qr/invalid number of arguments in "llm_status"/ ],
    [ 'twice' => 'server { location / { llm_status; llm_status; } }',
      qr/"llm_status" .*is duplicate/ ],
    [ 'in http' => 'llm_status;', qr/is not allowed here/ ],
) {
    my ($what, $http, $said) = @$_;
    my ($status, $text) = LLM::Nginx->check(http => $http);
    isnt($status, 0, "$what: nginx -t fails");
    like($text, $said, '  and says why');
}

# How they are

{
    my $q = LLM::Fake->new(answer => sub {
        my ($req) = @_;
        my ($status, @header) = split / /, $req->{mode} || 200;
        return (delay(0.1), sse({ choices => [ { delta => { content => 'x' } } ] }, '[DONE]'))
            if $status eq 'stream';
        return (gate('open'), json({ fine() })) if $status eq 'gate';
        return json({ fine() }) if $status == 200;
        return (status($status), @header ? header(@header) : (),
                json({ error => { message => 'no' } }));
    });
    my $two = LLM::Nginx->new(vars => { Q => $q }, http => <<'CONF');
llm_provider q { endpoint http://127.0.0.1:%%Q%%/v1; key sk-one; key sk-two; }
llm_provider sole { endpoint http://127.0.0.1:%%Q%%/v1; key sk-three; }
llm_provider lost { endpoint http://127.0.0.1:%%Q%%/v1; key sk-four; }
llm_model m { target q x; }
llm_model s { target sole; }
llm_model l { target lost; }
server {
    listen 127.0.0.1:%%PORT%%;
    location /v1/ { llm_pass; }
    location /llm/ { llm_status; }
    location /metrics { llm_metrics; }
    location /admin/ { llm_admin; }
}
CONF
    my $state = sub {
        my ($model, $mode) = @_;
        $q->mode($mode) if defined $mode;
        post_json($two, $CHAT, { model => $model,
                                 ($mode // '') eq 'stream'
                                 ? (stream => JSON::PP::true) : () })
            if $model;
        my $r = get($two, '/llm/status.json');
        no_canary($r->body, map { "sk-$_" } qw(one two three four));
        return @{ $r->json->{providers} };
    };
    my $rested = sub {
        my ($i, $seconds, $name) = @_;
        wait_for(sub { get($two, '/llm/status.json')->json->{providers}[$i]
                           {state} ne 'cooling' }, $seconds, $name);
    };
    my $metric = sub {
        my ($name, $provider) = @_;
        return read_metrics($two)->{"provider_$name $provider"};
    };

    my (undef, undef, $lost) = $state->('l', '401');
    is($lost->{state}, 'cooling', 'the only key refused: cooling');
    between($lost->{cooldown_ms}, 50_000, 60_000, '  for a minute');
    my $minute = now() + 60;

    my (undef, $sole) = $state->('s', 'stream');
    between($sole->{ttft_ms}, 100, 2_000 * slow(),
            'the time to the first event of a stream');
    is($metric->('ttft_ewma_seconds', 'sole') * 1000, $sole->{ttft_ms},
       '  as in the metrics');
    cmp_ok($metric->('ttft_ewma_seconds', 'q'), '==', 0,
           '  which have 0 for none yet');

    (undef, $sole) = $state->('s', '429 Retry-After 20');
    is($sole->{state}, 'cooling', 'told to wait: cooling');
    between($sole->{cooldown_ms}, 15_000, 20_000, '  for as long as it said');
    is($sole->{keys}[0]{state}, 'up', '  its only key is not at fault');
    is($metric->('cooldowns_total', 'sole'), 1, '  counted');

    my ($r) = $state->('m', '429 Retry-After 30');
    is($metric->('cooldowns_total', 'q'), 2,
       'both keys were told to wait: two cooldowns of their provider');
    $two->resume('q');

    ($r) = $state->('m', '401');
    is($r->{state}, 'cooling', 'both keys refused: cooling');
    is(join(' ', map { $_->{state} } @{ $r->{keys} }), 'cooling cooling',
       '  as they are');
    between($r->{cooldown_ms}, 50_000, 60_000, '  for a minute');

    $two->resume('q');
    ($r) = $state->('m', '404');
    is($r->{state}, 'up', 'a model that is not there: the provider is up');
    is($r->{targets}[0]{state}, 'cooling', '  the target is not');

    LLM::Client::request($two, method => 'POST', body => '',
                         path => '/admin/providers/q/drain');
    ($r) = $state->();
    is($r->{state}, 'drained', 'drained');
    is($metric->('state', 'q'), 0, '  as in the metrics');

    $two->resume('sole');
    $state->('s', 503) for 1 .. 3;
    (undef, $sole) = $state->(undef, '');
    is($sole->{state}, 'cooling', 'an open breaker');
    between($sole->{cooldown_ms}, 5_000, 10_000, '  until the next probe');
    is($metric->('state', 'sole'), 0, '  as in the metrics');
    is($metric->('breaker_opens_total', 'sole'), 1, '  counted once');

    $rested->(1, 15, 'a probe is due');
    (undef, $sole) = $state->();
    is($sole->{state}, 'probing', '  then it is probing');
    is($sole->{cooldown_ms}, 0, '  from now on');
    is($metric->('state', 'sole'), 0.5, '  as in the metrics');
    (undef, $sole) = $state->('s', '');
    is($sole->{state}, 'up', '  its answer ends that');

    $rested->(2, $minute - now() + 5, 'a probe of the only key is due');
    cmp_ok(now(), '>', $minute - 2, '  after a minute');
    (undef, undef, $lost) = $state->();
    is("$lost->{state} $lost->{keys}[0]{state}", 'probing probing',
       '  then its provider is probing, too');
    is($metric->('state', 'lost'), 0.5, '  as in the metrics');

    my $n = $q->count;
    $q->mode('gate');
    my $c = LLM::Client->connect($two);
    $c->send_request(path => $CHAT, body => '{"model":"l"}');
    $q->wait_requests($n + 1);
    (undef, undef, $lost) = $state->();
    is("$lost->{state} $lost->{keys}[0]{state}", 'probing probing',
       '  and while the probe is out');
    is($lost->{inflight}, 1, '  which is in flight');
    $q->open_gate('open');
    is($c->read_response->status, 200, '  it is answered');
    (undef, undef, $lost) = $state->();
    is("$lost->{state} $lost->{keys}[0]{state}", 'up up', '  both are up');
    $two->done;
}

done_testing;
