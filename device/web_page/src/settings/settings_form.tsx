import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { call } from "../api";
import { attempt, notice, refresh } from "../state";
import type { SettingHelp } from "../types";
import { Field } from "./field";
import { GROUPS, NAMED } from "./groups";

/** Each setting with its help; a change is kept as soon as the field is left. */
export function SettingsForm(): JSX.Element {
  const [known, setKnown] = useState<SettingHelp[]>([]);

  async function read(): Promise<void> {
    const found = await attempt(() => call<{ settings: SettingHelp[] }>("describe_settings"));
    if (found) setKnown(found.settings);
  }
  useEffect(() => void read(), []);

  async function change(setting: SettingHelp, value: SettingHelp["value"]): Promise<boolean> {
    const done = await attempt(() => call<{ at_next_open: string[] }>("settings", { values: { [setting.name]: value } }));
    if (!done) return false;
    notice.value = done.at_next_open.length ? "Kept. It takes effect at the next start." : "Kept.";
    await read();
    await attempt(refresh);
    return true;
  }

  const byName = new Map(known.map((setting) => [setting.name, setting]));
  const field = (name: string, label: string, help?: string) => {
    const setting = byName.get(name);
    return setting && <Field key={name} setting={setting} label={label} help={help} onChange={change} />;
  };
  return (
    <>
      {GROUPS.map(({ title, settings }) => (
        <section class="card" key={title}>
          <h2>{title}</h2>
          {Object.entries(settings).map(([name, [label, help]]) => field(name, label, help))}
        </section>
      ))}
      <details class="card">
        <summary>All other settings</summary>
        {known.filter(({ name }) => !NAMED.has(name)).map(({ name }) => field(name, name))}
      </details>
    </>
  );
}
