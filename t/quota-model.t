#!/usr/bin/perl

# A quota for each model: $llm_pattern is the llm_model of a request, by every
# name that leads to it.  And llm_log_level, the level of a refusal's log line.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $p = LLM::Fake->new(answer => sub {
    json({ object => 'chat.completion',
           choices => [ { index => 0, finish_reason => 'stop',
                          message => { role => 'assistant', content => 'x' } } ],
           usage => { prompt_tokens => 1, completion_tokens => 1,
                      total_tokens => 2 } });
});

my $gw = LLM::Nginx->new(
    vars => { P => $p }, access_format => '$status $llm_pattern',
    error_log => 'info', http => <<'CONF');
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model gpt-5 { target p; alias gpt5 gpt-5-latest; }
    llm_model claude-* { target p; }
    llm_model ~*^O[0-9]+$ { target p; }
    llm_model default { target p; }

    llm_quota_zone model key=$http_x_who:$llm_pattern requests=2/1h;
    llm_quota_zone none key=$http_x_who requests=0/1h;

    map $llm_pattern $limit { volatile; claude-* 1; default ''; }
    llm_quota_zone mapped key=$http_x_who requests=$limit/1h;

    llm_log_level info;

    server {
        listen 127.0.0.1:%%PORT%%;
        location / { llm_quota model; llm_pass; }
        location /mapped/ { llm_quota mapped; llm_pass; }
        location /forced/ { llm_quota model; llm_pass gpt-5; }
        location /info/ { llm_quota none; llm_pass; }
        location /notice/ { llm_log_level notice; llm_quota none; llm_pass; }
        location /error/ {
            llm_log_level error;
            llm_quota none;
            llm_pass;
            location /error/inner/ { llm_quota none; llm_pass; }
        }
    }
    server {
        listen 127.0.0.1:%%PORT_1%%;
        llm_log_level warn;
        location / { llm_quota none; llm_pass; }
    }
CONF
$gw->expect_error(qr/refuses the request/);

sub ask {
    my ($path, $who, $model) = @_;
    return post_json($gw, "$path/chat/completions",
                     { model => $model, max_tokens => 1 },
                     headers => [ [ 'X-Who' => $who ] ])->status;
}

for ([ 'aliases' => 'gpt-5', qw(gpt-5 gpt5 gpt-5-latest) ],
     [ 'a prefix' => 'claude-*', map { "claude-$_" } 1 .. 5 ],
     [ 'a regular expression' => '~*^O[0-9]+$', qw(o1 O3 o4) ],
     [ 'default' => 'default', map { "model-$_" } 1 .. 5 ])
{
    my ($what, $pattern, @names) = @$_;
    my @status = map { ask('/v1', 'names', $_) } @names;
    my $expected = join ' ', 200, 200, (429) x (@names - 2);
    is("@status", $expected, "the names of $what share one quota");
    $gw->wait_log(qr/^429 \Q$pattern\E$/m);
    pass('  and $llm_pattern is the pattern as it is written');
}

is(join(' ', map { ask('/forced/v1', 'forced', $_) } qw(a b c)), '200 200 429',
   'llm_pass MODEL determines the pattern, not the name in the request');
is(join(' ', map { ask('/mapped/v1', 'map', $_) } qw(claude-1 claude-2 gpt5 o1)),
   '200 429 200 200', 'a map of $llm_pattern may choose the limit');
get($gw, '/v1/models');
$gw->wait_log(qr/^200 -$/m);
pass('$llm_pattern is not found for a list of models');


# The level of the log line

my $n = 0;
for ([ info => '/info', 'llm_log_level of http' ],
     [ notice => '/notice', 'llm_log_level of the location' ],
     [ error => '/error/inner', 'llm_log_level of the outer location' ])
{
    my ($level, $path, $from) = @$_;
    my $mark = $gw->mark;
    is(ask($path, 'level' . ++$n, 'm'), 429, "a request is refused, with $from");
    $gw->wait_error_log(qr/\[$level\] .* llm_quota_zone "none" refuses/,
                        since => $mark);
    pass("  and logged at level $level");
}

my $mark = $gw->mark;
is(post_json($gw->port(1), '/v1/chat/completions', { model => 'm' },
             headers => [ [ 'X-Who' => 'w' ] ])->status,
   429, 'a request is refused, with llm_log_level of the server');
$gw->wait_error_log(qr/\[warn\] .* llm_quota_zone "none" refuses/,
                    since => $mark);
pass('  and logged at level warn');

my ($status, $text) = LLM::Nginx->check(http => 'llm_log_level crit;');
isnt($status, 0, 'llm_log_level crit is refused');
like($text, qr/invalid value "crit"/, '  as an invalid value');

$gw->done;
done_testing;
