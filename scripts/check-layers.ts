/**
 * Holds every import to layers.json: a package imports only from layers below its own, only through
 * the other's doors (mod.ts, and what its manifest exports besides), and declares what it imports. Draws the layers into ARCHITECTURE.md.
 * usage: scripts/node scripts/check-layers.ts [--write]
 */
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';

const root = join(import.meta.dirname, '..');

interface Layers {
  layers: { packages: string[] }[];
  holds: Record<string, string>;
  testsMayAlsoImport: string[];
}

const rules = JSON.parse(readFileSync(join(root, 'layers.json'), 'utf8')) as Layers;
const layerOf = new Map(
  rules.layers.flatMap((layer, index) => layer.packages.map((name) => [name, index] as const)),
);

interface Import {
  file: string;
  line: number;
  specifier: string;
}

function importsOf(file: string): Import[] {
  const found: Import[] = [];
  const pattern = /(?:\bfrom|\bimport|\bimport\()\s*\(?\s*'([^']+)'/g;
  const text = readFileSync(join(root, file), 'utf8');
  for (const [index, line] of text.split('\n').entries()) {
    if (/^\s*(\*|\/\/|\/\*)/.test(line)) continue;
    for (const match of line.matchAll(pattern))
      found.push({ file, line: index + 1, specifier: match[1] ?? '' });
  }
  return found;
}

function faultOf({ file, specifier }: Import): string | undefined {
  const [, from] = /^packages\/([^/]+)\//.exec(file) ?? [];
  const [, to, inner] = /^@prima\/([^/]+)(\/.*)?$/.exec(specifier) ?? [];
  if (from === undefined) return undefined;
  if (specifier.startsWith('.')) {
    const target = relative(root, join(root, file, '..', specifier));
    return target.startsWith(`packages/${from}/`) ? undefined : 'reaches into another package by path';
  }
  if (to === undefined) return undefined;
  if (inner !== undefined && !doorsOf(to).has(`.${inner}`))
    return `goes past the doors of ${to}: ${[...doorsOf(to)].join(', ')}`;
  const own = layerOf.get(from);
  const other = layerOf.get(to);
  if (own === undefined) return `package ${from} is not in layers.json`;
  if (other === undefined) return `package ${to} is not in layers.json`;
  if (from === to) return 'imports its own package by name; use a relative path';
  if (other < own) return undefined;
  const isTest = /(\.test|\/conformance|-fixture)\.ts$/.test(file);
  if (isTest && rules.testsMayAlsoImport.includes(to)) return undefined;
  return `${from} (layer ${own}) may not import ${to} (layer ${other}): only layers below its own`;
}

/** What a package's manifest exports: `.`, and further doors where what it gives is not for everybody to load. */
function doorsOf(name: string): Set<string> {
  const path = join(root, 'packages', name, 'package.json');
  if (!existsSync(path)) return new Set();
  const { exports } = JSON.parse(readFileSync(path, 'utf8')) as { exports?: string | Record<string, string> };
  return new Set(typeof exports === 'object' ? Object.keys(exports) : ['.']);
}

function undeclared(imports: readonly Import[]): string[] {
  return [...layerOf.keys()].flatMap((name) => {
    const manifest = JSON.parse(readFileSync(join(root, 'packages', name, 'package.json'), 'utf8')) as {
      dependencies?: Record<string, string>;
      devDependencies?: Record<string, string>;
    };
    const declared = { ...manifest.dependencies, ...manifest.devDependencies };
    const used = new Set(
      imports
        .filter((i) => i.file.startsWith(`packages/${name}/`) && i.specifier.startsWith('@prima/'))
        .map((i) => i.specifier.split('/').slice(0, 2).join('/')),
    );
    return [...used]
      .filter((specifier) => !(specifier in declared))
      .map((specifier) => `packages/${name}/package.json: uses ${specifier} but does not declare it`);
  });
}

function picture(): string {
  const width = Math.max(...Object.values(rules.holds).map((text) => text.length));
  const name = Math.max(...[...layerOf.keys()].map((key) => key.length));
  const rows = rules.layers.toReversed().map((layer, index) => {
    const number = rules.layers.length - 1 - index;
    return layer.packages
      .map(
        (key, i) =>
          `│ ${i === 0 ? number : ' '} │ ${key.padEnd(name)} │ ${(rules.holds[key] ?? '').padEnd(width)} │`,
      )
      .join('\n');
  });
  const rule = (left: string, mid: string, right: string) =>
    `${left}───${mid}${'─'.repeat(name + 2)}${mid}${'─'.repeat(width + 2)}${right}`;
  const body = rows.join(`\n${rule('├', '┼', '┤')}\n`);
  return `${rule('┌', '┬', '┐')}\n${body}\n${rule('└', '┴', '┘')}`;
}

function drawn(document: string): string {
  const pattern = /(<!-- layers:begin -->)[\s\S]*?(<!-- layers:end -->)/;
  if (!pattern.test(document))
    throw new Error('ARCHITECTURE.md has no <!-- layers:begin --> … <!-- layers:end -->');
  return document.replace(pattern, `$1\n\n\`\`\`\n${picture()}\n\`\`\`\n\n$2`);
}

const files = globSync('packages/*/src/**/*.{ts,tsx}', { cwd: root });
const imports = files.flatMap(importsOf);
const faults = imports.flatMap((item) => {
  const fault = faultOf(item);
  return fault === undefined ? [] : [`${item.file}:${item.line}: '${item.specifier}' ${fault}`];
});
faults.push(...undeclared(imports));
for (const name of layerOf.keys()) {
  if (!files.some((file) => file.startsWith(`packages/${name}/`)))
    faults.push(`layers.json: no files of ${name}`);
}
if (files.length === 0 || imports.length === 0) faults.push('scanned nothing: the check itself is broken');

const architecture = join(root, 'ARCHITECTURE.md');
const before = readFileSync(architecture, 'utf8');
const after = drawn(before);
if (process.argv.includes('--write')) writeFileSync(architecture, after);
else if (after !== before) faults.push('ARCHITECTURE.md: the layer picture is old; run: npm run layers');

if (faults.length > 0) {
  console.error(faults.join('\n'));
  process.exit(1);
}
console.log(`layers: ${imports.length} imports of ${files.length} files are in order`);
