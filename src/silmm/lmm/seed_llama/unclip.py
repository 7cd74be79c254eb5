"""The diffusion decoder: unCLIP of Stable Diffusion 2.1, a picture from a CLIP embedding and no text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from silmm import rng as keyed
from silmm.errors import InputError
from silmm.lmm.hf import pipeline as pipelines

PIPELINE = "StableUnCLIPImg2ImgPipeline"
PARTS = {
    "image_normalizer": (
        "diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer", "StableUnCLIPImageNormalizer",
    ),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
}  # fmt: skip
FOR_PICTURES = ("feature_extractor", "image_encoder")  # that would be given as pixels
NOISE_LEVEL = 0  # of the embedding


def check(folder: Path, *, embedding: int) -> None:
    """Raise InputError where this is no such pipeline, or it was not made for embeddings of this width. Reads no
    weights."""
    configs = pipelines.check(folder, family="seed_llama", pipeline=PIPELINE, parts=PARTS)
    unet, normalizer = configs["unet"], configs["image_normalizer"]
    found = normalizer.get("embedding_dim")
    inputs = unet.get("projection_class_embeddings_input_dim")
    if found != embedding or unet.get("class_embed_type") != "projection" or inputs != 2 * embedding:
        raise InputError(
            f"{folder}: made for embeddings of {found} numbers (its U-Net for {inputs}, with their noise level), but"
            f" the picture tokenizer gives {embedding}: take the unCLIP pipeline of Stable Diffusion 2.1 with ViT-H"
        )


def load(folder: Path, *, dtype: str, device: torch.device) -> Any:
    """The pipeline, its VAE in float32. Raises InputError where a weight is missing, unexpected or misshapen."""
    made = pipelines.load(folder, pipeline=PIPELINE, parts=PARTS, dtype=dtype, exact=("vae",), without=FOR_PICTURES).to(
        device
    )
    made.image_encoder = made.text_encoder  # never run: the pipeline asks it for its dtype
    return made


@torch.no_grad()
def picture(pipeline: Any, embedding_E: Tensor, *, steps: int, guidance: float) -> np.ndarray:
    """A picture uint8 `[H, W, 3]` of an embedding float32.

    Noise is the same for every picture, as in the reference, which draws its latent once: pictures differ by their
    tokens alone, and one alone is one of many.
    """
    noise = torch.Generator().manual_seed(keyed.torch_seed("seed_llama", "latents"))
    latents = pipeline(
        prompt="", image_embeds=embedding_E[None].to(pipeline.unet.dtype), num_inference_steps=steps,
        guidance_scale=guidance, noise_level=NOISE_LEVEL, generator=noise, output_type="latent",
    ).images  # fmt: skip
    pixels = pipeline.vae.decode(latents.float() / pipeline.vae.config.scaling_factor).sample
    (image,) = pipeline.image_processor.postprocess(pixels, output_type="np")
    return (image * 255).round().astype(np.uint8)
