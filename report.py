"""Reports what was measured: python report.py --html report.html"""

import sys

from resnet_tf.cli import command, report

if __name__ == "__main__":
    sys.exit(command.run_command(report.main))
