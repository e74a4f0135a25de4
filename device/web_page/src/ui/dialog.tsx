// A question that has to be answered before anything happens.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

type Props = {
  title: string;
  children: ComponentChildren;
  action: string; // what the button that does it says
  danger?: boolean;
  disabled?: boolean;
  onDo: () => void;
  onClose: () => void;
};

/** A modal dialog with two buttons, at the bottom of a phone's screen. Escape closes it; focus goes back afterwards. */
export function Dialog({ title, children, action, danger, disabled, onDo, onClose }: Props): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const shown = dialog.current!;
    shown.showModal();
    return () => shown.close(); // of one that is taken off the page while open, the browser gives focus to nobody
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={onClose}>
      <h2 id={id}>{title}</h2>
      <div class="dialog-text">{children}</div>
      <div class="actions">
        <button type="button" onClick={() => dialog.current?.close()}>
          Cancel
        </button>
        <button type="button" class={danger ? "danger" : "primary"} disabled={disabled} onClick={onDo}>
          {action}
        </button>
      </div>
    </dialog>
  );
}
