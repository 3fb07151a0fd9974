#!/usr/bin/perl

# TLS to a provider: its certificate is verified unless the configuration says
# otherwise, the name sent is the one verified, a failure is an attempt as
# any other, and sessions and connections are used again by their owner only.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;
use LLM::Certs;
use LLM::TLSFront;

my $KEY = 'sk-canary-provider';
my $certs = LLM::Certs->new;
my $other_certs = LLM::Certs->new;

sub fake { return LLM::Fake->new(answer => sub { json({ fine() }) }) }

# one fake behind each, to see that nothing reaches it
my %behind = map { $_ => fake() } qw(good own expired wrong other client
                                     fresh);
my %front = (
    good    => {},
    own     => { self_signed => 1 },
    expired => { expired => 1 },
    wrong   => { names => ['elsewhere.test'] },
    other   => { certs => $other_certs },
    client  => { client_cert => 1 },
    fresh   => { more => 'keepalive_timeout 0;' },
);
for my $name (keys %front) {
    $front{$name} = LLM::TLSFront->new(
        to => $behind{$name}, names => ['p.test'], certs => $certs,
        %{ $front{$name} });
}
my $f = LLM::Fake->new(answer => sub { json({ fine(), me => 'f' }) });
my $no_tls = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
my $plain = LLM::Fake->new(
    on_accept => sub { (delay(0.05), raw($no_tls), fin) });
my $hasty = LLM::Fake->new(on_accept => sub { (raw($no_tls), fin) });
my $rude = LLM::Fake->new(on_accept => sub { (delay(0.05), rst) });

# Each provider has an address of its own, given by the name of its block;
# the certificate says p.test.

my %provider = (
    good        => [ good => 'p.test', '%%CA%%' ],
    own         => [ own => 'p.test', '%%CA%%' ],
    expired     => [ expired => 'p.test', '%%CA%%' ],
    wrong       => [ wrong => 'p.test', '%%CA%%' ],
    foreign     => [ other => 'p.test', '%%CA%%' ],
    system      => [ good => 'p.test', '' ],
    unverified  => [ own => 'p.test', '', 'ssl_verify off;' ],
    unverified2 => [ wrong => 'p.test', '', 'ssl_verify off;' ],
    renamed     => [ good => 'somewhere.test', '%%CA%%',
                     'ssl_name p.test;' ],
    misnamed    => [ good => 'p.test', '%%CA%%', 'ssl_name q.test;' ],
    certless    => [ client => 'p.test', '%%CA%%' ],
    certified   => [ client => 'p.test', '%%CA%%',
                     'ssl_certificate %%CERT%%;'
                     . ' ssl_certificate_key %%CERTKEY%%;' ],
    fresh       => [ fresh => 'p.test', '%%CA%%' ],
    fresh2      => [ fresh => 'p.test', '%%CA%%' ],
    no_tls      => [ plain => 'p.test', '%%CA%%' ],
    rude        => [ rude => 'p.test', '%%CA%%' ],
    hasty       => [ hasty => 'p.test', '%%CA%%' ],
);

my %vars = (F => $f, plain => $plain, rude => $rude,
            hasty => $hasty,
            CA => $certs->ca_file,
            CERT => $front{client}->client_cert_file,
            CERTKEY => $front{client}->client_key_file,
            map { $_ => $front{$_} } keys %front);

# Two blocks of one name are not possible, so the host is a block's name and
# Host is set apart.

my $http = join '', map {
    my ($front, $host, $ca, $more) = @{ $provider{$_} };
    my $verify = $ca && "ssl_trusted_certificate $ca;";
    $more //= '';
    $more .= " ssl_name $host;" unless $more =~ /ssl_name/;
    "upstream block_$_ { server 127.0.0.1:%%$front%%; keepalive 4; }\n"
    . "llm_provider $_ { endpoint https://block_$_/v1; key $KEY; "
    . "header Host $host; $verify $more }\n"
    . "llm_model $_ { target $_; }\n"
    . "llm_model ${_}_f { target $_; target f; }\n"
} sort keys %provider;

my $gw = LLM::Nginx->new(
    vars => \%vars, access_format => '$status $llm_attempts',
    http => $http . <<"CONF");
llm_provider f { endpoint http://127.0.0.1:%%F%%/v1; }

# the host of the endpoint is the name, both where it is a block's
upstream p.test { server 127.0.0.1:%%good%%; }
llm_provider by_host {
    endpoint https://p.test/v1;
    ssl_trusted_certificate %%CA%%;
}
llm_model by_host { target by_host; }

# one address, verified by one provider and not by the other
llm_provider lax {
    endpoint https://127.0.0.1:%%own%%/v1;
    ssl_name p.test;
    ssl_verify off;
}
llm_provider strict {
    endpoint https://127.0.0.1:%%own%%/v1;
    ssl_name p.test;
    ssl_trusted_certificate %%CA%%;
}
llm_model lax { target lax; }
llm_model strict { target strict; }

# plain HTTP to a TLS port
llm_provider plain { endpoint http://127.0.0.1:%%good%%/v1; }
llm_model plain { target plain; }

server { listen 127.0.0.1:%%PORT%%; location / { llm_pass; } }
CONF

$gw->expect_error(qr/SSL_do_handshake\(\) failed/, qr/peer closed connection/,
                  qr/upstream SSL certificate (?:verify error|does not)/,
                  qr/Connection reset by peer/,
                  qr/upstream prematurely sent response/);

sub ask {
    my ($model) = @_;
    my $mark = $gw->mark;
    my $r = post_json($gw, '/v1/chat/completions', { model => $model });
    return ($r, $gw->wait_log(qr/./, since => $mark));
}

sub last_headers { return ($behind{ $_[0] }->requests)[-1]{headers} }


# Verified

{
    my ($r) = ask('good');
    is($r->status, 200, 'a certificate of the CA of ssl_trusted_certificate'
                        . ' (REQ-38)');
    is(last_headers('good')->{'x-test-sni'}, 'p.test', '  asked for by SNI');

    ($r) = ask('by_host');
    is($r->status, 200, 'without ssl_name, the endpoint\'s host is verified');
    is(last_headers('good')->{'x-test-sni'}, 'p.test', '  and sent as SNI');
    is(last_headers('good')->{host}, 'p.test', '  and as Host');

    ($r) = ask('renamed');
    is($r->status, 200, 'ssl_name is verified');
    is(last_headers('good')->{'x-test-sni'}, 'p.test', '  and sent as SNI');
    is(last_headers('good')->{host}, 'somewhere.test', '  Host is not');
}

my %refused = (
    own      => [ own => 'a self-signed certificate' ],
    expired  => [ expired => 'an expired certificate' ],
    wrong    => [ wrong => 'a certificate of another name' ],
    foreign  => [ other => 'a certificate of another CA' ],
    system   => [ good => 'a private CA where the system\'s are trusted' ],
    misnamed => [ good => 'an ssl_name that is not the certificate\'s' ],
    no_tls   => [ '' => 'a port that speaks no TLS' ],
    rude     => [ '' => 'a port that resets' ],
);

for my $name (sort keys %refused) {
    my ($front, $what) = @{ $refused{$name} };
    my $fake = $front ? $behind{$front} : $name eq 'rude' ? $rude : $plain;
    my $before = $fake->count;

    my ($r, $line) = ask($name);
    is($r->status, 502, "$what is refused (REQ-38)");
    is($r->json->{error}{code}, 'upstream_error', '  upstream_error');
    is($r->header('x-should-retry'), 'false', '  x-should-retry: false');
    like($line, qr/^502 $name:tls:\d+ms$/, '  $llm_attempts says tls');

    ($r, $line) = ask("${name}_f");
    is($r->status, 200, '  with another provider: that one answers (REQ-21)');
    like($line, qr/^200 $name:tls:\d+ms,f:200:\d+ms$/, '  tls, then 200');
    is($fake->count, $before, '  no request was sent');
    no_canary($fake->bytes_seen, $KEY) if $name ne 'system'
                                          && $name ne 'misnamed';
}

{
    my ($r) = ask('hasty');
    is($r->status, 502, 'plain HTTP before TLS has begun is no answer');
    ($r) = ask('hasty_f');
    is($r->status, 200, '  with another provider: that one answers');
    unlike($hasty->bytes_seen, qr/POST|$KEY/, '  nothing was sent in clear');
}


# Not verified

for ([ unverified => own => 'a self-signed certificate' ],
     [ unverified2 => wrong => 'one of another name' ])
{
    my ($name, $front, $what) = @$_;
    my ($r) = ask($name);
    is($r->status, 200, "ssl_verify off takes $what");
    is(last_headers($front)->{'x-test-sni'}, 'p.test', '  asked for by SNI');
}

{
    my @got = map { (ask($_))[0]->status } qw(lax strict lax strict);
    is("@got", '200 502 200 502', 'a connection that one provider did not'
                                  . ' verify is not used by another');
}

{
    my ($r) = ask('plain');
    is($r->status, 400, 'plain HTTP to a TLS port: its error passes');
}


# A certificate of our own

{
    my ($r) = ask('certless');
    is($r->status, 400, 'a provider that wants a client certificate');
    ($r) = ask('certified');
    is($r->status, 200, '  gets ssl_certificate');
    is(last_headers('client')->{'x-test-client-verify'}, 'SUCCESS',
       '  and takes it');
}


# Again

{
    ask('good');
    my $serial = last_headers('good')->{'x-test-connection'};
    ask('good');
    is(last_headers('good')->{'x-test-connection'}, $serial,
       'a TLS connection is used again');

    ask('fresh');
    is(last_headers('fresh')->{'x-test-session-reused'}, '.',
       'the first connection has a new session');
    $serial = last_headers('fresh')->{'x-test-connection'};
    ask('fresh');
    isnt(last_headers('fresh')->{'x-test-connection'}, $serial,
         '  the second one is another');
    is(last_headers('fresh')->{'x-test-session-reused'}, 'r',
       '  with the first one\'s session');
    ask('fresh2');
    is(last_headers('fresh')->{'x-test-session-reused'}, '.',
       '  another provider has a session of its own');
}

$gw->done;
done_testing;
