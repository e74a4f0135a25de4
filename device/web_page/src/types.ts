// What the server's methods give, as far as the page reads it (docs/rpc.md).

export type Losses = {
  personal_base?: number;
  personal_adapted?: number;
  engine_base?: number;
  engine_serving?: number;
  engine_adapted?: number;
  probe_base?: number;
  probe_adapted?: number;
};

export type Adapter = {
  version: number;
  created: number;
  state: "candidate" | "promoted" | "retired" | "rejected";
  reason: string;
  losses: Losses;
  dialogue_set_ids: number[];
  held_back: boolean;
  adopted: boolean;
  bytes: number;
};

export type Settings = Record<string, string | number | boolean>;

export type Status = {
  home: string;
  encrypted: boolean;
  model: string;
  buffer: { kept: number; bins: number; seen: number };
  answered: { sets: number; accepted: number; not_yet_learned: number }; // those accepted train nothing
  unobserved: string;
  prompts: { waiting: number; asked_today: number };
  adapter: Adapter | null;
  held_back: Adapter | null;
  dropped: { version: number; reason: string } | null;
  learning: { running: boolean; open: boolean; code: string; reason: string };
  retrain_owed: boolean;
  settings: Settings;
};

export type Condition = { code: string; met: boolean | null; reason: string };

export type LearningState = { running: boolean; unfinished: boolean; conditions: Condition[] };

export type Prompt = {
  id: number;
  dialogue_set_id: number;
  question: string;
  response: string;
  second: string | null; // another response, where the question is which of two is better
  shown: string;
};

export type KeptSet = {
  id: number;
  question: string;
  reply: string;
  response: string | null;
  created: number;
  answered_at: number | null;
  domain: string;
  origin: string;
  answer_origin: string;
  learned_in: number | null;
};

export type Counts = { total: number; answered: number; learned: number; domains: Record<string, number> };

export type SetList = { found: number; ids: number[]; sets: KeptSet[]; counts: Counts };

export type Copy = { kind: string; path: string; there: boolean };

export type Forgotten = { sets: number[]; replies: number[]; dropped: number[]; prompts: number[]; copies: Copy[] };

export type Preview = {
  name: string;
  format: string;
  exchanges: number;
  to_read: number;
  first: number | null;
  last: number | null;
  examples: { question: string; response: string }[];
  skipped: { reason: string; count: number }[];
  people: string[];
};

export type ImportRecord = { id: number; name: string; taken: number; kept: number };

export type SettingHelp = {
  name: string;
  type: "int" | "float" | "bool" | "str";
  value: string | number | boolean;
  default: string | number | boolean;
  help: string;
  choices: string[];
  least: number | null;
  most: number | null;
  at_next_open: boolean;
};

export type ModelInfo = {
  name: string;
  architecture: string;
  parameters: number;
  bytes: number;
  quantization: string;
  context_tokens: number;
  trains: boolean;
  verdict: string;
};

export type CheckReport = {
  refusal: string;
  planned_mb: number | null;
  free_mb: number | null;
  night: { answers: number; minutes: number; slices: number; peak_mb: number | null } | null;
};

export type Compared = { base: string; learned: string; adapter: number | null; shown: number };
