// A sealed cluster in the browser: its secret is made here, and its values are opened here. docs/security.md has the form.

const BYTES = 32;
const NONCE = 12;
// Nonce and tag, of which a sealed value has at least these.
const SEALED = /^v1\.[A-Za-z0-9_-]{38,}$/;

export function isSealed(value) { return SEALED.test(value ?? ""); }

function encode(bytes) {
  const base64 = btoa(String.fromCharCode(...bytes));
  return base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function decode(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
}

// 32 random bytes in base64url without padding, as the agents read them.
export function makeSecret() { return encode(crypto.getRandomValues(new Uint8Array(BYTES))); }

export function isSecret(text) {
  return /^[A-Za-z0-9_-]{43}$/.test(text) && decode(text).length === BYTES;
}

// Opens values of a pin with its secret; null where this browser cannot: it has the cipher on https and on localhost alone.
export async function makeOpener(pin, secret) {
  if (!secret || !crypto.subtle) return null;
  const utf8 = new TextEncoder();
  const material = await crypto.subtle.importKey("raw", decode(secret), "HKDF", false, ["deriveKey"]);
  const derivation = { name: "HKDF", hash: "SHA-256", salt: utf8.encode("cernvm-cluster/v1"), info: utf8.encode(pin) };
  const key = await crypto.subtle.deriveKey(derivation, material, { name: "AES-GCM", length: 256 }, false, ["decrypt"]);
  // The value that was sealed under this name; null where it does not open.
  return async (name, value) => {
    if (!isSealed(value)) return null;
    try {
      const bytes = decode(value.slice(3));
      const cipher = { name: "AES-GCM", iv: bytes.subarray(0, NONCE), additionalData: utf8.encode(`${pin}\0${name}`) };
      const opened = await crypto.subtle.decrypt(cipher, key, bytes.subarray(NONCE));
      return new TextDecoder("utf-8", { fatal: true }).decode(opened);
    } catch {
      return null;
    }
  };
}
