/** Errors of the codecs. */
import { defineErrors, EXIT } from "../base/index.ts";

export const codecError = defineErrors("codec", {
  PEM_INVALID: { status: 400, exit: EXIT.failed, title: "The text is not PEM" },
  DSSE_INVALID: { status: 400, exit: EXIT.failed, title: "The document is not a DSSE envelope" },
  JCS_INVALID: { status: 400, exit: EXIT.failed, title: "The value has no canonical JSON" },
  DER_INVALID: { status: 400, exit: EXIT.failed, title: "The bytes are not DER" },
  X509_INVALID: { status: 400, exit: EXIT.failed, title: "The certificate is not one that is accepted" },
  CRL_INVALID: { status: 400, exit: EXIT.failed, title: "The revocation list is not one that is accepted" },
  OCSP_INVALID: { status: 400, exit: EXIT.failed, title: "The OCSP response is not one that is accepted" },
  CMS_INVALID: { status: 400, exit: EXIT.failed, title: "The signed message is not CMS that is accepted" },
  TIMESTAMP_INVALID: { status: 400, exit: EXIT.failed, title: "The timestamp is not one that is accepted" },
  XML_INVALID: { status: 400, exit: EXIT.failed, title: "The document is not XML that is accepted" },
  XMLDSIG_INVALID: { status: 400, exit: EXIT.failed, title: "The XML signature is not one that is accepted" },
});
