#!/usr/bin/perl

# Single flight: of equal requests that come while the first one is under way
# one alone is sent; the others wait for its answer, and go on their own if it
# has none for them.  Nobody hangs, and nobody gets half an answer.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;
use LLM::Util qw(alive);

my $CHAT = '/v1/chat/completions';
my $TOKENS = 13;                     # of each answer
my ($TRUE, $FALSE) = (JSON::PP::true, JSON::PP::false);

# "gate" is where the first request of a question waits, "first" how it ends;
# all the others are answered well and at once.
my %seen;

sub provider {
    my ($req) = @_;
    my $json = $req->{json};
    my $gate = $json->{gate} // '';
    my $first = $seen{$gate}++ == 0;
    my $how = $first ? $json->{first} // 'well' : 'well';
    my @gate = $first && $gate ne '' ? gate($gate)
               : ($req->{mode} // '') eq 'hold' ? gate('hold') : ();
    my $n = $req->{n};
    my $text = "n$n" . 'x' x ($json->{long} // 0);
    my %usage = (usage => { prompt_tokens => 9, completion_tokens => 4,
                            total_tokens => $TOKENS });
    my $finish = $how eq 'filter' ? 'content_filter' : 'stop';

    return (@gate, status(500), json({ error => { message => 'first' } }))
        if $how eq 'error';
    return (@gate, rst()) if $how eq 'rst';
    return (@gate, header('Set-Cookie', 'a=b'), json({ id => "c$n" }))
        if $how eq 'cookie';

    if (!$json->{stream}) {
        my %answer = (id => "c$n", object => 'chat.completion', model => 'up',
                      choices => [ { index => 0, finish_reason => $finish,
                      message => { role => 'assistant', content => $text } } ],
                      %usage);
        return (@gate, header('Content-Length', 4000),
                chunk('{"id":"half","choices":['), rst()) if $how eq 'cut';
        return (@gate, json(\%answer));
    }

    my %head = (id => "c$n", object => 'chat.completion.chunk', model => 'up');
    my $delta = { %head, choices => [ { index => 0, delta => {
                  role => 'assistant', content => $text } } ] };
    my $asked = $json->{stream_options}
                && $json->{stream_options}{include_usage};

    return (sse($delta), @gate, rst()) if $how eq 'cut';
    return (@gate, sse($delta, { %head, choices => [ { index => 0,
            delta => {}, finish_reason => $finish } ] },
            $asked ? { %head, choices => [], %usage } : (), '[DONE]'));
}

my $p = LLM::Fake->new(answer => \&provider);

my $HTTP = <<'CONF';
    llm_cache_zone 2m;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_provider down { endpoint http://127.0.0.1:%%DOWN%%/v1; }
    llm_model m { target p; }
    llm_model down { target down; }
    llm_quota_zone q key=$http_x_who requests=10000/1h tokens=1m/1h;
    llm_quota_zone slots key=$http_x_who concurrency=12;

    server {
        listen 127.0.0.1:%%PORT%% reuseport backlog=512;
        llm_cache on;
        location / { llm_pass; }
        location /plain/ {
            proxy_pass http://127.0.0.1:%%P%%;
            proxy_buffering off;
        }
        location /drain/ { llm_on_abort drain 20s; llm_pass; }
        location /short/ { llm_cache_lock_timeout 400ms; llm_pass; }
        location /never/ { llm_cache_lock_timeout 0; llm_pass; }
        location /ping/ { llm_ping 40ms; llm_pass; }
        location /bypass/ { llm_cache_bypass $http_x_no; llm_pass; }
        location /none/ { llm_cache_max_size 0; llm_pass; }
        location /stale/ {
            llm_cache_ttl 100ms;
            llm_cache_stale_if_error 1h;
            llm_pass;
        }
        location /quota/ { llm_quota q slots; llm_pass; }
        location /other/ { error_page 502 = @other; llm_pass; }
        location @other { llm_pass m; }
        location = /metrics { llm_metrics; }
        location = /stub { stub_status; }
        location /admin/ { llm_admin; }
    }
CONF

my %OPTIONS = (
    vars => { P => $p, DOWN => LLM::Fake->refused }, workers => 4,
    access_format => '$http_x_request_id|$pid|$status|$llm_cache_status|'
        . '$llm_usage_source|$llm_attempts',
    http => $HTTP);

my $gw = LLM::Nginx->new(%OPTIONS);
my $tag = 0;

# A question of its own in each part of the test.

sub begin {
    my ($where, $data, %opt) = @_;
    my $c = LLM::Client->connect($gw);
    $c->send_request(LLM::Client::json_request("$where$CHAT",
        { model => 'm', temperature => 0, messages => [ { role => 'user',
          content => 'Hi' } ], %$data },
        timeout => 20,
        headers => [ [ 'Authorization', 'Bearer ' . ($opt{key} || 'k1') ],
                     [ 'X-Request-Id', 'tag-' . ($opt{tag} // $tag) ],
                     @{ $opt{headers} || [] } ]));
    $c->flush;
    return $c;
}

sub end {
    my ($c) = @_;
    my $r = $c->read_response(20);
    $c->close;
    return $r;
}

# How many requests nginx is busy with, all workers: those that wait, too.

sub busy {
    my ($n) = @_;
    wait_for(sub { get($gw, '/stub')->body =~ /Writing: (\d+)/
                   && $1 - 1 == $n }, 10, "$n requests at the gateway");
}

# One that leads and is at its gate, and so many who wait for it.

sub fly {
    my ($where, $data, $followers, %opt) = @_;
    my $before = $p->count;
    $tag++;
    my %data = (gate => "g$tag", %$data);
    my $leader = begin($where, \%data, %opt);
    $p->wait_requests($before + 1);
    my @followers = map { begin($where, \%data, %opt) } 1 .. $followers;
    busy(1 + $followers);
    return ($before, $leader, @followers);
}

sub open_gate { $p->open_gate("g$tag") }

sub cache_status { return $_[0]->header('cache-status') // '' }

sub whole {
    my ($r, $stream) = @_;
    return 0 unless $r->status == 200 && $r->clean_end;
    return $stream ? ($r->sse_data)[-1] eq '[DONE]' : $r->json->{id} =~ /^c\d/;
}

sub stream { return $_[0] ? (stream => $TRUE) : () }

sub form { return $_[0] ? 'streams' : 'documents' }


# One asks, all are answered

for my $where ('', '/plain') {
    for my $stream (0, 1) {
        my ($before, @c) = fly($where, { stream($stream),
            $where && $stream ? (stream_options =>
                                 { include_usage => $TRUE }) : () }, 49);
        open_gate();
        my @r = map { end($_) } @c;
        my $name = ($where || 'llm_pass') . ', 50 ' . form($stream);

        is($p->count - $before, 1, "REQ-31: $name: one is sent");
        is((grep { whole($_, $stream) } @r), 50, '  all are answered whole');
        is((grep { $_->body eq $r[0]->body } @r), 50, '  byte for byte alike');
        like(cache_status($r[0]), qr/^llm; fwd=miss(?:; stored)?$/,
             '  the first one was a miss');
        is((grep { cache_status($_)
                   =~ /^llm; (?:fwd=miss; collapsed|hit; ttl=\d+)$/ }
                 @r[1 .. 49]), 49, '  the others have waited');

        wait_for(sub { 50 == (() = $gw->access_log =~ /^tag-$tag\|/mg) }, 5,
                 'log lines');
        my %pids = map { $_ => 1 } $gw->access_log =~ /^tag-$tag\|(\d+)/mg;
        cmp_ok(scalar(keys %pids), '>', 1, '  in several workers');
        is((() = $gw->access_log =~ /^tag-$tag\|\d+\|200\|HIT\|cache\|-$/mg),
           49, '  and that is what the log has');
    }
}


# Requests that wait cost their worker nothing

# How often these processes have been woken.

sub wakes {
    my $n = 0;
    for my $pid (@_) {
        slurp("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s*(\d+)/m
            and $n += $1;
    }
    return $n;
}

{
    my ($before, $leader, @c) = fly('', {}, 300);
    my @pids = $gw->worker_pids;
    my ($start, $wakes) = (now(), wakes(@pids));
    wait_for(sub { now() - $start > 0.5 }, 5, 'half a second');
    my $rate = (wakes(@pids) - $wakes) / (now() - $start) / @pids;
    cmp_ok($rate, '<', 100, '300 requests wait: one timer in each worker');
    open_gate();
    is((grep { whole($_) } map { end($_) } $leader, @c), 301,
       '  all are answered');
    is($p->count - $before, 1, '  by one call');
}

{
    # with one place for each hash a fifth of these keys had none
    my $before = $p->count;
    my @keys = map { "dense$_" } 1 .. 300;
    my @first = map { begin('', { gate => $_ }) } @keys;
    $p->wait_requests($before + @keys);
    my @second = map { begin('', { gate => $_ }) } @keys;
    wait_for(sub { get($gw, '/stub')->body =~ /Writing: (\d+)/
                   && $1 - 1 + $p->count - $before >= 3 * @keys }, 30,
             'followers of 300 keys');
    cmp_ok($p->count - $before, '<=', 1.01 * @keys,
           '300 keys in flight: at most 1 % of their followers go alone');
    $p->open_gate($_) for @keys;
    is((grep { whole(end($_)) } @first, @second), 2 * @keys,
       '  all are answered');
}

{
    # keys that share a set of the table are woken together
    my $before = $p->count;
    my @keys = map { "many$_" } 1 .. 60;
    my %c;
    push @{ $c{$_} }, begin('', { gate => $_ }) for @keys;
    $p->wait_requests($before + @keys);
    for my $key (@keys) {
        push @{ $c{$key} }, begin('', { gate => $key }) for 1 .. 3;
    }
    wait_for(sub { get($gw, '/stub')->body =~ /Writing: (\d+)/
                   && $1 - 1 + $p->count - $before >= 5 * @keys }, 10,
             'followers of 60 keys');
    my $last = pop @keys;
    $p->open_gate($_) for @keys;
    my $good = 0;
    for my $key (@keys) {
        my ($first, @r) = map { end($_) } @{ $c{$key} };
        $good++ if whole($first) && 3 == grep { whole($_) } @r;
    }
    is($good, @keys, 'followers of many keys: each key wakes its own');
    $p->open_gate($last);
    is((grep { whole(end($_)) } @{ $c{$last} }), 4, '  up to the last key');
}

{
    my ($before, $leader, @c) = fly('', {}, 8);
    my $other = end(begin('', { gate => "g$tag" },
                          headers => [ [ 'Cache-Control', 'no-cache' ] ]));
    ok(whole($other), 'another request of the key stores its answer');
    is((grep { $_->body eq $other->body } map { end($_) } @c), 8,
       '  those that wait for the leader take it');
    open_gate();
    ok(whole(end($leader)), '  the leader has its own');
    is($p->count - $before, 2, '  these two are sent');
}


# Both forms of one answer

for my $stream (0, 1) {
    my ($before, $leader, @same) = fly('', { stream($stream) }, 6);
    my @other = map { begin('', { gate => "g$tag", stream(!$stream) }) } 1 .. 6;
    busy(13);
    is($p->count - $before, 1, 'the other form waits as well');
    open_gate();
    my $first = end($leader);
    is((grep { $_->body eq $first->body } map { end($_) } @same), 6,
       '  equal forms get equal bytes');
    my @r = map { end($_) } @other;
    is((grep { whole($_, !$stream) } @r), 6,
       'REQ-30: the other ones get theirs, whole');
    is((grep { $_->text eq $first->text } @r), 6, '  and the same text');
    is($p->count - $before, 1, '  none is asked for');
}


# The leader's client goes

for my $stream (0, 1) {
    my ($before, $leader, @c) = fly('', { stream($stream) }, 8);
    $leader->reset;
    my @r = map { end($_) } @c;
    is((grep { whole($_, $stream) } @r), 8,
       'the leader\'s client goes: all the others are answered, '
       . form($stream));
    cmp_ok($p->count - $before, '<=', 9, '  with a call each at most');

    ($before, $leader, @c) = fly('/drain', { stream($stream) }, 8);
    $leader->reset;
    wait_for(sub { get($gw, '/stub')->body =~ /Writing: (\d+)/ && $1 <= 10 },
             5, 'the end of the leader');
    open_gate();
    @r = map { end($_) } @c;
    is((grep { whole($_, $stream) && cache_status($_) =~ /collapsed/ } @r), 8,
       '  llm_on_abort drain: they get the answer that is read on');
    is($p->count - $before, 1, '  the only one');
}


# The leader fails, or has what cannot be kept

for my $how (qw(error cut rst filter cookie)) {
    for my $stream (0, 1) {
        next if $stream && $how eq 'cookie';
        my ($before, $leader, @c) = fly('', { stream($stream),
                                              first => $how }, 6);
        open_gate();
        my @r = map { end($_) } @c;
        is((grep { whole($_, $stream) } @r), 6,
           "REQ-31: the leader's answer is '$how': the others get whole "
           . form($stream));
        is((grep { $_->body =~ /half|first|content_filter/ } @r), 0,
           '  and nothing of the leader\'s');
        cmp_ok($p->count - $before, '<=', 9, '  with a call each at most');
        end($leader);
        $gw->resume('p');
    }
}
$gw->expect_error(qr/reset by peer/, qr/cut its answer short/);


# Whom to wait for, and whom not

{
    my ($before, $leader) = fly('', {}, 0);
    my %same = (gate => "g$tag");
    my @alone = (
        [ 'another tenant', '', key => 'k2' ],
        [ 'no-cache', '', headers => [ [ 'Cache-Control', 'no-cache' ] ] ],
        [ 'no-store', '', headers => [ [ 'Cache-Control', 'no-store' ] ] ],
        [ 'llm_cache_bypass', '/bypass', headers => [ [ 'X-No', '1' ] ] ],
        [ 'llm_cache_max_size 0', '/none' ],
        [ 'llm_cache_lock_timeout 0', '/never' ]);
    my $n = 1;
    for (@alone) {
        my ($what, $where, @opt) = @$_;
        my $r = end(begin($where, { %same, $what eq 'no-cache'
                                           ? (seed => 1) : () }, @opt));
        ok(whole($r), "$what does not wait");
        is($p->count - $before, ++$n, '  and asks');
    }
    # what no-cache has got answers those who come later, not the leader
    open_gate();
    ok(whole(end($leader)), '  the leader has its own answer');
}

{
    my ($before, $leader) = fly('', {}, 0);
    my $r = end(begin('', { gate => "g$tag" },
                      headers => [ [ 'Cache-Control', 'only-if-cached' ] ]));
    is($r->status, 504, 'only-if-cached does not wait');
    open_gate();
    end($leader);
}

{
    my ($before, $leader) = fly('', {}, 0);
    my $c = begin('/short', { gate => "g$tag" });
    my $start = now();
    ok(whole(end($c)), 'llm_cache_lock_timeout: a follower asks itself');
    between(now() - $start, 0.3, 2, '  after that time');
    is($p->count - $before, 2, '  and only once');
    open_gate();
    ok(whole(end($leader)), '  the leader is not touched');
}


# A follower's client goes

for my $where ('', '/ping') {
    my ($before, $leader, @c) = fly($where, { stream(1) }, 10);
    if ($where) { $_->read_until(qr/:\n/) for @c[0 .. 4] }
    $_->reset for @c[0 .. 4];
    busy(6);
    open_gate();
    my @r = map { end($_) } $leader, @c[5 .. 9];
    is((grep { whole($_, 1) } @r), 6,
       "followers that go away harm nobody $where");
    is($p->count - $before, 1, '  nor are they asked for');
    ok(whole(end(begin($where, { gate => "g$tag", stream(1) })), 1),
       '  the next one is served');
}


# llm_ping

{
    my ($before, $leader, @c) = fly('/ping', { stream(1) }, 5);
    $_->read_until(qr/:\n:\n/) for @c;
    open_gate();
    my $first = end($leader)->body =~ s/^(?::\n)*//r;
    my @r = map { end($_) } @c;
    is((grep { whole($_, 1) } @r), 5,
       'REQ-7: who waits gets comment lines, then the stream');
    is((grep { ($_->body =~ s/^(?::\n)*//r) eq $first } @r), 5,
       '  all of it and nothing else');
    is((grep { $_->header('content-type') =~ m{^text/event-stream} } @r), 5,
       '  of its type');
    is($p->count - $before, 1, '  nobody else is asked');
}

{
    my ($before, $leader, @c) = fly('/ping', { stream(1), first => 'error' },
                                    5);
    $_->read_until(qr/:\n:\n/) for @c;
    open_gate();
    is((grep { whole($_, 1) } map { end($_) } @c), 5,
       '  if the leader fails they ask, and have their stream');
    end($leader);
    $gw->resume('p');
}

{
    # nobody may be asked any more
    my ($before, $leader, @c) = fly('/ping', { stream(1), first => 'error' },
                                    3);
    $_->read_until(qr/:\n:\n/) for @c;
    is(post_json($gw, '/admin/providers/p/drain', {})->status, 200,
       '  if the provider is drained meanwhile');
    open_gate();
    my @r = map { end($_) } @c;
    is((grep { $_->status == 200 && ($_->sse_json)[-1]{error}{code}
               && ($_->sse_json)[-1]{error}{code} eq 'no_provider_available' }
             @r), 3, '  they are told so by an event');
    is((grep { $_->clean_end } @r), 3, '  the last one');
    end($leader);
    $gw->resume('p');
}


# Quotas

{
    my @who = (headers => [ [ 'X-Who', 'joe' ] ]);
    my $m = read_metrics($gw);
    my ($before, $leader, @c) = fly('/quota', {}, 11, @who);
    my $r = end(begin('/quota', { gate => "g$tag" }, @who));
    is($r->status, 429, 'who waits has a slot of its quota');
    open_gate();
    my @r = map { end($_) } $leader, @c;
    is((grep { whole($_) } @r), 12, '  and is answered');
    is($p->count - $before, 1, '  by one call');
    wait_for(sub { my $now = read_metrics($gw);
        return ($now->{'quota_settled_total q requests'} // 0)
               - ($m->{'quota_settled_total q requests'} // 0) >= 12 },
        5, 'all settled');
    is((read_metrics($gw)->{'quota_settled_total q tokens'} // 0)
       - ($m->{'quota_settled_total q tokens'} // 0), $TOKENS,
       '  the tokens of one answer are charged');

    ($before, $leader, @c) = fly('/quota', { first => 'filter' }, 11, @who);
    ok(1, '  all slots are free again');
    open_gate();
    is((grep { whole($_) } map { end($_) } $leader, @c), 12,
       '  an answer that is not kept: they ask');
    my $calls = 1 + $p->count - $before;
    between($calls, 3, 13, '  each of them, or finds what another one got');
    wait_for(sub { read_metrics($gw)->{'quota_settled_total q tokens'}
                   - ($m->{'quota_settled_total q tokens'} // 0)
                   == $calls * $TOKENS }, 5, 'settled');
    pass('  and is charged for what the provider was asked');

    ($before, $leader, @c) = fly('/quota', {}, 11, @who);
    $_->reset for @c;
    busy(1);
    @c = map { begin('/quota', { gate => "g$tag" }, @who) } 1 .. 11;
    busy(12);
    open_gate();
    is((grep { whole($_) } map { end($_) } $leader, @c), 12,
       '  who goes while waiting gives the slot back');
}


# After an internal redirect

{
    my $c = begin('/other', { model => 'down', seed => 5 });
    ok(whole(end($c)), 'error_page 502 to another llm_pass');
    my $start = now();
    ok(whole(end(begin('/other', { model => 'down', seed => 5 }))),
       '  again');
    between(now() - $start, 0, 2, '  without a wait');
}
$gw->expect_error(qr/connect\(\) failed \(111/);


# An old answer that is there meanwhile

{
    my $rss = sub { my $kb = 0; $kb += rss_kb($_) for $gw->worker_pids; $kb };

    my ($before, $leader) = fly('/stale', { long => 200_000 }, 0);
    open_gate();
    ok(whole(end($leader)), 'an answer that is soon too old');
    my %same = (gate => "g$tag", long => 200_000);
    wait_for(sub { cache_status(end(begin('/stale', \%same)))
                   !~ /llm; hit/ }, 5, 'its end');
    wait_for(sub {
        $p->mode('hold');
        my $count = $p->count;
        $leader = begin('/stale', \%same);
        wait_for(sub { !$leader->idle || $p->count > $count }, 5, 'an end');
        return 1 if $p->count > $count;
        end($leader);
        return 0;
    }, 5, 'a leader');

    my @c = map { begin('/stale', \%same) } 1 .. 4;
    busy(5);
    my $kb = $rss->();
    $p->mode('');
    ok(whole(end(begin('/short', \%same))), 'who waits looks for a while');
    cmp_ok($rss->() - $kb, '<', 4000, '  which takes no memory');
    $p->open_gate('hold');
    is((grep { whole($_) } map { end($_) } $leader, @c), 5,
       '  all are answered');
}

$gw->done;


# A worker dies

# Whose connection to the provider is that?

sub holder {
    my $port = sprintf '%04X', $p->port;
    my %inode = map { (split)[9] => 1 }
                grep { /^\s*\d+: \S+ \S+:$port 01 / }
                split /\n/, slurp('/proc/net/tcp');
    my $held = sub { my ($socket) = (readlink $_[0] // '') =~ /^socket:\[(\d+)/;
                     return $socket && $inode{$socket} };
    my ($pid) = grep { grep { $held->($_) } glob "/proc/$_/fd/*" }
                $gw->worker_pids;
    return $pid;
}

for my $stream (0, 1) {
    $gw = LLM::Nginx->new(%OPTIONS);
    $gw->expect_alert(qr/exited on signal 9/);

    my ($before, $leader, @c) = fly('', { stream($stream) }, 12);
    my $pid = holder();
    ok($pid, 'the worker that leads');
    my $start = now();
    kill 'KILL', $pid;
    my @done = grep { $_->status } map { end($_) } @c;
    between(now() - $start, 0, 1, '  is killed: nobody hangs, '
                                  . form($stream));
    cmp_ok(scalar(@done), '>', 0, '  others have followed in other workers');
    is((grep { whole($_, $stream) } @done), scalar @done,
       '  all of them are answered');
    $leader->close;
    wait_for(sub { $gw->worker_pids == 4 }, 5, 'a new worker');
    ok(whole(end(begin('', { gate => "g$tag", stream($stream) })), $stream),
       '  the next one is served');
    $gw->done;
}


# Reload, and the end

{
    $gw = LLM::Nginx->new(%OPTIONS);

    my ($before, $leader, @c) = fly('', { stream(1) }, 20);
    ok($gw->reload, 'a reload while they wait');
    my @new = map { begin('', { gate => "g$tag", stream(1) }) } 1 .. 5;
    busy(26);
    is($p->count - $before, 1, '  who comes later waits for the same one');
    open_gate();
    my @r = map { end($_) } $leader, @c, @new;
    is((grep { whole($_, 1) } @r), 26, '  all are answered');
    is($p->count - $before, 1, '  by one call');

    ($before, $leader, @c) = fly('', {}, 20);
    my @pids = $gw->worker_pids;
    $gw->signal('QUIT');
    $gw->wait_error_log(qr/gracefully shutting down/);
    open_gate();
    is((grep { whole($_) } map { end($_) } $leader, @c), 21,
       'QUIT while they wait: all are answered');
    wait_for(sub { !grep { alive($_) } @pids }, 5, 'the end of the workers');
    pass('  then the workers end');
    $gw->done;
}

done_testing;
