import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { GrowingText } from "../ui/growing";
import { Icon } from "../ui/icons";
import { isAnswering, send, stop } from "./conversation";

/** The line to write on. Enter sends, with Shift it begins a new line. */
export function Composer(): JSX.Element {
  const [text, setText] = useState("");

  function submit(): void {
    if (!text.trim() || isAnswering.value) return;
    setText("");
    void send(text.trim());
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  }

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <GrowingText value={text} label="Message" placeholder="Message" onValue={setText} onKeyDown={onKeyDown} />
      {isAnswering.value ? (
        <button type="button" class="round" aria-label="Stop" onClick={stop}>
          <Icon name="stop" />
        </button>
      ) : (
        <button type="submit" class="round primary" aria-label="Send" disabled={!text.trim()}>
          <Icon name="send" />
        </button>
      )}
    </form>
  );
}
