/** The policy of a new server: administrators may administer, and nobody may use, check out or load anything. */
export const DEFAULT_POLICY = `// The policy of a new server. What no policy permits is refused; a forbid outweighs every permit.
// Change it with \`modelkeep policy set FILE\`; try it first with \`modelkeep policy check\` and \`modelkeep policy test\`.

@id("admins-administer")
@about("members of the group admins administer the server")
permit (
  principal in Group::"admins",
  action in [
    Action::"enrol",
    Action::"manageSecret",
    Action::"manageProvider",
    Action::"managePolicy",
    Action::"revokeToken",
    Action::"readAudit",
    Action::"readModel",
    Action::"appraiseEvidence",
    Action::"manageAttestation",
    Action::"waiveWeakness"
  ],
  resource
);

@id("admins-publish-clean-models")
@about("a model is published only when the scan found nothing and no critical vulnerability or malware is known")
permit (
  principal in Group::"admins",
  action == Action::"publishModel",
  resource
)
when {
  context.scan.verdict == "clean" &&
  context.vulnerabilities.malware == 0 &&
  context.vulnerabilities.critical == 0
};

// For example, to let one attested workload load one model and use one provider's model:
//
// @id("keeper-on-attested-hosts")
// permit (principal == Workload::"inference", action == Action::"releaseKey", resource == Model::"keeper@1")
// when {
//   context.attestation.kind == "snp" && !context.attestation.debug &&
//   context.attestation.measurement == "<96 hex digits>" &&
//   context.signature.keyId == "<64 hex digits>"
// };
//
// @id("demo-uses-a-model")
// permit (principal == Workload::"demo", action == Action::"useModel", resource == ProviderModel::"openai/gpt-5");
`;
