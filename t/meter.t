#!/usr/bin/perl

# The meter: llm_meter in locations of plain proxy_pass.  Whatever way an
# answer takes - buffered or not, over a temp file, out of proxy_cache - it is
# read as it passes and none of its bytes is touched; the $llm_* variables are
# final in the access log, after internal redirects too.  REQ-11: usage in
# every shape, here and with llm_pass.  REQ-42: one line says who served what.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use JSON::PP ();

my $CHAT = '/chat/completions';
my $SSE = header('Content-Type', 'text/event-stream');
my $DONE = "data: [DONE]\n\n";

my %USAGE = (prompt_tokens => 9, completion_tokens => 4, total_tokens => 13,
             prompt_tokens_details => { cached_tokens => 3 },
             completion_tokens_details => { reasoning_tokens => 2 });
my $DOCUMENT = { id => 'c', choices => [ { index => 0, finish_reason => 'stop',
                 message => { content => 'hello' } } ], usage => \%USAGE };
my $BIG = { %$DOCUMENT, padding => 'x' x 3_000_000 };

my $finish = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
           . "\n\n";
my $stream = join '', map({ 'data: {"choices":[{"index":0,"delta":{"content":"'
                            . "tok$_\"}}]}\n\n" } 1 .. 5), $finish,
             'data: ' . canon({ choices => [], usage => \%USAGE }) . "\n\n",
             $DONE;
my $half = 3 * index($stream, "\n\n") + 6;      # three events
my $RESPONSE = { id => 'r', object => 'response', status => 'incomplete',
                 output => [ {} ],
                 usage => { input_tokens => 7, output_tokens => 5,
                            input_tokens_details => { cached_tokens => 1 },
                            output_tokens_details => { reasoning_tokens => 2 },
                            total_tokens => 12 } };
my $events = join '', "event: response.created\ndata: "
    . canon({ type => 'response.created',
              response => { %$RESPONSE, status => 'in_progress',
                            usage => undef } }) . "\n\n",
    "event: response.incomplete\ndata: "
    . canon({ type => 'response.incomplete', response => $RESPONSE }) . "\n\n";
my $EMBEDDINGS = { object => 'list', data => [ { embedding => [ 0.5 ] } ],
                   usage => { prompt_tokens => 8, total_tokens => 8 } };

# What the provider does is in the body's "do" (the model's name with
# llm_pass), or in the bytes it is told to send.

my %case = (
    document   => sub { json($DOCUMENT) },
    other      => sub { json({ choices => [ {} ], other => 1 }) },
    chunked    => sub { (header('Content-Type', 'application/json'), head,
                         map { chunk($_) } unpack '(a10)*', canon($DOCUMENT)) },
    closed     => sub { (header('Content-Type', 'application/json'),
                         close_delimited, body(canon($DOCUMENT))) },
    big        => sub { json(canon($BIG)) },
    stream     => sub { ($SSE, head, split_every(50), chunk($stream)) },
    responses  => sub { json($RESPONSE) },
    events     => sub { ($SSE, head, chunk($events)) },
    embeddings => sub { json($EMBEDDINGS) },
    gzip       => sub { (header('Content-Type', 'application/json'),
                         gzip(canon($DOCUMENT))) },
    html       => sub { (header('Content-Type', 'text/html'), body('<p>')) },
    garbage    => sub { json('{"choices":[}') },
    busy       => sub { (status(429), json({ error => { code => 'x' } })) },
    id         => sub { (header('X-Request-Id', 'theirs'), json($DOCUMENT)) },

    # cut short
    'cut length' => sub { (header('Content-Type', 'application/json'),
                           header('Content-Length', 1000),
                           chunk(substr canon($DOCUMENT), 0, 40), fin) },
    'cut close'  => sub { (header('Content-Type', 'application/json'),
                           close_delimited,
                           body(substr canon($DOCUMENT), 0, 40)) },
    'cut chunk'  => sub { ($SSE, head, chunk(substr $stream, 0, $half), fin) },
    'cut stream' => sub { ($SSE, head, chunk(substr $stream, 0, $half)) },
    'cut reset'  => sub { ($SSE, head, chunk(substr $stream, 0, $half),
                           delay(0.1), rst) },
    'no done'    => sub { ($SSE, head, chunk($stream =~ s/\Q$DONE\E//r)) },
    failing      => sub { ($SSE, head, chunk(substr $stream, 0, $half),
                           chunk("data: {\"error\":{\"code\":\"x\"}}\n\n"
                                 . $DONE)) },
    endless      => sub { repeat_steps(0, sse({ choices => [
                          { index => 0, delta => { content => 'tok' } } ] }),
                          delay(0.01)) },
    gated        => sub { ($SSE, head, chunk(substr $stream, 0, $half), gate,
                           chunk(substr $stream, $half)) },

    accel        => sub { (header('X-Accel-Redirect', '/files/a.json'),
                           json({})) },
);

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my $json = $req->{json} || {};
    my $how = $json->{metadata} || {};

    return json({ object => 'list', data => [] }) if $req->{path} =~ /models/;
    return (($how->{type} ? header('Content-Type', $how->{type}) : $SSE), head,
            map { chunk($_) } $how->{every}
                ? unpack "(a$how->{every})*", $how->{bytes} : $how->{bytes})
        if defined $how->{bytes};
    return $case{ $how->{do} || 'document' }->();
});
my $failing = LLM::Fake->new(answer => sub { (status(503), json({
    error => { message => 'busy' } })) });
my $dead = LLM::Fake->refused;

my $site = tempdir();
mkdir "$site/$_" for qw(files cache);
spew("$site/files/a.json", canon($DOCUMENT));
spew("$site/files/page.html", '<!--# include virtual="/part" -->end');

my $LOG = join '|', '$http_x_tag', map { "\$llm_$_" }
    qw(operation stream_end usage_source prompt_tokens completion_tokens
       total_tokens cached_tokens reasoning_tokens finish_reason);

my $gw = LLM::Nginx->new(
    vars => { P => $p, F => $failing, DEAD => $dead, SITE => $site },
    access_format => $LOG . '|$llm_ttft',
    http => <<'CONF');
    upstream pool { server 127.0.0.1:%%P%%; keepalive 8; }
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Accept-Encoding "";
    proxy_cache_path %%SITE%%/cache keys_zone=cache:1m;
    keepalive_requests 100000;
    client_max_body_size 8m;

    llm_provider p { endpoint http://pool/v1; key sk-p; }
    llm_provider f { endpoint http://127.0.0.1:%%F%%/v1; }
    llm_provider dead { endpoint http://127.0.0.1:%%DEAD%%/v1; }
    llm_model both { target f theirs-f; target p theirs-p; }
    llm_model dead { target dead; }
    llm_model default { target p; }

    map $llm_usage_source $counted { volatile; default no; provider yes; }
    map $llm_operation $known { volatile; default other; "" none; chat chat; }

    log_format who escape=json '{"tag":"$http_x_tag","id":"$request_id",'
        '"status":"$status","operation":"$llm_operation","model":"$llm_model",'
        '"provider":"$llm_provider","target":"$llm_target_model",'
        '"stream":"$llm_stream","attempts":"$llm_attempts",'
        '"upstream":"$llm_upstream_status",'
        '"upstream_id":"$llm_upstream_request_id",'
        '"tokens":["$llm_prompt_tokens","$llm_cached_tokens",'
        '"$llm_completion_tokens","$llm_reasoning_tokens",'
        '"$llm_total_tokens"],"source":"$llm_usage_source",'
        '"ttft":"$llm_ttft","finish":"$llm_finish_reason",'
        '"end":"$llm_stream_end","counted":"$counted","known":"$known"}';
    access_log %%DIR%%/who.log who;
    access_log %%DIR%%/access.log kit;

    server {
        listen 127.0.0.1:%%PORT%%;
        root %%SITE%%;

        location /pass/ { llm_pass; }

        location /plain/ { proxy_pass http://pool/; }
        location /on/ { llm_meter on; proxy_pass http://pool/; }
        location /unbuffered/ {
            llm_meter on;
            proxy_buffering off;
            proxy_pass http://pool/;
        }
        location /spill/ {
            llm_meter on;
            proxy_buffers 2 4k;
            proxy_buffer_size 4k;
            proxy_busy_buffers_size 4k;
            limit_rate 2m;              # the first second's 2 MB are free
            proxy_pass http://pool/;
        }
        location /sendfile/ {
            sendfile on;
            llm_meter on;
            proxy_buffers 2 4k;
            proxy_buffer_size 4k;
            proxy_busy_buffers_size 4k;
            limit_rate 2m;
            proxy_pass http://pool/;
        }
        location /cached/ {
            llm_meter on;
            sendfile on;
            proxy_cache cache;
            proxy_cache_methods POST;
            proxy_cache_key $request_uri|$request_body;
            proxy_cache_valid 200 1m;
            add_header X-Cache $upstream_cache_status;
            proxy_pass http://pool/;
        }
        location /gzipped/ {
            llm_meter on;
            gzip on;
            gzip_types *;
            gzip_min_length 1;
            proxy_pass http://pool/;
        }

        # redirects
        location /other/ {
            llm_meter on;
            error_page 502 = @other;
            proxy_pass http://127.0.0.1:%%DEAD%%/;
        }
        location @other { proxy_pass http://pool; }
        location /metered-other/ {
            llm_meter on;
            error_page 502 = @metered;
            proxy_pass http://127.0.0.1:%%DEAD%%/;
        }
        location @metered { llm_meter on; proxy_pass http://pool; }
        location /pass-other/ { error_page 502 = @other; llm_pass dead; }
        location /pass-metered/ { error_page 502 = @metered; llm_pass dead; }
        location /pass-text/ { error_page 502 = @text; llm_pass dead; }
        location @text { return 200 "text"; }
        location /files/ { internal; llm_meter on; }
        location /try/ { llm_meter on; try_files /none @metered; }
        location /try-plain/ { llm_meter on; try_files /none @other; }

        # variables
        location /headers/ {
            llm_meter on;
            add_header X-Operation $llm_operation always;
            add_header X-Tokens "$llm_total_tokens" always;
            add_header X-End "$llm_stream_end" always;
            add_header X-Counted $counted always;
            proxy_pass http://pool/;
        }
        location /headers-pass/ {
            add_header X-Operation $llm_operation always;
            add_header X-Model $llm_model always;
            add_header X-Provider $llm_provider always;
            add_header X-Tokens "$llm_total_tokens" always;
            add_header X-End "$llm_stream_end" always;
            llm_pass;
        }
        location /early/ {
            llm_meter on;
            set $early "none";
            if ($llm_operation) { set $early "some"; }
            if ($llm_total_tokens) { set $early "some"; }
            add_header X-Early $early;
            proxy_pass http://pool/;
        }
        location /unused/ { return 200 "[$llm_operation$llm_model$known]"; }

        # subrequests
        location /asks/ {
            auth_request /asked/v1/chat/completions;
            proxy_pass http://pool/;
        }
        location /asks-metered/ {
            auth_request /asked/v1/chat/completions;
            llm_meter on;
            proxy_pass http://pool/;
        }
        location /asked/ {
            internal;
            llm_meter on;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass http://pool/;
        }
        location /mirrors/ {
            mirror /asked/v1/chat/completions;
            mirror_request_body off;
            llm_meter on;
            proxy_pass http://pool/;
        }
        location = /page.html {
            ssi on;
            llm_meter on;
            alias %%SITE%%/files/page.html;
        }
        location = /ssi/chat/completions {
            ssi on;
            ssi_types *;
            llm_meter on;
            proxy_pass http://pool/;
        }
        location = /part {
            llm_meter on;
            proxy_method POST;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass http://pool/v1/chat/completions;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;
        large_client_header_buffers 2 2k;
        llm_meter on;
        location /inherits/ { proxy_pass http://pool/; }
        location /off/ {
            llm_meter off;
            proxy_pass http://pool/;
            location /off/inherited/ { proxy_pass http://pool/; }
        }
        location /if/ {
            if ($arg_a) { proxy_pass http://pool; }
            proxy_pass http://pool/;
        }
    }
CONF

my $tags = 0;

sub ask {
    my ($where, $do, %opt) = @_;
    my $body = $opt{body} // canon({ model => $opt{model} || 'm',
        ($opt{stream} ? (stream => JSON::PP::true) : ()),
        metadata => ref $do ? $do : { do => $do } });
    return request($opt{to} || $gw, method => $opt{method} || 'POST',
                   path => $where =~ m{^/} ? $where
                           : "/$where/v1" . ($opt{path} || $CHAT),
                   headers => [ [ 'X-Tag', 'tag-' . ++$tags ],
                                [ 'Content-Type', 'application/json' ],
                                @{ $opt{headers} || [] } ],
                   ($opt{method} || '') eq 'GET' ? () : (body => $body));
}

# The access log of the last request: less its last member, which is $llm_ttft.
sub logged {
    my ($tag) = @_;
    $tag ||= $tags;
    my ($line, $ttft) = $gw->wait_log(qr/^tag-$tag\|/) =~ /\|(.*)\|(.*)$/;
    return wantarray ? ($line, $ttft) : $line;
}

my $nothing = '-|-|-|-|-|-|-|-|-';
my $known = '9|4|13|3|2';


# every way an answer takes

my @ways = (
    [ document   => $CHAT, "chat|complete|provider|$known|stop" ],
    [ chunked    => $CHAT, "chat|complete|provider|$known|stop" ],
    [ closed     => $CHAT, "chat|complete|provider|$known|stop" ],
    [ big        => $CHAT, "chat|complete|provider|$known|stop" ],
    [ stream     => $CHAT, "chat|complete|provider|$known|stop" ],
    [ document   => '/completions',
      "completions|complete|provider|$known|stop" ],
    [ responses  => '/responses',
      'responses|complete|provider|7|5|12|1|2|incomplete' ],
    [ events     => '/responses',
      'responses|complete|provider|7|5|12|1|2|incomplete' ],
    [ embeddings => '/embeddings', 'embeddings|complete|provider|8|-|8|-|-|-' ],
    [ gzip       => $CHAT, 'chat|complete|unknown|-|-|-|-|-|-' ],
    [ html       => $CHAT, 'chat|complete|unknown|-|-|-|-|-|-' ],
    [ garbage    => $CHAT, 'chat|complete|unknown|-|-|-|-|-|-' ],
    [ other      => $CHAT, 'chat|complete|estimated|-|-|-|-|-|-' ],
    [ busy       => $CHAT, 'chat|-|none|-|-|-|-|-|-' ],
    [ 'no done'  => $CHAT, "chat|complete|provider|$known|stop" ],
    [ document   => '/elsewhere', '-|-|none|-|-|-|-|-|-' ],
);

for (@ways) {
    my ($do, $path, $log) = @$_;

    my $plain = ask('plain', $do, path => $path);
    is(logged(), $nothing, "$do, $path: without llm_meter nothing is noted");

    for my $where (qw(on unbuffered spill sendfile cached cached)) {
        my $r = ask($where, $do, path => $path);
        ok($r->status == $plain->status && $r->body eq $plain->body
           && $r->clean_end && ($r->header('Content-Length') // '')
                               eq ($plain->header('Content-Length') // ''),
           "$do, $where: every byte is as it was");
        my ($line, $ttft) = logged();
        is($line, $log, '  and usage is in the log');
        like($ttft, $log =~ /\|complete/ ? qr/^\d+\.\d{3}$/ : qr/^-$/,
             '  and the time to the first byte');
    }
}

{
    my $c = LLM::Client->connect($gw);
    $c->send_request(method => 'POST', path => "/unbuffered/v1$CHAT",
                     headers => [ [ 'X-Tag', 'tag-' . ++$tags ] ],
                     body => canon({ metadata => { do => 'gated' } }));
    my @events = map { $c->read_event } 1 .. 3;
    is($events[2]{data}, '{"choices":[{"index":0,"delta":{"content":"tok3"}}]}',
       'events of a stream leave as they come');
    $p->open_gate;
    ok($c->read_response->body eq $stream, '  to the last one');
    $c->close;
    is(logged(), "chat|complete|provider|$known|stop", '  and count');

    my $before = $p->count;
    my $r;
    for (1, 2) {
        $r = ask('cached', 'document', model => 'once');
        is(logged(), "chat|complete|provider|$known|stop",
           $_ == 1 ? 'an answer that proxy_cache stores is metered'
                   : '  and metered again when it is served from there');
    }
    is($r->header('X-Cache'), 'HIT', '  from the cache indeed');
    is($p->count - $before, 1, '  and asked for once');

    for (1, 2) {
        $r = ask('cached', 'big', model => 'once');
        is(logged(), "chat|complete|provider|$known|stop",
           '  a large one, too');
    }
    is($r->header('X-Cache'), 'HIT', '  from a file');
    ok($r->body eq canon($BIG), '  byte for byte');

    like(slurp($gw->dir . '/error.log'), qr/buffered to a temporary file/,
         'large answers went through a temp file');

    $r = ask('gzipped', 'document', headers => [ [ 'Accept-Encoding',
                                                   'gzip' ] ]);
    is($r->header('Content-Encoding'), 'gzip', 'what nginx codes itself');
    is(logged(), "chat|complete|provider|$known|stop", '  is read before');

    $r = ask('on', '', method => 'GET', path => '/models');
    is($r->status, 200, 'a list of models passes');
    is(logged(), 'models|complete|none|-|-|-|-|-|-', '  and has no usage');

    $r = ask('on', 'document', method => 'HEAD');
    is(logged(), 'chat|-|none|-|-|-|-|-|-', 'HEAD has no answer to read');

    $r = ask('on', 'id');
    is_deeply([ $r->header('x-request-id') ],
              [ $r->header('x-request-id') =~ /^([0-9a-f]{32})$/ ],
              'x-request-id is ours, once');
    is($r->header('x-llm-upstream-request-id'), 'theirs',
       '  the provider\'s has a name of its own');
}


# completeness

$gw->expect_error(qr/upstream prematurely closed connection/,
                  qr/Connection reset by peer/, qr/Connection refused/,
                  qr/llm_provider "\w+" cut its answer short/);

for my $where (qw(on unbuffered)) {
    for ([ 'cut length', 'truncated|estimated', 0 ],
         [ 'cut close', 'truncated|estimated', 1 ],
         [ 'cut chunk', 'truncated|estimated', 0 ],
         [ 'cut stream', 'truncated|estimated', 1 ],
         [ 'cut reset', 'truncated|estimated', 0 ],
         [ 'failing', 'error|estimated', 1 ])
    {
        my ($do, $log, $clean) = @$_;
        my $r = ask($where, $do);
        is($r->clean_end, $clean, "$where, $do: the end is as without us");
        is(logged(), "chat|$log|-|-|-|-|-|-", '  and known for what it is');
    }

    my $c = LLM::Client->connect($gw);
    $c->send_request(method => 'POST', path => "/$where/v1$CHAT",
                     headers => [ [ 'X-Tag', 'tag-' . ++$tags ] ],
                     body => canon({ metadata => { do => 'endless' } }));
    $c->read_until(qr/(?:tok.*){3}/s);
    $c->reset;
    is(logged(), 'chat|aborted|estimated|-|-|-|-|-|-',
       "$where: a client that leaves has aborted");
}


# REQ-11

my $CHUNK = '{"choices":[{"delta":{}}],"usage":';
my $two = '"prompt_tokens":9,"completion_tokens":4';
my $all = "{$two,\"total_tokens\":13}";

my @shapes = (
    [ 'beside the finish reason', 'provider|9|4|13',
      "{\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":$all}" ],
    [ 'in a chunk of its own', 'provider|9|4|13',
      "{\"choices\":[],\"usage\":$all}" ],
    [ 'without choices', 'provider|9|4|13', "{\"usage\":$all}" ],
    [ 'with an empty choice', 'provider|9|4|13', "$CHUNK$all}" ],
    [ 'in x_groq', 'provider|9|4|13',
      "{\"choices\":[{\"delta\":{}}],\"x_groq\":{\"usage\":$all}}" ],
    [ 'null on every chunk', 'estimated|-|-|-', map { $CHUNK . 'null}' } 1, 2 ],
    [ 'null, then given', 'provider|9|4|13', "${CHUNK}null}",
      "$CHUNK$all}", "${CHUNK}null}" ],
    [ 'running, the last one wins', 'provider|9|4|13',
      map { "$CHUNK\{\"prompt_tokens\":9,\"completion_tokens\":$_}}" }
          1 .. 4 ],
    [ 'without a total', 'provider|9|4|13', "$CHUNK\{$two}}" ],
    [ 'absent', 'estimated|-|-|-', '{"choices":[{"delta":{}}]}' ],
    [ 'an empty object', 'estimated|-|-|-', "$CHUNK\{}}" ],
    [ 'partly null', 'provider|9|-|9',
      "$CHUNK\{\"prompt_tokens\":9,\"completion_tokens\":null}}" ],
    [ 'up to 2^20', 'provider|1048576|0|1048576',
      "$CHUNK\{\"prompt_tokens\":1048576,\"completion_tokens\":0}}" ],
    map { [ "of $_: left out", 'provider|9|-|9',
            "$CHUNK\{\"prompt_tokens\":9,\"completion_tokens\":$_}}" ] }
        -1, '4.0', '4e0', '"4"', '9007199254740993', 'true', '[4]',
);

# llm_pass knows the request, and estimates what the usage lacks.
sub usage_of {
    my ($where) = @_;
    my $line = logged() =~ s/(?:\|[^|]*){3}$//r;
    return $line if $where ne 'pass';
    $line =~ s{\|estimated\|(\d+)\|(\d+)\|(\d+)$}
              {$1 > 0 && $1 + $2 == $3 ? '|estimated|~|~|~' : $&}e;
    $line =~ s{\|provider\|9\|(\d+)\|(\d+)$}
              {9 + $1 == $2 && $1 < 4 ? '|provider|9|-|9' : $&}e;
    return $line;
}

sub for_place {
    my ($log, $where) = @_;
    return $log if $where ne 'pass';
    return $log =~ s/estimated\|-\|-\|-/estimated|~|~|~/r;
}

for (@shapes) {
    my ($name, $log, @data) = @$_;
    my $bytes = join '', map({ "data: $_\n\n" } @data), $finish, $DONE;

    for my $where (qw(on unbuffered pass)) {
        for my $every (0, 1) {
            my $r = ask($where, { bytes => $bytes, every => $every },
                        stream => 1);
            is(usage_of($where), "chat|complete|" . for_place($log, $where),
               "REQ-11: $where: usage $name"
               . ($every ? ', in single bytes' : ''));
            ok($r->body eq $bytes, '  untouched') if $where ne 'pass';
        }
    }

    # without choices a document is no answer
    next if @data > 1 || $data[0] !~ /"choices":\[\{/;

    for my $where (qw(on pass)) {
        ask($where, { bytes => $data[0], type => 'application/json' });
        is(usage_of($where), "chat|complete|" . for_place($log, $where),
           "REQ-11: $where: usage $name, in JSON");
    }
}


# redirects

for ([ 'other', 'chat|-|none|-|-|-|-|-|-', 'error_page to another location' ],
     [ 'metered-other', "chat|complete|provider|$known|stop",
       'error_page to a metered location' ],
     [ 'pass-other', 'chat|-|none|-|-|-|-|-|-', 'from llm_pass elsewhere' ],
     [ 'pass-metered', "chat|complete|provider|$known|stop",
       'from llm_pass to a metered location' ],
     [ 'pass-text', 'chat|-|none|-|-|-|-|-|-', 'from llm_pass to a text' ],
     [ 'try', "chat|complete|provider|$known|stop", 'try_files, metered' ],
     [ 'try-plain', 'chat|-|none|-|-|-|-|-|-', 'try_files elsewhere' ])
{
    my ($where, $log, $name) = @$_;
    my $r = ask($where, 'document');
    is($r->status, 200, "$name is served");
    is(logged(), $log, '  and the log knows what was asked');
}

{
    my $r = ask('on', 'accel');
    is($r->body, canon($DOCUMENT), 'X-Accel-Redirect is followed');
    is(logged(), "chat|complete|provider|$known|stop", '  and metered');
}


# variables, early and late

{
    my $r = ask('headers', 'stream');
    is($r->header('X-Operation'), 'chat', 'add_header: what is known');
    is($r->header($_), undef, "  $_ is not, and absent") for qw(X-Tokens X-End);
    is($r->header('X-Counted'), 'no', '  a map of it says so');
    is(logged(), "chat|complete|provider|$known|stop", '  the log has it all');

    $r = ask('headers-pass', 'stream', stream => 1);
    is_deeply([ map { $r->header("X-$_") } qw(Operation Model Provider) ],
              [ qw(chat m p) ], 'llm_pass, add_header: what is known');
    is($r->header($_), undef, "  $_ is not, and absent") for qw(X-Tokens X-End);
    is(logged(), "chat|complete|provider|$known|stop", '  the log has it all');

    $r = ask('early', 'document');
    is($r->header('X-Early'), 'none',
       'in "if", before they apply, variables are not found');

    $r = ask('/unused/', 'document');
    is($r->body, '[none]', 'and where they never apply');
    is(logged(), $nothing, '  in the log, too');
}


# subrequests

{
    my $before = $p->count;
    my $r = ask('asks', 'document');
    is($r->status, 200, 'auth_request of a metered location');
    is($p->count - $before, 2, '  was asked');
    is(logged(), $nothing, '  and not metered');

    ask('asks-metered', 'responses', path => '/responses');
    is(logged(), 'responses|complete|provider|7|5|12|1|2|incomplete',
       '  nor does it disturb what is');

    $before = $p->count;
    ask('mirrors', 'responses', path => '/responses');
    is(logged(), 'responses|complete|provider|7|5|12|1|2|incomplete',
       'a mirror is not metered');
    is($p->wait_requests($before + 2) - $before, 2, '  but asked');

    $r = ask('/page.html', '', method => 'GET');
    is($r->body, canon($DOCUMENT) . 'end', 'SSI includes a metered location');
    is(logged(), '-|-|none|-|-|-|-|-|-', '  which is not metered');

    my $page = '{"choices":[],"usage":{"prompt_tokens":1,"x":'
             . '"<!--# include virtual="/part" -->","completion_tokens":2}}';
    $r = ask('/ssi/chat/completions', { bytes => $page,
                                        type => 'application/json' });
    like($r->body, qr/hello.*"completion_tokens":2/, '  in a metered answer');
    is(logged() =~ s/\|.*//r, 'chat', '  whose own bytes count');
}


# inheritance

for ([ inherits => 1 ], [ off => 0 ], [ 'off/inherited' => 0 ], [ if => 1 ]) {
    my ($where, $on) = @$_;
    ask($where, 'document', to => $gw->port(1));
    is(logged(), $on ? "chat|complete|provider|$known|stop" : $nothing,
       "llm_meter of the server: /$where/");
}
ask("/if/v1$CHAT?a=1", 'document', to => $gw->port(1));
is(logged(), "chat|complete|provider|$known|stop", '  and inside "if"');

for ([ 'a bad request line', "NONSENSE\r\n\r\n", 400 ],
     [ 'a path too long', 'GET /' . 'x' x 3000 . " HTTP/1.1\r\n\r\n", 414 ])
{
    my ($what, $raw, $status) = @$_;
    my $r = request($gw->port(1), raw => $raw);
    is($r->status, $status, "REQ-43: $what, where the server is metered");
    is(ref eval { $r->json->{error} }, 'HASH', '  is an error of OpenAI\'s');
}

{
    my $http = LLM::Nginx->new(vars => { P => $p },
        access_format => '$http_x_tag|$llm_operation|$llm_ttft',
        http => <<'CONF');
    llm_meter on;
    server {
        listen 127.0.0.1:%%PORT%%;
        location / { proxy_pass http://127.0.0.1:%%P%%; }
        location /off/ { llm_meter off; proxy_pass http://127.0.0.1:%%P%%/; }
    }
CONF
    ask("/v1$CHAT", 'document', to => $http);
    like($http->wait_log(qr/^tag-$tags\|/), qr/\|chat\|\d/,
         'llm_meter of http is inherited, and needs nothing else');
    ask("/off/v1$CHAT", 'document', to => $http);
    like($http->wait_log(qr/^tag-$tags\|/), qr/\|-\|-$/, '  and turned off');
    $http->done;
}


# REQ-42, as far as one provider after another goes

sub who {
    my ($line) = wait_for(sub { slurp($gw->dir . '/who.log')
                                =~ /^(\{"tag":"tag-$tags".*\})$/m },
                          5, "line of tag-$tags");
    my @lines = slurp($gw->dir . '/who.log') =~ /"tag":"tag-$tags"/g;
    is(scalar @lines, 1, '  has one line in the access log');
    ($line) = slurp($gw->dir . '/who.log')
              =~ /^(\{"tag":"tag-$tags".*\})$/m;
    return JSON::PP->new->decode($line);
}

{
    my $r = ask('pass', 'id', model => 'both');
    my $who = who();
    is($who->{id}, $r->header('x-request-id'), 'REQ-42: it has our id');
    like(delete $who->{attempts}, qr/^f:503:\d+ms,p:200:\d+ms$/,
         '  who was asked, and what became of it');
    like(delete $who->{ttft}, qr/^\d+\.\d{3}$/, '  how long it took');
    is_deeply($who, {
        tag => "tag-$tags", id => $who->{id}, status => '200',
        operation => 'chat', model => 'both', provider => 'p',
        target => 'theirs-p', stream => '0', upstream => '200',
        upstream_id => 'theirs', tokens => [ 9, 3, 4, 2, 13 ],
        source => 'provider', finish => 'stop', end => 'complete',
        counted => 'yes', known => 'chat' }, '  and all the rest');
    is($r->header('x-llm-upstream-request-id'), 'theirs',
       '  the client has the provider\'s id');
    is($r->body, canon($DOCUMENT), '  and its bytes');

    $r = ask('pass', 'cut chunk', stream => 1);
    $who = who();
    is_deeply([ @$who{qw(status end source finish stream counted)} ],
              [ '200', 'truncated', 'estimated', '', '1', 'no' ],
              'REQ-42: a 200 that did not succeed is told apart');

    ask('pass-metered', 'id');
    $who = who();
    like($who->{attempts}, qr/^dead:connect:\d+ms$/,
         'REQ-42: after a redirect: the attempts');
    is_deeply([ @$who{qw(status model upstream_id source end)} ],
              [ qw(200 m theirs provider complete) ], '  and the rest');
}

$gw->done;
done_testing;
