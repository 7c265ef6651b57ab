"""`batch = f(step)`: a batch is a pure function of the images, the seed and the step, carried out by tf.data.

The only state of the input is an integer. A pipeline started at step 37 gives what one started at 0 gives from there
on, and a host that takes rows [a, b) of every batch sees just what one host would have in those rows.
"""

import os
from dataclasses import dataclass
from functools import cached_property

import tensorflow as tf

from resnet_tf.datasets.splits import ArraySplit, FileSplit
from resnet_tf.pipeline import augment
from resnet_tf.pipeline.mixing import Mixing
from resnet_tf.pipeline.read import read_batch, read_mirrored
from resnet_tf.pipeline.statistics import Statistics
from resnet_tf.pipeline.views import views
from resnet_tf.presets.augmentation import VIEWS, Chain, output_shape
from resnet_tf.presets.augmentation_steps import CenterCrop

_PIXELS = 2**21  # of an evaluation batch
_STREAM = 0  # of random numbers for the order; augmentation has its own


@dataclass(frozen=True, eq=False)
class TrainingBatches:
    """The training batches of a run.

    Attributes:
        split: the training images and labels.
        chain: the augmentations, in order.
        batch_size: rows of the global batch.
        seed: of order and augmentation.
        statistics: the training set's statistics, for `pca_lighting(vectors="training")` and `random_erasing`.
        repeats: passes over the split that make an epoch, one behind the other, each in an order of its own.
        mixing: mixes every image with the one before it in the global batch, the first with the last; None: does not.
    """

    split: ArraySplit | FileSplit
    chain: Chain
    batch_size: int
    seed: int
    statistics: Statistics | None = None
    repeats: int = 1
    mixing: Mixing | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch; the remainder, other images in each epoch, is left out."""
        return len(self.split) * self.repeats // self.batch_size

    def dataset(self, start: int, stop: int, first_row: int = 0, rows: int | None = None) -> tf.data.Dataset:
        """Returns the batches of steps [start, stop).

        Each is float32 images [rows, height, width, 3] in 0..255 and int32 labels [rows]; with mixing, the share of
        each class in an image instead of its label, float32 [rows, classes].

        Args:
            first_row, rows: the part of every global batch that this host takes; default: all of it.
        """
        rows = self.batch_size - first_row if rows is None else rows
        per_epoch = self.steps_per_epoch
        source, labels = self._source, tf.constant(self.split.labels, tf.int32)
        shape = output_shape(self.chain, self.split.images.shape[1:3] if isinstance(self.split, ArraySplit) else None)
        upright = isinstance(self.split, FileSplit) and self.split.upright

        def steps_of(epoch):
            order = self._order(epoch)
            batches = tf.data.Dataset.range(per_epoch)
            return batches.map(lambda i: (epoch, i, order[i * self.batch_size :][: self.batch_size]))

        def read_rows(epoch, number, indices, first, count):
            place = tf.cast(number, tf.int32) * self.batch_size + tf.range(self.batch_size)
            times = tf.cast(epoch, tf.int32) * self.repeats + place // len(self.split)
            own = indices[first : first + count]
            images = augment.augment_batch(
                tf.gather(source, own),
                self.chain,
                self.seed,
                step=epoch * per_epoch + number,
                global_batch=self.batch_size,
                first_row=first,
                statistics=self.statistics,
                upright=upright,
                shown=augment.Shown(indices, times, len(self.split)),
            )
            return tf.ensure_shape(tf.cast(images, tf.float32), [count, *shape, 3]), tf.gather(labels, own)

        def batch(epoch, number, indices):
            own = read_rows(epoch, number, indices, first_row, rows)
            if self.mixing is None:
                return own
            before = [part[-1:] for part in own]
            if rows < self.batch_size:  # another host takes the row before
                before = read_rows(epoch, number, indices, (first_row - 1) % self.batch_size, 1)
            others = [tf.concat([row, part[:-1]], axis=0) for row, part in zip(before, own, strict=True)]
            return self.mixing.mix(own, others, self.mixing.draw(self.seed, epoch * per_epoch + number))

        first_epoch = start // per_epoch
        steps = tf.data.Dataset.range(first_epoch, -(-stop // per_epoch)).flat_map(steps_of)
        steps = steps.skip(start - first_epoch * per_epoch).take(stop - start)
        return _deliver(steps.map(batch, num_parallel_calls=2))

    @cached_property
    def _source(self) -> tf.Tensor:
        return _indexable(self.split)

    def _order(self, epoch: tf.Tensor) -> tf.Tensor:
        """Returns the order of an epoch: `repeats` permutations of the split, a pure function of (seed, epoch)."""
        seed, images = tf.constant([self.seed, _STREAM], tf.int64), tf.range(len(self.split))

        def permutation(number):
            key = tf.random.fold_in(seed, number, alg="philox")
            return tf.random.experimental.stateless_shuffle(images, key, alg="philox")

        first = tf.cast(epoch, tf.int64) * self.repeats
        if self.repeats == 1:
            return permutation(first)
        passes = tf.range(first, first + self.repeats)
        return tf.reshape(tf.map_fn(permutation, passes, fn_output_signature=tf.int32), [-1])


@dataclass(frozen=True, eq=False)
class EvaluationBatches:
    """A split in its own order, every image once, in the views that a network is shown; the last batch may be smaller.

    Attributes:
        split: images and labels.
        chain: framings without randomness, before the crops.
        view: one of `presets.augmentation.VIEWS`.
        crop: height and width of the crops in pixels; None: whole images.
        size: height and width in pixels of what comes out.
    """

    split: ArraySplit | FileSplit
    chain: Chain
    view: str
    crop: int | None
    size: int

    @property
    def batch_size(self) -> int:
        """Images at a time: as many as fit a fixed number of pixels, so that memory stays bounded at any resolution."""
        return max(1, min(500, _PIXELS // (VIEWS[self.view] * self.size**2)))

    def dataset(self) -> tf.data.Dataset:
        """Returns batches of float32 images [batch, views, size, size, 3] in 0..255 and int32 labels [batch]."""
        source, labels = self._source, tf.constant(self.split.labels, tf.int32)
        shown = self._of_arrays if isinstance(self.split, ArraySplit) else self._of_files

        def batch(start):
            rows = slice(start, start + self.batch_size)
            shape = [None, VIEWS[self.view], self.size, self.size, 3]
            images = shown(source[rows])
            return tf.ensure_shape(tf.cast(images, tf.float32), shape), labels[rows]

        starts = tf.data.Dataset.range(0, len(self.split), self.batch_size)
        return _deliver(starts.map(batch, num_parallel_calls=2))

    @cached_property
    def _source(self) -> tf.Tensor:
        return _indexable(self.split)

    def _of_arrays(self, images: tf.Tensor) -> tf.Tensor:
        return views(augment.apply(images, self.chain), self.view, self.crop)

    def _of_files(self, paths: tf.Tensor) -> tf.Tensor:
        if self.crop is not None and self.view in ("mirror", "10-crop"):
            return read_mirrored(paths, self.chain, self.crop, self.view, self.split.upright)
        chain = self.chain if self.crop is None else (*self.chain, CenterCrop(self.crop))
        return views(read_batch(paths, chain, upright=self.split.upright), self.view, self.crop)


def _indexable(split: ArraySplit | FileSplit) -> tf.Tensor:
    """Returns a split's images, or its files' paths, where TensorFlow can index them: a copy, so once a split."""
    if isinstance(split, ArraySplit):
        return tf.constant(split.images)
    return tf.constant([os.fsencode(path) for path in split.paths])  # a name need not be UTF-8


def _deliver(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Prefetches two batches, in order, with tf.data's autotuner off.

    The autotuner's thread sleeps ever longer, and the end of an epoch waits until it wakes.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    return dataset.prefetch(2).with_options(options)
