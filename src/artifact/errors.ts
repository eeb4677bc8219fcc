/** Errors of models on disk and in stores. */
import { defineErrors, EXIT } from "../base/index.ts";

export const artifactError = defineErrors("artifact", {
  MODEL_NOT_READABLE: { status: 500, exit: EXIT.failed, title: "The model cannot be read" },
  MODEL_EMPTY: { status: 400, exit: EXIT.failed, title: "The model has no files" },
  MODEL_FILE_REFUSED: {
    status: 400,
    exit: EXIT.failed,
    title: "The model holds something that is not a regular file",
    hint: "replace links by the files they point to; sign and verify follow those inside the model with --allow-symlinks",
  },
  MODEL_PATH_INVALID: { status: 400, exit: EXIT.failed, title: "A file name of the model is not portable" },
  MODEL_CHANGED: { status: 409, exit: EXIT.verificationFailed, title: "A file changed while it was read" },
  OCI_MANIFEST_INVALID: {
    status: 400,
    exit: EXIT.failed,
    title: "The file is not an OCI image manifest whose layers have titles",
    hint: "oras manifest fetch NAME > manifest.json",
  },
  BLOB_NOT_FOUND: {
    status: 404,
    exit: EXIT.failed,
    title: "There is no such blob in the store",
    hint: "is it a sealed model, and is --prefix right? modelkeep inspect SEALED --prefix PREFIX",
  },
  BLOB_NAME_INVALID: { status: 400, exit: EXIT.failed, title: "That is not the name of a blob" },
  STORE_URI_UNKNOWN: {
    status: 400,
    exit: EXIT.usage,
    title: "That store is not known",
    hint: "file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://ACCOUNT/CONTAINER/PREFIX, oci://HOST/REPOSITORY:TAG",
  },
  STORE_UNREADABLE: { status: 500, exit: EXIT.failed, title: "The store cannot be read" },
  STORE_UNWRITABLE: { status: 500, exit: EXIT.failed, title: "The store cannot be written" },
  HEADER_INVALID: { status: 400, exit: EXIT.failed, title: "The file's header is not valid" },
});
