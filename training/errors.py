"""Errors of the training package.

TrainingError (Exception)
├── DataError            a folder or a file that is not in the public layout of its data set
├── CheckpointError      a checkpoint that cannot be read, or is of another system
├── InvalidModelError    a model or a network whose numbers a method cannot work with
└── UnknownSystemError   a system or a preset that does not exist
"""


class TrainingError(Exception):
    """The root of all errors that this package raises on purpose."""

    exit_status = 1


class DataError(TrainingError):
    """A folder or a file that is not in the public layout of its data set."""

    exit_status = 2


class CheckpointError(TrainingError):
    """A checkpoint that cannot be read, or that belongs to another system."""

    exit_status = 2


class InvalidModelError(TrainingError):
    """A model or a network whose numbers a method cannot work with."""

    exit_status = 2


class UnknownSystemError(TrainingError):
    """A system or a preset that does not exist."""

    exit_status = 2
