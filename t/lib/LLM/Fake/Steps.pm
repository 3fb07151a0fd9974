package LLM::Fake::Steps;

# The words of a fake provider's script.  Each returns a step, which is plain
# data; LLM::Fake::Server carries them out one after the other, and a step
# begins when all bytes of the one before are in the kernel.
#
# Framing follows by itself: json/body/gzip have a Content-Length; sse/chunk
# are chunked (close-delimited for HTTP/1.0); a Content-Length header of the
# script's own wins, right or wrong.  At the end of the list the answer is
# finished properly, unless fin, rst or hang ended it before.

use strict;
use warnings;

use Exporter qw(import);
use JSON::PP ();

our @EXPORT = qw(status header interim json body gzip sse chunk raw
                 head close_delimited trailer
                 fine delay gate split_every split_at quiet repeat_steps
                 fin rst hang close_after stale idle_close stop_reading);

my $JSON = JSON::PP->new->utf8->canonical;

# The head.
sub status          { return [ 'status', @_ ] }     # code, reason
sub header          { return [ 'header', @_ ] }     # name, value
sub interim         { return [ 'interim', @_ ] }    # 1xx code, [k, v]...
sub close_delimited { return [ 'close_delimited' ] }
sub head            { return [ 'head' ] }           # send it now
sub trailer         { return [ 'trailer', @_ ] }    # after the last chunk

# Whole bodies.
sub body { return [ 'body', $_[0] ] }

sub json {
    my ($data) = @_;
    return ([ 'type', 'application/json' ],
            [ 'body', ref $data ? $JSON->encode($data) : $data ]);
}

# Members of the shortest answer there is, to whatever was asked.
sub fine {
    return (choices => [ {} ], data => [ {} ], results => [ {} ],
            output => [], status => 'completed', text => 'fine');
}

sub gzip {
    my ($plain) = @_;
    require IO::Compress::Gzip;         # slow to load, seldom needed
    IO::Compress::Gzip::gzip(\$plain, \my $coded, -Time => 0);
    return ([ 'header', 'Content-Encoding', 'gzip' ], [ 'body', $coded ]);
}

# Parts of a body.  An event is a reference (JSON), a data string, or, when
# it ends in a newline, the event's bytes as they are.  Each is a write of
# its own, and its time is recorded.
sub chunk { return [ 'chunk', $_[0] ] }

sub sse {
    return ([ 'type', 'text/event-stream' ], map { [ 'event', _event($_) ] } @_);
}

sub _event {
    my ($event) = @_;
    return 'data: ' . $JSON->encode($event) . "\n\n" if ref $event;
    return $event =~ /\n\z/ ? $event : "data: $event\n\n";
}

# Bytes outside any framing.  As the first step of a script they take the
# place of the head.
sub raw { return [ 'raw', $_[0] ] }

# Time.  A gate holds the answer until the test says $fake->open_gate(name).
sub delay { return [ 'delay', $_[0] ] }
sub gate  { return [ 'gate', $_[0] // 'open' ] }

# From here on, N bytes per write; or writes that end at these offsets of the
# bytes that follow.  gap => seconds between two writes, or 'read' (default):
# the next write waits until the peer has read the one before, so the peer
# really sees these pieces.
sub split_every {
    my ($n, %opt) = @_;
    return [ 'split', { every => $n, gap => 'read', %opt } ];
}

sub split_at {
    my @at = sort { $a <=> $b } @_;
    return [ 'split', { at => \@at, gap => 'read' } ];
}

# Steps N times, or for ever with 0.  A code reference makes them anew each
# time, from the number of the round.
sub repeat_steps { my ($n, @steps) = @_; return [ 'repeat', $n, 1, @steps ] }

# No record of the writes that follow; repeat_steps(0) implies it.
sub quiet { return [ 'quiet' ] }

# Ends.
sub fin          { return [ 'fin' ] }     # FIN here and now, a cut if early
sub rst          { return [ 'rst' ] }
sub hang         { return [ 'hang' ] }    # silent until the peer closes
sub close_after  { return [ 'close_after' ] }   # a proper end, then FIN
sub stop_reading { return [ 'stop_reading' ] }

# Promise keepalive, then close: at once after the answer, or S seconds idle.
sub stale      { return [ 'idle_close', 0 ] }
sub idle_close { return [ 'idle_close', $_[0] ] }

1;
