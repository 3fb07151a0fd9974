#!/usr/bin/perl

# An error of Redis, or a malformed reply, in place of the reply to a
# reservation: the script may have run, so the reservation is released, and
# redis_down of the zone decides about the request.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Redis;
use LLM::Wire;

use Digest::SHA qw(sha256_hex);

my $p = LLM::Fake->new(answer => sub {
    return json({ choices => [ { index => 0, finish_reason => 'stop',
                                 message => { content => 'x' } } ],
                  usage => { prompt_tokens => 7, completion_tokens => 3,
                             total_tokens => 10 } });
});

my $redis = LLM::Redis->new;
my $wire = LLM::Wire->new(to => $redis);
my $wait = int(500 * slow());

my $gw = LLM::Nginx->new(
    vars => { P => $p, W => $wire, WAIT => $wait },
    access_format => '$status|$llm_quota_status|$http_x_claim',
    http => <<'CONF');
    llm_redis redis://127.0.0.1:%%W%% timeout=%%WAIT%%ms;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model default { target p; }
    llm_quota_zone local key=$http_x_who requests=1000/day tokens=1m/day
                   concurrency=1000;
    llm_quota_zone open key=$http_x_who requests=1000/day tokens=1m/day
                   concurrency=1000 redis_down=open;
    llm_quota_zone closed key=$http_x_who requests=1000/day tokens=1m/day
                   concurrency=1000 redis_down=closed;
    server {
        listen 127.0.0.1:%%PORT%%;
        location /local/ { llm_quota local; llm_pass; }
        location /open/ { llm_quota open; llm_pass; }
        location /closed/ { llm_quota closed; llm_pass; }
        location /two/ { llm_quota closed open; llm_pass; }
        location /llm/ { llm_status; }
    }
CONF
$gw->expect_error(qr/redis refuses a script/, qr/unexpected reply/);

my $claims = 0;

# status, quota status and the answer
sub ask {
    my ($where) = @_;
    my $claim = 'c' . ++$claims . ';';
    my $r = post_json($gw, "/$where/v1/chat/completions",
                      { model => 'm', messages => [], max_tokens => 50 },
                      headers => [ [ 'X-Who', 'joe' ],
                                   [ 'X-Claim', $claim ] ]);
    my ($line) = $gw->wait_log(qr/\|$claim$/) =~ /^(\d+\|\w*-?)\|/;
    return ($line, $r);
}

sub key { return "llm:{$_[0]:" . substr(sha256_hex('joe'), 0, 32) . '}' }

sub is_up {
    wait_for(sub { get($gw, '/llm/status.json')->json->{redis}{state}
                   eq 'up' }, 10, 'redis up');
}

sub nothing_held {
    my (@zones) = @_;
    wait_for(sub { !grep { $redis->cmd('ZCARD', key($_) . ':z') } @zones }, 10,
             'no hold');
    return 1;
}

# requests and tokens that are used or reserved in Redis, after one more request
# that has been counted
sub counted {
    my ($zone) = @_;
    is_up();
    wait_for(sub { (ask($zone))[0] eq '200|ok' }, 10, 'a counted request');
    nothing_held($zone);
    return [ map { my ($used, $rest) = unpack 'd<2',
                                       $redis->cmd('HGET', key($zone), $_);
                   $used + $rest } 'r', 't' ];
}

my %POLICY = (local => '200|ok', open => '200|unenforced',
              closed => '503|-');

my @ERRORS = (
    [ OOM => "OOM command not allowed when used memory > 'maxmemory'." ],
    [ 'OOM inside the script before Redis 7' => 'ERR Error running script '
      . '(call to f_0123): @user_script:1: @user_script: 1: -OOM command not '
      . 'allowed' ],
    [ LOADING => 'LOADING Redis is loading the dataset in memory' ],
    [ READONLY => "READONLY You can't write against a read only replica." ],
    [ BUSY => 'BUSY Redis is busy running a script.' ],
    [ MASTERDOWN => "MASTERDOWN Link with MASTER is down" ],
    [ MISCONF => 'MISCONF Redis is configured to save RDB snapshots' ],
    [ NOREPLICAS => 'NOREPLICAS Not enough good replicas to write.' ],
    [ WRONGTYPE => 'WRONGTYPE Operation against a key holding the wrong kind' ],
    [ NOPERM => 'NOPERM this user has no permissions' ],
    [ 'an unknown error' => 'ERR something else' ],
);

my @cases = map { [ "error $_->[0]" => "-$_->[1]\r\n" ] } @ERRORS;

push @cases,
    [ 'a status' => "+OK\r\n" ], [ 'an integer' => ":1\r\n" ],
    [ 'nil' => "\$-1\r\n" ], [ 'an empty array' => "*0\r\n" ],
    [ 'an array without id' => "*2\r\n:1\r\n:2\r\n" ],
    [ 'an array that is too short' => "*2\r\n:1\r\n%ID%" ],
    [ 'a zone of the wrong length' => "*3\r\n:1\r\n\$3\r\nabc\r\n%ID%" ],
    [ 'a zone that is an integer' => "*3\r\n:1\r\n:2\r\n%ID%" ],
    [ 'a result that is a string' => "*3\r\n\$1\r\n1\r\n\$64\r\n" . 'x' x 64
                                     . "\r\n%ID%" ];

my %counted = map { $_ => counted($_) } qw(local open closed);

for my $case (@cases) {
    my ($name, $bytes) = @$case;
    my @zones = $name =~ /OOM|WRONGTYPE|wrong length/ ? qw(closed open local)
                                                       : 'closed';
    for my $zone (@zones) {
        is_up();
        $wire->instead(EVALSHA => $bytes);
        my ($line) = ask($zone);
        is($line, $POLICY{$zone},
           "$name instead of a reservation: redis_down=$zone applies");
        ok(nothing_held($zone), '  nothing is held');

        my $now = counted($zone);
        is_deeply($now, [ $counted{$zone}[0] + 1, $counted{$zone}[1] + 10 ],
                  '  and nothing is counted for the request');
        $counted{$zone} = $now;
    }
}


# NOSCRIPT instead of a reply: the script is sent again, and finds the hold

is_up();
$wire->instead(EVALSHA => "-NOSCRIPT No matching script. Please use EVAL.\r\n");
my ($line) = ask('closed');
is($line, '200|ok', 'NOSCRIPT after the reservation: the request is accepted');
nothing_held('closed');
is_deeply(counted('closed'),
          [ $counted{closed}[0] + 2, $counted{closed}[1] + 20 ],
          '  and counted once');


# two zones in one reservation

my @before = map { counted($_) } qw(closed open);
is_up();
$wire->instead(EVALSHA => "-WRONGTYPE no\r\n");
($line) = ask('two');
is($line, '503|-', 'an error for two zones: the stricter redis_down applies');
ok(nothing_held(qw(closed open)), '  nothing is held in either');
is_deeply([ map { counted($_) } qw(closed open) ],
          [ map { [ $_->[0] + 1, $_->[1] + 10 ] } @before ],
          '  and nothing is counted in either');

# a key of the wrong type in Redis itself

is_up();
$redis->cmd('DEL', key('closed') . ':z');
$redis->cmd('SET', key('closed') . ':z', 'x');
my $open = counted('open');
($line) = ask('two');
is($line, '503|-', 'a key of the wrong type: the request is rejected');
ok(nothing_held('open'), '  the other zone holds nothing');
is_deeply(counted('open'), [ $open->[0] + 1, $open->[1] + 10 ],
          '  and counts nothing');

$gw->done;
done_testing;
