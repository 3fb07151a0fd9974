#!/usr/bin/perl

# An answer in its other form is the same answer to the official SDKs
# (REQ-30): what they make of a stream and what they read as JSON is equal,
# whichever of the two our converters have written.

use FindBin qw($Bin);
use lib "$Bin/lib", "$Bin/clients";
use LLM::Test;

use JSON::PP ();
use Program;

use constant { CHAT => 0, COMPLETIONS => 1, RESPONSES => 2 };

my $JSON = JSON::PP->new->utf8->canonical;
my $dir = tempdir();

my $program = "$dir/shape";
my @cc = (qw(cc -std=gnu11 -O1 -Wall -Werror -DNGX_LLM_STANDALONE),
          "-I$Bin/../include", '-o', $program, "$Bin/tools/shape.c",
          map { glob "$Bin/../module/codec/*/ngx_llm_$_.c" }
              qw(shape shape_out shape_stream to_document to_stream sse
                 lexer media string string_avx2));
is(system(@cc), 0, 'the program compiles') or BAIL_OUT("@cc");


# Answers

my %usage = (usage => { prompt_tokens => 9, completion_tokens => 12,
    total_tokens => 21, prompt_tokens_details => { cached_tokens => 4 } });
my $unicode = "na\x{ef}ve \x{4f60}\x{597d}\x{ff0c}\x{4e16}\x{754c}\x{3002} "
              . "\x{1f680}\x{1f468}\x{200d}\x{1f469} \"q\"\\\n\t\x{1}";

my %chat = (
    plain => [ { content => 'Once upon a time there was a king. ' x 9 } ],
    unicode => [ { content => $unicode x 5 } ],
    choices => [ { content => 'one of three' }, { content => 'two of three' },
                 { content => 'three' } ],
    tools => [ { tool_calls => [
        tool('call_1', 'weather', { city => "K\x{f6}ln", n => [ 1 .. 30 ] }),
        tool('call_2', 'forecast', {}) ] } ],
    both => [ { content => 'I look it up.', tool_calls => [
        tool('call_1', 'search', { q => $unicode }) ] } ],
    function => [ { function_call => { name => 'weather',
                                       arguments => '{"city":"Paris"}' } } ],
    refusal => [ { refusal => "I can\x{2019}t help with that. " x 5 } ],
    sources => [ { content => 'See there.', annotations => [
        map { { type => 'url_citation', url_citation => {
                start_index => 0, end_index => $_, title => 'There',
                url => "http://there.test/$_" } } } 1, 2 ] } ],
    reasoning => [ { reasoning_content => 'Let me think about it. ' x 6,
                     content => 'So it is.' } ],
);

my %answer = map { $_ => answer($_, @{ $chat{$_} }) } keys %chat;

$answer{logprobs} = answer('logprobs', { content => 'abc' });
$answer{logprobs}{choices}[0]{logprobs} = { refusal => undef, content => [
    map { { token => $_, logprob => -0.5, bytes => [ ord ],
            top_logprobs => [ { token => $_, logprob => -0.5,
                                bytes => [ ord ] } ] } } qw(a b c) ] };

sub tool {
    my ($id, $name, $arguments) = @_;
    return { id => $id, type => 'function', function => {
             name => $name, arguments => $JSON->encode($arguments) } };
}

sub answer {
    my ($name, @messages) = @_;

    my $index = 0;
    return { id => "chatcmpl-$name", object => 'chat.completion',
             created => 1700000000, model => "m-$name", %usage,
             system_fingerprint => 'fp_1', service_tier => 'default',
             choices => [ map { {
                 index => $index++, logprobs => undef,
                 message => { role => 'assistant', content => undef,
                              refusal => undef, %$_ },
                 finish_reason => $_->{tool_calls} ? 'tool_calls'
                                : $_->{function_call} ? 'function_call'
                                : 'stop' } } @messages ] };
}


# The stream that a provider would make of it: choices take turns.

sub streamed {
    my ($answer) = @_;

    my @turns = map { [ deltas($_) ] } @{ $answer->{choices} };
    my @chunks;
    while (grep { @$_ } @turns) {
        for my $i (0 .. $#turns) {
            my $delta = shift @{ $turns[$i] } or next;
            push @chunks, [ { index => $i, %$delta } ];
        }
    }
    my %head = (%$answer, object => 'chat.completion.chunk', usage => undef);
    return [ (map { { %head, choices => $_ } } @chunks),
             { %head, choices => [], usage => $answer->{usage} } ];
}

sub deltas {
    my ($choice) = @_;

    my $message = $choice->{message};
    my @deltas = { role => 'assistant', content => $message->{content} && '',
                   refusal => undef };
    my $most = $choice->{logprobs} ? 1 : 7;
    for my $name (qw(reasoning_content content refusal)) {
        push @deltas, map { { $name => $_ } } cut($message->{$name}, $most);
    }
    my $index = 0;
    for my $call (@{ $message->{tool_calls} || [] }) {
        my %function = %{ $call->{function} };
        my @pieces = cut($function{arguments});
        push @deltas, { tool_calls => [ { %$call, index => $index,
            function => { %function, arguments => '' } } ] };
        push @deltas, map { { tool_calls => [
            { index => $index, function => { arguments => $_ } } ] } } @pieces;
        $index++;
    }
    if (my $call = $message->{function_call}) {
        push @deltas, { function_call => { %$call, arguments => '' } };
        push @deltas, map { { function_call => { arguments => $_ } } }
                      cut($call->{arguments});
    }
    push @deltas, { annotations => $message->{annotations} }
        if $message->{annotations};

    my @logprobs = @{ ($choice->{logprobs} || {})->{content} || [] };
    my @all = map { {
        delta => $_, finish_reason => undef,
        logprobs => $_->{content} && @logprobs
            ? { content => [ shift @logprobs ], refusal => undef } : undef,
    } } @deltas;
    return (@all, { delta => {}, logprobs => undef,
                    finish_reason => $choice->{finish_reason} });
}

sub cut {
    my ($text, $most) = @_;
    $most ||= 7;
    return ($text // '') =~ /(.{1,$most})/gs;
}


# Completions and responses

my %completion = (id => 'cmpl-1', object => 'text_completion',
                  created => 1700000000, model => 'm', %usage);
$answer{completion} = { %completion, choices => [ {
    index => 0, text => "$unicode and so on", finish_reason => 'length',
    logprobs => { tokens => [ "$unicode", ' and so on' ],
                  token_logprobs => [ -1, -2 ], text_offset => [ 0, 17 ],
                  top_logprobs => [ { a => -1 }, { b => -2 } ] } } ] };

my @texts = map { my $i = $_;
    my $choice = $answer{completion}{choices}[0];
    { index => 0, text => $choice->{logprobs}{tokens}[$i],
      finish_reason => undef,
      logprobs => { map { $_ => [ $choice->{logprobs}{$_}[$i] ] }
                    keys %{ $choice->{logprobs} } } } } 0, 1;
my $completion_stream = [
    (map { { %completion, usage => undef, choices => [ $_ ] } } @texts, {
         index => 0, text => '', logprobs => undef,
         finish_reason => 'length' }),
    { %completion, choices => [] } ];

my $part = { type => 'output_text', text => $unicode, annotations => [] };
my $item = { id => 'msg_1', type => 'message', role => 'assistant',
             status => 'completed', content => [ $part ] };
my %response = (id => 'resp_1', object => 'response', created_at => 1700000000,
    model => 'm', parallel_tool_calls => JSON::PP::true, tools => [],
    tool_choice => 'auto', error => undef, incomplete_details => undef,
    instructions => undef, metadata => {}, temperature => 1, top_p => 1);
$answer{response} = { %response, status => 'completed', output => [ $item ],
    usage => { input_tokens => 1, output_tokens => 2, total_tokens => 3,
               input_tokens_details => { cached_tokens => 0 },
               output_tokens_details => { reasoning_tokens => 0 } } };

my $number = 0;
my %at = (output_index => 0, content_index => 0, item_id => 'msg_1');
my $response_stream = [ map { { %$_, sequence_number => $number++ } }
    { type => 'response.created', response => {
        %response, status => 'in_progress', output => [] } },
    { type => 'response.output_item.added', output_index => 0,
      item => { %$item, status => 'in_progress', content => [] } },
    { type => 'response.content_part.added', %at,
      part => { %$part, text => '' } },
    (map { { type => 'response.output_text.delta', %at, delta => $_,
             logprobs => [] } } cut($unicode)),
    { type => 'response.output_text.done', %at, text => $unicode,
      logprobs => [] },
    { type => 'response.content_part.done', %at, part => $part },
    { type => 'response.output_item.done', output_index => 0,
      item => $item },
    { type => 'response.completed', response => $answer{response} } ];


# What is served: each answer with one of its forms written by us.

my (%served, %models);

for my $name (sort keys %answer) {
    my $kind = $name eq 'completion' ? COMPLETIONS
             : $name eq 'response' ? RESPONSES : CHAT;
    my $stream = join '', $kind == RESPONSES
        ? map { "event: $_->{type}\ndata: " . $JSON->encode($_) . "\n\n" }
              @$response_stream
        : ((map { 'data: ' . $JSON->encode($_) . "\n\n" }
                @{ $kind == CHAT ? streamed($answer{$name})
                                 : $completion_stream }),
           "data: [DONE]\n\n");
    my $json = $JSON->encode($answer{$name});

    my $folded = convert($stream, 'to_document', $kind);
    ok(defined $folded, "REQ-30: $name is folded")
        and is_deeply($JSON->decode($folded), $answer{$name},
                      '  to what the provider says without a stream');
    $served{"$name-to_document"} = { json => $folded, stream => $stream };
    push @{ $models{$kind} }, "$name-to_document";
    next if $kind == RESPONSES;

    my $unrolled = convert($json, 'to_stream', $kind, 1);
    ok(defined $unrolled, "REQ-30: $name is unrolled") or next;
    is_deeply($JSON->decode(convert($unrolled, 'to_document', $kind)),
              $answer{$name}, '  and folds to what it was');
    $served{"$name-to_stream"} = { json => $json, stream => $unrolled };
    push @{ $models{$kind} }, "$name-to_stream";
}

sub convert {
    my ($text, @args) = @_;

    spew("$dir/in", $text);
    my $out = `$program @args < $dir/in`;
    return $? ? undef : $out;
}

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $forms = $served{ $req->{json}{model} };
    return $req->{json}{stream}
        ? (header('Content-Type', 'text/event-stream'), split_every(997),
           body($forms->{stream}))
        : (header('Content-Type', 'application/json'), body($forms->{json}));
});


# The SDKs

my %env = (
    LLM_GATEWAY => 'http://127.0.0.1:' . $p->port,
    LLM_CHAT => join(' ', @{ $models{+CHAT} }),
    LLM_COMPLETIONS => join(' ', @{ $models{+COMPLETIONS} }),
    LLM_RESPONSES => join(' ', @{ $models{+RESPONSES} }),
    OPENAI_API_KEY => 'sk-canary-client',
    PYTHONDONTWRITEBYTECODE => 1,
    no_proxy => '127.0.0.1',
    map { $_ => undef } qw(OPENAI_BASE_URL OPENAI_ORG_ID OPENAI_PROJECT_ID
                           OPENAI_LOG),
);

my $packages = Program::packages();

for my $set ([ 'openai 3 for Python', 'requirements.txt', 'python' ],
             [ 'openai 2 for Python', 'requirements-2.txt', 'python-2' ])
{
    my ($name, $list, $folder) = @$set;
    my $why = Program::missing('python', $list, $folder);
    run($name, $why, "$packages/$folder/bin/python",
        Program::sources() . '/python/shapes.py');
}

my $why = Program::missing('node', 'node');
symlink "$packages/node/node_modules", "$dir/node_modules";
for my $file (qw(kit.mjs shapes.mjs)) {
    spew("$dir/$file", slurp(Program::sources() . "/node/$file"));
}
run('openai 6 for Node', $why, 'node', "$dir/shapes.mjs");

sub run {
    my ($name, $why, @argv) = @_;
  SKIP: {
        skip "$name: $why", 1 if $why;
        Program::run(name => $name, argv => [ @argv ], seconds => 60,
                     env => { %env });
    }
}

done_testing;
