package LLM::Fake::OpenAI;

# A well-behaved provider with the OpenAI API, made with LLM::Fake->openai.
# Which operation is meant follows from the end of the path, so any base path
# (also /openai/deployments/x) will do.
#
#   answer        sub ($req): steps, or nothing for the default answer
#   text          [pieces] of the content, one chunk each;
#                 default tok1 .. tok5, or tokens => N of them
#   pace          seconds between two chunks
#   finish        finish_reason (stop)
#   done          0: no [DONE]
#   usage         asked (default: chunk only if include_usage), always, never
#   prompt_tokens 11, cached_tokens 0, reasoning_tokens 0;
#                 completion tokens = number of pieces, times n
#   model         name in the answer (default: as asked)
#   headers       [[k, v], ...]

use strict;
use warnings;

use JSON::PP ();
use MIME::Base64 ();

use LLM::Fake::Steps;

my $JSON = JSON::PP->new->utf8->canonical;

my @OPERATIONS = (
    [ qr{/chat/completions$} => \&chat ],
    [ qr{/completions$}      => \&completion ],
    [ qr{/embeddings$}       => \&embeddings ],
    [ qr{/responses$}        => \&response ],
    [ qr{/moderations$}      => \&moderation ],
    [ qr{/images/\w+$}       => \&image ],
    [ qr{/models$}           => \&models ],
);

sub fake {
    my ($class, %opt) = @_;
    my $own = $opt{answer};

    return $class->new(%opt, answer => sub {
        my ($req) = @_;
        my @steps = $own ? $own->($req) : ();
        return @steps ? @steps : answer($req, %opt);
    });
}


# The default answer, for use in a script of one's own.

sub answer {
    my ($req, %opt) = @_;

    my $ask = ref $req->{json} eq 'HASH' ? $req->{json} : {};
    my ($path) = $req->{path} =~ /^([^?]*)/;

    for (@OPERATIONS) {
        my ($re, $make) = @$_;
        next unless $path =~ $re;
        my $pieces = $opt{text}
            || [ map { "tok$_ " } 1 .. $opt{tokens} // 5 ];
        return (header('x-request-id', "req_$req->{n}"),
                map({ header(@$_) } @{ $opt{headers} || [] }),
                $make->($ask, $pieces, "$req->{n}", %opt));
    }
    return failure(404, "no such path: $path", 'invalid_request_error');
}

sub failure {
    my ($status, $message, $type, $code) = @_;
    return (status($status), json({ error => {
        message => $message, type => $type // 'server_error',
        param => undef, code => $code } }));
}


sub usage {
    my ($pieces, $n, %opt) = @_;
    my $prompt = $opt{prompt_tokens} // 11;
    my $completion = @$pieces * $n;
    return {
        prompt_tokens => $prompt,
        completion_tokens => $completion,
        total_tokens => $prompt + $completion,
        prompt_tokens_details => { cached_tokens => $opt{cached_tokens} // 0 },
        completion_tokens_details =>
            { reasoning_tokens => $opt{reasoning_tokens} // 0 },
    };
}

# Pieces with pauses between them.
sub paced {
    my ($opt, @events) = @_;
    return map { (sse($_), $opt->{pace} ? delay($opt->{pace}) : ()) } @events;
}


sub chat {
    my ($ask, $pieces, $n, %opt) = @_;
    return _choices($ask, $pieces, "chatcmpl-$n", 'chat.completion', {
        object => 'chat.completion.chunk',
        whole => sub { message => { role => 'assistant', refusal => undef,
                                    content => $_[0] } },
        first => sub { delta => { role => 'assistant', content => '' } },
        piece => sub { delta => { content => $_[0] } },
        last  => sub { delta => {} },
    }, %opt);
}

sub completion {
    my ($ask, $pieces, $n, %opt) = @_;
    return _choices($ask, $pieces, "cmpl-$n", 'text_completion', {
        object => 'text_completion',
        whole => sub { text => $_[0] },
        piece => sub { text => $_[0] },
        last  => sub { text => '' },
    }, %opt);
}

sub _choices {
    my ($ask, $pieces, $id, $object, $form, %opt) = @_;

    my $n = $ask->{n} || 1;
    my $finish = $opt{finish} // 'stop';
    my $usage = usage($pieces, $n, %opt);
    my $when = $opt{usage} // 'asked';
    my %common = (id => $id, created => 1700000000,
                  model => $opt{model} // $ask->{model},
                  system_fingerprint => 'fp_test');

    if (!$ask->{stream}) {
        my @choices = map { { index => $_, logprobs => undef,
                              finish_reason => $finish,
                              $form->{whole}->(join '', @$pieces) } }
                      0 .. $n - 1;
        return json({ %common, object => $object, choices => \@choices,
                      $when eq 'never' ? () : (usage => $usage) });
    }

    my $asked = $ask->{stream_options} && $ask->{stream_options}{include_usage};
    my $wanted = $when eq 'always' || $when eq 'asked' && $asked;
    my $chunk = sub {
        my ($index, $reason, @content) = @_;
        return { %common, object => $form->{object},
                 choices => [ { index => $index, logprobs => undef, @content,
                                finish_reason => $reason } ],
                 $wanted ? (usage => undef) : () };
    };

    my @events;
    for my $i (0 .. $n - 1) {
        push @events, $chunk->($i, undef, $form->{first}->())
            if $form->{first};
        push @events, map { $chunk->($i, undef, $form->{piece}->($_)) }
                      @$pieces;
        push @events, $chunk->($i, $finish, $form->{last}->());
    }
    push @events, { %common, object => $form->{object}, choices => [],
                    usage => $usage } if $wanted;

    return (paced(\%opt, @events), $opt{done} // 1 ? sse('[DONE]') : ());
}


sub embeddings {
    my ($ask, $pieces, $n, %opt) = @_;

    my @input = ref $ask->{input} ? @{ $ask->{input} } : ($ask->{input});
    @input = (1) if @input && $input[0] && !ref $input[0]
                    && ref $ask->{input} && $input[0] =~ /^\d+$/;
    my @vector = (0.25, -0.5, 0.125);
    my $embedding = ($ask->{encoding_format} // '') eq 'base64'
        ? MIME::Base64::encode_base64(pack('f<*', @vector), '') : \@vector;

    my $prompt = $opt{prompt_tokens} // 11;
    return json({ object => 'list', model => $opt{model} // $ask->{model},
                  data => [ map { { object => 'embedding', index => $_,
                                    embedding => $embedding } } 0 .. $#input ],
                  usage => { prompt_tokens => $prompt,
                             total_tokens => $prompt } });
}


sub response {
    my ($ask, $pieces, $n, %opt) = @_;

    my $text = join '', @$pieces;
    my $u = usage($pieces, 1, %opt);
    my %base = (id => "resp_$n", object => 'response', created_at => 1700000000,
                model => $opt{model} // $ask->{model}, error => undef,
                incomplete_details => undef);
    my %item = (id => "msg_$n", type => 'message', role => 'assistant');
    my $part = { type => 'output_text', text => $text, annotations => [] };
    my $whole = { %base, status => 'completed',
                  output => [ { %item, status => 'completed',
                                content => [ $part ] } ],
                  ($opt{usage} // '') eq 'never' ? () : (usage => {
                      input_tokens => $u->{prompt_tokens},
                      input_tokens_details => $u->{prompt_tokens_details},
                      output_tokens => $u->{completion_tokens},
                      output_tokens_details => $u->{completion_tokens_details},
                      total_tokens => $u->{total_tokens} }) };
    return json($whole) unless $ask->{stream};

    my $started = { %base, status => 'in_progress', output => [] };
    my %at = (item_id => "msg_$n", output_index => 0, content_index => 0);
    my @events = (
        [ 'response.created', response => $started ],
        [ 'response.in_progress', response => $started ],
        [ 'response.output_item.added', output_index => 0,
          item => { %item, status => 'in_progress', content => [] } ],
        [ 'response.content_part.added', %at, part => { %$part, text => '' } ],
        map({ [ 'response.output_text.delta', %at, delta => $_ ] } @$pieces),
        [ 'response.output_text.done', %at, text => $text ],
        [ 'response.content_part.done', %at, part => $part ],
        [ 'response.output_item.done', output_index => 0,
          item => $whole->{output}[0] ],
        [ 'response.completed', response => $whole ],
    );

    my $number = 0;
    return paced(\%opt, map {
        my ($type, %data) = @$_;
        "event: $type\ndata: " . $JSON->encode(
            { type => $type, sequence_number => $number++, %data }) . "\n\n";
    } @events);
}


sub moderation {
    my ($ask, $pieces, $n) = @_;
    return json({ id => "modr-$n", model => $ask->{model}, results => [
        { flagged => JSON::PP::false, categories => {},
          category_scores => {} } ] });
}

sub image {
    my ($ask) = @_;
    my $count = $ask->{n} || 1;
    return json({ created => 1700000000, data => [
        map { { b64_json => 'aW1hZ2U=' } } 1 .. $count ] });
}

sub models {
    my ($ask, $pieces, $n, %opt) = @_;
    return json({ object => 'list', data => [
        map { { id => $_, object => 'model', created => 1700000000,
                owned_by => 'test' } }
        @{ $opt{models} || [ 'gpt-4o', 'text-embedding-3-small' ] } ] });
}

1;
