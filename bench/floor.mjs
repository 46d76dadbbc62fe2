/**
 * The floor: the least that could do what each path does, durably and with an event. It parses, does the cryptography
 * that an answer needs, and writes what has an effect and its event in one grouped statement. It checks nothing: no
 * credential, no schema, no policy, no scope, no log. Environment: DATABASE_URL (an empty database), PORT.
 */

import Fastify from 'fastify';
import pg from 'pg';
import { addIntentTokens } from './floor-intents.mjs';
import { addSecrets } from './floor-secrets.mjs';
import { addVerification } from './floor-verify.mjs';

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 8 });
await pool.query(`
  create table tokens (
    jti uuid primary key, agent text not null, plan_hash text not null, merkle_root text not null,
    policy text not null, expires_at timestamptz not null
  );
  create table scoped_tokens (
    id uuid primary key, token_hash bytea not null unique, scopes text[] not null, expires_at timestamptz not null,
    max_uses int, uses int not null default 0
  ) with (fillfactor = 70);
  create table secrets (
    path text primary key, wrapped_key bytea not null, nonce bytea not null, ciphertext bytea not null
  );
  create table events (
    id uuid primary key, kind text not null, actor text not null, subject text not null,
    at timestamptz not null default now()
  )`);

const app = Fastify({ logger: false });
addIntentTokens(app, pool);
addSecrets(app, pool);
addVerification(app, pool);

process.on('SIGTERM', () => process.exit(0));
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
