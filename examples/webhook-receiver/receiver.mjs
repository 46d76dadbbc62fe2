// Receives what Writ tells its webhook (Standard Webhooks) and prints it, once the signature is verified.
// APPROVAL_WEBHOOK_SECRET is the one that Writ has. Needs: npm i standardwebhooks
import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';

const webhook = new Webhook(process.env.APPROVAL_WEBHOOK_SECRET);
const seen = new Set();

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  // The signature is over the bytes as they were sent.
  const body = Buffer.concat(chunks).toString('utf8');
  try {
    webhook.verify(body, request.headers);
  } catch {
    response.writeHead(401).end();
    console.log('refused: the signature does not fit');
    return;
  }
  // A notice comes at least once: what was seen before is not news.
  const id = request.headers['webhook-id'];
  const isNew = !seen.has(id);
  seen.add(id);
  response.writeHead(204).end();
  if (!isNew) return;
  const { type, data } = JSON.parse(body);
  console.log(
    type.startsWith('approval.')
      ? `${type} ${data.id}: ${data.agent_name} asks for ${data.scopes.join(' ')} (${data.access_tier})`
      : `${type}: ${JSON.stringify(data)}`,
  );
});

server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
