from __future__ import annotations

import csv
import shutil

import numpy as np
import onnx
import onnx.helper
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from neurips16.training.data.sound_pairs.module import SoundPairsData
from neurips16.training.data.sound_pairs.reader import read_pairs
from neurips16.training.data.sound_pairs.teacher import write_probabilities
from neurips16.training.errors import DataError
from neurips16.training.layers.soundnet_layers import SAMPLE_RATE_HZ


def test_pairs_come_in_order_with_their_segments(sound_pairs):
    pairs = read_pairs(sound_pairs)
    assert [pair.audio.name for pair in pairs] == [f"tone{i}.flac" for i in range(8)]
    for i, pair in enumerate(pairs):
        assert pair.objects.shape == (4, 3)
        assert pair.scenes.shape == (4, 2)
        assert (pair.objects.argmax(1) == i % 2).all()


def test_windows_and_their_segments_go_together(sound_pairs):
    data = SoundPairsData(str(sound_pairs), batch_size=3, validation_every=4)
    (batch,) = list(data.val_dataloader())
    assert batch.waveform.shape == (2, 20 * SAMPLE_RATE_HZ)
    assert batch.objects.shape == (2, 3, 4)
    assert batch.scenes.shape == (2, 2, 4)
    assert len(data.split("train")) == 6
    shorter = SoundPairsData(str(sound_pairs), seconds=10, segments=2, validation_every=0)
    starts = set()
    for _ in range(20):
        for waveform in next(iter(shorter.train_dataloader())).waveform:
            assert len(waveform) == 10 * SAMPLE_RATE_HZ
            starts.add(round(float(waveform.abs().argmax())))  # the place of a click in the sound
    assert len(starts) > 1


def test_labels_belong_to_the_teacher(sound_pairs, tmp_path):
    assert SoundPairsData(str(sound_pairs)).object_labels is None
    folder = shutil.copytree(sound_pairs, tmp_path / "pairs")
    (folder / "objects.txt").write_text("low\nhigh\nnone\n")
    assert SoundPairsData(str(folder)).object_labels == ["low", "high", "none"]
    (folder / "scenes.txt").write_text("inside\n")
    with pytest.raises(DataError, match="names 1 classes, the teacher has 2"):
        SoundPairsData(str(folder)).scene_labels  # noqa: B018


def _change(folder, change):
    rows = pq.read_table(folder / "probabilities.parquet").to_pylist()
    pq.write_table(pa.Table.from_pylist(change(rows)), folder / "probabilities.parquet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [r for r in rows if r["segment"] != 1], "without a gap"),
        (lambda rows: [*rows, rows[0]], "twice"),
        (lambda rows: [r | {"objects": [0.5, 0.2, 0.1]} for r in rows], "no distributions"),
        (lambda rows: [r | {"scenes": [0.5, 0.5][: 1 + r["segment"] % 2]} for r in rows], "one length over 0"),
        (lambda rows: [{"audio": r["audio"]} for r in rows], "columns audio, segment, objects, scenes"),
    ],
)
def test_wrong_tables(sound_pairs, tmp_path, change, message):
    folder = shutil.copytree(sound_pairs, tmp_path / "pairs")
    _change(folder, change)
    with pytest.raises(DataError, match=message):
        read_pairs(folder)


def test_too_little_sound(sound_pairs, tmp_path):
    with pytest.raises(DataError, match="no sound has 5 segments"):
        SoundPairsData(str(sound_pairs), segments=5, seconds=25).pairs  # noqa: B018
    with pytest.raises(DataError, match=r"object_teacher"):
        read_pairs(tmp_path)
    data = SoundPairsData(str(sound_pairs), seconds=40, segments=4, validation_every=0)
    with pytest.raises(DataError, match="s before its last segment does"):
        next(iter(data.train_dataloader()))


def _teacher(path, classes, *, softmax=True, uint8=False):
    """A network that tells dark pictures (class 0) from bright ones (class 1)."""
    helper = onnx.helper
    if uint8:
        value = helper.make_tensor_value_info("picture", onnx.TensorProto.UINT8, ["N", "H", "W", 3])
        before, axes = [helper.make_node("Cast", ["picture"], ["x"], to=onnx.TensorProto.FLOAT)], [1, 2, 3]
    else:
        value = helper.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, ["N", 3, 224, 224])
        before, axes = [helper.make_node("Identity", ["picture"], ["x"])], [1, 2, 3]
    threshold = 128.0 if uint8 else 0.0
    weights = np.array([[-1.0, 1.0] + [0.0] * (classes - 2)], np.float32) * (0.1 if uint8 else 5.0)
    nodes = [
        *before,
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["mean", "threshold"], ["centred"]),
        helper.make_node("Unsqueeze", ["centred", "last"], ["column"]),
        helper.make_node("MatMul", ["column", "weights"], ["logits"]),
        helper.make_node("Softmax" if softmax else "Identity", ["logits"], ["answer"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array(axes, np.int64), "axes"),
        onnx.numpy_helper.from_array(np.float32(threshold), "threshold"),
        onnx.numpy_helper.from_array(np.array([1], np.int64), "last"),
        onnx.numpy_helper.from_array(weights, "weights"),
    ]
    answer = helper.make_tensor_value_info("answer", onnx.TensorProto.FLOAT, ["N", classes])
    graph = helper.make_graph(nodes, "teacher", [value], [answer], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.fixture
def framed(sound_pairs, tmp_path):
    """The sounds with a dark frame for each segment of a low tone, and a bright one for a high tone."""
    folder = shutil.copytree(sound_pairs, tmp_path / "framed", ignore=shutil.ignore_patterns("*.parquet"))
    (folder / "frames").mkdir()
    with (folder / "frames.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["audio", "segment", "frame"])
        for i in range(8):
            for segment in range(4):
                name = f"frames/{i}-{segment}.png"
                Image.new("RGB", (300 + 40 * i, 260), (20 + 200 * (i % 2),) * 3).save(folder / name)
                table.writerow([f"audio/tone{i}.flac", segment, name])
    return folder


def test_teachers_fill_the_table_once(framed, tmp_path):
    teachers = _teacher(tmp_path / "objects.onnx", 3), _teacher(tmp_path / "scenes.onnx", 2, uint8=True)
    data = SoundPairsData(str(framed), object_teacher=str(teachers[0]), scene_teacher=str(teachers[1]))
    assert (data.objects, data.scenes) == (3, 2)
    for i, pair in enumerate(data.pairs):
        assert (pair.objects.argmax(1) == i % 2).all()
        assert (pair.scenes.argmax(1) == i % 2).all()
        np.testing.assert_allclose(pair.objects.sum(1), 1, rtol=1e-5)
    for teacher in teachers:
        teacher.unlink()  # the second time they are not asked
    again = SoundPairsData(str(framed), object_teacher="gone.onnx", scene_teacher="gone.onnx")
    np.testing.assert_array_equal(again.pairs[0].objects, data.pairs[0].objects)


def test_teachers_that_are_none(framed, tmp_path):
    good = _teacher(tmp_path / "good.onnx", 2)
    with pytest.raises(DataError, match="end it with a softmax"):
        write_probabilities(framed, good, _teacher(tmp_path / "logits.onnx", 2, softmax=False))
    assert not (framed / "probabilities.parquet").exists()
    with pytest.raises(DataError, match="is not there"):
        write_probabilities(framed, good, tmp_path / "none.onnx")
    (framed / "frames/0-0.png").write_text("no picture")
    with pytest.raises(DataError, match="cannot be read as a picture"):
        write_probabilities(framed, good, good)
    (framed / "frames.csv").write_text("audio,frame\n")
    with pytest.raises(DataError, match="columns audio, segment"):
        write_probabilities(framed, good, good)


def test_a_loader_gives_tensors_of_one_type(sound_pairs):
    batch = next(iter(SoundPairsData(str(sound_pairs), batch_size=2).train_dataloader()))
    assert {tensor.dtype for tensor in batch} == {torch.float32}
