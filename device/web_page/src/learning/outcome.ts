// What the end of a learning run is called.
import { sentence } from "../words";

const OUTCOMES: Record<string, string> = {
  promoted: "It learned something and answers with it now. Ask it again to see the difference.",
  held_back: "It learned, and waits for your look before it answers with it.",
  rejected: "It learned nothing that would answer you better, so all stays as it was.",
  stopped: "Learning was stopped. It goes on from there the next time.",
  failed: "It did not learn.",
};

/** A notice for an event, "" where none is worth it. */
export function verdictNotice(name: string, data: Record<string, unknown>): string {
  if (name !== "learning") return "";
  const outcome = String(data.outcome);
  const reason = sentence(String(data.reason));
  if (outcome === "failed") return `${OUTCOMES.failed} ${reason}.`;
  return OUTCOMES[outcome] ?? reason;
}
