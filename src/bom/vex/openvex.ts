/** OpenVEX 0.2.0, in and out. */
import { createHash } from "node:crypto";
import type { JsonObject } from "../document.ts";
import { BOM_LIMITS } from "../limits.ts";
import { asObject, listOf, textOf, textsOf, type Unknown } from "../plain.ts";
import { VEX_JUSTIFICATIONS, VEX_STATUSES, type VexDocument, type VexStatement } from "./statement.ts";

/** `not_affected` without a reason says nothing (OpenVEX, "Status Justification") and is ignored. */
export function readOpenVex(document: Unknown): VexDocument {
  const statements: VexStatement[] = [];
  const ignored: string[] = [];
  for (const item of listOf(document.statements).slice(0, BOM_LIMITS.vexStatements)) {
    const read = readStatement(asObject(item) ?? {}, document);
    if (typeof read === "string") ignored.push(read);
    else statements.push(read);
  }
  return { format: "OpenVEX", statements, ignored };
}

function readStatement(item: Unknown, document: Unknown): VexStatement | string {
  const ids = idsOf(item.vulnerability);
  const products = listOf(item.products).flatMap(productsOf);
  const status = VEX_STATUSES.find((word) => word === item.status);
  const justification = VEX_JUSTIFICATIONS.find((word) => word === item.justification);
  const [impact, action] = [textOf(item.impact_statement), textOf(item.action_statement)];
  const what = ids[0] ?? "a statement";
  if (ids.length === 0 || status === undefined) return `${what}: no weakness or no status`;
  if (products.length === 0) return `${what}: no product with a package URL`;
  if (status === "not_affected" && justification === undefined && impact === undefined)
    return `${what}: not affected without a reason`;
  const author = textOf(item.supplier) ?? textOf(document.author);
  const time =
    textOf(item.last_updated) ?? textOf(item.timestamp) ?? textOf(document.last_updated) ?? textOf(document.timestamp);
  return {
    ids,
    products,
    status,
    ...(justification === undefined ? {} : { justification }),
    ...(impact === undefined ? {} : { impact }),
    ...(action === undefined ? {} : { action }),
    ...(author === undefined ? {} : { author }),
    timeMs: timeOf(time),
  };
}

/** A text in version 0.0.1, an object since. */
function idsOf(value: unknown): string[] {
  if (typeof value === "string") return [value];
  const { name, aliases, "@id": id } = asObject(value) ?? {};
  return [textOf(name) ?? textOf(id), ...textsOf(aliases)].filter((item) => item !== undefined);
}

/** Parts of a product are what the statement is about, where they are named. */
function productsOf(value: unknown): string[] {
  const product = asObject(value) ?? {};
  const parts = listOf(product.subcomponents).flatMap(purlsOf);
  return parts.length > 0 ? parts : purlsOf(value);
}

function purlsOf(value: unknown): string[] {
  if (typeof value === "string") return value.startsWith("pkg:") ? [value] : [];
  const { "@id": id, identifiers } = asObject(value) ?? {};
  return [textOf(asObject(identifiers)?.purl), textOf(id)]
    .filter((text) => text?.startsWith("pkg:"))
    .slice(0, 1) as string[];
}

export function timeOf(text: string | undefined): number {
  const time = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isNaN(time) ? 0 : time;
}

/** The id is derived from the content: equal statements make equal documents. */
export function writeOpenVex(statements: readonly VexStatement[], author: string, nowMs: number): JsonObject {
  const timestamp = new Date(nowMs).toISOString();
  const body = statements.map((item): JsonObject => {
    const [name = "", ...aliases] = item.ids;
    return {
      vulnerability: { name, ...(aliases.length === 0 ? {} : { aliases }) },
      products: item.products.map((purl) => ({ "@id": purl, identifiers: { purl } })),
      status: item.status,
      ...(item.justification === undefined ? {} : { justification: item.justification }),
      ...(item.impact === undefined ? {} : { impact_statement: item.impact }),
      ...(item.action === undefined ? {} : { action_statement: item.action }),
      timestamp: item.timeMs === 0 ? timestamp : new Date(item.timeMs).toISOString(),
    };
  });
  const id = createHash("sha256")
    .update(JSON.stringify([author, timestamp, body]))
    .digest("hex");
  return {
    "@context": "https://openvex.dev/ns/v0.2.0",
    "@id": `urn:modelkeep:vex:${id}`,
    author,
    timestamp,
    version: 1,
    statements: body,
  };
}
