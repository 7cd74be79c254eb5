"""What DreamLLM sees: CLIP's vision tower, one of its last hidden states, and a linear map to the language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from silmm.errors import InputError
from silmm.lmm.dreamllm.projector import Projector
from silmm.lmm.hf.pickled import Shapes, fill, same_weights
from silmm.model_sizes import on_meta

FILE = "clip_vision_embedding.bin"
HEAD = 64  # channels of a head, in every published CLIP; weights do not tell it
_OLD_PREFIX = "clip_vision_model.vision_model."  # as transformers' 4 named what its 5 has no prefix for
_NEW_PREFIX = "clip_vision_model."
_PATCHES, _PLACES = "embeddings.patch_embedding.weight", "embeddings.position_embedding.weight"
_MLP = "encoder.layers.0.mlp.fc1.weight"


class Vision(nn.Module):
    """CLIP's tower and the projector, under the names of the published weights."""

    def __init__(self, config: Any, width: int, layer: int) -> None:
        from transformers import CLIPVisionModel

        super().__init__()
        self.clip_vision_model = CLIPVisionModel._from_config(config, attn_implementation="sdpa")
        self.projector = Projector(config.hidden_size, width, bias=True)
        self.layer = layer
        self.side = config.image_size
        self.patches = (config.image_size // config.patch_size) ** 2

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Embeddings `[B, patches, D]` of pictures as `pixels` prepares them, for the language model to read."""
        hidden = self.clip_vision_model(pixels_BCHW, output_hidden_states=True).hidden_states[self.layer]
        return self.projector(hidden[:, 1:])  # without the class token

    def pixels(self, images: Sequence[np.ndarray]) -> Tensor:
        """CLIP's own preparation: the shorter edge to its side, the middle cut out; float32 `[B, 3, side, side]`."""
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        prepare = CLIPImageProcessorPil(
            size={"shortest_edge": self.side}, crop_size={"height": self.side, "width": self.side}
        )
        pictures = [Image.fromarray(np.asarray(image)).convert("RGB") for image in images]
        return prepare(images=pictures, return_tensors="pt").pixel_values


def check(file: Path, found: Shapes, width: int, layer: int) -> None:
    """Raise InputError where the file's weights are not those of a CLIP and a projector to `width` channels."""
    config = _config(file, _renamed(found))
    if not -config.num_hidden_layers - 1 <= layer <= config.num_hidden_layers:
        raise InputError(f"{file}: select_layer is {layer}, but it has {config.num_hidden_layers} layers")
    with on_meta(file, found):
        empty = Vision(config, width, layer)
    same_weights(file, _renamed(found), {name: tuple(t.shape) for name, t in empty.state_dict().items()})


def load(file: Path, tensors: Mapping[str, Tensor], width: int, layer: int) -> Vision:
    """The module with these weights. Raises InputError where they are not whole."""
    found = _renamed(tensors)
    vision = Vision(_config(file, {name: tuple(t.shape) for name, t in found.items()}), width, layer)
    fill(vision, found, file)
    return vision


def _renamed(found: Mapping[str, Any]) -> dict[str, Any]:
    """Names as transformers has them now, without the places, which some versions kept as if they were weights."""
    kept = {name: value for name, value in found.items() if not name.endswith(".position_ids")}
    return {
        (_NEW_PREFIX + name.removeprefix(_OLD_PREFIX)) if name.startswith(_OLD_PREFIX) else name: value
        for name, value in kept.items()
    }


def _config(file: Path, shapes: Shapes) -> Any:
    """The tower's sizes, which only its weights tell: config.json names another repository for them."""
    from transformers import CLIPVisionConfig

    for name in (_PATCHES, _PLACES, _MLP):
        if _NEW_PREFIX + name not in shapes:
            raise InputError(f"{file}: {_OLD_PREFIX + name} is missing: expected the weights of a CLIP vision tower")
    width, channels, patch, _ = shapes[_NEW_PREFIX + _PATCHES]
    along = round((shapes[_NEW_PREFIX + _PLACES][0] - 1) ** 0.5)
    layers = {name.split(".")[3] for name in shapes if name.startswith(_NEW_PREFIX + "encoder.layers.")}
    if width % HEAD:
        raise InputError(f"{file}: CLIP has {width} channels: expected a multiple of {HEAD}, the channels of a head")
    return CLIPVisionConfig(
        hidden_size=width, intermediate_size=shapes[_NEW_PREFIX + _MLP][0], num_hidden_layers=len(layers),
        num_attention_heads=width // HEAD, num_channels=channels, patch_size=patch, image_size=along * patch,
    )  # fmt: skip
