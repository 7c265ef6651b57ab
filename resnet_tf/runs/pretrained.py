"""Published weights: runs that come with the project, read where they are; what writes into one gets a copy."""

from pathlib import Path

from resnet_tf import files, installation
from resnet_tf.runs.run import Run, not_writable

FOLDER = installation.FILES / "pretrained"


def writable(run: Run, runs: str | Path) -> Run:
    """Returns a run to write figures and predictions into: of a published one its copy in the folder of runs.

    It is made once, and is whole after a kill in the middle, by the next call, and with several processes at once.

    Raises:
        UserError: the folder cannot be written to.
    """
    if FOLDER.resolve() not in run.folder.resolve().parents:
        return run  # trained here, or the copy of a published one
    target = Path(runs) / run.name
    try:
        target.mkdir(parents=True, exist_ok=True)
        with files.locked(target.parent):
            if not (target / "run.json").is_file():
                # A folder without run.json is no run, so that comes last.
                for path in sorted(run.folder.rglob("*"), key=lambda path: path.name == "run.json"):
                    if path.is_file():
                        place = target / path.relative_to(run.folder)
                        place.parent.mkdir(parents=True, exist_ok=True)
                        files.write_atomically(place, path.read_bytes())
    except OSError as error:
        raise not_writable(f"the copy of pretrained run {run.name}", target, error) from error
    return Run(target)
