/**
 * Guarantees a TCP port of 127.0.0.1 that nothing listened on a moment ago. Another process may take it before
 * the caller does, so a caller that can must try again with a new one.
 */
import { createServer } from 'node:net';

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      if (address === null || typeof address === 'string') {
        reject(new Error('the probe has no TCP address'));
        return;
      }
      probe.close(() => resolve(address.port));
    });
  });
}
