from __future__ import annotations

from residue_tables import Residue, residue_table

from bindrae.evaluation.refinement import refinement_figures

RIGHT, WRONG = (180.0,), (-60.0,)


def test_what_is_won_and_lost_and_which_clashes_go() -> None:
    # predicted before and after, clashing atoms before and after, in the pocket
    cases = [
        (RIGHT, RIGHT, 0, 0, False),
        (WRONG, RIGHT, 3, 0, True),
        (WRONG, RIGHT, 2, 1, False),
        (RIGHT, WRONG, 0, 2, True),
        (WRONG, WRONG, 0, 0, False),
    ]

    def table(k: int) -> list[Residue]:
        return [
            Residue("VAL", (175.0,), case[k], clashes=case[2 + k], ligand_clashes=case[2 + k] // 3, contact=case[4])
            for case in cases
        ]

    glycine = Residue("GLY", (), (), clashes=1)
    lost = Residue("VAL", (175.0,), None, id="lost")
    there = Residue("VAL", (175.0,), RIGHT, id="lost", clashes=7)
    before, after = residue_table([*table(0), glycine, there]), residue_table([*table(1), glycine, lost])
    found = refinement_figures(after, before)
    overall, pocket = found["overall"], found["pocket"]
    assert (overall["n"], overall["moved"]) == (5, 3)
    assert overall["chi1"] == {"kept": 1, "gained": 2, "lost": 1, "neither": 1}
    assert overall["all_chi"] == overall["chi1"]
    assert pocket["chi1"] == {"kept": 0, "gained": 1, "lost": 1, "neither": 0}
    assert overall["clashes"] == {"atoms_before": 6, "atoms_after": 4, "freed": 1, "left": 2, "new": 1}
    assert pocket["ligand_clashes"] == {"atoms_before": 1, "atoms_after": 0, "freed": 1, "left": 0, "new": 0}
    backwards = refinement_figures(before, after)["overall"]["chi1"]
    assert (backwards["gained"], backwards["lost"]) == (1, 2)
