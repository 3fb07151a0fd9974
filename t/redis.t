#!/usr/bin/perl

# llm_redis: the connection of each worker.  How it is made and greeted, when
# it is down and up again, what is logged of it, and that it is in nobody's
# way.  Scripts over it are redis-calls.t's.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Certs;
use LLM::DNS;
use LLM::Redis;
use LLM::Wire;

my $PAGES = <<'CONF';
server {
    listen 127.0.0.1:%%PORT%%;
    location /llm/ { llm_status; }
    location /metrics { llm_metrics; }
    location / { return 200 ok; }
}
CONF

sub gateway {
    my ($directive, %opt) = @_;
    $directive .= patience($directive);
    return LLM::Nginx->new(%opt, http => ($opt{first} || '')
                                         . "llm_redis $directive;\n$PAGES");
}

# the default is for a gateway at its own speed
sub patience {
    my ($directive) = @_;
    return '' if slow() == 1 || $directive =~ /timeout=/;
    return ' timeout=' . int(50 * slow()) . 'ms';
}

sub state { return get($_[0], '/llm/status.json')->json->{redis}{state} }

sub becomes {
    my ($gw, $state, $name, $seconds) = @_;
    my $started = now();
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok(LLM::Util::poll_until(sub { state($gw) eq $state }, $seconds || 3),
       $name) or diag($gw->error_log);
    return now() - $started;
}

# "redis is ..." lines, without what they have in common
sub said {
    my ($gw) = @_;
    return [ map { /redis is (up|down.*?), llm_redis:/ ? $1 : () }
             split /\n/, $gw->error_log ];
}

# clients of a server that are no test's own
sub clients {
    my ($redis) = @_;
    return grep { !/cmd=client/ } split /\n/, $redis->cmd('CLIENT', 'LIST');
}


{
    my $redis = LLM::Redis->new;
    my $gw = gateway("redis://127.0.0.1:%%R%%", vars => { R => $redis },
                     workers => 2);
    wait_for(sub { clients($redis) == 2 }, 5, 'two connections');
    pass('each worker has one connection');

    becomes($gw, 'up', 'a server that answers is up');
    my $status = get($gw, '/llm/status.json')->json;
    between($status->{redis}{last_ok_ms}, 0, 2000,
            'the status page tells when it was last heard');
    is_deeply([ sort keys %{ $status->{redis} } ], [qw(last_ok_ms state)],
              '  and nothing else');
    like(get($gw, '/metrics')->body, qr/^nginx_llm_redis_up 1$/m,
         'a metric says so, too');
    wait_for(sub { @{ said($gw) } == 2 }, 5, 'two lines');
    is_deeply(said($gw), [ 'up', 'up' ], 'one line for each worker');
    is(get($gw, '/llm/status.json')->body =~ /127\.0\.0\.1/, '',
       'no address is on the page');
    $gw->done;
}

{
    my $gw = LLM::Nginx->new(http => $PAGES);
    ok(!exists get($gw, '/llm/status.json')->json->{redis},
       'without llm_redis there is no redis on the status page');
    unlike(get($gw, '/metrics')->body, qr/redis/, '  nor a metric');
    $gw->done;
}


# greeting

{
    my $redis = LLM::Redis->new(password => 'canary-redis-0123456789');
    my $wire = LLM::Wire->new(to => $redis);
    my $gw = gateway('redis://127.0.0.1:%%W%%/5 password=env:REDIS_PASSWORD',
                     vars => { W => $wire }, error_log => 'debug',
                     env => { REDIS_PASSWORD => 'canary-redis-0123456789' });
    becomes($gw, 'up', 'AUTH with a password of the environment');
    is_deeply([ grep { !/^INFO/ } ($wire->commands)[0 .. 3] ],
              [ 'AUTH canary-redis-0123456789', 'SELECT 5', 'PING' ],
              'AUTH, SELECT, PING, in this order');
    like((clients($redis))[0], qr/ db=5 /, '  and the database is chosen');
    no_canary($gw->error_log . get($gw, '/llm/status.json')->body
              . get($gw, '/metrics')->body, 'canary-redis-0123456789');
    $gw->done;
}

{
    my $redis = LLM::Redis->new;
    $redis->cmd(qw(ACL SETUSER gateway on >sesame ~llm:* +@all));
    my $gw = gateway('redis://127.0.0.1:%%R%% user=gateway password=sesame',
                     vars => { R => $redis });
    becomes($gw, 'up', 'AUTH with a user');
    like((clients($redis))[0], qr/ user=gateway /, '  who it is');
    $gw->done;
}

{
    my $redis = LLM::Redis->new(password => 'right');
    my $gw = gateway('redis://127.0.0.1:%%R%% password=canary-wrong-123456',
                     vars => { R => $redis });
    $gw->wait_error_log(qr/redis is down/);
    is_deeply(said($gw), [ 'down: AUTH was refused: WRONGPASS' ],
              'a wrong password is said');
    no_canary($gw->error_log, 'canary-wrong-123456');
    is(state($gw), 'down', '  the state is down');
    like(get($gw, '/metrics')->body, qr/^nginx_llm_redis_up 0$/m, '  0');
    is(get($gw, '/llm/status.json')->json->{redis}{last_ok_ms}, undef,
       '  never heard');
    my $c = get($gw, '/');
    is($c->body, 'ok', '  and nginx serves');
    $redis->cmd(qw(CONFIG SET requirepass canary-wrong-123456));
    becomes($gw, 'up', 'once it is right the connection is made', 2);
    is(scalar @{ said($gw) }, 2, '  all told two lines');
    $gw->done;
}

{
    my $redis = LLM::Redis->new(password => 'right');
    my $gw = gateway('redis://127.0.0.1:%%R%%', vars => { R => $redis });
    $gw->wait_error_log(qr/redis is down/);
    is_deeply(said($gw), [ 'down: PING was refused: NOAUTH' ],
              'a password that is missing is said');
    $gw->done;
}

{
    # a Redis whose AUTH has another name quotes what it was sent
    my $wire = LLM::Wire->new;
    $wire->answers('*' => "-ERR unknown command 'AUTH', with args beginning "
                          . "with: 'canary-quoted-1234'\r\n");
    my $gw = gateway('redis://127.0.0.1:%%W%% password=canary-quoted-1234',
                     vars => { W => $wire }, error_log => 'debug');
    $gw->wait_error_log(qr/redis is down/);
    is_deeply(said($gw), [ 'down: AUTH was refused: ERR' ],
              'what an error quotes is not repeated');
    no_canary($gw->error_log, 'canary-quoted-1234');
    $gw->done;
}

{
    my $redis = LLM::Redis->new;
    my $gw = gateway('redis://127.0.0.1:%%R%%/77', vars => { R => $redis });
    $gw->wait_error_log(qr/redis is down/);
    is_deeply(said($gw), [ 'down: SELECT was refused: ERR' ],
              'a database there is not is said');
    $gw->done;
}

{
    my $redis = LLM::Redis->new;
    my $gw = gateway('unix:' . $redis->socket);
    becomes($gw, 'up', 'a unix socket');
    $gw->done;
}


# TLS

{
    my $certs = LLM::Certs->new;
    my $redis = LLM::Redis->new(certs => $certs);
    my $other = LLM::Certs->new;
    my %vars = (vars => { T => $redis->tls_port });
    my $trust = 'ssl_trusted_certificate=' . $certs->ca_file;

    my $gw = gateway("rediss://127.0.0.1:%%T%% ssl_name=redis.test $trust",
                     %vars);
    becomes($gw, 'up', 'TLS, verified');
    $redis->pause;
    becomes($gw, 'down', '  is down when the server is stopped');
    $redis->resume;
    becomes($gw, 'up', '  and up again', 2);
    $gw->done;

    for (
        [ "ssl_name=other.test $trust",
          qr/down: its certificate does not name: other\.test/,
          'a certificate for another name' ],
        [ 'ssl_name=redis.test ssl_trusted_certificate=' . $other->ca_file,
          qr/down: its certificate is not trusted: /,
          'a certificate of an unknown authority' ],
        [ 'ssl_name=redis.test', qr/down: its certificate is not trusted: /,
          '  nor is it one of the system\'s' ],
    ) {
        my ($params, $line, $name) = @$_;
        my $gw = gateway("rediss://127.0.0.1:%%T%% password=x $params", %vars);
        $gw->wait_error_log($line);
        is(state($gw), 'down', "$name is refused");
        is(scalar @{ said($gw) }, 1, '  with one line');
        $gw->done;
    }

    $gw = gateway('rediss://127.0.0.1:%%T%% ssl_verify=off', %vars);
    becomes($gw, 'up', 'ssl_verify=off verifies nothing');
    $gw->done;

    $gw = gateway('rediss://127.0.0.1:%%R%% ssl_verify=off',
                  vars => { R => $redis });
    $gw->wait_error_log(qr/redis is down/);
    like(said($gw)->[0], qr/^down: (?:TLS handshake failed|no answer)/,
         'a server without TLS is down');
    $gw->done;
}


# names

{
    my $redis = LLM::Redis->new;
    my $dns = LLM::DNS->new('redis.test' => 'NXDOMAIN');
    my $gw = gateway('redis://redis.test:%%R%%',
                     vars => { R => $redis, DNS => $dns },
                     first => "resolver 127.0.0.1:%%DNS%% ipv6=off valid=1s;\n");
    $gw->wait_error_log(qr/redis is down/);
    is_deeply(said($gw), [ 'down: its name has no address' ],
              'nginx starts though the name does not resolve');
    $dns->set('redis.test' => '127.0.0.1');
    becomes($gw, 'up', '  and finds it when it does', 5);

    # REQ-49: another server takes the name over
    $dns->set('redis.test' => [ '127.0.0.9', '127.0.0.1' ]);
    wait_for(sub { $redis->cmd('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME',
                               'yes') }, 5, 'a client to be killed');
    becomes($gw, 'up', 'REQ-49: with two addresses the next one is tried', 5);
    $gw->done;
}


# down and up again

{
    my $redis = LLM::Redis->new;
    my $gw = gateway('redis://127.0.0.1:%%R%%', vars => { R => $redis });
    becomes($gw, 'up', 'up');

    $redis->pause;
    my $took = becomes($gw, 'down', 'REQ-47: a stopped server is found out');
    between($took, 0, 2, '  without any request');
    between(get($gw, '/llm/status.json')->json->{redis}{last_ok_ms}, 90, 3000,
            '  its last answer was a while ago');
    is(get($gw, '/')->body, 'ok', '  and nginx serves');
    $redis->resume;
    between(becomes($gw, 'up', 'REQ-47: up again after SIGCONT'), 0, 2,
            '  in 2 seconds');
    is_deeply(said($gw), [ 'up', 'down: no answer in time', 'up' ],
              'one line for each change');

    $redis->stop;
    becomes($gw, 'down', 'REQ-47: a server that refuses connections is down');
    $redis->start;
    becomes($gw, 'up', 'REQ-49: a server that was started again is up', 2);
    like(said($gw)->[3], qr/^down: connect\(\) failed/, '  it is said why');
    is(scalar @{ said($gw) }, 5, '  once');

    my $before = () = $redis->cmd('CLIENT', 'LIST');
    $redis->cmd('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    wait_for(sub { clients($redis) == 1 }, 5, 'a new connection');
    becomes($gw, 'up', 'a connection that was closed is made again');
    is(scalar @{ said($gw) }, 5, '  silently');
    $gw->done;
}

{
    my $wire = LLM::Wire->new(to => LLM::Redis->new);
    my $gw = gateway('redis://127.0.0.1:%%W%%', vars => { W => $wire });
    becomes($gw, 'up', 'up');

    $wire->blackhole;
    becomes($gw, 'down', 'REQ-47: a network that swallows all is down');
    my $made = $wire->connections;
    wait_for(sub { $wire->connections >= $made }, 5);
    is(scalar @{ said($gw) }, 2, '  one line');
    $wire->pass;
    becomes($gw, 'up', '  up again', 2);

    $wire->answers('*' => "-LOADING Redis is loading the dataset in memory\r\n");
    becomes($gw, 'down', 'REQ-47: a server that loads is down', 6);
    $wire->pass;
    becomes($gw, 'up', '  up again', 2);

    my @garbage = (
        "HTTP/1.1 400 Bad Request\r\n\r\n", "\0" x 100, "*-5\r\n",
        "*1000000\r\n", "*1\r\n" x 5 . ":1\r\n", '$2000000' . "\r\n" . 'x' x 1500000,
        ":1\r\n:2\r\n", '$-7' . "\r\n", '$9999999999999999999' . "\r\n",
    );
    for my $bytes (@garbage) {
        my $name = substr($bytes, 0, 20) =~ s/[^ -~]/./gr;
        my $made = $wire->connections;
        $wire->garbage($bytes);
        wait_for(sub { $wire->connections > $made }, 8,
                 "a new connection after $name");
        becomes($gw, 'up', "REQ-50: after $name the connection is a new one");
    }
    ok(!(grep { !/^up$|^down: (?:its answer|no answer|AUTH|PING|it answers|it closed)/ }
         @{ said($gw) }), 'it is said what was wrong')
        or diag(explain(said($gw)));
    is(get($gw, '/')->body, 'ok', 'nginx serves');
    $gw->done;
}

{
    # slower than a request may wait: it is of no use, and says so once
    my $wire = LLM::Wire->new(to => LLM::Redis->new);
    $wire->answers();
    my $gw = gateway('redis://127.0.0.1:%%W%% timeout=20ms',
                     vars => { W => $wire });
    becomes($gw, 'up', 'up');
    $wire->delay(0.1 * slow(), 0.2 * slow());
    becomes($gw, 'down', 'REQ-47: a slow server is down');
    my $made = $wire->connections;
    wait_for(sub { $wire->connections > $made + 1 }, 5, 'two attempts');
    my $lines = @{ said($gw) };
    wait_for(sub { $wire->connections > $made + 3 }, 5, 'two more');
    is(scalar @{ said($gw) }, $lines, '  and stays so, with nothing to say');
    $gw->done;
}


# leaving

{
    my $redis = LLM::Redis->new;
    my $gw = gateway('redis://127.0.0.1:%%R%%', vars => { R => $redis },
                     workers => 2);
    wait_for(sub { @{ said($gw) } == 2 }, 5, 'both up');

    $gw->reload;
    wait_for(sub { clients($redis) == 2 }, 5, 'the old connections closed');
    pass('a reload leaves no connection behind');
    wait_for(sub { @{ said($gw) } == 4 }, 5, 'both up');

    my $started = now();
    $gw->stop('QUIT');
    between(now() - $started, 0, 1, 'QUIT leaves at once');
    is(scalar clients($redis), 0, '  and closes the connections');
    $gw->done;
}

for my $how (qw(refused blackhole)) {
    my $gone = LLM::Fake->$how;
    my $gw = gateway('redis://127.0.0.1:%%R%%', vars => { R => $gone });
    $gw->wait_error_log(qr/redis is down/);
    is(get($gw, '/')->body, 'ok', "$how: nginx serves");
    my $started = now();
    $gw->stop('QUIT');
    between(now() - $started, 0, 1, "$how: QUIT leaves at once");
    $gw->done;
}

{
    # worker_shutdown_timeout ends all connections, ours with the process
    my $redis = LLM::Redis->new;
    my $silent = LLM::Fake->silent;
    my $gw = gateway('redis://127.0.0.1:%%R%%', main => <<'CONF',
worker_shutdown_timeout 1s;
CONF
        vars => { R => $redis, S => $silent }, first => <<'CONF');
server { listen 127.0.0.1:%%PORT_1%%; location / { proxy_pass http://127.0.0.1:%%S%%; } }
CONF
    becomes($gw, 'up', 'up');
    my $c = LLM::Client->connect($gw->port(1));
    $c->send_request(path => '/');
    $silent->wait_requests(1);
    my ($worker) = $gw->worker_pids;
    $gw->reload;
    wait_for(sub { !LLM::Util::alive($worker) }, 10, 'its end');
    wait_for(sub { clients($redis) == 1 }, 5, 'the old connection closed');
    pass('worker_shutdown_timeout: the worker ends');
    $gw->done;
}


# configuration

for (
    [ 'http://x', 'is not redis://, rediss:// or unix:' ],
    [ 'redis://', 'no host in "redis://"' ],
    [ 'redis://:6379', 'no host in "redis://:6379"' ],
    [ 'redis://127.0.0.1:99999', 'invalid port in' ],
    [ 'redis://127.0.0.1/x', 'has an invalid database in its URL' ],
    [ 'redis://127.0.0.1/65536', 'has an invalid database in its URL' ],
    [ 'redis://127.0.0.1/-1', 'has an invalid database in its URL' ],
    [ 'redis://127.0.0.1/0/', 'has an invalid database in its URL' ],
    [ 'redis://:canary-url-1234@127.0.0.1', 'has a URL with a user or a password' ],
    [ 'redis://127.0.0.1/0?password=canary-url-1234', 'has an invalid URL' ],
    [ 'unix:', 'is not redis://, rediss:// or unix:' ],
    [ 'redis://127.0.0.1 timeout=0', 'has an invalid "timeout"' ],
    [ 'redis://127.0.0.1 timeout=x', 'has an invalid "timeout"' ],
    [ 'redis://127.0.0.1 timeout=61s', 'has an invalid "timeout"' ],
    [ 'redis://127.0.0.1 instances=0', 'has an invalid "instances"' ],
    [ 'redis://127.0.0.1 instances=x', 'has an invalid "instances"' ],
    [ 'redis://127.0.0.1 prefix=', 'has an invalid "prefix"' ],
    [ 'redis://127.0.0.1 "prefix=a b"', 'has an invalid "prefix"' ],
    [ 'redis://127.0.0.1 "prefix=a{b}"', 'has an invalid "prefix"' ],
    [ 'redis://127.0.0.1 user=joe', 'has a "user" without a "password"' ],
    [ 'redis://127.0.0.1 user= password=x', 'has an empty "user"' ],
    [ 'redis://127.0.0.1 password=env:NOT_THERE', 'NOT_THERE' ],
    [ 'redis://127.0.0.1 password=a password=b', 'has a parameter twice' ],
    [ 'redis://127.0.0.1 canary-url-1234', 'has an unknown parameter' ],
    [ 'redis://127.0.0.1 ssl_name=x', 'its URL is not rediss://' ],
    [ 'rediss://127.0.0.1 ssl_verify=maybe', 'neither on nor off' ],
    [ 'rediss://127.0.0.1 ssl_trusted_certificate=/nowhere', '/nowhere' ],
    [ "redis://127.0.0.1; llm_redis redis://127.0.0.1", 'is duplicate' ],
) {
    my ($directive, $why) = @$_;
    my ($status, $text) = LLM::Nginx->check(
        http => "llm_redis $directive;", env => { NOT_THERE => undef });
    ok($status != 0 && index($text, $why) >= 0, "\"$directive\" is refused")
        or diag($text);
    no_canary($text, 'canary-url-1234') if $directive =~ /canary/;
}

for ('redis://127.0.0.1', 'redis://127.0.0.1/', 'redis://[::1]:6380/15',
     'REDISS://127.0.0.1', 'unix:/run/redis.sock',
     'redis://127.0.0.1 timeout=1ms instances=10000 prefix=x',
     'redis://does-not-exist.invalid')
{
    my ($status, $text) = LLM::Nginx->check(http => "llm_redis $_;");
    is($status, 0, "\"$_\" is accepted") or diag($text);
}

done_testing;
