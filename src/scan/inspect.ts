/** Decides by content what a file is, and sends it to the scanners that know it. */
import { type ByteSource, looksLikeGguf, looksLikeSafetensors } from "../artifact/index.ts";
import { looksLikeZip, scanGzip, scanTar, scanZip, scanZlib } from "./archives.ts";
import { looksLikeHdf5, looksLikeProtobuf, scanHdf5, scanProtobuf } from "./graphs.ts";
import type { Inspection, Scanner } from "./inspection.ts";
import { beginsWithImport, carvePickles, looksLikePickle, probePickles, scanPickle } from "./pickle/scan-pickle.ts";
import { looksLikeTar } from "./tar.ts";
import { looksLikeText, scanText } from "./text.ts";
import { looksLikeNpy, scanGguf, scanNpy, scanSafetensors } from "./weights.ts";

interface Format {
  readonly name: string;
  matches(source: ByteSource): boolean;
  readonly scan: Scanner;
}

const starts =
  (...magics: readonly string[]) =>
  (source: ByteSource): boolean => {
    const head = Buffer.from(source.read(0, 16)).toString("latin1");
    return magics.some((magic) => head.startsWith(magic));
  };

const nothing: Scanner = () => {};

/** Formats that nobody looks into here: what lies in them unpacked is still found. */
const opaque =
  (kind: string): Scanner =>
  (source, inspection) => {
    inspection.report("container-unknown", "unscannable", `${kind} cannot be looked into`);
    carvePickles(source, 0, inspection);
  };

const executable: Scanner = (_source, inspection) =>
  inspection.report("executable", "suspicious", "a program or a library for a processor");

/** Tried in this order; the first that matches scans. */
const FORMATS: readonly Format[] = [
  { name: "safetensors", matches: looksLikeSafetensors, scan: scanSafetensors },
  { name: "gguf", matches: looksLikeGguf, scan: scanGguf },
  { name: "pickle", matches: looksLikePickle, scan: scanPickle },
  { name: "npy", matches: looksLikeNpy, scan: scanNpy },
  { name: "hdf5", matches: looksLikeHdf5, scan: scanHdf5 },
  { name: "tar", matches: looksLikeTar, scan: scanTar },
  { name: "gzip", matches: starts("\x1f\x8b"), scan: scanGzip },
  { name: "7z", matches: starts("7z\xbc\xaf\x27\x1c"), scan: opaque("a 7z archive") },
  { name: "rar", matches: starts("Rar!\x1a\x07"), scan: opaque("a RAR archive") },
  { name: "xz", matches: starts("\xfd7zXZ\x00"), scan: opaque("xz") },
  { name: "bzip2", matches: starts("BZh"), scan: opaque("bzip2") },
  { name: "zstd", matches: starts("\x28\xb5\x2f\xfd"), scan: opaque("zstd") },
  { name: "lz4", matches: starts("\x04\x22\x4d\x18"), scan: opaque("lz4") },
  { name: "executable", matches: starts("\x7fELF", "MZ", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe"), scan: executable },
  { name: "image", matches: starts("\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "GIF87a", "GIF89a"), scan: nothing },
  { name: "riff", matches: (source) => /^RIFF[\s\S]{4}(?:WEBP|WAVE|AVI )/.test(latin1(source, 12)), scan: nothing },
  { name: "media", matches: starts("%PDF-", "OggS", "fLaC", "ID3"), scan: nothing },
  { name: "columns", matches: starts("PAR1", "ARROW1"), scan: nothing },
  { name: "zlib", matches: starts("\x78\x01", "\x78\x5e", "\x78\x9c", "\x78\xda"), scan: scanZlib },
  { name: "text", matches: looksLikeText, scan: scanText },
];

function latin1(source: ByteSource, length: number): string {
  return Buffer.from(source.read(0, length)).toString("latin1");
}

/**
 * Scans anything. Loaders disagree about what a file is: a zip directory at the end counts whatever the beginning says,
 * and a pickle at the beginning counts whatever else the file is.
 */
export const inspect: Scanner = (source, inspection) => {
  if (source.bytes === 0) return;
  const zip = looksLikeZip(source);
  if (zip) scanZip(source, inspection);
  const format = FORMATS.find(({ matches }) => matches(source));
  if (format?.scan === scanPickle) return scanPickle(source, inspection);
  const pickle = probePickles(source, inspection);
  if (zip && latin1(source, 2) === "PK") return;
  if (format) format.scan(source, inspection);
  else if (pickle) scanPickle(source, inspection);
  else if (!zip) scanUnknown(source, inspection);
};

function scanUnknown(source: ByteSource, inspection: Inspection): void {
  if (beginsWithImport(source)) {
    inspection.report("pickle-broken", "malformed", "begins like a pickle and breaks at once");
  } else if (looksLikeProtobuf(source)) {
    scanProtobuf(source, inspection);
    return;
  } else inspection.report("format-unknown", "unscannable", "the format is not known");
  carvePickles(source, 0, inspection);
}
