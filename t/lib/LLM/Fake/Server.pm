package LLM::Fake::Server;

# The fake provider's process: one select loop over all connections, so that
# the answer sub sees requests in one order and may keep state of its own.
# It writes down what happens: conn-N.in holds all bytes of a connection,
# events.log one line per event: key, value, ... separated by tabs.

use strict;
use warnings;

use Errno qw(EAGAIN EWOULDBLOCK EINTR ECONNRESET);
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time);

use LLM::Fake::Peer qw(unread);
use LLM::Edge ();
use LLM::Fake::Request;
use LLM::Fake::Steps ();
use LLM::Util qw(slurp);

my %REASON = (200 => 'OK', 400 => 'Bad Request', 401 => 'Unauthorized',
              403 => 'Forbidden', 404 => 'Not Found',
              429 => 'Too Many Requests', 500 => 'Internal Server Error',
              502 => 'Bad Gateway', 503 => 'Service Unavailable');

# How long a split write waits for a peer that does not read.
my $READ_PATIENCE = 1;

sub new {
    my ($class, %opt) = @_;
    $SIG{PIPE} = 'IGNORE';
    open my $log, '>>:raw', "$opt{dir}/events.log" or die "events.log: $!";
    return bless { %opt, log => $log, conns => {}, accepted => 0, heads => 0,
                   parent => getppid }, $class;
}


sub run {
    my ($self) = @_;

    $self->{listener}->blocking(0);
    my $listen_fd = fileno $self->{listener};

    while (1) {
        POSIX::_exit(0) if getppid != $self->{parent};

        my ($read, $write, $timeout) = ('', '', 0.5);
        vec($read, $listen_fd, 1) = 1;

        for my $c (values %{ $self->{conns} }) {
            my $fd = fileno $c->{sock};
            vec($read, $fd, 1) = 1 unless $c->{stop_reading};
            vec($write, $fd, 1) = 1 if $c->{want_write};
            my $left = $self->_due($c);
            $timeout = $left if defined $left && $left < $timeout;
        }

        select $read, $write, undef, $timeout < 0 ? 0 : $timeout;

        $self->_accept if vec $read, $listen_fd, 1;
        my @ready = values %{ $self->{conns} };     # some go on the way
        for my $c (@ready) {
            $self->_read($c) if vec $read, fileno $c->{sock}, 1;
            $self->_advance($c) unless $c->{gone};
        }
    }
}

# Seconds until this connection has something to do without any I/O.

sub _due {
    my ($self, $c) = @_;
    return 0.0002 if $c->{unread_until} || defined $c->{gate};
    my $due = $c->{due} // $c->{idle_due} // return undef;
    return $due - time;
}


sub _event {
    my ($self, $event, $c, %more) = @_;
    my %all = (ev => $event, t => time, conn => $c->{n}, %more);
    $all{message} =~ s/\s+/ /g if defined $all{message};
    syswrite $self->{log}, join("\t", map { $_ // '' } %all) . "\n";
}


sub _accept {
    my ($self) = @_;

    my $sock = $self->{listener}->accept or return;
    $sock->blocking(0);
    setsockopt $sock, IPPROTO_TCP, TCP_NODELAY, 1;

    my $n = ++$self->{accepted};
    open my $in, '>>:raw', "$self->{dir}/conn-$n.in" or die "conn-$n.in: $!";
    my $c = $self->{conns}{$n} = {
        n => $n, sock => $sock, in => $in, buf => '', offset => 0,
        requests => 0, steps => [], out => [], split => undef,
    };
    $self->_event('accept', $c);

    if ($self->{on_accept}) {
        $self->_begin($c, $self->_ask($c, $self->{on_accept}, { conn => $n }));
        $c->{answer}{head_sent} = $c->{answer}{silent_end} = 1
            if $c->{answer};
    }
}


sub _read {
    my ($self, $c) = @_;

    my $n = sysread $c->{sock}, my $bytes, 262144;
    return if !defined $n
              && ($! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR);

    if (!$n) {
        my $how = defined $n ? 'fin' : $! == ECONNRESET ? 'rst' : "$!";
        $self->_event('closed', $c, how => $how);
        return $self->_drop($c);
    }

    syswrite $c->{in}, $bytes;
    $c->{buf} .= $bytes;
    delete $c->{idle_due};
}


# Parses and answers as far as it goes without waiting.

sub _advance {
    my ($self, $c) = @_;

    while (!$c->{gone}) {
        $self->_parse($c) unless $c->{ended};
        last if $c->{gone};

        if (defined $c->{idle_due} && $c->{idle_due} <= time) {
            delete $c->{idle_due};
            $self->_fin($c);
        }

        next if $self->_write($c);
        last if $c->{gone} || @{ $c->{out} } || $self->_waits($c);

        if (my $step = shift @{ $c->{steps} }) {
            $self->_carry_out($c, $step);
            next;
        }

        last unless $c->{answer};
        $self->_end_of_answer($c);
    }
}

sub _waits {
    my ($self, $c) = @_;

    return 1 if $self->_early($c);

    if (defined $c->{gate}) {
        return 1 unless -e "$self->{dir}/gate-$c->{gate}";
        delete $c->{gate};
    }
    return $c->{hanging};
}


# Too early: before the end of a delay or of the gap between two writes.

sub _early {
    my ($self, $c) = @_;
    return 0 unless defined $c->{due};
    return 1 if $c->{due} > time;
    delete $c->{due};
    return 0;
}


sub _parse {
    my ($self, $c) = @_;

    my $req = $c->{req};

    if (!$req) {
        return if $c->{answer};         # pipelined: one after the other
        return unless $c->{buf} =~ /^.*?\r?\n\r?\n/s;

        $req = $c->{req} = LLM::Fake::Request::parse_head($&);
        @$req{qw(n conn conn_n head_length time)} =
            (++$self->{heads}, $c->{n}, ++$c->{requests}, length $&, time);
        $self->_event('head', $c, req => $req->{n}, from => $c->{offset},
                      head_length => $req->{head_length});

        if ($self->{early}) {
            my @steps = $self->_ask($c, $self->{early}, $req);
            $self->_begin($c, @steps) if @steps;
        }
        return if $c->{gone};
    }

    my $body = LLM::Fake::Request::body_length($req, \$c->{buf},
                                               $req->{head_length}) // return;
    my $length = $req->{head_length} + $body;
    $req->{raw} = substr $c->{buf}, 0, $length, '';
    LLM::Fake::Request::set_body($req, substr $req->{raw},
                                 $req->{head_length});
    $self->_event('request', $c, req => $req->{n}, length => $length);
    $c->{offset} += $length;
    delete $c->{req};

    # answered early, or being so
    return if $c->{answer};
    return $self->_idle_from_now($c) if $req->{answered};

    $self->_begin($c, $self->_ask($c, $self->{answer}, $req));
}

sub _ask {
    my ($self, $c, $sub, $req) = @_;

    $req->{mode} = slurp("$self->{dir}/mode") if -e "$self->{dir}/mode";
    $c->{current} = $req;
    my @steps = eval { $sub->($req) };
    return @steps unless $@;

    $self->_event('died', $c, message => "$@");
    return (LLM::Fake::Steps::status(500),
            LLM::Fake::Steps::body("answer sub died: $@"));
}

sub _begin {
    my ($self, $c, @steps) = @_;
    my $req = $c->{current};
    my $version = $req->{version} // '';
    my $connection = lc($req->{headers}{connection} // '');

    $c->{steps} = \@steps;
    $c->{answer} = {
        req => $req, status => 200, headers => [], trailers => [],
        old => $version eq 'HTTP/1.0',
        close => $connection eq 'close'
                 || $version eq 'HTTP/1.0' && $connection ne 'keep-alive',
        no_body => ($req->{method} // '') eq 'HEAD',
    };
    delete $c->{split};
}


# The steps.

sub _carry_out {
    my ($self, $c, $step) = @_;

    my ($word, @args) = ref $step eq 'ARRAY' ? @$step : ();
    my $method = $self->can('_do_' . ($word // ''));
    return $self->$method($c, $c->{answer}, @args) if $method;

    $self->_event('died', $c, message => 'not a step: ' . ($step // 'undef'));
    $self->_drop($c);
}

sub _do_status { my ($self, $c, $a, @args) = @_; @$a{qw(status reason)} = @args }
sub _do_header { my ($self, $c, $a, @kv) = @_; push @{ $a->{headers} }, \@kv }
sub _do_type   { my ($self, $c, $a, $type) = @_; $a->{type} //= $type }
sub _do_trailer { my ($self, $c, $a, @kv) = @_; push @{ $a->{trailers} }, \@kv }
sub _do_close_delimited { $_[2]{framing} = 'close'; $_[2]{close} = 1 }
sub _do_close_after     { $_[2]{close} = 1 }
sub _do_quiet           { $_[2]{quiet} = 1 }
sub _do_idle_close      { $_[2]{idle_close} = $_[3] }
sub _do_stop_reading    { $_[1]{stop_reading} = 1 }
sub _do_hang            { $_[1]{hanging} = 1 }
sub _do_delay           { $_[1]{due} = time + $_[3] }
sub _do_gate            { $_[1]{gate} = $_[3] }
sub _do_fin             { $_[0]->_fin($_[1]) }

# What was written before must be read, too, or the first piece would reach
# the peer together with it.

sub _do_split {
    my ($self, $c, $a, $how) = @_;
    $c->{split} = { %$how, sent => 0 };
    $c->{unread_until} = time + $READ_PATIENCE if $how->{gap} eq 'read';
}

sub _do_rst {
    my ($self, $c) = @_;
    setsockopt $c->{sock}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    $self->_event('rst', $c);
    $self->_drop($c);
}

sub _do_interim {
    my ($self, $c, $a, $status, @headers) = @_;
    push @{ $c->{out} }, { bytes => "HTTP/1.1 $status Interim\r\n"
        . join('', map { "$_->[0]: $_->[1]\r\n" } @headers) . "\r\n" };
}

sub _do_head { my ($self, $c, $a) = @_; $self->_send_head($c, 'parts') }

sub _do_raw {
    my ($self, $c, $a, $bytes) = @_;
    if (!$a->{head_sent}) { $a->{head_sent} = $a->{silent_end} = 1 }
    push @{ $c->{out} }, { bytes => $bytes, kind => 'raw' };
}

sub _do_body {
    my ($self, $c, $a, $bytes) = @_;
    $self->_send_head($c, 'whole', length $bytes);
    $self->_send_part($c, 'body', $bytes);
}

sub _do_chunk { _part(@_[0 .. 2], 'chunk', $_[3]) }
sub _do_event { _part(@_[0 .. 2], 'event', $_[3]) }

sub _part {
    my ($self, $c, $a, $kind, $bytes) = @_;
    $self->_send_head($c, 'parts');
    $self->_send_part($c, $kind, $bytes);
}

sub _do_repeat {
    my ($self, $c, $a, $n, $round, @steps) = @_;

    $a->{quiet} = 1 if $n == 0;
    if ($n == 0 || $round < $n) {
        unshift @{ $c->{steps} }, [ 'repeat', $n, $round + 1, @steps ];
    }
    unshift @{ $c->{steps} }, map { ref $_ eq 'CODE' ? $_->($round) : $_ }
                              @steps;
}


sub _send_head {
    my ($self, $c, $kind, $length) = @_;

    my $a = $c->{answer};
    return if $a->{head_sent};
    $a->{head_sent} = 1;

    my @headers = @{ $a->{headers} };
    my %has = map { lc $_->[0] => 1 } @headers;

    push @headers, grep { !$has{ lc $_->[0] } } LLM::Edge::headers($self->{edge})
        if $self->{edge};

    unshift @headers, [ 'Content-Type', $a->{type} ]
        if $a->{type} && !$has{'content-type'};

    if ($has{'content-length'} || $has{'transfer-encoding'}) {
        $a->{framing} = $has{'content-length'} ? 'own' : 'chunked';
    } elsif ($kind eq 'whole' && !$a->{framing}) {
        $a->{framing} = 'length';
        push @headers, [ 'Content-Length', $length ]
            unless $a->{status} =~ /^(?:204|304)$/;
    } elsif ($a->{old} || $a->{framing}) {
        $a->{framing} = 'close';
        $a->{close} = 1;
    } else {
        $a->{framing} = 'chunked';
        push @headers, [ 'Transfer-Encoding', 'chunked' ];
    }

    push @headers, [ 'Connection', $a->{close} ? 'close' : 'keep-alive' ]
        unless $has{connection} || !$a->{close} && !$a->{old};

    my $reason = $a->{reason} // $REASON{ $a->{status} } // 'Because';
    push @{ $c->{out} }, { kind => 'head', bytes =>
        "HTTP/1.1 $a->{status} $reason\r\n"
        . join('', map { "$_->[0]: $_->[1]\r\n" } @headers) . "\r\n" };
}

sub _send_part {
    my ($self, $c, $kind, $bytes) = @_;

    my $a = $c->{answer};
    return if $a->{no_body} || $bytes eq '';

    $bytes = sprintf "%x\r\n%s\r\n", length $bytes, $bytes
        if ($a->{framing} // '') eq 'chunked';

    # a whole body leaves in one write with its head, as from real servers
    my $last = $c->{out}[-1];
    if ($kind eq 'body' && $last && ($last->{kind} // '') eq 'head') {
        $last->{bytes} .= $bytes;
        $last->{kind} = 'body';
        return;
    }
    push @{ $c->{out} }, { bytes => $bytes, kind => $kind };
}


sub _end_of_answer {
    my ($self, $c) = @_;

    my $a = $c->{answer};

    if (!$a->{head_sent}) {
        $self->_send_head($c, 'whole', 0);
        return;
    }

    if (($a->{framing} // '') eq 'chunked' && !$a->{last_chunk}++
        && !$a->{no_body})
    {
        push @{ $c->{out} }, { bytes => "0\r\n"
            . join('', map { "$_->[0]: $_->[1]\r\n" } @{ $a->{trailers} })
            . "\r\n" };
        return;
    }

    # an early answer is over, but its request is still coming
    return $self->_fin($c) if $a->{close} && !$a->{silent_end};

    delete $c->{answer};
    $self->_idle_from_now($c, $a->{idle_close});
    if (my $req = $c->{req}) { $req->{answered} = 1 }
}

sub _idle_from_now {
    my ($self, $c, $seconds) = @_;
    $seconds //= $self->{idle_close};
    $c->{idle_due} = time + $seconds if defined $seconds;
}


# FIN in our direction only: reading goes on, because closing with unread
# bytes would be an RST, and because the peer's close is recorded.

sub _fin {
    my ($self, $c) = @_;
    shutdown $c->{sock}, 1;
    $self->_event('fin', $c);
    @$c{qw(steps out answer)} = ([], [], undef);
    $c->{ended} = 1;
}

sub _drop {
    my ($self, $c) = @_;
    close $c->{sock};
    close $c->{in};
    $c->{gone} = 1;
    delete $self->{conns}{ $c->{n} };
}


# Writes what is queued and due.  True when something was completed.

sub _write {
    my ($self, $c) = @_;

    $c->{want_write} = 0;
    my $item = $c->{out}[0] or return 0;
    return 0 if $self->_early($c);

    if ($c->{unread_until}) {
        return 0 if time < $c->{unread_until} && unread($c->{sock});
        delete $c->{unread_until};
    }

    # The time recorded is the one before the write: a reader may be faster
    # than our next line.
    my $now = time;
    my $n = syswrite $c->{sock}, $item->{bytes}, $self->_piece($c, $item);

    if (!defined $n) {
        if ($! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR) {
            $c->{want_write} = 1;
            return 0;
        }
        $self->_event('closed', $c, how => "$!");
        $self->_drop($c);
        return 0;
    }

    if (my $split = $c->{split}) {
        $split->{sent} += $n;
        if ($split->{gap} eq 'read') {
            $c->{unread_until} = time + $READ_PATIENCE;
        } elsif ($split->{gap}) {
            $c->{due} = time + $split->{gap};
        }
    }

    substr($item->{bytes}, 0, $n) = '';
    return 1 if length $item->{bytes};

    shift @{ $c->{out} };
    $self->_event('write', $c, kind => $item->{kind}, t => $now,
                  req => $c->{answer}{req}{n})
        if $item->{kind} && !$c->{answer}{quiet};
    return 1;
}

sub _piece {
    my ($self, $c, $item) = @_;

    my $length = length $item->{bytes};
    my $split = $c->{split} or return $length;
    return $split->{every} if $split->{every};

    my ($next) = grep { $_ > $split->{sent} } @{ $split->{at} };
    return defined $next && $next - $split->{sent} < $length
           ? $next - $split->{sent} : $length;
}

1;
