/**
 * `.env` text into a namespace, all or nothing (contract section 6): every key gets a new version, or none does. A line
 * that is no entry is refused, with its number.
 */

import { parseNamespace, parseSecretPath, type SecretPath } from '../../domain/scopes/secret-path.ts';
import { type EnvEntry, type EnvTextFault, parseEnvText } from '../../domain/secrets/dotenv-parser.ts';
import { WritError } from '../../errors.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { AuthorizedRequest } from './authorized-request.ts';
import { type ChangeSecretsDeps, changeSecrets } from './change-secrets.ts';
import {
  buildCreate,
  buildVersion,
  requireTier,
  type SealingDeps,
  type SecretInput,
  validateInput,
} from './secret-rules.ts';

export type ImportSecretsDeps = ChangeSecretsDeps & SealingDeps;

export interface ImportCommand {
  readonly authorized: AuthorizedRequest;
  readonly namespace: string;
  readonly content: string;
  /** For keys that are new; the others keep theirs. */
  readonly ofNewKeys: Omit<SecretInput, 'value'>;
  readonly context: RequestContext;
}

/**
 * Resolves with the keys in the order of the text. Rejects with `INVALID_PATH`, `VALIDATION_ERROR` (`details.line`),
 * `PAYLOAD_TOO_LARGE`, `SCOPE_DENIED`, `APPROVAL_REQUIRED`.
 */
export type ImportSecrets = (command: ImportCommand) => Promise<readonly string[]>;

export function createImportSecrets(deps: ImportSecretsDeps): ImportSecrets {
  return async ({ authorized, namespace, content, ofNewKeys, context }) => {
    if (!parseNamespace(namespace).ok) {
      throw new WritError('INVALID_PATH', 'namespace has 1 to 15 segments of A-Z a-z 0-9 _ . @ + = ~ -.', {
        details: { pointer: '/namespace' },
      });
    }
    const entries = readEntries(namespace, content);
    for (const { value } of entries) validateInput({ ...ofNewKeys, value });
    const resource = { type: 'namespace', id: namespace } as const;
    const secrets = entries.map(({ secret }) => secret);
    await changeSecrets(deps, { authorized, secrets, resource, context }, (stored, requester) => {
      const changes = entries.map(({ secret, value }) => {
        const there = stored.get(secret.path);
        if (there === undefined) return buildCreate(deps, secret, { ...ofNewKeys, value });
        requireTier(requester, there);
        return buildVersion(deps, there, { value });
      });
      const versions = changes.map((change, index) => ({
        key: secrets[index]?.key,
        secret_id: change.id,
        version: change.kind === 'create' ? 1 : change.version,
      }));
      return { changes, event: { type: 'secret.imported', resource, metadata: { secrets: versions } } };
    });
    return secrets.map(({ key }) => key);
  };
}

function readEntries(
  namespace: string,
  content: string,
): readonly { readonly secret: SecretPath; readonly value: string }[] {
  const text = parseEnvText(content);
  if (!text.ok) throw refusedLine(text.line, FAULTS[text.fault]);
  return text.entries.map((entry) => {
    const parsed = parseSecretPath(`${namespace}/${entry.key}`);
    if (!parsed.ok) throw refusedKey(entry);
    return { secret: parsed.secret, value: entry.value };
  });
}

const FAULTS: Readonly<Record<EnvTextFault, string>> = {
  not_an_entry: 'is neither KEY=value nor a comment',
  repeated_key: 'repeats a key',
  reserved_key: 'has a key that is reserved',
  unclosed_quote: 'opens a quote that does not close',
  line_separator: 'holds a line separator outside quotes',
  too_many_entries: 'is one entry too many: at most 1000',
  no_entries: 'begins a text without an entry',
  too_long: 'begins a text that is too long',
};

function refusedLine(line: number, why: string): WritError {
  return new WritError('VALIDATION_ERROR', `content: line ${line} ${why}.`, {
    details: { pointer: '/content', line },
  });
}

function refusedKey({ line }: EnvEntry): WritError {
  return new WritError('INVALID_PATH', `content: line ${line} has a key that no path can end with.`, {
    details: { pointer: '/content', line },
  });
}
