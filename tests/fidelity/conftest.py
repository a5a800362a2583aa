"""How long the long forms are."""

from __future__ import annotations

import os

#: 1: some minutes' worth. `SEGUE_SOAK_SHARE=10 make soak` does ten times as much.
SOAK_SHARE = float(os.environ.get("SEGUE_SOAK_SHARE", "1"))
