import random
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_core.data.tables import PoolPair
from ser_core.errors import QualityError
from ser_core.learn.compute.precision import Precision
from ser_core.learn.reward.reward_model import load
from ser_core.learn.reward.scoring import score_pairs, score_rows


def texts(count: int, longest: int = 20) -> list[tuple[str, str]]:
    draw = random.Random(5)
    return [tuple(" ".join(f"w{draw.randrange(60)}" for _ in range(draw.randint(1, longest))) for _ in range(2)) for _ in range(count)]


def unknown(pairs: int) -> np.ndarray:
    return np.full((pairs, 2), np.nan)


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
@pytest.mark.parametrize(("threads", "sizes"), [(1, (1, 2, 3, 7, 20, 40)), (2, (1, 5))])  # more threads cost much on a busy machine
def test_a_score_is_the_same_to_the_last_bit_in_any_company_and_order(base: Path, autocast, threads: int, sizes: tuple[int, ...]):
    torch.set_num_threads(threads)
    model = load(base, Precision("cpu", autocast), max_length=64)
    rows = model.encoder.rows(*zip(*texts(40), strict=True))
    together = score_rows(model, rows, 512)
    draw = random.Random(9)
    for size in sizes:
        chosen = draw.sample(range(len(rows)), size)
        assert np.array_equal(score_rows(model, [rows[index] for index in chosen], 512), together[chosen])
    torch.set_num_threads(1)


def test_pairs_get_both_scores_lengths_and_a_count_of_what_was_cut(bert: Path, fp32: Precision):
    model = load(bert, fp32, max_length=16)
    pairs = [PoolPair("short", "w1", "w2", "w3 w4", "s"), PoolPair("long", "w1 " * 20, "w2", "w3 w4", "s")]
    scores, truncated = score_pairs(model, pairs, 512, unknown(2))
    assert [score.id for score in scores] == ["short", "long"]
    assert [(score.tokens_1, score.tokens_2) for score in scores] == [(1, 2), (1, 2)]
    assert truncated == 1
    assert scores[0].score_1 == score_rows(model, model.encoder.rows(["w1"], ["w2"]), 512)[0]


def test_a_score_that_is_not_finite_names_the_pair(bert: Path, fp32: Precision):
    model = load(bert, fp32, max_length=16)
    model.network.classifier.bias.data.fill_(float("nan"))
    with pytest.raises(QualityError, match="pair x") as raised:
        score_pairs(model, [PoolPair("x", "w1", "w2", "w3", "s")], 512, unknown(1))
    assert raised.value.reason == "NonFiniteScore"
    assert "training.search.learningRates" in raised.value.hint


def test_known_scores_are_not_computed_again(bert: Path, fp32: Precision):
    model = load(bert, fp32, max_length=16)
    pairs = [PoolPair(str(number), "w1", "w2", "w3 w4", "s") for number in range(3)]
    complete, _ = score_pairs(model, pairs, 512, unknown(3))
    known = unknown(3)
    known[0], known[1, 1] = (7.0, 8.0), 9.0
    counts = []
    scores, _ = score_pairs(model, pairs, 512, known, counts.append)
    assert sum(counts) == 3
    assert [(score.score_1, score.score_2) for score in scores] == [
        (7.0, 8.0),
        (complete[1].score_1, 9.0),
        (complete[2].score_1, complete[2].score_2),
    ]
