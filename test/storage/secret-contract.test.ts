/** What the stores of scoped tokens and secrets promise, on the embedded database and on a real Postgres alike. */
import { suite } from 'node:test';
import { contractOfChanges } from './contract-of-changes.ts';
import { contractOfReads } from './contract-of-reads.ts';
import { contractOfTokens } from './contract-of-tokens.ts';
import { contractOfUses } from './contract-of-uses.ts';
import { storesOn } from './contract-stores.ts';
import { BACKENDS } from './opened.ts';

for (const backend of BACKENDS) {
  suite(`scoped tokens and secrets on ${backend.name}`, { skip: backend.skip }, () => {
    const stores = storesOn(backend);
    contractOfTokens(stores);
    contractOfReads(stores);
    contractOfUses(stores);
    contractOfChanges(stores);
  });
}
