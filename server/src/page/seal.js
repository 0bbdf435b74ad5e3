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

// What could be base64, in lines of any length.
const BASE64 = /[A-Za-z0-9+/]{8,}(?:\s+[A-Za-z0-9+/]{4,}(?![^\s=]))*/g;
// RFC 1952: the first bytes of gzip, with flags that there are, and what compressors say of themselves.
const GZIP = /\x1f\x8b\x08[\0-\x1f][^]{4}[\0\x02\x04]/g;

// Whether an encoded or compressed part of a text has one of these words, however deep. It throws where a part cannot be unpacked.
export async function hides(text, words) {
  for (const [run] of text.matchAll(BASE64)) {
    const base64 = run.replace(/\s/g, "");
    // What stands before the part may look like it, and so shift it.
    for (const shift of [0, 1, 2, 3]) {
      const inner = atob(base64.slice(shift, base64.length - ((base64.length - shift) % 4 === 1)));
      const parts = await Promise.all([...inner.matchAll(GZIP)].map(({ index }) => unpack(inner.slice(index))));
      for (const part of [inner, ...parts]) {
        if (words.some((word) => part.includes(word)) || await hides(part, words)) return true;
      }
    }
  }
  return false;
}

function unpack(gzip) {
  const bytes = Uint8Array.from(gzip, (char) => char.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
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
