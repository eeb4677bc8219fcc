/** Secrets of Vault and OpenBao: key-value engines, engines that lend, and values that were wrapped for one reader. */
import { z } from "zod";
import { type ModelkeepError, utf8, wipe } from "../../base/index.ts";
import { GuardedBytes } from "../../host/index.ts";
import { backendError } from "../errors.ts";
import type { HttpAnswer } from "../http-service.ts";
import { takeMember } from "../json-bytes.ts";
import { type BackendPorts, type FullPorts, fullPorts } from "../ports.ts";
import { readAnswer } from "../secret-json.ts";
import type { FoundValue } from "../secret-value.ts";
import { connectVault, isVaultTokenOver, VaultConnection, vaultWordsOf } from "./connection.ts";
import { parseVaultUri } from "./uri.ts";
import { unwrapOnce } from "./wrapping.ts";

export interface VaultPlace {
  /** With the mount, without `/data/`, encoded: as `vault kv get` takes it. */
  readonly path: string;
  /** Of a key-value engine with versions; the latest when absent. */
  readonly version?: number | undefined;
  /** What an engine is asked with, for example `common_name`; then it is a POST. */
  readonly parameters?: Readonly<Record<string, string>> | undefined;
  /** All of the data, as JSON, when absent. */
  readonly field?: string | undefined;
}

const leaseSchema = z.object({
  lease_id: z.string().max(2_048).default(""),
  lease_duration: z.number().default(0),
  renewable: z.boolean().default(false),
});
const mountSchema = z.object({
  data: z.object({
    path: z.string().max(1_024),
    type: z.string().max(64),
    options: z.object({ version: z.string().max(8).optional() }).nullish(),
  }),
});

type Mount = z.output<typeof mountSchema>["data"];

/** `vault://HOST[:PORT]`, with the query of key URIs. Throws KMS_URI_UNKNOWN and KMS_CREDENTIALS_MISSING. */
export async function openVaultSecrets(uri: string, given: BackendPorts): Promise<VaultSecrets> {
  const ports = fullPorts(given);
  return new VaultSecrets(await VaultConnection.open(placeOf(uri, ports), ports));
}

/** Read as the URI of a key below that host. */
function placeOf(uri: string, { env }: FullPorts): { origin: string; namespace: string | undefined } {
  return parseVaultUri(uri.replace(/^(vault:\/\/[^/?#]+)\/?(\?|$)/, "$1/any/any$2"), env);
}

export class VaultSecrets {
  readonly #connection: VaultConnection;
  /** By path; a mount that changes its kind is found again after a refusal. */
  readonly #mounts = new Map<string, Mount>();

  constructor(connection: VaultConnection) {
    this.#connection = connection;
  }

  /** Undefined when there is nothing. A lease is there for engines that lend. */
  async read(place: VaultPlace): Promise<FoundValue | undefined> {
    const mount = await this.#mountOf(place.path);
    if (!mount) return undefined;
    const isVersioned = mount.type === "kv" && mount.options?.version === "2";
    const answer = await this.#connection.send(isVersioned ? versioned(place, mount) : plain(place));
    try {
      if (answer.status === 404) return undefined;
      this.#accept(answer, place.path);
      const path = ["data", ...(isVersioned ? ["data"] : []), ...(place.field === undefined ? [] : [place.field])];
      const value = takeMember(answer.body, path);
      return value && withLease(value, answer);
    } finally {
      wipe(answer.body);
    }
  }

  /** The seconds that the lease has from now on. */
  async renew(leaseId: string, seconds: number): Promise<number> {
    const body = utf8(JSON.stringify({ lease_id: leaseId, increment: seconds }));
    const answer = await this.#connection.send({ method: "PUT", path: "sys/leases/renew", body });
    this.#accept(answer, "sys/leases/renew");
    return readAnswer(answer, leaseSchema).lease_duration;
  }

  /** One that is not there any more is none to fail for. */
  async revoke(leaseId: string): Promise<void> {
    const body = utf8(JSON.stringify({ lease_id: leaseId, sync: true }));
    const answer = await this.#connection.send({ method: "PUT", path: "sys/leases/revoke", body });
    if (answer.status === 400 && /lease not found|invalid lease/i.test(vaultWordsOf(answer))) return;
    if (answer.status !== 204) this.#accept(answer, "sys/leases/revoke");
  }

  /** By the question that Vault's own command line asks; every token that may read the path may ask it. */
  async #mountOf(path: string): Promise<Mount | undefined> {
    const known = [...this.#mounts.values()].find((mount) => `${path}/`.startsWith(mount.path));
    if (known) return known;
    const answer = await this.#connection.send({ method: "GET", path: `sys/internal/ui/mounts/${path}` });
    if (answer.status === 404) return undefined;
    this.#accept(answer, path);
    const { data } = readAnswer(answer, mountSchema);
    this.#mounts.set(data.path, data);
    return data;
  }

  #accept(answer: HttpAnswer, path: string): void {
    if (answer.status === 200) return;
    this.#mounts.clear();
    throw vaultErrorOf(answer, `${this.#connection.origin}/v1/${path}`);
  }
}

function plain({ path, parameters }: VaultPlace) {
  if (!parameters) return { method: "GET", path } as const;
  return { method: "POST", path, body: utf8(JSON.stringify(parameters)), repeatable: false } as const;
}

function versioned({ path, version }: VaultPlace, mount: Mount) {
  const query = version === undefined ? "" : `?version=${version}`;
  return { method: "GET", path: `${mount.path}data/${path.slice(mount.path.length)}${query}` } as const;
}

function withLease(value: Uint8Array, answer: HttpAnswer): FoundValue {
  try {
    // What is left of the data may hold other secrets, which become no strings.
    wipe(takeMember(answer.body, ["data"]) ?? new Uint8Array(0));
    const { lease_id: id, lease_duration: ttlSeconds, renewable } = readAnswer(answer, leaseSchema);
    return id === "" ? { value } : { value, lease: { id, ttlSeconds, renewable } };
  } catch (error) {
    wipe(value);
    throw error;
  }
}

function vaultErrorOf(answer: HttpAnswer, where: string): ModelkeepError {
  const words = vaultWordsOf(answer);
  const detail = `${where}, status ${answer.status}`;
  if (isVaultTokenOver(answer, words)) return backendError("KMS_CREDENTIALS_REFUSED", { detail });
  if (answer.status === 403) return backendError("KMS_DENIED", { detail });
  if (answer.status === 404) return backendError("KMS_KEY_NOT_FOUND", { detail });
  if (answer.status === 429) return backendError("KMS_THROTTLED", { detail });
  if ([472, 473, 501, 503].includes(answer.status)) return backendError("KMS_SEALED", { detail });
  return backendError(answer.status >= 500 ? "KMS_UNREACHABLE" : "KMS_REFUSED", { detail });
}

export interface WrappedPlace {
  /** `vault://HOST[:PORT]` */
  readonly uri: string;
  /** Wiped. Good for one reading. */
  readonly token: Uint8Array;
  /** Where the value was wrapped, for example `kv/data/app`: a token that somebody else made is of another path. */
  readonly from?: string | undefined;
}

/**
 * Opens what was wrapped for us, without a login. `alarm` makes the error of a token that was used before, or was made
 * somewhere else: what it held has to be taken as read by somebody.
 */
export async function unwrapVault(
  { uri, token, from }: WrappedPlace,
  path: readonly string[],
  given: BackendPorts,
  alarm: (detail: string) => ModelkeepError,
): Promise<Uint8Array | undefined> {
  const ports = fullPorts(given);
  using guarded = GuardedBytes.take(token);
  const { origin, namespace } = placeOf(uri, ports);
  const http = await connectVault(origin, ports);
  const isFrom = (made: string) => from === undefined || made === from;
  return await unwrapOnce({ http, namespace, token: guarded, isFrom, alarm, refused: vaultErrorOf }, path);
}
