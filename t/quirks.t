#!/usr/bin/perl

# What a server lacks of OpenAI's API is spared it: "quirks" of llm_provider
# rename max_completion_tokens and cut stream_options out.  What is left is
# JSON in every position, nothing else changes (REQ-45), the next provider
# gets the client's own body (REQ-24), and no usage is lost or left out.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $FINISH = { choices => [ { index => 0, delta => {},
                              finish_reason => 'stop' } ],
               usage => { prompt_tokens => 9, completion_tokens => 4,
                          total_tokens => 13 } };
my $USAGE = { choices => [], usage => $FINISH->{usage} };

# usage in the finish chunk; or in a chunk of its own, asked for or not

my $p = LLM::Fake->new(answer => sub {
    my $json = $_[0]{json};
    return json({ fine() }) unless $json->{stream};
    return sse($FINISH, ($json->{user} // '') eq 'chunk' ? $USAGE : (),
               '[DONE]');
});

my $down = LLM::Fake->new(answer => sub { (status(503), json({})) });

my $gw = LLM::Nginx->new(vars => { P => $p, DOWN => $down },
    access_format => '$llm_usage_source $llm_total_tokens $http_x_tag',
    server => <<'CONF',
    location /v1/ { llm_pass; }
    location /named/v1/ { llm_pass both; }
CONF
    http => <<'CONF');
    llm_provider limit { endpoint http://127.0.0.1:%%P%%;
                         quirks max_tokens; }
    llm_provider options { endpoint http://127.0.0.1:%%P%%;
                           quirks no_stream_options; }
    llm_provider both { endpoint http://127.0.0.1:%%P%%;
                        quirks max_tokens no_stream_options; }
    llm_provider down { endpoint http://127.0.0.1:%%DOWN%%;
                        quirks max_tokens no_stream_options; }
    llm_provider plain { endpoint http://127.0.0.1:%%P%%; }

    llm_model limit { target limit m; }
    llm_model options { target options m; }
    llm_model both { target both m; }
    llm_model moved { target down m; target plain m; }
CONF


# max_completion_tokens; @ is the model

for ([ '{"model":"@","max_completion_tokens":5}',
       '{"model":"@","max_tokens":5}', 'is renamed' ],
     [ '{ "max_completion_tokens" : 5 , "model":"@" }',
       '{ "max_tokens" : 5 , "model":"@" }', 'is renamed, first' ],
     [ '{"model":"@","max_tokens":7,"max_completion_tokens":5}',
       '{"model":"@","max_tokens":7}', 'gives way to max_tokens' ],
     [ '{"max_completion_tokens":5, "model":"@","max_tokens":7}',
       '{"model":"@","max_tokens":7}', 'gives way to one behind it' ],
     [ '{"max_tokens":null,"max_completion_tokens":5,"model":"@"}',
       '{"max_tokens":5,"model":"@"}', 'is more than null' ],
     [ '{"max_completion_tokens":5,"model":"@","max_tokens" : null}',
       '{"max_tokens":5,"model":"@"}', 'is more than null behind it' ],
     [ '{"max_completion_tokens":null,"model":"@","max_tokens":null}',
       '{"max_tokens":null,"model":"@"}', 'null is renamed as well' ],
     [ '{"max_completion_tokens":null,"model":"@","max_tokens":7}',
       '{"model":"@","max_tokens":7}', 'null gives way' ],
     [ '{"model":"@","max_tokens":7}', '{"model":"@","max_tokens":7}',
       'that is not there changes nothing' ],
     [ '{"model":"@","a":{"max_completion_tokens":5}}',
       '{"model":"@","a":{"max_completion_tokens":5}}', 'inside stays' ])
{
    sent('limit', $_->[0], $_->[1], "max_completion_tokens $_->[2]");
}

sent('limit', '{"model":"@","max_completion_tokens":5,"stream":true}',
     '{"stream_options":{"include_usage":true},"model":"@","max_tokens":5,'
     . '"stream":true}', 'usage is asked for beside it');

sent('options', '{"model":"@","max_completion_tokens":5}',
     '{"model":"@","max_completion_tokens":5}', 'it is left to the others');


# stream_options

for my $options ('null', '{}', '{"include_usage": true}',
                 '{"include_usage":false,"x":[{}]}')
{
    for ([ '{"stream_options":@@,"model":"@","stream":true}',
           '{"model":"@","stream":true}', 'first' ],
         [ '{"model":"@","stream_options" : @@ ,"stream":true}',
           '{"model":"@" ,"stream":true}', 'in the middle' ],
         [ '{"model":"@","stream":true, "stream_options":@@ }',
           '{"model":"@","stream":true }', 'last' ])
    {
        my ($body, $want, $where) = @$_;
        sent('options', $body =~ s/@@/$options/r, $want,
             "stream_options $options is cut out, $where");
    }
}

sent('options', '{"model":"@","stream":true}', '{"model":"@","stream":true}',
     'none is put in');


# both at once, side by side or not, with the model put in, too

my @members = ('"stream_options":{}', '"max_tokens":null', '"a":[]',
               '"max_completion_tokens":5');

for my $order ([ 0 .. 3 ], [ 3, 2, 1, 0 ], [ 1, 0, 2, 3 ], [ 2, 0, 1, 3 ],
               [ 3, 0, 1, 2 ], [ 2, 3, 0, 1 ], [ 0, 2, 1, 3 ], [ 1, 3, 2, 0 ])
{
    my $body = join ',', map { $members[$_] } @$order;
    my $want = join ',', map { $members[$_] =~ s/completion_//r }
                         grep { $_ > 1 } @$order;
    sent('both', "{\"model\":\"@\",$body}", "{\"model\":\"@\",$want}",
         "REQ-45 $body");
    sent('both', "{$body,\"model\":\"@\"}", "{$want,\"model\":\"@\"}",
         '  before the model');
    sent('both', "{$body}", "{\"model\":\"m\",$want}",
         '  without a model', '/named/v1');
}

for ([ '{"stream_options":{}}', '{"model":"m"}' ],
     [ '{ "stream_options" : {} , "model":null }', '{ "model":"m" }' ],
     [ '{"max_completion_tokens":1,"stream_options":{}}',
       '{"model":"m","max_tokens":1}' ])
{
    sent('both', $_->[0], $_->[1], "REQ-45 $_->[0] and a name", '/named/v1');
}


# the next provider gets the client's body

{
    my $body = '{"model":"moved","stream_options":{},"max_completion_tokens":5,'
               . '"stream":false}';
    my $r = post_json($gw, '/v1/chat/completions', $body);
    is($r->status, 200, 'REQ-24 a quirky provider fails');
    is(($down->requests)[-1]{body},
       '{"model":"m","max_tokens":5,"stream":false}',
       'REQ-24   that got what it takes');
    is(($p->requests)[-1]{body}, $body =~ s/moved/m/r,
       'REQ-24   and the next one what the client sent');
}

{
    my $r = post_json($gw, '/v1/chat/completions',
                      '{"model":"moved","stream":true,"user":"chunk"}');
    is(scalar($r->sse_data), 2,
       'usage the next provider was asked for is left out again');
}


# usage that comes unasked is the client's

for ([ 'in the finish chunk', '{"model":"options","stream":true}', 2 ],
     [ 'in a chunk of its own',
       '{"model":"options","stream":true,"user":"chunk"}', 3 ],
     [ 'in a chunk asked for',
       '{"model":"options","stream":true,"user":"chunk",'
       . '"stream_options":{"include_usage":true}}', 3 ])
{
    my ($what, $body, $events) = @$_;
    my $tag = "tag-" . $what =~ tr/ /-/r;
    my $r = post_json($gw, '/v1/chat/completions', $body,
                      headers => [ [ 'X-Tag', $tag ] ]);
    my @data = $r->sse_data;
    is(scalar(@data), $events, "usage $what passes");
    like($r->body, qr/"total_tokens":13/, '  and is there');
    is($gw->wait_log(qr/\Q$tag\E$/), "provider 13 $tag", '  and in the log');
}

$gw->done;
done_testing;


sub sent {
    my ($model, $body, $want, $what, $path) = @_;

    $path //= '/v1';
    my $r = post_json($gw, "$path/chat/completions", $body =~ s/@/$model/r);
    is($r->status, 200, $what) or diag($r->body);

    my $req = ($p->requests)[-1];
    is($req->{body}, $want =~ s/@/m/r, '  and nothing else changes');
    is($req->{headers}{'content-length'}, length $req->{body},
       '  with its length');
}
