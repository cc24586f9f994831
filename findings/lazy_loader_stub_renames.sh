#!/usr/bin/env bash
# lazy_loader 0.6 with mypy 1.19.1: `from .a import one as two` in the stub of a lazy package is `two` to the type checker and
# `one` at run time.
#
# Guess: attach_stub reads the stub as a type checker does, so that `two` is there and `one` is not.
# Seen: "as" is dropped, and so is the stub's __all__. `package.two` is an AttributeError, `package.one` works, and mypy says the opposite of both. A
# package that renames something for its users this way passes its type checker and breaks on first use.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check lazy_loader==0.6 mypy==1.19.1
mkdir package
echo "one = 1" > package/a.py
cat > package/__init__.pyi <<'PYTHON'
from .a import one as two

__all__ = ["two"]
PYTHON
cat > package/__init__.py <<'PYTHON'
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
PYTHON
cat > use.py <<'PYTHON'
import package

print(dir(package), hasattr(package, "two"), package.one)
PYTHON
seen=$(venv/bin/python use.py)
echo "$seen"
test "$seen" = "['one'] False 1"
checked=$(venv/bin/python -m mypy --cache-dir=/dev/null use.py || true)
echo "$checked"
grep -q 'has no attribute "one"' <<< "$checked"
sed 's/package.one/package.two/' use.py > use_two.py
venv/bin/python -m mypy --cache-dir=/dev/null use_two.py
