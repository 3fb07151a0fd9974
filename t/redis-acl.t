#!/usr/bin/perl

# Redis that answers a PING but rejects scripts or writes is down: the metric and the
# status page say so, redis_down applies, and one line of the error log names
# the command that is missing.  Redis is up again as soon as scripts run.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;
use LLM::Redis;

my $p = LLM::Fake->new(answer => sub {
    return json({ choices => [ { index => 0, finish_reason => 'stop',
                                 message => { content => 'x' } } ],
                  usage => { prompt_tokens => 7, completion_tokens => 3,
                             total_tokens => 10 } });
});

my $redis = LLM::Redis->new;

sub acl { $redis->cmd('ACL', 'SETUSER', 'gw', @_) }

# the commands that README.md lists
my @NEEDED = qw(ping info set eval evalsha time hmset hset hmget hget hlen hdel
                pttl pexpire zadd zcount zrangebyscore zrem xadd);

sub gateway {
    my $gw = LLM::Nginx->new(
        vars => { P => $p, R => $redis->port, WAIT => int(500 * slow()) },
        http => <<'CONF');
    llm_redis redis://127.0.0.1:%%R%% user=gw password=pw timeout=%%WAIT%%ms;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model default { target p; }
    llm_quota_zone z key=$http_x_who requests=1000/1h redis_down=closed;
    server {
        listen 127.0.0.1:%%PORT%%;
        location /v1/ { llm_quota z; llm_pass; }
        location = /metrics { llm_metrics; }
        location /status/ { llm_status; }
    }
CONF
    $gw->expect_error(qr/redis is down: /);
    return $gw;
}

sub sent {
    my ($gw) = @_;
    return post_json($gw, '/v1/chat/completions',
                     { model => 'm', messages => [], max_tokens => 5 },
                     headers => [ [ 'X-Who', 'joe' ] ])->status;
}

sub state_is {
    my ($gw, $state, $name) = @_;
    wait_for(sub { get($gw, '/status/status.json')->json->{redis}{state}
                   eq $state }, 10, "redis $state");
    is(read_metrics($gw)->{redis_up}, $state eq 'up' ? 1 : 0, $name);
}

sub down_lines {
    my ($gw) = @_;
    return [ $gw->error_log =~ /\[error\].*(redis is down: [^,]*)/g ];
}

acl('reset', 'on', '>pw', '~llm:*', '-@all', map { "+$_" } @NEEDED);
my $gw = gateway();
state_is($gw, 'up', 'a user with the documented permissions: Redis is up');
is(sent($gw), 200, '  a request is admitted');

acl('-evalsha', '-eval');
wait_for(sub { sent($gw) == 503 }, 10, '503') for 1 .. 4;
state_is($gw, 'down', 'scripts are rejected, PING is not: Redis is down');
is(sent($gw), 503, '  a zone with redis_down=closed rejects');
is(scalar @{ down_lines($gw) }, 1, '  one line of the error log');
like(down_lines($gw)->[0], qr/evalsha/i, '  names the command');

acl('+evalsha', '+eval');
state_is($gw, 'up', 'scripts run again: Redis is up');
is(sent($gw), 200, '  a request is admitted');

$redis->cmd('CONFIG', 'SET', 'min-replicas-to-write', 1);
wait_for(sub { sent($gw) == 503 }, 10, '503') for 1 .. 4;
state_is($gw, 'down', 'writes are rejected (NOREPLICAS): Redis is down');
$redis->cmd('CONFIG', 'SET', 'min-replicas-to-write', 0);
state_is($gw, 'up', '  and up once it writes');
$gw->done;

for my $missing (qw(xadd zadd hmset evalsha)) {
    acl("-$missing");
    $gw = gateway();
    state_is($gw, 'down', "a user without $missing: Redis is down at start");
    wait_for(sub { @{ down_lines($gw) } }, 10, 'a line of the error log');
    like(down_lines($gw)->[0], qr/$missing/i, '  the line names it');
    acl("+$missing");
    state_is($gw, 'up', '  and up with the permission');
    $gw->done;
}

done_testing;
