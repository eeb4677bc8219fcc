/** Errors of outside stores: buckets, containers, registries. */
import { defineErrors, EXIT } from "../../base/index.ts";

export const storeError = defineErrors("stores", {
  STORE_URI_INVALID: {
    status: 400,
    exit: EXIT.usage,
    title: "The store's URI or its settings are not valid",
    hint: "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://ACCOUNT/CONTAINER/PREFIX or oci://HOST/REPOSITORY:TAG",
  },
  STORE_CREDENTIALS_MISSING: {
    status: 500,
    exit: EXIT.failed,
    title: "There are no credentials for the store",
    hint: "docs/guides/stores.md says where they are looked up",
  },
  STORE_CREDENTIALS_REFUSED: {
    status: 502,
    exit: EXIT.denied,
    title: "The store does not accept the credentials",
    hint: "export others: docs/guides/stores.md says where they are looked up, and in which order",
  },
  STORE_DENIED: {
    status: 502,
    exit: EXIT.denied,
    title: "The store does not allow that",
    hint: "allow reading, writing and listing below the prefix: docs/guides/stores.md names what is needed",
  },
  STORE_NOT_FOUND: {
    status: 502,
    exit: EXIT.failed,
    title: "There is no such bucket, container or repository",
    hint: "no command of modelkeep makes one: make it with the store's own tool, or correct the URI",
  },
  STORE_THROTTLED: {
    status: 503,
    exit: EXIT.unreachable,
    title: "The store has too many requests",
    hint: "try again in a minute: push and pull go on where they stopped",
  },
  BLOBS_UNREACHABLE: {
    status: 503,
    exit: EXIT.unreachable,
    title: "The store cannot be reached",
    hint: "try again: push and pull go on where they stopped",
  },
  STORE_TLS_REFUSED: {
    status: 503,
    exit: EXIT.unreachable,
    title: "The store's certificate is not to be trusted",
    hint: "name its authority, a file in PEM: AWS_CA_BUNDLE, or SSL_CERT_FILE",
  },
  STORE_REDIRECTED: {
    status: 502,
    exit: EXIT.failed,
    title: "The store redirects, which is not followed",
    hint: "is the endpoint the store's own, and the region the bucket's?",
  },
  STORE_ANSWER_INVALID: {
    status: 502,
    exit: EXIT.failed,
    title: "The store's answer is not understood",
    hint: "is it the service that the URI names, without a proxy in between?",
  },
  STORE_REFUSED: {
    status: 502,
    exit: EXIT.failed,
    title: "The store refused the request",
    hint: "is the URI of the right kind, and the store one that docs/guides/stores.md names?",
  },
  BLOB_EXISTS: {
    status: 409,
    exit: EXIT.failed,
    title: "A blob of that name is there already, or another writer was faster",
    hint: "look at what is there: modelkeep inspect STORE",
  },
  BLOB_CHANGED: {
    status: 409,
    exit: EXIT.verificationFailed,
    title: "The blob changed while it was read",
    hint: "try again when nobody writes to the store",
  },
  BLOB_DAMAGED: {
    status: 502,
    exit: EXIT.verificationFailed,
    title: "The store does not hold what was sent, or sends what it does not hold",
    hint: "try again; if it stays, the store or the network in between is broken",
  },
});
