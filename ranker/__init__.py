"""Seeds and context in, an ordered list with reasons out: pure functions over numpy arrays."""
