package LLM::Util;

# The ground the other packages stand on: deadlines, files, ports, child
# processes.  Tests use LLM::Test, which exports the useful part of this.

use strict;
use warnings;

use Carp qw(croak);
use Config;
use Cwd ();
use Exporter qw(import);
use Fcntl qw(:flock);
use File::Basename qw(dirname);
use File::Path ();
use File::Temp ();
use IO::Socket::INET;
use POSIX ();
use Scalar::Util qw(weaken);
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(slow wait_for poll_until tempdir slurp spew root_dir
                    reserve_port alive spawn reap forked adopt_orphans
                    register complain);

# Directories, port locks and children belong to the process that made them:
# a forked fake inherits the variables, but must not clean up.
my (@dirs, @locks, @children);
my $owner = $$;
my @complaints;


# Deadlines are written for a fast machine without sanitizers; LLM_SLOW=10
# stretches all of them for valgrind.

sub slow { return $ENV{LLM_SLOW} || 1 }


# Polls until the sub returns something true and returns that, or undef when
# the deadline has passed.  The steps are short because most events we wait
# for happen within a few milliseconds.

sub poll_until {
    my ($sub, $seconds) = @_;

    my $deadline = time + $seconds * slow();
    my $step = 0.0005;

    while (1) {
        my $value = $sub->();
        return $value if $value;
        return undef if time > $deadline;

        sleep $step;
        $step = $step * 1.3 if $step < 0.01;
    }
}


# The same, but a missed deadline ends the test with a message saying what
# did not happen.

sub wait_for {
    my ($sub, $seconds, $name) = @_;

    $seconds //= 5;
    my $value = poll_until($sub, $seconds);
    return $value if $value;

    $name //= 'event';
    croak "deadline: no $name within " . $seconds * slow() . ' s';
}


# Searchable by everyone (0755), because an nginx worker started by root may
# run as another user.  Removed at the end, unless LLM_KEEP is set.

sub tempdir {
    my $dir = File::Temp::tempdir('llm-XXXXXX', TMPDIR => 1);
    chmod 0755, $dir or croak "chmod $dir: $!";
    push @dirs, $dir if $$ == $owner;
    return $dir;
}


sub root_dir {
    return Cwd::abs_path(dirname(__FILE__) . '/../../..');
}


sub slurp {
    my ($path) = @_;
    open my $fh, '<:raw', $path or return '';
    local $/;
    return scalar(<$fh>) // '';
}


sub spew {
    my ($path, $bytes) = @_;
    open my $fh, '>:raw', $path or croak "open $path: $!";
    print $fh $bytes;
    close $fh or croak "write $path: $!";
    return $path;
}


# A port nobody listens on and no other test process will take: the lock on
# its file ends with this process.  The range lies below Linux's ephemeral
# ports, so that no outgoing connection borrows it either.

sub reserve_port {
    my $dir = "/tmp/llm-ports.$>";          # the same for every test process
    mkdir $dir;

    my ($low, $span) = (12000, 20000);
    my $start = int rand $span;

    for my $n (0 .. $span - 1) {
        my $port = $low + ($start + $n) % $span;

        open my $lock, '>', "$dir/$port" or croak "open $dir/$port: $!";
        next unless flock $lock, LOCK_EX | LOCK_NB;
        next unless _bindable($port);

        push @locks, $lock;
        return $port;
    }

    croak 'no free port';
}


sub _bindable {
    my ($port) = @_;
    return defined IO::Socket::INET->new(
        LocalAddr => '0.0.0.0', LocalPort => $port, Listen => 1,
        ReuseAddr => 1);
}


# A zombie is dead: only its parent can still see it.

sub alive {
    my ($pid) = @_;
    my ($state) = slurp("/proc/$pid/stat") =~ /\) (\S)/;
    return defined $state && $state !~ /[ZX]/;
}


# fork + exec.  The kernel is asked to end the child when this process dies,
# even by SIGKILL.  Options: stdout, stderr (files), env (undef deletes).

sub spawn {
    my ($argv, %opt) = @_;

    return forked(sub {
        while (my ($name, $value) = each %{ $opt{env} || {} }) {
            if (defined $value) { $ENV{$name} = $value }
            else                { delete $ENV{$name} }
        }

        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', $opt{stdout} || '/dev/null';
        open STDERR, '>>', $opt{stderr} if $opt{stderr};

        { no warnings 'exec'; exec { $argv->[0] } @$argv }
        print STDERR "exec $argv->[0]: $!\n";
    });
}


# Runs the sub in a child that never returns into the test: no END blocks, no
# destructors, no plan printed twice.

sub forked {
    my ($sub) = @_;

    my $parent = $$;
    my $pid = fork // croak "fork: $!";

    if ($pid == 0) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE CHLD);
        _die_with_parent($parent);
        eval { $sub->(); 1 } or print STDERR $@;
        POSIX::_exit(127);
    }

    push @children, $pid;
    return $pid;
}


sub _die_with_parent {
    my ($parent) = @_;
    _prctl(1, POSIX::SIGTERM());            # PR_SET_PDEATHSIG
    POSIX::_exit(1) if getppid() != $parent;
}

# Grandchildren whose parent ends become our children, and can be reaped.

sub adopt_orphans { _prctl(36, 1) }         # PR_SET_CHILD_SUBREAPER

sub _prctl {
    my ($arch) = $Config{archname} =~ /^([^-]+)/;
    my $number = { x86_64 => 157, aarch64 => 167, i386 => 172, i686 => 172 }
                 ->{$arch};
    syscall($number, @_, 0, 0, 0) if $number;
}


# Waits for a child's end; returns its wait status, or undef when it is still
# there at the deadline.

sub reap {
    my ($pid, $seconds) = @_;

    my $status;
    my $gone = poll_until(sub {
        my $rc = waitpid $pid, POSIX::WNOHANG();
        return 0 if $rc == 0;
        $status = $rc == $pid ? $? : 0;
        return 1;
    }, $seconds);

    return undef unless $gone;
    @children = grep { $_ != $pid } @children;
    return $status;
}


# Objects with a "cleanup" method, called once before this process ends.

my @registered;

sub register {
    my ($object) = @_;
    push @registered, $object;
    weaken $registered[-1];
}


# What went wrong where no test point can be printed any more (destructors,
# the end of the process) is said there and fails the test by its exit code.

sub complain { push @complaints, @_ }


# A test that is interrupted still runs the END block below.

$SIG{$_} = sub { exit 130 } for grep { !defined $SIG{$_} } qw(INT TERM HUP);

END {
    if ($$ == $owner) {
        my $status = $?;

        my @objects = grep { defined } @registered;     # strong references
        for my $object (@objects) {
            eval { $object->cleanup; 1 } or complain($@);
        }

        for my $pid (@children) {
            kill 'KILL', $pid;
            waitpid $pid, 0;
        }

        $ENV{LLM_KEEP} ? print STDERR map { "# kept $_\n" } @dirs
                       : File::Path::remove_tree(@dirs, { safe => 0 });

        if (@complaints) {
            my $text = join "\n", @complaints;
            $text =~ s/^/# /mg;
            print STDERR "$text\n";
            $status ||= 1;
        }

        $? = $status;
    }
}

1;
