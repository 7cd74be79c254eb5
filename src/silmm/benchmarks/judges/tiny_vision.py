"""Tiny judges that find objects and measure depth, for `silmm.benchmarks.judges.tiny`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def dpt(folder: Path) -> None:
    """DPT-hybrid, looking at 64 pixels; without the weights that the published files leave out, too."""
    from safetensors.torch import load_file, save_file
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessorPil

    backbone = {
        "model_type": "bit", "global_padding": "same", "layer_type": "bottleneck", "depths": [1, 1, 1],
        "hidden_sizes": [32, 32, 64], "embedding_size": 32, "out_features": ["stage1", "stage2", "stage3"],
        "embedding_dynamic_padding": True, "num_groups": 4,
    }  # fmt: skip
    config = DPTConfig(
        is_hybrid=True, backbone_config=backbone, backbone_featmap_shape=[1, 64, 4, 4], image_size=64, patch_size=16,
        hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=64,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[32, 32, 32, 32], fusion_hidden_size=16,
        reassemble_factors=[1, 1, 1, 0.5], readout_type="project", initializer_range=0.2,
    )  # fmt: skip
    size = {"height": 64, "width": 64}
    half = [0.5, 0.5, 0.5]
    save(folder, DPTForDepthEstimation(config), DPTImageProcessorPil(size=size, image_mean=half, image_std=half))
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "fusion_stage.layers.0.residual_layer1" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def mask2former(folder: Path, names: Sequence[str] = ("person", "dog", "clock", "dining table")) -> None:
    """Mask2Former on Swin, of eight queries, with patches of 32 pixels."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessorPil

    swin = {
        "model_type": "swin", "image_size": 384, "patch_size": 32, "embed_dim": 8, "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2], "window_size": 4, "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=swin, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=32, num_queries=8,
        id2label=dict(enumerate(names)),
    )  # fmt: skip
    processor = Mask2FormerImageProcessorPil(size={"height": 384, "width": 384}, ignore_index=255)
    save(folder, Mask2FormerForUniversalSegmentation(config), processor)


def owlv2(folder: Path, tokenizer: Any) -> None:
    """OWLv2, looking at 64 pixels."""
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessorPil

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = sizes | {
        "vocab_size": len(tokenizer), "max_position_embeddings": 16, "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    vision = sizes | {"image_size": 64, "patch_size": 16}
    model = Owlv2ForObjectDetection(Owlv2Config(text_config=text, vision_config=vision, projection_dim=32))
    for layer in (model.class_head.logit_shift, model.class_head.logit_scale, model.box_head.dense2):
        layer.weight.data *= 0.01  # else boxes have no extent, and scores are 0 or 1
    model.class_head.logit_scale.bias.data += 5
    save(folder, model, tokenizer, Owlv2ImageProcessorPil(size={"height": 64, "width": 64}))


def save(folder: Path, *parts: Any) -> None:
    """Write weights, tokenizer and processor into one folder."""
    for part in parts:
        part.save_pretrained(folder)
