"""The benchmarks run, keep what they should keep, and refuse what cannot be; their times are no test's business."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench import kernels, lmm_memory, lmm_plain, lmm_weights, lmms, memory, stages, table, trunk
from bench.cases import Case
from bench.ceilings import Limits
from bench.check import Wrong, error, known_answers, poisoned, run_all
from bench.lmm_weights import Size
from bench.timing import Times
from silmm.kernels import _dispatch
from silmm.lmm.emu3.lmm import Emu3LMM
from silmm.lmm.interface import Sampling
from silmm.lmm.shapeworld.dream import DreamQueries
from silmm.lmm.shapeworld.model import new_model
from silmm.lmm.shapeworld.vocab import build


@pytest.fixture(autouse=True)
def one_thread_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command fixes the threads and the allocator of its process: not of this one."""
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    monkeypatch.setattr(kernels, "keep_freed_memory", lambda: None)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["bench.kernels", *arguments])
    return kernels.main()


def test_a_quick_run_writes_every_op(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "kernels.csv"
    other = dict.fromkeys(table.COLUMNS, "") | {"op": "nucleus", "device": "another"}
    table.write(out, table.COLUMNS, [other, other | {"device": table.name_of(torch.device("cpu")), "impl": "old"}])
    assert run(monkeypatch, "--quick", "--device", "cpu", "--out", str(out)) == 0
    found = rows(out)
    assert tuple(found[0]) == table.COLUMNS
    assert {row["op"] for row in found} == {*table.CEILINGS, *_dispatch.OPS}
    assert [row["device"] for row in found].count("another") == 1, "rows of other devices stay"
    assert "old" not in {row["impl"] for row in found}, "rows of this one are replaced"
    assert all(row["of_ceiling"] == "" for row in found if row["op"] in _dispatch.OPS), "no claims from a quick run"
    if "selective_logps" in _dispatch.OPS:
        extra = rows(tmp_path / "selective_logps_memory.csv")
        assert tuple(extra[0]) == memory.COLUMNS


def test_wrong_calls_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "--quick")
    assert "--quick makes no results: name another file with --out" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="--device cuda: torch finds no CUDA device"):
        run(monkeypatch, "--device", "cuda")


def doubling(ways: dict, **changes: object) -> Case:
    """A case that doubles its input."""
    case = Case(
        op="double", shape="8", dtype=torch.float32, mode="forward", nbytes=64, flop=0,
        new=lambda: (torch.ones(8),), ways=ways, truth=lambda x: 2 * x.double(),
    )  # fmt: skip
    return case._replace(**changes)


def test_what_is_wrong_is_not_timed() -> None:
    plain = {"eager": lambda x: x + x}
    run_all(doubling(plain | {"cpp": lambda x: 2 * x}), (torch.ones(8),))
    with pytest.raises(Wrong, match="double 8 forward cpp: relative error 5.00e-01"):
        run_all(doubling(plain | {"cpp": lambda x: 3 * x}), (torch.ones(8),))
    with pytest.raises(Wrong, match="relative error inf"):  # what was never written
        run_all(doubling(plain | {"cpp": lambda x: torch.empty_like(x)}), (torch.ones(8),))
    with pytest.raises(Wrong, match="RuntimeError: no"):
        run_all(doubling(plain | {"cpp": failing}), (torch.ones(8),))
    assert run_all(doubling(plain | {"compile": failing}), (torch.ones(8),))[1] == {"compile": "RuntimeError: no"}


def failing(x: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("no")


def test_poison_and_error() -> None:
    with poisoned():
        assert bool(torch.empty(9).isnan().all())
    assert error((torch.ones(2), None), (torch.ones(2), None)) == 0.0
    with pytest.raises(Wrong, match="shape"):
        error(torch.ones(2), torch.ones(3))
    known_answers(torch.device("cpu"))


def test_a_result_above_the_ceiling_is_rejected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = {"eager": Times(10.0, 9.0, 11.0), "cpp": Times(0.5, 0.5, 0.5)}
    monkeypatch.setattr(kernels.ceilings, "limits", lambda measured: Limits(64.0, 64.0, {torch.float32: 1.0}))
    monkeypatch.setattr(kernels, "cases", lambda op, device, quick: [doubling({})])
    monkeypatch.setattr(kernels, "bench", lambda case, device, quick: (times, []))
    monkeypatch.setattr(kernels.ceilings, "COPY_BYTES", {"cpu": 1 << 16})
    monkeypatch.setattr(kernels.ceilings, "MATMUL", {"cpu": ((8, 8, 8),)})
    found, _, bad = kernels.run(torch.device("cpu"), ["double"], quick=False)
    assert bad == 1
    assert [(row["impl"], row["of_ceiling"], row["vs_eager"]) for row in found if row["op"] == "double"] == [
        ("eager", "0.100", "1.00")
    ]
    assert "REJECTED: double cpp 8 forward: 2.000 of the ceiling" in capsys.readouterr().err


@pytest.mark.parametrize("positions", ["queries", "all"])
@pytest.mark.parametrize("site", ["hidden", "output"])
@pytest.mark.parametrize("masked", [1, 3])
def test_multiply_adds_are_what_runs(positions: str, site: str, masked: int) -> None:
    vocab = build(8)
    model, queries = new_model(vocab, width=16, layers=3, heads=2), DreamQueries(4, 16)
    of = trunk.dreamer(model.requires_grad_(False), queries.requires_grad_(False), vocab, 2)
    drop = Sampling(rate=0.4, layers=masked, positions=positions, site=site)
    counted = trunk.multiply_adds(of, drop, 5)
    both = trunk.ways(of, drop, 5)
    assert (multiplied(both["silmm"]), multiplied(both["N full forwards"])) == counted


def multiplied(way: trunk.Way) -> int:
    """Multiply-adds of the matrix products that torch sees in a call, the CPU's fused attention included."""

    def attention(query: tuple, key: tuple, value: tuple, *rest: object, **named: object) -> int:
        *batch, places, dim = query
        return 4 * torch.Size(batch).numel() * places * key[-2] * dim

    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={fused: attention}) as counter:
        way()
    return counter.get_total_flops() // 2


LMM_SIZES = {"janus": Size(64, 1, 32, 96, 1024, 32), "emu3": Size(64, 1, 32, 96, 1024, 32)}


@pytest.mark.parametrize("family", LMM_SIZES)
def test_both_ways_of_pretrained_lmms_do_the_same(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lmm = lmm_weights.load(family, LMM_SIZES[family], tmp_path, rows=8)
    likeliest = lmms.SAMPLING[family]._replace(top_k=1)
    own = lmm.draw(lmms.PROMPTS, [[(0,)]] * 2, likeliest).tokens_PNL
    theirs = lmm_plain.draw(lmm, lmms.PROMPTS, 1, likeliest)
    if isinstance(lmm, Emu3LMM):
        assert (lmm.gen.visual_C[own.reshape(2, 4, 4)] == theirs[:, :-3].reshape(2, 4, 5)[:, :, :4]).all()
    else:
        assert (own[:, 0] == theirs.numpy()).all()
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    probs = lmm_plain.probabilities(lmm, image, "Is it red?")
    answers = torch.stack([probs[ids].sum() for ids in lmm.yes_no_words]).numpy()
    np.testing.assert_allclose(lmm.look([image], [["Is it red?"]])[0][0], answers, rtol=1e-4)


def test_rows_of_pretrained_lmms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "lmms.csv"
    other = ("janus draw", "silmm", "another GPU", *["1"] * (len(stages.COLUMNS) - 3))
    stages.write(out, [other, (*other[:2], "cpu, 1 thread", *other[3:])])
    monkeypatch.setattr(lmm_weights, "SIZES", {name: (size, size) for name, size in LMM_SIZES.items()})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    words = ["bench.lmms", "--device", "cpu", "--family", "janus", "--rounds", "1", "--out", str(out)]
    monkeypatch.setattr("sys.argv", words)
    lmms.main()
    found = rows(out)
    assert tuple(found[0]) == stages.COLUMNS and found[0]["device"] == "another GPU"
    assert [(row["op"], row["impl"]) for row in found[1:]] == [
        ("janus draw", "silmm"), ("janus draw", "transformers generate"),
        ("janus answer", "silmm"), ("janus answer", "one forward a question"),
    ]  # fmt: skip
    assert all(float(row["median_ms"]) > 0 for row in found[1:])


def test_peak_memory_counts_the_logits_and_their_gradients() -> None:
    """In a process of its own."""
    size = LMM_SIZES["janus"]._replace(codes=4096)
    peak = lmm_memory.measure("janus", "align", rows=4, **size._asdict())
    logits = 4 * 4 * size.codes * 4  # rows, tokens, codes, bytes: four of it live at a time
    assert 3.5 * logits < peak < 8 * logits
