#!/bin/bash
# install.sh python LIST FOLDER, install.sh node FOLDER: the packages of
# t/clients.t, at the versions of LIST (python) or package-lock.json (node),
# into FOLDER below build/clients.  What is there already stays.
#
# Ends with 0; with 77 and the reason on standard output where they cannot be
# had here (no interpreter, too old a one, no way to the registry); else with
# 1 and what the installer said.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$here/../.." && pwd)/build/clients
kind=$1
seconds=240                     # for one installer


main() {
    case $kind in
        python) list=$here/python/$2; folder=$build/$3 ;;
        node)   list=$here/node/package-lock.json; folder=$build/$2 ;;
    esac
    have_$kind

    mkdir -p "$build"
    exec 9> "$folder.lock"
    flock -w $((2 * seconds)) 9 || skip "another test installs for too long"

    stamp=$(cat "$list" <(version_$kind) | sha256sum)
    if [ "$(cat "$folder/stamp" 2> /dev/null)" != "$stamp" ]; then
        rm -rf "$folder"
        mkdir "$folder"
        install_$kind > "$folder/log" 2>&1 || failed
        echo "$stamp" > "$folder/stamp"
    fi
}


have_python() {
    command -v python3 > /dev/null || skip "no python3"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
        || skip "$(version_python) is too old"
    python3 -c 'import venv, ensurepip' 2> /dev/null \
        || skip "python3 has no venv (package python3-venv)"
}

have_node() {
    command -v node > /dev/null || skip "no node"
    command -v npm > /dev/null || skip "no npm"
    [ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ] \
        || skip "node $(version_node) is too old"
}

version_python() { python3 -V; }
version_node()   { node -v; }


install_python() {
    timeout $seconds python3 -m venv "$folder" \
        && timeout $seconds "$folder/bin/pip" install --no-deps \
            --only-binary :all: --retries 2 --timeout 20 \
            --disable-pip-version-check --no-input -r "$list"
}

install_node() {
    cp "$here/node/package.json" "$list" "$folder"
    cd "$folder" && timeout $seconds npm ci --ignore-scripts --no-audit \
        --no-fund --fetch-retries=2 --fetch-timeout=20000
}


# no network is no fault of the project's
failed() {
    local status=$?
    local unreachable='Name or service not known|name resolution|ENOTFOUND'
    unreachable+='|EAI_AGAIN|unreachable|ECONNREFUSED|Connection refused'
    unreachable+='|ETIMEDOUT|timed out|ECONNRESET|ProxyError|NewConnection'

    if [ $status -eq 124 ] || grep -qE "$unreachable" "$folder/log"; then
        skip "the registry of $kind packages cannot be reached"
    fi
    tail -n 20 "$folder/log"
    exit 1
}

skip() {
    echo "$1"
    exit 77
}


main "$@"
