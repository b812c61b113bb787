"""Settings: every fault is named, presets merge in the right order, the shipped files are sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bindrae import config
from bindrae.config import Config, ModelSettings, PocketSettings, SplitSettings, TokenSettings
from bindrae.errors import BindraeError

REPOSITORY = Path(__file__).parents[1]
DEMO = {"index": {"layout": "demo"}}
SECTIONS = {
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, config.Settings)
}


def fault(data: dict[str, Any]) -> str:
    with pytest.raises(BindraeError) as caught:
        config.resolve_config(data, "my.yaml")
    assert caught.value.message.startswith("my.yaml: ")
    return caught.value.message


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"datset": "x"}, "unknown key 'datset' (did you mean 'dataset'?)"),
        ({"clean": {"altloc": "first"}}, "unknown key 'clean.altloc' (did you mean 'altlocs'?)"),
        ({"pocket": {"sigma": 2.0}}, "unknown key 'pocket.sigma'"),
        ({"training": {"zzz": 1}}, "unknown key 'training.zzz' (known: seed, "),
        ({"model": {"dept": 3}}, "(did you mean 'depth'?)"),
        ({"max_rejected_fraction": 1.5}, "max_rejected_fraction: "),
        ({"pocket": {"sigma_angstrom": 0}}, "pocket.sigma_angstrom: "),
        ({"pocket": {"hops": "many"}}, "pocket.hops: "),
        ({"clean": {"altlocs": "best"}}, "clean.altlocs: "),
        ({"dataset": "../elsewhere"}, "dataset: "),
        ({"run": "a/b"}, "run: "),
        ({"clean": 3}, "clean: "),
        ({"split": {"fractions": [0.5, 0.5]}}, "split.fractions"),
        ({"embed": {"window": 100, "overlap": 100}}, "overlap (100) must be smaller than window (100)"),
    ],
)
def test_every_fault_is_named_by_its_key(data: dict[str, Any], named: str) -> None:
    assert named in fault({**DEMO, **data})


def test_all_faults_are_told_at_once() -> None:
    message = fault({**DEMO, "clean": {"altloc": "first", "max_residues": 0}, "runn": "x"})
    assert all(key in message for key in ("clean.altloc", "clean.max_residues", "'runn'"))


def test_a_dataset_of_ones_own_needs_its_root() -> None:
    for layout in ("casf2016", "pdbbind", "pairs", "sheet"):
        assert "root is not set" in fault({"index": {"layout": layout}})
        assert config.resolve_config({"index": {"layout": layout}, "root": "data"}).root == "data"
    assert config.resolve_config(DEMO).root is None


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.2), (0.5, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_fractions_must_be_shares_of_one(fractions: tuple[float, ...]) -> None:
    assert "fractions" in fault({**DEMO, "split": {"fractions": list(fractions)}})
    assert sum(SplitSettings(fractions=(0.8, 0.1, 0.1)).fractions) == pytest.approx(1.0)


def test_a_preset_lies_under_the_keys_beside_it_and_over_the_defaults(tmp_path: Path) -> None:
    preset = tmp_path / "preset.yaml"
    preset.write_text("c_s: 384\ndepth: 5\n")
    given = {**DEMO, "model": {"preset": str(preset), "depth": 2}}
    model = config.resolve_config(given).model
    assert (model.c_s, model.depth, model.heads) == (384, 2, ModelSettings().heads)
    assert given["model"] == {"preset": str(preset), "depth": 2}, "the caller's mapping is left alone"

    preset.write_text("c_s: 384\ndeph: 5\n")
    with pytest.raises(BindraeError, match=r"preset\.yaml: unknown key 'deph' \(did you mean 'depth'\?\)"):
        config.resolve_config(given)
    preset.unlink()
    with pytest.raises(BindraeError, match=r"preset\.yaml does not exist"):
        config.resolve_config(given)


def test_the_width_of_the_language_model_follows_its_name() -> None:
    for plm, width in config.PLM_WIDTH.items():
        assert config.resolve_config({**DEMO, "embed": {"plm": plm}}).model.d_plm == width
    assert "d_plm is 7" in fault({**DEMO, "embed": {"plm": "esm2_t6_8M_UR50D"}, "model": {"d_plm": 7}})


def test_settings_load_from_json_and_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_text("max_points: 32\ncontext: false\n")
    from_yaml = config.load_settings(TokenSettings, str(path))
    from_json = config.load_settings(TokenSettings, ' {"max_points": 32, "context": false}')
    assert from_yaml == from_json == TokenSettings(max_points=32, context=False)
    assert config.load_settings(TokenSettings, None) == TokenSettings()
    path.write_text("# nothing set\n")
    assert config.load_settings(TokenSettings, str(path)) == TokenSettings()


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("{'max_points': 3}", "not valid JSON"),
        ('{"max_points": 0}', "--settings: max_points"),
        ('{"max_point": 3}', r"did you mean 'max_points'\?"),
        ("missing.yaml", "does not exist"),
        ("list.yaml", "holds list, not a mapping"),
        ("torn.yaml", "not valid YAML"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, match: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.yaml").write_text("- a\n- b\n")
    Path("torn.yaml").write_text("a: [1, 2\nb: }\n")
    with pytest.raises(BindraeError, match=match) as caught:
        config.load_settings(TokenSettings, source)
    assert caught.value.hint


def test_settings_never_change_after_loading() -> None:
    settings = PocketSettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.hops = 4  # type: ignore[misc]


def test_what_the_rules_pass_on_comes_back_the_same() -> None:
    """Snakemake hands each stage its section as JSON."""
    whole = config.resolve_config(
        {**DEMO, "clean": {"chains_within_angstrom": 8}, "split": {"fractions": [0.6, 0.2, 0.2]}}
    )
    for name, model in SECTIONS.items():
        section = getattr(whole, name)
        assert config.load_settings(model, json.dumps(section.model_dump(mode="json"))) == section
    assert config.resolve_config(whole.model_dump(mode="json")) == whole


@pytest.mark.parametrize("name", ["", *SECTIONS])
def test_every_setting_is_described(name: str) -> None:
    model = SECTIONS[name] if name else Config
    for key, field in model.model_fields.items():
        assert not field.is_required(), f"{name}.{key} has no default"
        if key not in SECTIONS or name:
            assert len(field.description or "") > 10, f"{name}.{key}"
    assert "Settings" not in (model.__doc__ or "Settings"), "the section's own sentence, not an inherited one"


@pytest.mark.parametrize("path", sorted((REPOSITORY / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_configurations_are_sound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    data = config.read_yaml(path)
    if data.get("index", {}).get("layout") != "demo":
        data.setdefault("root", "somewhere")
        data["root"] = data["root"] or "somewhere"
        lines = [line for line in path.read_text().splitlines() if line.startswith("root:")]
        assert len(lines) == 1, "the folder is one key on a line of its own"
    config.resolve_config(data, path.name)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "config" / "model").glob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_presets_are_sound(path: Path) -> None:
    model = config.resolve_config({**DEMO, "model": {"preset": str(path)}}).model
    assert model.model_copy(update={"preset": None}) == ModelSettings(**config.read_yaml(path))
    if path.name == "default.yaml":
        assert model.model_copy(update={"preset": None}) == ModelSettings()


def test_the_written_reference_is_that_of_the_models() -> None:
    """Mend it with `bindrae schema --reference --output config/REFERENCE.md`."""
    assert (REPOSITORY / "config" / "REFERENCE.md").read_text() == config.reference()
