/** Writes what was matched into a CycloneDX document that is there already. */
import type { JsonObject } from "../document.ts";
import { asObject, listOf, textOf, type Unknown } from "../plain.ts";
import type { JudgedMatch } from "../vex/judge.ts";
import { vulnerabilityOf } from "./cyclonedx-vulnerabilities.ts";
import { uuidOf } from "./inventory.ts";

const MATCHED = "modelkeep:advisories_matched";

/** What it said of these weaknesses before is replaced; everything else stays. The serial number is of the new content. */
export function withMatches(bom: Unknown, matches: readonly JudgedMatch[]): JsonObject {
  const ids = new Set(matches.map(({ id }) => id));
  const kept = listOf(bom.vulnerabilities).filter((item) => !ids.has(textOf(asObject(item)?.id) ?? ""));
  const refs = refsByPurl(bom);
  const made = matches.map((match) => ({
    ...vulnerabilityOf(match),
    affects: [{ ref: refs.get(match.purl) ?? match.purl }],
  }));
  const metadata = asObject(bom.metadata) ?? {};
  const component = asObject(metadata.component);
  const properties = component && [
    ...listOf(component.properties).filter((item) => asObject(item)?.name !== MATCHED),
    { name: MATCHED, value: "true" },
  ];
  const { serialNumber: _, vulnerabilities: __, ...rest } = bom;
  const content = {
    ...rest,
    ...(component ? { metadata: { ...metadata, component: { ...component, properties } } } : {}),
    ...(kept.length + made.length === 0 ? {} : { vulnerabilities: [...kept, ...made] }),
  };
  return { ...content, serialNumber: `urn:uuid:${uuidOf(JSON.stringify(content))}` } as JsonObject;
}

function refsByPurl(bom: Unknown): Map<string, string> {
  return new Map(
    listOf(bom.components).flatMap((item) => {
      const { purl, "bom-ref": ref } = asObject(item) ?? {};
      return typeof purl === "string" && typeof ref === "string" ? [[purl, ref] as const] : [];
    }),
  );
}
