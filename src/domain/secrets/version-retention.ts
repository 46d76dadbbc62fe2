/**
 * Which old versions of a secret go (contract section 6). The newest ones stay by their number, and each other stays for
 * some time after the next one took its place: a version that was the newest yesterday is not old, whenever it was
 * written.
 */

export interface WrittenVersion {
  readonly version: number;
  readonly writtenAtMs: number;
}

export interface VersionRetention {
  /** How many of the newest versions stay; at least 1. */
  readonly kept: number;
  /** A version stays whose successor was written after this. */
  readonly supersededSinceMs: number;
}

/**
 * The oldest version that stays; what is before it goes. `oldest`: the oldest versions that there are, in their order,
 * without gaps; the last of them always stays, because nothing is known of its successor. Undefined where there is none.
 */
export function oldestToKeep(
  newest: number,
  oldest: readonly WrittenVersion[],
  { kept, supersededSinceMs }: VersionRetention,
): number | undefined {
  const stays = oldest.find(({ version }, index) => {
    const next = oldest[index + 1];
    return next === undefined || version > newest - kept || next.writtenAtMs > supersededSinceMs;
  });
  return stays?.version;
}
