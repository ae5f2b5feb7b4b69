/** A reader of the OpenAPI document at `/api/docs`: Swagger UI's files from its package, and nothing from elsewhere. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Hono } from 'hono';
import type { Bindings } from './request.ts';

const page = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <link rel="icon" href="/icon.svg" />
    <title>API – Prima</title>
    <link rel="stylesheet" href="/api/docs/swagger-ui.css" />
  </head>
  <body>
    <main id="docs"></main>
    <noscript>This reader needs JavaScript; the document is at /api/v1/openapi.json.</noscript>
    <script src="/api/docs/swagger-ui-bundle.js"></script>
    <script src="/api/docs/start.js"></script>
  </body>
</html>
`;

/** Only what changes nothing can be sent from here: with the session's cookie, and without its csrf. */
const start = `SwaggerUIBundle({
  url: '/api/v1/openapi.json',
  dom_id: '#docs',
  docExpansion: 'list',
  filter: true,
  supportedSubmitMethods: ['get'],
  validatorUrl: null,
});
`;

const script = 'text/javascript; charset=utf-8';
const files = [
  {
    name: 'swagger-ui.css',
    place: () => import.meta.resolve('swagger-ui-dist/swagger-ui.css'),
    type: 'text/css; charset=utf-8',
  },
  {
    name: 'swagger-ui-bundle.js',
    place: () => import.meta.resolve('swagger-ui-dist/swagger-ui-bundle.js'),
    type: script,
  },
];

export function addDocs(app: Hono<Bindings>): void {
  app.get('/api/docs', (context) => context.html(page));
  app.get('/api/docs/start.js', (context) => context.body(start, 200, { 'content-type': script }));
  for (const { name, place, type } of files)
    app.get(`/api/docs/${name}`, async (context) => {
      const file = await readFile(fileURLToPath(place()));
      return context.body(file, 200, { 'content-type': type, 'cache-control': 'no-cache' });
    });
}
