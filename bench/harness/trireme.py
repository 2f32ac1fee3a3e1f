"""Trireme: a name server and a group of three replicas, each a process of its own."""

import datetime
import os
import subprocess

from . import procs, remoting
from .contender import REPOSITORY, Contender, Server
from .procs import Skipped
from .ports import free_block

BINARY = os.path.join(REPOSITORY, "target", "release", "trireme")


def bench_command(namesrv_port, workload, seconds, warmup, topic=None):
    """`trireme bench`, which speaks RocketMQ's protocol: the load generator for Trireme and for RocketMQ."""
    argv = [BINARY, "bench", "--json", "--namesrv", f"127.0.0.1:{namesrv_port}"]
    argv += ["--seconds", str(seconds), "--warmup", str(warmup)]
    # Longer than any pause: a slow answer is a latency, not an error.
    argv += ["--send-timeout", "30000"]
    if topic:
        argv += ["--topic", topic]
    if workload.reads:
        return argv + ["--producers", "0", "--consumers", str(workload.consumers)]
    return argv + [
        "--size", str(workload.size),
        "--queues", str(workload.queues),
        "--batch", str(workload.batch),
        "--producers", str(workload.producers),
        # One for each producer.
        "--connections", str(workload.producers),
        "--in-flight", str(workload.in_flight),
    ]  # fmt: skip


class Trireme(Contender):
    name = "trireme"
    acknowledged = "on the disks of two of three (fdatasync)"

    def prepare(self):
        if not os.access(BINARY, os.X_OK):
            raise Skipped("no target/release/trireme: cargo build --release")

    # Groups of brokers: three replicas each.
    groups = 1
    # Of the brokers, if it is not that of the load generator.
    binary = None

    def start(self, directory):
        self.namesrv_port = free_block([0])
        offsets = [10 * replica for replica in range(3 * self.groups)]
        self.port = free_block([offset + above for offset in offsets for above in (0, 5)])
        self.argv = [self.binary or BINARY, "dev", "--dir", directory]
        self.argv += ["--namesrv-port", str(self.namesrv_port), "--port", str(self.port)]
        # RocketMQ's size, and the default of `trireme broker`; `trireme dev` has a developer's disk in mind.
        self.argv += ["--segment-bytes", str(1 << 30)]
        if self.groups > 1:
            self.argv += ["--groups", str(self.groups)]
        process = self.processes["dev"] = procs.start(
            self.argv, os.path.join(directory, "dev.out"), stdin=subprocess.PIPE
        )
        procs.wait_for_line(process, "ready: every group has a leader", 60)

    def servers(self, load_pid):
        master = remoting.master_port(self.namesrv_port)
        found = []
        # The parent, which has the name server in it and draws the screen, is no broker.
        for pid in procs.children(self.processes["dev"].pid):
            argv = procs.command_line(pid)
            node = int(argv[argv.index("--node") + 1])
            # Of several groups, nobody is said to lead.
            leads = self.groups == 1 and self.port + 10 * (node - 1) == master
            found.append(Server(pid, leads))
        return found

    def order(self, word):
        """What a developer types: k kills the leader, f freezes it, t lets it go on."""
        self.processes["dev"].stdin.write(word.encode() + b"\n")
        self.processes["dev"].stdin.flush()

    def load(self, workload, seconds, warmup, topic=None):
        return bench_command(self.namesrv_port, workload, seconds, warmup, topic)

    def settings(self):
        # The commit on record is the tree's; the binary may be older.
        built = datetime.datetime.fromtimestamp(os.stat(BINARY).st_mtime, datetime.timezone.utc)
        return {"servers": self.argv, "built": built.isoformat(timespec="seconds")}
