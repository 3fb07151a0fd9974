#!/usr/bin/perl

# Entries of LiteLLM's price map, as they are in its file, and 200 usages: each
# cost in the log is compared with the sum that exact decimal arithmetic makes
# of the same JSON.  The module's code has no part in the expected values.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use Math::BigFloat;

my $dir = tempdir();

my $PRICES = <<'JSON';
{
    "gpt-4o": { "input_cost_per_token": 2.5e-06,
        "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 1.25e-06,
        "input_cost_per_token_priority": 4.25e-06,
        "output_cost_per_token_priority": 1.7e-05,
        "cache_read_input_token_cost_priority": 2.125e-06,
        "input_cost_per_token_batches": 1.25e-06,
        "output_cost_per_token_batches": 5e-06,
        "litellm_provider": "openai", "max_input_tokens": 128000,
        "max_output_tokens": 16384, "mode": "chat",
        "search_context_cost_per_query": {
            "search_context_size_high": 0.05 } },
    "gpt-5-nano": { "input_cost_per_token": 5e-08,
        "output_cost_per_token": 4e-07,
        "cache_read_input_token_cost": 5e-09,
        "cache_read_input_token_cost_flex": 2.5e-09,
        "input_cost_per_token_flex": 2.5e-08,
        "output_cost_per_token_flex": 2e-07, "mode": "chat" },
    "claude-sonnet-4-5": { "input_cost_per_token": 3e-06,
        "output_cost_per_token": 1.5e-05,
        "cache_read_input_token_cost": 3e-07,
        "cache_creation_input_token_cost": 3.75e-06,
        "cache_creation_input_token_cost_above_1hr": 6e-06,
        "input_cost_per_token_above_200k_tokens": 6e-06,
        "output_cost_per_token_above_200k_tokens": 2.25e-05,
        "cache_read_input_token_cost_above_200k_tokens": 6e-07,
        "cache_creation_input_token_cost_above_200k_tokens": 7.5e-06,
        "mode": "chat" },
    "gemini/gemini-2.5-pro": { "input_cost_per_token": 1.25e-06,
        "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 1.25e-07,
        "input_cost_per_token_above_200k_tokens": 2.5e-06,
        "output_cost_per_token_above_200k_tokens": 1.5e-05,
        "cache_read_input_token_cost_above_200k_tokens": 2.5e-07,
        "input_cost_per_token_priority": 2.25e-06,
        "output_cost_per_token_priority": 1.8e-05,
        "input_cost_per_token_above_200k_tokens_priority": 4.5e-06,
        "output_cost_per_token_above_200k_tokens_priority": 2.7e-05,
        "mode": "chat" },
    "gemini-2.5-pro": { "input_cost_per_token": 0.5,
        "output_cost_per_token": 0.5, "mode": "chat" },
    "xai/grok-4": { "input_cost_per_token": 3e-06,
        "output_cost_per_token": 1.5e-05,
        "input_cost_per_token_above_128k_tokens": 6e-06,
        "output_cost_per_token_above_128k_tokens": 3e-05,
        "cache_read_input_token_cost": 7.5e-07,
        "litellm_provider": "xai", "mode": "chat" },
    "deepseek/deepseek-chat": { "input_cost_per_token": 2.8e-07,
        "output_cost_per_token": 4.2e-07,
        "cache_read_input_token_cost": 2.8e-08,
        "input_cost_per_token_cache_hit": 2.8e-08, "mode": "chat" },
    "dashscope/qwen-flash": { "litellm_provider": "dashscope",
        "max_input_tokens": 997952, "mode": "chat", "tiered_pricing": [
            { "input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07,
              "range": [ 0, 256000.0 ] },
            { "input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06,
              "range": [ 256000.0, 1000000.0 ] } ] },
    "perplexity/sonar-deep": { "input_cost_per_token": 2e-06,
        "output_cost_per_token": 8e-06,
        "output_cost_per_reasoning_token": 3e-06, "mode": "chat" },
    "text-embedding-3-small": { "input_cost_per_token": 2e-08,
        "output_cost_per_token": 0.0, "mode": "embedding" }
}
JSON

spew("$dir/prices.json", $PRICES);

my $prices = JSON::PP->new->allow_bignum->decode($PRICES);

my %entry = (
    'gpt-4o' => 'gpt-4o',
    'gpt-5-nano' => 'gpt-5-nano',
    'claude-sonnet-4-5' => 'claude-sonnet-4-5',
    'gemini-2.5-pro' => 'gemini/gemini-2.5-pro',
    'grok-4' => 'xai/grok-4',
    'deepseek-chat' => 'deepseek/deepseek-chat',
    'qwen-flash' => 'dashscope/qwen-flash',
    'sonar-deep' => 'perplexity/sonar-deep',
    'text-embedding-3-small' => 'text-embedding-3-small',
);


# the expected cost

sub price_of {
    my ($model, $member, $prompt, $tier) = @_;
    my $e = $prices->{$entry{$model}};

    if ($e->{tiered_pricing}) {
        my ($range) = grep { $prompt > $_->{range}[0]
                             && $prompt <= $_->{range}[1] }
                      @{ $e->{tiered_pricing} };
        return $range->{$member};
    }

    my @above = sort { $b <=> $a }
        map { /^\Q$member\E_above_(\d+)k_tokens$/ ? $1 * 1000 : () } keys %$e;
    my $inclusive = ($e->{litellm_provider} // '') eq 'xai';

    for my $limit (grep { $inclusive ? $prompt >= $_ : $prompt > $_ } @above) {
        my $name = sprintf '%s_above_%dk_tokens', $member, $limit / 1000;
        return $e->{"${name}_$tier"} // $e->{$name};
    }

    return $e->{"${member}_$tier"} // $e->{$member};
}

sub expected {
    my ($model, $u, $tier) = @_;
    $tier = { default => '', batch => 'batches' }->{$tier} // $tier;
    my ($prompt, $cached, $written, $completion, $reasoning) =
        @$u{qw(prompt cached written completion reasoning)};
    my $input = price_of($model, 'input_cost_per_token', $prompt, $tier);
    my $output = price_of($model, 'output_cost_per_token', $prompt, $tier);
    my $sum = Math::BigFloat->new(0);

    $sum += $input * ($prompt - $cached - $written);
    $sum += $cached * (price_of($model, 'cache_read_input_token_cost',
                                $prompt, $tier) // $input);
    $sum += $written * (price_of($model, 'cache_creation_input_token_cost',
                                 $prompt, $tier) // $input);
    $sum += ($completion - $reasoning) * $output;
    $sum += $reasoning * ($prices->{$entry{$model}}
                          {output_cost_per_reasoning_token} // $output);

    return Math::BigFloat->new($sum * 1_000_000_000)->bceil
               ->bdiv(1_000_000_000)->bfround(-9)->bstr;
}


# 200 usages: shares and sizes that vary with their number

my @usages;

for my $i (0 .. 199) {
    my $prompt = (7, 1321, 128_000, 199_999, 200_000, 200_001, 256_000,
                  256_001, 86, 41_003)[ $i % 10 ] + ($i % 3 ? 0 : 1) * 13;
    my $completion = ($i * 7919) % 8192;
    my $cached = $i % 4 == 1 ? int($prompt * 0.9)
               : $i % 4 == 2 ? $prompt : 0;
    my $written = $i % 4 == 3 ? int($prompt / 3) : 0;
    push @usages, { prompt => $prompt, cached => $cached,
                    written => $written, completion => $completion,
                    reasoning => $i % 5 == 4 ? int($completion / 2) : 0,
                    tier => (qw(default priority flex batch))[ $i % 7 % 4 ] };
}

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $how = $req->{json}{user};
    return json({ fine(), usage => { prompt_tokens => 100,
                                     completion_tokens => 10,
                                     total_tokens => 110,
                                     cost => $1 eq 'text' ? $1 : $1 + 0 } })
        if $how =~ /^cost (.*)/;
    my $u = $usages[$how];
    return json({ fine(), service_tier => $u->{tier}, usage => {
        prompt_tokens => $u->{prompt},
        completion_tokens => $u->{completion},
        total_tokens => $u->{prompt} + $u->{completion},
        prompt_tokens_details => { cached_tokens => $u->{cached},
                                   cache_write_tokens => $u->{written} },
        completion_tokens_details => {
            reasoning_tokens => $u->{reasoning} } } });
});

my $gw = LLM::Nginx->new(vars => { P => $p, FILES => $dir },
    access_format => '$http_x_tag|$llm_cost|', http => <<'CONF');
llm_prices %%FILES%%/prices.json;
llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
llm_provider gemini { endpoint http://127.0.0.1:%%P%%/v1; price_prefix gemini; }
llm_provider xai { endpoint http://127.0.0.1:%%P%%/v1; price_prefix xai; }
llm_provider deepseek { endpoint http://127.0.0.1:%%P%%/v1; price_prefix deepseek; }
llm_provider dashscope { endpoint http://127.0.0.1:%%P%%/v1; price_prefix dashscope; }
llm_provider perplexity { endpoint http://127.0.0.1:%%P%%/v1; price_prefix perplexity; }
llm_model gemini-2.5-pro { target gemini gemini-2.5-pro; }
llm_model grok-4 { target xai; }
llm_model deepseek-chat { target deepseek deepseek-chat; }
llm_model qwen-flash { target dashscope; }
llm_model sonar-deep { target perplexity sonar-deep; }
llm_model billed { target p gpt-4o price=provider; }
llm_model default { target p; }
server { listen 127.0.0.1:%%PORT%%; location /v1/ { llm_pass; } }
CONF

my $tag = 0;

sub cost {
    my ($model, $how) = @_;
    $tag++;
    post_json($gw, '/v1/chat/completions', { model => $model, user => $how },
              headers => [ [ 'X-Tag', $tag ] ]);
    $gw->wait_log(qr/^$tag\|/m);
    my ($said) = $gw->access_log =~ /^$tag\|(.*)\|$/m;
    return $said;
}

my @models = sort keys %entry;
my @wrong;

for my $i (0 .. $#usages) {
    my $model = $models[ $i % @models ];
    my $got = cost($model, "$i");
    my $want = expected($model, $usages[$i], $usages[$i]{tier});
    push @wrong, "$model #$i: $got, $want expected" if $got ne $want;
}

is(scalar @wrong, 0, '200 usages cost what exact arithmetic says')
    or diag(join "\n", @wrong);

is(cost('billed', 'cost 0.00123'), '0.001230000',
   'price=provider: the cost is what the provider reports');
is(cost('billed', 'cost 0'), '0.000000000', '  0 is a cost');
is(cost('billed', 'cost 1.5e-10'), '0.000000001', '  rounded up');
is(cost('billed', 'cost text'), '0.000350000',
   '  the price map\'s if the report is not a number');
is(cost('gpt-4o', 'cost 0.00123'), '0.000350000',
   'without price=provider a reported cost is ignored');

$gw->done;


# The file as LiteLLM ships it, if it is installed

SKIP: {
    my $file = $ENV{LLM_PRICE_MAP}
               // (glob '/usr/lib/python3*/*-packages/litellm/'
                        . 'model_prices_and_context_window_backup.json')[0];
    skip 'LiteLLM\'s price map is not installed, see LLM_PRICE_MAP', 2
        if !$file || !-f $file;

    my ($status, $said) = LLM::Nginx->check(http => "llm_prices $file;");
    is($status, 0, 'LiteLLM\'s own file is accepted') or diag($said);
    unlike($said, qr/is skipped/, '  without a malformed entry');
}

done_testing();
