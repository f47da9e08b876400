"""The folder in which the processes of one node meet."""

import os
import stat
from pathlib import Path


def open_node_dir(path: str | Path) -> Path:
    """The folder, made for this user alone where it is not there yet.

    Raises:
        OSError: it cannot be made, or somebody else could write what would be believed here.
    """
    folder = Path(path)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = os.lstat(folder)  # not through a link that somebody may have laid
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(f"{folder} is not a folder") from None
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise PermissionError(
                f"{folder} has to belong to the user of the service and be open to no other"
            ) from None
    return folder
