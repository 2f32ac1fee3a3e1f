"""What every contender has: how it is started, who its processes are, and which command puts load on it."""

import os
from dataclasses import dataclass

from . import procs

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Built tools; ignored by git.
CACHE = os.path.join(REPOSITORY, "target", "bench")


@dataclass(frozen=True)
class Server:
    """A server process. `leads`: it takes the writes of clients."""

    pid: int
    leads: bool


class Contender:
    name = ""
    # When a message is acknowledged, in words for the tables.
    acknowledged = ""

    def __init__(self, options):
        self.options = options
        # Started by `start`, by name.
        self.processes = {}

    def prepare(self):
        """Builds or finds what is needed, once. Raises Skipped if it cannot be had."""

    def start(self, directory):
        """Starts all servers with their data below `directory`; returns when they can be used."""

    def servers(self, load_pid):
        """The `Server`s, while the load of process `load_pid` runs."""
        raise NotImplementedError

    def load(self, workload, seconds, warmup, topic=None):
        """The command that puts this load on it and prints what `trireme bench --json` prints; None: there is no such thing."""
        raise NotImplementedError

    def settings(self):
        """The command and the settings that the servers run with, for the record."""
        return {}

    def stop(self):
        """Ends what `start` started, also if it got only half-way."""
        for process in self.processes.values():
            procs.stop(process, 40)
        self.processes = {}
