/**
 * Scopes (contract section 5.2): what they look like and which action on which path one of them allows. No action
 * implies another, and two texts mean the same only if this grammar says so.
 */

import { patternMatches } from '../formats/segment-pattern.ts';
import { parseScopePattern, type ScopePattern } from './scope-pattern.ts';
import type { SecretPath } from './secret-path.ts';

const MAX_SCOPE_LENGTH = 600;
const SECRETS_SCOPE = /^secrets:(read|write|delete|\*):([^:]+)$/;

export const SECRET_ACTIONS = ['read', 'write', 'delete'] as const;
export type SecretAction = (typeof SECRET_ACTIONS)[number];

/** `secrets:<action>:<pattern>`; the action `*` stands for the three secret actions. */
export interface SecretsScope {
  readonly kind: 'secrets';
  readonly action: SecretAction | '*';
  readonly pattern: ScopePattern;
}

/** `namespaces:read`. */
export interface NamespacesScope {
  readonly kind: 'namespaces';
}

export type Scope = SecretsScope | NamespacesScope;

export type ParsedScope = { readonly ok: true; readonly scope: Scope } | { readonly ok: false };

export const NAMESPACES_SCOPE: NamespacesScope = { kind: 'namespaces' };

/** What somebody asks for: at most 600 characters. Compiled once, so keep the result where it is matched often. */
export function parseScope(text: string): ParsedScope {
  const isInBounds = typeof text === 'string' && text.length <= MAX_SCOPE_LENGTH;
  return isInBounds ? parseGrantedScope(text) : { ok: false };
}

/** What `formatScope` wrote: a scope that a vendor name stood for names its action, so it can be longer than any asked. */
export function parseGrantedScope(text: string): ParsedScope {
  if (text === 'namespaces:read') return { ok: true, scope: NAMESPACES_SCOPE };
  const [, action = '', patternText = ''] = SECRETS_SCOPE.exec(text) ?? [];
  if (action !== '*' && !isSecretAction(action)) return { ok: false };
  const pattern = parseScopePattern(patternText);
  return pattern === undefined ? { ok: false } : { ok: true, scope: { kind: 'secrets', action, pattern } };
}

/** The text that `parseGrantedScope` reads as this scope. */
export function formatScope(scope: Scope): string {
  return scope.kind === 'namespaces' ? 'namespaces:read' : `secrets:${scope.action}:${scope.pattern.text}`;
}

/** Whether `parseScope` reads the text as this scope, told without reading it. */
export function isTextOf(scope: Scope, text: string): boolean {
  if (typeof text !== 'string' || text.length > MAX_SCOPE_LENGTH) return false;
  if (scope.kind === 'namespaces') return text === formatScope(scope);
  const { action, pattern } = scope;
  const start = `secrets:${action}:`;
  return (
    text.length === start.length + pattern.text.length &&
    text.endsWith(pattern.text) &&
    text.startsWith(start)
  );
}

/** Without repetitions, in the order of their first places. */
export function distinctScopes(scopes: readonly Scope[]): readonly Scope[] {
  if (scopes.length < 2) return scopes;
  return [...new Map(scopes.map((scope) => [formatScope(scope), scope])).values()];
}

/** Whether any one of the scopes names both the action and the path. */
export function scopesAllow(scopes: readonly Scope[], action: SecretAction, secret: SecretPath): boolean {
  return (
    isSecretAction(action) &&
    scopes.some(
      (scope) =>
        scope.kind === 'secrets' &&
        (scope.action === '*' || scope.action === action) &&
        patternMatches(scope.pattern, secret.segments),
    )
  );
}

/** What is left of the scopes for one action: `secrets:*:a/*` leaves `secrets:read:a/*` for `read`. */
export function scopesForAction(scopes: readonly Scope[], action: SecretAction): readonly SecretsScope[] {
  return scopes.flatMap((scope) => {
    if (scope.kind !== 'secrets' || (scope.action !== '*' && scope.action !== action)) return [];
    return [{ ...scope, action }];
  });
}

function isSecretAction(text: string): text is SecretAction {
  return SECRET_ACTIONS.some((action) => action === text);
}
