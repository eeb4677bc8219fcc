/** Limits of the file scanner; what lies beyond is called unscannable, never clean. */
export const SCAN_LIMITS = {
  /** Containers inside containers. */
  depth: 5,
  /** Files of one archive. */
  archiveMembers: 20_000,
  /** Files inside all archives of one scanned file. */
  totalMembers: 50_000,
  /** One unpacked file, in bytes. */
  memberBytes: 256 * 1024 * 1024,
  /** All unpacked bytes of one scanned file. */
  unpackedBytes: 1024 * 1024 * 1024,
  /** Unpacked over packed bytes; a member under `ratioFreeBytes` is not asked. */
  ratio: 1_000,
  ratioFreeBytes: 16 * 1024 * 1024,
  /** A text file, JSON and YAML too, in bytes. */
  textBytes: 64 * 1024 * 1024,
  jsonDepth: 200,
  /** Beginning of a file in which a NUL means that it is no text, in bytes. */
  textProbeBytes: 64 * 1024,
  /** A template; longer ones are no templates of a chat. */
  templateCharacters: 50_000,
  pickleOperators: 50_000_000,
  pickleStackItems: 5_000_000,
  pickleMemoItems: 5_000_000,
  pickleLineBytes: 64 * 1024,
  /** Text of a pickle that is kept as a possible name, in characters. */
  pickleKeptCharacters: 1_024,
  /** Pickles one after another in one file. */
  pickleStreams: 10_000,
  /** Pickles inside strings of pickles. */
  pickleNesting: 3,
  pickleNestedBytes: 4 * 1024 * 1024,
  /** Nested pickles that are read in one file. */
  pickleNestedCount: 1_000,
  /** Bytes without a known structure that are searched for pickles. */
  carveBytes: 64 * 1024 * 1024,
  /** What all searched pickles together may read, in bytes. */
  carveReadBytes: 64 * 1024 * 1024,
  carveOperators: 200_000,
  npyHeaderBytes: 1024 * 1024,
  protobufBytes: 4 * 1024 * 1024 * 1024,
  hdf5Bytes: 16 * 1024 * 1024 * 1024,
  /** Window of a search through a large file, in bytes. */
  searchWindowBytes: 4 * 1024 * 1024,
  searchOverlapBytes: 4 * 1024,
  findingsPerFile: 200,
} as const;
