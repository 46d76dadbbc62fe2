/** The floor of verifying a step: one signature, one grouped look-up, one proof of the step and of its action. */

import { verify } from 'node:crypto';
import { canonical, leaf, parent, publicKey, sha256Hex } from './floor-intents.mjs';
import { grouped } from './floor-writes.mjs';

const FIND = {
  name: 'find',
  text: `
    select token.jti is not null as known
    from unnest($1::uuid[]) with ordinality as asked (jti, position)
    left join tokens token on token.jti = asked.jti
    order by asked.position`,
};

function rootOver(hash, proof) {
  let node = hash;
  for (const { position, sibling_hash } of proof)
    node = position === 'left' ? parent(sibling_hash, node) : parent(node, sibling_hash);
  return node;
}

export function addVerification(app, pool) {
  const find = grouped({ lanes: 1, columns: 1, run: (values) => pool.query({ ...FIND, values }) });

  app.post('/verify', async ({ body }) => {
    const { token, step_index, step, proof } = body;
    const [header, payload, signature] = token.split('.');
    const input = Buffer.from(`${header}.${payload}`, 'latin1');
    const isSigned = verify(null, input, publicKey, Buffer.from(signature, 'base64url'));
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
    const { known } = await find([claims.jti]);
    const siblings = proof.proof ?? proof;
    const action = leaf(`["/steps/[${step_index}]/action","${sha256Hex(`"${step.action}"`)}"]`);
    const whole = leaf(`["/steps/[${step_index}]","${sha256Hex(canonical(step))}"]`);
    const isProven = siblings[0].sibling_hash === whole && rootOver(action, siblings) === claims.merkle_root;
    if (!isSigned || !known || !isProven) return { valid: false, code: 'TOKEN_INVALID' };
    return {
      valid: true,
      code: 'VALID',
      claims,
      step: { step_index, action: step.action, mcp: step.mcp ?? null },
    };
  });
}
