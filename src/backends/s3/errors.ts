/** S3's refusals as errors of this house. */
import { refusal, xmlCode } from "../objects/answer.ts";
import { storeError } from "../objects/errors.ts";
import type { ObjectAnswer } from "../objects/http.ts";
import type { S3Place } from "./place.ts";

const CREDENTIALS = new Set([
  "InvalidAccessKeyId",
  "SignatureDoesNotMatch",
  "InvalidToken",
  "ExpiredToken",
  "AuthFailure",
  "TokenRefreshRequired",
]);
const DAMAGED = new Set(["BadDigest", "XAmzContentSHA256Mismatch", "InvalidDigest", "XAmzContentChecksumMismatch"]);
const LATER = new Set(["SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "ThrottlingException"]);

export function isS3Throttling(answer: ObjectAnswer): boolean {
  return answer.status >= 400 && LATER.has(xmlCode(answer));
}

/** The answer to a HEAD has no body: there the status is all that is known. */
export function s3Refusal(answer: ObjectAnswer, place: S3Place) {
  const code = xmlCode(answer);
  const { uri } = place;
  const region = regionOf(answer);
  if (region !== undefined && region !== place.region)
    return storeError("STORE_REDIRECTED", {
      detail: `the bucket of ${uri} is in ${region}, not in ${place.region}`,
      hint: `export AWS_REGION=${region}`,
    });
  if (CREDENTIALS.has(code)) return storeError("STORE_CREDENTIALS_REFUSED", { detail: `${uri}, ${code}` });
  if (code === "RequestTimeTooSkewed")
    return storeError("STORE_CREDENTIALS_REFUSED", { detail: uri, hint: "is the clock of this machine right?" });
  if (DAMAGED.has(code)) return storeError("BLOB_DAMAGED", { detail: `${uri}, ${code}` });
  if (code === "NoSuchBucket") return storeError("STORE_NOT_FOUND", { detail: uri });
  if (code === "EntityTooLarge") return storeError("STORE_REFUSED", { detail: `${uri}, ${code}` });
  return refusal(answer, uri, code);
}

function regionOf({ headers, body }: ObjectAnswer): string | undefined {
  const text =
    headers["x-amz-bucket-region"] ??
    /<Region>([^<]{1,64})</.exec(Buffer.from(body.subarray(0, 4_096)).toString("latin1"))?.[1];
  return text !== undefined && /^[a-z0-9-]{2,40}$/.test(text) ? text : undefined;
}
