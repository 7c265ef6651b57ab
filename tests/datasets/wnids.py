"""The classes of the small ImageNet tree that the fixture `imagenet` makes."""

WNIDS = ("n01440764", "n01443537", "n02102040")
