#!/usr/bin/perl

# What all workers know of a provider, a key and a target: breaker, cooldown,
# marks, limits of concurrency; who is asked while one of them rests, and how
# it comes back.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

# what a fake does is its mode: a status, perhaps with its Retry-After
sub answer {
    my ($req) = @_;
    my ($status, $header, $value) = split / /, $req->{mode} || 200;

    return (fin) if $status eq 'fin';
    return (gate($header), json({ fine() })) if $status eq 'gate';
    return json({ fine() }) if $status == 200;
    return (status($status), $header ? header($header, $value) : (),
            json({ error => { message => 'no' } }));
}

my ($KEY_1, $KEY_2) = ('sk-canary-one', 'sk-canary-two');

# each story has providers of its own: what is known of one outlives it
sub story {
    my (%opt) = @_;
    my $p = LLM::Fake->new(answer => \&answer);
    my $f = LLM::Fake->new(answer => \&answer);
    my $keys = $opt{keys} // '';
    my $provider = $opt{provider} // '';
    my $targets = $opt{targets} // 'target p; target f backup;';
    my $gw = LLM::Nginx->new(
        workers => $opt{workers} // 2,
        vars => { P => $p, F => $f },
        access_format => '$llm_attempts',
        http => <<"CONF");
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; $keys $provider }
llm_provider f { endpoint http://127.0.0.1:%%F%%/v1; }
llm_model m { $targets }
llm_model p/* { target p *; }
llm_model only { target p; }
server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_pass; }
    location /strict/ { llm_next_provider off; llm_pass; }
}
CONF
    $gw->expect_error(qr/prematurely closed connection/);
    return ($gw, $p, $f);
}

sub ask {
    my ($gw, %opt) = @_;
    return post_json($gw, ($opt{at} // '') . '/v1/chat/completions',
                     { model => $opt{model} // 'm' });
}

sub statuses { my ($gw, $n, %opt) = @_; return map { ask($gw, %opt)->status } 1 .. $n }


# A breaker

{
    my ($gw, $p, $f) = story();
    $p->mode(503);
    is(join(' ', statuses($gw, 20)), join(' ', (200) x 20),
       'REQ-25 P fails: every request is answered');
    is($p->count, 3, '  P was asked until three failures in a row');
    is($f->count, 20, '  F has answered them');
    $gw->wait_error_log(qr/llm_provider "p" has failed too often/);
    pass('  the log says that it is left alone');
    $gw->done;
}

{
    my ($gw, $p, $f) = story();
    $p->mode(503);
    statuses($gw, 4);
    $p->mode(200);
    $gw->reload;
    statuses($gw, 4);
    is($p->count, 3, 'REQ-25 a reload keeps what is known');
    wait_for(sub { ask($gw)->header('x-llm-provider') eq 'p' }, 15,
             'a probe reaches it');
    is($p->count, 4, '  one probe after the interval');
    statuses($gw, 3);
    is($p->count, 7, '  and it is back');
    $gw->done;
}

{
    my ($gw, $p, $f) = story(workers => 4);
    $p->mode(503);
    statuses($gw, 6);
    my $before = $p->count;
    my $start = now();
    my $n = 0;
    while (now() - $start < 21) {
        ask($gw);
        $n++;
        select undef, undef, undef, 0.05;
    }
    between($p->count - $before, 1, 2,
            'REQ-25 four workers: one probe for each interval of 10 s');
    $gw->done;
}

{
    my ($gw, $p) = story();
    $p->mode(400);
    is(join(' ', statuses($gw, 15)), join(' ', (400) x 15),
       'REQ-25 wrong requests: each is answered by P');
    is($p->count, 15, '  and opens no breaker');
    $gw->done;
}

{
    my ($gw, $p, $f) = story();
    $p->mode(503);
    $f->mode(500);
    statuses($gw, 4);
    my ($np, $nf) = ($p->count, $f->count);
    my @got = statuses($gw, 20);
    is(scalar(grep { $_ >= 500 } @got), 20, 'REQ-26 all are open: an error');
    between($p->count + $f->count - $np - $nf, 20, 22,
            '  one attempt for each request, and a tenth');
    my $r = ask($gw);
    is($r->header('x-should-retry'), 'false', '  the client shall not retry');
    $gw->done;
}

{
    my ($gw, $p) = story();
    $p->mode(500);
    is(join(' ', statuses($gw, 6, model => 'only')), '500 500 500 500 500 500',
       'a sole provider that is open gets every request');
    $p->mode(200);
    is(ask($gw, model => 'only')->status, 200, '  and is back at once');
    $gw->done;
}


# A cooldown

{
    my ($gw, $p, $f) = story();
    $p->mode('429 Retry-After 2');
    my $start = now();
    is(join(' ', statuses($gw, 5)), '200 200 200 200 200',
       'REQ-25 Retry-After: F answers');
    is($p->count, 1, '  P is not asked again');
    $p->mode(200);
    wait_for(sub { ask($gw)->header('x-llm-provider') eq 'p' }, 10, 'P');
    between(now() - $start, 1.9, 4, '  until its time has come');
    $gw->done;
}

{
    my ($gw, $p, $f) = story();
    $p->mode('429 retry-after-ms 300');
    my $start = now();
    statuses($gw, 2);
    $p->mode(200);
    wait_for(sub { ask($gw)->header('x-llm-provider') eq 'p' }, 10, 'P');
    between(now() - $start, 0.28, 2, 'retry-after-ms is exact');
    $gw->done;
}

{
    my ($gw, $p, $f) = story();
    $p->mode('429 Retry-After 30');
    statuses($gw, 1);
    $p->mode('429 retry-after-ms 100');
    ask($gw, model => 'only');
    select undef, undef, undef, 0.3;
    is(ask($gw)->header('x-llm-provider'), 'f',
       'REQ-25 a shorter wish does not end a longer one');
    $gw->done;
}

{
    my ($gw, $p, $f) = story();
    $p->mode('503 Retry-After 30');
    statuses($gw, 2);
    is($p->count, 1, 'a 503 with Retry-After is left alone, too');
    $gw->done;
}

{
    my ($gw, $p, $f) = story();
    $_->mode('429 Retry-After 30') for $p, $f;
    is(ask($gw)->status, 429, 'all are cooling: the last answer is passed');
    $f->mode(200);
    is(ask($gw)->status, 200, '  the least recently failed is asked, then the next');
    $gw->done;
}


# Keys

{
    my ($gw, $p, $f) = story(workers => 1, keys => "key $KEY_1; key $KEY_2;");
    my %seen;
    statuses($gw, 4);
    $seen{ $_->{headers}{authorization} }++ for $p->requests;
    is($seen{"Bearer $KEY_1"}, 2, 'keys take turns');
    is($seen{"Bearer $KEY_2"}, 2, '  each has its share');
    $gw->done;
}

for my $how ('401', '402', '403', '429 Retry-After 30') {
    my $p = LLM::Fake->new(answer => sub {
        my ($req) = @_;
        return json({ fine() })
            if $req->{headers}{authorization} eq "Bearer $KEY_2";
        return answer({ mode => $how });
    });
    my ($gw, undef, $f) = do {
        my $f = LLM::Fake->new(answer => \&answer);
        my $gw = LLM::Nginx->new(vars => { P => $p, F => $f },
            access_format => '$llm_attempts', http => <<"CONF");
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; key $KEY_1; key $KEY_2; }
llm_provider f { endpoint http://127.0.0.1:%%F%%/v1; }
llm_model m { target p; target f backup; }
server { listen 127.0.0.1:%%PORT%%; location / { llm_pass; } }
CONF
        ($gw, $p, $f);
    };
    is(join(' ', statuses($gw, 6)), '200 200 200 200 200 200',
       "a key with $how: the other one answers");
    my $bad = grep { $_->{headers}{authorization} eq "Bearer $KEY_1" }
              $p->requests;
    is($bad, 1, '  the bad one is asked once');
    is($f->count, 0, '  the backup never');
    no_canary($gw->error_log, $KEY_1, $KEY_2);
    $gw->done;
}


# Targets

{
    my ($gw, $p, $f) = story(
        targets => 'target p gone; target p there; target f backup;');
    my $q = $p;
    $p->mode(404);
    is(ask($gw)->status, 200, 'a target that is not there: another answers');
    my $n = $p->count;
    statuses($gw, 3);
    is($p->count, $n, '  and it is left alone');
    $p->mode(200);
    is(ask($gw, model => 'only')->status, 200, '  not its provider');
    $gw->done;
}

{
    my ($gw, $p, $f) = story();
    $p->mode(404);
    is(ask($gw, model => 'p/nonsense')->status, 404,
       'a name the client made up: 404');
    $p->mode(200);
    is(ask($gw, model => 'p/sense')->status, 200, '  marks nothing');
    is($p->count, 2, '  P was asked for both');
    $gw->done;
}


# Concurrency

{
    my ($gw, $p, $f) = story(provider => 'max_concurrency 2;');
    $p->mode('gate open');
    my @busy = map {
        my $c = LLM::Client->connect($gw);
        $c->send_request(path => '/v1/chat/completions',
                         body => '{"model":"m"}');
        $p->wait_requests($_);
        $c;
    } 1, 2;
    my $r = ask($gw);
    is($r->header('x-llm-provider'), 'f', 'max_concurrency: the third goes to F');
    $r = ask($gw, model => 'only');
    is($r->status, 503, '  without another one 503');
    is($r->json->{error}{code}, 'no_provider_available', '  by its code');
    cmp_ok($r->header('Retry-After'), '>=', 1, '  with Retry-After');
    $p->open_gate('open');
    is($_->read_response->status, 200, '  those in flight are answered')
        for @busy;
    $p->mode(200);
    is(ask($gw)->header('x-llm-provider'), 'p', '  then P is asked again');
    $gw->done;
}

{
    my ($gw, $p, $f) = story(provider => 'max_concurrency 1;', workers => 1);
    $p->mode('gate never');
    my $c = LLM::Client->connect($gw);
    $c->send_request(path => '/v1/chat/completions', body => '{"model":"m"}');
    $p->wait_requests(1);
    my ($pid) = $gw->worker_pids;
    kill 'KILL', $pid;
    $c->wait_close;
    wait_for(sub { my ($now) = $gw->worker_pids; $now && $now != $pid }, 10,
             'a new worker');
    $p->mode(200);
    is(ask($gw)->header('x-llm-provider'), 'p',
       'what a killed worker had in flight is given back');
    $gw->expect_alert(qr/exited on signal 9/);
    $gw->done;
}

done_testing;
