// Where focus goes when an editor closes, so that a keyboard or a screen reader goes on there.
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** Whether nothing has the focus: what had it is gone, and the user has not moved on. */
export function isFocusLost(): boolean {
  return document.activeElement === null || document.activeElement === document.body;
}

/** For the row of buttons that comes back: its first button gets the focus. */
export function useFocusAfter(editing: boolean): RefObject<HTMLDivElement | null> {
  const row = useRef<HTMLDivElement>(null);
  const was = useRef(false);
  useEffect(() => {
    if (was.current && !editing && isFocusLost()) row.current?.querySelector("button")?.focus();
    was.current = editing;
  }, [editing]);
  return row;
}
