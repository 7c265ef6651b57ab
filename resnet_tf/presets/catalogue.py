"""The data sets, and what is known of each before it is read. Imports nothing, so that a listing is quick.

Source: the order of the classes and the numbers of images are the publishers': https://www.cs.toronto.edu/~kriz/cifar.html,
https://cs.stanford.edu/~acoates/stl10/, https://image-net.org/challenges/LSVRC/2012/.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Description:
    """What is known of a data set before it is read.

    Attributes:
        wants: one line on which files it needs.
        class_names: in the order of the labels; None where they are the names of folders.
        classes: the number of classes; None where it depends on the folders.
        image_size: height and width in pixels; None where sizes vary.
        train_size: images of the train split, with validation; None where it depends on the folders.
        test_size: images of the test split.
    """

    wants: str
    class_names: tuple[str, ...] | None = None
    classes: int | None = None
    image_size: int | None = None
    train_size: int | None = None
    test_size: int | None = None


_FINE_LABELS = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""

DATASETS: dict[str, Description] = {
    "shapes10": Description(
        class_names=("circle", "triangle", "square", "pentagon", "star", "cross", "ring", "crescent", "arrow", "heart"),
        classes=10,
        image_size=32,
        train_size=5_000,
        test_size=2_000,
        wants="nothing: it is drawn by the package",
    ),
    "cifar10": Description(
        class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        classes=10,
        image_size=32,
        train_size=50_000,
        test_size=10_000,
        wants="an image folder train/<class>/*, test/<class>/* of 32x32 images, or cifar-10-python.tar.gz or its "
        "folder cifar-10-batches-py, cifar-10-binary.tar.gz or its folder cifar-10-batches-bin",
    ),
    "cifar100": Description(
        class_names=tuple(_FINE_LABELS.split()),
        classes=100,
        image_size=32,
        train_size=50_000,
        test_size=10_000,
        wants="an image folder train/<class>/*, test/<class>/* of 32x32 images, or cifar-100-python.tar.gz or its "
        "folder cifar-100-python, cifar-100-binary.tar.gz or its folder cifar-100-binary",
    ),
    "stl10": Description(
        class_names=("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
        classes=10,
        image_size=96,
        train_size=5_000,
        test_size=8_000,
        wants="an image folder train/<class>/*, test/<class>/* of 96x96 images, or stl10_binary.tar.gz or its folder "
        "stl10_binary",
    ),
    "imagenet": Description(
        classes=1_000,
        train_size=1_281_167,
        test_size=50_000,
        wants="a folder with train/<wnid>/* and val/<wnid>/*, or with a flat val/*.JPEG and a list of labels beside "
        "it; or, without a path, imagenet2012 prepared by tensorflow-datasets in TFDS_DATA_DIR",
    ),
    "folder": Description(
        wants="a folder of your own: train/<class>/*, test/<class>/* (and val/<class>/*), or only <class>/*",
    ),
}
