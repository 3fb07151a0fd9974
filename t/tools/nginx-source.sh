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

apt() {
    apt-get -q -o Dir::Etc::SourceList="$dir/sources.list" \
        -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$dir/lists" \
        -o Dir::Cache="$dir/cache" -o APT::Sandbox::User= \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}

version=$(dpkg-query -W -f '${source:Version}' nginx)

cd "$dir"
apt update
apt source --download-only "nginx=$version"
rm -rf nginx
dpkg-source --no-check -x "nginx_$version.dsc" nginx
