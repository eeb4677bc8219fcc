/** Access tokens of a cloud's login, for whoever asks its services: the key services here, and the stores. */

export interface AccessTokens {
  /**
   * A token that is good for the next call at least, as the bytes after `Bearer `; the caller wipes them. `scope` is the
   * cloud's own name for what is asked for. Implementations keep a token until shortly before it ends. Throws
   * KMS_CREDENTIALS_MISSING, KMS_CREDENTIALS_REFUSED, KMS_UNREACHABLE, and what the signal was aborted with.
   */
  token(scope: string, signal?: AbortSignal): Promise<Uint8Array>;
}
