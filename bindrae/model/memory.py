"""Peak memory against the number of residues: ``python -m bindrae.model.memory 512 1024 2048``.

``--forward`` leaves out the backward pass, ``--attention NAME`` takes another backend. Each length runs in a process of
its own, so that its peak is its own. Prints a Markdown table. `bindrae.benchmark.suite.attention` measures one
attention layer.
"""

from __future__ import annotations

import subprocess
import sys
import time

import torch

from bindrae.config import ModelSettings, TrainingSettings
from bindrae.data.batch import Sample, collate_ipa_batch
from bindrae.geometry.chain import chain_to_atoms
from bindrae.geometry.kinematics import angles_to_circle
from bindrae.model.stage1 import Stage1
from bindrae.training.losses import stage1_loss
from bindrae.usage import peak_memory_mb


def synthetic_complex(n: int, n_tokens: int = 64) -> Sample:
    """A chain of `n` residues with random torsions and a cloud of tokens beside it, for measurements only."""
    g = torch.Generator().manual_seed(0)
    aatype = torch.randint(0, 20, (n,), generator=g)
    angles = torch.randn(n, 7, generator=g) * 0.4 + torch.tensor(
        [-1.6, 2.2, torch.pi, -1.1, torch.pi, torch.pi, torch.pi]
    )
    linked = torch.arange(n) < n - 1
    first = (torch.eye(3).expand(n, 3, 3), torch.zeros(n, 3))
    atoms, mask, _ = chain_to_atoms(angles_to_circle(angles), aatype, linked, first)
    tokens = atoms[n // 2, 1] + 5 * torch.randn(n_tokens, 3, generator=g)
    return {
        "aatype": aatype, "chain_index": torch.zeros(n, dtype=torch.int64), "linked": linked, "atom14": atoms,
        "atom14_mask": mask, "bfactor": torch.full((n, 14), 20.0), "torsion_angles": angles,
        "torsion_mask": torch.ones(n, 7, dtype=torch.bool), "w_res": torch.zeros(n),
        "contact": torch.zeros(n, dtype=torch.bool),
        "lig_points": tokens, "lig_types": torch.nn.functional.one_hot(torch.zeros(n_tokens, dtype=torch.int64), 12),
        "lig_context": torch.zeros(n_tokens, dtype=torch.bool),
        "ligand_xyz": tokens, "ligand_element": torch.full((n_tokens,), 6), "plm": torch.zeros(n, 0),
        "residue_index": torch.arange(n),
    }  # fmt: skip


def measure(n: int, attention: str, train: bool) -> tuple[float, float]:
    """Peak memory (MB) above the start and seconds of one step of the model at `n` residues, in this process."""
    torch.set_num_threads(1)
    model = Stage1(ModelSettings(attention=attention))
    warm = collate_ipa_batch([("warm", synthetic_complex(32))])
    stage1_loss(model(warm, teacher_forcing=True), warm, TrainingSettings(), 0)["loss"].backward()
    batch = collate_ipa_batch([("x", synthetic_complex(n))])
    before, start = peak_memory_mb(), time.perf_counter()
    if train:
        stage1_loss(model(batch, teacher_forcing=True), batch, TrainingSettings(), 0)["loss"].backward()
    else:
        with torch.inference_mode():
            model.eval()(batch)
    return peak_memory_mb() - before, time.perf_counter() - start


def main(arguments: list[str]) -> None:
    """Measure the lengths given and print a table."""
    if "--one" in arguments:
        n, attention, train = arguments[arguments.index("--one") + 1 :]
        print(*measure(int(n), attention, train == "train"))
        return
    attention = arguments[arguments.index("--attention") + 1] if "--attention" in arguments else "sdpa"
    mode = "forward" if "--forward" in arguments else "train"
    print(f"| residues | {mode}, {attention}: peak MB | growth | seconds |\n|---|---|---|---|")
    last = 0.0
    for n in [word for word in arguments if word.isdigit()]:
        command = [sys.executable, "-m", "bindrae.model.memory", "--one", n, attention, mode]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        peak, seconds = float(out[0]), float(out[1])
        growth = f"{peak / last:.2f}" if last else ""
        print(f"| {n} | {peak:.0f} | {growth} | {seconds:.1f} |", flush=True)
        last = peak


if __name__ == "__main__":
    main(sys.argv[1:])
