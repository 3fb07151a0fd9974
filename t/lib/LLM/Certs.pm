package LLM::Certs;

# A private CA and certificates from the openssl tool (P-256: quick to make).
#
#   my $certs = LLM::Certs->new;
#   my ($cert, $key) = $certs->issue('provider.test', names => [...]);
#   $certs->ca_file

use strict;
use warnings;

use Carp qw(croak);

use LLM::Util qw(tempdir slurp spew reap spawn);

sub new {
    my ($class) = @_;
    my $self = bless { dir => tempdir(), issued => 0 }, $class;

    $self->_openssl(qw(req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256
                       -nodes -days 2), '-subj', '/CN=llm test CA',
                    '-keyout', $self->_file('ca.key'),
                    '-out', $self->ca_file);
    return $self;
}

sub ca_file { return $_[0]->_file('ca.pem') }


# Options: names (of subjectAltName; default: the common name), expired,
# self_signed (not by our CA).  Returns (certificate file, key file).

sub issue {
    my ($self, $name, %opt) = @_;

    my $n = ++$self->{issued};
    my ($cert, $key) = map { $self->_file("$n.$_") } qw(pem key);
    my $san = join ',', map { /^[\d.]+$|:/ ? "IP:$_" : "DNS:$_" }
                        @{ $opt{names} || [ $name ] };

    # "openssl x509" takes a negative number of days, "openssl req" does not
    my @days = ('-days', $opt{expired} ? -1 : 2);

    if ($opt{self_signed}) {
        $self->_openssl(qw(req -x509 -newkey ec
                           -pkeyopt ec_paramgen_curve:P-256 -nodes),
                        '-subj', "/CN=$name", '-days', 2,
                        '-addext', "subjectAltName=$san",
                        '-keyout', $key, '-out', $cert);
        return ($cert, $key);
    }

    my $request = $self->_file("$n.csr");
    $self->_openssl(qw(req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256
                       -nodes), '-subj', "/CN=$name",
                    '-keyout', $key, '-out', $request);
    my $extensions = spew($self->_file("$n.ext"), "subjectAltName=$san\n");
    $self->_openssl(qw(x509 -req), @days, '-in', $request,
                    '-CA', $self->ca_file, '-CAkey', $self->_file('ca.key'),
                    '-set_serial', $n, '-extfile', $extensions,
                    '-out', $cert);
    return ($cert, $key);
}


sub _file { my ($self, $name) = @_; return "$self->{dir}/$name" }

sub _openssl {
    my ($self, @args) = @_;
    my $log = $self->_file('openssl.log');
    my $status = reap(spawn([ 'openssl', @args ], stdout => $log,
                            stderr => $log), 20);
    return if defined $status && $status == 0;
    croak "openssl @args:\n" . slurp($log);
}

1;
