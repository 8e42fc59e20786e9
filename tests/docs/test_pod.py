"""A pod that stays: its template, its start command and its variables are those of the image."""

from __future__ import annotations

import configparser
import json
import re
import shlex

from tests.docs.documents import PROJECT, README, page, quoted
from tests.docs.test_packaging import DOCKERFILE, hub, image_variables

CONF = (PROJECT / "supervisord.pod.conf").read_text()
POD = json.loads((PROJECT / "examples" / "pod.json").read_bytes())


def programs() -> dict[str, str]:
    """Return the command of each program."""
    sections = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    sections.read_string(CONF)
    return {name: sections[name]["command"] for name in sections.sections() if "command" in sections[name]}


def variables() -> dict[str, str]:
    """Return the defaults of the pod's own variables, as the page tells them."""
    return {quoted(row[0])[0]: row[1].strip("`") for row in page("operations").table("pod's variable")}


def test_the_start_command_is_the_templates_and_the_image_has_what_it_names() -> None:
    command = shlex.join(POD["dockerStartCmd"])
    assert f"{command}\n" in page("operations").blocks("sh")
    assert "COPY supervisord.pod.conf ./" in DOCKERFILE
    assert command == f"/opt/ferry/bin/supervisord -c {image_variables()['FERRY_HOME']}/supervisord.pod.conf"


def test_supervisord_finds_what_it_names() -> None:
    assert set(programs()) == {"program:uploader", "program:toolkit"}
    assert set(re.findall(r"%\(ENV_(\w+)\)s", CONF)) <= set(image_variables())


def test_the_pods_variables_are_the_ones_that_are_explained() -> None:
    used = set(re.findall(r"\$\{?(\w+)", programs()["program:uploader"])) - {"FERRY_PYTHON", "RUNPOD_POD_ID"}
    assert used == set(variables())
    assert variables()["WATCH_FOLDER"] == image_variables()["WATCH_FOLDER"]


def test_the_template_sets_what_is_required_and_nothing_that_nobody_reads() -> None:
    known = {quoted(row[0])[0] for row in README.table("variable")} | set(variables())
    assert {"SUPABASE_URL", "SUPABASE_SERVICE_KEY", "WATCH_BUCKET"} <= set(POD["env"])
    assert set(POD["env"]) - known == {"HF_HOME", "AI_TOOLKIT_AUTH"}


def test_the_templates_volume_is_what_is_watched_and_holds_the_models_hidden() -> None:
    assert POD["volumeMountPath"] == image_variables()["WATCH_FOLDER"]
    assert POD["env"]["HF_HOME"].startswith(f"{POD['volumeMountPath']}/.")
    assert POD["allowedCudaVersions"] == hub()["config"]["allowedCudaVersions"]
    assert "8675/http" in POD["ports"]
