"""Datasets converted to shards: parquet files that are read at random, streamed and verified."""
