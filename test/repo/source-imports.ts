/**
 * Guarantees that every way in which a TypeScript file names another module is found, and nothing that a comment or
 * an ordinary text says. The compiler of this repository parses the files; they need not lie on any disk.
 */
import {
  isCallExpression,
  isExportDeclaration,
  isExternalModuleReference,
  isImportDeclaration,
  isImportEqualsDeclaration,
  isImportTypeNode,
  isLiteralTypeNode,
  isNoSubstitutionTemplateLiteral,
  isStringLiteral,
  isTemplateExpression,
  type Node,
  type SourceFile,
  SyntaxKind,
} from 'typescript/unstable/ast';
import { API } from 'typescript/unstable/async';
import { createVirtualFileSystem, type FileSystem } from 'typescript/unstable/fs';

/** Text by path, `/` between folders, relative to the root of the repository. */
export type SourceTexts = Readonly<Record<string, string>>;

export interface SourceImport {
  /** As written; undefined where a program would make it up as it runs. */
  readonly specifier: string | undefined;
  /** Gone after compilation: `import type`, `export type`, `import('…')` as a type. */
  readonly typeOnly: boolean;
}

export interface ImportReader {
  /** The imports of each file, in the order in which they stand there. */
  importsOf(texts: SourceTexts): Promise<Map<string, SourceImport[]>>;
  close(): Promise<void>;
}

/** One compiler for all that is asked: it is a process, and to start it takes longer than to read a file. */
export function createImportReader(): ImportReader {
  let files = createVirtualFileSystem({});
  const fs: FileSystem = {
    readFile: (name) => files.readFile?.(name),
    fileExists: (name) => files.fileExists?.(name),
    directoryExists: (name) => files.directoryExists?.(name),
    getAccessibleEntries: (name) => files.getAccessibleEntries?.(name),
    realpath: (name) => files.realpath?.(name),
  };
  const api = new API({ cwd: '/', fs });
  let asked = 0;
  return {
    importsOf: async (texts) => {
      asked += 1;
      // What it knows of a folder, it does not read again.
      const folder = `/virtual-${asked}`;
      files = createVirtualFileSystem(filesOf(texts, folder));
      return importsIn(api, Object.keys(texts), folder);
    },
    close: () => api.close(),
  };
}

function filesOf(texts: SourceTexts, folder: string): Record<string, string> {
  const compilerOptions = {
    noLib: true,
    noResolve: true,
    types: [],
    module: 'nodenext',
    allowImportingTsExtensions: true,
    noEmit: true,
  };
  const config = JSON.stringify({ compilerOptions, files: Object.keys(texts) });
  const files = Object.entries(texts).map(([path, text]) => [`${folder}/${path}`, text]);
  return Object.fromEntries([...files, [`${folder}/tsconfig.json`, config]]);
}

async function importsIn(
  api: API,
  paths: readonly string[],
  folder: string,
): Promise<Map<string, SourceImport[]>> {
  const project = `${folder}/tsconfig.json`;
  const snapshot = await api.updateSnapshot({ openProjects: [project] });
  const program = snapshot.getProject(project)?.program;
  const found = new Map<string, SourceImport[]>();
  for (const path of paths) {
    const source = await program?.getSourceFile(`${folder}/${path}`);
    if (program === undefined || source === undefined) throw new Error(`the compiler has not read ${path}`);
    const issues = await program.getSyntacticDiagnostics(`${folder}/${path}`);
    if (issues.length > 0) throw new Error(`${path} is not TypeScript`);
    found.set(path, importsOfSource(source));
  }
  await snapshot.dispose();
  await (await api.updateSnapshot({ closeProjects: [project] })).dispose();
  return found;
}

function importsOfSource(source: SourceFile): SourceImport[] {
  const found: SourceImport[] = source.referencedFiles.map(({ fileName }) => ({
    specifier: fileName,
    typeOnly: true,
  }));
  const seen = new Set<Node>();
  const add = (named: Node, typeOnly: boolean): void => {
    seen.add(named);
    found.push({ specifier: textOf(named), typeOnly });
  };
  const visit = (node: Node): void => {
    if (isImportDeclaration(node)) {
      add(node.moduleSpecifier, node.importClause?.phaseModifier === SyntaxKind.TypeKeyword);
    } else if (isExportDeclaration(node) && node.moduleSpecifier !== undefined) {
      add(node.moduleSpecifier, node.isTypeOnly);
    } else if (isImportEqualsDeclaration(node) && isExternalModuleReference(node.moduleReference)) {
      add(node.moduleReference.expression, node.isTypeOnly);
    } else if (isImportTypeNode(node)) {
      add(isLiteralTypeNode(node.argument) ? node.argument.literal : node.argument, true);
    } else if (isCallExpression(node) && node.expression.kind === SyntaxKind.ImportKeyword) {
      add(node.arguments[0] ?? node, false);
    } else if (!seen.has(node) && namesModule(node)) {
      add(node, false);
    }
    node.forEachChild(visit);
  };
  source.forEachChild(visit);
  return found;
}

/** Any other text that is a relative path to a module, be it for `new URL`, a worker or `require`. */
function namesModule(node: Node): boolean {
  if (isTemplateExpression(node)) {
    const end = node.templateSpans.at(-1)?.literal.text ?? '';
    return /^\.\.?\//.test(node.head.text) && /\.[cm]?[jt]s$/.test(end);
  }
  return /^\.\.?\/.*\.[cm]?[jt]s$/.test(textOf(node) ?? '');
}

function textOf(node: Node): string | undefined {
  return isStringLiteral(node) || isNoSubstitutionTemplateLiteral(node) ? node.text : undefined;
}
