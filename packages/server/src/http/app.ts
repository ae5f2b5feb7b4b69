/** The HTTP side of the server, without its socket. */
import { PrimaError } from '@prima/base';
import { Hono } from 'hono';
import manifest from '../../package.json' with { type: 'json' };
import { providerId } from '../accounts/sessions.ts';
import type { Service } from '../service/service.ts';
import { checkAudience } from './access.ts';
import { addDocs } from './docs-page.ts';
import { metricsOf } from './metrics.ts';
import { openApiDocument } from './openapi.ts';
import { addOperations } from './operation-routes.ts';
import { addPanel } from './panel-files.ts';
import { problemAnswer } from './problem-answer.ts';
import { addressOf, type Bindings, Requests } from './request.ts';
import { addResources } from './resource-routes.ts';

export interface AppOptions {
  /** Over TLS: cookies are for that alone. */
  isSecure: boolean;
  /** The panel's files. */
  panel?: string | undefined;
}

const policy =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";
const loopback = new Set(['127.0.0.1', '::1', '::ffff:127.0.0.1']);

export function buildApp(service: Service, { isSecure, panel }: AppOptions): Hono<Bindings> {
  const app = new Hono<Bindings>();
  const requests = new Requests(service, isSecure);
  app.use(async (context, next) => {
    await next();
    context.header('content-security-policy', policy);
    context.header('x-content-type-options', 'nosniff');
    context.header('referrer-policy', 'no-referrer');
    context.header('x-frame-options', 'DENY');
    if (isSecure) context.header('strict-transport-security', 'max-age=31536000');
  });
  app.onError((error, context) =>
    problemAnswer(error, `answering ${context.req.method} ${context.req.path}`, service.logger),
  );
  app.get('/healthz', async (context) => {
    await service.state.db.selectFrom('organisation').select('id').limit(1).execute();
    return context.json({ ok: true });
  });
  app.get('/metrics', async (context) => {
    if (!loopback.has(addressOf(context))) {
      const caller = await requests.callerOf(context);
      checkAudience(caller, 'viewer');
      if (caller?.organisation !== providerId) checkAudience(caller, 'provider');
    }
    return context.text(await metricsOf(service), 200, { 'content-type': 'text/plain; version=0.0.4' });
  });
  const document = openApiDocument(manifest.version);
  app.get('/api/v1/openapi.json', (context) => context.json(document));
  addDocs(app);
  addResources(app, service, requests);
  addOperations(app, service, requests);
  app.all('/api/*', (context) => {
    throw new PrimaError('not-found', `there is no ${context.req.method} ${context.req.path}`);
  });
  if (panel !== undefined) addPanel(app, panel);
  return app;
}
