/**
 * Where everything that a process remembers of rows is registered, and dropped at once: whenever a connection to the
 * database was lost, and whenever a new one finds a server with another history. A number or a row version that was
 * remembered may be given again there, to something else.
 */

import type { Forgetting, Memories } from '../../use-cases/ports.ts';

export function createMemories(): Memories {
  const known: { readonly name: string; readonly forget: (why: Forgetting) => void }[] = [];
  let generation = 0;
  return {
    add: (name, forget) => void known.push({ name, forget }),
    generation: () => generation,
    names: () => known.map(({ name }) => name),
    forgetAll: (why) => {
      generation += 1;
      for (const { forget } of known) forget(why);
    },
  };
}
