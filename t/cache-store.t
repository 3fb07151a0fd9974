#!/usr/bin/perl

# The memory of the cache: too small for what is asked, used by all workers at
# once, and by workers that are killed while they store.  No answer is ever
# another's or a part; nobody is refused; quotas stay exact.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;

use List::Util qw(sum);

srand(5);

my @SIZES = (1, 2, 5, 10, 20, 40, 60);      # about so many KB
my $USAGE = '"usage":{"prompt_tokens":9,"completion_tokens":4,'
          . '"total_tokens":13}';

# what is said has the question in it every 1000 bytes

sub pad { return "<$_[0]>" . 'x' x 1000 }

my %FORM = (
    doc => [ '{"choices":[{"index":0,"message":{"content":"', '"},'
             . "\"finish_reason\":\"stop\"}],$USAGE}" ],
    sse => [ 'data: {"choices":[{"index":0,"delta":{"content":"', '"}}]}'
             . "\n\n" . 'data: {"choices":[{"index":0,"delta":{},'
             . '"finish_reason":"stop"}]}' . "\n\n"
             . "data: {\"choices\":[],$USAGE}\n\ndata: [DONE]\n\n" ],
);

sub said {
    my ($q, $size, $form) = @_;
    return join pad($q) x $size, @{ $FORM{$form} };
}

my $p = LLM::Nginx->new(module => 0, http => join "\n",
    'keepalive_requests 1000000;', 'access_log off;',
    'map $http_x_q $unit { default "' . pad('$http_x_q') . '"; }',
    'map $http_x_size $pad {',
    (map { "$_ \"" . '$unit' x $_ . '";' } @SIZES), '}',
    'server { listen 127.0.0.1:%%PORT%%;',
    (map {
        my $text = join '$pad', @{ $FORM{$_} };
        $text =~ s/\n/\\n/g;
        my $type = $_ eq 'sse' ? 'text/event-stream' : 'application/json';
        "location /$_/ { default_type $type; return 200 '$text'; }"
    } sort keys %FORM), '}');

my $conf = <<'CONF';
    llm_cache_zone SIZE;
    llm_zone 1m;
    llm_provider doc {
        endpoint http://127.0.0.1:%%P%%/doc;
        header X-Q $arg_q;
        header X-Size $arg_size;
    }
    llm_provider sse {
        endpoint http://127.0.0.1:%%P%%/sse;
        header X-Q $arg_q;
        header X-Size $arg_size;
    }
    llm_model doc { target doc; }
    llm_model sse { target sse; }
    llm_quota_zone q key=$http_x_who requests=1m/month tokens=4g/month;

    server {
        listen 127.0.0.1:%%PORT%% reuseport;
        keepalive_requests 1000000;
        llm_cache on;
        llm_cache_scope shared;
        location / { llm_quota q; llm_pass; }
        location = /metrics { llm_metrics; }
    }
CONF

my $gw = LLM::Nginx->new(
    vars => { P => $p }, workers => 4,
    access_format => '$http_x_who|$pid|$llm_cache_status',
    http => $conf =~ s/SIZE/1m/r);

# A question has a number; what it asks for follows from that.

sub size_of { return $SIZES[ $_[0] * 7919 % 1009 % @SIZES ] }
sub form_of { return $_[0] % 3 ? 'doc' : 'sse' }

sub question {
    my ($q, $who) = @_;
    my ($size, $form) = (size_of($q), form_of($q));
    return (method => 'POST', keepalive => 1,
            path => "/v1/chat/completions?q=$q&size=$size",
            headers => [ [ 'Content-Type', 'application/json' ],
                         [ 'X-Who', $who ] ],
            body => canon({ model => $form, temperature => 0,
                            messages => [ 0 + $q ], $form eq 'doc' ? ()
                            : (stream => JSON::PP::true, stream_options => {
                               include_usage => JSON::PP::true }) }));
}

sub ask {
    my ($c, $q, $who) = @_;
    $c->send_request(question($q, $who // 'me'));
    return $c->read_response;
}

sub right {
    my ($r, $q) = @_;
    return $r->status == 200 && $r->clean_end
           && $r->body eq said($q, size_of($q), form_of($q));
}

# what was waited for while another one asked is a hit as well
sub hit {
    return ($_[0]->header('cache-status') // '') =~ /hit|collapsed/ ? 1 : 0;
}

# Clients at once, each a process; what they have counted is added up.

sub clients {
    my ($n, $sub) = @_;
    my $dir = tempdir();
    my @pids = map {
        my $i = $_;
        LLM::Util::forked(sub {
            srand($i);
            my $count = $sub->($i);
            spew("$dir/$i.new", canon($count));
            rename "$dir/$i.new", "$dir/$i";
        });
    } 1 .. $n;
    return sub {
        my %sum;
        for my $i (1 .. $n) {
            LLM::Util::reap($pids[ $i - 1 ], 60);
            my $count = -e "$dir/$i" ? JSON::PP::decode_json(slurp("$dir/$i"))
                                     : { dead => 1 };
            $sum{$_} += $count->{$_} for keys %$count;
        }
        return \%sum;
    };
}


# One after the other: what is popular stays, whatever passes through

# first in, first out: how often would it have been there?

sub fifo {
    my ($room, @questions) = @_;
    my (%in, @queue);
    my ($used, $hits) = (0, 0);

    for my $q (@questions) {
        if ($in{$q}) { $hits++ if $q < 100; next }
        my $need = int((length(said($q, size_of($q), form_of($q))) + 230)
                       / 2048) + 1;
        while ($used + $need > $room) {
            my $out = shift @queue;
            $used -= delete $in{$out};
        }
        $in{$q} = $need;
        $used += $need;
        push @queue, $q;
    }
    return $hits;
}

{
    my @popular = map { $_ + 1 } 0 .. 9;
    my @all = map { ($popular[ $_ % @popular ], 1000 + $_) } 0 .. 599;
    my $c = LLM::Client->connect($gw);
    my ($wrong, $hits) = (0, 0);

    for my $q (@all) {
        my $r = ask($c, $q);
        $wrong++ if !right($r, $q);
        $hits += hit($r) if $q < 100;
    }
    $c->close;

    my $fifo = fifo(450, @all);
    is($wrong, 0, 'a cache that is too small: all answers are right');
    cmp_ok($hits, '>', 0.95 * 600, '  who is asked for again and again stays');
    cmp_ok(600 - $hits, '<', (600 - $fifo) / 3,
           "  which first in, first out misses @{[ 600 - $fifo ]} times");
    between(read_metrics($gw)->{'cache_bytes'}, 500_000, 1_000_000,
            '  and the zone is full');
}


# All workers at once

sub load {
    my ($who, $questions, $times) = @_;
    return clients(4, sub {
        my $c = LLM::Client->connect($gw);
        my %count = (wrong => 0, hits => 0, asked => 0);

        for (1 .. $times) {
            # some more often than others
            my $q = 5000 + int($questions * rand() ** 2);
            my $r = ask($c, $q, $who);
            $count{asked}++;
            $count{wrong}++ if !right($r, $q);
            $count{hits} += hit($r);
        }
        return \%count;
    })->();
}

my $warm = load('warm', 300, 200);
my $rss = sum(map { rss_kb($_) } $gw->worker_pids);
my $count = load('joe', 300, 900);

is($warm->{wrong} + $count->{wrong}, 0,
   'four clients at four workers: all answers are right');
between($count->{hits} / $count->{asked}, 0.05, 0.9, '  some of them hits');
SKIP: {
    skip 'a sanitizer keeps what is freed', 1
        if ($ENV{LLM_WRAP} // '') =~ /sanitize/;
    cmp_ok(sum(map { rss_kb($_) } $gw->worker_pids) - $rss, '<', 8192,
           '  and memory stays');
}

my $c = LLM::Client->connect($gw);
my $r;
wait_for(sub {
    $r = ask($c, 1, 'joe');
    $count->{asked}++;
    $count->{hits} += hit($r);
    my $spent = 13 * ($count->{asked} - $count->{hits});
    $r->header('x-ratelimit-remaining-tokens') == 4_000_000_000 - $spent;
}, 5, 'settled: ' . canon($count));
pass('quotas are exact meanwhile: what was no hit has cost its tokens');
is($r->header('x-ratelimit-remaining-requests'), 1_000_000 - $count->{asked},
   '  and each one was a request');
$c->close;


# What one worker has stored all of them have

sub pids_of_hits {
    my ($who, $q) = @_;
    my $mark = () = $gw->access_log =~ /^\Q$who\E\|/mg;
    my @open = map { LLM::Client->connect($gw) } 1 .. 48;
    my $wrong = grep { !right(ask($_, $q, $who), $q) } @open;
    $_->close for @open;
    my @lines;
    wait_for(sub {
        @lines = $gw->access_log =~ /^\Q$who\E\|(\d+\|\w+)$/mg;
        @lines >= $mark + 48;
    }, 5, 'log');
    my %pid = map { /(\d+)\|HIT/ ? ($1 => 1) : () } @lines[ $mark .. $#lines ];
    return ($wrong, scalar keys %pid);
}

{
    my $c = LLM::Client->connect($gw);
    ask($c, 2, 'all');
    $c->close;
}
is_deeply([ pids_of_hits('all', 2) ], [ 0, 4 ],
          'a hit in every worker, of what one of them has stored');


# Workers that are killed

$gw->expect_alert(qr/worker process \d+ exited on signal 9/,
                  qr/shared memory zone "llm_\w+" was locked by \d+/);

my $run = clients(3, sub {
    my ($i) = @_;
    my %count = (wrong => 0, hits => 0, asked => 0, cut => 0);
    my $end = time + 4 * slow();
    my $c;

    while (time < $end) {
        my $q = 9000 + int(200 * rand());
        my $r = eval { $c ||= LLM::Client->connect($gw); ask($c, $q, 'kill') };

        if (!$r || !$r->clean_end) {
            # its worker was killed
            $count{cut}++;
            $c->close if $c;
            undef $c;
            next;
        }
        $count{asked}++;
        $count{wrong}++ if !right($r, $q);
        $count{hits} += hit($r);
    }
    return \%count;
});

my $killed = 0;
my $end = time + 4 * slow();
while (time < $end) {
    my $four = wait_for(sub { my @pids = $gw->worker_pids;
                              @pids == 4 && \@pids }, 5, 'four workers');
    my $pid = $four->[ rand @$four ];

    # not a thing to wait for: it shall have begun to work
    select undef, undef, undef, 0.03 * rand;
    kill 'KILL', $pid and $killed++;
    wait_for(sub { !grep { $_ == $pid } $gw->worker_pids }, 5, 'its end');
}
$count = $run->();

cmp_ok($killed, '>', 10, 'workers are killed while they store');
is($count->{wrong}, 0, '  each answer is right and whole')
    or diag(canon($count));
cmp_ok($count->{asked}, '>', 300, '  and there are answers meanwhile');
note("$killed killed, ", canon($count));

wait_for(sub { $gw->worker_pids == 4 }, 5, 'four workers');
$count = load('after', 300, 60);
is($count->{wrong}, 0, 'afterwards all answers are right');
cmp_ok($count->{hits}, '>', 0, '  there are hits');
$c = LLM::Client->connect($gw);
ask($c, 3, 'after all');
$c->close;
is_deeply([ pids_of_hits('after all', 3) ], [ 0, 4 ], '  in every worker');
my @warned = grep { /\[warn\]/ } split /\n/, $gw->error_log;
is(scalar(grep { !/a worker died while it stored an answer/ } @warned), 0,
   '  the log says no more than that it was emptied')
    or diag(join "\n", @warned);
note(scalar(@warned), ' times');


# Over a reload

$c = LLM::Client->connect($gw);
ask($c, 4);
$c->close;
$gw->reload;
$c = LLM::Client->connect($gw);
$r = ask($c, 4);
$c->close;
ok(hit($r) && right($r, 4), 'what is kept is kept over a reload');

$gw->reload(http => $conf =~ s/SIZE/2m/r);
$c = LLM::Client->connect($gw);
$r = ask($c, 4);
ok(!hit($r) && right($r, 4), 'with another size the cache starts empty');
$r = ask($c, 4);
ok(hit($r) && right($r, 4), '  and is filled');
$c->close;

$gw->done;
$p->done;
done_testing;
