"""Weight files: back to the bit, or refused in one line with nothing loaded."""

import io
import json
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
from assertions import user_error

from resnet_tf import files
from resnet_tf.errors import UserError
from resnet_tf.models import weights
from resnet_tf.models.resnet import resnet

METADATA = {"step": 703, "validation_top1": 91.25, "note": "é ✓"}


def small(units: int = 1, seed: int = 0, **keys):
    return resnet(num_residual_units=units, filters=(2, 3), image_size=8, classes=2, seed=seed, **keys)


def values(model) -> dict[str, np.ndarray]:
    return {weight.path: np.array(weight) for weight in model.weights}


@pytest.fixture(scope="module")
def model():
    return small(seed=1)


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "last.npz"
    weights.save(model, path, METADATA)
    return path


def refused(model, path) -> UserError:
    """Loads a file that must be refused; returns the error after seeing that it names the file and nothing changed."""
    before = values(model)
    error = user_error(weights.load, model, path)
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, before[name])
    assert str(path) in str(error)
    return error


def repacked(saved, tmp_path, **changed):
    """Writes the saved arrays anew, some of them changed (None: left out); names spell "/" as "__"."""
    with np.load(saved) as archive:
        arrays = dict(archive)
    for name, value in changed.items():
        name = name.replace("__", "/") if not name.startswith("__") else name
        arrays.pop(name, None)
        if value is not None:
            arrays[name] = value
    path = tmp_path / "changed.npz"
    np.savez(path, **arrays)
    return path


def test_round_trip_to_the_bit(model, saved):
    other = small(seed=2)
    extreme = np.array([-0.0, np.float32(1e-45), np.inf], np.float32)
    original = values(model)
    model.get_layer("stage2_unit1_norm1").offset.assign(extreme)
    weights.save(model, saved, METADATA)
    assert weights.load(other, saved) == METADATA
    for name, value in values(model).items():
        assert value.tobytes() == values(other)[name].tobytes(), name
    model.get_layer("stage2_unit1_norm1").offset.assign(original["stage2_unit1_norm1/offset"])
    images = np.full((2, 8, 8, 3), 99, np.float32)
    weights.save(model, saved, {})
    assert weights.load(other, saved) == {}
    np.testing.assert_array_equal(other(images), model(images))


def test_a_file_is_a_plain_npz_whose_names_are_the_layers(model, saved):
    with np.load(saved, allow_pickle=False) as archive:
        assert json.loads(str(archive["__about__"])) == METADATA
        assert set(archive.files) == {"__about__", *values(model)}
        np.testing.assert_array_equal(archive["stem/kernel"], model.get_layer("stem").kernel)
    assert "normalization/mean" in values(model)  # the input's statistics travel with the weights


def test_input_statistics_come_back(saved):
    trained, fresh = small(), small(seed=9)
    trained.get_layer("normalization").mean.assign([120, 121, 122])
    weights.save(trained, saved, {})
    weights.load(fresh, saved)
    np.testing.assert_array_equal(fresh.get_layer("normalization").mean, [120, 121, 122])


def test_another_depth_is_explained(saved):
    deeper = refused(small(units=2), saved)
    assert deeper.code == "weights-of-another-network"
    assert "residual units, not 2, 2; 20 arrays are missing (first: stage1_unit2_conv1/kernel)" in str(deeper)
    weights.save(small(units=2), saved, {})
    assert "20 are not of this network (first: 'stage1_unit2_conv1/kernel')" in str(refused(small(), saved))


def test_another_width_or_number_of_classes_is_explained(saved):
    more = str(refused(resnet(num_residual_units=1, filters=(2, 3), image_size=8, classes=5), saved))
    assert "(first: head/kernel, float32 (3, 2) for float32 (3, 5))" in more
    wider = str(refused(resnet(num_residual_units=1, filters=(2, 4), image_size=8, classes=2), saved))
    assert "(first: stage2_unit1_conv1/kernel, float32 (3, 3, 2, 3) for float32 (3, 3, 2, 4))" in wider
    assert "Nothing was loaded." in wider
    per_pixel = str(refused(small(statistics_shape=(8, 8, 3)), saved))
    assert "2 have another shape or type (first: normalization/mean, float32 (3,) for float32 (8, 8, 3))" in per_pixel
    assert "`data.normalize`" in per_pixel
    assert "`model`" in wider


def test_what_is_no_weight_file(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "text.npz").write_text("step 703\nvalidation 91.25\n")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps({"stem/kernel": np.ones(3)}))
    np.save(tmp_path / "one.npy", np.ones(3))
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("stem/kernel.npy", "no array")
    for name in ("missing.npz", "folder.npz", "text.npz", "empty.npz", "pickle.npz", "one.npy", "zip.npz"):
        assert refused(small(seed=9), tmp_path / name).code == "weights-unreadable"


def test_cut_anywhere(saved):
    content, other = saved.read_bytes(), small(seed=9)
    for length in np.linspace(0, len(content) - 1, 25).astype(int):
        saved.write_bytes(content[:length])
        refused(other, saved)


def test_any_byte_damaged(model, saved):
    """Whatever byte is spoilt, a file loads just as it was saved or not at all."""
    content, rng, other = saved.read_bytes(), np.random.default_rng(3), small(seed=9)
    own = values(other)
    for place in rng.integers(0, len(content), 150):
        damaged = bytearray(content)
        damaged[place] ^= rng.integers(1, 256)
        saved.write_bytes(damaged)
        try:
            weights.load(other, saved)
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017
            expected = own
        else:
            expected = values(model)
        for weight in other.weights:
            np.testing.assert_array_equal(weight, expected[weight.path])
            weight.assign(own[weight.path])


class Explosive:
    """Leaves a mark when a loader unpickles it."""

    exploded = False

    def __reduce__(self):
        return setattr, (Explosive, "exploded", True)


def test_a_pickle_inside_is_not_run(saved, tmp_path):
    for name in ("stem_norm__scale", "__about__"):
        shape = (2,) if name == "stem_norm__scale" else ()
        objects = np.empty(shape, object)
        objects[...] = Explosive()
        refused(small(seed=9), repacked(saved, tmp_path, **{name: objects}))
    assert not Explosive.exploded


@pytest.mark.parametrize("dtype", ["float64", "int32", "bool", "complex64", "U7"])
def test_other_number_types_are_refused(saved, tmp_path, dtype):
    path = repacked(saved, tmp_path, head__kernel=np.ones((3, 2)).astype(dtype))
    assert f"head/kernel, {np.dtype(dtype)} (3, 2) for float32 (3, 2)" in str(refused(small(seed=9), path))


def test_a_broken_description_is_refused_before_anything_is_loaded(saved, tmp_path):
    for about in (np.array("{step: 703"), np.array(["{}", "{}"]), np.array(703)):
        refused(small(seed=9), repacked(saved, tmp_path, __about__=about))


def header(descr: str, shape: str) -> bytes:
    """Returns the head of an .npy file, version 1.0, that claims any shape."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("stem/kernel.npy", header("'<f4'", "(3, 3, 3, 10000000000)")),
        ("stem/kernel.npy", header("'<f4'", "(1000000, 1000000, 1000000)")),
        ("stem_norm/scale.npy", header("'|V4000000000000'", "(2,)")),
        ("surplus/kernel.npy", header("'<f4'", "(10000000000,)")),
        ("__about__.npy", header("'<U1'", "(10000000000,)")),
        ("__about__.npy", header("'<U1000000000'", "()")),
        ("stem_norm/scale.npy", header("'|V4000000000'", "(2,)")),
        ("stem_norm/scale.npy", header("'<f4,,'", "(2,)")),
        ("stem_norm/scale.npy", header("'<f4'", "(2")),
        ("stem_norm/scale.npy", header("'<f4'", "(2,)" + " " * 20000)),
    ],
)
def test_false_claims_are_refused_before_memory_is_taken(saved, tmp_path, member, content):
    path = tmp_path / "claims.npz"
    with zipfile.ZipFile(saved) as good, zipfile.ZipFile(path, "w") as archive:
        members = {name: good.read(name) for name in good.namelist()}
        for name, data in {**members, member: content}.items():
            archive.writestr(name, data)
    other = small(seed=9)
    tracemalloc.start()
    refused(other, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


def test_a_save_that_fails_leaves_the_old_file(model, saved, monkeypatch):
    content = saved.read_bytes()
    monkeypatch.setattr(files.os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        weights.save(small(seed=5), saved, {})
    assert saved.read_bytes() == content
    assert [path.name for path in saved.parent.iterdir()] == ["last.npz"]


def test_compressed_files_are_read_too(model, saved):
    """As another tool may have written them."""
    with np.load(saved) as archive:
        arrays = dict(archive)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    saved.write_bytes(buffer.getvalue())
    other = small(seed=9)
    assert weights.load(other, saved) == METADATA
    np.testing.assert_array_equal(other.get_layer("head").kernel, model.get_layer("head").kernel)
