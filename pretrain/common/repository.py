"""Where the repository lies, which holds what a package would not: configs, recipes, tools."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
