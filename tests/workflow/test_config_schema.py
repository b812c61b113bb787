"""The configuration as Snakemake takes it: one source of truth, messages that name the key, no leaks between files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workflow_clone import REPOSITORY, Clone

from bindrae.config import ModelSettings, json_schema, read_yaml, resolve_config

# ablation.yaml is a grid of changes to a configuration, not a configuration.
CONFIGS = sorted(path for path in (REPOSITORY / "config").glob("*.yaml") if path.stem != "ablation")
PRESETS = sorted((REPOSITORY / "config" / "model").glob("*.yaml"))


def test_schema_file_is_current() -> None:
    """`bindrae schema --output workflow/schemas/config.schema.json` after a change in bindrae/config."""
    written = json.loads((REPOSITORY / "workflow" / "schemas" / "config.schema.json").read_text())
    assert written == json_schema()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_are_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    given = read_yaml(path)
    if path.stem != "config":
        assert given["root"] is None
        given["root"] = "somewhere"
    assert resolve_config(given, str(path)).dataset == given["dataset"]


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_presets_are_valid(path: Path) -> None:
    ModelSettings.model_validate(read_yaml(path))


def test_default_preset_spells_out_every_default() -> None:
    preset = read_yaml(REPOSITORY / "config" / "model" / "default.yaml")
    assert ModelSettings.model_validate(preset) == ModelSettings()
    assert set(preset) == set(ModelSettings.model_fields) - {"preset", "d_plm"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("poket={sigma_angstrom: 3}", "unknown key 'poket' (did you mean 'pocket'?)"),
        ("pocket={sigma: 3}", "unknown key 'pocket.sigma'"),
        ("pocket={sigma_angstrom: wide}", "pocket.sigma_angstrom"),
    ],
)
def test_faults_are_named_without_a_traceback(clone: Clone, override: str, message: str) -> None:
    done = clone.snakemake("-n", "--config", override)
    assert done.returncode != 0
    assert message in done.stdout
    assert "config/config.yaml" in done.stdout
    assert "Traceback" not in done.stdout


def test_missing_root_says_what_to_set(clone: Clone) -> None:
    done = clone.snakemake("-n", "--configfile", "config/casf2016.yaml")
    assert done.returncode != 0
    assert "config/casf2016.yaml: root is not set" in done.stdout
    assert "edit `root:` in the config file" in done.stdout


def test_wrong_root_says_what_to_set(clone: Clone) -> None:
    done = clone.snakemake("-n", "--configfile", "config/casf2016.yaml", "--config", "root=nowhere")
    assert done.returncode != 0
    assert "root: nowhere does not exist" in done.stdout


def test_demo_is_the_default(clone: Clone) -> None:
    done = clone.snakemake("-n", "-p", "clean")
    assert done.returncode == 0, done.stdout
    assert '"chains_within_angstrom": 8.0' in done.stdout
    assert "--data results/demo/data" in done.stdout


def test_demo_does_not_leak_into_another_config(clone: Clone) -> None:
    done = clone.snakemake("-n", "-p", "clean", "--configfile", "config.yaml")
    assert done.returncode == 0, done.stdout
    assert '"chains_within_angstrom": null' in done.stdout


def test_overrides_reach_into_sections(clone: Clone) -> None:
    """Snakemake hands over values inside a section as text."""
    done = clone.snakemake("-n", "-p", "clean", "--config", "clean={chains_within_angstrom: null, max_residues: 50}")
    assert done.returncode == 0, done.stdout
    assert '"chains_within_angstrom": null' in done.stdout
    assert '"max_residues": 50' in done.stdout
    assert "--data results/demo/data" in done.stdout
