#!/bin/sh
# sanitize.sh NGINX OPTION...: runs it, looking for leaks unless it is
# nginx -t, which ends without freeing anything.

for option; do
    if [ "$option" = -t ]; then
        export ASAN_OPTIONS="detect_leaks=0"
    fi
done

exec "$@"
