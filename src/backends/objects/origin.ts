/** The origin of a service that a setting names: TLS, except on this machine. */
import { readFileBounded } from "../../host/index.ts";
import { isLoopback } from "../http-service.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import { storeError } from "./errors.ts";

/** Throws STORE_URI_INVALID; a path is kept, a query or a user is refused. */
export function secureOrigin(text: string, name: string): URL {
  const url = URL.parse(text);
  const secure = url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback(url.hostname));
  if (!url || !secure || url.search !== "" || url.hash !== "" || url.username !== "" || url.password !== "")
    throw storeError("STORE_URI_INVALID", {
      detail: `${name} is https://HOST[:PORT]; http:// only on this machine`,
      hint: `export ${name}=https://HOST`,
    });
  return url;
}

/** The first PEM file that is named; undefined for the machine's own authorities. */
export async function authoritiesOf(...paths: readonly (string | undefined)[]): Promise<Uint8Array | undefined> {
  const path = paths.find((one) => one);
  return path ? readFileBounded(path, BACKEND_LIMITS.caFileBytes) : undefined;
}

/** A prefix in a URI is taken as it stands: nothing in it is decoded. Throws STORE_URI_INVALID. */
export function baseOf(rest: string | undefined): string {
  const parts = (rest ?? "").replace(/\/$/, "").split("/");
  if (parts.length === 1 && parts[0] === "") return "";
  const bad = parts.some((part) => part === "" || part === "." || part === ".." || /[?#\p{Cc}\p{Cs}]/u.test(part));
  if (bad) throw storeError("STORE_URI_INVALID", { detail: "the prefix has an empty or odd part" });
  return `${parts.join("/")}/`;
}
