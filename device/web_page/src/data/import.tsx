import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { call } from "../api";
import { attempt, importing } from "../state";
import type { ImportRecord } from "../types";
import { ForgetImport } from "./forget_import";
import { PreviewDialog } from "./preview";
import { useImport } from "./use_import";

/** Conversations that the reader has elsewhere: chosen, looked at, then taken in. */
export function Import(): JSX.Element {
  const { sent, found, known, choose, take, drop } = useImport();
  return (
    <>
      <h3>Import</h3>
      <p class="muted">
        From ChatGPT, Claude, Open WebUI, PocketPal, ChatterUI, SillyTavern, WhatsApp or training files. You see what is
        in it before anything is kept.
      </p>
      {importing.value ? <Reading {...importing.value} /> : <ChooseFile sent={sent} onFile={choose} />}
      <Imported known={known} />
      {found && <PreviewDialog found={found} onTake={take} onClose={drop} />}
    </>
  );
}

function Reading({ done, total }: { done: number; total: number }): JSX.Element {
  return (
    <p role="status">
      Reading {done} of {total}… <progress value={done} max={total} aria-label="Import" />
      <button type="button" onClick={() => attempt(() => call("cancel"))}>
        Stop
      </button>
    </p>
  );
}

function Imported({ known }: { known: ImportRecord[] }): JSX.Element {
  const [forgetting, setForgetting] = useState<ImportRecord | null>(null);
  return (
    <>
      <ul class="plain imports">
        {known.map((each) => (
          <li key={each.id}>
            <span dir="auto">{each.name}</span>, {each.kept} of {each.taken} kept{" "}
            <button type="button" class="quiet" onClick={() => setForgetting(each)} aria-label={`Forget ${each.name}`}>
              Forget
            </button>
          </li>
        ))}
      </ul>
      {forgetting && <ForgetImport from={forgetting} onClose={() => setForgetting(null)} />}
    </>
  );
}

function ChooseFile({ sent, onFile }: { sent: number | null; onFile: (file: File) => void }): JSX.Element {
  if (sent !== null) return <progress value={sent || undefined} max={1} aria-label="Sending the file" />;
  return (
    <label class="button wide file">
      Choose a file
      <input
        type="file"
        class="unseen"
        onChange={({ currentTarget: chooser }) => {
          const file = chooser.files?.[0];
          chooser.value = "";
          if (file) onFile(file);
        }}
      />
    </label>
  );
}
