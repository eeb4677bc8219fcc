/** VEX inside CycloneDX: `vulnerabilities` with an `analysis`. */
import { BOM_LIMITS } from "../limits.ts";
import { asObject, listOf, textOf, type Unknown } from "../plain.ts";
import { timeOf } from "./openvex.ts";
import type { VexDocument, VexJustification, VexStatement, VexStatus } from "./statement.ts";

/** CycloneDX 1.7, `impactAnalysisState`. */
const STATES: Readonly<Record<string, VexStatus>> = {
  resolved: "fixed",
  resolved_with_pedigree: "fixed",
  exploitable: "affected",
  in_triage: "under_investigation",
  false_positive: "not_affected",
  not_affected: "not_affected",
};

const JUSTIFICATIONS: Readonly<Record<string, VexJustification>> = {
  code_not_present: "vulnerable_code_not_present",
  code_not_reachable: "vulnerable_code_not_in_execute_path",
  requires_configuration: "vulnerable_code_cannot_be_controlled_by_adversary",
  requires_dependency: "component_not_present",
  requires_environment: "vulnerable_code_cannot_be_controlled_by_adversary",
  protected_by_compiler: "inline_mitigations_already_exist",
  protected_at_runtime: "inline_mitigations_already_exist",
  protected_at_perimeter: "inline_mitigations_already_exist",
  protected_by_mitigating_control: "inline_mitigations_already_exist",
};

/** `affects` names components by `bom-ref`, also through a BOM-Link, or by package URL. */
export function readCycloneDxVex(document: Unknown): VexDocument {
  const purls = purlsByRef(document);
  const statements: VexStatement[] = [];
  const ignored: string[] = [];
  for (const item of listOf(document.vulnerabilities).slice(0, BOM_LIMITS.vexStatements)) {
    const entry = asObject(item) ?? {};
    const analysis = asObject(entry.analysis);
    const status = STATES[textOf(analysis?.state) ?? ""];
    const id = textOf(entry.id);
    if (!analysis || status === undefined || id === undefined) continue;
    const products = listOf(entry.affects).flatMap((affected) => productOf(asObject(affected) ?? {}, purls));
    const said = statementOf(entry, analysis, id);
    const isBare = analysis.state === "not_affected" && said.justification === undefined && said.impact === undefined;
    if (isBare) ignored.push(`${id}: not affected without a reason`);
    else if (products.length === 0) ignored.push(`${id}: no product with a package URL`);
    else statements.push({ ...said, products, status });
  }
  return { format: "CycloneDX", statements, ignored };
}

function statementOf(entry: Unknown, analysis: Unknown, id: string) {
  const aliases = listOf(entry.references).flatMap((item) => textOf(asObject(item)?.id) ?? []);
  const justification = JUSTIFICATIONS[textOf(analysis.justification) ?? ""];
  const impact = textOf(analysis.detail);
  const action = textOf(listOf(analysis.response)[0]);
  const time = textOf(analysis.lastUpdated) ?? textOf(analysis.firstIssued) ?? textOf(entry.updated);
  return {
    ids: [id, ...aliases],
    ...(justification === undefined ? {} : { justification }),
    ...(impact === undefined ? {} : { impact }),
    ...(action === undefined ? {} : { action }),
    timeMs: timeOf(time),
  };
}

function productOf(affected: Unknown, purls: ReadonlyMap<string, string>): string[] {
  const ref = textOf(affected.ref) ?? "";
  const link = /^urn:cdx:[^#]*#(.+)$/.exec(ref)?.[1];
  const local = link === undefined ? ref : safeDecode(link);
  const purl = purls.get(local) ?? (local.startsWith("pkg:") ? local : undefined);
  return purl === undefined ? [] : [purl];
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function purlsByRef(document: Unknown): Map<string, string> {
  const found = new Map<string, string>();
  const open: unknown[] = [asObject(document.metadata)?.component, ...listOf(document.components)];
  for (let seen = 0; open.length > 0 && seen < BOM_LIMITS.components; seen++) {
    const component = asObject(open.pop()) ?? {};
    const [ref, purl] = [textOf(component["bom-ref"]), textOf(component.purl)];
    if (ref !== undefined && purl !== undefined) found.set(ref, purl);
    open.push(...listOf(component.components));
  }
  return found;
}
