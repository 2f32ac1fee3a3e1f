package trireme.compat;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;

/** Where a group goes on after its consumers were away. */
final class Offsets {
    private Offsets() {
    }

    /** A consumer stops in the middle of a backlog; its successor gets the rest: all of it and only it. */
    static void restart(Env env) throws Exception {
        String topic = env.topic("topic", 4);
        String group = env.name("group");
        DefaultMQProducer producer = env.producer();
        List<Message> backlog = send(env, producer, topic, 200);

        Inbox before = new Inbox();
        AtomicInteger consumed = new AtomicInteger();
        CountDownLatch half = new CountDownLatch(1);
        DefaultMQPushConsumer first = env.pushConsumer(group);
        first.setAwaitTerminationMillisWhenShutdown(10_000); // so that all it took is consumed and committed
        first.setPullBatchSize(4);
        first.setPullThresholdForQueue(4);
        first.subscribe(topic, "*");
        first.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> before.add("first", message));
            if (consumed.incrementAndGet() >= backlog.size() / 2) {
                half.countDown();
            }
            return pause(5);
        });
        env.start(first);
        Check.that(half.await(Check.SOON.toSeconds(), TimeUnit.SECONDS), "half of the backlog was not consumed in time");
        first.shutdown();
        Set<Long> done = new HashSet<>(before.all().stream().map(Inbox.Delivery::number).toList());
        Check.that(done.size() < backlog.size(), "the first consumer did not stop before the end of the backlog");

        List<Message> expected = new ArrayList<>(backlog);
        expected.removeIf(message -> done.contains(Body.number(message.getBody())));
        expected.addAll(send(env, producer, topic, 50)); // while nobody is there

        Inbox after = new Inbox();
        env.start(Pushes.concurrently(env, group, topic, "*", after, "second"));
        after.awaitAll(Env.numbers(expected), Check.SOON);
        after.exactlyOnce(Env.numbers(expected));
    }

    /** A new group that starts "from the last offset" gets a young topic whole: its first message is still at hand. */
    static void youngTopic(Env env) throws Exception {
        String topic = env.topic("topic", 2);
        List<Message> sent = send(env, env.producer(), topic, 20);
        for (var queue : env.producer().fetchPublishMessageQueues(topic)) {
            env.read(queue, 0);
        }
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = Pushes.concurrently(env, env.name("group"), topic, "*", inbox, "only");
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        env.start(consumer);
        inbox.awaitAll(Env.numbers(sent), Check.SOON);
        inbox.exactlyOnce(Env.numbers(sent));
    }

    private static List<Message> send(Env env, DefaultMQProducer producer, String topic, int count) throws Exception {
        List<Message> sent = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            sent.add(env.message(topic, "TagA", 64));
            producer.send(sent.get(i));
        }
        return sent;
    }

    private static ConsumeConcurrentlyStatus pause(long ms) {
        try {
            Thread.sleep(ms);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        }
    }
}
