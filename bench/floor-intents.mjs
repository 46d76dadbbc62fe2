/** The floor of issuing an intent token: the cryptography that an answer needs, and one grouped statement. */

import { generateKeyPairSync, hash, randomUUID, sign } from 'node:crypto';
import { grouped } from './floor-writes.mjs';

const LANES = 2;
const TTL_SECONDS = 60;

const ISSUE = {
  name: 'issue',
  text: `
    with token as (
      insert into tokens
      select jti, agent, plan_hash, merkle_root, policy, to_timestamp(expires_at)
      from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::float8[])
        as row (jti, agent, plan_hash, merkle_root, policy, expires_at)
    )
    insert into events (id, kind, actor, subject)
    select id, 'intent.issued', agent, jti::text
    from unnest($7::uuid[], $2::text[], $1::uuid[]) as row (id, agent, jti)`,
};

/** Sorted members, no white space. `written` is a part whose text is known already. */
export function canonical(value, written) {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (value === written?.value) return written.text;
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item)).join()}]`;
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `"${name}":${canonical(value[name], written)}`).join()}}`;
}

export const sha256Hex = (text) => hash('sha256', text, 'hex');
export const leaf = (text) => sha256Hex(`\0${text}`);

const pair = Buffer.alloc(65, 1);
export function parent(left, right) {
  pair.write(left, 1, 32, 'hex');
  pair.write(right, 33, 32, 'hex');
  return sha256Hex(pair);
}

/** Leaf hashes first, the root alone in the last level; all in hex, as proofs need them. */
function treeOver(leaves) {
  const levels = [leaves];
  for (let level = leaves; level.length > 1; levels.push(level)) {
    const above = [];
    for (let at = 0; at < level.length; at += 2) {
      above.push(at + 1 < level.length ? parent(level[at], level[at + 1]) : level[at]);
    }
    level = above;
  }
  return levels;
}

function proofOf(levels, leafIndex) {
  const proof = [];
  for (let height = 0, at = leafIndex; height < levels.length - 1; height += 1, at >>= 1) {
    const sibling_hash = levels[height][at ^ 1];
    if (sibling_hash !== undefined) proof.push({ position: at & 1 ? 'left' : 'right', sibling_hash });
  }
  return proof;
}

const { privateKey, publicKey } = generateKeyPairSync('ed25519');

export { publicKey };

const kid = sha256Hex('a key').slice(0, 43);
const HEADER = Buffer.from(JSON.stringify({ alg: 'EdDSA', kid, typ: 'JWT' })).toString('base64url');

function signed(claims) {
  const input = `${HEADER}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
  const signature = sign(null, Buffer.from(input, 'latin1'), privateKey);
  return { token: `${input}.${signature.toString('base64url')}`, signature: signature.toString('hex') };
}

export function addIntentTokens(app, pool) {
  const write = grouped({ lanes: LANES, columns: 7, run: (values) => pool.query({ ...ISSUE, values }) });

  app.post('/issue', async ({ body }) => {
    const { plan, policy = { allow: ['*'], deny: [] }, user_id = null, agent_id = null } = body;
    const leaves = [];
    const stepTexts = plan.steps.map((step, index) => {
      const text = canonical(step);
      leaves.push(leaf(`["/steps/[${index}]/action","${sha256Hex(`"${step.action}"`)}"]`));
      leaves.push(leaf(`["/steps/[${index}]","${sha256Hex(text)}"]`));
      return text;
    });
    const plan_hash = sha256Hex(canonical(plan, { value: plan.steps, text: `[${stepTexts.join()}]` }));
    const levels = treeOver(leaves);
    const merkle_root = levels.at(-1)[0];
    const policyText = canonical(policy);
    const identity = { user_id, agent_id, context_id: null, api_key_id: '0123456789abcdef' };

    const jti = randomUUID();
    const iat = Math.floor(Date.now() / 1000);
    const exp = iat + TTL_SECONDS;
    const claims = {
      iss: 'http://127.0.0.1',
      sub: 'agent',
      aud: 'writ',
      iat,
      nbf: iat,
      exp,
      jti,
      token_use: 'intent',
    };
    const facts = {
      plan_hash,
      merkle_root,
      tree_size: leaves.length,
      policy,
      policy_hash: sha256Hex(policyText),
    };
    const { token, signature } = signed({ ...claims, ...facts, identity });
    await write([jti, 'agent', plan_hash, merkle_root, policyText, exp, randomUUID()]);
    return {
      success: true,
      token,
      signature,
      token_id: jti,
      issued_at: iat,
      expires_at: exp,
      ...facts,
      composite_identity: sha256Hex(canonical(identity)),
      step_proofs: plan.steps.map((_, index) => ({
        step_index: index,
        path: `/steps/[${index}]/action`,
        proof: proofOf(levels, 2 * index),
      })),
    };
  });
}
