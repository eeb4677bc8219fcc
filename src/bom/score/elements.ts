/** The 50 minimum elements of an AI SBOM (G7, "SBOM for AI – Minimum Elements", 12 May 2026), and where a document has them. */
import { asObject, listOf, textOf, type Unknown } from "../plain.ts";
import { count, declared, derived, type Element, element, filled, property } from "./element.ts";
import { DATA_ELEMENTS, OTHER_ELEMENTS } from "./elements-of-data.ts";
import { hasAll, isHashed, nameOf } from "./facts.ts";

const SUPPLIER = "bom create --supplier NAME";

const metadata: readonly Element[] = [
  element(
    "MD-1",
    "author of the SBOM",
    ({ metadata: m }) => declared(nameOf(listOf(m.authors)[0]) ?? nameOf(m.manufacturer)),
    "bom create --author NAME",
  ),
  element(
    "MD-2",
    "version of the SBOM",
    ({ bom }) => filled(typeof bom.version === "number" ? String(bom.version) : undefined),
    "set `version`",
  ),
  element("MD-3", "name of the data format", ({ bom }) => filled(textOf(bom.bomFormat)), "set `bomFormat`"),
  element("MD-4", "version of the data format", ({ bom }) => filled(textOf(bom.specVersion)), "set `specVersion`"),
  element(
    "MD-5",
    "signature of the author",
    ({ bom, isSigned }) =>
      isSigned ? filled("verified") : declared(asObject(bom.signature) && "in the document, not verified"),
    "sign --attach bom=FILE, then bom score --signed",
  ),
  element(
    "MD-6",
    "name of the tool",
    ({ metadata: m }) => filled(toolOf(m, "name")),
    "name the tool in metadata.tools",
  ),
  element(
    "MD-7",
    "version of the tool",
    ({ metadata: m }) => filled(toolOf(m, "version")),
    "bom create --dated writes the tool's version",
  ),
  element(
    "MD-8",
    "generation context",
    ({ metadata: m }) => filled(textOf(asObject(listOf(m.lifecycles)[0])?.phase)),
    "set metadata.lifecycles",
  ),
  element("MD-9", "timestamp", ({ metadata: m }) => filled(textOf(m.timestamp)), "bom create --dated"),
  element(
    "MD-10",
    "dependency relationships",
    ({ bom }) => filled(count(listOf(bom.dependencies), "relationships")),
    "give lockfiles: bom create --lockfile FILE",
  ),
];

const system: readonly Element[] = [
  element(
    "SLP-1",
    "name of the system",
    ({ metadata: m }) => filled(textOf(asObject(m.component)?.name)),
    "bom create --name NAME",
  ),
  element(
    "SLP-2",
    "components of the system",
    ({ components }) => filled(count(components, "components")),
    "give lockfiles or an environment",
  ),
  element(
    "SLP-3",
    "producer of the system",
    ({ metadata: m }) => declared(nameOf(m.supplier) ?? nameOf(asObject(m.component)?.supplier)),
    SUPPLIER,
  ),
  element(
    "SLP-4",
    "version of the system",
    ({ metadata: m }) => declared(textOf(asObject(m.component)?.version)),
    "bom create --version VERSION",
  ),
  element(
    "SLP-5",
    "timestamp of the system",
    (f) => declared(property(f, "created")) ?? derived(textOf(f.metadata.timestamp) && "the document's own date"),
    "bom create --dated",
  ),
  element(
    "SLP-6",
    "data flow",
    ({ bom }) => declared(count(listOf(bom.services), "services")),
    "describe services with their data in `services`",
  ),
  element(
    "SLP-7",
    "use of data",
    ({ considerations: c }) =>
      declared(count(listOf(c.users), "users") ?? count(listOf(c.ethicalConsiderations), "considerations")),
    "state in the model card what happens with inputs and outputs",
  ),
  element(
    "SLP-8",
    "inputs and outputs",
    ({ parameters: p }) => derived(count([...listOf(p.inputs), ...listOf(p.outputs)], "inputs and outputs")),
    "state pipeline_tag in the model card",
  ),
  element(
    "SLP-9",
    "intended application area",
    ({ considerations: c, parameters: p }) =>
      declared(count(listOf(c.useCases), "use cases")) ?? derived(textOf(p.task)),
    "state the intended use in the model card",
  ),
];

const model: readonly Element[] = [
  element("MDL-1", "name of the model", ({ subject: s }) => filled(textOf(s.name)), "bom create --name NAME"),
  element(
    "MDL-2",
    "identifier of the model",
    (f) => filled(textOf(f.subject.purl)) ?? derived(property(f, "root_digest") ?? textOf(f.bom.serialNumber)),
    "publish or sign the model: its root digest identifies it",
  ),
  element(
    "MDL-3",
    "version of the model",
    ({ subject: s }) => declared(textOf(s.version)),
    "bom create --version VERSION",
  ),
  element(
    "MDL-4",
    "timestamp of the model",
    (f) => declared(property(f, "created")),
    "set a property modelkeep:created",
  ),
  element(
    "MDL-5",
    "producer of the model",
    ({ subject: s }) => declared(nameOf(s.supplier) ?? nameOf(s.manufacturer) ?? textOf(s.publisher)),
    SUPPLIER,
  ),
  element(
    "MDL-6",
    "description",
    ({ subject: s }) => declared(textOf(s.description)),
    "begin the model card with a paragraph that says what it is",
  ),
  element(
    "MDL-7",
    "hash of the model",
    ({ files, subject: s }) =>
      hasAll(files, isHashed)
        ? filled(`${files.length} files, each hashed`)
        : filled(isHashed(s) ? "of the model" : undefined),
    "bom create on the folder with the weights",
  ),
  element(
    "MDL-8",
    "hash algorithm",
    ({ files, subject: s }) => filled(textOf(asObject(listOf((files[0] ?? s).hashes)[0])?.alg)),
    "bom create on the folder with the weights",
  ),
  element(
    "MDL-9",
    "properties of the model",
    (f) =>
      derived(textOf(f.parameters.architectureFamily) ?? textOf(f.parameters.modelArchitecture)) ??
      declared(property(f, "library")),
    "keep config.json beside the weights",
  ),
  element(
    "MDL-10",
    "inputs and outputs of the model",
    ({ parameters: p }) => derived(count([...listOf(p.inputs), ...listOf(p.outputs)], "inputs and outputs")),
    "state pipeline_tag in the model card",
  ),
  element(
    "MDL-11",
    "training",
    ({ subject: s, parameters: p, bom }) =>
      declared(
        count(listOf(asObject(s.pedigree)?.ancestors), "base models") ??
          count(listOf(p.datasets), "data sets") ??
          count(listOf(bom.formulation), "formulas"),
      ),
    "state base_model and datasets in the model card",
  ),
  element(
    "MDL-12",
    "licence of the model",
    ({ subject: s }) => declared(count(listOf(s.licenses), "licences")),
    "state license in the model card",
  ),
  element(
    "MDL-13",
    "external references",
    ({ references, subject: s }) =>
      filled(count([...references.keys()], "references")) ??
      derived(
        count(
          listOf(asObject(s.pedigree)?.ancestors).filter((item) => textOf(asObject(item)?.purl) !== undefined),
          "base models with an identifier",
        ),
      ),
    "add externalReferences: model card, source, documentation",
  ),
];

function toolOf(m: Unknown, member: "name" | "version"): string | undefined {
  const tools = Array.isArray(m.tools) ? m.tools : listOf(asObject(m.tools)?.components);
  return textOf(asObject(tools[0])?.[member]);
}

export const ELEMENTS: readonly Element[] = [...metadata, ...system, ...model, ...DATA_ELEMENTS, ...OTHER_ELEMENTS];
