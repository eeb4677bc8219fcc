/** Opens the blob store that a URI names. */
import { fileURLToPath } from "node:url";
import {
  openAzureBlob,
  openGoogleStorage,
  openRegistry,
  openS3,
  STORE_LIMITS,
  type StorePorts,
} from "../../backends/index.ts";
import type { BlobStore } from "../blob-store.ts";
import { artifactError } from "../errors.ts";
import { FolderStore } from "./folder-store.ts";
import { ObjectStore } from "./object-store.ts";
import { OciStore } from "./oci-store.ts";

/** `file:///FOLDER`, `s3://BUCKET/PREFIX`, `oci://HOST/REPOSITORY:TAG`; other kinds throw STORE_URI_UNKNOWN, odd ones STORE_URI_INVALID. */
export async function openBlobStore(uri: string, ports: StorePorts = {}): Promise<BlobStore> {
  if (/^file:\/\/\/./.test(uri)) return new FolderStore(uri, folderOf(uri));
  if (uri.startsWith("oci://")) return new OciStore(await openRegistry(uri, ports));
  const open = OBJECTS[uri.slice(0, uri.indexOf("://"))];
  if (!open) throw artifactError("STORE_URI_UNKNOWN", { detail: uri.split(":")[0]?.slice(0, 40) ?? "" });
  return new ObjectStore({ uri, ...(await open(uri, ports)), limits: { ...STORE_LIMITS, ...ports.limits } });
}

const OBJECTS: Readonly<Record<string, typeof openS3>> = {
  az: openAzureBlob,
  gs: openGoogleStorage,
  s3: openS3,
};

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
