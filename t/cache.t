#!/usr/bin/perl

# The response cache: the same question from the same tenant is answered from
# memory, as it was answered before, and charged as a request alone.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;

my $CHAT = '/v1/chat/completions';

# what the fake says differs each time, so that a replay can be told
my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $json = $req->{json};
    my $n = $req->{n};
    my %usage = (usage => { prompt_tokens => 9, completion_tokens => 4,
                            total_tokens => 13 });

    return (status(503), json({ error => { message => 'down' } }))
        if ($req->{mode} // '') eq 'down';
    return json({ object => 'list', data => [ { index => 0,
                  embedding => [ 0.5, $n ] } ], model => 'm', %usage })
        if $req->{path} =~ /embeddings/;
    return json({ id => "c$n", object => 'chat.completion', created => $n,
                  model => 'up', choices => [ { index => 0,
                  message => { role => 'assistant', content => "n$n" },
                  finish_reason => 'stop' } ], %usage })
        if !$json->{stream};

    my %head = (id => "c$n", object => 'chat.completion.chunk',
                created => $n, model => 'up');
    my $asked = $json->{stream_options}
                && $json->{stream_options}{include_usage};
    return sse({ %head, choices => [ { index => 0, delta => {
                 role => 'assistant', content => "n$n" },
                 finish_reason => undef } ] },
               { %head, choices => [ { index => 0, delta => {},
                 finish_reason => 'stop' } ] },
               $asked ? { %head, choices => [], %usage } : (), '[DONE]');
});

my $gw = LLM::Nginx->new(
    vars => { P => $p }, workers => 2,
    access_format => '$http_x_request_id|$llm_cache_status|$llm_provider|'
        . '$llm_target_model|$llm_usage_source|$llm_prompt_tokens|'
        . '$llm_total_tokens|$llm_cost|$llm_finish_reason|$llm_attempts|'
        . '$llm_cache_key',
    http => <<'CONF');
    llm_cache_zone 1m;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model m { target p up price=1,2; alias alias; }
    llm_model second { target p up; }
    llm_quota_zone q key=$http_x_who requests=100/1h tokens=100/1h;

    server {
        listen 127.0.0.1:%%PORT%%;
        llm_cache on;
        location /v1/ { llm_pass; }
        location /any/ { llm_cache_sampling any; llm_pass; }
        location /shared/ { llm_cache_scope shared; llm_pass; }
        location /scope/ { llm_cache_scope $http_x_scope; llm_pass; }
        location /short/ { llm_cache_ttl 300ms; llm_pass; }
        location /small/ { llm_cache_max_size 100; llm_pass; }
        location /none/ { llm_cache_max_size 0; llm_pass; }
        location /bypass/ { llm_cache_bypass $http_x_no $arg_no; llm_pass; }
        location /quota/ { llm_quota q; llm_pass; }
        location /plain/ { proxy_pass http://127.0.0.1:%%P%%; }
        location /off/ { llm_cache off; llm_pass; }
        location /stale/ {
            llm_cache_ttl 200ms;
            llm_cache_stale_if_error 1h;
            error_page 502 503 = @never;
            llm_pass;
        }
        location @never { return 418 no; }
        location = /metrics { llm_metrics; }
        location /admin/ { llm_admin; }
        location /admin-few/ { client_body_buffer_size 8; llm_admin; }
        location /admin-file/ { client_body_in_file_only clean; llm_admin; }
    }
CONF

my $tags = 0;

sub ask {
    my ($where, $data, %opt) = @_;
    return post_json($gw, "$where$CHAT",
        { model => 'm', temperature => 0, messages => [ { role => 'user',
          content => 'Hi' } ], %{ $data || {} } },
        headers => [ [ 'Authorization', 'Bearer ' . ($opt{key} || 'k1') ],
                     [ 'X-Request-Id', 'tag-' . ++$tags ],
                     @{ $opt{headers} || [] } ]);
}

sub logged {
    my ($line) = $gw->wait_log(qr/^tag-$tags\|/) =~ /\|(.*)/;
    return $line;
}

sub cache_status { return $_[0]->header('cache-status') }


# A document

my $r = ask('');
my $first = $r->body;
is($r->status, 200, 'the first request is answered');
is(cache_status($r), 'llm; fwd=miss; stored',
   '  Cache-Status tells that it was stored');
is($r->header('age'), undef, '  and it has no age');
like(logged(), qr/^MISS\|p\|up\|provider\|9\|13\|0\.000017000\|stop\|p:200:/,
     '  the log has a miss');

$r = ask('');
is($r->status, 200, 'the second one is answered');
is($r->body, $first, '  byte for byte');
is($r->header('content-type'), 'application/json', '  of its type');
is($r->header('content-length'), length $first, '  and length');
like(cache_status($r), qr/^llm; hit; ttl=3\d\d\d$/, '  Cache-Status is a hit');
like($r->header('age'), qr/^[0-5]$/, '  it has an age');
is($r->header('x-llm-provider'), 'p', '  and names its provider');
ok($r->header('x-request-id'), '  but it has an id of its own');
is($p->count, 1, '  nobody was asked');
like(logged(), qr/^HIT\|p\|up\|cache\|9\|13\|0\.000000000\|stop\|-\|\w{64}$/,
     '  the log has what it was, and no cost');


# Who asks

$r = ask('', {}, key => 'k2');
is(cache_status($r), 'llm; fwd=miss; stored',
   'REQ-28: another credential has its own answers');
isnt($r->body, $first, '  not those of somebody else');
is(ask('', {}, key => 'k2')->body, $r->body, '  which it gets again');
is(ask('')->body, $first, '  and neither replaces the other');

my $b = ask('/shared', {}, key => 'k1');
is(ask('/shared', {}, key => 'k3')->body, $b->body,
   'llm_cache_scope shared: everybody gets the same');
$r = ask('/scope', {}, headers => [ [ 'X-Scope', 'shared' ] ]);
is(cache_status($r), 'llm; fwd=miss; stored',
   '  but a scope that spells it is one of its own');
is(ask('/scope', {}, key => 'k9', headers => [ [ 'X-Scope', 'shared' ] ])
   ->body, $r->body, 'a scope by value is shared by who has the value');
is(cache_status(ask('/scope')), 'llm; fwd=bypass',
   'REQ-28: without a value nothing is cached');
is(cache_status(post_json($gw, $CHAT, { model => 'm', temperature => 0,
   messages => [] })), 'llm; fwd=bypass', '  nor without a credential');


# What is asked

for ([ 'another message', messages => [ { role => 'user', content => 'Ho' } ] ],
     [ 'an unknown member', frob => 1 ],
     [ 'another model that goes to the same place', model => 'second' ],
     [ 'another seed', seed => 1 ])
{
    my ($what, %data) = @$_;
    is(cache_status(ask('', \%data)), 'llm; fwd=miss; stored',
       "REQ-29: $what is another question");
}
is(ask('', { user => 'joe', metadata => { a => 1 } })->body, $first,
   'who the user is and metadata do not make another question');

is(cache_status(ask('', { temperature => 0.5 })), 'llm; fwd=bypass',
   'what is sampled is not cached');
is(cache_status(ask('/any', { temperature => 0.5 })), 'llm; fwd=miss; stored',
   '  unless llm_cache_sampling any');
for ([ store => JSON::PP::true ], [ tools => [ { type => 'web_search' } ] ],
     [ web_search_options => {} ])
{
    my ($name, $value) = @$_;
    is(cache_status(ask('', { $name => $value })), 'llm; fwd=bypass',
       "REQ-32: nor is what $name makes more than an answer");
}
is(cache_status(ask('/off')), undef, 'llm_cache off: no Cache-Status');


# Streams

my $stream = ask('', { stream => JSON::PP::true, seed => 7 });
is(cache_status($stream), 'llm; fwd=miss', 'a stream is a miss');
unlike($stream->body, qr/"usage":\{/, '  without the usage we asked for');
$r = ask('', { stream => JSON::PP::true, seed => 7 });
like(cache_status($r), qr/^llm; hit; ttl=\d+$/, '  then a hit');
is($r->body, $stream->body, 'REQ-30: it is replayed byte for byte');
like($r->header('content-type'), qr{^text/event-stream}, '  as a stream');
is($r->header('x-accel-buffering'), 'no', '  that nobody may hold back');

$r = ask('', { stream => JSON::PP::true, seed => 7,
               stream_options => { include_usage => JSON::PP::true } });
like(cache_status($r), qr/^llm; hit/, 'who asks for usage gets the same one');
like($r->body, qr/"usage":\{.*?\}.*data: \[DONE\]\n\n\z/s,
     '  with its usage chunk');


# REQ-30: one answer, two faces

for my $form (0, 1) {
    my %how = (seed => 50 + $form);
    my @form = ({}, { stream => JSON::PP::true });
    my @name = ('a document', 'a stream');
    my $kept = ask('', { %how, %{ $form[$form] } });
    my $other = ask('', { %how, %{ $form[!$form] } });
    my ($said) = $kept->body =~ /"content":"(n\d+)"/;

    like(cache_status($other), qr/^llm; hit/,
         "REQ-30: $name[$form] is a hit for who asks for $name[!$form]");
    like($other->header('content-type'), $form ? qr{^application/json}
         : qr{^text/event-stream}, '  and gets that');
    is($form ? $other->json->{choices}[0]{message}{content}
             : join('', map { $_->{choices}[0]{delta}{content} // '' }
                    grep { ref } $other->sse_json), $said,
       '  which says the same');
    is(ask('', { %how, %{ $form[$form] } })->body, $kept->body,
       '  and the kept one is as it was');
}
my $usage = ask('', { seed => 50, stream => JSON::PP::true,
                stream_options => { include_usage => JSON::PP::true } });
like($usage->body, qr/"usage":\{"[^}]*"total_tokens":13/,
     '  with usage for who asks for it');


# What a client says

my $n = $p->count;
$r = ask('', {}, headers => [ [ 'Cache-Control', 'no-cache' ] ]);
isnt($r->body, $first, 'no-cache: asked anew');
is(ask('')->body, $r->body, '  and kept instead of the old one');
$b = ask('', {}, headers => [ [ 'Cache-Control', 'max-age=9, no-store' ] ]);
is(cache_status($b), 'llm; fwd=bypass', 'no-store: asked anew');
is(ask('')->body, $r->body, '  and not kept');
is($p->count, $n + 2, '  so the provider saw two of the four');

$r = ask('', { seed => 8 },
         headers => [ [ 'Cache-Control', 'only-if-cached' ] ]);
is($r->status, 504, 'only-if-cached without an entry: 504');
is_deeply([ @{ $r->json->{error} }{qw(type code)} ],
          [ 'invalid_request_error', 'not_cached' ], '  and why');
is($r->header('x-should-retry'), 'false',
   '  and that asking again will not help');
is(ask('', {}, headers => [ [ 'Cache-Control', 'only-if-cached' ] ])->status,
   200, '  with one it is sent');
is(cache_status(ask('/bypass', { seed => 40 })), 'llm; fwd=miss; stored',
   'llm_cache_bypass with empty values caches');
$r = ask('/bypass', { seed => 40 }, headers => [ [ 'X-No', '1' ] ]);
is(cache_status($r), 'llm; fwd=bypass', '  with one that is set it does not');
like(logged(), qr/^BYPASS\|.*\|\w{64}$/, '  $llm_cache_key is there');
my ($key) = logged() =~ /(\w+)$/;
ask('/bypass', { seed => 40 }, headers => [ [ 'X-No', '1' ] ]);
unlike(logged(), qr/$key/, '  and nobody else\'s');

is(cache_status(ask('/small', { seed => 41 })), 'llm; fwd=miss',
   'longer than llm_cache_max_size is not stored');
is(cache_status(ask('/none', { seed => 42 })), 'llm; fwd=miss',
   'llm_cache_max_size 0 stores nothing');
like(logged(), qr/^MISS\|.*\|\w{64}$/, '  but there is a key');
($key) = logged() =~ /(\w+)$/;
ask('/none', { seed => 42, metadata => { a => 2 } });
like(logged(), qr/$key$/, '  the same for the same question');


# Time

$r = ask('/short', { seed => 43 });
is(cache_status($r), 'llm; fwd=miss; stored', 'a short life');
wait_for(sub { cache_status(ask('/short', { seed => 43 })) =~ /fwd=miss/ }, 3, 'expired');
pass('  ends');
like($gw->wait_log(qr/\|EXPIRED\|/), qr/^tag-\d+\|EXPIRED\|/,
     '  which the log has as EXPIRED');


# Embeddings, and plain proxy_pass

sub embed {
    my ($where, $input) = @_;
    return post_json($gw, "$where/v1/embeddings", { model => 'm',
        input => $input }, headers => [ [ 'Authorization', 'Bearer k1' ] ]);
}

$r = embed('', 'x');
is(cache_status($r), 'llm; fwd=miss; stored',
   'embeddings need no temperature');
is(embed('', 'x')->body, $r->body, '  and are replayed');

for my $form (0, 1) {
    my %data = (seed => 60 + $form, stream => $form ? JSON::PP::true : JSON::PP::false,
                $form ? (stream_options =>
                         { include_usage => JSON::PP::true }) : ());
    $r = ask('/plain', \%data);
    is($r->status, 200, 'proxy_pass: ' . ($form ? 'a stream' : 'a document'));
    is(cache_status($r), 'llm; fwd=miss', '  is a miss');
    $b = ask('/plain', \%data);
    is($b->body, $r->body, '  then replayed');
    like(cache_status($b), qr/^llm; hit; ttl=\d+$/, '  as a hit');
    is($b->header('content-type'), $r->header('content-type'),
       '  of the same type');
}


# Headers of the client under proxy_pass

for (map { [ $_, 1 ] } 'OpenAI-Beta', 'OpenAI-Organization',
                       'anthropic-version', 'Anthropic-Beta', 'Cookie',
                       'Accept-Language', 'X-Custom')
{
    my ($name) = @$_;
    my ($one, $two) = map { [ headers => [ [ $name, $_ ] ] ] } 'one', 'two';
    $r = ask('/plain', { frob => $name }, @$one);
    isnt(ask('/plain', { frob => $name }, @$two)->body, $r->body,
         "proxy_pass: a request with another $name is another question");
    is(ask('/plain', { frob => $name }, @$one)->body, $r->body,
       '  with an equal one it is a hit');
}

for my $name ('User-Agent', 'traceparent', 'X-Stainless-Retry-Count',
              'Idempotency-Key', 'X-Forwarded-For')
{
    $r = ask('/plain', { frob => $name }, headers => [ [ $name, 'one' ] ]);
    is(ask('/plain', { frob => $name }, headers => [ [ $name, 'two' ] ])->body,
       $r->body, "proxy_pass: a request with another $name is a hit");
}


# Live data, and the order of a schema's properties

for ([ search_parameters => { mode => 'on' } ], [ plugins => [ {} ] ],
     [ enable_search => JSON::PP::true ], [ web_search => JSON::PP::true ],
     [ extra_body => { search => 1 } ], [ search_mode => 'web' ])
{
    my ($name, $value) = @$_;
    is(cache_status(ask('', { $name => $value })), 'llm; fwd=bypass',
       "a request with $name asks for live data and bypasses the cache");
}

sub schema_key {
    my ($member) = @_;
    my $tag = 'tag-' . ++$tags;
    request($gw, method => 'POST', path => $CHAT,
            headers => [ [ 'Content-Type', 'application/json' ],
                         [ 'Authorization', 'Bearer k1' ],
                         [ 'X-Request-Id', $tag ] ],
            body => '{"model":"m","temperature":0,"messages":[],' . $member
                    . '}');
    return logged() =~ /\|(\w+)$/;
}

for my $schema ('"response_format":{"json_schema":{"schema":%s}}',
                '"tools":[{"type":"function","function":{"parameters":%s}}]')
{
    my ($name) = $schema =~ /(\w+)/;
    my ($one, $other, $around) = map { schema_key(sprintf $schema, $_) }
        '{"type":"object","properties":{"a":{"x":1,"y":2},"b":{}}}',
        '{"type":"object","properties":{"b":{},"a":{"x":1,"y":2}}}',
        '{"properties":{"a":{"y":2,"x":1},"b":{}},"type":"object"}';
    isnt($other, $one, "$name: properties of a schema in another order are "
         . 'another question');
    is($around, $one, '  members of the schema itself are not');
}


# Quotas: a hit is a request, and nothing else

sub left { return $_[0]->header("x-ratelimit-remaining-$_[1]") }

my @who = (headers => [ [ 'X-Who', 'joe' ] ]);
$r = ask('/quota', { seed => 20 }, @who);
is(left($r, 'requests'), 99, 'a miss is charged');
wait_for(sub {
    $r = ask('/quota', { seed => 20 }, @who);
    left($r, 'tokens') == 87;
}, 3, 'settled');
is(left($r, 'tokens'), 87, '  with its tokens');
my $requests = left($r, 'requests');
$r = ask('/quota', { seed => 20 }, @who);
is(left($r, 'tokens'), 87, 'a hit costs no tokens');
is(left($r, 'requests'), $requests - 1, '  but is a request');


# Purge

sub purge { return post_json($gw, '/admin/cache/purge', $_[0]) }

sub hits { return cache_status(ask('', $_[0])) =~ /hit/ ? 1 : 0 }

sub fill {
    ask('', { seed => 30 });
    ask('', { seed => 30, model => 'second' });
    ask('', { seed => 30 }, key => 'k2');
    return hits({ seed => 30 }) + hits({ seed => 30, model => 'second' });
}

is(fill(), 2, 'two models have answers');
$r = purge({ model => 'second' });
is($r->status, 200, 'one of them is purged');
is_deeply($r->json, { purged => 'model' }, '  by its name');
is(hits({ seed => 30 }), 1, '  the other one stays');
is(cache_status(ask('', { seed => 30, model => 'second' })),
   'llm; fwd=miss; stored', '  it is asked for again');

ask('', { seed => 30 });
($key) = logged() =~ /(\w+)$/;
is(purge({ key => $key })->status, 200, 'an answer is purged by its key');
is(hits({ seed => 30 }), 0, '  and is gone');
fill();
is(purge({ all => JSON::PP::true })->status, 200, 'all are purged');
is(hits({ seed => 30 }) + hits({ seed => 30, model => 'second' }), 0,
   '  and gone');
$r = ask('/scope', {}, headers => [ [ 'X-Scope', 'acme' ] ]);
purge({ scope => 'acme' });
isnt(ask('/scope', {}, headers => [ [ 'X-Scope', 'acme' ] ])->body, $r->body,
     'a scope is purged by its name');

fill();
for ('', '{', '[]', '{}', { all => JSON::PP::false }, { model => 1 },
     { model => '' }, { key => 'abc' }, { key => 'x' x 64 }, { frob => 'm' },
     { model => 'm', scope => 'x' }, '{"model":"m","model":"m"}')
{
    is(purge($_)->status, 400, 'refused: ' . (ref $_ ? canon($_) : "'$_'"));
}
is(hits({ seed => 30 }), 1, '  nothing was purged by these');

# However the body arrives, all of it is read.

my $all = '{"all":true}';
for ([ 'in two reads', '/admin', body => $all,
       pace => { bytes => 5, every => 0.01 } ],
     [ 'in chunks', '/admin', chunked => [ '{"al', 'l":', 'true}' ],
       pace => { bytes => 9, every => 0.01 } ],
     [ 'in a temp file', '/admin-file', body => $all ],
     [ 'larger than the buffer', '/admin-few', body => $all ],
     [ 'larger than the buffer, in two reads', '/admin-few', body => $all,
       pace => { bytes => 9, every => 0.01 } ],
     [ 'of 20 KiB', '/admin', body => $all . ' ' x 20_000 ])
{
    my ($how, $where, @body) = @$_;
    fill();
    $r = request($gw, method => 'POST', path => "$where/cache/purge", @body);
    is($r->status, 200, "a body $how purges");
    is(hits({ seed => 30 }), 0, '  and it was read');
}

fill();
for my $rest ('x', '}', ',', "\0", $all, '"', '/* */') {
    (my $name = "'$rest'") =~ s/\0/\\0/;
    for my $where (qw(/admin /admin-few /admin-file)) {
        $r = request($gw, method => 'POST', path => "$where/cache/purge",
                     body => $all . $rest);
        is($r->status, 400, "$where: $name behind the value is refused");
    }
    my $c = LLM::Client->connect($gw);
    $c->send_bytes("POST /admin/cache/purge HTTP/1.1\r\nHost: x\r\n"
                   . 'Content-Length: ' . length($all . $rest)
                   . "\r\n\r\n$all");
    $c->flush;
    get($gw, '/metrics');                # the worker has read that much
    $c->send_bytes($rest);
    $r = $c->read_response;
    $c->close;
    is($r->status, 400, '  in a read of its own, too');
}
is(hits({ seed => 30 }), 1, '  nothing was purged by these');
is(request($gw, path => '/admin/cache/purge')->status, 405,
   'purge takes POST');


# When all else fails

$r = ask('/stale', { seed => 44 });
wait_for(sub { $p->mode('down'); $b = ask('/stale', { seed => 44 });
               cache_status($b) =~ /ttl=-/ }, 3, 'too old');
is($b->status, 200, 'llm_cache_stale_if_error: an old answer');
is($b->body, $r->body, '  is better than none');
like(cache_status($b), qr/^llm; hit; ttl=-\d+$/, '  and says how old it is');
like(logged(), qr/^STALE\|p\|up\|cache\|9\|13\|.*\|stop\|p:503:/,
     '  the log has it');
is(ask('/stale', { seed => 99 })->status, 503, '  others get the error');
$p->stop;
$b = ask('/stale', { seed => 44 });
is($b->body, $r->body, '  also when nobody is there at all');
$gw->expect_error(qr/connect\(\) failed \(111/);


# Numbers

# the last answer is counted when its request has ended

my $m;
wait_for(sub { $m = read_metrics($gw); ($m->{'cache_total stale'} // 0) > 1 },
         5, 'counted');
cmp_ok($m->{'cache_total hit'}, '>', 15, 'hits are counted');
cmp_ok($m->{'cache_total miss'}, '>', 15, '  misses');
cmp_ok($m->{'cache_total bypass'}, '>', 5, '  who went by');
cmp_ok($m->{'cache_total stored'}, '>', 15, '  what was stored');
cmp_ok($m->{'cache_total expired'}, '>=', 1, '  what was too old');
is($m->{'cache_total stale'} > 1, 1, '  what was sent though too old');
is($m->{'cache_refused_total size'}, 1, '  what was too long');
is($m->{'cache_refused_total status'}, 1, '  what was no answer');
cmp_ok($m->{'cache_saved_tokens_total'}, '>', 100, 'tokens are saved');
cmp_ok($m->{'cache_saved_usd_total'}, '>', 0.0001, '  and money');
cmp_ok($m->{'cache_bytes'}, '>', 3000, '  for so many bytes');

$gw->done;
done_testing;
