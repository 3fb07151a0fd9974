#!/usr/bin/perl

# The clouds by their OpenAI-compatible APIs: where each type's requests go,
# by default and with an endpoint, and with which credential; Azure's two kinds
# of URL; pools of keys; and what nginx -t says to half of a configuration.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::TLSFront;

my %host = (
    openai    => 'api.openai.com',
    bedrock   => 'bedrock-runtime.eu-central-1.amazonaws.com',
    gemini    => 'generativelanguage.googleapis.com',
    anthropic => 'api.anthropic.com',
    oci       => 'inference.generativeai.eu-frankfurt-1.oci.oraclecloud.com',
    azure     => 'acme-eu.openai.azure.com',
    classic   => 'acme-us.openai.azure.com',
);
my %base = (
    openai    => '/v1',
    bedrock   => '/openai/v1',
    gemini    => '/v1beta/openai',
    anthropic => '/v1',
    oci       => '/openai/v1',
    azure     => '/openai/v1',
    classic   => '/openai/deployments/model-of-classic',
);
my %more = (
    openai    => '',
    bedrock   => 'type bedrock; api openai; region eu-central-1;',
    gemini    => 'api openai; type gemini;',
    anthropic => 'type anthropic; api openai;',
    oci       => 'region eu-frankfurt-1; type oci; api openai;',
    azure     => "type azure; endpoint https://$host{azure}/;",
    classic   => "endpoint https://$host{classic}; type azure;"
                 . ' api_version 2024-10-21;',
);
my @types = sort keys %host;
my %key = map { $_ => "sk-canary-$_-4Hd7Wq2Xz" }
          @types, qw(pool1 pool2 pool3 entra);

sub fake {
    return LLM::Fake->new(answer => sub {
        my ($req) = @_;
        my $how = ($req->{json} || {})->{user} // '';

        return (status($1), json({ error => { message => 'no' } }))
            if $how =~ /^(\d+)$/;
        return (gate('go'), json({ fine() })) if $how eq 'gate';
        return (header('Content-Type', 'audio/mpeg'), body('sound'))
            if $req->{path} =~ m{/audio/speech};
        return json({ fine() });
    });
}

my %fake = map { $_ => fake() } @types, 'pool';
my $tls = LLM::TLSFront->new(to => $fake{openai}, names => [ values %host ]);
my %front = map {
    $_ => $_ eq 'openai' ? $tls
        : LLM::TLSFront->new(to => $fake{$_}, names => [ values %host ],
                             certs => $tls->certs)
} @types;

# a block of the host's name stands for the cloud
my $http = join '', map { <<"END" } @types;
upstream $host{$_} { server 127.0.0.1:%%\U$_\E_TLS%%; }
llm_provider $_ {
    $more{$_}
    key %%KEY_\U$_\E%%;
    ssl_trusted_certificate %%CA%%;
}
llm_model $_ { target $_ model-of-$_; }
END

# by host: what is left of max_completion_tokens and stream_options
my @quirky = (
    [ 'api.mistral.ai'     => '', 'max_tokens' ],
    [ 'eu.api.MISTRAL.ai'  => '', 'max_tokens' ],
    [ 'mistral.ai'         => '', 'max_tokens' ],
    [ 'api.deepseek.com'   => '', 'max_tokens stream_options' ],
    [ 'ollama.com'         => '', 'max_tokens stream_options' ],
    [ 'notmistral.ai'      => '', 'max_completion_tokens stream_options' ],
    [ 'mistral.ai.test'    => '', 'max_completion_tokens stream_options' ],
    [ 'ai'                 => '', 'max_completion_tokens stream_options' ],
    [ 'off.mistral.ai'     => 'quirks off;',
      'max_completion_tokens stream_options' ],
    [ 'some.mistral.ai'    => 'quirks max_tokens;',
      'max_tokens stream_options' ],
    [ 'own.test'           => 'quirks max_tokens no_stream_options;',
      'max_tokens' ],
    [ 'cloud.mistral.ai'   => 'type gemini; api openai;',
      'max_completion_tokens stream_options' ],
);
my $n = 0;
$http .= join '', map { my ($host, $more) = @$_; $n++; <<"END" } @quirky;
upstream $host { server 127.0.0.1:%%POOL_PLAIN%%; }
llm_provider quirky$n { endpoint http://$host/v1; $more }
llm_model $host { target quirky$n m; }
END

my @all = grep { $_ ne 'openai' } @types;

my $gw = LLM::Nginx->new(
    error_log => 'debug',
    vars => { CA => $tls->ca_file,
              (map { ("\U$_\E_TLS" => $front{$_}->port) } @types),
              (map { ("\U$_\E_PLAIN" => $fake{$_}) } keys %fake),
              (map { ("KEY_\U$_" => $key{$_}) } keys %key) },
    access_format => '$llm_model $status "$llm_attempts"',
    http => $http . <<"CONF");
    llm_model all { @{[ map { "target $_ all-of-$_;" } @all ]}
                    target openai all-of-openai; }

    llm_provider base {
        type bedrock;
        api openai;
        region us-west-2;
        endpoint http://127.0.0.1:%%BEDROCK_PLAIN%%/gateway/x;
        key %%KEY_BEDROCK%%;
    }
    llm_model base { target base m; }

    llm_provider entra {
        type azure;
        endpoint http://127.0.0.1:%%AZURE_PLAIN%%;
        header Authorization "Bearer %%KEY_ENTRA%%";
    }
    llm_model entra { target entra m; }

    llm_provider own {
        type azure;
        endpoint http://127.0.0.1:%%AZURE_PLAIN%%;
        header Api-Key mine;
        key %%KEY_AZURE%%;
    }
    llm_model own { target own m; }

    llm_provider v1 {
        type azure;
        endpoint http://127.0.0.1:%%AZURE_PLAIN%%;
        key %%KEY_AZURE%%;
    }
    llm_provider old {
        type azure;
        api_version 2025-01-01-preview;
        endpoint http://127.0.0.1:%%AZURE_PLAIN%%;
        key %%KEY_AZURE%%;
    }
    llm_model v1/* { target v1 *; }
    llm_model old/* { target old *; }
    llm_model both/* { target old *; target v1 *; }
    llm_model . { target old; }
    llm_model odd { target old a/b:c+d%2e; }

    llm_provider pool {
        endpoint http://127.0.0.1:%%POOL_PLAIN%%/v1;
        key %%KEY_POOL1%%;
        key %%KEY_POOL2%%;
        key %%KEY_POOL3%%;
    }
    llm_model pool { target pool; }

    llm_provider narrow {
        endpoint http://127.0.0.1:%%POOL_PLAIN%%/v1;
        max_concurrency 1;
    }
    llm_model narrow { target narrow; }

    server {
        listen 127.0.0.1:%%PORT%%;
        location / { llm_pass; llm_next_provider_tries 10; }
    }
CONF

sub ask {
    my ($model, %opt) = @_;
    my $operation = delete $opt{operation} // 'chat/completions';
    return post_json($gw, "/v1/$operation", { model => $model, %opt });
}

sub last_request { my ($fake) = @_; return ($fake->requests)[-1] }


# Defaults

for my $type (@types) {
    my $azure = $host{$type} =~ /azure/;

    is(ask($type)->status, 200, "$type: served at its default endpoint");

    my $req = last_request($fake{$type});
    my $query = $type eq 'classic' ? '?api-version=2024-10-21' : '';
    is($req->{path}, "$base{$type}/chat/completions$query", '  by its path');
    is($req->{headers}{host}, $host{$type}, '  with its Host');
    is($req->{headers}{'x-test-sni'}, $host{$type}, '  and its name');
    is($req->{json}{model}, "model-of-$type", '  its model in the body');
    is($req->{headers}{authorization},
       $azure ? undef : "Bearer $key{$type}", '  Authorization');
    is($req->{headers}{'api-key'}, $azure ? $key{$type} : undef,
       '  api-key');
}

is(ask('base')->status, 200, 'a cloud with an endpoint of its own');
is(last_request($fake{bedrock})->{path}, '/gateway/x/chat/completions',
   '  which is the whole base path');
is(last_request($fake{bedrock})->{headers}{authorization},
   "Bearer $key{bedrock}", '  the credential is the type\'s');


# From one cloud to the next (REQ-24)

{
    my %before = map { $_ => scalar $fake{$_}->requests } @types;
    my $r = ask('all', user => '503');
    is($r->status, 503, 'a request that every cloud fails');

    for my $type (@types) {
        my @new = $fake{$type}->requests;
        splice @new, 0, $before{$type};
        is(scalar @new, 1, "REQ-24: $type was asked once");
        is($new[0]{json}{model}, "all-of-$type", '  for its own model');
        like($new[0]{path}, $type eq 'classic'
             ? qr{^/openai/deployments/all-of-classic/chat/completions\?}
             : qr{^\Q$base{$type}\E/chat/completions$}, '  by its own path');
    }
}


# Azure's URLs

sub azure_path {
    my ($model, %opt) = @_;
    my $r = ask($model, %opt);
    return $r->status if $r->status != 200;
    return last_request($fake{azure})->{path};
}

my $V = 'api-version=2025-01-01-preview';

for (
    [ 'v1/m', 'chat/completions' => '/openai/v1/chat/completions' ],
    [ 'v1/m', 'embeddings' => '/openai/v1/embeddings' ],
    [ 'v1/m', 'responses' => '/openai/v1/responses' ],
    [ 'v1/a/../b', 'embeddings' => '/openai/v1/embeddings' ],
    [ 'old/m', 'chat/completions'
      => "/openai/deployments/m/chat/completions?$V" ],
    [ 'old/m', 'completions' => "/openai/deployments/m/completions?$V" ],
    [ 'old/m', 'embeddings' => "/openai/deployments/m/embeddings?$V" ],
    [ 'old/m', 'images/generations'
      => "/openai/deployments/m/images/generations?$V" ],
    [ 'old/m', 'responses' => "/openai/responses?$V" ],
    [ 'old/m', 'audio/speech'
      => "/openai/deployments/m/audio/speech?$V" ],
    [ 'old/m', 'moderations' => "/openai/moderations?$V" ],
    [ 'old/gpt-4.1_x~y', 'embeddings'
      => "/openai/deployments/gpt-4.1_x~y/embeddings?$V" ],
    [ 'old/a?b#c&d=e', 'embeddings'
      => "/openai/deployments/a%3Fb%23c%26d%3De/embeddings?$V" ],
    [ 'old/%2e%2e', 'embeddings'
      => "/openai/deployments/%252e%252e/embeddings?$V" ],
    [ 'old/...', 'embeddings' => "/openai/deployments/.../embeddings?$V" ],
    [ 'old/a..b', 'embeddings' => "/openai/deployments/a..b/embeddings?$V" ],
    [ 'odd', 'embeddings'
      => "/openai/deployments/a%2Fb%3Ac%2Bd%252e/embeddings?$V" ],
) {
    my ($model, $operation, $path) = @$_;
    is(azure_path($model, operation => $operation), $path,
       "azure: $model, $operation");
    my $body = last_request($fake{azure})->{json}{model};
    is($body, $model eq 'odd' ? 'a/b:c+d%2e' : $model =~ s{^\w+/}{}r,
       '  the deployment is the body\'s model as it is');
}

{
    my $r = post_json($gw, '/v1/embeddings?api-version=1&x=y',
                      { model => 'old/m' });
    is($r->status, 200, 'azure: a client\'s query');
    is(last_request($fake{azure})->{path},
       "/openai/deployments/m/embeddings?$V", '  is not passed on');
}

{
    my $before = $fake{azure}->requests;

    for my $model (qw(old/. old/.. old/../x old/x/.. old/x/./y . old//..)) {
        my $r = ask($model);
        is($r->status, 400, "azure: $model would lead elsewhere");
        is($r->json->{error}{code}, 'invalid_model', '  is invalid_model');
        is($r->json->{error}{param}, 'model', '  and names the member');
    }

    is(scalar $fake{azure}->requests, $before, '  no byte of them left');
    is(azure_path('both/..'), '/openai/v1/chat/completions',
       '  a target without names in its URLs takes such a request');
}

is(ask('entra')->status, 200, 'azure: header Authorization without a key');
is(last_request($fake{azure})->{headers}{authorization},
   "Bearer $key{entra}", '  is an Entra token\'s way');
is(last_request($fake{azure})->{headers}{'api-key'}, undef,
   '  no api-key beside it');

is(ask('own')->status, 200, 'azure: header Api-Key');
is(last_request($fake{azure})->{headers}{'api-key'}, 'mine',
   '  wins over the key');


# Pools

{
    my %by;
    for (1 .. 6) {
        ask('pool');
        $by{ last_request($fake{pool})->{headers}{authorization} }++;
    }
    is_deeply(\%by, { map { ("Bearer $key{$_}" => 2) } qw(pool1 pool2 pool3) },
              'the keys of a pool take turns');

    my $r = ask('pool', user => '401');
    is($r->json->{error}{code}, 'upstream_auth', 'a key that is refused');
    my @seen = map { $_->{headers}{authorization} }
               ($fake{pool}->requests)[-3 .. -1];
    is_deeply([ sort @seen ],
              [ map { "Bearer $key{$_}" } qw(pool1 pool2 pool3) ],
              '  the others of its pool are tried, each once');
}

{
    my $n = $fake{pool}->requests;
    my $c = LLM::Client->connect($gw);
    $c->send_request(LLM::Client::json_request('/v1/chat/completions',
                     { model => 'narrow', user => 'gate' }));
    $fake{pool}->wait_requests($n + 1);

    my $r = ask('narrow');
    is($r->status, 503, 'max_concurrency 1, one is in flight');
    is($r->json->{error}{code}, 'no_provider_available',
       '  is no_provider_available');
    is(scalar $fake{pool}->requests, $n + 1, '  nothing was sent');

    $fake{pool}->open_gate('go');
    is($c->read_response->status, 200, '  the one in flight is served');
    is(ask('narrow')->status, 200, '  and then the next one');
}


# Quirks

for (@quirky) {
    my ($host, $more, $left) = @$_;
    ask($host, stream => JSON::PP::true(), max_completion_tokens => 5,
        stream_options => { include_usage => JSON::PP::true() });
    my $json = last_request($fake{pool})->{json};
    is(join(' ', grep { /max|options/ } sort keys %$json), $left,
       "quirks of $host" . ($more ? ", $more" : ''));
}


# No byte of a credential at another provider, in a log or an answer (REQ-24)

for my $at (keys %fake) {
    my @own = $at eq 'pool' ? qw(pool1 pool2 pool3)
            : $at eq 'azure' ? qw(azure entra) : $at;
    my %own = map { $_ => 1 } @own;
    no_canary($fake{$at}->bytes_seen,
              map { $key{$_} } grep { !$own{$_} } keys %key);
}

no_canary(slurp($gw->error_log) . slurp($gw->access_log), values %key);
$gw->done;


# nginx -t

my $dir = tempdir();
spew("$dir/key", "sk-canary-same\n");
my $files = 0;

sub check {
    my ($text) = @_;
    my $file = sprintf '%s/%d.conf', $dir, ++$files;
    spew($file, $text);
    my ($status, $said) = LLM::Nginx->check(
        http => "include $file;", env => { LLM_TEST_SAME => 'sk-canary-same' });
    fail("a secret in: $said") if $said =~ /sk-canary/;
    return ($status, $said, $file);
}

# "# <-" marks the line that is named
sub refused {
    my ($name, $inside, $said) = @_;

    my $text = "llm_provider p {\n$inside\n} # <-\nllm_model m { target p; }\n";
    $text =~ s/^\} # <-/}/m if $inside =~ /# <-/;
    my @lines = split /\n/, $text;
    my ($line) = grep { $lines[$_ - 1] =~ /# <-/ } 1 .. @lines;
    my ($status, $got, $file) = check($text);
    ok($status && $got =~ $said && $got =~ /\Q$file\E:$line\b/,
       "refused: $name") or diag($got);
}

sub accepted {
    my ($name, $inside) = @_;
    my ($status, $got) = check("llm_provider p { $inside }");
    ok($status == 0 && $got !~ /\[(?:emerg|warn)\]/, "accepted: $name")
        or diag($got);
}

my $E = 'endpoint http://127.0.0.1:1;';

for my $type (qw(bedrock gemini anthropic oci)) {
    refused("type $type alone", "$E type $type;",
            qr/type "$type" of llm_provider "p".*native.*set "api openai"/);
    refused("type $type, api native", "$E type $type;\napi native; # <-",
            qr/api "native" of llm_provider "p" is not built.*"$type"/);
    refused("api native, type $type", "$E api native;\ntype $type; # <-",
            qr/api "native" of llm_provider "p" is not built.*"$type"/);
}

for my $type (qw(openai azure)) {
    refused("type $type, api native", "$E type $type;\napi native; # <-",
            qr/"native" of llm_provider "p" is not built.*"$type"/);
}

refused('api native alone', "$E api native;", qr/"native".*"p".*"openai"/);

for my $api ('', 'api openai;', 'api native;') {
    refused("type vertex $api", "$E $api type vertex; # <-\nproject x;",
            qr/"vertex" of llm_provider "p" is not built in/);
}

refused('type twice', "type openai;\ntype openai; # <-", qr/duplicate/);
refused('api twice', "api openai;\napi openai; # <-", qr/duplicate/);

for my $type (qw(bedrock oci)) {
    refused("$type with neither region nor endpoint",
            "type $type; api openai;", qr/"region".*"endpoint".*"p".*"$type"/);
}

refused('azure without an endpoint', 'type azure;',
        qr/no "endpoint" in llm_provider "p".*"azure"/);
refused('azure, an endpoint with a path',
        'type azure; endpoint https://127.0.0.1:1/openai/v1;',
        qr/path in "endpoint" of llm_provider "p".*"azure"/);

for (
    [ 'region' => 'openai', '' ],
    [ 'region' => 'azure', '' ],
    [ 'region' => 'gemini', 'api openai;' ],
    [ 'region' => 'anthropic', 'api openai;' ],
    [ 'project' => 'openai', '' ],
    [ 'project' => 'gemini', 'api openai;' ],
    [ 'api_version' => 'openai', '' ],
    [ 'api_version' => 'bedrock', 'api openai;' ],
) {
    my ($directive, $type, $api) = @$_;
    refused("$directive of type $type", "$E type $type; $api $directive x;",
            qr/"$directive" of llm_provider "p".*"$type"/);
}

refused('quirks of type azure', "$E type azure; quirks max_tokens;",
        qr/"quirks" of llm_provider "p".*"azure"/);

for my $directive (qw(region project api_version)) {
    for my $value ('""', '"a b"', 'a/b', 'a.b', 'a@b', 'a&b=c', '"a\nb"',
                   "\xc3\xa9", 'x' x 64)
    {
        refused("$directive " . substr($value, 0, 9),
                "$E\n$directive $value; # <-", qr/invalid value/);
    }
    refused("$directive twice", "$E $directive a;\n$directive a; # <-",
            qr/"$directive" directive is duplicate/);
}

for my $value (qw(0 -1 x 1.5 99999999999)) {
    refused("max_concurrency $value", "$E\nmax_concurrency $value; # <-",
            qr/invalid number|"max_concurrency"|must be/);
}

refused('quirks that nobody has', "$E\nquirks max_token; # <-",
        qr/"max_token"/);
refused('quirks off beside one', "$E quirks off max_tokens;",
        qr/"quirks" of llm_provider "p"/);

for my $twin ('sk-canary-same', 'env:LLM_TEST_SAME', "file:$dir/key") {
    refused('the same key twice, which is not printed',
            "$E key sk-other; key sk-canary-same;\nkey $twin; # <-",
            qr/same "key" twice in llm_provider "p"/);
}

for my $model (qw(.. . a/../b ../a a/.)) {
    my ($status, $said, $file) = check(<<"END");
llm_provider p { type azure; api_version 2024-10-21; $E }
llm_provider q { type azure; $E }
llm_model m {
    target q $model;
    target p $model;
}
END
    ok($status && $said =~ /"\Q$model\E".*"p" in \Q$file\E:5\b/,
       "refused: deployment $model") or diag($said);
}

accepted('quirks', "$E quirks no_stream_options max_tokens;");
accepted('quirks off', "$E quirks off;");
accepted('keys that differ', "$E key a; key b; key ab;");
accepted('max_concurrency', "$E max_concurrency 64;");
accepted('a region beside an endpoint',
         "type bedrock; api openai; region cn-north-1; $E");
accepted('a version of azure', "type azure; api_version preview; $E");

done_testing;
