#!/usr/bin/perl

# Who asks: keys of the gateway's own, what each may use, and that no key of a
# client goes any further.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use Digest::SHA qw(sha256_hex);
use POSIX qw(strftime);

my %key = map { $_ => "sk-canary-$_-0123456789abcdef" }
          qw(acme second gone soon globex none provider wrong);

my $p = LLM::Fake->new(answer => sub { json({ fine() }) });

sub consumers {
    my $year = 1 + strftime('%Y', gmtime);
    return { consumers => [
        { name => 'acme',
          keys => [ { sha256 => sha256_hex($key{acme}) },
                    { sha256 => uc sha256_hex($key{second}),
                      expires => "$year-01-01T00:00:00Z" },
                    { sha256 => sha256_hex($key{gone}),
                      expires => '2020-02-29T12:00:00Z' } ],
          vars => { region => 'eu', tpm => '200k' } },
        { name => 'Globex Inc.', keys => [ { sha256 => sha256_hex($key{globex}) } ],
          models => [ 'gpt-*', 'standard', 'exact' ] },
        { name => 'nobody', keys => [ { sha256 => sha256_hex($key{none}) } ],
          models => [] },
    ] };
}

my $dir = tempdir();
spew("$dir/keys.json", JSON::PP::encode_json(consumers()));
spew("$dir/users", "joe:{PLAIN}secret\n");

my $HTTP = <<'CONF';
llm_keys %%DIR2%%/keys.json;
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; key %%KEY%%; label region=eu; }
llm_model gpt-4o { target p; alias standard gpt-alias; }
llm_model exact { target p; }
llm_model secret { target p; alias gpt-open; }
llm_model local/* { target p *; }
llm_model cheap { target p; }
limit_req_zone $llm_consumer zone=c:1m rate=1r/m;
server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_auth on; llm_pass; }
    location /open/ { llm_pass; }
    location /either/ {
        satisfy any;
        auth_basic "x";
        auth_basic_user_file %%DIR2%%/users;
        llm_auth on;
        llm_pass;
    }
    location /named/ { llm_auth on; llm_pass cheap; }
    location /region/ { llm_auth on; llm_require region=$llm_consumer_region; llm_pass; }
    location /proxied/ { llm_auth on; proxy_pass http://127.0.0.1:%%P%%; }
    location /slow/ { llm_auth on; limit_req zone=c; llm_pass; }
    location /say { return 200 "$llm_consumer|$llm_consumer_region|$llm_consumer_tpm|$llm_consumer_x"; }
    location /status/ { llm_auth on; llm_status; }
}
CONF

my $gw = LLM::Nginx->new(
    vars => { P => $p, DIR2 => $dir, KEY => $key{provider} },
    access_format => '$status $llm_consumer $llm_consumer_region',
    http => $HTTP);
$gw->expect_error(qr/user "joe"/, qr/no user\/password was provided/,
                  qr/limiting requests/);

sub bearer { return [ Authorization => "Bearer $_[0]" ] }

sub ask {
    my ($headers, %opt) = @_;
    return post_json($gw, ($opt{at} // '') . '/v1/chat/completions',
                     { model => $opt{model} // 'gpt-4o' },
                     headers => $headers // []);
}

sub refused {
    my ($r, $what) = @_;
    is($r->status, 401, "$what: 401");
    is($r->json->{error}{code}, 'invalid_api_key', '  by its code');
    is($r->json->{error}{type}, 'invalid_request_error', '  and type');
    is($r->header('WWW-Authenticate'), 'Bearer', '  WWW-Authenticate');
    ok($r->header('x-request-id'), '  x-request-id');
}

sub forbidden {
    my ($r, $what) = @_;
    is($r->status, 403, "$what: 403");
    is($r->json->{error}{code}, 'model_not_allowed', '  by its code');
    is($r->json->{error}{type}, 'permission_error', '  and type');
}


# Keys

refused(ask(), 'no key');
refused(ask([ bearer($key{wrong}) ]), 'a wrong key');
refused(ask([ bearer('') ]), 'an empty key');
refused(ask([ bearer($key{gone}) ]), 'a key that has expired');
refused(ask([ bearer(substr $key{acme}, 0, -1) ]), 'half a key');
refused(ask([ bearer(sha256_hex($key{acme})) ]), 'a hash is no key');
refused(ask([ [ Authorization => "Basic $key{acme}" ] ]), 'another scheme');
refused(ask([ bearer('x' x 2000) ]), 'a very long key');
refused(ask([ bearer($key{acme}), [ 'X-Api-Key', $key{globex} ] ]),
        'two different keys');
refused(ask([ [ 'X-Api-Key', $key{acme} ], [ 'x-api-key', $key{wrong} ] ]),
        'a header twice');
is($p->count, 0, 'nobody of them has reached the provider');

for ([ 'Authorization: Bearer' => bearer($key{acme}) ],
     [ 'in any case' => [ authorization => "bEARER  $key{acme}" ] ],
     [ 'x-api-key' => [ 'X-Api-Key', $key{acme} ] ],
     [ 'api-key' => [ 'api-key', $key{acme} ] ],
     [ 'a second key' => bearer($key{second}) ]) {
    my ($what, $header) = @$_;
    is(ask([ $header ])->status, 200, $what);
}
is(ask([ bearer($key{acme}), [ 'api-key', $key{acme} ] ])->status, 200,
   'the same key twice');

$gw->wait_log(qr/^200 acme eu$/);
pass('the log says who it was');
for my $req ($p->requests) {
    is($req->{headers}{authorization}, "Bearer $key{provider}",
       'REQ-34 the provider sees its own key');
}
no_canary($p->bytes_seen, grep { $_ ne $key{provider} } values %key);

is(ask(undef, at => '/open')->status, 200, 'without llm_auth no key is needed');
is(request($gw, path => '/v1/chat/completions', method => 'DELETE')->status,
   401, '401 comes before 405');


# Models

my $globex = [ bearer($key{globex}) ];
is(ask($globex, model => $_)->status, 200, "allowed: $_") for 'gpt-4o', 'exact';
forbidden(ask($globex, model => 'secret'), 'a model that is not on the list');
forbidden(ask($globex, model => 'gpt-open'),
          'an alias on the list that leads to one that is not');
is(ask($globex, model => 'standard')->status, 200,
   'an alias on the list, as what it leads to');
forbidden(ask($globex, model => 'local/x'), 'what a prefix would serve');
is(ask($globex, model => 'nowhere')->status, 404, 'no such model: 404 first');
forbidden(ask([ bearer($key{none}) ]), 'an empty list');
is(ask([ bearer($key{acme}) ], model => 'local/x')->status, 200,
   'no list: everything');
is(ask([ bearer($key{none}) ], at => '/named', model => 'x')->status, 200,
   'a model that llm_pass names is the operator\'s to choose');

sub models {
    my ($key) = @_;
    my $r = get($gw, '/v1/models', headers => [ bearer($key) ]);
    return join ' ', map { $_->{id} } @{ $r->json->{data} };
}
is(models($key{acme}), 'gpt-4o standard gpt-alias exact secret gpt-open cheap',
   'GET models lists all of them');
is(models($key{globex}), 'gpt-4o standard gpt-alias exact', '  what each may use');
is(models($key{none}), '', '  nothing for nobody');
is(get($gw, '/v1/models/secret', headers => $globex)->status, 404,
   'GET models/NAME: not his');
is(get($gw, '/v1/models/exact', headers => $globex)->status, 200, '  his');
is(get($gw, '/v1/models')->status, 401, '  without a key: 401');


# What goes with it

is(get($gw, '/say', headers => [ bearer($key{acme}) ])->body, 'acme|eu|200k|',
   '$llm_consumer and its vars, in any location');
is(get($gw, '/say')->body, '|||', '  of nobody');
is(get($gw, '/say', headers => $globex)->body, 'Globex Inc.|||',
   '  of one without vars');
is(ask([ bearer($key{acme}) ], at => '/region')->status, 200,
   'llm_require by a var of the consumer');
is(ask($globex, at => '/region')->status, 503, '  who has none is not served');

is(ask([ bearer($key{acme}) ], at => '/either')->status, 200,
   'satisfy any: by the key');
is(ask([ [ Authorization => 'Basic am9lOnNlY3JldA==' ] ], at => '/either')
   ->status, 200, '  or by the password');
is(ask(undef, at => '/either')->status, 401, '  or not at all');
is(ask([ bearer($key{acme}) ], at => '/slow')->status, 200,
   'limit_req by $llm_consumer');
is(ask([ bearer($key{second}) ], at => '/slow')->status, 503,
   '  counts the keys of one together');

my $n = $p->count;
refused(ask(undef, at => '/proxied'), 'in front of plain proxy_pass');
is($p->count, $n, '  nothing goes through');
is(ask([ bearer($key{acme}) ], at => '/proxied')->status, 200, '  with a key');
is(get($gw, '/status/status.json')->status, 401, 'a page for operators, too');

{
    my $new = consumers();
    shift @{ $new->{consumers}[0]{keys} };
    spew("$dir/keys.json", JSON::PP::encode_json($new));
    $gw->reload;
    refused(ask([ bearer($key{acme}) ]), 'a key that was taken out');
    is(ask([ bearer($key{second}) ])->status, 200, '  the other one stays');
}

no_canary($gw->error_log . $gw->access_log, values %key);
$gw->done;


# nginx -t

sub check {
    my ($text, $more) = @_;
    spew("$dir/bad.json", ref $text ? JSON::PP::encode_json($text) : $text);
    return LLM::Nginx->check(http => "llm_keys $dir/bad.json;" . ($more // ''));
}

my $hash = sha256_hex('x');
my @good = (name => 'a', keys => [ { sha256 => $hash } ]);
sub one { return { consumers => [ { @good, @_ } ] } }

is((check(one()))[0], 0, 'nginx -t takes a good one');
for ([ 'no JSON' => 'keys' ], [ 'an array' => '[]' ],
     [ 'no consumers' => {} ],
     [ 'consumers that are no array' => { consumers => {} } ],
     [ 'a member beside consumers' => { consumers => [], more => 1 } ],
     [ 'a consumer that is no object' => { consumers => [ 1 ] } ],
     [ 'no name' => { consumers => [ { keys => [] } ] } ],
     [ 'an empty name' => one(name => '') ],
     [ 'a name with a line feed' => one(name => "a\nb") ],
     [ 'a name of 129 bytes' => one(name => 'x' x 129) ],
     [ 'a name twice' => { consumers => [ { name => 'a' }, { name => 'a' } ] } ],
     [ 'an unknown member' => one(more => 1) ],
     [ 'keys that are no array' => one(keys => {}) ],
     [ 'a short hash' => one(keys => [ { sha256 => 'ab' } ]) ],
     [ 'a hash that is none' => one(keys => [ { sha256 => 'g' x 64 } ]) ],
     [ 'no hash' => one(keys => [ {} ]) ],
     [ 'a key in clear' => one(keys => [ { sha256 => $hash, key => 'x' } ]) ],
     [ 'a hash twice' => one(keys => [ { sha256 => $hash },
                                       { sha256 => uc $hash } ]) ],
     [ 'a day that is none' => one(keys => [ { sha256 => $hash,
                                    expires => '2027-02-30T00:00:00Z' } ]) ],
     [ 'an offset without a colon' => one(keys => [ { sha256 => $hash,
                                    expires => '2027-01-01T00:00:00+0100' } ]) ],
     [ 'a NUL in a time' => one(keys => [ { sha256 => $hash,
                                    expires => "2027-01-01T00:00:00Z\0" } ]) ],
     [ 'a time that is a number' => one(keys => [ { sha256 => $hash,
                                    expires => 7 } ]) ],
     [ 'models that are no array' => one(models => 'x') ],
     [ 'a model that is no name' => one(models => [ 1 ]) ],
     [ '"*" inside' => one(models => [ 'a*b' ]) ],
     [ 'vars that are no object' => one(vars => []) ],
     [ 'a var with another name' => one(vars => { 'A-b' => 'x' }) ],
     [ 'a var that is a number' => one(vars => { a => 1 }) ],
     [ 'a member twice' => '{"consumers":[],"consumers":[]}' ]) {
    my ($what, $text) = @$_;
    my ($status, $said) = check($text);
    isnt($status, 0, "refused: $what");
    like($said, qr/\[emerg\] .*bad\.json.* in .*:\d+/, '  with both files');
    unlike($said, qr/$hash/i, '  without the hash');
}

for my $time ('2027-01-01T00:00:00.5Z', '2027-01-01t00:00:00z',
              '2027-01-01T00:00:00+05:30', '2016-12-31T23:59:60Z')
{
    is((check(one(keys => [ { sha256 => $hash, expires => $time } ])))[0], 0,
       "\"expires\" may be $time");
}

{
    my @many = map { { name => sprintf('team-%06d', $_),
                       keys => [ { sha256 => sha256_hex("k$_") } ],
                       vars => { tpm => '200k', region => 'eu' } } } 1 .. 100_000;
    my $text = JSON::PP::encode_json({ consumers => \@many });
    is((check($text . ' ' x (64 * 1024 * 1024 - length $text)))[0], 0,
       '64 MiB with 100,000 consumers are read');
    my ($status, $said) = check($text . ' ' x (64 * 1024 * 1024 + 1
                                               - length $text));
    isnt($status, 0, 'a byte more is refused');
    like($said, qr/is larger than/, '  because of the size');
    $many[99_999]{name} = 'team-000001';
    ($status, $said) = check({ consumers => \@many });
    like($said, qr/duplicate name of consumer "team-000001" in /,
         'the last name of 100,000 is refused if it is the first one again');
}

for ([ 'no file' => "llm_keys $dir/none.json;", qr/failed \(2:/ ],
     [ 'twice' => "llm_keys $dir/ok.json; llm_keys $dir/ok.json;",
       qr/is duplicate/ ],
     [ 'llm_auth without llm_keys' => 'server { llm_auth on; }',
       qr/"llm_auth on" without "llm_keys"/ ]) {
    my ($what, $http, $why) = @$_;
    spew("$dir/ok.json", '{"consumers":[]}');
    my ($status, $said) = LLM::Nginx->check(http => $http);
    isnt($status, 0, "refused: $what");
    like($said, $why, '  and why');
}

done_testing;
