/** The form of an approval's id: `apr_` and 8 characters of base32 (RFC 4648 section 6) in lower case, short enough to read out. */

/** The source of a regular expression without anchors. */
export const APPROVAL_ID_PATTERN = 'apr_[a-z2-7]{8}';
export const APPROVAL_ID = new RegExp(`^${APPROVAL_ID_PATTERN}$`);
