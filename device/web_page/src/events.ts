// Notifications of the server, and what to do when it is gone.
import {
  attempt,
  connection,
  importing,
  lose,
  notice,
  promptClosed,
  promptTold,
  refresh,
  refreshPrompt,
  training,
  trainingLosses,
} from "./state";
import { pageKey } from "./page_key";
import type { Prompt } from "./types";
import { verdictNotice } from "./learning/outcome";

const RETRY_MS = 1500;
const MOST_LOSSES = 400; // more than a picture of them has points
const NAMES = ["prompt", "prompt_dismissed", "training", "import", "adapter", "learning"];

let source: EventSource | null = null;

/** Connect, read the state, and go on doing so for as long as the page is open. */
export async function connect(): Promise<void> {
  source?.close();
  await attempt(refresh);
  if (connection.value === "there") listen();
  else if (connection.value === "loading" || connection.value === "lost") setTimeout(connect, RETRY_MS);
}

function listen(): void {
  source = new EventSource(`/api/events?page=${pageKey()}`);
  for (const name of NAMES) {
    source.addEventListener(`event.${name}`, (event) => {
      const data = JSON.parse((event as MessageEvent).data);
      handle(name, data);
    });
  }
  source.onopen = () => {
    // From now on this page gets questions from all doors; asking for one counts it.
    void attempt(refreshPrompt).then(() => attempt(refresh));
  };
  source.onerror = () => {
    // The browser would try again by itself, but not after an answer such as 401: so ask once more what is the case.
    source?.close();
    lose();
    setTimeout(connect, RETRY_MS);
  };
}

function handle(name: string, data: Record<string, unknown>): void {
  if (name === "prompt") promptTold(data.prompt as Prompt);
  else if (name === "prompt_dismissed") dismissed(data.prompt_id as number);
  else if (name === "import") importing.value = importing.value && (data as { done: number; total: number });
  else if (name === "training") progress(data as { stage: string; done: number; total: number; note?: string });
  else changed(name, data);
}

function dismissed(id: number): void {
  promptClosed(id);
  void attempt(refresh);
}

function progress(data: { stage: string; done: number; total: number; note?: string }): void {
  training.value = data;
  const loss = data.stage === "training" ? Number(data.note?.match(/loss ([\d.]+)/)?.[1]) : NaN;
  if (!Number.isNaN(loss)) {
    trainingLosses.value = data.done <= 1 ? [loss] : [...trainingLosses.value, loss].slice(-MOST_LOSSES);
  }
}

function changed(name: string, data: Record<string, unknown>): void {
  if (name === "learning") training.value = null;
  notice.value = verdictNotice(name, data) || notice.value;
  void attempt(refresh);
}
