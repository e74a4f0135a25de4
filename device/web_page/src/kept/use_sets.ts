// The exchanges that a search finds, read anew whenever they may have changed.
import { useEffect, useState } from "preact/hooks";
import { call } from "../api";
import { attempt, forgotten, status } from "../state";
import type { SetList } from "../types";

export type Which = "all" | "answered" | "unanswered";

const PAGE = 30;
const MOST = 100; // that the server gives at once
const TYPING_MS = 200;

/** What was found (null at first), and a function that reads the next ones behind it. */
export function useSets(search: string, which: Which): [SetList | null, () => Promise<void>] {
  const [list, setList] = useState<SetList | null>(null);
  const seen = status.value?.buffer.seen;
  const answered = status.value?.answered.sets;

  useEffect(() => {
    const limit = Math.min(MOST, Math.max(PAGE, list?.sets.length ?? 0)); // what was in sight stays there
    const read = () => attempt(() => call<SetList>("sets", { search, which, limit }));
    const waiting = setTimeout(() => void read().then((found) => found && setList(found)), TYPING_MS);
    return () => clearTimeout(waiting);
  }, [search, which, seen, answered, forgotten.value]);

  async function showMore(): Promise<void> {
    const shown = list?.sets ?? [];
    const found = await attempt(() => call<SetList>("sets", { search, which, skip: shown.length, limit: PAGE }));
    if (found) setList({ ...found, sets: [...shown, ...found.sets] });
  }
  return [list, showMore];
}
