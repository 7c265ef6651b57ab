"""Writes a trained network for other programs: python export.py --preset 4 --to onnx"""

import sys

from resnet_tf.cli import command, export

if __name__ == "__main__":
    sys.exit(command.run_command(export.main))
