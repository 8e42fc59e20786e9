"""A submitted ai-toolkit configuration: read safely, checked, named, and written with its meaning unchanged."""

from __future__ import annotations

from handler.config.names import config_name
from handler.config.problems import ConfigError
from handler.config.reading import parse_config
from handler.config.yaml_text import WrittenFloat, dump_config

__all__ = ["ConfigError", "WrittenFloat", "config_name", "dump_config", "parse_config"]
