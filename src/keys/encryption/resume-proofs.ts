/**
 * What ends an emergency stop: random bytes whose hash the database compares. Only who has the master key can say them,
 * so a right to write to the table is none to resume.
 */

import { createHash, randomBytes } from 'node:crypto';
import type { KeptProof, ResumeProofs } from '../../use-cases/emergency/ports.ts';
import { unwrapOrUndefined } from './key-encryption.ts';
import type { MasterKeys } from './master-keys.ts';

const PROOF_BYTES = 32;

const purposeOf = (stopId: string): string => `emergency stop ${stopId}`;
const hashOf = (proof: Uint8Array): Buffer => createHash('sha256').update(proof).digest();

export function createResumeProofs(masterKeys: Pick<MasterKeys, 'active' | 'find'>): ResumeProofs {
  const keep = (stopId: string, proof: Uint8Array): KeptProof => {
    const kek = masterKeys.active();
    return {
      resumeHash: hashOf(proof),
      wrappedProof: kek.wrap(proof, purposeOf(stopId)),
      kekId: kek.kekId,
    };
  };
  const open: ResumeProofs['open'] = (stopId, { resumeHash, wrappedProof, kekId }) => {
    const proof = unwrapOrUndefined(masterKeys.find(kekId), wrappedProof, purposeOf(stopId));
    return proof && hashOf(proof).equals(resumeHash) ? proof : undefined;
  };
  return {
    make: (stopId) => keep(stopId, randomBytes(PROOF_BYTES)),
    open,
    rewrap: (stopId, kept) => {
      const proof = open(stopId, kept);
      return proof && keep(stopId, proof);
    },
  };
}
