#!/usr/bin/perl

# Error pages of llm_pass on a kept client connection: nginx reads the core
# configuration of the location when it waits for the next request, after the
# request's pool is gone.  MALLOC_PERTURB_ overwrites freed memory.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $FULL = { error => { message => 'full', type => 't', code => 'c' } };

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $do = $req->{mode} || $req->{json}{do} || '';
    return (status(429), header('Retry-After', 9), json($FULL))
        if $do eq 'full';
    return rst if $do eq 'rst';
    return hang if $do eq 'hang';
    return json({ object => 'chat.completion', id => 'one',
                  model => 'up', created => 1,
                  usage => { prompt_tokens => 1, completion_tokens => 1,
                             total_tokens => 2 },
                  choices => [ { index => 0, finish_reason => 'stop',
                                 message => { role => 'assistant',
                                              content => 'x' } } ] });
});
my $silent = LLM::Fake->silent;

my $gw = LLM::Nginx->new(
    env => { MALLOC_PERTURB_ => 165 },
    vars => { P => $p, SILENT => $silent, DEAD => LLM::Fake->refused },
    access_format => '$http_x_tag|$status|$llm_attempts',
    http => <<'CONF');
    llm_provider p { endpoint http://127.0.0.1:%%P%%; }
    llm_provider dead { endpoint http://127.0.0.1:%%DEAD%%; }
    llm_provider silent { endpoint http://127.0.0.1:%%SILENT%%; }
    llm_model m { target p; }
    llm_model two { target p; target dead backup; }
    llm_model slow { target p; target silent backup; }
    llm_model dead { target dead; }

    llm_next_provider_tries 2;

    server {
        listen 127.0.0.1:%%PORT%%;
        keepalive_timeout 65s;
        llm_header_timeout 300ms;
        llm_timeout 500ms;

        location /plain/ { llm_pass; }
        location /named/ {
            llm_intercept_errors on;
            error_page 429 = @page;
            error_page 502 504 = @wrong;
            llm_pass;
        }
        location /uri/ {
            llm_intercept_errors on;
            error_page 429 /page;
            llm_pass;
        }
        location /found/ {
            llm_intercept_errors on;
            error_page 429 =307 https://other.test/;
            llm_pass;
        }
        location /model/ {
            llm_intercept_errors on;
            error_page 429 = @again;
            llm_pass;
        }
        location /unpaged/ { llm_intercept_errors on; llm_pass; }
        location /first/ { error_page 502 = @again; llm_pass dead; }
        location /old/ {
            llm_cache on;
            llm_cache_scope shared;
            llm_cache_ttl 20ms;
            llm_cache_stale_if_error 1h;
            llm_intercept_errors on;
            error_page 429 500 502 503 504 = @wrong;
            llm_pass;
        }
        location /old-inside/ { error_page 418 = @old; return 418; }
        location @old {
            llm_cache on;
            llm_cache_scope shared;
            llm_cache_ttl 20ms;
            llm_cache_stale_if_error 1h;
            error_page 502 = @wrong;
            llm_pass m;
        }
        location @page { return 200 "the page"; }
        location = /page { return 200 "the page"; }
        location @again { llm_pass m; }
        location @wrong { return 500 "the wrong page"; }
    }
CONF
$gw->expect_error(qr/connect\(\) failed \(111/, qr/timed out/,
                  qr/reset by peer/, qr/failed: /);

my ($n, $seed) = (0, 0);


# what a client gets if the last attempt has no response

for my $model (qw(two slow)) {
    for (
        [ plain => 429, qr/"full"/, 'the kept response is sent' ],
        [ unpaged => 429, qr/"full"/,
          'llm_intercept_errors without an error_page changes nothing' ],
        [ named => 200, qr/^the page$/,
          'error_page of the kept status leads to a named location' ],
        [ uri => 429, qr/^the page$/, 'error_page leads to a URI' ],
        [ found => 307, qr/307 Temporary|^\{/, 'error_page is a redirect' ],
    ) {
        my ($where, $status, $body, $claim) = @$_;
        kept($where, $model, [ ([ 'full', $status, $body ]) x 3 ],
             "$claim, last attempt: "
             . ($model eq 'two' ? 'refused' : 'timeout'));
    }
}

{
    my ($r) = kept('found', 'two', [ [ 'full', 307, qr/./ ] ],
                   'a redirect once more');
    is($r->header('Location'), 'https://other.test/', '  has its Location');

    kept('model', 'two', [ [ 'full', 429, qr/"full"/ ] ],
         'a second pass whose response is the provider\'s 429');
    kept('first', 'm', [ ([ '', 200, qr/"one"/ ]) x 2 ],
         'a first pass without a response');
    like($gw->wait_log(qr/^tag-$n\|/), qr/200\|dead:connect:\d+ms : p:200/,
         '  attempts of both passes are logged');
}


# an old response instead of an error page

for my $where (qw(old old-inside)) {
    for my $do (qw(full rst)) {
        $p->mode('');
        $seed++;
        my ($r) = kept($where, 'm', [ [ '', 200, qr/"one"/ ] ],
                       "$where: a response is cached");
        is($r->header('Cache-Status'), 'llm; fwd=miss; stored', '  it is');
        select undef, undef, undef, 0.05;
        $p->mode($do);
        my @r = kept($where, 'm', [ ([ '', 200, qr/"one"/ ]) x 2 ],
                     "$where: after $do the old response is sent");
        like($_->header('Cache-Status'), qr/^llm; hit; ttl=-\d+/,
             '  Cache-Status says so') for @r;
    }
}

$gw->done;
done_testing;


# Sends requests over one connection.  The connection must be open after each.

sub kept {
    my ($where, $model, $steps, $claim) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $c = LLM::Client->connect($gw);
    my @all;

    subtest $claim => sub {
        for (@$steps) {
            my ($do, $status, $body) = @$_;
            $n++;
            $c->send_request(keepalive => 1, LLM::Client::json_request(
                "/$where/v1/chat/completions",
                { model => $model, do => $do, temperature => 0, seed => $seed,
                  messages => [ { role => 'user', content => 'Hi' } ] },
                headers => [ [ 'X-Tag', "tag-$n" ] ]));
            my $r = $c->read_response;
            is($r->status, $status, "status $status");
            like($r->body, $body, '  its body');
            unlike($r->header('Connection') // '', qr/close/,
                   '  nginx keeps the connection');
            ok($c->idle, '  and it is open');
            push @all, $r;
        }
    };

    $c->close;
    return @all;
}
