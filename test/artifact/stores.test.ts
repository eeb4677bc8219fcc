/** The contract of blob stores, against a folder and against real servers of each kind. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { openBlobStore } from "../../src/artifact/index.ts";
import { MIB, temporaryFolder } from "../sealing/support.ts";
import { contractTests } from "./store-contract.ts";
import {
  type StorePeer,
  startAzurite,
  startFakeGcs,
  startMotoS3,
  startReferrersRegistry,
  startRegistry,
  startS3rver,
} from "./store-peers.ts";

const folder = temporaryFolder();
// All of them before the first test: what ends the peers runs when no test is left.
const peers = [
  startMotoS3(),
  startS3rver(),
  startAzurite(),
  startFakeGcs(),
  startRegistry(),
  startReferrersRegistry(),
] as const;
const [moto, s3rver, azurite, fakeGcs, registry, referring] = await Promise.all(peers);

const places = (peer: StorePeer | string) =>
  typeof peer === "string" ? { skip: peer, open: () => Promise.reject(new Error(peer)) } : { open: peer.open };

const file = { conditional: true, confirms: false, names: 1_100, partBytes: 5 * MIB };
contractTests({ name: "file", open: (place) => openBlobStore(pathToFileURL(join(folder, place)).href), ...file });

const s3 = { conditional: true, confirms: true, names: 1_100, partBytes: 5 * MIB };
contractTests({ name: "s3/moto", ...places(moto), ...s3, joins: true });

// s3rver knows no conditions and no checksums, keeps an object in a file with a longer name, and its second page of a
// list wants a cipher that Node has no more.
const tears = "s3rver writes into the object that is being read";
const less = { conditional: false, confirms: false, names: 200, tears };
contractTests({ name: "s3/s3rver", ...places(s3rver), ...s3, ...less, without: (name) => name.length > 300 });

// Azurite repeats the checksum of a blob, and not that of a block.
contractTests({ name: "az/azurite", ...places(azurite), ...s3, confirmsParts: false });
// fake-gcs-server does not look at the condition of a composition, which Google's JSON API has.
contractTests({ name: "gs/fake-gcs-server", ...places(fakeGcs), ...s3, joins: true, joinsConditional: false });

// A tag has no condition, and every blob is held against its digest.
const oci = { conditional: false, confirms: true, names: 300, partBytes: 5 * MIB };
contractTests({ name: "oci/docker-registry", ...places(registry), ...oci });
contractTests({ name: "oci/go-containerregistry", ...places(referring), ...oci });
