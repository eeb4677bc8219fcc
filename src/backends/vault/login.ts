/** How a machine gets a token of Vault or OpenBao: AppRole, Kubernetes, a JWT, or a TLS certificate. */
import { utf8 } from "../../base/index.ts";
import type { GuardedBytes } from "../../host/index.ts";
import { backendError } from "../errors.ts";
import type { FullPorts } from "../ports.ts";
import { guardSecret, readSecretFile } from "../private-file.ts";
import { jsonWithText } from "../secret-json.ts";
import { secretIdOf, type Wrapped } from "./wrapping.ts";

type Env = FullPorts["env"];

export type LoginPlace = Pick<Wrapped, "http" | "namespace">;

export interface VaultLogin {
  /** For errors. */
  readonly name: string;
  /** Of the auth method; may hold slashes. */
  readonly mount: string;
  /** The request; the caller wipes it. */
  body(at: LoginPlace): Promise<Uint8Array>;
  /** What does not wait for the first request: a wrapped secret id is good for minutes. */
  prepare?(at: LoginPlace): Promise<void>;
}

const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const ROLE = /^[\w][\w .:@/-]{0,255}$/;
/** Where Kubernetes puts the token of a pod's service account. */
const SERVICE_ACCOUNT_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const HINT =
  "export VAULT_TOKEN, VAULT_TOKEN_FILE, VAULT_ROLE_ID with VAULT_SECRET_ID_FILE or VAULT_WRAPPED_SECRET_ID_FILE, VAULT_KUBERNETES_ROLE, VAULT_JWT_FILE, or VAULT_CLIENT_CERT with VAULT_CLIENT_KEY";

/**
 * The first of these that the environment names: VAULT_ROLE_ID with VAULT_SECRET_ID,
 * VAULT_SECRET_ID_FILE or VAULT_WRAPPED_SECRET_ID_FILE (a wrapping token); VAULT_KUBERNETES_ROLE (VAULT_KUBERNETES_TOKEN_FILE); VAULT_JWT_FILE (VAULT_JWT_ROLE); VAULT_CLIENT_CERT with
 * VAULT_CLIENT_KEY (VAULT_CERT_ROLE). Mounts: VAULT_APPROLE_MOUNT, VAULT_KUBERNETES_MOUNT, VAULT_JWT_MOUNT,
 * VAULT_CERT_MOUNT. Throws KMS_CREDENTIALS_MISSING.
 */
export function loginOf(env: Env): VaultLogin {
  const login = appRole(env) ?? kubernetes(env) ?? jwt(env) ?? certificate(env);
  if (!login) throw missing("neither a token nor a login");
  if (!login.mount.split("/").every((part) => SEGMENT.test(part)))
    throw missing(`the mount of the ${login.name} login`);
  return login;
}

function appRole(env: Env): VaultLogin | undefined {
  const { VAULT_ROLE_ID: roleId, VAULT_SECRET_ID: secretId, VAULT_SECRET_ID_FILE: path } = env;
  if (!roleId) return undefined;
  const mount = env.VAULT_APPROLE_MOUNT || "approle";
  const file = env.VAULT_WRAPPED_SECRET_ID_FILE;
  if (file && !secretId && !path) return wrappedAppRole(roleId, { mount, file });
  if (!secretId && !path) throw missing("VAULT_ROLE_ID without a secret id");
  const open = async () => (path ? readSecretFile(path) : guardSecret(utf8(secretId ?? ""), "VAULT_SECRET_ID"));
  return {
    name: "AppRole",
    mount,
    body: () => withSecret("secret_id", open(), { role_id: roleId }),
  };
}

function wrappedAppRole(roleId: string, place: { readonly mount: string; readonly file: string }): VaultLogin {
  return {
    name: "AppRole",
    mount: place.mount,
    body: (at) => withSecret("secret_id", secretIdOf(at, place), { role_id: roleId }),
    prepare: async (at) => (await secretIdOf(at, place)).wipe(),
  };
}

function kubernetes(env: Env): VaultLogin | undefined {
  const role = env.VAULT_KUBERNETES_ROLE;
  if (!role) return undefined;
  const path = env.VAULT_KUBERNETES_TOKEN_FILE || SERVICE_ACCOUNT_TOKEN;
  return {
    name: "Kubernetes",
    mount: env.VAULT_KUBERNETES_MOUNT || "kubernetes",
    body: () => withSecret("jwt", readSecretFile(path, { mayBeOpenToOthers: true }), { role: roleOf(role) }),
  };
}

/** Without a role Vault takes the default one of the mount. */
function jwt(env: Env): VaultLogin | undefined {
  const { VAULT_JWT_FILE: path, VAULT_JWT_ROLE: role } = env;
  if (!path) return undefined;
  return {
    name: "JWT",
    mount: env.VAULT_JWT_MOUNT || "jwt",
    body: () =>
      withSecret("jwt", readSecretFile(path, { mayBeOpenToOthers: true }), role ? { role: roleOf(role) } : {}),
  };
}

/** The certificate is shown by TLS itself; without a role Vault looks for one that fits. */
function certificate(env: Env): VaultLogin | undefined {
  if (!env.VAULT_CLIENT_CERT || !env.VAULT_CLIENT_KEY) return undefined;
  const role = env.VAULT_CERT_ROLE;
  return {
    name: "certificate",
    mount: env.VAULT_CERT_MOUNT || "cert",
    body: async () => utf8(JSON.stringify(role ? { name: roleOf(role) } : {})),
  };
}

async function withSecret(
  name: string,
  secret: Promise<GuardedBytes>,
  rest: Readonly<Record<string, string>>,
): Promise<Uint8Array> {
  using opened = await secret;
  return opened.use((bytes) => jsonWithText(name, bytes, rest));
}

function roleOf(role: string): string {
  if (!ROLE.test(role)) throw missing("the role is not one");
  return role;
}

function missing(detail: string): Error {
  return backendError("KMS_CREDENTIALS_MISSING", { detail, hint: HINT });
}
