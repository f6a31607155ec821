"""`python -m scripts.docs` writes the generated documentation and names each file it changed."""

from __future__ import annotations

from scripts.docs.pages import write

if __name__ == "__main__":
    for name in write():
        print(f"wrote {name}")
