/** One HTTP route: the server mounts it, the client calls it, OpenAPI prints it. */
import type { z } from "zod";

export type Method = "GET" | "POST" | "PUT" | "DELETE";

/** Who may call a route: nobody in particular, a token with or without a proof of possession. */
export type RouteAuth = "none" | "token";

export interface Route<Body extends z.ZodType = z.ZodType, Reply extends z.ZodType = z.ZodType> {
  readonly id: string;
  readonly method: Method;
  /** Path with `{name}` parameters, for example `/api/v1/secrets/{name}`. */
  readonly path: string;
  readonly about: string;
  readonly auth: RouteAuth;
  /** Schema of the JSON body, or of the query parameters of a GET; all strings there. */
  readonly body: Body;
  readonly reply: Reply;
  /** Largest body in bytes. */
  readonly maxBodyBytes: number;
}

/** Largest JSON body that a route takes unless it names its own limit, in bytes. */
export const ROUTE_BODY_BYTES = 256 * 1024;

export function defineRoute<Body extends z.ZodType, Reply extends z.ZodType>(
  route: Omit<Route<Body, Reply>, "maxBodyBytes"> & { readonly maxBodyBytes?: number },
): Route<Body, Reply> {
  return { maxBodyBytes: ROUTE_BODY_BYTES, ...route };
}
