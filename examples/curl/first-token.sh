#!/bin/sh
# The first intent token, and the question whether it is valid.
#   WRIT_URL=http://127.0.0.1:3000 WRIT_KEY=ak_live_… sh first-token.sh
set -eu
: "${WRIT_URL:=http://127.0.0.1:3000}"
: "${WRIT_KEY:?set WRIT_KEY to an API key}"

# The key goes in by standard input, so that it is in no list of processes.
answer=$(printf 'X-API-Key: %s\n' "$WRIT_KEY" | curl --fail-with-body --silent --show-error \
  "$WRIT_URL/token/issue" --header @- --header 'Content-Type: application/json' --data '{
    "plan": {
      "goal": "look at the weather",
      "steps": [{ "action": "get_weather", "mcp": "weather-mcp", "params": { "city": "Boston" } }]
    },
    "policy": { "allow": ["weather-mcp/*"] },
    "expires_in": 300
  }')
printf '%s\n' "$answer"

# A JWT needs no JSON parser to be found in the answer: it has no quote in it.
token=$(printf '%s' "$answer" | sed 's/.*"token":"\([^"]*\)".*/\1/')
curl --fail-with-body --silent --show-error "$WRIT_URL/token/verify" \
  --header 'Content-Type: application/json' --data "{\"token\":\"$token\"}"
printf '\n'
