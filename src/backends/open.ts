/** Opens the KMS key that a URI names. */
import type { Random } from "../base/index.ts";
import { backendError } from "./errors.ts";
import { openKeyFile } from "./key-file.ts";
import type { KeyWrapper } from "./key-wrapper.ts";

/** `file:///PATH`; other kinds throw KMS_URI_UNKNOWN. A key that is not there is never made here: see `createKeyFile`. */
export async function openKeyWrapper(uri: string, ports: { readonly random: Random }): Promise<KeyWrapper> {
  if (/^file:\/\/\/./.test(uri)) return openKeyFile(uri, ports.random);
  throw backendError("KMS_URI_UNKNOWN", { detail: uri.split(":")[0]?.slice(0, 40) ?? "" });
}
