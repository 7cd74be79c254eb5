"""The linear map between the language model's channels and a plug-in's, as both plug-ins' files name it."""

from __future__ import annotations

from torch import Tensor, nn


class Projector(nn.Module):
    """`projector.weight`, and `projector.bias` where there is one."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__()
        self.projector = nn.Linear(inputs, outputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., outputs]` of `[..., inputs]`."""
        return self.projector(x)
