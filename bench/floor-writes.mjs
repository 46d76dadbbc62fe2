/** Grouped statements for the floor: what arrives while its lanes are busy forms the next statement. */

const MAX_GROUP = 256;

/**
 * `run` takes the columns of a group's rows. Its rows, where it has any, are in the order of the group, and each is
 * handed to the caller who waits for it, after the commit.
 */
export function grouped({ lanes, columns, run }) {
  let waiting = [];
  let inFlight = 0;

  async function flush() {
    inFlight += 1;
    while (waiting.length > 0) {
      const group = waiting.slice(0, MAX_GROUP);
      waiting = waiting.slice(MAX_GROUP);
      const values = Array.from({ length: columns }, (_, column) => group.map(({ row }) => row[column]));
      try {
        const { rows } = await run(values);
        for (let at = 0; at < group.length; at += 1) group[at].resolve(rows[at]);
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    inFlight -= 1;
  }

  return (row) =>
    new Promise((resolve, reject) => {
      waiting.push({ row, resolve, reject });
      if (inFlight < lanes) void flush();
    });
}
