"""What can go wrong while a model is trained.

TrainingError
├── CorpusError       the folder of music, or what was prepared of it, cannot be trained on
├── TeacherError      a teacher that is asked for is not there
└── CheckpointError   a checkpoint cannot be read, or belongs to another recipe
"""


class TrainingError(Exception):
    """The root of all errors of training."""


class CorpusError(TrainingError):
    """The folder of music, or what was prepared of it, cannot be trained on."""


class TeacherError(TrainingError):
    """A teacher that is asked for is not there, or said nothing of the music."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be read, or belongs to another recipe."""


def first_line(error: Exception) -> str:
    """What an error says first, or else what it is."""
    return (str(error) or type(error).__name__).partition("\n")[0]
