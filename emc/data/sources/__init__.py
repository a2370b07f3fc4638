"""One source, or one family of sources, a file; each registers itself with `emc.data.DATA` when imported."""
