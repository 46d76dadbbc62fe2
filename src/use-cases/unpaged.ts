/** How many a list answers when it was not asked to page: no published client pages. */
export const UNPAGED_LIMIT = 10_000;
