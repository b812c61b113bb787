"""The 20 amino acids as data: atom14 slots, bonds, chi angles, symmetric atoms.

Order of types and atom14 slots follow the convention of AlphaFold (Jumper et al., Nature 596, 583, 2021, SI 1.2.1),
so that arrays can be exchanged with programs of that family. Atom names and chi definitions are those of IUPAC-IUB
(Biochemistry 9, 3471, 1970) and the PDB.
"""

from __future__ import annotations

import numpy as np

# One line a residue: one-letter code, then side-chain atoms in slot order. An atom is written
# name<bonded,angle,torsion:source where the last three give the atoms it is built from and `source` is what turns it:
# "bb" (rigid with N-CA-C), "chiK" (turns with chi K) or "fix" (rigid with its parent's group).
_SIDE_CHAINS = {
    "ALA": "A CB<CA,N,C:bb",
    "ARG": "R CB<CA,N,C:bb CG<CB,CA,N:chi1 CD<CG,CB,CA:chi2 NE<CD,CG,CB:chi3 CZ<NE,CD,CG:chi4 NH1<CZ,NE,CD:fix "
    "NH2<CZ,NE,CD:fix",
    "ASN": "N CB<CA,N,C:bb CG<CB,CA,N:chi1 OD1<CG,CB,CA:chi2 ND2<CG,CB,CA:chi2",
    "ASP": "D CB<CA,N,C:bb CG<CB,CA,N:chi1 OD1<CG,CB,CA:chi2 OD2<CG,CB,CA:chi2",
    "CYS": "C CB<CA,N,C:bb SG<CB,CA,N:chi1",
    "GLN": "Q CB<CA,N,C:bb CG<CB,CA,N:chi1 CD<CG,CB,CA:chi2 OE1<CD,CG,CB:chi3 NE2<CD,CG,CB:chi3",
    "GLU": "E CB<CA,N,C:bb CG<CB,CA,N:chi1 CD<CG,CB,CA:chi2 OE1<CD,CG,CB:chi3 OE2<CD,CG,CB:chi3",
    "GLY": "G",
    "HIS": "H CB<CA,N,C:bb CG<CB,CA,N:chi1 ND1<CG,CB,CA:chi2 CD2<CG,CB,CA:chi2 CE1<ND1,CG,CB:fix NE2<CD2,CG,CB:fix",
    "ILE": "I CB<CA,N,C:bb CG1<CB,CA,N:chi1 CG2<CB,CA,N:chi1 CD1<CG1,CB,CA:chi2",
    "LEU": "L CB<CA,N,C:bb CG<CB,CA,N:chi1 CD1<CG,CB,CA:chi2 CD2<CG,CB,CA:chi2",
    "LYS": "K CB<CA,N,C:bb CG<CB,CA,N:chi1 CD<CG,CB,CA:chi2 CE<CD,CG,CB:chi3 NZ<CE,CD,CG:chi4",
    "MET": "M CB<CA,N,C:bb CG<CB,CA,N:chi1 SD<CG,CB,CA:chi2 CE<SD,CG,CB:chi3",
    "PHE": "F CB<CA,N,C:bb CG<CB,CA,N:chi1 CD1<CG,CB,CA:chi2 CD2<CG,CB,CA:chi2 CE1<CD1,CG,CB:fix CE2<CD2,CG,CB:fix "
    "CZ<CE1,CD1,CG:fix",
    "PRO": "P CB<CA,N,C:bb CG<CB,CA,N:chi1 CD<CG,CB,CA:chi2",
    "SER": "S CB<CA,N,C:bb OG<CB,CA,N:chi1",
    "THR": "T CB<CA,N,C:bb OG1<CB,CA,N:chi1 CG2<CB,CA,N:chi1",
    "TRP": "W CB<CA,N,C:bb CG<CB,CA,N:chi1 CD1<CG,CB,CA:chi2 CD2<CG,CB,CA:chi2 NE1<CD1,CG,CB:fix CE2<CD2,CG,CB:fix "
    "CE3<CD2,CG,CB:fix CZ2<CE2,CD2,CG:fix CZ3<CE3,CD2,CG:fix CH2<CZ2,CE2,CD2:fix",
    "TYR": "Y CB<CA,N,C:bb CG<CB,CA,N:chi1 CD1<CG,CB,CA:chi2 CD2<CG,CB,CA:chi2 CE1<CD1,CG,CB:fix CE2<CD2,CG,CB:fix "
    "CZ<CE1,CD1,CG:fix OH<CZ,CE1,CD1:fix",
    "VAL": "V CB<CA,N,C:bb CG1<CB,CA,N:chi1 CG2<CB,CA,N:chi1",
}

# Bonds that close a ring, which the build tree above cannot hold.
_RING_BONDS = {
    "HIS": [("CE1", "NE2")],
    "PHE": [("CE2", "CZ")],
    "PRO": [("CD", "N")],
    "TRP": [("NE1", "CE2"), ("CZ3", "CH2")],
    "TYR": [("CE2", "CZ")],
}

RINGS: dict[str, tuple[tuple[str, ...], ...]] = {
    "HIS": (("CG", "ND1", "CE1", "NE2", "CD2"),),
    "PHE": (("CG", "CD1", "CE1", "CZ", "CE2", "CD2"),),
    "PRO": (("N", "CA", "CB", "CG", "CD"),),
    "TRP": (("CG", "CD1", "NE1", "CE2", "CD2"), ("CD2", "CE2", "CZ2", "CH2", "CZ3", "CE3")),
    "TYR": (("CG", "CD1", "CE1", "CZ", "CE2", "CD2"),),
}
"""Atoms of each ring, in order round the ring."""

AMBIGUOUS: dict[str, tuple[tuple[str, str], ...]] = {
    "ARG": (("NH1", "NH2"),),
    "ASP": (("OD1", "OD2"),),
    "GLU": (("OE1", "OE2"),),
    "PHE": (("CD1", "CD2"), ("CE1", "CE2")),
    "TYR": (("CD1", "CD2"), ("CE1", "CE2")),
}
"""Pairs of atoms whose names chemistry does not tell apart; all pairs of a residue swap together."""

PI_PERIODIC: dict[str, int] = {"ASP": 2, "GLU": 3, "PHE": 2, "TYR": 2}
"""Residues one of whose chis is the same after half a turn, and which (counted from 1)."""

RESIDUE_NAMES: tuple[str, ...] = tuple(sorted(_SIDE_CHAINS, key=lambda n: n))
UNKNOWN = len(RESIDUE_NAMES)
"""Type index of a residue that is none of the 20 (`X`)."""
N_TYPES = UNKNOWN + 1
N_SLOTS = 14
N_CHI = 4
BACKBONE = ("N", "CA", "C", "O")
SLOT_N, SLOT_CA, SLOT_C, SLOT_O, SLOT_CB = range(5)

ONE_LETTER = "".join(_SIDE_CHAINS[name][0] for name in RESIDUE_NAMES) + "X"
TYPE_OF_NAME: dict[str, int] = {name: i for i, name in enumerate(RESIDUE_NAMES)}
TYPE_OF_LETTER: dict[str, int] = {letter: i for i, letter in enumerate(ONE_LETTER)}

# Names that force fields and refinement programs give to protonation states and disulfides.
ALIASES: dict[str, str] = {
    "ASH": "ASP", "ASPP": "ASP", "CYM": "CYS", "CYS2": "CYS", "CYX": "CYS", "CYZ": "CYS", "GLH": "GLU", "GLUP": "GLU",
    "HID": "HIS", "HIE": "HIS", "HIP": "HIS", "HSD": "HIS", "HSE": "HIS", "HSP": "HIS", "LYN": "LYS",
}  # fmt: skip

# Atoms of modified residues that take the place of the parent's atom.
ATOM_ALIASES: dict[str, dict[str, str]] = {"MSE": {"SE": "SD"}, "SEC": {"SE": "SG"}}

BONDI_RADII: dict[str, float] = {
    "H": 1.20, "C": 1.70, "N": 1.55, "O": 1.52, "F": 1.47, "P": 1.80, "S": 1.80, "CL": 1.75, "AS": 1.85, "SE": 1.90,
    "BR": 1.85, "I": 1.98, "SI": 2.10, "B": 1.92,
}  # fmt: skip
"""Van der Waals radii (A) of Bondi (J. Phys. Chem. 68, 441, 1964); boron by Mantina et al. (2009)."""


class BuildStep:
    """How one side-chain atom follows from three placed atoms (one row of the Z-matrix)."""

    def __init__(self, residue: str, text: str) -> None:
        self.residue = residue
        self.atom, rest = text.split("<")
        parents, self.source = rest.split(":")
        self.bonded, self.angle, self.torsion = parents.split(",")


BUILD_STEPS: dict[str, tuple[BuildStep, ...]] = {
    name: tuple(BuildStep(name, word) for word in _SIDE_CHAINS[name].split()[1:]) for name in RESIDUE_NAMES
}

ATOM14_NAMES: tuple[tuple[str, ...], ...] = (
    *(
        tuple((*BACKBONE, *(step.atom for step in BUILD_STEPS[name]), *[""] * N_SLOTS)[:N_SLOTS])
        for name in RESIDUE_NAMES
    ),
    (*BACKBONE, "CB", *[""] * (N_SLOTS - 5)),
)
"""Atom name of each slot, for each type; an unknown residue has its backbone and CB."""

BONDS: tuple[tuple[tuple[int, int], ...], ...]
"""Bonded slot pairs within a residue, for each type."""


def _slot(kind: int, atom: str) -> int:
    return ATOM14_NAMES[kind].index(atom)


def _bonds(kind: int) -> tuple[tuple[int, int], ...]:
    pairs = [("N", "CA"), ("CA", "C"), ("C", "O")]
    if kind == UNKNOWN:
        pairs.append(("CA", "CB"))
    else:
        name = RESIDUE_NAMES[kind]
        pairs += [(step.bonded, step.atom) for step in BUILD_STEPS[name]] + _RING_BONDS.get(name, [])
    return tuple((_slot(kind, a), _slot(kind, b)) for a, b in pairs)


BONDS = tuple(_bonds(kind) for kind in range(N_TYPES))

ATOM14_MASK = np.array([[bool(atom) for atom in names] for names in ATOM14_NAMES])
"""[21, 14] which slots a type has."""
ATOM14_ELEMENT = np.array([[atom[:1] for atom in names] for names in ATOM14_NAMES])
"""[21, 14] element symbol of each slot ('' where there is none)."""
ATOM14_RADIUS = np.array(
    [[BONDI_RADII.get(str(element), 0.0) for element in row] for row in ATOM14_ELEMENT], dtype=np.float32
)
"""[21, 14] Bondi radius of each slot (A)."""

CHI_ATOMS = np.zeros((N_TYPES, N_CHI, 4), dtype=np.int64)
"""[21, 4, 4] slots of the four atoms that define each chi."""
CHI_MASK = np.zeros((N_TYPES, N_CHI), dtype=bool)
"""[21, 4] which chis a type has."""
CHI_PI_PERIODIC = np.zeros((N_TYPES, N_CHI), dtype=bool)
"""[21, 4] which chis repeat after pi."""
SWAP_SLOTS = np.tile(np.arange(N_SLOTS), (N_TYPES, 1))
"""[21, 14] slot that takes this slot's place when ambiguous atoms are renamed (itself where nothing swaps)."""

for _name, _steps in BUILD_STEPS.items():
    _kind = TYPE_OF_NAME[_name]
    for _step in _steps:
        if _step.source.startswith("chi"):
            _chi = int(_step.source[3]) - 1
            if not CHI_MASK[_kind, _chi]:  # the first atom that a chi turns is the one that defines it
                _atoms = (_step.torsion, _step.angle, _step.bonded, _step.atom)
                CHI_ATOMS[_kind, _chi] = [_slot(_kind, _a) for _a in _atoms]
                CHI_MASK[_kind, _chi] = True
    if _name in PI_PERIODIC:
        CHI_PI_PERIODIC[_kind, PI_PERIODIC[_name] - 1] = True
    for _a, _b in AMBIGUOUS.get(_name, ()):
        _i, _j = _slot(_kind, _a), _slot(_kind, _b)
        SWAP_SLOTS[_kind, _i], SWAP_SLOTS[_kind, _j] = _j, _i


def ring_slots(kind: int) -> list[list[int]]:
    """Slots of each ring of a residue type, in order round the ring.

    Parameters
    ----------
    kind : int
        Residue type, 0-20.
    """
    if kind == UNKNOWN:
        return []
    return [[_slot(kind, atom) for atom in ring] for ring in RINGS.get(RESIDUE_NAMES[kind], ())]
