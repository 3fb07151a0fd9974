#!/usr/bin/perl
# llm_ping (REQ-7): a silent stream gets comment lines, between events only;
# the first one commits the 200, and what fails later is an error event.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $PATH = '/v1/chat/completions';

sub delta { return { choices => [ { index => 0, delta => { content => $_[0] },
                                    finish_reason => undef } ] } }
my $last = { choices => [ { index => 0, delta => {},
                            finish_reason => 'stop' } ] };

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $how = $req->{json}{user} // '';
    my @sse = (header('Content-Type', 'text/event-stream'));

    return (gate('header'), sse(delta('a'), $last, '[DONE]'))
        if $how eq 'late';
    return (sse(delta('a')), gate('middle'), sse($last, '[DONE]'))
        if $how eq 'middle';
    return (@sse, chunk('data: {"choices":[{"index":0,'), gate('half'),
            chunk("\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"))
        if $how eq 'half';
    return (@sse, chunk(": theirs\n"), gate('comment'),
            sse($last, '[DONE]')) if $how eq 'comment';
    return (gate('error'), status(429), json({ error => { message => 'x' } }))
        if $how eq 'error';
    return (gate('json'), json({ fine() })) if $how eq 'json';
    return (gate('cut'), rst()) if $how eq 'cut';
    return (gate('never'), json({})) if $how eq 'timeout';
    return (gate('plain'), json({ fine() }));
});
my $f = LLM::Fake->openai;

my $gw = LLM::Nginx->new(
    forget => 1, vars => { P => $p, F => $f },
    access_format => '$status $llm_attempts $llm_stream_end',
    http => <<'CONF');
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_provider f { endpoint http://127.0.0.1:%%F%%/v1; }
    llm_model p { target p; }
    llm_model two { target p; target f backup; }
    gzip on;
    gzip_types *;
    llm_ping 40ms;
    server {
        listen 127.0.0.1:%%PORT%%;
        error_page 502 504 = @other;
        location / { llm_pass; }
        location /short/ { llm_pass; llm_first_token_timeout 300ms; }
        location /off/ { llm_pass; llm_ping off; }
        location @other { return 200 "other"; }
    }
CONF
$gw->expect_error(qr/prematurely closed/, qr/reset by peer/,
                  qr/upstream timed out/);


sub start {
    my ($how, %opt) = @_;

    my $c = LLM::Client->connect($gw);
    $c->send_request(LLM::Client::json_request(
        ($opt{prefix} // '') . $PATH,
        { model => $opt{model} // 'p', stream => \1, user => $how },
        headers => [ [ 'Accept-Encoding', 'gzip' ] ]));
    return $c;
}


{
    my $mark = $gw->mark;
    my $c = start('late');
    $c->read_until(qr/:\n:\n:\n/);
    is($c->{response}->status, 200, 'REQ-7: the first ping sends the header');
    is($c->{response}->header('Content-Type'), 'text/event-stream',
       '  of a stream');
    is($c->{response}->header('Content-Encoding'), undef, '  uncoded');
    is($c->{response}->header('X-Accel-Buffering'), 'no',
       '  that nobody may buffer');
    ok($c->{response}->header('x-request-id'), '  with its id');
    is($c->{response}->header('x-llm-provider'), 'p', '  and its provider');

    $p->open_gate('header');
    my $r = $c->read_response;
    is($r->clean_end, 1, 'REQ-7: the answer follows');
    (my $body = $r->body) =~ s/^(?::\n)+//;
    is(scalar(() = $body =~ /^data: /mg), 3, '  with all its events');
    like($body, qr/^data: .*\n\ndata: .*\n\ndata: \[DONE\]\n\n\z/,
         '  as they were');
    unlike($r->body, qr/^(?:id|retry|data):\s*$/m, '  and nothing but comments'
                                                   . ' beside them');
    $c->close;
    like($gw->wait_log(qr/./, since => $mark), qr/^200 p:200:\d+ms complete$/, '  in the log');
}

for my $how (qw(middle comment)) {
    my $mark = $gw->mark;
    my $c = start($how);
    $c->read_until(qr/\n:\n:\n|^:\n.*:\n:\n/s);
    $p->open_gate($how);
    my $r = $c->read_response;
    is($r->clean_end, 1, "REQ-7: $how: the stream goes on");
    (my $body = $r->body) =~ s/^:\n//mg;
    is(($r->sse_data)[-1], '[DONE]', '  to its end');
    ok((grep { $_ eq ':' } split /\n/, $r->body) >= 2, '  with pings in it');
}

{
    my $c = start('half');
    $c->read_until(qr/:\n:\n/);
    $p->open_gate('half');
    my $r = $c->read_response;
    like($r->body, qr/^data: \{"choices":\[\{"index":0,"delta":\{\},.*\}\n\n\z/m,
         'REQ-7: no ping in the middle of an event');
    is($r->clean_end, 1, '  which arrives whole');
}

for my $how (qw(error json cut)) {
    my $others = $f->count;
    my $mark = $gw->mark;
    my $c = start($how, model => 'two');
    $c->read_until(qr/:\n/);
    $p->open_gate($how);
    my $r = $c->read_response;
    is($r->status, 200, "REQ-7: $how after a ping: the 200 stays");
    like($r->body, qr/^(?::\n)+data: (\{"error":\{.*\}\})\n\n\z/,
         '  the error is an event, the last one');
    is($f->count, $others, '  and no other provider is asked');
    $c->close;
}

{
    my $c = start('timeout', prefix => '/short');
    my $r = $c->read_response;
    is($r->status, 200, 'REQ-7: a timeout after a ping');
    like($r->body, qr/"upstream_timeout".*\n\n\z/, '  is an event, too');
    $c->close;
}

{
    my $c = start('late', prefix => '/off');
    my $r = $c->read_response;
    unlike($r->body, qr/^:/m, 'off: no comment of ours');

    my $mark = $gw->mark;
    my $plain = LLM::Client->connect($gw);
    $plain->send_request(LLM::Client::json_request($PATH, { model => 'p' }));
    $p->wait_requests($p->count);
    $p->open_gate('plain');
    $r = $plain->read_response;
    is($r->header('Content-Type'), 'application/json',
       'an answer that is no stream gets none');
}

{
    # clients that leave during the wait
    my @c = map { start('never') } 1 .. 5;
    $_->read_until(qr/:\n/) for @c;
    $_->reset for @c;
    is(post_json($gw, '/off' . $PATH, { model => 'two', user => 'cut' })
           ->status, 200, 'a client that leaves between pings harms nobody');
}

$gw->done;
done_testing;
