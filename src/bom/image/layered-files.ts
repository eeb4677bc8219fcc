/** The files of an image, layer upon layer: whiteouts, links, and nothing outside the root (OCI image specification, "Layers"). */
import { createHash } from "node:crypto";
import { bomError } from "../errors.ts";
import { DATABASES, type InstalledTree, isInteresting } from "../installed/tree.ts";
import { BOM_LIMITS } from "../limits.ts";
import type { TarContent, TarEntry } from "./tar-stream.ts";

interface Node {
  /** Made when there is something to put into it: most nodes are files. */
  children?: Map<string, Node>;
  layer: number;
  link?: string;
  file?: File;
}

interface File {
  sha256: string;
  /** Undefined for files of which only the digest counts. */
  content: Uint8Array | undefined;
}

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
const HASHED = /(?:^|\/)(?:(?:site|dist)-packages|bin)\//;

/** Give it the entries of each layer, the lowest first. */
export class LayeredFiles {
  readonly #root = newNode(0);
  readonly #wanted: ReadonlySet<string>;
  readonly #cleared = new Set<Node>();
  #layer = 0;
  #nodes = 0;
  #kept = 0;
  /** Where links lead to files whose content was not kept. */
  readonly missing = new Set<string>();

  /** `wanted` are paths of which the content is kept besides those that are interesting by name. */
  constructor(wanted: ReadonlySet<string>) {
    this.#wanted = wanted;
  }

  beginLayer(): void {
    this.#layer++;
    this.#cleared.clear();
  }

  /** What is not a path inside the root is not there. */
  add(entry: TarEntry): TarContent | undefined {
    const parts = entry.path.split("/");
    const name = parts.pop() ?? "";
    if (name === "" || name === ".." || parts.length >= BOM_LIMITS.treeDepth || entry.path.includes("\0"))
      return undefined;
    const place = this.#resolveFolder(parts);
    if (!place) return undefined;
    if (name === OPAQUE) this.#clear(place.node);
    else if (name.startsWith(WHITEOUT)) this.#remove(place.node, name.slice(WHITEOUT.length));
    else return this.#put(place, name, entry);
    return undefined;
  }

  #put(place: Place, name: string, entry: TarEntry): TarContent | undefined {
    const before = place.node.children?.get(name);
    if (entry.kind === "folder") {
      if (!before || before.file || before.link !== undefined) this.#replace(place.node, name);
      else before.layer = this.#layer;
      return undefined;
    }
    const path = [...place.path, name].join("/");
    if (before) place.node.children?.delete(name);
    if (entry.kind === "symlink") this.#replace(place.node, name).link = entry.target.slice(0, 4096);
    if (entry.kind === "hardlink") this.#linkHard(place.node, name, path, entry.target);
    return entry.kind === "file" ? this.#content(place.node, name, path, entry) : undefined;
  }

  #replace(folder: Node, name: string): Node {
    if (++this.#nodes > BOM_LIMITS.imageNodes) throw invalid("too many files");
    const node = newNode(this.#layer);
    folder.children ??= new Map();
    folder.children.set(name, node);
    return node;
  }

  #content(folder: Node, name: string, path: string, entry: TarEntry): TarContent | undefined {
    const isKept = isInteresting(path) || this.#wanted.has(path);
    if (!isKept && !HASHED.test(path)) return undefined;
    if (isKept && entry.bytes > BOM_LIMITS.databaseBytes) throw invalid(`${path.slice(0, 120)} is too long`);
    this.#kept += isKept ? entry.bytes : 0;
    if (this.#kept > BOM_LIMITS.imageKeptBytes) throw invalid("too many package databases");
    const hash = createHash("sha256");
    const parts: Uint8Array[] = [];
    const node = this.#replace(folder, name);
    const write = (chunk: Uint8Array) => {
      hash.update(chunk);
      if (isKept) parts.push(Uint8Array.from(chunk));
    };
    const end = () => {
      node.file = { sha256: hash.digest("hex"), content: isKept ? Buffer.concat(parts) : undefined };
    };
    return { write, end };
  }

  #linkHard(folder: Node, name: string, path: string, target: string): void {
    const isKept = isInteresting(path) || this.#wanted.has(path);
    const found = this.#find(target);
    if (isKept && !found?.file?.content)
      this.missing.add(
        target
          .split("/")
          .filter((part) => part !== "" && part !== ".")
          .join("/"),
      );
    if (found?.file) this.#replace(folder, name).file = found.file;
  }

  /** What lower layers put below the folder; once per layer is enough, since they put no more. */
  #clear(folder: Node): void {
    const open = [folder];
    for (let node = open.pop(); node !== undefined; node = open.pop()) {
      if (this.#cleared.has(node)) continue;
      this.#cleared.add(node);
      for (const [name, child] of node.children ?? []) {
        if (child.layer < this.#layer) node.children?.delete(name);
        else open.push(child);
      }
    }
  }

  #remove(folder: Node, name: string): void {
    const child = folder.children?.get(name);
    if (child && child.layer < this.#layer) folder.children?.delete(name);
    else if (child) this.#clear(child);
  }

  /** The folder that the parts lead to, through links of the image; folders that nobody wrote are made. */
  #resolveFolder(parts: readonly string[]): Place | undefined {
    const open = [...parts].reverse();
    let place: Place = { node: this.#root, path: [], above: [] };
    let hops = 0;
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      const step = this.#step(place, name, true);
      if (step === undefined) return undefined;
      if (typeof step !== "string") place = step;
      else if (++hops > BOM_LIMITS.linkHops) return undefined;
      else {
        if (step.startsWith("/")) place = { node: this.#root, path: [], above: [] };
        open.push(...step.split("/").reverse());
      }
      if (open.length > BOM_LIMITS.treeDepth * BOM_LIMITS.linkHops) return undefined;
    }
    return place;
  }

  /** One part of a path: the place it leads to, or the text of the link that it is. */
  #step(place: Place, name: string, isMaking: boolean): Place | string | undefined {
    if (name === "" || name === ".") return place;
    if (name === "..") {
      const parent = place.above.at(-1);
      return parent ? { node: parent, path: place.path.slice(0, -1), above: place.above.slice(0, -1) } : place;
    }
    let child = place.node.children?.get(name);
    if (child?.link !== undefined) return child.link;
    if (!child || (isMaking && child.file)) child = isMaking ? this.#replace(place.node, name) : undefined;
    if (child && isMaking) child.layer = this.#layer;
    return child && { node: child, path: [...place.path, name], above: [...place.above, place.node] };
  }

  #find(path: string): Node | undefined {
    return this.#follow(path)?.node;
  }

  /** Where a path leads to, as far as there is something; undefined in a circle. */
  #follow(path: string): { readonly node: Node | undefined; readonly real: string } | undefined {
    const open = path.split("/").reverse();
    let place: Place = { node: this.#root, path: [], above: [] };
    let hops = 0;
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      const step = this.#step(place, name, false);
      if (step === undefined) return { node: undefined, real: [...place.path, name, ...open.reverse()].join("/") };
      if (typeof step !== "string") place = step;
      else if (++hops > BOM_LIMITS.linkHops) return undefined;
      else {
        if (step.startsWith("/")) place = { node: this.#root, path: [], above: [] };
        open.push(...step.split("/").reverse());
      }
    }
    return { node: place.node, real: place.path.join("/") };
  }

  /** The image as it is now. A file counts once, where it lies; a database also where a link leads to it. */
  tree(): InstalledTree {
    const paths = new Set<string>();
    const open: { node: Node; path: string }[] = [{ node: this.#root, path: "" }];
    for (let item = open.pop(); item !== undefined; item = open.pop()) {
      if (item.node.file?.content && isInteresting(item.path)) paths.add(item.path);
      for (const [name, node] of item.node.children ?? [])
        open.push({ node, path: item.path === "" ? name : `${item.path}/${name}` });
    }
    for (const path of DATABASES) if (this.#isLinked(path)) paths.add(path);
    return {
      paths: [...paths].sort(),
      read: async (path) => this.#find(path)?.file?.content,
      digest: async (path) => this.#find(path)?.file?.sha256,
    };
  }

  /** What the link leads to has to be kept in the next round, when it was not in this one. */
  #isLinked(path: string): boolean {
    const found = this.#follow(path);
    if (!found || found.real === path || isInteresting(found.real)) return false;
    if (found.node?.file?.content) return true;
    this.missing.add(found.real);
    return false;
  }
}

interface Place {
  readonly node: Node;
  readonly path: readonly string[];
  readonly above: readonly Node[];
}

function newNode(layer: number): Node {
  return { layer };
}

function invalid(detail: string) {
  return bomError("IMAGE_INVALID", { detail });
}
