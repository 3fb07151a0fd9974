#!/usr/bin/perl

# Which model and which operation a request means: GET models, the precedence
# of names, operations by the end of the path, and that each operation
# reaches the provider and its answer comes back as it is.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use Digest::SHA qw(sha256_hex);

# every answer has spaces and an odd member order that nobody may tidy up
my $ANSWER = qq({ "b": 1.0,\n "a" :[],"choices" : [{}],"data": [0],)
           . qq("status":"completed","output":[], "text": "","u":"\\u00e9" }\n);

my $p = LLM::Fake->new(answer => sub {
    return (header('X-Odd', 'kept'),
            header('Content-Type', 'application/json; charset=utf-8'),
            body($ANSWER));
});

my $gw = LLM::Nginx->new(
    vars => { P => $p },
    access_format => '$uri $llm_operation $llm_model $llm_target_model '
        . '$status',
    http => <<'CONF');
llm_provider p { endpoint http://127.0.0.1:%%P%%/base/v1; }

llm_model zeta { target p zeta-target; alias z-alias "second/alias"; }
llm_model gpt-* { target p prefix-target; }
llm_model gpt-4* { target p longer; }
llm_model gpt-4o { target p exact-target; }
llm_model alpha { target p; }
llm_model org/name/x { target p; }
llm_model vendor/* { target p *; alias vendor; }
llm_model default { target p; alias standard; }

server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_pass; }
    location /forced/ { llm_pass gpt-4o; }
    location /variable/ { llm_pass $http_x_model; }
}
CONF

my $strict = LLM::Nginx->new(vars => { P => $p }, http => <<'CONF');
llm_provider p { endpoint http://127.0.0.1:%%P%%; }
llm_model only { target p; }
llm_model only-* { target p *; }
server { listen 127.0.0.1:%%PORT%%; location / { llm_pass; } }
CONF

sub models { my ($path, %opt) = @_; return get($gw, $path, %opt) }

sub entry {
    my ($id) = @_;
    return { id => $id, object => 'model', created => 0, owned_by => 'llm' };
}

sub sent_model {
    my ($model, %opt) = @_;
    my $before = $p->count;
    my $r = post_json($opt{to} || $gw, $opt{path} || '/v1/chat/completions',
                      { model => $model }, headers => $opt{headers} || []);
    return $r->status if $p->count == $before;
    return ($p->requests)[-1]{json}{model};
}


# GET models

{
    my $r = models('/v1/models');
    is($r->status, 200, 'GET models is answered');
    is($r->header('Content-Type'), 'application/json', '  in JSON');
    json_is($r->body, {
        object => 'list',
        data => [ map { entry($_) } qw(zeta z-alias second/alias gpt-4o alpha
                                       org/name/x vendor standard) ],
    }, '  exact names and aliases in the order of the file');
    ok($r->header('x-request-id'), '  with x-request-id (REQ-42)');
    is($r->header('x-llm-provider'), undef, '  from no provider');

    my $head = request($gw, method => 'HEAD', path => '/v1/models');
    is($head->status, 200, 'HEAD models');
    is($head->header('Content-Length'), length $r->body,
       '  has the length of GET');
    is($head->body, '', '  and no body');

    is(models("/$_")->status, 200, "GET /$_")
        for 'models', 'a/b/models', 'v1/models?limit=5';

    json_is(get($strict, '/models')->body,
            { object => 'list', data => [ entry('only') ] },
            'prefixes are not listed');
}


# list

{
    my $keys = tempdir() . '/keys.json';
    spew($keys, '{"consumers":[{"name":"a","models":["pre/*","re1"],"keys":'
                . '[{"sha256":"' . sha256_hex('k') . '"}]}]}');
    my $listing = LLM::Nginx->new(vars => { P => $p, KEYS => $keys },
                                  http => <<'CONF');
llm_provider p { endpoint http://127.0.0.1:%%P%%; }
llm_keys %%KEYS%%;
llm_model default { target p; list any-model another; list third; }
llm_model exact { target p; alias nick; }
llm_model pre/* { target p *; list pre/a pre/b; }
llm_model ~^re[0-9]$ { target p; list re1; }
server {
    listen 127.0.0.1:%%PORT%%;
    location / { llm_pass; }
    location /auth/ { llm_auth on; llm_pass; }
}
CONF
    my @all = qw(any-model another third exact nick pre/a pre/b re1);
    json_is(get($listing, '/v1/models')->body,
            { object => 'list', data => [ map { entry($_) } @all ] },
            'names of list are listed beside exact names and aliases');
    for my $name (qw(pre/b re1 third re2)) {
        json_is(get($listing, "/v1/models/$name")->body, entry($name),
                "GET models/$name is found, listed or not");
    }
    my $r = get($listing, '/auth/models',
                headers => [ [ Authorization => 'Bearer k' ] ]);
    json_is($r->body, { object => 'list',
                        data => [ map { entry($_) } qw(pre/a pre/b re1) ] },
            'a consumer sees those that it may use');
    $listing->done;
}

for ([ 'an exact name', 'llm_model m { target p; list m; }',
       qr/"list" directive is for prefixes/ ],
     [ 'a name that the prefix does not match',
       'llm_model m* { target p; list x; } llm_model default { target p; }',
       qr/"x" in "list" of llm_model "m\*" is not a name that leads to/ ],
     [ 'a name of another model',
       'llm_model x { target p; } llm_model default { target p; list x; }',
       qr/"x" in "list" of llm_model "default" is not a name/ ],
     [ 'a prefix without the part for a target',
       'llm_model m/* { target p *; list m/; }', qr/"m\/" in "list"/ ],
     [ 'a name twice', 'llm_model m* { target p; list ma ma; }',
       qr/duplicate name "ma" in "list" of llm_model "m\*"/ ],
     [ 'a pattern', 'llm_model m* { target p; list m*; }',
       qr/"m\*" in "list" of llm_model "m\*" has "\*"/ ])
{
    my ($what, $models, $why) = @$_;
    my ($status, $text) = LLM::Nginx->check(http => 'llm_provider p {'
        . " endpoint http://127.0.0.1:1/v1; } $models");
    isnt($status, 0, "list with $what is refused");
    like($text, $why, '  and says why');
}

for my $name (qw(zeta z-alias gpt-4o alpha gpt-5-mini vendor/any
                 never-heard-of standard))
{
    my $r = models("/v1/models/$name");
    is($r->status, 200, "GET models/$name");
    json_is($r->body, entry($name), '  is that model');
}

{
    my $r = models('/v1/models/org/name/x');
    json_is($r->body, entry('org/name/x'), 'a name with slashes');
    json_is(models('/v1/models/org%2Fname%2Fx')->body, entry('org/name/x'),
            '  and with escaped ones');
    json_is(models('/v1/models/models/x')->body, entry('models/x'),
            '  and one that begins with models/');
    is(request($gw, method => 'HEAD', path => '/v1/models/alpha')->status,
       200, 'HEAD models/NAME');

    json_is(get($strict, '/v1/models/only-1')->body, entry('only-1'),
            'a name that a prefix matches is found');
    for my $name (qw(other none onl only2 ONLY a%22b a%20b), 'x' x 300) {
        $r = get($strict, "/v1/models/$name");
        is($r->status, 404, 'GET models/' . substr($name, 0, 9));
        is($r->json->{error}{code}, 'model_not_found', '  model_not_found');
    }
}

for my $path (qw(models models/alpha models/org/name/x)) {
    for my $method (qw(POST PUT DELETE)) {
        my $before = $p->count;
        my $r = request($gw, method => $method, path => "/v1/$path",
                        body => '{"model":"alpha"}');
        is($r->status, 405, "$method $path");
        is($r->header('Allow'), 'GET, HEAD', '  allows GET, HEAD');
        is($r->json->{error}{code}, 'method_not_allowed',
           '  method_not_allowed');
        is($p->count, $before, '  and goes nowhere');
    }
}


# Names

for (
    [ 'gpt-4o' => 'exact-target', 'an exact name before prefixes' ],
    [ 'gpt-4' => 'longer', 'the longest prefix, with nothing for its *' ],
    [ 'gpt-4-turbo' => 'longer', 'the longest prefix before a shorter one' ],
    [ 'gpt-3.5' => 'prefix-target', 'a prefix before default' ],
    [ 'GPT-4o' => 'GPT-4o', 'case matters: default' ],
    [ 'whatever/else' => 'whatever/else', 'default, the name goes through' ],
    [ 'default' => 'default', 'a model of the name default' ],
    [ 'z-alias' => 'zeta-target', 'an alias has its model\'s targets' ],
    [ 'second/alias' => 'zeta-target', 'a second alias' ],
    [ 'standard' => 'standard', 'an alias of default goes through' ],
    [ 'alpha' => 'alpha', 'a target without a model' ],
    [ 'vendor/m/x' => 'm/x', '* is what the pattern\'s * matched' ],
    [ 'org/name/x' => 'org/name/x', 'a name with slashes' ],
) {
    my ($model, $sent, $name) = @$_;
    is(sent_model($model), $sent, $name);
}

is(sent_model('alpha', path => '/forced/chat/completions'), 'exact-target',
   'llm_pass MODEL takes the place of the client\'s name');
is(sent_model('alpha', path => '/variable/chat/completions',
              headers => [ [ 'X-Model' => 'gpt-4o' ] ]), 'exact-target',
   'llm_pass $variable does, too');
is(sent_model('alpha', path => '/variable/chat/completions'), 'alpha',
   '  and leaves it where the variable is empty');
is(sent_model('only-x', to => $strict), 'x', 'a prefix without a default');
is(sent_model('on', to => $strict), 404, 'an unknown model is 404');
like(sent_model('only-', to => $strict), qr/^40[04]$/,
     'a name that leaves nothing for the target\'s * is refused');


# Operations

my %operation = (
    'chat/completions'   => 'chat',
    'completions'        => 'completions',
    'embeddings'         => 'embeddings',
    'responses'          => 'responses',
    'moderations'        => 'moderations',
    'images/generations' => 'images',
    'images/edits'       => 'images',
    'audio/transcriptions' => 'audio',
    'audio/translations' => 'audio',
    'audio/speech'       => 'audio',
);

for my $suffix (sort keys %operation) {
    for my $prefix ('/v1/', '/', '/v1/x/y/', '/v1/models-x/') {
        my $mark = $gw->mark;
        my $r = post_json($gw, "$prefix$suffix?api-version=1",
                          { model => 'gpt-4o', input => 'x' });
        is($r->status, 200, "POST $prefix$suffix");
        is($r->body, $ANSWER, '  the answer passes verbatim (REQ-46)');
        is($r->header('Content-Type'), 'application/json; charset=utf-8',
           '  with its content type');
        is($r->header('X-Odd'), 'kept', '  and headers');

        my $req = ($p->requests)[-1];
        is($req->{path}, "/base/v1/$suffix",
           '  sent to the endpoint\'s path, without the query');
        is($req->{body}, '{"input":"x","model":"exact-target"}',
           '  the body as it was, but for the model (REQ-45)');
        like($gw->wait_log(qr/^\Q$prefix$suffix\E /, since => $mark),
             qr/ $operation{$suffix} gpt-4o exact-target 200$/,
             '  $llm_operation');
    }

    for my $method (qw(GET HEAD PUT DELETE OPTIONS PATCH)) {
        my $before = $p->count;
        my $r = request($gw, method => $method, path => "/v1/$suffix");
        is($r->status, 405, "$method $suffix");
        is($r->header('Allow'), 'POST', '  allows POST');
        is($r->json->{error}{code}, 'method_not_allowed',
           '  method_not_allowed') unless $method eq 'HEAD';
        is($p->count, $before, '  and goes nowhere');
    }
}

for my $path (qw(/ /v1 /v1/ /v1/chat /v1/completion
                 /v1/files /v1/xcompletions /v1/chat/completionsx
                 /v1/CHAT/COMPLETIONS /v1/fine_tuning/jobs
                 /v1/responses/resp_1 /v1/images/edits2 /v1/xmodels))
{
    my $before = $p->count;
    for my $method (qw(POST GET)) {
        my $r = request($gw, method => $method, path => $path,
                        $method eq 'POST' ? (body => '{"model":"alpha"}')
                                          : ());
        is($r->status, 404, "$method $path");
        is($r->json->{error}{code}, 'unknown_operation',
           '  is an unknown operation');
    }
    is($p->count, $before, '  and goes nowhere');
}

is(sent_model('alpha', path => '/v1/x-chat/completions'), 'alpha',
   'completions after any folder');
is(($p->requests)[-1]{path}, '/base/v1/completions', '  is completions');
is(sent_model('alpha', path => '/v1/models/x/chat/completions'), 'alpha',
   'models/ within the path of an operation does not matter');

$_->done for $gw, $strict;

# Regular expressions

{
    my $gw = LLM::Nginx->new(vars => { P => $p }, http => <<'CONF');
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model ~^first { target p by-first; }
    llm_model ~^v\d\.[0-9]+$ { target p by-digit; }
    llm_model ~*^LOUD { target p by-case; }
    llm_model "~^o\"?[0-9]{1,2}$" { target p by-quote; }
    llm_model ~(*LIMIT_MATCH=1)^deep(a+)+$ { target p by-limit; }
    llm_model ~^deep { target p by-later; }
    llm_model default { target p by-default; }
    server {
        listen 127.0.0.1:%%PORT%%;
        location / { llm_pass; }
        location = /metrics { llm_metrics; }
    }
CONF
    $gw->expect_error(qr/pcre2?_(exec|match)\(\) failed: -\d+ on "deepaab" using llm_model "~\(\*LIMIT_MATCH=1\)/);

    my $ask = sub {
        my ($model) = @_;
        return post_json($gw, '/v1/chat/completions', { model => $model });
    };
    is($ask->('first-x')->status, 200, 'a name that an expression matches is served');
    is(($p->requests)[-1]{json}{model}, 'by-first', '  by its model');

    for ([ 'v1.23' => 'by-digit', 'with a backslash' ],
         [ 'v1x23' => 'by-default', 'with an escaped point' ],
         [ 'loud-1' => 'by-case', 'after "~*" without regard to case' ],
         [ 'First-1' => 'by-default', 'after "~" with regard to case' ],
         [ 'o12' => 'by-quote', 'in quotes' ]) {
        my ($name, $model, $how) = @$_;
        $ask->($name);
        is(($p->requests)[-1]{json}{model}, $model,
           "an expression $how is applied to $name");
    }
    ok((grep { /^nginx_llm_requests_total\{.*model="~\^v\\\\d/ }
        split /\n/, get($gw, '/metrics')->body),
       '  and a label of the metrics has its backslash escaped');

    my $n = $p->count;
    my $r = $ask->('deepaab');
    is($r->status, 500,
       'a name whose match exceeds the match limit is an internal error');
    is($r->json->{error}{code}, 'internal_error', '  by its code');
    is($p->count, $n, '  and no provider has the request');
    is(get($gw, '/v1/models/deepaab')->status, 500,
       '  so is GET models of this name');
    is(scalar(() = $gw->error_log =~ /\[error\].*failed: -\d+ on "deepaab"/g),
       2, '  each is logged with the error of PCRE and the expression');

    is($ask->('other')->status, 200, 'a name that no expression matches is served');
    is(($p->requests)[-1]{json}{model}, 'by-default', '  by the default model');
    $gw->done;
}

done_testing;
