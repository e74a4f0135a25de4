// The conversation of this tab. It is held in memory alone: what is kept for learning, the server decides.
import { effect, signal } from "@preact/signals";
import { ApiError, complete, type Piece, type Turn } from "../api";
import { attempt, forgotten, refresh, refreshPrompt, status, tell } from "../state";

export type Verdict = "good" | "better" | "chosen" | "never";
export type Answer = { content: string; completion?: string; streaming?: boolean; problem?: string };
export type Message = Turn & {
  key: number;
  completion?: string; // the id that feedback names
  streaming?: boolean;
  second?: Answer; // another answer to the same message, until the user has chosen one of both
  thoughts?: string; // of a model that thinks before it answers; not part of the answer
  verdict?: Verdict;
  better?: string;
  problem?: string;
};

export const messages = signal<Message[]>([]);
export const isAnswering = signal(false);
export const comparisons = signal(0); // that are open: a question to the user waits, for both need the room

const VARIED = { temperature: 0.7 }; // of another answer where the setting asks for the most likely words alone
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
  messages.value = [...messages.value.map(withoutSecond), question, answer];
  change(answer.key, await answered(answer.key, (piece) => append(answer.key, piece)));
  await attempt(async () => {
    await refresh();
    await refreshPrompt();
  });
}

/** Stream another answer to the last message, which stands beside the first one. */
export async function sendAgain({ key }: Message): Promise<void> {
  change(key, { second: { content: "", streaming: true } });
  const append = (piece: Piece) => changeSecond(key, ({ content }) => ({ content: content + (piece.content ?? "") }));
  const ended = await answered(key, append, status.value?.settings.temperature === 0 ? VARIED : {});
  changeSecond(key, () => ended);
}

/** The conversation goes on with the answer that was chosen. */
export function choose({ key, second }: Message, isSecond: boolean): void {
  const chosen = isSecond && second ? { content: second.content, completion: second.completion } : {};
  change(key, { ...chosen, second: undefined, verdict: "chosen" });
}

/** The conversation goes on with the first answer, of which nothing was said. */
export function dropSecond({ key }: Message): void {
  change(key, { second: undefined });
}

/** Ask for an answer to the question before the message with this key; how that ended. */
async function answered(key: number, onPiece: (piece: Piece) => void, sampling = {}): Promise<Ended> {
  const place = messages.value.findIndex((each) => each.key === key);
  const history = sound(messages.value.slice(0, place)).map(({ role, content }) => ({ role, content }));
  isAnswering.value = true;
  running = new AbortController();
  try {
    return { completion: await complete(history, onPiece, running.signal, sampling), streaming: false };
  } catch (error) {
    return { problem: problemOf(error), streaming: false };
  } finally {
    isAnswering.value = false;
    running = null;
  }
}

type Ended = { completion?: string; problem?: string; streaming: false };

function changeSecond(key: number, changes: (before: Answer) => Partial<Answer>): void {
  const second = messages.value.find((each) => each.key === key)?.second;
  if (second) change(key, { second: { ...second, ...changes(second) } });
}

function withoutSecond(message: Message): Message {
  return { ...message, second: undefined };
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
