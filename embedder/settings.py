"""The `[embedding]` section."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """Which model hears the music, and with what."""

    model: str = field(
        default="auto",
        metadata={"doc": 'Which model: "auto" is segue-1, or else the best that can run here.'},
    )
    models_dir: str = field(
        default="", metadata={"doc": "Where the weights lie; empty: `models` in the data folder."}
    )
    device: Literal["auto", "cpu", "cuda"] = field(
        default="auto", metadata={"doc": "Where networks run; auto takes CUDA where there is one."}
    )
    engine: Literal["auto", "onnx", "torch"] = field(
        default="auto",
        metadata={"doc": "What runs segue-1 and mn04; auto takes onnxruntime, or torch for CUDA."},
    )
    workers: int = field(
        default=0, metadata={"doc": "How many tracks at once; 0: one per processor core."}
    )

    priority: Literal["low", "normal"] = field(
        default="low",
        metadata={"doc": "low leaves processor and disk to other programs that want them."},
    )
    timeout_s: float = field(
        default=60.0,
        metadata={
            "doc": "A file or a listing of which nothing comes for so long (1…3600 s) is given up."
        },
    )
    most_gone: float = field(
        default=0.5,
        metadata={
            "doc": "The run stops when more than this share "
            "(above 0, to 1) of known tracks is gone."
        },
    )

    keep: int = field(
        default=3,
        metadata={
            "doc": "How many snapshots are kept "
            "(1 or more), to go back to; the one in force is one."
        },
    )
    quiet_s: float = field(
        default=10.0,
        metadata={
            "doc": "embed --watch begins when nothing has changed for so many seconds (to 3600)."
        },
    )
    poll_s: float = field(
        default=900.0,
        metadata={
            "doc": "embed --watch looks at network mounts and servers every "
            "so many seconds (1…86400)."
        },
    )

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ValueError(f"embedding.keep is {self.keep}: set 1 or more")
        if not 0.0 < self.quiet_s <= 3600.0:
            raise ValueError(f"embedding.quiet_s is {self.quiet_s:g}: set above 0 to 3600")
        if not 1.0 <= self.poll_s <= 86_400.0:
            raise ValueError(f"embedding.poll_s is {self.poll_s:g}: set 1 to 86400")
        if not self.model:
            raise ValueError(
                'embedding.model is empty: set "auto" or a name of `segue models list`'
            )
        if self.workers < 0:
            raise ValueError(f"embedding.workers is {self.workers}: set 0 (automatic) or more")
        if not 1.0 <= self.timeout_s <= 3600.0:
            raise ValueError(f"embedding.timeout_s is {self.timeout_s:g}: set 1 to 3600")
        if not 0.0 < self.most_gone <= 1.0:
            raise ValueError(
                f"embedding.most_gone is {self.most_gone:g}: set a share above 0, at most 1"
            )
