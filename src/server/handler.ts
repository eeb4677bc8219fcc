/** Binds a route of the contract to the function that answers it. */
import type { z } from "zod";
import type { Caller } from "../base/index.ts";
import type { Route } from "../contract/index.ts";

export interface RouteRequest<Body> {
  readonly params: Readonly<Record<string, string>>;
  readonly body: Body;
  readonly method: string;
  /** Absolute URL as the client addressed it. */
  readonly url: string;
  readonly header: (name: string) => string | undefined;
}

export interface Implementation {
  readonly route: Route;
  /** `caller` is undefined exactly when the route's auth is `none`. */
  handle(request: RouteRequest<unknown>, caller: Caller | undefined): Promise<unknown>;
}

export function open<B extends z.ZodType, R extends z.ZodType>(
  route: Route<B, R>,
  handle: (request: RouteRequest<z.output<B>>) => Promise<z.input<R>>,
): Implementation {
  return { route, handle: (request) => handle(request as RouteRequest<z.output<B>>) };
}

export function authenticated<B extends z.ZodType, R extends z.ZodType>(
  route: Route<B, R>,
  handle: (request: RouteRequest<z.output<B>>, caller: Caller) => Promise<z.input<R>>,
): Implementation {
  return {
    route,
    handle: (request, caller) => {
      if (!caller) throw new Error(`route ${route.id} was called without a caller`);
      return handle(request as RouteRequest<z.output<B>>, caller);
    },
  };
}
