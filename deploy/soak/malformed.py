"""Requests that no server should take, made of good ones by hypothesis, and the status that each must get."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from neurips16.clients.protocol.messages import DTYPES, ModelConfig, SequenceStep, infer

Request = service_pb2.ModelInferRequest
Draw = Callable[[st.SearchStrategy[Any]], Any]
Change = Callable[[Draw, Request, "Sample"], None]

OK = "OK"
INVALID, ABSENT, UNREADABLE = (
    grpc.StatusCode.INVALID_ARGUMENT.name,
    grpc.StatusCode.NOT_FOUND.name,
    grpc.StatusCode.INTERNAL.name,
)
LARGEST = 2**63 - 1  # of a length in the protocol
BATCH_BITS = 2**32  # of a batch's size Triton keeps the remainder


@dataclass(frozen=True)
class Sample:
    """A good request to one model."""

    model: str
    config: ModelConfig
    inputs: dict[str, Any]
    wrong: Callable[[dict[str, Any]], str]  # what is wrong with an answer, if anything
    stateful: bool = False

    @property
    def sequence(self) -> SequenceStep | None:
        """A new sequence of one step, for a model that keeps state."""
        return SequenceStep(secrets.randbits(62) + 1, start=True, end=True) if self.stateful else None

    def request(self) -> Request:
        """The request's message."""
        return infer(self.model, self.inputs, sequence=self.sequence).request


@dataclass(frozen=True)
class Kind:
    """One way to be malformed."""

    change: Change
    codes: frozenset[str] = frozenset({INVALID})
    fits: Callable[[Sample], bool] = lambda sample: True


@dataclass(frozen=True)
class Malformed:
    """One request, as its bytes are sent."""

    kind: str
    sample: Sample
    message: bytes
    codes: frozenset[str]  # one of these it must get

    def __str__(self) -> str:
        try:
            request = Request.FromString(self.message)
        except ValueError:  # cut through
            return f"{self.kind}: {len(self.message)} bytes of a request to {self.sample.model}"
        tensors = ", ".join(f"{t.name!r} {t.datatype} {list(t.shape)}" for t in request.inputs)
        raw = [len(content) for content in request.raw_input_contents]
        return f"{self.kind}: {request.model_name!r} version {request.model_version!r}, {tensors}; raw bytes {raw}"


@st.composite
def malformed(draw: Draw, samples: Sequence[Sample]) -> Malformed:
    """A malformed request of any kind to any of the models."""
    sample = draw(st.sampled_from(samples))
    name = draw(st.sampled_from(sorted(name for name, kind in KINDS.items() if kind.fits(sample))))
    request = sample.request()
    KINDS[name].change(draw, request, sample)
    message = request.SerializeToString()
    if name == "the message is cut off":
        message = message[: draw(st.integers(1, len(message) - 1))]
    return Malformed(name, sample, message, KINDS[name].codes)


def overflowing(sample: Sample) -> bytes | None:
    """A request one of whose inputs has, by its shape, a multiple of 2^64 bytes: none, where 64 bits count them.

    None where no lengths of the free axes do so.
    """
    request = sample.request()
    place = max(range(len(request.inputs)), key=lambda place: len(_free(sample, place)))
    free, tensor = _free(sample, place), request.inputs[place]
    if tensor.datatype == "BYTES":  # Triton counts the texts themselves
        return None
    batched = sample.config.max_batch_size > 0
    fixed = math.prod(length for axis, length in enumerate(tensor.shape) if axis >= batched and axis not in free)
    needed = 64 - _twos(fixed * DTYPES[tensor.datatype][0].itemsize)
    for axis in free:
        share = min(62, needed)
        tensor.shape[axis], needed = 2**share, needed - share
    batch = 2**needed
    if batch > max(1, sample.config.max_batch_size):
        return None
    for other_place, other in enumerate(request.inputs):
        if batched:
            other.shape[0] = batch
        if other_place != place:
            _fill(request, other_place)
    request.raw_input_contents[place] = b""
    return request.SerializeToString()


def _twos(number: int) -> int:
    """How often 2 divides a number."""
    return (number & -number).bit_length() - 1


def _free(sample: Sample, place: int) -> list[int]:
    """The free axes of an input beside the batch's."""
    first = 1 if sample.config.max_batch_size else 0
    return [axis for axis, length in enumerate(sample.config.inputs[place].dims, start=first) if length < 0]


def _any_free(sample: Sample) -> bool:
    return any(_free(sample, place) for place in range(len(sample.config.inputs)))


def _any_fixed(sample: Sample) -> bool:
    return any(length > 0 for tensor in sample.config.inputs for length in tensor.dims)


def _fill(request: Request, place: int) -> None:
    """Give an input as many bytes as its shape and type say."""
    tensor = request.inputs[place]
    size = 4 if tensor.datatype == "BYTES" else DTYPES[tensor.datatype][0].itemsize
    request.raw_input_contents[place] = bytes(size * math.prod(tensor.shape))


def _pick(draw: Draw, request: Request) -> int:
    return draw(st.integers(0, len(request.inputs) - 1))


def _wrong_dtype(draw: Draw, request: Request, sample: Sample) -> None:
    place = _pick(draw, request)
    tensor = request.inputs[place]
    tensor.datatype = draw(st.sampled_from(sorted(set(DTYPES) - {tensor.datatype})))
    _fill(request, place)


def _unknown_dtype(draw: Draw, request: Request, sample: Sample) -> None:
    name = draw(st.one_of(st.sampled_from(["", "fp32", "FP31", "TYPE_FP32"]), st.text(max_size=12)))
    request.inputs[_pick(draw, request)].datatype = name if name not in DTYPES else "FP31"


def _wrong_rank(draw: Draw, request: Request, sample: Sample) -> None:
    place = _pick(draw, request)
    shape = request.inputs[place].shape
    if draw(st.booleans()):
        shape.extend(draw(st.lists(st.integers(1, 2), min_size=1, max_size=5)))
    else:
        del shape[draw(st.integers(0, len(shape) - 1)) :]
    _fill(request, place)


def _wrong_length(draw: Draw, request: Request, sample: Sample) -> None:
    fixed = [
        (place, axis)
        for place, tensor in enumerate(sample.config.inputs)
        for axis in range(len(tensor.dims))
        if tensor.dims[axis] > 0
    ]
    place, axis = draw(st.sampled_from(fixed))
    right = sample.config.inputs[place].dims[axis]
    named = [tensor.name for tensor in request.inputs].index(sample.config.inputs[place].name)
    batch = 1 if sample.config.max_batch_size else 0
    request.inputs[named].shape[axis + batch] = draw(st.integers(1, 2 * right).filter(lambda length: length != right))
    _fill(request, named)


def _large_batch(draw: Draw, request: Request, sample: Sample) -> None:
    batch = sample.config.max_batch_size + draw(st.integers(1, 8))
    for place, tensor in enumerate(request.inputs):
        tensor.shape[0] = batch
        _fill(request, place)


def _unequal_batches(draw: Draw, request: Request, sample: Sample) -> None:
    place = _pick(draw, request)
    request.inputs[place].shape[0] += draw(st.integers(1, 3))
    _fill(request, place)


def _no_batch(draw: Draw, request: Request, sample: Sample) -> None:
    for place, tensor in enumerate(request.inputs):
        tensor.shape[0] = 0
        _fill(request, place)


def _negative_length(draw: Draw, request: Request, sample: Sample) -> None:
    shape = request.inputs[_pick(draw, request)].shape
    axis = draw(st.integers(0, len(shape) - 1))
    shape[axis] = draw(st.integers(-(2**63), -1).filter(lambda length: not _cut_to(length, axis, shape, sample)))


def _huge_length(draw: Draw, request: Request, sample: Sample) -> None:
    """More elements than were sent, but no more bytes than 64 bits count."""
    place = _pick(draw, request)
    shape = request.inputs[place].shape
    axis = draw(st.integers(0, len(shape) - 1))
    others = math.prod(length for at, length in enumerate(shape) if at != axis)
    most = LARGEST // (others * 8)
    lengths = st.integers(shape[axis] + 1, most).filter(lambda length: not _cut_to(length, axis, shape, sample))
    shape[axis] = draw(lengths)


def _wide_batch(draw: Draw, request: Request, sample: Sample) -> None:
    """A batch whose lower 32 bits are those of what was sent, or none."""
    shape = request.inputs[_pick(draw, request)].shape
    shape[0] = draw(st.integers(-(2**31), 2**31 - 1).filter(bool)) * BATCH_BITS + draw(st.sampled_from([0, shape[0]]))


def _cut_to(length: int, axis: int, shape: Sequence[int], sample: Sample) -> bool:
    """Whether it is a case of `_wide_batch`."""
    return _batched(sample) and axis == 0 and length % BATCH_BITS in (0, shape[0])


def _bytes_cut(draw: Draw, request: Request, sample: Sample) -> None:
    place = _pick(draw, request)
    raw = request.raw_input_contents[place]
    request.raw_input_contents[place] = raw[: draw(st.integers(0, len(raw) - 1))]


def _bytes_added(draw: Draw, request: Request, sample: Sample) -> None:
    request.raw_input_contents[_pick(draw, request)] += draw(st.binary(min_size=1, max_size=64))


def _input_missing(draw: Draw, request: Request, sample: Sample) -> None:
    for _ in range(draw(st.integers(1, len(request.inputs)))):
        place = _pick(draw, request)
        del request.inputs[place], request.raw_input_contents[place]


def _input_twice(draw: Draw, request: Request, sample: Sample) -> None:
    place = _pick(draw, request)
    request.inputs.append(request.inputs[place])
    request.raw_input_contents.append(request.raw_input_contents[place])


def _input_renamed(draw: Draw, request: Request, sample: Sample) -> None:
    request.inputs[_pick(draw, request)].name = _stranger(draw, {tensor.name for tensor in request.inputs})


def _input_added(draw: Draw, request: Request, sample: Sample) -> None:
    _input_twice(draw, request, sample)
    request.inputs[-1].name = _stranger(draw, {tensor.name for tensor in request.inputs})


def _contents_fewer(draw: Draw, request: Request, sample: Sample) -> None:
    del request.raw_input_contents[draw(st.integers(0, len(request.inputs) - 1)) :]


def _contents_more(draw: Draw, request: Request, sample: Sample) -> None:
    request.raw_input_contents.extend(draw(st.lists(st.binary(max_size=8), min_size=1, max_size=3)))


def _contents_twice(draw: Draw, request: Request, sample: Sample) -> None:
    contents = request.inputs[_pick(draw, request)].contents
    draw(st.sampled_from([contents.fp32_contents, contents.int64_contents, contents.uint_contents])).append(1)


def _contents_typed_wrong(draw: Draw, request: Request, sample: Sample) -> None:
    """Typed contents in a field of another type, or too many of them."""
    del request.raw_input_contents[:]
    for tensor in request.inputs:
        right = DTYPES[tensor.datatype][1]
        fields = ["fp32_contents", "int64_contents", "uint_contents", "int_contents", "fp64_contents"]
        chosen = draw(st.sampled_from([field for field in fields if field != right]))
        getattr(tensor.contents, chosen).extend([1] * draw(st.integers(1, 8)))


def _unknown_output(draw: Draw, request: Request, sample: Sample) -> None:
    request.outputs.add(name=_stranger(draw, {tensor.name for tensor in sample.config.outputs}))


def _unknown_model(draw: Draw, request: Request, sample: Sample) -> None:
    request.model_name = _stranger(draw, {sample.model}) + "?"


def _unknown_version(draw: Draw, request: Request, sample: Sample) -> None:
    request.model_version = str(draw(st.integers(1_000, 2**62)))


def _no_version(draw: Draw, request: Request, sample: Sample) -> None:
    request.model_version = draw(
        st.one_of(st.sampled_from(["x", "-1", "--", "9" * 30]), st.text("abc.-/ ", min_size=1))
    )


def _unknown_region(draw: Draw, request: Request, sample: Sample) -> None:
    """An input in shared memory that nobody has registered."""
    place = _pick(draw, request)
    parameters = request.inputs[place].parameters
    parameters["shared_memory_region"].string_param = draw(st.text(max_size=20))
    parameters["shared_memory_byte_size"].int64_param = draw(st.integers(0, LARGEST))
    parameters["shared_memory_offset"].int64_param = draw(st.integers(0, LARGEST))
    del request.raw_input_contents[place]


def _not_finite(draw: Draw, request: Request, sample: Sample) -> None:
    place = _float_places(sample)[0]
    dtype = DTYPES[request.inputs[place].datatype][0]
    count = len(request.raw_input_contents[place]) // dtype.itemsize
    values = bytearray(request.raw_input_contents[place])
    for at in draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=8)):
        odd = dtype.type(draw(st.sampled_from([math.nan, math.inf, -math.inf]))).tobytes()
        values[at * dtype.itemsize : (at + 1) * dtype.itemsize] = odd
    request.raw_input_contents[place] = bytes(values)


def _float_places(sample: Sample) -> list[int]:
    return [place for place, tensor in enumerate(sample.request().inputs) if tensor.datatype in ("FP32", "FP64")]


def _nothing(draw: Draw, request: Request, sample: Sample) -> None:
    """Axes without length: some models can take that."""
    place = draw(st.sampled_from([i for i in range(len(sample.config.inputs)) if _free(sample, i)]))
    names = [tensor.name for tensor in request.inputs]
    named = names.index(sample.config.inputs[place].name)
    request.inputs[named].shape[draw(st.sampled_from(_free(sample, place)))] = 0
    _fill(request, named)


def _unchanged(draw: Draw, request: Request, sample: Sample) -> None:
    """What is sent of it is not all."""


def _stranger(draw: Draw, known: set[str]) -> str:
    """A name that is none of the known."""
    return draw(
        st.one_of(st.text(max_size=30), st.sampled_from(["", "../x", "x" * 5000, "é\x00"])).filter(
            lambda name: name not in known
        )
    )


def _batched(sample: Sample) -> bool:
    return sample.config.max_batch_size > 0


KINDS: dict[str, Kind] = {
    "another dtype": Kind(_wrong_dtype),
    "an unknown dtype": Kind(_unknown_dtype),
    "another rank": Kind(_wrong_rank),
    "another length of a fixed axis": Kind(_wrong_length, fits=_any_fixed),
    "a batch beyond the largest": Kind(_large_batch, fits=_batched),
    "batches that disagree": Kind(_unequal_batches, fits=lambda sample: _batched(sample) and len(sample.inputs) > 1),
    "a batch of none": Kind(_no_batch, fits=_batched),
    "a negative length": Kind(_negative_length),
    "a length beyond what was sent": Kind(_huge_length),
    # What remains of it is answered like a batch of that size, or refused by Triton's core as its own fault.
    "a batch beyond 32 bits": Kind(_wide_batch, frozenset({OK, INVALID, grpc.StatusCode.INTERNAL.name}), fits=_batched),
    "bytes cut off": Kind(_bytes_cut),
    "bytes too many": Kind(_bytes_added),
    "an input missing": Kind(_input_missing),
    "an input twice": Kind(_input_twice),
    "an unknown input in its place": Kind(_input_renamed),
    "an unknown input beside": Kind(_input_added),
    "less contents than inputs": Kind(_contents_fewer),
    "contents both raw and typed": Kind(_contents_twice),
    "typed contents of another type": Kind(_contents_typed_wrong),
    "an unknown output": Kind(_unknown_output),
    "an unknown model": Kind(_unknown_model, frozenset({ABSENT, INVALID})),
    "an unknown version": Kind(_unknown_version, frozenset({ABSENT, INVALID})),
    "a version that is no number": Kind(_no_version),
    "unknown shared memory": Kind(_unknown_region, frozenset({ABSENT, INVALID})),
    # Triton does not look at what is beyond the inputs.
    "more contents than inputs": Kind(_contents_more, frozenset({OK, INVALID})),
    # A number like any other to a server; what comes out is for the clients, who let none in or out.
    "NaN and infinities": Kind(_not_finite, frozenset({OK}), fits=lambda sample: bool(_float_places(sample))),
    "an axis without length": Kind(_nothing, frozenset({OK, INVALID}), fits=_any_free),
    # gRPC itself says INTERNAL for a message that cannot be read; one that ends between two fields can be.
    "the message is cut off": Kind(_unchanged, frozenset({INVALID, ABSENT, UNREADABLE})),
}
