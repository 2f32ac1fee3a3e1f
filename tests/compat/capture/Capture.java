import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.concurrent.atomic.AtomicLong;

import org.apache.rocketmq.common.DataVersion;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.admin.TopicOffset;
import org.apache.rocketmq.common.admin.TopicStatsTable;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.filter.FilterAPI;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.protocol.RequestCode;
import org.apache.rocketmq.common.protocol.body.ClusterInfo;
import org.apache.rocketmq.common.protocol.body.LockBatchRequestBody;
import org.apache.rocketmq.common.protocol.body.RegisterBrokerBody;
import org.apache.rocketmq.common.protocol.body.ResetOffsetBody;
import org.apache.rocketmq.common.protocol.body.TopicConfigSerializeWrapper;
import org.apache.rocketmq.common.protocol.header.PullMessageRequestHeader;
import org.apache.rocketmq.common.protocol.header.PullMessageResponseHeader;
import org.apache.rocketmq.common.protocol.header.SendMessageRequestHeader;
import org.apache.rocketmq.common.protocol.header.SendMessageRequestHeaderV2;
import org.apache.rocketmq.common.protocol.header.SendMessageResponseHeader;
import org.apache.rocketmq.common.protocol.header.namesrv.RegisterBrokerRequestHeader;
import org.apache.rocketmq.common.protocol.heartbeat.ConsumeType;
import org.apache.rocketmq.common.protocol.heartbeat.ConsumerData;
import org.apache.rocketmq.common.protocol.heartbeat.HeartbeatData;
import org.apache.rocketmq.common.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.common.protocol.heartbeat.ProducerData;
import org.apache.rocketmq.common.protocol.heartbeat.SubscriptionData;
import org.apache.rocketmq.common.protocol.route.BrokerData;
import org.apache.rocketmq.common.protocol.route.QueueData;
import org.apache.rocketmq.common.protocol.route.TopicRouteData;
import org.apache.rocketmq.remoting.CommandCustomHeader;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.SerializeType;

/**
 * Prints what the Java client and broker put on the wire, one `name hex` per line.
 *
 * Written against the packages of 4.9; for 5.x capture.sh moves the imports and uncovers the lines behind //5//.
 * Every input is a constant, so that the output changes only with the version.
 */
public class Capture {
    static final byte[] BODY = "Hello RocketMQ".getBytes();

    public static void main(String[] args) throws Exception {
        System.setProperty("rocketmq.remoting.version", Integer.toString(MQVersion.CURRENT_VERSION));
        frames();
        messages();
        bodies();
    }

    static void frames() throws Exception {
        SendMessageRequestHeader send = new SendMessageRequestHeader();
        send.setProducerGroup("GID_producer");
        send.setTopic("TopicTest");
        send.setDefaultTopic("TBW102");
        send.setDefaultTopicQueueNums(4);
        send.setQueueId(3);
        send.setSysFlag(0);
        send.setBornTimestamp(1700000000000L);
        send.setFlag(7);
        send.setProperties("UNIQ_KEY\u00010A00000900002A9F0000000000000001\u0002KEYS\u0001k1 \"k2\" \u00e9\u4e2d\\\u0002TAGS\u0001TagA\u0002");
        send.setReconsumeTimes(0);
        send.setUnitMode(false);
        send.setMaxReconsumeTimes(16);
        send.setBatch(false);
        request("send_v1", RequestCode.SEND_MESSAGE, send, BODY);
        request("send_v2", RequestCode.SEND_MESSAGE_V2,
            SendMessageRequestHeaderV2.createSendMessageRequestHeaderV2(send), BODY);

        PullMessageRequestHeader pull = new PullMessageRequestHeader();
        pull.setConsumerGroup("GID_consumer");
        pull.setTopic("TopicTest");
        pull.setQueueId(2);
        pull.setQueueOffset(123456789012L);
        pull.setMaxMsgNums(32);
        pull.setSysFlag(7);
        pull.setCommitOffset(123456789000L);
        pull.setSuspendTimeoutMillis(15000L);
        pull.setSubscription("TagA || TagB");
        pull.setSubVersion(1700000000000L);
        pull.setExpressionType("TAG");
        request("pull", RequestCode.PULL_MESSAGE, pull, null);

        SendMessageResponseHeader sent = new SendMessageResponseHeader();
        sent.setMsgId("0A00000100002A9F0000000000001000");
        sent.setQueueId(3);
        sent.setQueueOffset(7L);
        sent.setTransactionId("0A00000900002A9F0000000000000001");
        response("send_response", 0, null, sent, null);

        PullMessageResponseHeader pulled = new PullMessageResponseHeader();
        pulled.setSuggestWhichBrokerId(0L);
        pulled.setNextBeginOffset(33L);
        pulled.setMinOffset(0L);
        pulled.setMaxOffset(100L);
        response("pull_response", 0, "FOUND", pulled, BODY);

        RegisterBrokerRequestHeader register = new RegisterBrokerRequestHeader();
        register.setBrokerName("broker-a");
        register.setBrokerAddr("10.0.0.1:10911");
        register.setClusterName("DefaultCluster");
        register.setHaServerAddr("10.0.0.1:10912");
        register.setBrokerId(0L);
        register.setCompressed(true);
        register.setBodyCrc32(12345);
        request("register_broker", RequestCode.REGISTER_BROKER, register, BODY);
        request("heartbeat_empty", RequestCode.HEART_BEAT, null, null);
    }

    static void request(String name, int code, CommandCustomHeader header, byte[] body) throws Exception {
        for (SerializeType type : SerializeType.values()) {
            RemotingCommand command = RemotingCommand.createRequestCommand(code, header);
            command.setOpaque(77);
            encode(name, command, type, body);
        }
    }

    static void response(String name, int code, String remark, CommandCustomHeader header, byte[] body) throws Exception {
        for (SerializeType type : SerializeType.values()) {
            RemotingCommand command = RemotingCommand.createResponseCommand(code, remark);
            command.writeCustomHeader(header);
            command.setOpaque(77);
            encode(name, command, type, body);
        }
    }

    static void encode(String name, RemotingCommand command, SerializeType type, byte[] body) {
        command.setSerializeTypeCurrentRPC(type);
        command.setBody(body);
        ByteBuffer buffer = command.encode();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        print("frame_" + name + "_" + type.name().toLowerCase(), bytes);
    }

    static void messages() throws Exception {
        print("stored_v4", MessageDecoder.encode(stored("10.0.0.9", "10.0.0.1"), false));
        MessageExt born6 = stored("2001:db8::9", "10.0.0.1");
        born6.setBornHostV6Flag();
        print("stored_born_v6", MessageDecoder.encode(born6, false));
        MessageExt both6 = stored("2001:db8::9", "2001:db8::1");
        both6.setBornHostV6Flag();
        both6.setStoreHostAddressV6Flag();
        print("stored_both_v6", MessageDecoder.encode(both6, false));

        Message first = new Message("TopicTest", "TagA", "k1", BODY);
        first.setFlag(5);
        Message second = new Message("TopicTest", "", new byte[0]);
        second.putUserProperty("user", "\u4e2d");
        print("batch", MessageDecoder.encodeMessages(Arrays.asList(first, second)));
        print("text_offset_msg_id", MessageDecoder.createMessageId(
            ByteBuffer.allocate(16), address("10.0.0.1", 10911), 4096).getBytes());
    }

    static MessageExt stored(String born, String store) throws Exception {
        MessageExt message = new MessageExt();
        message.setTopic("TopicTest");
        message.setBody(BODY);
        message.setBodyCRC(1774740973);
        message.setQueueId(3);
        message.setQueueOffset(7);
        message.setCommitLogOffset(4096);
        message.setSysFlag(0);
        message.setFlag(9);
        message.setBornTimestamp(1700000000000L);
        message.setBornHost(new InetSocketAddress(InetAddress.getByName(born), 51000));
        message.setStoreTimestamp(1700000000001L);
        message.setStoreHost(new InetSocketAddress(InetAddress.getByName(store), 10911));
        message.setReconsumeTimes(2);
        message.setPreparedTransactionOffset(4000);
        message.setTags("TagA");
        return message;
    }

    static ByteBuffer address(String ip, int port) throws Exception {
        ByteBuffer buffer = ByteBuffer.allocate(8);
        buffer.put(InetAddress.getByName(ip).getAddress()).putInt(port);
        buffer.flip();
        return buffer;
    }

    static void bodies() throws Exception {
        HeartbeatData heartbeat = new HeartbeatData();
        heartbeat.setClientID("10.0.0.9@4711");
        ProducerData producer = new ProducerData();
        producer.setGroupName("GID_producer");
        heartbeat.getProducerDataSet().add(producer);
        ConsumerData consumer = new ConsumerData();
        consumer.setGroupName("GID_consumer");
        consumer.setConsumeType(ConsumeType.CONSUME_PASSIVELY);
        consumer.setMessageModel(MessageModel.CLUSTERING);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        SubscriptionData subscription = FilterAPI.buildSubscriptionData("TopicTest", "TagA || TagB");
        subscription.setSubVersion(1700000000000L);
        consumer.getSubscriptionDataSet().add(subscription);
        heartbeat.getConsumerDataSet().add(consumer);
        print("body_heartbeat", heartbeat.encode());

        RegisterBrokerBody register = new RegisterBrokerBody();
        TopicConfigSerializeWrapper wrapper = new TopicConfigSerializeWrapper();
        TopicConfig topic = new TopicConfig("TopicTest", 8, 4, 6);
        wrapper.getTopicConfigTable().put("TopicTest", topic);
        TopicConfig ordered = new TopicConfig("Ordered", 1, 1, 4);
        ordered.setOrder(true);
        wrapper.getTopicConfigTable().put("Ordered", ordered);
        DataVersion version = new DataVersion();
        version.setTimestamp(1700000000000L);
        version.setCounter(new AtomicLong(42));
        wrapper.setDataVersion(version);
        //5// wrapper.getMappingDataVersion().setTimestamp(1700000000000L);
        register.setTopicConfigSerializeWrapper(wrapper);
        register.setFilterServerList(Collections.singletonList("10.0.0.1:1234"));
        print("body_register_plain", register.encode(false));
        print("body_register_compressed", register.encode(true));

        LockBatchRequestBody lock = new LockBatchRequestBody();
        lock.setConsumerGroup("GID_consumer");
        lock.setClientId("10.0.0.9@4711");
        lock.getMqSet().add(new MessageQueue("TopicTest", "broker-a", 3));
        print("body_lock", lock.encode());

        TopicStatsTable stats = new TopicStatsTable();
        TopicOffset offset = new TopicOffset();
        offset.setMinOffset(1);
        offset.setMaxOffset(9);
        offset.setLastUpdateTimestamp(1700000000000L);
        HashMap<MessageQueue, TopicOffset> offsets = new HashMap<>();
        offsets.put(new MessageQueue("TopicTest", "broker-a", 3), offset);
        stats.setOffsetTable(offsets);
        print("body_topic_stats", stats.encode());

        ResetOffsetBody reset = new ResetOffsetBody();
        HashMap<MessageQueue, Long> table = new HashMap<>();
        table.put(new MessageQueue("TopicTest", "broker-a", 3), 5L);
        reset.setOffsetTable(table);
        print("body_reset_offset", reset.encode());

        TopicRouteData route = new TopicRouteData();
        route.setOrderTopicConf("broker-a:4");
        HashMap<Long, String> addresses = new HashMap<>();
        addresses.put(0L, "10.0.0.1:10911");
        addresses.put(1L, "10.0.0.2:10911");
        BrokerData broker = new BrokerData("DefaultCluster", "broker-a", addresses);
        route.setBrokerDatas(Collections.singletonList(broker));
        QueueData queues = new QueueData();
        queues.setBrokerName("broker-a");
        queues.setPerm(6);
        queues.setReadQueueNums(4);
        queues.setWriteQueueNums(4);
        route.setQueueDatas(Collections.singletonList(queues));
        route.setFilterServerTable(new HashMap<>());
        print("body_route", route.encode());

        ClusterInfo cluster = new ClusterInfo();
        HashMap<String, BrokerData> brokers = new HashMap<>();
        brokers.put("broker-a", broker);
        cluster.setBrokerAddrTable(brokers);
        HashMap<String, java.util.Set<String>> clusters = new HashMap<>();
        clusters.put("DefaultCluster", new HashSet<>(Collections.singletonList("broker-a")));
        cluster.setClusterAddrTable(clusters);
        print("body_cluster", cluster.encode());
    }

    static void print(String name, byte[] bytes) {
        StringBuilder line = new StringBuilder(name).append(' ');
        for (byte b : bytes) {
            line.append(String.format("%02x", b));
        }
        System.out.println(line);
    }
}
