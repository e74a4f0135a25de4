// What all parts of the page look at: the server's state, and whether the server can be reached.
import { signal } from "@preact/signals";
import { ApiError, call } from "./api";
import type { Adapter, LearningState, Prompt, Status } from "./types";
import { sentence } from "./words";

export const LEAST_ANSWERS = 5; // MIN_ANSWERS_TO_TRAIN

export type Connection = "starting" | "loading" | "there" | "lost" | "locked" | "erased";
export type Training = { stage: string; done: number; total: number };

export const connection = signal<Connection>("starting");
export const status = signal<Status | null>(null);
export const learning = signal<LearningState | null>(null);
export const adapters = signal<Adapter[]>([]);
export const prompt = signal<Prompt | null>(null);
export const training = signal<Training | null>(null);
export const trainingLosses = signal<number[]>([]);
export const importing = signal<{ done: number; total: number } | null>(null);
export const notice = signal("");
export const forgotten = signal(0); // counts up when sets were forgotten: conversations begin anew

/** Do something; what fails is told at the bottom of the page, and null comes back. */
export async function attempt<Result>(work: () => Promise<Result>): Promise<Result | null> {
  try {
    return await work();
  } catch (error) {
    tell(error);
    return null;
  }
}

export function tell(error: unknown): void {
  if (error instanceof ApiError && error.isLocked) connection.value = "locked";
  else if (error instanceof ApiError && error.isOffline) lose();
  else notice.value = sentence(error instanceof Error ? error.message : String(error));
}

export function lose(): void {
  if (connection.value !== "erased") connection.value = "lost";
}

let refreshed = 0;

/**
 * Read everything that is shown on more than one page, and the conditions of learning where they are shown. What an
 * earlier call hears later is out of date.
 */
export async function refresh(): Promise<void> {
  const mine = ++refreshed;
  const isLatest = (): boolean => mine === refreshed;
  const found = await call<{ open: boolean; runtime?: Status }>("status");
  if (!isLatest()) return;
  status.value = found.runtime ?? null;
  if (connection.value !== "erased") connection.value = found.open ? "there" : "loading";
  if (!found.open) return;
  const known = await call<{ adapters: Adapter[] }>("adapters");
  if (!isLatest()) return;
  adapters.value = known.adapters;
  if (location.hash !== "#learning") return; // the device is asked for each condition, which may take a second
  const now = await call<LearningState>("learning");
  if (!isLatest()) return;
  learning.value = now;
  if (!learning.value.running) training.value = null;
}

let asked = 0;
let asking = 0; // calls under way

/** The question that is due; asking for it counts as showing it. What an earlier call hears later is out of date. */
export async function refreshPrompt(): Promise<void> {
  const mine = ++asked;
  asking += 1;
  try {
    const [due = null] = (await call<{ prompts: Prompt[] }>("prompts")).prompts;
    if (mine === asked) prompt.value = due;
  } finally {
    asking -= 1;
  }
}

/** A question that the server tells of: what was asked before may be heard later, and is out of date. */
export function promptTold(told: Prompt): void {
  asked += 1;
  prompt.value = told;
}

/** A question that is open no more, be it the one that is shown or the one that a call under way will hear. */
export function promptClosed(id: number): void {
  if (prompt.value?.id === id || asking) void attempt(refreshPrompt);
}
