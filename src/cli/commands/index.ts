/** Every command, in the order help shows them. */
import type { Command } from "../command.ts";
import { advisoriesImport } from "./advisories.ts";
import { advisoriesAffected, advisoriesUnwaive, advisoriesWaive, advisoriesWaivers } from "./advisories-server.ts";
import { agent } from "./agent.ts";
import { attestExplain, attestKeys, attestVerify } from "./attest.ts";
import { attestCollect } from "./attest-collect.ts";
import { attestReferenceSign } from "./attest-reference.ts";
import { attestAsk, attestEarKeys, attestEarRotate } from "./attest-server.ts";
import { auditCheckpoint, auditExport, auditList, auditVerify } from "./audit.ts";
import { bomCreate } from "./bom.ts";
import { bomDiff, bomMerge, bomScore } from "./bom-documents.ts";
import { bomMatch } from "./bom-match.ts";
import { checkout } from "./checkout.ts";
import { collateralExport, collateralFetch, collateralImport } from "./collateral.ts";
import { completionCommand } from "./completion.ts";
import { conformanceBenchmark, conformanceCapabilities, conformanceSign, conformanceVerify } from "./conformance.ts";
import { doctor } from "./doctor.ts";
import { identityKeys, identityRotate } from "./identity.ts";
import { leaseList, leaseRevoke } from "./lease.ts";
import { login, logout, whoami } from "./login.ts";
import { modelList, modelShow } from "./model.ts";
import { policyCheck, policyExplain, policySet, policyShow, policyTest } from "./policy.ts";
import { providerDelete, providerList, providerSet } from "./provider.ts";
import { publish } from "./publish.ts";
import { recipientsAdd, recipientsList, recipientsRemove } from "./recipients.ts";
import { run } from "./run.ts";
import { scanFiles } from "./scan.ts";
import { kmsInit, open, rewrap, seal, shred } from "./sealing.ts";
import { inspect } from "./sealing-inspect.ts";
import { secretDelete, secretLink, secretList, secretPut, secretRules } from "./secret.ts";
import { secretImport } from "./secret-import.ts";
import { secretPromote, secretRetire, secretRollback, secretRotate } from "./secret-versions.ts";
import { configShow, serve } from "./serve.ts";
import { sign, verify } from "./signing.ts";
import { pull, push } from "./stores.ts";
import { tokenIssue, tokenRevoke, tokenShow } from "./token.ts";

export const commands: readonly Command[] = [
  serve,
  login,
  logout,
  whoami,
  tokenIssue,
  tokenShow,
  tokenRevoke,
  agent,
  publish,
  modelList,
  modelShow,
  run,
  sign,
  verify,
  seal,
  open,
  inspect,
  rewrap,
  recipientsList,
  recipientsAdd,
  recipientsRemove,
  shred,
  push,
  pull,
  kmsInit,
  scanFiles,
  bomCreate,
  bomMatch,
  bomMerge,
  bomDiff,
  bomScore,
  advisoriesImport,
  advisoriesAffected,
  advisoriesWaive,
  advisoriesWaivers,
  advisoriesUnwaive,
  attestCollect,
  attestVerify,
  attestExplain,
  attestKeys,
  attestReferenceSign,
  attestAsk,
  attestEarKeys,
  attestEarRotate,
  collateralFetch,
  collateralExport,
  collateralImport,
  secretPut,
  secretImport,
  secretLink,
  secretList,
  secretRules,
  secretRotate,
  secretPromote,
  secretRollback,
  secretRetire,
  secretDelete,
  checkout,
  leaseList,
  leaseRevoke,
  identityKeys,
  identityRotate,
  providerSet,
  providerList,
  providerDelete,
  doctor,
  policyShow,
  policySet,
  policyCheck,
  policyTest,
  policyExplain,
  auditList,
  auditVerify,
  auditExport,
  auditCheckpoint,
  configShow,
  conformanceSign,
  conformanceVerify,
  conformanceCapabilities,
  conformanceBenchmark,
  completionCommand(() => commands),
];
