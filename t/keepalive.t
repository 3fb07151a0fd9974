#!/usr/bin/perl

# REQ-27: a kept connection that the provider has closed meanwhile costs the
# client nothing: the request goes out again on a new one.  Whatever else
# happens on a kept connection is an attempt as any other.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

# What P does on a connection that was used before is its mode; on a new one
# it answers.

my %reused = (
    rst     => sub { rst },
    fin     => sub { fin },
    half    => sub { (raw("HTTP/1.1 200 OK\r\nContent-Ty"), fin) },
    letter  => sub { (raw('H'), rst) },
    header  => sub { (header('Content-Length', 20), head, delay(0.05), fin) },
    body    => sub { (header('Content-Length', 20),
                      header('Content-Type', 'application/json'),
                      chunk('{"cut":'), delay(0.05), rst) },
    hang    => sub { hang },
    interim => sub { (interim(100), delay(0.05), rst) },
);

my $p = LLM::Fake->new(
    early => sub {
        my ($req) = @_;
        return () unless $req->{conn_n} > 1
                         && ($req->{mode} // '') eq 'early';
        return rst;
    },
    answer => sub {
        my ($req) = @_;
        my $mode = $req->{mode} // '';
        return (json({ fine() }), stale) if $mode eq 'stale';
        return (json({ fine() }), idle_close(0.02)) if $mode eq 'idle';
        return $reused{$mode}->() if $req->{conn_n} > 1 && $reused{$mode};
        return (delay(0.1), json({ fine() })) if $mode eq 'slow';
        return json({ fine(), from => 'p' });
    });
my $f = LLM::Fake->new(answer => sub { json({ fine(), from => 'f' }) });

my $gw = LLM::Nginx->new(
    forget => 1, vars => { P => $p, F => $f },
    access_format => '$http_x_tag|$status $llm_attempts', http => <<'CONF');
client_max_body_size 8m;
client_body_buffer_size 16k;
llm_header_timeout 800ms;
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
llm_provider f { endpoint http://127.0.0.1:%%F%%/v1; }
llm_model p { target p; }
llm_model two { target p; target f backup; }
server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_pass; }
    location /off/ { llm_pass; llm_next_provider off; }
    location /one/ { llm_pass; llm_next_provider_tries 1; }
}
CONF

$gw->expect_error(qr/prematurely closed connection/,
                  qr/Connection reset by peer/, qr/Broken pipe/,
                  qr/upstream timed out/);

my $PATH = '/v1/chat/completions';

# (answer, log line, requests of P, of F), with a kept connection before

my $tag = 0;

sub ask_kept {
    my ($model, $mode, %opt) = @_;

    $p->mode('fresh');
    my $first = post_json($gw, $PATH, { model => 'p' });
    die 'no connection to keep' if $first->status != 200;
    wait_for(sub { () = $p->open_connections }, 2, 'kept connection');

    $p->mode($mode);
    $tag++;
    my @before = map { $_->count } $p, $f;
    my $r = post_json($gw, ($opt{dir} // '') . $PATH,
                      { model => $model, pad => $opt{pad} // '' },
                      headers => [ [ 'X-Tag' => $tag ] ]);
    my $line = $gw->wait_log(qr/^$tag\|/) =~ s/^\d+\|//r;
    return ($r, $line, $p->count - $before[0], $f->count - $before[1]);
}


# No client error

for my $mode (qw(rst fin)) {
    for my $dir ('', '/off', '/one') {
        my $where = { '' => '', '/off' => ', with llm_next_provider off',
                      '/one' => ', with llm_next_provider_tries 1' }->{$dir};
        my ($r, $line, $n, $m) = ask_kept('two', $mode, dir => $dir);
        my $how = uc $mode;
        is($r->status, 200, "$how on a kept connection$where (REQ-27)");
        is($r->json->{from}, 'p', '  is retried at the same provider');
        is($m, 0, '  and no other one is asked');
        is($n, 2, '  once');
        my @last = ($p->requests)[-2, -1];
        cmp_ok($last[0]{conn_n}, '>', 1, '  it died on the kept one');
        is($last[1]{conn_n}, 1, '  and went out on a new one');
        is($last[1]{body}, $last[0]{body}, '  as it was');
        is($last[1]{raw}, $last[0]{raw}, '  with its headers');
        like($line, qr/^200 p:200:\d+ms$/, '  which is no attempt');
    }
}

for my $size (300_000, 3_000_000) {
    for my $mode (qw(rst early)) {
        my $pad = 'abcdefghij' x ($size / 10);
        my ($r, $line) = ask_kept('p', $mode, pad => $pad);
        is($r->status, 200, "$mode with a body of $size bytes");
        ok(index(($p->requests)[-1]{body}, qq("$pad")) > 0,
           '  all of it was sent again');
        like($line, qr/^200 p:200:\d+ms$/, '  no attempt is lost');
    }
}

{
    # six kept connections, all of them dead when they are used again
    $p->mode('slow');
    my @clients = map { LLM::Client->connect($gw) } 1 .. 6;
    $_->send_request(LLM::Client::json_request($PATH, { model => 'p' }))
        for @clients;
    is((grep { $_->read_response->status == 200 } @clients), 6,
       'six connections are kept');

    $p->mode('rst');
    my ($before, $others) = map { $_->count } $p, $f;
    my $r = post_json($gw, $PATH, { model => 'two' });
    is($r->status, 200, 'none of them is alive: the request is served'
                        . ' (REQ-27)');
    is($r->json->{from}, 'p', '  by the same provider');
    is($f->count, $others, '  and no other one is asked');
    is($p->count, $before + 2, '  it is sent again on a new connection');
}

{
    $p->mode('stale');
    my $before = $p->count;
    my @got = map { post_json($gw, $PATH, { model => 'p' })->status } 1 .. 60;
    is((grep { $_ != 200 } @got), 0,
       'P promises keepalive and closes: no client error in 60');
    is($p->count, $before + 60, '  and P saw each request once');
}

{
    $p->mode('idle');
    my $before = $p->count;
    my $bad = 0;
    for my $n (1 .. 150) {
        my $r = post_json($gw, $PATH, { model => 'p' });
        $bad++ if $r->status != 200;
        select undef, undef, undef, 0.018 + 0.004 * ($n % 10) / 10;
    }
    is($bad, 0, 'P closes idle connections just when they are used:'
                . ' no client error in 150 (REQ-27)');
    is($p->count, $before + 150, '  and P saw each request once');
}

{
    $p->mode('idle');
    post_json($gw, $PATH, { model => 'p' });
    ok($p->closed_at, 'an idle connection that P closes is closed by us, too');
    is(post_json($gw, $PATH, { model => 'p' })->status, 200,
       '  and the next request takes a new one');
}


# These are attempts

for (
    [ half   => 'half a header', 'reset|bad_answer', 502 ],
    [ letter => 'a single byte', 'reset|bad_answer', 502 ],
    [ header => 'a header and then FIN', 'reset|bad_answer', 502 ],
    [ body   => 'half a JSON body', 'reset|bad_answer', 502 ],
    [ interim => 'an interim answer', 'reset|bad_answer', 502 ],
    [ hang   => 'silence', 'timeout', 504 ],
) {
    my ($mode, $what, $word, $status) = @$_;

    my ($r, $line, $n, $m) = ask_kept('two', $mode);
    is($r->status, 200, "$what on a kept connection: the next provider");
    is("$n $m", '1 1', '  each was asked once (REQ-27)');
    like($line, qr/^200 p:(?:$word):\d+ms,f:200:\d+ms$/, '  two attempts');

    ($r, $line, $n) = ask_kept('p', $mode);
    is($r->status, $status, "  a sole provider: $status");
    is($n, 1, '  which was asked once');
    is($r->json->{error}{type}, 'upstream_error', '  in our words');
    is($r->clean_end, 1, '  whole');
    like($line, qr/^$status p:(?:$word):\d+ms$/, '  one attempt');
}

$gw->done;
done_testing;
