/** Every recorded case through `attest verify`, by name: as a file on the command line, with its verdict at its time. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { runCli } from "./support/cli.ts";

const FOLDER = join(process.env.MODELKEEP_VECTORS ?? join(import.meta.dirname, "../../../shared/vectors"), "tee");
const skip = existsSync(FOLDER) ? false : "no vectors: set MODELKEEP_VECTORS to the folder with tee/";

interface Case {
  readonly name: string;
  readonly line: string;
  readonly status?: string;
  readonly advisories?: readonly string[];
  /** YAML; absent: none is given. */
  readonly profile?: string;
  /** Rules that fail; empty: accepted. */
  readonly failed: readonly string[];
}

interface Answer {
  readonly verdict: string;
  readonly tcbStatus?: string;
  readonly advisories: readonly string[];
  readonly rules: readonly { readonly id: string; readonly result: string; readonly message: string }[];
  readonly claims: Readonly<Record<string, unknown>>;
  readonly collateral?: { readonly ageSeconds: number };
}

async function verify(line: string, profile?: string) {
  const home = mkdtempSync(join(tmpdir(), "modelkeep-attest-"));
  try {
    const file = join(home, "profile.yaml");
    if (profile !== undefined) writeFileSync(file, profile);
    const words = ["attest", "verify", ...line.split(" "), ...(profile === undefined ? [] : ["--profile", file])];
    const { exit, stdout, stderr } = await runCli([...words, "--json"], { cwd: FOLDER });
    return { exit, stderr, answer: JSON.parse(stdout) as Answer };
  } finally {
    rmSync(home, { recursive: true });
  }
}

const failedOf = ({ rules }: Answer) => rules.filter(({ result }) => result === "failed").map(({ id }) => id);

async function check({ line, profile, failed, status, advisories }: Case): Promise<void> {
  const { exit, answer } = await verify(line, profile);
  assert.deepEqual(failedOf(answer), failed);
  assert.equal(answer.verdict, failed.length === 0 ? "accepted" : "refused");
  assert.equal(exit, failed.length === 0 ? 0 : 4);
  if (status !== undefined) assert.equal(answer.tcbStatus, status);
  if (advisories !== undefined) assert.deepEqual(answer.advisories, advisories);
}

const sa = (...numbers: readonly string[]) => numbers.map((number) => `INTEL-SA-${number}`);
const signer = "--chain tdx/collateral-2026-03-eval18/tcb_signing_chain.pem";
const eval15 = `--collateral tdx/collateral-2023-06-eval15-50806f ${signer} --at 2023-06-25T00:00:00Z`;
const eval17 = `--collateral tdx/collateral-2025-06-eval17 ${signer} --at 2025-06-20T00:00:00Z`;
const eval18 = "--collateral tdx/collateral-2026-03-eval18 --at 2026-03-20T00:00:00Z";
const milan = "--chain sev-snp/roots/ask_ark_milan.pem";
const noSigner = ["dcap.tcb-info.signer", "dcap.qe-identity.signer"];

const cases: readonly Case[] = [
  {
    name: "sev-snp/milan-v2-debug",
    line: "sev-snp/milan-v2-debug/report.bin --kind snp --chain sev-snp/milan-v2-debug/vcek.der --chain sev-snp/milan-v2-debug/cert_chain.pem --at 2023-01-01T00:00:00Z",
    failed: ["snp.policy.debug"],
  },
  {
    name: "sev-snp/milan-v2-debug, debugging allowed by name",
    line: "sev-snp/milan-v2-debug/report.bin --kind snp --chain sev-snp/milan-v2-debug --at 2023-01-01T00:00:00Z",
    profile:
      "snp:\n  products: [Milan]\n  allow_debug: true\n  allow_any_tcb: true\n  require_crl: false\n  required_platform: []\n",
    failed: [],
  },
  {
    name: "sev-snp/milan-v2-azure",
    line: `sev-snp/milan-v2-azure/report.bin --kind snp --chain sev-snp/milan-v2-azure/vcek.der ${milan} --at 2024-01-01T00:00:00Z`,
    failed: [],
  },
  {
    name: "sev-snp/milan-v3-aws-vlek-vmpl1",
    line: "sev-snp/milan-v3-aws-vlek-vmpl1/report.bin --kind snp --chain sev-snp/milan-v3-aws-vlek-vmpl1 --at 2025-06-01T00:00:00Z",
    failed: ["snp.vek.provider", "snp.chip.masked", "snp.vmpl"],
  },
  {
    name: "sev-snp/milan-v3-aws-vlek-vmpl1, provider, masked chip and VMPL 1 by name",
    line: "sev-snp/milan-v3-aws-vlek-vmpl1/report.bin --kind snp --chain sev-snp/milan-v3-aws-vlek-vmpl1 --at 2025-06-01T00:00:00Z",
    profile:
      'snp:\n  products: [Milan]\n  vlek_csp_ids: ["CN=cc-us-east-2.amazonaws.com"]\n  allow_masked_chip_id: true\n  vmpl: [1]\n  allow_any_tcb: true\n  require_crl: false\n',
    failed: [],
  },
  {
    name: "sev-snp/milan-v3-aws-vlek-vmpl1, its certificate expired",
    line: "sev-snp/milan-v3-aws-vlek-vmpl1/report.bin --kind snp --chain sev-snp/milan-v3-aws-vlek-vmpl1 --at 2026-01-01T00:00:00Z",
    profile:
      'snp:\n  products: [Milan]\n  vlek_csp_ids: ["CN=cc-us-east-2.amazonaws.com"]\n  allow_masked_chip_id: true\n  vmpl: [1]\n  allow_any_tcb: true\n  require_crl: false\n',
    failed: ["snp.chain.expired"],
  },
  {
    name: "sev-snp/untrusted-vcek",
    line: `sev-snp/milan-v2-azure/report.bin --kind snp --chain sev-snp/untrusted-vcek/vcek-invalid-legacy.der ${milan} --at 2024-01-01T00:00:00Z`,
    failed: ["snp.chain.bad-signature", "snp.report.signature", "snp.vek.tcb", "snp.vek.chip"],
  },
  {
    name: "sev-snp/genoa-v3-kbs-json",
    line: "sev-snp/genoa-v3-kbs-json/evidence.json --kind snp --chain sev-snp/roots/ask_ark_genoa.pem --at 2025-08-01T00:00:00Z",
    failed: [],
  },
  {
    name: "sev-snp/turin-v5",
    line: "sev-snp/turin-v5/report.bin --kind snp --chain sev-snp/turin-v5 --at 2026-06-01T00:00:00Z",
    failed: [],
  },
  {
    name: "sev-snp/genoa-v5",
    line: "sev-snp/genoa-v5/report.bin --kind snp --chain sev-snp/genoa-v5/vcek.der --chain sev-snp/roots --at 2026-06-01T00:00:00Z",
    failed: [],
  },
  {
    name: "sev-snp/genoa-v5 under an empty section: strict",
    line: "sev-snp/genoa-v5/report.bin --kind snp --chain sev-snp/genoa-v5/vcek.der --chain sev-snp/roots --at 2026-06-01T00:00:00Z",
    profile: "snp: {}\n",
    failed: ["snp.crl.present", "snp.tcb.minimum"],
  },
  {
    name: "sev-snp/azure-hcl-vtpm, hcl-report.bin",
    line: "sev-snp/azure-hcl-vtpm/hcl-report.bin --kind snp --chain sev-snp/azure-hcl-vtpm/vcek.pem --at 2024-01-01T00:00:00Z",
    failed: [],
  },
  {
    name: "sev-snp/azure-hcl-vtpm, evidence-v2.json",
    line: `sev-snp/azure-hcl-vtpm/evidence-v2.json --kind snp ${milan} --at 2025-06-01T00:00:00Z`,
    failed: [],
  },
  {
    name: "tdx/phala-v4-b0c06f",
    line: "tdx/phala-v4-b0c06f/quote.bin --kind tdx --collateral tdx/phala-v4-b0c06f/collateral.json --at 2025-06-25T00:00:00Z",
    status: "UpToDate",
    advisories: [],
    failed: [],
  },
  {
    name: "tdx/phala-v4-b0c06f, collateral expired",
    line: "tdx/phala-v4-b0c06f/quote.bin --kind tdx --collateral tdx/phala-v4-b0c06f/collateral.json --at 2025-08-01T00:00:00Z",
    status: "UpToDate",
    failed: ["dcap.tcb-info.time", "dcap.qe-identity.time", "dcap.pck-crl.time"],
  },
  {
    name: "tdx/phala-v5-90c06f-tcb-not-supported",
    line: "tdx/phala-v5-90c06f-tcb-not-supported/quote.bin --kind tdx --collateral tdx/phala-v5-90c06f-tcb-not-supported --at 2026-03-01T00:00:00Z",
    status: "NotSupported",
    failed: ["dcap.tcb.status"],
  },
  {
    name: "tdx/gcp-v4-00806f-cos113",
    line: `tdx/gcp-v4-00806f-cos113/quote.bin --kind tdx ${eval17}`,
    status: "UpToDate",
    advisories: [],
    failed: [],
  },
  {
    name: "tdx/gcp-v4-50806f-nonzero-trailer",
    line: `tdx/gcp-v4-50806f-nonzero-trailer/quote.bin --kind tdx ${eval15}`,
    status: "NotSupported",
    failed: [...noSigner, "dcap.tcb.status", "tdx.sept-ve-disable"],
  },
  {
    name: "tdx/debug-v4-50806f with evaluation 15",
    line: `tdx/debug-v4-50806f/quote.bin --kind tdx ${eval15}`,
    status: "UpToDate",
    failed: [...noSigner, "tdx.debug"],
  },
  {
    name: "tdx/debug-v4-50806f with evaluation 18",
    line: `tdx/debug-v4-50806f/quote.bin --kind tdx ${eval18}`,
    status: "OutOfDate",
    failed: ["dcap.tcb.status", "tdx.debug"],
  },
  {
    name: "tdx/v5-mrservicetd-tcb-not-supported",
    line: `tdx/v5-mrservicetd-tcb-not-supported/quote.bin --kind tdx ${eval18}`,
    status: "NotSupported",
    failed: ["dcap.tcb.status", "tdx.mr-service-td"],
  },
  {
    name: "tdx/azure-hcl-vtpm-00806f, td-quote.bin",
    line: `tdx/azure-hcl-vtpm-00806f/td-quote.bin --kind tdx ${eval17}`,
    status: "OutOfDate",
    advisories: sa("00960", "00982", "00986"),
    failed: ["dcap.tcb.status", "tdx.sept-ve-disable"],
  },
  {
    name: "tdx/azure-hcl-vtpm-00806f, evidence-v1.json",
    line: `tdx/azure-hcl-vtpm-00806f/evidence-v1.json --kind tdx ${eval17}`,
    status: "OutOfDate",
    failed: ["dcap.tcb.status", "tdx.sept-ve-disable"],
  },
  {
    name: "tdx/azure-hcl-vtpm-00806f, evidence-v1.json, old firmware and the paravisor accepted by name",
    line: `tdx/azure-hcl-vtpm-00806f/evidence-v1.json --kind tdx ${eval17}`,
    profile:
      "tdx:\n  accepted_tcb_statuses: [UpToDate, OutOfDate]\n  require_sept_ve_disable: false\n  require_revocation_lists: false\nazure:\n  allow_any_pcrs: true\n",
    failed: [],
  },
  {
    name: "tdx/alibaba-v5-90c06f-rollback with evaluation 17",
    line: `tdx/alibaba-v5-90c06f-rollback/quote.bin --kind tdx ${eval17}`,
    status: "UpToDate",
    failed: ["tdx.mr-service-td"],
  },
  {
    name: "tdx/alibaba-v5-90c06f-rollback with evaluation 18",
    line: `tdx/alibaba-v5-90c06f-rollback/quote.bin --kind tdx ${eval18}`,
    status: "OutOfDate",
    advisories: sa("01036", "01079", "01099", "01103", "01111"),
    failed: ["dcap.tcb.status", "tdx.mr-service-td"],
  },
  {
    name: "trap 15: tdx/alibaba-v5-90c06f-rollback, evaluation 17 replayed where 18 is the least",
    line: `tdx/alibaba-v5-90c06f-rollback/quote.bin --kind tdx ${eval17}`,
    profile: "tdx:\n  minimum_tcb_evaluation_data_number: 18\n  require_revocation_lists: false\n",
    failed: ["dcap.tcb-info.evaluation", "dcap.qe-identity.evaluation", "tdx.mr-service-td"],
  },
  {
    name: "tdx/dstack-v4-90c06f-eventlog",
    line: `tdx/dstack-v4-90c06f-eventlog/quote-report.json --kind tdx ${eval18}`,
    status: "UpToDate",
    advisories: [],
    failed: [],
  },
  {
    name: "sgx/phala-v3-00a067110000",
    line: "sgx/phala-v3-00a067110000/quote.bin --kind sgx --collateral sgx/phala-v3-00a067110000/collateral.json --at 2025-06-25T00:00:00Z",
    status: "ConfigurationAndSWHardeningNeeded",
    advisories: sa("00289", "00615"),
    failed: ["dcap.tcb.status"],
  },
  {
    name: "sgx/phala-v3-00a067110000, its state accepted by name",
    line: "sgx/phala-v3-00a067110000/quote.bin --kind sgx --collateral sgx/phala-v3-00a067110000/collateral.json --at 2025-06-25T00:00:00Z",
    profile: "sgx:\n  accepted_tcb_statuses: [ConfigurationAndSWHardeningNeeded]\n",
    failed: [],
  },
  {
    name: "sgx/debug-v3-00a067110000",
    line: `sgx/debug-v3-00a067110000/quote.bin --kind sgx --collateral sgx/debug-v3-00a067110000/tcb_info.json --collateral sgx/automata-v3-00606a000000/qe_identity.json ${signer} --at 2025-05-20T00:00:00Z`,
    failed: ["dcap.qe-identity.time", "dcap.tcb.status", "sgx.debug"],
  },
  {
    name: "sgx/automata-v3-00606a000000",
    line: `sgx/automata-v3-00606a000000/quote.hex --kind sgx --collateral sgx/automata-v3-00606a000000 --collateral tdx/phala-v4-b0c06f/collateral.json ${signer} --at 2025-08-20T00:00:00Z`,
    status: "SWHardeningNeeded",
    advisories: sa("00615"),
    failed: ["dcap.tcb.status"],
  },
  {
    name: "sgx/occlum-debug-outofdate",
    line: `sgx/occlum-debug-outofdate/quote.bin --kind sgx --collateral sgx/automata-v3-00606a000000 --collateral tdx/phala-v4-b0c06f/collateral.json ${signer} --at 2025-08-20T00:00:00Z`,
    status: "OutOfDate",
    failed: ["dcap.tcb.status", "sgx.debug"],
  },
  {
    name: "sgx/occlum-debug-outofdate, rest-as-request.json",
    line: `sgx/occlum-debug-outofdate/rest-as-request.json --kind sgx --collateral sgx/automata-v3-00606a000000 --collateral tdx/phala-v4-b0c06f/collateral.json ${signer} --at 2025-08-20T00:00:00Z`,
    status: "OutOfDate",
    failed: ["dcap.tcb.status", "sgx.debug"],
  },
  {
    name: "sgx/intel-qvl-synthetic",
    line: "sgx/intel-qvl-synthetic/quote.dat --kind sgx --collateral sgx/intel-qvl-synthetic --at 2020-01-01T00:00:00Z",
    failed: ["dcap.chain.format"],
  },
  {
    name: "nvidia-gpu/hopper-full-set-545.00",
    line: "nvidia-gpu/hopper-full-set-545.00/report.txt --kind nvidia --chain nvidia-gpu/hopper-full-set-545.00/cert_chain.pem --collateral nvidia-gpu/hopper-full-set-545.00 --at 2024-01-01T00:00:00Z",
    failed: [],
  },
  {
    name: "nvidia-gpu/hopper-full-set-545.00, manifests expired",
    line: "nvidia-gpu/hopper-full-set-545.00/report.txt --kind nvidia --collateral nvidia-gpu/hopper-full-set-545.00 --at 2026-01-01T00:00:00Z",
    failed: ["nvidia.rim.chain", "nvidia.rim.chain"],
  },
  {
    name: "nvidia-gpu/hopper-550.90.07",
    line: "nvidia-gpu/hopper-550.90.07/report.txt --kind nvidia --chain nvidia-gpu/hopper-550.90.07/cert_chain.pem --at 2024-01-01T00:00:00Z",
    failed: [],
  },
  {
    name: "nvidia-gpu/hopper-535.86.09 with the VBIOS manifest",
    line: "nvidia-gpu/hopper-535.86.09/report.txt --kind nvidia --chain nvidia-gpu/hopper-535.86.09 --collateral nvidia-gpu/vbios-rims/1010_0200_882_96005E0001_PROD.swidtag --at 2024-01-01T00:00:00Z",
    failed: [],
  },
  {
    name: "nvidia-gpu/hopper-580.159.03",
    line: "nvidia-gpu/hopper-580.159.03/report.txt --kind nvidia --chain nvidia-gpu/hopper-580.159.03/cert_chain.pem --at 2024-01-01T00:00:00Z",
    failed: [],
  },
  {
    name: "nvidia-gpu/hopper-580.159.03 with an older issue of its VBIOS manifest",
    line: "nvidia-gpu/hopper-580.159.03/report.txt --kind nvidia --chain nvidia-gpu/hopper-580.159.03 --collateral nvidia-gpu/vbios-rims/1010_0205_862_9600740020_PROD.swidtag --at 2024-01-01T00:00:00Z",
    failed: ["nvidia.rim.measurements"],
  },
  {
    name: "nvidia-gpu/blackwell",
    line: "nvidia-gpu/blackwell/report.txt --kind nvidia --chain nvidia-gpu/blackwell/cert_chain.pem --at 2026-01-01T00:00:00Z",
    failed: [],
  },
  {
    name: "nvidia-gpu/switch-ls10",
    line: "nvidia-gpu/switch-ls10/report.txt --kind nvidia --collateral nvidia-gpu/switch-ls10 --at 2026-09-01T00:00:00Z",
    failed: [],
  },
  {
    name: "nvidia-gpu/switch-ls10, manifest not yet valid",
    line: "nvidia-gpu/switch-ls10/report.txt --kind nvidia --collateral nvidia-gpu/switch-ls10 --at 2026-01-01T00:00:00Z",
    failed: ["nvidia.rim.chain"],
  },
  ...["hopper_evidence", "hopper_evidence_cert_hold", "switch_evidence_ls10"].map((name) => ({
    name: `nvidia-gpu/serialized/${name}`,
    line: `nvidia-gpu/serialized/${name}.json --kind nvidia --at 2026-01-01T00:00:00Z`,
    failed: [],
  })),
  ...["gpu_evidence", "switch_evidence"].map((name) => ({
    name: `nvidia-gpu/ppcie-8gpu-4switch/${name}`,
    line: `nvidia-gpu/ppcie-8gpu-4switch/${name}.json --kind nvidia --at 2026-01-01T00:00:00Z`,
    failed: [],
  })),
  {
    name: "nvidia-gpu/driver-rims/NV_GPU_DRIVER_GH100_550.144.03",
    line: "nvidia-gpu/driver-rims/NV_GPU_DRIVER_GH100_550.144.03.xml --kind nvidia --at 2026-01-01T00:00:00Z",
    failed: [],
  },
  {
    name: "nvidia-gpu/negative/hopper_report_invalid_signature",
    line: "nvidia-gpu/negative/hopper_report_invalid_signature.txt --kind nvidia --chain nvidia-gpu/hopper-535.86.09/cert_chain.pem --at 2024-01-01T00:00:00Z",
    failed: ["nvidia.report.signature", "nvidia.device.fwid"],
  },
  {
    name: "nvidia-gpu/negative/incorrect_signature_driver_rim",
    line: "nvidia-gpu/negative/incorrect_signature_driver_rim.xml --kind nvidia --at 2026-01-01T00:00:00Z",
    failed: ["nvidia.rim.signature"],
  },
  {
    name: "nvidia-gpu/negative/NV_GPU_DRIVER_GH100_570.124.03_expired",
    line: "nvidia-gpu/negative/NV_GPU_DRIVER_GH100_570.124.03_expired.xml --kind nvidia --at 2025-01-01T12:00:00Z",
    failed: ["nvidia.rim.signature"],
  },
  {
    name: "nvidia-gpu/nras/hopperClaimsv3_detached_eat (the service's key was not recorded)",
    line: "nvidia-gpu/nras/hopperClaimsv3_detached_eat.json --kind nvidia --at 2025-06-11T00:30:00Z",
    failed: ["nvidia.nras.key", "nvidia.nras.signature"],
  },
  {
    name: "nvidia-gpu/nvattest-output (its tokens are not signed)",
    line: "nvidia-gpu/nvattest-output/gpu_attestation_h100.json --kind nvidia --at 2026-01-01T00:00:00Z",
    failed: ["nvidia.nras.format"],
  },
];

for (const one of cases) test(one.name, { skip }, () => check(one));

test("what is bound is compared in all its bytes, of devices in 32", { skip }, async () => {
  const report = readFileSync(join(FOLDER, "sev-snp/genoa-v5/report.bin"));
  const bound = report.subarray(0x50, 0x90).toString("hex");
  const line = "sev-snp/genoa-v5/report.bin --kind snp --chain sev-snp/genoa-v5 --chain sev-snp/roots --at 2026-06-01";
  const resultOf = async (data: string) =>
    (await verify(`${line} --report-data ${data}`)).answer.rules.find(({ id }) => id === "snp.report-data")?.result;
  assert.equal(await resultOf(bound), "passed");
  assert.equal(await resultOf(bound.replace(/(00)+$/, "")), "passed", "zeros are added");
  assert.equal(await resultOf(`${bound.slice(0, -1)}1`), "failed");
  const gpu =
    "nvidia-gpu/hopper-550.90.07/report.txt --kind nvidia --chain nvidia-gpu/hopper-550.90.07 --at 2026-01-01";
  const nonce = readFileSync(join(FOLDER, "nvidia-gpu/hopper-550.90.07/report.txt"), "utf8").slice(8, 72);
  const { answer } = await verify(`${gpu} --report-data ${nonce}`);
  assert.equal(answer.rules.find(({ id }) => id === "nvidia.report.nonce")?.result, "passed");
  const other = await verify(`${gpu} --report-data ${"00".repeat(32)}`);
  assert.ok(failedOf(other.answer).includes("nvidia.report.nonce"));
  const unasked = await verify(gpu);
  assert.equal(unasked.answer.rules.find(({ id }) => id === "nvidia.report.nonce")?.result, "unchecked");
});

test("a flipped bit of signed evidence is refused, and cut evidence ends in a verdict", { skip }, async () => {
  const home = mkdtempSync(join(tmpdir(), "modelkeep-attest-"));
  const line = "--kind tdx --collateral tdx/phala-v4-b0c06f/collateral.json --at 2025-06-25 --json";
  const quote = readFileSync(join(FOLDER, "tdx/phala-v4-b0c06f/quote.bin"));
  try {
    const file = join(home, "quote.bin");
    const judge = async (bytes: Uint8Array) => {
      writeFileSync(file, bytes);
      return runCli(["attest", "verify", file, ...line.split(" ")], { cwd: FOLDER });
    };
    for (const place of [0, 60, 200, 500, 631, 640, 700, 1100]) {
      const changed = Uint8Array.from(quote);
      changed[place] = (changed[place] ?? 0) ^ 0x10;
      assert.equal((await judge(changed)).exit, 4, `byte ${place}`);
    }
    for (const length of [0, 1, 47, 48, 632, 1000, 4000]) {
      const ran = await judge(quote.subarray(0, length));
      assert.equal(ran.exit, 4, `${length} bytes`);
      assert.equal(JSON.parse(ran.stdout).verdict, "refused");
    }
  } finally {
    rmSync(home, { recursive: true });
  }
});

test("what cannot be judged exits 1 or 2 and names the file or the line", { skip }, async () => {
  const home = mkdtempSync(join(tmpdir(), "modelkeep-attest-"));
  try {
    const run = (...words: readonly string[]) => runCli(["attest", "verify", ...words], { cwd: home });
    const evidence = join(FOLDER, "tdx/phala-v4-b0c06f/quote.bin");
    writeFileSync(join(home, "text.txt"), "no collateral");
    const unreadable = await run(evidence, "--kind", "tdx", "--collateral", "text.txt");
    assert.equal(unreadable.exit, 1);
    assert.match(unreadable.stderr, /text\.txt/);
    writeFileSync(join(home, "p.yaml"), "version: 1\ntdx:\n  allow_debug: maybe\n  colour: red\n");
    const profile = await run(evidence, "--kind", "tdx", "--profile", "p.yaml");
    assert.equal(profile.exit, 1);
    assert.match(profile.stderr, /line 3: tdx\.allow_debug/);
    assert.match(profile.stderr, /line 4: tdx\.colour/);
    assert.equal((await run("missing.bin", "--kind", "tdx")).exit, 1);
    assert.equal((await run(evidence)).exit, 2);
    assert.equal((await run(evidence, "--kind", "toaster")).exit, 2);
    assert.equal((await run(evidence, "--kind", "tdx", "--at", "yesterday")).exit, 2);
    assert.equal((await run(evidence, "--kind", "tdx", "--report-data", "xy")).exit, 2);
    assert.equal((await run(evidence, "--kind", "nvidia", "--report-data", "00")).exit, 2);
    const other = await run(evidence, "--kind", "sgx", "--at", "2025-06-25", "--json");
    assert.equal(other.exit, 4, "a quote of another TEE");
    writeFileSync(join(home, "empty.yaml"), "");
    const nothing = await run(evidence, "--kind", "tdx", "--profile", "empty.yaml", "--json");
    assert.deepEqual(failedOf(JSON.parse(nothing.stdout)), ["profile.tee"]);
  } finally {
    rmSync(home, { recursive: true });
  }
});

test("JSON holds 64-bit numbers as text, bytes as hex, and the age of the collateral", { skip }, async () => {
  const { answer } = await verify(
    "tdx/phala-v4-b0c06f/quote.bin --kind tdx --collateral tdx/phala-v4-b0c06f/collateral.json --at 2025-06-25",
  );
  assert.match(String(answer.claims.tdAttributes), /^\d+$/);
  assert.match(String(answer.claims.reportData), /^[0-9a-f]{128}$/);
  assert.ok((answer.collateral?.ageSeconds ?? 0) > 0);
});
