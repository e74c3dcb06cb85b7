#!/usr/bin/env python3
"""Writes copies of sources with planted bugs in them, for test builds: plant.py ROOT OUTPUT_FOLDER FILE..."""

import pathlib
import re
import sys

import bugs


def planted(text, file, found):
    for name, old, new in found:
        if text.count(old) != 1:
            sys.exit(f"{file}: planted bug {name}: its text stands there {text.count(old)} times; tests/mutants/bugs.py has to follow")
        text = text.replace(old, re.sub(r"\bMUTANT\b", f'::dsm::mutants::chosen("{name}")', new))
    return '#include "tests/mutants/chosen.h"\n' + text


def main():
    root, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    for file in sys.argv[3:]:
        found = [bug for layer in bugs.LAYERS.values() for bug in layer.get(file, ())]
        into = output / file
        into.parent.mkdir(parents=True, exist_ok=True)
        into.write_text(f'{planted((root / file).read_text(), file, found)}')


if __name__ == "__main__":
    main()
