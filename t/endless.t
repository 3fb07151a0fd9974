#!/usr/bin/perl

# REQ-6: a stream that never ends does not starve the others of its worker,
# is cut where the configuration says so, and is over when its client is.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

# at line rate, for ever
my $event = 'data: ' . LLM::Test::canon({ choices => [ { index => 0,
    delta => { content => 'x' x 200 } } ] }) . "\n\n";
my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    return (header('Content-Type', 'text/event-stream'),
            repeat_steps(0, chunk($event x 50))) if $req->{json}{stream};
    return json({ fine(), pad => 'x' x 50_000 });
});

my $gw = LLM::Nginx->new(
    vars => { P => $p, T => 2 * slow() }, access_format => '$llm_stream_end',
    http => <<'CONF');
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
llm_model default { target p; }
server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_pass; }
    location /time/ { llm_timeout %%T%%s; llm_pass; }
    location /size/ { llm_max_response_size 100k; llm_pass; }
    location /small/ { llm_max_response_size 10k; llm_pass; }
    location = /health { return 200 "ok"; }
}
CONF
$gw->expect_error(qr/upstream timed out/, qr/cut its answer short/,
                  qr/more than llm_max_response_size/);

sub start {
    my ($at) = @_;
    my $c = LLM::Client->connect($gw);
    $c->send_request(path => "$at/v1/chat/completions",
                     body => '{"model":"m","stream":true}');
    return $c;
}

# who reads it all, at line rate, in a process of its own
sub drink {
    return LLM::Util::forked(sub {
        my $c = start('');
        eval { $c->read_until(qr/never/, 60) };
    });
}

{
    my $reader = drink();
    $p->wait_requests(1);
    my ($worker) = $gw->worker_pids;
    wait_for(sub { cpu_seconds($worker) > 0.2 * slow() }, 60, 'it runs');

    my @took = sort { $a <=> $b } map {
        my $start = now();
        die unless get($gw, '/health')->body eq 'ok';
        now() - $start;
    } 1 .. 200;
    cmp_ok($took[197], '<=', slow() > 1 ? 1 : 0.01,
           'REQ-6 beside it the same worker answers others in 10 ms (p99)');

    kill 'KILL', $reader;
    LLM::Util::reap($reader, 10);
    wait_for(sub { $gw->access_log =~ /aborted/ }, 2, 'the end');
    my $cpu = cpu_seconds($worker);
    select undef, undef, undef, 0.5;
    cmp_ok(cpu_seconds($worker) - $cpu, '<=', 0.05 * slow(),
           '  it is idle when its client has gone');
    wait_for(sub { !$p->open_connections }, 5, 'closed');
    pass('  and the provider\'s connection is closed');
}

for ([ 'llm_timeout', '/time' ], [ 'llm_max_response_size', '/size' ]) {
    my ($what, $at) = @$_;
    my $r = start($at)->read_response(30);
    is($r->status, 200, "REQ-6 $what cuts it");
    is($r->clean_end, 1, '  its end is whole');
    my @data = $r->sse_data;
    my $last = JSON::PP::decode_json($data[-1]);
    is($last->{error}{type}, 'upstream_error', '  the last event is the error');
    ok(!grep({ !/\A\{.*\}\z/s } @data), '  behind whole events');
    unlike($r->body, qr/\[DONE\]/, '  without [DONE]');
    cmp_ok(length $r->body, '<', 102_400 + 300, '  no longer than it may be')
        if $at eq '/size';
}
is(scalar(() = $gw->access_log =~ /^truncated$/mg), 2, '  both are truncated');

{
    my $r = post_json($gw, '/small/v1/chat/completions', { model => 'm' });
    is($r->clean_end, 0, 'an answer that is no stream ends with a break');
    $r = post_json($gw, '/size/v1/chat/completions', { model => 'm' });
    is($r->clean_end, 1, '  a shorter one is whole');
    is(length $r->json->{pad}, 50_000, '  all of it');
}

$gw->done;
done_testing;
