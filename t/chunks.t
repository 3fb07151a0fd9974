#!/usr/bin/perl

# A provider may cut its answer into chunks of any size, down to a byte: the
# client gets the same bytes, the answer is read all the same, and the worker
# needs no more CPU for it than proxy_pass does.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Metrics;

my $CHAT = '/v1/chat/completions';
my $SPEECH = '/v1/audio/speech';
my %HEAD = (id => 'c', model => 'up');
my %USAGE = (usage => { prompt_tokens => 9, completion_tokens => 4,
                        total_tokens => 13 });

sub event { return 'data: ' . canon($_[0]) . "\n\n" }

sub delta {
    my ($text, $finish) = @_;
    return event({ %HEAD, object => 'chat.completion.chunk',
                   choices => [ { index => 0, finish_reason => $finish,
                                  delta => { content => $text } } ] });
}

my $USAGE = event({ %HEAD, choices => [], %USAGE });
my $END = delta('', 'stop') . $USAGE . "data: [DONE]\n\n";

my %BODY = (
    json => sub {
        return canon({ %HEAD, object => 'chat.completion',
            choices => [ { index => 0, finish_reason => 'stop', message => {
                role => 'assistant', content => 'x' x $_[0] } } ], %USAGE });
    },
    events => sub { return delta('some text') x ($_[0] / 80) . $END },
    'one event' => sub { return delta('x' x $_[0]) . $END },
    comments => sub { return delta('a') . ": x\n\n" x ($_[0] / 5) . $END },
    other => sub { return 'x' x $_[0] },
);
my %TYPE = (json => 'application/json', other => 'application/octet-stream');

# "sizes" are those of the chunks, in turns.

my %made;

sub made {
    my ($kind, $size) = @_;
    return $made{"$kind $size"} //= $kind eq 'cut'
        ? delta('some text') x ($size / 80) : $BODY{$kind}->($size);
}

sub chunks {
    my ($body, @sizes) = @_;
    my ($out, $pos, $i) = ('', 0, 0);
    while ($pos < length $body) {
        my $part = substr $body, $pos, $sizes[$i++ % @sizes];
        $pos += length $part;
        $out .= sprintf "%x\r\n%s\r\n", length $part, $part;
    }
    return $out;
}

my $p = LLM::Fake->new(answer => sub {
    my ($req) = @_;
    my ($kind, $size, $sizes) = split /;/, $req->{json}{user};
    my $out = "HTTP/1.1 200 OK\r\nContent-Type: "
        . ($TYPE{$kind} // 'text/event-stream')
        . "\r\nTransfer-Encoding: chunked\r\n\r\n"
        . chunks(made($kind, $size), split /,/, $sizes);
    return (raw($out . "zz\r\n"), fin) if $kind eq 'cut';
    return raw($out . "0\r\n\r\n");
});

my $gw = LLM::Nginx->new(vars => { P => $p },
                         access_format => '$llm_total_tokens $llm_usage_source',
                         http => <<'CONF');
    llm_provider p { endpoint http://127.0.0.1:%%P%%/v1; }
    llm_model m { target p; }
    upstream p { server 127.0.0.1:%%P%%; keepalive 4; }
    server {
        listen 127.0.0.1:%%PORT%%;
        location / { llm_pass; }
        location /plain/ {
            access_log off;
            proxy_pass http://p/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }
        location = /metrics { access_log off; llm_metrics; }
    }
CONF

sub ask {
    my ($where, $kind, $size, $sizes) = @_;
    my $path = $kind eq 'other' ? $SPEECH : $CHAT;
    return post_json($gw, "$where$path",
        { model => 'm', messages => [ { role => 'user', content => 'Hi' } ],
          user => join(';', $kind, $size, $sizes),
          $kind =~ /json|other/ ? () : (stream => JSON::PP::true) },
        timeout => 60);
}

# Events without the usage chunk, which this client has not asked for.

sub expected {
    my ($kind, $size) = @_;
    my $body = made($kind, $size);
    $body =~ s/\Q$USAGE\E// unless $kind =~ /json|other/;
    return $body;
}

my $answers = 0;

for my $kind (sort keys %BODY) {
    for my $sizes ('1', '2,3', '1,511,512,513', '600,1', '5000,1,1,1',
                   '70000,1')
    {
        my $r = ask('', $kind, 200_000, $sizes);
        ok($r->status == 200 && $r->clean_end
           && $r->body eq expected($kind, 200_000),
           "$kind in chunks of $sizes: the client gets the same bytes");
        $answers++;

        next if $kind eq 'other';
        wait_for(sub { $answers == (() = $gw->access_log =~ /\n/g) }, 5,
                 'a log line');
        my $line = (split /\n/, $gw->access_log)[-1];
        is($line, '13 provider', '  its usage is read');
    }
}

{
    my $r = ask('', 'cut', 200_000, '1');
    my $sent = made('cut', 200_000);
    is(substr($r->body, 0, length $sent), $sent,
       'an invalid chunk behind small ones: all before it is sent');
    like(substr($r->body, length $sent), qr/\Adata: \{"error":/,
         '  then an error event');
    $gw->expect_error(qr/sent an invalid chunk/, qr/cut its answer short/);
}


# What a byte costs

my ($worker) = $gw->worker_pids;

sub cpu {
    my ($where, $kind) = @_;
    my $before = cpu_seconds($worker);
    my $r = ask($where, $kind, 1_000_000, 1);
    is($r->status, 200, "$kind of 1 MB in single bytes, "
                        . ($where ? 'proxy_pass' : 'llm_pass'));
    return cpu_seconds($worker) - $before;
}

for my $kind (sort keys %BODY) {
    my ($plain, $ours) = (cpu('/plain', $kind), cpu('', $kind));
    cmp_ok($ours, '<=', 2 * $plain + 0.1 * slow(),
           '  takes no more than twice the CPU');
}

$gw->done;
done_testing;
