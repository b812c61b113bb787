"""The four figures: what targets say, which peers are shown, and when they may be compared."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest

from bindrae.data.layout import RunLayout
from bindrae.errors import BindraeError
from bindrae.reporting.acceptance import (
    ACCEPTANCE,
    acceptance_cards,
    acceptance_figure,
    acceptance_heads,
    acceptance_rows,
    peers_note,
    standing,
    summary,
)
from bindrae.reporting.peers import SHIPPED_PEERS, Peer, main, read_peers

CHI1, IRMSD, CLASHES, _ = ACCEPTANCE


def rows_of(**model: tuple[float, float | None, float | None]) -> dict[str, Any]:
    """Rows of an evaluation with the model's figures alone, the same in both scopes."""
    part = {key: dict(zip(("value", "low", "high"), entry, strict=True)) for key, entry in model.items()}
    return {"model": {"overall": part, "pocket": part}}


def score_record(folder: Path, name: str, **changes: Any) -> Path:
    record = {
        "chi1_acc20": 82.0, "all_chi_acc20": 61.5, "clash_atoms_pct": 1.5, "fape": 0.375,
        "pocket": {"chi1_acc20": 80.0, "all_chi_acc20": 60.0, "irmsd": 0.875},
        "intervals": {"chi1_acc20": [81.0, 83.0], "pocket": {"irmsd": [0.75, 1.0]}},
        "counts": {"complexes": 4, "residues": 1234},
    } | changes  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(record))
    return path


@pytest.mark.parametrize(
    ("entry", "words", "tone"),
    [
        ((87.0, 86.0, 88.0), "met", "good"),
        ((83.2, 82.3, 84.1), "missed by 3.8 points", "bad"),
        ((86.5, 85.0, 87.5), "missed by 0.5 points, within the interval", "bad"),
        ((86.99, None, None), "missed by 0.010 points", "bad"),
    ],
)
def test_a_target_is_met_or_missed(entry: tuple[float, float, float], words: str, tone: str) -> None:
    assert standing(CHI1, rows_of(chi1_acc20=entry)) == (words, tone)


def test_the_summary_names_what_is_met_and_missed() -> None:
    rows = rows_of(chi1_acc20=(88.0, 87.0, 89.0), all_chi_acc20=(61.5, 60.0, 63.0), clash_atoms_pct=(0.08, 0.06, 0.09))
    assert summary(rows) == (
        "2 of 4 targets are met: χ1 within 20°, Clashing atoms. "
        "Missed: Pocket χ1 within 20° (by 2.0 points), All χ within 20° (by 6.5 points)."
    )
    assert summary({}) == "0 of 4 targets are met."


def test_lower_is_better_for_clashes_and_distances_have_no_target() -> None:
    rows = rows_of(clash_atoms_pct=(0.75, 0.4, 1.0), irmsd=(0.8, 0.7, 0.9))
    assert standing(CLASHES, rows) == ("missed by 0.25 points, within the interval", "bad")
    assert standing(CLASHES, rows_of(clash_atoms_pct=(0.5, 0.4, 0.6))) == ("met", "good")
    assert standing(IRMSD, rows) == ("no target set", "")
    assert standing(CHI1, rows) == ("undefined", "")


def test_cards_are_the_four_figures() -> None:
    cards = acceptance_cards(rows_of(chi1_acc20=(83.2, 82.3, 84.1)))
    assert [card["label"] for card in cards] == ["χ1 within 20°", "Pocket iRMSD", "Clashing atoms", "FAPE"]
    assert cards[0]["value"] == "83.2 %"
    assert cards[0]["target"] == "≥ 87.0 %"
    assert cards[1] | {"under": 0} == {
        "label": "Pocket iRMSD", "value": "–", "target": "–", "standing": "undefined", "tone": "", "under": 0,
    }  # fmt: skip


def test_shipped_peers_are_those_of_casf2016_and_compared_only_there(run: RunLayout) -> None:
    evaluation = json.loads(run.evaluation.read_text())
    peers = read_peers(run, evaluation)
    assert [(peer.name, peer.n_complexes) for peer in peers] == [("FASPR", 285), ("ProMod3", 285)]
    assert "a guide, not a comparison" in peers_note(peers, evaluation)
    same = evaluation | {"n_complexes": 285, "n_residues": 123696}
    assert "were given the same complexes (CASF-2016)" in peers_note(peers, same)
    assert peers_note([], same) == ""


def test_peers_of_the_run_take_the_place_of_shipped_ones(run: RunLayout) -> None:
    evaluation = json.loads(run.evaluation.read_text())
    score_record(run.peers, "rotamers <b>")
    peers = read_peers(run, evaluation)
    rows = acceptance_rows(evaluation["rows"], peers)
    assert acceptance_heads(peers)[-1] == ("rotamers <b>", True)
    table = {row[0]: row[-1] for row in rows}
    assert table["χ1 within 20° (%)"] == "82.0"
    assert table["Pocket χ1 within 20° (%)"] == "80.0"
    assert table["Pocket iRMSD (Å)"] == "0.88"
    figure = acceptance_figure(evaluation["rows"], peers)
    assert "<b>" not in figure
    assert "rotamers <b> 82.0 %" in html.unescape(figure)


def test_peers_of_other_complexes_are_refused(run: RunLayout) -> None:
    evaluation = json.loads(run.evaluation.read_text())
    score_record(run.peers, "other", counts={"complexes": 5, "residues": 9})
    with pytest.raises(
        BindraeError, match=r"other\.json scores 5 complexes with 9 residues, the evaluation 4 with 1234"
    ):
        read_peers(run, evaluation)
    (run.peers / "other.json").write_text('{"counts": 3}')
    with pytest.raises(BindraeError, match="is no record of scored structures"):
        read_peers(run, evaluation)


def test_without_a_ligand_or_intervals_a_peer_has_dashes(run: RunLayout) -> None:
    evaluation = json.loads(run.evaluation.read_text())
    score_record(run.peers, "apo", pocket=None, intervals=None)
    (peer,) = read_peers(run, evaluation)
    assert peer.rows["pocket"]["irmsd"] == {"value": None, "low": None, "high": None}
    assert [row[-1] for row in acceptance_rows(evaluation["rows"], [peer])][:2] == ["82.0", "–"]


def test_the_shipped_file_is_made_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "peers.json"
    monkeypatch.setattr("bindrae.reporting.peers.SHIPPED_PEERS", target)
    main(["SET", f"One={score_record(tmp_path, 'one')}", f"Two={score_record(tmp_path, 'two', chi1_acc20=81.23456)}"])
    made = [Peer(**entry) for entry in json.loads(target.read_text())]
    assert [(peer.name, peer.dataset) for peer in made] == [("One", "SET"), ("Two", "SET")]
    assert made[1].rows["overall"]["chi1_acc20"] == {"value": 81.2346, "low": 81.0, "high": 83.0}
    shipped = json.loads(SHIPPED_PEERS.read_text())
    assert {tuple(sorted(entry)) for entry in shipped} == {tuple(sorted(vars(made[0])))}
