"""``python -m bindrae.benchmark.suite PART...``: measure, and write the page."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from bindrae.benchmark.suite.options import Options
from bindrae.errors import BindraeError, exit_on_error
from bindrae.progress import format_seconds

app = typer.Typer(pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})
_PAGE = "page"


@app.command()
def bench(
    parts: Annotated[
        list[str] | None,
        typer.Argument(help="Parts to measure; all without one. page only writes."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="Folder for the results.")] = Options.output,
    data: Annotated[
        Path | None, typer.Option("--data", help="Prepared data, as results/casf2016/data; else those of the demo.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option("--root", help="Complexes as distributed; else the embedded demo.")
    ] = None,
    layout: Annotated[str, typer.Option("--layout", help="Of --root, as index.layout in the config.")] = Options.layout,
    openfold: Annotated[Path | None, typer.Option("--openfold", help="Checkout of OpenFold, for fk.")] = None,
    flash_ipa: Annotated[Path | None, typer.Option("--flash-ipa", help="Checkout of flash_ipa, for attention.")] = None,
    peers: Annotated[str, typer.Option("--peers", help="Programs of predict.")] = Options.peers,
    scale: Annotated[int, typer.Option("--scale", help="Complexes of the largest dataset of scale.")] = Options.scale,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes and few runs, into OUTPUT/quick; no page is written.")
    ] = False,
    site: Annotated[Path, typer.Option("--site", help="Repository whose README.md and docs/ are written.")] = Path(),
) -> None:
    """Measure ours and its peers in alternation, and write docs/benchmarks.md and the numbers of README.md."""
    from bindrae.benchmark.suite.part import write_part
    from bindrae.benchmark.suite.parts import PARTS, find

    names = list(dict.fromkeys(parts or PARTS))
    if unknown := [name for name in names if name not in (*PARTS, _PAGE)]:
        raise BindraeError(f"{', '.join(unknown)}: no part of the benchmark", f"choose of {', '.join(PARTS)}, {_PAGE}")
    options = Options(
        output=output, data=data, root=root, layout=layout, openfold=openfold, flash_ipa=flash_ipa, quick=quick,
        peers=peers, scale=scale,
    )  # fmt: skip
    done, failed = [], False
    for name in names:
        if name == _PAGE:
            continue
        start = time.monotonic()
        try:
            path = write_part(find(name)(options), output / "quick" if quick else output)
        except BindraeError as error:
            failed = True
            print(f"{name} is left out: {error}", file=sys.stderr, flush=True)
            continue
        done.append(name)
        print(f"{name}: {path} in {format_seconds(time.monotonic() - start)}", flush=True)
    if not quick:
        _write_pages(output, list(PARTS) if _PAGE in names else done, site)
    if failed:
        sys.exit(2)


def _write_pages(output: Path, names: list[str], site: Path) -> None:
    from bindrae.benchmark.suite import page

    if not (site / page.README).is_file():
        raise BindraeError(f"{site.absolute()} holds no {page.README}", "run it in the repository, or name it: --site")
    page.publish(output, names, site)
    print(f"{site / page.PAGE} and {site / page.README} are written")


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # torch is not imported yet, and processes that are started inherit it
    with exit_on_error():
        app()
