import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { call } from "../api";
import type { SetList } from "../types";
import { count } from "../words";
import { ForgetDialog } from "./forget";
import { KeptCard } from "./kept_card";
import { UndoButton } from "./undo";
import { useSets, type Which } from "./use_sets";

const WHICH: Record<Which, string> = { all: "All", answered: "Answered", unanswered: "Not answered" };

/** What it has learned from, and what it may learn from: search, and forget. */
export function KeptPage(): JSX.Element {
  const [search, setSearch] = useState("");
  const [which, setWhich] = useState<Which>("all");
  const [forgetting, setForgetting] = useState<number[] | null>(null);
  const [list, showMore] = useSets(search, which);
  const left = list ? list.found - list.sets.length : 0;
  return (
    <main>
      <header class="bar">
        <h1>What it keeps</h1>
        <UndoButton />
      </header>
      <p class="muted" role="status">
        {list ? summary(list) : "Reading…"}
      </p>
      {list && !list.counts.total && (
        <a class="button" href="#chat">
          Begin a chat
        </a>
      )}
      <ul class="cards">
        {list?.sets.map((each) => (
          <KeptCard key={each.id} kept={each} onForget={() => setForgetting([each.id])} />
        ))}
      </ul>
      {left > 0 && (
        <button type="button" class="wide" onClick={showMore}>
          Show more ({left} left)
        </button>
      )}
      {!!list?.counts.total && (
        <div class="bottom tools">
          <WhichOnes which={which} onWhich={setWhich} />
          <SearchBox search={search} onSearch={setSearch} />
          {search && !!list.found && (
            <button type="button" class="danger wide" onClick={() => setForgetting(list.ids)}>
              Forget {list.found === 1 ? "the one found" : `all ${list.found} found`}
            </button>
          )}
        </div>
      )}
      {forgetting && <Forget ids={forgetting} onClose={() => setForgetting(null)} />}
    </main>
  );
}

function SearchBox({ search, onSearch }: { search: string; onSearch: (search: string) => void }): JSX.Element {
  return (
    <input
      type="search"
      dir="auto"
      aria-label="Search what is kept"
      placeholder="Search"
      value={search}
      onInput={(event) => onSearch(event.currentTarget.value)}
    />
  );
}

function Forget({ ids, onClose }: { ids: number[]; onClose: () => void }): JSX.Element {
  return (
    <ForgetDialog
      title={ids.length === 1 ? "Forget this exchange?" : `Forget ${ids.length} exchanges?`}
      asked={ids.length}
      run={(dry_run) => call("forget_all", { ids, dry_run })}
      onClose={onClose}
    />
  );
}

function WhichOnes({ which, onWhich }: { which: Which; onWhich: (which: Which) => void }): JSX.Element {
  return (
    <div class="segments" role="group" aria-label="Show">
      {(Object.keys(WHICH) as Which[]).map((name) => (
        <button key={name} type="button" aria-pressed={name === which} onClick={() => onWhich(name)}>
          {WHICH[name]}
        </button>
      ))}
    </div>
  );
}

function summary({ counts, found }: SetList): string {
  if (!counts.total) return "Nothing yet. Chat a little: what is worth learning from appears here.";
  const kept = `${count(counts.total, "exchange")} kept, ${counts.answered} with your answer, ${counts.learned} learned.`;
  return found === counts.total ? kept : `${count(found, "exchange")} found. ${kept}`;
}
