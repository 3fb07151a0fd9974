#!/usr/bin/perl

# REQ-22: nothing goes to the client before the first output, or a whole
# document of up to 64 KiB, has been judged.  An error inside a 200 and a 200
# that is no answer are failures: another provider is asked, or the client gets
# an error.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use JSON::PP ();

my $CHAT = '/v1/chat/completions';

my $token = '{"choices":[{"index":0,"delta":{"content":"tok"}}]}';
my $role = '{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}';
my $finish = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}';

my @large = map {
    '{"choices":[{"index":0,"finish_reason":"stop","message":{"content":"'
    . 'x' x $_ . '"}}],"usage":{"prompt_tokens":3,"completion_tokens":4}}'
} 1_000, 60_000, 65_000, 70_000, 1_048_576;

sub sse_header { return header('Content-Type', 'text/event-stream') }
sub json_header { return header('Content-Type', 'application/json') }

# What a case sends stands in the request, but for what has a name here.
my %case = (
    sse      => sub { sse(@{ $_[0]{events} }) },
    json     => sub { (status($_[0]{status} // 200), json($_[0]{text})) },
    length   => sub { (sse_header, header('Content-Length', 0), head) },
    chunked  => sub { (sse_header, head) },
    close    => sub { (sse_header, close_delimited, head) },
    fin      => sub { (sse_header, head, fin) },
    rst      => sub { (sse_header, head, delay(0.05 * slow()), rst) },
    comments => sub { (sse(": a\n\n", ": b\n\n")) },
    comments_fin => sub { (sse(": a\n\n", ": b\n\n"), fin) },
    comments_eof => sub { (close_delimited, sse(": a\n\n", "\n", ":\n\n")) },
    fields   => sub { sse("event: ping\n\n", "id: 1\n\n") },
    blank    => sub { (sse_header, chunk("\r\n\r\n\n")) },
    json_length  => sub { (json_header, header('Content-Length', 0), head) },
    json_chunked => sub { (json_header, head) },
    json_fin     => sub { (json_header, head, fin) },
    json_close   => sub { (json_header, close_delimited, head) },
    gates    => sub {
        (sse_header, head, gate('comment'), sse(": a comment\n\n"),
         gate('role'), sse($role),
         gate('half'), chunk('data: {"choices":[{"index":0,'),
         gate('event'), chunk("\"delta\":{\"content\":\"a\"}}]}\n\n"),
         gate('rest'), sse($finish, '[DONE]'))
    },
    document => sub {
        (json_header, head, chunk(substr $large[0], 0, 500), gate('document'),
         chunk(substr $large[0], 500))
    },
    large    => sub {
        my ($ask) = @_;
        my $text = $large[ $ask->{n} ];
        return (json_header, $ask->{how} eq 'close' ? close_delimited : (),
                $ask->{how} eq 'length' ? body($text)
                                        : map { chunk($_) }
                                          unpack '(a3000)*', $text);
    },
    comment_first => sub {
        (map({ sse(": $_\n\n") } 1 .. $_[0]{n}), sse($token, $finish, '[DONE]'))
    },
    split    => sub {
        my ($ask) = @_;
        my $text = $ask->{text};
        return ($ask->{sse} ? sse_header : json_header, head,
                $ask->{at} ? split_at($ask->{at}) : split_every(1),
                chunk($text));
    },
    no_content => sub { (status(204), head) },
);

my $p = LLM::Fake->new(answer => sub {
    my $ask = $_[0]{json}{metadata};
    return $case{ $ask->{case} }->($ask);
});
my $q = LLM::Fake->openai;

my $gw = LLM::Nginx->new(
    forget => 1, vars => { P => $p, Q => $q },
    access_format => '$http_x_tag|$status|$llm_attempts|$llm_usage_source',
    http => <<'CONF');
    upstream pool { server 127.0.0.1:%%P%%; keepalive 8; }
    llm_provider p { endpoint http://pool/v1; key sk-canary-0123456789; }
    llm_provider q { endpoint http://127.0.0.1:%%Q%%/v1; }
    llm_model alone { target p; }
    llm_model both  { target p; target q backup; }

    server {
        listen 127.0.0.1:%%PORT%%;
        location /v1/ { llm_pass; }
        location = /health { return 204; }
    }
CONF

$gw->expect_error(qr/upstream prematurely closed connection/,
                  qr/recv\(\) failed \(104: Connection reset by peer\)/);

my $tags = 0;

sub question {
    my ($model, $case, %how) = @_;
    my $stream = $case =~ /json|document|large/ ? JSON::PP::false
                                                : JSON::PP::true;
    return (method => 'POST', path => $CHAT,
            headers => [ [ 'Content-Type', 'application/json' ],
                         [ 'X-Tag', 'tag-' . ++$tags ] ],
            body => canon({ model => $model, stream => $stream,
                            metadata => { case => $case, %how } }));
}

sub ask { return request($gw, question(@_)) }

sub logged {
    my ($line) = $gw->wait_log(qr/^tag-$tags\|/) =~ /\|(.*)/;
    return $line;
}

# With another provider: the client sees only its answer.

sub moves_on {
    my ($name, @case) = @_;

    my $r = ask('both', @case);
    is($r->status, 200, "REQ-22: $name: another provider is asked");
    is($r->header('x-llm-provider'), 'q', '  which the client is told');
    is($r->text, 'tok1 tok2 tok3 tok4 tok5 ', '  it gets that answer');
    is($r->clean_end, 1, '  whole');
    unlike($r->body, qr/oops|: a/, '  and nothing else');
    like(logged(), qr/^200\|p:bad_answer:\d+ms,q:200:\d+ms\|/,
         '  as the log says');
}

# Alone: the provider's own error, or one of ours (no body given).

sub answers {
    my ($name, $status, $body, @case) = @_;

    my $r = ask('alone', @case);
    is($r->status, $status, "REQ-22: $name: $status");
    is($r->header('Content-Type'), 'application/json', '  in JSON');
    is($r->clean_end, 1, '  and whole');

    if ($body =~ /^\{/) { is($r->body, $body, '  as the provider sent it') }
    else { is($r->json->{error}{code}, $body, '  in our words') }

    is($r->header('x-llm-provider'), 'p', '  with the provider\'s name');
    is_deeply([ $r->header('X-Accel-Buffering') ], [], '  and not a stream');
    return $r;
}


# errors inside a 200, as the first event and as a document

sub error { return canon({ error => { message => 'oops', @_ } }) }

for ([ 'a code', 429, error(code => 429) ],
     [ 'a code of 599', 599, error(code => 599) ],
     [ 'a status', 529, error(status => 529) ],
     [ 'a code and a status', 503, error(code => 503, status => 400) ],
     [ 'a code that is a word', 502, error(code => 'rate_limit') ],
     [ 'a word, and a status', 503, error(code => 'busy', status => 503) ],
     [ 'a code that is a string', 502, error(code => '429') ],
     [ 'a code below 400', 502, error(code => 399) ],
     [ 'a code above 599', 502, error(code => 600) ],
     [ 'no code', 502, error(type => 'server_error', param => undef) ])
{
    my ($name, $status, $text) = @$_;
    answers("error with $name", $status, $text, 'sse', events => [ $text ]);
    answers("  document with $name", $status, $text, 'json', text => $text);
}

{
    my $text = error(code => 503);
    moves_on('error as first event', 'sse', events => [ $text ]);
    moves_on('error as first event and more', 'sse',
             events => [ $text, $token, '[DONE]' ]);
    moves_on('error behind a comment', 'sse', events => [ ": a\n\n", $text ]);
    moves_on('error document', 'json', text => $text);

    answers('an error behind a comment', 503, $text, 'sse',
            events => [ ": a comment\n\n", $text ]);
    answers('an error with events behind it', 503, $text, 'sse',
            events => [ $text, $token, $finish, '[DONE]' ]);
    answers('an error in CRLF', 503, $text, 'sse',
            events => [ "data:$text\r\n\r\n" ]);
    answers('an error without its blank line', 503, $text, 'sse',
            events => [ "data: $text\n" ]);

    my $r = ask('alone', 'sse', events => [
        "id: 3\ndata: {\"error\":\ndata: {\"code\":503}\ndata: }\n\n" ]);
    is($r->status, 503, 'REQ-22: an error over several lines');
    json_is($r->body, { error => { code => 503 } }, '  is put together');

    my $named = '{"message":"oops","code":418}';
    answers('event: error', 418, '{"error":{"message":"oops",'
            . '"type":"server_error","param":null,"code":"418"}}', 'sse',
            events => [ "event: error\ndata: $named\n\n" ]);
    moves_on('event: error', 'sse',
             events => [ "event: error\ndata: {\"message\":\"oops\"}\n\n" ]);

    my $typed = '{"type":"error","error":{"type":"overloaded_error",'
              . '"message":"oops"}}';
    answers('Anthropic\'s error', 502, $typed, 'sse',
            events => [ "event: error\ndata: $typed\n\n" ]);
}

{
    my $long = error(code => 503, text => 'y' x 30_000);
    answers('an error of 30 KB', 503, $long, 'sse', events => [ $long ]);
    answers('  as a document', 503, $long, 'json', text => $long);
    moves_on('an error of 30 KB', 'sse', events => [ $long ]);

    my $text = error(code => 429);
    my $event = ": a\r\n\r\ndata: $text\r\n\r\n";
    my @bad;
    for my $sse (0, 1) {
        my $sent = $sse ? $event : $text;
        for my $at (0 .. length($sent) + 5) {
            my $r = ask('alone', 'split', text => $sent, at => $at,
                        sse => $sse);
            push @bad, "$sent at $at: " . $r->raw
                if $r->status != 429 || $r->body ne $text || !$r->clean_end;
        }
    }
    ok(!@bad, 'REQ-22: an error is one wherever a read ends')
        or diag($bad[0]);
}

for my $code (401, 402, 403) {
    my $text = error(code => $code, key => 'sk-canary-0123456789');
    for my $case ([ 'sse', events => [ $text ] ], [ 'json', text => $text ]) {
        my $r = answers("error with code $code", 502, 'upstream_auth', @$case);
        no_canary($r->raw, 'sk-canary-0123456789', 'oops');
    }
}

for ([ 'a string', '{"error":"oops"}' ], [ 'a list', '{"error":["oops"]}' ],
     [ 'true', '{"error":true}' ])
{
    my ($name, $text) = @$_;
    answers("an error that is $name", 502, 'bad_answer', 'json',
            text => $text);
    answers("  as first event", 502, 'bad_answer', 'sse',
            events => [ $text ]);
    moves_on("  with another", 'sse', events => [ $text ]);
}
answers('event: error with text', 502, 'bad_answer', 'sse',
        events => [ "event: error\ndata: oops\n\n" ]);


# an empty 200

for ([ 'a length of 0', 'length' ], [ 'no chunk', 'chunked' ],
     [ 'the end behind the header', 'close' ], [ 'FIN', 'fin' ],
     [ 'RST', 'rst' ], [ 'comments only', 'comments' ],
     [ 'comments, and FIN', 'comments_fin' ],
     [ 'comments, and the end', 'comments_eof' ],
     [ 'fields without data', 'fields' ], [ 'blank lines', 'blank' ],
     [ 'no byte of a document, length', 'json_length' ],
     [ 'no byte of a document, chunked', 'json_chunked' ],
     [ 'no byte of a document, FIN', 'json_fin' ],
     [ 'no byte of a document, close', 'json_close' ])
{
    my ($name, $case) = @$_;
    answers("a 200 with $name", 502, 'bad_answer', $case);
    moves_on("a 200 with $name", $case);
}


# what is no answer, and no error either

for (map({ [ "\"error\":$_ and an output", 200,
             "{\"error\":$_,\"output\":[]}" ] } 'null', '{"code":429}'),
     [ '"error" beside no choices', 200,
       '{"choices":[],"error":{"message":"oops","code":429}}' ],
     [ '"error":null alone', 200, '{"error":null}' ],
     [ '"error" further in', 200, '{"x":{"error":{"code":429}}}' ],
     [ 'a list', 200, '[{"error":{"code":429}}]' ],
     [ 'no JSON at all', 200, 'oops' ], [ 'a 201', 201, '{"id":1}' ],
     [ 'a 202 with an error', 202, '{"error":{"code":429}}' ])
{
    my ($name, $status, $text) = @$_;
    moves_on($name, 'json', text => $text, status => $status);
}

moves_on('a 204', 'no_content');

for (200, 201, 202) {
    my $text = '{"choices":[{}],"error":{"code":429}}';
    my $r = ask('both', 'json', text => $text, status => $_);
    is($r->status, $_, "REQ-22: a $_ with \"error\" beside choices passes");
    is($r->body, $text, '  as it is');
}

{
    my $r;

    $r = ask('both', 'sse', events => [
             "data: {\"error\":null,\"choices\":[]}\n\n", $finish, '[DONE]' ]);
    is($r->status, 200, 'REQ-22: a first event with "error":null passes');
    is($r->header('x-llm-provider'), 'p', '  without another provider');

    my $other = $q->count;
    $r = ask('both', 'sse', events => [ $token, error(code => 429) ]);
    is($r->status, 200, 'REQ-22: an error as second event comes too late');
    is(($r->sse_data)[1], error(code => 429), '  and passes');
    is($q->count, $other, '  without another provider');

    for my $n (100, 3_000, 12_000) {
        $r = ask('both', 'comment_first', n => $n);
        is(scalar($r->events), $n + 3,
           "REQ-22: $n comments before the first event pass");
        is_deeply([ map { @{ $_->{comments} } } $r->events ],
                  [ map { " $_" } 1 .. $n ], '  in order');
    }
}


# the header is held

# A round trip through the same worker: what it could read before, it has.

sub silent_still {
    my ($c, $n, $writes, $name) = @_;
    wait_for(sub { $p->writes($n) >= $writes }, 5, 'write of the provider');
    get($gw, '/health') for 1 .. 3;
    $c->idle;
    is($c->{response}->raw, '', $name);
}

for my $case (qw(gates document)) {
    my $c = LLM::Client->connect($gw);
    my $before = $p->count;
    $c->send_request(question('alone', $case));
    my $n = ($p->wait_requests($before + 1))[-1]{n};

    if ($case eq 'document') {
        silent_still($c, $n, 2, 'REQ-22: a document waits to be whole');
        $p->open_gate('document');
        is($c->read_response->body, $large[0], '  and is sent then');
        next;
    }

    silent_still($c, $n, 1, 'REQ-22: a header alone is held');
    $p->open_gate('comment');
    silent_still($c, $n, 2, '  and a comment does not end that');
    $p->open_gate('role');
    silent_still($c, $n, 3, '  nor does a role');
    $p->open_gate('half');
    silent_still($c, $n, 4, '  nor does half an event');
    $p->open_gate('event');
    is($c->read_event->{comments}[0], ' a comment', '  but output does');
    is($c->read_event->{data}, $role, '  with all that came before');
    is($c->read_event->{data},
       '{"choices":[{"index":0,"delta":{"content":"a"}}]}',
       '  and nothing was lost');
    $p->open_gate('rest');
    is(($c->read_response->sse_data)[-1], '[DONE]', '  to the end');
}


# documents of every size

for my $how (qw(length chunked close)) {
    for my $n (0 .. $#large) {
        my $r = ask('both', 'large', how => $how, n => $n);
        ok($r->body eq $large[$n], 'a document of ' . length($large[$n])
                                   . " bytes passes, $how");
        is($r->clean_end, 1, '  to the end');
        like(logged(), qr/^200\|p:200:\d+ms\|provider$/, '  with its usage');
    }
}

$gw->done;
done_testing;
