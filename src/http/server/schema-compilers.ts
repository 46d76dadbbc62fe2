/**
 * What checks requests and writes answers: each schema is compiled once in a process. Every endpoint has the same envelope
 * for each of its errors, and compiling one costs more than a thousand requests do.
 */

import { AjvCompiler } from '@fastify/ajv-compiler';
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler';
import { AJV_OPTIONS } from './validation.ts';

export const compileValidator = AjvCompiler()({}, { customOptions: AJV_OPTIONS });
export const compileSerializer = SerializerSelector()({}, {});

/** For Fastify's `compilersFactory`. A schema refers to nothing outside itself, and is told from others by its text. */
export const SCHEMA_COMPILERS = {
  buildValidator: constant(onceForEachText(compileValidator)),
  buildSerializer: constant(onceForEachText(compileSerializer)),
};

function constant<Value>(value: Value): () => Value {
  return () => value;
}

/** The routes are all that is compiled, so what is kept does not grow. */
function onceForEachText<Route, Compiled>(compile: (route: Route) => Compiled): (route: Route) => Compiled {
  const compiled = new Map<string, Compiled>();
  return (route) => {
    // The types of Ajv's compiler promise the schema alone; Fastify gives both compilers a route that has one.
    const text = JSON.stringify((route as { readonly schema?: unknown }).schema);
    const known = compiled.get(text) ?? compile(route);
    compiled.set(text, known);
    return known;
  };
}
