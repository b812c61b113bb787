"""Data: from a folder of complexes to the shards that training reads."""
