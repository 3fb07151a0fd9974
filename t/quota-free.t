#!/usr/bin/perl

# A request that needs nothing of a limit is not rejected by that limit: a
# cache hit needs no tokens, no money and no slot, a model without a price no
# money.  With quotas in shared memory and in Redis.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Redis;

# uses as many tokens as the name of the model says
my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $json = $req->{json};
    my ($tokens) = $json->{model} =~ /(\d+)/;
    return ($json->{gate} ? gate($json->{gate}) : (),
            json({ choices => [ { index => 0, finish_reason => 'stop',
                                  message => { content => 'x' } } ],
                   usage => { prompt_tokens => $tokens - 1,
                              completion_tokens => 1,
                              total_tokens => $tokens } }));
});

my $redis = LLM::Redis->new;

for my $where ('', "llm_redis redis://127.0.0.1:" . $redis->port
                   . " timeout=@{[ int(500 * slow()) ]}ms;")
{
    my $in = $where ? 'Redis' : 'shared memory';
    my $gw = LLM::Nginx->new(vars => { P => $p, REDIS => $where },
                             http => <<'CONF');
    %%REDIS%%
    llm_cache_zone 4m;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model ~^paid { target p price=1,1; }
    llm_model ~^free { target p price=0,0; }
    llm_quota_zone tokens key=$http_x_who tokens=1000/1h;
    llm_quota_zone money key=$http_x_who cost=0.01/day;
    llm_quota_zone slot key=$http_x_who concurrency=1;
    server {
        listen 127.0.0.1:%%PORT%%;
        location /tokens/ {
            llm_quota tokens;
            llm_cache on;
            llm_cache_scope $http_x_who;
            llm_pass;
        }
        location /money/ { llm_quota money; llm_pass; }
        location /slot/ {
            llm_quota slot;
            llm_cache on;
            llm_cache_scope $http_x_who;
            llm_pass;
        }
        location /status/ { llm_status; }
    }
CONF

    my $ask = sub {
        my ($path, $model, %body) = @_;
        return post_json($gw, "/$path/v1/chat/completions",
            { model => $model, max_tokens => 10, temperature => 0,
              messages => [ { role => 'user', content => 'Hi' } ], %body },
            headers => [ [ 'X-Who', 'joe' ] ]);
    };
    my $status = sub { return $ask->(@_)->status };

    wait_for(sub { get($gw, '/status/status.json')->json->{redis}{state}
                   eq 'up' }, 10, 'redis up') if $where;

    is($status->('tokens', 'paid-20'), 200, "$in: an answer is cached");
    $status->('tokens', 'paid-9000');
    is($status->('tokens', 'paid-30'), 429, '  a debt of tokens rejects');
    my $r = $ask->('tokens', 'paid-20');
    is($r->status, 200, '  but not a cache hit');
    like($r->header('cache-status'), qr/hit/, '  which is one');

    $status->('money', 'paid-20000') for 1 .. 2;
    is($status->('money', 'paid-20'), 429, "$in: no money is left");
    is($status->('money', 'free-20'), 200, '  a model that is free is served');

    is($status->('slot', 'paid-21'), 200, "$in: another answer is cached");
    my $c = LLM::Client->connect($gw);
    $c->send_request(LLM::Client::json_request('/slot/v1/chat/completions',
        { model => 'paid-22', gate => $where ? 'two' : 'one',
          messages => [] }, headers => [ [ 'X-Who', 'joe' ] ]));
    wait_for(sub { grep { $_->{json}{model} eq 'paid-22'
                          && $_->{json}{gate} eq ($where ? 'two' : 'one') }
                   $p->requests }, 10, 'a request in flight');
    is($status->('slot', 'paid-23'), 429, '  the slot is taken');
    is($status->('slot', 'paid-21'), 200, '  a cache hit needs no slot');
    $p->open_gate($where ? 'two' : 'one');
    is($c->read_response->status, 200, '  the other request is answered');
    $gw->done;
}

done_testing;
