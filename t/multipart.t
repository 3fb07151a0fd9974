#!/usr/bin/perl

# Operations with files: the model stands in a form's field, is replaced
# there, and nothing else changes (REQ-45), in memory or in a file, and for
# the next provider, too (REQ-24).  Speech is an answer that nobody reads.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $N = "\r\n";

# bytes of every kind, some of them like a boundary

my $AUDIO = join '', map { chr($_ % 256) } 0 .. 4095;
$AUDIO .= "$N--$N--boundar$N--BOUNDARY$N--other--$N" . 'x--boundary' . "$N-";

my $TEXT = '{"text":"hi","usage":{"type":"tokens","input_tokens":14,'
         . '"output_tokens":45,"total_tokens":59}}';

my $IMAGE = $TEXT =~ s/"text":"hi"/"data":[{"url":"hi"}]/r;

my $SPEECH = join '', map { chr($_ * 7 % 256) } 0 .. 199_999;

sub answer {
    my ($req) = @_;

    return (header('Content-Type', 'audio/mpeg'), body($SPEECH))
        if $req->{path} =~ /speech/ && ($req->{json}{voice} // '') eq 'whole';

    # {"error": is what JSON would start with
    return (header('Content-Type', 'audio/mpeg'), chunk('{"error":'),
            gate('speech'), map { chunk($_) } unpack '(a7001)*', $SPEECH)
        if $req->{path} =~ /speech/ && ($req->{json}{voice} // '') eq 'gate';

    return (header('Content-Type', 'audio/mpeg'), close_delimited,
            map { chunk($_) } unpack '(a50000)*', $SPEECH)
        if $req->{path} =~ /speech/;

    return (sse({ type => 'transcript.text.delta', delta => 'hi' },
                { type => 'transcript.text.done', text => 'hi',
                  usage => { input_tokens => 14, output_tokens => 45 } }))
        if $req->{body} =~ /name="stream"$N${N}true$N/;

    return (header('Content-Type', 'text/plain; charset=utf-8'),
            body("1\n00:00:00,000 --> 00:00:01,000\nhi\n"))
        if $req->{body} =~ /name="response_format"$N${N}srt$N/;

    return (header('Content-Type', 'application/json'),
            body($req->{path} =~ /images/ ? $IMAGE : $TEXT));
}

my $p = LLM::Fake->new(answer => \&answer);
my $down = LLM::Fake->new(answer => sub { (status(503), json({})) });
my $cut = LLM::Fake->new(answer => sub { rst });

my $gw = LLM::Nginx->new(vars => { P => $p, DOWN => $down, CUT => $cut },
    access_format => '$llm_operation $llm_model $llm_target_model '
        . '$llm_stream $llm_attempts $llm_usage_source $llm_total_tokens '
        . '$llm_stream_end $http_x_tag',
    server => <<'CONF',
    client_max_body_size 32m;
    client_body_buffer_size 64k;
    location /v1/ { llm_pass; }
    location /fixed/v1/ { llm_pass fixed; }
    location /file/v1/ { client_body_in_file_only on; llm_pass; }
CONF
    http => <<'CONF');
    llm_provider p { endpoint http://127.0.0.1:%%P%%/base; key sk-p; }
    llm_provider down { endpoint http://127.0.0.1:%%DOWN%%; key sk-down; }
    llm_provider cut { endpoint http://127.0.0.1:%%CUT%%; key sk-cut; }

    llm_model whisper-1 { target p whisper-large-v3-turbo; }
    llm_model gpt-4o-transcribe { target p tr; }
    llm_model same { target p; }
    llm_model fixed { target p the-model; }
    llm_model moved { target down d weight=99;
                      target cut a-longer-name weight=9;
                      target p m; }
    llm_model default { target p; }
CONF

# that of "cut"
$gw->expect_error(qr/recv\(\) failed/);

my @FORMS = map { "/v1/$_" } qw(audio/transcriptions audio/translations
                                images/edits);

my %sent = ('whisper-1' => 'whisper-large-v3-turbo', same => 'same',
            'gpt-4o-transcribe' => 'tr');


# wherever the model stands, in all operations

for my $path (@FORMS) {
    for my $model (sort keys %sent) {
        my $file = file('file', $AUDIO);
        for ([ 'behind the file', [ $file, field('model', '@') ] ],
             [ 'before it', [ field('model', '@'), $file ] ],
             [ 'in between', [ file('image[]', $AUDIO), field('n', 1),
                               field('model', '@'), field('prompt', "\xc3\xa4"),
                               file('image[]', $AUDIO) ] ])
        {
            my ($where, $parts) = @$_;
            my $form = form(@$parts);
            spliced($path, with($form, $model), with($form, $sent{$model}),
                    "REQ-45 $path: $model $where");
        }
    }
}

is(($p->requests)[-1]{path}, '/base/images/edits', 'sent to its own path');


# the bodies of the SDKs: httpx, undici, curl

my $hex = 'd74496d66958873ed74496d66958873e';
for ([ 'openai-python', $hex,
       "--$hex${N}Content-Disposition: form-data; name=\"model\"$N$N\@$N"
       . "--$hex${N}Content-Disposition: form-data; name=\"temperature\"$N$N"
       . "0$N--$hex${N}Content-Disposition: form-data; name=\"file\"; "
       . "filename=\"a.mp3\"${N}Content-Type: audio/mpeg$N$N$AUDIO$N"
       . "--$hex--$N" ],
     [ 'openai-node', '----formdata-undici-027183642581',
       "------formdata-undici-027183642581$N"
       . "Content-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"$N"
       . "Content-Type: application/octet-stream$N$N$AUDIO$N"
       . "------formdata-undici-027183642581$N"
       . "Content-Disposition: form-data; name=\"model\"$N$N\@$N"
       . "------formdata-undici-027183642581--$N$N" ],
     [ 'curl', '------------------------d74496d66958873e',
       "--------------------------d74496d66958873e$N"
       . "Content-Disposition: form-data; name=\"file\"; filename=\"a\\\".mp3\""
       . "${N}Content-Type: audio/mpeg$N$N$AUDIO$N"
       . "--------------------------d74496d66958873e$N"
       . "Content-Disposition: form-data; name=\"model\"$N$N\@$N"
       . "--------------------------d74496d66958873e--$N" ])
{
    my ($client, $boundary, $form) = @$_;
    spliced($FORMS[0], with($form, 'whisper-1'),
            with($form, $sent{'whisper-1'}), "REQ-45 a form of $client",
            type => "multipart/form-data; boundary=$boundary");
}

for my $type ('multipart/form-data; boundary="boundary"',
              'Multipart/Form-Data;charset=utf-8;Boundary=boundary')
{
    my $form = form(field('model', '@'));
    spliced($FORMS[0], with($form, 'whisper-1'),
            with($form, $sent{'whisper-1'}), "REQ-45 $type", type => $type);
}


# in memory, in a file, in chunks

{
    my $big = $AUDIO x 1500;
    for my $model (sort keys %sent) {
        my $form = form(file('file', $big), field('model', '@'));
        my ($body, $want) = map { with($form, $_) } $model, $sent{$model};
        spliced('/v1/audio/transcriptions', $body, $want,
                "REQ-45 $model behind 6 MB");
        spliced('/v1/audio/transcriptions', $body, $want,
                "REQ-45 $model behind 6 MB in chunks", chunked => 100_000);
    }
    my $form = form(file('file', $AUDIO), field('model', '@'));
    spliced('/file/v1/audio/transcriptions', with($form, 'whisper-1'),
            with($form, $sent{'whisper-1'}), 'REQ-45 a file on disk');
}


# the next provider gets the same file

for my $size (1, 1500) {
    my $form = form(file('file', $AUDIO x $size), field('model', '@'),
                    field('stream', 'false'));
    my $tag = "moved-$size";
    my $r = send_form($FORMS[0], with($form, 'moved'), tag => $tag);
    is($r->status, 200, "REQ-24 two providers fail, $size");
    is($r->body, $TEXT, '  and the third one answers');

    for ([ $down, 'd' ], [ $cut, 'a-longer-name' ], [ $p, 'm' ]) {
        my ($fake, $model) = @$_;
        my $req = ($fake->requests)[-1];
        same_bytes($req->{body}, with($form, $model),
                   "REQ-24   $model has the same file");
        is($req->{headers}{'content-length'}, length $req->{body},
           '    with its length');
    }
    like($gw->wait_log(qr/\Q$tag\E$/),
         qr/^audio moved m 0 down:503:\d+ms,cut:reset:\d+ms,p:200:\d+ms /,
         '  and the log has them all');
}


# llm_pass MODEL

for ([ field('model', '@'), 'takes the client\'s place' ],
     [ '', 'is put in' ])
{
    my ($part, $what) = @$_;
    my @rest = (file('file', $AUDIO), field('language', 'en'));
    my $form = form($part ? $part : (), @rest);
    my $want = form($part ? $part : field('model', '@'), @rest);
    spliced('/fixed/v1/audio/transcriptions', with($form, 'x'),
            with($want, 'the-model'), "REQ-45 llm_pass MODEL $what");
}

spliced('/fixed/v1/audio/transcriptions', "pre${N}--boundary--",
        "pre$N" . with(form(field('model', '@')), 'the-model') =~ s/$N\z//r,
        'REQ-45 even into a form without a part');


# what comes back

{
    my $tag = 'usage';
    my $r = send_form($FORMS[0], with(form(field('model', '@')), 'same'),
                      tag => $tag);
    is($r->body, $TEXT, 'JSON passes as it is');
    like($gw->wait_log(qr/ $tag$/),
         qr/^audio same same 0 p:200:\d+ms provider 59 complete /,
         '  and is metered');

    $r = send_form($FORMS[0], with(form(field('model', '@'),
                                        field('stream', 'true')), 'same'),
                   tag => 'stream');
    is(scalar($r->sse_data), 2, 'so does a stream');
    like($gw->wait_log(qr/ stream$/), qr/^audio same same 1 .* provider 59 /,
         '  which was asked for, and is metered');
    unlike(($p->requests)[-1]{body}, qr/stream_options/,
           '  without usage being asked for');

    $r = send_form($FORMS[0], with(form(field('model', '@'),
                                        field('response_format', 'srt')),
                                   'same'));
    like($r->body, qr/^1\n00:00:00,000 --> /, 'and text');
    is($r->header('Content-Type'), 'text/plain; charset=utf-8',
       '  as what it is');
}


# these operations take JSON, too

{
    my $r = post_json($gw, '/v1/images/edits',
                      '{"model":"whisper-1","images":[{"file_id":"f"}]}');
    is($r->status, 200, 'images/edits takes JSON');
    is(($p->requests)[-1]{body}, '{"model":"whisper-large-v3-turbo",'
       . '"images":[{"file_id":"f"}]}', 'REQ-45   and the model is replaced');

    my $before = $p->count;
    $r = post_json($gw, '/v1/images/edits', '{"model":"x"');
    is($r->json->{error}{code}, 'invalid_json', '  if it is JSON');

    error_is(send_form('/v1/images/edits', '{"model":"x"}'), 'invalid_form',
             undef, 'JSON for a form');
    error_is(request($gw, method => 'POST', path => '/v1/audio/speech',
                     headers => [ [ 'Content-Type',
                                    'multipart/form-data; boundary=b' ] ],
                     body => form(field('model', 'x'))),
             'unsupported_content_type', undef, 'a form for JSON', 415);
    is($p->count, $before, '  which no provider sees');
}


# what is no form, or has no name

{
    my $before = $p->count;
    my $good = form(field('model', 'same'));

    for ([ 'application/x-www-form-urlencoded', 'model=same' ],
         [ 'multipart/mixed; boundary=boundary', $good ],
         [ 'text/plain', $good ],
         [ 'application/jsonx', '{"model":"same"}' ])
    {
        my ($type, $body) = @$_;
        error_is(send_form($FORMS[0], $body, type => $type),
                 'unsupported_content_type', undef, "Content-Type: $type", 415);
    }

    for ([ 'multipart/form-data', $good ],
         [ 'multipart/form-data; boundary=', $good ],
         [ 'multipart/form-data; boundary=boundary; boundary=other', $good ])
    {
        my ($type, $body) = @$_;
        error_is(send_form($FORMS[0], $body, type => $type), 'invalid_form',
                 undef, "Content-Type: $type");
    }

    error_is(request($gw, method => 'POST', path => $FORMS[0], body => $good),
             'invalid_form', undef, 'no Content-Type');
    error_is(request($gw, method => 'POST', path => $FORMS[0], body => $good,
                     headers => [ map { [ 'Content-Type',
                                  "multipart/form-data; boundary=$_" ] }
                                  qw(boundary other) ]),
             'invalid_form', undef,
             'REQ-35 two of them');

    for ([ '', 'invalid_form' ],
         [ "--other$N" . field('model', 'same') . "--other--", 'invalid_form' ],
         [ substr($good, 0, -6), 'invalid_form' ],
         [ $good =~ s/\r//gr, 'invalid_form' ],
         [ form(field('model', 'same')) . "--boundary$N"
           . field('model', 'whisper-1') . "--boundary--", 'invalid_form' ],
         [ form(field('model', 'a'), field('model', 'b')), 'duplicate_key',
           'model' ],
         [ form(file('model', 'same')), 'invalid_type', 'model' ],
         [ form(field('model', 'same'), field('stream', 'yes')),
           'invalid_type', 'stream' ],
         [ form(file('file', $AUDIO)), 'missing_model', 'model' ],
         [ form(field('model', '')), 'invalid_model', 'model' ],
         [ form(field('model', 'a b ')), 'invalid_model', 'model' ],
         [ form(field('model', 'y' x 257)), 'invalid_model', 'model' ])
    {
        my ($body, $code, $param) = @$_;
        error_is(send_form($FORMS[0], $body), $code, $param,
                 'REQ-35 ' . (substr($body, 0, 80) =~ tr/\r\n/  /r));
    }

    is($p->count, $before, 'none of these reached the provider');
}


# speech: whatever it is, it passes

for my $voice (qw(whole close)) {
    my $r = post_json($gw, '/v1/audio/speech',
                      { model => 'whisper-1', input => 'hi', voice => $voice },
                      headers => [ [ 'X-Tag', "speech-$voice" ] ]);
    is($r->status, 200, "speech, $voice");
    same_bytes($r->body, $SPEECH, '  passes as it is');
    is($r->header('Content-Type'), 'audio/mpeg', '  as what it is');
    is(($p->requests)[-1]{json}{model}, $sent{'whisper-1'},
       '  from the target\'s model');
    like($gw->wait_log(qr/ speech-$voice$/),
         qr/^audio whisper-1 \S+ 0 \S+ unknown - complete /, '  to its end');
}

{
    my $c = LLM::Client->connect($gw);
    $c->send_request(method => 'POST', path => '/v1/audio/speech',
                     headers => [ [ 'Content-Type', 'application/json' ] ],
                     body => '{"model":"same","voice":"gate"}');
    is($c->read_until(qr/:\z/), '{"error":',
       'its first bytes do not wait for the rest');
    $p->open_gate('speech');
    my $r = $c->read_response(10);
    same_bytes($r->body, '{"error":' . $SPEECH, '  and are not read as JSON');
    $c->close;
}

$gw->done;
done_testing;


sub field {
    my ($name, $value) = @_;
    return "Content-Disposition: form-data; name=\"$name\"$N$N$value$N";
}

sub file {
    my ($name, $bytes) = @_;
    return "Content-Disposition: form-data; name=\"$name\"; "
           . "filename=\"model.mp3\"${N}Content-Type: audio/mpeg$N$N$bytes$N";
}

sub form { return join('', map { "--boundary$N$_" } @_) . "--boundary--$N" }

# the form with that name for @, which is no byte of the parts' own text

sub with {
    my ($form, $name) = @_;
    return $form =~ s/$N$N\@$N/$N$N$name$N/r;
}

sub send_form {
    my ($path, $body, %opt) = @_;
    my $type = $opt{type} // 'multipart/form-data; boundary=boundary';
    return request($gw, method => 'POST', path => $path,
        headers => [ [ 'Content-Type', $type ],
                     $opt{tag} ? [ 'X-Tag', $opt{tag} ] : () ],
        $opt{chunked} ? (chunked => [ unpack "(a$opt{chunked})*", $body ])
                      : (body => $body));
}

sub spliced {
    my ($path, $body, $want, $what, %opt) = @_;

    my $r = send_form($path, $body, %opt);
    is($r->status, 200, $what) or diag($r->body);

    my $req = ($p->requests)[-1];
    same_bytes($req->{body}, $want, '  and nothing else changes');
    is($req->{headers}{'content-length'}, length $want, '  with its length');
    is($req->{headers}{'content-type'},
       $opt{type} // 'multipart/form-data; boundary=boundary',
       '  and its boundary');
}

sub same_bytes {
    my ($got, $want, $what) = @_;
    ok($got eq $want, $what)
        or diag(length($got), ' bytes, ', length($want), ' expected: ',
                substr $got, 0, 300);
}

sub error_is {
    my ($r, $code, $param, $what, $status) = @_;
    my $error = eval { $r->json->{error} } || {};
    is($r->status . ' ' . ($error->{code} // 'null') . ' '
       . ($error->{param} // 'null'),
       ($status // 400) . " $code " . ($param // 'null'), $what);
}
