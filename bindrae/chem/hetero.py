"""Ligands that stand in the protein file: how they are named, found, and chosen when nobody named one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from bindrae.errors import RejectedComplex

if TYPE_CHECKING:
    from bindrae.structure.atoms import Atoms

PREFIX = "hetatm:"
"""Begins a ligand that is a residue of the protein file: ``hetatm:NAME[/CHAIN[/NUMBER]]``."""
_NAME = re.compile(r"hetatm:(?P<name>\w{1,5})(/(?P<chain>[^/]*)(/(?P<number>-?\d+)(?P<insertion>[A-Za-z]?))?)?")
MIN_CHOSEN_ATOMS = 6
"""Heavy atoms that a group must have to be chosen as the ligand."""


def _names(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


ADDITIVES = _names(
    # Polyols, ethers and their pieces
    "GOL EDO EGL PEG PGE PG4 1PE 2PE P6G PE3 PE4 PE5 PE7 PE8 12P 15P 7PE XPE P33 PEU 1PG PGO PGR PDO MPD MRD MPO HEZ",
    "BU1 BUD TOE ETE ME2 144 DIO DOX",
    # Buffers, acids and their salts
    "TRS EPE MES BTB B3P BCN NHE CXS CPS MOP HED ACT ACY FMT OXL CIT FLC TLA TAR SRT MLI MLA SIN MLT IMD BEZ SO4 SO3",
    "PO4 PI 2HP NO3 NO2 CO3 BCT CAC AZI SCN THJ NH4 PER BO3 BO4 VO4 ALF BEF MGF AF3",
    # Solvents and reducing agents
    "DMS DMF EOH IPA MOH POL TBU ACN CCN BME DTT DTV DTU TCE GAI URE",
    # Detergents and lipids of crystallisation
    "BOG LMT DMU LDA C8E OLA OLB OLC SDS HTG MA4 CPS LHG UND D10 D12 HEX OCT",
    # Unknown atoms and ligands
    "UNX UNL UNK DUM",
)
"""Residue names of buffers, cryoprotectants, precipitants, solvents, detergents and unknown groups."""
COFACTORS = _names(
    "HEM HEC HEA HEB HAS NAD NAI NAP NDP FAD FDA FMN SAM SAH COA ACO PLP TPP B12 COB CLA CHL BCL BPH F3S SF4 FES"
)
"""Residue names of cofactors: chosen only where nothing else is."""


@dataclass(frozen=True)
class HeteroName:
    """A residue of the protein file by name and, optionally, place; None stands for any."""

    name: str
    chain: str | None = None
    number: int | None = None
    insertion: str | None = None

    def __str__(self) -> str:
        text = PREFIX + self.name
        if self.chain is not None:
            text += f"/{self.chain}"
            if self.number is not None:
                text += f"/{self.number}{self.insertion or ''}"
        return text


def parse_hetero(text: str) -> HeteroName:
    """Read ``hetatm:STI``, ``hetatm:STI/A`` or ``hetatm:STI/A/201``.

    Raises
    ------
    ValueError
        When the text has another form.
    """
    found = _NAME.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not of the form hetatm:NAME, hetatm:NAME/CHAIN or hetatm:NAME/CHAIN/NUMBER")
    number = found["number"]
    return HeteroName(
        found["name"].upper(), found["chain"], None if number is None else int(number), found["insertion"] or None
    )


def find_group(atoms: Atoms, wanted: HeteroName, where: str) -> np.ndarray:
    """Heavy atoms of one residue, in one alternate location.

    Of several residues that fit, the one with the most atoms is taken, then the first in the file. Where no place is
    given, only HETATM records count. Of several alternate locations, the one of the highest mean occupancy stays.

    Parameters
    ----------
    atoms : Atoms
        The whole protein file.
    wanted : HeteroName
        Chain and number are those of the author (``auth_asym_id`` and ``auth_seq_id`` of mmCIF).
    where : str
        File name for messages.

    Returns
    -------
    numpy.ndarray
        Atom indices, each atom name once.

    Raises
    ------
    RejectedComplex
        ``ligand_not_in_file``.
    """
    mask = atoms.residue_name == wanted.name.encode()
    if wanted.chain is not None:
        mask &= np.char.strip(atoms.chain) == wanted.chain.strip().encode()
    if wanted.number is not None:
        mask &= (atoms.number == wanted.number) & (np.char.strip(atoms.insertion) == (wanted.insertion or "").encode())
    else:
        mask &= atoms.hetero
    index = np.flatnonzero(mask)
    if not len(index):
        raise RejectedComplex("ligand_not_in_file", f"{where} holds no heavy atoms of {wanted}")
    places: dict[tuple[bytes, int, bytes], list[int]] = {}
    for i in index.tolist():
        place = (atoms.chain[i], int(atoms.number[i]), atoms.insertion[i])
        places.setdefault(place, []).append(i)
    groups = [_one_location(atoms, np.array(group)) for group in places.values()]
    return max(groups, key=len)  # the first of equals


def _one_location(atoms: Atoms, group: np.ndarray) -> np.ndarray:
    labels = atoms.altloc[group]
    present = sorted(set(labels[labels != b""].tolist()))
    if len(present) > 1:
        mean = [round(float(atoms.occupancy[group[labels == label]].mean()), 3) for label in present]
        winner = present[int(np.argmax(mean))]
        group = group[(labels == b"") | (labels == winner)]
    _, first = np.unique(atoms.name[group], return_index=True)
    return group[np.sort(first)]


def choose_ligand(path: Path) -> HeteroName:
    """The ligand of an entry when nobody named one.

    The largest non-polymer group of the first model that is no common additive (``ADDITIVES``), has at least
    ``MIN_CHOSEN_ATOMS`` heavy atoms and no covalent bond to another residue; a cofactor (``COFACTORS``) only where
    nothing else is; of equals the first in the file. Peptides and branched sugars are never chosen.

    Parameters
    ----------
    path : Path
        mmCIF or PDB file, gzipped or not.

    Raises
    ------
    RejectedComplex
        ``protein_unreadable``, or ``ligand_not_in_file`` when there is no such group.
    """
    try:
        structure = gemmi.read_structure(str(path))
        structure.setup_entities()
    except (RuntimeError, ValueError, OSError) as error:
        raise RejectedComplex("protein_unreadable", f"{path}: {error}") from None
    linked = {
        (partner.chain_name, str(partner.res_id.seqid))
        for link in structure.connections
        if link.type == gemmi.ConnectionType.Covale
        for partner in (link.partner1, link.partner2)
    }
    best: tuple[tuple[bool, int], HeteroName] | None = None
    for chain in structure[0] if len(structure) else ():
        for residue in chain:
            if residue.entity_type != gemmi.EntityType.NonPolymer or residue.name in ADDITIVES:
                continue
            if (chain.name, str(residue.seqid)) in linked:
                continue
            size = len({atom.name for atom in residue if not atom.is_hydrogen()})
            rank = (residue.name not in COFACTORS, size)
            if size >= MIN_CHOSEN_ATOMS and (best is None or rank > best[0]):
                insertion = residue.seqid.icode.strip() or None
                best = rank, HeteroName(residue.name, chain.name, residue.seqid.num, insertion)
    if best is None:
        raise RejectedComplex(
            "ligand_not_in_file",
            f"{path} holds no group that could be the ligand: none, or only solvents, ions, additives and glycans",
        )
    return best[1]
