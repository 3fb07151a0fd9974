#!/usr/bin/perl

# REQ-9, as it is by default: a client that goes takes its provider's
# connection along within a second, whenever it goes and however.  One that
# is only slow costs no memory, and is not mistaken for a silent provider.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use JSON::PP ();

use LLM::H2;

my $CHAT = '/v1/chat/completions';

my $token = '{"choices":[{"index":0,"delta":{"content":"tok"}}]}';
my $finish = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}';
my $fill = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\""
         . 'x' x 16_000 . "\"}}]}\n\n";
my $ROUNDS = 1_000;             # 16 MB: more than all socket buffers hold

my %case = (
    silent   => sub { hang },
    head     => sub { (header('Content-Type', 'text/event-stream'), head,
                       hang) },
    comment  => sub { (sse(": a comment\n\n"), hang) },
    half     => sub { (header('Content-Type', 'application/json'), head,
                       chunk('{"choices":'), hang) },
    stream   => sub { (sse($token, $token), hang) },
    document => sub { (header('Content-Type', 'application/json'), head,
                       chunk('{"x":"' . 'x' x 70_000), hang) },
    endless  => sub { repeat_steps(0, sse($fill)) },
    long     => sub { (quiet, repeat_steps($ROUNDS, sse($fill)),
                       sse($finish, '[DONE]')) },
    whole    => sub { sse($token, $finish, '[DONE]') },
);

my $p = LLM::Fake->new(answer => sub { $case{ $_[0]{json}{metadata} }->() });
my $slow = LLM::Fake->new(answer => sub { $case{ $_[0]{json}{metadata} }->() });
my $second = LLM::Fake->openai;
my $hole = LLM::Fake->blackhole;

my $gw = LLM::Nginx->new(
    forget => 1, vars => { P => $p, SLOW => $slow, S => $second, HOLE => $hole },
    access_format => '$http_x_tag|$status|$llm_stream_end|$llm_attempts',
    http => <<'CONF');
    upstream pool { server 127.0.0.1:%%P%%; keepalive 8; }
    llm_provider p { endpoint http://pool/v1; }
    llm_provider slow { endpoint http://127.0.0.1:%%SLOW%%/v1; }
    llm_provider s { endpoint http://127.0.0.1:%%S%%/v1; }
    llm_provider hole { endpoint http://127.0.0.1:%%HOLE%%/v1; }
    llm_model m { target p; target s backup; }
    llm_model slow { target slow; }
    llm_model hole { target hole; target s backup; }

    server {
        listen 127.0.0.1:%%PORT%%;
        listen 127.0.0.1:%%PORT_1%% http2;
        location /v1/ { llm_pass; }
        location /idle/ { llm_pass; llm_idle_timeout 200ms; }
    }
CONF

my ($worker) = $gw->worker_pids;
my $tags = 0;

sub question {
    my ($case, %opt) = @_;
    my $stream = $case =~ /silent-json|half|document/ ? JSON::PP::false
                                                      : JSON::PP::true;
    return (method => 'POST', path => $opt{path} || $CHAT,
            headers => [ [ 'Content-Type', 'application/json' ],
                         [ 'X-Tag', 'tag-' . ++$tags ] ],
            body => canon({ model => $opt{model} || 'm', stream => $stream,
                            $opt{include} ? (stream_options => {
                                include_usage => JSON::PP::true }) : (),
                            metadata => $case =~ s/-json//r }));
}

# the most that the worker has ever had
sub peak_kb {
    return slurp("/proc/$worker/status") =~ /^VmHWM:\s+(\d+)/m ? $1 : 0;
}

sub logged {
    my ($tag) = @_;
    $tag ||= $tags;
    my ($line) = $gw->wait_log(qr/^tag-$tag\|/) =~ /\|(.*)/;
    return $line;
}

# The client leaves once the provider has the request, and it has read until
# the given bytes.

sub leaves {
    my ($name, $case, $leave, $until, $log) = @_;

    my $before = $p->count;
    my $c = LLM::Client->connect($gw);
    $c->send_request(question($case));
    my $conn = ($p->wait_requests($before + 1))[-1]{conn};
    $c->read_until($until) if $until;

    my $gone = now();
    $c->$leave;
    between($p->closed_at($conn) - $gone, 0, 1,
            "REQ-9: $name, $leave: the provider's connection closes");
    like(logged(), $log, '  as the log says');
    is($p->count - $before, 1, '  and nothing is asked again');
}

my $waiting = qr/^499\|-\|p:-:\d+ms$/;
my $aborted = qr/^200\|aborted\|p:200:\d+ms$/;

for my $leave (qw(close reset)) {
    leaves('gone before a stream\'s header', 'silent', $leave, undef, $waiting);
    leaves('gone while its header is held', 'head', $leave, undef,
           qr/^499\|-\|p:\S+:\d+ms$/);
    leaves('gone before its first event', 'comment', $leave, undef,
           qr/^499\|-\|p:\S+:\d+ms$/);
    leaves('gone in mid-stream', 'stream', $leave, qr/tok.*tok.*\n\n/s,
           $aborted);
    leaves('gone while a stream pours', 'endless', $leave, qr/x{16000}/,
           $aborted);
    leaves('gone while a document is awaited', 'silent-json', $leave, undef,
           $waiting);
    leaves('gone while a document is held', 'half', $leave, undef,
           qr/^499\|-\|p:\S+:\d+ms$/);
    leaves('gone in mid-document', 'document', $leave, qr/x{60000}/, $aborted);

    my $r = request($gw, question('whole'));
    is($r->clean_end, 1, 'the next request is served');
    is(scalar($r->events), 3, '  whole');
}
is($second->count, 0, 'REQ-9: nobody else was asked for those who left');

{
    my $c = LLM::Client->connect($gw);
    $c->send_request(question('silent', model => 'hole'));
    $c->flush;
    $c->close;
    like(logged(), qr/^499\|-\|hole:-:\d+ms$/,
         'REQ-9: gone while a provider is being connected to');
    is($second->count, 0, '  nobody else is asked');

    my $fds = fd_count($worker);
    for (1 .. 20) {
        $c = LLM::Client->connect($gw);
        $c->send_request(question('stream'));
        $c->read_event;
        $c->reset;
        $p->closed_at;
    }
    logged();
    wait_for(sub { fd_count($worker) <= $fds }, 2, 'closed descriptors');
    cmp_ok(fd_count($worker), '<=', $fds, '  and no descriptor is left');
}

SKIP: {
    skip(LLM::H2->missing, 2) if LLM::H2->missing;

    my $before = $p->count;
    my %q = question('stream');
    LLM::H2::request($gw->port(1), %q, abort_after => 0.2);
    my $gone = now();
    my $conn = ($p->wait_requests($before + 1))[-1]{conn};
    between($p->closed_at($conn) - $gone, -1, 1,
            'REQ-9: so it is with an HTTP/2 client');
    like(logged(), $aborted, '  as the log says');
}


# a slow client: its provider has to wait for it

{
    for my $include (1, 0) {
        my $before = peak_kb();
        my $c = LLM::Client->connect($gw, rcvbuf => 4096);
        $c->send_request(question('long', model => 'slow',
                                  include => $include,
                                  path => '/idle/chat/completions'));
        my $slow_tag = $tags;
        $c->read_header;
        is($c->{response}->status, 200, 'a client that stops reading');

        # another stream falls silent meanwhile: its time is the measure
        $gw->expect_error(qr/upstream timed out/,
                          qr/llm_provider "p" cut its answer short/);
        for (1 .. 2) {
            my $r = request($gw, question('stream',
                                          path => '/idle/chat/completions'));
            like($r->body, qr/"upstream_timeout"/,
                 '  outlives the llm_idle_timeout of others');
        }
        is(scalar(() = $slow->open_connections), 1,
           '  and keeps its provider');

        my $r = $c->read_response(20);
        is($r->clean_end, 1, '  once it reads, it has its answer');
        ok($r->body eq $fill x $ROUNDS
                       . "data: $finish\n\ndata: [DONE]\n\n", '  unchanged');
        $c->close;
        like(logged($slow_tag), qr/^200\|complete\|slow:200:\d+ms$/,
             '  as the log says');
        between(peak_kb() - $before, -512, 512,
                '  and it has cost no memory to speak of'
                . ($include ? ', usage asked for' : ''));
    }

    my $c = LLM::Client->connect($gw, rcvbuf => 4096);
    $c->send_request(question('endless', model => 'slow'));
    $c->read_header;
    my $gone = now();
    $c->reset;
    between($slow->closed_at - $gone, 0, 1, 'REQ-9: gone without reading');
}

is(request($gw, question('whole'))->clean_end, 1,
   'after all this, a stream is a stream');

$gw->done;
done_testing;
