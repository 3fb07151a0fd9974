#!/bin/sh
# run.sh BUILD PORT [CONF]: starts the gateway in the foreground, with the
# configuration CONF, or conf/nginx.conf on PORT.  BUILD/run is nginx's
# prefix.  BUILD/run/provider.conf, which is written here, has the provider
# "openai": OpenAI with OPENAI_API_KEY in the environment, otherwise the
# simulator, in the same nginx on PORT + 9.

set -e

build=$1
port=$2
conf=$3
simulator=127.0.0.1:$((port + 9))
dir=$build/run
PATH=$PATH:/usr/sbin:/sbin

mkdir -p "$dir/logs"
ln -sfn .. "$dir/modules"

case $conf in
"")
    conf=$dir/nginx.conf
    sed "s/127\.0\.0\.1:8080/127.0.0.1:$port/" conf/nginx.conf > "$conf"
    ;;
/*) ;;
*)  conf=$PWD/$conf
    ;;
esac

# Relative to the prefix: Debian's defaults belong to its service.
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
    main="$main load_module modules/ngx_http_llm_simulator_module.so;"
fi

# nginx's own message about a port in use does not say how to choose another.
if perl -MIO::Socket::INET -e \
    'exit !IO::Socket::INET->new("127.0.0.1:$ARGV[0]")' "$port"
then
    echo "The port $port is in use. Stop the other server," \
         "or choose a port: make run PORT=9090" >&2
    exit 1
fi

nginx -p "$dir" -c "$conf" -e stderr -g "$main" -t -q

url=http://127.0.0.1:$port/v1
body='"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]'

if [ -n "$3" ]; then
    echo "The gateway runs with $3. Its provider \"openai\" is"
    echo "$provider"
else
    cat << END

The gateway is on $url and talks to
$provider

Paste this into another terminal, the second line for a stream:

curl $url/chat/completions -H 'Content-Type: application/json' -d '{$body}'
curl -N $url/chat/completions -H 'Content-Type: application/json' -d '{"stream":true,$body}'

or into Python (pip install openai):

from openai import OpenAI
client = OpenAI(base_url="$url", api_key="any")
print(client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}]).choices[0].message.content)

END
fi

echo "Ctrl-C stops it."

exec nginx -p "$dir" -c "$conf" -e stderr -g "$main"
