"""What `bench/scale` varies: one thing at a time, everything else as under `1k`."""

from dataclasses import dataclass, replace

from .workloads import WORKLOADS

_BASE = WORKLOADS["1k"]
# Under way at all producers together, if each has at least one.
_IN_FLIGHT = _BASE.producers * _BASE.in_flight


@dataclass(frozen=True)
class Step:
    """One bar of a plot, in the panel `group`. `load`: what is not as under `1k`."""

    group: str
    name: str
    load: dict
    groups: int = 1

    @property
    def workload(self):
        return replace(_BASE, name=f"{self.group} {self.name}", what=self.group, **self.load)


def _connections(count):
    in_flight = max(1, _IN_FLIGHT // count)
    return Step("producers", f"{count:,} x {in_flight} in flight", {"producers": count, "in_flight": in_flight})


STEPS = [
    Step("size", "100 B", {"size": 100}),
    Step("size", "1 KiB", {}),
    Step("size", "16 KiB", {"size": 16 << 10}),
    Step("size", "1 MiB, 16 in flight", {"size": 1 << 20, "in_flight": 4}),
    *(Step("queues", f"{count:,}", {"queues": count}) for count in (1, 8, 64, 1024, 10_000)),
    *(_connections(count) for count in (1, 4, 16, 256, 2000)),
    *(Step("groups", f"{count}", {}, groups=count) for count in (1, 2, 3)),
]
