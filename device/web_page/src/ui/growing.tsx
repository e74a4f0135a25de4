// A text area that grows with what is typed.
import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

type Props = {
  value: string;
  label: string;
  placeholder?: string;
  focus?: boolean;
  onValue: (value: string) => void;
  onKeyDown?: (event: KeyboardEvent) => void;
};

export function GrowingText({ value, label, placeholder, focus, onValue, onKeyDown }: Props): JSX.Element {
  const area = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    const element = area.current;
    if (!element) return;
    element.style.height = "auto"; // through the object model, which the content policy allows
    element.style.height = `${element.scrollHeight}px`;
  }, [value]);
  useLayoutEffect(() => {
    if (focus) area.current?.focus();
  }, []);
  return (
    <textarea
      ref={area}
      rows={1}
      dir="auto"
      aria-label={label}
      placeholder={placeholder}
      value={value}
      onInput={(event) => onValue(event.currentTarget.value)}
      onKeyDown={onKeyDown}
    />
  );
}
