#!/usr/bin/perl

# The conditions of llm_next_provider that responses meet although they are no
# failures, in JSON and in streams; and targets whose context is too small for
# the prompt.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $CHAT = '/v1/chat/completions';

sub choice {
    my ($content, $finish) = @_;
    return json({ id => 'p', object => 'chat.completion', choices => [
        { index => 0, message => { role => 'assistant', content => $content },
          finish_reason => $finish } ],
        usage => { prompt_tokens => 10, completion_tokens => 2,
                   total_tokens => 12 } });
}

sub stream {
    my (@deltas) = @_;
    my $finish = pop @deltas;
    return sse((map { { choices => [ { index => 0, delta => $_ } ] } }
                { role => 'assistant' }, @deltas),
               { choices => [ { index => 0, delta => {},
                                finish_reason => $finish } ] }, '[DONE]');
}

sub refusal {
    my ($status, $message, $code) = @_;
    return (status($status), json({ error => { message => $message,
        type => 'invalid_request_error', code => $code } }));
}

my %answer = (
    openai => sub { refusal(400, 'x', 'context_length_exceeded') },
    vllm => sub { refusal(400, q(This model's maximum context length is 9 )
                               . 'tokens.', undef) },
    claude => sub { refusal(400, 'prompt is too long: 9 tokens > 8 maximum') },
    gemini => sub { refusal(400, 'The input token count (9) exceeds the '
                                 . 'maximum number of tokens allowed (8).') },
    azure => sub { refusal(400, 'The response was filtered',
                           'content_filter') },
    other => sub { refusal(400, 'temperature is invalid', 'invalid_value') },
    inner => sub { json({ error => { message => 'x',
                                     code => 'context_length_exceeded' } }) },
    filter => sub { choice('partly', 'content_filter') },
    empty => sub { choice('', 'stop') },
    null => sub { choice(undef, 'stop') },
    length => sub { choice('cut', 'length') },
    text => sub { choice('Sure! {"a":1}', 'stop') },
    json => sub { choice('{"a":1}', 'stop') },
    sse_empty => sub { stream('stop') },
    sse_filter => sub { stream('content_filter') },
    sse_length => sub { stream('length') },
    sse_error => sub { sse({ error => { message => 'x',
                             code => 'context_length_exceeded' } }) },
    sse_said => sub { stream({ content => 'said' }, 'length') },
);

my $p = LLM::Fake->new(answer => sub {
    return (close_after, $answer{$_[0]{json}{user}}->());
});

my $q = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    return status(500) if ($req->{json}{metadata} // '') eq 'fails';
    return stream({ content => 'q' }, 'stop') if $req->{json}{stream};
    return choice('q', 'stop');
});

my @conditions = qw(context_length content_filter no_content length
                    invalid_json);

my $locations = join '', map {
    "location /$_/ { llm_pass; llm_next_provider $_; }\n"
} @conditions;

my $gw = LLM::Nginx->new(vars => { P => $p, Q => $q },
    access_format => '$http_x_tag|$llm_attempts|$llm_cost|',
    http => <<"CONF");
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; key a; key b; }
llm_provider q { endpoint http://127.0.0.1:%%Q%%/v1; }
llm_model m { target p m price=1,1; target q m backup price=1,1; }
llm_model sole { target p; }
llm_model small { target p m context=100; target q m context=2k; }
server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_pass; }
    $locations
    location /all/ { llm_pass; llm_next_provider http_5xx @conditions; }
}
CONF

my $tag = 0;

sub asked {
    my ($path, $user, %body) = @_;
    $tag++;
    my $res = post_json($gw, "$path$CHAT", { model => 'm', user => $user,
        messages => [ { role => 'user', content => 'x' } ], %body },
        headers => [ [ 'X-Tag', $tag ] ]);
    $gw->wait_log(qr/^$tag\|/m);
    my ($attempts, $cost) = $gw->access_log =~ /^$tag\|(.*)\|(.*)\|$/m;
    $attempts =~ s/:\d+ms//g;
    return ($res, $attempts, $cost);
}

my %schema = (response_format => { type => 'json_schema', json_schema => {} });
my %sse = (stream => JSON::PP::true());

for ([ 'context_length', 'openai' ], [ 'context_length', 'vllm' ],
     [ 'context_length', 'claude' ], [ 'context_length', 'gemini' ],
     [ 'context_length', 'inner' ], [ 'context_length', 'sse_error', %sse ],
     [ 'content_filter', 'azure' ], [ 'content_filter', 'filter' ],
     [ 'content_filter', 'sse_filter', %sse ],
     [ 'no_content', 'empty' ], [ 'no_content', 'null' ],
     [ 'no_content', 'sse_empty', %sse ],
     [ 'length', 'length' ], [ 'length', 'sse_length', %sse ],
     [ 'invalid_json', 'text', %schema ])
{
    my ($condition, $user, %body) = @$_;
    my ($res, $attempts) = asked("/$condition", $user, %body);
    is($attempts, "p:$condition,q:200",
       "$condition: response \"$user\" is given up for the next target");
    is($res->status, 200, '  whose response the client has');

    ($res, $attempts) = asked('', $user, %body);
    unlike($attempts, qr/\Q$condition\E/,
           '  but not if the condition is not configured');

    ($res, $attempts) = asked("/$condition", $user, %body, model => 'sole');
    unlike($attempts, qr/,|\Q$condition\E/,
           '  and without another target the response is passed');
}

for ([ 'context_length', 'other', 400 ], [ 'content_filter', 'openai', 400 ],
     [ 'length', 'filter', 200 ], [ 'no_content', 'length', 200 ],
     [ 'invalid_json', 'text', 200 ],
     [ 'invalid_json', 'json', 200, %schema ],
     [ 'length', 'sse_said', 200, %sse ])
{
    my ($condition, $user, $status, %body) = @$_;
    my ($res, $attempts) = asked("/$condition", $user, %body);
    is($attempts, "p:$status",
       "$condition: response \"$user\" does not meet it");
    is($res->status, $status, '  and is passed');
}

{
    my ($res, $attempts, $cost) = asked('/all', 'length',
                                        metadata => 'fails');
    is($attempts, 'p:length,q:500', 'the next target fails');
    is($res->status, 200, '  the response that met the condition is passed');
    is($res->json->{choices}[0]{message}{content}, 'cut', '  as it was');
    is($cost, '0.000012000', '  and is charged');
}


# Context

sub long {
    my ($words) = @_;
    return (model => 'small', messages => [ { role => 'user',
        content => join ' ', ('word') x $words } ]);
}

{
    my ($res, $attempts) = asked('', 'json', long(5));
    is($attempts, 'p:200', 'a prompt within the context of each target');
    ($res, $attempts) = asked('', 'json', long(700));
    is($attempts, 'q:200', 'a target with a smaller context is passed over');
    ($res, $attempts) = asked('', 'json', long(20_000));
    is($attempts, '-', 'a prompt beyond the context of all targets');
    is($res->status, 400, '  is refused');
    my $error = $res->json->{error};
    is($error->{code}, 'context_length_exceeded', '  with its code');
    is($error->{type}, 'invalid_request_error', '  its type');
    is($error->{param}, 'messages', '  its param');
    like($error->{message}, qr/maximum context length is 2000 tokens/,
         '  and the largest context');
}

$gw->done;


# nginx -t

sub check {
    my ($text) = @_;
    return LLM::Nginx->check(http => $text);
}

for my $n ('', '0', '-1', '1.5', 'x', 'k', '1001m', '9999999999999999999') {
    my ($status, $said) = check("llm_provider p { endpoint http://127.0.0.1:1; }"
                                . " llm_model m { target p m context=$n; }");
    ok($status && $said =~ /invalid context "\Q$n\E" of target, 1 to 1000000000 tokens are expected/,
       "refused: context=$n") or diag($said);
}

{
    my ($status, $said) = check("llm_provider p { endpoint http://127.0.0.1:1; }"
        . ' llm_model m { target p m context=1k context=2k; }');
    like($said, qr/has a duplicate context=/, 'refused: two contexts');
    ($status, $said) = check('server { llm_next_provider lenght; }');
    like($said, qr/invalid condition "lenght"/, 'refused: another condition');
}

done_testing();
