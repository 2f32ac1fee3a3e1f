"""The contenders by name."""

from .nats import Nats, NatsSync
from .raw import Raw
from .rocketmq import DLedger, DLedger4, Single, SingleSync
from .trireme import Trireme

_ALL = [Trireme, DLedger, DLedger4, Single, SingleSync, Nats, NatsSync, Raw]

CONTENDERS = {contender.name: contender for contender in _ALL}
DEFAULT = ["trireme", "rocketmq-dledger", "rocketmq-single", "nats", "nats-sync", "raw"]
