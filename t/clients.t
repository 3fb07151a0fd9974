#!/usr/bin/perl

# What an application notices when its base_url is this gateway: nothing.
# The official OpenAI SDKs for Python and Node at pinned versions, and an
# agent framework on top, do all they do and read every error as OpenAI's.
# The claims are in clients/python/*.py and clients/node/*.mjs; what they need
# is installed into build/clients, once.

use FindBin qw($Bin);
use lib "$Bin/lib", "$Bin/clients";
use LLM::Test;

use Digest::SHA qw(sha256_hex);
use Program;
use Provider;

my $p = Provider->new;
my $second = Provider->new;
my $site = tempdir();
spew("$site/users", "joe:{PLAIN}secret\n");

my @log = qw(request_id http_x_claim status llm_operation llm_model
             llm_stream_end llm_finish_reason llm_usage_source
             llm_total_tokens llm_attempts);

my $gw = LLM::Nginx->new(
    vars => { P => $p, SECOND => $second, DEAD => LLM::Fake->refused,
              SITE => $site, HASTE => 300 * slow() . 'ms' },
    access_format => join('|', map { "\$$_" } @log),
    http => <<'CONF');
    client_body_buffer_size 64k;
    client_max_body_size 8m;

    map $http_x_break $broken { yes "a\rb"; }

    llm_provider p {
        endpoint http://127.0.0.1:%%P%%/v1;
        key sk-canary-provider;
    }
    llm_provider second { endpoint http://127.0.0.1:%%SECOND%%/v1; }
    llm_provider dead { endpoint http://127.0.0.1:%%DEAD%%/v1; }
    llm_provider broken {
        endpoint http://127.0.0.1:%%P%%/v1;
        header X-Broken $broken;
    }
    llm_provider hasty {
        endpoint http://127.0.0.1:%%P%%/v1;
        header_timeout %%HASTE%%;
        first_token_timeout %%HASTE%%;
        idle_timeout %%HASTE%%;
    }

    llm_model gpt-4o { target p gpt-4o-2024-11-20; alias standard; }
    llm_model text-embedding-3-small { target p; }
    llm_model vendor/model { target p; }
    llm_model agent { target p; }
    llm_model do/* { target p *; }
    llm_model twice/* { target p *; target second * backup; }
    llm_model spare/* { target p *; target second gpt-4o backup; }
    llm_model hasty/* { target hasty *; }
    llm_model dead { target dead; }
    llm_model broken { target broken; }

    server {
        listen 127.0.0.1:%%PORT%%;
        llm_pass_header x-claim;

        location /v1/ { llm_pass; }
        location /ping/v1/ { llm_ping 100ms; llm_pass; }
        location /small/v1/ { client_max_body_size 1k; llm_pass; }
        location /key/v1/ {
            auth_basic "here";
            auth_basic_user_file %%SITE%%/users;
            llm_pass;
        }
        location /deny/v1/ { deny all; llm_pass; }
        location /down/v1/ { llm_pass; return 503; }
        location /limit/v1/ {
            if ($http_x_stainless_retry_count = 0) { return 429; }
            llm_pass;
        }
    }
CONF


# What the programs may ask, mostly about the requests that had CLAIM in their
# x-claim header.

my %questions;

%questions = (
    log => sub {
        my ($id) = @_;
        my @values = split /\|/, $gw->wait_log(qr/^\Q$id\E\|/), -1;
        return { map { $log[$_] => $values[$_] } 0 .. $#log };
    },
    last => sub {                   # the same of a claim's last request
        my ($claim) = @_;
        $gw->wait_log(qr/^\w+\|\Q$claim\E\|/);
        my ($id) = (reverse $gw->access_log =~ /^(\w+)\|\Q$claim\E\|/mg)[0];
        return $questions{log}->($id);
    },
    requests => sub {               # of the client and to the providers
        my ($claim) = @_;
        my $client = () = $gw->access_log =~ /^\w+\|\Q$claim\E\|/mg;
        return { client => $client,
                 provider => scalar(sent($p, $claim)),
                 second => scalar(sent($second, $claim)) };
    },
    sent => sub {
        my ($claim) = @_;
        my $req = (sent($p, $claim))[-1];
        return { map { $_ => $req->{$_} } qw(method path headers json) };
    },
    digest => sub { return sha256_hex((sent($p, $_[0]))[-1]{body}) },
    forget => sub { $gw->resume; return JSON::PP::true },
    gate => sub { $p->open_gate($_[0]); return JSON::PP::true },
    arrived => sub {
        my ($claim) = @_;
        wait_for(sub { scalar sent($p, $claim) }, 5, 'request');
        return JSON::PP::true;
    },
    closed => sub {                 # the provider's connection, by the gateway
        my ($claim) = @_;
        $questions{arrived}->($claim);
        $p->closed_at((sent($p, $claim))[-1]{conn}, 5);
        return JSON::PP::true;
    },
);

sub sent {
    my ($fake, $claim) = @_;
    return grep { ($_->{headers}{'x-claim'} // '') eq $claim } $fake->requests;
}


my %env = (
    LLM_GATEWAY => 'http://127.0.0.1:' . $gw->port,
    OPENAI_API_KEY => 'sk-canary-client',
    OPENAI_AGENTS_DISABLE_TRACING => 1,
    PYTHONDONTWRITEBYTECODE => 1,
    no_proxy => '127.0.0.1',
);

# not the tester's own account
my @unset = map { $_ => undef } qw(OPENAI_BASE_URL OPENAI_ORG_ID
                                   OPENAI_PROJECT_ID OPENAI_LOG);

sub python {
    my ($name, $script, $list, $folder) = @_;
    my $why = Program::missing('python', $list, $folder);
    run($name, $why, Program::packages() . "/$folder/bin/python",
        Program::sources() . "/python/$script");
}

# node looks for packages beside the program
sub node {
    my ($name, $script, $folder) = @_;
    my $why = Program::missing('node', $folder);
    my $dir = tempdir();
    symlink Program::packages() . "/$folder/node_modules",
            "$dir/node_modules";
    for my $file (glob Program::sources() . '/node/*.mjs') {
        spew($dir . ($file =~ m{(/[^/]+)$})[0], slurp($file));
    }
    run($name, $why, 'node', "$dir/$script");
}

sub run {
    my ($name, $why, @argv) = @_;
  SKIP: {
        skip "$name: $why", 1 if $why;
        Program::run(name => $name, argv => [ @argv ], seconds => 60,
                     env => { %env, @unset }, questions => \%questions);
    }
}

python('openai 3 for Python', 'test_openai.py', 'requirements.txt', 'python');
python('openai-agents for Python, unmodified', 'test_agents.py',
       'requirements.txt', 'python');
python('openai 2 for Python', 'test_openai.py', 'requirements-2.txt',
       'python-2');
node('openai 6 for Node', 'test_openai.mjs', 'node');

for my $fake ($p, $second) {
    no_canary($fake->bytes_seen, 'sk-canary-client');
}
no_canary($gw->error_log . $gw->access_log, 'sk-canary-client',
          'sk-canary-provider');

$gw->expect_error(qr/llm_provider "\w+"/, qr/connect\(\) failed \(111/,
                  qr/upstream timed out/, qr/access forbidden by rule/,
                  qr/client intended to send too large body/,
                  qr/upstream prematurely closed connection/,
                  qr/Connection reset by peer/);
$gw->done;
done_testing;
