/** AWS Signature Version 4 for requests whose body is at hand, with the secret key in guarded memory. */
import { createHash, createHmac } from "node:crypto";
import { concatBytes, toHex, utf8, wipe } from "../../base/index.ts";
import type { GuardedBytes } from "../../host/index.ts";

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretKey: GuardedBytes;
  readonly sessionToken: GuardedBytes | undefined;
}

export interface RequestToSign {
  readonly method: string;
  /** Encoded. */
  readonly path: string;
  /** Encoded and sorted; without it the query is empty. */
  readonly query?: string;
  /** Lower-case names; `host` is among them. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** Hex SHA-256 of the body, where it is known already. */
  readonly bodyHash?: string;
  readonly region: string;
  readonly service: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

const ALGORITHM = "AWS4-HMAC-SHA256";

/** The given headers with `x-amz-date` and `authorization` beside them. A session token is the caller's to add. */
export function signRequest(
  request: RequestToSign,
  credentials: Pick<AwsCredentials, "accessKeyId" | "secretKey">,
): Record<string, string> {
  const stamp = new Date(request.now).toISOString().replace(/[-:]|\.\d{3}/g, "");
  const headers: Record<string, string> = { ...request.headers, "x-amz-date": stamp };
  const names = Object.keys(headers).sort();
  const scope = `${stamp.slice(0, 8)}/${request.region}/${request.service}/aws4_request`;
  const canonical = [
    request.method,
    request.path,
    request.query ?? "",
    ...names.map((name) => `${name}:${(headers[name] ?? "").trim().replace(/ +/g, " ")}`),
    "",
    names.join(";"),
    request.bodyHash ?? hashOf(request.body),
  ].join("\n");
  const text = [ALGORITHM, stamp, scope, hashOf(utf8(canonical))].join("\n");
  const key = signingKey(credentials.secretKey, scope.split("/"));
  const signature = toHex(hmac(key, utf8(text)));
  wipe(key);
  const { accessKeyId } = credentials;
  return {
    ...headers,
    authorization: `${ALGORITHM} Credential=${accessKeyId}/${scope}, SignedHeaders=${names.join(";")}, Signature=${signature}`,
  };
}

/** The caller wipes it. `scope` is date, region, service and `aws4_request`. */
export function signingKey(secret: GuardedBytes, scope: readonly string[]): Uint8Array {
  const first = secret.use((bytes) => concatBytes(utf8("AWS4"), bytes));
  return scope.reduce((key, part) => {
    const next = hmac(key, utf8(part));
    wipe(key);
    return next;
  }, first);
}

export function hmac(key: Uint8Array, data: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac("sha256", key).update(data).digest());
}

export function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
