"""Malformed requests by the thousand: each is refused as it should be, and the server answers on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

import grpc
import numpy as np
import psutil
from hypothesis import HealthCheck, Phase, given, seed, settings
from soak.findings import Finding
from soak.malformed import INVALID, OK, Malformed, Sample, malformed, overflowing
from soak.memory import MB
from soak.questions import Question
from soak.repository import SLOW, TEXTS
from tritonclient.grpc import service_pb2

from neurips16.clients import Client, Retry
from neurips16.serving import TritonServer

METHOD = "/inference.GRPCInferenceService/ModelInfer"
CALL_S = 60.0
GOOD_EVERY = 20  # malformed requests
ROUNDS = 3


def make_samples(client: Client, questions: Sequence[Question]) -> list[Sample]:
    """A good request to each model: the cheapest question, and one to each model that is made for the soak."""
    cheapest = {question.model: question for question in sorted(questions, key=lambda question: -question.cost_s)}
    samples = [
        Sample(model, client.model_config(model), dict(question.inputs), _mismatch(question), bool(question.later))
        for model, question in cheapest.items()
    ]
    texts = np.array([["é".encode(), b"", b"fof(a, axiom, p)."]], object)
    made = {SLOW: ("steps", "counted", np.array([[3]])), TEXTS: ("text", "same", texts)}
    for model in sorted({status.name for status in client.models()} & made.keys()):
        input_name, output_name, values = made[model]
        samples.append(
            Sample(model, client.model_config(model), {input_name: values}, _inequality(model, output_name, values))
        )
    return samples


def _mismatch(question: Question) -> Callable[[dict[str, np.ndarray]], str]:
    return lambda got: question.match(got)[1]


def _inequality(model: str, output: str, want: np.ndarray) -> Callable[[dict[str, np.ndarray]], str]:
    return lambda got: "" if np.array_equal(got[output], want) else f"{model}: {got[output]}"


class Sender:
    """Sends messages as they are."""

    def __init__(self, url: str):
        self._channel = grpc.insecure_channel(url)
        self._call = self._channel.unary_unary(METHOD, response_deserializer=service_pb2.ModelInferResponse.FromString)

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *error: object) -> None:
        self._channel.close()

    def send(self, message: bytes) -> str:
        """The name of the status that a message gets."""
        try:
            self._call(message, timeout=CALL_S)
        except grpc.RpcError as error:
            return error.code().name
        return OK


def refuse(server: TritonServer, questions: Sequence[Question], count: int, seed_of_draw: int = 0) -> Finding:
    """Send so many malformed requests, a good one after every `GOOD_EVERY`, and one to each model in the end."""
    finding = Finding("malformed requests")
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    process, restarts = psutil.Process(server.pid), server.restarts
    memory_before = process.memory_info().rss
    with Client(server.url, retry=Retry(attempts=1)) as client, Sender(server.url) as sender:
        samples = make_samples(client, questions)
        good = 0

        @seed(seed_of_draw)
        @settings(
            max_examples=count,
            phases=[Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(malformed(samples))
        def put(bad: Malformed) -> None:
            nonlocal good
            code = sender.send(bad.message)
            seen[bad.kind][code] += 1
            if code not in bad.codes and seen[bad.kind][code] == 1:
                finding.failures.append(f"{code} in place of {' or '.join(sorted(bad.codes))} for {bad}")
            if sum(map(Counter.total, seen.values())) % GOOD_EVERY == 0:
                finding.failures += _ask(client, [bad.sample])
                good += 1

        put()
        finding.failures += _ask(client, samples)
    finding.figures["malformed"] = sum(map(Counter.total, seen.values()))
    finding.figures["good_between"] = good
    finding.figures["by_kind"] = {kind: dict(codes) for kind, codes in sorted(seen.items())}
    finding.figures["grown_mb"] = round((process.memory_info().rss - memory_before) / MB, 1)
    finding.expect(server.restarts == restarts, "the server ended by itself")
    return finding


def overflow(server: TritonServer, questions: Sequence[Question], rounds: int = ROUNDS) -> Finding:
    """Shapes whose size overflows 64 bits, which Triton's own check lets pass: refused, and nothing else happens."""
    finding = Finding("shapes that overflow 64 bits")
    codes: Counter[str] = Counter()
    restarts = server.restarts
    with Client(server.url, retry=Retry(attempts=1)) as client, Sender(server.url) as sender:
        samples = make_samples(client, questions)
        fitting = [message for sample in samples if (message := overflowing(sample)) is not None]
        for message in fitting * rounds:
            codes[sender.send(message)] += 1
            finding.failures += _ask(client, samples)
    finding.figures["codes"] = dict(codes)
    finding.expect(set(codes) == {INVALID}, f"{dict(codes)} in place of {INVALID}")
    finding.expect(server.restarts == restarts, "the server ended by itself")
    return finding


def _ask(client: Client, samples: Iterable[Sample]) -> list[str]:
    """What is wrong with the answers to good requests."""
    wrong = (sample.wrong(client.infer(sample.model, sample.inputs, sequence=sample.sequence)) for sample in samples)
    return [f"a good request was answered wrongly: {text}" for text in wrong if text]
