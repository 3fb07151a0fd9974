#!/usr/bin/perl

# REQ-10: the gateway knows what a stream cost, and nobody else notices.  It
# asks the provider for usage where the client says nothing, takes the chunk
# out again, and changes no other byte in either direction.  REQ-11: whatever
# shape usage comes in, the log has it once.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use JSON::PP ();

my $CHAT = '/v1/chat/completions';

my $INSERTED = '"stream_options":{"include_usage":true},';

my @event = map { "data: $_\n\n" }
    '{"id":"a","choices":[{"index":0,"delta":{"content":"hé"}}],"usage":null}',
    '{"id":"a","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
    '[DONE]';
my $USAGE = '{"id":"a","choices":[],"usage":{"prompt_tokens":9,'
          . '"completion_tokens":4,"total_tokens":13}}';
my $usage = "data: $USAGE\n\n";

my $HEAD = header('Content-Type', 'text/event-stream');

# A provider streams usage to those who ask, "eager" ones to everybody.  What
# a case of "bytes" sends stands in the request, and where it is split.

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $json = $req->{json};
    my $how = $json->{metadata} || {};

    if (defined $how->{bytes}) {
        my $bytes = pack 'H*', $how->{bytes};
        return ($HEAD, $how->{close} ? close_delimited : (), head,
                $how->{at} ? split_at($how->{at}) : (),
                map { chunk($_) } $how->{every} ? unpack "(a$how->{every})*",
                                                         $bytes : $bytes);
    }

    return json({ object => 'list', data => [ {} ],
                  usage => { prompt_tokens => 9, total_tokens => 9 } })
        if $req->{path} =~ /embeddings/;

    return json({ choices => [ { index => 0, finish_reason => 'stop' } ],
                  usage => { prompt_tokens => 9, completion_tokens => 4 } })
        if !$json->{stream};

    return (sse("event: response.completed\ndata: " . canon({
                type => 'response.completed', response => {
                    status => 'completed', usage => { input_tokens => 9,
                                                      output_tokens => 4 } }
            }) . "\n\n"))
        if $req->{path} =~ /responses/;

    my $asked = ref $json->{stream_options} eq 'HASH'
                && $json->{stream_options}{include_usage} || $how->{eager};
    return sse(@event[0, 1], $asked ? $usage : (), $event[2]);
});

my $gw = LLM::Nginx->new(
    vars => { P => $p },
    access_format => '$http_x_tag|$llm_stream_end|$llm_usage_source|'
                     . '$llm_prompt_tokens|$llm_completion_tokens|'
                     . '$llm_total_tokens',
    http => <<'CONF');
    upstream pool { server 127.0.0.1:%%P%%; keepalive 4; }
    llm_provider p    { endpoint http://pool/v1; }
    llm_provider mute { endpoint http://pool/v1; stream_usage off; }
    llm_model m     { target p; }
    llm_model named { target p a/longer-name; }
    llm_model off   { target mute; }

    llm_zone 1m;
    llm_quota_zone z key=all tokens=1g/1h;

    server {
        listen 127.0.0.1:%%PORT%%;
        keepalive_requests 100000;
        location /quota/ { llm_quota z; llm_pass; }
        location /v1/ { llm_pass; }
        location /named/ { llm_pass named; }
    }
CONF

my $tags = 0;
my $c;

# $body goes as it is written
sub ask {
    my ($body, $path) = @_;
    $c = LLM::Client->connect($gw) unless $c && $c->idle;
    $c->send_request(method => 'POST', path => $path || $CHAT, body => $body,
                     keepalive => 1,
                     headers => [ [ 'Content-Type', 'application/json' ],
                                  [ 'X-Tag', 'tag-' . ++$tags ] ]);
    return $c->read_response;
}

# An estimate that adds up is "estimated".
sub logged {
    my ($line) = $gw->wait_log(qr/^tag-$tags\|/) =~ /\|(.*)/;
    return $line =~ s{\|estimated\|(\d+)\|(\d+)\|(\d+)$}
                     {$1 > 0 && $1 + $2 == $3 ? '|estimated' : $&}er;
}

sub sent { return ($p->requests)[-1]{body} }

sub bytes {
    my ($bytes, %how) = @_;
    return canon({ model => 'm', stream => JSON::PP::true, metadata => {
                   bytes => unpack('H*', $bytes), %how } });
}

my $all = join '', @event[0, 1], $usage, $event[2];
my $less = join '', @event;
my $known = 'complete|provider|9|4|13';
my $guess = 'complete|estimated';


# the matrix: what the client says, what a provider that streams usage is
# told, what the client gets

my $rest = '"messages":[{"role":"user","content":"\u00e9 \"stream_options\""}]'
         . ' , "x":1.50';
my @matrix = (
    [ 'absent', '', undef, $less, $known ],
    [ '{}', '"stream_options":{},', '"stream_options":{"include_usage":true},',
      $less, $known ],
    [ '{ }', '"stream_options" : { },',
      '"stream_options" : {"include_usage":true },', $less, $known ],
    [ 'another member', '"stream_options":{"include_obfuscation":false},',
      '"stream_options":{"include_usage":true,"include_obfuscation":false},',
      $less, $known ],
    [ 'null', '"stream_options": null ,',
      '"stream_options": {"include_usage":true} ,', $less, $known ],
    [ 'true', '"stream_options":{"a":[],"include_usage":true},', 'same', $all,
      $known ],
    [ 'false', '"stream_options":{"include_usage": false},', 'same', $less,
      $guess ],
);

for (@matrix) {
    my ($name, $says, $told, $gets, $log) = @$_;

    my $body = "{\n \"model\":\"m\", $says\"stream\": true,$rest}";
    my $up = !defined $told ? "{$INSERTED" . substr($body, 1)
           : $told eq 'same' ? $body
           : "{\n \"model\":\"m\", $told\"stream\": true,$rest}";

    my $r = ask($body);
    is(sent(), $up, "REQ-10: stream_options $name: the provider's bytes");
    is($r->body, $gets, '  the client\'s bytes');
    is($r->clean_end, 1, '  to the end');
    is(logged(), $log, '  the log\'s usage');

    $body =~ s/"m"/"off"/;
    $r = ask($body);
    is(sent(), $body, '  with stream_usage off: the provider\'s bytes');
    is($r->body, $name eq 'true' ? $all : $less, '  the client\'s bytes');
    is(logged(), $name eq 'true' ? $known : $guess, '  the log\'s usage');

    $body = $up = "{\"model\":\"m\",$says$rest}";
    $r = ask($body);
    is(sent(), $up, '  not a stream: the provider\'s bytes');
    is(logged(), $known, '  the log\'s usage');
}

{
    my $says = '"stream":true,"stream_options":{"include_obfuscation":true}';
    my $told = '"stream":true,"stream_options":{"include_usage":true,'
             . '"include_obfuscation":true}';

    ask("{$says,\"model\" : \"named\",$rest}");
    is(sent(), "{$told,\"model\" : \"a/longer-name\",$rest}",
       'REQ-10: a model is replaced behind the options');
    ask("{\"model\" : \"named\",$says,$rest}");
    is(sent(), "{\"model\" : \"a/longer-name\",$told,$rest}",
       '  and before them');
    ask('{"model":"named","stream":true}');
    is(sent(), "{$INSERTED\"model\":\"a/longer-name\",\"stream\":true}",
       '  and beside new ones');

    my $path = '/named/chat/completions';
    is(ask('{"stream":true}', $path)->body, $less,
       'REQ-10: a model that only llm_pass names');
    json_is(sent(), { model => 'a/longer-name', stream => JSON::PP::true,
                      stream_options => { include_usage => JSON::PP::true } },
            '  is inserted beside the options');
    like(sent(), qr/\{.*"stream":true\}$/, '  and the rest is as it was');
}

for ([ responses => '/v1/responses' ], [ embeddings => '/v1/embeddings' ]) {
    my ($name, $path) = @$_;
    my $body = '{"model":"m","stream":true,"input":"a"}';
    my $r = ask($body, $path);
    is(sent(), $body, "REQ-10: $name are never given stream_options");
    is($r->status, 200, '  and answered');
    like(logged(), qr/^complete\|provider\|9\|/, '  with usage');
}

{
    my $body = '{"model":"m","stream":true,"prompt":"a"}';
    is(ask($body, '/v1/completions')->body, $less,
       'REQ-10: completions are as chat/completions');
    is(sent(), "{$INSERTED" . substr($body, 1), '  in both directions');
    is(logged(), $known, '  and in the log');
}


# a provider that streams usage whatever it is told

{
    my $body = '{"model":"MODEL","stream":true,OPTIONS'
             . '"metadata":{"eager":true}}';
    for ([ m => '', $less ],
         [ m => '"stream_options":{"include_usage":false},', $all ],
         [ off => '', $all ])
    {
        my ($model, $options, $gets) = @$_;
        my $text = $body =~ s/MODEL/$model/r =~ s/OPTIONS/$options/r;
        is(ask($text)->body, $gets, 'REQ-10: usage that nobody asked for '
           . ($gets eq $all ? 'passes' : 'is ours, where we have asked'));
        is(logged(), $known, '  and counts');
    }
}


# taking the chunk out: [name, what is sent, what the client gets]

sub taken {
    my ($name, $sent, $gets, $log) = @_;

    for my $how ([], [ close => 1 ], [ every => 1 ], [ every => 7 ]) {
        my $r = ask(bytes($sent, @$how));
        is($r->body, $gets, "REQ-10: $name" . (@$how ? " (@$how)" : ''));
        is($r->clean_end, 1, '  to the end');
        is(logged(), $log || $known, '  and in the log');
    }
}

my ($first, $finish, $done) = @event;

taken('the chunk before [DONE] is taken out', $all, $less);
taken('behind [DONE] nothing is read', $less . $usage, $less,
      'complete|estimated');
taken('and where there is no [DONE]', $first . $finish . $usage,
      $first . $finish);
taken('and as the first one', $usage . $less, $less);
taken('and twice', $first . $usage . $finish . $usage . $done, $less);
taken('without its blank line at the end',
      $first . $finish . "data: $USAGE\n", $first . $finish);
taken('without any line end at the end',
      $first . $finish . "data: $USAGE", $first . $finish);
taken('behind a comment, which stays', "$first: ping\n\n$finish: ping\n\n"
      . $usage . ": pong\n\n" . $done, "$first: ping\n\n$finish: ping\n\n"
      . ": pong\n\n" . $done);
taken('in CRLF', $all =~ s/\n/\r\n/gr, $less =~ s/\n/\r\n/gr);
taken('in CR', $all =~ s/\n/\r/gr, $less =~ s/\n/\r/gr);
taken('over several lines', $first . $finish . "event: x\ndata: {\"choices\":"
      . "[ ],\ndata: \"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\n"
      . "data:\"total_tokens\":13}}\nid: 7\n\n" . $done, $less);

# Azure's first chunk has no choice either
my $filter = 'data: {"choices":[],"prompt_filter_results":[{"a":1}]}' . "\n\n";
taken('an empty list of choices without usage stays',
      $filter . $all, $filter . $less);
$filter =~ s/\}\n/,"usage":null}\n/;
taken('and with usage: null', $filter . $all, $filter . $less);

# Mistral and others
my $both = $finish =~ s/\}\n/,"usage":{"prompt_tokens":9,/r
           =~ s/\n\z/"completion_tokens":4}}\n\n/r;
taken('usage beside the finish reason stays', $first . $both . $done,
      $first . $both . $done);
taken('and what follows it is taken out', $first . $both . $usage . $done,
      $first . $both . $done);

{
    my @bad;
    for my $crlf (0, 1) {
        my ($sent, $gets) = ($all, $less);
        s/\n/$crlf ? "\r\n" : "\n"/ge for $sent, $gets;

        # every byte of the chunk and of the chunked coding around it
        for my $at (1 .. length($sent) + 6) {
            my $r = ask(bytes($sent, at => $at));
            push @bad, "crlf $crlf, at $at: " . $r->body
                if $r->body ne $gets || !$r->clean_end;
        }
    }
    ok(!@bad, 'REQ-10: the chunk is taken out wherever a read ends')
        or diag(scalar(@bad), ': ', $bad[0]);

    logged();
    my @lines = grep { /^tag-/ } split /\n/, $gw->access_log;
    my @odd = grep { !/\|\Q$known\E$/ }
              @lines[-(2 * length($all) - 10) .. -1];
    ok(!@odd, '  and in the log each time') or diag($odd[0]);
}


# Under a quota a client cannot turn the usage off.

for ([ 'false', '{"include_usage": false}', '{"include_usage": true}', $less ],
     [ 'null', '{"include_usage":null}', '{"include_usage":true}', $less ],
     [ 'a wrong type', '{"a":1,"include_usage":[1]}',
       '{"a":1,"include_usage":true}', $less ],
     [ 'false, with escapes', '{"include\\u005fusage":false}',
       '{"include\\u005fusage":true}', $less ],
     [ 'two values', '{"include_usage":true,"include_usage":false}',
       '{"include_usage":true}', $all ])
{
    my ($name, $options, $expected, $bytes) = @$_;
    my $body = '{"model":"m","stream":true,"stream_options":%s,"x":1}';
    my $r = ask(sprintf($body, $options), '/quota' . $CHAT);
    is(sent(), sprintf($body, $expected), "include_usage is $name: replaced");
    is($r->body, $bytes, '  the client gets what it has requested');
    is(logged(), $known, '  and the usage is known');
}


# REQ-11

my $nothing = 'complete|estimated';

for ([ 'beside the finish reason', 'provider|9|4|13',
       '{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":9,'
       . '"completion_tokens":4,"total_tokens":13}}' ],
     [ 'with no choices at all', 'provider|9|4|13',
       '{"usage":{"prompt_tokens":9,"completion_tokens":4}}' ],
     [ 'with an empty choice', 'provider|9|4|13',
       '{"choices":[{"delta":{}}],"usage":{"prompt_tokens":9,'
       . '"completion_tokens":4}}' ],
     [ 'in x_groq', 'provider|9|4|13',
       '{"choices":[{"finish_reason":"stop"}],"x_groq":{"usage":{'
       . '"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}}' ],
     [ 'null each time', 'estimated',
       '{"choices":[{"delta":{}}],"usage":null}',
       '{"choices":[],"usage":null}' ],
     [ 'running: the last one wins', 'provider|9|4|13',
       map { "{\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":9,"
             . "\"completion_tokens\":$_}}" } 1 .. 4 ],
     [ 'without a total', 'provider|9|4|13',
       '{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}' ],
     map({ [ "with $_: no text was seen, so no output", 'provider|9|0|9',
             '{"choices":[],"usage":{'
             . "\"prompt_tokens\":9,\"completion_tokens\":$_}}" ] }
         -1, '4.0', '"4"', '9007199254740993', 'true', '{}'))
{
    my ($name, $log, @data) = @$_;
    my $sent = join '', map({ "data: $_\n\n" } @data), $finish, $done;
    my $r = ask(bytes($sent));
    is(logged(), "complete|$log", "REQ-11: usage $name");

    $r = ask(bytes($sent, every => 1));
    is(logged(), "complete|$log", '  in single bytes');
}

$gw->done;
done_testing;
