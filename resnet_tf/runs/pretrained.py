"""Published weights: runs that come with the project, copied among the user's on first use."""

import shutil
import tempfile
from pathlib import Path

from resnet_tf import files
from resnet_tf.runs.run import Run, not_writable

FOLDER = Path(__file__).resolve().parents[2] / "pretrained"


def is_published(run: Run) -> bool:
    """Returns whether a run's folder is the published one, which is never written to, and not a copy of it."""
    return FOLDER.resolve() in run.folder.resolve().parents


def copy_run(published: Run, runs: str | Path) -> Run:
    """Returns the copy of a published run in the folder of runs, made now if it is not there yet.

    The copy is made under a temporary name and then renamed, so that a kill or a second process never leaves half.

    Raises:
        UserError: the folder cannot be written to.
    """
    target = Path(runs) / published.name
    if (target / "run.json").is_file():
        return Run(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Two folders below the preset's: what lies there is not taken for a run.
        aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=".", suffix=".tmp"))
        try:
            for path in (path for path in published.folder.rglob("*") if path.is_file()):
                place = aside / target.name / path.relative_to(published.folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                files.write_synced(place, path.read_bytes())
            (aside / target.name).rename(target)
            files.sync_folder(target.parent)
        except OSError:
            if not (target / "run.json").is_file():  # else another process was faster
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise not_writable(f"pretrained run {published.name}, which is copied to be used,", target, error) from error
    return Run(target)
