#!/usr/bin/perl

# REQ-39: a reload cuts nothing and leaves nothing behind: streams that run
# end whole on their old worker, which goes after its last one; new requests
# see the new configuration.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Util qw(alive);

my $STREAMS = 99;
my $PATH = '/v1/chat/completions';
my $KEY = 'sk-canary-reload';

sub event { return { choices => [ { delta => { content => $_[0] } } ] } }

# Three events, a gate, and the rest; the gate is { user => ... }.

sub provider {
    my ($me) = @_;
    return LLM::Fake->new(answer => sub {
        my ($req) = @_;
        my $gate = $req->{json}{user};
        return json({ fine(), me => $me }) unless $req->{json}{stream};
        return (map({ sse(event("$gate-$_ ")) } 1 .. 3), gate($gate),
                map({ sse(event("$gate-$_ ")) } 4 .. 9),
                sse({ choices => [ { delta => {}, finish_reason => 'stop' } ] },
                    '[DONE]'));
    });
}

my ($p, $q) = (provider('p'), provider('q'));

my $HTTP = <<'CONF';
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; key env:LLM_TEST_KEY; }
llm_model m { target p; }
server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_pass; }
}
CONF

my $gw = LLM::Nginx->new(
    vars => { P => $p, Q => $q }, env => { LLM_TEST_KEY => $KEY },
    workers => 2, access_format => '$status $llm_stream_end', http => $HTTP);

sub begin {
    my ($gate) = @_;
    my $c = LLM::Client->connect($gw);
    $c->send_request(LLM::Client::json_request($PATH,
        { model => 'm', user => $gate, stream => JSON::PP::true() }));
    $c->read_event for 1 .. 3;
    return $c;
}

sub whole {
    my ($c, $gate) = @_;
    my $r = $c->read_response;
    $c->close;                          # or nginx may linger
    return 0 unless $r->clean_end && $r->status == 200;
    return $r->text eq join('', map { "$gate-$_ " } 1 .. 9)
           && ($r->sse_data)[-1] eq '[DONE]';
}

sub draining {
    my %on = map { $_ => 1 } $gw->worker_pids;
    my @left = grep { !$on{$_} } $gw->worker_pids('all');
    return @left;
}

sub zombies {
    my ($parent) = @_;
    return grep { slurp($_) =~ /\) Z \Q$parent\E / } glob '/proc/[0-9]*/stat';
}


# Streams over a reload

{
    my @streams = map { begin('many') } 1 .. $STREAMS;
    my $last = begin('last');
    my @old = $gw->worker_pids;

    ok($gw->reload, "a reload while @{[ $STREAMS + 1 ]} streams run");
    my @drain = draining();
    cmp_ok(scalar(@drain), '>', 0, '  old workers are still there');

    my $r = post_json($gw, $PATH, { model => 'm' });
    is($r->status, 200, '  new requests are served');
    is(($p->requests)[-1]{headers}{authorization}, "Bearer $KEY",
       '  with the key of the environment that nginx was started with');

    $p->open_gate('many');
    is((grep { whole($_, 'many') } @streams), $STREAMS,
       '  every stream ends byte for byte (REQ-39)');

    wait_for(sub { draining() <= 1 }, 3, 'end of all but one');
    my ($holder) = draining();
    ok($holder, '  a worker without a stream is gone');
    ok(alive($holder), '  the one with the last stream is not');

    $p->open_gate('last');
    ok(whole($last, 'last'), '  which ends whole');
    my $started = now();
    ok(wait_for(sub { !draining() }, 5, 'end of the old worker'),
       '  and the worker with it');
    between(now() - $started, 0, 1, '  within a second');
    is((grep { alive($_) } @old), 0, '  no old worker is left');
}


# The new configuration

{
    my $c = begin('changed');
    my $waiting = LLM::Client->connect($gw);

    ok($gw->reload(http => $HTTP =~ s/%%P%%/%%Q%%/r),
       'a reload that changes the provider');
    is(post_json($gw, $PATH, { model => 'm' })->json->{me}, 'q',
       '  new requests go to the new one');
    $p->open_gate('changed');
    ok(whole($c, 'changed'), '  a stream of the old one ends whole');

    $waiting->send_request(LLM::Client::json_request($PATH,
                                                     { model => 'm' }));
    is($waiting->read_response->status, 200,
       '  a connection made before is served by one of them');

    my $requests = $p->count;
    ok(!$gw->reload(http => "llm_provider p { endpoint ftp://x; }\n"),
       'a reload of a broken configuration is refused');
    $gw->expect_alert(qr/endpoint "ftp:/);
    is(post_json($gw, $PATH, { model => 'm' })->json->{me}, 'q',
       '  the old one goes on');
    is($p->count, $requests, '  unchanged');
}


# Again and again

{
    ok($gw->reload(http => $HTTP), 'the first configuration again');
    wait_for(sub { !draining() }, 5, 'end of old workers');

    my $measure = sub {
        post_json($gw, $PATH, { model => 'm' }) for 1 .. 4;
        return fd_count($gw->master_pid);
    };
    my $before = $measure->();
    my $rss = rss_kb($gw->master_pid);
    my $stream = begin('again');
    my $failed = 0;

    for (1 .. 50) {
        $gw->reload or $failed++;
        my $r = post_json($gw, $PATH, { model => 'm' });
        $failed++ unless $r->status == 200;
        my $c = begin('many');                      # this gate is open
        $failed++ unless whole($c, 'many');
    }
    is($failed, 0, 'fifty reloads, with requests between them: none fails');
    ok(wait_for(sub { draining() <= 1 }, 5, 'end of all but one'),
       '  one old worker is left, for the stream that runs');

    $p->open_gate('again');
    ok(whole($stream, 'again'), '  a stream over all of them ends whole');
    ok(wait_for(sub { !draining() }, 5, 'end of old workers'),
       '  then no old worker is left');
    is(scalar($gw->worker_pids('all')), 2, '  two workers run');
    is(scalar(zombies($gw->master_pid)), 0, '  and no zombie');
    is($measure->(), $before, '  the master has as many files open');

    # a sanitizer keeps what is freed for a while
    between(rss_kb($gw->master_pid) - $rss, -1e6,
            $ENV{LLM_WRAP} ? 65536 : 4096, '  and has not grown');
}


# Kept connections and waiting requests

{
    my $idle = LLM::Client->connect($gw);
    $idle->send_request(LLM::Client::json_request($PATH, { model => 'm' },
                                                  keepalive => 1));
    is($idle->read_response->status, 200, 'a client\'s connection is kept');
    wait_for(sub { () = $p->open_connections }, 2, 'kept connection to P');

    my @old = $gw->worker_pids;
    ok($gw->reload, '  over a reload');
    ok(wait_for(sub { !grep { alive($_) } @old }, 3, 'end of old workers'),
       '  which no kept connection delays');
    is($idle->wait_close, 'fin', '  and which closes it');
}


# A new binary

{
    my $old = LLM::Nginx->new(daemon => 1, vars => { P => $p, Q => $q },
                              env => { LLM_TEST_KEY => $KEY }, http => $HTTP);
    my $stream = LLM::Client->connect($old);
    $stream->send_request(LLM::Client::json_request($PATH,
        { model => 'm', user => 'usr2', stream => JSON::PP::true() }));
    $stream->read_event for 1 .. 3;

    # the old master waits for its last stream
    $p->open_gate('usr2');
    $old->upgrade;
    ok(whole($stream, 'usr2'), 'USR2: a stream of the old binary ends whole');

    is(post_json($old, $PATH, { model => 'm' })->status, 200,
       '  the new one serves');
    is(($p->requests)[-1]{headers}{authorization}, "Bearer $KEY",
       '  with the key from the environment it was not given');
    $old->done;
}


# The end

{
    my @streams = map { begin('quit') } 1 .. 4;
    my @workers = $gw->worker_pids;
    $gw->signal('QUIT');
    ok(wait_for(sub { !eval { LLM::Client->connect($gw); 1 } }, 3,
                'refusal of new connections'),
       'QUIT: nothing new is accepted');
    is((grep { alive($_) } @workers) > 0, 1, '  but what runs goes on');
    $p->open_gate('quit');
    is((grep { whole($_, 'quit') } @streams), 4, '  to its end');
    ok(wait_for(sub { !grep { alive($_) } @workers }, 3, 'end of workers'),
       '  then the workers end');
}

my @ends = $gw->access_log =~ /^(.*)$/mg;
is((grep { !/^200 (?:complete|-)$/ } @ends), 0,
   'every line of the access log is a complete answer')
    or diag(grep { !/^200/ } @ends);

no_canary($gw->error_log, $KEY);
$gw->done;
done_testing;
