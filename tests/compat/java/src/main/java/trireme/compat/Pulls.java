package trireme.compat;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Consumers that ask for what they want. */
final class Pulls {
    private static final int COUNT = 40;
    private static final long POLL_MS = 500;

    private Pulls() {
    }

    static void classic(Env env) throws Exception {
        String topic = env.topic("topic", 2);
        String group = env.name("group");
        DefaultMQProducer producer = env.producer();
        MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
        DefaultMQPullConsumer consumer = env.pullConsumer(group);
        consumer.start();
        Check.equal(Set.copyOf(producer.fetchPublishMessageQueues(topic)), consumer.fetchSubscribeMessageQueues(topic), "queues to pull");
        Check.equal(0L, consumer.maxOffset(queue), "max offset of an empty queue");
        Check.equal(0L, consumer.minOffset(queue), "min offset of an empty queue");
        PullResult empty = consumer.pull(queue, "*", 0, 32);
        Check.equal(PullStatus.NO_NEW_MSG, empty.getPullStatus(), "pull from an empty queue");

        List<Message> sent = new ArrayList<>();
        for (int i = 0; i < COUNT; i++) {
            sent.add(env.message(topic, i % 2 == 0 ? "even" : "odd", 100));
            producer.send(sent.get(i), queue);
        }
        MessageExt first = env.read(queue, 0);
        MessageExt last = env.read(queue, COUNT - 1);
        Check.equal((long) COUNT, consumer.maxOffset(queue), "max offset");
        Check.equal(0L, consumer.minOffset(queue), "min offset");
        Check.equal(first.getStoreTimestamp(), consumer.earliestMsgStoreTime(queue), "earliest store time");

        List<Long> pulled = new ArrayList<>();
        long next = 0;
        while (next < COUNT) {
            PullResult result = consumer.pull(queue, "*", next, 32);
            Check.equal(PullStatus.FOUND, result.getPullStatus(), "pull at " + next);
            result.getMsgFoundList().forEach(message -> pulled.add(Body.number(message.getBody())));
            Check.equal(next + result.getMsgFoundList().size(), result.getNextBeginOffset(), "next offset");
            Check.equal(0L, result.getMinOffset(), "min offset in a pull result");
            Check.equal((long) COUNT, result.getMaxOffset(), "max offset in a pull result");
            next = result.getNextBeginOffset();
        }
        Check.equal(Env.numbers(sent), pulled, "messages pulled");

        PullResult filtered = consumer.pull(queue, "odd", 0, 32);
        Check.equal(PullStatus.FOUND, filtered.getPullStatus(), "pull by tag");
        filtered.getMsgFoundList().forEach(message -> Check.equal("odd", message.getTags(), "tag"));
        Check.equal(PullStatus.NO_MATCHED_MSG, consumer.pull(queue, "none", 0, 32).getPullStatus(), "pull by a tag that nothing has");
        PullResult atEnd = consumer.pull(queue, "*", COUNT, 32);
        Check.equal(PullStatus.NO_NEW_MSG, atEnd.getPullStatus(), "pull at the max offset");
        PullResult beyond = consumer.pull(queue, "*", COUNT + 100, 32);
        Check.equal(PullStatus.OFFSET_ILLEGAL, beyond.getPullStatus(), "pull beyond the max offset");
        Check.equal((long) COUNT, beyond.getNextBeginOffset(), "where a pull beyond the max offset is sent to");

        checkSearch(env, consumer, producer, queue, last.getStoreTimestamp());
        checkCommit(env, consumer, queue, group);
    }

    /** The offset for a time is that of the first message stored at or after it. */
    private static void checkSearch(Env env, DefaultMQPullConsumer consumer, DefaultMQProducer producer, MessageQueue queue, long lastStored)
        throws Exception {
        // The store's clock has milliseconds: the next message must not share one with the last.
        Check.eventually("the clock to advance", Check.SOON, () -> System.currentTimeMillis() > lastStored + 20);
        producer.send(env.message(queue.getTopic(), "later", 100), queue);
        long later = env.read(queue, COUNT).getStoreTimestamp();
        Check.equal(0L, consumer.searchOffset(queue, 0), "offset for a time before the first message");
        Check.equal((long) COUNT, consumer.searchOffset(queue, later), "offset for the time of the last message");
        Check.equal((long) COUNT, consumer.searchOffset(queue, later - 5), "offset for a time between two messages");
        long future = consumer.searchOffset(queue, later + 3_600_000);
        Check.that(future == COUNT || future == COUNT + 1, "offset for a time after the last message (offset %d) is %d", COUNT, future);
    }

    /** An offset that was committed is what the next consumer of the group is told. */
    private static void checkCommit(Env env, DefaultMQPullConsumer consumer, MessageQueue queue, String group) throws Exception {
        Check.that(consumer.fetchConsumeOffset(queue, true) <= 0, "a group that never committed has an offset");
        consumer.updateConsumeOffset(queue, 7);
        consumer.getDefaultMQPullConsumerImpl().getOffsetStore().persist(queue);
        Check.eventually("a committed offset", Check.SOON, () -> consumer.fetchConsumeOffset(queue, true) == 7);
        consumer.updateConsumeOffset(queue, 11);
        consumer.getDefaultMQPullConsumerImpl().getOffsetStore().persist(queue);
        consumer.shutdown();
        DefaultMQPullConsumer successor = env.pullConsumer(group);
        successor.start();
        Check.equal(11L, successor.fetchConsumeOffset(queue, true), "offset that a predecessor committed");
    }

    static void lite(Env env) throws Exception {
        String topic = env.topic("topic", 2);
        String group = env.name("group");
        DefaultMQProducer producer = env.producer();
        List<Message> sent = new ArrayList<>();
        Map<MessageQueue, List<Message>> byQueue = new HashMap<>();
        for (MessageQueue queue : producer.fetchPublishMessageQueues(topic)) {
            for (int i = 0; i < COUNT; i++) {
                Message message = env.message(topic, "TagA", 100);
                producer.send(message, queue);
                sent.add(message);
                byQueue.computeIfAbsent(queue, ignored -> new ArrayList<>()).add(message);
            }
        }

        DefaultLitePullConsumer subscriber = env.liteConsumer(group);
        subscriber.setAutoCommit(false);
        subscriber.subscribe(topic, "*");
        subscriber.start();
        List<Long> polled = poll(subscriber, sent.size());
        Check.equal(Env.numbers(sent).stream().sorted().toList(), polled.stream().sorted().toList(), "messages polled by subscription");
        subscriber.commitSync();
        for (MessageQueue queue : byQueue.keySet()) {
            // The commit itself is one-way: nothing tells its arrival.
            Check.eventually("commit of " + queue, Check.SOON, () -> subscriber.committed(queue) == COUNT);
        }
        subscriber.shutdown();

        DefaultLitePullConsumer assigned = env.liteConsumer(env.name("assigned"));
        assigned.setAutoCommit(false);
        assigned.start();
        Collection<MessageQueue> queues = assigned.fetchMessageQueues(topic);
        Check.equal(byQueue.keySet(), Set.copyOf(queues), "queues to assign");
        MessageQueue queue = queues.iterator().next();
        List<Long> ofQueue = Env.numbers(byQueue.get(queue));
        assigned.assign(List.of(queue));
        assigned.seek(queue, 30);
        pollAfterSeek(assigned, ofQueue.subList(30, COUNT));
        assigned.seekToBegin(queue);
        pollAfterSeek(assigned, ofQueue);
        long time = env.read(queue, COUNT - 1).getStoreTimestamp();
        long offset = assigned.offsetForTimestamp(queue, time);
        Check.that(0 < offset && offset < COUNT, "offset for the last message's time is %d", offset);

        assigned.seekToEnd(queue);
        Message fresh = env.message(topic, "TagA", 100);
        producer.send(fresh, queue);
        pollAfterSeek(assigned, Env.numbers(List.of(fresh)));
    }

    /** A pull that was under way when the seek came may still hand over what it brought; then these must come, in order. */
    private static void pollAfterSeek(DefaultLitePullConsumer consumer, List<Long> expected) {
        List<Long> numbers = new ArrayList<>();
        long deadline = System.nanoTime() + Check.SOON.toNanos();
        while (Collections.indexOfSubList(numbers, expected) < 0) {
            Check.that(System.nanoTime() < deadline, "after a seek to %s, polled %s", expected, numbers);
            consumer.poll(POLL_MS).forEach(message -> numbers.add(Body.number(message.getBody())));
        }
    }

    /** Polls until {@code count} messages have come; fails when more come with them or time runs out. */
    private static List<Long> poll(DefaultLitePullConsumer consumer, int count) {
        List<Long> numbers = new ArrayList<>();
        long deadline = System.nanoTime() + Check.SOON.toNanos();
        while (numbers.size() < count) {
            Check.that(System.nanoTime() < deadline, "%d of %d messages were polled in time", numbers.size(), count);
            consumer.poll(POLL_MS).forEach(message -> numbers.add(Body.number(message.getBody())));
        }
        Check.equal(count, numbers.size(), "messages polled");
        return numbers;
    }
}
