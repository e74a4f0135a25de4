import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { UndoButton } from "../kept/undo";
import { attempt, learning, refresh, status } from "../state";
import { BufferPicture } from "./buffer_picture";
import { Conditions } from "./conditions";
import { HeldBack } from "./held_back";
import { History } from "./history";
import { Now } from "./now";

const POLL_MS = 10_000; // the battery and the clock tell no event

/** Why it learns now or not, its progress, and what came of it so far. */
export function LearningPage(): JSX.Element {
  useEffect(() => {
    void attempt(refresh);
    const timer = setInterval(() => void attempt(refresh), POLL_MS);
    return () => clearInterval(timer);
  }, []);
  if (!status.value || !learning.value) return <main>Reading…</main>;
  return (
    <main>
      <header class="bar">
        <h1>Learning</h1>
        <UndoButton />
      </header>
      <HeldBack />
      <Conditions conditions={learning.value.conditions} open={status.value.learning.open} />
      <History />
      <BufferPicture />
      <div class="bottom">
        <Now />
      </div>
    </main>
  );
}
