/** `awskms://REGION/KEY`: a key of AWS KMS by id, ARN or `alias/NAME`. */
import { backendError } from "../errors.ts";
import { isLoopback } from "../http-service.ts";
import { BACKEND_LIMITS } from "../limits.ts";

export interface AwsKey {
  readonly uri: string;
  readonly region: string;
  /** As the API takes it: an id, an ARN or `alias/NAME`. */
  readonly keyId: string;
  readonly endpoint: string;
  readonly host: string;
}

const URI = /^awskms:\/\/([a-z]{2}(?:-[a-z]{2,12}){1,3}-\d{1,2})\/(.{1,600})$/;
const KEY = /^(?:[A-Za-z0-9-]{1,128}|alias\/[A-Za-z0-9/_-]{1,250})$/;
const ARN =
  /^arn:aws[a-z-]{0,20}:kms:([a-z0-9-]{1,40}):\d{12}:(key\/[A-Za-z0-9-]{1,128}|alias\/[A-Za-z0-9/_-]{1,250})$/;

/** The endpoint is AWS_ENDPOINT_URL_KMS or AWS_ENDPOINT_URL where they are set. Throws KMS_URI_UNKNOWN. */
export function parseAwsUri(text: string, env: Readonly<Record<string, string | undefined>>): AwsKey {
  const [, region, keyId] = (text.length <= BACKEND_LIMITS.uriCharacters && URI.exec(text)) || [];
  if (region === undefined || keyId === undefined)
    throw backendError("KMS_URI_UNKNOWN", { detail: "it is awskms://REGION/KEY-ID or awskms://REGION/alias/NAME" });
  const arnRegion = ARN.exec(keyId)?.[1];
  if (arnRegion === undefined && !KEY.test(keyId))
    throw backendError("KMS_URI_UNKNOWN", { detail: "the key is an id, an ARN or alias/NAME" });
  if (arnRegion !== undefined && arnRegion !== region)
    throw backendError("KMS_URI_UNKNOWN", { detail: `the ARN is of ${arnRegion}, the URI of ${region}` });
  const endpoint = endpointOf(region, env.AWS_ENDPOINT_URL_KMS || env.AWS_ENDPOINT_URL);
  return { uri: text, region, keyId, endpoint: endpoint.origin, host: endpoint.host };
}

function endpointOf(region: string, given: string | undefined): URL {
  const domain = region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  const url = URL.parse(given ?? `https://kms.${region}.${domain}`);
  const secure = url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback(url.hostname));
  if (!url || !secure || url.pathname !== "/" || url.search !== "" || url.username !== "")
    throw backendError("KMS_URI_UNKNOWN", { detail: "AWS_ENDPOINT_URL is https://HOST[:PORT]" });
  return url;
}
