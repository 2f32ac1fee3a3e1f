package trireme.compat;

import java.net.InetSocketAddress;
import java.net.Socket;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageId;
import org.apache.rocketmq.common.message.MessageQueue;

/** Every way to send, each message read back from the place that its result names. */
final class Sends {
    private static final int MESSAGE_ILLEGAL = 13;
    private static final int MIB = 1024 * 1024;

    private Sends() {
    }

    static void sync(Env env) throws Exception {
        String topic = env.topic("topic", 4);
        DefaultMQProducer producer = env.producer();
        Map<MessageQueue, Long> next = new HashMap<>();
        Set<InetSocketAddress> addresses = new HashSet<>();
        for (int i = 0; i < 40; i++) {
            Message message = env.message(topic, "TagA", 100 + i);
            SendResult result = producer.send(message);
            addresses.add(checkResult(result));
            // The only producer of the topic: offsets of a queue follow one another from 0.
            Check.equal(next.getOrDefault(result.getMessageQueue(), 0L), result.getQueueOffset(), "offset in " + result.getMessageQueue());
            next.put(result.getMessageQueue(), result.getQueueOffset() + 1);
            checkStored(env, message, result);
        }
        Check.that(next.size() >= 4, "40 messages went to %d queues only", next.size());
        for (InetSocketAddress address : addresses) {
            try (Socket socket = new Socket()) {
                socket.connect(address, 3_000); // the offset message id is what viewMessage dials
            }
        }
    }

    static void async(Env env) throws Exception {
        String topic = env.topic("topic", 4);
        DefaultMQProducer producer = env.producer();
        int count = 200;
        Map<Message, SendResult> results = new ConcurrentHashMap<>();
        Map<Message, Throwable> failures = new ConcurrentHashMap<>();
        CountDownLatch answered = new CountDownLatch(count);
        for (int i = 0; i < count; i++) {
            Message message = env.message(topic, "TagA", 64);
            producer.send(message, new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    results.put(message, result);
                    answered.countDown();
                }

                @Override
                public void onException(Throwable failure) {
                    failures.put(message, failure);
                    answered.countDown();
                }
            });
        }
        Check.that(answered.await(Check.SOON.toSeconds(), TimeUnit.SECONDS), "%d callbacks did not come", answered.getCount());
        Check.that(failures.isEmpty(), "%d sends failed: %s", failures.size(), failures.values().stream().findFirst().orElse(null));
        results.values().forEach(Sends::checkResult);
        checkContiguous(results.values().stream().toList());
        for (Map.Entry<Message, SendResult> entry : results.entrySet().stream().limit(20).toList()) {
            checkStored(env, entry.getKey(), entry.getValue());
        }
    }

    static void oneWay(Env env) throws Exception {
        String topic = env.topic("topic", 4);
        DefaultMQProducer producer = env.producer();
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = env.pushConsumer(env.name("group"));
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> inbox.add("only", message));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        env.start(consumer);
        List<Message> sent = new ArrayList<>();
        for (int i = 0; i < 50; i++) {
            Message message = env.message(topic, "TagA", 64);
            producer.sendOneway(message);
            sent.add(message);
        }
        inbox.awaitAll(Env.numbers(sent), Check.SOON);
        inbox.exactlyOnce(Env.numbers(sent));
    }

    static void batch(Env env) throws Exception {
        String topic = env.topic("topic", 4);
        DefaultMQProducer producer = env.producer();
        MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
        long expected = 0;
        for (int size : new int[] {1, 20, 33}) {
            List<Message> batch = new ArrayList<>();
            for (int i = 0; i < size; i++) {
                Message message = env.message(topic, i % 2 == 0 ? "TagA" : "TagB", 50 + i);
                message.setKeys("key-" + i);
                message.putUserProperty("place", Integer.toString(i));
                batch.add(message);
            }
            SendResult result = producer.send(batch, queue);
            Check.equal(SendStatus.SEND_OK, result.getSendStatus(), "send status");
            Check.equal(queue, result.getMessageQueue(), "queue of the batch");
            Check.equal(expected, result.getQueueOffset(), "offset of the batch's first message");
            Check.equal(size, result.getMsgId().split(",").length, "message ids of the batch");
            String[] offsetIds = result.getOffsetMsgId().split(",");
            Check.equal(size, offsetIds.length, "offset message ids of the batch");
            long previous = -1;
            for (int i = 0; i < size; i++) {
                MessageExt stored = env.read(queue, expected + i);
                checkSame(batch.get(i), stored);
                Check.equal(offsetIds[i], ((MessageClientExt) stored).getOffsetMsgId(), "offset message id " + i);
                long physical = MessageDecoder.decodeMessageId(offsetIds[i]).getOffset();
                Check.that(physical > previous, "physical offsets of a batch do not increase");
                previous = physical;
            }
            expected += size;
        }
        SendResult routed = producer.send(List.of(env.message(topic, "TagA", 64), env.message(topic, "TagA", 64)));
        Check.equal(SendStatus.SEND_OK, routed.getSendStatus(), "send status without a queue");
    }

    static void ordered(Env env) throws Exception {
        String topic = env.topic("topic", 4);
        DefaultMQProducer producer = env.producer();
        Map<MessageQueue, List<Message>> sent = new HashMap<>();
        for (int i = 0; i < 40; i++) {
            Message message = env.message(topic, "TagA", 64);
            MessageQueue[] chosen = new MessageQueue[1];
            SendResult result = producer.send(message, (queues, ignored, key) -> {
                chosen[0] = queues.get((int) key % queues.size());
                return chosen[0];
            }, i % 7);
            checkResult(result);
            Check.equal(chosen[0], result.getMessageQueue(), "queue of an ordered send");
            sent.computeIfAbsent(chosen[0], queue -> new ArrayList<>()).add(message);
            Check.equal(sent.get(chosen[0]).size() - 1L, result.getQueueOffset(), "offset of an ordered send");
        }
        for (Map.Entry<MessageQueue, List<Message>> entry : sent.entrySet()) {
            for (int i = 0; i < entry.getValue().size(); i++) {
                checkSame(entry.getValue().get(i), env.read(entry.getKey(), i));
            }
        }
    }

    static void properties(Env env) throws Exception {
        String topic = env.topic("topic", 1);
        DefaultMQProducer producer = env.producer();

        Message rich = env.message(topic, "Tag-\u00e9\u4e2d", 200);
        rich.setKeys(List.of("order-1", "order-2"));
        rich.setFlag(0x7000_0001);
        rich.putUserProperty("plain", "value");
        rich.putUserProperty("unicode", "na\u00efve \u6f22\u5b57 \ud83d\ude80");
        rich.putUserProperty("spaced", " a b ");
        rich.putUserProperty("long", "x".repeat(20_000));
        rich.setWaitStoreMsgOK(true);
        MessageExt stored = checkStored(env, rich, producer.send(rich));
        Check.equal("order-1 order-2", stored.getKeys(), "keys");
        Check.equal(0x7000_0001, stored.getFlag(), "flag");
        for (String name : List.of("plain", "unicode", "spaced", "long")) {
            Check.equal(rich.getUserProperty(name), stored.getUserProperty(name), "property " + name);
        }
        Check.equal(0, stored.getReconsumeTimes(), "reconsume times");
        Check.that(stored.getBornTimestamp() > 0 && stored.getStoreTimestamp() > 0, "a timestamp is missing in %s", stored);
        Check.that(((InetSocketAddress) stored.getBornHost()).getPort() > 0, "born host is %s", stored.getBornHost());

        Message bare = new Message(topic, Body.of(1_000_000, 64));
        MessageExt untagged = checkStored(env, bare, producer.send(bare));
        Check.that(untagged.getTags() == null || untagged.getTags().isEmpty(), "tag of an untagged message is %s", untagged.getTags());
        Check.that(untagged.getKeys() == null || untagged.getKeys().isEmpty(), "keys of a bare message are %s", untagged.getKeys());

        Message blankTag = new Message(topic, "", Body.of(1_000_001, 64));
        checkStored(env, blankTag, producer.send(blankTag));

        Message tooMuch = env.message(topic, "TagA", 64);
        tooMuch.putUserProperty("long", "x".repeat(33_000));
        MQBrokerException refused = Check.throwing(MQBrokerException.class, "properties over 32767 bytes", () -> producer.send(tooMuch));
        Check.equal(MESSAGE_ILLEGAL, refused.getResponseCode(), "response code for properties over 32767 bytes");
    }

    static void large(Env env) throws Exception {
        String topic = env.topic("topic", 1);
        DefaultMQProducer producer = env.producer();
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);

        Message largest = env.message(topic, "TagA", 4 * MIB - 1024);
        checkStored(env, largest, producer.send(largest));

        Message over = env.message(topic, "TagA", 4 * MIB + 1);
        MQClientException refusedHere = Check.throwing(MQClientException.class, "a body over the client's limit", () -> producer.send(over));
        Check.equal(MESSAGE_ILLEGAL, refusedHere.getResponseCode(), "code of the client's refusal");

        producer.setMaxMessageSize(8 * MIB);
        MQBrokerException refused = Check.throwing(MQBrokerException.class, "a body over the broker's limit", () -> producer.send(over));
        Check.equal(MESSAGE_ILLEGAL, refused.getResponseCode(), "code of the broker's refusal");
        Check.that(refused.getErrorMessage() != null && !refused.getErrorMessage().isBlank(), "the broker's refusal says nothing");

        Message after = env.message(topic, "TagA", 64);
        SendResult result = producer.send(after);
        Check.equal(1L, result.getQueueOffset(), "offset after a refused message");
        checkStored(env, after, result);
    }

    static void compressed(Env env) throws Exception {
        String topic = env.topic("topic", 1);
        DefaultMQProducer producer = env.producer();
        for (int size : new int[] {100, 5_000, 200_000}) {
            boolean compressed = size > producer.getCompressMsgBodyOverHowmuch();
            Message message = env.message(topic, "TagA", size);
            MessageExt stored = checkStored(env, message, producer.send(message));
            Check.equal(compressed, stored.getStoreSize() < size, size + " bytes took fewer, stored");
        }
    }

    /** Checks what every accepted send must answer, and returns the broker address inside the offset message id. */
    static InetSocketAddress checkResult(SendResult result) {
        try {
            Check.equal(SendStatus.SEND_OK, result.getSendStatus(), "send status");
            Check.that(result.getMsgId() != null && result.getMsgId().length() >= 32, "message id is %s", result.getMsgId());
            Check.that(result.getQueueOffset() >= 0, "queue offset is %d", result.getQueueOffset());
            MessageId id = MessageDecoder.decodeMessageId(result.getOffsetMsgId());
            InetSocketAddress address = (InetSocketAddress) id.getAddress();
            Check.that(id.getOffset() >= 0 && address.getPort() > 0, "offset message id %s names %s", result.getOffsetMsgId(), address);
            return address;
        } catch (Exception error) {
            throw new AssertionError("offset message id " + result.getOffsetMsgId() + " does not decode", error);
        }
    }

    /** Reads the message back from where its result says that it is. */
    static MessageExt checkStored(Env env, Message message, SendResult result) throws Exception {
        checkResult(result);
        MessageExt stored = env.read(result.getMessageQueue(), result.getQueueOffset());
        checkSame(message, stored);
        Check.equal(result.getMsgId(), stored.getMsgId(), "message id");
        Check.equal(result.getOffsetMsgId(), ((MessageClientExt) stored).getOffsetMsgId(), "offset message id");
        return stored;
    }

    private static void checkSame(Message sent, MessageExt stored) {
        Check.that(Arrays.equals(sent.getBody(), stored.getBody()), "the body read back differs");
        String tag = sent.getTags() == null ? "" : sent.getTags();
        Check.equal(tag, stored.getTags() == null ? "" : stored.getTags(), "tag");
        Check.equal(sent.getKeys(), stored.getKeys(), "keys");
    }

    private static void checkContiguous(List<SendResult> results) {
        Map<MessageQueue, List<Long>> offsets = new HashMap<>();
        results.forEach(result -> offsets.computeIfAbsent(result.getMessageQueue(), queue -> new ArrayList<>()).add(result.getQueueOffset()));
        offsets.forEach((queue, list) -> {
            List<Long> expected = new ArrayList<>();
            for (long offset = 0; offset < list.size(); offset++) {
                expected.add(offset);
            }
            Check.equal(expected, list.stream().sorted().toList(), "offsets in " + queue);
        });
    }
}
