#!/usr/bin/perl

# llm_cache and its like as nginx -t takes them, who inherits what, and
# $llm_cache_key as the key of nginx's own cache.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $dir = tempdir();
my $port = reserve_port();
my $models = 'llm_provider p { endpoint http://127.0.0.1:1/v1; } '
           . 'llm_model m { target p; }';

# The directives at each level they may be at.

sub levels {
    my ($conf) = @_;
    my $server = "listen 127.0.0.1:$port;";
    return (http     => "$models $conf server { $server location / { "
                        . 'llm_pass; } }',
            server   => "$models server { $server $conf location / { "
                        . 'llm_pass; } }',
            location => "$models server { $server location / { $conf "
                        . 'llm_pass; } }',
            plain    => "server { $server location / { $conf "
                        . 'proxy_pass http://127.0.0.1:1; } }');
}

sub taken {
    my ($http, $claim) = @_;
    my ($status, $text) = LLM::Nginx->check(http => $http);
    is($status, 0, $claim) or diag($text);
}

# Where it stands is a part of what is said.

sub refused {
    my ($http, $why, $claim) = @_;
    spew("$dir/case.conf", "\n\n$http\n");
    my ($status, $text) = LLM::Nginx->check(http => "include $dir/case.conf;");
    isnt($status, 0, $claim);
    like($text, qr/$why.* in \Q$dir\E\/case\.conf:3$/m,
         '  and says why and where');
}

sub location { my %all = levels($_[0]); return $all{location} }


my @ALL = ('llm_cache on', 'llm_cache off', 'llm_cache_ttl 5m',
           'llm_cache_ttl 300ms', 'llm_cache_ttl 30d', 'llm_cache_ttl 0',
           'llm_cache_max_size 1m', 'llm_cache_max_size 0',
           'llm_cache_scope shared', 'llm_cache_scope acme',
           'llm_cache_scope $http_x_tenant',
           'llm_cache_scope "$server_name ${remote_addr}"',
           'llm_cache_sampling deterministic', 'llm_cache_sampling any',
           'llm_cache_bypass $http_x_no', 'llm_cache_bypass $arg_a $arg_b',
           'llm_cache_bypass $arg_a; llm_cache_bypass $arg_b',
           'llm_cache_stale_if_error 1d', 'llm_cache_stale_if_error 0',
           'llm_cache_lock_timeout 10s', 'llm_cache_lock_timeout 0');

for my $conf (@ALL) {
    my %at = levels("llm_cache on; $conf;" =~ s/^llm_cache on; (?=llm_cache )//r);
    my @not = grep { (LLM::Nginx->check(http => $at{$_}))[0] } sort keys %at;
    is("@not", '', "$conf: in http, server, location, with proxy_pass");
}

for my $size ('1m', '64M', '100000k') {
    taken("llm_cache_zone $size; " . location('llm_cache on;'),
          "llm_cache_zone $size");
}
taken('llm_cache_zone 1m; ' . location(''), '  and where it is not used');


# What would not do what it says

for (['maybe', 'invalid value "maybe"'], ['', 'invalid value ""'],
     ['on off', 'invalid number of arguments'])
{
    my ($value, $why) = @$_;
    $value = '""' if $value eq '';
    refused(location("llm_cache $value;"), $why, "llm_cache $value");
}

for my $name (qw(ttl stale_if_error lock_timeout)) {
    for my $value ('1x', '-1s', 'off', '""', '1s1m', '99999999999999999999s') {
        refused(location("llm_cache_$name $value;"), 'invalid value',
                "llm_cache_$name $value");
    }
    refused(location("llm_cache_$name;"), 'invalid number of arguments',
            "llm_cache_$name without a value");
}

for my $value ('-1', 'big', '1t', '99999999999999999999g') {
    refused(location("llm_cache_max_size $value;"), 'invalid value',
            "llm_cache_max_size $value");
}

refused(location('llm_cache_sampling never;'), 'invalid value "never"',
        'llm_cache_sampling never');
refused(location('llm_cache_scope "";'), 'takes a value, or "shared"',
        'an empty scope');
refused(location('llm_cache_scope a b;'), 'invalid number of arguments',
        'two scopes');
for my $name (qw(scope bypass)) {

    # nginx finds that at the end, and says no place
    my ($status, $text) = LLM::Nginx->check(
        http => location("llm_cache_$name \$nowhere;"));
    ok($status && $text =~ /unknown "nowhere" variable/,
       "an unknown variable in llm_cache_$name");
}
refused(location('llm_cache_bypass;'), 'invalid number of arguments',
        'llm_cache_bypass without a value');

for my $directive ('llm_cache on', 'llm_cache_ttl 1s', 'llm_cache_max_size 1k',
                   'llm_cache_scope shared', 'llm_cache_scope $arg_a',
                   'llm_cache_sampling any', 'llm_cache_stale_if_error 1s',
                   'llm_cache_lock_timeout 1s')
{
    refused(location("$directive; $directive;"), 'is duplicate',
            "$directive twice");
    refused(location("if (\$arg_a) { $directive; }"), 'is not allowed here',
            '  or in an "if"');
}
refused(location('llm_cache_scope shared; llm_cache_scope $arg_a;'),
        'is duplicate', 'a scope that is shared and is not');
refused(location('llm_cache_scope $arg_a; llm_cache_scope shared;'),
        'is duplicate', '  the other way round');

for my $size ('64k', '1000k', '0') {
    refused("llm_cache_zone $size; " . location('llm_cache on;'),
            'is too small, it takes 1m at least', "llm_cache_zone $size");
}
refused('llm_cache_zone 1m; llm_cache_zone 1m;', 'is duplicate', 'two zones');
refused('llm_cache_zone big;', 'invalid value', 'a zone of no size');
refused(location('llm_cache_zone 1m;'), 'is not allowed here',
        'a zone of a location');


# Who inherits what

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $n = $req->{n};
    return body("n$n $req->{path}") if $req->{method} eq 'GET';
    return json({ id => "c$n", object => 'chat.completion', choices => [ {
                  index => 0, message => { role => 'assistant',
                  content => "n$n" }, finish_reason => 'stop' } ],
                  usage => { prompt_tokens => 1, completion_tokens => 1,
                  total_tokens => 2 } });
});

my $gw = LLM::Nginx->new(
    vars => { P => $p }, access_format => '$http_x_request_id|$llm_cache_key',
    http => <<'CONF');
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model m { target p; }

    llm_cache on;
    llm_cache_scope shared;
    llm_cache_sampling any;
    llm_cache_bypass $http_x_no;
    llm_cache_max_size 0;

    proxy_cache_path %%DIR%%/stock keys_zone=stock:1m use_temp_path=off;

    server {
        listen 127.0.0.1:%%PORT%%;
        llm_cache_max_size 100k;

        location / { llm_pass; }
        location /off/ { llm_cache off; llm_pass; }
        location /scope/ { llm_cache_scope $http_x_scope; llm_pass; }
        location /sampling/ { llm_cache_sampling deterministic; llm_pass; }
        location /bypass/ { llm_cache_bypass $http_x_other; llm_pass; }
        location /deep/ { location /deep/er/ { llm_cache_ttl 1h; llm_pass; } }

        location /stock/ {
            llm_cache_max_size 0;
            proxy_pass          http://127.0.0.1:%%P%%;
            proxy_cache         stock;
            proxy_cache_methods POST;
            proxy_cache_key     $llm_cache_key;
            proxy_cache_valid   200 1h;
            add_header          X-Stock $upstream_cache_status always;
        }
    }
    server {
        listen 127.0.0.1:%%PORT_1%%;
        location / { llm_pass; }
    }
CONF

my $tag = 0;

sub ask {
    my ($where, $data, @headers) = @_;
    my $port = $where =~ s/^1:// ? $gw->port(1) : $gw->port;
    $tag++;
    return post_json($port, "$where/v1/chat/completions", { model => 'm',
        temperature => 0.5, messages => [ { role => 'user',
        content => "Hi" } ], %{ $data || {} } },
        headers => [ [ 'X-Request-Id', "tag-$tag" ], @headers ]);
}

sub key {
    my ($key) = $gw->wait_log(qr/^tag-$tag\|/) =~ /\|(.*)/;
    return $key;
}

sub twice {
    my ($where, $data, @headers) = @_;
    ask($where, $data, @headers);
    my $said = ask($where, $data, @headers)->header('cache-status') // '-';
    return $said =~ s/ttl=\d+/ttl/r;
}

is(twice(''), 'llm; hit; ttl', 'what stands in http holds in a location');
is(twice('/deep/er'), 'llm; hit; ttl', '  however deep');
is(twice('1:'), 'llm; hit; ttl',
   'a server of its own: the same question, with what another one has kept');
is(twice('1:', { seed => 2 }), 'llm; fwd=miss',
   '  but it keeps nothing, as http says');
is(twice('/off'), '-', 'llm_cache off in a location');
is(twice('/scope'), 'llm; fwd=bypass',
   'a scope in a location takes the place of "shared"');
is(twice('/scope', {}, [ 'X-Scope', 'a' ]), 'llm; hit; ttl', '  its own');
is(twice('/sampling'), 'llm; fwd=bypass', 'llm_cache_sampling does as well');
is(twice('', {}, [ 'X-No', 1 ]), 'llm; fwd=bypass',
   'llm_cache_bypass of http');
is(twice('/bypass', { seed => 3 }, [ 'X-No', 1 ]), 'llm; hit; ttl',
   '  a location\'s own takes its place');
is(twice('/bypass', { seed => 3 }, [ 'X-Other', 1 ]), 'llm; fwd=bypass',
   '  and counts');


# nginx's own cache by our key

sub stock { return $_[0]->header('x-stock') // '-' }

my $first = ask('/stock');
is(stock($first), 'MISS', 'proxy_cache_key $llm_cache_key: a miss');
my $key = key();
like($key, qr/^[0-9a-f]{64}$/, '  the key is 64 digits');
my $r = ask('/stock', { user => 'somebody' });
is(stock($r), 'HIT', '  then a hit');
is($r->body, $first->body, '  byte for byte');
is(key(), $key, '  by the same key');
isnt(ask('/stock', { seed => 1 })->body, $first->body,
     '  another question has another answer');

# each of these twice: none is like another
my (%bodies, %keys);
my @bypassed = (
    [ 'llm_cache_bypass', {}, [ 'X-No', 1 ] ],
    [ 'no-store', {}, [ 'Cache-Control', 'no-store' ] ],
    [ 'a tool of the provider', { tools => [ { type => 'web_search' } ] } ],
    [ 'what is stored there', { store => JSON::PP::true } ]);

for (map { ($_, $_) } @bypassed) {
    my ($what, $data, @headers) = @$_;
    $r = ask('/stock', $data, @headers);
    isnt(stock($r), 'HIT', "$what: shares nothing");
    $bodies{$r->body}++;
    $keys{key()}++;
}
is(scalar(keys %bodies), 8, '  each has an answer of its own');
is(scalar(keys %keys), 8, '  and a key of its own');

for my $path ('/stock/v1/models', '/stock/v1/files/1', '/stock/v1/files/2') {
    $r = get($gw, $path);
    is($r->body =~ s/^n\d+ //r, $path, "GET $path is that path's");
}
$r = request($gw, method => 'POST', path => '/stock/v1/files', body => '{}');
isnt(stock($r), 'HIT', 'an operation we do not know shares nothing');
isnt(stock(request($gw, method => 'POST', path => '/stock/v1/files',
                   body => '{}')), 'HIT', '  again');

$gw->done;
done_testing;
