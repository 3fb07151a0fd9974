#!/usr/bin/perl

# What nginx -t refuses, with the file, the line and the name at fault, and
# never with a secret; what it accepts; and which level of the configuration
# a request is served by.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $dir = tempdir();
my $port = reserve_port();
my $files = 0;

my $PROVIDER = 'llm_provider p { endpoint http://127.0.0.1:1/v1; }';
my $MODEL = "$PROVIDER llm_model m { target p; }";

# never to be seen in what nginx says
my @CANARIES = map { "sk-canary-$_" } qw(literal env file url query);


# The text is the contents of http {}; "# <-" marks the lines that may be
# named (a block may be blamed at its end).  Without a mark it is nginx itself
# that speaks and names none.

sub check {
    my ($text, %opt) = @_;

    my $file = sprintf '%s/case-%d.conf', $dir, ++$files;
    spew($file, $text);
    my ($status, $said) = LLM::Nginx->check(http => "include $file;", %opt);

    my @lines = split /\n/, $text;
    my @marked = grep { $lines[$_ - 1] =~ /# <-/ } 1 .. @lines;
    return ($status, $said, $file, @marked);
}


sub server {
    my ($text) = @_;
    return "server { listen 127.0.0.1:$port;\n$text\n}\n";
}


sub refused {
    my ($name, $text, $at_fault, %opt) = @_;

    my ($status, $said, $file, @marked) = check($text, %opt);
    my ($emerg) = $said =~ /(\[emerg\] .*)/s;
    my $lines = join '|', @marked;
    my @missing = grep { ($emerg // '') !~ $_ } $at_fault,
                  @marked ? qr/\Q$file\E:(?:$lines)\b/ : ();
    push @missing, 'a secret is!' if leaks($said);

    ok($status && !@missing, "refused: $name")
        or diag("status $status, not said: @missing\n$said");
}


sub accepted {
    my ($name, $text, %opt) = @_;

    my ($status, $said) = check($text, %opt);
    ok($status == 0 && !leaks($said), "accepted: $name") or diag($said);
    return $said;
}


sub leaks {
    my ($said) = @_;
    return grep { index($said, $_) >= 0 } @CANARIES;
}


# Providers

refused('a provider twice (REQ-18)', <<'END', qr/duplicate.*"p"/);
llm_provider p { endpoint http://127.0.0.1:1/v1; }
llm_provider p { endpoint http://127.0.0.1:2/v1; }  # <-
END

for my $name (qw(none other)) {
    refused("a provider named $name", "llm_provider $name { # <-\n}\n",
            qr/"$name"/);
}

for my $name ('a.b', 'a b', 'a:b', 'a/b', 'a*', '', "\xc3\xa9") {
    refused("a provider named \"$name\"", "llm_provider \"$name\" { # <-\n}\n",
            qr/"\Q$name\E"/);
}

refused('an unknown type', <<'END', qr/"openia".*"p"/);
llm_provider p {
    type openia;  # <-
}
END

refused('api native', <<'END', qr/"native".*"p"/);
llm_provider p {
    type openai;
    api native;  # <-
}
END

refused('an unknown api', <<'END', qr/"soap".*"p"/);
llm_provider p {
    api soap;  # <-
}
END

for (
    [ 'ftp' => 'ftp://127.0.0.1/v1' ],
    [ 'no scheme' => '127.0.0.1:80/v1' ],
    [ 'nothing but a scheme' => 'http://' ],
    [ 'no host' => 'http:///v1' ],
    [ 'no host but a port' => 'http://:80/v1' ],
    [ 'a query' => 'http://127.0.0.1/v1?x=y' ],
    [ 'a fragment' => 'http://127.0.0.1/v1#x' ],
    [ 'userinfo' => 'http://user:word@127.0.0.1/v1' ],
    [ 'port 0' => 'http://127.0.0.1:0/v1' ],
    [ 'a port too large' => 'http://127.0.0.1:65536/v1' ],
    [ 'a port that is no number' => 'http://127.0.0.1:x/v1' ],
    [ 'a space' => 'http://127.0.0.1/v 1' ],
    [ 'a line feed' => 'http://127.0.0.1/v1\nX-Injected: 1' ],
    [ 'an open bracket' => 'http://[::1/v1' ],
) {
    my ($what, $url) = @$_;
    refused("an endpoint with $what", "llm_provider p {\n"
            . "    endpoint \"$url\"; # <-\n}\n", qr/"p"/);
}

for ([ password => 'http://user:sk-canary-url@127.0.0.1/v1' ],
     [ 'query' => 'http://127.0.0.1/v1?key=sk-canary-query' ])
{
    my ($what, $url) = @$_;
    refused("an endpoint with a $what, which is not printed (REQ-34)",
            "llm_provider p {\n    endpoint $url; # <-\n}\n", qr/"p"/);
}

refused('two endpoints', <<'END', qr/"endpoint" directive is duplicate/);
llm_provider p {
    endpoint http://127.0.0.1:1/v1;
    endpoint http://127.0.0.1:2/v1;  # <-
}
END


# Secrets

spew("$dir/empty", '');
spew("$dir/blank", "\nsk-canary-file\n");
spew("$dir/control", "sk-canary-file\x01\n");
spew("$dir/nul", "sk-canary-file\0more\n");
spew("$dir/good", "sk-canary-file\r\nsecond line\n");

for (
    [ 'a missing environment variable' => 'env:LLM_TEST_ABSENT',
      qr/"LLM_TEST_ABSENT"/ ],
    [ 'an empty environment variable' => 'env:LLM_TEST_EMPTY',
      qr/"LLM_TEST_EMPTY"/ ],
    [ 'no name of a variable' => 'env:', qr/environment/ ],
    [ 'a control byte in a variable' => 'env:LLM_TEST_CONTROL',
      qr/"LLM_TEST_CONTROL"/ ],
    [ 'a missing file' => "file:$dir/absent", qr{"\Q$dir\E/absent"} ],
    [ 'an empty file' => "file:$dir/empty", qr{"\Q$dir\E/empty"} ],
    [ 'an empty first line' => "file:$dir/blank", qr{"\Q$dir\E/blank"} ],
    [ 'a folder for a file' => "file:$dir", qr{"\Q$dir\E"} ],
    [ 'no name of a file' => 'file:', qr/file/ ],
    [ 'a control byte in a file' => "file:$dir/control",
      qr{"\Q$dir\E/control"} ],
    [ 'a NUL in a file' => "file:$dir/nul", qr{"\Q$dir\E/nul"} ],
    [ 'an empty literal' => '""', qr/literal/ ],
    [ 'a line feed in a literal' => '"sk-canary-literal\nX: y"',
      qr/literal/ ],
) {
    my ($what, $source, $at_fault) = @$_;
    refused("as a key, $what (REQ-33)", <<"END", $at_fault,
llm_provider p {
    endpoint http://127.0.0.1:1/v1;
    key $source;  # <-
}
END
            env => { LLM_TEST_ABSENT => undef, LLM_TEST_EMPTY => '',
                     LLM_TEST_CONTROL => "sk-canary-env\x7f" });
}

for (
    [ 'the environment' => 'env:LLM_TEST_KEY' ],
    [ 'a file' => "file:$dir/good" ],
    [ 'the configuration' => 'sk-canary-literal' ],
) {
    my ($what, $source) = @$_;
    accepted("a key from $what", <<"END",
llm_provider p { endpoint http://127.0.0.1:1/v1; key $source; }
END
             env => { LLM_TEST_KEY => 'sk-canary-env' });
}


for my $source ('$OPENAI_API_KEY', '"${OPENAI_API_KEY}"', '\'$sk-canary-url\'') {
    refused("a key $source, as in a shell", <<"END", qr/"env:NAME"/);
llm_provider p {
    key $source;  # <-
}
END
}

for my $source ('"Bearer sk-canary-literal"', 'env:LLM_TEST_KEY',
                '"bearer sk-canary-literal"')
{
    refused("a key with its own \"Bearer\": $source", <<"END",
llm_provider p {
    key $source;  # <-
}
END
            qr/"key" of llm_provider "p" begins with "Bearer"/,
            env => { LLM_TEST_KEY => 'Bearer sk-canary-env' });
}

for my $operation (qw(chat/completions completions embeddings responses models
                      moderations images/generations audio/speech messages))
{
    for my $end ('', '/') {
        refused("an endpoint that ends in $operation$end", <<"END",
llm_provider p {
    endpoint http://127.0.0.1:1/v1/$operation$end;  # <-
}
END
                qr{"\Q$operation\E", .* use "http://127\.0\.0\.1:1/v1"});
    }
}

accepted('endpoints with a path that only resembles an operation', <<'END');
llm_provider a { endpoint http://127.0.0.1:1/models; }
llm_provider b { endpoint http://127.0.0.1:1/my-completions; }
llm_provider c { endpoint http://127.0.0.1:1/messages; }
END


# Headers and labels

for my $name (qw(Connection connection Content-Length Transfer-Encoding
                 Keep-Alive TE Upgrade), 'X Y', 'X:', '')
{
    refused("header \"$name\"", <<"END", qr/"\Q$name\E".*"p"/);
llm_provider p {
    endpoint http://127.0.0.1:1/v1;
    header "$name" x;  # <-
}
END
}

for my $name (qw(Authorization authorization X-Api-Key Api-Key Connection
                 Content-Length Transfer-Encoding Host Accept-Encoding))
{
    refused("llm_pass_header $name", $MODEL . "\n" . server(<<"END"),
location / { llm_pass;
             llm_pass_header X-Good $name; } # <-
END
            qr/"$name"/);
}

for my $label ('region', '=eu', 'region=', '=') {
    refused("label $label", <<"END", qr/"\Q$label\E"/);
llm_provider p {
    label certified=hipaa $label;  # <-
}
END
}

accepted('headers, labels, everything a provider may have', <<'END');
llm_provider p {
    type openai;
    api openai;
    endpoint https://127.0.0.1:1/v1/;
    label region=eu certified=hipaa,soc2;
    label tier=1;
    header Host elsewhere.test;
    header Authorization $http_authorization;
    header X-Empty "";
    key a; key b;
    max_concurrency 8;
    quirks max_tokens;
    stream_usage off;
    connect_timeout 1s; header_timeout 1s; first_token_timeout 1s;
    idle_timeout 1s; timeout 1m;
    ssl_verify off;
    ssl_name provider.test;
}
llm_provider default_endpoint { key x; }
END


# Models

refused('an unknown provider in a target (REQ-18)', <<"END",
$PROVIDER
llm_model m {
    target p;
    target q;  # <-
}
END
        qr/"q".*"m"/);

accepted('a provider after the model that names it',
         "llm_model m { target p; }\n$PROVIDER");

refused('a model without a target', "llm_model m {  # <-\n}  # <-\n",
        qr/"m"/);

refused('a model twice', <<"END", qr/duplicate.*"m"/);
$PROVIDER
llm_model m { target p; }
llm_model n { target p; }
llm_model m { target p; }  # <-
END

refused('a pattern twice', <<"END", qr/duplicate.*"m\*"/);
$PROVIDER
llm_model m* { target p; }
llm_model m* { target p; }  # <-
END

refused('a default twice', <<"END", qr/duplicate.*"default"/);
$PROVIDER
llm_model default { target p; }
llm_model default { target p; }  # <-
END

refused('an alias that is a model', <<"END", qr/duplicate.*"m"/);
$PROVIDER
llm_model m { target p; }
llm_model n {  # <-
    target p;
    alias o m; # <-
}              # <-
END

refused('an alias twice', <<"END", qr/duplicate.*"o"/);
$PROVIDER
llm_model m { target p; alias o; }
llm_model n {  # <-
    target p;
    alias o;   # <-
}              # <-
END

for my $name (qw(none other), 'a b ', 'a"b', 'a\\\\b', '', "\xc3",
              'x' x 257)
{
    my $shown = $name =~ s/\\\\/\\/r;
    my $quoted = $name =~ /"/ ? "'$name'" : "\"$name\"";
    refused('a model named "' . substr($shown, 0, 10) . '"',
            "$PROVIDER\nllm_model $quoted { target p; } # <-\n",
            qr/"\Q$shown\E"/);
}

for my $name (qw(none other), 'a*', ' a', '') {
    refused("an alias \"$name\"",
            "$PROVIDER\nllm_model m { target p;\nalias x \"$name\"; } # <-\n",
            qr/"\Q$name\E"/);
}

for my $name (qw(a*b *a a** a*b*)) {
    refused("a pattern $name, * in the middle",
            "$PROVIDER\nllm_model $name { target p; } # <-\n",
            qr/"\Q$name\E"/);
}

refused('target * in a model that is no prefix', <<"END", qr/"m"/);
$PROVIDER
llm_model m {
    target p *;  # <-
}
END

for my $name ('x*', 'a b ', 'a"b', '') {
    my $quoted = $name =~ /"/ ? "'$name'" : "\"$name\"";
    refused("a target's model \"$name\"",
            "$PROVIDER\nllm_model m* {\ntarget p $quoted; } # <-\n",
            qr/"\Q$name\E"/);
}

accepted('odd, but good names', <<"END");
$PROVIDER
llm_model "My model" { target p "a b"; alias "mod\xc3\xa8le" "a b c"; }
llm_model * { target p *; }
llm_model default { target p; alias standard; }
llm_model a/b:c\@d+e=f,g~h { target p x/y:z; }
llm_model @{[ 'x' x 256 ]} { target p; }
END


# Locations

refused('llm_pass without any llm_model (REQ-18)', $PROVIDER . "\n"
        . server("location /v1/ {\nllm_pass; } # <-"), qr/"llm_pass"/);

refused('llm_pass twice', $MODEL . "\n"
        . server("location /v1/ { llm_pass;\nllm_pass; } # <-"),
        qr/"llm_pass" directive is duplicate/);

refused('llm_pass with no model\'s name', $MODEL . "\n"
        . server("location /v1/ {\nllm_pass \"a b \"; } # <-"), qr/"a b "/);

refused('llm_pass with the name of a provider', <<"END"
llm_provider openai { endpoint http://127.0.0.1:1/v1; }
llm_model default { target openai; }
llm_model o* { target openai; }
END
        . server("location /v1/ {\nllm_pass openai; # <-\n}"),
        qr/"llm_pass openai" names an llm_provider, .* "llm_pass;"/);

refused('llm_pass with a model that does not exist', $MODEL . "\n"
        . server("location /v1/ {\nllm_pass other; # <-\n}"),
        qr/no llm_model for the model "other"/);

accepted('llm_pass with a model, or an alias, that has a provider\'s name',
         <<'END'
llm_provider p { endpoint http://127.0.0.1:1/v1; }
llm_provider q { endpoint http://127.0.0.1:1/v1; }
llm_model p { target p; alias q; }
END
         . server('location /p/ { llm_pass p; } location /q/ { llm_pass q; }'));

for my $other ('proxy_pass http://127.0.0.1:9;', 'fastcgi_pass 127.0.0.1:9;',
               'empty_gif;')
{
    for ([ "beside $other", "$other\nllm_pass; # <-" ],
         [ "before $other", "\nllm_pass; # <-\n$other" ])
    {
        refused("llm_pass $_->[0]", $MODEL . "\n"
                . server("location /v1/ { $_->[1]\n}"),
                qr{another content handler.* in location "/v1/"});
    }
}

refused('llm_pass with an unknown variable', $MODEL . "\n"
        . server("location /v1/ { llm_pass \$nowhere; }"),
        qr/"nowhere"/);

for my $value ('error,timeout', 'http_999x', 'everything') {
    refused("llm_next_provider $value", $MODEL . "\n"
            . server("location / {\nllm_next_provider error $value; } # <-"),
            qr/"$value"/);
}

refused('llm_next_provider off beside others', $MODEL . "\n"
        . server("location / {\nllm_next_provider off error; } # <-"),
        qr/"llm_next_provider"/);

refused('llm_next_provider twice', $MODEL . "\n"
        . server("location / { llm_next_provider error;\n"
                 . 'llm_next_provider timeout; } # <-'),
        qr/"llm_next_provider" directive is duplicate/);

for (qw(llm_connect_timeout llm_header_timeout llm_first_token_timeout
        llm_idle_timeout llm_timeout llm_next_provider_timeout
        llm_next_provider_tries llm_provider_header llm_intercept_errors))
{
    refused("$_ soon", $MODEL . "\n"
            . server("location / {\n$_ soon; } # <-"), qr/"?$_"?|"soon"/);
    refused("$_ without a value", $MODEL . "\n"
            . server("location / {\n$_; } # <-"), qr/"$_"/);
    refused("$_ twice", $MODEL . "\n"
            . server("location / { $_ @{[ /header$|errors/ ? 'on' : 5 ]};\n"
                     . "$_ @{[ /header$|errors/ ? 'on' : 6 ]}; } # <-"),
            qr/"$_" directive is duplicate/);
}


# Places and arguments

for (
    [ 'endpoint in http', "endpoint http://x;  # <-\n", 'endpoint' ],
    [ 'target in http', "target p;  # <-\n", 'target' ],
    [ 'llm_pass in http', "llm_pass;  # <-\n", 'llm_pass' ],
    [ 'llm_pass in server', server("llm_pass;  # <-\n"), 'llm_pass' ],
    [ 'llm_provider in server', server("llm_provider q { # <-\n}"),
      'llm_provider' ],
    [ 'llm_model in server', server("llm_model q { # <-\n}"), 'llm_model' ],
    [ 'key in location', server("location / { key x; # <-\n}"), 'key' ],
    [ 'target in llm_provider', "llm_provider q {\ntarget p; # <-\n}",
      'target' ],
    [ 'endpoint in llm_model', "llm_model q {\nendpoint http://x; # <-\n}",
      'endpoint' ],
    [ 'llm_timeout in llm_provider',
      "llm_provider q {\nllm_timeout 1s; # <-\n}", 'llm_timeout' ],
    [ 'proxy_pass in llm_provider',
      "llm_provider q {\nproxy_pass http://x; # <-\n}", 'proxy_pass' ],
    [ 'llm_provider in llm_provider',
      "llm_provider q {\nllm_provider r { # <-\n}}", 'llm_provider' ],
    [ 'an unknown directive in llm_provider',
      "llm_provider q {\nendpiont http://x; # <-\n}", 'endpiont' ],
    [ 'an unknown directive in llm_model',
      "llm_model q {\ntargte p; # <-\n}", 'targte' ],
    [ 'llm_provider without a name', "llm_provider { # <-\n}",
      'llm_provider' ],
    [ 'llm_provider with two', "llm_provider a b { # <-\n}",
      'llm_provider' ],
    [ 'llm_provider without a block', "llm_provider a; # <-\n",
      'llm_provider' ],
    [ 'llm_model without a name', "llm_model { # <-\n}", 'llm_model' ],
    [ 'endpoint with two', "llm_provider q {\nendpoint http://a http://b;"
      . " # <-\n}", 'endpoint' ],
    [ 'header without a value', "llm_provider q {\nheader X; # <-\n}",
      'header' ],
    [ 'key with two, which are not printed',
      "llm_provider q {\nkey sk-canary-literal sk-canary-file; # <-\n}",
      'key' ],
    [ 'target without a provider', "llm_model q {\ntarget; # <-\n}",
      'target' ],
    [ 'alias without a name', "llm_model q {\nalias; # <-\n}", 'alias' ],
    [ 'llm_pass with two', $MODEL . "\n"
      . server("location / {\nllm_pass a b; # <-\n}"), 'llm_pass' ],
    [ 'a block without an end', "llm_provider q { # <-\nkey x; # <-",
      'end of file' ],
) {
    my ($what, $text, $at_fault) = @$_;
    refused($what, $text, qr/\Q$at_fault\E/);
}

accepted('nginx\'s own directives of the same names',
         "$MODEL\n" . server(<<'END'));
location /files/ { alias /tmp/; }
types { text/plain txt; }
location / { llm_pass; }
END


# TLS identity

my @identity = (
    [ 'ssl_verify' => 'ssl_verify off;', '' ],
    [ 'ssl_name' => 'ssl_name a.test;', 'ssl_name b.test;' ],
    [ 'ssl_name and none' => 'ssl_name a.test;', '' ],
);

for (@identity) {
    my ($what, $one, $two) = @$_;
    refused("two providers on one upstream block with different $what"
            . ' (REQ-38)', <<"END", qr/"one".*"two"|"two".*"one"/);
upstream block { server 127.0.0.1:1; }
llm_provider one { endpoint https://block/v1; $one }
llm_provider two { endpoint https://block/v1; $two } # <-
END

    accepted("two providers, each with its own address, and $what", <<"END");
llm_provider one { endpoint https://127.0.0.1:1/v1; $one }
llm_provider two { endpoint https://127.0.0.1:1/v1; $two }
END
}

refused('two providers on one upstream block, one of them plain', <<'END',
llm_provider one { endpoint http://block/v1; }
llm_provider two { endpoint https://block/v1; } # <-
upstream block { server 127.0.0.1:1; }
END
        qr/"one".*"two"|"two".*"one"/);

accepted('two providers of one TLS identity on one upstream block', <<'END');
upstream block { server 127.0.0.1:1; }
llm_provider one { endpoint https://block/v1; key a; }
llm_provider two { endpoint https://block/v2; key b; }
END

refused('ssl_certificate without its key', <<"END", qr/"p"/);
llm_provider p {  # <-
    endpoint https://127.0.0.1:1/v1;
    ssl_certificate $dir/client.pem;  # <-
}                 # <-
END

for (qw(ssl_certificate ssl_trusted_certificate)) {
    refused("$_ that is not there", <<"END", qr{\Q$dir\E/absent});
llm_provider p {
    endpoint https://127.0.0.1:1/v1;
    $_ $dir/absent;
    ssl_certificate_key $dir/absent;
}
END
}


# Endpoints

accepted('an upstream block after the provider that names it', <<'END');
llm_provider p { endpoint http://later/v1; }
upstream later { server 127.0.0.1:1; }
END

accepted('an endpoint of an IPv6 address',
         'llm_provider p { endpoint http://[::1]:8000/v1; }');

{
    my $said = accepted('a host that does not resolve (REQ-38)', <<'END');
llm_provider p { endpoint http://nowhere.invalid/v1; }
END
    like($said, qr{\[warn\].*"http://nowhere\.invalid/v1".*"p".*:1\b},
         '  with a warning that says which');
}


# What a configuration does

my @travel = ([ 'X-One' => 1 ], [ 'X-Two' => 2 ]);

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    return (status(418), json({ error => { message => 'tea' } }))
        if ($req->{json}{user} // '') eq 'error';
    return (delay(0.6), json({ fine(), late => 1 }))
        if ($req->{json}{user} // '') eq 'late';
    return json({ fine(), model => $req->{json}{model} });
});
my $down = LLM::Fake->refused;

my $gw = LLM::Nginx->new(
    vars => { P => $p, DOWN => $down },
    access_format => '$uri "$llm_attempts"', http => <<'CONF');
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
llm_provider named { endpoint http://nowhere.invalid/v1; }
llm_provider down { endpoint http://127.0.0.1:%%DOWN%%/v1; }
llm_model m { target p; }
llm_model unresolved { target named; }
llm_model two { target down; target p; }

# http
llm_pass_header X-One;
llm_provider_header off;
llm_header_timeout 200ms;
llm_intercept_errors on;
llm_next_provider off;

server {
    listen 127.0.0.1:%%PORT%%;
    error_page 418 = @tea;
    location @tea { return 200 "intercepted"; }

    location /inherit/ { llm_pass; }
    location /own/ {
        llm_pass;
        llm_pass_header X-Two;
        llm_provider_header on;
        llm_header_timeout 5s;
        llm_intercept_errors off;
        llm_next_provider error;
    }
    location /nested/ {
        llm_pass_header X-Two;
        llm_provider_header on;
        llm_header_timeout 5s;
        llm_next_provider error;
        location /nested/inner/ { llm_pass; }
    }

    location /if/ {
        llm_pass_header X-Two;
        if ($http_x_if) { llm_pass m; }
        if ($http_x_empty) { set $x 1; }
        llm_pass;
    }
    location /only-if/ {
        if ($http_x_if) { llm_pass m; break; }
        return 204;
    }
    location /except/ {
        llm_pass;
        limit_except GET { allow all; }
    }
    location /except-own/ {
        limit_except GET { llm_pass m; }
    }
}
server {
    listen 127.0.0.1:%%PORT_1%%;
    llm_pass_header X-Two;
    llm_provider_header on;
    llm_header_timeout 5s;
    llm_intercept_errors off;
    llm_next_provider error;
    location / { llm_pass; }
}
CONF

$gw->expect_error(qr/connect\(\) failed \(111/);

sub ask {
    my ($port, $path, $model, %more) = @_;
    my $headers = delete $more{headers} || [];
    return post_json($port, "$path/chat/completions",
                     { model => $model, %more },
                     headers => [ @travel, @$headers ]);
}

sub last_headers { return ($p->requests)[-1]{headers} }

for (
    [ 'http to location' => $gw->port, '/inherit', 'http' ],
    [ 'set in a location' => $gw->port, '/own', 'own' ],
    [ 'location to nested location' => $gw->port, '/nested/inner', 'own',
      'on' ],
    [ 'server to location' => $gw->port(1), '/v1', 'own' ],
) {
    my ($what, $port, $path, $level, $intercept) = @$_;
    my $own = $level eq 'own' || 0;

    my $r = ask($port, $path, 'm');
    is($r->status, 200, "$what: served");
    is(last_headers()->{'x-one'}, $own ? undef : 1, '  llm_pass_header');
    is(last_headers()->{'x-two'}, $own ? 2 : undef, '  and only its own');
    is($r->header('x-llm-provider'), $own ? 'p' : undef,
       '  llm_provider_header');

    $r = ask($port, $path, 'm', user => 'late');
    is($r->status, $own ? 200 : 504, '  llm_header_timeout');

    $r = ask($port, $path, 'm', user => 'error');
    my $caught = $intercept || !$own;
    is($r->body, $caught ? 'intercepted' : '{"error":{"message":"tea"}}',
       '  llm_intercept_errors');

    $r = ask($port, $path, 'two');
    is($r->status, $own ? 200 : 502, '  llm_next_provider');
}

for (
    [ 'llm_pass in if, taken' => '/if', 'x', [ 'X-If' => 1 ], 'm' ],
    [ 'llm_pass in if, not taken' => '/if', 'm', undef, 'm' ],
    [ 'llm_pass beside an if' => '/if', 'm', [ 'X-Empty' => 1 ], 'm' ],
    [ 'llm_pass in an only if' => '/only-if', 'x', [ 'X-If' => 1 ], 'm' ],
    [ 'llm_pass with limit_except' => '/except', 'm', undef, 'm' ],
    [ 'llm_pass in limit_except' => '/except-own', 'x', undef, 'm' ],
) {
    my ($what, $path, $model, $header, $sent) = @$_;
    my $r = ask($gw->port, $path, $model, headers => [ $header || () ]);
    is($r->status, 200, "$what: served");
    my $body = eval { $r->json } || {};
    is($body->{model}, $path =~ /only|own/ || $header && $header->[0] eq 'X-If'
                       ? 'm' : $model, '  as the model it says');
    is(last_headers()->{'x-two'}, 2, '  and with its location\'s headers')
        if $path eq '/if';
}

{
    my $mark = $gw->mark;
    my $r = ask($gw->port, '/own', 'unresolved');
    is($r->status, 502, 'a host that did not resolve at start: 502 (REQ-38)');
    is($r->json->{error}{code}, 'upstream_error', '  upstream_error');
    is($r->header('x-llm-provider'), 'named', '  from that provider');
    like($gw->wait_log(qr/named/, since => $mark), qr/"named:dns:\d+ms"/,
         '  which $llm_attempts calls dns');
}

$gw->expect_error(qr/upstream timed out/, qr/no live upstreams/,
                  qr/timed out \(110/);
$gw->done;
done_testing;
