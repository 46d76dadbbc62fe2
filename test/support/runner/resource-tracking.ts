/**
 * The part of `node:test` that follows every promise, timer and socket, to know which test made it. That takes a sixth
 * of a short run's processor time. What it is needed for is to tell in which suite a test stands that is being declared;
 * beyond that it names the test of an error that nobody caught.
 */
import { type AsyncHook, createHook } from 'node:async_hooks';
import { before } from 'node:test';

export type Tracking = Pick<AsyncHook, 'enable' | 'disable'>;

/** Called ahead of the first test of the process. Does nothing under a Node.js that follows them in another way. */
export function trackingOfTests(): Tracking | undefined {
  const hooks = Object.getPrototypeOf(createHook({})) as AsyncHook;
  const { enable } = hooks;
  let tracking: AsyncHook | undefined;
  hooks.enable = function enableAndTell(this: AsyncHook) {
    tracking ??= this;
    return enable.call(this);
  };
  try {
    // The first word to `node:test` makes it set itself up.
    before(() => undefined);
  } finally {
    hooks.enable = enable;
  }
  return tracking;
}
