// The conversation of this tab. It is held in memory alone: what is kept for learning, the server decides.
import { effect, signal } from "@preact/signals";
import { ApiError, complete, type Piece, type Turn } from "../api";
import { attempt, forgotten, refresh, refreshPrompt, tell } from "../state";

export type Verdict = "good" | "better" | "never";
export type Message = Turn & {
  key: number;
  completion?: string; // the id that feedback names
  streaming?: boolean;
  thoughts?: string; // of a model that thinks before it answers; not part of the answer
  verdict?: Verdict;
  better?: string;
  problem?: string;
};

export const messages = signal<Message[]>([]);
export const isAnswering = signal(false);
export const comparisons = signal(0); // that are open: a question to the user waits, for both need the room

let keys = 0;
let running: AbortController | null = null;
let known = 0;

effect(() => {
  if (forgotten.value !== known) {
    known = forgotten.value;
    beginAnew(); // what was forgotten may have been shown to the model here
  }
});

export function beginAnew(): void {
  running?.abort();
  messages.value = [];
}

export function stop(): void {
  running?.abort();
}

/** Send a message and stream the answer; a message that could not be answered stays, with the reason. */
export async function send(text: string): Promise<void> {
  const question: Message = { key: ++keys, role: "user", content: text };
  const answer: Message = { key: ++keys, role: "assistant", content: "", streaming: true };
  const history = [...sound(messages.value), question].map(({ role, content }) => ({ role, content }));
  messages.value = [...messages.value, question, answer];
  isAnswering.value = true;
  running = new AbortController();
  try {
    const completion = await complete(history, (piece) => append(answer.key, piece), running.signal);
    change(answer.key, { completion });
  } catch (error) {
    change(answer.key, { problem: problemOf(error) });
  }
  change(answer.key, { streaming: false });
  isAnswering.value = false;
  running = null;
  await attempt(async () => {
    await refresh();
    await refreshPrompt();
  });
}

/** The turns that were answered: of one that was stopped or failed, the server keeps nothing either. */
function sound(all: Message[]): Message[] {
  return all.filter((message, i) => !message.problem && !all[i + 1]?.problem);
}

function problemOf(error: unknown): string {
  if (error instanceof DOMException && error.name === "AbortError") return "Stopped; nothing of it is kept.";
  if (error instanceof ApiError && (error.isLocked || error.isOffline)) tell(error);
  return error instanceof Error ? error.message : String(error);
}

function append(key: number, { content = "", reasoning_content = "" }: Piece): void {
  const found = messages.value.find((message) => message.key === key);
  if (!found) return;
  change(key, { content: found.content + content, thoughts: (found.thoughts ?? "") + reasoning_content });
}

/** Note the verdict on an answer of this conversation that was given elsewhere. */
export function judged(question: string, verdict: Verdict | undefined, better?: string): void {
  const place = messages.value.map((each) => each.role === "user" && each.content.trim()).lastIndexOf(question.trim());
  const answer = messages.value[place + 1];
  if (place >= 0 && answer && verdict) change(answer.key, { verdict, better });
}

export function change(key: number, changes: Partial<Message>): void {
  messages.value = messages.value.map((message) => (message.key === key ? { ...message, ...changes } : message));
}
