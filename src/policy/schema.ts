/** The Cedar schema: who may ask, for what, and what a policy may look at. */
export const POLICY_SCHEMA = `
type Signature = { keyId: String, rootDigest: String, signers?: Set<String> };
type Scan = { verdict: String };
type Vulnerabilities = {
  critical: Long,
  high: Long,
  medium: Long,
  low: Long,
  malware: Long,
  unknown?: Long,
  advisoriesMatched?: Bool,
  kev?: Long,
  worst?: String,
  ageHours?: Long,
  notAffected?: Long,
  waived?: Long,
};
type Bom = { keyId: String, score: Long, licenses: Set<String>, customCode: Bool };
type Devices = { gpus: Long, switches: Long, measurement: String };
type Attestation = {
  kind: String,
  measurement: String,
  debug: Bool,
  tcbStatus?: String,
  product?: String,
  advisories?: Long,
  devices?: Devices,
};

entity Group;
entity Workload in [Group];
entity Admin in [Group];
entity Server;
entity Secret;
entity ProviderModel;
entity Model;

action useModel appliesTo { principal: [Workload, Admin], resource: [ProviderModel], context: {} };
action checkoutSecret appliesTo {
  principal: [Workload, Admin],
  resource: [Secret],
  context: { purpose?: String, ttlSeconds?: Long },
};
action releaseKey appliesTo {
  principal: [Workload, Admin],
  resource: [Model],
  context: {
    attestation: Attestation,
    signature: Signature,
    scan: Scan,
    vulnerabilities: Vulnerabilities,
    bom?: Bom,
  },
};
action publishModel appliesTo {
  principal: [Workload, Admin],
  resource: [Model],
  context: { signature: Signature, scan: Scan, vulnerabilities: Vulnerabilities, bom?: Bom },
};
action readModel appliesTo { principal: [Workload, Admin], resource: [Server, Model], context: {} };
action waiveWeakness appliesTo {
  principal: [Workload, Admin],
  resource: [Server, Model],
  context: { weakness: String, days: Long, package?: String },
};
action enrol, managePolicy, revokeToken, readAudit, appraiseEvidence, manageAttestation appliesTo {
  principal: [Workload, Admin],
  resource: [Server],
  context: {},
};
action manageSecret appliesTo { principal: [Workload, Admin], resource: [Server, Secret], context: {} };
action manageProvider appliesTo { principal: [Workload, Admin], resource: [Server, ProviderModel], context: {} };
`;
