package LLM::Nginx;

# One nginx in a private directory, on ports of its own.
#
#   my $gw = LLM::Nginx->new(http => <<'CONF', vars => { P => $fake });
#       server { listen 127.0.0.1:%%PORT%%; ... proxy_pass http://127.0.0.1:%%P%%; }
#   CONF
#
# It never sleeps for a fixed time: nginx's own log says which workers run.
# A test ends with $gw->done, whose test point is "nothing bad was logged".

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(abs_path);
use IO::Socket::UNIX;
use Test::More ();

use LLM::Util qw(slow wait_for poll_until tempdir slurp spew root_dir
                 reserve_port alive spawn reap adopt_orphans register complain);

# Never excused, wherever it stands: sanitizers, valgrind.
my $SANITIZER = qr/ERROR:[ ]\w+Sanitizer | :[ ]runtime[ ]error: |
                   ERROR[ ]SUMMARY:[ ][1-9] |
                   ==\d+==[ ].*(?:Invalid[ ](?:read|write|free) |
                                  depends[ ]on[ ]uninit | Use[ ]of[ ]uninit |
                                  uninitialised[ ]byte |
                                  definitely[ ]lost(?:[ ]in|:[ ][1-9]))
                  /x;

# A sanitizer may end a worker with a code of its own, without a signal.
my $BAD_EXIT = qr/worker process \d+ exited with code [1-9]/;

my $LOG_TIME = qr{^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d }m;


# Options:
#   http, events, main   texts put into these blocks (main: top level)
#   server               text of one server that listens on %%PORT%%
#   conf                 a whole file; %%GLOBALS%% is our own top level part
#   vars                 NAME => value for %%NAME%%; objects give their ->port
#   env                  NAME => value of nginx's environment (undef: unset)
#   workers, master      1, 1
#   daemon               1: needed for ->upgrade; SIGKILL of the test would
#                        leave such an nginx behind
#   module               0: without our module; else its path
#   modules              further .so files
#   error_log            info (default), notice or debug
#   access_format        text of the log_format of access.log
#   user                 of the workers, when started by root (root)

sub new {
    my ($class, %opt) = @_;

    my $self = $class->_prepare(%opt);

    for my $try (1 .. 3) {
        $self->_write_conf;
        $self->_start and last;

        my $why = $self->stderr . $self->error_log;
        my $race = $why =~ /bind\(\) to .* failed \(98:/;
        croak "nginx did not start:\n$why" if !$race || $try == 3;

        # Something outside the kit took a port between our check and nginx's
        # bind(): other ports, please.
        $self->{ports} = [];
        unlink $self->{error_path};
        delete $self->{tails};
    }

    register($self);
    return $self;
}


# nginx -t: (exit status, what it printed).

sub check {
    my ($class, %opt) = @_;

    my $self = $class->_prepare(%opt);
    $self->_write_conf;
    my $pid = spawn([ $self->_argv, '-t' ], $self->_child_env);
    my $status = reap($pid, 20) // croak 'deadline: nginx -t did not end';

    my $said = $self->stderr;
    complain("nginx -t: $1") if $said =~ /^(.*$SANITIZER.*)$/m;
    complain("nginx -t died by signal " . ($status & 127)) if $status & 127;
    return ($status >> 8, $said);
}


sub _prepare {
    my ($class, %opt) = @_;

    my $dir = tempdir();
    mkdir "$dir/$_" for qw(body proxy fastcgi uwsgi scgi);

    return bless {
        owner       => $$,
        dir         => $dir,
        opt         => { workers => 1, master => 1, error_log => 'info',
                         %opt },
        ports       => [],
        conf_path   => "$dir/nginx.conf",
        error_path  => "$dir/error.log",
        access_path => "$dir/access.log",
        expected    => [],
        expected_alerts => [],
    }, $class;
}


# The n-th port of this nginx; asked for, it is reserved.

sub port {
    my ($self, $n) = @_;
    return $self->{ports}[ $n || 0 ] //= reserve_port();
}

sub dir        { return $_[0]{dir} }
sub error_log  { return slurp($_[0]{error_path}) }
sub access_log { return slurp($_[0]{access_path}) }
sub stderr     { return slurp("$_[0]{dir}/stderr") }
sub conf       { return slurp($_[0]{conf_path}) }


# The first access log line that matches; nginx writes it after the client
# has its answer, so a test has to wait.  since => $gw->mark skips what was
# logged before the mark.

sub wait_log       { return _wait_line($_[0], 'access', @_[1 .. $#_]) }
sub wait_error_log { return _wait_line($_[0], 'error', @_[1 .. $#_]) }

sub mark {
    my ($self) = @_;
    return { map { $_ => -s $self->{"${_}_path"} || 0 } qw(access error) };
}

sub _wait_line {
    my ($self, $log, $re, %opt) = @_;

    my $offset = $opt{since} ? $opt{since}{$log} : 0;
    my $held = '';

    return wait_for(sub {
        $held .= _read_from($self->{"${log}_path"}, \$offset);
        while ($held =~ s/^(.*)\n//) {
            my $line = $1;
            return $line if $line =~ $re;
        }
        return undef;
    }, $opt{timeout} || 5, "$log log line matching $re");
}

sub _read_from {
    my ($path, $offset) = @_;
    open my $fh, '<:raw', $path or return '';
    seek $fh, $$offset, 0;
    local $/;
    my $bytes = <$fh> // '';
    $$offset += length $bytes;
    return $bytes;
}


sub master_pid {
    my ($self) = @_;
    my ($pid) = slurp("$self->{dir}/nginx.pid") =~ /^(\d+)$/m;
    return $pid;
}

# Workers that still accept; $gw->worker_pids('all') has those that only
# finish what they began, too.

sub worker_pids {
    my ($self, $all) = @_;

    return $self->master_pid unless $self->{opt}{master};

    my $workers = $self->_workers;
    my @pids = sort { $a <=> $b }
               grep { $all || $workers->{$_} eq 'on' } keys %$workers;
    return @pids;
}


# pid => on | draining.  nginx tells of its workers at level "notice"; this
# holds under valgrind as well, where process titles do not.

sub _workers {
    my ($self) = @_;

    my $tail = $self->{tails}{workers} ||= { offset => 0, held => '',
                                             pids => {} };
    my $pids = $tail->{pids};
    $tail->{held} .= _read_from($self->{error_path}, \$tail->{offset});
    my $end = rindex($tail->{held}, "\n") + 1;
    my $lines = substr $tail->{held}, 0, $end, '';

    while ($lines =~ m{$LOG_TIME\[(?:notice|alert)\]\ (\d+)\#\d+:\ (?:
                       start\ worker\ process\ (\d+) |
                       (gracefully\ shutting\ down) |
                       worker\ process\ (\d+)\ exited )}gmx) {
        if    ($2) { $pids->{$2} = 'on' }
        elsif ($3) { $pids->{$1} = 'draining' if $pids->{$1} }
        else       { delete $pids->{$4} }
    }

    return $pids;
}


sub signal {
    my ($self, $signal, $pid) = @_;
    kill $signal, $pid || $self->master_pid;
}


# HUP, then waits until only new workers accept.  Returns 0 when nginx kept
# the old configuration.  With options (http =>, vars => ...) these replace
# the ones given before.

sub reload {
    my ($self, %opt) = @_;

    if (%opt) {
        $self->{opt} = { %{ $self->{opt} }, %opt };
        $self->_write_conf;
    }

    my %old = map { $_ => 1 } $self->worker_pids;
    my $mark = -s $self->{error_path};
    my $refused = 0;
    my ($offset, $new) = ($mark, '');
    $self->signal('HUP');

    wait_for(sub {
        $new .= _read_from($self->{error_path}, \$offset);
        return $refused = 1 if $new =~ /$LOG_TIME\[emerg\]/m;

        my @now = $self->worker_pids;
        return @now >= $self->{opt}{workers} && !grep { $old{$_} } @now;
    }, 10, 'new worker generation after HUP');

    return !$refused;
}


# The binary upgrade: USR2, and QUIT for the old master once the new one has
# workers.  A master that is our child ignores USR2: it takes itself for the
# new binary as long as its parent lives.

sub upgrade {
    my ($self) = @_;

    croak 'upgrade needs daemon => 1' unless $self->{opt}{daemon};
    my $old = $self->master_pid;
    my %old = map { $_ => 1 } $self->worker_pids;
    $self->signal('USR2');
    wait_for(sub { my $now = $self->master_pid; $now && $now != $old },
             10, 'pid file of a new master after USR2');
    wait_for(sub { grep { !$old{$_} } $self->worker_pids },
             10, 'worker of the new master');

    push @{ $self->{old_masters} }, $old;
    $self->signal('QUIT', $old);
    wait_for(sub { !grep { $old{$_} } $self->worker_pids },
             10, 'end of the old master\'s workers');
    return $self->master_pid;
}


# Log lines that this test provokes on purpose.  [alert] and [emerg] need
# their own word, so that nobody excuses a crash by accident.

sub expect_error { my $self = shift; push @{ $self->{expected} }, @_ }
sub expect_alert { my $self = shift; push @{ $self->{expected_alerts} }, @_ }


# since => $gw->mark leaves out lines that were logged before the mark.

sub problems {
    my ($self, %opt) = @_;

    my @bad;
    my $from = $opt{since} ? $opt{since}{error} : 0;
    for my $line (split /\n/, _read_from($self->{error_path}, \$from)) {
        if ($line =~ $SANITIZER || $line =~ $BAD_EXIT) {
            push @bad, $line;
            next;
        }

        next unless $line =~ /$LOG_TIME\[(alert|emerg|crit|error)\]/;
        my $allowed = $1 eq 'alert' || $1 eq 'emerg' ? 'expected_alerts'
                                                     : 'expected';
        push @bad, $line unless grep { $line =~ $_ } @{ $self->{$allowed} };
    }

    push @bad, grep { $_ =~ $SANITIZER } split /\n/, $self->stderr;
    push @bad, $self->{stop_failure} if $self->{stop_failure};
    return @bad;
}


# forget => 1: each connection of the test's begins with resume()
sub forgetful { return $_[0]{opt}{forget} }

# what was known of the providers is forgotten: all, or those of the names
sub resume {
    my ($self, @names) = @_;

    @names = $self->conf =~ /^\s*llm_provider\s+([\w-]+)/mg unless @names;
    for my $name (@names) {
        my $c = IO::Socket::UNIX->new(Peer => "$self->{dir}/admin")
            or croak "no admin socket: $!";
        print $c "POST /providers/$name/resume HTTP/1.0\r\n\r\n";
        my $said = join '', <$c>;
        croak "resume $name: $said" unless $said =~ m{^HTTP/1.1 200 };
    }
    return;
}


sub no_alerts {
    my ($self, $allowed, $name) = @_;

    $self->expect_error(@$allowed) if $allowed;
    my @bad = $self->problems;
    $name ||= 'nginx logged nothing bad';

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::ok(!@bad, $name)
        or Test::More::diag(join "\n", @bad > 20 ? (@bad[0 .. 19], '...')
                                                 : @bad);
    return !@bad;
}


# Stops first: what a worker finds only when it exits (open sockets, leaks)
# counts as well.

sub done {
    my ($self, $name) = @_;

    $self->stop;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return $self->no_alerts(undef, $name);
}


# QUIT by default: a request that does not end is a failure, not a reason to
# wait for ever.  stop('TERM') cuts running requests off.

sub stop {
    my ($self, $signal) = @_;

    return 1 if $self->{stopped} || !$self->{pid} || $$ != $self->{owner};
    $self->{stopped} = 1;
    $signal ||= 'QUIT';

    my @masters = ($self->master_pid || $self->{pid},
                   @{ $self->{old_masters} || [] });
    kill $signal, @masters;

    my $status = 0;
    for my $pid (@masters) {
        my $one = reap($pid, 10);
        $status = $one if $status == 0 || !defined $one;
        last unless defined $status;
    }
    return 1 if defined $status && $status == 0;

    if (defined $status) {
        $self->{stop_failure} = "nginx ended with wait status $status";
    } else {
        $self->_kill_all(@masters);
        $self->{stop_failure} = "nginx did not stop after SIG$signal, killed";
    }
    return 0;
}

sub _kill_all {
    my ($self, @masters) = @_;
    kill 'KILL', @masters, grep { alive($_) } $self->worker_pids('all');
    reap($self->{pid}, 5);
}


# Called at the end of a test that did not reach ->done.

sub cleanup {
    my ($self) = @_;

    return if $self->{stopped} || !$self->{pid} || $$ != $self->{owner};
    $self->stop('TERM');
    complain("not \$gw->done: $_") for $self->problems;
}

sub DESTROY {
    my ($self) = @_;
    local ($@, $?, $!);
    $self->cleanup unless ${^GLOBAL_PHASE} eq 'DESTRUCT';
}


# The pid file is written after the sockets listen; "start worker process"
# comes after that.  Both are events, and unlike a probing connection they do
# not show up in anything that counts connections.

sub _start {
    my ($self) = @_;

    adopt_orphans() if $self->{opt}{daemon};
    $self->{pid} = spawn([ $self->_argv ], $self->_child_env);

    my $ready = poll_until(sub {
        return 'dead' unless $self->{opt}{daemon} || alive($self->{pid});
        return 0 unless $self->master_pid;
        return 'up' if !$self->{opt}{master};
        return $self->worker_pids >= $self->{opt}{workers} && 'up';
    }, 10) || 'late';

    # the launcher goes before its daemon is anybody's: a sanitizer's leak
    # check may hold it for a while
    if ($ready eq 'up' && $self->{opt}{daemon}) {
        poll_until(sub { !alive($self->{pid}) }, 10);
    }

    return 1 if $ready eq 'up';
    $self->_kill_all($self->{pid}) if $ready eq 'late';
    reap(delete $self->{pid}, 5);
    return 0;
}


sub _argv {
    my ($self) = @_;
    return (split(' ', $ENV{LLM_WRAP} // ''),
            $ENV{LLM_NGINX} || '/usr/sbin/nginx',
            '-p', $self->{dir}, '-e', 'stderr', '-c', $self->{conf_path});
}


sub _child_env {
    my ($self) = @_;
    my %env = %{ $self->{opt}{env} || {} };
    $env{LD_PRELOAD} = $ENV{LLM_PRELOAD} if $ENV{LLM_PRELOAD};
    return (env => \%env, stderr => "$self->{dir}/stderr");
}


sub _write_conf {
    my ($self) = @_;

    my $opt = $self->{opt};
    my $text = $opt->{conf} // $self->_conf;
    my %vars = %{ $opt->{vars} || {} };
    $vars{DIR} = $self->{dir};
    $vars{ROOT} = root_dir();

    $text =~ s/%%GLOBALS%%/$self->_globals/e;
    $text =~ s/%%(\w+)%%/$self->_value($1, \%vars)/eg;
    spew($self->{conf_path}, $text);
}

sub _value {
    my ($self, $name, $vars) = @_;
    my $value = $vars->{$name};
    return ref $value ? $value->port : $value if defined $value;
    return $self->port($1 || 0) if $name =~ /^PORT(?:_(\d+))?$/;
    croak "no value for %%$name%%";
}


sub _globals {
    my ($self) = @_;

    my $opt = $self->{opt};
    my $text = join "\n",
        'daemon ' . ($opt->{daemon} ? 'on;' : 'off;'),
        'master_process ' . ($opt->{master} ? 'on;' : 'off;'),
        "worker_processes $opt->{workers};",
        "pid $self->{dir}/nginx.pid;",
        "error_log $self->{error_path} $opt->{error_log};",
        # a binary upgrade keeps only what is listed
        map({ "env $_;" } grep { /^(?:A|LS|UB)SAN_OPTIONS$/ } keys %ENV),
        map({ "load_module $_;" } $self->_modules, @{ $opt->{modules} || [] });

    # Root is the user who can write gcov and sanitizer files; a test about
    # permissions says user => 'nobody'.
    $text .= "\nuser " . ($opt->{user} || 'root') . ';' if $> == 0;
    return "$text\n";
}


sub _modules {
    my ($self) = @_;

    my $module = $self->{opt}{module};
    return ($module) if $module;
    return () if defined $module || $ENV{LLM_STATIC};

    my $path = ($ENV{LLM_BUILD} || root_dir() . '/build')
               . '/ngx_http_llm_module.so';
    croak "$path is not there: build it, or set LLM_BUILD" unless -e $path;
    return (abs_path($path));       # nginx would look below its own prefix
}


sub _conf {
    my ($self) = @_;

    my ($dir, $opt) = ($self->{dir}, $self->{opt});
    my $format = '';
    if ($opt->{access_format}) {
        $format = "log_format kit '$opt->{access_format}';";
    }
    my $log = $self->{access_path} . ($format ? ' kit' : '');

    my $http = $opt->{http} // '';
    if (defined $opt->{server}) {
        $http .= "server { listen 127.0.0.1:%%PORT%%;\n$opt->{server}\n}\n";
    }

    # for resume(); the socket's path is short enough for the kernel
    $http .= "server { listen unix:$dir/admin; access_log off;"
             . " location / { llm_admin; } }\n"
        if $http =~ /^\s*llm_provider\s/m && $http =~ /\bllm_pass\b/;

    my ($main, $events) = map { $_ // '' } @$opt{qw(main events)};
    return <<"END";
%%GLOBALS%%
$main
events { worker_connections 1024; $events }
http {
    $format
    access_log $log;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
$http
}
END
}

1;
