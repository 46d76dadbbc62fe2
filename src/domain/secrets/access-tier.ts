/** Access tiers of secrets (contract section 6), from the lowest to the highest. */

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
