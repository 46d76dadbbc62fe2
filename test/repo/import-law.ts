/**
 * The import law of `docs/architecture.md`, as a function from source texts to what breaks it: which layer may import
 * which, the order of the subjects inside a layer, no circle of folders or files, and the shape of a file.
 */
import { basename, dirname, join } from 'node:path/posix';
import type { SourceImport, SourceTexts } from './source-imports.ts';

/** Imports by the file that has them. */
export type Imports = ReadonlyMap<string, readonly SourceImport[]>;

const DECIDING = ['errors', 'domain'];
const BELOW = [...DECIDING, 'use-cases', 'keys', 'storage', 'http', 'platform', 'config'];

/** What a layer may import beside itself. `ports`: the types of any `ports.ts` as well. */
export const LAYERS: Readonly<
  Record<string, { readonly imports: readonly string[]; readonly ports?: true }>
> = {
  errors: { imports: [] },
  domain: { imports: ['errors'] },
  'use-cases': { imports: DECIDING },
  keys: { imports: DECIDING, ports: true },
  storage: { imports: DECIDING, ports: true },
  http: { imports: [...DECIDING, 'use-cases'] },
  platform: { imports: ['errors'], ports: true },
  config: { imports: DECIDING },
  start: { imports: BELOW },
  app: { imports: [...BELOW, 'start'] },
  server: { imports: [...BELOW, 'start', 'app'] },
  commands: { imports: [...BELOW, 'start', 'app', 'server'] },
  cli: { imports: [...BELOW, 'start', 'app', 'server', 'commands'] },
  verify: { imports: DECIDING },
};

const CONFIGURATION = ['setting-kinds', 'settings-table'];

/** A subject may import those of the lines above its own. */
const SUBJECT_ORDER = [
  ['notices'],
  ['audit'],
  ['authentication'],
  ['principals', 'signing-keys'],
  ['emergency'],
  ['secrets', 'intent-tokens'],
  ['scoped-tokens'],
  ['approvals'],
];

/** In `http/routes` the name of a file begins with its resource. */
const RESOURCES: Readonly<Record<string, string>> = {
  agent: 'principals',
  me: 'principals',
  'own-key': 'principals',
  'policy-bundle': 'principals',
  jwks: 'signing-keys',
  'intent-token': 'intent-tokens',
  verification: 'intent-tokens',
  tool: 'intent-tokens',
  report: 'intent-tokens',
  sdk: 'intent-tokens',
  secret: 'secrets',
  namespace: 'secrets',
  'scoped-token': 'scoped-tokens',
  approval: 'approvals',
  audit: 'audit',
  emergency: 'emergency',
  health: 'none',
};

const MAX_LINES = 250;
/** One long list of like entries each. */
const TABLES = [
  'src/errors.ts',
  'src/settings-table.ts',
  'src/storage/schema.ts',
  'src/storage/engine/sealed-rows.ts',
];
const MOST_LINES = 150;

/** Every breach, as `rule: what breaks it`, in an order that depends on the files alone. */
export function breachesOf(texts: SourceTexts, imports: Imports): string[] {
  const edges: Edge[] = [];
  const breaches: string[] = [];
  for (const [from, named] of imports) {
    for (const { specifier, typeOnly } of named) {
      const found = resolveImport(from, specifier, texts);
      if (typeof found === 'string') breaches.push(found);
      else if (found !== undefined) edges.push({ from, to: found.to, typeOnly });
    }
  }
  breaches.push(
    ...edges.flatMap((edge) => [...layerBreach(edge), ...subjectBreach(edge)]),
    ...circles(edges).map((circle) => `circle of files: ${circle.join(', ')}`),
    ...circles(edges.flatMap(folderEdge)).map((circle) => `circle of folders: ${circle.join(', ')}`),
    ...Object.keys(texts).flatMap((path) => placeBreach(path)),
    ...nameBreaches(Object.keys(texts)),
    ...shapeBreaches(texts),
  );
  return [...new Set(breaches)].sort();
}

interface Edge {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

/** A file of `src`; a breach; or undefined for a package, which is lint's business. */
function resolveImport(
  from: string,
  specifier: string | undefined,
  texts: SourceTexts,
): { to: string } | string | undefined {
  if (specifier === undefined) return `computed import: ${from}`;
  if (/^\.\.?\//.test(specifier)) {
    const to = join(dirname(from), specifier);
    return texts[to] === undefined ? `no such file in src: ${from} → ${specifier}` : { to };
  }
  // A package, a built-in module, or a path in a form that would pass by this law.
  return /^(node:)?(@[a-z0-9-]+\/)?[a-z0-9][\w./-]*$/.test(specifier) &&
    !/(^|\/)\.|^writ(\/|$)/.test(specifier)
    ? undefined
    : `no package and no relative path: ${from} → ${specifier}`;
}

/** What follows from a path alone: the law is held against a hundred sets of the same files. */
function ofPath<T>(read: (path: string) => T): (path: string) => T {
  const known = new Map<string, { readonly value: T }>();
  return (path) => {
    const found = known.get(path) ?? { value: read(path) };
    known.set(path, found);
    return found.value;
  };
}

/** The folder below `src`, or the name of a file that lies there by itself; three files make up the configuration. */
const layerOf = ofPath((path) => {
  const [, first = ''] = path.split('/');
  const name = first.replace(/\.ts$/, '');
  return CONFIGURATION.includes(name) ? 'config' : name;
});

function layerBreach({ from, to, typeOnly }: Edge): string[] {
  const [layer, other] = [layerOf(from), layerOf(to)];
  const rule = LAYERS[layer];
  if (layer === other || rule === undefined || rule.imports.includes(other)) return [];
  const isPort = other === 'use-cases' && basename(to) === 'ports.ts';
  if (!(rule.ports && isPort)) return [`layer: ${from} → ${to}`];
  return typeOnly ? [] : [`value of a port: ${from} → ${to}`];
}

const subjectOf = ofPath((path) => {
  const [, layer, folder, ...rest] = path.split('/');
  if (rest.length === 0) return undefined;
  return layer === 'http' && folder === 'routes' ? resourceOf(path) : folder;
});

/** The longest first. */
const PREFIXES = Object.keys(RESOURCES).sort((a, b) => b.length - a.length);

function resourceOf(path: string): string | undefined {
  const prefix = PREFIXES.find((resource) => basename(path).startsWith(`${resource}-`));
  return prefix === undefined ? undefined : RESOURCES[prefix];
}

function subjectBreach({ from, to }: Edge): string[] {
  if (layerOf(from) !== layerOf(to)) return [];
  const [rank, other] = [rankOf(from), rankOf(to)];
  if (subjectOf(from) === subjectOf(to) || rank === -1 || other === -1) return [];
  return other < rank ? [] : [`subject: ${from} → ${to}`];
}

const rankOf = ofPath((path) => SUBJECT_ORDER.findIndex((line) => line.includes(subjectOf(path) ?? '')));

const folderOf = ofPath((path) => path.split('/').slice(0, 3).join('/'));

/** Folders of one layer; a file that lies in none of them stands for itself. */
function folderEdge({ from, to, typeOnly }: Edge): Edge[] {
  const between = { from: folderOf(from), to: folderOf(to), typeOnly };
  return layerOf(from) === layerOf(to) && between.from !== between.to ? [between] : [];
}

/** Groups in which each reaches every other (Tarjan 1972). */
function circles(edges: readonly Edge[]): string[][] {
  const next = new Map<string, Set<string>>();
  for (const { from, to } of edges) next.set(from, (next.get(from) ?? new Set()).add(to));
  const order = new Map<string, number>();
  const low = new Map<string, number>();
  const open: string[] = [];
  const found: string[][] = [];
  const enter = (node: string): number => {
    const index = order.size;
    order.set(node, index);
    low.set(node, index);
    open.push(node);
    for (const other of next.get(node) ?? []) {
      if (!order.has(other)) low.set(node, Math.min(low.get(node) ?? 0, enter(other)));
      else if (open.includes(other)) low.set(node, Math.min(low.get(node) ?? 0, order.get(other) ?? 0));
    }
    if (low.get(node) === index) {
      const group = open.splice(open.indexOf(node));
      if (group.length > 1 || next.get(node)?.has(node)) found.push(group.sort());
    }
    return low.get(node) ?? 0;
  };
  for (const node of [...next.keys()].sort()) if (!order.has(node)) enter(node);
  return found;
}

function placeBreach(path: string): string[] {
  if (LAYERS[layerOf(path)] === undefined) return [`no layer: ${path}`];
  const isRoute = path.startsWith('src/http/routes/');
  return isRoute && resourceOf(path) === undefined ? [`no resource: ${path}`] : [];
}

function nameBreaches(paths: readonly string[]): string[] {
  const byName = new Map<string, string[]>();
  for (const path of paths) byName.set(basename(path), [...(byName.get(basename(path)) ?? []), path]);
  byName.delete('ports.ts');
  const shared = [...byName.values()].filter((same) => same.length > 1);
  return shared.map((same) => `same name: ${same.sort().join(', ')}`);
}

function shapeBreaches(texts: SourceTexts): string[] {
  const lines = Object.entries(texts).map(([path, text]) => ({
    path,
    lines: text.trimEnd().split('\n').length,
  }));
  const tooLong = lines.filter((file) => file.lines > MAX_LINES && !TABLES.includes(file.path));
  const short = lines.filter((file) => file.lines < MOST_LINES);
  const bare = Object.entries(texts).filter(([, text]) => !/^(#!.*\n)?\/\*\*/.test(text));
  return [
    ...tooLong.map((file) => `over ${MAX_LINES} lines: ${file.path}`),
    ...bare.map(([path]) => `no header comment: ${path}`),
    ...(short.length * 2 < lines.length ? [`too few files under ${MOST_LINES} lines`] : []),
  ];
}
