/**
 * The grammar of secret paths and namespaces, and what a URL below `/v1/secrets/` names (contract section 5.2). Nothing
 * is normalised: a text is exactly one path or it is refused, so two spellings never mean the same row.
 */

/** The source of a regular expression's class, in which a hyphen comes last. */
const CHARACTERS = 'A-Za-z0-9_.@+=~';
const SEGMENT = new RegExp(`^[${CHARACTERS}-]{1,128}$`);
/** Of a pattern that is matched against paths: `*` stands for any characters. */
export const PATH_PATTERN_SEGMENT = new RegExp(`^[${CHARACTERS}*-]{1,128}$`);
export const MAX_PATH_SEGMENTS = 16;

/** No path is longer, so a pattern whose shortest match is longer matches nothing. */
export const MAX_PATH_LENGTH = 512;
/** Leaves room for a slash and a key of one character. */
const MAX_NAMESPACE_LENGTH = MAX_PATH_LENGTH - 2;
/** Percent-encoding writes a byte as three characters. */
const MAX_RAW_LENGTH = MAX_PATH_LENGTH * 3;

/** The characters of a path, a namespace or a key; not yet their structure. */
export const PATH_TEXT = new RegExp(`^[${CHARACTERS}/-]{1,${MAX_PATH_LENGTH}}$`);

export interface SecretPath {
  /** The whole text, `namespace/key`. */
  readonly path: string;
  readonly namespace: string;
  readonly key: string;
  readonly segments: readonly string[];
}

export interface Namespace {
  readonly namespace: string;
  readonly segments: readonly string[];
}

export type ParsedSecretPath = { readonly ok: true; readonly secret: SecretPath } | { readonly ok: false };
export type ParsedNamespace = { readonly ok: true; readonly namespace: Namespace } | { readonly ok: false };

export type SecretTarget =
  | { readonly kind: 'namespace'; readonly namespace: Namespace }
  | { readonly kind: 'secret'; readonly secret: SecretPath }
  | { readonly kind: 'invalid' };

/** 2 to 16 segments, at most 512 characters. */
export function parseSecretPath(text: string): ParsedSecretPath {
  const segments = readSegments(text, MAX_PATH_LENGTH);
  if (segments === undefined || segments.length < 2 || segments.length > MAX_PATH_SEGMENTS)
    return { ok: false };
  const slash = text.lastIndexOf('/');
  const secret = { path: text, namespace: text.slice(0, slash), key: text.slice(slash + 1), segments };
  return { ok: true, secret };
}

/** 1 to 15 segments, short enough that a key still fits below. */
export function parseNamespace(text: string): ParsedNamespace {
  const segments = readSegments(text, MAX_NAMESPACE_LENGTH);
  if (segments === undefined || segments.length >= MAX_PATH_SEGMENTS) return { ok: false };
  return { ok: true, namespace: { namespace: text, segments } };
}

/**
 * Reads the raw request target behind `/v1/secrets/`, without query. One raw segment names a namespace, two or more
 * name one secret, whatever they decode to.
 */
export function readSecretTarget(rawTargetAfterPrefix: string): SecretTarget {
  if (typeof rawTargetAfterPrefix !== 'string' || rawTargetAfterPrefix.length > MAX_RAW_LENGTH) {
    return { kind: 'invalid' };
  }
  const raw = rawTargetAfterPrefix.split('/');
  const decoded = decodeOnce(raw);
  if (decoded === undefined) return { kind: 'invalid' };
  if (raw.length === 1) {
    const parsed = parseNamespace(decoded);
    return parsed.ok ? { kind: 'namespace', namespace: parsed.namespace } : { kind: 'invalid' };
  }
  const parsed = parseSecretPath(decoded);
  return parsed.ok ? { kind: 'secret', secret: parsed.secret } : { kind: 'invalid' };
}

/** A second decoding would turn `%252F` into a separator that the first check never saw. */
function decodeOnce(rawSegments: readonly string[]): string | undefined {
  try {
    return rawSegments.map(decodeURIComponent).join('/');
  } catch {
    return undefined;
  }
}

function readSegments(text: string, maxLength: number): readonly string[] | undefined {
  if (typeof text !== 'string' || text.length > maxLength) return undefined;
  const segments = text.split('/');
  return segments.every(isSegment) ? segments : undefined;
}

function isSegment(segment: string): boolean {
  return SEGMENT.test(segment) && segment !== '.' && segment !== '..';
}

/** In words, for whoever wrote another one. */
export const PATH_RULE =
  'A path has 2 to 16 segments of A-Z a-z 0-9 _ . @ + = ~ -, at most 512 characters; a namespace has up to 15.';
