"""No result hangs on an accident: the order of a set, or the number of a token."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from silmm.lmm.interface import Sampling
from silmm.lmm.shapeworld.lmm import DiscreteLMM
from silmm.lmm.shapeworld.model import new_model
from silmm.lmm.shapeworld.vocab import Vocab

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = ["a red circle and a blue square", "a striped red circle to the left of a solid blue square"]
QUESTIONS = ["is there a red circle ?", "is a red circle left of a blue square ?"]

# Steps 1, 3 and 4b with a writer whose texts hold wrong and repeated questions, too; prints a hash of each file.
PROGRAM = """
import hashlib, sys
from pathlib import Path
import numpy as np
import silmm.lmm
from silmm import rng
from silmm.records import SCORES, PromptQuestions, read_jsonl, write_table
from silmm.settings import Pairs, Prompts, Questions
from silmm.shapeworld.language import parse_prompt, units, write_question
from silmm.stages import pairs, prompts, questions
from tests.traps.test_whole_data import Writer

class Policy(Writer):
    def ask(self, texts, *, max_tokens):
        asked = [" ".join(write_question(u) for u in units(parse_prompt(text))) for text in texts]
        return [f"{text} {text} is a a ?" if i % 3 else text for i, text in enumerate(asked)]

silmm.lmm.load = lambda folder: Policy()
silmm.lmm.name_of = lambda folder: "discrete"
folder = Path(sys.argv[1])
p, qa, s = folder / "prompts.jsonl", folder / "qa.jsonl", folder / "scores.parquet"
prompts.run(Prompts(n=24), ckpt=folder, seed=0, iteration=1, out=p, stats=folder / "prompts.stats.json")
questions.run(Questions(), ckpt=folder, prompts=p, out=qa, stats=folder / "qa.stats.json")
keys = [(r.prompt_id, k, q.id) for r in read_jsonl(qa, PromptQuestions) for k in range(6) for q in r.questions]
yes = rng.generator("traps", "scores").integers(0, 5, len(keys)) / 4  # many ties
columns = dict(zip(("prompt_id", "sample", "question_id"), map(list, zip(*keys))))
write_table(s, {**columns, "p_yes": yes.astype("float32"), "p_no": (1 - yes).astype("float32")}, SCORES)
for scorer in ("self", "random"):
    out, stats = folder / f"{scorer}.parquet", folder / f"{scorer}.stats.json"
    settings = Pairs(scorer=scorer, min_gap=0.0)
    pairs.run(settings, scores=s, qa=qa, images=(), seed=0, iteration=1, out=out, stats=stats)
for path in sorted(folder.iterdir()):
    print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_another_hash_seed_gives_the_same_files(tmp_path: Path) -> None:
    printed = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        path = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert len(printed[0].splitlines()) == 9
    assert printed[0] == printed[1]


def renumbered(lmm: DiscreteLMM) -> DiscreteLMM:
    """The same LMM with other numbers for its words and control tokens, the padding included."""
    old, first = lmm.vocab, lmm.vocab.first_visual
    order = [*np.random.default_rng(0).permutation(first).tolist(), *range(first, len(old))]  # new number -> old
    tokenizer = Tokenizer(models.WordLevel({old.tokens[k]: i for i, k in enumerate(order)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    vocab = Vocab(tokenizer)
    config = lmm.model.config
    model = new_model(
        vocab, width=config.hidden_size, layers=config.num_hidden_layers, heads=config.num_attention_heads
    )
    weights = {
        name: value[order] if name in ("model.embed_tokens.weight", "lm_head.weight") else value
        for name, value in lmm.model.state_dict().items()
    }
    model.load_state_dict(weights)
    return DiscreteLMM(model.eval(), lmm.tokenizer, vocab)


def test_no_token_number_is_written_into_the_code(tiny: DiscreteLMM) -> None:
    other = renumbered(tiny)
    special = ("pad", "bos", "eos", "yes", "no")
    assert all(getattr(other.vocab, name) != getattr(tiny.vocab, name) for name in special)
    assert other.model.config.pad_token_id == other.vocab.pad != 0
    keys = [[("ids", p, k) for k in range(2)] for p in range(2)]
    sampling = Sampling(top_p=0.95)
    drawn = tiny.draw(PROMPTS, keys, sampling).tokens_PNL
    np.testing.assert_array_equal(other.draw(PROMPTS, keys, sampling).tokens_PNL, drawn)
    logps = [lmm.token_logps(PROMPTS, drawn[:, 0]) for lmm in (tiny, other)]
    torch.testing.assert_close(logps[1], logps[0], atol=1e-5, rtol=1e-5)
    answers = [lmm.answer(drawn[:, 0], [QUESTIONS, QUESTIONS[:1]]) for lmm in (tiny, other)]
    for mine, theirs in zip(*answers, strict=True):
        np.testing.assert_allclose(theirs, mine, atol=1e-6)
    assert other.ask(PROMPTS, max_tokens=8) == tiny.ask(PROMPTS, max_tokens=8)
    texts = [("write", "color", PROMPTS[0]), ("ask", PROMPTS[0], QUESTIONS[0])]
    torch.testing.assert_close(other.text_nll(texts), tiny.text_nll(texts), atol=1e-5, rtol=1e-5)
