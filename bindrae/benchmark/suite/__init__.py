"""Ours against the programs of others, measured in one run: ``python -m bindrae.benchmark.suite`` or ``make bench``."""
