/** What Python itself writes: plain data of every protocol is clean, and every operator of it is understood. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { scanBytes } from "./support.ts";

/** Writes pickles and never reads one. */
const SCRIPT = `
import base64, collections, datetime, decimal, fractions, json, pickle, uuid
loop = []; loop.append(loop)
ring = {}; ring["me"] = ring
shared = ["x" * 300]
values = {
  "none": None, "numbers": [0, 1, -1, 255, 256, 65535, 65536, 2**31, -2**31, 2**64, -2**200, 2**3000, 1.5, float("inf"), float("nan"), 3+4j],
  "texts": ["", "a", "\\u00e4\\U0001f600\\n\\\\u0041\\x00", "x" * 70000, "'\\""], "bytes": [b"", b"a" * 10, bytes(range(256)) * 4],
  "bytearray": bytearray(b"abc"), "nested": {"a": [({"b": (1, 2, 3, 4)},)]}, "sets": [{1, 2}, frozenset({3})],
  "loop": loop, "ring": ring, "shared": [shared, shared], "many": {str(i): i for i in range(3000)}, "deep": eval("[" * 40 + "]" * 40),
  "ordered": collections.OrderedDict(a=1), "counter": collections.Counter("aab"), "default": collections.defaultdict(list, a=[1]),
  "deque": collections.deque([1, 2]), "date": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), "decimal": decimal.Decimal("1.10"),
  "fraction": fractions.Fraction(1, 3), "range": range(5), "slice": slice(1, 2), "types": [int, dict, float],
}
print(json.dumps({f"{name}, protocol {p}": base64.b64encode(pickle.dumps(value, p)).decode()
  for name, value in values.items() for p in range(6) if not (name == "slice" and p < 2)}))
`;

test("pickles that Python wrote", async (t) => {
  const python = spawnSync("python3", ["-c", SCRIPT], { encoding: "utf8", maxBuffer: 1 << 26 });
  if (python.status !== 0) return t.skip("no python3 on the path: install it");
  const pickles = Object.entries(JSON.parse(python.stdout) as Record<string, string>);
  assert.ok(pickles.length > 100);
  for (const [name, base64] of pickles) {
    const { verdict, findings } = await scanBytes(Buffer.from(base64, "base64"));
    assert.equal(verdict, "clean", `${name}: ${JSON.stringify(findings)}`);
  }
});
