#!/usr/bin/perl

# Every file of conf/, and the container's, passes nginx -t as it stands there;
# only what belongs to a machine is ours: secrets are dummies, certificates are
# made here, temporary files and logs stay in our folder, and provider.conf is
# what "make run" would write.  Two recipes do what they say, too.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

my $dir = tempdir();
my $root = root_dir();
my @files = (sort(glob "$root/conf/*.conf"), "$root/docker/nginx.conf");

spew("$dir/provider.conf", <<'END');
llm_provider openai {
    endpoint  http://127.0.0.1:8089/v1;
    key       env:OPENAI_API_KEY;
}
END

spew("$dir/secret", "dummy\n");
spew("$dir/keys.json", '{"consumers":[]}');

ok(@files > 1, 'conf/ has files');

for my $path (@files) {
    my ($name) = $path =~ m{((?:conf|docker)/[^/]*)$};
    my $text = slurp($path);
    my %env = map { $_ => "dummy $_" } $text =~ /\benv:(\w+)/g;

    my ($status, $said) = LLM::Nginx->check(
        conf => local_conf($text),
        env  => { OPENAI_API_KEY => 'dummy', %env },
    );

    is($status, 0, "$name passes nginx -t") or diag($said);
    unlike($said, qr/\bdummy\b/, "$name: no secret is printed");
}


# conf/consumers.conf: the consumer's key in, the provider's out

my $p = LLM::Fake->openai(usage => 'always');

{
    my $gw = running('consumers', qr{https://api\.openai\.com}
                                  => 'http://127.0.0.1:' . $p->port);
    my $ask = sub {
        return post_json($gw, '/v1/chat/completions', { model => 'm' },
                         headers => [ map { [ Authorization => $_ ] } @_ ]);
    };

    for my $bad (undef, 'Bearer gw-other', 'Bearer ',
                 'Bearer sk-acme-at-the-provider')
    {
        my $r = $ask->(grep { defined } $bad);
        is($r->status, 401, 'consumers.conf: ' . ($bad // 'no key') . ': 401');
        is(ref $r->json->{error}, 'HASH', '  as JSON');
    }
    is($p->count, 0, '  and nothing is asked');

    my $r = $ask->('Bearer gw-2c1f0e6b8d4a7395e0c1f2a3');
    is($r->status, 200, 'consumers.conf: a key of ours is served');
    is(($p->requests)[0]{headers}{authorization},
       'Bearer sk-acme-at-the-provider', '  with the key of its consumer');
    no_canary($p->bytes_seen, 'gw-2c1f0e6b8d4a7395e0c1f2a3');
    is(wait_for(sub { slurp($dir . '/llm.log') =~ /^acme (.*)$/m ? $1 : '' }),
       'm 11 5 complete', '  and its name in the log');
    $gw->done;
}


# conf/meter.conf

{
    my $before = $p->count;
    my $gw = running('meter', qr{127\.0\.0\.1:800[01]}
                              => '127.0.0.1:' . $p->port);
    my $r = post_json($gw, '/v1/chat/completions',
                      { model => 'm', stream => JSON::PP::true() },
                      headers => [ [ Authorization => 'Bearer theirs' ] ]);
    is($r->status, 200, 'meter.conf: an answer passes');
    is(($p->requests)[$before]{headers}{authorization}, 'Bearer theirs',
       '  for the client\'s own key');
    my $line = wait_for(sub { slurp("$dir/usage.log") =~ /^(\{.*\})$/m && $1 });
    like($line, qr/"prompt":"11","completion":"5","usage":"provider"/,
         '  and is in the log');
    $gw->done;
}

done_testing();


sub running {
    my ($name, $from, $to) = @_;

    my $text = slurp("$root/conf/$name.conf") =~ s/$from/$to/gr
               =~ s/127\.0\.0\.1:8080/127.0.0.1:%%PORT%%/r;
    return LLM::Nginx->new(conf => local_conf($text));
}


sub local_conf {
    my ($text) = @_;

    # the kit's own lines take the place of these
    $text =~ s{^\s*(?:load_module\s+modules/ngx_http_llm_module\.so|user|pid
               |daemon|worker_processes|error_log)\b.*;}{}xmg;

    my @own = map { "${_}_temp_path $dir/$_;" }
              grep { $text !~ /^\s*${_}_temp_path\s/m }
              qw(client_body proxy fastcgi uwsgi scgi);
    push @own, 'access_log off;' if $text !~ /^\s*access_log\s/m;

    $text =~ s/^http\s*\{\K/ @own/m;
    $text =~ s{\binclude\s+\K\S*\bprovider\.conf}{$dir/provider.conf};
    $text =~ s{/var/log/nginx/}{$dir/}g;
    $text =~ s{\bkeys\.json;}{$dir/keys.json;};
    $text =~ s{\bfile:[^\s;]+}{file:$dir/secret}g;

    if ($text =~ s{\b(ssl_certificate(?:_key)?\s+)[^\s;]+}{$1$dir/tls.pem}g) {
        certificate("$dir/tls.pem");
    }

    return "%%GLOBALS%%\n$text";
}


sub certificate {
    my ($path) = @_;

    return if -e $path;
    system("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost"
           . " -keyout $path -out $path.crt 2> $path.log"
           . " && cat $path.crt >> $path") == 0
        or die slurp("$path.log");
}
