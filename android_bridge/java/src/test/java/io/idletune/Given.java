package io.idletune;

import java.io.File;
import org.json.JSONObject;

/** What the tests are given: by the environment, so that they run where the models and Python lie. */
final class Given {
    static final DeviceState CHARGING = DeviceState.builder()
            .plugged(true).percentage(90).temperatureC(25).freeMemoryMb(4_000).freeDiskMb(4_000).build();

    private Given() {}

    static String named(String name) {
        String value = System.getenv("IDLETUNE_TEST_" + name);
        if (value == null) {
            throw new IllegalStateException("IDLETUNE_TEST_" + name + " is not set; run make test");
        }
        return value;
    }

    /** Settings that make a tiny random model learn, with Python to be started. */
    static Settings.Builder settings() {
        Settings.Builder builder = python();
        JSONObject given = new JSONObject(named("SETTINGS"));
        for (String name : given.keySet()) {
            Object value = given.get(name);
            if (value instanceof Boolean) {
                builder.set(name, (Boolean) value);
            } else if (value instanceof Integer) {
                builder.set(name, (Integer) value);
            } else if (value instanceof Number) {
                builder.set(name, ((Number) value).doubleValue());
            } else {
                builder.set(name, (String) value);
            }
        }
        return builder;
    }

    static Settings.Builder python() {
        return Settings.builder().pythonLibrary(named("LIBPYTHON")).python(null, named("PYTHONPATH"));
    }

    /** Opens the tiny model on a home. */
    static IdleTune tiny(File home, Settings settings) throws Exception {
        return IdleTune.open(new File(named("TINY_MODEL")), home, settings);
    }

    /** Exchanges that differ, each question answered by the user. */
    static void answerSome(IdleTune idleTune, int count, String better) throws IdleTuneException {
        for (int i = 0; i < count; i++) {
            idleTune.observe("question number " + i + " about bread", "a reply");
        }
        for (AnnotationPrompt prompt = next(idleTune); prompt != null; prompt = next(idleTune)) {
            idleTune.edit(prompt.id(), prompt.shown(), better);
        }
    }

    private static AnnotationPrompt next(IdleTune idleTune) throws IdleTuneException {
        return idleTune.prompts().stream().findFirst().orElse(null);
    }
}
