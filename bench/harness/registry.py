"""The contenders by name."""

from .rocketmq import DLedger, DLedger4, Single, SingleSync
from .trireme import Trireme

CONTENDERS = {contender.name: contender for contender in [Trireme, DLedger, DLedger4, Single, SingleSync]}
DEFAULT = ["trireme", "rocketmq-dledger", "rocketmq-single"]
