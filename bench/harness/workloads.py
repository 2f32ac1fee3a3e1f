"""The loads that every contender is put under."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Workload:
    name: str
    what: str
    size: int = 1024
    producers: int = 4
    # Sends under way at each producer. A send is one message, or one batch.
    in_flight: int = 64
    batch: int = 1
    # Of the topic, at each group of brokers.
    queues: int = 8
    # More than none: read what was written before, instead of writing.
    consumers: int = 0

    @property
    def reads(self):
        return self.consumers > 0

    @property
    def messages_in_flight(self):
        return self.producers * self.in_flight * self.batch


_ALL = [
    Workload("1k", "1 KiB, 4 producers, 64 sends in flight each"),
    Workload("batch32", "1 KiB, 32 messages a send, 4 producers, 8 sends in flight each", in_flight=8, batch=32),
    Workload("one", "1 KiB, one producer, one send in flight", producers=1, in_flight=1),
    Workload("100b", "100 B, 4 producers, 64 sends in flight each", size=100),
    Workload("16k", "16 KiB, 4 producers, 64 sends in flight each", size=16 << 10),
    # Four in flight: 64 would be 256 MiB under way, a test of queues and not of the brokers.
    Workload("1m", "1 MiB, 4 producers, 4 sends in flight each", size=1 << 20, in_flight=4),
    Workload("consume", "a backlog of 1 KiB messages, read cold by 4 consumers", consumers=4),
]

WORKLOADS = {workload.name: workload for workload in _ALL}


def backlog_writer(workload):
    """The load that writes what `workload` will read: batches, to be done soon."""
    return replace(WORKLOADS["batch32"], size=workload.size)
