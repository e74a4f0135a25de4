import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { call } from "../api";
import { attempt } from "../state";
import type { Preview } from "../types";
import { Dialog } from "../ui/dialog";
import { shortened } from "../ui/long";
import { Words } from "../ui/text";
import { count, day } from "../words";
import type { Found, Mode } from "./use_import";

const EXAMPLE = 160; // characters

type Props = {
  found: Found;
  onTake: (mode: Mode, me: string) => void;
  onClose: () => void;
};

/** What a file holds, before anything of it is kept. */
export function PreviewDialog({ found, onTake, onClose }: Props): JSX.Element {
  const [preview, setPreview] = useState(found.preview);
  const [me, setMe] = useState("");
  const [mode, setMode] = useState<Mode>("answers");
  const people = found.preview.people;

  async function choose(name: string): Promise<void> {
    setMe(name);
    const read = await attempt(() => call<Preview>("import_preview", { upload: found.upload, me: name }));
    if (read) setPreview(read);
  }

  return (
    <Dialog
      title={preview.name}
      action={`Import ${preview.to_read}`}
      disabled={!preview.to_read || (people.length > 0 && !me)}
      onDo={() => onTake(mode, me)}
      onClose={onClose}
    >
      {people.length > 0 && <Who people={people} me={me} onChoose={choose} />}
      <p>{summary(preview)}</p>
      <Modes mode={mode} onMode={setMode} />
      {preview.examples.map(({ question, response }) => (
        <div class="example" key={question}>
          <Words class="question" text={shortened(question, EXAMPLE)} />
          <Words text={shortened(response, EXAMPLE)} />
        </div>
      ))}
      {preview.skipped.map((each) => (
        <small key={each.reason} dir="auto">
          {each.count} left out: {each.reason}
        </small>
      ))}
    </Dialog>
  );
}

function Who({ people, me, onChoose }: { people: string[]; me: string; onChoose: (name: string) => void }): JSX.Element {
  return (
    <label class="field">
      Who are you in it? What you wrote becomes the answers.
      <select value={me} onChange={({ currentTarget: list }) => onChoose(list.value)}>
        <option value="">Choose</option>
        {people.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
    </label>
  );
}

function Modes({ mode, onMode }: { mode: Mode; onMode: (mode: Mode) => void }): JSX.Element {
  return (
    <fieldset class="plain-set">
      <legend class="unseen">How it is taken</legend>
      <label>
        <input type="radio" name="mode" checked={mode === "answers"} onChange={() => onMode("answers")} /> The answers in
        it are as I want them
      </label>
      <label>
        <input type="radio" name="mode" checked={mode === "stream"} onChange={() => onMode("stream")} /> Ask me about
        them
      </label>
    </fieldset>
  );
}

function summary({ format, exchanges, to_read, first, last }: Preview): string {
  const span = first && last ? `, from ${day(first)} to ${day(last)}` : "";
  const part = to_read < exchanges ? ` Of them ${to_read} are read.` : "";
  return `It is ${format}, with ${count(exchanges, "new exchange")}${span}.${part}`;
}
