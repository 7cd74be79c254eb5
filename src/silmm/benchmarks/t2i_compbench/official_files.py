"""The result files that the published evaluators of T2I-CompBench++ write, a folder a category."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from silmm.benchmarks.interface import OFFICIAL, Item, Row
from silmm.benchmarks.t2i_compbench.scores import BOXES, PHRASES, TEXT, mean_score, picture_scores

# (folder, file of the mean, what stands before it) of each kind of question
_BLIP = ("annotation_blip", "blip_vqa_score.txt", "BLIP-VQA score:")
_CLIP = ("annotation_clip", "score_avg.txt", "score avg:")
_2D = ("labels/annotation_obj_detection_2d", "avg_score.txt", "score avg:")
_3D = ("labels/annotation_obj_detection_3d", "avg_result.txt", "avg score is ")
_NUM = ("annotation_num", "score.txt", "avg:")
_ALL = ("annotation_3_in_1", "vqa_score.txt", "score avg:")
_BOXES = {"spatial_2d": _2D, "spatial_3d": _3D, "numeracy": _NUM, "complex": _2D}


def write_official(folder: Path, items: Sequence[Item], rows: Sequence[Row]) -> None:
    """`<category>/<evaluator's folder>/vqa_result.json`, `[{"question_id": .., "answer": ..}]` in the order of the
    pictures, and the mean beside it. A complex prompt that an evaluator is not meant for has no row in its file."""
    pictures: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        pictures[row.item_id, row.image].append(row)
    results: dict[tuple[str, tuple[str, str, str]], list[dict[str, object]]] = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)
    for item in items:
        for image in range(len(item.seeds)):
            number, own = counts[item.category], pictures[item.id, image]
            counts[item.category] += 1
            for kind, score in picture_scores(OFFICIAL, own).items():
                where = {PHRASES: _BLIP, TEXT: _CLIP, BOXES: _BOXES.get(item.category, _2D)}[kind]
                answer: object = f"{score:.4f}" if kind == PHRASES else score
                results[item.category, where].append({"question_id": number, "answer": answer})
            if item.category == "complex":
                results["complex", _ALL].append({"question_id": number, "answer": mean_score(OFFICIAL, own)})
    for (category, (name, mean_file, words)), answers in results.items():
        place = folder / category / name
        place.mkdir(parents=True)
        (place / "vqa_result.json").write_text(json.dumps(answers), encoding="utf-8")
        mean = sum(float(str(answer["answer"])) for answer in answers) / len(answers)
        (place / mean_file).write_text(f"{words}{mean}", encoding="utf-8")
