/** A bearer key for Amazon Bedrock: a signed request that is never sent, in base64; who holds it may call models. */
import { concatBytes, toHex, utf8, wipe } from "../../base/index.ts";
import type { GuardedBytes } from "../../host/index.ts";
import { percentEncoded } from "../oauth.ts";
import { encodeBase64 } from "../secret-json.ts";
import { hashOf, hmac, signingKey } from "./sigv4.ts";

const HOST = "bedrock.amazonaws.com";
const ALGORITHM = "AWS4-HMAC-SHA256";

export interface BedrockIdentity {
  readonly accessKeyId: string;
  readonly secretKey: GuardedBytes;
  readonly sessionToken: Uint8Array;
}

/** As AWS's own generators make it: SigV4 in the query, `CallWithBearerToken`. The caller wipes it. */
export function bedrockKey(
  { accessKeyId, secretKey, sessionToken }: BedrockIdentity,
  { region, lifeSeconds, now }: { readonly region: string; readonly lifeSeconds: number; readonly now: number },
): Uint8Array {
  const stamp = new Date(now).toISOString().replace(/[-:]|\.\d{3}/g, "");
  const scope = `${stamp.slice(0, 8)}/${region}/bedrock/aws4_request`;
  const token = percentEncoded(sessionToken);
  const before = new URLSearchParams({
    Action: "CallWithBearerToken",
    "X-Amz-Algorithm": ALGORITHM,
    "X-Amz-Credential": `${accessKeyId}/${scope}`,
    "X-Amz-Date": stamp,
    "X-Amz-Expires": String(lifeSeconds),
  });
  const query = concatBytes(utf8(`${before}&X-Amz-Security-Token=`), token, utf8("&X-Amz-SignedHeaders=host"));
  const canonical = concatBytes(utf8("POST\n/\n"), query, utf8(`\nhost:${HOST}\n\nhost\n${hashOf(new Uint8Array(0))}`));
  const key = signingKey(secretKey, scope.split("/"));
  const signature = toHex(hmac(key, utf8([ALGORITHM, stamp, scope, hashOf(canonical)].join("\n"))));
  const url = concatBytes(utf8(`${HOST}/?`), query, utf8(`&X-Amz-Signature=${signature}&Version=1`));
  const encoded = encodeBase64(url);
  const whole = concatBytes(utf8("bedrock-api-key-"), encoded);
  for (const part of [token, query, canonical, key, url, encoded]) wipe(part);
  return whole;
}
