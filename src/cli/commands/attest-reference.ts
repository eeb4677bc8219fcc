/** modelkeep attest reference sign: measurements that are good, signed by whoever builds the image. */
import { resolve } from "node:path";
import { APPRAISAL_LIMITS, parseReferenceFile, signReferenceValues } from "../../attestation/index.ts";
import { utf8 } from "../../base/index.ts";
import { readFileBounded, writeFileAtomic } from "../../host/index.ts";
import { openSigner } from "../../signing/index.ts";
import type { Command } from "../command.ts";
import { cliError } from "../errors.ts";
import { KEY_ABOUT } from "./signing.ts";

const DAY_MS = 24 * 3_600_000;
const DEFAULT_DAYS = 90;

export const attestReferenceSign: Command = {
  name: "attest reference sign",
  about: "Sign reference values: measurements that profiles add to their lists until the statement ends.",
  examples: [
    {
      line: "modelkeep attest reference sign values.yaml --name keeper --key signer.pem --output values.json",
      about: "where the image is built; values.yaml has the sections snp, tdx and sgx",
    },
  ],
  args: [{ name: "FILE", about: "YAML with lists of measurements, as spec/appraisal-profile.md names them" }],
  options: [
    { flag: "--key", value: "KEY", about: KEY_ABOUT, required: true },
    { flag: "--name", value: "NAME", about: "what it is about: a later statement replaces this one", required: true },
    { flag: "--days", value: "N", about: "how long it is good", default: String(DEFAULT_DAYS) },
    { flag: "--output", value: "FILE", about: "the signed statement", required: true },
  ],
  async run(context, input) {
    const file = input.args[0];
    if (file === undefined) throw cliError("USAGE", { detail: "FILE is missing" });
    const written = parseReferenceFile(
      await readFileBounded(resolve(context.cwd, file), APPRAISAL_LIMITS.profileBytes),
    );
    const [from, days] = [context.clock.now(), daysOf(input.need("--days"))];
    const values = {
      ...{ version: 1 as const, name: input.need("--name") },
      issued_at: new Date(from).toISOString(),
      expires_at: new Date(from + days * DAY_MS).toISOString(),
      ...written,
    };
    const signer = await openSigner(input.need("--key"), context);
    const output = resolve(context.cwd, input.need("--output"));
    await writeFileAtomic(output, utf8(await signReferenceValues(values, signer)));
    const data = { output, name: values.name, key_id: signer.keyId, expires_at: values.expires_at };
    return { data, text: [`${values.name} in ${output}`, `signed by ${signer.keyId}`] };
  },
};

function daysOf(text: string): number {
  const days = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (days >= 1 && days <= APPRAISAL_LIMITS.referenceLifeDays) return days;
  throw cliError("USAGE", { detail: `--days ${text.slice(0, 20)}: 1 to ${APPRAISAL_LIMITS.referenceLifeDays}` });
}
