/** The digest that binds an approval to what was asked, as people are shown it. */

/** Without the id of the key that it was made under, which stands in front of what is kept. */
export const shownDigest = (kept: string): string => kept.slice(-64);
