import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { call } from "../api";
import { attempt, status } from "../state";
import type { ModelInfo } from "../types";
import { fileName, sentence, size } from "../words";
import { Check } from "./check";

/** The model in use, and whether it can learn on this device. */
export function Model(): JSX.Element | null {
  const [model, setModel] = useState<ModelInfo | null>(null);
  const memory = status.value?.settings.memory_mb;
  useEffect(() => {
    let latest = true; // what an earlier reading hears later is out of date
    void attempt(() => call<ModelInfo>("model")).then((found) => latest && setModel(found));
    return () => {
      latest = false;
    };
  }, [memory]);
  if (!model) return null;
  return (
    <section class="card">
      <h2>Model</h2>
      <p>
        <strong>{model.name}</strong>
        <br />
        <span class="muted">
          {millions(model.parameters)} weights, {size(model.bytes)} as {model.quantization}, {model.architecture}.
          <br />
          {fileName(status.value?.model ?? "")}
        </span>
      </p>
      <p>{model.trains ? "It can learn on this device." : "It cannot learn as things are."}</p>
      <details>
        <summary>{model.trains ? "How it would learn" : "Why"}</summary>
        <p class="muted">{sentence(model.verdict)}.</p>
      </details>
      <Check />
    </section>
  );
}

function millions(count: number): string {
  return count >= 1e9 ? `${(count / 1e9).toFixed(1)} billion` : `${Math.max(1, Math.round(count / 1e6))} million`;
}
