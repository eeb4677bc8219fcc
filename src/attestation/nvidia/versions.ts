/** Versions of drivers and VBIOS: their order, and the ids of the manifests that NVIDIA publishes for them. */
import type { NvidiaArch } from "./evidence.ts";
import type { OpaqueData } from "./opaque.ts";

/** Negative, zero or positive; numbers in base 10 for drivers, 16 for VBIOS. A missing number counts as zero. */
export function compareVersions(a: string, b: string, base: 10 | 16): number {
  const left = a.split(".").map((part) => Number.parseInt(part, base));
  const right = b.split(".").map((part) => Number.parseInt(part, base));
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Two VBIOS versions can be ordered only within one family: the first two numbers name it. */
export function sameVbiosFamily(a: string, b: string): boolean {
  return a.slice(0, 5) === b.slice(0, 5);
}

export interface RimIds {
  readonly driver?: string;
  readonly vbios?: string;
}

/** Ids for `GET /v1/rim/{id}` of NVIDIA's manifest service. */
export function rimIds(arch: NvidiaArch, opaque: OpaqueData): RimIds {
  const { driverVersion, vbiosVersion, project, projectSku, chipSku } = opaque;
  const plain = vbiosVersion?.replaceAll(".", "");
  if (arch === "LS10") return plain ? { vbios: `NV_SWITCH_BIOS_5612_0002_890_${plain}` } : {};
  const board = [project, projectSku, chipSku];
  const named = plain !== undefined && board.every((part) => part !== undefined);
  return {
    ...(driverVersion ? { driver: `${driverPrefix(arch, opaque.chipInfo)}_${driverVersion}` } : {}),
    ...(named ? { vbios: `NV_GPU_VBIOS_${board.join("_")}_${plain}`.toUpperCase() } : {}),
  };
}

function driverPrefix(arch: "HOPPER" | "BLACKWELL", chipInfo: string | undefined): string {
  return arch === "HOPPER" ? "NV_GPU_DRIVER_GH100" : `NV_GPU_CC_DRIVER_${chipInfo ?? "GB100"}`;
}
