from __future__ import annotations

import pytest

from uploader.kinds import Kind, ignored, key_of, named_step, nature

NAME = "pictures"


@pytest.mark.parametrize(
    ("path", "kind", "key"),
    [
        ("pictures/pictures_000000500.safetensors", Kind.CHECKPOINT, "checkpoints/pictures_000000500.safetensors"),
        ("pictures/pictures.safetensors", Kind.CHECKPOINT, "checkpoints/pictures.safetensors"),
        ("pictures/pictures_high_noise.safetensors", Kind.CHECKPOINT, "checkpoints/pictures_high_noise.safetensors"),
        (
            "pictures/pictures_000000500/transformer/config.json",
            Kind.CHECKPOINT,
            "checkpoints/pictures_000000500/transformer/config.json",
        ),
        ("pictures/pictures_500/aitk_meta.yaml", Kind.CHECKPOINT, "checkpoints/pictures_500/aitk_meta.yaml"),
        ("pictures/trigger_500.pt", Kind.CHECKPOINT, "checkpoints/trigger_500.pt"),
        ("pictures/optimizer.pt", Kind.OPTIMIZER, "checkpoints/optimizer.pt"),
        ("pictures/samples/1__000000500_0.jpg", Kind.SAMPLE, "samples/1__000000500_0.jpg"),
        ("pictures/samples/1__000000500_0.mp4", Kind.SAMPLE, "samples/1__000000500_0.mp4"),
        ("preview.webp", Kind.SAMPLE, "samples/preview.webp"),
        ("logs/training.log", Kind.LOG, "logs/training.log"),
        ("pictures/log.txt", Kind.LOG, "logs/log.txt"),
        ("tb/events.out.tfevents.17.host", Kind.LOG, "logs/tb/events.out.tfevents.17.host"),
        ("pictures/loss_log.db", Kind.DATABASE, "logs/loss_log.db"),
        ("pictures/loss_log.db-wal", Kind.DATABASE, "logs/loss_log.db-wal"),
        ("pictures/README.md", Kind.OTHER, "outputs/README.md"),
        ("pictures/learnable_snr.json", Kind.LOG, "logs/learnable_snr.json"),
        ("other/pictures/a.txt", Kind.OTHER, "outputs/other/pictures/a.txt"),
        ("pictures", Kind.OTHER, "outputs/pictures"),
        ("manifest.json", Kind.OTHER, "outputs/manifest.json"),
        ("claims/1.json", Kind.OTHER, "outputs/claims/1.json"),
    ],
)
def test_where_a_file_goes(path: str, kind: Kind, key: str) -> None:
    assert nature(path, NAME).kind is kind
    assert key_of(path, NAME) == key


def test_a_torn_checkpoint_goes_elsewhere() -> None:
    assert key_of("pictures/pictures_5.safetensors", NAME, incomplete=True) == "incomplete/pictures_5.safetensors"


def test_nothing_ever_goes_where_our_own_documents_are() -> None:
    for path in ("status.json", "manifest.json", "manifests/a.json", "claims/1.json", "pictures/claims/1.json"):
        assert key_of(path, NAME).split("/")[0] == "outputs"


@pytest.mark.parametrize(
    "path",
    [
        "pictures/config.yaml",
        ".job_config.json",
        "pictures/.tmpAbC",
        "samples/.thumbs/a.jpg",
        "pictures/loss_log.db-shm",
        "__pycache__/a.pyc",
        "dataset/_latent_cache/a.safetensors",
        "a.tmp",
        "a.part",
        "a.lock",
        "notes.txt~",
        "secret.txt",
        "deep/secret.txt",
        "private/a.png",
    ],
)
def test_what_is_never_uploaded(path: str) -> None:
    assert ignored(path, ("secret.*", "private/*"))


@pytest.mark.parametrize("path", ["a.txt", "pictures/my_config.yaml", "part/a.png", "lock"])
def test_what_is_not_dropped(path: str) -> None:
    assert not ignored(path)


@pytest.mark.parametrize(
    ("path", "growing"),
    [
        ("logs/training.log", True),
        ("metrics.csv", True),
        ("a.jsonl", True),
        ("logs/picture.json", False),
        ("a.txt", False),
    ],
)
def test_what_only_ever_grows(path: str, *, growing: bool) -> None:
    assert nature(path, NAME).growing is growing


def test_a_deep_key_leaves_room_for_its_prefix() -> None:
    prefix = "p" * 450
    assert len(prefix) + len(key_of("/".join(["deep"] * 200), NAME, prefix)) <= 900


@pytest.mark.parametrize("name", ["config.yaml", "_controls", "pid.txt", "v1.tmp", "old~", "__pycache__"])
def test_a_run_may_be_called_like_what_is_never_uploaded(name: str) -> None:
    assert ignored(name)
    assert not ignored(name, name=name)
    assert not ignored(f"{name}/{name}.safetensors", name=name)
    assert ignored(f"{name}/config.yaml", name=name)
    assert ignored(f"samples/{name}", name=name)


@pytest.mark.parametrize("digits", [13, 40, 5000])
def test_a_number_beyond_all_steps_is_none(digits: int) -> None:
    assert named_step(f"x_{'9' * digits}.safetensors") is None
