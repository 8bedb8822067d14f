"""Measured speed, paired in one process with the usual way: ``python -m structpred.experiments.benchmarks.NAME``.

Without a name all are run. One that needs a peer or data that are not here says so in a sentence and exits with 77.
"""
