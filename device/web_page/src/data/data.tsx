import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { call } from "../api";
import { attempt, connection, notice, refresh, status } from "../state";
import { Dialog } from "../ui/dialog";
import { Import } from "./import";
import { bytesOf, download } from "./upload";

type Asking = "" | "export" | "key" | "erase";

/** What is kept of the reader: take it along, encrypt it, erase it. */
export function Data(): JSX.Element {
  const [asking, setAsking] = useState<Asking>("");
  const close = () => setAsking("");
  const encrypted = status.value?.encrypted;
  return (
    <section class="card">
      <h2>Your data</h2>
      <p class="muted">
        Kept in {status.value?.home}, {encrypted ? "encrypted" : "not encrypted"}. Nothing leaves this device.
      </p>
      <Import />
      <h3>Take along, lock, erase</h3>
      <div class="stack">
        <button type="button" onClick={saveAnswers}>
          Save my answers
        </button>
        <button type="button" disabled={!status.value?.adapter} onClick={saveAdapter}>
          Save what it learned
        </button>
        <button type="button" onClick={() => setAsking("export")}>
          Export everything
        </button>
        <button type="button" onClick={() => setAsking("key")}>
          {encrypted ? "Change the key" : "Encrypt with a key"}
        </button>
        <button type="button" class="danger" onClick={() => setAsking("erase")}>
          Erase everything
        </button>
      </div>
      {asking === "export" && <ExportDialog onClose={close} />}
      {asking === "key" && <KeyDialog onClose={close} />}
      {asking === "erase" && <EraseDialog onClose={close} />}
    </section>
  );
}

/** In OpenAI's form for fine-tuning, which other programs and import read. */
async function saveAnswers(): Promise<void> {
  const given = await attempt(() => call<{ answers: number; data: string }>("export_answers"));
  if (given) download(given.data, "idletune-answers.jsonl");
}

/** The adapter that serves, as llama.cpp reads it. */
async function saveAdapter(): Promise<void> {
  const given = await attempt(() => call<{ version: number; data: string }>("export_adapter"));
  if (given) download(bytesOf(given.data), `idletune-adapter-${given.version}.gguf`);
}

function ExportDialog({ onClose }: { onClose: () => void }): JSX.Element {
  async function save(): Promise<void> {
    onClose();
    const given = await attempt(() => call<{ records: number; data: string }>("export_my_data"));
    if (!given) return;
    download(given.data, `idletune-${new Date().toISOString().slice(0, 10)}.jsonl`);
    notice.value = `Saved ${given.records} lines.`;
  }
  return (
    <Dialog title="Export everything?" action="Save the file" onDo={save} onClose={onClose}>
      <p>The browser saves a file that anybody who has it can read: keep it safe. Forgetting does not reach into it.</p>
    </Dialog>
  );
}

function KeyDialog({ onClose }: { onClose: () => void }): JSX.Element {
  const home = status.value?.home ?? "";
  const [path, setPath] = useState(status.value?.encrypted ? "" : `${home}.key`);
  async function encrypt(): Promise<void> {
    onClose();
    const done = await attempt(() => call<{ path: string }>("rotate_key", { path }));
    if (done) notice.value = `Encrypted. Without ${done.path} nothing can be read: keep a copy elsewhere.`;
    await attempt(refresh);
  }
  return (
    <Dialog title="Encrypt what is kept?" action="Encrypt" disabled={!path.trim()} onDo={encrypt} onClose={onClose}>
      <p>
        Words, answers and what was learned can then be read with the key alone. Without the key's file they are lost:
        keep a copy of it elsewhere.
      </p>
      <label class="field">
        The key's file on this device; it is made if there is none
        <input type="text" value={path} onInput={(event) => setPath(event.currentTarget.value)} />
      </label>
    </Dialog>
  );
}

function EraseDialog({ onClose }: { onClose: () => void }): JSX.Element {
  const [typed, setTyped] = useState("");
  async function erase(): Promise<void> {
    onClose();
    if (await attempt(() => call("erase", { confirm: "erase" }))) connection.value = "erased";
  }
  return (
    <Dialog
      title="Erase everything?"
      action="Erase for good"
      danger
      disabled={typed.trim().toLowerCase() !== "erase"}
      onDo={erase}
      onClose={onClose}
    >
      <p>Your answers, everything that was kept and everything it learned go for good. The model itself stays.</p>
      <label class="field">
        Type erase to go on
        <input type="text" autocapitalize="off" value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
      </label>
    </Dialog>
  );
}
