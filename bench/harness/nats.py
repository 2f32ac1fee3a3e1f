"""NATS JetStream: three servers on loopback, and a stream with three replicas on disk."""

import json
import os
import shutil
import subprocess
import time
import urllib.request

from . import procs
from .contender import CACHE, REPOSITORY, Contender, Server
from .ports import free_block
from .procs import Failed, Skipped

# From Go's module proxy: Debian's nats-server is older than `sync_interval`.
VERSION = "v2.15.2"
MODULE = f"github.com/nats-io/nats-server/v2@{VERSION}"
SERVER = os.path.join(CACHE, "bin", "nats-server")
LOAD = os.path.join(CACHE, "nats-bench")

_CONFIG = """\
server_name: {name}
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{http}"
# The default refuses a body of 1 MiB and its subject.
max_payload: 8MB
max_pending: 64MB
jetstream {{
  store_dir: "{store}"
  max_file_store: 100GB
{sync}}}
cluster {{
  name: bench
  listen: "127.0.0.1:{cluster}"
  routes: [{routes}]
}}
"""


class Nats(Contender):
    name = "nats"
    acknowledged = "in the page cache of two of three; synced every 2 minutes"
    sync = ""

    def prepare(self):
        if not shutil.which("go"):
            raise Skipped("no go")
        if VERSION not in _output([SERVER, "--version"]):
            _build(["go", "install", MODULE], {"GOBIN": os.path.dirname(SERVER)})
        _build(["go", "-C", os.path.join(REPOSITORY, "bench", "nats"), "build", "-o", LOAD, "."], {})

    def start(self, directory):
        first = free_block(range(9))
        self.ports = {f"n{number}": first + 3 * number for number in range(3)}
        routes = ", ".join(f'"nats://127.0.0.1:{port + 2}"' for port in self.ports.values())
        for name, port in self.ports.items():
            self.config = _CONFIG.format(
                name=name, port=port, http=port + 1, cluster=port + 2,
                store=os.path.join(directory, name), routes=routes, sync=self.sync,
            )  # fmt: skip
            path = os.path.join(directory, f"{name}.conf")
            with open(path, "w") as file:
                file.write(self.config)
            self.processes[name] = procs.start([SERVER, "-c", path], os.path.join(directory, f"{name}.out"))
        deadline = time.monotonic() + 60
        while not all(self._is_healthy(port) for port in self.ports.values()):
            if time.monotonic() > deadline:
                raise Failed("JetStream is not ready after 60 s")
            time.sleep(0.2)

    def _is_healthy(self, port):
        try:
            return self._ask(port, "/healthz")["status"] == "ok" and self._ask(port, "/jsz")["meta_cluster"]["leader"]
        except (OSError, KeyError):
            return False

    def _ask(self, port, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port + 1}{path}", timeout=5) as answer:
            return json.load(answer)

    def servers(self, load_pid):
        leaders = set()
        found = self._ask(self.ports["n0"], "/jsz?accounts=true&streams=true")
        for account in found.get("account_details", []):
            leaders |= {stream["cluster"]["leader"] for stream in account.get("stream_detail", [])}
        return [Server(process.pid, leads=name in leaders) for name, process in self.processes.items()]

    def load(self, workload, seconds, warmup, topic=None):
        servers = ",".join(f"{name}=nats://127.0.0.1:{port}" for name, port in self.ports.items())
        argv = [LOAD, "-servers", servers, "-seconds", str(seconds), "-warmup", str(warmup)]
        if topic:
            argv += ["-stream", topic]
        if workload.reads:
            return argv + ["-consumers", str(workload.consumers)]
        return argv + [
            "-size", str(workload.size),
            "-producers", str(workload.producers),
            # There is no batch message: as many messages under way as its lanes hold.
            "-in-flight", str(workload.in_flight * workload.batch),
        ]  # fmt: skip

    def settings(self):
        return {"servers": [SERVER, "-c", "FILE"], "version": VERSION, "config": self.config}


class NatsSync(Nats):
    name = "nats-sync"
    acknowledged = "on the disks of two of three (sync_interval: always)"
    sync = "  sync_interval: always\n"


def _output(argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True).stdout
    except OSError:
        return ""


def _build(argv, environment):
    built = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, text=True)
    if built.returncode != 0:
        raise Skipped(f"{' '.join(argv)}: {built.stderr.strip().splitlines()[-1:]}")
