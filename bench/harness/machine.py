"""The machine that a measurement is of, and putting it at rest before one."""

import os
import platform
import subprocess


def describe(repository):
    return {
        "kernel": platform.release(),
        "arch": platform.machine(),
        "cpu": _first("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "commit": _git(repository, "rev-parse", "HEAD"),
        # Changes below bench/ and docs/ are not in the binary.
        "changed": bool(_git(repository, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench", ":!docs")),
    }


def load_average():
    return os.getloadavg()[0]


def settle():
    """Writes what is dirty, so that nobody pays for what another one left."""
    os.sync()


def drop_caches():
    """Empties the page cache, so that reads come from the disk; says whether it may."""
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3\n")
        return True
    except OSError:
        return False


def file_system(path):
    """The type of the file system that `path` is on."""
    best = ("", "unknown")
    with open("/proc/mounts") as mounts:
        for line in mounts:
            _, point, kind = line.split()[:3]
            inside = os.path.realpath(path).startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best[0]):
                best = (point, kind)
    return best[1]


def _first(path, name):
    with open(path) as file:
        for line in file:
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return "unknown"


def _git(repository, *argv):
    return subprocess.run(["git", "-C", repository, *argv], capture_output=True, text=True).stdout.strip()
