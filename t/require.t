#!/usr/bin/perl

# llm_require: a prompt goes to nobody who lacks a label, whatever happens to
# the others; and it fails closed.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

sub fake {
    return LLM::Fake->new(answer => sub {
        my ($req) = @_;
        return (status($req->{mode}), json({ error => { message => 'no' } }))
            if $req->{mode};
        return json({ fine() });
    });
}

my %fakes = map { $_ => fake() } qw(eu us both bare);

my $PROVIDERS = <<'CONF';
llm_provider eu { endpoint http://127.0.0.1:%%EU%%/v1; label region=eu certified=hipaa,soc2; }
llm_provider us { endpoint http://127.0.0.1:%%US%%/v1; label region=us; label certified=soc2; }
llm_provider both { endpoint http://127.0.0.1:%%BOTH%%/v1; label region=eu,us; }
llm_provider bare { endpoint http://127.0.0.1:%%BARE%%/v1; }
CONF

my %vars = map { uc $_ => $fakes{$_} } keys %fakes;

my $gw = LLM::Nginx->new(vars => \%vars, http => $PROVIDERS . <<'CONF');
llm_model m { target bare; target us; target eu; target both backup; }
llm_model us-only { target us; target bare backup; }
llm_require region=$arg_region;
server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_pass; }
    location /own/ { llm_require region=us; llm_pass; }
    location /two/ { llm_require region=$arg_region certified=hipaa; llm_pass; }
    location /any/ { llm_require region=*; llm_pass; }
    location /if/ {
        if ($arg_strict) { llm_require region=mars; }
        llm_pass;
    }
    location /again/ {
        llm_require region=us;
        llm_intercept_errors on;
        error_page 500 = @eu;
        llm_pass;
    }
    location @eu { llm_require region=eu; llm_pass; }
}
CONF

sub ask {
    my ($region, %opt) = @_;
    return post_json($gw, ($opt{at} // '') . '/v1/chat/completions'
                     . (defined $region ? "?region=$region" : ''),
                     { model => $opt{model} // 'm' });
}

sub who { return ask(@_)->header('x-llm-provider') // 'nobody' }

sub unsatisfied {
    my ($r, $what) = @_;
    is($r->status, 503, "$what: 503");
    is($r->json->{error}{code}, 'policy_unsatisfiable', '  by its code');
    is($r->json->{error}{type}, 'service_unavailable_error', '  and type');
    is($r->header('x-should-retry'), 'false', '  waiting will not help');
    cmp_ok($r->header('Retry-After'), '>=', 1, '  Retry-After');
}

my %count = map { $_ => 0 } keys %fakes;

sub unasked {
    my ($what, @names) = @_;
    is(join(' ', map { $fakes{$_}->count } @names),
       join(' ', map { $count{$_} } @names), $what);
}

is(who('eu'), 'eu', 'who has the label gets the request') for 1 .. 3;
is(who('us'), 'us', '  another value, another provider');
unasked('  nobody else has seen anything', qw(bare both));

is(join(' ', sort map { who('eu,us') } 1 .. 2), 'eu us', 'a list: any of them');
like(who('*', at => '/any'), qr/^(?:bare|us|eu)$/, '"*" alone requires nothing');

%count = map { $_ => $fakes{$_}->count } keys %fakes;
unsatisfied(ask('mars'), 'a value nobody has');
unsatisfied(ask(''), 'an empty value');
unsatisfied(ask(undef), 'no value');
unsatisfied(ask('EU'), 'another case');
unsatisfied(ask('eu,'), 'a list with an empty element');
unsatisfied(ask('eu,*'), '"*" in a list');
unsatisfied(ask('eu', model => 'us-only'), 'a model without such a target');
unasked('none of them has reached anybody', keys %fakes);

is(who('eu', at => '/own'), 'us', 'a location\'s own replaces the outer one');
is(who('eu', at => '/two'), 'eu', 'two requirements: both have to be met');
unsatisfied(ask('us', at => '/two'), '  one of them is not');
unsatisfied(post_json($gw, '/if/v1/chat/completions?region=eu&strict=1',
                      { model => 'm' }), 'inside "if"');
is(who('eu', at => '/if'), 'eu', '  and outside');

# failures

$fakes{eu}->mode(500);
%count = map { $_ => $fakes{$_}->count } keys %fakes;
is(who('eu'), 'both', 'the backup that has the label takes over');
$fakes{both}->mode(500);
is(ask('eu')->status, 500, 'all who have it fail: the failure is passed');
unasked('  and nobody else was asked', qw(us bare));
$_->mode('') for values %fakes;

$fakes{us}->mode(500);
%count = map { $_ => $fakes{$_}->count } keys %fakes;
unsatisfied(ask('x', at => '/again', model => 'us-only'),
            'an internal redirect has its own requirement');
unasked('  nobody who lacks it was asked', qw(bare both));
$gw->done;


# nginx -t

sub check {
    my ($require, $models) = @_;
    return LLM::Nginx->check(vars => \%vars, http => $PROVIDERS . <<"CONF");
$models
server {
    listen 127.0.0.1:%%PORT%%;
    location / { $require llm_pass; }
}
CONF
}

my $MODEL = 'llm_model m { target eu; } llm_model n { target us; }';

{
    my ($status, $said) = check('llm_require region=eu;', $MODEL);
    is($status, 0, 'a model that is left without target is accepted');
    like($said, qr/\[warn\].*no target of llm_model "n" meets llm_require in .*:\d+/,
         '  with a warning');
    unlike($said, qr/llm_model "m"/, '  about no other one');
    ($status, $said) = check('llm_require region=$arg_x;', $MODEL);
    unlike($said, qr/warn/, 'a variable says nothing yet');
}

for ([ 'no value' => 'llm_require region;' ],
     [ 'an empty value' => 'llm_require region=;' ],
     [ 'an empty element' => 'llm_require region=eu,,us;' ],
     [ '"*" in a list' => 'llm_require region=eu,*;' ],
     [ 'no label' => 'llm_require =eu;' ],
     [ 'a second one' => 'llm_require region=eu; llm_require a=b;' ]) {
    my ($what, $require) = @$_;
    my ($status, $said) = check($require, $MODEL);
    isnt($status, 0, "refused: $what");
    like($said, qr/\[emerg\].*:\d+/, '  with file and line');
}

done_testing;
