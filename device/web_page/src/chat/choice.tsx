import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { isFocusLost } from "../ui/focus";
import { Words } from "../ui/text";

type Props = {
  first: string;
  second: string;
  writing?: boolean; // the second answer is still being written
  focus?: boolean; // it goes here from the button that asked for this, and this stays in sight
  onChoose: (isSecond: boolean) => void;
  children: ComponentChildren; // what else can be said; below both
};

const NAMES = ["First", "Second"];

/** Two answers to one question side by side, also on a phone, and a button below each that says it is the better one. */
export function Choice({ first, second, writing = false, focus, onChoose, children }: Props): JSX.Element {
  const answers = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (focus && isFocusLost()) answers.current?.focus({ preventScroll: true });
  }, []);
  useEffect(() => {
    if (focus) answers.current?.scrollIntoView({ block: "nearest" });
  }, [second, writing]);
  return (
    <div class="choice" role="group" aria-label="Two answers, which is better?" tabIndex={-1} ref={answers}>
      {[first, second].map((text, i) => (
        <section key={NAMES[i]} aria-label={`${NAMES[i]} answer`}>
          <p class="muted">{NAMES[i]}</p>
          <Words text={text} />
          {writing && i === 1 && <span class="writing" role="status" aria-label="Writing" />}
          {!writing && (
            <button type="button" class="primary" onClick={() => onChoose(i === 1)}>
              {NAMES[i]} is better
            </button>
          )}
        </section>
      ))}
      <div class="judging">{children}</div>
    </div>
  );
}
