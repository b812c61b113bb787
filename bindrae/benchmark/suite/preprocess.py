"""Part `preprocess`: clean, pocket, torsions and tokens, beside gemmi and RDKit that only read the same files."""

from __future__ import annotations

import contextlib
import io
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gemmi
from rdkit import Chem, RDConfig
from rdkit.Chem import ChemicalFeatures

from bindrae.benchmark.suite.functions import own_seconds
from bindrae.benchmark.suite.options import Options
from bindrae.benchmark.suite.part import Part, Table
from bindrae.benchmark.suite.timing import Timing, alternate, summarise
from bindrae.benchmark.suite.words import number, spread
from bindrae.chem.hetero import PREFIX
from bindrae.config import CleanSettings, IndexSettings, PocketSettings, TokenSettings, TorsionSettings
from bindrae.data.index import run_index
from bindrae.data.layout import DataLayout
from bindrae.data.stages import run_clean, run_pocket, run_tokens, run_torsions
from bindrae.data.storage import read_table
from bindrae.errors import BindraeError

STAGES = ("clean", "pocket", "torsions", "tokens")
PROTEINS, LIGANDS, FEATURES, DOCUMENTED = (
    "gemmi reads the proteins",
    "RDKit reads the ligands",
    "RDKit's feature factory, each pattern once",
    "RDKit's feature factory by GetFeaturesForMol",
)
ALL, FLOOR = "all four stages", "reading and features"
_BATCH = 1000  # complexes, as docs/cluster.md advises
_SMALLEST = 0.01  # share of all four stages below which a function has no row of its own


def processor_seconds() -> float:
    """Seconds of the processor so far, those of ended child processes with them: hard ligands get one."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def make_index(options: Options, layout: DataLayout) -> str:
    """Index the complexes of `root`, or those of the demo, and return the dataset's name."""
    settings: dict[str, Any] = {"layout": "demo" if options.root is None else options.layout}
    with contextlib.redirect_stdout(io.StringIO()):
        run_index(layout, options.root, IndexSettings(**settings, n_batches=1))
        batches = -(-read_table(layout.entries, ["id"]).num_rows // _BATCH)
        if batches > 1:
            run_index(layout, options.root, IndexSettings(**settings, n_batches=batches))
    return "demo" if options.root is None else options.root.resolve().name


class Work:
    """What is timed: the four stages over an index, and reading alone.

    Parameters
    ----------
    layout : DataLayout
        With an index; the stages write beside it.
    """

    def __init__(self, layout: DataLayout) -> None:
        self.layout, self.batches = layout, layout.batch_numbers()
        self.files = read_table(layout.entries, ["protein", "ligand"]).to_pylist()
        self.factory = ChemicalFeatures.BuildFeatureFactory(  # type: ignore[attr-defined]
            str(Path(RDConfig.RDDataDir) / "BaseFeatures.fdef")
        )
        self.mols: list[Chem.Mol] = []
        self.ligands()

    @property
    def tasks(self) -> dict[str, Callable[[], object]]:
        """What to take in turn; each stage after the one whose tables it reads."""
        return {
            PROTEINS: self.proteins,
            LIGANDS: self.ligands,
            FEATURES: self.features,
            DOCUMENTED: self.features_documented,
            **{stage: partial(self.stage, stage) for stage in STAGES},
        }

    def stage(self, name: str) -> None:
        """Run a stage over all batches in this process."""
        with contextlib.redirect_stderr(io.StringIO()):
            for n in self.batches:
                clean, pocket, output = (self.layout.batch(stage, n) for stage in ("clean", "pocket", name))
                if name == "clean":
                    run_clean(self.layout.entries, n, output, CleanSettings())
                elif name == "pocket":
                    run_pocket(clean, output, PocketSettings())
                elif name == "torsions":
                    run_torsions(clean, output, TorsionSettings())
                else:
                    run_tokens(clean, pocket, output, TokenSettings())

    def accepted(self) -> int:
        """Complexes that came through, once `clean` has run."""
        return sum(read_table(self.layout.batch("clean", n), ["id"]).num_rows for n in self.batches)

    def proteins(self) -> None:
        """Read every protein file once, as gemmi does by default."""
        for files in self.files:
            gemmi.read_structure(files["protein"])

    def ligands(self) -> None:
        """Read every ligand file once, as RDKit does by default: sanitised, without hydrogens."""
        self.mols = []
        for files in self.files:
            read = [read_ligand_file(path) for path in files["ligand"] if not path.startswith(PREFIX)]
            self.mols += [mol for mol in read if mol is not None][:1]

    def features(self) -> None:
        """RDKit's pharmacophore features of each ligand, every pattern matched once."""
        for mol in self.mols:
            for i in range(self.factory.GetNumMolFeatures(mol)):
                self.factory.GetMolFeature(mol, i, recompute=i == 0)

    def features_documented(self) -> None:
        """The same by the call that RDKit's documentation gives, which matches every pattern anew for each feature."""
        for mol in self.mols:
            self.factory.GetFeaturesForMol(mol)


def read_ligand_file(path: str) -> Chem.Mol | None:
    """A ligand file by RDKit's own defaults; None where it takes it for unsound."""
    return Chem.MolFromMol2File(path) if path.endswith(".mol2") else Chem.MolFromMolFile(path)


def run(options: Options) -> Part:
    """Measure the stages and bare reading in turn.

    Raises
    ------
    BindraeError
        When the dataset holds no complex, or none is accepted.
    """
    with tempfile.TemporaryDirectory() as scratch:
        layout = DataLayout(Path(scratch))
        name = make_index(options, layout)
        work = Work(layout)
        alternate(work.tasks, runs=1, warmup=0)
        accepted = work.accepted()
        if not accepted:
            raise BindraeError("no complex was accepted", "look at what the stage clean rejects, and why")
        rounds = [alternate(work.tasks, 1, 0, processor_seconds) for _ in range(2 if options.quick else 9)]
        functions = {stage: own_seconds(partial(work.stage, stage)) for stage in STAGES}
    seconds = {task: [taken[task].median for taken in rounds] for task in work.tasks}
    seconds[ALL] = [sum(taken[stage].median for stage in STAGES) for taken in rounds]
    seconds[FLOOR] = [sum(taken[task].median for task in (PROTEINS, LIGANDS, FEATURES)) for taken in rounds]
    documented = [sum(taken[task].median for task in (PROTEINS, LIGANDS, DOCUMENTED)) for taken in rounds]
    timings = {task: summarise(values) for task, values in seconds.items()}
    ratios = {task: _quotient(seconds[task], seconds[FLOOR]) for task in (ALL, *STAGES)}
    count = len(work.files)
    return Part(
        name="preprocess",
        about="From files to training data: the stages clean, pocket, torsions and tokens over all complexes in one "
        "process, beside gemmi and RDKit that read the same files and RDKit's feature factory on the same ligands. "
        "Seconds of the processor on one core; start-up (imports, tables read once) apart.",
        settings={"dataset": name, "complexes": count, "accepted": accepted, "batches": len(work.batches)},
        ratios={
            "time_ratio_vs_reading": ratios[ALL].median,
            **{f"{stage}_time_ratio_vs_reading": ratios[stage].median for stage in STAGES},
            "time_ratio_vs_reading_documented": _quotient(seconds[ALL], documented).median,
            "complexes_per_second": count / timings[ALL].median,
        },
        words={
            "time_ratio_vs_reading": "all four stages, over reading the files and RDKit's features",
            **{f"{stage}_time_ratio_vs_reading": f"{stage} alone over the same" for stage in STAGES},
            "time_ratio_vs_reading_documented": "all four stages, over the same with the features by GetFeaturesForMol",
            "complexes_per_second": "complexes a second and core, all four stages",
        },
        tables=[_times(timings, count), _profile(functions, timings, count)],
        remarks=[
            f"`time_ratio_vs_reading` is the median of {len(rounds)} rounds, quartiles "
            f"{number(ratios[ALL].low)} to {number(ratios[ALL].high)}. Every file is read once by either side, SDF and "
            "MOL2 of a ligand both, with the defaults of gemmi and RDKit (RDKit sanitises and removes hydrogens).",
            "RDKit's `GetFeaturesForMol` matches all patterns anew for each feature that it finds. The floor matches "
            "each pattern once, as one flag of the factory asks for; the documented call stands beside it.",
            "What the stages do beyond: hash the files, compare SDF with MOL2, take stereo from the coordinates, write "
            "SMILES, InChIKey and a molecule block, build and check the residue table, read and write the tables.",
        ],
    )


def _quotient(above: list[float], below: list[float]) -> Timing:
    """Median and quartiles of the quotients of each round."""
    return summarise([a / b for a, b in zip(above, below, strict=True)])


def _times(timings: dict[str, Timing], count: int) -> Table:
    return Table(
        f"Seconds of the processor for {count} complexes",
        ["what", "seconds [quartiles]", "ms a complex", "complexes a second"],
        [[what, spread(t), 1000 * t.median / count, count / t.median] for what, t in timings.items()],
    )


def _profile(functions: dict[str, dict[str, float]], timings: dict[str, Timing], count: int) -> Table:
    rows: list[list[str | float | int | None]] = []
    for stage, seconds in functions.items():
        scale = timings[stage].median / sum(seconds.values())
        least = _SMALLEST * timings[ALL].median
        large = {name: scale * value for name, value in seconds.items() if scale * value >= least}
        large["others"] = timings[stage].median - sum(large.values())
        rows += [[stage, name, 1000 * value / count, value / timings[ALL].median] for name, value in large.items()]
    return Table(
        "Where the time goes, by function",
        ["stage", "function", "ms a complex", "share of all"],
        rows,
        "A function's time is its own and that of what it calls in other packages. The shares are those of a profiler, "
        "scaled to the seconds above; it makes functions that loop in Python look a little slower than they are.",
    )
