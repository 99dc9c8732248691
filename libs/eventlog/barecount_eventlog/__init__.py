"""Kafka: one fenced writer a partition, restore, read, publish.

Errors (one tree): EventlogError > AppendFailed, TopicMissing, LogTruncated, LogReplaced, WriterBroken > WriterFenced, CodeFault.
"""

from .appender import Appender
from .continuity import Held, Mark, cluster_of, demand_same_log
from .decider import Asking, Decider, Emit, Gate, Inbound, Refusal, TickOf
from .deriver import Deriver, Transform
from .ending import close, end
from .errors import AppendFailed, CodeFault, EventlogError, LogReplaced, LogTruncated, TopicMissing, WriterBroken, WriterFenced
from .handler import Handler
from .ids import Ids
from .lookback import Lookback
from .proofs import Proof, Prover
from .reader import Batch, Reader, beginning_offsets, committed_offsets, consumer_of, end_offsets, partition_count, read_all, tail
from .record import OutRecord, Recorded, recorded
from .settings import KafkaSettings
from .snapshots import Snapshot, SnapshotStore
from .writer import FencedWriter

__all__ = [
    "AppendFailed",
    "Appender",
    "Asking",
    "Batch",
    "CodeFault",
    "Decider",
    "Deriver",
    "Emit",
    "EventlogError",
    "FencedWriter",
    "Gate",
    "Handler",
    "Held",
    "Ids",
    "Inbound",
    "KafkaSettings",
    "LogReplaced",
    "LogTruncated",
    "Lookback",
    "Mark",
    "OutRecord",
    "Proof",
    "Prover",
    "Reader",
    "Recorded",
    "Refusal",
    "Snapshot",
    "SnapshotStore",
    "TickOf",
    "TopicMissing",
    "Transform",
    "WriterBroken",
    "WriterFenced",
    "beginning_offsets",
    "close",
    "cluster_of",
    "committed_offsets",
    "consumer_of",
    "demand_same_log",
    "end",
    "end_offsets",
    "partition_count",
    "read_all",
    "recorded",
    "tail",
]
