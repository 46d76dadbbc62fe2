/** Fetches the text of a key set (RFC 7517) in Node, browsers and workers: from the named address alone, within bounds. */

const TIMEOUT_MS = 5000;
const MAX_CHARACTERS = 64 * 1024;

/** Rejects for any answer but a 2xx of moderate length within five seconds. */
export async function downloadKeySet(url: string): Promise<string> {
  const response = await fetch(url, {
    headers: { accept: 'application/json' },
    // Not `follow`: another address would choose the keys. Not `error`, which some edge runtimes do not implement;
    // with `manual` a redirect is an answer that is not ok.
    redirect: 'manual',
    signal: AbortSignal.timeout(TIMEOUT_MS),
    // A browser's own cache would keep a key that was published a moment ago from being seen. Not `no-cache`, and only
    // where the runtime knows the member: some edge runtimes throw at the one, or at both.
    ...('cache' in Request.prototype ? { cache: 'no-store' as const } : {}),
  });
  if (!response.ok) throw new Error(`the answer is ${response.status}`);
  const text = await response.text();
  if (text.length > MAX_CHARACTERS) throw new Error('the answer is too long for a key set');
  return text;
}
