/** The stores in memory, on which the tables of the use cases run, keep the contract that those of the database keep. */
import { suite } from 'node:test';
import { agentIn } from '../storage/builders.ts';
import { contractOfAgents } from '../storage/contract-of-agents.ts';
import { contractOfCredentials } from '../storage/contract-of-credentials.ts';
import { contractOfIntentTokens } from '../storage/contract-of-intent-tokens.ts';
import { contractOfTokens } from '../storage/contract-of-tokens.ts';
import { contractOfTrail } from '../storage/contract-of-trail.ts';
import { createStoresInMemory } from '../support/stores-in-memory.ts';

const stores = createStoresInMemory();
const agent = await agentIn(stores, { allowedScopes: ['secrets:read:prod/*'] });

suite('stores in memory', () => {
  contractOfAgents(stores);
  contractOfCredentials(stores);
  contractOfTrail(stores);
  contractOfIntentTokens(stores);
  contractOfTokens({ ...stores, agent });
});
