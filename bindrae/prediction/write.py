"""Writing a prediction: the input file with new side chains, and everything else as it was."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np

from bindrae import __version__
from bindrae.chem import residues as aa
from bindrae.data.storage import write_text
from bindrae.errors import BindraeError
from bindrae.prediction.inputs import Complex
from bindrae.prediction.plan import output_plan
from bindrae.prediction.predict import Prediction, Predictor, Sidechains
from bindrae.structure.atoms import text

_CIF_ENDINGS = (".cif", ".mmcif")
_PDB_ENDINGS = (".pdb", ".ent")
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
    plan = output_plan(prediction.complex)
    for number, sidechains in enumerate(prediction.samples, start=1):
        structure.add_model(_model(prediction.complex, sidechains, plan, number))
    structure.setup_entities()
    # Bonds to metals and sugars stay; which cysteines are bonded now is for the new coordinates to say.
    for link in source.structure.connections:
        if link.type != gemmi.ConnectionType.Disulf:
            structure.connections.append(link)
    return structure


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
