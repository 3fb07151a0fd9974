package Program;

# A client program of t/clients.t: makes sure that its packages are there,
# runs it, and makes a subtest of what it says, line by line:
#
#   ok - CLAIM, not ok - CLAIM     a test point
#   # TEXT                         why
#   ? WORD ARGUMENTS               a question to the test; one line of JSON
#                                  on its standard input is the answer
#   done N                         it has made N points and is at its end

use strict;
use warnings;

use IO::Handle;
use IO::Select;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

use LLM::Util qw(root_dir tempdir slurp forked reap slow);

my $JSON = JSON::PP->new->utf8->canonical->allow_nonref;


# Where packages are: not in LLM_BUILD, so that no other build installs them
# again.

sub packages { return root_dir() . '/build/clients' }
sub sources  { return root_dir() . '/t/clients' }


# install.sh's arguments; the reason why there is nothing to run, or nothing.
# Dies when an installer fails for no good reason.

sub missing {
    my (@what) = @_;

    open my $out, '-|', sources() . '/install.sh', @what
        or die "install.sh: $!";
    my $said = do { local $/; <$out> } // '';
    close $out;

    chomp $said;
    return if $? == 0;
    return $said if $? >> 8 == 77;
    die "install.sh @what:\n$said\n";
}


# Options: name of the subtest, argv, env, seconds, and questions:
# WORD => sub (ARGUMENTS) whose result is the answer.

sub run {
    my (%opt) = @_;

    subtest $opt{name} => sub {
        my $self = bless { %opt, points => 0, buffer => '' };
        $self->_start;
        $self->_listen;
        $self->_end;
    };
}

sub _start {
    my ($self) = @_;

    pipe my $to_read, $self->{to} or die "pipe: $!";
    pipe $self->{from}, my $from_write or die "pipe: $!";
    $self->{stderr} = tempdir() . '/stderr';

    $self->{pid} = forked(sub {
        while (my ($name, $value) = each %{ $self->{env} }) {
            if (defined $value) { $ENV{$name} = $value }
            else                { delete $ENV{$name} }
        }
        open STDIN, '<&', $to_read;
        open STDOUT, '>&', $from_write;
        open STDERR, '>', $self->{stderr};
        exec { $self->{argv}[0] } @{ $self->{argv} };
    });
    $self->{to}->autoflush(1);
}

# A line at a time, until the program closes its output or is too late.

sub _listen {
    my ($self) = @_;

    my $deadline = time + ($self->{seconds} || 60) * slow();
    my $select = IO::Select->new($self->{from});

    while (1) {
        my @ready = $select->can_read($deadline - time);
        last if !@ready;
        my $n = sysread $self->{from}, $self->{buffer}, 65536,
                        length $self->{buffer};
        return if !$n;
        $self->_line($1) while $self->{buffer} =~ s/^(.*)\n//;
    }
    $self->{late} = 1;
    kill 'KILL', $self->{pid};
}

sub _line {
    my ($self, $line) = @_;

    if ($line =~ /^(not )?ok - (.*)/) {
        $self->{points}++;
        ok(!$1, $2);
    }
    elsif ($line =~ /^\? (\w+) ?(.*)/) { $self->_answer($1, split / /, $2) }
    elsif ($line =~ /^done (\d+)$/)    { $self->{done} = $1 }
    elsif ($line =~ /^# ?(.*)/)        { diag($1) }
    else                               { note($line) }
}

# A question that could not be answered is the program's to report.

sub _answer {
    my ($self, $word, @args) = @_;

    my $question = $self->{questions}{$word};
    my $answer = eval { $question->(@args) };
    $answer = { failed => "$word: $@" } if $@;
    local $SIG{PIPE} = 'IGNORE';
    print { $self->{to} } $JSON->encode($answer), "\n";
}

sub _end {
    my ($self) = @_;

    close $self->{to};
    my $status = reap($self->{pid}, 10);
    kill 'KILL', $self->{pid} if !defined $status;

    my $why = $self->{late} ? 'it was too late'
            : !defined $status ? 'it did not end'
            : $status ? "wait status $status"
            : !defined $self->{done} ? 'it never said that it was done'
            : $self->{done} != $self->{points} ? 'points were lost' : '';
    is($why, '', 'the program came to its end')
        or diag(substr slurp($self->{stderr}), -4000);
}

1;
