#!/usr/bin/perl

# What the gateway accepts before it chooses a provider: content types, pages
# of other sites, paths (Azure's, with extra slashes), members whose names fold
# to known ones, requests without a model, and the names that a model may have.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $ANSWER = '{"choices":[{"index":0,"message":{"content":"x"}}],"data":[{}],'
           . '"results":[{}],"output":[],"status":"completed","text":"x"}';

my $p = LLM::Fake->new(answer => sub {
    return (header('Content-Type', 'application/json'), body($ANSWER));
});

my $gw = LLM::Nginx->new(
    vars => { P => $p },
    access_format => '$uri "$llm_operation" "$llm_model" "$llm_target_model" '
        . '$status',
    http => <<"CONF");
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
llm_provider azure { type azure; endpoint http://127.0.0.1:%%P%%;
                     api_version 2024-10-21; key k; }

llm_model gpt-4o { target p; }
llm_model gpt-4o-mini { target p; }
llm_model "My model" { target p; alias "mod\xc3\xa8le"; }
llm_model az/* { target azure *; }
llm_model default { target p omni; }

server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_pass; }
    location /open/ { llm_allow_cross_site on; llm_pass; }
    location /plain/ { llm_quota all; proxy_pass http://127.0.0.1:%%P%%/; }
}
server {
    listen 127.0.0.1:%%PORT_1%%;
    merge_slashes off;
    location / { llm_pass; }
}
llm_quota_zone all key=\$remote_addr requests=100000/1m;
CONF

my $strict = LLM::Nginx->new(vars => { P => $p }, http => <<'CONF');
llm_provider p { endpoint http://127.0.0.1:%%P%%; }
llm_model gpt-4o { target p; }
server { listen 127.0.0.1:%%PORT%%; location / { llm_pass; } }
CONF

my $CHAT = '/v1/chat/completions';
my $BODY = '{"model":"gpt-4o","messages":[]}';

sub send_as {
    my ($path, $body, @headers) = @_;
    return request($gw, method => 'POST', path => $path, body => $body,
                   headers => \@headers);
}

sub rejected {
    my ($r, $status, $code, $name) = @_;
    my $error = eval { $r->json->{error} } || {};
    is($r->status . ' ' . ($error->{code} // 'null'), "$status $code", $name)
        or diag(substr $r->body, 0, 300);
    return $error;
}

sub raw_model { return ($p->requests)[-1]{json}{model} }


# content types

for my $type ('application/json', 'Application/JSON', 'text/json',
              'application/json; charset=utf-8', 'application/json ;charset=x',
              'application/json;', 'application/vnd.api+json',
              'application/ld+json; profile="x"')
{
    is(send_as($CHAT, $BODY, [ 'Content-Type', $type ])->status, 200,
       "JSON with Content-Type \"$type\" is accepted");
}

my $client = LLM::Client->connect($gw);
$client->send_bytes(join "\r\n", "POST $CHAT HTTP/1.1", 'Host: x',
                    'Content-Length: ' . length $BODY, '', $BODY);
is($client->read_response->status, 200, 'JSON without Content-Type is accepted');
$client->close;

my $before = $p->count;

for my $type ('text/plain', 'text/plain;charset=UTF-8', 'text/html',
              'application/x-www-form-urlencoded', 'application/jsonx',
              'application/octet-stream', 'multipart/form-data; boundary=b',
              'application/json, text/plain', 'application/json text/plain',
              'text/plain; x=application/json', '+json', '/+json', 'x+json')
{
    rejected(send_as($CHAT, $BODY, [ 'Content-Type', $type ]), 415,
             'unsupported_content_type',
             "JSON with Content-Type \"$type\" is rejected with 415");
}

rejected(send_as($CHAT, $BODY, [ 'Content-Type', 'application/json' ],
                 [ 'Content-Type', 'text/plain' ]), 415,
         'unsupported_content_type', 'a second Content-Type counts as well');
is($p->count, $before, '  and no provider gets such a request');

is(send_as('/plain' . $CHAT, $BODY, [ 'Content-Type', 'text/plain' ])->status,
   200, 'proxy_pass with a quota accepts each Content-Type');


# pages of other sites

my @cross = ([ 'Content-Type', 'application/json' ],
             [ 'Origin', 'https://evil.example' ],
             [ 'Sec-Fetch-Site', 'cross-site' ]);

$before = $p->count;
my $error = rejected(send_as($CHAT, $BODY, @cross), 403, 'cross_site_request',
                     'a cross-site POST without a credential is rejected');
is($error->{type}, 'permission_error', '  as a permission_error');
rejected(send_as($CHAT, $BODY, [ 'Content-Type', 'text/plain' ],
                 @cross[1, 2]), 403, 'cross_site_request',
         'a cross-site POST of text is rejected as well');
is($p->count, $before, '  and no provider gets such a request');

for (map { [ $_, 'secret' ] } 'Authorization', 'x-api-key', 'api-key') {
    is(send_as($CHAT, $BODY, @cross, $_)->status, 200,
       "a cross-site POST with $_->[0] is accepted");
}
for my $site ('same-origin', 'same-site', 'none') {
    is(send_as($CHAT, $BODY, $cross[0], [ 'Sec-Fetch-Site', $site ])->status,
       200, "a POST with Sec-Fetch-Site: $site is accepted");
}
is(send_as("/open$CHAT", $BODY, @cross)->status, 200,
   'a cross-site POST is accepted with llm_allow_cross_site on');
is(get($gw, '/v1/models', headers => [ @cross[1, 2] ])->status, 200,
   'a cross-site GET models is accepted');


# Azure's paths

for ([ 'no model' => '{"messages":[]}', 'gpt-4o' ],
     [ 'null' => '{"model":null,"messages":[]}', 'gpt-4o' ],
     [ 'the same model' => '{"model":"gpt-4o"}', 'gpt-4o' ],
     [ 'another model' => '{"model":"gpt-4o-mini"}', 'gpt-4o' ],
     [ 'an invalid name' => '{"model":" x"}', 'gpt-4o' ])
{
    my ($what, $body, $want) = @$_;
    my $r = post_json($gw, '/openai/deployments/gpt-4o/chat/completions'
                           . '?api-version=2024-10-21', $body);
    is($r->status, 200, "a deployment in the path and $what in the body");
    is(raw_model(), $want, '  the provider gets the deployment as model');
    is(($p->requests)[-1]{path}, '/v1/chat/completions', '  by its own path');
}

post_json($gw, '/azure/openai/deployments/My%20model/embeddings',
          '{"input":"x"}');
is(raw_model(), 'My model', 'a deployment with an escaped space');
post_json($gw, '/openai/deployments/mod%C3%A8le/embeddings', '{"input":"x"}');
like(($p->requests)[-1]{body}, qr/"model":"mod\xc3\xa8le"/,
     'a deployment with an escaped letter that is not ASCII');
rejected(post_json($gw, '/openai/deployments/a%22b/embeddings', '{}'), 400,
         'invalid_model', 'a deployment that is no model name is rejected');
rejected(post_json($strict, '/openai/deployments/x/embeddings',
                   '{"model":"gpt-4o"}'), 404, 'model_not_found',
         'a deployment without llm_model is not found, whatever the body says');
rejected(post_json($gw, '/openai/deployments/chat/completions', '{}'), 400,
         'missing_model', 'a path without the name of a deployment');


# slashes

for my $path ('/v1/chat/completions/', '/v1//chat/completions',
              '/v1/chat//completions', '//v1///chat////completions//',
              '/openai//deployments//gpt-4o//chat//completions/')
{
    for my $port (0, 1) {
        my $r = request($gw->port($port), method => 'POST', path => $path,
                        body => $BODY);
        is($r->status, 200, "the path $path is that of the operation");
    }
}
is(get($gw, '/v1/models/')->status, 200, 'GET models with a trailing slash');
is(get($gw, '/v1/models/gpt-4o/')->json->{id}, 'gpt-4o',
   'GET models/NAME with a trailing slash');


# WebSocket

for (([ [ 'Upgrade', 'websocket' ], [ 'Connection', 'Upgrade' ] ])) {
    my $r = get($gw, '/v1/responses', headers => $_);
    rejected($r, 426, 'websocket_not_supported',
             'a WebSocket handshake for responses is rejected with 426');
    is($r->header('Upgrade'), 'HTTP/1.1', '  and names the protocol to use');
    rejected(get($gw, $CHAT, headers => $_), 405, 'method_not_allowed',
             'a WebSocket handshake for another operation gets 405');
}
rejected(get($gw, '/v1/responses'), 405, 'method_not_allowed',
         'GET responses without Upgrade gets 405');


# unknown paths and methods

$error = rejected(post_json($gw, "/v1/nonsense\xc3\xa4", '{}'), 404,
                  'unknown_operation', 'an unknown path gets 404');
like($error->{message}, qr{"/v1/nonsense}, '  the message names the path');
like($error->{message}, qr{chat/completions, .*audio/speech, models\.$},
     '  and the operations that exist');
$error = rejected(post_json($gw, '/v1/' . 'x' x 3000, '{}'), 404,
                  'unknown_operation', 'a long unknown path gets 404');
cmp_ok(length $error->{message}, '<', 700, '  with a message of limited size');
$error = rejected(get($gw, $CHAT), 405, 'method_not_allowed',
                  'a wrong method gets 405');
like($error->{message}, qr{"chat/completions".*POST}, '  and names the method');


# names that fold to known ones

$before = $p->count;
for my $member ('"Model":"gpt-4o-mini"', '"MODEL":"x"', '"mo\\u0044el":"x"',
                "\"\xc5\xbftream\":true", '"\\u017fTREAM":true', '"N":4',
                '"Max_Tokens":100000', "\"max_to\xe2\x84\xaaens\":9",
                '"MAX_TO\\u212aEN\\u017f":9', '"Max_Completion_Tokens":9',
                '"max_Output_tokens":9', '"Stream_Options":{}',
                '"Previous_Response_Id":"r"', '"CONVERSATION":"c"',
                '"stream_options":{"Include_Usage":false}',
                "\"stream_options\":{\"include_u\xc5\xbfage\":false}",
                '"stream_options":{"include_u\\u017fage":false}')
{
    for my $path ($CHAT, "/plain$CHAT") {
        for my $body ("{\"model\":\"gpt-4o\",$member}",
                      "{$member,\"model\":\"gpt-4o\"}")
        {
            rejected(post_json($gw, $path, $body), 400, 'invalid_json',
                     "$path: the body $body is rejected");
        }
    }
}
is($p->count, $before, '  and no provider gets such a request');

is(post_json($gw, $CHAT, '{"model":"gpt-4o","a":{"Model":1,"N":2},'
                         . '"Models":1,"modell":2,"nn":3,"":4}')->status, 200,
   'similar names, and names in other objects, are accepted');

sub form {
    my $body = join '', map { "--b\r\nContent-Disposition: form-data; "
                              . "name=\"$_->[0]\"\r\n\r\n$_->[1]\r\n" } @_;
    return send_as('/v1/audio/transcriptions', "$body--b--\r\n",
                   [ 'Content-Type', 'multipart/form-data; boundary=b' ]);
}

for my $name ('Model', 'MODEL', 'Stream', "\xc5\xbftream") {
    rejected(form([ 'model', 'gpt-4o' ], [ $name, 'true' ]), 400,
             'duplicate_key', "a form with the field \"$name\" is rejected");
}
for my $value (qw(true True TRUE 1 false False 0)) {
    is(form([ 'model', 'gpt-4o' ], [ 'stream', $value ])->status, 200,
       "a form with stream $value is accepted");
}
rejected(form([ 'model', 'gpt-4o' ], [ 'stream', 'maybe' ]), 400,
         'invalid_type', 'a form with stream maybe is rejected');


# requests without a model

for my $path ('/v1/moderations', '/v1/images/generations') {
    my $r = post_json($gw, $path, '{"input":"x"}');
    is($r->status, 200, "$path without a model is accepted");
    is(raw_model(), 'omni', '  and goes to the default model');
    is(post_json($gw, $path, '{}')->status, 200, '  also an empty object');
    is(($p->requests)[-1]{body}, '{"model":"omni"}', '  with the model');
    rejected(post_json($strict, $path, '{"input":"x"}'), 400, 'missing_model',
             "$path without a model and without llm_model default");
}
rejected(post_json($gw, '/v1/embeddings', '{"input":"x"}'), 400,
         'missing_model', 'another operation without a model is rejected');

my $bare = LLM::Nginx->new(vars => { P => $p }, http => <<'CONF');
llm_provider p { endpoint http://127.0.0.1:%%P%%; }
llm_provider azure { type azure; endpoint http://127.0.0.1:%%P%%;
                     api_version 2024-10-21; key k; }
llm_model default { target p; target azure; }
server { listen 127.0.0.1:%%PORT%%; location / { llm_pass; } }
CONF

for my $body ('{"input":"x"}', '{"model":null}', '{}') {
    is(post_json($bare, '/v1/moderations', $body)->status, 200,
       "moderations with $body where no target has a name");
    is(($p->requests)[-1]{body}, $body, '  the body passes unchanged');
}


# names of models

for my $name ('My model', "mod\xc3\xa8le", "\xe6\xa8\xa1\xe5\x9e\x8b") {
    my $r = post_json($gw, $CHAT, "{\"model\":\"az/$name\"}");
    is($r->status, 200, "the model az/$name is accepted");
    my $escaped = $name =~ s/([^A-Za-z])/sprintf '%%%02X', ord $1/ger;
    is(($p->requests)[-1]{path},
       "/openai/deployments/$escaped/chat/completions"
       . "?api-version=2024-10-21",
       '  and is percent-encoded in the path of Azure')
        or diag(($p->requests)[-1]{path});
}

$gw->done;
$strict->done;
$bare->done;
done_testing;
