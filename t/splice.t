#!/usr/bin/perl

# Another model's name is spliced into the body (REQ-45): the value and
# nothing else changes, wherever it stands and however it is written; what
# names no model, or none that is valid, reaches no provider.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $p = LLM::Fake->new(answer => sub {
    return $_[0]{json}{stream} ? sse({ choices => [ { delta => { content => 'x' } } ] }, '[DONE]')
                               : json({ fine() });
});

my $long = 'long-' . 'x' x 251;

my $gw = LLM::Nginx->new(vars => { P => $p, LONG => $long },
    access_format => '$llm_model $llm_target_model $http_x_tag',
    server => <<'CONF',
    client_max_body_size 8m;
    client_body_buffer_size 16k;
    location /v1/ { llm_pass; }
    location /fixed/v1/ { llm_pass the-model; }
    location /var/v1/ { llm_pass $http_x_model; }
    location /file/v1/ { client_body_in_file_only on; llm_pass; }
CONF
    http => <<'CONF');
    llm_provider p { endpoint http://127.0.0.1:%%P%%; }
    llm_provider mute { endpoint http://127.0.0.1:%%P%%; stream_usage off; }

    llm_model gpt-4 { target p gpt-4; alias four a/b a:b; }
    llm_model shorter { target p s; }
    llm_model longer { target p a-name-that-is-a-good-deal-longer; }
    llm_model equal { target p qeual; }
    llm_model the-model { target p; }
    llm_model plain { target p; alias nick; }
    llm_model mute { target mute other; }
    llm_model %%LONG%% { target p l; }
    llm_model local/* { target p *; }
    llm_model local/deep/* { target p *; }
    llm_model fixed/* { target p one-for-all; }
    llm_model same/* { target p; }
    llm_model to-long { target p %%LONG%%; }
    llm_model default { target p; }
CONF


# the name the client sends => the name the provider gets

my %names = (
    'gpt-4'      => 'gpt-4',
    'shorter'    => 's',
    'longer'     => 'a-name-that-is-a-good-deal-longer',
    'equal'      => 'qeual',
    'plain'      => 'plain',
    'four'       => 'gpt-4',
    'a/b'        => 'gpt-4',
    'a:b'        => 'gpt-4',
    'nick'       => 'nick',
    $long        => 'l',
    'to-long'    => $long,
    'local/x'    => 'x',
    'local/x/y'  => 'x/y',
    'local/a:b'  => 'a:b',
    'local/*'    => '*',
    'fixed/'     => 'one-for-all',
    'fixed/abc'  => 'one-for-all',
    'same/abc'   => 'same/abc',
    'unheard-of' => 'unheard-of',
    'org/model:free@1.0' => 'org/model:free@1.0',
    '!#$%&()*+,-./:;<=>?@[]^_`{|}~' => '!#$%&()*+,-./:;<=>?@[]^_`{|}~',
    'y' x 256    => 'y' x 256,
    '~'          => '~',
    'default'    => 'default',
);

for my $name (sort keys %names) {
    spliced("{\"model\":\"$name\",\"input\":[]}",
            "{\"model\":\"$names{$name}\",\"input\":[]}",
            'REQ-45 ' . substr($name, 0, 40) . ' becomes '
            . substr $names{$name}, 0, 40);
}

spliced('{"model":"local/deep/x"}', '{"model":"x"}',
        'REQ-45 the longest prefix decides');


# the places it may stand in; @ is the value

my $odd = '[],"b":{},"c":[1e400,9223372036854775808,-0.0],"d":"\\ud83d\\u0000",'
        . '"e":null,"f":{"model":"shorter","model":5}';

my %places = (
    'alone'            => '{"model":@}',
    'first'            => "{\"model\":@,\"a\":$odd}",
    'last'             => "{\"a\":$odd,\"model\":@}",
    'in the middle'    => "{\"a\":$odd,\"model\":@,\"z\":[{}]}",
    'between spaces'   => "  {\t\"a\" : $odd ,\r\n \"model\" \n:\t @ \r\n,"
                          . " \"z\" : 1 } \n ",
    'before all space' => "{\"model\"   :\n\n@}",
    'behind its like'  => "{\"a\":\"model\",\"Modell\":\"shorter\","
                          . "\"models\":[\"shorter\"],\"model\":@}",
    'behind a nested one' => "{\"a\":{\"model\":\"shorter\"},\"model\":@,"
                          . "\"b\":[{\"model\":\"shorter\"}]}",
);

for my $place (sort keys %places) {
    for my $name (qw(gpt-4 shorter longer equal)) {
        spliced(at($place, "\"$name\""), at($place, "\"$names{$name}\""),
                "REQ-45 $name, $place");
    }
}


# the same name, written otherwise

my %written = (
    '"gpt\\u002d4"'      => 'gpt-4',
    '"\\u0067pt-4"'      => 'gpt-4',
    '"\\u0067\\u0070\\u0074\\u002D\\u0034"' => 'gpt-4',
    '"a\\/b"'            => 'gpt-4',
    '"shorte\\u0072"'    => 's',
    '"\\u006conger"'     => 'a-name-that-is-a-good-deal-longer',
    '"local\\/x\\/y"'    => 'x/y',
);

for my $text (sort keys %written) {
    spliced(at('in the middle', $text),
            at('in the middle', "\"$written{$text}\""),
            "REQ-45 $text is known for what it is");
}

{
    # a name that does not change need not be touched, but must mean the same
    post_json($gw, '/v1/completions', '{"model":"un\\u0068eard","a":1}');
    my $req = ($p->requests)[-1];
    is($req->{json}{model}, 'unheard', 'REQ-45 an escaped name that stays');
    like($req->{body}, qr/,"a":1\}$/, '  and what is behind it');
}

{
    post_json($gw, '/v1/completions', '{"model":"four"}',
              headers => [ [ 'X-Tag', 'tag-1' ] ]);
    is($gw->wait_log(qr/tag-1/), 'four gpt-4 tag-1',
       'the log has the name asked and the name sent');
}


# stream_options goes in together with the name

my $usage = '{"include_usage":true}';

for ([ '{"model":"shorter","stream":true}', 'model first' ],
     [ '{"stream":true,"model":"shorter"}', 'stream first' ],
     [ ' { "a":[1e400] ,"model" : "longer", "stream":true }', 'spaces' ],
     [ '{"model":"gpt-4","stream":true}', 'an unchanged name' ])
{
    my ($body, $what) = @$_;
    my ($name) = $body =~ /"model" ?: ?"([^"]+)"/;
    (my $expected = $body) =~ s/"\Q$name\E"/"$names{$name}"/;
    $expected =~ s/\{\K/"stream_options":$usage,/;
    spliced($body, $expected, "REQ-45 usage is asked for, $what", 'members');
}

for ([ 'null before the name',
       '{"stream_options":null,"model":@,"stream":true}',
       "{\"stream_options\":$usage,\"model\":@,\"stream\":true}" ],
     [ 'null behind the name',
       '{"model":@,"stream_options": null ,"stream":true}',
       "{\"model\":@,\"stream_options\": $usage ,\"stream\":true}" ],
     [ 'empty before the name', '{"stream_options":{},"model":@,"stream":true}',
       "{\"stream_options\":$usage,\"model\":@,\"stream\":true}" ],
     [ 'empty behind the name',
       '{"model":@,"stream_options":{ },"stream":true}',
       undef, "{\"model\":@,\"stream_options\":$usage,\"stream\":true}" ],
     [ 'others before the name',
       '{"stream_options":{"x":[]},"model":@,"stream":true}',
       "{\"stream_options\":{\"include_usage\":true,\"x\":[]},\"model\":@,"
       . '"stream":true}' ],
     [ 'others behind the name',
       '{"model":@,"stream":true,"stream_options":{"x":[]}}',
       '{"model":@,"stream":true,"stream_options":{"include_usage":true,'
       . '"x":[]}}' ],
     [ 'true as it is', "{\"model\":@,\"stream\":true,"
       . "\"stream_options\":{\"include_usage\": true}}", 'same' ],
     [ 'false as it is', "{\"model\":@,\"stream\":true,"
       . "\"stream_options\":{\"include_usage\":false}}", 'same' ],
     [ 'no stream', '{"model":@,"stream":false,"stream_options":null}',
       'same' ])
{
    my ($what, $body, $expected, $means) = @$_;
    for my $name (qw(gpt-4 shorter longer)) {
        my @texts = map { with($_, $name) } $body;
        my $then = !defined $expected ? undef
                 : with($expected eq 'same' ? $body : $expected,
                        $names{$name});
        spliced($texts[0], $then // with($means, $names{$name}),
                "REQ-45 stream_options: $what, $name",
                defined $then ? undef : 'json');
    }
}

spliced('{"model":"mute","stream":true}', '{"model":"other","stream":true}',
        'a provider with stream_usage off is not asked for usage');

{
    post_json($gw, '/v1/embeddings', '{"model":"plain","stream":true}');
    is(($p->requests)[-1]{body}, '{"model":"plain","stream":true}',
       'nor is one whose operation knows no stream_options');
}


# llm_pass MODEL

for ([ '{"model":"shorter","a":1}', '{"model":"the-model","a":1}',
       'takes the client\'s place' ],
     [ '{"a":1, "model":"x"}', '{"a":1, "model":"the-model"}', 'last' ],
     [ '{"model":"the-model","a":[]}', '{"model":"the-model","a":[]}',
       'is what the client says' ])
{
    spliced($_->[0], $_->[1], "REQ-45 llm_pass MODEL $_->[2]", undef,
            '/fixed/v1/completions');
}

for ([ '{"a":1}' => { a => 1 }, 'is put in' ],
     [ '{}' => {}, 'is put into an empty object' ],
     [ " { } " => {}, 'is put into an empty object with spaces' ],
     [ '{"model":null,"a":1}' => { a => 1 }, 'takes the place of null' ],
     [ '{"a":1,"model" : null}' => { a => 1 }, 'takes the place of null' ],
     [ '{"a":1,"stream":true}' => { a => 1, stream => JSON::PP::true(),
         stream_options => { include_usage => JSON::PP::true() } },
       'is put in with stream_options' ])
{
    my ($body, $data, $what) = @$_;
    my $r = post_json($gw, '/fixed/v1/completions', $body);
    is($r->status, 200, "llm_pass MODEL $what");
    my $req = ($p->requests)[-1];
    json_is($req->{body}, { %$data, model => 'the-model' }, '  and is JSON');
    my @members = $req->{body} =~ /"model"/g;
    is(@members, 1, '  with the member once');
    length_ok($req);
}

{
    my $r = post_json($gw, '/var/v1/completions', '{"model":"x"}',
                      headers => [ [ 'X-Model', 'shorter' ] ]);
    is(($p->requests)[-1]{body}, '{"model":"s"}', 'llm_pass takes a variable');

    $r = post_json($gw, '/var/v1/completions', '{"model":"longer"}');
    is($r->status, 200, '  and if that is empty');
    is(($p->requests)[-1]{json}{model}, $names{longer},
       '  the client\'s name');

    my $before = $p->count;
    for my $name ('q"q', 'b\\b', "\xc3", 'z' x 257) {
        $r = post_json($gw, '/var/v1/completions', '{"model":"x"}',
                       headers => [ [ 'X-Model', $name ] ]);
        error_is($r, 'invalid_model', 'a variable with the name '
                 . substr $name, 0, 20);
    }
    is($p->count, $before, '  which no provider sees');
}


# large bodies, in a file: the same splice

{
    my $text = join '', map { chr(35 + $_ % 50) } 1 .. 100_000;
    for my $name (qw(gpt-4 shorter longer)) {
        for my $path (qw(/v1/completions /file/v1/completions)) {
            spliced("{\"a\":\"$text\",\"model\":\"$name\",\"b\":\"$text\"}",
                    "{\"a\":\"$text\",\"model\":\"$names{$name}\","
                    . "\"b\":\"$text\"}",
                    "REQ-45 $name amid 200,000 bytes, $path", undef, $path);
        }
    }
}


# no name, or none that is valid

my $before = $p->count;

for ([ 'no model' => '{"a":1}', 'missing_model' ],
     [ 'an empty object' => '{}', 'missing_model' ],
     [ 'null' => '{"model":null}', 'missing_model' ],
     [ 'a nested one only' => '{"a":{"model":"x"}}', 'missing_model' ],
     [ '257 bytes' => '{"model":"' . 'y' x 257 . '"}' ],
     [ '100,000 bytes' => '{"model":"' . 'y' x 100_000 . '"}' ],
     [ '257 bytes, escaped' => '{"model":"' . '\\u0079' x 257 . '"}' ],
     [ 'no byte' => '{"model":""}' ],
     [ 'a no-break space before it' => '{"model":"\\u00a0a"}' ],
     [ 'a space before it' => '{"model":" gpt-4"}' ],
     [ 'a space behind it' => '{"model":"gpt-4 "}' ],
     [ 'an escaped space behind it' => '{"model":"a\\u0020"}' ],
     [ 'a quote' => '{"model":"a\\"b"}' ],
     [ 'an escaped quote' => '{"model":"a\\u0022b"}' ],
     [ 'a backslash' => '{"model":"a\\\\b"}' ],
     [ 'NUL' => '{"model":"a\\u0000b"}' ],
     [ 'NUL at its end' => '{"model":"gpt-4\\u0000"}' ],
     [ 'a line break' => '{"model":"a\\nb"}' ],
     [ 'a tab' => '{"model":"a\\tb"}' ],
     [ 'DEL' => "{\"model\":\"a\x7fb\"}" ],
     [ 'a line separator' => '{"model":"a\\u2028b"}' ],
     [ 'a change of direction' => '{"model":"a\\u202eb"}' ],
     [ 'a lone surrogate' => '{"model":"a\\ud83d"}' ])
{
    my ($what, $body, $code) = @$_;
    error_is(post_json($gw, '/v1/chat/completions', $body),
             $code || 'invalid_model', "$what as model");
}

for my $body ('{"model":"a b "}', '{"model":""}') {
    error_is(post_json($gw, '/fixed/v1/completions', $body), 'invalid_model',
             "$body where llm_pass names another");
}

is($p->count, $before, 'none of these reached the provider');

is(post_json($gw, '/v1/completions', '{"model":"' . '\\u0079' x 256 . '"}')
   ->status, 200, '256 bytes, all of them escaped, are a name');

$gw->done;
done_testing;


# the place's body with this value

sub at {
    my ($place, $value) = @_;
    return with($places{$place}, $value, '');
}

sub with {
    my ($text, $value, $quote) = @_;
    $quote //= '"';
    return $text =~ s/@/$quote$value$quote/r;
}


sub length_ok {
    my ($req) = @_;
    my @lengths = map { $_->[1] } grep { lc $_->[0] eq 'content-length' }
                  @{ $req->{header_list} };
    is("@lengths", length $req->{body}, '  with its length');
}


# by default the provider has to see exactly the expected bytes; 'json': the
# same JSON; 'members': the added member may stand anywhere

sub spliced {
    my ($body, $expected, $what, $how, $path) = @_;

    $how //= '';
    my $before = $p->count;
    my $r = post_json($gw, $path // '/v1/chat/completions', $body);
    is($r->status, 200, $what) or diag($r->body);

    my $req = ($p->requests)[$before] or return fail('  no request came');

    if ($how eq 'json') {
        json_is($req->{body}, $expected, '  and the same JSON');
    } elsif ($how eq 'members') {
        my $got = $req->{body};
        ok($got =~ s/"stream_options":\Q$usage\E,//, '  once');
        $expected =~ s/"stream_options":\Q$usage\E,//;
        is($got, $expected, '  and nothing else changes');
    } else {
        ok($req->{body} eq $expected, '  and nothing else changes')
            or diag(substr($req->{body}, 0, 400), "\n",
                    substr $expected, 0, 400);
    }
    length_ok($req);
    is($req->{framing}, 'length', '  not in chunks');
}


sub error_is {
    my ($r, $code, $what) = @_;
    my $error = eval { $r->json->{error} } || {};
    is($r->status . ' ' . ($error->{code} // 'null') . ' '
       . ($error->{param} // 'null'), "400 $code model", $what);
}
