#!/bin/sh
# nginx-source.sh DIR: unpacks the source of the installed Debian nginx into
# DIR/nginx.  /usr/share/nginx/src of nginx-dev has no .c files, and builds
# with a sanitizer need the whole of nginx.  apt gets a configuration and
# folders of its own under DIR: the machine's sources are not touched, and
# root is not needed.

set -e

dir=$1
mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
dir=$(cd "$dir" && pwd)

. /etc/os-release
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
if [ -f $keyring ]; then
    signed="[signed-by=$keyring]"
fi

# the machine's mirrors, with deb-src instead of deb
apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' \
    | grep " $VERSION_CODENAME" | sort -u \
    | while read -r line; do echo "deb-src $signed $line"; done \
    > "$dir/sources.list"

# apt-get or apt-cache
apt() {
    tool=$1
    shift
    "apt-$tool" -q -o Dir::Etc::SourceList="$dir/sources.list" \
        -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$dir/lists" \
        -o Dir::Cache="$dir/cache" -o APT::Sandbox::User= \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}

cd "$dir"
apt get update

# a mirror keeps the last versions only: another patch of the same nginx will do
installed=$(dpkg-query -W -f '${source:Version}' nginx)
others=$(apt cache showsrc nginx \
    | sed -n "s/^Version: \(${installed%-*}-.*\)/\1/p" | sort -rV)

for version in $installed $others; do
    if apt get source --download-only "nginx=$version"; then
        rm -rf nginx
        exec dpkg-source --no-check -x "nginx_$version.dsc" nginx
    fi
    echo "no source of nginx $version"
done

exit 1
