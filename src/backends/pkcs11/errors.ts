/** Return values of PKCS#11 (v2.40, section 11.1) and what they mean here. */
import { backendError } from "../errors.ts";

type Code = Parameters<typeof backendError>[0];

export const CKR_OK = 0;

const MEANING: Readonly<Record<number, readonly [name: string, code: Code]>> = {
  2: ["CKR_HOST_MEMORY", "KMS_UNREACHABLE"],
  5: ["CKR_GENERAL_ERROR", "KMS_REFUSED"],
  6: ["CKR_FUNCTION_FAILED", "KMS_REFUSED"],
  48: ["CKR_DEVICE_ERROR", "KMS_UNREACHABLE"],
  49: ["CKR_DEVICE_MEMORY", "KMS_UNREACHABLE"],
  50: ["CKR_DEVICE_REMOVED", "KMS_UNREACHABLE"],
  64: ["CKR_ENCRYPTED_DATA_INVALID", "UNWRAP_FAILED"],
  65: ["CKR_ENCRYPTED_DATA_LEN_RANGE", "UNWRAP_FAILED"],
  66: ["CKR_AEAD_DECRYPT_FAILED", "UNWRAP_FAILED"],
  84: ["CKR_FUNCTION_NOT_SUPPORTED", "PKCS11_MODULE_INVALID"],
  96: ["CKR_KEY_HANDLE_INVALID", "KMS_KEY_NOT_FOUND"],
  98: ["CKR_KEY_SIZE_RANGE", "KMS_KEY_UNFIT"],
  99: ["CKR_KEY_TYPE_INCONSISTENT", "KMS_KEY_UNFIT"],
  104: ["CKR_KEY_FUNCTION_NOT_PERMITTED", "KMS_DENIED"],
  112: ["CKR_MECHANISM_INVALID", "KMS_KEY_UNFIT"],
  113: ["CKR_MECHANISM_PARAM_INVALID", "KMS_KEY_UNFIT"],
  130: ["CKR_OBJECT_HANDLE_INVALID", "KMS_KEY_NOT_FOUND"],
  160: ["CKR_PIN_INCORRECT", "KMS_CREDENTIALS_REFUSED"],
  161: ["CKR_PIN_INVALID", "KMS_CREDENTIALS_REFUSED"],
  162: ["CKR_PIN_LEN_RANGE", "KMS_CREDENTIALS_REFUSED"],
  163: ["CKR_PIN_EXPIRED", "KMS_CREDENTIALS_REFUSED"],
  164: ["CKR_PIN_LOCKED", "KMS_PIN_LOCKED"],
  177: ["CKR_SESSION_COUNT", "KMS_THROTTLED"],
  179: ["CKR_SESSION_HANDLE_INVALID", "KMS_UNREACHABLE"],
  224: ["CKR_TOKEN_NOT_PRESENT", "PKCS11_TOKEN_MISSING"],
  225: ["CKR_TOKEN_NOT_RECOGNIZED", "PKCS11_TOKEN_MISSING"],
  257: ["CKR_USER_NOT_LOGGED_IN", "KMS_CREDENTIALS_MISSING"],
  258: ["CKR_USER_PIN_NOT_INITIALIZED", "KMS_CREDENTIALS_REFUSED"],
};

/** After these the sessions are gone, and the token is asked anew, once. */
export const LOST_SESSION: ReadonlySet<number> = new Set([50, 179, 224, 257]);

export function pkcs11Error(value: number, during: string, uri: string): Error {
  const [name, code] = MEANING[value] ?? [`CKR 0x${value.toString(16)}`, "KMS_REFUSED"];
  if (code === "UNWRAP_FAILED") return backendError(code);
  return backendError(code, { detail: `${uri}, ${during}: ${name}` });
}
