#!/usr/bin/perl

# A client request has one consumer from its header to its log line: a key that
# expires while the request is under way, a reload and an internal redirect
# change neither the allow-list nor variables, quotas, labels or cache scope.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Util qw(slow);

use Digest::SHA qw(sha256_hex);
use POSIX qw(strftime);

my $PATH = '/v1/chat/completions';
my $expires = int(time) + 2 + int(2 * slow());

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    return (json({ object => 'model' })) unless $req->{json};
    return (gate('fail'), status(500), json({ error => {} }))
        if ($req->{json}{user} // '') eq 'fails';
    return (json({ choices => [ { index => 0, message => { content => 'x' },
                                  finish_reason => 'stop' } ] }));
});

my $dir = tempdir();

sub keys_file {
    my (@consumers) = @_;
    spew("$dir/keys.json",
         JSON::PP::encode_json({ consumers => \@consumers }));
}

my %short = (name => 'short', models => [ 'cheap' ],
             vars => { region => 'eu', rate => '2' },
             keys => [ { sha256 => sha256_hex('sk-short'),
                         expires => strftime('%Y-%m-%dT%H:%M:%SZ',
                                             gmtime $expires) } ]);
keys_file(\%short, { name => 'long', models => [ 'cheap' ],
                     keys => [ { sha256 => sha256_hex('sk-long') } ] });

my $HTTP = <<'CONF';
llm_keys %%DIR2%%/keys.json;
llm_provider eu { endpoint http://127.0.0.1:%%P%%/v1; label region=eu; }
llm_provider us { endpoint http://127.0.0.1:%%P%%/v1; label region=us; }
llm_model cheap { target us; target eu backup; }
llm_model dear { target eu; }
llm_next_provider off;
llm_cache_zone 1m;
llm_quota_zone mine key=$llm_consumer requests=$llm_consumer_rate/day;
limit_req_zone $llm_consumer zone=late:1m rate=%%RATE%%r/m;
server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_auth on; llm_pass; }
    location /labels/ {
        llm_auth on;
        llm_require region=$llm_consumer_region;
        llm_pass;
    }
    location /quota/ { llm_auth on; llm_quota mine; llm_pass; }
    location /cache/ { llm_auth on; llm_cache on; llm_pass; }
    location /late/ { llm_auth on; limit_req zone=late burst=5; llm_pass; }
    location /redirect/ {
        llm_auth on;
        llm_intercept_errors on;
        error_page 500 = @second;
        llm_pass;
    }
    location @second { llm_auth on; llm_pass; }
    location /gate/ {
        auth_request /models/cheap;
        proxy_pass http://127.0.0.1:%%P%%;
    }
    location = /models/cheap { llm_auth on; llm_pass; }
}
CONF

my $gw = LLM::Nginx->new(
    vars => { P => $p, DIR2 => $dir, RATE => int(60 / (4 + 3 * slow())) },
    access_format => '$status|$llm_consumer|$llm_consumer_region'
                     . '|$llm_provider|$llm_cache_status $llm_cache_key|$uri'
                     . '|$http_x_id|', http => $HTTP);
$gw->expect_error(qr/auth request unexpected status: 404/,
                  qr/delaying request/, qr/llm_provider "\w+"/);

my $id = 0;

# the header and all of the body but its last byte: client, id, 1 if complete
sub begin {
    my ($at, $model, %more) = @_;
    my $body = JSON::PP::encode_json({ model => $model, messages => [],
                                       %more });
    my $c = LLM::Client->connect($gw);
    my $name = 'r' . ++$id;
    $c->send_request(raw => "POST $at$PATH HTTP/1.1\r\nHost: a\r\n"
        . "Authorization: Bearer sk-short\r\nX-Id: $name\r\n"
        . 'Content-Length: ' . length($body) . "\r\nConnection: close\r\n\r\n"
        . substr $body, 0, -1);
    $c->flush;
    return [ $c, $name ];
}

sub end {
    my ($it) = @_;
    $it->[0]->send_bytes('}') if !$it->[2]++;
    my $r = $it->[0]->read_response(20);
    $it->[0]->close;
    return $r;
}

sub logged {
    my ($it) = @_;
    my @lines;
    wait_for(sub { @lines = grep { /\|$it->[1]\|$/ }
                            split /\n/, $gw->access_log }, 5, 'log line');
    return $lines[0];
}

# one request passes limit_req at once, the next one is delayed until its key
# has expired

my $first = begin('/late', 'cheap');
is(end($first)->status, 200, 'a key that has not expired is accepted');
my $late = begin('/late', 'cheap');
$late->[0]->send_bytes('}');
$late->[2] = 1;
$gw->wait_error_log(qr/delaying request/);

my $before = begin('/cache', 'cheap', temperature => 0);
end($before);
my %slow = (map({ $_ => begin($_, 'cheap', temperature => 0) }
                '', '/labels', '/quota', '/cache'),
            dear => begin('', 'dear'), models => begin('', 'nowhere'));

my $fails = begin('/redirect', 'cheap', user => 'fails');
$fails->[0]->send_bytes('}');
$fails->[2] = 1;
my $alone = begin('/redirect', 'dear');
wait_for(sub { grep { ($_->{json}{user} // '') eq 'fails' } $p->requests }, 5,
         'the request that will be redirected');

ok(time < $expires, 'all requests have begun before the key expires')
    or diag('the machine is too slow for this test');
wait_for(sub { time > $expires }, 10, 'the end of the key');
is(post_json($gw, $PATH, { model => 'cheap' },
             headers => [ [ Authorization => 'Bearer sk-short' ] ])->status,
   401, 'a request that begins later is rejected');

# the key is not even in the file any more

keys_file({ name => 'other',
            keys => [ { sha256 => sha256_hex('sk-short') } ] },
          { name => 'long', models => [ 'cheap' ],
            keys => [ { sha256 => sha256_hex('sk-long') } ] });
(my $new = $HTTP) =~ s/\$llm_consumer_(region|rate)/$1 eq 'rate' ? 2 : 'eu'/ge;
$gw->reload(http => $new);

my $r = end($slow{dear});
is($r->status, 403, 'a model that is not on the list stays forbidden after '
   . 'the key has expired');
is($r->json->{error}{code}, 'model_not_allowed', '  with the code of the list');
is(end($slow{models})->status, 404, '  a model that does not exist is 404');

is(end($slow{''})->status, 200, 'a model on the list is still served');
like(logged($slow{''}), qr/^200\|short\|eu\|us\|/,
     '  and the log line has the consumer and its variable');
like(logged($slow{dear}), qr/^403\|short\|eu\|/,
     '  so has the log line of the rejected request');

is(end($slow{'/labels'})->status, 200,
   'llm_require by a variable of the consumer is satisfied');
like(logged($slow{'/labels'}), qr/^200\|short\|eu\|eu\|/,
     '  by the provider with that label');

$r = end($slow{'/quota'});
is($r->status, 200, 'a quota of the consumer accepts the request');
is($r->header('x-ratelimit-limit-requests'), 2,
   '  with the limit of the consumer');

end($slow{'/cache'});
my $key = (split /\|/, logged($slow{'/cache'}))[4];
like($key, qr/^MISS \w{64}$/, 'a request that has begun before uses the cache');
like(logged($before), qr/\|\Q$key\E\|/,
     '  in the scope of the consumer');

is(end($late)->status, 200,
   'a request whose consumer limit_req has used before is accepted');
like(logged($late), qr/^200\|short\|eu\|/, '  as this consumer');

$p->open_gate('fail');
is(end($fails)->status, 500,
   'an internal redirect with an expired key is accepted');
like(logged($fails), qr/^500\|short\|eu\|us\|/, '  as the same consumer');
is(end($alone)->status, 403, '  with the same list');


# a subrequest, for which nginx skips the access phase

is(request($gw, path => '/gate/x',
           headers => [ [ Authorization => 'Bearer sk-long' ] ])->status, 200,
   'a subrequest to a location with llm_auth has the consumer of the client');
is(request($gw, path => '/gate/x')->status, 500,
   'a subrequest without a consumer may use no model');

$gw->done;
done_testing;
