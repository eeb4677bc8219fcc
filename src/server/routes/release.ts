/** Answers the routes of the key release. */
import { challengeRelease, releaseKey } from "../../contract/index.ts";
import type { ReleaseService } from "../../release/index.ts";
import { authenticated, type Implementation } from "../handler.ts";

export function releaseRoutes(services: { readonly release: ReleaseService }): Implementation[] {
  const { release } = services;
  return [
    authenticated(challengeRelease, async (_request, caller) => {
      const { nonce, expiresAt } = await release.challenge(caller);
      return { nonce, expires_at: new Date(expiresAt).toISOString() };
    }),
    authenticated(releaseKey, ({ body }, caller) => release.release(body, caller)),
  ];
}
