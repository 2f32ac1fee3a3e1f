package trireme.compat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The command line.
 *
 * @param namesrv name servers, separated by semicolons
 * @param label what stands before a suite's name in the report
 * @param run part of every topic's and group's name, unique to this process
 * @param suites the suites to run, all that belong to a plain run if empty
 * @param seconds how long the failover program sends
 * @param rate messages per second that the failover program sends at most
 * @param logs where the failover program and started brokers write
 * @param broker the launcher of a real broker
 * @param brokerVersion the release that the launcher starts
 */
record Settings(String namesrv, String label, String run, List<String> suites, int seconds, int rate, Path logs, String broker,
                String brokerVersion) {
    static Settings parse(String[] arguments) {
        String namesrv = "127.0.0.1:9876";
        String label = "java";
        String run = Long.toString(System.currentTimeMillis(), 36) + ProcessHandle.current().pid();
        List<String> suites = new ArrayList<>();
        int seconds = 5;
        int rate = 400;
        Path logs = Path.of(System.getProperty("java.io.tmpdir"));
        String broker = null;
        String brokerVersion = "5.3.3";
        for (int i = 0; i < arguments.length; i++) {
            if (!arguments[i].startsWith("--")) {
                suites.add(arguments[i]);
                continue;
            }
            if (i + 1 == arguments.length) {
                throw new IllegalArgumentException(arguments[i] + " needs a value");
            }
            String value = arguments[++i];
            switch (arguments[i - 1]) {
                case "--namesrv" -> namesrv = value;
                case "--label" -> label = value;
                case "--seconds" -> seconds = Integer.parseInt(value);
                case "--rate" -> rate = Integer.parseInt(value);
                case "--logs" -> logs = Path.of(value);
                case "--broker" -> broker = value;
                case "--broker-version" -> brokerVersion = value;
                default -> throw new IllegalArgumentException("unknown option " + arguments[i - 1]);
            }
        }
        return new Settings(namesrv, label, run, suites, seconds, rate, logs, broker, brokerVersion);
    }
}
