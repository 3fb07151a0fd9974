#!/usr/bin/perl

# REQ-31, REQ-32: errors, fragments and what was not meant to be kept are not
# cached.  An answer is cut at every byte, in every framing: who asks again is
# answered by the provider, then by the cache.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;

my $CHAT = '/v1/chat/completions';
my $USAGE = '"usage":{"prompt_tokens":9,"total_tokens":13}';

sub event { return "data: {$_[0]}\n\n" }

sub choice { return '"choices":[{"index":0,' . $_[0] . '}]' }

# what is said on the first, second, ... time; all are of the same length

sub document {
    my ($n) = @_;
    return '{' . choice('"message":{"content":"é n' . $n . '"},'
           . '"finish_reason":"stop"') . ",$USAGE}";
}

sub stream {
    my ($n) = @_;
    return event(choice('"delta":{"content":"é n' . $n . '"}'))
         . event(choice('"delta":{},"finish_reason":"stop"'))
         . event("\"choices\":[],$USAGE") . "data: [DONE]\n\n";
}

my %LENGTH = (document => length document(1), stream => length stream(1));
my $delta = event(choice('"delta":{"content":"n1"}'));
my $finish = event(choice('"delta":{},"finish_reason":"stop"'));
my $spent = event("\"choices\":[],$USAGE");
my $done = "data: [DONE]\n\n";

# a question says what becomes of its first answer; the ones after are whole

my %case = (
    cut => sub {
        my ($form, $how, $end, $at) = @_;
        my $all = $form eq 'stream' ? stream(1) : document(1);
        return (type($form),
                $how eq 'length' ? header('Content-Length', length $all) : (),
                $how eq 'close' ? close_delimited : (), head,
                chunk(substr $all, 0, $at),
                $end eq 'rst' ? (delay(0.02 * slow()), rst)
                : $end eq 'fin' ? fin : ());
    },
    status => sub { (status($_[1]), whole($_[0], 1)) },
    head => sub { (header($_[1], $_[2]), whole($_[0], 1)) },
    coded => sub { (type($_[0]), gzip($_[0] eq 'stream' ? stream(1)
                                                        : document(1))) },
    typed => sub { (header('Content-Type', $_[1]), body(document(1))) },
    said => sub { (type($_[0]), chunk($_[1])) },
    gate => sub {
        (type('stream'), chunk($delta), gate($_[1]), chunk($finish),
         chunk($spent), chunk($done))
    },
    ranged => sub {
        whole('stream', 1)
    },
);

sub type {
    return header('Content-Type', $_[0] eq 'stream' ? 'text/event-stream'
                                                    : 'application/json');
}

sub whole {
    my ($form, $n) = @_;
    return (type($form), body($form eq 'stream' ? stream($n) : document($n)));
}

my %asked;
my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $json = $req->{json};
    my $form = $json->{stream} ? 'stream' : 'document';
    my $n = ++$asked{ $req->{path} . $req->{body} };
    return (status(503), json({ error => { message => 'down' } }))
        if ($req->{mode} // '') eq 'down';
    return whole($form, $n) if $n > 1;
    my ($case, @args) = @{ $json->{messages} };
    return $case{$case}->($form, @args);
});

my $second = LLM::Fake->new(answer => sub { whole('document', 9) });

my $gw = LLM::Nginx->new(
    vars => { P => $p, S => $second },
    access_format => '$http_x_request_id|$status|$llm_stream_end|$llm_cache_status',
    http => <<'CONF');
    llm_cache_zone 8m;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_provider s { endpoint http://127.0.0.1:%%S%%/v1; }
    llm_model m { target p up; }
    llm_model two { target p up; target s up backup; }

    server {
        listen 127.0.0.1:%%PORT%%;
        llm_cache on;
        llm_cache_scope shared;
        location /pass/ { llm_pass; }
        location /honor/ { llm_cache_honor_headers on; llm_pass; }
        location /limit/ { llm_max_response_size 120; llm_pass; }
        location /drain/ { llm_on_abort drain 10s; llm_pass; }
        location /plain/ { proxy_pass http://127.0.0.1:%%P%%; }
        location /direct/ {
            proxy_pass http://127.0.0.1:%%P%%;
            proxy_buffering off;
        }
        location /ranges/ {
            proxy_pass http://127.0.0.1:%%P%%;
            proxy_force_ranges on;
        }
        location /small/ {
            llm_cache_max_size 100;
            location /small/pass/ { llm_pass; }
            location /small/plain/ { proxy_pass http://127.0.0.1:%%P%%; }
        }
        location = /metrics { llm_metrics; }
    }
CONF

# what the operator is told of a cut
$gw->expect_error(qr/llm_provider "p" cut its answer short/,
                  qr/llm_provider "p" sent an? /,
                  qr/llm_provider "p" sent more than llm_max_response_size/,
                  qr/upstream prematurely closed connection/,
                  qr/upstream sent (?:invalid|no valid)/,
                  qr/recv\(\) failed \(104: Connection reset by peer\)/,
                  qr/readv\(\) failed \(104: Connection reset by peer\)/);

my $tags = 0;

sub question {
    my ($where, $form, @messages) = @_;
    my $model = $where =~ s/^two:// ? 'two' : 'm';
    return (method => 'POST', path => "$where$CHAT",
            headers => [ [ 'Content-Type', 'application/json' ],
                         [ 'X-Request-Id', 'tag-' . ++$tags ] ],
            body => canon({ model => $model, temperature => 0,
                            $form ne 'stream' ? () : (
                                stream => JSON::PP::true, stream_options => {
                                    include_usage => JSON::PP::true }),
                            messages => \@messages }));
}

sub ask { return request($gw, question(@_)) }

sub logged {
    my ($line) = $gw->wait_log(qr/^tag-$tags\|/) =~ /\|(.*)/;
    return $line;
}

sub cache_status { return $_[0]->header('cache-status') // 'none' }

# all of these at once, in turn

sub ask_all {
    my @clients = map {
        my $c = LLM::Client->connect($gw);
        $c->send_request(question(@$_));
        $c;
    } @_;
    return map { my $r = $_->read_response; $_->close; $r } @clients;
}


# At every byte

sub content {
    my ($r) = @_;
    return ($r->body =~ /"content":"é (n\d)"/)[0] // '';
}

# What is wrong with the answers to a question, '' if nothing.

sub judge {
    my ($first, $again, $third) = @_;
    return 'a hit at once: ' . $first->body if cache_status($first) =~ /hit/;
    return 'a hit: ' . $again->body
        if cache_status($again) !~ /^llm; fwd=miss(?:; stored)?$/;
    return 'then: ' . $again->status . ' ' . $again->body
        if content($again) ne 'n2' || !$again->clean_end;
    return '' if !$third;
    return 'not kept: ' . cache_status($third)
        if cache_status($third) !~ /^llm; hit; ttl=\d+$/;
    return 'kept: ' . $third->body if $third->body ne $again->body;
    return '';
}

sub cut_everywhere {
    my ($where, $form, $how, $end, $step) = @_;

    my @all = map { [ $where, $form, 'cut', $how, $end, $_ ] }
              grep { $_ % $step == 0 } 0 .. $LENGTH{$form} - 1;
    my $count = $p->count;
    my @bad;

    while (my @some = splice @all, 0, 24) {
        my @first = ask_all(@some);
        my @again = ask_all(@some);

        for my $i (0 .. $#some) {
            my $what = judge($first[$i], $again[$i],
                             $i % 4 ? undef : ask(@{ $some[$i] }));
            push @bad, "at $some[$i][-1]: $what" if $what;
        }
    }

    my $asked = $p->count - $count;
    my $times = 2 * int(($LENGTH{$form} + $step - 1) / $step);
    ok(!@bad, "REQ-31: $where, a $form, $how, $end: wherever the cut is,"
              . ' nothing is kept')
        or diag(scalar(@bad), ", $bad[0]");
    is($asked, $times, '  the provider was asked again each time');
}

for my $where ('/pass', '/plain', '/direct') {
    my $step = $where eq '/direct' ? 5 : 1;

    for my $how ('length', 'chunked', 'close') {
        cut_everywhere($where, $_, $how, 'fin', $step) for 'document', 'stream';
    }
    for my $how ('chunked', 'close') {
        cut_everywhere($where, $_, $how, 'rst', 7 * $step)
            for 'document', 'stream';
    }
    cut_everywhere($where, $_, 'chunked', 'clean', 3 * $step)
        for 'document', 'stream';
}

for my $where ('/pass', '/plain') {
    for my $form ('document', 'stream') {
        my @question = ($where, $form, 'cut', 'close', 'fin', $LENGTH{$form});
        my $r = ask(@question);
        is($r->clean_end, 1, "$where, a $form until close, all of it");
        like(cache_status(ask(@question)), qr/^llm; hit/, '  is kept');
    }
}


# What an answer says, and what stands in its head

sub kept_not {
    my ($reason, $name, @question) = @_;
    my ($form, $where) = @question[1, 0];

    my $moved = moved($gw, sub { ask(@question); logged() });
    is($moved->{"cache_refused_total $reason"}, 1, "REQ-31: $where, $name:"
       . " refused for $reason") or diag(explain($moved));
    is($moved->{'cache_total stored'}, undef, '  it is not kept');

    my $r = ask(@question);
    like(cache_status($r), qr/^llm; fwd=miss/, '  nor is it a hit');
    like(content($r), qr/^n[29]$/, '  the provider is asked again');
}

for my $form ('document', 'stream') {
    for ([ 'Set-Cookie', '__cf_bm=x; path=/; HttpOnly' ],
         [ 'Cache-Control', 'private, max-age=0, no-store, no-cache' ])
    {
        my @question = ('/pass', $form, 'head', @$_);
        ask(@question);
        like(cache_status(ask(@question)), qr/^llm; hit/, "llm_pass, a $form "
             . "with $_->[0] of the provider's edge is cached");
    }

    my @limited = ($form, 'said',
                   $form eq 'stream' ? stream(1) : document(1));
    my $count = $p->count;
    my $r = ask('/limit', @limited);
    logged();
    is($r->body =~ /finish_reason.*"usage"/s ? 1 : 0, 0, "a $form longer than "
       . 'llm_max_response_size is cut');
    like(cache_status(ask('/pass', @limited)), qr/^llm; fwd=miss/,
         '  and is not cached');
    like(cache_status(ask('/pass', @limited)), qr/^llm; hit/,
         '  a location without the limit caches it');
    $r = ask('/limit', @limited);
    unlike(cache_status($r), qr/hit/,
         '  where the limit applies the cached answer is not used');
    is($r->body =~ /finish_reason.*"usage"/s ? 1 : 0, 0,
       '  and the answer is cut again');
    is($p->count, $count + 3, '  so the provider has sent it three times');
}

for my $where ('/pass', '/plain') {
    my $pass = $where eq '/pass';

    for my $status (201, 400, 404, 429, 500) {
        kept_not('status', "status $status", $where, 'document', 'status',
                 $status);
    }
    kept_not('error', 'an error in a 200', $where, 'document', 'said',
             '{"error":{"message":"busy","type":"server_error"}}');
    kept_not('error', 'an error beside an answer', $where, 'document', 'said',
             substr(document(1), 0, -1) . ',"error":{"message":"x"}}');
    kept_not('finish_reason', 'no choices', $where, 'document', 'said',
             "{\"choices\":[],$USAGE}") if !$pass;
    kept_not('finish_reason', 'content_filter', $where, 'document', 'said',
             document(1) =~ s/"stop"/"content_filter"/r);
    kept_not('usage', 'no usage', $where, 'document', 'said',
             document(1) =~ s/,"usage".*/}/r);
    for my $form ('document', 'stream') {
        my $honor = $pass ? '/honor' : $where;
        kept_not('set_cookie', "a $form with Set-Cookie", $honor, $form,
                 'head', 'Set-Cookie', 'a=b');
        kept_not('cache_control', "a $form with no-store", $honor, $form,
                 'head', 'Cache-Control', 'max-age=60, No-Store');
        kept_not('cache_control', "a $form with private", $honor, $form,
                 'head', 'Cache-Control', 'private');
        kept_not('size', "a $form of more than llm_cache_max_size",
                 "/small$where", $form, 'cut', 'close', '',
                 $LENGTH{$form});
        kept_not('unread', "a $form that is coded", $where, $form, 'coded');
    }
    kept_not('unread', 'a document of another type', $where, 'document',
             'typed', 'text/plain') if !$pass;

    kept_not('error', 'an error event', $where, 'stream', 'said',
             $delta . 'data: {"error":{"message":"x"}}' . "\n\n$finish$spent"
             . $done);
    kept_not('finish_reason', '[DONE] without finish_reason', $where, 'stream',
             'said', "$delta$spent$done");
    kept_not('partial', 'finish_reason without [DONE]', $where, 'stream',
             'said', "$delta$finish$spent");
    kept_not('partial', 'two streams in one', $where, 'stream',
             'said', "$delta$finish$spent$done" x 2) if !$pass;
}

{
    # the second one is neither sent nor kept

    my @question = ('/pass', 'stream', 'said', "$delta$finish$spent$done" x 2);
    my $r = ask(@question);
    is($r->body, "$delta$finish$spent$done", '/pass, two streams in one: one');
    $r = ask(@question);
    like(cache_status($r), qr/^llm; hit/, '  it is kept');
    is($r->body, "$delta$finish$spent$done", '  without the other one');
}


# Who goes away

sub leave {
    my ($where, $gate) = @_;
    my $c = LLM::Client->connect($gw);
    $c->send_request(question($where, 'stream', 'gate', $gate));
    $c->read_event;
    $c->reset;
    return ($p->requests)[-1]{conn};
}

for my $where ('/pass', '/direct') {
    my $moved = moved($gw, sub {
        my $conn = leave($where, "gone");
        ok($p->closed_at($conn), "REQ-31: $where, the client leaves in the"
                                 . ' middle of a stream');
        like(logged(), qr/^200\|aborted\|MISS$/, '  as the log says');
    });
    is($moved->{'cache_refused_total partial'}, 1, '  a part is not kept');

    my $r = ask($where, 'stream', 'gate', "gone");
    is(cache_status($r), 'llm; fwd=miss', '  who asks again');
    is(content($r), 'n2', '  is answered by the provider');
}

my $moved = moved($gw, sub {
    leave('/drain', 'drained');
    $p->open_gate('drained');
    like(logged(), qr/^\d+\|drained\|MISS$/,
         'llm_on_abort drain: the rest is read');
});
is($moved->{'cache_total stored'}, 1, '  and all of it kept');
my $r = ask('/drain', 'stream', 'gate', 'drained');
like(cache_status($r), qr/^llm; hit; ttl=\d+$/, '  for who asks next');
is($r->body, "$delta$finish$spent$done", '  from its first byte to its last');

my %part = question('/ranges', 'stream', 'ranged');
my $from = index stream(1), $finish;
my @range = ([ 'Range', "bytes=$from-" ]);
$r = request($gw, %part, headers => [ @{ $part{headers} }, @range ]);
is($r->status, 206, 'REQ-31: who asks for a part');
is($r->body, substr(stream(1), $from), '  gets what could be a stream');
$r = request($gw, %part);
is(cache_status($r), 'llm; fwd=miss', '  it is not kept');
is(content($r), 'n2', '  the next one gets all of it');


# Who answered instead

$p->mode('down');
$moved = moved($gw, sub {
    $r = ask('two:/pass', 'document', 'said', 'x');
    logged();
});
is(content($r), 'n9', 'REQ-32: a backup answers');
is($moved->{'cache_refused_total backup'}, 1, '  it is refused for that');
$p->mode('up');
$gw->resume;
$r = ask('two:/pass', 'document', 'said', 'x');
is(cache_status($r), 'llm; fwd=miss; stored', '  and not kept');
is(content($r), 'n2', '  who is back is asked again');
like(cache_status(ask('two:/pass', 'document', 'said', 'x')),
     qr/^llm; hit/, '  and kept');

$gw->done;
done_testing;
