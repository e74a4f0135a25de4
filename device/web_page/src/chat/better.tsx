import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { GrowingText } from "../ui/growing";

type Props = { text: string; onSave: (text: string) => void; onCancel: () => void };

/** Opens an answer for editing: what stands there when it is saved would have been better. */
export function BetterEditor({ text, onSave, onCancel }: Props): JSX.Element {
  const [better, setBetter] = useState(text);
  return (
    <form
      class="better"
      onSubmit={(event) => {
        event.preventDefault();
        onSave(better.trim());
      }}
    >
      <GrowingText value={better} label="The better answer" focus onValue={setBetter} />
      <div class="actions">
        <button type="button" onClick={onCancel}>
          Cancel
        </button>
        <button type="submit" class="primary" disabled={!better.trim() || better.trim() === text.trim()}>
          Keep this answer
        </button>
      </div>
    </form>
  );
}
