package LLM::Redis;

# A private redis-server on a port and a unix socket of its own, without
# persistence.
#
#   my $redis = LLM::Redis->new(password => 'secret');
#   $redis->cmd('GET', 'x'); $redis->port; $redis->socket; $redis->dump;

use strict;
use warnings;

use Carp qw(croak);
use IO::Socket::INET;

use LLM::Util qw(wait_for poll_until tempdir slurp reserve_port spawn reap
                 alive register slow);

# Options: password; certs => LLM::Certs adds a TLS port (->tls_port); args =>
# [...] for the command line.

sub new {
    my ($class, %opt) = @_;
    my $self = bless { %opt, dir => tempdir(), port => reserve_port(),
                       owner => $$ }, $class;
    register($self);
    $self->start;
    return $self;
}

sub start {
    my ($self) = @_;

    my @args = ('--port', $self->{port}, '--bind', '127.0.0.1',
                '--unixsocket', $self->socket, '--unixsocketperm', 777,
                '--save', '', '--appendonly', 'no', '--dir', $self->{dir},
                '--daemonize', 'no', @{ $self->{args} || [] });
    push @args, '--requirepass', $self->{password} if $self->{password};
    push @args, $self->_tls_args if $self->{certs};

    my $log = "$self->{dir}/redis.log";
    $self->{pid} = spawn([ $ENV{LLM_REDIS} || 'redis-server', @args ],
                         stdout => $log, stderr => $log);

    poll_until(sub {
        !alive($self->{pid}) || eval { $self->cmd('PING') eq 'PONG' };
    }, 10);
    croak "redis-server did not start:\n" . slurp($log)
        unless eval { $self->cmd('PING') };
}

sub _tls_args {
    my ($self) = @_;
    $self->{tls_port} ||= reserve_port();
    my ($cert, $key) = $self->{certs}->issue(
        'redis.test', names => [ 'redis.test', '127.0.0.1' ]);
    return ('--tls-port', $self->{tls_port}, '--tls-cert-file', $cert,
            '--tls-key-file', $key, '--tls-ca-cert-file',
            $self->{certs}->ca_file, '--tls-auth-clients', 'no');
}

sub port     { return $_[0]{port} }
sub tls_port { return $_[0]{tls_port} }
sub socket   { return "$_[0]{dir}/redis.sock" }
sub pid      { return $_[0]{pid} }

# SIGSTOP: connections are still accepted, nothing is answered.
sub pause  { kill 'STOP', $_[0]{pid} }
sub resume { kill 'CONT', $_[0]{pid} }

sub stop {
    my ($self) = @_;
    delete $self->{sock};
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


# One command on a connection that is kept; arrays come as array references,
# an error reply dies.

sub cmd {
    my ($self, @words) = @_;

    my $sock = $self->{sock};
    if (!$sock || !$sock->connected) {
        $sock = $self->{sock} = IO::Socket::INET->new(
            PeerAddr => "127.0.0.1:$self->{port}", Timeout => 2 * slow())
            or croak "connect to redis: $@";
        $self->cmd('AUTH', $self->{password})
            if $self->{password} && $words[0] ne 'AUTH';
    }

    print $sock '*' . @words . "\r\n",
                map { '$' . length($_) . "\r\n$_\r\n" } @words;
    $sock->flush;

    my $reply = eval { $self->_reply };
    if ($@ && $@ !~ /^redis: /) { delete $self->{sock} }
    die $@ if $@;
    return $reply;
}

# A bucket of a quota, as bucket.lua has it: used, rest, at, alerts.

sub bucket {
    my ($self, $key, $kind) = @_;
    return unpack 'd<4', $self->cmd('HGET', $key, $kind) // pack 'd<4', (0) x 4;
}

sub _reply {
    my ($self) = @_;

    local $/ = "\r\n";
    my $line = readline $self->{sock};
    croak 'redis closed the connection' unless defined $line;
    chomp $line;

    my ($type, $rest) = $line =~ /^(.)(.*)/s;
    return $rest if $type eq '+' || $type eq ':';
    croak "redis: $rest" if $type eq '-';
    return undef if $rest < 0;
    return [ map { $self->_reply } 1 .. $rest ] if $type eq '*';

    read $self->{sock}, my $bytes, $rest + 2;
    return substr $bytes, 0, $rest;
}


# All keys and values as one text, for finding canaries.

sub dump {
    my ($self) = @_;

    my %read = (string => [ 'GET' ], hash => [ 'HGETALL' ],
                list => [ 'LRANGE', 0, -1 ], set => [ 'SMEMBERS' ],
                zset => [ 'ZRANGE', 0, -1, 'WITHSCORES' ]);
    my @lines;
    for my $key (sort @{ $self->cmd('KEYS', '*') }) {
        my $type = $self->cmd('TYPE', $key);
        my ($word, @args) = @{ $read{$type} || next };
        my $value = $self->cmd($word, $key, @args);
        push @lines, join ' ', $key, ref $value ? @$value : $value;
    }
    return join '', map { "$_\n" } @lines;
}

# Everything clients send from now on is written to a file; ->monitored
# returns it.

sub monitor {
    my ($self) = @_;
    my $log = "$self->{dir}/monitor.log";
    my @auth = $self->{password} ? ('-a', $self->{password}) : ();
    $self->{monitor} = spawn([ 'redis-cli', '-p', $self->{port}, @auth,
                               'MONITOR' ], stdout => $log,
                             stderr => '/dev/null');
    wait_for(sub { slurp($log) =~ /^OK/ }, 5, 'MONITOR');
}

sub monitored { return slurp("$_[0]{dir}/monitor.log") }

1;
