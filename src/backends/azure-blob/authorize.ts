/** Who we are to Azure Blob Storage: the account's key, a shared access signature, or a token of the login. */
import { createHmac } from "node:crypto";
import { fromBase64, toBase64, utf8, wipe } from "../../base/index.ts";
import type { AccessTokens } from "../access-tokens.ts";
import { storeError } from "../objects/errors.ts";
import type { AzurePlace } from "./place.ts";

export interface AzureRequest {
  readonly method: string;
  /** Encoded, below the origin. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly bodyBytes: number;
}

export interface Authorized {
  readonly headers: Readonly<Record<string, string>>;
  /** What the query ends with. */
  readonly query: string;
}

export interface AzureLogin {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly tokens: AccessTokens;
}

const SCOPE = "https://storage.azure.com/.default";
/** In this order in the text that is signed (Authorize with Shared Key). */
const SIGNED = [
  "content-encoding",
  "content-language",
  "content-length",
  "content-md5",
  "content-type",
  "date",
  "if-modified-since",
  "if-match",
  "if-none-match",
  "if-unmodified-since",
  "range",
] as const;

/** AZURE_STORAGE_KEY, else AZURE_STORAGE_SAS_TOKEN, else the login. Throws STORE_CREDENTIALS_MISSING. */
export async function authorize(
  request: AzureRequest,
  place: AzurePlace,
  { env, tokens }: AzureLogin,
): Promise<Authorized> {
  const { AZURE_STORAGE_KEY: key, AZURE_STORAGE_SAS_TOKEN: sas } = env;
  if (key) return { headers: { authorization: sharedKey(request, place, key) }, query: "" };
  if (sas) return { headers: {}, query: sasOf(sas) };
  const token = await tokens.token(SCOPE);
  const authorization = `Bearer ${Buffer.from(token.buffer, token.byteOffset, token.length).toString("latin1")}`;
  wipe(token);
  return { headers: { authorization }, query: "" };
}

function sharedKey(request: AzureRequest, { account }: AzurePlace, text: string): string {
  const key = fromBase64(text.trim());
  if (!key) throw storeError("STORE_CREDENTIALS_MISSING", { detail: "AZURE_STORAGE_KEY is not base64" });
  const signature = createHmac("sha256", key)
    .update(utf8(textToSign(request, account)))
    .digest();
  wipe(key);
  return `SharedKey ${account}:${toBase64(signature)}`;
}

function textToSign({ method, path, query, headers, bodyBytes }: AzureRequest, account: string): string {
  const all: Record<string, string> = { ...headers, "content-length": bodyBytes === 0 ? "" : String(bodyBytes) };
  const own = Object.keys(headers)
    .filter((name) => name.startsWith("x-ms-"))
    .sort();
  const parameters = Object.keys(query).sort();
  return [
    method,
    ...SIGNED.map((name) => all[name] ?? ""),
    ...own.map((name) => `${name}:${headers[name] ?? ""}`),
    `/${account}${path}`,
    ...parameters.map((name) => `${name.toLowerCase()}:${query[name] ?? ""}`),
  ].join("\n");
}

function sasOf(text: string): string {
  const sas = text.trim().replace(/^\?/, "");
  if (!/^[A-Za-z0-9%&=._~-]{1,4096}$/.test(sas) || !sas.includes("sig="))
    throw storeError("STORE_CREDENTIALS_MISSING", { detail: "AZURE_STORAGE_SAS_TOKEN is no shared access signature" });
  return sas;
}
