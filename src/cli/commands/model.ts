/** modelkeep model list|show: what was published, by whom it was signed, what was found in it. */
import { getModel, listModels, type PublishedModel } from "../../contract/index.ts";
import type { Command } from "../command.ts";

const FOUND = ["critical", "high", "medium", "low", "unknown", "malware"] as const;

/** `2 high, 1 low`, or what the absence of advisories means. */
export function foundText(model: Pick<PublishedModel, "vulnerabilities" | "advisories_matched">): string {
  if (!model.advisories_matched) return "not matched against advisories";
  const found = FOUND.filter((name) => model.vulnerabilities[name] > 0);
  return found.length === 0
    ? "no known vulnerability"
    : found.map((name) => `${model.vulnerabilities[name]} ${name}`).join(", ");
}

export const modelList: Command = {
  name: "model list",
  about: "The published models, one line each.",
  examples: [{ line: "modelkeep model list", about: "name, scan, known vulnerabilities" }],
  async run(context) {
    const api = await context.client();
    const models: PublishedModel[] = [];
    let after: string | undefined;
    do {
      const page = await api.call(listModels, { body: after === undefined ? {} : { after } });
      models.push(...page.models);
      after = page.next;
    } while (after !== undefined);
    const lines = models.map(
      (model) => `${model.name}@${model.version}  ${model.scan_verdict}  ${foundText(model)}  ${model.published_at}`,
    );
    return { data: { models }, text: lines };
  },
};

export const modelShow: Command = {
  name: "model show",
  about: "One published model: signer, root digest, place, findings.",
  examples: [{ line: "modelkeep model show keeper@1", about: "the key id is what a policy names as signature.keyId" }],
  args: [{ name: "REF", about: "name@version" }],
  async run(context, input) {
    const ref = input.arg(0);
    const model = await (await context.client()).call(getModel, { params: { ref } });
    const rows: [string, string][] = [
      ["model", `${model.name}@${model.version}`],
      ["root digest", model.root_digest],
      ["signer", model.signer_key_id],
      ["package", model.package_id],
      ["store", `${model.store_uri} ${model.prefix}`],
      ["scan", model.scan_verdict],
      ["advisories", foundText(model)],
      ["published", `${model.published_at} by ${model.published_by}`],
    ];
    return { data: model, text: rows.map(([name, value]) => `${name.padEnd(11)} ${value}`) };
  },
};
