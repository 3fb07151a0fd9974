#!/bin/sh
# fleet.sh BUILD PORT: two gateways on PORT and PORT + 1 as conf/fleet.conf
# says, a Redis for them on PORT + 2, the simulator behind them on PORT + 9.
# In the foreground; Ctrl-C stops all of it.

set -e

build=$1
port=$2
redis=$((port + 2))
simulator=127.0.0.1:$((port + 9))
PATH=$PATH:/usr/sbin:/sbin
pids=

stop() {
    trap - EXIT INT TERM
    [ -z "$pids" ] || kill $pids 2> /dev/null || :
    wait
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

user=
if [ "$(id -u)" -eq 0 ] && id -u www-data > /dev/null 2>&1; then
    user="user www-data;"
fi

redis-server --bind 127.0.0.1 --port "$redis" --save '' --appendonly no \
    --maxmemory-policy noeviction > /dev/null &
pids="$pids $!"

# start DIR MAIN: nginx in the folder, in the background
start() {
    nginx -p "$1" -c nginx.conf -e stderr \
        -g "daemon off; pid nginx.pid; $user $2" &
    pids="$pids $!"
}

# prepare DIR: the folder of one nginx, and what belongs to this machine
prepare() {
    mkdir -p "$1/logs"
    ln -sfn ../.. "$1/modules"
    {
        echo "access_log  off;"
        if [ "$(id -u)" -ne 0 ]; then
            for kind in client_body proxy fastcgi uwsgi scgi; do
                echo "${kind}_temp_path  $kind;"
            done
        fi
    } > "$1/provider.conf"
}

dir=$build/fleet/simulator
prepare "$dir"
cat > "$dir/nginx.conf" << END
load_module  modules/ngx_http_llm_simulator_module.so;
events { }
http {
    include  provider.conf;
    server {
        listen  $simulator;
        location / { llm_simulator; }
    }
}
END
start "$dir" ""

for n in 0 1; do
    dir=$build/fleet/$n
    prepare "$dir"
    echo "llm_provider openai { endpoint http://$simulator/v1; }" \
        >> "$dir/provider.conf"
    sed -e "s/127\.0\.0\.1:8080/127.0.0.1:$((port + n))/" \
        -e "s/127\.0\.0\.1:6379/127.0.0.1:$redis/" \
        conf/fleet.conf > "$dir/nginx.conf"
    start "$dir" ""
done

cat << END

Two gateways are on 127.0.0.1:$port and 127.0.0.1:$((port + 1)), a Redis is on $redis.
Paste this in another terminal: five requests a minute, whichever is asked

for i in 0 1 0 1 0 1; do
    curl -s -D - -o /dev/null 127.0.0.1:\$(($port + i))/v1/chat/completions \\
        -H 'Content-Type: application/json' \\
        -d '{"model":"gpt-4o","max_tokens":50,"messages":[{"role":"user","content":"Hello"}]}' \\
        | grep -iE '^HTTP|remaining-requests|retry-after:'
done

redis-cli -p $redis keys 'llm:*' shows what they know.  Ctrl-C stops all.

END

wait
