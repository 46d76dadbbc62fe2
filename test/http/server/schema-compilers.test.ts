/** Schemas are compiled when they are first needed, so what a start would say of one that cannot be is said here. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { test } from 'node:test';
import type { FastifyInstance, RouteOptions } from 'fastify';
import { whenFirstNeeded } from '../../../src/http/server/create-server.ts';
import { compileSerializer, compileValidator } from '../../../src/http/server/schema-compilers.ts';
import { buildTestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';

const PARTS = ['body', 'querystring', 'params', 'headers'] as const;

type Compile = (route: object) => (value: unknown) => unknown;

test('every schema of every endpoint can be compiled', { skip: postgresSkip }, async (t) => {
  const schemas = new Map<string, { compile: Compile; route: object }>();
  const add = (compile: unknown, route: { readonly schema: unknown }) =>
    schemas.set(JSON.stringify(route.schema), { compile: compile as Compile, route });
  const listen = (message: unknown): void => {
    const { fastify } = message as { fastify: FastifyInstance };
    fastify.addHook('onRoute', ({ method, url, schema = {} }: RouteOptions) => {
      for (const httpPart of PARTS) {
        if (schema[httpPart] !== undefined) {
          add(compileValidator, { ...{ method, url, httpPart }, schema: schema[httpPart] });
        }
      }
      for (const [httpStatus, answer] of Object.entries(schema.response ?? {})) {
        add(compileSerializer, { ...{ method, url, httpStatus }, schema: answer });
      }
    });
  };
  subscribe('fastify.initialization', listen);
  t.after(() => unsubscribe('fastify.initialization', listen));
  await buildTestApp(t);
  assert.ok(schemas.size > 50, `${schemas.size}`);
  for (const { compile, route } of schemas.values()) {
    assert.equal(typeof compile(route), 'function', JSON.stringify(route));
  }
});

test('a schema is compiled by the first value that is held against it, and once', () => {
  let compiled = 0;
  const compilerOf = whenFirstNeeded((route: object) => {
    compiled += 1;
    return (compileValidator as unknown as Compile)(route);
  }) as (
    route: object,
  ) => ((value: unknown) => unknown) & { errors?: readonly { message?: string }[] | null };
  const at = { method: 'POST', url: '/', httpPart: 'body' };
  const broken = compilerOf({ ...at, schema: { type: 'nonsense' } });
  const validate = compilerOf({ ...at, schema: { type: 'object', required: ['a'] } });
  assert.equal(compiled, 0);
  assert.throws(() => broken({}), /type/);
  assert.equal(validate({}), false);
  assert.match(validate.errors?.[0]?.message ?? '', /'a'/);
  assert.equal(validate({ a: 1 }), true);
  assert.equal(validate.errors, null);
  assert.equal(compiled, 2);
});
