// A picture of the buffer: what was learned, answered, kept, and the room that is left.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { call } from "../api";
import { attempt, forgotten, status } from "../state";
import type { Counts, SetList } from "../types";

const WIDTH = 320;
const HEIGHT = 22;
const MOST_DOMAINS = 8;

type Part = { name: string; count: number; words: string };

export function BufferPicture(): JSX.Element | null {
  const [counts, setCounts] = useState<Counts | null>(null);
  const buffer = status.value?.buffer;
  const answered = status.value?.answered;
  useEffect(() => {
    let latest = true; // what an earlier reading hears later is out of date
    void attempt(() => call<SetList>("sets", { limit: 1 })).then((found) => latest && found && setCounts(found.counts));
    return () => {
      latest = false;
    };
  }, [buffer?.kept, buffer?.seen, answered?.sets, answered?.not_yet_learned, forgotten.value]);
  if (!counts || !buffer?.seen) return null;
  const parts = partsOf(counts, buffer.bins);
  return (
    <section class="card">
      <h2>What it keeps</h2>
      <p class="muted">
        Of {buffer.seen} exchanges it has seen, the {counts.total} that are worth most to learn from. There is room for{" "}
        {buffer.bins}.
      </p>
      <Stacked parts={parts} most={Math.max(buffer.bins, counts.total)} />
      <Domains domains={counts.domains} />
    </section>
  );
}

function partsOf({ total, answered, learned }: Counts, room: number): Part[] {
  return [
    { name: "learned", count: learned, words: "learned" },
    { name: "answered", count: answered - learned, words: "answered by you" },
    { name: "kept", count: total - answered, words: "not answered" },
    { name: "free", count: Math.max(0, room - total), words: "free" },
  ];
}

function Stacked({ parts, most }: { parts: Part[]; most: number }): JSX.Element {
  let left = 0;
  const bars = parts.map((part) => {
    const x = left;
    left += (WIDTH * part.count) / most;
    return <rect key={part.name} class={part.name} x={x} y={0} width={left - x} height={HEIGHT} />;
  });
  const words = parts.map((part) => `${part.count} ${part.words}`).join(", ");
  return (
    <figure>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={words}>
        {bars}
      </svg>
      <figcaption class="muted legend">
        {parts.map((part) => (
          <span key={part.name}>
            <span class={`key ${part.name}`} /> {part.count} {part.words}
          </span>
        ))}
      </figcaption>
    </figure>
  );
}

function Domains({ domains }: { domains: Record<string, number> }): JSX.Element | null {
  const all = Object.entries(domains).slice(0, MOST_DOMAINS);
  if (all.length < 2) return null;
  return (
    <p class="tags" aria-label="Subjects">
      {all.map(([name, count]) => (
        <span key={name} class="tag">
          {name.replaceAll("_", " ")} {count}
        </span>
      ))}
    </p>
  );
}
