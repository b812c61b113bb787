"""BINDRAE: holo side chains from a protein backbone, its sequence and a bound ligand."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("bindrae")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"
