"""Benchmarks: each prints a table with its peers measured in the same run, and keeps it in benchmarks/results."""
