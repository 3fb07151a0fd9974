#!/bin/bash
# image.sh: the container without a container engine.  It carries out the
# lines of docker/Dockerfile, each stage a chroot in build/image (root), and
# starts what they say: as the user, with a root that cannot be written to
# and a network of its own, first the simulator, then the gateway.
#
# It proves that both build and start, that JSON and streams are answered
# and logged, that nothing runs as root, that a key is in no file and no
# log, that the image has no compiler, and that SIGQUIT ends it.
#
#   MIRROR=URL   of Debian (http://deb.debian.org/debian)
#   KEEP=1       leave build/image there

set -e

export LC_ALL=C

root=$(cd "$(dirname "$0")/.." && pwd)
images=$root/build/image
mirror=${MIRROR:-http://deb.debian.org/debian}
key=sk-canary-in-no-layer

declare -A user workdir command


main() {
    case $IMAGE_STEP in
        '')
            check_host
            trap leave EXIT
            IMAGE_STEP=build unshare --mount --pid --fork --kill-child \
                bash "$0"
            ;;
        build)
            make_base
            dockerfile make
            nothing_is_left
            IMAGE_STEP=run unshare --mount --net --pid --fork --kill-child \
                bash "$0"
            ;;
        run)
            ip link set lo up
            dockerfile read
            run_images
            say "the images build and work"
            ;;
    esac
}


check_host() {
    [ "$(id -u)" -eq 0 ] || fail "this needs root"
    for tool in debootstrap ip curl; do
        command -v $tool > /dev/null || fail "this needs $tool"
    done
}


make_base() {
    say "debootstrap"
    rm -rf "$images"
    mkdir -p "$images"
    debootstrap --variant=minbase bookworm "$images/base" "$mirror" \
        > "$root/build/image.log" 2>&1 || fail "debootstrap: build/image.log"

    cat > "$images/base/etc/apt/sources.list" << END
deb $mirror bookworm main
deb $mirror bookworm-updates main
deb ${mirror%/debian}/debian-security bookworm-security main
END

    # the host's way to the network
    cp /etc/resolv.conf "$images/base/etc/resolv.conf"
    apt-config dump \
        | grep -E '^Acquire::(.*Proxy|Check-Valid-Until|Check-Date)' \
        > "$images/base/etc/apt/apt.conf.d/00host" || true
}


# Its lines: "make" carries them out, "read" only notes what CMD and USER say.
dockerfile() {
    local how=$1 word rest stage

    while read -r word rest; do
        case $word in
            '' | '#'* | EXPOSE | STOPSIGNAL) ;;
            FROM)       from "$how" $rest; stage=${rest##* } ;;
            USER)       user[$stage]=$rest ;;
            WORKDIR)    workdir[$stage]=$rest ;;
            CMD)        command[$stage]=${rest//[\[\],\"]/ } ;;
            COPY | RUN) [ "$how" = read ] || "${word,,}_line" "$rest" ;;
            *)          fail "docker/Dockerfile: $word is not known here" ;;
        esac
    done < "$root/docker/Dockerfile"
}


# FROM PARENT AS NAME
from() {
    local parent=$2

    [ "$3" = AS ] || fail "docker/Dockerfile: a stage without a name"

    case $parent in
        debian:bookworm-slim) parent=base ;;
    esac

    [ -d "$images/$parent" ] || fail "docker/Dockerfile: no stage $parent"
    user[$4]=${user[$parent]:-0:0}
    workdir[$4]=${workdir[$parent]:-/}

    if [ "$1" = make ]; then
        say "stage $4"
        cp -a "$images/$parent" "$images/$4"
    fi
}


# COPY [--from=STAGE] PATH PATH; of a folder its contents
copy_line() {
    local source target

    case $1 in
        --from=*)
            source=${1#--from=}
            set -- "${1#* }"
            source=$images/${source%% *}/${1% *}
            ;;
        *)
            source=$root/${1% *}
            ;;
    esac

    target=${1##* }

    case $target in
        /*) target=$images/$stage$target ;;
        *)  target=$images/$stage${workdir[$stage]}/$target ;;
    esac

    if [ "$source" = "$root/." ]; then
        mkdir -p "$target"
        git -C "$root" ls-files -z -co --exclude-standard --deduplicate \
            | tar -C "$root" --null --no-recursion -T - -c \
            | tar -C "$target" -x --no-same-owner

    elif [ -d "$source" ]; then
        mkdir -p "$target"
        tar -C "$source" -c . | tar -C "$target" -x --keep-directory-symlink

    else
        mkdir -p "$(dirname "$target")"
        cp "$source" "$target"
        chown 0:0 "$target"
    fi
}


run_line() {
    mount -t proc proc "$images/$stage/proc"
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        ${http_proxy:+http_proxy="$http_proxy"} \
        chroot "$images/$stage" \
        sh -c "mkdir -p ${workdir[$stage]} && cd ${workdir[$stage]} && $1" \
        >> "$root/build/image.log" 2>&1 \
        || { tail -n 40 "$root/build/image.log" >&2; fail "RUN $1"; }
    umount "$images/$stage/proc"
}


nothing_is_left() {
    local tool

    for tool in gcc cc make ld; do
        ! chroot "$images/gateway" sh -c "command -v $tool" > /dev/null \
            || fail "the image has $tool"
    done

    ! grep -qE '^(ARG|ENV|ADD) ' "$root/docker/Dockerfile" \
        || fail "docker/Dockerfile: where secrets get into layers"
    [ -z "$(find "$images/gateway/var/lib/apt/lists" -type f)" ] \
        || fail "the image has apt's lists"
    [ ! -e "$images/gateway/src" ] || fail "the image has our sources"
    [ ! -e "$images/gateway/usr/lib/nginx/modules/$simulator_module" ] \
        || fail "the gateway's image has the simulator"

    say "the gateway's image: $(du -sh "$images/gateway" | cut -f 1)," \
        "of them Debian $(du -sh "$images/base" | cut -f 1)"
}

simulator_module=ngx_http_llm_simulator_module.so


run_images() {
    local url=http://127.0.0.1:8080/v1 answer

    start simulator
    wait_port 8089 simulator

    start gateway OPENAI_BASE_URL=http://127.0.0.1:8089/v1 \
        OPENAI_API_KEY=$key
    wait_port 8080 gateway

    nobody_is_root
    [ "$(curl -s http://127.0.0.1:8080/health)" = ok ] || fail "/health"

    answer=$(chat "$url" false)
    [[ $answer == *'"choices"'*'"content"'* ]] || fail_with_log "$answer"

    answer=$(chat "$url" true)
    [[ $answer == *'data: {'*'data: [DONE]'* ]] || fail_with_log "$answer"

    sleep_until "the access log has them" \
        eval "[ \$(grep -c '\"end\":\"complete\"' $images/gateway.log) = 2 ]"

    ! grep -rs "$key" "$images/gateway.log" "$images/gateway/run" \
        "$images/gateway/etc" "$images/gateway/var" \
        || fail "the key is in a file or a log"

    stop gateway

    # the key as a file
    echo "$key" > "$images/gateway.key"
    chmod 444 "$images/gateway.key"
    start gateway OPENAI_BASE_URL=http://127.0.0.1:8089/v1 \
        OPENAI_API_KEY_FILE=/run/llm/key
    wait_port 8080 gateway
    answer=$(chat "$url" false)
    [[ $answer == *'"choices"'* ]] || fail_with_log "$answer"
    stop gateway

    # a host's mistake is told
    ! start_and_wait gateway OPENAI_BASE_URL=http://127.0.0.1:8089/v1 \
        OPENAI_API_KEY_FILE=/run/llm/none || fail "it starts without its key"
    grep -q 'emerg.*/run/llm/none' "$images/gateway.log" \
        || fail_with_log "it does not say why"

    stop simulator
}


chat() {
    curl -sN --max-time 10 "$1/chat/completions" \
        -H 'Content-Type: application/json' \
        -d '{"model":"any","stream":'"$2"',"messages":[]}'
}


declare -A pid

# start STAGE NAME=VALUE...: CMD as USER, as compose.yaml runs it
start() {
    local stage=$1 machine=$images/$1 ids=${user[$1]}
    shift

    [ "${ids%%:*}" != 0 ] || fail "$stage runs as root"
    mount --bind "$machine" "$machine"
    mount -t proc proc "$machine/proc"
    for folder in /run/llm /var/lib/nginx; do
        mount -t tmpfs -o "uid=${ids%:*},gid=${ids#*:},mode=0755" \
            tmpfs "$machine$folder"
    done
    [ ! -e "$images/$stage.key" ] \
        || cp "$images/$stage.key" "$machine/run/llm/key"
    mount -o remount,bind,ro "$machine"

    # Docker gives its pipes to the user
    rm -f "$images/$stage.log"
    install -m 666 /dev/null "$images/$stage.log"

    # setpriv: no capabilities, no way to get any
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        "$@" chroot "$machine" setpriv --reuid="${ids%:*}" \
        --regid="${ids#*:}" --clear-groups --no-new-privs --bounding-set=-all \
        ${command[$stage]} >> "$images/$stage.log" 2>&1 &
    pid[$stage]=$!
}


stop() {
    kill -QUIT "${pid[$1]}"
    wait "${pid[$1]}" || fail_with_log "$1 ended with $?"
    ! grep -E '\[(alert|emerg|crit|error)\]' "$images/$1.log" \
        || fail "$1: bad lines in its log"
    unmount "$1"
}


start_and_wait() {
    local rc=0

    start "$@"
    wait "${pid[$1]}" || rc=$?
    unmount "$1"
    return $rc
}


unmount() {
    umount -R "$images/$1"
}


nobody_is_root() {
    local status n=0 proc=$images/gateway/proc

    for status in $(grep -lsx "Name:.nginx" "$proc"/[0-9]*/status); do
        grep -q '^Uid:.10001.10001' "$status" || fail "$status: not 10001"
        grep -q '^CapEff:.0*$' "$status" || fail "$status: capabilities"
        n=$((n + 1))
    done

    [ $n -ge 4 ] || fail "$n processes of nginx"
}


wait_port() {
    sleep_until "port $1 of the $2" \
        eval "(exec 3<> /dev/tcp/127.0.0.1/$1) 2> /dev/null"
}


sleep_until() {
    local what=$1 n=0
    shift

    until "$@"; do
        n=$((n + 1))
        [ $n -lt 100 ] || fail_with_log "deadline: $what"
        sleep 0.1
    done
}


say() {
    echo "image: $*"
}


fail() {
    echo "image: failed: $*" >&2
    exit 1
}


fail_with_log() {
    tail -n 40 "$images"/*.log >&2
    fail "$@"
}


leave() {
    [ -n "$KEEP" ] || rm -rf "$images"
}


main "$@"; exit
