/** Writes JSON pointers (RFC 6901), which name the member of a request that is at fault. */

/** One token of a pointer, from a member's name (section 3). */
export function escapePointerToken(member: string): string {
  return member.replaceAll('~', '~0').replaceAll('/', '~1');
}
