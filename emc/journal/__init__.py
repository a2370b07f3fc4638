"""The journal: one line of JSON a verdict or record, appended under a lock and synced before it counts."""

from emc.journal.checking import Check, Contradiction, check
from emc.journal.compaction import Compaction, compact
from emc.journal.journal import Journal
from emc.journal.lines import KINDS, SCHEMA, read
from emc.journal.live import Running, last_verdicts, running, side_folder

__all__ = [
    "KINDS",
    "SCHEMA",
    "Check",
    "Compaction",
    "Contradiction",
    "Journal",
    "Running",
    "check",
    "compact",
    "last_verdicts",
    "read",
    "running",
    "side_folder",
]
