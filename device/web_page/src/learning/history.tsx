import type { JSX } from "preact";
import { adapters } from "../state";
import type { Adapter } from "../types";
import { count, moment, sentence, verdict, worth } from "../words";
import { LossBars } from "./loss_bars";

/** All adapters, newest first, with what they were worth and why they serve or do not. */
export function History(): JSX.Element {
  const all = adapters.value;
  if (!all.length) {
    return (
      <section class="card">
        <h2>Nothing learned yet</h2>
        <p class="muted">After the first time you see here how much less your answers surprise it.</p>
      </section>
    );
  }
  return (
    <section class="card">
      <h2>What it learned</h2>
      <LossBars adapters={all} />
      <ol class="history" reversed>
        {all.map((each) => (
          <Entry key={each.version} adapter={each} />
        ))}
      </ol>
    </section>
  );
}

function Entry({ adapter }: { adapter: Adapter }): JSX.Element {
  const { personal_base: before, personal_adapted: after, probe_base: general, probe_adapted: now } = adapter.losses;
  return (
    <li value={adapter.version} class={adapter.state}>
      <strong>{moment(adapter.created)}</strong>, {count(adapter.dialogue_set_ids.length, "answer")}
      <p>
        {verdict(adapter)} {worth(adapter.losses)}
      </p>
      {before !== undefined && after !== undefined && (
        <details>
          <summary>Numbers</summary>
          <p class="muted">
            Loss on answers kept aside: {before.toFixed(3)} to {after.toFixed(3)} nats per token.
            {general !== undefined && now !== undefined && ` On general text: ${general.toFixed(3)} to ${now.toFixed(3)}.`}
          </p>
          <p class="muted" dir="auto">
            {sentence(adapter.reason)}
          </p>
        </details>
      )}
    </li>
  );
}
