import type { JSX } from "preact";
import { Data } from "../data/data";
import { Model } from "./model";
import { SettingsForm } from "./settings_form";

/** The settings that matter, the model in use, and what is kept: export, key, erase. */
export function SettingsPage(): JSX.Element {
  return (
    <main>
      <header class="bar">
        <h1>Settings</h1>
      </header>
      <SettingsForm />
      <Model />
      <Data />
    </main>
  );
}
