import type { JSX } from "preact";
import { call } from "../api";
import { ForgetDialog } from "../kept/forget";
import type { ImportRecord } from "../types";

/** Forget a file as a whole. */
export function ForgetImport({ from, onClose }: { from: ImportRecord; onClose: () => void }): JSX.Element {
  return (
    <ForgetDialog
      title={`Forget what came of ${from.name}?`}
      asked={from.kept}
      run={(dry_run) => call("forget_import", { id: from.id, dry_run })}
      onClose={onClose}
    />
  );
}
