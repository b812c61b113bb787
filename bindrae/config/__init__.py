"""The single source of every setting: models, defaults, documentation and the JSON schema.

The Snakefile, the command line and the documentation all read these models; nothing else defines a default.
"""

from bindrae.config.base import Name, Settings
from bindrae.config.data import (
    PLM_WIDTH,
    CleanSettings,
    EmbedSettings,
    IndexSettings,
    PocketSettings,
    QualitySettings,
    ShardSettings,
    SplitSettings,
    TokenSettings,
    TorsionSettings,
)
from bindrae.config.model import ModelSettings
from bindrae.config.parse import differing_keys, load_settings, override, parse_settings, read_yaml
from bindrae.config.results import EvaluationSettings, PredictionSettings, RefinementSettings
from bindrae.config.run import Config, json_schema, load_config, reference, resolve_config
from bindrae.config.training import EXECUTION_KEYS, EnsembleSettings, TrainingSettings

__all__ = [
    "EXECUTION_KEYS",
    "PLM_WIDTH",
    "CleanSettings",
    "Config",
    "EmbedSettings",
    "EnsembleSettings",
    "EvaluationSettings",
    "IndexSettings",
    "ModelSettings",
    "Name",
    "PocketSettings",
    "PredictionSettings",
    "QualitySettings",
    "RefinementSettings",
    "Settings",
    "ShardSettings",
    "SplitSettings",
    "TokenSettings",
    "TorsionSettings",
    "TrainingSettings",
    "differing_keys",
    "json_schema",
    "load_config",
    "load_settings",
    "override",
    "parse_settings",
    "read_yaml",
    "reference",
    "resolve_config",
]
