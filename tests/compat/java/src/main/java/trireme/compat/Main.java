package trireme.compat;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.rocketmq.client.ClientConfig;

/** Runs suites side by side, most of which wait most of the time, and prints one line for each. */
public final class Main {
    private static final int THREADS = 6;
    private static final int SUITE_SECONDS = 150;

    /** A suite: returns if all it asserts holds. */
    @FunctionalInterface
    private interface Suite {
        void run(Env env) throws Exception;
    }

    /** In the order they start: those that wait for the clock or for other processes first. */
    private static final Map<String, Suite> SUITES = new LinkedHashMap<>();

    static {
        SUITES.put("java-broker-registers", RealBroker::registers);
        SUITES.put("failover", Failover::run);
        SUITES.put("push-retry-dlq", Retries::concurrent);
        SUITES.put("push-ordered-dlq", Retries::ordered);
        SUITES.put("push-rebalance", Pushes::rebalance);
        SUITES.put("push-ordered", Pushes::ordered);
        SUITES.put("heartbeat-v2", Admins::heartbeatV2);
        SUITES.put("pull-lite", Pulls::lite);
        SUITES.put("send-sync", Sends::sync);
        SUITES.put("send-async", Sends::async);
        SUITES.put("send-one-way", Sends::oneWay);
        SUITES.put("send-batch", Sends::batch);
        SUITES.put("send-ordered", Sends::ordered);
        SUITES.put("send-properties", Sends::properties);
        SUITES.put("send-large", Sends::large);
        SUITES.put("send-compressed", Sends::compressed);
        SUITES.put("push-concurrent", Pushes::concurrent);
        SUITES.put("push-broadcast", Pushes::broadcast);
        SUITES.put("push-tags", Pushes::tags);
        SUITES.put("pull-classic", Pulls::classic);
        SUITES.put("offset-restart", Offsets::restart);
        SUITES.put("offset-young-topic", Offsets::youngTopic);
        SUITES.put("query", Admins::query);
        SUITES.put("admin-topic", Admins::topics);
        SUITES.put("auto-topic", Admins::autoTopic);
        SUITES.put("admin-expired", Admins::expired);
        SUITES.put("admin-elect", Admins::electMaster);
    }

    private Main() {
    }

    /** Exit status 0 if all passed, 1 if one failed, 2 for a wrong command line. */
    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 1 && arguments[0].equals("list")) {
            SUITES.keySet().forEach(System.out::println);
            return;
        }
        // Clients of 4.x log to standard output, which is the report's alone.
        PrintStream out = System.out;
        System.setOut(System.err);
        Settings settings;
        try {
            settings = Settings.parse(arguments);
            settings.suites().forEach(name -> Check.that(SUITES.containsKey(name), "no suite is named %s", name));
        } catch (IllegalArgumentException | AssertionError wrong) {
            System.err.println(wrong.getMessage());
            System.exit(2);
            return;
        }
        // Clients end with their processes, too: no failure of a suite leaves one behind.
        System.exit(runAll(settings, out) ? 0 : 1);
    }

    private static boolean runAll(Settings settings, PrintStream out) throws Exception {
        List<String> names = settings.suites().isEmpty() ? List.copyOf(SUITES.keySet()) : settings.suites();
        ExecutorService threads = Executors.newFixedThreadPool(THREADS, task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        boolean passed = true;
        try (Cluster cluster = new Cluster(settings.namesrv(), "compat-" + settings.run() + "-admin")) {
            cluster.awaitMaster();
            Map<String, Future<String>> reports = new LinkedHashMap<>();
            for (String name : names) {
                reports.put(name, threads.submit(() -> report(settings, cluster, name, out)));
            }
            for (Map.Entry<String, Future<String>> entry : reports.entrySet()) {
                passed &= !awaitReport(settings, entry.getKey(), entry.getValue(), out).startsWith("FAILED");
            }
        } catch (AssertionError noCluster) {
            names.forEach(name -> out.printf("FAILED %s %s: no cluster to test: %s%n", settings.label(), name, oneLine(noCluster)));
            return false;
        }
        return passed;
    }

    private static String awaitReport(Settings settings, String name, Future<String> report, PrintStream out) throws Exception {
        try {
            return report.get(SUITE_SECONDS + settings.seconds(), TimeUnit.SECONDS);
        } catch (TimeoutException late) {
            String line = "FAILED " + settings.label() + " " + name + ": did not end in time";
            out.println(line);
            return line;
        }
    }

    private static String report(Settings settings, Cluster cluster, String name, PrintStream out) {
        String subject = settings.label() + " " + name;
        String line;
        if (name.equals("heartbeat-v2") && !hasHeartbeatV2()) {
            line = "skipped " + subject + ": this client has no heartbeat V2";
        } else {
            long started = System.nanoTime();
            try (Env env = new Env(settings, cluster, name, out)) {
                SUITES.get(name).run(env);
                line = "ok " + subject;
            } catch (Throwable failure) {
                line = "FAILED " + subject + ": " + oneLine(failure) + where(failure);
            }
            System.err.printf("%s took %d ms%n", subject, (System.nanoTime() - started) / 1_000_000);
        }
        out.println(line);
        return line;
    }

    private static boolean hasHeartbeatV2() {
        for (var method : ClientConfig.class.getMethods()) {
            if (method.getName().equals("setUseHeartbeatV2")) {
                return true;
            }
        }
        return false;
    }

    private static String oneLine(Throwable failure) {
        String text = failure instanceof AssertionError ? failure.getMessage() : failure.toString();
        return String.valueOf(text).replaceAll("\\s*\\R\\s*", " ");
    }

    /** The places in these sources that the failure passed through, innermost first. */
    private static String where(Throwable failure) {
        List<String> places = new ArrayList<>();
        for (StackTraceElement element : failure.getStackTrace()) {
            String type = element.getClassName();
            if (type.startsWith("trireme.compat.") && !type.endsWith(".Check") && !type.endsWith(".Main")) {
                places.add(element.getFileName() + ":" + element.getLineNumber());
            }
        }
        return places.isEmpty() ? "" : " (" + String.join(" < ", places) + ")";
    }
}
