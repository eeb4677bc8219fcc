/** Elements about data, infrastructure, security and metrics: clusters DP, INF, SP and KPI. */
import { asObject, listOf, textOf, type Unknown } from "../plain.ts";
import { count, declared, derived, type Element, element, filled, property } from "./element.ts";
import { dataOf, isHashed, propertiesOf } from "./facts.ts";

export const DATA_ELEMENTS: readonly Element[] = [
  element(
    "DP-1",
    "name of the data",
    ({ datasets }) =>
      declared(
        datasets
          .map(({ name }) => textOf(name) ?? "")
          .join(", ")
          .slice(0, 200),
      ),
    "state datasets in the model card",
  ),
  element(
    "DP-2",
    "description of the data",
    ({ datasets }) => declared(some(datasets, (item) => textOf(dataOf(item).description) !== undefined)),
    "bom create --dataset FOLDER with a croissant.json",
  ),
  element(
    "DP-3",
    "content of the data",
    ({ datasets }) =>
      derived(some(datasets, (item) => asObject(dataOf(item).contents) !== undefined || propertiesOf(item).length > 0)),
    "bom create --dataset FOLDER",
  ),
  element(
    "DP-4",
    "identifier of the data",
    ({ datasets }) =>
      filled(some(datasets, (item) => textOf(item.purl) !== undefined)) ??
      derived(some(datasets, (item) => /^[\w.-]+\/[\w.-]+$/.test(textOf(item.name) ?? "") || isHashed(item))),
    "name data sets as ORGANISATION/NAME",
  ),
  element(
    "DP-5",
    "hash of the data",
    ({ datasets }) => filled(some(datasets, isHashed)),
    "bom create --dataset FOLDER",
  ),
  element(
    "DP-6",
    "provenance of the data",
    ({ datasets }) =>
      declared(
        some(
          datasets,
          (item) =>
            asObject(dataOf(item).governance) !== undefined ||
            textOf(asObject(dataOf(item).contents)?.url) !== undefined,
        ),
      ),
    "state creator and url in croissant.json",
  ),
  element(
    "DP-7",
    "statistics of the data",
    ({ datasets }) =>
      derived(
        some(datasets, (item) =>
          propertiesOf(item).some(([key]) => /^(?:split:|files$|fields$|distributions$)/.test(key)),
        ),
      ),
    "keep dataset_infos.json or croissant.json with the data",
  ),
  element(
    "DP-8",
    "sensitivity of the data",
    ({ datasets }) =>
      declared(
        some(
          datasets,
          (item) => listOf(dataOf(item).sensitiveData).length > 0 || textOf(dataOf(item).classification) !== undefined,
        ),
      ),
    "state rai:personalSensitiveInformation in croissant.json",
  ),
  element(
    "DP-9",
    "dependency of the data",
    ({ parameters: p, bom }) =>
      derived(
        count(listOf(p.datasets), "data sets of the model") ??
          (listOf(bom.dependencies).some((item) => JSON.stringify(item).includes('"dataset:'))
            ? "in the dependencies"
            : undefined),
      ),
    "state datasets in the model card",
  ),
  element(
    "DP-10",
    "licence of the data",
    ({ datasets }) => declared(some(datasets, (item) => listOf(item.licenses).length > 0)),
    "state license in croissant.json",
  ),
];

function some(items: readonly Unknown[], has: (item: Unknown) => boolean): string | undefined {
  const fitting = items.filter(has).length;
  return fitting === 0 ? undefined : `${fitting} of ${items.length} data sets`;
}

export const OTHER_ELEMENTS: readonly Element[] = [
  element(
    "INF-1",
    "software",
    ({ components }) =>
      filled(
        count(
          components.filter(({ type }) => type === "library"),
          "libraries",
        ),
      ),
    "give lockfiles or an environment: bom create --environment VENV",
  ),
  element(
    "INF-2",
    "hardware",
    (f) =>
      declared(
        property(f, "hardware") ??
          count(
            f.components.filter(({ type }) => type === "device"),
            "devices",
          ),
      ),
    "set a property modelkeep:hardware",
  ),
  element(
    "SP-1",
    "security controls",
    (f) =>
      filled(property(f, "scan_verdict") && `file scan: ${property(f, "scan_verdict")}`) ??
      filled(property(f, "signer_key_id") && "signed"),
    "publish the model: its scan and signature stand in the document",
  ),
  element(
    "SP-2",
    "compliance",
    ({ bom, references }) =>
      declared(
        asObject(bom.declarations)
          ? "declarations"
          : (references.get("certification-report") ?? references.get("attestation")),
      ),
    "add declarations, or a reference of type certification-report",
  ),
  element(
    "SP-3",
    "cybersecurity policy",
    ({ references }) => declared(references.get("security-contact") ?? references.get("advisories")),
    "add a reference of type security-contact: security.txt",
  ),
  element(
    "SP-4",
    "vulnerability referencing",
    (f) =>
      filled(count(listOf(f.bom.vulnerabilities), "vulnerabilities")) ??
      filled(property(f, "advisories_matched") && "matched, nothing known") ??
      declared(f.references.get("vulnerability-assertion")),
    "bom match BOM --output FILE",
  ),
  element(
    "KPI-1",
    "security metrics",
    ({ bom }) =>
      derived(
        listOf(bom.vulnerabilities).some((item) => listOf(asObject(item)?.ratings).length > 0)
          ? "rated vulnerabilities"
          : undefined,
      ),
    "bom match BOM --output FILE",
  ),
  element(
    "KPI-2",
    "operational metrics",
    ({ card }) => declared(count(listOf(asObject(card.quantitativeAnalysis)?.performanceMetrics), "metrics")),
    "state model-index in the model card",
  ),
];
