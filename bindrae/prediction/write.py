"""Writing a prediction: the input file with new side chains, and everything else as it was."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np

from bindrae import __version__
from bindrae.chem import residues as aa
from bindrae.data.storage import write_text
from bindrae.errors import BindraeError
from bindrae.prediction.inputs import Complex, can_be_built
from bindrae.prediction.keep import kept_atoms
from bindrae.prediction.predict import Prediction, Predictor, Sidechains
from bindrae.prediction.source import AtomKey, one_location, place
from bindrae.structure.atoms import text

_CIF_ENDINGS = (".cif", ".mmcif")
_PDB_ENDINGS = (".pdb", ".ent")
_BACKBONE = [name.encode() for name in (*aa.BACKBONE, "OXT")]
_ELEMENTS = {symbol: gemmi.Element(symbol) for symbol in ("C", "N", "O", "S", "SE")}


def check_output(path: Path) -> None:
    """Check that the ending of an output file names a format.

    Raises
    ------
    BindraeError
        When it does not.
    """
    if path.suffix.lower() not in (*_CIF_ENDINGS, *_PDB_ENDINGS):
        raise BindraeError(f"{path}: the ending names no format", "end the output in .pdb or .cif")


def write_prediction(prediction: Prediction, predictor: Predictor, path: Path) -> None:
    """Write all samples as the models of one PDB or mmCIF file.

    Raises
    ------
    BindraeError
        When the ending names no format, or the PDB format cannot hold the structure.
    """
    check_output(path)
    structure = _structure(prediction)
    digest = predictor.sha256
    facts = [
        f"BINDRAE {__version__}, side chains by the model with SHA-256",
        digest,
        "B-factors of rebuilt residues: 100 x probability that chi1 is within 20 degrees",
    ]
    if path.suffix.lower() in _PDB_ENDINGS:
        _check_pdb(prediction.complex, path)
        structure.raw_remarks = ["REMARK 999", *(f"REMARK 999 {fact}" for fact in facts)]
        options = gemmi.PdbWriteOptions(cryst1_record=structure.cell.is_crystal())
        write_text(structure.make_pdb_string(options), path)
        return
    document = structure.make_mmcif_document()
    block = document.sole_block()
    block.set_mmcif_category(
        "_software",
        {
            "pdbx_ordinal": ["1"],
            "name": ["BINDRAE"],
            "version": [__version__],
            "classification": ["model building"],
            "description": [f"side chains; model SHA-256 {digest}; {facts[2]}"],
        },
    )
    write_text(document.as_string(), path)


def _check_pdb(complex_: Complex, path: Path) -> None:
    source = complex_.source
    longest = max(map(len, source.chain.tolist())), max(map(len, source.residue_name.tolist()))
    if longest[0] > 2 or longest[1] > 4:
        raise BindraeError(
            f"{path}: the PDB format has no room for the chain ids or residue names of {complex_.protein}",
            "end the output in .cif",
        )


def _structure(prediction: Prediction) -> gemmi.Structure:
    source = prediction.complex.source
    structure = gemmi.Structure()
    structure.name = source.structure.name
    structure.cell = source.structure.cell
    structure.spacegroup_hm = source.structure.spacegroup_hm
    plan = _plan(prediction.complex)
    for number, sidechains in enumerate(prediction.samples, start=1):
        structure.add_model(_model(prediction.complex, sidechains, plan, number))
    structure.setup_entities()
    # Bonds to metals and sugars stay; which cysteines are bonded now is for the new coordinates to say.
    for link in source.structure.connections:
        if link.type != gemmi.ConnectionType.Disulf:
            structure.connections.append(link)
    return structure


def _plan(complex_: Complex) -> list[tuple[int, np.ndarray]]:
    """What is written, in the order of the file: a row to build (and its terminal oxygen), or -1 and atoms to copy."""
    source = complex_.source
    rows_of: dict[int, list[int]] = {}
    for row, run in enumerate(complex_.run.tolist()):
        rows_of.setdefault(run, []).append(row)
    built_keys = {
        (*source.key(int(source.first[run])), bytes(source.residue_name[source.first[run]]))
        for run, rows in rows_of.items()
        if any(row not in complex_.kept for row in rows)
    }
    location = _locations(complex_, rows_of)
    plan: list[tuple[int, np.ndarray]] = []
    for run, start in enumerate(source.first.tolist()):
        index = source.atoms_of(run)
        if run in rows_of:
            for row in rows_of[run]:
                own = kept_atoms(complex_, row)
                if row in complex_.kept:
                    plan.append((-1, _unique(complex_, own)))
                else:
                    plan.append((row, own[source.name[own] == b"OXT"][:1]))
            continue
        key, name = source.key(start), bytes(source.residue_name[start])
        chosen = location.get(key)
        if chosen is not None and chosen[0] is not None and chosen[0] != name and (source.altloc[index] != b"").all():
            continue  # another residue at the same position, of which one location stays
        if (*key, name) in built_keys:
            continue  # side-chain atoms of a residue that stands elsewhere in the file
        if not source.hetero[start] and can_be_built(text(name)) and place(*key) not in complex_.copied:
            # An amino acid that cannot be built: its side chain is not read, so it is not copied either.
            index = index[np.isin(source.name[index], _BACKBONE)]
            if not len(index):
                continue
        atoms = one_location(source, index, chosen[1] if chosen else b"")
        plan.append((-1, atoms[np.isfinite(source.xyz[atoms]).all(axis=1)]))
    return [(row, atoms) for row, atoms in plan if row >= 0 or len(atoms)]


def _unique(complex_: Complex, index: np.ndarray) -> np.ndarray:
    """The first atom of each name, with finite coordinates."""
    source = complex_.source
    index = index[np.isfinite(source.xyz[index]).all(axis=1)]
    _, first = np.unique(source.name[index], return_index=True)
    return index[np.sort(first)]


def _locations(complex_: Complex, rows_of: dict[int, list[int]]) -> dict[AtomKey, tuple[bytes | None, bytes]]:
    """Residue name and alternate location that stay at each position with labels."""
    source = complex_.source
    found: dict[AtomKey, tuple[bytes | None, bytes]] = {}
    for run, rows in rows_of.items():
        start = int(source.first[run])
        found[source.key(start)] = bytes(source.residue_name[start]), bytes(source.altloc[complex_.ca[rows[0]]])
    parts: dict[AtomKey, list[int]] = {}
    for i in np.flatnonzero(source.altloc != b"").tolist():
        parts.setdefault(source.key(i), []).append(i)
    for key, index in parts.items():
        if key in found:
            continue
        stay = one_location(source, np.array(index))
        names = set(source.residue_name[index].tolist())
        label, name = bytes(source.altloc[stay][0]), bytes(source.residue_name[stay][0])
        found[key] = (name if len(names) > 1 else None), label
    return found


def _model(complex_: Complex, sidechains: Sidechains, plan: list[tuple[int, np.ndarray]], number: int) -> gemmi.Model:
    source = complex_.source
    model = gemmi.Model(number)
    chain: gemmi.Chain | None = None
    for row, atoms in plan:
        at = int(complex_.ca[row]) if row >= 0 else int(atoms[0])
        name = text(source.chain[at])
        if chain is None or chain.name != name:
            if chain is not None:
                model.add_chain(chain)
            chain = gemmi.Chain(name)
        residue = gemmi.Residue()
        residue.name = text(source.residue_name[at])
        residue.seqid = gemmi.SeqId(int(source.number[at]), text(source.insertion[at]).strip() or " ")
        residue.het_flag = "H" if source.hetero[at] else "A"
        if row >= 0:
            bfactor = 0.0 if sidechains.confidence is None else 100.0 * float(sidechains.confidence[row])
            _add_built(residue, complex_, sidechains, row, bfactor)
        for i in atoms.tolist():
            atom = _copied(complex_, i)
            if row >= 0:
                atom.b_iso, atom.occ = bfactor, 1.0
            residue.add_atom(atom)
        chain.add_residue(residue)
    if chain is not None:
        model.add_chain(chain)
    return model


def _add_built(residue: gemmi.Residue, complex_: Complex, sidechains: Sidechains, row: int, bfactor: float) -> None:
    kind = int(complex_.table.aatype[row])
    alias = {slot: name for name, slot in aa.ATOM_ALIASES.get(complex_.table.name[row], {}).items()}
    for slot in np.flatnonzero(sidechains.mask[row] & aa.ATOM14_MASK[kind]).tolist():
        name = aa.ATOM14_NAMES[kind][slot]
        atom = gemmi.Atom()
        atom.name = alias.get(name, name)
        atom.element = _ELEMENTS["SE" if atom.name == "SE" else name[0]]
        atom.pos = gemmi.Position(*sidechains.xyz[row, slot].astype(float).tolist())
        atom.occ, atom.b_iso = 1.0, bfactor
        residue.add_atom(atom)


def _copied(complex_: Complex, i: int) -> gemmi.Atom:
    source = complex_.source
    atom = gemmi.Atom()
    atom.name = text(source.name[i])
    atom.element = gemmi.Element("D") if source.element[i] == 119 else gemmi.Element(int(source.element[i]))
    atom.pos = gemmi.Position(*source.xyz[i].tolist())
    atom.occ, atom.b_iso = float(source.occupancy[i]), float(source.bfactor[i])
    atom.charge = int(source.charge[i])
    return atom
