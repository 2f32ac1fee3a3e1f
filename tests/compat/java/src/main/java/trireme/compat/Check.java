package trireme.compat;

import java.time.Duration;
import java.util.Objects;

/** Assertions, and waits for what nothing announces. Every failure says what was expected of whom. */
final class Check {
    /** How long anything that should happen at once may take on a loaded machine. */
    static final Duration SOON = Duration.ofSeconds(20);

    private static final long POLL_MS = 20;

    private Check() {
    }

    /** A question asked again until it is true; an exception counts as "not yet" and is shown when time runs out. */
    @FunctionalInterface
    interface Condition {
        boolean holds() throws Exception;
    }

    /** Code that must throw. */
    @FunctionalInterface
    interface Action {
        void run() throws Exception;
    }

    static void that(boolean holds, String format, Object... arguments) {
        if (!holds) {
            throw new AssertionError(String.format(format, arguments));
        }
    }

    static void equal(Object expected, Object actual, String what) {
        that(Objects.equals(expected, actual), "%s: expected %s, got %s", what, expected, actual);
    }

    /** Runs {@code action}, which must throw a {@code type}, and returns what it threw. */
    static <T extends Throwable> T throwing(Class<T> type, String what, Action action) throws Exception {
        try {
            action.run();
        } catch (Throwable thrown) {
            if (type.isInstance(thrown)) {
                return type.cast(thrown);
            }
            throw new AssertionError(what + ": expected " + type.getSimpleName() + ", got " + thrown, thrown);
        }
        throw new AssertionError(what + ": expected " + type.getSimpleName() + ", but it succeeded");
    }

    /** Polls until {@code condition} holds; for states of the cluster that no client is told about. */
    static void eventually(String what, Duration limit, Condition condition) throws InterruptedException {
        long deadline = System.nanoTime() + limit.toNanos();
        Exception last = null;
        while (true) {
            try {
                if (condition.holds()) {
                    return;
                }
                last = null;
            } catch (InterruptedException interrupted) {
                throw interrupted;
            } catch (Exception notYet) {
                last = notYet;
            }
            if (System.nanoTime() - deadline > 0) {
                throw new AssertionError(what + ": not within " + limit.toSeconds() + " s" + (last == null ? "" : "; last: " + last), last);
            }
            Thread.sleep(POLL_MS);
        }
    }
}
