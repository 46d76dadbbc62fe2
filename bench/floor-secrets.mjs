/**
 * The floor of issuing a scoped token and of reading a secret with one. A read is one grouped look-up, two
 * decryptions, and one grouped statement that writes the event and, for a limited token, counts the use.
 */

import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hash,
  randomBytes,
  randomUUID,
} from 'node:crypto';
import { grouped } from './floor-writes.mjs';

const LANES = 2;
const TTL_MS = 3_600_000;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

const ISSUE = {
  name: 'issue_scoped',
  text: `
    with token as (
      insert into scoped_tokens (id, token_hash, scopes, expires_at, max_uses)
      select id, token_hash, string_to_array(scopes, ' '), to_timestamp(expires_at), max_uses
      from unnest($1::uuid[], $2::bytea[], $3::text[], $4::float8[], $5::int[])
        as row (id, token_hash, scopes, expires_at, max_uses)
    )
    insert into events (id, kind, actor, subject)
    select event_id, 'token.issued', 'agent', id::text
    from unnest($6::uuid[], $1::uuid[]) as row (event_id, id)`,
};

const LOOK_UP = {
  name: 'look_up',
  text: `
    select token.id, secret.wrapped_key, secret.nonce, secret.ciphertext
    from unnest($1::bytea[], $2::text[]) with ordinality as asked (token_hash, path, position)
    join scoped_tokens token on token.token_hash = asked.token_hash
    join secrets secret on secret.path = asked.path
    order by asked.position`,
};

const RECORD = {
  name: 'record',
  text: `
    insert into events (id, kind, actor, subject)
    select id, 'secret.read', 'agent', path from unnest($1::uuid[], $2::text[]) as row (id, path)`,
};

/** Right as long as no token is in a group twice: the least that could count a use. */
const USE = {
  name: 'use',
  text: `
    with used as (
      update scoped_tokens token set uses = uses + 1
      from unnest($1::uuid[], $2::uuid[], $3::text[]) as row (id, event_id, path)
      where token.id = row.id and token.uses < token.max_uses and token.expires_at > clock_timestamp()
      returning row.event_id, row.path
    )
    insert into events (id, kind, actor, subject)
    select event_id, 'secret.read', 'agent', path from used`,
};

const keyEncryptionKey = createSecretKey(randomBytes(32));

const randomToken = () => `ast_tok_${randomBytes(32).toString('base64url')}`;

function seal(key, plaintext) {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  return {
    nonce,
    ciphertext: Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]),
  };
}

function open(key, nonce, ciphertext) {
  const end = ciphertext.length - TAG_BYTES;
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAuthTag(ciphertext.subarray(end));
  const plaintext = decipher.update(ciphertext.subarray(0, end));
  decipher.final();
  return plaintext;
}

const sha256 = (text) => hash('sha256', text, 'buffer');

export function addSecrets(app, pool) {
  const statement = (columns, { name, text }) =>
    grouped({
      lanes: LANES,
      columns,
      run: (values) => pool.query({ name, text, values }),
    });
  const issue = statement(6, ISSUE);
  const lookUp = statement(2, LOOK_UP);
  const record = statement(2, RECORD);
  const use = statement(3, USE);

  async function issueToken(scopes, maxUses) {
    const token = randomToken();
    const id = randomUUID();
    const expiresAt = (Date.now() + TTL_MS) / 1000;
    await issue([id, sha256(token), scopes.join(' '), expiresAt, maxUses, randomUUID()]);
    return { token, token_id: id, scopes };
  }

  async function read({ headers, params }, finish) {
    const path = `prod/k${params.index}`;
    const tokenHash = sha256(headers.authorization.slice('Bearer '.length));
    const found = await lookUp([tokenHash, path]);
    const wrapped = found.wrapped_key;
    const key = open(keyEncryptionKey, wrapped.subarray(0, NONCE_BYTES), wrapped.subarray(NONCE_BYTES));
    const value = open(key, found.nonce, found.ciphertext).toString();
    await finish(found.id, path);
    return { path, version: 1, value };
  }

  app.post('/tokens', async ({ body }, reply) => {
    reply.code(201);
    return issueToken(body.scopes, null);
  });
  app.get('/secret/:index', (request) => read(request, (_, path) => record([randomUUID(), path])));
  app.get('/limited/:index', (request) => read(request, (id, path) => use([id, randomUUID(), path])));

  /** Makes `n` secrets and as many limited tokens, and answers the tokens. */
  app.get('/seed', async ({ query }) => {
    const tokens = [];
    for (let index = 0; index < Number(query.n); index += 1) {
      const dataKey = randomBytes(32);
      const wrapped = seal(keyEncryptionKey, dataKey);
      const { nonce, ciphertext } = seal(dataKey, 'x'.repeat(40));
      const wrappedKey = Buffer.concat([wrapped.nonce, wrapped.ciphertext]);
      await pool.query('insert into secrets values ($1, $2, $3, $4)', [
        `prod/k${index}`,
        wrappedKey,
        nonce,
        ciphertext,
      ]);
      tokens.push((await issueToken(['secrets:read:prod/*'], 1_000_000)).token);
    }
    return tokens;
  });
}
