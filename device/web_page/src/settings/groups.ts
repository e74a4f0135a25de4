// The settings that most people want to change, in their words: label and help. All others are as everywhere else.

export type Group = { title: string; settings: Record<string, [string, string]> };

export const GROUPS: Group[] = [
  {
    title: "Questions to you",
    settings: {
      daily_limit: ["Questions a day", "Whether an answer was good. 0: it never asks"],
      ask_choices: ["Share that offers two answers", "One tap says which is better. 0: none, 1: all"],
      quiet_from: ["Quiet from, hour", "It asks nothing in the quiet hours"],
      quiet_until: ["Quiet until, hour", "If both hours are the same, it asks at any hour"],
    },
  },
  {
    title: "When it learns by itself",
    settings: {
      window_from: ["From, hour", ""],
      window_until: ["Until, hour", "If both hours are the same, it may learn at any hour"],
      window_percentage: ["Least battery charge, %", ""],
      window_temperature: ["Warmest battery, °C", ""],
      new_answers: ["New answers that make it begin", ""],
      slices_a_day: ["Sessions a day", "Each takes some minutes; what it does not finish goes on in the next"],
      memory_mb: ["Memory for learning, MB", "0: as much as the device has free"],
    },
  },
  {
    title: "Answers",
    settings: {
      system: ["Instruction before every chat", "For example: Answer in one sentence. Empty: the model's own"],
      temperature: ["Variety of answers", "0: always the most likely words"],
      reply_tokens: ["Longest answer, tokens", "A token is a short word, or a part of one"],
      retrieve: ["Your answers it may look at", "Before it answers it reads those that fit best. 0: none"],
    },
  },
  {
    title: "What it keeps",
    settings: {
      buffer_capacity: ["Exchanges it keeps", "When there are more, what is most like another goes"],
      keep_adapters: ["Learnings kept for an undo", ""],
    },
  },
];

export const NAMED = new Set(GROUPS.flatMap((group) => Object.keys(group.settings)));
