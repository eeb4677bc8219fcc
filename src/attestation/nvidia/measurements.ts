/** Compares what a device measured with what NVIDIA's manifests say it must measure. */
import { equalBytes } from "../../base/index.ts";
import type { Rules } from "../verdict.ts";
import type { Rim } from "./rim.ts";
import type { SpdmReport } from "./spdm.ts";

/** Measures a video decoder's firmware: it holds only while that decoder is enabled. */
const NVDEC0_INDEX = 35;

export interface Comparison {
  readonly compared: number;
  /** Indices of manifests, from 0; the device's blocks count from 1. */
  readonly mismatched: readonly number[];
  readonly conflicting: readonly number[];
}

/** Every active index must be named by one manifest only and be equal to any of its values there. */
export function compareMeasurements(report: SpdmReport, rims: readonly Rim[]): Comparison {
  const golden = rims.flatMap(({ measurements }) => measurements.filter(({ active }) => active));
  const conflicting = golden.map(({ index }) => index).filter((index, at, all) => all.indexOf(index) !== at);
  const skipped = report.opaque.nvdec0 === "disabled" ? NVDEC0_INDEX : undefined;
  const checked = golden.filter(({ index }) => index !== skipped);
  const mismatched = checked.filter(({ index, values }) => {
    const measured = report.measurements.get(index + 1);
    return !measured || !values.some((value) => equalBytes(value, measured));
  });
  return { compared: checked.length, mismatched: mismatched.map(({ index }) => index), conflicting };
}

export function checkMeasurements(rules: Rules, report: SpdmReport, rims: readonly Rim[]): Comparison {
  const comparison = compareMeasurements(report, rims);
  const { compared, mismatched, conflicting } = comparison;
  rules.check("nvidia.rim.index-conflict", conflicting.length === 0, {
    passed: "no measurement is named by two manifests",
    failed: "two manifests name the same measurement: they do not belong together",
    ...(conflicting.length > 0 ? { have: `indices ${conflicting.join(", ")}` } : {}),
  });
  rules.check("nvidia.rim.measurements", compared > 0 && mismatched.length === 0, {
    passed: "every measurement of the manifests is what NVIDIA published",
    failed: "the device runs something else than NVIDIA published; fetch the manifests anew, they are issued again",
    have: mismatched.length > 0 ? `indices ${mismatched.join(", ")} differ` : `${compared} equal`,
    need: `${compared} equal`,
  });
  return comparison;
}
