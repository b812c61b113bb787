"""What only a GPU can tell: ``make gpu-check``. Prints a table to paste into an issue.

Compares the `flash_ipa` backend with `sdpa`, forward and backward, and takes one training step of the default and the
baseline model in bf16, with time and peak memory. Nobody of the authors has run this on a GPU.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from dataclasses import replace

import torch

from bindrae.config import ModelSettings, TrainingSettings
from bindrae.data.batch import IPABatch, collate_ipa_batch
from bindrae.model.attention import InvariantPointAttention
from bindrae.model.context import KnownSidechains
from bindrae.model.memory import synthetic_complex
from bindrae.model.stage1 import Stage1, count_parameters
from bindrae.training.losses import stage1_loss
from bindrae.training.showing import show_sidechains

BASELINE = ModelSettings(
    c_s=384, c_z=128, c_hidden=128, heads=8, depth=3, qk_points=8, v_points=12, local_neighbours=0, ligand_neighbours=0,
    ligand_shared=True, chi_head="sincos", recycles=0, d_plm=1280,
)  # fmt: skip


def _batch(count: int, n: int, d_plm: int, device: torch.device) -> IPABatch:
    batch = collate_ipa_batch([(f"x{i}", synthetic_complex(n)) for i in range(count)])
    return replace(batch, esm=torch.zeros(count, n, d_plm)).to(device)


def _step(settings: ModelSettings, batch: IPABatch) -> tuple[float, float, float, torch.Tensor]:
    """Loss, seconds, peak memory (MB) and gradient of the first attention layer's queries."""
    torch.manual_seed(0)
    model = Stage1(settings).to(batch.N.device)
    layers = [module for module in model.modules() if isinstance(module, InvariantPointAttention)]
    for layer in layers:
        torch.nn.init.normal_(layer.linear_out.weight, std=0.02)
    seconds = 0.0
    for _ in range(2):  # the first step pays for compilation and allocation
        model.zero_grad()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
        start = time.perf_counter()
        known = show_sidechains(batch.to(torch.device("cpu")), TrainingSettings(), torch.Generator().manual_seed(0))
        known = KnownSidechains(*(x.to(batch.N.device) for x in known))
        with torch.autocast("cuda", dtype=torch.bfloat16):
            output = model(batch, teacher_forcing=True, known=known if settings.recycles else None)
        loss = stage1_loss(output, batch, TrainingSettings(), 0, ~known.shown if settings.recycles else None)["loss"]
        loss.backward()
        with torch.inference_mode():
            model.eval()(batch)  # with its sweeps
            model.train()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    gradient = layers[0].linear_q.weight.grad
    assert gradient is not None
    return float(loss), seconds, torch.cuda.max_memory_allocated() / 2**20, gradient


def main() -> int:
    """Run the checks; 2 without a GPU."""
    if not torch.cuda.is_available():
        print("gpu-check: torch sees no GPU here; run it on a GPU node", file=sys.stderr)
        return 2
    device = torch.device("cuda")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}\n")
    print("| model | residues | attention | parameters | loss | seconds | peak MB |\n|---|---|---|---|---|---|---|")
    backends = ["sdpa"] + (["flash_ipa"] if importlib.util.find_spec("flash_ipa") else [])
    worst = 0.0
    for name, settings in (("default", ModelSettings()), ("baseline", BASELINE)):
        for count, n in ((1, 275), (4, 512), (16, 1024)):
            batch = _batch(count, n, settings.d_plm, device)
            gradients = []
            for backend in backends:
                chosen = settings.model_copy(update={"attention": backend, "dropout": 0.0})
                loss, seconds, peak, gradient = _step(chosen, batch)
                parameters = count_parameters(Stage1(chosen))
                print(
                    f"| {name} | {count} x {n} | {backend} | {parameters} | {loss:.4f} | {seconds:.3f} | {peak:.0f} |"
                )
                gradients.append(gradient)
            if len(gradients) == 2:
                worst = max(worst, float((gradients[0] - gradients[1]).norm() / gradients[0].norm()))
    if len(backends) == 1:
        print("\nflash_ipa is not installed: its backend was not compared.")
        return 0
    print(f"\nlargest relative difference of the gradients, flash_ipa against sdpa: {worst:.3f}")
    return 0 if worst < 0.1 else 1


if __name__ == "__main__":
    sys.exit(main())
