"""Trains a preset: python train.py --preset 4"""

import sys

from resnet_tf.cli import command, train

if __name__ == "__main__":
    sys.exit(command.run_command(train.main))
