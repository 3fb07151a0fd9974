#!/usr/bin/perl

# What travels: of the client's headers a provider sees the few that concern
# it and the provider's own, of the provider's headers a client sees all but
# those of the hop and those that would steer or name somebody (REQ-33).

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use LLM::H2;

# names that a provider must not be able to use
my @bad = (
    [ 'Set-Cookie', 'a=1' ], [ 'Set-Cookie', 'b=2' ], [ 'Server', 'theirs' ],
    [ 'X-Accel-Redirect', '/secret' ], [ 'X-Accel-Expires', '1000' ],
    [ 'X-Accel-Limit-Rate', '1' ], [ 'X-Accel-Buffering', 'yes' ],
    [ 'X-Accel-Charset', 'koi8-r' ], [ 'Keep-Alive', 'timeout=7' ],
    [ 'Connection', 'keep-alive' ], [ 'Proxy-Connection', 'keep-alive' ],
    [ 'Proxy-Authenticate', 'Basic' ], [ 'TE', 'trailers' ],
    [ 'Trailer', 'X-Sum' ], [ 'Upgrade', 'h2c' ],
    [ 'X-Request-Id', 'req_theirs' ], [ 'X-LLM-Provider', 'forged' ],
    [ 'X-LLM-Upstream-Request-Id', 'forged' ], [ 'Via', '1.1 theirs' ],
);

my @good = (
    [ 'openai-processing-ms', '12' ], [ 'openai-version', '2020-10-01' ],
    [ 'X-RateLimit-Remaining-Requests', '59' ], [ 'ETag', '"e"' ],
    [ 'Cache-Control', 'no-store' ],
    [ 'X-Twice', '1' ], [ 'X-Twice', '2' ], [ 'X-Empty', '' ],
    [ 'Last-Modified', 'Sat, 21 Nov 2020 00:00:00 GMT' ],
    [ 'Date', 'Sat, 21 Nov 2020 00:00:01 GMT' ],
    [ 'Accept-Ranges', 'bytes' ], [ 'Link', '</x>; rel=y' ],
);

my $text = 'x' x 5000;
my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $do = $req->{json}{do} // '';
    my @all = map { header(@$_) } @bad, @good;

    return (@all, json({ fine(), text => $text })) if $do eq 'json';
    return (status(404), @all, json({ error => { code => 1 } }))
        if $do eq 'error';
    return (status(503), @all, json({ error => { code => 1 } }))
        if $do eq 'busy';
    return (@all, sse({ choices => [ { delta => { content => 'x' } } ] }, '[DONE]')) if $do eq 'stream';
    return (header('X-Accel-Redirect', '@secret'), json({ fine() }))
        if $do eq 'named';
    return json({ fine() });
});

my $gw = LLM::Nginx->new(
    vars => { P => $p },
    access_format => '$request_id $status $llm_upstream_request_id '
                     . '$http_x_tag',
    http => <<'CONF');
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; key sk-ours; }
    llm_provider plain { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_provider root { endpoint http://127.0.0.1:%%P%%; }
    llm_provider slash { endpoint http://127.0.0.1:%%P%%/; }
    llm_provider deep { endpoint http://127.0.0.1:%%P%%/a/b/v1/; }
    llm_provider named { endpoint http://localhost:%%P%%/v1; }
    llm_provider upper { endpoint HTTP://127.0.0.1:%%P%%/V1; }
    llm_provider block { endpoint http://some-block/v1; key sk-block; }

    llm_provider own {
        endpoint http://127.0.0.1:%%P%%/v1;
        key sk-ours;
        header Authorization "Bearer sk-header";
        header Host own.test;
        header accept-encoding "gzip;q=0.1";
        header User-Agent gateway/1.0;
        header IDEMPOTENCY-KEY own-key;
        header X-Tenant own-tenant;
        header x-stainless-lang own-lang;
        header X-Own "a value, with: all; of it";
    }
    llm_provider empty {
        endpoint http://127.0.0.1:%%P%%/v1;
        key sk-ours;
        header Authorization "";
        header Accept-Encoding "";
        header User-Agent "";
        header Traceparent "";
        header X-None "";
    }
    llm_provider variable {
        endpoint http://127.0.0.1:%%P%%/v1;
        header X-Id $request_id;
        header X-Model "$llm_model to $llm_target_model";
        header X-Empty $http_x_unset;
        header Authorization $http_authorization;
        header X-Tenant "<$http_x_tenant>";
    }
    llm_model m { target p; }
    llm_model plain { target plain; }
    llm_model root { target root; }
    llm_model slash { target slash; }
    llm_model deep { target deep; }
    llm_model named { target named; }
    llm_model upper { target upper; }
    llm_model block { target block; }
    llm_model own { target own; }
    llm_model empty { target empty; }
    llm_model variable { target variable t-1; }
    llm_model both { target p; target plain; }

    upstream some-block { server 127.0.0.1:%%P%%; }

    server {
        listen 127.0.0.1:%%PORT%%;
        listen 127.0.0.1:%%PORT_1%% http2;
        llm_pass_header X-From-Server;

        location /v1/ { llm_pass; }
        location /pass/ { llm_pass_header X-Tenant x-more X-MORE2; llm_pass; }
        location /off/ { llm_provider_header off; llm_pass; }
        location /secret { internal; return 200 "the secret"; }
        location @secret { return 200 "the secret"; }
        location /keep/ { llm_pass; gzip on; gzip_types *; gzip_min_length 1; }
    }
CONF


# to the provider

my @travels = (
    [ 'Content-Type', 'application/json' ], [ 'Accept', 'text/event-stream' ],
    [ 'User-Agent', 'OpenAI/Python 1.99' ], [ 'OpenAI-Beta', 'assistants=v2' ],
    [ 'X-Stainless-Lang', 'python' ], [ 'x-stainless-retry-count', '0' ],
    [ 'x-stainless-anything', 'at all' ],
    [ 'anthropic-version', '2023-06-01' ], [ 'Anthropic-Beta', 'one,two' ],
    [ 'Idempotency-Key', 'idem-1' ],
    [ 'traceparent',
      '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' ],
    [ 'tracestate', 'a=b' ],
);

my @stays = (
    [ 'Authorization', 'Bearer sk-client' ], [ 'X-API-Key', 'sk-client' ],
    [ 'api-key', 'sk-client' ], [ 'Proxy-Authorization', 'Basic sk-client' ],
    [ 'x-goog-api-key', 'sk-client' ], [ 'Cookie', 'session=sk-client' ],
    [ 'Ocp-Apim-Subscription-Key', 'sk-client' ],
    [ 'X-Forwarded-For', '10.0.0.1' ], [ 'X-Forwarded-Host', 'a.test' ],
    [ 'X-Forwarded-Proto', 'https' ], [ 'Forwarded', 'for=10.0.0.1' ],
    [ 'X-Real-IP', '10.0.0.1' ], [ 'Via', '1.1 a' ],
    [ 'Origin', 'http://a.test' ], [ 'Referer', 'http://a.test/' ],
    [ 'Sec-Fetch-Mode', 'cors' ], [ 'X-User-Id', 'u' ],
    [ 'X-Request-Id', 'client-id' ], [ 'X-Client-Request-Id', 'id' ],
    [ 'OpenAI-Organization', 'org' ], [ 'OpenAI-Project', 'proj' ],
    [ 'Helicone-Auth', 'Bearer sk-client' ], [ 'X-Custom', 'c' ],
    [ 'X-Stainless', 'short' ], [ 'X-Stainless-', 'shortest' ],
    [ 'Accept-Encoding', 'gzip, br' ], [ 'Accept-Language', 'de' ],
    [ 'Range', 'bytes=0-1' ], [ 'If-None-Match', '*' ],
    [ 'If-Modified-Since', 'Sat, 21 Nov 2020 00:00:00 GMT' ],
    [ 'If-Match', '"x"' ], [ 'TE', 'trailers' ], [ 'Keep-Alive', '5' ],
    [ 'X-LLM-Provider', 'other' ], [ 'X-Tenant', 'acme' ],
    [ 'X-From-Server', 's' ], [ 'X-More', '1' ], [ 'X-More2', '2' ],
    [ 'Content-Language', 'en' ], [ 'X-Http-Method-Override', 'DELETE' ],
    [ 'X-Accel-Redirect', '/secret' ], [ 'Upgrade-Insecure-Requests', '1' ],
);

my @everything = (@travels, @stays);
my $here = '127.0.0.1:' . $p->port;
my @base = map { lc($_->[0]) . ": $_->[1]" } @travels;

sees('m', [ @base, 'x-from-server: s', "host: $here",
            'accept-encoding: identity', 'authorization: Bearer sk-ours' ],
     'of all that a client sends the provider sees what it may');
sees('plain', [ @base, 'x-from-server: s', "host: $here",
                'accept-encoding: identity' ],
     'REQ-33 without a key no Authorization is sent, the client\'s least');
sees('m', [ @base, "host: $here", 'accept-encoding: identity',
            'authorization: Bearer sk-ours', 'x-tenant: acme', 'x-more: 1',
            'x-more2: 2' ],
     'llm_pass_header adds names, its level replaces the one above', '/pass');
sees('own', [ (grep { !/^(?:user-agent|idempotency-key|x-stainless-lang)/ }
               @base),
              'authorization: Bearer sk-header', 'host: own.test',
              'accept-encoding: gzip;q=0.1', 'user-agent: gateway/1.0',
              'idempotency-key: own-key', 'x-tenant: own-tenant',
              'x-stainless-lang: own-lang', 'x-more: 1', 'x-more2: 2',
              'x-own: a value, with: all; of it' ],
     'header of the provider wins over all others', '/pass');
sees('empty', [ (grep { !/^(?:user-agent|traceparent)/ } @base),
               'x-from-server: s', "host: $here" ],
     'an empty header of the provider sends none');

{
    my $r = sees('variable', [ @base, 'x-from-server: s', "host: $here",
                               'accept-encoding: identity',
                               'x-model: variable to t-1', 'x-tenant: <acme>',
                               'authorization: Bearer sk-client' ],
                 'values have variables, an empty one sends none', '/v1',
                 qr/^x-id: /);
    is(($p->requests)[-1]{headers}{'x-id'}, $r->header('x-request-id'),
       '  $request_id among them');
}

{
    my $r = post_json($gw, '/v1/embeddings', { model => 'm' },
                      headers => [ map { [ uc $_->[0], $_->[1] ] }
                                   @everything ]);
    my $list = join "\n", names(($p->requests)[-1]);
    is($list, join("\n", sort 'content-length', 'host', 'accept-encoding',
                   'authorization', 'x-from-server',
                   map { lc $_->[0] } @travels),
       'the case of a name does not matter');

    post_json($gw, '/v1/embeddings', { model => 'm' }, headers => [
        [ 'Accept', 'a' ], [ 'Accept', 'b' ], [ 'X-API-Key', 'c' ],
        [ 'X-API-Key', 'd' ], [ 'X_API_Key', 'e' ] ]);
    is(join(' ', map { lc($_->[0]) . "=$_->[1]" }
            grep { $_->[0] =~ /^(?:accept|auth|x.api)/i }
            @{ ($p->requests)[-1]{header_list} }),
       'accept-encoding=identity authorization=Bearer sk-ours accept=a '
       . 'accept=b', 'given twice or not');

    post_json($gw, '/v1/embeddings', { model => 'm' });
    is(join(' ', names(($p->requests)[-1])), 'accept-encoding authorization '
       . 'content-length content-type host',
       'and what is not sent is not made');
}

SKIP: {
    skip LLM::H2->missing, 1 if LLM::H2->missing;
    LLM::H2::request($gw->port(1), path => '/v1/embeddings', method => 'POST',
                     body => '{"model":"m"}',
                     headers => [ grep { $_->[0] !~ /^TE$|Keep-Alive|^If/i }
                                  @everything ]);
    is(join("\n", names(($p->requests)[-1])),
       join("\n", sort 'content-length', 'host', 'accept-encoding',
            'authorization', 'x-from-server', map { lc $_->[0] } @travels),
       'HTTP/2 is no different');
}


# path and Host

for ([ m => '/v1/chat/completions', $here ],
     [ root => '/chat/completions', $here ],
     [ slash => '/chat/completions', $here ],
     [ deep => '/a/b/v1/chat/completions', $here ],
     [ upper => '/V1/chat/completions', $here ],
     [ named => '/v1/chat/completions', 'localhost:' . $p->port ],
     [ block => '/v1/chat/completions', 'some-block' ])
{
    my ($model, $path, $host) = @$_;
    post_json($gw, '/v1/x/y/chat/completions?api-key=sk-client&a=b#c',
              { model => $model });
    my $req = ($p->requests)[-1];
    is("$req->{method} $req->{path} $req->{version}", "POST $path HTTP/1.1",
       "$model: the endpoint's path, the operation and no query");
    is($req->{headers}{host}, $host, '  for the endpoint\'s host');
}

for my $operation (qw(chat/completions completions embeddings responses
                      moderations images/generations))
{
    post_json($gw, "/v1/$operation", { model => 'm' });
    is(($p->requests)[-1]{path}, "/v1/$operation", "$operation goes on as it");
}

SKIP: {
    my $at_80 = $> == 0 && eval {
        LLM::Fake->new(host => '127.0.0.77', port => 80,
                       answer => sub { json({ fine() }) });
    };
    skip 'port 80 cannot be had', 2 if !$at_80;

    my $gw = LLM::Nginx->new(server => 'location / { llm_pass; }',
                             http => <<'CONF');
    llm_provider implied { endpoint http://127.0.0.77; }
    llm_provider said { endpoint http://127.0.0.77:80/v1; }
    llm_model implied { target implied; }
    llm_model said { target said; }
CONF
    for my $model (qw(implied said)) {
        post_json($gw, '/completions', { model => $model });
        is(($at_80->requests)[-1]{headers}{host}, '127.0.0.77',
           "the default port, $model, is not in Host");
    }
    $gw->done;
}


# to the client

my %ours = map { $_ => 1 } qw(server date content-type content-length
                              connection transfer-encoding x-request-id
                              x-llm-provider x-llm-upstream-request-id);

for ([ json => 200 ], [ error => 404 ], [ busy => 503 ], [ stream => 200 ]) {
    my ($do, $status) = @$_;
    my $tag = "tag-$do";
    my $r = post_json($gw, '/v1/chat/completions',
        { model => 'm', do => $do, $do eq 'stream'
          ? (stream => JSON::PP::true()) : () },
        headers => [ [ 'X-Tag', $tag ], [ 'X-Request-Id', 'client-id' ],
                     [ 'If-None-Match', '"e"' ], [ 'Range', 'bytes=0-1' ],
                     [ 'If-Modified-Since',
                       'Sat, 21 Nov 2020 00:00:00 GMT' ] ]);
    is($r->status, $status, "REQ-33 $do: X-Accel-Redirect is ignored");
    unlike($r->body, qr/the secret/, '  the secret stays one');

    for (@bad) {
        my ($name, $value) = @$_;
        my @values = $r->header($name);
        ok(!(grep { $_ eq $value } @values)
           || lc $name eq 'connection', "  no $name: $value");
        is(scalar @values, 0, "  and no other")
            unless $ours{ lc $name } || $do eq 'stream' && /Buffering/i
                   || "$do$name" eq 'streamX-Accel-Buffering';
    }

    for my $name (grep { !($do eq 'stream' && /^(?:Cache-Control|Accept-R)/) }
                  sort keys %{ { map { $_->[0] => 1 } @good } })
    {
        is(join(',', $r->header($name)),
           join(',', map { $_->[1] } grep { $_->[0] eq $name } @good),
           "  $name passes");
    }

    my ($id, $logged, $theirs) = split / /, $gw->wait_log(qr/ $tag$/);
    is_deeply([ $r->header('x-request-id') ], [ $id ],
              '  x-request-id is $request_id, nobody else\'s');
    is_deeply([ $r->header('x-llm-upstream-request-id') ], [ 'req_theirs' ],
              '  the provider\'s has a name of its own');
    is($theirs, 'req_theirs', '  and a variable');
    is_deeply([ $r->header('x-llm-provider') ], [ 'p' ],
              '  the provider is named');
    like($r->header('Server'), qr/^nginx/, '  the server is nginx');
    unlike(join(',', $r->header('Content-Type')), qr/koi8/, '  its charset');
    is(scalar(my @types = $r->header('Content-Type')), 1, '  once');
    is(scalar(my @dates = $r->header('Date')), 1, '  and one Date');
    between($r->time_end - $r->time_sent, 0, 2, '  X-Accel-Limit-Rate is none');
}

{
    my $r = post_json($gw, '/v1/completions', { model => 'm', do => 'named' });
    is($r->status . $r->json->{text}, '200fine',
       'REQ-33 X-Accel-Redirect to a named location is ignored');
    is($r->header('X-Accel-Redirect'), undef, '  and not passed');
    is($r->header('x-llm-upstream-request-id'), undef,
       'where a provider names no id, none is passed');
}

{
    # both fail, and the first one's answer is what is left
    my $r = post_json($gw, '/v1/completions',
                      { model => 'both', do => 'busy' });
    is($r->status, 503, 'the last error of two');
    my @seen = map { lc $_->[0] } $r->headers;
    is((grep { /^x-accel|^set-cookie|^keep-alive|^upgrade/ } @seen), 0,
       '  has no header of the hop');
}

for my $do ('json', 'error', '') {
    my $r = post_json($gw, '/off/completions', { model => 'm', do => $do });
    is($r->header('x-llm-provider'), undef,
       "llm_provider_header off: no name, $do");
    like($r->header('x-request-id'), qr/^[0-9a-f]{32}$/, '  but our id');
}

{
    my $r = get($gw, '/v1/models', headers => [ [ 'X-Request-Id', 'mine' ] ]);
    is($r->header('x-llm-provider'), undef, 'the list of models is nobody\'s');
    like($r->header('x-request-id'), qr/^[0-9a-f]{32}$/, '  and has our id');
    is($r->header('Content-Type'), 'application/json', '  and is JSON');

    $r = post_json($gw, '/v1/completions', { model => 'unknown' });
    is($r->header('x-llm-provider'), undef,
       'an error before any provider, too');
}

$gw->expect_error(qr/llm_provider "\w+"/);

# where localhost is ::1, too
$gw->expect_error(qr/connect\(\) failed \(111.*\[::1\]/);
$gw->done;
done_testing;


# names and values, without the length
sub lines {
    my ($req) = @_;
    return sort map { lc($_->[0]) . ": $_->[1]" }
           grep { lc $_->[0] ne 'content-length' } @{ $req->{header_list} };
}

sub names { return sort map { lc $_->[0] } @{ $_[0]{header_list} } }


sub sees {
    my ($model, $expected, $what, $path, $but) = @_;
    my $before = $p->count;
    my $r = post_json($gw, ($path // '/v1') . '/chat/completions',
                      { model => $model }, headers => \@everything);
    is($r->status, 200, $what);
    my $req = ($p->requests)[$before];
    is(join("\n", grep { !$but || $_ !~ $but } lines($req)),
       join("\n", sort @$expected), '  exactly');
    is($req->{headers}{'content-length'}, length $req->{body},
       '  and the length');
    return $r;
}
