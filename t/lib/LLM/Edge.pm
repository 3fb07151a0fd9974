package LLM::Edge;

# Response headers as real providers and the CDNs before them send them, so
# that a fake is as dirty as the world.
#
#   headers('openai')     [[k, v], ...] of one provider
#   names()               all providers
#   hidden('openai')      names of these headers that a client must not see

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(headers names hidden);

# What describes a provider's host or account, and what is ours to say.
my $HIDDEN = qr/^(?:set-cookie|server|strict-transport-security|alt-svc|nel
                  |report-to|reporting-endpoints|via|openai-organization
                  |openai-project|clear-site-data|x-request-id|keep-alive
                  |access-control-.*|x-litellm-.*|x-accel-.*)$/xi;

my $CF_COOKIE = '__cf_bm=Zq1x.9-1764576000-1.0.1.1-abc; path=/; '
    . 'expires=Tue, 01-Dec-26 12:30:00 GMT; domain=.api.test; HttpOnly; '
    . 'Secure; SameSite=None';
my $NEL = '{"success_fraction":0,"report_to":"cf-nel","max_age":604800}';
my $REPORT = '{"endpoints":[{"url":"https:\/\/a.nel.test\/report\/v4?s=x"}],'
    . '"group":"cf-nel","max_age":604800}';

my @CLOUDFLARE = (
    [ 'Server', 'cloudflare' ], [ 'CF-RAY', '8f1a2b3c4d5e6f70-FRA' ],
    [ 'CF-Cache-Status', 'DYNAMIC' ], [ 'Set-Cookie', $CF_COOKIE ],
    [ 'Set-Cookie', '_cfuvid=v; path=/; HttpOnly' ],
    [ 'alt-svc', 'h3=":443"; ma=86400' ],
);
my $HSTS = 'max-age=31536000; includeSubDomains; preload';

my %HEADERS = (
    openai => [
        @CLOUDFLARE,
        [ 'Strict-Transport-Security', $HSTS ],
        [ 'X-Content-Type-Options', 'nosniff' ],
        [ 'access-control-expose-headers', 'X-Request-ID' ],
        [ 'openai-organization', 'user-secretorg' ],
        [ 'openai-project', 'proj_secret' ],
        [ 'openai-processing-ms', '312' ], [ 'openai-version', '2020-10-01' ],
        [ 'x-envoy-upstream-service-time', '330' ],
        [ 'x-ratelimit-limit-requests', '10000' ],
        [ 'x-ratelimit-limit-tokens', '2000000' ],
        [ 'x-ratelimit-remaining-requests', '9999' ],
        [ 'x-ratelimit-remaining-tokens', '1999984' ],
        [ 'x-ratelimit-reset-requests', '6ms' ],
        [ 'x-ratelimit-reset-tokens', '0s' ],
        [ 'x-request-id', 'req_0123456789abcdef' ],
    ],
    azure => [
        [ 'Strict-Transport-Security', $HSTS ],
        [ 'azureml-model-session', 'd1' ],
        [ 'apim-request-id', 'a1b2c3d4' ], [ 'x-ms-region', 'Sweden Central' ],
        [ 'x-ms-client-request-id', 'b2c3' ], [ 'x-ms-rai-invoked', 'true' ],
        [ 'x-accel-buffering', 'no' ], [ 'x-content-type-options', 'nosniff' ],
        [ 'x-ratelimit-remaining-requests', '249' ],
        [ 'x-ratelimit-remaining-tokens', '249984' ],
        [ 'x-request-id', '7e6f5d4c' ], [ 'Server', 'uvicorn' ],
    ],
    anthropic => [
        @CLOUDFLARE,
        [ 'Strict-Transport-Security', $HSTS ], [ 'via', '1.1 google' ],
        [ 'anthropic-organization-id', 'org-1' ],
        [ 'anthropic-ratelimit-requests-remaining', '49' ],
        [ 'request-id', 'req_011C' ], [ 'X-Robots-Tag', 'none' ],
        [ 'Cache-Control', 'no-cache' ],
    ],
    groq => [
        @CLOUDFLARE,
        [ 'Cache-Control',
          'private, max-age=0, no-store, no-cache, must-revalidate' ],
        [ 'strict-transport-security', 'max-age=15552000' ],
        [ 'vary', 'Origin' ], [ 'via', '1.1 google' ],
        [ 'x-groq-region', 'us-west-1' ],
        [ 'x-ratelimit-limit-requests', '14400' ],
        [ 'x-ratelimit-remaining-requests', '14399' ],
        [ 'x-ratelimit-reset-requests', '2m59.56s' ],
        [ 'x-ratelimit-reset-tokens', '7.66s' ],
        [ 'x-request-id', 'req_01jx' ],
    ],
    gemini => [
        [ 'Server', 'scaffolding on HTTPServer2' ], [ 'Vary', 'Origin' ],
        [ 'Vary', 'X-Origin' ], [ 'Vary', 'Referer' ],
        [ 'X-XSS-Protection', '0' ], [ 'X-Frame-Options', 'SAMEORIGIN' ],
        [ 'X-Content-Type-Options', 'nosniff' ],
        [ 'Server-Timing', 'gfet4t7; dur=512' ],
        [ 'Alt-Svc', 'h3=":443"; ma=2592000,h3-29=":443"; ma=2592000' ],
    ],
    bedrock => [
        [ 'x-amzn-RequestId', '1f2e3d4c-0000' ],
        [ 'X-Amzn-Bedrock-Invocation-Latency', '410' ],
        [ 'X-Amzn-Bedrock-Input-Token-Count', '9' ],
    ],
    openrouter => [
        @CLOUDFLARE,
        [ 'Access-Control-Allow-Origin', '*' ],
        [ 'Permissions-Policy', 'payment=(self)' ],
        [ 'Referrer-Policy', 'no-referrer, strict-origin-when-cross-origin' ],
        [ 'x-clerk-auth-status', 'signed-out' ],
        [ 'Cache-Control', 'no-cache' ],
    ],
    mistral => [
        @CLOUDFLARE,
        [ 'access-control-allow-origin', '*' ], [ 'x-kong-request-id', 'k1' ],
        [ 'x-envoy-upstream-service-time', '401' ],
        [ 'mistral-correlation-id', 'm1' ],
        [ 'ratelimitbysize-remaining', '499990' ], [ 'NEL', $NEL ],
        [ 'Report-To', $REPORT ], [ 'via', 'kong/3.8' ],
    ],
    deepseek => [
        [ 'Server', 'CloudFront' ],
        [ 'Via', '1.1 x.cloudfront.test (CloudFront)' ],
        [ 'Vary', 'origin, access-control-request-method' ],
        [ 'Access-Control-Allow-Credentials', 'true' ],
        [ 'x-ds-trace-id', 'd5' ], [ 'Set-Cookie', 'HWWAFSESID=1; path=/' ],
        [ 'Strict-Transport-Security', 'max-age=31536000' ],
        [ 'X-Cache', 'Miss from cloudfront' ], [ 'X-Amz-Cf-Pop', 'FRA1' ],
    ],
    vllm => [ [ 'server', 'uvicorn' ], [ 'x-request-id', 'chatcmpl-1' ] ],
);


sub names { return sort keys %HEADERS }

sub headers { return @{ $HEADERS{ $_[0] } } }

sub hidden {
    my %seen;
    return grep { $_ =~ $HIDDEN && !$seen{$_}++ }
           map { lc $_->[0] } headers($_[0]);
}

1;
