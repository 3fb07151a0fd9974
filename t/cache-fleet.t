#!/usr/bin/perl

# The cache's second tier: what one node has been told the others know, as long
# as it was not purged, and nobody but us can have put it there.  Trouble of
# Redis is a miss, never an error and never a long wait.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;
use LLM::Redis;
use LLM::Wire;

use Time::HiRes ();

my $CHAT = '/v1/chat/completions';

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $json = $req->{json};
    my $n = $req->{n};
    my $said = "secret-answer $n to " . $json->{messages}[0]{content};
    my %usage = (usage => { prompt_tokens => 9, completion_tokens => 4,
                            total_tokens => 13 });

    return json({ id => "c$n", object => 'chat.completion', created => $n,
                  model => 'up', choices => [ { index => 0, message => {
                  role => 'assistant', content => $said },
                  finish_reason => 'stop' } ], %usage })
        if !$json->{stream};
    my %head = (id => "c$n", object => 'chat.completion.chunk',
                created => $n, model => 'up');
    return sse({ %head, choices => [ { index => 0, delta => {
                 role => 'assistant', content => $said },
                 finish_reason => undef } ] },
               { %head, choices => [ { index => 0, delta => {},
                 finish_reason => 'stop' } ] },
               { %head, choices => [], %usage }, '[DONE]');
});

my $redis = LLM::Redis->new;
my $quotas = LLM::Redis->new;
my $wire = LLM::Wire->new(to => $redis);

# through: how this node reaches the cache's Redis
sub gateway {
    my ($through, %opt) = @_;
    return LLM::Nginx->new(
        vars => { P => $p, REDIS => $through, QUOTAS => $quotas->port },
        env => { SECRET => $opt{secret} || 'canary-of-the-cache' },
        workers => 2, access_format => '$http_x_tag|$llm_cache_status|'
                                       . '$llm_usage_source|$llm_cache_key',
        http => <<'CONF');
    llm_cache_zone 1m;
    llm_cache_redis redis://127.0.0.1:%%REDIS%% timeout=100ms;
    llm_cache_secret env:SECRET;
    llm_redis redis://127.0.0.1:%%QUOTAS%% timeout=5s;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model default { target p up price=1,2; }
    llm_quota_zone q key=$http_x_who requests=100k/1h tokens=1m/day;
    server {
        listen 127.0.0.1:%%PORT%%;
        llm_cache on;
        location /v1/ { llm_pass; }
        location /quota/ { llm_quota q; llm_pass; }
        location = /metrics { llm_metrics; }
        location /admin/ { llm_admin; }
        location /llm/ { llm_status; }
    }
CONF
}

my @gw = map { gateway($_) } $redis->port, $redis->port;

my $tags = 0;

sub ask {
    my ($gw, $text, %opt) = @_;
    return post_json($gw, ($opt{where} // '') . $CHAT,
        { model => $opt{model} // 'm', temperature => 0,
          $opt{stream} ? (stream => JSON::PP::true) : (),
          messages => [ { role => 'user', content => $text } ] },
        headers => [ [ 'Authorization', 'Bearer ' . ($opt{key} // 'canary-key-1') ],
                     [ 'X-Who', 'joe' ], [ 'X-Tag', 'tag-' . ++$tags ],
                     @{ $opt{headers} || [] } ]);
}

sub logged {
    my ($gw) = @_;
    return $gw->wait_log(qr/^tag-$tags\|/) =~ /\|(.*)/ ? $1 : '';
}

sub cache_status { return $_[0]->header('cache-status') // '' }

# both nodes know Redis, all of their workers
my $probes = 0;
sub ready {
    my ($from, $to) = @_;
    my $row = 0;
    wait_for(sub {
        my $text = 'probe ' . ++$probes;
        ask($from, $text);
        $row = cache_status(ask($to, $text)) =~ /hit/ ? $row + 1 : 0;
        return $row > 5;
    }, 10, 'a fleet');
}

ready(@gw);
ready(reverse @gw);
sub entries { return @{ $redis->cmd('KEYS', '*c:*') } }


# One has it, so the other has it

for my $stream (0, 1) {
    my $what = $stream ? 'a stream' : 'a document';
    my $n = $p->count;
    my $kept = entries();
    my $r = ask($gw[0], "shared $what", stream => $stream);
    like(cache_status($r), qr/fwd=miss/, "$what is asked for by one node");
    wait_for(sub { entries() > $kept }, 2, 'stored');
    my $b = ask($gw[1], "shared $what", stream => $stream);
    is($b->body, $r->body, '  and replayed by another, byte for byte');
    like(cache_status($b), qr/^llm; hit; ttl=\d+$/, '  as a hit');
    is($b->header('content-type'), $r->header('content-type'), '  its type');
    is($b->header('x-llm-provider'), 'p', '  and its provider');
    like(logged($gw[1]), qr/^HIT\|cache\|/, '  in its log, too');
    is($p->count - $n, 1, '  at one call');
}

my $dump = $redis->dump;
unlike($dump, qr/secret-answer/, 'Redis has no answer in clear');
no_canary($dump, 'canary-of-the-cache', 'canary-key-1');
is((grep { $redis->cmd('TTL', $_) < 0 } @{ $redis->cmd('KEYS', '*') }), 0,
   'every key has a TTL');


# a hit of the second tier is reserved and given back

my $kept = entries();
ask($gw[0], 'quota');
wait_for(sub { entries() > $kept }, 2, 'stored');
sub left { return $_[0]->header('x-ratelimit-remaining-tokens') }
ask($gw[1], 'quota of another', where => '/quota');
wait_for(sub { left(ask($gw[1], 'quota of another', where => '/quota'))
               == 1_000_000 - 13 }, 3, 'settled');
ask($gw[1], 'quota', where => '/quota');
wait_for(sub { left(ask($gw[1], 'quota', where => '/quota'))
               == 1_000_000 - 13 }, 3, 'settled');
pass('a hit of the second tier costs no tokens');


# Purge

sub purge {
    my ($gw, %what) = @_;
    my $start = Time::HiRes::time();
    is(post_json($gw, '/admin/cache/purge', \%what)->status, 200,
       'purged: ' . canon(\%what));
    return $start;
}

# A question whose answer both nodes have, and the answer.  Who asks before
# Redis has it keeps an answer of his own: that question is not tried again.
sub spread {
    my ($text) = @_;
    my ($asked, $body);
    wait_for(sub { $asked = $text . ' ' . ++$probes;
                   $body = ask($gw[0], $asked)->body;
                   ask($gw[1], $asked)->body eq $body }, 5, 'spread');
    return ($asked, $body);
}

for my $how ([ model => 'm' ], [ all => JSON::PP::true ], [ key => undef ]) {
    my ($kind, $value) = @$how;
    my ($text, $old) = spread("purge by $kind");
    if ($kind eq 'key') {
        ask($gw[0], $text);
        ($value) = logged($gw[0]) =~ /(\w{64})$/;
    }
    my $start = purge($gw[0], $kind => $value);
    isnt(ask($gw[0], $text)->body, $old, '  here at once');
    wait_for(sub { ask($gw[1], $text)->body ne $old }, 3, 'purged');
    cmp_ok(Time::HiRes::time() - $start, '<', 1.5, '  there within a second');
    isnt(ask($gw[$_], $text)->body, $old, '  and for good') for 1, 1, 1, 0;
}


# Nobody else can put an answer there

$redis->cmd('FLUSHALL');
my $mine = ask($gw[0], 'mine')->body;
wait_for(sub { entries() == 1 }, 3, 'my entry');
my ($my_name) = entries();
my $theirs = ask($gw[0], 'theirs', key => 'k2')->body;
wait_for(sub { entries() == 2 }, 3, 'their entry');
my ($their_name) = grep { $_ ne $my_name } entries();

# what gateways start with is in Redis alone
sub fresh {
    my $fresh = gateway($redis->port, @_);
    ready($gw[0], $fresh);
    return $fresh;
}

my $stranger = fresh();
is(ask($stranger, 'mine')->body, $mine,
   'Redis emptied: it is told again what was purged, others find my entry');
$stranger->done;

my $value = $redis->cmd('GET', $my_name);
my %moved = (
    'moved to another question\'s name' => [ $their_name, $value,
                                             'theirs', 'k2' ],
    'cut' => [ $my_name, substr($value, 0, -1), 'mine', 'canary-key-1' ],
    'with another byte' => [ $my_name, substr($value, 0, 40)
        . chr(ord(substr $value, 40, 1) ^ 1) . substr($value, 41),
        'mine', 'canary-key-1' ],
    'of no bytes' => [ $my_name, '', 'mine', 'canary-key-1' ],
    'of another making' => [ $my_name, 'x' x 3000, 'mine', 'canary-key-1' ],
);
for my $what (sort keys %moved) {
    my ($name, $bytes, $text, $key) = @{ $moved{$what} };
    my $fresh = fresh();
    $redis->cmd('SET', $name, $bytes, 'PX', 100_000);
    my $r = ask($fresh, $text, key => $key);
    is($r->status, 200, "an entry $what is no error");
    unlike(cache_status($r), qr/hit/, '  and no hit');
    like($r->body, qr/to \Q$text\E"/, '  the provider is asked');
    $fresh->done;
}

my $foreign = gateway($redis->port, secret => 'another-secret-of-theirs');
ask($foreign, 'x') for 1 .. 4;
unlike(cache_status(ask($foreign, 'mine')), qr/hit/,
       'nor can who has another secret use ours');
$foreign->done;


# Redis in trouble

my $far = gateway($wire->port);
ready($gw[0], $far);

my $asked = 0;
sub works {
    my ($what, %opt) = @_;
    my $start = Time::HiRes::time();
    my ($bad, $slow) = (0, 0);
    for my $i (1 .. 20) {
        my $t = Time::HiRes::time();
        my $text = 'trouble ' . ++$asked;
        my $r = ask($far, $text);
        $bad++ if $r->status != 200 || cache_status($r) =~ /hit/
                  || $r->body !~ /to \Q$text\E"/;
        $slow++ if Time::HiRes::time() - $t > 0.1 * ($ENV{LLM_SLOW} || 1)
                                              + 0.25;
    }
    is($bad, 0, "Redis $what: every request is answered, by the provider");
    is($slow, 0, '  and none of them late');
}

$redis->pause;
works('stopped (SIGSTOP)');
$redis->resume;
ready($gw[0], $far);

$wire->blackhole;
works('behind a line that is dead');
$wire->pass;
ready($gw[0], $far);

$wire->delay(0.3, 0.3);
works('slow');
$wire->pass;
ready($gw[0], $far);

$wire->garbage("\x00\xffgarbage\r\n" x 3);
works('that speaks garbage');
$wire->pass;
ready($gw[0], $far);

$redis->stop;
works('gone');
$redis->start;
ready($gw[0], $far);


# REQ-48: a full cache costs no quota

$redis->cmd('CONFIG', 'SET', 'maxmemory', '2mb');
$redis->cmd('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
my $filled = 0;
for my $i (1 .. 400) {
    $filled++ if ask($gw[0], "fill $i " . 'x' x 50_000, where => '/quota')
                 ->status == 200;
}
is($filled, 400, 'REQ-48: ten times what the cache has room for is served');
my $n = $redis->cmd('INFO', 'stats') =~ /evicted_keys:(\d+)/ ? $1 : 0;
is($quotas->cmd('INFO', 'stats') =~ /evicted_keys:(\d+)/ ? $1 : 1, 0,
   '  and no quota is evicted');
my $spent = 13 * 401;                # and that of 'quota of another'
wait_for(sub { left(ask($gw[0], 'fill 400 ' . 'x' x 50_000,
                        where => '/quota')) <= 1_000_000 - $spent }, 5,
         'settled');
between(left(ask($gw[0], 'fill 400 ' . 'x' x 50_000, where => '/quota')),
        1_000_000 - $spent - 26, 1_000_000 - $spent,
        '  each is charged what it has used');

my $state = get($gw[0], '/llm/status.json')->json;
is($state->{cache_redis}{state}, 'up', 'the status page has the second tier');
cmp_ok($state->{cache}{entries}, '>', 3, '  and the first');
is($state->{cache}{emptied}, 0, '  which was never torn');

my $m = read_metrics($far);
cmp_ok($m->{'cache_total miss'}, '>=', 100, 'trouble is counted as misses');

$_->expect_error(qr/llm_cache_redis/, qr/Redis/i, qr/upstream timed out/)
    for @gw, $far;
$_->done for @gw, $far;
$wire->stop;
done_testing;
