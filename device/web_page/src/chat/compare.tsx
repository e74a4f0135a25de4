import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { call } from "../api";
import { attempt } from "../state";
import type { Compared } from "../types";
import { Words } from "../ui/text";
import { count } from "../words";
import { comparisons } from "./conversation";

/** The same question to the model without learning and with it, side by side. */
export function Compare({ question }: { question: string }): JSX.Element {
  const [found, setFound] = useState<Compared | null>(null);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    let open = true;
    void attempt(() => call<Compared>("compare", { text: question })).then((result) => {
      if (!open) return;
      setFound(result);
      setFailed(!result);
    });
    return () => {
      open = false;
    };
  }, [question]);

  useEffect(() => {
    comparisons.value += 1;
    return () => {
      comparisons.value -= 1;
    };
  }, []);

  const answers = useRef<HTMLDivElement>(null);
  useEffect(() => answers.current?.scrollIntoView({ block: "nearest" }), [found]);

  if (failed) return <p class="muted">The comparison did not work.</p>;
  if (!found) {
    return (
      <p class="muted" role="status">
        Asking twice… <progress aria-label="Comparing" />
      </p>
    );
  }
  return (
    <div class="compare" ref={answers}>
      <section>
        <h3>Without learning</h3>
        <Answer text={found.base} />
      </section>
      <section class="learned">
        <h3>With what it learned</h3>
        <Answer text={found.learned} />
      </section>
      <p class="muted">
        {part(found)} Both answers are to this question alone, each in its most likely words: chance has no part in how
        they differ.
      </p>
    </div>
  );
}

function Answer({ text }: { text: string }): JSX.Element {
  return text.trim() ? <Words text={text} /> : <p class="muted">No words.</p>;
}

function part({ adapter, shown }: Compared): string {
  const learned = adapter === null ? "It has not learned yet." : `Learning ${adapter} took part.`;
  return shown ? `${learned} It saw ${count(shown, "answer")} of yours.` : learned;
}
