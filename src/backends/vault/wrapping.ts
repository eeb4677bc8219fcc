/** What Vault wrapped for one reader: opened once, after a look at where it was made. */
import { hash } from "node:crypto";
import { z } from "zod";
import { type ModelkeepError, wipe } from "../../base/index.ts";
import { GuardedBytes } from "../../host/index.ts";
import { backendError } from "../errors.ts";
import type { HttpAnswer, HttpService } from "../http-service.ts";
import { takeMember } from "../json-bytes.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import { readSecretFile, revealText } from "../private-file.ts";
import { readAnswer } from "../secret-json.ts";

const wrapSchema = z.object({ data: z.object({ creation_path: z.string().max(2_048) }) });

export interface Wrapped {
  readonly http: HttpService;
  readonly namespace: string | undefined;
  readonly token: GuardedBytes;
  /** Whether the path by which it was made is the right one: a token that somebody else made is of another. */
  readonly isFrom: (path: string) => boolean;
  /** The error of a token that was used before or made elsewhere: what it held has to be taken as read by somebody. */
  readonly alarm: (detail: string) => ModelkeepError;
  readonly refused: (answer: HttpAnswer, where: string) => ModelkeepError;
}

/** The member of the answer at that path; the caller wipes it. */
export async function unwrapOnce(wrapped: Wrapped, path: readonly string[]): Promise<Uint8Array | undefined> {
  const { http, isFrom, alarm, refused } = wrapped;
  const known = await askWrapped(wrapped, "lookup");
  if (known.status === 400 || known.status === 403) throw alarm("it is not there: used before, or over");
  if (known.status !== 200) throw refused(known, `${http.origin}/v1/sys/wrapping/lookup`);
  const { creation_path: made } = readAnswer(known, wrapSchema).data;
  if (!isFrom(made)) throw alarm(`it was made by ${made.slice(0, 200)}`);
  const answer = await askWrapped(wrapped, "unwrap");
  try {
    if (answer.status === 400) throw alarm("somebody was faster");
    if (answer.status !== 200) throw refused(answer, `${http.origin}/v1/sys/wrapping/unwrap`);
    return takeMember(answer.body, path);
  } finally {
    wipe(answer.body);
  }
}

/** The one token is both what is asked with and what is asked about. */
function askWrapped({ http, token, namespace }: Wrapped, operation: "lookup" | "unwrap"): Promise<HttpAnswer> {
  const headers = () => ({
    "x-vault-request": "true",
    "x-vault-token": revealText(token),
    ...(namespace ? { "x-vault-namespace": namespace } : {}),
  });
  const path = `/v1/sys/wrapping/${operation}`;
  return http.send(() => ({ method: "POST", path, headers: headers() }), { repeatable: operation === "lookup" });
}

/** By service and wrapping token: all connections of this process log in by what one of them opened. */
const secretIds = new Map<string, Promise<GuardedBytes>>();

/**
 * The secret id of an AppRole, from the wrapping token in a file; the same one as before while the file is the same. The
 * caller wipes the copy. Throws KMS_WRAPPING_USED.
 */
export async function secretIdOf(
  { http, namespace }: Pick<Wrapped, "http" | "namespace">,
  { file, mount }: { readonly file: string; readonly mount: string },
): Promise<GuardedBytes> {
  using token = await readSecretFile(file);
  const id = `${http.origin} ${token.use((bytes) => hash("sha256", bytes, "hex"))}`;
  const known = secretIds.get(id);
  if (known) return (await known).clone();
  if (secretIds.size >= BACKEND_LIMITS.wrappedSecretIds)
    throw backendError("KMS_WRAPPING_USED", { detail: `${BACKEND_LIMITS.wrappedSecretIds} were opened already` });
  const opening = openSecretId({
    ...{ http, namespace, token },
    isFrom: (path) => isSecretIdOf(mount, path),
    alarm: (detail) => backendError("KMS_WRAPPING_USED", { detail: `${file}: ${detail}` }),
    refused: ({ status }, where) => backendError("KMS_CREDENTIALS_REFUSED", { detail: `${where}, status ${status}` }),
  });
  secretIds.set(id, opening);
  try {
    return (await opening).clone();
  } catch (error) {
    secretIds.delete(id);
    throw error;
  }
}

function isSecretIdOf(mount: string, path: string): boolean {
  const [before, after] = [`auth/${mount}/role/`, "/secret-id"];
  const fits = path.startsWith(before) && path.endsWith(after);
  return fits && !path.slice(before.length, -after.length).includes("/");
}

async function openSecretId(wrapped: Wrapped): Promise<GuardedBytes> {
  const value = await unwrapOnce(wrapped, ["data", "secret_id"]);
  if (!value || value.length === 0) throw wrapped.alarm("it holds no secret id");
  return GuardedBytes.take(value);
}
