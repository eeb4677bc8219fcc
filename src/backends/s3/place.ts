/** `s3://BUCKET[/PREFIX]`: where the bucket is asked, by its own host name or by a path below an endpoint. */
import { storeError } from "../objects/errors.ts";
import { STORE_LIMITS } from "../objects/limits.ts";
import { baseOf, secureOrigin } from "../objects/origin.ts";

export interface S3Place {
  /** Without credentials, as it was given. */
  readonly uri: string;
  readonly bucket: string;
  /** What every key begins with: empty, or with a slash at its end. */
  readonly base: string;
  readonly region: string;
  readonly origin: string;
  readonly host: string;
  /** The path of the bucket: empty where its host name is its own. */
  readonly root: string;
}

const URI = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/;
const REGION = /^[a-z0-9-]{2,40}$/;
const ANY_REGION = "us-east-1";

/**
 * The endpoint is AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL where they are set, and then the bucket is a path below it;
 * the region is AWS_REGION or AWS_DEFAULT_REGION. Throws STORE_URI_INVALID.
 */
export function parseS3Uri(text: string, env: Readonly<Record<string, string | undefined>>): S3Place {
  const [, bucket, rest] = (text.length <= STORE_LIMITS.uriCharacters && URI.exec(text)) || [];
  if (bucket === undefined || bucket.includes(".."))
    throw storeError("STORE_URI_INVALID", { detail: "it is s3://BUCKET or s3://BUCKET/PREFIX" });
  const endpoint = env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL;
  const region = env.AWS_REGION || env.AWS_DEFAULT_REGION || (endpoint ? ANY_REGION : undefined);
  if (region === undefined || !REGION.test(region))
    throw storeError("STORE_URI_INVALID", { detail: "no region is set", hint: "export AWS_REGION=eu-central-1" });
  const base = baseOf(rest);
  const place = { uri: text, bucket, base, region };
  if (endpoint) {
    const url = secureOrigin(endpoint, "AWS_ENDPOINT_URL_S3");
    return { ...place, origin: url.origin, host: url.host, root: `${url.pathname.replace(/\/$/, "")}/${bucket}` };
  }
  const domain = `s3.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
  // A certificate for *.s3.REGION does not cover a name with a dot in it.
  const host = bucket.includes(".") ? domain : `${bucket}.${domain}`;
  return { ...place, origin: `https://${host}`, host, root: bucket.includes(".") ? `/${bucket}` : "" };
}
