"""What LMMs on someone else's weights share: they write in plain English, and learn by LoRA."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import Module, Parameter

from silmm.lmm.hf import checkpoint, lora, text
from silmm.open_language.instructions import ask_instruction, write_instruction

WRITE_TOKENS = 64  # a prompt is asked for in at most twenty words


class PretrainedLMM(ABC):
    """The part of an `LMM` (see `silmm.lmm.interface`) that needs only a text model, its tokenizer and its LoRA."""

    world = "open"

    settings: checkpoint.Settings
    speaker: text.TextModel  # writes, asks and answers
    tokenizer: Any  # the speaker's
    adapted: Any  # peft's model around what learns

    @cached_property
    def yes_no_words(self) -> tuple[list[int], list[int]]:
        """Ids that say yes, and ids that say no. Raises InputError where the tokenizer has none."""
        return text.yes_no_ids(self.tokenizer)

    @abstractmethod
    def prefixes(self, instructions: Sequence[str]) -> list[list[int]]:
        """Ids of instructions in the LMM's own template, each up to where the answer starts."""

    def write(self, subcategories: Sequence[str], keys: Sequence[tuple], *, temperature: float) -> list[str]:
        """An answer to the instruction to write one prompt, each."""
        instructions = [write_instruction(name, key) for name, key in zip(subcategories, keys, strict=True)]
        rows = self.prefixes(instructions)
        return self._decode(text.sample(self.speaker, rows, length=WRITE_TOKENS, keys=keys, temperature=temperature))

    def ask(self, prompts: Sequence[str], *, max_tokens: int) -> list[str]:
        """An answer to the instruction to split each prompt into questions, greedily."""
        rows = self.prefixes([ask_instruction(prompt) for prompt in prompts])
        return self._decode(text.sample(self.speaker, rows, length=max_tokens))

    def _decode(self, rows: Sequence[list[int]]) -> list[str]:
        return [self.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in rows]

    def text_nll(self, pairs: Sequence[tuple[str, str, str]]) -> Tensor:
        """Mean negative log-likelihood of (task, input, output), over the output's tokens and the end of the text.

        Without gradients where what speaks is not what learns: no step of the policy changes it.
        """
        instructions = [
            write_instruction(given, ("text",)) if task == "write" else ask_instruction(given)
            for task, given, _ in pairs
        ]
        ends = [self.tokenizer.eos_token_id]
        outputs = [self.answer_ids(text.plain(self.tokenizer, output)) + ends for *_, output in pairs]
        return text.nll(self.speaker, list(zip(self.prefixes(instructions), outputs, strict=True)))

    def answer_ids(self, text: str) -> list[int]:
        """Ids of what the LMM says after a prefix, which ends without a space."""
        return self.tokenizer.encode(" " + text, add_special_tokens=False)

    def parameters(self) -> list[Parameter]:
        """The LoRA weights, float32."""
        return lora.parameters(self.adapted)

    def learners(self) -> list[Module]:
        """peft's model."""
        return [self.adapted]

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Inside, the policy is the base."""
        with self.adapted.disable_adapter():
            yield

    def save(self, folder: Path) -> None:
        """Write the LoRA and what it stands on; the base's weights stay where they are."""
        role = checkpoint.family_of(self.settings.family).adapted
        lora.save(self.adapted, folder, base=str(self.settings.weights[role]))
        checkpoint.write(self.settings, folder)
