// A picture of the losses: for each adapter how surprised the model was by the held-out answers, before and after.
import type { JSX } from "preact";
import type { Adapter } from "../types";
import { surprise } from "../words";

const WIDTH = 320;
const ROW = 34;
const LEFT = 30;
const MOST = 8; // the newest

export function LossBars({ adapters }: { adapters: Adapter[] }): JSX.Element | null {
  const measured = adapters.filter(({ losses }) => losses.personal_base && losses.personal_adapted !== undefined);
  const shown = measured.slice(0, MOST).reverse();
  if (!shown.length) return null;
  const most = Math.max(...shown.map(({ losses }) => Math.max(losses.personal_base!, losses.personal_adapted!)));
  const scale = (loss: number) => ((WIDTH - LEFT) * loss) / most;
  return (
    <figure>
      <svg viewBox={`0 0 ${WIDTH} ${shown.length * ROW}`} role="img" aria-label={spoken(shown)}>
        {shown.map(({ version, state, losses }, row) => (
          <g key={version} transform={`translate(0 ${row * ROW})`}>
            <text x={LEFT - 8} y={21} text-anchor="end">
              {version}
            </text>
            <rect class="before" x={LEFT} y={4} width={scale(losses.personal_base!)} height={10} rx={2} />
            <rect class={`after ${state}`} x={LEFT} y={16} width={scale(losses.personal_adapted!)} height={10} rx={2} />
          </g>
        ))}
      </svg>
      <figcaption class="muted">
        Surprise by answers of yours that it has not learned from; shorter is better.
        <span class="legend">
          <span>
            <span class="key before" /> before
          </span>
          <span>
            <span class="key after" /> with what it learned
          </span>
        </span>
      </figcaption>
    </figure>
  );
}

function spoken(shown: Adapter[]): string {
  const parts = shown.map(
    ({ version, losses }) => `learning ${version}: ${surprise(losses.personal_base!, losses.personal_adapted!)}`,
  );
  return `Surprise by your answers before and after. ${parts.join("; ")}.`;
}
