#!/usr/bin/perl

# Which of several targets gets a request: weights, latency, cost, the least
# busy one, a hash; backups only when nobody else is left.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use JSON::PP ();

# a fake answers at once, or after the seconds its mode says
sub fake {
    return LLM::Fake->new(answer => sub {
        my ($req) = @_;
        my $mode = $req->{mode} || '0';

        return (status(503), json({ error => { message => 'down' } }))
            if $mode eq 'down';
        return (gate('open'), json({ fine() })) if $mode eq 'gate';
        return (delay($mode),
                sse({ choices => [ { delta => { content => 'x' } } ] },
                    { choices => [ { finish_reason => 'stop' } ] },
                    '[DONE]')) if $req->{json}{stream};
        return (delay($mode), json({ fine(), usage => {
            prompt_tokens => 1, completion_tokens => 10,
            total_tokens => 11 } }));
    });
}

my %fakes = map { $_ => fake() } 'a' .. 'h';

sub gateway {
    my ($models, %opt) = @_;
    my $providers = join '', map {
        "llm_provider $_ { endpoint http://127.0.0.1:%%\U$_%%/v1; }\n"
    } sort keys %fakes;
    my $gw = LLM::Nginx->new(
        workers => $opt{workers} // 1,
        vars => { map { uc $_ => $fakes{$_} } keys %fakes },
        http => <<"CONF");
$providers
$models
server { listen 127.0.0.1:%%PORT%%; location / { llm_pass; } }
CONF
    return $gw;
}

# who has answered each of n requests
sub ask {
    my ($gw, $n, %body) = @_;
    my $c = LLM::Client->connect($gw);
    my @who;
    for (1 .. $n) {
        my $body = { model => 'm', %body };
        $c->send_request(path => '/v1/chat/completions',
                         headers => [ [ 'X-Key' => $body{user} // '' ] ],
                         keepalive => 1, body => JSON::PP::encode_json($body));
        push @who, $c->read_response->header('x-llm-provider');
    }
    $c->close;
    return @who;
}

sub share {
    my %n;
    $n{$_}++ for @_;
    return \%n;
}


# Weights

{
    my $gw = gateway('llm_model m { target a weight=5; target b weight=3;'
                     . ' target c; target d weight=1; }');
    my @who = ask($gw, 10);
    is($who[0], 'a', 'round_robin begins with the first of the heaviest');
    my $n = share(@who, ask($gw, 990));
    between($n->{a}, 490, 510, 'weight=5 of 10: half of the requests');
    between($n->{b}, 290, 310, '  weight=3');
    between($n->{c}, 90, 110, '  no weight is 1');
    between($n->{d}, 90, 110, '  as weight=1');
    $gw->done;
}

{
    my $gw = gateway('llm_model m { target a; target b; target c; }');
    is(join('', ask($gw, 6)), 'abcabc', 'without weights: in turns, in order');
    $gw->done;
}


# Backups

{
    my $gw = gateway('llm_model m { target a; target b; target c backup; }');
    my $n = share(ask($gw, 20));
    ok(!$n->{c}, 'a backup is not asked');
    $fakes{$_}->mode('down') for qw(a b);
    $n = share(ask($gw, 20));
    is($n->{c}, 20, '  until the others are down: then it answers everything');
    $fakes{$_}->mode('') for qw(a b);
    $gw->done;
}


# A hash

{
    my $gw = gateway(join "\n",
        'llm_model m { ' . join('', map { "target $_; " } 'a' .. 'e')
        . 'balance hash $http_x_key; }',
        'llm_model n { ' . join('', map { "target $_; " } qw(a b d e))
        . 'balance hash $http_x_key; }',
        'llm_model w { target a weight=3; target b;'
        . ' balance hash $http_x_key; }');
    my (%first, $moved, $kept);
    my @keys = map { "key-$_" } 1 .. 400;
    for my $key (@keys) {
        ($first{$key}) = ask($gw, 1, user => $key);
    }
    my $n = share(values %first);
    between($n->{$_}, 50, 110, "hash: about a fifth at $_") for 'a' .. 'e';
    is(scalar(grep { (ask($gw, 1, user => $_))[0] ne $first{$_} }
              @keys[0 .. 49]), 0, '  and always the same');
    for my $key (@keys) {
        my ($who) = ask($gw, 1, user => $key, model => 'n');
        $first{$key} eq 'c' ? $moved++ : $who eq $first{$key} && $kept++;
    }
    is($kept, @keys - $moved, '  when a target goes only its own keys move');
    $n = share(map { (ask($gw, 1, user => $_, model => 'w'))[0] } @keys);
    between($n->{a}, 260, 340, '  by weight');
    $n = share(map { (ask($gw, 1))[0] } 1 .. 20);
    is(scalar(keys %$n), 5, '  without a value: in turns');

    $fakes{c}->mode('down');
    my ($mine) = grep { $first{$_} eq 'c' } @keys;
    isnt((ask($gw, 1, user => $mine))[0], 'c', '  a target down: another one');
    $fakes{c}->mode('');
    $gw->done;
}


# State that a provider keeps

{
    my $gw = gateway('llm_model m { ' . join('', map { "target $_; " } 'a' .. 'e')
                     . '}');
    my $state = sub {
        my (%body) = @_;
        return post_json($gw, '/v1/responses', { model => 'm', input => 'x',
                                                 %body });
    };
    my %first;
    for my $id (map { "resp_$_" } 1 .. 40) {
        my @who = map { $state->(previous_response_id => $id)
                        ->header('x-llm-provider') } 1 .. 2;
        $first{$id} = $who[0] if $who[0] eq $who[1];
    }
    is(scalar(keys %first), 40, 'previous_response_id: always the same place');
    is(scalar(keys %{ share(values %first) }), 5, '  each has its own');
    is($state->(conversation => 'c1')->header('x-llm-provider'),
       $state->(conversation => 'c1')->header('x-llm-provider'),
       '  as conversation');

    my ($id) = grep { $first{$_} eq 'b' } sort keys %first;
    $fakes{b}->mode('down');
    my $r = $state->(previous_response_id => $id);
    is($r->status, 503, '  nobody else could go on with it');
    is($r->header('x-llm-provider'), 'b', '  nobody else is asked');
    $fakes{b}->mode('');
    $gw->done;
}


# Cost

{
    my $gw = gateway('llm_model m { target a price=10,30; target b price=1,2;'
                     . ' target c; target d price=2,1; balance cost; }');
    is(share(ask($gw, 10, max_tokens => 1))->{b}, 10,
       'cost: the cheapest one');
    is(share(ask($gw, 10, max_tokens => 100_000))->{d}, 10,
       '  for this request: a long answer');
    $fakes{$_}->mode('down') for qw(b d);
    is(share(ask($gw, 10))->{a}, 10, '  that is healthy');
    $fakes{a}->mode('down');
    is(share(ask($gw, 10))->{c}, 10, '  an unknown price comes last');
    $fakes{$_}->mode('') for qw(a b d);
    $gw->done;
}


# The least busy one

{
    my $gw = gateway('llm_model m { target a; target b; balance least_busy; }'
                     . 'llm_model w { target c weight=2; target d;'
                     . ' balance least_busy; }');
    $fakes{a}->mode('gate');
    my $before = $fakes{a}->count;
    my @busy = map {
        my $c = LLM::Client->connect($gw);
        $c->send_request(path => '/v1/chat/completions',
                         body => '{"model":"m"}');
        $c;
    } 1;
    $fakes{a}->wait_requests($before + 1);
    is(share(ask($gw, 10))->{b}, 10, 'least_busy: who has nothing in flight');
    $fakes{a}->open_gate('open');
    $_->read_response for @busy;
    $fakes{a}->mode('');
    is(scalar(keys %{ share(ask($gw, 4)) }), 2, '  in turns where all are idle');
    $gw->done;
}


# Latency

for my $stream (0, 1) {
    my $what = $stream ? 'streams' : 'answers';
    my $gw = gateway('llm_model m { target a; target b; balance latency; }');
    $fakes{$_}->mode('0.02') for qw(a b);
    my @body = $stream ? (stream => \1) : ();
    my ($n, %all);
    wait_for(sub {                   # a hiccup of one makes it wait a while
        $n = share(ask($gw, 60, @body));
        $all{$_} += $n->{$_} // 0 for qw(a b);
        $all{a} >= 5 && $all{b} >= 5;
    }, 20, 'both');
    pass("latency, $what: two alike share");
    $fakes{a}->mode('0.1');
    my $start = now();
    ask($gw, 20, @body);
    $n = share(ask($gw, 100, @body));
    cmp_ok($n->{b}, '>', 80, '  one 5 times slower: most go to the other');
    cmp_ok(now() - $start, '<', 10, '  within 10 s');
    $fakes{a}->mode('0.02');
    wait_for(sub {
        my $n = share(ask($gw, 40, @body));
        ($n->{a} // 0) >= 8;
    }, 30, 'recovered');
    pass('  recovered: it gets its share again');
    $fakes{$_}->mode('') for qw(a b);
    $gw->done;
}

done_testing;
