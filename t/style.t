#!/usr/bin/perl

# Our own rules that a machine can check: the page, the size of a file, the
# rooms of module/ and who may call whom, what a room never touches, and
# that directives and files are documented.

use strict;
use warnings;

use File::Basename qw(basename dirname);
use File::Find;
use Test::More;

chdir dirname(__FILE__) . '/..' or die "chdir: $!";

# the rooms of module/ by height
my %ROOM = (
    codec   => 0,
    runtime => 1,
    service => 2,
    dialect => 2,
    flow    => 3,
    surface => 4,
);

# Wings that other wings of their room may call.  A wing of this list may call
# the wings that stand before it.
my @FOUNDATION = qw(
    codec/json
    runtime/files
    runtime/state
    runtime/redis
);

my @files   = files('include', 'module', 't/simulator', 't/caller');
my %text    = map { $_ => slurp($_) } @files;
my %code    = map { $_ => code($text{$_}) } @files;
my @sources = grep { m{^module/.*\.c$} } @files;

claim('no tab',            lines(qr/\t/));
claim('no trailing space', lines(qr/[ \t\r]$/));
claim('no line longer than 80 columns', lines(qr/.{81}/));
claim('every file ends with one newline',
    grep { $text{$_} !~ /[^\n]\n\z/ } @files);
claim('no file longer than it may be', too_long());
claim('every source lies in a room',
    grep { !exists $ROOM{ room($_) } } @sources);
claim('calls go down only', calls_up());
claim('no call crosses the wings of a room', calls_across());
claim('no header is included from outside its wing or room',
    private_headers());
claim('codec: no request, pool, log or clock',
    mentions(qr{^module/codec/}, qr/\b(?:
        ngx_http(?:_\w+|\.h) | ngx_pool\w* | ngx_p[cn]?alloc | \w*->pool
        | ngx_log\w* | ngx_current_msec | ngx_time\w* | (?:gettimeof|)time
    )\b/x));
claim('runtime: no request',
    mentions(qr{^module/runtime/}, qr/\bngx_http(?:_\w+|\.h)/));
claim('no assert, abort or exit',
    mentions(qr/./, qr/\b(?:assert|abort|exit|_exit)\s*\(/));
claim('no code touches the configuration pointers of a request',
    mentions(qr/./, qr/\br\s*->\s*(?:\w+\s*->\s*)?(?:loc|srv|main)_conf\b/));
claim('ngx_http_complex_value is called by ngx_http_llm_value alone',
    grep { !m{^(?:include/ngx_http_llm_value\.h|t/)} }
    mentions(qr/./, qr/\bngx_http_complex_value\s*\(/));
claim('no header is added to a response beside ngx_http_llm_header_set',
    grep { !m{^(?:include/|t/|module/service/client/ngx_http_llm_error\.c)} }
    mentions(qr/./, qr/\b(?:ngx_list_push|ngx_http_llm_list_add)
                      \s*\(\s*&r\s*->\s*headers_out\b/x));
claim('no ngx_cycle->log',  mentions(qr/./, qr/\bngx_cycle\s*->\s*log\b/));
claim('no #if 0',           mentions(qr/./, qr/^\s*#\s*if\s+0\b/m));
claim('every source has a line in module/README.md', untoured());

done_testing();


sub claim {
    my ($name, @offenders) = @_;

    ok(!@offenders, $name) or diag(map { "  $_\n" } @offenders);
}


sub files {
    my @found;

    find(sub { push @found, $File::Find::name if /\.[ch]$/ }, @_);
    return sort @found;
}


sub slurp {
    my ($path) = @_;

    open my $fh, '<:encoding(UTF-8)', $path or return '';
    local $/;
    return <$fh> // '';
}


# the text without what comments and strings say; line numbers stay
sub code {
    my ($text) = @_;

    $text =~ s{
        ( /\* .*? \*/ ) | ( "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' )
    }{ defined $1 ? $1 =~ tr/\n//cdr : '""' }gesx;

    return $text;
}


sub room {
    my ($path) = @_;

    return $path =~ m{^module/([^/]+)/} ? $1 : '';
}


# Returns the folder of a file below module/: its wing, or its room if the file
# lies on top of the room.
sub wing {
    my ($path) = @_;

    return dirname($path) =~ m{^module/(.+)} ? $1 : '';
}


sub line_of {
    my ($text, $offset) = @_;

    return 1 + (substr($text, 0, $offset) =~ tr/\n//);
}


# places whose line matches
sub lines {
    my ($pattern) = @_;
    my @found;

    for my $path (@files) {
        my $n = 0;
        for (split /\n/, $text{$path}) {
            $n++;
            push @found, "$path:$n" if $_ =~ $pattern;
        }
    }

    return @found;
}


# places in the code of some files that match
sub mentions {
    my ($paths, $pattern) = @_;
    my @found;

    for my $path (grep { $_ =~ $paths } @files) {
        while ($code{$path} =~ /($pattern)/g) {
            push @found, "$path:" . line_of($code{$path}, $-[1]) . ": $1";
        }
    }

    return @found;
}


sub too_long {
    my @found;

    for my $path (@files) {
        my $n = ($text{$path} =~ tr/\n//);
        my $most
            = $path =~ /\.c$/                        ? 800
            : basename($path) eq 'ngx_http_llm.h'    ? 250
            :                                          120;

        push @found, "$path: $n lines, $most at most" if $n > $most;
    }

    return @found;
}


# the functions a file offers to others: the name starts the line, and the
# line above, its type, is not static
sub exports {
    my ($path) = @_;
    my @found;

    while ($code{$path} =~ /^([^\n]*)\n(\w+)\(/mg) {
        my ($type, $name) = ($1, $2);
        push @found, $name if $type =~ /^\w/ && $type !~ /\bstatic\b/;
    }

    return @found;
}


# Returns the calls from one file to another that the rule forbids.  The rule
# gets the paths of the two files.
sub calls {
    my ($forbidden) = @_;
    my (%owner, @found);

    for my $path (@sources) {
        $owner{$_} = $path for exports($path);
    }

    for my $path (@sources) {
        my %seen;

        for my $name ($code{$path} =~ /\b([a-z_]\w*)\b/g) {
            my $other = $owner{$name};

            next if !$other || $other eq $path || $seen{$name}++;

            push @found, "$path -> $other ($name)"
                if $forbidden->($path, $other);
        }
    }

    return @found;
}


# A call may go down, or stay inside codec, runtime, flow or surface;
# service and dialect files do not know each other.
sub calls_up {
    return calls(sub {
        my ($from, $to) = map { $ROOM{ room($_) } // -1 } @_;

        return $to > $from || ($to == 2 && $from == 2);
    });
}


# A file on top of a room, as surface's module.c, may call all wings of its
# room and be called by them.
sub calls_across {
    my %height = map { $FOUNDATION[$_] => $_ } 0 .. $#FOUNDATION;

    return calls(sub {
        my ($from, $to) = map { wing($_) } @_;

        return room($_[0]) eq room($_[1]) && $from ne $to
               && $from =~ m{/} && $to =~ m{/}
               && ($height{$to} // @FOUNDATION)
                  >= ($height{$from} // @FOUNDATION);
    });
}


# A header in a wing is private to the wing, a header on top of a room is
# private to the room.
sub private_headers {
    my %home = map { basename($_) => $_ } grep { m{^module/.*\.h$} } @files;
    my @found;

    for my $path (grep { m{^(?:include|module)/} } @files) {
        while ($text{$path} =~ m{^\s*#\s*include\s+[<"](?:[\w.]*/)*(\w+\.h)}mg) {
            my $header = $home{$1} // next;
            my $wing   = wing($header);

            push @found, "$path includes $header"
                if wing($path) !~ m{^\Q$wing\E(?:/|$)};
        }
    }

    return @found;
}


sub untoured {
    my $tour = slurp('module/README.md');

    return grep {
        my $name = basename($_);
        $tour !~ /\b\Q$name\E\b/;
    } @sources;
}
