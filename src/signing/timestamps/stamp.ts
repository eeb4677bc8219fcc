/** Stamps what a signer signs: every named authority gives its word on when the signature was there. */
import { baseError, ModelkeepError } from "../../base/index.ts";
import { type Certificate, checkTimestamp } from "../../codec/index.ts";
import type { KeylessPorts } from "../keyless-sign/http.ts";
import { requestStamp } from "../keyless-sign/timestamp.ts";
import type { ModelSigner } from "../keys.ts";
import { SIGNING_LIMITS } from "../limits.ts";
import { readCertificates } from "../trust.ts";
import { timestampError } from "./errors.ts";

export interface TimestampOptions {
  /** Whole URLs, `https://` or `http://`: what comes back is signed. */
  readonly urls: readonly string[];
  /** The policy that the timestamps must be under, dotted decimal. */
  readonly policy?: string | undefined;
  /** PEM of the authorities; with it a timestamp that does not lead there is refused before anything is written. */
  readonly authorities?: readonly (string | Uint8Array)[] | undefined;
}

/**
 * The same signer, whose bundles carry timestamps. Making one throws TIMESTAMP_UNREACHABLE, TIMESTAMP_REFUSED or
 * TIMESTAMP_WRONG; there is no bundle then.
 */
export function withTimestamps(signer: ModelSigner, options: TimestampOptions, ports: KeylessPorts): ModelSigner {
  const { publicKeyPem, keyId, certificates } = signer;
  const urls = options.urls.map(checkUrl);
  const anchors = options.authorities?.flatMap(readCertificates);
  if (urls.length > SIGNING_LIMITS.timestamps)
    throw baseError("INVALID_INPUT", { detail: `over ${SIGNING_LIMITS.timestamps} timestamp authorities` });
  const stamp = (signature: Uint8Array) =>
    Promise.all(urls.map((url) => stampOnce(ports, { url, policy: options.policy, anchors }, signature)));
  const sign = (bytes: Uint8Array) => signer.sign(bytes);
  return { publicKeyPem, keyId, sign, stamp, ...(certificates ? { certificates } : {}) };
}

/** A timestamp is signed and its request tells a digest alone: HTTP will do. */
function checkUrl(text: string): string {
  const url = URL.canParse(text) && text.length <= SIGNING_LIMITS.urlCharacters ? new URL(text) : undefined;
  if (url && /^https?:$/.test(url.protocol) && !url.username && !url.password && !url.hash) return url.href;
  const shown = url?.origin ?? "a text that is no URL";
  throw baseError("INVALID_INPUT", {
    detail: `timestamp authority ${shown}: https:// or http://, without credentials`,
  });
}

interface Wanted {
  readonly url: string;
  readonly policy: string | undefined;
  readonly anchors: readonly Certificate[] | undefined;
}

/** Without named authorities the token must at least be whole: by a certificate for stamping that came with it. */
async function stampOnce(ports: KeylessPorts, wanted: Wanted, signature: Uint8Array): Promise<Uint8Array> {
  const { response, token } = await requestStamp(ports, wanted, signature).catch(translate);
  const anchors = wanted.anchors ?? token.cms.certificates;
  const result = checkTimestamp({ token, bytes: signature, anchors });
  const where = `${new URL(wanted.url).origin}: `;
  if (!result.ok)
    throw timestampError("TIMESTAMP_WRONG", { detail: `${where}${result.rule}`, extra: { rule: result.rule } });
  const apart = Math.abs(token.at - ports.clock.now());
  if (apart > SIGNING_LIMITS.timestampSkewMs + token.accuracyMs)
    throw timestampError("TIMESTAMP_WRONG", {
      detail: `${where}its clock and ours are ${Math.round(apart / 1000)} s apart`,
    });
  return response;
}

const CODES = {
  KEYLESS_UNREACHABLE: "TIMESTAMP_UNREACHABLE",
  KEYLESS_SERVICE_REFUSED: "TIMESTAMP_REFUSED",
  KEYLESS_ANSWER_INVALID: "TIMESTAMP_WRONG",
  KEYLESS_TIMESTAMP_WRONG: "TIMESTAMP_WRONG",
} as const;

function translate(error: unknown): never {
  const code = error instanceof ModelkeepError ? CODES[error.code as keyof typeof CODES] : undefined;
  if (!(error instanceof ModelkeepError) || !code) throw error;
  throw timestampError(code, { detail: error.detail ?? error.message, cause: error });
}
