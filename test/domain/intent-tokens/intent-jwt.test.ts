/**
 * The attack table of an intent token's JWT (contract section 4.6; RFC 7515, RFC 7519, RFC 8725): one good token, and
 * everything that may be done to it.
 */

import assert from 'node:assert/strict';
import { createHash, sign, verify } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { SignJWT } from 'jose';
import { verifyEd25519 } from '../../../src/domain/crypto/ed25519.ts';
import { portableSha256 } from '../../../src/domain/crypto/hashing.ts';
import { jwkThumbprint } from '../../../src/domain/crypto/jwk.ts';
import type { IntentJwtVerdict } from '../../../src/domain/intent-tokens/intent-claims.ts';
import { type JwtExpectations, verifyIntentJwt } from '../../../src/domain/intent-tokens/intent-jwt.ts';
import { assertCostsUnder } from '../../support/duration.ts';
import { anEd25519Key } from '../../support/ed25519-keys.ts';
import { COSTLY_RUNS } from '../../support/effort.ts';

const { privateKey, publicKey } = anEd25519Key();
const X = publicKey.export({ format: 'jwk' }).x ?? '';
const RAW = new Uint8Array(Buffer.from(X, 'base64url'));
const KID = jwkThumbprint(X, portableSha256);
const NOW = 1_800_000_000;
const JTI = '019a0000-0000-7000-8000-000000000001';

const HEADER = { alg: 'EdDSA', kid: KID, typ: 'JWT' };
const CLAIMS = {
  iss: 'https://writ.example',
  sub: 'someone',
  client_id: '019a0000-0000-7000-8000-000000000002',
  aud: 'writ',
  iat: NOW - 10,
  nbf: NOW - 15,
  exp: NOW + 50,
  jti: JTI,
  token_use: 'intent',
  plan_hash: '0a'.repeat(32),
  merkle_root: '0b'.repeat(32),
  tree_size: 6,
  policy: { allow: ['*'], deny: [] },
  policy_hash: '0c'.repeat(32),
  identity: { user_id: null, agent_id: null, context_id: null, api_key_id: '0123456789abcdef' },
};

const EXPECTED: JwtExpectations = {
  issuer: CLAIMS.iss,
  audience: CLAIMS.aud,
  nowSeconds: NOW,
  checkSignature: ({ kid, signingInput, signature }) =>
    kid === KID ? verify(null, signingInput, publicKey, signature) : undefined,
};
const IN_A_BROWSER: JwtExpectations['checkSignature'] = ({ kid, signingInput, signature }) =>
  kid === KID ? verifyEd25519({ signature, message: signingInput, publicKey: RAW }) : undefined;

const base64url = (data: string | Uint8Array): string => Buffer.from(data).toString('base64url');

/** A token over texts, signed as they are. */
function signedTexts(header: string | Uint8Array, payload: string | Uint8Array): string {
  const input = `${base64url(header)}.${base64url(payload)}`;
  return `${input}.${base64url(sign(null, Buffer.from(input), privateKey))}`;
}

const signed = (claims: object = CLAIMS, header: object = HEADER): string =>
  signedTexts(JSON.stringify(header), JSON.stringify(claims));

const judge = (text: string, changes: Partial<JwtExpectations> = {}): IntentJwtVerdict =>
  verifyIntentJwt(text, { ...EXPECTED, ...changes });

function assertRefused(text: string, about?: string, changes: Partial<JwtExpectations> = {}): void {
  const verdict = judge(text, changes);
  assert.equal(verdict.ok, false, about);
  assert.equal(verdict.ok ? 'VALID' : verdict.code, 'TOKEN_INVALID', about);
}

const GOOD = signed();
const [HEAD = '', BODY = '', TAIL = ''] = GOOD.split('.');

test('the token that the other tests spoil is good, and says what was signed', () => {
  const verdict = judge(GOOD);
  assert.ok(verdict.ok);
  assert.deepEqual(verdict.claims, {
    jti: JTI,
    rootJti: JTI,
    clientId: CLAIMS.client_id,
    expiresAtSeconds: CLAIMS.exp,
    planHashHex: CLAIMS.plan_hash,
    merkleRootHex: CLAIMS.merkle_root,
    treeSize: CLAIMS.tree_size,
    policy: CLAIMS.policy,
    allowedActions: undefined,
    confirmation: undefined,
    all: CLAIMS,
  });
});

test('a token that jose signs is accepted', async () => {
  const { sub, aud, iss, iat, nbf, exp, jti, ...others } = CLAIMS;
  const jwt = await new SignJWT(others)
    .setProtectedHeader(HEADER)
    .setSubject(sub)
    .setAudience(aud)
    .setIssuer(iss)
    .setIssuedAt(iat)
    .setNotBefore(nbf)
    .setExpirationTime(exp)
    .setJti(jti)
    .sign(privateKey);
  const verdict = judge(jwt);
  assert.ok(verdict.ok);
  assert.deepEqual(verdict.claims.all, CLAIMS);
});

test('with the check of signatures that a browser has, it is taken and any byte of its signature changed is not', () => {
  const checkSignature = IN_A_BROWSER;
  assert.ok(judge(GOOD, { checkSignature }).ok);
  const signature = Buffer.from(TAIL, 'base64url');
  for (let at = 0; at < signature.length; at += 1) {
    const changed = Buffer.from(signature);
    changed.writeUInt8(signature.readUInt8(at) ^ 1, at);
    assertRefused(`${HEAD}.${BODY}.${base64url(changed)}`, `byte ${at}`, { checkSignature });
  }
});

test('the order of members and white space inside what was signed do not matter', () => {
  const reversed = Object.fromEntries(Object.entries(CLAIMS).toReversed());
  assert.ok(
    judge(
      signedTexts(
        ` ${JSON.stringify({ typ: 'JWT', kid: KID, alg: 'EdDSA' })}\n`,
        JSON.stringify(reversed, null, 1),
      ),
    ).ok,
  );
});

test('the name that RFC 9864 gives the algorithm is taken as well', () => {
  assert.ok(judge(signed(CLAIMS, { ...HEADER, alg: 'Ed25519' })).ok);
});

test('a delegation tells its only actions, its first token and the key of its holder', () => {
  const root = '019a0000-0000-7000-8000-00000000000a';
  const cnf = { jwk: { kty: 'OKP', crv: 'Ed25519', x: X } };
  const verdict = judge(signed({ ...CLAIMS, allowed_actions: ['look'], root_jti: root, cnf }));
  assert.ok(verdict.ok);
  assert.deepEqual(verdict.claims.allowedActions, ['look']);
  assert.equal(verdict.claims.rootJti, root);
  assert.deepEqual(verdict.claims.confirmation, cnf);
});

test('a root_jti or cnf of another form is refused', () => {
  for (const [name, values] of Object.entries({
    root_jti: [null, 1, 'x', '', [JTI], JTI.toUpperCase(), `${JTI}\n`],
    cnf: [null, 1, 'x', [], true],
  }))
    for (const value of values) assertRefused(signed({ ...CLAIMS, [name]: value }), `${name} ${value}`);
});

test('a clock that has no time refuses', () => {
  assertRefused(GOOD, 'NaN', { nowSeconds: Number.NaN });
});

/** Signed with the right key, so that nothing but the header can be what refuses them. */
const HEADERS: Readonly<Record<string, object | string>> = {
  'alg none': { ...HEADER, alg: 'none' },
  'alg None': { ...HEADER, alg: 'None' },
  'alg HS256': { ...HEADER, alg: 'HS256' },
  'alg RS256': { ...HEADER, alg: 'RS256' },
  'alg in lower case': { ...HEADER, alg: 'eddsa' },
  'alg in upper case': { ...HEADER, alg: 'EDDSA' },
  'alg with a blank': { ...HEADER, alg: 'EdDSA ' },
  'alg in a list': { ...HEADER, alg: ['EdDSA'] },
  'alg in an object': { ...HEADER, alg: { EdDSA: 1 } },
  'alg null': { ...HEADER, alg: null },
  'no alg': { kid: KID, typ: 'JWT' },
  'alg under another name of its own': { Alg: 'EdDSA', kid: KID, typ: 'JWT' },
  'no kid': { alg: 'EdDSA', typ: 'JWT' },
  'a kid that is not known': { ...HEADER, kid: 'A'.repeat(43) },
  'a kid with another ending': { ...HEADER, kid: `${KID.slice(0, -1)}_` },
  'a kid that is a path': { ...HEADER, kid: '../../../../dev/null' },
  'a kid that is a name of Object.prototype': { ...HEADER, kid: 'constructor' },
  'an empty kid': { ...HEADER, kid: '' },
  'a kid in a list': { ...HEADER, kid: [KID] },
  'a kid that is a number': { ...HEADER, kid: 1 },
  'a kid null': { ...HEADER, kid: null },
  'no typ': { alg: 'EdDSA', kid: KID },
  'typ in lower case': { ...HEADER, typ: 'jwt' },
  'typ at+jwt': { ...HEADER, typ: 'at+jwt' },
  'typ of another kind': { ...HEADER, typ: 'dpop+jwt' },
  'typ JOSE': { ...HEADER, typ: 'JOSE' },
  'typ in a list': { ...HEADER, typ: ['JWT'] },
  'typ null': { ...HEADER, typ: null },
  crit: { ...HEADER, crit: ['exp'] },
  'an empty crit': { ...HEADER, crit: [] },
  'a key of its own (jwk)': { ...HEADER, jwk: { kty: 'OKP', crv: 'Ed25519', x: X } },
  'an address of keys (jku)': { ...HEADER, jku: 'https://evil.example/jwks.json' },
  'an address of certificates (x5u)': { ...HEADER, x5u: 'https://evil.example/cert.pem' },
  x5c: { ...HEADER, x5c: [X] },
  x5t: { ...HEADER, x5t: KID },
  'b64 false': { ...HEADER, b64: false, crit: ['b64'] },
  'b64 true': { ...HEADER, b64: true },
  zip: { ...HEADER, zip: 'DEF' },
  cty: { ...HEADER, cty: 'JWT' },
  enc: { ...HEADER, enc: 'A256GCM' },
  'a member nobody knows': { ...HEADER, extra: null },
  'a member of another name for kid': { alg: 'EdDSA', typ: 'JWT', KID },
  'no member at all': {},
  'a list': '[]',
  'a list of what a header has': JSON.stringify(Object.entries(HEADER)),
  null: 'null',
  'a text': JSON.stringify(JSON.stringify(HEADER)),
  'no JSON': 'alg: EdDSA',
  nothing: ' ',
  'alg twice, the good one last': `{"alg":"none","alg":"EdDSA","kid":"${KID}","typ":"JWT"}`,
  'alg twice, the good one first': `{"alg":"EdDSA","alg":"none","kid":"${KID}","typ":"JWT"}`,
  'alg twice, once escaped': `{"alg":"EdDSA","\\u0061lg":"EdDSA","kid":"${KID}","typ":"JWT"}`,
  'kid twice': `{"alg":"EdDSA","kid":"other","kid":"${KID}","typ":"JWT"}`,
  __proto__: `{"__proto__":{"alg":"EdDSA"},"kid":"${KID}","typ":"JWT"}`,
  'a trailing comma': `{"alg":"EdDSA","kid":"${KID}","typ":"JWT",}`,
  'a BOM': `\ufeff${JSON.stringify(HEADER)}`,
  'a second value': `${JSON.stringify(HEADER)}{}`,
};

for (const [what, header] of Object.entries(HEADERS)) {
  test(`a header with ${what} is refused, though its signature is right`, () => {
    const text = typeof header === 'string' ? header : JSON.stringify(header);
    assertRefused(signedTexts(text, JSON.stringify(CLAIMS)));
  });
}

test('a header that is not UTF-8 is refused', () => {
  assertRefused(
    signedTexts(Buffer.from(`{"alg":"EdDSA","kid":"\xff","typ":"JWT"}`, 'latin1'), JSON.stringify(CLAIMS)),
  );
});

test('alg none with an empty or a made-up signature is refused', () => {
  const head = base64url(JSON.stringify({ ...HEADER, alg: 'none' }));
  for (const tail of ['', 'A', 'A'.repeat(86)]) assertRefused(`${head}.${BODY}.${tail}`);
});

test('an HMAC under the public key is refused, whatever alg says', () => {
  for (const alg of ['HS256', 'HS512', 'EdDSA']) {
    const input = `${base64url(JSON.stringify({ ...HEADER, alg }))}.${BODY}`;
    const mac = createHash('sha512').update(RAW).update(input).digest('base64url');
    assertRefused(`${input}.${mac}`);
  }
});

test('a token under a key that is not ours is refused, though its kid names ours', () => {
  const other = anEd25519Key().privateKey;
  const input = `${HEAD}.${BODY}`;
  assertRefused(`${input}.${base64url(sign(null, Buffer.from(input), other))}`);
});

test('the parts of two good tokens do not make a third', () => {
  const [, otherBody = '', otherTail = ''] = signed({ ...CLAIMS, jti: JTI.replace(/1$/, '9') }).split('.');
  assertRefused(`${HEAD}.${otherBody}.${TAIL}`);
  assertRefused(`${HEAD}.${BODY}.${otherTail}`);
});

test('the signature is checked before a claim is read', () => {
  let asked = 0;
  const verdict = judge(signed({ ...CLAIMS, exp: 0, iss: 'other' }), {
    checkSignature: () => {
      asked += 1;
      return false;
    },
  });
  assert.equal(asked, 1);
  assert.ok(!verdict.ok && verdict.code === 'TOKEN_INVALID' && /signature/.test(verdict.reason));
});

/** As text: encodings, parts, and what stands around. */
const last = TAIL.slice(-1);
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const neighbour = ALPHABET.charAt(ALPHABET.indexOf(last) + 1);
const TEXTS: Readonly<Record<string, string>> = {
  'no text': '',
  'one dot': '.',
  'two dots': '..',
  'no signature': `${HEAD}.${BODY}`,
  'an empty signature': `${HEAD}.${BODY}.`,
  'four parts': `${GOOD}.${TAIL}`,
  'an empty fourth part': `${GOOD}.`,
  'five parts, as a JWE': `${GOOD}.AA.AA`,
  'an empty header': `.${BODY}.${TAIL}`,
  'an empty payload': `${HEAD}..${TAIL}`,
  'padding behind the signature': `${GOOD}==`,
  'padding behind the payload': `${HEAD}.${BODY}=.${TAIL}`,
  'a signature of 85 characters': GOOD.slice(0, -1),
  'a signature of 87 characters': `${GOOD}A`,
  'a signature of 88 characters': `${GOOD}AA`,
  'trailing bits in the signature': GOOD.slice(0, -1) + neighbour,
  'a blank before': ` ${GOOD}`,
  'a blank after': `${GOOD} `,
  'a line break after': `${GOOD}\n`,
  'a line break and a return after': `${GOOD}\r\n`,
  'a line break before': `\n${GOOD}`,
  'a second line': `${GOOD}\n${GOOD}`,
  'a line break inside': `${HEAD}.\n${BODY}.${TAIL}`,
  'a tab inside': `${HEAD}.${BODY.slice(0, 8)}\t${BODY.slice(8)}.${TAIL}`,
  'U+0000 after': `${GOOD}\0`,
  'a non-breaking space after': `${GOOD}\u00a0`,
  'a zero-width space inside': `${HEAD}\u200b.${BODY}.${TAIL}`,
  'a character that looks like a dot': `${HEAD}\u2024${BODY}.${TAIL}`,
  'a wide letter that \\w does not take': `${HEAD}.${BODY}.\uff21${TAIL.slice(1)}`,
  'the word Bearer before': `Bearer ${GOOD}`,
  'quotes around': `"${GOOD}"`,
  'the header as JSON': `${JSON.stringify(HEADER)}.${BODY}.${TAIL}`,
  'the signature in hex': `${HEAD}.${BODY}.${Buffer.from(TAIL, 'base64url').toString('hex')}`,
};

for (const [what, text] of Object.entries(TEXTS)) {
  test(`a token with ${what} is refused`, () => assertRefused(text));
}

test('the alphabet of plain base64 is refused in every part', () => {
  for (let tried = 0, at = NOW; tried < 3; at += 1) {
    const text = signed({ ...CLAIMS, sub: `\u00ff\u00fe?>~${at}` });
    const plain = text.replaceAll('-', '+').replaceAll('_', '/');
    if (plain === text) continue;
    tried += 1;
    assert.ok(judge(text).ok);
    assertRefused(plain);
  }
});

test('trailing bits that nobody reads are refused in header and payload, though the signature is over them', () => {
  // A payload of a length that leaves bits over: 1 or 2 bytes beyond a multiple of 3.
  for (const pad of ['', 'x', 'xx']) {
    const body = base64url(JSON.stringify({ ...CLAIMS, sub: pad }));
    if (body.length % 4 === 0) continue;
    const at = ALPHABET.indexOf(body.slice(-1));
    const input = `${HEAD}.${body.slice(0, -1)}${ALPHABET.charAt(at + 1)}`;
    assertRefused(`${input}.${base64url(sign(null, Buffer.from(input), privateKey))}`);
  }
});

test('one character changed anywhere is refused, to each neighbour in the alphabet', () => {
  for (let at = 0; at < GOOD.length; at += 1) {
    const character = GOOD.charAt(at);
    const place = ALPHABET.indexOf(character);
    const others = character === '.' ? ['A', '-'] : [ALPHABET.charAt(place ^ 1), ALPHABET.charAt(place ^ 32)];
    for (const other of others)
      assertRefused(GOOD.slice(0, at) + other + GOOD.slice(at + 1), `${at} ${other}`);
  }
});

test('one bit flipped in any byte of the text is refused', () => {
  const bytes = Buffer.from(GOOD, 'latin1');
  for (let at = 0; at < bytes.length; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const flipped = Buffer.from(bytes);
      flipped.writeUInt8(bytes.readUInt8(at) ^ (1 << bit), at);
      assertRefused(flipped.toString('latin1'), `byte ${at} bit ${bit}`);
    }
  }
});

test('one character left out, doubled or swapped with the next is refused', () => {
  for (let at = 0; at < GOOD.length; at += 3) {
    const [before, here, next, after] = [
      GOOD.slice(0, at),
      GOOD.charAt(at),
      GOOD.charAt(at + 1),
      GOOD.slice(at + 2),
    ];
    assertRefused(before + next + after, `without ${at}`);
    assertRefused(before + here + here + next + after, `doubled ${at}`);
    if (next !== '' && here !== next) assertRefused(before + next + here + after, `swapped ${at}`);
  }
});

test('any text at all is refused without an exception', () => {
  const part = fc.string({ unit: fc.constantFrom(...ALPHABET.split(''), '.', '=', ' '), maxLength: 120 });
  fc.assert(fc.property(fc.oneof(fc.string(), part), (text) => assertRefused(text)));
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (header, payload) =>
      assertRefused(signedTexts(JSON.stringify(header), JSON.stringify(payload))),
    ),
    { numRuns: COSTLY_RUNS },
  );
});

const L = 2n ** 252n + 27742317777372353535851937790883648493n;

test('S + L, the second form of the signature, is refused, even where the check of the signature would take it', () => {
  const signature = Buffer.from(TAIL, 'base64url');
  const s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`);
  for (const other of [s + L, s + 2n * L, s + 3n * L]) {
    const tail = Buffer.from(other.toString(16).padStart(64, '0'), 'hex').reverse();
    const text = `${HEAD}.${BODY}.${base64url(Buffer.concat([signature.subarray(0, 32), tail]))}`;
    assertRefused(text, 'malleable', { checkSignature: () => true });
  }
});

test('S of exactly L, above it and all ones are refused; L − 1 goes on to the check of the signature', () => {
  const withS = (s: bigint): string => {
    const tail = Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse();
    return `${HEAD}.${BODY}.${base64url(Buffer.concat([Buffer.from(TAIL, 'base64url').subarray(0, 32), tail]))}`;
  };
  const taken = { checkSignature: () => true };
  for (const s of [L, L + 1n, L + 256n, 2n ** 253n, 2n ** 255n, 2n ** 256n - 1n])
    assertRefused(withS(s), String(s), taken);
  for (const s of [L - 1n, L - 256n, 2n ** 252n, 0n]) assert.ok(judge(withS(s), taken).ok, String(s));
});

/** Signed with the right key, so that nothing but the claim can be what refuses them. */
type Wrong = readonly (readonly [what: string, value: unknown])[];
const NO_TEXT: Wrong = [
  ['null', null],
  ['a number', 1],
  ['a list', ['x']],
  ['an object', {}],
  ['true', true],
];
const NO_TIME: Wrong = [
  ['null', null],
  ['text', String(NOW)],
  ['a fraction', NOW + 0.5],
  ['a list', [NOW]],
  ['true', true],
  ['an object', {}],
  ['a date', '2027-01-15T08:00:00Z'],
  ['a number beyond 2^53', 2 ** 53],
  ['infinity', '1e999'],
];
const NO_DIGEST: Wrong = [
  ...NO_TEXT,
  ['62 digits', '0a'.repeat(31)],
  ['66 digits', '0a'.repeat(33)],
  ['upper case', '0A'.repeat(32)],
  ['a line break behind it', `${'0a'.repeat(32)}\n`],
  ['another letter', `${'0a'.repeat(31)}0g`],
  ['no digit', ''],
];
const WRONG_CLAIMS: Readonly<Record<string, Wrong>> = {
  iss: [
    ...NO_TEXT,
    ['another issuer', 'https://evil.example'],
    ['the issuer with a slash', `${CLAIMS.iss}/`],
    ['the issuer in upper case', CLAIMS.iss.toUpperCase()],
    ['the issuer in a list', [CLAIMS.iss]],
    ['no issuer', ''],
  ],
  aud: [
    ...NO_TEXT,
    ['another audience', 'other'],
    ['a list with ours alone', ['writ']],
    ['a list with ours among others', ['writ', 'other']],
    ['an empty list', []],
    ['ours and a blank', 'writ '],
    ['another case', 'Writ'],
  ],
  exp: NO_TIME,
  iat: NO_TIME,
  nbf: NO_TIME,
  jti: [
    ...NO_TEXT,
    ['no UUID', 'x'],
    ['a UUID in upper case', '019A0000-0000-7000-8000-00000000000A'],
    ['a UUID in braces', `{${JTI}}`],
    ['a UUID and a line break', `${JTI}\n`],
    ['a UUID without hyphens', JTI.replaceAll('-', '')],
    ['SQL', `${JTI}'; drop table intent_tokens; --`],
  ],
  client_id: NO_TEXT,
  token_use: [...NO_TEXT, ['another use', 'access'], ['another case', 'Intent'], ['a list', ['intent']]],
  plan_hash: NO_DIGEST,
  merkle_root: NO_DIGEST,
  tree_size: [
    ['0', 0],
    ['an odd number', 5],
    ['1', 1],
    ['a negative number', -2],
    ['more than a plan can have', 2002],
    ['far more', 2 ** 40],
    ['a fraction', 2.5],
    ['text', '6'],
    ['null', null],
    ['a list', [6]],
    ['true', true],
  ],
  policy: [
    ['null', null],
    ['a list', []],
    ['text', '{}'],
    ['a number', 1],
    ['true', true],
  ],
};

for (const [claim, values] of Object.entries(WRONG_CLAIMS)) {
  test(`a token without ${claim} is refused`, () => {
    const { [claim as keyof typeof CLAIMS]: _, ...others } = CLAIMS;
    assertRefused(signed(others));
  });
  for (const [what, value] of values) {
    test(`a token whose ${claim} is ${what} is refused`, () => {
      const text = JSON.stringify({ ...CLAIMS, [claim]: value }).replace('"1e999"', '1e999');
      assertRefused(signedTexts(JSON.stringify(HEADER), text));
    });
  }
}

test('allowed_actions that are not a list of texts are refused', () => {
  for (const value of [null, 'look', {}, [1], [null], [['look']], 1, true])
    assertRefused(signed({ ...CLAIMS, allowed_actions: value }), JSON.stringify(value));
});

test('a claim that stands twice is refused', () => {
  const text = JSON.stringify(CLAIMS);
  for (const more of [`"exp":${NOW + 99999}`, '"jti":"x"', '"sub":"root"', '"\\u0065xp":1']) {
    assertRefused(signedTexts(JSON.stringify(HEADER), `${text.slice(0, -1)},${more}}`), more);
    assertRefused(signedTexts(JSON.stringify(HEADER), `{${more},${text.slice(1)}`), more);
  }
});

test('a payload that is no JSON object is refused', () => {
  const inside = JSON.stringify(CLAIMS);
  for (const payload of [
    '[]',
    'null',
    '1',
    '""',
    JSON.stringify(inside),
    `${inside},`,
    `\ufeff${inside}`,
    `[${inside}]`,
    '{',
  ]) {
    assertRefused(signedTexts(JSON.stringify(HEADER), payload), payload);
  }
  const notUtf8 = Buffer.from(inside.replace('someone', 'some\xffone'), 'latin1');
  assertRefused(signedTexts(JSON.stringify(HEADER), notUtf8));
});

test('a name of Object.prototype does not stand in for a claim', () => {
  const { exp: _, ...others } = CLAIMS;
  assertRefused(
    signedTexts(JSON.stringify(HEADER), JSON.stringify(others).replace('{', '{"__proto__":{"exp":9e9},')),
  );
});

test('exp has no leeway: dead at that second and after it, live just before', () => {
  for (const [now, code] of [
    [CLAIMS.exp - 1, 'VALID'],
    [CLAIMS.exp - 0.001, 'VALID'],
    [CLAIMS.exp, 'TOKEN_EXPIRED'],
    [CLAIMS.exp + 0.001, 'TOKEN_EXPIRED'],
    [CLAIMS.exp + 1, 'TOKEN_EXPIRED'],
    [CLAIMS.exp + 10 ** 9, 'TOKEN_EXPIRED'],
  ] as const) {
    const verdict = judge(GOOD, { nowSeconds: now });
    assert.equal(verdict.ok ? 'VALID' : verdict.code, code, String(now));
  }
});

for (const claim of ['iat', 'nbf'] as const) {
  test(`${claim} has a leeway of exactly 5 seconds`, () => {
    for (const [ahead, isTaken] of [
      [0, true],
      [4, true],
      [5, true],
      [6, false],
      [3600, false],
    ] as const) {
      const text = signed({ ...CLAIMS, exp: NOW + 9999, [claim]: NOW + ahead });
      if (isTaken) assert.ok(judge(text).ok, String(ahead));
      else assertRefused(text, String(ahead));
    }
    const late = signed({ ...CLAIMS, [claim]: NOW + 6 });
    assert.ok(judge(late, { nowSeconds: NOW + 1 }).ok);
    assertRefused(late, 'a fraction too early', { nowSeconds: NOW + 0.999 });
  });
}

test('a token is told expired only if it is right in every other way', () => {
  const old = { ...CLAIMS, iat: NOW - 100, nbf: NOW - 105, exp: NOW - 40 };
  const verdict = judge(signed(old));
  assert.ok(!verdict.ok && verdict.code === 'TOKEN_EXPIRED');
  for (const wrong of [
    { iss: 'x' },
    { aud: 'x' },
    { token_use: 'x' },
    { jti: 'x' },
    { plan_hash: 'x' },
    { tree_size: 3 },
  ])
    assertRefused(signed({ ...old, ...wrong }), JSON.stringify(wrong));
  assertRefused(`${signed(old).slice(0, -1)}${neighbour}`);
});

test('a refusal repeats nothing of the token', () => {
  for (const text of [
    signed({ ...CLAIMS, iss: 'canary-claim' }),
    `canary.${BODY}.${TAIL}`,
    signed(CLAIMS, { ...HEADER, kid: 'canary-kid' }),
  ]) {
    const verdict = judge(text);
    assert.ok(!verdict.ok);
    assert.doesNotMatch(verdict.reason, /canary/);
  }
});

test('the longest token that can be issued is read', () => {
  const policy = {
    allow: Array.from({ length: 256 }, (_, index) => `a/${'x'.repeat(245)}${index}`),
    deny: ['b/*'],
  };
  assert.ok(judge(signed({ ...CLAIMS, policy })).ok);
});

test('very long text of any kind is refused in a moment', () => {
  const long = 8 * 1024 * 1024;
  const texts = [
    'a'.repeat(long),
    '.'.repeat(long),
    'a.'.repeat(long / 2),
    `${'a'.repeat(long)}.${'a'.repeat(long)}.${'a'.repeat(85)}!`,
    `${HEAD}.${'A'.repeat(long)}.${TAIL}`,
    `${'A'.repeat(long)}.${BODY}.${TAIL}`,
    `${'-'.repeat(500_000)}.${BODY}.${TAIL}`,
    signedTexts(JSON.stringify(HEADER), '['.repeat(380_000)),
    signedTexts(JSON.stringify(HEADER), `{"a":${'[{"b":'.repeat(60_000)}`),
    signedTexts(`"${'\\'.repeat(380_000)}"`, '{}'),
  ];
  assertCostsUnder({ floors: 25000 }, () => {
    for (const text of texts) assertRefused(text);
  });
});
