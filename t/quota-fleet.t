#!/usr/bin/perl

# Quotas in Redis: two nginx with several workers each are one, whatever
# happens to Redis between them.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;
use LLM::Redis;

use Digest::SHA qw(sha256_hex);
use Time::HiRes ();

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $tokens = ($req->{json}{model} // '') =~ /^t(\d+)/ ? 0 + $1 : 1;
    return (gate('go'), json({ fine() }))
        if ($req->{json}{model} // '') eq 'waits';
    return json({ choices => [ { index => 0, finish_reason => 'stop',
                                 message => { content => 'x' } } ],
                  usage => { prompt_tokens => $tokens,
                             completion_tokens => 0,
                             total_tokens => $tokens } });
});

my $redis = LLM::Redis->new(password => 'sk-canary-redis');

my @gw = map {
    LLM::Nginx->new(
        vars => { P => $p, REDIS => $redis->port }, workers => 4, forget => 1,
        access_format => '$status|$llm_quota_status|$llm_quota_zone|'
                         . '$http_x_claim',
        http => <<'CONF') } 1, 2;
    llm_redis redis://127.0.0.1:%%REDIS%%/0 password=sk-canary-redis
              timeout=200ms instances=2;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model default { target p; }

    llm_quota_zone tokens key=$http_x_who tokens=1000/1h;
    llm_quota_zone requests key=$http_x_who requests=6/1h;
    llm_quota_zone day key=$http_x_who tokens=1k/day;
    llm_quota_zone slots key=$http_x_who concurrency=3;
    llm_quota_zone open key=$http_x_who requests=6/1h redis_down=open;
    llm_quota_zone closed key=$http_x_who requests=6/1h redis_down=closed;

    server {
        listen 127.0.0.1:%%PORT%%;
        location /tokens/ {
            llm_quota tokens;
            llm_quota_output declared;
            llm_pass;
        }
        location /both/ { llm_quota tokens requests; llm_pass; }
        location /requests/ { llm_quota requests; llm_pass; }
        location /day/ { llm_quota day; llm_pass; }
        location /slots/ { llm_quota slots; llm_pass; }
        location /open/ { llm_quota open; llm_pass; }
        location /closed/ { llm_quota closed; llm_pass; }
        location = /metrics { llm_metrics; }
        location /llm/ { llm_status; }
    }
CONF

my $n = 0;

sub send_to {
    my ($gw, $where, $who, $model, $max) = @_;
    my $c = LLM::Client->connect($gw);
    $c->send_request(method => 'POST', path => "$where/v1/chat/completions",
        headers => [ [ 'X-Who', $who ], [ 'X-Claim', 'c' . ++$n . ';' ],
                     [ 'Content-Type', 'application/json' ] ],
        body => JSON::PP::encode_json({ model => $model, messages => [],
            defined $max ? (max_tokens => $max) : () }));
    return $c;
}

sub ask {
    my $r = send_to(@_)->read_response(5);
    return $r;
}

sub state_of {
    my ($gw) = @_;
    return get($gw, '/llm/status.json')->json->{redis}{state};
}

sub ready {
    for my $gw (@gw) {
        wait_for(sub { ask($gw, '/closed', 'ready' . rand, 't1')->status
                       == 200 }, 5, 'Redis') for 1 .. 8;
    }
}

ready();
cmp_ok(read_metrics($gw[0])->{redis_latency_seconds}, '<', 0.2 * slow(),
       'the time to its answers is a metric');
my $r = ask($gw[0], '/requests', 'joe', 't1');
is($r->status, 200, 'the first node admits');
is($r->header('x-ratelimit-remaining-requests'), 5, '  and counts');
$r = ask($gw[1], '/requests', 'joe', 't1');
is($r->header('x-ratelimit-remaining-requests'), 4,
   'the other one counts the same');
ask($gw[$_ % 2], '/requests', 'joe', 't1') for 1 .. 4;
is(ask($_, '/requests', 'joe', 't1')->status, 429, '  and refuses, as it does')
    for @gw;

my $hash = substr sha256_hex('joe'), 0, 32;
my $key = "llm:{requests:$hash}";
is($redis->cmd('EXISTS', $key), 1, 'the key is a digest in a hash tag');
is(($redis->bucket($key, 'r'))[0], 6, '  it says what is used');
wait_for(sub { $redis->cmd('ZCARD', "$key:z") eq '0' }, 5, 'settlements');
cmp_ok($redis->cmd('PTTL', $key), '>', 3600_000, '  and does not live for ever');


# REQ-13: check and act are one

my $one = ask($gw[0], '/tokens', 'size', 't0001', 50);   # nothing learned
my $size = 1000 - $one->header('x-ratelimit-remaining-tokens');
my $fit = int(1000 / $size);
my @c = map { send_to($gw[$_ % 2], '/tokens', 'crowd', 'waits', 50) } 1 .. 50;
my $waiting = 0;
wait_for(sub { $waiting = grep { ($_->{json}{model} // '') eq 'waits' }
               $p->requests; $waiting >= $fit }, 5, 'requests');
my %status;
$p->open_gate('go');
$status{ $_->read_response(5)->status }++ for @c;
is_deeply(\%status, { 200 => $fit, 429 => 50 - $fit },
          "REQ-13: of 50 at a time $fit fit, exactly");
is(scalar(grep { ($_->{json}{model} // '') eq 'waits' } $p->requests), $fit,
   '  and no other has reached the provider');

my $before = $redis->cmd('HGET', 'llm:{tokens:' . substr(sha256_hex('two'), 0,
                         32) . '}', 't');
ask($gw[0], '/requests', 'two', 't1') for 1 .. 6;
$r = ask($gw[0], '/both', 'two', 't1', 50);
is($r->status, 429, 'one zone of two refuses');
is($r->header('x-ratelimit-remaining-tokens'), 1000,
   '  and of the other nothing is taken');

ask($gw[0], '/day', 'day', 't600', 50);
$gw[0]->wait_error_log(qr/llm quota zone "day": 50% of the tokens/);
ask($gw[1], '/day', 'day', 't100', 50);
ask($gw[1], '/day', 'day', 't100', 50);
$gw[1]->wait_error_log(qr/llm quota zone "day": 80% of the tokens/);
is(() = join('', map { $_->error_log } @gw) =~ /llm quota zone/g, 2,
   'alerts: each once in the fleet');
is($redis->cmd('XLEN', 'llm:alerts'), 2, '  in the stream as well');

@c = map { send_to($gw[$_ % 2], '/slots', 'slots', 'hold', 5) } 1 .. 3;
$_->read_response(5) for @c;
is(ask($gw[0], '/slots', 'slots', 't1')->status, 200, 'slots come back');


# Redis goes away and comes back

$redis->cmd('SCRIPT', 'FLUSH');
is(ask($gw[$_ % 2], '/tokens', 'flush', 't1', 5)->status, 200,
   'REQ-49: after SCRIPT FLUSH') for 1 .. 2;

$redis->stop;
is(ask($gw[0], '/closed', 'down', 't1')->status, 503,
   'REQ-48: closed: nobody is served while Redis is down');
is(ask($gw[0], '/open', 'down', 't1')->status, 200, '  open: everybody');
my $got = 0;
for (1 .. 6) { $got++ if ask($gw[0], '/requests', 'down', 't1')->status == 200 }
is($got, 3, '  local: each node its part');
my $t = time;
ask($gw[$_ % 2], '/open', "down$_", 't1') for 1 .. 50;
cmp_ok(time - $t, '<=', 2, '  and nobody waits');
my $m = read_metrics($gw[0]);
cmp_ok($m->{'quota_total open unenforced'}, '>=', 1, '  it is counted');
$redis->start;
ready();
is(ask($gw[0], '/closed', 'up', 't1')->status, 200, 'Redis is back');
is(ask($gw[0], '/requests', 'down', 't1')->header(
   'x-ratelimit-remaining-requests'), 5, '  and counts again');

$redis->pause;
$t = Time::HiRes::time();
my @hung = map { send_to($gw[0], '/open', "hung$_", 't1') } 1 .. 40;
$_->read_response(5) for @hung;
cmp_ok(Time::HiRes::time() - $t, '<', 2, 'REQ-47: a Redis that hangs is waited for once');
$t = Time::HiRes::time();
ask($gw[0], '/open', "hung$_", 't1') for 41 .. 60;
cmp_ok(Time::HiRes::time() - $t, '<', 3, '  then not at all');
$redis->resume;
ready();
pass('REQ-47: and is back when it is');

unlike($gw[0]->error_log, qr/redis evicts/, 'a Redis that evicts nothing');
$redis->cmd(qw(CONFIG SET maxmemory 100mb));
$redis->cmd(qw(CONFIG SET maxmemory-policy allkeys-lru));
$gw[0]->reload;
$gw[0]->wait_error_log(qr/\[warn\].*redis evicts keys when its memory is full/);
pass('REQ-48: one that does is worth a warning');
$redis->cmd(qw(CONFIG SET maxmemory 0));

for my $gw (@gw) {
    no_canary($gw->error_log . $gw->access_log, 'sk-canary-redis');
}
$_->expect_error(qr/llm_redis/) for @gw;
wait_for(sub { my @z = grep { /:z/ } @{ $redis->cmd('KEYS', '*') };
               !grep { $redis->cmd('ZCARD', $_) } @z }, 10, 'settled');
my @immortal = grep { $redis->cmd('PTTL', $_) == -1 }
               @{ $redis->cmd('KEYS', '*') };
is("@immortal", '', 'REQ-15: no key lives for ever');

$_->done for @gw;
done_testing;
