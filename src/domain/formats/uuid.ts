/** How ids are written (RFC 9562 section 4). Ours are always in lower case; an id that a client sends may be in either. */

/** The source of a regular expression without anchors: lower case. */
export const UUID_PATTERN = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
export const UUID = new RegExp(`^${UUID_PATTERN}$`, 'i');
/** As the server itself writes it. */
export const LOWER_CASE_UUID = new RegExp(`^${UUID_PATTERN}$`);
