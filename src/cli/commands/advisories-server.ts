/** modelkeep advisories affected|waive|waivers|unwaive: what is known against published models, and who accepts what. */
import { z } from "zod";
import {
  type AffectedWeakness,
  addWaiver,
  listAffected,
  listWaivers,
  newWaiver,
  removeWaiver,
  type StandingWaiver,
} from "../../contract/index.ts";
import type { Command } from "../command.ts";
import { cliError } from "../errors.ts";

export const advisoriesAffected: Command = {
  name: "advisories affected",
  about: "What is known against the published models of the server, by weakness; the worst first.",
  examples: [
    { line: "modelkeep advisories affected", about: "with the models that run, and those that were spoken for" },
  ],
  async run(context) {
    const data = await (await context.client()).call(listAffected, {});
    const at = data.matched_at === undefined ? "not matched yet, or no advisories" : `matched at ${data.matched_at}`;
    return { data, text: [...data.weaknesses.map(weaknessText), at] };
  },
};

function weaknessText({ id, aliases, severity, malware, kev, models, running, ...closed }: AffectedWeakness): string {
  const cve = aliases.find((alias) => alias.startsWith("CVE-"));
  const named = cve === undefined || cve === id ? id : `${id} (${cve})`;
  const parts = [
    `${models.length} models${models.length === 0 ? "" : `: ${models.slice(0, 5).join(", ")}`}`,
    `${running.length} running`,
    ...(closed.not_affected.length === 0 ? [] : [`${closed.not_affected.length} not affected`]),
    ...(closed.waived.length === 0 ? [] : [`${closed.waived.length} waived`]),
  ];
  return `${(malware ? "malware" : severity).padEnd(8)}  ${named}${kev ? "  exploited" : ""}  ${parts.join("; ")}`;
}

export const advisoriesWaivers: Command = {
  name: "advisories waivers",
  about: "The weaknesses that somebody accepted on the server: until when, by whom, why.",
  examples: [{ line: "modelkeep advisories waivers", about: "one line each; those that are over are marked" }],
  async run(context) {
    const data = await (await context.client()).call(listWaivers, {});
    return { data, text: data.waivers.map(waiverText) };
  },
};

function waiverText({ id, weakness, package: purl, model, owner, reason, expires, expired }: StandingWaiver): string {
  const about = `${purl ?? "every package"} of ${model ?? "every model"}`;
  return `${id}  ${weakness}  ${about}  ${expired ? "over since" : "until"} ${expires}  ${owner}: ${reason}`;
}

export const advisoriesWaive: Command = {
  name: "advisories waive",
  about: "Accept a weakness on the server until a day: it no longer counts there. Policy says who may (waiveWeakness).",
  examples: [
    {
      line: "modelkeep advisories waive CVE-2024-47081 --package pkg:pypi/requests --model chat@7 --owner ana@example.org --reason 'no netrc on our hosts' --expires 2026-12-31",
      about: "after that day it counts again, and is told of again",
    },
  ],
  args: [{ name: "ID", about: "CVE, GHSA or another id of the weakness; malware cannot be accepted" }],
  options: [
    { flag: "--package", value: "PURL", about: "without a version every version; every package when absent" },
    { flag: "--model", value: "REF", about: "name@version; every model when absent" },
    { flag: "--owner", value: "NAME", about: "who answers for it", required: true },
    { flag: "--reason", value: "TEXT", about: "why it does no harm here", required: true },
    { flag: "--expires", value: "DATE", about: "the last day it holds, YYYY-MM-DD, in UTC", required: true },
  ],
  async run(context, input) {
    const [purl, model] = [input.text("--package"), input.text("--model")];
    const parsed = newWaiver.safeParse({
      weakness: input.arg(0),
      owner: input.need("--owner"),
      reason: input.need("--reason"),
      expires: input.need("--expires"),
      ...(purl === undefined ? {} : { package: purl }),
      ...(model === undefined ? {} : { model }),
    });
    if (!parsed.success)
      throw cliError("USAGE", { detail: z.prettifyError(parsed.error), hint: "modelkeep advisories waive --help" });
    const data = await (await context.client()).call(addWaiver, { body: parsed.data });
    return { data, text: `accepted until ${data.expires}: ${data.id}` };
  },
};

export const advisoriesUnwaive: Command = {
  name: "advisories unwaive",
  about: "Take a waiver back: the weakness counts again, and is told of again.",
  examples: [
    { line: "modelkeep advisories unwaive waiver_0f3a…", about: "the id is in `modelkeep advisories waivers`" },
  ],
  args: [{ name: "ID", about: "id of the waiver" }],
  async run(context, input) {
    const id = input.arg(0);
    const data = await (await context.client()).call(removeWaiver, { params: { id } });
    return { data, text: `taken back: ${id}` };
  },
};
