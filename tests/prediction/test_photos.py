"""Whatever the files are called and whatever is in them: one photo for each, its own, in order, in bounded time."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from assertions import user_error
from pictures import MODES, NOISE, hostile_names, mutated, saved
from PIL import Image

from resnet_tf.datasets.decode import open_image
from resnet_tf.prediction import photos, sandbox

# A decoder that does to the photos of certain names what a broken codec might do to any.
BROKEN_DECODER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from resnet_tf.datasets import decode
from resnet_tf.prediction import sandbox
answer = sandbox.answer
def broken(path, side, crop, frame):
    match os.path.basename(path).split(".")[0]:
        case "hang": sum(range(10**12))  # in C, where no Python signal handler would run
        case "crash": os.kill(os.getpid(), signal.SIGSEGV)
        case "killed": os.kill(os.getpid(), signal.SIGKILL)
        case "exit": os._exit(3)
        case "noisy": os.write(1, b"to stdout" * 9999); os.write(2, b"to stderr" * 9999)
        case "modules": return {"error": " ".join([*sys.modules, *(path or "''" for path in sys.path)])}, b""
        case "greedy": decode.open_image = lambda *_, **__: bytearray(8 << 30)
    return answer(path, side, crop, frame)
sandbox.answer = broken
sandbox.serve(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5]))
"""


@pytest.fixture
def broken_decoder(monkeypatch):
    monkeypatch.setattr(photos, "_DECODER", BROKEN_DECODER)


def write(path, content=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(saved(NOISE, "PNG") if content is None else content)
    return path


def test_find_takes_files_folders_and_patterns_in_the_order_named_the_same_file_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ["z.jpg", "in/b.JPG", "in/a.png", "in/deep/c.webp", "in/notes.txt", "in/.hidden.jpg", "in/.git/d.jpg"]:
        write(Path(name))
    write(Path("in/phone.HEIC"))
    Path("link.jpg").symlink_to("z.jpg")
    found = photos.find(["z.jpg", "in", "in/*.txt", "./z.jpg", "link.jpg", "in/**/c.webp", "nothing-*.jpg"])
    names = ["z.jpg", "in/a.png", "in/b.JPG", "in/deep/c.webp", "in/phone.HEIC", "in/notes.txt", "nothing-*.jpg"]
    assert [os.fspath(path) for path in found] == names


def test_find_follows_links_to_folders_and_takes_each_once(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "cat.jpg").write_bytes(b"")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "photos")  # a circle
    assert photos.find([str(tmp_path / "photos")]) == [tmp_path / "photos" / "linked" / "cat.jpg"]


def test_brackets_of_a_folder_that_exists_are_no_pattern(tmp_path):
    (tmp_path / "dog[1]").mkdir()
    (tmp_path / "dog[1]" / "a.jpg").write_bytes(b"")
    assert photos.find([str(tmp_path / "dog[1]" / "*.jpg")]) == [tmp_path / "dog[1]" / "a.jpg"]


def test_find_never_takes_a_name_that_exists_for_a_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ["a[1].jpg", "a1.jpg", "*.jpg", "d[x]/p.jpg", "dx/p.jpg"]:
        write(Path(name))
    assert photos.find(["a[1].jpg"]) == [Path("a[1].jpg")]
    assert photos.find(["*.jpg"]) == [Path("*.jpg")]
    assert photos.find(["d[x]"]) == [Path("d[x]/p.jpg")]
    assert photos.find(["a?.jpg", "[a]*"]) == [Path("a1.jpg"), Path("a[1].jpg")]
    for name in "dgbfaech":
        write(Path(f"many/{name}"))
    assert [path.name for path in photos.find(["many/?"])] == list("abcdefgh")


def test_find_keeps_what_has_no_photo_and_refuses_only_when_nothing_at_all_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("a.jpg"))
    Path("empty").mkdir()
    named = ["missing.jpg", "empty", "nul\0.jpg", "x" * 5000, "a.jpg"]
    assert [os.fspath(path) for path in photos.find(named)] == named
    reasons = [photo.error for photo in photos.load_all(photos.find(named), 8, 8)]
    assert reasons[0] == "no such file, and none that matches it as a pattern"
    assert reasons[1] == "a folder, and no image file was found in it"
    assert None not in reasons[:4]
    assert reasons[4] is None
    for nothing in (["missing.jpg"], ["empty"], ["*.png", "empty"], []):
        assert user_error(photos.find, nothing).code == "photo-not-found"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_has_a_reason(tmp_path):
    write(tmp_path / "a.jpg")
    write(tmp_path / "secret.jpg").chmod(0)
    write(tmp_path / "locked" / "b.jpg").parent.chmod(0)
    reasons = {photo.path.name: photo.error for photo in photos.load_all(photos.find([str(tmp_path)]), 8, 8)}
    assert reasons == {"a.jpg": None, "locked": "Permission denied", "secret.jpg": "Permission denied"}


def test_a_photo_has_its_size_its_fit_and_its_preview(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    tall = write(tmp_path / "tall.png", saved(np.zeros((30, 600, 3), np.uint8) + 7, "PNG", exif=exif))
    plain = write(tmp_path / "plain.png")
    first, second = photos.load_all([tall, str(plain)], 16, 16)
    assert (first.path, first.error, first.width, first.height) == (tall, None, 30, 600)
    assert first.fitted.shape == (16, 16, 3)
    assert first.preview.shape == (256, 13, 3)
    assert (second.path, second.width, second.height) == (plain, 40, 24)
    assert second.fitted.dtype == second.preview.dtype == np.uint8
    np.testing.assert_array_equal(second.preview, NOISE)
    with open_image(str(plain)) as image:
        np.testing.assert_array_equal(second.fitted, image.show([[image.middle(16, 16)]])[0])


def test_a_frame_shows_the_whole_photo_or_its_middle(tmp_path):
    """Left half red, right half blue, three times as wide as high; edges of the halves against hand-worked places."""
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, :60], wide[:, 60:] = [200, 0, 0], [0, 0, 200]
    wide[:, :20], wide[:, 100:] = [0, 200, 0], [0, 200, 0]  # green at both ends, which the middle square leaves out
    path = write(tmp_path / "wide.png", saved(wide, "PNG"))
    shown = {frame: next(photos.load_all([path], 24, 24, frame)).fitted.astype(int) for frame in sandbox.FRAMES}
    assert {frame: image.shape for frame, image in shown.items()} == dict.fromkeys(sandbox.FRAMES, (24, 24, 3))
    assert (shown["crop"][..., 1] == 0).all()
    np.testing.assert_array_equal(shown["squash"][:, [0, 2, 21, 23], 1], 200)
    np.testing.assert_array_equal(shown["squash"][:, 5:11], np.broadcast_to([200, 0, 0], (24, 6, 3)))
    np.testing.assert_array_equal(shown["pad"][8:16, [0, 2, 21, 23], 1], 200)
    mean = wide.reshape(-1, 3).mean(axis=0)
    for edge in (shown["pad"][:8], shown["pad"][16:]):
        np.testing.assert_allclose(edge, np.broadcast_to(mean, edge.shape), atol=1)


def test_a_squeezed_photo_is_cut_as_a_square_one_of_the_same_content(tmp_path):
    smooth = np.linspace(0, 255, 64).astype(np.uint8)
    square = np.stack([np.tile(smooth, (64, 1)), np.tile(smooth[:, None], (1, 64)), np.zeros((64, 64), np.uint8)], 2)
    wide = np.repeat(square, 3, axis=1)
    paths = [write(tmp_path / f"{i}.png", saved(image, "PNG")) for i, image in enumerate((square, wide))]
    first, second = (photo.fitted.astype(int) for photo in photos.load_all(paths, 32, 24, "squash"))
    np.testing.assert_allclose(second, first, atol=2)


def test_a_phones_108_megapixels_are_read_and_a_png_of_as_many_is_not(tmp_path):
    large = Image.new("L", (12_000, 9_000), 77)
    jpeg, png = write(tmp_path / "a.jpg", saved(large, "JPEG")), write(tmp_path / "a.png", saved(large, "PNG"))
    read, refused = photos.load_all([jpeg, png], 8, 8)
    assert (read.error, read.width, read.height) == (None, 12_000, 9_000)
    assert (read.fitted == 77).all()
    assert refused.error == "too large: 12000 x 9000 pixels; the limit of a PNG is 100 million"


def test_any_file_name_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = hostile_names()
    assert len(set(names)) == len(names) >= 100
    for i, name in enumerate(names):
        with open(name, "wb") as file:
            file.write(saved(np.full((8, 8, 3), i, np.uint8), "PNG"))
    named = [os.fsdecode(name) for name in names]
    found = photos.find(named)
    assert [os.fsencode(path) for path in found] == names
    assert {os.fsencode(path) for path in photos.find([str(tmp_path)])} == {
        os.path.join(os.fsencode(tmp_path), name) for name in names if name.endswith(b".png") and name[0] != ord(".")
    }
    for i, photo in enumerate(photos.load_all(found, 8, 8)):
        assert photo.error is None
        assert (photo.fitted == i).all()


def test_pipes_and_devices_are_refused_and_nothing_waits_for_them(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    paths = photos.find([str(tmp_path / "pipe.jpg"), "/dev/zero", "/dev/tty", str(write(tmp_path / "a.jpg"))])
    loaded = list(photos.load_all(paths, 8, 8))
    assert [photo.error for photo in loaded] == ["not an ordinary file (a pipe, socket or device)"] * 3 + [None]


def test_a_decoder_that_hangs_or_dies_costs_one_photo(tmp_path, broken_decoder, capfd):
    names = ["a", "hang", "b", "crash", "killed", "c", "exit", "greedy", "noisy", "hang.2", "d", "crash.2"]
    colour = {name: i * 20 for i, name in enumerate(names)}
    paths = [write(tmp_path / name, saved(np.full((8, 8, 3), colour[name], np.uint8), "PNG")) for name in names]
    loaded = {photo.path.name: photo for photo in photos.load_all(paths, 8, 8, seconds=0.5)}
    assert list(loaded) == names
    assert {name: photo.error for name, photo in loaded.items() if photo.error} == {
        "hang": "decoding took longer than 0.5 s",
        "crash": "the decoder crashed (SIGSEGV)",
        "killed": "the decoder was killed (out of memory?)",
        "exit": "the decoder failed (exit code 3)",
        "greedy": "decoding it needs too much memory",
        "hang.2": "decoding took longer than 0.5 s",
        "crash.2": "the decoder crashed (SIGSEGV)",
    }
    for name in ("a", "b", "c", "noisy", "d"):
        assert (loaded[name].fitted == colour[name]).all()
    assert capfd.readouterr() == ("", "")


def test_the_decoder_imports_no_tensorflow_and_not_even_numpy(tmp_path, broken_decoder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (photo,) = photos.load_all([write(tmp_path / "modules")], 8, 8)
    imported = {name.split(".")[0] for name in photo.error.split()}
    assert "PIL" in imported
    assert not imported & {"tensorflow", "keras", "numpy", "scipy", "matplotlib"}
    ours = {name for name in photo.error.split() if name.startswith("resnet_tf")}
    package = {"resnet_tf", "resnet_tf.presets", "resnet_tf.prediction", "resnet_tf.datasets", "resnet_tf.log"}
    assert ours == package | {
        f"resnet_tf.{name}"
        for name in ("presets.rounding", "datasets.decode", "datasets.pixel_modes", "prediction.sandbox")
    }
    assert not {str(tmp_path), "''"} & set(photo.error.split())  # nor anything that lies where it is started


def test_the_package_may_lie_in_a_folder_with_a_colon(tmp_path, monkeypatch):
    home = tmp_path / "a:b"
    home.mkdir()
    (home / "resnet_tf").symlink_to(Path(photos.__file__).parents[1])
    monkeypatch.setattr(photos, "_ROOT", str(home))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (photo,) = photos.load_all([write(tmp_path / "a.png")], 8, 8)
    assert photo.error is None


def test_leaving_early_ends_the_decoders(tmp_path, monkeypatch):
    started = []
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kw: started.append(start(*args, **kw)) or started[-1])
    paths = [write(tmp_path / f"{i}.png") for i in range(9)]
    loading = photos.load_all(paths, 8, 8)
    next(loading)
    loading.close()
    assert started
    assert all(process.returncode is not None for process in started)


def test_a_photo_that_is_slow_to_decode_for_real_meets_the_time_limit(tmp_path):
    content = saved(Image.new("L", (4000, 4000), 100), "JPEG", progressive=True)
    last_scan = content[content.rindex(b"\xff\xda") : -2]
    bomb = write(tmp_path / "scans.jpg", content[:-2] + last_scan * 5000 + content[-2:])
    slow, good = photos.load_all([bomb, write(tmp_path / "a.png")], 8, 8, seconds=0.5)
    assert slow.error == "decoding took longer than 0.5 s"
    assert good.error is None


LONG = pytest.param(int(os.environ.get("RESNET_FUZZ", "10000")), marks=pytest.mark.slow)


@pytest.mark.parametrize("count", [500, LONG])
def test_mutated_pictures_cost_no_row_no_crash_and_no_hang(tmp_path, capfd, count):
    """RESNET_FUZZ=N sets the count of the long form (pytest -m slow)."""
    rng = np.random.default_rng(count)
    seeds = [content for _, content, _ in MODES]
    paths = []
    for i in range(count):
        solid = saved(np.full((9, 9, 3), i // 10 % 256, np.uint8), "PNG")
        paths.append(write(tmp_path / f"{i:05}", mutated(rng, seeds) if i % 10 else solid))
    loaded = list(photos.load_all(paths, 16, 16, seconds=4))
    assert [photo.path for photo in loaded] == paths
    for i, photo in enumerate(loaded):
        if photo.error is None:
            assert photo.fitted.shape == (16, 16, 3)
        else:
            assert photo.error
            assert "\n" not in photo.error
        if i % 10 == 0:
            assert (photo.fitted == i // 10 % 256).all()
    spoilt = sum(photo.error is not None for photo in loaded)
    assert 0.2 * count < spoilt < 0.8 * count
    assert capfd.readouterr() == ("", "")
    died = [
        photo.error
        for photo in loaded
        if re.search("decoder (crashed|was|failed)|longer than|memory", photo.error or "")
    ]
    print(f"{count} files, {spoilt} refused, died: {died}")
