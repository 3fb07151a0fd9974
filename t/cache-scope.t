#!/usr/bin/perl

# REQ-28, REQ-29: a key is of one scope and one question alone, however the two
# are cut; and it is the same on every worker, on every node and after a
# reload.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use IO::Socket::INET;

my $build = $ENV{LLM_BUILD} || root_dir() . '/build';

# the simulator answers in the gateway itself
sub gateway {
    my (%opt) = @_;
    return LLM::Nginx->new(
        $ENV{LLM_STATIC} ? ()
            : (modules => [ "$build/ngx_http_llm_simulator_module.so" ]),
        env => { SECRET => $opt{secret} // 'a secret of sixteen' },
        workers => 2, access_format => '$http_x_request_id $llm_cache_status '
                                       . '$llm_cache_key', http => http());
}

sub http { return <<'CONF' }
    llm_cache_secret env:SECRET;
    llm_cache on;
    llm_cache_max_size 0;
    keepalive_requests 100000;
    server {
        listen 127.0.0.1:%%PORT%%;
        server_name gateway;
        location /value/ { llm_cache_scope $http_x_scope; llm_simulator; }
        location / { llm_simulator; }
    }
CONF

my @gw = map { gateway() } 1, 2;
my $other = gateway(secret => 'another secret of theirs');

sub text {
    my ($path, $body, %header) = @_;
    my $head = join '', map { "$_: $header{$_}\r\n" } sort keys %header;
    return "POST $path/v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
         . $head . "Content-Type: application/json\r\n"
         . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
}

sub question {
    my ($text) = @_;
    return canon({ model => 'sim:tokens=1', temperature => 0,
                   messages => [ { role => 'user', content => $text } ] });
}

# Sends all of them, some connections at a time, and returns the keys as
# logged, by tag.

my $tags = 0;

sub keys_of {
    my ($gw, @requests) = @_;
    my $since = $tags;
    my %key;

    while (my @some = splice @requests, 0, 250) {
        my $sock = IO::Socket::INET->new(
            PeerAddr => '127.0.0.1:' . $gw->port) or die "connect: $@";
        my $out = join '', map {
            my ($path, $body, %header) = @$_;
            text($path, $body, %header, 'X-Request-Id' => 'tag-' . ++$tags)
        } @some;
        my ($in, $answers) = ('', 0);
        while ($answers < @some) {
            if (length $out) {
                my $n = syswrite $sock, $out, 16384;
                substr($out, 0, $n) = '' if $n;
            }
            sysread $sock, my $piece, 65536 or last;
            $in = substr($in, -20) . $piece;
            $answers += () = $piece =~ /HTTP\/1\.1 200/g;
        }
    }
    wait_for(sub { $gw->access_log =~ /^tag-$tags /m }, 10, 'the log');
    my $log = $gw->access_log;
    while ($log =~ /^tag-(\d+) (\w+) (\w+)$/mg) {
        $key{$1} = [ $2, $3 ] if $1 > $since;
    }
    return map { $key{$_} } $since + 1 .. $tags;
}


# 10,000 pairs of scopes with one question

my @scopes = map { my $n = $_; (("a|$n"), ("a|$n|"), ("|a|$n"), ("$n")) }
             1 .. 1250;
my @found = keys_of($gw[0], map { my $s = $_;
                map { [ '/value', question($_), 'X-Scope' => $s ] } 'q', '|q'
            } @scopes);
my %seen;
$seen{ $_->[1] }++ for @found;
is(scalar @found, 10_000, '10,000 scopes and questions');
is(scalar(grep { $_->[0] eq 'HIT' } @found), 0, 'REQ-28: never a hit');
is(scalar keys %seen, 10_000, '  and never one key twice');


# where a scope comes from is a part of it

sub one { return (keys_of(@_))[0][1] }

my $question = question('who');
my $value = one($gw[0], [ '/value', $question, 'X-Scope' => 'acme' ]);
my $bearer = one($gw[0], [ '/value', $question, 'X-Scope' => 'x',
                           Authorization => 'Bearer acme' ]);
my $credential = one($gw[0], [ '', $question,
                               Authorization => 'Bearer acme' ]);
isnt($credential, $value, 'a credential that spells a value is another scope');
isnt($bearer, $credential, '  and does not count where a value does');
is(one($gw[0], [ '', $question, 'x-api-key' => 'acme' ]), $credential,
   'a credential is the same in every header for one');


# the same everywhere

my $again = one($gw[0], [ '/value', $question, 'X-Scope' => 'acme' ]);
is($again, $value, 'REQ-29: asked again it is the same key');
is(one($gw[1], [ '/value', $question, 'X-Scope' => 'acme' ]), $value,
   '  on another node, too');
isnt(one($other, [ '/value', $question, 'X-Scope' => 'acme' ]), $value,
     '  but not under another secret');
$gw[0]->reload(http => http());
is(one($gw[0], [ '/value', $question, 'X-Scope' => 'acme' ]), $value,
   '  and after a reload');

$_->done for @gw, $other;
done_testing;
