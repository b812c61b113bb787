"""The weights inside the package: whole, described, calibrated, and far better than a guess on real complexes."""

from __future__ import annotations

import csv
import re

import pandas as pd
import pytest

from bindrae.data.dataset import ShardDataset
from bindrae.data.layout import SHIPPED, DataLayout
from bindrae.data.storage import sha256_file
from bindrae.evaluation.evaluate import score_dataset
from bindrae.evaluation.predictors import refined_predictor
from bindrae.prediction.predict import Predictor

CARD = SHIPPED.parent / "README.md"


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return Predictor.load()


def rows_of_the_training() -> list[dict[str, str]]:
    with (SHIPPED.parent / "complexes.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_card_describes_this_file(shipped: Predictor) -> None:
    assert sha256_file(SHIPPED) in CARD.read_text()
    assert shipped.calibrations.fitted
    assert SHIPPED.stat().st_size < 25e6


def test_the_card_counts_the_complexes_that_were_trained_on() -> None:
    rows, text = rows_of_the_training(), CARD.read_text().replace(",", "")
    sides = [row["side"] for row in rows]
    for side, words in (("train", "to train on"), ("val", "to validate on"), ("excluded", "left out")):
        assert re.search(rf"\b{sides.count(side)} {words}", text), (side, sides.count(side))
    clusters = {side: {row["cluster"] for row in rows if row["side"] == side} for side in ("train", "val", "excluded")}
    assert not clusters["train"] & clusters["val"]
    assert not clusters["train"] & clusters["excluded"]


@pytest.fixture(scope="module")
def residues(shipped: Predictor, demo_layout: DataLayout) -> pd.DataFrame:
    """Scores of the demo complexes that were not trained on."""
    trained = {row["id"] for row in rows_of_the_training() if row["side"] != "excluded"}
    dataset = ShardDataset(demo_layout, "all")
    new = [i for i, name in enumerate(dataset.ids) if name not in trained]
    assert len(new) >= 1
    predict = refined_predictor(shipped.model, shipped.calibrations.refined, shipped.networks)
    found: pd.DataFrame = score_dataset(dataset.take(new), predict, "shipped")[0]
    return found


def test_most_side_chains_of_crystals_are_found_without_clashes(residues: pd.DataFrame) -> None:
    # A guess among three wells finds a third.
    assert residues["chi1_hit20"].sum() > 0.7 * residues["chi1_n"].sum()
    assert residues["clash_atoms"].sum() < 0.01 * residues["atoms"].sum()


def test_confidence_is_about_the_share_of_hits_and_knows_which(residues: pd.DataFrame) -> None:
    own = residues[residues["chi1_n"] > 0]
    right = own["chi1_hit20"].mean()
    assert abs(own["confidence"].mean() - right) < 0.08
    assert own.nlargest(len(own) // 2, "confidence")["chi1_hit20"].mean() > right + 0.05
