package Corpus;

# Valid requests, valid responses of a provider, and their bytes.
#
# A message is { line, headers => [[k, v], ...], body, framing }: framing is
# "length", "chunked" or "close".  chunks => N is the size of its chunks.
#
# Each request names a group in its prompt.  A response carries the mark of
# the group instead of $MARK, so that a client can tell whether a response
# belongs to its own request, or to a question like it in the cache.

use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use Exporter qw(import);
use IO::Compress::Gzip ();
use JSON::PP ();

our @EXPORT = qw(@REQUESTS @ADMIN @ANSWERS $GROUPS $KEY request answer bytes
                 mark as_json);

our $KEY = 'sk-fuzz-wire';
our $GROUPS = 7;
my $MARK = 'MARKMARKMARK';              # as long as a mark
my $BOUNDARY = 'fuzz-boundary';
my $TRUE = JSON::PP::true;
my $FALSE = JSON::PP::false;

my $JSON = JSON::PP->new->utf8->canonical;

sub as_json { return $JSON->encode($_[0]) }

sub mark { return substr md5_hex("mark of $_[0]"), 0, length $MARK }


# Requests: [ name, path, body by prompt, kind of the response ]

sub chat {
    my ($prompt, %more) = @_;
    return { model => 'gpt-4o', temperature => 0, %more,
             messages => [ { role => 'user', content => $prompt } ] };
}

sub form {
    my (@fields) = @_;
    return join '', map({ "--$BOUNDARY\r\nContent-Disposition: form-data; "
                          . "$_->[0]\r\n\r\n$_->[1]\r\n" } @fields),
                    "--$BOUNDARY--\r\n";
}

our @REQUESTS = (
    [ 'chat', 'chat/completions', sub { chat($_[0]) }, 'chat' ],
    [ 'large chat', 'chat/completions',
      sub { chat($_[0], user => 'u' x 20_000) }, 'chat' ],
    [ 'many choices', 'chat/completions',
      sub { chat($_[0], n => 3, max_tokens => 50,
                 max_completion_tokens => 60) }, 'chat' ],
    [ 'stream', 'chat/completions',
      sub { chat($_[0], stream => $TRUE) }, 'stream' ],
    [ 'stream with usage', 'chat/completions',
      sub { chat($_[0], stream => $TRUE,
                 stream_options => { include_usage => $TRUE }) }, 'stream' ],
    [ 'stream without options', 'chat/completions',
      sub { chat($_[0], stream => $TRUE, stream_options => undef) },
      'stream' ],
    [ 'completion', 'completions',
      sub { { model => 'gpt-4o', prompt => $_[0] } }, 'completion' ],
    [ 'embeddings', 'embeddings',
      sub { { model => 'ada', input => [ $_[0], 'b' ] } }, 'embedding' ],
    [ 'response', 'responses',
      sub { { model => 'gpt-4o', input => $_[0], temperature => 0,
              store => $FALSE, max_output_tokens => 9 } }, 'response' ],
    [ 'response stream', 'responses',
      sub { { model => 'gpt-4o', input => $_[0], temperature => 0,
              store => $FALSE, stream => $TRUE } }, 'response stream' ],
    [ 'transcription', 'audio/transcriptions',
      sub { form([ 'name="model"', 'whisper-1' ],
                 [ 'name="prompt"', $_[0] ],
                 [ "name=\"file\"; filename=\"a.wav\"\r\n"
                   . 'Content-Type: audio/wav', "RIFF\0\xff\r\n--\r\n" x 99 ]) },
      'transcription' ],
    [ 'transcription stream', 'audio/transcriptions',
      sub { form([ 'name="file"; filename="b.wav"', "RIFF\0" x 9 ],
                 [ 'name="prompt"', $_[0] ],
                 [ 'name="stream"', 'true' ],
                 [ 'name="model"', 'whisper-1' ]) }, 'stream' ],
    [ 'speech', 'audio/speech',
      sub { { model => 'tts', input => $_[0], voice => 'alloy' } }, 'audio' ],
    [ 'image', 'images/generations',
      sub { { model => 'dall-e', prompt => $_[0], n => 2 } }, 'image' ],
    [ 'moderation', 'moderations',
      sub { { model => 'mod', input => $_[0] } }, 'image' ],
    [ 'models', 'models', undef, 'image' ],
    [ 'model', 'models/gpt-4o', undef, 'image' ],
);

our @ADMIN = (
    [ 'purge all', '/admin/cache/purge', sub { { all => $TRUE } } ],
    [ 'purge a model', '/admin/cache/purge', sub { { model => 'gpt-4o' } } ],
    [ 'purge a scope', '/admin/cache/purge', sub { { scope => 'acme' } } ],
    [ 'purge a key', '/admin/cache/purge', sub { { key => 'ab' x 32 } } ],
    [ 'drain', '/admin/providers/a/drain', sub { '' } ],
    [ 'resume', '/admin/providers/a/resume', sub { '' } ],
    [ 'metrics', '/metrics', undef ],
    [ 'status', '/status/status.json', undef ],
);

# The message for an entry of @REQUESTS or @ADMIN; the path of the former
# begins with the location.

sub request {
    my ($entry, $location, $prompt, @headers) = @_;

    my (undef, $path, $body) = @$entry;
    $path = "$location/$path" unless $path =~ m{^/};
    $body = $body ? $body->($prompt) : undef;

    my $type = ref $body ? 'application/json'
                         : "multipart/form-data; boundary=$BOUNDARY";
    return {
        line => (defined $body ? 'POST' : 'GET') . " $path HTTP/1.1",
        headers => [ [ 'Host', 'localhost' ], [ 'Connection', 'close' ],
                     [ 'Authorization', "Bearer $KEY" ],
                     defined $body ? [ 'Content-Type', $type ] : (),
                     @headers ],
        body => ref $body ? as_json($body) : $body // '',
        framing => defined $body ? 'length' : 'none',
    };
}


# Responses

my %USAGE = (prompt_tokens => 9, completion_tokens => 4, total_tokens => 13,
             prompt_tokens_details => { cached_tokens => 3 });
my %RESPONSE = (id => 'r', object => 'response', model => 'gpt-4o',
    output => [ { type => 'message', role => 'assistant',
                  content => [ { type => 'output_text', text => $MARK } ] } ],
    usage => { input_tokens => 7, output_tokens => 5, total_tokens => 12 });

sub choices { return { id => 'c', object => $_[0], created => 1,
                       model => 'gpt-4o', choices => [ $_[1] ], @_[2 .. $#_] } }

sub events { return join '', map { "data: $_\n\n" } @_ }

sub delta {
    my ($delta, $reason) = @_;
    return as_json(choices('chat.completion.chunk',
        { index => 0, delta => $delta, finish_reason => $reason }));
}

sub stream {
    my ($n) = @_;
    return events(delta({ role => 'assistant', content => $MARK }),
        map({ delta({ content => "token$_ \x{e9}" }) } 1 .. $n),
        delta({}, 'stop'),
        as_json({ id => 'c', object => 'chat.completion.chunk', choices => [],
               usage => \%USAGE }), '[DONE]');
}

my %message = (index => 0, finish_reason => 'stop',
               message => { role => 'assistant', content => $MARK });

sub response_stream {
    return join '', map { "event: $_->{type}\ndata: " . as_json($_) . "\n\n" }
        { type => 'response.created',
          response => { %RESPONSE, status => 'in_progress', usage => undef } },
        { type => 'response.output_text.delta', delta => $MARK },
        { type => 'response.completed',
          response => { %RESPONSE, status => 'completed' } };
}

sub failure {
    my ($status, $code, @headers) = @_;
    return [ "error $status", $status, 'application/json',
             sub { as_json({ error => { message => "no, $MARK", type => 'x',
                                     code => $code } }) },
             'length', @headers ];
}

# [ kind, status, type, body, framing, headers ]
our @ANSWERS = (
    [ 'chat', 200, 'application/json',
      sub { as_json(choices('chat.completion', \%message, usage => \%USAGE)) },
      'length', [ 'x-request-id', 'req_1' ] ],
    [ 'chat', 200, 'application/json',
      sub { as_json(choices('chat.completion',
                         { %message, message => { content =>
                           $MARK . 'long ' x 20_000 } },
                         usage => \%USAGE)) }, 'chunked' ],
    [ 'completion', 200, 'application/json',
      sub { as_json(choices('text_completion',
                         { index => 0, text => $MARK, finish_reason => 'stop' },
                         usage => \%USAGE)) }, 'close' ],
    [ 'stream', 200, 'text/event-stream', sub { stream(5) }, 'chunked' ],
    [ 'stream', 200, 'text/event-stream; charset=utf-8', sub { stream(40) },
      'chunked' ],
    [ 'stream', 200, 'text/event-stream', sub { stream(3) }, 'close' ],
    [ 'embedding', 200, 'application/json',
      sub { as_json({ object => 'list', model => $MARK,
                   data => [ map { { index => $_, object => 'embedding',
                                     embedding => [ (0.25, -1e-3) x 9 ] } }
                             0, 1 ],
                   usage => { prompt_tokens => 8, total_tokens => 8 } }) },
      'length' ],
    [ 'response', 200, 'application/json',
      sub { as_json({ %RESPONSE, status => 'completed' }) }, 'length' ],
    [ 'response stream', 200, 'text/event-stream', \&response_stream,
      'chunked' ],
    [ 'transcription', 200, 'application/json',
      sub { as_json({ text => $MARK, usage => { type => 'tokens',
                   input_tokens => 14, output_tokens => 45 } }) }, 'length' ],
    [ 'audio', 200, 'audio/mpeg', sub { $MARK . "\xff\xfb\x90\0" x 5000 },
      'chunked' ],
    [ 'image', 200, 'application/json',
      sub { as_json({ created => 1, data => [ { b64_json => $MARK } ] }) },
      'length' ],
    [ 'coded', 200, 'application/json',
      sub { my $plain = as_json(choices('chat.completion', \%message,
                                     usage => \%USAGE));
            IO::Compress::Gzip::gzip(\$plain, \my $coded, -Time => 0);
            return $coded }, 'length', [ 'Content-Encoding', 'gzip' ] ],
    [ 'page', 502, 'text/html', sub { "<html>$MARK</html>\n" }, 'length' ],
    [ 'redirect', 302, 'text/plain', sub { $MARK }, 'length',
      [ 'Location', 'http://127.0.0.1:1/' ] ],
    [ 'empty', 204, 'text/plain', sub { '' }, 'none' ],
    [ 'error inside', 200, 'text/event-stream',
      sub { events(as_json({ error => { message => $MARK, code => 429 } })) },
      'chunked' ],
    failure(400, 'context_length_exceeded'),
    failure(401, 'invalid_api_key'),
    failure(404, 'model_not_found'),
    failure(429, 'rate_limit_exceeded', [ 'Retry-After', 1 ],
            [ 'x-ratelimit-remaining-requests', 0 ]),
    failure(429, 'insufficient_quota'),
    failure(500, 'server_error', [ 'x-should-retry', 'false' ]),
    failure(503, 'overloaded', [ 'retry-after-ms', 20 ]),
);

sub answer {
    my ($entry) = @_;

    my (undef, $status, $type, $body, $framing, @headers) = @$entry;
    return {
        line => "HTTP/1.1 $status Because",
        headers => [ [ 'Content-Type', $type ],
                     $framing eq 'close' ? [ 'Connection', 'close' ] : (),
                     @headers ],
        body => $body->(), framing => $framing,
    };
}


sub bytes {
    my ($m) = @_;

    my @headers = @{ $m->{headers} };
    my $body = $m->{body};

    push @headers, [ 'Content-Length', length $body ]
        if $m->{framing} eq 'length';

    if ($m->{framing} eq 'chunked') {
        push @headers, [ 'Transfer-Encoding', 'chunked' ];
        my $size = $m->{chunks} || 1000;
        $body = join '', map({ sprintf "%x\r\n%s\r\n", length, $_ }
                             unpack "(a$size)*", $body), "0\r\n\r\n";
        $body = $m->{spoil_chunks}->($body) if $m->{spoil_chunks};
    }

    return join '', "$m->{line}\r\n",
        map({ "$_->[0]" . ($_->[2] // ': ') . "$_->[1]\r\n" } @headers),
        "\r\n", $body;
}

1;
