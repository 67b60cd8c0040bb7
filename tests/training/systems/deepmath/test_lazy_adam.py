from __future__ import annotations

import copy

import torch
from torch.nn import functional as F

from neurips16.training.systems.deepmath.lazy_adam import LazyAdamW


def test_dense_parameters_move_as_with_torch():
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(3, 2)) for _ in range(2))
    settings = {"lr": 0.1, "betas": (0.8, 0.95), "weight_decay": 0.05}
    optimizers = [LazyAdamW([ours], **settings), torch.optim.AdamW([theirs], **settings)]
    for _ in range(5):
        gradient = torch.randn(3, 2)
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_rows_that_a_step_does_not_touch_stay_and_the_others_move_as_with_sparse_adam():
    ours, theirs = (torch.nn.Parameter(torch.arange(8.0).reshape(4, 2)) for _ in range(2))
    optimizers = [
        LazyAdamW([ours], lr=0.1, betas=(0.9, 0.99)),
        torch.optim.SparseAdam([theirs], lr=0.1, betas=(0.9, 0.99)),
    ]
    for rows in ([0, 2], [2], [2, 2, 3]):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            F.embedding(torch.tensor(rows), parameter, sparse=True).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert ours[1].tolist() == [2.0, 3.0]


def test_a_state_is_taken_up_again():
    parameter, again = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    first, second = LazyAdamW([parameter], lr=0.1), LazyAdamW([again], lr=0.1)
    parameter.grad = torch.tensor([1.0, -1.0])
    first.step()
    again.data.copy_(parameter.data)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for one, optimizer in ((parameter, first), (again, second)):
        one.grad = torch.tensor([0.5, 0.5])
        optimizer.step()
    torch.testing.assert_close(parameter, again)
