/** A counterpart of `nvattest collect-evidence`, from its documentation: one GPU of a test authority; argv is its file, then the words. */
import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { fromHex, toBase64 } from "../../../src/base/index.ts";
import { writeReport } from "../../attestation/support/nvidia.ts";

const [file = "", , , , , nonce = ""] = process.argv.slice(2);
const { key, certificate } = JSON.parse(readFileSync(file, "utf8"));
const report = writeReport(createPrivateKey(key), { nonce: fromHex(nonce) ?? new Uint8Array(32) });
const evidences = [{ arch: "HOPPER", nonce, evidence: toBase64(report), certificate, version: "1.0" }];
process.stdout.write(JSON.stringify({ evidences, result_code: 0, result_message: "Ok" }));
