"""Side-chain packers of others and our own on the same files in one run: ``python -m bindrae.benchmark.peers ROOT``."""
