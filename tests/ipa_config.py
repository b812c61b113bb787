"""A stand-in for the settings of flash_ipa's layer, which is on no package index."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class IPAConfig:
    """The fields of flash_ipa's IPAConfig that are set here."""

    use_flash_attn: bool
    attn_dtype: str
    c_s: int
    c_z: int
    c_hidden: int
    no_heads: int
    z_factor_rank: int
    no_qk_points: int
    no_v_points: int
