/** CSAF 2.0 and 2.1: what `product_status` says of products that have a package URL. */
import { BOM_LIMITS } from "../limits.ts";
import { asObject, listOf, textOf, textsOf, type Unknown } from "../plain.ts";
import { timeOf } from "./openvex.ts";
import { VEX_JUSTIFICATIONS, type VexDocument, type VexStatement, type VexStatus } from "./statement.ts";

const STATUSES: readonly (readonly [string, VexStatus])[] = [
  ["known_not_affected", "not_affected"],
  ["fixed", "fixed"],
  ["first_fixed", "fixed"],
  ["known_affected", "affected"],
  ["first_affected", "affected"],
  ["last_affected", "affected"],
  ["under_investigation", "under_investigation"],
];

export function readCsaf(document: Unknown): VexDocument {
  const products = productsOf(asObject(document.product_tree) ?? {});
  const about = asObject(document.document);
  const author = textOf(asObject(about?.publisher)?.name);
  const timeMs = timeOf(textOf(asObject(about?.tracking)?.current_release_date));
  const statements: VexStatement[] = [];
  const ignored: string[] = [];
  for (const item of listOf(document.vulnerabilities).slice(0, BOM_LIMITS.vexStatements)) {
    const entry = asObject(item) ?? {};
    const ids = [textOf(entry.cve), ...listOf(entry.ids).map((id) => textOf(asObject(id)?.text))].filter(
      (id) => id !== undefined,
    );
    if (ids.length === 0) continue;
    for (const statement of readEntry(entry, products)) {
      if (statement.products.length === 0) ignored.push(`${ids[0]}: no product with a package URL`);
      else statements.push({ ...statement, ids, timeMs, ...(author === undefined ? {} : { author }) });
    }
  }
  return { format: "CSAF", statements: statements.slice(0, BOM_LIMITS.vexStatements), ignored };
}

/** One statement per status and reason: flags and threats name the products that they are about. */
function readEntry(entry: Unknown, products: ReadonlyMap<string, readonly string[]>) {
  const status = asObject(entry.product_status) ?? {};
  return STATUSES.flatMap(([key, word]) =>
    textsOf(status[key]).map((product) => {
      const justification = labelOf(entry.flags, product);
      const impact = detailOf(entry.threats, product, "impact");
      const action = detailOf(entry.remediations, product);
      return {
        products: products.get(product) ?? [],
        status: word,
        ...(justification === undefined ? {} : { justification }),
        ...(impact === undefined ? {} : { impact }),
        ...(action === undefined ? {} : { action }),
      };
    }),
  );
}

function labelOf(flags: unknown, product: string) {
  const label = listOf(flags).find((flag) => textsOf(asObject(flag)?.product_ids).includes(product));
  return VEX_JUSTIFICATIONS.find((word) => word === asObject(label)?.label);
}

function detailOf(items: unknown, product: string, category?: string): string | undefined {
  const found = listOf(items).find((item) => {
    const entry = asObject(item);
    return textsOf(entry?.product_ids).includes(product) && (category === undefined || entry?.category === category);
  });
  return textOf(asObject(found)?.details);
}

/** Package URLs by product id: branches however deep, full names, and products as parts of others. */
function productsOf(tree: Unknown): Map<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  const open: unknown[] = [
    ...listOf(tree.branches),
    ...listOf(tree.full_product_names).map((product) => ({ product })),
  ];
  for (let seen = 0; open.length > 0 && seen < BOM_LIMITS.components; seen++) {
    const branch = asObject(open.pop()) ?? {};
    const product = asObject(branch.product);
    const id = textOf(product?.product_id);
    if (id !== undefined) found.set(id, purlsOf(asObject(product?.product_identification_helper)));
    open.push(...listOf(branch.branches));
  }
  for (const item of listOf(tree.relationships).slice(0, BOM_LIMITS.components)) {
    const { product_reference: part, full_product_name: whole } = asObject(item) ?? {};
    const id = textOf(asObject(whole)?.product_id);
    if (id !== undefined) found.set(id, found.get(textOf(part) ?? "") ?? []);
  }
  return found;
}

/** `purl` in 2.0, `purls` in 2.1. */
function purlsOf(helper: Unknown | undefined): string[] {
  return [...textsOf([helper?.purl]), ...textsOf(helper?.purls)].filter((text) => text.startsWith("pkg:"));
}
