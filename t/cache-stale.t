#!/usr/bin/perl

# llm_cache_stale_if_error: where a client would get 429 or 5xx an answer that
# is too old is sent, says that it is, and costs nothing.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;

my $CHAT = '/v1/chat/completions';
my $TRUE = JSON::PP::true;

# how they fail, once their mode says so
my %FAIL = (
    reset      => sub { rst() },
    closed     => sub { fin() },
    silent     => sub { hang() },
    garbage    => sub { (raw("no HTTP at all\r\n\r\n"), fin()) },
    half       => sub { (header('Content-Type', 'application/json'),
                         header('Content-Length', 900), chunk('{"id":'),
                         rst()) },
    no_answer  => sub { body('') },
    error_200  => sub { json({ error => { message => 'x', code => 500 } }) },
    error_sse  => sub { sse({ error => { message => 'x', code => 503 } }) },
    redirect   => sub { (status(302), header('Location', '/')) },
    map({ my $status = $_;
          ($_ => sub { (status($status), json({ error => {
                        message => "failed-$status" } })) }) }
        400, 401, 404, 422, 429, 500, 503, 529),
);

sub provider {
    my ($name) = @_;
    return LLM::Fake->new(answer => sub {
        my ($req) = @_;
        my ($json, $n) = @$req{qw(json n)};
        my ($gate, $mode) = ($req->{mode} // '') =~ /^(?:(\w+):)?(\w+)$/;
        my @gate = defined $gate ? gate($gate) : ();
        my %usage = (usage => { prompt_tokens => 9, completion_tokens => 4,
                                total_tokens => 13 });

        return (@gate, $FAIL{$mode}->()) if $mode && $FAIL{$mode};
        return json({ id => "$name$n", object => 'chat.completion',
                      created => 1, model => 'up', choices => [ { index => 0,
                      message => { role => 'assistant', content => "n$n" },
                      finish_reason => 'stop' } ], %usage })
            if !$json->{stream};

        my %head = (id => "$name$n", object => 'chat.completion.chunk',
                    created => 1, model => 'up');
        my $asked = $json->{stream_options}
                    && $json->{stream_options}{include_usage};
        return sse({ %head, choices => [ { index => 0, delta => {
                     role => 'assistant', content => "n$n" } } ] },
                   { %head, choices => [ { index => 0, delta => {},
                     finish_reason => 'stop' } ] },
                   $asked ? { %head, choices => [], %usage } : (), '[DONE]');
    });
}

my ($p, $q, $spare) = map { provider($_) } qw(p q spare);

my $gw = LLM::Nginx->new(
    vars => { P => $p, Q => $q, SPARE => $spare }, workers => 2,
    access_format => '$http_x_request_id|$status|$llm_cache_status|'
        . '$llm_usage_source|$llm_cost|$llm_total_tokens|$llm_attempts',
    http => <<'CONF');
    llm_cache_zone 1m;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_provider q { endpoint http://127.0.0.1:%%Q%%/v1; }
    llm_provider spare { endpoint http://127.0.0.1:%%SPARE%%/v1; }
    llm_model m { target p up price=1,2; }
    llm_model two { target p price=1,1; target q price=9,9; balance cost; }
    llm_model backed { target p; target spare backup; }
    llm_quota_zone q key=$http_x_who requests=1000/1h tokens=1m/1h;

    llm_cache on;
    llm_cache_ttl 50ms;
    llm_cache_stale_if_error 1h;
    llm_header_timeout 300ms;
    llm_first_token_timeout 300ms;

    server {
        listen 127.0.0.1:%%PORT%%;
        location / { llm_pass; }
        location /ping/ {
            llm_ping 40ms;
            llm_first_token_timeout 10s;
            llm_pass;
        }
        location /pages/ {
            error_page 429 500 502 503 504 = @never;
            llm_intercept_errors on;
            llm_pass;
        }
        location @never { return 418 no; }
        location /brief/ { llm_cache_stale_if_error 100ms; llm_pass; }
        location /not/ { llm_cache_stale_if_error 0; llm_pass; }
        location /plain/ { proxy_pass http://127.0.0.1:%%P%%; }
        location /quota/ { llm_quota q; llm_pass; }
        location = /metrics { llm_metrics; }
        location /admin/ { llm_admin; }
    }
CONF
$gw->expect_error(qr/reset by peer/, qr/prematurely closed/, qr/timed out/,
                  qr/connect\(\) failed \(111/, qr/cut its answer short/,
                  qr/failed: /, qr/invalid|no valid/);

my ($tag, $seed) = (0, 0);

sub start {
    my ($where, $data, %opt) = @_;
    $tag++;
    my $c = LLM::Client->connect($gw);
    $c->send_request(LLM::Client::json_request("$where$CHAT",
        { model => 'm', temperature => 0, seed => $seed,
          messages => [ { role => 'user', content => 'Hi' } ],
          %{ $data || {} } },
        headers => [ [ 'Authorization', 'Bearer k' ],
                     [ 'X-Request-Id', "tag-$tag" ], @{ $opt{headers} || [] } ]));
    return $c;
}

sub ask {
    my $c = start(@_);
    my $r = $c->read_response;
    $c->close;
    return $r;
}

sub logged {
    my ($line) = $gw->wait_log(qr/^tag-$tag\|/) =~ /\|(.*)/;
    return $line;
}

sub say_all { $_->mode($_[0]) for $p, $q }

# An answer to a new question, which is too old by now; and all providers are
# as the mode says.

sub old {
    my ($mode, $where, $data, %opt) = @_;
    $seed++;
    say_all('');
    $gw->resume('p', 'q');
    my $r = ask($where, $data, %opt);
    is($r->status, 200, 'an answer') or diag($r->raw);
    wait_for(sub { ask($where, $data, headers => [ [ 'Cache-Control',
                   'only-if-cached' ], @{ $opt{headers} || [] } ])
                   ->status != 200 }, 5, 'its end');
    say_all($mode);
    return $r;
}

sub is_stale {
    my ($r, $first, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($r->status, 200, $name);
    is($r->body, $first->body, '  byte for byte');
    is($r->clean_end, 1, '  whole');
    is($r->header('content-type'), $first->header('content-type'),
       '  of its type');
    like($r->header('cache-status') // '', qr/^llm; hit; ttl=-\d+$/,
         '  Cache-Status says how old it is');
    like($r->header('age') // '', qr/^\d+$/, '  so does Age');
    is($r->header('x-llm-provider'), $first->header('x-llm-provider'),
       '  by whom it is');
    is($r->header('retry-after') // $r->header('x-should-retry'), undef,
       '  and nothing of an error');
}

sub stream { return $_[0] ? (stream => $TRUE) : () }


# What nobody should see

for my $mode (qw(reset closed silent garbage half error_200 error_sse
                 redirect 401 429 500 503 529)) {
    for my $stream (0, 1) {
        next if $mode eq 'half' && $stream || $mode eq 'error_sse' && !$stream;
        my $first = old($mode, '', { stream($stream) });
        my $r = ask('', { stream($stream) });
        is_stale($r, $first, "REQ-33: $mode, " . ($stream ? 'a stream'
                                                          : 'a document'));
        like(logged(), qr/^200\|STALE\|cache\|0\.000000000\|13\|p:/,
             '  in the log, for nothing');
    }
}

for my $stream (0, 1) {
    my $first = old('', '', { stream($stream) });
    $p->stop;
    is_stale(ask('', { stream($stream) }), $first,
             'REQ-33: nobody is there at all');
    like(logged(), qr/^200\|STALE\|.*\|p:connect:/, '  in the log');
    $p->start;
}


# What is the client's own

for my $mode (400, 404, 422) {
    old($mode, '');
    my $r = ask('');
    is($r->status, $mode, "$mode passes");
    like($r->body, qr/failed-$mode/, '  as it is');
    is($r->header('cache-status'), 'llm; fwd=miss', '  nothing was found');
    like(logged(), qr/^$mode\|EXPIRED\|/, '  that was good enough');
}


# Several targets

{
    my $first = old('500', '', { model => 'two' });
    is_stale(ask('', { model => 'two' }), $first, 'both targets fail');
    like(logged(), qr/\|p:500:\d+ms,q:500:\d+ms$/, '  both were asked');

    $first = old('500', '', { model => 'two' });
    $q->mode('');
    my $r = ask('', { model => 'two' });
    isnt($r->body, $first->body, 'one of them answers: that is sent');
    is($r->header('cache-status'), 'llm; fwd=miss; stored', '  and kept');

    old('404', '', { model => 'two' });
    $q->mode('reset');
    is(ask('', { model => 'two' })->status, 404,
       'one says 404, the other nothing: the 404 would be sent, and is');

    $first = old('500', '', { model => 'backed' });
    $r = ask('', { model => 'backed' });
    like($r->json->{id}, qr/^spare/, 'a backup answers: that is sent');
    is($r->header('cache-status'), 'llm; fwd=miss', '  and not kept');
    $spare->mode('429');
    $gw->resume('p');
    is_stale(ask('', { model => 'backed' }), $first,
             '  unless it fails as well');
}


# The form that is asked for

{
    my $first = old('500', '', {});
    my $r = ask('', { stream => $TRUE });
    is($r->status, 200, 'a document, asked for as a stream');
    is($r->text, $first->text, '  has the same text');
    is(($r->sse_data)[-1], '[DONE]', '  and is one');
    like($r->header('cache-status'), qr/ttl=-/, '  though old');

    $first = old('500', '', { stream => $TRUE });
    $r = ask('', {});
    is($r->status, 200, 'a stream, asked for as a document');
    is($r->json->{choices}[0]{message}{content}, $first->text,
       '  has the same text');
    is($r->header('content-type'), 'application/json', '  and is one');

    my %usage = (stream_options => { include_usage => $TRUE });
    old('500', '', { stream => $TRUE });
    $r = ask('', { stream => $TRUE, %usage });
    is((grep { $_->{usage} } $r->sse_json), 1,
       'usage is there for who asks for it');
    $first = old('500', '', { stream => $TRUE, %usage });
    is((grep { $_->{usage} } $first->sse_json), 1, '  as it was');
    $r = ask('', { stream => $TRUE });
    is((grep { $_->{usage} } $r->sse_json), 0, '  and for nobody else');
    is(($r->sse_data)[-1], '[DONE]', '  but the rest is');
}


# After a ping

for my $mode (qw(500 reset error_200 error_sse)) {
    my $first = old("g$mode:$mode", '/ping', { stream => $TRUE });
    my $c = start('/ping', { stream => $TRUE });
    $c->read_until(qr/:\n:\n/);
    $p->open_gate("g$mode");
    my $r = $c->read_response;
    $c->close;
    is($r->status, 200, "REQ-7: $mode after a ping");
    like($r->body, qr/^(?::\n)+data/, '  comment lines, then an event');
    is($r->body =~ s/^(?::\n)+//r, $first->body =~ s/^(?::\n)+//r,
       '  of the old answer, which follows');
    is($r->clean_end, 1, '  whole');
    like(logged(), qr/^200\|STALE\|cache\|/, '  in the log');
}


# Pages, and nobody who may be asked

for my $mode (qw(429 500 503 reset silent)) {
    my $first = old($mode, '/pages');
    is_stale(ask('/pages'), $first, "error_page for $mode: the old answer wins");
}

for my $where ('', '/pages', '/ping') {
    for my $stream (0, 1) {
        my $first = old('', $where, { stream($stream) });
        my $count = $p->count;
        post_json($gw, '/admin/providers/p/drain', {});
        is_stale(ask($where, { stream($stream) }), $first,
                 "the provider is drained $where");
        is($p->count, $count, '  and not asked');
        like(logged(), qr/^200\|STALE\|cache\|0\.000000000\|13\|-$/,
             '  in the log');
        $seed++;
        is(ask('', { stream($stream) })->status, 503, '  others get 503');
    }
}


# Who does not get it

{
    old('500', '');
    is(ask('', {}, headers => [ [ 'Cache-Control', 'no-cache' ] ])->status,
       500, 'who says no-cache gets the error');
    is(ask('', {}, headers => [ [ 'Cache-Control', 'no-store' ] ])->status,
       500, '  or no-store');
    is(ask('/not')->status, 500, '  or asks where there is none');
    like(logged(), qr/^500\|EXPIRED\|/, '  in the log');

    old('500', '/brief');
    my $r = wait_for(sub { $gw->resume('p'); my $r = ask('/brief');
                           $r->status == 500 && $r }, 5, 'the very end');
    like($r->body, qr/failed-500/, 'beyond that time: the error');
    is($r->header('age'), undef, '  as it is');

    $seed++;
    say_all('');
    is(ask('/plain')->status, 200, 'proxy_pass: an answer');
    wait_for(sub { ask('/plain', {}, headers => [ [ 'Cache-Control',
                   'only-if-cached' ] ])->status == 504 }, 5, 'its end');
    say_all('500');
    is(ask('/plain')->status, 500, '  then the error');
}


# Quotas

{
    my @who = (headers => [ [ 'X-Who', 'joe' ] ]);
    my $settled = sub { my $m = read_metrics($gw);
        map { $m->{"quota_settled_total q $_"} // 0 } qw(requests tokens) };

    my $first = old('500', '/quota', {}, @who);
    my @before;
    wait_for(sub { @before = $settled->(); $before[1] >= 13 }, 5, 'settled');
    is_stale(ask('/quota', {}, @who), $first, 'a quota');
    my @after;
    wait_for(sub { @after = $settled->(); $after[0] > $before[0] }, 5,
             'settled');
    is($after[0], $before[0] + 1, '  is charged a request');
    is($after[1], $before[1], '  and no tokens');
}

my $m = read_metrics($gw);
cmp_ok($m->{'cache_total stale'}, '>', 30, 'they are counted');

$gw->done;
done_testing;
