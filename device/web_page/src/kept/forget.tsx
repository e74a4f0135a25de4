import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { attempt, forgotten, notice, refresh, refreshPrompt } from "../state";
import type { Forgotten } from "../types";
import { Dialog } from "../ui/dialog";
import { count } from "../words";

type Props = {
  title: string;
  asked: number; // how many exchanges are meant; what goes beyond them came of them
  run: (dry_run: boolean) => Promise<Forgotten>;
  onClose: () => void;
};

/** Says what goes with exchanges before they go. */
export function ForgetDialog({ title, asked, run, onClose }: Props): JSX.Element {
  const [planned, setPlanned] = useState<Forgotten | null>(null);
  const [working, setWorking] = useState(false);
  useEffect(() => {
    void attempt(() => run(true)).then((found) => (found ? setPlanned(found) : onClose()));
  }, []);

  async function forget(): Promise<void> {
    setWorking(true);
    const done = await attempt(() => run(false));
    onClose();
    if (!done) return;
    forgotten.value += 1;
    notice.value = `Forgotten: ${count(done.sets.length, "exchange")}.`;
    await attempt(refresh);
    await attempt(refreshPrompt);
  }

  return (
    <Dialog
      title={title}
      action={working ? "Forgetting…" : "Forget"}
      danger
      disabled={!planned || working}
      onDo={forget}
      onClose={onClose}
    >
      {planned ? <Consequences planned={planned} asked={asked} /> : <p role="status">Looking what goes with it…</p>}
    </Dialog>
  );
}

function Consequences({ planned, asked }: { planned: Forgotten; asked: number }): JSX.Element {
  const more = planned.sets.length - asked;
  const files = planned.copies.map((copy) => copy.path);
  return (
    <ul class="plain">
      <li>{count(planned.sets.length, "exchange goes", "exchanges go")} for good.</li>
      {more > 0 && <li>{count(more, "of them was", "of them were")} written with the help of the others.</li>}
      {planned.replies.length > 0 && (
        <li>
          The model's reply goes from {count(planned.replies.length, "other exchange")}; your own answers there stay.
        </li>
      )}
      {planned.dropped.length > 0 ? (
        <li>
          What it learned from {planned.sets.length === 1 ? "it" : "them"} goes, too (learning{" "}
          {planned.dropped.join(", ")}). What else was in it is learned
          again.
        </li>
      ) : (
        <li>It has learned nothing from {planned.sets.length === 1 ? "it" : "them"}, so it goes on answering as it does.</li>
      )}
      {planned.prompts.length > 0 && <li>{count(planned.prompts.length, "open question goes", "open questions go")}.</li>}
      <li>All conversations begin anew.</li>
      {files.length > 0 && <li>Files that may still hold it: {files.join(", ")}</li>}
    </ul>
  );
}
