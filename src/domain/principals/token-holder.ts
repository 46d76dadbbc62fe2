/** Whose tokens, of both kinds, a principal may see, end and pass on: its own, and an administrator everybody's. */

import type { Role } from './role.ts';

interface Holder {
  readonly id: string;
  readonly role: Role;
}

/** Undefined: everybody's. */
export const holderWithinReach = ({ id, role }: Holder): string | undefined =>
  role === 'admin' ? undefined : id;

/** `holderId`: to whom the token was issued. */
export function isWithinReach(principal: Holder, holderId: string): boolean {
  const own = holderWithinReach(principal);
  return own === undefined || own === holderId;
}
