package trireme.compat;

import java.time.Duration;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * The cluster as an administrator's tools see it. One per process.
 *
 * <p>Several types of the admin API moved between packages from 4.x to 5.x; {@code var} keeps these sources common to both.
 */
final class Cluster implements AutoCloseable {
    /** Brokers that suites start for themselves are named so; no other suite counts on them. */
    static final String TEMPORARY = "compat-";

    /** A real broker's registrations may overtake one another; its next round, 30 s later, puts the route right. */
    private static final Duration ROUTE = Duration.ofSeconds(45);

    final DefaultMQAdminExt admin;

    Cluster(String namesrv, String name) throws Exception {
        admin = new DefaultMQAdminExt(10_000);
        admin.setNamesrvAddr(namesrv);
        admin.setInstanceName(name);
        admin.setAdminExtGroup(name);
        admin.start();
    }

    /** The address of the broker group's master, null if the name server lists none. */
    String master(String brokerName) throws Exception {
        var broker = admin.examineBrokerClusterInfo().getBrokerAddrTable().get(brokerName);
        return broker == null ? null : broker.getBrokerAddrs().get(0L);
    }

    /** The address of each broker group's master, by broker name. */
    Map<String, String> masters() throws Exception {
        Map<String, String> masters = new TreeMap<>();
        for (var broker : admin.examineBrokerClusterInfo().getBrokerAddrTable().values()) {
            String master = broker.getBrokerAddrs().get(0L);
            if (master != null && !broker.getBrokerName().startsWith(TEMPORARY)) {
                masters.put(broker.getBrokerName(), master);
            }
        }
        return masters;
    }

    /** Fails unless the name server lists a master soon. */
    void awaitMaster() throws InterruptedException {
        Check.eventually("a master listed by the name server", Check.SOON, () -> !masters().isEmpty());
    }

    /** Creates or changes the topic on every master, and waits until the name server routes it so. */
    void createTopic(String topic, int queues) throws Exception {
        Map<String, String> masters = masters();
        for (String master : masters.values()) {
            admin.createAndUpdateTopicConfig(master, new TopicConfig(topic, queues, queues, 6));
        }
        Check.eventually("a route to " + topic, ROUTE, () -> queuesByBroker(topic).equals(sameForAll(masters, queues)));
    }

    /** The number of queues that the name server lists for each broker of the topic; fails where it is not both readable and writable. */
    Map<String, Integer> queuesByBroker(String topic) throws Exception {
        Map<String, Integer> queues = new TreeMap<>();
        for (var data : admin.examineTopicRouteInfo(topic).getQueueDatas()) {
            Check.equal(data.getReadQueueNums(), data.getWriteQueueNums(), topic + ": read and write queues of " + data.getBrokerName());
            Check.equal(6, data.getPerm(), topic + ": permissions on " + data.getBrokerName());
            queues.put(data.getBrokerName(), data.getReadQueueNums());
        }
        return queues;
    }

    private static Map<String, Integer> sameForAll(Map<String, String> masters, int queues) {
        Map<String, Integer> expected = new TreeMap<>();
        masters.keySet().forEach(name -> expected.put(name, queues));
        return expected;
    }

    @Override
    public void close() {
        admin.shutdown();
    }
}
