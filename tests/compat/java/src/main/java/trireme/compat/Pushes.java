package trireme.compat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Push consumption when nothing fails. */
final class Pushes {
    private Pushes() {
    }

    static void concurrent(Env env) throws Exception {
        String topic = env.topic("topic", 4);
        Inbox inbox = new Inbox();
        env.start(concurrently(env, env.name("group"), topic, "*", inbox, "only"));
        DefaultMQProducer producer = env.producer();
        List<Message> sent = new ArrayList<>();
        Map<Long, SendResult> results = new HashMap<>();
        for (int i = 0; i < 300; i++) {
            Message message = env.message(topic, "TagA", 32 + i * 17);
            results.put(Body.number(message.getBody()), producer.send(message));
            sent.add(message);
        }
        inbox.awaitAll(Env.numbers(sent), Check.SOON);
        inbox.exactlyOnce(Env.numbers(sent));
        for (Inbox.Delivery delivery : inbox.all()) {
            SendResult result = results.get(delivery.number());
            MessageExt message = delivery.message();
            Check.equal(result.getQueueOffset(), message.getQueueOffset(), "offset of a consumed message");
            Check.equal(result.getMessageQueue().getQueueId(), message.getQueueId(), "queue of a consumed message");
            Check.equal(result.getMsgId(), message.getMsgId(), "id of a consumed message");
            Check.equal(topic, message.getTopic(), "topic of a consumed message");
        }
    }

    static void ordered(Env env) throws Exception {
        String topic = env.topic("topic", 4);
        String group = env.name("group");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer[] consumers = {orderly(env, group, topic, inbox, "a"), orderly(env, group, topic, inbox, "b")};
        env.start(consumers);
        for (DefaultMQPushConsumer consumer : consumers) {
            Check.that(!Env.queuesOf(consumer, topic).isEmpty(), "one of two consumers got no queue");
        }
        DefaultMQProducer producer = env.producer();
        List<Message> sent = new ArrayList<>();
        for (int i = 0; i < 240; i++) {
            int key = i % 12;
            Message message = env.message(topic, "TagA", 64);
            message.setKeys("key-" + key);
            producer.send(message, (queues, ignored, selected) -> queues.get((int) selected % queues.size()), key);
            sent.add(message);
        }
        inbox.awaitAll(Env.numbers(sent), Check.SOON);
        inbox.exactlyOnce(Env.numbers(sent));
        Map<String, Long> nextOfQueue = new HashMap<>();
        Map<String, Long> lastOfKey = new HashMap<>();
        Map<String, String> owner = new HashMap<>();
        for (Inbox.Delivery delivery : inbox.all()) {
            MessageExt message = delivery.message();
            String queue = message.getBrokerName() + "-" + message.getQueueId();
            Check.equal(nextOfQueue.getOrDefault(queue, 0L), message.getQueueOffset(), "next offset consumed from " + queue);
            nextOfQueue.put(queue, message.getQueueOffset() + 1);
            Check.that(delivery.number() > lastOfKey.getOrDefault(message.getKeys(), -1L), "%s was consumed out of order", message.getKeys());
            lastOfKey.put(message.getKeys(), delivery.number());
            Check.equal(owner.computeIfAbsent(queue, ignored -> delivery.consumer()), delivery.consumer(), "consumer of " + queue);
        }
    }

    static void broadcast(Env env) throws Exception {
        String topic = env.topic("topic", 4);
        String group = env.name("group");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer[] consumers = {
            concurrently(env, group, topic, "*", inbox, "a"), concurrently(env, group, topic, "*", inbox, "b"),
        };
        for (DefaultMQPushConsumer consumer : consumers) {
            setBroadcasting(consumer);
        }
        env.start(consumers);
        DefaultMQProducer producer = env.producer();
        List<Message> sent = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            sent.add(env.message(topic, "TagA", 64));
            producer.send(sent.get(i));
        }
        for (String consumer : List.of("a", "b")) {
            inbox.awaitAll(Env.numbers(sent), Check.SOON, delivery -> delivery.consumer().equals(consumer));
            List<Long> arrived = inbox.of(consumer).stream().map(Inbox.Delivery::number).sorted().toList();
            Check.equal(Env.numbers(sent), arrived, "messages broadcast to " + consumer);
        }
    }

    static void tags(Env env) throws Exception {
        String topic = env.topic("topic", 2);
        Inbox inbox = new Inbox();
        // "Aa" and "BB" have the same hash code: the broker may hand out BB, the client must not.
        DefaultMQPushConsumer consumer = concurrently(env, env.name("group"), topic, "TagA || TagB||Aa", inbox, "only");
        consumer.setConsumeThreadMin(1);
        consumer.setConsumeThreadMax(1);
        DefaultMQProducer producer = env.producer();
        List<Message> wanted = new ArrayList<>();
        String[] tags = {"TagA", "TagB", "TagC", "Aa", "BB", "TagAB", "taga", null, ""};
        for (int i = 0; i < 90; i++) {
            String tag = tags[i % tags.length];
            Message message = env.message(topic, tag, 64);
            producer.send(message);
            if (Set.of("TagA", "TagB", "Aa").contains(tag == null ? "" : tag)) {
                wanted.add(message);
            }
        }
        // Long runs that match nothing must be passed over, too, then a match at the end of every queue.
        for (MessageQueue queue : producer.fetchPublishMessageQueues(topic)) {
            for (int i = 0; i < 100; i++) {
                producer.send(env.message(topic, "TagC", 64), queue);
            }
            Message last = env.message(topic, "TagA", 64);
            producer.send(last, queue);
            wanted.add(last);
        }
        env.start(consumer);
        inbox.awaitAll(Env.numbers(wanted), Check.SOON);
        inbox.exactlyOnce(Env.numbers(wanted));
    }

    static void rebalance(Env env) throws Exception {
        String topic = env.topic("topic", 8);
        String group = env.name("group");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer first = concurrently(env, group, topic, "*", inbox, "a");
        env.start(first);
        Set<MessageQueue> every = Env.queuesOf(first, topic);

        DefaultMQProducer producer = env.producer();
        List<Message> sent = sendToEach(env, producer, topic, 10);
        inbox.awaitAll(Env.numbers(sent), Check.SOON);

        // From here on no nudge: the broker's own notice must bring the members to share, well before a client's 20 s round.
        DefaultMQPushConsumer second = concurrently(env, group, topic, "*", inbox, "b");
        env.onClose(second::shutdown);
        second.start();
        Check.eventually("queues shared between two consumers", java.time.Duration.ofSeconds(10), () -> {
            Set<MessageQueue> a = Env.queuesOf(first, topic);
            Set<MessageQueue> b = Env.queuesOf(second, topic);
            Set<MessageQueue> both = new HashSet<>(a);
            both.addAll(b);
            return a.size() == every.size() / 2 && a.size() + b.size() == every.size() && both.equals(every);
        });
        Set<MessageQueue> ofSecond = Env.queuesOf(second, topic);
        List<Message> shared = sendToEach(env, producer, topic, 10);
        inbox.awaitAll(Env.numbers(shared), Check.SOON);
        Set<Long> sharedNumbers = new HashSet<>(Env.numbers(shared));
        for (Inbox.Delivery delivery : inbox.all()) {
            if (sharedNumbers.contains(delivery.number())) {
                MessageExt message = delivery.message();
                MessageQueue queue = new MessageQueue(topic, message.getBrokerName(), message.getQueueId());
                Check.equal(ofSecond.contains(queue) ? "b" : "a", delivery.consumer(), "consumer of " + queue);
            }
        }

        first.shutdown();
        Check.eventually("queues taken over from a consumer that left", java.time.Duration.ofSeconds(10),
            () -> Env.queuesOf(second, topic).equals(every));
        List<Message> last = sendToEach(env, producer, topic, 10);
        inbox.awaitAll(Env.numbers(last), Check.SOON, delivery -> delivery.consumer().equals("b"));
    }

    private static List<Message> sendToEach(Env env, DefaultMQProducer producer, String topic, int count) throws Exception {
        List<Message> sent = new ArrayList<>();
        for (MessageQueue queue : producer.fetchPublishMessageQueues(topic)) {
            for (int i = 0; i < count; i++) {
                Message message = env.message(topic, "TagA", 64);
                producer.send(message, queue);
                sent.add(message);
            }
        }
        return sent;
    }

    /** A consumer, not started, that puts all it gets into the inbox under its name. */
    static DefaultMQPushConsumer concurrently(Env env, String group, String topic, String tags, Inbox inbox, String name) throws Exception {
        DefaultMQPushConsumer consumer = env.pushConsumer(group);
        consumer.subscribe(topic, tags);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> inbox.add(name, message));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        return consumer;
    }

    private static DefaultMQPushConsumer orderly(Env env, String group, String topic, Inbox inbox, String name) throws Exception {
        DefaultMQPushConsumer consumer = env.pushConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            messages.forEach(message -> inbox.add(name, message));
            return ConsumeOrderlyStatus.SUCCESS;
        });
        return consumer;
    }

    /** The enum's package differs between 4.x and 5.x, its constants do not. */
    private static void setBroadcasting(DefaultMQPushConsumer consumer) {
        consumer.setMessageModel(Enum.valueOf(consumer.getMessageModel().getDeclaringClass(), "BROADCASTING"));
    }
}
