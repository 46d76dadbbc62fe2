/** The form of a scoped token’s text. */

/** How every scoped token begins. */
export const SCOPED_TOKEN_PREFIX = 'ast_tok_';

export const SCOPED_TOKEN = new RegExp(`^${SCOPED_TOKEN_PREFIX}[A-Za-z0-9_-]{43}$`);

/** Whether the text has the form of a scoped token; where an API key is required that is 401 without a look-up. */
export function looksLikeScopedToken(text: string): boolean {
  return typeof text === 'string' && SCOPED_TOKEN.test(text);
}
