/**
 * A tool server that carries out what was planned and nothing else. Each call brings a step of a signed plan: `writ/verify`
 * decides by the published keys whether it is one, to the last parameter; then Writ uses the step up, because only the
 * server knows whether the plan was revoked and the step carried out before.
 */
import Fastify, { type FastifyInstance } from 'fastify';
import { createVerifier, VerificationError } from 'writ/verify';

export interface ToolServerOptions {
  readonly writUrl: string;
  /** What Writ was given as ISSUER_URL and TOKEN_AUDIENCE: a tool server has them in its own configuration. */
  readonly issuer: string;
  readonly audience: string;
  /** Of the tool server. */
  readonly apiKey: string;
}

export interface ToolCall {
  readonly stepIndex: number;
  readonly step: { readonly action: string; readonly params: Readonly<Record<string, unknown>> };
  readonly proof: object;
}

/** What plans call this server. */
const NAME = 'hotels';

const TOOLS: ReadonlyMap<string, (params: ToolCall['step']['params']) => string> = new Map([
  ['search', ({ city }) => `hotels 17 and 18 in ${city}`],
  ['book', ({ hotel }) => `hotel ${hotel} is booked`],
  ['pay', ({ hotel }) => `hotel ${hotel} is paid`],
]);

export function buildToolServer({ writUrl, issuer, audience, apiKey }: ToolServerOptions): FastifyInstance {
  const verifier = createVerifier({ jwksUrl: `${writUrl}/.well-known/jwks.json`, issuer, audience });

  /** Once for each step, however often and wherever it is called; not after the plan was revoked. */
  const useUp = async (token: string, { stepIndex, step, proof }: ToolCall): Promise<void> => {
    const response = await fetch(`${writUrl}/token/verify`, {
      method: 'POST',
      headers: { 'X-API-Key': apiKey, 'Content-Type': 'application/json' },
      body: JSON.stringify({ token, step_index: stepIndex, step, proof, consume: true }),
    });
    const { valid, code, message } = (await response.json()) as Record<string, unknown>;
    if (valid !== true) throw new Refusal(String(code ?? message));
  };

  const app = Fastify();
  app.post<{ Body: ToolCall }>('/call', async ({ headers, body }) => {
    const token = /^Bearer (\S+)$/.exec(headers.authorization ?? '')?.[1] ?? '';
    const { stepIndex, step, proof } = body;
    const { step: proven } = await verifier.verifyStep(token, { stepIndex, step, proof, mcp: NAME });
    const tool = TOOLS.get(proven.action);
    if (tool === undefined) throw new Refusal('there is no such tool');
    await useUp(token, body);
    return { result: tool(step.params) };
  });
  app.setErrorHandler((error, _request, reply) => {
    if (error instanceof VerificationError) return reply.code(403).send({ refused: error.code });
    if (error instanceof Refusal) return reply.code(403).send({ refused: error.message });
    return reply.send(error);
  });
  return app;
}

class Refusal extends Error {}
