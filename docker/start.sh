#!/bin/sh
# start.sh: what the gateway's container runs.  It writes the provider that
# nginx.conf includes from the environment, and becomes nginx.
#
#   OPENAI_BASE_URL       of the provider (https://api.openai.com/v1)
#   OPENAI_API_KEY        its key; nginx reads it, no file has it
#   OPENAI_API_KEY_FILE   or the file of it, as /run/secrets/NAME
#
# With an nginx.conf of your own that does not include provider.conf, none of
# them is used.

set -e

key=
if [ -n "$OPENAI_API_KEY_FILE" ]; then
    key="key  \"file:$OPENAI_API_KEY_FILE\";"
elif [ -n "$OPENAI_API_KEY" ]; then
    key="key  env:OPENAI_API_KEY;"
elif [ -z "$OPENAI_BASE_URL" ]; then
    echo "start-gateway: no OPENAI_API_KEY, OPENAI_API_KEY_FILE" \
         "or OPENAI_BASE_URL: clients get the provider's 401" >&2
fi

cat > /run/llm/provider.conf << END
llm_provider openai {
    endpoint  "${OPENAI_BASE_URL:-https://api.openai.com/v1}";
    $key
}
END

exec nginx -e stderr "$@"
