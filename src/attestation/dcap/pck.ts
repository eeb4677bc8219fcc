/** The extension of a PCK certificate: which machine it is for and which security versions it has. */
import { ModelkeepError, toHex } from "../../base/index.ts";
import {
  type Certificate,
  type DerNode,
  derBoolean,
  derOctets,
  derOid,
  derSequence,
  derSmallInteger,
  parseDer,
} from "../../codec/index.ts";
import { evidenceRefused } from "../errors.ts";
import { keepRead } from "./kept.ts";
import type { PlatformTcb } from "./tcb.ts";

/** Intel's "PCK Certificate and CRL specification", section 1.3.5. */
export const SGX_EXTENSION_OID = "1.2.840.113741.1.13.1";

export interface PckExtension {
  /** 16 bytes, lower-case hex. */
  readonly ppid: string;
  readonly tcb: PlatformTcb & { readonly cpuSvn: Uint8Array };
  readonly pceId: string;
  readonly fmspc: string;
  /** 0 standard, 1 scalable, 2 scalable with integrity. */
  readonly sgxType: number;
  readonly platformInstanceId?: string;
  readonly smtEnabled?: boolean;
}

const RULE = "dcap.pck.extension";

/** Throws EVIDENCE_REFUSED with `dcap.pck.extension`. */
export function readPckExtension(certificate: Certificate): PckExtension {
  const extension = certificate.extensions.get(SGX_EXTENSION_OID);
  if (!extension) throw evidenceRefused(RULE);
  try {
    return readExtension(extension.value);
  } catch (error) {
    if (error instanceof ModelkeepError) throw evidenceRefused(RULE, error);
    throw error;
  }
}

const readExtension = keepRead((value: Uint8Array) => readFields(entriesOf(parseDer(value), SGX_EXTENSION_OID)));

type Entries = ReadonlyMap<number, DerNode>;

function readFields(entries: Entries): PckExtension {
  const instance = entries.get(6);
  const configuration = entries.get(7);
  const smt = configuration && entriesOf(configuration, `${SGX_EXTENSION_OID}.7`).get(3);
  return {
    ppid: hexOf(need(entries, 1), 16),
    tcb: readTcb(entriesOf(need(entries, 2), `${SGX_EXTENSION_OID}.2`)),
    pceId: hexOf(need(entries, 3), 2),
    fmspc: hexOf(need(entries, 4), 6),
    sgxType: derSmallInteger(need(entries, 5)),
    ...(instance ? { platformInstanceId: hexOf(instance, 16) } : {}),
    ...(smt ? { smtEnabled: derBoolean(smt) } : {}),
  };
}

function readTcb(entries: Entries): PckExtension["tcb"] {
  const components = Array.from({ length: 16 }, (_, index) => {
    const svn = derSmallInteger(need(entries, index + 1));
    if (svn > 255) throw evidenceRefused(RULE);
    return svn;
  });
  const cpuSvn = derOctets(need(entries, 18));
  if (cpuSvn.length !== 16) throw evidenceRefused(RULE);
  return { components, pceSvn: derSmallInteger(need(entries, 17)), cpuSvn };
}

/** A sequence of pairs of OID and value; every OID is the prefix and one number, and none comes twice. */
function entriesOf(node: DerNode, prefix: string): Entries {
  const entries = new Map<number, DerNode>();
  for (const pair of derSequence(node)) {
    const [type, value, ...more] = derSequence(pair);
    if (!type || !value || more.length > 0) throw evidenceRefused(RULE);
    const oid = derOid(type);
    const number = Number(oid.slice(prefix.length + 1));
    if (!oid.startsWith(`${prefix}.`) || !Number.isInteger(number) || entries.has(number)) throw evidenceRefused(RULE);
    entries.set(number, value);
  }
  return entries;
}

function need(entries: Entries, number: number): DerNode {
  const node = entries.get(number);
  if (!node) throw evidenceRefused(RULE);
  return node;
}

function hexOf(node: DerNode, bytes: number): string {
  const content = derOctets(node);
  if (content.length !== bytes) throw evidenceRefused(RULE);
  return toHex(content);
}
