#!/usr/bin/perl

# A header that the module adds replaces a provider's header of the same name in
# any case, with llm_pass and with proxy_pass: no header is sent twice.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $TRUE = JSON::PP::true;

my @OURS = map { [ uc $_->[0], $_->[1] ] } (
    [ 'x-request-id', 'theirs' ], [ 'x-llm-provider', 'forged' ],
    [ 'x-llm-upstream-request-id', 'forged' ], [ 'x-should-retry', 'true' ],
    [ 'retry-after', 7 ], [ 'retry-after-ms', 7000 ],
    [ 'x-ratelimit-limit-requests', 1 ],
    [ 'x-ratelimit-remaining-requests', 1 ],
    [ 'x-ratelimit-reset-requests', '1ms' ],
    [ 'x-ratelimit-limit-tokens', 1 ], [ 'x-ratelimit-remaining-tokens', 1 ],
    [ 'x-ratelimit-reset-tokens', '1ms' ], [ 'cache-status', 'theirs; hit' ],
    [ 'age', 99 ], [ 'cache-control', 'max-age=1' ], [ 'allow', 'PUT' ],
    [ 'www-authenticate', 'Basic' ],
);

my $p = LLM::Fake->openai(answer => sub {
    my ($req) = @_;
    my ($status, $twice) = split / /, $req->{json}{user};
    my @headers = map { header(@$_) } @OURS, $twice ? @OURS : ();

    return (status($status), @headers,
            json({ error => { message => 'no' } })) if $status != 200;
    return (@headers, LLM::Fake::OpenAI::answer($req));
});

# one request's failure must not keep the next one from its provider
my ($providers, @models) = ('');

for my $n (1 .. 6) {
    my $kind = (qw(sole two kept))[ $n % 3 ];
    $providers .= join "\n    ",
        map({ "llm_provider $_$n { endpoint http://127.0.0.1:%%P%%/v1; }" }
            qw(p q)),
        "llm_model $kind$n { target p$n; "
        . { sole => '', two => "target q$n backup; ",
            kept => 'target dead backup; ' }->{$kind} . "}\n    ";
    push @models, "$kind$n";
}

$providers =~ s/%%P%%/$p->port/ge;

my $gw = LLM::Nginx->new(
    vars => { P => $p, PROVIDERS => $providers, DEAD => LLM::Fake->refused },
    http => <<'CONF');
    llm_cache_zone 1m;
    llm_provider dead { endpoint http://127.0.0.1:%%DEAD%%/v1; }
    %%PROVIDERS%%
    llm_quota_zone q key=all requests=100000/1m tokens=100m/1m;

    server {
        listen 127.0.0.1:%%PORT%%;
        llm_quota q;
        llm_cache on;
        llm_cache_scope shared;
        location / { llm_pass; }
        location /page/ {
            llm_intercept_errors on;
            error_page 429 500 503 /nowhere/;
            llm_pass;
        }
        location /proxy/ { proxy_pass http://127.0.0.1:%%P%%/; }
        location /proxy-page/ {
            proxy_pass http://127.0.0.1:%%P%%/;
            proxy_intercept_errors on;
            error_page 599 /nowhere/;
        }
    }
CONF
$gw->expect_error(qr/connect\(\) failed \(111/, qr/failed: /,
                  qr/open\(\) ".*" failed/);

is_deeply([ ask('', 'two1', 500, 0)->header('x-should-retry') ], [ 'false' ],
          'two providers have failed: x-should-retry is false');

for my $where ('', '/page', '/proxy', '/proxy-page') {
    for my $model ($where =~ /proxy/ ? 'm' : splice @models, 0, 3) {
        for my $status (500, 200, 503, 200, 404, 200, 405, 429, 401) {
            for my $stream ($status == 200 ? (0, 1) : 0) {
                my $r = ask($where, $model, $status, $stream);
                my %seen;
                $seen{ lc $_->[0] }++ for $r->headers;
                my @twice = grep { $seen{$_} > 1 } sort keys %seen;
                is("@twice", '', "$where $model $status"
                   . ($stream ? ' stream' : '') . ': no header twice');
                like($r->header('x-request-id'), qr/^[0-9a-f]{32}$/,
                     '  x-request-id is nginx\'s');
                unlike($r->header('x-llm-provider') // '', qr/forged/,
                       '  x-llm-provider is not the provider\'s')
                    if $where !~ /proxy/;
            }
        }
    }
}

for my $n (1, 2) {
    my $r = ask('/proxy', 'm', '200 1', 0, seed => 5);
    is(join(',', $r->header('Cache-Status')) =~ /theirs/ ? 1 : 0, 0,
       'a provider that sends each header twice: Cache-Status is ours');
    is(scalar(my @v = $r->header('x-ratelimit-limit-requests')), 1,
       '  and a limit is there once');
}

$gw->done;
done_testing;


sub ask {
    my ($where, $model, $do, $stream, %data) = @_;
    return post_json($gw, "$where/v1/chat/completions",
        { model => $model, temperature => 0, user => "$do",
          messages => [ { role => 'user', content => 'Hi' } ],
          ($stream ? (stream => $TRUE) : ()), %data });
}
