"""Executors: where probes are trained."""
