package LLM::Wire;

# What lies between a gateway and its Redis, and what can go wrong with it: a
# TCP proxy that knows where a command and where a reply ends.
#
#   my $wire = LLM::Wire->new(to => $redis);        # ->port
#   $wire->drop_replies(3);     each third is executed, but the connection
#                               closed in the place of its reply
#   $wire->swallow_replies(3);  the same, but the connection goes on
#   $wire->delay(0, 0.2);       each reply by something between; in order
#   $wire->blackhole;           nothing goes on, in either direction
#   $wire->garbage("x\r\n");    in the place of the next reply
#   $wire->instead(EVALSHA => "-OOM no\r\n");       in the place of the reply to
#                               the next one, which is executed; %ID% is the
#                               id that ends the reply of a script
#   $wire->answers(SET => "-OOM no\r\n", ...);      not asked of Redis; * any
#   $wire->spoil($seed);        each reply is written as the sub "spoil" of
#                               new() returns it, after srand($seed)
#   $wire->pass;                as new
#   $wire->cut;                 all connections, once
#   $wire->commands             what came, as "EVALSHA ... 1 k"; ->connections

use strict;
use warnings;

use Carp qw(croak);
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time);

use LLM::Util qw(wait_for tempdir slurp spew reserve_port forked reap
                 register);

# Options: to => LLM::Redis, or whatever has a port; without it there is only
# what ->answers says.  spoil => sub ($reply): the pieces to write in the place
# of a reply, each by a write of its own; none closes the connection.  The sub
# runs in the process of the wire.

sub new {
    my ($class, %opt) = @_;

    my $self = bless { behind => $opt{to}, to => $opt{to} && $opt{to}->port,
                       spoil => $opt{spoil}, dir => tempdir(), port => reserve_port(),
                       owner => $$, told => 0 }, $class;

    my $listen = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $self->{port}, Listen => 64,
        ReuseAddr => 1) or croak "listen: $@";
    pipe my $order, $self->{order} or croak "pipe: $!";
    pipe $self->{done}, my $done or croak "pipe: $!";
    $self->{order}->autoflush;
    $done->autoflush;

    $self->{pid} = forked(sub {
        close $self->{order};
        $self->_serve($listen, $order, $done);
    });
    register($self);
    return $self;
}

sub port { return $_[0]{port} }

sub pass         { $_[0]->_tell(mode => 'pass') }
sub blackhole    { $_[0]->_tell(mode => 'blackhole') }
sub cut          { $_[0]->_tell(cut => 1) }
sub delay        { $_[0]->_tell(mode => 'delay', least => $_[1],
                                            most => $_[2]) }
sub drop_replies { $_[0]->_tell(mode => 'drop', every => $_[1]) }
sub swallow_replies { $_[0]->_tell(mode => 'swallow', every => $_[1]) }
sub garbage      { $_[0]->_tell(mode => 'garbage', bytes => $_[1]) }

sub instead {
    my ($self, $name, $bytes) = @_;
    $self->_tell(mode => 'instead', name => $name, bytes => $bytes);
}

sub spoil        { $_[0]->_tell(mode => 'spoil', seed => $_[1]) }

sub answers {
    my ($self, %answers) = @_;
    $self->_tell(mode => 'answers', answers => \%answers);
}

sub commands    { return split /\n/, slurp("$_[0]{dir}/commands") }
sub connections { return scalar(() = slurp("$_[0]{dir}/accepted") =~ /\n/g) }

# It counts from the next reply on once this has returned.

sub _tell {
    my ($self, %order) = @_;
    print { $self->{order} } JSON::PP->new->latin1->encode(\%order), "\n";
    readline $self->{done} // croak 'the wire is gone';
}

sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    kill 'KILL', $pid;
    reap($pid, 5);
}

sub cleanup { $_[0]->stop if $$ == $_[0]{owner} }

sub DESTROY {
    my ($self) = @_;
    local ($@, $?, $!);
    $self->cleanup unless ${^GLOBAL_PHASE} eq 'DESTRUCT';
}


# The child: a loop over all sockets.  A connection has what came from either
# side and a queue of the commands whose replies are still to be passed.

sub _serve {
    my ($self, $listen, $order, $done) = @_;

    my %now = (mode => 'pass');
    my %conns;                          # by each of its two sockets
    my $select = IO::Select->new($listen, $order);
    my $replies = 0;

    local $SIG{PIPE} = 'IGNORE';

    my $close = sub {
        my ($conn) = @_;
        for my $s (grep { $_ } @$conn{qw(client server)}) {
            $select->remove($s);
            delete $conns{$s};
            close $s;
        }
    };

    while (1) {
        my @due = map { $_->{queue}[0] && $_->{queue}[0]{at}
                        ? $_->{queue}[0]{at} - time : () } values %conns;
        my ($wait) = sort { $a <=> $b } @due, 1;

        for my $sock ($select->can_read($wait > 0 ? $wait : 0)) {

            if ($sock == $order) {
                my $line = readline $order // return;
                my $told = JSON::PP->new->latin1->decode($line);
                my @all = $told->{cut} ? values %conns : ();
                $close->($_) for @all;
                if (!$told->{cut}) { %now = %$told; $replies = 0 }
                srand $told->{seed} if defined $told->{seed};
                print $done "ok\n";
                next;
            }

            if ($sock == $listen) {
                my $conn = $self->_accept($listen) or next;
                for my $s (grep { $_ } @$conn{qw(client server)}) {
                    $conns{$s} = $conn;
                    $select->add($s);
                }
                next;
            }

            my $conn = $conns{$sock} or next;
            my $side = $sock == $conn->{client} ? 'asked' : 'said';
            if (!sysread $sock, $conn->{$side}, 65536,
                         length $conn->{$side})
            {
                $close->($conn);
            }
        }

        next if $now{mode} eq 'blackhole';

        for my $conn (values %{ { map { $_ => $_ } values %conns } }) {
            $conn = $conns{$conn->{client}} or next;
            $self->_commands($conn, \%now);
            $self->_replies($conn, \%now, \$replies) or $close->($conn);
        }
    }
}

sub _accept {
    my ($self, $listen) = @_;

    my $client = $listen->accept or return;
    $self->_note(accepted => '1');
    setsockopt $client, IPPROTO_TCP, TCP_NODELAY, 1;

    my $server;
    if ($self->{to}) {
        $server = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$self->{to}")
            or return;
        setsockopt $server, IPPROTO_TCP, TCP_NODELAY, 1;
    }

    return { client => $client, server => $server, asked => '', said => '',
             queue => [] };
}

sub _commands {
    my ($self, $conn, $now) = @_;

    while (my $n = _whole(\$conn->{asked}, 0)) {
        my $bytes = substr $conn->{asked}, 0, $n, '';
        my @words = $bytes =~ /\$\d+\r\n(.*?)\r\n(?=\$|\z)/gs;
        my $name = uc($words[0] // '');
        $self->_note(commands => join ' ', map { s/[^ -~]/?/gr } @words);

        my $answers = $now->{mode} eq 'answers' ? $now->{answers} : {};
        my $said = $answers->{$name} // $answers->{'*'};
        push @{ $conn->{queue} }, { said => $said };
        if ($now->{mode} eq 'instead' && $name eq $now->{name}) {
            my $id = $words[3 + $words[2]] // '';
            $conn->{queue}[-1]{instead} = $now->{bytes}
                =~ s/%ID%/'$' . length($id) . "\r\n$id\r\n"/er;
            %$now = (mode => 'pass');
        }
        syswrite $conn->{server}, $bytes if !defined $said && $conn->{server};
    }
}

# false: the connection is to be closed

sub _replies {
    my ($self, $conn, $now, $replies) = @_;

    for my $entry (@{ $conn->{queue} }) {
        next if defined $entry->{said};
        my $n = _whole(\$conn->{said}, 0) or last;
        $entry->{said} = substr $conn->{said}, 0, $n, '';
    }

    while (my $entry = $conn->{queue}[0]) {
        last unless defined $entry->{said};
        $entry->{at} ||= time + ($now->{mode} eq 'delay'
                                 ? $now->{least}
                                   + rand($now->{most} - $now->{least})
                                 : 0);
        last if $entry->{at} > time;
        shift @{ $conn->{queue} };

        if ($now->{mode} eq 'garbage') {
            $entry->{said} = $now->{bytes};
            %$now = (mode => 'pass');
        }
        $entry->{said} = $entry->{instead} if defined $entry->{instead};
        my $nth = $now->{every} && ++$$replies % $now->{every} == 0;
        return 0 if $nth && $now->{mode} eq 'drop';
        next if $nth && $now->{mode} eq 'swallow';

        my @pieces = $now->{mode} eq 'spoil' ? $self->{spoil}->($entry->{said})
                                             : ($entry->{said});
        syswrite $conn->{client}, $_ for @pieces;
        return 0 unless @pieces;
    }
    return 1;
}

# How many bytes from an offset on are one complete value; 0: it is not there.

sub _whole {
    my ($text, $from) = @_;

    my $end = index $$text, "\r\n", $from;
    return 0 if $end < 0;
    my ($type, $n) = (substr($$text, $from, 1),
                      substr($$text, $from + 1, $end - $from - 1));
    my $at = $end + 2;
    if ($type eq '$' && $n >= 0) {
        $at += $n + 2;
        return 0 if length $$text < $at;
    }
    if ($type eq '*') {
        for (1 .. $n) {
            my $len = _whole($text, $at) or return 0;
            $at += $len;
        }
    }
    return $at - $from;
}

sub _note {
    my ($self, $what, $line) = @_;
    open my $fh, '>>', "$self->{dir}/$what" or return;
    syswrite $fh, "$line\n";
}

1;
