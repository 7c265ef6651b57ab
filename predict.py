"""Predicts the classes of your photos: python predict.py photo.jpg"""

import sys

from resnet_tf.cli import command, predict

if __name__ == "__main__":
    sys.exit(command.run_command(predict.main))
