#!/usr/bin/perl

# REQ-18: what would not be enforced does not start.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;

my $dir = tempdir();
spew("$dir/keys.json", '{"consumers":[{"name":"a","vars":{"team":"t"}}]}');
spew("$dir/some.json", '{"consumers":[{"name":"a","vars":{"tpm":"9"}},'
                       . '{"name":"b"}]}');

my $models = 'llm_provider p { endpoint http://127.0.0.1:1/v1; }'
           . 'llm_model m { target p; }';

sub server {
    my ($location, $more) = @_;
    return "$models server { listen 127.0.0.1:%%PORT%%; " . ($more // '')
           . " location / { $location llm_pass; } }";
}

sub zone { return "llm_quota_zone z $_[0]; " . server('llm_quota z;') }

sub refused {
    my ($http, $why, $claim) = @_;
    my ($status, $text) = LLM::Nginx->check(http => $http);
    isnt($status, 0, $claim);
    like($text, $why, '  and says why');
}

sub taken {
    my ($http, $claim) = @_;
    my ($status, $text) = LLM::Nginx->check(http => $http);
    is($status, 0, $claim) or diag($text);
    return $text;
}

my $k = 'key=$remote_addr';

refused(zone('tokens=1k/1m'), qr/no "key" parameter in llm_quota_zone "z"/, 'no key');
refused(zone('key= tokens=1k/1m'), qr/"key=" .* is empty/, 'an empty key');
refused(zone("$k $k tokens=1/1m"), qr/is duplicate/, 'two keys');
refused(zone($k), qr/"z" has no limit/, 'no limit');
refused(zone("$k tokens=1/1m tokens=2/1m"), qr/is duplicate/,
        'two of a kind');
refused(zone("$k token=1/1m"), qr/"token=1\/1m" .* is unknown/,
        'an unknown limit');
refused(zone("$k redis_down=maybe tokens=1/1m"), qr/is not "local", "open" or "closed"/,
        'an unknown policy');

for my $window ('0s', '61m', '2h', '1d', '90', 'week', '', '1m30s', '-1s') {
    refused(zone("$k tokens=1k/$window"), qr{has no valid window, use "/Ns", "/Nm" or},
            "the window \"$window\"");
}
refused(zone("$k tokens=1k"), qr{has no valid window, use "/Ns", "/Nm" or}, 'no window');
refused(zone("$k concurrency=5/1m"), qr/is not an integer/,
        'a window of concurrency');

for my $n ('-1', '1.5', '1K', 'many', '', '99999999999999999999', '5000000g') {
    refused(zone("$k tokens=$n/1m"), qr/is not an integer, which may end in "k"/,
            "$n tokens");
}
refused(zone("$k tokens=76g/1m"), qr/is too large for this window/,
        'what would leave 2^52');
refused(zone("$k tokens=2g/1h"), qr/is too large for this window/,
        '  with the window');
for my $usd ('-1', '1e3', '5k', '4503600', '0.0000000001') {
    refused(zone("$k cost=$usd/day"), qr/is not an amount of USD/,
            "$usd USD");
}
refused("llm_quota_zone z $k tokens=1/1m; " . zone("$k tokens=1/1m"),
        qr/duplicate llm_quota_zone "z"/, 'a name twice');
refused(server('llm_quota nowhere;'),
        qr/unknown llm_quota_zone "nowhere" in .*:\d+/, 'an unknown zone');
refused("llm_quota_zone a.b $k tokens=1/1m;", qr/"a\.b"/, 'a bad name');
refused('llm_quota_zone ' . 'z' x 65 . " $k tokens=1/1m;", qr/invalid name/,
        'a long name');
refused("llm_quota_zone z $k tokens=1/1m; "
        . server('llm_quota z; llm_quota z;'), qr/"llm_quota" .*duplicate/,
        'a second llm_quota at one level');
refused("llm_quota_zone z $k tokens=1/1m; " . server('llm_quota z z;'),
        qr/names a zone twice/, 'a zone twice');
refused(join('', map { "llm_quota_zone z$_ $k tokens=1/1m; " } 1 .. 9)
        . server('llm_quota ' . join(' ', map { "z$_" } 1 .. 9) . ';'),
        qr/8 zones at most/, 'nine zones');
refused("llm_quota_zone z $k tokens=1/1m; "
        . server('llm_quota z; llm_quota_output all;'), qr/invalid value "all"/,
        'an unknown llm_quota_output');

for my $var ('$llm_consumer', '${llm_consumer}', 'x-$llm_consumer-y') {
    refused("llm_keys $dir/keys.json; " . zone("key=$var tokens=1/1m"),
            qr/has the key \$llm_consumer, but in location "\/" "llm_auth" is off/,
            "key=$var where llm_auth is off");
}
taken("llm_keys $dir/keys.json; llm_quota_zone z key=\$llm_consumer tokens=1/1m; "
      . server('llm_quota z; llm_auth on;'), '  is taken where it is on');
taken("llm_keys $dir/keys.json; "
      . zone('key=$llm_consumer_team tokens=1/1m'), '  a var is no identity');
taken("llm_keys $dir/keys.json; llm_quota_zone z key=\$llm_consumer tokens=1/1m; "
      . server('llm_auth on;', 'llm_quota z;'), '  and for a server\'s locations');

# Variables that could never have a value

for my $limit ('cost=$5/day', 'cost=$50/1h', 'cost=US$5/day', 'tokens=$1/1m',
               'requests=$9k/1m', 'concurrency=$4')
{
    refused(zone("$k $limit"), qr/"\Q$limit\E" .* has "\$" before a digit/,
            "$limit, a capture, is refused");
}

for my $text ('tokens=$llm_consumer_tmp/1m', 'cost=${llm_consumer_usd}/day',
              'concurrency=$LLM_Consumer_TMP', 'requests=${llm_consumer_rpm}k/1m')
{
    (my $value = $text) =~ s{/1m|/day}{};
    refused("llm_keys $dir/some.json; " . zone("$k $text"),
            qr/"\Q$value\E" of llm_quota_zone "z" is always empty, .* in .*:\d+/,
            "$text is refused if no consumer has the var");
}

refused("llm_keys $dir/some.json; "
        . zone('key=$remote_addr-$llm_consumer_org tokens=1/1m'),
        qr/always empty, no consumer of "llm_keys" has the var "org"/,
        'a key with a var is refused if no consumer has it');
refused(zone("$k tokens=\$llm_consumer_tpm/1m"), qr/needs "llm_keys"/,
        'a limit from a var is refused without llm_keys');
refused('llm_quota_zone z key=$LLM_Consumer tokens=1/1m; '
        . "llm_keys $dir/keys.json; " . server('llm_quota z;'),
        qr/has the key \$llm_consumer, but/,
        'the key in upper case is refused where llm_auth is off');
like(taken("llm_keys $dir/some.json; " . zone("$k tokens=\$llm_consumer_tpm/1m"),
           'a limit from a var that one consumer has is accepted'),
     qr/\[warn\].* is empty for 1 of 2 consumers of "llm_keys"/,
     '  with a warning for the consumer without it');
unlike(taken("llm_keys $dir/keys.json; "
             . zone("$k tokens=\$llm_consumer_team/1m"),
             'a limit from a var that all consumers have is accepted'),
       qr/\[warn\]/, '  without a warning');

refused(zone("$k cost=1/day"),
        qr/limits cost, but the price of target "p" of llm_model "m" is not known in .*:\d+/,
        'cost, and a constant target without a price');
(my $priced = zone("$k cost=1/day")) =~ s/target p;/target p price=1,2;/;
like(taken($priced, '  it is taken with one'),
     qr/"z" has a budget, but without "llm_redis" a restart forgets/,
     'a budget without Redis is worth a warning');
(my $wild = zone("$k cost=1/1h")) =~ s/llm_model m/llm_model default/;
unlike(taken($wild, 'a model that the client names is its own affair'),
       qr/restart forgets/, '  and a bucket is no budget');

taken(server('llm_quota z;') . "llm_quota_zone z $k tokens=1/1m;",
      'a zone may stand behind its use');
taken(zone("$k requests=\$arg_n/1m tokens=75g/1m cost=4503599/1h "
           . "concurrency=0 redis_down=closed"), 'the largest there are')
    if ($models =~ s/target p;/target p price=1,2;/);


# The first quota comes by reload, to a zone that models and metrics have left
# too little room: what the reload has taken of it before it was given up, it
# gives back.

{
    my $p = LLM::Fake->new(answer => sub { json({
        choices => [ { index => 0, finish_reason => 'stop',
                       message => { content => 'x' } } ],
        usage => { prompt_tokens => 5, completion_tokens => 1,
                   total_tokens => 6 } }) });
    my $names = join '', map { "llm_model model-$_ { target p; }\n" }
                         1 .. 300;
    my $http = <<"CONF";
llm_zone 256k;
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
$names
server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_pass; }
    location = /metrics { llm_metrics; }
}
CONF
    my $gw = LLM::Nginx->new(vars => { P => $p }, http => $http);
    $gw->expect_alert(qr/shared memory zone "llm_zone" is too small/);
    my $ask = sub {
        return scalar grep { post_json($gw, '/v1/chat/completions',
            { model => "model-$_", messages => [] })->status != 200 } @_;
    };

    is($ask->(1 .. 70), 0, 'a zone that metrics have nearly filled');

    my $quota = "llm_quota_zone z key=all requests=2/1h;\n"
                . ($http =~ s/llm_pass/llm_quota z; llm_pass/r);
    ok(!$gw->reload(http => $quota), '  is too small for a first quota')
        for 1 .. 3;

    is($ask->(71 .. 90), 0, '  what it was before goes on');
    is(read_metrics($gw)->{metrics_dropped_total}, 0,
       '  with the room it had');
    $gw->done;
}


done_testing;
