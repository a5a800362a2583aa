"""The `[embedding]` section."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """Which model hears the music, and with what."""

    model: str = field(
        default="auto",
        metadata={"doc": 'Which model: "auto" takes the best whose weights are here.'},
    )
    models_dir: str = field(
        default="", metadata={"doc": "Where the weights lie; empty: `models` in the data folder."}
    )
    device: Literal["auto", "cpu", "cuda"] = field(
        default="auto", metadata={"doc": "Where networks run; auto takes CUDA where there is one."}
    )
    workers: int = field(
        default=0, metadata={"doc": "How many tracks at once; 0: one per processor core."}
    )

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError(
                'embedding.model is empty: set "auto" or a name of `segue models list`'
            )
        if self.workers < 0:
            raise ValueError(f"embedding.workers is {self.workers}: set 0 (automatic) or more")
