package LLM::Client;

# A raw HTTP/1.1 client.  It writes exactly the bytes a test asks for, reads
# while it writes (a gateway may answer early), and never repairs anything.
#
#   my $r = post_json($gw, '/v1/chat/completions', { model => 'm', ... });
#   my $r = request($gw, method => 'POST', body => $b, pace => { bytes => 1 });
#
#   my $c = LLM::Client->connect($gw);
#   $c->send_request(path => '/', keepalive => 1);
#   my $event = $c->read_event;  ...  $c->reset;

use strict;
use warnings;

use Carp qw(croak);
use Errno qw(EAGAIN EWOULDBLOCK ECONNRESET EPIPE EINTR);
use Exporter qw(import);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use JSON::PP ();
use Socket qw(SOL_SOCKET SO_LINGER SO_RCVBUF IPPROTO_TCP TCP_NODELAY
              pack_sockaddr_in inet_aton);
use Test::More ();
use Time::HiRes qw(time sleep);

use LLM::Response;
use LLM::Util qw(slow);

our @EXPORT_OK = our @EXPORT = qw(request get post_json);


# One request on a connection of its own.  $to: an object with ->port, a port
# number, "host:port" or a unix socket's path.
#
#   method, path, version    GET or POST, /, 1.1
#   headers                  [[k, v], ...]; Host and Connection are added
#                            unless given
#   body                     bytes, sent with Content-Length
#   chunked                  [piece, ...]: Transfer-Encoding chunked instead
#   trailers                 [[k, v], ...] after the last chunk
#   raw                      the whole request, as it is
#   expect100                wait for "100 Continue" before the body
#   pace                     { bytes => N, every => S }: N bytes per write
#   keepalive                no "Connection: close"
#   timeout                  whole exchange, 10 s; when given, reaching it is
#                            the test's business (error 'timeout'), else it is
#                            reported
#   rcvbuf                   a small SO_RCVBUF makes a slow reader

sub request {
    my ($to, %opt) = @_;

    my $c = LLM::Client->connect($to, %opt);
    $c->send_request(%opt);
    my $r = $c->read_response($opt{timeout} || 10);

    if (($r->error // '') eq 'timeout' && !$opt{timeout}) {
        Test::More::diag("deadline: no complete answer to "
                         . ($opt{method} || 'request') . ' '
                         . ($opt{path} // '/') . ' within 10 s');
    }

    $c->close;
    return $r;
}

sub get {
    my ($to, $path, %opt) = @_;
    return request($to, method => 'GET', path => $path, %opt);
}

# $data: a reference becomes JSON with its keys sorted, text goes as it is.

sub post_json {
    my ($to, $path, $data, %opt) = @_;
    return request($to, json_request($path, $data, %opt));
}

sub json_request {
    my ($path, $data, %opt) = @_;
    my $body = ref $data ? JSON::PP->new->utf8->canonical->encode($data)
                         : $data;
    my @headers = @{ $opt{headers} || [] };
    push @headers, [ 'Content-Type', 'application/json' ]
        unless grep { lc $_->[0] eq 'content-type' } @headers;

    my %body = $opt{chunked} ? (chunked => _pieces($body, $opt{chunked}))
                             : (body => $body);
    return (method => 'POST', path => $path, %opt, headers => \@headers,
            %body);
}

# chunked => 100 in post_json: the text in pieces of 100 bytes.

sub _pieces {
    my ($body, $size) = @_;
    return ref $size ? $size : [ unpack "(a$size)*", $body ];
}


sub connect {
    my ($class, $to, %opt) = @_;

    $to->resume if ref $to && $to->can('forgetful') && $to->forgetful;

    my $address = ref $to ? '127.0.0.1:' . $to->port
                : $to =~ /^\d+$/ ? "127.0.0.1:$to" : $to;

    my $sock = $address =~ m{^/}
        ? IO::Socket::UNIX->new(Peer => $address)
        : _tcp($address, %opt);
    croak "connect to $address: $@" unless $sock;

    setsockopt $sock, IPPROTO_TCP, TCP_NODELAY, 1 unless $address =~ m{^/};
    $sock->blocking(0);

    return bless { sock => $sock, select => IO::Select->new($sock),
                   address => $address, out => [], rest => '',
                   end => undef }, $class;
}

# SO_RCVBUF has to be known before the handshake to keep the window small.

sub _tcp {
    my ($address, %opt) = @_;

    my ($host, $port) = $address =~ /^(.*):(\d+)$/;
    my $sock = IO::Socket::INET->new(Proto => 'tcp');
    setsockopt $sock, SOL_SOCKET, SO_RCVBUF, pack 'i', $opt{rcvbuf}
        if $opt{rcvbuf};
    CORE::connect $sock, pack_sockaddr_in($port, inet_aton($host)) and return $sock;
    $@ = "$!";
    return undef;
}

sub sock { return $_[0]{sock} }

sub local_port { return $_[0]{sock}->sockport }


# Queues the request and writes as much as the socket takes; the rest is
# written by the reads that follow.  Returns the response being built.

sub send_request {
    my ($self, %opt) = @_;

    my $method = $opt{method}
        || (defined $opt{body} || $opt{chunked} ? 'POST' : 'GET');
    my $r = $self->{response} = LLM::Response->new(method => $method);
    delete $self->{seen};

    my ($head, $body) = defined $opt{raw} ? ($opt{raw}, '')
                                          : $self->_compose($method, %opt);

    if ($opt{expect100} && length $body) {
        $self->_queue($head);
        $self->_pump(5, sub { $r->interim || $r->head_done },
                     '100 Continue or an answer');
        # a final status instead: the body stays here
        $self->_queue($body, $opt{pace}) unless $r->head_done;

    } else {
        $self->_queue($head . $body, $opt{pace});
    }

    if (length $self->{rest}) {
        my $early = $self->{rest};
        $self->{rest} = $r->push_bytes($early, time);
    }

    $self->_write;
    return $r;
}

sub _compose {
    my ($self, $method, %opt) = @_;

    my @headers = @{ $opt{headers} || [] };
    my $has = sub {
        my ($name) = @_;
        return grep { lc $_->[0] eq lc $name } @headers;
    };

    unshift @headers, [ 'Host', $opt{host} || 'localhost' ]
        unless $has->('Host') || $opt{no_host};
    push @headers, [ 'Connection', 'close' ]
        unless $opt{keepalive} || $has->('Connection');
    push @headers, [ 'Expect', '100-continue' ] if $opt{expect100};

    my $body = '';
    if ($opt{chunked}) {
        push @headers, [ 'Transfer-Encoding', 'chunked' ];
        $body .= sprintf("%x\r\n%s\r\n", length $_, $_)
            for grep { length } @{ $opt{chunked} };
        $body .= "0\r\n" . _lines($opt{trailers} || []) . "\r\n";

    } elsif (defined $opt{body}) {
        $body = $opt{body};
        push @headers, [ 'Content-Length', length $body ]
            unless $has->('Content-Length');
    }

    my $version = $opt{version} || '1.1';
    my $path = $opt{path} // '/';
    return ("$method $path HTTP/$version\r\n" . _lines(\@headers) . "\r\n",
            $body);
}

sub _lines { return join '', map { "$_->[0]: $_->[1]\r\n" } @{ $_[0] } }


# Bytes beside any request: half a request, garbage, a second body.

sub send_bytes {
    my ($self, $bytes, $pace) = @_;
    $self->{response} ||= LLM::Response->new;
    $self->_queue($bytes, $pace);
    $self->_write;
}

# Waits until everything queued is in the kernel.

sub flush {
    my ($self, $timeout) = @_;
    $self->_pump($timeout || 10, sub { !@{ $self->{out} } },
                 'all of the request written');
}


# Reads until the answer ends and returns it, complete or not.  The deadline
# does not die here: it shows as error 'timeout' and clean_end 0.

sub read_response {
    my ($self, $timeout) = @_;

    my $r = $self->{response};
    if (!$self->_pump($timeout || 10, sub { $r->done })) {
        my $end = $self->{end} // 'timeout';
        $r->push_end($end eq 'fin' ? undef : $end, time);
    }
    return $r;
}

# Reads until the header is there.  This and the following reads die at their
# deadline; they return undef when the answer ended before.

sub read_header {
    my ($self, $timeout) = @_;
    my $r = $self->{response};
    $self->_pump($timeout || 10, sub { $r->head_done || $r->done },
                 'response header');
    return $r->status ? $r : undef;
}

# The next server-sent event, as in LLM::Response's events.

sub read_event {
    my ($self, $timeout) = @_;

    my $r = $self->{response};
    my $n = $self->{seen} || 0;
    $self->_pump($timeout || 10, sub { $r->events > $n || $r->done },
                 'event ' . ($n + 1));

    $self->{seen} = $n + 1;
    return ($r->events)[$n];
}

# Reads until the body matches; returns the body so far.

sub read_until {
    my ($self, $re, $timeout) = @_;
    my $r = $self->{response};
    $self->_pump($timeout || 10, sub { $r->{body} =~ $re || $r->done },
                 "body matching $re");
    return $r->{body} =~ $re ? $r->body : undef;
}

# Waits for the server to close; 'fin' or 'reset'.

sub wait_close {
    my ($self, $timeout) = @_;
    $self->_pump($timeout || 10, sub { defined $self->{end} },
                 'close by the server');
    return $self->{end};
}

# True while the server has neither closed nor sent anything unasked.

sub idle {
    my ($self) = @_;
    $self->_read if $self->{select}->can_read(0);
    return !defined $self->{end} && $self->{rest} eq '';
}


sub close          { $_[0]{sock}->close if $_[0]{sock} }
sub shutdown_write { $_[0]{sock}->shutdown(1) }

# Away without a word: the peer gets RST.

sub reset {
    my ($self) = @_;
    setsockopt $self->{sock}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    $self->{sock}->close;
}


sub _queue {
    my ($self, $bytes, $pace) = @_;
    return unless length $bytes;
    $pace ||= {};
    push @{ $self->{out} }, { bytes => $bytes, size => $pace->{bytes},
                              every => $pace->{every} };
}


# Writes and reads until the condition holds (1), or the deadline has passed:
# then dies if the event has a name, else returns 0.

sub _pump {
    my ($self, $seconds, $condition, $name) = @_;

    my $deadline = time + $seconds * slow();

    until ($condition->()) {
        my $left = $deadline - time;

        # a closed connection brings nothing more
        if ($left <= 0 || defined $self->{end}) {
            return 0 unless defined $name;
            croak $left <= 0
                ? "deadline: no $name within " . $seconds * slow() . ' s'
                : "no $name, the connection ended: $self->{end}";
        }

        my $pause = $self->_write;
        $left = $pause if defined $pause && $pause < $left;
        my $want_write = @{ $self->{out} } && !defined $pause;

        my ($readable) = IO::Select->select(
            $self->{select}, $want_write ? $self->{select} : undef, undef,
            $left);
        $self->_read if $readable && @$readable;
    }

    return 1;
}


# Writes what the pace and the socket allow.  Returns the seconds until the
# next paced write is due, or undef when it waits for the socket.

sub _write {
    my ($self) = @_;

    while (my $item = $self->{out}[0]) {
        my $wait = ($item->{due} || 0) - time;
        return $wait if $wait > 0;

        my $n = syswrite $self->{sock}, $item->{bytes},
                         $item->{size} || length $item->{bytes};

        if (!defined $n) {
            return undef if $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
            $self->{write_error} = "$!";
            @{ $self->{out} } = ();      # the answer may still be readable
            return undef;
        }

        substr($item->{bytes}, 0, $n) = '';
        $item->{due} = time + $item->{every} if $item->{every};

        if (!length $item->{bytes}) {
            shift @{ $self->{out} };
            $self->{response}{time_sent} = time unless @{ $self->{out} };
        }
    }

    return undef;
}

sub write_error { return $_[0]{write_error} }


sub _read {
    my ($self) = @_;

    my $n = sysread $self->{sock}, my $bytes, 65536;
    my $now = time;
    my $r = $self->{response};

    if ($n) {
        if ($r && !$r->done) { $self->{rest} .= $r->push_bytes($bytes, $now) }
        else                 { $self->{rest} .= $bytes }
        return;
    }

    return if !defined $n
              && ($! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR);

    # An RST may have been reported to a write already; then reads see EOF.
    $self->{end} = defined $n ? $self->{write_error} ? 'reset' : 'fin'
                 : $! == ECONNRESET ? 'reset' : "$!";
    $r->push_end($self->{end} eq 'fin' ? undef : $self->{end}, $now) if $r;
}

1;
