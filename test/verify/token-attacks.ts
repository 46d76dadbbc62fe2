/**
 * The attack table of an intent token (contract section 4.6; RFC 7515, RFC 8032, RFC 8725): everything that may be done
 * to a good one, for every verifier that this repository has. Unless a row says otherwise, what is wrong is signed with
 * the trusted key, so that nothing else can be what refuses it.
 */
import { createHmac } from 'node:crypto';
import {
  aSigner,
  base64url,
  type Claims,
  claimsIn,
  signClaims,
  signTexts,
  type TestSigner,
} from './signed-tokens.ts';

export interface AttackedToken {
  /** A token that the verifier takes. */
  readonly good: string;
  readonly signer: Pick<TestSigner, 'kid' | 'publicKey' | 'sign'>;
  readonly nowSeconds: number;
}

export interface TokenAttack {
  readonly name: string;
  readonly code: 'TOKEN_INVALID' | 'TOKEN_EXPIRED';
  readonly forge: (token: AttackedToken) => string;
}

type Forge = TokenAttack['forge'];
type Forged = Readonly<Record<string, Forge>>;

const partsOf = ({ good }: AttackedToken) => {
  const [head = '', body = '', tail = ''] = good.split('.');
  return { head, body, tail };
};
const withHeader =
  (changes: object): Forge =>
  ({ good, signer }) =>
    signClaims(signer, claimsIn(good), changes);
const withHeaderText =
  (text: (kid: string) => string): Forge =>
  ({ good, signer }) =>
    signTexts(signer, text(signer.kid), JSON.stringify(claimsIn(good)));
const withClaims =
  (changes: (now: number, claims: Claims) => object): Forge =>
  ({ good, signer, nowSeconds }) =>
    signClaims(signer, { ...claimsIn(good), ...changes(nowSeconds, claimsIn(good)) });
const without =
  (name: string): Forge =>
  ({ good, signer }) => {
    const { [name]: _, ...others } = claimsIn(good);
    return signClaims(signer, others);
  };
const withPayloadText =
  (change: (text: string) => string): Forge =>
  ({ good, signer }) =>
    signTexts(
      signer,
      JSON.stringify({ alg: 'EdDSA', kid: signer.kid, typ: 'JWT' }),
      change(JSON.stringify(claimsIn(good))),
    );
const withSignature =
  (change: (signature: Buffer) => Uint8Array): Forge =>
  (token) => {
    const { head, body, tail } = partsOf(token);
    return `${head}.${body}.${base64url(change(Buffer.from(tail, 'base64url')))}`;
  };

/** A symmetric signature with the one key that everybody knows. */
const withHmac =
  (hash: string, alg: string): Forge =>
  ({ good, signer }) => {
    const header = base64url(JSON.stringify({ alg, kid: signer.kid, typ: 'JWT' }));
    const input = `${header}.${good.split('.')[1] ?? ''}`;
    return `${input}.${createHmac(hash, signer.publicKey).update(input).digest('base64url')}`;
  };

const unsigned =
  (alg: string, tail: (token: AttackedToken) => string): Forge =>
  (token) =>
    `${base64url(JSON.stringify({ alg, kid: token.signer.kid, typ: 'JWT' }))}.${partsOf(token).body}.${tail(token)}`;

const other = aSigner();
const CERTIFICATE = 'MIIBATCBtKADAgECAgEBMAUGAytlcDAQMQ4wDAYDVQQDDAVhdHRhY2s=';

const HEADERS: Forged = {
  'alg none without a signature': unsigned('none', () => ''),
  'alg none with the good signature': unsigned('none', (token) => partsOf(token).tail),
  'alg none, signed': withHeader({ alg: 'none' }),
  'alg HS256 keyed with the public key': withHmac('sha256', 'HS256'),
  'alg HS512 keyed with the public key': withHmac('sha512', 'HS512'),
  'alg HS256, signed': withHeader({ alg: 'HS256' }),
  'alg ES256, signed': withHeader({ alg: 'ES256' }),
  'alg Ed448, signed': withHeader({ alg: 'Ed448' }),
  'alg in lower case': withHeader({ alg: 'eddsa' }),
  'alg ed25519 in lower case': withHeader({ alg: 'ed25519' }),
  'alg in upper case': withHeader({ alg: 'EDDSA' }),
  'alg with a blank': withHeader({ alg: 'EdDSA ' }),
  'alg in a list': withHeader({ alg: ['EdDSA'] }),
  'alg null': withHeader({ alg: null }),
  'no alg': withHeaderText((kid) => JSON.stringify({ kid, typ: 'JWT' })),
  'alg twice': withHeaderText((kid) => `{"alg":"none","alg":"EdDSA","kid":"${kid}","typ":"JWT"}`),
  'jwk in the header': withHeader({ jwk: other.jwk }),
  'jwk in the header, signed with that key': ({ good }) =>
    signClaims(other, claimsIn(good), { jwk: other.jwk }),
  'jwk in the header under the trusted kid, signed with that key': ({ good, signer }) =>
    signClaims(other, claimsIn(good), { jwk: other.jwk, kid: signer.kid }),
  'jku in the header': withHeader({ jku: 'https://evil.example/jwks.json' }),
  'x5c in the header': withHeader({ x5c: [CERTIFICATE] }),
  'x5u in the header': withHeader({ x5u: 'https://evil.example/cert.pem' }),
  'x5t in the header': withHeader({ x5t: 'A'.repeat(27) }),
  'crit in the header': withHeader({ crit: ['exp'] }),
  'crit that is empty': withHeader({ crit: [] }),
  'crit with b64 false': withHeader({ crit: ['b64'], b64: false }),
  'b64 true in the header': withHeader({ b64: true }),
  'cty in the header': withHeader({ cty: 'JWT' }),
  'zip in the header': withHeader({ zip: 'DEF' }),
  'a member of no meaning in the header': withHeader({ nonce: 'x' }),
  'an unknown kid': withHeader({ kid: 'A'.repeat(43) }),
  'an unknown kid, its own, signed with its key': ({ good }) => signClaims(other, claimsIn(good)),
  'the trusted kid, signed with another key': ({ good, signer }) =>
    signClaims({ ...other, kid: signer.kid }, claimsIn(good)),
  'a kid with another case': ({ good, signer }) =>
    signClaims(signer, claimsIn(good), { kid: signer.kid.toLowerCase() }),
  'a kid of Object.prototype': withHeader({ kid: 'constructor' }),
  'a kid that is a path': withHeader({ kid: '../../dev/null' }),
  'a kid in a list': ({ good, signer }) => signClaims(signer, claimsIn(good), { kid: [signer.kid] }),
  'no kid': withHeaderText(() => JSON.stringify({ alg: 'EdDSA', typ: 'JWT' })),
  'typ at+jwt': withHeader({ typ: 'at+jwt' }),
  'typ in lower case': withHeader({ typ: 'jwt' }),
  'typ JOSE': withHeader({ typ: 'JOSE' }),
  'typ with its prefix': withHeader({ typ: 'application/jwt' }),
  'no typ': withHeaderText((kid) => JSON.stringify({ alg: 'EdDSA', kid })),
  'a header that is a list': withHeaderText(() => '["EdDSA"]'),
  'a header that is null': withHeaderText(() => 'null'),
  'a header with a byte order mark': withHeaderText(
    (kid) => `\ufeff{"alg":"EdDSA","kid":"${kid}","typ":"JWT"}`,
  ),
  'a header with a comma too many': withHeaderText((kid) => `{"alg":"EdDSA","kid":"${kid}","typ":"JWT",}`),
};

/** The text that decodes to the same bytes with a lax decoder: one of its unused bits is set. */
function respelled(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  if (text.length % 4 === 0) throw new Error('this text has no unused bits');
  return text.slice(0, -1) + alphabet.charAt(alphabet.indexOf(text.slice(-1)) ^ 1);
}

/** Padded with blanks, which JSON allows, until its base64url has unused bits; signed as it is then spelled. */
function signedSpelling(part: 'header' | 'payload'): Forge {
  return ({ good, signer }) => {
    const texts = {
      header: JSON.stringify({ alg: 'EdDSA', kid: signer.kid, typ: 'JWT' }),
      payload: JSON.stringify(claimsIn(good)),
    };
    while (texts[part].length % 3 === 0) texts[part] += ' ';
    const [head, body] = [base64url(texts.header), base64url(texts.payload)];
    const input = part === 'header' ? `${respelled(head)}.${body}` : `${head}.${respelled(body)}`;
    return `${input}.${base64url(signer.sign(input))}`;
  };
}

const signedInput =
  (change: (input: string) => string): Forge =>
  (token) => {
    const { head, body } = partsOf(token);
    const input = change(`${head}.${body}`);
    return `${input}.${base64url(token.signer.sign(input))}`;
  };

const ENCODINGS: Forged = {
  'a byte behind the signature': withSignature((signature) => Buffer.concat([signature, Buffer.from([0])])),
  'a signature of 63 bytes': withSignature((signature) => signature.subarray(0, 63)),
  'no signature': (token) => token.good.slice(0, token.good.lastIndexOf('.') + 1),
  'no signature and no dot': (token) => token.good.slice(0, token.good.lastIndexOf('.')),
  'padding behind the signature': ({ good }) => `${good}==`,
  'padding behind the payload': signedInput((input) => `${input}=`),
  'padding behind the header': signedInput((input) => input.replace('.', '=.')),
  'a line break behind the token': ({ good }) => `${good}\n`,
  'a blank before the token': ({ good }) => ` ${good}`,
  'a U+0000 behind the token': ({ good }) => `${good}\0`,
  'the name of the scheme before the token': ({ good }) => `Bearer ${good}`,
  'a dot behind the token': ({ good }) => `${good}.`,
  'a fourth part': ({ good }) => `${good}.e30`,
  'the signature twice': (token) => `${token.good}.${partsOf(token).tail}`,
  'no payload (RFC 7515 appendix F)': (token) => `${partsOf(token).head}..${partsOf(token).tail}`,
  'a non-canonical last character of the signature': (token) =>
    `${partsOf(token).head}.${partsOf(token).body}.${respelled(partsOf(token).tail)}`,
  'a non-canonical last character of the payload, signed as it is': signedSpelling('payload'),
  'a non-canonical last character of the header, signed as it is': signedSpelling('header'),
  'base64 with + and / in the signature': (token) =>
    `${partsOf(token).head}.${partsOf(token).body}.${Buffer.alloc(64, 0xfb).toString('base64').slice(0, 86)}`,
  'a line break inside the signature': ({ good }) => `${good.slice(0, -40)}\n${good.slice(-40)}`,
  'a line break inside the payload, signed as it is': signedInput(
    (input) => `${input.slice(0, -4)}\n${input.slice(-4)}`,
  ),
  'the JSON serialization (RFC 7515 section 7.2.2)': (token) => {
    const { head, body, tail } = partsOf(token);
    return JSON.stringify({ protected: head, payload: body, signature: tail });
  },
  'a token of five parts (JWE)': ({ good }) => `${good}.e30.e30`,
  'no text': () => '',
  'the payload of another token': (token) => {
    const { head, tail } = partsOf(token);
    return `${head}.${base64url(JSON.stringify({ ...claimsIn(token.good), sub: 'root' }))}.${tail}`;
  },
};

const GROUP_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const littleEndian = (value: bigint): Buffer =>
  Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse();
const scalarOf = (signature: Buffer): bigint =>
  BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`);
const withScalar = (change: (s: bigint) => bigint): Forge =>
  withSignature((signature) =>
    Buffer.concat([signature.subarray(0, 32), littleEndian(change(scalarOf(signature)))]),
  );

const SIGNATURES: Forged = {
  ...Object.fromEntries(
    Array.from({ length: 64 }, (_, at) => [
      `a bit flipped in byte ${at} of the signature`,
      withSignature((signature) => {
        signature.writeUInt8(signature.readUInt8(at) ^ (1 << (at % 8)), at);
        return signature;
      }),
    ]),
  ),
  'S + L, the second form of the signature': withScalar((s) => s + GROUP_ORDER),
  'S of exactly L': withScalar(() => GROUP_ORDER),
  'S of all ones': withScalar(() => 2n ** 256n - 1n),
  'a signature of zeros': withSignature(() => new Uint8Array(64)),
  'R the identity and S zero': withSignature(() => Uint8Array.of(1, ...new Uint8Array(63))),
  'R and S exchanged': withSignature((signature) =>
    Buffer.concat([signature.subarray(32), signature.subarray(0, 32)]),
  ),
  'the signature of the payload alone': ({ good, signer }) =>
    `${good.slice(0, good.lastIndexOf('.'))}.${base64url(signer.sign(good.split('.')[1] ?? ''))}`,
};

const CLAIMS: Forged = {
  'not valid yet by nbf': withClaims((now) => ({ nbf: now + 60, exp: now + 600 })),
  'not valid yet by iat': withClaims((now) => ({ iat: now + 60, exp: now + 600 })),
  'another audience': withClaims(() => ({ aud: 'other' })),
  'the audience in a list': withClaims((_, { aud }) => ({ aud: [aud] })),
  'the audience among others': withClaims((_, { aud }) => ({ aud: [aud, 'other'] })),
  'no audience': without('aud'),
  'another issuer': withClaims(() => ({ iss: 'https://evil.example' })),
  'the issuer with a slash': withClaims((_, { iss }) => ({ iss: `${iss}/` })),
  'no issuer': without('iss'),
  'another token_use': withClaims(() => ({ token_use: 'access' })),
  'token_use in another case': withClaims(() => ({ token_use: 'Intent' })),
  'no token_use': without('token_use'),
  'no exp': without('exp'),
  'no iat': without('iat'),
  'no nbf': without('nbf'),
  'no jti': without('jti'),
  'no client_id': without('client_id'),
  'exp as text': withClaims((now) => ({ exp: String(now + 60) })),
  'exp with a fraction': withClaims((now) => ({ exp: now + 60.5 })),
  'exp in milliseconds beyond 2^53': withClaims(() => ({ exp: 2 ** 60 })),
  'exp that reads as infinite': withPayloadText((text) => text.replace(/"exp":\d+/, '"exp":1e999')),
  'exp twice': withPayloadText((text) => text.replace('{', '{"exp":9999999999,')),
  'jti twice, once escaped': withPayloadText((text) => text.replace('{', '{"\\u006ati":"x",')),
  '__proto__ in the claims': withPayloadText((text) => text.replace('{', '{"__proto__":{"exp":9999999999},')),
  'claims that are a list': withPayloadText((text) => `[${text}]`),
  'claims that are a text': withPayloadText((text) => JSON.stringify(text)),
  'claims with something behind them': withPayloadText((text) => `${text},{}`),
  'claims with a byte order mark': withPayloadText((text) => `\ufeff${text}`),
  'claims nested too deep': withPayloadText((text) =>
    text.replace('{', `{"a":${'['.repeat(70)}${']'.repeat(70)},`),
  ),
  'no merkle_root': without('merkle_root'),
  'merkle_root in upper case': withClaims((_, { merkle_root: root }) => ({
    merkle_root: String(root).toUpperCase().replace(/^./, 'A'),
  })),
  'no tree_size': without('tree_size'),
  'an odd tree_size': withClaims(() => ({ tree_size: 5 })),
  'a tree_size of 0': withClaims(() => ({ tree_size: 0 })),
  'a tree_size beyond any plan': withClaims(() => ({ tree_size: 2002 })),
  'no policy': without('policy'),
  'a policy that is a list': withClaims(() => ({ policy: [] })),
  'allowed_actions that are a text': withClaims(() => ({ allowed_actions: 'read' })),
  'allowed_actions null': withClaims(() => ({ allowed_actions: null })),
  'cnf that is a text': withClaims(() => ({ cnf: 'x' })),
  'root_jti that is no id': withClaims(() => ({ root_jti: 'x' })),
};

const EXPIRED: Forged = {
  'expired a second ago': withClaims((now) => ({ iat: now - 60, nbf: now - 65, exp: now - 1 })),
  'expired a year ago': withClaims((now) => ({ iat: now - 4e7, nbf: now - 4e7, exp: now - 3e7 })),
};

const rows = (forged: Forged, code: TokenAttack['code']): TokenAttack[] =>
  Object.entries(forged).map(([name, forge]) => ({ name, code, forge }));

export const TOKEN_ATTACKS: readonly TokenAttack[] = [
  ...rows({ ...HEADERS, ...ENCODINGS, ...SIGNATURES, ...CLAIMS }, 'TOKEN_INVALID'),
  ...rows(EXPIRED, 'TOKEN_EXPIRED'),
];
