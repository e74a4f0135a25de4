package io.idletune.example;

import android.app.Activity;
import android.app.AlertDialog;
import android.content.Intent;
import android.net.Uri;
import android.text.InputType;
import android.widget.EditText;
import io.idletune.Forgotten;
import io.idletune.ImportPreview;
import io.idletune.ImportRecord;
import io.idletune.Imports;
import io.idletune.ModelCheck;
import io.idletune.ModelInfo;
import io.idletune.SettingInfo;
import io.idletune.Settings;
import java.io.File;
import java.util.Arrays;
import java.util.List;

/** The settings that matter with their help, the model in use, import and export, and erasing. */
final class SettingsScreen extends Screen {
    static final int IMPORT = 1;
    static final int EXPORT = 2;
    private static final List<String> SHOWN = Arrays.asList(
            "daily_limit", "quiet_from", "quiet_until", "window_from", "window_until", "window_percentage",
            "new_answers", "system", "temperature", "reply_tokens", "retrieve", "buffer_capacity");

    SettingsScreen(Activity activity, Calls calls) {
        super(activity, calls);
        button(bottom, "Import conversations", () -> choose(Intent.ACTION_OPEN_DOCUMENT, IMPORT, "*/*", null));
        button(bottom, "Export everything",
                () -> choose(Intent.ACTION_CREATE_DOCUMENT, EXPORT, "application/jsonl", "idletune.jsonl"));
        button(bottom, "Erase everything", this::erase);
    }

    @Override
    void refresh() {
        calls.run(idleTune -> idleTune.describeSettings(), this::show);
    }

    private void show(List<SettingInfo> settings) {
        body.removeAllViews();
        for (SettingInfo each : settings) {
            if (SHOWN.contains(each.name())) {
                field(each);
            }
        }
        button(body, "Which model is it?", () -> calls.run(idleTune -> idleTune.model(), this::tell));
        button(body, "Try what learning takes", () -> calls.run(idleTune -> idleTune.check(), this::tell));
        calls.run(idleTune -> idleTune.imports().all(), imports -> imports.forEach(this::imported));
    }

    private void field(SettingInfo setting) {
        heading(body, setting.name().replace('_', ' '));
        EditText value = new EditText(activity);
        value.setContentDescription(setting.name());
        value.setText(String.valueOf(setting.value()));
        value.setInputType(setting.type().equals("str") ? InputType.TYPE_CLASS_TEXT
                : InputType.TYPE_CLASS_NUMBER | InputType.TYPE_NUMBER_FLAG_DECIMAL);
        value.setOnFocusChangeListener((view, focused) -> {
            String typed = value.getText().toString();
            if (!focused && !typed.equals(String.valueOf(setting.value()))) {
                change(setting, typed);
            }
        });
        body.addView(value);
        text(body, setting.help() + (setting.atNextOpen() ? "; from the next start on" : ""));
    }

    private void change(SettingInfo setting, String typed) {
        Settings.Builder changed = Settings.builder();
        try {
            if (setting.type().equals("int")) {
                changed.set(setting.name(), Integer.parseInt(typed));
            } else if (setting.type().equals("float")) {
                changed.set(setting.name(), Double.parseDouble(typed));
            } else {
                changed.set(setting.name(), typed);
            }
        } catch (NumberFormatException e) {
            calls.tell(typed + " is no number");
            return;
        }
        calls.run(idleTune -> idleTune.change(changed.build()), later -> refresh());
    }

    private void tell(ModelInfo model) {
        calls.tell(model + "\n" + (model.trains() ? "It can learn on this device: " : "It cannot learn: ")
                + model.verdict());
    }

    private void tell(ModelCheck check) {
        calls.tell(check.refusal().isEmpty()
                ? "To learn from " + check.answers() + " answers takes " + Math.round(check.minutes()) + " minutes."
                : "It cannot learn here: " + check.refusal());
    }

    private void imported(ImportRecord record) {
        button(body, "Forget the import of " + record.name(), () -> calls.confirm(
                "Forget " + record.name() + "?", record.kept() + " exchanges go for good, and what was learned from them.",
                "Forget", () -> calls.run(
                        idleTune -> idleTune.imports().forget(record.id(), Forgotten.Descendants.ALL),
                        gone -> refresh())));
    }

    private void choose(String action, int request, String type, String name) {
        Intent chooser = new Intent(action).addCategory(Intent.CATEGORY_OPENABLE).setType(type);
        if (name != null) {
            chooser.putExtra(Intent.EXTRA_TITLE, name);
        }
        activity.startActivityForResult(chooser, request);
    }

    /** A file that the user chose. */
    void take(int request, Uri chosen) {
        if (request == IMPORT) {
            preview(chosen, null);
        } else {
            calls.run(idleTune -> {
                File written = Documents.newFile(activity, "export.jsonl");
                int lines = idleTune.exportMyData(written);
                return Documents.moveTo(activity, written, chosen) + ": " + lines + " lines. Forgetting does not reach into this file.";
            }, calls::tell);
        }
    }

    private void preview(Uri chosen, String me) {
        calls.run(idleTune -> {
            File file = Documents.copy(activity, chosen);
            return new Looked(file, idleTune.imports().preview(file, me));
        }, looked -> offer(chosen, looked, me));
    }

    private static final class Looked {
        final File file;
        final ImportPreview preview;

        Looked(File file, ImportPreview preview) {
            this.file = file;
            this.preview = preview;
        }
    }

    private void offer(Uri chosen, Looked looked, String me) {
        List<String> people = looked.preview.people();
        if (!people.isEmpty()) {
            new AlertDialog.Builder(activity).setTitle("Who are you in it?")
                    .setItems(people.toArray(new String[0]), (dialog, which) -> preview(chosen, people.get(which)))
                    .show();
            return;
        }
        calls.confirm(
                "Import?", looked.preview + "\n\n" + String.join("\n\n", looked.preview.examples()), "Import",
                () -> calls.run(
                        idleTune -> idleTune.imports().take(looked.file, me, Imports.Mode.ANSWERS, null),
                        done -> refresh()));
    }

    private void erase() {
        calls.confirm(
                "Erase everything?", "Your answers and everything it learned go for good.", "Erase",
                () -> calls.run(idleTune -> ((ExampleApplication) activity.getApplication()).erase(idleTune),
                        files -> activity.finish()));
    }
}
