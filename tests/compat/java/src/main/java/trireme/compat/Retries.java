package trireme.compat;

import java.time.Duration;
import java.util.List;
import java.util.Map;
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

/** Messages that are consumed again, and those that end in the dead-letter topic. */
final class Retries {
    private static final int ONE_SECOND_LEVEL = 1;
    /**
     * 5.x stores a dead letter at once. 4.x leaves on it the delay level that the client asked for a further retry: up to a minute
     * for the ordered consumer, which does so itself.
     */
    private static final Duration DEAD_LETTER = Duration.ofSeconds(90);

    private Retries() {
    }

    /** One message fails once, one always (three deliveries, then dead letter), one never. */
    static void concurrent(Env env) throws Exception {
        String topic = env.topic("topic", 1);
        String group = env.name("group");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = env.pushConsumer(group);
        consumer.setMaxReconsumeTimes(2);
        consumer.setPollNameServerInterval(1_000);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            context.setDelayLevelWhenNextConsume(ONE_SECOND_LEVEL);
            MessageExt message = messages.get(0);
            inbox.add("only", message);
            boolean fails = "poison".equals(message.getTags()) || "flaky".equals(message.getTags()) && message.getReconsumeTimes() == 0;
            return fails ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        env.start(consumer);

        DefaultMQProducer producer = env.producer();
        Message good = env.message(topic, "good", 100);
        Message flaky = env.message(topic, "flaky", 5_000);
        Message poison = env.message(topic, "poison", 200);
        poison.setKeys("poison-key");
        poison.putUserProperty("origin", "\u6f22\u5b57");
        producer.send(good);
        producer.send(flaky);
        SendResult poisoned = producer.send(poison);

        inbox.awaitAll(Env.numbers(List.of(flaky)), Check.SOON, delivery -> delivery.message().getReconsumeTimes() == 1);
        inbox.awaitAll(Env.numbers(List.of(poison)), Check.SOON, delivery -> delivery.message().getReconsumeTimes() == 2);
        MessageExt dead = awaitDeadLetter(env, group, poisoned, poison);
        Check.equal("\u6f22\u5b57", dead.getUserProperty("origin"), "user property of the dead letter");

        Check.equal(List.of(0), timesOf(inbox, good), "deliveries of the good message");
        Check.equal(List.of(0, 1), timesOf(inbox, flaky), "deliveries of the message that failed once");
        Check.equal(List.of(0, 1, 2), timesOf(inbox, poison), "deliveries of the message that always failed");
        for (Inbox.Delivery delivery : inbox.all()) {
            MessageExt message = delivery.message();
            Check.equal(topic, message.getTopic(), "topic of a redelivered message");
            if (delivery.number() == Body.number(poison.getBody())) {
                Check.equal(poisoned.getMsgId(), message.getMsgId(), "id of a redelivered message");
                Check.equal("poison-key", message.getKeys(), "keys of a redelivered message");
            }
        }
        long[] at = inbox.all().stream().filter(delivery -> delivery.number() == Body.number(flaky.getBody()))
            .mapToLong(delivery -> delivery.message().getStoreTimestamp()).toArray();
        Check.that(at[1] - at[0] >= 900, "a retry at delay level 1 (1 s) came after %d ms", at[1] - at[0]);
    }

    /** An ordered consumer stops at a failing message, tries it again in place, gives it up, and goes on in order. */
    static void ordered(Env env) throws Exception {
        String topic = env.topic("topic", 1);
        String group = env.name("group");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = env.pushConsumer(group);
        consumer.setMaxReconsumeTimes(2);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            context.setSuspendCurrentQueueTimeMillis(50);
            messages.forEach(message -> inbox.add("only", message));
            boolean fails = "poison".equals(messages.get(0).getTags());
            return fails ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
        });
        env.start(consumer);

        DefaultMQProducer producer = env.producer();
        Message before = env.message(topic, "good", 100);
        Message poison = env.message(topic, "poison", 200);
        poison.setKeys("poison-key");
        Message after = env.message(topic, "good", 100);
        producer.send(before);
        SendResult poisoned = producer.send(poison);
        producer.send(after);

        inbox.awaitAll(Env.numbers(List.of(after)), Check.SOON);
        awaitDeadLetter(env, group, poisoned, poison);
        List<Long> expected = Env.numbers(List.of(before, poison, poison, poison, after));
        Check.equal(expected, inbox.all().stream().map(Inbox.Delivery::number).toList(), "deliveries in order");
    }

    private static List<Integer> timesOf(Inbox inbox, Message message) {
        long number = Body.number(message.getBody());
        return inbox.all().stream().filter(delivery -> delivery.number() == number)
            .map(delivery -> delivery.message().getReconsumeTimes()).toList();
    }

    /** Waits for the group's first dead letter, which must be this message with what tells where it came from. */
    private static MessageExt awaitDeadLetter(Env env, String group, SendResult sent, Message original) throws Exception {
        String topic = "%DLQ%" + group;
        Check.eventually("a route to " + topic, Check.SOON, () -> !env.cluster.admin.examineTopicRouteInfo(topic).getQueueDatas().isEmpty());
        String broker = sent.getMessageQueue().getBrokerName();
        MessageExt dead = env.read(new MessageQueue(topic, broker, 0), 0, DEAD_LETTER);
        Check.equal(Body.number(original.getBody()), Body.number(dead.getBody()), "dead letter");
        Check.equal(original.getTags(), dead.getTags(), "tag of the dead letter");
        Check.equal(original.getKeys(), dead.getKeys(), "keys of the dead letter");
        Check.equal(sent.getMsgId(), dead.getMsgId(), "id of the dead letter");
        Map<String, String> properties = dead.getProperties();
        Check.equal(original.getTopic(), properties.get("RETRY_TOPIC"), "RETRY_TOPIC of the dead letter");
        Check.that(properties.get("ORIGIN_MESSAGE_ID") != null, "the dead letter has no ORIGIN_MESSAGE_ID: %s", properties);
        return dead;
    }
}
