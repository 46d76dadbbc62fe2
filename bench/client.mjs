/**
 * The one client for every server: autocannon in a process of its own. Reads one job as JSON from standard input and
 * writes autocannon's result as JSON. Each connection goes round a part of the asks that no other connection has, as
 * far as there are enough of them.
 */

import { text } from 'node:stream/consumers';
import autocannon from 'autocannon';

const { origin, asks, connections, seconds } = JSON.parse(await text(process.stdin));

let started = 0;
function setupClient(client) {
  const first = started % connections;
  started += 1;
  const own = asks.filter((_, index) => index % connections === first);
  // Copies: autocannon keeps the bytes of a request in it.
  client.setRequests((own.length > 0 ? own : [asks[first % asks.length]]).map((ask) => ({ ...ask })));
}

const result = await autocannon({ url: origin, connections, duration: seconds, setupClient });
process.stdout.write(JSON.stringify(result));
