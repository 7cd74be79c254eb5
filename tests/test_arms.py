"""Which arm makes which file: shared where nothing differs, own where something does, here or further up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from silmm.arms import ARM_STAGES, InputError, Plan, plan, plans, typed
from silmm.settings import Align

CONFIG = Path(__file__).parents[1] / "config"
DATA = ("prompts", "images", "questions", "score")


def config(**changes: Any) -> dict[str, Any]:
    """The default config without figures and ablations, which name arms that the tests replace."""
    default = yaml.safe_load((CONFIG / "default.yaml").read_text())
    for lmm in ("discrete", "continuous"):
        for key in ("ablations", "figures"):
            del default[lmm][key]
    return {**default, **changes}


def homes(made: Plan, arm: str, t: int = 1) -> dict[str, str]:
    return {stage: made.home(arm, t, stage) for stage in ARM_STAGES}


def test_the_controls_share_all_data_of_the_first_iteration() -> None:
    made = plan(config())
    for arm in ("dpo", "sft", "random_score"):
        assert {homes(made, arm)[stage] for stage in DATA} == {"silmm"}
    assert homes(made, "dpo")["pairs"] == homes(made, "sft")["pairs"] == "silmm"
    assert homes(made, "random_score")["pairs"] == "random_score"
    for arm in made.arms:
        assert homes(made, arm)["evaluate"] == arm


def test_from_the_second_iteration_each_policy_has_its_own_data() -> None:
    made = plan(config(control_iterations=3))
    for t in (2, 3):
        for arm in ("dpo", "sft", "random_score"):
            assert set(homes(made, arm, t).values()) == {arm}


def test_a_difference_in_the_evaluation_shares_the_policy() -> None:
    arms = {"silmm": {}, "cool": {"evaluate": {"samplers": ["t0.7"]}}}
    made = plan(config(arms=arms, control_iterations=2))
    for t in (1, 2):
        assert homes(made, "cool", t) == {**dict.fromkeys(ARM_STAGES, "silmm"), "evaluate": "cool"}


def test_an_early_difference_changes_all_that_follows_but_not_what_came_before() -> None:
    made = plan(config(arms={"silmm": {}, "oracle": {"pairs": {"scorer": "oracle"}}}, control_iterations=2))
    assert [homes(made, "oracle")[s] for s in ("score", "pairs", "align", "evaluate")] == ["silmm"] + ["oracle"] * 3
    assert set(homes(made, "oracle", 2).values()) == {"oracle"}


def test_an_arm_that_repeats_a_default_is_shared_whole() -> None:
    made = plan(config(arms={"silmm": {}, "same": {"align": {"beta": Align().beta}}}))
    assert set(homes(made, "same").values()) == {"silmm"}
    assert [(e.arm, e.iteration, e.home) for e in made.entries()][-1] == ("same", 1, "silmm")


def test_controls_share_among_each_other() -> None:
    arms = {"silmm": {}, "a": {"images": {"n": 4}}, "b": {"images": {"n": 4}, "align": {"lr": 1e-3}}}
    made = plan(config(arms=arms))
    assert homes(made, "b") == {
        **{"prompts": "silmm", "images": "a", "questions": "silmm", "score": "a", "pairs": "a"},
        **{"align": "b", "evaluate": "b"},
    }


def test_a_file_is_never_looked_for_beyond_the_last_iteration_of_an_arm() -> None:
    arms = {"silmm": {}, "a": {"align": {"lr": 1e-3}}, "b": {"align": {"lr": 1e-3}}}
    made = plan(config(arms=arms, iterations=3, control_iterations=1))
    assert homes(made, "b", 2)["prompts"] == "b"


def test_the_order_of_the_arms_does_not_matter() -> None:
    arms = config()["arms"]
    turned = dict(reversed(arms.items()))
    assert list(plan(config(arms=turned)).entries()) == list(plan(config()).entries())


def test_entries_of_the_default_run() -> None:
    rows = [(e.arm, e.iteration) for e in plan(config()).entries()]
    controls = ["best_of_n", "dpo", "random_score", "sft"]
    assert rows == [("silmm", 1), ("silmm", 2), ("silmm", 3), *((arm, 1) for arm in controls)]
    assert len(list(plan(config(control_iterations=3)).entries())) == 4 * 3 + 1  # best_of_n trains nothing


def test_a_long_plan_is_resolved_at_once() -> None:
    made = plan(config(iterations=40, control_iterations=40))
    assert made.home("dpo", 40, "evaluate") == "dpo"


def test_options_hand_over_every_setting() -> None:
    made = plan(config(pairs={"top_n": 2, "min_gap": 0, "product": True}, adopt={"weights": "a b"}))
    assert made.options("pairs", "random_score") == (
        "--scorer random --top-n 2 --product --min-gap 0.0 --winner any --prompts 0 --keep 0 --spoiled 0.0"
    )
    assert made.options("evaluate").startswith("--n-prompts ")
    assert made.options("evaluate", "best_of_n").endswith("--samplers t1.0,top_p0.9 --best-of 8")
    assert made.options("adopt").startswith("--weights 'a b' ")


def test_null_takes_an_arm_away() -> None:
    assert list(plan(config(arms={**config()["arms"], "dpo": None, "sft": None})).arms) == [
        "silmm",
        "best_of_n",
        "random_score",
    ]


def test_an_lmm_s_own_section_changes_the_general_ones_key_by_key() -> None:
    own = {"align": {"lr": 1e-5}, "arms": {"dpo": None, "gentle": {"align": {"beta": 0.1}}}, "main": "gentle"}
    own |= {"evaluate": {"samplers": ["fresh_noise"]}}
    made = plans(config(lmms=["discrete", "continuous"], align={"lr": 1e-3, "batch": 8}, continuous=own))
    assert made["discrete"].settings["align"] == Align(lr=1e-3, batch=8)
    assert list(made["discrete"].arms) == ["silmm", "best_of_n", "dpo", "random_score", "sft"]
    assert made["continuous"].settings["align"] == Align(lr=1e-5, batch=8)
    assert list(made["continuous"].arms) == ["gentle", "best_of_n", "random_score", "sft", "silmm"]
    assert made["continuous"].arms["gentle"].settings["align"] == Align(lr=1e-5, batch=8, beta=0.1)
    assert made["continuous"].shipped == {0: "checkpoints/continuous_seed0"}


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"seeds": [1]}, "config: unknown key 'continuous.seeds'"),
        ({"align": {"lr": "fast"}}, "config: continuous: align.lr is 'fast'"),
        (3, "config: continuous is 3: must be a mapping"),
    ],
)
def test_a_bad_section_of_an_lmm_is_named(own: Any, says: str) -> None:
    with pytest.raises(InputError) as caught:
        plans(config(lmms=["continuous"], continuous=own))
    assert str(caught.value).startswith(says)


def test_texts_that_spell_numbers_are_numbers() -> None:
    assert typed({"align": {"lr": "1e-3", "batch": "8"}, "shipped": "null", "a": ["true", "t1.0"]}) == {
        **{"align": {"lr": 1e-3, "batch": 8}, "shipped": None},
        "a": [True, "t1.0"],
    }


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"promts": {}}, "unknown key 'promts'"),
        ({"prompts": {"m": 1}}, "unknown key 'prompts.m'; known are n, temperature"),
        ({"prompts": {"n": 0}}, "prompts.n is 0: must be at least 1"),
        ({"prompts": {"n": 2.5}}, "prompts.n is 2.5: must be a whole number"),
        ({"prompts": 3}, "prompts is 3: must be a mapping"),
        ({"align": {"lr": "fast"}}, "align.lr is 'fast': must be a number"),
        ({"align": {"lr": float("nan")}}, "align.lr is nan: must be a number"),
        ({"pairs": {"product": 1}}, "pairs.product is 1: must be true or false"),
        ({"evaluate": {"samplers": "t1.0"}}, "evaluate.samplers is 't1.0': must be a list of texts"),
        ({"seeds": []}, "seeds is []"),
        ({"seeds": [0, 0]}, "seeds is [0, 0]: must be a list, without repetition"),
        ({"lmms": ["llama"]}, "lmms is ['llama']"),
        ({"iterations": 0}, "iterations is 0: must be a whole number, 1 to 100"),
        ({"main": "x"}, "main is 'x': must be one of the arms (silmm, dpo"),
        ({"arms": {"silmm": {}, "base": {}}}, "arms.base: an arm's name"),
        ({"arms": {"silmm": {}, "a": {"pretrain": {}}}}, "unknown key 'arms.a.pretrain'"),
        ({"arms": {"silmm": {}, "a": {"pairs": {"scorer": "x"}}}}, "arms.a.pairs: pairs.scorer is 'x': choose one of"),
        ({"arms": {"silmm": {}, "a": {"train": False, "pairs": {}}}}, "arms.a.pairs has no effect"),
        ({"arms": {"silmm": {"train": False}}}, "arms.silmm: the main arm must train"),
        ({"shipped": {"discrete": {"x": "y"}}}, "shipped.discrete.x is 'y'"),
    ],
)
def test_a_bad_config_is_refused_in_one_line(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(config(**changes))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ablations_run_where_a_figure_asks_for_them() -> None:
    ablations = {"hot": {"align": {"lr": 1e-3}}, "as_sft": {"align": {"loss": "sft"}}}
    figures = {"one": ["silmm@1", "hot"], "all": ["silmm", "as_sft"], "none": None, "lost": ["dpo"]}
    arms = {**config()["arms"], "dpo": None}
    made = plan(config(arms=arms, ablations=ablations, figures=figures))
    assert not {e.arm for e in made.entries()} & set(ablations)
    assert [(e.arm, e.iteration) for e in made.entries("one")] == [("silmm", 1), ("hot", 1)]
    assert [(e.arm, e.iteration, e.home) for e in made.entries("all")] == [
        *(("silmm", t, "silmm") for t in (1, 2, 3)),
        ("as_sft", 1, "sft"),
    ]
    assert set(made.figures) == {"one", "all"}, "a figure of null, or of an arm that is null, is none"


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"one": "silmm"}, "figures.one is 'silmm': must be a list of arms"),
        ({"one": ["silm"]}, "figures.one: no arm 'silm'; there is silmm, best_of_n"),
        ({"one": ["silmm@4"]}, "figures.one: 'silmm@4': silmm has iterations 1 to 3"),
        ({"one": ["silmm@"]}, "figures.one: 'silmm@': silmm has iterations 1 to 3"),
    ],
)
def test_figures_name_arms_that_there_are(figures: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(config(figures=figures))


def test_every_ablation_of_the_default_config_is_in_a_figure() -> None:
    for lmm, made in plans(yaml.safe_load((CONFIG / "default.yaml").read_text())).items():
        asked = {word.partition("@")[0] for words in made.figures.values() for word in words}
        assert {name for name, arm in made.arms.items() if not arm.unasked} <= asked, lmm


def adopted(**changes: Any) -> dict[str, Any]:
    """The default config, for Janus alone."""
    janus = {**config()["janus"], "adopt": {"weights": "somewhere"}, **changes}
    return config(lmms=["janus"], janus=janus)


def test_a_pretrained_lmm_has_its_main_arm_alone() -> None:
    made = plans(adopted())["janus"]
    assert list(made.arms) == ["silmm"]
    assert made.settings["adopt"].weights == "somewhere"
    assert made.options("adopt").startswith("--weights somewhere --chat '' --visual '' --diffusion '' --rank ")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"adopt": {}}, "config: janus.adopt.weights is '': must be the folder of the model's weights"),
        ({"arms": {"dpo": None, "sft": None}}, "config: janus: arms.best_of_n trains nothing and is only judged"),
        ({"pretrain": {}}, "config: unknown key 'janus.pretrain'; known are main, arms, adopt, prompts"),
        ({"figures": {"figure_3": ["silmm"]}}, "config: unknown key 'janus.figures'"),
        ({"adopt": {"weights": "a", "dtype": "int8"}}, "config: janus: adopt.dtype is 'int8': choose one of bfloat16"),
    ],
)
def test_what_a_pretrained_lmm_cannot_have_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        plans(adopted(**changes))
    assert str(caught.value).startswith(says)


def test_shapeworld_s_lmms_are_not_adopted() -> None:
    with pytest.raises(InputError, match="unknown key 'discrete.adopt'"):
        plan(config(discrete={"adopt": {"weights": "a"}}))


@pytest.mark.parametrize(
    ("lmm", "own", "says"),
    [
        (
            "continuous",
            {"arms": {"x": {"align": {"loss": "sft"}}}},
            "config: continuous: arms.x.align: align.sft_weight is 0.0: must be above 0 with align.loss sft",
        ),
        (
            "discrete",
            {"arms": {"x": {"align": {"loss": "sft", "sft_weight": 0.0}}}},
            "config: discrete: arms.x.align: align.sft_weight is 0.0: must be above 0 with align.loss sft",
        ),
        ("discrete", {"images": {"noises": 2}}, "config: discrete: images.noises is 2: must be 1"),
        ("discrete", {"images": {"guidance": 3.0}}, "config: discrete: images.guidance is 3.0: must be 1.0"),
        ("discrete", {"images": {"top_k": 9}}, "config: discrete: images.top_k is 9: must be 0"),
        (
            "discrete",
            {"ablations": {"x": {"images": {"top_k": 9}}}},
            "config: discrete: ablations.x: images.top_k is 9: must be 0",
        ),
        ("continuous", {"arms": {"x": {"images": {"rate": 0.0}}}}, "config: continuous: arms.x: images.rate is 0.0"),
        (
            "continuous",
            {"evaluate": {"samplers": ["t1.0"]}},
            "config: continuous: evaluate.samplers has 't1.0': expected fresh_noise or constant_noise",
        ),
        (
            "discrete",
            {"arms": {"x": {"evaluate": {"samplers": ["fresh_noise"]}}}},
            "config: discrete: arms.x: evaluate.samplers has 'fresh_noise': expected t<temperature>",
        ),
        (
            "janus",
            {"adopt": {"weights": "w"}, "arms": {"x": {"pairs": {"scorer": "oracle"}}}},
            "config: janus: arms.x: pairs.scorer is oracle: it judges ShapeWorld's pictures alone",
        ),
        ("discrete", {"pretrain": {"width": 20, "heads": 4}}, "config: discrete: pretrain.width is 20: must be a"),
    ],
)
def test_settings_that_cannot_go_together_are_refused_before_anything_runs(lmm: str, own: Any, says: str) -> None:
    whole = yaml.safe_load((CONFIG / "default.yaml").read_text())
    whole["lmms"] = [lmm]
    for stage, changes in own.items():
        whole[lmm][stage] = {**whole[lmm].get(stage, {}), **changes}
    with pytest.raises(InputError) as caught:
        plans(whole)
    assert str(caught.value).startswith(says)
