"""What the model is given at prediction, against what it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from bindrae.config import CleanSettings, PocketSettings, TokenSettings
from bindrae.data.stages import clean_complex, pocket_row, tokens_row
from bindrae.errors import RejectedComplex
from bindrae.prediction.inputs import read_complex
from bindrae.prediction.source import read_source


def test_inputs_are_those_of_training(demo: dict[str, dict[str, Any]]) -> None:
    for identifier in ("1s3v", "1uou"):
        entry = demo[identifier]
        clean = clean_complex(entry, CleanSettings())
        tokens = tokens_row(clean | pocket_row(clean, PocketSettings()), TokenSettings())
        given = read_complex(identifier, Path(entry["protein"]), entry["ligand"][0])
        sample = {name: value.numpy() for name, value in given.sample.items()}
        assert given.table.number.tolist() == clean["number"].tolist()
        assert given.table.chain == clean["chain"]
        for name in ("aatype", "chain_index", "linked"):
            assert np.array_equal(sample[name], clean[name])
        assert np.array_equal(sample["atom14"][:, :4], clean["atom14"][:, :4])
        assert np.array_equal(sample["lig_points"], tokens["xyz"])
        assert np.array_equal(sample["lig_types"], tokens["types"])
        assert np.array_equal(sample["lig_context"], tokens["is_context"])
        assert not sample["atom14_mask"][:, 4:].any()


def test_a_residue_name_without_room_is_no_bug(demo: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    structure = gemmi.read_structure(demo["1s3v"]["protein"])
    structure[0][0][0].name = "ABCDEFGHIJK"
    path = tmp_path / "named.cif"
    structure.make_mmcif_document().write_file(str(path))
    with pytest.raises(RejectedComplex, match="ABCDEFGHIJK") as caught:
        read_source(path)
    assert caught.value.code == "protein_unreadable"
