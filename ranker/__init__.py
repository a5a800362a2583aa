"""Seeds and context in, an ordered list with reasons out: pure functions over numpy arrays.

Where a rule stands:

- `gates`: what does not come, and which seed opens a gate to its like;
- `terms`, `motion`, `taste`: what a score is made of, term by term; `settings`: their weights;
- `query`: what of seeds and session they compare with;
- `spacing`: artists, albums and twins in the order; `rank`: one step after the other;
- `search`: which rows of a large library are scored; a term that moves many counts there too;
- `reasons`, `labels`: what is told of a term;
- `words`: what answers words; `wishes`, `phrasing`, `lexicon`: what they mean.
"""
