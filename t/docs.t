#!/usr/bin/perl

# The pages for users: README.md and docs/.  Each configuration in them passes
# nginx -t, each JSON text and program parses, each link leads somewhere, and
# the reference has the directives, variables, metrics and error codes of the
# source, and no others.
#
# A comment before a snippet names its context: http, server, text (not
# tested), json, sh.

use FindBin qw($Bin);
use lib "$Bin/lib";
use LLM::Test;

use JSON::PP ();

my $root = root_dir();
my @pages = ("$root/README.md", sort glob "$root/docs/*.md");
my %text = map { $_ => slurp($_) } @pages;
my $dir = tempdir();

spew("$dir/secret", "a dummy secret\n");
spew("$dir/keys.json", '{"consumers":[{"name":"acme","keys":[{"sha256":"'
     . 'a' x 64 . '"}],"vars":{"region":"eu"}}]}');
spew("$dir/prices.json", '{"gpt-4o":{"input_cost_per_token":1e-6,'
     . '"output_cost_per_token":1e-6},"gpt-4o-prod":'
     . '{"input_cost_per_token":1e-6,"output_cost_per_token":1e-6}}');

for my $path (@pages) {
    snippets($path);
    is_deeply([ broken_links($path) ], [], short($path) . ': links lead somewhere');
}

reference('directives', 'directives.md', qr/^### (\w+)$/m, directives());
reference('variables', 'variables.md', qr/(?:^\||,) `\$(llm_(?:consumer_NAME|\w+))`/m,
          variables());
reference('metrics', 'metrics.md', qr/(?:^\||,) `(nginx_llm_\w+)`/m,
          metrics());
reference('error codes', 'errors.md', qr/^\| \d+ \|(?: `\w+`,)? `(\w+)`/m,
          codes());

done_testing();


sub short { return $_[0] =~ s{^\Q$root\E/}{}r }

sub source {
    return join '', map { slurp($_) }
        glob "$root/module/*/*.c $root/module/*/*/*.c";
}

# The names of a page are those of the source.
sub reference {
    my ($what, $page, $re, @names) = @_;

    my %documented = map { $_ => 1 } $text{"$root/docs/$page"} =~ /$re/g;
    my %known = map { $_ => 1 } @names;

    ok(@names > 5, "the source has $what");
    is_deeply([ sort grep { !$documented{$_} } keys %known ], [],
              "docs/$page has all $what");
    is_deeply([ sort grep { !$known{$_} } keys %documented ], [],
              "docs/$page has no other $what");
}

sub directives {
    my %names;
    my $source = source();

    while ($source =~ /\bngx_command_t\s+\w+\[\]\s*=\s*\{(.*?)^\};/msg) {
        my $table = $1;
        $names{$_}++ for $table =~ /\{\s*ngx_string\("(\w+)"\)/g;
    }
    return keys %names;
}

sub variables {
    my $source = source();
    my %names = map { $_ => 1 }
        $source =~ /\{ ngx_string\("(llm_\w+?)_?"\), NULL, ngx_http_llm_v/g,
        map({ "llm_$_" } $source =~ /ngx_http_llm_var\("(\w+)"/g),
        map({ "llm_${_}_tokens" } $source =~ /ngx_http_llm_tokens\("(\w+)"/g);
    return (keys %names, 'llm_consumer_NAME');
}

sub metrics {
    my $source = source();
    my %names = map { $_ => 1 }
        $source =~ /"(nginx_llm_\w+\w)[" ]/g,
        map({ "nginx_llm_$_" } $source =~ /ngx_http_llm_family\("(\w+)"/g);
    return grep { !/_(?:bucket|sum|count)$/ } keys %names;
}

sub codes {
    my $source = slurp("$root/module/service/client/ngx_http_llm_error.c");
    my %names = map { $_ => 1 } $source =~ /\{ \d+, "\w+", "(\w+)",/g;
    return keys %names;
}


# Snippets

sub snippets {
    my ($path) = @_;

    my ($text, $n) = ($text{$path}, 0);
    while ($text =~ /(?:^[ ]*<!-- ([^\n]*?) -->\n)?^[ ]*```(\w+)\n(.*?)^[ ]*```$/msg) {
        my ($mark, $type, $code) = ($1 // '', $2, $3);
        my $name = short($path) . ", $type " . ++$n;
        my $test = __PACKAGE__->can("snippet_$type") or next;
        $test->($name, $code, $mark);
    }
}

sub snippet_nginx {
    my ($name, $code, $mark) = @_;

    return if $mark eq 'text';
    if ($mark !~ /^(?:http|server)$/) {
        return fail("$name: a comment names its context");
    }

    my ($status, $output) = nginx_t($code, $mark);
    is($status, 0, "$name passes nginx -t") or diag($output);
}

sub snippet_json {
    my ($name, $code) = @_;
    ok(eval { JSON::PP->new->decode($code); 1 }, "$name is JSON") or diag($@);
}

sub snippet_sh {
    my ($name, $code) = @_;
    spew("$dir/snippet.sh", $code);
    is(system("sh -n $dir/snippet.sh"), 0, "$name is a shell script");
}

sub snippet_python {
    my ($name, $code) = @_;
    spew("$dir/snippet.py", $code);
    SKIP: {
        skip 'there is no python3', 1 if system 'python3 -V > /dev/null 2>&1';
        is(system("python3 -m py_compile $dir/snippet.py"), 0,
           "$name is a program");
    }
}

sub snippet_js {
    my ($name, $code) = @_;
    spew("$dir/snippet.mjs", $code);
    SKIP: {
        skip 'there is no node', 1 if system 'node -v > /dev/null 2>&1';
        is(system("node --check $dir/snippet.mjs"), 0, "$name is a program");
    }
}

# What a snippet uses without defining it is defined around it.
sub nginx_t {
    my ($code, $context) = @_;

    my $around = $context eq 'http' ? $code : "server {\n$code\n}";
    my @more;

    push @more, 'llm_keys /etc/nginx/llm/keys.json;'
        if $code =~ /llm_auth|llm_consumer/ && $code !~ /\bllm_keys /;
    for my $name (qw(openai azure bedrock local)) {
        next if $code =~ /\bllm_provider\s+\Q$name\E\b/
             || $code !~ /\btarget\s+\Q$name\E\b/ && $name ne 'openai';
        push @more, "llm_provider $name { endpoint http://127.0.0.1:1/v1; }";
    }
    push @more, 'llm_model default { target openai; }'
        if $code !~ /llm_model\s+default/;

    my $conf = join "\n", @more, $around;
    my %env = map { $_ => "the secret of $_" } $conf =~ /\benv:(\w+)/g;
    $conf =~ s{/etc/nginx/llm/}{$dir/}g;
    $conf =~ s{\bfile:[^\s;]+}{file:$dir/secret}g;

    return LLM::Nginx->check(http => $conf, env => \%env);
}


# Links to files and headings

sub broken_links {
    my ($path) = @_;

    my ($folder) = $path =~ m{^(.*)/};
    my @broken;

    for my $link ($text{$path} =~ /\]\(([^)\s]+)\)/g) {
        next if $link =~ m{^https?://};
        my ($file, $anchor) = $link =~ /^([^#]*)(?:#(.*))?$/;
        my $to = $file eq '' ? $path : "$folder/$file";
        push @broken, $link
            if !-e $to || defined $anchor && !grep { $_ eq $anchor } anchors($to);
    }
    return @broken;
}

# The anchors that GitHub makes of headings.
sub anchors {
    my ($path) = @_;

    return map { lc(s/[^\w\s-]//gr) =~ s/\s/-/gr }
           slurp($path) =~ /^#+\s+(.*?)\s*$/mg;
}
