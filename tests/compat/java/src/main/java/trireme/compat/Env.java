package trireme.compat;

import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** What one suite works with: names of its own, and clients that end with it. */
final class Env implements AutoCloseable {
    private static final int TIMEOUT_MS = 10_000;
    private static final int HEARTBEAT_MS = 1_000;
    private static final long NUDGE_MS = 300;

    final Settings settings;
    final Cluster cluster;
    private final String prefix;
    private final AtomicInteger instances = new AtomicInteger();
    private final AtomicLong numbers = new AtomicLong();
    private final Deque<Runnable> closers = new ArrayDeque<>();
    private DefaultMQPullConsumer reader;

    private final PrintStream out;

    Env(Settings settings, Cluster cluster, String suite, PrintStream out) {
        this.settings = settings;
        this.cluster = cluster;
        this.out = out;
        this.prefix = Cluster.TEMPORARY + settings.run() + "-" + suite;
    }

    /** Prints a line of the report, beside the one with the suite's outcome. */
    void say(String format, Object... arguments) {
        out.println(String.format(format, arguments));
    }

    /** A name that no other run, process or suite uses. */
    String name(String role) {
        return prefix + "-" + role;
    }

    /** Creates a topic of the suite's own. */
    String topic(String role, int queues) throws Exception {
        cluster.createTopic(name(role), queues);
        return name(role);
    }

    /** A message to the topic whose body has the next number of this suite. */
    Message message(String topic, String tag, int size) {
        return new Message(topic, tag, Body.of(numbers.incrementAndGet(), size));
    }

    /** A started producer. */
    DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(name("producer" + instances.incrementAndGet()));
        producer.setNamesrvAddr(settings.namesrv());
        producer.setInstanceName(producer.getProducerGroup());
        producer.setSendMsgTimeout(TIMEOUT_MS);
        // How soon a client of a single group looks for another master: 30 s if nothing is told.
        String poll = System.getenv("POLL_NAME_SERVERS_MS");
        if (poll != null) {
            producer.setPollNameServerInterval(Integer.parseInt(poll));
        }
        producer.start();
        onClose(producer::shutdown);
        return producer;
    }

    /** A push consumer, not yet started, that reads a topic from its start. */
    DefaultMQPushConsumer pushConsumer(String group) {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(settings.namesrv());
        consumer.setInstanceName(name("push" + instances.incrementAndGet()));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        // A rebalance that meets a heartbeat under way skips its own; until the next one the broker refuses pulls (code 25).
        consumer.setHeartbeatBrokerInterval(HEARTBEAT_MS);
        consumer.setConsumeThreadMin(2);
        consumer.setConsumeThreadMax(2);
        return consumer;
    }

    /** A pull consumer, not yet started. */
    DefaultMQPullConsumer pullConsumer(String group) {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(settings.namesrv());
        consumer.setInstanceName(name("pull" + instances.incrementAndGet()));
        onClose(consumer::shutdown);
        return consumer;
    }

    /** A lite pull consumer, not yet started. */
    DefaultLitePullConsumer liteConsumer(String group) {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(group);
        consumer.setNamesrvAddr(settings.namesrv());
        consumer.setInstanceName(name("lite" + instances.incrementAndGet()));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        onClose(consumer::shutdown);
        return consumer;
    }

    /** Starts the consumers, and waits until together they hold every queue that they should. */
    void start(DefaultMQPushConsumer... consumers) throws Exception {
        for (DefaultMQPushConsumer consumer : consumers) {
            onClose(consumer::shutdown);
            consumer.start();
        }
        awaitAssignment(consumers);
    }

    /**
     * Waits until the consumers (all of one group, all of its members) hold every queue of every topic they subscribe to, the
     * retry topic among them: each queue once, or once per consumer when broadcasting.
     *
     * <p>A client looks at routes every 30 s and tries a refused lock again after 20 s (4.x). It is nudged to do so more often; what
     * it then asks and gets is its own.
     */
    void awaitAssignment(DefaultMQPushConsumer... consumers) throws Exception {
        long[] nudged = {System.nanoTime()};
        Check.eventually("queues assigned to " + consumers.length + " consumers", Check.SOON, () -> {
            if (assigned(consumers)) {
                return true;
            }
            if (System.nanoTime() - nudged[0] > NUDGE_MS * 1_000_000) {
                nudged[0] = System.nanoTime();
                nudge(consumers);
            }
            return false;
        });
    }

    private static boolean assigned(DefaultMQPushConsumer... consumers) throws Exception {
        boolean broadcasting = consumers[0].getMessageModel().name().equals("BROADCASTING");
        for (String topic : consumers[0].getDefaultMQPushConsumerImpl().getSubscriptionInner().keySet()) {
            Set<MessageQueue> wanted = consumers[0].fetchSubscribeMessageQueues(topic);
            List<MessageQueue> held = new ArrayList<>();
            for (DefaultMQPushConsumer consumer : consumers) {
                Set<MessageQueue> own = queuesOf(consumer, topic);
                boolean share = own.size() >= wanted.size() / consumers.length; // each has one as soon as all know of one another
                if (broadcasting ? !own.equals(wanted) : !share) {
                    return false;
                }
                held.addAll(own);
            }
            if (!broadcasting && !(held.size() == wanted.size() && new HashSet<>(held).equals(wanted))) {
                return false;
            }
        }
        return true;
    }

    private static void nudge(DefaultMQPushConsumer... consumers) {
        for (DefaultMQPushConsumer consumer : consumers) {
            var impl = consumer.getDefaultMQPushConsumerImpl();
            for (String topic : impl.getSubscriptionInner().keySet()) {
                impl.getmQClientFactory().updateTopicRouteInfoFromNameServer(topic);
            }
            impl.getmQClientFactory().rebalanceImmediately();
        }
    }

    /** The queues of the topic that the consumer pulls from at present. */
    static Set<MessageQueue> queuesOf(DefaultMQPushConsumer consumer, String topic) {
        Set<MessageQueue> queues = new TreeSet<>();
        for (MessageQueue queue : consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet()) {
            if (queue.getTopic().equals(topic)) {
                queues.add(queue);
            }
        }
        return queues;
    }

    /** The one message at this place of a queue, read by a pull consumer; waits until it can be read. */
    MessageExt read(MessageQueue queue, long offset) throws Exception {
        return read(queue, offset, Check.SOON);
    }

    /** As above, for a message that may be held back for a while. */
    MessageExt read(MessageQueue queue, long offset, Duration limit) throws Exception {
        if (reader == null) {
            reader = pullConsumer(name("reader"));
            reader.start();
        }
        MessageExt[] found = new MessageExt[1];
        Check.eventually("message at " + queue + " offset " + offset, limit, () -> {
            PullResult result = reader.pullBlockIfNotFound(queue, "*", offset, 1);
            if (result.getPullStatus() != PullStatus.FOUND) {
                return false;
            }
            found[0] = result.getMsgFoundList().get(0);
            return true;
        });
        Check.equal(offset, found[0].getQueueOffset(), "queue offset of the message read");
        Check.equal(queue.getQueueId(), found[0].getQueueId(), "queue of the message read");
        Check.equal(queue.getTopic(), found[0].getTopic(), "topic of the message read");
        return found[0];
    }

    /** The body numbers of messages that were made here. */
    static List<Long> numbers(Collection<Message> messages) {
        return messages.stream().map(message -> Body.number(message.getBody())).toList();
    }

    /** Runs when the suite ends, last registered first. */
    void onClose(Runnable closer) {
        closers.push(closer);
    }

    @Override
    public void close() {
        while (!closers.isEmpty()) {
            closers.pop().run();
        }
    }
}
