// The loss of each step of the run under way, as a line.
import type { JSX } from "preact";

const WIDTH = 320;
const HEIGHT = 64;

export function LossLine({ losses }: { losses: number[] }): JSX.Element {
  const most = Math.max(...losses);
  const x = (step: number) => (WIDTH * step) / (losses.length - 1);
  const y = (loss: number) => 4 + (HEIGHT - 8) * (1 - loss / most);
  const points = losses.map((loss, step) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
  return (
    <svg class="line" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label="Loss of each step so far">
      <polyline points={points} />
    </svg>
  );
}
