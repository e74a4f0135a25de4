import type { JSX } from "preact";
import type { KeptSet } from "../types";
import { LongWords } from "../ui/long";
import { day, door } from "../words";

/** One exchange: what was asked and answered, by whom, and what became of it. */
export function KeptCard({ kept, onForget }: { kept: KeptSet; onForget: () => void }): JSX.Element {
  return (
    <li class="card">
      <LongWords class="question" text={kept.question} />
      {kept.response === null ? (
        <LongWords class="muted" text={kept.reply} />
      ) : (
        <>
          {kept.response !== kept.reply && kept.reply && <LongWords class="replaced" text={kept.reply} />}
          <LongWords text={kept.response} />
        </>
      )}
      <div class="card-foot">
        <span class="muted">{history(kept)}</span>
        <button type="button" class="quiet" onClick={onForget} aria-label={`Forget: ${kept.question.slice(0, 60)}`}>
          Forget
        </button>
      </div>
    </li>
  );
}

function history(kept: KeptSet): string {
  const parts = [by(`${day(kept.created)}, asked`, kept.origin)];
  if (kept.response === null) parts.push("not answered");
  else parts.push(by(kept.response === kept.reply ? "found good" : "answered", kept.answer_origin));
  if (kept.learned_in !== null) parts.push(`learned (${kept.learned_in})`);
  return parts.join(" · ");
}

function by(done: string, origin: string): string {
  const who = door(origin);
  return who ? `${done} by ${who}` : done;
}
