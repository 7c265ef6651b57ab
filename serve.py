"""Serves a page that predicts the photo dropped on it: python serve.py"""

import sys

from resnet_tf.cli import command, serve

if __name__ == "__main__":
    sys.exit(command.run_command(serve.main))
