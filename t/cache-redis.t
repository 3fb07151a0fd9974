#!/usr/bin/perl

# The second tier of the cache as the cache sees it: entries that only their
# own key and scope open, a Redis that reads and changes nothing, is slow or
# gone; and what one node purges reaches the others, and never comes back.
# t/caller makes the calls.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Redis;
use LLM::Wire;

use Digest::SHA qw(hmac_sha256_hex);
use MIME::Base64 qw(encode_base64url);

my $build = $ENV{LLM_BUILD} || root_dir() . '/build';
my $SECRET = 'canary-cache-secret-0123456789';

sub gateway {
    my ($redis, %opt) = @_;
    my $port = $redis->port;
    my $params = delete $opt{params} || 'timeout=5s';
    my $secret = delete $opt{secret} || $SECRET;
    my $locations = join '', map {
        "location = /$_ { llm_caller_cache $_; }\n"
    } qw(get put forget purge counters mac);

    return LLM::Nginx->new(
        $ENV{LLM_STATIC} ? () : (modules => [ "$build/ngx_http_llm_caller_module.so" ]),
        env => { CACHE_SECRET => $secret }, %opt, http => <<"CONF");
llm_cache_redis redis://127.0.0.1:$port $params;
llm_cache_secret env:CACHE_SECRET;
llm_cache on;
server {
    listen 127.0.0.1:%%PORT%%;
    $locations
}
CONF
}

# keys of the cache, and as Redis has them
sub key   { return unpack 'H*', substr $_[0] . '-' x 32, 0, 32 }
sub name  { return 'llm:c:' . encode_base64url(pack('H*', key($_[0]))) }

sub call {
    my ($gw, $word, $key, %arg) = @_;
    $arg{k} = key($key) if defined $key;
    return get($gw, "/$word?" . join '&', map { "$_=$arg{$_}" } sort keys %arg)
           ->body;
}

# the first one may come before the connection is there
sub ready {
    my ($gw) = @_;
    wait_for(sub { call($gw, 'get', 'nothing') eq 'absent' }, 5, 'Redis');
}

# what was put is there
sub stored {
    my ($gw, $redis, $key, %arg) = @_;
    call($gw, 'put', $key, %arg);
    wait_for(sub { $redis->cmd('EXISTS', name($key)) == 1 }, 5, "an entry $key");
}


# entries

{
    my $redis = LLM::Redis->new;
    my $gw = gateway($redis);
    my $other = gateway($redis);
    ready($gw);
    ready($other);

    is(call($gw, 'get', 'a', s => 'canary-scope-1'), 'absent', 'nothing was put');
    stored($gw, $redis, 'a', s => 'canary-scope-1', v => 'canary-answer-1', ttl => 50000);
    is(call($gw, 'get', 'a', s => 'canary-scope-1'), 'hit canary-answer-1',
       'what was put is there');
    is(call($other, 'get', 'a', s => 'canary-scope-1'), 'hit canary-answer-1',
       '  on another node, too');
    between($redis->cmd('PTTL', name('a')), 1, 50000, '  for its time');
    is($redis->cmd('STRLEN', name('a')), 33 + length 'canary-answer-1',
       '  and takes 33 bytes more');

    my $value = $redis->cmd('GET', name('a'));
    stored($gw, $redis, 'a2', s => 'canary-scope-1', v => 'canary-answer-1');
    isnt($redis->cmd('GET', name('a2')), $value,
         'the same text is sealed to other bytes');

    # B-T2
    is(call($gw, 'get', 'a', s => 'canary-scope-2'), 'refused', 'another scope opens none');
    is(call($gw, 'get', 'a'), 'refused', '  nor does an empty one');
    $redis->cmd('SET', name('b'), $value);
    is(call($gw, 'get', 'b', s => 'canary-scope-1'), 'refused',
       'a value that was moved to another key is refused');
    call($gw, 'forget', 'b');
    wait_for(sub { !$redis->cmd('EXISTS', name('b')) }, 5, 'its end');
    pass('  and can be deleted');
    is(call($gw, 'get', 'b', s => 'canary-scope-1'), 'absent', '  it is not there');

    my @opened;
    for my $bit (0 .. 8 * length($value) - 1) {
        my $changed = $value;
        vec($changed, $bit, 1) ^= 1;
        $redis->cmd('SET', name('c'), $changed);
        $redis->cmd('SET', name('a'), $changed);
        push @opened, $bit if call($gw, 'get', 'a', s => 'canary-scope-1') ne 'refused';
    }
    is("@opened", '', 'one flipped bit anywhere is refused');
    for my $len (0 .. length($value) - 1) {
        $redis->cmd('SET', name('a'), substr $value, 0, $len);
        push @opened, $len if call($gw, 'get', 'a', s => 'canary-scope-1') ne 'refused';
    }
    $redis->cmd('SET', name('a'), "$value\0");
    push @opened, 'more' if call($gw, 'get', 'a', s => 'canary-scope-1') ne 'refused';
    is("@opened", '', '  so is what is too short or too long');
    $redis->cmd('SET', name('a'), $value);
    is(call($gw, 'get', 'a', s => 'canary-scope-1'), 'hit canary-answer-1',
       '  and the value itself opens still');

    # a value that is no string, or too long
    $redis->cmd('DEL', name('a'));
    $redis->cmd('RPUSH', name('a'), 1);
    $gw->expect_error(qr/redis refuses a script: WRONGTYPE .*, llm_cache_redis: "redis:/);
    is(call($gw, 'get', 'a', s => 'canary-scope-1'), 'error', 'a list is trouble');
    $redis->cmd('SET', name('a'), 'x' x (1024 * 1024 + 1));
    is(call($gw, 'get', 'a', s => 'canary-scope-1'), 'absent',
       'what is longer than any entry is not read');

    # MiB, from all sides
    my $most = 1024 * 1024 - 33;
    stored($gw, $redis, 'large', s => 'x', v => 'y', n => $most);
    is(call($other, 'get', 'large', s => 'x'), 'hit ' . 'y' x $most,
       'an entry of 1 MiB');
    call($gw, 'put', 'larger', s => 'x', v => 'y', n => $most + 1);
    is(call($gw, 'get', 'larger', s => 'x'), 'absent', '  of more is not put');
    stored($gw, $redis, 'one', v => 'z');
    is(call($gw, 'get', 'one'), 'hit z', '  of one byte');
    is(call($gw, 'put', 'never', v => 'z', ttl => 0), 'sent',
       'what has no time left');
    is(call($gw, 'get', 'never'), 'absent', '  is not stored');
    stored($gw, $redis, 'month', v => 'z', ttl => 400 * 86400 * 1000);
    between($redis->cmd('PTTL', name('month')), 0, 30 * 86400 * 1000,
            'nothing is kept for more than 30 days');

    no_canary($redis->dump . $gw->error_log, 'canary-answer-1', 'canary-scope-1', $SECRET);
    unlike($gw->error_log, qr/redis is down/, 'and it was up all the time');
    unlike($gw->error_log, qr/evicts keys/, 'nobody minds what it evicts');
    $_->done for $gw, $other;
}

{
    my $redis = LLM::Redis->new;
    my $gw = gateway($redis);
    my $other = gateway($redis, secret => 'another-secret-of-its-own');
    ready($gw);
    ready($other);
    stored($gw, $redis, 'a', s => 's', v => 'text');
    is(call($other, 'get', 'a', s => 's'), 'refused',
       'another secret opens nothing');

    # RFC 4231, 2
    is(call($gw, 'mac', undef, k => 'Jefe', s => 'what%20do%20ya%20want%20',
            v => 'for%20nothing%3F'),
       '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
       'HMAC-SHA256, of pieces');
    my $long = 'k' x 150;
    is(call($gw, 'mac', undef, k => $long, v => 'v'),
       hmac_sha256_hex('v', $long), '  with a long key');
    $_->done for $gw, $other;
}

{
    # keys without a script that is known, and evicted ones
    my $redis = LLM::Redis->new;
    my $gw = gateway($redis, params => 'timeout=5s prefix=other:');
    ready($gw);
    $redis->cmd('SCRIPT', 'FLUSH');
    call($gw, 'put', 'a', v => 'z');
    my $key = name('a') =~ s/^llm:/other:/r;
    wait_for(sub { $redis->cmd('EXISTS', $key) }, 5, 'the entry');
    pass('a script that Redis has forgotten is sent again, prefix= is kept to');
    $redis->cmd('SCRIPT', 'FLUSH');
    call($gw, 'forget', 'a');
    wait_for(sub { !$redis->cmd('EXISTS', $key) }, 5, 'its end');
    pass('  to delete, too');
    $gw->done;
}

# REQ-50

{
    my $redis = LLM::Redis->new;
    my $wire = LLM::Wire->new(to => $redis);
    my $gw = gateway($wire, params => 'timeout=150ms');
    ready($gw);
    stored($gw, $redis, "key$_-", s => 's', v => "value$_") for 1 .. 40;

    my (%ends, @wrong);
    for my $round (1 .. 6) {
        $round < 4 ? $wire->delay(0, 0.2) : $wire->drop_replies(17);

        my @clients = map {
            my $c = LLM::Client->connect($gw);
            $c->send_request(path => '/get?s=s&k=' . key("key$_-"));
            [ $c, "value$_" ];
        } 1 .. 40;

        while (my $one = shift @clients) {
            my ($c, $value) = @$one;
            if (@clients % 3 == 0) { $c->reset; next }
            my $body = $c->read_response->body;
            my ($end) = $body =~ /^(\w+)/;
            $ends{$end}++;
            push @wrong, "$value: $body"
                if $end eq 'hit' ? $body ne "hit $value"
                                 : $end !~ /^(?:down|error)$/;
        }
        if ($round == 3) {
            $wire->pass;
            ready($gw);
        }
    }
    ok(!@wrong, 'REQ-50: each value is that of its key')
        or diag(join "\n", @wrong);
    ok($ends{hit} && ($ends{down} || $ends{error}), '  or there is none')
        or diag(explain(\%ends));
    $wire->pass;
    ready($gw);
    is(call($gw, 'get', 'key7-', s => 's'), 'hit value7', '  all is well then');
    $gw->done;
}


# a Redis that is slow or gone

{
    my $redis = LLM::Redis->new;
    my $gw = gateway($redis);
    ready($gw);
    stored($gw, $redis, 'a', v => 'z');
    $redis->pause;
    call($gw, 'put', "large$_", v => 'y', n => 1024 * 1024 - 33) for 1 .. 8;
    $redis->resume;
    ready($gw);
    is($redis->cmd('DBSIZE'), 2,
       'what is put while a MiB is under way already is dropped');
    unlike($gw->error_log, qr/redis is down/, '  and no fault of Redis');
    $gw->done;
}

{
    my $redis = LLM::Redis->new;
    my $gw = gateway($redis, params => 'timeout=' . int(20 * slow()) . 'ms');
    ready($gw);
    stored($gw, $redis, 'a', s => 's', v => 'text');

    $redis->pause;
    my (%ends, @slow);
    for (1 .. 100) {
        my $started = now();
        $ends{ call($gw, 'get', 'a', s => 's') }++;
        push @slow, now() - $started if now() - $started > 0.02 * slow();
    }
    is($ends{hit}, undef, 'a stopped Redis answers nothing');
    between($ends{error}, 1, 10, '  a few wait for it');
    cmp_ok($ends{down}, '>=', 90, '  the others are told at once');
    ok(!(grep { $_ > 0.1 * slow() } @slow), '  nobody waits for longer')
        or diag("@slow");
    is(call($gw, 'put', 'b', v => 'z'), 'sent', '  nor to put');
    is(call($gw, 'forget', 'b'), 'sent', '  nor to delete');
    $redis->resume;
    ready($gw);
    is(call($gw, 'get', 'a', s => 's'), 'hit text', 'it is up again');
    is(call($gw, 'get', 'b'), 'absent', '  what was put has gone');

    # a client that leaves
    $redis->pause;
    my $c = LLM::Client->connect($gw);
    $c->send_request(path => '/get?k=' . key('a'));
    $c->reset;
    $redis->resume;
    ready($gw);
    is(call($gw, 'get', 'a', s => 's'), 'hit text',
       'a client that went is no harm');

    $redis->stop;
    wait_for(sub { call($gw, 'get', 'a') eq 'down' }, 5, 'it to be gone');
    $gw->wait_error_log(qr/redis is down: .*, llm_cache_redis: "redis:/);
    pass('the log has the directive it is of');
    is(call($gw, 'put', 'b', v => 'z'), 'sent', '  nobody waits to put');

    # a reload, and an exit, while it is gone
    my ($old) = $gw->worker_pids;
    $gw->signal('HUP');
    wait_for(sub { !kill 0, $old }, 5, 'the old worker to go');
    pass('an exiting worker does not wait for it');
    $redis->start;
    ready($gw);
    is(call($gw, 'get', 'a'), 'absent', 'an empty one comes back');
    $gw->done;
}


# purges

{
    my $redis = LLM::Redis->new;
    my ($one, $two) = map { gateway($redis) } 1, 2;

    my $counters = sub {
        my (undef, @lines) = split /\n/, call($_[0], 'counters');
        return { map { split / / } @lines };
    };
    my $synced = sub { return (split /\n/, call($_[0], 'counters'))[0] };
    my $sees = sub {
        my ($gw, $index, $value) = @_;
        my $started = now();
        my $seen = LLM::Util::poll_until(
            sub { ($counters->($gw)->{$index} || 0) eq $value }, 5);
        return $seen ? now() - $started : undef;
    };

    wait_for(sub { $synced->($one) }, 5, 'the first answer');
    is_deeply($counters->($one), {}, 'nothing was purged yet, and that is known');

    is(call($one, 'purge', undef, i => 7, c => 1), 'taken', 'a purge');
    between($sees->($two, 7, 1), 0, 1 * slow(),
            '  is seen by another node within a second');
    between($sees->($one, 7, 1), 0, 1 * slow(), '  and its own');
    call($two, 'purge', undef, i => 7, c => 1);
    between($sees->($one, 7, 2), 0, 1 * slow(),
            'the same said by two is two purges');
    call($two, 'purge', undef, i => 7, c => 40);
    between($sees->($one, 7, 40), 0, 1 * slow(), 'a node that is ahead counts');
    call($one, 'purge', undef, i => 7, c => 3);
    between($sees->($two, 7, 41), 0, 1 * slow(), '  one behind does not');
    call($one, 'purge', undef, i => 0, c => 5);
    call($one, 'purge', undef, i => 4096, c => 6);
    $sees->($two, 4096, 6);
    is_deeply($counters->($two), { 0 => 5, 7 => 41, 4096 => 6 },
              'each index for itself');
    between($redis->cmd('PTTL', 'llm:purge'), 30 * 86400000, 31 * 86400000,
            'they outlive any entry');

    # much at once
    call($one, 'purge', undef, i => $_, c => 1000 + $_) for 100 .. 400;
    between($sees->($two, 400, 1400), 0, 1 * slow(), 'of many the last is seen');
    is(scalar(keys %{ $counters->($two) }), 304, '  and all before it');

    # what is there is read by one who comes
    my $three = gateway($redis);
    between($sees->($three, 7, 41), 0, 5, 'a new node sees what was purged');
    $three->done;

    # a version that does not change costs nothing
    my $before = $synced->($two);
    wait_for(sub { $synced->($two) > $before + 1 }, 5, 'two answers');
    is(scalar(keys %{ $counters->($two) }), 304, 'it is asked on and on');

    # Redis that has lost all: nobody goes back, and it is told what is new
    $redis->cmd('FLUSHALL');
    call($one, 'purge', undef, i => 7, c => 42);
    between($sees->($two, 7, 42), 0, 1 * slow(),
            'a Redis that was emptied passes on what comes then');
    is($counters->($two)->{400}, 1400, '  and takes nothing back');
    $redis->cmd('HSET', 'llm:purge', 7, 3, 8, 'x', 9, -1, 10, '99999999999',
                4097, 5, 'junk here', 4, 11, 12, 'v', '1');
    between($sees->($two, 11, 12), 0, 1 * slow(), 'odd fields are passed over');
    my $now = $counters->($two);
    is(join(' ', map { $_ // '-' } @$now{7, 8, 9, 10, 4097}), '42 - - - -',
       '  and older ones no harm');
    $redis->cmd('DEL', 'llm:purge');
    $redis->cmd('SET', 'llm:purge', 'x');
    $_->expect_error(qr/redis refuses a script: WRONGTYPE/) for $one, $two;
    $one->wait_error_log(qr/redis refuses a script: WRONGTYPE/);
    $redis->cmd('DEL', 'llm:purge');

    # kept while it is gone
    $redis->stop;
    wait_for(sub { call($one, 'get', 'x') eq 'down' }, 5, 'it to be gone');
    is(call($one, 'purge', undef, i => 7, c => 50), 'taken',
       'a purge while Redis is gone');
    $redis->start;
    between($sees->($two, 7, 50), 0, 3, '  arrives once it is back');

    # the one that asks is replaced
    my ($old) = $two->worker_pids;
    $two->signal('HUP');
    wait_for(sub { !kill 0, $old }, 5, 'the old worker to go');
    pass('an exiting worker is not kept by it');
    between($sees->($two, 7, 50), 0, 5, '  the next one asks');
    kill 'KILL', ($two->worker_pids)[0];
    $two->expect_alert(qr/exited on signal 9/);
    between($sees->($two, 7, 50), 0, 5, '  also after one was killed');
    $_->done for $one, $two;
}

done_testing;
