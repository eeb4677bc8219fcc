/** OpenAPI 3.1 of the routes, made from the same schemas that check them. */
import { z } from "zod";
import type { Route } from "./route.ts";

const PROBLEM = {
  type: "object",
  required: ["type", "title", "status", "code"],
  properties: {
    type: { type: "string" },
    title: { type: "string" },
    status: { type: "integer" },
    code: { type: "string" },
    detail: { type: "string" },
    hint: { type: "string" },
  },
};

/** The document for `GET /openapi.json`. */
export function openApiDocument(routes: readonly Route[], version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    paths[route.path] ??= {};
    Object.assign(paths[route.path] ?? {}, { [route.method.toLowerCase()]: operation(route) });
  }
  return {
    openapi: "3.1.0",
    info: { title: "Modelkeep", version, license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
    paths,
    components: {
      schemas: { Problem: PROBLEM },
      securitySchemes: {
        dpop: {
          type: "http",
          scheme: "DPoP",
          description: "RFC 9449: an access token and, in the DPoP header, a proof of its key.",
        },
      },
    },
  };
}

function operation(route: Route): Record<string, unknown> {
  const body = toSchema(route.body, "input");
  const isGet = route.method === "GET";
  return {
    operationId: route.id,
    summary: route.about,
    parameters: [...pathParameters(route), ...(isGet ? queryParameters(body) : [])],
    ...(isGet ? {} : { requestBody: { required: true, content: { "application/json": { schema: body } } } }),
    responses: {
      200: { description: "Done", content: { "application/json": { schema: toSchema(route.reply, "output") } } },
      default: {
        description: "A problem (RFC 9457)",
        content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
      },
    },
    ...(route.auth === "token" ? { security: [{ dpop: [] }] } : {}),
  };
}

function toSchema(schema: z.ZodType, io: "input" | "output"): Record<string, unknown> {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any" }) as Record<string, unknown>;
  return rest;
}

function pathParameters(route: Route): Record<string, unknown>[] {
  return [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
}

function queryParameters(schema: Record<string, unknown>): Record<string, unknown>[] {
  const properties = (schema.properties ?? {}) as Record<string, unknown>;
  const required = (schema.required ?? []) as readonly string[];
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: "query",
    required: required.includes(name),
    schema: property,
  }));
}
