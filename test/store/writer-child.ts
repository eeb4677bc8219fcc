/** Writes records one after the other and says each number once it was acknowledged: until it is killed. */
import { writeSync } from "node:fs";
import { openAuditLog } from "../../src/audit/index.ts";
import { silentLog, utf8 } from "../../src/base/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { open } from "./support.ts";

const [url = "", first = "0"] = process.argv.slice(2);
const store = await open(url);
const audit = await openAuditLog({
  store,
  clock: systemClock,
  random: systemRandom,
  log: silentLog,
  origin: "test/audit",
});
for (let n = Number(first); ; n += 3) {
  const batch = [n, n + 1, n + 2];
  await store.transaction(async (tx) => {
    for (const one of batch) await tx.put("kept", String(one).padStart(9, "0"), utf8(`value ${one}`));
    await tx.put("kept", "newest", utf8(String(n + 2)));
  });
  await audit.record({ action: "kept", outcome: "allowed", principal: "x", resource: "y", data: { n } });
  writeSync(1, `${n}\n`);
}
