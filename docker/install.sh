#!/bin/sh
# install.sh build | runtime: all that docker/Dockerfile installs and builds,
# as root on a Debian 12 that has nothing.
#
#   build     builds the sources around this file; /out/gateway and
#             /out/simulator are what to copy over the root of their images,
#             /out/packages names the Debian packages they are linked with
#   runtime   nginx, those packages (a file of them is the second argument)
#             and the user "llm" (10001) whom nginx runs as
#
# No secret is read or written here.

set -e

user=llm
uid=10001


build() {
    root=$(cd "$(dirname "$0")/.." && pwd)

    install_packages make
    make -C "$root" deps-build
    make -C "$root" all
    make -C "$root" install DESTDIR=/out/gateway

    # the simulator goes where the gateway's module goes
    modules=$(cd /out/gateway && find . -name modules -type d)
    install -d "/out/simulator/$modules"
    install -m 644 "$root/build/ngx_http_llm_simulator_module.so" \
        "/out/simulator/$modules"

    for so in "$root"/build/*.so; do
        strip_debug "$so"
        linked_packages "$so"
    done | sort -u > /out/packages
}


# debug symbols stay in the stage that is thrown away
strip_debug() {
    find /out -name "$(basename "$1")" -exec strip --strip-debug {} +
}


linked_packages() {
    readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' \
        | while read -r library; do
        dpkg-query -S "*/$library" | sed 's/:.*//'
    done
}


runtime() {
    # shellcheck disable=SC2046
    install_packages nginx ca-certificates $(cat "$1")

    groupadd --gid $uid $user
    useradd --uid $uid --gid $uid --home-dir /nonexistent --no-create-home \
        --shell /usr/sbin/nologin $user

    # what nginx writes: its pid and our provider.conf, temporary files
    install -d -o $user -g $user /run/llm /var/lib/nginx

    # nothing of Debian's sites is served
    rm -rf /etc/nginx/sites-* /etc/nginx/modules-* /var/log/nginx \
        /var/lib/apt/lists/* /var/cache/apt/*.bin
}


install_packages() {
    policy=/usr/sbin/policy-rc.d

    # no service is started; Docker's Debian has this file, others do not
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' > $policy
        chmod 755 $policy
    fi

    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update
    apt-get -q -y --no-install-recommends install "$@"
}


case $1 in
    build)   build ;;
    runtime) runtime "${2:?the file of packages}" ;;
    *)       echo "usage: $0 build | runtime PACKAGES" >&2; exit 1 ;;
esac
