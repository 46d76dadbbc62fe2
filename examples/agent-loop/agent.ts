/**
 * An agent plans, has its plan signed, and carries it out step by step at a tool server. A step with another parameter is
 * refused, so is a step that was carried out before, and when the plan is revoked in the middle, so is the next step.
 *   WRIT_URL=http://127.0.0.1:3000 WRIT_KEY=ak_live_… npx tsx examples/agent-loop/agent.ts
 */
import { buildToolServer, type ToolCall } from './tool-server.ts';

const writUrl = process.env['WRIT_URL'] ?? 'http://127.0.0.1:3000';
const issuer = process.env['WRIT_ISSUER'] ?? writUrl;
const audience = process.env['WRIT_AUDIENCE'] ?? 'writ';
const apiKey = process.env['WRIT_KEY'];
if (apiKey === undefined) throw new Error('set WRIT_KEY to an API key');

const steps = [
  { action: 'search', mcp: 'hotels', params: { city: 'Zürich' } },
  { action: 'book', mcp: 'hotels', params: { hotel: 17 } },
  { action: 'pay', mcp: 'hotels', params: { hotel: 17 } },
] as const;

interface SignedPlan {
  readonly token: string;
  readonly token_id: string;
  readonly plan_hash: string;
  readonly step_proofs: readonly object[];
}

const plan = await askWrit<SignedPlan>('/token/issue', {
  plan: { goal: 'a room in Zürich', steps },
  policy: { allow: ['hotels/*'] },
  expires_in: 300,
});
console.log(`plan ${plan.plan_hash} is signed`);

// In life it is another program, with a key of its own.
const toolServer = buildToolServer({ writUrl, issuer, audience, apiKey });
const toolUrl = await toolServer.listen({ host: '127.0.0.1', port: 0 });
try {
  console.log(`step 0: ${await carryOut(0)}`);
  console.log(`step 1 with another hotel: ${await carryOut(1, { ...steps[1], params: { hotel: 18 } })}`);
  console.log(`step 1: ${await carryOut(1)}`);
  console.log(`step 1 again: ${await carryOut(1)}`);
  await askWrit('/token/revoke', { token_id: plan.token_id, reason: 'the journey is called off' });
  console.log('the plan is revoked');
  console.log(`step 2: ${await carryOut(2)}`);
} finally {
  await toolServer.close();
}

/** What the tool says, or why it was not called. */
async function carryOut(stepIndex: number, step: ToolCall['step'] | undefined = steps[stepIndex]) {
  const response = await fetch(`${toolUrl}/call`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${plan.token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ stepIndex, step, proof: plan.step_proofs[stepIndex] }),
  });
  const { result, refused, message } = (await response.json()) as Record<string, string | undefined>;
  return result ?? `refused, ${refused ?? message}`;
}

async function askWrit<Answer>(path: string, body: object): Promise<Answer> {
  const response = await fetch(`${writUrl}${path}`, {
    method: 'POST',
    headers: { 'X-API-Key': apiKey ?? '', 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as Answer & { readonly message?: string };
  if (!response.ok) throw new Error(`${path}: ${answer.message}`);
  return answer;
}
