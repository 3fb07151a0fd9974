package LLM::DNS;

# A name server on 127.0.0.1 (UDP, type A and AAAA) whose answers the test
# changes while it runs:
#
#   my $dns = LLM::DNS->new('provider.test' => '127.0.0.1');
#   resolver 127.0.0.1:%%DNS%% ipv6=off;            (vars => { DNS => $dns })
#   $dns->set('provider.test' => 'SERVFAIL');
#
# An answer is an address, a list of addresses, NXDOMAIN, SERVFAIL, REFUSED or
# SILENT.  Unknown names are NXDOMAIN.  TTL: ->ttl(seconds), 1 at first.

use strict;
use warnings;

use IO::Socket::INET;
use JSON::PP ();
use Socket qw(AF_INET6 inet_aton inet_pton);

use LLM::Util qw(tempdir slurp spew reserve_port forked reap register);

my %RCODE = (SERVFAIL => 2, NXDOMAIN => 3, REFUSED => 5);

sub new {
    my ($class, %names) = @_;

    my $self = bless { dir => tempdir(), port => reserve_port(), owner => $$,
                       zone => { ttl => 1, names => {} } }, $class;
    $self->set(%names);

    my $sock = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $self->{port}, Proto => 'udp')
        or die "UDP port $self->{port}: $@";
    $self->{pid} = forked(sub { $self->_serve($sock) });
    register($self);
    return $self;
}

sub port { return $_[0]{port} }

sub set {
    my ($self, %names) = @_;
    $self->{zone}{names}{$_} = $names{$_} for keys %names;
    $self->_publish;
}

sub ttl {
    my ($self, $seconds) = @_;
    $self->{zone}{ttl} = $seconds;
    $self->_publish;
}

# The names asked for so far, in order: "provider.test A".

sub queries { return split /\n/, slurp("$_[0]{dir}/queries.log") }

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


# Test and server share a file, read for each query.

sub _publish {
    my ($self) = @_;
    spew("$self->{dir}/zone.new", JSON::PP::encode_json($self->{zone}));
    rename "$self->{dir}/zone.new", "$self->{dir}/zone";
}

sub _serve {
    my ($self, $sock) = @_;

    open my $log, '>>', "$self->{dir}/queries.log" or die "queries.log: $!";
    while (1) {
        my $from = recv $sock, my $query, 4096, 0;
        next unless defined $from && length $query > 12;

        my $zone = JSON::PP::decode_json(slurp("$self->{dir}/zone"));
        my ($name, $type, $question) = _question($query);
        syswrite $log, "$name " . ($type == 28 ? 'AAAA' : 'A') . "\n";

        my $reply = _reply($query, $question, $type, $zone->{ttl},
                           $zone->{names}{$name} // 'NXDOMAIN');
        send $sock, $reply, 0, $from if defined $reply;
    }
}

sub _question {
    my ($query) = @_;

    my ($at, @labels) = (12);
    while (my $length = ord substr $query, $at, 1) {
        push @labels, lc substr $query, $at + 1, $length;
        $at += 1 + $length;
    }
    my $type = unpack 'n', substr $query, $at + 1, 2;
    return (join('.', @labels), $type, substr $query, 12, $at + 5 - 12);
}

sub _reply {
    my ($query, $question, $type, $ttl, $answer) = @_;

    return undef if $answer eq 'SILENT';
    my $rcode = ref $answer ? 0 : $RCODE{$answer} || 0;

    my @data;
    if (!$rcode) {
        my @all = ref $answer ? @$answer : $answer;
        @data = $type == 28 ? map { inet_pton(AF_INET6, $_) } grep { /:/ } @all
              : $type == 1  ? map { inet_aton($_) } grep { !/:/ } @all : ();
    }

    # each record points back to the name in the question
    my $records = join '', map { pack('nnnNn/a', 0xc00c, $type, 1, $ttl, $_) }
                           @data;
    return substr($query, 0, 2) . pack('nnnnn', 0x8180 | $rcode, 1,
                                       scalar @data, 0, 0)
           . $question . $records;
}

1;
