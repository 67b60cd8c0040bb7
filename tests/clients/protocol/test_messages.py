import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.grpc import service_pb2

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import InvalidInputError, UnexpectedReplyError

NUMERIC = [dtype for dtype, _ in messages.DTYPES.values() if dtype.kind != "O"]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


def reply_of(name, datatype, shape, raw):
    reply = service_pb2.ModelInferResponse()
    reply.outputs.add(name=name, datatype=datatype, shape=shape)
    reply.raw_output_contents.append(raw)
    return reply


def through(array):
    """An array as the other side would send it back."""
    return messages.decode_answer(reply_of("x", *messages.encode_tensor("x", array)))["x"]


@given(st.sampled_from(NUMERIC).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES)))
def test_numbers_come_back(array):
    back = through(array)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@given(hnp.arrays(np.object_, SHAPES, elements=st.one_of(st.binary(max_size=20), st.text(max_size=20))))
def test_texts_come_back_as_bytes(array):
    back = through(array)
    assert back.shape == array.shape
    assert back.ravel().tolist() == [x.encode() if isinstance(x, str) else x for x in array.ravel()]


def test_order_in_memory_does_not_matter():
    array = np.arange(12, dtype=np.int32).reshape(3, 4)
    np.testing.assert_array_equal(through(array.T), array.T)
    np.testing.assert_array_equal(through(array[:, ::2]), array[:, ::2])
    np.testing.assert_array_equal(through(array.astype(">i4")), array)


def test_lists_and_unicode_arrays_are_taken():
    assert through([[1.5, 2.5]]).tolist() == [[1.5, 2.5]]
    assert through(np.array(["a", "čb"])).tolist() == [b"a", "čb".encode()]


@pytest.mark.parametrize("value", [np.zeros(2, np.complex64), np.zeros(2, "datetime64[s]"), np.zeros(2, np.longdouble)])
def test_dtypes_that_the_protocol_lacks(value):
    with pytest.raises(InvalidInputError, match="'x' has dtype"):
        messages.encode_tensor("x", value)


def test_mixed_objects():
    with pytest.raises(InvalidInputError, match="mixes texts with int"):
        messages.encode_tensor("x", np.array(["a", 1], np.object_))


@pytest.mark.parametrize(
    ("datatype", "field", "values", "dtype"),
    [
        ("INT8", "int_contents", [-3, 4], np.int8),
        ("UINT8", "uint_contents", [3, 200], np.uint8),
        ("INT64", "int64_contents", [-(2**60), 5], np.int64),
        ("UINT64", "uint64_contents", [2**63, 5], np.uint64),
        ("BOOL", "bool_contents", [True, False], np.bool_),
        ("FP32", "fp32_contents", [1.5, -2.0], np.float32),
        ("FP64", "fp64_contents", [1e300, -2.0], np.float64),
        ("BYTES", "bytes_contents", [b"a", b""], np.object_),
    ],
)
def test_servers_that_answer_with_typed_contents(datatype, field, values, dtype):
    reply = service_pb2.ModelInferResponse()
    tensor = reply.outputs.add(name="x", datatype=datatype, shape=[1, 2])
    getattr(tensor.contents, field).extend(values)
    got = messages.decode_answer(reply)["x"]
    assert got.dtype == dtype
    assert got.tolist() == [values]


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "text"),
    [
        ("FP32", [3], b"\0" * 8, "but 2 values"),
        ("FP32", [2], b"\0" * 7, "do not divide"),
        ("FP32", [-1], b"\0" * 4, "but 1 values"),
        ("BF16", [2], b"\0" * 4, "BF16"),
        ("BYTES", [1], b"\x05\0\0\0abc", "beyond the reply"),
    ],
)
def test_replies_that_contradict_themselves(datatype, shape, raw, text):
    with pytest.raises(UnexpectedReplyError, match=text):
        messages.decode_answer(reply_of("x", datatype, shape, raw))


def test_reply_with_too_few_contents():
    reply = reply_of("x", "FP32", [1], b"\0" * 4)
    reply.outputs.add(name="y", datatype="FP32", shape=[1])
    with pytest.raises(UnexpectedReplyError, match="names 2 outputs and carries 1"):
        messages.decode_answer(reply)


def test_request_of_a_sequence():
    rpc = messages.infer("m", {}, sequence=messages.SequenceStep(7, start=True))
    assert rpc.request.parameters["sequence_id"].int64_param == 7
    assert rpc.request.parameters["sequence_start"].bool_param
    assert not rpc.request.parameters["sequence_end"].bool_param
    assert rpc.repeatable
    named = messages.infer("m", {}, sequence=messages.SequenceStep("call-7", end=True))
    assert named.request.parameters["sequence_id"].string_param == "call-7"
    assert named.request.parameters["sequence_end"].bool_param
    assert not named.repeatable
    with pytest.raises(InvalidInputError, match="id"):
        messages.SequenceStep(0)
    assert not messages.infer("m", {}).request.parameters


def test_versions_of_a_model_are_in_their_order():
    reply = service_pb2.RepositoryIndexResponse()
    for name, version in (("b", "10"), ("b", "2"), ("a", "1")):
        reply.models.add(name=name, version=version, state="READY")
    statuses = messages.models().decode(reply)
    assert [(s.name, s.version) for s in statuses] == [("a", "1"), ("b", "2"), ("b", "10")]
