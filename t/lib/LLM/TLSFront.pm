package LLM::TLSFront;

# TLS in front of a fake provider: Perl has no TLS in its core, nginx has.
# It hands requests and answers on unbuffered and adds for the fake:
#
#   X-Test-SNI, X-Test-Session-Reused (r or .), X-Test-Client-Verify,
#   X-Test-Connection (serial of the TLS connection at this nginx)
#
#   my $tls = LLM::TLSFront->new(to => $fake, names => ['provider.test']);
#   $tls->port, $tls->ca_file
#
# It speaks HTTP, so it hands on cuts and delays of an answer, but answers
# 502 itself where the fake sends no HTTP.

use strict;
use warnings;

use LLM::Certs;
use LLM::Nginx;

# Options:
#   to           the fake
#   names        of the certificate (provider.test); a wrong name is just
#                another name
#   certs        an LLM::Certs to share a CA
#   self_signed, expired
#   client_cert  1: a client certificate of our CA is required; see
#                client_cert_file, client_key_file
#   protocols    TLSv1.2 TLSv1.3
#   tickets      off: no session can be reused
#   more         further text for the server block

sub new {
    my ($class, %opt) = @_;

    my $certs = $opt{certs} || LLM::Certs->new;
    my @names = @{ $opt{names} || ['provider.test'] };
    my ($cert, $key) = $certs->issue($names[0], %opt, names => \@names);

    my $self = bless { certs => $certs, cert => $cert, key => $key }, $class;

    my $more = $opt{more} // '';
    if ($opt{client_cert}) {
        @$self{qw(client_cert client_key)} = $certs->issue('llm client');
        $more .= "ssl_verify_client on;\nssl_client_certificate "
                 . $certs->ca_file . ";\n";
    }
    if ($opt{tickets} && $opt{tickets} eq 'off') {
        $more .= "ssl_session_tickets off; ssl_session_cache off;\n";
    }

    my $protocols = $opt{protocols} || 'TLSv1.2 TLSv1.3';
    my $conf = _conf($cert, $key, $protocols, $more);
    $self->{nginx} = LLM::Nginx->new(
        module => 0, http => $conf,
        vars => { FAKE => $opt{to} },
        access_format => '$ssl_server_name $ssl_session_reused '
                         . '$ssl_client_verify $connection $status $uri');

    # Refused handshakes and cut answers are what tests are about; this nginx
    # is not the one under test.
    $self->{nginx}->expect_error(qr/./);
    return $self;
}

sub port             { return $_[0]{nginx}->port }
sub ca_file          { return $_[0]{certs}->ca_file }
sub certs            { return $_[0]{certs} }
sub cert_file        { return $_[0]{cert} }
sub key_file         { return $_[0]{key} }
sub client_cert_file { return $_[0]{client_cert} }
sub client_key_file  { return $_[0]{client_key} }
sub nginx            { return $_[0]{nginx} }
sub stop             { return $_[0]{nginx}->stop($_[1] || 'TERM') }


sub _conf {
    my ($cert, $key, $protocols, $more) = @_;
    return <<"END";
client_max_body_size 0;
upstream fake { server 127.0.0.1:%%FAKE%%; keepalive 16; }
server {
    listen 127.0.0.1:%%PORT%% ssl;
    ssl_certificate $cert;
    ssl_certificate_key $key;
    ssl_protocols $protocols;
    ssl_session_cache shared:TLS:1m;
    $more
    location / {
        proxy_pass http://fake;
        proxy_http_version 1.1;
        proxy_buffering off;
        proxy_request_buffering off;
        proxy_next_upstream off;
        proxy_read_timeout 1h;
        proxy_set_header Host \$http_host;
        proxy_set_header Connection "";
        proxy_set_header X-Test-SNI \$ssl_server_name;
        proxy_set_header X-Test-Session-Reused \$ssl_session_reused;
        proxy_set_header X-Test-Client-Verify \$ssl_client_verify;
        proxy_set_header X-Test-Connection \$connection;
        proxy_pass_header Server;
        proxy_pass_header X-Accel-Redirect;
        proxy_pass_header X-Accel-Buffering;
        proxy_ignore_headers X-Accel-Redirect X-Accel-Expires
                             X-Accel-Limit-Rate X-Accel-Buffering
                             X-Accel-Charset Set-Cookie;
    }
}
END
}

1;
