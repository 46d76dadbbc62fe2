/** What jobs that look after secrets ask of the outside: types only. */

import type { WrittenVersion } from '../../../domain/secrets/version-retention.ts';
import type { AuditEvent } from '../../audit/ports.ts';
import type { Notice } from '../../notices/ports.ts';

/** A version that has lived as long as its secret lets it. */
export interface DueVersion {
  readonly id: string;
  readonly path: string;
  readonly version: number;
  readonly rotateAfterDays: number;
  readonly rotationDueAt: Date;
}

export interface DueReminders {
  /**
   * Takes at most `limit` versions that are due and that nobody was told of, in one transaction with the events and notices
   * about them: no two processes take the same. Resolves with how many it took.
   */
  take(
    limit: number,
    tell: (due: DueVersion) => { readonly event: AuditEvent; readonly notice: Notice | undefined },
  ): Promise<number>;
}

/** A secret with more versions than stay, under lock. */
export interface PrunableSecret {
  readonly id: string;
  readonly path: string;
  /** The newest. */
  readonly version: number;
  /** The oldest that is kept. */
  readonly oldestVersion: number;
  /** In their order, as many as may go at once, and one more. */
  readonly oldest: readonly WrittenVersion[];
  /** A version stays whose successor was written after this. */
  readonly supersededSinceMs: number;
}

export interface VersionPruning {
  /**
   * One transaction over at most `limit` secrets with more than `kept` versions, in the order of their ids: of each goes
   * what is before `oldestToKeep`, with its event. `last`: behind which to go on; undefined: there are no more.
   */
  prune(
    query: {
      readonly kept: number;
      readonly keptDays: number;
      readonly limit: number;
      readonly after: string | undefined;
    },
    decide: (
      secret: PrunableSecret,
    ) => { readonly oldestToKeep: number; readonly event: AuditEvent } | undefined,
  ): Promise<{ readonly removed: number; readonly last: string | undefined }>;
}
