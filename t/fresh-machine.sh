#!/bin/bash
# fresh-machine.sh: the README's two commands on a Debian 12 that has nothing
# but git and make.  The machine is a chroot made by debootstrap (root) in
# build/fresh, with processes and mounts of its own that end with it.
#
# It proves that "make run" installs, builds and starts the gateway, that the
# README's curl lines are answered, that a second run installs nothing, that
# Debian's nginx service was neither started nor enabled, and that "make test"
# passes.
#
#   MIRROR=URL   of Debian (http://deb.debian.org/debian)
#   PORT=8080    another one if that is taken: the network is the host's
#   KEEP=1       leave build/fresh there

set -e

export LC_ALL=C

root=$(cd "$(dirname "$0")/.." && pwd)
machine=$root/build/fresh
project=/root/ngx_http_llm_module
port=${PORT:-8080}
mirror=${MIRROR:-http://deb.debian.org/debian}
unset PORT


main() {
    if [ -z "$FRESH_INSIDE" ]; then
        check_host
        trap leave EXIT
        FRESH_INSIDE=1 unshare --mount --pid --fork --kill-child \
            bash "$0" "$@"
        exit
    fi

    make_machine
    copy_project
    first_run
    second_run
    service_is_left_alone
    whole_suite

    say "all of it works on a fresh machine"
}


check_host() {
    [ "$(id -u)" -eq 0 ] || fail "this needs root"
    command -v debootstrap > /dev/null || fail "this needs debootstrap"
    ! port_is_open || fail "port $port is taken, say PORT=..."
}


make_machine() {
    say "debootstrap"
    rm -rf "$machine"
    mkdir -p "$machine"
    debootstrap --include=git,make bookworm "$machine" "$mirror" \
        > "$root/build/fresh.log" 2>&1 || fail "debootstrap: build/fresh.log"

    cat > "$machine/etc/apt/sources.list" << END
deb $mirror bookworm main
deb $mirror bookworm-updates main
deb ${mirror%/debian}/debian-security bookworm-security main
END

    # the host's way to the network
    cp /etc/resolv.conf "$machine/etc/resolv.conf"
    apt-config dump \
        | grep -E '^Acquire::(.*Proxy|Check-Valid-Until|Check-Date)' \
        > "$machine/etc/apt/apt.conf.d/00host" || true

    mount -t proc proc "$machine/proc"
    mount -t devpts devpts "$machine/dev/pts"
}


# a clone, or the files as they are while something is not committed
copy_project() {
    local changes
    changes=$(git -C "$root" status --porcelain)

    if [ -z "$changes" ] && git -C "$root" rev-parse -q --verify HEAD; then
        git clone -q --bare "$root" "$machine/srv/project.git"
        inside git clone -q /srv/project.git $project
    else
        say "a copy, no clone: some files are not committed"
        mkdir "$machine$project"
        git -C "$root" ls-files -z -co --exclude-standard \
            | tar -C "$root" --null --no-recursion -T - -c \
            | tar -C "$machine$project" -x --no-same-owner
    fi
}


first_run() {
    say "first make run"
    start_gateway
    grep -q '^installing ' "$machine/run.log" || fail "nothing installed?"
    grep -q 'simulator' "$machine/run.log" || fail "it hides the simulator"
    paste_readme
    stop_gateway
}


second_run() {
    say "second make run"
    start_gateway
    ! grep -E '^(installing|configuring) ' "$machine/run.log" \
        || fail "the second run did it again"
    paste_readme
    stop_gateway
}


service_is_left_alone() {
    local link

    for link in "$machine"/etc/systemd/system/*.wants/nginx.service \
                "$machine"/etc/rc?.d/S??nginx
    do
        [ ! -L "$link" ] || fail "the service is enabled: $link"
    done

    [ -e "$machine/lib/systemd/system/nginx.service" ] || fail "no service"
    [ ! -e "$machine/usr/sbin/policy-rc.d" ] || fail "policy-rc.d is left"
    ! nginx_runs || fail "an nginx is left running"
    say "Debian's nginx was neither started nor enabled"
}


whole_suite() {
    say "make test"
    inside make -C $project test || fail "make test"
}


# Ctrl-C reaches the processes of a terminal's foreground group, so this needs
# a group of its own: set -m
start_gateway() {
    set -m
    inside make -C $project run PORT="$port" > "$machine/run.log" 2>&1 &
    gateway=$!
    set +m

    while ! port_is_open; do
        kill -0 $gateway 2> /dev/null || fail_with_log "make run ended"
        sleep 0.2
    done
}


stop_gateway() {
    kill -INT -- -$gateway
    wait $gateway || true
    ! nginx_runs || fail "Ctrl-C left an nginx"
    ! port_is_open || fail "Ctrl-C left the port open"
}


# the lines of README.md's first code blocks that start with curl
paste_readme() {
    local line n=0 answer

    while read -r line; do
        n=$((n + 1))
        answer=$(inside bash -c "${line//127.0.0.1:8080/127.0.0.1:$port}" \
                 2> "$machine/curl.log") \
            || fail_with_log "no answer: $line"

        case $line in
            *'"stream":true'* | *'"stream": true'*)
                [[ $answer == *'data: {'*'data: [DONE]'* ]] ;;
            *)
                [[ $answer == *'"choices"'*'"content"'* ]] ;;
        esac || fail_with_log "$line: $answer"
    done < <(sed -e ':a' -e '/\\$/N' -e 's/\\\n *//' -e 'ta' \
                 "$machine$project/README.md" \
                 | sed -n 's/^ *\(\$ \)\{0,1\}curl /curl /p' | head -n 2)

    [ $n -eq 2 ] || fail "README.md has $n curl lines at its top, not 2"
}


inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
        ${http_proxy:+http_proxy="$http_proxy"} \
        chroot "$machine" "$@"
}


# only of this machine: it has process numbers of its own
nginx_runs() {
    grep -qsx nginx "$machine"/proc/[0-9]*/comm
}


port_is_open() {
    (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null
}


say() {
    echo "fresh-machine: $*"
}


fail() {
    echo "fresh-machine: failed: $*" >&2
    exit 1
}


fail_with_log() {
    tail -n 40 "$machine/run.log" >&2
    fail "$@"
}


leave() {
    [ -n "$KEEP" ] || rm -rf "$machine"
}


main "$@"
