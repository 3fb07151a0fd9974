#!/usr/bin/perl

# What may be a body (REQ-35): whatever two readers of JSON could understand
# differently is refused before a provider sees a byte of it, however it is
# sent; everything else passes as it is, however odd.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use Encode ();
use JSON::PP ();

my $p = LLM::Fake->new(answer => sub { json({ fine() }) });

my $gw = LLM::Nginx->new(vars => { P => $p }, server => <<'CONF',
    client_max_body_size 8m;
    client_body_buffer_size 16k;
    location /v1/ { llm_pass; }
    location /file/v1/ { client_body_in_file_only on; llm_pass; }
CONF
    http => <<'CONF');
    llm_provider p { endpoint http://127.0.0.1:%%P%%/base; }
    llm_model default { target p; }
CONF

my $M = '"model":"m"';

# [ what it is, the body ]; param null unless a third says it

my @not_json = (
    [ 'nothing at all' => '' ],
    [ 'one byte' => '{' ],
    [ 'only white space' => " \n\t " ],
    [ 'an array' => "[{$M}]" ],
    [ 'a string' => '"model"' ],
    [ 'a number' => '1' ],
    [ 'null' => 'null' ],
    [ 'a word' => 'hello' ],
    [ 'a form' => 'model=m&prompt=x' ],
    [ 'a byte order mark' => "\xef\xbb\xbf{$M}" ],
    [ 'UTF-16' => Encode::encode('UTF-16', "{$M}") ],
    [ 'UTF-16 without a mark' => Encode::encode('UTF-16LE', "{$M}") ],
    [ 'UTF-32' => Encode::encode('UTF-32BE', "{$M}") ],
    [ 'two objects' => "{$M}{$M}" ],
    [ 'two lines of JSON' => "{$M}\n{$M}\n" ],
    [ 'a word behind it' => "{$M} x" ],
    [ 'a comma behind it' => "{$M}," ],
    [ 'a brace too many' => "{$M}}" ],
    [ 'a brace too few' => "{$M" ],
    [ 'NUL behind it' => "{$M}\0" ],
    [ 'NUL before it' => "\0{$M}" ],
    [ 'NUL between members' => "{$M,\0\"a\":1}" ],
    [ 'a comment' => "{$M /* c */}" ],
    [ 'a line comment' => "{$M} // c" ],
    [ 'single quotes' => "{'model':'m'}" ],
    [ 'a key without quotes' => '{model:"m"}' ],
    [ 'a comma at the end' => "{$M,}" ],
    [ 'a comma at the start' => "{,$M}" ],
    [ 'only a comma' => '{,}' ],
    [ 'two commas' => "{$M,,\"a\":1}" ],
    [ 'no comma' => "{$M \"a\":1}" ],
    [ 'no colon' => "{$M,\"a\" 1}" ],
    [ 'a key without value' => "{$M,\"a\":}" ],
    [ 'only a key' => "{$M,\"a\"}" ],
    [ 'a number as key' => "{$M,1:1}" ],
    [ 'null as key' => "{$M,null:1}" ],
    [ 'an array closed by a brace' => "{$M,\"a\":[1}}" ],
    [ 'an object closed by a bracket' => "{$M,\"a\":{\"b\":1]}" ],
    [ 'a comma at the end of an array' => "{$M,\"a\":[1,]}" ],
    [ 'an array of nothing and a comma' => "{$M,\"a\":[,]}" ],
    [ 'an unfinished string' => "{$M,\"a\":\"b}" ],
    [ 'an end after a backslash' => "{$M,\"a\":\"b\\" ],
    [ 'a vertical tab as space' => "{$M,\x0b\"a\":1}" ],
    [ 'a form feed as space' => "{$M,\x0c\"a\":1}" ],
    [ 'a no-break space' => "{$M,\xc2\xa0\"a\":1}" ],
    [ 'a word of capitals' => "{$M,\"a\":True}" ],
    [ 'half a word' => "{$M,\"a\":tru}" ],
    [ 'a word too long' => "{$M,\"a\":nulll}" ],
    (map { [ "the number $_" => "{$M,\"a\":$_}" ] }
         qw(NaN nan Infinity -Infinity -NaN +1 01 -01 00 .5 5. -.5 - 1e 1e+
            1.e1 0x10 1_000 --1 1e1.5 0b1 1n)),
    (map { [ "the escape $_" => "{$M,\"a\":\"$_\"}" ] }
         '\\x41', '\\a', '\\u', '\\u1', '\\u12g4', '\\u{41}', "\\'", '\\0',
         "\\\n", '\\U0041'),
    (map { [ (sprintf 'control byte %02x in a string', $_),
             "{$M,\"a\":\"b" . chr($_) . 'c"}' ] } 0 .. 0x1f),
    (map { [ 'the bytes ' . unpack('H*', $_) . ' in a string',
             "{$M,\"a\":\"b$_\"}" ] }
         "\xff", "\xfe\xff", "\x80", "\xbf", "\xc0\x80", "\xc1\xbf",
         "\xc2", "\xc2A", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xe2\x82",
         "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x80\x80\x80",
         "\xf0\x8f\xbf\xbf", "\xf0\x9f\x98", "\xf4\x90\x80\x80",
         "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80"),
    [ 'invalid UTF-8 in a key' => "{$M,\"a\xff\":1}" ],
    [ 'invalid UTF-8 in a deep key' => "{$M,\"a\":[{\"a\xc0\xaf\":1}]}" ],
    [ 'invalid UTF-8 outside of strings' => "{$M,\xff\"a\":1}" ],
    [ 'a control byte in a key' => "{$M,\"a\x01\":1}" ],
    [ 'arrays 256 deep in the object' => "{$M,\"a\":" . '[' x 256
                                         . ']' x 256 . '}' ],
    [ 'objects 257 deep' => "{$M,\"a\":" . '{"b":' x 256 . '1'
                            . '}' x 257 ],
    (map { my $key = $_;
           my ($name) = JSON::PP->new->allow_nonref->decode("\"$key\"");
           [ "the key $key", "{$M,\"$key\":1}", $name ] }
         'mod\\u0065l', '\\u006dodel', 'stre\\u0061m', 'max_token\\u0073',
         'max_completion\\u005ftokens', 'max_outpu\\u0074_tokens',
         '\\u006e', '\\u006E', 'stream_\\u006fptions'),
    [ 'an escaped key, alone' => '{"mod\\u0065l":"m"}', 'model' ],
    [ 'an escaped key before the plain one',
      '{"\\u006dodel":"m","model":"m"}', 'model' ],
    [ 'a key twice, and then no JSON' => "{$M,$M,}" ],
    [ 'a wrong type, and then no JSON' => "{$M,\"stream\":1,\"a\":NaN}" ],
);

my @twice = (
    (map { my ($key, $value) = @$_;
           [ "$key twice", "{$M,\"$key\":$value,\"$key\":$value}", $key ] }
         [ stream => 'true' ], [ max_tokens => 5 ], [ n => 1 ],
         [ max_completion_tokens => 5 ], [ max_output_tokens => 5 ],
         [ stream_options => '{}' ], [ stream => 'null' ]),
    [ 'model twice' => "{$M,$M}", 'model' ],
    [ 'two models' => '{"model":"cheap","messages":[],"model":"dear"}',
      'model' ],
    [ 'a model and null' => "{$M,\"model\":null}", 'model' ],
    [ 'false and then true' => "{$M,\"stream\":false,\"stream\":true}",
      'stream' ],
    [ 'null and a number' => "{$M,\"max_tokens\":null,\"max_tokens\":9}",
      'max_tokens' ],
    [ 'the first of two complaints' => "{$M,\"n\":1,\"n\":2,\"stream\":1}",
      'n' ],
);

my @types = (
    (map { [ "model $_" => "{\"model\":$_}", 'model' ] }
         qw(5 true ["m"] {"m":1} 1.5)),
    (map { [ "stream $_" => "{$M,\"stream\":$_}", 'stream' ] }
         qw("true" 1 0 [] {} "")),
    (map { [ "stream_options $_" => "{$M,\"stream_options\":$_}",
             'stream_options' ] } qw(true [] "x" 1)),
    (map { my $key = $_;
           map { [ "$key $_" => "{$M,\"$key\":$_}", $key ] }
               qw(1.5 15e-1 1e400 "5" 2147483648 4294967297 99999999999999999999
                  18446744073709551617 true [1] {} 0.5 "") }
         qw(max_tokens max_completion_tokens max_output_tokens n)),
    [ 'n 0' => "{$M,\"n\":0}", 'n' ],
    [ 'n -1' => "{$M,\"n\":-1}", 'n' ],
    [ 'the first of two wrong types',
      "{$M,\"stream\":1,\"stream\":true,\"n\":0}", 'stream' ],
);

my %ways = (
    'in memory' => sub { post_json($gw, '/v1/chat/completions', $_[0]) },
    'in chunks, from a file' => sub {
        request($gw, method => 'POST', path => '/file/v1/embeddings',
                chunked => [ unpack '(a7)*', $_[0] ]);
    },
);

for my $how (sort keys %ways) {
    refused($how, 'invalid_json', @$_) for @not_json;
    refused($how, 'duplicate_key', @$_) for @twice;
    refused($how, 'invalid_type', @$_) for @types;
}
is($p->count, 0, 'REQ-35 none of them reached the provider');


# a bounded time, whatever the depth

for my $open ('[', '{"a":') {
    for my $depth (10_000, 1_000_000) {
        my $started = now();
        refused('in memory', 'invalid_json', "$depth times $open",
                "{$M,\"x\":" . $open x $depth);
        between(now() - $started, 0, 1, '  in no time');
    }
}

{
    my ($worker) = $gw->worker_pids;
    my ($rss, $cpu) = (rss_kb($worker), cpu_seconds($worker));
    for (1 .. 20) {
        post_json($gw, '/v1/completions', "{$M,\"x\":" . '[' x 1_000_000);
    }
    between(cpu_seconds($worker) - $cpu, 0, 0.5,
            'REQ-35 twenty million brackets cost next to nothing');
    between(rss_kb($worker) - $rss, -1e9, 4096, '  and no memory');
    is($p->count, 0, '  and no request');
}


# odd, but JSON: byte by byte as the client has sent it

my @good = (
    [ 'one member' => "{$M}" ],
    [ 'white space of all four kinds'
      => " \r\n\t{ \n\"model\"\t:\r\"m\" , \"a\" : [ ] } \n\n" ],
    [ 'model at the end' => "{\"messages\":[],$M}" ],
    [ 'empty containers' => "{$M,\"a\":[],\"b\":{},\"c\":[[],{}],\"d\":\"\"}" ],
    [ 'null members'
      => "{$M,\"stream\":null,\"n\":null,\"max_tokens\":null,"
         . "\"stream_options\":null,\"tools\":null}" ],
    [ 'numbers that no double holds'
      => "{$M,\"a\":[1e400,-1e400,9223372036854775808,18446744073709551616,"
         . "-9223372036854775809,1E-400,0.1000000000000000055511151231257827,"
         . "-0,-0.0,0e0,0E+1,1.7976931348623159e308]}" ],
    [ 'a number of 10,000 digits' => "{$M,\"a\":" . '9' x 10_000 . '}' ],
    [ 'all escapes' => "{$M,\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000"
                       . "\\u001f\\u20AC\\ud83d\\ude00\"}" ],
    [ 'lone surrogates'
      => "{$M,\"a\":\"\\ud83d\",\"b\":\"\\ude00x\",\"\\uDC00\":1,"
         . "\"c\":\"\\ud83d\\ud83d\\ude00\"}" ],
    [ 'all lengths of UTF-8'
      => "{$M,\"a\":\"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf"
         . "\xee\x80\x80\xef\xbb\xbf\xef\xbf\xbf\xf0\x90\x80\x80"
         . "\xf4\x8f\xbf\xbf\xe6\x97\xa5\"}" ],
    [ 'a nested model' => "{\"a\":{\"model\":5,\"model\":\"x\"},$M,"
                          . "\"b\":[{\"model\":null,\"stream\":\"y\"}]}" ],
    [ 'nested keys twice, and escaped'
      => "{$M,\"a\":{\"n\":1,\"n\":2,\"mod\\u0065l\":1}}" ],
    [ 'other keys twice' => "{$M,\"messages\":[1],\"messages\":[2]}" ],
    [ 'other keys with escapes' => "{$M,\"mess\\u0061ges\":[]}" ],
    [ 'the names as values' => "{$M,\"a\":[\"model\",\"stream\",\"n\"]}" ],
    [ 'similar keys' => "{$M,\"Models\":1,\"models\":2,\"mode\":3,\"\":4,"
                        . "\"model \":5,\"NN\":6,\"nn\":7,\"MODEL_\":8}" ],
    [ 'the limits of integers'
      => "{$M,\"max_tokens\":0,\"max_completion_tokens\":2147483647,"
         . "\"max_output_tokens\":1,\"n\":1}" ],
    (map { my $key = $_;
           map { [ "$key $_" => "{$M,\"$key\":$_}" ] }
               qw(-1 -1.0 -5e3 4096.0 4.096e3 1E2) }
         qw(max_tokens max_completion_tokens max_output_tokens)),
    [ 'n 2.0' => "{$M,\"n\":2.0}" ],
    [ 'the largest n' => "{$M,\"n\":2147483647,\"stream\":false}" ],
    [ 'a key of 100,000 bytes' => "{$M,\"" . 'k' x 100_000 . '":1}' ],
    [ 'a model among a thousand members'
      => '{' . join(',', map { "\"k$_\":$_" } 1 .. 500) . ",$M,"
         . join(',', map { "\"l$_\":[$_]" } 1 .. 500) . '}' ],
    [ '256 deep, the object included' => "{$M,\"a\":" . '[' x 255
                                         . ']' x 255 . '}' ],
    [ '256 deep in objects' => "{$M,\"a\":" . '{"b":' x 254 . '{}'
                               . '}' x 255 ],
    [ '256 deep, many times' => "{$M,\"a\":["
        . join(',', ('[' x 254 . ']' x 254) x 20) . ']}' ],
);

for my $how (sort keys %ways) {
    for (@good) {
        my ($what, $body) = @$_;
        my $before = $p->count;
        is($ways{$how}->($body)->status, 200,
           "REQ-35 $what, $how, is taken");
        my $req = ($p->requests)[$before];
        ok($req && $req->{body} eq $body, '  and passes byte by byte');
    }
}

$gw->done;
done_testing;


sub refused {
    my ($how, $code, $what, $body, $param) = @_;

    my $r = $ways{$how}->($body);
    my $error = eval { $r->json->{error} } || {};
    my $type = $r->header('Content-Type') // '';
    my $ok = $r->status == 400 && $type eq 'application/json'
             && ($error->{code} // '') eq $code
             && ($error->{type} // '') eq 'invalid_request_error'
             && ($error->{param} // 'null') eq ($param // 'null');

    ok($ok, "REQ-35 $what, $how: 400 $code " . ($param // 'null'))
        or diag($r->status, " $type ", substr $r->body, 0, 300);
}
