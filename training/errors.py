"""What can go wrong while a model is trained.

TrainingError
├── CorpusError       the folder of music cannot be trained on
└── CheckpointError   a checkpoint cannot be read, or belongs to another recipe
"""


class TrainingError(Exception):
    """The root of all errors of training."""


class CorpusError(TrainingError):
    """The folder of music cannot be trained on."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be read, or belongs to another recipe."""
