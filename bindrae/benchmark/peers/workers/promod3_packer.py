"""ProMod3's `ReconstructSidechains` with its defaults, ligands considered."""

from __future__ import annotations

from collections.abc import Callable


def load(threads: int) -> tuple[str, Callable[[str, str], None]]:
    """Version and packing function; the algorithm has one thread."""
    import ost  # type: ignore[import-not-found]
    import promod3  # type: ignore[import-not-found]
    from ost import io
    from promod3 import modelling, sidechain

    library = sidechain.LoadBBDepLib()

    def pack(source: str, target: str) -> None:
        entity = io.LoadPDB(source)
        # What stands in chain _ is an obstacle; CB atoms and disulfides are built from the backbone.
        modelling.ReconstructSidechains(entity, keep_sidechains=False, rotamer_library=library)
        io.SavePDB(entity.Select("cname!='_'"), target)

    return f"ProMod3 {promod3.__version__}, OpenStructure {ost.VERSION}", pack
