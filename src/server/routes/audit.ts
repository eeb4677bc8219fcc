/** Answers the routes of the audit log. */
import type { AuditEntry, AuditLog, AuditQuery } from "../../audit/index.ts";
import { type Caller, fromUtf8, toBase64 } from "../../base/index.ts";
import * as contract from "../../contract/index.ts";
import { authenticated, type Implementation } from "../handler.ts";
import { type PolicyPorts, requireDecision } from "./require.ts";

export interface AuditRouteServices extends PolicyPorts {
  readonly audit: AuditLog;
}

export function auditRoutes(services: AuditRouteServices): Implementation[] {
  const { audit } = services;
  return [
    authenticated(contract.listAudit, async ({ body }, caller) => {
      await requireRead(services, caller);
      const { entries, next } = await audit.list(toQuery(body));
      return { entries: entries.map(toWire), ...(next === undefined ? {} : { next }) };
    }),
    authenticated(contract.getAuditCheckpoint, async (_request, caller) => {
      await requireRead(services, caller);
      const { note, size } = await audit.checkpoint();
      return { checkpoint: note, key: audit.verifierKey, size };
    }),
    authenticated(contract.exportAudit, async ({ body }, caller) => {
      await requireRead(services, caller);
      const { leaves, next } = await audit.leaves(body.start, body.end);
      return { leaves: leaves.map(fromUtf8), ...(next === undefined ? {} : { next }) };
    }),
    ...proofRoutes(services),
  ];
}

function proofRoutes(services: AuditRouteServices): Implementation[] {
  const { audit } = services;
  return [
    authenticated(contract.proveAuditInclusion, async ({ body }, caller) => {
      await requireRead(services, caller);
      const { index, size, leaf, hashes } = await audit.inclusionProof(body.index, body.size);
      return { index, size, leaf: fromUtf8(leaf), hashes: hashes.map(toBase64) };
    }),
    authenticated(contract.proveAuditConsistency, async ({ body }, caller) => {
      await requireRead(services, caller);
      const { fromSize, toSize, hashes } = await audit.consistencyProof(body.from, body.to);
      return { from: fromSize, to: toSize, hashes: hashes.map(toBase64) };
    }),
  ];
}

async function requireRead(ports: PolicyPorts, caller: Caller): Promise<void> {
  await requireDecision(ports, caller, "readAudit", { type: "Server", id: "local" });
}

type WireQuery = { readonly [Name in keyof AuditQuery]: AuditQuery[Name] | undefined };

function toQuery(query: WireQuery): AuditQuery {
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined));
}

function toWire({ index, at, event }: AuditEntry): contract.WireAuditEntry {
  const { action, outcome, principal, resource, modelRoot, reason, data } = event;
  return {
    index,
    at,
    action,
    outcome,
    principal,
    resource,
    ...(modelRoot === undefined ? {} : { model_root: modelRoot }),
    ...(reason === undefined ? {} : { reason: [...reason] }),
    ...(data === undefined ? {} : { data: { ...data } }),
  };
}
