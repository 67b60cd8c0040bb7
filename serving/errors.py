"""What can go wrong in serving, as exceptions meant for the user.

    ServingError (RuntimeError)         anything below
    ├── UnfitEnvironmentError           what this Python environment lacks to serve at all
    │   ├── MissingTritonError          nvidia-pytriton, or a part of it, is not installed
    │   ├── MissingBackendError         our backend was not built
    │   └── MissingLibraryError         the op library that was named is not there
    ├── SecurityError                   others would get in, or certificates or a token cannot be used
    ├── RepositoryError                 the folder is no model repository, or holds nothing that can be served
    ├── PortTakenError                  another program listens where this server should
    ├── ServerFailedError               the server ended, or did not come up in time
    └── ModelFailedError                the server is up, but models of the repository did not load

``exit_status`` is 2 where what was asked for, or the installation, is at fault, and 1 where it was right but failed.
"""

from __future__ import annotations


class ServingError(RuntimeError):
    """Serving failed; the text says what was found, what was expected and what to do."""

    exit_status = 1


class UnfitEnvironmentError(ServingError):
    """This Python environment cannot serve."""

    exit_status = 2


class MissingTritonError(UnfitEnvironmentError):
    """The Triton binary, or a part of it, is not installed."""


class MissingLibraryError(UnfitEnvironmentError):
    """The op library that was named was not found."""


class MissingBackendError(UnfitEnvironmentError):
    """The backend that serves ONNX models was not built, or a part of it is missing."""


class SecurityError(ServingError):
    """What was asked for would let others in, or the certificates or the token given cannot be used."""

    exit_status = 2


class RepositoryError(ServingError):
    """The folder is no model repository, or holds nothing that can be served."""

    exit_status = 2


class ReleaseError(RepositoryError):
    """The Triton release cannot load a model, or is not known."""


class PortTakenError(ServingError):
    """Another program listens on a port that this server should have."""

    exit_status = 2


class ServerFailedError(ServingError):
    """The server ended by itself, or did not become ready in time."""


class ModelFailedError(ServingError):
    """The server runs, but one or more models did not load."""
