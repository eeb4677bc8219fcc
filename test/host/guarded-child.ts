/** Holds a key at the level that MODELKEEP_MEMORY asks for, closes itself to others, and waits to be looked at. */
import { GuardedBytes, guardedMemoryLevel, hardenProcess } from "../../src/host/index.ts";

const hardening = process.argv[2] === "open" ? undefined : hardenProcess();
try {
  const key = GuardedBytes.take(Buffer.from(process.argv[3] ?? "6b", "hex"));
  // The words of the command line are not the key: its hex is, and the test looks for its bytes.
  process.on("message", () => process.send?.({ length: key.use((bytes) => bytes.length) }));
  process.send?.({ ...guardedMemoryLevel(), hardening });
} catch (error) {
  process.send?.({ code: (error as { code?: string }).code });
}
