#!/usr/bin/perl

# The memory of quotas in llm_zone: a flood of identities takes no memory of
# identities that are known, of requests in flight, of metrics or of health
# records.  Holds of a worker that was killed are settled by another one.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;

my $usage = { prompt_tokens => 4, completion_tokens => 1, total_tokens => 5 };
my @text = ({ choices => [ { index => 0, delta => { content => 'x' } } ] });

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $model = $req->{json}{model};
    return (sse(@text), hang()) if $model eq 'hang';
    return json({ choices => [ { index => 0, finish_reason => 'stop',
                  message => { content => 'x' } } ], usage => $usage });
});

sub gateway {
    my ($size) = @_;
    my $gw = LLM::Nginx->new(
        vars => { P => $p, SIZE => $size }, workers => 2, forget => 1,
        access_format => '$status|$http_x_who', http => <<'CONF');
    llm_zone %%SIZE%%;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model default { target p; }

    llm_quota_zone who key=$http_x_who requests=100k/day tokens=100m/day
                   concurrency=10k;

    server {
        listen 127.0.0.1:%%PORT%%;
        location / { llm_quota who; llm_pass; }
        location = /metrics { llm_metrics; }
    }
CONF
    $gw->expect_error(qr/llm_zone is full, /);
    return $gw;
}

sub ask {
    my ($gw, $who, $max) = @_;
    return post_json($gw, '/v1/chat/completions',
                     { model => 'quick', messages => [],
                       defined $max ? (max_tokens => $max) : () },
                     headers => [ [ 'X-Who', $who ] ]);
}

# a stream that has begun, or the status it was rejected with
sub open_stream {
    my ($gw, $who) = @_;
    my $c = LLM::Client->connect($gw);
    $c->send_request(method => 'POST', path => '/v1/chat/completions',
        headers => [ [ 'X-Who', $who ], [ 'Content-Type', 'application/json' ] ],
        body => JSON::PP::encode_json({ model => 'hang', max_tokens => 30,
            messages => [], stream => JSON::PP::true }));
    my $status = $c->read_header(5)->status;
    $c->read_event if $status == 200;
    return ($status, $c);
}

sub left {
    my ($gw, $who, $max) = @_;
    return ask($gw, $who, $max)->header('x-ratelimit-remaining-tokens');
}


# A flood of identities

{
    my $gw = gateway('512k');

    is(ask($gw, 'old')->status, 200, 'an identity before the flood');

    my ($i, $r, $rejected) = (0);
    while ($i++ < 5000) {
        $r = ask($gw, "flood-$i");
        last if $r->status != 200 && ++$rejected == 3;
    }

    cmp_ok($i, '>', 500, 'a zone of 512k has rows for more than 500');
    is($r->status, 503, '  and rejects a new identity when they are used');
    is(json_of($r)->{error}{code}, 'quota_unavailable', '  with its own code');
    like($gw->error_log, qr/llm_zone is full, a request of a new identity in /,
         '  and a line of the error log that says so');

    is(ask($gw, "flood-$_")->status, 200, "  identity $_ goes on") for 1, 200;

    my @streams = map { [ open_stream($gw, 'old') ] } 1 .. 40;
    is(scalar(grep { $_->[0] == 200 } @streams), 40,
       'the identity before the flood has 40 requests in flight');

    my $m = read_metrics($gw);
    is($m->{metrics_dropped_total}, 0, 'no sample of metrics is dropped');

    my $models = join '', map { "llm_provider p$_ { endpoint "
                     . "http://127.0.0.1:%%P%%/v1; }\n"
                     . "llm_model m$_ { target p$_; }\n" } 1 .. 20;
    my $http = $gw->{opt}{http};
    ok($gw->reload(http => $models . $http),
       'a reload adds providers');
    is(post_json($gw, '/v1/chat/completions', { model => "m$_",
                 messages => [] }, headers => [ [ 'X-Who', 'old' ] ])->status,
       200, "  provider p$_ is used") for 1, 20;

    $_->[1]->close for @streams;
    $gw->done;
}


# Learned estimates

{
    my $gw = gateway('256k');
    my $reserved = sub {
        my $before = left($gw, $_[0], 0);
        return $before - left($gw, $_[0], 900);
    };

    cmp_ok($reserved->('old'), '>', 800,
           'an identity without answers reserves what it declares');
    left($gw, 'old', 900) for 1 .. 10;
    my $learned = $reserved->('old');
    cmp_ok($learned, '<', 100, '  with answers, what they usually are');

    left($gw, "flood-$_", 900) for 1 .. 200;
    is($reserved->('old'), $learned,
       '  and so it does after 200 identities were seen');
    cmp_ok($reserved->('flood-200'), '>', 800,
           '  of which the last ones have no estimate yet');
    $gw->done;
}


# A flood of requests in flight

{
    my $gw = gateway('256k');

    my ($rejected, $status, @streams);

    for my $i (1 .. 200) {
        ($status, my $c) = open_stream($gw, 'busy');
        push @streams, $c;
        last if $status != 200;
        $rejected = ask($gw, "new-$i")->status;
        last if $rejected != 200;
    }

    is($status, 200, 'a known identity has requests in flight');
    is($rejected, 503, 'a new one is rejected while memory is left');
    is(ask($gw, 'new-1')->status, 200, '  a known one is not');
    is((open_stream($gw, 'busy'))[0], 200, '  whichever it is');

    my $name = 'new-' . scalar @streams;
    is(ask($gw, $name)->status, 503,
       '  and a rejected request does not make its identity known');

    $_->close for @streams;
    wait_for(sub { ask($gw, $name)->status == 200 }, 5,
             'memory of requests that have ended');
    pass('  which is admitted when requests have ended');
    $gw->done;
}


# Workers that were killed, with more holds than are settled in one step

{
    my $gw = gateway('2m');
    $gw->expect_alert(qr/exited on signal 9/);

    my $before = left($gw, 'dies');

    my @streams = map { (open_stream($gw, 'dies'))[1] } 1 .. 300;
    my @old = $gw->worker_pids;
    kill 'KILL', @old;
    wait_for(sub {
        my $n = 0;
        $n += $_ for $gw->error_log
            =~ /(\d+) requests of workers that have exited were settled/g;
        return $n == 300;
    }, 10, '300 settlements');
    pass('all requests of workers that were killed are settled, each once');

    cmp_ok($before - left($gw, 'dies'), '<', 300 * 30, '  by the amounts they have used');
    $_->close for @streams;

    # an old generation has no successor

    my ($status, $c) = open_stream($gw, 'drains');
    my %old = map { $_ => 1 } $gw->worker_pids;
    ok($gw->reload, 'a reload leaves a worker that shuts down');
    my @leaving = grep { kill 0, $_ } keys %old;
    kill 'KILL', @leaving;
    $gw->wait_error_log(qr/1 requests of workers that have exited were settled/);
    pass('  after it was killed a worker of the next generation settles '
         . 'its request');
    $c->close;
    $gw->done;
}

done_testing;


sub json_of { return JSON::PP::decode_json($_[0]->body) }
