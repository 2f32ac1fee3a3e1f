"""Free ports."""

import random
import socket

# Below the range from which kernels take the ports of outgoing connections: one of those may take a port between our look
# and the server's bind.
_RANGE = range(20000, 32000)


def free_block(offsets):
    """A port P such that P + offset is free on loopback for each of `offsets`."""
    for _ in range(1000):
        first = random.choice(_RANGE)
        if all(_is_free(first + offset) for offset in offsets):
            return first
    raise RuntimeError("no free ports")


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
