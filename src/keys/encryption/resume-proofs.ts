/**
 * What ends an emergency stop: random bytes whose hash the database compares. Only who has the master key can say them,
 * so a right to write to the table is none to resume.
 */

import { createHash, randomBytes } from 'node:crypto';
import type { ResumeProofs } from '../../use-cases/emergency/ports.ts';
import { UnwrapError } from './key-encryption.ts';
import type { MasterKeys } from './master-keys.ts';

const PROOF_BYTES = 32;

const purposeOf = (stopId: string): string => `emergency stop ${stopId}`;
const hashOf = (proof: Uint8Array): Buffer => createHash('sha256').update(proof).digest();

export function createResumeProofs(masterKeys: Pick<MasterKeys, 'active' | 'find'>): ResumeProofs {
  return {
    make: (stopId) => {
      const proof = randomBytes(PROOF_BYTES);
      const kek = masterKeys.active();
      const wrappedProof = kek.wrap(proof, purposeOf(stopId));
      return { resumeHash: hashOf(proof), wrappedProof, kekId: kek.kekId };
    },
    open: (stopId, { resumeHash, wrappedProof, kekId }) => {
      const kek = masterKeys.find(kekId);
      if (kek === undefined) return undefined;
      try {
        const proof = kek.unwrap(wrappedProof, purposeOf(stopId));
        return hashOf(proof).equals(resumeHash) ? proof : undefined;
      } catch (error) {
        if (error instanceof UnwrapError) return undefined;
        throw error;
      }
    },
  };
}
