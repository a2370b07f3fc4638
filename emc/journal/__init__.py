"""The journal: one line of JSON a verdict or record, appended under a lock and synced before it counts."""

from emc.journal.journal import Journal
from emc.journal.lines import KINDS, SCHEMA, read
from emc.journal.running import Running, running, side_folder

__all__ = ["KINDS", "SCHEMA", "Journal", "Running", "read", "running", "side_folder"]
