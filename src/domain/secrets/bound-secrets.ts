/**
 * The secrets above standard that an approval is about (contract section 7): those that existed when it was asked for,
 * with the tier that each had. What is approved is these, whatever comes into being or is raised afterwards.
 */

import { UUID } from '../formats/uuid.ts';
import { parseSecretPath } from '../scopes/secret-path.ts';
import { ACCESS_TIERS, type AccessTier } from './access-tier.ts';

export interface BoundSecret {
  /** Of the row: a path that is written again after it was deleted is another secret. */
  readonly id: string;
  readonly path: string;
  /** Above standard. */
  readonly tier: AccessTier;
}

/** An approver reads each of them. */
export const MAX_BOUND_SECRETS = 100;

/** As it is kept, and as it is bound by the digest: `critical <id> <path>`; no part of it has a blank. */
export function formatBoundSecret({ id, path, tier }: BoundSecret): string {
  return `${tier} ${id} ${path}`;
}

/** Undefined for what `formatBoundSecret` did not write: it opens nothing. */
export function parseBoundSecret(text: string): BoundSecret | undefined {
  const [tierText, id = '', path = '', ...more] = text.split(' ');
  const tier = ACCESS_TIERS.find((known) => known === tierText);
  if (tier === undefined || !UUID.test(id) || !parseSecretPath(path).ok || more.length > 0) return undefined;
  return { id, path, tier };
}

/** `standard` where there is none. */
export function highestTierOf(bound: readonly Pick<BoundSecret, 'tier'>[]): AccessTier {
  return ACCESS_TIERS.findLast((tier) => bound.some((secret) => secret.tier === tier)) ?? ACCESS_TIERS[0];
}
