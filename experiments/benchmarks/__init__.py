"""Measured speed, paired in one process with the usual way: ``python -m structpred.experiments.benchmarks.NAME``."""
