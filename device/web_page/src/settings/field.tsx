import type { JSX } from "preact";
import { useId } from "preact/hooks";
import type { SettingHelp } from "../types";
import { sentence } from "../words";

type Props = {
  setting: SettingHelp;
  label: string;
  help?: string; // in place of the setting's own
  onChange: (setting: SettingHelp, value: SettingHelp["value"]) => Promise<boolean>; // whether it was kept
};

/** One setting: its name, a field that fits its type, its help. */
export function Field({ setting, label, help, onChange }: Props): JSX.Element {
  const id = useId();
  const helpId = `${id}-help`;
  const shared = { id, "aria-describedby": helpId };
  const said = helpOf(setting, help ?? setting.help);
  return (
    <div class={setting.type === "str" ? "field" : "field short"}>
      <label for={id}>{label}</label>
      {input(setting, shared, (value, element) => void onChange(setting, value).then((kept) => kept || undo(element)))}
      <small id={helpId}>{said}</small>
    </div>
  );
}

/** Show again what is kept, after a value that was refused. */
function undo(element: HTMLInputElement | HTMLSelectElement): void {
  if (element instanceof HTMLInputElement) element.value = element.defaultValue;
}

type OnValue = (value: SettingHelp["value"], element: HTMLInputElement | HTMLSelectElement) => void;
type Shared = { id: string; "aria-describedby": string };

function input(setting: SettingHelp, shared: Shared, onValue: OnValue): JSX.Element {
  const { type, value, choices, least, most } = setting;
  if (type === "bool") {
    return (
      <input
        {...shared}
        type="checkbox"
        checked={value === true}
        onChange={({ currentTarget: box }) => onValue(box.checked, box)}
      />
    );
  }
  if (choices.length) {
    return (
      <select {...shared} value={String(value)} onChange={({ currentTarget: list }) => onValue(list.value, list)}>
        {choices.map((choice) => (
          <option key={choice}>{choice}</option>
        ))}
      </select>
    );
  }
  if (type === "str") {
    const shown = String(value);
    return (
      <input
        {...shared}
        type="text"
        dir="auto"
        defaultValue={shown}
        onChange={({ currentTarget: line }) => onValue(line.value, line)}
      />
    );
  }
  return (
    <input
      {...shared}
      type="number"
      inputMode="decimal"
      step={type === "int" ? 1 : "any"}
      min={least ?? undefined}
      max={most ?? undefined}
      defaultValue={String(value)}
      onChange={({ currentTarget: line }) => (line.value === "" ? undo(line) : onValue(line.valueAsNumber, line))}
    />
  );
}

function helpOf({ default: usual, value, type, at_next_open }: SettingHelp, help: string): string {
  const shown = type === "bool" ? (usual ? "on" : "off") : String(usual) || "empty";
  const changed = value === usual ? "" : `Default: ${shown}`;
  const parts = [sentence(help), changed, at_next_open ? "From the next start on" : ""].filter(Boolean);
  return parts.map((part) => `${part}.`).join(" ");
}
