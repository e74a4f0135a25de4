import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { call } from "../api";
import { attempt, prompt, refresh, refreshPrompt, status } from "../state";
import type { Prompt } from "../types";
import { useFocusAfter } from "../ui/focus";
import { Words } from "../ui/text";
import { BetterEditor } from "./better";
import { Choice } from "./choice";
import { comparisons, judged, messages, type Verdict } from "./conversation";

const VERDICTS: Record<string, Verdict> = {
  accept: "good",
  edit: "better",
  never_ask: "never",
  first: "chosen",
  second: "chosen",
};

/** The question to the user that is due, and how many there were today. */
export function DueQuestion(): JSX.Element | null {
  const due = prompt.value;
  if (!due || comparisons.value || isInSight(due)) return null;
  return <Card key={due.id} due={due} />;
}

/** Whether the answer it is about is the last one above, with the same buttons below it. */
function isInSight(due: Prompt): boolean {
  const [question, answer] = messages.value.slice(-2);
  return !!answer?.completion && !answer.verdict && question.content.trim() === due.question.trim();
}

function Card({ due }: { due: Prompt }): JSX.Element {
  const [editing, setEditing] = useState(false);
  const row = useFocusAfter(editing);

  async function answer(verdict: string, text?: string): Promise<void> {
    const answered = { prompt_id: due.id, shown: due.shown, verdict, ...(text ? { text } : {}) };
    if (await attempt(() => call("answer", answered))) {
      judged(due.question, VERDICTS[verdict], verdict === "second" ? (due.second ?? text) : text);
    }
    await attempt(refreshPrompt);
    await attempt(refresh);
  }

  const others = (
    <>
      <button type="button" onClick={() => setEditing(true)}>
        Better…
      </button>
      <button type="button" onClick={() => answer("dismiss")}>
        {due.second === null ? "Skip" : "Neither"}
      </button>
      <button type="button" onClick={() => answer("never_ask")}>
        Never ask
      </button>
    </>
  );
  return (
    <section class="card due" aria-label="A question to you">
      <p class="muted">
        {due.second === null ? "A good answer?" : "Which is better?"} <Today />
      </p>
      <Words class="question" text={due.question} />
      {editing ? (
        <BetterEditor text={due.response} onSave={(text) => answer("edit", text)} onCancel={() => setEditing(false)} />
      ) : (
        <div ref={row}>
          {due.second === null ? (
            <>
              <Words text={due.response} />
              <div class="judging">
                <button type="button" class="primary" onClick={() => answer("accept")}>
                  Good
                </button>
                {others}
              </div>
            </>
          ) : (
            <Choice first={due.response} second={due.second} onChoose={(second) => answer(second ? "second" : "first")}>
              {others}
            </Choice>
          )}
        </div>
      )}
    </section>
  );
}

function Today(): JSX.Element | null {
  const now = status.value;
  if (!now) return null;
  return (
    <span>
      Question {now.prompts.asked_today} of {String(now.settings.daily_limit)} today
    </span>
  );
}
