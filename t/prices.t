#!/usr/bin/perl

# The cost of a request: which price applies, the exact sum in the log and in
# the metrics, no cost if a price or a count is unknown; an invalid price file
# fails nginx -t with its place, a malformed entry is a warning.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;

my $CHAT = '/v1/chat/completions';
my $dir = tempdir();

my %usages = (
    plain   => { prompt_tokens => 1000, completion_tokens => 100,
                 total_tokens => 1100 },
    cached  => { prompt_tokens => 1000, completion_tokens => 100,
                 total_tokens => 1100,
                 prompt_tokens_details => { cached_tokens => 400 } },
    writes  => { prompt_tokens => 1000, completion_tokens => 100,
                 total_tokens => 1100, cache_read_input_tokens => 400,
                 cache_creation_input_tokens => 500 },
    embed   => { prompt_tokens => 1000, total_tokens => 1000 },
    total   => { total_tokens => 1000 },
    one     => { prompt_tokens => 1, completion_tokens => 0,
                 total_tokens => 1 },
    huge    => { prompt_tokens => 2147483647, completion_tokens => 0 },
    strange => { prompt_tokens => -1, completion_tokens => 1 },
);

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $how = $req->{json}{user} // 'plain';

    return (status($how), json({ error => { message => 'no' } }))
        if $how =~ /^\d+$/;
    return json({ fine() }) if $how eq 'none';
    return (header('Content-Type', 'application/json'),
            gzip('{"choices":[]}')) if $how eq 'coded';
    return (sse({ choices => [ { index => 0, delta => { content => 'x' } } ] }),
            fin) if $how eq 'cut';
    return sse({ choices => [ { index => 0, delta => {},
                                finish_reason => 'stop' } ] },
               { choices => [], usage => $usages{$how} }, '[DONE]')
        if $req->{json}{stream};
    return json({ fine(), usage => $usages{$how} });
});

# prices per token
my $PRICES = <<'JSON';
{
    "sample_spec": { "input_cost_per_token": "a number", "mode": [ "x" ] },
    "gpt": { "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05,
             "cache_read_input_token_cost": 1.25e-06,
             "litellm_provider": "openai", "max_tokens": "4096",
             "search": { "size": 0.1 }, "supports_x": true, "regions": [ 1 ] },
    "claude": { "input_cost_per_token": 3e-06, "output_cost_per_token": 15e-6,
                "cache_read_input_token_cost": 3e-07,
                "cache_creation_input_token_cost": 3.75e-06 },
    "openai/typed": { "input_cost_per_token": 1e-6,
                      "output_cost_per_token": 0 },
    "typed": { "input_cost_per_token": 0.5, "output_cost_per_token": 0.5 },
    "tiny": { "input_cost_per_token": 1e-12, "output_cost_per_token": null },
    "free": { "input_cost_per_token": 0, "output_cost_per_token": 0.0 },
    "embed": { "input_cost_per_token": 2e-08, "mode": "embedding" },
    "half": { "output_cost_per_token": 1e-6 },
    "picture": { "output_cost_per_image": 0.04 },
    "top": { "input_cost_per_token": 1, "output_cost_per_token": 1 },
    "asked": { "input_cost_per_token": 7e-6, "output_cost_per_token": 0 },
    "other-name": { "input_cost_per_token": 9e-6, "output_cost_per_token": 0 },
    "tiers": { "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6,
               "input_cost_per_token_above_200k_tokens": 1e-5,
               "output_cost_per_token_batches": 1e-7 }
}
JSON

spew("$dir/prices.json", $PRICES);

my $HTTP = <<'CONF';
llm_prices %%FILES%%/prices.json;
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
llm_provider q { endpoint http://127.0.0.1:%%P%%/v1; }
llm_model gpt { target p gpt; }
llm_model claude { target p claude; }
llm_model own { target p gpt price=1,2.000001,0.5; alias asked; }
llm_model bare { target p price=4,8; }
llm_model nearest { target p typed; }
llm_model asked-model { target p not-there; alias other-name; }
llm_model local/* { target p *; }
llm_model top { target p top; }
llm_model two { target p 404-model price=1000,1000; target q gpt; }
llm_model default { target p; }
server {
    listen 127.0.0.1:%%PORT%%;
    location /v1/ { llm_pass; }
    location /as-gpt/ { llm_pass gpt; }
    location /plain/ { llm_meter on; proxy_pass http://127.0.0.1:%%P%%; }
    location /again/ {
        llm_pass;
        llm_next_provider off;
        llm_intercept_errors on;
        error_page 429 = @cheap;
        error_page 400 = @proxied;
    }
    location @cheap { llm_pass local/tiny; }
    location @proxied { llm_meter on; rewrite ^ /again break;
                        proxy_pass http://127.0.0.1:%%PORT_1%%; }
    location = /metrics { llm_metrics; }
}
server {
    listen 127.0.0.1:%%PORT_1%%;
    default_type application/json;
    location / { return 200 '{"choices":[{}],"usage":{"prompt_tokens":1000,"completion_tokens":100}}'; }
}
CONF

my %vars = (P => $p, FILES => $dir);
my $gw = LLM::Nginx->new(vars => \%vars, http => $HTTP,
    error_log => 'notice', access_format => '$http_x_tag|$llm_cost|');

my $tag = 0;

# what the log says about it
sub cost {
    my ($model, $how, %opt) = @_;
    my $server = delete $opt{server} // $gw;
    my $path = delete $opt{path} // $CHAT;
    $tag++;
    post_json($server, $path, { model => $model, user => $how // 'plain',
                                %opt },
              headers => [ [ 'X-Tag', $tag ] ]);
    $server->wait_log(qr/^$tag\|/m);
    my ($said) = $server->access_log =~ /^$tag\|(.*)\|$/m;
    return $said;
}


# Sums

is(cost('gpt'), '0.003500000', 'prompt and completion at their price');
is(cost('gpt', 'plain', stream => JSON::PP::true()), '0.003500000',
   '  a stream');
is(cost('gpt', 'cached'), '0.003000000', 'cached tokens are cheaper');
is(cost('claude', 'writes'), '0.003795000', 'cache writes are dearer');
is(cost('gpt', 'writes'), '0.003000000',
   '  without a price they are prompt');
is(cost('local/tiny', 'one'), '0.000000001', 'a pico-USD is rounded up');
is(cost('local/free'), '0.000000000', 'what is free costs 0');
is(cost('local/embed', 'embed', path => '/v1/embeddings'), '0.000020000',
   'embeddings need no price of output');
like(cost('top', 'huge'), qr/^200\d{4}\.0{9}$/,
     'a prompt beyond any context is charged as the largest context');


# Whose price

is(cost('own'), '0.001200001', 'price= wins over the file');
is(cost('own', 'cached'), '0.001000001', '  its third number is for cached');
is(cost('asked'), '0.001200001', '  and over the name that was asked for');
is(cost('bare'), '0.004800000', 'price= without a model');
is(cost('nearest'), '0.001000000', 'TYPE/MODEL wins over MODEL');
is(cost('local/typed'), '0.001000000', '  for a wildcard too');
is(cost('typed'), '0.001000000', '  and for the client\'s name');
is(cost('gpt', 'plain', path => "/as-gpt$CHAT"), '0.003500000',
   'the target\'s model has a price');
is(cost('free', 'plain', path => "/as-gpt$CHAT"), '0.003500000',
   '  not the client\'s, if llm_pass names another');
is(cost('other-name'), '0.009000000',
   'the client\'s name, if the target\'s has none');
is(cost('two', 404), '-', 'an error costs nothing we know of');


# Not known

is(cost($_->[0], $_->[1]), '-', "not found: $_->[2]") for
    [ 'asked-model', 'plain', 'no price' ],
    [ 'local/sample_spec', 'plain', 'the format\'s documentation' ],
    [ 'local/picture', 'plain', 'a model that is not sold by the token' ],
    [ 'local/half', 'plain', 'no price of input' ],
    [ 'local/tiny', 'plain', 'no price of output' ],
    [ 'gpt', 'coded', 'an answer that cannot be read' ],
    [ 'gpt', 500, 'an error' ],
    [ 'LOCAL/free', 'plain', 'a name in other case' ];

like(cost($_->[0], $_->[1]), qr/^0\.0\d*[1-9]/, "estimated: $_->[2]") for
    [ 'gpt', 'total', 'tokens of no kind' ],
    [ 'gpt', 'none', 'no usage' ],
    [ 'gpt', 'strange', 'a prompt that is no number' ],
    [ 'gpt', 'cut', 'a stream that is cut before its usage' ];

post_json($gw, '/v1/nothing', {}, headers => [ [ 'X-Tag', 'nothing' ] ]);
$gw->wait_log(qr/^nothing\|-\|$/m);


# Redirects, and locations without llm_pass

is(cost('gpt', 429, path => "/again$CHAT"), '-',
   'a second pass is priced by its own target: an error again');
is(cost('gpt', 400, path => "/again$CHAT"), '0.003500000',
   'an answer of proxy_pass is priced by the client\'s name');
is(cost('own', 400, path => "/again$CHAT"), '-',
   '  not by an earlier attempt\'s target');
is(cost('gpt', 'plain', path => '/plain/chat/completions'), '-',
   'llm_meter alone reads no request: the model is not known');


# Metrics

sub counted {
    my ($name, $expected, @asked) = @_;
    my $moved = moved($gw, sub { cost(@$_) for @asked });
    my %got = map { $_ => $moved->{$_} } grep { /^cost_/ } keys %$moved;
    is_deeply(\%got, $expected, $name) or diag(explain($moved));
}

counted('costs add up by model and provider',
        { 'cost_usd_total gpt p' => '0.009500000',
          'cost_usd_total own p' => '0.001200001',
          'cost_usd_total local/* p' => '0.000000003' },
        [ 'gpt' ], [ 'gpt', 'cached' ], [ 'gpt', 'cached' ], [ 'own' ],
        ([ 'local/tiny', 'one' ]) x 3);
counted('usage without a price is counted',
        { 'cost_unknown_total asked-model p' => 2 },
        [ 'asked-model' ], [ 'asked-model' ]);
counted('  an error and an unreadable answer are not', {},
        [ 'gpt', 500 ], [ 'gpt', 'coded' ]);
counted('  nor is one whose model nobody has read', {},
        [ 'gpt', 'plain', path => '/plain/chat/completions' ]);
counted('an answer of proxy_pass after a redirect is',
        { 'cost_usd_total gpt p' => '0.003500000',
          'cost_unknown_total own p' => 1 },
        [ 'gpt', 400, path => "/again$CHAT" ],
        [ 'own', 400, path => "/again$CHAT" ]);
{
    cost('top', 'huge');
    cost('top', 'huge');
    my $m = read_metrics($gw);
    ok($m->{'cost_usd_total top p'} > 4e6, 'large amounts stay a number');
}


# Reload

{
    my $before = read_metrics($gw);
    spew("$dir/prices.json",
         '{"gpt":{"input_cost_per_token":1e-6,"output_cost_per_token":0}}');
    is(cost('gpt'), '0.003500000', 'a changed file waits');
    ok($gw->reload, '  for a reload');
    is(cost('gpt'), '0.001000000', '  which reads it');
    is(cost('claude'), '-', '  and forgets what is no longer there');
    is(sprintf('%.9f', read_metrics($gw)->{'cost_usd_total gpt p'}
                       - $before->{'cost_usd_total gpt p'}),
       '0.004500000', '  the metrics go on');

    spew("$dir/prices.json", '{"gpt":');
    $gw->expect_alert(qr/\[emerg\].*invalid JSON in/);
    my $mark = $gw->mark;
    $gw->signal('HUP');
    $gw->wait_error_log(qr/\[emerg\].*prices\.json", line 1/, since => $mark);
    is(cost('gpt'), '0.001000000', 'a broken one changes nothing');

    spew("$dir/prices.json", $PRICES);
    ok($gw->reload, 'a reload with a whole one');
}

$gw->expect_error(qr/prematurely closed/, qr/cut its answer short/);
$gw->done;


# Nobody has a price: no cost, and nobody counts its absence

{
    my $none = LLM::Nginx->new(vars => \%vars, access_format =>
        '$http_x_tag|$llm_cost|', http => <<'CONF');
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
llm_model default { target p; }
server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_pass; }
    location = /metrics { llm_metrics; }
}
CONF
    is(cost('gpt', 'plain', server => $none), '-', 'no prices: no cost');
    is_deeply([ grep { /^cost_/ } keys %{ read_metrics($none) } ], [],
              '  and no series about it');
    $none->done;
}


# nginx -t

my $files = 0;

sub check {
    my ($http) = @_;
    my $file = sprintf '%s/case-%d.conf', $dir, ++$files;
    spew($file, "\n$http\n");
    my ($status, $said) = LLM::Nginx->check(http => "include $file;");
    return ($status, $said, $file);
}

sub refused {
    my ($name, $text, $why) = @_;
    spew("$dir/bad.json", $text);
    my ($status, $said, $file) = check("llm_prices $dir/bad.json;");
    ok($status && $said =~ /\[emerg\] .*$why.* in \Q$file\E:2$/m
       && $said =~ /\[emerg\] .*"\Q$dir\E\/bad\.json"/,
       "refused: $name") or diag("$status: $said");
    return $said;
}

sub model { return '{"m":{' . $_[0] . '}}' }

my $PLACE = qr/invalid JSON in "[^"]+", line/;

refused('an empty file', '', qr/$PLACE 1, column/);
refused('no JSON', 'prices', qr/$PLACE 1,/);
refused('a cut file', "{\n\"m\":{", qr/$PLACE 2,/);
refused('something behind it', "{}\n{}", qr/$PLACE 2,/);

{
    spew("$dir/bad.json", "{\"m\":{},\n\"m\":{}}");
    my ($status, $said) = check("llm_prices $dir/bad.json;");
    is($status, 0, 'a name twice is accepted');
    like($said, qr/\[warn\] .*a name twice in .*line 2/, '  with a warning');
}

refused('an array', '[]', 'no JSON object');

# a malformed entry is skipped with a warning

sub skipped {
    my ($name, $text, $why) = @_;
    spew("$dir/bad.json", $text);
    my ($status, $said, $file) = check("llm_prices $dir/bad.json;");
    ok($status == 0
       && $said =~ /\[warn\] .*model "m" in "[^"]+" is skipped: $why in \Q$file\E:2$/m,
       "skipped with a warning: $name") or diag("$status: $said");
}

my $RANGE = 'is not a number from 0 to 1';

skipped('an entry that is not an object', '{"m":1}',
        'its entry is not an object');
skipped('a negative price', model('"input_cost_per_token":-1e-9'),
        qq("input_cost_per_token" $RANGE));
skipped('a price of $1.1', model('"output_cost_per_token":1.1'),
        qq("output_cost_per_token" $RANGE));
skipped('a price as text', model('"cache_read_input_token_cost":"1e-6"'),
        qq("cache_read_input_token_cost" $RANGE));
skipped('a price that is true',
        model('"cache_creation_input_token_cost":true'),
        qq("cache_creation_input_token_cost" $RANGE));
skipped('a tier with a negative price',
        model('"input_cost_per_token_above_200k_tokens_priority":-1'),
        qq("input_cost_per_token_above_200k_tokens_priority" $RANGE));
skipped('ranges that are not an array', model('"tiered_pricing":{}'),
        '"tiered_pricing" is not an array');
skipped('a range without limits', model('"tiered_pricing":[{"range":[]}]'),
        '"tiered_pricing" is without a valid "range"');

for my $case (
    [ 'a malformed entry', '"input_cost_per_token":-1,'
                           . '"output_cost_per_token":1e-6' ],
    [ 'an entry without a price of output', '"input_cost_per_token":1e-6,'
                                            . '"mode":"chat"' ],
    [ 'a model of pictures without a price of pictures',
      '"input_cost_per_token":1e-6,"mode":"image_generation"' ])
{
    spew("$dir/bad.json", model($case->[1]));
    my $conf = <<"CONF";
llm_prices $dir/bad.json;
llm_quota_zone z key=\$host cost=1/1m;
llm_provider p { endpoint http://127.0.0.1:1/v1; }
llm_model m { target p m; }
CONF
    my ($status, $said) = check($conf . 'server { listen 127.0.0.1:1; '
                                . 'location / { llm_pass; llm_quota z; } }');
    ok($status && $said =~ /\[emerg\] .*limits cost, but the price of target "p" of llm_model "m" is not known/,
       "refused under a budget: $case->[0]") or diag("$status: $said");
    ($status, $said) = check($conf . 'server { listen 127.0.0.1:1; '
                             . 'location / { llm_pass; } }');
    is($status, 0, '  accepted without one') or diag($said);
}

refused('NaN', model('"input_cost_per_token":NaN'), $PLACE);
refused('a number that is too large', model('"input_cost_per_token":1e999'),
        $PLACE);
refused('a byte that is no UTF-8', "{\"m\xff\":{}}", $PLACE);
no_canary(refused('a file of something else', "sk-canary\n", $PLACE),
          'canary');
refused('more than 64 MiB', ' ' x (64 * 1024 * 1024 + 1), 'is larger than');

for ([ "$dir/absent.json", qr/open\(\) "\Q$dir\E\/absent\.json" failed/ ],
     [ $dir, qr/read\(\) "\Q$dir\E" failed/ ],
     [ '""', qr/"llm_prices" directive needs the name of a file/ ],
     [ "$dir/prices.json; llm_prices $dir/prices.json", qr/is duplicate/ ])
{
    my ($file, $why) = @$_;
    my ($status, $said, $conf) = check("llm_prices $file;");
    ok($status && $said =~ /\[emerg\].*$why.* in \Q$conf\E:2$/m,
       'refused: llm_prices ' . $file =~ s/\Q$dir\E/DIR/gr)
        or diag("$status: $said");
}

for my $price ('', '1', '1,2,3,4', '-1,2', '1,2e3', '1000001,1',
               '1.0000001,1', 'x')
{
    my ($status, $said, $conf) = check(
        "llm_provider p { endpoint http://127.0.0.1:1/v1; }\n"
        . "llm_model m { target p m price=$price; }");
    ok($status && $said =~ /\[emerg\] .*invalid price "\Q$price\E".* in \Q$conf\E:3$/m,
       "refused: price=$price") or diag("$status: $said");
}

{
    my ($status, $said, $conf) = check(
        "llm_provider p { endpoint http://127.0.0.1:1/v1; }\n"
        . 'llm_model m { target p m price=provider price=1,2; }');
    ok($status && $said =~ /\[emerg\] .*"target" directive has a duplicate price= in \Q$conf\E:3$/m,
       'refused: two prices') or diag("$status: $said");
}

{
    my ($status, $said) = check("llm_prices $dir/prices.json;");
    is($status, 0, 'accepted: a file that no target needs') or diag($said);

    # nginx.conf and the price file in one folder
    my $gw = LLM::Nginx->new(vars => \%vars, http => <<'CONF');
server { listen 127.0.0.1:%%PORT%%; }
CONF
    spew($gw->dir . '/relative.json', '{"gpt":{"input_cost_per_token":1}}');
    ok($gw->reload(http => <<'CONF'), 'a name is relative to nginx.conf');
llm_prices relative.json;
server { listen 127.0.0.1:%%PORT%%; }
CONF
    $gw->done;
}

done_testing();
