"""The search: a pure state machine over sizes and verdicts. It never sees torch."""
