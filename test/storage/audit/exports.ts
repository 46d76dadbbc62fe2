/**
 * Guarantees exports of the trail over HTTP as a reader puts them together, their ids and where the next one begins, and a
 * process on any server that leaves events.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { TestContext } from 'node:test';
import { generateApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import { openTestApp, type TestApp } from '../../support/app.ts';

export interface ExportedIds {
  readonly ids: readonly string[];
  readonly cursor: string;
}

export function exporterOf({ call, adminKey }: Pick<TestApp, 'call' | 'adminKey'>) {
  const ask = (cursor?: string) =>
    call({
      method: 'GET',
      url: `/v1/audit/export?${new URLSearchParams({ format: 'jsonl', ...(cursor === undefined ? {} : { cursor }) })}`,
      key: adminKey,
    });
  return {
    ask,
    read: async (cursor?: string): Promise<ExportedIds> => {
      const { status, text, headers } = await ask(cursor);
      assert.equal(status, 200, text);
      const lines = text.split('\n').slice(0, -1);
      const ids = lines.map((line) => (JSON.parse(line) as { id: string }).id);
      assert.equal(new Set(ids).size, ids.length, 'none twice');
      return { ids, cursor: headers['x-next-cursor'] ?? assert.fail('no cursor') };
    },
  };
}

const ADMIN_KEY = generateApiKey().text;

/** A process on that server, and something to do that leaves an event. */
export async function writOn(
  t: Pick<TestContext, 'after'>,
  url: string,
): Promise<TestApp & { act(): Promise<void> }> {
  const overrides = { BOOTSTRAP_ADMIN_KEY: ADMIN_KEY, ISSUER_URL: 'https://issuer.example' };
  const app = await openTestApp(t, url, overrides, {}, ADMIN_KEY);
  const act = async () => {
    const json = { value: 'v', path: `made/${randomUUID()}` };
    const made = await app.call({ method: 'POST', url: '/v1/secrets', key: ADMIN_KEY, json });
    assert.equal(made.status, 201, made.text);
  };
  return { ...app, act };
}
