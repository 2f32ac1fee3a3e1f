"""Apache RocketMQ from Maven Central: three DLedger replicas, or one master alone."""

import os
import shutil

from . import procs, remoting
from .contender import REPOSITORY, Contender, Server
from .ports import free_block
from .procs import Skipped
from .trireme import bench_command

LAUNCHER = os.path.join(REPOSITORY, "tests", "compat", "rocketmq", "run.sh")

# The launcher's own settings keep tests small. These are RocketMQ's defaults again, in both spellings (4.x and 5.x) ...
DEFAULTS = {
    "mapedFileSizeCommitLog": 1 << 30,
    "mappedFileSizeCommitLog": 1 << 30,
    "mapedFileSizeConsumeQueue": 300_000 * 20,
    "mappedFileSizeConsumeQueue": 300_000 * 20,
    "maxHashSlotNum": 5_000_000,
    "maxIndexNum": 5_000_000 * 4,
}
# ... and these keep it from refusing what it cannot take at once: 200 ms and 1 s would answer a full queue with "busy".
PATIENCE = {"waitTimeMillsInSendQueue": 5000, "osPageCacheBusyTimeOutMills": 5000}
HEAP = "-Xms1g -Xmx1g"


class RocketMq(Contender):
    replicas = 1
    flags = []
    properties = {}

    def prepare(self):
        for tool in ("java", "mvn"):
            if not shutil.which(tool):
                raise Skipped(f"no {tool}")

    def start(self, directory):
        self.directory = directory
        self.namesrv_port = free_block([0])
        above = (-2, 0, 1, 5)
        self.port = free_block([10 * replica + offset for replica in range(3) for offset in above])
        self.argv = [LAUNCHER, "--version", self.version(), "--data", directory]
        self.argv += ["--namesrv-port", str(self.namesrv_port), "--broker-port", str(self.port), "--heap", HEAP]
        self.argv += self.flags
        for name, value in {**DEFAULTS, **PATIENCE, **self.properties}.items():
            self.argv += ["--set", f"{name}={value}"]
        process = self.processes["launcher"] = procs.start(self.argv, os.path.join(directory, "run.out"))
        # The first start fetches the release.
        procs.wait_for_line(process, "ready version=", 600)

    def version(self):
        return self.options.rocketmq_version

    def servers(self, load_pid):
        master = remoting.master_port(self.namesrv_port)
        found = []
        for replica in range(self.replicas):
            with open(os.path.join(self.directory, f"broker-{replica}.pid")) as file:
                found.append(Server(int(file.read()), leads=self.port + 10 * replica == master))
        return found

    def load(self, workload, seconds, warmup, topic=None):
        return bench_command(self.namesrv_port, workload, seconds, warmup, topic)

    def settings(self):
        return {"servers": self.argv, "version": self.version()}


class DLedger(RocketMq):
    name = "rocketmq-dledger"
    acknowledged = "in the page cache of two of three; synced every 10 ms or so"
    replicas = 3
    flags = ["--dledger"]


class DLedger4(DLedger):
    name = "rocketmq4-dledger"

    def version(self):
        return "4.9.7"


class Single(RocketMq):
    name = "rocketmq-single"
    acknowledged = "in the page cache of one machine, no replica; synced every 500 ms"
    properties = {"brokerRole": "ASYNC_MASTER", "flushDiskType": "ASYNC_FLUSH"}


class SingleSync(RocketMq):
    name = "rocketmq-single-sync"
    acknowledged = "on the disk of one machine, no replica"
    properties = {"brokerRole": "ASYNC_MASTER", "flushDiskType": "SYNC_FLUSH"}
