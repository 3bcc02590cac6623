import sys
from pathlib import Path

# The oracle and the variants are modules of this folder, shared with the runs in the simulator.
sys.path.insert(0, str(Path(__file__).parent))
