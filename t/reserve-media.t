#!/usr/bin/perl

# Speech and transcriptions reserve their cost by characters and seconds, so
# that a budget holds for answers that have no usage.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use JSON::PP ();

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;

    return (header('Content-Type', 'audio/mpeg'), body('ID3'))
        if $req->{path} =~ /speech/;
    return json({ text => 'hello', usage => { type => 'duration',
                                              seconds => 100 } })
        if $req->{path} =~ /translations/;
    return json({ text => 'hello' });
});

my $dir = tempdir();

spew("$dir/prices.json", <<'JSON');
{
    "tts-1": { "input_cost_per_character": 0.000015, "mode": "audio_speech" },
    "whisper-1": { "input_cost_per_second": 0.0001,
                   "mode": "audio_transcription" },
    "gpt-tts": { "input_cost_per_token": 0.000001,
                 "output_cost_per_audio_token": 0.00001,
                 "mode": "audio_speech" }
}
JSON

my $gw = LLM::Nginx->new(
    vars => { P => $p, FILES => $dir },
    http => <<'CONF');
    client_max_body_size 64m;
    client_body_buffer_size 4m;
    llm_prices %%FILES%%/prices.json;
    llm_quota_zone z key=$http_x_who cost=0.15/day;
    llm_quota_zone t key=$http_x_who tokens=12k/day;
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model default { target p; }

    server {
        listen 127.0.0.1:%%PORT%%;
        location /v1/ { llm_quota z; llm_pass; }
        location /tokens/ { llm_quota t; llm_pass; }
    }
CONF

sub statuses {
    my ($who, $path, $n, $body, $type) = @_;
    my @status = map {
        request($gw, method => 'POST', path => $path, body => $body,
                headers => [ [ 'X-Who', $who ], [ 'Content-Type', $type ] ]
               )->status
    } 1 .. $n;
    return "@status";
}

sub speech {
    my ($model, $text) = @_;
    return (JSON::PP::encode_json({ model => $model, voice => 'a',
                                    input => $text }), 'application/json');
}

sub recording {
    my ($bytes) = @_;
    my $b = 'xxBOUNDARYxx';
    return (join('', map { "--$b\r\n$_\r\n" }
                 "Content-Disposition: form-data; name=\"model\"\r\n\r\n"
                 . 'whisper-1',
                 "Content-Disposition: form-data; name=\"file\"; "
                 . "filename=\"f.mp3\"\r\n\r\n" . "\0" x $bytes)
            . "--$b--\r\n",
            "multipart/form-data; boundary=$b");
}


# 4,000 characters are $0.06, 1,000 seconds of 16 kB are $0.1

is(statuses('a', '/v1/audio/speech', 3, speech('tts-1', 'x' x 4000)),
   '200 200 429', 'a price per character: a budget for two texts admits two');

is(statuses('b', '/v1/audio/speech', 4, speech('gpt-tts', 'x' x 4000)),
   '200 200 200 429', 'a price per audio token: the output is reserved');

is(statuses('c', '/v1/audio/transcriptions', 2, recording(16_000_000)),
   '200 429', 'a price per second, no usage: the recording is charged');

is(statuses('d', '/v1/audio/translations', 3, recording(3_200_000)),
   '200 200 200', 'a price per second, usage in seconds: these are charged');

is(statuses('e', '/tokens/audio/speech', 2, speech('tts-1', 'x' x 4000)),
   '200 200', 'tokens: a text and its speech are reserved');
is(statuses('e', '/tokens/audio/speech', 1, speech('tts-1', 'x' x 4000)),
   '429', '  and charged');

$gw->done;
done_testing;
