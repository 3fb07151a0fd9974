#!/usr/bin/perl

# Scripts called in Redis by the client of llm_redis: whose answer is whose,
# what a call waits, what an error is, when nobody is asked any more, and that
# what has to arrive does, once and in order.  t/caller makes the calls.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Redis;
use LLM::Wire;

my $build = $ENV{LLM_BUILD} || root_dir() . '/build';
my $dir = tempdir();

my %SCRIPT = (
    echo  => q{return KEYS[1] .. '/' .. ARGV[1] .. '/' .. ARGV[2]},
    add   => q{return redis.call('INCRBY', KEYS[1], 1)},
    fail  => q{return redis.call('INCR', KEYS[1], 'no such thing')},
    spin  => q{while redis.call('EXISTS', 'stop') == 0 do end return 1},
    # counts what is new, and every try
    once  => q{redis.call('INCR', 'tries')
               if redis.call('SADD', KEYS[1] .. ':seen', ARGV[2] .. ARGV[1]) == 1
               then redis.call('RPUSH', KEYS[1], ARGV[1]) end
               return 1},
);
spew("$dir/$_.lua", $SCRIPT{$_}) for keys %SCRIPT;

sub gateway {
    my ($url, %opt) = @_;
    my $directive = "llm_redis $url "
                    . (delete $opt{params}
                       || 'timeout=' . int(50 * slow()) . 'ms');
    my $locations = join '', map {
        "location = /$_ { llm_caller $dir/$_.lua; }\n"
        . "location = /deliver/$_ { llm_caller $dir/$_.lua deliver; }\n"
    } keys %SCRIPT;

    return LLM::Nginx->new(
        $ENV{LLM_STATIC} ? () : (modules => [ "$build/ngx_http_llm_caller_module.so" ]),
        %opt, http => <<"CONF");
$directive;
server {
    listen 127.0.0.1:%%PORT%%;
    location /llm/ { llm_status; }
    $locations
}
CONF
}

sub state { return get($_[0], '/llm/status.json')->json->{redis}{state} }

sub becomes {
    my ($gw, $state, $name, $seconds) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok(LLM::Util::poll_until(sub { state($gw) eq $state }, $seconds || 3),
       $name) or diag($gw->error_log);
}

sub lines { return split /\n/, get(@_)->body }

# how many lines of each end
sub ends {
    my %n;
    for (@_) { $n{$1}++ if /^\d+ (\w+)/ }
    return \%n;
}


# answers

{
    my $redis = LLM::Redis->new;
    my $wire = LLM::Wire->new(to => $redis);
    my $gw = gateway('redis://127.0.0.1:%%W%%', vars => { W => $wire },
                     params => 'timeout=10s');
    becomes($gw, 'up', 'up');

    is((lines($gw, '/echo?k=key&a=x'))[0], '0 ok key/0/x',
       'the reply of a script');
    is_deeply([ map { /^(EVAL\w*)/ } $wire->commands ], [qw(EVALSHA EVAL)],
              'REQ-49: EVALSHA, and EVAL as the server did not know it');
    lines($gw, '/echo?k=key&a=x');
    is(($wire->commands)[-1] =~ /^EVALSHA/, 1, '  from then on EVALSHA');

    my $odd = join '', map { sprintf '%%%02X', $_ } 0 .. 255;
    my ($line) = get($gw, "/echo?k=$odd&a=x")->body =~ /^0 ok (.*)\n\z/s;
    is($line, join('', map { chr } 0 .. 255), 'any byte may be in a key');
    ($line) = get($gw, '/echo?k=a&a=%0D%0A%240%0D%0A')->body
              =~ /^0 ok (.*)\n\z/s;
    is($line, "a/0/\r\n\$0\r\n", '  and in an argument');

    is((lines($gw, '/add?k=n'))[0], '0 ok 1', 'an integer');

    my @lines = lines($gw, '/echo?k=many&a=y&n=2000');
    is(scalar(grep { $lines[$_] ne "$_ ok many/$_/y" } 0 .. 1999), 0,
       'of 2000 calls at once each has its own answer');

    my $before = () = grep { /^EVAL/ } $wire->commands;
    $redis->cmd('SCRIPT', 'FLUSH');
    @lines = lines($gw, '/echo?k=flushed&a=z&n=500');
    is(scalar(grep { $lines[$_] ne "$_ ok flushed/$_/z" } 0 .. 499), 0,
       'REQ-49: after SCRIPT FLUSH, too');
    is((() = grep { /^EVAL/ } $wire->commands) - $before, 1000,
       '  each has needed one more round trip');
    is($wire->connections, 1, 'all over one connection');
    $gw->done;
}

{
    # 31 commands in a read is what makes it cheap
    my $redis = LLM::Redis->new;
    my $gw = gateway('unix:' . $redis->socket);
    becomes($gw, 'up', 'up');
    lines($gw, '/echo?k=a');
    my $reads = sub { $redis->cmd('INFO', 'stats')
                      =~ /total_reads_processed:(\d+)/ && $1 };
    my $before = $reads->();
    lines($gw, '/echo?k=a&n=1000');
    between($reads->() - $before, 1, 60,
            '1000 calls of one turn of the event loop are a few writes');
    $gw->done;
}

# REQ-50: late answers, lost connections, clients that go: whatever is told
# is the answer to what was asked

for my $url ('redis://127.0.0.1:%%W%%') {
    my $redis = LLM::Redis->new;
    my $wire = LLM::Wire->new(to => $redis);
    my $gw = gateway($url, vars => { W => $wire }, params => 'timeout=150ms');
    becomes($gw, 'up', 'up');

    my (%ends, @wrong);
    for my $round (1 .. 12) {
        if    ($round == 1) { $wire->pass }
        elsif ($round < 7)  { $wire->delay(0, 0.2) }
        elsif ($round < 10) { $wire->drop_replies(17) }
        else                { $wire->delay(0, 0.1) }

        my @clients = map {
            my $c = LLM::Client->connect($gw);
            $c->send_request(path => "/echo?k=r$round-$_&a=%0D%0A&n=5");
            [ $c, "r$round-$_" ];
        } 1 .. 30;

        while (my $one = shift @clients) {
            my ($c, $key) = @$one;
            if (@clients % 3 == 0) { $c->reset; next }
            for (split /\n(?=\d)/, $c->read_response->body) {
                my ($i, $end, $reply) = /^(\d+) (\w+) (.*)/s or next;
                $ends{$end}++;
                push @wrong, $_ if $end eq 'ok'
                    && $reply !~ m{^\Q$key\E/$i/\r\n\s*\z};
            }
        }
        LLM::Util::poll_until(sub { state($gw) eq 'up' }, 3) if $round % 3 == 0;
    }
    ok(!@wrong, 'REQ-50: each answer is that to its call')
        or diag("@wrong[0 .. 3]");
    ok($ends{ok} && ($ends{late} || $ends{down}) && $ends{lost},
       '  of those in time, late and lost') or diag(explain(\%ends));
    $wire->pass;
    becomes($gw, 'up', '  and all is well afterwards', 5);
    is((lines($gw, '/echo?k=after&a='))[0], '0 ok after/0/', '  all');
    $gw->done;
}


# time

{
    my $redis = LLM::Redis->new;
    my $gw = gateway('redis://127.0.0.1:%%R%%', vars => { R => $redis });
    becomes($gw, 'up', 'up');

    $redis->pause;
    my (%ends, @slow);
    for (1 .. 400) {
        my $started = now();
        my ($line) = lines($gw, '/echo?k=a');
        my $end = $line =~ /^0 (\w+)/ && $1;
        $ends{$end}++;
        push @slow, now() - $started if $end ne 'down';
    }
    is($ends{ok}, undef, 'REQ-47: nothing is answered by a stopped server');
    between(scalar @slow, 1, 10, '  at most 10 requests wait for it');
    ok(!(grep { $_ > 0.1 * slow() } @slow), '  not longer than the timeout')
        or diag("@slow");
    cmp_ok($ends{down}, '>=', 390, '  the others are told at once');
    $redis->resume;
    my $started = now();
    becomes($gw, 'up', 'REQ-47: up again after SIGCONT');
    between(now() - $started, 0, 2, '  in 2 seconds');
    is((lines($gw, '/echo?k=b&a=c'))[0], '0 ok b/0/c',
       'what is answered late is not the answer to the next');

    # many at once: the breaker spares all but those that wait already
    $redis->pause;
    my @clients = map { my $c = LLM::Client->connect($gw);
                        $c->send_request(path => '/echo?k=a&n=20'); $c } 1 .. 10;
    $started = now();
    my $n = ends(map { split /\n/, $_->read_response->body } @clients);
    between(now() - $started, 0.03, 0.3, '200 calls are late at the same time');
    is(($n->{late} || 0) + ($n->{lost} || 0) + ($n->{down} || 0), 200, '  all');
    $redis->resume;
    becomes($gw, 'up', '  up again');

    # an aborting client while Redis is silent
    $redis->pause;
    my $c = LLM::Client->connect($gw);
    $c->send_request(path => '/echo?k=gone&n=10');
    $c->reset;
    $redis->resume;
    becomes($gw, 'up', 'a client that went is no harm');
    is((lines($gw, '/echo?k=here&a='))[0], '0 ok here/0/', '  to the next');
    $gw->done;
}


# errors

{
    my $redis = LLM::Redis->new;
    my $gw = gateway('redis://127.0.0.1:%%R%%', vars => { R => $redis });
    becomes($gw, 'up', 'up');
    $gw->expect_error(qr/redis refuses a script: ERR/);

    like((lines($gw, '/fail?k=a'))[0], qr/^0 declined ERR /,
         'an error of the script is told');
    $gw->wait_error_log(qr/\[error\].*redis refuses a script: ERR .*, llm_redis:/);
    lines($gw, '/fail?k=a&n=10');
    is(state($gw), 'up', '  and is no fault of the server');

    is((lines($gw, '/deliver/fail?k=a'))[0], '0 taken ', 'a delivery that fails');
    lines($gw, '/deliver/once?k=list&a=1');
    wait_for(sub { $redis->cmd('LLEN', 'list') == 1 }, 5, 'the next one');
    pass('  is not in the way of the next');

    # REQ-47, REQ-49: READONLY
    $redis->cmd('REPLICAOF', '127.0.0.1', '1');
    like((lines($gw, '/add?k=n'))[0], qr/^0 declined READONLY /,
         'REQ-49: READONLY is told');
    is((lines($gw, '/deliver/once?k=list&a=2'))[0], '0 taken ',
       '  a delivery is taken');
    becomes($gw, 'down', '  the connection is dropped');
    $gw->wait_error_log(qr/redis is down: it does not write: READONLY/);
    my $made = sub { $redis->cmd('INFO', 'stats')
                     =~ /total_connections_received:(\d+)/ && $1 };
    my $before = $made->();
    wait_for(sub { $made->() >= $before + 2 }, 5, 'two attempts');
    is(state($gw), 'down', '  and not used, though it answers a PING');
    $redis->cmd('REPLICAOF', 'NO', 'ONE');
    becomes($gw, 'up', '  up again once it writes', 2);
    wait_for(sub { $redis->cmd('LLEN', 'list') == 2 }, 5, 'the delivery');
    pass('  and what was kept arrives');
    like((lines($gw, '/add?k=n'))[0], qr/^0 ok /, '  calls, too');

    # OOM
    my $mark = $gw->mark;
    $redis->cmd('CONFIG', 'SET', 'maxmemory', '1');
    my $ends = ends(map { lines($gw, "/add?k=n$_") } 1 .. 50);
    between($ends->{declined}, 1, 10, 'REQ-47: OOM is told at most 10 times');
    $gw->wait_error_log(qr/redis is down: it answers: OOM/, since => $mark);
    is((lines($gw, '/deliver/once?k=list&a=3'))[0], '0 taken ', '  taken');
    $redis->cmd('CONFIG', 'SET', 'maxmemory', '0');
    becomes($gw, 'up', '  up again', 2);
    wait_for(sub { $redis->cmd('LLEN', 'list') == 3 }, 5, 'the delivery');
    pass('  and what was kept arrives');

    # BUSY
    $mark = $gw->mark;
    $redis->cmd('CONFIG', 'SET', 'busy-reply-threshold', '20');
    my $c = LLM::Client->connect($gw);
    $c->send_request(path => '/spin?k=a');
    like($c->read_response->body, qr/^0 (?:late|lost)/,
         'REQ-47: a busy server is late');
    becomes($gw, 'down', '  and down');
    is((lines($gw, '/echo?k=a'))[0], '0 down ', '  nobody waits');
    my $killed = LLM::Redis::cmd($redis, 'SCRIPT', 'KILL');
    becomes($gw, 'up', '  up again', 2);
    $gw->done;
}

{
    my $wire = LLM::Wire->new(to => LLM::Redis->new);
    my $gw = gateway('redis://127.0.0.1:%%W%%', vars => { W => $wire });
    becomes($gw, 'up', 'up');

    for my $code ('LOADING', 'NOAUTH Authentication', 'MASTERDOWN Link',
                  'BUSY Redis', 'NOREPLICAS Not', 'ERR Error running script '
                  . '(call to f_1): @user_script:1: @user_script: 1: -OOM')
    {
        my ($word) = $code =~ /([A-Z]+)(?: \w+)?$/;
        my $mark = $gw->mark;
        $wire->answers(EVALSHA => "-$code x\r\n", SET => "-$word x\r\n",
                       PING => "-$word x\r\n");
        my $ends = ends(map { lines($gw, '/add?k=a') } 1 .. 40);
        between($ends->{declined}, 1, 10, "REQ-47: $word: at most 10 failures");
        $gw->wait_error_log(qr/redis is down: .*$word/, since => $mark);
        $wire->pass;
        becomes($gw, 'up', '  up again', 2);
    }

    my $mark = $gw->mark;
    $wire->answers(EVALSHA => "-MOVED 3999 127.0.0.1:6381\r\n",
                   CLUSTER => ":3999\r\n");
    like((lines($gw, '/add?k=a'))[0], qr/^0 declined MOVED/, 'REQ-49: MOVED');
    $gw->wait_error_log(qr/redis is down: it is a cluster, which is not supported/,
                        since => $mark);
    my $made = $wire->connections;
    wait_for(sub { $wire->connections > $made + 1 }, 5, 'two attempts');
    is(scalar(() = $gw->error_log =~ /is a cluster/g), 1, '  it is said once');
    $wire->pass;
    becomes($gw, 'up', '  a server of its own is up again', 2);
    $gw->done;
}


# what has to arrive

{
    my $redis = LLM::Redis->new;
    my $wire = LLM::Wire->new(to => $redis);
    my $gw = gateway('redis://127.0.0.1:%%W%%', vars => { W => $wire });
    becomes($gw, 'up', 'up');

    is((lines($gw, '/deliver/once?k=plain&a=x'))[0], '0 taken ', 'taken');
    wait_for(sub { $redis->cmd('LLEN', 'plain') == 1 }, 5, 'a delivery');
    pass('a delivery arrives');

    $wire->drop_replies(150);
    is(ends(lines($gw, '/deliver/once?k=torn&a=x&n=1000'))->{taken}, 1000,
       'a thousand are taken while the connection is lost again and again');
    wait_for(sub { $redis->cmd('LLEN', 'torn') >= 1000 }, 10, 'all of them');
    wait_for(sub { $wire->connections > 2 }, 5, 'two connections to be lost');
    $wire->pass;
    becomes($gw, 'up', '  up');
    is_deeply($redis->cmd('LRANGE', 'torn', 0, -1), [ 0 .. 999 ],
              'each arrives, once, in order');
    cmp_ok($redis->cmd('GET', 'tries'), '>', 1001, '  though some were sent twice');

    # the last ones may have arrived, but not been answered
    wait_for(sub { (lines($gw, '/echo?k=a'))[0] =~ /ok/ }, 5, 'an answer');

    # while there is nothing to deliver to
    $wire->stop;
    becomes($gw, 'down', 'down');
    $gw->expect_error(qr/deliveries wait for redis already, another is dropped/);
    my $ends = ends(map { lines($gw, "/deliver/once?k=kept&a=$_&n=4000") } 1 .. 3);
    is($ends->{taken}, 8192, '8192 are kept');
    is($ends->{dropped}, 12000 - 8192, '  more are refused');
    $gw->wait_error_log(qr/8192 deliveries wait for redis already/);
    $gw->expect_error(qr/./);

    my $started = now();
    $gw->stop('QUIT');
    between(now() - $started, 4, 7, 'an exiting worker waits 5 seconds for Redis');
    like($gw->error_log, qr/\[warn\].*8192 deliveries to redis are lost/,
         '  and says what is lost');
    $gw->done;
}

{
    my $redis = LLM::Redis->new;
    my $gw = gateway('redis://127.0.0.1:%%R%%', vars => { R => $redis });
    becomes($gw, 'up', 'up');

    $redis->pause;
    is(ends(lines($gw, '/deliver/once?k=late&a=x&n=2000'))->{taken}, 2000,
       '2000 are taken while Redis is stopped');
    my ($worker) = $gw->worker_pids;
    $gw->signal('QUIT');
    $gw->wait_error_log(qr/gracefully shutting down/);
    becomes_gone($redis, $worker);
    is_deeply($redis->cmd('LRANGE', 'late', 0, -1), [ 0 .. 1999 ],
              'a worker that was told to go has delivered them, in order');
    unlike($gw->error_log, qr/are lost/, '  all');
    $gw->done;
}

sub becomes_gone {
    my ($redis, $worker) = @_;
    $redis->resume;
    my $started = now();
    wait_for(sub { !LLM::Util::alive($worker) }, 8, 'the end of the worker');
    between(now() - $started, 0, 3, '  and then it leaves');
}

{
    # the same over a reload, under calls
    my $redis = LLM::Redis->new;
    my $gw = gateway('redis://127.0.0.1:%%R%%', vars => { R => $redis },
                     workers => 2);
    becomes($gw, 'up', 'up');
    my ($n, $wrong) = (0, 0);
    for my $round (1 .. 4) {
        my @clients = map { my $c = LLM::Client->connect($gw);
                            $c->send_request(path => "/echo?k=$_&a=$round&n=3");
                            [ $c, $_ ] } 1 .. 20;
        $gw->signal('HUP') if $round % 2;
        for (@clients) {
            my ($c, $key) = @$_;
            my @lines = split /\n/, $c->read_response->body // '';
            $n += @lines;
            $wrong += grep { !m{^(\d) (?:ok $key/\1/$round|down )$} } @lines;
        }
        lines($gw, "/deliver/once?k=reload&a=$round&n=50");
    }
    is($wrong, 0, "of $n calls over reloads none is lost or late");
    wait_for(sub { $redis->cmd('LLEN', 'reload') == 200 }, 5, 'deliveries');
    pass('  nor a delivery');
    wait_for(sub { $gw->worker_pids('all') == 2 }, 10, 'two workers');
    $gw->done;
}

{
    # TERM waits for nobody, but says so
    my $redis = LLM::Redis->new;
    my $gw = gateway('redis://127.0.0.1:%%R%%', vars => { R => $redis });
    becomes($gw, 'up', 'up');
    $redis->pause;
    lines($gw, '/deliver/once?k=x&a=x&n=7');
    $gw->stop('TERM');
    like($gw->error_log, qr/7 deliveries to redis are lost with the process/,
         'TERM loses what is kept, and says so');
    $gw->done;
}

done_testing;
