#!/bin/sh
# The API key for a scoped token: two uses, fifteen minutes, this machine only. The third use is refused.
#   WRIT_URL=http://127.0.0.1:3000 WRIT_KEY=ak_live_… sh scoped-token.sh
set -eu
: "${WRIT_URL:=http://127.0.0.1:3000}"
: "${WRIT_KEY:?set WRIT_KEY to an API key}"

# Credentials go in by standard input, so that they are in no list of processes.
with_key() {
  printf 'X-API-Key: %s\n' "$WRIT_KEY" | curl --fail-with-body --silent --show-error \
    --header @- --header 'Content-Type: application/json' "$@"
}
with_token() {
  printf 'Authorization: Bearer %s\n' "$token" | curl --silent --show-error --header @- "$@"
}

# Something to open.
with_key --request PUT "$WRIT_URL/v1/secrets/examples/scoped/API_KEY" --data '{ "value": "sk-scoped" }' \
  --output /dev/null

issued=$(with_key "$WRIT_URL/v1/tokens" --data '{
    "scopes": ["secrets:read:examples/scoped/*"],
    "ttl": "15m",
    "max_uses": 2,
    "allowed_ips": ["127.0.0.1", "::1"],
    "description": "made by an example"
  }')

# Neither a token nor an id has a quote in it, so no JSON parser is needed to find them.
token=$(printf '%s' "$issued" | sed 's/.*"token":"\([^"]*\)".*/\1/')
id=$(printf '%s' "$issued" | sed 's/.*"token_id":"\([^"]*\)".*/\1/')
printf 'token %s\n' "$id"

# From here on there is no API key: this is what the agent does.
with_token --fail-with-body "$WRIT_URL/v1/secrets/examples/scoped/API_KEY"
printf '\n'
with_token --fail-with-body "$WRIT_URL/v1/secrets/examples/scoped/API_KEY"
printf '\n'

third=$(with_token --write-out ' %{http_code}' "$WRIT_URL/v1/secrets/examples/scoped/API_KEY")
case $third in
  *'"TOKEN_EXHAUSTED"'*' 401') printf 'the third use: 401 TOKEN_EXHAUSTED\n' ;;
  *)
    printf 'the third use was not refused as it should be: %s\n' "$third" >&2
    exit 1
    ;;
esac

# Its owner ends it, before its time is over; once more is fine.
with_key --request DELETE "$WRIT_URL/v1/tokens/$id"
with_key "$WRIT_URL/v1/tokens/$id"
printf '\n'
