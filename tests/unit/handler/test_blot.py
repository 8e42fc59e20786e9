"""No secret stays in the trainer's raw output, and not one byte moves."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

import handler.follow
from handler.blot import Blot
from handler.follow import Follower, Position, position_file
from tests.unit.handler.toolkits import make_run, make_session

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = ("hf_canary_of_the_hub", "canary", "canary-über")


@pytest.mark.parametrize("seed", range(20))
def test_secrets_are_blotted_out_however_the_reading_is_cut(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    words = [*SECRETS, "hf_", "can", "x", "\n", " loss: 0.1 ", "ü"]
    content = "".join(chance.choice(words) for _ in range(200)).encode()
    file = tmp_path / "trainer.out"
    file.write_bytes(content)
    blot, position, seen = Blot(file, SECRETS), 0, b""
    while position < len(content):
        block = content[position : position + chance.randrange(1, 30)]
        seen += blot.out(block, position)
        position += len(block)
    wanted = content
    for secret in sorted((secret.encode() for secret in SECRETS), key=len, reverse=True):
        wanted = wanted.replace(secret, b"*" * len(secret))
    left = file.read_bytes()
    assert (len(left), len(seen)) == (len(content), len(content))
    assert not [secret for secret in SECRETS if secret.encode() in left]
    # A shorter secret that begins a longer one may be gone before the rest of that is read.
    assert [a for a, b in zip(left, wanted, strict=True) if a != b and a != ord("*") and b != ord("*")] == []


def test_what_is_appended_meanwhile_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "trainer.out"
    writer = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    blot, position = Blot(file, SECRETS), 0
    for number in range(50):
        line = f"{number} hf_canary_of_the_hub\n".encode()
        os.write(writer, line)
        assert blot.out(line, position) == f"{number} {'*' * 20}\n".encode()
        position += len(line)
    os.close(writer)
    assert file.read_text() == "".join(f"{number} {'*' * 20}\n" for number in range(50))


def test_a_disk_that_refuses_and_no_secrets_at_all_stop_nothing(tmp_path: Path) -> None:
    assert Blot(tmp_path / "nowhere", SECRETS).out(b"a canary", 0) == b"a ******"
    assert Blot(tmp_path / "nowhere", ()).out(b"a canary", 0) == b"a canary"


@pytest.mark.guarantee("secret", fault="the trainer prints its token, plainly, in a bar, coloured, or in two pieces")
def test_nothing_that_is_made_of_the_output_holds_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler.follow, "NOTE_SECONDS", 0)
    session, printed = make_session(tmp_path), list[str]()
    secret = SECRETS[0]
    follow = Follower(session, make_run(session), fresh=True, console=printed.append, secrets=[secret])
    pieces = (
        f"token {secret}\n",
        f"\r{secret}:  10%|#         | 1/10 [00:01<00:09,  1.00s/it]",
        f"\r{secret}:  11%|#         | 1/10 [00:01<00:09,  1.00s/it]",
        f"\rheld back {secret}\r",
        f"\rheld back \x1b[1m{secret[:5]}\x1b[0m{secret[5:]}\r",
        f"\x1b[1m{secret[:5]}\x1b[0m{secret[5:]}\n",
        f"in two {secret[:7]}",
        f"{secret[7:]} pieces",
    )
    for piece in pieces:
        with session.trainer_output.open("ab") as file:
            file.write(piece.encode())
        follow.read()
        for path in (session.trainer_output, session.training_log, position_file(session)):
            assert secret not in path.read_text(), (piece, path)
        note = Position.read(position_file(session))
        assert note is not None
        assert secret not in note.model_dump_json()
    follow.finish()
    assert len(printed) > 3
    assert secret not in "\n".join((*printed, *follow.tail, session.training_log.read_text()))
