#!/usr/bin/perl

# A newcomer pastes the quick start of README.md, step by step, into a shell.
# Each command prints what README.md shows behind it.  "make run" is replaced
# by its last step, since this test has a built module already.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use IO::Socket::INET;
use POSIX qw(WNOHANG);
use LLM::Util qw(reap);

my $root = root_dir();
my $build = $ENV{LLM_BUILD} || "$root/build";
my $dir = tempdir();
my $port = two_ports();

mkdir "$dir/$_" for qw(build conf t);
symlink "$root/conf/nginx.conf", "$dir/conf/nginx.conf";
symlink "$_", $dir . '/build/' . s{.*/}{}r for glob "$build/*.so";
chmod 0755, $dir;

my ($text) = slurp("$root/README.md") =~ /^## Quick start\n(.*?)^## /ms;
my ($server, $output, $steps) = (undef, '', 0);

while ($text =~ /^<!-- (quick start(?:, server)?|expect) -->\n```\w*\n(.*?)^```$/msg) {
    my ($kind, $code) = ($1, $2);
    $steps++;

    if ($kind eq 'expect') {
        is_in_order($code, $output);
    } elsif ($kind eq 'quick start') {
        $output = run($code);
    } else {
        stop();
        start($code);
    }
}
stop();
ok($steps > 12, 'README.md has a quick start');

done_testing();


# The gateway and the simulator of run.sh need PORT and PORT + 9.
sub two_ports {
    while (1) {
        my $first = reserve_port();
        my $other = IO::Socket::INET->new(
            LocalAddr => '127.0.0.1', LocalPort => $first + 9, Listen => 1);
        return $first if $other;
    }
}

sub start {
    my ($code) = @_;

    my ($conf) = $code =~ /^make run(?: CONF=(\S+))?$/m
        or return fail("a server is started by make run: $code");

    my $pid = fork // die "fork: $!";
    if (!$pid) {
        chdir $dir;
        delete $ENV{OPENAI_API_KEY};
        open STDOUT, '>', "$dir/stdout";
        open STDERR, '>', "$dir/stderr";
        exec "$root/t/tools/run.sh", "$dir/build", $port, $conf // ();
    }
    $server = $pid;

    my $up = wait_for(sub { answers() || waitpid($pid, WNOHANG) == $pid && 'ended' });
    is($up, 'HTTP', 'the gateway starts: ' . $code =~ s/\n//r)
        or diag(slurp("$dir/stdout"), slurp("$dir/stderr"));
}

# The port is open during nginx -t, too.
sub answers {
    my $sock = IO::Socket::INET->new("127.0.0.1:$port") or return;
    print $sock "GET / HTTP/1.0\r\n\r\n";
    sysread $sock, my $bytes, 4 or return;
    return $bytes;
}

# SIGINT is Ctrl-C.
sub stop {
    return unless $server;
    kill INT => $server;
    reap($server, 20) // fail('the gateway stops');
    undef $server;
}


# The commands of README.md share the variables of a shell.

sub run {
    my ($code) = @_;

    $code =~ s/127\.0\.0\.1:8080/127.0.0.1:$port/g;
    spew("$dir/step", $code);
    my $pid = open my $out, '-|',
        "cd $dir && { [ ! -e state ] || . ./state; }; . ./step 2> errors; "
        . 'set | grep -E "^(key|hash)=" > state';
    die "sh: $!" unless $pid;
    my $output = join '', <$out>;
    close $out;
    diag(slurp("$dir/errors")) if $? >> 8 > 1;
    return $output;
}

# The lines of README.md occur in the output, in this order.
sub is_in_order {
    my ($expected, $output) = @_;

    s/\b\d+ms/Nms/g for $expected, $output;     # times differ

    my $at = 0;
    for my $line (split /\n/, $expected) {
        my $found = index $output, $line, $at;
        if ($found < 0) {
            return fail("the output has \"$line\"") || diag($output);
        }
        $at = $found + length $line;
    }
    pass('the output is that of README.md: ' . (split /\n/, $expected)[-1]);
}
