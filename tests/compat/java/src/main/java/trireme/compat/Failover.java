package trireme.compat;

import java.io.PrintWriter;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.zip.CRC32;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Sends and consumes while masters die, and only at the end says whether that was noticed.
 *
 * <p>Every attempt to send is one body, {@code (client, sequence)} and a filler, and ends in one of three ways: acknowledged at a
 * queue and offset; refused, so that it must never be consumed; or unknown, which allows both. What must hold at the end: every
 * acknowledged place was consumed and held the acknowledged body; no place held two bodies; nothing refused was consumed; nothing
 * was consumed that nobody sent.
 */
final class Failover {
    private static final int CLIENTS = 2;
    private static final int QUEUES = 4;
    private static final int BODY_BYTES = 256;
    private static final int SEND_TIMEOUT_MS = 3_000;
    private static final long RETRY_PAUSE_MS = 20;
    /** A client that is told nothing for so long waits for something. */
    private static final long PAUSE_MS = 200;
    /** Pauses of all clients that end within this are of one cause. */
    private static final long ONE_CAUSE_MS = 3_000;
    /** A Java consumer looks for new routes every 30 s, and its locks and pulls take their time after that. */
    private static final Duration DRAIN = Duration.ofSeconds(90);

    /** Response codes with which a broker says that it has not stored the message and will not. */
    private static final List<Integer> REFUSALS = List.of(13, 16, 17, 29);

    /** What became of one attempt. */
    private enum Outcome { OK, UNKNOWN, REFUSED }

    private record Attempt(int client, long sequence) {
    }

    private record Place(String broker, int queue, long offset) {
    }

    private final Map<Attempt, Outcome> outcomes = new HashMap<>();
    private final Map<Place, Attempt> acknowledged = new HashMap<>();
    private final Map<Place, Attempt> consumed = new HashMap<>();
    private final List<String> violations = new ArrayList<>();
    private final PrintWriter sentLog;
    private final PrintWriter receivedLog;
    /** When each client was last told that a message is stored. */
    private final long[] lastAckNanos = new long[CLIENTS];
    /** Times in which a client was told nothing: until when, and for how long. */
    private final List<long[]> pauses = new ArrayList<>();

    private Failover(Path directory) throws Exception {
        Files.createDirectories(directory);
        sentLog = new PrintWriter(Files.newBufferedWriter(directory.resolve("sent.log")));
        receivedLog = new PrintWriter(Files.newBufferedWriter(directory.resolve("received.log")));
    }

    static void run(Env env) throws Exception {
        Path directory = env.settings.logs().resolve(env.name("log"));
        Failover failover = new Failover(directory);
        env.onClose(failover.sentLog::close);
        env.onClose(failover.receivedLog::close);
        failover.run(env, env.topic("topic", QUEUES), directory);
    }

    private void run(Env env, String topic, Path directory) throws Exception {
        DefaultMQPushConsumer consumer = env.pushConsumer(env.name("group"));
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(this::received);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        env.start(consumer);

        List<DefaultMQProducer> producers = new ArrayList<>();
        for (int client = 0; client < CLIENTS; client++) {
            producers.add(env.producer());
            producers.get(client).setSendMsgTimeout(SEND_TIMEOUT_MS);
        }
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(env.settings.seconds());
        Arrays.fill(lastAckNanos, System.nanoTime());
        List<Thread> threads = new ArrayList<>();
        for (int client = 0; client < CLIENTS; client++) {
            int number = client;
            threads.add(new Thread(() -> sendUntil(end, producers.get(number), topic, number, env.settings.rate() / CLIENTS)));
            threads.get(client).start();
        }
        // Whoever kills brokers waits for this line: before it, the program only sets up.
        env.say("failover: sending for %d s", env.settings.seconds());
        for (Thread thread : threads) {
            thread.join();
        }
        awaitDrained();
        report(env, directory);
    }

    private void sendUntil(long end, DefaultMQProducer producer, String topic, int client, int rate) {
        long pauseNanos = TimeUnit.SECONDS.toNanos(1) / Math.max(1, rate);
        for (long sequence = 0; System.nanoTime() < end; sequence++) {
            long next = System.nanoTime() + pauseNanos;
            Attempt attempt = new Attempt(client, sequence);
            try {
                SendResult result = producer.send(new Message(topic, "TagA", body(attempt)));
                if (result.getSendStatus() == SendStatus.SEND_OK) {
                    acknowledged(attempt, result);
                } else {
                    failed(attempt, Outcome.UNKNOWN, result.getSendStatus().toString());
                }
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
                return;
            } catch (Exception failure) {
                failed(attempt, outcome(producer, failure), failure.toString());
                next += TimeUnit.MILLISECONDS.toNanos(RETRY_PAUSE_MS);
            }
            pauseUntil(next);
        }
    }

    /** An exception after several tries tells only of the last: unless the client tries once, it proves nothing. */
    private static Outcome outcome(DefaultMQProducer producer, Exception failure) {
        boolean single = producer.getRetryTimesWhenSendFailed() == 0;
        if (single && failure instanceof MQBrokerException broker && REFUSALS.contains(broker.getResponseCode())) {
            return Outcome.REFUSED;
        }
        // No route: the client had nowhere to send to.
        boolean unsent = failure instanceof MQClientException && failure.getCause() == null;
        return unsent ? Outcome.REFUSED : Outcome.UNKNOWN;
    }

    private synchronized void acknowledged(Attempt attempt, SendResult result) {
        Place place = new Place(result.getMessageQueue().getBrokerName(), result.getMessageQueue().getQueueId(), result.getQueueOffset());
        long now = System.nanoTime();
        long pause = TimeUnit.NANOSECONDS.toMillis(now - lastAckNanos[attempt.client()]);
        if (pause > PAUSE_MS) {
            pauses.add(new long[] {TimeUnit.NANOSECONDS.toMillis(now), pause});
        }
        lastAckNanos[attempt.client()] = now;
        outcomes.put(attempt, Outcome.OK);
        Attempt other = acknowledged.put(place, attempt);
        if (other != null) {
            violations.add(place + " was acknowledged to " + other + " and to " + attempt);
        }
        sentLog.printf("%d ok %d %d %s %d %d%n", System.currentTimeMillis(), attempt.client(), attempt.sequence(), place.broker(),
            place.queue(), place.offset());
    }

    private synchronized void failed(Attempt attempt, Outcome outcome, String why) {
        outcomes.put(attempt, outcome);
        sentLog.printf("%d %s %d %d %s%n", System.currentTimeMillis(), outcome.name().toLowerCase(), attempt.client(),
            attempt.sequence(), why.replaceAll("\\s+", " "));
    }

    private synchronized void received(MessageExt message) {
        Place place = new Place(message.getBrokerName(), message.getQueueId(), message.getQueueOffset());
        Attempt attempt = attempt(message.getBody());
        if (attempt == null) {
            violations.add("a body that nobody sent is at " + place);
            return;
        }
        // A retried delivery comes from the retry topic, where its place means nothing; the listener never asks for one.
        Attempt other = consumed.put(place, attempt);
        if (other != null && !other.equals(attempt)) {
            violations.add(place + " was consumed as " + other + " and as " + attempt);
        }
        receivedLog.printf("%d %d %d %s %d %d%n", System.currentTimeMillis(), attempt.client(), attempt.sequence(), place.broker(),
            place.queue(), place.offset());
        notifyAll();
    }

    private synchronized void awaitDrained() throws InterruptedException {
        long deadline = System.nanoTime() + DRAIN.toNanos();
        while (!consumed.keySet().containsAll(acknowledged.keySet()) && System.nanoTime() < deadline) {
            wait(100);
        }
    }

    private synchronized void report(Env env, Path directory) {
        long lost = 0;
        for (Map.Entry<Place, Attempt> entry : acknowledged.entrySet()) {
            Attempt found = consumed.get(entry.getKey());
            if (found == null) {
                lost++;
            } else if (!found.equals(entry.getValue())) {
                violations.add(entry.getKey() + " was acknowledged to " + entry.getValue() + " and held " + found);
            }
        }
        Map<Attempt, Integer> stored = new HashMap<>();
        consumed.values().forEach(attempt -> stored.merge(attempt, 1, Integer::sum));
        for (Attempt attempt : stored.keySet()) {
            Outcome outcome = outcomes.get(attempt);
            if (outcome == null || outcome == Outcome.REFUSED) {
                violations.add(attempt + " was " + (outcome == null ? "never sent" : "refused") + " and consumed");
            }
        }
        long repeated = stored.values().stream().filter(count -> count > 1).count();
        env.say("failover: acked=%d unknown=%d failed=%d consumed=%d stored_twice=%d lost=%d pauses_ms=%s log=%s",
            count(Outcome.OK), count(Outcome.UNKNOWN), count(Outcome.REFUSED), consumed.size(), repeated, lost,
            longestPauses(), directory);
        Check.that(!acknowledged.isEmpty(), "nothing was acknowledged");
        Check.that(lost == 0, "%d acknowledged messages were not consumed", lost);
        Check.that(violations.isEmpty(), "%d violations, the first: %s", violations.size(), violations.stream().findFirst().orElse(""));
    }

    /** Of each cause, the longest that a client waited, ascending. */
    private List<Long> longestPauses() {
        pauses.sort(Comparator.comparingLong(pause -> pause[0]));
        List<Long> longest = new ArrayList<>();
        long last = Long.MIN_VALUE / 2;
        for (long[] pause : pauses) {
            boolean isAnother = pause[0] - last > ONE_CAUSE_MS;
            if (isAnother) {
                longest.add(pause[1]);
            } else {
                longest.set(longest.size() - 1, Math.max(longest.get(longest.size() - 1), pause[1]));
            }
            last = pause[0];
        }
        Collections.sort(longest);
        return longest;
    }

    private long count(Outcome wanted) {
        return outcomes.values().stream().filter(outcome -> outcome == wanted).count();
    }

    /** Client, sequence, filler, and a CRC of them all. */
    private static byte[] body(Attempt attempt) {
        ByteBuffer body = ByteBuffer.allocate(BODY_BYTES);
        body.putInt(attempt.client()).putLong(attempt.sequence());
        body.put(Body.of(attempt.sequence(), BODY_BYTES - body.position() - Integer.BYTES));
        body.putInt(crc(body.array()));
        return body.array();
    }

    private static Attempt attempt(byte[] body) {
        if (body.length != BODY_BYTES || ByteBuffer.wrap(body).getInt(BODY_BYTES - Integer.BYTES) != crc(body)) {
            return null;
        }
        ByteBuffer fields = ByteBuffer.wrap(body);
        return new Attempt(fields.getInt(), fields.getLong());
    }

    private static int crc(byte[] body) {
        CRC32 crc = new CRC32();
        crc.update(body, 0, BODY_BYTES - Integer.BYTES);
        return (int) crc.getValue();
    }

    private static void pauseUntil(long nanos) {
        long left = nanos - System.nanoTime();
        if (left > 0) {
            java.util.concurrent.locks.LockSupport.parkNanos(left);
        }
    }
}
