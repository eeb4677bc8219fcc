/** Licences as model cards write them, and as SPDX names them. */
import type { JsonObject } from "../document.ts";
import type { ModelCardFacts } from "./card.ts";

/** Lower-case identifiers of model cards whose SPDX licence is beyond doubt. */
const SPDX: ReadonlyMap<string, string> = new Map(
  [
    "Apache-2.0 MIT BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear ISC BSL-1.0 Unlicense Zlib MPL-2.0 EPL-2.0 AFL-3.0",
    "Artistic-2.0 ECL-2.0 EUPL-1.1 EUPL-1.2 MS-PL NCSA OFL-1.1 OSL-3.0 PostgreSQL WTFPL CC0-1.0 CC-BY-2.0 CC-BY-2.5",
    "CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 CC-BY-NC-4.0 CC-BY-ND-4.0 CC-BY-NC-ND-3.0",
    "CC-BY-NC-ND-4.0 CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0",
    "CDLA-Sharing-1.0 PDDL-1.0 ODbL-1.0 ODC-By-1.0 LPPL-1.3c",
  ]
    .join(" ")
    .split(" ")
    .map((id) => [id.toLowerCase(), id]),
);

/** A CycloneDX licence: by SPDX id, or by the name that the card gives. */
export function licenseOf(card: ModelCardFacts): JsonObject | undefined {
  const written = card.license;
  const id = written === undefined ? undefined : spdxIdOf(written);
  if (id !== undefined) return { license: { id } };
  const name = card.licenseName ?? written;
  if (name === undefined) return undefined;
  const isLink = card.licenseLink !== undefined && /^https?:\/\/[^\s<>"{}|\\^`]+$/.test(card.licenseLink);
  return { license: { name, ...(isLink ? { url: card.licenseLink ?? "" } : {}) } };
}

/** The SPDX id of a licence as it is written; undefined when there is doubt. */
export function spdxIdOf(written: string): string | undefined {
  return SPDX.get(written.toLowerCase());
}

/** CycloneDX licences of a text that a package states: an id, an expression of ids, or a name. */
export function licensesOfText(written: string): JsonObject[] {
  const id = spdxIdOf(written);
  if (id !== undefined) return [{ license: { id } }];
  if (/^\(*[A-Za-z0-9.+-]+\)*(?: (?:AND|OR|WITH) \(*[A-Za-z0-9.+-]+\)*)+$/.test(written))
    return [{ expression: written }];
  return [{ license: { name: written } }];
}
