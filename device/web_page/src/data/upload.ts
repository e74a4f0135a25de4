// A file on its way to the server, in pieces.
import { call } from "../api";

const PIECE_BYTES = 3 * 160 * 1024; // of three bytes each Base64 makes four characters without a rest

/** Send a file; returns the number that the server's import methods know it by. `onSent` gets the share sent so far. */
export async function upload(file: File, onSent: (share: number) => void): Promise<number> {
  let number: number | undefined;
  for (let start = 0; start < Math.max(1, file.size); start += PIECE_BYTES) {
    const data = await base64(file.slice(start, start + PIECE_BYTES));
    const piece = number === undefined ? { data, name: file.name.slice(0, 255) } : { data, upload: number };
    number = (await call<{ upload: number }>("upload", piece)).upload;
    onSent(Math.min(1, (start + PIECE_BYTES) / file.size));
  }
  return number!;
}

async function base64(part: Blob): Promise<string> {
  const bytes = new Uint8Array(await part.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

/** What the server gave in Base64. */
export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** Let the browser save a file. */
export function download(content: BlobPart, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/octet-stream" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
