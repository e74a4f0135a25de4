import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { call } from "../api";
import { adapters, attempt, notice, refresh, status } from "../state";
import { Dialog } from "../ui/dialog";
import { count } from "../words";

/** Undo the last learning: the one before answers again, or the model alone. */
export function UndoButton(): JSX.Element | null {
  const [asking, setAsking] = useState(false);
  const serving = status.value?.adapter;
  if (!serving) return null;
  const before = adapters.value.find((each) => each.state === "retired");
  const next = before ? `What it learned before (${before.version}) answers again` : "The model without learning answers";

  async function undo(): Promise<void> {
    setAsking(false);
    if (await attempt(() => call("rollback"))) notice.value = `Undone. ${next}.`;
    await attempt(refresh);
  }

  return (
    <>
      <button type="button" class="quiet" onClick={() => setAsking(true)}>
        Undo learning
      </button>
      {asking && (
        <Dialog title={`Undo learning ${serving.version}?`} action="Undo" danger onDo={undo} onClose={() => setAsking(false)}>
          <ul class="plain">
            <li>What it learned from {count(serving.dialogue_set_ids.length, "answer")} goes for good.</li>
            <li>{next}.</li>
            <li>Your answers stay. They are still shown to the model when you ask something alike.</li>
          </ul>
        </Dialog>
      )}
    </>
  );
}
