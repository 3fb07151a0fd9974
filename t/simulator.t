#!/usr/bin/perl

# The simulator (t/simulator/): it answers as the provider would, in shape and
# order; it does what its settings say; the request is read right in any
# pieces; and neither a slow client, an impatient one nor an endless answer
# costs it memory or its life.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use JSON::PP ();
use MIME::Base64 qw(decode_base64);

use LLM::H2;

my $CHAT = '/v1/chat/completions';
my $TEXT = 'This is the nginx LLM simulator: no model was asked, '
         . 'every word is canned.';

my @modules = $ENV{LLM_STATIC} ? ()
            : (($ENV{LLM_BUILD} || root_dir() . '/build')
               . '/ngx_http_llm_simulator_module.so');

my $sim = LLM::Nginx->new(module => 0, modules => \@modules,
                          access_format => '$request $status "$http_x_tag"',
                          http => <<'CONF');
client_max_body_size 64m;
send_timeout 60s;

server {
    listen 127.0.0.1:%%PORT%%;
    listen 127.0.0.1:%%PORT_1%% http2;

    location /v1/ { llm_simulator; }

    location /if/ {
        if ($arg_x) { set $y 1; }
        llm_simulator;
    }

    location /except/ {
        limit_except GET { llm_simulator; }
        return 403;
    }

    # reads the body first, and what is long into a file
    location /mirrored/ {
        client_body_buffer_size 1k;
        mirror /nowhere;
        llm_simulator;
    }

    location = /nowhere { return 204; }
}
CONF

my ($worker) = $sim->worker_pids;


# a chat whose settings come with the model's name

sub chat {
    my ($settings, %more) = @_;
    my $opt = delete $more{opt} || {};
    return post_json($sim, $CHAT,
                     { model => "sim:$settings",
                       messages => [ { role => 'user', content => 'hi' } ],
                       %more }, %$opt);
}

sub stream { return chat(@_, stream => JSON::PP::true) }

sub usage_ok {
    my ($usage, $completion, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is_deeply([ $usage->{completion_tokens},
                $usage->{total_tokens} - $usage->{prompt_tokens} ],
              [ $completion, $completion ], $name);
    cmp_ok($usage->{prompt_tokens}, '>', 0, "$name, and of the prompt");
}


subtest 'chat completions, JSON' => sub {
    my $r = post_json($sim, $CHAT, { model => 'gpt-4o', messages => [] });

    is($r->status, 200, 'status');
    is($r->header('Content-Type'), 'application/json', 'content type');
    is($r->header('Content-Length'), length $r->body, 'content length');
    like($r->header('x-request-id'), qr/^req_sim_[0-9a-f]{24}$/,
         'request id');
    like($r->header('openai-processing-ms'), qr/^\d+$/, 'processing time');

    my $a = $r->json;
    like($a->{id}, qr/^chatcmpl-[0-9a-f]{24}$/, 'id');
    is($a->{object}, 'chat.completion', 'object');
    is($a->{model}, 'gpt-4o', 'the model is echoed');
    between($a->{created}, time - 5, time + 1, 'created now');
    json_is($a->{choices},
            [ { index => 0, finish_reason => 'stop', logprobs => undef,
                message => { role => 'assistant', content => $TEXT,
                             refusal => undef, annotations => [] } } ],
            'one choice');
    usage_ok($a->{usage}, 16, 'usage');

    my $b = post_json($sim, $CHAT, { model => 'gpt-4o', messages => [] })->json;
    isnt($b->{id}, $a->{id}, 'every answer has an id of its own');
};


subtest 'chat completions, stream' => sub {
    my $r = stream('tokens=20');

    is($r->status, 200, 'status');
    is($r->header('Content-Type'), 'text/event-stream', 'content type');
    ok($r->clean_end, 'a proper end');
    is($r->sse_rest, '', 'no half event');

    my @data = $r->sse_data;
    is(pop @data, '[DONE]', 'the last event');

    my @chunks = $r->sse_json;
    is(@chunks, 22, 'role, 20 deltas, finish');
    json_is($chunks[0]{choices},
            [ { index => 0, logprobs => undef, finish_reason => undef,
                delta => { role => 'assistant', content => '',
                           refusal => undef } } ], 'the role comes first');
    json_is($chunks[1]{choices},
            [ { index => 0, logprobs => undef, finish_reason => undef,
                delta => { content => 'This' } } ], 'then content');
    json_is($chunks[-1]{choices},
            [ { index => 0, logprobs => undef, finish_reason => 'stop',
                delta => {} } ], 'then the finish reason');

    is((grep { exists $_->{usage} } @chunks), 0, 'usage was not asked for');
    is((grep { $_->{object} ne 'chat.completion.chunk'
               || $_->{id} ne $chunks[0]{id}
               || $_->{created} ne $chunks[0]{created}
               || $_->{model} ne 'sim:tokens=20' } @chunks), 0,
       'all chunks have the same id, time and model');
    is($r->text, "$TEXT Tokens pass like leaves", 'the text');
    is($r->text, chat('tokens=20')->text, 'JSON says the same');
};


subtest 'usage in a stream' => sub {
    my @chunks = stream('tokens=3', n => 2, stream_options =>
                        { include_usage => JSON::PP::true })->sse_json;

    my $last = pop @chunks;
    json_is($last->{choices}, [], 'an extra chunk without choices');
    usage_ok($last->{usage}, 6, 'counts all choices');
    is((grep { !exists $_->{usage} || defined $_->{usage} } @chunks), 0,
       'the others have "usage":null');

    @chunks = stream('tokens=1', stream_options =>
                     { include_usage => JSON::PP::false })->sse_json;
    is((grep { exists $_->{usage} } @chunks), 0, 'false is no');
};


subtest 'choices' => sub {
    my $a = chat('tokens=2', n => 3)->json;
    is_deeply([ map { [ $_->{index}, $_->{message}{content} ] }
                @{ $a->{choices} } ],
              [ map { [ $_, 'This is' ] } 0 .. 2 ], 'three, JSON');
    usage_ok($a->{usage}, 6, 'usage of three');

    my %text;
    for my $chunk (stream('tokens=2', n => 3)->sse_json) {
        $text{ $_->{index} } .= $_->{delta}{content} // '!'
            for @{ $chunk->{choices} };
    }
    is_deeply(\%text, { map { $_ => 'This is!' } 0 .. 2 },
              'three, stream');

    is(chat('', n => 8)->status, 200, 'eight');
    for my $n (0, 9, 1.5) {
        my $r = chat('', n => $n);
        is($r->status, 400, "n=$n is refused");
        is($r->json->{error}{param}, 'n', '  and named');
    }
};


subtest 'the answer is cut at max_tokens' => sub {
    for my $name (qw(max_tokens max_completion_tokens)) {
        my $a = chat('tokens=10', $name => 4)->json;
        is($a->{choices}[0]{message}{content}, 'This is the nginx', $name);
        is($a->{choices}[0]{finish_reason}, 'length', '  with the reason');
        usage_ok($a->{usage}, 4, '  and the usage');
    }

    is((stream('tokens=10', max_tokens => 4)->sse_json)[-1]
       {choices}[0]{finish_reason}, 'length', 'stream');
    is(chat('tokens=4', max_tokens => 4)->json->{choices}[0]{finish_reason},
       'stop', 'not when it is just enough');
    is(chat('tokens=2', max_tokens => undef)->text, 'This is', 'null is none');
    is(chat('tokens=0')->text, '', 'no token at all');
    is(stream('tokens=0')->text, '', '  in a stream');
};


subtest 'text completions' => sub {
    my $a = post_json($sim, '/v1/completions',
                      { model => 'sim:tokens=3', prompt => 'x' })->json;
    like($a->{id}, qr/^cmpl-/, 'id');
    is($a->{object}, 'text_completion', 'object');
    json_is($a->{choices}, [ { index => 0, text => 'This is the',
                               logprobs => undef, finish_reason => 'stop' } ],
            'choices');

    my $r = post_json($sim, '/v1/completions',
                      { model => 'sim:tokens=3', prompt => 'x',
                        stream => JSON::PP::true });
    my @chunks = $r->sse_json;
    is(join('|', map { $_->{choices}[0]{text} } @chunks), 'This| is| the|',
       'stream');
    is($chunks[-1]{choices}[0]{finish_reason}, 'stop', '  finish reason');
    is($chunks[0]{object}, 'text_completion', '  object');
    is(($r->sse_data)[-1], '[DONE]', '  end');
};


subtest 'responses' => sub {
    my $a = post_json($sim, '/v1/responses',
                      { model => 'sim:tokens=3', input => 'x' })->json;
    is($a->{object}, 'response', 'object');
    is($a->{status}, 'completed', 'status');
    is($a->{output}[0]{content}[0]{text}, 'This is the', 'text');
    is($a->{usage}{output_tokens}, 3, 'usage');
    is($a->{usage}{total_tokens}, 3 + $a->{usage}{input_tokens}, '  in total');

    my $r = post_json($sim, '/v1/responses',
                      { model => 'sim:tokens=3', input => 'x',
                        stream => JSON::PP::true });
    my @events = $r->events;
    my @data = $r->sse_json;

    is_deeply([ map { $_->{event} } @events ], [
        'response.created', 'response.in_progress',
        'response.output_item.added', 'response.content_part.added',
        ('response.output_text.delta') x 3,
        'response.output_text.done', 'response.content_part.done',
        'response.output_item.done', 'response.completed' ], 'events');
    is_deeply([ map { $_->{type} } @data ], [ map { $_->{event} } @events ],
              'each has its name as its type');
    is_deeply([ map { $_->{sequence_number} } @data ], [ 0 .. $#events ],
              'numbered from 0');

    is(join('', map { $_->{delta} // '' } @data), 'This is the', 'deltas');
    is($data[7]{text}, 'This is the', 'text in output_text.done');
    is($data[8]{part}{text}, 'This is the', '  in content_part.done');
    is($data[9]{item}{content}[0]{text}, 'This is the',
       '  in output_item.done');

    my $done = $data[-1]{response};
    is($done->{output}[0]{content}[0]{text}, 'This is the',
       '  in response.completed');
    is($done->{usage}{output_tokens}, 3, '  which has the usage');
    is_deeply([ map { $data[$_]{response}{usage} } 0, 1 ], [ undef, undef ],
              'the first two have none');

    my $cut = post_json($sim, '/v1/responses',
                        { model => 'sim:tokens=3', input => 'x',
                          max_output_tokens => 2, stream => JSON::PP::true });
    my $last = ($cut->sse_json)[-1];
    is($last->{type}, 'response.incomplete', 'cut: the last event');
    is($last->{response}{status}, 'incomplete', '  the status');
    is($last->{response}{incomplete_details}{reason}, 'max_output_tokens',
       '  the reason');
};


subtest 'embeddings' => sub {
    my $embed = sub {
        return post_json($sim, '/v1/embeddings',
                         { model => 'e', input => 'x', @_ });
    };

    my $a = $embed->(input => [ 'x', 'y' ], dimensions => 5)->json;
    is($a->{object}, 'list', 'object');
    is_deeply([ map { [ $_->{object}, $_->{index},
                        scalar @{ $_->{embedding} } ] } @{ $a->{data} } ],
              [ [ 'embedding', 0, 5 ], [ 'embedding', 1, 5 ] ],
              'one per input, as long as asked for');
    isnt(canon($a->{data}[0]{embedding}), canon($a->{data}[1]{embedding}),
         'each its own');

    for my $n (1 .. 7, 1536) {
        my @float = @{ $embed->(dimensions => $n)->json
                       ->{data}[0]{embedding} };
        my $text = $embed->(dimensions => $n, encoding_format => 'base64')
                   ->json->{data}[0]{embedding};
        my @base64 = unpack 'f<*', decode_base64($text);
        is(@base64, $n, "$n numbers in base64");
        is((grep { abs($float[$_] - $base64[$_]) > 1e-6 } 0 .. $#float), 0,
           '  are the same');
    }

    is(@{ $embed->()->json->{data}[0]{embedding} }, 8, 'eight by default');

    my %inputs = (
        'a string'         => [ 'x', 1 ],
        'two strings'      => [ [ 'x', 'y' ], 2 ],
        'a token array'    => [ [ 1, 2, 3 ], 1 ],
        'two token arrays' => [ [ [ 1, 2 ], [ 3, 4 ] ], 2 ],
        'odd strings'      => [ [ 'a,"b', '[', '\\', ']', '' ], 5 ],
        'most'             => [ [ ('x') x 2048 ], 2048 ],
    );
    for my $name (sort keys %inputs) {
        my ($input, $n) = @{ $inputs{$name} };
        is(@{ $embed->(input => $input, dimensions => 1)->json->{data} }, $n,
           "$name");
    }

    is($embed->(input => [])->status, 400, 'an empty array is refused');
    is($embed->(input => [ ('x') x 2049 ])->status, 400, 'and too many');
    is($embed->(dimensions => 3073)->status, 400, 'and too long a vector');
};


subtest 'moderations, images, models' => sub {
    my $a = post_json($sim, '/v1/moderations', { input => [ 'x', 'y' ] })
            ->json;
    is(@{ $a->{results} }, 2, 'a result per input');
    is(keys %{ $a->{results}[0]{categories} }, 13, '  of 13 categories');
    is($a->{results}[0]{flagged}, JSON::PP::false, '  not flagged');

    $a = post_json($sim, '/v1/images/generations',
                   { prompt => 'x', n => 2 })->json;
    is(@{ $a->{data} }, 2, 'two images');
    like(decode_base64($a->{data}[1]{b64_json}), qr/^\x89PNG\r\n/, '  PNG');

    $a = get($sim, '/v1/models')->json;
    is($a->{object}, 'list', 'the list of models');
    is($a->{data}[0]{id}, 'simulator', '  names one');

    is(get($sim, '/v1/models/a/b:c')->json->{id}, 'a/b:c', 'a model');
    is(get($sim, '/v1/models/sim:status=404')->json->{error}{code},
       'model_not_found', 'a model that does not exist');

    my $r = request($sim, method => 'HEAD', path => '/v1/models');
    is($r->status, 200, 'HEAD');
    cmp_ok($r->header('Content-Length'), '>', 100, '  has the length');
};


subtest 'errors that are asked for' => sub {
    my $r = chat('status=429');
    is($r->status, 429, 'status');
    is($r->header('Retry-After'), '1', 'retry-after');
    is($r->header('Content-Type'), 'application/json', 'content type');
    json_is($r->json, { error => {
                message => 'Rate limit reached for requests.',
                type => 'requests', param => undef,
                code => 'rate_limit_exceeded' } }, 'body');

    $r = stream('status=503,error=out of "order"');
    is($r->status, 503, 'a stream that fails before it begins');
    is($r->header('Retry-After'), undef, '  has no retry-after');
    like($r->json->{error}{message}, qr/^out of /, '  and its own message');

    is(chat('error=x')->status, 500, 'a message alone is a 500');
    is(chat('status=418')->status, 418, 'any status');
    is(chat('status=200,error=x')->status, 200, '200 is no error');

    $r = chat('tokens=5,status=500', opt => {
        headers => [ [ 'X-Simulate', 'status=200, tokens=2' ] ] });
    is($r->status, 200, 'the header wins');
    is($r->text, 'This is', '  in each setting');

    $r = post_json($sim, $CHAT, '{}',
                   headers => [ [ 'x-simulate', 'status=401' ] ]);
    is($r->json->{error}{code}, 'invalid_api_key',
       'an error needs no good request');
};


subtest '200s that are no answer' => sub {
    my $gw = LLM::Nginx->new(vars => { SIM => $sim },
                             server => 'location / { llm_pass; }',
                             http => <<'CONF');
    llm_provider p { endpoint http://127.0.0.1:%%SIM%%/v1; }
    llm_model default { target p; }
CONF
    $gw->expect_error(qr/llm_provider "p"|llm_model/);

    for my $name (qw(html blank null array scalar empty detail code_msg
                     object_error base_resp cut error error_choices no_choices
                     choice_error event_error event_done event_role))
    {
        my $r = chat("fake=$name");
        is($r->status, 200, "$name is a 200");
        unlike($r->body, qr/"content":"This/, '  without an answer');
        is($r->header('Content-Type'), $name =~ /^event/ ? 'text/event-stream'
           : $name eq 'html' ? 'text/html' : 'application/json',
           '  has its type');

        $r = post_json($gw, $CHAT, { model => "sim:fake=$name",
                                     messages => [] });
        cmp_ok($r->status, '>=', 500, '  and an error behind the gateway');
    }

    is(chat('fake=nonsense')->status, 400, 'an unknown name is refused');
    $gw->done;
};


subtest 'headers of a provider behind a CDN' => sub {
    for my $setting ('tokens=1', 'status=500') {
        my $r = chat($setting);
        ok(defined $r->header($_), "$setting has $_")
            for qw(Set-Cookie Strict-Transport-Security Via Alt-Svc CF-RAY
                   openai-organization x-ratelimit-remaining-tokens);
        is($r->header('Cache-Control'), 'private, no-store',
           '  and forbids a cache');
    }
};


subtest 'requests that are refused' => sub {
    for my $setting (qw(tokens tokens= tokens=x tokens=-1 tokens=100001
                        pace=10 pace=x pace=2h delay=99d size=0 size=65537
                        burst=0 flush=2 status=100 status=302 status=600
                        error= nonsense=1 =1 Tokens=1),
                     "error=\x{7f}")
    {
        my $r = chat("tokens=1,$setting");
        is($r->status, 400, "setting \"$setting\"");
        like($r->json->{error}{message}, qr/^Bad simulator setting: /,
             '  says so');
    }

    my $error = sub {
        my ($r) = @_;
        return [ $r->status, $r->json->{error}{param},
                 $r->json->{error}{code} ];
    };

    for my $body ('', '{', '[]', '{"model":"a"', '"x"', 'x', '1') {
        is_deeply($error->(post_json($sim, $CHAT, $body)),
                  [ 400, undef, undef ], "body '$body'");
    }

    for my $body ('{}', '{"model":1}', '{"model":"' . 'x' x 257 . '"}',
                  "{\"model\":\"a\nb\"}", '{"x":{"model":"a"}}')
    {
        is_deeply($error->(post_json($sim, $CHAT, $body)),
                  [ 400, 'model', undef ],
                  'body ' . substr($body, 0, 30));
    }

    is_deeply($error->(get($sim, '/v1/nothing')),
              [ 404, undef, 'unknown_url' ], 'unknown path');
    is_deeply($error->(get($sim, $CHAT)),
              [ 405, undef, 'method_not_supported' ], 'wrong method');
    is(get($sim, $CHAT)->header('Allow'), 'POST', '  Allow tells the right');
    is(post_json($sim, '/v1/models', '{}')->status, 405,
       'the other way round');
    is(request($sim, method => 'HEAD', path => $CHAT)->status, 405,
       'HEAD where GET is wrong');
};


# The model that is echoed proves what was read.

subtest 'the request is read right' => sub {
    my $model = sub {
        my ($body, %opt) = @_;
        return post_json($sim, $CHAT, $body, %opt)->json->{model};
    };

    my %bodies = (
        'model first'    => '{"model":"right","messages":[]}',
        'model last'     => '{"messages":[{"content":"x"}],"model":"right"}',
        'spaces'         => "\n{ \"n\" : 1 ,\t\"model\"\r\n: \"right\" }\n",
        'in a message'   => '{"messages":[{"content":"\"model\":\"wrong\""}],'
                          . '"model":"right","x":{"model":"wrong"}}',
        'in a nested object' => '{"a":{"model":"wrong","b":[{"model":"w"}]},'
                          . '"model":"right","c":[{"model":"wrong"}]}',
        'as a value'     => '{"x":"model","y":["model","wrong"],'
                          . '"model":"right"}',
        'backslashes'    => '{"a":"\\\\","b":"\\\\\\"","c":"\\\\\\\\",'
                          . '"model":"right","d":"\\""}',
        'the last one'   => '{"model":"wrong","model":"right"}',
        'empty strings'  => '{"":"","a":"","model":"right","b":""}',
        'other scalars'  => '{"a":-1.5e3,"b":null,"c":[1,2,true],'
                          . '"n":1,"stream":false,"model":"right"}',
    );

    for my $name (sort keys %bodies) {
        my $body = $bodies{$name};
        is($model->($body), 'right', $name);
        is($model->($body, chunked => 1, pace => { bytes => 7 }), 'right',
           "$name, chunked by the byte");
        is($model->($body, pace => { bytes => 1, every => 0.0005 }),
           'right', "$name, a byte at a time");
    }

    is($model->('{"model":"a\u00e4\"\\\\b"}'), "a\x{e4}\"\\b",
       'escapes are echoed');

    my $long = '{"messages":[{"content":"'
             . ('some \"text\" \\\\' x 70_000) . '"}],"model":"right"}';
    is($model->($long), 'right', '1 MB');
    is($model->($long, chunked => 30_000), 'right', '1 MB in chunks');
    is($model->($long, expect100 => 1), 'right', '1 MB after 100-continue');

    my $r = post_json($sim, "/mirrored/chat/completions", $long);
    is($r->json->{model}, 'right', '1 MB read by another module');
    cmp_ok($r->json->{usage}{prompt_tokens}, '==', int(length($long) / 4),
       '  all of it');
    is(post_json($sim, "/mirrored/chat/completions", '{"model":"right"}')
       ->json->{model}, 'right', 'a short one read by another module');

    is(post_json($sim, '/if/chat/completions?x=1', '{"model":"a"}')->status,
       200, 'a location with "if" still answers');
    is(post_json($sim, '/except/chat/completions', '{"model":"a"}')->status,
       200, 'inside limit_except');
};


# What is written at a time is a chunk: [size, CRLF, events, CRLF].  Unlike the
# times of arrival these do not depend on how soon the client reads.

subtest 'delay, pace, burst, flush' => sub {
    my $writes = sub { return scalar(() = $_[0]->raw =~ /^[0-9a-f]+\r$/mg) };

    my $r = chat('delay=150ms');
    between($r->time_head - $r->time_sent, 0.14, 1, 'delay, JSON');
    $r = stream('delay=150ms');
    between($r->time_head - $r->time_sent, 0.14, 1, 'delay, stream');
    between($r->header('openai-processing-ms'), 140, 1000, '  is told');

    $r = stream('tokens=1,pace=200ms');
    is($writes->($r), 5, 'pace: four events and the end');
    between($r->time_head - $r->time_sent, 0, 0.19, '  begin at once');
    between($r->time_end - $r->time_sent, 0.59, 2, '  with gaps between');

    $r = stream('tokens=7,pace=100ms,burst=5');
    is($r->events, 10, 'burst: ten events');
    is($writes->($r), 3, '  in two bursts and the end');
    between($r->time_end - $r->time_sent, 0.09, 0.5, '  with a gap between');

    is($writes->(stream('tokens=100,flush=1')), 104, 'flush: a chunk each');
    cmp_ok($writes->(stream('tokens=100')), '<=', 4, 'no flush: few');

    $r = post_json($sim, '/v1/responses',
                   { model => 'sim:tokens=2,flush=1', input => 'x',
                     stream => JSON::PP::true });
    is($writes->($r), 11, 'flush: responses, too');
    is($writes->(stream('tokens=98,flush=1,burst=10')), 12,
       'flush and burst: a chunk for ten');
};


subtest 'tokens and size' => sub {
    for my $size (1, 7, 100, 4096) {
        my $r = stream("tokens=9,size=$size");
        is(length $r->text, 9 * $size, "9 tokens of $size bytes");
        is($r->text, chat("tokens=9,size=$size")->text, '  the same in JSON');
    }
    is(chat('tokens=9,words=7')->text, chat('tokens=9,size=7')->text,
       'words is another name of size');

    # JSON::PP would take half a minute for these

    for my $settings ('tokens=100000', 'tokens=300,size=65536') {
        my ($tokens) = $settings =~ /(\d+)/;
        my $r = chat($settings);
        is($r->header('Content-Length'), length $r->body,
           "$settings: the length is told before");
        ok($r->clean_end, '  and right');
        like($r->body, qr/"completion_tokens":$tokens,.*\}\n\z/, '  usage');
    }

    my $r = stream('tokens=100000');
    is($r->events, 100_003, '100000 tokens in a stream');

    $r = post_json($sim, '/v1/responses',
                   { model => 'sim:tokens=100000', input => 'x',
                     stream => JSON::PP::true });
    my ($deltas, @text) = ('');
    for my $data ($r->sse_data) {
        if ($data =~ /"delta":"([^"]*)"/) { $deltas .= $1 }
        elsif ($data =~ /"text":"([^"]+)"/) { push @text, $1 }
    }
    is(@text, 4, 'a long text in the last four events');
    is((grep { $_ ne $deltas } @text), 0, '  is that of the deltas');
};


subtest 'connections' => sub {
    my $c = LLM::Client->connect($sim);
    for my $body ('{"model":"a"}', '{"model":"sim:status=500"}', '{',
                  '{"model":"a","stream":true}', '{"model":"b"}')
    {
        $c->send_request(method => 'POST', path => $CHAT, body => $body,
                         keepalive => 1);
        ok($c->read_response->clean_end, "kept after $body");
    }
    $c->close;

    my $one = "POST $CHAT HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n";
    $c = LLM::Client->connect($sim);
    $c->send_request(method => 'POST', raw =>
        "$one\r\n{\"model\":\"a\"}${one}Connection: close\r\n\r\n"
        . '{"model":"b"}');
    is($c->read_response->json->{model}, 'a', 'pipelined: the first');
    $c->send_request(raw => '');
    is($c->read_response->json->{model}, 'b', '  the second');

    my $r = post_json($sim, $CHAT, '{"model":"a","stream":true}',
                      version => '1.0');
    is(($r->sse_data)[-1], '[DONE]', 'HTTP/1.0: a stream');
    is($r->header('Transfer-Encoding'), undef, '  that ends with a close');
};


# What it had answered to before is warm: the rest has to be flat.

subtest 'a slow client costs no memory' => sub {
    stream('tokens=100000,size=100');
    my $before = rss_kb($worker);

    my @slow = map { LLM::Client->connect($sim, rcvbuf => 4096) } 1 .. 8;
    $_->send_request(LLM::Client::json_request($CHAT,
        { model => 'sim:tokens=20000,size=500', stream => JSON::PP::true }))
        for @slow;
    ok($_->read_event, 'a first event') for @slow;
    chat('') for 1 .. 20;
    cmp_ok(rss_kb($worker) - $before, '<', 2048, 'while they wait');

    my $r = $slow[0]->read_response(60);
    is($r->events, 20_003, 'one that goes on gets everything');
    cmp_ok(rss_kb($worker) - $before, '<', 2048, '  and still no memory');
    $_->reset for @slow;
    is(chat('')->status, 200, 'the others went away');
};


subtest 'an impatient client' => sub {
    my %when = (
        'in the delay'    => 'delay=1h',
        'between events'  => 'tokens=10,pace=1h',
        'in full flow'    => 'tokens=100000,flush=1',
        'when it blocked' => 'tokens=100000,size=1000',
    );

    for my $name (sort keys %when) {
        for my $how (qw(reset close)) {
            my $mark = $sim->mark;
            my $c = LLM::Client->connect($sim, rcvbuf => 4096);
            $c->send_request(LLM::Client::json_request($CHAT,
                { model => "sim:$when{$name}", stream => JSON::PP::true },
                headers => [ [ 'X-Tag', "$name, $how" ] ]));
            $c->flush;
            $c->read_event unless $name eq 'in the delay';
            $c->$how;
            ok($sim->wait_log(qr/ "$name, $how"/, since => $mark),
               "$name, $how: the request ends");
        }
    }

    my $c = LLM::Client->connect($sim);
    $c->send_request(raw => "POST $CHAT HTTP/1.1\r\nHost: a\r\n"
                          . "X-Tag: in the body\r\n"
                          . "Content-Length: 100\r\n\r\n{\"model\":");
    $c->flush;
    $c->reset;
    ok($sim->wait_log(qr/ "in the body"/), 'in the body');
    is(chat('')->status, 200, 'the next one is served');
};


SKIP: {
    skip LLM::H2->missing, 1 if LLM::H2->missing;

    subtest 'HTTP/2' => sub {
        my $h2 = sub {
            my ($body, %opt) = @_;
            return LLM::H2::request($sim->port(1), method => 'POST',
                                    path => $CHAT, body => $body, %opt);
        };

        is($h2->('{"model":"a"}')->json->{model}, 'a', 'JSON');

        my $long = '{"x":"' . 'y' x 1_000_000 . '","model":"a"}';
        is($h2->($long)->json->{usage}{prompt_tokens},
           int(length($long) / 4), 'JSON, 1 MB');

        my $r = $h2->('{"model":"sim:tokens=20000,size=50","stream":true}');
        is($r->events, 20_003, 'a long stream');

        $r = $h2->('{"model":"sim:tokens=3,pace=20ms","stream":true}');
        is($r->events, 6, 'a paced one');
        between($r->time_end - $r->time_head, 0.08, 1, '  took its time');

        # the kit's abort is by the clock: curl may not have begun then

        my $mark = $sim->mark;
        my $pid = open my $curl, '-|', 'curl', '-sN',
                       '--http2-prior-knowledge', '-H', 'X-Tag: h2 gone',
                       '-d', '{"model":"sim:tokens=10,pace=1h",'
                             . '"stream":true}',
                       'http://127.0.0.1:' . $sim->port(1) . $CHAT;
        like(scalar <$curl>, qr/^data: /, 'a first event');
        kill 'KILL', $pid;
        ok($sim->wait_log(qr/"h2 gone"/, since => $mark), '  and an abort');
        close $curl;
    };
}


subtest 'a reload lets streams end' => sub {
    my $c = LLM::Client->connect($sim);
    $c->send_request(LLM::Client::json_request($CHAT,
        { model => 'sim:tokens=10,pace=20ms', stream => JSON::PP::true }));
    $c->read_event;
    ok($sim->reload, 'a new generation');
    is($c->read_response->events, 13, 'the old one finished its answer');
    is(chat('')->status, 200, 'the new one answers');
};


$sim->done;
done_testing();
