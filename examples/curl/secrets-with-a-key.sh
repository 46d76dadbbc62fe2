#!/bin/sh
# A secret by the API key alone: put it, read it, list its namespace, rotate it, read the new value.
#   WRIT_URL=http://127.0.0.1:3000 WRIT_KEY=ak_live_… sh secrets-with-a-key.sh
set -eu
: "${WRIT_URL:=http://127.0.0.1:3000}"
: "${WRIT_KEY:?set WRIT_KEY to an API key}"

# The key goes in by standard input, so that it is in no list of processes.
ask() {
  printf 'X-API-Key: %s\n' "$WRIT_KEY" | curl --fail-with-body --silent --show-error \
    --header @- --header 'Content-Type: application/json' "$@"
  printf '\n'
}

# A value of your own belongs in a file, for the same reason: --data @secret.json
ask --request PUT "$WRIT_URL/v1/secrets/examples/curl/API_KEY" \
  --data '{ "value": "sk-example", "secret_type": "api_key", "description": "made by an example" }'

ask "$WRIT_URL/v1/secrets/examples/curl/API_KEY"

# Lists show everything but values.
ask "$WRIT_URL/v1/secrets/examples/curl"

# Without new_value the new one is random; the answer does not hold it.
ask --request POST "$WRIT_URL/v1/secrets/examples/curl/API_KEY/rotate" --data '{ "new_value": "sk-rotated" }'

ask "$WRIT_URL/v1/secrets/examples/curl/API_KEY"
