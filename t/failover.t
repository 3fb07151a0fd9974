#!/usr/bin/perl

# From one provider to the next: which failures move on, that nothing of the
# provider before is carried along, where it stops, and what the client and
# the log are told about it.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::TLSFront;

my $ERROR = qq({ "error" : {"message":"from P", "code":7} }\n);

# What P does is in the request: { user => ... }.  It keeps no connection, or
# a reset of one would be another story: t/keepalive.t.

sub act {
    my ($how) = @_;

    if ($how =~ /^(\d+)$/) {
        return (status($1), header('Content-Type', 'application/problem+json'),
                header('Retry-After', 7), header('X-RateLimit-Reset', '9s'),
                $1 == 302 ? header('Location', 'http://127.0.0.1/') : (),
                body($ERROR));
    }
    my %act = (
        rst      => sub { rst },
        fin      => sub { fin },
        slow     => sub { hang },
        late503  => sub { (delay(1.2), status(503), body($ERROR)) },
        error    => sub { json({ error => { message => 'in a 200' } }) },
        empty503 => sub { status(503) },
        chunked  => sub { (status(500), header('Content-Type', 'text/plain'),
                           chunk('in two '), delay(0.02), chunk('pieces')) },
        closed   => sub { (status(500), close_delimited, chunk('until eof')) },
        coded    => sub { (status(500), gzip('packed')) },
        bare     => sub { (status(429), body($ERROR)) },
        long     => sub { (status(500), body('x' x 66_000)) },
        stuck    => sub { (status(500), header('Content-Length', 99),
                           chunk('{"error":'), hang) },
    );
    return $act{$how}->();
}

my $p = LLM::Fake->new(answer => sub {
    return (close_after, act($_[0]{json}{user} || 503));
});
my $p2 = LLM::Fake->new(answer => sub { act($_[0]{json}{second} // 500) });

my $f = LLM::Fake->new(
    tls => { names => ['f.test'] },
    answer => sub {
        my ($req) = @_;
        return json({ fine(), me => 'f' }) unless $req->{json}{stream};
        return (sse({ choices => [ { delta => { content => 'f' } } ] },
                    { choices => [ { finish_reason => 'stop' } ] },
                    '[DONE]'));
    });

my $refused = LLM::Fake->refused;
my $blackhole = LLM::Fake->blackhole;
my $tls = $f->tls;

my ($KEY_A, $KEY_B, $CLIENT) = map { "sk-canary-$_" } qw(a-key b-key client);
my @conditions = qw(error timeout http_408 http_429 http_5xx credential
                    not_found bad_answer off);

my %vars = (P => $p, P2 => $p2, F => $f, TLS => $tls, REFUSED => $refused,
            HOLE => $blackhole, CA => $tls->ca_file);

my $PROVIDERS = <<"CONF";
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; key $KEY_A; }
llm_provider p2 { endpoint http://127.0.0.1:%%P2%%/v1; }
llm_provider p3 { endpoint http://127.0.0.1:%%P%%/v1; }
llm_provider p4 { endpoint http://127.0.0.1:%%P%%/v1; }
llm_provider p5 { endpoint http://127.0.0.1:%%P%%/v1; }
llm_provider f { endpoint http://127.0.0.1:%%F%%/openai/v1; key $KEY_B; }
llm_provider s {
    endpoint https://f.test/openai/v1;
    key $KEY_B;
    ssl_trusted_certificate %%CA%%;
}
llm_provider refused { endpoint http://127.0.0.1:%%REFUSED%%/v1; key $KEY_A; }
llm_provider hole { endpoint http://127.0.0.1:%%HOLE%%/v1; }
llm_provider named { endpoint http://nowhere.invalid/v1; }
upstream f.test { server 127.0.0.1:%%TLS%%; }

llm_model two { target p x-model; target f a-longer-y-model backup; }
llm_model secure { target p x; target s a-longer-y-model backup; }
llm_model secure_refused { target refused x; target s y backup; }
llm_model backwards { target s y; target p x backup; }
llm_model refused { target refused; target f backup; }
llm_model hole { target hole; target f backup; }
llm_model named { target named; target f backup; }
llm_model kept { target p; target refused backup; }
llm_model kept_timeout { target p; target hole backup; }
llm_model kept_dns { target p; target named backup; }
llm_model kept_two {
    target p weight=9999; target p2 weight=99; target refused;
}
llm_model three_dead {
    target refused weight=9999; target hole weight=99; target f;
}
llm_model four_dead {
    target p weight=9999; target p3 weight=999; target p4 weight=99; target p5;
}
llm_model cheap { target f; }
CONF

# a TLS handshake has to fit in, under valgrind, too
$vars{CONNECT} = 300 * slow();

my $gw = LLM::Nginx->new(
    forget => 1, vars => \%vars,
    access_format => '$http_x_tag|$uri $status provider=$llm_provider '
        . 'attempts=$llm_attempts model=$llm_target_model '
        . 'us=$llm_upstream_status upstream="$upstream_status"',
    http => "$PROVIDERS\n" . <<'CONF'
llm_connect_timeout %%CONNECT%%ms;
llm_header_timeout 300ms;
server {
    listen 127.0.0.1:%%PORT%%;
    client_body_buffer_size 16k;
    client_max_body_size 8m;
    location / { llm_pass; }
    location /tries/ { llm_pass; llm_next_provider_tries 2; }
    location /one-try/ { llm_pass; llm_next_provider_tries 1; }
    location /limit/ {
        llm_pass;
        llm_next_provider_timeout 1s;
        llm_header_timeout 5s;
    }
    location /again/ {
        llm_pass;
        llm_intercept_errors on;
        llm_next_provider off;
        error_page 503 = @cheap;
    }
    location @cheap { llm_pass cheap; }
    location /kept/ {
        llm_pass;
        llm_intercept_errors on;
        error_page 429 = @cheap;
    }
    location /kept-page/ {
        llm_pass;
        llm_intercept_errors on;
        error_page 429 /page;
    }
    location = /page { return 200 "the page"; }
CONF
    . join('', map { "location /$_/ { llm_pass; llm_next_provider $_; }\n" }
               @conditions)
    . '}');

$gw->expect_error(qr/connect\(\) failed \(111/, qr/upstream timed out/,
                  qr/prematurely closed connection/,
                  qr/Connection reset by peer/, qr/no live upstreams/);

# (answer, access log line, requests of P, requests of F)

my $tag = 0;

sub ask {
    my ($model, $how, %opt) = @_;

    $tag++;
    my @before = map { $_->count } $p, $f;
    my $dir = $opt{dir} // '';
    my $path = delete $opt{path} // 'chat/completions';
    delete $opt{dir};

    my $r = post_json($gw, "$dir/v1/$path",
                      { model => $model, user => $how // '', %opt },
                      headers => [ [ 'X-Tag' => $tag ] ]);
    my $line = $gw->wait_log(qr/^$tag\|/);
    $line =~ s/^\d+\|//;
    return ($r, $line, $p->count - $before[0], $f->count - $before[1]);
}

sub last_request { my ($fake) = @_; return ($fake->requests)[-1] }


# Everything is made anew for each attempt

for (
    [ 'an answered failure' => 'two', 503, 'x-model', 'a-longer-y-model' ],
    [ 'a failed connect' => 'refused', '', undef, 'refused' ],
    [ 'a failure before TLS' => 'secure', 503, 'x', 'a-longer-y-model' ],
    [ 'a failed connect before TLS' => 'secure_refused', '', undef, 'y' ],
) {
    my ($what, $model, $how, $x, $y) = @$_;
    my ($p_conns, $f_conns) = map { $_->connections } $p, $f;
    my $text = qq({"messages": [{"content":"caf\\u00e9 \xc3\xa9"}],)
               . qq( "model" : "$model","user":"$how","n":1 });

    my $r = post_json($gw, '/v1/chat/completions?q=1', $text, headers => [
        [ Authorization => "Bearer $CLIENT" ], [ 'X-Api-Key' => $CLIENT ],
        [ Cookie => "s=$CLIENT" ], [ 'X-Stainless-Lang' => 'perl' ] ]);
    is($r->status, 200, "$what: F answers (REQ-24)");

    my $to = last_request($f);
    is($to->{path}, '/openai/v1/chat/completions', '  on its own path');
    is($to->{headers}{authorization}, "Bearer $KEY_B", '  with its own key');
    is($to->{headers}{host}, $model =~ /secure/
       ? 'f.test' : '127.0.0.1:' . $f->port, '  under its own Host');
    is($to->{headers}{'x-test-sni'}, $model =~ /secure/ ? 'f.test' : undef,
       '  and SNI');
    my $expected = $text =~ s/"model" : "\w+"/"model" : "$y"/r;
    is($to->{body}, $expected, '  its own model in the body as it was');
    is($to->{headers}{'content-length'}, length $expected,
       '  and the right Content-Length');
    is($to->{headers}{'x-stainless-lang'}, 'perl', '  what travels travels');
    no_canary($f->bytes_seen, $KEY_A, $CLIENT);
    no_canary($p->bytes_seen, $KEY_B, $CLIENT);

    next unless defined $x;
    my $from = last_request($p);
    is($from->{path}, '/v1/chat/completions', '  P had its own path');
    is($from->{headers}{authorization}, "Bearer $KEY_A", '  and key');
    is($from->{body}, $text =~ s/"model" : "\w+"/"model" : "$x"/r,
       '  and model');
}

{
    my $down = LLM::Fake->new(tls => { names => ['f.test'] },
                              answer => sub { status(500) });
    my $gw2 = LLM::Nginx->new(vars => { %vars, TLS => $down->tls,
                                        CA => $down->tls->ca_file },
                              http => "$PROVIDERS\n" . <<'CONF');
server { listen 127.0.0.1:%%PORT%%; location / { llm_pass; } }
CONF
    my $r = post_json($gw2, '/v1/chat/completions',
                      { model => 'backwards', user => '422' });
    is($r->status, 422, 'from TLS to a plain provider');
    is($r->header('x-llm-provider'), 'p', '  which answers');
    is(last_request($p)->{headers}{authorization}, "Bearer $KEY_A",
       '  with its own key');
    no_canary($p->bytes_seen, $KEY_B);
    no_canary($down->bytes_seen, $KEY_A);
    $gw2->done;
}

{
    my $pad = join '', map { chr(97 + $_ % 26) } 1 .. 300_000;
    my ($r, $line, $n, $m) = ask('two', 503, pad => $pad);
    is($r->status, 200, 'a long body, from its temporary file (REQ-36)');
    ok(last_request($f)->{body} =~ /"$pad"/, '  arrives whole at F');
    ok(last_request($p)->{body} =~ /"$pad"/, '  as at P');
}


# Which failures move on

my %outcome = (rst => 'reset', fin => 'reset', slow => 'timeout',
               302 => 'bad_answer', error => 'bad_answer');

for my $how (qw(408 429 500 502 503 504 529 599 401 402 403 404 405 302
                rst fin slow error empty503 chunked closed coded bare long))
{
    my ($r, $line, $n, $m) = ask('two', $how);
    is($r->status, 200, "$how: the next provider answers (REQ-21, REQ-23)");
    is("$n $m", '1 1', '  each was asked once');
    is($r->header('x-llm-provider'), 'f', '  x-llm-provider names it');

    my $status = { empty503 => 503, bare => 429, error => 200 }->{$how}
              // ($how =~ /^\d+$/ ? $how : $outcome{$how} ? '' : 500);
    my $word = $outcome{$how} // $status;
    my $nginx = $how =~ /rst|fin/ ? 502 : $how eq 'slow' ? 504 : $status;
    like($line, qr/^\S+ 200 provider=f attempts=p:$word:\d+ms,f:200:\d+ms/,
         '  $llm_attempts tells of both (REQ-42)');
    like($line, qr/model=a-longer-y-model us=200/, '  and of the last');
    like($line, qr/upstream="$nginx, 200"/, '  $upstream_status, too');
    is($r->header('Retry-After'), undef, '  nothing of P\'s is left');
    is($r->header('X-RateLimit-Reset'), undef, '  in the answer');
}

{
    my ($r, $line) = ask('refused');
    is($r->status, 200, 'connection refused: the next one (REQ-21)');
    like($line, qr/attempts=refused:connect:\d+ms,f:200:\d+ms/, '  connect');
    like($line, qr/upstream="502, 200"/, '  $upstream_status');

    ($r, $line) = ask('hole');
    is($r->status, 200, 'a SYN without an answer: the next one (REQ-20)');
    like($line, qr/attempts=hole:timeout:[1-9]\d{2,3}ms,f:200:\d+ms/,
         '  timeout, at llm_connect_timeout');
    like($line, qr/upstream="504, 200"/, '  $upstream_status');

    ($r, $line) = ask('named');
    is($r->status, 200, 'a host without an address: the next one');
    like($line, qr/attempts=named:dns:\d+ms,f:200:\d+ms/, '  dns');

    ($r, $line) = ask('three_dead');
    is($r->status, 200, 'the third one, too');
    like($line,
         qr/attempts=refused:connect:\d+ms,hole:timeout:\d+ms,f:200:\d+ms/,
         '  targets are tried in order');
}

{
    my ($r, $line, $n, $m) = ask('two', 503, stream => JSON::PP::true());
    is($r->status, 200, 'a stream moves on, too');
    is_deeply([ ($r->sse_data)[-1] ], [ '[DONE]' ], '  and is F\'s, whole');
    is($r->text, 'f', '  and only F\'s');
}

for my $how (400, 409, 413, 415, 418, 422, 451, 499) {
    my ($r, $line, $n, $m) = ask('two', $how);
    is($r->status, $how, "$how is returned at once (REQ-23)");
    is("$n $m", '1 0', '  P was asked, F was not');
    is($r->body, $ERROR, '  its body as it is');
    is($r->header('Content-Type'), 'application/problem+json',
       '  and content type');
    is($r->header('X-RateLimit-Reset'), '9s', '  and headers');
    is($r->header('x-llm-provider'), 'p', '  named');
    is($r->header('x-should-retry'), $how == 409 ? 'false' : undef,
       '  x-should-retry only where an SDK would');
    like($line, qr/attempts=p:$how:\d+ms model=x-model us=$how/, '  logged');
}


# llm_next_provider

my %class = (refused => 'error', rst => 'error', fin => 'error',
             slow => 'timeout', hole => 'timeout', 408 => 'http_408',
             429 => 'http_429', 500 => 'http_5xx', 529 => 'http_5xx',
             401 => 'credential', 402 => 'credential', 403 => 'credential',
             404 => 'not_found', 405 => 'not_found', 302 => 'bad_answer',
             error => 'bad_answer');

for my $condition (@conditions) {
    my (@wrong, $moved);

    for my $how (sort keys %class) {
        my $model = $how =~ /refused|hole/ ? $how : 'two';
        my ($r, $line, $n, $m) = ask($model, $how, dir => "/$condition");
        my $next = $class{$how} eq $condition;
        $moved++ if $next;

        my ($status, $code) =
              $next                          ? (200, '')
            : $class{$how} eq 'error'        ? (502, 'upstream_error')
            : $class{$how} eq 'timeout'      ? (504, 'upstream_timeout')
            : $class{$how} eq 'credential'   ? (502, 'upstream_auth')
            : $how eq '302'                  ? (502, 'bad_answer')
            : $how eq 'error'                ? (502, '')
            :                                  ($how, '7');
        my $got = eval { $r->json->{error}{code} } // '';
        push @wrong, "$how: " . $r->status . " $got, $m of F"
            if $r->status != $status || $got ne $code || $m != !!$next;
        push @wrong, "$how: Location" if $r->header('Location');
    }
    ok(!@wrong, "llm_next_provider $condition: "
                . ($moved ? 'moves on for that alone' : 'never moves on'))
        or diag(map { "$_\n" } @wrong);
}

{
    my $other = eval {
        LLM::Nginx->new(forget => 1, vars => \%vars,
                        http => "$PROVIDERS\n" . <<'CONF');
server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_pass; llm_next_provider http_503 http_409; }
}
CONF
    };
    ok($other, 'llm_next_provider http_NNN: any status') or diag($@);
    SKIP: {
        skip('not taken', 3) unless $other;
        for ([ 503, 200 ], [ 409, 200 ], [ 500, 500 ]) {
            my ($how, $status) = @$_;
            my $r = post_json($other, '/v1/chat/completions',
                              { model => 'two', user => "$how" });
            is($r->status, $status, "  $how is $status");
        }
        $other->done;
    }
}


# Where it stops

{
    my ($r, $line, $n) = ask('four_dead', 503);
    is($n, 3, 'all fail: exactly llm_next_provider_tries (3) requests'
              . ' (REQ-26)');
    is($r->status, 503, '  the last one\'s error');
    is($r->body, $ERROR, '  as it is (REQ-27)');
    is($r->header('x-should-retry'), 'false', '  x-should-retry: false');
    is($r->header('Retry-After'), 7, '  and its own Retry-After');
    is($r->header('x-llm-provider'), 'p4', '  from the last one tried');
    like($line, qr/attempts=p:503:\d+ms,p3:503:\d+ms,p4:503:\d+ms /,
         '  all in $llm_attempts');
    like($line, qr/upstream="503, 503, 503"/, '  and $upstream_status');

    ($r, $line, $n) = ask('four_dead', 503, dir => '/tries');
    is($n, 2, 'llm_next_provider_tries 2: two requests');
    is($r->header('x-should-retry'), 'false', '  x-should-retry: false');

    ($r, $line, $n) = ask('four_dead', 'rst', dir => '/tries');
    is($n, 2, '  and two connections that were reset');
    is($r->status, 502, '  502 in the end');
    is($r->json->{error}{code}, 'upstream_error', '  upstream_error');
    is($r->header('x-should-retry'), 'false', '  x-should-retry: false');

    ($r, $line, $n, my $m) = ask('three_dead', '', dir => '/tries');
    is($m, 0, 'a third target is not tried then');
    is($r->status, 504, '  the last one timed out: 504');
    is($r->json->{error}{code}, 'upstream_timeout', '  upstream_timeout');

    ($r, $line, $n, $m) = ask('two', 503, dir => '/one-try');
    is("$n $m", '1 0', 'llm_next_provider_tries 1: no other provider');
    is($r->status, 503, '  the error passes');

    ($r, $line, $n, $m) = ask('two', 'late503', dir => '/limit');
    is("$n $m", '1 0', 'llm_next_provider_timeout: too late for the next');
    is($r->status, 503, '  the error passes');
    ($r, $line, $n, $m) = ask('two', 503, dir => '/limit');
    is("$n $m", '1 1', '  but not for a quick failure');
}

for my $id (qw(previous_response_id conversation)) {
    my ($r, $line, $n, $m) = ask('two', 503, path => 'responses',
                                 $id => 'resp_1');
    is("$n $m", '1 0', "responses with $id: no failover");
    is($r->status, 503, '  the error passes');
    is($r->body, $ERROR, '  as it is');

    ($r, $line, $n, $m) = ask('two', 503, $id => 'resp_1');
    is("$n $m", '1 1', "chat/completions with $id: as ever");
}

{
    my ($r, $line, $n, $m) = ask('two', 503, path => 'responses',
                                 previous_response_id => undef);
    is("$n $m", '1 1', 'responses with previous_response_id null: as ever');
}


# The last attempt gave no answer: the one before is passed

for (
    [ 'refused' => 'kept', 'connect', 502 ],
    [ 'timed out' => 'kept_timeout', 'timeout', 504 ],
    [ 'without an address' => 'kept_dns', 'dns' ],
) {
    my ($what, $model, $word, $nginx) = @$_;

    for my $how (429, 500, 404) {
        my ($r, $line) = ask($model, $how);
        is($r->status, $how, "$how, then $what: the $how is passed");
        is($r->body, $ERROR, '  its body as it is');
        is($r->header('Content-Type'), 'application/problem+json',
           '  its content type');
        is($r->header('Content-Length'), length $ERROR, '  its length');
        is($r->header('Retry-After'), 7, '  its Retry-After');
        is($r->header('X-RateLimit-Reset'), '9s', '  its other headers');
        is($r->header('x-should-retry'), $how == 404 ? undef : 'false',
           '  x-should-retry');
        is($r->clean_end, 1, '  whole');
        like($line, qr/ $how \S+ attempts=p:$how:\d+ms,\w+:$word:\d+ms /,
             '  logged with that status');
    }
}

{
    my ($r) = ask('kept', 'empty503');
    is($r->status, 503, 'an empty error is kept');
    is($r->body, '', '  empty');
    is($r->header('Retry-After'), 1, '  503 has a Retry-After');

    ($r) = ask('kept', 'bare');
    is($r->status, 429, 'a 429 without Retry-After is kept');
    is($r->header('Retry-After'), 1, '  and gets one');

    ($r) = ask('kept', 'chunked');
    is($r->status, 500, 'a chunked error is kept');
    is($r->body, 'in two pieces', '  decoded');
    is($r->header('Content-Type'), 'text/plain', '  with its type');

    ($r) = ask('kept', 'closed');
    is($r->body, 'until eof', 'a close-delimited error is kept');

    ($r) = ask('kept', 'coded');
    is($r->status, 500, 'a coded error is kept');
    is($r->header('Content-Encoding'), 'gzip', '  and says so');

    ($r) = ask('kept', 'long');
    is($r->status, 502, 'an error over 64 KiB is not kept');
    is($r->json->{error}{code}, 'upstream_error', '  upstream_error');

    my $started = now();
    ($r, undef, my $n, my $m) = ask('two', 'stuck');
    is($r->status, 200, 'an error whose body does not come: the next one');
    is("$n $m", '1 1', '  after it was asked once');
    between(now() - $started, 0.9, 4, '  after a second');

    ($r) = ask('kept', 'stuck');
    is($r->status, 502, '  and it is not kept');
    is($r->json->{error}{code}, 'upstream_error', '  upstream_error');

    for my $how (401, 402, 403) {
        ($r) = ask('kept', $how);
        is($r->status, 502, "$how, then refused: 502");
        is($r->json->{error}{code}, 'upstream_auth', '  upstream_auth');
        unlike($r->raw, qr/from P/, '  without a word of the provider\'s');
    }

    ($r, my $line) = ask('kept_two', 429);
    is($r->status, 500, '429, 500, refused: the last answer is passed');
    like($line, qr/attempts=p:429:\d+ms,p2:500:\d+ms,refused:connect:\d+ms/,
         '  all are logged');

    ($r) = ask('kept_two', 429, second => 401);
    is($r->status, 502, '429, 401, refused: the last answer was a 401');
    is($r->json->{error}{code}, 'upstream_auth', '  upstream_auth');

    ($r) = ask('kept_two', 401, second => 429);
    is($r->status, 429, '401, 429, refused: it was a 429');
}


# Another pass

{
    my ($r, $line, $n, $m) = ask('two', 503, dir => '/again');
    is($r->status, 200, 'error_page to a location with llm_pass');
    is("$n $m", '1 1', '  P once, F once');
    like($line, qr/attempts=p:503:\d+ms : f:200:\d+ms /,
         '  $llm_attempts has " : " between the passes');

    ($r, $line) = ask('kept', 'bare', dir => '/kept');
    is($r->status, 200, 'error_page of an answer that was kept');
    like($line, qr/attempts=p:429:\d+ms,refused:connect:\d+ms : f:200:/,
         '  after all that was tried');
    ($r) = ask('kept', 'bare', dir => '/kept-page');
    is($r->status, 429, '  to a page: under the status that was kept');
    is($r->body, 'the page', '  the page');
    ($r) = ask('kept', '503', dir => '/kept');
    is($r->status, 503, '  another status passes');
    is($r->body, $ERROR, '  as it was');
}

$gw->done;
done_testing;
