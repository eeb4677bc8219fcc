/** Which part of an issuer's certificates a list is about, when the issuer keeps several (RFC 5280, sections 4.2.1.13 and 5.2.5). */
import { ModelkeepError, toHex } from "../base/index.ts";
import { type DerNode, parseDer } from "./der.ts";
import { DerFields, derInner, derSequence, isContext } from "./der-read.ts";
import { OID } from "./oid.ts";
import type { Certificate } from "./x509.ts";

/** DistributionPointName: its full names as hex of their DER; none for a name that is relative to the issuer's. */
export function readPointNames(node: DerNode): readonly string[] {
  const name = derInner(node);
  return isContext(name, 0) && name.tag.constructed ? name.children.map(({ raw }) => toHex(raw)) : [];
}

/** Whether a list with these names holds this certificate, were it revoked; one without names holds them all. */
export function isOfPoint(
  points: readonly string[] | undefined,
  certificate: Pick<Certificate, "extensions">,
): boolean {
  if (points === undefined) return true;
  const own = new Set(pointsOf(certificate));
  return points.some((point) => own.has(point));
}

/** What cannot be read leads to no list. */
function pointsOf({ extensions }: Pick<Certificate, "extensions">): readonly string[] {
  const extension = extensions.get(OID.crlDistributionPoints);
  try {
    return extension ? derSequence(parseDer(extension.value)).flatMap(namesOf) : [];
  } catch (error) {
    if (error instanceof ModelkeepError) return [];
    throw error;
  }
}

/** A point for some reasons, or with lists of another issuer, leads to no list that is taken here. */
function namesOf(node: DerNode): readonly string[] {
  const fields = new DerFields(node);
  const name = fields.takeContext(0);
  const reasons = fields.takeContext(1);
  const issuer = fields.takeContext(2);
  fields.end();
  return name && !reasons && !issuer ? readPointNames(name) : [];
}
