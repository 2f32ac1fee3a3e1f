"""CPU time and memory of processes, from /proc."""

import os

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """User and system time since the process began, of all its threads. None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            # The name in parentheses may contain anything; what follows the last one is fixed.
            fields = file.read().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid):
    """Resident bytes: all, and those that no file backs. Mapped files are page cache: the kernel takes them back at will."""
    wanted = {"VmRSS": "rss", "RssAnon": "rss_anon"}
    found = {}
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name in wanted:
                    found[wanted[name]] = int(value.split()[0]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found
