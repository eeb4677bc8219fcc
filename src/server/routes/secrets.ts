/** Answers the routes of secrets and leases. */
import { type Caller, type EntityRef, entityText } from "../../base/index.ts";
import * as contract from "../../contract/index.ts";
import {
  type LeaseInfo,
  type SealedValue,
  type SecretInfo,
  type SecretService,
  sealValue,
  secretError,
  type TransportReceiver,
} from "../../secrets/index.ts";
import { authenticated, type Implementation, open } from "../handler.ts";
import { type PolicyPorts, requireDecision } from "./require.ts";

export interface SecretRouteServices extends PolicyPorts {
  readonly secrets: SecretService;
  /** See openServerReceiver. */
  readonly transport: TransportReceiver;
}

export function secretRoutes(services: SecretRouteServices): Implementation[] {
  return [...managementRoutes(services), ...leaseRoutes(services)];
}

function managementRoutes(services: SecretRouteServices): Implementation[] {
  const { secrets, transport } = services;
  const openValue = (name: string, sealed: WireSealed) => transport.open(fromWire(sealed), { direction: "put", name });
  return [
    open(contract.getTransportKey, async () => ({
      key_id: transport.key.keyId,
      public_key: transport.key.publicKey,
    })),
    authenticated(contract.putSecret, async ({ params, body }, caller) => {
      await requireManage(services, caller);
      const name = nameOf(params);
      const value = await openValue(name, body.sealed);
      const about = body.about === undefined ? {} : { about: body.about };
      return secretToWire(await secrets.put(name, value, { ...about, by: caller.principal }));
    }),
    authenticated(contract.rotateSecret, async ({ params, body }, caller) => {
      await requireManage(services, caller);
      const name = nameOf(params);
      return secretToWire(await secrets.rotate(name, await openValue(name, body.sealed), { by: caller.principal }));
    }),
    authenticated(contract.listSecrets, async (_request, caller) => {
      await requireManage(services, caller);
      return { secrets: (await secrets.list()).map(secretToWire) };
    }),
    authenticated(contract.deleteSecret, async ({ params }, caller) => {
      await requireManage(services, caller);
      await secrets.delete(nameOf(params), { by: caller.principal });
      return { deleted: nameOf(params) };
    }),
  ];
}

function leaseRoutes(services: SecretRouteServices): Implementation[] {
  const { secrets } = services;
  return [
    authenticated(contract.checkoutSecret, async ({ params, body }, caller) => {
      const name = nameOf(params);
      await requireDecision(services, caller, "checkoutSecret", { type: "Secret", id: name });
      const ttl = body.ttl_seconds === undefined ? {} : { ttlSeconds: body.ttl_seconds };
      const lease = await secrets.lease(name, { holder: caller.principal, ...ttl });
      try {
        // From here the value is the caller's: the lease stays open, this process needs no key for it.
        const copy = new Uint8Array(new ArrayBuffer(lease.key.length));
        lease.key.use((bytes) => copy.set(bytes));
        lease.key.wipe();
        const receiver = { keyId: body.key_id, publicKey: body.public_key };
        const sealed = await sealValue(copy, receiver, { direction: "checkout", name }).finally(() => copy.fill(0));
        return { lease: leaseToWire(lease), sealed: toWire(sealed) };
      } catch (error) {
        await lease.checkIn();
        throw error;
      }
    }),
    authenticated(contract.listLeases, async (_request, caller) => {
      await requireManage(services, caller);
      return { leases: (await secrets.listLeases()).map(leaseToWire) };
    }),
    authenticated(contract.checkInLease, async ({ params }, caller) => {
      const id = params.id ?? "";
      await secrets.checkIn(id, caller.principal);
      return { ended: id };
    }),
    authenticated(contract.revokeLease, async ({ params }, caller) => {
      await requireManage(services, caller);
      const id = params.id ?? "";
      await secrets.revokeLease(id, { by: caller.principal });
      return { ended: id };
    }),
  ];
}

const LOCAL: EntityRef = { type: "Server", id: "local" };

async function requireManage(ports: PolicyPorts, caller: Caller): Promise<void> {
  await requireDecision(ports, caller, "manageSecret", LOCAL);
}

function nameOf(params: Readonly<Record<string, string>>): string {
  const name = params.name;
  if (name === undefined) throw secretError("SECRET_NAME_INVALID");
  return name;
}

interface WireSealed {
  readonly key_id: string;
  readonly enc: string;
  readonly ciphertext: string;
}

function fromWire({ key_id: keyId, enc, ciphertext }: WireSealed): SealedValue {
  return { keyId, enc, ciphertext };
}

function toWire({ keyId, enc, ciphertext }: SealedValue): WireSealed {
  return { key_id: keyId, enc, ciphertext };
}

function secretToWire(info: SecretInfo) {
  return {
    name: info.name,
    about: info.about,
    version: info.version,
    versions: info.versions.map(({ version, createdAt }) => ({ version, created_at: isoTime(createdAt) })),
    created_at: isoTime(info.createdAt),
    updated_at: isoTime(info.updatedAt),
  };
}

function leaseToWire(info: LeaseInfo) {
  return {
    id: info.id,
    secret: info.secretName,
    version: info.version,
    holder: entityText(info.holder),
    issued_at: isoTime(info.issuedAt),
    expires_at: isoTime(info.expiresAt),
  };
}

function isoTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
