"""Trains many presets, seeds and settings: python sweep.py --presets 3 4 --seeds 0 1 2"""

import sys

from resnet_tf.cli import command, sweep

if __name__ == "__main__":
    sys.exit(command.run_command(sweep.main))
