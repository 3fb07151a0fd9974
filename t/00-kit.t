#!/usr/bin/perl

# The test kit itself, against plain nginx without our module: what the client
# and the fake provider report is what happened on the wire, and nothing that
# goes wrong goes unnoticed.  If this file fails, no other file proves anything.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use LLM::DNS;
use LLM::H2;
use LLM::Redis;
use LLM::Wire;
use LLM::TLSFront;
use LLM::Util qw(alive);

my %by_path = (
    '/json'    => sub { json({ n => $_[0]{n}, told => $_[0]{mode} }) },
    '/cut'     => sub { (header('Content-Length', 100), chunk('x' x 40), fin) },
    '/chunked-cut' => sub { (chunk('some'), fin) },
    '/no-end'  => sub { (close_delimited, chunk('all of it')) },
    '/rst'     => sub { (chunk('some'), delay(0.02), rst) },
    '/stream'  => sub { map { (sse({ n => $_ }), delay(0.1)) } 1 .. 5 },
    '/gate'    => sub { (sse('one'), gate('go'), sse('two')) },
    '/hang'    => sub { (head, hang) },
    '/stale'   => sub { (json({ n => $_[0]{conn_n} }), stale) },
    '/bytes'   => sub { (split_every(1), chunk("data: a\r\n\r\n")) },
    '/split'   => sub { (close_delimited, head, split_at(3, 7),
                         chunk('0123456789')) },
    '/endless' => sub { repeat_steps(0, sub { sse({ n => $_[0] }) }) },
    '/gzip'    => sub { gzip('plain' x 100) },
    '/big'     => sub { (header('X-Big', 'a' x 100_000), body('ok')) },
    '/mid'     => sub { (raw("HTTP/1.1 200 OK\r\nContent-Ty"), fin) },
    '/garbage' => sub { (raw("\x00\xffno HTTP"), fin) },
    '/trailer' => sub { (trailer('X-Sum', '42'), chunk('body')) },
    '/interim' => sub { (interim(103, [ 'Link', '</a>' ]), body('after')) },
);

my $p = LLM::Fake->new(
    early => sub { $_[0]{path} eq '/early' ? (status(413), body('no')) : () },
    answer => sub { $by_path{ $_[0]{path} }->(@_) });

my $started = now();
my $gw = LLM::Nginx->new(module => 0, workers => 2, vars => { P => $p },
                         access_format => '$request $status "$http_x_tag"',
                         server => <<'CONF');
    location / {
        proxy_pass http://127.0.0.1:%%P%%;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_buffering off;
    }
    location = /nowhere { proxy_pass http://127.0.0.1:%%PORT_1%%; }
    location = /empty { return 204; }
    location = /echo {
        client_max_body_size 8m;
        proxy_pass http://127.0.0.1:%%P%%/json;
    }
    location = /slow { limit_rate 1; return 200 "0123456789"; }
}
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location / { proxy_pass http://127.0.0.1:%%P%%; proxy_buffering off; }
CONF
between(now() - $started, 0, 2, 'nginx is up in no time');


# nginx

{
    my ($status, $said) = LLM::Nginx->check(module => 0,
                                            server => 'no_such_thing on;');
    is($status, 1, 'check: a broken configuration has exit status 1');
    like($said, qr/unknown directive "no_such_thing"/, '  and says why');

    ($status) = LLM::Nginx->check(module => 0, server => '');
    is($status, 0, 'check: a good one has 0');

    ok(!eval { LLM::Nginx->new(module => 0, server => 'nonsense;'); 1 },
       'nginx that does not start is an exception');
    like($@, qr/unknown directive "nonsense"/, '  with its error text');
}

{
    my @before = $gw->worker_pids;
    is(@before, 2, 'two workers run');
    ok($gw->reload, 'reload waits for the new generation');
    my @after = $gw->worker_pids;
    is(@after, 2, '  of two workers');
    my %old = map { $_ => 1 } @before;
    is((grep { $old{$_} } @after), 0, '  which are new processes');
    is((grep { !alive($_) } @after), 0, '  and alive');
}

{
    my $other = LLM::Nginx->new(module => 0, server => 'location / {}');
    ok(!$other->reload(server => 'nonsense;'), 'a refused reload is told');
    is($other->problems, 1, '  and its [emerg] is a problem');
    $other->expect_error(qr/nonsense/);
    is($other->problems, 1, '  that expect_error does not excuse');
    $other->expect_alert(qr/nonsense/);
    is($other->problems, 0, '  but expect_alert does');

    for my $report ('==7==ERROR: AddressSanitizer: heap-use-after-free',
                    'a.c:1:2: runtime error: signed integer overflow',
                    '==7== Invalid read of size 8',
                    '==7== 9 bytes in 1 blocks are definitely lost in loss')
    {
        my $bad = LLM::Nginx->_prepare(module => 0);
        $bad->expect_error(qr/./);
        spew("$bad->{dir}/stderr", "one\n$report\nthree\n");
        is_deeply([ $bad->problems ], [ $report ], "reported: $report");
    }

    my ($worker) = $other->worker_pids;
    kill 'ABRT', $worker;
    ok($other->wait_error_log(qr/exited on signal 6/), 'a worker crashed');
    like(join("\n", $other->problems), qr/signal 6/, '  that is a problem');
    $other->expect_alert(qr/exited on signal 6/);
    $other->done('a declared crash is none');
    ok(!alive($other->{pid}), 'a stopped nginx is gone');
}

{
    my $mark = $gw->mark;
    get($gw, '/json', headers => [ [ 'X-Tag', 'canary-1' ] ]);
    like($gw->wait_log(qr/canary-1/, since => $mark), qr{^GET /json HTTP/1.1 200},
         'an access log line is waited for');
    ok(!eval { $gw->wait_log(qr/never/, timeout => 0.05); 1 },
       'a line that does not come');
    like($@, qr/deadline: no access log line matching/, '  is a deadline');

    is(get($gw, '/nowhere')->status, 502, 'refused by a port without listener');
    is($gw->problems, 1, 'an [error] is a problem');
    $gw->expect_error(qr/connect\(\) failed \(111/);
    is($gw->problems, 0, '  unless the test declares it');
}

{
    my $upgrade = LLM::Nginx->new(module => 0, daemon => 1,
                                   server => 'return 200 $pid;');
    my $old = get($upgrade, '/')->body;
    $upgrade->upgrade;
    isnt(get($upgrade, '/')->body, $old, 'a binary upgrade is followed');
    $upgrade->done;

    my $single = LLM::Nginx->new(module => 0, master => 0,
                                 env => { X => 'canary' },
                                 main => 'env X;', server => 'return 204;');
    is(get($single, '/')->status, 204, 'nginx runs without a master');
    like(slurp('/proc/' . $single->master_pid . '/environ'), qr/X=canary/,
         '  in the environment given');
    $single->done;
}


# the client

{
    my $r = get($gw, '/json');
    is($r->status, 200, 'an answer');
    is($r->header('content-type'), 'application/json', '  has headers');
    ok($r->json->{n}, '  and JSON');
    is($r->clean_end, 1, '  with a clean end');
    ok(!$r->error, '  and no error');

    $gw->expect_error(qr/prematurely closed connection/,
                      qr/Connection reset by peer/);
    for my $path (qw(/cut /chunked-cut /rst)) {
        $r = get($gw, $path);
        is($r->status, 200, "$path begins like an answer");
        is($r->clean_end, 0, '  but the cut is seen');
        is($r->error, 'eof', '  as an end before the end');
    }

    $r = get($p, '/rst');
    is($r->error, 'reset', 'RST is told from FIN');
    is($r->body, 'some', '  and what came before is there');

    $r = get($p, '/no-end');
    is($r->clean_end, 1, 'closing ends a close-delimited answer');
    is($r->body, 'all of it', '  which is complete');

    is(get($gw, '/empty')->clean_end, 1, '204 ends with its header');
    is(request($gw, method => 'HEAD', path => '/json')->clean_end, 1,
       'and so does the answer to HEAD');

    $r = get($p, '/trailer');
    is($r->trailer('x-sum'), '42', 'trailers are read');
    $r = get($p, '/interim');
    is_deeply([ $r->interim ], [ 103 ], 'a 1xx answer is kept apart');
    is($r->body, 'after', '  from the final one');

    $r = get($p, '/garbage');
    is($r->status, 0, 'garbage is no answer');
    $r = get($gw, '/slow', timeout => 0.3);
    is($r->error, 'timeout', 'a deadline shows as such');
    between($r->time_end - $r->time_sent, 0.25, 2, '  when it is reached');
}

{
    my $r = get($gw, '/stream');
    is_deeply([ map { $_->{n} } $r->sse_json ], [ 1 .. 5 ], 'events are split');
    my @t = map { $_->{time} } $r->events;
    between($t[4] - $t[0], 0.35, 2, '  and their arrival is timed');
    my ($req) = grep { $_->{path} eq '/stream' } $p->requests;
    events_ok($r, $p, $req->{n}, 0.2);

    $r = get($p, '/bytes');
    is(scalar($r->events), 1, 'an event in single bytes is one event');
    cmp_ok(scalar($r->chunks), '>', 20, '  that came in single bytes');
    is((grep { length $_->[1] > 1 } $r->chunks), 0, '  every one');

    $r = get($p, '/split');
    is_deeply([ map { $_->[1] } ($r->chunks)[1 .. 3] ], [ qw(012 3456 789) ],
              'the peer sees the pieces of split_at');

    $r = LLM::Response->new;
    $r->push_bytes("HTTP/1.1 200 OK\r\n\r\n: hi\r\n\r\nid: 7\rdata: a\n"
                   . "data:b\r\n\r", 1);
    is(scalar($r->events), 2, 'events may end in CR, LF or CRLF');
    $r->push_bytes("\ndata: rest", 2);
    my ($comment, $event) = $r->events;
    is_deeply($comment->{comments}, [ ' hi' ], 'comments are kept');
    is("$event->{id} $event->{data}", "7 a\nb", 'data lines are joined');
    is($event->{time}, 1, 'an event has the time of its last byte');
    is($r->sse_rest, 'data: rest', 'an unfinished event is none');
}

{
    my $c = LLM::Client->connect($gw);
    $c->send_request(path => '/gate');
    is($c->read_header->status, 200, 'stepwise: the header');
    is($c->read_event->{data}, 'one', '  the first event');
    ok(!eval { $c->read_event(0.05); 1 }, '  no second one');
    like($@, qr/deadline: no event 2 within/, '  by the deadline');
    $p->open_gate('go');
    is($c->read_event->{data}, 'two', '  until the test opens the gate');
    is($c->read_event, undef, '  and then no more');
    ok($c->{response}->clean_end, '  the end is clean');
    is($c->wait_close, 'fin', '  and the connection closed');

    $c = LLM::Client->connect($gw);
    for my $n (1 .. 3) {
        $c->send_request(path => '/json', keepalive => 1);
        is($c->read_response->status, 200, "request $n of a connection");
        ok($c->idle, '  which stays open');
    }
    $c->close;
}

{
    my $body = join '', map { chr(33 + $_ % 90) } 1 .. 200_000;
    my $echo = sub {
        my $before = $p->count;
        my $r = request($gw, path => '/echo', method => 'POST', @_);
        return ($r, ($p->requests)[$before]);
    };

    for ([ 'with a length', body => $body ],
         [ 'chunked', chunked => [ unpack '(a7777)*', $body ] ],
         [ 'after 100 Continue', body => $body, expect100 => 1 ],
         [ 'in writes of 1000 bytes', body => $body,
           pace => { bytes => 1000 } ])
    {
        my ($how, @opt) = @$_;
        my ($r, $req) = $echo->(@opt);
        ok($req->{body} eq $body, "a body sent $how arrives");
        is_deeply([ $r->interim ], [ 100 ], '  after 100') if $how =~ /after/;
    }

    my ($r) = $echo->(body => 'x' x 9_000_000, expect100 => 1);
    is($r->status, 413, 'an answer instead of 100 Continue is read');
    ($r) = $echo->(body => 'x' x 9_000_000);
    is($r->status, 413, 'and one while the body is being sent');
    $gw->expect_error(qr/client intended to send too large body/);

    ($r, my $req) = $echo->(body => 'abc', pace => { bytes => 1,
                                                     every => 0.005 });
    ok($req->{body} eq 'abc', 'a request in paced single bytes arrives');
    between($r->time_end - $r->time_sent, 0, 2, '  and is timed');

    my $post = post_json($p, '/json', { b => 1, a => 'x' });
    is(($p->requests)[-1]{body}, '{"a":"x","b":1}', 'post_json is canonical');
    is(($p->requests)[-1]{json}{b}, 1, '  and JSON for the fake, too');
}


# the fake provider

{
    my $canary = 'sk-canary-0123456789';
    get($p, '/json', headers => [ [ 'Authorization', "Bearer $canary" ] ]);
    my $req = ($p->requests)[-1];
    is($req->{headers}{authorization}, "Bearer $canary", 'headers recorded');
    has_bytes($p->bytes_seen, $canary, 'bytes_seen has all bytes');
    no_canary($p->bytes_seen($p->connections - 1), $canary);

    $p->mode('down');
    is(get($p, '/json')->json->{told}, 'down', 'the test can tell the fake');

    my $before = $p->count;
    request($p, body => 'abc', path => '/early', method => 'POST',
            headers => [ [ 'Content-Length', 10 ] ], timeout => 1);
    is($p->count, $before + 1, 'an incomplete request is counted');
    is(($p->requests)[-1]{complete}, 0, '  as incomplete');
    is(($p->requests)[-1]{body}, 'abc', '  with what came of it');
}

{
    my $c = LLM::Client->connect($gw);
    $c->send_request(path => '/hang');
    $c->read_header;
    my $gone = now();
    $c->close;
    between($p->closed_at - $gone, 0, 1, 'client gone, upstream closed');
    is($p->closed_how, 'fin', '  by FIN');

    $c = LLM::Client->connect($p);
    $c->send_request(path => '/endless');
    $c->read_event for 1 .. 100;
    $gone = now();
    $c->reset;
    between($p->closed_at - $gone, 0, 1, 'RST of a reader is noticed');
    is($p->writes(($p->requests)[-1]{n}), 0, 'endless writes are no record');

    $c = LLM::Client->connect($p);
    $c->send_request(path => '/stale', keepalive => 1);
    is($c->read_response->header('Connection'), undef, 'keepalive promised');
    is($c->wait_close, 'fin', '  and broken');
}

{
    my $r = get($p, '/gzip');
    is($r->header('Content-Encoding'), 'gzip', 'a coded body');
    isnt($r->body, 'plain' x 100, '  is coded');
    is(length get($p, '/big')->header('X-Big'), 100_000, 'a large header');
    is(get($p, '/mid')->error, 'eof', 'an end within the header');

    my $refused = LLM::Fake->refused;
    ok(!eval { LLM::Client->connect($refused) }, 'refused refuses');
    like($@, qr/refused/, '  at connect');

    my $silent = LLM::Fake->silent;
    is(get($silent, '/', timeout => 0.1)->error, 'timeout', 'silent is silent');
    is($silent->count, 1, '  but counts');

    my $rude = LLM::Fake->new(on_accept => sub { rst });
    is(get($rude, '/', timeout => 2)->error, 'reset', 'RST right after accept');
    is($rude->connections, 1, '  of one connection');

    my $hole = LLM::Fake->blackhole;
    socket my $sock, 2, Socket::SOCK_STREAM() | Socket::SOCK_NONBLOCK(), 0;
    connect $sock, Socket::pack_sockaddr_in($hole->port,
                                            Socket::inet_aton('127.0.0.1'));
    my $mask = '';
    vec($mask, fileno $sock, 1) = 1;
    is(select(undef, $mask, undef, 0.2), 0, 'a blackhole never connects');

    my $again = LLM::Fake->new;
    get($again, '/');
    $again->stop;
    ok(!eval { get($again, '/') }, 'a stopped provider refuses');
    $again->start;
    is(get($again, '/')->status, 200, '  and comes back on its port');
    is($again->count, 2, '  with its record');

    my $early = LLM::Fake->new(
        early => sub { (status(413), body('no')) }, idle_close => 0.05);
    my $c = LLM::Client->connect($early);
    $c->send_request(method => 'POST', keepalive => 1,
                     headers => [ [ 'Content-Length', 3 ] ]);
    is($c->read_response->status, 413, 'an answer before the body');
    $c->send_bytes('abc');
    is(($early->wait_requests(1))[0]{body}, 'abc', '  which then arrives');
    is($c->wait_close, 'fin', 'an idle connection is closed');
}

{
    my $openai = LLM::Fake->openai(tokens => 3, answer => sub {
        return $_[0]{n} == 1 ? status(503) : ();
    });
    my $chat = { model => 'm', messages => [], stream => JSON::PP::true,
                 stream_options => { include_usage => JSON::PP::true } };
    my $url = '/v1/chat/completions';
    is(post_json($openai, $url, $chat)->status, 503, 'a script comes first');

    my $r = post_json($openai, $url, $chat);
    is($r->text, 'tok1 tok2 tok3 ', 'a chat stream by default');
    my @data = $r->sse_data;
    is($data[-1], '[DONE]', '  ends in [DONE]');
    is(($r->sse_json)[-1]{usage}{completion_tokens}, 3, '  after its usage');

    $r = post_json($openai, $url, { model => 'm', n => 2 });
    is($r->json->{usage}{total_tokens}, 17, 'a chat answer with usage');
    is($r->json->{choices}[1]{finish_reason}, 'stop', '  and n choices');

    for ([ 'completions', 'choices' ], [ 'embeddings', 'data' ],
         [ 'responses', 'output' ], [ 'moderations', 'results' ],
         [ 'images/generations', 'data' ])
    {
        my ($op, $key) = @$_;
        is(ref post_json($openai, "/v1/$op", { model => 'm', input => 'x' })
               ->json->{$key}, 'ARRAY', "$op has $key");
    }
    is(ref get($openai, '/v1/models')->json->{data}, 'ARRAY', 'models');

    $r = post_json($openai, '/v1/responses', { model => 'm', stream => 1 });
    is(($r->events)[-1]{event}, 'response.completed', 'a stream of responses');
}


# TLS, HTTP/2, Redis, DNS

{
    my $q = LLM::Fake->new(tls => { names => ['provider.test'] });
    my $ask = sub {
        my ($tls, @args) = @_;
        return `curl -sS --connect-to ::127.0.0.1:@{[ $tls->port ]} @args 2>&1`;
    };
    my $ca = '--cacert ' . $q->tls->ca_file;

    is($ask->($q->tls, $ca, 'https://provider.test/x'), canon({ fine() }),
       'TLS by our CA');
    my ($req) = $q->requests;
    is($req->{headers}{'x-test-sni'}, 'provider.test', 'the SNI is reported');
    is($req->{headers}{host}, 'provider.test', '  beside the Host');
    like($ask->($q->tls, 'https://provider.test/'), qr/certificate problem/,
         'another CA does not verify');
    like($ask->($q->tls, $ca, 'https://other.test/'), qr/no alternative|match/,
         'nor does another name');

    my %with = (to => $q, certs => $q->tls->certs);
    my $expired = LLM::TLSFront->new(%with, expired => 1);
    like($ask->($expired, $ca, 'https://provider.test/'), qr/expired/,
         'an expired certificate is expired');
    my $self = LLM::TLSFront->new(%with, self_signed => 1);
    like($ask->($self, $ca, 'https://provider.test/'), qr/self.signed/,
         'a self-signed one is self-signed');

    my $mutual = LLM::TLSFront->new(%with, client_cert => 1);
    like($ask->($mutual, $ca, 'https://provider.test/'), qr/400 No required/,
         'a client certificate can be required');
    is($ask->($mutual, $ca, '--cert', $mutual->client_cert_file, '--key',
              $mutual->client_key_file, 'https://provider.test/'), canon({ fine() }),
       '  and given');
    is(($q->requests)[-1]{headers}{'x-test-client-verify'}, 'SUCCESS',
       '  and is reported');
}

SKIP: {
    skip(LLM::H2->missing, 4) if LLM::H2->missing;

    my $r = LLM::H2::request($gw->port(2), path => '/json', body => 'abc');
    is($r->version, 'HTTP/2', 'an HTTP/2 answer');
    is(($p->requests)[-1]{body}, 'abc', '  to a request with a body');
    is($r->clean_end, 1, '  with a clean end');
    $r = LLM::H2::request($gw->port(2), path => '/cut');
    is($r->clean_end, 0, 'a reset stream is a cut');
}

{
    my $redis = LLM::Redis->new(password => 'secret');
    $redis->monitor;
    $redis->cmd('HSET', 'key', 'field', "va\r\nlue");
    is($redis->cmd('HGET', 'key', 'field'), "va\r\nlue", 'Redis answers');
    is($redis->cmd('GET', 'nothing'), undef, '  with nil');
    ok(!eval { $redis->cmd('GET', 'key') }, '  and errors');
    is($redis->dump, "key field va\r\nlue\n", 'all of it can be dumped');
    wait_for(sub { $redis->monitored =~ /HGET/ }, 2, 'HGET in MONITOR');
    $redis->stop;
    ok(!eval { $redis->cmd('PING') }, 'a stopped one is gone');
}

{
    my $wire = LLM::Wire->new(to => LLM::Redis->new);
    my $say = sub {
        my ($c, @words) = @_;
        print $c '*' . @words . "\r\n", map { '$' . length . "\r\n$_\r\n" } @words;
        $c->flush;
        return scalar readline $c;
    };
    my $dial = sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . $wire->port) };

    my $c = $dial->();
    is($say->($c, 'INCR', 'n'), ":1\r\n", 'the wire passes a reply');
    $wire->drop_replies(1);
    is($say->($c, 'INCR', 'n'), undef, '  closes in the place of one');
    $wire->pass;
    $c = $dial->();
    is($say->($c, 'INCR', 'n'), ":3\r\n", '  of a command that was executed');
    $wire->answers(INCR => "-OOM\r\n");
    is($say->($c, 'INCR', 'n'), "-OOM\r\n", '  answers itself');
    is($say->($c, 'GET', 'n'), "\$1\r\n", '  only what it was told to');
    is(readline $c, "3\r\n", '  in order');
    $wire->garbage("?\r\n");
    is($say->($c, 'GET', 'n'), "?\r\n", '  or garbles a reply');
    is_deeply([ $wire->commands ], [ ('INCR n') x 4, ('GET n') x 2 ],
              '  and notes commands');
    is($wire->connections, 2, '  and connections');
    $wire->cut;
    is(readline $c, undef, '  and cuts');
}

{
    my $dns = LLM::DNS->new('p.test' => '127.0.0.1', 'off.test' => 'SERVFAIL');
    my $front = LLM::Nginx->new(
        module => 0, vars => { DNS => $dns, P => $p }, server => <<'CONF');
    resolver 127.0.0.1:%%DNS%% ipv6=off valid=1s;
    location / {
        set $name $arg_name;
        proxy_pass http://$name:%%P%%/json;
    }
CONF
    is(get($front, '/?name=p.test')->status, 200, 'a name resolves');
    is(get($front, '/?name=off.test')->status, 502, '  another fails');
    $front->expect_error(qr/could not be resolved/);
    $dns->set('off.test' => [ '127.0.0.1' ]);
    wait_for(sub { get($front, '/?name=off.test')->status == 200 }, 5, '200');
    is(($dns->queries)[0], 'p.test A', '  as the test says');
    $front->done;
}


# the kit's own honesty: scripts that fail in the ways a test can fail

sub script {
    my ($text) = @_;
    my $file = spew(tempdir() . '/x.t', "use lib '$Bin/lib';\n"
                    . "use LLM::Test;\n$text");
    local $ENV{TMPDIR} = tempdir();     # what SIGKILL leaves goes with it
    my $said = `$^X $file 2>&1`;
    return ($? >> 8, $said);
}

{
    my $start = q{my $gw = LLM::Nginx->new(module => 0, server => '');
                  my $p = LLM::Fake->new(answer => sub { die 'oh' });
                  print "# pids ", $gw->master_pid, " ", $p->pid, "\n";};

    my ($status, $said) = script("$start die 'in the middle';");
    isnt($status, 0, 'a test that dies fails');
    my ($nginx, $fake) = $said =~ /# pids (\d+) (\d+)/;
    ok(!alive($nginx), '  and leaves no nginx');
    ok(!alive($fake), '  and no fake');

    ($status, $said) = script("$start get(\$p, '/'); ok(1); done_testing;");
    isnt($status, 0, 'an answer sub that dies fails the test');
    like($said, qr/answer sub died: oh/, '  with its message');

    ($status, $said) = script("$start kill 'KILL', \$\$;");
    ($nginx, $fake) = $said =~ /# pids (\d+) (\d+)/;
    ok(wait_for(sub { !alive($nginx) && !alive($fake) }, 5, 'death'),
       'a test killed by SIGKILL leaves nothing either');

    ($status, $said) = script(q{my $gw = LLM::Nginx->new(module => 0,
        server => 'location / { proxy_pass http://127.0.0.1:1; }');
        get($gw, '/'); ok(1); done_testing;});
    isnt($status, 0, 'an [error] fails a test that forgets ->done');
    like($said, qr/not \$gw->done: .*\[error\]/, '  and is shown');

    my %ports = map { reserve_port() => 1 } 1 .. 50;
    is(keys %ports, 50, 'ports are not given out twice');
    ($status, $said) = script(q{print join ' ', '#',
                                map { reserve_port() } 1 .. 50;});
    is((grep { $ports{$_} } $said =~ /\d+/g), 0, '  to other processes too');
}

no_canary('all is well', 'sk-canary');
{
    my @found;
    no warnings 'redefine';
    local *Test::More::ok = sub ($;$) { push @found, $_[0]; 1 };
    no_canary("x $_ y", 'sk-canary-key')
        for 'sk-canary-key', MIME::Base64::encode_base64('user:sk-canary-key'),
            unpack('H*', 'sk-canary-key'), 'SK-CANARY-KEY', '';
    is(join('', map { $_ ? 1 : 0 } @found), '00001',
       'secrets are found in their disguises');
}

$gw->done;
done_testing;
