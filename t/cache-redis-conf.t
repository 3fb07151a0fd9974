#!/usr/bin/perl

# llm_cache_redis and llm_cache_secret as nginx -t takes them: the parameters
# of llm_redis, a secret or no start, and never a secret in what is said.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $dir = tempdir();
my $CANARY = 'canary-cache-secret-0123456789';
my $SECRET = "llm_cache_secret $CANARY;";
my $SERVER = 'server { listen 127.0.0.1:%%PORT%%; location / { return 204; } }';

sub refused {
    my ($http, $why, $claim) = @_;
    my ($status, $text) = LLM::Nginx->check(http => $http,
                                            env => { NOT_THERE => undef });
    ok($status != 0 && $text =~ $why, $claim) or diag($text);
    no_canary($text, $CANARY);
}

sub taken {
    my ($http, $claim, %opt) = @_;
    my ($status, $text) = LLM::Nginx->check(http => $http, %opt);
    is($status, 0, $claim) or diag($text);
    return $text;
}

taken("llm_cache_redis redis://127.0.0.1; $SECRET $SERVER",
      'a Redis and a secret');
taken("$SECRET llm_cache_redis redis://127.0.0.1; $SERVER",
      '  in the other order');
taken("$SECRET $SERVER", 'a secret alone');
taken("llm_redis redis://127.0.0.1; llm_cache_redis redis://127.0.0.1:6380;"
      . " $SECRET $SERVER", 'beside llm_redis');
taken("llm_cache_redis rediss://127.0.0.1:6390/3 user=u password=p timeout=20ms"
      . " prefix=gw: ssl_verify=off ssl_name=r; $SECRET $SERVER",
      'the parameters of llm_redis');
taken("llm_cache_redis unix:/run/redis.sock; $SECRET", 'a unix socket');
like(taken("llm_cache_redis redis://does-not-exist.invalid; $SECRET $SERVER",
           'a name without an address'),
     qr/"redis:\/\/does-not-exist.invalid" of "llm_cache_redis"/,
     '  is a warning');

spew("$dir/secret", "$CANARY\n");
taken("llm_cache_redis redis://127.0.0.1; llm_cache_secret file:$dir/secret;",
      'a secret from a file');
taken('llm_cache_redis redis://127.0.0.1; llm_cache_secret env:CACHE_SECRET;',
      'a secret from the environment', env => { CACHE_SECRET => $CANARY });
taken('llm_cache_secret 0123456789abcdef;', 'a secret of 16 bytes');

spew("$dir/case.conf", "\nllm_cache_redis redis://127.0.0.1;\n");
refused("include $dir/case.conf; $SERVER",
        qr{"llm_cache_redis" without "llm_cache_secret" in \Q$dir\E/case\.conf:2},
        'without a secret it does not start, and says where');
refused('llm_cache_secret 0123456789abcde;',
        qr/"llm_cache_secret" directive is too short, it is at least 16 bytes/,
        'a secret of 15 bytes is refused');
refused('llm_cache_secret env:NOT_THERE;', qr/"NOT_THERE" is not set or empty/,
        '  one that is not there');
refused("llm_cache_secret file:$dir/no;", qr{$dir/no}, '  a file that is not');
refused("$SECRET $SECRET", qr/"llm_cache_secret" directive is duplicate/,
        '  two');
refused("$SECRET llm_cache_redis redis://a.test; llm_cache_redis redis://b.test;",
        qr/"llm_cache_redis" directive is duplicate/, 'two of them');
refused("server { $SECRET }", qr/"llm_cache_secret" directive is not allowed/,
        'a secret of a server');
refused("$SECRET server { llm_cache_redis redis://127.0.0.1; }",
        qr/"llm_cache_redis" directive is not allowed/, 'a Redis of a server');
refused("$SECRET llm_cache_redis;", qr/invalid number of arguments/, 'no URL');
refused("$SECRET llm_cache_redis http://127.0.0.1;",
        qr/"llm_cache_redis" directive is not redis:/, 'another URL');
refused("$SECRET llm_cache_redis redis://:6379;",
        qr{no host in "redis://:6379" of the "llm_cache_redis" directive},
        'no host');
refused("$SECRET llm_cache_redis redis://127.0.0.1 $CANARY;",
        qr/"llm_cache_redis" directive has an unknown parameter/,
        'an unknown parameter');
refused("$SECRET llm_cache_redis redis://127.0.0.1 timeout=0;",
        qr/has an invalid "timeout"/, 'no time');

done_testing;
