"""As much of RocketMQ's protocol as it takes to ask a name server who leads, and a broker how it is."""

import json
import re
import socket
import struct

_RUNTIME_INFO = 28
_CLUSTER_INFO = 106


def master_port(namesrv_port):
    """The port of the broker that is registered as master, or None. The last one that took over, if the old one is gone."""
    body = _ask(namesrv_port, _CLUSTER_INFO)
    # Not JSON: RocketMQ writes the broker ids as bare numbers.
    found = re.search(r'[{,]"?0"?:"[^":]*:(\d+)"', body)
    return int(found.group(1)) if found else None


def runtime_info(port):
    """What a broker says of itself: texts by name."""
    return json.loads(_ask(port, _RUNTIME_INFO))["table"]


def _ask(port, code):
    header = json.dumps({"code": code, "language": "OTHER", "version": 399, "opaque": 1, "flag": 0}).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
        stream.sendall(struct.pack(">II", 4 + len(header), len(header)) + header)
        with stream.makefile("rb") as answer:
            length, header_length = struct.unpack(">II", answer.read(8))
            answer.read(header_length & 0xFFFFFF)
            return answer.read(length - 4 - (header_length & 0xFFFFFF)).decode()
