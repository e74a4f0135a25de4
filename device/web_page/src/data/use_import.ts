// A file on its way in: sent, looked at, taken; and the files that were imported before.
import { useEffect, useRef, useState } from "preact/hooks";
import { call } from "../api";
import { attempt, forgotten, importing, notice, refresh } from "../state";
import type { ImportRecord, Preview } from "../types";
import { count } from "../words";
import { upload } from "./upload";

export type Mode = "answers" | "stream";
export type Found = { upload: number; preview: Preview };

export function useImport() {
  const [sent, setSent] = useState<number | null>(null); // the share of the file that is sent
  const [found, setFound] = useState<Found | null>(null);
  const [known, setKnown] = useState<ImportRecord[]>([]);

  const reading = useRef(0); // what an earlier reading hears later is out of date

  async function read(): Promise<void> {
    const mine = ++reading.current;
    const all = await attempt(() => call<{ imports: ImportRecord[] }>("imports"));
    if (all && mine === reading.current) setKnown(all.imports);
  }
  useEffect(() => void read(), [forgotten.value]);

  async function choose(file: File): Promise<void> {
    setSent(0);
    await attempt(async () => {
      const number = await upload(file, setSent);
      setFound({ upload: number, preview: await call<Preview>("import_preview", { upload: number }) });
    });
    setSent(null);
  }

  async function take(mode: Mode, me: string): Promise<void> {
    const asked = { upload: found!.upload, mode, ...(me ? { me } : {}) };
    setFound(null);
    importing.value = { done: 0, total: 1 };
    const done = await attempt(() => call<{ kept: number; taken: number }>("import", asked));
    importing.value = null;
    if (done) notice.value = `Imported: ${count(done.taken, "exchange")} read, ${done.kept} kept.`;
    await read();
    await attempt(refresh);
  }

  return { sent, found, known, choose, take, drop: () => setFound(null) };
}
