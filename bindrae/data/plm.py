"""Per-residue embeddings of a frozen protein language model (ESM-2; Lin et al., Science 379, 1123, 2023)."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, Protocol

import torch

from bindrae.config import PLM_WIDTH, EmbedSettings
from bindrae.data.schema import iterate_rows
from bindrae.data.stages import VERSIONS
from bindrae.data.storage import atomic_path, read_table, sha256_file, sha256_text, write_sidecar
from bindrae.errors import BindraeError
from bindrae.progress import track


class Embedder(Protocol):
    """Anything that turns a one-letter sequence into [n, width] embeddings."""

    def __call__(self, sequence: str) -> torch.Tensor: ...


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
    # Published checkpoints hold their arguments as a Namespace; nothing else beyond tensors is let in.
    with torch.serialization.safe_globals([argparse.Namespace]):
        data = torch.load(path, map_location="cpu", weights_only=True)
    model, alphabet = pretrained.load_model_and_alphabet_core(settings.plm, data, None)
    model.eval().requires_grad_(False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    layer = model.num_layers
    convert = alphabet.get_batch_converter()

    @torch.inference_mode()
    def one_window(sequence: str) -> torch.Tensor:
        _, _, tokens = convert([("", sequence)])
        out = model(tokens.to(device), repr_layers=[layer], return_contacts=False)
        # Position 0 is the beginning-of-sequence token, the last one the end.
        embedding: torch.Tensor = out["representations"][layer][0, 1 : len(sequence) + 1]
        return embedding.float().cpu()

    def embed(sequence: str) -> torch.Tensor:
        pieces = [
            (start, one_window(sequence[start:stop]))
            for start, stop in windows(len(sequence), settings.window, settings.overlap)
        ]
        return join_windows(pieces, len(sequence))

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

    Writes ``output``: plain tensors by the SHA-256 of the chain's sequence, readable with ``weights_only=True``.

    Raises
    ------
    RuntimeError
        When an embedding's length differs from its sequence's.
    """
    start = time.monotonic()
    sequences = sorted({s for row in iterate_rows(read_table(clean, ["id", "sequences"])) for s in row["sequences"]})
    store: dict[str, Any] = {"plm": settings.plm, "width": PLM_WIDTH[settings.plm], "embeddings": {}}
    counts: dict[str, Any] = {"chains": len(sequences), "residues": sum(map(len, sequences))}
    if settings.plm != "none":
        embed, counts["weights_sha256"] = load_esm(settings)
        dtype = getattr(torch, settings.dtype)
        for sequence in track(sequences, len(sequences), "embed", "chains"):
            embedding = embed(sequence)
            if embedding.shape != (len(sequence), store["width"]):
                wanted = (len(sequence), store["width"])
                raise RuntimeError(f"embedding of {sequence[:30]}... has shape {tuple(embedding.shape)}, not {wanted}")
            store["embeddings"][sha256_text(sequence)] = embedding.to(dtype)
    with atomic_path(output) as temporary:
        torch.save(store, temporary)
    write_sidecar(
        output,
        "embed",
        VERSIONS["embed"],
        settings.model_dump(mode="json"),
        {"clean": clean},
        counts,
        time.monotonic() - start,
    )
