#!/usr/bin/perl

# State lives where it was made: a request that refers to a response or to a
# conversation goes to the provider and the key that made it, in every worker,
# after a reload, and with llm_redis on every node.  An unknown id harms nothing.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Redis;

my $RESPONSES = '/v1/responses';

# Each key of each provider is an account of its own, with its own responses
# and conversations.

sub provider {
    my ($name) = @_;
    my (%known, %made);

    return LLM::Fake->new(answer => sub {
        my ($req) = @_;
        my $json = $req->{json};
        my $key = $req->{headers}{authorization} // '';
        my $talk = $json->{conversation};
        my $id = $json->{previous_response_id}
                 // (ref $talk ? $talk->{id} : $talk);

        return (status(503), json({ error => { message => 'down' } }))
            if ($req->{mode} // '') eq 'down';
        return (status(404), json({ error => { message => 'not found',
                type => 'invalid_request_error' } }))
            if defined $id && !$known{$key}{$id};

        my $made = "resp_${name}_" . ++$made{$key} . '_'
                   . unpack('H*', $key) . '_' . 'x' x 40;
        my $conv = $json->{begin} ? { id => "conv_$made" } : undef;
        $known{$key}{$made} = 1;
        $known{$key}{ $conv->{id} } = 1 if $conv;

        my $response = { id => $made, object => 'response',
            status => 'completed', conversation => $conv, model => 'up',
            output => [ { id => 'msg_1', type => 'message', content => [
                { type => 'output_text', text => $name } ] } ],
            usage => { input_tokens => 1, output_tokens => 1,
                       total_tokens => 2 } };

        return json($response) if !$json->{stream};
        return sse({ type => 'response.created', response => {
                     %$response, status => 'in_progress', output => [] } },
                   { type => 'response.output_text.delta', delta => 'x' },
                   { type => 'response.completed', response => $response });
    });
}

my %p = map { $_ => provider($_) } qw(a b);
my $redis = LLM::Redis->new;

my $PROVIDERS = <<'CONF';
    llm_provider a { endpoint http://127.0.0.1:%%A%%/v1; key canary-key-1; key canary-key-2; }
    llm_provider b { endpoint http://127.0.0.1:%%B%%/v1; key canary-key-3; key canary-key-4; }
CONF
my $MODELS = 'llm_model m { target a up; target b up; }'
    . 'llm_model only-b { target b up; }'
    . 'llm_model hashed { target a up; target b up; balance hash $arg_h; }';
my $SERVER = 'server { listen 127.0.0.1:%%PORT%%; location /v1/ { llm_pass; }'
    . ' location /llm/ { llm_status; } }';

sub gateway {
    my ($more, $workers) = @_;
    return LLM::Nginx->new(vars => { A => $p{a}, B => $p{b} },
                           workers => $workers // 2,
                           http => ($more // '') . $PROVIDERS . $MODELS
                                   . $SERVER);
}

my $gw = gateway();

sub ask {
    my ($node, $data, $query) = @_;
    return post_json($node, $RESPONSES . ($query // ''),
                     { model => 'm', input => 'x', %$data });
}

# Returns the id of a response, of a stream from its first event.

sub id_of {
    my ($r) = @_;
    return ($r->body =~ /"id":"(resp_[^"]+)"/)[0];
}

sub place_of {
    my ($r) = @_;
    my $id = id_of($r) // return '';
    return $id =~ /^resp_(.)_\d+_(\w+?)_x/ ? "$1 $2" : '';
}

sub is_where_it_was_made {
    my ($name, $first, $follow, $n) = @_;
    my ($bad, %places) = (0);

    for my $i (1 .. $n) {
        my $one = ask(@{ $first->() });
        my $two = ask(@{ $follow->($one) });
        $places{ place_of($one) } = 1;
        $bad++ if $two->status != 200 || place_of($two) ne place_of($one);
    }

    is($bad, 0, "$name: $n of $n requests go to the provider and key that "
                . 'made the state');
    is(scalar keys %places, 4, '  of which there are four');
}

is_where_it_was_made('previous_response_id', sub { [ $gw, {} ] },
    sub { [ $gw, { previous_response_id => id_of($_[0]) } ] }, 40);

is_where_it_was_made('previous_response_id of a stream',
    sub { [ $gw, { stream => JSON::PP::true } ] },
    sub { [ $gw, { previous_response_id => id_of($_[0]),
                   stream => JSON::PP::true } ] }, 20);

for my $form (0, 1) {
    is_where_it_was_made('conversation as ' . ($form ? 'an object' : 'a string'),
        sub { [ $gw, { begin => 1 } ] },
        sub {
            my $id = 'conv_' . id_of($_[0]);
            [ $gw, { conversation => $form ? { id => $id } : $id } ]
        }, 20);
}


# A chain goes on although the gateway is reloaded meanwhile

my $first = ask($gw, {});
my $last = $first;
for my $i (1 .. 6) {
    $gw->reload(http => $PROVIDERS =~ s/key canary-key-1; key canary-key-2/key canary-key-2; key canary-key-1/r
                        . $MODELS . $SERVER) if $i == 3;
    $last = ask($gw, { previous_response_id => id_of($last) });
}
is(place_of($last), place_of($first),
   'a chain of responses stays with its key after a reload that reorders keys');


# Ids that nobody knows

my $refused = 0;
for my $i (1 .. 8) {
    my $r = ask($gw, { previous_response_id => "resp_made_up_$i" });
    $refused++ if $r->status == 404;
}
is($refused, 8, 'made-up ids: the answer of a provider, 404, is passed');

sub states {
    my $json = get($gw, '/llm/status.json')->json;
    return join ' ', map { $_->{state}, map { $_->{state} }
                           @{ $_->{targets} }, @{ $_->{keys} } }
                     @{ $json->{providers} };
}

unlike(states(), qr/cooling|probing|drained/,
       '  no provider, key or target is in cooldown after that');


# The provider of the state

do { $first = ask($gw, {}) } while place_of($first) !~ /^a/;
my $b = $p{b}->count;
$p{a}->mode('down');
my $r = ask($gw, { previous_response_id => id_of($first) });
is($r->status, 503, 'the provider that made the state fails: its error passes');
is($p{b}->count, $b, '  and no other provider is used');
$p{a}->mode('');
$gw->resume;

$r = ask($gw, { model => 'only-b', previous_response_id => id_of($first) });
is($r->header('x-llm-provider'), 'b',
   'the provider that made the state is not a candidate: another one is used');
is($r->status, 404, '  whose answer is passed');


# balance hash: one key of one target for one value

my (%places, $moved);
for my $h (1 .. 12) {
    my @places = map { place_of(ask($gw, { model => 'hashed' }, "?h=$h")) }
                 1 .. 5;
    $moved += grep { $_ ne $places[0] } @places;
    $places{ $places[0] } = 1;
}
is($moved, 0, 'balance hash: equal values use one target and one key');
cmp_ok(scalar keys %places, '>', 2, '  different values use several');


# Nodes that share a Redis

{
    my $port = $redis->port;
    my @nodes = map {
        gateway("llm_redis redis://127.0.0.1:$port timeout=5s;", 1)
    } 0, 1;

    # Redis is connected once a node has found what the other one stored
    my $known = ask($nodes[0], { begin => 1 });
    wait_for(sub {
        $known = ask($nodes[0], {});
        my $r = ask($nodes[1], { previous_response_id => id_of($known) });
        $r->status == 200 && grep { /^llm:s:/ } @{ $redis->cmd('KEYS', '*') };
    }, 10, 'both nodes use Redis');

    is_where_it_was_made('another node', sub { [ $nodes[0], {} ] },
        sub { [ $nodes[1], { previous_response_id => id_of($_[0]) } ] }, 40);

    no_canary(join("\n", map { "$_ " . $redis->cmd('GET', $_) }
                         @{ $redis->cmd('KEYS', 'llm:s:*') }),
              'canary-key-1', 'canary-key-2', 'canary-key-3', 'canary-key-4', 'resp_');

    # a number in Redis that no gateway has written
    $redis->cmd('SET', $_, 'zzzzzzzzzzzzzzzz')
        for @{ $redis->cmd('KEYS', 'llm:s:*') };
    my $one = ask($nodes[0], {});
    wait_for(sub { ask($nodes[1], { previous_response_id => id_of($one) })
                   ->status == 200 }, 10, 'the next state is found');
    like(ask($nodes[1], { previous_response_id => id_of($known) })->status,
         qr/^(?:200|404)$/, 'a value that is none is an unknown provider');

    $redis->stop;
    my $two = ask($nodes[0], {});
    is($two->status, 200, 'Redis is down: requests are answered');
    is(place_of(ask($nodes[0], { previous_response_id => id_of($two) })),
       place_of($two), '  and the node knows its own state');
    like(ask($nodes[1], { previous_response_id => 'resp_x' })->status,
         qr/^404$/, '  an unknown id is answered too');

    $_->done([ qr/redis/i ]) for @nodes;
}

$gw->done;
done_testing;
