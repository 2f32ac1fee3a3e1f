"""One load on one contender: runs the load generator, and watches the servers while it measures."""

import json
import os
import signal
import statistics
import threading

from . import machine, procs, usage
from .procs import Failed
from .workloads import WORKLOADS, backlog_writer

# A reader that has got nothing for so many seconds, after it had got something, has read all.
SILENT_SECONDS = 2
# What a load generator may take beside its time to warm up and to measure: topics are made and deleted, sends time out.
GRACE_SECONDS = 120
# A reader gives up by then; it ends by itself long before.
READ_SECONDS = 600


def measure(contender, workload, seconds, warmup, directory, backlog):
    """Runs `workload` and returns what it came to. Raises Failed; returns None where the contender has no such load."""
    if workload.reads:
        return _read(contender, workload, directory, backlog)
    limit = warmup + seconds + GRACE_SECONDS
    argv = contender.load(workload, seconds, warmup)
    if argv is None:
        return None
    machine.settle()
    return _write(contender, argv, directory, limit)


def run_in(contender, seconds, directory):
    """Load that is not measured: until now nothing of the server is compiled, allocated or in a cache."""
    if seconds > 0:
        _run(contender.load(WORKLOADS["1k"], seconds, 0), directory, None, seconds + GRACE_SECONDS)


def _write(contender, argv, directory, limit):
    load_average = machine.load_average()
    watch = Watch(contender)
    summary, lines = _run(argv, directory, watch, limit)
    if summary is None:
        raise Failed(f"no summary: {procs.tail(os.path.join(directory, 'load.err'))}")
    send = summary["send"]
    return {
        "load": argv,
        "load_average": load_average,
        "messages_per_second": send["messages_per_second"],
        "mib_per_second": send["mib_per_second"],
        "latency": send["latency"],
        "errors": send["errors"],
        "seconds": [line["sent"] for line in lines if line["phase"] == "measured"],
        "late": summary.get("late", 0),
        **watch.result(),
    }


def _read(contender, workload, directory, backlog):
    topic = "bench-backlog"
    argv = contender.load(workload, READ_SECONDS, 0, topic)
    if argv is None:
        return None
    written = 0
    while written < backlog:
        summary, _ = _run(contender.load(backlog_writer(workload), 5, 0, topic), directory, None, GRACE_SECONDS)
        if summary is None or summary["send"]["messages"] == 0:
            raise Failed(f"the backlog was not written: {procs.tail(os.path.join(directory, 'load.err'))}")
        written += summary["send"]["messages"]
    cold = machine.drop_caches()
    load_average = machine.load_average()
    watch = Watch(contender, field="received")
    _, lines = _run(argv, directory, watch, READ_SECONDS, until_silent=True)
    if not any(line["received"] for line in lines):
        raise Failed(f"nothing was received: {procs.tail(os.path.join(directory, 'load.err'))}")
    rate, at_least = _read_rate(lines)
    return {
        "load": argv,
        "load_average": load_average,
        "messages_per_second": rate,
        "at_least": at_least,
        "mib_per_second": rate * workload.size / (1 << 20),
        "backlog": written,
        "cold": cold,
        "seconds": [line["received"] for line in lines],
        **watch.result(),
    }


def _read_rate(lines):
    """Messages per second, and whether it may have been more.

    The first line also has what was read while the consumers still divided the queues, and the last second that got
    anything got less than it could: what lies between is a rate. If hardly anything does, all over the whole time is a
    lower bound, as the reading may have ended early in its last second.
    """
    last = max(index for index, line in enumerate(lines) if line["received"] > 0)
    between = [line["received"] for line in lines[1:last]]
    if len(between) >= 2:
        return statistics.mean(between), False
    before = [0, *(line["at"] for line in lines)]
    messages = sum(line["received"] * (line["at"] - before[index]) for index, line in enumerate(lines))
    return messages / lines[last]["at"], True


def _run(argv, directory, watch, limit, until_silent=False):
    """Runs a load generator; returns its summary, if there is one, and its lines of seconds. After `limit` seconds it is ended."""
    process = procs.start_piped(argv, os.path.join(directory, "load.err"))
    summary, lines = None, []
    watchdog = threading.Timer(limit, process.kill)
    watchdog.start()
    try:
        if until_silent:
            # A reader may be done within its first line.
            watch.begin(process.pid)
        for text in process.stdout:
            line = json.loads(text)
            if line["type"] == "summary":
                summary = line
            elif line["type"] == "second":
                lines.append(line)
                if watch:
                    watch.second(process.pid, line)
                if until_silent and _silent(lines):
                    process.send_signal(signal.SIGINT)
        process.wait()
    finally:
        watchdog.cancel()
        procs.stop(process)
    return summary, lines


def _silent(lines):
    rates = [line["received"] for line in lines]
    return len(rates) > SILENT_SECONDS and any(rates) and not any(rates[-SILENT_SECONDS:])


class Watch:
    """CPU time of the servers between the first and the last measured second, and their memory at its end."""

    def __init__(self, contender, field="sent"):
        self.contender = contender
        self.field = field
        self.servers = None
        # (CPU seconds by process, messages so far), at the begin and at the end of the measured time.
        self.first = self.last = None
        self.messages = 0.0
        self.at = 0.0
        self.memory = {}

    def begin(self, load_pid):
        """From now on CPU time counts. Without this call, from the last line of warming up on."""
        self.find(load_pid)
        self.first = (self._cpu(), self.messages, self.at)

    def find(self, load_pid):
        self.servers = self.contender.servers(load_pid)
        self.load_pid = load_pid

    def second(self, load_pid, line):
        """Takes a line of the load generator, right after it was printed."""
        if self.servers is None:
            self.find(load_pid)
        rate, took = line[self.field], line["at"] - self.at
        self.at = line["at"]
        # Seconds of silence at a reader's end are not its work.
        if line["phase"] == "draining" or (self.field == "received" and rate == 0 and self.messages > 0):
            return
        self.messages += rate * took
        sample = (self._cpu(), self.messages, self.at)
        # The first line ends a second: of warming up, or, if there was none, the first measured one is given away.
        if self.first is None or line["phase"] == "warm_up":
            self.first = sample
        self.last = sample
        self.memory = {server.pid: usage.memory(server.pid) for server in self.servers}

    def _cpu(self):
        pids = [server.pid for server in self.servers] + [self.load_pid]
        return {pid: usage.cpu_seconds(pid) for pid in pids}

    def result(self):
        if self.first is None or self.last[1] <= self.first[1]:
            return {}
        messages = self.last[1] - self.first[1]

        def per_message_us(pids):
            spent = [(self.last[0][pid], self.first[0][pid]) for pid in pids]
            if not spent or any(None in pair for pair in spent):
                return None
            return sum(after - before for after, before in spent) / messages * 1e6

        def memory(field):
            return sum(found.get(field, 0) for found in self.memory.values())

        leaders = [server.pid for server in self.servers if server.leads]
        return {
            "cpu_us_per_message": per_message_us([server.pid for server in self.servers]),
            "leader_cpu_us_per_message": per_message_us(leaders),
            "client_cpu_us_per_message": per_message_us([self.load_pid]),
            "cpu_messages": messages,
            "cpu_seconds_watched": self.last[2] - self.first[2],
            "rss_bytes": memory("rss"),
            "rss_anon_bytes": memory("rss_anon"),
        }
