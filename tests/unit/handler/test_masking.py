"""The configuration is shown without what must not be seen."""

from __future__ import annotations

from handler.masking import masked
from shared.secrecy import MASK


def test_telling_keys_and_known_secrets_are_masked_and_nothing_else() -> None:
    config = {
        "hub_token": "hf_abc",
        "model": {"name_or_path": "a/b", "api_key": "xyz", "notes": ["uses canary-secret here", 3, None]},
        "token_dropout_rate": 0.3,
        "keyframes": "kept",
    }
    assert masked(config, {"canary-secret"}) == {
        "hub_token": MASK,
        "model": {"name_or_path": "a/b", "api_key": MASK, "notes": [f"uses {MASK} here", 3, None]},
        "token_dropout_rate": 0.3,
        "keyframes": "kept",
    }
