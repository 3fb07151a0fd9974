#!/usr/bin/perl

# Secrets stay where they belong (REQ-34): with canaries for the keys of
# clients and providers, every way to fail is gone with error_log debug, and
# no log, no answer and no other provider has seen one of them.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my %client = map { $_ => "sk-client-$_-7Qx2Lw9ZkP4m" }
             qw(bearer xapikey apikey cookie basic google query);
my %key = map { $_ => "sk-provider-$_-8Rt5Vb3NcY6j" }
          qw(literal env file dead header mixed variable tls spare);

my $dir = tempdir();
spew("$dir/key", "$key{file}\nsecond line\n");

# a provider that quotes what it was sent, wherever it can
my $script = sub {
    my ($req) = @_;
    my ($do, @args) = @{ $req->{json}{do} || [ '' ] };
    my $quoted = join ' ', map { "$_->[0]: $_->[1]" } @{ $req->{header_list} };

    return json({ fine() }) if $do eq '';
    return (status($args[0]), header('WWW-Authenticate', $quoted),
            header('Location', "http://x.test/?$quoted"),
            json({ error => { message => "bad key: $quoted" } }))
        if $do eq 'quote';
    return (status($args[0]), json({ error => { message => 'no' } }))
        if $do eq 'status';
    return json({ error => { message => $quoted, code => $args[0] } })
        if $do eq 'inside';
    return sse({ error => { message => $quoted, code => $args[0] } })
        if $do eq 'event';
    return (raw("HTTP/1.1 200 OK\r\nno colon $quoted\r\n\r\n"), fin)
        if $do eq 'header';
    return (raw("$quoted\r\n\r\n"), fin) if $do eq 'garbage';
    return (header('X-Big', $quoted . 'x' x 100_000), json({}))
        if $do eq 'big';
    return (header('Transfer-Encoding', 'chunked'), head,
            raw("zz $quoted\r\n"), fin) if $do eq 'chunk';
    return (sse({ choices => [ { delta => { content => 'x' } } ] }), fin) if $do eq 'cut';
    return (header('Content-Length', 100), chunk('{'), fin) if $do eq 'short';
    return (header('Content-Encoding', 'gzip'), body($quoted))
        if $do eq 'never';
    return rst if $do eq 'rst';
    return fin if $do eq 'fin';
    return hang;
};

my %fake = map { $_ => LLM::Fake->new(answer => $script) }
           qw(literal env file header mixed spare);
my $dead = LLM::Fake->refused;
my $tls = LLM::Fake->new(tls => { names => [ 'provider.test' ] });

my $gw = LLM::Nginx->new(
    error_log => 'debug',
    env => { LLM_TEST_KEY => $key{env}, LLM_SPARE_KEY => $key{spare} },
    vars => { DIR2 => $dir, DEAD => $dead, TLS => $tls->tls->port,
              (map { uc $_ => $fake{$_} } keys %fake),
              (map { ("KEY_\U$_" => $key{$_}) } keys %key) },
    access_format => '$remote_addr $remote_user "$request" $status '
        . '$upstream_addr $upstream_status "$http_user_agent" $llm_model '
        . '$llm_provider $llm_target_model $llm_attempts $llm_upstream_status '
        . '$llm_upstream_request_id $llm_stream_end $llm_finish_reason',
    http => <<'CONF');
    llm_provider literal {
        endpoint http://127.0.0.1:%%LITERAL%%;
        key %%KEY_LITERAL%%;
    }
    llm_provider env {
        endpoint http://127.0.0.1:%%ENV%%;
        key env:LLM_TEST_KEY;
    }
    llm_provider file {
        endpoint http://127.0.0.1:%%FILE%%;
        key file:%%DIR2%%/key;
    }
    llm_provider header {
        endpoint http://127.0.0.1:%%HEADER%%;
        header api-key %%KEY_HEADER%%;
    }
    llm_provider mixed {
        endpoint http://127.0.0.1:%%MIXED%%;
        header X-Key "%%KEY_MIXED%%$part";
        header X-Part $part;
    }
    llm_provider spare {
        endpoint http://127.0.0.1:%%SPARE%%;
        key env:LLM_SPARE_KEY;
    }
    llm_provider dead {
        endpoint http://127.0.0.1:%%DEAD%%;
        key %%KEY_DEAD%%;
    }
    llm_provider tls {
        endpoint https://127.0.0.1:%%TLS%%;
        key %%KEY_TLS%%;
    }

    llm_model literal { target literal; }
    llm_model env { target env; }
    llm_model file { target file; }
    llm_model header { target header; }
    llm_model mixed { target mixed; }
    llm_model dead { target dead; }
    llm_model tls { target tls; }
    llm_model literal-spare { target literal; target spare; }
    llm_model env-spare { target env; target spare; }
    llm_model file-spare { target file; target spare; }
    llm_model header-spare { target header; target spare; }
    llm_model mixed-spare { target mixed; target spare; }
    llm_model dead-spare { target dead; target spare; }
    llm_model tls-spare { target tls; target spare; }
    llm_model spare-literal { target spare; target literal; }

    map $http_x_break $part { default ""; 1 "%%KEY_VARIABLE%%\n"; }

    client_body_timeout 300ms;
    llm_header_timeout 200ms;
    llm_first_token_timeout 200ms;
    llm_idle_timeout 200ms;
    llm_timeout 500ms;

    server {
        listen 127.0.0.1:%%PORT%%;
        client_max_body_size 10k;
        location /v1/ { llm_pass; }
        location /deny/ { deny all; llm_pass; }
        location /again/ {
            llm_intercept_errors on;
            error_page 502 504 500 503 429 = @spare;
            llm_pass;
        }
        location @spare { llm_pass spare-literal; }
    }
CONF

$gw->expect_error(qr/./);

my @headers = (
    [ 'Authorization', "Bearer $client{bearer}" ],
    [ 'x-api-key', $client{xapikey} ], [ 'api-key', $client{apikey} ],
    [ 'Cookie', "session=$client{cookie}" ],
    [ 'Proxy-Authorization', "Basic $client{basic}" ],
    [ 'x-goog-api-key', $client{google} ],
);

my ($answers, $n) = ('', 0);


# refused here

send_it($_->[1], headers => $_->[2] || [], path => $_->[3])
    for [ 'no JSON', '{' ], [ 'no model', '{}' ],
        [ 'a wrong type', '{"model":5}' ],
        [ 'an unknown model', '{"model":"unknown"}' ],
        [ 'too large', '{' . ' ' x 20_000 ],
        [ 'coded', '{}', [ [ 'Content-Encoding', 'gzip' ] ] ],
        [ 'denied', '{}', [], '/deny/completions' ],
        [ 'no operation', '{}', [], '/v1/nonsense' ],
        [ 'a broken header', '{"model":"mixed"}', [ [ 'X-Break', 1 ] ] ];
send_it('{}', method => 'DELETE');
send_it('', method => 'GET', path => '/v1/models');
send_it(' ' x 20_000, chunked => 1000);

for my $bytes ("zz\r\n\r\n", '5') {
    my $c = LLM::Client->connect($gw);
    $c->send_bytes("POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
                   . join('', map { "$_->[0]: $_->[1]\r\n" } @headers)
                   . "Transfer-Encoding: chunked\r\n\r\n$bytes");
    $c->wait_close;
    $answers .= $c->{response}->raw;
    $c->close;
}


# failed there, alone, before a spare one, and in a second pass

my @ways = ([], (map { [ 'quote', $_ ] } 301, 307, 401, 402, 403),
            (map { [ 'status', $_ ] } 400, 404, 408, 429, 500, 503),
            [ 'inside', 401 ], [ 'inside', 403 ], [ 'event', 401 ],
            [ 'header' ], [ 'garbage' ], [ 'big' ], [ 'cut' ], [ 'short' ],
            [ 'rst' ], [ 'fin' ]);

for my $name (qw(literal env file header mixed dead tls)) {
    for my $do (@ways, $name eq 'literal' ? ([ 'hang' ], [ 'chunk' ]) : ()) {
        next if @$do && $name =~ /dead|tls/;
        for my $model ($name, "$name-spare") {
            my $body = join ',', "\"model\":\"$model\"",
                @$do ? '"do":["' . join('",', $do->[0], @$do[1 .. $#$do])
                       . (@$do > 1 ? ']' : '"]') : (),
                ($do->[0] // '') =~ /event|cut/ ? '"stream":true' : ();
            send_it("{$body}");
        }
    }
    send_it("{\"model\":\"$name\",\"do\":[\"status\",503]}",
            path => '/again/completions');
}

{
    # the client leaves in the middle
    my $c = LLM::Client->connect($gw);
    my $before = $fake{env}->count;
    $c->send_request(method => 'POST', path => '/v1/completions',
                     headers => \@headers,
                     body => '{"model":"env","do":["hang"]}');
    $fake{env}->wait_requests($before + 1);
    $c->reset;
    $fake{env}->closed_at;
}

cmp_ok($n, '>', 200, 'all ways to fail are gone');
$gw->stop;


# where they belong

has_bytes($fake{$_}->bytes_seen, $key{$_}, "the key of $_ reaches $_")
    for qw(literal env file header mixed spare);
has_bytes($gw->error_log, $client{bearer},
          'nginx itself logs the client\'s header at debug');


# and where not

my @secrets = (values %client, values %key);

{
    my @lines = grep { !/ http header: / } split /\n/, $gw->error_log;
    my @keys = grep { $_ ne $key{mixed} && $_ ne $key{variable} } @secrets;
    none('the error log', join("\n", @lines), @keys);

    # such a value goes through nginx's script engine, which logs it; what a
    # map logs of its own values is the user's
    none('the error log, beside a variable', join("\n", @lines),
         $key{mixed});

    # above debug there is nothing to excuse
    none('the error log above debug',
         join("\n", grep { !/ \[debug\] / } @lines), @secrets);
}

none('the access log', $gw->access_log, @secrets);
none('what nginx says', $gw->stderr, @secrets);
none('the answers', $answers, @secrets);

for my $name (sort keys %fake) {
    none("what $name has seen", $fake{$name}->bytes_seen, values %client,
         map { $key{$_} } grep { $_ ne $name } keys %key);
}
none('what a provider sees whose certificate is not trusted',
     $tls->bytes_seen, @secrets);


# nginx -t does not print them either

for ([ 'a line break in it' => "key \"$key{literal}\\nx\";" ],
     [ 'a control byte in it' => "key \"$key{literal}\x01\";" ],
     [ 'one from a file' => 'key file:%%DIR2%%/bad;' ],
     [ 'one from the environment' => 'key env:LLM_BAD_KEY;' ],
     [ 'an error behind it' => "key $key{literal}; nonsense 1;" ],
     [ 'an endpoint at fault' => "key $key{literal}; endpoint ftp://x;" ],
     [ 'a header at fault' => "key $key{literal};"
                              . " header Content-Length $key{header};" ])
{
    my ($what, $text) = @$_;
    spew("$dir/bad", "$key{file}\x01\n");
    my ($status, $said) = LLM::Nginx->check(
        env => { LLM_BAD_KEY => "$key{env}\x01" }, vars => { DIR2 => $dir },
        server => 'location / { llm_pass; }',
        http => "llm_provider p { $text }\n llm_model m { target p; }\n");
    isnt($status, 0, "nginx -t refuses $what");
    none("what it says of $what", $said, @secrets);
}

$gw->done;
done_testing;


sub send_it {
    my ($body, %opt) = @_;
    $n++;
    my $path = delete $opt{path} || '/v1/chat/completions';
    my $r = post_json($gw, $path, $body, %opt,
                      headers => [ @headers, @{ $opt{headers} || [] } ]);
    $answers .= $r->raw;
    return $r;
}


sub none {
    my ($where, $text, @secrets) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    subtest "REQ-34 no secret in $where" => sub {
        no_canary($text, @secrets);
    };
}
