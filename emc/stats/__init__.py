"""Statistics of EMC."""
