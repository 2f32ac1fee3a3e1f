package trireme.compat;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;

/** A real Apache RocketMQ broker registers with the name server under test, serves there, and leaves. */
final class RealBroker {
    private static final Duration STOP = Duration.ofSeconds(40);

    private RealBroker() {
    }

    static void registers(Env env) throws Exception {
        Settings settings = env.settings;
        Check.that(settings.broker() != null, "no launcher of a real broker was named");
        String name = env.name("broker");
        Path data = settings.logs().resolve(name);
        // Without automatic topics it does not announce TBW102, and so takes no part in what other suites create.
        Process broker = new ProcessBuilder(settings.broker(), "--version", settings.brokerVersion(), "--namesrv", settings.namesrv(),
            "--data", data.toString(), "--broker-name", name, "--cluster", name, "--broker-port", Integer.toString(freePort()),
            "--set", "autoCreateTopicEnable=false").redirectErrorStream(true).start();
        env.onClose(() -> stop(broker));
        // A suite that does not end in time is not closed: the launcher must not outlive this program.
        Runtime.getRuntime().addShutdownHook(new Thread(broker::destroy));
        awaitReady(broker);

        String address = env.cluster.master(name);
        Check.that(address != null, "the name server does not list the broker");
        String topic = env.name("topic");
        env.cluster.admin.createAndUpdateTopicConfig(address, new TopicConfig(topic, 4, 4, 6));
        Check.eventually("a route to a topic of the real broker", Check.SOON,
            () -> env.cluster.queuesByBroker(topic).equals(new TreeMap<>(Map.of(name, 4))));

        Inbox inbox = new Inbox();
        env.start(Pushes.concurrently(env, env.name("group"), topic, "*", inbox, "only"));
        DefaultMQProducer producer = env.producer();
        List<Message> sent = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            Message message = env.message(topic, "TagA", 64);
            SendResult result = producer.send(message);
            Check.equal(name, result.getMessageQueue().getBrokerName(), "broker that took the message");
            sent.add(message);
        }
        inbox.awaitAll(Env.numbers(sent), Check.SOON);

        stop(broker);
        Check.eventually("the broker to be gone from the name server", Check.SOON,
            () -> !env.cluster.admin.examineBrokerClusterInfo().getBrokerAddrTable().containsKey(name));
    }

    private static void awaitReady(Process broker) throws IOException {
        BufferedReader output = new BufferedReader(new InputStreamReader(broker.getInputStream(), StandardCharsets.UTF_8));
        List<String> lines = new ArrayList<>();
        for (String line = output.readLine(); line != null; line = output.readLine()) {
            if (line.startsWith("ready ")) {
                return;
            }
            lines.add(line);
        }
        throw new AssertionError("the broker did not start: " + String.join(" | ", lines));
    }

    private static void stop(Process broker) {
        try {
            broker.destroy(); // the launcher stops what it started
            if (!broker.waitFor(STOP.toSeconds(), TimeUnit.SECONDS)) {
                broker.descendants().forEach(ProcessHandle::destroyForcibly);
                broker.destroyForcibly();
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** A port whose neighbours two below and one above, which a broker takes as well, are free now. */
    private static int freePort() throws IOException {
        while (true) {
            try (ServerSocket probe = new ServerSocket(0)) {
                int port = probe.getLocalPort();
                try (ServerSocket fast = new ServerSocket(port - 2); ServerSocket ha = new ServerSocket(port + 1)) {
                    return port;
                } catch (IOException taken) {
                    continue;
                }
            }
        }
    }
}
