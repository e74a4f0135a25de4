package io.idletune;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicLong;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/** The runtime, in a Python process at the other end of a pipe. */
public final class IdleTune implements AutoCloseable {
    private final Process process;
    private final AtomicLong ids = new AtomicLong();
    private final Map<Long, BlockingQueue<JSONObject>> waiting = new ConcurrentHashMap<>();
    private volatile TrainingListener listener = (stage, done, total) -> {};

    private IdleTune(Process process) {
        this.process = process;
        Thread reader = new Thread(this::read, "idletune-pipe");
        reader.setDaemon(true);
        reader.start();
    }

    public static IdleTune open(List<String> python, File model, File home, String settings) throws IdleTuneException {
        try {
            Process process = new ProcessBuilder(python).redirectError(ProcessBuilder.Redirect.INHERIT).start();
            IdleTune made = new IdleTune(process);
            made.call("open", new JSONObject().put("model", model.getPath()).put("home", home.getPath())
                    .put("settings", new JSONObject(settings)));
            return made;
        } catch (IOException | JSONException e) {
            throw new IllegalStateException(e);
        }
    }

    public void setTrainingListener(TrainingListener given) {
        listener = given;
    }

    public void observe(String question, String response) throws IdleTuneException {
        call("observe", with("question", question, "response", response));
    }

    public List<AnnotationPrompt> prompts() throws IdleTuneException {
        JSONArray found = call("prompts", new JSONObject()).optJSONArray("prompts");
        List<AnnotationPrompt> prompts = new ArrayList<>();
        for (int i = 0; i < found.length(); i++) {
            JSONObject each = found.optJSONObject(i);
            prompts.add(new AnnotationPrompt(each.optLong("id"), each.optString("question"), each.optString("response")));
        }
        return prompts;
    }

    public void accept(long promptId) throws IdleTuneException {
        call("answer", with("prompt_id", promptId, "verdict", "accept"));
    }

    public void edit(long promptId, String text) throws IdleTuneException {
        call("answer", with("prompt_id", promptId, "verdict", "edit", "text", text));
    }

    public void dismiss(long promptId) throws IdleTuneException {
        call("answer", with("prompt_id", promptId, "verdict", "dismiss"));
    }

    public void deviceState(DeviceState state) throws IdleTuneException {
        call("device_state", with("state", new JSONObject(state.fields())));
    }

    public TrainingOutcome tick(int seconds) throws IdleTuneException {
        JSONObject done = call("tick", with("max_seconds", seconds));
        return new TrainingOutcome(
                TrainingOutcome.Kind.valueOf(done.optString("outcome").toUpperCase(java.util.Locale.ROOT)),
                done.optString("reason"));
    }

    public void stop() throws IdleTuneException {
        call("stop", new JSONObject());
    }

    public void exportMyData(File to) throws IdleTuneException {
        call("export_my_data", with("path", to.getPath()));
    }

    @Override
    public void close() {
        try {
            process.getOutputStream().close();
            process.waitFor();
        } catch (IOException | InterruptedException e) {
            process.destroyForcibly();
        }
    }

    private static JSONObject with(Object... namesAndValues) {
        JSONObject params = new JSONObject();
        try {
            for (int i = 0; i < namesAndValues.length; i += 2) {
                params.put((String) namesAndValues[i], namesAndValues[i + 1]);
            }
        } catch (JSONException e) {
            throw new AssertionError(e);
        }
        return params;
    }

    private JSONObject call(String method, JSONObject params) throws IdleTuneException {
        long id = ids.incrementAndGet();
        BlockingQueue<JSONObject> answer = new LinkedBlockingQueue<>();
        waiting.put(id, answer);
        byte[] request = with("jsonrpc", "2.0", "id", id, "method", method, "params", params).toString()
                .concat("\n").getBytes(StandardCharsets.UTF_8);
        try {
            synchronized (process) {
                process.getOutputStream().write(request);
                process.getOutputStream().flush();
            }
            JSONObject response = answer.take();
            JSONObject error = response.optJSONObject("error");
            if (error == null) {
                return response.optJSONObject("result");
            }
            String message = error.optString("message");
            throw error.optInt("code") == -32001 ? new UsageException(message) : new IdleTuneException(message);
        } catch (IOException | InterruptedException e) {
            throw new IdleTuneException("the pipe broke: " + e);
        }
    }

    private void read() {
        try (BufferedReader lines =
                new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                JSONObject message = new JSONObject(line);
                if (message.has("id")) {
                    waiting.remove(message.getLong("id")).add(message);
                } else if (message.getString("method").equals("event.training")) {
                    JSONObject told = message.getJSONObject("params");
                    listener.onProgress(told.optString("stage"), told.optInt("done"), told.optInt("total"));
                }
            }
        } catch (IOException | JSONException e) {
            throw new IllegalStateException(e);
        }
    }
}
