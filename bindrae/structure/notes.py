"""What cleaning may write into a complex's notes: every count has one name here, and one reason."""

from __future__ import annotations

import numpy as np

Notes = dict[str, int]

NOTES: dict[str, str] = {
    "models_dropped": "further models are other conformations of the same atoms; the first is read",
    "coordinates_unreadable": "atoms whose coordinates are no finite numbers are missing atoms",
    "occupancies_or_bfactors_unreadable": "no finite number in the column; 0 is stored",
    "elements_corrected": "the atom name of an amino acid, or the name of an ion, overrules the element column",
    "four_letter_names_joined": "the fourth letter of a residue name was read as part of the chain id",
    "split_residues_joined": "atoms of one residue parted by an atom under another label stand together again",
    "altloc_atoms_dropped": "one alternate location a residue is kept; atoms of two together are no conformation",
    "duplicate_atoms_dropped": "the same atom name twice in one residue and location: the first stays",
    "ligand_copies_dropped": "residues that lie on the ligand's own atoms would be seen as protein or cofactor",
    "modified_residues_mapped": "modified amino acids take the type of their parent",
    "types_from_atoms": "residues under an unknown name whose atoms are exactly those of one amino acid",
    "unknown_residues": "residues kept as type X: backbone and CB",
    "d_residues": "D-amino acids, which no side chain of an L type can rebuild; see clean.d_residues",
    "mirrored_residues": "residues named as L whose CB stands where a D-residue has it; the side chain is masked",
    "atoms_outside_the_type_dropped": "atoms for which the residue's type has no slot, as the phosphate of TPO",
    "missing_heavy_atoms": "slots the type has and the file does not fill; masked, never built",
    "zero_occupancy_atoms": "atoms that were modelled without density; kept",
    "residues_without_backbone_dropped": "residues without N, CA or C have no frame",
    "distorted_residues": "residues with bond lengths or angles that no protein has",
    "distorted_atoms_masked": "atoms that break those bonds, taken as missing",
    "distorted_backbones_dropped": "distorted residues without a usable frame, left out",
    "overlapping_residues_dropped": "residues on top of an earlier one: copies, or models without MODEL records",
    "chain_segments_renamed": "chains that came back, or began to number anew, under the same id",
    "far_chains_dropped": "chains beyond clean.chains_within_angstrom",
    "context_atoms_kept": "atoms of metals, cofactors and further ligands near the ligand",
    "nucleotides_kept": "nucleotides among them: a polymer that shapes the pocket, but no residue of the table",
    "ion_charges_assumed": "monatomic ions whose file gives no charge: the common charge of the element",
    "covalent_ligand": "bonds between protein and ligand; the pairs are in ligand_link",
    "clashing_ligand_atoms": "ligand atoms too close to the protein; counted when clean.max_clash_fraction is set",
    "ligand_further_molecules": "the ligand's file holds more molecules; the first is read",
    "ligand_dummy_atoms_dropped": "lone pairs and dummy atoms without bonds in the ligand's file",
    "ligand_files_differ": "SDF and MOL2 give different bonds; ligand_route says which was believed",
    "ligand_atoms_missing": "heavy atoms that the component dictionary has and the ligand's residue lacks",
    "resolution_unknown": "the header gives none; noted when clean.max_resolution_angstrom is set",
}
"""Name of each count and why it is taken."""


def note(notes: Notes, key: str, count: int | np.integer) -> None:
    """Add to a count of `NOTES`; nothing is written for 0.

    Raises
    ------
    KeyError
        For a name that is not in the table.
    """
    if key not in NOTES:
        raise KeyError(key)
    if count:
        notes[key] = notes.get(key, 0) + int(count)
