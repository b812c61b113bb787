"""The command `bindrae predict`: one complex, a folder of them, or a sheet."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bindrae import __version__
from bindrae.chem.hetero import PREFIX
from bindrae.data.ids import check_ids
from bindrae.data.index import LIGAND_SUFFIXES, PROTEIN_SUFFIXES, find_folders, find_pairs
from bindrae.data.sheets import read_sheet
from bindrae.data.storage import write_json
from bindrae.errors import BindraeError, RejectedComplex
from bindrae.prediction.predict import PredictionOptions, Predictor, predict_complex
from bindrae.prediction.summary import summarise, summary_line
from bindrae.prediction.write import check_output, write_prediction

Found = tuple[str, Path, str | list[str] | None]
_SHEETS = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Job:
    """One complex to predict."""

    id: str
    protein: Path
    ligand: str | list[str] | None
    output: Path


def is_collection(path: Path) -> bool:
    """Whether a path holds many complexes: a folder or a sheet."""
    return path.is_dir() or path.suffix.lower() in _SHEETS


def find_jobs(root: Path, output: Path, batch: int | None = None) -> list[Job]:
    """The complexes of a folder or a sheet, and where each result goes.

    A folder is either flat (``<id>_protein.pdb`` with ``<id>_ligand.sdf`` or ``.mol2``) or has one folder a complex
    with files of these names. A sheet has the columns ``id``, ``protein`` and, optionally, ``ligand``, which may be
    empty; the index of a dataset is one, and of it `batch` takes the complexes of one batch alone. Where a folder has
    no ligand file for a complex, the protein is predicted alone.

    Raises
    ------
    BindraeError
        When there is none, or a sheet lacks a column.
    """
    if root.is_dir():
        if batch is not None:
            raise BindraeError(f"{root} is a folder, which has no batches", "name the index of a dataset")
        flat = any(path.name.endswith(PROTEIN_SUFFIXES) for path in root.iterdir())
        entries = list(find_pairs(root) if flat else find_folders(root))
        # Folders of other things beside the complexes have no protein file.
        found: list[Found] = [(e["id"], Path(e["protein"]), _existing(e["ligand"])) for e in entries]
        if not any(os.path.isfile(path) for _, path, _ in found):
            raise BindraeError(
                f"{root} holds no complexes",
                f"expected <id>/<id>{PROTEIN_SUFFIXES[0]} with <id>/<id>{LIGAND_SUFFIXES[0]}, the same files in one "
                "flat folder, or give a sheet with the columns id, protein, ligand",
            )
    else:
        found = list(_sheet_rows(root, batch))
    ids = [identifier for identifier, _, _ in found]
    if not ids and batch is None:
        raise BindraeError(f"{root} holds no complexes", "the sheet has no rows")
    check_ids(ids, str(root))
    jobs = [Job(i, protein, ligand, output / f"{i}{_ending(protein)}") for i, protein, ligand in found]
    for job in jobs:
        _keep_inputs(job.output, job)
    return jobs


def _keep_inputs(written: Path, job: Job) -> None:
    """Refuse to write over a file that is read."""
    ligands = [job.ligand] if isinstance(job.ligand, str) else job.ligand or []
    read = [job.protein, *(Path(name) for name in ligands if not name.startswith(PREFIX))]
    try:
        clash = written.resolve() in [path.resolve() for path in read]
    except (OSError, RuntimeError, ValueError):
        clash = False  # a name that is none, a loop of links: reading it fails by name
    if clash:
        raise BindraeError(f"{written} would be written over, and is the input itself", "name another output")


def _sheet_rows(path: Path, batch: int | None) -> Iterator[Found]:
    if not path.is_file():
        raise BindraeError(f"{path} does not exist", "check the path")
    sheet = read_sheet(path)
    missing = {"id", "protein", *(["batch"] if batch is not None else [])} - set(sheet.columns)
    if missing:
        raise BindraeError(
            f"{path} lacks the column(s) {', '.join(sorted(missing))}", "name the columns id, protein and ligand"
        )
    if batch is not None:
        sheet = sheet[sheet["batch"].astype(int) == batch]
    # A user's sheet names files from where it lies, an index from the working folder.
    base = path.parent if batch is None else Path()
    ligands = sheet["ligand"].tolist() if "ligand" in sheet.columns else [None] * len(sheet)
    for identifier, protein, ligand in zip(sheet["id"].tolist(), sheet["protein"].tolist(), ligands, strict=True):
        none = ligand is None or isinstance(ligand, float)  # tables hold NaN where there is nothing
        names = [] if none else list(ligand) if isinstance(ligand, np.ndarray | list) else [ligand]
        yield str(identifier), base / str(protein), _ligand_of([str(name).strip() for name in names], base)


def _ligand_of(names: list[str], base: Path) -> str | list[str] | None:
    """The files of one ligand, or its place in the protein file; None where a sheet names nothing."""
    given = [name if name.startswith(PREFIX) else str(base / name) for name in names if name]
    return given if len(given) > 1 else given[0] if given else None


def _existing(paths: list[str]) -> list[str] | None:
    return [path for path in paths if os.path.isfile(path)] or None


def _ending(protein: Path) -> str:
    return ".cif" if protein.name.lower().removesuffix(".gz").endswith((".cif", ".mmcif", ".pdbx")) else ".pdb"


def run_prediction(
    protein: Path,
    ligand: str | None,
    output: Path,
    *,
    model: Path | None = None,
    options: PredictionOptions | None = None,
    summary: Path | None = None,
    threads: int = 1,
    batch: int | None = None,
) -> float:
    """Predict one complex or many, and write the structures and a summary.

    Parameters
    ----------
    protein : Path
        A protein file, or a folder or a sheet of complexes.
    ligand : str or None
        Of a single protein.
    output : Path
        A PDB or mmCIF file; for a folder or a sheet, a folder.
    model : Path, optional
        Model file; by default the weights that ship with the package.
    options : PredictionOptions, optional
    summary : Path, optional
        JSON file to write; for many complexes ``<output>/summary.json`` by default.
    threads : int
        Threads of torch.
    batch : int, optional
        Of a dataset's index, only this batch.

    Returns
    -------
    float
        Share of the complexes that failed. Those are in the summary with code and message.

    Raises
    ------
    BindraeError
        When nothing can be done at all, or the only complex fails.
    """
    options = options or PredictionOptions()
    many = is_collection(protein)
    if many:
        if ligand is not None:
            raise BindraeError(
                f"{protein} holds many complexes, yet a ligand was named", "name the ligands in the folder or the sheet"
            )
        if output.suffix.lower() in (".pdb", ".cif", ".mmcif", ".ent") or output.is_file():
            raise BindraeError(f"-o {output} is a file", f"{protein} holds many complexes: name a folder")
        jobs = find_jobs(protein, output, batch)
        summary = summary or output / "summary.json"
    else:
        check_output(output)
        jobs = [Job(protein.name.split(".")[0], protein, ligand, output)]
        _keep_inputs(output, jobs[0])
        if summary is not None:
            _keep_inputs(summary, jobs[0])
            if summary.resolve() == output.resolve():
                raise BindraeError(f"--json {summary} is the structure's own file", "name another file")
    torch.set_num_threads(threads)
    predictor = Predictor.load(model)
    results = []
    failed = 0
    for number, job in enumerate(jobs, start=1):
        try:
            result = _one(job, predictor, options)
        except BindraeError as error:
            if not many:
                raise
            failed += 1
            code = error.code if isinstance(error, RejectedComplex) else "options"
            result = {"id": job.id, "status": "failed", "code": code, "message": error.message, "hint": error.hint}
            print(f"{job.id}: failed ({code}): {error.message}")
        else:
            print(summary_line(result, f"[{number}/{len(jobs)}] " if many else ""))
        results.append(result)
    if summary is not None:
        write_json(
            {
                "version": __version__,
                "model": str(predictor.path),
                "model_sha256": predictor.sha256,
                "calibrated": predictor.calibrations.fitted,
                "options": asdict(options),
                "failed": failed,
                "complexes": results,
            },
            summary,
        )
    if many:
        done = len(jobs) - failed
        print(f"predict: {done} of {len(jobs)} complexes written to {output}, {failed} failed; see {summary}")
    return failed / max(len(jobs), 1)


def _one(job: Job, predictor: Predictor, options: PredictionOptions) -> dict[str, Any]:
    start = time.monotonic()
    prediction = predict_complex(predictor, job.protein, job.ligand, options, job.id)
    write_prediction(prediction, predictor, job.output)
    return {**summarise(prediction, job.output), "seconds": round(time.monotonic() - start, 3)}
