package LLM::Fake;

# A scripted provider: a process of its own that answers as the test says and
# writes down all it receives.
#
#   my $p = LLM::Fake->new(answer => sub {
#       my ($req) = @_;               # method path headers body json n conn ...
#       return (status(503), header('Retry-After', 3)) if $req->{n} == 1;
#       return (sse({ a => 1 }), delay(0.1), sse('[DONE]'));
#   });
#
# The subs run in the fake's process: what they assign to is not seen by the
# test.  From the test to the fake: ->mode and ->open_gate.  The words of the
# script are in LLM::Fake::Steps, which this package exports on.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use IO::Socket::INET;
use Socket qw(SOCK_STREAM SOCK_NONBLOCK AF_INET pack_sockaddr_in inet_aton);
use Time::HiRes qw(sleep);

use LLM::Fake::Request;
use LLM::Fake::Server;
use LLM::Fake::Steps;
use LLM::Util qw(wait_for poll_until tempdir slurp spew reserve_port forked
                 reap register complain);

our @EXPORT = @LLM::Fake::Steps::EXPORT;


# Options:
#   answer      sub ($req): steps, when the request is complete
#   early       sub ($req): steps to answer before the body was read, or
#               nothing to wait for it
#   on_accept   sub ({ conn => n }): steps before anything is read
#   idle_close  seconds after which an idle keepalive connection is closed
#   host, port  127.0.0.1, a free port
#   edge        whose headers of LLM::Edge each answer has, beside those of the
#               script (openai); 0: none
#   tls         options of LLM::TLSFront: TLS in front, see ->tls

sub new {
    my ($class, %opt) = @_;

    my $self = $class->_bare(%opt);
    $self->start;

    if ($opt{tls}) {
        require LLM::TLSFront;
        $self->{tls} = LLM::TLSFront->new(to => $self, %{ $opt{tls} });
    }
    return $self;
}

# Chat completions and the rest of the OpenAI API: see LLM::Fake::OpenAI.

sub openai {
    my ($class, %opt) = @_;
    require LLM::Fake::OpenAI;
    return LLM::Fake::OpenAI::fake($class, %opt);
}

# A port with nothing behind it.

sub refused { my ($class, %opt) = @_; return $class->_bare(%opt) }

# Accepts and reads, and never says a word.

sub silent {
    my ($class, %opt) = @_;
    return $class->new(answer => sub { hang() }, %opt);
}

# Does not even accept: the listen queue is full, so a SYN gets no answer.

sub blackhole {
    my ($class, %opt) = @_;

    my $self = $class->_bare(%opt);
    $self->{listener} = $self->_listen(0);

    for (1 .. 8) {
        socket my $sock, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0;
        connect $sock, pack_sockaddr_in($self->port,
                                        inet_aton($self->{host}));
        push @{ $self->{stuffing} }, $sock;
    }

    # full, as soon as one of them is not connected any more
    wait_for(sub { grep { !defined getpeername $_ } @{ $self->{stuffing} } },
             2, 'full listen queue');
    return $self;
}

sub _bare {
    my ($class, %opt) = @_;
    my $self = bless { answer => sub { json({ fine() }) }, host => '127.0.0.1',
                       edge => 'openai', %opt, owner => $$ }, $class;
    $self->{port} ||= reserve_port();
    $self->{dir} = tempdir();
    $self->_forget;
    register($self);
    return $self;
}

sub _listen {
    my ($self, $backlog) = @_;
    return IO::Socket::INET->new(
        LocalAddr => $self->{host}, LocalPort => $self->{port},
        Listen => $backlog, ReuseAddr => 1)
        || croak "listen on $self->{host}:$self->{port}: $@";
}


# A stopped provider can come back on its port; its record goes on.

sub start {
    my ($self) = @_;

    croak 'already running' if $self->{pid};
    my $listener = $self->_listen(512);
    $self->{pid} = forked(sub {
        open STDOUT, '>', '/dev/null';
        my %opt = map { $_ => $self->{$_} }
                  qw(dir answer early on_accept idle_close);
        LLM::Fake::Server->new(%opt, listener => $listener,
                               accepted => $self->connections,
                               heads => $self->count)->run;
    });
    return $self;
}

# Its connections are gone with it, and its port refuses.

sub stop {
    my ($self) = @_;

    if ($self->{tls}) { delete($self->{tls})->stop('TERM') }
    delete @$self{qw(listener stuffing)};
    my $pid = delete $self->{pid} or return;
    kill 'KILL', $pid;
    reap($pid, 5);
}

sub cleanup {
    my ($self) = @_;
    return if $$ != $self->{owner};
    $self->stop;
    complain("fake provider's answer sub died: $_->{message}")
        for grep { $_->{ev} eq 'died' } $self->_record;
}

sub DESTROY {
    my ($self) = @_;
    local ($@, $?, $!);
    $self->cleanup unless ${^GLOBAL_PHASE} eq 'DESTRUCT';
}

# SIGSTOP and SIGCONT: the kernel still accepts, nobody answers.
sub pause  { kill 'STOP', $_[0]{pid} }
sub resume { kill 'CONT', $_[0]{pid} }

sub port { return $_[0]{port} }
sub host { return $_[0]{host} }
sub dir  { return $_[0]{dir} }
sub pid  { return $_[0]{pid} }
sub tls  { return $_[0]{tls} }


# The test speaks to the subs: $req->{mode} of requests from now on.

sub mode {
    my ($self, $mode) = @_;
    spew("$self->{dir}/mode.new", $mode);
    rename "$self->{dir}/mode.new", "$self->{dir}/mode";
}

sub open_gate {
    my ($self, $name) = @_;
    spew("$self->{dir}/gate-" . ($name // 'open'), '');
}


# The record.

sub _forget { @{ $_[0] }{qw(offset held events)} = (0, '', []) }

sub _record {
    my ($self) = @_;

    if (open my $fh, '<:raw', "$self->{dir}/events.log") {
        seek $fh, $self->{offset}, 0;
        local $/;
        my $new = <$fh> // '';
        $self->{offset} += length $new;
        $self->{held} .= $new;
        while ($self->{held} =~ s/^(.*)\n//) {
            push @{ $self->{events} }, { split /\t/, $1, -1 };
        }
    }
    return @{ $self->{events} };
}

sub _of { my ($self, $ev) = @_; return grep { $_->{ev} eq $ev } $self->_record }

# Heads received, complete requests or not; and connections accepted.
sub count       { my @heads = $_[0]->_of('head'); return scalar @heads }
sub connections { my @all = $_[0]->_of('accept'); return scalar @all }

# One hash per request whose head arrived, in order: n, conn, conn_n, time,
# complete, raw, method, path, version, headers, header_list, body, json.

sub requests {
    my ($self) = @_;

    my %length = map { $_->{req} => $_->{length} } $self->_of('request');
    my (%bytes, %seen, @requests);

    for my $head ($self->_of('head')) {
        my ($n, $conn) = @$head{qw(req conn)};
        $seen{$conn}++;

        my $req = $self->{built}{$n};
        if (!$req) {
            $bytes{$conn} //= slurp("$self->{dir}/conn-$conn.in");
            $req = _build($head, $length{$n}, \$bytes{$conn});
            $req->{conn_n} = $seen{$conn};
            $self->{built}{$n} = $req if $req->{complete};
        }
        push @requests, $req;
    }
    return @requests;
}

sub _build {
    my ($head, $length, $bytes) = @_;

    # an incomplete one has all that came after its head
    my $raw = substr $$bytes, $head->{from}, $length // length $$bytes;
    my $req = LLM::Fake::Request::parse_head(
        substr $raw, 0, $head->{head_length});
    LLM::Fake::Request::set_body($req, substr $raw, $head->{head_length});

    return { %$req, n => $head->{req}, conn => $head->{conn}, raw => $raw,
             time => $head->{t}, complete => defined $length ? 1 : 0 };
}

# Waits for n complete requests; returns them all.

sub wait_requests {
    my ($self, $n, $seconds) = @_;
    wait_for(sub {
        my ($died) = $self->_of('died');
        croak "the fake's answer sub died: $died->{message}" if $died;
        my @done = $self->_of('request');
        return @done >= $n;
    }, $seconds, "request $n at the fake provider");
    return $self->requests;
}

# All bytes received, of one connection or of all: for finding canaries.

sub bytes_seen {
    my ($self, $conn) = @_;
    return join '', map { slurp("$self->{dir}/conn-$_.in") }
                    defined $conn ? $conn : 1 .. $self->connections;
}

# When the peer closed (default: the last connection), waiting for it.  Dies
# at the deadline.  closed_how: fin, rst, or the error met in writing.

sub closed_at  { return _closed(@_)->{t} }
sub closed_how { return _closed(@_)->{how} }

sub _closed {
    my ($self, $conn, $seconds) = @_;
    $conn //= $self->connections;
    return wait_for(sub { my ($e) = grep { $_->{conn} == $conn }
                                    $self->_of('closed'); $e },
                    $seconds, "close of connection $conn to the fake");
}

# Connections neither side has closed yet.

sub open_connections {
    my ($self) = @_;
    my %open = map { $_->{conn} => 1 } $self->_of('accept');
    delete @open{ map { $_->{conn} } $self->_of('closed'), $self->_of('rst') };
    return sort { $a <=> $b } keys %open;
}

# When each part of the answer to request n was handed to the kernel:
# { t, kind => head | body | chunk | event | raw }; and of the events only,
# one time per event.

sub writes {
    my ($self, $n) = @_;
    return grep { !defined $n || ($_->{req} // 0) == $n } $self->_of('write');
}

sub event_times {
    my ($self, $n) = @_;
    return map { $_->{t} } grep { $_->{kind} eq 'event' } $self->writes($n);
}

1;
