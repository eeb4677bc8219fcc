/** The order of a publication. Every step can be repeated: an interrupted publication goes on where it stopped. */
import { fromUtf8, ModelkeepError, utf8 } from "../base/index.ts";
import {
  countMatches,
  findingsOf,
  gatherInventory,
  type Inventory,
  type JudgedMatch,
  judgeMatches,
  matchAdvisories,
  packagesOf,
  unmatchedOf,
  unmatchedText,
  withExamination,
  writeBom,
} from "../bom/index.ts";
import {
  BOM_PREDICATE_TYPE,
  FINDINGS_PREDICATE_TYPE,
  getModel,
  type Publication as PublicationMessage,
  publishModel,
} from "../contract/index.ts";
import { type ScanReport, scanModel } from "../scan/index.ts";
import {
  readEnvelope,
  SEALED_NAMES,
  SEALING_LIMITS,
  type SealedPackage,
  sealModel,
  verifySealed,
} from "../sealing/index.ts";
import {
  loadTrustedKey,
  pinKeys,
  readSignedRoot,
  requirePolicy,
  type SignatureSet,
  type SignedModel,
  siblingFolder,
  signModel,
  signStatement,
  type VerifiedManifest,
  verifyBundle,
} from "../signing/index.ts";
import { publisherError } from "./errors.ts";
import type { Publication, PublishOptions } from "./publisher.ts";
import { isRefusal, type Withdrawal, withdraw } from "./withdraw.ts";

/** What is said about the model beside its signature. */
interface Said {
  readonly scan: ScanReport;
  readonly inventory: Inventory;
  readonly packages: number;
  /** Undefined when there was nothing to match against. */
  readonly matches: readonly JudgedMatch[] | undefined;
}

/**
 * Scan, bill of materials, match, sign, seal and push, register. Fails with SCAN_NOT_CLEAN, PUBLISHED_OTHERWISE,
 * PUBLISH_STOPPED, as its steps fail, and with what the server answers; FORBIDDEN is policy's word. What the server
 * refused for good is taken out of the store again.
 */
export async function publishSealed(options: PublishOptions): Promise<Publication> {
  const said = await examine(options);
  const sealed = await signAndSeal(options);
  const statements = await signStatements(options, sealed.manifest, said);
  const { model, already } = await register(options, sealed, statements);
  return { model, already, scan: said.scan, packages: said.packages, matches: said.matches ?? [] };
}

async function examine(options: PublishOptions): Promise<Said> {
  const { root, name, version } = options;
  const watched = watchedBy(options);
  const scan = await scanModel({ root, ...watched });
  options.onStep?.("scan", `${scan.files.length} files, ${scan.verdict}`);
  if (scan.verdict !== "clean" && options.allowFindings !== true) throw notClean(scan);
  const lockfiles = options.lockfiles ? { lockfiles: options.lockfiles } : {};
  const inventory = await gatherInventory({ root, kind: "model", name, version, ...lockfiles, ...watched });
  const bom = writeBom(inventory, "cyclonedx-1.7");
  const packages = packagesOf(bom);
  const components = Array.isArray(bom.components) ? bom.components.length : 0;
  options.onStep?.("bom", `${components} components`);
  const { advisories, vex = [] } = options;
  // Waivers are the server's: without them no time is asked for.
  const matches = advisories && judgeMatches(matchAdvisories(packages, advisories), { statements: vex, nowMs: 0 });
  const left = unmatchedText(unmatchedOf(bom, advisories));
  options.onStep?.("match", `${matchText(packages.length, matches)}${left === "" ? "" : `; not matched: ${left}`}`);
  return { scan, inventory, packages: packages.length, matches };
}

function watchedBy({ progress, signal }: PublishOptions) {
  return { ...(progress ? { progress } : {}), ...(signal ? { signal } : {}) };
}

function notClean(scan: ScanReport): ModelkeepError {
  const bad = scan.files.filter(({ verdict }) => verdict !== "clean");
  const [first] = bad;
  const why = first?.findings[0]?.message ?? "";
  return publisherError("SCAN_NOT_CLEAN", {
    detail: `${bad.length} files; ${first?.path} is ${first?.verdict}: ${why}`,
  });
}

/** One line about a match, for people. */
function matchText(packages: number, matches: readonly JudgedMatch[] | undefined): string {
  if (!matches) return "no advisories are here to match against";
  const open = openOf(matches);
  const counts = Object.entries(countMatches(open)).filter(([, count]) => count > 0);
  const found = counts.length === 0 ? "nothing known against them" : counts.map(([w, n]) => `${n} ${w}`).join(", ");
  const closed = matches.length - open.length;
  return `${packages} packages, ${found}${closed === 0 ? "" : `, ${closed} closed by VEX`}`;
}

const openOf = (matches: readonly JudgedMatch[]) => matches.filter(({ state }) => state === "open");

interface Sealed {
  readonly manifest: VerifiedManifest;
  readonly bundle: Uint8Array;
  readonly seal: Uint8Array;
  readonly prefix: string;
  /** What this run sealed; undefined when the sealed model was there before. */
  readonly files?: SealedPackage["files"];
}

async function signAndSeal(options: PublishOptions): Promise<Sealed> {
  const { root, signer, wrappers, store, random } = options;
  const prefix = options.prefix ?? `${options.name}/${options.version}`;
  const watched = watchedBy(options);
  const signed = await signModel({ root, signer, ignore: options.ignore ?? [], ...watched });
  options.onStep?.("sign", `root ${signed.rootDigest}, key ${signer.keyId.slice(0, 16)}`);
  askPolicy(options, signed);
  const manifest = verifyBundle(signed.bundle, pinKeys([signer.publicKeyPem]));
  const there = await findSealed(options, prefix, manifest);
  if (there) {
    options.onStep?.("seal", `was sealed before: ${store.uri} ${prefix}`);
    return there;
  }
  const { bundle } = signed;
  const sealed = await sealModel({ root, manifest, bundle, signer, wrappers, store, prefix, random, ...watched });
  const resumed = sealed.resumedFiles > 0 ? `, ${sealed.resumedFiles} of an earlier run` : "";
  options.onStep?.("seal", `${sealed.files.length} files of ciphertext in ${store.uri} ${prefix}${resumed}`);
  return { manifest, bundle, seal: utf8(sealed.seal), prefix, files: sealed.files };
}

/** What publishing itself says is not there yet, but will be. */
const PROMISED = ["seal", "bom", "findings"] as const;

function askPolicy({ signers, name, version, signer, ...options }: PublishOptions, signed: SignedModel): void {
  if (!signers) return;
  const { signatures, statements } = besideOf(options, signed.rootDigest);
  requirePolicy(signers.policy, {
    model: `${name}@${version}`,
    signatures: [{ name: "the publisher's signature", bytes: signed.bundle }, ...signatures],
    statements,
    atMs: signers.atMs,
    keys: [loadTrustedKey(signer.publicKeyPem)],
    promised: PROMISED,
    sealed: true,
  });
}

/** Without the types that publishing makes anew, and without signatures of files that were there before. */
function besideOf({ beside }: Pick<PublishOptions, "beside">, rootDigest: string): SignatureSet {
  if (!beside) return { signatures: [], statements: [] };
  const made = PROMISED.map((type) => `${type}.json`);
  const statements = beside.statements.filter(({ name }) => !made.includes(name.split("/").at(-1) ?? ""));
  return { signatures: beside.signatures.filter(({ bytes }) => isOver(bytes, rootDigest)), statements };
}

function isOver(bundle: Uint8Array | string, rootDigest: string): boolean {
  try {
    return readSignedRoot(bundle) === rootDigest;
  } catch (error) {
    if (error instanceof ModelkeepError) return false;
    throw error;
  }
}

/**
 * The same model, sealed by the same signer in an earlier run that did not come to its end. Fails with
 * PUBLISHED_OTHERWISE where other files lie there.
 */
async function findSealed(
  options: PublishOptions,
  prefix: string,
  wanted: VerifiedManifest,
): Promise<Sealed | undefined> {
  const { store, signer } = options;
  const read = (name: string) => store.readAll(`${prefix}/${name}`, SEALING_LIMITS.bundleBytes);
  if (!(await store.stat(`${prefix}/${SEALED_NAMES.seal}`))) return undefined;
  const trust = pinKeys([signer.publicKeyPem]);
  const { manifest } = await verifySealed({ store, prefix, trust });
  // The root digest binds contents and their order, not the names.
  const names = ({ resources }: VerifiedManifest) =>
    JSON.stringify(resources.map(({ name, digest }) => [name, digest]));
  if (manifest.rootDigest !== wanted.rootDigest || names(manifest) !== names(wanted))
    throw publisherError("PUBLISHED_OTHERWISE", { detail: `${store.uri} ${prefix} holds other files` });
  return { manifest, bundle: await read(SEALED_NAMES.bundle), seal: await read(SEALED_NAMES.seal), prefix };
}

interface Statements {
  readonly bom: string;
  readonly findings: string;
}

async function signStatements(options: PublishOptions, manifest: VerifiedManifest, said: Said): Promise<Statements> {
  const { signer } = options;
  const open = said.matches && openOf(said.matches);
  const sign = (predicateType: string, predicate: unknown) =>
    signStatement({ predicateType, predicate, rootDigest: manifest.rootDigest, name: manifest.name, signer });
  return {
    bom: await sign(BOM_PREDICATE_TYPE, bomOf(manifest, said)),
    findings: await sign(FINDINGS_PREDICATE_TYPE, findingsOf(said.scan.verdict, open)),
  };
}

/** The document with what scan, match and signature say of the same files. */
function bomOf({ rootDigest, keyId }: VerifiedManifest, { inventory, scan, matches }: Said) {
  const found = matches ? { matches } : {};
  const examined = withExamination(inventory, { scanVerdict: scan.verdict, signerKeyId: keyId, rootDigest, ...found });
  return writeBom(examined, "cyclonedx-1.7");
}

async function register(options: PublishOptions, sealed: Sealed, statements: Statements) {
  const { store, signer, name, version } = options;
  if (options.signal?.aborted) throw publisherError("PUBLISH_STOPPED");
  const envelope = await readEnvelope(store, sealed.prefix);
  await store.write(`${sealed.prefix}/${SEALED_NAMES.bom}`, [utf8(statements.bom)]);
  await store.write(`${sealed.prefix}/${SEALED_NAMES.findings}`, [utf8(statements.findings)]);
  const beside = besideOf(options, sealed.manifest.rootDigest);
  const stored = await storeBeside(options, sealed.prefix, beside);
  const more = beside.statements.map(({ bytes }) => textOf(bytes));
  const signatures = beside.signatures.map(({ bytes }) => textOf(bytes));
  const body = {
    name,
    version,
    public_key: signer.publicKeyPem,
    bundle: fromUtf8(sealed.bundle),
    statements: { seal: fromUtf8(sealed.seal), ...statements, ...(more.length > 0 ? { more } : {}) },
    ...(signatures.length > 0 ? { signatures } : {}),
    envelope: JSON.stringify(envelope),
    store_uri: store.uri,
    prefix: sealed.prefix,
  };
  try {
    return await registerAt(options, body, envelope.package_id);
  } catch (error) {
    if (isRefusal(error) && sealed.files) await tidyUp(options, { ...sealed, files: sealed.files, beside: stored });
    throw error;
  }
}

async function registerAt({ api, name, version }: PublishOptions, body: PublicationMessage, packageId: string) {
  try {
    return { model: await api.call(publishModel, { body }), already: false };
  } catch (error) {
    if (!(error instanceof ModelkeepError) || error.code !== "MODEL_EXISTS") throw error;
    const model = await api.call(getModel, { params: { ref: `${name}@${version}` } });
    if (model.package_id === packageId) return { model, already: true };
    throw publisherError("PUBLISHED_OTHERWISE", { detail: `${name}@${version}`, cause: error });
  }
}

/** Never hides why the publication was refused. */
async function tidyUp({ store, onStep }: PublishOptions, what: Omit<Withdrawal, "store">): Promise<void> {
  try {
    const gone = await withdraw({ store, ...what });
    onStep?.("register", `refused: ${gone} blobs are gone again from ${store.uri} ${what.prefix}`);
  } catch {
    onStep?.("register", `refused, and not everything could be removed from ${store.uri} ${what.prefix}`);
  }
}

const textOf = (bytes: Uint8Array | string) => (typeof bytes === "string" ? bytes : fromUtf8(bytes));

/** Where a run with a signer policy looks for them; returns under which names they are. */
async function storeBeside({ store }: PublishOptions, prefix: string, beside: SignatureSet): Promise<string[]> {
  const folder = siblingFolder(`${prefix}/${SEALED_NAMES.bundle}`);
  const placed = [
    ...beside.signatures.map(({ bytes }, index) => ({ name: `${folder}/${index + 1}.sig`, bytes })),
    ...beside.statements.map(({ name, bytes }) => ({ name: `${folder}/${name.split("/").at(-1) ?? ""}`, bytes })),
  ];
  for (const { name, bytes } of placed) await store.write(name, [utf8(textOf(bytes))]);
  return placed.map(({ name }) => name);
}
