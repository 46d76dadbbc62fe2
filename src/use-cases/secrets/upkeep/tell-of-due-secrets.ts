/**
 * When a version has lived as long as its secret lets it (contract section 6): an event and a notice to the webhook, once
 * for each version. Nothing else changes: the value is read as before.
 */

import { formatTimestamp } from '../../../domain/formats/rfc3339.ts';
import { auditEvent, NO_REQUEST, SYSTEM } from '../../audit/build-audit-event.ts';
import type { BuildNotice } from '../../notices/build-notice.ts';
import type { DueReminders, DueVersion } from './ports.ts';

const AT_ONCE = 100;

/** Tells of all that became due. A job calls it; whichever process comes first tells. */
export function createTellOfDueSecrets(deps: {
  readonly reminders: DueReminders;
  readonly newId: () => string;
  readonly buildNotice: BuildNotice;
}): () => Promise<void> {
  return async () => {
    let told: number;
    do {
      told = await deps.reminders.take(AT_ONCE, (due) => tellOf(deps, due));
    } while (told === AT_ONCE);
  };
}

function tellOf(
  { newId, buildNotice }: { readonly newId: () => string; readonly buildNotice: BuildNotice },
  { id, path, version, rotateAfterDays, rotationDueAt }: DueVersion,
) {
  const type = 'secret.rotation_due';
  const told = {
    secret_id: id,
    version,
    rotate_after_days: rotateAfterDays,
    rotation_due_at: formatTimestamp(rotationDueAt),
  };
  const resource = { type: 'secret', id: path } as const;
  return {
    event: auditEvent(SYSTEM, NO_REQUEST, { id: newId(), type, resource, metadata: told }),
    notice: buildNotice(type, rotationDueAt, { path, ...told }),
  };
}
