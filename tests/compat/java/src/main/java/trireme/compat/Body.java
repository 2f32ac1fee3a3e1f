package trireme.compat;

import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * Message bodies that prove themselves: 8 bytes of number, 4 of length, then letters that follow from the number. A body that was
 * cut, mixed with another or changed in one bit is found by whoever receives it.
 */
final class Body {
    /** The smallest body, in bytes. */
    static final int MIN_SIZE = 12;

    private Body() {
    }

    /** The body of {@code number}, {@code size} bytes long; about half as long when compressed. */
    static byte[] of(long number, int size) {
        ByteBuffer body = ByteBuffer.allocate(Math.max(size, MIN_SIZE));
        body.putLong(number).putInt(body.capacity());
        long state = number * 0x9E3779B97F4A7C15L + 1;
        while (body.hasRemaining()) {
            state ^= state << 13;
            state ^= state >>> 7;
            state ^= state << 17;
            body.put((byte) ('a' + (state & 15)));
        }
        return body.array();
    }

    /** The number of a received body; fails unless every byte is as it was sent. */
    static long number(byte[] body) {
        Check.that(body != null && body.length >= MIN_SIZE, "a body of %s bytes arrived", body == null ? "no" : body.length);
        long number = ByteBuffer.wrap(body).getLong();
        Check.that(Arrays.equals(of(number, body.length), body), "the body of message %d (%d bytes) arrived changed", number, body.length);
        return number;
    }
}
