// What stands in place of the page, or above it, while the server cannot be spoken to.
import type { JSX } from "preact";

export function Locked(): JSX.Element {
  return (
    <main class="doorstep">
      <h1>Open the link</h1>
      <p>
        This page speaks only to who opened the link that <code>idletune web</code> printed. Each link works once; start
        it again for another.
      </p>
    </main>
  );
}

export function Erased(): JSX.Element {
  return (
    <main class="doorstep">
      <h1>Everything is erased</h1>
      <p>
        Start <code>idletune web</code> again to begin anew.
      </p>
    </main>
  );
}

export function Loading(): JSX.Element {
  return (
    <main class="doorstep" aria-busy="true">
      <h1>IdleTune</h1>
      <p role="status">The model is being loaded…</p>
      <progress aria-label="Loading" />
    </main>
  );
}

export function Lost(): JSX.Element {
  return (
    <p class="lost" role="alert">
      IdleTune does not answer. Is it still running? The page goes on as soon as it does.
    </p>
  );
}
