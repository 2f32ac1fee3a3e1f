"""Processes that we start, and their end: each by its own id, however this program ends."""

import contextlib
import os
import signal
import subprocess
import time


class Failed(Exception):
    """A contender could not be started or measured; the others go on."""


class Skipped(Exception):
    """Something that a contender needs is not on this machine."""


# What runs now. `stop_all` ends it.
_running = []


def start(argv, log, **options):
    """Starts a process whose output goes to the file `log`, beyond the reach of the terminal's Ctrl-C: ours ends it in order."""
    with open(log, "ab") as out:
        options = {"stdin": subprocess.DEVNULL, **options}
        process = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, **options)
    process.log = log
    _running.append(process)
    return process


def start_piped(argv, log):
    """Like `start`, but its standard output is ours to read."""
    with open(log, "ab") as out:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=out, text=True, start_new_session=True
        )
    process.log = log
    _running.append(process)
    return process


def wait_for_line(process, words, seconds):
    """Waits until the log of `process` has a line with these words."""
    deadline = time.monotonic() + seconds
    while True:
        with open(process.log, errors="replace") as log:
            if any(words in line for line in log):
                return
        if process.poll() is not None:
            raise Failed(f"{process.args[0]} ended with {process.returncode} before it was ready: {tail(process.log)}")
        if time.monotonic() > deadline:
            raise Failed(f"{process.args[0]} is not ready after {seconds} s: {tail(process.log)}")
        time.sleep(0.1)


def stop(process, seconds=30):
    """SIGTERM, and SIGKILL for what does not listen; with its children, which it may leave behind when killed."""
    if process.poll() is None:
        family = descendants(process.pid)
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pid, started in family:
            if _started(pid) == started:
                # It may be ending by itself just now.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
    if process in _running:
        _running.remove(process)


def stop_all():
    for process in reversed(list(_running)):
        stop(process)


def descendants(pid):
    """Children, their children and so on, as (id, start time): an id alone may be given out again."""
    found = []
    for child in children(pid):
        found.append((child, _started(child)))
        found.extend(descendants(child))
    return found


def children(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found.extend(int(child) for child in file.read().split())
    except FileNotFoundError:
        pass
    return found


def command_line(pid):
    with open(f"/proc/{pid}/cmdline") as file:
        return file.read().split("\0")[:-1]


def _started(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def tail(path, lines=3):
    try:
        with open(path, errors="replace") as file:
            return " | ".join(line.strip() for line in file.readlines()[-lines:])
    except FileNotFoundError:
        return "no output"
