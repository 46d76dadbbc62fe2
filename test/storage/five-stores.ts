/** Five stores over one state, whatever keeps it, and what their contract asks of that state past them. */
import type { AccessTier } from '../../src/domain/secrets/access-tier.ts';
import type { AuditTrail, EventType } from '../../src/use-cases/audit/ports.ts';
import type { CredentialStore } from '../../src/use-cases/authentication/ports.ts';
import type { IntentTokenStore } from '../../src/use-cases/intent-tokens/ports.ts';
import type { AgentStore, NewAgent } from '../../src/use-cases/principals/ports.ts';
import type { ScopedTokenStore } from '../../src/use-cases/scoped-tokens/ports.ts';
import { agentIn, aWrite } from './builders.ts';

export const YESTERDAY = new Date(Date.now() - 86_400_000);
export const TOMORROW = new Date(Date.now() + 86_400_000);

export interface FiveStores {
  readonly agents: AgentStore;
  readonly credentials: CredentialStore;
  readonly intents: IntentTokenStore;
  readonly tokens: ScopedTokenStore;
  readonly trail: AuditTrail;
  /** The types of the events about a resource, in the order of their writing. */
  eventsOf(resourceId: string): Promise<readonly EventType[]>;
  countEvents(): Promise<number>;
  isIssued(jti: string): Promise<boolean>;
  endIntent(jti: string, how: IntentEnding): Promise<unknown>;
  /** A kid in that state, of no other test. */
  signerThat(does: SignerState): Promise<string>;
  compromise(kid: string): Promise<unknown>;
  expireKey(keyId: string): Promise<unknown>;
  giveKey(keyId: string, toAgentId: string): Promise<unknown>;
  changeToken(id: string, change: TokenChange): Promise<unknown>;
  /** The path of a secret of that tier, made for it. */
  keepSecret(tier: AccessTier): Promise<string>;
}

/** Of a signing key: it left so lately that it may sign, it has left, or it is or was another one. */
export const SIGNER_STATES = [
  'is leaving',
  'has left',
  'is next',
  'is retired',
  'is compromised',
  'is gone',
] as const;
export type SignerState = (typeof SIGNER_STATES)[number];

/** What time or an owner makes of an intent token's row. */
export type IntentEnding = 'revoked' | 'expired';

/** What time, uses, an administrator or a stranger make of a scoped token's row. */
export interface TokenChange {
  readonly expired?: true;
  readonly revoked?: true;
  readonly uses?: number;
  readonly agentId?: string;
  readonly scopes?: readonly string[];
}

export type Endings = Readonly<Record<string, (who: NewAgent) => Promise<unknown>>>;

/** What makes an agent other than it was read. */
export const noLongerAsRead = (on: FiveStores): Endings => ({
  'its agent is revoked': (who) => on.agents.revoke(who.id, aWrite()),
  'its agent was changed since': (who) => on.agents.update(who.id, { description: 'other' }, aWrite()),
});

/** These, and what makes its key other than it was read. */
export const keyIsDead = (on: FiveStores): Endings => ({
  ...noLongerAsRead(on),
  'the key is revoked': (who) => on.agents.revokeKey({ agentId: who.id, keyId: who.key.keyId }, aWrite()),
  'the key has expired': (who) => on.expireKey(who.key.keyId),
  'the key is another agent’s': async (who) => on.giveKey(who.key.keyId, (await agentIn(on)).id),
});
