#!/usr/bin/perl

# Where a provider's requests go: a literal address, an upstream block with
# all its balancing, a host name; how endpoint and operation make a path; and
# that connections are used again.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::TLSFront;

# What the fake does is in the request: { user => ... }.

sub fake {
    my ($me) = @_;
    return LLM::Fake->new(answer => sub {
        my ($req) = @_;
        my %say = (fine(), me => $me);
        my $how = ($req->{json} || {})->{user} // '';

        return (status($1), json({ error => { message => $me } }))
            if $how =~ /^(\d+)$/;
        return (status(429), chunk('{"error":'), delay(0.02), chunk('{}}'))
            if $how eq 'chunked error';
        return (status(503), body('x' x 70_000)) if $how eq 'long error';
        return (chunk('{"choices":'), delay(0.02), chunk('[]}'))
            if $how eq 'chunked';
        return (close_after, json(\%say)) if $how eq 'close';
        return (sse({ choices => [ { delta => { content => 'a' } } ] },
                    { choices => [ { finish_reason => 'stop' } ] }, '[DONE]'))
            if $how eq 'stream';
        return (sse({ choices => [ { delta => { content => 'a' } } ] }),
                gate('go'), sse('[DONE]')) if $how eq 'gate';
        return json(\%say);
    });
}

my ($p, $q) = (fake('p'), fake('q'));
my $down = LLM::Fake->refused;
my $tls = LLM::TLSFront->new(to => $p, names => ['api.openai.com']);

my %paths = (
    'no_path'   => '',          'slash'      => '/',
    'v1'        => '/v1',       'v1_slash'   => '/v1/',
    'v1_many'   => '/v1///',    'deep'       => '/a/b/openai/v1',
    'escaped'   => '/a%20b/v1', 'operation'  => '/my-chat-completions',
);
my $providers = join '', map {
    "llm_provider $_ { endpoint http://127.0.0.1:%%P%%$paths{$_}; }\n"
    . "llm_model $_ { target $_; }\n"
} sort keys %paths;

# by model: the endpoint and what else the provider has
my %more = (
    first     => 'endpoint http://127.0.0.1:%%P%%/v1',
    second    => 'endpoint http://127.0.0.1:%%P%%/v1',
    fallback  => 'endpoint http://127.0.0.1:%%Q%%/v1',
    upper     => 'endpoint HTTP://127.0.0.1:%%P%%/v1',
    name      => 'endpoint http://localhost:%%P%%/v1',
    host      => 'endpoint http://127.0.0.1:%%P%%/v1; '
                 . 'header Host elsewhere.test',
    early     => 'endpoint http://early/v1',
    late      => 'endpoint http://LATE/v1',
    half      => 'endpoint http://half/v1',
    backup    => 'endpoint http://backup_block/v1',
    least     => 'endpoint http://least/v1',
    kept      => 'endpoint http://kept/v1',
    dead      => 'endpoint http://dead/v1',
    default_e => 'ssl_trusted_certificate ' . $tls->ca_file,
);
$providers .= join '', map {
    "llm_provider $_ { $more{$_}; }\nllm_model $_ { target $_; }\n"
} sort keys %more;

my $gw = LLM::Nginx->new(
    forget => 1,
    vars => { P => $p, Q => $q, DOWN => $down, TLS => $tls },
    access_format => '$llm_model "$llm_attempts"', http => <<"CONF");
upstream early { server 127.0.0.1:%%P%%; server 127.0.0.1:%%Q%%; }
$providers
llm_model pair { target first; target fallback backup; }
upstream late { server 127.0.0.1:%%Q%%; }
upstream half { server 127.0.0.1:%%DOWN%%; server 127.0.0.1:%%Q%%; }
upstream backup_block {
    server 127.0.0.1:%%DOWN%%;
    server 127.0.0.1:%%Q%% backup;
}
upstream least {
    least_conn;
    server 127.0.0.1:%%P%%;
    server 127.0.0.1:%%Q%%;
}
upstream kept { server 127.0.0.1:%%Q%%; keepalive 4; }
upstream dead { server 127.0.0.1:%%DOWN%%; server 127.0.0.1:%%DOWN%%; }
upstream api.openai.com { server 127.0.0.1:%%TLS%%; }
server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_pass; }
}
CONF

sub ask {
    my ($model, $how) = @_;
    my %how = defined $how ? (user => $how) : ();
    $how{stream} = JSON::PP::true() if ($how // '') =~ /stream|gate/;
    return post_json($gw, '/v1/chat/completions',
                     { model => $model, %how });
}

sub last_request { my ($fake) = @_; return ($fake->requests)[-1] }


# Paths

my %expected = (no_path => '', slash => '', v1_slash => '/v1',
                v1_many => '/v1');

for my $model (sort keys %paths) {
    is(ask($model)->status, 200, "endpoint with \"$paths{$model}\": served");
    my $path = $expected{$model} // $paths{$model};
    is(last_request($p)->{path}, "$path/chat/completions",
       '  one slash joins it and the operation');
}

is(ask('upper')->status, 200, 'the scheme is read without regard to case');


# Host

ask('v1');
is(last_request($p)->{headers}{host}, '127.0.0.1:' . $p->port,
   'the Host of a literal address has its port');
is(ask('name')->status, 200, 'a host name is resolved at start');
is(last_request($p)->{headers}{host}, 'localhost:' . $p->port,
   '  and is the Host, with its port');
ask('host');
is(last_request($p)->{headers}{host}, 'elsewhere.test',
   'header Host of the provider wins');

SKIP: {
    my $eighty = eval { LLM::Fake->new(host => '127.0.0.83', port => 80) };
    skip('port 80 is not ours to take', 2) unless $eighty;
    my $at_80 = LLM::Nginx->new(http => <<'CONF');
llm_provider a { endpoint http://127.0.0.83:80/v1; }
llm_provider b { endpoint http://127.0.0.83/v1; }
llm_model a { target a; }
llm_model b { target b; }
server { listen 127.0.0.1:%%PORT%%; location / { llm_pass; } }
CONF
    for my $model (qw(a b)) {
        post_json($at_80, '/v1/chat/completions', { model => $model });
        is(last_request($eighty)->{headers}{host}, '127.0.0.83',
           'the scheme\'s own port is not in the Host, written or not');
    }
    $at_80->done;
}

SKIP: {
    my $v6 = eval { LLM::Nginx->new(module => 0, vars => { P => $p },
                                    http => <<'CONF') };
server {
    listen [::1]:%%PORT%%;
    location / {
        proxy_pass http://127.0.0.1:%%P%%;
        proxy_set_header Host $http_host;
    }
}
CONF
    skip('no IPv6 here', 2) unless $v6;
    my $six = LLM::Nginx->new(vars => { V6 => $v6 }, http => <<'CONF');
llm_provider a { endpoint http://[::1]:%%V6%%/v1; }
llm_model a { target a; }
server { listen 127.0.0.1:%%PORT%%; location / { llm_pass; } }
CONF
    is(post_json($six, '/v1/chat/completions', { model => 'a' })->status, 200,
       'an endpoint of an IPv6 address is reached');
    is(last_request($p)->{headers}{host}, '[::1]:' . $v6->port,
       '  with its brackets in the Host');
    $six->done;
    $v6->done;
}


# Upstream blocks

{
    my %by;
    $by{ ask('early')->json->{me} }++ for 1 .. 4;
    is_deeply(\%by, { p => 2, q => 2 },
              'an upstream block\'s servers take turns');
    is(last_request($q)->{headers}{host}, 'early',
       '  its name is the Host, without a port');
    is(last_request($q)->{path}, '/v1/chat/completions', '  with our path');
}

{
    is(ask('late')->json->{me}, 'q',
       'a block may come later in the file, in other letters');

    my @got = map { ask('half')->status } 1 .. 4;
    is("@got", '200 200 200 200',
       'a block with one server down: the other one serves');
    is(ask('backup')->json->{me}, 'q', 'a block\'s backup server serves');
    $gw->expect_error(qr/connect\(\) failed \(111/);

    my $r = ask('dead');
    is($r->status, 502, 'a block with all servers down');
    is($r->json->{error}{code}, 'upstream_error', '  is upstream_error');
    $r = ask('dead');
    is($r->status, 502, '  and stays so when nginx knows it');
    is($r->json->{error}{code}, 'upstream_error', '  with the same code');
    $gw->expect_error(qr/no live upstreams/);
}

{
    my $two = LLM::Nginx->new(vars => { P => $p, Q => $q }, http => <<'CONF');
upstream localhost { server 127.0.0.1:%%Q%%; }
llm_provider p { endpoint http://localhost:%%P%%/v1; }
llm_provider q { endpoint http://localhost/v1; }
llm_model p { target p; }
llm_model q { target q; }
server { listen 127.0.0.1:%%PORT%%; location / { llm_pass; } }
CONF
    my @got = map { post_json($two, '/v1/chat/completions',
                              { model => $_ })->json->{me} } qw(p q);
    is("@got", 'p q', 'a host with a port is not the block of that name');

    # where localhost is ::1, too
    $two->expect_error(qr/connect\(\) failed \(111.*\[::1\]/);
    $two->done;
}

{
    my $c = LLM::Client->connect($gw);
    $c->send_request(LLM::Client::json_request('/v1/chat/completions',
        { model => 'least', user => 'gate', stream => JSON::PP::true() }));
    ok($c->read_event, 'least_conn: one server is busy');
    my ($busy) = grep { last_request($_)->{json}{user} // '' eq 'gate'
                        and last_request($_)->{headers}{host} eq 'least' }
                 $p, $q;
    my $me = $busy == $p ? 'p' : 'q';
    my @got = map { ask('least')->json->{me} } 1 .. 3;
    is((grep { $_ eq $me } @got), 0, '  the other one gets all that comes');
    $busy->open_gate('go');
    $c->read_response;
    is($c->{response}->clean_end, 1, '  the stream ends well');
}

{
    my $before = $q->connections;
    ask('kept') for 1 .. 4;
    is($q->connections, $before + 1, 'keepalive of a block is used');
}

{
    my $before = $p->connections;
    my $r = ask('default_e');
    is($r->status, 200, 'without an endpoint, it is OpenAI\'s');
    my $req = last_request($p);
    is($req->{path}, '/v1/chat/completions', '  below /v1');
    is($req->{headers}{host}, 'api.openai.com', '  with its Host');
    is($req->{headers}{'x-test-sni'}, 'api.openai.com', '  and its name');
}


# Kept connections of a provider's own block

{
    my $before = $p->connections;
    ask('first');
    my $conn = last_request($p)->{conn};
    my %label = (429 => 'a 429', 400 => 'a 400', 500 => 'a 500',
                 404 => 'a 404', 'chunked' => 'a chunked answer',
                 'chunked error' => 'a chunked 429', stream => 'a stream');

    for my $how (sort keys %label) {
        my $mark = $gw->mark;
        ask('first', $how);
        # a stream's last chunk may come behind the end of the response
        $gw->wait_log(qr/^first /, since => $mark);
        ask('first');
        is(last_request($p)->{conn}, $conn,
           "the connection is used again after $label{$how} (REQ-27)");
    }

    for my $how (429, 500, 'chunked error') {
        is(ask('pair', $how)->status, $how =~ /5/ ? 500 : 429,
           "$how of both providers");
        ask('first');
        is(last_request($p)->{conn}, $conn,
           '  the first one\'s connection is used again');
    }

    is(ask('pair', 'long error')->status, 503,
       'an error too long to be kept');
    ask('first');
    isnt(last_request($p)->{conn}, $conn, '  its connection is not');

    $conn = last_request($p)->{conn};
    ask('second');
    isnt(last_request($p)->{conn}, $conn,
         'another provider has connections of its own');

    ask('first', 'close');
    my $closed = last_request($p)->{conn};
    is(ask('first')->status, 200, 'after Connection: close');
    isnt(last_request($p)->{conn}, $closed, '  a new one is made');
}

$gw->done;
done_testing;
