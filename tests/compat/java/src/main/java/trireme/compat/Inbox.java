package trireme.compat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import org.apache.rocketmq.common.message.MessageExt;

/** Everything that listeners were handed, in the order they were handed it; wakes who waits for it. */
final class Inbox {
    /** One hand-over: {@code number} is the body's, checked on arrival. */
    record Delivery(String consumer, long number, MessageExt message) {
    }

    private final List<Delivery> deliveries = new ArrayList<>();
    private AssertionError damaged;

    /** Records the message and returns its number; a damaged body is kept as a failure for who waits. */
    synchronized long add(String consumer, MessageExt message) {
        try {
            long number = Body.number(message.getBody());
            deliveries.add(new Delivery(consumer, number, message));
            return number;
        } catch (AssertionError error) {
            damaged = error;
            throw error;
        } finally {
            notifyAll();
        }
    }

    synchronized List<Delivery> all() {
        return List.copyOf(deliveries);
    }

    /** What was delivered to one consumer. */
    List<Delivery> of(String consumer) {
        return all().stream().filter(delivery -> delivery.consumer().equals(consumer)).toList();
    }

    /** Waits until every number has arrived at least once. */
    void awaitAll(Collection<Long> numbers, Duration limit) throws InterruptedException {
        awaitAll(numbers, limit, delivery -> true);
    }

    /** Waits until every number has arrived in a delivery of the kind asked for. */
    synchronized void awaitAll(Collection<Long> numbers, Duration limit, Predicate<Delivery> kind) throws InterruptedException {
        Set<Long> missing = new HashSet<>(numbers);
        int seen = 0;
        long deadline = System.nanoTime() + limit.toNanos();
        while (true) {
            if (damaged != null) {
                throw damaged;
            }
            for (; seen < deliveries.size(); seen++) {
                if (kind.test(deliveries.get(seen))) {
                    missing.remove(deliveries.get(seen).number());
                }
            }
            if (missing.isEmpty()) {
                return;
            }
            long leftMs = (deadline - System.nanoTime()) / 1_000_000;
            Check.that(leftMs > 0, "%d of %d messages did not arrive within %d s, among them %s", missing.size(), numbers.size(),
                limit.toSeconds(), new TreeSet<>(missing).stream().limit(5).toList());
            wait(leftMs);
        }
    }

    /** Fails unless exactly these numbers have arrived, each once. */
    void exactlyOnce(Collection<Long> numbers) {
        List<Long> arrived = all().stream().map(Delivery::number).sorted().toList();
        Check.equal(numbers.stream().sorted().toList(), arrived, "messages delivered");
    }
}
