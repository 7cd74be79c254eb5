"""A tiny unCLIP pipeline with random weights in diffusers' layout: 32 x 32 pixels from 8 x 8 latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SIDE, WIDTH, CONTEXT = 8, 32, 16  # latents along a side, channels, width of the text's states
START, END = "<|startoftext|>", "<|endoftext|>"


def write(folder: Path, *, embedding: int) -> None:
    """Write the folder, with weights of torch's random state. `embedding`: numbers that stand for a picture."""
    from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, StableUnCLIPImg2ImgPipeline, UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
    from transformers import CLIPImageProcessor

    unet = UNet2DConditionModel(
        sample_size=SIDE, block_out_channels=(16, WIDTH), layers_per_block=1, norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=CONTEXT, attention_head_dim=8, use_linear_projection=True, class_embed_type="projection",
        projection_class_embeddings_input_dim=2 * embedding,
    )  # fmt: skip
    vae = AutoencoderKL(
        sample_size=4 * SIDE, block_out_channels=(16, 16, WIDTH), latent_channels=4, norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
    )  # fmt: skip
    text, image, tokenizer = _clip(embedding)
    _sharpen(unet, vae)
    pipeline = StableUnCLIPImg2ImgPipeline(
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        image_encoder=image, image_normalizer=StableUnCLIPImageNormalizer(embedding),
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"), tokenizer=tokenizer,
        text_encoder=text, unet=unet, vae=vae,
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1,
            set_alpha_to_one=False, prediction_type="v_prediction",
        ),
    )  # fmt: skip
    pipeline.save_pretrained(folder)


def _clip(embedding: int) -> tuple[Any, Any, Any]:
    """Text and image encoder, and a tokenizer of single letters: the only text is the empty one."""
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTokenizer,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    letters = [chr(code) for code in range(97, 123)]
    names = [*letters, *(f"{letter}</w>" for letter in letters), START, END]
    tokenizer = CLIPTokenizer(vocab={name: i for i, name in enumerate(names)}, merges=[], model_max_length=16)
    shared = {"hidden_size": CONTEXT, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": names.index(START), "eos_token_id": names.index(END), "pad_token_id": names.index(END)}
    text = CLIPTextModel(CLIPTextConfig(vocab_size=len(names), max_position_embeddings=16, **shared, **ends))
    image = CLIPVisionModelWithProjection(
        CLIPVisionConfig(image_size=32, patch_size=16, projection_dim=embedding, **shared)
    )
    return text, image, tokenizer


@torch.no_grad()
def _sharpen(unet: Any, vae: Any) -> None:
    """Let the embedding show in the picture: fresh weights hardly let it."""
    for linear in (unet.class_embedding.linear_1, unet.class_embedding.linear_2):
        linear.weight.mul_(3)
    for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
        for resnet in block.resnets:
            resnet.time_emb_proj.weight.mul_(4)
    vae.decoder.conv_out.weight.mul_(2)
