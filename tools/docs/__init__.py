"""The documentation site: pages that are generated, and what mkdocs needs to read the rest."""
