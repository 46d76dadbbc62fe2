"""Issues an intent token and recomputes what it says of the plan, with nothing but Python's standard library.

    WRIT_URL=http://127.0.0.1:3000 WRIT_KEY=ak_live_... python3 first_token.py

It does not verify the signature, for which the standard library has no Ed25519: use a JWT library for that.
"""

import base64
import hashlib
import json
import os
import sys
import urllib.error
import urllib.request

URL = os.environ.get("WRIT_URL", "http://127.0.0.1:3000")
PLAN = {
    "goal": "look at the weather in Zürich",
    "steps": [
        {"action": "get_weather", "mcp": "weather-mcp", "params": {"city": "Zürich", "days": 3}},
        {"action": "send_mail", "mcp": "mail-mcp", "params": {"to": "a@example.org", "urgent": False}},
        {"action": "write_note", "params": {"text": "done \U0001f600"}},
    ],
}


def canonical(value):
    """Equal to Writ's canonical JSON for all integers, but not for every fraction."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(value):
    return hashlib.sha256(canonical(value).encode("ascii")).hexdigest()


def leaves(plan):
    for index, step in enumerate(plan["steps"]):
        yield canonical([f"/steps/[{index}]/action", digest(step["action"])])
        yield canonical([f"/steps/[{index}]", digest(step)])


def root(hashes):
    """The tree of RFC 9162: split at the largest power of two below the number of leaves."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + root(hashes[:split]) + root(hashes[split:])).digest()


def merkle_root(plan):
    return root([hashlib.sha256(b"\x00" + leaf.encode("ascii")).digest() for leaf in leaves(plan)]).hex()


def issue(plan):
    request = urllib.request.Request(
        f"{URL}/token/issue",
        data=json.dumps({"plan": plan, "expires_in": 300}).encode(),
        headers={"X-API-Key": os.environ["WRIT_KEY"], "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        sys.exit(f"no token: {json.load(error)['message']}")


def claims_of(jwt):
    payload = jwt.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def main():
    claims = claims_of(issue(PLAN)["token"])
    if claims["plan_hash"] != digest(PLAN):
        sys.exit("the token is over another plan")
    if claims["merkle_root"] != merkle_root(PLAN) or claims["tree_size"] != 2 * len(PLAN["steps"]):
        sys.exit("the token is over other steps")
    print(f"token {claims['jti']} over plan {claims['plan_hash']} with root {claims['merkle_root']}")


if __name__ == "__main__":
    main()
