/**
 * What a page or a worker does with `writ/verify`: keys by URL, a token, a step, and attacks that must fail. It runs
 * bundled, far from the test that reads its report, so it asserts nothing itself.
 */
import type * as Library from '../../src/verify.ts';

export interface PortableInput {
  readonly url: string;
  readonly issuer: string;
  readonly audience: string;
  readonly jwt: string;
  readonly steps: readonly object[];
  readonly proofs: readonly unknown[];
}

export interface PortableReport {
  /** Whether the runtime's own Ed25519 is there. */
  readonly webCrypto: boolean;
  readonly jti: string;
  readonly step: unknown;
  /** The code of each refusal, by the name of the attack; `taken` for none. */
  readonly attacks: Readonly<Record<string, string>>;
  /** What comes of reading another route of the server: `refused` in a page of another origin. */
  readonly otherRoute: 'read' | 'refused';
}

export async function checkLibrary(
  { createVerifier, VerificationError }: typeof Library,
  { url, issuer, audience, jwt, steps, proofs }: PortableInput,
): Promise<PortableReport> {
  const verifier = createVerifier({ jwksUrl: `${url}/.well-known/jwks.json`, issuer, audience });
  const [head = '', body = '', tail = ''] = jwt.split('.');
  const [first = {}, second = {}] = steps;
  const whole = { stepIndex: 1, step: second, proof: proofs[1] };
  const codeOf = (verdict: Promise<unknown>): Promise<string> =>
    verdict.then(
      () => 'taken',
      (error: unknown) => (error instanceof VerificationError ? error.code : String(error)),
    );
  const later = createVerifier({
    jwksUrl: `${url}/.well-known/jwks.json`,
    issuer,
    audience,
    clock: () => new Date(Date.now() + 86_400_000),
  });
  const { token, step } = await verifier.verifyStep(jwt, whole);
  return {
    webCrypto: await hasEd25519(),
    jti: token.jti,
    step,
    attacks: {
      'signature changed': await codeOf(
        verifier.verifyToken(`${head}.${body}.${tail.replace(/^./, (c) => (c === 'A' ? 'B' : 'A'))}`),
      ),
      'another parameter': await codeOf(
        verifier.verifyStep(jwt, { ...whole, step: { ...second, extra: 1 } }),
      ),
      'another step': await codeOf(verifier.verifyStep(jwt, { ...whole, step: first })),
      'a day later': await codeOf(later.verifyToken(jwt)),
    },
    otherRoute: await fetch(`${url}/health`).then(
      () => 'read' as const,
      () => 'refused' as const,
    ),
  };
}

async function hasEd25519(): Promise<boolean> {
  try {
    await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']);
    return true;
  } catch {
    return false;
  }
}
