/** Every route of the API with what answers it, and the two services that exist for routes alone: models and key release. */
import { resolve } from "node:path";
import { type Anchors, createEarKeys, type VerifierRegistry } from "../attestation/index.ts";
import type { AuditLog } from "../audit/index.ts";
import type { KeyWrapper } from "../backends/index.ts";
import { type Authorizer, type Clock, copySecret, type Log, type Random, type Recorder } from "../base/index.ts";
import type { ProviderService } from "../gateway/index.ts";
import { createReleaseService } from "../release/index.ts";
import { type KeyEnvelope, unwrapPackageKey } from "../sealing/index.ts";
import { openServerReceiver, type SecretService } from "../secrets/index.ts";
import type { RecordStore } from "../store/index.ts";
import type { TokenService } from "../tokens/index.ts";
import { AdvisorySource } from "./advisories.ts";
import { AdvisoryWatch, noteLoad } from "./advisory-watch.ts";
import type { Config } from "./config.ts";
import { serverError } from "./errors.ts";
import { openEvidence } from "./evidence.ts";
import type { Implementation } from "./handler.ts";
import type { ServerIdentity } from "./identity.ts";
import type { Metrics } from "./metrics.ts";
import { createModelRegistry, type ModelRegistry } from "./models.ts";
import type { PolicyService } from "./policy-service.ts";
import { releasableModel } from "./releasable.ts";
import { adminRoutes } from "./routes/admin.ts";
import { advisoryRoutes } from "./routes/advisories.ts";
import { attestationRoutes } from "./routes/attestation.ts";
import { auditRoutes } from "./routes/audit.ts";
import { identityRoutes } from "./routes/identity.ts";
import { modelRoutes } from "./routes/models.ts";
import { policyRoutes } from "./routes/policy.ts";
import { providerRoutes } from "./routes/providers.ts";
import { releaseRoutes } from "./routes/release.ts";
import { secretRoutes } from "./routes/secrets.ts";
import { tokenRoutes } from "./routes/tokens.ts";
import type { SignerCheck } from "./signers.ts";
import { Waivers } from "./waivers.ts";

export interface ApiServices {
  readonly audit: AuditLog;
  readonly tokens: TokenService;
  readonly policy: PolicyService;
  readonly secrets: SecretService;
  readonly providers: ProviderService;
  readonly identity: ServerIdentity;
}

export interface ApiPorts extends ApiServices {
  readonly config: Config;
  readonly version: string;
  readonly store: RecordStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly authorizer: () => Authorizer;
  readonly recorder: Recorder;
  readonly wrappers: readonly KeyWrapper[];
  readonly tryCandidate: (secretName: string) => Promise<unknown>;
  /** Of the configuration's signer policy. */
  readonly signers: SignerCheck | undefined;
  readonly anchors?: Anchors;
  readonly metrics: Pick<Metrics, "add" | "set">;
  /** What has to end before the store is closed. */
  readonly onClose: (end: () => Promise<void>) => void;
}

export async function apiRoutes(ports: ApiPorts): Promise<Implementation[]> {
  const { config, version, wrappers } = ports;
  const proveEnvelope = async (envelope: KeyEnvelope) => (await unwrapPackageKey(envelope, wrappers)).wipe();
  const source = config.advisories === undefined ? undefined : await AdvisorySource.open(resolve(config.advisories));
  const waivers = new Waivers(ports);
  const models = createModelRegistry({ ...ports, proveEnvelope, advisories: source, waivers });
  const watch = source && new AdvisoryWatch({ ...ports, source, models, waivers });
  if (watch) ports.onClose(() => watch.close());
  void watch?.look();
  const { verifiers, judge } = await openEvidence(ports);
  const issuer = config.public_url === undefined ? {} : { issuer: config.public_url };
  return [
    ...adminRoutes({ version, storeKind: config.store.split(":")[0] ?? "", attestationKinds: verifiers.kinds }),
    ...auditRoutes(ports),
    ...tokenRoutes(ports),
    ...policyRoutes(ports),
    ...secretRoutes({ ...ports, transport: await openServerReceiver(ports) }),
    ...providerRoutes(ports),
    ...identityRoutes(ports),
    ...modelRoutes({
      ...ports,
      models,
      onPublished: () => watch?.soon(),
      onLoaded: (ref) => noteLoad(ports.store, ref, ports.clock.now()),
    }),
    ...advisoryRoutes({ ...ports, watch, waivers }),
    ...attestationRoutes({ ...ports, judge, earKeys: createEarKeys(ports), ...issuer }),
    ...releaseRoutes({ release: releaseService(ports, models, verifiers, watch) }),
  ];
}

function releaseService(
  ports: ApiPorts,
  models: ModelRegistry,
  verifiers: VerifierRegistry,
  watch: AdvisoryWatch | undefined,
) {
  return createReleaseService({
    ...ports,
    verifiers,
    findModel: (ref) => releasableModel(ref, models, { watch, nowMs: ports.clock.now() }),
    unwrapKey: async ({ ref }) => {
      const envelope = await models.envelope(ref);
      if (!envelope) throw serverError("MODEL_NOT_FOUND", { detail: ref });
      using key = await unwrapPackageKey(envelope, ports.wrappers);
      return key.use(copySecret);
    },
  });
}
