/** Access tiers of secrets (contract section 6), from the lowest to the highest, and which secret a credential opens. */

export const ACCESS_TIERS = ['standard', 'sensitive', 'critical'] as const;
export type AccessTier = (typeof ACCESS_TIERS)[number];

/** Whether a credential that opens up to `granted` opens what is stored as `stored`, for whatever action. */
export function tierOpens({ granted, stored }: { granted: AccessTier; stored: AccessTier }): boolean {
  return ACCESS_TIERS.indexOf(stored) <= ACCESS_TIERS.indexOf(granted);
}

/** Lowering a tier takes an administrator; raising it, or leaving it, does not. */
export function isLowerTier({ asked, stored }: { asked: AccessTier; stored: AccessTier }): boolean {
  return ACCESS_TIERS.indexOf(asked) < ACCESS_TIERS.indexOf(stored);
}

/** What a credential opens of what its scopes name. */
export interface TierGrant {
  /** At most up to this tier. */
  readonly tier: AccessTier;
  /**
   * Of a token: by their ids, the secrets above standard that its approval named, with the tiers that they had then.
   * Undefined for an API key: all up to its tier.
   */
  readonly bound: ReadonlyMap<string, AccessTier> | undefined;
}

export type TierDenial =
  /** Above what the credential opens at all. */
  | 'TIER_TOO_HIGH'
  /** It came into being, or above standard, after the approval was asked for. */
  | 'NOT_IN_APPROVAL'
  /** It was in the approval with a lower tier. */
  | 'RAISED_SINCE_APPROVAL';

/** For whatever action. Undefined when the secret opens. */
export function tierDenial(
  { tier: granted, bound }: TierGrant,
  { id, tier: stored }: { readonly id: string; readonly tier: AccessTier },
): TierDenial | undefined {
  if (stored === 'standard') return undefined;
  const named = bound?.get(id);
  if (named !== undefined && !tierOpens({ granted: named, stored })) return 'RAISED_SINCE_APPROVAL';
  if (!tierOpens({ granted, stored })) return 'TIER_TOO_HIGH';
  return bound === undefined || named !== undefined ? undefined : 'NOT_IN_APPROVAL';
}
