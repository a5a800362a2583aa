"""Benchmarks: each module prints a table; they are not timed tests. `make bench` runs them all."""
