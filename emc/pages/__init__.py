"""A journal as one page of HTML that needs nothing else: its measurements, curves, comparisons, cost and settings."""
