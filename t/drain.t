#!/usr/bin/perl

# REQ-9, llm_on_abort drain: the answer whose client is gone is read on, for
# its usage, to its end or for as long as may be; nobody is written to, nobody
# else is asked, and it takes no memory.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;
use LLM::Util qw(slow);

use IO::Socket::INET;
use JSON::PP ();
use Socket;

use LLM::H2;

my $CHAT = '/chat/completions';

my $token = '{"choices":[{"index":0,"delta":{"content":"tok"}}]}';
my $finish = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}';
my %usage = (usage => { prompt_tokens => 10, completion_tokens => 5,
                        total_tokens => 15 });
my $usage = canon({ choices => [], %usage });
my $x = join '', 'x', map { sprintf '%04d', $_ } 1 .. 4000;
my $fill = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"$x\"}}]}"
         . "\n\n";
my $ROUNDS = 1_000;             # 16 MB: more than all socket buffers hold
my $document = canon({ choices => [ {} ], pad => $x x 8, %usage });

my @json = header('Content-Type', 'application/json');
my @three = (sse($token, $token, $token));
my @rest = sse($finish, $usage, '[DONE]');

# What a provider does; its gate has the client's tag.

my %case = (
    stream   => sub { (@three, gate($_[0]), @rest) },
    held     => sub { (header('Content-Type', 'text/event-stream'), head,
                       gate($_[0]), @three, @rest) },
    wait     => sub { (gate($_[0]), json({ fine(), %usage })) },
    half     => sub { (@json, chunk(substr $document, 0, 70_000),
                       gate($_[0]), chunk(substr $document, 70_000)) },
    refusal  => sub { (gate($_[0]), status(500), json({ error => {} })) },
    pour     => sub { (repeat_steps($ROUNDS, sse($fill)), @rest) },
    big      => sub { (quiet, @three, gate($_[0]),
                       repeat_steps(200, sse($fill)), @rest) },
    flood    => sub { (repeat_steps($ROUNDS, sse($fill)), gate($_[0]),
                       @rest) },
    late     => sub { (repeat_steps($ROUNDS, sse($fill)), delay(2.5),
                       @rest) },
    endless  => sub { (quiet, repeat_steps(0, sse($fill))) },
    silent   => sub { hang },
    stuck    => sub { (@three, hang) },
    fin      => sub { (@three, gate($_[0]), fin) },
    rst      => sub { (@three, gate($_[0]), rst) },
    early    => sub { (gate($_[0]), fin) },
    error    => sub { (@three, gate($_[0]), sse('{"error":{"code":500}}')) },
    whole    => sub { (@three, @rest) },
);

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    return $case{ $req->{json}{metadata} }->($req->{json}{user});
});
my $second = LLM::Fake->openai;
my $hole = LLM::Fake->blackhole;

my $HTTP = <<'CONF';
    upstream pool { server 127.0.0.1:%%P%%; keepalive 8; }
    llm_provider p { endpoint http://pool/v1; }
    llm_provider s { endpoint http://127.0.0.1:%%S%%/v1; }
    llm_provider hole { endpoint http://127.0.0.1:%%HOLE%%/v1; }
    llm_model m { target p; target s backup; }
    llm_model hole { target hole; target s backup; }
    llm_on_abort drain 30s;

    server {
        listen 127.0.0.1:%%PORT%%;
        listen 127.0.0.1:%%PORT_1%% http2;
        location /v1/ { llm_pass; }
        location /t/ { llm_pass; llm_on_abort drain 400ms; }
        location /cancel/ { llm_pass; llm_on_abort cancel; }
        location /idle/ { llm_pass; llm_idle_timeout 200ms; }
        location /header/ { llm_pass; llm_header_timeout 400ms; }
        location /size/ { llm_pass; llm_max_response_size 1m; }
        location /send/ { llm_pass; send_timeout 2s; }
        location /ping/ { llm_pass; llm_ping 40ms; }
        location /gzip/ { llm_pass; gzip on; gzip_types *; }
        location = /metrics { llm_metrics; }
    }
CONF

my $gw = LLM::Nginx->new(
    forget => 1, vars => { P => $p, S => $second, HOLE => $hole },
    access_format => '$http_x_tag|$status|$llm_stream_end|$llm_attempts'
                   . '|$llm_completion_tokens|$llm_usage_source',
    http => $HTTP);

my ($worker) = $gw->worker_pids;
my $tags = 0;

sub question {
    my ($case, %opt) = @_;
    my $tag = 'tag-' . ++$tags;
    return (method => 'POST', path => ($opt{at} || '/v1') . $CHAT,
            headers => [ [ 'Content-Type', 'application/json' ],
                         [ 'X-Tag', $tag ], @{ $opt{headers} || [] } ],
            body => canon({ model => $opt{model} || 'm', user => $tag,
                            stream => $case =~ /wait|half|refusal/
                                      ? JSON::PP::false : JSON::PP::true,
                            metadata => $case }));
}

# the client, once the provider has its request
sub ask {
    my ($case, %opt) = @_;
    my $before = $p->count;
    my $c = LLM::Client->connect($gw, rcvbuf => $opt{rcvbuf});
    $c->send_request(question($case, %opt));
    $c->{tag} = "tag-$tags";
    $c->{conn} = ($p->wait_requests($before + 1))[-1]{conn};
    $c->read_header if $opt{until} && $opt{until} eq 'header';
    $c->read_until($opt{until}) if ref $opt{until};
    return $c;
}

# until the provider can write no more to a client that does not read
sub stalls {
    my ($writes, $since) = (0, now());
    wait_for(sub {
        my $n = () = $p->writes;
        ($writes, $since) = ($n, now()) if $n != $writes;
        return $n && now() - $since > 0.3;
    }, 10, 'stall of the provider');
}

# until nginx knows it
sub leaves {
    my ($c, $leave) = @_;
    my $mark = $gw->mark;
    $c->$leave;
    $gw->wait_error_log(qr/client prematurely closed|writev\(\) failed/,
                        since => $mark);
}

sub logged {
    my ($tag) = @_;
    $tag ||= "tag-$tags";
    my ($line) = $gw->wait_log(qr/^$tag\|/, timeout => 20) =~ /\|(.*)/;
    return $line;
}

sub is_open {
    my ($conn) = @_;
    return scalar grep { $_ == $conn } $p->open_connections;
}

sub peak_kb {
    return slurp("/proc/$worker/status") =~ /^VmHWM:\s+(\d+)/m ? $1 : 0;
}


# read to the end

my @gone = (
    [ 'in mid-stream',                'stream', 200, qr/(?:tok.*){3}\n\n/s ],
    [ 'while a stream\'s first event is awaited', 'held', 499 ],
    [ 'while a document is awaited',  'wait', 499 ],
    [ 'in mid-document',              'half', 200, qr/(?:4000.*){4}/ ],
    [ 'before its client had a ping', 'stream', 200, qr/tok/, '/ping' ],
    [ 'after a ping, before its header', 'held', 200, qr/:\n/, '/ping' ],
);

for my $leave (qw(close reset shutdown_write)) {
    for (@gone) {
        my ($name, $case, $status, $until, $at) = @$_;

        my $c = ask($case, until => $until, at => $at);
        leaves($c, $leave);
        ok(is_open($c->{conn}), "REQ-9: gone $name ($leave): the provider's"
                                . ' connection stays');
        $p->open_gate($c->{tag});
        like(logged(), qr/^$status\|drained\|p:200:\d+ms\|5\|provider$/,
             '  and what it says is counted');
        ok(is_open($c->{conn}), '  the connection is kept');
    }
}
is($p->connections, 1, '  and used again');
is($second->count, 0, '  nobody else is asked');

{
    my $c = ask('stream', until => qr/(?:tok.*){3}\n\n/s, at => '/ping');
    leaves($c, 'shutdown_write');
    my $had = $c->{response}->body;
    $p->open_gate($c->{tag});
    logged();
    my $r = $c->read_response;
    like($r->body, qr/\A\Q$had\E(?::\n)*\z/,
         'REQ-9: who has only half closed gets nothing more');
    isnt($r->clean_end, 1, '  least of all an end');
    unlike($r->body, qr/stop|usage|DONE/, '  of any kind');
}

{
    my $c = ask('stream', until => qr/./s, at => '/gzip',
                headers => [ [ 'Accept-Encoding', 'gzip' ] ]);
    leaves($c, 'reset');
    $p->open_gate($c->{tag});
    like(logged(), qr/^200\|drained\|/, 'REQ-9: gzip is no obstacle');

    $c = ask('half', until => 'header', at => '/gzip',
             headers => [ [ 'Accept-Encoding', 'gzip' ] ]);
    leaves($c, 'reset');
    $p->open_gate($c->{tag});
    like(logged(), qr/^200\|drained\|/, '  nor of a document');
}


# a long answer

for my $leave (qw(close reset shutdown_write)) {
    my $before = peak_kb();
    my $c = ask('pour', until => qr/4000/);
    leaves($c, $leave);
    like(logged(), qr/^200\|drained\|p:200:\d+ms\|5\|provider$/,
         "REQ-9: gone while a stream pours ($leave)");
    between(peak_kb() - $before, -512, 512, '  16 MB cost no memory');

    $before = peak_kb();
    $c = ask('pour', until => 'header', rcvbuf => 4096);
    stalls();
    leaves($c, $leave);
    like(logged(), qr/^200\|drained\|p:200:\d+ms\|5\|provider$/,
         'REQ-9: so it is with one that has not read');
    between(peak_kb() - $before, -512, 512, '  nor memory');
    $c->close;
}

{
    my $c = ask('late', until => 'header', at => '/send', rcvbuf => 4096);
    stalls();
    leaves($c, 'shutdown_write');
    like(logged(), qr/^200\|drained\|/,
         'REQ-9: send_timeout does not count any more');
}


# not to the end

for ([ 'silent', 499 ], [ 'stuck', 200, qr/(?:tok.*){3}\n\n/s ],
     [ 'endless', 200, qr/4000/ ])
{
    my ($case, $status, $until) = @$_;

    my $c = ask($case, until => $until, at => '/t');
    my $gone = now();
    leaves($c, 'close');
    between($p->closed_at($c->{conn}) - $gone, 0.35, 1.5 * slow(),
            "REQ-9: $case: the time is over");
    like(logged(), qr/^$status\|aborted\|p:/, '  as the log says');
}

for my $case (qw(fin rst)) {
    $gw->expect_error(qr/upstream prematurely closed connection/,
                      qr/reset by peer/);
    my $c = ask($case, until => qr/(?:tok.*){3}\n\n/s);
    leaves($c, 'close');
    $p->open_gate($c->{tag});
    like(logged(), qr/^200\|aborted\|p:200:\d+ms\|/,
         "REQ-9: $case: a drained answer that is cut is aborted");
}

{
    my $c = ask('early');
    leaves($c, 'close');
    $p->open_gate($c->{tag});
    like(logged(), qr/^499\|aborted\|p:reset:\d+ms\|/,
         'REQ-9: so is one that never came');

    request($gw, question('whole'));
    $c = ask('early');
    leaves($c, 'close');
    $p->open_gate($c->{tag});
    like(logged(), qr/^499\|aborted\|-\|/,
         '  or whose kept connection has died');

    $c = ask('error', until => qr/(?:tok.*){3}\n\n/s);
    leaves($c, 'close');
    $p->open_gate($c->{tag});
    like(logged(), qr/^200\|aborted\|p:200:\d+ms\|/,
         '  and one that ends in an error');

    $c = ask('refusal');
    leaves($c, 'close');
    $p->open_gate($c->{tag});
    like(logged(), qr/^499\|drained\|p:500:\d+ms\|/,
         '  while a provider\'s error is an answer');

    is($second->count, 0, '  nobody else is asked');
}

{
    $gw->expect_error(qr/upstream timed out/);

    my $c = ask('stuck', until => qr/(?:tok.*){3}\n\n/s, at => '/idle');
    leaves($c, 'close');
    like(logged(), qr/^200\|aborted\|/, 'REQ-9: llm_idle_timeout goes on');

    $c = ask('wait', at => '/header');
    leaves($c, 'close');
    like(logged(), qr/^499\|aborted\|p:timeout:\d+ms\|/,
         '  as does llm_header_timeout');

    $c = ask('big', until => qr/(?:tok.*){3}\n\n/s, at => '/size');
    leaves($c, 'close');
    $p->open_gate($c->{tag});
    like(logged(), qr/^200\|aborted\|/, '  and llm_max_response_size');
    is($second->count, 0, '  nobody else is asked');
}


# not at all

{
    my $c = LLM::Client->connect($gw);
    $c->send_request(question('stream', model => 'hole'));
    $c->flush;
    my $gone = now();
    $c->close;
    like(logged(), qr/^499\|-\|hole:-:\d+ms\|-\|none$/,
         'REQ-9: gone before a provider has been asked');
    between(now() - $gone, 0, 1, '  it ends at once');
    is($second->count, 0, '  nobody else is asked');

    $c = ask('stream', until => qr/(?:tok.*){3}\n\n/s, at => '/cancel');
    $gone = now();
    $c->close;
    between($p->closed_at($c->{conn}) - $gone, 0, 1,
            'REQ-9: cancel: the provider\'s connection closes');
    like(logged(), qr/^200\|aborted\|/, '  as the log says');
}


# HTTP/2

SKIP: {
    skip(LLM::H2->missing, 2) if LLM::H2->missing;

    my $mark = $gw->mark;
    my $before = $p->count;
    LLM::H2::request($gw->port(1), question('stream'), abort_after => 0.3);
    my $tag = "tag-$tags";
    my $conn = ($p->wait_requests($before + 1))[-1]{conn};
    ok(is_open($conn), 'REQ-9: the connection of an HTTP/2 client is gone');
    $p->open_gate($tag);
    like(logged($tag), qr/^200\|drained\|p:200:\d+ms\|5\|provider$/,
         '  its stream is drained');
}

{
    my $h = h2_connect($gw->port(1));
    my $asked = $p->count;
    h2_request($h, 1, question('stream'));
    my $tag = "tag-$tags";
    h2_read($h, sub { (() = ($h->{body}{1} // '') =~ /tok/g) == 3 });

    my $mark = $gw->mark;
    h2_frame($h, 3, 0, 1, pack 'N', 8);
    $gw->wait_error_log(qr/client canceled stream 1/, since => $mark);
    $p->open_gate($tag);
    like(logged($tag), qr/^200\|drained\|p:200:\d+ms\|5\|provider$/,
         'REQ-9: a stream that is reset is drained');

    # frames of one that is gone are in front of another's
    h2_request($h, 3, question('flood'));
    $tag = "tag-$tags";
    h2_read($h, sub { length($h->{body}{3} // '') > 16_000 });
    $p->wait_requests($asked + 2);
    stalls();
    h2_frame($h, 3, 0, 3, pack 'N', 8);
    wait_for(sub { $ROUNDS <= (() = $p->writes($asked + 2)) }, 10,
             'all that is read on');
    h2_request($h, 5, question('whole'));
    h2_read($h, sub { $h->{end}{5} });
    $p->open_gate($tag);
    like(logged($tag), qr/^200\|drained\|p:200:\d+ms\|5\|provider$/,
         'REQ-9: so is one that has not been read');
    is(scalar(() = $h->{body}{5} =~ /tok/g), 3,
       '  the next stream of the connection is whole');
    like($h->{body}{5}, qr/\[DONE\]\n\n\z/, '  to its end');
    (my $rest = $h->{body}{3}) =~ s/\Q$fill\E//g;
    is(substr($fill, 0, length $rest), $rest,
       '  and no byte in front of it was another one');
}


# what is left

{
    my $moved = moved($gw, sub {
        my $c = ask('stream', until => qr/(?:tok.*){3}\n\n/s);
        leaves($c, 'close');
        $p->open_gate($c->{tag});
        logged();
    });
    is_deeply([ @$moved{'tokens_total m p prompt', 'tokens_total m p completion',
                        'requests_total chat m p 2xx'} ], [ 10, 5, 1 ],
              'REQ-9: metrics have a drained answer\'s tokens');

    my $fds = fd_count($worker);
    for (1 .. 20) {
        my $c = ask('wait');
        leaves($c, 'reset');
        $p->open_gate($c->{tag});
        like(logged(), qr/^499\|drained\|/, "drain $_");
    }
    wait_for(sub { fd_count($worker) <= $fds }, 2, 'closed descriptors');
    cmp_ok(fd_count($worker), '<=', $fds, '  no descriptor is left');
    is((read_metrics($gw))->{'provider_inflight p'}, 0,
       '  nothing is in flight');
}

{
    my $c = ask('stream', until => qr/(?:tok.*){3}\n\n/s);
    leaves($c, 'close');
    $gw->reload;
    is_deeply([ grep { $_ == $worker } $gw->worker_pids('all') ], [ $worker ],
              'REQ-9: a worker that is to go waits for a drain');
    $p->open_gate($c->{tag});
    my $ended = now();
    like(logged(), qr/^200\|drained\|p:200:\d+ms\|5\|provider$/,
         '  to its end');
    wait_for(sub { !grep { $_ == $worker } $gw->worker_pids('all') }, 5,
             'end of the old worker');
    between(now() - $ended, 0, 1, '  and goes');
}

is(request($gw, question('whole'))->clean_end, 1,
   'after all this, a stream is a stream');
$gw->done;


# the directive

for ([ 'drain 10s', '' ], [ 'cancel', '' ],
     [ 'drain', 'takes "cancel", or "drain" and a time' ],
     [ 'cancel 10s', 'takes "cancel", or "drain" and a time' ],
     [ 'off', 'takes "cancel", or "drain" and a time' ],
     [ 'drain 0', 'invalid time "0"' ], [ 'drain x', 'invalid time "x"' ],
     [ 'cancel; llm_on_abort cancel', 'is duplicate' ])
{
    my ($args, $error) = @$_;
    my ($status, $said) = LLM::Nginx->check(http => "llm_on_abort $args;\n");
    $error eq '' ? is($status, 0, "llm_on_abort $args")
                 : like($said, qr/\Q$error\E/, "llm_on_abort $args: $error");
}

done_testing;


# HTTP/2 as far as is needed here: windows without end, headers unindexed.

sub h2_connect {
    my ($port) = @_;

    my $s = IO::Socket::INET->new(Proto => 'tcp') or die "socket: $!";
    setsockopt $s, SOL_SOCKET, SO_RCVBUF, pack 'i', 4096;
    connect $s, pack_sockaddr_in($port, inet_aton('127.0.0.1'))
        or die "connect: $!";

    my $h = { socket => $s, in => '' };
    syswrite $s, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    h2_frame($h, 4, 0, 0, pack 'nN', 4, 0x7fffffff);
    h2_frame($h, 8, 0, 0, pack 'N', 0x7fff0000);
    return $h;
}

sub h2_frame {
    my ($h, $type, $flags, $stream, $payload) = @_;

    my $frame = substr(pack('N', length $payload), 1)
              . pack('CCN', $type, $flags, $stream) . $payload;
    syswrite($h->{socket}, $frame) == length $frame or die "write: $!";
}

sub h2_request {
    my ($h, $stream, %q) = @_;

    my $block = join '', map { pack 'C C/a C/a', 0, lc $_->[0], $_->[1] }
        [ ':method', 'POST' ], [ ':scheme', 'http' ], [ ':path', $q{path} ],
        [ ':authority', 'localhost' ], @{ $q{headers} };
    h2_frame($h, 1, 4, $stream, $block);
    h2_frame($h, 0, 1, $stream, $q{body});
}

sub h2_read {
    my ($h, $until) = @_;

    my $deadline = now() + 10 * slow();
    until ($until->()) {
        my $mask = '';
        vec($mask, fileno $h->{socket}, 1) = 1;
        my $left = $deadline - now();
        die 'no frame' if $left <= 0 || !select $mask, undef, undef, $left;
        sysread $h->{socket}, $h->{in}, 4096, length $h->{in}
            or die 'the connection is closed';

        while (length $h->{in} >= 9) {
            my $length = unpack 'N', "\0" . substr $h->{in}, 0, 3;
            last if length $h->{in} < 9 + $length;
            my (undef, $type, $flags, $stream, $payload) =
                unpack "a3 C C N a$length", substr $h->{in}, 0, 9 + $length, '';
            die "frame of type $type" if $type > 9 || $type == 7;
            next if $type != 0;
            $h->{body}{$stream} .= $payload;
            $h->{end}{$stream} = 1 if $flags & 1;
        }
    }
}
