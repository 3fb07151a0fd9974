package LLM::Fake::Peer;

# Whether what we wrote has been read: looks into the receive queue of the
# other end, which is a socket of this host.  The kernel is asked through
# sock_diag (10 us); /proc/net/tcp knows it too, but takes milliseconds.

use strict;
use warnings;

use Exporter qw(import);
use Socket qw(AF_INET SOCK_RAW IPPROTO_TCP unpack_sockaddr_in);

use LLM::Util qw(slurp);

our @EXPORT_OK = qw(unread);

# from linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
my ($AF_NETLINK, $NETLINK_SOCK_DIAG, $NLM_F_REQUEST) = (16, 4, 1);
my $SOCK_DIAG_BY_FAMILY = 20;
my ($HEADER, $SOCKID) = (16, 48);

my $netlink;

# Bytes of ours the peer has not read yet; 0 when it is gone.

sub unread {
    my ($sock) = @_;

    my ($peer_port, $peer) = unpack_sockaddr_in(getpeername($sock)
                                                || return 0);
    my ($own_port, $own) = unpack_sockaddr_in(getsockname $sock);

    return _ask_kernel($peer_port, $peer, $own_port, $own)
           // _read_proc($peer_port, $own_port);
}

sub _ask_kernel {
    my ($peer_port, $peer, $own_port, $own) = @_;

    if (!defined $netlink) {
        socket($netlink, $AF_NETLINK, SOCK_RAW, $NETLINK_SOCK_DIAG)
            or $netlink = 0;
    }
    return undef unless $netlink;

    # struct inet_diag_req_v2: any state, any interface, any cookie
    my $request = pack 'CCCC L nna16a16 LLL', AF_INET, IPPROTO_TCP, 0, 0,
        0xffffffff, $peer_port, $own_port, $peer, $own,
        0, 0xffffffff, 0xffffffff;
    my $message = pack 'LSSLL', $HEADER + length $request,
        $SOCK_DIAG_BY_FAMILY, $NLM_F_REQUEST, 1, 0;

    send($netlink, "$message$request", 0, pack 'SSLL', $AF_NETLINK, 0, 0, 0)
        or return undef;
    defined recv($netlink, my $reply, 8192, 0) or return undef;

    my ($length, $type) = unpack 'LS', $reply;
    return 0 if $type != $SOCK_DIAG_BY_FAMILY;      # no such socket

    # struct inet_diag_msg: four bytes, id, expires, rqueue
    return unpack 'L', substr $reply, $HEADER + 4 + $SOCKID + 4, 4;
}

sub _read_proc {
    my ($peer_port, $own_port) = map { sprintf '%04X', $_ } @_;
    my ($queue) = slurp('/proc/net/tcp') =~
        /: [0-9A-F]{8}:$peer_port [0-9A-F]{8}:$own_port \w+ \w+:(\w+)/;
    return defined $queue ? hex $queue : 0;
}

1;
