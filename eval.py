"""Scores a trained preset: python eval.py --preset 4"""

import sys

from resnet_tf.cli import command, eval

if __name__ == "__main__":
    sys.exit(command.run_command(eval.main))
