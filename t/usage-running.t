#!/usr/bin/perl

# A stream that ends early is charged by the text that has been passed, although
# its first events have a usage; events without output are not charged.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use JSON::PP ();

my $CHAT = '/v1/chat/completions';
my $LIMIT = 900_000_000;
my $TEXT = 'The quick brown fox jumps over the lazy dog. ' x 90;
my $STOP = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}';

sub word {
    my ($text, $completion) = @_;
    my $usage = defined $completion
        ? qq(,"usage":{"prompt_tokens":20,"completion_tokens":$completion})
        : '';
    return qq({"choices":[{"index":0,"delta":{"content":"$text"},)
           . qq("finish_reason":null}]$usage});
}

my %events = (
    cut      => [ map { word($TEXT, 1) } 1 .. 3 ],
    counted  => [ map { word($TEXT, 1000 * $_) } 1 .. 3 ],
    complete => [ (map { word($TEXT, 1) } 1 .. 3), $STOP, '[DONE]' ],
    alive    => [ word('a'),
                  (map { '{"object":"chat.completion.chunk","choices":[]}' }
                       1 .. 500), $STOP, '[DONE]' ],
);

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $events = $events{$req->{json}{user}};

    return sse(map { "data: $_\n\n" } @$events) if $events;
    return json(JSON::PP::decode_json(
        '{"choices":[{"index":0,"message":{"content":"."},'
        . '"finish_reason":"stop"}],"usage":{"prompt_tokens":0,'
        . '"completion_tokens":0,"total_tokens":0}}'));
});

my $gw = LLM::Nginx->new(
    vars => { P => $p },
    access_format => '$http_x_tag|$llm_prompt_tokens|$llm_completion_tokens|'
                     . '$llm_total_tokens',
    http => <<"CONF");
    llm_quota_zone z key=\$http_x_who tokens=$LIMIT/month;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model default { target p; }

    server {
        listen 127.0.0.1:%%PORT%%;
        location /v1/ { llm_quota z; llm_pass; }
    }
CONF

my $tags = 0;

sub ask {
    my ($who, $user) = @_;
    my $r = post_json($gw, $CHAT,
                      { model => $user, user => $user, max_tokens => 16,
                        stream => $events{$user} ? JSON::PP::true()
                                                 : JSON::PP::false() },
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

sub charged {
    my ($user) = @_;
    my (undef, @log) = ask($user, $user);
    return ($LIMIT - left($user) - $probe, @log);
}


my ($charged, @log) = charged('cut');
between($charged, 2700, 4000, 'a cut stream, usage of 1 token: by its text');
is($log[0], 20, '  the prompt is the one of the usage');
is($log[2], $charged, '  the variables show the charged tokens');

($charged, @log) = charged('counted');
is("$charged @log", '3020 20 3000 3020',
   'a cut stream whose usage follows its text: by the usage');

($charged, @log) = charged('complete');
is("$charged @log", '21 20 1 21', 'a complete stream: by the usage');

($charged, @log) = charged('alive');
between($charged, 10, 80, 'events without output are not charged');

$gw->expect_error(qr/llm_provider "p" cut its answer short/);
$gw->done;
done_testing;
