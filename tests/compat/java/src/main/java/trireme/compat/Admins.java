package trireme.compat;

import java.lang.reflect.Method;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Topics, and look-ups of single messages. */
final class Admins {
    private static final int TOPIC_NOT_EXIST = 17;
    private static final long HOUR_MS = 3_600_000;

    private Admins() {
    }

    static void topics(Env env) throws Exception {
        var admin = env.cluster.admin;
        Map<String, String> masters = env.cluster.masters();
        Set<String> listed = admin.examineBrokerClusterInfo().getClusterAddrTable().values().stream()
            .flatMap(Set::stream).collect(Collectors.toSet());
        Check.that(listed.containsAll(masters.keySet()), "brokers %s are in no cluster: %s", masters.keySet(), listed);

        String topic = env.name("topic");
        MQClientException missing = Check.throwing(MQClientException.class, "route of a topic that does not exist",
            () -> admin.examineTopicRouteInfo(topic));
        Check.equal(TOPIC_NOT_EXIST, missing.getResponseCode(), "code for the route of a topic that does not exist");

        env.topic("topic", 3);
        for (var broker : admin.examineTopicRouteInfo(topic).getBrokerDatas()) {
            Check.equal(masters.get(broker.getBrokerName()), broker.getBrokerAddrs().get(0L), "master in the route");
        }
        Check.that(admin.fetchAllTopicList().getTopicList().contains(topic), "the new topic is not in the list of topics");
        Check.equal(3 * masters.size(), env.producer().fetchPublishMessageQueues(topic).size(), "queues to publish to");

        env.cluster.createTopic(topic, 6);
        Check.equal(6 * masters.size(), env.producer().fetchPublishMessageQueues(topic).size(), "queues after they were made more");
    }

    /** A topic comes into being with the first message to it, by the pattern of TBW102. */
    static void autoTopic(Env env) throws Exception {
        String topic = env.name("topic");
        DefaultMQProducer producer = env.producer();
        producer.setDefaultTopicQueueNums(4);
        Message message = env.message(topic, "TagA", 100);
        SendResult result = producer.send(message);
        Check.eventually("a route to the new topic", Check.SOON, () -> !env.cluster.queuesByBroker(topic).isEmpty());
        env.cluster.queuesByBroker(topic).forEach((broker, queues) -> Check.equal(4, queues, "queues of the new topic on " + broker));
        Sends.checkStored(env, message, result);

        Inbox inbox = new Inbox();
        env.start(Pushes.concurrently(env, env.name("group"), topic, "*", inbox, "only"));
        Message second = env.message(topic, "TagA", 100);
        producer.send(second);
        inbox.awaitAll(Env.numbers(List.of(message, second)), Check.SOON);
        inbox.exactlyOnce(Env.numbers(List.of(message, second)));
    }

    /** The orders of 5.x to a controller, which every replica is. */
    static void electMaster(Env env) throws Exception {
        var admin = env.cluster.admin;
        Method elect;
        try {
            elect = admin.getClass().getMethod("electMaster", String.class, String.class, String.class, Long.class);
        } catch (NoSuchMethodException unknownTo4x) {
            return;
        }
        for (var group : admin.examineBrokerClusterInfo().getBrokerAddrTable().values()) {
            for (Map.Entry<Long, String> replica : Map.copyOf(group.getBrokerAddrs()).entrySet()) {
                if (replica.getKey() == 0) {
                    continue;
                }
                var elected = elect.invoke(admin, replica.getValue(), group.getCluster(), group.getBrokerName(), replica.getKey());
                Check.that(elected != null, "nobody was elected in %s", group.getBrokerName());
                Check.eventually("the new master is routed", Check.SOON,
                    () -> replica.getValue().equals(env.cluster.masters().get(group.getBrokerName())));
            }
        }
    }

    /** What is too old goes when it is asked for, and nothing else does. */
    static void expired(Env env) throws Exception {
        String topic = env.topic("topic", 1);
        var admin = env.cluster.admin;
        Message message = env.message(topic, "TagA", 100);
        SendResult result = env.producer().send(message);
        for (String cluster : admin.examineBrokerClusterInfo().getClusterAddrTable().keySet()) {
            // Another suite's broker, which may be gone by now.
            if (cluster.startsWith(Cluster.TEMPORARY)) {
                continue;
            }
            Check.that(admin.deleteExpiredCommitLog(cluster), "expired files of the commit log in %s are not deleted", cluster);
            Check.that(admin.cleanExpiredConsumerQueue(cluster), "expired queues in %s are not cleaned", cluster);
        }
        Sends.checkStored(env, message, result);
    }

    static void query(Env env) throws Exception {
        String topic = env.topic("topic", 2);
        var admin = env.cluster.admin;
        DefaultMQProducer producer = env.producer();
        long begin = System.currentTimeMillis() - HOUR_MS;
        long end = System.currentTimeMillis() + HOUR_MS;
        List<Message> sent = new ArrayList<>();
        List<SendResult> results = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            Message message = env.message(topic, "TagA", 5_000);
            message.setKeys(List.of("common", "own-" + i));
            sent.add(message);
            results.add(producer.send(message));
        }
        // The index is built behind the write.
        Check.eventually("ten messages by key", Check.SOON,
            () -> admin.queryMessage(topic, "common", 32, begin, end).getMessageList().size() == 10);
        Check.equal(3, admin.queryMessage(topic, "common", 3, begin, end).getMessageList().size(), "messages by key, at most three");
        for (int i = 0; i < 10; i++) {
            List<MessageExt> found = admin.queryMessage(topic, "own-" + i, 32, begin, end).getMessageList();
            Check.equal(1, found.size(), "messages with the key own-" + i);
            checkFound(sent.get(i), results.get(i), found.get(0));
        }
        Check.throwing(MQClientException.class, "query by a key that no message has",
            () -> admin.queryMessage(topic, "absent", 32, begin, end));
        Check.throwing(MQClientException.class, "query before any message was stored",
            () -> admin.queryMessage(topic, "common", 32, begin, begin + 1));

        for (int i = 0; i < 10; i++) {
            checkFound(sent.get(i), results.get(i), admin.viewMessage(topic, results.get(i).getOffsetMsgId()));
            checkFound(sent.get(i), results.get(i), admin.viewMessage(topic, results.get(i).getMsgId()));
        }
    }

    private static void checkFound(Message message, SendResult result, MessageExt found) {
        Check.equal(Body.number(message.getBody()), Body.number(found.getBody()), "message found");
        Check.equal(message.getKeys(), found.getKeys(), "keys of the message found");
        Check.equal(result.getQueueOffset(), found.getQueueOffset(), "offset of the message found");
        Check.equal(result.getMsgId(), found.getMsgId(), "id of the message found");
    }

    /** Heartbeats that only say "as before" (5.x) must keep the group's members and subscriptions alive. */
    static void heartbeatV2(Env env) throws Exception {
        String topic = env.topic("topic", 4);
        String group = env.name("group");
        Inbox inbox = new Inbox();
        var first = Pushes.concurrently(env, group, topic, "*", inbox, "a");
        var second = Pushes.concurrently(env, group, topic, "*", inbox, "b");
        for (var consumer : List.of(first, second)) {
            // Only 5.x clients have it; these sources compile against 4.x, too.
            consumer.getClass().getMethod("setUseHeartbeatV2", boolean.class).invoke(consumer, true);
            consumer.setHeartbeatBrokerInterval(200);
        }
        env.start(first, second);
        for (var consumer : List.of(first, second)) {
            sendFullHeartbeat(consumer);
        }
        DefaultMQProducer producer = env.producer();
        long until = System.nanoTime() + Duration.ofSeconds(3).toNanos(); // some fifteen heartbeats
        List<Message> sent = new ArrayList<>();
        while (System.nanoTime() < until) {
            Message message = env.message(topic, "TagA", 64);
            producer.send(message);
            sent.add(message);
            Thread.sleep(20);
        }
        inbox.awaitAll(Env.numbers(sent), Check.SOON);
        inbox.exactlyOnce(Env.numbers(sent));
        env.awaitAssignment(first, second);
        // A subscription that changes must get through although heartbeats are short.
        String other = env.topic("other", 2);
        first.subscribe(other, "*");
        second.subscribe(other, "*");
        env.awaitAssignment(first, second);
        for (var consumer : List.of(first, second)) {
            sendFullHeartbeat(consumer);
        }
        Message late = env.message(other, "TagA", 64);
        producer.send(late);
        inbox.awaitAll(Env.numbers(List.of(late)), Check.SOON);
    }

    /**
     * Sends the subscriptions, as a rebalance does. The client's own attempt is dropped when another heartbeat is under way, and the
     * short ones that follow do not make up for it.
     */
    private static void sendFullHeartbeat(DefaultMQPushConsumer consumer) throws Exception {
        var client = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory();
        var send = client.getClass().getMethod("sendHeartbeatToAllBrokerWithLockV2", boolean.class);
        Check.eventually("a full heartbeat", Check.SOON, () -> (Boolean) send.invoke(client, true));
    }
}
