"""Calls that would run what a file holds, or what a name says, stand nowhere in the package and the workflow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = sorted([*(ROOT / "bindrae").rglob("*.py"), *(ROOT / "workflow").rglob("*.py")])
# Rules are no Python; what is looked for in them is looked for as text.
RULES = sorted([ROOT / "workflow" / "Snakefile", *(ROOT / "workflow").rglob("*.smk")])
SETTINGS = sorted((ROOT / "workflow").rglob("profile.yaml"))

MODULES = {"cPickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "pickle", "shelve", "telnetlib"}
CALLS = {"eval", "exec", "compile", "__import__"}
MEMBERS = {
    "os": {"system", "popen", "execl", "execlp", "execv", "execvp", "spawnl", "spawnv", "tempnam"},
    "subprocess": {"getoutput", "getstatusoutput"},
    "yaml": {"load", "load_all", "full_load", "full_load_all", "unsafe_load", "unsafe_load_all", "Loader", "CLoader"},
    "tempfile": {"mktemp"},
    "zipfile": {"ZipFile"},  # unpacking needs its own check of names
    "tarfile": {"open", "TarFile"},
    "shutil": {"unpack_archive"},
}
METHODS = {"read_pickle", "to_pickle", "extractall"}
LOADERS = {"torch": "weights_only", "np": "allow_pickle", "numpy": "allow_pickle"}
THE_READER = ROOT / "bindrae" / "data" / "tensors.py"
# Runs in the environment of another program, which has no bindrae to import.
ITS_OWN_READER = ROOT / "bindrae" / "benchmark" / "peers" / "workers" / "ligandmpnn_packer.py"


def faults(source: str) -> Iterator[str]:
    """What of a module is forbidden."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            names = [module or ""] if module else [alias.name for alias in node.names]
            yield from (f"import of {name}" for name in names if name.partition(".")[0] in MODULES)
            if module in MEMBERS:
                yield from (f"{module}.{alias.name}" for alias in node.names if alias.name in MEMBERS[module])
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in MEMBERS.get(node.value.id, ()):
                yield f"{node.value.id}.{node.attr}"
            if node.attr in METHODS:
                yield node.attr
        if not isinstance(node, ast.Call):
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        if isinstance(node.func, ast.Name) and node.func.id in CALLS:
            yield f"{node.func.id}()"
        if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            yield f"{node.func.attr}()"
        shell = given.get("shell")
        if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
            yield "shell=True"
        if isinstance(node.func, ast.Attribute) and node.func.attr == "load" and isinstance(node.func.value, ast.Name):
            key = LOADERS.get(node.func.value.id)
            value = given.get(key) if key else None
            safe = isinstance(value, ast.Constant) and value.value is (key == "weights_only")
            if key and not safe:
                yield f"{node.func.value.id}.load() without {key}={key == 'weights_only'}"
        if any(key in ("allow_pickle", "trust_remote_code") and not _is_false(value) for key, value in given.items()):
            yield "allow_pickle=True"
        if any(key == "verify" and _is_false(value) for key, value in given.items()):
            yield "verify=False"


def _is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def test_there_is_something_to_look_at() -> None:
    assert len(PYTHON) > 150
    assert len(RULES) > 5


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_makes_a_forbidden_call(path: Path) -> None:
    assert not list(faults(path.read_text()))


def test_tensors_are_read_in_one_place() -> None:
    users = {path for path in PYTHON if "torch.load(" in path.read_text()}
    assert users == {THE_READER, ITS_OWN_READER}


@pytest.mark.parametrize("path", [*RULES, *SETTINGS], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_rule_makes_a_forbidden_call(path: Path) -> None:
    text = path.read_text()
    for word in ("pickle", "eval(", "exec(", "os.system", "shell=True", "yaml.load", "torch.load", "np.load"):
        assert word not in text
    # Settings and names of files reach the shell quoted, or are names that the configuration checks.
    for number, line in enumerate(text.splitlines(), start=1):
        for loose in ("{params.settings}", "{params.model}", "{params.carried_out}", "{params.config}"):
            if loose in line and not ("predict" in line and loose == "{params.model}"):
                pytest.fail(f"{path.name}, line {number}: {loose} is not quoted")


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.memory",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "np.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "from yaml import unsafe_load",
        "pd.read_pickle(path)",
        "eval(text)",
        "exec(text)",
        "subprocess.run(text, shell=True)",
        "subprocess.run(text, shell=flag)",
        "os.system(text)",
        "requests.get(address, verify=False)",
        "archive.extractall(folder)",
        "import tarfile\ntarfile.open(path)",
    ],
)
def test_what_is_forbidden_is_found(source: str) -> None:
    assert list(faults(source))


def test_what_is_allowed_is_let_through() -> None:
    allowed = (
        "torch.load(path, weights_only=True)\nnp.load(path, allow_pickle=False)\nyaml.safe_load(text)\n"
        "subprocess.run([a, b], check=True)\nmodel.eval()\njson.load(stream)\nPredictor.load(path)\n"
    )
    assert not list(faults(allowed))
