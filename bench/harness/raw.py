"""The raw limit: processes that write, sync and ship the same bytes, and do nothing else (`bench/raw`)."""

import os
import shutil
import subprocess

from . import procs
from .contender import CACHE, REPOSITORY, Contender, Server
from .procs import Skipped

BINARY = os.path.join(CACHE, "raw", "release", "raw")
# What Trireme's log has beside a message's body, in bytes (`trireme dump --segments` tells bytes, `--queues` messages):
# RocketMQ's fixed fields, the topic, the properties, and the message's part of the frame.
OVERHEAD = 215


class Raw(Contender):
    name = "raw"
    acknowledged = "on the disks of two of three (fdatasync)"

    def prepare(self):
        if not shutil.which("cargo"):
            raise Skipped("no cargo")
        argv = ["cargo", "build", "--release", "--manifest-path", os.path.join(REPOSITORY, "bench", "raw", "Cargo.toml")]
        built = subprocess.run([*argv, "--target-dir", os.path.join(CACHE, "raw")], capture_output=True, text=True)
        if built.returncode != 0:
            raise Skipped(f"{' '.join(argv)}: {built.stderr.strip().splitlines()[-1:]}")

    def start(self, directory):
        self.directory = os.path.join(directory, "raw")
        os.mkdir(self.directory)

    def servers(self, load_pid):
        # The source starts the replicas.
        return [Server(pid, leads="leader" in procs.command_line(pid)) for pid in procs.children(load_pid)]

    def load(self, workload, seconds, warmup, topic=None):
        if workload.reads:
            return None
        argv = [BINARY, "run", "--data", self.directory, "--seconds", str(seconds), "--warmup", str(warmup)]
        argv += ["--size", str(workload.size), "--overhead", str(OVERHEAD)]
        if workload.messages_in_flight == 1:
            return argv + ["--one"]
        block = max(self.options.raw_block, workload.size + OVERHEAD)
        return argv + ["--block", str(block), "--window", str(self.options.raw_window)]
