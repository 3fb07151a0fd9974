#!/usr/bin/env bash
# nginx-configure.sh SOURCE DIR OPTION...
#
# Configures a build of the nginx in SOURCE: DIR/objs is the build folder,
# DIR/src a folder of links to SOURCE where configure and make run, since
# configure of nginx.org writes a Makefile into the folder it runs in.
# For the source of Debian's nginx-dev the options of Debian's binary come
# first, so that the module fits it.

set -e

source=$(cd "$1" && pwd)
dir=$2
shift 2

if [ ! -f "$source/src/core/nginx.h" ]; then
    echo "$source is not a source tree of nginx" >&2
    exit 1
fi

rm -rf "$dir/src" "$dir/objs"
mkdir -p "$dir/src"
cd "$dir/src"

for entry in "$source"/*; do
    case ${entry##*/} in
        Makefile|objs) ;;
        *) ln -s "$entry" . ;;
    esac
done

# in nginx's git the script lies in auto/
[ -e configure ] || ln -s auto/configure configure

NGX_CONF_FLAGS=()
[ ! -f conf_flags ] || . ./conf_flags

log=$dir/configure.log
if ! ./configure "${NGX_CONF_FLAGS[@]}" --builddir="$dir/objs" "$@" \
    > "$log" 2>&1
then
    cat "$log" >&2
    rm -rf "$dir/objs"
    exit 1
fi
