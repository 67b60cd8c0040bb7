"""The exceptions of this package.

    ExportError                     something about an exported model is wrong
    ├── SpecError (ValueError)      a specification contradicts itself, or a file carries none
    │   ├── NotAnOnnxFileError      a file is no ONNX model at all
    │   └── ExternalDataError       an ONNX file reads weights from outside its own folder
    ├── SignatureError              the graph's tensors are not what the specification says
    ├── OperatorError               the graph's own operators are not those that the specification names
    ├── ParityError                 an exported model's answer differs from torch's
    ├── StationError                a module, a file or a server gave no answer
    ├── PublishError                a model could not, or must not, be put into a repository
    ├── SessionError                ONNX Runtime could not make the session that was asked for
    ├── OpError                     an operator of ours is unknown, or its library is not there   (export/ops)
    ├── EvaluationError             a metric was asked for in a way that cannot be measured
    └── UnknownExportError          a system is unknown, or its name is claimed twice

Each text says what was got, what was expected and what to do; a foreign error is kept as ``__cause__``.
"""

from __future__ import annotations


class ExportError(Exception):
    """Something about an exported model is wrong."""

    exit_status = 1


class SpecError(ExportError, ValueError):
    """A specification that contradicts itself or asks for too much, or an ONNX file that carries none."""

    exit_status = 2


class NotAnOnnxFileError(SpecError):
    """A file that is no ONNX model."""


class ExternalDataError(SpecError):
    """An ONNX file that would read weights from a file outside its own folder."""


class SignatureError(ExportError):
    """The graph's inputs and outputs are not what the specification says."""


class OperatorError(ExportError):
    """The graph's own operators are not those that the specification names."""


class ParityError(ExportError):
    """An exported or served model answers differently from torch; the text lists every difference."""


class StationError(ExportError):
    """A module, a file or a server gave no answer."""


class PublishError(ExportError):
    """A model could not, or must not, be put into a repository."""


class SessionError(ExportError):
    """ONNX Runtime could not make the session that was asked for."""


class EvaluationError(ExportError):
    """A metric was asked for in a way that cannot be measured."""

    exit_status = 2


class UnknownExportError(ExportError):
    """A system is unknown, or its name is claimed twice."""

    exit_status = 2
