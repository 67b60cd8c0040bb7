from __future__ import annotations

import pytest
import torch
from torch import nn

from neurips16.training.systems.deepmath.sequence_encoders import (
    ConvolutionalEncoder,
    ConvolutionStack,
    RecurrentEncoder,
)


def _encoders():
    torch.manual_seed(0)
    return {
        "cnn": ConvolutionalEncoder(6, (8, 10, 12), (2, 2, 1)),
        "lstm": RecurrentEncoder(6, 12, "lstm"),
        "gru": RecurrentEncoder(6, 12, "gru"),
        "cnn_lstm": RecurrentEncoder(10, 12, "lstm", ConvolutionStack(6, (8, 10), (2, 2))),
    }


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["cnn", "lstm", "gru", "cnn_lstm"])
def test_an_answer_depends_neither_on_the_padding_nor_on_the_neighbours(name, training):
    encoder = _encoders()[name].train(training)
    short, long = torch.randn(1, 6, 33), torch.randn(1, 6, 70)
    alone = encoder(short, torch.tensor([33]))
    batch = torch.zeros(2, 6, 90)
    batch[0, :, :33], batch[1, :, :70] = short, long
    together = encoder(batch, torch.tensor([33, 70]))
    assert together.shape == (2, 12)
    torch.testing.assert_close(together[:1], alone)
    assert not torch.allclose(together[0], together[1])


def test_the_published_network_needs_29_characters_and_pads_shorter_ones():
    encoder = ConvolutionalEncoder(6, (8, 10, 12), (2, 2, 1)).eval()
    assert encoder.stack.min_length == 29
    assert encoder(torch.randn(1, 6, 1), torch.tensor([1])).shape == (1, 12)
    _features, lengths = encoder.stack(torch.randn(1, 6, 29), torch.tensor([29]))
    assert lengths.tolist() == [1]


def test_training_and_evaluation_compute_the_same_convolution():
    encoder = ConvolutionalEncoder(6, (8, 10, 12), (2, 2, 1))
    features, lengths = torch.randn(3, 6, 60), torch.tensor([60, 31, 45])
    torch.testing.assert_close(encoder.train()(features, lengths), encoder.eval()(features, lengths))


def test_the_convolution_is_the_one_of_torch():
    encoder = ConvolutionalEncoder(6, (8,), (1,)).eval()
    features = torch.randn(2, 6, 40)
    plain = nn.functional.relu(
        nn.functional.conv1d(features, encoder.stack.layers[0].weight, encoder.stack.layers[0].bias)
    )
    torch.testing.assert_close(encoder(features, torch.tensor([40, 40])), plain.amax(2))


def test_lstm_starts_with_forget_bias_one_and_small_weights():
    lstm = _encoders()["lstm"].recurrent
    assert torch.equal(lstm.bias_ih_l0[12:24], torch.ones(12))
    assert float(lstm.weight_hh_l0.detach().abs().max()) <= 0.02
