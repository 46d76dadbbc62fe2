/**
 * A busy session with secrets and scoped tokens, for the search in canaries.test.ts: every value that is written is a
 * canary, and so is every one that a refusal, a fault or an outage was sent. Only an answer that is called
 * `read <name of the canary>` may hold one, and an answer that is called `token <name>` the token of that name.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { canary } from './canary-search.ts';

export interface Told {
  readonly asked: string;
  readonly status: number;
  readonly text: string;
}

/** One request by the holder of a key or a scoped token; a text is sent as it is. */
export type Ask = (
  asked: string,
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<Told>;

export interface SecretsSession {
  /** Values of secrets by name; one more is learnt when it is generated. */
  readonly values: Record<string, string>;
  /** Sent as a value where it is refused: it may be nowhere. */
  readonly refused: Record<string, string>;
  /** What people write about secrets: it belongs in their table and in answers that show them. */
  readonly note: string;
  /** What a token is called, the one of an approval too: it belongs there, and in the audit trail. */
  readonly label: string;
  /** Why an approval was decided so: it belongs there, in its votes and in the audit trail. */
  readonly grounds: string;
  /** Sent as the name of a member: the answer `unknown member` points at it. */
  readonly memberName: string;
  /** Scoped tokens by name. */
  readonly tokens: Record<string, string>;
  busy(): Promise<void>;
  /** Errors of the database, which quote what they were sent. */
  faults(owner: pg.Client): Promise<void>;
  outage(): Promise<void>;
}

export interface Holders {
  readonly admin: Ask;
  /** An agent that may do everything below `vault`. */
  readonly keeper: Ask;
  readonly holding: (credential: string) => Ask;
}

const AT = '/v1/secrets/vault';

/** The same, of which every answer is an error of this class: 4 for 4xx. */
const refusing =
  (ask: Ask, statusClass: 4 | 5 = 4): Ask =>
  async (...request) => {
    const told = await ask(...request);
    assert.equal(
      Math.floor(told.status / 100),
      statusClass,
      `${told.asked} was answered with ${told.status}`,
    );
    return told;
  };

export function secretsSession({ admin, keeper, holding }: Holders): SecretsSession {
  const values: Record<string, string> = {};
  for (const name of ['put', 'updated', 'created', 'imported', 'rotated', 'guarded', 'by-token']) {
    values[name] = canary(name);
  }
  const refused = {
    refusedValue: canary('refused-value'),
    refusedText: canary('refused-text'),
    refusedScope: canary('refused-scope'),
    outageValue: canary('outage-value'),
    unknownToken: `ast_tok_${randomBytes(32).toString('base64url')}`,
  };
  const note = canary('note');
  const label = canary('label');
  const grounds = canary('grounds');
  const memberName = canary('member-name');
  const about = { metadata: { note, deep: [note] }, description: note, tags: [note] };
  const tokens: Record<string, string> = {};
  const tokenIds: Record<string, string> = {};

  const well = async (told: Promise<Told>): Promise<Told> => {
    const { asked, status, text } = await told;
    assert.ok(status < 300, `${asked}: ${status} ${text}`);
    return { asked, status, text };
  };
  const issue = async (name: string, changes: Record<string, unknown> = {}): Promise<Ask> => {
    const asked = { scopes: ['secrets:*:vault/*', 'namespaces:read'], description: label, ...changes };
    const { text } = await well(keeper(`token ${name}`, 'POST', '/v1/tokens', asked));
    const { token, token_id: id } = JSON.parse(text) as { token: string; token_id: string };
    tokens[name] = token;
    tokenIds[name] = id;
    return holding(token);
  };

  const write = async (): Promise<void> => {
    await well(keeper('write put', 'PUT', `${AT}/put`, { value: values['put'], ...about }));
    await well(keeper('write updated', 'PUT', `${AT}/put`, { value: values['updated'], tags: ['x'] }));
    await well(
      keeper('write created', 'POST', '/v1/secrets', { path: 'vault/created', value: values['created'] }),
    );
    const content = `# of the team\nexport imported='${values['imported']}'\nempty=\n`;
    await well(
      keeper('import', 'POST', '/v1/secrets/import', { namespace: 'vault', content, metadata: { note } }),
    );
    await well(keeper('rotate', 'POST', `${AT}/created/rotate`, { new_value: values['rotated'] }));
    await well(keeper('rotate at random', 'POST', `${AT}/imported/rotate`));
    await well(
      admin('write guarded', 'PUT', `${AT}/guarded`, { value: values['guarded'], tier: 'sensitive' }),
    );
  };

  const read = async (): Promise<void> => {
    await well(keeper('read updated', 'GET', `${AT}/put`));
    await well(keeper('read put', 'GET', `${AT}/put?version=1`));
    await well(keeper('read created', 'GET', `${AT}/created?version=1`));
    await well(keeper('read rotated', 'GET', `${AT}/created`));
    await well(keeper('read imported', 'GET', `${AT}/imported?version=1`));
    const { text } = await well(keeper('read generated', 'GET', `${AT}/imported`));
    const { value } = JSON.parse(text) as { value: string };
    assert.match(value, /^[\w-]{43}$/);
    values['generated'] = value;
    await well(admin('read guarded', 'GET', `${AT}/guarded`));
    for (const path of ['/v1/secrets/vault', '/v1/secrets?namespace=vault&limit=2', '/v1/namespaces']) {
      await well(keeper('list', 'GET', path));
    }
  };

  const useTokens = async (): Promise<void> => {
    const wide = await issue('wide');
    await well(wide('write by-token', 'PUT', `${AT}/by-token`, { value: values['by-token'] }));
    await well(wide('read by-token', 'GET', `${AT}/by-token`));
    await well(wide('read updated', 'GET', '/v1/secrets/vault%2Fput'));
    await well(wide('list', 'GET', '/v1/secrets/vault'));
    await well(wide('list', 'GET', '/v1/namespaces'));
    await well(wide('introspect', 'POST', '/v1/tokens/introspect'));
    await well(wide('introspect', 'POST', '/v1/tokens/introspect', { token: tokens['wide'] }));
    await well(
      wide('introspect by form', 'POST', '/v1/tokens/introspect', `token=${tokens['wide']}`, {
        'content-type': 'application/x-www-form-urlencoded',
      }),
    );
    await well(keeper('inventory', 'GET', '/v1/tokens'));
    await well(keeper('inventory', 'GET', `/v1/tokens/${tokenIds['wide']}`));

    const once = await issue('once', { max_uses: 1 });
    await well(once('read updated', 'GET', `${AT}/put`));
    await refusing(once)('a use too many', 'GET', `${AT}/put`);
    const elsewhere = await issue('elsewhere', { allowed_ips: ['203.0.113.7'] });
    await refusing(elsewhere)('from another address', 'GET', `${AT}/put`);
    const narrow = await issue('narrow', { scopes: ['secrets:read:vault/other/*'] });
    await refusing(narrow)('outside its scopes', 'GET', `${AT}/put`);
    await refusing(narrow)('outside its scopes', 'PUT', `${AT}/put`, { value: refused.refusedValue });
    const ended = await issue('ended');
    await well(keeper('revoke', 'DELETE', `/v1/tokens/${tokenIds['ended']}`));
    await refusing(ended)('revoked', 'GET', `${AT}/put`);
    await refusing(ended)('revoked', 'PUT', `${AT}/put`, { value: refused.refusedValue });
    const unknown = holding(refused.unknownToken);
    await refusing(unknown)('unknown token', 'GET', `${AT}/put`);
    await refusing(wide)('a token in place of a key', 'POST', '/v1/tokens', {
      scopes: ['secrets:read:vault/*'],
    });
    await refusing(wide)('a token in place of a key', 'GET', '/v1/me');
    await refusing(wide)('a token twice', 'GET', `${AT}/put`, undefined, {
      'x-api-key': tokens['narrow'] ?? '',
    });
    await refusing(keeper)('a token in a path', 'GET', `/v1/tokens/${tokens['wide']}`);
    await refusing(keeper)('a token in a path', 'DELETE', `/v1/tokens/${tokens['wide']}`);
    await refusing(keeper)('a token in a query', 'GET', `${AT}/put?token=${tokens['wide']}`);
    await refusing(keeper)('a token in a list', 'GET', `/v1/tokens?cursor=${tokens['wide']}`);
    await keeper('introspect what is none', 'POST', '/v1/tokens/introspect', { token: refused.refusedText });
    await refusing(keeper)('introspect badly', 'POST', '/v1/tokens/introspect', { token: [tokens['wide']] });
  };

  const askForApproval = async (): Promise<void> => {
    const { refusedText: text } = refused;
    const open = async (wish: Record<string, unknown>): Promise<string> => {
      const opened = await well(keeper('approval asked for', 'POST', '/v1/tokens', wish));
      assert.equal(opened.status, 202, opened.text);
      return (JSON.parse(opened.text) as { approval_id: string }).approval_id;
    };
    const id = await open({ scopes: ['secrets:read:vault/guarded'], description: label });
    const at = `/v1/approvals/${id}`;
    const no = refusing(admin);
    await no('a decision that is wrong', 'POST', `${at}/approve`, { reason: text.repeat(40) });
    await no('a decision that is wrong', 'POST', `${at}/approve`, { reason: [text] });
    await no('a decision that is wrong', 'POST', `${at}/deny`, { reason: `${text}\u0000` });
    await no('a decision that is wrong', 'POST', `${at}/deny`, { request_digest: text });
    await no('about another request', 'POST', `${at}/approve`, { reason: text, request_digest: text });
    await no('an approval that is none', 'POST', `/v1/approvals/${encodeURIComponent(text)}/approve`, {
      reason: text,
    });
    await no('an approval that is none', 'GET', `/v1/approvals/agent/${encodeURIComponent(text)}`);
    await refusing(keeper)('a decision by an agent', 'POST', `${at}/approve`, { reason: text });
    await well(keeper('approval polled', 'GET', `/v1/approvals/agent/${id}`));
    await well(admin('approval given', 'POST', `${at}/approve`, { reason: grounds }));
    await well(admin('approval seen', 'GET', at));
    await well(admin('approvals listed', 'GET', '/v1/approvals'));
    const claimed = await well(keeper('token approved', 'GET', `/v1/approvals/agent/${id}`));
    const { token } = JSON.parse(claimed.text) as { token: string };
    tokens['approved'] = token;
    await well(keeper('approval polled', 'GET', `/v1/approvals/agent/${id}`));
    await well(admin('approval seen', 'GET', at));
    await well(holding(token)('read guarded', 'GET', `${AT}/guarded`));
    await no('too late', 'POST', `${at}/deny`, { reason: text });

    const denied = await open({
      scopes: ['secrets:read:vault/*'],
      description: label,
      require_approval: true,
    });
    await well(admin('approval denied', 'POST', `/v1/approvals/${denied}/deny`, { reason: grounds }));
    await well(keeper('approval polled', 'GET', `/v1/approvals/agent/${denied}`));
  };

  const beRefused = async (): Promise<void> => {
    const { refusedValue: value, refusedText: text, refusedScope: scope } = refused;
    const json = JSON.stringify(value);
    const no = refusing(keeper);
    await no('create over', 'POST', '/v1/secrets', { path: 'vault/put', value });
    await no('another version', 'PUT', `${AT}/put`, { value }, { 'if-match': '"7"' });
    await no('a match that is none', 'PUT', `${AT}/put`, { value }, { 'if-match': text });
    await no('over what is guarded', 'PUT', `${AT}/guarded`, { value });
    await no('rotate what is guarded', 'POST', `${AT}/guarded/rotate`, { new_value: value });
    await no('read what is guarded', 'GET', `${AT}/guarded`);
    await no('import over what is guarded', 'POST', '/v1/secrets/import', {
      namespace: 'vault',
      content: `guarded='${value}'`,
    });
    await no('outside', 'PUT', '/v1/secrets/other/K', { value });
    await no('outside', 'POST', '/v1/secrets', { path: 'other/K', value });
    await no('rotate what is absent', 'POST', `${AT}/absent/rotate`, { new_value: value });
    await no('too long', 'PUT', `${AT}/put`, { value: value.repeat(2000) });
    await no('a body too long', 'PUT', `${AT}/put`, { value: value.repeat(40_000) });

    const members: Record<string, unknown>[] = [
      { value, surprise: text },
      { value, secret_type: text },
      { value, access_tier: text },
      { value, access_tier: 'standard', tier: text },
      { value, tags: [text.repeat(4)] },
      { value, expires_at: text },
      { value, metadata: text },
      { value, metadata: { long: text.repeat(400) } },
      { value, description: { text } },
      { value: { value } },
      { value: [value] },
      { new_value: value },
    ];
    for (const body of members) {
      await no('a member that is wrong', 'PUT', `${AT}/put`, body);
      await no('a member that is wrong', 'POST', '/v1/secrets', { path: 'vault/new', ...body });
      if (!('new_value' in body)) await no('a member that is wrong', 'POST', `${AT}/put/rotate`, body);
    }
    await no('unknown member', 'PUT', `${AT}/put`, { value, [memberName]: text });
    await no('unknown member', 'POST', '/v1/tokens', { scopes: ['secrets:read:*'], [memberName]: text });
    for (const body of [
      `{"value":${json}`,
      `{"value":${json},"value":${json}}`,
      `{"value":${json},}`,
      `\ufeff{"value":${json}}`,
      `{"value":"${'\\ud800'}","metadata":{"a":${json}}}`,
      `{"__proto__":${json}}`,
      json,
      `[${json}]`,
      value,
    ]) {
      await no('bad JSON', 'PUT', `${AT}/put`, body);
      await no('bad JSON', 'POST', '/v1/secrets/import', body);
    }
    await no('another media type', 'PUT', `${AT}/put`, value, { 'content-type': 'text/plain' });
    await no('another encoding', 'PUT', `${AT}/put`, value, { 'content-encoding': 'gzip' });

    const inUrl = encodeURIComponent(value);
    await no('a value in a query', 'PUT', `${AT}/put?value=${inUrl}`, { value: '' });
    await no('a value in a path', 'PUT', `${AT}/${inUrl}`, { value });
    await no('a value in a path', 'GET', `${AT}/${inUrl}`);
    await no('a value in a path', 'POST', `${AT}/put/${inUrl}`);
    await no('a value as a version', 'GET', `${AT}/put?version=${inUrl}`);
    await no('a value as a namespace', 'GET', `/v1/secrets?namespace=${inUrl}`);
    await no('a value as a path', 'POST', '/v1/secrets', { path: `vault/${value}`, value });

    for (const content of [
      `A=1\n${value}\n`,
      `A='${value}'\nA='${value}'\n`,
      `A="${value.replaceAll('"', '')} # open\n`,
      `${value}=1`,
      `A='${value}\u2028'\nB=\u2028${value}`,
      `${'K'.repeat(129)}='${value}'`,
      value.repeat(40_000),
    ]) {
      await no('bad text', 'POST', '/v1/secrets/import', { namespace: 'vault', content });
    }
    await no('bad import', 'POST', '/v1/secrets/import', { namespace: value, content: `A='${value}'` });
    await no('bad import', 'POST', '/v1/secrets/import', { namespace: 'vault', content: [value] });

    for (const wish of [
      { scopes: [scope] },
      { scopes: [`secrets:read:vault/${scope}`] },
      { scope: `secrets:${scope}:vault/*` },
      { scopes: ['secrets:read:vault/*'], ttl: scope },
      { scopes: ['secrets:read:vault/*'], max_uses: scope },
      { scopes: ['secrets:read:vault/*'], allowed_ips: [scope] },
      { scopes: ['secrets:read:vault/*'], description: `${scope}\n` },
      { scopes: ['secrets:read:vault/*'], surprise: scope },
      { scopes: ['secrets:read:other/*'], description: scope },
      { scopes: ['secrets:read:vault/guarded'], description: `${scope}\n` },
      { scopes: ['secrets:read:vault/guarded', 'secrets:read:other/K'], description: scope },
      { scopes: ['secrets:read:other/*'], description: scope, require_approval: true },
      { scopes: ['secrets:read:vault/*'], description: scope, require_approval: scope },
    ]) {
      await no('no token', 'POST', '/v1/tokens', wish);
    }
  };

  return {
    values,
    refused,
    note,
    label,
    grounds,
    memberName,
    tokens,
    busy: async () => {
      await write();
      await read();
      await useTokens();
      await askForApproval();
      await beRefused();
    },
    faults: async (owner) => {
      const { refusedValue: value, refusedText: text } = refused;
      const wide = refusing(holding(tokens['wide'] ?? ''), 5);
      const key = refusing(keeper, 5);
      // Its error quotes the whole row.
      await owner.query(
        `alter table secrets add constraint no_text check (description is null or description not like '%refused-text%')`,
      );
      await wide('a row that the database refuses', 'PUT', `${AT}/new`, { value, description: text });
      await owner.query('alter table secrets drop constraint no_text');
      await owner.query('alter table secret_versions rename to hidden_versions');
      await wide('a table that is gone', 'GET', `${AT}/put`);
      await wide('a table that is gone', 'PUT', `${AT}/put`, { value });
      await owner.query('alter table hidden_versions rename to secret_versions');
      await owner.query('alter table scoped_tokens rename to hidden_tokens');
      await wide('a table that is gone', 'GET', `${AT}/put`);
      await key('a table that is gone', 'POST', '/v1/tokens', { scopes: ['secrets:read:vault/*'] });
      await owner.query('alter table hidden_tokens rename to scoped_tokens');
      await owner.query(
        `update secret_versions set ciphertext = set_byte(ciphertext, 0, get_byte(ciphertext, 0) # 1)
         where secret_id = (select id from secrets where path = 'vault/by-token')`,
      );
      await wide('a row that was tampered with', 'GET', `${AT}/by-token`);
    },
    outage: async () => {
      const value = refused.outageValue;
      const wide = refusing(holding(tokens['wide'] ?? ''), 5);
      const key = refusing(keeper, 5);
      for (const ask of [key, wide]) {
        await ask('in an outage', 'PUT', `${AT}/put`, { value, metadata: { note } });
        await ask('in an outage', 'POST', `${AT}/put/rotate`, { new_value: value });
        await ask('in an outage', 'GET', `${AT}/put`);
        await ask('in an outage', 'GET', '/v1/secrets/vault');
      }
      const content = `A='${value}'`;
      await key('in an outage', 'POST', '/v1/secrets/import', { namespace: 'vault', content });
      await key('in an outage', 'POST', '/v1/tokens', { scopes: ['secrets:read:vault/*'] });
      await wide('in an outage', 'POST', '/v1/tokens/introspect', { token: tokens['narrow'] });
    },
  };
}
