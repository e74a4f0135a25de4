// The half of the page's key that no cookie holds. Cookies are sent to every port of a host, so another program's
// server on this machine would get them; what a page stores is kept apart by address, the port included.
const NAME = "idletune-page-key";

/** The key that the link left behind `#`, or one from before; "" where there is none. */
export function pageKey(): string {
  const given = location.hash.match(/^#key=([\w-]+)$/)?.[1];
  if (given) {
    localStorage.setItem(NAME, given);
    history.replaceState(null, "", location.pathname);
  }
  return localStorage.getItem(NAME) ?? "";
}
