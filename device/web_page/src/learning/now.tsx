import type { JSX } from "preact";
import { call } from "../api";
import { attempt, LEAST_ANSWERS, learning, refresh, status, training, trainingLosses } from "../state";
import { count, stage, surprise } from "../words";
import { LossLine } from "./loss_line";

/** The run that is under way, or the button that begins one. */
export function Now(): JSX.Element {
  return (
    <section class="card now" aria-label="Learning now">
      {learning.value?.running ? <Running /> : <Waiting />}
    </section>
  );
}

function Running(): JSX.Element {
  const step = training.value;
  const share = step && step.total ? step.done / step.total : undefined;
  return (
    <>
      <p role="status">{step ? `${stage(step.stage)}, ${step.done} of ${step.total}` : "Learning…"}</p>
      <progress value={share} max={1} aria-label="Progress" />
      {trainingLosses.value.length > 1 && <Trend losses={trainingLosses.value} />}
      <button type="button" class="wide" onClick={() => attempt(() => call("stop"))}>
        Stop learning
      </button>
    </>
  );
}

/** How the loss falls while it learns: on what it learns from, so it says little about new questions. */
function Trend({ losses }: { losses: number[] }): JSX.Element {
  const ends = Math.max(1, Math.min(5, Math.floor(losses.length / 2)));
  const mean = (some: number[]) => some.reduce((sum, loss) => sum + loss, 0) / some.length;
  const words = surprise(mean(losses.slice(0, ends)), mean(losses.slice(-ends)));
  return (
    <div class="trend">
      <LossLine losses={losses} />
      <p class="muted">So far {words} by the answers it learns from.</p>
    </div>
  );
}

function Waiting(): JSX.Element {
  const { sets, accepted } = status.value?.answered ?? { sets: 0, accepted: 0 };
  const missing = LEAST_ANSWERS - sets + accepted;
  async function begin(): Promise<void> {
    trainingLosses.value = [];
    await attempt(() => call("learn"));
    await attempt(refresh);
  }
  return (
    <>
      <p class="muted">{missing > 0 ? `It needs ${count(missing, "more answer")} in your own words.` : ready()}</p>
      <button type="button" class="primary wide" disabled={missing > 0} onClick={begin}>
        {learning.value?.unfinished ? "Go on learning" : "Learn now"}
      </button>
    </>
  );
}

function ready(): string {
  const fresh = status.value?.answered.not_yet_learned ?? 0;
  if (learning.value?.unfinished) return "It was stopped in the middle, and goes on from there.";
  return fresh ? `${count(fresh, "answer")} it has not learned from yet.` : "It has learned from all your answers.";
}
