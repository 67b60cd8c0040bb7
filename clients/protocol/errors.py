"""Everything that a client raises, and the one place where gRPC's status codes become these errors.

ClientError
├── InvalidInputError (ValueError)   what the caller gave cannot be used
│   ├── InvalidStatementError        empty, or with a character that the model does not know
│   ├── InvalidImageError            a file or an array that is no image that a model can read
│   ├── InvalidAudioError            a sound that cannot be read, or in which there is nothing to hear
│   ├── IndexMismatchError           an index of premises that was made by another build of the models
│   └── IndexDamagedError            an index of premises whose files contradict one another
├── ClientClosedError                the client was used after `close`
├── RequestError                     a request was sent and not answered; `code` is the gRPC status
│   ├── ServerUnavailableError       UNAVAILABLE, after all attempts
│   │   └── TLSRefusedError          one side refuses the other's certificate, or has no TLS
│   ├── DeadlineExceededError        DEADLINE_EXCEEDED
│   ├── ModelNotFoundError           NOT_FOUND: the server has no such model
│   ├── ModelNotReadyError           the server has the model, but not loaded
│   ├── InvalidRequestError          INVALID_ARGUMENT and its like: a wrong name, dtype or shape
│   ├── AccessDeniedError            UNAUTHENTICATED, PERMISSION_DENIED
│   ├── ResourceExhaustedError       RESOURCE_EXHAUSTED: a message over the size limit, a full queue, a quota
│   ├── UnsupportedError             UNIMPLEMENTED: the server does not offer this call
│   └── ServerError                  any other status
├── UnexpectedReplyError             the server answered, but not what its own description promises
├── TaskError                        an installed task cannot be used, or two share a name
├── ScoringError                     a scoring job cannot go on now; what it has done is kept
└── ProverError                      the theorem prover could not be run
    └── ProverMissingError           it is not installed

`exit_status` is what a command ends with: 2 where the user's input is at fault, else 1.
"""

from __future__ import annotations

import grpc


class ClientError(Exception):
    """Base of everything that this package raises for its users."""

    exit_status = 1


class InvalidInputError(ClientError, ValueError):
    """What the caller gave cannot be used."""

    exit_status = 2


class InvalidStatementError(InvalidInputError):
    """A statement is empty, or holds a character that the model does not know."""


class InvalidAudioError(InvalidInputError):
    """A sound cannot be read or decoded, or there is nothing to hear in it."""


class InvalidImageError(InvalidInputError):
    """A file or an array is no image that a model can read."""


class IndexMismatchError(InvalidInputError):
    """The index of premises was made by another build of the models than the server holds."""


class IndexDamagedError(InvalidInputError):
    """The files of an index of premises contradict one another."""


class ClientClosedError(ClientError):
    """The client was used after it had been closed."""


class RequestError(ClientError):
    """A request was sent and not answered."""

    def __init__(self, message: str, *, code: grpc.StatusCode, model: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.model = model


class ServerUnavailableError(RequestError):
    """No server answers, or it says that it cannot now."""


class TLSRefusedError(ServerUnavailableError):
    """A server listens, but there is no connection: one side refuses the other's certificate, or has no TLS."""

    exit_status = 2


class DeadlineExceededError(RequestError):
    """The answer did not come in time."""


class ModelNotFoundError(RequestError):
    """The server has no model of this name."""


class ModelNotReadyError(RequestError):
    """The server has the model in its repository, but not loaded."""


class InvalidRequestError(RequestError):
    """The model does not take these inputs: a name, a dtype or a shape is wrong."""

    exit_status = 2


class AccessDeniedError(RequestError):
    """The server wants other credentials."""


class ResourceExhaustedError(RequestError):
    """A limit of the server or of the channel was reached."""


class UnsupportedError(RequestError):
    """The server does not offer this call."""


class ServerError(RequestError):
    """The server failed."""


class UnexpectedReplyError(ClientError):
    """The server answered, but not what its own description promises."""


class TaskError(ClientError):
    """An installed task cannot be used: its manifest names what is not there, or a name that another task has."""

    exit_status = 2


class ScoringError(ClientError):
    """A scoring job cannot go on now: too many rows failed, or the server is gone. What it has done is kept."""


class ProverError(ClientError):
    """The theorem prover could not be run."""


class ProverMissingError(ProverError):
    """The theorem prover is not installed."""

    exit_status = 2


_BY_CODE: dict[grpc.StatusCode, type[RequestError]] = {
    grpc.StatusCode.UNAVAILABLE: ServerUnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.NOT_FOUND: ModelNotFoundError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.FAILED_PRECONDITION: InvalidRequestError,
    grpc.StatusCode.UNAUTHENTICATED: AccessDeniedError,
    grpc.StatusCode.PERMISSION_DENIED: AccessDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.UNIMPLEMENTED: UnsupportedError,
}

_TEXT: dict[type[RequestError], str] = {
    ServerUnavailableError: "no server answers at {url} ({attempts} in {elapsed_s:.1f} s: {details}); start one with "
    "`neurips16 serve`, or name another with --url HOST:PORT or NEURIPS16_URL",
    DeadlineExceededError: "{what} at {url} was not answered within {elapsed_s:.3g} s; give it more time (Timeout), "
    "or see whether the server is overloaded",
    ModelNotFoundError: "{what} at {url}: {details}",
    InvalidRequestError: "{what} at {url} was refused: {details}",
    AccessDeniedError: "{url} refuses the credentials for {what} ({details}); set headers=, or "
    "NEURIPS16_AUTHORIZATION, which is sent over TLS or to this machine only",
    ResourceExhaustedError: "{what} at {url} ran into a limit: {details}; for messages this side's is "
    "max_message_bytes, or NEURIPS16_MAX_MESSAGE_BYTES",
    UnsupportedError: "{url} does not offer {what}: {details}",
    ServerError: "{what} at {url} failed with {code.name}: {details}",
}


def from_rpc_error(
    error: grpc.RpcError, *, url: str, method: str, model: str, attempts: int, elapsed_s: float
) -> RequestError:
    """The error of ours for a failed call; the caller raises it ``from`` the original."""
    code = error.code() or grpc.StatusCode.UNKNOWN
    kind = _BY_CODE.get(code, ServerError)
    text = _TEXT[kind].format(
        url=url,
        what=f"{method} of model {model!r}" if model else method,
        attempts="1 attempt" if attempts == 1 else f"{attempts} attempts",
        elapsed_s=elapsed_s,
        code=code,
        details=" ".join((error.details() or "no details").split()),
    )
    return kind(text, code=code, model=model)
