// The exchanges that a search finds, read anew whenever they may have changed.
import { useEffect, useRef, useState } from "preact/hooks";
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
  const reading = useRef(0); // what an earlier reading hears later is out of date
  const wanted = useRef({ of: "", count: PAGE }); // what was in sight stays there, as long as the same is looked for
  const seen = status.value?.buffer.seen;
  const answered = status.value?.answered.sets;

  useEffect(() => {
    const mine = ++reading.current;
    const of = `${which} ${search}`;
    if (wanted.current.of !== of) wanted.current = { of, count: PAGE };

    async function read(): Promise<void> {
      const limit = Math.min(MOST, wanted.current.count);
      const found = await attempt(() => call<SetList>("sets", { search, which, limit }));
      if (!found || mine !== reading.current) return;
      if (limit < Math.min(MOST, wanted.current.count)) return read(); // more was asked for meanwhile
      setList(found);
    }
    const waiting = setTimeout(() => void read(), TYPING_MS);
    return () => clearTimeout(waiting);
  }, [search, which, seen, answered, forgotten.value]);

  async function showMore(): Promise<void> {
    const mine = reading.current;
    const shown = list?.sets ?? [];
    wanted.current.count = shown.length + PAGE;
    const found = await attempt(() => call<SetList>("sets", { search, which, skip: shown.length, limit: PAGE }));
    if (found && mine === reading.current) setList({ ...found, sets: [...shown, ...found.sets] });
  }
  return [list, showMore];
}
