"""Where ai-toolkit and its models are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import ErrorCode, FerryError
from shared.toolkit import check_toolkit, model_cache
from tests.unit.handler.toolkits import make_settings, make_toolkit


def test_the_toolkits_version_is_read_where_there_is_one(tmp_path: Path) -> None:
    toolkit = make_toolkit(tmp_path, "")
    assert check_toolkit(make_settings(toolkit)) == ""
    (toolkit / "version.py").write_text('VERSION = "0.12.26"\n')
    assert check_toolkit(make_settings(toolkit)) == "0.12.26"


def test_a_missing_toolkit_or_interpreter_is_named(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "none")
    with pytest.raises(FerryError, match="AI_TOOLKIT_DIR") as missing:
        check_toolkit(settings)
    assert missing.value.code is ErrorCode.TOOLKIT_NOT_FOUND
    settings = make_settings(make_toolkit(tmp_path / "toolkit", ""), python="/no/such/python")
    with pytest.raises(FerryError, match="AI_TOOLKIT_PYTHON") as missing:
        check_toolkit(settings)
    assert missing.value.code is ErrorCode.TOOLKIT_NOT_FOUND


@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({}, "/root/.cache/huggingface/hub"),
        ({"HOME": "/home/me"}, "/home/me/.cache/huggingface/hub"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "/cache"}, "/cache/huggingface/hub"),
        ({"HF_HOME": "/volume/huggingface", "XDG_CACHE_HOME": "/cache"}, "/volume/huggingface/hub"),
        ({"HF_HOME": "/volume/huggingface", "HF_HUB_CACHE": "/hub"}, "/hub"),
    ],
)
def test_models_are_kept_where_the_hubs_library_says(environ: dict[str, str], cache: str) -> None:
    assert model_cache(environ) == Path(cache)
