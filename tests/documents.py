"""What the README and docs/ hold that tests run: their code blocks, train.py, the Horovod script."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "hparams" / "RESULTS.md"]
HOROVOD_SCRIPT = ROOT / "tests" / "examples" / "horovod_keras.py"


def blocks(document: Path, language: str) -> list[str]:
    """Returns the code blocks of one language in a document, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)


def train_py() -> str:
    """Returns the block that docs/your_script.md calls train.py."""
    text = (ROOT / "docs" / "your_script.md").read_text()
    (block,) = re.findall(r"<!-- train\.py -->\n```python\n(.*?)```", text, re.DOTALL)
    return block


def run(code: str, folder: Path) -> None:
    """Runs a script's text in this process, from a file: TensorFlow reads the source of functions."""
    script = folder / "document.py"
    script.write_text(code)
    runpy.run_path(str(script))


def accuracy(output: str) -> float:
    """Returns the accuracy that train.py printed, once."""
    (printed,) = re.findall(
        r"held-out accuracy (\d\.\d+), \d+ decays, (?:exploration|convergence) phase", output
    )
    return float(printed)
