import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { LEAST_ANSWERS, prompt, status } from "../state";
import { Icon } from "../ui/icons";
import { count } from "../words";
import { Composer } from "./composer";
import { beginAnew, comparisons, isAnswering, messages } from "./conversation";
import { DueQuestion } from "./due_question";
import { MessageView } from "./message";

/** The conversation, the question that is due, and the line to write on. */
export function ChatPage(): JSX.Element {
  const end = useRef<HTMLDivElement>(null);
  const all = messages.value;
  useEffect(() => end.current?.scrollIntoView({ block: "end" }), [
    all.length,
    all[all.length - 1]?.content,
    all[all.length - 1]?.completion, // its buttons come with it
    prompt.value?.id, // its card takes room from the log
    comparisons.value, // while it waits, it does not
  ]);
  return (
    <main class="chat">
      <header class="bar">
        <h1>Chat</h1>
        <Answering />
        <button type="button" class="quiet" disabled={!all.length} onClick={beginAnew}>
          <Icon name="new" /> New
        </button>
      </header>
      <div class="log" role="log" aria-label="Conversation" aria-busy={isAnswering.value} tabIndex={0}>
        {all.length ? all.map((message) => <MessageView key={message.key} message={message} />) : <Welcome />}
        <div ref={end} />
      </div>
      <div class="bottom">
        <div aria-live="polite">
          <DueQuestion />
        </div>
        <Composer />
      </div>
    </main>
  );
}

function Answering(): JSX.Element {
  const adapter = status.value?.adapter;
  const learned = adapter?.dialogue_set_ids.length;
  const words = learned ? `learned ${count(learned, "answer")}` : adapter ? "has learned" : "has not learned yet";
  return <span class="muted">{words}</span>;
}

function Welcome(): JSX.Element {
  return (
    <section class="welcome">
      <p class="big">Talk to your model.</p>
      <ol class="plain">
        <li>Ask it something.</li>
        <li>Say that an answer was good: it is kept. Or write a better one: it learns from your words.</li>
        <li>After {LEAST_ANSWERS} better ones, let it learn; or leave it on the charger at night.</li>
        <li>Ask again, and compare.</li>
      </ol>
      <p class="muted">Everything stays on this device.</p>
    </section>
  );
}
