"""Per-residue embeddings of a frozen protein language model (ESM-2; Lin et al., Science 379, 1123, 2023)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import torch

from bindrae.config import PLM_WIDTH, EmbedSettings
from bindrae.data.embeddings import EmbeddingCache, identity_of, layer_of
from bindrae.data.schema import iterate_rows
from bindrae.data.stages import VERSIONS
from bindrae.data.storage import read_table, sha256_file, sha256_text, write_sidecar
from bindrae.data.tensors import read_tensors, write_tensors
from bindrae.errors import BindraeError
from bindrae.progress import track

# What fair-esm's alphabet knows of one-letter codes; anything else is the unknown residue X.
KNOWN_LETTERS = frozenset("ACDEFGHIKLMNPQRSTVWYXBZUO")


class Embedder:
    """A frozen ESM-2 that turns a one-letter sequence into the representation of its last layer.

    Parameters
    ----------
    model : torch.nn.Module
        As fair-esm builds it; put into evaluation mode, and none of its parameters requires a gradient afterwards.
    alphabet : esm.data.Alphabet
    window, overlap : int
        Longest pass in residues, and what two passes over a longer chain share.
    """

    def __init__(self, model: torch.nn.Module, alphabet: Any, window: int, overlap: int) -> None:
        self.model = model.eval().requires_grad_(False)
        self.layer = int(cast(int, model.num_layers))
        self._convert = alphabet.get_batch_converter()
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._window, self._overlap = window, overlap
        self.model.to(self._device)

    def __call__(self, sequence: str) -> torch.Tensor:
        """Embed one chain: [n, width] float32 on the CPU, one row a letter, without a gradient."""
        known = "".join(letter if letter in KNOWN_LETTERS else "X" for letter in sequence)
        cuts = windows(len(known), self._window, self._overlap)
        return join_windows([(start, self._pass(known[start:stop])) for start, stop in cuts], len(known))

    @torch.inference_mode()
    def _pass(self, sequence: str) -> torch.Tensor:
        _, _, tokens = self._convert([("", sequence)])
        out = self.model(tokens.to(self._device), repr_layers=[self.layer], return_contacts=False)
        # Position 0 is the beginning-of-sequence token, the last one the end.
        embedding: torch.Tensor = out["representations"][self.layer][0, 1 : len(sequence) + 1]
        return embedding.float().cpu()


def load_esm(settings: EmbedSettings) -> tuple[Embedder, str]:
    """Load ESM-2 from a local file through fair-esm, frozen and in evaluation mode.

    Parameters
    ----------
    settings : EmbedSettings
        ``weights_dir`` holds ``<plm>.pt`` in the published checkpoint format.

    Returns
    -------
    embed : Embedder
        Sequence to [n, width] float32 embeddings of the last layer, windows over long chains included.
    digest : str
        SHA-256 of the weights file.

    Raises
    ------
    BindraeError
        When fair-esm or the file is missing, or the file is not the expected one.
    """
    try:
        from esm import pretrained
    except ImportError:
        raise BindraeError(
            f"embed.plm '{settings.plm}' needs fair-esm, which is not installed", "pip install 'bindrae[esm]'"
        ) from None
    path = Path(settings.weights_dir or ".") / f"{settings.plm}.pt"
    if not path.is_file():
        raise BindraeError(
            f"the weights of {settings.plm} are not at {path}",
            f"fetch {settings.plm}.pt of the ESM project on a machine with network; set embed.weights_dir to it",
        )
    digest = sha256_file(path)
    if settings.weights_sha256 and digest != settings.weights_sha256.lower():
        raise BindraeError(
            f"{path} has SHA-256 {digest}, not {settings.weights_sha256}", "the download is damaged; fetch it again"
        )
    data = read_tensors(path, f"it is no checkpoint of {settings.plm}; fetch it again", namespaces=True)
    model, alphabet = pretrained.load_model_and_alphabet_core(settings.plm, data, None)
    embed = Embedder(model, alphabet, settings.window, settings.overlap)
    found, wanted = (model.embed_dim, embed.layer), (PLM_WIDTH[settings.plm], layer_of(settings.plm))
    if found != wanted:
        raise BindraeError(
            f"{path} holds a model of width and depth {found}, not {wanted}",
            f"it is not {settings.plm}; fetch it again",
        )
    return embed, digest


def windows(length: int, window: int, overlap: int) -> list[tuple[int, int]]:
    """Start and stop of the passes over a chain: one if it fits, else windows that share `overlap` residues.

    The last window ends at the end of the chain, so it may share more.
    """
    if length <= window:
        return [(0, length)]
    starts = list(range(0, length - window, window - overlap))
    return [(start, start + window) for start in [*starts, length - window]]


def join_windows(pieces: list[tuple[int, torch.Tensor]], length: int) -> torch.Tensor:
    """Put windows together: each residue comes from the window in which it lies farthest from a cut.

    Parameters
    ----------
    pieces : list of (int, Tensor)
        Start and [n, width] embedding of each window.
    length : int
        Residues of the chain.
    """
    joined = pieces[0][1].new_zeros(length, pieces[0][1].shape[1])
    best = torch.full((length,), -1.0)
    for start, piece in pieces:
        stop = start + len(piece)
        position = torch.arange(start, stop, dtype=torch.float32)
        # An end of the chain is no cut.
        left = position - start if start else torch.full_like(position, torch.inf)
        right = stop - 1 - position if stop < length else torch.full_like(position, torch.inf)
        margin = torch.minimum(left, right)
        better = margin > best[start:stop]
        joined[start:stop][better] = piece[better]
        best[start:stop] = torch.where(better, margin, best[start:stop])
    return joined


def run_embed(clean: Path, output: Path, settings: EmbedSettings) -> None:
    """Embed every distinct chain of a batch once.

    Writes ``output``: plain tensors by the SHA-256 of the chain's sequence, readable with ``weights_only=True``; see
    `read_store`. With ``cache_dir`` each embedding is also kept for others; see `EmbeddingCache`.

    Raises
    ------
    BindraeError
        See `load_esm`.
    RuntimeError
        When an embedding's length differs from its sequence's.
    """
    start = time.monotonic()
    sequences = sorted({s for row in iterate_rows(read_table(clean, ["id", "sequences"])) for s in row["sequences"]})
    counts: dict[str, Any] = {"chains": len(sequences), "residues": sum(map(len, sequences))}
    embeddings: dict[str, torch.Tensor] = {}
    identity = identity_of(settings, None)
    if settings.plm != "none" and sequences:  # an empty batch needs no weights
        embed, counts["weights_sha256"] = load_esm(settings)
        identity = identity_of(settings, counts["weights_sha256"])
        kept = EmbeddingCache(settings.cache_dir, identity)
        for sequence in track(sequences, len(sequences), "embed", "chains"):
            key = sha256_text(sequence)
            known = kept.read(key)
            embedding = embed(sequence).to(getattr(torch, settings.dtype)) if known is None else known
            wanted = (len(sequence), identity["width"])
            if embedding.shape != wanted:
                raise RuntimeError(f"embedding of {sequence[:30]}... has shape {tuple(embedding.shape)}, not {wanted}")
            if known is None:
                kept.write(key, embedding)
            embeddings[key] = embedding
        if settings.cache_dir:
            print(f"embed: {kept.hits} of {len(sequences)} chains were in the cache")
    write_tensors({**identity, "embeddings": embeddings}, output)
    write_sidecar(
        output,
        "embed",
        VERSIONS["embed"],
        settings.model_dump(mode="json"),
        {"clean": clean},
        counts,
        time.monotonic() - start,
    )
