"""Print what each part of KC-DPO is worth: the arms of config/kc_dpo.yaml against the base.

python paper_figures/kc_dpo_table.py --gains docs/study/kc_dpo_gains.csv
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd
from study_tables import interval, table

from silmm.errors import InputError
from silmm.report import tables
from silmm.report.summarize import GAINS

SAMPLERS = ("fresh_noise", "constant_noise")


def rows(gains: pd.DataFrame) -> list[tuple[str, ...]]:
    """An arm a row, the best with fresh noise first: whole prompts in `core` with both noises."""
    found = gains[(gains.versus == "base") & (gains.metric == "oracle_prompt") & (gains.category == "core")]
    by_arm = {
        arm: {r.sampler: r for _, r in mine.iterrows()} for arm, mine in found.groupby("arm") if arm != "best_of_n"
    }
    made = []
    for arm, noises in sorted(by_arm.items(), key=lambda item: -item[1][SAMPLERS[0]].value):
        cells = [arm]
        for sampler in SAMPLERS:
            r = noises[sampler]
            cells += [f"{r.value:.3f}", f"{r.gain_abs:+z.3f}", interval(r, "ci_low", "ci_high")]
        made.append(tuple(cells))
    return made


def main() -> None:
    """Read gains.csv and print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gains", type=Path, required=True, help="gains.csv of a run of config/kc_dpo.yaml")
    args = parser.parse_args()
    head = ("arm", "fresh noise", "gain", "95 % (prompts)", "constant noise", "gain", "95 % (prompts)")
    print(table(head, rows(tables.read(args.gains, GAINS))))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"kc_dpo_table: error: {error}")
