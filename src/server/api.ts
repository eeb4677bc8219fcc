/** Every route of the API with what answers it, and the two services that exist for routes alone: models and key release. */
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
import type { Config } from "./config.ts";
import { serverError } from "./errors.ts";
import { openEvidence } from "./evidence.ts";
import type { Implementation } from "./handler.ts";
import { createModelRegistry, type ModelRegistry } from "./models.ts";
import type { PolicyService } from "./policy-service.ts";
import { releasableModel } from "./releasable.ts";
import { adminRoutes } from "./routes/admin.ts";
import { attestationRoutes } from "./routes/attestation.ts";
import { auditRoutes } from "./routes/audit.ts";
import { modelRoutes } from "./routes/models.ts";
import { policyRoutes } from "./routes/policy.ts";
import { providerRoutes } from "./routes/providers.ts";
import { releaseRoutes } from "./routes/release.ts";
import { secretRoutes } from "./routes/secrets.ts";
import { tokenRoutes } from "./routes/tokens.ts";
import type { SignerCheck } from "./signers.ts";

export interface ApiServices {
  readonly audit: AuditLog;
  readonly tokens: TokenService;
  readonly policy: PolicyService;
  readonly secrets: SecretService;
  readonly providers: ProviderService;
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
}

export async function apiRoutes(ports: ApiPorts): Promise<Implementation[]> {
  const { config, version, wrappers } = ports;
  const proveEnvelope = async (envelope: KeyEnvelope) => (await unwrapPackageKey(envelope, wrappers)).wipe();
  const models = createModelRegistry({ ...ports, proveEnvelope });
  const { verifiers, judge } = await openEvidence(ports);
  const issuer = config.public_url === undefined ? {} : { issuer: config.public_url };
  return [
    ...adminRoutes({ version, storeKind: config.store.split(":")[0] ?? "", attestationKinds: verifiers.kinds }),
    ...auditRoutes(ports),
    ...tokenRoutes(ports),
    ...policyRoutes(ports),
    ...secretRoutes({ ...ports, transport: await openServerReceiver(ports) }),
    ...providerRoutes(ports),
    ...modelRoutes({ ...ports, models }),
    ...attestationRoutes({ ...ports, judge, earKeys: createEarKeys(ports), ...issuer }),
    ...releaseRoutes({ release: releaseService(ports, models, verifiers) }),
  ];
}

function releaseService(ports: ApiPorts, models: ModelRegistry, verifiers: VerifierRegistry) {
  return createReleaseService({
    ...ports,
    verifiers,
    findModel: (ref) => releasableModel(ref, models),
    unwrapKey: async ({ ref }) => {
      const envelope = await models.envelope(ref);
      if (!envelope) throw serverError("MODEL_NOT_FOUND", { detail: ref });
      using key = await unwrapPackageKey(envelope, ports.wrappers);
      return key.use(copySecret);
    },
  });
}
