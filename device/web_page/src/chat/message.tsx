import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { rate, type Rating } from "../api";
import { attempt, LEAST_ANSWERS, refresh, refreshPrompt, status } from "../state";
import { useFocusAfter } from "../ui/focus";
import { Words } from "../ui/text";
import { count } from "../words";
import { BetterEditor } from "./better";
import { Choice } from "./choice";
import { Compare } from "./compare";
import {
  change,
  choose,
  comparisons,
  dropSecond,
  isAnswering,
  messages,
  sendAgain,
  type Answer,
  type Message,
  type Verdict,
} from "./conversation";

export function MessageView({ message }: { message: Message }): JSX.Element {
  if (message.role === "user") {
    return (
      <article class="message mine" aria-label="You">
        <Words text={message.content} />
      </article>
    );
  }
  return (
    <article class="message" aria-label="Answer">
      {message.thoughts && (
        <details class="thoughts">
          <summary>{message.content ? "What it thought" : "Thinking…"}</summary>
          <Words class="muted" text={message.thoughts} />
        </details>
      )}
      {!message.second && <Words text={message.better ?? message.content} />}
      {message.streaming && <span class="writing" role="status" aria-label="Writing" />}
      {message.problem && <p class="muted">{message.problem}</p>}
      {message.completion && !message.streaming && <Judging message={message} />}
    </article>
  );
}

const SAID: Record<Verdict, string> = {
  good: "Kept as a good answer.",
  better: "Your answer is kept instead.",
  chosen: "Kept as the better answer.",
  never: "Never asked about, and not kept.",
};

/** Good, better (edited in place), another answer to choose from, never ask; and the base model's answer beside it. */
function Judging({ message }: { message: Message }): JSX.Element {
  const [open, setOpen] = useState<"" | "edit" | "compare">("");
  const row = useFocusAfter(open === "edit" || !!message.second);

  async function give(verdict: Verdict, rating: Rating, better?: string): Promise<void> {
    if (await judge(message, verdict, rating, better)) setOpen("");
  }

  if (message.second) return <Two message={message} second={message.second} />;
  if (open === "edit") {
    const save = (text: string) => void give("better", { text }, text);
    return <BetterEditor text={message.content} onSave={save} onCancel={() => setOpen("")} />;
  }
  return (
    <>
      <div class="judging" ref={row}>
        {message.verdict ? (
          <span class="said">{SAID[message.verdict]}</span>
        ) : (
          <Verdicts onGive={give} onEdit={() => setOpen("edit")} />
        )}
        <span class="together">
          {!message.verdict && message.key === lastKey() && (
            <button
              type="button"
              class="quiet"
              disabled={isAnswering.value}
              onClick={() => void sendAgain(message)}
            >
              Another
            </button>
          )}
          <button
            type="button"
            class="quiet"
            aria-expanded={open === "compare"}
            onClick={() => setOpen(open ? "" : "compare")}
          >
            {open === "compare" ? "Close" : "Compare"}
          </button>
        </span>
      </div>
      {message.verdict && message.key === lastJudged() && <Onward />}
      {open === "compare" && <Compare question={questionBefore(message)} />}
    </>
  );
}

function lastKey(): number | undefined {
  return messages.value.slice(-1)[0]?.key;
}

/** The answer and another one to the same message; a question to the user waits meanwhile. */
function Two({ message, second }: { message: Message; second: Answer }): JSX.Element {
  useEffect(() => {
    comparisons.value += 1;
    return () => {
      comparisons.value -= 1;
    };
  }, []);

  async function prefer(isSecond: boolean): Promise<void> {
    const [better, worse] = isSecond ? [second, message] : [message, second];
    await rated(better.completion!, { better_than: worse.completion! }, () => choose(message, isSecond));
  }

  if (second.problem || (!second.streaming && second.content.trim() === message.content.trim())) {
    return (
      <>
        <Words text={message.content} />
        <p class="muted">{second.problem ?? "It gives the same answer again."}</p>
        <div class="judging">
          <button type="button" onClick={() => dropSecond(message)}>
            Close
          </button>
        </div>
      </>
    );
  }
  return (
    <Choice first={message.content} second={second.content} writing={second.streaming} focus onChoose={prefer}>
      <button type="button" disabled={second.streaming} onClick={() => dropSecond(message)}>
        Neither
      </button>
    </Choice>
  );
}

function lastJudged(): number | undefined {
  return messages.value.filter((each) => each.verdict && each.verdict !== "never").pop()?.key;
}

/** For who has never seen it learn: how many answers that still takes, or where it begins. */
function Onward(): JSX.Element | null {
  const now = status.value;
  if (!now || now.adapter) return null;
  const missing = LEAST_ANSWERS - now.answered.sets + now.answered.accepted;
  if (missing > 0) return <small>{count(missing, "more answer")} in your own words, and it can learn.</small>;
  return (
    <small>
      It can learn from your answers now: <a href="#learning">Learning</a>
    </small>
  );
}

type Give = (verdict: Verdict, rating: Rating) => void;

function Verdicts({ onGive, onEdit }: { onGive: Give; onEdit: () => void }): JSX.Element {
  return (
    <>
      <button type="button" onClick={() => onGive("good", "up")}>
        Good
      </button>
      <button type="button" onClick={onEdit}>
        Better…
      </button>
      <button type="button" onClick={() => onGive("never", "never_ask")}>
        Never ask
      </button>
    </>
  );
}

function judge(message: Message, verdict: Verdict, rating: Rating, better?: string): Promise<boolean> {
  return rated(message.completion!, rating, () => change(message.key, { verdict, better }));
}

/** Whether a rating was taken, which is shown at once; else a notice says why not, and nothing is lost. */
async function rated(completion: string, rating: Rating, show: () => void): Promise<boolean> {
  const given = await attempt(async () => {
    await rate(completion, rating);
    return true;
  });
  if (!given) return false;
  show();
  await attempt(refresh);
  await attempt(refreshPrompt);
  return true;
}

function questionBefore(message: Message): string {
  const place = messages.value.findIndex((each) => each.key === message.key);
  return messages.value[place - 1]?.content ?? "";
}
