"""Make the reference pictures anew: `python -m tests.golden.regenerate [NAME…]`.

Look at each one before you commit it: what is stored here counts as right from then on.
"""

import sys

from tests.golden.tasks import REFERENCES, TASKS


def main(names: list[str]) -> None:
    unknown = set(names) - {task.name for task in TASKS}
    if unknown:
        sys.exit(f"no such task: {', '.join(sorted(unknown))}")
    REFERENCES.mkdir(exist_ok=True)
    for task in TASKS:
        if not names or task.name in names:
            task.make().save(task.reference, optimize=True)
            print(task.reference)


if __name__ == "__main__":
    main(sys.argv[1:])
