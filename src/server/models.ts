/** The model registry: what a publisher sends is verified with the publisher's key before policy is asked. */
import { z } from "zod";
import {
  type Authorizer,
  type Caller,
  type Clock,
  entityText,
  fromUtf8,
  LIMITS,
  ModelkeepError,
  type PolicyDecision,
  parseJson,
  type Recorder,
  utf8,
} from "../base/index.ts";
import { countMatches, type VexStatement } from "../bom/index.ts";
import {
  BOM_PREDICATE_TYPE,
  FINDINGS_PREDICATE_TYPE,
  findingsPredicate,
  modelRef,
  type Publication,
  type PublishedModel,
  publishedModel,
} from "../contract/index.ts";
import { type KeyEnvelope, parseEnvelope, verifySeal } from "../sealing/index.ts";
import { pinKeys, type VerifiedManifest, verifyBundle, verifyStatement } from "../signing/index.ts";
import type { RecordStore } from "../store/index.ts";
import type { AdvisorySource, Known } from "./advisories.ts";
import { bomAttributes } from "./bom-attributes.ts";
import { serverError } from "./errors.ts";
import { SERVER_LIMITS } from "./limits.ts";
import { statementsOfModel } from "./model-vex.ts";
import type { SignerCheck } from "./signers.ts";
import type { Waivers } from "./waivers.ts";

const TABLE = "models";
const DOCUMENTS = "model-documents";
/** By package id: the signer that published it first. */
const PACKAGES = "model-packages";

export interface ModelRegistryPorts {
  readonly store: RecordStore;
  /** The policy of this moment. */
  readonly authorizer: () => Authorizer;
  readonly recorder: Recorder;
  readonly clock: Clock;
  /** Proves that one of the server's key services opens the envelope; throws when none does. */
  readonly proveEnvelope: (envelope: KeyEnvelope) => Promise<void>;
  /** Of the configuration's signer policy; without one the publisher's own key is enough. */
  readonly signers?: SignerCheck | undefined;
  /** Of the configuration: policy then sees what is known now beside what the publisher said, whichever is worse. */
  readonly advisories?: Pick<AdvisorySource, "assess"> | undefined;
  /** Weaknesses that somebody accepted; none when absent. */
  readonly waivers?: Pick<Waivers, "standing"> | undefined;
}

export interface ModelRegistry {
  /** Fails with PUBLICATION_REFUSED, NO_KEY_SERVICE, UNWRAP_FAILED, FORBIDDEN or MODEL_EXISTS; nothing is kept then. */
  publish(publication: Publication, caller: Caller): Promise<PublishedModel>;
  get(ref: string): Promise<PublishedModel | undefined>;
  envelope(ref: string): Promise<KeyEnvelope | undefined>;
  /** What its publisher signed of its parts and their weaknesses; undefined when there is no such model. */
  known(ref: string): Promise<Omit<Known, "waivers"> | undefined>;
  /** The signers that count now, without a signer policy none; throws SIGNER_POLICY_REFUSED. */
  signers(ref: string): Promise<readonly string[]>;
  list(after?: string): Promise<{ models: PublishedModel[]; next?: string }>;
}

const documents = z.object({
  public_key: z.string(),
  bundle: z.string(),
  seal: z.string(),
  bom: z.string(),
  findings: z.string(),
  more: z.array(z.string()).optional(),
  signatures: z.array(z.string()).optional(),
  envelope: z.string(),
});

type Documents = z.output<typeof documents>;

/** What a publication says, once every signature in it was checked. */
interface Checked {
  readonly manifest: VerifiedManifest;
  readonly packageId: string;
  readonly findings: z.output<typeof findingsPredicate>;
  readonly bom: unknown;
  readonly statements: readonly VexStatement[];
  readonly envelope: KeyEnvelope;
}

export function createModelRegistry(ports: ModelRegistryPorts): ModelRegistry {
  return new StoredModels(ports);
}

class StoredModels implements ModelRegistry {
  readonly #ports: ModelRegistryPorts;

  constructor(ports: ModelRegistryPorts) {
    this.#ports = ports;
  }

  async publish(publication: Publication, caller: Caller): Promise<PublishedModel> {
    const ref = `${publication.name}@${publication.version}`;
    let checked: Checked | undefined;
    try {
      checked = await checkPublication(publication);
      await breathe();
      const signers = this.#ports.signers?.accept(ref, publication) ?? [];
      const vulnerabilities = await this.#known(ref, checked);
      const decision = this.#decide(ref, checked, caller, { signers, vulnerabilities });
      if (!decision.allowed) throw serverError("FORBIDDEN", { detail: `publishModel on ${ref}: ${why(decision)}` });
      await this.#mustBeFree(this.#ports.store, ref, checked);
      await this.#ports.proveEnvelope(checked.envelope);
      const model = toModel(publication, checked, caller, this.#ports.clock.now());
      await this.#record(ref, "allowed", decision.policies, caller, checked);
      await this.#keep(ref, model, toDocuments(publication), checked);
      return model;
    } catch (error) {
      const known = error instanceof ModelkeepError;
      const outcome = known && error.status < 500 ? "refused" : "failed";
      await this.#record(ref, outcome, [known ? error.code : "INTERNAL"], caller, checked);
      throw error;
    }
  }

  async get(ref: string): Promise<PublishedModel | undefined> {
    if (!modelRef.safeParse(ref).success) return undefined;
    const record = await this.#ports.store.get(TABLE, ref);
    return record && publishedModel.parse(parseJson(fromUtf8(record.value), { what: "stored model" }));
  }

  async envelope(ref: string): Promise<KeyEnvelope | undefined> {
    const stored = await this.#documents(ref);
    return stored && parseEnvelope(stored.envelope);
  }

  async known(ref: string): Promise<Omit<Known, "waivers"> | undefined> {
    const [model, stored] = [await this.get(ref), await this.#documents(ref)];
    if (!model || !stored) return undefined;
    const about = { trust: pinKeys([stored.public_key]), rootDigest: model.root_digest };
    const { predicate } = verifyStatement(stored.bom, { ...about, predicateType: BOM_PREDICATE_TYPE });
    const statements = statementsOfModel({ ...about, bom: predicate, more: stored.more ?? [] });
    return { ref, bom: objectOf(predicate), statements };
  }

  async signers(ref: string): Promise<readonly string[]> {
    const { signers } = this.#ports;
    const stored = signers && (await this.#documents(ref));
    return signers && stored ? signers.accept(ref, { ...stored, statements: stored }) : [];
  }

  async #documents(ref: string): Promise<Documents | undefined> {
    if (!modelRef.safeParse(ref).success) return undefined;
    const record = await this.#ports.store.get(DOCUMENTS, ref);
    return record && documents.parse(parseJson(fromUtf8(record.value), { what: "stored model" }));
  }

  async list(after?: string): Promise<{ models: PublishedModel[]; next?: string }> {
    const limit = SERVER_LIMITS.modelsPerPage;
    const page = await this.#ports.store.list(TABLE, { limit, ...(after === undefined ? {} : { after }) });
    const models = page.records.map(({ value }) =>
      publishedModel.parse(parseJson(fromUtf8(value), { what: "stored model" })),
    );
    return { models, ...(page.next === undefined ? {} : { next: page.next }) };
  }

  #decide(
    ref: string,
    checked: Checked,
    caller: Caller,
    { signers, vulnerabilities }: { signers: readonly string[]; vulnerabilities: Record<string, unknown> },
  ): PolicyDecision {
    const { manifest, findings, bom } = checked;
    const { score, licenses, custom_code: customCode } = bomAttributes(bom);
    return this.#ports.authorizer().decide({
      principal: caller.principal,
      groups: caller.groups,
      action: "publishModel",
      resource: { type: "Model", id: ref },
      context: {
        signature: { keyId: manifest.keyId, rootDigest: manifest.rootDigest, signers: [...signers] },
        scan: { verdict: findings.scan_verdict },
        vulnerabilities,
        bom: { keyId: manifest.keyId, score, licenses, customCode },
      },
    });
  }

  /** What the publisher said and what this server finds, by count the worse of both; he cannot know what was waived here. */
  async #known(ref: string, { findings, bom, statements }: Checked): Promise<Record<string, unknown>> {
    const said = { ...findings.vulnerabilities, advisoriesMatched: findings.advisories_matched };
    const { advisories, waivers, clock } = this.#ports;
    if (!advisories) return said;
    const standing = (await waivers?.standing()) ?? [];
    const found = advisories.assess({ ref, bom: objectOf(bom), statements, waivers: standing }, clock.now());
    const { kev, worst, waived, notAffected } = found;
    const accepted = countMatches(found.matches.filter(({ state }) => state === "waived"));
    const counts = Object.entries(found.counts).map(([word, count]) => {
      const severity = word as keyof typeof found.counts;
      return [word, Math.max(count, findings.vulnerabilities[severity] - accepted[severity])] as const;
    });
    return { ...Object.fromEntries(counts), advisoriesMatched: true, kev, worst, ageHours: 0, notAffected, waived };
  }

  /** All records in one transaction: a model without its envelope cannot be there. */
  async #keep(ref: string, model: PublishedModel, kept: Documents, checked: Checked): Promise<void> {
    await this.#ports.store.transaction(async (tx) => {
      await this.#mustBeFree(tx, ref, checked);
      await tx.put(TABLE, ref, utf8(JSON.stringify(model)), { ifVersion: 0 });
      await tx.put(DOCUMENTS, ref, utf8(JSON.stringify(kept)));
      await tx.put(PACKAGES, checked.packageId, utf8(checked.manifest.keyId));
    });
  }

  /**
   * Who can read the store can sign its files and its envelope anew without the key: under a name and a signer of his
   * own, this server would unwrap the package for him.
   */
  async #mustBeFree(reader: Pick<RecordStore, "get">, ref: string, { packageId, manifest }: Checked): Promise<void> {
    if (await reader.get(TABLE, ref)) throw serverError("MODEL_EXISTS", { detail: ref });
    const first = await reader.get(PACKAGES, packageId);
    if (first && fromUtf8(first.value) !== manifest.keyId)
      throw serverError("PUBLICATION_REFUSED", { detail: "the package was published before by another signer" });
  }

  async #record(
    ref: string,
    outcome: "allowed" | "refused" | "failed",
    reason: readonly string[],
    caller: Caller,
    checked: Checked | undefined,
  ): Promise<void> {
    await this.#ports.recorder.record({
      action: "model.publish",
      outcome,
      principal: entityText(caller.principal),
      resource: entityText({ type: "Model", id: ref.slice(0, LIMITS.idCharacters) }),
      ...(checked ? { modelRoot: checked.manifest.rootDigest } : {}),
      reason,
      data: checked
        ? {
            token: caller.tokenId,
            package_id: checked.packageId,
            signer: checked.manifest.keyId,
            scan_verdict: checked.findings.scan_verdict,
            vulnerabilities: checked.findings.vulnerabilities,
          }
        : { token: caller.tokenId },
    });
  }
}

const objectOf = (value: unknown) =>
  typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};

/** Megabytes of signed JSON are read in pieces, and others are answered in between. */
const breathe = () => new Promise((resolve) => setImmediate(resolve));

/** The signature, then everything that the same key says about the same root; who holds it is for policy. */
async function checkPublication(publication: Publication): Promise<Checked> {
  try {
    const trust = pinKeys([publication.public_key]);
    const manifest = verifyBundle(publication.bundle, trust);
    const { seal, bom, findings } = publication.statements;
    await breathe();
    const { packageId } = verifySeal(manifest, seal, trust);
    await breathe();
    const said = (envelope: string, predicateType: string) =>
      verifyStatement(envelope, { trust, predicateType, rootDigest: manifest.rootDigest }).predicate;
    const saidOfBom = said(bom, BOM_PREDICATE_TYPE);
    await breathe();
    const parsed = findingsPredicate.safeParse(said(findings, FINDINGS_PREDICATE_TYPE));
    if (!parsed.success) throw serverError("PUBLICATION_REFUSED", { detail: "the findings have an unknown shape" });
    const envelope = parseEnvelope(publication.envelope);
    if (envelope.root_digest !== manifest.rootDigest || envelope.package_id !== packageId) {
      throw serverError("PUBLICATION_REFUSED", { detail: "the key envelope is of another model" });
    }
    const more = publication.statements.more ?? [];
    const statements = statementsOfModel({ bom: saidOfBom, more, trust, rootDigest: manifest.rootDigest });
    return { manifest, packageId, findings: parsed.data, bom: saidOfBom, statements, envelope };
  } catch (error) {
    if (!(error instanceof ModelkeepError) || error.code === "PUBLICATION_REFUSED") throw error;
    throw serverError("PUBLICATION_REFUSED", { detail: `${error.code}: ${error.message}`, cause: error });
  }
}

function toModel(publication: Publication, checked: Checked, caller: Caller, now: number): PublishedModel {
  const { manifest, packageId, findings } = checked;
  return {
    name: publication.name,
    version: publication.version,
    package_id: packageId,
    root_digest: manifest.rootDigest,
    signer_key_id: manifest.keyId,
    store_uri: publication.store_uri,
    prefix: publication.prefix,
    ...findings,
    bom: bomAttributes(checked.bom),
    published_at: new Date(now).toISOString(),
    published_by: entityText(caller.principal),
  };
}

function toDocuments({ public_key, bundle, statements, signatures, envelope }: Publication): Documents {
  return { public_key, bundle, ...statements, signatures, envelope };
}

function why(decision: PolicyDecision): string {
  return decision.policies.length > 0 ? `forbidden by ${decision.policies.join(", ")}` : "no policy permits it";
}
