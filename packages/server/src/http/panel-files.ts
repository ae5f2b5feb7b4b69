/** The panel: files of one folder, with the page itself for every path that is none. */
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { systemErrorCode } from '@prima/base';
import type { Hono } from 'hono';
import type { Bindings } from './request.ts';

const types: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.json': 'application/json',
};

export function addPanel(app: Hono<Bindings>, folder: string): void {
  app.get('*', async (context) => {
    const path = normalize(decodeURIComponent(context.req.path));
    const isAsset = path.startsWith('/assets/');
    const file = isAsset || extname(path) !== '' ? await contentOf(folder, path) : undefined;
    const body = file ?? (isAsset ? undefined : await contentOf(folder, '/index.html'));
    if (!body) return context.notFound();
    const type = types[file ? extname(path) : '.html'] ?? 'application/octet-stream';
    // names of assets have a digest of what is in them
    const caching = file && isAsset ? 'public, max-age=31536000, immutable' : 'no-cache';
    return context.body(new Uint8Array(body), 200, { 'content-type': type, 'cache-control': caching });
  });
}

async function contentOf(folder: string, path: string): Promise<Buffer | undefined> {
  const file = join(folder, path);
  if (!file.startsWith(`${folder}/`) || path.includes('\0')) return undefined;
  try {
    return await readFile(file);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'EISDIR' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}
