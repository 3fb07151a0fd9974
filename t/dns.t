#!/usr/bin/perl
# Host names of providers at run time (REQ-38): a change of address is
# followed without a reload, a failing name server costs nothing once an
# address is known, and nginx starts when a name does not resolve.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::DNS;

my $PATH = '/v1/chat/completions';

# Two hosts with one port: 127.0.0.2 and 127.0.0.3 through nginx itself, which
# says where it was reached.
my $hosts = LLM::Nginx->new(module => 0, http => <<'CONF');
    server {
        listen 127.0.0.2:%%PORT%%;
        listen 127.0.0.3:%%PORT%%;
        location / {
            default_type application/json;
            add_header X-At $server_addr;
            return 200 '{"id":"x","choices":[{}]}';
        }
    }
CONF

my $dns = LLM::DNS->new('moves.test' => '127.0.0.2',
                        'both.test' => [ '127.0.0.2', '127.0.0.3' ],
                        'dead.test' => [ '127.0.0.9', '127.0.0.2' ],
                        'six.test' => [ '2001:db8::1', '2001:db8::2',
                                        '2001:db8::3', '127.0.0.2' ],
                        'late.test' => 'NXDOMAIN',
                        'gone.test' => 'NXDOMAIN',
                        'mute.test' => 'SILENT');
$dns->ttl(1);

my $gw = LLM::Nginx->new(
    vars => { DNS => $dns, H => $hosts->port },
    access_format => '$status $llm_attempts',
    http => <<'CONF');
    resolver 127.0.0.1:%%DNS%%;
    llm_connect_timeout 700ms;
    llm_provider moves { endpoint http://moves.test:%%H%%/v1; }
    llm_provider both  { endpoint http://both.test:%%H%%/v1; }
    llm_provider dead  { endpoint http://dead.test:%%H%%/v1; }
    llm_provider six   { endpoint http://six.test:%%H%%/v1; }
    llm_provider late  { endpoint http://late.test:%%H%%/v1; }
    llm_provider gone  { endpoint http://gone.test:%%H%%/v1; }
    llm_provider mute  { endpoint http://mute.test:%%H%%/v1; }
    llm_model moves { target moves; }
    llm_model both  { target both; }
    llm_model dead  { target dead; }
    llm_model six   { target six; }
    llm_model late  { target late; }
    llm_model gone  { target gone; }
    llm_model mute  { target mute; }
    llm_model two   { target gone; target both; }
    server {
        listen 127.0.0.1:%%PORT%%;
        location / { llm_pass; }
    }
CONF
$gw->expect_error(qr/no live upstreams/, qr/connect\(\) failed/,
                  qr/upstream timed out/);

ok($gw->port, 'nginx starts with names that do not resolve (REQ-38)');


sub ask {
    my ($model) = @_;

    my $mark = $gw->mark;
    my $r = post_json($gw, $PATH, { model => $model });
    return ($r, $gw->wait_log(qr/./, since => $mark));
}

sub at { return (ask($_[0]))[0]->header('X-At') // '' }


is(at('moves'), '127.0.0.2', 'the first request finds the address');

$dns->set('moves.test' => '127.0.0.3');
ok(wait_for(sub { at('moves') eq '127.0.0.3' }, 10, 'the new address'),
   'a new address is used once the TTL has passed (REQ-38)');

$dns->set('moves.test' => 'SERVFAIL');
my $asked = $dns->queries('moves.test');
ok(wait_for(sub { at('moves') eq '127.0.0.3'
                      && $dns->queries('moves.test') > $asked }, 10, 'a query'),
   'SERVFAIL leaves the last good address in use (REQ-38)');
is(at('moves'), '127.0.0.3', '  and goes on to');

$dns->set('moves.test' => '127.0.0.2');
ok(wait_for(sub { at('moves') eq '127.0.0.2' }, 10, 'the address'),
   '  until an answer comes again');

my %seen;
$seen{ at('both') }++ for 1 .. 6;
is_deeply([ sort keys %seen ], [ '127.0.0.2', '127.0.0.3' ],
          'all addresses of a name are used');

for (1 .. 3) {
    my ($r, $line) = ask('dead');
    is($r->status, 200, 'an address that refuses: the other one is tried');
}

SKIP: {
    skip 'there is a route for IPv6', 2
        if `ip -6 route get 2001:db8::1 2>/dev/null` =~ /via|dev/;
    for (1 .. 2) {
        my ($r, $line) = ask('six');
        like($line, qr/^200 six:200:\d+ms$/,
             'addresses that cannot be reached from here are not tried');
    }
}

{
    my ($r, $line) = ask('gone');
    is($r->status, 502, 'NXDOMAIN: the provider is not there');
    is($r->json->{error}{code}, 'upstream_error', '  says the error');
    like($line, qr/^502 gone:dns:\d+ms$/, '  and the log why');

    ($r, $line) = ask('two');
    is($r->status, 200, '  another provider is asked');
    like($line, qr/^200 gone:dns:\d+ms,both:200:\d+ms$/, '  instead');
}

{
    my ($r) = ask('late');
    is($r->status, 502, 'a name that is not there yet');
    $dns->set('late.test' => '127.0.0.2');
    ok(wait_for(sub { (ask('late'))[0]->status == 200 }, 10, 'an answer'),
       '  is found once it is, without a reload');
}

{
    my ($r) = ask('mute');
    is($r->status, 502, 'a silent name server: the request waits no longer'
                        . ' than llm_connect_timeout');
    between($r->{time_end} - $r->{time_start}, 0, 4 * slow(),
            '  and is answered') if defined $r->{time_start};

    # clients that leave while a name is asked for
    my @gone = map { LLM::Client->connect($gw) } 1 .. 5;
    $_->send_request(LLM::Client::json_request($PATH, { model => 'mute' }))
        for @gone;
    $_->reset for @gone;
    is(at('moves'), '127.0.0.2', '  clients that do not wait harm nobody');
}

$gw->reload;
is(at('moves'), '127.0.0.2', 'after a reload the names are there');

$gw->done;
$hosts->done;
done_testing;
