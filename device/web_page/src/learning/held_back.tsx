import type { JSX } from "preact";
import { call } from "../api";
import { attempt, refresh, status } from "../state";

/** An adapter that the gate held back: a person decides. */
export function HeldBack(): JSX.Element | null {
  const waiting = status.value?.held_back;
  if (!waiting) return null;
  async function promote(): Promise<void> {
    await attempt(() => call("promote", { version: waiting!.version }));
    await attempt(refresh);
  }
  return (
    <section class="card warn">
      <h2>Learning {waiting.version} waits for you</h2>
      <p>
        It became almost too good at your answers to be true. That happens when one text was answered many times. Look
        through what it keeps: forget what is not yours, or let it answer.
      </p>
      <div class="actions">
        <a class="button" href="#kept">
          Look through
        </a>
        <button type="button" class="primary" onClick={promote}>
          Let it answer
        </button>
      </div>
    </section>
  );
}
