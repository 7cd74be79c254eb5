"""A tiny Janus with random weights in the layout of the published ones, for tests and to try a workflow.

`python -m silmm.lmm.janus.tiny --out FOLDER`
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from silmm.atomic import atomic_dir
from silmm.lmm.janus.layout import BLANK as PAD
from silmm.lmm.janus.original import BEGIN, END, IMAGE, SPEAKERS, template

BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
SPECIALS = (BOS, EOS, PAD, IMAGE, BEGIN, END, *SPEAKERS[0])  # the published names
SIDE, PATCH, CODES, WIDTH = 32, 8, 64, 32  # pixels, pixels, visual tokens, channels


def build(out: Path, *, seed: int = 0, specials: Sequence[str] = SPECIALS) -> None:
    """Write the folder. Same seed, same bytes. `specials`: the special tokens in the order of their ids."""
    processor = _processor(specials)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model(processor.tokenizer)
    with atomic_dir(out, "python -m silmm.lmm.janus.tiny") as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)


def _processor(specials: Sequence[str]):  # type: ignore[no-untyped-def]  # a JanusProcessor
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast
    from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil
    from transformers.models.janus.processing_janus import JanusProcessor

    from silmm.lmm.hf.tiny import bpe

    words = bpe(specials)
    start = (BOS, words.token_to_id(BOS))
    words.post_processor = TemplateProcessing(single=f"{BOS} $A", special_tokens=[start])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token=BOS, eos_token=EOS, pad_token=PAD,
        extra_special_tokens={"image_token": IMAGE, "boi_token": BEGIN, "eoi_token": END},
    )  # fmt: skip
    half = [0.5, 0.5, 0.5]
    images = JanusImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, min_size=PATCH, image_mean=half, image_std=half
    )
    return JanusProcessor(
        images, tokenizer, chat_template=template(*SPEAKERS[0]), use_default_system_prompt=True,
        num_image_tokens=(SIDE // PATCH) ** 2,
    )  # fmt: skip


def _model(tokenizer):  # type: ignore[no-untyped-def]  # JanusForConditionalGeneration
    from transformers.models.janus.configuration_janus import JanusConfig, JanusVisionConfig, JanusVQVAEConfig
    from transformers.models.janus.modeling_janus import JanusForConditionalGeneration
    from transformers.models.llama.configuration_llama import LlamaConfig

    from silmm.lmm.hf.tiny import lean, leaning

    size = -(-(len(tokenizer) + 1) // 64) * 64  # more rows than tokens, as the published ones have
    text = LlamaConfig(
        vocab_size=size, hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=1024, initializer_range=0.15, tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    vision = JanusVisionConfig(
        hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4, mlp_ratio=2.0, image_size=SIDE,
        patch_size=PATCH, projection_dim=WIDTH, num_image_tokens=(SIDE // PATCH) ** 2, initializer_range=0.15,
    )  # fmt: skip
    visual = JanusVQVAEConfig(
        embed_dim=8, num_embeddings=CODES, latent_channels=32, base_channels=32, channel_multiplier=[1, 1, 1, 1],
        num_res_blocks=1, projection_dim=WIDTH, image_token_embed_dim=WIDTH, initializer_range=0.15,
    )  # fmt: skip
    image = tokenizer.convert_tokens_to_ids(IMAGE)
    config = JanusConfig(
        text_config=text, vision_config=vision, vq_config=visual, image_token_id=image, tie_word_embeddings=False
    )
    model = JanusForConditionalGeneration(config).eval()
    sharper = {  # random weights are nearly uniform, which would hide wrong arithmetic
        model.model.language_model.embed_tokens: 5.0, model.lm_head: 1.5, model.model.aligner.hidden_layers[-1]: 2.0,
        model.model.generation_aligner.hidden_layers[-1]: 25.0, model.model.generation_head.vision_head: 6.0,
    }  # fmt: skip
    with torch.no_grad():
        for module, factor in sharper.items():
            module.weight.mul_(factor)
    lean(
        model.model.language_model, model.lm_head, leaning(tokenizer.backend_tokenizer, size, EOS),
        model.model.aligner.hidden_layers[-1], model.model.generation_aligner.hidden_layers[-1],
    )  # fmt: skip
    _level(model)
    generation = model.generation_config
    generation._from_model_config = False  # else transformers drops `generation_kwargs` on load
    generation.guidance_scale, generation.do_sample = 5, True
    generation.generation_kwargs = {"boi_token_id": tokenizer.convert_tokens_to_ids(BEGIN)}
    return model


@torch.no_grad()
def _level(model) -> None:  # type: ignore[no-untyped-def]
    """Take the mean from the visual tokens' logits: else the one that all hidden states favour is nearly all drawn."""
    read = model.prepare_embeddings_for_image_generation(torch.randint(CODES, (32, (SIDE // PATCH) ** 2)))
    hidden = model.model.language_model(inputs_embeds=read).last_hidden_state
    model.model.generation_head.vision_head.bias -= model.model.generation_head(hidden).mean((0, 1))


def main(arguments: Sequence[str] | None = None) -> None:
    """`--out FOLDER [--seed N]`."""
    from silmm.lmm.hf.tiny import command

    command("Janus", build, arguments)


if __name__ == "__main__":
    main()
