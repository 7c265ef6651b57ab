"""The command `resnet-tf`, as `python -m resnet_tf`."""

import sys

from resnet_tf.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
