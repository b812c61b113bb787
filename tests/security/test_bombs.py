"""Small files that ask for much: each ends with a message that names the limit, before the memory is taken."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bindrae.chem import ligand_files
from bindrae.chem.ligand import read_ligand
from bindrae.config import ModelSettings, read_yaml
from bindrae.data.storage import read_json
from bindrae.errors import BindraeError, RejectedComplex
from bindrae.files import TooLargeError, read_limited
from bindrae.model.model_file import FORMAT, load_model
from bindrae.model.shapes import Budget, TooLarge
from bindrae.model.stage1 import Stage1
from bindrae.prediction.inputs import read_complex
from bindrae.structure import atoms
from bindrae.structure.atoms import read_atoms
from complexes import pdb_text, peptide

_MB = 2**20
BOMB_MB = 200


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gzip of 200 kB that unpacks to 200 MB."""
    path = tmp_path_factory.mktemp("bomb") / "bomb.gz"
    with gzip.open(path, "wb") as stream:
        for _ in range(BOMB_MB):
            stream.write(b"ATOM    \n" * (_MB // 9))
    assert path.stat().st_size < _MB
    return path


def memory_of(call: Callable[[], object]) -> float:
    """Most memory (MB) that Python held more than before."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / _MB
    finally:
        tracemalloc.stop()


def test_unpacking_stops_at_the_limit(bomb: Path) -> None:
    def unpack() -> None:
        with pytest.raises(TooLargeError, match=r"bomb\.gz holds more than 4,194,304 bytes once unpacked"):
            read_limited(bomb, 4 * _MB)

    assert memory_of(unpack) < 20


def test_the_limit_is_of_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    (tmp_path / "b").write_bytes(gzip.compress(b"x" * 100))
    for name in ("a", "b"):
        assert read_limited(tmp_path / name, 100) == b"x" * 100
        with pytest.raises(TooLargeError, match="more than 99 bytes"):
            read_limited(tmp_path / name, 99)


def test_a_protein_that_unpacks_to_too_much_is_rejected(
    bomb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atoms, "MAX_BYTES", 4 * _MB)
    path = tmp_path / "p.pdb.gz"
    path.symlink_to(bomb)
    for read in (read_atoms, lambda path: read_complex("x", path, None)):

        def refused(read: Callable[[Path], object] = read) -> None:
            with pytest.raises(RejectedComplex, match="4,194,304 bytes") as caught:
                read(path)
            assert caught.value.code == "protein_too_large"
            assert "leave out" in caught.value.hint

        assert memory_of(refused) < 20


@pytest.mark.parametrize("name", ["l.sdf", "l.sdf.gz", "l.mol2.gz"])
def test_a_ligand_that_unpacks_to_too_much_is_rejected(
    bomb: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ligand_files, "_MAX_BYTES", 4 * _MB)
    path = tmp_path / name
    path.symlink_to(bomb)

    def refused() -> None:
        with pytest.raises(RejectedComplex, match="4,194,304 bytes") as caught:
            read_ligand([path], 500)
        assert caught.value.code == "ligand_too_large"

    assert memory_of(refused) < 20


@pytest.mark.parametrize("ending", ["pdb", "cif"])
def test_more_atoms_than_the_limit_are_rejected(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import gemmi

    chain = peptide("AFKDSWLEGH")
    path = tmp_path / f"p.{ending}"
    text = pdb_text(chain) + "END\n"
    path.write_text(text if ending == "pdb" else gemmi.read_pdb_string(text).make_mmcif_document().as_string())
    monkeypatch.setattr(atoms, "MAX_ATOMS", len(chain))
    read_atoms(path)
    read_complex("x", path, None)
    monkeypatch.setattr(atoms, "MAX_ATOMS", len(chain) - 1)
    for read in (read_atoms, lambda path: read_complex("x", path, None)):
        with pytest.raises(RejectedComplex, match=f"{len(chain)} atoms, more than {len(chain) - 1}") as caught:
            read(path)
        assert caught.value.code == "protein_too_large"


@pytest.mark.parametrize(
    "changes",
    [{"c_s": 10**6}, {"depth": 10**9}, {"c_s": 10**12}, {"local_hidden": 10**7}, {"chi_bins": 10**9}],
    ids=str,
)
def test_a_model_file_gets_no_more_memory_than_it_has_weights_for(tmp_path: Path, changes: dict[str, int]) -> None:
    """Otherwise a header of a line asks for any amount of memory."""
    settings = ModelSettings(**changes).model_dump(mode="json", exclude={"preset"})
    about = {"bindrae": json.dumps({"format": FORMAT, "settings": settings})}
    save_file({f"w{i}": torch.zeros(1) for i in range(400)}, tmp_path / "m.safetensors", about)
    with pytest.raises(BindraeError, match="not those of the architecture"):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("changes", [{}, {"chi_head": "sincos"}, {"ligand_film": True, "d_plm": 8}], ids=str)
def test_the_budget_counts_all_that_a_model_is_made_of(changes: dict[str, Any]) -> None:
    """A way of making tensors that it does not know would be a way around it."""
    with Budget(10**9) as budget:
        model = Stage1(ModelSettings(c_s=32, c_z=16, depth=1, heads=2, local_hidden=16, **changes))
    made = sum(x.numel() for x in [*model.parameters(), *model.buffers()])
    counted = 10**9 - budget.left
    assert made <= counted < 1.2 * made
    with pytest.raises(TooLarge), Budget(counted - 1):
        Stage1(model.settings)


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_nesting_without_end_is_a_damaged_file(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "a"
    path.write_text("[" * depth)
    with pytest.raises(BindraeError, match="is not valid JSON"):
        read_json(path)
    with pytest.raises(BindraeError, match="is not valid YAML"):
        read_yaml(path)
