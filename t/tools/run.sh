#!/bin/sh
# run.sh BUILD PORT: the gateway in the foreground, as conf/nginx.conf says,
# in the working folder BUILD/run.  Without OPENAI_API_KEY its provider is
# the simulator, in the same nginx on the port PORT + 9.

set -e

build=$1
port=$2
simulator=127.0.0.1:$((port + 9))
dir=$build/run
PATH=$PATH:/usr/sbin:/sbin

mkdir -p "$dir/logs"
ln -sfn .. "$dir/modules"
sed "s/127\.0\.0\.1:8080/127.0.0.1:$port/" conf/nginx.conf > "$dir/nginx.conf"

# Relative to the working folder: Debian's defaults belong to its service.
main="daemon off; pid nginx.pid;"

{
    echo "access_log  logs/access.log;"

    # The worker of root's nginx runs as another user, which may be unable
    # to reach this folder: it uses Debian's folders for temporary files.
    if [ "$(id -u)" -ne 0 ]; then
        for kind in client_body proxy fastcgi uwsgi scgi; do
            echo "${kind}_temp_path  $kind;"
        done
    fi
} > "$dir/provider.conf"

if [ "$(id -u)" -eq 0 ] && id -u www-data > /dev/null 2>&1; then
    main="$main user www-data;"
fi

if [ -n "$OPENAI_API_KEY" ]; then
    provider="https://api.openai.com/v1"
    cat >> "$dir/provider.conf" << END

llm_provider openai {
    endpoint  https://api.openai.com/v1;
    key       env:OPENAI_API_KEY;
}
END

else
    provider="the simulator: OPENAI_API_KEY is not set"
    main="$main load_module modules/ngx_http_llm_simulator_module.so;"
    cat >> "$dir/provider.conf" << END

llm_provider openai {
    endpoint  http://$simulator/v1;
}

server {
    listen      $simulator;
    access_log  off;

    location / {
        llm_simulator;
    }
}
END
fi

nginx -p "$dir" -c nginx.conf -e stderr -g "$main" -t -q

url=http://127.0.0.1:$port/v1/chat/completions
body='"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]'

cat << END

The gateway is on http://127.0.0.1:$port/v1 and talks to
$provider

Paste this in another terminal, the second line for a stream:

curl $url -H 'content-type: application/json' -d '{$body}'
curl -N $url -H 'content-type: application/json' -d '{"stream":true,$body}'

Ctrl-C stops it.

END

exec nginx -p "$dir" -c nginx.conf -e stderr -g "$main"
