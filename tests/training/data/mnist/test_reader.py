from __future__ import annotations

import gzip
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neurips16.training.data.mnist.module import MnistData
from neurips16.training.data.mnist.reader import read_idx, read_mnist
from neurips16.training.data.mnist.triples import TripleData
from neurips16.training.errors import DataError


def idx(values: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return head + values.tobytes()


@pytest.mark.parametrize("shape", [(3,), (2, 4, 5), (2, 4, 5, 3)])
def test_idx_files_are_read_as_they_are_and_compressed(tmp_path, shape):
    values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    (tmp_path / "plain").write_bytes(idx(values))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(idx(values)))
    for name in ("plain", "packed.gz"):
        np.testing.assert_array_equal(read_idx(tmp_path / name), values)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "starts with nothing"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01abcd", "no IDX file of unsigned bytes"),
        (idx(np.zeros((2, 3), np.uint8))[:-1], r"promises \(2, 3\) and holds 5 bytes"),
        (idx(np.zeros((2, 3), np.uint8)) + b"x", r"promises \(2, 3\) and holds 7 bytes"),
    ],
)
def test_what_is_no_idx_file_is_refused(tmp_path, content, says):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_idx(tmp_path / "file")


def test_a_damaged_archive_is_refused(tmp_path):
    whole = gzip.compress(idx(np.zeros((20, 30), np.uint8)))
    for name, content in (("cut.gz", whole[:-12]), ("other.gz", b"no archive")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            read_idx(tmp_path / name)


def test_a_folder_that_lacks_a_file_names_it(tmp_path):
    with pytest.raises(DataError, match=r"neither t10k-images-idx3-ubyte\.gz nor"):
        read_mnist(tmp_path, "test")
    with pytest.raises(DataError, match="no split 'validation'; there are: train, test"):
        read_mnist(tmp_path, "validation")


def test_images_without_as_many_labels_are_refused(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((3, 4, 4), np.uint8)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(2, np.uint8)))
    with pytest.raises(DataError, match="do not fit"):
        read_mnist(tmp_path, "train")


def test_one_pass_takes_each_image_once_and_the_number_decides_what_is_in_a_batch(mnist_folder):
    data = MnistData(str(mnist_folder), batch_size=24)
    assert data.epoch_length == 5
    assert data.image_shape == [1, 12, 12]
    assert data.classes == 4
    batches = [data.draw(number) for number in range(5)]
    seen = torch.cat([batch.images for batch in batches]).flatten(1).numpy()
    every = data.training_set.images.reshape(120, -1)
    np.testing.assert_array_equal(np.unique(seen, axis=0), np.unique(every, axis=0))
    torch.testing.assert_close(data.draw(3).images, batches[3].images)
    assert not torch.equal(data.draw(5).images, batches[0].images)  # the next pass has another order


def test_an_epoch_goes_on_where_the_module_is(mnist_folder):
    data = MnistData(str(mnist_folder), batch_size=24)
    module = SimpleNamespace(batches_done=torch.tensor(7))
    data.trainer = SimpleNamespace(lightning_module=module, current_epoch=1)
    left = list(data.train_dataloader())
    assert len(left) == 3
    torch.testing.assert_close(left[0].images, data.draw(7).images)


def test_triples_are_two_of_a_class_and_one_of_another(mnist_folder):
    data = TripleData(str(mnist_folder), batch_size=50)
    batch = data.draw(3)
    one, two, three = batch.labels.chunk(3)
    assert torch.equal(one, two)
    assert (one != three).all()
    assert set(three.tolist()) == {0, 1, 2, 3}
    assert not torch.equal(batch.images[:50], batch.images[50:100])
    torch.testing.assert_close(data.draw(3).images, batch.images)


@pytest.mark.data
def test_the_real_mnist_is_what_it_is_known_to_be(real_mnist):
    train, test = read_mnist(real_mnist, "train"), read_mnist(real_mnist, "test")
    assert train.images.shape == (60000, 28, 28, 1)
    assert len(test) == 10000
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert round(train.images.mean() / 255, 4) == 0.1307
