/** The HTTP application: mounts the routes of the contract, checks what comes in, answers errors as problem+json. */
import { type Context, Hono } from "hono";
import {
  type Caller,
  type Clock,
  entityText,
  type Log,
  type ModelkeepError,
  parseJson,
  toModelkeepError,
  toProblem,
} from "../base/index.ts";
import { openApiDocument, type Route } from "../contract/index.ts";
import { PrincipalLimiter } from "../gateway/index.ts";
import { readBodyBounded } from "./body.ts";
import { BodyBudget, type BodyShare } from "./budget.ts";
import { serverError } from "./errors.ts";
import type { Implementation, RouteRequest } from "./handler.ts";
import { SERVER_LIMITS } from "./limits.ts";
import type { Metrics } from "./metrics.ts";
import { requestOrigin } from "./origins.ts";

export interface AppPorts {
  readonly implementations: readonly Implementation[];
  /** The OAuth endpoints, which speak forms and not JSON. */
  readonly oauth: Hono;
  authenticate(request: {
    authorization: string | undefined;
    dpop: string | undefined;
    method: string;
    url: string;
  }): Promise<Caller>;
  /** Throws when the server must not get traffic. */
  ready(): Promise<void>;
  /** `scheme://host[:port]` by which clients may address this server. */
  readonly origins: () => ReadonlySet<string>;
  readonly scheme: "http" | "https";
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
}

export function createApp(ports: AppPorts): Hono {
  const app = new Hono();
  app.use(async (c, next) => {
    const started = ports.clock.monotonic();
    await next();
    c.res.headers.set("cache-control", "no-store");
    c.res.headers.set("x-content-type-options", "nosniff");
    const seconds = (ports.clock.monotonic() - started) / 1000;
    ports.metrics.countRequest(c.req.method, c.res.status, seconds);
    ports.log.debug("request", { method: c.req.method, path: c.req.path, status: c.res.status, seconds });
  });
  mountProbes(app, ports);
  app.use(async (c, next) => {
    const host = c.req.header("host") ?? "";
    if (
      !ports.origins().has(`${ports.scheme}://${host.toLowerCase()}`) &&
      !ports.origins().has(`https://${host.toLowerCase()}`)
    ) {
      throw serverError("MISDIRECTED");
    }
    await next();
  });
  mountMetrics(app, ports);
  app.get("/openapi.json", (c) =>
    c.json(
      openApiDocument(
        ports.implementations.map(({ route }) => route),
        ports.version,
      ),
    ),
  );
  app.route("/", ports.oauth);
  const limiter = new PrincipalLimiter(SERVER_LIMITS, ports.clock);
  const doors = { limiter, budget: new BodyBudget() };
  for (const implementation of ports.implementations) mountRoute(app, implementation, ports, doors);
  app.notFound((c) =>
    problemResponse(serverError("NO_SUCH_ROUTE", { detail: `${c.req.method} ${c.req.path.slice(0, 200)}` })),
  );
  app.onError((error) => {
    const known = toModelkeepError(error);
    if (known.status >= 500) ports.log.error("request failed", { code: known.code, error });
    return problemResponse(known);
  });
  return app;
}

function mountProbes(app: Hono, ports: AppPorts): void {
  app.get("/healthz", (c) => c.text("ok\n"));
  app.get("/readyz", async (c) => {
    try {
      await ports.ready();
      return c.text("ready\n");
    } catch (error) {
      return problemResponse(serverError("NOT_READY", { cause: error }));
    }
  });
}

/** Behind the check of the host: names of models and their use are nothing for a page in somebody's browser. */
function mountMetrics(app: Hono, ports: AppPorts): void {
  app.get("/metrics", (c) =>
    c.text(ports.metrics.render(), 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }),
  );
}

interface Doors {
  readonly limiter: PrincipalLimiter;
  readonly budget: BodyBudget;
}

function mountRoute(app: Hono, implementation: Implementation, ports: AppPorts, { limiter, budget }: Doors): void {
  const { route } = implementation;
  const path = route.path.replace(/\{(\w+)\}/g, ":$1");
  app.on(route.method, path, async (c) => {
    if (Number(c.req.header("content-length") ?? 0) > route.maxBodyBytes) throw tooLarge(route);
    const url = absoluteUrl(c.req.url, c.req.header("host") ?? "", ports);
    const caller =
      route.auth === "token"
        ? await ports.authenticate({
            authorization: c.req.header("authorization"),
            dpop: c.req.header("dpop"),
            method: c.req.method,
            url,
          })
        : undefined;
    const principal = caller && entityText(caller.principal);
    const leave = principal === undefined ? undefined : limiter.enter(principal);
    const share = principal === undefined ? undefined : budget.share(principal);
    try {
      return await answer(c, implementation, { url, caller, share });
    } finally {
      share?.end();
      leave?.();
    }
  });
}

interface Asked {
  readonly url: string;
  readonly caller: Caller | undefined;
  readonly share: BodyShare | undefined;
}

async function answer(c: Context, { route, handle }: Implementation, { url, caller, share }: Asked) {
  const raw = route.method === "GET" ? c.req.query() : await readBody(c.req.raw, route, share);
  const parsed = route.body.safeParse(raw ?? {});
  if (!parsed.success) throw invalidBody(parsed.error.issues);
  const request: RouteRequest<unknown> = {
    params: c.req.param() as Record<string, string>,
    body: parsed.data,
    method: c.req.method,
    url,
    header: (name) => c.req.header(name),
  };
  return c.json(route.reply.parse(await handle(request, caller)) ?? null);
}

/** The URL that a proof must name: the origin the client used, which the host check has already allowed. */
export function absoluteUrl(url: string, host: string, ports: Pick<AppPorts, "origins" | "scheme">): string {
  const parsed = new URL(url);
  return `${requestOrigin(host, ports.scheme, ports.origins())}${parsed.pathname}${parsed.search}`;
}

async function readBody(request: Request, route: Route, share: BodyShare | undefined): Promise<unknown> {
  const bytes = await readBodyBounded(request, route.maxBodyBytes, (size) => share?.take(size));
  if (!bytes) throw tooLarge(route);
  return bytes.length === 0
    ? undefined
    : parseJson(bytes, { maxBytes: route.maxBodyBytes, maxValues: SERVER_LIMITS.bodyValues, what: "body" });
}

function tooLarge({ id, maxBodyBytes }: Route): ModelkeepError {
  return serverError("BODY_TOO_LARGE", { detail: `the limit of ${id} is ${maxBodyBytes} bytes` });
}

function invalidBody(
  issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[],
): ModelkeepError {
  const detail = issues
    .slice(0, 5)
    .map((issue) => `${issue.path.map(String).join(".") || "body"}: ${issue.message}`)
    .join("; ");
  return serverError("INVALID_BODY", { detail });
}

export function problemResponse(error: ModelkeepError): Response {
  const headers: Record<string, string> = { "content-type": "application/problem+json" };
  if (error.status === 401) headers["www-authenticate"] = 'DPoP algs="ES256"';
  const retryAfter = error.extra?.retryAfterSeconds;
  if (typeof retryAfter === "number") headers["retry-after"] = String(retryAfter);
  return new Response(JSON.stringify(toProblem(error)), { status: error.status, headers });
}
