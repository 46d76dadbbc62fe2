/**
 * What this process recently learnt about API keys, so that a warm key costs no bcrypt. Keyed by a fingerprint that
 * it is given, never by the key itself; bounded in number and in time. It is never proof of liveness: every request
 * that it lets through is judged by the live rows as well.
 */

export interface CredentialMemory<Fact> {
  /** The name under which a key's fact is kept; opaque. */
  fingerprint(keyText: string): string;
  recall(fingerprint: string): Fact | undefined;
  remember(fingerprint: string, fact: Fact): void;
  /** Changes what is known without extending how long; nothing where nothing is known. */
  replace(fingerprint: string, fact: Fact): void;
  forget(fingerprint: string): void;
}

export function createCredentialMemory<Fact>(options: {
  maxEntries: number;
  /** At most 60,000 (contract section 2). */
  maxAgeMs: number;
  monotonicMs: () => number;
  /** Names a key's fact; only this process can make the name of a key. */
  fingerprint: (keyText: string) => string;
}): CredentialMemory<Fact> {
  const entries = new Map<string, { fact: Fact; until: number }>();
  return {
    fingerprint: options.fingerprint,
    recall: (fingerprint) => {
      const entry = entries.get(fingerprint);
      if (entry === undefined) return undefined;
      if (entry.until > options.monotonicMs()) return entry.fact;
      entries.delete(fingerprint);
      return undefined;
    },
    remember: (fingerprint, fact) => {
      entries.delete(fingerprint);
      if (entries.size >= options.maxEntries) {
        // A Map iterates in insertion order: the first is the oldest.
        const oldest = entries.keys().next();
        if (!oldest.done) entries.delete(oldest.value);
      }
      entries.set(fingerprint, { fact, until: options.monotonicMs() + options.maxAgeMs });
    },
    replace: (fingerprint, fact) => {
      const entry = entries.get(fingerprint);
      if (entry !== undefined) entry.fact = fact;
    },
    forget: (fingerprint) => void entries.delete(fingerprint),
  };
}
