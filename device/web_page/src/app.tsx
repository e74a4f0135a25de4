import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { ChatPage } from "./chat/chat_page";
import { Erased, Loading, Locked, Lost } from "./doorstep";
import { KeptPage } from "./kept/kept_page";
import { LearningPage } from "./learning/learning_page";
import { SettingsPage } from "./settings/settings_page";
import { connection, notice, prompt, status, training } from "./state";
import { Icon, type IconName } from "./ui/icons";

const PAGES: Record<string, { name: string; icon: IconName; show: () => JSX.Element }> = {
  chat: { name: "Chat", icon: "chat", show: ChatPage },
  kept: { name: "Kept", icon: "kept", show: KeptPage },
  learning: { name: "Learning", icon: "learning", show: LearningPage },
  settings: { name: "Settings", icon: "settings", show: SettingsPage },
};
const NOTICE_MS = 4500;

const page = signal(pageOf(location.hash));
addEventListener("hashchange", () => (page.value = pageOf(location.hash)));

function pageOf(hash: string): string {
  const name = hash.slice(1);
  return name in PAGES ? name : "chat";
}

/** The page: one of four, and the way to the others at the bottom. */
export function App(): JSX.Element {
  const where = connection.value;
  useEffect(() => {
    document.title = `${PAGES[page.value].name} · IdleTune`;
  }, [page.value]);
  if (where === "locked") return <Locked />;
  if (where === "erased") return <Erased />;
  if (where === "starting" || where === "loading") return <Loading />;
  const { show: Shown } = PAGES[page.value];
  return (
    <>
      {where === "lost" && <Lost />}
      <Shown />
      <Notice />
      <nav aria-label="Pages">
        {Object.entries(PAGES).map(([name, { name: words, icon }]) => (
          <a key={name} href={`#${name}`} aria-current={name === page.value ? "page" : undefined}>
            <Icon name={icon} />
            {words}
            <Badge page={name} />
          </a>
        ))}
      </nav>
    </>
  );
}

/** A dot where something waits or runs. */
function Badge({ page: name }: { page: string }): JSX.Element | null {
  if (name === page.value) return null;
  if (name === "chat" && prompt.value) return <span class="badge" role="img" aria-label="a question waits" />;
  if (name === "learning" && (training.value || status.value?.learning.running)) {
    return <span class="badge" role="img" aria-label="it is learning" />;
  }
  return null;
}

function Notice(): JSX.Element {
  const text = notice.value;
  useEffect(() => {
    if (!text) return;
    const timer = setTimeout(() => (notice.value = ""), NOTICE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <div class="notice" role="status" aria-live="polite">
      {text && (
        <button type="button" onClick={() => (notice.value = "")} dir="auto">
          {text}
        </button>
      )}
    </div>
  );
}
