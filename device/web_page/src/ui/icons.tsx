// Icons as SVG, drawn in the text's colour; hidden from screen readers, which read the words beside them.
import type { JSX } from "preact";

const PATHS = {
  chat: "M4 5h16v11H9l-5 4z",
  kept: "M5 4h14v16l-7-4-7 4z",
  learning: "M19 14a8 8 0 1 1-8-10 6 6 0 0 0 8 10z",
  settings: "M4 7h10M18 7h2M4 12h2M10 12h10M4 17h8M16 17h4M16 5v4M8 10v4M14 15v4",
  send: "M5 12h13M13 6l6 6-6 6",
  stop: "M7 7h10v10H7z",
  new: "M12 5v14M5 12h14",
  yes: "M5 12l5 5 9-10",
  no: "M6 6l12 12M18 6L6 18",
  unknown: "M12 17v.5M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
