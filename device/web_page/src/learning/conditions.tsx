import type { JSX } from "preact";
import type { Condition } from "../types";
import { Icon } from "../ui/icons";
import { condition } from "../words";

/** Whether it would learn by itself at this moment, and each condition of that. */
export function Conditions({ conditions, open }: { conditions: Condition[]; open: boolean }): JSX.Element {
  const met = conditions.filter((each) => each.met === true);
  const against = conditions.filter((each) => each.met !== true);
  const answer = open ? "It may learn by itself now." : "It does not learn by itself now.";
  return (
    <section class="card">
      <h2>{answer}</h2>
      <List conditions={against} />
      {against.some(({ met }) => met === null) && (
        <p class="muted">
          Whether that is so (?) cannot be told on this device, so it does not learn by itself. Learn now works all the
          same.
        </p>
      )}
      <details>
        <summary>{against.length ? `${met.length} other conditions are met` : "All conditions are met"}</summary>
        <List conditions={met} />
      </details>
    </section>
  );
}

function List({ conditions }: { conditions: Condition[] }): JSX.Element | null {
  if (!conditions.length) return null;
  return (
    <ul class="conditions">
      {conditions.map((each) => (
        <Line key={each.code} found={each} />
      ))}
    </ul>
  );
}

function Line({ found }: { found: Condition }): JSX.Element {
  const { name, detail } = condition(found);
  const mark = found.met ? "yes" : found.met === null ? "unknown" : "no";
  return (
    <li class={mark}>
      <Icon name={mark} />
      <span>
        <span class="unseen">{found.met ? "Met: " : found.met === null ? "Cannot be told: " : "Not met: "}</span>
        {name}
        {detail && <small>{detail}</small>}
      </span>
    </li>
  );
}
