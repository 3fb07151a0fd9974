#!/usr/bin/perl

# A stream passes through event by event and byte by byte: nothing the user
# configured holds an event back, and neither where reads end nor how the
# answer is framed changes a byte of it or what is read off it.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use JSON::PP ();

use LLM::H2;

my $CHAT = '/v1/chat/completions';

# Each ends in a usage chunk that nobody who asks below lets go of: the first
# part is what remains where the gateway has asked for it.

my %sample = (
    lf => [ <<'END', <<'END' ],
data: {"choices":[{"index":0,"delta":{"content":"你好, 🙂 \n\" é"}}]}

data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

END
data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}

END
    crlf => [ map { s/\n/\r\n/gr } <<'END', <<'END' ],
data:{"choices":[{"index":0,"delta":{"content":"naïve 東京"}}]}

data:{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

END
data:{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}

END
    lines => [ <<'END', <<'END' ],
: a comment

id: 1
event: message
data: {"choices":
data:[{"index":0,"delta":{"content":"🙂"}}]
data: }

retry: 10
data: {"choices":[{"index":0,"delta":{},
data:  "finish_reason":"stop"}]}

END
data: {"choices":[ ],
:note
data:"usage":{"prompt_tokens":7,"completion_tokens":
data: 5}}

END
    cr => [ map { s/\n/\r/gr } <<'END', <<'END' ],
data: {"choices":[{"index":0,"delta":{"content":"ß"}}]}

data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

END
data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}

END
);

my $LINE = 65_536;

# a case says what of a sample goes out, and how
sub split_sample {
    my ($ask) = @_;

    my $bytes = join '', @{ $sample{ $ask->{sample} } }, "data: [DONE]\n\n";
    my $form = $ask->{framing};
    my @cut = $ask->{at} ? split_at($ask->{at}) : split_every(1);

    return (header('Content-Type', 'text/event-stream'),
            $form eq 'close'  ? close_delimited : (),
            $form eq 'length' ? header('Content-Length', length $bytes) : (),
            head, @cut,
            $form eq 'bytes' ? map { chunk($_) } split(//, $bytes)
                             : chunk($bytes));
}

sub chat_event {
    return { choices => [ { index => 0, delta => { content => $_[0] } } ] };
}

my $finish = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}';
my $usage = '{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}';

my $big = join '', map { sprintf '%05d 汉🙂\"', $_ } 1 .. 18_000;
my $tool = "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{"
         . "\"index\":0,\"function\":{\"arguments\":\"$big\"}}]}}]}\n\n";

# coded once, as the time is in it
my @coded_stream = gzip("data: $finish\n\ndata: [DONE]\n\n");
my @coded_document = gzip('{"choices":[],"usage":{"prompt_tokens":7}}');

my %case = (
    gates   => sub { map { (sse(chat_event($_)), gate("event-$_")) } 1 .. 20 },
    ping    => sub {
        (sse(chat_event('a')), gate('ping'), sse(": still here\n\n"),
         gate('pinged'), sse($finish, '[DONE]'))
    },
    own     => sub {
        (header('Cache-Control', 'private, max-age=60'),
         header('cache-control', 'must-revalidate'),
         header('X-Accel-Buffering', 'yes'), sse($finish, '[DONE]'))
    },
    json    => sub { json({ fine(), text => 'x' x 1000 }) },
    split   => sub { split_sample($_[0]) },
    tool    => sub { (sse(chat_event('a'), $tool, $finish, $usage, '[DONE]')) },
    first   => sub { (sse($tool, $finish, $usage, '[DONE]')) },
    endless => sub {
        (sse(chat_event('a')), chunk('data: '),
         repeat_steps(32, chunk('x' x $LINE)))
    },
    at_once => sub {
        (header('Content-Type', 'text/event-stream'), chunk('data: '),
         repeat_steps(32, chunk('x' x $LINE)))
    },
    gzip    => sub {
        (header('Content-Type', 'text/event-stream'), @coded_stream)
    },
    pieces  => sub {
        (header('Content-Type', 'text/event-stream'),
         header('Content-Encoding', 'gzip'), map { chunk($_) }
         split //, "\x1f\x8bnot really coded")
    },
    document => sub {
        (header('Content-Type', 'application/json'), @coded_document)
    },
    response => sub {
        (map({ sse("event: $_\ndata: {\"type\":\"$_\"}\n\n") }
             'response.created', 'response.output_text.delta'),
         sse("event: response.completed\ndata: " . canon({
             type => 'response.completed',
             response => { status => 'completed', output => [],
                           usage => { input_tokens => 7,
                                      output_tokens => 5,
                                      total_tokens => 12 } } }) . "\n\n"))
    },
    text    => sub {
        sse({ choices => [ { index => 0, text => 'a' } ] },
            { choices => [ { index => 0, text => '',
                             finish_reason => 'length' } ] },
            $usage, '[DONE]')
    },
);

my $p = LLM::Fake->new(answer => sub {
    my $ask = $_[0]{json}{metadata};
    return $case{ $ask->{case} }->($ask);
});

my $gw = LLM::Nginx->new(
    vars => { P => $p },
    access_format => '$http_x_tag|$llm_stream_end|$llm_usage_source|'
                     . '$llm_prompt_tokens|$llm_completion_tokens|'
                     . '$llm_finish_reason',
    http => <<'CONF');
    gzip             on;
    gzip_types       *;
    gzip_proxied     any;
    gzip_min_length  0;
    gzip_http_version 1.0;
    proxy_buffering  on;

    upstream pool { server 127.0.0.1:%%P%%; keepalive 4; }
    llm_provider p { endpoint http://pool/v1; }
    llm_model default { target p; }

    server {
        listen 127.0.0.1:%%PORT%%;
        listen 127.0.0.1:%%PORT_1%% http2;
        keepalive_requests 100000;
        location /v1/ { llm_pass; }
    }
CONF

my ($worker) = $gw->worker_pids;
my $tags = 0;

# include_usage: 1, the client asks for it; 0, the gateway does

sub question {
    my ($case, $include, %more) = @_;
    return canon({
        model => 'm', stream => JSON::PP::true,
        $include ? (stream_options => { include_usage => JSON::PP::true }) : (),
        metadata => { case => $case, %more },
    });
}

sub headers {
    return [ [ 'Content-Type', 'application/json' ],
             [ 'Accept-Encoding', 'gzip, br' ], [ 'X-Tag', 'tag-' . ++$tags ] ];
}

sub ask {
    my ($case, %opt) = @_;
    return request($gw, method => 'POST', path => $opt{path} // $CHAT,
                   headers => headers(), body => question($case, 1), %opt);
}

# the most that the worker has ever had
sub peak_kb {
    return slurp("/proc/$worker/status") =~ /^VmHWM:\s+(\d+)/m ? $1 : 0;
}

# what the log says of the last request that was asked
sub logged {
    my ($line) = $gw->wait_log(qr/^tag-$tags\|/) =~ /\|(.*)/;
    return $line;
}


# REQ-1

{
    my $c = LLM::Client->connect($gw);
    $c->send_request(method => 'POST', path => $CHAT, headers => headers(),
                     body => question('gates', 0));

    my @seen;
    for my $k (1 .. 20) {
        push @seen, $c->read_event->{data};
        $p->open_gate("event-$k");
    }
    my $r = $c->read_response;

    is_deeply(\@seen, [ map { canon(chat_event($_)) } 1 .. 20 ],
              'REQ-1: each of 20 events is read before the next is written');
    is_deeply([ $r->header('Content-Encoding') ], [], '  uncoded');
    is_deeply([ $r->header('X-Accel-Buffering') ], [ 'no' ],
              '  an outer nginx is told not to buffer');
    is_deeply([ $r->header('Cache-Control') ], [ 'no-cache' ],
              '  and not to cache');
    is_deeply([ $r->header('Content-Type') ], [ 'text/event-stream' ],
              '  and what it is');
}

{
    my $c = LLM::Client->connect($gw);
    $c->send_request(method => 'POST', path => $CHAT, headers => headers(),
                     body => question('ping', 0));
    $c->read_event;
    $p->open_gate('ping');
    is_deeply((eval { $c->read_event(1) } || {})->{comments},
              [ ' still here' ],
              'REQ-1: a provider\'s comment is not held back either');
    $p->open_gate('pinged');
    is(($c->read_response->sse_data)[-1], '[DONE]', '  nor what follows');
}

{
    my $r = ask('own');
    is_deeply([ $r->header('Cache-Control') ], [ 'no-cache' ],
              'REQ-1: a provider\'s own Cache-Control is replaced');
    is_deeply([ $r->header('X-Accel-Buffering') ], [ 'no' ],
              '  and its X-Accel-Buffering');

    $r = ask('json');
    is($r->header('Content-Encoding'), 'gzip',
       'an answer that is no stream is the user\'s gzip\'s');
    is($r->header('X-Accel-Buffering'), undef, '  and may be buffered');
}


# REQ-2

# One sample in pieces: every answer has the same bytes, and the log the same
# usage.  The gateway has asked for usage itself or not.

sub same_in_pieces {
    my ($name, $sample, $framing, $include, @at) = @_;

    my @parts = @{ $sample{$sample} };
    my $expected = join '', @parts[0 .. ($include ? 1 : 0)], "data: [DONE]\n\n";
    my $mark = $gw->mark;
    my $first = $tags + 1;
    my (@bad, $c);

    for my $at (@at) {
        $c = LLM::Client->connect($gw) unless $c && $c->idle;
        $c->send_request(
            method => 'POST', path => $CHAT, headers => headers(),
            keepalive => 1,
            body => question('split', $include, sample => $sample,
                             framing => $framing, at => $at));
        my $r = $c->read_response;
        next if $r->status == 200 && $r->clean_end && $r->body eq $expected;
        push @bad, "at $at: " . $r->status . ' ' . ($r->error // '') . ' '
                   . $r->body;
    }

    ok(!@bad, "REQ-2: $name: same bytes at every split")
        or diag(scalar @bad, ' of ', scalar @at, ', ', $bad[0]);

    logged();
    my @odd = grep { !/^tag-\d+\|complete\|provider\|7\|5\|stop$/ }
              grep { /^tag-(\d+)/ && $1 >= $first }
              split /\n/, substr $gw->access_log, $mark->{access};
    ok(!@odd, '  and same usage') or diag(scalar @odd, ' odd: ', $odd[0]);
}

# the bytes that go over the wire, the framing's included

sub offsets {
    my ($sample, $framing) = @_;
    my $length = length(join '', @{ $sample{$sample} }) + 14;
    $length += length(sprintf "%x\r\n\r\n", $length) if $framing eq 'chunked';
    return 1 .. $length - 1;
}

for my $run ([ 'lf', 'chunked', 0 ],  [ 'lf', 'close', 1 ],
             [ 'crlf', 'close', 0 ],  [ 'crlf', 'chunked', 1 ],
             [ 'lines', 'length', 0 ], [ 'lines', 'close', 1 ],
             [ 'cr', 'chunked', 0 ],  [ 'cr', 'length', 1 ])
{
    my ($sample, $framing, $include) = @$run;
    same_in_pieces("$sample, $framing" . ($include ? ', asked for' : ''),
                   @$run, offsets($sample, $framing));
}

for my $framing (qw(chunked bytes close length)) {
    same_in_pieces("$_, $framing, single bytes" , $_, $framing, 0, 0)
        for sort keys %sample;
}

for my $include (0, 1) {
    for my $case (qw(tool first)) {
        my $r = ask($case, body => question($case, $include));
        my $head = $case eq 'tool' ? 'data: ' . canon(chat_event('a')) . "\n\n"
                                   : '';
        my $expected = $head . $tool . "data: $finish\n\n"
                       . ($include ? "data: $usage\n\n" : '')
                       . "data: [DONE]\n\n";
        ok($r->body eq $expected, 'REQ-2: an event of 300 KB passes, '
           . ($case eq 'tool' ? 'in the middle' : 'the first one')
           . ($include ? ', asked for' : ''))
            or diag(length $r->body, ' of ', length $expected);
        is($r->clean_end, 1, '  to the end');
        is(logged(), 'complete|provider|7|5|stop', '  with its usage');
    }
}

for my $include (0, 1) {
    for my $case (qw(endless at_once)) {
        my $before = peak_kb();
        my $r = ask($case, body => question($case, $include));
        my $grown = peak_kb() - $before;

        my $line = 'data: ' . 'x' x (32 * $LINE);
        my $from = index $r->body, 'data: xx';
        ok($from >= 0 && substr($r->body, $from, length $line) eq $line,
           'REQ-2: 2 MiB without a line\'s end pass'
           . ($case eq 'at_once' ? ' from the start' : '')
           . ($include ? ', asked for' : ''));
        like(logged(), qr/^truncated\|unknown\|-\|-\|/,
             '  and nothing is known of them');
        between($grown, -512, 512, '  at no cost of memory');
    }
}
$gw->expect_error(qr/llm_provider "p" cut its answer short/);


# REQ-5

for my $include (0, 1) {
    for my $case (qw(gzip pieces document)) {
        my $r = ask($case, body => question($case, $include));
        my ($req) = ($p->requests)[-1];
        my ($direct) = request($p, method => 'POST', path => $CHAT,
                               body => question($case, $include));

        is_deeply([ map { $_->[1] } grep { lc $_->[0] eq 'accept-encoding' }
                    @{ $req->{header_list} } ], [ 'identity' ],
                  'REQ-5: the provider is asked not to code its answer');
        is($r->header('Content-Encoding'), 'gzip', "  $case: coded anyway");
        ok(length $r->body && $r->body eq $direct->body,
           '  it passes as it is');
        is($r->clean_end, 1, '  to the end');
        like(logged(), qr/\|unknown\|-\|-\|-$/, '  and nothing is read off it');
    }
}


# other operations, other clients

{
    my $r = ask('response', path => '/v1/responses');
    is($r->clean_end, 1, 'a stream of responses ends without [DONE]');
    is_deeply([ map { $_->{event} } $r->events ],
              [ qw(response.created response.output_text.delta
                   response.completed) ], '  with all of its events');
    is(logged(), 'complete|provider|7|5|completed', '  and its usage');

    $r = ask('text', path => '/v1/completions',
             body => question('text', 0));
    is_deeply([ $r->sse_data ],
              [ '{"choices":[{"index":0,"text":"a"}]}',
                '{"choices":[{"finish_reason":"length","index":0,"text":""}]}',
                '[DONE]' ], 'a stream of completions, less the usage');
    is(logged(), 'complete|provider|7|5|length', '  which the log has');
}

{
    my $r = ask('tool', version => '1.0');
    is($r->version, 'HTTP/1.1', 'an HTTP/1.0 client has its answer');
    is_deeply([ $r->header('Transfer-Encoding') ], [], '  unchunked');
    is($r->clean_end, 1, '  up to the close');
    like($r->body, qr/\Q$tool\E.*data: \[DONE\]\n\n\z/s, '  unchanged');

    my $c = LLM::Client->connect($gw);
    $c->send_request(method => 'POST', path => $CHAT, keepalive => 1,
                     headers => headers(), body => question('own', 1));
    is($c->read_response->clean_end, 1, 'after a stream');
    ok($c->idle, '  the client\'s connection stays open');
    my $connections = $p->connections;
    $c->send_request(method => 'POST', path => $CHAT, keepalive => 1,
                     headers => headers(), body => question('own', 1));
    is($c->read_response->clean_end, 1, '  for another one');
    is($p->connections, $connections, '  on the same provider connection');
}

{
    my $count = $p->count;
    my $r = request($gw, method => 'HEAD', path => $CHAT);
    is($r->status, 405, 'HEAD of an operation is not allowed');
    is($r->header('Allow'), 'POST', '  POST is');
    is($r->clean_end, 1, '  and the answer has no body');
    is($p->count, $count, '  nor does the provider see it');
}

SKIP: {
    skip(LLM::H2->missing, 6) if LLM::H2->missing;

    for my $include (0, 1) {
        my $r = LLM::H2::request(
            $gw->port(1), path => $CHAT, headers => headers(),
            body => question('tool', $include));
        is($r->clean_end, 1, 'an HTTP/2 client has its stream');
        like($r->body, qr/\Q$tool\E.*data: \[DONE\]\n\n\z/s, '  unchanged');
        is(logged(), 'complete|provider|7|5|stop', '  with its usage');
    }
}

$gw->done;
done_testing;
