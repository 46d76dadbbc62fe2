/**
 * `armoriq-sdk` 0.8.17 of PyPI, unmodified and by its documented options, in every mode that a token server can serve;
 * and what it does with what stays 404, as docs/python-sdk.md says it.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { readText } from '../support/markdown.ts';
import { pythonEnvironment } from '../support/python.ts';
import { available, startVault } from './agentsecretstore-server.ts';
import {
  aPythonHome,
  PROLOGUE,
  type PythonHome,
  type Recorder,
  recordRequests,
  resultOf,
} from './armoriq-python.ts';

const python = await pythonEnvironment('python-client-requirements.txt');
const pythonSkip = python.ok ? false : python.reason;

interface Attempt<Value = unknown> {
  readonly value?: Value;
  readonly raised?: string;
  readonly message?: string;
  readonly reason?: string | null;
}
interface Verdict {
  readonly allowed: boolean;
  readonly action: string;
  readonly reason: string;
  readonly policy: string | null;
}
interface Event {
  readonly resource_type: string;
  readonly resource_id: string;
  readonly metadata: { readonly claimed?: Record<string, unknown>; readonly allowed?: boolean };
}

/** As docs/python-sdk.md says it: `armoriq login` needs pages of the vendor's. */
const SAVE_PROFILE = `
import json, sys
from armoriq_sdk.credentials import LoginProfile, save_login_profile
given = json.load(sys.stdin)
save_login_profile(LoginProfile(
    backend=given["url"], product="", apiKey=given["key"], email="", userId="me", orgId="self-hosted"))
`;

suite('armoriq-sdk 0.8.17', { skip: pythonSkip }, () => {
  const vault = startVault(available);
  const closers: (() => unknown)[] = [];
  const closing = { after: (close: unknown) => closers.push(close as () => unknown) } as never;
  let recorder: Recorder;
  let home: PythonHome;
  before(async () => {
    recorder = await recordRequests(closing, () => vault.url);
    home = await aPythonHome(closing, python.ok ? python.python : '');
  });
  after(async () => {
    for (const close of closers.reverse()) await close();
  });

  /** A program of a new agent; what it asked is told beside what it printed. */
  const run = async <Result>(text: string, spec: Record<string, unknown> = {}, more: object = {}) => {
    const agent = await vault.createAgent({ allowed_scopes: null, ...spec });
    recorder.taken();
    const given = {
      url: recorder.url,
      key: agent.key,
      agent: agent.name,
      agentId: agent.id,
      admin: vault.adminKey,
      ...more,
    };
    const result = resultOf<Result>(await home.program(`${PROLOGUE}${text}`, given));
    return { result, agent, asked: recorder.taken() };
  };
  const eventsOf = async (agentId: string, type: string): Promise<readonly Event[]> => {
    const { body } = await vault.ask<{ events: Event[] }>(
      'GET',
      `/v1/audit?actor_id=${agentId}&event_type=${type}`,
    );
    return body.events;
  };

  const PLAN = `
plan = {"goal": "look — überall", "steps": [
    {"action": "read_file", "mcp": "files", "params": {"path": "/tmp/ä"}},
    {"action": "send", "mcp": "mail", "params": {"n": 3}}]}
client = client_of(user_id="user-1")
token = client.get_intent_token(client.capture_plan("gpt-4", "look", plan), validity_seconds=300)
`;

  test('a captured plan gets a token that verify_token takes, and nothing that was changed', async () => {
    const { result, agent } = await run<{ verified: boolean[]; steps: number; jwt: string }>(`${PLAN}
raw = {**token.raw_token, "token": {**token.raw_token["token"], "plan_hash": "0" * 64}}
signature = {**token.raw_token, "token": {**token.raw_token["token"], "signature": "0" * 128}}
done({"verified": [client.verify_token(t) for t in (
    token, token.model_copy(update={"plan_hash": "0" * 64}), token.model_copy(update={"raw_token": raw}),
    token.model_copy(update={"raw_token": signature}), token.model_copy(update={"expires_at": 1}))],
    "steps": len(token.step_proofs), "jwt": token.jwt_token})`);
    assert.deepEqual(result.verified, [true, false, false, false, false]);
    assert.equal(result.steps, 2);
    const verified = await vault.ask<{ code: string; claims: Record<string, unknown> }>(
      'POST',
      '/token/verify',
      {
        token: result.jwt,
      },
    );
    assert.equal(verified.body.code, 'VALID');
    assert.deepEqual([verified.body.claims['sub'], verified.body.claims['client_id']], ['user-1', agent.id]);
  });

  test('a plan that the operator denies is PolicyBlockedException with the reason', async () => {
    const { result } = await run<Attempt>(
      `
client = client_of()
plan = {"steps": [{"action": "send", "mcp": "mail"}]}
done(attempt(lambda: client.get_intent_token(client.capture_plan("m", "p", plan)).token_id))`,
      { policy: { deny: ['mail/*'] } },
    );
    assert.equal(result.raised, 'PolicyBlockedException');
    assert.match(String(result.reason), /mail\/send: matches the deny pattern/);
  });

  test('a token is delegated to less, revoked with all that came of it, and never re-anchored', async () => {
    const { result } = await run<{
      delegated: Attempt<{ verified: boolean; jwt: string; longer: boolean }>;
      wider: Attempt;
      subtree: Attempt;
      reanchored: Attempt;
      revoked: Attempt<{ success: boolean; revoked_count: number }>;
      again: Attempt;
      jwt: string;
    }>(`
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
delegate_key = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
${PLAN}
def delegate(**options):
    made = client.delegate(token, delegate_key, **options).delegated_token
    jwt = made.jwt_token or made.raw_token["token"]["jwt_token"]
    return {"verified": client.verify_token(made), "jwt": jwt, "longer": made.expires_at > token.expires_at}
done({
    "jwt": token.jwt_token,
    "delegated": attempt(lambda: delegate(allowed_actions=["send"], target_agent="b", subtask={"goal": "x"})),
    "wider": attempt(lambda: delegate(allowed_actions=["drop_table"])),
    "subtree": attempt(lambda: client.delegate_subtree(
        token, delegate_public_key=delegate_key, subtree_path="/steps/[0]", parent_plan=plan)["trust_id"]),
    "reanchored": attempt(lambda: client.reanchor(token, {"steps": []}, reason="more")),
    "revoked": attempt(lambda: client.revoke(token, "over", intent_reference=token.token_id)),
    "again": attempt(lambda: delegate()),
})`);
    assert.deepEqual([result.delegated.raised, result.delegated.message], [undefined, undefined]);
    const { verified, jwt = '', longer } = result.delegated.value ?? {};
    assert.deepEqual([verified, longer], [true, false]);
    assert.equal(result.wider.raised, 'DelegationException');
    assert.equal(result.subtree.raised, 'DelegationException');
    assert.equal(result.reanchored.raised, 'IntentReanchorException');
    assert.match(String(result.reanchored.reason), /a signed plan does not change/i);
    assert.equal(result.revoked.value?.success, true);
    assert.equal(result.revoked.value?.revoked_count, 2);
    assert.equal(result.again.raised, 'DelegationException');
    for (const token of [result.jwt, jwt]) {
      const { body } = await vault.ask<{ code: string }>('POST', '/token/verify', { token });
      assert.equal(body.code, 'TOKEN_REVOKED');
    }
  });

  test('a session in mode local respects the plan, and the operator’s deny', async () => {
    const { result, asked } = await run<Record<string, Verdict>>(
      `
client = client_of()
session = client.start_session(SessionOptions(mode="local", default_mcp_name="files"))
calls = [{"name": "read_file", "args": {}}, {"name": "delete_file", "args": {}}, {"name": "mail__send", "args": {}}]
session.start_plan(calls, goal="tidy up")
told = {"allowed": verdict(session.check("delete_file", {})), "named": verdict(session.check("mail__send", {})),
        "unplanned": verdict(session.check("drop_table", {}))}
operator("PATCH", f"/v1/agents/{given['agentId']}", {"policy": {"deny": ["files/delete_*"]}})
session.start_plan(calls, goal="tidy up")
told |= {"denied": verdict(session.check("delete_file", {})), "other": verdict(session.check("read_file", {}))}
for name, agent in (("stranger", "somebody-else"), ("nobody", None)):
    lost = client_of(agent_id=agent).start_session(SessionOptions(mode="local", default_mcp_name="files"))
    lost.start_plan([{"name": "read_file", "args": {}}])
    told[name] = verdict(lost.check("read_file", {}))
done(told)`,
      { policy: { allow: ['*'] } },
    );
    for (const name of ['allowed', 'named', 'other']) assert.equal(result[name]?.allowed, true, name);
    for (const name of ['unplanned', 'denied', 'stranger', 'nobody']) {
      assert.deepEqual([result[name]?.allowed, result[name]?.action], [false, 'block'], name);
    }
    assert.match(result['denied']?.reason ?? '', /^block:delete_\*/);
    assert.equal(result['denied']?.policy, 'operator');
    assert.match(result['unplanned']?.reason ?? '', /^tool-not-in-plan/);
    assert.match(result['stranger']?.reason ?? '', /^agent_unresolved/);
    assert.ok(asked.includes('GET /iap/public-key 200'));
    assert.ok(asked.includes('GET /policy/bundles/current 200'));
    assert.ok(!asked.some((line) => line.startsWith('POST /iap/sdk/enforce')));
  });

  test('a session in mode local fetches a policy that did not change only once', async () => {
    const { asked } = await run(`
client = client_of()
session = client.start_session(SessionOptions(mode="local", default_mcp_name="files"))
for _ in range(3):
    session.start_plan([{"name": "read_file", "args": {}}])
done(session.last_plan_start)`);
    const bundles = asked.filter((line) => line.includes('/policy/bundles/current'));
    assert.deepEqual(bundles, [
      'GET /policy/bundles/current 200',
      'GET /policy/bundles/current 304',
      'GET /policy/bundles/current 304',
    ]);
  });

  test('a session in mode sdk asks for every call, and sees a denial and a revocation at once', async () => {
    const { result, asked, agent } = await run<Record<string, Verdict>>(`
client = client_of()
session = client.start_session(SessionOptions(mode="sdk", default_mcp_name="files"))
session.start_plan([{"name": "read_file", "args": {}}, {"name": "mail__send", "args": {}}])
told = {"allowed": verdict(session.check("read_file", {"path": "/secret-argument"})),
        "named": verdict(session.check("mail__send", {})), "unplanned": verdict(session.check("drop_table", {}))}
operator("PATCH", f"/v1/agents/{given['agentId']}", {"policy": {"deny": ["mail/*"]}})
told |= {"denied": verdict(session.check("mail__send", {})), "other": verdict(session.check("read_file", {}))}
client.revoke(session.current_token, "over")
told["revoked"] = verdict(session.check("read_file", {}))
done(told)`);
    for (const name of ['allowed', 'named', 'other']) assert.equal(result[name]?.allowed, true, name);
    for (const name of ['unplanned', 'denied', 'revoked']) assert.equal(result[name]?.allowed, false, name);
    assert.equal(asked.filter((line) => line === 'POST /iap/sdk/enforce 200').length, 5);
    const events = await eventsOf(agent.id, 'intent.enforced');
    assert.ok(events.length >= 5);
    assert.ok(!JSON.stringify(events).includes('secret-argument'));
  });

  test('a plan that grows is refused, and a session that was reset gets a new token', async () => {
    const { result } = await run<{ grown: Attempt; reset: string; renewed: boolean }>(`
client = client_of()
session = client.start_session(SessionOptions(mode="local", default_mcp_name="files"))
first = session.start_plan([{"name": "read_file", "args": {}}])
more = [{"name": "read_file", "args": {}}, {"name": "write_file", "args": {}}]
grown = attempt(lambda: session.start_plan(more).token_id)
session.reset()
second = session.start_plan(more)
done({"grown": grown, "reset": session.last_plan_start, "renewed": first.token_id != second.token_id})`);
    assert.equal(result.grown.raised, 'IntentReanchorException');
    assert.deepEqual([result.reset, result.renewed], ['minted', true]);
  });

  test('reports and the end of a plan are on record as claims, without what the tools saw', async () => {
    const { agent, asked, result } = await run<{ plan: string }>(`
client = client_of()
session = client.start_session(SessionOptions(mode="local", default_mcp_name="files"))
token = session.start_plan([{"name": "read_file", "args": {"path": "/secret-argument"}}], goal="secret-argument")
session.report("read_file", {"path": "/secret-argument"}, {"text": "secret-argument"})
session.report("mail__send", {}, None, ReportOptions(
    status="failed", error_message="secret-argument", duration_ms=12.5, is_delegated=True, delegated_to="b"))
client.complete_plan(token.plan_id)
client.update_plan_status("not-a-plan", "completed")
session.close()
client.close()
done({"plan": token.plan_id})`);
    const events = await eventsOf(agent.id, 'intent.reported');
    assert.deepEqual(
      events.map(({ resource_id, metadata }) => [resource_id, metadata.claimed?.['status']]).reverse(),
      [
        ['files/read_file', 'success'],
        ['mail/send', 'failed'],
        [result.plan, 'completed'],
      ],
    );
    assert.equal(events[1]?.metadata.claimed?.['duration_ms'], 12.5);
    assert.ok(!JSON.stringify(events).includes('secret-argument'));
    assert.deepEqual(
      asked.filter((line) => /audit|plans/.test(line)),
      [
        'POST /iap/audit 200',
        'POST /iap/audit 200',
        `POST /iap/plans/${result.plan}/status 200`,
        'POST /iap/plans/not-a-plan/status 404',
      ],
    );
    assert.ok(asked.includes('GET /observability/policy/lease 200'));
    assert.ok(!asked.some((line) => line.includes('/v1/traces')), 'no trace is sent');
  });

  test('bootstrap names the agent, and a session for a user names the user in its token', async () => {
    const { result, agent } = await run<{ agent: { id: string; name: string }; jwt: string }>(`
client = client_of()
session = client.for_user("Alice@example.org").start_session(SessionOptions(mode="sdk", default_mcp_name="files"))
token = session.start_plan([{"name": "read_file", "args": {}}])
done({"agent": client.bootstrap()["agent"], "jwt": token.jwt_token})`);
    assert.deepEqual(result.agent, { id: agent.id, name: agent.name });
    const claims = JSON.parse(Buffer.from(result.jwt.split('.')[1] ?? '', 'base64url').toString());
    assert.equal(claims.sub, 'alice@example.org');
  });

  test('the command line lists and revokes one’s own keys', async () => {
    const agent = await vault.createAgent();
    const { body: other } = await vault.ask<{ id: string; api_key: string }>(
      'POST',
      `/v1/agents/${agent.id}/keys`,
      { name: 'the-other' },
    );
    const saved = await home.program(SAVE_PROFILE, { url: recorder.url, key: agent.key });
    assert.equal(saved.code, 0, saved.stderr);
    const listed = await home.armoriq('keys', 'list');
    assert.equal(listed.code, 0, listed.stderr);
    assert.match(listed.stdout, new RegExp(`the-other\\s+${other.id}\\s+active`));
    const inUse = await home.armoriq('keys', 'revoke', agent.key.slice(8, 24));
    assert.notEqual(inUse.code, 0);
    assert.match(inUse.stdout + inUse.stderr, /The key in use cannot revoke itself/);
    const revoked = await home.armoriq('keys', 'revoke', other.id);
    assert.equal(revoked.code, 0, revoked.stderr);
    assert.match((await home.armoriq('keys', 'list')).stdout, new RegExp(`${other.id}\\s+revoked`));
    const prune = await home.armoriq('keys', 'prune');
    assert.match(prune.stdout, /Nothing to prune/);
    const orgs = await home.armoriq('orgs');
    assert.notEqual(orgs.code, 0);
    assert.match(orgs.stdout + orgs.stderr, /HTTP 404/);
  });

  test('what stays 404 is what docs/python-sdk.md lists, with what the SDK then does', async () => {
    const { result, asked } = await run<Record<string, Attempt>>(`
client = client_of()
proxied = client_of(proxy_endpoint=given["url"])
plan = {"steps": [{"action": "read_file", "mcp": "files"}]}
token = client.get_intent_token(client.capture_plan("m", "p", plan))
held = DelegationRequestParams(tool="t", action="a", arguments={}, amount=1, requester_email="e@example.org",
                               requester_role="agent_user", requester_limit=0)
def check(of):
    session = of.start_session(SessionOptions(mode="proxy", default_mcp_name="files"))
    session.start_plan([{"name": "read_file", "args": {}}])
    return verdict(session.check("read_file", {}))
done({
    "invoke without a proxy": attempt(lambda: client.invoke("files", "read_file", token)),
    "invoke": attempt(lambda: proxied.invoke("files", "read_file", token)),
    "check without a proxy": attempt(lambda: check(client)),
    "check": attempt(lambda: check(proxied)),
    "resolve_user": attempt(lambda: client.resolve_user("e@example.org")),
    "refine": attempt(lambda: client.refine({})),
    "list_mcps": attempt(client.list_mcps),
    "get_mcp_tool_schemas": attempt(lambda: client.get_mcp_tool_schemas("files")),
    "fetch_tool_metadata": attempt(lambda: client.fetch_tool_metadata("files").mcp_id),
    "resolve_role": attempt(lambda: client.resolve_role("files", "admin")),
    "create_delegation_request": attempt(lambda: client.create_delegation_request(held)),
    "get_delegation_status": attempt(lambda: client.get_delegation_status("d")),
    "check_approved_delegation": attempt(lambda: client.check_approved_delegation("e@example.org", "t", 1.0)),
    "mark_delegation_executed": attempt(lambda: client.mark_delegation_executed("e@example.org", "d")),
    "record_token_usage": attempt(lambda: client.record_token_usage(
        "p", "s", [{"model": "m", "inputTokens": 1, "outputTokens": 1}], "2026-01-01", 0)),
})`);
    const outcomes = Object.entries(result).map(([name, { raised, value }]) => [name, raised ?? value]);
    const {
      check,
      'check without a proxy': unproxied,
      ...others
    } = Object.fromEntries(outcomes) as Record<string, unknown>;
    for (const blocked of [check, unproxied]) assert.equal((blocked as Verdict).allowed, false);
    assert.deepEqual(others, {
      'invoke without a proxy': 'ConfigurationException',
      invoke: 'MCPInvocationException',
      resolve_user: 'ConfigurationException',
      refine: 'ArmorIQException',
      list_mcps: 'MCPInvocationException',
      get_mcp_tool_schemas: 'MCPInvocationException',
      fetch_tool_metadata: '',
      resolve_role: 'admin',
      create_delegation_request: 'DelegationException',
      get_delegation_status: 'DelegationException',
      check_approved_delegation: null,
      mark_delegation_executed: null,
      record_token_usage: { ok: false, status: 404, recorded: null },
    });
    const absent = new Set(asked.filter((line) => line.endsWith(' 404')).map((line) => line.slice(0, -4)));
    assert.deepEqual(
      [...absent].sort(),
      [
        'GET /delegation/check-approved',
        'GET /delegation/d/status',
        'GET /mcp/my-servers',
        'GET /mcp/tool-metadata/files',
        'GET /mcp/tools/files',
        'POST /dashboard/token-usage',
        'POST /delegation/mark-executed',
        'POST /delegation/request',
        'POST /iap/sdk/preflight',
        'POST /iap/sdk/resolve-user',
        'POST /invoke',
      ].sort(),
    );
    const page = readText('docs/python-sdk.md').replace(/:(mcp|id)\b/g, (name) =>
      name === ':id' ? 'd' : 'files',
    );
    for (const line of absent)
      assert.ok(page.includes(line.split(' ')[1] ?? ''), `${line} is not on the page`);
  });
});
