#!/usr/bin/perl

# A provider dies under 200 requests per second and stays away for 30 seconds:
# nobody who asks notices, and it is probed once per interval by all workers
# together.  Then it comes back and gets its share again.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;
use LLM::Util qw(forked reap);

use Time::HiRes qw(sleep);

my $RATE = 200 / slow();
my $CLIENTS = 4;
my $DOWN = 30;

# a provider that is no bottleneck
my $build = $ENV{LLM_BUILD} || root_dir() . '/build';
sub provider {
    my ($port) = @_;
    return LLM::Nginx->new(
        $ENV{LLM_STATIC} ? ()
            : (module => 0,
               modules => [ "$build/ngx_http_llm_simulator_module.so" ]),
        http => "server { listen 127.0.0.1:$port;"
                . ' location /v1/ { llm_simulator; } }');
}

my $a = provider('%%PORT%%');
my $b = provider('%%PORT%%');

my $gw = LLM::Nginx->new(
    workers => 4, vars => { A => $a->port, B => $b->port },
    access_format => '$status $llm_attempts',
    http => <<'CONF');
llm_provider a { endpoint http://127.0.0.1:%%A%%/v1; }
llm_provider b { endpoint http://127.0.0.1:%%B%%/v1; }
llm_model default { target a; target b; }
server {
    listen 127.0.0.1:%%PORT%%;
    keepalive_requests 1000000;
    location /v1/ { llm_pass; }
    location /metrics { llm_metrics; }
}
CONF
$gw->expect_error(qr/connect\(\) failed \(111/, qr/Connection reset by peer/,
                  qr/prematurely closed connection/,
                  qr/upstream sent/);

# each asks at its own pace on connections it keeps, until told to stop
my $dir = tempdir();
my @pids = map {
    my $n = $_;
    forked(sub {
        my ($c, %seen, $asked);
        my $next = now() + $n / $RATE;
        until (-e "$dir/stop") {
            my $pause = $next - now();
            sleep $pause if $pause > 0;
            $next += $CLIENTS / $RATE;
            $c ||= LLM::Client->connect($gw);
            $c->send_request(path => '/v1/chat/completions', keepalive => 1,
                body => '{"model":"sim:tokens=5","messages":[]'
                        . ($asked++ % 2 ? ',"stream":true' : '') . '}');
            my $r = eval { $c->read_response(20) };
            my $ok = $r && $r->status == 200 && $r->clean_end
                     && ($asked % 2 || $r->body =~ /\[DONE\]/);
            $seen{ $ok ? 'good' : 'bad' }++;
            undef $c unless $ok;
        }
        spew("$dir/$n", ($seen{good} // 0) . ' ' . ($seen{bad} // 0));
    });
} 1 .. $CLIENTS;

sub attempts {
    my $m = read_metrics($gw);
    my %n = (all => 0, failed => 0, good => 0);
    for (grep { /^attempts_total a / } keys %$m) {
        $n{all} += $m->{$_};
        $n{ / 200$/ ? 'good' : 'failed' } += $m->{$_};
    }
    return \%n;
}

wait_for(sub { attempts()->{good} > 100 }, 20, 'load');
kill 'KILL', $a->master_pid, $a->worker_pids;
$a->stop('KILL');
wait_for(sub { read_metrics($gw)->{'provider_state a'} == 0 }, 10, 'open');

my $before = attempts();
my $start = now();
sleep $DOWN - 1;
my $after = attempts();

between($after->{all} - $before->{all}, 1, 3 + 1,
        'REQ-25 dead for 30 s: one probe per interval over four workers');

my $again = provider($a->port);
my $good = $after->{good};
wait_for(sub { attempts()->{good} > $good + 100 }, 15, 'back');
cmp_ok(now() - $start, '<', $DOWN + 12, '  back within an interval');

spew("$dir/stop", '');
reap($_, 10) for @pids;

my ($ok, $bad) = (0, 0);
for (1 .. $CLIENTS) {
    my ($good, $wrong) = split ' ', slurp("$dir/$_");
    $ok += $good;
    $bad += $wrong;
}
is($bad, 0, 'REQ-21 no client has seen an error');
cmp_ok($ok, '>', 0.7 * $RATE * $DOWN, "  in $ok answers");

$gw->done;
$_->done for $again, $b;
done_testing;
