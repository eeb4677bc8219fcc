/** Answers the routes of secrets and leases. */
import type { z } from "zod";
import { type Caller, type EntityRef, entityText } from "../../base/index.ts";
import * as contract from "../../contract/index.ts";
import type { GuardedBytes } from "../../host/index.ts";
import {
  type LeaseInfo,
  type LeaseRules,
  type SealedValue,
  type SecretInfo,
  type SecretService,
  sealValue,
  secretError,
  type TransportReceiver,
} from "../../secrets/index.ts";
import { type TokenService, tokenError } from "../../tokens/index.ts";
import { authenticated, type Implementation, open } from "../handler.ts";
import { type PolicyPorts, requireDecision } from "./require.ts";

export interface SecretRouteServices extends PolicyPorts {
  readonly secrets: SecretService;
  /** See openServerReceiver. */
  readonly transport: TransportReceiver;
  readonly tokens: Pick<TokenService, "show">;
  /** See Gateway.tryCandidate. */
  readonly tryCandidate: (secretName: string) => Promise<unknown>;
}

export function secretRoutes(services: SecretRouteServices): Implementation[] {
  return [...valueRoutes(services), ...versionRoutes(services), ...leaseRoutes(services)];
}

function valueRoutes(services: SecretRouteServices): Implementation[] {
  const { secrets, transport } = services;
  return [
    open(contract.getTransportKey, async () => ({
      key_id: transport.key.keyId,
      public_key: transport.key.publicKey,
    })),
    authenticated(contract.putSecret, async ({ params, body }, caller) => {
      await requireManage(services, caller);
      const name = nameOf(params);
      const value = await openValue(services, name, body.sealed);
      return secretToWire(await secrets.put(name, value, { ...putOptions(body), by: caller.principal }));
    }),
    authenticated(contract.linkSecret, async ({ params, body }, caller) => {
      await requireManage(services, caller);
      const { driver, reference } = body;
      const options = { ...putOptions(body), by: caller.principal };
      return secretToWire(await secrets.link(nameOf(params), { driver, reference }, options));
    }),
    authenticated(contract.setSecretRules, async ({ params, body }, caller) => {
      await requireManage(services, caller);
      return secretToWire(await secrets.setRules(nameOf(params), rulesFromWire(body), { by: caller.principal }));
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

function versionRoutes(services: SecretRouteServices): Implementation[] {
  const { secrets } = services;
  return [
    authenticated(contract.rotateSecret, async ({ params, body }, caller) => {
      await requireManage(services, caller);
      const name = nameOf(params);
      const by = { by: caller.principal };
      const value = await openValue(services, name, body.sealed);
      if (!body.canary && !body.stage)
        return secretToWire(await secrets.rotate(name, value, { ...graceOf(body), ...by }));
      const staged = await secrets.stage(name, value, by);
      if (body.canary) await tryOrRollBack(services, name, caller);
      return secretToWire(body.stage ? staged : await secrets.promote(name, { ...graceOf(body), ...by }));
    }),
    authenticated(contract.promoteSecret, async ({ params, body }, caller) => {
      await requireManage(services, caller);
      const name = nameOf(params);
      if (body.canary) await services.tryCandidate(name);
      return secretToWire(await secrets.promote(name, { ...graceOf(body), by: caller.principal }));
    }),
    authenticated(contract.rollBackSecret, async ({ params }, caller) => {
      await requireManage(services, caller);
      return secretToWire(await secrets.rollBack(nameOf(params), { by: caller.principal }));
    }),
    authenticated(contract.retireSecret, async ({ params }, caller) => {
      await requireManage(services, caller);
      return secretToWire(await secrets.retire(nameOf(params), { by: caller.principal }));
    }),
  ];
}

/** A key that nobody takes does not stay. */
async function tryOrRollBack(services: SecretRouteServices, name: string, caller: Caller): Promise<void> {
  try {
    await services.tryCandidate(name);
  } catch (error) {
    await services.secrets.rollBack(name, { by: caller.principal });
    throw error;
  }
}

function leaseRoutes(services: SecretRouteServices): Implementation[] {
  const { secrets } = services;
  return [
    ...takingRoutes(services),
    authenticated(contract.renewLease, async ({ params, body }, caller) => {
      const ttl = defined({ ttlSeconds: body.ttl_seconds });
      await mustStillBeAllowed(services, caller, params.id ?? "", ttl);
      return leaseToWire(await secrets.renew(params.id ?? "", { holder: caller.principal, ...ttl }));
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
    authenticated(contract.revokeLeases, async ({ body }, caller) => {
      await requireManage(services, caller);
      const filter =
        "principal" in body
          ? { holder: body.principal }
          : "secret" in body
            ? { secretName: body.secret }
            : { prefix: body.prefix };
      return { ended: [...(await secrets.revoke(filter, { by: caller.principal }))] };
    }),
    authenticated(contract.revokeLease, async ({ params }, caller) => {
      await requireManage(services, caller);
      const id = params.id ?? "";
      await secrets.revokeLease(id, { by: caller.principal });
      return { ended: id };
    }),
  ];
}

/** Where a value leaves the server, sealed to the caller's key. */
function takingRoutes(services: SecretRouteServices): Implementation[] {
  const { secrets } = services;
  return [
    authenticated(contract.checkoutSecret, async ({ params, body }, caller) => {
      const name = nameOf(params);
      const { ttl_seconds: ttlSeconds, max_uses: maxUses, purpose } = body;
      const context = defined({ purpose, ttlSeconds });
      await requireDecision(services, caller, "checkoutSecret", { type: "Secret", id: name }, context);
      const options = { holder: caller.principal, boundTo: caller.keyThumbprint, ...context, ...defined({ maxUses }) };
      const lease = await secrets.lease(name, options);
      try {
        await mustStillCount(services, caller);
        return { lease: leaseToWire(lease), sealed: sealKey(lease.key, name, body) };
      } catch (error) {
        await lease.checkIn();
        throw error;
      }
    }),
    authenticated(contract.useLease, async ({ params, body }, caller) => {
      await mustStillBeAllowed(services, caller, params.id ?? "");
      const { lease, key } = await secrets.use(params.id ?? "", caller.principal);
      return { lease: leaseToWire(lease), sealed: sealKey(key, lease.secretName, body) };
    }),
  ];
}

/** Policy may have changed since the check-out: what it forbids now is neither prolonged nor shown again. */
async function mustStillBeAllowed(
  services: SecretRouteServices,
  caller: Caller,
  leaseId: string,
  renewal?: { readonly ttlSeconds?: number },
): Promise<void> {
  const { secretName: id, purpose, ttlSeconds } = await services.secrets.findLease(leaseId, caller.principal);
  const context = { ...defined({ purpose }), ...(renewal ?? { ttlSeconds }) };
  await requireDecision(services, caller, "checkoutSecret", { type: "Secret", id }, context);
}

/** A revocation ends the leases that it finds: one that was opened meanwhile is ended by who opened it. */
async function mustStillCount({ tokens }: SecretRouteServices, { tokenId }: Caller): Promise<void> {
  if (!(await tokens.show(tokenId))) throw tokenError("TOKEN_REFUSED");
}

/** From here the value is the caller's: the lease stays open, this process needs no key for it. */
function sealKey(
  key: GuardedBytes,
  name: string,
  to: { readonly key_id: string; readonly public_key: string },
): WireSealed {
  const receiver = { keyId: to.key_id, publicKey: to.public_key };
  try {
    return toWire(key.use((value) => sealValue(value, receiver, { direction: "checkout", name })));
  } finally {
    key.wipe();
  }
}

function openValue({ transport }: SecretRouteServices, name: string, sealed: WireSealed): Promise<Uint8Array> {
  return transport.open(fromWire(sealed), { direction: "put", name });
}

type WireRules = z.output<typeof contract.leaseRules>;

function putOptions({ about, rules }: { readonly about?: string | undefined; readonly rules?: WireRules | undefined }) {
  return defined({ about, rules: rules && rulesFromWire(rules) });
}

function graceOf({ grace_seconds: graceSeconds }: { readonly grace_seconds?: number | undefined }) {
  return defined({ graceSeconds });
}

/** Without what is undefined. */
function defined<T extends Record<string, unknown>>(fields: T): { [Name in keyof T]?: NonNullable<T[Name]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}

function rulesFromWire(rules: WireRules): LeaseRules {
  const { max_ttl_seconds: maxTtlSeconds, max_uses: maxUses, max_leases: maxLeases } = rules;
  return { maxTtlSeconds, maxUses, maxLeases, purposeRequired: rules.purpose_required, unshared: rules.unshared };
}

function rulesToWire({ maxTtlSeconds, maxUses, maxLeases, purposeRequired, unshared }: LeaseRules): WireRules {
  const counts = { max_ttl_seconds: maxTtlSeconds, max_uses: maxUses, max_leases: maxLeases };
  return defined({ ...counts, purpose_required: purposeRequired, unshared });
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
  const { name, about, version, candidate, graceUntil } = info;
  return {
    name,
    about,
    version,
    ...defined({ candidate, grace_until: graceUntil === undefined ? undefined : isoTime(graceUntil) }),
    versions: info.versions.map((one) => ({
      version: one.version,
      created_at: isoTime(one.createdAt),
      driver: one.driver,
    })),
    rules: rulesToWire(info.rules),
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
    ...defined({ purpose: info.purpose, max_uses: info.maxUses }),
    uses: info.uses,
    renewals: info.renewals,
    issued_at: isoTime(info.issuedAt),
    expires_at: isoTime(info.expiresAt),
  };
}

function isoTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
