"""The models that a scoring job is bound to: what they are is asked once, and every request names their version.

So a job never mixes two versions of a model, whatever the server loads meanwhile, and asks for nothing twice.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from tritonclient.grpc import service_pb2

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import ClientError, UnexpectedReplyError
from neurips16.clients.protocol.messages import ModelConfig, Rpc
from neurips16.clients.protocol.operation import Defer, Each, Emit, Operation

T = TypeVar("T")


@dataclass(frozen=True)
class BoundModel:
    """One version of one model."""

    version: str
    config: ModelConfig

    @property
    def fingerprint(self) -> str:
        """Of what its server tells about it: tensors, labels, rates, the build."""
        config = self.config
        facts = [
            [dataclasses.astuple(t) for t in (*config.inputs, *config.outputs)],
            dict(config.parameters),
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def bind(names: Iterable[str]) -> Operation[dict[str, BoundModel]]:
    """Ask for the newest version of each model.

    Raises:
        RequestError: a model is not there.
    """
    names = list(names)
    configs = yield [messages.model_config(name) for name in names]
    versions = yield [_versions(name) for name in names]
    bound = {}
    for name, config, known in zip(names, configs, versions, strict=True):
        if not known or not all(version.isdecimal() for version in known):
            raise UnexpectedReplyError(f"model {name!r} has versions {known}, expected whole numbers")
        bound[name] = BoundModel(max(known, key=int), config)
    return bound


def pinned(operation: Operation[T], models: Mapping[str, BoundModel]) -> Operation[T]:
    """``operation``, held to these models: it is told what is known of them, and infers with these versions."""
    held: dict[Each, Each] = {}
    step = partial(next, operation)
    while True:
        try:
            asked = step()
        except StopIteration as stop:
            return stop.value
        try:
            if isinstance(asked, Each):
                if asked not in held:
                    held[asked] = Each(_of_version(rpc, models) for rpc in asked.calls)
                answer = yield held[asked]
            elif isinstance(asked, Defer):
                answer = yield Defer(partial(_pinned_later, asked, models))
            elif isinstance(asked, Emit):
                answer = yield asked
            else:
                answer = yield from _pinned_group(asked, models)
        except ClientError as error:
            step = partial(operation.throw, error)
        else:
            step = partial(operation.send, answer)


def _pinned_later(deferred: Defer, models: Mapping[str, BoundModel]) -> Operation[Any]:
    return pinned(deferred.begin(), models)


def _pinned_group(asked: Iterable[Rpc], models: Mapping[str, BoundModel]) -> Operation[list]:
    calls = iter(asked)
    first = next(calls, None)
    group = calls if first is None else chain([first], calls)
    if first is not None and first.method == "ModelConfig":
        return [models[rpc.model].config for rpc in group]
    return (yield (_of_version(rpc, models) for rpc in group))


def _versions(name: str) -> Rpc[list[str]]:
    request = service_pb2.ModelMetadataRequest(name=name)
    return Rpc("ModelMetadata", request, lambda reply: list(reply.versions), model=name)


def _of_version(rpc: Rpc, models: Mapping[str, BoundModel]) -> Rpc:
    rpc.request.model_version = models[rpc.model].version
    return rpc
