package Provider;

# The provider of t/clients.t: what it does is the name of the model.  Names
# not in the table get LLM::Fake::OpenAI's answer.  Everything is of the shape
# and completeness of OpenAI's own answers, because the SDKs' helpers read it.

use strict;
use warnings;
use utf8;

use JSON::PP ();

use LLM::Fake;
use LLM::Fake::OpenAI;

my $JSON = JSON::PP->new->utf8->canonical;

# {"city": ..., "degrees": ...}, in the pieces a provider would send
my @ARGUMENTS = ('{"ci', 'ty":"K', 'öln","deg', 'rees":21}');

my @UNICODE = ("na\x{ef}ve ", "\x{1f680}\x{1f468}\x{200d}\x{1f469} ", 'こんにちは');

my %MODEL = (
    # answers
    unicode  => sub { return (split_every(5), says($_[0], text(@UNICODE))) },
    tools    => sub { return says($_[0], calls([ call_1 => 'weather' ],
                                               [ call_2 => 'forecast' ])) },
    schema   => \&structured,
    agent    => \&agent,
    comments => sub { return commented(chat($_[0], text('a', 'b', 'c'))) },
    bare     => sub { my @all = chat($_[0], text('a', 'b'));
                      pop @all; return @all },              # no [DONE]

    # time: these end when the test or the client says so
    gate    => sub { my @all = chat($_[0], text('one ', 'two'));
                     return (@all[0 .. 2], gate($_[0]{headers}{'x-claim'}),
                             @all[3 .. $#all]) },
    silence => sub { my @all = chat($_[0], text('one ', 'two'));
                     return (delay(0.5), @all[0 .. 2], delay(0.5),
                             @all[3 .. $#all]) },
    endless => sub { return (start($_[0]), repeat_steps(0,
                     sse(chunk_of($_[0], { content => 'x' })), delay(0.02))) },
    stall   => sub { return (start($_[0]), hang) },
    hang    => sub { return hang },

    # failures
    'cut'       => sub { return (start($_[0]), fin) },
    'cut-event' => sub { return (start($_[0]), chunk('data: {"choi'), fin) },
    'cut-rst'   => sub { return (start($_[0]), delay(0.05), rst) },
    'cut-clean' => sub { return start($_[0]) },
    'cut-json'  => sub { return (header('Content-Length', 1000),
                                 json('{"id":'), fin) },
    'cut-large' => sub { return (header('Content-Length', 300_000),
                                 json('{"id":"' . 'x' x 200_000), fin) },
    'garbage'   => sub { return (raw("\x00 no HTTP\r\n\r\n"), fin) },
    'event-error' => sub { return (start($_[0]), sse({ error =>
                           problem('overloaded while speaking') })) },
    'first-429' => sub { return sse({ error => {
                         %{ problem('too many') }, code => 429 } }) },
    'first-error' => sub { return sse({ error => problem('not now') }) },
);

sub new {
    return LLM::Fake->openai(answer => sub {
        my ($req) = @_;
        my $model = ref $req->{json} eq 'HASH' ? $req->{json}{model} // ''
                                               : '';
        return answer_status($1) if $model =~ /^status-(\d+)$/;
        return $MODEL{$model}->($req) if $MODEL{$model};
        return response($req, text('Hello', ', ', 'world'))
            if $req->{path} =~ m{/responses$};
        return;
    });
}


sub problem {
    my ($message) = @_;
    return { message => $message, type => 'provider_type', param => 'input',
             code => 'provider_code' };
}

# with an id that the client must not see, and no word on retries
sub answer_status {
    my ($status) = @_;
    return (status($status), header('x-request-id', 'req_of_the_provider'),
            json({ error => problem("status $status of the provider") }));
}


# What a choice says: text, or calls of tools.

sub text  { return { text => [ @_ ] } }
sub calls { return { calls => [ @_ ] } }


# In the language of the operation.

sub says {
    my ($req, $say) = @_;
    return $req->{path} =~ m{/responses$} ? response($req, $say)
                                          : chat($req, $say);
}


# A chat completion, streamed if that is asked for.

sub chat {
    my ($req, $say) = @_;
    return streamed($req, $say) if $req->{json}{stream};

    my @calls = map { { id => $_->[0], type => 'function', function => {
                        name => $_->[1], arguments => arguments() } } }
                @{ $say->{calls} || [] };
    my $message = { role => 'assistant', refusal => undef, content => undef,
                    @calls ? (tool_calls => \@calls)
                           : (content => join '', @{ $say->{text} }) };
    return json({ common($req), object => 'chat.completion',
                  usage => LLM::Fake::OpenAI::usage([ 1 .. 5 ], 1),
                  choices => [ { index => 0, message => $message,
                                 logprobs => undef,
                                 finish_reason => finish($say) } ] });
}

# four events or more: the role, what is said, the finish, [DONE]
sub streamed {
    my ($req, $say) = @_;

    my @deltas = map { { content => $_ } } @{ $say->{text} || [] };
    my $index = 0;
    for my $call (@{ $say->{calls} || [] }) {
        my ($id, $name) = @$call;
        push @deltas, { tool_calls => [
            { index => $index, id => $id, type => 'function',
              function => { name => $name, arguments => '' } } ] };
        push @deltas, map { { tool_calls => [
            { index => $index, function => { arguments => $_ } } ] } }
            @ARGUMENTS;
        $index++;
    }

    my $options = $req->{json}{stream_options} || {};
    my @usage = $options->{include_usage}
        ? { common($req), object => 'chat.completion.chunk', choices => [],
            usage => LLM::Fake::OpenAI::usage([ 1 .. 5 ], 1) } : ();

    return sse(chunk_of($req, { role => 'assistant', content => '' }),
               map({ chunk_of($req, $_) } @deltas),
               chunk_of($req, {}, finish($say)), @usage, '[DONE]');
}

# the type and two events
sub start {
    my ($req) = @_;

    return sse({ type => 'response.output_text.delta', delta => 'one ',
                 item_id => 'msg_1', output_index => 0, content_index => 0,
                 sequence_number => 0, logprobs => [] })
        if $req->{path} =~ m{/responses$};

    return sse(map { chunk_of($req, { content => $_ }) } 'one ', 'two ');
}

sub chunk_of {
    my ($req, $delta, $finish) = @_;
    return { common($req), object => 'chat.completion.chunk',
             choices => [ { index => 0, delta => $delta, logprobs => undef,
                            finish_reason => $finish } ] };
}

sub common {
    my ($req) = @_;
    return (id => "chatcmpl-$req->{n}", created => 1700000000,
            model => $req->{json}{model}, system_fingerprint => 'fp_test');
}

sub finish    { return $_[0]{calls} ? 'tool_calls' : 'stop' }
sub arguments { return join '', @ARGUMENTS }

# comments as some providers send them while they think
sub commented {
    my ($type, @events) = @_;
    return ($type, map { (chunk(": keep-alive\n\n"), $_,
                          chunk(":\n"), chunk(": PROCESSING\n\n")) } @events);
}


# A response, streamed if that is asked for.

sub response {
    my ($req, $say) = @_;

    my %base = (id => "resp_$req->{n}", object => 'response',
                created_at => 1700000000, model => $req->{json}{model},
                error => undef, incomplete_details => undef,
                instructions => undef, metadata => {}, tools => [],
                tool_choice => 'auto', temperature => 1, top_p => 1,
                parallel_tool_calls => JSON::PP::true);
    my @items = items($req, $say);
    my $whole = { %base, status => 'completed', output => \@items,
                  usage => { input_tokens => 11, output_tokens => 5,
                             total_tokens => 16,
                             input_tokens_details => { cached_tokens => 0 },
                             output_tokens_details =>
                                 { reasoning_tokens => 0 } } };
    return json($whole) unless $req->{json}{stream};

    my $begun = { %base, status => 'in_progress', output => [],
                  usage => undef };
    my $number = 0;
    return sse(map {
        my ($type, %data) = @$_;
        "event: $type\ndata: " . $JSON->encode(
            { type => $type, sequence_number => $number++, %data }) . "\n\n";
    } ([ 'response.created', response => $begun ],
       [ 'response.in_progress', response => $begun ],
       map({ item_events($_, $items[$_], $say) } 0 .. $#items),
       [ 'response.completed', response => $whole ]));
}

sub items {
    my ($req, $say) = @_;

    return map { { id => "fc_$_->[0]", type => 'function_call',
                   status => 'completed', call_id => $_->[0],
                   name => $_->[1], arguments => arguments() } }
           @{ $say->{calls} } if $say->{calls};

    return { id => "msg_$req->{n}", type => 'message', role => 'assistant',
             status => 'completed', content => [
                 { type => 'output_text', text => join('', @{ $say->{text} }),
                   annotations => [], logprobs => [] } ] };
}

sub item_events {
    my ($index, $item, $say) = @_;

    my %at = (item_id => $item->{id}, output_index => $index);
    my $call = $item->{type} eq 'function_call';
    my @between;

    if ($call) {
        my $event = 'response.function_call_arguments';
        @between = (map({ [ "$event.delta", %at, delta => $_ ] } @ARGUMENTS),
                    [ "$event.done", %at, name => $item->{name},
                      arguments => arguments() ]);
    } else {
        $at{content_index} = 0;
        my $part = $item->{content}[0];
        @between = ([ 'response.content_part.added', %at,
                      part => { %$part, text => '' } ],
                    map({ [ 'response.output_text.delta', %at, delta => $_,
                            logprobs => [] ] } @{ $say->{text} }),
                    [ 'response.output_text.done', %at,
                      text => $part->{text}, logprobs => [] ],
                    [ 'response.content_part.done', %at, part => $part ]);
    }

    my $open = { %$item, status => 'in_progress',
                 $call ? (arguments => '') : (content => []) };
    return ([ 'response.output_item.added', output_index => $index,
              item => $open ],
            @between,
            [ 'response.output_item.done', output_index => $index,
              item => $item ]);
}


# Structured output: only for a strict schema that came through whole.

sub structured {
    my ($req) = @_;
    my $ask = $req->{json};

    my $format = $ask->{text} ? $ask->{text}{format}
                              : $ask->{response_format}{json_schema};
    my $schema = $format->{schema} || {};
    return (status(400), json({ error => problem('no strict schema') }))
        unless $format->{strict} && $schema->{type} eq 'object'
               && join(' ', sort @{ $schema->{required} }) eq 'city degrees';

    return says($req, text(@ARGUMENTS));
}


# One call of the tool, then the answer made of its result.

sub agent {
    my ($req) = @_;

    my $ask = $req->{json};
    my @results = $ask->{messages}
        ? map({ $_->{content} } grep { $_->{role} eq 'tool' }
              @{ $ask->{messages} })
        : map({ $_->{output} } grep { ref($_) && ($_->{type} // '')
                                      eq 'function_call_output' }
              ref $ask->{input} ? @{ $ask->{input} } : ());

    my $say = @results ? text('The tool said: ', @results)
                       : calls([ call_1 => 'weather' ]);
    return says($req, $say);
}

1;
