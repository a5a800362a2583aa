"""Benchmarks: each module prints a table; they are not timed tests. `make bench` runs them all."""

import os

# As in every process of Segue (`cli.main`): threads that wait for each other would be counted too.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
