#!/usr/bin/perl

# REQ-3, REQ-4: an answer that the provider cuts never looks complete, and
# costs no second one.  A stream ends in one error event, a document in a
# broken connection; what is complete passes as it is, however it ends.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use JSON::PP ();

use LLM::H2;

my $CHAT = '/v1/chat/completions';

my @token = map { canon({ choices => [ { index => 0,
                  delta => { content => "tok$_" } } ] }) } 1 .. 60;
my $finish = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}';
my $error = '{"error":{"message":"overloaded","type":"server_error",'
          . '"param":null,"code":null}}';

my $short = join '', map { "data: $_\n\n" }
    '{"choices":[{"index":0,"delta":{"content":"é"}}]}', $finish, '[DONE]';

my $large = canon({ choices => [ { index => 0, finish_reason => 'stop',
                    message => { content => 'x' x 100_000 } } ] });

# how: chunked, length or close; end: fin, rst or a proper end

sub framed {
    my ($how, $type, $length) = @_;
    return (header('Content-Type', $type),
            $how eq 'length' ? header('Content-Length', $length) : (),
            $how eq 'close' ? close_delimited : (), head);
}

# RST takes with it what was not read: a gate waits for that, else some time

sub ending {
    my ($end, $gate) = @_;
    return $end eq 'fin' ? fin
         : $end eq 'rst' ? ($gate ? gate($gate) : delay(0.02 * slow()), rst)
         : ();
}

my %case = (
    tokens => sub {
        my ($ask) = @_;
        my $length = 60 * length("data: $token[0]\n\n") + 60;
        return (framed($ask->{how}, 'text/event-stream', $length),
                sse(@token[0 .. 39], @{ $ask->{more} || [] }),
                ending(@$ask{qw(end gate)}));
    },
    at => sub {
        my ($ask) = @_;
        return (framed($ask->{how}, 'text/event-stream', length $short),
                chunk(substr $short, 0, $ask->{at}), ending($ask->{end}));
    },
    response => sub {
        (sse(map { "event: $_\ndata: {\"type\":\"$_\"}\n\n" }
             @{ $_[0]{types} }), ending(@{ $_[0] }{qw(end gate)}))
    },
    document => sub {
        my ($ask) = @_;
        return (framed($ask->{how}, 'application/json', length $large),
                chunk(substr $large, 0, $ask->{at}),
                $ask->{gate} ? gate($ask->{gate}) : (), ending($ask->{end}));
    },
    coded => sub {
        (header('Content-Type', 'text/event-stream'),
         header('Content-Encoding', 'gzip'), chunk("\x1f\x8bxxxx"), fin)
    },
    bytes => sub {
        (header('Content-Type', $_[0]{type} || 'text/event-stream'),
         $_[0]{how} && $_[0]{how} eq 'close' ? close_delimited : (),
         chunk($_[0]{bytes}), ending($_[0]{end} || ''))
    },
    silent => sub { (sse($token[0]), hang) },
    garbage => sub {
        (header('Transfer-Encoding', 'chunked'),
         header('Content-Type', 'text/event-stream'), head,
         sse($token[0]), gate('bad chunk'), raw("zz\r\n"), hang)
    },
);

my $p = LLM::Fake->new(answer => sub {
    my $ask = $_[0]{json}{metadata};
    return $case{ $ask->{case} }->($ask);
});
my $second = LLM::Fake->openai;

my $gw = LLM::Nginx->new(
    forget => 1, vars => { P => $p, S => $second },
    access_format => '$http_x_tag|$llm_stream_end|$status|$llm_attempts',
    http => <<'CONF');
    upstream pool { server 127.0.0.1:%%P%%; keepalive 8; }
    llm_provider p { endpoint http://pool/v1; }
    llm_provider s { endpoint http://127.0.0.1:%%S%%/v1; }
    llm_model m { target p; target s backup; }
    llm_model alone { target p; }

    server {
        listen 127.0.0.1:%%PORT%%;
        listen 127.0.0.1:%%PORT_1%% http2;
        keepalive_requests 100000;
        location /v1/ { llm_pass; }
        location /idle/ { llm_pass; llm_idle_timeout 100ms; }
    }
CONF

# what the operator is told of a cut
$gw->expect_error(qr/llm_provider "p" cut its answer short/,
                  qr/upstream prematurely closed connection/,
                  qr/recv\(\) failed \(104: Connection reset by peer\)/);

my ($tags, $gates) = (0, 0);

sub question {
    my ($case, $how) = @_;
    my $stream = $case ne 'document';
    my $model = delete $how->{model} || 'm';
    my $include = delete $how->{include};
    return (method => 'POST', path => delete $how->{path} || $CHAT,
            headers => [ [ 'Content-Type', 'application/json' ],
                         [ 'X-Tag', 'tag-' . ++$tags ] ],
            body => canon({ model => $model,
                            stream => $stream ? JSON::PP::true
                                              : JSON::PP::false,
                            $include ? (stream_options => {
                                include_usage => JSON::PP::true }) : (),
                            metadata => { case => $case, %$how } }));
}

sub ask {
    my ($case, %how) = @_;
    my %opt = map { exists $how{$_} ? ($_ => delete $how{$_}) : () }
              qw(version keepalive);
    my $events = ($how{end} || '') ne 'rst' ? 0
               : $case eq 'tokens' ? 40 + @{ $how{more} || [] }
               : scalar @{ $how{types} || [] };
    return request($gw, question($case, \%how), %opt) if !$events;

    my $gate = $how{gate} = 'read-' . ++$gates;
    my $c = LLM::Client->connect($gw);
    $c->send_request(question($case, \%how), %opt);
    $c->read_event for 1 .. $events;
    $p->open_gate($gate);
    my $r = $c->read_response;
    $c->close;
    return $r;
}

sub logged {
    my ($line) = $gw->wait_log(qr/^tag-$tags\|/) =~ /\|(.*)/;
    return $line;
}

# The one error object at the end of a stream; undef if there is none or if it
# is anything but what REQ-3 says.

sub error_event {
    my ($body, $code) = @_;
    my ($data) = $body =~ /(?:\A|\n\n)data: (\{"error":.*\})\n\n\z/ or return;
    my $err = eval { JSON::PP->new->utf8->decode($data) } or return;
    return join(',', sort keys %{ $err->{error} }) eq 'code,message,param,type'
           && keys %$err == 1 && length $err->{error}{message}
           && $err->{error}{type} eq 'upstream_error'
           && $err->{error}{code} eq ($code || 'upstream_error');
}


# REQ-3, and REQ-4 beside it: 40 of 60 tokens

sub cut_stream {
    my ($name, $path, @how) = @_;

    my ($before, $others) = ($p->count, $second->count);
    my $r = ask('tokens', path => $path, @how);
    my $conn = ($p->requests)[-1]{conn};

    is_deeply([ ($r->sse_data)[0 .. 39] ], [ @token[0 .. 39] ],
              "REQ-3: $name: all that came is there");
    is(scalar($r->events), 41, '  and one more event');
    ok(error_event($r->body), '  which is the error, at the end')
        or diag(substr $r->body, -200);
    unlike($r->body, qr/\[DONE\]/, '  without [DONE]');
    like(logged(), qr/^truncated\|200\|p:200:\d+ms$/, '  truncated');
    is($p->count - $before, 1, '  REQ-4: one request was made');
    is($second->count - $others, 0, '  and no other provider asked');
    ok(eval { $p->closed_at($conn, 1) } || !grep({ $_ == $conn }
                                                 $p->open_connections),
       '  and the connection closed');
}

for my $path ($CHAT, '/v1/completions') {
    cut_stream("RST, $path", $path, how => 'chunked', end => 'rst');
    cut_stream("FIN, $path", $path, how => 'chunked', end => 'fin');
    cut_stream("a clean chunked end, $path", $path, how => 'chunked',
               end => '');
}
cut_stream('a length, FIN', $CHAT, how => 'length', end => 'fin');
cut_stream('a length, RST', $CHAT, how => 'length', end => 'rst');
cut_stream('close-delimited, FIN', $CHAT, how => 'close', end => 'fin');
cut_stream('close-delimited, RST', $CHAT, how => 'close', end => 'rst');

for my $end ('rst', 'fin', '') {
    my $r = ask('response', path => '/v1/responses', end => $end,
                types => [ 'response.created', 'response.output_text.delta' ]);
    is(scalar($r->events), 3, 'REQ-3: a response without its last event, '
                              . ($end || 'a clean end'));
    ok(error_event($r->body), '  ends in an error');
    like(logged(), qr/^truncated\|/, '  and is truncated');
}


# (d), and all else that is complete

for my $how (qw(chunked length close)) {
    for my $end ('fin', 'rst', $how eq 'length' ? () : '') {
        my $r = ask('tokens', how => $how, end => $end, more => [ $finish ]);
        is($r->clean_end, 1, "REQ-3 (d): finish_reason without [DONE], $how, "
                             . ($end || 'a clean end'));
        is(($r->sse_data)[-1], $finish, '  ends as it is');
        like(logged(), qr/^complete\|/, '  and is complete');
    }
}

{
    my $r = ask('tokens', how => 'chunked', end => 'fin', more => [ $finish ]);
    my $n = ($p->requests)[-1]{n};
    my $written = ($p->event_times($n))[-1];
    between($r->time_end - $written, 0, 1,
            'REQ-3 (d): and at once when the provider closes');
}

for my $bytes ("data: $token[0]\n\ndata: $finish\n\ndata: [DONE]\n",
               "data: $token[0]\n\ndata: $finish\n\ndata: [DONE]",
               "data: $token[0]\n\ndata: $finish\n",
               "data: $token[0]\n\ndata: $finish",
               "data: $finish\r\n\r\ndata: [DONE]\r\n\r")
{
    for ([ 'chunked', 0 ], [ 'close', 0 ], [ 'chunked', 1 ], [ 'close', 1 ]) {
        my ($how, $include) = @$_;
        my $r = ask('bytes', bytes => $bytes, how => $how,
                    include => $include);
        is($r->body, $bytes, "complete without its last blank line, $how"
                             . ($include ? ', usage asked for' : ''));
        is($r->clean_end, 1, '  it ends well');
        like(logged(), qr/^complete\|/, '  and is complete');
    }
}

{
    my $both = '{"choices":[{"index":0,"finish_reason":"stop"}]}';
    my $one = '{"choices":[{"index":1,"delta":{"content":"x"}}]}';
    my $r = ask('bytes', bytes => "data: $one\n\ndata: $both\n\n");
    ok(error_event($r->body), 'REQ-3: every choice needs a finish reason');

    $r = ask('response', path => '/v1/responses', end => 'fin',
             types => [ 'response.created', 'response.completed' ]);
    is($r->clean_end, 1, 'a response that was completed is complete');
    is(scalar($r->events), 2, '  and nothing is added');
    like(logged(), qr/^complete\|/, '  in the log');
}


# a provider's own error in the middle of a stream

for my $end ('', 'fin', 'rst') {
    for my $more ([ $error ], [ $error, '[DONE]' ],
                  [ "event: error\ndata: {\"message\":\"x\"}\n\n" ])
    {
        my $r = ask('tokens', how => 'chunked', end => $end, more => $more);
        my @all = $r->sse_data;
        is(scalar @all, 40 + @$more, 'a provider\'s own error event passes'
           . (@$more > 1 ? ' before [DONE]' : '') . ($end ? ", $end" : ''));
        is($all[40], $more->[0] =~ /^event/ ? '{"message":"x"}' : $error,
           '  as it is');
        like(logged(), qr/^error\|200\|/, '  and is an error');
    }
}


# the provider falls silent

{
    $gw->expect_error(qr/upstream timed out/);
    my $r = ask('silent', path => '/idle/chat/completions');
    is(scalar($r->events), 2, 'llm_idle_timeout ends a silent stream');
    ok(error_event($r->body, 'upstream_timeout'), '  in an error')
        or diag($r->body);
    like(logged(), qr/^truncated\|200\|p:200:\d+ms$/, '  truncated');
    ok($p->closed_at, '  and the connection is closed');
    is($second->count, 0, '  and no other provider asked');

    $gw->expect_error(qr/llm_provider "p" sent an invalid chunk/);
    my $c = LLM::Client->connect($gw);
    $c->send_request(question('garbage', {}));
    $c->read_event;
    $p->open_gate('bad chunk');
    $r = $c->read_response;
    $c->close;
    ok(error_event($r->body) || !$r->clean_end, 'so does a chunk that is none')
        or diag($r->body);
    like(logged(), qr/^truncated\|/, '  truncated');
}


# at every byte

# Has the model's last word come?  An event without its blank line counts where
# the framing says that this is all.

sub said_all {
    my ($bytes, $how, $end) = @_;
    return 1 if $bytes =~ /"finish_reason":"stop"\}\]\}\n\n/;
    return 0 if $bytes !~ /"finish_reason":"stop"\}\]\}/;
    return $end eq '' || $how eq 'close' && $end eq 'fin';
}

sub cut_everywhere {
    my ($how, $end, $include) = @_;
    my @bad;

    for my $at (1 .. length($short) - 1) {
        my $r = ask('at', how => $how, end => $end, at => $at,
                    model => 'alone', include => $include);

        my $got = substr $short, 0, $at;
        my $log = logged();
        my $ok;

        if ($r->status != 200) {
            # nothing of an event had come
            $ok = $r->status == 502 && $log =~ /^-\|502\|p:/
                  && ($end eq 'rst' || $got !~ /\}\n\n/
                      && $r->json->{error}{code} eq 'bad_answer');

        } elsif ($log =~ /^complete/ && $end eq 'rst') {
            # what came behind the finish reason may be lost
            $ok = $r->clean_end && said_all($r->body, $how, $end)
                  && $got =~ /^\Q@{[ $r->body ]}\E/;

        } elsif ($log =~ /^complete/) {
            # a part of an event behind the finish reason is none
            $ok = $r->clean_end && said_all($got, $how, $end)
                  && ($r->body eq $got
                      || $got =~ /^\Q@{[ $r->body ]}\E[^\n]*\n?\z/
                         && $got !~ /\}\n?\z|\[DONE\]\n?\z/);

        } else {
            # a part of an event may be missing, or be ended by us
            my $body = $r->body;
            $ok = error_event($body) && $log =~ /^truncated\|/
                  && ($end eq 'rst' || !said_all($got, $how, $end));
            $body =~ s/data: \{"error".*//s;
            $ok &&= $body =~ /\n\n\z/
                    && ("$got\n\n" eq $body || $got =~ /^\Q$body\E/
                        || $end eq 'rst');
        }
        push @bad, "at $at: " . $r->status . ' ' . ($r->error // '')
                   . " $log:\n" . $r->body if !$ok;
    }
    ok(!@bad, "REQ-3: $how, " . ($end || 'a clean end')
              . ($include ? ', usage asked for' : '') . ': wherever the cut is,'
              . ' no answer is clean but incomplete')
        or diag(scalar(@bad), ', first ', $bad[0]);
}

for my $include (0, 1) {
    cut_everywhere('chunked', '', $include);
    cut_everywhere('chunked', 'fin', $include);
    cut_everywhere('length', 'fin', $include);
    cut_everywhere('close', 'fin', $include);
}
cut_everywhere('chunked', 'rst', 0);


# documents

my $HOLD = 65_536;

for my $how (qw(chunked length)) {
    for my $end (qw(fin rst)) {
        my $others = $second->count;
        my $r = ask('document', how => $how, end => $end, at => 1000);
        is($r->status, 200, "REQ-3: a document, $how, $end before 64 KiB:");
        is($second->count - $others, 1, '  another provider is asked');
        is($r->clean_end, 1, '  and its answer is whole');
        like(logged(), qr/^complete\|200\|p:bad_answer:\d+ms,s:200:\d+ms$/,
             '  as the log says');

        $r = ask('document', how => $how, end => $end, at => 1000,
                 model => 'alone');
        is($r->status, 502, '  with no other, the client is told');
        is($r->json->{error}{code}, 'bad_answer', '  in an error of ours');

        # the gate: what was cut must have been read before
        $others = $second->count;
        my $gate = "cut-$how-$end";
        my %how = (how => $how, end => $end, at => 90_000, gate => $gate);
        my $c = LLM::Client->connect($gw);
        $c->send_request(question('document', \%how));
        $c->read_until(qr/^(?:.{45000}){2}/s);
        $p->open_gate($gate);
        $r = $c->read_response;
        $c->close;
        is($r->status, 200, '  after 64 KiB: the answer has begun');
        is($r->clean_end, 0, '  and does not end well');
        ok($r->body eq substr($large, 0, 90_000), '  nor is anything added');
        is($second->count - $others, 0, '  REQ-4: nobody else is asked');
        like(logged(), qr/^truncated\|200\|p:200:\d+ms$/, '  truncated');
    }
}

{
    my $others = $second->count;
    my $r = ask('document', how => 'close', end => 'fin', at => 1000);
    is($r->status, 200, 'REQ-3: a close-delimited document, cut at 1000:');
    is($second->count - $others, 1, '  another provider is asked');
    like(logged(), qr/^complete\|200\|p:bad_answer:\d+ms,s:200:\d+ms$/,
         '  as the log says');
}

for my $at (90_000) {
    for my $version ('1.1', '1.0') {
        my $r = ask('document', how => 'close', end => 'fin', at => $at,
                    version => $version);
        is($r->clean_end, 0, "REQ-3: a close-delimited document, cut at $at, "
                             . "HTTP/$version: no clean end");
        like(logged(), qr/^truncated\|/, '  truncated');
    }
}

{
    my $r = ask('document', how => 'close', end => '', at => length $large);
    is($r->clean_end, 1, 'a close-delimited document that is whole');
    ok($r->body eq $large, '  passes');
    like(logged(), qr/^complete\|/, '  and is complete');

    for my $version ('1.1', '1.0') {
        $r = ask('coded', version => $version);
        is($r->clean_end, 0, "REQ-3: a coded stream that is cut, HTTP/$version:"
                             . ' no clean end');
        is($r->body, "\x1f\x8bxxxx", '  and no text in it');
        like(logged(), qr/^truncated\|/, '  truncated');
    }
}


# other clients

{
    my $r = ask('tokens', how => 'chunked', end => 'fin', version => '1.0');
    ok(error_event($r->body), 'REQ-3: an HTTP/1.0 client sees the error');

    $r = ask('tokens', how => 'chunked', end => '', keepalive => 1);
    ok(error_event($r->body), 'REQ-3: so does one that keeps its connection');
}

SKIP: {
    skip(LLM::H2->missing, 3) if LLM::H2->missing;

    my $h2 = sub {
        my %how = @_[1 .. $#_];
        my %q = question($_[0], \%how);
        return LLM::H2::request($gw->port(1), %q);
    };
    my $r = $h2->('tokens', how => 'chunked', end => 'fin');
    ok(error_event($r->body), 'REQ-3: an HTTP/2 client sees the error');
    $r = $h2->('document', how => 'chunked', end => 'fin', at => 90_000);
    is($r->clean_end, 0, '  and the end of a cut document');
    $r = $h2->('tokens', how => 'chunked', end => 'fin', more => [ $finish ]);
    is($r->clean_end, 1, '  and a complete stream');
}

is(ask('tokens', how => 'chunked', end => '', more => [ $finish, '[DONE]' ])
   ->clean_end, 1, 'after all this, a stream is a stream');

$gw->done;
done_testing;
