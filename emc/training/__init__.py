"""Trainers: from probes to verdicts."""
