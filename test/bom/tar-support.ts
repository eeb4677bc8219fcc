/** Makes tar archives with every kind of member, and images out of them. */
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { temporaryFolder } from "./support.ts";

export interface Member {
  readonly name: string;
  readonly data?: string | Uint8Array;
  /** As in the header: 0 file, 1 hard link, 2 symbolic link, 5 folder, L, x. */
  readonly type?: string;
  readonly target?: string;
  /** In place of the length of the data. */
  readonly size?: string;
}

export function tarOf(members: readonly Member[]): Buffer {
  return Buffer.concat([...members.map(memberBytes), Buffer.alloc(1024)]);
}

function memberBytes({ name, data = "", type = "0", target = "", size }: Member): Buffer {
  const content = Buffer.from(data);
  const header = Buffer.alloc(512);
  header.write(name, 0, 100);
  header.write("0000644\0", 100);
  header.write(size ?? `${content.length.toString(8).padStart(11, "0")}\0`, 124, 12, "latin1");
  header.write("        ", 148);
  header.write(type, 156);
  header.write(target, 157, 100);
  header.write("ustar\0" + "00", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

export const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");

export interface LayoutOptions {
  readonly pack?: (layer: Buffer) => Buffer;
  /** In place of the true diff ids. */
  readonly diffIds?: readonly string[];
  readonly artifactType?: string;
}

/** A folder in the OCI layout with one image of these layers. */
export function ociLayout(layers: readonly Buffer[], options: LayoutOptions = {}): string {
  const root = temporaryFolder();
  mkdirSync(join(root, "blobs/sha256"), { recursive: true });
  const put = (bytes: Uint8Array | string, mediaType: string) => {
    const digest = sha256(bytes);
    writeFileSync(join(root, "blobs/sha256", digest), bytes);
    return { mediaType, digest: `sha256:${digest}`, size: Buffer.byteLength(bytes) };
  };
  const packed = layers.map(options.pack ?? ((layer) => gzipSync(layer)));
  const diffIds = options.diffIds ?? layers.map((layer) => `sha256:${sha256(layer)}`);
  const config = put(
    JSON.stringify({ architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: diffIds } }),
    "application/vnd.oci.image.config.v1+json",
  );
  const manifest = put(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config,
      layers: packed.map((bytes) => put(bytes, "application/vnd.oci.image.layer.v1.tar+gzip")),
    }),
    "application/vnd.oci.image.manifest.v1+json",
  );
  writeFileSync(join(root, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(root, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }));
  return root;
}
