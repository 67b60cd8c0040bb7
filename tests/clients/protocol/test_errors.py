import inspect

import grpc
import pytest

from neurips16.clients.protocol import errors

OWN = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]


class Failed(grpc.RpcError):
    def __init__(self, code, details):
        self.code = lambda: code
        self.details = lambda: details


def mapped(code, details="said\n so"):
    return errors.from_rpc_error(
        Failed(code, details), url="h:1", method="ModelInfer", model="m", attempts=2, elapsed_s=1.25
    )


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_becomes_one_line_with_its_code(code):
    error = mapped(code)
    assert isinstance(error, errors.RequestError)
    assert error.code is code
    assert error.model == "m"
    assert "\n" not in str(error)
    assert "h:1" in str(error)
    assert mapped(code, None).args


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("UNAVAILABLE", errors.ServerUnavailableError),
        ("DEADLINE_EXCEEDED", errors.DeadlineExceededError),
        ("NOT_FOUND", errors.ModelNotFoundError),
        ("INVALID_ARGUMENT", errors.InvalidRequestError),
        ("UNAUTHENTICATED", errors.AccessDeniedError),
        ("RESOURCE_EXHAUSTED", errors.ResourceExhaustedError),
        ("UNIMPLEMENTED", errors.UnsupportedError),
        ("INTERNAL", errors.ServerError),
        ("UNKNOWN", errors.ServerError),
    ],
)
def test_statuses_and_their_errors(code, kind):
    assert type(mapped(grpc.StatusCode[code])) is kind


@pytest.mark.parametrize("kind", OWN)
def test_every_error_is_drawn_and_has_an_exit_status(kind):
    assert issubclass(kind, errors.ClientError)
    assert f"{kind.__name__} " in errors.__doc__ or kind is errors.ClientError
    assert kind.exit_status in (1, 2)
