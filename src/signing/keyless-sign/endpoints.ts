/** Where keyless signing asks: from a signing configuration, of a private instance, or the public instance. */
import { z } from "zod";
import { parseJson } from "../../base/index.ts";
import { SIGNING_LIMITS } from "../limits.ts";
import { keylessError } from "./errors.ts";
import { KEYLESS_LIMITS } from "./limits.ts";

export interface LogEndpoint {
  readonly url: string;
  /** Rekor's major version: 1 promises a time, 2 needs a timestamp authority for it. */
  readonly version: 1 | 2;
}

export interface KeylessEndpoints {
  readonly authorityUrl: string;
  /** Every one of them takes the entry. */
  readonly logs: readonly LogEndpoint[];
  /** The whole URL of each; every one of them gives a timestamp. */
  readonly timestampUrls: readonly string[];
}

/** The first version of its log: what every client of the public instance verifies. */
const PUBLIC_INSTANCE: KeylessEndpoints = {
  authorityUrl: "https://fulcio.sigstore.dev",
  logs: [{ url: "https://rekor.sigstore.dev", version: 1 }],
  timestampUrls: ["https://timestamp.sigstore.dev/api/v1/timestamp"],
};

/** Those of the public instance without any. Throws KEYLESS_SETTINGS_INVALID. */
export function checkEndpoints(endpoints: KeylessEndpoints = PUBLIC_INSTANCE): KeylessEndpoints {
  const { authorityUrl, logs, timestampUrls } = endpoints;
  if (logs.length === 0) throw invalid("no log");
  if (logs.length > SIGNING_LIMITS.logEntries || timestampUrls.length > SIGNING_LIMITS.timestamps)
    throw invalid("more logs or timestamp authorities than a bundle may hold");
  if (timestampUrls.length === 0 && logs.some(({ version }) => version === 2))
    throw invalid("a log of version 2 has no time of its own: name a timestamp authority");
  return {
    authorityUrl: checkUrl(authorityUrl),
    logs: logs.map(({ url, version }) => ({ url: checkUrl(url), version })),
    timestampUrls: timestampUrls.map(checkUrl),
  };
}

/** HTTPS, or HTTP on this machine; without credentials, query and fragment, and without a slash at its end. */
function checkUrl(text: string): string {
  const url = URL.canParse(text) && text.length <= KEYLESS_LIMITS.urlCharacters ? new URL(text) : undefined;
  const shown = url ? url.origin : "a text that is no URL";
  if (!url || !isGuarded(url)) throw invalid(`${shown}: https://, or http:// to this machine`);
  if (url.username || url.password || url.search || url.hash)
    throw invalid(`${shown}: credentials, query or fragment in a URL`);
  return url.href.replace(/\/+$/, "");
}

/** Whether what is sent there is read by nobody on the way. */
export function isGuarded({ protocol, hostname }: URL): boolean {
  if (protocol === "https:") return true;
  const local = hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname);
  return protocol === "http:" && local;
}

const invalid = (detail: string) => keylessError("KEYLESS_SETTINGS_INVALID", { detail });

const time = z.iso.datetime().transform((text) => Date.parse(text));
const service = z.object({
  url: z.string().max(KEYLESS_LIMITS.urlCharacters),
  majorApiVersion: z.number().int(),
  validFor: z.object({ start: time, end: time.nullish() }),
  operator: z.string().max(200).default(""),
});
const services = z.array(service).max(KEYLESS_LIMITS.services).default([]);
const selection = z
  .object({ selector: z.enum(["ANY", "ALL", "EXACT"]), count: z.number().int().min(1).optional() })
  .default({ selector: "ANY" });

const schema = z.object({
  mediaType: z.literal("application/vnd.dev.sigstore.signingconfig.v0.2+json"),
  caUrls: services,
  rekorTlogUrls: services,
  rekorTlogConfig: selection,
  tsaUrls: services,
  tsaConfig: selection,
});

type Service = z.infer<typeof service>;

/** A Sigstore signing configuration, version 0.2: what of it is in use at a time. Throws KEYLESS_SETTINGS_INVALID. */
export function readSigningConfig(bytes: Uint8Array, nowMs: number): KeylessEndpoints {
  const parsed = schema.safeParse(jsonOf(bytes));
  if (!parsed.success) throw invalid(`signing configuration: ${parsed.error.issues[0]?.path.join(".") || "its keys"}`);
  const { caUrls, rekorTlogUrls, rekorTlogConfig, tsaUrls, tsaConfig } = parsed.data;
  const authority = inUse(caUrls, [1], nowMs)[0];
  if (!authority) throw invalid("signing configuration: no certificate authority is in use now");
  const logs = select(inUse(rekorTlogUrls, [2, 1], nowMs), rekorTlogConfig, "log");
  const timestamps = tsaUrls.length === 0 ? [] : select(inUse(tsaUrls, [1], nowMs), tsaConfig, "timestamp authority");
  return {
    authorityUrl: authority.url,
    logs: logs.map(({ url, majorApiVersion }) => ({ url, version: majorApiVersion === 2 ? 2 : 1 })),
    timestampUrls: timestamps.map(({ url }) => url),
  };
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return parseJson(bytes, { maxBytes: KEYLESS_LIMITS.signingConfigBytes, what: "signing configuration" });
  } catch {
    throw invalid("the signing configuration is not JSON");
  }
}

/** The highest version first; otherwise the order of the file, which is from new to old. */
function inUse(list: readonly Service[], versions: readonly number[], nowMs: number): Service[] {
  const now = list.filter(({ validFor: { start, end } }) => start <= nowMs && (!end || nowMs < end));
  return versions.flatMap((version) => now.filter(({ majorApiVersion }) => majorApiVersion === version));
}

/** One of each operator; ANY takes the first, EXACT as many as it says, ALL every one. */
function select(list: readonly Service[], how: z.infer<typeof selection>, what: string): Service[] {
  const operators = list.filter((item, at) => list.findIndex(({ operator }) => operator === item.operator) === at);
  const wanted = how.selector === "ALL" ? operators.length : how.selector === "EXACT" ? (how.count ?? 1) : 1;
  if (operators.length < Math.max(wanted, 1))
    throw invalid(`signing configuration: ${operators.length} of ${Math.max(wanted, 1)} of kind ${what} in use now`);
  return operators.slice(0, wanted);
}
