#!/usr/bin/perl

# llm_admin: drain and resume a provider, from where it is allowed.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use IO::Socket::UNIX;

my ($p, $f) = map {
    LLM::Fake->new(answer => sub {
        my ($req) = @_;
        return (status($req->{mode}), json({ error => { message => 'no' } }))
            if $req->{mode};
        return (gate('open'), json({ fine() })) if $req->{json}{user};
        return json({ fine() });
    })
} 1, 2;

my $gw = LLM::Nginx->new(workers => 2, vars => { P => $p, F => $f },
                         http => <<'CONF');
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; key sk-canary; }
llm_provider f { endpoint http://127.0.0.1:%%F%%/v1; }
llm_model m { target p; target f backup; }
llm_model only { target p; }
server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_pass; }
    location /admin/ { llm_admin; }
    location /plain { llm_admin; }
    location /far/ { llm_admin from=192.0.2.0/24; }
    location /near/ { llm_admin from=10.0.0.0/8 from=127.0.0.1; }
    location /unix/ { llm_admin from=unix:; }
    location ~ ^/re(x|y)/ { llm_admin; }
}
server {
    listen unix:%%DIR%%/ops;
    location /admin/ { llm_admin; }
    location /near/ { llm_admin from=127.0.0.1; }
    location /unix/ { llm_admin from=unix:; }
}
CONF

sub act {
    my ($path, %opt) = @_;
    return request($gw, method => $opt{method} // 'POST', path => $path,
                   body => $opt{body} // '');
}

sub ask {
    my ($model) = @_;
    return post_json($gw, '/v1/chat/completions', { model => $model // 'm' });
}

sub refused {
    my ($r, $status, $type, $what) = @_;
    is($r->status, $status, "$what: $status");
    is($r->header('Content-Type'), 'application/json', '  as JSON');
    is($r->json->{error}{type}, $type, '  of its type');
}

is(ask()->header('x-llm-provider'), 'p', 'P is asked');

my $c = LLM::Client->connect($gw);
$c->send_request(path => '/v1/chat/completions',
                 body => '{"model":"m","user":"waits"}');
$p->wait_requests(2);

my $r = act('/admin/providers/p/drain');
is($r->status, 200, 'drain');
is($r->header('Content-Type'), 'application/json', '  JSON');
is($r->json->{state}, 'drained', '  says what it is now');
is($r->json->{provider}, 'p', '  and of whom');
$gw->wait_error_log(
    qr/\[notice\].*llm_provider "p": drain, client: 127\.0\.0\.1,/);
pass('  the log says who has told that');

is(ask()->header('x-llm-provider'), 'f', 'nothing new goes to P') for 1 .. 4;
$r = ask('only');
is($r->status, 503, '  without another one: 503');
is($r->json->{error}{code}, 'no_provider_available', '  by its code');
$p->open_gate('open');
is($c->read_response->status, 200, '  what runs there goes on');

$gw->reload;
is(ask()->header('x-llm-provider'), 'f', 'a reload does not end it');

$r = act('/plain/providers/p/resume', body => '{}');
is($r->status, 200, 'resume');
is($r->json->{state}, 'up', '  says so');
is(ask()->header('x-llm-provider'), 'p', '  P is asked again') for 1 .. 2;

$p->mode(503);
ask() for 1 .. 4;
$p->mode('');
is(ask()->header('x-llm-provider'), 'f', 'its breaker is open');
act('/admin/providers/p/resume');
is(ask()->header('x-llm-provider'), 'p', '  resume forgets that');

$p->mode(401);
ask();
$p->mode('');
is(ask()->header('x-llm-provider'), 'f', 'its key is marked');
act('/admin/providers/p/resume');
is(ask()->header('x-llm-provider'), 'p', '  resume forgets that, too');

refused(act('/admin/providers/x/drain'), 404, 'invalid_request_error',
        'an unknown provider');
refused(act('/admin/providers/p/explode'), 404, 'invalid_request_error',
        'an unknown word');
refused(act("/admin/$_"), 404, 'invalid_request_error', "\"$_\"")
    for '', 'providers', 'providers/', 'providers/p', 'providers/p/',
        'providers/p/drain/', 'cache/purge';
refused(act($_), 404, 'invalid_request_error', "\"$_\"")
    for '/plainproviders/p/drain', '/plain',
        '/rex/providers/p/drain', '/rex/abproviders/p/drain';

$r = act('/admin/providers/p/drain', method => 'GET');
refused($r, 405, 'invalid_request_error', 'GET');
is($r->header('Allow'), 'POST', '  Allow');
refused(act('/far/providers/p/drain'), 403, 'permission_error',
        'from= another network');
is(act('/near/providers/p/resume')->status, 200, 'from= more than one');

# by a unix socket; the status alone
sub by_unix {
    my ($path) = @_;
    my $c = IO::Socket::UNIX->new(Peer => $gw->dir . '/ops') or die "ops: $!";
    print $c "POST $path/providers/p/resume HTTP/1.0\r\n\r\n";
    my $said = join '', <$c>;
    return $said =~ m{^HTTP/1\.1 (\d+) } && $1;
}

is(by_unix('/admin'), 200, 'a unix socket is the host itself');
is(by_unix('/near'), 403, '  unless from= says otherwise');
is(by_unix('/unix'), 200, 'from=unix:');
refused(act('/unix/providers/p/drain'), 403, 'permission_error',
        '  and then no address');
is(ask()->header('x-llm-provider'), 'p', 'what was refused has done nothing');

$c = LLM::Client->connect($gw);
for ([ POST => '/admin/providers/p/resume', 200 ],
     [ POST => '/admin/providers/x/resume', 404 ],
     [ POST => '/far/providers/p/resume', 403 ],
     [ PUT => '/admin/providers/p/resume', 405 ],
     [ POST => '/admin/providers/p/resume', 200 ]) {
    my ($method, $path, $status) = @$_;
    $c->send_request(method => $method, path => $path, keepalive => 1,
                     body => 'GET / ' x 50_000);
    is($c->read_response->status, $status,
       "$method $path: $status, its body is read and left");
}
$c->close;

no_canary($gw->error_log, 'sk-canary');
$gw->done;

for ([ 'a network that is none' => 'llm_admin from=nowhere;' ],
     [ 'another parameter' => 'llm_admin to=127.0.0.1;' ],
     [ 'no network' => 'llm_admin from=;' ],
     [ 'twice' => 'llm_admin; llm_admin;' ],
     [ 'an exact location' => 'location = /admin { llm_admin; }' ],
     [ 'llm_pass beside it' => 'llm_admin; llm_pass;' ]) {
    my ($what, $text) = @$_;
    my ($status, $said) = LLM::Nginx->check(
        vars => { P => $p }, http => <<"CONF");
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
llm_model default { target p; }
server { listen 127.0.0.1:%%PORT%%; location / { $text } }
CONF
    isnt($status, 0, "nginx -t refuses $what");
    like($said, qr/\[emerg\].*:\d+/, '  with file and line');
}

done_testing;
