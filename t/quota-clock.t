#!/usr/bin/perl

# REQ-19: a fleet counts by Redis' clock.  Two nginx whose clocks are two
# minutes before and behind it admit what one with a right clock would.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Redis;

use Time::HiRes qw(time);

my $dir = tempdir();

# the wall clock of a process, moved by SKEW seconds
spew("$dir/skew.c", <<'C');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

int
gettimeofday(struct timeval *tv, void *tz)
{
    struct timespec  ts;
    static int     (*real)(clockid_t, struct timespec *);

    if (!real) {
        real = dlsym(RTLD_NEXT, "clock_gettime");
    }

    if (real(CLOCK_REALTIME, &ts) != 0) {
        return -1;
    }

    tv->tv_sec = ts.tv_sec + atoi(getenv("SKEW"));
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}
C
plan skip_all => 'a sanitizer wants to be the first to be loaded'
    if ($ENV{LLM_WRAP} // '') =~ /sanitize/;
plan skip_all => 'no C compiler'
    if system('cc', '-shared', '-fPIC', '-o', "$dir/skew.so", "$dir/skew.c",
              '-ldl') != 0;

my $p = LLM::Fake->new(answer => sub { json({ fine() }) });
my $redis = LLM::Redis->new;

my @gw = map {
    local $ENV{LLM_PRELOAD} = "$dir/skew.so";
    LLM::Nginx->new(
        vars => { P => $p, REDIS => $redis->port }, workers => 2,
        main => 'env SKEW;', env => { SKEW => $_ },
        http => <<'CONF') } 120, -120;
    llm_redis redis://127.0.0.1:%%REDIS%% timeout=500ms;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model default { target p; }
    llm_quota_zone bucket key=$http_x_who requests=20/2s redis_down=closed;
    llm_quota_zone slots key=$http_x_who concurrency=1 redis_down=closed;
    server {
        listen 127.0.0.1:%%PORT%%;
        location / { llm_quota bucket slots; llm_pass; }
        location /time { return 200 $msec; }
    }
CONF

sub ask {
    my ($gw, $who) = @_;
    return post_json($gw, '/v1/chat/completions',
                     { model => 'm', messages => [] },
                     headers => [ [ 'X-Who', $who ] ])->status;
}

for my $i (0, 1) {
    my $off = get($gw[$i], '/time')->body - time;
    ok(abs($off - (120, -120)[$i]) < 5, "a clock is $off s off");
    wait_for(sub { ask($gw[$i], "up$i" . rand) == 200 }, 5, 'Redis') for 1 .. 4;
}

my $start = time;
my $admitted = 0;
my $n = 0;

while (time - $start < 3) {
    $admitted++ if ask($gw[$n++ % 2], 'joe') == 200;
}
my $took = time - $start;

cmp_ok($admitted, '<=', 20 + 10 * $took + 1,
       "REQ-19: $admitted of $n in $took s, what the bucket gives");
cmp_ok($admitted, '>=', 20 + 10 * ($took - 1) - 5, '  and not less')
    if slow() == 1;
is(ask($gw[0], 'slot'), 200, 'a slot that one has taken');
is(ask($gw[1], 'slot'), 200, '  and left is not taken for overdue, or for ever');

$_->done for @gw;
done_testing;
