/** Removes the values of versions that have been old for long enough (contract section 6); one event for each secret. */

import { oldestToKeep } from '../../../domain/secrets/version-retention.ts';
import { auditEvent, NO_REQUEST, SYSTEM } from '../../audit/build-audit-event.ts';
import type { PrunableSecret, VersionPruning } from './ports.ts';

export interface VersionRetentionRule {
  /** How many of the newest versions stay; 0: all of them, and nothing is removed. */
  readonly kept: number;
  /** How many days a version stays after the next one was written. */
  readonly keptDays: number;
}

const SECRETS_AT_ONCE = 20;
/** In one run; what is left is for the next. */
const MAX_BATCHES = 20;

/** Resolves with how many versions went. A job calls it; a secret that somebody holds is left for the next run. */
export function createPruneVersions(deps: {
  readonly pruning: VersionPruning;
  readonly newId: () => string;
  readonly rule: VersionRetentionRule;
}): () => Promise<number> {
  const { pruning, rule } = deps;
  const decide = (secret: PrunableSecret) => {
    const { kept } = rule;
    const { supersededSinceMs, oldestVersion } = secret;
    const first = oldestToKeep(secret.version, secret.oldest, { kept, supersededSinceMs });
    if (first === undefined || first <= oldestVersion) return undefined;
    const event = auditEvent(SYSTEM, NO_REQUEST, {
      id: deps.newId(),
      type: 'secret.versions_pruned',
      resource: { type: 'secret', id: secret.path },
      metadata: {
        secret_id: secret.id,
        from: oldestVersion,
        to: first - 1,
        count: first - oldestVersion,
      },
    });
    return { oldestToKeep: first, event };
  };

  return async () => {
    let removed = 0;
    if (rule.kept === 0) return removed;
    let after: string | undefined;
    let removedInPass = 0;
    for (let batch = 0; batch < MAX_BATCHES; batch += 1) {
      const done = await pruning.prune({ ...rule, limit: SECRETS_AT_ONCE, after }, decide);
      removed += done.removed;
      removedInPass += done.removed;
      after = done.last;
      if (after !== undefined) continue;
      // Of a secret some of the oldest went: it may have more.
      if (removedInPass === 0) break;
      removedInPass = 0;
    }
    return removed;
  };
}
