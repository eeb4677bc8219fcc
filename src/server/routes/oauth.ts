/** The OAuth endpoints: the token exchange (RFC 8693) and its metadata (RFC 8414). Errors are those of RFC 6749. */
import { Hono } from "hono";
import { entityText, ModelkeepError } from "../../base/index.ts";
import { GRANT_TYPE, TOKEN_LIMITS, TOKEN_PATH, TOKEN_TYPES, type TokenService } from "../../tokens/index.ts";
import { readBodyBounded } from "../body.ts";

export interface OauthPorts {
  readonly tokens: Pick<TokenService, "exchange">;
  /** The absolute URL of a request as the client addressed it, from its own URL and its Host header. */
  readonly urlOf: (url: string, host: string) => string;
}

const FORM = "application/x-www-form-urlencoded";
const OAUTH_ERRORS = new Set(["INVALID_GRANT", "INVALID_DPOP_PROOF", "INVALID_REQUEST", "UNSUPPORTED_GRANT_TYPE"]);

export function oauthApp({ tokens, urlOf }: OauthPorts): Hono {
  const app = new Hono();
  app.post(TOKEN_PATH, async (c) => {
    const type = c.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
    if (type !== FORM) return refuse("invalid_request", 415);
    const bytes = await readBodyBounded(c.req.raw, TOKEN_LIMITS.formBytes);
    if (!bytes) return refuse("invalid_request", 413);
    const form = new URLSearchParams(new TextDecoder().decode(bytes));
    try {
      const url = urlOf(c.req.url, c.req.header("host") ?? "");
      const issued = await tokens.exchange({ form, dpop: c.req.header("dpop"), url });
      return json(200, {
        access_token: issued.accessToken,
        issued_token_type: TOKEN_TYPES.accessToken,
        token_type: "DPoP",
        expires_in: issued.expiresInSeconds,
        principal: entityText(issued.principal),
      });
    } catch (error) {
      if (error instanceof ModelkeepError && OAUTH_ERRORS.has(error.code)) return refuse(error.code.toLowerCase(), 400);
      throw error;
    }
  });
  app.get("/.well-known/oauth-authorization-server", (c) =>
    json(200, metadata(new URL(urlOf(c.req.url, c.req.header("host") ?? "")).origin)),
  );
  return app;
}

function metadata(issuer: string) {
  return {
    issuer,
    token_endpoint: issuer + TOKEN_PATH,
    grant_types_supported: [GRANT_TYPE],
    response_types_supported: [],
    token_endpoint_auth_methods_supported: ["none"],
    dpop_signing_alg_values_supported: ["ES256"],
  };
}

function refuse(error: string, status: number): Response {
  return json(status, { error });
}

/** RFC 6749, section 5.1: no cache may keep an answer that holds a token. */
function json(status: number, body: unknown): Response {
  const headers = { "content-type": "application/json", "cache-control": "no-store", pragma: "no-cache" };
  return new Response(JSON.stringify(body), { status, headers });
}
