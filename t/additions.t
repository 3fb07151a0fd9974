#!/usr/bin/perl

# One client request with more than one answer: additions before and after the
# body, subrequests, and post_action.  Only the main answer is judged, metered,
# cached and charged, once; the request ends once.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;
use LLM::DNS;
use LLM::Redis;
use LLM::Wire;

my $CHAT = '/v1/chat/completions';

# the tokens of the main answer; an addition says a thousand times as many
my %USAGE = (prompt_tokens => 20, completion_tokens => 3, total_tokens => 23);
my %OTHER = (prompt_tokens => 20000, completion_tokens => 3000,
             total_tokens => 23000);

sub document {
    my ($usage) = @_;
    return { object => 'chat.completion', choices => [ { index => 0,
             finish_reason => 'stop', message => { content => 'x' } } ],
             usage => $usage };
}

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    return json(document(\%OTHER))
        if $req->{path} =~ m{^/(?:addition|report)} || !$req->{json};
    return (header('Content-Type', 'application/json'),
            header('Content-Length', 400_000),
            chunk('{"choices":[' . ' ' x 70_000), rst()) if $req->{path} =~ m{^/shadow};
    my $what = $req->{json}{model};
    my @text = map { { choices => [ { index => 0,
                       delta => { content => "t$_" } } ] } } 1 .. 3;
    my @end = ({ choices => [ { index => 0, delta => {},
                                finish_reason => 'stop' } ] },
               { choices => [], usage => \%USAGE }, '[DONE]');
    return (status(500), json({ error => { message => 'no' } }))
        if $what eq 'error';
    return (sse(@text, @end)) if $what eq 'stream';
    return (sse(@text), gate($req->{json}{user}), sse(@end))
        if $what eq 'slow';
    return (sse(@text), rst()) if $what eq 'cut';
    return (sse(@text), hang()) if $what eq 'hang';
    return json(document(\%USAGE));
});

my $HTTP = <<'CONF';
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_provider shadow { endpoint http://127.0.0.1:%%P%%/shadow/v1; }
    llm_model default { target p; }
    llm_model shadow { target shadow; }
    llm_next_provider off;
    llm_cache_zone 1m;
    llm_quota_zone spent key=$http_x_who tokens=1g/month requests=1m/month;
    llm_quota_zone slot key=$http_x_who concurrency=1;
    addition_types *;

    map $http_x_cache $bypass { yes 0; default 1; }

    server {
        listen 127.0.0.1:%%PORT%%;

        # additions inherit all of this
        llm_meter on;
        llm_quota spent slot;
        llm_quota_output declared;
        llm_cache on;
        llm_cache_scope shared;
        llm_cache_bypass $bypass;
        proxy_buffering off;

        location /plain/ { llm_pass; }
        location /plain-proxied/ { proxy_pass http://127.0.0.1:%%P%%; }
        location /both/ {
            add_before_body /addition/before;
            add_after_body /addition/after;
            llm_pass;
        }
        location /text/ {
            add_before_body /say/before;
            add_after_body /say/after;
            llm_pass;
        }
        location /proxied/ {
            add_before_body /addition/before;
            add_after_body /addition/after;
            proxy_pass http://127.0.0.1:%%P%%;
        }
        location /models/ {
            add_after_body /both/v1/models;
            llm_pass;
        }
        location /addition/ {
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass http://127.0.0.1:%%P%%;
        }
        location /say/ { default_type application/json; return 200 '%%SAY%%'; }

        location /mirrored/ { mirror /plain/v1/chat/completions; llm_pass; }
        location /mirrored-proxy/ { mirror /addition/mirror; llm_pass; }
        location /mirrored-cut/ {
            mirror /shadow/v1/chat/completions;
            llm_pass;
        }
        location /shadow/ { llm_pass shadow; }
        location /authorized/ { auth_request /addition/auth; llm_pass; }
        location /authorized-pass/ { auth_request /plain/v1/models; llm_pass; }

        location /post-proxy/ { post_action @report; llm_pass; }
        location @report {
            proxy_set_header X-Charge
                "$llm_total_tokens $llm_stream_end $llm_quota_status";
            proxy_pass http://127.0.0.1:%%P%%/report$uri;
        }
        location /post-uri/ { post_action /report/uri; llm_pass; }
        location /report/ { proxy_pass http://127.0.0.1:%%P%%; }
        location /post-return/ { post_action /gone; llm_pass; }
        location = /gone { return 204; }
        location /post-pass/ { post_action @pass; llm_pass; }
        location @pass { llm_pass other; }
        location /post-refused/ { post_action @refused; llm_pass; }
        location @refused { deny all; llm_pass; }
        location /post-error/ { post_action @error; llm_pass; }
        location @error { proxy_pass http://127.0.0.1:%%DEAD%%; }
        location /post-proxied/ {
            post_action @pass;
            proxy_pass http://127.0.0.1:%%P%%;
        }
        location = /metrics {
            llm_meter off; llm_quota off; llm_cache off; llm_metrics;
        }
    }
CONF

my $SAY = canon({ usage => \%OTHER });
my $gw = LLM::Nginx->new(
    vars => { P => $p, DEAD => LLM::Fake->refused, SAY => $SAY }, forget => 1,
    access_format => '$llm_total_tokens|$llm_stream_end|$llm_quota_status'
        . '|$llm_cache_status|$llm_attempts|$http_x_request_id', http => $HTTP);
$gw->expect_error(qr/connect\(\) failed \(111/, qr/Connection reset by peer/,
                  qr/llm_provider "\w+"/, qr/access forbidden by rule/,
                  qr/prematurely closed/);

my $claims = 0;

sub start {
    my ($to, $at, $model, %opt) = @_;
    my $n = sprintf '%04d', ++$claims;
    my $c = LLM::Client->connect($to);
    $c->send_request(method => 'POST', path => "$at$CHAT",
        headers => [ [ 'X-Who', $opt{who} // "who$n" ],
                     [ 'X-Request-Id', "c$n;" ],
                     [ 'X-Cache', $opt{cache} // 'no' ],
                     [ 'Content-Type', 'application/json' ] ],
        body => canon({ model => $model, temperature => 0,
                        user => $opt{user} // 'u', max_tokens => 10,
                        messages => [ { role => 'user',
                            content => $opt{text} // "q$n" } ],
                        $model =~ /stream|slow|cut|hang/
                            ? (stream => JSON::PP::true,
                               stream_options => { include_usage =>
                                   JSON::PP::true }) : () }));
    $c->flush;
    return ($c, "c$n;", "who$n");
}

# the response, its log line, and what the metrics have moved by
sub ask {
    my ($at, $model, %opt) = @_;
    my ($r, $line, $who);
    my $moved = moved($gw, sub {
        (my $c, my $claim, $who) = start($gw, $at, $model, %opt);
        if ($opt{after}) { $c->read_event for 1 .. $opt{after} }
        else             { $r = $c->read_response(10) }
        $c->close;
        $line = $gw->wait_log(qr/\|$claim$/);
    });
    $line =~ s/\d+ms|\|c\d+;$//g;
    $line =~ s/^\d+(?=\|(?:truncated|aborted)\|)/an estimate/;

    # these depend on earlier requests
    my $reserved = join '|', 'quota_reserved_total spent tokens',
                   $model =~ /cut|hang/ ? 'quota_settled_total spent tokens'
                                        : ();
    delete $moved->{$_} for grep { /^(?:$reserved)$/ } keys %$moved;

    return { r => $r, line => $line, moved => $moved, who => $who };
}


# Each location against one without additions

my @models = ('json', 'stream', 'error', 'cut', [ 'hang', after => 2 ]);
my %plain;

for my $model (@models) {
    my ($name, @opt) = ref $model ? @$model : $model;
    $plain{$_}{$name} = ask($_, $name, @opt) for '/plain', '/plain-proxied';
}
is($plain{$_}{json}{line} =~ s/\|(?:-|p:200:)$//r, '23|complete|ok|BYPASS',
   "$_: without additions") for '/plain', '/plain-proxied';

for my $at (qw(/both /text /proxied /models /mirrored /mirrored-proxy
               /authorized /authorized-pass /post-proxy /post-uri /post-return
               /post-pass /post-refused /post-error /post-proxied)) {
    my $plain = $plain{$at =~ /proxied/ ? '/plain-proxied' : '/plain'};

    for my $model (@models) {
        my ($name, @opt) = ref $model ? @$model : $model;
        my $it = ask($at, $name, @opt);

        is($it->{line}, $plain->{$name}{line},
           "$at, $name: the log line has the main answer");
        is_deeply($it->{moved}, $plain->{$name}{moved},
                  '  and the metrics count it alone, once');
        is(ask('/plain', 'json', who => $it->{who})->{r}->status, 200,
           '  its slot is free');

        my $body = $plain->{$name}{r} && $plain->{$name}{r}->body;
        is($it->{r}->body, $at eq '/text' && $name ne 'error'
                           ? "$SAY$body$SAY" : $body,
           '  the client has the main answer'
           . ($at eq '/text' ? ' between the additions' : ''))
            if defined $body && $at !~ m{^/(?:both|proxied|models)};
    }
}


# Caches keep the main answer

for my $at ('/text', '/both', '/proxied', '/post-proxy', '/post-pass',
            '/post-proxied') {
    my @it = map { ask($at, 'json', cache => 'yes', text => "once $at",
                      who => "twice$at") } 1, 2;
    like($it[0]{line}, qr/\|MISS\|/, "$at: the first answer is a miss");
    like($it[1]{line}, qr/^23\|complete\|ok\|HIT\|-/, '  the second one a hit');
    is($it[1]{r}->body, $it[0]{r}->body, '  with the same bytes');
    is($it[1]{moved}{'quota_settled_total spent tokens'} // 0, 0,
       '  which costs no tokens');
}


# What post_action sees

for my $model ('json', [ 'cut', 'truncated' ]) {
    my ($name, $end) = ref $model ? @$model : ($model, 'complete');
    my $n = $p->count;
    ask('/post-proxy', $name);
    my ($report) = grep { $_->{path} =~ m{^/report} }
                   ($p->requests)[$n .. $p->count - 1];
    my $tokens = $end eq 'complete' ? 23 : '\d+';
    like($report->{headers}{'x-charge'}, qr/^$tokens $end ok$/, "variables in post_action have the main answer ($name)");
}


# A mirror's answer is neither awaited nor judged

{
    my ($c) = start($gw, '/mirrored-cut', 'slow', user => 'after-cut');
    $c->read_event;
    wait_for(sub { grep { $_->{path} =~ /shadow/ } $p->requests }, 5, 'mirror');
    $p->open_gate('after-cut');
    my $r = $c->read_response(10);
    is($r->clean_end, 1, 'a mirror whose answer is cut leaves the main answer');
    is(($r->sse_data)[-1], '[DONE]', '  whole');
    $c->close;

    my $before = length $gw->error_log;
    ask('/mirrored', 'stream');
    unlike(substr($gw->error_log, $before) =~ s/^.*\[notice\].*\n//mgr, qr/cut/,
           'an answer to a mirror is no answer that was cut');
}

$gw->done;


# A client leaves while its request waits; post_action is still under way when
# the wait would have ended

my $redis = LLM::Redis->new;
my $wire = LLM::Wire->new(to => $redis);
my $dns = LLM::DNS->new('silent.test' => 'SILENT');
my $q = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    return (gate("held-$1"), status(204)) if $req->{path} =~ m{/held/(\w+)};
    return (gate($req->{json}{user}), sse({ choices => [ { index => 0,
            delta => { content => 'x' }, finish_reason => 'stop' } ] },
            '[DONE]')) if $req->{json}{model} eq 'slow';
    return json(document(\%USAGE));
});

my $late = LLM::Nginx->new(
    vars => { Q => $q, W => $wire, DNS => $dns, WAIT => int(1500 * slow()) },
    forget => 1, access_format => '$llm_stream_end|$http_x_request_id',
    http => <<'CONF');
    llm_redis redis://127.0.0.1:%%W%% timeout=20s;
    resolver 127.0.0.1:%%DNS%% ipv6=off;
    resolver_timeout 30s;
    llm_provider q { endpoint http://127.0.0.1:%%Q%%/v1; }
    llm_provider silent { endpoint http://silent.test:%%Q%%/v1; }
    llm_model silent { target silent; }
    llm_model default { target q; }
    llm_connect_timeout %%WAIT%%ms;
    llm_cache_zone 1m;
    llm_quota_zone slot key=$http_x_who concurrency=1 redis_down=closed;
    server {
        listen 127.0.0.1:%%PORT%%;
        location / { llm_pass; }
        location /quota/ { llm_quota slot; post_action @held; llm_pass; }
        location /follow/ {
            llm_cache on;
            llm_cache_scope shared;
            llm_ping 100ms;
            post_action @held;
            llm_pass;
        }
        location /dns/ { post_action @held; llm_pass silent; }
        location @held {
            llm_quota slot;
            proxy_pass http://127.0.0.1:%%Q%%/held$uri;
        }
        location = /metrics { llm_metrics; }
        location /llm/ { llm_status; }
    }
CONF
$late->expect_error(qr/llm_provider "silent"/, qr/could not be resolved/,
                    qr/no live upstreams/);

sub held {
    my ($at) = @_;
    wait_for(sub { grep { $_->{path} =~ m{held$at/} } $q->requests }, 10,
             "post_action of $at");
}

# a client that leaves; another request of the same worker comes between
sub leaves {
    my ($at, $model, %opt) = @_;
    my ($c, $claim) = start($late, $at, $model, %opt);
    get($late, '/metrics');
    $c->reset;
    held($at);
    return $claim;
}

sub over {
    my ($claim, $at) = @_;
    is(scalar(grep { $_->{path} =~ m{held$at/} } $q->requests), 1,
       '  post_action has run once');
    $q->open_gate('held-' . substr $at, 1);
    my $line = $late->wait_log(qr/\|$claim$/);
    is(scalar(() = $late->access_log =~ /\|$claim$/mg), 1,
       '  and the request has ended once');
}

{
    wait_for(sub { get($late, '/llm/status.json')->json->{redis}{state}
                   eq 'up' }, 5, 'redis up');
    my ($c) = start($late, '/quota', 'json', who => 'warm');
    $c->read_response(5);
    $c->close;
    $q->open_gate('held-quota');
    wait_for(sub { $late->access_log =~ /\|c\d+;$/m }, 5, 'the first one');
}

{
    my $before = grep { $_->{path} =~ /held/ } $q->requests;
    $wire->blackhole;
    my ($c, $claim) = start($late, '/quota', 'json', who => 'joe');
    get($late, '/metrics');
    $c->reset;
    wait_for(sub { $before < grep { $_->{path} =~ /held/ } $q->requests }, 10,
             'post_action');
    $wire->pass;
    my ($next, $second) = start($late, '/quota', 'json', who => 'joe');
    is($next->read_response(10)->status, 200, 'a client left while its '
       . 'reservation waited for Redis: the slot is free');
    $next->close;
    $late->wait_log(qr/\|$_$/) for $claim, $second;
    is(scalar(() = $late->access_log =~ /\|$claim$/mg), 1,
       '  and the request has ended once');
}

{
    my ($lead) = start($late, '/follow', 'slow', user => 'lead', cache => 'yes',
                       text => 'same');
    wait_for(sub { grep { ($_->{json}{user} // '') eq 'lead' } $q->requests },
             5, 'leader');
    my $claim = leaves('/follow', 'slow', user => 'lead', text => 'same');
    my ($third) = start($late, '/follow', 'slow', user => 'lead',
                        text => 'same');
    $third->read_until(qr/^:.*^:.*^:/ms);
    $q->open_gate('lead');
    is($_->read_response(10)->clean_end, 1, 'a client left while its request '
       . 'waited for another one\'s answer: the others have it')
        for $lead, $third;
    $_->close for $lead, $third;
    $q->open_gate('held-follow');
    $late->wait_log(qr/\|$claim$/);
    is(scalar(() = $late->access_log =~ /\|$claim$/mg), 1,
       '  and the request has ended once');
}

{
    my $claim = leaves('/dns', 'json');
    my ($c) = start($late, '', 'silent');
    $c->read_response(10);
    $c->close;
    pass('a client left while its request waited for an address');
    over($claim, '/dns');
}

$late->done;
done_testing;
