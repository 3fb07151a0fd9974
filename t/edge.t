#!/usr/bin/perl

# Response headers of real providers (REQ-58): a document, a stream, a cache
# hit and a response after failover reach the client without what describes
# the provider's host or account, no header is sent twice, and the cache works.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Edge;

my $TRUE = JSON::PP::true;

# more than the recorded blocks have
my @MORE = (
    [ 'Access-Control-Allow-Headers', 'x' ], [ 'X-LiteLLM-Model-Id', 'm1' ],
    [ 'x-litellm-key-spend', '1.5' ], [ 'Clear-Site-Data', '"*"' ],
    [ 'Reporting-Endpoints', 'a="https://x.test/"' ], [ 'NEL', '{}' ],
    [ 'X-Accel-Else', '1' ], [ 'x-kept', 'yes' ],
);
my @LITELLM = qw(access-control-allow-headers x-litellm-model-id
                 x-litellm-key-spend clear-site-data reporting-endpoints nel
                 x-accel-else);

sub edge {
    my ($name) = @_;
    return $name eq 'more' ? @MORE : LLM::Edge::headers($name);
}

sub provider {
    my ($fails) = @_;

    return LLM::Fake->openai(edge => 0, answer => sub {
        my ($req) = @_;
        my @headers = map { header(@$_) } edge($req->{json}{user});

        return (status(503), @headers,
                json({ error => { message => 'busy' } })) if $fails;
        return (@headers, LLM::Fake::OpenAI::answer($req));
    });
}

my ($p, $busy) = (provider(0), provider(1));

# a breaker that opens must not change the next request
my $dead = LLM::Fake->refused;
my ($busy_url, $dead_url) = map("http://127.0.0.1:$_/v1",
                               $busy->port, $dead->port);
my $models = join "\n    ", map {;
    "llm_provider busy-$_ { endpoint $busy_url; }",
    "llm_provider dead-$_ { endpoint $dead_url; }",
    "llm_model next-$_ { target busy-$_; target p backup; }",
    "llm_model kept-$_ { target busy-$_; target dead-$_ backup; }",
} LLM::Edge::names(), 'more';

my $gw = LLM::Nginx->new(
    vars => { P => $p, MODELS => $models },
    http => <<'CONF');
    llm_cache_zone 8m;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model m { target p; }
    %%MODELS%%
    llm_quota_zone q key=all requests=100000/1m tokens=100m/1m;

    server {
        listen 127.0.0.1:%%PORT%%;
        llm_cache_scope shared;
        location / { llm_quota q; llm_pass; }
        location /cache/ { llm_cache on; llm_quota q; llm_pass; }

        location /show/ {
            llm_show_header server Via access-control-allow-origin
                            X-LiteLLM-*;
            llm_pass;
            location /show/below/ { llm_pass; }
            location /show/other/ {
                llm_show_header via;
                llm_hide_header cf-*;
                llm_pass;
                location /show/other/below/ {
                    llm_hide_header x-kept;
                    llm_pass;
                }
            }
        }
        location /hide/ {
            llm_hide_header X-Kept cf-* openai-* x-ratelimit-*;
            llm_show_header openai-version CF-Ray;
            llm_pass;
        }
    }
CONF
$gw->expect_error(qr/connect\(\) failed \(111/, qr/failed: /);

my $seed = 0;

for my $name (LLM::Edge::names(), 'more') {
    my %hidden = map { $_ => 1 }
        $name eq 'more' ? @LITELLM : LLM::Edge::hidden($name);

    for (
        [ 'a document', '', {} ],
        [ 'a stream', '', { stream => $TRUE } ],
        [ 'a document that is cached', '/cache', {}, 'stored' ],
        [ 'a cache hit', '/cache', {}, 'hit' ],
        [ 'a cache hit as a stream', '/cache', { stream => $TRUE }, 'hit' ],
        [ 'a stream that is cached', '/cache',
          { stream => $TRUE, max_tokens => 9 }, 'miss' ],
        [ 'a cache hit of a stream', '/cache',
          { stream => $TRUE, max_tokens => 9 }, 'hit' ],
        [ 'a response after failover', '', { model => "next-$name" } ],
        [ 'a kept error', '', { model => "kept-$name" } ],
    ) {
        my ($what, $where, $data, $cached) = @$_;

        subtest "REQ-58 $name: $what" => sub {
            my $r = ask($where, $name, %$data);
            my $kept = ($data->{model} // '') =~ /^kept/;

            is($r->status, $kept ? 503 : 200, 'has the status');
            like($r->header('Cache-Status'), qr/\b$cached\b/, 'is cached')
                if $cached;
            clean($r, \%hidden);
            like($r->header('x-ratelimit-limit-requests'), qr/^100000$/,
                 'has the limit of the quota zone');

            if (!$cached || $cached ne 'hit') {
                my @missing = grep {
                    my $header = lc $_;
                    !$hidden{$header} && $header !~ /^(?:x-ratelimit
                        |cache-control)/x && !defined $r->header($header)
                } map { $_->[0] } edge($name);
                is("@missing", '', 'has all other headers');
            }
        };
    }
    $seed++;
}


# llm_hide_header and llm_show_header

for (
    [ 'show', 'mistral', [ qw(server via access-control-allow-origin) ],
      [ qw(nel set-cookie) ] ],
    [ 'show', 'more', [ qw(x-litellm-model-id x-litellm-key-spend) ],
      [ qw(access-control-allow-headers) ] ],
    [ 'show/below', 'mistral', [ qw(server via) ], [ qw(nel) ] ],
    [ 'show/other', 'mistral', [ qw(via) ],
      [ qw(cf-ray access-control-allow-origin) ] ],
    [ 'show/other', 'more', [ qw(x-kept) ], [ qw(x-litellm-model-id) ] ],
    [ 'show/other/below', 'mistral', [ qw(via cf-ray) ], [ qw(nel) ] ],
    [ 'show/other/below', 'more', [], [ qw(x-kept) ] ],
    [ 'hide', 'openai', [ qw(openai-version cf-ray) ],
      [ qw(cf-cache-status openai-processing-ms openai-organization
           x-ratelimit-reset-tokens) ] ],
    [ 'hide', 'more', [], [ qw(x-kept) ] ],
) {
    my ($where, $name, $shown, $hidden) = @$_;

    for my $stream (0, 1) {
        my $r = ask("/$where", $name, $stream ? (stream => $TRUE) : ());
        my %theirs = map { lc $_->[0] => $_->[1] } edge($name);

        is_deeply([ map { $r->header($_) } @$shown ],
                  [ map { $theirs{$_} } @$shown ],
                  "/$where, $name: @$shown reach the client");
        is("@{[ grep { defined $r->header($_) } @$hidden ]}", '',
           "  @$hidden do not");
    }
}

like(ask('', 'mistral')->header('Server'), qr/^nginx/,
     'the Server header is nginx\'s by default');

for (
    [ 'llm_hide_header "a b";', qr/invalid header name "a b"/ ],
    [ 'llm_hide_header *;', qr/invalid header name "\*"/ ],
    [ 'llm_show_header a*b;', qr/invalid header name "a\*b"/ ],
    [ 'llm_show_header x-request-id;', qr/"x-request-id" cannot be shown/ ],
    [ 'llm_show_header Connection;', qr/"connection" cannot be shown/ ],
    [ 'llm_show_header X-Accel-Redirect;', qr/cannot be shown/ ],
) {
    my ($line, $error) = @$_;
    my ($status, $said) = LLM::Nginx->check(
        server => "location / { $line llm_pass; }",
        http => 'llm_provider p { endpoint http://127.0.0.1:1; }'
                . ' llm_model m { target p; }');
    isnt($status, 0, "nginx -t rejects $line");
    like($said, $error, '  and names the header');
}

$gw->done;
done_testing;


sub ask {
    my ($where, $name, %data) = @_;
    return post_json($gw, "$where/v1/chat/completions",
        { model => 'm', temperature => 0, seed => $seed, user => $name,
          messages => [ { role => 'user', content => 'Hi' } ], %data });
}


# No hidden header of the provider, and no header twice but those it sends so.

sub clean {
    my ($r, $hidden) = @_;

    my (%seen, @twice);
    for my $header ($r->headers) {
        my $name = lc $header->[0];
        push @twice, $name if $seen{$name}++ && $name ne 'vary';
    }

    my @theirs = grep {
        $seen{$_} && !/^(?:server|x-request-id|x-accel-buffering)$/
    } sort keys %$hidden;
    is("@theirs", '', 'has no header of the host or account');
    is("@twice", '', 'has no header twice');
    like($r->header('Server'), qr/^nginx/, 'has the Server header of nginx');
    like($r->header('x-request-id'), qr/^[0-9a-f]{32}$/,
         'has the x-request-id of nginx');
}
