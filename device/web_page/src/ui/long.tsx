// A text that may be long: its beginning, and a button that shows the rest.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Words } from "./text";

const MOST = 320; // characters
const LINES = 8;

export function LongWords({ text, class: name = "" }: { text: string; class?: string }): JSX.Element {
  const [whole, setWhole] = useState(false);
  const short = shortened(text);
  if (whole || short === text) return <Words class={name} text={text} />;
  return (
    <>
      <Words class={name} text={short} />
      <button type="button" class="quiet more" onClick={() => setWhole(true)}>
        Show all of it
      </button>
    </>
  );
}

export function shortened(text: string, most: number = MOST): string {
  const lines = text.split("\n").slice(0, LINES).join("\n");
  const characters = [...lines]; // so that none is cut in two
  if (characters.length <= most && lines === text) return text;
  return `${characters.slice(0, most).join("")}…`;
}
