#!/bin/sh
# install-packages.sh PACKAGE...
#
# Installs Debian packages.  Services that come with them (nginx, redis) are
# not started, and one that was not there before is not enabled either: we
# start our own processes.

set -e

if [ $# -eq 0 ]; then
    exit 0
fi

echo "installing $*"

if [ "$(id -u)" -ne 0 ]; then
    command -v sudo > /dev/null || { echo "not root, no sudo" >&2; exit 1; }
    exec sudo -- "$0" "$@"
fi

# invoke-rc.d asks this file whether a service may start: 101 means no
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod 755 $policy
fi

known_before() {
    [ -e "/lib/systemd/system/$1.service" ] || [ -e "/etc/init.d/$1" ]
}

new=
for service in nginx redis-server; do
    known_before $service || new="$new $service"
done

export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y --no-install-recommends install "$@"

for service in $new; do
    if known_before $service; then
        # the helper wants to know for which package it speaks
        DPKG_MAINTSCRIPT_PACKAGE=$service \
            deb-systemd-helper disable $service.service
        update-rc.d $service disable
        echo "$service.service is installed, neither started nor enabled"
    fi
done
