/** Guarantees exports of the trail over HTTP as a reader puts them together: their ids, and where the next one begins. */
import assert from 'node:assert/strict';
import type { TestApp } from '../../support/app.ts';

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
