package io.idletune;

import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.json.JSONObject;

/** The JVM's side of benchmarks/bridge_cost.py: what a call costs, then a chat for each line of the standard input. */
public final class Cost {
    private static final int CALLS = 5_000;

    private Cost() {}

    interface Call {
        void run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        Settings settings = Given.python()
                .quietHours(0, 0).set("temperature", 0.0).set("reply_tokens", Integer.parseInt(arguments[0])).build();
        NativeConnection connection = new NativeConnection(settings);
        try (IdleTune idleTune =
                IdleTune.open(new File(Given.named("REAL_MODEL")), new File(Given.named("HOME")), settings)) {
            byte[] version = "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"version\"}".getBytes(StandardCharsets.UTF_8);
            JSONObject costs = new JSONObject();
            costs.put("version", microseconds(() -> connection.call(1, version)));
            costs.put("prompts", microseconds(idleTune::prompts));
            System.out.println(costs);
            chats(idleTune);
        }
        connection.close();
    }

    private static double microseconds(Call call) throws Exception {
        long[] times = new long[CALLS];
        for (int i = 0; i < 2 * CALLS; i++) { // the first half warms up
            long start = System.nanoTime();
            call.run();
            times[i % CALLS] = System.nanoTime() - start;
        }
        Arrays.sort(times);
        return times[CALLS / 2] / 1e3;
    }

    private static void chats(IdleTune idleTune) throws Exception {
        BufferedReader questions = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String question = questions.readLine(); question != null; question = questions.readLine()) {
            idleTune.newConversation();
            long start = System.nanoTime();
            int[] pieces = {0};
            String text = idleTune.chat(question, piece -> pieces[0]++);
            JSONObject done = new JSONObject();
            done.put("seconds", (System.nanoTime() - start) / 1e9).put("text", text).put("pieces", pieces[0]);
            System.out.println(done);
        }
    }
}
