package LLM::Fake::Request;

# Requests as a fake provider sees them.  Used on both sides: by the server to
# know when a request is complete, and by the test to read the record of it.

use strict;
use warnings;

use JSON::PP ();

# Parses a head (up to and including the empty line).  Returns a hash: method,
# path, version, headers (lower case => first value), header_list, framing.

sub parse_head {
    my ($bytes) = @_;

    my ($first, @lines) = split /\r?\n/, $bytes;
    my %req = (header_list => [], headers => {});
    @req{qw(method path version)} = split / /, $first // '', 3;

    for (@lines) {
        my ($name, $value) = /^([^:]*):[ \t]*(.*?)[ \t]*$/s or next;
        push @{ $req{header_list} }, [ $name, $value ];
        $req{headers}{ lc $name } //= $value;
    }

    my $coding = lc($req{headers}{'transfer-encoding'} // '');
    $req{framing} = $coding eq 'chunked' ? 'chunked'
                  : $req{headers}{'content-length'} ? 'length' : 'none';
    return \%req;
}


# How many bytes of $$bytes from $from on the body takes, or undef when it is
# not complete yet.

sub body_length {
    my ($req, $bytes, $from) = @_;

    if ($req->{framing} eq 'none') { return 0 }

    if ($req->{framing} eq 'length') {
        my $length = $req->{headers}{'content-length'};
        return length($$bytes) - $from >= $length ? $length : undef;
    }

    # A long body comes in many reads: remember the last whole chunk.
    my $at = $req->{scanned} // $from;
    while (1) {
        pos($$bytes) = $at;
        return undef unless $$bytes =~ /\G([0-9a-fA-F]+)[^\r\n]*\r\n/g;
        my ($data, $size) = (pos $$bytes, hex $1);

        if ($size == 0) {
            pos($$bytes) = $data;
            return undef unless $$bytes =~ /\G(?:[^\r\n]+\r\n)*+\r\n/g;
            return pos($$bytes) - $from;
        }

        return undef if length $$bytes < $data + $size + 2;
        $at = $req->{scanned} = $data + $size + 2;
    }
}


# Sets body and, when it is JSON, json.  JSON::PP takes a second for a
# megabyte, so the long strings of a large body are cut first: "json" is for
# looking at the members, "body" for comparing.

my $LARGE = 65536;

sub set_body {
    my ($req, $bytes) = @_;

    my $body = $bytes;
    if ($req->{framing} eq 'chunked') {
        $body = '';
        while ($bytes =~ /\G([0-9a-fA-F]+)[^\r\n]*\r\n/gc) {
            my $size = hex $1 or last;
            my $at = pos $bytes;
            $body .= substr $bytes, $at, $size;
            last if $at + $size + 2 > length $bytes;
            pos($bytes) = $at + $size + 2;
        }
    }

    $req->{body} = $body;
    return $req unless $body =~ /^\s*[\[{]/;

    $body =~ s/"([^"\\]{100})(?:[^"\\]++|\\.)*+"/"$1..."/gs
        if length $body > $LARGE;
    $req->{json} = eval { JSON::PP->new->utf8->decode($body) };
    return $req;
}

1;
