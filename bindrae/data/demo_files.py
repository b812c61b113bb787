"""The demo's complexes as a dataset of one's own: ``python -m bindrae.data.demo_files FOLDER``."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from bindrae.data.index import find_demo
from bindrae.errors import exit_on_error


def copy_demo(folder: Path) -> list[Path]:
    """Lay the complexes out as ``<id>/<id>_protein.pdb`` and ``<id>/<id>_ligand.sdf``.

    Parameters
    ----------
    folder : Path
        Made when it is missing; files of the same names are written over.

    Returns
    -------
    list of Path
        The folder of each complex.

    Raises
    ------
    BindraeError
        When the packages that hold the complexes are not installed.
    """
    made = []
    for entry in find_demo(None):
        target = folder / entry["id"]
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(entry["protein"], target / f"{entry['id']}_protein.pdb")
        shutil.copyfile(entry["ligand"][0], target / f"{entry['id']}_ligand.sdf")
        made.append(target)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bindrae.data.demo_files", description=__doc__)
    parser.add_argument("folder", type=Path, help="Folder to make.")
    with exit_on_error():
        for path in copy_demo(parser.parse_args().folder):
            print(path)
