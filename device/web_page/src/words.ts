// Numbers and states in the reader's words.
import type { Adapter, Condition, Losses } from "./types";

/** "27% less surprised": by how much a loss fell, or rose. */
export function surprise(before: number, after: number): string {
  const change = Math.round((1 - after / before) * 100);
  if (change === 0) return "as surprised as before";
  return `${Math.abs(change)}% ${change > 0 ? "less" : "more"} surprised`;
}

/** What an adapter is worth, in a sentence; "" where nothing was measured. */
export function worth(losses: Losses): string {
  const { personal_base: before, personal_adapted: after } = losses;
  if (!before || after === undefined) return "";
  return `It is ${surprise(before, after)} by your answers than the model without learning.`;
}

/** Why an adapter serves or does not, in a sentence. */
export function verdict(adapter: Adapter): string {
  if (adapter.held_back) return "It waits for your look: it became almost too good at your answers to be true.";
  if (adapter.state === "promoted") return "It answers you now.";
  if (adapter.state === "retired") return "It answered before, and is kept for an undo.";
  return rejection(adapter);
}

function rejection(adapter: Adapter): string {
  const { reason } = adapter;
  if (reason === "rolled back") return "You undid it.";
  if (reason.startsWith("rolled back:")) return "Your later answers fitted it worse, so it was undone by itself.";
  if (reason.includes("was forgotten")) return "Something it had learned from was forgotten, so it went too.";
  if (reason.startsWith("replaced")) return "Newer ones took its place.";
  if (reason.includes("interrupted")) return "Its check was interrupted; the next learning begins anew.";
  return failedCheck(adapter.losses) || sentence(`it does not answer you: ${reason}.`);
}

function failedCheck(losses: Losses): string {
  const { personal_base, personal_adapted, engine_serving, engine_adapted, probe_base, probe_adapted } = losses;
  if (personal_adapted === undefined || !personal_base || !probe_base) return "";
  if (personal_adapted >= personal_base) return "It was not used: it did not get better at your answers.";
  if ((engine_adapted ?? 0) >= (engine_serving ?? Infinity)) return "It was not used: what answers now is as good.";
  if ((probe_adapted ?? 0) > probe_base * 1.01) return "It was not used: it got worse at everything else.";
  return "";
}

// Each condition of learning by itself: when it is met, and when not.
const CONDITIONS: Record<string, [string, string]> = {
  nothing: ["There is something new to learn from", "Too little is new to learn from"],
  clock: ["The clock can be trusted", "The clock was moved"],
  hours: ["It is the time of day you allow", "It is not the time of day you allow"],
  plugged: ["It is on the charger", "It is not on the charger"],
  percentage: ["The battery is charged enough", "The battery is not charged enough"],
  temperature: ["The battery is cool", "The battery is too warm"],
  thermal: ["It is not throttled by heat", "It is throttled by heat"],
  idle: ["Nobody uses the device", "The device is in use"],
  memory: ["Enough memory is free", "Too little memory is free"],
  disk: ["Enough storage is free", "Too little storage is free"],
  slices: ["It has not learned too often today", "It has learned often enough today"],
  rest: ["It has rested since the last time", "It rests for a while after the last time"],
};

/** What the server says, with a capital at the beginning, and an exchange called as everywhere on the page. */
export function sentence(text: string): string {
  return (text.charAt(0).toUpperCase() + text.slice(1)).replaceAll("dialogue set", "exchange");
}

/** A condition in words, and what more is known about it. */
export function condition({ code, met, reason }: Condition): { name: string; detail: string } {
  const [yes, no] = CONDITIONS[code] ?? [code, code];
  const name = met === false ? no : met ? yes : `${yes}?`;
  return { name, detail: met === null ? "" : sentence(reason) };
}

const STAGES: Record<string, string> = {
  paraphrasing: "Rewording your questions",
  measuring: "Measuring how it answers now",
  training: "Learning from your answers",
  judging: "Checking what it learned",
  embedding: "Reading what is kept once more",
};

export function stage(name: string): string {
  return STAGES[name] ?? name;
}

/** Who asked or answered, from the door an exchange came through; "" where that is not known. */
export function door(origin: string): string {
  if (origin.includes("notification")) return "you, on a notification";
  if (origin === "terminal" || origin === "web page") return "you";
  if (origin === "HTTP client") return "a chat program";
  if (origin === "app") return "an app";
  if (origin.startsWith("import")) return "a file you imported";
  return origin.replace(/^client /, "the program ");
}

export function day(seconds: number): string {
  return new Date(seconds * 1000).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
}

export function moment(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

export function size(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 1e6 ? `${Math.round(bytes / 1e6)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`;
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

/** The last part of a path. */
export function fileName(path: string): string {
  return path.split("/").pop() ?? path;
}
