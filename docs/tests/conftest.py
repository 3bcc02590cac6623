import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
# The pictures' script and the extensions of the build are no package.
sys.path[:0] = [str(DOCS), str(DOCS / "extensions")]
