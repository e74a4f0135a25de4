import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { call } from "../api";
import { attempt } from "../state";
import type { CheckReport } from "../types";
import { count } from "../words";

/** Tries what a night of learning takes on this device. */
export function Check(): JSX.Element {
  const [trying, setTrying] = useState(false);
  const [report, setReport] = useState<CheckReport | null>(null);

  async function start(): Promise<void> {
    setTrying(true);
    const found = await attempt(() => call<{ report: CheckReport }>("check"));
    setReport(found?.report ?? null);
    setTrying(false);
  }

  if (trying) {
    return (
      <p role="status">
        Trying a few steps of learning… <progress aria-label="Trying" />
      </p>
    );
  }
  return (
    <>
      {report && <p role="status">{sentence(report)}</p>}
      <button type="button" class="wide" onClick={start}>
        Try what learning takes
      </button>
    </>
  );
}

function sentence({ refusal, night, planned_mb, free_mb }: CheckReport): string {
  if (refusal || !night) return `It cannot learn here: ${refusal}.`;
  const time = night.minutes < 1 ? "less than a minute" : `about ${Math.round(night.minutes)} minutes`;
  const memory = Math.round(night.peak_mb ?? planned_mb ?? 0);
  const free = free_mb === null ? "" : `, and ${Math.round(free_mb)} MB are free`;
  const stretches = count(night.slices, "stretch", "stretches");
  return (
    `To learn from ${count(night.answers, "answer")} takes ${time}, in ${stretches}.` +
    ` It takes ${memory} MB of memory${free}.`
  );
}
