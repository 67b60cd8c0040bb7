"""AdamW that leaves alone what a step did not touch: for a table of embeddings of which a batch reads a part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class LazyAdamW(torch.optim.Optimizer):
    """AdamW; where a gradient is sparse, the averages and values of its rows alone move.

    Args:
        params: parameters or groups of them; a group may have its own settings.
        lr: learning rate.
        betas: of the running means of the gradient and of its square.
        eps: added to the root of the latter.
        weight_decay: decoupled, as in AdamW; rows of a table do not decay.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]  # torch's has two forms
        """One step; the loss of ``closure``, if one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        gradient = parameter.grad
        assert gradient is not None  # the caller has looked
        mean, square = state["mean"], state["square"]
        (beta1, beta2), step = group["betas"], state["step"]
        if gradient.is_sparse:
            gradient = gradient.coalesce()
            rows, values = gradient.indices()[0], gradient.values()
            new_mean = mean.index_select(0, rows).lerp_(values, 1 - beta1)
            new_square = square.index_select(0, rows).mul_(beta2).addcmul_(values, values, value=1 - beta2)
            mean.index_copy_(0, rows, new_mean)
            square.index_copy_(0, rows, new_square)
        else:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            new_mean = mean.lerp_(gradient, 1 - beta1)
            new_square = square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        size = group["lr"] / (1 - beta1**step)
        change = new_mean / (new_square / (1 - beta2**step)).sqrt_().add_(group["eps"])
        if gradient.is_sparse:
            parameter.index_add_(0, rows, change, alpha=-size)
        else:
            parameter.add_(change, alpha=-size)
