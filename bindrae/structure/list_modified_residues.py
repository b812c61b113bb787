"""Write ``modified_residues.csv``: the amino acids of the chemical component dictionary that are none of the 20.

``python -m bindrae.structure.list_modified_residues`` reads the dictionary (wwPDB, CC0) as biotite ships it. Run it
when the dictionary has grown; the table is data, and cleaning itself needs no biotite.
"""

from __future__ import annotations

from pathlib import Path

from bindrae.chem import residues as aa

TABLE = Path(__file__).with_name("modified_residues.csv")


def modified_residues() -> list[tuple[str, str, str]]:
    """Name, one-letter parent (X where there is none) and hand (L or D) of each, sorted by name."""
    from biotite.structure.info import ccd

    components = ccd.get_ccd()["chem_comp"]
    columns = (components[name].as_array().tolist() for name in ("id", "type", "mon_nstd_parent_comp_id"))
    rows = []
    for code, kind, parent in zip(*columns, strict=True):
        kind = kind.upper()
        if code in aa.TYPE_OF_NAME or "PEPTIDE" not in kind or kind == "PEPTIDE-LIKE":
            continue
        # Beta and gamma amino acids have one or two atoms more in the backbone: no parent has their frame.
        known = parent in aa.TYPE_OF_NAME and "BETA" not in kind and "GAMMA" not in kind
        letter = aa.ONE_LETTER[aa.TYPE_OF_NAME[parent]] if known else "X"
        rows.append((code, letter, "D" if kind.startswith("D-") else "L"))
    return sorted(rows)


if __name__ == "__main__":
    TABLE.write_text("name,parent,hand\n" + "".join(f"{','.join(row)}\n" for row in modified_residues()))
