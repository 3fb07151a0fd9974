package LLM::Response;

# One HTTP/1.1 answer, parsed as its bytes arrive.  It keeps the raw bytes,
# when each read returned how much of them, and whether the framing came to
# its proper end: a cut answer must never look like a complete one.

use strict;
use warnings;

use JSON::PP ();

# clean_end: 1 = content-length reached, last chunk seen, or close-delimited
#                and closed by FIN; 0 = anything else
# error:     undef, 'eof', 'reset', 'timeout', 'framing: ...'

sub new {
    my ($class, %opt) = @_;

    return bless {
        method => $opt{method} || 'GET',
        status => 0, reason => '', version => '',
        headers => [], trailers => [], interim => [],
        body => '', raw => '', chunks => [], marks => [],
        buf => '', state => 'head', clean_end => 0, error => undef,
        time_sent => undef, time_head => undef, time_end => undef,
    }, $class;
}

sub status    { return $_[0]{status} }
sub reason    { return $_[0]{reason} }
sub version   { return $_[0]{version} }
sub headers   { return @{ $_[0]{headers} } }      # [name, value], in order
sub trailers  { return @{ $_[0]{trailers} } }
sub interim   { return @{ $_[0]{interim} } }      # status codes of 1xx seen
sub body      { return $_[0]{body} }              # without chunk framing
sub raw       { return $_[0]{raw} }               # all bytes, 1xx included
sub chunks    { return @{ $_[0]{chunks} } }       # [time, bytes] per read
sub clean_end { return $_[0]{clean_end} }
sub error     { return $_[0]{error} }
sub done      { return $_[0]{state} eq 'done' }
sub head_done { return $_[0]{state} ne 'head' }

sub time_sent { return $_[0]{time_sent} }         # request fully written
sub time_head { return $_[0]{time_head} }         # read that ended the head
sub time_end  { return $_[0]{time_end} }          # end of the answer


# The values of a header: the first one, or all in list context.

sub header {
    my ($self, $name) = @_;
    my @values = map { $_->[1] }
                 grep { lc $_->[0] eq lc $name } @{ $self->{headers} };
    return wantarray ? @values : $values[0];
}

sub trailer {
    my ($self, $name) = @_;
    my ($field) = grep { lc $_->[0] eq lc $name } @{ $self->{trailers} };
    return $field && $field->[1];
}

sub json { return JSON::PP->new->utf8->allow_nonref->decode($_[0]{body}) }


# Server-sent events, in order: { raw, time, event, data, id, comments }.
# "time" is when the read returned that completed the event; data is undef
# for an event of comments only.  What follows the last blank line is not an
# event: see sse_rest.  The parser goes on where it stopped, so that asking
# after every read stays cheap.

sub events {
    my ($self) = @_;

    my $body = \$self->{body};
    my $list = $self->{events} ||= [];
    my $start = pos($$body) = $self->{sse_pos} || 0;
    my $eol = qr/(?>\r\n|\n|\r)/;

    while ($$body =~ /\G((?:[^\r\n]+$eol)*+)$eol/gc) {
        my ($block, $end) = ($1, pos $$body);
        my $raw = substr $$body, $start, $end - $start;
        $start = $end;
        next if $block eq '';                     # a stray blank line
        push @$list, { raw => $raw, time => $self->time_of($end),
                       _fields($block) };
    }

    $self->{sse_pos} = $start;
    return @$list;
}

sub _fields {
    my ($block) = @_;

    my %e = (event => 'message', data => undef, comments => []);
    for my $line (split /\r\n|\n|\r/, $block) {
        if ($line =~ /^:/) { push @{ $e{comments} }, substr $line, 1; next }
        my ($name, $value) = $line =~ /^([^:]*)(?:: ?(.*))?$/s;
        $value //= '';
        if ($name eq 'data') {
            $e{data} = defined $e{data} ? "$e{data}\n$value" : $value;
        } else {
            $e{$name} = $value;
        }
    }
    return %e;
}

sub sse_rest {
    my ($self) = @_;
    $self->events;
    return substr $self->{body}, $self->{sse_pos};
}

# The data strings; and those that are JSON, decoded ("[DONE]" is not).

sub sse_data { return grep { defined } map { $_->{data} } $_[0]->events }

sub sse_json {
    my $json = JSON::PP->new->utf8;
    return map { $json->decode($_) } grep { /^\s*\{/ } $_[0]->sse_data;
}

# The text of a chat completion, streamed or not.

sub text {
    my ($self) = @_;
    my $sse = ($self->header('Content-Type') // '') =~ /event-stream/;
    my @parts = $sse ? $self->sse_json : $self->json;
    return join '', map { $_->{delta}{content} // $_->{message}{content} // '' }
                    map { @{ $_->{choices} || [] } } @parts;
}


# When the read returned that brought the n-th body byte (1-based).

sub time_of {
    my ($self, $offset) = @_;
    my $marks = $self->{marks};
    my ($low, $high) = (0, scalar @$marks);
    while ($low < $high) {
        my $middle = int(($low + $high) / 2);
        if ($marks->[$middle][1] < $offset) { $low = $middle + 1 }
        else                                { $high = $middle }
    }
    return $low < @$marks ? $marks->[$low][0] : undef;
}


# Bytes that arrived at the given time.  Returns what belongs to the next
# answer on this connection, once this one is complete.

sub push_bytes {
    my ($self, $bytes, $time) = @_;

    push @{ $self->{chunks} }, [ $time, $bytes ];
    $self->{raw} .= $bytes;
    $self->{buf} .= $bytes;

    my $before = length $self->{body};
    1 while $self->{state} ne 'done' && $self->_step($time);

    if (length $self->{body} > $before) {
        push @{ $self->{marks} }, [ $time, length $self->{body} ];
    }

    return '' unless $self->{state} eq 'done';
    my $rest = $self->{buf};
    $self->{buf} = '';
    substr($self->{raw}, length($self->{raw}) - length $rest) = '';
    return $rest;
}


# The connection ended: error is undef for FIN, else 'reset', 'timeout'.

sub push_end {
    my ($self, $error, $time) = @_;

    return if $self->{state} eq 'done';

    $self->{clean_end} = !$error && $self->{state} eq 'to_eof' ? 1 : 0;
    $self->{error} //= $error || ($self->{clean_end} ? undef : 'eof');
    $self->{time_end} = $time;
    $self->{state} = 'done';
}


# For HTTP/2, where not the bytes but the client tool knows how it ended.

sub end_by_status {
    my ($self, $ok, $error, $time) = @_;
    @$self{qw(state clean_end error time_end)} =
        ('done', $ok ? 1 : 0, $ok ? undef : $error, $time);
}


# A step consumes something and returns true, or needs more bytes.

sub _step {
    my ($self, $time) = @_;
    my $step = '_' . $self->{state};
    return $self->$step($time);
}

sub _head {
    my ($self, $time) = @_;

    return 0 unless $self->{buf} =~ s/^(.*?\r?\n)\r?\n//s;
    my ($first, @lines) = split /\r?\n/, $1;

    if ($first !~ m{^(HTTP/\d(?:\.\d)?) (\d{3}) ?(.*)$}) {
        return $self->_broken("status line \"$first\"", $time);
    }
    my ($version, $status, $reason) = ($1, $2, $3);

    if ($status < 200 && $status != 101) {
        push @{ $self->{interim} }, $status;
        return 1;
    }

    @$self{qw(version status reason)} = ($version, $status, $reason);
    @{ $self->{headers} } = map { _field($_) } @lines;
    $self->{time_head} = $time;
    $self->_choose_framing($time);
    return 1;
}

sub _field { return [ $_[0] =~ /^([^:]*):[ \t]*(.*?)[ \t]*$/s ] }

sub _choose_framing {
    my ($self, $time) = @_;

    my $length = $self->header('Content-Length');
    undef $length if defined $length && $length !~ /^\d+$/;
    my $coding = lc($self->header('Transfer-Encoding') // '');

    if ($self->{method} eq 'HEAD' || $self->{status} =~ /^(?:204|304)$/) {
        $self->_finish($time);
    } elsif ($coding eq 'chunked') {
        $self->{state} = 'chunk_size';
    } elsif (defined $length) {
        $self->{left} = $length;
        $self->{state} = 'length';
        $self->_finish($time) if $length == 0;
    } else {
        $self->{state} = 'to_eof';
    }
}

sub _take {
    my ($self, $n) = @_;
    my $bytes = substr $self->{buf}, 0, $n, '';
    $self->{body} .= $bytes;
    return length $bytes;
}

sub _length {
    my ($self, $time) = @_;
    $self->{left} -= $self->_take($self->{left});
    $self->_finish($time) if $self->{left} == 0;
    return 0;
}

sub _to_eof { $_[0]->_take(length $_[0]{buf}); return 0 }

sub _chunk_size {
    my ($self, $time) = @_;
    return 0 unless $self->{buf} =~ s/^(.*?)\r?\n//;
    return $self->_broken("chunk size \"$1\"", $time)
        if $1 !~ /^([0-9a-fA-F]+)\s*(?:;|$)/;
    $self->{left} = hex $1;
    $self->{state} = $self->{left} ? 'chunk_data' : 'trailer';
    return 1;
}

sub _chunk_data {
    my ($self) = @_;
    $self->{left} -= $self->_take($self->{left});
    return 0 if $self->{left};
    $self->{state} = 'chunk_end';
    return 1;
}

sub _chunk_end {
    my ($self, $time) = @_;
    return 0 if length $self->{buf} < 2;
    return $self->_broken('no CRLF after a chunk', $time)
        unless $self->{buf} =~ s/^\r\n//;
    $self->{state} = 'chunk_size';
    return 1;
}

sub _trailer {
    my ($self, $time) = @_;
    return 0 unless $self->{buf} =~ s/^(.*?)\r?\n//;
    return $self->_finish($time) if $1 eq '';
    push @{ $self->{trailers} }, _field($1);
    return 1;
}

sub _finish {
    my ($self, $time) = @_;
    $self->{state} = 'done';
    $self->{clean_end} = 1;
    $self->{time_end} = $time;
    return 0;
}

sub _broken {
    my ($self, $what, $time) = @_;
    $self->{error} = "framing: $what";
    $self->push_end(undef, $time);
    return 0;
}

1;
