/** Opens the blob store that a URI names. */
import { fileURLToPath } from "node:url";
import type { StorePorts } from "../../backends/index.ts";
import type { BlobStore } from "../blob-store.ts";
import { artifactError } from "../errors.ts";

/**
 * `file:///FOLDER`, `s3://BUCKET/PREFIX`, `oci://HOST/REPOSITORY:TAG`; other kinds throw STORE_URI_UNKNOWN, odd ones
 * STORE_URI_INVALID. What speaks to a cloud is loaded when it is asked for: all of it takes as much memory as the rest.
 */
export async function openBlobStore(uri: string, ports: StorePorts = {}): Promise<BlobStore> {
  const kind = uri.slice(0, Math.max(0, uri.indexOf("://")));
  if (/^file:\/\/\/./.test(uri)) {
    const { FolderStore } = await import("./folder-store.ts");
    return new FolderStore(uri, folderOf(uri));
  }
  if (kind === "oci") {
    const { OciStore } = await import("./oci-store.ts");
    const { openRegistry } = await import("../../backends/index.ts");
    return new OciStore(await openRegistry(uri, ports));
  }
  if (!Object.hasOwn(SETTINGS, kind))
    throw artifactError("STORE_URI_UNKNOWN", { detail: uri.split(":")[0]?.slice(0, 40) ?? "" });
  return openObjects(uri, kind, ports);
}

async function openObjects(uri: string, kind: string, ports: StorePorts): Promise<BlobStore> {
  const { openAzureBlob, openGoogleStorage, openS3, STORE_LIMITS } = await import("../../backends/index.ts");
  const { ObjectStore } = await import("./object-store.ts");
  const open = kind === "az" ? openAzureBlob : kind === "gs" ? openGoogleStorage : openS3;
  return new ObjectStore({ uri, ...(await open(uri, ports)), limits: { ...STORE_LIMITS, ...ports.limits } });
}

const SETTINGS: Readonly<Record<string, RegExp>> = {
  az: /^(?:AZURE_.*|SSL_CERT_FILE)$/,
  gs: /^(?:GOOGLE_.*|GCE_METADATA_.*|CLOUDSDK_CONFIG|CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE|STORAGE_EMULATOR_HOST|SSL_CERT_FILE)$/,
  oci: /^(?:MODELKEEP_REGISTRY_.*|DOCKER_CONFIG|REGISTRY_AUTH_FILE|SSL_CERT_FILE)$/,
  s3: /^(?:AWS_.*|SSL_CERT_FILE)$/,
};

/** The part of an environment that a store of that URI looks at; nothing for a folder. */
export function storeSettings(uri: string, env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const settings: Record<string, string> = {};
  const own = SETTINGS[uri.slice(0, Math.max(0, uri.indexOf("://")))];
  for (const [name, value] of Object.entries(env)) if (value !== undefined && own?.test(name)) settings[name] = value;
  return settings;
}

function folderOf(uri: string): string {
  try {
    const path = fileURLToPath(uri);
    if (!path.includes("\0")) return path;
  } catch {}
  throw artifactError("STORE_URI_UNKNOWN", { detail: "it names no folder" });
}
