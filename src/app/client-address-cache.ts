/** Whose request it is, worked out once for each peer. */

import { clientAddress, rateLimitKey } from '../domain/network/client-address.ts';
import type { AddressBlock } from '../domain/network/ip-address.ts';
import type { ReadClient } from '../http/server/request-state.ts';

export const MAX_KNOWN_PEERS = 1000;

export function readClientBehind(trustedProxies: readonly AddressBlock[]): ReadClient {
  const read = (from: Parameters<ReadClient>[0]): ReturnType<ReadClient> => {
    const client = clientAddress({ ...from, trustedProxies });
    const address = client.ok ? client.address : client.seen;
    return { address, origin: rateLimitKey(address) };
  };
  // One peer asks many times: what its address reads as is worked out once.
  const known = new Map<string, ReturnType<ReadClient>>();
  return (from) => {
    if (from.forwardedFor !== undefined) return read(from);
    const remembered = known.get(from.peer);
    if (remembered !== undefined) return remembered;
    const client = read(from);
    if (known.size >= MAX_KNOWN_PEERS) known.clear();
    known.set(from.peer, client);
    return client;
  };
}
