#!/usr/bin/perl

# A bad line to Redis, and a Redis that is not well: nothing is charged twice
# or never, nothing is held for ever, and what cannot be decided is decided as
# redis_down says.  With closed nobody is served but by Redis' word, so its
# ledger has to be the provider's.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Redis;
use LLM::Wire;

use Digest::SHA qw(sha256_hex);
use Time::HiRes ();

srand(11);

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $tokens = 0 + ($req->{json}{model} =~ /(\d+)/)[0];
    return json({ choices => [ { index => 0, finish_reason => 'stop',
                                 message => { content => 'x' } } ],
                  usage => { prompt_tokens => $tokens, completion_tokens => 0,
                             total_tokens => $tokens } });
});

my $redis = LLM::Redis->new;
my $wire = LLM::Wire->new(to => $redis);

my $gw = LLM::Nginx->new(
    vars => { P => $p, WIRE => $wire->port }, workers => 2, forget => 1,
    access_format => '$status|$llm_quota_status|$http_x_claim',
    http => <<'CONF');
    llm_redis redis://127.0.0.1:%%WIRE%%/0;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model default { target p; }
    llm_quota_zone closed key=$http_x_who tokens=4g/month requests=1m/month
                   concurrency=1000 redis_down=closed;
    llm_quota_zone second key=$http_x_who tokens=4g/day redis_down=closed;
    llm_quota_zone local key=$http_x_who requests=5/1h;
    llm_quota_zone open key=$http_x_who requests=5/1h redis_down=open;
    server {
        listen 127.0.0.1:%%PORT%%;
        location / { llm_quota closed second; llm_pass; }
        location /local/ { llm_quota local; llm_pass; }
        location /open/ { llm_quota open; llm_pass; }
    }
CONF
$gw->expect_error(qr/redis/);

my $n = 0;

sub start {
    my ($who, $tokens, $where) = @_;
    my $c = LLM::Client->connect($gw);
    $c->send_request(method => 'POST',
        path => ($where // '') . '/v1/chat/completions',
        headers => [ [ 'X-Who', $who ], [ 'X-Claim', ++$n ],
                     [ 'Content-Type', 'application/json' ] ],
        body => JSON::PP::encode_json({ model => "m$tokens", user => $who, max_tokens => 20,
                                        messages => [] }));
    return $c;
}

sub ask {
    my $c = start(@_);
    my $r = $c->read_response(5);
    $c->close;
    return $r->status;
}

# each worker has a connection of its own, and says so
sub up {
    wait_for(sub {
        my $log = $gw->error_log;
        for my $pid ($gw->worker_pids) {
            my ($last) = reverse $log =~ /\b$pid#.*redis is (up|down)/g;
            return 0 if ($last // '') ne 'up';
        }
        return 8 == grep { ask('up', 1) == 200 } 1 .. 8;
    }, 10, 'Redis');
}

# asks until so many were served; what the provider has counted
sub served {
    my ($who, $many, %opt) = @_;
    my (@open, %status);

    my $end = time + 5;

    while (($status{200} // 0) < $many && time < $end) {
        push @open, start($who, 1 + int rand 50);
        next if @open < 3;
        my $c = shift @open;
        if ($opt{abort} && rand() < 0.3) { $c->close; next }
        my $got = $c->read_response(10)->status;
        $status{$got}++;
        $c->close;

        # the breaker is open: not a thing to wait for, but time has to pass
        select undef, undef, undef, 0.02 if $got == 503;
    }
    while (my $c = shift @open) {
        $status{ $c->read_response(10)->status }++;
        $c->close;
    }
    $wire->pass;
    up();
    return \%status;
}

sub key { return "llm:{$_[0]:" . substr(sha256_hex($_[1]), 0, 32) . '}' }

sub settled {
    my ($who) = @_;
    wait_for(sub { $redis->cmd('ZCARD', key('closed', $who) . ':z') == 0 },
             10, 'settlements');
    my ($used, $held) = $redis->bucket(key('closed', $who), 't');
    my ($second) = $redis->bucket(key('second', $who), 't');
    return ($used, $held, $second);
}

up();

for my $trouble ([ 'one reply in three lost', sub { $wire->drop_replies(3) } ],
                 [ 'one reply in seven lost', sub { $wire->drop_replies(7) } ],
                 [ 'one reply in seven left out',
                   sub { $wire->swallow_replies(7) } ],
                 [ 'replies late, by 0 to 60 ms', sub { $wire->delay(0, 0.06) } ],
                 [ 'clients that go', sub { }, abort => 1 ])
{
    my ($what, $begin, %opt) = @$trouble;
    $begin->();
    my $status = served($what, 40, %opt);
    my @new = grep { $_->{json}{user} eq $what } $p->requests;
    my ($used, $held, $second) = settled($what);
    my $ledger = 0;
    $ledger += ($_->{json}{model} =~ /(\d+)/)[0] for @new;

    note(join ' ', map { "$_: $status->{$_}" } sort keys %$status);
    cmp_ok($status->{200} // 0, '>=', 1, "$what: some are served");
    is(join(' ', grep { !/^(200|503)$/ } keys %$status), '',
       '  others are told 503, nothing else');
    if ($opt{abort}) {
        ok($used >= $ledger * 0.5, '  and charged');
    }
    else {
        is($used, $ledger, 'REQ-15: what Redis has is what the provider has '
           . 'counted, once');
    }
    is($held, 0, '  nothing is held');
    is($second, $used, '  and the other zone has the same');
}


# A Redis that is not well

for my $answer ('-OOM command not allowed when used memory > maxmemory',
                '-BUSY Redis is busy running a script',
                '-LOADING Redis is loading the dataset in memory',
                '-NOAUTH Authentication required.',
                '-READONLY You can\'t write against a read only replica.',
                '-MOVED 3999 127.0.0.1:6381',
                '-WHATEVER it is', '+OK', ':1', '*1' . "\r\n:1", '$-1')
{
    my ($word) = $answer =~ /^(\S+)/;
    $word =~ s/\r\n.*//s;
    $wire->answers(EVALSHA => "$answer\r\n", EVAL => "$answer\r\n");
    my $before = $p->count;
    is(join(' ', map { ask("bad$word", 1) } 1 .. 5), '503 503 503 503 503',
       "REQ-47, closed: $word is no word to serve by");
    is($p->count, $before, '  and nothing is sent');
    is(join(' ', map { ask("bad$word", 1, '/open') } 1 .. 7),
       join(' ', (200) x 7), '  open: it is served');
    $wire->pass;
    up();
}

$wire->garbage("\0\1\2 no protocol\r\n");
like(ask('garbage', 1), qr/^(200|503)$/, 'REQ-50: garbage is no crash');
$wire->pass;
up();
$wire->garbage('*100000000' . "\r\n");
like(ask('garbage', 1), qr/^(200|503)$/, '  nor is too much of it');
$wire->pass;
up();

$wire->blackhole;
my $start = Time::HiRes::time();
my @c = map { start("hole$_", 1) } 1 .. 40;
is(scalar(grep { $_->read_response(5)->status == 503 } @c), 40,
   'REQ-47: a line that is dead');
cmp_ok(Time::HiRes::time() - $start, '<', 2 * slow(), '  holds nobody up for long');
$_->close for @c;
$wire->pass;
up();

# restarted: it has forgotten everything
@c = map { ask('lost', 50) } 1 .. 3;
$redis->stop;
$redis->start;
up();
is(ask('lost', 7), 200, 'a Redis that has lost its data serves on');
my ($used) = settled('lost');
is($used, 7, '  and counts from there');

up();
my @keys = @{ $redis->cmd('KEYS', '*') };
is(scalar(grep { $redis->cmd('PTTL', $_) == -1 } @keys), 0,
   'REQ-15: no key lives for ever');
wait_for(sub { !grep { /:z$/ && $redis->cmd('ZCARD', $_) }
               @{ $redis->cmd('KEYS', '*') } }, 10, 'holds');
pass('  and no hold is left');
unlike($gw->error_log, qr/exited on signal/, 'no worker died');

$gw->done;
done_testing;
