"""What is known of a training set's pixels: for normalisation (mean, deviation) and for PCA lighting."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_BLOCK = 500 * 32**2  # pixels taken at a time: float64 copies of a block stay small, 12 MB
_PATCHED = 2000  # images whose patches are looked at: nearly two million at 32 pixels


@dataclass(frozen=True, eq=False)
class Statistics:
    """What is known of the pixels of a training set.

    Attributes:
        mean, std: float64 [3], one value per channel, of pixel values 0..255; the deviation divides by the full count.
        eigenvalues: float64 [3], of the 3x3 covariance of the pixels' colours scaled to 0..1, largest first.
        eigenvectors: float64 [3, 3], column i belongs to eigenvalue i; its largest entry is positive.
        pixel_mean: float64 [height, width, 3], the mean image, 0..255; None where nobody has measured it.
    """

    mean: np.ndarray
    std: np.ndarray
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    pixel_mean: np.ndarray | None = None

    def for_input(self, normalize: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns what the network subtracts from its input and divides it by, as pixel values 0..255.

        "per_pixel" subtracts the mean image, as the paper does. The paper divides by nothing; here one number for all
        pixels keeps activations near 1, which changes nothing else: the batch norm of the stem takes any scale out.
        """
        if normalize == "per_channel":
            return self.mean, np.maximum(self.std, 1.0)  # a channel without variation has nothing to divide by
        if normalize == "imagenet":
            return IMAGENET.mean, IMAGENET.std
        overall = np.sqrt(np.mean(self.std**2))
        return self.pixel_mean, np.full_like(self.pixel_mean, overall)


# Mean and deviation as torchvision publishes them; the rest from fb.resnet.torch, datasets/imagenet.lua.
IMAGENET = Statistics(
    mean=255 * np.array([0.485, 0.456, 0.406]),
    std=255 * np.array([0.229, 0.224, 0.225]),
    eigenvalues=np.array([0.2175, 0.0188, 0.0045]),
    eigenvectors=np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]),
)


def measure(images: np.ndarray) -> Statistics:
    """Measures training images, uint8 [n, height, width, 3].

    The sums are of whole numbers below 2**53, so float64 holds them exactly: the same images give the same mean and
    deviation, bit for bit, on any machine.

    Raises:
        ValueError: not such an array, or empty.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or images.size == 0:
        raise ValueError(f"images must be uint8 [n, height, width, 3]. Received: {images.dtype} {list(images.shape)}.")
    image_sum = np.zeros(images.shape[1:])
    products = np.zeros((3, 3))
    for block in _blocks(images):
        image_sum += block.sum(axis=0)
        pixels = block.reshape(-1, 3)
        products += pixels.T @ pixels
    count = images.size // 3
    mean = image_sum.sum(axis=(0, 1)) / count
    covariance = products / count - np.outer(mean, mean)
    eigenvalues, eigenvectors = _components(covariance / 255**2)
    return Statistics(
        mean=mean,
        std=np.sqrt(np.maximum(np.diag(covariance), 0)),
        eigenvalues=eigenvalues,
        eigenvectors=eigenvectors,
        pixel_mean=image_sum / len(images),
    )


def whitening_filters(images: np.ndarray, mean: np.ndarray, deviation: np.ndarray, side: int) -> np.ndarray:
    """Returns filters whose responses to an image set are uncorrelated: float32 [side, side, 3, 3 x side x side].

    They are the eigenvectors of the covariance of all patches of `side` x `side` pixels, each divided by the deviation
    of its response, largest first. 0.01 is added to each variance (a normalised pixel's is 1), so that noise is not
    amplified.

    Args:
        images: uint8 [n, height, width, 3]; an even sample of `_PATCHED` of them is looked at.
        mean, deviation: what the network subtracts and divides by, of shape [3] or [height, width, 3].

    Source: Page 2019, "How to Train Your ResNet 8: Bag of Tricks"; Jordan 2024 (arXiv:2404.00498), section 3.1.
    """
    values = 3 * side * side
    patch_sum, products, count = np.zeros(values), np.zeros((values, values)), 0
    for block in _blocks(images[np.unique(np.linspace(0, len(images) - 1, _PATCHED).astype(int))]):
        windows = np.lib.stride_tricks.sliding_window_view((block - mean) / deviation, (side, side), axis=(1, 2))
        # [.., channel, row, column] in a filter's order: [row, column, channel].
        patches = np.moveaxis(windows, 3, 5).reshape(-1, values)
        patch_sum += patches.sum(axis=0)
        products += patches.T @ patches
        count += len(patches)
    patch_mean = patch_sum / count
    eigenvalues, eigenvectors = _components(products / count - np.outer(patch_mean, patch_mean))
    return (eigenvectors / np.sqrt(eigenvalues + 1e-2)).reshape(side, side, 3, values).astype(np.float32)


def _components(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns eigenvalues, largest first and not below 0, and eigenvectors in columns, the largest entry positive."""
    eigenvalues, eigenvectors = np.linalg.eigh(covariance)
    eigenvalues, eigenvectors = eigenvalues[::-1], eigenvectors[:, ::-1]
    largest = eigenvectors[np.argmax(np.abs(eigenvectors), axis=0), range(len(eigenvalues))]
    return np.maximum(eigenvalues, 0), eigenvectors * np.sign(largest)


def _blocks(images: np.ndarray) -> Iterator[np.ndarray]:
    count = max(1, _BLOCK // (images.shape[1] * images.shape[2]))
    for start in range(0, len(images), count):
        yield images[start : start + count].astype(np.float64)
