// Words of the user or the model: always text, never HTML; each paragraph in the direction of its own script.
import type { JSX } from "preact";

export function Words({ text, class: name = "" }: { text: string; class?: string }): JSX.Element {
  return (
    <div class={`words ${name}`} dir="auto">
      {text}
    </div>
  );
}
