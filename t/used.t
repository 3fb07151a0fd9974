#!/usr/bin/perl

# The tokens that a request is charged: the usage of the provider, whatever
# events follow it, or an estimate by the text of the response.  The variables
# show the charged tokens.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use JSON::PP ();

my $CHAT = '/v1/chat/completions';
my $LIMIT = 900_000_000;

my $USAGE = '{"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":7,'
          . '"total_tokens":27}}';
my $STOP = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}';
my $TEXT = 'The quick brown fox jumps over the lazy dog. ' x 90;

# the data of the events, or the document, that a request names
my %answer = (
    probe    => '{"choices":[{"index":0,"message":{"content":"."},'
              . '"finish_reason":"stop"}],"usage":{"prompt_tokens":0,'
              . '"completion_tokens":0,"total_tokens":0}}',
    null     => [ word('a'), $STOP, $USAGE, '{"choices":[],"usage":null}' ],
    negative => [ word('a'), $STOP, $USAGE, '{"choices":[],"usage":{'
                  . '"prompt_tokens":-1,"completion_tokens":9}}' ],
    absurd   => [ word('a'), $STOP, $USAGE, '{"choices":[],"usage":{'
                  . '"prompt_tokens":9007199254740000,"completion_tokens":1,'
                  . '"total_tokens":9007199254740001}}' ],
    zeros    => [ word('a'), $STOP, $USAGE, '{"choices":[],"usage":{'
                  . '"prompt_tokens":0,"completion_tokens":0}}' ],
    error    => [ word('a'), $USAGE, '{"error":{"message":"x"},"usage":{'
                  . '"prompt_tokens":1,"completion_tokens":1}}' ],
    choice   => [ word('a'), '{"choices":[{"index":0,"delta":{},'
                  . '"finish_reason":"stop","usage":{"prompt_tokens":20,'
                  . '"completion_tokens":7,"total_tokens":27}}]}' ],
    words    => [ (word('word ')) x 2000, $STOP ],
    big      => [ (word($TEXT)) x 3, $STOP ],
    thoughts => [ (map { s/content/reasoning_content/r } (word($TEXT)) x 3),
                  $STOP ],
    document => '{"choices":[{"index":0,"message":{"content":"' . $TEXT x 3
              . '"},"finish_reason":"stop"}]}',
    insane   => '{"choices":[{"index":0,"message":{"content":"a"},'
              . '"finish_reason":"stop"}],"usage":{"prompt_tokens":2147483000,'
              . '"completion_tokens":2147483000}}',
    partly   => '{"choices":[{"index":0,"message":{"content":"' . $TEXT
              . '"},"finish_reason":"stop"}],"usage":{"prompt_tokens":20}}',
    total    => '{"data":[{}],"usage":{"total_tokens":700}}',
    anthropic => '{"choices":[{"index":0,"message":{"content":"a"},'
              . '"finish_reason":"stop"}],"usage":{"input_tokens":1000,'
              . '"cache_read_input_tokens":500,"output_tokens":7}}',
);

sub word {
    return '{"choices":[{"index":0,"delta":{"content":' . JSON::PP->new
           ->allow_nonref->encode($_[0]) . '},"finish_reason":null}]}';
}

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $answer = $answer{$req->{json}{user}};

    return json(JSON::PP::decode_json($answer)) if !ref $answer;
    return sse(map { "data: $_\n\n" } @$answer, '[DONE]');
});

my $gw = LLM::Nginx->new(
    vars => { P => $p },
    access_format => '$http_x_tag|$llm_usage_source|$llm_prompt_tokens|'
                     . '$llm_completion_tokens|$llm_total_tokens|$llm_cost',
    http => <<"CONF");
    llm_quota_zone z key=\$http_x_who tokens=$LIMIT/month;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model default { target p price=1,1; }

    server {
        listen 127.0.0.1:%%PORT%%;
        location /v1/ { llm_quota z; llm_pass; }
    }
CONF

my $tags = 0;

sub ask {
    my ($who, $user, $path, %more) = @_;
    my $r = post_json($gw, $path || $CHAT,
                      { model => $user, user => $user, max_tokens => 16,
                        stream => ref $answer{$user} ? JSON::PP::true()
                                                     : JSON::PP::false(),
                        %more },
                      headers => [ [ 'X-Who', $who ],
                                   [ 'X-Tag', 'tag-' . ++$tags ] ]);
    my ($line) = $gw->wait_log(qr/^tag-$tags\|/) =~ /\|(.*)/;
    return ($r, split /\|/, $line);
}

sub left {
    my ($who) = @_;
    my ($r) = ask($who, 'probe');
    return $r->header('x-ratelimit-remaining-tokens');
}

my $probe = $LIMIT - left('nobody');

# what the quota was charged, and what the log says
sub charged {
    my ($user, @more) = @_;
    my (undef, @log) = ask($user, $user, @more);
    return ($LIMIT - left($user) - $probe, @log);
}


for (qw(null negative absurd zeros error choice)) {
    my ($charged, @log) = charged($_);
    is("$charged @log", '27 provider 20 7 27 0.000027000',
       "usage and then $_: the good usage is charged");
}

for ([ words => 2000, 'a token for each event' ],
     [ big => 3000, 'events of 4 KB' ],
     [ thoughts => 3000, 'reasoning' ],
     [ document => 3000, 'a document' ])
{
    my ($user, $tokens, $name) = @$_;
    my ($charged, $source, $prompt, $completion, $total, $cost)
        = charged($user);
    between($completion, $tokens * 0.9, $tokens * 1.3,
            "no usage, $name: the text is charged");
    is($source, 'estimated', '  as an estimate');
    is($total, $prompt + $completion, '  the total is the sum');
    is($charged, $total, '  the quota was charged what the log shows');
    is($cost, sprintf('%.9f', $total / 1e6), '  and so was the cost');
}

{
    my ($charged, @log) = charged('partly');
    is($log[0], 'provider', 'a usage without completion is used');
    is($log[1], 20, '  its completion is estimated');
    between($charged, 900, 1300, '  which is charged');

    ($charged, @log) = charged('total', '/v1/embeddings');
    is("$charged @log", '700 provider 700 - 700 0.000700000',
       'a total alone is the prompt of embeddings');

    ($charged, @log) = charged('anthropic');
    is("@log[0 .. 3]", 'provider 1500 7 1507',
       'tokens that were read from the cache are part of the prompt');
    is($charged, 1507, '  and are charged');

    ($charged, @log) = charged('insane');
    between($charged, 2_000_000, 2_010_000, 'a usage beyond any request is limited');
    is($log[3], $charged, '  in the log too');
    like(slurp($gw->dir . '/error.log'), qr/\[warn\].* is too large for its request/,
         '  with a warning');
}

$gw->done;
done_testing;
