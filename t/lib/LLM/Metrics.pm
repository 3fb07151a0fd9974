package LLM::Metrics;

# Prometheus' text format, read strictly: what a scraper might let pass is an
# error here.
#
#   my $m = read_metrics($gw);            # { 'requests_total chat m p 2xx' => 1 }
#   my $moved = moved($gw, sub { ... });  # what has changed, by how much
#
# A key is the name less nginx_llm_ and the values of the labels, in their
# order.  moved leaves out what depends on the clock: buckets and sums; money
# has nine decimals there.

use strict;
use warnings;

use Carp qw(croak);
use Exporter ();

use LLM::Client qw(get);

our @ISA = qw(Exporter);
our @EXPORT = qw(read_metrics moved parse_metrics);

my $NUMBER = qr/-?\d+(?:\.\d+)?/;
my $LABEL = qr/[a-z]+="(?:[^"\\\n]|\\[n"\\])*"/;


sub read_metrics {
    my ($gw, $path) = @_;

    my $r = get($gw, $path // '/metrics');
    croak 'no metrics: ' . $r->status unless $r->status == 200;
    return parse_metrics($r->body);
}


# what is read from a provider's record, not counted with a request
my $STATE = qr/^provider_(?:state|ttft_ewma|cooldowns|breaker)/;

sub moved {
    my ($gw, $what) = @_;

    my $before = read_metrics($gw);
    $what->();
    my $after = read_metrics($gw);

    return { map { my $n = $after->{$_} - ($before->{$_} // 0);
                   $_ => /_usd_total/ ? sprintf('%.9f', $n) : $n }
             grep { !/_bucket|_sum|$STATE/
                    && $after->{$_} != ($before->{$_} // 0) }
             keys %$after };
}


sub parse_metrics {
    my ($text) = @_;
    my (%value, %seen, $name, $type, @buckets);

    croak 'the last line has no end' unless $text =~ /\n\z/;

    for my $line (split /\n/, $text) {
        if ($line =~ /^# HELP (\w+) \S.*$/) {
            croak "family twice: $1" if $seen{$1}++;
            ($name, $type) = ($1, undef);
            croak "name: $name" unless $name =~ /^nginx_llm_[a-z_]+$/;
            next;
        }
        if ($line =~ /^# TYPE (\w+) (counter|gauge|histogram)$/) {
            croak "TYPE without HELP: $1" if $1 ne $name || $type;
            $type = $2;
            croak "name of a counter: $name"
                if ($type eq 'counter') != ($name =~ /_total$/);
            next;
        }
        croak 'an empty line' if $line eq '';

        croak "not a sample: $line" unless $line =~
            /^(\w+)(?:\{($LABEL(?:,$LABEL)*)\})? ($NUMBER)$/;
        my ($sample, $labels, $number) = ($1, $2 // '', $3);

        croak "outside of its family: $line" unless $type;
        my ($suffix) = $sample =~ /^\Q$name\E(.*)$/ or croak "stray: $line";
        croak "suffix: $line" unless $type eq 'histogram'
            ? $suffix =~ /^_(?:bucket|sum|count)$/ : $suffix eq '';
        croak "negative: $line" if $number < 0;
        croak "fraction: $line"
            if $suffix ne '_sum' && $number =~ /\./
               && $name !~ /_usd_total$|_state$|_ewma_seconds$|_latency_seconds$/;

        my @values = $labels =~ /="((?:[^"\\]|\\.)*)"/g;
        my $key = join ' ', $sample =~ s/^nginx_llm_//r, @values;
        croak "twice: $line" if exists $value{$key};
        $value{$key} = $number;

        _bucket(\@buckets, $line, $suffix, $number) if $type eq 'histogram';
    }

    return \%value;
}


# Buckets rise, in le and in number; the last one is +Inf and as _count.

sub _bucket {
    my ($buckets, $line, $suffix, $number) = @_;

    if ($suffix eq '_bucket') {
        my ($le) = $line =~ /,le="([^"]+)"\}/ or croak "no le: $line";
        my $last = $buckets->[-1];
        croak "le: $line" unless $le =~ /^(?:\+Inf|0|[1-9]\d*)$/
                                 || $le =~ /^(?:0|[1-9]\d*)\.\d*[1-9]$/;
        my $bound = $le eq '+Inf' ? 9**9**9 : $le;
        croak "order: $line" if $last && ($bound <= $last->[0]
                                          || $number < $last->[1]);
        push @$buckets, [ $bound, $number ];
        return;
    }

    croak "no +Inf before $line" if !@$buckets || $buckets->[-1][0] != 9**9**9;
    return if $suffix eq '_sum';

    croak "_count: $line" if $number != $buckets->[-1][1];
    @$buckets = ();
}


1;
