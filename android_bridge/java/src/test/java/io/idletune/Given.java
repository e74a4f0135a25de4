package io.idletune;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
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

    /** Opens the tiny model on a home, with the training graphs of its shape beside it. */
    static IdleTune tiny(File home, Settings settings) throws Exception {
        copy(new File(named("GRAPHS")).toPath(), home.toPath().resolve("graphs"));
        return IdleTune.open(new File(named("TINY_MODEL")), home, settings);
    }

    private static void copy(Path from, Path to) throws IOException {
        try (Stream<Path> files = Files.walk(from)) {
            for (Path each : (Iterable<Path>) files::iterator) {
                Path target = to.resolve(from.relativize(each).toString());
                if (Files.isDirectory(each)) {
                    Files.createDirectories(target);
                } else if (!Files.exists(target)) {
                    Files.copy(each, target);
                }
            }
        }
    }

    /** Exchanges that differ, each question answered by the user. */
    static void answerSome(IdleTune idleTune, int count, String better) throws IdleTuneException {
        for (int i = 0; i < count; i++) {
            idleTune.observe("question number " + i + " about bread", "a reply");
        }
        for (AnnotationPrompt prompt = next(idleTune); prompt != null; prompt = next(idleTune)) {
            idleTune.edit(prompt.id(), better);
        }
    }

    private static AnnotationPrompt next(IdleTune idleTune) throws IdleTuneException {
        return idleTune.prompts().stream().findFirst().orElse(null);
    }
}
